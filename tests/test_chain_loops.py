"""The compiled loops of chains against the generic path: random chains, tableaux, time axes, step
counts; value, gradient, costates, Hessian-vector products.
"""

import os
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from continuum import (
    Interval,
    LearningProblem,
    SquaredError,
    Tikhonov,
    TimeMesh,
    arctan,
    elu,
    gauss_legendre,
    gelu,
    identity,
    leaky_relu,
    relu,
    sigmoid,
    softplus,
    tanh,
)
from continuum.activations import user_activation
from continuum.kernels import Dense
from continuum.networks import (
    Adjoint,
    Chain,
    FixedLinear,
    Inputs,
    Linear,
    NormBound,
    Offset,
    Pointwise,
)
from solvers import (
    DOP853,
    RK4,
    DormandPrince,
    Euler,
    EverySteps,
    ExplicitMidpoint,
    Heun,
    Monitor,
    Record,
    RiccatiNewton,
    SolveError,
    Status,
    discretize,
    integrate,
    minimize,
)
from solvers.adjoint import chain_adjoint, chain_linear_quadratic, chain_second_order
from solvers.adjoint.tape import adaptive_steps
from solvers.flow import adaptive_loops, chain_loops
from solvers.flow.adaptive import _attempt
from solvers.flow.advance import GenericAdvance
from solvers.flow.lowering import lower
from solvers.flow.program import Loop, pair_of

GRID = gauss_legendre(Interval(0.0, 1.0), 3)
ACTIVATIONS = (
    tanh,
    identity,
    relu,
    sigmoid,
    leaky_relu(0.2),
    elu(0.7),
    arctan,
    softplus,
    gelu,
)
STEPPERS = (Euler(), Heun(), ExplicitMidpoint(), RK4())


@st.composite
def chains(draw, samples=1):
    """Chains of one to nine maps on R^3 or a grid of three nodes."""
    space = draw(st.sampled_from((3, GRID)))
    maps, at, free, linears = [], "home", 0, []
    numbers = np.random.default_rng(draw(st.integers(0, 99)))
    if space == 3 and draw(st.booleans()):
        time, data = draw(st.booleans()), draw(st.sampled_from((None, 1, samples)))
        data = None if data is None else numbers.standard_normal((2, data))
        wide = draw(st.sampled_from((1, 5)))
        maps += [Inputs(time, data), Linear("inputs", wide, draw(st.sampled_from((1, -1))))]
        linears.append(("inputs", "inputs", wide))
        at = wide
    for n in range(draw(st.integers(1, 5))):
        kinds = ("linear", "adjoint", "offset", "pointwise", "pointwise", "fixed")
        kind = draw(st.sampled_from(kinds if space == 3 else kinds[:-1]))
        if kind == "adjoint" and linears:
            name, source, target = draw(st.sampled_from(linears))
            if target == at:
                maps.append(Adjoint(name, draw(st.sampled_from((1, -1)))))
                at = source
                continue
        if kind == "pointwise":
            maps.append(Pointwise(draw(st.sampled_from(ACTIVATIONS))))
        elif kind == "offset":
            maps.append(Offset(f"offset{n}"))
        elif kind == "fixed":
            across = Chain(3, (*maps, Linear("any", 3))).maps[-1].source
            wide = draw(st.sampled_from((1, 2, 5)))
            maps.append(FixedLinear(numbers.standard_normal((wide, across))))
            at = wide
        else:
            wide = draw(st.sampled_from((1, 2, 5)))
            kernel = space is GRID and at == "home" and draw(st.booleans())
            into, target = (Dense(), "home") if kernel else (wide, wide)
            maps.append(Linear(f"linear{n}", into, draw(st.sampled_from((1, -1)))))
            linears.append((f"linear{n}", at, target))
            at = target
            free += 1
    if at == "home" and not maps:
        maps.append(Offset("offset"))
    if at != "home" and space == 3:
        maps.append(Linear("last", 3))
    elif at != "home":
        name = next(n for n, _, target in reversed(linears) if target == at)
        source = next(s for n, s, _ in linears if n == name)
        maps.append(Adjoint(name))
        while source != "home":
            name, source = next((n, s) for n, s, target in linears if target == source)
            maps.append(Adjoint(name))
    return Chain(space, tuple(maps))


