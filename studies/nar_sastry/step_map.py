"""What gradient descent does with a step, against the step that the sharpness predicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch

from continuum import Control
from solvers import FixedStep, Status, minimize
from solvers.linear_networks import (
    ProductObjective,
    as_control,
    deep_linear,
    disproportionate_factors,
    linear_start,
    monotone_step,
    product_sharpness,
    root_factors,
    step_bound,
)

from ..bench.parameters import Count, Doublings, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, ORANGE, PURPLE, SKY, VERMILION, YELLOW, new_figure
from ..shared import described
from .paper import PAPER

Axis: TypeAlias = Literal["depth", "imbalance"]
Target: TypeAlias = Literal["scalar", "matrix"]

TARGETS = {"scalar": np.array([[2.0]]), "matrix": np.array([[1.2, 0.3], [0.3, 0.6]])}
NEAR, AWAY = 1e-6, 1e-4
"""Where runs near an equilibrium start, and from where on they have left it, relative to it."""
GTOL = 1e-10
"""Runs have converged when the gradient is at most this long."""
DEPTHS, DEPTH = tuple(range(2, 13)), 5
KAPPAS = tuple(np.geomspace(1.0, 3.0, 17).tolist())
"""The columns of both maps; depth of the factors out of proportion."""


class Outcome(IntEnum):
    """How a run ended, seen from the equilibrium W* that it is asked about."""

    HERE = 0
    ELSEWHERE = 1
    PERIOD_TWO = 2
    BOUNDED = 3
    NOT_YET = 4
    SADDLE = 5
    DIVERGED = 6


WORDS = {
    Outcome.HERE: "converged to $W^*$",
    Outcome.ELSEWHERE: "converged to another minimum",
    Outcome.PERIOD_TWO: "period two",
    Outcome.BOUNDED: "bounded, no end yet",
    Outcome.NOT_YET: "not yet, near $W^*$",
    Outcome.SADDLE: "converged to a saddle",
    Outcome.DIVERGED: "diverged",
}
COLORS = (SKY, BLUE, ORANGE, PURPLE, "#DDDDDD", YELLOW, VERMILION)


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a map: W* and the objective around it.

    start : where runs begin;  critical : 2 / sharpness of W*;  bound : of all equilibria;  proved :
        up to this step a theorem has the run converge to W*, NaN if none does
    """

    objective: ProductObjective
    factors: np.ndarray
    start: Control
    critical: float
    bound: float
    proved: float

    def run(self, step: float, iterations: int) -> tuple[Outcome, bool]:
        """The outcome of so many steps at most, and whether the last iterate is away from W*."""
        method = FixedStep(step, gtol=GTOL, max_iterations=iterations)
        run = minimize(self.objective, method, initial=self.start, raise_on_failure=False)
        here = as_control(self.objective.problem, self.factors)
        far = self.objective.space.norm(run.control - here)
        away = far > AWAY * float(np.linalg.norm(self.factors))
        if run.status is Status.NON_FINITE_OBJECTIVE:
            return Outcome.DIVERGED, True
        if run.status is Status.PERIOD_TWO:
            return Outcome.PERIOD_TWO, True
        if run.status is not Status.CONVERGED:
            return (Outcome.BOUNDED if away else Outcome.NOT_YET), away
        if run.objective > GTOL:  # a stationary point that is no factorisation is a saddle
            return Outcome.SADDLE, True
        return Outcome.ELSEWHERE if away else Outcome.HERE, away

    def bracket(self, iterations: int, halvings: int) -> tuple[float, float]:
        """(s1, s2): the run with s1 converges to W*, that with s2 leaves it, each found by halving
        [0.8, 1.25] of the critical step; of runs in between so many iterations decide nothing.

        raises ValueError where an end of the interval is not as expected
        """
        ends = 0.8 * self.critical, 1.25 * self.critical
        if (
            self.run(ends[0], iterations)[0] is not Outcome.HERE
            or not self.run(ends[1], iterations)[1]
        ):
            raise ValueError(f"no change between the steps {ends[0]:.6g} and {ends[1]:.6g}")
        found = []
        for which in (0, 1):
            low, high = ends
            for _ in range(halvings):
                middle = 0.5 * (low + high)
                outcome, away = self.run(middle, iterations)
                stays = outcome is Outcome.HERE if which == 0 else not away
                low, high = (middle, high) if stays else (low, middle)
            found.append((low, high)[which])
        return found[0], found[1]


