"""From the terminal cost back to t = 0: Runge-Kutta steps of V_s = H(f, DV, t), s = T - t.

Steps are as long as current slopes allow: length * sum_i max |velocity_i| / spacing_i <= COURANT,
measured at both one-sided slopes of every node at the start of each step.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import ceil, prod
from typing import Literal

import numba
import numpy as np

from continuum.arrays import Array

from .godunov import (
    CLOSED,
    OPEN,
    PERIODIC,
    SMOOTH,
    Axis,
    blocks,
    entries_rates,
    interval_rates,
    reference_rates,
)
from .grids import StateGrid
from .separable import SeparableHamiltonian

Scheme = Literal["weno", "upwind", "strang"]

COURANT = {"weno": 0.8, "upwind": 0.9}

_WALLS = {"open": OPEN, "periodic": PERIODIC, "closed": CLOSED}
_SHARED = 30_000
"""Nodes from which on the blocks of an axis are shared out among threads."""


def axes_of(grid: StateGrid, weno: bool) -> tuple[Axis, ...]:
    """The axes of a grid as compiled loops read them."""
    shape = grid.shape
    return tuple(
        Axis(prod(shape[:i]), n, prod(shape[i + 1 :]), 1.0 / h, _WALLS[wall], weno)
        for i, (n, h, wall) in enumerate(zip(shape, grid.spacings, grid.walls, strict=True))
    )


class Rates:
    """L + sum_i of Godunov's flux at all nodes of a grid, compiled where there is a loop for it.

    hamiltonian, grid : of the same N
    weno : slopes of fifth order, else of first
    reference : True computes by NumPy alone
    raises ValueError where no velocity keeps a unit from leaving through a closed wall
    """

    def __init__(
        self,
        hamiltonian: SeparableHamiltonian,
        grid: StateGrid,
        weno: bool,
        reference: bool = False,
    ) -> None:
        self.hamiltonian, self.grid = hamiltonian, grid
        self.axes = axes_of(grid, weno)
        self.states = grid.states()
        self.compiled = not reference and hamiltonian.kind != "scalar"
        self._filled = False
        threads = numba.get_num_threads() if grid.size >= _SHARED else 1
        self._pool = ThreadPoolExecutor(threads) if threads > 1 and self.compiled else None
        self._threads = threads

    def __call__(self, values: Array, t: float, out: Array, measure: bool) -> Array:
        """Fills out (size,) with the rates at values (size,) and time t; returns the largest speed
        along each axis, (N,), zeros unless it is to be measured.
        """
        width = np.array([high - low for low, high in self.grid.box])
        eps = SMOOTH * (np.ptp(values) / width) ** 2 + 1e-66
        if not self.compiled:
            rate, speeds = reference_rates(self.hamiltonian, self.axes, self.states, values, t, eps)
            out[:] = rate
            return speeds
        self._fill(t)
        if self.hamiltonian.has_running_cost:
            out[:] = self._running
        else:
            out[:] = 0.0
        return np.array(
            [
                self._along(i, axis, values, float(eps[i]), measure, out)
                for i, axis in enumerate(self.axes)
            ]
        )

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _along(
        self, i: int, axis: Axis, values: Array, eps: float, measure: bool, out: Array
    ) -> float:
        count = blocks(axis)

        def work(first: int, last: int) -> float:
            if self.hamiltonian.kind == "interval":
                return interval_rates(
                    axis, values, self._low[i], self._high[i], eps, first, last, measure, out
                )
            return entries_rates(
                axis, values, self._rows, self._still[i], eps, first, last, measure, out
            )

        if self._pool is None or count < self._threads:
            return work(0, count)
        cuts = [count * k // self._threads for k in range(self._threads + 1)]
        return max(self._pool.map(work, cuts[:-1], cuts[1:]))

    def _fill(self, t: float) -> None:
        """The arrays that loops read at time t: once where nothing depends on time."""
        hamiltonian, f = self.hamiltonian, self.states
        if self._filled and hamiltonian.autonomous:
            return
        self._filled = True
        if hamiltonian.has_running_cost:
            self._running = np.ascontiguousarray(hamiltonian.running(f, t), dtype=np.float64)
        low, high = hamiltonian.velocity_bounds(f, t)
        self._low, self._high = np.ascontiguousarray(low), np.ascontiguousarray(high)
        self._check_walls()

    def _check_walls(self) -> None:
        for i, axis in enumerate(self.axes):
            low = self._low[i].reshape(axis.before, axis.n, axis.after)
            high = self._high[i].reshape(axis.before, axis.n, axis.after)
            if axis.wall == CLOSED and (np.any(high[:, 0] < 0.0) or np.any(low[:, -1] > 0.0)):
                raise ValueError(f"walls: no control keeps unit {i} inside its closed wall")


def slabs(rates: Rates, times: Array) -> Iterator[tuple[int, Array]]:
    """(number of a slab, the ends of its parts) from the last slab to the first: a slab is cut at
    layer boundaries where fixed blocks or the running cost depend on time.
    """
    hamiltonian = rates.hamiltonian
    nodes = np.array([]) if hamiltonian.autonomous else hamiltonian.problem.mesh.nodes
    near = 1e-12 * times[-1]
    for k in range(len(times) - 2, -1, -1):
        low, high = times[k], times[k + 1]
        inside = nodes[(nodes > low + near) & (nodes < high - near)]
        yield k, np.concatenate([[low], inside, [high]])


def march(rates: Rates, values: Array, times: Array, order: int) -> int:
    """Fills values[k] (size,) at times[k] from values[-1]; returns the number of steps.

    values : (S + 1, size)
    order : 3, strong stability preserving Runge-Kutta; 1, Euler
    raises FloatingPointError when a value is no longer finite
    """
    courant = COURANT["weno" if order == 3 else "upwind"]
    inverse = np.array([axis.inverse for axis in rates.axes])
    v = values[-1].copy()
    rate, stage, steps = np.empty_like(v), np.empty_like(v), 0
    for k, ends in slabs(rates, times):
        for low, high in zip(ends[-2::-1], ends[:0:-1], strict=True):
            t, margin = high, 1e-12 * (high - low)

            def inside(s: float, low: float = low + margin, high: float = high - margin) -> float:
                return min(max(s, low), high)

            while t > low:
                speeds = rates(v, inside(t), rate, True)
                bound = float(speeds @ inverse)
                if not np.isfinite(bound):
                    raise FloatingPointError(f"a value became infinite or NaN at t = {t:.6g}")
                left = max(1, ceil((t - low) * bound / courant))
                dt = (t - low) / left
                _step(rates, v, rate, stage, (t, dt), order, inside)
                t = low if left == 1 else t - dt
                steps += 1
        if not np.all(np.isfinite(v)):
            raise FloatingPointError(f"a value became infinite or NaN before t = {times[k]:.6g}")
        values[k] = v
    return steps


def _step(
    rates: Rates,
    v: Array,
    rate: Array,
    stage: Array,
    step: tuple[float, float],
    order: int,
    inside: Callable[[float], float],
) -> None:
    """v <- the values one step earlier; `rate` is the one at v, and is used up.

    With R the rate: u = v + dt R(v);  u <- 3/4 v + 1/4 (u + dt R(u));  v <- 1/3 v + 2/3 (u + dt
    R(u)), at t, t - dt and t - dt/2.
    """
    t, dt = step
    rate *= dt
    if order == 1:
        v += rate
        return
    np.add(v, rate, out=stage)
    rates(stage, inside(t - dt), rate, False)
    rate *= 0.25 * dt
    stage *= 0.25
    stage += rate
    np.multiply(v, 0.75, out=rate)
    stage += rate
    rates(stage, inside(t - 0.5 * dt), rate, False)
    rate *= dt
    stage += rate
    stage *= 2.0 / 3.0
    v *= 1.0 / 3.0
    v += stage
