"""Activation functions sigma, with their derivatives and integrals, and what theorems ask of them.

sigma, sigma', sigma'' and Sigma of the activations below have relative error < 1e-12 wherever the
exact number is neither subnormal nor too large, and their limits at +-infinity; near a zero other
than s = 0 (of gelu' and gelu'') the error is that of rounding s.  NaN gives NaN, except in
derivatives that are constant.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.polynomial.legendre import leggauss

from . import compiled
from .arrays import Array, namespace, special
from .checks import check_array, check_call, check_positive
from .doors import checked
from .pickling import check_importable


@checked
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
    odd : sigma(-s) = -sigma(s);  homogeneous : sigma(a s) = a sigma(s) for every a > 0
    slope_extrema : the points between which sigma' is monotone; None if they are not known
    supremum : sup |sigma| of a bounded one; None if it is not known: no bound is then built on it
    code, parameter : which branch of the compiled loops evaluates it, and with which number (the
        slope of leaky_relu, the alpha of elu); code None if none does
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
    parameter: float = 0.0
    monotone: bool = True
    odd: bool = False
    homogeneous: bool = False
    slope_extrema: tuple[float, ...] | None = None
    supremum: float | None = None
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
    """sech^2 s, sech s = 2 e / (1 + e^2) with e = exp(-|s|)."""
    xp = namespace(s)
    e = xp.exp(-xp.abs(s))
    sech = 2.0 * e / (1.0 + e * e)
    return sech * sech


def _log_cosh(s: Array) -> Array:
    """-log(1 - tanh^2 s) / 2 for |s| < 1, where the other form cancels."""
    xp = namespace(s)
    size, t = xp.abs(s), xp.tanh(xp.clip(s, -1.0, 1.0))
    far = size + xp.log1p(xp.exp(-2.0 * xp.maximum(size, 1.0))) - math.log(2.0)
    return xp.where(size < 1.0, -0.5 * xp.log1p(-t * t), far)


def _positive(s: Array) -> Array:
    return namespace(s).maximum(s, 0.0)


def _negative(s: Array) -> Array:
    return namespace(s).minimum(s, 0.0)


def _step(s: Array) -> Array:
    """1 for s > 0, 0 for s <= 0, NaN for NaN."""
    return namespace(s).sign(_positive(s))


def _half_square(s: Array) -> Array:
    """s^2 / 2, infinite only where that is."""
    return (0.5 * s) * s


def _sigmoid(s: Array) -> Array:
    xp = namespace(s)
    e = xp.exp(-xp.abs(s))
    return xp.where(s > 0, 1.0, e) / (1.0 + e)


def _sigmoid_derivative(s: Array) -> Array:
    xp = namespace(s)
    e = xp.exp(-xp.abs(s))
    return e / (1.0 + e) ** 2


def _sigmoid_antiderivative(s: Array) -> Array:
    """log((1 + e^s) / 2)."""
    xp = namespace(s)
    return _positive(s) + xp.log1p(0.5 * xp.expm1(-xp.abs(s)))


def _softplus(s: Array) -> Array:
    xp = namespace(s)
    return _positive(s) + xp.log1p(xp.exp(-xp.abs(s)))


def _softplus_antiderivative(s: Array) -> Array:
    """-Li_2(-e^s) - pi^2 / 12; for s > 0, where e^s may overflow, by the formula of inversion."""
    xp = namespace(s)
    tail = special("spence", 1.0 + xp.exp(-xp.abs(s)))  # Li_2(-e^-|s|)
    far = _half_square(_positive(s)) + xp.sign(s) * (math.pi**2 / 12 + tail)
    return xp.where(xp.abs(s) < 1.0, _integral(_softplus, s), far)


def _arctan_derivative(s: Array) -> Array:
    cosine = 1.0 / namespace(s).hypot(s, 1.0)
    return cosine * cosine


def _arctan_second(s: Array) -> Array:
    s = namespace(s).clip(s, -1e150, 1e150)  # it is 0 from 1e108 on
    slope = _arctan_derivative(s)
    return -2.0 * (s * slope) * slope


def _arctan_antiderivative(s: Array) -> Array:
    """s arctan s - log(1 + s^2) / 2; beyond 1e150 the logarithm is below rounding."""
    xp = namespace(s)
    near = xp.clip(s, -1e150, 1e150)
    return s * xp.atan(s) - 0.5 * xp.log1p(near * near)


_TAIL = 40.0
"""The normal density and Phi(-s) are 0 in double precision from here on."""


def _normal_density(s: Array) -> Array:
    return namespace(s).exp(-0.5 * s * s) / math.sqrt(2.0 * math.pi)


def _gelu(s: Array) -> Array:
    return namespace(s).maximum(s, -_TAIL) * special("ndtr", s)


def _gelu_derivative(s: Array) -> Array:
    near = namespace(s).clip(s, -_TAIL, _TAIL)
    return special("ndtr", near) + near * _normal_density(near)


def _gelu_second(s: Array) -> Array:
    near = namespace(s).clip(s, -_TAIL, _TAIL)
    return (2.0 - near * near) * _normal_density(near)


def _gelu_antiderivative(s: Array) -> Array:
    """((s^2 - 1) Phi + s phi) / 2 + 1/4."""
    xp = namespace(s)
    above, near = xp.maximum(s, -_TAIL), xp.clip(s, -_TAIL, _TAIL)
    far = (_half_square(above) - 0.5) * special("ndtr", s) + 0.5 * near * _normal_density(near)
    return xp.where(xp.abs(s) < 1.0, _integral(_gelu, s), far + 0.25)


_GAUSS = tuple((0.5 + 0.5 * float(x), 0.5 * float(w)) for x, w in zip(*leggauss(10), strict=True))
"""Nodes and weights on [0, 1]."""


def _integral(function: Callable[[Array], Array], s: Array) -> Array:
    """int_0^s function for |s| <= 1, by Gauss's rule; the integral over [0, +-1] beyond.

    For integrands of one sign on each side of 0 that are analytic in |s| < pi the relative error is
    that of rounding, where closed forms of the integral cancel at 0.
    """
    s = namespace(s).clip(s, -1.0, 1.0)
    return s * sum(weight * function(node * s) for node, weight in _GAUSS)


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
    odd=True,
    code=compiled.TANH,
    slope_extrema=(0.0,),
    supremum=1.0,
)
"""tanh s; Sigma = log cosh s."""

identity = Activation(
    "identity",
    value=lambda s: s,
    derivative=lambda s: namespace(s).ones_like(s),
    second=lambda s: namespace(s).zeros_like(s),
    antiderivative=_half_square,
    lipschitz=1.0,
    smooth=True,
    bounded=False,
    vanishes_at_zero=True,
    odd=True,
    homogeneous=True,
    code=compiled.IDENTITY,
    slope_extrema=(),
)
"""s; Sigma = s^2 / 2: the linear network."""

relu = Activation(
    "relu",
    value=_positive,
    derivative=_step,
    second=lambda s: namespace(s).zeros_like(s),
    antiderivative=lambda s: _half_square(_positive(s)),
    lipschitz=1.0,
    smooth=False,
    bounded=False,
    vanishes_at_zero=True,
    homogeneous=True,
    code=compiled.RELU,
    slope_extrema=(),
)
"""max(s, 0), with sigma'(0) = 0."""

