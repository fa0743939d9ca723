"""Derivatives of the discrete problem: Taylor slopes, closed forms, the compiled sweep against the
generic one.
"""

import itertools
from dataclasses import replace

import array_api_strict
import numpy as np
import pytest

from continuum import (
    Bottleneck,
    Interval,
    LearningProblem,
    LowRank,
    NeuralODE,
    NeuralODE2,
    Projection,
    SquaredError,
    SymmetricLayer,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
    identity,
    sigmoid,
    tanh,
    trapezoid,
)
from continuum.arrays import to_host
from solvers import (
    DOP853,
    RK4,
    DormandPrince,
    Euler,
    Heun,
    SolveError,
    Status,
    discretize,
    observed_orders,
)
from solvers.adjoint import objective as adjoint
from solvers.adjoint import tape
from solvers.flow.program import Loop
from solvers.steps.tableaux import Stepper

GRID = trapezoid(Interval(0, 1), 5)
NETWORKS = {
    "dense": WidthDepth(GRID, tanh),
    "low rank": WidthDepth(GRID, sigmoid, LowRank(2)),
    "symmetric layer": SymmetricLayer(GRID, tanh),
    "neural ode": NeuralODE(5, tanh),
    "neural ode 2": NeuralODE2(5, tanh),
    "bottleneck": Bottleneck(5, tanh, hidden=3),
}
STEPPERS = {"Euler": Euler(), "Heun": Heun(), "RK4": RK4()}


def problem_for(network, rng, in_time="layers", **changes):
    """Everything at once: a projection readout, running cost, penalty, uneven samples, graded
    layers.
    """
    problem = LearningProblem(
        network,
        rng.standard_normal((5, 4)),
        rng.standard_normal((2, 4)),
        network.controls(TimeMesh(1.3, 3, 1.5), in_time=in_time),
        readout=Projection(rng.standard_normal((2, 5))),
        running=SquaredError(0.7),
        penalty=Tikhonov(0.1),
        sample_weights=np.array([1.0, 2.0, 3.0, 4.0]),
    )
    return replace(problem, **changes)


def taylor_slopes(objective, rng, first=8):
    """Orders of J(c + s d) - J - s (g, d), and of that less s^2 (d, Hd) / 2: 2 and 3 if both are
    exact.
    """
    space = objective.space
    c, d = space.random(rng), space.random(rng)
    value, gradient = objective.value_and_gradient(c)
    slope, bend = space.inner(gradient, d), space.inner(objective.hvp(c, d), d)
    assert abs(slope) > 1e-3
    assert abs(bend) > 1e-3
    sizes = 2.0 ** np.arange(first, first + 4)
    remainders = [objective.value(c + (1 / n) * d) - value - slope / n for n in sizes]
    further = [r - 0.5 * bend / n**2 for r, n in zip(remainders, sizes, strict=True)]
    return observed_orders(sizes, np.abs(remainders))[-1], observed_orders(sizes, np.abs(further))[
        -1
    ]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
@pytest.mark.parametrize("stepper", STEPPERS.values(), ids=STEPPERS.keys())
@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
def test_taylor_slopes(network, stepper, in_time, rng):
    objective = discretize(problem_for(network, rng, in_time), stepper, steps_per_layer=2)
    first, second = taylor_slopes(objective, rng)
    assert first == pytest.approx(2.0, abs=0.1)
    assert second == pytest.approx(3.0, abs=0.2)


@pytest.mark.parametrize("running_on", ["layers", "steps"])
def test_running_cost_is_the_trapezoid_rule_where_it_says(running_on, rng):
    objective = discretize(problem_for(NETWORKS["dense"], rng, penalty=None), Heun(), 3, running_on)
    first, second = taylor_slopes(objective, rng)
    assert first == pytest.approx(2.0, abs=0.1)
    assert second == pytest.approx(3.0, abs=0.2)
    # x' = 1: J = x(T)^2 / 2 + int 0.7 x^2, the trapezoid rule by hand on the same nodes
    network = NeuralODE2(1, identity)
    mesh = TimeMesh(1.2, 2)
    problem = LearningProblem(
        network, np.zeros((1, 1)), np.zeros((1, 1)), mesh, running=SquaredError(0.7)
    )
    control = problem.space.sample(bias=1.0)
    nodes = np.linspace(0, 1.2, 3 if running_on == "layers" else 7)
    by_hand = 0.5 * 1.2**2 + np.trapezoid(0.7 * nodes**2, nodes)
    assert discretize(problem, Euler(), 3, running_on).value(control) == pytest.approx(
        by_hand, rel=1e-14
    )


