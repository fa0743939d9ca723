"""The largest eigenvalue of Hessians, by Lanczos' method and from products of matrices."""

import math
from dataclasses import replace

import numpy as np
import pytest

from continuum import L1, LearningProblem, NeuralODE2, TimeMesh, tanh
from solvers import FixedStep, discretize, minimize
from solvers.linear_networks import (
    NotResolved,
    ProductObjective,
    as_control,
    balanced_factors,
    critical_step,
    deep_linear,
    inverse_sharpness,
    matrices,
    product_sharpness,
    random_factors,
    sharpness,
    sharpness_bound,
    step_bound,
)


def product(stack):
    whole = np.eye(len(stack[0]))
    for w in stack:
        whole = w @ whole
    return whole


def dense(problem, control):
    objective = discretize(problem)
    space = objective.space
    columns = [
        space.flatten(objective.hvp(control, space.unflatten(e))) for e in np.eye(space.size)
    ]
    return np.linalg.eigvalsh(np.array(columns))


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("units", [1, 3, 4])
def test_lanczos_gives_the_top_of_the_dense_hessian(units, double, rng):
    root = rng.standard_normal((units, units + 2))
    problem = deep_linear(
        rng.standard_normal((units, units)), 3, covariance=root @ root.T, double=double
    )
    control = problem.space.random(rng, 0.3)
    values = dense(problem, control)
    assert values[0] < 0  # away from the minima the Hessian is indefinite
    assert sharpness(problem, control) == pytest.approx(values[-1], rel=1e-9)
    assert critical_step(discretize(problem), control) == pytest.approx(2 / values[-1], rel=1e-9)


@pytest.mark.parametrize("units", [2, 17])
def test_products_give_the_sharpness_where_the_target_is_met(units, rng):
    root = rng.standard_normal((units, units)) / math.sqrt(units)
    sigma = root @ root.T
    one, other = (np.eye(units) + 0.2 * rng.standard_normal((4, units, units)) for _ in range(2))
    for factors, target in (((one,), product(one)), ((one, other), product(one) - product(other))):
        problem = deep_linear(target, 4, covariance=sigma, double=len(factors) == 2)
        control = as_control(problem, *factors)
        stacked = np.array(factors) if len(factors) == 2 else one
        found = product_sharpness(stacked, sigma)
        assert found == pytest.approx(sharpness(problem, control), rel=1e-8)
        assert found >= sharpness_bound(target, 4, sigma, double=len(factors) == 2)


def test_products_do_not_overflow_in_between():
    stack = np.concatenate([np.full((12, 1, 1), 1e40), np.full((12, 1, 1), 1e-40)])
    assert product_sharpness(stack) == pytest.approx(12e80, rel=1e-12)
    assert product_sharpness(stack[::-1]) == pytest.approx(12e80, rel=1e-12)
    assert product_sharpness(np.array([[[1e40]], [[1e-40]]])) == pytest.approx(1e80, rel=1e-12)
    assert product_sharpness(np.full((3, 1, 1), 1e100)) == math.inf
    assert product_sharpness(np.zeros((3, 2, 2))) == 0.0
    eye = np.tile(np.eye(20), (5, 1, 1))
    assert product_sharpness(eye) == pytest.approx(5.0, rel=1e-12)


def test_signs_of_the_sharpness(rng):
    problem = deep_linear(rng.standard_normal((4, 4)), 3)
    zero = as_control(problem, np.zeros((3, 4, 4)))
    assert sharpness(problem, zero) == 0.0  # three factors 0: the Hessian vanishes
    assert critical_step(problem, zero) == math.inf
    saddle = deep_linear(-2.0, 2)
    assert sharpness(saddle, as_control(saddle, np.zeros((2, 1, 1)))) == pytest.approx(2.0)


class Quadratic:
    """x^T A x / 2 on a space, as an objective."""

    def __init__(self, space, matrix):
        self.space, self.matrix = space, matrix

    def value(self, control):
        return float(self.value_and_gradient(control)[0])

    def value_and_gradient(self, control):
        x = self.space.flatten(control)
        return 0.5 * x @ self.matrix @ x, self.hvp(control, control)

    def hvp(self, control, direction):
        return self.space.unflatten(self.matrix @ self.space.flatten(direction))


