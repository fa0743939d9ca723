"""A classifier with one control for all samples, against what each sample could have alone."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import xarray as xr
from annotated_types import Ge, Le
from matplotlib.axes import Axes

from continuum import Box, Control, LearningProblem, TimeMesh, WidthDepth, midpoint, tanh
from solvers import LBFGS, RK4, discretize, integrate, multistart
from solvers.hjb import (
    PerSampleBound,
    StateGrid,
    ValueFunction,
    lower_bound,
    optimality_gap,
    solve_hjb,
)

from ..bench.parameters import Count, Horizon, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import iris
from ..draw.figures import BLACK, BLUE, ORANGE, VERMILION, new_figure
from ..shared import UNIT, described
from .paper import PAPER

CLASSES = ("versicolor", "virginica")
MARKERS = ("o", "^")
LEVELS = (0.01, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Of V, that are drawn."""
ROOM = 0.02
"""States worse than V + ROOM do not count for a sample's bound, whatever ROOM is: it is a bound
all the same (see `lower_bound`).
"""


def flowers() -> tuple[np.ndarray, np.ndarray]:
    """Length and width of the petals of the two classes, (2, 100), centred and scaled to standard
    deviation 1, and labels 0, 1.
    """
    data = iris()
    known = data.labels >= 1
    x = data.inputs[known][:, 2:]
    return ((x - x.mean(axis=0)) / x.std(axis=0)).T, data.labels[known] - 1


def posed(
    states: np.ndarray, labels: np.ndarray, far: float, size: float, horizon: float, layers: int
) -> LearningProblem:
    """f' = tanh(a - Bf) on two nodes, |a|, |b| <= size; the unit of a sample's class is to reach
    `far`, the other one -far.
    """
    targets = np.where(np.arange(2)[:, None] == labels, far, -far)
    return LearningProblem(
        WidthDepth(midpoint(UNIT, 2), tanh),
        states,
        targets,
        TimeMesh(horizon, layers),
        admissible=Box(bias=(-size, size), kernel=(-size, size)),
    )


def trained(problem: LearningProblem, starts: int, seed: int) -> Control:
    """The best end of L-BFGS from several random controls."""
    ends = multistart(
        discretize(problem, RK4()),
        LBFGS(gtol=1e-5, max_iterations=500),
        starts,
        np.random.default_rng(seed),
    )
    found = [c.best for c in ends.clusters] + list(ends.failed.values())
    best = min(found, key=lambda solution: solution.objective)
    return problem.space.check("control", best.control)


def _contours(ax: Axes, case: xr.Dataset, k: int, color: str) -> None:
    near = case.sel(f_1=slice(-3.2, 3.2), f_2=slice(-3.2, 3.2))
    x, y = near["f_1"].values, near["f_2"].values
    drawn = ax.contour(x, y, near["value"].values[k].T, levels=LEVELS, cmap="viridis")
    at = 2.0 * np.sqrt(np.array(LEVELS[1:7]))  # far from the data
    places = [(2.4, y) if k == 0 else (-2.4, -y) for y in at]
    ax.clabel(drawn, fontsize=8, fmt="%.2g", inline_spacing=2, manual=places)
    labels, states = case["label"].values, case["state"].values
    ax.plot(*states[:, labels == k], MARKERS[k], color=color, markersize=4, label=CLASSES[k])
    ax.set_xlim(-3.2, 3.2)
    ax.set_ylim(-3.2, 3.2)
    ax.set_xlabel("length of petals, $f_1$, standardised")
    ax.set_ylabel("width of petals, $f_2$, standardised")
    ax.set_title(f"$V(\\cdot, 0)$ of {CLASSES[k]}")
    ax.legend(loc="lower right")


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for n, case in enumerate(cases):
        figure, axes = new_figure(1, 3, width=14.0, height=4.8)
        for k, color in enumerate((BLUE, VERMILION)):
            _contours(axes[0, k], case, k, color)
        ax = axes[0, 2]
        order = np.argsort(case["cost"].values)
        rank = np.arange(1, len(order) + 1)
        labels = case["label"].values[order]
        for k, color in enumerate((BLUE, VERMILION)):
            ax.plot(
                rank[labels == k],
                case["cost"].values[order][labels == k],
                MARKERS[k],
                color=color,
                markersize=4,
                label=f"trained, {CLASSES[k]}",
            )
        ax.plot(rank, case["own"].values[order], "x", color=ORANGE, markersize=4, label="$V$")
        ax.plot(
            rank, case["own_bound"].values[order], "_", color=BLACK, markersize=5, label="bound"
        )
        ax.set_xlabel("samples, by their cost")
        ax.set_ylabel("cost")
        ax.set_title("one control for all, and one for each")
        ax.legend(loc="upper left")
        ax.grid(True)
        objective, bound = float(case["objective"]), float(case["bound"])
        values = case_parameters(case)
        caption = (
            f"Irises of two species, two nodes: the trained control costs {objective:.4f} and puts "
            f"{float(case['accuracy']):.0%} of the samples into their class. If each sample might "
            f"choose its own control, it would cost {float(case['mean_value']):.4f} by the value "
            f"functions on {values['nodes']} nodes a side and {bound:.4f} at least, proved. The "
            f"bound is {bound / objective:.0%} of the trained cost: what of the rest is the price "
            "of sharing, and what of training, it does not tell."
        )
        pictures.append(
            Picture("classifier" if len(cases) == 1 else f"classifier_{n}", caption, figure)
        )
    return pictures


