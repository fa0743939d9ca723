"""What the studies of two classes in the plane keep of a trained field, and how it is drawn."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from scipy.special import expit

from solvers.lyapunov import violation

from ..bench.registry import Picture
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, VERMILION, new_figure, styled
from ..shared import described
from .planar import (
    HALF_WIDTH,
    ODDS,
    Contender,
    Name,
    Plane,
    Trained,
    attacked,
    check_planar,
    measures,
    plane,
    train,
)

CASES = [{"contender": [name for name in get_args(Contender) if name != "MC sphere"]}]
"""All contenders but the one whose set of states is nearly that of another."""
SHOWN = {"rings": ((1.0, 0.0), 1), "moons": ((0.0, 1.0), 0)}
"""The input whose field is drawn, and its class."""
BOXES = {"rings": (-2.7, 2.7, -2.7, 2.7), "moons": (-1.5, 2.5, -1.2, 1.7)}
REACH = 4.5
"""The states drawn are those with |eta_i| <= REACH."""
MEASURES = {
    "error": "share of test points",
    "train_error": "share of training points",
    "loss": "mean V(1) of test points",
    "met": "share of test points whose V decays at the rate kappa",
    "escapes": "share of roll-outs that leave the cube",
    "basin": "share of random states that end right",
    "corner": "share of starts at the wrong corner that end right",
    "middle": "where p = 1/2 is, from class 1 to class 0",
    "width": "length between p = 0.9 and p = 0.1",
    "crossed": "share of lines across the boundary that have both",
    "seconds": "of the processor, training",
}


def portrait(trained: Trained, name: Name, kappa: float, cells: int = 60) -> xr.Dataset:
    """The field at one input: violation r = (grad V, f) + kappa V, its maximum over the ends of
    layers, where positive; loss V; velocity at t = 1/2; paths from a grid of states and from 0.

    probability: of class 1, over inputs of the plane.
    """
    point, label = SHOWN[name]
    x = np.array(point)[:, None]
    axis = np.linspace(-REACH, REACH, cells + 1)
    states = _grid(axis, axis)
    labels = np.full(states.shape[1], label)
    inputs = np.broadcast_to(x, states.shape)
    problem = trained.problem(inputs, labels, states)
    nodes = problem.mesh.nodes
    excess = [violation(problem, trained.control, states, t, kappa) for t in nodes]
    sign = 2.0 * label - 1.0
    loss = np.logaddexp(0.0, -sign * (states[1] - states[0]))
    coarse = np.linspace(-REACH, REACH, 25)
    few = _grid(coarse, coarse)
    speed = trained.field.at(x).velocity(few, trained.control.at(0.5), 0.5)
    side = np.linspace(-HALF_WIDTH, HALF_WIDTH, 5)
    starts = np.concatenate([_grid(side, side), np.zeros((2, 1))], axis=1)
    paths = trained.path(x, starts)
    left, right, low, high = BOXES[name]
    across, up = np.linspace(left, right, 2 * cells + 1), np.linspace(low, high, 2 * cells + 1)
    odds = trained.margin(_grid(across, up)).reshape(len(up), len(across))
    square = (len(axis), len(axis))
    return xr.Dataset(
        {
            "violation": described(
                "violation",
                np.maximum(0.0, np.max(excess, axis=0)).reshape(square),
                "1/time",
                "largest max(0, r)",
                ("eta2", "eta1"),
            ),
            "loss_of_state": described(
                "loss_of_state", loss.reshape(square), "1", "V", ("eta2", "eta1")
            ),
            "velocity": described(
                "velocity",
                speed.reshape(2, 25, 25),
                "1/time",
                "f at t = 1/2",
                ("unit", "coarse2", "coarse1"),
            ),
            "path": described("path", paths, "1", "states", ("layer", "unit", "start")),
            "odds": described("odds", odds, "1", "log p / (1 - p)", ("x2", "x1")),
        },
        coords={
            "eta1": axis,
            "eta2": axis,
            "coarse1": coarse,
            "coarse2": coarse,
            "x1": across,
            "x2": up,
        },
    )


def table(found: dict[str, float], attacked: dict[float, float], data: Plane) -> xr.Dataset:
    """The numbers of `measures`, the errors under attack by radius, and the training points."""
    radii = list(attacked)
    return xr.Dataset(
        {
            **{name: described(name, found[name], "1", text) for name, text in MEASURES.items()},
            "attacked": described(
                "attacked", [attacked[r] for r in radii], "1", "error under attack", ("radius",)
            ),
            "point": described("point", data.train, "1", "training inputs", ("unit", "sample")),
            "label": described("label", data.train_labels, "1", "class", ("sample",)),
        },
        coords={"radius": radii},
    )


def answer(
    name: Name,
    contender: Contender,
    *,
    samples: int,
    epochs: int,
    kappa: float,
    width: int,
    centred: bool,
    steps: int,
    seed: int,
) -> xr.Dataset:
    """One contender trained on rings or moons: its portrait and its numbers."""
    check_planar(samples, epochs, kappa, width, steps, seed)
    data = plane(name, samples, seed)
    trained = train(
        contender,
        data,
        epochs=epochs,
        kappa=kappa,
        width=width,
        centred=centred,
        seed=seed,
    )
    found = measures(trained, data, kappa, seed)
    broken = attacked(trained, data, steps)
    drawn = portrait(trained, name, kappa)
    return drawn.merge(table(found, broken, data)).assign_attrs(status=trained.status)


def plot(name: Name, cases: Sequence[xr.Dataset]) -> list[Picture]:
    """Fields, boundaries and numbers of all contenders: three pictures for each setting."""
    groups: dict[tuple[tuple[str, object], ...], list[xr.Dataset]] = {}
    for case in cases:
        given = case_parameters(case)
        setting = tuple((key, value) for key, value in given.items() if key != "contender")
        groups.setdefault(setting, []).append(case)
    pictures = []
    for n, group in enumerate(groups.values()):
        found = (_fields(name, group), _boundaries(name, group), _numbers(name, group))
        pictures += [replace(p, name=f"{p.name}_{n}") for p in found] if n else list(found)
    return pictures


def _grid(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(2, len(y) len(x)): the points, x running first."""
    return np.stack([np.tile(x, len(y)), np.repeat(y, len(x))])


