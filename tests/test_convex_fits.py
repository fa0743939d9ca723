"""Fits by convex residual networks: the problem, its first-order conditions, what it can reach."""

import numpy as np
import pytest

from continuum import Tikhonov
from solvers import discretize
from solvers.convex_fits import convex_problem, convex_start, kkt_residual


def forward(x, c, prefix):
    """h_0, ..., h_L and what each unit puts out, by (7)."""
    h, states, outputs = x, [x], []
    for v, b, w in zip(
        c[f"{prefix}weight1"], c[f"{prefix}bias1"], c[f"{prefix}weight2"], strict=True
    ):
        outputs.append(np.maximum(v @ h + b[:, None], 0.0))
        h = h + w @ outputs[-1]
        states.append(h)
    return states, outputs


def test_the_problem_is_the_mean_of_squares_of_a_difference(rng):
    x, y = rng.uniform(size=(3, 7)), rng.uniform(size=(2, 7))
    problem = convex_problem(x, y, 4, hidden=2)
    c = convex_start(problem, rng, (0.0, 0.4), weights=(0.0, 1.0))
    assert problem.admissible.contains(c)
    outputs = np.zeros((2, 7))
    for p in (0, 1):
        for q, (name, sign) in enumerate((("r", 1.0), ("s", -1.0))):
            h = forward(x, c, f"{name}{p}.")[0][-1]
            read = c["readout.W"][p, 6 * p + 3 * q : 6 * p + 3 * (q + 1)]
            outputs[p] += sign * read @ h
    value = 0.5 * np.sum(np.mean((outputs - y) ** 2, axis=1))
    assert discretize(problem).value(c) == pytest.approx(value, rel=1e-14)


def test_starts_draw_biases_first_and_numbers_draw_nothing(rng):
    x = np.linspace(0, 1, 5)
    problem = convex_problem(x, x, 10, offset=False, identity_inputs=True)
    start = convex_start(problem, np.random.default_rng(3), (0, 0.5), weights=0.05, readout=1.0)
    again = np.random.default_rng(3)
    for name in ("r", "s"):
        np.testing.assert_array_equal(-start[f"{name}.bias1"][:, 0], again.uniform(0, 0.5, 10))
        assert np.all(start[f"{name}.weight2"] == 0.05)
    assert set(start) == {"r.bias1", "r.weight2", "s.bias1", "s.weight2", "readout.W"}
    default = convex_start(convex_problem(rng.uniform(size=(4, 3)), x[:3], 2, hidden=5), rng)
    assert 0.3 < default["s.weight1"].max() < 0.5
    assert 0.01 < default["s.weight2"].max() < 0.02
    assert default["readout.W"].min() >= 1e-3


def test_bad_data_and_starts_are_refused_by_name(rng):
    x, y = rng.uniform(size=(2, 5)), rng.uniform(size=5)
    with pytest.raises(ValueError, match=r"x must be >= 0.*\[0, M\]\^n, got -"):
        convex_problem(x - 1.0, y, 3)
    with pytest.raises(ValueError, match="layers must be at least 1"):
        convex_problem(x, y, 0)
    with pytest.raises(ValueError, match="least must be finite and positive"):
        convex_problem(x, y, 2, least=0.0)
    with pytest.raises(ValueError, match="y has shape"):
        convex_problem(x, y[:4], 2)
    with pytest.raises(ValueError, match="hidden must be 2"):
        convex_problem(x, y, 2, identity_inputs=True)
    problem = convex_problem(x, y, 2)
    with pytest.raises(ValueError, match="biases must be a number or a pair"):
        convex_start(problem, rng, (-0.1, 1.0))
    with pytest.raises(ValueError, match=r"readout must be .* at least 0.001"):
        convex_start(problem, rng, readout=0.0)


def test_gradients_are_those_of_12_and_of_the_biases(rng):
    """(12a), (12b) and the formula for b, for V = I; over N, as the cost is a mean."""
    x, y = rng.uniform(size=(3, 20)), rng.uniform(size=20)
    problem = convex_problem(x, y, 4, hidden=3, difference=False, identity_inputs=True)
    c = convex_start(problem, rng, (0.0, 0.6), weights=(0.0, 0.5))
    read = c["readout.W"][0]
    named = {"weight1": np.tile(np.eye(3), (4, 1, 1)), **c}
    states, outputs = forward(x, named, "")
    e = (read @ states[-1] + c["readout.mu"] - y) / 20
    _, gradient = discretize(problem).value_and_gradient(c)
    slope = np.tile(read[:, None], (1, 20))
    for k in (3, 2, 1, 0):
        np.testing.assert_allclose(gradient["weight2"][k], (slope * e) @ outputs[k].T, atol=1e-14)
        acting = states[k] + c["bias1"][k][:, None] > 0
        on_b = -np.sum(acting * (c["weight2"][k].T @ slope) * e, axis=1)
        np.testing.assert_allclose(-gradient["bias1"][k], on_b, atol=1e-14)
        slope = slope + acting * (c["weight2"][k].T @ slope)
    np.testing.assert_allclose(gradient["readout.W"][0], states[-1] @ e, atol=1e-14)


def test_first_order_conditions_with_active_weights(rng):
    """The best line is stationary for a concave function, with W = 0 on its bound and (12a) not
    met; for a convex one its multipliers have the wrong sign."""
    x = np.linspace(0, 1, 11)
    for bend, wrong in ((-1.0, False), (1.0, True)):
        y = 3 * x + bend * x**2
        line = np.polyfit(x, y, 1)
        problem = convex_problem(x, y, 2, difference=False, identity_inputs=True)
        control = problem.space.sample(
            bias1=np.array([[-0.25], [-0.55]]),
            **{"readout.W": line[:1, None], "readout.mu": line[1:]},
        )
        found = kkt_residual(problem, control)
        _, gradient = discretize(problem).value_and_gradient(control)
        sizes = np.abs(gradient["weight2"][:, 0, 0])
        assert sizes.min() > 1e-3
        assert found.active["weight2"].all()
        assert not found.active["readout.W"].any()
        assert max(found.free.values()) < 1e-15
        assert found.outside <= 0
        if wrong:
            assert found.wrong_sign["weight2"] == pytest.approx(sizes.max(), rel=1e-14)
            assert found.residual == pytest.approx(np.linalg.norm(sizes), rel=1e-12)
        else:
            assert found.wrong_sign["weight2"] == 0
            assert found.residual < 1e-15
        assert "2 of 2 entries on a bound" in str(found)


def test_residual_is_that_of_the_projected_step(rng):
    problem = convex_problem(rng.uniform(size=(2, 9)), rng.uniform(size=9), 3, hidden=2)
    control = convex_start(problem, rng, weights=(0.0, 0.5))
    _, gradient = discretize(problem).value_and_gradient(control)
    step = problem.space.norm(control - problem.admissible.project(control - gradient))
    assert kkt_residual(problem, control).residual == pytest.approx(step, rel=1e-12)
    outside = control.replaced(**{"s.weight2": control["s.weight2"] - 1.0})
    assert kkt_residual(problem, outside).outside > 0
    other = convex_problem(rng.uniform(size=(2, 9)), rng.uniform(size=9), 4, hidden=2)
    with pytest.raises(ValueError, match="control lives in another space"):
        kkt_residual(other, control)
    penalised = type(problem)(
        problem.network,
        problem.initial,
        problem.target,
        problem.space,
        readout=problem.readout,
        penalty=Tikhonov(1.0),
    )
    with pytest.raises(TypeError, match="penalty"):
        kkt_residual(penalised, control)
