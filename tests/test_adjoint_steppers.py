"""Derivatives through every method, network, readout and loss; checkpoints; the adjoint of the
continuum.
"""

import tracemalloc
from dataclasses import replace
from functools import cache

import array_api_strict
import numpy as np
import pytest

from continuum import (
    AbsoluteError,
    Affine,
    Bottleneck,
    Convolution,
    CrossEntropy,
    FractionalLaplacian,
    Integral,
    Interval,
    LearningProblem,
    Logistic,
    LowRank,
    NeuralODE,
    NeuralODE2,
    Softmax,
    SquaredError,
    State,
    SymmetricLayer,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    midpoint,
    sigmoid,
    tanh,
    trapezoid,
)
from continuum.arrays import to_host
from solvers import (
    DOP853,
    RK4,
    SDIRK3,
    BackwardEuler,
    DormandPrince,
    Euler,
    ExplicitMidpoint,
    Heun,
    ImplicitMidpoint,
    KennedyCarpenter5,
    Newton,
    RadauIIA5,
    SolveError,
    Status,
    continuous_adjoint,
    discretize,
    observed_orders,
)
from solvers.adjoint.checkpoints import Plan, binomial_cost
from solvers.adjoint.step_derivatives import StepDerivatives
from solvers.flow.program import Loop

GRID = trapezoid(Interval(0, 1), 5)
NETWORKS = {
    "dense": WidthDepth(GRID, tanh),
    "low rank": WidthDepth(GRID, tanh, LowRank(2)),
    "convolution": WidthDepth(midpoint(Interval(0, 1), 5), tanh, Convolution()),
    "fractional": WidthDepth(
        midpoint(Interval(0, 1), 5), tanh, FractionalLaplacian(0.3, "neumann")
    ),
    "symmetric layer": SymmetricLayer(GRID, tanh),
    "neural ode": NeuralODE(5, tanh),
    "neural ode 2": NeuralODE2(5, tanh),
    "bottleneck": Bottleneck(5, tanh, hidden=3),
}
EXPLICIT = {m.__name__: m() for m in (Euler, Heun, ExplicitMidpoint, RK4)}
IMPLICIT = {
    m.__name__: m() for m in (ImplicitMidpoint, BackwardEuler, SDIRK3, RadauIIA5, KennedyCarpenter5)
}
METHODS = EXPLICIT | IMPLICIT
PAIRS = [(n, m) for m in METHODS for n in ("dense", "bottleneck")] + [
    (n, m) for n in NETWORKS for m in ("Heun", "RadauIIA5") if n not in ("dense", "bottleneck")
]
READOUTS = {
    "absolute": (State(), AbsoluteError(0.7), 5),
    "norm of a residual": (State(), AbsoluteError(0.7, groups="sample"), 5),
    "softmax": (Softmax(3), SquaredError(), 3),
    "logistic": (Integral(), Logistic(), 5),
    "cross-entropy": (Affine(3), CrossEntropy(), 3),
    "link": (Integral(link=sigmoid), SquaredError(), 5),
    "fixed": (Affine(3, link=tanh, fixed={"readout.W": 0.3}), SquaredError(), 3),
}


def problem_for(network, rng, **changes):
    problem = LearningProblem(
        network,
        rng.standard_normal((5, 3)),
        rng.standard_normal((5, 3)),
        network.controls(TimeMesh(1.1, 2, 1.4), in_time="nodes"),
        running=SquaredError(0.7),
        penalty=Tikhonov(0.1),
        sample_weights=np.array([1.0, 2.0, 3.0]),
    )
    return replace(problem, **changes)


def check_taylor(objective, rng):
    """J(c + s d) - J - s (g, d) is O(s^2), and less s^2 (d, Hd) / 2 it is O(s^3)."""
    space = objective.space
    c, d = 0.7 * space.random(rng), space.random(rng)
    value, gradient = objective.value_and_gradient(c)
    product = objective.hvp(c, d)
    slope, bend = space.inner(gradient, d), space.inner(product, d)
    assert abs(slope) > 1e-4
    sizes = 2.0 ** np.arange(7, 11)
    remainders = np.array([objective.value(c + (1 / n) * d) - value - slope / n for n in sizes])
    if abs(bend) > 1e-4:
        assert observed_orders(sizes, np.abs(remainders))[-1] == pytest.approx(2.0, abs=0.15)
    further = np.abs(remainders - 0.5 * bend / sizes**2)
    assert observed_orders(sizes, further)[-1] == pytest.approx(3.0, abs=0.25)
    other = space.random(rng)
    assert space.inner(objective.hvp(c, other), d) == pytest.approx(
        space.inner(product, other), rel=1e-9
    )


@pytest.mark.parametrize(("network", "method"), PAIRS)
def test_every_method_and_network(network, method, rng):
    check_taylor(discretize(problem_for(NETWORKS[network], rng), METHODS[method], 2), rng)


