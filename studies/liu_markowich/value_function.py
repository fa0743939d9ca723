"""The value function of two problems of the box, its characteristics, and the ridge on which it has
no gradient.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from continuum import LearningProblem
from solvers.hjb import (
    Characteristics,
    StateGrid,
    ValueFunction,
    characteristics,
    solve_hjb,
)

from ..bench.parameters import Count
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, ORANGE, SKY, VERMILION, new_figure
from ..shared import described
from .paper import PAPER
from .values import EXAMPLES, Example, optimum, path, posed

PANELS = 4
"""Times at which contours are drawn."""
BOXES: Mapping[Example, tuple[tuple[float, float], ...]] = MappingProxyType(
    {
        "one switch": ((-4.0, 7.0), (-5.5, 5.5)),
        "mirror images": ((-8.0, 10.0), (-9.0, 9.0)),
    }
)
"""Beyond what is drawn, because V is extrapolated at walls."""
MARGIN = 0.2
"""The share of the box, on each side, that is not drawn."""
STEEP = 0.02
"""A slope that is drawn as a ridge: where V = 0 its slopes are errors."""
PASSED = 0.03
"""A characteristic that carries so much more than V has met another one before."""


def rim(problem: LearningProblem, level: float, count: int) -> np.ndarray:
    """(2, count): states all around the target where sum_i w_i (f_i - y_i)^2 / 2 = level."""
    angle = (np.arange(count) + 0.5) * 2.0 * np.pi / count
    radius = np.sqrt(2.0 * level / problem.network.weights)[:, None]
    return np.asarray(problem.target) + radius * np.stack([np.cos(angle), np.sin(angle)])


def values_there(value: ValueFunction, rays: Characteristics) -> np.ndarray:
    """(S, L): V on the grid along characteristics, NaN outside the grid."""
    box = np.array(value.grid.box)
    inside = np.all((rays.states > box[:, :1]) & (rays.states < box[:, 1:]), axis=1)
    found = np.full(inside.shape, np.nan)
    for n, t in enumerate(rays.times):
        if np.any(inside[n]):
            found[n, inside[n]] = value(rays.states[n][:, inside[n]], float(t))
    return found


def ridge_slopes(value: ValueFunction, along: np.ndarray, t: float) -> np.ndarray:
    """(P,): the slope of V in f_2 on the side f_2 > 0 of f_2 = 0, at states with these f_1; where
    it is negative V falls both ways, since V is even in f_2.
    """
    h = float(value.grid.spacings[1])
    ends = [value(np.stack([along, np.full_like(along, x)]), t) for x in (0.0, h)]
    return (ends[1] - ends[0]) / h


def _contours(ax: Axes, case: xr.Dataset, k: int) -> None:
    x, y = case["f_1"].values, case["f_2"].values
    v, t = case["value"].values[k], float(case["time"][k])
    level = float(case["optimum"])
    levels = np.array([0.01, 0.25, 0.5, 1, 2, 3, 4, 6, 8, 11, 15, 20, 26])
    drawn = ax.contour(x, y, v.T, levels=levels, colors=SKY, linewidths=0.7)
    ax.clabel(drawn, levels=levels[3::3], fontsize=7, fmt="%g")
    ax.contour(x, y, v.T, levels=[level], colors=BLUE, linewidths=2.0)
    n = int(np.argmin(np.abs(case["instant"].values - t)))
    states = case["characteristic"].values
    for one in range(0, states.shape[2], max(1, states.shape[2] // 36)):
        ax.plot(*states[n:, :, one].T, color="#999999", linewidth=0.5, zorder=1)
    ax.plot(*states[n], ".", color=VERMILION, markersize=3)
    falling = case["ridge_slope"].values[k] < -STEEP
    ridge = np.where(falling, 0.0, np.nan)
    ax.plot(case["along"], ridge, color=BLACK, linewidth=2.4)
    px, py = case["path"].values.T
    ax.plot(px, py, color=ORANGE, linewidth=1.4)
    ax.plot(
        np.interp(t, case["path_time"], px),
        np.interp(t, case["path_time"], py),
        "o",
        color=ORANGE,
        markeredgecolor=BLACK,
        markersize=6,
    )
    ax.plot(*case.attrs["target"], "*", color=VERMILION, markersize=11)
    for limits, z in ((ax.set_xlim, x), (ax.set_ylim, y)):
        cut = MARGIN * (z[-1] - z[0])
        limits(z[0] + cut, z[-1] - cut)
    ax.set_xlabel("block 1, $f_1$")
    ax.set_ylabel("block 2, $f_2$")
    ax.set_title(f"$V(\\cdot, t)$ at $t$ = {t:.3g}")


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for n, case in enumerate(cases):
        figure, axes = new_figure(2, 3, width=13.0, height=8.6)
        chosen = np.linspace(0, case.sizes["time"] - 1, PANELS).round().astype(int)
        for ax, k in zip(axes.ravel(), chosen, strict=False):
            _contours(ax, case, int(k))
        ax = axes[1, 1]
        for k, style in zip(chosen[:-1], ("-", "--", ":"), strict=True):
            ax.plot(
                case["f_2"],
                case["section"].values[k],
                style,
                color=BLACK,
                label=f"$t$ = {float(case['time'][k]):.3g}",
            )
        ax.set_xlabel("block 2, $f_2$")
        ax.set_ylabel("$V$")
        ax.set_title(f"across the ridge, at $f_1$ = {case.attrs['section']:.3g}")
        low, high = axes[0, 0].get_ylim()
        drawn = (case["f_2"].values >= low) & (case["f_2"].values <= high)
        ax.set_xlim(low, high)
        ax.set_ylim(top=1.2 * np.max(case["section"].values[chosen[:-1]][:, drawn]))
        ax.legend(loc="upper center", ncols=3)
        ax.grid(True)
        ax = axes[1, 2]
        excess = float(case["optimum"]) - case["characteristic_value"].values
        ax.plot(case["instant"], excess, color="#999999", linewidth=0.6)
        ax.axhline(0.0, color=BLACK, linewidth=0.8)
        ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
        ax.set_ylabel("value carried minus $V$ there")
        ax.set_title("characteristics, backwards in time")
        ax.grid(True)
        handles = [
            ax.plot([], [], color=BLUE, linewidth=2.0, label="$V = J^*$")[0],
            ax.plot([], [], ".", color=VERMILION, label="characteristics of value $J^*$")[0],
            ax.plot([], [], color=ORANGE, label="optimal run")[0],
            ax.plot([], [], color=BLACK, linewidth=2.4, label="ridge: $V$ falls both ways")[0],
            ax.plot([], [], "*", color=VERMILION, markersize=11, label="target")[0],
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
        values = case_parameters(case)
        here, best = float(case["start_value"]), float(case["optimum"])
        passed = np.mean(excess[0][np.isfinite(excess[0])] > PASSED)
        caption = (
            f"{values['example']}: V at the start is {here:.6f} on {values['nodes']} nodes a side, "
            f"J* = {best:.6f} by shooting, a difference of {here - best:.1e}; three grids estimate "
            f"{float(case['error']):.1e}, at order {float(case['order']):.2f}. Characteristics "
            "from the contour V = J* at T carry this value back. Of those on the grid at t = 0, "
            f"{100 * passed:.0f}% carry at least {PASSED:g} more than V there: they have crossed "
            "the ridge, or others, and are not optimal before. Beside the ridge V falls with a "
            f"slope of up to {-float(case['ridge_slope'].min()):.2f}."
        )
        pictures.append(Picture("value" if len(cases) == 1 else f"value_{n}", caption, figure))
    return pictures


@study(
    "liu_markowich/value_function",
    paper=PAPER,
    figure="Section 4.3",
    plot=_plot,
    cases=[{"example": list(EXAMPLES)}],
)
def value_function(
    example: Example = "one switch", nodes: Count = 241, times: Count = 61, fan: Count = 360
) -> xr.Dataset:
    """The value function of LM-54 or LM-55 by the Hamilton-Jacobi-Bellman equation, its
    characteristics, and its ridge.

    V_t - (1 + m) sum_i |V_i| = 0 for V_i = dV/df_i, m = (|f_1| + |f_2|) / 2,
    V(f, T) = sum_i (f_i - target_i)^2 / 4.  Velocities do not depend on the sign of f_2, and the
    target has none: V is even in f_2, and has a kink on f_2 = 0 where both directions gain.  There
    V has no gradient.

    value : V at `times` times on the grid;  section : V at the start's f_1 against f_2
    characteristic, characteristic_value : `fan` extremals backwards from the terminal cost J*, and
        V on the grid along them, NaN outside;  carried value: J* along each of them
    ridge_slope : the slope of V in f_2 beside f_2 = 0, on the side f_2 > 0
    start_value, error, order : V at the start, its estimated error, from three grids
    optimum, path : J and states of the best extremal, by shooting
    raises ValueError unless nodes >= 41, times >= 4, fan >= 12
    """
    if nodes < 41 or times < 4 or fan < 12:
        raise ValueError(f"nodes must be >= 41, times >= 4, fan >= 12, got {nodes}, {times}, {fan}")
    problem, best = posed(example), optimum(example)
    value = solve_hjb(problem, StateGrid(BOXES[example], nodes), times=times)
    rays = characteristics(problem, rim(problem, best.objective, fan), steps=4 * (times - 1))
    f_1, f_2 = value.grid.axes
    along = np.linspace(f_1[1], f_1[-2], 2 * nodes)
    section = float(problem.initial[0, 0])
    across = np.stack([np.full_like(f_2, section), f_2])
    path_time, best_path = path(best)
    dims = ("time", "f_1", "f_2")
    return xr.Dataset(
        {
            "value": described("value", value.values, "1", "V", dims),
            "section": described(
                "section",
                [value(across, float(t)) for t in value.times],
                "1",
                "V at the start's f_1",
                ("time", "f_2"),
            ),
            "characteristic": described(
                "characteristic", rays.states, "1", "f", ("instant", "block", "ray")
            ),
            "characteristic_value": described(
                "characteristic_value",
                values_there(value, rays),
                "1",
                "V along characteristics",
                ("instant", "ray"),
            ),
            "ridge_slope": described(
                "ridge_slope",
                [ridge_slopes(value, along, float(t)) for t in value.times],
                "1",
                "slope of V in f_2 beside f_2 = 0",
                ("time", "along"),
            ),
            "start_value": described("start_value", value.at_start, "1", "V at the start"),
            "error": described("error", value.error, "1", "estimated error of V at the start"),
            "order": described("order", value.order, "1", "observed order of V at the start"),
            "optimum": described("optimum", best.objective, "1", "J by shooting"),
            "path": described("path", best_path, "1", "f of the optimal run", ("at", "block")),
            "path_time": described("path_time", path_time, "time", "its times", ("at",)),
        },
        coords={
            "time": ("time", value.times, {"units": "time", "long_name": "time"}),
            "f_1": ("f_1", f_1, {"units": "1", "long_name": "state of block 1"}),
            "f_2": ("f_2", f_2, {"units": "1", "long_name": "state of block 2"}),
            "along": ("along", along, {"units": "1", "long_name": "state of block 1"}),
            "instant": ("instant", rays.times, {"units": "time", "long_name": "time"}),
        },
        attrs={"target": list(EXAMPLES[example][1]), "section": section},
    )
