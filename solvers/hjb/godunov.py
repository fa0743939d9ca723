"""V_s = L + sum_i h_i(dV/df_i) on a grid, s = T - t: one-sided slopes and Godunov's flux.

With D_k = (V_{k+1} - V_k) / spacing along an axis, the slopes to the left and to the right of a
node are q- = D_{k-1} and q+ = D_k at first order, and at fifth order, in smooth regions, those of
Jiang and Peng,

    q-+ = (-D_{k-2} + 7 D_{k-1} + 7 D_k - D_{k+1}) / 12  -+  Phi,

Phi a sum of second differences that is weighted by their smoothness.  As h_i is concave and H is a
sum over axes, Godunov's flux is taken axis by axis,

    the largest h_i between q- and q+ where q- <= q+, the least one where q- > q+.

An array is read as (before, n, after) along each axis, so that one loop serves every axis in any
dimension.  Walls: an open one continues V linearly, so D is constant beyond it; at a closed one
velocities that leave are excluded, so q- = -infinity at the lower wall, q+ = infinity at the upper.

Source: Jiang and Peng, Weighted ENO schemes for Hamilton-Jacobi equations, SIAM J. Sci. Comput. 21
(2000); Shu and Osher, J. Comput. Phys. 77 (1988).
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from continuum.arrays import Array
from continuum.compiled import compiled, inlined, summing

from .lines import CLOSED, PERIODIC, Axis
from .row_flux import DOUBLINGS, HALVINGS, SAMPLES, Rows, row_flux
from .separable import SeparableHamiltonian

_LINES, _COLUMNS = 2048, 64
"""About how many nodes a block of whole lines has; columns of a block of neighbouring lines."""


def blocks(axis: Axis) -> int:
    """Into how many parts the loops below divide the lines of an axis."""
    if axis.after > _COLUMNS:
        return axis.before * (-(-axis.after // _COLUMNS))
    lines = max(1, _LINES // ((axis.n + 5) * axis.after))
    return -(-axis.before // lines)


# -- compiled loops


@inlined
def _place(axis, block):
    """(first line, how many, first column, how many) of a block."""
    if axis.after > _COLUMNS:
        parts = -(-axis.after // _COLUMNS)
        start = (block % parts) * _COLUMNS
        return block // parts, 1, start, min(_COLUMNS, axis.after - start)
    lines = max(1, _LINES // ((axis.n + 5) * axis.after))
    return block * lines, min(lines, axis.before - block * lines), 0, axis.after


@inlined
def _differences(axis, values, place, d):
    """d <- for each line of the block D_{-3}, ..., D_{n+1}, each a row of columns."""
    first, lines, start, m = place
    n, after, width = axis.n, axis.after, (axis.n + 5) * m
    for line in range(lines):
        base = (first + line) * n * after + start
        own = d[line * width : (line + 1) * width]
        if m == 1 and after == 1:
            v, inner = values[base : base + n], own[3 : n + 2]
            for k in range(n - 1):
                inner[k] = (v[k + 1] - v[k]) * axis.inverse
        else:
            for k in range(n - 1):
                here = values[base + k * after : base + k * after + m]
                there = values[base + (k + 1) * after : base + (k + 1) * after + m]
                inner = own[(k + 3) * m : (k + 4) * m]
                for j in range(m):
                    inner[j] = (there[j] - here[j]) * axis.inverse
        for j in range(m):
            if axis.wall == PERIODIC:
                round_ = (values[base + j] - values[base + (n - 1) * after + j]) * axis.inverse
                own[2 * m + j] = own[(n + 2) * m + j] = round_
                for r in range(2):
                    own[r * m + j] = own[(n + r) * m + j]
                    own[(n + 3 + r) * m + j] = own[(3 + r) * m + j]
            else:
                for r in range(3):
                    own[r * m + j] = own[3 * m + j]
                    own[(n + 2 + r) * m + j] = own[(n + 1) * m + j]


@summing
def _phi(a, b, c, d, eps):
    """Phi of four second differences: with weights w0, w2 from smoothness,
    w0 (a - 2b + c) / 3 + (w2 - 1/2) (b - 2c + d) / 6.
    """
    s0 = eps + 13.0 * (a - b) * (a - b) + 3.0 * (a - 3.0 * b) * (a - 3.0 * b)
    s1 = eps + 13.0 * (b - c) * (b - c) + 3.0 * (b + c) * (b + c)
    s2 = eps + 13.0 * (c - d) * (c - d) + 3.0 * (3.0 * c - d) * (3.0 * c - d)
    s0, s1, s2 = s0 * s0, s1 * s1, s2 * s2
    a0, a1, a2 = s1 * s2, 6.0 * s0 * s2, 3.0 * s0 * s1
    left, right = a - 2.0 * b + c, b - 2.0 * c + d
    return (a0 * left + 0.5 * a2 * right) / (3.0 * (a0 + a1 + a2)) - right / 12.0


@inlined
def _slopes(weno, d, count, columns, eps, qm, qp):
    """qm, qp <- q-, q+ from the differences; between lines, numbers that are not read."""
    m = columns
    inside = count - 5 * m
    d2, d3 = d[2 * m : 2 * m + inside], d[3 * m : 3 * m + inside]
    left, right = qm[:inside], qp[:inside]
    if weno:
        d0, d1 = d[:inside], d[m : m + inside]
        d4, d5 = d[4 * m : 4 * m + inside], d[5 * m : 5 * m + inside]
        for x in range(inside):
            centre = (7.0 * (d2[x] + d3[x]) - d1[x] - d4[x]) / 12.0
            a, b, c = d1[x] - d0[x], d2[x] - d1[x], d3[x] - d2[x]
            e, g = d4[x] - d3[x], d5[x] - d4[x]
            left[x] = centre - _phi(a, b, c, e, eps)
            right[x] = centre + _phi(g, e, c, b, eps)
    else:
        for x in range(inside):
            left[x] = d2[x]
            right[x] = d3[x]


@summing
def _interval_flux(qm, qp, lo, hi):
    """Godunov's flux of h(q) = min(q lo, q hi)."""
    down = (qm if qm > 0.0 else 0.0) * (lo if lo < 0.0 else 0.0)
    down += (qm if qm < 0.0 else 0.0) * (hi if hi < 0.0 else 0.0)
    up = (qp if qp > 0.0 else 0.0) * (lo if lo > 0.0 else 0.0)
    up += (qp if qp < 0.0 else 0.0) * (hi if hi > 0.0 else 0.0)
    both = down + up
    least = down if down < up else up
    return least if lo < 0.0 and hi > 0.0 else both


