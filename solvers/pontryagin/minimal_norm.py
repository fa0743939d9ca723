"""Where the target is reached and Pontryagin's principle is silent: the control of least norm.

If f(T) meets the target, the costate vanishes at every time and every control that meets it is an
extremal (LM-56).  What is left to choose is, with e_m = readout(f_m(T)) - y_m,

    minimise |c|^2 = int |a|^2 + |b|^2 dt   subject to  e_m = 0 for every sample,  c in the set,

in the product of the control space: the limit of minimisers with Tikhonov(lambda) as lambda -> 0,
where these converge.  A minimum has a multiplier p with

    c = P(c - g),   g the gradient of |c|^2 + sum_m s_m (p_m, e_m),   P the projection on the set.

Source: Liu and Markowich section 4.2; subtlety 11 of the ledger.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from continuum.arrays import to_host
from continuum.checks import check_count, check_positive, check_type
from continuum.controls import Control
from continuum.doors import checked
from continuum.endpoints import TerminalEquality, no_endpoint
from continuum.functional import Tracking
from continuum.losses import AbsoluteError, SquaredError
from continuum.penalties import Tikhonov
from continuum.problem import LearningProblem
from continuum.records import short

from ..adjoint.discretize import ReducedObjective, discretize
from ..descent.first_order import GradientDescent
from ..descent.minimize import minimize
from ..descent.riccati_newton import RiccatiNewton
from ..descent.run import Minimizer, composite, smooth_run
from ..run.monitors import Monitor
from ..run.solution import Solution
from ..steps.tableaux import RK4, RungeKutta


@dataclass(frozen=True, eq=False)
class MinimalNorm(Solution[Control]):
    """A control of small norm that reaches the target.

    norm, norm_before : |c| of the answer and of the control given, in the product of the space
    endpoint_error, endpoint_error_before : (sum_m s_m |readout(f_m(T)) - y_m|^2)^(1/2) of both
    kkt_residual : |P(c - g) - c|, see the head of this file: 0 at a minimum.  It is 0 at other
        stationary points too: that no control of smaller norm reaches the target is proved where
        f(T) is affine in the control and the set convex, not elsewhere
    multiplier : p
    """

    norm: float = float("nan")
    norm_before: float = float("nan")
    endpoint_error: float = float("nan")
    endpoint_error_before: float = float("nan")
    kkt_residual: float = float("nan")

    __repr__ = short

    def __str__(self) -> str:
        return (
            f"|c| = {self.norm:.10g}, before {self.norm_before:.10g}; distance from the target "
            f"{self.endpoint_error:.3g}, before {self.endpoint_error_before:.3g}; KKT residual "
            f"{self.kkt_residual:.3g}   ({self.status.name.lower()})"
        )


@checked
def minimal_norm(
    problem: LearningProblem,
    control: Control,
    *,
    minimizer: Minimizer | None = None,
    stepper: RungeKutta | None = None,
    steps_per_layer: int = 4,
    atol: float = 1e-6,
    monitors: Sequence[Monitor] = (),
    raise_on_failure: bool = True,
) -> MinimalNorm:
    """From a control that reaches the target to one of least norm among those, by an augmented
    Lagrangian (see solvers/descent/augmented.py).

    problem : whose terminal cost is a SquaredError or an AbsoluteError of outputs, without running
        cost, penalty and endpoint; its admissible set is respected
    control : where the search starts; admissible, and the target reached
    minimizer : of the subproblems; None for RiccatiNewton, which also tells minima
        (Status.MINIMUM) from saddles, and for GradientDescent where RiccatiNewton does not treat
        the problem: sets other than a Box, blocks that are piecewise linear in time, steps that the
        method chooses, arrays that are not NumPy's.  Norm and target count as met at its gtol
    stepper, steps_per_layer : how the equation is solved, by RK4 unless said otherwise: as in
        `pontryagin_certificate`
    atol : the distance from the target, relative to 1 + the size of the target, up to which
        `control` reaches it
    returns MinimalNorm; history as that of an endpoint, "objective" |c|^2
    raises ValueError for a control that does not reach the target or is not admissible, for other
        costs, and for a set that is not convex; TypeError for a problem with an endpoint;
        SolveError if the search does not converge, unless told not
    """
    check_type("problem", problem, LearningProblem)
    no_endpoint(problem.endpoint, "minimal_norm")
    control = problem.space.check("control", control)
    steps, atol = check_count("steps_per_layer", steps_per_layer), check_positive("atol", atol)
    posed = _posed(problem)
    if problem.admissible is not None and not problem.admissible.contains(control, 1e-9):
        raise ValueError(f"control lies outside {problem.admissible!r}: project it first")
    objective = discretize(posed, RK4() if stepper is None else stepper, steps, "steps")
    before = _distance(objective, control)
    if not before <= atol * (1.0 + _size(posed, posed.constraint.target)):  # type: ignore[union-attr]
        raise ValueError(
            f"control does not reach the target: |readout(f(T)) - target| = {before:.3g} by "
            f"{type(objective.stepper).__name__}, {steps} steps per layer; where it is not reached "
            "the principle is not silent: train by minimize, with these steps, or shoot"
        )
    found = minimize(
        objective,
        _fitting(objective) if minimizer is None else minimizer,
        initial=control,
        monitors=monitors,
        raise_on_failure=False,
    )
    space, given = problem.space, {f.name: getattr(found, f.name) for f in fields(Solution)}
    return MinimalNorm(
        **given,
        norm=space.norm(found.control),
        norm_before=space.norm(control),
        endpoint_error=_distance(objective, found.control),
        endpoint_error_before=before,
        kkt_residual=_kkt_residual(objective, found),
    ).raise_if_failed(raise_on_failure)


def _fitting(objective: ReducedObjective) -> Minimizer:
    """RiccatiNewton where it treats the problem, else GradientDescent."""
    second_order = RiccatiNewton(gtol=1e-8)
    try:
        second_order.check(composite(objective))
    except (TypeError, ValueError):
        return GradientDescent(gtol=1e-6, max_iterations=5000)
    return second_order


def _posed(problem: LearningProblem) -> LearningProblem:
    """The norm as the cost, the target as the endpoint."""
    terminal = problem.functional.terminal
    reason = ""
    if problem.penalty is not None:
        reason = f"its penalty {problem.penalty!r} chooses among controls already"
    elif problem.functional.running is not None:
        reason = "its running cost chooses among controls that reach the target"
    elif not isinstance(terminal, Tracking) or callable(terminal.target):
        reason = f"its terminal cost {terminal!r} has no target"
    elif not isinstance(terminal.loss, SquaredError | AbsoluteError):
        reason = f"{type(terminal.loss).__name__} vanishes at no outputs: SquaredError does"
    if reason or not isinstance(terminal, Tracking):
        raise ValueError(f"problem has no controls that reach a target to choose from: {reason}")
    if problem.admissible is not None and not problem.admissible.convex:
        raise ValueError(
            f"minimal_norm needs a convex set, which {problem.admissible!r} is not: its control of "
            "least norm need not be a point where the search stops"
        )
    end = TerminalEquality(terminal.target, terminal.readout)  # type: ignore[arg-type]
    return replace(problem, terminal=None, penalty=Tikhonov(1.0), endpoint=end)


def _size(problem: LearningProblem, outputs: object) -> float:
    """(sum_m s_m |o_m|^2)^(1/2) of outputs (P, M), in their measure."""
    end = problem.constraint
    if end is None or end.readout is None:
        raise TypeError("the problem has no endpoint")
    o = to_host(outputs)  # type: ignore[arg-type]
    measure = end.readout.measure(problem.network)
    return float((measure @ (o * o)) @ problem.sample_weights) ** 0.5


def _distance(objective: ReducedObjective, control: Control) -> float:
    problem = objective.problem
    path = objective.run(control)
    return _size(problem, problem.residual(path.states[-1, ...], control))


def _kkt_residual(objective: ReducedObjective, found: Solution[Control]) -> float:
    """|P(c - g) - c|; the augmented problem with p - e has the gradient of that with p."""
    problem, control = objective.problem, found.control
    if found.multiplier is None:
        return float("nan")
    e = problem.residual(objective.run(control).states[-1, ...], control)
    bare = replace(objective, problem=problem.augmented(found.multiplier - e, 1.0))
    gradient = smooth_run(bare, control).gradient
    moved = composite(bare).prox(control - gradient, 1.0)
    return problem.space.norm(moved - control)
