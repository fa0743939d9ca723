"""One iteration of successive approximation where the velocity is affine in the control, for any
number of samples.

H_k(c) = (g_k, c) + lambda |c|^2 + a constant, with g_k the gradient of the objective on layer k
without its penalty: so one forward and one backward sweep say all there is to know, and what is
left is one pass over the control.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numba
import numpy as np

from continuum.arrays import Array
from continuum.controls import Control
from continuum.penalties import counted
from continuum.problem import LearningProblem

from ..adjoint.discretize import ReducedObjective
from .minimisers import affine_minimiser, degree_one, quadratic
from .row_loops import box_step

_WORTH_THREADS = 1_000_000
"""Entries of a block above which layers are worked on in parallel."""


def affine_step(
    objective: ReducedObjective, control: Control
) -> tuple[float, float, bool, Control]:
    """(objective, gap, True, the minimiser of all Hamiltonians), exact where `closed_form` is not
    "local".
    """
    problem, space, tau = objective.problem, objective.space, objective.problem.mesh.steps
    bare = ReducedObjective(without_penalty(problem), objective.stepper)
    value, gradient = bare.value_and_gradient(control)
    strengths, rough = quadratic(problem), degree_one(problem)
    if problem.penalty is not None:
        value += problem.penalty.value(control)
    found, gap = {}, 0.0
    joined = set() if rough is None else set().union(*(counted(t, space) for t in rough.terms))
    for block in space.trained:
        admissible = problem.admissible
        bounds = None if admissible is None else admissible.interval(block.name, space)
        if bounds is not None and strengths[block.name] == 0.0 and block.name not in joined:
            factors = _factors(np.broadcast_to(block.weights, block.shape))
            if factors is not None:
                g = gradient[block.name]
                gap += _box_pass(g, control[block.name], factors, bounds, tau)
                found[block.name] = g  # the vertex by now
    rest = [b for b in space.trained if b.name not in found]
    if rest:
        values = affine_minimiser(problem, gradient, control)
        for block in rest:
            x, y, lam = control[block.name], values[block.name], strengths[block.name]
            density = block.weights * (gradient[block.name] * (x - y) + lam * (x * x - y * y))
            gap += float(tau @ density.reshape(len(x), -1).sum(axis=1))
            found[block.name] = y
        if rough is not None:
            gap += float(tau @ (rough.density(space, control) - rough.density(space, values)))
    return value, max(gap, 0.0), True, Control(space, found, trusted=True)


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


def _box_pass(
    g: Array, x: Array, factors: tuple[Array, Array], bounds: tuple[float, float], tau: Array
) -> float:
    """g <- the vertices of the box against its signs, on all layers; returns the gap."""
    row, column = factors
    shape = (len(g), len(row), len(column))
    slopes, at = g.reshape(shape), x.reshape(shape)

    def layer(k: int) -> float:
        return float(tau[k]) * box_step(
            slopes[k], at[k], row, column, bounds[0], bounds[1], slopes[k]
        )

    if g.size < _WORTH_THREADS:
        return sum(layer(k) for k in range(len(g)))
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        return sum(pool.map(layer, range(len(g))))