def relative(found, expected):
    """The largest difference of two controls, in units of the largest entry."""
    size = max([1e-3, *(float(np.abs(x).max()) for x in expected.values())])
    return max([0.0, *(float(np.abs(found[n] - expected[n]).max()) for n in expected)]) / size


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    drawn=st.sampled_from((1, 2, 9)).flatmap(lambda m: st.tuples(chains(m), st.just(m))),
    stepper=st.sampled_from(STEPPERS),
    in_time=st.sampled_from(("layers", "nodes", "static")),
    per_layer=st.integers(1, 3),
    running=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_compiled_is_generic(drawn, stepper, in_time, per_layer, running, seed):
    (network, samples), rng = drawn, np.random.default_rng(seed)
    units = len(network.weights)
    space = network.controls(TimeMesh(0.7, 3, 1.4), in_time=in_time)
    initial, target = rng.standard_normal((2, units, samples))
    problem = LearningProblem(
        network, initial, target, space, running=SquaredError() if running else None
    )
    objective = discretize(problem, stepper, per_layer)
    control, direction = space.random(rng, 0.5), space.random(rng, 0.5)
    assert Loop.of(network, control, stepper, initial) is not None

    def all_four():
        value, gradient = objective.value_and_gradient(control)
        final = integrate(network, control, initial, stepper, steps_per_layer=per_layer)
        return (
            value,
            gradient,
            objective.hvp(control, direction),
            objective.costates(control).states,
            final.trajectory.final,
        )

    compiled = all_four()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
        generic = all_four()
    assert compiled[0] == pytest.approx(generic[0], rel=1e-12)
    assert relative(compiled[1], generic[1]) < 1e-12
    assert relative(compiled[2], generic[2]) < 1e-12
    for ours, theirs in zip(compiled[3:], generic[3:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("samples", [1, 40])
def test_large_products_are_the_small_ones(samples, rng, monkeypatch):
    """Products by BLAS, of which there are none in the tests above."""
    maps = (Linear("w", 600, -1), Offset("a"), Pointwise(gelu), Adjoint("w"), Offset("b"))
    network = Chain(gauss_legendre(Interval(0.0, 1.0), 40), maps)
    space = network.controls(TimeMesh(0.5, 2), in_time="nodes")
    initial = rng.standard_normal((40, samples))
    objective = discretize(LearningProblem(network, initial, initial, space), Heun())
    control, direction = space.random(rng, 0.05), space.random(rng, 0.05)
    found = objective.gradient(control), objective.hvp(control, direction)
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    expected = objective.gradient(control), objective.hvp(control, direction)
    for ours, theirs in zip(found, expected, strict=True):
        assert relative(ours, theirs) < 1e-12


@pytest.mark.parametrize("fixed", ["w", "a"])
@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
def test_nothing_is_collected_for_fixed_blocks(fixed, in_time, rng, monkeypatch):
    """What stands for their cotangents, of no entries, lies here before others that must stay 0;
    elsewhere a write would land in memory of anything.
    """
    memory = np.zeros((8, 1, 1))
    monkeypatch.setattr("solvers.flow.lowering._absent", lambda dtype: memory[:0])
    network = Chain(3, (Linear("w", 4), Offset("a"), Pointwise(tanh), Adjoint("w")))
    value = rng.standard_normal((4, 3) if fixed == "w" else 4)
    space = network.controls(TimeMesh(1.0, 3), in_time=in_time, fixed={fixed: value})
    initial = rng.standard_normal((3, 2))
    objective = discretize(LearningProblem(network, initial, initial, space), Heun(), 2)
    control, direction = space.random(rng), space.random(rng)
    assert Loop.of(network, control, Heun(), initial) is not None
    objective.gradient(control)
    np.testing.assert_array_equal(memory, 0.0)
    objective.hvp(control, direction)
    np.testing.assert_array_equal(memory, 0.0)


@pytest.mark.parametrize(
    "stepper", [DormandPrince(rtol=1e-7, atol=1e-9), DOP853(rtol=1e-7, atol=1e-9)]
)
@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
def test_adaptive_steps_are_the_generic_ones(stepper, in_time, rng, monkeypatch):
    maps = (Linear("w", Dense(), -1), Offset("a"), Pointwise(gelu), Adjoint("w"), Offset("b"))
    network = Chain(GRID, maps)
    control = network.controls(TimeMesh(2.0, 3, 1.3), in_time=in_time).random(rng)
    initial = rng.standard_normal((3, 4))
    compiled = integrate(network, control, initial, stepper, save="steps")
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    generic = integrate(network, control, initial, stepper, save="steps")
    assert compiled.statistics["rejected"] == generic.statistics["rejected"]
    np.testing.assert_allclose(compiled.trajectory.times, generic.trajectory.times, rtol=1e-7)
    ours, theirs = compiled.trajectory.states, generic.trajectory.states
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-7)
    np.testing.assert_allclose(ours[-1], theirs[-1], rtol=0, atol=1e-9)


ADAPTIVE = (
    DormandPrince(rtol=1e-7, atol=1e-9),
    DOP853(rtol=1e-7, atol=1e-9),
    DOP853(rtol=1e-3, atol=1e-3, max_step=0.15),
)


@pytest.mark.parametrize("stepper", ADAPTIVE)
@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
@pytest.mark.parametrize("samples", [1, 4])
def test_attempts_in_one_call_are_the_generic_ones(stepper, in_time, samples, rng, monkeypatch):
    """Accepted and rejected attempts, the state after them and the times of all, looked at after
    every step, after every third one, and at the end.
    """
    maps = (Linear("w", Dense(), -1), Offset("a"), Pointwise(gelu), Adjoint("w"), Offset("b"))
    network = Chain(GRID, maps)
    control = network.controls(TimeMesh(2.0, 3, 1.3), in_time=in_time).random(rng, 3.0)
    initial = rng.standard_normal((3, samples))

    def run(every):
        record = Record("size", lambda snapshot: float(np.abs(snapshot.state).max()))
        monitors = [Monitor(record, EverySteps(every))] if every else []
        solution = integrate(network, control, initial, stepper, monitors=monitors)
        counts = solution.statistics["steps"], solution.statistics["rejected"]
        return solution.trajectory.final, counts, solution.history

    compiled = [run(every) for every in (1, 3, 0)]
    before = initial.copy()
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    generic = [run(every) for every in (1, 3, 0)]
    np.testing.assert_array_equal(initial, before)
    for ours, theirs in zip(compiled, generic, strict=True):
        assert ours[1] == theirs[1]
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9, atol=1e-9)
        for name, expected in theirs[2].items():
            np.testing.assert_allclose(ours[2][name], expected, rtol=1e-7)
    assert generic[0][1][0] > 6


