"""Local controllability: two points moved by one weight, and the flow that does it, checked."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import xarray as xr
from annotated_types import Ge, Gt, Le

from continuum import TimeMesh, tanh
from solvers import DOP853, RK4, NewtonCG, discretize, integrate, minimize

from ..bench.registry import Picture, study
from ..draw.figures import BLACK, OKABE_ITO, new_figure
from ..shared import described
from .paper import PAPER, moving

TARGET = np.array([[1.0, -0.4], [0.5, 0.8]])
DIRECTION = np.array([[0.6, 0.2], [-0.3, 0.7]]) / np.linalg.norm([[0.6, 0.2], [-0.3, 0.7]])
"""The points moved, X^1, and from where, X^1 - X^0 = r DIRECTION, of norm r (TP-35)."""


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    case = cases[0]
    figure, axes = new_figure(1, 3, width=12.0, height=3.8)
    flow, weights, price = axes[0]
    radii, t = case["radius"].values, case["time"].values
    widest = int(np.argmax(radii))
    for point, color in enumerate(OKABE_ITO[:2]):
        way = case["path"].values[widest, :, :, point]
        flow.plot(way[:, 0], way[:, 1], color=color, label=f"point {point + 1}")
        flow.plot(*way[0], "o", color=color, markerfacecolor="white")
        flow.plot(*TARGET[:, point], "x", color=BLACK)
    flow.set_xlabel("$x_1$")
    flow.set_ylabel("$x_2$")
    flow.set_title(f"r = {radii[widest]:g}: circle to cross")
    flow.set_aspect("equal", adjustable="datalim")
    flow.legend()
    w = case["weight"].values[widest]
    for (i, j), color in zip(np.ndindex(2, 2), OKABE_ITO, strict=False):
        weights.stairs(w[:, i, j], t, color=color, baseline=None, label=f"$w_{{{i + 1}{j + 1}}}$")
    norm = np.sqrt(np.sum(w**2, axis=(1, 2)))
    weights.stairs(norm, t, color=BLACK, baseline=None, linestyle="--", label="$|w(t)|$")
    weights.set_xlabel("time $t$ [layers $\\times \\tau$]")
    weights.set_ylabel("weights")
    weights.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, 0.55))
    ratio, first = case["ratio"].values, float(case["first_order"])
    price.semilogx(radii, ratio, "o-", base=2)
    price.axhline(first, color=BLACK, linestyle="--", label="first order")
    price.set_xlabel("distance $r$ to the targets")
    price.set_ylabel("$\\|w\\|_{L^2} / r$")
    price.legend()
    for ax in (flow, weights, price):
        ax.grid(True)
    missed = np.max(case["missed"].values)
    caption = (
        "Two points of the plane moved by r = |X^1 - X^0| to their targets by x' = w(t) tanh(x) in "
        "time 1 at the least int |w|^2 that was found (stationary); |w(t)| varies by "
        f"{float(np.ptp(norm)):.1g}. The control, integrated anew by an adaptive method of order "
        f"8, ends within {missed:.1g} of the targets for every r. |w|/r = "
        + ", ".join(f"{x:.5f}" for x in ratio)
        + f" for r = {', '.join(f'{r:g}' for r in radii)}; first order |D Sigma^+| = {first:.8f}."
    )
    return [Picture("controllability", caption, figure)]


@study("turnpike/controllability", paper=PAPER, figure="controllability", plot=_plot)
def controllability(
    largest: Annotated[float, Gt(0), Le(0.5)] = 0.4,
    halvings: Annotated[int, Ge(1), Le(10)] = 4,
    layers: Annotated[int, Ge(2), Le(256)] = 16,
) -> xr.Dataset:
    """What does it cost to move two points a distance r, and does the control do it?

    min int_0^1 |w|^2 dt with x_i(1) = x_i^1, x' = w tanh(x) in R^2 without bias, by an augmented
    Lagrangian on `layers` layers (RK4), from r = largest, halved again and again (TP-35).  To first
    order w = (X^1 - X^0) Sigma^+, Sigma = tanh(X^1): that exists since Sigma has rank 2.

    ratio: (int |w|^2)^(1/2) / r; first_order: its limit; weight: w of each layer; path: states of
    an adaptive run (DOP853) with that control; missed: the largest distance of its end from the
    targets.
    """
    if not 0.0 < largest <= 0.5 or not 1 <= halvings <= 10 or not 2 <= layers <= 256:
        raise ValueError(
            f"largest must be in (0, 0.5], halvings from 1 to 10, layers from 2 to 256, got "
            f"{largest}, {halvings}, {layers}"
        )
    radii = largest * 0.5 ** np.arange(halvings + 1)
    nodes = TimeMesh(1.0, layers).nodes
    ratio, weight, paths, missed, ended = [], [], [], [], []
    for r in radii:
        problem = moving(TARGET - r * DIRECTION, TARGET, tanh, layers)
        found = minimize(discretize(problem, RK4()), NewtonCG(gtol=1e-7), raise_on_failure=False)
        exact = integrate(
            problem.network,
            found.control,
            problem.initial,
            DOP853(rtol=1e-11, atol=1e-11),
            save=nodes,
        ).trajectory
        ratio.append(found.objective**0.5 / r)
        weight.append(found.control["weight"])
        paths.append(exact.states)
        missed.append(np.max(np.linalg.norm(exact.final - TARGET, axis=0)))
        ended.append(found.status.name.lower())
    first = np.linalg.norm(DIRECTION @ np.linalg.pinv(np.tanh(TARGET)))
    return xr.Dataset(
        {
            "ratio": described("ratio", ratio, "1", "|w| / r", ("radius",)),
            "first_order": described("first_order", first, "1", "limit of |w| / r"),
            "missed": described("missed", missed, "1", "distance from the targets", ("radius",)),
            "weight": described(
                "weight", np.array(weight), "1/time", "w", ("radius", "layer", "row", "column")
            ),
            "path": described(
                "path", np.array(paths), "1", "x", ("radius", "time", "coordinate", "point")
            ),
        },
        coords={"radius": ("radius", radii), "time": ("time", nodes)},
        attrs={"status": ", ".join(sorted(set(ended)))},
    )
