"""A proved lower bound of the least cost, from any function of states and times.

Let W be C^1 on the states that controls reach, H(x, q) = min_c [q . F(x, c) + L(x) + r(c)] the
Hamiltonian, and let numbers delta(t) and eps be such that

    W_t + H(x, DW) >= -delta(t),   W(x, T) - terminal(x) <= eps          for (x, t) in a set K.

Along the run f of an admissible control c, d/dt W(f, t) = W_t + DW . F(f, c) >= -delta - L - r as
long as (f, t) is in K.  With the defect to come D(t) = eps + int_t^T delta, of any sign, a run that
stays in K from s on therefore costs from then on at least

    int_s^T (L + r) + terminal(f(T)) >= W(f(s), s) - D(s).                                   (1)

*Without a bound from above*, K is all that is reached, and J >= W(f_I, 0) - D(0).

*With a number U*, let K contain, before T, all that is reached and where W - D <= U.  A run that
costs less than U stays in K, so that the rest need not be looked at:

    at T, eps is first the largest excess of all that is reached.  Since terminal(f(T)) <= J < U,
    W - eps <= terminal < U at f(T), so what is reached and has W - eps > U may be left out, eps is
    the largest excess of the rest, f(T) among it, and so on;
    before T, if the run left K, let s be the last time at which it is outside, or a limit of such
    times.  W - D is continuous, so W - D >= U there, after s the run is in K, and by (1) it costs
    at least U after s, and no less in all since L, r >= 0 (all costs that are enclosed here are
    losses >= 0): a contradiction.

It costs at least W(f_I, 0) - D(0) then, so

    J* >= min(U, W(f_I, 0) - D(0))                                                           (2)

whatever U is.  The smaller it is the fewer states count; below J* it is itself what is proved.  So
the cost of a good control, proved or estimated, serves as well: nothing in (2) asks whether a
control costs as little.

K and delta depend on each other.  Slabs, between two times, are taken from the last to the first,
so that D at the slab's end is known.  Within one D(t) = D(end) + (end - t) delta, so a guess of
delta gives the boxes that count; if what comes out is no larger than the guess, both belong
together, otherwise the guess is raised.  (A guess above delta keeps more than (2) needs.)

*W* is the spline of `bernstein`, C^1 by construction whatever the values are: no values make the
bound wrong.  A function of time alone, added to W, changes nothing, since defects keep their sign.

*Rounding.*  The numbers V, the nodes and T are taken as exact.  A computed coefficient e_ab is a
sum of products of V, with at most R roundings on the way to any of its terms, and its terms are no
larger in sum than S = |W_t| + sum_i |q_i| |F_i| + costs, each factor bounded by max |V| over its
spacing, so its error is below 2 R u S, u = 2^-53.  Halving and means add one rounding each, and the
means of the paired coefficients are weighted with numbers >= 0 of sum 1.  `_slack` counts them;
it is about 1e-11.  Velocities and costs were moved outwards when they were enclosed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, overload

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import plain, short

from .bernstein import Cells, Law, Piece, Search, Tables, first_bounds, least, tables, time_pieces
from .enclosed_run import ProvedCost
from .enclosures import Velocities, cost_coefficients, enclosable, reachable
from .grids import StateGrid
from .separable import SeparableHamiltonian, separable

_UNIT = 2.0**-53
_GUESSES = 20


class GridValues(Protocol):
    """What is read of a ValueFunction: values (S + 1, *grid.shape) at times (S + 1,)."""

    @property
    def grid(self) -> StateGrid: ...
    @property
    def times(self) -> Array: ...
    @property
    def values(self) -> Array: ...


@dataclass(frozen=True, eq=False)
class LowerBound:
    """J* >= value; prints as a sentence.

    value : min(above, start - sum_k tau_k defects_k - terminal)
    start : W(f_I, 0), rounded down
    defects : (S,) delta_k of each slab between two of the times (S + 1,), of any sign
    terminal : eps, the largest W(., T) - terminal cost
    above : the number from which states do not count, or None;  cut : it is the minimum
    cells : the nodes, in the flattened grid, of those on which each slab's defect was taken
    reached : (low, high), (S, N) each: boxes that hold all that is reached in each slab
    hull : the admissible set is not convex, and the bound is that of its hull
    """

    value: float
    start: float
    defects: Array
    times: Array
    terminal: float
    above: float | None
    cut: bool
    cells: tuple[Array, ...] = field(repr=False)
    reached: tuple[Array, Array] = field(repr=False)
    hull: bool = False

    __repr__ = short
    to_dict = plain

    @property
    def kept(self) -> Array:
        """(S,): on how many cells each defect was taken."""
        return np.array([len(c) for c in self.cells])

    def __str__(self) -> str:
        whom = "in the hull of the admissible set" if self.hull else "that is admissible"
        text = f"J* >= {self.value:.7g}, proved for every control {whom}"
        if self.above is None:
            return text
        if self.cut:
            return f"{text}: it is the number given as `above`, a larger one may prove more"
        return f"{text}, states worse than {self.above:.7g} left out"


@dataclass(frozen=True, eq=False)
class PerSampleBound:
    """J* >= sum_m s_m bound_m, the bounds of the samples' own problems, each with the penalty.

    value : the sum
    bounds : of each sample
    weights : (M,) s_m
    """

    value: float
    bounds: tuple[LowerBound, ...]
    weights: Array

    __repr__ = short
    to_dict = plain

    def __str__(self) -> str:
        return (
            f"J* >= {self.value:.7g}, proved: the mean of {len(self.bounds)} bounds, where each "
            "sample may choose its own control"
        )


@overload
def lower_bound(
    problem: LearningProblem,
    value: GridValues,
    above: float | ProvedCost | None = None,
    *,
    depth: int = 8,
    smooth: int = 1,
) -> LowerBound: ...
@overload
def lower_bound(
    problem: LearningProblem,
    value: Sequence[GridValues],
    above: Sequence[float | ProvedCost | None] | None = None,
    *,
    depth: int = 8,
    smooth: int = 1,
) -> PerSampleBound: ...
@checked
def lower_bound(
    problem: LearningProblem,
    value: GridValues | Sequence[GridValues],
    above: float | ProvedCost | Sequence[float | ProvedCost | None] | None = None,
    *,
    depth: int = 8,
    smooth: int = 1,
) -> LowerBound | PerSampleBound:
    """A number that no admissible control undercuts, from values on a grid of states, any values:
    the better they are, the better is the bound.  See the head of this file.

    problem : of one sample; with several, `value` is one value function for each, on the problems
        problem.batch([m]), and the answer is a PerSampleBound
    above : a number that prunes: states from which no less is possible do not count.  The bound is
        the smaller of `above` and what is found, and proved whatever `above` is; so the smaller the
        better, down to the bound itself.  The spline at the start unless given, where that is no
        loss; infinity for no pruning.  With several samples one for each, or None
    depth : how often the boxes are halved, beyond the half cells, that hold a slab's defect
    smooth : how often the values are averaged with weights (1, 2, 1) / 4 along every axis, which
        takes the edge off their errors at kinks; the best of the bounds before and after each
        time is the answer
    raises ValueError or TypeError for problems of which no velocities or costs are enclosed, by
        name; where controls leave the grid; if `above` is less than the bound found without it,
        so that no control costs so little
    """
    depth = check_count("depth", depth, least=0)
    smooth = check_count("smooth", smooth, least=0)
    if not isinstance(value, Sequence):
        if isinstance(above, Sequence):
            raise TypeError("above must be one number, as value is one value function")
        return _of_one(problem, value, above, depth, smooth)
    samples = problem.initial.shape[1]
    if above is not None and not isinstance(above, Sequence):
        raise TypeError("above must be a number for each sample, as value is a sequence")
    given = [None] * samples if above is None else list(above)
    for name, count in (("value", len(value)), ("above", len(given))):
        if count != samples:
            raise ValueError(f"{name} must be one for each of {samples} samples, got {count}")
    bounds = tuple(
        _of_one(problem.batch([m]), v, u, depth, smooth)
        for m, (v, u) in enumerate(zip(value, given, strict=True))
    )
    weights = problem.sample_weights
    total = float(weights @ np.array([b.value for b in bounds]))
    size = float(weights @ np.array([abs(b.value) for b in bounds]))
    return PerSampleBound(total - (samples + 4) * _UNIT * size, bounds, weights)


def _of_one(
    problem: LearningProblem,
    value: GridValues,
    above: float | ProvedCost | None,
    depth: int,
    smooth: int,
) -> LowerBound:
    """The bound of a problem of one sample."""
    h = separable(problem)
    reason = enclosable(h)
    if reason:
        raise ValueError(f"no lower bound is proved here: {reason}")
    number = above.value if isinstance(above, ProvedCost) else above
    if number is not None and np.isnan(number):
        raise ValueError("above must be a number, got nan")
    work = Slabs(h, value)
    limit = work.at_start() if number is None else float(number)
    found = work.best(limit, depth, smooth)
    if found.value >= limit:
        free = work.best(np.inf, depth, smooth)
        if number is None:
            limit, found = np.inf, free
        elif free.value > limit:
            raise ValueError(
                f"above is {limit:.10g}, but no control costs less than {free.value:.10g}"
            )
    hull = problem.admissible is not None and not problem.admissible.convex
    return LowerBound(
        float(min(limit, found.value)),
        float(found.start),
        found.defects,
        work.times,
        found.terminal,
        limit if np.isfinite(limit) else None,
        bool(found.value >= limit),
        tuple(found.cells),
        work.reached,
        hull,
    )


def _averaged(values: Array) -> Array:
    """The means of neighbours along every axis of states; the outermost nodes stay as they are."""
    for axis in range(1, values.ndim):
        x = np.moveaxis(values, axis, 0)
        inner = 0.25 * (x[:-2] + x[2:]) + 0.5 * x[1:-1]
        values = np.moveaxis(np.concatenate([x[:1], inner, x[-1:]]), 0, axis)
    return np.ascontiguousarray(values)


@dataclass
class _Found:
    """What one sweep over the slabs found: see LowerBound."""

    value: float
    start: float
    defects: Array
    terminal: float
    cells: list[Array]


class Slabs:
    """The spline of `value`, the reached cells and the Hamiltonian on their lattice."""

    def __init__(self, h: SeparableHamiltonian, value: GridValues) -> None:
        self.h, self.problem = h, h.problem
        grid, velocities = value.grid, Velocities(h)
        self.values, horizon = np.asarray(value.values, dtype=float), h.problem.mesh.horizon
        times = np.asarray(value.times, dtype=float)
        if grid.dimensions != len(h.weights):
            raise ValueError(f"grid has {grid.dimensions} axes, the problem {len(h.weights)} units")
        if self.values.shape != (len(times), *grid.shape) or len(times) < 2:
            raise ValueError(
                f"values must be of shape {(len(times), *grid.shape)}, at two times or more, "
                f"got {self.values.shape}"
            )
        if not np.all(np.isfinite(self.values)):
            raise ValueError("values must be finite")
        if times[0] != 0.0 or times[-1] != horizon or not np.all(np.diff(times) > 0.0):
            raise ValueError(f"times must increase from 0 to T = {horizon:g}")
        self.shape, self.spacings = grid.shape, grid.spacings
        self.times = times
        self.value, self.slope = time_pieces(times)
        self.reached = reachable(velocities, self.problem.initial[:, 0], times)
        spans = [grid.cells(low, high) for low, high in zip(*self.reached, strict=True)]
        self.spans = [(np.array(first), np.array(last)) for first, last in spans]
        self.first = np.min([first for first, _ in self.spans], axis=0)
        count = np.max([last for _, last in self.spans], axis=0) - self.first + 1
        origin = np.array(grid.box)[:, 0] + (self.first - 0.5) * self.spacings
        axes = tuple(
            x + 0.5 * step * np.arange(2 * n + 1)
            for x, step, n in zip(origin, self.spacings, count, strict=True)
        )
        self.origin = np.array(grid.box)[:, 0]
        self.law: Law = velocities.law(axes)
        self.lattice = tuple(len(x) for x in axes)
        self.tables: Tables = tables(self.shape, self.lattice, self.spacings)

    # -- the sweep

    def best(self, above: float, depth: int, smooth: int) -> "_Found":
        """The best of the bounds of the values and of their averages, 1, ..., smooth times."""
        given, found = self.values, self.bound(above, depth)
        for _ in range(smooth):
            self.values = _averaged(self.values)
            other = self.bound(above, depth)
            found = other if other.value > found.value else found
        self.values = given
        return found

    def bound(self, above: float, depth: int) -> _Found:
        """min(above, W(f_I, 0) - D(0)), slab by slab from the last."""
        slack = self._slack(depth)
        closed, terminal = self._terminal(above)
        to_come, lengths = terminal, np.diff(self.times) * (1.0 + 4.0 * _UNIT)
        count = len(lengths)
        defects, cells = np.zeros(count), []
        for k in range(count - 1, -1, -1):
            guess = defects[k + 1] if k + 1 < count else np.inf
            defect, kept = self.settle(k, above + to_come + slack[0], guess, slack[1], depth)
            closed = closed or not len(kept)
            defects[k] = defect
            to_come += lengths[k] * defect
            to_come += 4.0 * _UNIT * (abs(to_come) + abs(lengths[k] * defect))
            cells.append(kept)
        start = self.at_start() - slack[0]
        value = start - to_come
        value -= 2.0 * _UNIT * (abs(start) + abs(to_come))
        return _Found(np.inf if closed else value, start, defects, terminal, cells[::-1])

    def settle(
        self, k: int, limit: float, guess: float, slack: float, depth: int
    ) -> tuple[float, Array]:
        """The defect of slab k and the cells kept: those where W <= limit + (t_(k+1) - t) guess,
        for a guess that is no less than the defect they have.
        """
        if not np.isfinite(limit) or not np.isfinite(guess):
            worst, kept = self.worst(k, np.inf, 0.0, depth)
            guess = slack - worst
            if not np.isfinite(limit):
                return guess, kept
        length = self.times[k + 1] - self.times[k]
        for _ in range(_GUESSES):
            ramp = length * guess * (1.0 + 4.0 * _UNIT)
            worst, kept = self.worst(k, limit + 8.0 * _UNIT * abs(ramp), ramp, depth)
            if worst == np.inf:
                return 0.0, kept[:0]
            defect = slack - worst
            if defect <= guess:
                return defect, kept
            guess = defect + 0.1 * (defect - guess)
        worst, kept = self.worst(k, np.inf, 0.0, depth)
        return slack - worst, kept

    def worst(self, k: int, limit: float, ramp: float, depth: int) -> tuple[float, Array]:
        """The least of W_t + l + H on the boxes of slab k with W - ramp <= limit, and the cells
        kept.
        """
        piece = self._piece(k, ramp)
        nodes, places, centres = self._cells(k, piece.levels, limit + max(ramp, 0.0))
        if not len(nodes):
            return np.inf, nodes
        running = self.problem.functional.running
        costs = np.zeros((0, len(nodes)))
        if running is not None:
            costs = cost_coefficients(self.problem, running, centres, self.spacings)
        cells = Cells(nodes, places, np.ascontiguousarray(costs))
        first = first_bounds(piece, self.tables, self.law, cells, limit)
        kept = np.flatnonzero(np.isfinite(first))
        order = kept[np.argsort(first[kept])]
        search = Search(limit, depth)
        return least(piece, self.tables, self.law, cells, order, first, search), nodes[kept]

    def _piece(self, k: int, ramp: float = 0.0) -> Piece:
        last = len(self.values) - 1
        chosen = [max(k - 1, 0), k, k + 1, min(k + 2, last)]
        levels = self.values[chosen].reshape(4, -1)
        return Piece(np.ascontiguousarray(levels), self.value[k], self.slope[k], ramp)

    def _cells(self, k: int, levels: Array, limit: float) -> tuple[Array, Array, Array]:
        """Nodes, places in the lattice and centres of the cells reached in slab k where not all
        coefficients of W are larger than limit.
        """
        first, last = self.spans[k]
        window = tuple(slice(a - 1, b + 2) for a, b in zip(first, last, strict=True))
        low = np.min(levels, axis=0).reshape(self.shape)[window]
        for axis in range(low.ndim):
            x = np.moveaxis(low, axis, 0)
            low = np.moveaxis(np.minimum(np.minimum(x[:-2], x[1:-1]), x[2:]), 0, axis)
        index = np.stack(np.nonzero(low <= limit)) + first[:, None]
        nodes = np.asarray(np.ravel_multi_index(tuple(index), self.shape), dtype=np.int64)
        places = 2 * (index - self.first[:, None])
        places = np.asarray(np.ravel_multi_index(tuple(places), self.lattice), dtype=np.int64)
        centres = self.origin[:, None] + index * self.spacings[:, None]
        return nodes, places, centres

    def _faces(self, k: int, end: int, nodes: Array) -> Array:
        """(3^N, C): the coefficients of W at the beginning or the end of slab k."""
        piece = self._piece(k)
        at = nodes + self.tables.stencil[:, None]
        w = np.einsum("l,lsc->sc", piece.value[end], piece.levels[:, at])
        units = len(self.shape)
        w = w.reshape((3,) * units + (-1,))
        for axis in range(units):
            x = np.moveaxis(w, axis, 0)
            x = np.stack([0.5 * (x[0] + x[1]), x[1], 0.5 * (x[1] + x[2])])
            w = np.moveaxis(x, 0, axis)
        return w.reshape(3**units, -1)

    def _terminal(self, above: float) -> tuple[bool, float]:
        """(no cell is left, eps): of the cells reached at T, those where W - eps <= above."""
        last = len(self.values) - 2
        nodes, _, centres = self._cells(last, self._piece(last).levels, np.inf)
        w = self._faces(last, 2, nodes)
        cost = cost_coefficients(
            self.problem, self.problem.functional.terminal, centres, self.spacings
        )
        slack = self._slack(0)[0] + 8.0 * _UNIT * float(np.max(np.abs(cost)))
        eps, low = np.max(w - cost, axis=0) + slack, np.min(w, axis=0) - slack
        found = float(np.max(eps))
        while True:
            kept = low <= above + found + slack
            if not np.any(kept):
                return True, 0.0
            smaller = float(np.max(eps[kept]))
            if smaller >= found:
                return False, found
            found = smaller

    def at_start(self) -> float:
        """W(f_I, 0), by de Casteljau."""
        f = self.problem.initial[:, 0]
        index = np.clip(
            np.floor((f - self.origin) / self.spacings + 0.5).astype(int), *self.spans[0]
        )
        node = np.array([np.ravel_multi_index(tuple(index), self.shape)])
        w = self._faces(0, 0, node)[:, 0].reshape((3,) * len(f))
        for x, j, low, h in zip(f, index, self.origin, self.spacings, strict=True):
            s = (x - low) / h - j + 0.5
            w = (1.0 - s) ** 2 * w[0] + 2.0 * s * (1.0 - s) * w[1] + s * s * w[2]
        return float(w)

    def _slack(self, depth: int) -> tuple[float, float]:
        """Bounds of the rounding errors of W, and of W_t + l + H: see the head of this file."""
        law, units = self.law, len(self.shape)
        size = float(np.max(np.abs(self.values)))
        features = len(law.measure)
        count = 32 + 8 * (units + 1) + 3 * (units + depth) + 2 * units + 6 * features + 2**units
        terms = float(np.max(np.sum(np.abs(self.slope), axis=2))) * size
        terms += float(np.sum(2.0 * size / self.spacings * law.fastest))
        if features:
            largest = np.maximum(np.abs(law.low), np.abs(law.high))
            r = np.max(np.abs(law.data[:features]), axis=1)
            still = np.max(np.abs(law.data[features:]), axis=1)
            reach = still + np.sum(law.measure * r * largest)
            terms += float(np.sum(2.0 * size / self.spacings * reach))
            terms += float(np.sum(law.weights)) * float(
                np.sum(law.measure * law.strength * largest**2)
            )
        if self.problem.functional.running is not None:
            ends = np.stack([self.reached[0].min(axis=0), self.reached[1].max(axis=0)], axis=1)
            corner = np.indices((2,) * units).reshape(units, -1)
            at = np.take_along_axis(ends, corner, axis=1)
            terms += float(np.max(self.h.running(at, 0.0)))
        # the place of f_I in its cell has an error of units in the last place of its node's number
        values = count + 8 * units * max(self.shape)
        return 2.0 * values * _UNIT * size, 2.0 * count * _UNIT * terms
