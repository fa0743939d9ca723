"""The one door to all methods that descend, for problems and for any Objective."""

from collections.abc import Sequence

import numpy as np

from continuum.arrays import Device
from continuum.controls import Control
from continuum.problem import LearningProblem

from ..run.monitors import Monitor
from ..run.solution import Solution
from ..run.status import Status
from .objective import Composite, Objective
from .run import Minimizer, Run, composite


def minimize(
    objective: LearningProblem | Objective | Composite,
    method: Minimizer,
    *,
    initial: Control | None = None,
    monitors: Sequence[Monitor] = (),
    device: Device | None = None,
    raise_on_failure: bool = True,
) -> Solution:
    """The control to which a method descends.

    objective : a problem, which is discretized by Euler (the ResNet), any Objective, or a Composite
        of one with a penalty and a set; terms of a problem's penalty that have no gradient, L1, are
        met by their proximal maps
    method : GradientDescent, Nesterov, Adam, LBFGS, NewtonCG, FrankWolfe
    initial : where to start, projected on the admissible set; zero unless said otherwise, which can
        be a trap (LM-55)
    monitors : see a Snapshot with values "objective" and "gradient_norm" ("gap" for FrankWolfe) at
        every iteration
    device : where the states of a problem are computed, as in `discretize`; the control stays where
        it is, on the host unless `initial` is elsewhere
    returns Solution with .control, .objective, .history ("objective", "gradient_norm" or "gap",
        "seconds", one entry per iteration, the start included) and statistics "iterations",
        "evaluations", "seconds"
    raises SolveError if it does not converge, unless raise_on_failure=False; TypeError, ValueError
        for bad input, and where the method cannot treat the problem's set or penalty
    """
    if isinstance(objective, LearningProblem):
        objective = objective.on_device(device)
    elif device is not None:
        raise ValueError("device is for problems: use discretize(problem, ..., device=) instead")
    problem = composite(objective)
    if not isinstance(method, Minimizer):
        raise TypeError(
            f"method must be GradientDescent(), Nesterov(), Adam(), LBFGS(), NewtonCG() or "
            f"FrankWolfe(), got {method!r}"
        )
    method.check(problem)
    space = problem.space
    start = space.zeros() if initial is None else space.check("initial", initial)
    if problem.admissible is not None:
        start = problem.admissible.project(start)
    run = Run(problem, method, monitors)
    if not np.isfinite(problem.objective.value(start)):
        solution = Solution(start, Status.NON_FINITE_START, objective=float("inf"))
    else:
        solution = method.descend(run, start)
    return solution.raise_if_failed(raise_on_failure)
