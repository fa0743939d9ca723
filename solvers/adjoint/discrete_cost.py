"""The cost of a discrete run: terminal cost of the last state, trapezoid rule of the running cost.

Between nodes n < n' of the rule, which lie at the ends of one layer k or inside it,

    int L dt ~ (t_n' - t_n) / 2 [ L(f_n, c_k(t_n), t_n) + L(f_n', c_k(t_n'), t_n') ],

c_k the control continued from inside layer k to its closed ends.  A state therefore meets up to two
values of the control, one for each layer that it ends.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from continuum.arrays import Array, namespace
from continuum.controls import Control
from continuum.functional import Functional
from continuum.problem import LearningProblem

from ..flow.advance import Steps

Cotangents = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Rule:
    """Where the costs of a run of known steps are taken, and with which factors.

    times : (S + 1,), the times of the states
    terms : the number of a state -> the layers from inside which the running cost is taken there,
        and its factors in the rule
    arriving : the number of a state -> the layer and the factor of the interval that ends there
    states : the numbers of the states on which the cost depends, increasing
    """

    times: Array
    terms: Mapping[int, Sequence[tuple[int, float]]]
    arriving: Mapping[int, tuple[int, float]]
    states: Sequence[int]

    @property
    def last(self) -> int:
        """The number of the last state."""
        return len(self.times) - 1

    def among(self, first: int, last: int) -> Sequence[int]:
        """Those of `states` that are first, ..., last."""
        return self.states[bisect_left(self.states, first) : bisect_right(self.states, last)]

    @staticmethod
    def of(problem: LearningProblem, steps: Steps, running_on: str) -> "Rule":
        """With its nodes at the ends of "layers" or of "steps"."""
        functional = problem.functional
        times = np.append(steps.start, problem.mesh.horizon)
        terms: dict[int, list[tuple[int, float]]] = {}
        arriving: dict[int, tuple[int, float]] = {}
        nodes = np.arange(len(times))
        if running_on == "layers":
            nodes = np.searchsorted(times, problem.mesh.nodes)
        for n, after in pairwise(nodes.tolist() if functional.running is not None else []):
            layer, half = int(steps.layer[n]), 0.5 * float(times[after] - times[n])
            terms.setdefault(n, []).append((layer, half))
            terms.setdefault(after, []).append((layer, half))
            arriving[after] = layer, half
        if not functional.running_jumps:
            for n, found in terms.items():
                terms[n] = [(found[0][0], sum(factor for _, factor in found))]
        end = set() if functional.terminal is None else {len(times) - 1}
        return Rule(times, terms, arriving, sorted(end.union(terms)))


@dataclass(frozen=True, eq=False)
class DiscreteCost:
    """J less the penalty, as a function of the states of one run, with its derivatives."""

    functional: Functional
    control: Control
    rule: Rule

    def value(self, n: int, f: Array) -> float:
        """The costs of the n-th state."""
        functional, t, total = self.functional, float(self.rule.times[n]), 0.0
        for layer, factor in self.rule.terms.get(n, ()):
            values = functional.running_values(self.control, layer, t)
            total += factor * functional.running_cost(f, values, t)
        if n == self.rule.last and functional.terminal is not None:
            total += functional.terminal_cost(f, functional.terminal_values(self.control))
        return total

    def seed(self, n: int, f: Array, total: Cotangents) -> Array | None:
        """The derivative of `value` in the state, None if there is none; those in the control are
        added to `total`.
        """
        functional, space, t = self.functional, self.functional.space, float(self.rule.times[n])
        seed = None
        for layer, factor in self.rule.terms.get(n, ()):
            values = functional.running_values(self.control, layer, t)
            p, bars = functional.running_vjp(f, values, t)
            space.scatter(total, layer, t, bars, factor)
            seed = _sum(seed, factor * p)
        if n == self.rule.last and functional.terminal is not None:
            p, bars = functional.terminal_vjp(f, functional.terminal_values(self.control))
            space.scatter(total, space.mesh.layers - 1, t, bars, 1.0)
            seed = _sum(seed, p)
        return seed

    def seed_derivative(
        self, n: int, f: Array, df: Array, direction: Control, total: Cotangents
    ) -> Array | None:
        """The derivative of `seed` in a direction; that of the cotangents is added to `total`."""
        functional, space, t = self.functional, self.functional.space, float(self.rule.times[n])
        seed = None
        for layer, factor in self.rule.terms.get(n, ()):
            values = functional.running_values(self.control, layer, t)
            varied = functional.running_variation(direction, layer, t)
            p, bars = functional.running_vjp_derivative(f, values, t, df, varied)
            space.scatter(total, layer, t, bars, factor)
            seed = _sum(seed, factor * p)
        if n == self.rule.last and functional.terminal is not None:
            values = functional.terminal_values(self.control)
            varied = functional.terminal_variation(direction)
            p, bars = functional.terminal_vjp_derivative(f, values, df, varied)
            space.scatter(total, space.mesh.layers - 1, t, bars, 1.0)
            seed = _sum(seed, p)
        return seed

    def arriving_seed(self, n: int, f: Array) -> Array | None:
        """The part of the seed, of each sample's own cost, that the interval which ends at the n-th
        state contributes.
        """
        if n not in self.rule.arriving:
            return None
        (layer, factor), t = self.rule.arriving[n], float(self.rule.times[n])
        values = self.functional.running_values(self.control, layer, t)
        ones = namespace(f).ones_like(f[0, :])
        return factor * self.functional.running_vjp(f, values, t, ones)[0]


def _sum(total: Array | None, term: Array) -> Array:
    return term if total is None else total + term
