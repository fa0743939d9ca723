"""Value functions by flows along one axis at a time, for the kind "interval".

Unit i moves with any velocity between lo_i(f, t) and hi_i(f, t).  With the other units held, what
it reaches in a time dt from x is the interval between the flows of lo_i and hi_i along its axis, so

    (S_i(dt) V)(x) = min of V(y), y_i between the two flows, y_j = x_j for j != i,

is exact in time.  A step is Strang's, S_1(dt/2) ... S_N(dt) ... S_1(dt/2), of second order, with
half of the running cost before and half after it.

Between nodes k and k + 1, at k + x, a line of values is a cubic,

    V_k + x (V_{k+1} - V_k) - x (1 - x) (m0 + m1 x) / 2,

Lagrange's through four nodes where the second differences a, b at k and k + 1 are alike, and where
they are not the parabola with the smaller of the two, the line if their signs differ; beyond an
open wall V goes on linearly.  The interpolant's own minima inside a cell are found exactly.

Every step interpolates, so that many steps diffuse while few split badly: see `steps_for`.
"""

from math import ceil, sqrt

import numpy as np

from continuum.arrays import Array
from continuum.compiled import compiled, inlined

from .lines import CLOSED, PERIODIC, Axis

_COLUMNS = 8
"""Lines that lie side by side in memory and are worked on together."""
_CELLS = 1.5
"""Spacings that states pass in one step, on average."""


