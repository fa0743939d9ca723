"""Coefficients held at bounds in a quadratic model: the active set of a Box."""

from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array

from ..adjoint.coefficients import Columns
from ..adjoint.linear_quadratic import Linearization
from .objective import Composite


@dataclass(frozen=True, eq=False)
class Bounds:
    """rows : (2, m + p), the bounds of the coefficients of a layer and of the static ones; low,
    high : the same for the vector of all, (K m + p,)."""

    rows: Array
    low: Array
    high: Array

    @staticmethod
    def of(problem: Composite, columns: Columns) -> "Bounds":
        """Those of the problem's Box; infinite where it has none."""
        rows, intervals = np.empty((2, len(columns))), problem.intervals or {}
        for block in problem.space.trained:
            pair = intervals.get(block.name, (-np.inf, np.inf))
            rows[:, columns.part(block)] = np.array(pair)[:, None]
        layers, m = problem.space.mesh.layers, columns.m
        low, high = (np.append(np.tile(row[:m], layers), row[m:]) for row in rows)
        return Bounds(rows, low, high)

    @property
    def any(self) -> bool:
        """True if some coefficient is bounded."""
        return bool(np.any(np.isfinite(self.rows)))

    def clip(self, x: Array) -> Array:
        """The nearest vector inside."""
        return np.clip(x, self.low, self.high)

    def held(self, x: Array, slope: Array, distance: float) -> tuple[Array, Array]:
        """Which coefficients lie on a bound that -slope pushes them against, and their way to it.

        distance : what is nearer to a bound than this, and than a thousandth of the interval,
            counts as lying on it: sets that do not change with rounding (Bertsekas)
        """
        near = np.minimum(distance, 1e-3 * (self.high - self.low))
        lowest = (x <= self.low + near) & (slope > 0.0)
        highest = (x >= self.high - near) & (slope < 0.0)
        way = np.where(lowest, self.low - x, 0.0) + np.where(highest, self.high - x, 0.0)
        return lowest | highest, way


def masked(
    given: Linearization, columns: Columns, weights: Array, held: Array, way: Array
) -> Linearization:
    """The model on the coefficients that are not held: the others decouple, with curvature 1 in
    the metric and the minimum at `way`, their way to the bound.
    """
    if not np.any(held):
        return given
    (u, s), (own, static) = columns.split(held), columns.split(weights)
    pull, push = columns.split(-weights * way)
    lq, borders = given.model, given.borders
    free = ~u
    B, S = (np.where(u[:, None, None, :], 0.0, x) for x in (lq.B, lq.S))
    R = lq.R * (free[:, :, None] & free[:, None, :])
    a = np.arange(columns.m)
    R[:, a, a] += np.where(u, own, 0.0)
    if borders is not None:
        P = borders.P * (~s[:, None] & ~s) + np.diag(np.where(s, static, 0.0))
        borders = borders._replace(
            B=np.where(s, 0.0, borders.B),
            S=np.where(s, 0.0, borders.S),
            R=borders.R * (free[:, :, None] & ~s),
            P=P,
            r=np.where(s, push, borders.r),
        )
    model = lq._replace(B=B, S=S, R=R, r=np.where(u, pull, lq.r))
    return given._replace(model=model, borders=borders)
