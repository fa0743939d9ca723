"""Small studies for the tests of `studies`; a test registers them in a registry of its own."""

import time
from collections.abc import Sequence
from typing import Annotated, Literal

import numba
import numpy as np
import pytest
import xarray as xr
from pydantic import Field
from threadpoolctl import threadpool_info

from studies import catalogue
from studies.bench import registry
from studies.bench.registry import Picture, study
from studies.bench.store import case_parameters
from studies.draw.figures import convergence_plot, new_figure


def decay(
    *,
    rate: float = 1.0,
    steps: Annotated[int, Field(ge=1)] = 8,
    seed: int = 0,
    method: Literal["euler", "exact"] = "euler",
    noisy: bool = False,
) -> xr.Dataset:
    """Euler's method for x' = -rate x: how wrong is it?

    The state is compared with the exact one,

        x(1) = x(0) exp(-rate).

    An <unusual> character & another must survive the page.
    """
    rng = np.random.default_rng(seed)
    initial = rng.standard_normal((40, 30))
    initial = initial @ initial.T + (rng.standard_normal((40, 40)) if noisy else 0.0)
    factor = (1.0 - rate / steps) ** steps if method == "euler" else np.exp(-rate)
    error = float(np.abs(factor - np.exp(-rate)))
    return xr.Dataset(
        {
            "final": (("row", "column"), factor * initial),
            "error": ((), 100 * error, {"units": "percent", "long_name": "error of the factor"}),
            "count": ((), steps),
        },
        attrs={"status": f"Euler made {steps} steps."},
    )


def plot_decay(cases: Sequence[xr.Dataset]) -> list[Picture]:
    """Error against steps."""
    figure, axes = new_figure()
    sizes = [float(case_parameters(case)["steps"]) for case in cases]
    convergence_plot(
        axes[0, 0],
        sizes,
        [float(case["error"]) for case in cases],
        xlabel="steps",
        ylabel="error",
        order=1.0,
        label="Euler",
        floor=1e-4,
    )
    return [Picture("error", "The error falls like 1/steps & <no> faster.", figure)]


def slow(*, index: int = 0, pause: float = 0.4) -> xr.Dataset:
    """A case takes a while."""
    time.sleep(pause)
    return xr.Dataset({"square": index**2})


def faulty(*, index: int = 0) -> xr.Dataset:
    """Case 1 cannot be answered."""
    if index == 1:
        raise ArithmeticError("one is\nnot allowed")
    return xr.Dataset({"square": index**2})


def threads(*, index: int = 0) -> xr.Dataset:
    """How many threads may a worker use?"""
    time.sleep(0.2)
    return xr.Dataset(
        {
            "blas": max(pool["num_threads"] for pool in threadpool_info()),
            "numba": numba.get_num_threads(),
        }
    )


@numba.njit
def _spin(place: np.ndarray) -> None:
    while place[0] >= 0:
        place[0] = (place[0] + 1) % 7


def stubborn(*, index: int = 0) -> xr.Dataset:
    """Case 1 never ends, in compiled code."""
    if index == 1:
        _spin(np.zeros(1, dtype=np.int64))
    return xr.Dataset({"square": index**2})


def empty_registry(patch: pytest.MonkeyPatch) -> None:
    """No studies and no claims; the portraits stay."""
    catalogue.load()
    portraits = {k: e for k, e in registry._expected.items() if e.kind == "portrait"}
    patch.setattr(registry, "_expected", portraits)
    patch.setattr(registry, "_studies", {})
    patch.setattr(registry, "_claims", {})


def register() -> None:
    """Registers them all."""
    cases = [{"steps": [8, 16, 32], "rate": 1.0}, {"steps": [8, 64], "seed": [0]}]
    study("toys/decay", paper="Toys (1)", figure="Figure 1", plot=plot_decay, cases=cases)(decay)
    study("toys/slow", paper="Toys", cases=[{"index": range(6)}])(slow)
    study("toys/faulty", paper="Toys", cases=[{"index": [0, 1, 2]}])(faulty)
    study("toys/stubborn", paper="Toys", cases=[{"index": [0, 1, 2, 3]}])(stubborn)
    study("toys/threads", paper="Toys", cases=[{"index": [0, 1, 2, 3]}])(threads)
