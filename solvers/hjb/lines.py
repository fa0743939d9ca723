"""What the loops over a grid share: axes as they read them, slabs of time, threads."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import NamedTuple

import numba
import numpy as np

from continuum.arrays import Array

from .grids import StateGrid
from .separable import SeparableHamiltonian

OPEN, PERIODIC, CLOSED, LEVEL = range(4)
SMOOTH = 1e-6
"""Differences of slopes below a thousandth of the average slope count as smooth: its square."""

_WALLS = {"open": OPEN, "periodic": PERIODIC, "closed": CLOSED}
_SHARED = 30_000
"""Nodes from which on loops are shared out among threads."""


class Axis(NamedTuple):
    """One axis of a grid: an array of values is (before, n, after) with it in the middle.

    inverse : 1 / spacing;  wall : OPEN, PERIODIC, CLOSED or LEVEL
    """

    before: int
    n: int
    after: int
    inverse: float
    wall: int


def axes_of(grid: StateGrid, bounded: bool = True) -> tuple[Axis, ...]:
    """The axes of a grid.

    bounded : False if velocities have no bound: an open wall is then LEVEL, values continue
        linearly where they rise outwards and as constants where they fall, as otherwise a value
        that falls without end beyond the wall would be reached in no time
    """
    shape, walls = grid.shape, _WALLS if bounded else {**_WALLS, "open": LEVEL}
    return tuple(
        Axis(prod(shape[:i]), n, prod(shape[i + 1 :]), 1.0 / h, walls[wall])
        for i, (n, h, wall) in enumerate(zip(shape, grid.spacings, grid.walls, strict=True))
    )


def slabs(hamiltonian: SeparableHamiltonian, times: Array) -> Iterator[tuple[int, Array]]:
    """(number of a slab, the ends of its parts) from the last slab to the first: a slab is cut at
    layer boundaries where fixed blocks or the running cost depend on time.
    """
    nodes = np.array([]) if hamiltonian.autonomous else hamiltonian.problem.mesh.nodes
    near = 1e-12 * times[-1]
    for k in range(len(times) - 2, -1, -1):
        low, high = times[k], times[k + 1]
        inside = nodes[(nodes > low + near) & (nodes < high - near)]
        yield k, np.concatenate([[low], inside, [high]])


def velocity_arrays(
    hamiltonian: SeparableHamiltonian, axes: tuple[Axis, ...], f: Array, t: float
) -> tuple[Array, Array]:
    """lo and hi (N, size) at all nodes, contiguous, of the kind "interval".

    raises ValueError where no velocity keeps a unit from leaving through a closed wall
    """
    low, high = (np.ascontiguousarray(b) for b in hamiltonian.velocity_bounds(f, t))
    check_walls(axes, low, high)
    return low, high


def check_walls(axes: tuple[Axis, ...], low: Array, high: Array) -> None:
    """Raises ValueError where velocities between low and high, (N, size), all lead out through a
    closed wall.
    """
    for i, axis in enumerate(axes):
        shape = axis.before, axis.n, axis.after
        leaves = np.any(high[i].reshape(shape)[:, 0] < 0.0)
        if axis.wall == CLOSED and (leaves or np.any(low[i].reshape(shape)[:, -1] > 0.0)):
            raise ValueError(f"walls: no control keeps unit {i} inside its closed wall")


class Workers:
    """The threads among which blocks of a loop are shared out; one where a grid is small."""

    def __init__(self, size: int) -> None:
        self.count = numba.get_num_threads() if size >= _SHARED else 1
        self._pool = ThreadPoolExecutor(self.count) if self.count > 1 else None

    def share(self, blocks: int, work: Callable[[int, int], float | None]) -> list[float | None]:
        """What work(first, last) returns for each thread's part of so many blocks."""
        if self._pool is None or blocks < self.count:
            return [work(0, blocks)]
        cuts = [blocks * k // self.count for k in range(self.count + 1)]
        return list(self._pool.map(work, cuts[:-1], cuts[1:]))

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *problem: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
