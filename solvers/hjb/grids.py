"""Rectangular grids in the space of states."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count
from continuum.doors import checked
from continuum.problem import LearningProblem

from .enclosures import Velocities, enclosable, reachable
from .separable import separable

Wall = Literal["open", "periodic", "closed"]
_KNOTS = 41
"""Times between which reachable states are enclosed."""
WALLS: tuple[Wall, ...] = ("open", "periodic", "closed")


@checked
@dataclass(frozen=True, eq=False)
class StateGrid:
    """Equally spaced nodes on a box of states: StateGrid([(-3, 4), (-3, 3)], 161).

    box : (low, high) of each unit
    nodes : how many on each axis, >= 8: one number, or one for each axis.  The ends of the box are
        nodes; on a periodic axis the upper end is the lower one and is not repeated
    walls : "open", values are extrapolated beyond the box; "periodic"; "closed", states may not
        leave the box.  One word, or one for each axis
    raises ValueError or TypeError that names the argument
    """

    box: Sequence[tuple[float, float]]
    nodes: int | Sequence[int]
    walls: Wall | Sequence[Wall] = "open"

    def __post_init__(self) -> None:
        box = tuple((float(low), float(high)) for low, high in self.box)
        if not box:
            raise ValueError("box must have a pair (low, high) for each unit")
        for low, high in box:
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise ValueError(f"box needs low < high for each unit, got ({low:g}, {high:g})")
        given = (self.nodes,) * len(box) if isinstance(self.nodes, int) else tuple(self.nodes)
        walls = (self.walls,) * len(box) if isinstance(self.walls, str) else tuple(self.walls)
        for name, values in (("nodes", given), ("walls", walls)):
            if len(values) != len(box):
                raise ValueError(f"{name} must be one, or {len(box)}, one for each unit")
        for wall in walls:
            if wall not in WALLS:
                raise ValueError(f"walls must be among {', '.join(WALLS)}, got {wall!r}")
        nodes = tuple(check_count("nodes", n, least=8) for n in given)
        for name, value in (("box", box), ("nodes", nodes), ("walls", walls)):
            object.__setattr__(self, name, value)

    @classmethod
    def reachable(cls, problem: LearningProblem, nodes: int | Sequence[int]) -> "StateGrid":
        """A grid on a box that holds all states that controls reach, by interval arithmetic, and
        more than two spacings around it; its walls are open.

        raises ValueError where no such box is found, and what `separable` refuses
        """
        hamiltonian = separable(problem)
        reason = enclosable(hamiltonian)
        if reason:
            raise ValueError(f"no box of reachable states is known: {reason}")
        start = np.asarray(problem.initial)[:, 0]
        given = (nodes,) * len(start) if isinstance(nodes, int) else tuple(nodes)
        knots = np.linspace(0.0, problem.mesh.horizon, _KNOTS)
        lows, highs = reachable(Velocities(hamiltonian), start, knots)
        low, high = np.min(lows, axis=0), np.max(highs, axis=0)
        # with m spacings in the box, 2.5 more on each side: h = (high - low) / (n - 1 - 5)
        room = 2.5 * (high - low) / np.maximum(np.array(given) - 6, 1)
        return cls(list(zip(low - room, high + room, strict=True)), given)

    @property
    def dimensions(self) -> int:
        """N."""
        return len(self.box)

    @property
    def shape(self) -> tuple[int, ...]:
        """How many nodes there are on each axis."""
        return self.nodes  # type: ignore[return-value]  # made a tuple above

    @property
    def size(self) -> int:
        """How many nodes there are."""
        return prod(self.shape)

    @property
    def spacings(self) -> Array:
        """(N,): h."""
        return np.array(
            [
                (high - low) / (n if wall == "periodic" else n - 1)
                for (low, high), n, wall in zip(self.box, self.shape, self.walls, strict=True)
            ]
        )

    @property
    def axes(self) -> tuple[Array, ...]:
        """The nodes of each axis."""
        lows = (low for low, _ in self.box)
        return tuple(
            low + h * np.arange(n)
            for low, h, n in zip(lows, self.spacings, self.shape, strict=True)
        )

    def states(self) -> Array:
        """(N, size): all nodes, the last axis varying fastest."""
        return np.stack([x.ravel() for x in np.meshgrid(*self.axes, indexing="ij")])

    def coarser(self, stride: int) -> "StateGrid":
        """The same box with about 1 / stride of the nodes on each axis, at least 8."""
        nodes = [
            max(8, round(n / stride) if wall == "periodic" else round((n - 1) / stride) + 1)
            for n, wall in zip(self.shape, self.walls, strict=True)
        ]
        return StateGrid(self.box, nodes, self.walls)

    def cells(self, low: Array, high: Array) -> tuple[Array, Array]:
        """(first, last) (N,): the cells around nodes, by their nodes, that cover the states from
        low to high.

        raises ValueError unless all of them are inner nodes
        """
        origin, h = np.array(self.box)[:, 0], self.spacings
        first = np.floor((low - origin) / h + 0.5 - 1e-9).astype(int)
        last = np.floor((high - origin) / h + 0.5 + 1e-9).astype(int)
        if np.any(first < 1) or np.any(last > np.array(self.shape) - 2):
            box = ", ".join(f"[{x:.4g}, {y:.4g}]" for x, y in zip(low, high, strict=True))
            raise ValueError(
                f"grid must reach beyond the states that controls reach, {box}, by more than a "
                f"spacing and a half, it is {list(self.box)}"
            )
        return first, last

    def contains(self, low: Array, high: Array) -> bool:
        """True if the box from low to high (N,) lies inside."""
        bounds = np.array(self.box)
        open_ = np.array([wall != "periodic" for wall in self.walls])
        return bool(np.all(~open_ | ((bounds[:, 0] <= low) & (high <= bounds[:, 1]))))
