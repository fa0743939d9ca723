"""Endpoints: the augmented Lagrangian, with any minimizer for its subproblems.

    minimise J  subject to  e_m = readout(f_m(T)) - y_m = 0:

    L(u, p, w) = J(u) + sum_m s_m [(p_m, e_m) + w |e_m|^2 / 2]

is minimised in u, from where the last round ended and to a tolerance that falls hundredfold each
round; then p <- p + w e, and w <- 10 w where the violation |e| = (sum_m s_m |e_m|^2)^(1/2) has
fallen by less than a factor 4.  At a minimum with p, |e| = 0 and the gradient of J + sum_m s_m
(p_m, e_m) is 0: p_m is then the costate of sample m at T, in the outputs, with the penalty of the
endpoint left out.  Source: Nocedal and Wright, Numerical Optimization, section 17.4; Birgin and
Martinez, Practical Augmented Lagrangian Methods (2014).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from continuum.arrays import Array, namespace, to_host
from continuum.controls import Control
from continuum.functional import Tracking
from continuum.losses import SquaredError
from continuum.problem import LearningProblem

from ..adjoint.discretize import ReducedObjective
from ..run.iteration import NotFinite, Run
from ..run.monitors import Monitor
from ..run.solution import Solution, SolveError
from ..run.status import Status
from .objective import Composite
from .run import Descent, Minimizer

ROUNDS = 60
"""The largest number of subproblems."""

_STUCK = 5
"""So many rounds, w growing tenfold in each, in which the violation falls by less than half in all,
end the search: where an endpoint can be reached, it falls by a factor of up to 10 in each.
"""


def has_endpoint(problem: Composite) -> bool:
    """True if the last state of what is to be minimised is prescribed."""
    objective = problem.objective
    return isinstance(objective, ReducedObjective) and objective.problem.endpoint is not None


def descend_to_endpoint(
    problem: Composite, minimizer: Minimizer, start: Control, monitors: Sequence[Monitor]
) -> Solution[Control]:
    """The run of an augmented Lagrangian from an admissible start.

    Its history has one entry per round: "objective", which is J without the terms of the endpoint,
    "violation", the measure of the minimizer, "residual", the root of the sum of their squares,
    "weight" and "inner_iterations"; `multiplier` of the solution is p (P, M).  It has converged
    when the measure and the violation are both at most gtol; if that is relative, gtol times what
    the measure was at the start, and times the violation there or the size of the target.  The
    status is then that of the last subproblem, whose strict minimum is one of the problem too.
    """
    search = _Search(problem, minimizer)
    run = Run[Control](
        start, lambda x: x, ROUNDS, monitors, flat=problem.space.flatten, merit="residual"
    )

    def solution(status: Status, detail: str = "") -> Solution[Control]:
        found = run.solution(status, search.words(detail))
        last = {"violation": search.violation, "weight": search.weight}
        return replace(
            found,
            multiplier=search.multiplier,
            statistics={**found.statistics, **last, "evaluations": float(search.evaluations)},
        )

    with run.interruptible(lambda: solution(Status.INTERRUPTED)):
        try:
            return solution(*search.rounds(run, start))
        except (NotFinite, SolveError) as error:
            known = Status.NON_FINITE_OBJECTIVE if run.records else Status.NON_FINITE_START
            return solution(known, str(error))


@dataclass(frozen=True)
class _Look:
    """A control judged: J and the e of every sample (P, M)."""

    objective: float
    residual: Array


class _Search:
    """The rounds."""

    def __init__(self, problem: Composite, minimizer: Minimizer) -> None:
        self.problem, self.minimizer = problem, minimizer
        self.reduced: ReducedObjective = problem.objective  # type: ignore[assignment]
        self.posed: LearningProblem = self.reduced.problem
        end = self.posed.constraint
        if end is None or end.target is None or end.readout is None:
            raise TypeError("the problem has no endpoint")
        self.target, self.measure_of_outputs = end.target, end.readout.measure(self.posed.network)
        self.multiplier = namespace(end.target).zeros_like(end.target)
        self.violation, self.weight, self.evaluations = np.inf, 1.0, 0

    def rounds(self, run: Run[Control], start: Control) -> tuple[Status, str]:
        """How it ends: at the last control of the run."""
        x, look = start, self._look(start)
        first = self.violation = self._size(look.residual)
        self.weight = self._first_weight(start, look)
        gtol, seen, rises, saddles = self.minimizer.gtol, [first], 0, 0
        inner = replace(self.minimizer, gtol=0.1, relative=True)
        bound, factor, goal = 0.1, 1.0, gtol
        if self.minimizer.relative:
            goal *= max(first, self._size(self.target)) or 1.0
        while True:
            ended, measure = self._inner(inner, x)
            if not seen[1:]:  # the first round, whose tolerance was relative
                bound = max(gtol, 0.1 * measure[0])
                factor = (measure[0] or 1.0) if self.minimizer.relative else 1.0
            x, look = ended.control, self._look(ended.control)
            self.violation = self._size(look.residual)
            self.multiplier = self.multiplier + self.weight * look.residual
            done = measure[-1] <= gtol * factor and self.violation <= goal
            stop = run.record(x, self._numbers(look, ended, measure[-1]), last=done)
            if done:
                return ended.status, ""
            if stop:
                return Status.STOPPED, ""
            if run.iterations + 1 >= ROUNDS:
                return Status.MAX_ITERATIONS, f"{ROUNDS} rounds"
            slow = self.violation > max(0.25 * seen[-1], goal)
            rises = rises + 1 if slow else 0
            seen.append(self.violation)
            if rises >= _STUCK and self.violation > 0.5 * seen[-1 - _STUCK]:
                return Status.ENDPOINT_MISSED, self._rank()
            saddles += ended.status is Status.SADDLE
            failed = ended.status is Status.LINE_SEARCH_FAILED or saddles >= _STUCK
            if failed and self.violation <= goal and bound <= gtol * factor:
                return ended.status, f"{self.minimizer.measure} {measure[-1]:.3g}"
            # a saddle of L may be a minimum on the endpoint's set: larger w tell
            self.weight *= 10.0 if slow or ended.status is Status.SADDLE else 1.0
            bound = max(0.01 * bound, gtol * factor)
            inner = replace(inner, gtol=bound, relative=False)

    def _first_weight(self, start: Control, look: _Look) -> float:
        """10 (v, H v) / |De v|^2, H the Hessian of J and v the direction in which the endpoint is
        approached fastest: the same in all units.  10 |J| / |e|^2 where that says nothing.
        """
        end, size = self.posed.constraint, self._size(look.residual)
        if end is None or not size > 0:
            return 1.0
        apart = Tracking(SquaredError(0.5), end.readout, end.target)
        pulled = replace(
            self.posed, endpoint=None, terminal=apart, running=None, penalty=None, admissible=None
        )
        space = self.problem.space
        v = space.unflatten(space.flatten(replace(self.reduced, problem=pulled).gradient(start)))
        length = space.norm(v)
        self.evaluations += 2
        if length > 0:
            bend = abs(space.inner(v, self.reduced.hvp(start, v))) / length**2
            weight = 10.0 * bend * (size / length) ** 2
            if 0.0 < weight < np.inf:
                return weight
        return 10.0 * abs(look.objective) / size**2 or 1.0

    def words(self, detail: str) -> str:
        """What is left of the endpoint, and why the run ended."""
        left = f"|readout(f(T)) - target| = {self.violation:.3g}"
        return ", ".join(part for part in (left, detail) if part)

    def _inner(self, inner: Minimizer, x: Control) -> tuple[Solution[Control], Array]:
        """The subproblem solved from x, and its measure on the way."""
        posed = self.posed.augmented(self.multiplier, self.weight)
        problem = replace(self.problem, objective=replace(self.reduced, problem=posed))
        inner.check(problem)
        descent = Descent(problem, inner, x, ())
        ended = inner.descend(descent, x)
        self.evaluations += descent.evaluations
        return ended, ended.history[inner.measure]

    def _look(self, control: Control) -> _Look:
        path = self.reduced.run(control)
        residual = self.posed.residual(path.states[-1, ...], control.like(self.posed.initial))
        return _Look(path.value + self.problem.extra(control), residual)

    def _size(self, residual: Array) -> float:
        """(sum_m s_m |e_m|^2)^(1/2)."""
        e = to_host(residual)
        squares = np.sum(self.measure_of_outputs[:, None] * e * e, axis=0)
        return float(np.sum(self.posed.sample_weights * squares)) ** 0.5

    def _numbers(self, look: _Look, ended: Solution[Control], measure: float) -> dict[str, float]:
        return {
            "objective": look.objective,
            "violation": self.violation,
            self.minimizer.measure: float(measure),
            "residual": float(np.hypot(measure, self.violation)),
            "weight": self.weight,
            "inner_iterations": ended.statistics["iterations"],
        }

    def _rank(self) -> str:
        """What is known of so many samples."""
        units, samples = self.posed.initial.shape
        if samples <= units + 1:
            return f"weight {self.weight:.1g}"
        return (
            f"weight {self.weight:.1g}; {samples} samples in R^{units} are more than d + 1 = "
            f"{units + 1}, so that not even targets near the initial values need be reached "
            "without brackets of the vector fields"
        )