def test_fixed_blocks_and_other_products(rng):
    network = NETWORKS["dense"]
    for space in (
        network.controls(TimeMesh(1.0, 3), fixed={"kernel": rng.standard_normal((5, 5))}),
        network.controls(TimeMesh(1.0, 3), fixed={"bias": 0.3}, in_time="nodes", norm="H1"),
    ):
        problem = problem_for(network, rng, controls=space)
        first, second = taylor_slopes(discretize(problem, RK4()), rng)
        assert first == pytest.approx(2.0, abs=0.1)
        assert second == pytest.approx(3.0, abs=0.2)


@pytest.mark.parametrize("method", [DormandPrince, DOP853])
def test_adaptive_runs_are_differentiated_on_their_steps(method, rng, monkeypatch):
    """With the accepted steps held fixed, the gradient has Taylor slope 2."""
    network = NETWORKS["dense"]
    problem = problem_for(network, rng, in_time="nodes")
    adaptive = discretize(problem, method(rtol=1e-4, atol=1e-4))
    c, d = problem.space.random(rng), problem.space.random(rng)
    made = tape.adaptive_steps(problem, c, adaptive.stepper, keep=False)
    gradient, bend, value = adaptive.gradient(c), adaptive.hvp(c, d), adaptive.value(c)
    monkeypatch.setattr(adjoint, "adaptive_steps", lambda *arguments, **options: made)
    replay = replace(adaptive, memory=10**6)
    assert replay.value(c) == pytest.approx(value, rel=1e-14)
    sizes = 2.0 ** np.arange(6, 10)
    remainders = [
        replay.value(c + (1 / n) * d) - replay.value(c) - problem.space.inner(gradient, d) / n
        for n in sizes
    ]
    assert observed_orders(sizes, np.abs(remainders))[-1] == pytest.approx(2.0, abs=0.1)
    further = [
        r - 0.5 * problem.space.inner(bend, d) / n**2
        for r, n in zip(remainders, sizes, strict=True)
    ]
    assert observed_orders(sizes, np.abs(further))[-1] == pytest.approx(3.0, abs=0.2)


def combinations():
    for stepper, in_time, per_layer, fixed in itertools.product(
        STEPPERS, ("layers", "nodes", "static"), (1, 2), (None, "kernel", "bias")
    ):
        yield pytest.param(
            stepper, in_time, per_layer, fixed, id=f"{stepper}-{in_time}-{per_layer}-{fixed}"
        )


@pytest.mark.parametrize(("stepper", "in_time", "per_layer", "fixed"), list(combinations()))
def test_compiled_sweep_is_the_generic_one(stepper, in_time, per_layer, fixed, rng, monkeypatch):
    network = NETWORKS["dense"]
    values = {fixed: 0.4} if fixed else None
    space = network.controls(TimeMesh(1.3, 3, 1.5), in_time=in_time, fixed=values)
    objective = discretize(problem_for(network, rng, controls=space), STEPPERS[stepper], per_layer)
    control = space.random(rng)
    value, gradient = objective.value_and_gradient(control)
    costates = objective.costates(control).states
    direction = space.random(rng)
    product = objective.hvp(control, direction)
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    slow_value, slow_gradient = objective.value_and_gradient(control)
    assert value == pytest.approx(slow_value, rel=1e-14)
    for name in gradient:
        np.testing.assert_allclose(gradient[name], slow_gradient[name], rtol=0, atol=1e-12)
    slow_product = objective.hvp(control, direction)
    for name in product:
        np.testing.assert_allclose(product[name], slow_product[name], rtol=0, atol=1e-11)
    np.testing.assert_allclose(costates, objective.costates(control).states, rtol=0, atol=1e-13)


@pytest.mark.parametrize("activation", [tanh, sigmoid, identity], ids=str)
def test_compiled_sweep_for_other_activations(activation, rng, monkeypatch):
    objective = discretize(problem_for(WidthDepth(GRID, activation), rng), RK4())
    control = objective.space.random(rng)
    direction = objective.space.random(rng)
    gradient, product = objective.gradient(control), objective.hvp(control, direction)
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    for fast, slow in (
        (gradient, objective.gradient(control)),
        (product, objective.hvp(control, direction)),
    ):
        for name in fast:
            np.testing.assert_allclose(fast[name], slow[name], rtol=0, atol=1e-11)