@study("liu_markowich/hjb_classifier", paper=PAPER, figure="Section 4.3", plot=_plot)
def hjb_classifier(
    far: float = 2.0,
    size: float = 2.0,
    horizon: Horizon = 2.0,
    layers: Count = 20,
    nodes: Count = 81,
    times: Count = 41,
    starts: Count = 6,
    per_class: Annotated[int, Ge(1), Le(50)] = 50,
    seed: Seed = 0,
) -> xr.Dataset:
    """The value functions of a classifier's two classes, its data on them, and the bound that they
    prove for a control that all samples share.

    f' = tanh(a - Bf), |a|, |b| <= size, from the standardised petals of irises: minimise the mean
    of |f(T) - target of the class|^2 / 4.  The Hamilton-Jacobi-Bellman equation is one sample's:
    its value lets every sample choose its own control.  The mean over samples is below the cost of
    any shared control, and how far below is the price of sharing.

    value : V(., 0) of both classes;  state, label : of the first `per_class` samples of each class
    cost, own, own_bound : of each sample, under the trained control, by V, and proved
    objective, mean_value, bound : their means;  accuracy : the share of samples
        whose unit is the larger one
    """
    if not 1 <= per_class <= 50 or starts < 1:
        raise ValueError(
            f"per_class must be from 1 to 50 and starts >= 1, got {per_class} and {starts}"
        )
    states, labels = flowers()
    chosen = np.concatenate([np.flatnonzero(labels == k)[:per_class] for k in (0, 1)])
    states, labels = states[:, chosen], labels[chosen]
    problem = posed(states, labels, far, size, horizon, layers)
    control = trained(problem, starts, seed)
    final = integrate(problem.network, control, states, RK4(), steps_per_layer=4).trajectory.final
    # velocities are at most 1: no sample leaves this box, and V needs no state beyond it
    edge = float(np.max(np.abs(states))) + 1.25 * horizon
    grid = StateGrid([(-edge, edge)] * 2, nodes)
    values = [solve_hjb(problem.batch([k * per_class]), grid, times=times) for k in (0, 1)]
    own = _own(values, states, labels)
    bound = lower_bound(problem, [values[k] for k in labels], (own + ROOM).tolist())
    if not isinstance(bound, PerSampleBound):
        raise TypeError("the bound of several samples is one of each")
    judged = optimality_gap(problem, control, bound)
    return xr.Dataset(
        {
            "value": described(
                "value", [v.values[0] for v in values], "1", "V at t = 0", ("species", "f_1", "f_2")
            ),
            "state": described("state", states, "1", "standardised petals", ("block", "sample")),
            "label": described("label", labels, "1", "class", ("sample",)),
            "cost": described(
                "cost",
                problem.functional.terminal_costs(final),
                "1",
                "under the trained control",
                ("sample",),
            ),
            "own": described("own", own, "1", "V of the sample", ("sample",)),
            "own_bound": described(
                "own_bound", [b.value for b in bound.bounds], "1", "proved", ("sample",)
            ),
            "objective": described("objective", judged.objective, "1", "J of the trained control"),
            "mean_value": described("mean_value", np.mean(own), "1", "mean of V"),
            "bound": described("bound", bound.value, "1", "proved bound of J"),
            "accuracy": described(
                "accuracy", np.mean(np.argmax(final, axis=0) == labels), "1", "share that is right"
            ),
        },
        coords={
            "f_1": ("f_1", grid.axes[0], {"units": "1", "long_name": "state of block 1"}),
            "f_2": ("f_2", grid.axes[1], {"units": "1", "long_name": "state of block 2"}),
        },
        attrs={"bound": str(bound), "gap": str(judged)},
    )


def _own(values: Sequence[ValueFunction], states: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """V of each sample, (M,)."""
    own = np.empty(len(labels))
    for k, value in enumerate(values):
        own[labels == k] = value(states[:, labels == k], 0.0)
    return own
