"""Tasks shared by threads: compiled loops and NumPy let go of the interpreter while they work."""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from threading import Event, Lock
from typing import Any


def go_through(tasks: Sequence[Iterable[object]], threads: int) -> None:
    """Goes through each of the tasks to its end, by so many threads; each task stays in one of
    them, with BLAS held to one thread there.

    An error in a task, or Ctrl-C, stops the others before their next item, and is raised when no
    thread is left; of several errors, that of the first task.
    """
    if min(threads, len(tasks)) == 1:
        for task in tasks:
            for _ in task:
                pass
        return
    stopped = Event()

    def through(task: Iterable[object]) -> None:
        try:
            for _ in task:
                if stopped.is_set():
                    return
        except BaseException:
            stopped.set()
            raise

    with _blas.held(), ThreadPoolExecutor(min(threads, len(tasks))) as pool:
        try:
            # errors of floating-point numbers are treated as where the tasks come from
            futures = [pool.submit(copy_context().run, through, task) for task in tasks]
            for future in futures:
                future.result()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Blas:
    """BLAS, held to one thread as long as somebody wants that.

    The libraries are looked up once, when all that products are computed by are loaded: that takes
    15 ms.
    """

    def __init__(self) -> None:
        self._lock, self._holders = Lock(), 0
        self._controller: Any = None

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            if self._controller is None:
                importlib.import_module("scipy.linalg.cython_blas")  # that of compiled loops
                found = importlib.import_module("threadpoolctl")  # by threads alone
                self._controller = found.ThreadpoolController()
            if self._holders == 0:
                self._limits = self._controller.limit(limits=1, user_api="blas")
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    self._limits.restore_original_limits()


_blas = _Blas()
