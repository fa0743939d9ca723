"""Activation functions sigma with sigma', sigma'', the antiderivative Sigma, and what theorems ask
of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import scipy.special

from . import compiled
from .arrays import Array, namespace, special
from .checks import check_positive
from .pickling import check_importable


@dataclass(frozen=True)
class Activation:
    """sigma: R -> R, applied entrywise.

    value, derivative, second : sigma, sigma', sigma''; at a kink sigma' is the left derivative,
        sigma'' is 0
    antiderivative : Sigma(s) = int_0^s sigma
    lipschitz : sup |sigma'|
    smooth : sigma is C^2 (orders of convergence and second derivatives hold everywhere)
    bounded, vanishes_at_zero : sup |sigma| < infinity; sigma(0) = 0
    monotone : sigma never decreases
    code : which branch of the compiled loops evaluates it; None if none does
    recipe : the function that makes it and its arguments, for pickle; None if it has a name of its
        own here, or is the user's
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
    monotone: bool = True
    recipe: "tuple[Callable[..., Activation], tuple[float, ...]] | None" = None

    def __reduce__(self) -> object:
        """For pickle: by name, by recipe, or by the names of its functions."""
        if globals().get(self.name) is self:
            return self.name
        if self.recipe is not None:
            return self.recipe
        for name in ("value", "derivative", "second", "antiderivative"):
            check_importable(f"{name} of the activation {self.name!r}", getattr(self, name))
        return Activation, tuple(getattr(self, f.name) for f in fields(self))

    def __deepcopy__(self, memo: object) -> "Activation":
        return self

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

arctan = Activation(
    "arctan",
    value=lambda s: namespace(s).atan(s),
    derivative=lambda s: 1.0 / (1.0 + s * s),
    second=lambda s: -2.0 * s / (1.0 + s * s) ** 2,
    antiderivative=lambda s: s * namespace(s).atan(s) - 0.5 * namespace(s).log1p(s * s),
    lipschitz=1.0,
    smooth=True,
    bounded=True,
    vanishes_at_zero=True,
)
"""arctan s; Sigma = s arctan s - log(1 + s^2) / 2."""

softplus = Activation(
    "softplus",
    value=lambda s: _softplus(s) + math.log(2.0),
    derivative=_sigmoid,
    second=_sigmoid_derivative,
    antiderivative=lambda s: _softplus_antiderivative(s),
    lipschitz=1.0,
    smooth=True,
    bounded=False,
    vanishes_at_zero=False,
)
"""log(1 + exp s), positive everywhere; Sigma = -Li_2(-e^s) - pi^2 / 12."""

gelu = Activation(
    "gelu",
    value=lambda s: s * special("ndtr", s),
    derivative=lambda s: special("ndtr", s) + s * _normal_density(s),
    second=lambda s: (2.0 - s * s) * _normal_density(s),
    antiderivative=lambda s: (
        0.5 * ((s * s - 1.0) * special("ndtr", s) + s * _normal_density(s)) + 0.25
    ),
    lipschitz=float(scipy.special.ndtr(math.sqrt(2.0)) + math.exp(-1.0) / math.sqrt(math.pi)),
    smooth=True,
    bounded=False,
    vanishes_at_zero=True,
    monotone=False,
)
"""s Phi(s), Phi the normal distribution function; not monotone; Sigma = ((s^2 - 1) Phi + s phi) / 2
+ 1/4.
"""


def leaky_relu(slope: float = 0.01) -> Activation:
    """max(s, 0) + slope min(s, 0), 0 < slope < 1; sigma'(0) = slope.

    raises ValueError for a slope outside (0, 1)
    """
    if not 0.0 < slope < 1.0:
        raise ValueError(f"slope must be between 0 and 1, got {slope}")

    def value(s: Array) -> Array:
        return 0.5 * ((1.0 + slope) * s + (1.0 - slope) * abs(s))

    return Activation(
        f"leaky_relu({slope:g})",
        value=value,
        derivative=lambda s: slope + (1.0 - slope) * _step(s),
        second=lambda s: namespace(s).zeros_like(s),
        antiderivative=lambda s: 0.5 * s * value(s),
        lipschitz=1.0,
        smooth=False,
        bounded=False,
        vanishes_at_zero=True,
        recipe=(leaky_relu, (slope,)),
    )


