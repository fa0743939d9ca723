"""The same bits: in two runs, by any number of workers, for any `threads=`."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from studies_toys import empty_registry, register

from continuum import (
    Affine,
    Interval,
    LearningProblem,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    tanh,
    trapezoid,
)
from solvers import Heun, discretize
from studies.bench.environment import cores
from studies.bench.registry import find_study, study
from studies.bench.store import read_case
from studies.bench.sweep import run_sweep

needs_two_cores = pytest.mark.skipif(cores() < 2, reason="two workers need two cores")


def numbers(*, index: int = 0, threads: int = 1) -> xr.Dataset:
    """Sums of many terms, whose last bits depend on the order in which they are added."""
    rng = np.random.default_rng(index)
    network = WidthDepth(trapezoid(Interval(0, 1), 24), tanh)
    problem = LearningProblem(
        network,
        rng.standard_normal((24, 900)),
        rng.standard_normal((2, 900)),
        network.controls(TimeMesh(1.0, 3)),
        readout=Affine(2),
        terminal=SquaredError(0.4),
        penalty=Tikhonov(0.1),
    )
    objective = discretize(problem, Heun(), threads=threads)
    value, gradient = objective.value_and_gradient(objective.space.random(rng))
    matrix = rng.standard_normal((300, 300))
    return xr.Dataset(
        {
            "value": value,
            "gradient": ("i", np.concatenate([x.ravel() for x in gradient.values()])),
            "product": (("j", "k"), matrix @ matrix.T),
            "spectrum": ("j", np.linalg.eigvalsh(matrix + matrix.T)),
        }
    )


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_registry(monkeypatch)
    register()
    study("toys/numbers", paper="Toys")(numbers)


def bits(folder: Path, workers: int, threads: int) -> list[bytes]:
    cases = [{"index": [0, 1], "threads": [threads]}]
    result = run_sweep(find_study("toys/numbers"), cases, folder, workers=workers, progress="none")
    assert result.count("done") == 2
    found = [read_case(path) for path in result.paths]
    return [case[name].values.tobytes() for case in found for name in sorted(case.data_vars)]


@needs_two_cores
def test_the_same_bits_whoever_computes_them(tmp_path: Path):
    first = bits(tmp_path / "first", 1, 1)
    assert bits(tmp_path / "again", 1, 1) == first
    assert bits(tmp_path / "two threads", 1, 2) == first
    assert bits(tmp_path / "three threads", 1, 3) == first
    assert bits(tmp_path / "two workers", 2, 1) == first
