"""Phase portraits of training: two scalar weights, and a double network with shared weights."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from pydantic import Field

from continuum import Control, LearningProblem, TimeMesh
from solvers import (
    DOP853,
    EverySteps,
    FixedStep,
    GradientFlow,
    Monitor,
    Snapshot,
    Status,
    discretize,
    gradient_flow,
    integrate,
    minimize,
)
from solvers.linear_networks import deep_linear
from solvers.planar.fields import lattice, linearized
from solvers.planar.separatrices import manifolds

from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure
from ..shared import described
from .claims.common import PAPER

LAYERS = 2
SIDE = 2.2
"""Weights from -SIDE to SIDE are drawn."""
BOX = (-SIDE, SIDE, -SIDE, SIDE)
STARTS = np.array([[1.0, 1.0], [1.8, 0.4]]).T
"""(2, 2), one per column: the identity, and a start that is out of balance."""
AROUND = np.array([1.9, 2.6, 4.1, 5.3])
"""Angles at which further trajectories of the flow begin, on a circle of radius 2."""
FRACTIONS = (0.1, 0.8, 1.1)
"""Of the largest step with which any minimum is stable."""
STEPS, LAST = 400, 20
"""Of descent: iterations, at most, and how many are drawn where the step is too large."""
POINTS = 241


class Training:
    """The flow of two weights x, as a planar network in x - 1.

    "single"  J = (w2 w1 - lambda)^2 / 2, x = (w1, w2)
    "double"  both layers of each part the same, J = (w^2 - z^2 - lambda)^2 / 2, x = (w, z): static
              blocks.  The derivative in such a block is the sum over the L layers, each of which
              has the same, so its flow is `rate` = L times as fast as that of the network with
              free layers, started at equal ones, and its steps are L times as long
    """

    def __init__(self, network: str, target: float) -> None:
        problem = deep_linear(target, LAYERS, double=network == "double")
        self.rate = 1.0
        if network == "double":
            problem, self.rate = shared_layers(problem), float(LAYERS)
        self.problem, self.objective = problem, discretize(problem)
        self.flow: GradientFlow = gradient_flow(self.objective)

    def control(self, x: np.ndarray) -> Control:
        """The control at x (2,)."""
        return self.problem.space.unflatten(x - 1.0)

    def velocity(self, x: np.ndarray) -> np.ndarray:
        """(2, M): dx/dt of the network with free layers, at x (2, M)."""
        return self.flow.velocity(x - 1.0, {}, 0.0) / self.rate

    def sharpness(self, x: np.ndarray) -> np.ndarray:
        """(M,): the largest eigenvalue of the Hessian of the network with free layers, at points x
        (2, M) with J = 0, where its eigenvector has equal layers too.
        """
        return -np.linalg.eigvalsh(linearized(self.flow, {}, 0.0, x - 1.0)[1])[:, 0] / self.rate

    def paths(self, starts: np.ndarray, horizon: float, count: int) -> np.ndarray:
        """(count, 2, M): trajectories of the flow."""
        times = np.linspace(0.0, horizon / self.rate, count)
        control = self.flow.control(TimeMesh(horizon / self.rate, 1))
        method = DOP853(rtol=1e-10, atol=1e-12)
        run = integrate(self.flow, control, starts - 1.0, method, save=times)
        return run.trajectory.states + 1.0

    def separatrices(self) -> list[tuple[bool, np.ndarray]]:
        """Those of the saddle 0: (whether it is stable, its path (2, S)), four of them."""
        box = (-SIDE - 1.0, SIDE - 1.0, -SIDE - 1.0, SIDE - 1.0)
        found = manifolds(self.flow, {}, 0.0, np.full(2, -1.0), box)
        return [(stable, path + 1.0) for stable, path in found]

    def descend(self, start: np.ndarray, step: float) -> tuple[np.ndarray, Status]:
        """((K, 2), how it ended): the iterates of descent with this step."""
        kept: list[np.ndarray] = []

        def keep(snapshot: Snapshot) -> bool:
            kept.append(snapshot.state + 1.0)
            return False

        method = FixedStep(step / self.rate, gtol=1e-8, max_iterations=STEPS)
        run = minimize(
            self.objective,
            method,
            initial=self.control(start),
            monitors=[Monitor(keep, EverySteps(1))],
            raise_on_failure=False,
        )
        return np.array(kept), run.status


def shared_layers(problem: LearningProblem) -> LearningProblem:
    """The same with one matrix for all layers of a part: blocks that are static."""
    controls = problem.network.controls(
        problem.mesh, in_time="static", fixed=dict.fromkeys(problem.space.fixed, 0.0)
    )
    return replace(problem, controls=controls)


def kept_by_flow(network: str, x: np.ndarray) -> np.ndarray:
    """(M,): w2^2 - w1^2, or w z, of points x (2, M): constant along the flow."""
    return x[1] ** 2 - x[0] ** 2 if network == "single" else x[0] * x[1]


def minima(network: str, target: float) -> np.ndarray:
    """(2, S, 2): the two branches of the curve J = 0."""
    s, size = np.linspace(-2.2, 2.2, 201), np.sqrt(abs(target))
    if network == "single":
        branch = size * np.array([np.exp(s), np.sign(target) * np.exp(-s)])
    else:
        branch = size * np.array([np.cosh(s), np.sinh(s)])
        branch = branch if target > 0 else branch[::-1]
    return np.stack([branch.T, -branch.T])


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    ranked = sorted(cases, key=lambda case: (-_target(case), not _single(case)))
    rows = (len(ranked) + 1) // 2
    figure, axes = new_figure(rows, min(2, len(ranked)), width=10.6, height=0.9 + 4.9 * rows)
    for ax in axes.flat[len(ranked) :]:
        ax.set_visible(False)
    for case, ax in zip(ranked, axes.flat, strict=False):
        _panel(case, ax)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    drift = max(float(case["drift"]) for case in ranked)
    caption = (
        "Gradient flow (grey; black from a few starts) of J = (w2 w1 - lambda)^2 / 2 and, with "
        "both layers of each part alike, of (w^2 - z^2 - lambda)^2 / 2; pale: the conserved w2^2 - "
        f"w1^2 and w z, which the trajectories keep to {drift:.0e}. Green: the minima, solid where "
        f"they are stable for steps of {FRACTIONS[1]:g} delta_max, delta_max = 2 / (L |lambda|) "
        "the step beyond which none is. Descent, with the step in brackets as a part of "
        "delta_max: " + " ".join(map(_outcome, ranked))
    )
    return [Picture("training_portrait", caption, figure)]


def _single(case: xr.Dataset) -> bool:
    return case_parameters(case)["network"] == "single"


def _target(case: xr.Dataset) -> float:
    return float(case_parameters(case)["target"])


def _outcome(case: xr.Dataset) -> str:
    """What became of the runs, in words."""
    words = []
    for m, start in enumerate(STARTS.T):
        ends = [
            f"{_end(str(how), run)} ({fraction:g})"
            for fraction, how, run in zip(
                FRACTIONS,
                case["run_status"].values[:, m],
                case["run"].values[:, m],
                strict=True,
            )
        ]
        words.append(f"from ({start[0]:g}, {start[1]:g}) {', '.join(ends)}")
    kind = "single" if _single(case) else "double"
    return f"{kind.capitalize()}, lambda = {_target(case):g}: {'; '.join(words)}."


def _end(how: str, run: np.ndarray) -> str:
    if how == "non finite objective":
        return "diverges"
    if how != "converged":
        return how
    a, b = np.round(run[np.isfinite(run).all(axis=1)][-1], 3) + 0.0
    return "to the saddle" if a == b == 0.0 else f"to ({a:g}, {b:g})"


def _panel(case: xr.Dataset, ax: Axes) -> None:
    single = _single(case)
    grid = case["weight"].values
    ax.streamplot(
        grid,
        grid,
        *case["velocity"].values,
        color="#BBBBBB",
        linewidth=0.6,
        density=1.1,
        arrowsize=0.7,
    )
    paths = case["path"].values
    fine = np.linspace(-SIDE, SIDE, POINTS)
    field = kept_by_flow(str(case_parameters(case)["network"]), lattice(BOX, POINTS))
    levels = np.unique(np.round(case["conserved"].values, 9))
    ax.contour(
        fine,
        fine,
        field.reshape(POINTS, POINTS),
        levels=levels,
        colors=SKY,
        linewidths=4,
        linestyles="solid",
        alpha=0.4,
    )
    name = "conserved along the flow"
    ax.plot([], [], color=SKY, linewidth=4, alpha=0.4, label=name)
    for m, path in enumerate(paths):
        ax.plot(*path.T, color=BLACK, linewidth=1.0, label=None if m else "gradient flow")
    for k, stable in enumerate(case["separatrix_stable"].values):
        text = f"{'stable' if stable else 'unstable'} separatrix of the saddle"
        seen = any(case["separatrix_stable"].values[:k] == stable)
        color = BLUE if stable else VERMILION
        ax.plot(*case["separatrix"].values[k].T, color=color, label=None if seen else text)
    ax.plot(
        0.0, 0.0, "X", color=BLACK, markeredgecolor="white", markersize=10, zorder=9, label="saddle"
    )
    least = 2.0 / (FRACTIONS[1] * float(case["largest_step"]))
    for k, (branch, sharp) in enumerate(
        zip(case["minima"].values, case["minima_sharpness"].values, strict=True)
    ):
        flat = np.where((sharp < least)[:, None], branch, np.nan)
        text = f"minima, stable for {FRACTIONS[1]:g} $\\delta_{{max}}$"
        ax.plot(*flat.T, color=GREEN, linewidth=3.0, label=None if k else text)
        other = None if k else "minima, not stable for it"
        ax.plot(*branch.T, color=GREEN, linewidth=1.4, linestyle="--", label=other)
    for k, (fraction, color, marker) in enumerate(
        zip(FRACTIONS, (BLACK, ORANGE, PURPLE), ("o", "s", "^"), strict=True)
    ):
        for m, run in enumerate(case["run"].values[k]):
            made = run[np.isfinite(run).all(axis=1)]
            text = f"descent, {fraction:g} $\\delta_{{max}}$"
            if fraction > 1.0:
                made, text = made[-LAST:], f"{text}, last {LAST} iterates"
            ax.plot(
                *made.T,
                marker=marker,
                color=color,
                markersize=3.5 if k == 0 else 5.5,
                markeredgecolor="white",
                markeredgewidth=0.4,
                linewidth=0.7 if fraction <= 1.0 else 0.0,
                zorder=4 + k,
                label=None if m else text,
            )
    ax.plot(
        *STARTS, "o", color="none", markeredgecolor=BLACK, markersize=11, label="start of descent"
    )
    ax.set_xlim(-SIDE, SIDE)
    ax.set_ylim(-SIDE, SIDE)
    ax.set_aspect("equal")
    ax.set_xlabel("weight $w_1$" if single else "weight $w$ of both layers")
    ax.set_ylabel("weight $w_2$" if single else "weight $z$ of both layers")
    form = "w_2 w_1" if single else "w^2 - z^2"
    ax.set_title(f"{'single' if single else 'double'}: ${form} \\to {_target(case):g}$")


@study(
    "nar_sastry/training_portrait",
    paper=PAPER,
    figure="Propositions 1 and 3, (9)",
    plot=_plot,
    cases=[{"network": ["single", "double"], "target": [1.5, -1.5]}],
)
def training_portrait(
    network: Literal["single", "double"] = "double",
    target: Annotated[float, Field(ge=-2.0, le=2.0)] = -1.5,
    grid: Annotated[int, Field(ge=11, le=101)] = 41,
) -> xr.Dataset:
    """Where two weights go in training: a curve of minima, a saddle at 0, and what the flow keeps.

    The flow of (w1, w2) for J = (w2 w1 - lambda)^2 / 2, and of a double network's (w, z) for J =
    (w^2 - z^2 - lambda)^2 / 2, both layers of each part alike: a subspace that the flow of the free
    layers does not leave.  Times and steps are those of the free layers.

    velocity: of the flow, on a grid of weights; path: its trajectories; conserved, drift: w2^2 -
    w1^2 or w z at their starts, and its largest change; limit, limit_sharpness: where those from
    the starts of the runs are in the end; minima, minima_sharpness: the curve J = 0 and the
    largest eigenvalue of the Hessian there; largest_step: 2 over the least of these; separatrix:
    of the saddle 0; run, run_status: iterates of descent with fractions of the largest step, NaN
    after the last, and how they ended (a converged one is stationary, which the saddle is too).
    """
    if abs(target) < 0.2:
        raise ValueError(f"|target| must be at least 0.2, got {target}")
    training = Training(network, target)
    x = np.linspace(-SIDE, SIDE, grid)
    speed = training.velocity(lattice(BOX, grid)).reshape(2, grid, grid)
    circle = 2.0 * np.array([np.cos(AROUND), np.sin(AROUND)])
    starts = np.hstack([STARTS, circle])
    paths = training.paths(starts, 12.0, 401)
    values = kept_by_flow(network, paths.transpose(1, 0, 2).reshape(2, -1)).reshape(401, -1)
    curve = minima(network, target)
    sharp = np.stack([training.sharpness(branch.T) for branch in curve])
    largest = 2.0 / float(sharp.min())
    sides = training.separatrices()
    runs, ends = _runs(training, largest)
    limit = paths[-1, :, : STARTS.shape[1]]
    return xr.Dataset(
        {
            "velocity": described(
                "velocity", speed, "1/time", "dw/dt", ("axis", "second", "first")
            ),
            "path": described(
                "path", paths.transpose(2, 0, 1), "1", "trajectories", ("from", "time", "axis")
            ),
            "conserved": described("conserved", values[0], "1", "conserved", ("from",)),
            "drift": described(
                "drift", float(np.abs(values - values[0]).max()), "1", "largest change of it"
            ),
            "limit": described("limit", limit.T, "1", "end of the flow", ("start", "axis")),
            "limit_sharpness": described(
                "limit_sharpness", training.sharpness(limit), "1", "sharpness there", ("start",)
            ),
            "minima": described("minima", curve, "1", "J = 0", ("branch", "along", "axis")),
            "minima_sharpness": described(
                "minima_sharpness", sharp, "1", "sharpness", ("branch", "along")
            ),
            "largest_step": described("largest_step", largest, "1", "largest stable step"),
            "separatrix": described(
                "separatrix",
                np.stack([_even(path.T) for _, path in sides]),
                "1",
                "separatrix of 0",
                ("side", "piece", "axis"),
            ),
            "separatrix_stable": described(
                "separatrix_stable", [stable for stable, _ in sides], "1", "is stable", ("side",)
            ),
            "run": described("run", runs, "1", "iterates", ("fraction", "start", "step", "axis")),
            "run_status": described("run_status", ends, "1", "end", ("fraction", "start")),
        },
        coords={
            "weight": ("weight", x, {"units": "1", "long_name": "weight"}),
            "fraction": (
                "fraction",
                list(FRACTIONS),
                {"units": "1", "long_name": "step / largest"},
            ),
        },
    )


def _even(path: np.ndarray, count: int = 400) -> np.ndarray:
    """(count, 2): a path (S, 2) at so many of its points, evenly by their number."""
    at = np.linspace(0.0, len(path) - 1.0, count)
    return np.stack([np.interp(at, np.arange(len(path)), c) for c in path.T], axis=1)


def _runs(training: Training, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """The iterates of all runs, NaN after the last, and how each ended."""
    runs = np.full((len(FRACTIONS), STARTS.shape[1], STEPS + 1, 2), np.nan)
    ends = np.empty(runs.shape[:2], dtype=object)
    for k, fraction in enumerate(FRACTIONS):
        for m, start in enumerate(STARTS.T):
            found, status = training.descend(start, fraction * largest)
            runs[k, m, : len(found)] = found
            ends[k, m] = status.name.lower().replace("_", " ")
    return runs, ends.astype(str)