def elu(alpha: float = 1.0) -> Activation:
    """s for s > 0, alpha (e^s - 1) for s <= 0; sigma'(0) = alpha, so C^1 only for alpha = 1, and
    never C^2.

    raises ValueError unless alpha > 0 is finite
    """
    alpha = check_positive("alpha", alpha)

    def below(s: Array) -> Array:
        return 0.5 * (s - abs(s))

    return Activation(
        f"elu({alpha:g})",
        value=lambda s: _relu(s) + alpha * namespace(s).expm1(below(s)),
        derivative=lambda s: _step(s) + (1.0 - _step(s)) * alpha * namespace(s).exp(below(s)),
        second=lambda s: (1.0 - _step(s)) * alpha * namespace(s).exp(below(s)),
        antiderivative=lambda s: (
            0.5 * _relu(s) ** 2 + alpha * (namespace(s).expm1(below(s)) - below(s))
        ),
        lipschitz=max(1.0, alpha),
        smooth=False,
        bounded=False,
        vanishes_at_zero=True,
        recipe=(elu, (alpha,)),
    )


def user_activation(
    name: str,
    value: Callable[[Array], Array],
    derivative: Callable[[Array], Array],
    second: Callable[[Array], Array],
    antiderivative: Callable[[Array], Array],
    *,
    lipschitz: float,
    smooth: bool = True,
    bounded: bool = False,
) -> Activation:
    """An activation of your own, after a check that the four functions belong together.

    At points of [-5, 5], away from 0 unless smooth, sigma', sigma'' and sigma must be the
    derivatives of sigma, sigma' and Sigma to 1e-5, Sigma(0) = 0 and |sigma'| <= lipschitz.  It runs
    in the generic loop.
    raises ValueError naming the function that does not fit
    """
    s = np.linspace(-5.0, 5.0, 64)  # an even number: 0 is not among them
    h = 1e-5
    for what, function, of, its in (
        ("derivative", derivative, "value", value),
        ("second", second, "derivative", derivative),
        ("value", value, "antiderivative", antiderivative),
    ):
        slope = (its(s + h) - its(s - h)) / (2 * h)
        worst = float(np.max(np.abs(function(s) - slope)))
        if not worst <= 1e-5 * (1.0 + float(np.max(np.abs(slope)))):
            raise ValueError(
                f"{what} is not the derivative of {of}: they differ by {worst:.3g} on [-5, 5]"
            )
    zero = np.zeros(1)
    if abs(float(antiderivative(zero)[0])) > 1e-12:
        raise ValueError("antiderivative must vanish at 0")
    steepest = float(np.max(np.abs(derivative(s))))
    if steepest > lipschitz * (1 + 1e-12):
        raise ValueError(f"lipschitz is {lipschitz:g}, but |derivative| reaches {steepest:.6g}")
    vanishes = abs(float(value(zero)[0])) == 0.0
    return Activation(
        name,
        value,
        derivative,
        second,
        antiderivative,
        lipschitz,
        smooth,
        bounded,
        vanishes,
        monotone=bool(np.all(derivative(s) >= 0.0)),
    )


def _normal_density(s: Array) -> Array:
    return namespace(s).exp(-0.5 * s * s) / math.sqrt(2.0 * math.pi)


def _softplus_antiderivative(s: Array) -> Array:
    """-Li_2(-e^s) - pi^2 / 12, by the inversion formula for s > 0, where e^s may overflow."""
    xp = namespace(s)
    tail = special("spence", 1.0 + xp.exp(-xp.abs(s)))  # Li_2(-e^-|s|)
    return xp.where(s > 0, 0.5 * s * s + math.pi**2 / 12 + tail, -tail - math.pi**2 / 12)
