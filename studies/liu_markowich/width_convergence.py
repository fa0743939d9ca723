"""How fast networks approach their limit as they get wider, smooth kernels and one that jumps."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from continuum import (
    FunctionControl,
    Grid,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
    jump_kernel,
    midpoint,
    simpson,
    trapezoid,
)
from solvers import DormandPrince, integrate

from ..bench.parameters import Count, Doublings
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import convergence_plot, new_figure
from ..shared import ROUNDING, described, doubled, last_order, legend_outside, order_triangles
from .paper import PAPER

PROBLEMS = {"line": exact.rank_one, "square": exact.smooth_square, "jump": exact.volterra}
TITLES = {"line": "one dimension", "square": "two dimensions", "jump": "a kernel that jumps"}
RULES = {"midpoint": midpoint, "trapezoid": trapezoid, "Simpson": simpson, "Gauss": gauss_legendre}


def grid_of(problem: str, rule: str, cells: int) -> Grid:
    """The rule with that many cells per dimension, or that many Gauss points."""
    nodes = cells + 1 if rule in ("trapezoid", "Simpson") else cells
    return RULES[rule](PROBLEMS[problem].domain, nodes)


def setup(
    problem: str, grid: Grid, diagonal: float
) -> tuple[WidthDepth, FunctionControl, np.ndarray]:
    """Network, control and initial state; `diagonal` is b(y, y) of the kernel that jumps."""
    case = PROBLEMS[problem]
    if problem != "jump":
        return case.setup(grid, 1)
    network = WidthDepth(grid, case.activation)
    control = network.control(
        TimeMesh(case.horizon, 1), kernel=jump_kernel(grid, 1.0, 0.0, diagonal=diagonal)
    )
    return network, control, grid.sample(case.initial)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for problem, case in PROBLEMS.items():
        chosen = [c for c in cases if case_parameters(c)["problem"] == problem]
        if not chosen:
            continue
        figure, axes = new_figure(1, 1, width=7.2, height=4.6)
        ax, notes, curves = axes[0, 0], [], []
        for c in chosen:
            given = case_parameters(c)
            label = str(given["rule"])
            if problem == "jump":
                label += f", $b(y, y)$ = {given['diagonal']:g}"
            order = float(c["order"])
            spectral = given["rule"] == "Gauss" and problem != "jump"
            text = label.replace("$", "")
            errors = c["error"].values
            kept = errors > ROUNDING
            notes.append(
                f"{text}: {errors.min():.1e} reached, faster than any order"
                if spectral
                else f"{text}: {order:.2f}"
            )
            if kept.sum() < 2:
                continue
            x, y = c["cells"].values[kept], errors[kept]
            convergence_plot(
                ax,
                x.tolist(),
                y.tolist(),
                xlabel="cells or Gauss points per dimension",
                label=label,
                ylabel="largest error of $f$ at $T$",
            )
            if not spectral:
                curves.append((x, y))
        order_triangles(ax, curves)
        every = chosen[0]["cells"].values
        ax.set_xticks(every, [str(n) for n in every])
        ax.set_title(f"{TITLES[problem]}, $T$ = {case.horizon:g}")
        legend_outside(ax)
        caption = (
            f"Errors against width, {case.name}. Orders observed at the widest networks: "
            + "; ".join(notes)
        )
        pictures.append(
            Picture(problem, f"{caption}. Errors below {ROUNDING:g} are left out.", figure)
        )
    return pictures


@study(
    "liu_markowich/width_convergence",
    paper=PAPER,
    figure="Theorem 2.2",
    plot=_plot,
    cases=[
        {"problem": "line", "rule": list(RULES), "coarsest": 2, "doublings": 6},
        {"problem": "square", "rule": list(RULES), "coarsest": 2, "doublings": 4},
        {
            "problem": "jump",
            "rule": ["midpoint", "Gauss"],
            "diagonal": [0.0, 0.5],
            "coarsest": 8,
            "doublings": 4,
        },
        {"problem": "jump", "rule": "trapezoid", "diagonal": 0.5, "coarsest": 8, "doublings": 4},
    ],
)
def width_convergence(
    problem: Literal["line", "square", "jump"] = "line",
    rule: Literal["midpoint", "trapezoid", "Simpson", "Gauss"] = "midpoint",
    diagonal: float = 0.5,
    coarsest: Count = 2,
    doublings: Doublings = 4,
) -> xr.Dataset:
    """Errors of networks against their width, for four quadrature rules.

    How fast does a network whose units are quadrature nodes approach the limit of infinite width?
    The limits have closed forms: kernels that are smooth, on an interval (LM-10) and on a square
    (LM-18), and b = 1 for z < y, 0 for z > y (LM-16), where f = J_0(2 sqrt(t y)).

    diagonal: b(y, y) of the kernel that jumps; the average 1/2 keeps the midpoint rule at order 2,
    0 costs an order, and the trapezoid rule loses it in the corners. Steps are Dormand-Prince's
    with tolerance 1e-13. error: the largest over nodes at the horizon, for coarsest, 2 coarsest,
    ... cells (Gauss: points) per dimension.
    raises ValueError for Simpson's rule with an odd number of cells, or more than 5000 nodes
    """
    cells = doubled(coarsest, doublings)
    case = PROBLEMS[problem]
    errors = []
    if cells[-1] ** (2 if problem == "square" else 1) > 5000:
        raise ValueError(
            f"coarsest and doublings ask for {cells[-1]} cells per dimension, more than 5000 "
            f"nodes in all"
        )
    for n in cells:
        grid = grid_of(problem, rule, n)
        network, control, initial = setup(problem, grid, diagonal)
        final = integrate(
            network, control, initial, DormandPrince(rtol=1e-13, atol=1e-14)
        ).trajectory.final
        errors.append(float(np.abs(final - case.final(grid)).max()))
    return xr.Dataset(
        {
            "error": described("error", errors, "1", "largest error at the horizon", ("cells",)),
            "order": described("order", last_order(cells, errors), "1", "observed order"),
        },
        coords={"cells": ("cells", cells, {"units": "1", "long_name": "cells per dimension"})},
    )
