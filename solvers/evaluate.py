"""One function that judges any control on the problem that is continuous in time."""

from dataclasses import dataclass, replace

import numpy as np

from continuum.checks import check_positive
from continuum.controls import Control
from continuum.functional import Tracking
from continuum.networks import Chain
from continuum.problem import LearningProblem
from continuum.quadrature import Grid
from continuum.readouts import State
from continuum.transfers import change_width, prolongation

from .adjoint.discretize import discretize
from .run.solution import Solution, SolveError
from .run.status import Status
from .steps.tableaux import RK4


@dataclass(frozen=True)
class Evaluation:
    """What a control is worth.

    objective : J of the differential equation, with this control as a function of time
    depth_error : estimated error of `objective` from finite steps
    width_error : |J - J on a finer grid|, with data and control interpolated there; NaN if no finer
        grid was given
    resnet : J of the ResNet with these layers (explicit Euler): the difference is the price of
        finite depth
    penalty : the part of J that is the penalty
    feasible : the control lies in the admissible set (True without one)
    """

    objective: float
    depth_error: float
    width_error: float
    resnet: float
    penalty: float
    feasible: bool


def evaluate(
    problem: LearningProblem, control: Control, rtol: float = 1e-8, refined: Grid | None = None
) -> Evaluation:
    """J(control) for the continuous problem, by RK4 with steps halved until two values agree to
    rtol.

    A running cost is integrated by the trapezoid rule on the steps.
    refined : a finer grid of the same domain, for the width error: nodal values do not say what
        data and control are between nodes, so they are interpolated multilinearly; an estimate of
        order 2
    raises SolveError if the state does not stay finite, or the steps reach 1024 per layer;
        ValueError for rtol <= 0, TypeError for a finer grid where the network has none or the
        readout is not the state
    """
    rtol = check_positive("rtol", rtol)
    control = problem.space.check("control", control)
    value, error = _continuous(problem, control, rtol)
    width = float("nan")
    if refined is not None:
        width = abs(_continuous(*_on(refined, problem, control), rtol)[0] - value)
    return Evaluation(
        value,
        error,
        width,
        discretize(problem).value(control),
        problem.penalty.value(control) if problem.penalty is not None else 0.0,
        problem.admissible is None or problem.admissible.contains(control, 1e-12),
    )


def _continuous(problem: LearningProblem, control: Control, rtol: float) -> tuple[float, float]:
    """(J, its estimated error)."""
    last = discretize(problem, RK4(), 1, "steps").value(control)
    steps = 1
    while steps < 1024:
        steps *= 2
        value = discretize(problem, RK4(), steps, "steps").value(control)
        error = abs(value - last)
        if np.isfinite(error) and error <= rtol * max(abs(value), np.finfo(float).tiny):
            return value, error
        last = value
    status = Status.MAX_STEPS if np.isfinite(last) else Status.NON_FINITE
    raise SolveError(Solution(control, status, f"{steps} steps per layer", objective=last))


def _on(grid: Grid, problem: LearningProblem, control: Control) -> tuple[LearningProblem, Control]:
    """The problem and the control on another grid."""
    network = problem.network
    if (
        not isinstance(network, Chain)
        or network.grid is None
        or not isinstance(problem.readout, State)
    ):
        raise TypeError("refined needs a network on a grid and the readout State()")
    running = problem.running
    if running is not None and not (
        isinstance(running, Tracking)
        and isinstance(running.readout, State | None)
        and running.target is None
    ):
        raise TypeError(
            f"refined needs a running loss of the state and the problem's target: "
            f"{running!r} says nothing of other grids"
        )
    finer = network.on(grid)
    transfer = prolongation(network.grid, grid)
    moved = change_width(control, network, finer)
    there = replace(
        problem,
        network=finer,
        initial=transfer @ problem.initial,
        target=None if problem.target is None else transfer @ problem.target,
        controls=moved.space,
        admissible=None,
    )
    return there, moved
