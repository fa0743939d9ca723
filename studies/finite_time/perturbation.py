"""Law (3) where the inputs are perturbed and the law does not know it."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from continuum.checks import check_count, check_positive
from solvers.finite_time import SignLaw, neuron, train_in_time

from ..bench.parameters import Count, Exponent, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER

INPUTS = np.array([[0.5], [-2.0], [0.25]])
GAINS = np.array([0.1, 0.2, 0.4])
WEIGHTS = np.array([0.3, -0.1, 0.2])
SPEED = float(GAINS @ np.abs(INPUTS[:, 0]))
"""sum k_i |x_i|."""
SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)
"""M of |Delta_i| <= M |x_i|."""
SIZES = (0.01, 0.02, 0.1, 0.5)
"""Of the single input of Theorem 3."""


def along(
    inputs: np.ndarray,
    plant: np.ndarray,
    gains: np.ndarray,
    weights: np.ndarray,
    target: float,
    times: np.ndarray,
    bias: float,
) -> np.ndarray:
    """|e| of y = sigmoid(w.(x + Delta) + b) at times, under law (3) with the signs of x, by exact
    steps.

    inputs, plant : x and x + Delta (n, 1);  times : 0 and multiples of the first step
    """
    problem, model = (neuron(x, np.array([target]), bias=bias) for x in (plant, inputs))
    law = SignLaw({"weight1": np.concatenate([[1.0], gains])[None]})
    start = problem.space.sample(weight1=np.concatenate([[0.0], weights])[None])
    run = train_in_time(
        problem,
        law,
        float(times[-1]),
        float(times[1]),
        "exact",
        start,
        model=model,
        raise_on_failure=False,
    )
    found = np.asarray(run.history["error"])
    return np.pad(found, (0, len(times) - len(found)), mode="edge")


def settled(error: np.ndarray, times: np.ndarray) -> float:
    """When e' = -c sign(e) reached 0, from the steps before it; NaN if it did not fall."""
    falling = np.flatnonzero(error > 0.0)
    if len(falling) < 2 or not error[1] < error[0]:
        return float("nan")
    last = falling[-1]
    return float(error[0] * times[last] / (error[0] - error[last]))


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    case = cases[0]
    parameters = case_parameters(case)
    figure, axes = new_figure(1, 3, width=13.2, height=4.3)
    left, middle, right = axes[0]
    looks = zip(SHARES, (BLACK, BLUE, GREEN, ORANGE, VERMILION), "osD^v", strict=True)
    for k, (share, color, marker) in enumerate(looks):
        left.plot(case["time"], case["worst"][k], color=color)
        left.plot(case["bound"][k], 0.0, marker, color=color, clip_on=False, markersize=6)
        left.plot([], [], marker=marker, color=color, label=f"$M = {share:g}$")
        drawn = case["drawn"].values[k]
        middle.semilogy(np.full(len(drawn), share), drawn, ".", color="#888888", markersize=4)
    left.set_ylim(0.0)
    left.set_xlabel("pseudo-time")
    left.set_ylabel("$|e|$, worst perturbation")
    middle.semilogy(SHARES, case["bound"], "-", color=VERMILION, label="bound of the worst")
    middle.semilogy(SHARES, case["measured"], "o", color=VERMILION, label="measured, worst")
    middle.plot([], [], ".", color="#888888", label="measured, drawn at random")
    middle.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
    middle.set_yticks([], minor=True)
    middle.set_xlabel("$M$ in $|\\Delta_i| \\leq M |x_i|$")
    middle.set_ylabel("time until $e = 0$ [pseudo-time]")
    kinds = zip(SIZES, (PURPLE, VERMILION, BLUE, BLACK), ("-.", "--", "-", ":"), strict=True)
    for k, (size, color, line) in enumerate(kinds):
        error = np.maximum(case["power"][k], 1e-4)
        right.semilogy(case["late"], error, line, color=color, label=f"$x = {size:g}$")
    right.set_xlabel("pseudo-time")
    right.set_ylabel("$|e|$, cut off at $10^{-4}$")
    power, alpha, gain = (float(parameters[name]) for name in ("power", "alpha", "gain"))
    right.set_title(f"$|\\Delta| = {power:g}\\, |x|^{{{alpha:g}}}$, $k = {gain:g}$")
    for ax in (left, middle, right):
        ax.grid(True)
        ax.legend(fontsize=9)
    ratio = case["drawn_bound"].values / case["drawn"].values
    grown = [f"{size:g}" for size, e in zip(SIZES, case["power"], strict=True) if e[-1] > e[0]]
    caption = (
        "One sigmoid neuron whose inputs are x + Delta while law (3) takes the signs of x. Left: "
        "Delta = -M x, with marks at |e_0| / ((1 - M) sum k |x|): every run ends there (largest "
        f"relative difference {float(case['difference']):.0e}). Middle: these times, and those of "
        f"{case.sizes['draw']} random Delta for each M; bound over time is from "
        f"{np.min(ratio):.3f} to {np.max(ratio):.1f}. The gain is no part of the "
        "condition M < 1. Right: the paper's Theorem 3, |Delta| <= M |x|^alpha with k > M, here M "
        f"= {power:g} and k = {gain:g}: the error grows for x = {', '.join(grown) or 'none'}, "
        "where |Delta| > |x|, that is |x| < M^(1 / (1 - alpha)) = "
        f"{power ** (1 / (1 - alpha)):.3g}."
    )
    return [Picture("perturbation", caption, figure)]


