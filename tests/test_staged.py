"""Networks in stages of several widths: runs, exact derivatives, and what widening is worth."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from continuum import (
    Chain,
    Control,
    Dense,
    Interval,
    LearningProblem,
    Linear,
    NeuralODE,
    NeuralODE2,
    Offset,
    Pointwise,
    Projection,
    SquaredError,
    Staged,
    Stagewise,
    Tikhonov,
    TimeMesh,
    Tracking,
    midpoint,
    padding,
    tanh,
)
from continuum.transfers import prolongation, restriction
from solvers import (
    LBFGS,
    RK4,
    DormandPrince,
    ImplicitMidpoint,
    RiccatiNewton,
    SolveError,
    discretize,
    integrate,
    integrate_stages,
    minimize,
)
from solvers.adjoint.discretize import StagedObjective
from solvers.adjoint.linearised import SecondOrder
from solvers.steps.tableaux import Euler


def field(cells):
    """z_t = tanh(int w z + b) on (0, 1)."""
    grid = midpoint(Interval(0.0, 1.0), cells)
    return Chain(grid, (Linear("kernel", Dense()), Offset("bias"), Pointwise(tanh)))


def widths(*cells, changes=None):
    """The same on grids one after the other."""
    stages = [field(n) for n in cells]
    grids = [stage.grid for stage in stages]
    transfers = [
        (prolongation if len(b) >= len(a) else restriction)(a, b) for a, b in pairwise(grids)
    ]
    changes = changes or [0.25 * (s + 1) for s in range(len(cells) - 1)]
    return Staged(stages, changes, transfers)


def problem_on(network, rng, mesh, **given):
    x = rng.standard_normal((len(network.stages[0].weights), 3))
    y = rng.standard_normal((2, 3))
    readout = Projection(rng.standard_normal((2, len(network.weights))))
    return LearningProblem(network, x, y, mesh, readout=readout, penalty=Tikhonov(0.1), **given)


def slopes(objective, control, direction, second=False):
    """log2 of the ratios of Taylor's remainders at steps halved."""
    value, gradient = objective.value_and_gradient(control)
    space = objective.space
    first = space.inner(gradient, direction)
    bend = 0.5 * space.inner(objective.hvp(control, direction), direction) if second else 0.0
    steps = 0.1 * 0.5 ** np.arange(4)
    remainders = [
        abs(objective.value(control + e * direction) - value - e * first - e * e * bend)
        for e in steps
    ]
    return np.log2(np.array(remainders[:-1]) / np.array(remainders[1:]))


def test_a_stage_change_by_the_identity_changes_nothing(rng):
    one, mesh = NeuralODE(3, tanh), TimeMesh(1.5, 12)
    staged = Staged((one, one, one), (0.5, 0.75), (np.eye(3), np.eye(3)))
    whole = problem_on(Staged((one,), (), ()), rng, mesh, running=SquaredError(0.3))
    split = replace(whole, network=staged, controls=mesh)
    plain = replace(whole, network=one, controls=mesh)
    control = plain.space.random(rng)
    cut = {0: slice(0, 4), 1: slice(4, 6), 2: slice(6, 12)}
    parted = Control(
        split.space, {f"stage{s}.{n}": x[k] for s, k in cut.items() for n, x in control.items()}
    )
    along = plain.space.random(rng)
    beside = Control(
        split.space, {f"stage{s}.{n}": x[k] for s, k in cut.items() for n, x in along.items()}
    )
    for stepper in (Euler(), RK4(), ImplicitMidpoint()):
        a, b = discretize(plain, stepper), discretize(split, stepper)
        (v, g), (w, h) = a.value_and_gradient(control), b.value_and_gradient(parted)
        assert w == pytest.approx(v, rel=1e-14)
        assert b.value(parted) == pytest.approx(v, rel=1e-14)
        bent, curved = a.hvp(control, along), b.hvp(parted, beside)
        for s, k in cut.items():
            for name in g:
                np.testing.assert_allclose(h[f"stage{s}.{name}"], g[name][k], rtol=0, atol=2e-14)
                np.testing.assert_allclose(
                    curved[f"stage{s}.{name}"], bent[name][k], rtol=0, atol=2e-14
                )
        ran = integrate(staged, parted, plain.initial, stepper)
        straight = integrate(one, control, plain.initial, stepper)
        np.testing.assert_allclose(
            ran.trajectory.final, straight.trajectory.final, rtol=0, atol=1e-14
        )
    assert b.space.norm(parted) == pytest.approx(a.space.norm(control), rel=1e-14)


