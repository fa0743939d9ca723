"""Losses: a number per sample from an output and its target, in the output's inner product."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from .activations import sigmoid
from .arrays import Array, like, namespace
from .checks import check_array, check_name, check_positive, store
from .doors import checked


class Loss(ABC):
    """ell(o, y) for outputs o (P, M), targets y (P, M) and the outputs' measure v (P,).

    broadcasts : True if value, gradient and hvp take many points at once, o and do (L, P, M) with y
        (P, M) or (L, P, M), and return (L, M) and (L, P, M); False unless a class says so
    """

    broadcasts: ClassVar[bool] = False

    def check_target(self, target: Array, outputs: int, samples: int) -> Array:
        """`target` as (P, M); raises ValueError, TypeError if it does not fit."""
        return check_array("target", target, (outputs, samples))

    @abstractmethod
    def value(self, o: Array, y: Array, v: Array) -> Array:
        """(M,): the loss of each sample."""

    @abstractmethod
    def gradient(self, o: Array, y: Array, v: Array) -> Array:
        """(P, M): the derivative in o, represented in the measure v."""

    def value_and_gradient(self, o: Array, y: Array, v: Array) -> tuple[Array, Array]:
        """Both, for a loss whose value and gradient have parts in common."""
        return self.value(o, y, v), self.gradient(o, y, v)

    @abstractmethod
    def hvp(self, o: Array, y: Array, v: Array, do: Array) -> Array:
        """(P, M): the second derivative in o, applied to do, represented in the measure v."""

    @abstractmethod
    def formula(self, output: str, target: str = "target") -> str:
        """How `print(problem)` writes the loss of what is named output and target."""


@dataclass(frozen=True)
class WeightedLoss(Loss):
    """A loss with a factor.

    weight : raises ValueError unless > 0
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        store(self, check_positive, "weight")


@checked
@dataclass(frozen=True)
class SquaredError(WeightedLoss):
    """ell(o, y) = weight sum_i v_i (o_i - y_i)^2; weight = 0.5 is half the squared norm.

    raises ValueError unless weight > 0
    """

    broadcasts: ClassVar[bool] = True
    weight: float = 0.5

    def value(self, o: Array, y: Array, v: Array) -> Array:
        difference = o - y
        return self.weight * (v @ (difference * difference))

    def gradient(self, o: Array, y: Array, v: Array) -> Array:
        return 2.0 * self.weight * (o - y)

    def value_and_gradient(self, o: Array, y: Array, v: Array) -> tuple[Array, Array]:
        difference = o - y
        return self.weight * (v @ (difference * difference)), 2.0 * self.weight * difference

    def hvp(self, o: Array, y: Array, v: Array, do: Array) -> Array:
        return 2.0 * self.weight * do

    def formula(self, output: str, target: str = "target") -> str:
        return f"{self.weight:g} |{output} - {target}|^2"


@checked
@dataclass(frozen=True)
class AbsoluteError(WeightedLoss):
    """ell(o, y) = weight sum_i v_i |o_i - y_i|, or, with groups="sample", weight |o - y|, the norm
    (sum_i v_i (o_i - y_i)^2)^(1/2) of the sample's residual.

    Where the loss has no derivative, at o_i = y_i, or o = y, the derivatives given are 0: that is
    one of the subgradients, the one of least norm.
    groups : "entries" or "sample"
    raises ValueError unless weight > 0, and for other groups
    """

    broadcasts: ClassVar[bool] = True
    groups: Literal["entries", "sample"] = "entries"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name("groups", self.groups, ("entries", "sample"))

    def value(self, o: Array, y: Array, v: Array) -> Array:
        xp = namespace(o)
        if self.groups == "sample":
            return self.weight * _size(o - y, v)[1][..., 0, :]
        return self.weight * xp.sum(v[:, None] * xp.abs(o - y), axis=-2)

    def gradient(self, o: Array, y: Array, v: Array) -> Array:
        if self.groups == "sample":
            return self.weight * _size(o - y, v)[0]
        return self.weight * namespace(o).sign(o - y)

    def hvp(self, o: Array, y: Array, v: Array, do: Array) -> Array:
        """For samples (do - (e, do)_v e) / |o - y| with e = (o - y) / |o - y|; 0 for entries."""
        xp = namespace(o)
        if self.groups == "entries":
            return xp.zeros_like(do)
        direction, size = _size(o - y, v)
        across = do - xp.sum(v[:, None] * direction * do, axis=-2, keepdims=True) * direction
        return xp.where(size > 0, self.weight * across / xp.where(size > 0, size, 1.0), 0.0)

    def formula(self, output: str, target: str = "target") -> str:
        return f"{self.weight:g} |{output} - {target}|{'' if self.groups == 'sample' else '_1'}"


