"""The training of `digits_table` on a sample of MNIST."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from ..bench.parameters import Count, NonNegative, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import averaged
from ..datasets import mnist_sample as load
from ..draw.figures import OKABE_ITO, new_figure
from .digits import ContenderName, Settings, contender, drawn, measured
from .paper import PAPER

TEST = 240
SHOWN = {0: "l_inf 8/255"}
"""The attack that is drawn, by its place: at 0.1 nearly all images of 7 x 7 pixels are lost."""


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    groups: dict[str, list[xr.Dataset]] = {}
    for case in cases:
        given = case_parameters(case)
        groups.setdefault(f"{given['name']}, {given['side']} x {given['side']}", []).append(case)
    figure, axes = new_figure(1, 2, width=11.5, height=4.6)
    left, right = axes[0]
    notes = []
    for k, (name, group) in enumerate(groups.items()):
        color, loss = OKABE_ITO[k % 8], np.mean([case["loss"].values for case in group], axis=0)
        t, style = group[0]["time"].values, "-"
        if len(t) == 2:  # one layer: there is nothing between its ends
            t, loss, style = t[1:], loss[1:], "s"
        left.semilogy(t, loss, style, color=color, label=name)
        rows = [100.0 * np.array([float(case["test_error"]) for case in group])]
        rows += [100.0 * np.array([float(c["attacked"][j]) for c in group]) for j in SHOWN]
        for values, marker in zip(rows, ("o", "^"), strict=True):
            right.plot(values, np.full(len(values), -k), marker, color=color, alpha=0.7)
            right.plot(np.mean(values), -k, "|", color="black", markersize=14)
        listed = ", ".join(
            f"{what} {np.mean(v):.1f} ({np.min(v):.1f} to {np.max(v):.1f})"
            for what, v in zip(("test", *SHOWN.values()), rows, strict=True)
        )
        fitted = 100.0 * np.mean([float(case["train_error"]) for case in group])
        notes.append(f"{name}: training {fitted:.1f}, {listed} %")
    left.set_xlabel("depth $t$")
    left.set_ylabel("mean $V(t)$ on test images")
    left.grid(True)
    left.legend(fontsize=9)
    right.set_yticks([-k for k in range(len(groups))], list(groups))
    right.set_ylabel("way of training, pixels")
    right.set_xlabel(r"test error [%]: dots no attack, triangles $\ell_\infty$ 8/255")
    right.set_xlim(left=0.0)
    right.grid(True)
    points = cases[0].sizes["point"]
    seeds = sorted({int(case_parameters(case)["seed"]) for case in cases})
    attacked = {n: np.mean([float(c["attacked"][0]) for c in g]) for n, g in groups.items()}
    best = min(attacked, key=attacked.__getitem__)
    base = [g for n, g in groups.items() if n.startswith("NODE,")]
    below = ""
    if base:
        least = min(float(case["attacked"][0]) for case in base[0])
        found = [n for n, g in groups.items() if max(float(c["attacked"][0]) for c in g) < least]
        below = f" Below NODE in every seed: {'; '.join(found) or 'none'}."
    caption = (
        f"A sample of MNIST, {points} test images, one is {100.0 / points:.2f} %; split seeds "
        f"{', '.join(map(str, seeds))}, means and ranges. Errors: {'; '.join(notes)}. Least under "
        f"attack: {best}.{below} No order of robustness is claimed from so few images."
    )
    return [Picture("mnist", caption, figure)]


@study(
    "lyanet/mnist_sample",
    paper=PAPER,
    figure="section 5.2",
    plot=_plot,
    cases=[{"name": ["NODE", "MC s=5", "tube", "MLP", "linear l2"], "seed": [0, 1, 2]}],
)
def mnist_sample(
    name: ContenderName = "tube",
    side: Literal[7, 14, 28] = 7,
    step: Positive = 5e-3,
    epochs: Count = 40,
    strength: NonNegative = 1e-4,
    seed: Seed = 0,
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
    return measured(contender(name, data, seed, Settings(step, epochs, strength)), data)
