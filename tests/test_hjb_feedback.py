"""The closed loop of a value function."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import Box, TimeMesh
from solvers import SolveError, compare, pontryagin_certificate
from solvers.hjb.closed_loop import closed_loop
from solvers.hjb.grids import StateGrid
from solvers.hjb.value import ValueFunction, solve_hjb
from solvers.run.status import Status
from studies.liu_markowich.paper import boxed

SWITCH = boxed([0.5, 0.5], [4.0, 0.0], layers=100)
MIRRORED = boxed([0.0, 0.0], [6.0, 0.0], horizon=2.0, layers=100)
ONE_SWITCH, TWO_MIRRORED = 0.4235585550392474, 0.1311701244888148
"""The least costs of LM-54 and LM-55."""


@pytest.fixture(scope="module")
def switch() -> ValueFunction:
    return solve_hjb(SWITCH, StateGrid([(-1, 4), (-2, 3)], 61), times=41)


@pytest.fixture(scope="module")
def mirrored() -> ValueFunction:
    return solve_hjb(MIRRORED, StateGrid([(-1, 7), (-4, 4)], 121), times=41)


def test_it_switches_once(switch: ValueFunction) -> None:
    run = closed_loop(SWITCH, switch)
    assert 0.0 <= run.objective - ONE_SWITCH < 1e-3
    assert run.status is Status.FINISHED
    assert run.detail == ""
    kernel, bias = run.control["kernel"], run.control["bias"]
    assert np.sum(np.abs(bias) != 1.0) <= 3  # where V is least, at the switch, the unit rests
    change = SWITCH.mesh.nodes[np.flatnonzero(np.diff(bias[:, 1]))[0] + 1]
    assert abs(change - 0.5364562503929055) < 0.03
    assert np.all(bias[:, 0] == 1.0)
    assert np.all(kernel[:, 0] == -1.0)  # f > 0 throughout
    assert (
        np.max(np.abs(run.trajectory.final[:, 0] - [2.753850371773439, 0.3759592055367086])) < 0.05
    )
    assert not np.any(run.ridges)
    assert run.switches.tolist() == [0, 1]


def test_on_the_ridge_a_side_is_taken(mirrored: ValueFunction) -> None:
    """V falls both ways from f_2 = 0, equally: a run that stays there costs 1.64."""
    run = closed_loop(MIRRORED, mirrored)
    down, here, up = mirrored(np.array([[0.0, 0.0, 0.0], [-0.2, 0.0, 0.2]]), 0.0)
    assert abs(up - down) < 1e-9
    assert up < here - 0.01
    assert 0.0 <= run.objective - TWO_MIRRORED < 5e-3
    assert run.ridges[0, 1]
    assert abs(run.trajectory.final[1, 0]) > 0.25


def test_its_control_is_judged_like_others(switch: ValueFunction) -> None:
    table = compare(SWITCH, {"feedback": lambda p: closed_loop(p, switch)})
    assert abs(table.best.objective - ONE_SWITCH) < 1e-3
    assert pontryagin_certificate(SWITCH, closed_loop(SWITCH, switch).control).total_gap < 0.03


def test_another_start_and_other_layers(switch: ValueFunction) -> None:
    """One value function serves all starts; V at the start is what the run costs."""
    for start in ([1.0, -0.5], [0.2, 0.9]):
        other = replace(SWITCH, initial=np.array(start)[:, None], controls=TimeMesh(1.0, 150))
        run = closed_loop(other, switch)
        assert abs(run.objective - switch(other.initial, 0.0)[0]) < 2e-3


def test_a_foreign_value_function_and_a_small_grid(switch: ValueFunction) -> None:
    for other in (
        replace(SWITCH, target=np.array([[3.0], [0.0]])),
        replace(SWITCH, admissible=Box(bias=(-1, 1), kernel=(-1, 0.5))),
        MIRRORED,
    ):
        with pytest.raises(ValueError, match="value is that of another problem"):
            closed_loop(other, switch)
    small = solve_hjb(SWITCH, StateGrid([(0, 1), (0, 1)], 21), times=11)
    with pytest.raises(SolveError, match="left the grid"):
        closed_loop(SWITCH, small)
    run = closed_loop(SWITCH, small, raise_on_failure=False)
    assert run.status is Status.LEFT_GRID
    assert SWITCH.admissible is not None
    assert SWITCH.admissible.contains(run.control)
