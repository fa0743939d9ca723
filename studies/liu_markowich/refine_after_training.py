"""Train coarse, refine, train on: digits in a network that grows in width and depth, and in one
fine at once; a linear classifier beside them.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import xarray as xr

from continuum import Control, LearningProblem, WidthDepth, change_depth, change_width
from continuum.transfers import prolongation
from solvers import RK4, discretize

from ..bench.parameters import Count, Horizon, NonNegative, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import Samples, averaged, load_digits, split
from ..draw.figures import BLACK, OKABE_ITO, new_figure
from ..shared import described, linear_classifier
from .classification import (
    INNER,
    READOUT,
    classifier,
    history,
    starting_control,
    train,
)
from .paper import PAPER
from .train_digits import against_seconds, percent, seeds_of

FINE, COARSE = 8, 4
NUMBERS = ("before", "after", "resnet_before", "resnet_after")
STRATEGIES = ("fine at once", "piecewise constant", "bilinear")


def refined(
    control: Control, coarse: LearningProblem, fine: LearningProblem, transfer: str
) -> Control:
    """A control of the coarse problem as one of the fine problem, readout included.

    transfer : "bilinear", by change_width and change_depth, the readout by the same prolongation P
        as W P^T; or "piecewise constant": each pixel of the coarse grid becomes a block with its
        values
    """
    inner_space = coarse.network.controls(coarse.mesh)
    inner = change_depth(Control(inner_space, {name: control[name] for name in INNER}), fine.mesh)
    if not isinstance(coarse.network, WidthDepth) or not isinstance(fine.network, WidthDepth):
        raise TypeError(f"networks must be WidthDepth, got {coarse.network!r} and {fine.network!r}")
    if transfer == "bilinear":
        matrix = prolongation(coarse.network.grid, fine.network.grid)
        moved = dict(change_width(inner, coarse.network, fine.network).items())
    else:
        matrix = blocks(
            round(len(coarse.network.grid) ** 0.5), round(len(fine.network.grid) ** 0.5)
        )
        moved = {"bias": inner["bias"] @ matrix.T, "kernel": matrix @ inner["kernel"] @ matrix.T}
    return Control(
        fine.space,
        {**moved, READOUT[0]: control[READOUT[0]] @ matrix.T, READOUT[1]: control[READOUT[1]]},
    )


def blocks(coarse: int, fine: int) -> np.ndarray:
    """(fine^2, coarse^2): 1 where a pixel of the fine square lies in one of the coarse square, else
    0.
    """
    side = np.kron(np.eye(coarse), np.ones((fine // coarse, 1)))
    return np.kron(side, side)


def _strategy(case: xr.Dataset) -> str:
    return str(case_parameters(case)["strategy"])


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    chosen = sorted(cases, key=lambda case: STRATEGIES.index(_strategy(case)))
    figure, axes = new_figure(1, 2, width=11.0, height=4.2)
    labels = [
        name if (name := _strategy(case)) == STRATEGIES[0] else f"refined, {name}"
        for case in chosen
    ]
    colors = [OKABE_ITO[STRATEGIES.index(_strategy(case))] for case in chosen]
    against_seconds(list(axes[0]), chosen, labels, colors, lowest=70.0)
    for case in chosen:
        at = int(case["refined_at"])
        for ax, name, factor in (
            (axes[0, 0], "objective", 1.0),
            (axes[0, 1], "test_accuracy", 100.0),
        ):
            if at > 0:
                ax.plot(
                    case["seconds"][at],
                    factor * case[name][at],
                    "s",
                    color=BLACK,
                    markerfacecolor="none",
                )
    linear = {tuple(case["linear"].values): case for case in chosen}
    for n, (_, test) in enumerate(linear):
        label = "linear classifier" if n == 0 else None
        axes[0, 1].axhline(100 * test, color=BLACK, linestyle=":", linewidth=1.0, label=label)
    figure.legend(
        *axes[0, 1].get_legend_handles_labels(), loc="outside right center", frameon=False
    )
    notes = []
    for case, label in zip(chosen, labels, strict=True):
        text = (
            f"{label}: J = {float(case['final_objective']):.3f}, test "
            f"{percent(case['final_test_accuracy'])}, "
            f"{float(case['seconds'][-1]):.1f} s"
        )
        if int(case["refined_at"]) > 0:
            text += (
                f", J of the differential equation {float(case['before']):.4f} before and "
                f"{float(case['after']):.4f} "
                "after refining"
            )
        notes.append(text)
    notes += [
        f"linear classifier on the {FINE} x {FINE} pixels (seed {case_parameters(case)['seed']}): "
        f"test {percent(test)}, training {percent(train)}, dotted"
        for (train, test), case in linear.items()
    ]
    caption = (
        f"Coarse training ({COARSE} x {COARSE} nodes), refining (square) and training on ({FINE} "
        f"x {FINE} nodes), "
        f"against training fine at once ({seeds_of(chosen)}). " + "; ".join(notes) + ". "
        "The objective of the ResNets jumps at the square, since shorter Euler steps are another "
        "ResNet."
    )
    return [Picture("refinement", caption, figure)]


@study(
    "liu_markowich/refine_after_training",
    paper=PAPER,
    figure="Section 5",
    plot=_plot,
    cases=[{"strategy": list(STRATEGIES)}],
)
def refine_after_training(
    strategy: Literal["fine at once", "piecewise constant", "bilinear"] = "piecewise constant",
    coarse_layers: Count = 4,
    layers: Count = 8,
    horizon: Horizon = 4.0,
    strength: NonNegative = 3e-4,
    effort: Positive = 1.0,
    samples: Count = 1797,
    seed: Seed = 0,
) -> xr.Dataset:
    """Training coarse, refining in width and depth, and training on, against training fine at once.

    The problem of train_digits, by L-BFGS. Coarse: images averaged to 4 x 4, `coarse_layers`
    layers; fine: 8 x 8 and `layers`. A control on the coarse grid is one on the fine grid in two
    ways. piecewise constant: each coarse pixel is a block of 2 x 2; means over blocks then obey the
    coarse equation exactly, so J of the differential equation, penalty included, does not change.
    bilinear: change_width, which is smooth, and changes J by the error of the width. change_depth
    changes nothing but the Euler steps. `effort` is split in halves between the two trainings.
    The baseline is logistic regression on the 8 x 8 pixels with strength |W|^2.

    objective, test_accuracy, seconds: along the run, those of the coarse problem first; refined_at:
    the iteration that is the first fine one (0 for fine at once); before, after: J by RK4, 4 steps
    a layer of the coarse mesh, at the refinement; resnet_before, resnet_after: J of the ResNets
    there; linear: training and test accuracy of the baseline.
    """
    if not 1 <= coarse_layers <= layers or layers % coarse_layers:
        raise ValueError(f"coarse_layers must divide layers, got {coarse_layers} and {layers}")
    digits = load_digits()
    data = split(digits.inputs, digits.labels, samples, seed)
    fine = classifier(FINE, layers, horizon, strength, data.train, data.train_labels)
    if strategy == STRATEGIES[0]:
        trained = train(fine, "L-BFGS", starting_control(fine, seed), effort=effort, seed=seed)
        answer = history(fine, trained, data)
        answer.attrs["status"] = trained.status
        numbers = {name: float("nan") for name in NUMBERS}
        return _with(answer, 0, numbers, _linear(data, strength))
    rough = split(averaged(digits.inputs, COARSE), digits.labels, samples, seed)
    coarse = classifier(COARSE, coarse_layers, horizon, strength, rough.train, rough.train_labels)
    first = train(coarse, "L-BFGS", starting_control(coarse, seed), effort=effort / 2, seed=seed)
    began = time.perf_counter()
    start = refined(first.control, coarse, fine, strategy)
    moving = time.perf_counter() - began
    second = train(fine, "L-BFGS", start, effort=effort / 2, seed=seed)
    second = replace(second, seconds=second.seconds + moving)
    ratio = layers // coarse_layers
    per_layer = max(1, 4 // ratio)
    numbers = {
        "before": discretize(coarse, RK4(), per_layer * ratio).value(first.control),
        "after": discretize(fine, RK4(), per_layer).value(start),
        "resnet_before": discretize(coarse).value(first.control),
        "resnet_after": discretize(fine).value(start),
    }
    linear = _linear(data, strength)
    answer = history(fine, second, data)
    before = history(coarse, first, rough)
    both = first.then(second)
    for name in ("seconds", "objective"):
        answer = answer.drop_vars(name)
    along = np.concatenate([before["test_accuracy"].values, answer["test_accuracy"].values])
    answer = answer.drop_vars(["test_accuracy", "iteration"])
    answer["seconds"] = described(
        "seconds", both.seconds, "s", "wall clock, one core", ("iteration",)
    )
    answer["objective"] = described(
        "objective", both.objective, "1", "J of the ResNet", ("iteration",)
    )
    answer["test_accuracy"] = described(
        "test_accuracy", along, "1", "share of test images right", ("iteration",)
    )
    answer["coarse_test_accuracy"] = before["final_test_accuracy"]
    answer.attrs["status"] = both.status
    return _with(answer, len(first.seconds), numbers, linear)


def _linear(data: Samples, strength: float) -> list[float]:
    """Training and test accuracy of the linear classifier."""
    found = linear_classifier(data.train, data.train_labels, strength)
    return [
        found.accuracy(data.train, data.train_labels),
        found.accuracy(data.test, data.test_labels),
    ]


def _with(
    answer: xr.Dataset, refined_at: int, numbers: dict[str, float], linear: list[float]
) -> xr.Dataset:
    answer["linear"] = described(
        "linear", linear, "1", "shares of training and test images right", ("set",)
    )
    answer["refined_at"] = described(
        "refined_at", refined_at, "1", "first iteration on the fine grid"
    )
    for name, value in numbers.items():
        answer[name] = described(name, value, "1", name.replace("_", " "))
    return answer
