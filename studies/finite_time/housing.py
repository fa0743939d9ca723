"""House values learned by a perceptron: law (13) and plain descents, from one start."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from continuum.checks import check_count

from ..bench.registry import Picture
from ..bench.store import case_parameters
from ..datasets import Dataset, held_out, min_max_scaled, z_scored
from ..draw.figures import new_figure
from .courses import perceptron, starting
from .drawing import draw_curves, names_of
from .regression import compared, five_laws, sentences, why_no_bound

FINAL = ("final_train", "final_test")


def learned(
    houses: Dataset,
    epochs: int,
    hidden: int,
    gain: float,
    alpha: float,
    betas: tuple[float, float],
    level: float,
    seed: int,
) -> xr.Dataset:
    """A fifth of the houses for the test; inputs z-scored and values scaled to [0, 1] by those of
    the training; n - hidden - 1 with tanh; explicit steps of length 1.

    guess_...: root mean square of the mean of the training as prediction; other variables as in
    regression.compared.
    """
    check_count("epochs", epochs)
    check_count("hidden", hidden)
    train, test = held_out(len(houses.labels), seed)
    targets = min_max_scaled(houses.labels, houses.labels[train])
    known = perceptron(z_scored(houses.inputs[train]), targets[train], hidden)
    unseen = perceptron(z_scored(houses.inputs[test], houses.inputs[train]), targets[test], hidden)
    start = starting(known, seed)
    laws = five_laws(len(train), gain, alpha, betas)
    answer, _ = compared(known, unseen, start, laws, epochs, level, alpha)
    answer.attrs["bound"] = why_no_bound(known, start, next(iter(laws.values())))
    middle = np.mean(targets[train])
    guesses = {
        f"guess_{name}": np.sqrt(np.mean((targets[part] - middle) ** 2))
        for name, part in (("train", train), ("test", test))
    }
    return answer.assign(samples=len(train), unseen=len(test), **guesses)


def picture(cases: Sequence[xr.Dataset], name: str, words: str, level: float) -> Picture:
    """Errors of the training and of the test against epochs.

    words : what was learned, how it is called and what must be said of it
    """
    parameters = case_parameters(cases[0])
    figure, axes = new_figure(1, 2, width=10.4, height=4.4)
    for ax, part in zip(axes[0], ("train", "test"), strict=True):
        draw_curves(ax, cases, part)
        guess = float(np.mean([case[f"guess_{part}"] for case in cases]))
        ax.axhline(guess, color="#777777", linewidth=0.8)
        ax.set_ylim(0.0, 1.7 * guess)
        ax.set_ylabel(f"root mean square of $e$, {part}")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, frameon=False)
    seeds = ", ".join(str(case_parameters(case)["seed"]) for case in cases)
    best = [sum(int(case[part].values.argmin() < 2) for case in cases) for part in FINAL]
    pushes = np.mean([case["push"].values for case in cases], axis=0)
    caption = (
        f"{words} {int(cases[0]['samples'])} houses for the training and "
        f"{int(cases[0]['unseen'])} for the test (splits and starts {seeds}; means, ranges "
        f"shaded), z-scored inputs, targets scaled to [0, 1], {parameters['hidden']} hidden tanh "
        f"units, k = {parameters['gain']:g}, alpha = {parameters['alpha']:g}. Grey: the mean of "
        "the training as prediction. Root mean squares of the training/test at the end, epochs "
        "until that of the training is the number named, steps in which the method's own loss "
        f"rose, seconds here: {sentences(cases, level)}. A law (13) has the least training error "
        f"in {best[0]} and the least test error in {best[1]} of {len(cases)} splits after equally "
        f"many epochs; over the last half of them training errors still fell, {_falls(cases)}, so "
        "speeds are compared, not limits. The update of the first law is "
        f"{pushes[0]:.1f} times as long as that of the descent of E at the start, {pushes[1]:.1f} "
        "times at its end, with the same k and the same loss. No settling "
        f"time was known before the run: {cases[0].attrs['bound']}."
    )
    return Picture(name, caption, figure)


def _falls(cases: Sequence[xr.Dataset]) -> str:
    """By how much, method by method."""
    half = int(np.searchsorted(cases[0]["epoch"].values, cases[0]["epoch"].values[-1] / 2))
    shares = np.mean(
        [1.0 - c["train"].values[:, -1] / c["train"].values[:, half] for c in cases], 0
    )
    return ", ".join(
        f"{name}: {100 * share:.0f} %"
        for name, share in zip(names_of(cases[0]), shares, strict=True)
    )