def _panels(count: int, ratio: float = 1.0) -> tuple[Figure, list[Axes]]:
    """Axes of equal size, four in a row; ratio : of their height to their width."""
    columns = min(4, count)
    rows = -(-count // columns)
    figure, axes = new_figure(
        rows, columns, width=3.1 * columns + 0.6, height=(2.5 * ratio + 1.0) * rows
    )
    flat = list(axes.flat)
    for ax in flat[count:]:
        ax.remove()
    return figure, flat[:count]


def _title(case: xr.Dataset) -> str:
    return str(case_parameters(case)["contender"])


def _fields(name: Name, cases: Sequence[xr.Dataset]) -> Picture:
    label = SHOWN[name][1]
    figure, axes = _panels(len(cases))
    top = max(1.0, max(float(case["violation"].max()) for case in cases))
    image = None
    with styled():
        for ax, case in zip(axes, cases, strict=True):
            edges = (-REACH, REACH, -REACH, REACH)
            image = ax.imshow(
                case["violation"],
                extent=edges,
                origin="lower",
                cmap="Purples",
                norm=PowerNorm(0.5, 0.0, top),
                interpolation="bilinear",
            )
            u, v = case["velocity"].values
            ax.streamplot(
                case["coarse1"].values,
                case["coarse2"].values,
                u,
                v,
                color="#909090",
                linewidth=0.6,
                density=0.8,
                arrowsize=0.7,
            )
            ax.contour(
                case["eta1"],
                case["eta2"],
                case["loss_of_state"],
                [0.01, 0.1, np.log(2.0), 2.0, 4.0],
                colors=BLUE,
                linewidths=0.9,
                linestyles="dotted",
            )
            _paths(ax, case["path"].values, label)
            corner = (-HALF_WIDTH, -HALF_WIDTH)
            cube = Rectangle(
                corner, 2 * HALF_WIDTH, 2 * HALF_WIDTH, fill=False, linestyle="--", linewidth=0.9
            )
            ax.add_patch(cube)
            ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), title=_title(case))
            ax.set_xlabel(r"$\eta_1$, score of class 0")
            ax.set_ylabel(r"$\eta_2$, score of class 1")
            ax.set_aspect("equal")
        if image is not None:
            bar = figure.colorbar(image, ax=axes, shrink=0.6, ticks=[t for t in BAR if t <= top])
            bar.set_label(r"largest $\max(0,\; \nabla V\cdot f + \kappa V)$")
            bar.ax.set_xlabel("1 / time", labelpad=9)
    given = case_parameters(cases[0])
    x = SHOWN[name][0]
    caption = (
        f"The field at the input x = ({x[0]:g}, {x[1]:g}), class {label}. Colour: by how much the "
        f"decay of V at the rate kappa = {given['kappa']:g} is violated, at the worst of the ends "
        "of layers; grey: the field at t = 1/2; dotted: level sets of V = 0.01, 0.1, log 2, 2, 4; "
        "dashed: the cube; circle: the start 0. Paths over [0, 1] from a grid of states of the "
        "cube, black to the "
        "right class, vermilion and dashed to the wrong one. Random states of the cube that end "
        f"right, over all test points: {_listed(cases, 'basin')}; from the corner of the wrong "
        f"class: {_listed(cases, 'corner')}. {_basins(cases)} Roll-outs of test points that leave "
        f"the cube: {_listed(cases, 'escapes')}; test points whose V stays below V(0) exp(-kappa "
        f"t): {_listed(cases, 'met')}."
    )
    return Picture(f"{name}_fields", " ".join(caption.split()), figure)