@pytest.mark.parametrize("stepper", [Euler(), RK4(), ImplicitMidpoint()])
@pytest.mark.parametrize("time", ["layers", "nodes"])
def test_derivatives_are_exact_through_changes_of_width(rng, stepper, time):
    network = widths(3, 5, 2)
    mesh = TimeMesh(1.0, 8)
    space = network.controls(mesh, in_time=time)
    problem = problem_on(network, rng, space)
    objective = discretize(problem, stepper)
    control, direction = space.random(rng), space.random(rng)
    np.testing.assert_allclose(slopes(objective, control, direction), 2.0, atol=0.15)
    np.testing.assert_allclose(slopes(objective, control, direction, True), 3.0, atol=0.15)
    other = space.random(rng)
    a = space.inner(objective.hvp(control, direction), other)
    assert a == pytest.approx(space.inner(objective.hvp(control, other), direction), rel=1e-11)


def test_derivatives_with_a_cost_on_the_way_and_accepted_steps(rng):
    def goal(t):
        return np.array([[np.cos(t)], [t]]) * np.ones((2, 3))

    network = widths(3, 3)
    moving = Tracking(SquaredError(0.4), Projection(rng.standard_normal((2, 3))), goal)
    problem = problem_on(network, rng, TimeMesh(1.0, 4), running=moving)
    control, direction = problem.space.random(rng), problem.space.random(rng)
    objective = discretize(problem, Euler(), 2, "steps")
    np.testing.assert_allclose(slopes(objective, control, direction, True), 3.0, atol=0.15)
    one = field(3)
    same = replace(network, transfers=(np.eye(3),))
    plain = replace(problem, network=one, controls=TimeMesh(1.0, 4))
    split = replace(problem, network=same, controls=TimeMesh(1.0, 4))
    whole = plain.space.random(rng)
    cut = {0: slice(0, 1), 1: slice(1, 4)}
    parted = Control(
        split.space, {f"stage{s}.{n}": x[k] for s, k in cut.items() for n, x in whole.items()}
    )
    assert discretize(split).value(parted) == pytest.approx(
        discretize(plain).value(whole), rel=1e-13
    )
    pair = DormandPrince(rtol=1e-10, atol=1e-10)
    exact, fine = discretize(problem, pair), discretize(problem, RK4(), 40)
    terminal = integrate(network, control, problem.initial, pair).trajectory.final
    assert terminal.shape == (3, 3)
    g, h = exact.gradient(control), fine.gradient(control)
    for name in g:
        np.testing.assert_allclose(g[name], h[name], rtol=0, atol=5e-9)


@pytest.mark.parametrize("stepper", [Euler(), RK4()])
def test_adjoint_identity_through_a_transfer(rng, stepper):
    """<dz, p> at the end of a run is <dz, p> at its beginning, in the weights of both widths."""
    network = widths(4, 6)
    problem = problem_on(network, rng, TimeMesh(1.0, 4))
    control = problem.space.random(rng)
    objective = discretize(problem, stepper)
    zero = problem.space.zeros()
    runs = objective._forward(control)
    change = first = rng.standard_normal((4, 3))
    for s, (sweeps, tape) in enumerate(runs):
        change = network.transfer(s, change) if s else change
        along = network.part(zero, s, objective.parts[s].space)
        second = SecondOrder(sweeps, tape)
        second.along(along, change)
        change = second.dstates[len(tape.steps)]
    end = rng.standard_normal((6, 3))
    p = end
    for s in (1, 0):
        sweeps, tape = runs[s]
        none = replace(objective.parts[s].problem, running=None, terminal=None)
        bare = discretize(none, stepper).sweeps(network.part(control, s, none.space))
        along = network.part(zero, s, none.space)
        total = none.space.cotangents(p)
        second = SecondOrder(bare, tape)
        second.along(along)
        p, _ = second.collect(total, (p, 0.0 * p))
        p = network.transfer_adjoint(s, p) if s else p
    before, after = (stage.weights[:, None] for stage in network.stages)
    assert np.sum(before * first * p) == pytest.approx(np.sum(after * change * end), rel=1e-13)


def test_functions_of_time_are_those_of_the_whole():
    network = widths(8, 8)
    mesh = TimeMesh(1.0, 8)

    def bias(y, t):
        return np.sin(3.0 * t) + y

    one = field(8)
    straight = integrate(one, one.control(mesh, bias=bias), np.ones((8, 1)), RK4())
    control = network.control(mesh, **{"stage0.bias": bias, "stage1.bias": bias})
    same = replace(network, transfers=(np.eye(8),))
    found = integrate(same, control, np.ones((8, 1)), RK4())
    np.testing.assert_allclose(
        found.trajectory.final, straight.trajectory.final, rtol=0, atol=1e-13
    )
    runs = integrate_stages(same, control, np.ones((8, 1)), RK4(), save="layers")
    assert [run.trajectory.times[0] for run in runs] == [0.0, 0.25]
    assert runs[-1].trajectory.times[-1] == 1.0
    sampled = network.controls(mesh).sample(**{"stage1.bias": lambda y, t: t + 0.0 * y})
    np.testing.assert_allclose(sampled["stage1.bias"][:, 0], mesh.nodes[2:-1] + 0.0625, rtol=1e-14)


