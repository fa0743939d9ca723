"""Linear-quadratic problems: values by Riccati's equation, and their Galerkin reduction."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    Box,
    LearningProblem,
    SquaredError,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    gauss_legendre,
    identity,
    midpoint,
    tanh,
)
from continuum.arrays import Array
from solvers import LBFGS, evaluate, minimize
from solvers.adjoint.discretize import discretize
from solvers.hjb import characteristics, galerkin, riccati
from solvers.hjb.separable import separable
from solvers.steps.tableaux import RK4
from studies.shared import UNIT

Kernel = Callable[[Array, Array], Array]


def lopsided(y: Array, z: Array) -> Array:
    return 3.0 * np.exp(-5.0 * (y - z) ** 2) * (y - 2.0 * z)


def problem_of(
    kernel: Kernel,
    units: int = 12,
    strength: float = 0.1,
    running: float | None = None,
    layers: int = 20,
) -> LearningProblem:
    network = WidthDepth(gauss_legendre(UNIT, units), identity)
    grid = network.grid
    target = grid.sample(lambda y: np.cos(7.0 * y))
    return LearningProblem(
        network,
        grid.sample(lambda y: np.sin(3.0 * y) + y * y),
        target,
        network.controls(TimeMesh(1.0, layers), fixed={"kernel": kernel}),
        running=None if running is None else Tracking(SquaredError(running), target=target**2),
        penalty=Tikhonov(strength),
    )


@pytest.mark.parametrize("kappa", [1.0, -1.0])
@pytest.mark.parametrize("units", [3, 30])
def test_the_closed_form_of_a_constant_kernel(kappa, units, rng):
    network = WidthDepth(gauss_legendre(UNIT, units), identity)
    space = network.controls(TimeMesh(1.0, 4), fixed={"kernel": lambda y, z: kappa + 0.0 * y * z})
    start, w = rng.standard_normal((units, 1)), network.weights
    problem = LearningProblem(network, start, 0.0 * start, space, penalty=Tikhonov(0.5))
    value, states = riccati(problem), rng.standard_normal((units, 5))
    for t in (0.0, 0.3, 1.0):
        decay, m = np.exp(-2.0 * kappa * (1.0 - t)), w @ states
        bend = 2.0 * kappa * decay / (2.0 * kappa + 1.0 - decay)
        rest = states - m
        expected = 0.5 * bend * m**2 + 0.5 * (w @ rest**2) / (2.0 - t)
        np.testing.assert_allclose(value(states, t), expected, rtol=1e-10)
        np.testing.assert_allclose(
            value.gradient(states, t), bend * m + rest / (2.0 - t), atol=1e-10
        )


@pytest.mark.parametrize("running", [None, 0.7])
def test_the_equation_holds(running, rng):
    # V_t + H(f, DV) = 0 with the Hamiltonian of grids, at random states and times
    problem = problem_of(lopsided, running=running)
    value, h, step = riccati(problem), separable(problem), 1e-4
    f = rng.standard_normal((12, 6))
    for t in (0.2, 0.9):
        rate = (value(f, t + step) - value(f, t - step)) / (2.0 * step)
        np.testing.assert_allclose(rate, -h.value(f, value.partials(f, t), t), rtol=1e-6, atol=1e-6)
        direction = rng.standard_normal(f.shape)
        change = (value(f + step * direction, t) - value(f - step * direction, t)) / (2.0 * step)
        w = problem.network.weights
        np.testing.assert_allclose(change, w @ (direction * value.gradient(f, t)), rtol=1e-7)
    np.testing.assert_allclose(value(f, 1.0), h.terminal(f), rtol=1e-13)


def test_states_and_controls_are_the_optimal_ones():
    problem = problem_of(lopsided, running=0.7)
    value = riccati(problem)
    last = value.states(np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(last[0], problem.initial, atol=1e-12)
    back = characteristics(problem, last[-1], steps=200)
    np.testing.assert_allclose(back.states[0], problem.initial, atol=1e-6)
    np.testing.assert_allclose(back.states[100], last[1], atol=1e-6)
    assert back.values[0, 0] == pytest.approx(value.at_start, abs=1e-7)
    costs = [
        evaluate(p, riccati(p).control()).objective - value.at_start
        for p in (problem, replace(problem, controls=problem_of(lopsided, layers=40).controls))
    ]
    assert 0.0 < costs[1] < 1e-3
    assert 3.8 < costs[0] / costs[1] < 4.2  # averages on layers


def test_a_kernel_that_is_held_is_known_to_be_constant():
    problem = problem_of(lopsided, units=6)
    whole = replace(problem, controls=problem.network.controls(TimeMesh(1.0, 20)))
    still = whole.space.sample(kernel=lopsided)
    moving = whole.space.sample(kernel=lambda y, z, t: lopsided(y, z) + t)
    value = riccati(whole.holding(still, ["kernel"])[0])
    assert value.at_start == pytest.approx(riccati(problem).at_start, rel=1e-12)
    with pytest.raises(ValueError, match="kernel or the target depends on time"):
        riccati(whole.holding(moving, ["kernel"])[0])


def test_descents_on_layers_come_down_to_the_value():
    least = riccati(problem_of(lopsided, units=6, running=0.7)).at_start
    missed = []
    for layers in (20, 40):
        problem = problem_of(lopsided, units=6, running=0.7, layers=layers)
        found = minimize(discretize(problem, RK4()), LBFGS(gtol=1e-7, max_iterations=500))
        missed.append(evaluate(problem, found.control, rtol=1e-10).objective - least)
    assert 0.0 < missed[1] < 1e-3
    assert 3.7 < missed[0] / missed[1] < 4.3


def test_what_is_not_linear_quadratic_is_refused_by_name():
    problem = problem_of(lopsided)
    network = problem.network
    square = TimeMesh(1.0, 4)
    cases = {
        "activation": replace(
            problem, network=WidthDepth(gauss_legendre(UNIT, 12), tanh), controls=problem.controls
        ),
        "kernel is trained": replace(problem, controls=network.controls(square)),
        "there is a set": replace(problem, admissible=Box(bias=(-9.0, 9.0))),
        "depends on time": replace(
            problem,
            running=Tracking(SquaredError(1.0), target=lambda t: np.full((12, 1), t)),
        ),
        "neither bounded": replace(problem, penalty=None),
        "samples": replace(
            problem,
            initial=np.ones((12, 2)),
            target=np.ones((12, 2)),
            sample_weights=np.ones(2),
        ),
    }
    for match, case in cases.items():
        for solve in (riccati, lambda p: galerkin(p, 2)):
            with pytest.raises(ValueError, match=match):
                solve(case)
    value = riccati(problem)
    with pytest.raises(ValueError, match="t must be in"):
        value(problem.initial, 1.5)
    with pytest.raises(ValueError, match="f has shape"):
        value(problem.initial[:3], 0.5)
    with pytest.raises(ValueError, match="modes"):
        galerkin(problem, 0)


@pytest.mark.parametrize("running", [None, 0.7])
@pytest.mark.parametrize(
    "kernel",
    [
        lambda y, z: -2.0 * np.exp(-10.0 * (y - z) ** 2),
        lopsided,
        lambda y, z: 4.0 * (y > z),
    ],
    ids=["symmetric", "lopsided", "jump"],
)
def test_the_bound_of_the_reduction_holds_and_is_not_idle(kernel, running):
    problem = problem_of(kernel, units=30, running=running)
    exact, last = riccati(problem).at_start, np.inf
    for modes in (1, 2, 3, 5):
        small, lift, error = galerkin(problem, modes)
        value = riccati(small)
        assert len(small.initial) <= 2 * modes + 3
        assert abs(value.at_start - exact) <= error < last
        lifted = evaluate(problem, lift(value.control()), rtol=1e-9).objective
        plain = evaluate(problem, riccati(problem).control(), rtol=1e-9).objective
        assert lifted - plain <= 2.0 * error + 2e-6
        last = error
    assert last < 1e-8


def test_the_error_is_of_second_order_in_what_is_left_out():
    def kernel(size: float) -> Kernel:
        return lambda y, z: 1.0 + y * z + size * np.cos(9.0 * y - 4.0 * z)

    errors = [galerkin(problem_of(kernel(s), running=0.7), 2)[2] for s in (0.04, 0.02, 0.01)]
    assert 3.7 < errors[0] / errors[1] < 4.3
    assert 3.7 < errors[1] / errors[2] < 4.3


def test_a_kernel_of_finite_rank_is_reduced_exactly():
    problem = problem_of(lambda y, z: np.exp(y - z) + y * z**2, units=30, running=0.7)
    small, lift, error = galerkin(problem, 2)
    assert len(small.initial) == 7
    assert error < 1e-10
    assert riccati(small).at_start == pytest.approx(riccati(problem).at_start, abs=1e-11)
    own, whole = discretize(small, RK4()), discretize(problem, RK4())
    control = riccati(small).control()
    assert whole.value(lift(control)) == pytest.approx(own.value(control), abs=1e-12)
    one = galerkin(problem, 1)  # A alone keeps the span, or A*, is not enough
    assert one[2] > 1e-9


def test_a_kernel_of_rank_zero_has_no_modes() -> None:
    """Start and target alone span what is needed: the reduction is exact."""
    network = WidthDepth(midpoint(UNIT, 4), identity)
    space = network.controls(TimeMesh(1.0, 10), fixed={"kernel": 0.0})
    start, target = np.array([[0.5, 0.5, 0.0, 0.0], [4.0, 4.0, 0.0, 1.0]])[:, :, None]
    problem = LearningProblem(network, start, target, space, penalty=Tikhonov(0.1))
    small, _, error = galerkin(problem, 3)
    assert len(small.initial) == 2
    assert error < 1e-9