def test_another_array_library(rng):
    for network in NETWORKS.values():
        problem = problem_for(network, rng, in_time="nodes")
        space = problem.space
        control, direction = space.random(rng), space.random(rng)
        strict = [
            type(control)(space, {n: array_api_strict.asarray(x) for n, x in c.items()})
            for c in (control, direction)
        ]
        carried = replace(
            problem,
            initial=array_api_strict.asarray(problem.initial),
            target=array_api_strict.asarray(problem.target),
        )
        ours, theirs = discretize(problem, Heun()), discretize(carried, Heun())
        assert theirs.value(strict[0]) == pytest.approx(ours.value(control), rel=1e-13)
        for got, want in (
            (theirs.gradient(strict[0]), ours.gradient(control)),
            (theirs.hvp(*strict), ours.hvp(control, direction)),
        ):
            for name in want:
                assert isinstance(got[name], type(array_api_strict.asarray(1.0)))
                np.testing.assert_allclose(to_host(got[name]), want[name], rtol=0, atol=1e-12)


def test_scalar_adjoint_by_hand():
    """LM-45: p_l = p_{l+1} - tau s_l p_{l+1} with s_l = sech^2 z_l, gradient s_l p_{l+1}, for f' =
    -tanh f.
    """
    for layers in (10, 20, 40):
        tau = 1.0 / layers
        z = [1.0]
        for _ in range(layers):
            z.append(z[-1] - tau * np.tanh(z[-1]))
        p, bias = z[-1], np.empty(layers)
        kernel = np.empty(layers)
        for k in range(layers - 1, -1, -1):
            slope = 1 / np.cosh(z[k]) ** 2
            bias[k], kernel[k] = slope * p, -z[k] * slope * p
            p -= tau * slope * p
        network = WidthDepth(gauss_legendre(Interval(0, 1), 3), tanh)
        problem = LearningProblem(network, np.ones((3, 1)), np.zeros((3, 1)), TimeMesh(1.0, layers))
        gradient = discretize(problem).gradient(problem.space.sample(kernel=1.0))
        np.testing.assert_allclose(gradient["bias"], bias[:, None] * np.ones(3), rtol=1e-13)
        np.testing.assert_allclose(
            gradient["kernel"], kernel[:, None, None] * np.ones((3, 3)), rtol=1e-13
        )


def test_costate_against_the_closed_form():
    grid = gauss_legendre(Interval(0, 1), 8)
    network = WidthDepth(grid, identity)
    initial = grid.sample(exact.rank_one.initial)
    problem = LearningProblem(network, np.tile(initial, 2), np.zeros((8, 2)), TimeMesh(1.0, 40))
    control = problem.space.sample(bias=exact.rank_one.bias, kernel=exact.rank_one.kernel)
    costates = discretize(problem, RK4()).costates(control)
    for t, p in zip(costates.times, costates.states, strict=True):
        expected = exact.rank_one_costate(grid.coordinates, t)
        # every sample's own costate, not divided by their number
        np.testing.assert_allclose(p, expected[:, None] * np.ones(2), rtol=0, atol=1e-8)


def test_batches_are_slices(rng):
    objective = discretize(problem_for(NETWORKS["dense"], rng, penalty=None))
    control = objective.space.random(rng)
    shares = objective.problem.sample_weights
    parts = [objective.batch([m]).value(control) for m in range(4)]
    assert objective.value(control) == pytest.approx(np.dot(shares, parts), rel=1e-13)


def test_overflow_is_infinite_in_value_and_raises_in_gradients(rng):
    network = WidthDepth(GRID, identity)
    problem = LearningProblem(network, np.ones((5, 1)), np.ones((5, 1)), TimeMesh(1.0, 100))
    control = problem.space.sample(kernel=-1e6)
    objective = discretize(problem)
    assert objective.value(control) == np.inf
    with pytest.raises(SolveError, match="infinite or NaN") as caught:
        objective.gradient(control)
    assert caught.value.solution.status is Status.NON_FINITE


def test_bad_input(rng):
    problem = problem_for(NETWORKS["dense"], rng)

    class Own(Stepper):
        def step(self, velocity, tangent, t, h, f):
            return f

    with pytest.raises(TypeError, match="stepper must be a Runge-Kutta method"):
        discretize(problem, Own())
    with pytest.raises(ValueError, match="memory must be at least 320 bytes"):
        discretize(problem, Euler(), memory=319)
    with pytest.raises(ValueError, match="steps_per_layer"):
        discretize(problem, Euler(), 0)
    with pytest.raises(ValueError, match="Did you mean 'layers'"):
        discretize(problem, Euler(), 1, "layer")
