"""Activation functions sigma with sigma', sigma'', the antiderivative Sigma, and what theorems ask of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from . import compiled
from .arrays import Array, namespace


@dataclass(frozen=True)
class Activation:
    """sigma: R -> R, applied entrywise.

    value, derivative, second : sigma, sigma', sigma''; at a kink sigma' is the left derivative, sigma'' is 0
    antiderivative : Sigma(s) = int_0^s sigma
    lipschitz : sup |sigma'|
    smooth : sigma is C^2 (orders of convergence and second derivatives hold everywhere)
    bounded, vanishes_at_zero : sup |sigma| < infinity; sigma(0) = 0
    code : which branch of the compiled loops evaluates it; None if none does
    """

    name: str
    value: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    second: Callable[[Array], Array]
    antiderivative: Callable[[Array], Array]
    lipschitz: float
    smooth: bool
    bounded: bool
    vanishes_at_zero: bool
    code: int | None = None

    def __call__(self, s: Array) -> Array:
        """sigma(s), entrywise."""
        return self.value(s)

    def __repr__(self) -> str:
        return self.name


def _tanh_derivative(s: Array) -> Array:
    xp = namespace(s)
    e = xp.exp(-2.0 * xp.abs(s))
    return 4.0 * e / (1.0 + e) ** 2


def _log_cosh(s: Array) -> Array:
    xp = namespace(s)
    return xp.abs(s) + xp.log1p(xp.exp(-2.0 * xp.abs(s))) - math.log(2.0)


def _relu(s: Array) -> Array:
    return 0.5 * (s + abs(s))


def _step(s: Array) -> Array:
    xp = namespace(s)
    return xp.astype(s > 0, s.dtype)


def _sigmoid(s: Array) -> Array:
    return 0.5 * (1.0 + namespace(s).tanh(0.5 * s))


def _sigmoid_derivative(s: Array) -> Array:
    return 0.25 * _tanh_derivative(0.5 * s)


def _softplus(s: Array) -> Array:
    xp = namespace(s)
    return _relu(s) + xp.log1p(xp.exp(-xp.abs(s))) - math.log(2.0)


tanh = Activation(
    "tanh",
    value=lambda s: namespace(s).tanh(s),
    derivative=_tanh_derivative,
    second=lambda s: -2.0 * namespace(s).tanh(s) * _tanh_derivative(s),
    antiderivative=_log_cosh,
    lipschitz=1.0,
    smooth=True,
    bounded=True,
    vanishes_at_zero=True,
    code=compiled.TANH,
)
"""tanh s; Sigma = log cosh s."""

identity = Activation(
    "identity",
    value=lambda s: s,
    derivative=lambda s: namespace(s).ones_like(s),
    second=lambda s: namespace(s).zeros_like(s),
    antiderivative=lambda s: 0.5 * s * s,
    lipschitz=1.0,
    smooth=True,
    bounded=False,
    vanishes_at_zero=True,
    code=compiled.IDENTITY,
)
"""s; Sigma = s^2 / 2: the linear network."""

relu = Activation(
    "relu",
    value=_relu,
    derivative=_step,
    second=lambda s: namespace(s).zeros_like(s),
    antiderivative=lambda s: 0.5 * _relu(s) ** 2,
    lipschitz=1.0,
    smooth=False,
    bounded=False,
    vanishes_at_zero=True,
    code=compiled.RELU,
)
"""max(s, 0), with sigma'(0) = 0."""

sigmoid = Activation(
    "sigmoid",
    value=_sigmoid,
    derivative=_sigmoid_derivative,
    second=lambda s: -namespace(s).tanh(0.5 * s) * _sigmoid_derivative(s),
    antiderivative=_softplus,
    lipschitz=0.25,
    smooth=True,
    bounded=True,
    vanishes_at_zero=False,
    code=compiled.SIGMOID,
)
"""1 / (1 + exp(-s)); sigma(0) = 1/2, so it has no steady states."""
