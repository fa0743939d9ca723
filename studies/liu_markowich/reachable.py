"""Reachable sets as level sets of a value function, against simulated clouds and fronts."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from solvers.hjb import StateGrid, characteristics, solve_hjb

from ..bench.parameters import Count, Horizon, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, SKY, VERMILION, new_figure
from ..shared import described
from .paper import PAPER, boxed

STEPS = 100
"""Of characteristics and of random runs between two instants."""


def level_area(v: np.ndarray, spacings: np.ndarray, level: float) -> float:
    """The area of {V <= level}: lengths on the lines of axis 1 between nodes, where V is linear
    between nodes, times the spacing of axis 0.
    """
    low, high = np.minimum(v[:, :-1], v[:, 1:]), np.maximum(v[:, :-1], v[:, 1:])
    slope = np.where(high > low, high - low, 1.0)
    share = np.where(high > low, np.clip((level - low) / slope, 0.0, 1.0), low <= level)
    return float(np.sum(share) * np.prod(spacings))


def enclosed_area(x: np.ndarray, y: np.ndarray, lines: int) -> float:
    """The area of the points around which a closed polygon winds, loops that overlap counted once:
    lengths on `lines` lines x = constant.
    """
    edges = np.linspace(np.min(x), np.max(x), lines + 1)
    total, ends = 0.0, (np.roll(x, -1), np.roll(y, -1))
    for at in 0.5 * (edges[1:] + edges[:-1]):
        crossing = np.flatnonzero((x <= at) != (ends[0] <= at))
        left, right = x[crossing], ends[0][crossing]
        height = y[crossing] + (ends[1][crossing] - y[crossing]) * (at - left) / (right - left)
        order = np.argsort(height)
        winding = np.cumsum(np.sign(right - left)[order])[:-1]
        total += float(np.sum(np.diff(height[order])[winding != 0.0]))
    return total * float(edges[1] - edges[0])


def cloud(
    start: np.ndarray, radius: float, samples: int, instants: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(S, 2, samples): random runs of f_i' = s_i (1 + m), m = (|f_1| + |f_2|) / 2, from a disc.

    Half of the runs start on its rim.  Each s_i is +-1, or 0 for one in eight, and changes its sign
    once, at a random time.
    """
    angle = rng.uniform(0.0, 2.0 * np.pi, samples)
    distance = radius * np.where(rng.random(samples) < 0.5, 1.0, np.sqrt(rng.random(samples)))
    f = start[:, None] + distance * np.stack([np.cos(angle), np.sin(angle)])
    first = rng.choice([-1.0, 1.0], (2, samples)) * (rng.random((2, samples)) > 0.125)
    switch = rng.uniform(-0.3, 1.3, (2, samples)) * instants[-1]
    states = [f]

    def velocity(f: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.where(t < switch, first, -first) * (1.0 + 0.5 * np.sum(np.abs(f), axis=0))

    for begin, end in pairwise(instants):
        h = (end - begin) / STEPS
        for n in range(STEPS):
            t = np.asarray(begin + n * h)
            middle = f + 0.5 * h * velocity(f, t)
            f = f + h * velocity(middle, t + 0.5 * h)
        states.append(f)
    return np.stack(states)


def _panel(ax: Axes, case: xr.Dataset, k: int) -> None:
    x, y = case["f_1"].values, case["f_2"].values
    level = float(case["level"])
    ax.contourf(x, y, case["value"].values[k].T, levels=[-1e9, level], colors=[SKY], alpha=0.45)
    ax.contour(x, y, case["value"].values[k].T, levels=[level], colors=BLUE, linewidths=1.8)
    front = case["front"].values[k]
    ax.plot(*np.hstack([front, front[:, :1]]), color=VERMILION, linewidth=0.9)
    ax.plot(*case["cloud"].values[k], ".", color=BLACK, markersize=1.5)
    ax.plot(*case.attrs["start"], "o", color=GREEN, markersize=5)
    ax.set_xlabel("block 1, $f_1$")
    ax.set_ylabel("block 2, $f_2$")
    ax.set_title(f"reached at $t$ = {float(case['instant'][k]):.3g}")
    last = case["front"].values[-1]
    for limits, z in zip((ax.set_xlim, ax.set_ylim), last, strict=True):
        limits(np.min(z) - 0.4, np.max(z) + 0.4)
    ax.set_aspect("equal")
    ax.grid(True)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for n, case in enumerate(cases):
        figure, axes = new_figure(1, 3, width=13.0, height=4.9)
        for ax, k in zip(axes[0], range(1, case.sizes["instant"]), strict=False):
            _panel(ax, case, k)
        handles = [
            ax.plot([], [], color=BLUE, label="$V$ = level")[0],
            ax.plot([], [], color=VERMILION, label="front of extremals")[0],
            ax.plot([], [], ".", color=BLACK, label="random runs")[0],
            ax.plot([], [], "o", color=GREEN, label="centre of the starts")[0],
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
        values = case_parameters(case)
        rows = "; ".join(
            f"t = {float(t):.3g}: {a:.4f} by level set, {b:.4f} by front ({a / b - 1.0:+.2%})"
            for t, a, b in zip(
                case["instant"].values[1:],
                case["level_area"].values[1:],
                case["front_area"].values[1:],
                strict=True,
            )
        )
        caption = (
            f"Areas reached from a disc of radius {float(values['radius']):g}, on "
            f"{values['nodes']} nodes a side: {rows}. Of the random runs "
            f"{100 * float(case['inside'][1:].min()):.2f}% or more are inside the level set, and "
            f"the farthest outside is {float(case['outside'].max()):.1e} away; nodes are "
            f"{float(case['spacing']):.2g} apart. Where the front folds back into the set, its "
            "extremals are no longer extreme."
        )
        pictures.append(
            Picture("reachable" if len(cases) == 1 else f"reachable_{n}", caption, figure)
        )
    return pictures


@study("liu_markowich/reachable", paper=PAPER, figure="Section 4.3, Example 4.1", plot=_plot)
def reachable(
    start_1: float = 0.5,
    start_2: float = 0.5,
    horizon: Horizon = 1.0,
    radius: Positive = 0.25,
    nodes: Count = 241,
    samples: Count = 1500,
    rays: Count = 4000,
    seed: Seed = 0,
) -> xr.Dataset:
    """The states that two blocks reach from a disc, as level sets of a value function.

    A state y is reached at time s from |f(0) - start| <= r if and only if the equation run
    backwards, z' = -(a - Bz), leads from y into that disc in the time s.  The box -1 <= a, b <= 1
    is symmetric about 0, so that backwards and forwards have the same velocities, |f_i'| <= 1 +
    (|f_1| + |f_2|) / 2.  With V(y, t) the least |z - start|^2 / 4 that a run from y can have after
    the time T - t, the set reached at s is {V(., T - s) <= r^2 / 4}: one value function has all
    times.  For r = 0 the level would be the minimum of V, where a contour is not located.

    front : (instant, 2, ray), where the characteristics from the rim are: the set's boundary is
        part of the front, what is inside are extremals that are no longer extreme
    level_area, front_area : of the level set on the grid, and of what the front winds around
    cloud : random runs;  inside : the share of them in the level set;  outside : how far the
        farthest is outside, V - level divided by the slope of V there
    """
    if radius <= 0.0 or nodes < 41 or samples < 10 or rays < 100:
        raise ValueError(
            f"radius must be > 0, nodes >= 41, samples >= 10, rays >= 100, got {radius}, {nodes}, "
            f"{samples}, {rays}"
        )
    start = np.array([start_1, start_2])
    problem = boxed(start.tolist(), start.tolist(), horizon=horizon)
    far = (1.0 + radius + float(np.mean(np.abs(start)))) * np.expm1(horizon) + radius
    grid = StateGrid([(x - 1.4 * far, x + 1.4 * far) for x in start], nodes)
    level = 0.25 * radius**2
    instants = horizon * np.array([0.0, 1.0, 2.0, 3.0]) / 3.0
    value = solve_hjb(problem, grid, times=31)
    at = [int(np.argmin(np.abs(value.times - (horizon - s)))) for s in instants]
    angle = (np.arange(rays) + 0.5) * 2.0 * np.pi / rays
    rim = start[:, None] + radius * np.stack([np.cos(angle), np.sin(angle)])
    traced = characteristics(problem, rim, steps=3 * STEPS)
    front = traced.states[::-STEPS]
    runs = cloud(start, radius, samples, instants, np.random.default_rng(seed))
    excess, slope = np.empty((2, len(instants), samples))
    for k, s in enumerate(instants):
        t = float(value.times[at[k]])
        if abs(t - (horizon - s)) > 1e-9 * horizon:
            raise ValueError("the times of the value function miss an instant")
        excess[k] = value(runs[k], t) - level
        slope[k] = np.hypot(*value.partials(runs[k], t))
    away = np.where(excess > 0.0, excess / np.maximum(slope, 1e-12), 0.0)
    return xr.Dataset(
        {
            "value": described("value", value.values[at], "1", "V", ("instant", "f_1", "f_2")),
            "level": described("level", level, "1", "level of the reached sets"),
            "level_area": described(
                "level_area",
                [level_area(value.values[k], grid.spacings, level) for k in at],
                "1",
                "area of the level set",
                ("instant",),
            ),
            "front_area": described(
                "front_area",
                [enclosed_area(*points, lines=2000) for points in front],
                "1",
                "area that the front winds around",
                ("instant",),
            ),
            "front": described("front", front, "1", "front", ("instant", "block", "ray")),
            "cloud": described("cloud", runs, "1", "random runs", ("instant", "block", "run")),
            "inside": described(
                "inside", np.mean(excess <= 0.0, axis=1), "1", "share inside", ("instant",)
            ),
            "outside": described(
                "outside", np.max(away, axis=1), "1", "farthest outside", ("instant",)
            ),
            "spacing": described("spacing", float(grid.spacings[0]), "1", "between nodes"),
        },
        coords={
            "instant": ("instant", instants, {"units": "time", "long_name": "time"}),
            "f_1": ("f_1", grid.axes[0], {"units": "1", "long_name": "state of block 1"}),
            "f_2": ("f_2", grid.axes[1], {"units": "1", "long_name": "state of block 2"}),
        },
        attrs={"start": start.tolist()},
    )
