"""Flows with closed-form answers, for tests, claims, benchmarks and first experiments.

Each is f_t = sigma(a - Bf) with everything that defines it and the solution f(y, t).  The LM numbers are
those of the ledger of claims that `continuum verify` checks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import e, exp, pi, sqrt

import numpy as np

from .activations import Activation, identity, tanh
from .arrays import Array
from .controls import FunctionControl
from .domains import Domain, Interval
from .meshes import TimeMesh
from .networks import WidthDepth
from .quadrature import Grid


@dataclass(frozen=True)
class ExactCase:
    """f_t = sigma(bias - int kernel f), f(y, 0) = initial(y), with f(y, t) = solution(y, t) on (0, horizon).

    bias, kernel, initial : functions of position, the first two also of time where they take it
    """

    name: str
    domain: Domain
    activation: Activation
    bias: Callable[..., Array]
    kernel: Callable[..., Array]
    initial: Callable[[Array], Array]
    solution: Callable[[Array, float], Array]
    horizon: float

    def setup(self, grid: Grid, layers: int) -> tuple[WidthDepth, FunctionControl, Array]:
        """(network, control, initial state of one sample) on a grid of its domain, ready for `integrate`."""
        network = WidthDepth(grid, self.activation)
        control = network.control(TimeMesh(self.horizon, layers), bias=self.bias, kernel=self.kernel)
        return network, control, grid.sample(self.initial)

    def final(self, grid: Grid) -> Array:
        """The solution at the horizon at the nodes: (N, 1)."""
        return grid.sample(lambda y: self.solution(y, self.horizon))


def _constant(value: float) -> Callable[[Array], Array]:
    return lambda y: np.full_like(y, value)


scalar_decay = ExactCase(
    name="LM-01: f' = -tanh f, f(0) = 1",
    domain=Interval(0, 1),
    activation=tanh,
    bias=_constant(0.0),
    kernel=lambda y, z: np.ones_like(y * z),
    initial=_constant(1.0),
    solution=lambda y, t: np.full_like(y, np.arcsinh(exp(-t) * np.sinh(1.0))),
    horizon=1.0,
)
"""f = asinh(exp(-t) sinh 1), constant in y: any rule whose weights sum to 1 is exact in width."""

moving_bias = ExactCase(
    name="LM-02: a(t) = artanh(cos(t) / 2) + 1/2 + sin(t) / 2, b = 1, tanh",
    domain=Interval(0, 1),
    activation=tanh,
    bias=lambda y, t: np.arctanh(0.5 * np.cos(t)) + 0.5 + 0.5 * np.sin(t) + 0.0 * y,
    kernel=lambda y, z: np.ones_like(y * z),
    initial=lambda y: y,
    solution=lambda y, t: y + 0.5 * np.sin(t),
    horizon=2.0,
)
"""f = y + sin(t) / 2: the coefficients move with time."""

rank_one = ExactCase(
    name="LM-10: f' = 1 - e^y int e^-z f, f(0) = y, linear",
    domain=Interval(0, 1),
    activation=identity,
    bias=_constant(1.0),
    kernel=lambda y, z: np.exp(y - z),
    initial=lambda y: y,
    solution=lambda y, t: y + t - np.exp(y) * ((1 - 1 / e) * t - (1 - exp(-t)) / e),
    horizon=2.0,
)
"""f = y + t - e^y [(1 - 1/e) t - (1 - e^-t) / e]: a kernel that is a product."""


def rank_one_costate(y: Array, t: float, horizon: float = 1.0) -> Array:
    """The costate of J = 1/2 |f(T)|^2 along `rank_one` (LM-43), the derivative of the cost in the state.

    p = f(T) - (1 - e^-(T - t)) e^-y q with q = int e^y f(T) dy; the bias's gradient is p, the kernel's -p(y) f(z).
    """
    share = (1 - 1 / e) * horizon - (1 - exp(-horizon)) / e
    q = 1 + horizon * (e - 1) - share * (e**2 - 1) / 2
    return rank_one.solution(y, horizon) - (1 - exp(-(horizon - t))) * np.exp(-y) * q


linear_growth = ExactCase(
    name="LM-11: a = 2 phi, b = phi(y), phi = sqrt(2) sin(2 pi y), tanh",
    domain=Interval(0, 1),
    activation=tanh,
    bias=lambda y: 2 * sqrt(2) * np.sin(2 * pi * y),
    kernel=lambda y, z: sqrt(2) * np.sin(2 * pi * y) + 0.0 * z,
    initial=lambda y: 1 + np.cos(2 * pi * y),
    solution=lambda y, t: 1 + np.cos(2 * pi * y) + t * np.tanh(sqrt(2) * np.sin(2 * pi * y)),
    horizon=10.0,
)
"""f = f_I + t tanh(phi): a symmetric equation whose state grows without bound although sigma is bounded."""
