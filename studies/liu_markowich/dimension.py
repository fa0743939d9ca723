"""Seconds and error of values against the number of units: grids, merged units, descents."""

import time
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from continuum import Grid, LearningProblem, midpoint
from solvers import RK4, discretize
from solvers.hjb import StateGrid, closed_loop, descend_values, merge_units, solve_hjb

from ..bench.parameters import Count
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLUE, GREEN, ORANGE, SKY, VERMILION, new_figure
from ..shared import UNIT, described
from .paper import PAPER, boxed
from .values import optimum

Scheme: TypeAlias = Literal["weno", "strang"]
METHODS = (
    "grid, WENO",
    "grid, Strang",
    "merged units: V",
    "merged units: feedback",
    "descents",
)
COLORS = (BLUE, SKY, GREEN, ORANGE, VERMILION)
MARKERS = ("o-", "s-", "D--", "^:", "v-")
SCHEMES: tuple[Scheme, ...] = ("weno", "strang")
MANY = (10, 20, 50, 100, 200)
MOST_ON_GRIDS = 5
ALONE = (4.0 - (1.5 * np.e - 1.0)) ** 2 / 2.0
"""J* of one unit, which goes up all the time: f(1) = 1.5 e - 1 (LM-53)."""


def units(count: int, layers: int) -> LearningProblem:
    """LM-54 with so many units: those of the first half of (0, 1) have the target 4, the others 0.

    Each half is divided equally among its units, the first half among one more if `count` is odd:
    the two halves move alike, so J* is that of two units.  One unit alone has the target 4.
    """
    if count == 1:
        return boxed([0.5], [4.0], grid=midpoint(UNIT, 1), layers=layers)
    first = (count + 1) // 2
    shares = np.repeat([0.5 / first, 0.5 / (count - first)], [first, count - first])
    ends = np.concatenate([[0.0], np.cumsum(shares)])
    grid = Grid(UNIT, 0.5 * (ends[1:] + ends[:-1])[:, None], shares)
    targets = np.repeat([4.0, 0.0], [first, count - first])
    return boxed(np.full(count, 0.5).tolist(), targets.tolist(), grid=grid, layers=layers)


