"""How times grow: one forward run and one gradient of a terminal squared error, Euler, float64.

    f' = tanh(a_k - b_k W f) on layer k, N units x M samples x K layers, the problem of
    `_learning.py`; around N = 128, M = 64, K = 20 one of the three goes up by factors of two.

`integrate` and `discretize(problem).value_and_gradient(control, out=...)` against the same by hand
in NumPy and BLAS.  The first row of a case compares both at its largest size; its note has the
slopes of log seconds against log size, fitted by least squares to all sizes, ours and NumPy's.
Operations grow like N^2, M and K.  The rows after it are the sizes.
"""

import _harness  # isort: split

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from _learning import Learning
from _peers import Layers, numpy_by_hand

from solvers import Euler, integrate

MIDDLE = {"N": 128, "M": 64, "K": 20}
SIZES = {
    "N": (64, 128, 256, 512, 1024),
    "M": (1, 16, 64, 256, 1024, 4096),
    "K": (10, 20, 40, 80, 160),
}
TOLERANCE = 1e-8


def ours_forward(data: Learning) -> Callable[[], object]:
    start = data.layers.initial
    return lambda: integrate(data.network, data.control, start, Euler()).trajectory.final


def ours_gradient(data: Learning) -> Callable[[], object]:
    found = data.objective.space.zeros()
    return lambda: data.objective.value_and_gradient(data.control, out=found)


def numpy_forward(data: Layers) -> Callable[[], object]:
    """Two states, in turns; the last one comes back as (N, M)."""
    initial = data.rows[0]
    f, s = np.empty_like(initial), np.empty_like(initial)
    product = [A.T for A in data.matrices]

    def run() -> np.ndarray:
        np.copyto(f, initial)
        for a, A in zip(data.bias, product, strict=True):
            np.matmul(f, A, out=s)
            np.add(s, a, out=s)
            np.tanh(s, out=s)
            np.multiply(s, data.tau, out=s)
            np.add(f, s, out=f)
        return f.T

    return run


def forward_error(data: Learning, found: object) -> float:
    """The largest difference to a plain loop."""
    f = data.layers.initial
    for a, A in zip(data.layers.bias, data.layers.matrices, strict=True):
        f = f + data.tau * np.tanh(A @ f + a[:, None])
    return float(np.max(np.abs(np.asarray(found) - f)))


def pair(data: Learning, what: str) -> list[_harness.Case]:
    """Ours and NumPy's at one size."""
    if what == "forward":
        makers = partial(ours_forward, data), partial(numpy_forward, data.layers)
        error: Callable[[object], float] = partial(forward_error, data)
    else:
        makers, error = (
            (partial(ours_gradient, data), partial(numpy_by_hand, data.layers)),
            data.error,
        )
    return [
        _harness.Case(f"{name} {what}", data.case, make, error, TOLERANCE)
        for name, make in zip(("continuum", "NumPy by hand"), makers, strict=True)
    ]


def slope(cases: Sequence[_harness.Case], sizes: Sequence[int]) -> float:
    """Of log seconds against log size; NaN if one has no time."""
    seconds = np.array([x.seconds or np.nan for x in cases])
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def rows_of(letter: str) -> list[_harness.Row]:
    """Forward and gradient along one letter."""
    sizes = SIZES[letter]
    found: dict[str, list[list[_harness.Case]]] = {"forward": [], "gradient": []}
    for size in sizes:
        units, samples, layers = (MIDDLE | {letter: size}).values()
        data = Learning(Euler(), units, samples, layers)
        cases = {what: pair(data, what) for what in found}
        _harness.measure([x for both in cases.values() for x in both])
        for what, both in cases.items():
            found[what].append(both)
    rows = []
    for what, pairs in found.items():
        ours, theirs = zip(*pairs, strict=True)
        last, against = pairs[-1]
        case = f"{what} in {letter} = {sizes[0]} to {sizes[-1]}"
        note = f"slopes {slope(ours, sizes):.2f}, NumPy {slope(theirs, sizes):.2f}"
        rows.append(_harness.compare(last, against) | {"case": case, "note": note})
        rows += [_harness.own(x) for both in pairs for x in both]
    return rows


def main(json_path: Path, cases: Sequence[str]) -> None:
    """Runs the chosen cases; the file gets the rows."""
    rows = [row for letter in cases for row in rows_of(letter)]
    _harness.write(rows, json_path, "Growth in units N, samples M and layers K, float64")


if __name__ == "__main__":
    _harness.run("growth", main, tuple(SIZES))
