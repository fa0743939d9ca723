"""A ResNet between its layers: piecewise linear, and by the extended recursion with one lag."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from continuum import ResNet, exact, gauss_legendre

from ..bench.parameters import Count, Doublings
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, VERMILION, new_figure, order_triangle
from ..shared import UNIT, described, doubled, last_order
from .paper import PAPER

PROBLEMS = {"scalar decay": exact.scalar_decay, "moving bias": exact.moving_bias}
JUMPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "scalar decay": lambda t: -np.tanh(np.arcsinh(np.exp(-t) * np.sinh(1.0))),
    "moving bias": lambda t: 0.5 * np.exp(-0.875 * t + np.sin(2.0 * t) / 16.0),
}
"""The limits w(t) of jumps / tau: w' = D_f F(f, t) w, w(0) = F(f(0), 0), constant in y.

On f' = -tanh f, w = f'.  On LM-02, sigma'(u) = 1 - cos(t)^2 / 4 and w(0) = 1/2.
"""
INSIDE = 16
"""Times in each layer at which interpolants are compared with the solution."""
SHOWN = 2
"""How many of the depths are drawn, the shallowest first."""
FORMULAS = {"scalar decay": "$f' = -\\tanh f$", "moving bias": "$f_t = \\tanh(a(t) - \\int f)$"}


def _curves(ax: Axes, case: xr.Dataset, place: int) -> None:
    """Both interpolants of one depth and the solution, at one node."""
    depth = int(case["layers"][place])
    times, exact_values = case["time"].values, case["exact"].values
    linear, lagged = case["linear"].values[place], case["lagged"].values[place]
    ax.plot(times, exact_values, color=BLACK, linestyle=":", label="exact solution", zorder=3)
    ax.plot(times, linear, color=BLUE, label="linear in each layer")
    ends = np.linspace(0.0, times[-1], depth + 1)
    owner = np.searchsorted(ends, times + 1e-12 * times[-1], side="right")
    for k in np.unique(owner):
        label = "lag recursion" if k == owner[0] else None
        own = owner == k
        ax.plot(times[own], lagged[own], color=VERMILION, linewidth=2.2, label=label)
    nodes = case["linear"].values[place][np.searchsorted(times, ends - 1e-9)]
    ax.plot(ends, nodes, "o", color=BLUE, markersize=5)
    ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
    ax.set_title(f"{depth} layers")
    ax.grid(True)


def _errors(ax: Axes, case: xr.Dataset) -> None:
    step = case["step"].values
    for name, color, label, marker in (
        ("linear_error", BLUE, "error, linear", "o"),
        ("lagged_error", VERMILION, "error, lag recursion", "s"),
        ("jump", GREEN, "largest jump", "^"),
    ):
        ax.loglog(step, case[name], marker=marker, color=color, label=label)
    low = float(min(case[name][-1] for name in ("linear_error", "lagged_error", "jump")))
    ax.set_ylim(bottom=low / 8.0)
    order_triangle(ax, (float(step[-1]), float(step[-3])), low / 2.5, 1.0, against="step")
    ax.set_xlabel("length $\\tau$ of a layer [time]")
    ax.set_ylabel("largest over $t$ and $y$ [1]")
    shown = step[:: 1 + len(step) // 5]
    ax.set_xticks(shown, [f"{tau:.2g}" for tau in shown])
    ax.set_xticks([], minor=True)
    ax.set_ylim(top=4.0 * float(case["jump"].max()))  # room for the legend
    ax.grid(True)
    ax.legend(loc="upper left", frameon=False)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for case in cases:
        problem = str(case_parameters(case)["problem"])
        figure, axes = new_figure(1, SHOWN + 1, width=3.9 * (SHOWN + 1), height=3.9)
        for place in range(SHOWN):
            _curves(axes[0, place], case, place)
            axes[0, place].set_ylabel("$f$ at the first node [1]")
        axes[0, 0].legend(frameon=False)
        _errors(axes[0, -1], case)
        last, jump = int(case["layers"][-1]), float(case["jump"][-1])
        orders = {
            name: last_order(case["layers"].values, case[name].values)
            for name in ("linear_error", "lagged_error", "jump", "jump_gap")
        }
        caption = (
            f"A ResNet on {FORMULAS[problem].replace('$', '').replace(chr(92), '')} read between "
            f"its layers: linearly, and by z(t + tau) = z(t) + tau F(z(t), t), whose start is "
            f"constant on [0, tau). Both agree at the ends of layers. Orders of the largest "
            f"errors over all t, at {last} layers: linear {orders['linear_error']:.2f}, lag "
            f"recursion {orders['lagged_error']:.2f}. The recursion jumps at the end of every "
            f"layer, at most by {jump:.3e} at {last} layers (order {orders['jump']:.2f}), which "
            f"is {jump / float(case['step'][-1]):.5f} tau, and the jumps divided by "
            f"tau differ from their limit, w' = D_f F w, w(0) = F(f(0), 0), by at most "
            f"{float(case['jump_gap'][-1]):.1e} (order {orders['jump_gap']:.2f})."
        )
        pictures.append(Picture(problem.replace(" ", "_"), caption, figure))
    return pictures


@study(
    "liu_markowich/interpolants",
    paper=PAPER,
    figure="(2.1) and (2.2)",
    plot=_plot,
    cases=[{"problem": list(PROBLEMS)}],
)
def interpolants(
    problem: Literal["scalar decay", "moving bias"] = "moving bias",
    coarsest: Count = 4,
    doublings: Doublings = 7,
) -> xr.Dataset:
    """What a ResNet is between its layers, and how fast that approaches the differential equation.

    Theorem 2.1 extends the layers z_l to all times by z(t + tau) = z(t) + tau sigma(a(t) - B(t)
    z(t)), a and B linear between the coefficients of the layers. As printed, with z = z_0 on the
    closed [0, tau], this contradicts itself at tau; on [0, tau) it jumps at every end of a layer
    (E02), so it is not in C([0, T]); the linear interpolant of the layers is. The flows are f =
    asinh(e^-t sinh 1) (LM-01), where the recursion is constant on layers, and f = y + sin(t) / 2
    (LM-02).

    linear_error, lagged_error: the largest over nodes and 16 times in each layer, for coarsest, 2
    coarsest, ... layers; jump: the largest; jump_gap: of jumps / tau from their limit. linear,
    lagged, exact: at the first node, for the two shallowest networks.
    """
    layers = doubled(coarsest, doublings)
    case, grid = PROBLEMS[problem], gauss_legendre(UNIT, 2)
    rows, curves = [], []
    times = np.linspace(0.0, case.horizon, coarsest * 2 ** (SHOWN - 1) * INSIDE + 1)
    for n in layers:
        network, control, initial = case.setup(grid, n)
        resnet = ResNet.from_control(network, control)
        nodes, tau = resnet.mesh.nodes, case.horizon / n
        inside = (nodes[:-1, None] + tau * np.arange(INSIDE) / INSIDE).ravel()
        wanted = np.stack([grid.sample(lambda y, t=t: case.solution(y, t)) for t in inside])
        jumps = resnet.jumps(initial)
        limit = JUMPS[problem](nodes[1:])[:, None, None]
        rows.append(
            (
                np.abs(resnet.at(initial, inside) - wanted).max(),
                np.abs(resnet.lagged(initial, inside) - wanted).max(),
                np.abs(jumps).max(),
                np.abs(jumps / tau - limit).max(),
            )
        )
        if len(curves) < SHOWN:
            curves.append(
                (resnet.at(initial, times)[:, 0, 0], resnet.lagged(initial, times)[:, 0, 0])
            )
    found = np.array(rows, dtype=float).T
    linear, lagged = zip(*curves, strict=True)
    shown = ("shown", "time")
    solution = [float(case.solution(grid.coordinates, float(t))[0]) for t in times]
    return xr.Dataset(
        {
            "linear_error": described(
                "linear_error", found[0], "1", "largest error, linear interpolant", ("layers",)
            ),
            "lagged_error": described(
                "lagged_error", found[1], "1", "largest error, lag recursion", ("layers",)
            ),
            "jump": described("jump", found[2], "1", "largest jump", ("layers",)),
            "jump_gap": described(
                "jump_gap",
                found[3],
                "1/time",
                "largest distance of jumps / tau from w",
                ("layers",),
            ),
            "step": described(
                "step", [case.horizon / n for n in layers], "time", "length of a layer", ("layers",)
            ),
            "linear": described("linear", np.array(linear), "1", "linear interpolant", shown),
            "lagged": described("lagged", np.array(lagged), "1", "lag recursion", shown),
            "exact": described("exact", solution, "1", "exact solution", ("time",)),
        },
        coords={
            "layers": ("layers", layers, {"units": "1", "long_name": "number of layers"}),
            "time": ("time", times, {"units": "time", "long_name": "time along the network"}),
        },
    )
