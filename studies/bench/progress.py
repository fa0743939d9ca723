"""The progress of a sweep: a bar on a terminal, plain lines elsewhere, or nothing."""

import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

ProgressKind: TypeAlias = Literal["auto", "bar", "lines", "none"]


class Reporter(Protocol):
    """Hears of every case once; a context manager around the sweep."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...

    def report(self, done: int, text: str, failed: bool) -> None:
        """`done` cases are behind us; `text` is about the last one."""
        ...


def reporter(kind: ProgressKind, total: int) -> Reporter:
    """The reporter of this kind; "auto" is a bar if standard error is a terminal, else lines."""
    if kind == "auto":
        kind = "bar" if sys.stderr.isatty() else "lines"
    return {"bar": Bar, "lines": Lines, "none": Silence}[kind](total)


class Silence(AbstractContextManager["Silence"]):
    """Says nothing."""

    def __init__(self, total: int) -> None:
        self.total = total

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is left open."""

    def report(self, done: int, text: str, failed: bool) -> None:
        """Says nothing."""


class Lines(Silence):
    """One line per case on standard error: [3/10] depth=32 width=16 1.2 s."""

    def report(self, done: int, text: str, failed: bool) -> None:
        """Prints the line, at once."""
        print(f"[{done}/{self.total}] {text}", file=sys.stderr, flush=True)


class Bar(Silence):
    """A progress bar on standard error, with the last case beside it; failures stay above it."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=Console(stderr=True),
        )
        self._task: TaskID = self._progress.add_task("", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leaves the bar as it is."""
        self._progress.stop()

    def report(self, done: int, text: str, failed: bool) -> None:
        """Moves the bar."""
        self._progress.update(self._task, completed=done, description=text)
        if failed:
            self._progress.console.print(text, markup=False, highlight=False)
