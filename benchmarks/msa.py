"""Exact iterations of successive approximation, in forward runs: minimise H on every layer, run,
adjoint.

    f_{k+1} = f_k + tau sigma(a_k - b_k W f_k),   -1 <= a, b <= 1,
    J = 1/M sum_m 1/2 |f_K - target|^2, 100 layers

One sample with tanh, where the new kernels have two rows each and are formed once, at the end; and
64 samples with the identity, where the minimiser is the sign of the gradient.  Runs start from the
zero control, whose kernels have equal rows too; the first look at it, a forward and an adjoint
sweep, is counted with the iterations.  A "forward" is `integrate` by Euler with a control whose
kernels have been formed.
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
from solvers import Euler, integrate, successive_approximation

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


def main(json_path: Path) -> None:
    """Runs all; the file gets the rows."""
    rows = rows_of(tanh, 128, 1) + rows_of(tanh, 512, 1) + rows_of(identity, 256, 64)
    _harness.write(
        rows, json_path, "Successive approximation, exact minimisers, box, dense kernel, float64"
    )


if __name__ == "__main__":
    _harness.run("msa", main)
