"""What all minimizers share: evaluations that are finite, history, the test of convergence."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cache
from typing import ClassVar, TypeVar

import numpy as np

from continuum.arrays import Array, is_numpy, like, namespace, to_host
from continuum.checks import check_count, check_positive, store
from continuum.controls import Control
from continuum.penalties import Penalty, sum_of, terms_of
from continuum.problem import LearningProblem

from ..adjoint.discretize import Path, ReducedObjective, discretize
from ..run.iteration import NotFinite, Run
from ..run.monitors import Monitor
from ..run.solution import Solution, SolveError
from ..run.status import Status
from .objective import Composite, Objective, ProblemObjective, hessian
from .vectors import Vectors

OfProblem = TypeVar("OfProblem", bound=ProblemObjective)


@dataclass(frozen=True)
class Minimizer(ABC):
    """A way to descend, and when it ends.

    gtol : the run ends when its measure, in the history under the name `measure`, is at most gtol:
        the control is then stationary to that accuracy, which a minimum, a saddle and a maximum are
    relative : if True the run ends at gtol times the measure of its start: the gradient has fallen
        by that factor, whatever its units
    max_iterations : the cap
    raises ValueError for numbers that are not positive
    """

    semi_gradients: ClassVar[bool] = False
    """True if it makes sense of a gradient that is no derivative of the value."""
    keep_best: ClassVar[bool] = True
    """True if a failure returns the best iterate, False if the last one."""
    _: KW_ONLY
    gtol: float = 1e-6
    max_iterations: int = 1000
    relative: bool = False

    def __post_init__(self) -> None:
        store(self, check_positive, "gtol")
        store(self, check_count, "max_iterations")

    @property
    def measure(self) -> str:
        """What gtol bounds: "gradient_norm", |prox(x - g) - x|, unless the minimizer says
        otherwise.
        """
        return "gradient_norm"

    def check(self, problem: Composite) -> None:  # noqa: B027 - one that treats everything has nothing to check
        """Raises TypeError, saying what to use instead, if it cannot treat the set or the penalty
        of the problem.
        """

    @abstractmethod
    def descend(self, run: "Descent", start: Control) -> Solution[Control]:
        """The run from an admissible start."""


class OutOfDomain(NotFinite):
    """The objective is +infinity or NaN, or the state not finite: a shorter step may help."""


class Descent(Run[Array]):
    """The run of a Minimizer, in vectors of coefficients (size,), of which controls are views.

    Gradients represent derivatives in the product of the space, so that x - s g is a step in these
    coordinates as in any; lengths and angles are `norm` and `dot`.  Every number of the objective
    comes through here, so that none that is not finite goes on.
    """

    def __init__(
        self,
        problem: Composite,
        minimizer: Minimizer,
        start: Control,
        monitors: Sequence[Monitor],
    ) -> None:
        self.problem, self.minimizer, self.space = problem, minimizer, problem.space
        self.trouble = ""
        """What was not finite when the objective was last asked for; empty if all was."""
        self.space.check_weights()
        x = self.space.join(start)
        super().__init__(
            x, self.space.views, minimizer.max_iterations, monitors, keep_best=minimizer.keep_best
        )
        self.vectors = Vectors(problem, x)
        self._pool, self._room = [x], None

    def room(self) -> Array:
        """A new vector, to be written to."""
        return namespace(self.last).empty_like(self.last)

    def to_host(self) -> None:
        """From here on its vectors are NumPy's; the control that is found goes back to where the
        start was.
        """
        if not is_numpy(self.last):
            start = self.last
            self.control = lambda x: self.space.views(like(x, start))
            self.last = self.best = to_host(start)
            self.vectors = Vectors(self.problem, self.last)
            self._pool, self._room = [self.last], None

    def spare(self, *kept: Array) -> Array:
        """A vector to write to: none of `kept`, and neither the last nor the best iterate of the
        run, which it may return.
        """
        used = {id(x) for x in (self.last, self.best, *kept)}
        for x in self._pool:
            if id(x) not in used:
                return x
        self._pool.append(self.room())
        return self._pool[-1]

    def dot(self, x: Array, y: Array) -> float:
        """(x, y) in the product of the space."""
        return self.space.dot(x, y)

    def norm(self, x: Array) -> float:
        """|x| in the product of the space."""
        return self.space.dot(x, x) ** 0.5

    def evaluate(
        self, control: Control, objective: Objective | None = None, out: Array | None = None
    ) -> tuple[float, Array]:
        """The objective without its penalty, and the gradient of that.

        objective : another one than the problem's, a batch
        out : where to write the gradient, no part of the control; None for a new vector
        raises OutOfDomain where the value is +infinity or NaN, or the state is not finite;
            NotFinite where it is -infinity, or the gradient is not finite
        """
        self.evaluations += 1
        asked = self.problem.objective if objective is None else objective
        out = self.room() if out is None else out
        try:
            if takes_out(type(asked)):
                value, _ = asked.value_and_gradient(control, out=self.space.views(out))  # type: ignore[call-arg]
            else:
                value, gradient = asked.value_and_gradient(control)
                self.space.join(gradient, out)
        except SolveError as error:
            self.trouble = str(error)
            raise OutOfDomain(self.trouble) from error
        if not self._seen(value) < np.inf:
            raise OutOfDomain(self.trouble)
        if not self.vectors.finite(out):
            raise NotFinite("the gradient has entries that are infinite or NaN")
        return float(value), out

    def smooth(self, control: Control) -> float:
        """The objective without its penalty; +infinity where it is NaN or cannot be computed.
        Raises NotFinite where it is -infinity.
        """
        self.evaluations += 1
        try:
            return self._seen(self.problem.objective.value(control))
        except SolveError as error:
            self.trouble = str(error)
            return np.inf

    def value(self, control: Control) -> float:
        """The whole objective; +infinity where it is NaN or cannot be computed.  Raises NotFinite
        where it is -infinity.
        """
        smooth = self.smooth(control)
        return self._seen(smooth + self.problem.extra(control)) if smooth < np.inf else np.inf

    def hessian(self, x: Array) -> Callable[[Array], Array]:
        """v -> the Hessian at x applied to v, for many v.  Raises NotFinite, now or later, where it
        is not finite or cannot be computed.
        """
        try:
            bent = hessian(self.problem.objective, self.space.views(x))
        except SolveError as error:
            raise NotFinite(str(error)) from error

        def product(v: Array) -> Array:
            self.evaluations += 1
            try:
                found = self.space.join(bent(self.space.views(v)))
            except SolveError as error:
                raise NotFinite(str(error)) from error
            if not self.vectors.finite(found):
                raise NotFinite("the Hessian-vector product has entries that are infinite or NaN")
            return found

        return product

    def residual(self, x: Array, gradient: Array) -> float:
        """|prox(x - g) - x|; |g| where there is neither penalty nor set."""
        if self.vectors.free:
            return self.norm(gradient)
        if self._room is None:
            self._room = self.room()
        return self.vectors.step(x, gradient, 1.0, self._room)[0] ** 0.5

    def accept(
        self, x: Array, value: float, gradient: Array, measure: float | None = None
    ) -> Status | None:
        """Records an iterate; the status if it is the last.  measure : |prox(x - g) - x| if not
        given.
        """
        if measure is None:
            measure = self.residual(x, gradient)
        if not np.isfinite(measure):
            raise NotFinite(f"the {self.minimizer.measure} is {measure}")
        first = self.columns.get(self.minimizer.measure, [measure])[0]
        converged = measure <= self.minimizer.gtol * (first if self.minimizer.relative else 1.0)
        numbers = {"objective": value, self.minimizer.measure: measure}
        stop = self.record(x, numbers, last=converged)
        if converged:
            gradient_norm = self.minimizer.measure == "gradient_norm"
            return Status.CONVERGED if gradient_norm else Status.GAP_CLOSED
        if stop:
            return Status.STOPPED
        return Status.MAX_ITERATIONS if self.iterations == self.max_iterations else None

    def solution(self, status: Status, detail: str = "", **statistics: float) -> Solution[Control]:
        """See Run; with the number of iterations and the last measure in words.

        A line search that failed where the objective is not finite is called that.
        statistics : "iterations" among them where not every iteration has a row
        """
        if status is Status.LINE_SEARCH_FAILED and self.trouble:
            status, detail = Status.NON_FINITE_OBJECTIVE, self.trouble
        measure = self.minimizer.measure
        parts = [f"after {statistics.get('iterations', self.iterations):.0f} iterations"]
        if self.records:
            name = "projected gradient" if measure == "gradient_norm" else f"duality {measure}"
            start = f" of {self.columns[measure][0]:.3g}" if self.minimizer.relative else ""
            parts.append(f"{name} {self.columns[measure][-1]:.3g}{start}")
        if status is Status.CONVERGED and self.iterations == 0:
            parts.append("the start is stationary: another one may lead elsewhere")
        if detail:
            parts.append(detail)
        return super().solution(status, ", ".join(parts), **statistics)

    def _seen(self, value: float) -> float:
        """`value`, +infinity for NaN, and what is wrong with it in `trouble`."""
        value = float(value)
        if value == -np.inf:
            raise NotFinite("the objective is -infinity")
        self.trouble = "" if np.isfinite(value) else f"the objective is {value}"
        return value if value == value else np.inf


def composite(given: LearningProblem | Objective | Composite) -> Composite:
    """The problem as its differentiable part and the rest; a LearningProblem is discretized by
    Euler, the ResNet.

    raises TypeError for what is neither a problem nor an objective
    """
    if isinstance(given, Composite):
        return given
    target = discretize(given) if isinstance(given, LearningProblem) else given
    if not isinstance(target, ProblemObjective):
        if not all(hasattr(target, name) for name in ("space", "value", "value_and_gradient")):
            raise TypeError(f"objective must be a LearningProblem or an Objective, got {given!r}")
        return Composite(target)
    smooth, rough = _split(target)
    return Composite(smooth, sum_of(rough), target.problem.admissible)


def smooth_run(objective: ReducedObjective, control: Control) -> Path:
    """`objective.run(control)`, with the whole J as its value, and the gradient of J without the
    terms of the penalty that have none.
    """
    smooth, rough = _split(objective)
    path = smooth.run(control)
    return replace(path, value=path.value + sum(t.value(control) for t in rough))


def _split(objective: OfProblem) -> tuple[OfProblem, list[Penalty]]:
    """The objective without the terms of the penalty that have no gradient, and these."""
    problem, terms = objective.problem, terms_of(objective.problem.penalty)
    rough = [t for t in terms if not t.smooth]
    if not rough:
        return objective, rough
    smooth = replace(problem, penalty=sum_of([t for t in terms if t.smooth]))
    return replace(objective, problem=smooth), rough  # type: ignore[type-var]  # a dataclass


@cache
def takes_out(kind: type) -> bool:
    """True if `value_and_gradient` of objectives of this type writes the gradient where it is
    told, `out=`.
    """
    method = getattr(kind, "value_and_gradient", None)
    return method is not None and "out" in inspect.signature(method).parameters


def refuse(minimizer: Minimizer, what: object, instead: str) -> TypeError:
    """The error of a minimizer that cannot treat a set or a penalty."""
    return TypeError(f"{type(minimizer).__name__} cannot treat {what!r}; use {instead}")
