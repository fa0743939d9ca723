"""Digits with noise on their pixels, learned by law (13) and plain descents."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from continuum.checks import check_count
from solvers.finite_time import Law

from ..bench.parameters import Count, Exponent, Fraction, NonNegative, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import averaged, held_out, mnist_sample
from ..draw.figures import new_figure
from .courses import law_of, perceptron, starting
from .drawing import draw_curves, names_of
from .paper import PAPER
from .regression import compared, outputs, why_no_bound

LEVEL = 0.25
"""Of the root mean square of the training, at which epochs are counted."""
MOST = 1206


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    cases = sorted(cases, key=_amplitude)
    columns, bands = min(3, len(cases)), -(-len(cases) // 3)
    figure, axes = new_figure(
        2 * bands, columns, width=3.3 * columns + 0.4, height=4.6 * bands + 0.5
    )
    low = 0.9 * float(np.min([case["final_train"] for case in cases]))
    high = 1.25 * float(np.max([case["guess"] for case in cases]))
    for k in range(columns * bands):
        place = axes[2 * (k // columns) : 2 * (k // columns) + 2, k % columns]
        for ax, name in zip(place, ("train", "test"), strict=True):
            if k >= len(cases):
                ax.remove()
                continue
            draw_curves(ax, [cases[k]], name)
            ax.axhline(float(cases[k]["guess"]), color="#777777", linewidth=0.8)
            ax.set_ylim(low, high)
            ax.set_xlabel("epochs")
            ax.set_ylabel(f"rms of $e$, {name}")
            ax.set_title(f"{name}, $|\\Delta x| \\leq {_amplitude(cases[k]):g}$")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False)
    parameters = case_parameters(cases[0])
    numbers = "; ".join(f"{_amplitude(case):g}: {_row(case)}" for case in cases)
    names = names_of(cases[0])
    won = sum(names[int(np.argmin(case["final_test"].values))].startswith("law") for case in cases)
    pushes = np.mean([case["push"].values for case in cases], axis=0)
    caption = (
        f"{parameters['samples']} MNIST digits averaged to {parameters['side']} x "
        f"{parameters['side']} pixels in [0, 1], four fifths for the training, with uniform noise "
        "on every pixel of training and test, drawn once; targets are unit vectors, "
        f"{parameters['hidden']} hidden units, k = {parameters['gain']:g}, alpha = "
        f"{parameters['alpha']:g}, beta = {parameters['beta']:g}, {parameters['epochs']} epochs, "
        "one split and start. Grey: the mean of the training as prediction. Root mean squares of "
        f"training/test and accuracy of the test at the end, {numbers}. Law (13) has the least "
        f"test error at {won} of {len(cases)} amplitudes after equally many epochs; the same k is "
        f"no equal speed: its update is {pushes[0]:.1f} times as long as that of the descent of E "
        f"at the start, {pushes[1]:.1f} times at the end. No settling time was known before the "
        f"run: {cases[0].attrs['bound']}."
    )
    return [Picture("noisy_mnist", caption, figure)]


def _row(case: xr.Dataset) -> str:
    rows = zip(
        names_of(case),
        case["final_train"].values,
        case["final_test"].values,
        case["accuracy"].values,
        strict=True,
    )
    return ", ".join(
        f"{name} {train:.3f}/{test:.3f} {100 * accuracy:.0f} %"
        for name, train, test, accuracy in rows
    )


def _amplitude(case: xr.Dataset) -> float:
    return float(case_parameters(case)["amplitude"])


@study(
    "finite_time/noisy_mnist",
    paper=PAPER,
    figure="Figures 3, 8 and 9",
    plot=_plot,
    cases=[{"amplitude": [0.1, 0.2, 0.3, 0.4, 0.5, 1.2]}],
)
def noisy_mnist(
    amplitude: NonNegative = 0.1,
    side: Count = 14,
    hidden: Count = 32,
    epochs: Count = 300,
    gain: Positive = 0.02,
    alpha: Exponent = 0.8,
    beta: Fraction = 0.1,
    samples: Count = MOST,
    seed: Seed = 0,
) -> xr.Dataset:
    """Does training by law (13) survive noise on the pixels better than plain descent?

    In place of the paper's faces: MNIST digits averaged to side x side pixels, plus noise uniform
    in (-amplitude, amplitude), the same in every epoch; side^2 - hidden - 10 with tanh, targets
    unit vectors; explicit steps of length 1, means over the samples: law (13) and descents of the
    means of |e| (L1), |e|^2 (L2) and |e|^(alpha + 1) / (alpha + 1) (E).  The images are a file,
    mnist_sample.npz, in the folder that CONTINUUM_DATA names.

    accuracy: of the test at the end; guess: root mean square of the test for the mean of the
    training; other variables as in regression.compared.
    raises DataError, which says what to do, if the file is not there
    """
    check_count("samples", samples, 50)
    if not 0.0 <= amplitude < np.inf:
        raise ValueError(f"amplitude must be finite and >= 0, got {amplitude}")
    images = mnist_sample()
    pixels = averaged(images.inputs[:samples], side).reshape(-1, side * side)
    rng = np.random.default_rng(seed)
    noisy = pixels + rng.uniform(-amplitude, amplitude, pixels.shape)
    targets = np.eye(10)[images.labels[:samples]]
    train, test = held_out(len(targets), seed)
    known = perceptron(noisy[train], targets[train], hidden)
    unseen = perceptron(noisy[test], targets[test], hidden)
    laws: dict[str, Law] = {
        "law (13)": law_of("law (13)", len(train), gain, alpha, beta),
        "L1": law_of("L1", len(train), gain),
        "L2": law_of("L2", len(train), gain),
        "E": law_of("E", len(train), gain, alpha),
    }
    start = starting(known, seed)
    answer, controls = compared(known, unseen, start, laws, epochs, LEVEL, alpha)
    truth = images.labels[:samples][test]
    accuracy = [np.mean(np.argmax(outputs(unseen, u), axis=0) == truth) for u in controls]
    guess = np.sqrt(np.mean((targets[test] - targets[train].mean(axis=0)) ** 2))
    answer.attrs["bound"] = why_no_bound(known, start, laws["law (13)"])
    return answer.assign(accuracy=("method", accuracy), guess=guess)