def test_hessians_without_positive_eigenvalues_and_what_is_not_resolved(rng):
    space = deep_linear(np.eye(6), 2).space  # 72 unknowns, so Lanczos
    negative = Quadratic(space, -np.diag(np.arange(1.0, 73.0)))
    assert sharpness(negative, space.zeros()) == pytest.approx(-1.0, rel=1e-8)
    assert critical_step(negative, space.zeros()) == math.inf
    one = rng.standard_normal(72)
    lowered = Quadratic(space, -np.outer(one, one))
    assert sharpness(lowered, space.zeros()) <= 0.0  # and no positive number made of rounding
    tiny = Quadratic(space, 1e-200 * np.diag(np.arange(72.0)))
    assert sharpness(tiny, space.zeros()) == pytest.approx(71e-200, rel=1e-9)
    hidden = Quadratic(space, np.diag(np.r_[-1e9 * np.arange(36.0), np.arange(36.0)]))
    with pytest.raises(NotResolved, match="at least") as caught:
        sharpness(hidden, space.zeros())
    assert caught.value.value <= 35.0
    with pytest.raises(ValueError, match="infinite or NaN"):
        sharpness(Quadratic(space, np.full((72, 72), np.nan)), space.zeros())


def test_the_part_with_a_gradient_of_any_problem(rng):
    network = NeuralODE2(3, tanh)
    plain = LearningProblem(
        network, rng.standard_normal((3, 4)), rng.standard_normal((3, 4)), TimeMesh(1.0, 5)
    )
    control = plain.space.random(rng, 0.5)
    values = dense(plain, control)
    assert sharpness(plain, control) == pytest.approx(values[-1], rel=1e-8)
    rough = replace(plain, penalty=L1(0.1))
    assert sharpness(rough, control) == pytest.approx(values[-1], rel=1e-8)


def test_no_factorisation_is_flatter_than_the_bound(rng):
    for _ in range(60):
        n, layers = int(rng.integers(1, 4)), int(rng.integers(1, 6))
        target = rng.standard_normal((n, n))
        root = rng.standard_normal((n, n)) * np.exp(rng.uniform(-2, 2, n))
        stack = random_factors(target, layers, rng)
        assert product_sharpness(stack) >= sharpness_bound(target, layers) * (1 - 1e-9)
        sigma = root @ root.T
        least = sharpness_bound(target, layers, sigma)
        assert product_sharpness(stack, sigma) >= least * (1 - 1e-9)
        other = random_factors(rng.standard_normal((n, n)), layers, rng)
        pair = np.array([random_factors(target + product(other), layers, rng), other])
        least = sharpness_bound(target, layers, sigma, double=True)
        assert product_sharpness(pair, sigma) >= least * (1 - 1e-9)
        even = balanced_factors(target, layers)
        expected = layers * np.linalg.norm(target, 2) ** (2 - 2 / layers)
        assert product_sharpness(even) == pytest.approx(expected, rel=1e-11)
        assert step_bound(target, layers) == pytest.approx(2 / expected, rel=1e-12)
        halves = np.array([balanced_factors(r, layers) for r in (target / 2, -target / 2)])
        least = sharpness_bound(target, layers, double=True)
        assert product_sharpness(halves) == pytest.approx(least, rel=1e-11)


def test_the_bound_with_a_covariance_is_met_by_scalars_of_common_eigenspaces():
    """R = diag(1, 2), Sigma = diag(9, 1): the steepest pair of diagonal factors is 9 * 2 * 1."""
    target, sigma = np.diag([1.0, 2.0]), np.diag([9.0, 1.0])
    assert sharpness_bound(target, 2, sigma) == pytest.approx(18.0, rel=1e-12)
    assert step_bound(target, 1, sigma) == pytest.approx(2 / 9, rel=1e-12)
    assert step_bound(np.zeros((2, 2)), 3) == math.inf