def _size(r: Array, v: Array) -> tuple[Array, Array]:
    """r / |r|, 0 where r is, and |r| = (sum_i v_i r_i^2)^(1/2) (1, M); no square overflows."""
    xp = namespace(r)
    scale = xp.max(xp.abs(r), axis=-2, keepdims=True)
    scaled = r / xp.where(scale > 0, scale, 1.0)
    size = xp.sqrt(xp.sum(v[:, None] * scaled * scaled, axis=-2, keepdims=True))
    return scaled / xp.where(size > 0, size, 1.0), scale * size


@checked
@dataclass(frozen=True)
class PowerError(Loss):
    """ell(o, y) = sum_i v_i |o_i - y_i|^(alpha + 1) / (alpha + 1), whose gradient is
    sign(o_i - y_i) |o_i - y_i|^alpha.

    alpha = 1 is SquaredError(); for alpha < 1 the second derivative is infinite at o_i = y_i, where
    0 is given.
    raises ValueError unless alpha > 0: AbsoluteError() is alpha = 0
    Source: finite-time convergence and training of neural networks, (2).
    """

    broadcasts: ClassVar[bool] = True
    alpha: float

    def __post_init__(self) -> None:
        store(self, check_positive, "alpha")

    def value(self, o: Array, y: Array, v: Array) -> Array:
        xp = namespace(o)
        power = xp.abs(o - y) ** (self.alpha + 1.0)
        return xp.sum(v[:, None] * power, axis=-2) / (self.alpha + 1.0)

    def gradient(self, o: Array, y: Array, v: Array) -> Array:
        xp, difference = namespace(o), o - y
        return xp.sign(difference) * xp.abs(difference) ** self.alpha

    def hvp(self, o: Array, y: Array, v: Array, do: Array) -> Array:
        xp = namespace(o)
        size = xp.abs(o - y)
        bend = self.alpha * xp.where(size > 0, size, 1.0) ** (self.alpha - 1.0)
        return bend * do if self.alpha == 1.0 else xp.where(size > 0, bend * do, 0.0)

    def formula(self, output: str, target: str = "target") -> str:
        power = f"{self.alpha + 1.0:g}"
        return f"|{output} - {target}|_{power}^{power} / {power}"


@checked
@dataclass(frozen=True)
class Logistic(WeightedLoss):
    """ell(o, y) = weight sum_i v_i (log(1 + exp o_i) - y_i o_i), 0 <= y_i <= 1.

    This is the cross-entropy of y with sigmoid(o); the outputs are scores, to which no link should
    be applied.  On Y it is the cross-entropy of Liu and Markowich section 4.1, integrated over Y.
    raises ValueError unless weight > 0, and for targets outside [0, 1]
    """

    broadcasts: ClassVar[bool] = True

    def check_target(self, target: Array, outputs: int, samples: int) -> Array:
        target = check_array("target", target, (outputs, samples))
        if bool(namespace(target).any((target < 0) | (target > 1))):
            raise ValueError(
                "target must lie in [0, 1] for Logistic(): it is the probability of the label 1"
            )
        return target

    def value(self, o: Array, y: Array, v: Array) -> Array:
        # (1 - y) max(o, 0) + y max(-o, 0) + log(1 + exp(-|o|)): no term is negative
        xp = namespace(o)
        wrong, size = xp.where(o > 0, 1.0 - y, y), xp.abs(o)
        cost = wrong * xp.where(wrong > 0, size, 0.0) + xp.log1p(xp.exp(-size))
        return self.weight * xp.sum(v[:, None] * cost, axis=-2)

    def gradient(self, o: Array, y: Array, v: Array) -> Array:
        return self.weight * ((1.0 - y) * sigmoid.value(o) - y * sigmoid.value(-o))

    def hvp(self, o: Array, y: Array, v: Array, do: Array) -> Array:
        return self.weight * sigmoid.derivative(o) * do

    def formula(self, output: str, target: str = "target") -> str:
        return f"{self.weight:g} sum_i v_i (log(1 + exp o_i) - {target}_i o_i), o = {output}"


