"""What optimizers ask of an objective."""

from typing import Protocol

from continuum.controls import Control, ControlSpace


class Objective(Protocol):
    """A differentiable function of a control; gradients represent derivatives in the product of its space."""

    @property
    def space(self) -> ControlSpace:
        """The space of the unknown."""
        ...

    def value(self, control: Control) -> float:
        """J(control); infinite where the state is not finite."""
        ...

    def value_and_gradient(self, control: Control) -> tuple[float, Control]:
        """J and its gradient: dJ = (gradient, d control).  Raises SolveError where the state is not finite."""
        ...

    def hvp(self, control: Control, direction: Control) -> Control:
        """The derivative of the gradient in a direction."""
        ...
