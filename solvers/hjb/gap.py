"""How far a control may be from the global optimum."""

from dataclasses import dataclass

from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import plain

from ..evaluation import evaluate
from .enclosed_run import ProvedCost
from .lower_bound import LowerBound, PerSampleBound


@dataclass(frozen=True, eq=False)
class OptimalityGap:
    """J(control) beside a lower bound of J*; prints as a sentence.

    objective : J on the problem that is continuous in time;  error : its estimated error, or, of a
        ProvedCost, what its bounds are apart
    bound : no admissible control costs less;  difference : objective - bound
    verified : the bound is a proved one.  It says nothing of J, whose error is an estimate
    proved : both are: J lies between objective - error and objective
    """

    objective: float
    error: float
    bound: float
    verified: bool
    proved: bool
    per_sample: bool

    to_dict = plain

    @property
    def difference(self) -> float:
        """objective - bound."""
        return self.objective - self.bound

    def __str__(self) -> str:
        cost = f"J = {self.objective:.7g} (estimated error {self.error:.1g})"
        if self.proved:
            cost = f"J <= {self.objective:.7g}, proved"
        below = "a proved lower bound" if self.verified else "a lower bound that is not proved"
        share = f" ({self.difference / self.bound:.2%} of it)" if self.bound > 0.0 else ""
        rest = ", where each sample may choose its own control" if self.per_sample else ""
        return (
            f"{cost}: no more than {self.difference:.3g} above {below} of every control's cost, "
            f"{self.bound:.7g}{share}{rest}"
        )


@checked
def optimality_gap(
    problem: LearningProblem,
    control: Control | ProvedCost,
    bound: LowerBound | PerSampleBound | float,
    rtol: float = 1e-8,
) -> OptimalityGap:
    """J(control) by `evaluate`, the bound, and their difference.

    control : or what `proved_cost` returns for it, so that nothing is estimated
    bound : what `lower_bound` returns for the same problem; a number is taken as not proved
    rtol : of `evaluate`
    raises ValueError for a control outside the admissible set, or one that costs less than the
        bound by more than its error: the bound is then that of another problem.  SolveError as
        `evaluate`
    """
    if isinstance(control, ProvedCost):
        objective, error = control.value, control.value - control.lower
    else:
        found = evaluate(problem, control, rtol)
        if not found.feasible:
            raise ValueError("control lies outside the admissible set: project it first")
        objective, error = found.objective, found.depth_error
    verified = not isinstance(bound, float | int)
    number = bound.value if isinstance(bound, LowerBound | PerSampleBound) else float(bound)
    allowed = 2.0 * error + 1e-12 * (abs(objective) + abs(number))
    if not isinstance(control, ProvedCost) and objective < number - allowed:
        raise ValueError(
            f"control costs {objective:.10g}, less than the bound {number:.10g}: the bound is that "
            "of another problem"
        )
    if isinstance(control, ProvedCost) and objective < number:
        raise ValueError(
            f"control costs {objective:.10g} at most, less than the bound {number:.10g}: the bound "
            "is that of another problem"
        )
    return OptimalityGap(
        objective,
        error,
        number,
        verified,
        verified and isinstance(control, ProvedCost),
        isinstance(bound, PerSampleBound),
    )
