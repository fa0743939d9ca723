"""What can go wrong with a sweep and its files, besides the cases themselves."""

from pathlib import Path


class StoreError(ValueError):
    """A file or folder cannot be written, or is not what it should be; the message says which and
    why.
    """


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C in mid-sweep; finished cases are intact, and the same sweep resumes.

    finished, total : cases
    """

    def __init__(self, finished: int, total: int) -> None:
        self.finished, self.total = finished, total
        super().__init__(f"{finished} of {total} cases are finished; the same command resumes")


class ClusterError(ValueError):
    """A cluster cannot be used; the message says why."""


class SweepStopped(RuntimeError):
    """What runs the cases is gone; finished cases are intact, and the same sweep resumes."""


class FigureError(RuntimeError):
    """The figures of a study could not be drawn; the page, without them, is at `page`."""

    def __init__(self, page: Path, reason: str) -> None:
        self.page = page
        super().__init__(f"the figures could not be drawn: {reason}")
