"""Processes that run the cases of a sweep; one that dies takes no case with it but those that kill
it alone, too.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
)
from typing import TypeVar

import numba
from threadpoolctl import ThreadpoolController

J = TypeVar("J")
R = TypeVar("R")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


class WorkerError(RuntimeError):
    """A process did not live to answer, or could not be started."""


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


def start() -> None:
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
