"""Lyapunov training of a continuum: weights that are functions on a square and of time."""

import time
from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
import xarray as xr
from annotated_types import Ge, Le

from continuum import (
    Affine,
    CrossEntropy,
    Interval,
    LearningProblem,
    TimeMesh,
    WidthDepth,
    midpoint,
    tanh,
)
from solvers import RK4, Adam, discretize, integrate, minimize
from solvers.descent.objective import Objective
from solvers.descent.schedules import cosine
from solvers.lyapunov import (
    MonteCarloLyapunov,
    PathLyapunov,
    Tube,
    audit,
    exact_loss,
)

from ..bench.parameters import Count, Horizon, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import averaged, load_digits, split
from ..draw.figures import BLUE, GREEN, ORANGE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER

CLASSES = 10
SPREAD = 4.0
"""Standard deviation of the kernel at the start; all else starts from zero."""
NOISE, COPIES = 0.3, 1
LossName: TypeAlias = Literal["end point", "path, continuous", "path, discrete", "tube"]
COLORS = {"end point": BLUE, "path, continuous": GREEN, "path, discrete": VERMILION, "tube": ORANGE}
FINE = 16
"""Steps of each layer in which paths are judged."""


def posed(states: np.ndarray, labels: np.ndarray, side: int, mesh: TimeMesh) -> LearningProblem:
    """f_t = tanh(a - int b f) on the square, softmax of int W f + mu, cross-entropy at t = T."""
    square = Interval(0, 1) * Interval(0, 1)
    return LearningProblem(
        WidthDepth(midpoint(square, side), tanh),
        states,
        labels,
        mesh,
        readout=Affine(CLASSES),
        terminal=CrossEntropy(),
    )


def objective(
    loss: LossName, problem: LearningProblem, kappa: float, rng: np.random.Generator
) -> Objective:
    """What is minimised."""
    if loss == "end point":
        return discretize(problem, RK4())
    if loss == "tube":
        return MonteCarloLyapunov(problem, kappa, Tube(NOISE, COPIES), rng=rng)
    form = "discrete" if loss == "path, discrete" else "continuous"
    return PathLyapunov(problem, kappa, form=form)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, 2, width=10.5, height=4.6)
    left, right = axes[0]
    notes = []
    for case in cases:
        parameters = case_parameters(case)
        name, t = str(parameters["loss"]), case["time"].values
        color, label = COLORS[name], f"{name}, {parameters['side']} x {parameters['side']}"
        left.semilogy(t, case["value"], color=color, label=label)
        right.plot(t, 100.0 * case["error"], color=color)
        first, last, bound = (
            float(v) for v in (case["value"][0], case["value"][-1], case["bound"])
        )
        notes.append(
            f"{label}: mean V from {first:.3g} to {last:.3g}, Grönwall's bound of it {bound:.3g}, "
            f"violation at {100 * float(case['violated']):.0f} % of points and times, "
            f"{100 * float(case['kept']):.0f} % keep the rate, test error "
            f"{100 * float(case['error'][0]):.1f} % at t = 0, "
            f"{100 * float(case['error'][-1]):.1f} % at T"
        )
    kappa = float(case_parameters(cases[0])["kappa"])
    t = cases[0]["time"].values
    above = [str(case_parameters(c)["loss"]) for c in cases if c["value"][0] > np.log(CLASSES)]
    left.semilogy(
        t,
        exact_loss(t, kappa, CLASSES),
        ":",
        color="black",
        label="$\\log 10\\; e^{-\\kappa t}$",
    )
    left.set_ylabel("mean $V(t)$ on test images")
    right.set_ylabel("test error if stopped at $t$ [%]")
    for ax in (left, right):
        ax.set_xlabel("depth $t$")
        ax.grid(True)
    right.set_ylim(bottom=0.0)
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    caption = (
        f"Digits as functions on the square, kappa = {kappa:g}, judged on {FINE} steps of each "
        f"layer. {'; '.join(notes)}."
    )
    if above:
        caption += f" Mean V(0) is above log 10 for {' and '.join(above)}."
    return [Picture("width_depth", caption, figure)]


