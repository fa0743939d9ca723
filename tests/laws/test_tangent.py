"""The derivative of a whole run in a direction, g and h of the paper: against differences, by
duality with the gradient, against the propagator and closed forms.
"""

from dataclasses import replace
from math import cosh, exp, sinh

import array_api_strict
import numpy as np
import pytest
from law_cases import ALL, Paced, one_third, problem

from continuum import (
    Affine,
    Bottleneck,
    Interval,
    LearningProblem,
    Logistic,
    LowRank,
    NeuralODE,
    SquaredError,
    Staged,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
    identity,
    tanh,
    trapezoid,
)
from continuum.arrays import to_host
from solvers import (
    RK4,
    SDIRK3,
    DormandPrince,
    Euler,
    Heun,
    ImplicitMidpoint,
    RadauIIA5,
    discretize,
    integrate,
    propagator,
    richardson,
)
from solvers.flow.program import Loop

STEPPERS = {
    "Euler": Euler(),
    "Heun": Heun(),
    "RK4": RK4(),
    "midpoint": ImplicitMidpoint(),
    "SDIRK3": SDIRK3(),
    "Radau": RadauIIA5(),
}
GRID = trapezoid(Interval(0, 1), 4)
ENTRIES = ("states", "costates", "remaining")


def entries(path):
    """All numbers of a Path, as one dictionary of arrays."""
    found = {name: getattr(path, name) for name in ENTRIES}
    return {**found, "value": np.array(path.value), **dict(path.gradient)}


def check(objective, rng, initial=True):
    """X(c + s d, f + s e) - X - s dX is O(s^2) for all X that `run` returns, and dJ is what the
    gradient and p(0) say.
    """
    stated, space = objective.problem, objective.space
    c, d = space.random(rng, 0.7), space.random(rng)
    e = rng.standard_normal(stated.initial.shape) * float(initial)
    found = objective.tangent(c, d, e) if initial else objective.tangent(c, d)

    def run(s):
        there = replace(objective, problem=replace(stated, initial=stated.initial + s * e))
        return entries(there.run(c + s * d))

    middle, (low, high) = run(0.0), (run(s) for s in (-1e-3, 1e-3))
    lower, higher = run(-5e-4), run(5e-4)
    for name, derivative in entries(found).items():
        one, two = (high[name] - low[name]) / 2e-3, (higher[name] - lower[name]) / 1e-3
        size = np.max(np.abs(derivative)) + np.max(np.abs(middle[name]))
        assert np.max(np.abs((4.0 * two - one) / 3.0 - derivative)) < 1e-9 * size, name
    path = objective.run(c)
    weights = stated.sample_weights * stated.network.weights[:, None]
    dual = space.inner(path.gradient, d) + np.sum(weights * path.costates[0] * e)
    assert found.value == pytest.approx(dual, rel=1e-11, abs=1e-12)
    return found


@pytest.mark.parametrize("case", ALL)
def test_every_readout_and_cost(case, rng):
    stated = problem(case, activation=tanh, mesh=TimeMesh(1.0, 3, grading=1.3))
    check(discretize(stated, Heun(), 2), rng)


@pytest.mark.parametrize("running_on", ["layers", "steps"])
@pytest.mark.parametrize("method", STEPPERS)
def test_every_method(method, running_on, rng):
    network = WidthDepth(GRID, tanh)
    stated = LearningProblem(
        network,
        rng.standard_normal((4, 3)),
        rng.uniform(0.2, 0.8, (2, 3)),
        network.controls(TimeMesh(1.1, 2, 1.4), in_time="nodes"),
        readout=Affine(2),
        terminal=Logistic(),
        running=SquaredError(0.7),
        penalty=Tikhonov(0.1),
        sample_weights=np.array([1.0, 2.0, 3.0]),
    )
    found = check(discretize(stated, STEPPERS[method], 2, running_on), rng)
    assert found.states.shape == (5, 4, 3)
    assert np.max(np.abs(found.gradient["readout.W"])) > 1e-3


@pytest.mark.parametrize(
    "network",
    [
        WidthDepth(GRID, tanh, LowRank(2)),
        NeuralODE(4, tanh),
        Bottleneck(4, tanh, hidden=3),
        Paced(WidthDepth(GRID, tanh), one_third),
    ],
    ids=["low rank", "neural ode", "bottleneck", "timed"],
)
def test_every_network(network, rng):
    initial, target = rng.standard_normal((2, 4, 2))
    stated = LearningProblem(network, initial, target, TimeMesh(1.0, 3))
    check(discretize(stated, RK4()), rng)
    objective = discretize(stated, ImplicitMidpoint())
    found = check(objective, rng, initial=False)
    assert np.all(found.states[0] == 0.0)