BAR = (0, 1, 3, 10, 30, 100, 300)
"""Marks on the colour bar."""


def _paths(ax: Axes, paths: np.ndarray, label: int) -> None:
    final = paths[-1, label] - paths[-1, 1 - label]
    for m in range(paths.shape[2]):
        right = final[m] > 0.0
        color, line = (BLACK, "-") if right else (VERMILION, (0, (3, 1.5)))
        ax.plot(paths[:, 0, m], paths[:, 1, m], color=color, linestyle=line, linewidth=1.3)
        last = m == paths.shape[2] - 1
        mark, size = ("o", 6) if last else (".", 4)
        ax.plot(*paths[0, :, m], mark, color=color, markersize=size)


def _boundaries(name: Name, cases: Sequence[xr.Dataset]) -> Picture:
    left, right, low, high = BOXES[name]
    figure, axes = _panels(len(cases), (high - low) / (right - left))
    image = None
    with styled():
        for ax, case in zip(axes, cases, strict=True):
            x, y = case["x1"].values, case["x2"].values
            p = expit(case["odds"].values)
            image = ax.imshow(
                p,
                extent=(x[0], x[-1], y[0], y[-1]),
                origin="lower",
                cmap="cividis",
                vmin=0.0,
                vmax=1.0,
                interpolation="bilinear",
            )
            ax.contour(
                x,
                y,
                case["odds"],
                [-ODDS, ODDS],
                colors="white",
                linewidths=0.9,
                linestyles="solid",
            )
            for label, marker, color in ((0, "x", "white"), (1, ".", BLACK)):
                chosen = case["point"].values[:, case["label"].values == label][:, :60]
                ax.plot(*chosen, marker, color=color, markersize=3, linestyle="none")
            ax.set(title=f"{_title(case)}\nwidth {_width(case)}", xlabel="$x_1$", ylabel="$x_2$")
            ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
            ax.set_aspect("equal")
        if image is not None:
            bar = figure.colorbar(image, ax=axes, shrink=0.6)
            bar.set_label("probability of class 1")
            bar.ax.set_xlabel("p")
    widths = ", ".join(f"{_title(case)} {_width(case)}" for case in cases)
    caption = (
        "Probability of class 1 over inputs, with up to 60 training points of each class (crosses: "
        "class 0, dots: class 1) and the lines p = 0.1 and p = 0.9 in white. Mean distance between "
        f"these along lines across the boundary: {widths}. Where p = 1/2 "
        f"is, from 0 on class 1 to 1 on class 0: {_listed(cases, 'middle', '.2f')}. "
        f"{_widths(cases)}"
    )
    return Picture(f"{name}_boundary", " ".join(caption.split()), figure)