def column(axis: Axis, target: np.ndarray, layers: int, kappa: float, seed: int) -> Column:
    """From the identity, to the root, for "depth"; else from near to the disproportionate
    factors.
    """
    problem = deep_linear(target, layers)
    bound = step_bound(target, layers)
    if axis == "depth":
        factors, start = root_factors(target, layers), linear_start(problem)
        proved = min(monotone_step(float(lam), layers) for lam in np.linalg.eigvalsh(target))
    else:
        factors, proved = disproportionate_factors(target, layers, kappa), np.nan
        away = np.random.default_rng(seed).standard_normal(factors.shape)
        away *= NEAR * np.linalg.norm(factors) / np.linalg.norm(away)
        start = as_control(problem, factors + away)
    critical = 2.0 / product_sharpness(factors)
    return Column(ProductObjective(problem), factors, start, critical, bound, proved)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    axes_of = list(dict.fromkeys(str(case_parameters(case)["axis"]) for case in cases))
    targets = list(dict.fromkeys(str(case_parameters(case)["target"]) for case in cases))
    rows, columns = len(axes_of), len(targets)
    figure, axes = new_figure(rows, columns, width=5.0 * columns, height=3.7 * rows + 0.8)
    for case in cases:
        values = case_parameters(case)
        ax = axes[axes_of.index(str(values["axis"])), targets.index(str(values["target"]))]
        _draw(ax, case, str(values["axis"]), str(values["target"]))
    handles, labels = axes[0][0].get_legend_handles_labels()
    patches = [Patch(color=COLORS[kind], label=word) for kind, word in WORDS.items()]
    figure.legend(
        handles=[*handles, *patches],
        labels=[*labels, *WORDS.values()],
        loc="outside lower center",
        ncols=4,
        frameon=False,
    )
    return [Picture("step_map", " ".join(_caption(cases).split()), figure)]


def _draw(ax: Axes, case: xr.Dataset, axis: str, target: str) -> None:
    x, y = case["column"].values, case["step"].values
    edges = np.arange(len(DEPTHS) + 1) + 1.5 if axis == "depth" else _edges(x)
    ax.pcolormesh(
        edges,
        _edges(y),
        case["outcome"].values.T,
        cmap=ListedColormap(COLORS),
        norm=BoundaryNorm(np.arange(len(COLORS) + 1) - 0.5, len(COLORS)),
        rasterized=True,
    )
    look = {"color": BLACK, "linewidth": 1.4}
    ax.plot(x, case["critical"].values, "o-", ms=3, label="2 / sharpness of $W^*$", **look)
    ax.plot(x, case["bound"].values, ":", label="bound for every factorisation", **look)
    if axis == "depth":
        ax.plot(x, case["proved"].values, "--", label="proved to converge up to here", **look)
    else:
        ax.plot([], [], "--", label="proved to converge up to here", **look)
    ax.set_yscale("log")
    ax.set_ylim(float(_edges(y)[0]), float(_edges(y)[-1]))
    ax.set_xlabel(
        "depth L" if axis == "depth" else f"disproportion $\\kappa$ of the factors, L = {DEPTH}"
    )
    ax.set_ylabel("step $\\delta$")
    name = "R = 2" if target == "scalar" else "R symmetric, 2 x 2"
    begin = "from the identity" if axis == "depth" else "from near $W^*$"
    ax.set_title(f"{name}, {begin}")


def _edges(centres: np.ndarray) -> np.ndarray:
    """Between points that are even in the logarithm."""
    ratio = (centres[-1] / centres[0]) ** (0.5 / (len(centres) - 1))
    return np.append(centres / ratio, centres[-1] * ratio)