def test_without_a_direction_of_the_start_the_gradient_is_the_hessian_product(rng):
    objective = discretize(problem("timed Affine both", activation=tanh), RK4())
    c, d = objective.space.random(rng), objective.space.random(rng)
    product, found = objective.hvp(c, d), objective.tangent(c, d).gradient
    for name in product:
        np.testing.assert_allclose(found[name], product[name], rtol=0, atol=1e-13)


def test_steps_that_are_chosen_are_held(rng):
    stated = problem("autonomous State both", activation=tanh)
    objective = discretize(stated, DormandPrince(rtol=1e-4, atol=1e-4))
    c, d = objective.space.random(rng, 0.7), objective.space.random(rng)
    found, path = objective.tangent(c, d), objective.run(c)
    assert found.states.shape == path.states.shape
    assert found.value == pytest.approx(objective.space.inner(path.gradient, d), rel=1e-11)
    np.testing.assert_array_equal(found.times, path.times)


@pytest.mark.parametrize("method", ["Euler", "RK4"])
def test_compiled_is_generic(method, rng, monkeypatch):
    network = WidthDepth(GRID, tanh)
    initial, target = rng.standard_normal((2, 4, 3))
    stated = LearningProblem(
        network, initial, target, TimeMesh(1.0, 3), running=SquaredError(), penalty=Tikhonov(0.1)
    )
    objective = discretize(stated, STEPPERS[method], 2)
    arguments = objective.space.random(rng), objective.space.random(rng), rng.random((4, 3))
    fast = entries(objective.tangent(*arguments))
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    for name, slow in entries(objective.tangent(*arguments)).items():
        np.testing.assert_allclose(fast[name], slow, rtol=0, atol=1e-12)


def test_a_sample_that_does_not_count(rng):
    stated = problem("autonomous Affine both", activation=tanh, samples=3)
    none = replace(stated, sample_weights=np.array([1.0, 0.0, 3.0]))
    c, d = stated.space.random(rng), stated.space.random(rng)
    found, alone = (discretize(x, RK4()).tangent(c, d) for x in (none, stated))
    for name in ENTRIES:
        np.testing.assert_allclose(getattr(found, name), getattr(alone, name), atol=1e-13)
    assert found.value == pytest.approx(
        stated.space.inner(discretize(none, RK4()).gradient(c), d), rel=1e-12
    )


def test_another_array_library(rng):
    stated = problem("autonomous State both", activation=tanh)
    space = stated.space
    c, d, e = space.random(rng), space.random(rng), rng.standard_normal(stated.initial.shape)
    strict = [
        type(x)(space, {n: array_api_strict.asarray(v) for n, v in x.items()}) for x in (c, d)
    ]
    carried = replace(
        stated,
        initial=array_api_strict.asarray(stated.initial),
        target=array_api_strict.asarray(stated.target),
    )
    want = entries(discretize(stated, RK4()).tangent(c, d, e))
    got = discretize(carried, RK4()).tangent(*strict, e)
    for name, x in entries(got).items():
        np.testing.assert_allclose(to_host(x), want[name], rtol=0, atol=1e-11)


# the paper's g and h


def test_scalar_closed_form():
    """f' = -tanh f, f(0) = s, J = f(1)^2 / 2: f = asinh(e^-t sinh s), and p = f(1) cosh(f(t)) e^t /
    (cosh(f(1)) e); g and h are their derivatives in s.
    """
    network = WidthDepth(gauss_legendre(Interval(0, 1), 1), tanh)
    stated = LearningProblem(network, np.ones((1, 1)), np.zeros((1, 1)), TimeMesh(1.0, 100))
    control = stated.space.sample(kernel=1.0)
    found = discretize(stated, RK4()).tangent(control, stated.space.zeros(), np.ones((1, 1)))
    for n in (0, 50, 100):
        t = n / 100
        f, last = np.arcsinh(exp(-t) * sinh(1.0)), np.arcsinh(exp(-1.0) * sinh(1.0))
        g, end = (exp(-s) * cosh(1.0) / cosh(x) for s, x in ((t, f), (1.0, last)))
        p = last * cosh(f) * exp(t - 1.0) / cosh(last)
        h = p * (end / last + np.tanh(f) * g - np.tanh(last) * end)
        assert found.states[n, 0, 0] == pytest.approx(g, rel=1e-9)
        assert found.costates[n, 0, 0] == pytest.approx(h, rel=1e-8)


def smooth(layers):
    """A problem with controls of functions, and a direction (alpha, beta)."""
    grid = gauss_legendre(Interval(0, 1), 4)
    network = WidthDepth(grid, tanh)
    space = network.controls(TimeMesh(1.0, layers), in_time="nodes")
    stated = LearningProblem(
        network, grid.sample(1.0, lambda y: y), np.zeros((4, 2)), space, terminal=SquaredError()
    )
    control = space.sample(
        bias=lambda y, t: np.sin(y + t), kernel=lambda y, z, t: np.cos(3 * y - 2 * z) + t
    )
    direction = space.sample(
        bias=lambda y, t: np.cos(2 * y - t), kernel=lambda y, z, t: y * z - np.sin(t)
    )
    return stated, control, direction


