"""Iterations of successive approximation where the velocity is affine in the control, for any
number of samples.

H_k(c) = (g_k, c) + lambda |c|^2 + a constant, with g_k the gradient of the objective on layer k
without its penalty: so one forward and one backward sweep say all there is to know, and what is
left is one pass over the control, layer by layer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from continuum.arrays import Array
from continuum.controls import Control
from continuum.penalties import counted
from continuum.problem import LearningProblem

from ..adjoint.discretize import ReducedObjective
from ..run.threads import go_through
from .minimisers import affine_minimiser, degree_one, quadratic
from .row_loops import box_step


class AffineSweeps:
    """Where `closed_form` is not "local" and the velocity is affine in the control.

    The minimiser is written over the gradient, in the arrays of a control that is not needed any
    more: after a few iterations no new memory is taken.
    threads : of the sweeps and of the pass over the layers, which do not depend on each other
    """

    def __init__(self, problem: LearningProblem, objective: ReducedObjective) -> None:
        self.problem, self.space, self.threads = problem, problem.space, objective.threads
        self.objective = replace(objective, problem=without_penalty(problem))
        self.strengths, self.rough = quadratic(problem), degree_one(problem)
        terms = () if self.rough is None else self.rough.terms
        joined = set().union(*(counted(term, self.space) for term in terms))
        self.boxes: dict[str, tuple[tuple[Array, Array], tuple[float, float]]] = {}
        """Factors of the weights, and bounds, of blocks whose minimiser is a vertex of a box."""
        for block in self.space.trained:
            bounds = None
            if problem.admissible is not None:
                bounds = problem.admissible.interval(block.name, self.space)
            if bounds is None or self.strengths[block.name] or block.name in joined:
                continue
            factors = _factors(np.broadcast_to(block.weights, block.shape))
            if factors is not None:
                self.boxes[block.name] = factors, bounds
        self.rest = [b for b in self.space.trained if b.name not in self.boxes]
        self._controls: list[Control] = []

    def look(self, control: Control, kept: Sequence[object]) -> tuple[float, float, Control]:
        """(objective, gap, the minimiser of all Hamiltonians), exact.

        kept : what must not be written over
        """
        problem, tau, gap = self.problem, self.problem.mesh.steps, 0.0
        value, found = self.objective.value_and_gradient(control, out=self._spare(control, *kept))
        if problem.penalty is not None:
            value += problem.penalty.value(control)
        if self.rest:
            values = affine_minimiser(problem, found, control)
            for block in self.rest:
                lam = self.strengths[block.name]
                g, x, y = found[block.name], control[block.name], values[block.name]
                density = block.weights * (g * (x - y) + lam * (x * x - y * y))
                gap += float(tau @ density.reshape(len(x), -1).sum(axis=1))
                g[...] = y
            if self.rough is not None:
                rough, space = self.rough, self.space
                gap += float(tau @ (rough.density(space, control) - rough.density(space, values)))
        for name, box in self.boxes.items():
            gap += float(tau @ vertices(found[name], control[name], *box, self.threads))
        return value, max(gap, 0.0), found

    def _spare(self, *kept: object) -> Control:
        """A control of our own that is none of these."""
        for control in self._controls:
            if all(control is not other for other in kept):
                return control
        shapes = {b.name: self.space.shape(b) for b in self.space.trained}
        blocks = {name: np.empty(shape) for name, shape in shapes.items()}
        self._controls.append(Control(self.space, blocks, trusted=True))
        return self._controls[-1]


def without_penalty(problem: LearningProblem) -> LearningProblem:
    """The same problem without its penalty."""
    return problem if problem.penalty is None else replace(problem, penalty=None)


def _factors(weights: Array) -> tuple[Array, Array] | None:
    """Row (R,) and column (C,) with weights = row column^T, None if there are none; a block with
    one axis is a row.
    """
    table = weights.reshape(1, -1) if weights.ndim == 1 else weights
    if table.ndim != 2 or not table[0, 0] > 0:
        return None
    row, column = np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[0] / table[0, 0])
    return (
        (row, column) if np.allclose(row[:, None] * column, table, rtol=1e-13, atol=0.0) else None
    )


def vertices(
    g: Array,
    x: Array,
    factors: tuple[Array, Array],
    bounds: tuple[float, float],
    threads: int = 1,
) -> Array:
    """g <- the vertices of the box against its signs, x where g = 0, on all layers; returns the
    gaps (K,), sum row_i column_j g_ij (x - vertex)_ij: the same numbers for any number of threads.

    g, x : (K, R, C), or (K, C)
    factors : of the weights, row (R,), column (C,)
    """
    row, column = factors
    shape, gaps = (len(g), len(row), len(column)), np.empty(len(g))
    slopes, at = g.reshape(shape), x.reshape(shape)

    def run(layers: Array) -> Iterator[None]:
        for k in layers.tolist():
            gaps[k] = box_step(slopes[k], at[k], row, column, *bounds, slopes[k])
            yield

    parts = np.array_split(np.arange(len(g)), min(threads, len(g)))
    go_through([run(part) for part in parts], threads)
    return gaps
