"""Products of matrices: the compiled sweeps and steps of deep linear networks are those of the
generic path.
"""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    LearningProblem,
    NeuralODE2,
    Projection,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    Tracking,
    tanh,
)
from continuum.compiled import compiled
from continuum.losses import SquaredError
from solvers import FixedStep, SolveError, discretize, minimize
from solvers.linear_networks import ProductObjective, as_control, deep_linear, deep_linear_data
from solvers.linear_networks.tile_loops import ROWS, SMALL, multiply, multiply_transposed
from solvers.run.status import Status


@compiled
def both(a, b, straight, turned):
    multiply(a, b, straight)
    multiply_transposed(a, b, turned)


@pytest.mark.parametrize("size", [4, 8, 12, 16, 20, 24, 28, 32, 36, 44, SMALL, SMALL + ROWS])
def test_tiles_multiply(size, rng):
    a, b = rng.standard_normal((2, size, size))
    straight, turned = np.full((2, size, size), np.nan)
    both(a, b, straight, turned)
    np.testing.assert_allclose(straight, a @ b, rtol=0.0, atol=1e-14 * size)
    np.testing.assert_allclose(turned, (a @ b).T, rtol=0.0, atol=1e-14 * size)


def covariance(rng, units):
    a = rng.standard_normal((units, units))
    return a @ a.T / units


def random_problem(rng, units, layers, double, full):
    sigma = covariance(rng, units) if full else None
    return deep_linear(rng.standard_normal((units, units)), layers, covariance=sigma, double=double)


@pytest.mark.parametrize(
    ("units", "layers", "double", "full"),
    [
        (1, 3, False, False),
        (1, 1, True, True),
        (2, 4, True, True),
        (5, 3, True, False),
        (4, 2, False, True),
        (13, 1, False, True),
        (20, 20, True, False),
        (50, 2, True, True),
    ],
)
def test_value_gradient_and_hessian_are_those_of_discretize(units, layers, double, full, rng):
    problem = random_problem(rng, units, layers, double, full)
    agree(problem, rng, 0.3 / np.sqrt(units))


def agree(problem, rng, size):
    space, ours, generic = problem.space, ProductObjective(problem), discretize(problem)
    control, direction = space.random(rng, size), space.random(rng)
    value, gradient = generic.value_and_gradient(control)
    own_value, own_gradient = ours.value_and_gradient(control)
    assert ours.value(control) == pytest.approx(value, rel=1e-14)
    assert own_value == pytest.approx(value, rel=1e-14)
    assert space.norm(own_gradient - gradient) <= 1e-14 * space.norm(gradient)
    second = generic.hvp(control, direction)
    assert space.norm(ours.hvp(control, direction) - second) <= 1e-14 * space.norm(second)


@pytest.mark.parametrize("points", [2, 3, 11])
def test_points_are_reduced_to_as_many_columns_as_units(points, rng):
    inputs, targets = rng.standard_normal((2, 3, points))
    problem = deep_linear_data(inputs, targets, 4, double=True)
    agree(replace(problem, sample_weights=rng.uniform(0.5, 2.0, points)), rng, 0.3)


@pytest.mark.parametrize("momentum", [None, "nesterov", 0.6])
@pytest.mark.parametrize(("units", "double"), [(1, False), (3, True), (4, False)])
def test_steps_are_those_of_the_generic_path(units, double, momentum, rng):
    problem = random_problem(rng, units, 3, double, full=True)
    start = problem.space.random(rng, 0.1)
    method = FixedStep(0.02, momentum=momentum, max_iterations=23, report=9, gtol=1e-300)
    ours, generic = (
        minimize(objective, method, initial=start, raise_on_failure=False)
        for objective in (ProductObjective(problem), discretize(problem))
    )
    assert ours.status is generic.status is Status.MAX_ITERATIONS
    for name in ("objective", "gradient_norm"):
        np.testing.assert_allclose(ours.history[name], generic.history[name], rtol=1e-13)
    assert problem.space.norm(ours.control - generic.control) < 1e-14


