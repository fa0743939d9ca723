"""What minimizers do with vectors of coefficients: products, and steps into a vector they name.

NumPy's vectors are gone through in compiled passes, without temporaries; those of other libraries
by the same formulas.
"""

from typing import NamedTuple

import numpy as np

from continuum import update_loops as loops
from continuum.arrays import Array, is_numpy, namespace

from .objective import Composite

Rule = tuple[float, float, float, float]
"""(lambda, mu, low, high): what a penalty and a set ask of every entry of a block."""


class _Part(NamedTuple):
    """One block: where it lies in a vector, and the weights of its product; see `update_loops`."""

    where: slice
    times: Array
    weights: Array
    rule: Rule


class Vectors:
    """Vectors (size,) of coefficients of the space of a problem, in the library of `example`."""

    def __init__(self, problem: Composite, example: Array) -> None:
        self.problem, self.space = problem, problem.space
        self.free = problem.penalty is None and problem.admissible is None
        """True if the proximal map is the identity."""
        rules = entry_rules(problem)
        self.by_entries = rules is not None
        """True if the proximal map goes entry by entry."""
        self.parts: list[_Part] = []
        """The blocks, if compiled loops can go through all of them."""
        measures = self.space.measures
        if is_numpy(example) and not any(len(m.beside) for m in measures.values()):
            for block in self.space.trained:
                m = measures[block.name]
                rule = (0.0, 0.0, -np.inf, np.inf) if rules is None else rules[block.name]
                self.parts.append(_Part(m.where, m.diagonal, m.entries, rule))

    def between(self, a: Array, b: Array, c: Array, d: Array) -> float:
        """(a - b, c - d) in the product of the space."""
        if not self.parts:
            return self.space.dot(a - b, c - d)
        return sum(
            loops.between(a[p.where], b[p.where], c[p.where], d[p.where], p.times, p.weights)
            for p in self.parts
        )

    def combine(self, a: Array, factor: float, b: Array, c: Array, out: Array) -> None:
        """out <- a + factor (b - c)."""
        if is_numpy(out):
            loops.combine(a, factor, b, c, out)
        else:
            out[...] = a + factor * (b - c)

    def step(self, x: Array, gradient: Array, step: float, out: Array) -> tuple[float, float]:
        """out <- prox_s(x - s g), the proximal map that of the penalty and the set; returns |d|^2
        and (g, d), d = out - x.
        """
        if not self.parts or not self.by_entries:
            moved = x - step * gradient
            if not self.free:
                moved = self.space.join(self.problem.prox(self.space.views(moved), step))
            out[...] = moved
            d = moved - x
            return self.space.dot(d, d), self.space.dot(gradient, d)
        square, slope = 0.0, 0.0
        for p in self.parts:
            shrink, factor, low, high = p.rule
            found = loops.step_by_entries(
                x[p.where],
                gradient[p.where],
                step,
                (step * shrink, 1.0 + 2.0 * step * factor, low, high),
                out[p.where],
                p.times,
                p.weights,
            )
            square, slope = square + found[0], slope + found[1]
        return square, slope

    def finite(self, x: Array) -> bool:
        """True if no entry is infinite or NaN."""
        if is_numpy(x):
            return loops.finite(x)
        return bool(namespace(x).all(namespace(x).isfinite(x)))


def entry_rules(problem: Composite) -> dict[str, Rule] | None:
    """The rule of every trained block, if the joint proximal map of penalty and set goes entry by
    entry; else None.
    """
    intervals, names = problem.intervals, [b.name for b in problem.space.trained]
    factors = dict.fromkeys(names, (0.0, 0.0))
    if problem.penalty is not None:
        factors = problem.penalty.by_entries(problem.space)
    if factors is None or intervals is None:
        return None
    return {name: (*factors[name], *intervals[name]) for name in names}
