"""Steps that nobody searches: gradient descent as it is iterated in theory, with or without
momentum.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from continuum.arrays import Array
from continuum.checks import (
    check_count,
    check_name,
    check_number,
    check_positive,
    check_rng,
    store,
)
from continuum.controls import Control
from continuum.doors import checked

from ..run.iteration import NotFinite
from ..run.solution import Solution
from ..run.status import Status
from .objective import Composite, Objective, SteppedObjective, batches, check_batch
from .run import Descent, Minimizer

CYCLE, RETURNS = 500, 5
"""Period two is looked for at the end of so many iterations, in so many iterates in a row."""


@checked
@dataclass(frozen=True)
class FixedStep(Minimizer):
    """x_{k+1} = prox_s(y_k - s g(y_k)),  y_k = x_k + beta_k (x_k - x_{k-1}),  y_0 = x_0.

    The step s is what was given.  Nothing is searched, J may rise, and whether the iteration
    converges at all depends on s: a minimum is left, without momentum, if s > 2 / sharpness, the
    largest eigenvalue of the Hessian there.  prox_s is the proximal map of a penalty that has no
    gradient, and the projection on the admissible set.

    step : > 0, or a function of (k, x_k), x_k a Control
    momentum : beta_k, a number in [0, 1), or "nesterov", (k - 1) / (k + 2) for k >= 1, so that x_1
        and x_2 are plain steps and beta_2 = 1/4; None for none
    batch : how many samples g sees, shuffled anew in each epoch, as in Adam; None for all.  A run
        on batches ends with Status.ITERATED, which claims no convergence and is no failure
    rng : Generator of the shuffling, that of seed 0 if None; a run draws from a copy of it
    report : with momentum or batches, how many iterations (epochs) lie between two rows of the
        history, which take a gradient at x_k of their own.  Without, every iterate has a row
    max_iterations : how many steps; with batches, epochs
    gtol : compared with |prox_1(x_k - g(x_k)) - x_k| in each row

    Unless it converged, the run returns the last iterate that has a row, and not the best.  Ends,
    besides those of every minimizer: NON_FINITE_OBJECTIVE, with the number of steps after which J
    or the norm of its gradient is not finite; with a number as step and without momentum and
    batches, PERIOD_TWO, where five times in a row x_{k+2} = x_k to 1e-9 of |x_{k+1} - x_k|, and
    that is above 1e-6 of |x_k|, which an oscillation that falls by a factor below 1 - 1e-9 never
    shows.  It is looked for after each 500 steps and at the end.
    An objective that is a `SteppedObjective` makes many steps in one call where there is no set,
    proximal penalty, batch, monitor, and step is a number.
    raises ValueError, TypeError for numbers out of range; when used, for batches of an objective
        without samples
    Source: Nar and Sastry (2018), (4); Su, Boyd and Candes, J. Mach. Learn. Res. 17 (2016),
        for this form of Nesterov's momentum.
    """

    keep_best: ClassVar[bool] = False
    step: float | Callable[[int, Control], float]
    momentum: float | str | None = field(default=None, kw_only=True)
    batch: int | None = field(default=None, kw_only=True)
    rng: np.random.Generator | None = field(default=None, kw_only=True)
    report: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.step):
            store(self, check_positive, "step")
        if isinstance(self.momentum, str):
            check_name("momentum", self.momentum, ("nesterov",))
        elif self.momentum is not None:
            store(self, check_number, "momentum")
            if not 0.0 <= self.momentum < 1.0:
                raise ValueError(f"momentum must be in [0, 1), got {self.momentum!r}")
        if self.batch is not None:
            store(self, check_count, "batch")
        check_rng("rng", self.rng)
        store(self, check_count, "report")

    @property
    def plain(self) -> bool:
        """True without momentum and batches: a step is a function of the iterate alone."""
        return not self.momentum and self.batch is None

    def check(self, problem: Composite) -> None:
        """Raises TypeError, ValueError for batches that it cannot make."""
        check_batch(problem.objective, self.batch)

    def descend(self, run: Descent, start: Control) -> Solution[Control]:
        """The run from an admissible start."""
        with np.errstate(over="ignore", invalid="ignore"):
            return _Steps(self, run, start).run_through()


class _Steps:
    """One run: the iterate x after `made` steps, and the one before."""

    def __init__(self, method: FixedStep, run: Descent, start: Control) -> None:
        self.method, self.run, self.objective = method, run, run.problem.objective
        self.x = self.before = run.last
        self.gradient = run.room()
        self.ahead: Array | None = None
        """Room for y, where there is momentum."""
        self.earlier: Array | None = None
        """The iterate before that, if it is known."""
        self.made, self.rounds, self.reported, self.returns = 0, 0, 0, 0
        self.rng = copy.deepcopy(check_rng("rng", method.rng))
        quiet = method.batch is None and not run.watch.monitors
        self.many: SteppedObjective | None = None
        held = run.vectors.free and quiet and not callable(method.step)
        if held and isinstance(self.objective, SteppedObjective):
            self.many = self.objective

    def run_through(self) -> Solution[Control]:
        """Rounds, which are steps or epochs, until a row of the history is the last."""
        method, run = self.method, self.run
        apart = 1 if method.plain else method.report
        try:
            while True:
                if method.plain and self.many is not None:
                    self._rows_ahead(self.many)
                status = self._row()
                if status is not None:
                    return self._end(status)
                count = min(apart, method.max_iterations - self.rounds)
                if method.batch is not None:
                    self._epochs(count)
                elif not method.plain and self.many is not None:
                    self._ahead(self.many, count)
                else:
                    for _ in range(count):
                        self._step(self.objective, known=method.plain)
                self.rounds += count
        except NotFinite as error:
            if not run.records:
                raise
            steps = "1 step" if self.made == 1 else f"{self.made} steps"
            return self._end(Status.NON_FINITE_OBJECTIVE, f"not finite after {steps}: {error}")

    def _end(self, status: Status, detail: str = "") -> Solution[Control]:
        if self.method.batch is not None:
            detail = ", ".join(part for part in (f"{self.reported} epochs", detail) if part)
        return self.run.solution(status, detail, iterations=float(self.reported))

    def _row(self) -> Status | None:
        """The status if the iterate, which gets a row of the history, is the last; its gradient is
        in `gradient`.
        """
        run = self.run
        value = self._evaluate(self.x, self.objective)
        value += run.problem.extra(run.space.views(self.x))
        status = run.accept(self.x, value, self.gradient)
        self.reported = self.rounds
        last = self.rounds == self.method.max_iterations
        if last and status in (None, Status.MAX_ITERATIONS):
            status = Status.MAX_ITERATIONS if self.method.batch is None else Status.ITERATED
        if status in (None, Status.MAX_ITERATIONS) and self._returned():
            status = Status.PERIOD_TWO
        return status

    def _step(self, objective: Objective, known: bool = False) -> None:
        """One step.  known : whether `gradient` is that at the iterate, where there is no
        momentum.
        """
        run, y, beta = self.run, self.x, self._momentum()
        if beta != 0.0:
            if self.ahead is None:
                self.ahead = run.room()
            y = self.ahead
            run.vectors.combine(self.x, beta, self.x, self.before, y)
        if not known:
            self._evaluate(y, objective)
        step = self.method.step
        if callable(step):  # its control may be kept, this vector is written to again
            shown = run.space.join(run.space.views(self.x))
            step = check_positive("step", step(self.made, run.space.views(shown)))
        new = run.spare(self.x, self.before)
        run.vectors.step(y, self.gradient, step, new)
        self.earlier, self.before, self.x = self.before, self.x, new
        self.made += 1

    def _evaluate(self, x: Array, objective: Objective) -> float:
        """J; its gradient is in `gradient`."""
        if not self.run.vectors.finite(x):
            raise NotFinite("the control has entries that are infinite or NaN")
        value, _ = self.run.evaluate(self.run.space.views(x), objective, self.gradient)
        if not np.isfinite(self.run.norm(self.gradient)):
            raise NotFinite("the norm of the gradient is infinite")
        return value

    def _momentum(self) -> float:
        if self.method.momentum == "nesterov":
            return max(self.made - 1, 0) / (self.made + 2.0)
        return float(self.method.momentum or 0.0)

    def _epochs(self, count: int) -> None:
        for _ in range(count):
            for part in batches(self.objective, self.method.batch, self.rng):
                self._step(part)

    # Steps in one call

    def _ahead(self, many: SteppedObjective, count: int, most: int = 1000) -> None:
        """Steps with momentum, in calls of `most`, so that Ctrl-C is heard in between."""
        for done in range(0, count, most):
            values, norms = self._call(many, min(most, count - done))
            good = np.isfinite(values) & np.isfinite(norms)
            if not good.all():
                self.made += int(np.argmin(good)) - len(good)
                raise NotFinite("the objective or its gradient")

    def _rows_ahead(self, many: SteppedObjective) -> None:
        """Steps without momentum and their rows, up to one that needs a closer look."""
        method, run = self.method, self.run
        while (count := self._unwatched()) > 0:
            here = self.x, self.before, self.made
            values, norms = self._call(many, count)
            first = run.columns.get(method.measure, norms)[0]
            bound = method.gtol * (first if method.relative else 1.0)
            good = np.isfinite(values) & np.isfinite(norms) & (norms > bound)
            if not good.all():
                count, self.many = int(np.argmin(good)), None
                self.x, self.before, self.made = here
                if count > 0:
                    values, norms = self._call(many, count)
            if count > 0:
                run.record_rows(self.before, {"objective": values, method.measure: norms})
                self.rounds = self.made
                self.reported = self.made - 1
            if self.many is None:
                return

    def _call(self, many: SteppedObjective, count: int) -> tuple[Array, Array]:
        """The values and the norms of the gradients of `count` steps."""
        method = self.method
        beta = None if method.momentum == "nesterov" else float(method.momentum or 0.0)  # type: ignore[arg-type]
        self.x, self.before, values, norms = many.fixed_steps(
            self.x,
            self.before,
            method.step,  # type: ignore[arg-type]  # no function
            beta,
            self.made,
            count,
        )
        self.earlier = None
        self.made += count
        self.run.evaluations += count
        return values, norms

    # Period two

    def _unwatched(self) -> int:
        """How many steps lead to the last iterate before those that are asked for period two;
        negative for these.
        """
        inside = CYCLE - RETURNS - 1 - self.made % CYCLE
        return min(inside, self.method.max_iterations - RETURNS - self.made)

    def _returned(self) -> bool:
        """True if this is the last of so many iterates to which x returned after two steps."""
        same = self.method.plain and not callable(self.method.step)
        if not same or self.earlier is None or self._unwatched() >= 0:
            self.returns = 0
            return False
        x, between = self.x, self.run.vectors.between
        apart, back = (between(x, y, x, y) ** 0.5 for y in (self.before, self.earlier))
        back = back <= 1e-9 * apart and apart > 1e-6 * self.run.norm(x)
        self.returns = self.returns + 1 if back else 0
        return self.returns >= RETURNS
