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
from contextlib import suppress
from dataclasses import dataclass
from math import exp

import numpy as np
import scipy

from continuum.arrays import Array

from ..run.solution import SolveError
from .families import Family

_NEWTON = 8
"""Newton steps of a corrector."""

_LONGEST, _LAST = 1.0, 1e-7
"""A Newton step that is longer leads to another curve; the last one must be as short as this."""

_DIFFERENCE = 1e-5
"""Step of the differences in the matrix of Newton's method for branch points."""


@dataclass(frozen=True, eq=False)
class Point:
    """A solution of F = 0.

    z : (n + 1,), y and theta
    value : J
    residual : |F|
    eigenvalues : (n,), of H, increasing
    tangent : (n + 1,), of norm 1
    """

    z: Array
    value: float
    residual: float
    eigenvalues: Array
    tangent: Array

    @property
    def theta(self) -> float:
        """log p."""
        return float(self.z[-1])

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
            if residual <= self.gtol and length <= _LAST:
                tangent = _bordered(matrix, before, np.append(np.zeros(len(f)), 1.0))
                if tangent is None:
                    return None
                unit = tangent / np.linalg.norm(tangent)
                return Point(z, value, residual, np.linalg.eigvalsh(matrix[:, :-1]), unit)
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

        Where the measure has one sign at both, the one where it is less.  Close to a branch point
        the corrector may fail: then the best of the points found; None if there are none.
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
        with suppress(ArithmeticError):
            scipy.optimize.brentq(at, 0.0, length, xtol=1e-14, maxiter=60, disp=False)
        best = min(known.values(), key=lambda point: abs(measure(point)))
        return None if best is one or best is other else best

    def crossing(self, one: Point, other: Point, number: int) -> Point | None:
        """The branch point between two neighbours where the eigenvalue of H with this number passes
        zero; None if it is not found there.  Its tangent is the chord.

        With M = [H F_theta], Newton's method for F + epsilon w = 0, M^T w = 0, |w| = 1 in z, w and
        epsilon, which is regular where one other branch crosses; epsilon is then 0.  In its matrix,
        and there alone, the second derivatives of w . F are differences of M.
        """
        share = one.eigenvalues[number] / (one.eigenvalues[number] - other.eigenvalues[number])
        chord = other.z - one.z
        z, epsilon, n = one.z + share * chord, 0.0, len(chord) - 1
        try:
            value, f, matrix = self.system(z)
            w = np.linalg.eigh(matrix[:, :-1])[1][:, number]
            for _ in range(_NEWTON):
                right = np.concatenate([f + epsilon * w, matrix.T @ w, [0.5 * (w @ w - 1.0)]])
                derivative = np.zeros((2 * n + 2, 2 * n + 2))
                derivative[:n, : n + 1] = matrix
                derivative[:n, n + 1 : -1] = epsilon * np.eye(n)
                derivative[:n, -1] = w
                derivative[n:-1, : n + 1] = self._bend(z, w)
                derivative[n:-1, n + 1 : -1] = matrix.T
                derivative[-1, n + 1 : -1] = w
                step = -np.linalg.solve(derivative, right)
                length = float(np.linalg.norm(step))
                if not length <= _LONGEST:
                    return None
                z, w, epsilon = z + step[: n + 1], w + step[n + 1 : -1], epsilon + step[-1]
                value, f, matrix = self.system(z)
                if length <= _LAST:
                    break
        except (SolveError, np.linalg.LinAlgError):
            return None
        residual, unit = float(np.linalg.norm(f)), chord / np.linalg.norm(chord)
        inside = 0.0 <= float(unit @ (z - one.z)) <= float(np.linalg.norm(chord))
        if not (inside and residual <= self.gtol):
            return None
        return Point(z, value, residual, np.linalg.eigvalsh(matrix[:, :-1]), unit)

    def _bend(self, z: Array, w: Array) -> Array:
        """(n + 1, n + 1): second derivatives of w . F in z, by central differences of M."""
        along, last = np.append(w, 0.0), np.append(np.zeros(len(w)), 1.0)

        def change(direction: Array) -> Array:
            ends = [self.system(z + h * direction)[2] for h in (_DIFFERENCE, -_DIFFERENCE)]
            return (ends[0] - ends[1]) / (2.0 * _DIFFERENCE)

        found = np.zeros((len(z), len(z)))
        found[:-1] = change(along)
        found[-1, :-1] = found[:-1, -1]
        found[-1, -1] = w @ change(last)[:, -1]
        return found

    def system(self, z: Array) -> tuple[float, Array, Array]:
        """J, F and [H F_theta].  Raises SolveError where the state is not finite."""
        y, p = z[:-1], exp(z[-1])
        value, f, h, slope = self.family.evaluate(y, p)
        return value, f, np.column_stack([h, p * slope])


def _bordered(matrix: Array, row: Array, right: Array) -> Array | None:
    """The solution of [matrix; row] x = right; None if it is singular."""
    try:
        return np.linalg.solve(np.vstack([matrix, row]), right)
    except np.linalg.LinAlgError:
        return None
