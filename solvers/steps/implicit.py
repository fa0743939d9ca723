"""Implicit Runge-Kutta methods, as data: tableaux whose stages are the solutions of equations."""

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import ClassVar

import numpy as np

from continuum.arrays import Array

from .newton import Field, Newton
from .tableaux import StepFailed, Stepper, Tangent, Velocity, combine, tableau


@dataclass(frozen=True)
class StageForm:
    """What of a tableau with invertible A the states F_i of the stages need, rather than their
    slopes.

    F_i = f + sum_j known_ij (F_j - f) + h sum_j gains_ij F(t + c_j h, F_j),  f <- f + sum_i final_i
    (F_i - f).

    known, gains : diagonally implicit: with C = A^-1, gains = diag(A) and known_ij = -a_ii C_ij for
        j < i, so that the stages are solved one after the other; else gains = A and known = 0: they
        are solved together
    final : b A^-1; (0, ..., 0, 1) if stiffly accurate, so that nothing is divided by h
    groups : the indices of stages that are solved together
    """

    known: Array
    gains: Array
    final: Array
    groups: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(a: Array, b: Array) -> "StageForm":
        """The form of the tableau (A, b).  Raises ValueError if A is singular, as with an explicit
        first stage.
        """
        count = len(b)
        if abs(np.linalg.det(a)) < 1e-12:
            raise ValueError(f"a must be an invertible matrix, got {a.tolist()}")
        final = np.eye(count)[-1] if np.array_equal(a[-1], b) else np.linalg.solve(a.T, b)
        if np.any(np.triu(a, 1)):
            return StageForm(np.zeros_like(a), a, final, (tuple(range(count)),))
        known = -np.diag(a)[:, None] * np.tril(np.linalg.inv(a), -1)
        return StageForm(known, np.diag(np.diag(a)), final, tuple((i,) for i in range(count)))


@dataclass(frozen=True)
class ImplicitRungeKutta(Stepper):
    """F_i = f + h sum_j a_ij F(t + c_j h, F_j), f <- f + h sum_i b_i F(t + c_i h, F_i), by Newton's
    iteration.

    The Newton matrices are formed and solved sample by sample, O(M (s N)^3) for s stages solved
    together, or, above `krylov_above` units, left unformed (GMRES, O(M N^2) per iteration with a
    dense kernel; NumPy arrays only, those of other libraries keep the matrices).

    rtol : of the last Newton correction, relative to 1 + |f|, in the maximum norm
    """

    a: ClassVar[Array]
    b: ClassVar[Array]
    c: ClassVar[Array]

    rtol: float = 1e-13
    max_iterations: int = 50
    krylov_above: int = 256

    def __post_init__(self) -> None:
        self.newton  # noqa: B018 - so that bad options are met here

    @cached_property
    def form(self) -> StageForm:
        """The tableau as equations for the states of the stages."""
        return StageForm.of(self.a, self.b)

    @property
    def stiffly_accurate(self) -> bool:
        """The last stage is the new state."""
        return np.array_equal(self.a[-1], self.b)

    @property
    def newton(self) -> Newton:
        """The iteration that solves them."""
        return Newton(self.rtol, self.max_iterations, self.krylov_above)

    def step(self, velocity: Velocity, tangent: Tangent, t: float, h: float, f: Array) -> Array:
        stages = self.stages(velocity, tangent, t, h, f)
        return (
            stages[-1]
            if self.stiffly_accurate
            else combine(f, 1.0, self.form.final, [x - f for x in stages])
        )

    def stages(
        self, velocity: Velocity, tangent: Tangent, t: float, h: float, f: Array
    ) -> list[Array]:
        """The states F_1, ..., F_s of the stages.  Raises StepFailed if an equation was not
        solved.
        """
        form = self.form
        changes: list[Array] = []
        stages: list[Array] = []
        for group in form.groups:
            chosen = np.array(group)
            known = [combine(f, 1.0, form.known[i], changes) for i in group]
            fields = [_field(velocity, tangent, t + float(self.c[j]) * h) for j in group]
            try:
                solved = self.newton.solve(fields, known, h * form.gains[np.ix_(chosen, chosen)], f)
            except StepFailed as error:
                raise StepFailed(f"at t = {t:.6g}, step {h:.3g}: {error}") from error
            stages += solved
            changes += [x - f for x in solved]
        return stages


def _field(velocity: Velocity, tangent: Tangent, t: float) -> Field:
    return Field(lambda x: velocity(t, x), lambda x, dx: tangent(t, x, dx))


class ImplicitMidpoint(ImplicitRungeKutta):
    """f_new = f + h F(t + h/2, (f + f_new) / 2).  Order 2, A-stable, not L-stable; keeps quadratic
    invariants.
    """

    order = 2
    a, b, c = np.array([[0.5]]), np.array([1.0]), np.array([0.5])


class BackwardEuler(ImplicitRungeKutta):
    """f_new = f + h F(t + h, f_new).  Order 1, L-stable: stiff components are damped, however long
    the step.
    """

    order = 1
    a, b, c = np.array([[1.0]]), np.array([1.0]), np.array([1.0])


_G = 0.43586652150845899942  # the middle root of g^3 - 3 g^2 + 3 g / 2 - 1/6
_B = (-1.5 * _G**2 + 4 * _G - 0.25, 1.5 * _G**2 - 5 * _G + 1.25, _G)


class SDIRK3(ImplicitRungeKutta):
    """Three stages one after the other, each like a backward Euler step.  Order 3, L-stable,
    stiffly accurate.

    Source: Alexander, Diagonally implicit Runge-Kutta methods for stiff ODEs (1977).
    """

    order = 3
    a = tableau((_G,), (0.5 * (1 - _G), _G), _B)
    b, c = np.array(_B), np.array([_G, 0.5 * (1 + _G), 1.0])


class RadauIIA5(ImplicitRungeKutta):
    """Radau IIA: collocation at three points, solved for together.  Order 5, L-stable, stiffly
    accurate.

    Source: Hairer and Wanner, Solving ordinary differential equations II, IV.5.
    """

    order = 5
    a = np.array(
        [
            [(88 - 7 * sqrt(6)) / 360, (296 - 169 * sqrt(6)) / 1800, (-2 + 3 * sqrt(6)) / 225],
            [(296 + 169 * sqrt(6)) / 1800, (88 + 7 * sqrt(6)) / 360, (-2 - 3 * sqrt(6)) / 225],
            [(16 - sqrt(6)) / 36, (16 + sqrt(6)) / 36, 1 / 9],
        ]
    )
    b = a[-1]
    c = np.array([(4 - sqrt(6)) / 10, (4 + sqrt(6)) / 10, 1.0])
