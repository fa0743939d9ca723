"""Gradients of biases against those of weights, by depth."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from continuum.checks import check_count
from solvers import discretize
from solvers.convex_fits import convex_problem, convex_start

from ..bench.parameters import Count
from ..bench.registry import Picture, study
from ..draw.figures import BLACK, BLUE, GREEN, VERMILION, new_figure
from ..shared import described
from .paper import PAPER
from .plateaus import figure_4

DEPTHS = (5, 10, 20, 40, 80)
SCALES = (0.05, 0.5, 2.0)
"""w L at which the gradients are taken."""


def bias_ratio(layers: int, seed: int, weight: float) -> float:
    """|g_b| / |g_w| on the data of Figure 4 of a pair of scalar networks with V = 1, c = 1, d = 0,
    all w = `weight`, and biases drawn from [0, 1]: one by seed.
    """
    x, y = figure_4()
    problem = convex_problem(x, y, layers, offset=False, identity_inputs=True)
    rng = np.random.default_rng(seed)
    start = convex_start(problem, rng, (0.0, 1.0), weights=weight, readout=1.0)
    gradient = discretize(problem).value_and_gradient(start)[1]
    b, w = (
        np.linalg.norm([gradient[f"{part}.{name}"] for part in "rs"])
        for name in ("bias1", "weight2")
    )
    return float(b / w)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    case = cases[0]
    depths, ratio = case["depth"].values, case["ratio"].values
    median = np.median(ratio, axis=2)
    figure, axes = new_figure(width=6.8, height=5.0)
    ax = axes[0, 0]
    looks = zip((GREEN, BLUE, VERMILION), "sov", strict=True)
    for k, (color, marker) in enumerate(looks):
        scale = float(case["scale"][k])
        ax.loglog(
            depths, median[k], f"{marker}-", color=color, label=f"$w = {scale:g} / L$, median"
        )
        ax.fill_between(
            depths, *np.quantile(ratio[k], (0.25, 0.75), axis=1), color=color, alpha=0.15
        )
    middle = list(SCALES).index(0.5)
    ax.loglog(depths, median[middle, 0] * depths[0] / depths, ":", color=BLACK, label="$1 / L$")
    ax.set_xticks(depths, [f"{int(d)}" for d in depths])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("layers $L$ of each network")
    ax.set_ylabel("$|g_b| / |g_w|$")
    ax.grid(True)
    ax.legend(fontsize=9)
    seeds = case.sizes["seed"]
    listed = ", ".join(f"{m:.3g}" for m in median[middle])
    times = median[middle] * depths
    caption = (
        "Gradients of the mean square of a pair of convex networks on the data of Figure 4, with "
        f"respect to its biases and its weights, biases from [0, 1]: medians of {seeds} seeds, and "
        f"quartiles shaded. At w = .5 / L they are {listed} for L = "
        f"{', '.join(str(int(d)) for d in depths)}, that is {times.min():.2f} / L to "
        f"{times.max():.2f} / L. At w = 0 the largest of all is {float(case['at_zero'].max()):g}: "
        "an identity start moves no bias in its first step. The ratio falls with w as with 1 / L, "
        "so it is weights near 0, and not depth alone, that leave biases where they were drawn."
    )
    return [Picture("bias_gradients", " ".join(caption.split()), figure)]


@study(
    "nar_sastry/bias_gradients",
    paper=PAPER,
    figure="Section 4, below (12)",
    plot=_plot,
)
def bias_gradients(seeds: Count = 20) -> xr.Dataset:
    """How much smaller are the gradients of biases than those of weights?

    dJ / db_l is the derivative in what the unit puts out times w_l, so it is of the order of w.

    ratio: |g_b| / |g_w| (scale, depth, seed) at w = scale / L; at_zero: (depth,), the largest at
    w = 0.
    """
    check_count("seeds", seeds)
    ratio = [
        [[bias_ratio(layers, s, scale / layers) for s in range(seeds)] for layers in DEPTHS]
        for scale in SCALES
    ]
    zero = [max(bias_ratio(layers, s, 0.0) for s in range(min(seeds, 3))) for layers in DEPTHS]
    name = "|g_b| / |g_w|"
    return xr.Dataset(
        {
            "ratio": described("ratio", np.array(ratio), "1", name, ("scale", "depth", "seed")),
            "at_zero": described("at_zero", np.array(zero), "1", f"{name} at w = 0", ("depth",)),
        },
        coords={
            "scale": ("scale", list(SCALES)),
            "depth": ("depth", list(DEPTHS)),
            "seed": np.arange(seeds),
        },
    )
