"""Hessian-vector products at one control: the numbers of one by one, the states and the costates
computed once.
"""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    Bottleneck,
    Interval,
    LearningProblem,
    LowRank,
    NeuralODE,
    SquaredError,
    Staged,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    sigmoid,
    tanh,
)
from solvers import RK4, DormandPrince, Euler, Heun, ImplicitMidpoint, SolveError, discretize
from solvers.adjoint.step_derivatives import StepDerivatives
from solvers.adjoint.tape import Sweeps

GRID = gauss_legendre(Interval(0, 1), 4)
CASES = {
    "compiled Euler": (WidthDepth(GRID, tanh), Euler()),
    "compiled RK4": (WidthDepth(GRID, sigmoid, LowRank(2)), RK4()),
    "two products a layer": (Bottleneck(4, tanh, hidden=3), Heun()),
    "generic": (NeuralODE(4, replace(tanh, code=None)), Heun()),
    "implicit": (WidthDepth(GRID, tanh), ImplicitMidpoint()),
    "accepted steps": (WidthDepth(GRID, tanh), DormandPrince(rtol=1e-4, atol=1e-4)),
    "stages": (Staged((NeuralODE(4, tanh), NeuralODE(3, tanh)), (0.5,), (np.eye(3, 4),)), RK4()),
}


def objective_of(network, stepper, rng):
    """With a penalty, weights of the samples, and a running cost but for stages."""
    staged = isinstance(network, Staged)
    first = network.stages[0] if staged else network
    problem = LearningProblem(
        network,
        rng.standard_normal((len(first.weights), 3)),
        rng.standard_normal((len(network.weights), 3)),
        TimeMesh(1.0, 4),
        running=None if staged else SquaredError(0.7),
        penalty=Tikhonov(0.1),
        sample_weights=np.array([0.2, 0.5, 0.3]),
    )
    return discretize(problem, stepper)


@pytest.fixture(params=list(CASES))
def objective(request, rng):
    return objective_of(*CASES[request.param], rng)


def equal(x, y):
    return all(np.array_equal(x[name], y[name]) for name in x)


def test_products_are_those_of_hvp_to_the_bit(objective, rng):
    space = objective.space
    control = space.random(rng)
    directions = [space.random(rng) for _ in range(3)]
    here = objective.linearised(control)
    for direction in (*directions, directions[0]):
        assert equal(here.hvp(direction), objective.hvp(control, direction))
    assert here.value == objective.value(control)
    assert equal(here.gradient, objective.gradient(control))
    assert equal(here.hvp(directions[1]), objective.hvp(control, directions[1]))


def test_the_hessian_is_symmetric_and_differentiates_the_gradient(objective, rng):
    """Products after the first one, which find the costates computed."""
    space = objective.space
    control, d, e = space.random(rng), space.random(rng), space.random(rng)
    here = objective.linearised(control)
    first, second = here.hvp(d), here.hvp(e)
    assert space.inner(first, e) == pytest.approx(space.inner(d, second), rel=1e-12)
    if objective.stepper.adaptive:
        return  # accepted steps move with the control, and are held in derivatives
    slope, bend = space.inner(here.gradient, e), space.inner(second, e)
    sizes = 2.0 ** -np.arange(8.0, 11.0)
    remainders = [
        objective.value(control + h * e) - here.value - h * slope - 0.5 * h * h * bend
        for h in sizes
    ]
    orders = np.log2(np.abs(np.array(remainders[:-1]) / remainders[1:]))
    assert np.all(np.abs(orders - 3.0) < 0.1)


@pytest.mark.parametrize(
    "network", [WidthDepth(GRID, tanh), NeuralODE(4, replace(tanh, code=None))]
)
def test_states_and_costates_are_computed_once(network, rng, monkeypatch):
    objective = objective_of(network, Euler(), rng)
    space = objective.space
    forward, backward = [], []
    record, adjoint = Sweeps.record, StepDerivatives.adjoint

    def recorded(*arguments):
        forward.append(arguments)
        return record(*arguments)

    def adjoined(*arguments):
        backward.append(arguments)
        return adjoint(*arguments)

    monkeypatch.setattr(Sweeps, "record", recorded)
    monkeypatch.setattr(StepDerivatives, "adjoint", adjoined)
    here = objective.linearised(space.random(rng))
    for _ in range(5):
        here.hvp(space.random(rng))
    here.value  # noqa: B018 - from the same states
    assert len(forward) == 1
    assert len(backward) in (0, 4)  # one for each step, or none outside of the compiled loop


def test_bad_input_is_named(rng):
    objective = objective_of(WidthDepth(GRID, tanh), Euler(), rng)
    space = objective.space
    with pytest.raises(TypeError, match="control"):
        objective.linearised(3.0)
    here = objective.linearised(space.zeros())
    other = objective_of(WidthDepth(GRID, tanh, LowRank(2)), Euler(), rng).space
    with pytest.raises(ValueError, match="direction lives in another space"):
        here.hvp(other.zeros())
    unbounded = objective_of(NeuralODE(4, identity), RK4(), rng)
    far = 1e200 * unbounded.space.random(rng)
    with pytest.raises(SolveError):
        unbounded.linearised(far)