def _numbers(name: Name, cases: Sequence[xr.Dataset]) -> Picture:
    figure, axes = new_figure(1, 3, width=12.0, height=1.6 + 0.36 * len(cases))
    rows = np.arange(len(cases))[::-1]
    first, second, third = axes[0]
    for ax in axes[0]:
        ax.set_yticks(rows, [_title(case) for case in cases] if ax is first else [])
        ax.set_ylim(-0.6, len(cases) - 0.4)
        ax.grid(True)
    first.plot(_percent(cases, "basin"), rows, "o", color=BLUE, label="random state")
    first.plot(
        _percent(cases, "corner"),
        rows,
        "D",
        color=VERMILION,
        fillstyle="none",
        label="wrong corner",
    )
    first.set(xlabel="ends in the right class from [%]", ylabel="contender", xlim=(-4, 104))
    widths = [float(case["width"]) for case in cases]
    second.plot(widths, rows, "o", color=BLUE)
    second.set(xlabel="width of the boundary", ylabel="", xscale="log")
    if max(widths) < 100.0 * min(widths):
        second.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        second.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    second.xaxis.set_minor_locator(NullLocator())
    marks = zip(cases[0]["radius"].values, ((BLUE, "o"), (VERMILION, "D")), strict=False)
    for n, (radius, (color, marker)) in enumerate(marks):
        values = [100.0 * float(case["attacked"][n]) for case in cases]
        third.plot(values, rows, marker, color=color, label=f"radius {radius:g}", fillstyle="none")
    third.plot(_percent(cases, "error"), rows, "k|", markersize=9, label="no attack")
    third.set(xlabel="test error [%]", ylabel="", xlim=(-2, None))
    for ax in (second, third):
        ax.set_ylabel("contender", color="none")
    for ax in (first, third):
        ax.legend(
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=3,
            columnspacing=1.0,
            handletextpad=0.3,
            frameon=False,
        )
    radii = cases[0]["radius"].values
    attacked = "; ".join(
        f"radius {r:g}: "
        + ", ".join(f"{_title(case)} {100 * float(case['attacked'][n]):.3g} %" for case in cases)
        for n, r in enumerate(radii)
    )
    given = case_parameters(cases[0])
    caption = (
        f"All contenders after {given['epochs']} epochs. Test error: {_listed(cases, 'error')}; "
        f"under an l_inf attack of {given['steps']} steps, {attacked}. One seed; no ordering by "
        "robustness is claimed. Seconds of the processor for the training: "
        + ", ".join(f"{_title(case)} {float(case['seconds']):.0f}" for case in cases)
        + "."
    )
    return Picture(f"{name}_numbers", " ".join(caption.split()), figure)


def _percent(cases: Sequence[xr.Dataset], name: str) -> list[float]:
    return [100.0 * float(case[name]) for case in cases]


def _listed(cases: Sequence[xr.Dataset], name: str, form: str = "") -> str:
    """One number per contender, in percent unless a format is given."""

    def text(value: float) -> str:
        if not np.isfinite(value):
            return "none"
        return f"{value:{form}}" if form else f"{100.0 * value:.3g} %"

    return ", ".join(f"{_title(case)} {text(float(case[name]))}" for case in cases)


def _width(case: xr.Dataset) -> str:
    whole = float(case["crossed"]) == 1.0
    return f"{'' if whole else 'at least '}{float(case['width']):.2g}"


def _named(cases: Sequence[xr.Dataset], begin: str) -> list[xr.Dataset]:
    return [case for case in cases if _title(case).startswith(begin)]


def _basins(cases: Sequence[xr.Dataset]) -> str:
    """Whether Monte Carlo made one basin of the cube and path training did not."""
    whole, none = _named(cases, "MC"), _named(cases, "path")
    if not whole or not none:
        return ""
    least = min(float(case["basin"]) for case in whole)
    most = max(float(case["basin"]) for case in none)
    one = "one global basin" if least >= 0.995 else f"no global basin ({100 * least:.3g} %)"
    other = "none" if most < 0.9 else f"nearly one, too ({100 * most:.3g} %)"
    return f"Monte Carlo has {one}, path training {other}."


def _widths(cases: Sequence[xr.Dataset]) -> str:
    """How much wider the boundary of Monte Carlo is than that of end-point training."""
    whole, end = _named(cases, "MC"), _named(cases, "NODE")
    if not whole or not end:
        return ""
    ratios = [float(case["width"]) / float(end[0]["width"]) for case in whole]
    text = " and ".join(f"{r:.2g}" for r in ratios)
    least = "" if all(float(case["crossed"]) == 1.0 for case in whole) else "at least "
    half = 0.5 * min(float(case["width"]) for case in whole)
    others = [
        _title(case)
        for case in cases
        if not _title(case).startswith("MC") and float(case["width"]) >= half
    ]
    also = f" At least half as wide: {', '.join(others)}." if others else ""
    return f"Monte Carlo's boundary is {least}{text} times as wide as end-point training's.{also}"
