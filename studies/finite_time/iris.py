"""Two species of irises told apart by one neuron: law (3) and plain descents."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from continuum.checks import check_positive
from solvers.finite_time import neuron
from solvers.finite_time.plants import plant_of

from ..bench.parameters import Exponent, Fraction, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import held_out, z_scored
from ..datasets import iris as load
from ..draw.figures import new_figure
from ..shared import described
from .courses import FLOOR, Course, Method, course, first_below, law_of
from .drawing import STYLES, count, draw_curves, legend, log_spaced, sampled
from .paper import PAPER
from .regression import UNITS, why_no_bound

Flowers: TypeAlias = Literal["setosa, z-scored", "setosa, raw", "versicolor, z-scored"]
"""Setosa and versicolor, or versicolor and virginica."""
METHODS: tuple[Method, ...] = ("law (3)", "L1", "L2", "E")
LEVEL = 0.1
"""Of the mean of |e|, at which epochs are counted."""


def flowers(name: Flowers, seed: int, share: float = 0.2) -> tuple[np.ndarray, ...]:
    """Inputs (4, M) and labels 0, 1 of the training, and of the test, a share of the 100 flowers;
    all 100 for the training, and no test, if share is 0.
    """
    both = load()
    first = 0 if name.startswith("setosa") else 1
    kept = np.isin(both.labels, (first, first + 1))
    inputs, labels = both.inputs[kept], (both.labels[kept] - first).astype(float)
    train, test = np.arange(len(labels)), np.arange(0)
    if share > 0.0:
        train, test = held_out(len(labels), seed, share)
    known, unseen = inputs[train], inputs[test]
    if name.endswith("z-scored"):
        known, unseen = z_scored(known), z_scored(unseen, known)
    return known.T, labels[train], unseen.T, labels[test]


def accuracy(run: Course, inputs: np.ndarray, labels: np.ndarray) -> float:
    """The share of samples on the right side of the neuron's 0, NaN of none."""
    scores = run.control["weight1"][0, 1:] @ inputs + run.control["bias1"][0]
    return float(np.mean((scores > 0.0) == (labels > 0.5))) if len(labels) else float("nan")


def of(case: xr.Dataset, name: str, method: Method) -> np.ndarray:
    """The row of a method."""
    return case[name].values[METHODS.index(method)]


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    split = [case for case in cases if float(case_parameters(case)["share"]) > 0.0]
    whole = [case for case in cases if case_parameters(case)["share"] == 0.0]
    return [draw(part) for draw, part in ((_along, split), (_against_gain, whole)) if part]


def _along(cases: Sequence[xr.Dataset]) -> Picture:
    figure, axes = new_figure(1, len(cases), width=3.9 * len(cases) + 0.6, height=4.0)
    notes = []
    for case, ax in zip(cases, axes[0], strict=True):
        parameters = case_parameters(case)
        draw_curves(ax, [case], "error")
        ax.axhline(LEVEL, color="#777777", linewidth=0.8)
        ax.set_ylim(0.0, 0.72)
        ax.set_title(f"{parameters['data']}, $k = {parameters['gain']:g}$")
        ax.set_ylabel("mean of $|e|$, training")
        rows = "; ".join(
            f"{method}: {count(of(case, 'threshold', method))}, accuracy "
            f"{100 * float(of(case, 'train', method)):.0f}/"
            f"{100 * float(of(case, 'test', method)):.0f} %, own loss rises in "
            f"{int(of(case, 'rises', method))} steps"
            for method in METHODS
        )
        size = float(of(case, "size", "law (3)"))
        notes.append(f"{parameters['data']}: {rows}; |w| = {size:.1e} under law (3)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    caption = (
        "One sigmoid neuron on two species, setosa and versicolor or versicolor and virginica, "
        "80 flowers for the training and 20 for the test; "
        f"epochs until the mean of |e| is {LEVEL:g} (grey line), accuracy training/test, rises. "
        + ". ".join(notes)
        + f". Law (3) is first where it works because it divides by the slope of the sigmoid (here "
        f"not below {FLOOR:g}), not because of its loss, and the division makes the weights huge; "
        "on raw features, all > 0, it moves all weights alike. No settling time was known before "
        f"the run: {cases[0].attrs['bound']}."
    )
    return Picture("iris", caption, figure)


