"""Value functions on grids: V(f, t), the least cost to go of one sample from state f at time t.

V_t + H(f, DV, t) = 0,   V(f, T) = terminal cost,   DV_i = dV/df_i = w_i p_i.
"""

from dataclasses import dataclass
from functools import cached_property
from math import log2
from typing import Literal

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_array, check_count, check_name, check_positive, check_type
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from ..run.solution import Solution
from ..run.status import Status
from .grids import StateGrid
from .lines import Workers
from .separable import SeparableHamiltonian, separable
from .splitting import Splitting, split
from .sweeps import Rates, march

Scheme = Literal["weno", "strang", "upwind"]
SCHEMES: tuple[Scheme, ...] = ("weno", "strang", "upwind")
MOST_UNITS = 5
_CHUNK = 200_000
"""Numbers gathered at once when values between nodes are interpolated."""


@dataclass(frozen=True, eq=False)
class ValueFunction:
    """The value function of a problem of one sample at the nodes of a grid; see `solve_hjb`.

    times : (S + 1,), increasing from 0 to T; after a failure those alone at which, and from which
        on, all values are finite
    values : (S + 1, *grid.shape)
    status, detail : how the run ended
    steps : how many steps of the scheme were made
    gibibytes : the memory that the run needed
    """

    problem: LearningProblem
    hamiltonian: SeparableHamiltonian
    grid: StateGrid
    scheme: Scheme
    times: Array
    values: Array
    status: Status
    steps: int
    gibibytes: float
    detail: str = ""

    __repr__ = short

    def __call__(self, f: Array, t: float) -> Array:
        """(L,): V at states (N, L) and time t, by cubic interpolation along every axis and in time.

        raises ValueError for a state outside the grid or a time outside those of `times`
        """
        return self._interpolate(f, t, None)

    def partials(self, f: Array, t: float) -> Array:
        """(N, L): dV/df_i, the derivatives of the interpolant."""
        return np.stack([self._interpolate(f, t, i) for i in range(self.grid.dimensions)])

    def gradient(self, f: Array, t: float) -> Array:
        """(N, L): the costate p_i = dV/df_i / w_i, the derivative of V in the units' weights.

        On a kink of V it is an average over nearby cells, which no trajectory has as its costate.
        """
        return self.partials(f, t) / self.hamiltonian.weights[:, None]

    @property
    def at_start(self) -> float:
        """V(f_I, 0)."""
        return float(self(self.problem.initial, 0.0)[0])

    @property
    def order(self) -> float:
        """log2 of the ratio of the changes of V(f_I, 0) from one grid to the next finer one, of
        three; NaN if they have no common direction.
        """
        coarse, middle, fine = self._three
        first, second = middle - coarse, fine - middle
        return log2(first / second) if first * second > 0.0 else float("nan")

    @property
    def error(self) -> float:
        """An estimate of the error of V(f_I, 0), not a bound: its last change on three grids, of
        every fourth, every second and every node, divided by 2^order - 1 if the order is between
        1/2 and 1; where the changes have no common direction, the larger one.

        The two coarser grids are solved when this is first read.
        """
        coarse, middle, fine = self._three
        order = self.order
        if np.isnan(order):
            return max(abs(middle - coarse), abs(fine - middle))
        return abs(fine - middle) / (2.0 ** min(max(order, 0.5), 1.0) - 1.0)

    @cached_property
    def _three(self) -> tuple[float, float, float]:
        """V(f_I, 0) on three grids, the coarsest first."""
        coarser = [
            solve_hjb(
                self.problem,
                self.grid.coarser(stride),
                times=len(self.times),
                scheme=self.scheme,
                steps=max(1, round(self.steps / stride)) if self.scheme == "strang" else None,
            ).at_start
            for stride in (4, 2)
        ]
        return coarser[0], coarser[1], self.at_start

    def _interpolate(self, f: Array, t: float, axis: int | None) -> Array:
        """V, or its derivative along an axis."""
        grid = self.grid
        f = check_array("f", f, (grid.dimensions, "L"))
        near = 1e-9 * grid.spacings
        if not grid.contains(np.min(f, axis=1) + near, np.max(f, axis=1) - near):
            raise ValueError(f"f has states outside the grid {[tuple(b) for b in grid.box]}")
        first, horizon = (float(self.times[k]) for k in (0, -1))
        if not first <= t <= horizon:
            raise ValueError(f"t must be in [{first:g}, {horizon:g}], got {t!r}")
        index, weights = _time_weights(self.times, t)
        chunk = max(1, _CHUNK // 4**grid.dimensions)
        return np.concatenate(
            [
                sum(
                    w * _interpolate(grid, self.values[k], f[:, start : start + chunk], axis)
                    for k, w in zip(index, weights, strict=True)
                    if w != 0.0
                )
                for start in range(0, f.shape[1], chunk)
            ]  # type: ignore[arg-type]  # no sum is empty: the weights have sum 1
        )


def _time_weights(times: Array, t: float) -> tuple[Array, Array]:
    """The numbers of up to four times around t and Lagrange's weights."""
    k = min(int(np.searchsorted(times, t, side="right")) - 1, len(times) - 2)
    count = min(4, len(times))
    first = min(max(k - 1, 0), len(times) - count)
    index = np.arange(first, first + count)
    weights = np.ones(count)
    for a in range(count):
        for b in range(count):
            if a != b:
                nodes = times[index]
                weights[a] *= (t - nodes[b]) / (nodes[a] - nodes[b])
    return index, weights


def _interpolate(grid: StateGrid, v: Array, f: Array, axis: int | None) -> Array:
    """(L,): the tensor product of cubic Lagrange polynomials through four nodes on each axis, the
    two nearest on either side (at walls the last four), or its derivative along an axis.
    """
    total, count = v, f.shape[1]
    indices, weights = [], []
    for i, (x, n, h, wall) in enumerate(
        zip(grid.axes, grid.shape, grid.spacings, grid.walls, strict=True)
    ):
        s = (f[i] - x[0]) / h
        first = np.floor(s).astype(np.int64) - 1
        if wall != "periodic":
            first = np.clip(first, 0, n - 4)
        y = s - first
        indices.append((first[None] + np.arange(4)[:, None]) % n)
        weights.append(_slope_weights(y) / h if i == axis else _cubic_weights(y))
    gathered = total[
        tuple(
            ix.reshape((1,) * i + (4,) + (1,) * (len(indices) - 1 - i) + (count,))
            for i, ix in enumerate(indices)
        )
    ]
    for w in weights:
        gathered = np.einsum("k...l,kl->...l", gathered, w)
    return gathered


def _cubic_weights(y: Array) -> Array:
    """(4, L): Lagrange's polynomials through 0, 1, 2, 3 at y."""
    a, b, c = y - 1.0, y - 2.0, y - 3.0
    return np.stack([-a * b * c / 6.0, y * b * c / 2.0, -y * a * c / 2.0, y * a * b / 6.0])


def _slope_weights(y: Array) -> Array:
    """(4, L): their derivatives."""
    a, b, c = y - 1.0, y - 2.0, y - 3.0
    return np.stack(
        [
            -(a * b + a * c + b * c) / 6.0,
            (y * b + y * c + b * c) / 2.0,
            -(y * a + y * c + a * c) / 2.0,
            (y * a + y * b + a * b) / 6.0,
        ]
    )


@checked
def solve_hjb(
    problem: LearningProblem,
    grid: StateGrid,
    times: int = 81,
    scheme: Scheme = "weno",
    steps: int | None = None,
    most_gibibytes: float = 4.0,
    raise_on_failure: bool = True,
) -> ValueFunction:
    """The value function of a problem of one sample, on a grid of states, N <= 5.

    times : how many equally spaced times, 0 and T among them, its values are kept at
    scheme : "weno", slopes of fifth order and Runge-Kutta steps of third; "strang", flows along one
        axis at a time, of velocities that a set bounds, without a penalty: the fastest; "upwind",
        slopes and steps of first order, a reference
    steps : of "strang"; chosen from the grid unless given
    most_gibibytes : memory that may be used
    raises TypeError or ValueError for a grid of another N, N > 5, a start outside the grid, a grid
        that needs more memory, before any is used, a terminal cost that is not finite on the grid,
        and what `separable` refuses; SolveError when a value is no longer finite, with the values
        before that in `solution.value`, unless raise_on_failure=False, which returns them
    """
    check_type("grid", grid, StateGrid)
    check_count("times", times, least=2)
    check_name("scheme", scheme, SCHEMES)
    if steps is not None:
        if scheme != "strang":
            raise ValueError(f"steps are chosen by the scheme {scheme!r} as it goes, got {steps}")
        check_count("steps", steps)
    check_positive("most_gibibytes", most_gibibytes)
    units = problem.initial.shape[0]
    if units > MOST_UNITS:
        raise ValueError(
            f"the problem has {units} units, and grids serve up to {MOST_UNITS}: descend_values "
            "computes values at single states for any number"
        )
    if grid.dimensions != units:
        raise ValueError(f"grid has {grid.dimensions} axes, the problem {units} units")
    hamiltonian = separable(problem)
    start = np.asarray(problem.initial)[:, 0]
    if not grid.contains(start, start):
        raise ValueError(f"grid does not contain the start {start.tolist()}")
    needed = _gibibytes(hamiltonian, grid, times)
    if needed > most_gibibytes:
        raise ValueError(
            f"grid needs {needed:.3g} GiB for {times} times, most_gibibytes is {most_gibibytes:g}: "
            "take fewer nodes or times"
        )
    nodes = np.linspace(0.0, problem.mesh.horizon, times)
    values = np.full((times, grid.size), np.nan)
    with Workers(grid.size) as workers, np.errstate(over="ignore", invalid="ignore"):
        if scheme == "strang":
            splitting = Splitting(hamiltonian, grid, workers)
            values[-1] = hamiltonian.terminal(splitting.states)
            made = split(splitting, values, nodes, steps or splitting.steps())
        else:
            rates = Rates(hamiltonian, grid, scheme == "weno", workers)
            values[-1] = hamiltonian.terminal(rates.states)
            made = march(rates, values, nodes, 3 if scheme == "weno" else 1)
    lost = [k for k, v in enumerate(values) if not np.all(np.isfinite(v))]
    first = lost[-1] + 1 if lost else 0
    if first == times:
        raise ValueError("problem: its terminal cost is not finite on the grid")
    status, detail = Status.FINISHED, ""
    if lost:
        status, detail = Status.VALUE_NOT_FINITE, f"before t = {nodes[first]:.6g}"
        nodes, values = nodes[first:], values[first:]
    shaped = values.reshape(len(nodes), *grid.shape)
    value = ValueFunction(
        problem, hamiltonian, grid, scheme, nodes, shaped, status, made, needed, detail
    )
    Solution(value, status, detail).raise_if_failed(raise_on_failure)
    return value


def _gibibytes(hamiltonian: SeparableHamiltonian, grid: StateGrid, times: int) -> float:
    """What a run allocates: values, states, the arrays of loops and those of their computation."""
    units = grid.dimensions
    arrays = times + 3 + (12 if hamiltonian.kind != "scalar" else 40) * units
    return 8.0 * grid.size * arrays / 2**30
