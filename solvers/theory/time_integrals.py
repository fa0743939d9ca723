"""Adaptive integrals over time of functions known at single times, with an error estimate."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from continuum.arrays import Array
from continuum.records import short

RTOL = 1e-8
_SPLITS = 200
_SAFETY = 20.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(7)


@dataclass(frozen=True)
class TimeIntegrals:
    """int_0^T g dt for g with values in R^n.

    values : (n,), with 20 times the error estimate added: where g grows like (t - a)^-0.9 the
        estimate is that much too small
    settled : (n,) bool; whether the error estimate is below 1e-8 of the integral
    """

    values: Array
    settled: Array

    __repr__ = short


def time_integrals(
    function: Callable[[float], Array], cuts: Array, splits: int = _SPLITS
) -> TimeIntegrals:
    """int g dt over (cuts[0], cuts[-1]), piece by piece between the cuts.

    On a piece (a, b) the variable is x in (0, 1), t = a + (b - a) x^2 (3 - 2x), which makes g(t) dt
    smooth where g grows like 1 / sqrt(t - a) or 1 / sqrt(b - t), and weakens stronger
    singularities.  Gauss's rule with 7 points on an interval is compared with that on its halves;
    the interval with the largest difference is halved, until the sum of the differences is below
    1e-8 of the integral, `splits` intervals have been halved, or doubles do not tell the nodes of
    the next ones from a cut.  g is not evaluated at the cuts.

    function : t -> g(t), (n,), finite and >= 0
    cuts : (P + 1,), increasing
    """

    def times(piece: int, x: Array) -> Array:
        return cuts[piece] + (cuts[piece + 1] - cuts[piece]) * x * x * (3.0 - 2.0 * x)

    def gauss(piece: int, low: float, high: float) -> Array:
        x = 0.5 * (low + high) + 0.5 * (high - low) * _NODES
        weights = 0.5 * (high - low) * _WEIGHTS * 6.0 * x * (1.0 - x)
        values = np.stack([function(float(t)) for t in times(piece, x)])
        return float(cuts[piece + 1] - cuts[piece]) * (weights @ values)

    def interval(piece: int, low: float, high: float, whole: Array) -> _Interval:
        middle = 0.5 * (low + high)
        left, right = gauss(piece, low, middle), gauss(piece, middle, high)
        return _Interval(piece, low, high, left, right, np.abs(left + right - whole))

    found = [interval(k, 0.0, 1.0, gauss(k, 0.0, 1.0)) for k in range(len(cuts) - 1)]
    while True:
        total = np.sum([i.left + i.right for i in found], axis=0)
        errors = np.stack([i.error for i in found])
        settled = errors.sum(axis=0) <= RTOL * total
        relative = errors / np.maximum(total, np.finfo(float).tiny)
        worst = found[int(np.argmax(np.max(relative, axis=1)))]
        near = 0.005 * (worst.high - worst.low)  # nearer to the ends than nodes of its quarters
        ends = times(worst.piece, np.array([worst.low + near, worst.high - near]))
        resolved = cuts[worst.piece] < ends[0] and ends[1] < cuts[worst.piece + 1]
        if bool(np.all(settled)) or splits == 0 or not resolved:
            return TimeIntegrals(total + _SAFETY * errors.sum(axis=0), settled)
        found = [i for i in found if i is not worst]
        middle, splits = 0.5 * (worst.low + worst.high), splits - 1
        found.append(interval(worst.piece, worst.low, middle, worst.left))
        found.append(interval(worst.piece, middle, worst.high, worst.right))


class _Interval(NamedTuple):
    """(low, high) in x on a piece: the integrals over its halves, and |their sum - the whole's|."""

    piece: int
    low: float
    high: float
    left: Array
    right: Array
    error: Array


def cuts_at_changes(
    size: Callable[[float], float], breakpoints: Array, samples: int, most: int = 48
) -> Array:
    """Cuts (P + 1,) for `time_integrals`: the breakpoints, and times where g changes fast.

    size : t -> a cheap measure of g, sampled in the middles of `samples` equal parts
    breakpoints : 0, ..., T, increasing
    Between two samples size changes by a fraction |difference| / (larger of both + mean); a cut is
    made at every half of their sum, so a peak that one sample meets gets cuts on either side.
    """
    start, end = float(breakpoints[0]), float(breakpoints[-1])
    times = start + (end - start) * (np.arange(samples) + 0.5) / samples
    sizes = np.array([size(float(t)) for t in times])
    larger = np.maximum(sizes[1:], sizes[:-1]) + np.mean(sizes)
    change = np.cumsum(np.abs(np.diff(sizes)) / np.maximum(larger, np.finfo(float).tiny))
    step = max(0.5, float(change[-1]) / most)
    levels = np.arange(0.5 * step, float(change[-1]), step)
    return np.union1d(breakpoints, np.interp(levels, np.append(0.0, change), times))