@compiled
def interval_rates(
    axis: Axis,
    weno: bool,
    values: Array,
    lo: Array,
    hi: Array,
    eps: float,
    first: int,
    last: int,
    measure: bool,
    out: Array,
) -> float:
    """out += Godunov's flux of the kind "interval" along an axis, in blocks first, ..., last - 1.

    values, lo, hi, out : flat; lo, hi those of the axis's unit
    returns the largest speed at q- and q+, 0 unless it is to be measured
    """
    n, after = axis.n, axis.after
    room = (n + 5) * _COLUMNS if after > _COLUMNS else max(_LINES, (n + 5) * after)
    d, qm, qp = np.empty(room), np.empty(room), np.empty(room)
    fastest = 0.0
    for block in range(first, last):
        place = _place(axis, block)
        line, lines, start, m = place
        _differences(axis, values, place, d)
        _slopes(weno, d, lines * (n + 5) * m, m, eps, qm, qp)
        runs, length = (1, n * m) if m == after else (n, m)
        for number in range(lines):
            base = number * (n + 5) * m
            if axis.wall == CLOSED:
                qm[base : base + m] = 0.0
                qp[base + (n - 1) * m : base + n * m] = 0.0
            for run in range(runs):
                at = ((line + number) * n + run) * after + start
                from_ = base + run * m
                left, right = qm[from_ : from_ + length], qp[from_ : from_ + length]
                low, high = lo[at : at + length], hi[at : at + length]
                rate = out[at : at + length]
                for x in range(length):
                    rate[x] += _interval_flux(left[x], right[x], low[x], high[x])
                if measure:
                    for x in range(length):
                        speed = abs(low[x] if left[x] >= 0.0 or right[x] >= 0.0 else high[x])
                        fastest = speed if speed > fastest else fastest
                        speed = abs(high[x] if left[x] <= 0.0 or right[x] <= 0.0 else low[x])
                        fastest = speed if speed > fastest else fastest
    return fastest


