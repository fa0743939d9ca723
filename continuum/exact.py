"""Flows with closed-form answers, for tests, claims, benchmarks and first experiments.

Each is f_t = sigma(a - Bf) with everything that defines it and the solution f(y, t).  The LM
numbers are those of the ledger of claims that `continuum verify` checks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import atan, ceil, copysign, e, exp, log, log2, pi, sqrt

import numpy as np
import scipy.special

from .activations import Activation, identity, tanh
from .arrays import Array
from .checks import check_array, check_number, check_positive, store
from .controls import FunctionControl
from .domains import Circle, Domain, Interval
from .doors import checked
from .meshes import TimeMesh
from .networks import WidthDepth
from .quadrature import Grid


@checked
@dataclass(frozen=True)
class ExactCase:
    """f_t = sigma(bias - int kernel f), f(y, 0) = initial(y), with its solution on (0, horizon).

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
        """(network, control, initial state of one sample) on a grid of its domain."""
        network = WidthDepth(grid, self.activation)
        control = network.control(
            TimeMesh(self.horizon, layers), bias=self.bias, kernel=self.kernel
        )
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
"""f = y + sin(t) / 2: the coefficients depend on time."""

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


@checked
def rank_one_costate(y: Array, t: float, horizon: float = 1.0) -> Array:
    """The costate of J = 1/2 |f(T)|^2 along `rank_one` (LM-43).

    p = f(T) - (1 - e^-(T - t)) e^-y q with q = int e^y f(T) dy; the bias's gradient is p, the
    kernel's -p(y) f(z).
    y : of any shape, in [0, 1];  t : in [0, horizon]
    """
    y, horizon = check_array("y", y, np.shape(y)), check_positive("horizon", horizon)
    if not 0.0 <= t <= horizon:
        raise ValueError(f"t must be in [0, {horizon:g}], got {t!r}")
    if np.any((y < 0.0) | (y > 1.0)):
        raise ValueError("y must be in [0, 1]")
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
"""f = f_I + t tanh(phi): a symmetric equation whose state grows without bound although sigma is
bounded.
"""

_KAPPA = 1.6004573992287588  # int tanh(phi) psi = 0, so that B tanh(phi) = 0

asymmetric_growth = ExactCase(
    name="LM-12: a = phi / 2, b = phi(y) psi(z), phi = sqrt(3) y, psi = 1 - kappa z, f(0) "
    "constant, tanh",
    domain=Interval(0, 1),
    activation=tanh,
    bias=lambda y: 0.5 * sqrt(3) * y,
    kernel=lambda y, z: sqrt(3) * y * (1 - _KAPPA * z),
    initial=_constant(-2.502862017891683),
    solution=lambda y, t: -2.502862017891683 + t * np.tanh(sqrt(3) * y),
    horizon=10.0,
)
"""f = f_I + t tanh(phi), for an equation that is not symmetric."""


@checked
def poisson_circle(rho: float = 0.5, horizon: float = 5.0) -> ExactCase:
    """LM-13: f' = -k * f on the circle, f(0) = exp(cos y), k the Poisson kernel.

    Its eigenvalues are rho^|n|.

    f = sum_n I_|n|(1) exp(-rho^|n| t + i n y).  raises ValueError unless 0 < rho < 1
    """
    if not 0 < rho < 1:
        raise ValueError(f"rho must be between 0 and 1, got {rho}")

    def solution(y: Array, t: float) -> Array:
        modes = np.arange(1, 40)
        amplitudes = 2 * scipy.special.iv(modes, 1.0) * np.exp(-(rho**modes) * t)
        return scipy.special.iv(0, 1.0) * exp(-t) + np.tensordot(
            amplitudes, np.cos(np.multiply.outer(modes, y)), 1
        )

    return ExactCase(
        name=f"LM-13: the Poisson kernel on the circle, rho = {rho:g}",
        domain=Circle(),
        activation=identity,
        bias=_constant(0.0),
        kernel=lambda y, z: (1 - rho**2) / (1 - 2 * rho * np.cos(y - z) + rho**2) / (2 * pi),
        initial=lambda y: np.exp(np.cos(y)),
        solution=solution,
        horizon=horizon,
    )


turning_circle = ExactCase(
    name="LM-14: f' = -(1 / pi) int sin(y - z) f dz on the circle, f(0) = cos y",
    domain=Circle(),
    activation=identity,
    bias=_constant(0.0),
    kernel=lambda y, z: np.sin(y - z) / pi,
    initial=np.cos,
    solution=lambda y, t: np.cos(y + t),
    horizon=10.0,
)
"""f = cos(y + t): with an antisymmetric kernel the norm is constant."""