@study(
    "finite_time/perturbation",
    paper=PAPER,
    figure="Section 2.4, Theorem 3, Figure 3",
    plot=_plot,
)
def perturbation(
    draws: Count = 40,
    steps: Count = 400,
    power: Positive = 0.5,
    alpha: Exponent = 0.8,
    gain: Positive = 10.0,
    seed: Seed = 0,
) -> xr.Dataset:
    """How large may perturbations of the inputs be that law (3) does not know of?

    The neuron of FT-01 with inputs x + Delta, |Delta_i| <= M |x_i|: Delta = -M x, the worst, and
    `draws` random ones for each M; exact steps, `steps` of them up to 1.1 times the longest bound.
    Then one input x with Delta = -power |x|^alpha, y* = 0.4, w = 0.

    worst: |e| (share, time); bound: |e_0| / ((1 - M) sum k |x|); measured: of the worst; drawn,
    drawn_bound: (share, draw); power: |e| (size, late); difference: of measured and bound,
    relative.
    """
    check_count("draws", draws)
    check_count("steps", steps, 10)
    if not (check_positive("power", power) and 0.0 < alpha < 1.0 and gain > power):
        raise ValueError(f"alpha must be in (0, 1), gain > power, got {alpha}, {gain}, {power}")
    rng = np.random.default_rng(seed)
    target, bias = 0.8, 0.05
    bounds, planted = [], []
    for share in SHARES:
        plant = (1.0 - share) * INPUTS
        planted.append(plant)
        bounds.append(_error(plant, target, bias) / ((1.0 - share) * SPEED))
    times = np.linspace(0.0, 1.1 * max(bounds), steps + 1)
    worst = [along(INPUTS, plant, GAINS, WEIGHTS, target, times, bias) for plant in planted]
    measured = np.array([settled(error, times) for error in worst])
    drawn, drawn_bound = [], []
    for share in SHARES:
        rows = []
        for _ in range(draws):
            plant = INPUTS * (1.0 + share * rng.uniform(-1.0, 1.0, INPUTS.shape))
            bound = _error(plant, target, bias) / ((1.0 - share) * SPEED)
            own = np.linspace(0.0, 1.1 * bound, steps + 1)
            error = along(INPUTS, plant, GAINS, WEIGHTS, target, own, bias)
            rows.append((settled(error, own), bound))
        drawn.append([row[0] for row in rows])
        drawn_bound.append([row[1] for row in rows])
    late = np.linspace(0.0, 5.0, 251)
    theorem = []
    for size in SIZES:
        plant = np.array([[size - power * size**alpha]])
        one = np.array([[size]])
        theorem.append(along(one, plant, np.array([gain]), np.zeros(1), 0.4, late, 0.0))
    worst_of = np.max(np.abs(measured / np.array(bounds) - 1.0))
    unit = "pseudo-time"
    return xr.Dataset(
        {
            "worst": described("worst", np.array(worst), "1", "|e|", ("share", "time")),
            "bound": described("bound", np.array(bounds), unit, "T", ("share",)),
            "measured": described("measured", measured, unit, "measured T", ("share",)),
            "drawn": described("drawn", np.array(drawn), unit, "measured T", ("share", "draw")),
            "drawn_bound": described(
                "drawn_bound", np.array(drawn_bound), unit, "T", ("share", "draw")
            ),
            "power": described("power", np.array(theorem), "1", "|e|", ("size", "late")),
            "difference": described("difference", worst_of, "1", "of measured and bound"),
        },
        coords={
            "share": ("share", list(SHARES)),
            "time": ("time", times, {"units": unit}),
            "size": ("size", list(SIZES)),
            "late": ("late", late, {"units": unit}),
        },
    )


def _error(plant: np.ndarray, target: float, bias: float) -> float:
    """|e_0|."""
    return float(abs(1.0 / (1.0 + np.exp(-(WEIGHTS @ plant[:, 0] + bias))) - target))
