"""How close a proved lower bound comes to the optimum as the grid is refined, and what it says of
controls.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from continuum import TimeMesh
from solvers import LBFGS, RK4, discretize, minimize
from solvers.hjb import (
    StateGrid,
    closed_loop,
    lower_bound,
    optimality_gap,
    proved_cost,
    solve_hjb,
)

from ..bench.parameters import Count, Doublings
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION, new_figure, order_triangle
from ..shared import described, doubled
from .paper import PAPER
from .values import EXAMPLES, Example, optimum, posed


def _levels(ax: Axes, case: xr.Dataset) -> None:
    h, best = case["spacing"].values, float(case["optimum"])
    for name, marker, color, label in (
        ("start_value", "s-", GREEN, "$V$ at the start"),
        ("bound", "o-", BLUE, "lower bound, pruned"),
        ("plain_bound", "^--", PURPLE, "lower bound, not pruned"),
        ("proved_cost", "D:", ORANGE, "feedback, proved cost"),
    ):
        ax.plot(h, case[name], marker, color=color, label=label)
    ax.axhline(best, color=BLACK, linewidth=1.0, label="$J^*$ by shooting")
    ax.axhline(
        float(case["descent"]),
        color=VERMILION,
        linestyle="-.",
        label="descent from zero",
    )
    ax.set_xscale("log")
    ax.set_xticks(h, [f"{x:.2g}" for x in h])
    ax.minorticks_off()
    ax.set_xlabel("spacing $h$")
    ax.set_ylabel("cost")
    ax.set_title(f"{case_parameters(case)['example']}")
    ax.grid(True)


def _distances(ax: Axes, case: xr.Dataset) -> None:
    h, best = case["spacing"].values, float(case["optimum"])
    for name, marker, color in (
        ("start_value", "s-", GREEN),
        ("bound", "o-", BLUE),
        ("plain_bound", "^--", PURPLE),
        ("proved_cost", "D:", ORANGE),
    ):
        ax.loglog(h, np.abs(case[name].values - best), marker, color=color)
    miss = best - case["bound"].values
    low, high = float(h[-1]), float(h[-2])
    order_triangle(ax, (low, high), float(miss[-1]) * 3.0, 1, against="step")
    ax.set_xticks(h, [f"{x:.2g}" for x in h])
    ax.minorticks_off()
    ax.set_xlabel("spacing $h$")
    ax.set_ylabel("distance from $J^*$")
    ax.set_title(f"{case_parameters(case)['example']}")
    ax.grid(True)


def slope(h: np.ndarray, distance: np.ndarray) -> float:
    """The slope of the line through log distance against log h, by least squares."""
    known = np.isfinite(distance)
    return float(np.polyfit(np.log(h[known]), np.log(distance[known]), 1)[0])


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(len(cases), 2, width=11.0, height=4.2 * len(cases) + 0.6)
    sentences = []
    for row, case in zip(axes, cases, strict=True):
        _levels(row[0], case)
        _distances(row[1], case)
        best, h = float(case["optimum"]), case["spacing"].values
        pruned, plain = (case[name].values for name in ("bound", "plain_bound"))
        sentences.append(
            f"{case_parameters(case)['example']}: on {int(case['nodes'][-1])} nodes a side every "
            f"control costs at least {pruned[-1]:.5f}, proved, and the feedback at most "
            f"{float(case['proved_cost'][-1]):.5f}, proved; J* = {best:.6f} by shooting lies "
            f"between. The bound's distance falls with slope {slope(h, best - pruned):.2f} in h "
            f"pruned and {slope(h, best - plain):.2f} not pruned. L-BFGS from the zero control "
            f"ends at J = {float(case['descent']):.4f}, {float(case['descent_gap']):.4f} above the "
            "bound"
        )
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return [Picture("gap", ". ".join(sentences) + ".", figure)]


@study(
    "liu_markowich/gap",
    paper=PAPER,
    figure="Section 4.3",
    plot=_plot,
    cases=[{"example": list(EXAMPLES)}],
)
def gap(
    example: Example = "mirror images",
    coarsest: Count = 40,
    doublings: Doublings = 3,
    layers: Count = 200,
    plain_most: Count = 161,
) -> xr.Dataset:
    """Proved bounds of the least cost, from below and from above, against the spacing of the grid.

    From below by `lower_bound` from the value function on coarsest * 2^k + 1 nodes a side, from
    above by `proved_cost` of its feedback, held on `layers` layers; the latter also prunes the
    states that the bound needs.  J* lies between, whatever the grid.  Values are kept at as many
    times as there are nodes on an axis: with fewer the bound is that of the slabs of time.

    bound, plain_bound : with and without pruning, the latter up to `plain_most` nodes a side, NaN
        beyond;  proved_cost : of the feedback
    start_value : V at the start, no bound of anything
    descent : J of the end of L-BFGS from the zero control;  descent_gap : minus the last bound
    optimum : J of the best extremal, by shooting
    """
    problem = replace(posed(example), controls=TimeMesh(EXAMPLES[example][2], layers))
    sizes = [n + 1 for n in doubled(coarsest, doublings)]
    rows = {"start_value": [], "bound": [], "plain_bound": [], "proved_cost": [], "spacing": []}
    bound = None
    for nodes in sizes:
        grid = StateGrid.reachable(problem, nodes)
        value = solve_hjb(problem, grid, times=nodes)
        above = proved_cost(problem, closed_loop(problem, value).control)
        bound = lower_bound(problem, value, above)
        plain = lower_bound(problem, value, np.inf).value if nodes <= plain_most else np.nan
        for name, x in zip(
            rows,
            (value.at_start, bound.value, plain, above.value, float(grid.spacings[0])),
            strict=True,
        ):
            rows[name].append(x)
    if bound is None:
        raise ValueError("no grid was asked for")
    method = LBFGS(gtol=1e-6, max_iterations=2000)
    end = minimize(discretize(problem, RK4()), method, raise_on_failure=False)
    judged = optimality_gap(problem, end.control, bound)
    names = {
        "start_value": "V at the start",
        "bound": "lower bound, pruned",
        "plain_bound": "lower bound, not pruned",
        "proved_cost": "proved cost of the feedback",
        "spacing": "between nodes",
    }
    return xr.Dataset(
        {
            **{n: described(n, x, "1", names[n], ("nodes",)) for n, x in rows.items()},
            "descent": described("descent", judged.objective, "1", "J of a descent from zero"),
            "descent_gap": described("descent_gap", judged.difference, "1", "above the bound"),
            "optimum": described("optimum", optimum(example).objective, "1", "J by shooting"),
        },
        coords={"nodes": ("nodes", sizes, {"units": "1", "long_name": "nodes on each axis"})},
        attrs={"bound": str(bound), "descent": str(judged)},
    )
