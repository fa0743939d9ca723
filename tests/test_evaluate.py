"""What `evaluate` says of a control where values agree by chance and where costs have kinks."""

import numpy as np
import pytest

from continuum import (
    AbsoluteError,
    Interval,
    LearningProblem,
    NeuralODE2,
    SquaredError,
    TimeMesh,
    Tracking,
    WidthDepth,
    gauss_legendre,
    identity,
    leaky_relu,
    tanh,
)
from solvers import DOP853, RK4, SolveError, Status, discretize, evaluate


@pytest.mark.parametrize("rtol", [1e-4, 1e-8])
def test_the_error_at_kinks_is_what_it_is_said_to_be(rtol):
    """Leaky relu: two values of a fixed-step method agree by chance for some of these controls."""
    network = WidthDepth(gauss_legendre(Interval(0, 1), 5), leaky_relu(0.1))
    for seed in (1, 11, 13, 23, 28, 41):
        rng = np.random.default_rng(seed)
        initial, target = rng.standard_normal((2, 5, 2))
        problem = LearningProblem(network, initial, target, TimeMesh(2.0, 4))
        control = problem.space.random(rng, 2.0)
        judged = evaluate(problem, control, rtol)
        exact = discretize(problem, DOP853(rtol=1e-13, atol=1e-13)).value(control)
        error = abs(judged.objective - exact)
        assert judged.depth_error <= rtol * exact
        assert error <= 5 * judged.depth_error + 1e-13


def test_steps_that_fill_their_layers_are_shortened_too():
    """With identical steps at every tolerance the values would agree to the last digit."""
    network = WidthDepth(gauss_legendre(Interval(0, 1), 2), tanh)
    problem = LearningProblem(network, np.ones((2, 1)), np.zeros((2, 1)), TimeMesh(8.0, 8))
    control = problem.space.sample(kernel=1.0)
    judged = evaluate(problem, control, rtol=1e-2)
    exact = 0.5 * np.arcsinh(np.exp(-8.0) * np.sinh(1.0)) ** 2
    error = abs(judged.objective - exact)
    assert 0 < error <= 5 * judged.depth_error < 0.05 * exact


def test_a_running_cost_with_a_kink_is_exact_to_its_claim():
    # f = t - 0.3, int_0^1 |f| dt = 0.045 + 0.245
    network = NeuralODE2(1, identity)
    problem = LearningProblem(
        network,
        np.full((1, 1), -0.3),
        np.zeros((1, 1)),
        TimeMesh(1.0, 2),
        running=AbsoluteError(),
        terminal=None,
    )
    judged = evaluate(problem, problem.space.sample(bias=1.0))
    assert judged.objective == pytest.approx(0.29, rel=1e-8)
    assert judged.depth_error <= 1e-8


def test_a_running_cost_is_as_exact_as_the_state():
    """int_0^1 (e^(-t) - cos t)^2 / 2 dt, a target that moves, to twelve digits."""
    network = NeuralODE2(1, identity)
    running = Tracking(SquaredError(), target=lambda t: np.full((1, 1), np.cos(t)))
    problem = LearningProblem(
        network, np.ones((1, 1)), None, TimeMesh(1.0, 3), terminal=None, running=running
    )
    judged = evaluate(problem, problem.space.sample(weight=-1.0), rtol=1e-11)
    e = np.exp(-1.0)
    mixed = 0.5 * (1.0 + e * (np.sin(1.0) - np.cos(1.0)))  # int e^-t cos t
    exact = 0.5 * (0.5 * (1.0 - e**2) - 2.0 * mixed + 0.5 + 0.25 * np.sin(2.0))
    assert judged.objective == pytest.approx(exact, rel=1e-11)
    assert discretize(problem, RK4(), 64, "steps").value(
        problem.space.sample(weight=-1.0)
    ) == pytest.approx(exact, rel=1e-3)


def test_a_target_that_is_reached_has_a_value():
    problem = LearningProblem(
        NeuralODE2(1, tanh), np.ones((1, 1)), np.full((1, 1), 1.5), TimeMesh(1.0, 3)
    )
    judged = evaluate(problem, problem.space.sample(bias=0.5))
    assert judged.objective < 1e-28


def test_what_it_says_when_it_fails_names_its_own_arguments():
    network = WidthDepth(gauss_legendre(Interval(0, 1), 2), identity)
    problem = LearningProblem(network, np.ones((2, 1)), np.ones((2, 1)), TimeMesh(1.0, 2))
    with pytest.raises(SolveError, match="infinite or NaN") as caught:
        evaluate(problem, problem.space.sample(kernel=-1e4))
    assert caught.value.solution.status is Status.NON_FINITE
    with pytest.raises(SolveError, match="Give a larger rtol") as caught:
        evaluate(problem, problem.space.sample(kernel=3.0), rtol=1e-18)
    assert caught.value.solution.status is Status.NOT_SETTLED
    for text in (str(caught.value), Status.NON_FINITE.value):
        assert "max_steps" not in text
        assert "steps per layer" not in text
