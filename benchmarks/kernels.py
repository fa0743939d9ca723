"""Products with structured kernels, float64, one application to one sample.

N = 16384, one thread.  Convolution on a circle, with its quadrature weights and the kernel's
transform kept, against scipy.fft by hand: rfft, multiply, irfft, the weights folded into the
multiplier.  LowRank(27), with its weights, against its two skinny products into arrays that are
allocated once. N = 65536, all cores.  OnTheFly against threads that do nothing but evaluate the
kernel function at all pairs of nodes and sum the values: the share of the time in which the
processor would do nothing but evaluate.  Two functions, one that needs an exponential and a
rational one.  Its row "memory" holds the largest amount of memory that one application asks for,
divided by the 8 N bytes of a state; it must not grow with N.
"""

import _harness  # isort: split

import os
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import scipy.fft

from continuum import Circle, Convolution, Interval, LowRank, OnTheFly, midpoint, periodic

Run = Callable[[], np.ndarray | float]
UNITS, MANY, RANK = 16384, 65536, 27
ROUNDS_OF_MANY = 3


def convolution() -> list[_harness.Case]:
    """Ours and scipy.fft alone."""
    grid = periodic(Circle(), UNITS)
    form = Convolution().bind(grid)
    b = form.evaluate(grid, lambda s: np.exp(np.cos(s)))
    f, w = np.random.default_rng(1).standard_normal((UNITS, 1)), grid.weights
    multiplier, flat = w[0] * scipy.fft.rfft(np.array(b)), f[:, 0].copy()
    expected = scipy.fft.irfft(multiplier * scipy.fft.rfft(flat), n=UNITS)
    return [
        _harness.Case(
            "continuum Convolution",
            f"circle, N = {UNITS}",
            lambda: lambda: form.apply(b, f, w),
            lambda found: float(np.max(np.abs(np.ravel(found) - expected))),
            1e-12,
        ),
        _harness.Case(
            "scipy.fft alone",
            f"circle, N = {UNITS}",
            lambda: lambda: scipy.fft.irfft(multiplier * scipy.fft.rfft(flat), n=UNITS),
        ),
    ]


def low_rank() -> list[_harness.Case]:
    """Ours and the two products alone."""
    rng = np.random.default_rng(1)
    form, w = LowRank(RANK), midpoint(Interval(0, 1), UNITS).weights
    b, f = rng.standard_normal((2, UNITS, RANK)), rng.standard_normal((UNITS, 1))
    inner, out = np.empty((RANK, 1)), np.empty((UNITS, 1))
    weighted = w[:, None] * f
    expected = b[0] @ (b[1].T @ weighted)

    def products() -> np.ndarray:
        np.matmul(b[1].T, weighted, out=inner)
        return np.matmul(b[0], inner, out=out)

    return [
        _harness.Case(
            f"continuum LowRank({RANK})",
            f"N = {UNITS}",
            lambda: lambda: form.apply(b, f, w),
            lambda found: float(np.max(np.abs(np.asarray(found) - expected))),
            1e-12,
        ),
        _harness.Case("two skinny products alone", f"N = {UNITS}", lambda: products),
    ]


def gaussian(y: float, z: float) -> float:
    """One exponential."""
    return np.exp(-((y - z) ** 2))


def rational(y: float, z: float) -> float:
    """One division."""
    return 1.0 / (1.0 + (y - z) ** 2)


def on_the_fly(function: Callable[[float, float], float], cores: int) -> list[_harness.Case]:
    """Ours and evaluation alone, on all cores."""
    grid = midpoint(Interval(0, 1), MANY)
    form, y, w = OnTheFly(threads=cores), grid.coordinates.copy(), grid.weights
    f = np.random.default_rng(1).standard_normal((MANY, 1))
    b = form.evaluate(grid, function)
    few = np.arange(0, MANY, MANY // 16)
    expected = function(y[few, None], y[None, :]) @ (w[:, None] * f)
    kernel = numba.njit(error_model="numpy")(function)

    @numba.njit(error_model="numpy", nogil=True, fastmath=True)
    def total(start: int, stop: int) -> float:
        found = 0.0
        for i in range(start, stop):
            for j in range(y.size):
                found += kernel(y[i], y[j])
        return found

    total(0, 1)

    def evaluate() -> float:
        with ThreadPoolExecutor(cores) as pool:
            return sum(pool.map(total, range(0, MANY, 256), range(256, MANY + 1, 256)))

    case = f"{function.__name__}, N = {MANY}, {cores} threads"
    return [
        _harness.Case(
            "continuum OnTheFly",
            case,
            lambda: lambda: form.apply(b, f, w),
            lambda found: float(np.max(np.abs(np.asarray(found)[few] - expected))),
            1e-11,
        ),
        _harness.Case("evaluating the function alone", case, lambda: evaluate),
    ]


def memory(units: int) -> _harness.Row:
    """Bytes that one application asks for at its peak, in states."""
    grid = midpoint(Interval(0, 1), units)
    form, f = OnTheFly(threads=1), np.ones((units, 1))
    b = form.evaluate(grid, rational)
    form.apply(b, f, grid.weights)
    tracemalloc.start()
    form.apply(b, f, grid.weights)
    peak = tracemalloc.get_traced_memory()[1] / (8 * units)
    tracemalloc.stop()
    row = _harness.own(
        _harness.Case(
            "continuum OnTheFly, memory", f"N = {units}, states held", lambda: lambda: None
        )
    )
    return row | {"error": None, "ratio": peak, "status": "finished"}


def main(json_path: Path) -> None:
    """Runs all; the file gets the rows."""
    rows: list[_harness.Row] = []
    for make, bar in ((convolution, 0.9), (low_rank, 0.8)):
        cases = make()
        _harness.measure(cases)
        rows += _harness.compare_all(cases, {cases[1].name: bar})
    cores = _all_cores()
    for function in (gaussian, rational):
        cases = on_the_fly(function, cores)
        _harness.measure(cases, ROUNDS_OF_MANY)
        rows += _harness.compare_all(cases, {cases[1].name: 0.5})
    rows += [memory(4096), memory(16384)]
    _harness.write(rows, json_path, "Structured kernels, one product, float64")


def _all_cores() -> int:
    """Lifts the pin to one core, for what follows, and counts the cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == "__main__":
    _harness.run("kernels", main)
