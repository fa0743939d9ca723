"""Variable width: order of the cells, of the layers and of the transfers (TP-36, TP-37)."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from continuum import Grid, Interval, TimeMesh, midpoint, relu
from continuum.transfers import nearest, prolongation
from solvers import RK4, integrate
from solvers.steps.tableaux import Euler, Stepper

from ...bench.registry import claim
from ..paper import separable_kernel, separable_solution, widening
from .common import PAPER

_linear = partial(prolongation, beyond="linear")


def _cells(base: int, doublings: int) -> list[Grid]:
    return [midpoint(Interval(0.0, 1.0), base * 2**s) for s in range(doublings + 1)]


def _final(
    grids: Sequence[Grid],
    layers: int,
    stepper: Stepper,
    transfer: Callable[[Grid, Grid], np.ndarray] = _linear,
) -> np.ndarray:
    """z(., 1) at the nodes of the last of S grids, on the s-th from t = s / S on."""
    changes = np.arange(1, len(grids)) / len(grids)
    network = widening(grids, changes.tolist(), relu, transfer)
    kernels: dict[str, Any] = {f"stage{s}.kernel": separable_kernel for s in range(len(grids))}
    control = network.control(TimeMesh(1.0, layers), **kernels)
    x = grids[0].nodes[:, :1]
    return integrate(network, control, 1.0 + x**2, stepper).trajectory.final[:, 0]


def _error(grids: Sequence[Grid], transfer: Callable[[Grid, Grid], np.ndarray] = _linear) -> float:
    """The largest error at the last nodes; 64 layers of RK4 leave 1e-9 of their own."""
    exact = separable_solution(grids[-1].nodes[:, 0], 1.0)
    return float(np.max(np.abs(_final(grids, 64, RK4(), transfer) - exact)))


@claim(
    "TP-36",
    statement="z_t = sigma(int w z + b) on midpoint cells: order 2 in their width, order 1 in the "
    "Euler layers.",
    paper=PAPER,
    references={
        "z(0, 1)": 2.282942415,
        "z(1/2, 1)": 3.174413622,
        "z(1, 1)": 4.565884829,
        "error, 8 cells": 1.695e-3,
        "error, 128 cells": 6.84e-6,
        "order, 64 to 128 cells": 2.0,
        "256 Euler layers less RK4": 6.75e-3,
        "order, 128 to 256 Euler layers": 1.0,
    },
    relative_tolerance={
        "z(0, 1)": 2e-10,
        "z(1/2, 1)": 2e-10,
        "z(1, 1)": 2e-10,
        "error, 8 cells": 5e-4,
        "error, 128 cells": 5e-4,
        "order, 64 to 128 cells": 5e-3,
        "256 Euler layers less RK4": 1e-3,
        "order, 128 to 256 Euler layers": 1e-2,
    },
    reason="the digits of the ledger; largest errors at the midpoints; 64 cells for the layers",
)
def integral_field_orders() -> dict[str, float]:
    """w = (1 + x) exp(-xi), b = 0, ReLU, z(x, 0) = 1 + x^2 on (0, 1); see `separable_solution`."""
    errors = {n: _error(_cells(n, 0)) for n in (8, 64, 128)}
    cells = _cells(64, 0)
    smooth = _final(cells, 256, RK4())
    euler = {k: float(np.max(np.abs(_final(cells, k, Euler()) - smooth))) for k in (128, 256)}
    return {
        "z(0, 1)": float(separable_solution(0.0, 1.0)),
        "z(1/2, 1)": float(separable_solution(0.5, 1.0)),
        "z(1, 1)": float(separable_solution(1.0, 1.0)),
        "error, 8 cells": errors[8],
        "error, 128 cells": errors[128],
        "order, 64 to 128 cells": float(np.log2(errors[64] / errors[128])),
        "256 Euler layers less RK4": euler[256],
        "order, 128 to 256 Euler layers": float(np.log2(euler[128] / euler[256])),
    }


@claim(
    "TP-37",
    statement="A width doubled three times on the way keeps order 2 if the transfers are linear "
    "to the ends; transfers constant on cells leave order 1.",
    paper=PAPER,
    references={
        "4 to 32 cells": 3.82e-2,
        "8 to 64 cells": 8.75e-3,
        "16 to 128 cells": 2.09e-3,
        "32 to 256 cells": 5.09e-4,
        "64 to 512 cells": 1.26e-4,
        "last order, linear": 2.0,
        "last order, constant on cells": 1.0,
        "last order, linear but constant beyond the nodes": 1.0,
    },
    relative_tolerance={
        "4 to 32 cells": 3e-3,
        "8 to 64 cells": 3e-3,
        "16 to 128 cells": 3e-3,
        "32 to 256 cells": 3e-3,
        "64 to 512 cells": 3e-3,
        "last order, linear": 2e-2,
        "last order, constant on cells": 1e-2,
        "last order, linear but constant beyond the nodes": 1e-2,
    },
    reason="the three digits of the ledger; orders between the last two rows",
)
def orders_of_transfers() -> dict[str, float]:
    """The field of TP-36, twice as many cells from t = 1/4, 1/2 and 3/4 on."""
    bases = (4, 8, 16, 32, 64)
    linear = [_error(_cells(n, 3)) for n in bases]
    last = {
        "linear": linear[-2:],
        "constant on cells": [_error(_cells(n, 3), nearest) for n in bases[-2:]],
        "linear but constant beyond the nodes": [
            _error(_cells(n, 3), prolongation) for n in bases[-2:]
        ],
    }
    rows = {f"{n} to {8 * n} cells": e for n, e in zip(bases, linear, strict=True)}
    orders = {
        f"last order, {how}": float(np.log2(a / b))
        for how, errors in last.items()
        for a, b in pairwise(errors)
    }
    return {**rows, **orders}
