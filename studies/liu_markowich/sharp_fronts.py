"""Fronts on a ring that sharpen until the grid no longer resolves them."""

from collections.abc import Sequence
from itertools import cycle
from math import pi

import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp

from continuum import Circle, TimeMesh, WidthDepth, periodic, tanh
from solvers import DormandPrince, integrate

from ..bench.parameters import Count, Horizon, Positive, Several
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, new_figure
from ..shared import described
from .paper import PAPER

LOST = 0.9
"""The grid no longer resolves a front whose steepest difference quotient is below this share of the
true slope.
"""


def true_slope(gain: float, start: float, times: np.ndarray) -> np.ndarray:
    """The slope of f at its front: start + int r, where u = r cos y.

    r' = gain / pi int cos(y) tanh(r cos y) dy with r(0) = gain start; the integral by 4096 nodes on
    the ring.
    """
    cosine = np.cos(2 * pi * np.arange(4096) / 4096)

    def velocity(_: float, x: np.ndarray) -> list[float]:
        return [gain * 2 * float(np.mean(cosine * np.tanh(x[0] * cosine))), float(x[0])]

    span = (0.0, float(times[-1]))
    solved = solve_ivp(
        velocity, span, [gain * start, start], method="DOP853", rtol=1e-10, atol=1e-12, t_eval=times
    )
    return solved.y[1]


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, 2, width=10.0, height=4.0)
    slopes, fronts = axes[0]
    notes = []
    longest = max(cases, key=lambda case: float(case["time"][-1]))
    slopes.loglog(longest["time"][1:], longest["true_slope"][1:], "--", color=BLACK, label="limit")
    ranked = sorted(cases, key=lambda case: int(case_parameters(case)["nodes"]))
    for n, (case, marker) in enumerate(zip(ranked, cycle("osD^v"))):
        nodes = int(case_parameters(case)["nodes"])
        size = 3.0 + 3.0 * (len(ranked) - 1 - n)  # markers at one place are seen inside each other
        slopes.loglog(
            case["time"][1:],
            case["slope"][1:],
            label=f"{nodes} nodes",
            marker=marker,
            markersize=5.5,
            markerfacecolor="none",
            markevery=(4 * n, 12),
            linewidth=1.4,
        )
        fronts.plot(
            case["y"],
            case["final"],
            label=f"{nodes} nodes",
            marker=marker,
            linewidth=1.0,
            markersize=size,
            markerfacecolor="none",
        )
        lost = float(case["lost_at"])
        notes.append(
            f"{nodes} nodes: "
            + ("resolved throughout" if np.isnan(lost) else f"lost at t = {lost:.3g}")
        )
    slopes.set_xlabel("time $t$ [layers $\\times \\tau$]")
    slopes.set_ylabel("steepest gradient $|f_y|$ [1/rad]")
    slopes.set_title("the front's slope")
    fronts.set_xlabel("position $y$ [rad]")
    fronts.set_ylabel("$f$ at $T$")
    fronts.set_xlim(1.0, 2.2)
    fronts.set_title("the front at $y = \\pi/2$")
    for ax in (slopes, fronts):
        ax.grid(True)
        ax.legend(loc="upper left" if ax is slopes else "upper right", frameon=False)
    caption = (
        "A ring whose two fronts sharpen without end: steepest difference quotient against the "
        "slope of the limit, "
        f"which reaches {float(longest['true_slope'][-1]):.4g}. The grid counts as too coarse "
        f"when it shows less than "
        f"{LOST:g} of that slope. "
    )
    return [Picture("fronts", caption + "; ".join(notes) + ".", figure)]


@study(
    "liu_markowich/sharp_fronts",
    paper=PAPER,
    figure="Section 3.3",
    plot=_plot,
    cases=[{"nodes": [32, 64, 128]}],
)
def sharp_fronts(
    nodes: Count = 64,
    gain: Positive = 1.0,
    start: Positive = 0.1,
    horizon: Horizon = 60.0,
    times: Several = 241,
) -> xr.Dataset:
    """Fronts that sharpen until the grid does not resolve them.

    What does the selection of one mode leave behind? On the ring, f_t = tanh(-Bf) with b = -gain
    cos(y - z) / pi and f(0) = start cos y: u = r(t) cos y, where r grows like 4 gain t / pi, so f
    tends to t sign(cos y). Its fronts at +-pi/2 have the slope start + int r, of the order of 2
    gain t^2 / pi, and the width of 1 / t: no fixed grid resolves them for long.

    slope: the largest difference quotient between neighbouring nodes, at most (start + t) / h as
    fronts are nodes; true_slope: of the limit, from the equation of r alone; lost_at: the first
    time with slope < 0.9 true_slope, NaN if none.
    """
    if not 8 <= nodes <= 4096 or nodes % 4:
        raise ValueError(
            f"nodes must be a multiple of 4 from 8 to 4096, so that the fronts are nodes, got "
            f"{nodes}"
        )
    if not (gain > 0 and start > 0 and horizon > 0 and times >= 2):
        raise ValueError(
            f"gain, start and horizon must be > 0 and times >= 2, got {gain}, {start}, "
            f"{horizon}, {times}"
        )
    grid = periodic(Circle(), nodes)
    network = WidthDepth(grid, tanh)
    kernel = -gain * np.cos(grid.coordinates[:, None] - grid.coordinates) / pi
    control = network.control(TimeMesh(horizon, 1), kernel=kernel)
    at = np.linspace(0.0, horizon, times)
    stepper = DormandPrince(rtol=1e-9, atol=1e-11)
    states = integrate(
        network, control, grid.sample(lambda y: start * np.cos(y)), stepper, save=at
    ).trajectory.states
    f = states[:, :, 0]
    slope = np.abs(np.roll(f, -1, axis=1) - f).max(axis=1) * nodes / (2 * pi)
    true = true_slope(gain, start, at)
    lost = np.flatnonzero(slope < LOST * true)
    return xr.Dataset(
        {
            "slope": described("slope", slope, "1/rad", "steepest difference quotient", ("time",)),
            "true_slope": described(
                "true_slope", true, "1/rad", "steepest gradient of the limit", ("time",)
            ),
            "final": described("final", f[-1], "1", "state at the horizon", ("y",)),
            "lost_at": described(
                "lost_at", at[lost[0]] if len(lost) else np.nan, "time", "front no longer resolved"
            ),
        },
        coords={
            "time": ("time", at, {"units": "time", "long_name": "time along the network"}),
            "y": ("y", grid.coordinates, {"units": "rad", "long_name": "position on the ring"}),
        },
    )
