"""Values along characteristics: laws that hold without knowing the answer, and known answers."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    Ball,
    Box,
    FiniteSet,
    LearningProblem,
    SquaredError,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    identity,
    midpoint,
    tanh,
)
from continuum.networks import Chain, Linear, Offset, Pointwise
from solvers import shoot
from solvers.hjb import StateGrid, characteristics, descend_values, solve_hjb, values_along
from solvers.hjb.separable import separable
from studies.liu_markowich.paper import boxed
from studies.shared import UNIT

ONE_SWITCH = 0.4235585550392474
"""The least cost of LM-54."""


def problems() -> dict[str, LearningProblem]:
    plain = boxed([0.5, 0.4], [4.0, 0.0], layers=12)
    tracked = Tracking(SquaredError(0.3), target=np.array([[1.0], [-1.0]]))
    chain = Chain(2, (Pointwise(tanh), Linear("w", 2), Offset("b"), Pointwise(tanh)))
    inner = LearningProblem(
        chain,
        np.array([[0.3], [-0.2]]),
        np.array([[1.0], [2.0]]),
        TimeMesh(1.0, 9),
        admissible=Box(w=(-1.0, 0.5), b=(-0.2, 1.0)),
    )
    network = WidthDepth(midpoint(UNIT, 2), tanh)
    held = network.controls(
        TimeMesh(1.0, 6), fixed={"kernel": lambda y, z: np.cos(y + 3.0 * z) - y}
    )
    start, target = np.array([[0.3], [0.1]]), np.array([[1.0], [-0.5]])
    squares = Tikhonov(0.4)
    return {
        "interval": plain,
        "lopsided": replace(
            plain, admissible=Box(bias=(-0.7, 1.0), kernel=(-0.4, 1.2)), running=tracked
        ),
        "finite": replace(plain, admissible=FiniteSet(bias=(-1.0, 1.0), kernel=(-1.0, 0.5))),
        "inner": inner,
        "kernel fixed": LearningProblem(
            network, start, target, held, admissible=Box(bias=(-1.0, 0.5))
        ),
        "round": replace(
            boxed([0.5, 0.4], [4.0, 0.0], layers=12, horizon=0.2), admissible=Ball(1.5)
        ),
        "entries": replace(plain, admissible=None, penalty=Tikhonov(4.0), running=tracked),
        "entries in a box": replace(plain, penalty=squares),
        "scalar": LearningProblem(network, start, target, TimeMesh(1.0, 6), penalty=squares),
    }


@pytest.mark.parametrize("name", problems())
def test_values_and_costates_are_those_of_one_function(name, rng):
    # dV = sum_i w_i p_i df_i between neighbours, to second order, and H is constant in time
    problem, small = problems()[name], 1e-5
    count, steps = (2, 40) if name == "scalar" else (6, 200)
    ends = rng.uniform(0.4, 1.5, (2, count)) * np.array([[1.0], [-1.0]])
    direction = rng.standard_normal(ends.shape)
    found = [
        characteristics(problem, ends + s * small * direction, steps=steps) for s in (-1, 0, 1)
    ]
    w = problem.network.weights[:, None]
    for k in (0, steps // 2, steps - steps // 5):
        moved = found[2].states[k] - found[0].states[k]
        change = found[2].values[k] - found[0].values[k]
        np.testing.assert_allclose(
            change, np.sum(w * found[1].costates[k] * moved, axis=0), rtol=0, atol=2e-4 * small
        )
    drift = found[1].drift
    assert np.max(drift) <= (1e-4 if name == "entries in a box" else 1e-8)
    assert not np.any(found[1].chattering)


def test_a_control_that_is_held_has_the_cost_that_is_told():
    # no sign changes here, so that the control of the kind "interval" is one constant
    problem = boxed([0.5, 0.4], [4.0, 0.0], layers=12, horizon=0.3)
    found = characteristics(problem, np.array([[3.0], [1.9]]), steps=100)
    f, p = found.states[0], found.costates[0]
    h = separable(problem)
    assert found.switches[0] == 0
    assert found.values[0, 0] == pytest.approx(float(h.terminal(found.states[-1])[0]), abs=1e-15)
    expected = np.gradient(found.states[:3, :, 0], found.times[:3], axis=0, edge_order=2)[0]
    w = problem.network.weights[:, None]
    np.testing.assert_allclose(h.velocity(f, w * p, 0.0)[:, 0], expected, atol=1e-4)


def test_along_an_extremal_of_shooting():
    problem = boxed([0.5, 0.5], [4.0, 0.0])
    extremal = shoot(problem, atol=1e-11)
    found = values_along(problem, extremal)
    assert found.values[0, 0] == pytest.approx(ONE_SWITCH, abs=1e-10)
    np.testing.assert_allclose(found.states, extremal.state.states, atol=1e-9)
    np.testing.assert_allclose(found.costates, extremal.costate.states, atol=1e-9)
    assert found.switches.tolist() == [1]


def test_switches_are_met_where_they_are():
    # order 4 of RK4 although the control jumps: half of all units of LM-54 switch at once
    units = 10
    upper = np.arange(units) < units // 2
    problem = boxed([0.5] * units, np.where(upper, 4.0, 0.0).tolist(), grid=midpoint(UNIT, units))
    ends = np.where(upper, 2.753850371773439, 0.3759592055367086)[:, None]
    missed = [
        np.max(np.abs(characteristics(problem, ends, steps=n).states[0] - 0.5)) for n in (20, 40)
    ]
    assert missed[1] < 5e-9
    assert missed[0] / missed[1] > 12.0


def test_upper_bounds_of_the_value_on_a_grid(rng):
    problem = boxed([0.5, 0.5], [4.0, 0.0])
    value = solve_hjb(problem, StateGrid([(-3.5, 4.5), (-3.5, 3.5)], 121), times=21)
    found = characteristics(problem, rng.uniform([[-3], [-3]], [[4], [3]], (2, 400)), steps=100)
    for k in (0, 50, 90):
        inside = np.all(np.abs(found.states[k]) < 3.0, axis=0)
        above = found.values[k, inside] - value(found.states[k][:, inside], found.times[k])
        assert np.min(above) > -0.02  # the error of the grid, at kinks
        assert abs(np.median(above)) < 2e-3
    early = found.values[0] - value(np.clip(found.states[0], -3.0, 3.0), 0.0)
    inside = np.all(np.abs(found.states[0]) < 3.0, axis=0)
    assert np.mean(early[inside] > 0.01) > 0.1  # those that have crossed others


def test_fifty_units_beside_descents(rng):
    units = 50
    upper = np.arange(units) < units // 2
    problem = boxed(
        [0.5] * units, np.where(upper, 4.0, 0.0).tolist(), grid=midpoint(UNIT, units), layers=160
    )
    base = np.where(upper, 2.753850371773439, 0.3759592055367086)[:, None]
    found = characteristics(problem, base + rng.normal(0.0, 0.01, (units, 5)), steps=50)
    descended = descend_values(problem, found.states[0], starts=2)
    above = descended.costs - found.values[0]
    assert np.all(above > 0.0)
    assert np.all(above < 3e-5)  # what layers of 1/160 cost


def test_bad_input():
    problem = boxed([0.5, 0.5], [4.0, 0.0])
    with pytest.raises(ValueError, match="ends"):
        characteristics(problem, np.zeros(2))
    with pytest.raises(ValueError, match="steps"):
        characteristics(problem, np.zeros((2, 1)), steps=0)
    with pytest.raises(TypeError, match="extremal"):
        values_along(problem, problem)  # type: ignore[arg-type]
    moving = Tracking(SquaredError(1.0), target=lambda t: np.array([[t], [0.0]]))
    penalised = replace(problem, admissible=None, penalty=Tikhonov(0.05))
    with pytest.raises(FloatingPointError, match="no bound near"):
        characteristics(penalised, np.array([[1.0], [-1.0]]))
    with pytest.raises(ValueError, match="depends on time"):
        characteristics(replace(problem, running=moving), np.zeros((2, 1)))
    free = LearningProblem(
        WidthDepth(midpoint(UNIT, 2), identity),
        problem.initial,
        problem.target,
        TimeMesh(1.0, 4),
    )
    with pytest.raises(ValueError, match="neither bounded"):
        characteristics(free, np.zeros((2, 1)))
