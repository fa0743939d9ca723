"""One problem by many methods, judged alike: what each control is worth, how sure that is, and its
certificate.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from continuum.arrays import to_host
from continuum.checks import check_positive
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.quadrature import Grid
from continuum.records import short

from .descent.minimize import minimize
from .descent.multistart import orbit
from .descent.run import Minimizer
from .descent.symmetries import Symmetry
from .evaluation import Evaluation, evaluate
from .flow.integrate import integrate
from .pontryagin.certificate import Certificate, pontryagin_certificate
from .run.solution import Solution, SolveError
from .run.status import Status
from .steps.embedded import DOP853


@dataclass(frozen=True, eq=False)
class Attempt:
    """What one method made of the problem.

    name : as given; seconds : wall time of the method alone
    solution : what it returned, failed or not
    evaluation : of its control on the continuous problem; None if it failed, for the
        certificate's reason
    certificate : of its control
    cluster : equal for controls that move the samples alike, 0 the best, -1 if it cannot be told
    """

    name: str
    seconds: float
    solution: Solution
    evaluation: Evaluation | None
    certificate: Certificate
    cluster: int

    __repr__ = short

    @property
    def objective(self) -> float:
        """J of the continuous problem, infinite if there is no evaluation."""
        return float("inf") if self.evaluation is None else self.evaluation.objective


@dataclass(frozen=True, eq=False)
class Comparison:
    """The attempts, the lowest objective first; printed, a table."""

    attempts: tuple[Attempt, ...]

    __repr__ = short

    @property
    def best(self) -> Attempt:
        """The lowest: no proof that there is no lower one."""
        return self.attempts[0]

    def __str__(self) -> str:
        head = (
            "method",
            "J",
            "depth error",
            "width error",
            "seconds",
            "gap",
            "|P(c - g) - c|",
            "extremal",
            "status",
        )
        rows = [head, *(_cells(a) for a in self.attempts)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        notes = [
            f"{a.name}: no certificate: {a.certificate.reason}"
            for a in self.attempts
            if not a.certificate.applies
        ]
        inexact = any(a.certificate.applies and not a.certificate.gap_exact for a in self.attempts)
        legend = "gap: int_0^T (H - min H) dt" + (
            ", * a lower bound, by local search" if inexact else ""
        )
        return "\n".join([*lines, legend, *notes])


def _cells(attempt: Attempt) -> tuple[str, ...]:
    judged, certificate = attempt.evaluation, attempt.certificate
    gap = (
        f"{certificate.total_gap:.2g}{'' if certificate.gap_exact else '*'}"
        if certificate.applies
        else "none"
    )
    return (
        attempt.name,
        f"{attempt.objective:.10g}",
        "-" if judged is None else f"{judged.depth_error:.1e}",
        "-" if judged is None or np.isnan(judged.width_error) else f"{judged.width_error:.1e}",
        f"{attempt.seconds:.3g}",
        gap,
        f"{certificate.projected_gradient:.1e}" if certificate.applies else "-",
        f"{attempt.cluster}",
        attempt.solution.status.name,
    )


@checked
def compare(
    problem: LearningProblem,
    methods: Mapping[str, Minimizer | Callable[[LearningProblem], Solution]],
    *,
    symmetries: Sequence[Symmetry] = (),
    atol: float = 1e-2,
    rtol: float = 1e-8,
    refined: Grid | None = None,
) -> Comparison:
    """Every method on the same problem, judged by the same functions.

    Objectives are those of the continuous problem, by `evaluate`, whatever discretization a method
    worked on; so they can be ranked.  Two controls are one extremal if their states at the ends of
    the layers differ by at most atol (1 + |f|) in L2 over time, up to the symmetries:
    only a - Bf moves f, so the controls need not be equal.

    methods : name -> a Minimizer, run by `minimize`, or a function of the problem that returns a
        Solution
    symmetries : generators, such as symmetries(problem)
    rtol, refined : see `evaluate`
    A method that raises an error keeps its row, which repeats it.
    raises TypeError for what is neither; ValueError for atol <= 0 or no methods
    """
    atol = check_positive("atol", atol)
    if not methods:
        raise ValueError("methods must name at least one method")
    done: list[tuple[str, float, Solution, Evaluation | None, str]] = []
    for name, method in methods.items():
        began = time.perf_counter()
        solution = _run(problem, method)
        seconds = time.perf_counter() - began
        judged, why = None, f"the method raised {solution.detail}"
        if solution.status is not Status.RAISED:
            try:
                judged = evaluate(problem, solution.control, rtol, refined)
            except SolveError as error:
                why = str(error)
        done.append((name, seconds, solution, judged, why))
    done.sort(key=lambda row: float("inf") if row[3] is None else row[3].objective)
    known: list[list[np.ndarray]] = []
    attempts = []
    for name, seconds, solution, judged, why in done:
        if judged is None:
            cluster = -1
        else:
            path = _path(problem, solution.control)
            near = atol * (1.0 + float(np.linalg.norm(path)))
            same = [
                n
                for n, paths in enumerate(known)
                if min(float(np.linalg.norm(p - path)) for p in paths) <= near
            ]
            if not same:
                images = orbit(problem.space, solution.control, symmetries)
                known.append([_path(problem, problem.space.unflatten(x)) for x in images])
            cluster = same[0] if same else len(known) - 1
        if judged is None:
            certificate = Certificate(False, why)
        elif not judged.feasible:
            certificate = Certificate(False, f"the control is not in {problem.admissible!r}")
        else:
            certificate = pontryagin_certificate(problem, solution.control, eigenvalues=0)
        attempts.append(Attempt(name, seconds, solution, judged, certificate, cluster))
    return Comparison(tuple(attempts))


def _path(problem: LearningProblem, control: Control) -> np.ndarray:
    """The states at the ends of the layers, scaled so that the Euclidean norm is that of L2 in time
    and over units.
    """
    stepper = DOP853(rtol=1e-6, atol=1e-9)
    run = integrate(problem.network, control, problem.initial, stepper, save="layers")
    states = to_host(run.trajectory.states)
    units = np.sqrt(problem.network.weights[:, None] * problem.sample_weights)
    return states[1:] * units * np.sqrt(problem.mesh.steps)[:, None, None]


def _run(
    problem: LearningProblem, method: Minimizer | Callable[[LearningProblem], Solution]
) -> Solution:
    """What a method returns, failed or not; Status.RAISED with the error if it raises one, so that
    the others keep their rows.
    """
    try:
        solution = minimize(problem, method) if isinstance(method, Minimizer) else method(problem)
        if not isinstance(getattr(solution, "value", None), Control):
            raise TypeError(f"the method returned no Solution of a control but {solution!r}")
    except Exception as error:  # whatever a user's method raises
        if isinstance(error, SolveError) and isinstance(error.solution.value, Control):
            return error.solution
        words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        zero = problem.space.zeros()
        return Solution(zero, Status.RAISED, words, objective=float("inf"))
    return solution
