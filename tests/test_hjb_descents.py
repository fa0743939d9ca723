"""Descents in speeds, their compiled loops, and the exact merging of equal units."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    AbsoluteError,
    Ball,
    Box,
    Control,
    LearningProblem,
    SquaredError,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    identity,
    midpoint,
    relu,
    sigmoid,
    tanh,
)
from continuum.networks import Chain, Linear, Offset, Pointwise
from solvers import evaluate, minimize
from solvers.adjoint.discretize import discretize
from solvers.descent.riccati_newton import RiccatiNewton
from solvers.hjb import speed_loops
from solvers.hjb.descents import descend, descend_values, lowered
from solvers.hjb.merging import merge_units
from solvers.hjb.separable import separable
from solvers.hjb.speeds import Speeds
from studies.liu_markowich.paper import boxed
from studies.shared import UNIT

ONE_SWITCH, TWO_MIRRORED = 0.4235585550392474, 0.1311701244888148
"""The least costs of LM-54 and LM-55."""


def problems() -> dict[str, LearningProblem]:
    plain = boxed([0.5, 0.4], [4.0, 0.0], layers=12)
    lopsided = Box(bias=(-0.7, 1.0), kernel=(-0.4, 1.2))
    tracked = Tracking(SquaredError(0.3), target=np.array([[1.0], [-1.0]]))
    chain = Chain(2, (Pointwise(tanh), Linear("w", 2), Offset("b"), Pointwise(sigmoid)))
    inner = LearningProblem(
        chain,
        np.array([[0.3], [-0.2]]),
        np.array([[1.0], [2.0]]),
        TimeMesh(1.5, 9, grading=1.1),
        admissible=Box(w=(-1.0, 0.5), b=(-0.2, 1.0)),
    )
    network = WidthDepth(midpoint(UNIT, 3), tanh)
    whole = LearningProblem(
        network,
        np.array([[0.3], [0.1], [-0.5]]),
        np.array([[1.0], [0.0], [1.0]]),
        TimeMesh(1.0, 6),
        penalty=Tikhonov(1.0),
    )
    box = Box(bias=(-1.0, 0.5))
    moving = whole.space.sample(kernel=lambda y, z, t: np.cos(3.0 * t + y + 3.0 * z))
    still = whole.space.sample(kernel=lambda y, z: np.cos(y + 3.0 * z))
    timed, held = (
        replace(whole.holding(c, ["kernel"])[0], penalty=None, admissible=box)
        for c in (moving, still)
    )
    constant = network.controls(TimeMesh(1.0, 6), fixed={"kernel": lambda y, z: np.cos(y + 3 * z)})
    return {
        "identity": plain,
        "tracking": replace(plain, admissible=lopsided, running=tracked),
        "on the way alone": replace(plain, terminal=None, running=tracked),
        "inner": inner,
        "absolute": replace(plain, terminal=AbsoluteError(1.0)),
        "relu": boxed([0.5, 0.4], [4.0, 0.0], layers=12, activation=relu),
        "timed": timed,
        "held": held,
        "fixed": replace(held, controls=constant),
    }


@pytest.mark.parametrize("name", list(problems()))
def test_the_gradient_in_speeds_is_that_of_the_cost(name: str, rng: np.random.Generator) -> None:
    """Central differences at random speeds and at several states at once, to 1e-8."""
    problem = problems()[name]
    speeds = Speeds(separable(problem))
    units, layers = len(problem.initial), problem.mesh.layers
    f = 0.3 + rng.standard_normal((units, 3))
    theta, direction = rng.uniform(0.2, 0.8, (2, layers, units, 3))
    states, _ = speeds.run(f, theta)
    slope = np.sum(speeds.gradient(states, theta) * direction, axis=(0, 1))
    step = 1e-6
    ahead, behind = (speeds.run(f, theta + s * direction)[1] for s in (step, -step))
    assert np.max(np.abs((ahead - behind) / (2 * step) - slope)) < 1e-8


@pytest.mark.parametrize(
    "name", ["identity", "tracking", "on the way alone", "inner", "relu", "fixed", "held"]
)
def test_compiled_descents_are_the_reference(name: str, rng: np.random.Generator) -> None:
    problem = problems()[name]
    h = separable(problem)
    program, speeds = lowered(h), Speeds(h)
    assert program is not None
    units, layers = len(problem.initial), problem.mesh.layers
    f, theta = rng.standard_normal((units, 4)), rng.uniform(size=(layers, units, 4))
    states, costs = speeds.run(f, theta)
    gradient = speeds.gradient(states, theta)
    own, slope = np.empty((layers + 1, units)), np.empty((layers, units))
    tape, work = np.empty((layers, 2, speed_loops.WIDTH, units)), np.empty((4, units))
    for n in range(4):
        own[0], x = f[:, n], np.ascontiguousarray(theta[..., n])
        cost = speed_loops.forward(program, x, own, tape, work)
        speed_loops.backward(program, x, own, tape, work, slope)
        assert abs(cost - costs[n]) <= 1e-13 * (1 + abs(costs[n]))
        assert np.max(np.abs(own - states[..., n])) < 1e-13
        assert np.max(np.abs(slope - gradient[..., n])) < 1e-13
    compiled = np.ascontiguousarray(np.moveaxis(theta, 2, 0))
    found, gaps = np.empty(4), np.empty(4)
    speed_loops.descend(program, compiled, np.ascontiguousarray(f.T), 6, 1e-9, found, gaps)
    costs, others = descend(speeds, theta, f, 6, 1e-9)
    assert np.max(np.abs(found - costs)) < 1e-10
    assert np.max(np.abs(gaps - others)) < 1e-9
    assert np.max(np.abs(np.moveaxis(compiled, 0, 2) - theta)) < 1e-8


def test_what_the_loops_do_not_know_runs_on_the_reference() -> None:
    assert lowered(separable(problems()["absolute"])) is None
    assert lowered(separable(problems()["timed"])) is None


@pytest.mark.parametrize(
    ("start", "target", "horizon", "least"),
    [([0.5, 0.5], [4.0, 0.0], 1.0, ONE_SWITCH), ([0.0, 0.0], [6.0, 0.0], 2.0, TWO_MIRRORED)],
)
def test_the_least_costs_of_the_ledger(
    start: list[float], target: list[float], horizon: float, least: float
) -> None:
    """From above, to the square of the layers, with two units and with fifty; the extremal that
    shooting finds from there has the digits of the ledger.
    """
    problem = boxed(start, target, horizon=horizon, layers=160)
    found = descend_values(problem, problem.initial, starts=8)
    assert 0.0 < found.costs[0] - least < 1.5e-4
    judged = evaluate(problem, found.control(0))
    assert 0.0 <= judged.objective + judged.depth_error - least < 3e-4
    polished = descend_values(problem, problem.initial, starts=8, polish=True)
    assert abs(polished.polished[0] - least) < 1e-9
    grid = midpoint(UNIT, 50)
    wide = boxed(
        np.repeat(start, 25).tolist(),
        np.repeat(target, 25).tolist(),
        grid=grid,
        horizon=horizon,
        layers=160,
    )
    assert 0.0 < descend_values(wide, wide.initial, starts=2).costs[0] - least < 1e-3


def test_penalised_controls_descend_as_controls() -> None:
    """As RiccatiNewton does on the ResNet from each state."""
    problem = LearningProblem(
        WidthDepth(midpoint(UNIT, 2), identity),
        np.zeros((2, 1)),
        np.array([[1.0], [0.5]]),
        TimeMesh(1.0, 10),
        penalty=Tikhonov(0.1),
    )
    states = np.array([[0.0, 0.3], [0.1, -0.2]])
    found = descend_values(problem, states, starts=2)
    for n in range(2):
        here = replace(problem, initial=states[:, n : n + 1])
        alone = minimize(here, RiccatiNewton())
        assert abs(alone.objective - found.costs[n]) < 1e-9
        given = here.space.check("control", found.control(n))
        assert abs(discretize(here).value(given) - found.costs[n]) < 1e-12


def test_controls_are_admissible_and_have_the_cost() -> None:
    """Of the continuous problem from each state, to the square of the layers, also with psi that
    is not affine.
    """
    for name, tolerance in (("tracking", 0.04), ("inner", 0.02)):
        problem = problems()[name]
        states = np.array([[0.3, -2.0, 1.0], [-0.2, 0.5, 2.0]])
        found = descend_values(problem, states, starts=4)
        assert np.array_equal(found.costs, np.min(found.attempts, axis=1))
        for n in range(3):
            control, here = found.control(n), replace(problem, initial=states[:, n : n + 1])
            assert problem.admissible is not None
            assert problem.admissible.contains(control, 1e-14)
            judged = evaluate(here, here.space.check("control", control))
            assert abs(judged.objective - found.costs[n]) < tolerance


def wide(start: list[float], target: list[float], **changes: object) -> LearningProblem:
    grid = midpoint(UNIT, len(start))
    base = boxed(start, target, grid=grid, activation=tanh, layers=20)
    return replace(base, **changes)  # type: ignore[arg-type]


def test_merged_units_have_the_same_cost(rng: np.random.Generator) -> None:
    """A control of the small problem, lifted, has its cost; signs of units included."""
    running = SquaredError(0.4)
    large = wide([0.5, 0.0, -0.5, 0.5, 0.0], [2.0, 0.0, -2.0, 2.0, 0.0], running=running)
    small, lift = merge_units(large)
    assert small.initial.shape == (2, 1)
    assert np.allclose(np.sort(small.network.weights), [0.4, 0.6], rtol=1e-14)
    for _ in range(3):
        control = small.space.random(rng)
        one, other = discretize(small).value(control), discretize(large).value(lift(control))
        assert abs(one - other) < 1e-13
    apart = descend_values(large, large.initial, starts=16).costs[0]
    together = descend_values(small, small.initial, starts=16).costs[0]
    assert abs(apart - together) < 2e-3


def test_units_that_do_not_merge_are_named() -> None:
    start, target = [0.5, 0.5], [1.0, 1.0]
    base = wide(start, target)
    held = base.holding(base.space.zeros(), ["kernel"])[0]
    cases = {
        "no two have the same": wide([0.5, 0.4], target),
        "not those of a box symmetric": replace(base, admissible=Box(bias=(-1, 1), kernel=(0, 1))),
        "couples entries": replace(base, admissible=Ball()),
        "kernel is fixed": replace(held, admissible=Box(bias=(-1, 1))),
        "opposite signs": wide([-0.5, -0.5], target),
        "sigmoid is not odd": boxed(start, target, activation=sigmoid),
        "penalised": boxed(start, target, activation=identity, layers=3),
    }
    cases["penalised"] = replace(cases["penalised"], penalty=Tikhonov(0.1))
    for words, problem in cases.items():
        with pytest.raises(ValueError, match=words):
            merge_units(problem)


def test_a_foreign_control_is_not_lifted() -> None:
    small, lift = merge_units(wide([0.5, 0.5], [1.0, 1.0]))
    other: Control = wide([0.5, 0.5], [1.0, 1.0]).space.zeros()
    assert lift(small.space.zeros())["bias"].shape == (20, 2)
    with pytest.raises(ValueError, match="control lives in another space"):
        lift(other)
