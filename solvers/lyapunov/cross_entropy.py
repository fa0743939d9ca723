"""Closed forms of the flow on which cross-entropy decays at exactly the rate kappa, and that flow.

V(eta) = log(1 + sum_(j != y) exp(eta_j - eta_y)) is the cross-entropy of the scores eta in R^m with
the class y, g its gradient, and V' = (g, eta') = -kappa V.  On the symmetric ray eta_y = s,
eta_j = -s,

    V = log(1 + (m - 1) exp(-2 s)),      log(log(m) / V) = kappa t  if  s(0) = 0,

so every formula below is the map between s and the exponent log(log(m) / V), or its inverse.
Losses, half widths and times may be numbers or arrays of them.  Source: Jimenez Rodriguez et al.,
LyaNet, section 3 and appendix B, as corrected in docs/errata.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from continuum import Block, CrossEntropy, Network
from continuum.arrays import Array, like, namespace
from continuum.checks import check_array, check_count, check_number, check_positive, shown, store
from continuum.doors import checked
from continuum.networks.network import Values
from continuum.records import short
from continuum.time_axes import TimeKind

Numbers = float | Array

TINY = 1e-16
_LARGEST = 1e300
"""Below it log(expm1(V) / V) is V / 2, which no sum with a number of order 1 shows."""


@checked
def exact_loss(t: Numbers, kappa: float, classes: int) -> Numbers:
    """V(t) = log(m) exp(-kappa t) of the exact flow from eta(0) = 0.

    t : >= 0;  kappa : > 0;  classes : m >= 2
    raises ValueError, TypeError for others, here and below
    """
    return np.log(_classes(classes)) * np.exp(-check_positive("kappa", kappa) * _sizes("t", t))


@checked
def exact_position(t: Numbers, kappa: float, classes: int) -> Numbers:
    """s(t) = 1/2 (log(m - 1) - log expm1(log(m) exp(-kappa t))), the exact flow on the ray.

    The margin is 2 s, for any flow from 0 with V' = -kappa V in which the wrong classes are equal.
    """
    return _position(check_positive("kappa", kappa) * _sizes("t", t), _classes(classes))


@checked
def margin_asymptote(t: Numbers, kappa: float, classes: int) -> Numbers:
    """kappa t + log((m - 1) / log m), to which the margin 2 s(t) comes from below: it grows
    linearly.
    """
    rate = check_positive("kappa", kappa)
    return rate * _sizes("t", t) + _offset(_classes(classes))


@checked
def box_half_width(kappa: float, classes: int, safety: float = 2.0) -> float:
    """Half the width s of a box |eta_i| <= s that holds the exact flow on the ray up to t = 1:

    V(s, -s, ..., -s) = log(m) exp(-kappa) / safety.

    safety : >= 1; at 1 the flow is in the corner at t = 1.  A flow that leaves the ray or decays
        faster may still leave the box: escapes are counted, not excluded.
    """
    if check_number("safety", safety) < 1.0:
        raise ValueError(f"safety must be >= 1, got {safety!r}")
    exponent = check_positive("kappa", kappa) + np.log(safety)
    return float(_position(exponent, _classes(classes)))


@checked
def printed_half_width(kappa: float, classes: int) -> float:
    """The same as printed, V(s, -s, ..., -s) = exp(-kappa), which forgets V(0) = log m.

    For two classes the exact flow leaves this box before t = 1 (`escape_time`).
    raises ValueError for two classes and kappa <= -log log 2 = 0.3665, where s <= 0
    """
    exponent = check_positive("kappa", kappa) + np.log(np.log(_classes(classes)))
    if exponent <= 0.0:
        raise ValueError(
            f"kappa must exceed -log(log(2)) = 0.3665 for two classes, got {kappa!r}: "
            "exp(-kappa) is the loss of a point with s <= 0"
        )
    return float(_position(exponent, classes))


@checked
def wrong_corner_loss(half_width: Numbers, classes: int) -> Numbers:
    """V = log(exp(2 s) + m - 1) in the corner of the box that belongs to another class.

    half_width : s >= 0
    """
    s, others = _sizes("half_width", half_width), _classes(classes) - 1.0
    return (2.0 * s + np.log1p(others * np.exp(-2.0 * s)))[()]


@checked
def escape_time(half_width: Numbers, kappa: float, classes: int) -> Numbers:
    """When the exact flow from 0 leaves the box |eta_i| <= s: log(log(m) / V(s)) / kappa.

    A value of at least 1 means that the box holds it up to t = 1.
    half_width : s >= 0
    """
    s = _sizes("half_width", half_width)
    return _exponent(s, _classes(classes)) / check_positive("kappa", kappa)


@checked
def least_speed(loss: Numbers, kappa: float) -> Numbers:
    """kappa V / (2 (1 - exp(-V))): max_i |f_i| is at least this where (g, f) = -kappa V.

    Because |g|_1 = 2 (1 - exp(-V)); kappa / 2, its limit, at V = 0.
    loss : V >= 0
    """
    return 0.5 * check_positive("kappa", kappa) * _speed(np.asarray(_sizes("loss", loss)))[()]


@dataclass(frozen=True)
class GradientNorms:
    """Norms of g, from the loss alone: its entries are -(1 - p_y) and p_j >= 0, of sum 0.

    inf : |g|_inf = 1 - exp(-V);  one : |g|_1 = 2 (1 - exp(-V))
    two : sqrt(2) (1 - exp(-V)) >= |g|_2, with equality if one wrong class has all the rest
    """

    inf: Numbers
    one: Numbers
    two: Numbers

    __repr__ = short


@checked
def gradient_norms(loss: Numbers) -> GradientNorms:
    """The norms of g where the loss is V >= 0."""
    wrong = -np.expm1(-_sizes("loss", loss))
    return GradientNorms(wrong, 2.0 * wrong, np.sqrt(2.0) * wrong)


@checked
def euler_loss_bound(loss: Numbers, slope: Numbers, speed: Numbers, step: float) -> Numbers:
    """V + h (g, f) + h^2 / 4 |f|_2^2, an upper bound of V after one Euler step of length h.

    Because diag(p) - p p^T, the second derivative of V, has no eigenvalue above 1/2: its form in v
    is the variance of v under p, at most (max v - min v)^2 / 4 (Popoviciu) and so |v|^2 / 2.
    loss : V >= 0;  slope : (g, f);  speed : |f|_2 >= 0;  step : h > 0
    """
    h, v = check_positive("step", step), _sizes("speed", speed)
    with np.errstate(over="ignore"):  # a bound that is infinite is one
        return _sizes("loss", loss) + h * np.asarray(slope)[()] + 0.25 * h * h * v * v


@checked
@dataclass(frozen=True, eq=False)
class MinimalNormField(Network):
    """eta' = -kappa V g / |g|^2: of all velocities with V' = -kappa V the one of least |eta'|_2.

    With a = log sum_(j != y) exp(eta_j - eta_y), V = log(1 + exp a), r = softmax over the wrong
    classes (r_y = 0) and n = e_y - r, one has g = -(1 - exp(-V)) n, so

        eta' = kappa phi n / |n|^2,  phi = V / (1 - exp(-V)),

    smooth everywhere, and of finite speed however small V is.  There is nothing to train: `blocks`
    is empty.

    labels : (M,), y of each sample, or (1,), one for all;  classes : m >= 2;  kappa : > 0
    raises ValueError, TypeError for labels outside 0, ..., m - 1 and other numbers
    """

    labels: Array
    classes: int
    kappa: float

    __repr__ = short

    def __post_init__(self) -> None:
        store(self, check_positive, "kappa")
        _classes(self.classes)
        labels = np.asarray(self.labels)
        if labels.ndim != 1 or labels.size == 0:
            raise ValueError(f"labels must have shape (M,), M >= 1, got {labels.shape}")
        check_array("labels", labels, ("M",))
        CrossEntropy().check_target(labels, self.classes, len(labels))
        object.__setattr__(self, "labels", labels.astype(int))

    @property
    def weights(self) -> Array:
        return np.ones(self.classes)

    @property
    def broadcasts(self) -> bool:
        return True

    def blocks(self, in_time: TimeKind = "layers") -> tuple[Block, ...]:
        return ()

    def formula(self) -> str:
        return f"f_t = -{self.kappa:g} V g / |g|^2, V = cross-entropy of f, g = dV/df"

    def batch(self, indices: Sequence[int] | Array) -> "MinimalNormField":
        if len(self.labels) == 1:
            return self
        return MinimalNormField(self.labels[np.asarray(indices)], self.classes, self.kappa)

    def check_state(self, name: str, state: Array) -> Array:
        state = super().check_state(name, state)
        if len(self.labels) not in (1, state.shape[1]):
            raise ValueError(
                f"{name} has {state.shape[1]} samples, the field has {len(self.labels)} labels"
            )
        return state

    def velocity(self, f: Array, c: Values, t: float) -> Array:
        at = self._at(f)
        return self.kappa * at.phi * at.n / at.size

    def jvp(self, f: Array, c: Values, t: float, df: Array, dc: Values) -> Array:
        at = self._at(f)
        dn = at.turned(-df)
        return self.kappa * (
            -at.b * _dot(at.n, df) * at.n / at.size + at.phi * at.reflected(dn) / at.size
        )

    def vjp(self, f: Array, c: Values, t: float, p: Array) -> tuple[Array, dict[str, Array]]:
        at = self._at(f)
        w = at.reflected(p) / at.size
        back = -at.b * at.n * _dot(at.n, p) / at.size - at.phi * at.turned(w)
        return self.kappa * back, {}

    def vjp_derivative(
        self, f: Array, c: Values, t: float, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        at = self._at(f)
        n, size, phi, b = at.n, at.size, at.phi, at.b
        dn = at.turned(-df)
        growth = _dot(n, df)  # -dV / (1 - exp(-V))
        dphi, db = -b * growth, at.right * (b - at.loss) * growth
        dsize = 2.0 * _dot(n, dn)
        along = _dot(n, p) / size
        dalong = (_dot(dn, p) + _dot(n, dp) - along * dsize) / size
        w = at.reflected(p) / size
        dw = (dp - 2.0 * (dn * along + n * dalong) - w * dsize) / size
        back = -(db * n * along + b * dn * along + b * n * dalong)
        back = back - dphi * at.turned(w) - phi * (at.turned(dw) + at.turned_by(-dn, w))
        return self.kappa * back, {}

    def _at(self, f: Array) -> "_Point":
        chosen = np.arange(self.classes)[:, None] == self.labels
        return _Point(f, like(chosen, f))


class _Point:
    """The parts of the field at states (..., m, M): n, r, |n|^2, V, exp(-V), phi and
    b = 1 - phi exp(-V), for which d phi = -b (n, d eta).
    """

    def __init__(self, f: Array, chosen: Array) -> None:
        xp = namespace(f)
        top = xp.max(xp.where(chosen, -xp.inf, f), axis=-2, keepdims=True)
        e = xp.where(chosen, 0.0, xp.exp(xp.where(chosen, 0.0, f - top)))
        total = xp.sum(e, axis=-2, keepdims=True)
        a = top - xp.sum(xp.where(chosen, f, 0.0), axis=-2, keepdims=True) + xp.log(total)
        self.loss = xp.where(a > 0, a, 0.0) + xp.log1p(xp.exp(-xp.abs(a)))
        self.r = e / total
        self.n = xp.where(chosen, 1.0, -self.r)
        self.size = _dot(self.n, self.n)
        self.phi, self.right = _speed(self.loss), xp.exp(-self.loss)
        self.b = 1.0 - self.phi * self.right

    def reflected(self, v: Array) -> Array:
        """v - 2 n (n, v) / |n|^2; the derivative of n / |n|^2 is this of dn, over |n|^2."""
        return v - 2.0 * self.n * _dot(self.n, v) / self.size

    def turned(self, v: Array) -> Array:
        """(diag(r) - r r^T) v, the derivative of r; that of n is minus it."""
        return self.r * v - self.r * _dot(self.r, v)

    def turned_by(self, dr: Array, v: Array) -> Array:
        """The derivative of `turned` in r."""
        return dr * v - dr * _dot(self.r, v) - self.r * _dot(dr, v)


def _dot(u: Array, v: Array) -> Array:
    return namespace(u).sum(u * v, axis=-2, keepdims=True)


def _speed(loss: Array) -> Array:
    """V / (1 - exp(-V)), 1 at V = 0."""
    xp = namespace(loss)
    some = xp.where(loss > TINY, loss, 1.0)
    return xp.where(loss > TINY, some / -xp.expm1(-some), 1.0)


def _position(exponent: Numbers, classes: int) -> Numbers:
    """s at which log(log(m) / V) is `exponent` >= 0.

    With V = log(m) - d, exp(2 s) = 1 / (1 + m / (m - 1) expm1(-d)), exact for small s; expm1(V) =
    (m - 1) exp(-2 s), exact for small V.
    """
    size, whole = np.asarray(exponent), np.log(classes)
    below = classes / (classes - 1.0) * np.expm1(whole * np.expm1(-size))
    near = -0.5 * np.log1p(np.maximum(below, -0.5))
    loss = whole * np.exp(-size)
    far = 0.5 * np.log((classes - 1.0) / np.expm1(np.maximum(loss, TINY)))
    last = 0.5 * (size + _offset(classes))
    return np.where(below > -0.5, near, np.where(loss > TINY, far, last))[()]


def _exponent(half_width: Numbers, classes: int) -> Numbers:
    """log(log(m) / V(s)) for s >= 0, the inverse of `_position`."""
    s, whole = np.asarray(half_width), np.log(classes)
    with np.errstate(over="ignore"):  # exp(-inf) is the 0 that it should be
        lost = -np.log1p((classes - 1.0) / classes * np.expm1(-2.0 * s)) / whole  # 1 - V / log m
    near = -np.log1p(-np.minimum(lost, 0.5))
    odds = (classes - 1.0) * np.exp(-2.0 * s)
    far = np.log(whole / np.log1p(np.maximum(odds, TINY)))
    last = 2.0 * s - _offset(classes)
    return np.where(lost < 0.5, near, np.where(odds > TINY, far, last))[()]


def _offset(classes: int) -> float:
    """log((m - 1) / log m)."""
    return float(np.log((classes - 1.0) / np.log(classes)))


def _classes(classes: int) -> int:
    return check_count("classes", classes, 2)


def _sizes(name: str, values: Numbers) -> Numbers:
    """`values` as numbers >= 0, not so large that twice as much overflows."""
    array = np.asarray(values, dtype=float)
    if not np.all((array >= 0.0) & (array <= _LARGEST)):
        raise ValueError(f"{name} must be >= 0 and at most {_LARGEST:g}, got {shown(values)}")
    return array[()]