@checked
def below(y: Array, z: Array) -> Array:
    """1 where z < y, 1/2 where y = z to 12 digits, else 0: the kernel of a Volterra equation."""
    try:
        difference = np.clip(y - z, -1.0, 1.0)  # rounding multiplies by 1e12
    except ValueError as error:
        raise ValueError(f"y and z do not fit: {error}") from None
    return np.heaviside(np.round(difference, 12), 0.5)


volterra = ExactCase(
    name="LM-16: f' = -int_0^y f dz, f(0) = 1",
    domain=Interval(0, 1),
    activation=identity,
    bias=_constant(0.0),
    kernel=below,
    initial=_constant(1.0),
    solution=lambda y, t: scipy.special.j0(2 * np.sqrt(t * y)),
    horizon=4.0,
)
"""f = J_0(2 sqrt(t y)): a kernel that jumps."""

volterra_growth = ExactCase(
    name="LM-16: f' = int_0^y f dz, f(0) = 1",
    domain=Interval(0, 1),
    activation=identity,
    bias=_constant(0.0),
    kernel=lambda y, z: -below(y, z),
    initial=_constant(1.0),
    solution=lambda y, t: scipy.special.i0(2 * np.sqrt(t * y)),
    horizon=4.0,
)
"""f = I_0(2 sqrt(t y)), the same for ReLU and leaky ReLU, since f stays positive."""

volterra_square = ExactCase(
    name="LM-17: f' = int_0^y1 int_0^y2 f dz on the square, f(0) = 1",
    domain=Interval(0, 1) * Interval(0, 1),
    activation=identity,
    bias=lambda y: np.zeros_like(y[0]),
    kernel=lambda y, z: -below(y[0], z[0]) * below(y[1], z[1]),
    initial=lambda y: np.ones_like(y[0]),
    solution=lambda y, t: sum(
        (t * y[0] * y[1]) ** k / float(scipy.special.factorial(k)) ** 3 for k in range(30)
    ),  # type: ignore[arg-type, return-value]
    horizon=4.0,
)
"""f = sum_k (t y_1 y_2)^k / k!^3."""

smooth_square = ExactCase(
    name="LM-18: f' = -e^(y1 + y2) int e^-(z1 + z2) f dz on the square, f(0) = 1",
    domain=Interval(0, 1) * Interval(0, 1),
    activation=identity,
    bias=lambda y: np.zeros_like(y[0]),
    kernel=lambda y, z: np.exp(y[0] + y[1] - z[0] - z[1]),
    initial=lambda y: np.ones_like(y[0]),
    solution=lambda y, t: 1 - np.exp(y[0] + y[1]) * (1 - 1 / e) ** 2 * (1 - exp(-t)),
    horizon=1.0,
)
"""f = 1 - e^(y_1 + y_2) (1 - 1/e)^2 (1 - e^-t)."""


@checked
def scalar_tanh_growth(y: Array, t: float) -> Array:
    """LM-15: f' = tanh f, f(0) = 1/10 for all y: asinh(e^t sinh(1/10))."""
    return np.full_like(y, np.arcsinh(exp(t) * np.sinh(0.1)))


@checked
def scalar_sigmoid(y: Array, t: float) -> Array:
    """LM-15: f' = sigmoid(-f), f(0) = 0 for all y: 1 + t - W(e^(1 + t)), which has no limit."""
    return np.full_like(y, 1 + t - float(np.real(scipy.special.lambertw(exp(1 + t)))))


@checked
def scalar_elu(y: Array, t: float) -> Array:
    """LM-15: f' = elu(-f), f(0) = 1 for all y: ln(1 + (e - 1) e^-t)."""
    return np.full_like(y, np.log1p((e - 1) * exp(-t)))


@checked
def scalar_arctan(y: Array, t: float, start: float = 1.0, b: float = 1.0) -> Array:
    """f' = arctan(-b f), f(0) = start for all y.

    u = |b f| obeys u' = -b arctan u, so that b t = int_u(t)^u(0) du / arctan u; f keeps its sign.
    The integrand is singular at 0, which is never reached.  With u = e^v,

        v + H(e^v) = log u(0) + H(u(0)) - b t,   H(u) = int_0^u (1 / arctan s - 1 / s) ds,

    where the integrand, s / 3 - 4 s^3 / 45 + ..., is analytic at 0, and Gauss's rule gives H to
    rounding.  The left side is increasing and convex in v, its slope e^v / arctan(e^v) >= 1, so
    Newton's iteration descends to the solution from any v above it; u(t) <= u(0) + pi/2 |b t|.

    t : < 0 goes back;  b : the constant kernel, < 0 where f grows
    """
    start, b = check_number("start", start), check_number("b", b)
    if start == 0.0 or b == 0.0:
        return np.full_like(y, start)
    u, change = (
        check_number("b start", abs(b * start)),
        check_number("b t", b * check_number("t", t)),
    )
    goal = log(u) + _arctan_excess(u) - change
    v = log(u + max(0.0, -change) * pi / 2)
    for _ in range(100):
        u = exp(v)
        slope = u / atan(u) if u > 0.0 else 1.0
        correction = (v + _arctan_excess(u) - goal) / slope
        v -= correction
        if abs(correction) <= 1e-15 * (1.0 + abs(v)):
            break
    return np.full_like(y, copysign(exp(v) / abs(b), start))