@compiled
def row_rates(
    axis: Axis,
    weno: bool,
    values: Array,
    rows: Rows,
    weight: float,
    still: Array,
    eps: float,
    first: int,
    last: int,
    out: Array,
) -> float:
    """The same of the kinds "entries" and "scalar".

    weight, still (size,) : those of the axis's unit
    """
    n, after = axis.n, axis.after
    room = (n + 5) * _COLUMNS if after > _COLUMNS else max(_LINES, (n + 5) * after)
    d, qm, qp = np.empty(room), np.empty(room), np.empty(room)
    work, fastest = np.empty((4, SAMPLES)), 0.0
    for block in range(first, last):
        place = _place(axis, block)
        line, lines, start, m = place
        _differences(axis, values, place, d)
        _slopes(weno, d, lines * (n + 5) * m, m, eps, qm, qp)
        for number in range(lines):
            base = number * (n + 5) * m
            if axis.wall == CLOSED:
                qm[base : base + m] = -np.inf
                qp[base + (n - 1) * m : base + n * m] = np.inf
            for k in range(n):
                at = ((line + number) * n + k) * after + start
                for j in range(m):
                    x, c = at + j, base + k * m + j
                    h, speed = row_flux(rows, weight, still[x], x, (qm[c], qp[c]), work)
                    out[x] += h
                    fastest = max(fastest, speed)
    return fastest


# -- the reference


def slopes(axis: Axis, weno: bool, values: Array, eps: float) -> tuple[Array, Array]:
    """q-, q+ along an axis, (before, n, after) each: the reference of the compiled loops."""
    v = values.reshape(axis.before, axis.n, axis.after)
    if axis.wall == PERIODIC:
        d = (np.roll(v, -1, axis=1) - v) * axis.inverse
        d = np.concatenate([d[:, -3:], d, d[:, :2]], axis=1)
    else:
        d = np.diff(v, axis=1) * axis.inverse
        d = np.concatenate([d[:, :1]] * 3 + [d] + [d[:, -1:]] * 3, axis=1)
    parts = [d[:, r : r + axis.n] for r in range(6)]
    if not weno:
        return parts[2], parts[3]
    centre = (7.0 * (parts[2] + parts[3]) - parts[1] - parts[4]) / 12.0
    second = [after - before for before, after in pairwise(parts)]
    right = _reference_phi(*second[4:0:-1], eps)  # type: ignore[arg-type]
    return centre - _reference_phi(*second[:4], eps), centre + right  # type: ignore[arg-type]


def _reference_phi(a: Array, b: Array, c: Array, d: Array, eps: float) -> Array:
    smoothness = [
        13.0 * (a - b) ** 2 + 3.0 * (a - 3.0 * b) ** 2,
        13.0 * (b - c) ** 2 + 3.0 * (b + c) ** 2,
        13.0 * (c - d) ** 2 + 3.0 * (3.0 * c - d) ** 2,
    ]
    weights = [f / (eps + s) ** 2 for f, s in zip((1.0, 6.0, 3.0), smoothness, strict=True)]
    total = weights[0] + weights[1] + weights[2]
    first, last = weights[0] / total, weights[2] / total
    return first * (a - 2.0 * b + c) / 3.0 + (last - 0.5) * (b - 2.0 * c + d) / 6.0


