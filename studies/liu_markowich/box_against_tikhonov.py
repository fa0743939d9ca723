"""One target, controls held in a box, held down by a penalty, or both."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from continuum import Tikhonov
from solvers import LBFGS, RK4, discretize, integrate, minimize

from ..bench.parameters import Count, NonNegative
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure
from ..shared import described
from .paper import PAPER, boxed

Constraint: TypeAlias = Literal["box", "Tikhonov", "both"]
ENTRIES = ("$a_1$", "$a_2$", "$b_{11}$", "$b_{12}$", "$b_{21}$", "$b_{22}$")
COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (7, 2)))


def label(case: xr.Dataset) -> str:
    """The constraint, with the strength of the penalty if there is one."""
    values = case_parameters(case)
    if values["constraint"] == "box":
        return "box"
    name = "Tikhonov" if values["constraint"] == "Tikhonov" else "box and Tikhonov"
    return f"{name}, $\\lambda$ = {float(values['strength']):g}"


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(2, 3, width=11.4, height=6.6)
    for i, (ax, entry) in enumerate(zip(axes.flat, ENTRIES, strict=True)):
        for n, case in enumerate(cases):
            values = case["control"].values[:, i]
            width = float(case["layer"].values[1])
            ax.step(
                np.append(case["layer"], case["layer"].values[-1] + width),
                np.append(values, values[-1]),
                where="post",
                color=COLORS[n % 6],
                linestyle=LINES[n % 6],
                label=label(case),
                linewidth=1.5,
            )
        for bound in (-1.0, 1.0):
            ax.axhline(bound, color=BLACK, linewidth=0.6)
        ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
        ax.set_ylabel(entry)
        ax.grid(True)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    notes = []
    for case in cases:
        text = label(case).replace("$\\lambda$", "lambda")
        notes.append(
            f"{text}: |c| = {float(case['norm']):.4f}, largest entry {float(case['largest']):.4f}"
        )
    caption = "Controls; thin lines are the bounds of the box. " + "; ".join(notes) + "."
    pictures = [Picture("controls", caption, figure)]
    figure, axes = new_figure(1, 2, width=11.4, height=4.6)
    left, right = axes[0]
    notes = []
    for n, case in enumerate(cases):
        color = COLORS[n % 6]
        left.plot(*case["state"].values.T, color=color, linestyle=LINES[n % 6], label=label(case))
        left.plot(*case["state"].values[-1], "o", color=color, markersize=5)
        right.plot(float(case["norm"]), float(case["misfit"]), "o", color=color, markersize=8)
        text = label(case).replace("$\\lambda$", "lambda")
        notes.append(
            f"{text}: J = {float(case['objective']):.6f}, misfit {float(case['misfit']):.6f}"
        )
    values = case_parameters(cases[0])
    left.plot(
        float(values["target_1"]),
        float(values["target_2"]),
        "*",
        color=BLACK,
        markersize=13,
        label="target",
    )
    left.set_xlabel("block 1, $f_1$")
    left.set_ylabel("block 2, $f_2$")
    left.set_title("states of the two blocks")
    left.grid(True)
    right.set_xlabel("norm $|(a, b)|$ in $L^2$")
    right.set_ylabel("misfit $|f(T) - \\mathrm{target}|^2 / 2$")
    right.set_title("what the misfit costs")
    right.grid(True)
    right.margins(0.1)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    pictures.append(
        Picture("states", "States, and misfit against norm. " + "; ".join(notes) + ".", figure)
    )
    return pictures


@study(
    "liu_markowich/box_against_tikhonov",
    paper=PAPER,
    figure="Sections 4.1 and 4.2",
    plot=_plot,
    cases=[{"constraint": "box"}, {"constraint": ["Tikhonov", "both"], "strength": [0.02, 0.2]}],
)
def box_against_tikhonov(
    constraint: Constraint = "box",
    strength: NonNegative = 0.02,
    initial_1: float = 0.5,
    initial_2: float = 0.5,
    target_1: float = 4.0,
    target_2: float = 0.0,
    layers: Count = 60,
) -> xr.Dataset:
    """Box or Tikhonov: the same target with bounded, with penalised, and with bounded and penalised
    controls.

    minimise |f(T) - target|^2 / 2 + strength int |a|^2 + |b|^2 dt, f_t = a - Bf on two halves of
    (0, 1), T = 1; the box is -1 <= a, b <= 1.  In the box alone controls jump between its corners
    (LM-54); with the penalty alone they are continuous (and known in closed form where the target
    is a multiple of f(0), LM-50); with both they are continuous too, and some of the time at the
    bounds.

    objective: J; misfit: its first term; norm: |(a, b)| in L^2; largest: of all entries; by L-BFGS
    and RK4 from zero.
    """
    if strength <= 0 and constraint != "box":
        raise ValueError(f"strength must be > 0, got {strength}")
    if layers < 2:
        raise ValueError(f"layers must be >= 2, got {layers}")
    posed = boxed([initial_1, initial_2], [target_1, target_2], layers=layers)
    if constraint != "box":
        posed = replace(posed, penalty=Tikhonov(strength))
    if constraint == "Tikhonov":
        posed = replace(posed, admissible=None)
    best = minimize(discretize(posed, RK4()), LBFGS(gtol=1e-7, max_iterations=2000))
    space, control = posed.space, best.control
    run = integrate(posed.network, control, posed.initial, RK4(), save="layers").trajectory
    flat = np.concatenate([control["bias"], control["kernel"].reshape(layers, 4)], axis=1)
    off = run.final - posed.target
    misfit = 0.5 * float(posed.network.weights @ off[:, 0] ** 2)
    return xr.Dataset(
        {
            "objective": described("objective", best.objective, "1", "J"),
            "misfit": described("misfit", misfit, "1", "|f(T) - target|^2 / 2"),
            "norm": described("norm", space.norm(control), "1", "|(a, b)| in L^2"),
            "largest": described("largest", np.max(np.abs(flat)), "1", "largest entry of (a, b)"),
            "control": described(
                "control", flat, "1", "a_1, a_2, b_11, b_12, b_21, b_22", ("layer", "entry")
            ),
            "state": described("state", run.states[:, :, 0], "1", "f", ("time", "block")),
        },
        coords={
            "layer": (
                "layer",
                posed.mesh.nodes[:-1],
                {"units": "time", "long_name": "start of the layer"},
            ),
            "time": ("time", run.times, {"units": "time", "long_name": "time along the network"}),
        },
    )
