"""Compiled pairs of convex networks against NumPy, and against the package's own objective."""

import numpy as np
import pytest

from continuum.readouts import OFFSET
from solvers import FixedStep, discretize, minimize
from solvers.convex_fits import convex_start
from solvers.convex_fits.pairs import Pairs

CASES = [(1, 1, 10, 201, 1, True), (1, 3, 2, 5, 2, False), (3, 1, 3, 40, 2, False)]
CASES += [(2, 2, 4, 601, 1, True), (4, 5, 3, 33, 3, False)]
"""n, m, L, N, outputs, V = I held."""


def posed(rng, n, m, layers, samples, outputs, held, offset=True):
    x, y = rng.uniform(size=(n, samples)), rng.standard_normal((outputs, samples))
    pairs = Pairs(x, y, layers, m, offset=offset, identity_inputs=held)
    draws = {"weights": (0.0, 0.7), "readout": (0.1, 2.0), "inputs": (0.0, 1.0)}
    starts = [convex_start(pairs.problem, rng, (0.0, 0.8), **draws) for _ in range(3)]
    if offset:
        starts = [s.replaced(**{OFFSET: rng.standard_normal(outputs)}) for s in starts]
    return pairs, starts


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_objective(rng, case):
    pairs, starts = posed(rng, *case)
    flat = np.concatenate([pairs.rows(start) for start in starts])
    values, found = pairs.gradients(flat)
    other, reference = pairs.gradients_in_numpy(flat)
    np.testing.assert_allclose(values, other, rtol=1e-13)
    np.testing.assert_allclose(found, reference, rtol=0, atol=1e-13 * np.abs(reference).max())
    objective, outputs = discretize(pairs.problem), case[4]
    for i, start in enumerate(starts):
        own = slice(i * outputs, (i + 1) * outputs)
        value, gradient = objective.value_and_gradient(start)
        assert np.sum(values[own]) == pytest.approx(value, rel=1e-13)
        rows = pairs.rows(gradient)
        scale = np.abs(rows).max()
        masked = found[own] * pairs.trained
        np.testing.assert_allclose(masked, rows * pairs.trained, rtol=0, atol=1e-13 * scale)


@pytest.mark.parametrize("case", [CASES[0], CASES[1]])
def test_training_makes_the_iterates_of_fixed_step(rng, case):
    pairs, starts = posed(rng, *case)
    steps, step = 50, 0.02
    flat = np.concatenate([pairs.rows(start) for start in starts])
    before = flat.copy()
    pairs.train(flat, before, step, 0, 20)
    pairs.train(flat, before, step, 20, steps - 20)
    method = FixedStep(step, momentum="nesterov", max_iterations=steps, report=steps, gtol=1e-300)
    for i, start in enumerate(starts):
        run = minimize(pairs.problem, method, initial=start, raise_on_failure=False)
        own = flat[i * case[4] : (i + 1) * case[4]]
        np.testing.assert_allclose(own, pairs.rows(run.control), rtol=0, atol=1e-12)
        again = pairs.control(own, start)
        assert pairs.problem.admissible.contains(again)
        np.testing.assert_array_equal(pairs.rows(again), own)
