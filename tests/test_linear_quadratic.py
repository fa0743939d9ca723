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
from solvers.adjoint.linear_quadratic import Columns, linearize, reduced_gradient, reduced_hessian

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


def coordinates(objective, size):
    """The unit vectors of (u_0, ..., u_{K-1}, s) as controls, and how a gradient becomes raw."""
    space = objective.space
    layered = [b for b in space.trained if b.time == "layers"]
    static = [b for b in space.trained if b.time == "static"]

    def raw(gradient):
        """Derivatives in the coefficients themselves."""
        layers = [
            (
                space.mesh.steps[:, None]
                * (b.weights * gradient[b.name]).reshape(space.mesh.layers, -1)
            )
            for b in layered
        ]
        rest = [(b.weights * gradient[b.name]).reshape(-1) for b in static]
        return np.concatenate(
            [np.concatenate([*layers, np.empty((space.mesh.layers, 0))], axis=1).reshape(-1), *rest]
        )

    columns = Columns.of(objective.space)
    units = []
    for a in range(size):
        x = np.zeros(size)
        x[a] = 1.0
        count = space.mesh.layers * columns.m
        units.append(columns.write(x[:count].reshape(-1, columns.m), x[count:]))
    return units, raw


def check(objective, control, rtol=1e-12):
    """Value, gradient and dense Hessian of the model are those of J."""
    found = linearize(objective, control)
    value, gradient = objective.value_and_gradient(control)
    assert found.value == pytest.approx(value, rel=1e-14)
    ours = reduced_gradient(found.model, found.borders)
    units, raw = coordinates(objective, len(ours))
    expected = raw(gradient)
    assert np.max(np.abs(ours - expected)) <= 1e-13 * np.max(np.abs(expected))
    hessian = reduced_hessian(found.model, found.borders)
    expected = np.stack([raw(objective.hvp(control, unit)) for unit in units], axis=1)
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
