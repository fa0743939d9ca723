"""What happens during a run, and when: Monitor(Progress(), EverySeconds(1)), Monitor(Record(norm),
EverySteps(10)).

Actions see a Snapshot; the time loop runs, compiled where it can, between the moments monitors ask
for. Only progress lines may depend on the clock: an action that stops or records is tied to steps.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TextIO

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count, check_positive, store
from continuum.doors import checked
from continuum.records import short


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A moment of a run.

    step, total : steps (or iterations) done, and how many there will be at most
    time : the time of the state; the iteration number for optimizers
    state : (N, M) for `integrate`, in the library and on the device of the run; the flat control
        for optimizers
    values : named numbers of the moment: "objective" and "gradient_norm" for optimizers
    """

    step: int
    total: int
    time: float
    state: Array
    values: dict[str, float] = field(default_factory=dict)

    __repr__ = short


@checked
@dataclass(frozen=True)
class EverySteps:
    """Every `count` steps, and at the end.  Raises ValueError if count < 1."""

    count: int = 1

    def __post_init__(self) -> None:
        store(self, check_count, "count")


@checked
@dataclass(frozen=True)
class EverySeconds:
    """At most once in `seconds`, and at the end.  For progress only."""

    seconds: float = 1.0

    def __post_init__(self) -> None:
        store(self, check_positive, "seconds")


class Action(Protocol):
    """What a monitor does.  Returns True to stop the run."""

    def __call__(self, snapshot: Snapshot) -> bool:
        """Look at the run."""
        ...


@checked
@dataclass(frozen=True)
class Progress:
    """A line of progress to a stream (standard error unless said otherwise)."""

    stream: TextIO | None = None

    def __call__(self, snapshot: Snapshot) -> bool:
        """Write the line."""
        numbers = "".join(f"  {name} {value:.6g}" for name, value in snapshot.values.items())
        print(
            f"step {snapshot.step} of at most {snapshot.total}  t {snapshot.time:.6g}{numbers}",
            file=self.stream or sys.stderr,
            flush=True,
        )
        return False


@checked
class Record:
    """Keeps quantity(snapshot) under `name` in the solution's history, beside the times under
    `name`.times.

    raises TypeError unless the quantity is a function
    """

    def __init__(self, name: str, quantity: Callable[[Snapshot], float]) -> None:
        self.name, self.quantity = name, quantity
        self.times: list[float] = []
        self.values: list[float] = []

    def __call__(self, snapshot: Snapshot) -> bool:
        """Record."""
        self.times.append(snapshot.time)
        self.values.append(float(self.quantity(snapshot)))
        return False


@checked
@dataclass(frozen=True)
class Stop:
    """Stops the run, with Status.STOPPED, when condition(snapshot) is true.

    reason : said in the solution's message; None for the condition's own `reason`, if it has one
    """

    condition: Callable[[Snapshot], bool]
    reason: str | None = None

    @property
    def sentence(self) -> str:
        """Why it stopped, empty if nobody said."""
        return str(getattr(self.condition, "reason", "")) if self.reason is None else self.reason

    def __call__(self, snapshot: Snapshot) -> bool:
        """Decide."""
        return bool(self.condition(snapshot))


@checked
@dataclass(frozen=True)
class Monitor:
    """An action and its moments.  Raises TypeError if stopping or recording is tied to the
    clock.
    """

    action: Action
    when: EverySteps | EverySeconds = EverySteps()

    def __post_init__(self) -> None:
        if isinstance(self.when, EverySeconds) and isinstance(self.action, Stop | Record):
            raise TypeError(
                "Stop and Record need EverySteps: a result must not depend on the clock"
            )


class Watch:
    """The monitors of one run: how far to go before the next looks, and the looking."""

    def __init__(self, monitors: Sequence[Monitor], total: int) -> None:
        for monitor in monitors:
            if not isinstance(monitor, Monitor):
                raise TypeError(f"monitors must be Monitor(action, when) objects, got {monitor!r}")
        self.monitors, self.total = tuple(monitors), total
        self._last = [time.perf_counter()] * len(self.monitors)
        self.reason = ""
        """What the monitor that stopped the run said of it."""

    def until(self, step: int, most: int) -> int:
        """How many steps may be taken from `step` before a monitor wants to look, at most
        `most`.
        """
        for monitor in self.monitors:
            if isinstance(monitor.when, EverySteps):
                most = min(most, monitor.when.count - step % monitor.when.count)
            else:
                most = min(most, max(1, self.total // 100))
        return most

    def look(self, snapshot: Snapshot, last: bool = False) -> bool:
        """Let those look whose moment it is.  True if one wants to stop."""
        stop = False
        for i, monitor in enumerate(self.monitors):
            if isinstance(monitor.when, EverySteps):
                due = last or snapshot.step % monitor.when.count == 0
            else:
                due = last or time.perf_counter() - self._last[i] >= monitor.when.seconds
            if due:
                self._last[i] = time.perf_counter()
                if monitor.action(snapshot):
                    stop = True
                    self.reason = (
                        monitor.action.sentence if isinstance(monitor.action, Stop) else ""
                    )
        return stop

    def history(self) -> dict[str, Array]:
        """What the Record actions kept.  Raises ValueError if two have one name."""
        kept: dict[str, Array] = {}
        for monitor in self.monitors:
            if isinstance(monitor.action, Record):
                name = monitor.action.name
                if name in kept:
                    raise ValueError(f"two Record monitors are both named {name!r}")
                kept[name] = np.asarray(monitor.action.values)
                kept[f"{name}.times"] = np.asarray(monitor.action.times)
        return kept