def strips(axis: Axis) -> int:
    """Into how many parts the loops below divide the lines of an axis."""
    return axis.before * (-(-axis.after // _COLUMNS))


def steps_for(horizon: float, axes: tuple[Axis, ...], low: Array, high: Array) -> int:
    """How many steps: states pass about 1.5 spacings in each, on average over the grid.

    low, high : (N, size), the bounds of velocities.  Splitting then errs by a multiple of h^2, and
    interpolation, once per step, by less where V is smooth
    """
    speeds = [
        float(np.mean(np.maximum(np.abs(lo), np.abs(hi)))) * axis.inverse
        for axis, lo, hi in zip(axes, low, high, strict=True)
    ]
    return max(1, ceil(horizon * max(speeds) / _CELLS))


# -- compiled loops


@inlined
def _cubics(v, periodic, eps, m0, m1):
    """m0, m1 <- the coefficients of every cell of a line; on a periodic one the last cell leads
    back to the first node.
    """
    n = v.size
    for k in range(n if periodic else n - 1):
        if periodic:
            here, there = v[k], v[(k + 1) % n]
            a = v[k - 1] - 2.0 * here + there
            b = here - 2.0 * there + v[(k + 2) % n]
        else:
            a = v[k - 1] - 2.0 * v[k] + v[k + 1] if k > 0 else v[0] - 2.0 * v[1] + v[2]
            b = v[k] - 2.0 * v[k + 1] + v[k + 2] if k < n - 2 else a
        smaller = a if abs(a) < abs(b) else b
        smaller = smaller if a * b > 0.0 else 0.0
        alike = (2.0 * a * b + eps) / (a * a + b * b + eps)
        alike = alike if alike > 0.0 else 0.0
        m0[k] = smaller + alike * ((2.0 * a + b) / 3.0 - smaller)
        m1[k] = alike * (b - a) / 3.0


@inlined
def _minima(v, periodic, m0, m1, where, least):
    """where, least <- place in the cell and value of a minimum inside it; where = -1 if none."""
    n = v.size
    for k in range(n if periodic else n - 1):
        rise = v[(k + 1) % n] - v[k]
        start, end = rise - 0.5 * m0[k], rise + 0.5 * (m0[k] + m1[k])
        where[k] = -1.0
        if start < 0.0 and end > 0.0:
            linear, square = m0[k] - m1[k], 1.5 * m1[k]
            root = sqrt(max(linear * linear - 4.0 * square * start, 0.0))
            x = min(-2.0 * start / (linear + root), 1.0)
            where[k] = x
            least[k] = v[k] + x * rise - 0.5 * x * (1.0 - x) * (m0[k] + m1[k] * x)


@inlined
def _at(v, periodic, m0, m1, y):
    """The interpolant at y, in nodes from the first."""
    n = v.size
    cell = int(np.floor(y))
    if periodic:
        x = y - cell
        k = cell % n
        there = v[(k + 1) % n]
    else:
        k = min(max(cell, 0), n - 2)
        x = y - k
        there = v[k + 1]
        if x < 0.0 or x > 1.0:
            return v[k] + x * (there - v[k])
    return v[k] + x * (there - v[k]) - 0.5 * x * (1.0 - x) * (m0[k] + m1[k] * x)


@compiled
def flow_strips(
    axis: Axis, velocity: Array, dt: float, eps: float, first: int, last: int, reached: Array
) -> None:
    """reached (before, after, n) <- where the flow of `velocity` along the axis leads each node in
    a time dt, in nodes from the first: one step of Runge-Kutta's method of fourth order.

    velocity : flat, at the nodes, interpolated between them;  strips first, ..., last - 1
    """
    n, after = axis.n, axis.after
    parts, periodic = -(-after // _COLUMNS), axis.wall == PERIODIC
    v, m0, m1 = np.empty(n), np.empty(n), np.empty(n)
    step = dt * axis.inverse
    for strip in range(first, last):
        line, start = strip // parts, (strip % parts) * _COLUMNS
        for j in range(start, min(start + _COLUMNS, after)):
            for k in range(n):
                v[k] = velocity[(line * n + k) * after + j]
            _cubics(v, periodic, eps, m0, m1)
            base = (line * after + j) * n
            for k in range(n):
                a = step * v[k]
                b = step * _at(v, periodic, m0, m1, k + 0.5 * a)
                c = step * _at(v, periodic, m0, m1, k + 0.5 * b)
                d = step * _at(v, periodic, m0, m1, k + c)
                y = k + (a + 2.0 * b + 2.0 * c + d) / 6.0
                if axis.wall == CLOSED:
                    y = min(max(y, 0.0), n - 1.0)
                reached[base + k] = y


@compiled
def least_strips(
    axis: Axis, values: Array, low: Array, high: Array, eps: float, first: int, last: int
) -> None:
    """values <- in place, the least value that each node reaches along the axis.

    low, high : (before, after, n), flat, from `flow_strips`;  strips first, ..., last - 1
    """
    n, after = axis.n, axis.after
    parts, periodic = -(-after // _COLUMNS), axis.wall == PERIODIC
    cells = n if periodic else n - 1
    lines, out = np.empty((_COLUMNS, n)), np.empty((_COLUMNS, n))
    m0, m1, where, least = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for strip in range(first, last):
        line, start = strip // parts, (strip % parts) * _COLUMNS
        count = min(_COLUMNS, after - start)
        for k in range(n):
            base = (line * n + k) * after + start
            for j in range(count):
                lines[j, k] = values[base + j]
        for j in range(count):
            v, best = lines[j], out[j]
            _cubics(v, periodic, eps, m0, m1)
            _minima(v, periodic, m0, m1, where, least)
            base = (line * after + start + j) * n
            for k in range(n):
                a, b = low[base + k], high[base + k]
                value = min(_at(v, periodic, m0, m1, a), _at(v, periodic, m0, m1, b))
                left, right = int(np.floor(a)), int(np.floor(b))
                if not periodic:
                    left, right = max(left, -1), min(right, n - 1)
                for cell in range(left, right + 1):
                    c = cell % n if periodic else cell
                    if cell > left:
                        value = min(value, v[c])
                    if 0 <= c < cells and where[c] >= 0.0:
                        z = cell + where[c]
                        if a < z < b:
                            value = min(value, least[c])
                best[k] = value
        for k in range(n):
            base = (line * n + k) * after + start
            for j in range(count):
                values[base + j] = out[j, k]


# -- the reference


class Line:
    """The interpolant of values (before, n, after) along the middle axis, by NumPy."""

    def __init__(self, axis: Axis, values: Array, eps: float) -> None:
        self.axis = axis
        self.periodic = axis.wall == PERIODIC
        v = np.moveaxis(values.reshape(axis.before, axis.n, axis.after), 1, 2)
        self.v = v.reshape(-1, axis.n)
        if self.periodic:
            second = np.roll(self.v, 1, 1) - 2.0 * self.v + np.roll(self.v, -1, 1)
            a, b = second, np.roll(second, -1, 1)
            self.rise = np.roll(self.v, -1, 1) - self.v
        else:
            second = np.diff(self.v, 2, axis=1)
            second = np.concatenate([second[:, :1], second, second[:, -1:]], axis=1)
            a, b = second[:, :-1], second[:, 1:]
            self.rise = np.diff(self.v, axis=1)
        smaller = np.where(a * b > 0.0, np.where(np.abs(a) < np.abs(b), a, b), 0.0)
        alike = np.maximum((2.0 * a * b + eps) / (a * a + b * b + eps), 0.0)
        self.m0 = smaller + alike * ((2.0 * a + b) / 3.0 - smaller)
        self.m1 = alike * (b - a) / 3.0

    def at(self, y: Array) -> Array:
        """(lines, n) at places (lines, n), in nodes from the first."""
        cell = np.floor(y).astype(np.int64)
        k = cell % self.axis.n if self.periodic else np.clip(cell, 0, self.axis.n - 2)
        x = y - (cell if self.periodic else k)
        v, rise, m0, m1 = (
            np.take_along_axis(array, k, 1) for array in (self.v, self.rise, self.m0, self.m1)
        )
        bend = np.where((x < 0.0) | (x > 1.0), 0.0, 0.5 * x * (1.0 - x) * (m0 + m1 * x))
        return v + x * rise - bend

    def minima(self) -> tuple[Array, Array]:
        """Where in each cell the interpolant has a minimum inside, NaN if nowhere, and its value,
        inf if none.
        """
        start, end = self.rise - 0.5 * self.m0, self.rise + 0.5 * (self.m0 + self.m1)
        linear, square = self.m0 - self.m1, 1.5 * self.m1
        some = (start < 0.0) & (end > 0.0)
        root = np.sqrt(np.maximum(linear**2 - 4.0 * square * start, 0.0))
        x = np.minimum(-2.0 * start / np.where(some, linear + root, 1.0), 1.0)
        value = self.v[:, : x.shape[1]] + x * self.rise
        value = value - 0.5 * x * (1.0 - x) * (self.m0 + self.m1 * x)
        return np.where(some, x, np.nan), np.where(some, value, np.inf)


def reference_flow(axis: Axis, velocity: Array, dt: float, eps: float) -> Array:
    """What `flow_strips` fills, flat."""
    line, nodes = Line(axis, velocity, eps), np.arange(float(axis.n))
    step = dt * axis.inverse
    a = step * line.v
    b = step * line.at(nodes + 0.5 * a)
    c = step * line.at(nodes + 0.5 * b)
    d = step * line.at(nodes + c)
    y = nodes + (a + 2.0 * b + 2.0 * c + d) / 6.0
    return (np.clip(y, 0.0, axis.n - 1.0) if axis.wall == CLOSED else y).ravel()


def reference_least(axis: Axis, values: Array, low: Array, high: Array, eps: float) -> Array:
    """What `least_strips` makes of values, flat."""
    line, n = Line(axis, values, eps), axis.n
    a, b = low.reshape(-1, n), high.reshape(-1, n)
    best = np.minimum(line.at(a), line.at(b))
    where, least = line.minima()
    for cell in range(int(np.floor(np.min(a))), int(np.floor(np.max(b))) + 1):
        c = cell % n if line.periodic else cell
        if 0 <= c < n:
            best = np.where((a < cell) & (cell <= b), np.minimum(best, line.v[:, c, None]), best)
        if 0 <= c < where.shape[1]:
            z = cell + where[:, c, None]
            best = np.where((a < z) & (z < b), np.minimum(best, least[:, c, None]), best)
    shape = (axis.before, axis.after, n)
    return np.moveaxis(best.reshape(shape), 2, 1).ravel()
