"""Digits learned all along the depth: where a network may be cut off."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
import xarray as xr
from annotated_types import Ge, Le

from continuum import (
    LearningProblem,
    NeuralODE2,
    Projection,
    SquaredError,
    Tikhonov,
    TimeMesh,
    tanh,
)
from solvers import LBFGS, discretize, minimize

from ..bench.parameters import Count, Horizon, NonNegative, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import averaged, load_digits, split
from ..draw.figures import BLACK, BLUE, GREEN, VERMILION, new_figure
from ..shared import described, linear_classifier
from .paper import PAPER

Cost: TypeAlias = Literal["along the way", "at the end"]
CLASSES = 10
NEAR = 0.005
"""Of the test accuracy at the end: the depth from which it stays within this is deep enough."""


def posed(
    inputs: np.ndarray, labels: np.ndarray, cost: Cost, mesh: TimeMesh, strength: float
) -> LearningProblem:
    """x' = w tanh(x) + b on (pixels, 10 zeros), whose last ten coordinates are to become the unit
    vector of the label: a fixed readout.

    inputs : (pixels, M)
    """
    pixels, samples = inputs.shape
    readout = np.concatenate([np.zeros((CLASSES, pixels)), np.eye(CLASSES)], axis=1)
    loss = SquaredError(1.0)
    return LearningProblem(
        NeuralODE2(pixels + CLASSES, tanh),
        np.concatenate([inputs, np.zeros((CLASSES, samples))]),
        np.eye(CLASSES)[:, labels],
        mesh,
        readout=Projection(readout),
        terminal=None if cost == "along the way" else loss,
        running=loss if cost == "along the way" else None,
        penalty=Tikhonov(strength),
    )


def enough(accuracy: np.ndarray) -> int:
    """The first layer from which the accuracy stays within NEAR of the last, or above."""
    low = np.flatnonzero(accuracy < accuracy[-1] - NEAR)
    return 0 if not len(low) else int(low[-1]) + 1


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, 2, width=10.5, height=4.6)
    left, right = axes[0]
    notes = []
    for case, color in zip(cases, (BLUE, VERMILION, GREEN), strict=False):
        cost, t = str(case_parameters(case)["cost"]), case["time"].values
        left.semilogy(t, case["error"], color=color, label=f"training, cost {cost}")
        left.semilogy(t, case["test_error"], "--", color=color, label=f"test, cost {cost}")
        right.plot(t, 100 * case["test_accuracy"], "--", color=color)
        depth, last = int(case["depth"]), len(t) - 1
        right.plot(t[depth], 100 * float(case["test_accuracy"][depth]), "o", color=color)
        train, test = float(case["accuracy"][-1]), float(case["test_accuracy"][-1])
        notes.append(
            f"cost {cost} ({case.attrs['status']}): at T training {100 * train:.1f} %, test "
            f"{100 * test:.1f} %, test within {100 * NEAR:g} points of that, or above, from layer "
            f"{depth} of {last} on, test error least after layer "
            f"{int(np.argmin(case['test_error'].values))}"
        )
    linear = cases[0]["linear"].values
    for value, style, name in zip(linear[:, 1], ("-.", ":"), ("|W|_1", "|W|_2^2"), strict=True):
        label = f"linear classifier, ${name}$"
        right.axhline(100 * value, color=BLACK, linestyle=style, linewidth=1.0, label=label)
    left.set_ylabel("$\\varphi$, mean of $|P x(t) - y|^2$")
    right.set_ylabel("test accuracy [%]")
    lowest = 100 * min(float(np.min(linear)), *(float(c["test_accuracy"][-1]) for c in cases))
    right.set_ylim(max(0.0, lowest - 25.0), 100)
    for ax in (left, right):
        ax.set_xlabel("depth $t$")
        ax.grid(True)
    handles = [
        (handle, label)
        for ax in (left, right)
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    ]
    figure.legend(*zip(*handles, strict=True), loc="outside lower center", ncols=3, frameon=False)
    rows = ", ".join(
        f"|W|^{power}: training {100 * a:.1f} %, test {100 * b:.1f} %"
        for power, (a, b) in zip((1, 2), linear, strict=True)
    )
    caption = (
        "Error and accuracy along the depth on digits averaged over blocks of pixels; a dot marks "
        "the layer after which the network may be cut off.  " + "; ".join(notes) + ". Linear "
        f"classifier on the same pixels, penalised by {rows}.  Samples outnumber the rank of "
        "(tanh x, 1) here, so no theorem says that the decay is exponential; one split."
    )
    return [Picture("turnpike_digits", " ".join(caption.split()), figure)]


@study(
    "turnpike/turnpike_digits",
    paper=PAPER,
    figure="running cost",
    plot=_plot,
    cases=[{"cost": ["along the way", "at the end"]}],
)
def turnpike_digits(
    cost: Cost = "along the way",
    horizon: Horizon = 5.0,
    layers: Annotated[int, Ge(1), Le(200)] = 20,
    side: Count = 4,
    samples: Count = 600,
    strength: Positive = 1e-3,
    linear_strength: NonNegative = 1e-3,
    iterations: Count = 300,
    seed: Seed = 0,
) -> xr.Dataset:
    """After how many layers may a network be cut off that was trained all along its depth?

    x' = w tanh(x) + b on side x side pixels and 10 zeros, which are to become the unit vector of
    the label; min int_0^T phi dt + strength int_0^T |u|^2 dt, or phi(x(T)) in its place, phi the
    mean of |P x - y|^2, by L-BFGS from zero on the ResNet.  The readout P is fixed.

    error, accuracy, test_error, test_accuracy: after each layer; depth: the first layer from which
    the test accuracy stays within half a point of the last, or above; linear: training and test
    accuracy of linear classifiers on the pixels, with linear_strength sum |W|^p, p = 1, 2.
    """
    if not 1 <= layers <= 200 or not horizon > 0.0 or not strength > 0.0 or samples < 50:
        raise ValueError(
            f"layers must be from 1 to 200, horizon and strength > 0, samples >= 50, got {layers}, "
            f"{horizon}, {strength}, {samples}"
        )
    digits = load_digits()
    data = split(averaged(digits.inputs, side), digits.labels, samples, seed)
    mesh = TimeMesh(horizon, layers)
    problem = posed(data.train, data.train_labels, cost, mesh, strength)
    method = LBFGS(gtol=1e-5, max_iterations=iterations)
    start = problem.space.random(np.random.default_rng(seed), 1e-2)
    best = minimize(problem, method, initial=start, raise_on_failure=False)
    held = posed(data.test, data.test_labels, cost, mesh, strength)
    curves = {}
    for name, posing, labels in (
        ("", problem, data.train_labels),
        ("test_", held, data.test_labels),
    ):
        outputs = discretize(posing).run(best.control).states[:, -CLASSES:]
        error = np.mean(np.sum((outputs - posing.target) ** 2, axis=1), axis=1)
        accuracy = np.mean(np.argmax(outputs, axis=1) == labels, axis=1)
        curves[f"{name}error"] = described(f"{name}error", error, "1", "phi", ("time",))
        curves[f"{name}accuracy"] = described(
            f"{name}accuracy", accuracy, "1", "share of samples", ("time",)
        )
    linear = np.array(
        [
            [
                found.accuracy(data.train, data.train_labels),
                found.accuracy(data.test, data.test_labels),
            ]
            for power in (1, 2)
            for found in [linear_classifier(data.train, data.train_labels, linear_strength, power)]
        ]
    )
    return xr.Dataset(
        {
            **curves,
            "objective": described("objective", best.objective, "1", "J of the ResNet"),
            "depth": described("depth", enough(curves["test_accuracy"].values), "1", "layers"),
            "linear": described("linear", linear, "1", "accuracies", ("power", "set")),
        },
        coords={
            "time": ("time", mesh.nodes, {"units": "time", "long_name": "t"}),
            "power": ("power", [1, 2]),
            "set": ("set", ["training", "test"]),
        },
        attrs={"status": best.status.name.lower()},
    )
