"""Tasks shared by threads: compiled loops and NumPy let go of the interpreter while they work.  And
libraries held to one thread of their own.
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import copy_context
from threading import Event, Lock
from typing import Any

import numba


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

    with _blas(), ThreadPoolExecutor(min(threads, len(tasks))) as pool:
        try:
            # errors of floating-point numbers are treated as where the tasks come from
            futures = [pool.submit(copy_context().run, through, task) for task in tasks]
            for future in futures:
                future.result()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS, OpenMP and loops of Numba compute with one thread inside: sums are added in one order.

    Libraries that are loaded inside read the variables of the environment.
    """
    before = numba.get_num_threads()  # this may load OpenMP, with threads of its own
    numba.set_num_threads(1)  # of this thread of Python, and so are those of OpenMP
    try:
        with _blas(), _variables(), _libraries("openmp").limit(limits=1):
            yield
    finally:
        numba.set_num_threads(before)


class _Shared:
    """A context for many threads: entered by the first that comes, left by the last that goes."""

    def __init__(self, made: Callable[[], AbstractContextManager[object]]) -> None:
        self._lock, self._holders, self._made = Lock(), 0, made
        self._held = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._holders == 0:
                self._held.enter_context(self._made())
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    self._held.close()


_found: tuple[int, Any] = (0, None)


def _libraries(api: str) -> Any:
    """A ThreadpoolController of the libraries of one kind, "blas" or "openmp", that are loaded.

    They are looked up again when modules were imported since: that takes 15 ms.
    """
    global _found
    modules, controller = _found
    if modules != len(sys.modules):
        importlib.import_module("scipy.linalg.cython_blas")  # the BLAS of compiled loops
        needed = importlib.import_module("threadpoolctl")  # by threads alone
        modules, controller = len(sys.modules), needed.ThreadpoolController()
        _found = modules, controller
    return controller.select(user_api=api)


@contextmanager
def _one_in_blas() -> Iterator[None]:
    limits = _libraries("blas").limit(limits=1)
    try:
        yield
    finally:
        _let_go()
        limits.restore_original_limits()
        _let_go()


def _let_go() -> None:
    """OpenBLAS listens to this thread, too: threadpoolctl 3.8 sets it from the thread alone that
    set it first.
    """
    openblas = importlib.import_module("threadpoolctl").OpenBLASController
    if hasattr(openblas, "clear_controlling_thread"):
        openblas.clear_controlling_thread(force=True)


@contextmanager
def _one_by_environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(dict.fromkeys(_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
_blas = _Shared(_one_in_blas)
_variables = _Shared(_one_by_environment)
