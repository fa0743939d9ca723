"""The one door to all minimizers, for problems and for any Objective."""

from collections.abc import Sequence

from continuum.arrays import Device
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem

from ..run.iteration import NotFinite
from ..run.monitors import Monitor
from ..run.solution import Solution
from ..run.status import Status
from .augmented import descend_to_endpoint, has_endpoint
from .objective import Composite, Objective, semi_gradient
from .run import Descent, Minimizer, composite


@checked
def minimize(
    objective: LearningProblem | Objective | Composite,
    minimizer: Minimizer,
    *,
    initial: Control | None = None,
    monitors: Sequence[Monitor] = (),
    device: Device | None = None,
    raise_on_failure: bool = True,
) -> Solution[Control]:
    """The control to which a minimizer descends: stationary, which need not be a minimum.

    objective : a problem, which is discretized by Euler (the ResNet), any Objective, or a Composite
        of one with a penalty and a set; terms of a problem's penalty that have no gradient, L1, are
        met by their proximal maps; the endpoint of a problem by an augmented Lagrangian, in rounds
        of the minimizer (see `augmented`): .multiplier is that of the endpoint, "violation" the
        distance from it
    minimizer : GradientDescent, Nesterov, Adam, LBFGS, NewtonCG, RiccatiNewton,
        ProximalNewton, FrankWolfe, or FixedStep, which searches no step; Adam alone for an
        objective that gives semi-gradients
    initial : where to start, a point of problem.space projected on the admissible set; zero unless
        said otherwise, which can be a trap (LM-55: where W2 = W1 = 0 every gradient of both is 0).
        problem.space.random(rng, 0.1); problem.space.sample(weight1=array, bias1=0.5), blocks not
        named being 0; a control of another depth by change_depth; solution.control goes on
    monitors : see a Snapshot with values "objective" and "gradient_norm" ("gap" for FrankWolfe) at
        every iteration
    device : where the states of a problem are computed, as in `discretize`; the control stays where
        it is, on the host unless `initial` is elsewhere
    returns Solution with .control, .objective, .history ("objective", "gradient_norm" or "gap",
        "seconds", one entry per iteration, the start included) and statistics "iterations",
        "evaluations", "seconds"
    raises SolveError if it does not converge, or the objective or its gradient becomes infinite or
        NaN, with the best control before that, unless raise_on_failure=False; Interrupted on
        Ctrl-C, with the best so far (FixedStep: the last in both); TypeError, ValueError for bad
        input, and where the minimizer cannot treat the problem's set or penalty
    """
    if isinstance(objective, LearningProblem):
        objective = objective.on_device(device)
    elif device is not None:
        raise ValueError("device is for problems: use discretize(problem, ..., device=) instead")
    problem = composite(objective)
    if semi_gradient(problem.objective) and not minimizer.semi_gradients:
        raise TypeError(
            f"{type(minimizer).__name__} needs the derivative of the objective, but "
            f"{type(problem.objective).__name__} gives a semi-gradient, which holds a part of it: "
            "use Adam()"
        )
    minimizer.check(problem)
    space = problem.space
    start = space.zeros() if initial is None else space.check("initial", initial)
    if problem.admissible is not None:
        start = problem.admissible.project(start)
    if has_endpoint(problem):
        solution = descend_to_endpoint(problem, minimizer, start, monitors)
        return solution.raise_if_failed(raise_on_failure)
    run = Descent(problem, minimizer, start, monitors)
    with run.interruptible():
        try:
            solution = minimizer.descend(run, start)
        except NotFinite as error:
            known = Status.NON_FINITE_OBJECTIVE if run.records else Status.NON_FINITE_START
            solution = run.solution(known, str(error))
    return solution.raise_if_failed(raise_on_failure)
