"""A network that becomes wider on its way: what it costs, at equal work, against fixed widths.

Runs are made by RK4, so that they are close to flows: the Euler layers of a shallow ResNet may jump
over each other, which makes narrow networks look better than they are.
"""

from collections.abc import Sequence
from itertools import cycle, pairwise
from typing import Annotated, Literal, TypeAlias

import numpy as np
import xarray as xr
from annotated_types import Ge, Gt, Le

from continuum import (
    Control,
    Grid,
    Interval,
    LearningProblem,
    NeuralODE2,
    Projection,
    SquaredError,
    Staged,
    Stagewise,
    Switched,
    Tikhonov,
    TimeMesh,
    midpoint,
    padding,
    tanh,
)
from continuum.transfers import nearest
from solvers import LBFGS, RK4, Solution, discretize, integrate_stages, minimize

from ..bench.parameters import Count, NonNegative, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, OKABE_ITO, new_figure
from ..shared import described
from .paper import PAPER, widening
from .planar_data import padded, points

Data: TypeAlias = Literal["xor", "cells"]
SAME = 1e-5
"""Values of J that differ by less count as one."""


def _cells(count: int) -> Grid:
    return midpoint(Interval(0.0, 1.0), count)


def _same_function(before: Grid, after: Grid) -> np.ndarray:
    """Of functions that are constant on cells: the same function on finer cells, its averages on
    coarser ones.
    """
    if len(after) >= len(before):
        return nearest(before, after)
    return nearest(after, before).T * before.weights / after.weights[:, None]


def posed(
    data: Data,
    widths: Sequence[int],
    changes: Sequence[float],
    mesh: TimeMesh,
    strength: float,
    *,
    switched: bool = False,
) -> LearningProblem:
    """minimise int_0^T |P z - y|^2 + strength |c|^2 dt, the mean over four samples, y = +-1.

    "xor": z' = w tanh(z) + b in R^d, z(0) a corner of the square and zeros, P z = z_1; a wider
    stage begins with zeros in its new coordinates.
    "cells": z_t = tanh(int w z + b) on cells of (0, 1), z(0) = +-1 on each half, P z twice the
    integral over the left half; a finer stage begins with the same function.  So in both cases the
    narrow network is contained in the wide one, and optimal values do not increase with the width.
    A narrower stage begins with the first coordinates, or with averages over its cells.

    widths : of the stages, even numbers for "cells";  changes : the times between them
    switched : whether these times are unknowns, which start there
    """
    corners, labels = points("corners")
    if data == "cells":
        grids = [_cells(n) for n in widths]
        network = widening(grids, changes, tanh, _same_function)
        parts = [2.0 * (grid.nodes[:, 0] < 0.5)[None, :] for grid in grids]
        initial = nearest(_cells(2), grids[0]) @ corners
    else:
        transfers = tuple(padding(n, m) for n, m in pairwise(widths))
        network = Staged(tuple(NeuralODE2(d, tanh) for d in widths), tuple(changes), transfers)
        parts = [np.eye(1, d) for d in widths]
        initial = padded(corners, widths[0])
    counted = list(network.block_shapes)
    if switched:
        network = Switched(network.stages, network.changes, network.transfers, horizon=mesh.horizon)
    return LearningProblem(
        network,
        initial,
        labels[None],
        mesh,
        readout=Stagewise(tuple(Projection(part) for part in parts)),
        terminal=None,
        running=SquaredError(1.0),
        penalty=Tikhonov(strength, counted),
    )


def work(problem: LearningProblem) -> int:
    """Multiplications of matrices with one sample's state in one run of RK4, four in each layer;
    transfers, which copy, are not counted.
    """
    network = problem.network
    if not isinstance(network, Staged):
        raise TypeError(f"the network must be Staged, got {network!r}")
    layers = np.diff(network.cuts(problem.mesh))
    return int(
        sum(4 * k * len(s.weights) ** 2 for k, s in zip(layers, network.stages, strict=True))
    )