@checked
@dataclass(frozen=True)
class CrossEntropy(WeightedLoss):
    """ell(o, y) = weight (log sum_c exp o_c - sum_c y_c o_c), y_c >= 0 with sum 1.

    Computed as -sum_c y_c log p_c, p = softmax(o), whose terms are >= 0 and keep their relative
    accuracy however certain p is.  The target may be given as labels 0, ..., P - 1, (M,), or as
    probabilities, (P, M).  The outputs are scores with the Euclidean measure, such as those of
    Affine(classes).

    truncation : gamma > 0 makes it weight max(0, entropy - gamma), with derivatives 0 where the
        entropy is gamma or less, at the edge too, where there is none; None for the entropy itself.
        A sample is right for sure below weight (log 2 - gamma)
    raises ValueError unless weight, truncation > 0; for labels out of range or not whole, columns
        that are not probabilities
    """

    broadcasts: ClassVar[bool] = True
    truncation: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.truncation is not None:
            store(self, check_positive, "truncation")

    def check_target(self, target: Array, outputs: int, samples: int) -> Array:
        if len(getattr(target, "shape", np.shape(target))) == 1:
            labels = np.asarray(check_array("target", target, (samples,)))
            if (
                np.any(labels != np.round(labels))
                or np.any(labels < 0)
                or np.any(labels >= outputs)
            ):
                wrong = labels[(labels != np.round(labels)) | (labels < 0) | (labels >= outputs)][0]
                raise ValueError(
                    f"target must hold labels 0, ..., {outputs - 1}, one of them is {wrong:g}"
                )
            return np.eye(outputs)[:, labels.astype(int)]
        target = check_array("target", target, (outputs, samples))
        xp = namespace(target)
        if bool(xp.any(target < 0)) or bool(xp.any(xp.abs(xp.sum(target, axis=-2) - 1.0) > 1e-12)):
            raise ValueError(
                "target must hold labels (M,) or probabilities (P, M) whose columns sum to 1"
            )
        return target

    def value(self, o: Array, y: Array, v: Array) -> Array:
        return self._value(_compared(o), y)

    def gradient(self, o: Array, y: Array, v: Array) -> Array:
        return self._gradient(_compared(o), y, v)

    def value_and_gradient(self, o: Array, y: Array, v: Array) -> tuple[Array, Array]:
        scores = _compared(o)
        return self._value(scores, y), self._gradient(scores, y, v)

    def hvp(self, o: Array, y: Array, v: Array, do: Array) -> Array:
        xp, scores = namespace(o), _compared(o)
        (p, _), top = _probabilities(scores), scores[0]
        change = do - xp.sum(xp.where(top, do, 0.0), axis=-2, keepdims=True)
        bend = self.weight * p * (change - xp.sum(p * change, axis=-2, keepdims=True)) / v[:, None]
        return self._cut(scores, y, bend)

    def formula(self, output: str, target: str = "target") -> str:
        entropy = f"log sum_c exp o_c - sum_c {target}_c o_c"
        if self.truncation is not None:
            return f"{self.weight:g} max(0, {entropy} - {self.truncation:g}), o = {output}"
        return f"{self.weight:g} ({entropy}), o = {output}"

    def _value(self, scores: "Scores", y: Array) -> Array:
        entropy = _entropy(scores, y)
        if self.truncation is not None:
            above = entropy > self.truncation
            entropy = namespace(entropy).where(above, entropy - self.truncation, 0.0)
        return self.weight * entropy

    def _gradient(self, scores: "Scores", y: Array, v: Array) -> Array:
        p, q = _probabilities(scores)
        return self._cut(scores, y, self.weight * (p * (1.0 - y) - q * y) / v[:, None])

    def _cut(self, scores: "Scores", y: Array, derivative: Array) -> Array:
        """The derivative (P, M), 0 for samples that the truncation cuts."""
        if self.truncation is None:
            return derivative
        above = (_entropy(scores, y) > self.truncation)[..., None, :]
        return namespace(derivative).where(above, derivative, 0.0)


Scores: TypeAlias = tuple[Array, Array, Array]
"""What `_compared` returns."""


def _compared(o: Array) -> Scores:
    """Which score is highest (P, M), the first if several are; max o - o_c (P, M); others (M,).

    others = sum over the classes that are not highest of exp(o_c - max o): log(1 + others) is 0 to
    rounding of 1 - p where one probability p is nearly 1, and keeps its relative accuracy.
    """
    xp = namespace(o)
    top = like(np.arange(o.shape[-2])[:, None], o) == xp.argmax(o, axis=-2)[..., None, :]
    below = xp.where(top, 0.0, xp.max(o, axis=-2)[..., None, :] - xp.where(top, 0.0, o))
    return top, below, xp.sum(xp.where(top, 0.0, xp.exp(-below)), axis=-2)


def _entropy(scores: Scores, y: Array) -> Array:
    """-sum_c y_c log p_c: (M,)."""
    _, below, others = scores
    xp = namespace(others)
    cost = xp.log1p(others)[..., None, :] + xp.where(y > 0, below, 0.0)
    return xp.sum(y * cost, axis=-2)


def _probabilities(scores: Scores) -> tuple[Array, Array]:
    """p = softmax(o), and 1 - p without cancellation; (P, M) each."""
    top, below, others = scores
    xp = namespace(below)
    e, total = xp.exp(-below), 1.0 + others[..., None, :]
    return (
        e / total,
        xp.where(top, others[..., None, :], 1.0 + (others[..., None, :] - e)) / total,
    )
