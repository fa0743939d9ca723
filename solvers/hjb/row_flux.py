"""Godunov's flux of one unit of the kinds "entries" and "scalar", node by node, compiled.

entries:  h(q) = q still + w sum_k m_k min_c [p r_k c + lambda_k c^2],     p = q / w
scalar:   h(q) = w min_s [p psi(s) + (s - still)^2 / kappa],    kappa = sum_k m_k r_k^2 / lambda_k

The second minimum lies between still and still - kappa p sup psi' / 2.  Where kappa |p| sup |psi''|
< 2 the bracket is convex, and Newton's iteration, kept inside by bisection, finds its minimum;
elsewhere every local minimum that samples of the interval show is found so, and the least taken.
"""

from typing import NamedTuple

import numpy as np

from continuum.activations import Activation
from continuum.arrays import Array
from continuum.compiled import FROM_VALUE, activate_row, compiled, slope_row

HALVINGS, DOUBLINGS = 30, 200
"""Bisections of the place where a velocity changes sign; doublings of slopes at closed walls."""
SAMPLES = 81
"""Places at which a minimum is looked for, twice: from the far end of its interval towards `still`,
each distance a part of the one before; and equally spaced where activations bend.
"""
_RATIO, _WINDOW = 0.75, 20.0
_NEWTON = 60


class Rows(NamedTuple):
    """What the loops read: r (P, size), measure, low, high, strength (P,) as in `Features`; of the
    kind "scalar" also the code and parameter of psi, whether psi' is read from values, sup |psi'|
    and sup |psi''| (inf if it has kinks).
    """

    r: Array
    measure: Array
    low: Array
    high: Array
    strength: Array
    scalar: bool
    code: int
    parameter: float
    from_value: bool
    steepest: float
    bend: float


def activation_numbers(psi: Activation) -> tuple[int, float, bool, float, float]:
    """The last five entries of `Rows` for an activation with a code; sup |psi''| from a sample,
    with a margin.
    """
    bend = 1.001 * float(np.max(np.abs(psi.second(np.linspace(-12.0, 12.0, 24_001)))))
    code = int(psi.code or 0)
    bend = bend if psi.smooth else np.inf
    return code, psi.parameter, code in FROM_VALUE, psi.lipschitz, bend


@compiled
def _psi(rows: Rows, s: float, work: Array) -> tuple[float, float]:
    """psi(s) and psi'(s)."""
    at, slope = work[0, :1], work[1, :1]
    at[0], slope[0] = s, 1.0
    activate_row(rows.code, rows.parameter, at)
    value = at[0]
    if not rows.from_value:
        at[0] = s
    slope_row(rows.code, rows.parameter, at, slope)
    return value, slope[0]


@compiled
def _zero(
    rows: Rows, p: float, still: float, kappa: float, ends: tuple[float, float, float], work: Array
) -> float:
    """A zero of 2 (s - still) / kappa + p psi'(s), from < 0 to > 0, between the first and the last
    of three places; from the middle one, by secants kept inside by bisection.
    """
    low, s, high = ends
    before, r_before = s, 0.0
    for number in range(_NEWTON):
        r = 2.0 * (s - still) / kappa + p * _psi(rows, s, work)[1]
        if r < 0.0:
            low = s
        else:
            high = s
        step = 0.0
        if number > 0 and r != r_before:
            step = -r * (s - before) / (r - r_before)
        before, r_before = s, r
        s = s + step
        if step == 0.0 or not low < s < high:
            s = 0.5 * (low + high)
        if abs(s - before) <= 1e-15 * (1.0 + abs(s)):
            break
    return s


