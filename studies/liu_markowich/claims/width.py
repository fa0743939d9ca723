"""Section C of the ledger: quadrature, the limit in width."""

from collections.abc import Callable

import numpy as np

from continuum import (
    Dense,
    Grid,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
    hilbert_schmidt_norm,
    identity,
    midpoint,
    operator_norm,
    simpson,
    trapezoid,
)
from continuum.kernels import KernelFormat
from solvers import integrate, observed_orders

from ...bench.registry import claim
from .common import FINEST, HALF_A_UNIT, PAPER, UNIT, extrapolated, printed

WIDTH, WIDTH_WITHIN = printed(
    {
        "midpoint 8": "6.633854e-4",
        "midpoint 16": "1.712864e-4",
        "midpoint 32": "4.350710e-5",
        "trapezoid 8": "1.413168e-3",
        "trapezoid 16": "3.534991e-4",
        "trapezoid 32": "8.838771e-5",
        "Simpson 8": "4.405931e-6",
        "Simpson 16": "2.760111e-7",
        "Simpson 32": "1.726072e-8",
        "Gauss 2": "5.794532e-4",
        "Gauss 3": "2.295956e-6",
        "Gauss 4": "3.813010e-9",
        "Gauss 5": "3.52e-12",
    },
    rounding=2e-15,
)


@claim(
    "LM-19",
    statement="Width limit (Theorem 2.2): largest nodal error at T = 1 of LM-10 by rule and "
    "cells (Gauss: nodes).",
    paper=PAPER,
    references=WIDTH,
    tolerance=WIDTH_WITHIN,
    reason=f"{HALF_A_UNIT}, and 2e-15 for the rounding of states near 1",
)
def width_limit() -> dict[str, float]:
    """max_i |f_i(1) - f(y_i, 1)|, exact in time."""
    case = exact.rank_one
    grids = {f"midpoint {n}": midpoint(UNIT, n) for n in (8, 16, 32)}
    grids |= {f"trapezoid {n}": trapezoid(UNIT, n + 1) for n in (8, 16, 32)}
    grids |= {f"Simpson {n}": simpson(UNIT, n + 1) for n in (8, 16, 32)}
    grids |= {f"Gauss {n}": gauss_legendre(UNIT, n) for n in (2, 3, 4, 5)}
    computed = {}
    for name, grid in grids.items():
        network = WidthDepth(grid, identity)
        control = network.control(TimeMesh(1.0, 1), bias=case.bias, kernel=case.kernel)
        final = integrate(network, control, grid.sample(case.initial), FINEST).trajectory.final
        computed[name] = float(np.abs(final[:, 0] - case.solution(grid.coordinates, 1.0)).max())
    return computed


JUMP, JUMP_WITHIN = printed(
    {
        "midpoint 16, d = 0": "0.1211476",
        "midpoint 32, d = 0": "0.06153019",
        "midpoint 64, d = 0": "0.03100671",
        "midpoint 16, d = 1/2": "3.644484e-3",
        "midpoint 32, d = 1/2": "9.432556e-4",
        "midpoint 64, d = 1/2": "2.399399e-4",
        "Gauss 16, d = 1/2": "5.701091e-3",
        "Gauss 32, d = 1/2": "1.529243e-3",
        "Gauss 64, d = 1/2": "3.922580e-4",
        "trapezoid 16, d = 1/2": "6.058694e-2",
        "trapezoid 32, d = 1/2": "3.076677e-2",
        "trapezoid 16, corners 0 and 1": "1.154477e-3",
        "trapezoid 32, corners 0 and 1": "2.885013e-4",
        "midpoint 16, d = 0, in L^2": "5.467749e-2",
        "midpoint 32, d = 0, in L^2": "2.624016e-2",
        "Gauss 16, d = 0": "8.357124e-2",
        "Gauss 32, d = 0": "4.120677e-2",
        "Gauss 64, d = 0": "2.056962e-2",
        "trapezoid 16, d = 0": "1.098023e-1",
        "trapezoid 32, d = 0": "5.864758e-2",
        "trapezoid 64, d = 0": "3.028019e-2",
        "trapezoid 64, d = 1/2": "1.550356e-2",
        "trapezoid 64, corners 0 and 1": "7.211797e-5",
    }
)
"""The last eight are not in the ledger: exp(-4 B) applied to 1, by SciPy's matrix exponential."""


