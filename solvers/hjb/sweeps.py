"""From the terminal cost back to t = 0: Runge-Kutta steps of V_s = H(f, DV, t), s = T - t.

Steps are as long as current slopes allow: length * sum_i max |velocity_i| / spacing_i <= COURANT,
measured at both one-sided slopes of every node at the start of each step.
"""

from collections.abc import Callable
from math import ceil

import numpy as np

from continuum.activations import identity
from continuum.arrays import Array

from .godunov import blocks, interval_rates, reference_rates, row_rates
from .grids import StateGrid
from .lines import SMOOTH, Axis, Workers, axes_of, check_walls, slabs, velocity_arrays
from .row_flux import Rows, activation_numbers
from .separable import SeparableHamiltonian

COURANT = {3: 0.8, 1: 0.9}
"""By the order of the steps in time."""


_FAR = 700.0
"""Preactivations as good as infinite."""


class Rates:
    """L + sum_i of Godunov's flux at all nodes of a grid, compiled where there is a loop for it.

    hamiltonian, grid : of the same N
    weno : slopes of fifth order, else of first
    workers : who shares the loops; None computes by NumPy alone
    raises ValueError where no velocity keeps a unit from leaving through a closed wall
    """

    def __init__(
        self,
        hamiltonian: SeparableHamiltonian,
        grid: StateGrid,
        weno: bool,
        workers: Workers | None,
    ) -> None:
        self.hamiltonian, self.grid, self.weno = hamiltonian, grid, weno
        self.axes, self.states = axes_of(grid, hamiltonian.bounded), grid.states()
        self.workers = workers
        self._psi = hamiltonian.rows.psi or identity
        self.compiled = workers is not None and self._psi.code is not None
        self._filled = False

    def __call__(self, values: Array, t: float, out: Array, measure: bool) -> Array:
        """Fills out (size,) with the rates at values (size,) and time t; returns the largest speed
        along each axis, (N,), zeros unless it is to be measured.
        """
        width = np.array([high - low for low, high in self.grid.box])
        eps = SMOOTH * (np.ptp(values) / width) ** 2 + 1e-66
        if not self.compiled:
            rate, speeds = reference_rates(
                self.hamiltonian, self.axes, self.weno, self.states, values, t, eps
            )
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

    def _along(
        self, i: int, axis: Axis, values: Array, eps: float, measure: bool, out: Array
    ) -> float:
        weno = self.weno

        def work(first: int, last: int) -> float:
            if self.hamiltonian.kind == "interval":
                low, high = self._low[i], self._high[i]
                return interval_rates(axis, weno, values, low, high, eps, first, last, measure, out)
            weight, still = float(self.hamiltonian.weights[i]), self._still[i]
            return row_rates(axis, weno, values, self._rows, weight, still, eps, first, last, out)

        if self.workers is None:
            raise TypeError("compiled loops need workers")
        return max(self.workers.share(blocks(axis), work))  # type: ignore[type-var]  # numbers

    def _fill(self, t: float) -> None:
        """The arrays that loops read at time t: once where nothing depends on time."""
        hamiltonian, f = self.hamiltonian, self.states
        if self._filled and hamiltonian.autonomous:
            return
        self._filled = True
        if hamiltonian.has_running_cost:
            self._running = np.ascontiguousarray(hamiltonian.running(f, t), dtype=np.float64)
        if hamiltonian.kind == "interval":
            self._low, self._high = velocity_arrays(hamiltonian, self.axes, f, t)
            return
        features = hamiltonian.features(f)
        self._rows = Rows(
            np.ascontiguousarray(features.r),
            *(features.measure, features.low, features.high, features.strength),
            hamiltonian.kind == "scalar",
            *activation_numbers(self._psi),
        )
        self._still = np.ascontiguousarray(np.broadcast_to(hamiltonian.still(f, t), f.shape))
        low, high = _reach(self._rows, self._still)
        if hamiltonian.kind == "scalar":
            low, high = (self._psi.value(np.clip(u, -_FAR, _FAR)) for u in (low, high))
        check_walls(self.axes, low, high)


def _reach(rows: Rows, still: Array) -> tuple[Array, Array]:
    """The least and the largest preactivation, (N, size) each, perhaps infinite."""
    low, high = still, still
    for r, m, *ends in zip(rows.r, rows.measure, rows.low, rows.high, strict=True):
        moving = np.where(r == 0.0, 1.0, r)
        speeds = [np.where(r == 0.0, 0.0, m * moving * end) for end in ends]
        low, high = low + np.minimum(*speeds), high + np.maximum(*speeds)
    return low, high


def march(rates: Rates, values: Array, times: Array, order: int) -> int:
    """Fills values[k] (size,) at times[k] from values[-1], as long as they are finite; returns the
    number of steps.

    values : (S + 1, size)
    order : 3, strong stability preserving Runge-Kutta; 1, Euler
    """
    courant = COURANT[order]
    inverse = np.array([axis.inverse for axis in rates.axes])
    v = values[-1].copy()
    rate, stage, steps = np.empty_like(v), np.empty_like(v), 0
    for k, ends in slabs(rates.hamiltonian, times):
        for low, high in zip(ends[-2::-1], ends[:0:-1], strict=True):
            t, margin = high, 1e-12 * (high - low)

            def inside(s: float, low: float = low + margin, high: float = high - margin) -> float:
                return min(max(s, low), high)

            while t > low:
                speeds = rates(v, inside(t), rate, True)
                bound = float(speeds @ inverse)
                if not np.isfinite(bound):
                    return steps
                left = max(1, ceil((t - low) * bound / courant))
                dt = (t - low) / left
                _step(rates, v, rate, stage, (t, dt), order, inside)
                t = low if left == 1 else t - dt
                steps += 1
        if not np.all(np.isfinite(v)):
            return steps
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
