"""Two studies whose cases take no time, so that what is measured is the sweep around them."""

from typing import Annotated

import numpy as np
import xarray as xr
from annotated_types import Ge

from studies import study


@study("benchmarks/tiny", paper="Benchmarks")
def tiny(*, index: Annotated[int, Ge(0)] = 0) -> xr.Dataset:
    """2,000 numbers, 16 KB."""
    return xr.Dataset({"values": ("i", np.full(2000, float(index)))})


@study("benchmarks/decay", paper="Benchmarks")
def decay(*, rate: float = 1.0, start: float = 1.0) -> xr.Dataset:
    """x' = -rate x on four units: a course, its times, two numbers, three orders, a status."""
    times = np.linspace(0.0, 1.0, 200)
    course = start * np.exp(-rate * times)[:, None] * np.ones(4)
    told = {"long_name": "state", "units": "1"}
    return xr.Dataset(
        {
            "state": (("time", "unit"), course, told),
            "final": course[-1, 0],
            "error": 1e-9,
            "orders": ("doubling", [1.0, 2.0, 3.0]),
        },
        coords={"time": ("time", times, {"long_name": "time", "units": "s"})},
        attrs={"status": "It decayed."},
    )