JUMP_ORDERS = {
    "order of midpoint, d = 0": 1.0,
    "order of midpoint, d = 1/2": 2.0,
    "order of Gauss, d = 0": 1.0,
    "order of Gauss, d = 1/2": 2.0,
    "order of trapezoid, d = 0": 1.0,
    "order of trapezoid, d = 1/2": 1.0,
    "order of trapezoid, corners 0 and 1": 2.0,
}


@claim(
    "LM-20",
    statement="A kernel that jumps, b = 1_(z<y): the value d on the diagonal decides the order; "
    "errors at T = 4.",
    paper=PAPER,
    references={**JUMP, **JUMP_ORDERS},
    tolerance={**JUMP_WITHIN, **dict.fromkeys(JUMP_ORDERS, 0.1)},
    reason=f"{HALF_A_UNIT}; orders to 0.1, from 32 and 64 cells",
)
def jump_kernel() -> dict[str, float]:
    """max (or L^2 norm) over nodes of the error against J_0(2 sqrt(ty)), and orders.

    d = 0 on all of the diagonal means b_nn = 0, at the end y = z = 1 of the trapezoid rule too.
    """

    def error(
        grid: Grid, diagonal: float, corners: tuple[float, float] | None = None, mean: bool = False
    ) -> float:
        network = WidthDepth(grid, identity)
        kernel = np.tril(np.ones((len(grid), len(grid))), -1) + diagonal * np.eye(len(grid))
        if corners is not None:
            kernel[0, 0], kernel[-1, -1] = corners
        control = network.control(TimeMesh(4.0, 1), kernel=kernel)
        final = integrate(network, control, np.ones((len(grid), 1)), FINEST).trajectory.final[:, 0]
        gap = final - exact.volterra.solution(grid.coordinates, 4.0)
        return float(np.sqrt(grid.integrate(gap**2))) if mean else float(np.abs(gap).max())

    computed = {}
    for n in (16, 32, 64):
        for rule, grid in (
            ("midpoint", midpoint(UNIT, n)),
            ("Gauss", gauss_legendre(UNIT, n)),
            ("trapezoid", trapezoid(UNIT, n + 1)),
        ):
            computed[f"{rule} {n}, d = 0"] = error(grid, 0.0)
            computed[f"{rule} {n}, d = 1/2"] = error(grid, 0.5)
        computed[f"trapezoid {n}, corners 0 and 1"] = error(trapezoid(UNIT, n + 1), 0.5, (0.0, 1.0))
    for n in (16, 32):
        computed[f"midpoint {n}, d = 0, in L^2"] = error(midpoint(UNIT, n), 0.0, mean=True)
    for name in JUMP_ORDERS:
        rule, diagonal = name.removeprefix("order of ").split(", ")
        pair = [computed[f"{rule} {n}, {diagonal}"] for n in (32, 64)]
        computed[name] = float(observed_orders([32, 64], pair)[0])
    return computed


SQUARE_SMOOTH, SQUARE_SMOOTH_WITHIN = printed(
    {
        "midpoint 4": "7.546715e-3",
        "midpoint 8": "2.142898e-3",
        "midpoint 16": "5.706099e-4",
        "trapezoid 4": "1.947125e-2",
        "trapezoid 8": "4.862135e-3",
        "trapezoid 16": "1.215178e-3",
        "Gauss 2": "5.486e-4",
        "Gauss 3": "1.429e-6",
        "Gauss 4": "1.764e-9",
        "Gauss 5": "1.3e-12",
    },
    rounding=5e-15,
)


@claim(
    "LM-21",
    statement="Width on the square, smooth kernel (LM-18), T = 1: largest nodal error by rule "
    "and cells per axis.",
    paper=PAPER,
    references=SQUARE_SMOOTH,
    tolerance=SQUARE_SMOOTH_WITHIN,
    reason=f"{HALF_A_UNIT}, and 5e-15 for the rounding of states of size up to 5",
)
def width_on_the_square() -> dict[str, float]:
    """max over nodes of the error, exact in time."""
    square = UNIT * UNIT
    grids = {f"midpoint {n}": midpoint(square, n) for n in (4, 8, 16)}
    grids |= {f"trapezoid {n}": trapezoid(square, n + 1) for n in (4, 8, 16)}
    grids |= {f"Gauss {n}": gauss_legendre(square, n) for n in (2, 3, 4, 5)}
    computed = {}
    for name, grid in grids.items():
        final = integrate(*exact.smooth_square.setup(grid, 1), FINEST).trajectory.final
        computed[name] = float(np.abs(final - exact.smooth_square.final(grid)).max())
    return computed


