"""Figure 4: a piecewise affine function fitted by pairs of convex networks, from two ranges of
biases.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from continuum.checks import check_count, check_positive
from continuum.convex_networks import ConvexNetwork
from solvers import FixedStep, minimize
from solvers.convex_fits import ConvexFit, convex_problem, fit_convex

from ..bench.parameters import Count, Positive
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER
from .plateaus import figure_4, plateaus

TOPS = (0.5, 1.0)
"""The biases are drawn from [0, top]."""
PERFECT = 5e-5


def two_layers(points: int = 201) -> tuple[ConvexNetwork, np.ndarray, np.ndarray, np.ndarray]:
    """x + x^2 on [0, 1] fitted by two scalar layers with V = 1, by Nesterov's steps.

    returns the network, x, the function, and h_0, h_1, h_2 (3, points)
    """
    x = np.linspace(0.0, 1.0, points)
    y = x + x * x
    problem = convex_problem(x, y, 2, difference=False, identity_inputs=True)
    start = problem.space.sample(
        **{
            "bias1": np.array([[-0.3], [-0.6]]),
            "weight2": np.full((2, 1, 1), 0.5),
            "readout.W": np.ones((1, 1)),
        }
    )
    method = FixedStep(0.3, momentum="nesterov", max_iterations=3000, report=100, gtol=1e-9)
    run = minimize(problem, method, initial=start, raise_on_failure=False)
    network = ConvexNetwork.from_control(problem.network, run.control, domain=(0.0, 1.0))
    states = [x]
    for b, w in zip(-network.bias1[:, 0], network.weight2[:, 0, 0], strict=True):
        states.append(states[-1] + w * np.maximum(states[-1] - b, 0.0))
    return network, x, y, np.array(states)


def levels(x: np.ndarray, y: np.ndarray, origin: bool) -> list[tuple[int, float]]:
    """The plateaus with at most 2 kinks: number of kinks and RMSE, each where it first appears."""
    found: list[tuple[int, float]] = []
    for kinks in range(3):
        for value, _ in plateaus(x, y, kinks, origin=origin):
            if all(abs(value - known) > 1e-6 for _, known in found):
                found.append((kinks, value))
    return found


def _draw_layers(ax: Axes, case: xr.Dataset) -> None:
    """h_1, h_2 times c plus d, and the slopes of the last."""
    c, d, x = float(case["c"]), float(case["d"]), case["x"]
    ax.plot(x, case["convex"], color=BLACK, linewidth=2.5, alpha=0.35, label="$f = x + x^2$")
    looks = zip((ORANGE, GREEN, BLUE), ("h_0 = x", "h_1", "h_2"), strict=True)
    for h, (color, name) in zip(case["states"].values, looks, strict=True):
        ax.plot(x, c * h + d, color=color, label=f"$d + c\\, {name}$")
    ends = case["piece"].values
    f = np.interp(ends, x, c * case["states"].values[2] + d)
    for left, right, low, high, slope in zip(
        ends[:-1], ends[1:], f[:-1], f[1:], case["slope"].values, strict=True
    ):
        ax.annotate(
            f"slope {slope:.2f}",
            (0.5 * (left + right), 0.5 * (low + high)),
            xytext=(-8, 8),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=BLUE,
        )
    ax.plot(ends[1:-1], f[1:-1], "o", color=BLUE, markersize=5)
    ax.set_title("two layers, a convex function")
    ax.set_xlabel("$x$")
    ax.set_ylabel("value")
    ax.legend(loc="upper left", fontsize=9)


def _draw_histogram(ax: Axes, case: xr.Dataset) -> None:
    edges = np.linspace(-0.001, 0.137, 47)
    counts = [np.histogram(rmse, edges)[0] for rmse in case["rmse"].values]
    width = 0.45 * (edges[1] - edges[0])
    middles = 0.5 * (edges[1:] + edges[:-1])
    for side, top, color, count in zip((-0.5, 0.5), TOPS, (BLUE, VERMILION), counts, strict=True):
        label = f"$b$ from $[0, {top:g}]$"
        ax.bar(middles + side * width, count, width, color=color, label=label)
    most = max(int(np.max(count)) for count in counts)
    marks = sorted([(0.0, 3), *zip(case["level"].values, case["kinks"].values, strict=True)])
    for k, (value, kinks) in enumerate(marks):
        ax.axvline(value, ymax=0.9, color=BLACK, linewidth=0.8, linestyle=":", zorder=0)
        crowded = k + 1 < len(marks) and marks[k + 1][0] - value < 0.004
        side = "right" if crowded else "left"
        if not crowded and (k == 0 or value - marks[k - 1][0] >= 0.004):
            side = "center"
        ax.text(value, 1.1 * most, f"{int(kinks)}", ha=side, va="bottom", fontsize=10)
    ax.set_ylim(0.0, 1.2 * most)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("RMSE; dotted: plateaus, on top the number of kinks")
    ax.set_ylabel("seeds")
    ax.legend(loc="upper right", fontsize=9, bbox_to_anchor=(1.0, 0.88))


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for case in cases:
        offset = bool(case_parameters(case)["offset"])
        figure, axes = new_figure(2, 2, width=11.0, height=8.4)
        _draw_layers(axes[0, 0], case)
        for ax, k in ((axes[0, 1], 0), (axes[1, 0], 1)):
            for n, fit in enumerate(case["fit"].values[k]):
                label = "fits, one per seed" if n == 0 else None
                color = (BLUE, VERMILION)[k]
                ax.plot(case["x"], fit, color=color, linewidth=1.0, alpha=0.5, label=label)
            ax.plot(case["x"], case["data"], "--", color=BLACK, linewidth=1.5, label="data, $f$")
            ax.set_title(f"biases from $[0, {TOPS[k]:g}]$")
            ax.set_xlabel("$x$")
            ax.set_ylabel("value")
            ax.legend(loc="lower left", fontsize=9)
        _draw_histogram(axes[1, 1], case)
        name = "piecewise_affine_offset" if offset else "piecewise_affine"
        pictures.append(Picture(name, _caption(case, offset), figure))
    return pictures


def _caption(case: xr.Dataset, offset: bool) -> str:
    rmse, words = case["rmse"].values, []
    plateau = float(case["level"].values[case["kinks"].values == 2].min())
    constants = case["lipschitz"].values
    there, low = constants[np.abs(rmse - plateau) < 2e-5], rmse[constants < 1.9]
    middle = float(np.median(there)) if len(there) else 0.0
    of_plateau = f"{middle:.3f}" if len(there) else "that of no seed"
    if middle > 1.999:
        of_plateau += ": these fits are imperfect, but no flatter than f"
    of_low = f"RMSE {np.min(low):.4f} or more" if len(low) else "no seed"
    for top, e, slopes in zip(TOPS, rmse, case["lipschitz"].values, strict=True):
        at = [
            f"{int(np.sum(np.abs(e - value) < 2e-5))} at {value:.6f} "
            f"({int(kinks)} kink{'' if kinks == 1 else 's'})"
            for value, kinks in zip(case["level"].values, case["kinks"].values, strict=True)
            if np.any(np.abs(e - value) < 2e-5)
        ]
        known = np.array([0.0, *case["level"].values])
        rest = np.sum((e >= PERFECT) & (np.abs(e[:, None] - known).min(axis=1) >= 2e-5))
        best = f"{int(np.sum(e < PERFECT))} below {PERFECT:g}"
        words.append(
            f"biases from [0, {top:g}]: {', '.join([best, *at, f'{int(rest)} elsewhere'])}; "
            f"Lipschitz constants {np.min(slopes):.3f} to {np.max(slopes):.3f}"
        )
    parameters = case_parameters(case)
    return (
        "Top left: two layers fit x + x^2; each adds a kink, and the slope grows from piece to "
        f"piece. The others: the data of Figure 4 by 10 + 10 scalar layers, d "
        f"{'trained' if offset else 'held at 0'}, {rmse.shape[1]} seeds, "
        f"{parameters['iterations']} steps of {parameters['step']:g}, momentum (k - 1) / (k + 2). "
        "Ends: "
        f"{'; '.join(words)}. The slopes of f reach 2, and the median constant at "
        f"{plateau:.6f} is {of_plateau}; constants below 1.9 have {of_low}. Plateaus are local "
        "minima of the mean square over functions with so many free kinks"
        f"{'' if offset else ' and the value 0 at 0'}. Which of them a seed reaches depends on the "
        "step and on when momentum begins; the paper states neither."
    )


@study(
    "nar_sastry/piecewise_affine",
    paper=PAPER,
    figure="Figure 4; section 3.1",
    plot=_plot,
    cases=[{"offset": [False, True]}],
)
def piecewise_affine(
    offset: bool = False,
    seeds: Count = 20,
    step: Positive = 0.02,
    iterations: Count = 40_000,
) -> xr.Dataset:
    """Do biases decide whether the data of Figure 4 are fitted, and with which slopes?

    f = r - s + d, 10 + 10 scalar layers with V = 1, 201 points; W = .05, c = 1, d = 0 at the start.

    fit: (top, seed, x); rmse, lipschitz, residual (of the first-order conditions): (top, seed);
    level, kinks: the plateaus with at most 2 kinks; convex, states, c, d, piece, slope: a convex
    function, h_0, h_1, h_2 of its fit by two layers, the ends of the pieces and their slopes.
    """
    check_count("seeds", seeds)
    check_positive("step", step)
    x, y = figure_4()
    fits: list[ConvexFit] = [
        fit_convex(
            x,
            y,
            biases=(0.0, top),
            seeds=range(seeds),
            step=step,
            iterations=iterations,
            offset=offset,
        )
        for top in TOPS
    ]
    known = levels(x, y, origin=not offset)
    network, line, convex, states = two_layers(len(x))
    both = ("top", "seed")
    return xr.Dataset(
        {
            "data": described("data", y, "1", "f", ("x",)),
            "fit": described(
                "fit",
                np.array([[one.value(x) for one in fit.networks] for fit in fits]),
                "1",
                "fits",
                (*both, "x"),
            ),
            "rmse": described("rmse", np.array([f.rmse for f in fits]), "1", "RMSE", both),
            "lipschitz": described(
                "lipschitz", np.array([f.lipschitz for f in fits]), "1", "max |slope|", both
            ),
            "residual": described(
                "residual", np.array([f.kkt_residual for f in fits]), "1", "|u - P(u - g)|", both
            ),
            "level": described("level", np.array([v for _, v in known]), "1", "RMSE", ("plateau",)),
            "kinks": described(
                "kinks", np.array([k for k, _ in known]), "1", "kinks", ("plateau",)
            ),
            "convex": described("convex", convex, "1", "x + x^2", ("x",)),
            "states": described("states", states, "1", "h_0, h_1, h_2", ("layer", "x")),
            "c": described("c", network.readout[0], "1", "c"),
            "d": described("d", network.offset, "1", "d"),
            "piece": described(
                "piece", np.append(network.segments[:, 0], 1.0), "1", "ends of pieces", ("end",)
            ),
            "slope": described("slope", network.slopes, "1", "slopes", ("segment",)),
        },
        coords={"x": ("x", line), "top": ("top", list(TOPS)), "seed": np.arange(seeds)},
    )
