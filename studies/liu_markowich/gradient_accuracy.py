"""Two gradients: of the discrete objective, and of the continuous one, discretized; their errors
and what they do.
"""

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from continuum import (
    Control,
    ControlSpace,
    LearningProblem,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
)
from solvers import LBFGS, ReducedObjective, continuous_adjoint, discretize, minimize

from ..bench.parameters import Count, Doublings, NonNegative
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLUE, GREEN, ORANGE, VERMILION, new_figure
from ..shared import STEPPERS, UNIT, described, doubled, last_order, order_triangles
from .paper import PAPER

Problem: TypeAlias = Literal["scalar", "rank one"]
Method: TypeAlias = Literal["Euler", "Heun", "RK4", "implicit midpoint"]
KINDS = {"discrete": "discretise, then optimise", "continuous": "optimise, then discretise"}
COLORS = {"Euler": BLUE, "Heun": VERMILION, "RK4": GREEN, "implicit midpoint": ORANGE}
POINTS, WEIGHTS = np.polynomial.legendre.leggauss(5)


def scalar_bias(y: np.ndarray, t: float) -> np.ndarray:
    """D_a J along LM-01 (LM-44): f(1) e^(2t) / ((e^(2t) + S^2) (e^2 + S^2))^(1/2), S = sinh 1."""
    s = np.sinh(1.0) ** 2
    final = exact.scalar_decay.solution(y, 1.0)
    return final * np.exp(2 * t) / np.sqrt((np.exp(2 * t) + s) * (np.exp(2.0) + s))


def closed_form(name: Problem, space: ControlSpace, nodes: np.ndarray) -> Control:
    """The gradient of the continuous J, averaged over each layer: what a gradient of constants on
    layers tends to.
    """
    case = exact.scalar_decay if name == "scalar" else exact.rank_one
    of_bias: Callable[[np.ndarray, float], np.ndarray] = (
        scalar_bias if name == "scalar" else exact.rank_one_costate
    )
    bias, kernel = [], []
    for left, right in zip(space.mesh.nodes[:-1], space.mesh.nodes[1:], strict=True):
        times = 0.5 * (left + right) + 0.5 * (right - left) * POINTS
        rows = [(of_bias(nodes, float(t)), case.solution(nodes, float(t))) for t in times]
        bias.append(sum(0.5 * w * p for w, (p, _) in zip(WEIGHTS, rows, strict=True)))
        kernel.append(
            sum(-0.5 * w * p[:, None] * f for w, (p, f) in zip(WEIGHTS, rows, strict=True))
        )
    return space.sample(bias=np.array(bias), kernel=np.array(kernel))


class Inexact:
    """The discrete objective with the gradient of the continuous one: not the gradient of its
    values.
    """

    def __init__(self, objective: ReducedObjective) -> None:
        self.objective, self.space = objective, objective.space

    def value(self, control: Control) -> float:
        """The discrete J."""
        return self.objective.value(control)

    def value_and_gradient(self, control: Control) -> tuple[float, Control]:
        """The discrete J, and a gradient that is not its own."""
        return self.value(control), continuous_adjoint(
            self.objective.problem, control, self.objective.stepper
        )

    def hvp(self, control: Control, direction: Control) -> Control:
        """That of the discrete J."""
        return self.objective.hvp(control, direction)


def descents(
    problem: LearningProblem, method: Method, count: int
) -> dict[str, tuple[np.ndarray, str]]:
    """J less its minimum by iteration, NaN after the end, and how the run ended, with either
    gradient.
    """
    objective = discretize(problem, STEPPERS[method])
    best = minimize(
        objective, LBFGS(gtol=1e-12, max_iterations=500), raise_on_failure=False
    ).objective
    found = {}
    for kind, given in (("discrete", objective), ("continuous", Inexact(objective))):
        run = minimize(given, LBFGS(gtol=1e-8, max_iterations=count - 1), raise_on_failure=False)
        values = np.full(count, np.nan)
        values[: len(run.history["objective"])] = run.history["objective"] - best
        found[kind] = (values, run.status.name)
    return found