SQUARE_JUMP, SQUARE_JUMP_WITHIN = printed(
    {
        "d = 1/2, n = 8": "2.431816e-2",
        "d = 1/2, n = 16": "6.673111e-3",
        "d = 1/2, n = 24": "3.061002e-3",
        "d = 0, n = 8": "1.2987",
        "d = 0, n = 16": "0.7773",
        "d = 0, n = 24": "0.5510",
        "integral, d = 1/2, n = 8": "4.787926e-3",
        "integral, d = 1/2, n = 16": "1.189987e-3",
        "integral, d = 1/2, n = 24": "5.283084e-4",
    }
)


@claim(
    "LM-22",
    statement="Width on the square, a kernel that jumps (LM-17), T = 4, midpoint rule, by the "
    "diagonal of each factor.",
    paper=PAPER,
    references={**SQUARE_JUMP, "order, d = 1/2": 2.0},
    tolerance={**SQUARE_JUMP_WITHIN, "order, d = 1/2": 0.1},
    reason=f"{HALF_A_UNIT}; the order to 0.1, from 16 and 24 cells per axis (with d = 0 it is 1 "
    "only for finer ones)",
)
def jump_on_the_square() -> dict[str, float]:
    """Largest nodal error and error of the integral, by the diagonal value d of the one-dimensional
    factor.
    """
    total = 2.24149816835674966
    computed = {}
    for d in (0.5, 0.0):
        for n in (8, 16, 24):
            grid = midpoint(UNIT * UNIT, n)
            factor = np.tril(np.ones((n, n)), -1) + d * np.eye(n)
            network = WidthDepth(grid, identity)
            control = network.control(TimeMesh(4.0, 1), kernel=-np.kron(factor, factor))
            final = integrate(network, control, np.ones((n * n, 1)), FINEST).trajectory.final
            name = f"d = {'1/2' if d else '0'}, n = {n}"
            computed[name] = float(np.abs(final - exact.volterra_square.final(grid)).max())
            if d:
                computed[f"integral, {name}"] = abs(float(grid.integrate(final)[0]) - total)
    pair = [computed[f"d = 1/2, n = {n}"] for n in (16, 24)]
    return {**computed, "order, d = 1/2": float(observed_orders([16, 24], pair)[0])}


@claim(
    "LM-07",
    statement="The operator norm is at most the L^2 norm of b, with equality only for rank one "
    "or less (E07).",
    paper=PAPER,
    references={
        "min(y, z): operator": 0.4052847345693511,
        "min(y, z): Hilbert-Schmidt": 0.408248290463863,
        "two sine modes: operator": 1.0,
        "two sine modes: Hilbert-Schmidt": 1.4142135623730951,
    },
    tolerance=1e-14,
    reason="the last digit; sines are exact on Gauss nodes, and for min(y, z) h^2, h^4 and h^6 are "
    "removed from 25, 50, 100 and 200 nodes",
)
def norms() -> dict[str, float]:
    """Of W^1/2 b W^1/2; 4 / pi^2, 1 / sqrt 6, 1 and sqrt 2."""

    def limit(norm: Callable[[KernelFormat, np.ndarray, Grid], float]) -> float:
        grids = [midpoint(UNIT, n) for n in (25, 50, 100, 200)]
        values = [norm(Dense(), grid.evaluate_kernel(np.minimum), grid) for grid in grids]
        return float(extrapolated([len(grid) for grid in grids], values))

    grid = gauss_legendre(UNIT, 20)
    sines = [grid.evaluate(lambda y, k=k: np.sin(k * np.pi * y)) for k in (1, 2)]
    modes = 2 * np.outer(sines[0], sines[0]) + 2 * np.outer(sines[1], sines[1])
    return {
        "min(y, z): operator": limit(operator_norm),
        "min(y, z): Hilbert-Schmidt": limit(hilbert_schmidt_norm),
        "two sine modes: operator": operator_norm(Dense(), modes, grid),
        "two sine modes: Hilbert-Schmidt": hilbert_schmidt_norm(Dense(), modes, grid),
    }
