"""Weights as a state: derivatives, conserved quantities, limits known in closed form."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import brentq

from continuum import (
    L1,
    Box,
    LearningProblem,
    NeuralODE2,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    tanh,
)
from solvers import (
    DOP853,
    RK4,
    Euler,
    FixedStep,
    RadauIIA5,
    discretize,
    equilibria,
    gradient_flow,
    integrate,
    minimize,
)
from solvers.linear_networks import ProductObjective, as_control, deep_linear, matrices

MESH = TimeMesh(1.0, 1)


def curved(rng, **options):
    """A problem whose space has weights that are not 1: layers of length 0.4."""
    network = NeuralODE2(2, tanh)
    data, target = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    return LearningProblem(network, data, target, TimeMesh(1.2, 3), **options)


def test_the_velocity_is_the_gradient_and_its_derivatives_are_exact(rng):
    problem = curved(rng, penalty=Tikhonov(0.1))
    flow, objective = gradient_flow(problem), discretize(problem)
    x, d, p = (rng.standard_normal((len(flow.weights), 2)) for _ in range(3))
    speed = flow.velocity(x, {}, 0.0)
    for m in range(2):
        gradient = objective.gradient(flow.control_of(x[:, m]))
        np.testing.assert_array_equal(speed[:, m], -problem.space.flatten(gradient))
    slope, back = flow.jvp(x, {}, 0.0, d, {}), flow.vjp(x, {}, 0.0, p)[0]
    assert np.sum(slope * p) == pytest.approx(np.sum(d * back), rel=1e-12)
    errors = [
        np.linalg.norm(flow.velocity(x + h * d, {}, 0.0) - speed - h * slope) for h in (1e-3, 1e-4)
    ]
    assert np.log10(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.05)
    with pytest.raises(NotImplementedError, match="third derivatives"):
        flow.vjp_derivative(x, {}, 0.0, p, d, {}, p)


def test_states_are_controls(rng):
    problem = curved(rng)
    flow = gradient_flow(discretize(problem, RK4()))
    x = problem.space.unflatten(rng.standard_normal(problem.space.size))
    states = flow.state(x, 2.0 * x)
    assert states.shape == (problem.space.size, 2)
    for column in (states[:, 0], states[:, :1]):
        np.testing.assert_array_equal(flow.control_of(column)["weight"], x["weight"])
    np.testing.assert_array_equal(
        flow.values(states), [flow.objective.value(x), flow.objective.value(2.0 * x)]
    )
    with pytest.raises(ValueError, match="state"):
        flow.control_of(states)
    with pytest.raises(ValueError, match="control"):
        flow.state(deep_linear(1.0, 2).space.zeros())
    assert flow.blocks() == ()
    assert "grad J" in flow.formula()


def test_euler_steps_are_fixed_steps(rng):
    problem = curved(rng)
    flow = gradient_flow(problem)
    start = problem.space.unflatten(rng.standard_normal(problem.space.size))
    run = integrate(flow, flow.control(TimeMesh(0.5, 10)), flow.state(start), Euler())
    steps = minimize(
        problem, FixedStep(0.05, max_iterations=10), initial=start, raise_on_failure=False
    )
    final = flow.control_of(run.trajectory.final)
    np.testing.assert_allclose(final["weight"], steps.control["weight"], rtol=1e-12)
    np.testing.assert_allclose(final["bias"], steps.control["bias"], rtol=1e-12)


def limit(target, layers):
    """(w, z) with w^L - z^L = target on w z = 1, or w^(2 - L) + z^(2 - L) = 2."""

    def other(w):
        return 1.0 / w if layers == 2 else (2.0 - w ** (2.0 - layers)) ** (1.0 / (2.0 - layers))

    least = 1e-3 if layers == 2 else (2.0 - 1e-9) ** (1.0 / (2.0 - layers))
    w = brentq(lambda w: w**layers - other(w) ** layers - target, least, 1.0, xtol=1e-15)
    return w, other(w)


@pytest.mark.parametrize(("target", "layers"), [(-1.0, 2), (-1.5, 4), (-0.5, 20)])
def test_limits_of_double_networks(target, layers):
    """NS-09, from w = z = 1: sharpness is at least L, so exp(-40) is left of the start."""
    problem = deep_linear(target, layers, double=True)
    flow = gradient_flow(ProductObjective(problem))
    control = flow.control(TimeMesh(40.0 / layers, 1))
    run = integrate(
        flow, control, flow.state(problem.space.zeros()), DOP853(rtol=1e-12, atol=1e-13)
    )
    final = flow.control_of(run.trajectory.final)
    for found, wanted in zip("wz", limit(target, layers), strict=True):
        np.testing.assert_allclose(matrices(final, found), wanted, rtol=0, atol=1e-11)
    assert run.statistics["steps"] <= 700


def test_along_the_flow_j_falls_and_imbalance_stays(rng):
    """W_2^T W_2 - W_1 W_1^T is conserved; RadauIIA5 needs the Hessian."""
    problem = deep_linear(np.array([[1.0, 0.4], [-0.3, 0.5]]), 2)
    flow = gradient_flow(problem)
    start = as_control(problem, np.eye(2) + 0.3 * rng.standard_normal((2, 2, 2)))
    runs = [
        integrate(flow, flow.control(TimeMesh(1.0, 1)), flow.state(start), stepper, save="steps")
        for stepper in (DOP853(rtol=1e-11, atol=1e-12), RadauIIA5(rtol=1e-8, atol=1e-10))
    ]
    for run in runs:
        states = run.trajectory.states[:: max(1, len(run.trajectory.states) // 12), :, 0]
        values = flow.values(states.T)
        assert np.all(np.diff(values) < 0)
        first, second = np.moveaxis(np.array([matrices(flow.control_of(x)) for x in states]), 1, 0)
        kept = np.swapaxes(second, 1, 2) @ second - first @ np.swapaxes(first, 1, 2)
        np.testing.assert_allclose(kept, np.broadcast_to(kept[0], kept.shape), atol=1e-7)
    np.testing.assert_allclose(
        runs[0].trajectory.final, runs[1].trajectory.final, rtol=0, atol=1e-8
    )


def test_columns_do_not_see_each_other(rng):
    problem = deep_linear(0.5, 2)
    flow = gradient_flow(problem)
    states = rng.uniform(-1.0, 1.0, (2, 3))
    together = flow.velocity(states, {}, 0.0)
    alone = [flow.velocity(states[:, m : m + 1], {}, 0.0) for m in range(3)]
    np.testing.assert_array_equal(together, np.hstack(alone))
    w = 1.0 + states
    by_hand = -(w[0] * w[1] - 0.5) * w[::-1]
    np.testing.assert_allclose(together, by_hand, rtol=1e-13)


def test_the_saddle_of_two_weights_is_found():
    """w_1 = w_2 = 0, the Hessian has the eigenvalues 1/2 and -1/2."""
    flow = gradient_flow(ProductObjective(deep_linear(0.5, 2)))
    (found,) = equilibria(flow, flow.control(MESH), (-1.2, -0.9, -1.3, -0.8), starts=2)
    assert found.kind == "saddle"
    np.testing.assert_allclose(found.point, -1.0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(sorted(found.eigenvalues.real), [-0.5, 0.5], rtol=1e-12)


def test_where_j_is_not_finite_the_velocity_is_nan():
    problem = deep_linear(1.0, 4)
    flow = gradient_flow(problem)
    states = np.array([[1e100] * 4, [0.0] * 4]).T
    for found in (flow.velocity(states, {}, 0.0), flow.jvp(states, {}, 0.0, states, {})):
        assert np.isnan(found[:, 0]).all()
        assert np.isfinite(found[:, 1]).all()
    assert flow.values(states)[0] == np.inf
    assert np.isnan(flow.velocity(1e-25 * states, {}, 0.0)[:, 0]).all()  # products, not states


@dataclass(frozen=True, eq=False)
class Semi:
    space: object
    semi_gradient: bool = True

    def value(self, control):
        return 0.0

    def value_and_gradient(self, control):
        return 0.0, control


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"admissible": Box(weight=(0, 1))}, "an admissible set"),
        ({"penalty": L1(0.1)}, "a penalty without a gradient"),
        ({"endpoint": TerminalEquality()}, "an endpoint"),
    ],
)
def test_what_is_no_gradient_is_refused(rng, options, words):
    with pytest.raises(TypeError, match=words):
        gradient_flow(curved(rng, **options))


def test_bad_objectives_are_refused():
    with pytest.raises(TypeError, match="a semi-gradient"):
        gradient_flow(Semi(deep_linear(1.0, 2).space))
    with pytest.raises(TypeError, match="must be a LearningProblem or an Objective"):
        gradient_flow(3)