def _timed(ask: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Processor seconds of a call, and its answer."""
    began = time.process_time()
    found = ask()
    return time.process_time() - began, found


def _on_grid(problem: LearningProblem, nodes: int, scheme: Scheme) -> np.ndarray:
    """(1,): V at the start."""
    grid = StateGrid.reachable(problem, nodes)
    return np.array([solve_hjb(problem, grid, times=6, scheme=scheme).at_start])


def _merged(problem: LearningProblem, nodes: int) -> np.ndarray:
    """V of the merged problem, and the cost of its feedback, lifted to all units."""
    small, lift = merge_units(problem) if len(problem.initial) > 2 else (problem, lambda c: c)
    value = solve_hjb(small, StateGrid.reachable(small, nodes), times=41)
    control = lift(closed_loop(small, value).control)
    return np.array([value.at_start, discretize(problem, RK4()).value(control)])


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for n, case in enumerate(cases):
        figure, axes = new_figure(1, 2, width=11.0, height=4.8)
        counts, values = case["units"].values, case_parameters(case)
        for row, (name, color, marker) in enumerate(zip(METHODS, COLORS, MARKERS, strict=True)):
            seconds, error = case["seconds"].values[row], np.abs(case["error"].values[row])
            known = np.isfinite(seconds)
            if name != "merged units: feedback":
                label = name.removesuffix(": V")
                axes[0, 0].loglog(counts[known], seconds[known], marker, color=color, label=label)
            axes[0, 1].loglog(counts[known], error[known], marker, color=color, label=name)
        for ax, label in ((axes[0, 0], "processor seconds"), (axes[0, 1], "error of $J^*$")):
            ax.set_xlabel("units $N$")
            ax.set_ylabel(label)
            ax.set_xticks(counts, [f"{x}" if x not in (4, 100) else "" for x in counts])
            ax.minorticks_off()
            ax.grid(True)
        handles, labels = axes[0, 1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
        largest = int(counts[np.isfinite(case["seconds"].values[0])][-1])
        last = int(counts[-1])

        def at(name: str, row: int, count: int, case: xr.Dataset = case) -> float:
            return float(case[name].sel(units=count)[row])

        growth = [at("seconds", k, largest) / at("seconds", k, largest - 1) for k in (0, 1)]
        caption = (
            f"LM-54 with N units, {values['nodes']} nodes a side: from {largest - 1} to {largest} "
            f"units WENO takes {growth[0]:.0f} and Strang {growth[1]:.0f} times as long; at N = "
            f"{largest} they take {at('seconds', 0, largest):.2g} s and "
            f"{at('seconds', 1, largest):.2g} s and miss J* by {at('error', 0, largest):.1e} and "
            f"{at('error', 1, largest):.1e}. At N = {last}, merging to two units and "
            f"{values['merged_nodes']} nodes a side take {at('seconds', 2, last):.2g} s, feedback "
            f"included, whose lifted control costs {at('error', 3, last):.1e} more than J*; "
            f"{values['starts']} descents take {at('seconds', 4, last):.2g} s, and the best costs "
            f"{at('error', 4, last):.1e} more on {values['layers']} layers."
        )
        pictures.append(
            Picture("dimension" if len(cases) == 1 else f"dimension_{n}", caption, figure)
        )
    return pictures


@study("liu_markowich/dimension", paper=PAPER, figure="Section 4.3", plot=_plot)
def dimension(
    most: Count = 5,
    nodes: Count = 17,
    merged_nodes: Count = 161,
    most_units: Count = 200,
    layers: Count = 100,
    starts: Count = 16,
    repeats: Count = 1,
) -> xr.Dataset:
    """What the value at one start costs, against the number N of units, and how far it is from J*.

    LM-54 with N units has the same J* for every N >= 2: equal units do best alike (see
    `merge_units`).  Grids serve N <= `most` <= 5, at `nodes` on each axis of the states that
    controls reach; merging leaves two units, whatever N; descents start from `starts` random
    controls at one state and take any N.

    seconds : of the process, the least of `repeats`, after a call that compiles; error : what was
    found minus J*, of the value on the grid, of the cost of the merged problem's feedback on all N
    units, of the best descent
    """
    if not 2 <= most <= MOST_ON_GRIDS or nodes < 9 or repeats < 1:
        raise ValueError(
            f"most must be from 2 to {MOST_ON_GRIDS}, nodes >= 9, repeats >= 1, got {most}, "
            f"{nodes}, {repeats}"
        )
    if not most <= most_units <= 1000 or starts < 1 or layers < 10:
        raise ValueError(
            f"most_units must be from {most} to 1000, starts >= 1, layers >= 10, got {most_units}, "
            f"{starts}, {layers}"
        )
    counts = [*range(1, most + 1), *(n for n in MANY if most < n <= most_units)]
    seconds, error = np.full((2, len(METHODS), len(counts)), np.nan)
    two = optimum("one switch").objective

    def measure(rows: slice, column: int, best: float, ask: Callable[[], np.ndarray]) -> None:
        took, found = min((_timed(ask) for _ in range(repeats)), key=lambda pair: pair[0])
        seconds[rows, column], error[rows, column] = took, found - best

    for column, count in enumerate(counts):
        problem = units(count, layers)
        best = ALONE if count == 1 else two
        if count <= most:
            for row, scheme in enumerate(SCHEMES):
                _on_grid(problem, 9, scheme)
                measure(
                    slice(row, row + 1),
                    column,
                    best,
                    lambda p=problem, s=scheme: _on_grid(p, nodes, s),
                )
        if count >= 2:
            _merged(problem, 21)
            measure(slice(2, 4), column, best, lambda p=problem: _merged(p, merged_nodes))
        descend_values(problem, problem.initial, starts=1, max_iterations=1)
        measure(
            slice(4, 5),
            column,
            best,
            lambda p=problem: descend_values(p, p.initial, starts=starts).costs,
        )
    dims = ("way", "units")
    return xr.Dataset(
        {
            "seconds": described("seconds", seconds, "s", "processor time", dims),
            "error": described("error", error, "1", "found minus J*", dims),
            "optimum": described("optimum", two, "1", "J* of two units or more, by shooting"),
        },
        coords={
            "way": ("way", list(METHODS), {"units": "1", "long_name": "how"}),
            "units": ("units", counts, {"units": "1", "long_name": "units"}),
        },
    )
