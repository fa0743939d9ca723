"""Processes that run the jobs of a sweep, one job each at a time.  One that dies takes no other job
with it; one whose job takes too long is ended, whatever code it is in.
"""

import math
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from .workers import WorkerError, settled, start, submit

J = TypeVar("J")
R = TypeVar("R")

_ATTEMPTS = 2
"""How often it is tried to start a process."""


def in_processes(
    call: Callable[[J], R],
    jobs: Sequence[J],
    workers: int,
    found: Callable[[J], R | None],
    max_seconds: float | None = None,
) -> Generator[tuple[J, R | Exception], None, None]:
    """Each job with what `call` returned or raised, as they come, from processes started for the
    purpose.

    A job whose process dies runs once more, when the others are done, alone; one that ends its
    process a second time has the result WorkerError.  Closing the generator ends the processes.

    found : the result of a job that a dead process had completed, else None
    max_seconds : a job that runs longer has the result TimeoutError, and its process is ended; the
        start of a process and what it imports do not count
    """
    lost: list[J] = []
    again: list[J] = []
    yield from _run(call, jobs, workers, found, max_seconds, lost)
    yield from _run(call, lost, 1, found, max_seconds, again)
    twice = (
        "its process ended abruptly, and again when it ran alone: killed, out of memory, or a crash"
    )
    yield from ((job, WorkerError(twice)) for job in again)


def _run(
    call: Callable[[J], R],
    jobs: Sequence[J],
    workers: int,
    found: Callable[[J], R | None],
    max_seconds: float | None,
    lost: list[J],
) -> Generator[tuple[J, R | Exception], None, None]:
    """The results of the jobs but those whose process died, which are added to `lost`."""
    waiting, attempts = deque(jobs), 0
    crew: list[_Worker[J, R]] = [_Worker(call, max_seconds) for _ in range(min(workers, len(jobs)))]
    busy: list[_Worker[J, R]] = []
    try:
        while waiting or busy:
            for worker in crew:
                if waiting and worker not in busy:
                    worker.take(waiting.popleft())
                    busy.append(worker)
            _wait(busy)
            for worker in [worker for worker in busy if worker.future.done() or worker.late]:
                busy.remove(worker)
                job, result = worker.job, worker.result()
                if isinstance(result, BrokenExecutor) and not worker.started:
                    attempts += 1
                    waiting.appendleft(job)
                    if attempts == _ATTEMPTS:
                        yield from _not_started(busy, waiting)
                        return
                elif not isinstance(result, BrokenExecutor | TimeoutError) or not worker.ended:
                    yield job, result
                elif (late := found(job)) is not None:
                    yield job, late
                elif isinstance(result, TimeoutError):
                    yield job, result
                else:
                    lost.append(job)
    finally:
        for worker in crew:
            worker.end()


class _Worker(Generic[J, R]):
    """One process and the job that it has in hand; started anew when it was ended."""

    job: J
    future: Future[R]
    alive: Future[None]

    def __init__(self, call: Callable[[J], R], max_seconds: float | None) -> None:
        self._call, self._max_seconds = call, max_seconds
        self._pool: ProcessPoolExecutor | None = None
        self._processes: set[BaseProcess] = set()
        self._begun = math.inf

    def take(self, job: J) -> None:
        """Begins with a job; a new process first answers, and imports what the job needs."""
        self.job = job
        if self._pool is None:
            before = set(multiprocessing.active_children())
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, context, initializer=start)
            self._begun = math.inf
            self.alive = submit(self._pool, _answer, job)
            self._processes = set(multiprocessing.active_children()) - before
            self.alive.add_done_callback(self._begin)
        else:
            self._begin(self.alive)
        self.future = submit(self._pool, self._call, job)

    def _begin(self, alive: Future[None]) -> None:
        self._begun = time.monotonic()

    @property
    def started(self) -> bool:
        """True if the process has answered."""
        return self.alive.done() and self.alive.exception() is None

    @property
    def ended(self) -> bool:
        """True if the process has died or was ended."""
        return self._pool is None

    @property
    def left(self) -> float:
        """The seconds until the job has taken too long."""
        if self._max_seconds is None:
            return math.inf
        return self._begun + self._max_seconds - time.monotonic()

    @property
    def late(self) -> bool:
        """True if the job has taken too long."""
        return self.left <= 0

    def result(self) -> R | Exception:
        """What became of the job; a process that is late, or has died, is ended."""
        if not self.future.done():
            self.end()
            return TimeoutError(f"it ran for more than {self._max_seconds:g} s and was stopped")
        result = settled(self.future)
        if isinstance(result, BrokenExecutor):
            self.end()
        return result

    def end(self) -> None:
        """Ends the process: at once if it has a job in hand."""
        if self._pool is not None:
            if not self.future.done():
                for process in self._processes:
                    process.kill()
            self._pool.shutdown()
            self._pool = None


def _wait(busy: Sequence[_Worker[J, R]]) -> None:
    """Until a job is done or has taken too long."""
    futures: set[Future] = {worker.future for worker in busy}
    futures |= {worker.alive for worker in busy if not worker.alive.done()}
    left = min(worker.left for worker in busy)
    wait(futures, max(left, 0.0) if left < math.inf else None, FIRST_COMPLETED)


def _not_started(
    busy: Sequence[_Worker[J, R]], waiting: Sequence[J]
) -> Generator[tuple[J, R | Exception], None, None]:
    """No job's fault, and the next ones would fare no better."""
    told = WorkerError(
        "no process could be started (in a script, call it under if __name__ == '__main__')"
    )
    for job in [*(worker.job for worker in busy), *waiting]:
        yield job, told


def _answer(job: object) -> None:
    """What a process that has started can do; `job` has brought the modules that it needs."""