def _errors(ax: Axes, cases: Sequence[xr.Dataset], kind: str) -> list[str]:
    curves, notes = [], []
    for case, marker in zip(cases, cycle("osD^"), strict=False):
        method = str(case_parameters(case)["method"])
        sizes, errors = case["layers"].values, case[f"{kind}_error"].values
        shown = errors > 0
        ax.loglog(
            sizes[shown],
            errors[shown],
            marker=marker,
            color=COLORS[method],
            label=method,
            alpha=0.85,
        )
        curves.append((sizes, errors))
        notes.append(f"{method} {last_order(sizes, errors):.2f}")
    order_triangles(ax, [c for c in curves if np.isfinite(last_order(*c))])
    ax.set_ylim(bottom=ax.get_ylim()[0] / 4)
    ax.set_xlabel("layers")
    ax.grid(True)
    return notes


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for name in dict.fromkeys(str(case_parameters(case)["problem"]) for case in cases):
        mine = [case for case in cases if case_parameters(case)["problem"] == name]
        figure, axes = new_figure(1, 3, width=12.0, height=4.3)
        texts = []
        for ax, kind, title in zip(
            axes[0],
            ("discrete", "continuous", "mutual"),
            (*KINDS.values(), "the two, apart"),
            strict=True,
        ):
            notes = _errors(ax, mine, kind)
            ax.set_title(title)
            far = (
                "distance of the two gradients"
                if kind == "mutual"
                else "error of the gradient, $L^2$"
            )
            ax.set_ylabel(far)
            texts.append(f"{title}: {', '.join(notes)}")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        caption = (
            f"{name}: gradients in bias and kernel against the closed form. Orders "
            f"observed: {'; '.join(texts)}."
        )
        pictures.append(Picture(f"errors_{name.replace(' ', '_')}", caption, figure))
    figure, axes = new_figure(1, 1, width=8.4, height=4.3)
    ax, notes = axes[0, 0], []
    for case in (case for case in cases if case_parameters(case)["problem"] == "scalar"):
        method = str(case_parameters(case)["method"])
        for (kind, title), line in zip(KINDS.items(), ("o-", "s--"), strict=True):
            values = case[f"{kind}_descent"].values
            ended = str(case[f"{kind}_descent"].attrs["ended"]).lower().replace("_", " ")
            shown = np.where(values > 1e-16, values, np.nan)
            label = f"{method}, {title.split(',')[0]} first"
            ax.semilogy(
                shown,
                line,
                markersize=3.5,
                linewidth=1.2,
                color=COLORS[method],
                label=label,
                alpha=0.85,
            )
            left = max(float(values[np.isfinite(values)][-1]), 0.0)
            notes.append(f"{method}, {title}: {ended} at J - min J = {left:.1e}")
    ax.set_xlabel("iteration of L-BFGS")
    ax.set_ylabel("$J - \\min J$ of the discrete objective")
    ax.grid(True)
    if notes:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        caption = (
            "The same descent with either gradient, on the coarsest mesh. " + "; ".join(notes) + "."
        )
        pictures.append(Picture("descent", caption + " Values below 1e-16 are left out.", figure))
    return pictures


@study(
    "liu_markowich/gradient_accuracy",
    paper=PAPER,
    figure="Section 4.1",
    plot=_plot,
    cases=[
        {"problem": ["scalar", "rank one"], "method": ["Euler", "Heun", "RK4", "implicit midpoint"]}
    ],
)
def gradient_accuracy(
    problem: Problem = "scalar",
    method: Method = "Euler",
    coarsest: Count = 10,
    doublings: Doublings = 4,
    strength: NonNegative = 0.01,
    iterations: Count = 60,
) -> xr.Dataset:
    """Discretise then optimise, or optimise then discretise: how far are the gradients off, and
    does it matter?

    D_a J = sigma'(u) p and D_b J = -sigma'(u) p(y) f(z), with p_t = B*(sigma'(u) p), p(T) = f(T),
    for J = |f(T)|^2 / 2 along "scalar", f' = -tanh f from 1 (LM-44), and "rank one", f' = 1 - e^y
    int e^(-z) f (LM-43), T = 1; compared with their means over layers.  The one gradient
    differentiates the steps of the method, the other solves for p by the same method on its own:
    both have its order, and only the first is the gradient of a function.

    discrete_error, continuous_error, mutual_error: distances in L^2 of both gradients from the
    closed form and from each other; ..._order: observed last. discrete_descent, continuous_descent
    (only for "scalar"): J - min J by iteration of L-BFGS on the coarsest mesh, target 2, with the
    penalty strength |(a, b)|^2 added and either gradient.
    """
    if strength <= 0 or iterations < 2:
        raise ValueError(
            f"strength must be > 0 and iterations >= 2, got {strength} and {iterations}"
        )
    case = exact.scalar_decay if problem == "scalar" else exact.rank_one
    grid = gauss_legendre(UNIT, 1 if problem == "scalar" else 8)
    network, initial = WidthDepth(grid, case.activation), grid.sample(case.initial)
    sizes, rows = doubled(coarsest, doublings), []
    for layers in sizes:
        posed = LearningProblem(network, initial, np.zeros_like(initial), TimeMesh(1.0, layers))
        space = posed.space
        control = space.sample(bias=case.bias, kernel=case.kernel)
        one = discretize(posed, STEPPERS[method]).gradient(control)
        other = continuous_adjoint(posed, control, STEPPERS[method])
        true = closed_form(problem, space, grid.coordinates)
        rows.append([space.norm(one - true), space.norm(other - true), space.norm(one - other)])
    errors = dict(zip(("discrete", "continuous", "mutual"), np.array(rows).T, strict=True))
    names = {
        "discrete": "exact for the discrete J",
        "continuous": "of the continuous J",
        "mutual": "both, apart",
    }
    found = {}
    for kind, values in errors.items():
        found[f"{kind}_error"] = described(
            f"{kind}_error", values, "1", f"gradient {names[kind]}: error", ("layers",)
        )
        found[f"{kind}_order"] = described(
            f"{kind}_order", last_order(sizes, values), "1", "order observed last"
        )
    if problem == "scalar":
        posed = LearningProblem(
            network,
            initial,
            np.full_like(initial, 2.0),
            TimeMesh(1.0, coarsest),
            penalty=Tikhonov(strength),
        )
        for kind, (values, ended) in descents(posed, method, iterations).items():
            path = described(f"{kind}_descent", values, "1", "J less its minimum", ("iteration",))
            found[f"{kind}_descent"] = path.assign_attrs(ended=ended)
    return xr.Dataset(
        found, coords={"layers": ("layers", sizes, {"units": "1", "long_name": "number of layers"})}
    )
