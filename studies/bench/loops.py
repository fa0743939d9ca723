"""The compiled loops that most studies use, compiled ahead and kept on disk."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

import numpy as np

from continuum import (
    Interval,
    LearningProblem,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    tanh,
)
from solvers import (
    LBFGS,
    RK4,
    Adam,
    DormandPrince,
    NewtonCG,
    discretize,
    integrate,
    minimize,
    successive_approximation,
)

from .environment import cores


def compile_loops(workers: int | None = None) -> Iterator[tuple[str, float]]:
    """Solves a small problem of each kind, in processes of their own, so that Numba compiles its
    loops and keeps them; yields the kinds as they are done, with their seconds.

    workers : processes; None for one for each core
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or cores(), context) as pool:
        futures = {pool.submit(_seconds, kind): kind for kind in KINDS}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _seconds(kind: str) -> float:
    start = time.perf_counter()
    KINDS[kind]()
    return time.perf_counter() - start


def _problem() -> LearningProblem:
    network = WidthDepth(gauss_legendre(Interval(0.0, 1.0), 4), tanh)
    states = np.ones((4, 3))
    return LearningProblem(network, states, 0.5 * states, TimeMesh(1.0, 2), penalty=Tikhonov(0.1))