sigmoid = Activation(
    "sigmoid",
    value=_sigmoid,
    derivative=_sigmoid_derivative,
    second=lambda s: -namespace(s).tanh(0.5 * s) * _sigmoid_derivative(s),
    antiderivative=_sigmoid_antiderivative,
    lipschitz=0.25,
    smooth=True,
    bounded=True,
    vanishes_at_zero=False,
    code=compiled.SIGMOID,
    slope_extrema=(0.0,),
    supremum=1.0,
)
"""1 / (1 + exp(-s)); sigma(0) = 1/2, so it has no steady states."""

arctan = Activation(
    "arctan",
    value=lambda s: namespace(s).atan(s),
    derivative=_arctan_derivative,
    second=_arctan_second,
    antiderivative=_arctan_antiderivative,
    lipschitz=1.0,
    smooth=True,
    bounded=True,
    vanishes_at_zero=True,
    odd=True,
    code=compiled.ARCTAN,
    slope_extrema=(0.0,),
    supremum=math.pi / 2,
)
"""arctan s; Sigma = s arctan s - log(1 + s^2) / 2."""

softplus = Activation(
    "softplus",
    value=_softplus,
    derivative=_sigmoid,
    second=_sigmoid_derivative,
    antiderivative=_softplus_antiderivative,
    lipschitz=1.0,
    smooth=True,
    bounded=False,
    vanishes_at_zero=False,
    code=compiled.SOFTPLUS,
    slope_extrema=(),
)
"""log(1 + exp s), positive everywhere; Sigma = -Li_2(-e^s) - pi^2 / 12."""

gelu = Activation(
    "gelu",
    value=_gelu,
    derivative=_gelu_derivative,
    second=_gelu_second,
    antiderivative=_gelu_antiderivative,
    lipschitz=0.5 * (1.0 + math.erf(1.0)) + math.exp(-1.0) / math.sqrt(math.pi),
    smooth=True,
    bounded=False,
    vanishes_at_zero=True,
    monotone=False,
    code=compiled.GELU,
    slope_extrema=(-math.sqrt(2.0), math.sqrt(2.0)),
)
"""s Phi(s), Phi the normal distribution function; not monotone.

Sigma = ((s^2 - 1) Phi + s phi) / 2 + 1/4.
"""


