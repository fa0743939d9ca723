"""The feedback of a value function, and why its gradient is none on a ridge."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from continuum import Control, LearningProblem, TimeMesh
from solvers import RK4, discretize
from solvers.hjb import StateGrid, ValueFunction, closed_loop, solve_hjb

from ..bench.parameters import Count, Doublings, Positive
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, VERMILION, new_figure
from ..shared import described, doubled
from .bang_bang import vertex
from .paper import PAPER
from .values import EXAMPLES, Example, optimum, path, posed

COLORS = (GREEN, BLUE, ORANGE)
ZERO = 1e-7
"""Differences of V that are smaller than this share of the largest are rounding."""
SUBSTEPS = 4
"""Steps of RK4 in a layer, as `closed_loop` has them."""


def gradient_feedback(problem: LearningProblem, value: ValueFunction) -> tuple[Control, np.ndarray]:
    """The control that minimises the Hamiltonian at the central differences of V, at the start of
    each layer, and the states at the ends of the layers (K + 1, N).

    A unit whose difference is zero rests: all its controls are minimisers.
    """
    mesh, network, h = problem.mesh, problem.network, value.grid.spacings
    states = np.empty((mesh.layers + 1, len(h)))
    bias, kernel = np.empty((mesh.layers, len(h))), np.empty((mesh.layers, len(h), len(h)))
    states[0], stepper = problem.initial[:, 0], RK4()
    for k, (t, tau) in enumerate(zip(mesh.nodes[:-1], mesh.steps, strict=True)):
        f = states[k][:, None]
        ends = value(np.hstack([f + np.diag(h), f - np.diag(h)]), float(t))
        q = (ends[: len(h)] - ends[len(h) :]) / (2.0 * h)
        q = np.where(np.abs(q) > ZERO * np.max(np.abs(q)), q, 0.0)
        entries = vertex(f[:, 0], q)
        bias[k], kernel[k] = entries[: len(h)], entries[len(h) :].reshape(len(h), len(h))
        values = {"bias": bias[k], "kernel": kernel[k]}

        def velocity(s: float, x: np.ndarray, v: dict[str, np.ndarray] = values) -> np.ndarray:
            return network.velocity(x, v, s)

        for n in range(SUBSTEPS):
            f = stepper.step(velocity, velocity, t + n * tau / SUBSTEPS, tau / SUBSTEPS, f)  # type: ignore[arg-type]
        states[k + 1] = f[:, 0]
    return problem.space.sample(bias=bias, kernel=kernel), states


def _states(case: xr.Dataset, ax: Axes) -> None:
    ax.plot(*case["path"].values.T, color=BLACK, linewidth=3.5, alpha=0.35, label="optimal run")
    ax.plot(*case["loop_path"].values.T, color=BLUE, linewidth=1.4, label="closed loop")
    ax.plot(
        *case["naive_path"].values.T,
        "--",
        color=VERMILION,
        linewidth=2.0,
        label="gradient feedback",
    )
    ax.plot(*case.attrs["start"], "o", color=GREEN, label="start")
    ax.plot(*case.attrs["target"], "*", color=ORANGE, markersize=13, label="target")
    ax.set_xlabel("block 1, $f_1$")
    ax.set_ylabel("block 2, $f_2$")
    name = case_parameters(case)["example"]
    ax.set_title(f"{name}: states, {case.sizes['layer_end'] - 1} layers")
    ax.margins(y=0.15)
    ax.grid(True)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(len(cases), 2, width=11.0, height=4.0 * len(cases) + 0.5)
    sentences = []
    for row, case in zip(axes, cases, strict=True):
        _states(case, row[0])
        ax = row[1]
        best, layers = float(case["optimum"]), case["layers"].values
        markers = zip(case["nodes"].values, COLORS, ("o-", "s--", "D:"), strict=False)
        for n, (count, color, marker) in enumerate(markers):
            ax.loglog(
                layers,
                np.maximum(case["loop"].values[n] - best, 1e-9),
                marker,
                color=color,
                label=f"closed loop, {count} nodes a side",
            )
        ax.loglog(
            layers,
            np.maximum(case["naive"].values - best, 1e-9),
            "v--",
            color=VERMILION,
            label="gradient feedback",
        )
        ax.set_xlabel("layers")
        ax.set_ylabel("$J - J^*$")
        ax.set_title("excess over the optimum")
        ax.set_xticks(layers, [f"{n}" for n in layers])
        ax.minorticks_off()
        ax.grid(True)
        name = case_parameters(case)["example"]
        switches = case["switches"].values
        sentences.append(
            f"{name}: J* = {best:.6f}; the closed loop on the finest grid and most layers has "
            f"J = {float(case['loop'][-1, -1]):.6f}, switches {int(switches[0])} and "
            f"{int(switches[1])} times in units 1 and 2 and stays within "
            f"{float(case['distance']):.2g} of the optimal run; the gradient feedback has J = "
            f"{float(case['naive'][-1]):.6f}, and {float(case['nudged']):.6f} from a start that "
            f"is moved by {case.attrs['nudge']:g} in f_2"
        )
    handles, labels = axes[0, 0].get_legend_handles_labels()
    more = axes[0, 1].get_legend_handles_labels()
    figure.legend(
        handles + more[0][:-1],
        labels + more[1][:-1],
        loc="outside lower center",
        ncols=4,
        frameon=False,
    )
    return [Picture("feedback", ". ".join(sentences) + ".", figure)]


@study(
    "liu_markowich/feedback",
    paper=PAPER,
    figure="Section 4.3, Step 2",
    plot=_plot,
    cases=[{"example": list(EXAMPLES)}],
)
def feedback(
    example: Example = "mirror images",
    coarsest: Count = 40,
    doublings: Doublings = 2,
    fewest: Count = 25,
    nudge: Positive = 1e-5,
) -> xr.Dataset:
    """The closed loop of a value function against the feedback of its gradient.

    `closed_loop` compares V one cell up, down and at the state; on a ridge it takes a side.  The
    gradient feedback minimises the Hamiltonian at the central differences of V: from a start on the
    ridge f_2 = 0 it never leaves the ridge, since V is even in f_2.  Both hold their control on
    layers, and J is that of the run of this control.

    loop : J on coarsest * 2^k + 1 nodes a side and on fewest, 2, 4, 8 times as many layers
    naive : J of the gradient feedback on the finest grid;  nudged : on most layers, from a start
        moved by `nudge` in f_2
    loop_path, naive_path, path : states on most layers, and of the optimal run
    distance : the largest one between the closed loop, finest, and the optimal run, after the
        change of the sign of f_2 that brings them closest;  switches : how often its units switch
    """
    if fewest < 5:
        raise ValueError(f"fewest must be >= 5, got {fewest}")
    sizes = [n + 1 for n in doubled(coarsest, doublings)]
    layers = [fewest * 2**k for k in range(4)]
    base = posed(example)
    horizon = base.mesh.horizon
    problems = [replace(base, controls=TimeMesh(horizon, n)) for n in layers]
    values = [solve_hjb(base, StateGrid.reachable(base, n)) for n in sizes]
    runs = [[closed_loop(p, v) for p in problems] for v in values]
    naive = [gradient_feedback(p, values[-1]) for p in problems]
    beside = replace(problems[-1], initial=base.initial + np.array([[0.0], [nudge]]))
    best, finest = optimum(example), runs[-1][-1]
    path_time, best_path = path(best)
    at = problems[-1].mesh.nodes
    there = np.stack([np.interp(at, path_time, x) for x in best_path.T], axis=1)
    finest_path = finest.trajectory.states[:, :, 0]
    mirror = np.array([1.0, -1.0])
    away = [np.max(np.hypot(*(finest_path * sign - there).T)) for sign in (1.0, mirror)]
    dims = ("layer_end", "block")
    return xr.Dataset(
        {
            "loop": described(
                "loop",
                [[run.objective for run in row] for row in runs],
                "1",
                "J of the closed loop",
                ("nodes", "layers"),
            ),
            "start_value": described(
                "start_value", [v.at_start for v in values], "1", "V at the start", ("nodes",)
            ),
            "naive": described(
                "naive",
                [_cost(p, control) for p, (control, _) in zip(problems, naive, strict=True)],
                "1",
                "J of the gradient feedback",
                ("layers",),
            ),
            "nudged": described(
                "nudged",
                _cost(beside, gradient_feedback(beside, values[-1])[0]),
                "1",
                "J of the gradient feedback from a moved start",
            ),
            "loop_path": described("loop_path", finest_path, "1", "f, closed loop", dims),
            "naive_path": described("naive_path", naive[-1][1], "1", "f, gradient feedback", dims),
            "path": described("path", best_path, "1", "f of the optimal run", ("at", "block")),
            "optimum": described("optimum", best.objective, "1", "J by shooting"),
            "distance": described(
                "distance", min(away), "1", "from the closed loop to the optimal run"
            ),
            "switches": described("switches", finest.switches, "1", "switches", ("block",)),
        },
        coords={
            "nodes": ("nodes", sizes, {"units": "1", "long_name": "nodes on each axis"}),
            "layers": ("layers", layers, {"units": "1", "long_name": "layers"}),
        },
        attrs={
            "start": list(EXAMPLES[example][0]),
            "target": list(EXAMPLES[example][1]),
            "nudge": nudge,
            "status": finest.status.value + (f" ({finest.detail})" if finest.detail else ""),
        },
    )


def _cost(problem: LearningProblem, control: Control) -> float:
    """J of the continuous run of a control on layers, as `closed_loop` computes it."""
    return discretize(problem, RK4(), SUBSTEPS, "steps").value(control)
