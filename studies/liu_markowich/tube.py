"""The states that still count for a lower bound when a good control is known."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from solvers.hjb import LowerBound, StateGrid, closed_loop, lower_bound, proved_cost, solve_hjb

from ..bench.parameters import Count
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, ORANGE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER
from .values import EXAMPLES, Example, optimum, path, posed

SHARES = (0.35, 0.65, 0.95)
"""Of the horizon, where slabs of time are drawn."""
REACHED = "#A9D5F0"


def masks(bound: LowerBound, grid: StateGrid) -> np.ndarray:
    """(S + 1, *grid.shape): True at the nodes of the cells that each slab's defect was taken on."""
    found = np.zeros((len(bound.cells), grid.size), dtype=bool)
    for row, cells in zip(found, bound.cells, strict=True):
        row[cells] = True
    return found.reshape(-1, *grid.shape)


def _panel(ax: Axes, case: xr.Dataset, k: int) -> None:
    x, y = case["f_1"].values, case["f_2"].values
    t = float(case["slab"][k])
    both = case["reached"].values[k].astype(float) + case["kept"].values[k]
    ax.pcolormesh(x, y, both.T, cmap=ListedColormap(["white", REACHED, BLUE]), vmin=0, vmax=2)
    px, py = case["path"].values.T
    for sign in (1.0, -1.0) if case.attrs["mirrored"] else (1.0,):
        ax.plot(px, sign * py, color=ORANGE, linewidth=1.4)
        at = (np.interp(t, case["path_time"], px), sign * np.interp(t, case["path_time"], py))
        ax.plot(*at, "o", color=ORANGE, markeredgecolor=BLACK, markersize=4)
    ax.plot(*case.attrs["target"], "*", color=VERMILION, markersize=11)
    ax.set_xlabel("block 1, $f_1$")
    ax.set_ylabel("block 2, $f_2$")
    ax.set_title(f"{case_parameters(case)['example']}, $t$ = {t:.3g}")


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(
        len(cases), len(SHARES) + 1, width=14.0, height=3.7 * len(cases) + 0.5
    )
    sentences = []
    for row, case in zip(axes, cases, strict=True):
        slabs = case.sizes["slab"]
        for ax, share in zip(row, SHARES, strict=False):
            _panel(ax, case, round(share * (slabs - 1)))
        ax = row[-1]
        counts = [np.sum(case[name].values, axis=(1, 2)) for name in ("reached", "kept")]
        for count, color, label in zip(counts, (REACHED, BLUE), ("reached", "kept"), strict=True):
            ax.semilogy(case["slab"], np.maximum(count, 0.5), color=color, label=label)
        ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
        ax.set_ylabel("cells")
        ax.set_title("cells that count")
        ax.grid(True)
        values = case_parameters(case)
        sentences.append(
            f"{values['example']}, {values['nodes']} nodes a side: of {np.sum(counts[0])} cells in "
            f"all slabs of time {np.sum(counts[1]) / np.sum(counts[0]):.1%} are kept, and the "
            f"bound is {float(case['bound']):.5f} in place of {float(case['plain_bound']):.5f}; "
            f"the control that prunes costs at most {float(case['above']):.5f}"
        )
    handles = [
        axes[0, 0].plot([], [], "s", color=REACHED, label="reached")[0],
        axes[0, 0].plot([], [], "s", color=BLUE, label="kept")[0],
        axes[0, 0].plot([], [], color=ORANGE, label="optimal run")[0],
        axes[0, 0].plot([], [], "*", color=VERMILION, markersize=11, label="target")[0],
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return [Picture("tube", ". ".join(sentences) + ".", figure)]


@study(
    "liu_markowich/tube",
    paper=PAPER,
    figure="Section 4.3",
    plot=_plot,
    cases=[{"example": list(EXAMPLES)}],
)
def tube(
    example: Example = "mirror images", nodes: Count = 161, times: Count = 161, layers: Count = 200
) -> xr.Dataset:
    """The cells of states that a lower bound of J* needs, with and without a control at hand.

    Where the value function says, up to the defect still to come, that no less than the cost of a
    known control is possible, the equation need not hold: `lower_bound` leaves these cells out.
    What is left is a tube around the runs that are nearly optimal.

    reached, kept : (slab, f_1, f_2), the cells, by their nodes, that count without and with pruning
    bound, plain_bound : with and without;  above : the proved cost of the feedback, that prunes
    path : states of the optimal run
    """
    problem, best = posed(example, layers), optimum(example)
    grid = StateGrid.reachable(problem, nodes)
    value = solve_hjb(problem, grid, times=times)
    above = proved_cost(problem, closed_loop(problem, value).control)
    bound, plain = lower_bound(problem, value, above), lower_bound(problem, value, np.inf)
    path_time, best_path = path(best)
    dims = ("slab", "f_1", "f_2")
    return xr.Dataset(
        {
            "reached": described("reached", masks(plain, grid), "1", "cells reached", dims),
            "kept": described("kept", masks(bound, grid), "1", "cells that are kept", dims),
            "bound": described("bound", bound.value, "1", "lower bound"),
            "plain_bound": described("plain_bound", plain.value, "1", "the same, not pruned"),
            "above": described("above", above.value, "1", "proved cost of the feedback"),
            "path": described("path", best_path, "1", "f of the optimal run", ("at", "block")),
            "path_time": described("path_time", path_time, "time", "its times", ("at",)),
        },
        coords={
            "slab": (
                "slab",
                0.5 * (bound.times[1:] + bound.times[:-1]),
                {"units": "time", "long_name": "middle of the slab"},
            ),
            "f_1": ("f_1", grid.axes[0], {"units": "1", "long_name": "state of block 1"}),
            "f_2": ("f_2", grid.axes[1], {"units": "1", "long_name": "state of block 2"}),
        },
        attrs={
            "target": list(EXAMPLES[example][1]),
            "mirrored": int(example == "mirror images"),
            "bound": str(bound),
        },
    )