def descents(
    problem: LearningProblem, method: LBFGS, starts: int, seed: int
) -> list[Solution[Control]]:
    """Where runs end that start at random controls, of RK4's flows."""
    rng, objective = np.random.default_rng(seed), discretize(problem, RK4())
    return [
        minimize(objective, method, initial=problem.space.random(rng, 1.5), raise_on_failure=False)
        for _ in range(starts)
    ]


def _label(case: xr.Dataset) -> str:
    p = case_parameters(case)
    if p["first"] == p["then"]:
        return f"width {p['first']}"
    return f"{p['first']} to {p['then']} at t = {float(p['change']):g}"  # type: ignore[arg-type]


def _beats(one: xr.Dataset, other: xr.Dataset) -> bool:
    """Whether one has less work and, to SAME, no higher J."""
    return float(one["work"]) < float(other["work"]) and (
        float(one["objective"]) <= float(other["objective"]) + SAME
    )


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    return [
        _picture(data, chosen)
        for data in ("xor", "cells")
        if (chosen := [c for c in cases if case_parameters(c)["data"] == data])
    ]


def _picture(data: str, cases: Sequence[xr.Dataset]) -> Picture:
    families: dict[str, list[xr.Dataset]] = {}
    for case in sorted(cases, key=lambda case: float(case["work"])):
        families.setdefault(_label(case), []).append(case)
    figure, axes = new_figure(1, 3, width=13.6, height=4.4)
    along, rank, costs = axes[0]
    notes, unbeaten = [], []
    looks = zip(sorted(families.items()), cycle(OKABE_ITO), cycle("osD^vP*X"), strict=False)
    for k, ((label, members), color, marker) in enumerate(looks):
        deepest, p = members[-1], case_parameters(members[-1])
        t = deepest["time"].values
        look = {"color": color, "marker": marker, "markersize": 4.5, "label": label}
        every = {"markevery": (k % 4, 4)}
        along.semilogy(t, deepest["error"], **look, **every)
        rank.semilogy(t, np.maximum(deepest["least"], 1e-17), **look, **every)
        if p["first"] != p["then"]:
            for ax in (along, rank):
                ax.axvline(float(p["change"]), color=color, linestyle=":", linewidth=1.0)  # type: ignore[arg-type]
        costs.semilogx(
            [float(c["work"]) for c in members],
            [float(c["objective"]) for c in members],
            **look,
        )
        values = ", ".join(
            f"{float(c['objective']):.6f} at {int(c['work'])} ({int(c['hits'])} of "
            f"{case_parameters(c)['starts']} starts)"
            for c in members
        )
        notes.append(f"{label}: {values}")
        if any(all(not _beats(other, one) for other in cases) for one in members):
            unbeaten.append(label)
    along.set_ylabel("training error $\\varphi$")
    features = "\\tanh z_i" if data == "xor" else "z_i"
    rank.set_ylabel(f"least singular value of $({features}, 1)$")
    rank.axhline(1e-12, color=BLACK, linewidth=0.6)
    rank.set_ylim(bottom=1e-17)
    costs.set_ylabel("$J$")
    costs.set_xlabel("multiplications of one run and sample")
    costs.set_title("cost at equal work")
    along.set_title("the deepest network of each kind")
    rank.set_title("rank: values on the floor are 0")
    for ax in (along, rank):
        ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
    for ax in (along, rank, costs):
        ax.grid(True)
    along.legend()
    caption = (
        f"{data}: training error, least singular value of the samples' features, and the least J "
        f"found against work, dotted where the width changes. Below the thin line the rank is "
        f"smaller than the number of samples, and not every residual can be removed to first "
        f"order. J by work, best found: {'; '.join(notes)}. Kinds of which "
        f"no other reaches the same J with less work: {', '.join(unbeaten)}."
    )
    return Picture(f"variable_width_{data}", caption, figure)