def corners(units):
    x = np.zeros((units, 4))
    x[:2] = [[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]]
    return x


def test_optimal_values_do_not_increase_with_the_width():
    """Zero padding embeds R^2 in R^3, so each control has an image with the same J; and the rank
    that the third coordinate adds lowers the least J found, for flows (RK4) with a cost on the way.
    """
    x, mesh = corners(2), TimeMesh(4.0, 16)
    narrow = LearningProblem(
        NeuralODE2(2, tanh),
        x,
        x[:1] * x[1:2],
        mesh,
        readout=Projection(np.eye(1, 2)),
        terminal=None,
        running=SquaredError(1.0),
        penalty=Tikhonov(0.02),
    )
    staged = Staged((NeuralODE2(2, tanh), NeuralODE2(3, tanh)), (0.25,), (padding(2, 3),))
    readout = Stagewise((Projection(np.eye(1, 2)), Projection(np.eye(1, 3))))
    wider = replace(narrow, network=staged, controls=mesh, readout=readout)

    def least(problem):
        rng, objective = np.random.default_rng(0), discretize(problem, RK4())
        starts = [problem.space.random(rng, 1.5) for _ in range(4)]
        ends = [minimize(objective, LBFGS(gtol=1e-5), initial=start) for start in starts]
        return min(ends, key=lambda end: end.objective)

    best, r = least(narrow), padding(2, 3)
    weight, bias = best.control["weight"], best.control["bias"]
    image = Control(
        wider.space,
        {
            "stage0.weight": weight[:1],
            "stage0.bias": bias[:1],
            "stage1.weight": r @ weight[1:] @ r.T,
            "stage1.bias": bias[1:] @ r.T,
        },
    )
    assert discretize(wider, RK4()).value(image) == pytest.approx(best.objective, rel=1e-14)
    assert least(wider).objective < best.objective - 1e-2


def test_a_stage_that_fails_says_where():
    network, mesh = widths(3, 3, changes=[0.5]), TimeMesh(1.0, 4)
    unstable = Chain(2, (Linear("w", 2),))
    staged = Staged((unstable, unstable), (0.5,), (np.eye(2),))
    problem = LearningProblem(staged, np.ones((2, 1)), np.zeros((2, 1)), mesh)
    control = problem.space.sample(**{"stage1.w": 1e200 * np.eye(2)})
    assert discretize(problem).value(control) == np.inf
    with pytest.raises(SolveError, match="stage 1"):
        discretize(problem).gradient(control)
    with pytest.raises(SolveError, match=r"stage 1, from t = 0\.5"):
        integrate(staged, control, problem.initial, Euler())
    assert (
        len(integrate_stages(staged, control, problem.initial, Euler(), raise_on_failure=False))
        == 2
    )
    del network


def test_bad_input_is_named(rng):
    one, two = NeuralODE(2, tanh), NeuralODE(3, tanh)
    r = padding(2, 3)
    with pytest.raises(ValueError, match="transfer 1"):
        Staged((one, two), (0.5,), (r.T,))
    with pytest.raises(ValueError, match="changes must be 1 increasing"):
        Staged((one, two), (), (r,))
    with pytest.raises(ValueError, match="transfers must be 1"):
        Staged((one, two), (0.5,), ())
    with pytest.raises(TypeError, match="none of them staged"):
        Staged((Staged((one,), (), ()), two), (0.5,), (r,))
    network = Staged((one, two), (0.5,), (r,))
    with pytest.raises(ValueError, match=r"no node at t = 0.5"):
        network.controls(TimeMesh(1.0, 3))
    with pytest.raises(TypeError, match="one velocity for each stage"):
        network.velocity(np.ones((2, 1)), {}, 0.0)
    problem = problem_on(network, rng, TimeMesh(1.0, 4))
    objective = discretize(problem)
    assert isinstance(objective, StagedObjective)
    with pytest.raises(TypeError, match="integrate_stages"):
        objective.run(problem.space.zeros())
    with pytest.raises(ValueError, match="memory must be None"):
        discretize(problem, memory=10**6)
    with pytest.raises(ValueError, match="save must be 'final'"):
        integrate(network, problem.space.zeros(), problem.initial, Euler(), save="layers")


def test_models_of_one_width_refuse_a_change_of_it():
    """Newton's method by one sweep: the refusal names the network."""
    staged = Staged((NeuralODE2(2, tanh), NeuralODE2(3, tanh)), (0.5,), (padding(2, 3),))
    problem = LearningProblem(staged, np.ones((2, 1)), np.zeros((3, 1)), TimeMesh(1.0, 4))
    with pytest.raises(ValueError, match="network must keep its width"):
        minimize(problem, RiccatiNewton())
