"""What an admissible set of controls is, and products of them; the sets themselves are in
`sets`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import numpy as np

from .arrays import Array
from .checks import check_name
from .controls import Control, ControlSpace, check_control
from .doors import checked

Blocks = Mapping[str, Array]
"""Coefficients by name, (..., *block.shape): any leading axes, of time or none."""


class AdmissibleSet(ABC):
    """A closed set A of controls; blocks it does not name are free.

    `nearest`, `support` and `excess` take values at many points at once; `project`, `violation` and
    `contains` take a whole control.  Sets that name different blocks are joined by &:
    Box(bias=(-1, 1)) & FiniteSet(kernel=(-1, 0, 1)).

    What a solver may ask of the kind of set:

    pointwise : it bounds the control at each time on its own, so that extrema over it are taken
        time by time
    by_entries : it bounds every entry on its own; `by_rows` is for rows of an operator, `interval`
        for the bounds of a block
    radial : it bounds the norm |u(t)| over all its blocks, and nothing else
    convex : as it says
    """

    pointwise: ClassVar[bool] = True
    radial: ClassVar[bool] = False
    by_entries: ClassVar[bool] = False
    convex: ClassVar[bool] = True

    @abstractmethod
    def named(self, space: ControlSpace) -> tuple[str, ...]:
        """The trained blocks of the space that it bounds."""

    @abstractmethod
    def nearest(self, x: Blocks, space: ControlSpace) -> dict[str, Array]:
        """The nearest points, for the blocks it names."""

    @abstractmethod
    def support(self, gradient: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        """Maximisers of (gradient, .), for the blocks it names; entries that do not matter are
        those of `tie`.
        """

    def switching(self, gradient: Blocks, space: ControlSpace) -> dict[str, Array] | None:
        """Functions of the gradient, by block, on whose signs alone its support point depends; None
        where that point moves with the gradient.

        The gradient itself where every entry has its interval.
        """
        names = self.named(space)
        if any(self.interval(name, space) is None for name in names):
            return None
        return {name: gradient[name] for name in names}

    def at_signs(self, signs: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        """The support point of gradients whose switching functions have these signs."""
        return self.support(signs, tie, space)

    @abstractmethod
    def excess(self, x: Blocks, space: ControlSpace) -> float:
        """By how much the worst bound is exceeded at these points; <= 0 inside."""

    def interval(self, name: str, space: ControlSpace) -> tuple[float, float] | None:
        """(low, high) if the set bounds every entry of the block by this interval alone; a block it
        does not name is free, (-inf, inf).  None if it is bounded in another way.
        """
        return None if name in self.named(space) else (-math.inf, math.inf)

    def by_rows(self, space: ControlSpace) -> bool:
        """True if it bounds every row (a_i, b_i.) of a bias and a kernel of this space on its
        own.
        """
        return self.by_entries

    def free_entries(self, control: Control, margin: float) -> dict[str, Array] | None:
        """For every trained block, which of its entries can move both ways, together, without
        leaving A: masks of the shape of the coefficients.

        margin : what is nearer to a bound than this counts as lying on it
        returns None where that cannot be told entry by entry: on the boundary of a set whose bounds
            couple entries, and for sets that are not convex
        """
        if not self.convex or self.violation(control) > -margin:
            return None
        return {n: np.ones(x.shape, dtype=bool) for n, x in control.items()}

    def check(self, space: ControlSpace) -> None:
        """Raises ValueError if the set does not fit the space."""
        blocks = {b.name: b for b in space.trained}
        for name in self.named(space):
            check_name("block", name, list(blocks))
            if blocks[name].time == "nodes":
                raise ValueError(
                    f"{type(self).__name__} on {name!r} needs in_time='layers': in the space "
                    f"of piecewise linear "
                    "controls the nearest point is not found entry by entry"
                )

    def project(self, control: Control) -> Control:
        """The nearest point of A in the norm of the control's space; one of them if A is not
        convex.
        """
        space = self._space(control)
        return control.replaced(**self.nearest(control, space))

    def violation(self, control: Control) -> float:
        """By how much the worst bound is exceeded; <= 0 inside."""
        return self.excess(control, self._space(control))

    @checked
    def contains(self, control: Control, atol: float = 0.0) -> bool:
        """True if no bound is exceeded by more than atol."""
        return self.violation(control) <= atol

    def _space(self, control: Control) -> ControlSpace:
        """The space of a control that the set fits.  Raises TypeError, ValueError otherwise."""
        space = check_control("control", control).space
        self.check(space)
        return space

    def __and__(self, other: "AdmissibleSet") -> "AdmissibleSet":
        if not isinstance(other, AdmissibleSet):
            return NotImplemented
        return SetProduct((*self.parts, *other.parts))

    @property
    def parts(self) -> tuple["AdmissibleSet", ...]:
        """The sets it is a product of."""
        return (self,)

    def only(self, names: Collection[str], space: ControlSpace) -> "AdmissibleSet | None":
        """What it asks of these blocks alone, None if nothing.  Raises TypeError if it couples them
        to others.
        """
        whole = self.named(space)
        inside = [name for name in whole if name in names]
        if inside and len(inside) < len(whole):
            raise TypeError(
                f"{self!r} couples {', '.join(whole)}: it cannot be met by "
                f"{', '.join(inside)} alone"
            )
        return self if inside else None

    @property
    def bounded(self) -> bool:
        """True if the blocks it names cannot be arbitrarily large."""
        return True


class SetProduct(AdmissibleSet):
    """Sets for different blocks, together; `check` raises ValueError if two name the same block."""

    def __init__(self, parts: Sequence[AdmissibleSet]) -> None:
        self._parts = tuple(parts)
        self.pointwise = all(p.pointwise for p in parts)  # type: ignore[misc]
        self.by_entries = all(p.by_entries for p in parts)  # type: ignore[misc]
        self.convex = all(p.convex for p in parts)  # type: ignore[misc]

    def __repr__(self) -> str:
        return " & ".join(map(repr, self._parts))

    @property
    def parts(self) -> tuple[AdmissibleSet, ...]:
        return self._parts

    def named(self, space: ControlSpace) -> tuple[str, ...]:
        return tuple(name for part in self._parts for name in part.named(space))

    def only(self, names: Collection[str], space: ControlSpace) -> AdmissibleSet | None:
        """See AdmissibleSet."""
        kept = [p for p in (part.only(names, space) for part in self._parts) if p is not None]
        return None if not kept else kept[0] if len(kept) == 1 else SetProduct(kept)

    @property
    def bounded(self) -> bool:
        return all(part.bounded for part in self._parts)

    def check(self, space: ControlSpace) -> None:
        for part in self._parts:
            part.check(space)
        names = self.named(space)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sets name the same block: {', '.join(twice)}")

    def nearest(self, x: Blocks, space: ControlSpace) -> dict[str, Array]:
        return {n: v for part in self._parts for n, v in part.nearest(x, space).items()}

    def support(self, gradient: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        return {n: v for part in self._parts for n, v in part.support(gradient, tie, space).items()}

    def switching(self, gradient: Blocks, space: ControlSpace) -> dict[str, Array] | None:
        """See AdmissibleSet."""
        found = [part.switching(gradient, space) for part in self._parts]
        if any(functions is None for functions in found):
            return None
        return {n: x for functions in found for n, x in (functions or {}).items()}

    def at_signs(self, signs: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        """See AdmissibleSet."""
        return {n: v for part in self._parts for n, v in part.at_signs(signs, tie, space).items()}

    def excess(self, x: Blocks, space: ControlSpace) -> float:
        return max(part.excess(x, space) for part in self._parts)

    def interval(self, name: str, space: ControlSpace) -> tuple[float, float] | None:
        """See AdmissibleSet."""
        named = [part for part in self._parts if name in part.named(space)]
        return named[0].interval(name, space) if named else super().interval(name, space)

    def by_rows(self, space: ControlSpace) -> bool:
        """See AdmissibleSet."""
        return all(part.by_rows(space) for part in self._parts)

    def free_entries(self, control: Control, margin: float) -> dict[str, Array] | None:
        """See AdmissibleSet."""
        found = [part.free_entries(control, margin) for part in self._parts]
        if any(masks is None for masks in found):
            return None
        return {n: np.all([m[n] for m in found if m is not None], axis=0) for n in control}