def test_against_the_propagator(rng):
    """g(t) = M(t, 0) g(0) + int M(t, s) sigma'(u)(alpha - B_beta f)(s) ds, by Simpson's rule."""
    layers, steps = 2, 16
    stated, control, direction = smooth(layers)
    network, e = stated.network, rng.standard_normal((4, 2))
    found = discretize(stated, RK4(), steps).tangent(control, direction, e).states
    run = integrate(
        network, control, stated.initial, RK4(), steps_per_layer=steps, save="steps"
    ).trajectory
    simpson = np.array([1, *[4, 2] * (steps // 2 - 1), 4, 1]) / (3 * layers * steps)
    for m, last in ((0, layers * steps), (1, layers * steps), (1, steps)):

        def to_the_end(n, m=m, last=last):
            if n == last:
                return np.eye(4)
            return propagator(network, control, run, run.times[n], run.times[last], sample=m).matrix

        expected = to_the_end(0) @ e[:, m : m + 1]
        for layer in range(last // steps):
            for n, share in enumerate(simpson, layer * steps):
                t, f = float(run.times[n]), run.states[n][:, m : m + 1]
                c, d = (x.at_layer(layer, t) for x in (control, direction))
                source = network.jvp(f, c, t, 0.0 * f, d)
                expected = expected + share * (to_the_end(n) @ source)
        np.testing.assert_allclose(found[last][:, m : m + 1], expected, atol=1e-7)


LINE = {
    "sin(3y + 2t)": (0.041615428326106, {"bias": lambda y, t: np.sin(3 * y + 2 * t)}),
    "cos(y + 2z - t)": (-0.1119511003757842, {"kernel": lambda y, z, t: np.cos(y + 2 * z - t)}),
}


@pytest.mark.parametrize("name", LINE)
def test_directional_derivatives_of_the_ledger(name):
    """LM-43, by (dJ/df(T), g(T)), no costate: piecewise linear directions, extrapolated."""
    expected, direction = LINE[name]
    grid = gauss_legendre(Interval(0, 1), 10)
    network, initial = WidthDepth(grid, identity), grid.sample(exact.rank_one.initial)
    found = []
    for layers in (50, 100, 200):
        space = network.controls(TimeMesh(1.0, layers), in_time="nodes")
        stated = LearningProblem(network, initial, np.zeros_like(initial), space)
        control = space.sample(bias=exact.rank_one.bias, kernel=exact.rank_one.kernel)
        objective = discretize(stated, RK4())
        tangent = objective.tangent(control, space.sample(**direction))
        slope = stated.functional.terminal_vjp(objective.run(control).states[-1])[0]
        found.append(float(np.sum(network.weights[:, None] * slope * tangent.states[-1])))
        assert found[-1] == pytest.approx(tangent.value, rel=1e-13)
    twice = [richardson(*pair, 2)[0] for pair in (found[:2], found[1:])]
    assert richardson(*twice, 4)[0] == pytest.approx(expected, abs=1e-12)


def test_with_every_block_held_only_the_state_moves(rng):
    network = WidthDepth(GRID, tanh)
    space = network.controls(TimeMesh(1.0, 2), fixed={"bias": 0.1, "kernel": 0.7})
    x, y, e = rng.standard_normal((3, 4, 2))
    for penalty in (None, Tikhonov(1.0)):
        objective = discretize(LearningProblem(network, x, y, space, penalty=penalty), RK4())
        c = space.zeros()
        found, path = objective.tangent(c, c, e), objective.run(c)
        dual = np.sum(network.weights[:, None] * path.costates[0] * e) / 2
        assert found.value == pytest.approx(dual, rel=1e-12)
        assert len(found.gradient) == 0


def test_bad_arguments(rng):
    stated = problem("autonomous State both")
    objective, other = discretize(stated), problem("autonomous State both", mesh=TimeMesh(2.0, 3))
    c = stated.space.zeros()
    with pytest.raises(ValueError, match="direction"):
        objective.tangent(c, other.space.zeros())
    with pytest.raises(ValueError, match=r"initial has shape \(3, 2\), expected \(2, 2\)"):
        objective.tangent(c, c, np.zeros((3, 2)))
    stages = Staged((NeuralODE(2, tanh), NeuralODE(2, tanh)), (0.5,), (np.eye(2),))
    wide = LearningProblem(stages, np.ones((2, 1)), np.ones((2, 1)), TimeMesh(1.0, 4))
    with pytest.raises(TypeError, match="Staged"):
        discretize(wide).tangent(wide.space.zeros(), wide.space.zeros())
