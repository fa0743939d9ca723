"""The cost of a discrete run: terminal cost of the last state, trapezoid rule of the running cost.

Between nodes n < n' of the rule, which lie at the ends of one layer k or inside it,

    int L dt ~ (t_n' - t_n) / 2 [ L(f_n, c_k(t_n), t_n) + L(f_n', c_k(t_n'), t_n') ],

c_k the control continued from inside layer k to its closed ends.  A state therefore meets up to two
values of the control, one for each layer that it ends.  All nodes of a stretch of the run are asked
for at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from continuum.arrays import Array, is_numpy, like, namespace
from continuum.controls import Control
from continuum.functional import Functional
from continuum.problem import LearningProblem

from ..flow.advance import Steps
from ..run.workspace import Workspace

Cotangents = Mapping[str, Array]

States = Callable[[Array], Array]
"""The states (n, N, M) of a run, from their numbers (n,)."""

_CHUNK = 16_384
"""Entries of states and cotangents of nodes that are formed at once: few calls for small networks,
and arrays that stay in the processor's caches for large ones."""


@dataclass(frozen=True, eq=False)
class Terms:
    """Some terms factor_r L(f_n, c_k(t_n), t_n) of the rule, n = states_r and k = layers_r; the
    numbers of the states increase.  All arrays (R,).
    """

    states: Array
    times: Array
    layers: Array
    factors: Array

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, chosen: slice) -> "Terms":
        return Terms(
            self.states[chosen], self.times[chosen], self.layers[chosen], self.factors[chosen]
        )

    def among(self, first: int, last: int) -> "Terms":
        """Those of the states first, ..., last."""
        start, stop = np.searchsorted(self.states, [first, last + 1])
        return self[start:stop]


@dataclass(frozen=True, eq=False)
class Rule:
    """Where the costs of a run of known steps are taken, and with which factors.

    times : (S + 1,), the times of the states
    terms : of the running cost, each group with at most one term of a state: those that leave a
        node and those that arrive, or, where both see one value of the control, their sum
    arriving : the terms of the intervals that end at a state
    states : the numbers of the states on which the cost depends, increasing.  Those of a group have
        no others of them in between
    """

    times: Array
    terms: Sequence[Terms]
    arriving: Terms
    states: Array

    @property
    def last(self) -> int:
        """The number of the last state."""
        return len(self.times) - 1

    def among(self, first: int, last: int) -> Array:
        """Those of `states` that are first, ..., last."""
        states = self.states
        if len(states) == 0 or (first <= states[0] and states[-1] <= last):
            return states
        start, stop = states.searchsorted((first, last + 1))
        return states[start:stop]

    @staticmethod
    def of(problem: LearningProblem, steps: Steps, running_on: str) -> "Rule":
        """With its nodes at the ends of "layers" or of "steps"."""
        functional = problem.functional
        times = np.append(steps.start, problem.mesh.horizon)
        last = len(times) - 1
        nodes = np.arange(last + 1)
        if running_on == "layers":
            nodes = np.searchsorted(times, problem.mesh.nodes)
        if functional.running is None:
            nodes = nodes[:0]
        layers, halves = steps.layer[nodes[:-1]], 0.5 * np.diff(times[nodes])
        leaving = Terms(nodes[:-1], times[nodes[:-1]], layers, halves)
        arriving = Terms(nodes[1:], times[nodes[1:]], layers, halves)
        terms = (leaving, arriving)
        if not functional.running_jumps:
            both = np.append(halves, 0.0) + np.append(0.0, halves)
            terms = (
                Terms(nodes, times[nodes], np.append(layers, layers[-1:]), both[: len(nodes)]),
            )
        end = [] if functional.terminal is None else [last]
        states = np.union1d(nodes, np.array(end, dtype=nodes.dtype))
        return Rule(times, [group for group in terms if len(group)], arriving, states)


