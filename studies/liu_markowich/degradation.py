"""What depth does to chains without skips: training on digits, beside ResNets of the same size."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.ticker import FixedLocator, NullLocator

from continuum import (
    Affine,
    Control,
    CrossEntropy,
    FeedForward,
    LearningProblem,
    NeuralODE,
    ResNet,
    TimeMesh,
    tanh,
)
from continuum.arrays import Array
from continuum.networks import Values
from continuum.sublayers import apply, apply_tangent
from solvers import LBFGS, Adam, discretize, minimize
from solvers.descent.run import Minimizer

from ..bench.parameters import Count, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import Samples, averaged, load_digits, split
from ..draw.figures import BLUE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER

HORIZON = 2.0
"""Of the ResNets, whatever their depth."""
LOOKS = {
    "ResNet": (BLUE, "o", "-", "ResNet"),
    "plain": (VERMILION, "s", "--", "without skips"),
}

VARIED = ("network", "depth", "seed")
"""What one picture compares."""


class Plain(NeuralODE):
    """x' = sigma(w x + b) - x, whose Euler steps of length 1 are x <- sigma(w x + b): the chain
    without skips, trained by what trains ResNets.
    """

    def velocity(self, f: Array, c: Values, t: float) -> Array:
        return super().velocity(f, c, t) - f

    def jvp(self, f: Array, c: Values, t: float, df: Array, dc: Values) -> Array:
        return super().jvp(f, c, t, df, dc) - df

    def vjp(self, f: Array, c: Values, t: float, p: Array) -> tuple[Array, dict[str, Array]]:
        back, bars = super().vjp(f, c, t, p)
        return back - p, bars

    def vjp_derivative(
        self, f: Array, c: Values, t: float, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        back, bars = super().vjp_derivative(f, c, t, p, df, dc, dp)
        return back - dp, bars

    def formula(self) -> str:
        return f"{super().formula()} - f"


def learning(network: str, depth: int, samples: Samples) -> LearningProblem:
    """The mean cross-entropy of the softmax of W x(T) + mu, over `depth` layers."""
    units = len(samples.train)
    plain = network == "plain"
    return LearningProblem(
        (Plain if plain else NeuralODE)(units, tanh),
        samples.train,
        samples.train_labels,
        TimeMesh(float(depth) if plain else HORIZON, depth),
        readout=Affine(int(samples.train_labels.max()) + 1),
        terminal=CrossEntropy(),
    )


def singular_values(made: FeedForward | ResNet, x: np.ndarray) -> np.ndarray:
    """(N,), descending, of the derivative of the last layer's output in the input x (N, 1); those
    below 1e-15 of the first are rounding.
    """
    change = np.eye(made.units)
    skip = 1.0 if isinstance(made, ResNet) else 0.0
    steps = made.mesh.steps if isinstance(made, ResNet) else np.ones(len(made.layers))
    for layer, tau in zip(made.layers, steps, strict=True):
        columns = np.repeat(x, made.units, axis=1)
        change = skip * change + tau * apply_tangent(layer, columns, change)
        x = skip * x + tau * apply(layer, x)
    return np.linalg.svd(change, compute_uv=False)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    groups: dict[tuple[object, ...], list[xr.Dataset]] = {}
    for case in cases:
        given = case_parameters(case)
        rest = [value for name, value in sorted(given.items()) if name not in VARIED]
        groups.setdefault(tuple(rest), []).append(case)
    names = ("depth", *(f"depth_{n}" for n in range(2, len(groups) + 1)))
    return [_against_depth(name, own) for name, own in zip(names, groups.values(), strict=True)]


def _against_depth(name: str, cases: Sequence[xr.Dataset]) -> Picture:
    figure, ((train, test), (layers, values)) = new_figure(2, 2, width=9.6, height=7.4)
    notes, depths = [], sorted({int(case_parameters(c)["depth"]) for c in cases})
    for kind, (color, marker, dash, label) in LOOKS.items():
        own = [c for c in cases if case_parameters(c)["network"] == kind]
        by_depth = [[c for c in own if case_parameters(c)["depth"] == d] for d in depths]
        kept = [(d, found) for d, found in zip(depths, by_depth, strict=True) if found]
        if not kept:
            continue
        for ax, key in ((train, "train_error"), (test, "test_error")):
            x = [d for d, found in kept for _ in found]
            y = [100 * float(c[key]) for _, found in kept for c in found]
            means = [100 * float(np.mean([c[key] for c in found])) for _, found in kept]
            ax.plot(x, y, marker, color=color, alpha=0.35, markersize=5)
            ax.plot([d for d, _ in kept], means, marker + dash, color=color, label=label)
            if key == "train_error":
                best = int(np.argmin(means))
                deeper = means[-1] - means[best]
                text = ", ".join(f"{m:.1f}%" for m in means)
                notes.append(
                    f"{label} {text}"
                    + (
                        f" ({deeper:.1f} points above the lowest, at {kept[best][0]} layers)"
                        if deeper > 0
                        else " (lowest at the deepest)"
                    )
                )
            else:
                notes[-1] += f", test {', '.join(f'{m:.1f}%' for m in means)}"
        deepest = kept[-1][1][0]
        norms = deepest["gradient"].values
        layers.semilogy(np.arange(1, len(norms) + 1), norms, dash, color=color, label=label)
        singular = deepest["singular"].values
        above = singular > 1e-15 * singular[0]
        values.semilogy(
            1 + np.flatnonzero(above), singular[above], marker + dash, color=color, label=label
        )
        notes[-1] += (
            f"; at {kept[-1][0]} layers, seed {case_parameters(deepest)['seed']}, derivatives in "
            f"the layers from {norms.min():.1e} to {norms.max():.1e}, singular values 1, 4 and 8 "
            f"{', '.join(f'{singular[n]:.1e}' for n in (0, 3, 7) if n < len(singular))}"
        )
    for ax, what in ((train, "training error"), (test, "test error")):
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(depths))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticklabels([str(d) for d in depths])
        ax.set_xlabel("depth [layers]")
        ax.set_ylabel(f"{what} [% of images]")
        ax.set_ylim(bottom=0.0)
        ax.grid(True)
        ax.legend(loc="upper left", frameon=False)
    layers.set_xlabel("layer")
    layers.set_ylabel("$|\\partial J / \\partial W_k|$ at the start [1]")
    values.set_xlabel("number of the singular value")
    values.set_ylabel("singular value at the start [1]")
    for ax in (layers, values):
        ax.set_title(f"{depths[-1]} layers")
        ax.grid(True)
        ax.legend(frameon=False)
    given = case_parameters(cases[0])
    seeds = len({case_parameters(c)["seed"] for c in cases})
    what = f"epochs of Adam with steps of {given['step']:g}"
    if given["method"] != "Adam":
        what = f"iterations of {given['method']}"
    caption = (
        f"Digits of {given['side']} x {given['side']} pixels learned by x <- x + tau tanh(W x + b) "
        f"(ResNet, T = {HORIZON:g}) and by x <- tanh(W x + b) of the same depth and width, from "
        f"the same weights, by {given['epochs']} {what}. Means over {seeds} seeds, points for "
        f"each. Derivatives dJ/dW_k and the singular values of the derivative of the output in the "
        f"input are those at the start. Training error at "
        f"{', '.join(map(str, depths))} layers: {'. '.join(notes)}."
    )
    return Picture(name, caption, figure)


@study(
    "liu_markowich/degradation",
    paper=PAPER,
    figure="Section 1.1",
    plot=_plot,
    cases=[
        {"network": ["ResNet", "plain"], "depth": [2, 5, 10, 20, 40], "seed": [0, 1, 2]},
    ],
)
def degradation(
    network: Literal["ResNet", "plain"] = "ResNet",
    depth: Count = 10,
    seed: Seed = 0,
    method: Literal["Adam", "L-BFGS"] = "Adam",
    epochs: Count = 30,
    step: Positive = 0.005,
    gain: Positive = 1.0,
    samples: Count = 1000,
    side: Count = 4,
) -> xr.Dataset:
    """Training error against depth, of ResNets and of chains without skips of the same size.

    Deeper chains contain shallower ones, so a worse fit to the training images is a failure of
    training. Both kinds have `depth` layers of side x side tanh units and an affine readout,
    weights that start normal with variance gain^2 / units, zero biases, no penalty, and the same
    method: Adam on batches of (at most) 100 images with steps of a given length, or L-BFGS.

    train_error, test_error: share of images with a wrong label at the end; objective: the mean
    cross-entropy there; gradient: norm of dJ/dW_k, in the entries, of every layer at the start;
    singular: the singular values there of the derivative of the last layer in the first image.
    """
    if epochs < 1 or not gain > 0:
        raise ValueError(f"epochs must be >= 1 and gain > 0, got {epochs} and {gain}")
    digits = load_digits()
    images = split(averaged(digits.inputs, side), digits.labels, samples, seed)
    problem = learning(network, depth, images)
    rng, units = np.random.default_rng(seed), side * side
    scale = {"weight": gain / np.sqrt(units), "readout.W": 1.0 / np.sqrt(units)}
    zeros = problem.space.zeros()
    start = zeros.replaced(
        **{name: size * rng.standard_normal(zeros[name].shape) for name, size in scale.items()}
    )
    batches = np.random.default_rng(seed)
    chosen: Minimizer = (
        Adam(max_iterations=epochs, batch=min(100, images.train.shape[1]), step=step, rng=batches)
        if method == "Adam"
        else LBFGS(max_iterations=epochs)
    )
    slope = discretize(problem).gradient(start)["weight"]
    found = minimize(problem, chosen, initial=start, raise_on_failure=False)
    made = FeedForward if network == "plain" else ResNet
    inner = problem.network.controls(problem.mesh)

    def chain(control: Control) -> FeedForward | ResNet:
        own = inner.sample(bias=control["bias"], weight=control["weight"])
        return made.from_control(NeuralODE(units, tanh), own)

    layers = chain(found.control)
    values = found.control.at(problem.mesh.horizon)

    def error(states: np.ndarray, labels: np.ndarray) -> float:
        output = problem.readout.output(problem.network, layers(states), values)
        return float(np.mean(np.argmax(output, axis=0) != labels))

    norms = problem.mesh.steps * np.linalg.norm(slope, axis=(1, 2))
    return xr.Dataset(
        {
            "train_error": described(
                "train_error", error(images.train, images.train_labels), "1", "training error"
            ),
            "test_error": described(
                "test_error", error(images.test, images.test_labels), "1", "test error"
            ),
            "objective": described("objective", found.objective, "1", "mean cross-entropy"),
            "gradient": described("gradient", norms, "1", "|dJ/dW_k| at the start", ("layer",)),
            "singular": described(
                "singular",
                singular_values(chain(start), images.train[:, :1]),
                "1",
                "singular values of input -> output at the start",
                ("number",),
            ),
        }
    )
