"""One-step methods, as data: a tableau with its declared order, or an implicit rule.

A method knows nothing of networks: it is given velocity(t, f), continued from inside the current layer,
and makes one step.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from continuum.arrays import Array, namespace
from continuum.checks import check_positive

Velocity = Callable[[float, Array], Array]
Jacobian = Callable[[float, Array], Array]
"""(t, f) -> (M, N, N): D_f velocity, sample by sample."""


class StepFailed(ArithmeticError):
    """An implicit step found no solution."""


class Stepper(ABC):
    """A one-step method f(t) -> f(t + h); the global error is O(h^order) for smooth data."""

    order: ClassVar[int]

    @abstractmethod
    def step(self, velocity: Velocity, jacobian: Jacobian, t: float, h: float, f: Array) -> Array:
        """The state after one step of length h.  Raises StepFailed if an implicit equation was not solved."""


@dataclass(frozen=True)
class RungeKutta(Stepper):
    """Explicit Runge-Kutta: k_i = F(t + c_i h, f + h sum_{j<i} a_ij k_j), f <- f + h sum_i b_i k_i."""

    a: ClassVar[Array]
    b: ClassVar[Array]
    c: ClassVar[Array]

    def step(self, velocity: Velocity, jacobian: Jacobian, t: float, h: float, f: Array) -> Array:
        return combine(f, h, self.b, self.stages(velocity, t, h, f))

    def stages(self, velocity: Velocity, t: float, h: float, f: Array) -> list[Array]:
        """The slopes k_1, ..., k_s."""
        slopes: list[Array] = []
        for i, c in enumerate(self.c):
            slopes.append(velocity(t + float(c) * h, combine(f, h, self.a[i], slopes)))
        return slopes


def combine(f: Array, h: float, coefficients: Array, slopes: list[Array]) -> Array:
    """f + h sum_j coefficients_j slopes_j."""
    for coefficient, slope in zip(coefficients, slopes, strict=False):
        if coefficient:
            f = f + (h * float(coefficient)) * slope
    return f


def _tableau(*rows: tuple[float, ...]) -> Array:
    a = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        a[i, : len(row)] = row
    return a


class Euler(RungeKutta):
    """Explicit Euler: f + h F(t, f).  Order 1.  Its steps are the layers of a ResNet."""

    order = 1
    a, b, c = _tableau(()), np.array([1.0]), np.array([0.0])


class Heun(RungeKutta):
    """Heun's method, the explicit trapezoid rule.  Order 2."""

    order = 2
    a, b, c = _tableau((), (1.0,)), np.array([0.5, 0.5]), np.array([0.0, 1.0])


class RK4(RungeKutta):
    """The classical Runge-Kutta method.  Order 4."""

    order = 4
    a = _tableau((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0))
    b, c = np.array([1.0, 2.0, 2.0, 1.0]) / 6.0, np.array([0.0, 0.5, 0.5, 1.0])


@dataclass(frozen=True, kw_only=True)
class DormandPrince(RungeKutta):
    """Dormand and Prince's 5(4) pair with adaptive steps and a continuous extension of order 4.

    A step is accepted if its error estimate e satisfies, for every sample,
    sqrt(sum_i w_i (e_i / (atol + rtol max(|f_i|, |f_i new|)))^2 / sum_i w_i) <= 1: all samples share
    the steps, and the worst one decides.

    rtol, atol : relative and absolute tolerance, both > 0; they have no defaults
    raises TypeError if one is missing: DormandPrince(rtol=1e-8, atol=1e-10) is a pair to start from
    Source: Dormand and Prince (1980); the interpolant is Shampine's (1986).
    """

    rtol: float | None = None
    atol: float | None = None

    order = 5
    a = _tableau(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    )
    b = np.array([35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0])
    c = np.array([0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0])
    error: ClassVar[Array] = np.array([71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
    """b minus the weights of the embedded method of order 4."""
    extension: ClassVar[Array] = np.array(
        [
            [1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432],
            [0.0, 0.0, 0.0, 0.0],
            [0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799],
            [0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072],
            [0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632],
            [0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844],
            [0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423],
        ]
    )
    """f(t + theta h) = f + h sum_ij k_i extension_ij theta^(j+1)."""

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if value is None:
                raise TypeError(f"{name} has no default; for example DormandPrince(rtol=1e-8, atol=1e-10)")
            check_positive(name, value)

    @property
    def tolerances(self) -> tuple[float, float]:
        """(rtol, atol)."""
        return float(self.rtol or 0.0), float(self.atol or 0.0)

    def interpolate(self, f: Array, h: float, slopes: list[Array], theta: float) -> Array:
        """The state at t + theta h inside an accepted step from f with these slopes."""
        return combine(f, h, self.extension @ theta ** np.arange(1, 5), slopes)


@dataclass(frozen=True)
class ImplicitMidpoint(Stepper):
    """f_new = f + h F(t + h/2, (f + f_new) / 2), by Newton's iteration.  Order 2, A-stable, keeps quadratic invariants.

    The Newton matrices I - (h/2) D_f F are formed and solved sample by sample: O(M N^3) per iteration.

    tolerance : of the last Newton correction, relative to 1 + |f|, in the maximum norm
    """

    order = 2
    tolerance: float = 1e-13
    max_iterations: int = 20

    def step(self, velocity: Velocity, jacobian: Jacobian, t: float, h: float, f: Array) -> Array:
        xp = namespace(f)
        middle, time = f, t + 0.5 * h
        eye = xp.eye(f.shape[0], dtype=f.dtype, device=f.device)
        for _ in range(self.max_iterations):
            residual = f + 0.5 * h * velocity(time, middle) - middle
            matrices = eye - 0.5 * h * jacobian(time, middle)
            try:
                correction = xp.linalg.solve(matrices, xp.permute_dims(residual, (1, 0))[..., None])
            except np.linalg.LinAlgError as error:
                raise StepFailed(f"singular Newton matrix at t = {time:.6g}") from error
            correction = xp.permute_dims(correction[..., 0], (1, 0))
            middle = middle + correction
            size = float(xp.max(xp.abs(correction)))
            if size <= self.tolerance * (1.0 + float(xp.max(xp.abs(middle)))):
                return 2.0 * middle - f
            if not np.isfinite(size):
                break
        raise StepFailed(f"at t = {time:.6g}, last correction {size:.3g}")
