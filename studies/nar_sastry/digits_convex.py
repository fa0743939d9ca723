"""Digits by pairs of convex residual networks: accuracy on the training and on the test, epoch by
epoch, beside networks and a classifier that are not so bound.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..bench.parameters import Count, Fraction, NonNegative, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import load_digits, mnist_sample
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION, new_figure
from ..shared import described, linear_classifier
from .digit_pairs import Shape, Variant, stratified, trained
from .paper import PAPER

LINEAR = "linear classifier"
Model: TypeAlias = Literal[Variant, "linear classifier"]
COLORS = dict(zip(get_args(Model), (BLUE, ORANGE, PURPLE, GREEN, VERMILION, BLACK), strict=True))
MARKERS = dict(zip(COLORS, "osDv^x", strict=True))


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    groups: dict[str, list[xr.Dataset]] = {}
    for case in sorted(cases, key=lambda case: int(case_parameters(case)["seed"])):
        groups.setdefault(str(case_parameters(case)["variant"]), []).append(case)
    figure, axes = new_figure(1, 2, width=11.0, height=5.2)
    left, right = axes[0]
    for variant, group in groups.items():
        color = COLORS[variant]
        _curves(left, variant, group)
        ends = np.array([[float(case[part][-1]) for part in ("train", "test")] for case in group])
        right.plot(
            100 * ends[:, 1],
            100 * (ends[:, 0] - ends[:, 1]),
            MARKERS[variant],
            markersize=10 if variant == "convex" else 6,
            color=color,
            markerfacecolor="none",
            markeredgewidth=1.6,
            linestyle="none",
        )
    left.set_xlabel("epochs")
    left.set_ylabel("accuracy [%]")
    lowest = min(float(case[part][-1]) for case in cases for part in ("train", "test"))
    left.set_ylim(100 * lowest - 11.0, 100.5)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_title("training solid, test dashed")
    right.axhline(0.0, color="#777777", linewidth=0.8)
    right.set_xlabel("test accuracy at the end [%]")
    right.set_ylabel("training minus test [points]")
    right.set_title("a mark for each seed")
    for ax in (left, right):
        ax.grid(True)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return [Picture("digits_convex", _caption(groups), figure)]


def _curves(ax: Axes, variant: str, group: Sequence[xr.Dataset]) -> None:
    """Mean accuracies over the seeds against epochs."""
    epochs = group[0]["epoch"].values
    for part, line in (("train", "-"), ("test", "--")):
        mean = 100 * np.mean([case[part].values for case in group], axis=0)
        name = variant if part == "train" else None
        width = {LINEAR: 1.0, "convex": 3.5}.get(variant, 1.6)
        mark = MARKERS[variant] if part == "train" and variant != LINEAR else None
        ax.plot(
            epochs,
            mean,
            line,
            color=COLORS[variant],
            label=name,
            linewidth=width,
            marker=mark,
            markersize=8 if variant == "convex" else 4,
            markerfacecolor="none",
        )


def _caption(groups: Mapping[str, Sequence[xr.Dataset]]) -> str:
    ends = {
        variant: 100 * np.array([[float(c["train"][-1]), float(c["test"][-1])] for c in group])
        for variant, group in groups.items()
    }
    rows = "; ".join(f"{variant} {_row(found)}" for variant, found in ends.items())
    first = next(iter(groups.values()))
    parameters = case_parameters(first[0])
    seeds = ", ".join(str(case_parameters(case)["seed"]) for case in first)
    sentences = [
        f"{first[0].attrs['samples']} images of {parameters['data']}, 1/4 for the test; "
        f"{parameters['filters']} trained filters, ReLU, maxima of windows, ten pairs of "
        f"networks of {parameters['layers']} layers of {parameters['hidden']} units, half the mean "
        f"squared error; {parameters['epochs']} epochs in batches of {parameters['batch']}, steps "
        f"{parameters['step']:g} with momentum {parameters['momentum']:g}, or Adam with "
        f"{parameters['adam_step']:g}; seeds {seeds}. Accuracy at the end, training/test in %, and "
        f"gap in points (standard deviations over the seeds): {rows}."
    ]
    if "convex" in ends:
        compared = ", ".join(
            f"{variant} {_against(found, ends['convex'])}"
            for variant, found in ends.items()
            if variant != "convex"
        )
        sentences.append(f"Points more than convex has, test and gap: {compared}.")
        gaps = {variant: float(-np.diff(found.mean(axis=0))[0]) for variant, found in ends.items()}
        largest = max(gaps.values()) - gaps["convex"]
        if largest < 1.0:
            sentences.append(
                f"No gap is more than {largest:.2f} points larger: that the test is nearly as good "
                "as the training is not convexity's alone."
            )
    image = 100.0 / round(0.25 * int(first[0].attrs["samples"]))
    sentences.append(f"One image of a test is {image:.2f} points.")
    apart = [name for name in ("unconstrained", "convex by Adam") if name not in ends]
    sentences.append(
        'From "convex" to "unconstrained" only the set changes, to "convex by Adam" only the steps'
        + (f" ({', '.join(apart)} not run here)." if apart else ".")
        + " The paper reports 97.91/97.58 on MNIST with 64 filters of 6 x 6, and says neither "
        "optimiser, loss, step, width of the layers nor start: these are ours."
    )
    return " ".join(sentences)


def _row(found: np.ndarray) -> str:
    """Means, and standard deviations where there are several seeds."""
    columns = np.column_stack([found, found[:, 0] - found[:, 1]])
    mean = "{:.2f}/{:.2f}, gap {:.2f}".format(*columns.mean(axis=0))
    if len(columns) == 1:
        return mean
    return mean + " (+- {:.2f}/{:.2f}, {:.2f})".format(*columns.std(axis=0, ddof=1))


def _against(found: np.ndarray, base: np.ndarray) -> str:
    """By how much test accuracy and gap are larger: the means of the differences seed by seed, and
    their standard deviations.
    """
    test, gap = found[:, 1], found[:, 0] - found[:, 1]
    if len(found) != len(base):
        return f"{test.mean() - base[:, 1].mean():+.2f}, {gap.mean() + np.diff(base).mean():+.2f}"
    more = np.column_stack([test - base[:, 1], gap - (base[:, 0] - base[:, 1])])
    words = "{:+.2f}, {:+.2f}".format(*more.mean(axis=0))
    return words if len(more) == 1 else words + " (+- {:.2f}, {:.2f})".format(*more.std(0, ddof=1))


@study(
    "nar_sastry/digits_convex",
    paper=PAPER,
    figure="Figure 5",
    plot=_plot,
    cases=[{"variant": ["convex", "frozen biases", "unconstrained by Adam", "linear classifier"]}],
)
def digits_convex(
    variant: Model = "convex",
    data: Literal["digits", "mnist_sample"] = "digits",
    filters: Count = 16,
    hidden: Count = 16,
    layers: Count = 3,
    step: Positive = 0.01,
    momentum: Fraction = 0.9,
    adam_step: Positive = 2e-3,
    batch: Count = 32,
    epochs: Count = 12,
    linear_strength: NonNegative = 1e-3,
    samples: Count = 1797,
    seed: Seed = 0,
) -> xr.Dataset:
    """Do pairs of convex residual networks generalise because they are convex?

    Filters, ReLU and maxima, then for each digit the difference of two convex residual networks,
    half the mean squared distance to unit vectors; see `digit_pairs`.  The same with biases held
    where they are drawn; the same by Adam; the same networks without bounds on their weights, by
    the same steps and by Adam; and a linear classifier on the pixels, with linear_strength |W|^2.
    Filters are 3 x 3 with windows of 2 x 2 on scikit-learn's digits; on mnist_sample, a file in the
    folder that CONTINUUM_DATA names, 6 x 6 with 4 x 4, as in the paper.

    train, test: accuracies at the start and after each epoch
    raises DataError, which says what to do, if the file is not there
    """
    images = load_digits() if data == "digits" else mnist_sample()
    split = stratified(images, seed, samples)
    size, pool = (3, 2) if data == "digits" else (6, 4)
    status = "computed"
    if variant == LINEAR:
        known, unseen = (part.reshape(len(part), -1).T for part in (split.train, split.test))
        found = linear_classifier(known, split.train_labels, linear_strength)
        ends = (
            found.accuracy(known, split.train_labels),
            found.accuracy(unseen, split.test_labels),
        )
        train, test = (np.full(epochs + 1, end) for end in ends)
    else:
        run = trained(
            split,
            variant,
            Shape(filters, size, pool, layers, hidden),
            step=step,
            momentum=momentum,
            adam_step=adam_step,
            batch=batch,
            epochs=epochs,
            seed=seed,
        )
        train, test, status = run.history["train"], run.history["test"], run.status.name.lower()
    return xr.Dataset(
        {
            "train": described("train", train, "1", "training accuracy", ("epoch",)),
            "test": described("test", test, "1", "test accuracy", ("epoch",)),
        },
        coords={"epoch": np.arange(len(train))},
        attrs={"status": status, "samples": len(split.train_labels) + len(split.test_labels)},
    )
