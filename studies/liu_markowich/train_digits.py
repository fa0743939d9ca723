"""Digits learned by a ResNet that is an infinitely wide network's: every method, and weights of few
values.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from ..bench.parameters import Count, Horizon, NonNegative, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import load_digits, split
from ..draw.figures import OKABE_ITO, new_figure
from ..shared import described
from .classification import (
    LEVELS,
    LINEAR,
    METHODS,
    MethodName,
    WeightsName,
    boxed_kernel,
    certificates,
    classifier,
    discrete_kernel,
    history,
    starting_control,
    train,
    train_discrete,
)
from .paper import PAPER

PIXELS = 8
GREY = "#777777"
BROWN = "#7a4a1d"
KINDS: tuple[WeightsName, ...] = ("free", "box", "binary", "ternary")
DASHES = ("-", "--", "-.", ":")
WEIGHTLESS = ("Newton-CG", *LINEAR)
"""Methods that take no admissible set."""


def method_name(case: xr.Dataset) -> str:
    """The method of a case."""
    return str(case_parameters(case)["method"])


def percent(share: object) -> str:
    """A share as text, in percent."""
    return f"{100 * float(np.asarray(share)):.1f}%"


def seeds_of(cases: Sequence[xr.Dataset]) -> str:
    """The seeds of some cases as text."""
    seeds = sorted({int(case_parameters(case)["seed"]) for case in cases})
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))


def against_seconds(
    axes: Sequence[Axes],
    cases: Sequence[xr.Dataset],
    labels: Sequence[str],
    colors: Sequence[str],
    lowest: float = 90.0,
) -> None:
    """Objective on the first axes, test accuracy on the second, against seconds; a point at the end
    of each run.

    lowest : where the axis of accuracies starts, in percent, if all ends are well above
    """
    for place, (case, label, color) in enumerate(zip(cases, labels, colors, strict=True)):
        seconds = np.maximum(case["seconds"].values, 1e-3)
        style = DASHES[place // 4 % len(DASHES)]
        for ax, name, factor in ((axes[0], "objective", 1.0), (axes[1], "test_accuracy", 100.0)):
            values = factor * case[name].values
            ax.plot(seconds, values, linestyle=style, color=color, label=label)
            ax.plot(seconds[-1], values[-1], "o", color=color)
    axes[0].set_yscale("log")
    axes[0].set_ylabel("objective $J$ [1]")
    axes[1].set_ylabel("test accuracy [%]")
    worst = min(100 * float(case["final_test_accuracy"]) for case in cases)
    axes[1].set_ylim(min(lowest, worst - 5.0), 100)
    for ax in axes[:2]:
        ax.set_xscale("log")
        ax.set_xlabel("wall clock, one core [s]")
        ax.grid(True)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    free = sorted(
        (case for case in cases if case_parameters(case)["weights"] == "free"),
        key=lambda case: METHODS.index(method_name(case)),  # type: ignore[arg-type]
    )
    if free:
        pictures.append(_methods(free))
    groups: dict[str, list[xr.Dataset]] = {}
    for case in cases:
        groups.setdefault(method_name(case), []).append(case)
    largest = max(
        groups.values(), key=lambda group: len({case_parameters(case)["weights"] for case in group})
    )
    if len({case_parameters(case)["weights"] for case in largest}) >= 2:
        pictures.append(_weights(largest))
    return pictures


def _methods(cases: Sequence[xr.Dataset]) -> Picture:
    figure, axes = new_figure(1, 2, width=11.0, height=4.2)
    labels = [method_name(case) for case in cases]
    strengths = [float(case_parameters(case)["strength"]) for case in cases]
    common = max(set(strengths), key=strengths.count)
    labels = [
        label if strength == common else f"{label}, {strength:g}"
        for label, strength in zip(labels, strengths, strict=True)
    ]
    palette = dict(zip(METHODS, (*OKABE_ITO[:7], GREY, BROWN), strict=True))
    colors = [palette[method_name(case)] for case in cases]  # type: ignore[index]
    against_seconds(list(axes[0]), cases, labels, colors)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False)
    numbers = "; ".join(
        f"{label}: J = {float(case['final_objective']):.3f}, test "
        f"{percent(case['final_test_accuracy'])}, "
        f"train {percent(case['final_train_accuracy'])}, {float(case['seconds'][-1]):.1f} s"
        for label, case in zip(labels, cases, strict=True)
    )
    caption = (
        f"Objective (Tikhonov strength {common:g} unless the name says another) and test "
        f"accuracy of every method "
        f"against seconds ({seeds_of(cases)}). {numbers}. Successive approximation holds the "
        f"readout of the linear "
        "classifier. Strength, horizon and layers were chosen on other splits of the same images "
        "(seeds 1 to 3)."
    )
    return Picture("methods", caption, figure)


def _weights(cases: Sequence[xr.Dataset]) -> Picture:
    chosen = sorted(cases, key=lambda case: KINDS.index(str(case_parameters(case)["weights"])))  # type: ignore[arg-type]
    names = [str(case_parameters(case)["weights"]) for case in chosen]
    if len({case_parameters(case)["seed"] for case in chosen}) > 1:
        names = [
            f"{name}\nseed {case_parameters(case)['seed']}"
            for name, case in zip(names, chosen, strict=True)
        ]
    figure, axes = new_figure(1, 2, width=9.0, height=4.0)
    place = np.arange(len(chosen))
    train_share, test_share, nonzero = (
        [100 * float(case[key]) for case in chosen]
        for key in ("final_train_accuracy", "final_test_accuracy", "nonzero")
    )
    left, right = axes[0]
    for shift, values, label, color in (
        (-0.2, train_share, "training", OKABE_ITO[5]),
        (0.2, test_share, "test", OKABE_ITO[0]),
    ):
        bars = left.bar(place + shift, values, 0.38, color=color, label=label)
        left.bar_label(bars, fmt="%.1f", fontsize=9)
    lowest = min([*train_share, *test_share])
    left.set_ylim(max(0.0, 5 * np.floor(lowest / 5) - 5), 101)
    left.set_ylabel("accuracy [%]")
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False
    )
    bars = right.bar(place, nonzero, 0.6, color=OKABE_ITO[2])
    right.bar_label(bars, fmt="%.1f", fontsize=9)
    right.set_ylim(0, 110)
    right.set_ylabel("entries of the kernel that are not 0 [%]")
    for ax in (left, right):
        ax.set_xticks(place, names)
        ax.set_xlabel("values the kernel may take")
        ax.yaxis.set_major_formatter(PercentFormatter(decimals=0, symbol=""))
    numbers = "; ".join(
        f"{name.replace(chr(10), ', ')}: test {percent(case['final_test_accuracy'])}, "
        f"not zero {percent(case['nonzero'])}, at a bound {percent(case['at_bound'])}, "
        f"J = {float(case['final_objective']):.3f}"
        for name, case in zip(names, chosen, strict=True)
    )
    caption = (
        f"Accuracies (the axis does not start at 0) and share of kernel entries that are not "
        f"zero, by the values the "
        f"kernel may take, trained by {method_name(chosen[0])} ({seeds_of(chosen)}). {numbers}."
    )
    return Picture("weights", caption, figure)


@study(
    "liu_markowich/train_digits",
    paper=PAPER,
    figure="Section 5",
    plot=_plot,
    cases=[
        {"method": list(METHODS)},
        {"method": list(LINEAR), "strength": [1e-5]},
        {"method": ["L-BFGS"], "weights": list(KINDS)},
    ],
)
def train_digits(
    method: MethodName = "L-BFGS",
    weights: WeightsName = "free",
    layers: Count = 8,
    horizon: Horizon = 8.0,
    strength: NonNegative = 3e-4,
    effort: Positive = 1.0,
    samples: Count = 1797,
    seed: Seed = 0,
) -> xr.Dataset:
    """Digits learned by every method, and with weights of few values: accuracy against seconds.

    f_t = tanh(a - int_Y b f) on the square with 8 x 8 midpoint nodes, f(0) = 2 image - 1; scores o
    = int W f(T) + mu; J = mean of log sum_c exp o_c - o_label, plus strength (int_0^T |a|^2 + |b|^2
    dt + |W|^2 + |mu|^2), for the ResNet (Euler, `layers` steps to T = horizon). A fifth of
    scikit-learn's digits is the test, drawn class by class; kernels start at random, all else at
    zero; `seed` is that of the split, the start and the batches.

    method: see classification.ITERATIONS for iterations at effort 1. Successive approximation
    (relaxation "search", inexact) cannot choose the readout, which is constant in time: it holds
    the one of the linear classifier trained on the inputs; the sparse one is penalised by strength
    |W|_1 alone. weights: the values of b: free, box [-1,
    1], binary {-1, 1}, ternary {-1, 0, 1}; the last two train on the box first, take the nearest
    values, and train the rest around them by proximal alternating steps.

    objective, test_accuracy, seconds: along the run, accuracies taken after it, off the clock;
    at_bound: share of |b| >= 1 - 1e-6; gap: int (H - min H) dt at the end, readout held fixed, a
    lower bound (local search), for the differential equation (RK4) and, gap_resnet, for the ResNet;
    flow_objective: J of the differential equation.
    """
    if weights != "free" and method in WEIGHTLESS:
        raise ValueError(
            f"weights must be 'free' for method {method!r}, which takes no admissible set, got "
            f"{weights!r}"
        )
    if weights in LEVELS and method == "successive approximation":
        raise ValueError(f"weights must be 'free' or 'box' for method {method!r}, got {weights!r}")
    digits = load_digits()
    data = split(digits.inputs, digits.labels, samples, seed)
    problem = classifier(PIXELS, layers, horizon, strength, data.train, data.train_labels)
    bounded = problem if weights == "free" else boxed_kernel(problem)
    start = starting_control(problem, seed)
    if bounded.admissible is not None:
        start = bounded.admissible.project(start)
    trained = train(bounded, method, start, effort=effort, seed=seed)
    if weights in LEVELS:
        bounded = discrete_kernel(problem, LEVELS[weights])
        trained = train_discrete(bounded, trained, effort)
    answer = history(problem, trained, data)
    kernel = np.abs(trained.control["kernel"])
    answer["at_bound"] = described(
        "at_bound", np.mean(kernel >= 1 - 1e-6), "1", "share of |kernel| >= 1"
    )
    if weights in LEVELS:
        answer["kernel"] = described(
            "kernel", trained.control["kernel"], "1", "b", ("layer", "unit", "source")
        )
    answer.attrs["status"] = trained.status
    if method in LINEAR:
        answer.attrs["certificate"] = (
            "no certificate: only the readout was trained, which is constant in time"
        )
        return answer
    numbers, texts = certificates(bounded, trained.control)
    for name, value in numbers.items():
        answer[name] = described(name, value, "1", name.replace("_", " "))
    answer.attrs.update(texts)
    return answer