@pytest.mark.parametrize("case", READOUTS)
@pytest.mark.parametrize("method", ["Euler", "SDIRK3"])
def test_every_readout_and_loss(case, method, rng):
    readout, loss, outputs = READOUTS[case]
    target = rng.uniform(0.2, 0.8, (outputs, 3))
    if isinstance(loss, CrossEntropy):
        target = np.array([0.0, 2.0, 1.0])
    if isinstance(loss, AbsoluteError) and loss.groups == "entries":
        target = 20.0 * np.sign(rng.standard_normal((5, 3)))  # far from the kinks
    problem = problem_for(
        NETWORKS["dense"], rng, readout=readout, terminal=loss, target=target, running=None
    )
    check_taylor(discretize(problem, METHODS[method]), rng)


@pytest.mark.parametrize("method", [ImplicitMidpoint, RadauIIA5])
def test_without_matrices(method, rng):
    """Above `krylov_above` units GMRES solves both systems: the same to its tolerance."""
    problem = problem_for(NETWORKS["dense"], rng)
    c, d = problem.space.random(rng), problem.space.random(rng)
    dense, free = (
        discretize(problem, method()),
        discretize(problem, method(newton=Newton(krylov_above=2))),
    )
    for x, y in ((dense.gradient(c), free.gradient(c)), (dense.hvp(c, d), free.hvp(c, d))):
        for name in x:
            np.testing.assert_allclose(x[name], y[name], rtol=0, atol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_adjoint_identity_of_a_step(method, rng):
    """(p+, df+) = (p, df) + h sum_i ((D_c F)* lambda_i, dc_i) in the weights of the units,
    exactly.
    """
    problem = problem_for(NETWORKS["dense"], rng)
    control, direction = problem.space.random(rng), problem.space.random(rng)
    derivatives = StepDerivatives(problem.network, control, METHODS[method])
    df, after = rng.standard_normal((2, 5, 3))
    step = derivatives.step(0, 0.1, 0.3, problem.initial)
    moved, _ = derivatives.tangent(step, direction, df)
    before, _, bars = derivatives.adjoint(step, after)
    w = problem.network.weights[:, None]
    weights = {b.name: b.weights for b in problem.space.blocks}
    right = np.sum(w * before * df)
    for at, bar in zip(step.times, bars, strict=True):
        for name, x in direction.variation(0, at).items():
            right += step.h * np.sum(weights[name] * bar[name] * x)
    assert np.sum(w * after * moved) == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("method", ["RK4", "SDIRK3", "RadauIIA5"])
def test_costates_are_derivatives_in_the_initial_state(method, rng):
    problem = problem_for(NETWORKS["dense"], rng, penalty=None)
    control, move = problem.space.random(rng), rng.standard_normal((5, 3))
    p = discretize(problem, METHODS[method]).costates(control).states[0]
    expected = np.sum(
        problem.sample_weights * np.sum(problem.network.weights[:, None] * p * move, axis=0)
    )
    low, high = (
        discretize(replace(problem, initial=problem.initial + s * move), METHODS[method]).value(
            control
        )
        for s in (-1e-5, 1e-5)
    )
    assert (high - low) / 2e-5 == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("method", ["SDIRK3", "RadauIIA5"])
def test_implicit_methods_in_another_array_library(method, rng):
    problem = problem_for(NETWORKS["dense"], rng)
    space = problem.space
    c, d = space.random(rng), space.random(rng)
    strict = [
        type(x)(space, {n: array_api_strict.asarray(v) for n, v in x.items()}) for x in (c, d)
    ]
    carried = replace(problem, initial=array_api_strict.asarray(problem.initial))
    carried = replace(carried, target=array_api_strict.asarray(problem.target))
    ours, theirs = (discretize(x, METHODS[method]) for x in (problem, carried))
    for got, want in (
        (theirs.gradient(strict[0]), ours.gradient(c)),
        (theirs.hvp(*strict), ours.hvp(c, d)),
    ):
        for name in want:
            np.testing.assert_allclose(to_host(got[name]), want[name], rtol=0, atol=1e-11)


def test_an_implicit_step_without_solution(rng):
    problem = problem_for(NETWORKS["dense"], rng)
    objective = discretize(problem, BackwardEuler(newton=Newton(max_iterations=1)))
    control = problem.space.random(rng)
    assert objective.value(control) == np.inf
    with pytest.raises(SolveError) as caught:
        objective.gradient(control)
    assert caught.value.solution.status is Status.NEWTON_FAILED


@cache
def least_cost(blocks, kept):
    """By trying every place for the next state."""
    if blocks == 1:
        return 0
    if kept == 1:
        return blocks * (blocks - 1) // 2
    return min(m + least_cost(blocks - m, kept - 1) + least_cost(m, kept) for m in range(1, blocks))


@pytest.mark.parametrize("kept", [1, 2, 3, 5, 8])
def test_the_schedule_is_optimal(kept):
    assert binomial_cost(10, 3) == 15  # Griewank and Walther
    for blocks in range(1, 41):
        assert binomial_cost(blocks, kept) == least_cost(blocks, kept)
        made, seen = [], []

        def advance(state, start, stop, made=made):
            assert state == start
            made.append(stop - start)
            return stop

        Plan(1, blocks, kept).reverse(
            0, blocks, advance, lambda f, start, stop, seen=seen: seen.append((f, start, stop))
        )
        assert seen == [(n, n, n + 1) for n in range(blocks - 1, -1, -1)]
        assert sum(made) == binomial_cost(blocks, kept)


@pytest.mark.parametrize(
    "method", [RK4(), SDIRK3(), DormandPrince(rtol=1e-5, atol=1e-5), DOP853(rtol=1e-7, atol=1e-7)]
)
@pytest.mark.parametrize("network", ["dense", "neural ode"])
def test_the_gradient_does_not_depend_on_memory(method, network, rng):
    problem = problem_for(
        NETWORKS[network],
        rng,
        controls=NETWORKS[network].controls(TimeMesh(1.1, 7), in_time="nodes"),
    )
    control = problem.space.random(rng)
    value, gradient = discretize(problem, method, 3).value_and_gradient(control)
    least = 1 + 2 * max(4, len(method.b))  # a state, and a compiled step: two arrays a stage
    for states in (least, least + 3, 2 * least + 2, 1000):
        limited = discretize(problem, method, 3, memory=120 * states)
        found, other = limited.value_and_gradient(control)
        assert found == pytest.approx(value, rel=1e-13)
        assert limited.value(control) == pytest.approx(value, rel=1e-13)
        assert problem.space.norm(other - gradient) <= 1e-13 * problem.space.norm(gradient)


def test_memory_stays_within_its_budget_and_steps_are_the_least(rng, monkeypatch):
    network, steps = NeuralODE(64, tanh), 60
    problem = LearningProblem(
        network,
        rng.standard_normal((64, 100)),
        np.zeros((64, 100)),
        network.controls(TimeMesh(1.0, steps), "static"),
    )
    control, state = 0.1 * problem.space.random(rng), 64 * 100 * 8
    calls = []
    velocity = NeuralODE.velocity
    monkeypatch.setattr(NeuralODE, "velocity", lambda *x: calls.append(1) or velocity(*x))
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    everything = discretize(problem)
    everything.gradient(control)
    assert len(calls) == steps
    for budget in (4, 6, 12):
        objective = discretize(problem, memory=budget * state)
        plan = Plan.within(budget * state, steps, state, 0)
        calls.clear()
        tracemalloc.start()
        objective.gradient(control)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= (budget + 12) * state  # twelve arrays to work in
        exact = steps % plan.length == 0
        assert len(calls) == plan.advanced + steps if exact else len(calls) <= plan.advanced + steps
        blocks = [binomial_cost(-(-steps // n), budget - n) * n for n in range(1, budget)]
        assert plan.advanced == min(blocks)


@pytest.mark.parametrize("method", [Euler(), RK4()])
def test_compiled_checkpoints_stay_within_their_budget(method, rng, monkeypatch):
    """The loops work in arrays that are given to them, so `tracemalloc` sees all they use."""
    network, steps = NeuralODE(64, tanh), 60
    problem = LearningProblem(
        network,
        rng.standard_normal((64, 100)),
        np.zeros((64, 100)),
        network.controls(TimeMesh(1.0, steps), "static"),
    )
    control, state = 0.1 * problem.space.random(rng), 64 * 100 * 8
    stored = 2 * len(method.b)  # of every stage its state and its slope
    work = 16 + 5 * len(method.b) + 8  # what a step works in, and a few arrays of a state's size
    made, advance = [], Loop.advance
    monkeypatch.setattr(Loop, "advance", lambda *x: made.append(len(x[2].size)) or advance(*x))

    def measured(objective):
        objective.gradient(control)  # so that what is made once is not counted
        objective = replace(objective)  # without the memory that it kept
        made.clear()
        tracemalloc.start()
        found = objective.gradient(control)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found, peak / state

    whole, peak = measured(discretize(problem, method))
    assert stored * steps < peak < stored * steps + work
    assert sum(made) == steps
    for budget in (stored + 4, 3 * stored, 6 * stored):
        found, peak = measured(discretize(problem, method, memory=budget * state))
        plan = Plan.within(budget * state, steps, state, stored - 1)
        least = 1 + stored * plan.length  # the state and the tape of one block
        assert least < peak < budget + work
        assert sum(made) <= plan.advanced + steps
        if steps % plan.length == 0:
            assert sum(made) == plan.advanced + steps
        assert problem.space.norm(found - whole) <= 1e-13 * problem.space.norm(whole)


def test_memory_too_small_for_the_compiled_record(rng):
    objective = discretize(problem_for(NETWORKS["dense"], rng), RK4(), memory=5 * 120)
    with pytest.raises(ValueError, match="memory must be at least 1080 bytes"):
        objective.gradient(objective.space.random(rng))


@pytest.mark.parametrize(
    ("method", "order"),
    [(Euler(), 1), (Heun(), 2), (RK4(), 4), (ImplicitMidpoint(), 2), (SDIRK3(), 3)],
)
def test_the_two_gradients_differ_by_the_order_of_the_method(method, order, rng):
    network = NETWORKS["dense"]
    problem = problem_for(
        network,
        rng,
        running=None,
        readout=Integral(),
        controls=network.controls(TimeMesh(1.1, 2), in_time="nodes"),
    )
    control = 0.7 * problem.space.random(rng)
    sizes = np.array([4, 8, 16])
    errors = []
    for n in sizes:
        exact = discretize(problem, method, int(n)).gradient(control)
        errors.append(
            problem.space.norm(continuous_adjoint(problem, control, method, int(n)) - exact)
        )
    assert errors[-1] > 1e-10
    assert observed_orders(sizes, np.array(errors))[-1] == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("method", [Heun(), BackwardEuler()])
def test_continuous_adjoint_with_a_running_cost(method, rng):
    network = NETWORKS["neural ode"]
    problem = problem_for(network, rng, controls=network.controls(TimeMesh(1.1, 2)))
    control = problem.space.random(rng)
    errors = []
    for n in (8, 16, 32):
        exact = discretize(problem, method, n, "steps").gradient(control)
        errors.append(problem.space.norm(continuous_adjoint(problem, control, method, n) - exact))
    assert observed_orders(np.array([8, 16, 32]), np.array(errors))[-1] == pytest.approx(
        method.order, abs=0.35
    )
    with pytest.raises(TypeError, match="stepper must be a method with equal steps"):
        continuous_adjoint(problem, control, DormandPrince(rtol=1e-3, atol=1e-3))
    with pytest.raises(ValueError, match="steps_per_layer"):
        continuous_adjoint(problem, control, method, 0)


@pytest.mark.crosscheck
@pytest.mark.parametrize("method", ["Euler", "RK4"])
def test_against_autograd_and_its_hessian(method, rng):
    torch = pytest.importorskip("torch")
    network, tableau = NETWORKS["dense"], METHODS[method]
    problem = problem_for(
        network, rng, controls=network.controls(TimeMesh(1.0, 4)), running=None, penalty=None
    )
    control, direction = problem.space.random(rng), problem.space.random(rng)
    w, f0, target = (
        torch.from_numpy(x) for x in (network.weights[:, None], problem.initial, problem.target)
    )
    shares, names = torch.from_numpy(problem.sample_weights), ("bias", "kernel")

    def cost(bias, kernel):
        f = f0
        for k in range(4):
            slopes = []
            for i in range(len(tableau.b)):
                x = f + sum(0.25 * float(tableau.a[i, j]) * slopes[j] for j in range(i))
                slopes.append(torch.tanh(bias[k][:, None] - kernel[k] @ (w * x)))
            f = f + sum(0.25 * float(b) * s for b, s in zip(tableau.b, slopes, strict=True))
        return torch.sum(shares * torch.sum(0.5 * w * (f - target) ** 2, 0))

    at, along = (tuple(torch.from_numpy(x[n]) for n in names) for x in (control, direction))
    _, gradient = torch.autograd.functional.vjp(cost, at)
    _, product = torch.autograd.functional.hvp(cost, at, along)
    objective = discretize(problem, tableau)
    pairs = ((objective.gradient(control), gradient), (objective.hvp(control, direction), product))
    for ours, theirs in pairs:
        for block, other in zip(problem.space.blocks, theirs, strict=True):
            np.testing.assert_allclose(
                0.25 * block.weights * ours[block.name], other.numpy(), rtol=0, atol=1e-12
            )


def test_compiled_segments_are_the_generic_ones(rng, monkeypatch):
    """Kernels that several segments share are collected, not overwritten."""
    for in_time in ("static", "nodes", "layers"):
        problem = problem_for(
            NETWORKS["dense"], rng, controls=NETWORKS["dense"].controls(TimeMesh(1.0, 3), in_time)
        )
        control = problem.space.random(rng)
        with monkeypatch.context() as patch:
            patch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
            expected = discretize(problem, Heun(), 4).gradient(control)
        found = discretize(problem, Heun(), 4, memory=120 * 9).gradient(control)
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-12)
