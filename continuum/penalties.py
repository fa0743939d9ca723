"""Penalties on the control: integrals over (0, T), not sums over layers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from .arrays import Array, like, namespace
from .checks import check_name
from .controls import Block, Control, ControlSpace


class Penalty(ABC):
    """A functional R of the control, with its derivatives in the product of the control's space."""

    @abstractmethod
    def value(self, control: Control) -> float:
        """R(control)."""

    @abstractmethod
    def gradient(self, control: Control) -> dict[str, Array]:
        """The gradient of R, by block; blocks that do not count are left out."""

    @abstractmethod
    def hvp(self, control: Control, direction: Control) -> dict[str, Array]:
        """The derivative of the gradient in a direction."""

    @abstractmethod
    def formula(self, space: ControlSpace) -> str:
        """How `print(problem)` writes it."""


@dataclass(frozen=True)
class Tikhonov(Penalty):
    """R = strength int_0^T sum_i w_i x_i(t)^2 dt, summed over blocks; its gradient is 2 strength x.

    Blocks that are constant in time ("static") count without the integral over time.

    strength : lambda >= 0
    blocks : which blocks count; all trained ones if not said
    raises ValueError for strength < 0 or a name that is not a trained block
    Source: Liu and Markowich (4.6), with the factor 2 that (4.7) lacks.
    """

    strength: float
    blocks: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not self.strength >= 0 or self.strength == float("inf"):
            raise ValueError(f"strength must be finite and >= 0, got {self.strength}")

    def penalised(self, space: ControlSpace) -> list[Block]:
        """The blocks that count."""
        names = [b.name for b in space.trained]
        for name in self.blocks or ():
            check_name("block", name, names)
        return [b for b in space.trained if self.blocks is None or b.name in self.blocks]

    def value(self, control: Control) -> float:
        total = 0.0
        for block in self.penalised(control.space):
            x = control[block.name]
            mass = control.space.axes[block.name].mass(x)
            total += float(namespace(x).sum(like(block.weights, x) * x * mass))
        return self.strength * total

    def gradient(self, control: Control) -> dict[str, Array]:
        space = control.space
        represented = {b.name: space.axes[b.name].from_l2(control[b.name]) for b in self.penalised(space)}
        return {name: 2.0 * self.strength * x for name, x in represented.items()}

    def hvp(self, control: Control, direction: Control) -> dict[str, Array]:
        return self.gradient(direction)

    def formula(self, space: ControlSpace) -> str:
        kinds = {
            "layers": "int_0^T |{}|^2 dt (piecewise constant)",
            "nodes": "int_0^T |{}|^2 dt (piecewise linear, exactly)",
            "static": "|{}|^2",
        }
        return f"{self.strength:g} (" + " + ".join(kinds[b.time].format(b.name) for b in self.penalised(space)) + ")"
