"""Compiled pairs of convex networks against NumPy, and against the package's own objective."""

import numpy as np
import pytest

from continuum.readouts import OFFSET
from solvers import FixedStep, Interrupted, Status, discretize, minimize
from solvers.convex_fits import convex_start, fit_convex
from solvers.convex_fits import fit as fits
from solvers.convex_fits.pairs import Pairs

CASES = [(1, 1, 10, 201, 1, True), (1, 3, 2, 5, 2, False), (3, 1, 3, 40, 2, False)]
CASES += [(2, 2, 4, 601, 1, True), (1, 1, 3, 50, 1, False), (4, 5, 3, 33, 3, False)]
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
    reference = reference * pairs.trained
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


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("size", [1, 2])
def test_units_on_their_kink_do_not_act(rng, size, held):
    """x = 0 and b = 0: V x - b = 0 exactly, in the loops, the reference and the objective."""
    pairs, (start, *_) = posed(rng, size, size, 2, 9, 1, held)
    pairs = Pairs(np.zeros((size, 9)), pairs.y, 2, size, identity_inputs=held)
    start = start.replaced(**{f"{part}.bias1": 0 * start[f"{part}.bias1"] for part in "rs"})
    found = pairs.gradients(pairs.rows(start))[1]
    assert np.count_nonzero(found) == 1  # that of d
    np.testing.assert_allclose(found, pairs.gradients_in_numpy(pairs.rows(start))[1], rtol=1e-13)
    _, gradient = discretize(pairs.problem).value_and_gradient(start)
    rows = pairs.rows(gradient) * pairs.trained
    np.testing.assert_allclose(found, rows, rtol=1e-13)


def test_few_samples_are_added_to_fill_groups(rng):
    for units, layers, samples in ((3, 40, 1025), (1, 10, 201), (1, 10, 4099), (5, 3, 1000)):
        pairs = Pairs(rng.uniform(size=(units, samples)), np.zeros((1, samples)), layers)
        groups, _, length = pairs._data.shape
        assert samples <= groups * length <= 1.2 * samples


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


X = np.linspace(0, 1, 41)
Y = np.interp(X, [0, 0.3, 0.5, 0.7, 1], [0, 0.3, -0.1, 0.1, -0.2])


def test_fits_say_what_their_networks_do(rng):
    x = rng.uniform(size=(2, 30))
    y = np.stack([np.maximum(x[0], 0.4), x[1] - np.maximum(x[0] + x[1], 0.8)])
    fit = fit_convex(x, y, layers=2, hidden=3, pairs=2, seeds=[4, 9], step=0.1, iterations=600)
    assert len(fit.networks) == len(fit.lipschitz) == 4
    assert fit.history.shape == (2, len(fit.iterations))
    assert fit.iterations[-1] == 600
    for s in range(2):
        f = np.stack([fit.networks[2 * s + p].value(x) for p in range(2)])
        assert np.sqrt(np.mean((f - y) ** 2)) == pytest.approx(fit.rmse[s], rel=1e-12)
        value = discretize(fit.problem).value(fit.controls[s])
        assert value == pytest.approx(fit.history[s, -1], rel=1e-12)
    assert np.all(fit.rmse < 0.1 * np.std(y))
    assert "r1.weight1" in fit.controls[0]  # hidden != n: V is trained


def test_offsets_are_held_at_0():
    fit = fit_convex(X, Y + 1.0, layers=2, seeds=[0], iterations=60, offset=False)
    (f,) = fit.networks
    assert f.value([0.0])[0] == 0.0
    assert np.sqrt(np.mean((f.value(X) - Y - 1.0) ** 2)) == pytest.approx(fit.rmse[0], rel=1e-12)
    assert "readout.mu" not in fit.controls[0]


def test_status_follows_the_residual():
    fits = {k: fit_convex(X, Y, layers=2, seeds=[0], iterations=k) for k in (40, 4000)}
    assert fits[40].status == ("falling",)
    assert fits[40].kkt_residual[0] > 1e-3
    assert fits[4000].kkt_residual[0] < fits[40].kkt_residual[0]
    rested = fit_convex(X, Y, layers=2, seeds=[0], iterations=4000, gtol=1e-300)
    assert rested.status == ("not stationary",)
    assert fit_convex(X, Y, 2, seeds=[0], iterations=40, gtol=1.0).status == ("stationary",)
    with np.errstate(all="raise"):
        wild = fit_convex(X, Y, layers=2, seeds=[0, 1], step=1e3, iterations=4000)
    assert wild.status == ("not finite",) * 2
    assert np.all(np.isfinite(wild.rmse))


def test_interrupted_fits_come_back(monkeypatch):
    train, calls = Pairs.train, []

    def interrupted(self, *args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(self, *args)

    monkeypatch.setattr(Pairs, "train", interrupted)
    with pytest.raises(Interrupted) as caught:
        fit_convex(X, Y, layers=2, seeds=[0, 1, 2], iterations=400)
    partial = caught.value.partial
    np.testing.assert_array_equal(partial.iterations, [0, 1, 2])
    assert caught.value.solution.status is Status.INTERRUPTED
    assert caught.value.solution.objective == pytest.approx(partial.history[:, -1].min(), rel=1e-14)
    # at the end too, while the networks are made
    made, calls = fits.kkt_residual, []

    def late(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return made(*args)

    monkeypatch.setattr(Pairs, "train", train)
    monkeypatch.setattr(fits, "kkt_residual", late)
    with pytest.raises(Interrupted) as caught:
        fit_convex(X, Y, layers=2, seeds=[0, 1, 2], iterations=4)
    assert caught.value.partial.iterations[-1] == 4


def test_interrupted_fits_that_have_left_the_numbers(monkeypatch):
    """The value of the solution is that of the control that is kept, not of where the seed is."""
    train, calls = Pairs.train, []

    def interrupted(self, *args):
        calls.append(args)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return train(self, *args)

    monkeypatch.setattr(Pairs, "train", interrupted)
    with pytest.raises(Interrupted) as caught:
        fit_convex(X, Y, layers=2, seeds=[0, 1], step=1e3, iterations=4000)
    partial, solution = caught.value.partial, caught.value.solution
    assert partial.status == ("not finite",) * 2
    value = discretize(partial.problem).value(solution.control)
    assert solution.objective == pytest.approx(value, rel=1e-13)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x": X - 0.5}, "x must be >= 0"),
        ({"x": 0 * X}, "x must have an entry > 0"),
        ({"seeds": 3}, "seeds must be a sequence"),
        ({"biases": (0.0, 0.5, 1.0)}, "biases must have 2 entries"),
        ({"biases": ("a", 1.0)}, "must be a real number"),
        ({"y": Y[:-1]}, r"y has shape \(1, 40\)"),
        ({"biases": (0.5, 0.5)}, "biases must be .* 0 <= low < high"),
        ({"biases": (-0.1, 0.5)}, "biases"),
        ({"biases": (0.0, np.inf)}, "biases"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"seeds": [0, 1.5]}, r"seeds\[1\] must be an integer"),
        ({"seeds": []}, "seeds must not be empty"),
        ({"seeds": [-1]}, r"seeds\[0\]"),
        ({"step": 0.0}, "step must be finite and positive"),
        ({"pairs": 2}, "pairs must be 1"),
        ({"hidden": 2, "identity_inputs": True}, "hidden must be 1"),
    ],
)
def test_bad_input_is_named(arguments, words):
    given = {"x": X, "y": Y, "iterations": 1, "seeds": [0]} | arguments
    with pytest.raises((ValueError, TypeError), match=words):
        fit_convex(**given)
