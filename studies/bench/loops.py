"""The compiled loops that most studies use, compiled ahead and kept on disk."""

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

import numpy as np

from continuum import Interval, LearningProblem, TimeMesh, WidthDepth, gauss_legendre, tanh
from solvers import RK4, DormandPrince, NewtonCG, discretize, integrate, minimize

from .environment import cores

# each is done by one process, in this order: the second half of the work needs the loop of "steps",
# which the other process has compiled by then
_SHARES = (("steps", "gradient"), ("adaptive steps", "Hessian product"))


def compile_loops() -> Iterator[tuple[str, float]]:
    """Solves one small problem of each kind, in processes of their own, so that Numba compiles its
    loops and keeps them, where it can; yields the kinds as they are done, with their seconds.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(len(_SHARES), cores()), context) as pool:
        for future in as_completed([pool.submit(_solved, share) for share in _SHARES]):
            yield from future.result()


def _solved(kinds: tuple[str, ...]) -> list[tuple[str, float]]:
    seconds = []
    for kind in kinds:
        start = time.perf_counter()
        _solve(kind)
        seconds.append((kind, time.perf_counter() - start))
    return seconds


def _solve(kind: str) -> None:
    network = WidthDepth(gauss_legendre(Interval(0.0, 1.0), 4), tanh)
    states = np.ones((4, 3))
    problem = LearningProblem(network, states, 0.5 * states, TimeMesh(1.0, 2))
    control = problem.controls.sample(kernel=1.0)  # type: ignore[union-attr]  # a space by now
    if kind == "steps":
        integrate(network, control, states, RK4())
    elif kind == "adaptive steps":
        integrate(network, control, states, DormandPrince(rtol=1e-6, atol=1e-6))
    elif kind == "gradient":
        discretize(problem).value_and_gradient(control)
    else:
        one = NewtonCG(max_iterations=1)
        minimize(discretize(problem), one, initial=control, raise_on_failure=False)
