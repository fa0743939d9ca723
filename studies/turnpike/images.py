"""Digits classified by convolutions on the image, and on the image times a label domain."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
import xarray as xr
from annotated_types import Ge, Le

from continuum import (
    Affine,
    Chain,
    Convolution,
    CrossEntropy,
    Grid,
    Interval,
    LearningProblem,
    Linear,
    Offset,
    Pointwise,
    Tikhonov,
    TimeMesh,
    midpoint,
    tanh,
)
from solvers import LBFGS, Euler, Status, integrate, minimize

from ..bench.parameters import Count, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import load_digits
from ..draw.figures import BLUE, OKABE_ITO, SKY, new_figure
from ..shared import described, linear_classifier
from .paper import PAPER

Method: TypeAlias = Literal["linear", "image", "image x (0, 1)"]
PIXELS = 8
UNIT = Interval(0.0, 1.0)


def domain(method: Method, labels: int) -> Grid:
    """Midpoints of the pixels, times those of `labels` cells of (0, 1)."""
    if method == "image":
        return midpoint(UNIT * UNIT, PIXELS)
    return midpoint(UNIT * UNIT * UNIT, (PIXELS, PIXELS, labels))


def posed(
    method: Method, images: np.ndarray, classes: np.ndarray, labels: int, strength: float
) -> LearningProblem:
    """minimise the mean cross-entropy of W z(., 1) + mu, plus strength |(w, b, W)|^2, over
    z_t(y, t) = tanh(int w(y - y', t) z(y', t) dy' + b(y, t)), z(., 0) the image, constant on the
    label domain (0, 1); 4 Euler layers.

    images : (M, 8, 8);  classes : (M,)
    """
    grid = domain(method, labels)
    network = Chain(grid, (Linear("kernel", Convolution()), Offset("bias"), Pointwise(tanh)))
    return LearningProblem(
        network,
        states(grid, images),
        classes,
        TimeMesh(1.0, 4),
        readout=Affine(10),
        terminal=CrossEntropy(),
        penalty=Tikhonov(strength, ["kernel", "bias", "readout.W"]),
    )


def states(grid: Grid, images: np.ndarray) -> np.ndarray:
    """(N, M): images (M, 8, 8) as functions on the grid."""
    pixels = images.reshape(len(images), -1).T
    return np.repeat(pixels, len(grid) // len(pixels), axis=0)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    ranked = sorted(cases, key=lambda case: float(case["test"]))
    names = [str(case_parameters(case)["method"]) for case in ranked]
    figure, axes = new_figure(1, 2, width=10.4, height=4.0)
    bars, along = axes[0]
    place = np.arange(len(ranked))
    for shift, key, color in ((-0.2, "train", SKY), (0.2, "test", BLUE)):
        values = [100.0 * float(case[key]) for case in ranked]
        bars.bar_label(bars.bar(place + shift, values, 0.38, color=color, label=key), fmt="%.1f")
    bars.set_ylim(80.0, 103.0)
    bars.set_xticks(place, names)
    bars.set_xlabel("method")
    bars.set_ylabel("accuracy [%]")
    handles = bars.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper left", ncols=2, frameon=False)
    styles = zip(OKABE_ITO, ("o-", "s--", "^:"), strict=False)  # curves may lie on each other
    for case, name, (color, style) in zip(ranked, names, styles, strict=False):
        if case.sizes["time"] > 1:
            along.plot(case["time"], 100.0 * case["accuracy"], style, color=color, label=name)
    along.set_xlabel("time $t$ [layers $\\times \\tau$]")
    along.set_ylabel("training accuracy of the last readout [%]")
    along.grid(True)
    along.legend()
    numbers = "; ".join(
        f"{name}: test {100 * float(c['test']):.1f}%, train {100 * float(c['train']):.1f}%, "
        f"{int(c['unknowns'])} unknowns, J = {float(c['objective']):.4f} ({c.attrs['status']})"
        for name, c in zip(names, ranked, strict=True)
    )
    pictures = [
        Picture(
            "images",
            "Accuracies on digits of a linear classifier penalised by strength |W|^2 and of "
            "convolutional fields on the image and on the image times a label domain (the axis "
            f"starts at 80), and what the last readout makes of the states before. J is no "
            f"scale between methods, whose penalties differ. {numbers}.",
            figure,
        )
    ]
    chosen = [case for case, name in zip(ranked, names, strict=True) if name == "image"]
    return pictures + [_kernels(case) for case in chosen[:1]]


def _kernels(case: xr.Dataset) -> Picture:
    kernels = case["kernels"].values
    figure, axes = new_figure(1, len(kernels), width=2.6 * len(kernels) + 0.8, height=2.9)
    size = float(np.max(np.abs(kernels)))
    reach = 1.0 - 0.5 / PIXELS
    for k, (ax, kernel) in enumerate(zip(axes[0], kernels, strict=True)):
        shown = ax.imshow(
            kernel, cmap="PuOr", vmin=-size, vmax=size, extent=(-reach, reach, reach, -reach)
        )
        ax.set_title(f"layer {k + 1}")
        ax.set_xlabel("difference of columns")
        ax.set_ylabel("difference of rows" if k == 0 else "")
    figure.colorbar(shown, ax=list(axes[0]), label="$w(y - y')$")
    caption = (
        f"The kernels w(y - y', t) trained on the image, one for each layer; the largest is "
        f"{size:.3f} in absolute value."
    )
    return Picture("image_kernels", caption, figure)


@study(
    "turnpike/images",
    paper=PAPER,
    figure="continuous width",
    plot=_plot,
    cases=[{"method": ["linear", "image", "image x (0, 1)"]}],
)
def images(
    method: Method = "image",
    labels: Annotated[int, Ge(1), Le(16)] = 4,
    samples: Annotated[int, Ge(10), Le(1700)] = 300,
    strength: Positive = 1e-4,
    max_iterations: Count = 200,
    seed: Seed = 0,
) -> xr.Dataset:
    """Is a field of convolutions on the image better than a linear classifier?

    `samples` digits are for training and the others for testing, drawn by `seed`.  "linear" is the
    baseline, penalised by strength |W|^2; the fields are trained by L-BFGS from small random
    controls, for at most `max_iterations`.

    train, test: shares classified correctly; accuracy: of training, were the last readout applied
    at the ends of the layers; kernels: w by layer and differences of rows and columns, of "image".
    """
    if not 10 <= samples <= 1700 or not 1 <= labels <= 16 or strength <= 0.0:
        raise ValueError(
            f"samples must be from 10 to 1700, labels from 1 to 16, strength > 0, got {samples}, "
            f"{labels}, {strength}"
        )
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.labels))
    chosen, others = order[:samples], order[samples:]
    known, truth = digits.inputs[chosen], digits.labels[chosen]
    if method == "linear":
        flat = domain("image", 1)
        linear = linear_classifier(states(flat, known), truth, strength, power=2)
        train = linear.accuracy(states(flat, known), truth)
        test = linear.accuracy(states(flat, digits.inputs[others]), digits.labels[others])
        unknowns = linear.weight.size + linear.offset.size
        return _answer(linear.objective, unknowns, [0.0], [train], test, linear.status)
    problem = posed(method, known, truth, labels, strength)
    start = problem.space.random(np.random.default_rng(seed), 0.1)
    solver = LBFGS(gtol=1e-5, max_iterations=max_iterations)
    best = minimize(problem, solver, initial=start, raise_on_failure=False)
    network, readout = problem.network, problem.readout
    values = {name: best.control[name] for name in ("readout.W", "readout.mu")}

    def accuracy(state: np.ndarray, classes: np.ndarray) -> float:
        found = np.argmax(readout.output(network, state, values), axis=0)
        return float(np.mean(found == classes))

    run = integrate(network, best.control, problem.initial, Euler(), save="layers").trajectory
    unseen = states(domain(method, labels), digits.inputs[others])
    final = integrate(network, best.control, unseen, Euler()).trajectory.final
    return _answer(
        best.objective,
        problem.space.size,
        run.times,
        [accuracy(state, truth) for state in run.states],
        accuracy(final, digits.labels[others]),
        best.status,
        best.control["kernel"].reshape(4, 15, 15) if method == "image" else None,
    )


def _answer(
    objective: float,
    unknowns: int,
    times: Sequence[float] | np.ndarray,
    accuracy: Sequence[float],
    test: float,
    status: Status,
    kernels: np.ndarray | None = None,
) -> xr.Dataset:
    w = np.zeros((0, 15, 15)) if kernels is None else kernels
    return xr.Dataset(
        {
            "objective": described("objective", objective, "1", "J"),
            "unknowns": described("unknowns", unknowns, "1", "number of unknowns"),
            "train": described("train", accuracy[-1], "1", "training accuracy"),
            "test": described("test", test, "1", "test accuracy"),
            "accuracy": described("accuracy", accuracy, "1", "training accuracy", ("time",)),
            "kernels": described("kernels", w, "1", "w", ("layer", "row", "column")),
        },
        coords={"time": ("time", times, {"units": "time", "long_name": "t"})},
        attrs={"status": status.name.lower()},
    )
