"""Switching times as unknowns: exact derivatives, closed forms, and times that stay in order."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    L1,
    Affine,
    Chain,
    LearningProblem,
    Linear,
    NeuralODE,
    NeuralODE2,
    Projection,
    SquaredError,
    Staged,
    Switched,
    Tikhonov,
    TimeMesh,
    Tracking,
    check_derivatives,
    padding,
    tanh,
)
from continuum.staging import PacedCost
from solvers import LBFGS, RK4, SolveError, discretize, integrate, minimize
from solvers.run.status import Status
from solvers.steps.tableaux import Euler

TURN, SHRINK = np.array([[0.0, -1.0], [1.0, 0.0]]), -np.eye(2)


def fixed_fields(target, layers=20):
    """x' = turning about 0, then shrinking to it, from (1, 0): minimise |x(T) - target|^2."""
    modes = tuple(Chain(2, (Linear("w", 2),)) for _ in range(2))
    network = Switched(modes, (0.75,), horizon=1.5)
    fixed = {"stage0.w": TURN, "stage1.w": SHRINK}
    space = network.controls(TimeMesh(1.5, layers), fixed=fixed)
    return LearningProblem(network, np.array([[1.0], [0.0]]), target, space)


def wide(rng):
    network = Switched(
        (NeuralODE(2, tanh), NeuralODE2(3, tanh), NeuralODE(3, tanh)),
        (0.5, 1.0),
        (padding(2, 3), np.eye(3)),
        horizon=2.0,
    )
    penalised = [f"stage{s}.{b}" for s in range(3) for b in ("weight", "bias")]
    return LearningProblem(
        network,
        rng.standard_normal((2, 4)),
        rng.standard_normal((3, 4)),
        TimeMesh(2.0, 8),
        penalty=Tikhonov(0.1, penalised),
    )


def some(problem, rng, times=(0.6, 1.1)):
    return problem.space.random(rng, 0.7).replaced(**{"switch.times": np.array(times)})


@pytest.mark.parametrize("stepper", [Euler(), RK4()])
@pytest.mark.parametrize("running", [False, True])
def test_derivatives_are_exact_in_the_times_too(rng, stepper, running):
    problem = wide(rng)
    if running:
        cost = Tracking(SquaredError(0.5), Projection(rng.standard_normal((3, 3))))
        one = Switched((NeuralODE(3, tanh), NeuralODE2(3, tanh)), (0.5,), horizon=2.0)
        names = ["stage0.weight", "stage1.weight", "stage1.bias"]
        x, y = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
        problem = LearningProblem(
            one, x, y, TimeMesh(2.0, 8), running=cost, penalty=Tikhonov(0.1, names)
        )
    objective, space = discretize(problem, stepper), problem.space
    control = some(problem, rng, (0.6, 1.1)[: 1 if running else 2])
    only_times = space.zeros().replaced(
        **{"switch.times": rng.standard_normal(control["switch.times"].shape)}
    )
    for direction in (only_times, space.random(rng) + only_times):
        value, gradient = objective.value_and_gradient(control)
        assert value == pytest.approx(objective.value(control), rel=1e-15)
        first = space.inner(gradient, direction)
        bend = 0.5 * space.inner(objective.hvp(control, direction), direction)
        steps = 0.004 * 0.5 ** np.arange(4)
        moved = np.array([objective.value(control + e * direction) for e in steps])
        straight = np.abs(moved - value - steps * first)
        curved = np.abs(moved - value - steps * first - steps**2 * bend)
        np.testing.assert_allclose(np.log2(straight[:-1] / straight[1:]), 2.0, atol=0.2)
        np.testing.assert_allclose(np.log2(curved[:-1] / curved[1:]), 3.0, atol=0.2)
    other = space.random(rng)
    a = space.inner(objective.hvp(control, other), direction)
    assert a == pytest.approx(space.inner(objective.hvp(control, direction), other), rel=1e-11)


def test_at_its_own_changes_it_is_the_staged_network(rng):
    problem = wide(rng)
    control = some(problem, rng, (0.5, 1.0))
    network = problem.network
    plain = Staged(
        tuple(stage.network for stage in network.stages), network.changes, network.transfers
    )
    staged = replace(problem, network=plain, controls=TimeMesh(2.0, 8))
    same = staged.space.sample(**{name: control[name] for name in staged.space.zeros()})
    assert discretize(problem).value(control) == pytest.approx(
        discretize(staged).value(same), rel=1e-14
    )


def test_costs_are_integrals_over_the_time_that_is_meant(rng):
    """The same system on the clock where its times are the changes of the network."""
    cost = SquaredError(0.5)
    x, y = rng.standard_normal((2, 4)), rng.standard_normal((2, 4))

    def on(change):
        network = Switched((NeuralODE(2, tanh), NeuralODE2(2, tanh)), (change,), horizon=2.0)
        mesh = TimeMesh.through([*np.linspace(0.0, change, 5), *np.linspace(change, 2.0, 5)[1:]])
        names = [f"stage{s}.{b}" for s in range(2) for b in ("weight", "bias")]
        penalty = Tikhonov(0.3, names)
        return LearningProblem(network, x, y, mesh, running=cost, penalty=penalty)

    first, second = on(0.5), on(1.4)
    control = some(first, rng, (1.4,))
    again = second.space.sample(**dict(control.items()))
    for stepper in (Euler(), RK4()):
        assert discretize(first, stepper).value(control) == pytest.approx(
            discretize(second, stepper).value(again), rel=1e-13
        )
    np.testing.assert_allclose(
        first.network.clock(control, first.mesh.nodes), second.mesh.nodes, rtol=1e-14
    )


