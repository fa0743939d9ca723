"""The costs of a discretized problem, sum_n factor_n loss(readout(f_n)), and what they add to the
costates.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array, like, namespace
from continuum.controls import Control
from continuum.losses import Loss
from continuum.problem import LearningProblem

Cotangents = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Costs:
    """The terminal cost, and the running cost by a quadrature rule.

    terms : the number of a state -> its losses and their factors
    """

    problem: LearningProblem
    control: Control
    terms: Mapping[int, list[tuple[Loss, float]]]

    @staticmethod
    def of(problem: LearningProblem, control: Control, times: Array, nodes: Array) -> "Costs":
        """The trapezoid rule on the states `nodes`, increasing from the first to the last, at
        times[nodes].
        """
        terms: dict[int, list[tuple[Loss, float]]] = {len(times) - 1: [(problem.terminal, 1.0)]}
        if problem.running is not None:
            tau = np.diff(times[nodes])
            for n, x in zip(nodes, 0.5 * (np.append(tau, 0.0) + np.append(0.0, tau)), strict=True):
                terms.setdefault(int(n), []).append((problem.running, float(x)))
        return Costs(problem, control, terms)

    @property
    def parameters(self) -> dict[str, Array]:
        """The blocks of the readout, which are constant in time."""
        return {
            b.name: self.control[b.name] for b in self.problem.readout.blocks(self.problem.network)
        }

    def value(self, n: int, f: Array) -> float:
        """The costs of the n-th state."""
        problem, total = self.problem, 0.0
        for loss, factor in self.terms.get(n, ()):
            output = problem.readout.output(problem.network, f, self.parameters)
            measure = like(problem.readout.measure(problem.network), output)
            per_sample = loss.value(output, problem.target, measure)
            total += factor * float(
                namespace(output).sum(like(problem.sample_weights, output) * per_sample)
            )
        return total

    def seed(self, n: int, f: Array, total: Cotangents) -> Array | None:
        """What they add to the costate, None if nothing; the cotangents of the readout are added to
        `total`.
        """
        problem, network, c = self.problem, self.problem.network, self.parameters
        seed = None
        for loss, factor in self.terms.get(n, ()):
            output = problem.readout.output(network, f, c)
            measure = like(problem.readout.measure(network), output)
            q = (
                factor
                * like(problem.sample_weights, output)
                * loss.gradient(output, problem.target, measure)
            )
            p, bars = problem.readout.vjp(network, f, c, q)
            _collect(total, bars)
            seed = p if seed is None else seed + p
        return seed

    def seed_derivative(
        self, n: int, f: Array, df: Array, direction: Control, total: Cotangents
    ) -> Array | None:
        """The derivative of `seed`; that of the readout's cotangents is added to `total`."""
        problem, network, c = self.problem, self.problem.network, self.parameters
        dc = {name: x for name, x in direction.items() if name in c}
        seed = None
        for loss, factor in self.terms.get(n, ()):
            output, change = (
                problem.readout.output(network, f, c),
                problem.readout.jvp(network, f, c, df, dc),
            )
            measure, share = (
                like(problem.readout.measure(network), output),
                factor * like(problem.sample_weights, output),
            )
            q = share * loss.gradient(output, problem.target, measure)
            dq = share * loss.hvp(output, problem.target, measure, change)
            p, bars = problem.readout.vjp_derivative(network, f, c, q, df, dc, dq)
            _collect(total, bars)
            seed = p if seed is None else seed + p
        return seed


def _collect(total: Cotangents, bars: Cotangents) -> None:
    """Adds cotangents of blocks that are constant in time."""
    for name, bar in bars.items():
        if name in total:
            total[name][...] += bar