def _against_gain(cases: Sequence[xr.Dataset]) -> Picture:
    ranked = sorted(cases, key=lambda case: case_parameters(case)["gain"])
    gains = np.array([case_parameters(case)["gain"] for case in ranked], dtype=float)
    figure, axes = new_figure(width=5.6, height=4.2)
    ax: Axes = axes[0, 0]
    notes = []
    for method, marker in zip(METHODS, "osD^", strict=True):
        color, line = STYLES[method]
        counts = np.array([float(of(case, "threshold", method)) for case in ranked])
        ax.loglog(gains, counts, line, marker=marker, color=color, label=legend(method))
        notes.append(f"{method} " + ", ".join(f"{n:.0f}" for n in counts))
    ax.set_xlabel("gain, or step, $k$")
    ax.set_ylabel(f"epochs until the mean of $|e|$ is {LEVEL:g}")
    ax.set_xticks(gains, [f"{gain:g}" for gain in gains], minor=False)
    ax.set_xticks([], minor=True)
    ax.grid(True)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right center", frameon=False)
    listed = ", ".join(f"{gain:g}" for gain in gains)
    caption = (
        f"All 100 setosa and versicolor, z-scored, from weights 0: epochs for k = {listed}: "
        + "; ".join(notes)
        + ". All fall like 1/k: k is a unit of time, for the laws as for plain descent."
    )
    return Picture("iris_gain", caption, figure)


@study(
    "finite_time/iris",
    paper=PAPER,
    figure="Figures 2 and 6, Table 2",
    plot=_plot,
    cases=[
        {"data": ["setosa, z-scored", "setosa, raw", "versicolor, z-scored"]},
        {"gain": [0.001, 0.005, 0.01], "share": 0.0},
    ],
)
def iris(
    data: Flowers = "setosa, z-scored",
    gain: Positive = 0.01,
    travel: Positive = 21.0,
    alpha: Exponent = 0.8,
    share: Fraction = 0.2,
    seed: Seed = 1,
) -> xr.Dataset:
    """How many epochs does one neuron need to tell two species of irises apart?

    y = sigmoid(w.x + b) from 0, labels 0 and 1 of setosa and versicolor, or of versicolor and
    virginica; explicit steps of length 1 with means over the training samples: law (3), and plain
    descent of the means of |e| (L1), |e|^2 (L2), |e|^(alpha + 1) / (alpha + 1) (E), for travel /
    gain epochs.  share: of the test, drawn by seed; 0 for none.

    error: mean of |e| on the training samples; threshold: epochs until that is 0.1, NaN if never;
    train, test: accuracies at the end; rises: steps in which the method's own loss rose; size: |w|
    at the end; seconds: of the run, with what was looked at.
    """
    check_positive("gain", gain)
    if not 1.0 <= check_positive("travel", travel) / gain <= 1e5:
        raise ValueError(f"travel / gain must be from 1 to 100000 epochs, got {travel / gain:g}")
    inputs, labels, unseen, truth = flowers(data, seed, share)
    problem = neuron(inputs, labels)
    plant = plant_of(problem)
    epochs = round(travel / gain)
    moments = log_spaced(epochs)
    columns: dict[str, list] = {}
    for method in METHODS:
        law = law_of(method, len(labels), gain, alpha)
        run = course(plant, law, epochs, alpha=alpha)
        for name, value in (
            ("error", sampled(run, "mean", moments)),
            ("threshold", first_below(run, "mean", LEVEL)),
            ("train", accuracy(run, inputs, labels)),
            ("test", accuracy(run, unseen, truth)),
            ("rises", run.rises),
            ("size", np.linalg.norm(run.control["weight1"])),
            ("seconds", run.seconds[-1]),
        ):
            columns.setdefault(name, []).append(value)
    law = law_of("law (3)", len(labels), gain, alpha)
    bound = why_no_bound(problem, problem.space.zeros(), law)
    return xr.Dataset(
        {
            name: described(
                name,
                np.array(values),
                UNITS.get(name, "1"),
                name,
                ("method", "epoch") if name == "error" else ("method",),
            )
            for name, values in columns.items()
        },
        coords={
            "method": ("method", list(METHODS)),
            "epoch": ("epoch", moments, {"units": "epochs", "long_name": "epoch"}),
        },
        attrs={"bound": bound},
    )
