"""Processes that run the cases of a sweep; one that dies takes no case with it but those that kill
it alone, too.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import TypeVar

J = TypeVar("J")
R = TypeVar("R")


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