@compiled
def _scalar_minimiser(rows: Rows, p: float, still: float, kappa: float, work: Array) -> float:
    """The s of the scalar kind; kappa > 0."""
    if p == 0.0:
        return still
    far = still - 0.5 * kappa * p * rows.steepest
    low, high = min(still, far), max(still, far)
    if kappa * abs(p) * rows.bend < 2.0:
        return _zero(rows, p, still, kappa, (low, still, high), work)
    place, value = work[2], work[3]
    best, found = np.inf, still
    for window in range(2):
        first, last = max(low, -_WINDOW), min(high, _WINDOW)
        if window and first >= last:
            break
        distance = far - still
        for k in range(SAMPLES):
            place[k] = first + k * (last - first) / (SAMPLES - 1) if window else still + distance
            distance = distance * _RATIO if k < SAMPLES - 2 else 0.0
        value[:] = place
        activate_row(rows.code, rows.parameter, value)
        for k in range(SAMPLES):
            value[k] = p * value[k] + (place[k] - still) ** 2 / kappa
        for k in range(SAMPLES):
            before, after = max(k - 1, 0), min(k + 1, SAMPLES - 1)
            if value[k] <= value[before] and value[k] <= value[after]:
                one, other = place[before], place[after]
                ends = min(one, other), place[k], max(one, other)
                s = _zero(rows, p, still, kappa, ends, work)
                least = p * _psi(rows, s, work)[0] + (s - still) ** 2 / kappa
                if least < best:
                    best, found = least, s
    return found


@compiled
def _value(
    rows: Rows, weight: float, still: float, x: int, q: float, work: Array
) -> tuple[float, float]:
    """h(q) and h'(q), the velocity, at node x."""
    p = q / weight
    if rows.scalar:
        kappa = 0.0
        for k in range(rows.measure.size):
            kappa += rows.measure[k] * rows.r[k, x] ** 2 / rows.strength[k]
        s, penalty = still, 0.0
        if kappa > 0.0:
            s = _scalar_minimiser(rows, p, still, kappa, work)
            penalty = (s - still) ** 2 / kappa
        v = _psi(rows, s, work)[0]
        return q * v + weight * penalty, v
    v, penalty = still, 0.0
    for k in range(rows.measure.size):
        r, strength = rows.r[k, x], rows.strength[k]
        slope = p * r
        if strength > 0.0:
            c = min(max(-0.5 * slope / strength, rows.low[k]), rows.high[k])
        else:
            c = rows.low[k] if slope > 0.0 else rows.high[k]
        v += rows.measure[k] * r * c
        penalty += rows.measure[k] * strength * c * c
    return q * v + weight * penalty, v


@compiled
def row_flux(
    rows: Rows, weight: float, still: float, x: int, slopes: tuple[float, float], work: Array
) -> tuple[float, float]:
    """Godunov's flux at node x and the largest speed at the slopes q-, q+, which are -inf and inf
    at closed walls.

    weight, still : those of the unit;  work : (4, SAMPLES)
    """
    qm, qp = slopes
    low, high = qm, qp
    if qm == -np.inf or qp == np.inf:
        sign = -1.0 if qm == -np.inf else 1.0
        reach, step = (min(qp, 0.0) if sign < 0.0 else max(qm, 0.0)), 1.0
        for _ in range(DOUBLINGS):
            if sign * _value(rows, weight, still, x, reach, work)[1] <= 0.0:
                break
            reach += sign * step
            step *= 2.0
        low, high = (reach, qp) if sign < 0.0 else (qm, reach)
    h_low, v_low = _value(rows, weight, still, x, low, work)
    h_high, v_high = _value(rows, weight, still, x, high, work)
    speed = 0.0 if qm == -np.inf else abs(v_low)
    speed = speed if qp == np.inf else max(speed, abs(v_high))
    if low > high:
        return min(h_low, h_high), speed
    if v_high >= 0.0:
        return h_high, speed
    if v_low <= 0.0:
        return h_low, speed
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        h, v = _value(rows, weight, still, x, middle, work)
        if v > 0.0:
            low, h_low, v_low = middle, h, v
        else:
            high, h_high, v_high = middle, h, v
    return h_low + v_low * (h_high - h_low - v_high * (high - low)) / (v_low - v_high), speed
