"""The second-order model of a problem against its Hessian-vector products and gradient."""

import numpy as np
import pytest

from continuum import (
    Interval,
    LearningProblem,
    SquaredError,
    Tikhonov,
    TimeMesh,
    gauss_legendre,
    gelu,
    sigmoid,
    softplus,
    tanh,
)
from continuum.networks import Bottleneck, NeuralODE, NeuralODE2, SymmetricLayer, WidthDepth
from solvers import RK4, Euler, Heun, discretize
from solvers.adjoint.coefficients import Columns
from solvers.adjoint.linear_quadratic import linearize, reduced_gradient, reduced_hessian

GRID = gauss_legendre(Interval(0.0, 1.0), 3)
NETWORKS = {
    "neural ode": NeuralODE(2, softplus),
    "neural ode 2": NeuralODE2(2, tanh),
    "bottleneck": Bottleneck(2, gelu, hidden=3),
    "width depth": WidthDepth(GRID, sigmoid),
    "symmetric layer": SymmetricLayer(GRID, tanh),
}
MESH = TimeMesh(0.9, 3, 1.3)
STEPPERS = (Euler(), Heun(), RK4())


def check(objective, control, rtol=1e-12):
    """Value, gradient and dense Hessian of the model are those of J."""
    found = linearize(objective, control)
    value, gradient = objective.value_and_gradient(control)
    assert found.value == pytest.approx(value, rel=1e-14)
    ours = reduced_gradient(found.model, found.borders)
    columns = Columns.of(objective.space)
    expected = columns.weights * columns.read(gradient)
    assert np.max(np.abs(found.gradient - expected)) <= 1e-13 * np.max(np.abs(expected))
    assert np.max(np.abs(ours - expected)) <= 1e-13 * np.max(np.abs(expected))
    hessian = reduced_hessian(found.model, found.borders)
    products = (objective.hvp(control, columns.write(x)) for x in np.eye(len(ours)))
    expected = np.stack([columns.weights * columns.read(x) for x in products], axis=1)
    assert np.max(np.abs(hessian - expected)) <= rtol * np.max(np.abs(expected))
    return found


def problem_for(network, rng, **changes):
    units = len(network.weights)
    initial, target = rng.standard_normal((2, units, 4))
    space = changes.pop("controls", network.controls(MESH))
    changes = {"penalty": Tikhonov(0.3), "sample_weights": np.array([1.0, 2.0, 0.5, 3.0])} | changes
    return LearningProblem(network, initial, changes.pop("target", target), space, **changes)


@pytest.mark.parametrize("stepper", STEPPERS, ids=repr)
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_hessian_of_every_network(network, stepper, rng):
    problem = problem_for(network, rng, running=SquaredError(1.0))
    check(discretize(problem, stepper, steps_per_layer=2), problem.space.random(rng, 0.7))