def test_switching_times_are_found():
    """Turning for 0.8 and shrinking for 0.7: the only times whose endpoint is this one."""
    target = np.exp(-0.7) * np.array([[np.cos(0.8)], [np.sin(0.8)]])
    problem = fixed_fields(target)
    assert list(problem.space.zeros()) == ["switch.times"]
    start = problem.space.sample(**{"switch.times": np.array([0.3])})
    best = minimize(discretize(problem, RK4()), LBFGS(gtol=1e-10), initial=start)
    # RK4 of 10 layers on each stage
    assert best.control["switch.times"][0] == pytest.approx(0.8, abs=1e-6)
    assert best.objective < 1e-12
    ran = integrate(problem.network, best.control, problem.initial, RK4())
    np.testing.assert_allclose(ran.trajectory.final, target, atol=1e-6)


@pytest.mark.parametrize("times", [[0.0], [-0.2], [1.5], [2.0]])
def test_times_out_of_order_are_named(times):
    problem = fixed_fields(np.zeros((2, 1)))
    objective = discretize(problem)
    control = problem.space.sample(**{"switch.times": np.array(times)})
    assert objective.value(control) == np.inf
    with pytest.raises(SolveError, match=r"switch.times must increase inside \(0, 1.5\)") as found:
        objective.gradient(control)
    assert found.value.solution.status is Status.TIMES_OUT_OF_ORDER
    with pytest.raises(ValueError, match=r"switch\.times must increase"):
        integrate(problem.network, control, problem.initial, RK4())
    with pytest.raises(ValueError, match=r"switch\.times must increase"):
        problem.network.clock(control, [0.0])


def test_the_pace_is_a_network_with_exact_derivatives(rng):
    stage = wide(rng).network.stages[1]
    values = {b.name: rng.standard_normal(b.shape) for b in stage.blocks()}
    values["switch.times"] = np.array([0.6, 1.3])
    check_derivatives(stage, values=values, rng=rng, raise_on_failure=True)


@pytest.mark.parametrize("readout", [Projection(np.ones((1, 3))), Affine(2)])
def test_the_cost_of_a_stage_has_exact_derivatives(rng, readout):
    """At one point and at many."""
    stage = wide(rng).network.stages[1]
    outputs = len(readout.measure(stage))
    tracking = Tracking(SquaredError(0.5), readout, rng.standard_normal((outputs, 3)))
    values = {b.name: rng.standard_normal(b.shape) for b in stage.blocks()}
    values |= {b.name: rng.standard_normal(b.shape) for b in readout.blocks(stage)}
    values["switch.times"] = np.array([0.6, 1.3])
    blocks = (*stage.blocks(), *readout.blocks(stage))
    for cost in (PacedCost(tracking, {"weight": 0.3, "bias": 0.2}), PacedCost(None, {"bias": 1.0})):
        own = {b.name for b in (*stage.blocks(), *cost.blocks(stage))}
        known = {name: x for name, x in values.items() if name in own}
        report = check_derivatives(cost, stage, values=known, rng=rng)
        # other random times are out of order: many points are compared below
        assert [check.what for check in report.failures] == ["broadcasts"]
        f, df = rng.standard_normal((2, 2, 3, 3))
        c, dc = ({b.name: rng.standard_normal((2, *b.shape)) for b in blocks} for _ in range(2))
        c["switch.times"] = np.array([[0.6, 1.3], [0.1, 1.9]])
        q, t = np.array([0.2, 0.3, 0.5]), np.array([0.0, 0.1])
        together = (
            cost.density(stage, f, c, t),
            *_flat(cost.vjp(stage, f, c, t, q)),
            *_flat(cost.vjp_derivative(stage, f, c, t, q, df, dc)),
        )
        for n in range(2):
            here, along = ({k: x[n] for k, x in given.items()} for given in (c, dc))
            alone = (
                cost.density(stage, f[n], here, 0.0),
                *_flat(cost.vjp(stage, f[n], here, 0.0, q)),
                *_flat(cost.vjp_derivative(stage, f[n], here, 0.0, q, df[n], along)),
            )
            for many, one in zip(together, alone, strict=True):
                np.testing.assert_allclose(many[n], one, rtol=1e-13, atol=1e-14)


def _flat(found):
    state, blocks = found
    return [state, *(blocks[name] for name in sorted(blocks))]


def test_bad_input_is_named(rng):
    modes = (NeuralODE(2, tanh), NeuralODE(2, tanh))
    with pytest.raises(ValueError, match="at least two"):
        Switched(modes[:1], (), horizon=1.0)
    with pytest.raises(ValueError, match=r"changes must lie in \(0, 1\)"):
        Switched(modes, (1.0,), horizon=1.0)
    network = Switched(modes, (0.5,), horizon=1.0)
    with pytest.raises(ValueError, match="the mesh must have the horizon 1"):
        network.controls(TimeMesh(2.0, 4))
    x, y = np.ones((2, 1)), np.zeros((2, 1))
    problem = LearningProblem(network, x, y, TimeMesh(1.0, 4))
    with pytest.raises(TypeError, match="must be quadratic"):
        minimize(replace(problem, penalty=L1(0.1)), LBFGS())
    nodes = network.controls(TimeMesh(1.0, 4), in_time="nodes")
    with pytest.raises(ValueError, match="constant on layers"):
        discretize(replace(problem, controls=nodes, penalty=Tikhonov(0.1)))
    moving = Tracking(SquaredError(), target=lambda t: y)
    with pytest.raises(TypeError, match="does not move"):
        discretize(replace(problem, running=moving))
