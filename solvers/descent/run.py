"""What the methods of `minimize` share: evaluations, history, the test of convergence."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np

from continuum.arrays import Array, namespace
from continuum.checks import check_count, check_positive
from continuum.controls import Control
from continuum.penalties import Penalty
from continuum.problem import LearningProblem
from continuum.sets import Box

from ..adjoint.discretize import ReducedObjective, discretize
from ..run.monitors import Monitor, Snapshot, Watch
from ..run.solution import Solution
from ..run.status import Status
from .objective import Composite, Objective


@dataclass(frozen=True)
class Minimizer(ABC):
    """A way to descend, and when it ends.

    gtol : the run has converged when its measure, in the history under the name `measure`, is at
        most gtol
    max_iterations : the cap
    raises ValueError for numbers that are not positive
    """

    gtol: float = 1e-6
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        check_positive("gtol", self.gtol)
        check_count("max_iterations", self.max_iterations)

    @property
    def measure(self) -> str:
        """What gtol bounds: "gradient_norm", |prox(x - g) - x|, unless the method says
        otherwise.
        """
        return "gradient_norm"

    def check(self, problem: Composite) -> None:  # noqa: B027 - a method that treats everything has nothing to check
        """Raises TypeError, saying what to use instead, if it cannot treat the set or the penalty
        of the problem.
        """

    @abstractmethod
    def descend(self, run: "Run", start: Control) -> Solution:
        """The run from an admissible start."""


class Run:
    """The bookkeeping of one run, in the flat coordinates whose Euclidean product is the space's
    own.
    """

    def __init__(self, problem: Composite, method: Minimizer, monitors: Sequence[Monitor]) -> None:
        self.problem, self.method = problem, method
        self.watch = Watch(monitors, method.max_iterations)
        self.space = problem.space
        self.began = time.perf_counter()
        self.evaluations = 0
        self.rows: list[tuple[float, float, float]] = []

    def evaluate(self, control: Control) -> tuple[float, Array]:
        """The objective without its penalty, and the flat gradient of that."""
        self.evaluations += 1
        value, gradient = self.problem.objective.value_and_gradient(control)
        return value, self.space.flatten(gradient)

    def value(self, control: Control) -> float:
        """The whole objective."""
        self.evaluations += 1
        return self.problem.value(control)

    def prox(self, x: Array, step: float) -> Array:
        """The joint proximal map of penalty and set, on flat vectors."""
        if self.problem.penalty is None and self.problem.admissible is None:
            return x
        return self.space.flatten(self.problem.prox(self.space.unflatten(x), step))

    def accept(
        self, x: Array, value: float, gradient: Array, measure: float | None = None
    ) -> Status | None:
        """Records an iterate; the status if it is the last.  measure : |prox(x - g) - x| if not
        given.
        """
        if measure is None:
            measure = norm(self.prox(x - gradient, 1.0) - x)
        iteration, most = len(self.rows), self.method.max_iterations
        self.rows.append((value, measure, time.perf_counter() - self.began))
        converged = measure <= self.method.gtol
        numbers = {"objective": value, self.method.measure: measure}
        moment = Snapshot(iteration, most, float(iteration), x, numbers)
        stop = self.watch.look(moment, last=converged or iteration == most)
        if converged:
            return Status.CONVERGED if self.method.measure == "gradient_norm" else Status.GAP_CLOSED
        if stop:
            return Status.STOPPED
        return Status.MAX_ITERATIONS if iteration == most else None

    def solution(self, x: Array, status: Status, detail: str = "") -> Solution:
        """The Solution that ends at x, the last iterate that was accepted."""
        objective, measure, seconds = (np.array(column) for column in zip(*self.rows, strict=True))
        name = (
            "projected gradient"
            if self.method.measure == "gradient_norm"
            else f"duality {self.method.measure}"
        )
        text = f"after {len(self.rows) - 1} iterations, {name} {measure[-1]:.3g}"
        if status is Status.STOPPED and self.watch.reason:
            text += f", {self.watch.reason}"
        history = {"objective": objective, self.method.measure: measure, "seconds": seconds}
        return Solution(
            self.space.unflatten(x),
            status,
            f"{text}, {detail}" if detail else text,
            objective=float(objective[-1]),
            history={**history, **self.watch.history()},
            statistics={
                "iterations": float(len(self.rows) - 1),
                "evaluations": float(self.evaluations),
                "seconds": time.perf_counter() - self.began,
            },
        )


def composite(given: LearningProblem | Objective | Composite) -> Composite:
    """The problem as its differentiable part and the rest; a LearningProblem is discretized by
    Euler, the ResNet.

    raises TypeError for what is neither a problem nor an objective
    """
    if isinstance(given, Composite):
        return given
    target = discretize(given) if isinstance(given, LearningProblem) else given
    if not isinstance(target, ReducedObjective):
        if not all(hasattr(target, name) for name in ("space", "value", "value_and_gradient")):
            raise TypeError(f"objective must be a LearningProblem or an Objective, got {given!r}")
        return Composite(target)
    problem = target.problem
    terms = problem.penalty.terms if problem.penalty is not None else ()
    rough = [t for t in terms if not t.smooth]
    if rough:
        target = replace(
            target, problem=replace(problem, penalty=_sum([t for t in terms if t.smooth]))
        )
    return Composite(target, _sum(rough), problem.admissible)


def norm(x: Array) -> float:
    """The Euclidean norm."""
    return float(namespace(x).sum(x * x)) ** 0.5


def dot(x: Array, y: Array) -> float:
    """The Euclidean product."""
    return float(namespace(x).sum(x * y))


def only_boxes(problem: Composite) -> bool:
    """True if the set, where there is one, is a Box or a product of them."""
    return problem.admissible is None or all(isinstance(p, Box) for p in problem.admissible.parts)


def refuse(method: Minimizer, what: object, instead: str) -> TypeError:
    """The error of a method that cannot treat a set or a penalty."""
    return TypeError(f"{type(method).__name__} cannot treat {what!r}; use {instead}")


def _sum(terms: list[Penalty]) -> Penalty | None:
    return reduce(add, terms) if terms else None
