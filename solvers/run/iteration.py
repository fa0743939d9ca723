"""What every iteration keeps: its history, monitors, seconds and best iterate; how it ends when
interrupted.

Descent, successive approximation and shooting improve a control step by step.  Each has a Run, of
iterates of its own kind: flat vectors, controls, unknowns of a two-point problem.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count
from continuum.controls import Control

from .monitors import Monitor, Snapshot, Watch
from .solution import Solution
from .status import Status

Iterate = TypeVar("Iterate")


class NotFinite(ArithmeticError):
    """A number that the iteration needs is infinite or NaN; the message says which."""


class Interrupted(KeyboardInterrupt):
    """A run was interrupted from the keyboard.

    solution : the best it had found, with Status.INTERRUPTED, or the answer of a part of the run
        that had ended
    partial : where a call makes many runs, what it would have returned of those that had ended;
        None where it makes one
    """

    def __init__(self, solution: Solution[Control], partial: object = None) -> None:
        super().__init__("interrupted; the best so far is in .solution")
        self.solution, self.partial = solution, partial

    def __reduce__(self) -> tuple[type, tuple[Solution[Control], object]]:
        return type(self), (self.solution, self.partial)


class Run(Generic[Iterate]):
    """The record of an iteration.

    start : the first iterate, which is returned if the run ends before anything is recorded
    control : makes the Control of an iterate
    flat : makes its flat vector, for monitors; that of its Control if None
    merit : which of the numbers recorded is least for the best iterate
    keep_best : whether a failure returns the best iterate; if False, the last one recorded
    raises TypeError, ValueError for monitors that are none, or max_iterations < 1
    """

    def __init__(
        self,
        start: Iterate,
        control: Callable[[Iterate], Control],
        max_iterations: int,
        monitors: Sequence[Monitor] = (),
        *,
        flat: Callable[[Iterate], Array] | None = None,
        merit: str = "objective",
        keep_best: bool = True,
    ) -> None:
        self.max_iterations = check_count("max_iterations", max_iterations)
        self.watch = Watch(monitors, self.max_iterations)
        self.control, self.merit, self.keep_best = control, merit, keep_best
        self.flat = flat or self._flat
        self.evaluations = 0
        self.columns: dict[str, list[float]] = {"seconds": []}
        self.last, self.best, self.best_iteration = start, start, 0
        self._lowest = math.inf
        self._began = time.perf_counter()

    @property
    def records(self) -> int:
        """How many iterates were recorded, the start included."""
        return len(self.columns["seconds"])

    @property
    def iterations(self) -> int:
        """How many iterates came after the first."""
        return max(self.records - 1, 0)

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.perf_counter() - self._began

    def record(self, iterate: Iterate, numbers: Mapping[str, float], last: bool = False) -> bool:
        """Adds an iterate and its numbers, and lets monitors see it; True if one wants to stop.

        numbers : the same names every time, `merit` among them
        last : the run ends here whatever monitors say, so that all of them look
        raises NotFinite, and adds nothing, if the merit is infinite or NaN
        """
        merit = float(numbers[self.merit])
        if not math.isfinite(merit):
            raise NotFinite(f"the {self.merit} is {merit}")
        for name, number in numbers.items():
            self.columns.setdefault(name, []).append(float(number))
        self.columns["seconds"].append(self.seconds)
        self.last = iterate
        if merit < self._lowest:
            self.best, self.best_iteration, self._lowest = iterate, self.iterations, merit
        if not self.watch.monitors:
            return False
        count = self.iterations
        state = self.flat(iterate)
        moment = Snapshot(count, self.max_iterations, float(count), state, dict(numbers))
        return self.watch.look(moment, last=last or count == self.max_iterations)

    def record_rows(self, iterate: Iterate, numbers: Mapping[str, Array]) -> None:
        """Adds the numbers of iterates that were made together, finite, at least one.

        iterate : the last of them
        numbers : one array for each name, NumPy's.  The seconds of the rows are spread evenly
        For runs without monitors that return the last iterate: no other is known.
        """
        before = self.columns["seconds"][-1] if self.records else 0.0
        for name, column in numbers.items():
            rows = len(column)
            self.columns.setdefault(name, []).extend(column.tolist())
        self.columns["seconds"].extend(np.linspace(before, self.seconds, rows + 1)[1:].tolist())
        self.last = iterate

    def note(self, **numbers: float) -> None:
        """Adds numbers to the history that do not belong to every iterate, such as step lengths."""
        for name, number in numbers.items():
            self.columns.setdefault(name, []).append(float(number))

    def history(self) -> dict[str, Array]:
        """What was recorded, by name, and what Record monitors kept."""
        own = {name: np.array(column) for name, column in self.columns.items()}
        return {**own, **self.watch.history()}

    def statistics(self) -> dict[str, float]:
        """The numbers of iterations and evaluations, and the seconds."""
        return {
            "iterations": float(self.iterations),
            "evaluations": float(self.evaluations),
            "seconds": self.seconds,
        }

    def chosen(self, status: Status) -> tuple[Iterate, float, str]:
        """What is returned with this status: the last iterate of an answer, the best of a failure
        (if `keep_best`); its objective, infinite if there is none; and words if it is not the last.
        """
        values = self.columns.get("objective", [])
        if status.ok or not self.keep_best or self.best_iteration == self.iterations:
            return self.last, values[-1] if values else math.inf, ""
        at = self.best_iteration
        words = f"the best of them, iteration {at}, is returned"
        return self.best, values[at] if values else math.inf, words

    def solution(self, status: Status, detail: str = "", **statistics: float) -> Solution[Control]:
        """The Solution of a run that ends with this status.

        detail : a phrase; what the monitor that stopped the run said is added
        statistics : more of them
        """
        iterate, objective, words = self.chosen(status)
        reason = self.watch.reason if status is Status.STOPPED else ""
        return Solution(
            self.control(iterate),
            status,
            ", ".join(part for part in (detail, reason, words) if part),
            objective=objective,
            history=self.history(),
            statistics={**self.statistics(), **statistics},
        )

    @contextmanager
    def interruptible(
        self, solution: Callable[[], Solution[Control]] | None = None
    ) -> Iterator[None]:
        """Inside, Ctrl-C ends the run with Interrupted, which carries the best so far.

        solution : makes what it carries; that of this run if None
        """
        try:
            yield
        except KeyboardInterrupt as error:
            found = self.solution(Status.INTERRUPTED) if solution is None else solution()
            raise Interrupted(found) from error

    def _flat(self, iterate: Iterate) -> Array:
        control = self.control(iterate)
        return control.space.flatten(control)
