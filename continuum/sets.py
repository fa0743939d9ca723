"""Admissible sets for controls, block by block: support points and projections."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from .arrays import Array, namespace
from .checks import check_name
from .controls import Control, ControlSpace


class AdmissibleSet(ABC):
    """A closed set A of controls; blocks it does not name are free."""

    @abstractmethod
    def check(self, space: ControlSpace) -> None:
        """Raises ValueError if the set does not fit the space."""

    @abstractmethod
    def project(self, control: Control) -> Control:
        """The nearest point of A."""

    @abstractmethod
    def support_point(self, gradient: Control, tie: Control) -> Control:
        """A point of A that maximises (gradient, x); entries that do not matter are those of `tie`."""

    @abstractmethod
    def contains(self, control: Control, tolerance: float = 0.0) -> bool:
        """True if no bound is exceeded by more than the tolerance."""


class Box(AdmissibleSet):
    """lower <= x <= upper for every entry of the blocks named: Box(bias=(-1, 1), kernel=(-1, 1)).

    The blocks must be piecewise constant or static, where the nearest point is found entry by entry.
    raises ValueError unless lower <= upper for each, or for names that are not trained blocks
    """

    def __init__(self, **bounds: tuple[float, float]) -> None:
        for name, pair in bounds.items():
            if not isinstance(pair, tuple | list) or len(pair) != 2 or not pair[0] <= pair[1]:
                raise ValueError(f"bounds of {name} must be a pair (lower, upper) with lower <= upper, got {pair!r}")
        self.bounds: Mapping[str, tuple[float, float]] = {
            name: (float(low), float(high)) for name, (low, high) in bounds.items()
        }

    def __repr__(self) -> str:
        return "Box(" + ", ".join(f"{name}=({low:g}, {high:g})" for name, (low, high) in self.bounds.items()) + ")"

    def check(self, space: ControlSpace) -> None:
        times = {b.name: b.time for b in space.trained}
        for name in self.bounds:
            check_name("block", name, list(times))
            if times[name] == "nodes":
                raise ValueError(
                    f"a Box on {name!r} needs in_time='layers': in the space of piecewise linear controls "
                    "the nearest point of a box is not found entry by entry"
                )

    def project(self, control: Control) -> Control:
        return Control(
            control.space,
            {n: namespace(x).clip(x, *self.bounds[n]) if n in self.bounds else x for n, x in control.items()},
            trusted=True,
        )

    def support_point(self, gradient: Control, tie: Control) -> Control:
        def vertex(g: Array, low: float, high: float, x: Array) -> Array:
            xp = namespace(g)
            up, down = xp.full_like(g, high), xp.full_like(g, low)
            return xp.where(g > 0, up, xp.where(g < 0, down, x))

        return Control(
            gradient.space,
            {n: vertex(g, *self.bounds[n], tie[n]) if n in self.bounds else tie[n] for n, g in gradient.items()},
            trusted=True,
        )

    def contains(self, control: Control, tolerance: float = 0.0) -> bool:
        return all(
            bool(np.all((control[n] >= low - tolerance) & (control[n] <= high + tolerance)))
            for n, (low, high) in self.bounds.items()
        )