@pytest.mark.parametrize("stepper", ADAPTIVE)
@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
@pytest.mark.parametrize("running", [None, SquaredError()])
def test_derivatives_on_accepted_steps_are_the_generic_ones(
    stepper, in_time, running, rng, monkeypatch
):
    maps = (Linear("w", Dense(), -1), Offset("a"), Pointwise(gelu), Adjoint("w"), Offset("b"))
    network = Chain(GRID, maps)
    space = network.controls(TimeMesh(2.0, 3, 1.3), in_time=in_time)
    initial, target = rng.standard_normal((2, 3, 4))
    problem = LearningProblem(network, initial, target, space, running=running)
    control, direction = space.random(rng, 2.0), space.random(rng)
    objective = discretize(problem, stepper)
    bounded = discretize(problem, stepper, memory=20_000)

    def derivatives(of):
        path = of.run(control)
        alone = of.value_and_gradient(control)
        assert path.value == pytest.approx(alone[0], rel=1e-13)
        assert of.value(control) == pytest.approx(alone[0], rel=1e-13)
        assert relative(path.gradient, alone[1]) < 1e-13
        return path.states, path.costates, path.gradient, of.hvp(control, direction), path.times

    sweeps, tape = objective.recorded(control)
    assert tape.record is not None
    compiled, steps = derivatives(objective), sweeps.steps
    assert relative(bounded.gradient(control), compiled[2]) < 1e-13
    # a generic run would choose steps that differ by rounding, so it is given these
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    chosen = adaptive_steps(problem, control, stepper, keep=False)[0]
    np.testing.assert_allclose(steps.start, chosen.start, rtol=1e-4)

    def these(problem, control, stepper, keep):
        advance = GenericAdvance(network, control, stepper, steps)
        return steps, advance(initial, 0, len(steps), keep)[2], stepper

    monkeypatch.setattr("solvers.adjoint.objective.adaptive_steps", these)
    generic = derivatives(objective)
    for ours, theirs in zip(compiled[:2], generic[:2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13 * np.abs(theirs).max())
    assert relative(compiled[2], generic[2]) < 1e-13
    assert relative(compiled[3], generic[3]) < 1e-13
    np.testing.assert_array_equal(compiled[4], generic[4])


@pytest.mark.parametrize("compiled", [True, False])
def test_an_adaptive_objective_that_blows_up_says_when(compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    network = Chain(1, (Linear("w", 1), Offset("a")))
    space = network.controls(TimeMesh(2000.0, 2))
    problem = LearningProblem(network, np.ones((1, 1)), np.ones((1, 1)), space)
    control = space.sample(w=1.0)
    objective = discretize(problem, DOP853(rtol=1e-6, atol=1e-6))
    assert objective.value(control) == np.inf
    with pytest.raises(SolveError) as failed:
        objective.run(control)
    solution = failed.value.solution
    assert solution.status is Status.NON_FINITE
    assert solution.trajectory.times[-1] == pytest.approx(709.78, abs=0.5)
    assert solution.detail == f"at t = {solution.trajectory.times[-1]:.6g}"
    t = solution.trajectory.times
    np.testing.assert_allclose(np.log(solution.trajectory.states[:, 0, 0]), t, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("compiled", [True, False])
def test_attempts_in_one_call_end_as_the_generic_ones(compiled, monkeypatch):
    """The cap on steps, a solution that overflows, and one that asks for no step at all."""
    if not compiled:
        monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    network = Chain(2, (Linear("w", 2),))
    stepper, initial = DOP853(rtol=1e-8, atol=1e-10), np.ones((2, 1))

    def run(size, horizon, most=5000):
        control = network.control(TimeMesh(horizon, 1), w=size * np.eye(2))
        return integrate(network, control, initial, stepper, max_steps=most, raise_on_failure=False)

    capped = run(1.0, 40.0, 3)
    assert capped.status is Status.MAX_STEPS
    assert capped.statistics["steps"] == 3
    t = capped.trajectory.times[-1]
    assert capped.detail == f"3 steps, at t = {t:.6g}"
    np.testing.assert_allclose(capped.trajectory.final, np.exp(t), rtol=1e-7)
    enough = run(1.0, 1.0)
    steps = int(enough.statistics["steps"])
    assert enough.status is Status.FINISHED
    assert run(1.0, 1.0, steps).status is Status.FINISHED
    assert run(1.0, 1.0, steps - 1).status is Status.MAX_STEPS

    blown = run(1.0, 1000.0)
    assert blown.status is Status.NON_FINITE
    t = blown.trajectory.times[-1]
    assert np.all(np.isfinite(blown.trajectory.final))
    assert t == pytest.approx(709.78, abs=0.5)
    assert blown.detail == f"at t = {t:.6g}"
    with np.errstate(over="ignore"):
        still = run(1e308, 1.0)
    assert still.status is Status.STEP_UNDERFLOW
    assert still.statistics["steps"] == 0
    np.testing.assert_array_equal(still.trajectory.final, initial)


def test_one_attempt_is_the_generic_one(rng):
    """State, slopes and scaled error, where the estimates are far above rounding."""
    network = Chain(GRID, (Linear("w", Dense()), Offset("a"), Pointwise(arctan)))
    control = network.controls(TimeMesh(2.0, 2), in_time="nodes").random(rng, 3.0)
    f, w = rng.standard_normal((3, 4)), network.weights
    for stepper in (DormandPrince(rtol=1e-3, atol=1e-2), DOP853(rtol=1e-3, atol=1e-2)):
        loop, pair = Loop.of(network, control, stepper, f), pair_of(stepper, w)
        assert loop is not None
        assert pair is not None

        def slope(t, g):
            return network.velocity(g, control.at_layer(1, t), t)

        first = loop.slope(f, 1, 0.1)
        np.testing.assert_allclose(first, slope(1.1, f), rtol=0, atol=1e-14)
        state, slopes, error = loop.attempt(pair, f, first, (1, 0.8, 0.1, 0.8))
        expected = _attempt(slope, stepper, 1.1, 0.8, f, first, w)
        np.testing.assert_allclose(state, expected[0], rtol=0, atol=1e-13)
        np.testing.assert_allclose(slopes, expected[1], rtol=0, atol=1e-13)
        assert error > 1e-3
        assert error == pytest.approx(expected[2], rel=1e-9)


def timed(rng, samples, shared=False):
    """A field of states, data and time, with a fixed matrix."""
    maps = (
        Inputs(True, rng.standard_normal((2, 1 if shared else samples))),
        Linear("w", 4, -1),
        Offset("a"),
        Pointwise(gelu),
        Linear("v", 2),
        FixedLinear(rng.standard_normal((3, 2))),
    )
    return Chain(3, maps)


@pytest.mark.parametrize("stepper", [Heun(), *ADAPTIVE])
@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
@pytest.mark.parametrize("shared", [True, False])
def test_data_and_time_are_the_generic_ones(stepper, in_time, shared, rng, monkeypatch):
    """Runs, with attempts one by one and many in a call; and gradients from several tapes."""
    network, initial = timed(rng, 4, shared), rng.standard_normal((3, 4))
    control = network.controls(TimeMesh(2.0, 6, 1.3), in_time=in_time).random(rng, 0.5)
    problem = LearningProblem(network, initial, 0.5 * initial, control.space)

    def run(save):
        return integrate(network, control, initial, stepper, save=save).trajectory

    ours = run("steps"), run("final")
    assert Loop.of(network, control, stepper, initial) is not None
    gradients = [discretize(problem, stepper, memory=m).gradient(control) for m in (None, 6000)]
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    generic = run("steps")
    atol = (1e-5, 1e-8) if stepper.adaptive else (1e-13, 1e-13)  # the steps differ by rounding
    np.testing.assert_allclose(ours[0].times, generic.times, rtol=0, atol=atol[0])
    np.testing.assert_allclose(ours[0].states, generic.states, rtol=0, atol=atol[0])
    np.testing.assert_allclose(ours[1].final, generic.final, rtol=0, atol=atol[1])
    assert relative(gradients[1], gradients[0]) < 1e-13
    if not stepper.adaptive:
        assert relative(gradients[0], discretize(problem, stepper).gradient(control)) < 1e-13


def test_a_constant_control_of_functions_runs_compiled(rng, monkeypatch):
    network, initial = timed(rng, 4), rng.standard_normal((3, 4))
    values = {b.name: rng.standard_normal(b.shape) for b in network.blocks()}
    control = network.control(TimeMesh(1.5, 3), **values)
    assert Loop.of(network, control, RK4(), initial) is not None
    ours = integrate(network, control, initial, RK4()).trajectory.final
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    generic = integrate(network, control, initial, RK4()).trajectory.final
    np.testing.assert_allclose(ours, generic, rtol=0, atol=1e-13)


@pytest.mark.parametrize("in_time", ["layers", "static"])
def test_feedback_on_a_field_of_data_is_the_generic_one(in_time, rng, monkeypatch):
    """The model of a chain with data, and its roll-outs, take the generic path."""
    network, initial = timed(rng, 4), rng.standard_normal((3, 4))
    space = network.controls(TimeMesh(1.0, 3), in_time=in_time)
    problem = LearningProblem(network, initial, 0.5 * initial, space, penalty=Tikhonov(1e-2))
    start = space.random(rng, 0.3)

    def found():
        return minimize(
            discretize(problem, Heun()),
            RiccatiNewton(max_iterations=3),
            initial=start,
            raise_on_failure=False,
        )

    ours = found()
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    generic = found()
    assert ours.objective < discretize(problem, Heun()).value(start)
    assert relative(ours.control, generic.control) < 1e-9


def test_what_is_no_chain_of_dense_maps_stays_generic(rng):
    line = Chain(3, (Linear("w", 3), Pointwise(tanh)))
    odd = user_activation(
        "odd", np.sin, np.cos, lambda s: -np.sin(s), lambda s: 1.0 - np.cos(s), lipschitz=1.0
    )
    assert lower(line) is not None
    assert lower(line) is lower(line)
    assert lower(Chain(3, (Linear("w", 3), Pointwise(odd)))) is None
    assert lower(Chain(3, (Linear("w", 3), NormBound(1.0)))) is None
    assert lower(Chain(3, (Inputs(time=True), Pointwise(tanh), Linear("w", 3)))) is None
    many = tuple(m for n in range(9) for m in (Linear(f"w{n}", 3), Offset(f"b{n}")))
    assert lower(Chain(3, many)) is None
    path = line.control(TimeMesh(1.0, 2), w=lambda t: t * np.eye(3))
    assert Loop.of(line, path, Euler(), rng.standard_normal((3, 2))) is None


def test_one_compilation_serves_all():
    loops = (
        chain_loops.advance,
        chain_adjoint.adjoint,
        chain_loops.attempt,
        adaptive_loops.march,
        chain_loops.slope_at,
        chain_second_order.tangent,
        chain_second_order.second_order,
        chain_linear_quadratic.linearize,
    )
    for loop in loops:
        assert len(loop.signatures) <= 1


BOUNDS = """
import numpy as np
from continuum import LearningProblem, SquaredError, TimeMesh, gelu, tanh
from continuum.networks import Adjoint, Chain, FixedLinear, Inputs, Linear, Offset, Pointwise
from solvers import Heun, discretize
from solvers.adjoint.linear_quadratic import linearize

rng = np.random.default_rng(1)
maps = (Offset("o"), Pointwise(tanh), Linear("w", 4), Offset("b"), Pointwise(gelu), Adjoint("w"))
fixed = FixedLinear(rng.standard_normal((3, 5)))
below = [Inputs(True, rng.standard_normal((2, samples))) for samples in (1, 2)]
networks = [Chain(3, maps)] + [Chain(3, (b, Linear("w", 5), Pointwise(gelu), fixed)) for b in below]
for in_time in ("layers", "nodes", "static"):
    for network, samples in zip(networks + networks[:1], (1, 1, 2, 2)):
        space = network.controls(TimeMesh(1.0, 2), in_time=in_time)
        f = rng.standard_normal((3, samples))
        problem = LearningProblem(network, f, f, space, running=SquaredError())
        objective = discretize(problem, Heun(), 2)
        control = space.random(rng)
        objective.value_and_gradient(control)
        objective.hvp(control, control)
        if in_time != "nodes":
            linearize(objective, control)
            linearize(discretize(problem, Heun(), 2, "steps"), control)
        other = network.controls(TimeMesh(1.0, 1), in_time=in_time).random(rng)
        if in_time != "static":
            try:
                objective.value_and_gradient(other)
            except ValueError:
                continue
            raise SystemExit("a control of another mesh was taken")
print("done")
"""


@pytest.mark.slow
def test_loops_stay_inside_their_arrays(tmp_path):
    """Once with Numba's check of every index."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    root = Path(__file__).parent.parent
    run = subprocess.run(
        [sys.executable, "-c", BOUNDS], cwd=root, env=environment, capture_output=True, text=True
    )
    assert run.stdout == "done\n", run.stderr