@dataclass(eq=False)
class DiscreteCost:
    """J less the penalty, as a function of the states of one run, with its derivatives.

    The methods take the numbers (n,) of the states meant, a stretch of the rule's `states`, and
    where to find states.
    """

    problem: LearningProblem
    control: Control
    rule: Rule

    @property
    def functional(self) -> Functional:
        """The costs of the problem."""
        return self.problem.functional

    def value(self, numbers: Array, states: States) -> float:
        """The costs of these states."""
        functional, total = self.functional, 0.0
        for _, part in self._parts(numbers):
            values = functional.running_values(self.control, part.layers, part.times)
            costs = functional.running_costs(states(part.states), values, part.times)
            total += self._summed(costs, part)
        if self._ends(numbers):
            values = functional.terminal_values(self.control)
            total += functional.terminal_cost(states(numbers[-1:])[0, ...], values)
        return total

    def seeds(
        self, numbers: Array, states: States, total: Cotangents, work: Workspace | None = None
    ) -> tuple[float, Array]:
        """`value` and its derivatives in the states, (n, N, M); those in the control are added to
        `total`.
        """
        functional, space = self.functional, self.problem.space
        value, found = 0.0, self._zeros(numbers, work)
        for rows, part in self._parts(numbers):
            values = functional.running_values(self.control, part.layers, part.times)
            f = states(part.states)
            costs, p, bars = functional.running_costs_and_vjp(f, values, part.times)
            value += self._summed(costs, part)
            space.scatter(total, part.layers, part.times, bars, part.factors)
            found[rows, ...] += _column(part.factors, p) * p
        if self._ends(numbers):
            values, f = functional.terminal_values(self.control), states(numbers[-1:])[0, ...]
            cost, p, bars = functional.terminal_cost_and_vjp(f, values)
            value += cost
            space.scatter(total, space.mesh.layers - 1, space.mesh.horizon, bars, 1.0)
            found[-1, ...] += p
        return value, found

    def seed_derivatives(
        self,
        numbers: Array,
        states: States,
        dstates: States,
        direction: Control,
        total: Cotangents,
    ) -> Array:
        """The derivatives of `seeds` in a direction, (n, N, M); that of the cotangents is added to
        `total`.
        """
        functional, space, found = self.functional, self.problem.space, self._zeros(numbers)
        for rows, part in self._parts(numbers):
            at = part.layers, part.times
            values = functional.running_values(self.control, *at)
            varied = functional.running_variation(direction, *at)
            f, df = states(part.states), dstates(part.states)
            p, bars = functional.running_vjp_derivative(f, values, part.times, df, varied)
            space.scatter(total, *at, bars, part.factors)
            found[rows, ...] += _column(part.factors, p) * p
        if self._ends(numbers):
            values = functional.terminal_values(self.control)
            varied = functional.terminal_variation(direction)
            f, df = states(numbers[-1:])[0, ...], dstates(numbers[-1:])[0, ...]
            p, bars = functional.terminal_vjp_derivative(f, values, df, varied)
            space.scatter(total, space.mesh.layers - 1, space.mesh.horizon, bars, 1.0)
            found[-1, ...] += p
        return found

    def arriving_seeds(
        self, f: Array, df: Array | None = None, direction: Control | None = None
    ) -> Array:
        """(S + 1, N, M): the parts of the seeds, of each sample's own cost, that the intervals
        which end at the states contribute; with a direction their derivatives in it.

        f : (S + 1, N, M), all states;  df : their derivatives in the direction
        """
        xp, terms, functional = namespace(f), self.rule.arriving, self.functional
        found, ones = xp.zeros_like(f), xp.ones_like(f[0, 0, :])
        for start in range(0, len(terms), self._most):
            part = terms[start : start + self._most]
            numbers, at = like(part.states, f), (part.layers, part.times)
            states = xp.take(f, numbers, axis=0)
            values = functional.running_values(self.control, *at)
            if df is None or direction is None:
                p, _ = functional.running_vjp(states, values, part.times, ones)
            else:
                moved = xp.take(df, numbers, axis=0), functional.running_variation(direction, *at)
                p, _ = functional.running_vjp_derivative(states, values, part.times, *moved, ones)
            p = _column(part.factors, f) * p
            for row, n in enumerate(part.states.tolist()):
                found[n, ...] = p[row, ...]
        return found

    def _parts(self, numbers: Array) -> Iterator[tuple[slice, Terms]]:
        """The terms of these states, with the places of their states; each of a bounded size."""
        for group in self.rule.terms if len(numbers) else ():
            terms = group.among(int(numbers[0]), int(numbers[-1]))
            for start in range(0, len(terms), self._most):
                part = terms[start : start + self._most]
                row = int(np.searchsorted(numbers, part.states[0]))
                yield slice(row, row + len(part)), part

    def _summed(self, costs: Array, part: Terms) -> float:
        """The sum of the terms whose densities are `costs`, (R, M)."""
        means = self.functional.mean(costs)
        return float(means @ like(part.factors, means))

    def _zeros(self, numbers: Array, work: Workspace | None = None) -> Array:
        """(n, N, M), where the states are."""
        initial = self.problem.initial
        if work is not None and is_numpy(initial):
            return work.zeros("seeds", len(numbers), *initial.shape)
        return like(np.zeros((len(numbers), *initial.shape)), initial)

    def _ends(self, numbers: Array) -> bool:
        """True if the last of these states has a terminal cost."""
        last = len(numbers) > 0 and numbers[-1] == self.rule.last
        return bool(last) and self.functional.terminal is not None

    @property
    def _most(self) -> int:
        """How many nodes are asked for at once."""
        reads, blocks = self.functional.running_reads, self.problem.space.blocks
        entries = sum(prod(b.shape) for b in blocks if b.name in reads)
        return max(1, _CHUNK // (entries + prod(self.problem.initial.shape)))


def _column(factors: Array, p: Array) -> Array:
    """(R,) as (R, 1, 1), where p is."""
    return like(factors[:, None, None], p)