@study(
    "turnpike/variable_width",
    paper=PAPER,
    figure="variable width",
    plot=_plot,
    cases=[
        {"data": ["xor"], "first": [2], "then": [2], "layers": [32, 64]},
        {"data": ["xor"], "first": [3], "then": [3], "layers": [16, 32]},
        {"data": ["xor"], "first": [2], "then": [3], "change": [0.25, 1.0], "layers": [16, 32]},
        {"data": ["xor"], "first": [3], "then": [2], "change": [1.0], "layers": [16, 32]},
        {"data": ["cells"], "first": [2], "then": [2], "layers": [16, 32]},
        {"data": ["cells"], "first": [4], "then": [4], "layers": [8, 16]},
        {"data": ["cells"], "first": [2], "then": [4], "change": [0.5, 1.0], "layers": [8, 16]},
        {"data": ["cells"], "first": [4], "then": [2], "change": [2.0], "layers": [8, 16]},
    ],
)
def variable_width(
    data: Data = "xor",
    first: Count = 2,
    then: Count = 3,
    change: Positive = 0.5,
    layers: Annotated[int, Ge(2), Le(4096)] = 32,
    horizon: Annotated[float, Gt(0), Le(64)] = 4.0,
    strength: NonNegative = 0.02,
    starts: Annotated[int, Ge(1), Le(64)] = 4,
    seed: Seed = 0,
) -> xr.Dataset:
    """Does it pay to begin narrow and to become wide on the way?

    The width is `first` up to t = change and `then` from there on, fixed if both are equal; J is
    the least that L-BFGS finds from random starts: best found, no more.  The other order, wide and
    then narrow, saves work where nothing is left to do.  A quasi-turnpike, if the
    first width cannot stabilise at error zero because the samples' features (sigma(z_i), 1) have
    too small a rank, and the second can: the error levels off first and decays afterwards.

    objective, hits: the least J, and how many starts reached it to 1e-5; work: multiplications of
    one run for one sample; error: training error at the ends of layers; least: the least singular
    value of the features, of sigma(z_i) for "xor" and of z_i for "cells", whose activation is
    applied last, with a row of ones.
    """
    if not 1 <= starts <= 64 or not 0.0 < change < horizon <= 64.0 or not 2 <= layers <= 4096:
        raise ValueError(
            f"starts must be from 1 to 64, change in (0, horizon), horizon <= 64, layers from 2 to "
            f"4096, got {starts}, {change}, {horizon}, {layers}"
        )
    if not all(2 <= n <= 64 and (data == "xor" or n % 2 == 0) for n in (first, then)):
        raise ValueError(f"widths must be from 2 to 64, even for cells, got {first} and {then}")
    widths, changes = ([first], []) if first == then else ([first, then], [change])
    problem = posed(data, widths, changes, TimeMesh(horizon, layers), strength)
    method = LBFGS(gtol=1e-6, max_iterations=3000)
    ends = descents(problem, method, starts, seed)
    best = min(ends, key=lambda end: end.objective)
    hits = sum(end.objective < best.objective + SAME for end in ends)
    network, readout = problem.network, problem.readout
    if not isinstance(network, Staged) or not isinstance(readout, Stagewise):
        raise TypeError("the problem was not made by `posed`")
    runs = integrate_stages(network, best.control, problem.initial, RK4(), save="layers")
    times, error, least = [], [], []
    for s, run in enumerate(runs):
        for t, z in zip(run.trajectory.times, run.trajectory.states, strict=True):
            output = readout.parts[s].output(network.stages[s], z, {})
            features = np.vstack([np.tanh(z) if data == "xor" else z, np.ones(z.shape[1])])
            values = np.linalg.svd(features, compute_uv=False)
            times.append(t)
            error.append(float(np.mean((output - problem.target) ** 2)))
            least.append(float(values[-1]) if len(values) == z.shape[1] else 0.0)
    return xr.Dataset(
        {
            "objective": described("objective", best.objective, "1", "least J found"),
            "hits": described("hits", hits, "1", "starts that reached it"),
            "work": described("work", work(problem), "1", "multiplications of one run"),
            "error": described("error", error, "1", "training error", ("time",)),
            "least": described("least", least, "1", "least singular value", ("time",)),
        },
        coords={"time": ("time", times, {"units": "time", "long_name": "t"})},
        attrs={"status": best.status.name.lower()},
    )
