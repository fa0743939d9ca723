"""The training of `digits_table` on a sample of MNIST."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import averaged
from ..datasets import mnist_sample as load
from ..draw.figures import OKABE_ITO, new_figure
from .digits import ContenderName, Settings, contender, drawn, measured
from .paper import PAPER

TEST = 240
SHOWN = {0: "l_inf 8/255", 1: "l_inf 0.1"}
"""The attacks that are drawn, by their places."""


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, 2, width=11.0, height=4.4)
    left, right = axes[0]
    names, notes, places = [], [], np.arange(len(cases))
    bars = []
    for k, case in enumerate(cases):
        parameters, t = case_parameters(case), case["time"].values
        name = f"{parameters['name']}, {parameters['side']} x {parameters['side']}"
        style = "o--" if len(t) == 2 else "-"
        left.semilogy(t, case["loss"], style, color=OKABE_ITO[k % 8], label=name)
        errors = [100.0 * float(case["test_error"])]
        errors += [100.0 * float(case["attacked"][place]) for place in SHOWN]
        bars.append(errors)
        names.append(name.replace(", ", "\n"))
        kept = float(case["kept"])
        rate = "" if np.isnan(kept) else f", {100.0 * kept:.0f} % keep the rate"
        attacks = ", ".join(f"{n} {e:.1f}" for n, e in zip(SHOWN.values(), errors[1:], strict=True))
        notes.append(
            f"{name}: training {100.0 * float(case['train_error']):.1f}, test {errors[0]:.1f}, "
            f"{attacks} %{rate}, {float(case['seconds']):.0f} s"
        )
    for j, (label, color) in enumerate(
        zip(("no attack", *SHOWN.values()), (OKABE_ITO[0], OKABE_ITO[1], OKABE_ITO[3]), strict=True)
    ):
        text = label.replace("l_inf", r"$\ell_\infty$")
        right.bar(places + 0.27 * (j - 1), [b[j] for b in bars], 0.27, color=color, label=text)
    left.set_xlabel("depth $t$")
    left.set_ylabel("mean $V(t)$ on test images")
    left.grid(True)
    left.legend(fontsize=9)
    right.set_xticks(places, names, fontsize=9)
    right.set_xlabel("way of training, pixels")
    right.set_ylabel("test error [%]")
    right.set_ylim(0, 1.25 * max(max(b) for b in bars))
    right.legend(ncols=3, loc="upper center")
    points = cases[0].sizes["point"]
    seeds = sorted({int(case_parameters(case)["seed"]) for case in cases})
    caption = (
        f"A sample of MNIST, {points} test images, one is {100.0 / points:.2f} %; split seed "
        f"{', '.join(map(str, seeds))}. Errors: {'; '.join(notes)}. One small split: no order of "
        "the rows is claimed."
    )
    return [Picture("mnist", caption, figure)]


@study(
    "lyanet/mnist_sample",
    paper=PAPER,
    figure="section 5.2",
    plot=_plot,
    cases=[{"name": ["NODE", "MC s=5", "path continuous", "tube", "MLP", "linear l2"]}],
)
def mnist_sample(
    name: ContenderName = "tube",
    side: Literal[7, 14, 28] = 7,
    step: float = 5e-3,
    epochs: int = 40,
    strength: float = 1e-4,
    seed: int = 0,
) -> xr.Dataset:
    """Do Lyapunov losses change errors on a sample of MNIST?

    The ways of training of digits_table, on 1206 images of 28 x 28 pixels in [0, 1], averaged to
    side x side; 240 of them, drawn class by class, are the test.  The images are a file,
    mnist_sample.npz, in the folder that CONTINUUM_DATA names.

    step, epochs : of Adam;  strength : of the penalty of a linear classifier
    raises DataError, which says what to do, if the file is not there
    """
    images = load()
    inputs = averaged(images.inputs, side).reshape(len(images.labels), -1)
    data = drawn(inputs, images.labels, TEST, seed)
    with threadpool_limits(limits=1):  # the matrices are small: one thread is faster
        return measured(contender(name, data, seed, Settings(step, epochs, strength)), data)
