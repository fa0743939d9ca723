"""One-step methods, and the explicit ones as data: a tableau with its declared order.

A method knows nothing of networks: it is given velocity(t, f) and its derivative, continued from
inside the current layer, and makes one step.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from continuum.arrays import Array
from continuum.doors import checked

Velocity = Callable[[float, Array], Array]
Tangent = Callable[[float, Array, Array], Array]
"""(t, f, df) -> D_f velocity(t, f) df: (N, M)."""


class StepFailed(ArithmeticError):
    """An implicit step found no solution."""


class Stepper(ABC):
    """A one-step method f(t) -> f(t + h); the global error is O(h^order) for smooth data."""

    order: ClassVar[int]

    @property
    def adaptive(self) -> bool:
        """In a run it chooses its own steps, by tolerances."""
        return False

    @abstractmethod
    def step(self, velocity: Velocity, tangent: Tangent, t: float, h: float, f: Array) -> Array:
        """The state after one step of length h.  Raises StepFailed if an implicit equation was not
        solved.
        """


@dataclass(frozen=True)
class RungeKutta(Stepper):
    """Explicit Runge-Kutta: k_i = F(t + c_i h, f + h sum_{j<i} a_ij k_j), f <- f + h sum_i b_i
    k_i.
    """

    a: ClassVar[Array]
    b: ClassVar[Array]
    c: ClassVar[Array]

    def step(self, velocity: Velocity, tangent: Tangent, t: float, h: float, f: Array) -> Array:
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


def tableau(*rows: tuple[float, ...]) -> Array:
    """The square matrix with these rows, filled up with zeros."""
    a = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        a[i, : len(row)] = row
    return a


@checked
class Euler(RungeKutta):
    """Explicit Euler: f + h F(t, f).  Order 1.  Its steps are the layers of a ResNet."""

    order = 1
    a, b, c = tableau(()), np.array([1.0]), np.array([0.0])


@checked
class Heun(RungeKutta):
    """Heun's method, the explicit trapezoid rule.  Order 2."""

    order = 2
    a, b, c = tableau((), (1.0,)), np.array([0.5, 0.5]), np.array([0.0, 1.0])


@checked
class ExplicitMidpoint(RungeKutta):
    """The explicit midpoint rule: f + h F(t + h/2, f + h/2 F(t, f)).  Order 2."""

    order = 2
    a, b, c = tableau((), (0.5,)), np.array([0.0, 1.0]), np.array([0.0, 0.5])


@checked
class RK4(RungeKutta):
    """The classical Runge-Kutta method.  Order 4."""

    order = 4
    a = tableau((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0))
    b, c = np.array([1.0, 2.0, 2.0, 1.0]) / 6.0, np.array([0.0, 0.5, 0.5, 1.0])
