"""Strang's steps of flows along one axis at a time, from the terminal cost back to t = 0."""

import numpy as np

from continuum.arrays import Array

from .grids import StateGrid
from .lines import SMOOTH, Axis, Workers, axes_of, slabs, velocity_arrays
from .semi_lagrangian import flow_strips, least_strips, steps_for, strips
from .separable import SeparableHamiltonian


class Splitting:
    """S(dt) = S_1(dt/2) ... S_N(dt) ... S_1(dt/2), in place, on values at all nodes of a grid.

    hamiltonian : of the kind "interval"
    raises ValueError for another kind, or where no velocity keeps a unit from leaving through a
        closed wall
    """

    def __init__(
        self, hamiltonian: SeparableHamiltonian, grid: StateGrid, workers: Workers
    ) -> None:
        if hamiltonian.kind != "interval":
            raise ValueError(
                'scheme "strang" needs velocities that a set bounds, without a penalty: take "weno"'
            )
        self.hamiltonian, self.workers = hamiltonian, workers
        self.axes, self.states = axes_of(grid), grid.states()
        self._flows: dict[tuple[int, float], tuple[Array, Array]] = {}
        self._filled = -1.0
        self._fill(0.5 * hamiltonian.problem.mesh.horizon)

    def steps(self) -> int:
        """How many steps the grid asks for, see `steps_for`; from the velocities at T / 2."""
        return steps_for(self.hamiltonian.problem.mesh.horizon, self.axes, self._low, self._high)

    def forget(self) -> None:
        """Drops the flows that are kept for steps of the same length."""
        self._flows = {}

    def advance(self, v: Array, t: float, dt: float, count: int) -> None:
        """v <- the values at t - count dt, from those at t, by so many steps.

        Where there is no running cost and nothing depends on time, the last half of a step and the
        first half of the next one are one flow.
        """
        last, joined = len(self.axes) - 1, self.hamiltonian.autonomous
        joined = joined and not self.hamiltonian.has_running_cost and last > 0
        for number in range(count):
            start = t - number * dt
            if not self.hamiltonian.autonomous:
                self.forget()
            self._fill(start - 0.5 * dt)
            self._add_cost(v, start, start - dt, dt)
            for i in range(last):
                if i or not joined or number == 0:
                    self._along(i, v, 0.5 * dt)
            self._along(last, v, dt)
            for i in range(last - 1, -1, -1):
                whole = i == 0 and joined and number < count - 1
                self._along(i, v, dt if whole else 0.5 * dt)
            self._add_cost(v, start - dt, start, dt)

    def _along(self, i: int, v: Array, dt: float) -> None:
        """v <- S_i(dt) v."""
        axis = self.axes[i]
        if (i, dt) not in self._flows:
            self._flows[i, dt] = (
                self._flow(axis, self._low[i], dt),
                self._flow(axis, self._high[i], dt),
            )
        low, high = self._flows[i, dt]
        eps = _smoothness(v, axis)
        self.workers.share(
            strips(axis), lambda first, last: least_strips(axis, v, low, high, eps, first, last)
        )

    def _flow(self, axis: Axis, velocity: Array, dt: float) -> Array:
        reached, eps = np.empty(velocity.size), _smoothness(velocity, axis)
        self.workers.share(
            strips(axis),
            lambda first, last: flow_strips(axis, velocity, dt, eps, first, last, reached),
        )
        return reached

    def _fill(self, t: float) -> None:
        if self._filled < 0.0 or not (self.hamiltonian.autonomous or t == self._filled):
            self._low, self._high = velocity_arrays(self.hamiltonian, self.axes, self.states, t)
            self._filled = t

    def _add_cost(self, v: Array, t: float, other: float, dt: float) -> None:
        """v += dt L(f, t) / 2, t continued from inside the step whose other end is `other`."""
        if self.hamiltonian.has_running_cost:
            inside = t + 1e-12 * (other - t)
            v += (0.5 * dt) * self.hamiltonian.running(self.states, inside)


def _smoothness(v: Array, axis: Axis) -> float:
    """eps of the interpolants, see `SMOOTH`."""
    return float(SMOOTH * (np.ptp(v) / axis.n) ** 2 + 1e-200)


def split(splitting: Splitting, values: Array, times: Array, steps: int) -> int:
    """Fills values[k] (size,) at times[k] from values[-1], the times equally spaced; returns how
    many steps lie between T and 0.

    A step goes over several times if there are more of them than steps; from its start, shorter
    ones lead to the times inside, so that no value is interpolated more often than it must be.
    """
    hamiltonian, slabs_ = splitting.hamiltonian, len(times) - 1
    together = round(slabs_ / steps) if hamiltonian.autonomous else 1
    if together <= 1:
        per_slab, made, v = steps / slabs_, 0, values[-1].copy()
        whole = times[1] - times[0]
        for k, ends in slabs(hamiltonian, times):
            for low, high in zip(ends[-2::-1], ends[:0:-1], strict=True):
                count = max(1, round(per_slab * (high - low) / whole))
                splitting.advance(v, high, (high - low) / count, count)
                made += count
            values[k] = v
        return made
    tau = times[-1] / slabs_
    for k in range(slabs_ - together, -1, -together):
        values[k] = values[k + together]
        splitting.advance(values[k], times[k + together], together * tau, 1)
    first = slabs_ % together
    for r in range(1, together):
        splitting.forget()
        for start in range(slabs_, r - 1, -together):
            values[start - r] = values[start]
            splitting.advance(values[start - r], times[start], r * tau, 1)
    return slabs_ // together + (1 if first else 0)
