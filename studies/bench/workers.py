"""Processes that run the cases of a sweep; one that dies takes no case with it but those that kill
it alone, too.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from typing import TypeVar

import numba
from threadpoolctl import ThreadpoolController

J = TypeVar("J")
R = TypeVar("R")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


class WorkerError(RuntimeError):
    """A process did not live to answer, or could not be started."""


def in_processes(
    call: Callable[[J], R],
    jobs: Sequence[J],
    workers: int,
    found: Callable[[J], R | None],
) -> Generator[tuple[J, R | Exception], None, None]:
    """Each job with what `call` returned or raised, as they come, from processes started for the
    purpose.

    A process that dies breaks its pool: the jobs in hand run once more, each alone, the others in a
    new pool; one that ends its process a second time has the result WorkerError.  Closing the
    generator ends the processes.

    found : the result of a job that a dead process had completed, else None
    """
    waiting = deque(jobs)
    while waiting:
        lost: list[J] = []
        with _pool(workers) as pool:
            yield from _until_broken(pool, call, waiting, workers, lost)
        for job in lost:
            result = found(job)
            started = True
            if result is None:
                started, result = _alone(call, job, found)
            yield job, result
            if not started:  # not this job's fault, and the next ones would fare no better
                waiting.extendleft(reversed(lost[lost.index(job) + 1 :]))
                yield from ((other, result) for other in waiting)
                return


def submit(executor: Executor, call: Callable[[J], R], job: J) -> Future[R]:
    """The future of a job; one that has failed already if the executor is broken."""
    try:
        with _children_without_interrupts():
            return executor.submit(call, job)
    except BrokenExecutor as error:
        future: Future[R] = Future()
        future.set_exception(error)
        return future


def settled(future: Future[R]) -> R | Exception:
    """The result of a finished future, or the exception it has instead."""
    try:
        return future.result()
    except Exception as error:  # whatever it is, it belongs to this job
        return error


class _OneThread:
    """BLAS, OpenMP and loops of Numba, held to one thread as long as somebody wants that.

    The libraries that are loaded are looked up again when modules were imported since: that takes
    milliseconds.  Those that are loaded meanwhile read the variables of the environment.
    """

    def __init__(self) -> None:
        self._lock, self._holders, self._modules = threading.Lock(), 0, 0
        self._controller = ThreadpoolController()
        self._before = contextlib.ExitStack()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        before = numba.get_num_threads()  # this may load OpenMP, with threads of its own
        numba.set_num_threads(1)  # of this thread of Python
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                self._hold()
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    self._before.close()
            numba.set_num_threads(before)

    def _hold(self) -> None:
        if self._modules != len(sys.modules):
            self._controller, self._modules = ThreadpoolController(), len(sys.modules)
        self._before.enter_context(self._controller.limit(limits=1))
        for variable in _THREADS:
            old = os.environ.get(variable)
            os.environ[variable] = "1"
            if old is None:
                self._before.callback(os.environ.pop, variable, None)
            else:
                self._before.callback(os.environ.__setitem__, variable, old)


one_thread = _OneThread()
"""A context in which libraries compute with one thread: sums are added in one order."""


def _until_broken(
    pool: ProcessPoolExecutor,
    call: Callable[[J], R],
    waiting: deque[J],
    workers: int,
    lost: list[J],
) -> Iterator[tuple[J, R | Exception]]:
    """The results of `waiting`, until it is empty or the pool breaks; the jobs then in hand are
    added to `lost`.

    No more jobs are handed out than there are workers, so the one that broke it is among them.
    """
    futures: dict[Future[R], J] = {}
    results: list[tuple[J, R | Exception]] = []
    broken = False
    while True:
        while waiting and len(futures) < workers and not broken:
            job = waiting.popleft()
            futures[submit(pool, call, job)] = job
        yield from results
        if not futures:
            return
        results = []
        for future in wait(futures, return_when=FIRST_COMPLETED).done:
            job, result = futures.pop(future), settled(future)
            if isinstance(result, BrokenExecutor):
                broken = True
                lost.append(job)
            else:
                results.append((job, result))


def _alone(
    call: Callable[[J], R], job: J, found: Callable[[J], R | None]
) -> tuple[bool, R | Exception]:
    """Whether a process could be started, in two attempts, and the result of the job in a process
    of its own.
    """
    for _ in range(2):
        with _pool(1) as pool:
            if isinstance(settled(submit(pool, _answer, None)), BrokenExecutor):
                continue
            result = settled(submit(pool, call, job))
        if not isinstance(result, BrokenExecutor):
            return True, result
        twice = (
            "its process ended abruptly, and again when it ran alone: killed, out of memory, "
            "or a crash"
        )
        return True, WorkerError(twice) if (late := found(job)) is None else late
    return False, WorkerError(
        "no process could be started (in a script, call it under if __name__ == '__main__')"
    )


def _answer(nothing: None) -> None:
    """What a process that has started can do."""


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """New processes; ended at once if the body is left by an exception."""
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start)
    try:
        yield pool
    except (
        BaseException
    ):  # the jobs in hand are given up; cancelling them as well would confuse the pool
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown()


def _start() -> None:
    """In a new process: Ctrl-C is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when its parent is gone: the queue of jobs, whose ends it holds itself,
    would never tell.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _children_without_interrupts() -> Iterator[None]:
    """Processes started inside are deaf to Ctrl-C from their first instruction; our own waits until
    the end.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