def test_the_bound_with_a_covariance_is_its_maximum_over_directions(rng):
    angles = np.linspace(0.0, np.pi, 20001)
    v = np.array([np.cos(angles), np.sin(angles)])
    cases = [(np.diag([0.1, 1.0]), np.diag([1.0, 0.01]), 2)]  # best between the eigenvectors
    for layers in (2, 3, 5):
        root = rng.standard_normal((2, 2))
        cases.append((rng.standard_normal((2, 2)), root @ root.T, layers))
    for target, sigma, layers in cases:
        values, columns = np.linalg.eigh(sigma)
        sv = (columns * np.sqrt(values)) @ columns.T @ v
        input, output = np.linalg.norm(sv, axis=0), np.linalg.norm(target @ sv, axis=0)
        most = np.max(layers * input ** (2 / layers) * output ** (2 - 2 / layers))
        assert sharpness_bound(target, layers, sigma) == pytest.approx(most, rel=1e-7)


def test_a_step_that_follows_the_state(rng):
    target = np.array([[1.2, 0.3, 0.0], [0.3, 0.6, 0.1], [0.0, 0.1, 0.9]])
    problem = deep_linear(target, 5)  # 45 unknowns, so Lanczos
    step, space = inverse_sharpness(problem, 0.5), problem.space
    objective, control, found = discretize(problem), problem.space.zeros(), []
    for k in range(25):
        length = step(k, control)
        assert length == pytest.approx(0.5 / sharpness(problem, control), rel=3e-3)
        value, gradient = objective.value_and_gradient(control)
        found.append(value)
        control = control - length * gradient
    assert np.all(np.diff(found) < 0)
    np.testing.assert_allclose(product(matrices(control)), target, rtol=0, atol=0.02)
    assert step(0, space.zeros()) == step(0, space.zeros())
    single = deep_linear(3.0, 6)
    method = FixedStep(inverse_sharpness(single), gtol=1e-12, max_iterations=30)
    run = minimize(single, method, initial=single.space.zeros())
    np.testing.assert_allclose(matrices(run.control), 3 ** (1 / 6), rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="no step follows"):
        step(1, as_control(problem, np.zeros((5, 3, 3))))


@pytest.mark.parametrize("units", [2, 4])
@pytest.mark.parametrize("size", [1e55, 1e80, 1e110])
def test_hessians_that_are_too_large(units, size):
    """Dense and by Lanczos' method: at 1e55 the entries, 1e220, are finite."""
    problem = deep_linear(np.eye(units), 3)
    large = as_control(problem, np.full((3, units, units), size))
    for objective in (problem, ProductObjective(problem)):
        with pytest.raises(ValueError, match="Hessian at this control"):
            sharpness(objective, large)


def test_bad_input(rng):
    problem = deep_linear(np.eye(2), 3)
    control = problem.space.zeros()
    other = deep_linear(np.eye(2), 4).space.zeros()
    with pytest.raises(ValueError, match="control"):
        sharpness(problem, other)
    with pytest.raises(TypeError, match="problem must be a LearningProblem, an Objective"):
        sharpness(3, control)
    with pytest.raises(ValueError, match="rtol"):
        sharpness(problem, control, rtol=0.0)
    with pytest.raises(TypeError, match="rng"):
        critical_step(problem, control, rng=3)
    for fraction in (0.0, 2.0, -1.0):
        with pytest.raises(ValueError, match="fraction"):
            inverse_sharpness(problem, fraction)
    with pytest.raises(ValueError, match="factors"):
        product_sharpness(np.ones((3, 2, 4)))
    with pytest.raises(ValueError, match="covariance must be symmetric"):
        product_sharpness(np.ones((3, 2, 2)), [[1, 2], [0, 1]])
    with pytest.raises(ValueError, match="semi-definite"):
        step_bound(np.eye(2), 3, [[1, 0], [0, -1]])
    with pytest.raises(ValueError, match="layers"):
        step_bound(np.eye(2), 0)
    with pytest.raises(ValueError, match="target"):
        step_bound(np.ones((2, 3)), 2)
