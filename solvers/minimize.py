"""Gradient methods on any Objective, in the flat coordinates whose Euclidean product is the space's own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from continuum.arrays import Array, namespace, to_host
from continuum.checks import check_count, check_positive
from continuum.controls import Control
from continuum.problem import LearningProblem
from continuum.sets import AdmissibleSet, Box

from .adjoint import ReducedObjective, discretize
from .monitors import Monitor, Snapshot, Watch
from .objective import Objective
from .solution import Solution, SolveError
from .status import Status


@dataclass(frozen=True)
class GradientDescent:
    """x <- P(x - s g), with s halved until J falls by 1e-4 |x_new - x|^2 / s (Armijo), then tried doubled.

    P is the projection on the admissible set.  Converged when |P(x - g) - x| <= gtol in the space's norm.
    """

    gtol: float = 1e-6
    max_iterations: int = 1000
    initial_step: float = 1.0

    def __post_init__(self) -> None:
        check_positive("gtol", self.gtol)
        check_count("max_iterations", self.max_iterations)
        check_positive("initial_step", self.initial_step)


@dataclass(frozen=True)
class LBFGS:
    """SciPy's L-BFGS-B in the space's own coordinates; a Box becomes its bounds.

    Converged when the projected gradient |P(x - g) - x| <= gtol in the space's norm.
    memory : number of past steps kept
    """

    gtol: float = 1e-6
    max_iterations: int = 1000
    memory: int = 20

    def __post_init__(self) -> None:
        check_positive("gtol", self.gtol)
        check_count("max_iterations", self.max_iterations)
        check_count("memory", self.memory)


Method = GradientDescent | LBFGS


def minimize(
    objective: LearningProblem | Objective,
    method: Method,
    *,
    initial: Control | None = None,
    monitors: Sequence[Monitor] = (),
    raise_on_failure: bool = True,
) -> Solution:
    """The control to which a gradient method descends.

    objective : a problem, which is discretized by Euler (the ResNet), or any Objective
    initial : where to start, projected on the admissible set; zero unless said otherwise, which can be a trap (LM-55)
    monitors : see a Snapshot with values "objective" and "gradient_norm" at every iteration
    returns Solution with .control, .objective, .history ("objective", "gradient_norm", "seconds", one entry per
        iteration, the start included) and statistics "iterations", "evaluations", "seconds"
    raises SolveError if it does not converge, unless raise_on_failure=False; TypeError, ValueError for bad input
    """
    target = discretize(objective) if isinstance(objective, LearningProblem) else objective
    admissible = target.problem.admissible if isinstance(target, ReducedObjective) else None
    space = target.space
    if initial is None:
        initial = space.zeros()
    elif not isinstance(initial, Control):
        raise TypeError(
            f"initial must be a Control of the problem's space, got {type(initial).__name__}; "
            "a control made of functions cannot be trained: space.sample(...) makes one that can"
        )
    elif initial.space is not space and [(b.name, space.shape(b)) for b in space.trained] != [
        (b.name, initial.space.shape(b)) for b in initial.space.trained
    ]:
        raise ValueError("initial lives in another space than the problem's controls")
    if not isinstance(method, GradientDescent | LBFGS):
        raise TypeError(f"method must be GradientDescent() or LBFGS(), got {method!r}")
    run = _Run(target, admissible, method, Watch(monitors, method.max_iterations))
    start = Control(space, {name: initial[name] for name in initial}, trusted=True)
    if admissible is not None:
        start = admissible.project(start)
    if not np.isfinite(target.value(start)):
        solution = Solution(start, Status.NON_FINITE_START, objective=float("inf"))
    elif isinstance(method, GradientDescent):
        solution = _gradient_descent(run, method, start)
    else:
        solution = _lbfgs(run, method, start)
    return solution.raise_if_failed(raise_on_failure)


class _Run:
    """The bookkeeping both methods share: evaluations, history, the test of convergence."""

    def __init__(self, objective: Objective, admissible: AdmissibleSet | None, method: Method, watch: Watch) -> None:
        self.objective, self.admissible, self.method, self.watch = objective, admissible, method, watch
        self.space = objective.space
        self.began = time.perf_counter()
        self.evaluations = 0
        self.rows: list[tuple[float, float, float]] = []

    def evaluate(self, control: Control) -> tuple[float, Array]:
        """J and the flat gradient."""
        self.evaluations += 1
        value, gradient = self.objective.value_and_gradient(control)
        return value, self.space.flatten(gradient)

    def project(self, x: Array) -> Array:
        """The flat vector of the projection on the admissible set."""
        if self.admissible is None:
            return x
        return self.space.flatten(self.admissible.project(self.space.unflatten(x)))

    def accept(self, x: Array, value: float, gradient: Array) -> Status | None:
        """Records an iterate; the status if it is the last."""
        residual = _norm(self.project(x - gradient) - x)
        iteration = len(self.rows)
        self.rows.append((value, residual, time.perf_counter() - self.began))
        last = residual <= self.method.gtol or iteration == self.method.max_iterations
        numbers = {"objective": value, "gradient_norm": residual}
        moment = Snapshot(iteration, self.method.max_iterations, float(iteration), x, numbers)
        stop = self.watch.look(moment, last=last)
        if residual <= self.method.gtol:
            return Status.CONVERGED
        if stop:
            return Status.STOPPED
        return Status.MAX_ITERATIONS if iteration == self.method.max_iterations else None

    def solution(self, x: Array, status: Status) -> Solution:
        objective, residual, seconds = (np.array(column) for column in zip(*self.rows, strict=True))
        detail = f"after {len(self.rows) - 1} iterations, projected gradient {residual[-1]:.3g}"
        if status is Status.STOPPED and self.watch.reason:
            detail += f", {self.watch.reason}"
        history = {"objective": objective, "gradient_norm": residual, "seconds": seconds}
        return Solution(
            self.space.unflatten(x),
            status,
            detail,
            objective=float(objective[-1]),
            history={**history, **self.watch.history()},
            statistics={
                "iterations": float(len(self.rows) - 1),
                "evaluations": float(self.evaluations),
                "seconds": time.perf_counter() - self.began,
            },
        )


def _norm(x: Array) -> float:
    return float(namespace(x).sum(x * x)) ** 0.5


def _gradient_descent(run: _Run, method: GradientDescent, start: Control) -> Solution:
    x = run.space.flatten(start)
    value, gradient = run.evaluate(start)
    step = method.initial_step
    while True:
        status = run.accept(x, value, gradient)
        if status is not None:
            return run.solution(x, status)
        while True:
            trial = run.project(x - step * gradient)
            moved = _norm(trial - x)
            control = run.space.unflatten(trial)
            run.evaluations += 1
            if moved > 0 and run.objective.value(control) <= value - 1e-4 * moved**2 / step:
                break
            step /= 2
            if step * _norm(gradient) <= 1e-16 * (1 + _norm(x)):
                return run.solution(x, Status.LINE_SEARCH_FAILED)
        x = trial
        value, gradient = run.evaluate(control)
        step *= 2


def _lbfgs(run: _Run, method: LBFGS, start: Control) -> Solution:
    space = run.space
    latest: dict[str, Array | float] = {}
    best: dict[str, Array | Status | None] = {}

    def evaluate(x: Array) -> tuple[float, Array]:
        try:
            value, gradient = run.evaluate(space.unflatten(x))
        except SolveError:  # the line search then shortens the step
            return float("inf"), np.zeros_like(x)
        latest.update(x=x.copy(), value=value, gradient=to_host(gradient))
        return value, to_host(gradient)

    def visit(x: Array) -> None:
        if not np.array_equal(latest.get("x", np.empty(0)), x):
            evaluate(x)
        status = run.accept(x, float(latest["value"]), np.asarray(latest["gradient"]))  # type: ignore[arg-type]
        best.update(x=x.copy(), status=status)
        if status is not None:
            raise StopIteration

    def callback(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        visit(intermediate_result.x)

    x = to_host(space.flatten(start))
    bounds = None
    if isinstance(run.admissible, Box):
        sides = []
        for side in (0, 1):
            free = (-np.inf, np.inf)[side]
            limits = {
                b.name: np.full(space.shape(b), run.admissible.bounds.get(b.name, (free, free))[side])
                for b in space.trained
            }
            sides.append(space.flatten(Control(space, limits, trusted=True)))
        bounds = scipy.optimize.Bounds(*sides)
    elif run.admissible is not None:
        raise TypeError(f"LBFGS takes a Box as admissible set, got {run.admissible!r}; use GradientDescent()")
    try:
        visit(x)
    except StopIteration:
        return run.solution(x, best["status"])  # type: ignore[arg-type]
    scipy.optimize.minimize(
        evaluate,
        x,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        callback=callback,
        options={
            "maxcor": method.memory,
            "gtol": 0.0,
            "ftol": 0.0,
            "maxiter": method.max_iterations + 1,
            "maxfun": 50 * method.max_iterations,
        },
    )
    status = best["status"]
    return run.solution(np.asarray(best["x"]), status if isinstance(status, Status) else Status.LINE_SEARCH_FAILED)