@study(
    "lyanet/width_depth",
    paper=PAPER,
    figure="section 4.2, Continuous LypNet",
    plot=_plot,
    cases=[{"loss": ["end point", "path, continuous", "path, discrete", "tube"]}],
)
def width_depth(
    loss: LossName = "path, continuous",
    kappa: Positive = 1.0,
    horizon: Horizon = 4.0,
    side: Count = 8,
    layers: Annotated[int, Ge(1), Le(100)] = 8,
    epochs: Annotated[int, Ge(1), Le(1000)] = 40,
    step: Positive = 0.1,
    samples: Count = 1797,
    seed: Seed = 0,
) -> xr.Dataset:
    """Can a continuum in width and depth be trained to let its loss decay at a given rate?

    f_t = tanh(a - int_Y b f) on the square with side x side midpoint nodes, a and b functions of
    position, constant on each of `layers` layers of [0, T]; f(0) = 2 image - 1; V the cross-entropy
    of o = int W f + mu.  Lyapunov losses train the readout too, so V(0) is not given, and may rise
    above log 10, from where a fall is easier.  Adam in batches of 64, RK4 with one step per layer.

    value, error: mean V and error of the test images along t; violated: share of test images and
    times with dV/dt + kappa V > 0; kept: share of test images with V(t) <= V(0) exp(-kappa t);
    bound: mean of exp(-kappa T) V(0) + int exp(-kappa (T - s)) max(0, dV/dt + kappa V) ds, by the
    trapezoid rule; seconds: of the processor.
    """
    if not 1 <= layers <= 100 or not 1 <= epochs <= 1000:
        raise ValueError(
            f"layers must be from 1 to 100, epochs from 1 to 1000, got {layers}, {epochs}"
        )
    digits = load_digits()
    data = split(averaged(digits.inputs, side), digits.labels, samples, seed)
    mesh = TimeMesh(horizon, layers)
    problem = posed(data.train, data.train_labels, side, mesh)
    start, batches, states = (np.random.default_rng([seed, k]) for k in range(3))
    method = Adam(
        step=cosine(step, epochs), batch=64, rng=batches, max_iterations=epochs, report=epochs
    )
    kernel = problem.space.zeros()["kernel"]
    initial = problem.space.sample(kernel=SPREAD * start.standard_normal(kernel.shape))
    began = time.process_time()
    best = minimize(objective(loss, problem, kappa, states), method, initial=initial).control
    seconds = time.process_time() - began
    held = posed(data.test, data.test_labels, side, mesh)
    found = audit(held, best, kappa, steps_per_layer=FINE)
    path = integrate(
        held.network, best, held.initial, RK4(), save="steps", steps_per_layer=FINE
    ).trajectory
    end = best.at(horizon)
    outputs = [held.readout.output(held.network, f, end) for f in path.states]
    value = found.values
    wrong = np.argmax(outputs, axis=1) != data.test_labels
    return xr.Dataset(
        {
            "value": described("value", value.mean(axis=1), "1", "mean V", ("time",)),
            "error": described("error", wrong.mean(axis=1), "1", "test error", ("time",)),
            "violated": described("violated", found.violation_share, "1", "share with r > 0"),
            "kept": described(
                "kept",
                found.meeting.value,
                "1",
                "share that keeps the rate",
            ),
            "bound": described("bound", found.mean_bound, "1", "mean bound of V(1)"),
            "excess": described(
                "excess", np.max(value[-1] - found.bounds), "1", "V(1) above its bound"
            ),
            "seconds": described("seconds", seconds, "s", "processor time of training"),
        },
        coords={"time": ("time", path.times, {"units": "time", "long_name": "t"})},
    )
