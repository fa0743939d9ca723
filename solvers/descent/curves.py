"""Curves of stationary points of a family: predictor and corrector of pseudo-arclength.

With F(y, p) = dJ/dy, H = dF/dy and theta = log p, a curve consists of solutions z = (y, theta) of
F = 0.  Its unit tangent t solves [H F_theta] t = 0.  From a point z the predictor is z + h t; the
corrector is Newton's method for F = 0, t . (z' - z) = h, whose matrix

    [ H      F_theta ]
    [ t_y    t_theta ]

is regular at folds, where H is singular.  It is singular at branch points, which steps pass.
Source: Keller, in Applications of Bifurcation Theory (1977); Allgower and Georg, Introduction to
Numerical Continuation Methods (2003), chapters 2, 6 and 8.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import exp

import numpy as np
import scipy.optimize

from continuum.arrays import Array

from ..run.solution import SolveError
from .families import Family

_NEWTON = 8
"""Newton steps of a corrector."""

_LONGEST = 1.0
"""A Newton step that is longer leads to another curve."""


@dataclass(frozen=True, eq=False)
class Point:
    """A solution of F = 0.

    z : (n + 1,), y and theta
    value : J
    residual : |F|
    matrix : (n, n + 1), [H F_theta]
    tangent : (n + 1,), of norm 1
    """

    z: Array
    value: float
    residual: float
    matrix: Array
    tangent: Array

    @property
    def theta(self) -> float:
        """log p."""
        return float(self.z[-1])

    @cached_property
    def eigenvalues(self) -> Array:
        """(n,), of H, increasing."""
        return np.linalg.eigvalsh(self.matrix[:, :-1])

    @property
    def scale(self) -> float:
        """The largest eigenvalue of H in absolute value."""
        return float(np.max(np.abs(self.eigenvalues)))

    def negative(self, rtol: float) -> int:
        """How many eigenvalues are below -rtol times the largest: the Morse index."""
        return int(np.sum(self.eigenvalues < -rtol * self.scale))

    def null(self, rtol: float) -> int:
        """How many eigenvalues are at most rtol times the largest, in absolute value."""
        return int(np.sum(np.abs(self.eigenvalues) <= rtol * self.scale))


@dataclass(frozen=True, eq=False)
class Curve:
    """The solutions of F = 0 of a family; a point is one where |F| <= gtol."""

    family: Family
    gtol: float

    def solved(self, guess: Array, row: Array, level: float, before: Array) -> Point | None:
        """The point with row . z = level, by Newton's method from a guess; None if it finds none.

        Two Newton steps at least, so that the last one is short.
        before : the tangent is the one that has a positive product with it
        """
        z, length = guess, np.inf
        for _ in range(_NEWTON):
            try:
                value, f, matrix = self.system(z)
            except SolveError:
                return None
            residual = float(np.linalg.norm(f))
            if residual <= self.gtol and length <= np.sqrt(self.gtol):
                tangent = _bordered(matrix, before, np.append(np.zeros(len(f)), 1.0))
                if tangent is None:
                    return None
                return Point(z, value, residual, matrix, tangent / np.linalg.norm(tangent))
            step = _bordered(matrix, row, np.append(-f, level - row @ z))
            length = np.inf if step is None else float(np.linalg.norm(step))
            if step is None or not length <= _LONGEST:
                return None
            z = z + step
        return None

    def at(self, guess: Array, theta: float, before: Array) -> Point | None:
        """The point near a guess with this theta."""
        row = np.append(np.zeros(len(guess) - 1), 1.0)
        return self.solved(np.append(guess[:-1], theta), row, theta, before)

    def root(self, one: Point, other: Point, measure: Callable[[Point], float]) -> Point | None:
        """The point between two neighbours where a measure of points vanishes, by Brent's method in
        s, t . (z - one.z) = s with t the tangent at `one`.

        Where the measure has one sign at both, the one where it is less; None if a point between
        is not found.
        """
        row, chord = one.tangent, other.z - one.z
        length = float(row @ chord)
        known = {0.0: one, length: other}

        def at(s: float) -> float:
            if s not in known:
                guess = one.z + (s / length) * chord
                found = self.solved(guess, row, float(row @ one.z) + s, row)
                if found is None:
                    raise ArithmeticError(f"no point at {s}")
                known[s] = found
            return float(measure(known[s]))

        if at(0.0) * at(length) > 0.0:
            return min(one, other, key=lambda point: abs(measure(point)))
        try:
            scipy.optimize.brentq(at, 0.0, length, xtol=1e-14, maxiter=60, disp=False)
        except ArithmeticError:
            return None
        return min(known.values(), key=lambda point: abs(measure(point)))

    def system(self, z: Array) -> tuple[float, Array, Array]:
        """J, F and [H F_theta].  Raises SolveError where the state is not finite."""
        y, p = z[:-1], exp(z[-1])
        value, f = self.family.evaluate(y, p)
        h = self.family.hessian(y, p)
        return value, f, np.column_stack([h, p * self.family.sensitivity(y, p)])


def _bordered(matrix: Array, row: Array, right: Array) -> Array | None:
    """The solution of [matrix; row] x = right; None if it is singular."""
    try:
        return np.linalg.solve(np.vstack([matrix, row]), right)
    except np.linalg.LinAlgError:
        return None
