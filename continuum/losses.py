"""Losses: a number per sample from an output and its target, in the output's inner product."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from .arrays import Array, namespace
from .checks import check_positive


class Loss(ABC):
    """ell(o, y) for outputs o (P, M), targets y (P, M) and the outputs' measure v (P,)."""

    @abstractmethod
    def value(self, o: Array, y: Array, v: Array) -> Array:
        """(M,): the loss of each sample."""

    @abstractmethod
    def gradient(self, o: Array, y: Array, v: Array) -> Array:
        """(P, M): the derivative in o, represented in the measure v."""

    @abstractmethod
    def hvp(self, o: Array, y: Array, v: Array, do: Array) -> Array:
        """(P, M): the second derivative in o, applied to do, represented in the measure v."""

    @abstractmethod
    def formula(self, output: str) -> str:
        """How `print(problem)` writes the loss of an output."""


@dataclass(frozen=True)
class SquaredError(Loss):
    """ell(o, y) = weight sum_i v_i (o_i - y_i)^2; weight = 0.5 is half the squared norm.

    raises ValueError unless weight > 0
    """

    weight: float = 0.5

    def __post_init__(self) -> None:
        check_positive("weight", self.weight)

    def value(self, o: Array, y: Array, v: Array) -> Array:
        difference = o - y
        return self.weight * namespace(o).sum(v[:, None] * difference * difference, axis=0)

    def gradient(self, o: Array, y: Array, v: Array) -> Array:
        return 2.0 * self.weight * (o - y)

    def hvp(self, o: Array, y: Array, v: Array, do: Array) -> Array:
        return 2.0 * self.weight * do

    def formula(self, output: str) -> str:
        return f"{self.weight:g} |{output} - target|^2"