_GAUSS = np.polynomial.legendre.leggauss(20)


def _arctan_excess(u: float) -> float:
    """H(u) = int_0^u (1 / arctan s - 1 / s) ds for u >= 0, on panels with ends 0, 1/2, 1, 2, 4,
    ..., u, to which the branch points +-i are no nearer than their length.
    """
    inner = 0.5 * 2.0 ** np.arange(max(0, 1 + ceil(log2(max(u, 0.5)))))
    ends = np.concatenate([[0.0], inner[inner < u], [u]])
    half = 0.5 * np.diff(ends)[:, None]
    s = ends[:-1, None] + half * (_GAUSS[0] + 1.0)
    small = s < 1e-4
    regular = np.where(small, 1.0, s)
    angle = np.arctan(regular)
    values = np.where(small, s / 3.0, (regular - angle) / (regular * angle))
    return float(np.sum(half * values * _GAUSS[1]))


@checked
@dataclass(frozen=True)
class TwoModeRing:
    """Two modes on a ring: f_t = tanh(int (first cos(y - z) + second cos 2(y - z)) f(z) dz).

    The integral is over (0, 2 pi).

    For even f the coordinates x = (f, cos), y = (f, cos 2.) obey a closed equation, p = first x, q
    = second y:

        x' = int tanh(u) cos(s) ds,  y' = int tanh(u) cos(2s) ds,  u = p cos(s) + q cos(2s).

    0 repels at the rates pi first and pi second.  Far away tanh is a sign, jumping at the zeros of
    u: with c = 2q / (p + r), d = min(1, (p + r) / (4q)), r = sqrt(p^2 + 8 q^2), the cosines of the
    zeros are c and -d, and

        x' = 4 (sqrt(1 - c^2) - sqrt(1 - d^2)),
        y' = 4 (c sqrt(1 - c^2) + d sqrt(1 - d^2))   for x, y >= 0,

    x' odd in x and y' odd in y.  The error is O(1 / (p^2 + q^2)), but for q = p / 4 + O(1), where
    zeros of u meet.
    raises ValueError unless first > 0 and second > 0
    """

    first: float = 0.5
    second: float = 0.4

    def __post_init__(self) -> None:
        store(self, check_positive, "first")
        store(self, check_positive, "second")

    @property
    def ratio(self) -> float:
        """rho = second / first."""
        return self.second / self.first

    def kernel(self, s: Array) -> Array:
        """b(y, z) as a function of s = y - z; negative, so that modes grow."""
        return -self.first * np.cos(s) - self.second * np.cos(2.0 * s)

    def factors(self) -> tuple[tuple[Callable[[Array], Array], ...], ...]:
        """b on even functions, -first cos y cos z - second cos 2y cos 2z, for `LowRank(2)`."""
        left = (lambda y: -self.first * np.cos(y), lambda y: -self.second * np.cos(2.0 * y))
        return left, (np.cos, lambda z: np.cos(2.0 * z))

    def velocity_at_infinity(self, x: Array, y: Array) -> tuple[Array, Array]:
        """(x', y') far from 0, for arrays x, y of one shape, of degree 0; not for x = y = 0."""
        p, q = self.first * np.abs(x), self.second * np.abs(y)
        reach = p + np.sqrt(p * p + 8.0 * q * q)
        c = 2.0 * q / reach
        d = np.minimum(1.0, reach / np.maximum(4.0 * q, 1e-300))
        near, far = np.sqrt(1.0 - c * c), np.sqrt(1.0 - d * d)
        return 4.0 * np.sign(x) * (near - far), 4.0 * np.sign(y) * (c * near + d * far)

    def rays(self) -> tuple[tuple[float, bool], ...]:
        """(m, whether it attracts) of the invariant rays q = m p at infinity, x, y >= 0, by slope.

        m = 0, the first mode, attracts for rho <= 1; m = inf, the second, for rho >= 1/2; between
        them m = sqrt(rho (rho - 1) / 2), a mixture, attracts for 1 < rho < 2; and for 1/2 < rho <
        2, with k = sqrt(2 rho), the ray m = k / (2 sqrt(k - 1)) repels; which of the other two
        is reached then depends on the start.
        """
        rho, k = self.ratio, sqrt(2.0 * self.ratio)
        found = [(0.0, rho <= 1.0)]
        if 1.0 < rho < 2.0:
            found.append((sqrt(0.5 * rho * (rho - 1.0)), True))
        if 0.5 < rho < 2.0:
            found.append((0.5 * k / sqrt(k - 1.0), False))
        return (*found, (float("inf"), rho >= 0.5))
