"""One function that judges any control on the problem that is continuous in time."""

from dataclasses import dataclass

import numpy as np

from continuum.checks import check_positive
from continuum.controls import Control
from continuum.problem import LearningProblem

from .adjoint import discretize
from .solution import Solution, SolveError
from .status import Status
from .steppers import RK4


@dataclass(frozen=True)
class Evaluation:
    """What a control is worth.

    objective : J of the differential equation, with this control as a function of time
    depth_error : estimated error of `objective` from finite steps
    resnet : J of the ResNet with these layers (explicit Euler): the difference is the price of finite depth
    penalty : the part of J that is the penalty
    feasible : the control lies in the admissible set (True without one)
    The width is that of the problem's grid: nodal values do not say what a control is between nodes
    (see `refinement.width_error` for controls given by functions).
    """

    objective: float
    depth_error: float
    resnet: float
    penalty: float
    feasible: bool


def evaluate(problem: LearningProblem, control: Control, rtol: float = 1e-8) -> Evaluation:
    """J(control) for the continuous problem, by RK4 with steps halved until two values agree to rtol.

    A running cost is integrated by the trapezoid rule on the steps.
    raises SolveError if the state does not stay finite, or the steps reach 1024 per layer; ValueError for rtol <= 0
    """
    check_positive("rtol", rtol)
    resnet = discretize(problem).value(control)
    penalty = problem.penalty.value(control) if problem.penalty is not None else 0.0
    feasible = problem.admissible is None or problem.admissible.contains(control, 1e-12)
    last = discretize(problem, RK4(), 1, "steps").value(control)
    steps = 1
    while steps < 1024:
        steps *= 2
        value = discretize(problem, RK4(), steps, "steps").value(control)
        error = abs(value - last)
        if np.isfinite(error) and error <= rtol * max(abs(value), np.finfo(float).tiny):
            return Evaluation(value, error, resnet, penalty, feasible)
        last = value
    status = Status.MAX_STEPS if np.isfinite(last) else Status.NON_FINITE
    raise SolveError(Solution(control, status, f"{steps} steps per layer", objective=last))