@checked
def leaky_relu(slope: float = 0.01) -> Activation:
    """max(s, 0) + slope min(s, 0), 0 < slope < 1; sigma'(0) = slope.

    raises ValueError for a slope outside (0, 1)
    """
    if not 0.0 < slope < 1.0:
        raise ValueError(f"slope must be between 0 and 1, got {slope}")

    def value(s: Array) -> Array:
        return namespace(s).maximum(s, slope * s)

    return Activation(
        f"leaky_relu({slope:g})",
        value=value,
        derivative=lambda s: slope + (1.0 - slope) * _step(s),
        second=lambda s: namespace(s).zeros_like(s),
        antiderivative=lambda s: (0.5 * s) * value(s),
        lipschitz=1.0,
        smooth=False,
        bounded=False,
        vanishes_at_zero=True,
        homogeneous=True,
        code=compiled.LEAKY_RELU,
        parameter=slope,
        recipe=(leaky_relu, (slope,)),
        slope_extrema=(),
    )


@checked
def elu(alpha: float = 1.0) -> Activation:
    """s for s > 0, alpha (e^s - 1) for s <= 0; sigma'(0) = alpha.

    It is C^1 only for alpha = 1, and never C^2.
    raises ValueError unless alpha > 0 is finite
    """
    alpha = check_positive("alpha", alpha)

    def curved(s: Array) -> Array:
        return namespace(s).expm1(_negative(s))

    def antiderivative(s: Array) -> Array:
        xp, below = namespace(s), _negative(s)
        area = xp.where(below > -1.0, _integral(curved, below), xp.expm1(below) - below)
        return _half_square(_positive(s)) + alpha * area

    def slope(s: Array) -> Array:
        return alpha * namespace(s).exp(_negative(s))

    return Activation(
        f"elu({alpha:g})",
        value=lambda s: _positive(s) + alpha * curved(s),
        derivative=lambda s: namespace(s).where(s > 0, 1.0, slope(s)),
        second=lambda s: namespace(s).where(s > 0, 0.0, slope(s)),
        antiderivative=antiderivative,
        lipschitz=max(1.0, alpha),
        smooth=False,
        bounded=False,
        vanishes_at_zero=True,
        code=compiled.ELU,
        parameter=alpha,
        recipe=(elu, (alpha,)),
        slope_extrema=(0.0,),
    )


@checked
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
    supremum: float | None = None,
    odd: bool = False,
    homogeneous: bool = False,
) -> Activation:
    """An activation of your own, after a check that the four functions belong together.

    At points of [-5, 5], away from 0 unless smooth, sigma', sigma'' and sigma must be the
    derivatives of sigma, sigma' and Sigma to 1e-5, Sigma(0) = 0 and |sigma'| <= lipschitz.  It runs
    in the generic loop.  odd, homogeneous, supremum: see Activation; what is claimed must hold at
    the points.  A supremum says that it is bounded, too.
    raises ValueError naming the function that does not fit
    """
    s = np.linspace(-5.0, 5.0, 64)  # an even number: 0 is not among them
    h = 1e-5
    for what, function, of, its in (
        ("derivative", derivative, "value", value),
        ("second", second, "derivative", derivative),
        ("value", value, "antiderivative", antiderivative),
    ):
        ahead, behind = (check_call(of, its, x) for x in (s + h, s - h))
        slope = (check_array(of, ahead, s.shape) - check_array(of, behind, s.shape)) / (2 * h)
        given = check_array(what, check_call(what, function, s), s.shape)
        worst = float(np.max(np.abs(given - slope)))
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
    if supremum is not None:
        largest = float(np.max(np.abs(value(s))))
        if not largest <= check_positive("supremum", supremum) * (1 + 1e-12):
            raise ValueError(f"supremum is {supremum:g}, but |value| reaches {largest:.6g}")
    size = 1e-12 * (1.0 + np.abs(value(s)))
    if odd and np.any(np.abs(value(s) + value(-s)) > size):
        raise ValueError("odd is claimed, but value(-s) is not -value(s)")
    if homogeneous and np.any(np.abs(value(0.3 * s) - 0.3 * value(s)) > size):
        raise ValueError("homogeneous is claimed, but value(0.3 s) is not 0.3 value(s)")
    vanishes = abs(float(value(zero)[0])) == 0.0
    return Activation(
        name,
        value,
        derivative,
        second,
        antiderivative,
        lipschitz,
        smooth,
        bounded or supremum is not None,
        vanishes,
        monotone=bool(np.all(derivative(s) >= 0.0)),
        odd=odd,
        homogeneous=homogeneous,
        supremum=supremum,
    )
