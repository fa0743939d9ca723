"""A trained flow, moving: the data, the plane around them, and the decision, layer by layer."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import numpy as np
import xarray as xr
from annotated_types import Ge, Le
from matplotlib.axes import Axes

from solvers import Euler, integrate

from ..bench.parameters import Count, Positive, Seed
from ..bench.registry import Animation, Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, ORANGE, SKY, VERMILION, new_figure
from ..shared import described
from .horizon import posed, random_starts
from .paper import PAPER, lowest
from .planar_data import Data, points

PIXELS, EVERY, REACH = 91, 6, 2.6
"""Lattice points per side; one line in so many is drawn; its half width, in those of the data."""


def cell_areas(lattice: np.ndarray) -> np.ndarray:
    """The signed areas of the cells of a lattice (2, rows, columns): half the product of their
    diagonals, across.
    """
    x, y = lattice[:, 1:, 1:] - lattice[:, :-1, :-1]
    u, v = lattice[:, 1:, :-1] - lattice[:, :-1, 1:]
    return 0.5 * (x * v - y * u)


def draw_moment(ax: Axes, case: xr.Dataset, moment: int) -> None:
    """The data and the lattice where the flow has taken them; a point of the plane has the colour
    of the class that it will be given at T.
    """
    (x, y), output = case["lattice"].values[moment], case["output"].values
    states, labels = case["states"].values, case["label"].values
    ax.clear()
    ax.contourf(x, y, output, levels=[-1e9, 0.0, 1e9], colors=[ORANGE, SKY], alpha=0.3)
    ax.plot(x[::EVERY].T, y[::EVERY].T, color="#707070", linewidth=0.5)
    ax.plot(x[:, ::EVERY], y[:, ::EVERY], color="#707070", linewidth=0.5)
    ax.contour(x, y, output, levels=[0.0], colors=[BLACK], linewidths=1.4)
    for value, color, marker in ((-1.0, VERMILION, "o"), (1.0, BLUE, "^")):
        past = states[: moment + 1, :, labels == value]
        ax.plot(past[:, 0], past[:, 1], color=color, linewidth=0.9, alpha=0.8)
        ax.plot(*past[-1], marker, color=color, markersize=6, markeredgecolor="white")
    (left, right), (low, high) = case["window"].values
    ax.set(xlim=(left, right), ylim=(low, high), xlabel="$x_1(t)$", ylabel="$x_2(t)$")
    ax.set_aspect("equal")
    ax.set_title(f"t = {float(case['moment'][moment]):.1f}")


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures: list[Picture] = []
    for n, case in enumerate(cases):
        given, last = case_parameters(case), case.sizes["moment"] - 1
        ending = "" if len(cases) == 1 else f"_{n}"
        caption = (
            f"{str(given['data']).capitalize()} moved through {int(case['layers'])} layers of "
            f"w tanh(x) + b, T = {given['horizon']}, lambda = {given['strength']}, with a grid of "
            "the plane of inputs. Each point has the colour of the class that it gets at T, where "
            "the decision is x_1 = 0; black: the border, moved along. Triangles: label 1, discs: "
            f"-1. Training error {float(case['error']):.3g}, {100 * float(case['accuracy']):.4g} "
            f"percent right ({case.attrs['status']}, the lowest of {given['starts']} starts). "
            + (
                f"At T every cell of the grid has at least {float(case['least_area']):.4g} times "
                "the area that it had: none is turned over."
                if float(case["least_area"]) > 0.0
                else "Some cells of the grid are turned over: the layers are too long for a flow."
            )
        )
        figure, axes = new_figure(2, 3, width=9.6, height=6.9)
        for ax, moment in zip(axes.flat, np.linspace(0, last, 6).round().astype(int), strict=True):
            draw_moment(ax, case, int(moment))
        pictures.append(Picture(f"strip{ending}", caption, figure))
        moving, axes = new_figure(width=5.2, height=5.4)
        draw_moment(axes[0, 0], case, last)
        draw = partial(draw_moment, axes[0, 0], case)
        moves = f"The same, moving, as the depth t goes from 0 to {given['horizon']}."
        pictures.append(Animation(f"flow{ending}", moves, moving, draw, last + 1))
    return pictures


@study("turnpike/flow", paper=PAPER, figure="trajectories", plot=_plot)
def flow(
    data: Data = "spirals",
    horizon: Annotated[float, Ge(1), Le(100)] = 16.0,
    strength: Positive = 0.1,
    starts: Count = 3,
    frames: Annotated[int, Ge(6), Le(60)] = 51,
    seed: Seed = 0,
) -> xr.Dataset:
    """What does a trained deep network do to the plane that its data lie in?

    The problem of the study horizon in two dimensions, so that the plane is all there is: minimise
    the mean of |x_1(T) - label|^2 plus lambda int_0^T |u|^2 dt over x' = w tanh(x) + b, with
    T^(3/2) layers; the lowest of a few runs of Newton's method from random starts.  A flow is a
    diffeomorphism: it bends the plane and its grid, and tears or folds nothing.

    states: of the data at each moment; lattice: of a square lattice of inputs; output: x_1 at T of
    the lattice; window: what is drawn; error, accuracy: at T; least_area: the least signed area of
    a cell of the lattice at T, as a share of what it was (<= 0: a fold, which the layers made).
    """
    if not 1.0 <= horizon <= 100.0 or strength <= 0.0 or starts < 1 or not 6 <= frames <= 60:
        raise ValueError(
            "horizon must be from 1 to 100, strength > 0, starts >= 1, frames from 6 to 60, got "
            f"{horizon}, {strength}, {starts}, {frames}"
        )
    x, labels = points(data)
    problem = posed("NeuralODE2", "first coordinate", data, 2, horizon, strength)
    best = lowest(problem, random_starts(problem, starts, seed))
    side = np.linspace(-REACH, REACH, PIXELS) * float(np.max(np.abs(x)))
    lattice = np.stack([one.ravel() for one in np.meshgrid(side, side)])
    times = np.linspace(0.0, horizon, frames)
    together = np.concatenate([x, lattice], axis=1)
    run = integrate(problem.network, best.control, together, Euler(), save=times).trajectory
    states, moved = np.split(run.states, [x.shape[1]], axis=2)
    moved = moved.reshape(frames, 2, PIXELS, PIXELS)
    final = problem.functional.terminal_values(best.control)
    ends = states[-1]
    middle = 0.5 * (states.max(axis=(0, 2)) + states.min(axis=(0, 2)))
    half = 0.54 * np.max(np.ptp(states, axis=(0, 2)))
    areas = cell_areas(moved[-1]) / cell_areas(moved[0])
    return xr.Dataset(
        {
            "objective": described("objective", best.objective, "1", "J of the ResNet"),
            "error": described(
                "error", problem.functional.terminal_cost(ends, final), "1", "training error at T"
            ),
            "accuracy": described(
                "accuracy", np.mean(np.sign(ends[0]) == labels), "1", "share of right signs"
            ),
            "least_area": described("least_area", np.min(areas), "1", "least area of a cell"),
            "layers": described("layers", problem.mesh.layers, "1", "layers"),
            "states": described("states", states, "1", "states", ("moment", "unit", "sample")),
            "lattice": described(
                "lattice", moved, "1", "states of inputs", ("moment", "unit", "row", "column")
            ),
            "output": described("output", moved[-1, 0], "1", "output at T", ("row", "column")),
            "label": described("label", labels, "1", "label", ("sample",)),
            "window": described(
                "window",
                np.stack([middle - half, middle + half], axis=1),
                "1",
                "what is drawn",
                ("unit", "end"),
            ),
        },
        coords={"moment": ("moment", times, {"units": "time"})},
        attrs={"status": best.status.name},
    )
