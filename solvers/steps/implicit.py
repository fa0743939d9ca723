"""Implicit Runge-Kutta methods, as data: tableaux whose stages are the solutions of equations."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from continuum.arrays import Array
from continuum.doors import checked

from .newton import Field, Newton
from .tableaux import StepFailed, Stepper, Tangent, Velocity, combine, tableau


@dataclass(frozen=True)
class StageForm:
    """What of a tableau the states F_i of the stages need, rather than their slopes.

    F_i = f + sum_j known_ij (F_j - f) + h slope_i F(t, f) + h sum_j gains_ij F(t + c_j h, F_j),
    f <- f + sum_i final_i (F_i - f) + h final_slope F(t, f).

    known, gains : with A' the part of A without an explicit first stage and C = A'^-1, if A' is
        lower triangular, gains = diag(A') and known_ij = -a_ii C_ij for j < i, so that the stages
        are solved one after the other; else gains = A' and known = 0: they are solved together
    slope : a_i1 - sum_j known_ij a_j1, of the slope at f; 0 without an explicit first stage
    final : b A'^-1; (0, ..., 0, 1) if stiffly accurate, so that nothing is divided by h
    final_slope : b_1 - sum_i final_i a_i1; 0 if stiffly accurate, or without an explicit stage
    groups : the indices of stages that are solved together; an explicit first stage is F_1 = f
    """

    known: Array
    gains: Array
    slope: Array
    final: Array
    final_slope: float
    groups: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(a: Array, b: Array) -> "StageForm":
        """The form of the tableau (A, b).  Raises ValueError if A is singular in another way than
        by a first row of zeros.
        """
        count = len(b)
        first = 0 if np.any(a[0]) else 1
        inner = a[first:, first:]
        if not len(inner) or abs(np.linalg.det(inner)) < 1e-12:
            raise ValueError(
                "a must be an invertible matrix, but for a first row of zeros, an explicit stage; "
                f"got {a.tolist()}"
            )
        start = a[:, 0] if first else np.zeros(count)
        known, final, final_slope = np.zeros_like(a), np.eye(count)[-1], 0.0
        if not np.array_equal(a[-1], b):
            final = np.append(np.zeros(first), np.linalg.solve(inner.T, b[first:]))
            final_slope = float(b[0] * first - final @ start)
        if np.any(np.triu(inner, 1)):
            groups = (*((i,) for i in range(first)), tuple(range(first, count)))
            gains = np.zeros_like(a)
            gains[first:, first:] = inner
            return StageForm(known, gains, start, final, final_slope, groups)
        known[first:, first:] = -np.diag(inner)[:, None] * np.tril(np.linalg.inv(inner), -1)
        groups = tuple((i,) for i in range(count))
        slope = start - known @ start
        return StageForm(known, np.diag(np.diag(a)), slope, final, final_slope, groups)

    @property
    def explicit_first(self) -> bool:
        """The first stage is the state itself."""
        return not np.any(self.gains[0])


@dataclass(frozen=True)
class ImplicitRungeKutta(Stepper):
    """F_i = f + h sum_j a_ij F(t + c_j h, F_j), f <- f + h sum_i b_i F(t + c_i h, F_i), by Newton's
    iteration.

    The Newton matrices are formed and solved sample by sample, O(M (s N)^3) for s stages solved
    together, or, above `newton.krylov_above` units, left unformed (GMRES, O(M N^2) per iteration
    with a dense kernel; NumPy arrays only, those of other libraries keep the matrices).

    newton : how the equations of the stages are solved; raises TypeError for what is no Newton
    """

    a: ClassVar[Array]
    b: ClassVar[Array]
    c: ClassVar[Array]

    newton: Newton = field(default_factory=Newton)

    def __post_init__(self) -> None:
        if not isinstance(self.newton, Newton):
            raise TypeError(f"newton must be Newton(rtol=1e-13) or such, got {self.newton!r}")

    @cached_property
    def form(self) -> StageForm:
        """The tableau as equations for the states of the stages."""
        return StageForm.of(self.a, self.b)

    @property
    def stiffly_accurate(self) -> bool:
        """The last stage is the new state."""
        return np.array_equal(self.a[-1], self.b)

    def step(self, velocity: Velocity, tangent: Tangent, t: float, h: float, f: Array) -> Array:
        stages = self.stages(velocity, tangent, t, h, f)
        if self.stiffly_accurate:
            return stages[-1]
        start = f
        if self.form.final_slope:
            start = f + h * self.form.final_slope * velocity(t, f)
        return combine(start, 1.0, self.form.final, [x - f for x in stages])

    def stages(
        self, velocity: Velocity, tangent: Tangent, t: float, h: float, f: Array
    ) -> list[Array]:
        """The states F_1, ..., F_s of the stages.  Raises StepFailed if an equation was not
        solved.
        """
        form = self.form
        changes: list[Array] = []
        stages: list[Array] = []
        slope = h * velocity(t, f) if form.explicit_first else f
        for group in form.groups:
            chosen = np.array(group)
            starts = [f + float(form.slope[i]) * slope if form.slope[i] else f for i in group]
            known = [
                combine(start, 1.0, form.known[i], changes)
                for i, start in zip(group, starts, strict=True)
            ]
            if not np.any(form.gains[chosen]):
                solved = known
            else:
                fields = [_field(velocity, tangent, t + float(self.c[j]) * h) for j in group]
                gains = h * form.gains[np.ix_(chosen, chosen)]
                try:
                    solved = self.newton.solve(fields, known, gains, f)
                except StepFailed as error:
                    raise StepFailed(f"at t = {t:.6g}, step {h:.3g}: {error}") from error
            stages += solved
            changes += [x - f for x in solved]
        return stages


def _field(velocity: Velocity, tangent: Tangent, t: float) -> Field:
    return Field(lambda x: velocity(t, x), lambda x, dx: tangent(t, x, dx), t)


@checked
class ImplicitMidpoint(ImplicitRungeKutta):
    """f_new = f + h F(t + h/2, (f + f_new) / 2).  Order 2, A-stable, not L-stable; keeps quadratic
    invariants.
    """

    order = 2
    a, b, c = np.array([[0.5]]), np.array([1.0]), np.array([0.5])


@checked
class BackwardEuler(ImplicitRungeKutta):
    """f_new = f + h F(t + h, f_new).  Order 1, L-stable: stiff components are damped, however long
    the step.
    """

    order = 1
    a, b, c = np.array([[1.0]]), np.array([1.0]), np.array([1.0])


_G = 0.43586652150845899942  # the middle root of g^3 - 3 g^2 + 3 g / 2 - 1/6
_B = (-1.5 * _G**2 + 4 * _G - 0.25, 1.5 * _G**2 - 5 * _G + 1.25, _G)


@checked
class SDIRK3(ImplicitRungeKutta):
    """Three stages one after the other, each like a backward Euler step.  Order 3, L-stable,
    stiffly accurate.

    Source: Alexander, Diagonally implicit Runge-Kutta methods for stiff ODEs (1977).
    """

    order = 3
    a = tableau((_G,), (0.5 * (1 - _G), _G), _B)
    b, c = np.array(_B), np.array([_G, 0.5 * (1 + _G), 1.0])
