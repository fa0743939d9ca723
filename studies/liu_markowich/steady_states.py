"""Does Bf = a have a solution: Picard's sums at N, 2N and 4N."""

from collections.abc import Sequence
from math import pi
from typing import Literal

import numpy as np
import xarray as xr

from continuum import FunctionControl, Grid, TimeMesh, WidthDepth, midpoint, tanh
from solvers import steady_state

from ..bench.parameters import Count
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import new_figure
from ..shared import UNIT, described, legend_outside, mark_curves
from .paper import PAPER

BIASES = {"parabola": lambda y: y - y**2 / 2, "ramp": lambda y: y, "constant": np.ones_like}
TITLES = {
    "parabola": "$a = y - y^2/2$",
    "ramp": "$a = y$",
    "constant": "$a = 1$",
    "orthogonal": "$a = \\cos \\pi y$",
}


def setup(bias: str, grid: Grid) -> tuple[WidthDepth, FunctionControl]:
    """b = min(y, z), or b = 1 for the bias that is orthogonal to its range."""
    network, mesh = WidthDepth(grid, tanh), TimeMesh(1.0, 1)
    if bias == "orthogonal":
        return network, network.control(mesh, bias=lambda y: np.cos(pi * y), kernel=1.0)
    return network, network.control(mesh, bias=BIASES[bias], kernel=np.minimum)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, 2, width=9.6, height=4.0)
    notes = []
    for case in cases:
        bias = str(case_parameters(case)["bias"])
        seen = float(case["sums"].max()) > 1e-12
        for ax, name in zip(axes[0], ("sums", "root_sums"), strict=True):
            if seen:
                ax.loglog(case["points"], case[name], "-", label=TITLES[bias])
        if not seen:
            notes.append(
                f"{bias}: left out, its sums are 0, as a share {float(case['outside']):.2g} of "
                f"|a| is outside"
            )
            continue
        sums = ", ".join(f"{x:.4g}" for x in case["sums"].values)
        text = f"{bias}: {sums} ({case['sums'].attrs['verdict']})"
        text += f", with mu {', '.join(f'{x:.4g}' for x in case['root_sums'].values)}"
        text += f" ({case['root_sums'].attrs['verdict']})"
        notes.append(text)
    titles = (
        "$a \\in R(B)$?  $\\sum (a, \\varphi_l)^2 / \\mu_l^2$",
        "$a \\in R(B^{1/2})$?  $\\sum (a, \\varphi_l)^2 / \\mu_l$",
    )
    points = cases[0]["points"].values
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_xlabel("nodes $N$ [1]")
        ax.set_ylabel("Picard's sum")
        ax.set_title(title)
        ax.set_xticks(points, [str(n) for n in points])
        ax.minorticks_off()
        ax.grid(True)
    mark_curves(axes[0, 0])
    legend_outside(axes[0, 1])
    caption = (
        "Picard's sums on three grids: level where Bf = a is solvable, growing where it is not. "
    )
    pictures = [Picture("sums", caption + "; ".join(notes) + ".", figure)]
    figure, axes = new_figure(1, len(cases), width=3.0 * len(cases) + 0.4, height=3.3)
    notes = []
    for ax, case in zip(axes[0], cases, strict=True):
        bias = str(case_parameters(case)["bias"])
        ax.plot(case["y"], case["solution"])
        ax.set_xlabel("position $y$")
        ax.set_ylabel("$f$ of least norm")
        ax.set_title(TITLES[bias])
        largest = float(np.abs(case["solution"]).max())
        ax.set_ylim(-0.1 * max(largest, 1.0), 1.15 * max(largest, 1.0))
        ax.grid(True)
        notes.append(
            f"{bias}: largest |f| = {largest:.4g}, |Bf - a| = {float(case['residual']):.1e}"
        )
    caption = (
        "What the finest grid offers as solution of Bf = a, solvable or not: "
        + "; ".join(notes)
        + "."
    )
    pictures.append(Picture("solutions", caption, figure))
    return pictures


@study(
    "liu_markowich/steady_states",
    paper=PAPER,
    figure="Section 3.2",
    plot=_plot,
    cases=[{"bias": ["parabola", "ramp", "constant", "orthogonal"]}],
)
def steady_states(
    bias: Literal["parabola", "ramp", "constant", "orthogonal"] = "ramp", points: Count = 50
) -> xr.Dataset:
    """Steady states, which one grid always has and the limit need not.

    Is a in the range of B, or of B^1/2? With b = min(y, z): a = y - y^2/2 = B1 is in R(B), a = y in
    R(B^1/2) but not in R(B) (LM-29, LM-31), a = 1 in neither. With b = 1, a = cos(pi y) is
    orthogonal to R(B) (LM-30). Asked of midpoint rules with points, 2 points and 4 points nodes.

    sums, root_sums: sum (a, phi_l)^2 / mu_l^2 and sum (a, phi_l)^2 / mu_l; outside: the share of
    |a| outside the span of the phi_l; solution: of least norm on the finest grid, residual: |B
    solution - a|.
    """
    if not 2 <= points <= 250:
        raise ValueError(f"points must be from 2 to 250, got {points}")
    found = steady_state(lambda grid: setup(bias, grid), lambda n: midpoint(UNIT, n), points)
    sums = described("sums", found.sums, "1", "Picard's sum for R(B)", ("points",))
    sums.attrs["verdict"] = found.verdict
    root_sums = described(
        "root_sums", found.root_sums, "1", "Picard's sum for R(B^1/2)", ("points",)
    )
    root_sums.attrs["verdict"] = found.root_verdict
    finest = midpoint(UNIT, found.points[2])
    return xr.Dataset(
        {
            "sums": sums,
            "root_sums": root_sums,
            "outside": described("outside", found.outside, "1", "share of |a| outside the span"),
            "solution": described(
                "solution", found.solution[:, 0], "1", "solution of least norm", ("y",)
            ),
            "residual": described("residual", found.residual, "1", "|Bf - a| in L^2(Y)"),
        },
        coords={
            "points": (
                "points",
                list(found.points),
                {"units": "1", "long_name": "number of nodes"},
            ),
            "y": ("y", finest.coordinates, {"units": "1", "long_name": "position"}),
        },
    )