Parts = Callable[[Array, Array], tuple[Array, Array]]
"""(states (N, L), q (N, L)) -> h_i(q_i) and the velocities h_i'(q_i), (N, L) each."""


def flux(parts: Parts, f: Array, qm: Array, qp: Array) -> tuple[Array, Array]:
    """Godunov's flux of every axis and the largest speed at q-+, (N, L) each, of any concave h_i.

    f, qm, qp : (N, L); qm = -inf and qp = inf at closed walls
    raises ValueError where no velocity keeps a unit from leaving through a closed wall
    """
    left, right = np.isneginf(qm), np.isposinf(qp)
    low = _reach_rest(parts, f, np.where(left, np.minimum(qp, 0.0), qm), left, -1.0)
    high = _reach_rest(parts, f, np.where(right, np.maximum(qm, 0.0), qp), right, 1.0)
    h_low, v_low = parts(f, low)
    h_high, v_high = parts(f, high)
    between = (low <= high) & (v_low > 0.0) & (v_high < 0.0)
    smaller = np.minimum(h_low, h_high)
    rising = np.where(v_high >= 0.0, h_high, h_low)
    result = np.where(low <= high, rising, smaller)
    some = np.flatnonzero(np.any(between, axis=0))
    if some.size:
        peak = _peak(parts, f[:, some], low[:, some], high[:, some])
        result[:, some] = np.where(between[:, some], peak, result[:, some])
    speed = np.maximum(np.where(left, 0.0, np.abs(v_low)), np.where(right, 0.0, np.abs(v_high)))
    return result, speed


def _reach_rest(parts: Parts, f: Array, q: Array, walls: Array, sign: float) -> Array:
    """q, at the walls so far out in the direction of the sign that the velocity does not leave."""
    if not np.any(walls):
        return q
    q, step = q.copy(), 1.0
    for _ in range(DOUBLINGS):
        leaving = walls & (sign * parts(f, q)[1] > 0.0)
        if not np.any(leaving):
            return q
        q[leaving] += sign * step
        step *= 2.0
    unit = int(np.flatnonzero(np.any(leaving, axis=1))[0])
    raise ValueError(f"walls: no control keeps unit {unit} inside its closed wall")


def _peak(parts: Parts, f: Array, low: Array, high: Array) -> Array:
    """The largest h between low and high, where the velocity changes its sign: by bisection, and
    at last the crossing of two tangents, which is exact where the velocity jumps.
    """
    (h_low, v_low), (h_high, v_high) = parts(f, low), parts(f, high)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        h, v = parts(f, middle)
        rising = v > 0.0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
        h_low, h_high = np.where(rising, h, h_low), np.where(rising, h_high, h)
        v_low, v_high = np.where(rising, v, v_low), np.where(rising, v_high, v)
    fall = np.where(v_low > v_high, v_low - v_high, 1.0)
    return h_low + v_low * (h_high - h_low - v_high * (high - low)) / fall


def reference_rates(
    hamiltonian: SeparableHamiltonian,
    axes: tuple[Axis, ...],
    weno: bool,
    f: Array,
    values: Array,
    t: float,
    eps: Array,
) -> tuple[Array, Array]:
    """L + sum_i of Godunov's flux, (size,), and the largest speed along each axis, (N,).

    f : (N, size), all nodes;  values : (size,);  eps : (N,), of each axis
    """
    qm, qp = np.empty_like(f), np.empty_like(f)
    for i, axis in enumerate(axes):
        left, right = slopes(axis, weno, values, eps[i])
        if axis.wall == CLOSED:
            left, right = left.copy(), right.copy()
            left[:, 0], right[:, -1] = -np.inf, np.inf
        qm[i], qp[i] = left.ravel(), right.ravel()
    fluxes, speeds = flux(lambda x, q: hamiltonian.parts(x, q, t), f, qm, qp)
    rate = np.sum(fluxes, axis=0)
    if hamiltonian.has_running_cost:
        rate = rate + hamiltonian.running(f, t)
    return rate, np.max(speeds, axis=1)
