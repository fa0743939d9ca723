"""Products with structured kernels, float64, one application to one sample or to 16.

N = 16384, one thread.  Convolution on a circle, with its quadrature weights and the kernel's
transform kept, against scipy.fft by hand: rfft, multiply, irfft, the weights folded into the
multiplier, samples as rows.  LowRank(27), with its weights, against its two skinny products into
arrays that are allocated once.

OnTheFly, with its weights, against NumPy by hand: blocks of pairs that stay in the cache, every
operation in place, one product by BLAS a block; one thread each, and both on all cores, where
NumPy's threads share the rows.  Two functions, one that needs an exponential and a rational one;
for one thread also 16 samples.  Its row "memory" holds the largest amount of memory that one
application asks for, divided by the 8 N bytes of a state; it must not grow with N.
"""

import _harness  # isort: split

import os
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import scipy.fft

from continuum import Circle, Convolution, Interval, LowRank, OnTheFly, midpoint, periodic

Run = Callable[[], np.ndarray | float]
UNITS, MANY, RANK = 16384, 65536, 27
ROWS, COLUMNS = 128, 512  # NumPy's block: the best of several sizes
ROUNDS_OF_MANY = 7


def convolution(samples: int) -> list[_harness.Case]:
    """Ours and scipy.fft alone, on samples as rows."""
    grid = periodic(Circle(), UNITS)
    form = Convolution().bind(grid)
    b = form.evaluate(grid, lambda s: np.exp(np.cos(s)))
    f, w = np.random.default_rng(1).standard_normal((UNITS, samples)), grid.weights
    multiplier, rows = w[0] * scipy.fft.rfft(np.array(b)), np.ascontiguousarray(f.T)

    def alone() -> np.ndarray:
        return scipy.fft.irfft(multiplier * scipy.fft.rfft(rows), n=UNITS)

    expected, case = alone().T, f"circle, N = {UNITS}, M = {samples}"
    return [
        _harness.Case(
            "continuum Convolution",
            case,
            lambda: lambda: form.apply(b, f, w),
            lambda found: float(np.max(np.abs(np.asarray(found) - expected))),
            1e-12,
        ),
        _harness.Case("scipy.fft alone", case, lambda: alone),
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


def gaussian_in_place(b: np.ndarray) -> None:
    """The gaussian of the differences in b."""
    np.multiply(b, b, out=b)
    np.negative(b, out=b)
    np.exp(b, out=b)


def rational_in_place(b: np.ndarray) -> None:
    """The rational function of the differences in b."""
    np.multiply(b, b, out=b)
    np.add(b, 1.0, out=b)
    np.divide(1.0, b, out=b)


IN_PLACE = {gaussian: gaussian_in_place, rational: rational_in_place}
Function = Callable[[float, float], float]


def on_the_fly(function: Function, units: int, samples: int, cores: int) -> list[_harness.Case]:
    """Ours and NumPy by hand."""
    grid = midpoint(Interval(0, 1), units)
    form, y, w = OnTheFly(threads=cores), grid.coordinates.copy(), grid.weights
    f = np.random.default_rng(1).standard_normal((units, samples))
    b = form.evaluate(grid, function)
    few = np.arange(0, units, units // 16)
    expected = function(y[few, None], y[None, :]) @ (w[:, None] * f)

    def error(found: object) -> float:
        return float(np.max(np.abs(np.asarray(found)[few] - expected)))

    case = f"{function.__name__}, N = {units}, M = {samples}, {cores} threads"
    return [
        _harness.Case(
            "continuum OnTheFly", case, lambda: lambda: form.apply(b, f, w), error, 1e-11
        ),
        _harness.Case("NumPy in blocks", case, lambda: by_hand(function, y, w, f, cores), error),
    ]


def by_hand(
    function: Function, y: np.ndarray, w: np.ndarray, f: np.ndarray, cores: int
) -> Callable[[], np.ndarray]:
    """The product in blocks, all memory allocated once."""
    fill, (units, samples) = IN_PLACE[function], f.shape
    weighted, out = np.empty_like(f), np.empty_like(f)
    blocks, parts = np.empty((cores, ROWS, COLUMNS)), np.empty((cores, ROWS, samples))

    def share(core: int) -> None:
        block, part = blocks[core], parts[core]
        for top in range(core * ROWS, units, cores * ROWS):
            rows = out[top : top + ROWS]
            rows[...] = 0.0
            for left in range(0, units, COLUMNS):
                np.subtract(y[top : top + ROWS, None], y[left : left + COLUMNS], out=block)
                fill(block)
                np.matmul(block, weighted[left : left + COLUMNS], out=part)
                rows += part

    def run() -> np.ndarray:
        np.multiply(w[:, None], f, out=weighted)
        if cores == 1:
            share(0)
        else:
            with ThreadPoolExecutor(cores) as pool:
                list(pool.map(share, range(cores)))
        return out

    return run


def never_stored(problems: list[tuple[Function, int, int]], cores: int) -> list[_harness.Row]:
    """The rows of OnTheFly; the bar is that of the gaussian."""
    rows: list[_harness.Row] = []
    for function, units, samples in problems:
        cases = on_the_fly(function, units, samples, cores)
        _harness.measure(cases, ROUNDS_OF_MANY)
        rows += _harness.compare_all(cases, {cases[1].name: 1.5} if function is gaussian else {})
    return rows


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
    for cases, bar in ((convolution(1), 0.9), (convolution(16), 0.9), (low_rank(), 0.8)):
        _harness.measure(cases)
        rows += _harness.compare_all(cases, {cases[1].name: bar})
    rows += never_stored(
        [(gaussian, UNITS, 1), (rational, UNITS, 1), (gaussian, UNITS // 4, 16)], 1
    )
    rows += never_stored([(gaussian, MANY, 1), (rational, MANY, 1)], _all_cores())
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
