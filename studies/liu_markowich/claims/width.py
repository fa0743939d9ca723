"""Section C of the ledger: quadrature, the limit in width."""

import numpy as np

from continuum import Grid, TimeMesh, WidthDepth, exact, gauss_legendre, identity, midpoint, trapezoid
from solvers import RK4, integrate

from ...registry import claim
from .common import PAPER, UNIT, rounded

WIDTH = {
    "midpoint 8": 6.633854e-4,
    "midpoint 16": 1.712864e-4,
    "midpoint 32": 4.350710e-5,
    "trapezoid 8": 1.413168e-3,
    "trapezoid 16": 3.534991e-4,
    "trapezoid 32": 8.838771e-5,
    "Simpson 8": 4.405931e-6,
    "Simpson 16": 2.760111e-7,
    "Simpson 32": 1.726072e-8,
    "Gauss 2": 5.794532e-4,
    "Gauss 3": 2.295956e-6,
    "Gauss 4": 3.813010e-9,
    "Gauss 5": 3.52e-12,
}


def _simpson(cells: int) -> Grid:
    weights = np.full(cells + 1, 2.0)
    weights[1::2] = 4.0
    weights[[0, -1]] = 1.0
    return Grid(UNIT, np.linspace(0, 1, cells + 1)[:, None], weights / (3 * cells))


@claim(
    "LM-19",
    statement="Width limit (Theorem 2.2): largest nodal error at T = 1 of LM-10 by rule and cells (Gauss: nodes).",
    paper=PAPER,
    references=WIDTH,
    relative_tolerance=rounded(WIDTH, rounding=1e-14),
    reason="the ledger prints seven digits; rounding over 1000 steps leaves about 1e-14 in the states beside them",
)
def width_limit() -> dict[str, float]:
    """max_i |f_i(1) - f(y_i, 1)| with 1000 steps of RK4, whose own error is 1e-14."""
    case = exact.rank_one
    grids = {f"midpoint {n}": midpoint(UNIT, n) for n in (8, 16, 32)}
    grids |= {f"trapezoid {n}": trapezoid(UNIT, n + 1) for n in (8, 16, 32)}
    grids |= {f"Simpson {n}": _simpson(n) for n in (8, 16, 32)}
    grids |= {f"Gauss {n}": gauss_legendre(UNIT, n) for n in (2, 3, 4, 5)}
    computed = {}
    for name, grid in grids.items():
        network = WidthDepth(grid, identity)
        control = network.control(TimeMesh(1.0, 1000), bias=case.bias, kernel=case.kernel)
        final = integrate(network, control, grid.sample(case.initial), RK4()).trajectory.final
        computed[name] = float(np.abs(final[:, 0] - case.solution(grid.coordinates, 1.0)).max())
    return computed
