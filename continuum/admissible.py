"""What an admissible set of controls is, and products of them; the sets themselves are in
`sets`.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from .arrays import Array
from .checks import check_name
from .controls import Control, ControlSpace

Blocks = Mapping[str, Array]
"""Coefficients by name, (..., *block.shape): any leading axes, of time or none."""


class AdmissibleSet(ABC):
    """A closed set A of controls; blocks it does not name are free.

    `pointwise` sets bound the control at each time on its own, so that maxima over them are taken
    time by time. Sets that name different blocks are joined by &: Box(bias=(-1, 1)) &
    FiniteSet(kernel=(-1, 0, 1)).
    """

    pointwise: ClassVar[bool] = True
    convex: ClassVar[bool] = True

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The blocks it names."""

    @abstractmethod
    def nearest(self, x: Blocks, space: ControlSpace) -> dict[str, Array]:
        """The nearest point, for the blocks it names."""

    @abstractmethod
    def support(self, gradient: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        """A maximiser of (gradient, .), for the blocks it names; entries that do not matter are
        those of `tie`.
        """

    @abstractmethod
    def violation(self, control: Control) -> float:
        """By how much the worst bound is exceeded; <= 0 inside."""

    def check(self, space: ControlSpace) -> None:
        """Raises ValueError if the set does not fit the space."""
        blocks = {b.name: b for b in space.trained}
        for name in self.names:
            check_name("block", name, list(blocks))
            if blocks[name].time == "nodes":
                raise ValueError(
                    f"a {type(self).__name__} on {name!r} needs in_time='layers': in the space "
                    f"of piecewise linear "
                    "controls the nearest point is not found entry by entry"
                )

    def project(self, control: Control) -> Control:
        """The nearest point of A; one of them if A is not convex."""
        return _changed(control, self.nearest(control, control.space))

    def support_point(self, gradient: Control, tie: Control) -> Control:
        """A point of A that maximises (gradient, x); entries that do not matter, and free ones, are
        those of `tie`.
        """
        return _changed(tie, self.support(gradient, tie, gradient.space))

    def contains(self, control: Control, tolerance: float = 0.0) -> bool:
        """True if no bound is exceeded by more than the tolerance."""
        return self.violation(control) <= tolerance

    def __and__(self, other: "AdmissibleSet") -> "AdmissibleSet":
        if not isinstance(other, AdmissibleSet):
            return NotImplemented
        return SetProduct((*self.parts, *other.parts))

    @property
    def parts(self) -> tuple["AdmissibleSet", ...]:
        """The sets it is a product of."""
        return (self,)

    def only(self, names: Collection[str]) -> "AdmissibleSet | None":
        """What it asks of these blocks alone, None if nothing.  Raises TypeError if it couples them
        to others.
        """
        inside = [name for name in self.names if name in names]
        if inside and len(inside) < len(self.names):
            raise TypeError(
                f"{self!r} couples {', '.join(self.names)}: it cannot be met by "
                f"{', '.join(inside)} alone"
            )
        return self if inside else None

    @property
    def bounded(self) -> bool:
        """True if the blocks it names cannot be arbitrarily large."""
        return True


class SetProduct(AdmissibleSet):
    """Sets for different blocks, together.  Raises ValueError if two name the same block."""

    def __init__(self, parts: Sequence[AdmissibleSet]) -> None:
        self._parts = tuple(parts)
        names = [name for part in parts for name in part.names]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sets name the same block: {', '.join(twice)}")
        self.pointwise = all(p.pointwise for p in parts)  # type: ignore[misc]
        self.convex = all(p.convex for p in parts)  # type: ignore[misc]

    def __repr__(self) -> str:
        return " & ".join(map(repr, self._parts))

    @property
    def parts(self) -> tuple[AdmissibleSet, ...]:
        return self._parts

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for part in self._parts for name in part.names)

    def only(self, names: Collection[str]) -> AdmissibleSet | None:
        """See AdmissibleSet."""
        kept = [p for p in (part.only(names) for part in self._parts) if p is not None]
        return None if not kept else kept[0] if len(kept) == 1 else SetProduct(kept)

    @property
    def bounded(self) -> bool:
        return all(part.bounded for part in self._parts)

    def check(self, space: ControlSpace) -> None:
        for part in self._parts:
            part.check(space)

    def nearest(self, x: Blocks, space: ControlSpace) -> dict[str, Array]:
        return {n: v for part in self._parts for n, v in part.nearest(x, space).items()}

    def support(self, gradient: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        return {n: v for part in self._parts for n, v in part.support(gradient, tie, space).items()}

    def violation(self, control: Control) -> float:
        return max(part.violation(control) for part in self._parts)


def _changed(control: Control, blocks: Blocks) -> Control:
    return Control(control.space, {**dict(control.items()), **blocks}, trusted=True)
