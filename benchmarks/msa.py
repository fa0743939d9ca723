"""Exact iterations of successive approximation, in forward runs: minimise H on every layer, run,
adjoint.

    f_{k+1} = f_k + tau sigma(a_k - b_k W f_k),   -1 <= a, b <= 1,
    J = 1/M sum_m 1/2 |f_K - target|^2, 100 layers

One sample with tanh, where the new kernels have two rows each and are formed once, at the end; and
64 samples with the identity, where the minimiser is the sign of the gradient; of that, the
maximisation over layers alone too, once the gradient is there, by one thread and by two.  Runs
start from the zero control, whose kernels have equal rows too; the first look at it, a forward and
an adjoint sweep, is counted with the iterations.  A "forward" is `integrate` by Euler with a
control whose kernels have been formed.
"""

import _harness  # isort: split

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from continuum import (
    Activation,
    Box,
    Interval,
    LearningProblem,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    tanh,
)
from solvers import Euler, discretize, integrate, successive_approximation
from solvers.pontryagin.msa_affine import vertices

LAYERS, ITERATIONS = 100, 40


class Data:
    """A problem whose iterations neither converge nor repeat within the count."""

    def __init__(self, activation: Activation, units: int, samples: int) -> None:
        rng = np.random.default_rng(4)
        network = WidthDepth(gauss_legendre(Interval(0.0, 1.0), units), activation)
        initial, target = rng.standard_normal((2, units, samples))
        self.problem = LearningProblem(
            network,
            initial,
            target,
            TimeMesh(1.0, LAYERS),
            admissible=Box(bias=(-1, 1), kernel=(-1, 1)),
        )
        self.control = self.problem.admissible.project(self.problem.space.random(rng))
        self.iterations = int(self.run().statistics["iterations"])
        if self.iterations < ITERATIONS:
            raise RuntimeError(f"only {self.iterations} iterations were made")

    def run(self):
        return successive_approximation(
            self.problem, max_iterations=ITERATIONS, gtol=1e-300, raise_on_failure=False
        )

    def forwards(self) -> None:
        for _ in range(self.iterations):
            integrate(self.problem.network, self.control, self.problem.initial, Euler())


def rows_of(activation: Activation, units: int, samples: int) -> list[_harness.Row]:
    """Iterations against as many forward runs: the bar allows 3.4 forwards for one."""
    data = Data(activation, units, samples)
    case = f"{activation} {units} x {samples}, K = {LAYERS}, {data.iterations} iterations"

    def make(run: Callable[[], object]) -> Callable[[], object]:
        return run

    iterations = _harness.Case("continuum exact MSA", case, partial(make, data.run))
    forwards = _harness.Case("continuum forward, as often", case, partial(make, data.forwards))
    _harness.measure([iterations, forwards])
    return [_harness.compare(iterations, forwards, 1 / 3.4), _harness.own(forwards)]


def layers_alone(activation: Activation, units: int, samples: int) -> list[_harness.Row]:
    """The pass that takes the gradient to the vertices of the box, in its place."""
    data = Data(activation, units, samples)
    gradient = discretize(data.problem).gradient(data.control)["kernel"]
    row, column = np.full(units, 1.0 / units), np.full(units, 1.0)
    found, at = np.empty_like(gradient), data.control["kernel"]

    def make(threads: int) -> Callable[[], object]:
        def run() -> None:
            vertices(found, at, (row, column), (-1.0, 1.0), threads)

        def shared() -> None:
            with _harness.all_cores():
                run()

        return run if threads == 1 else shared

    found[...] = gradient  # the pass takes as long whatever the signs are
    case = f"{activation} {units} x {samples}, K = {LAYERS}"
    cases = [
        _harness.Case(f"maximisation over layers, {words}", case, partial(make, threads))
        for threads, words in ((1, "one thread"), (2, "two threads"))
    ]
    _harness.measure(cases)
    return [_harness.own(cases[0]), _harness.compare(cases[1], cases[0])]


def main(json_path: Path) -> None:
    """Runs all; the file gets the rows."""
    rows = rows_of(tanh, 128, 1) + rows_of(tanh, 512, 1) + rows_of(identity, 256, 64)
    rows += layers_alone(identity, 256, 64)
    _harness.write(
        rows, json_path, "Successive approximation, exact minimisers, box, dense kernel, float64"
    )


if __name__ == "__main__":
    _harness.run("msa", main)