def test_a_call_goes_on_where_another_ended(rng):
    objective = ProductObjective(random_problem(rng, 3, 4, double=True, full=False))
    start = 0.1 * rng.standard_normal(objective.space.size)
    for momentum in (0.0, 0.5, None):
        x, before, values, norms = objective.fixed_steps(start, start, 0.02, momentum, 0, 12)
        first = objective.fixed_steps(start, start, 0.02, momentum, 0, 5)
        second = objective.fixed_steps(*first[:2], 0.02, momentum, 5, 7)
        np.testing.assert_allclose(second[0], x, rtol=0.0, atol=1e-15)
        np.testing.assert_allclose(second[1], before, rtol=0.0, atol=1e-15)
        np.testing.assert_allclose([*first[2], *second[2]], values, rtol=1e-13)
        np.testing.assert_allclose([*first[3], *second[3]], norms, rtol=1e-13)


def by_hand(target, layers, step, count):
    """Losses of the double network from the identity, all factors (L, 2, n, n) in NumPy."""
    units = len(target)
    w, losses = np.tile(np.eye(units), (layers, 2, 1, 1)), []
    for _ in range(count):
        b = [np.tile(np.eye(units), (2, 1, 1))]
        for factors in w:
            b.append(factors @ b[-1])
        error = b[-1][0] - b[-1][1] - target
        losses.append(0.5 * np.sum(error * error))
        p, slopes = np.stack([error, -error]), []
        for factors, prefix in zip(w[::-1], b[-2::-1], strict=True):
            slopes.append(p @ prefix.mT)
            p = factors.mT @ p
        w -= step * np.stack(slopes[::-1])
    return np.array(losses)


def symmetric(seed):
    """R of NS-15."""
    rng = np.random.default_rng(seed)
    m, values = rng.normal(size=(20, 20)), rng.uniform(-1.5, 1.5, 20)
    q = np.linalg.qr(m)[0]
    return (q * values) @ q.T


def test_fifty_steps_of_the_double_network():
    r = symmetric(0)
    objective = ProductObjective(deep_linear(r, 20, double=True))
    start = np.zeros(objective.space.size)
    losses = objective.fixed_steps(start, start, 0.01, 0.0, 0, 50)[2]
    np.testing.assert_allclose(losses, by_hand(r, 20, 0.01, 50), rtol=0.0, atol=1e-12)
    assert losses[10] == pytest.approx(7.58e-6, abs=5e-9)  # NS-15 prints three digits


def test_steps_that_overflow_end_as_those_of_the_generic_path():
    problem = deep_linear(np.array([[1.0, 5.0], [0.0, 0.5]]), 3)  # NS-12
    method = FixedStep(1 / 3, max_iterations=100)
    ours, generic = (
        minimize(objective, method, raise_on_failure=False)
        for objective in (ProductObjective(problem), discretize(problem))
    )
    assert ours.status is generic.status is Status.NON_FINITE_OBJECTIVE
    np.testing.assert_allclose(ours.history["objective"], generic.history["objective"], rtol=1e-9)
    assert "not finite after 5 steps" in ours.detail
    assert "not finite after 5 steps" in generic.detail


def test_products_that_overflow_are_an_infinite_value(rng):
    problem = deep_linear(np.eye(2), 3, double=True)
    objective, large = ProductObjective(problem), np.full((3, 2, 2), 1e110)
    control = as_control(problem, large, large)
    assert objective.value(control) == np.inf
    with pytest.raises(SolveError, match="in the products"):
        objective.value_and_gradient(control)
    with pytest.raises(SolveError, match="in the products"):
        objective.hvp(control, problem.space.random(rng))


def test_other_problems_are_refused_by_name(rng):
    double = deep_linear(np.eye(2), 3, double=True)
    flow = LearningProblem(NeuralODE2(2, tanh), np.eye(2), np.eye(2), TimeMesh(3.0, 3))
    swapped = Projection(np.hstack([-np.eye(2), np.eye(2)]))
    cases = {
        "cost or mesh": flow,
        "no penalty": replace(double, penalty=Tikhonov(1.0)),
        "no running": replace(double, running=Tracking(SquaredError())),
        "no endpoint": replace(double, endpoint=TerminalEquality()),
        "inputs, readout": replace(double, readout=swapped),
        "network, inputs": replace(double, initial=rng.standard_normal((4, 2))),
    }
    for words, problem in cases.items():
        with pytest.raises(TypeError, match=words):
            ProductObjective(problem)
    with pytest.raises(ValueError, match="lives in another space"):
        ProductObjective(double).value(deep_linear(np.eye(2), 4, double=True).space.zeros())