def _caption(cases: Sequence[xr.Dataset]) -> str:
    worst, silent = 0.0, []
    for case in cases:
        values = case_parameters(case)
        worst = max(worst, float(case["deviation"].max()))
        outcome, step = case["outcome"].values, case["step"].values[None]
        above = outcome[step > case["bound"].values[:, None]]
        low = "proved" if values["axis"] == "depth" else "critical"
        high = "critical" if values["axis"] == "depth" else "bound"
        inside = (step > case[low].values[:, None]) & (step < case[high].values[:, None])
        between = outcome[inside]
        counts = ", ".join(
            f"{np.sum(between == kind)} {word.replace('$', '').replace('^', '')}"
            for kind, word in WORDS.items()
            if kind in between
        )
        name = "R = 2" if values["target"] == "scalar" else "R 2 x 2"
        fits = int(np.sum((above == Outcome.HERE) | (above == Outcome.ELSEWHERE)))
        silent.append(
            f"{name}, by {values['axis']}: {counts}; above the bound {fits} of "
            f"{len(above)} converged to factors of R"
        )
    return (
        "What gradient descent does with a step.  By depth: from the identity, W* the root of R in "
        "every layer.  By imbalance: W* = (kappa, ..., kappa, kappa^(1-L)) times the root, from "
        f"{NEAR:g} |W*| away.  In every column converging to W* gives way to leaving it within "
        f"{worst:.2g} of 2 / sharpness, relative to it.  Between proved and critical step (by "
        "depth), and between critical step and bound (by imbalance), where most runs leave W* and "
        "theory does not say for what, the runs are: " + "; ".join(silent) + "."
    )


@study(
    "nar_sastry/step_map",
    paper=PAPER,
    figure="Propositions 1 and 2, Theorems 1 and 2",
    plot=_plot,
    cases=[{"axis": ["depth", "imbalance"], "target": ["scalar", "matrix"]}],
)
def step_map(
    axis: Axis = "depth",
    target: Target = "scalar",
    steps: Count = 60,
    iterations: Count = 4000,
    halvings: Doublings = 12,
    seed: Seed = 0,
) -> xr.Dataset:
    """Which steps converge, and is the critical step that of the sharpness (NS-01, NS-02)?

    W_L ... W_1 against R = 2, or R = [[1.2, 0.3], [0.3, 0.6]], Sigma = I.  "depth": L = 2, ..., 12
    from the identity, W* the root of R in every layer.  "imbalance": L = 5, W* = (kappa, ...,
    kappa, kappa^(1-L)) times the root, kappa = 1, ..., 3, from 1e-6 |W*| away.

    outcome: by column and step, 0 converged to W* (the gradient below 1e-10), 1 to other factors
    of R, 2 period two, 3 none of these and more than 1e-4 |W*| away from W* after so many
    iterations, 4 the same near W*, 5 converged to a saddle, 6 diverged; critical: 2 / sharpness of
    W*; bound: 2 / (L |R|_2^(2(L-1)/L)); proved: the longest step that Theorem 2, as corrected, has
    converge, NaN for imbalance; stays, leaves: a run with the first converges to W*, with the
    second it ends more than 1e-4 |W*| away, after three times as many iterations, each to 0.45 /
    2^halvings; deviation: the larger of |stays / critical - 1| and |leaves / critical - 1|.
    """
    if steps < 2 or iterations < 10 or halvings < 1:
        raise ValueError(
            f"steps must be >= 2, iterations >= 10 and halvings >= 1, got {steps}, {iterations} "
            f"and {halvings}"
        )
    matrix = TARGETS[target]
    places = DEPTHS if axis == "depth" else KAPPAS
    columns = [
        column(axis, matrix, int(x), 1.0, seed)
        if axis == "depth"
        else column(axis, matrix, DEPTH, float(x), seed)
        for x in places
    ]
    limits = np.array([(c.critical, c.bound, c.proved) for c in columns])
    tried = np.geomspace(0.3 * limits[:, 0].min(), 3.0 * limits[:, 1].max(), steps)
    outcome = [[c.run(step, iterations)[0] for step in tried.tolist()] for c in columns]
    brackets = np.array([c.bracket(3 * iterations, halvings) for c in columns])
    deviation = np.max(np.abs(brackets / limits[:, :1] - 1.0), axis=1)

    def along(name: str, values: np.ndarray, what: str) -> xr.DataArray:
        return described(name, values, "1", what, ("column",))

    return xr.Dataset(
        {
            "outcome": described(
                "outcome",
                np.array(outcome, dtype=int),
                "1",
                "how the run ended",
                ("column", "step"),
            ),
            "critical": along("critical", limits[:, 0], "2 / sharpness of W*"),
            "bound": along("bound", limits[:, 1], "2 / least sharpness of all factorisations"),
            "proved": along("proved", limits[:, 2], "longest step proved to converge"),
            "stays": along("stays", brackets[:, 0], "longest step seen to converge to W*"),
            "leaves": along("leaves", brackets[:, 1], "shortest step seen to leave W*"),
            "deviation": along("deviation", deviation, "of stays and leaves from critical"),
        },
        coords={"column": np.array(places, dtype=float), "step": tried},
    )
