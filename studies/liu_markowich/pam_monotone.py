"""Proximal alternating minimization: the decrease it promises, and what it does."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from continuum import LearningProblem, TimeMesh, WidthDepth, gauss_legendre, identity
from solvers import RK4, NewtonCG, discretize, proximal_alternating

from ..bench.parameters import Count, Horizon, Positive
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, OKABE_ITO, new_figure
from ..shared import UNIT, described
from .paper import PAPER

Problem: TypeAlias = Literal["bias and kernel", "bias alone"]
LEAST = 1e-18


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for name in dict.fromkeys(str(case_parameters(case)["problem"]) for case in cases):
        mine = [case for case in cases if case_parameters(case)["problem"] == name]
        figure, axes = new_figure(1, 2, width=11.6, height=4.4)
        left, right = axes[0]
        notes = []
        for case, color, marker in zip(mine, OKABE_ITO, "osD^vP*X", strict=False):
            step = float(case_parameters(case)["step"])
            text = f"$\\tau$ = {step:g}"
            values, bound = case["objective"].values, case["bound"].values
            shown = np.where(values > LEAST, values, np.nan)
            left.semilogy(
                shown,
                marker=marker,
                markersize=4,
                linewidth=1.2,
                color=color,
                label=text,
                alpha=0.85,
            )
            if name == "bias alone":
                rate = 1.0 / (1.0 + step * float(case_parameters(case)["horizon"]))
                k = np.arange(len(values))
                predicted = values[0] * rate ** (2.0 * k)
                left.semilogy(
                    np.where(predicted > LEAST, predicted, np.nan), ":", color=BLACK, linewidth=1.0
                )
                notes.append(
                    f"tau = {step:g}: residual times {float(case['rate']):.6f}, theory {rate:.6f}"
                )
            else:
                notes.append(
                    f"tau = {step:g}: J = {values[1]:.6f} after one iteration, {values[-1]:.2g} "
                    f"at the end"
                )
            k = np.arange(1, len(values))
            moved = (values[:-1] - bound[1:]) / np.maximum(values[:-1] - values[1:], 1e-300)
            ok = (values[:-1] > LEAST) & (values[1:] > LEAST)
            right.plot(
                k[ok],
                moved[ok],
                marker=marker,
                markersize=4,
                linewidth=1.2,
                color=color,
                alpha=0.85,
            )
        left.set_xlabel("iteration $k$")
        left.set_ylabel("objective $J$")
        left.set_title(
            name + (", rates $(1 + \\tau T)^{-2}$ dotted" if name == "bias alone" else "")
        )
        left.grid(True)
        right.axhline(1.0, color=BLACK, linewidth=1.0, linestyle="--")
        right.set_ylim(0.0, 1.08)
        right.set_xlabel("iteration $k$")
        right.set_ylabel("promised decrease of $J$ over its decrease")
        right.set_title("the inequality holds below the dashed line")
        right.grid(True)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        worst = min(float(np.min(case["slack"].values[1:])) for case in mine)
        caption = (
            f"{name}: {'; '.join(notes)}. The promised decrease is |x - x_k|^2 / (2 tau); over "
            f"all iterations it is "
            f"exceeded by at least {worst:.1e}."
        )
        pictures.append(Picture(name.replace(" ", "_"), caption, figure))
    return pictures


@study(
    "liu_markowich/pam_monotone",
    paper=PAPER,
    figure="Section 5.1, Algorithm 1",
    plot=_plot,
    cases=[{"problem": ["bias and kernel", "bias alone"], "step": [0.25, 1.0, 4.0]}],
)
def pam_monotone(
    problem: Problem = "bias and kernel",
    step: Positive = 1.0,
    horizon: Horizon = 1.0,
    layers: Count = 16,
    iterations: Count = 12,
) -> xr.Dataset:
    """Algorithm 1 decreases J by |x - x_k|^2 / (2 tau) at least, for every tau; how much more?
    (LM-62, LM-63)

    x_k+1 minimises J + |x - x_k|^2 / (2 tau) over a, then over b.  "bias and kernel": f' = a - bf
    from 1 to 2, RK4, controls piecewise linear in time, from zero; "bias alone": f' = a from 0 to
    1, where the residual 1 - f(T) is multiplied by 1 / (1 + tau T) in each iteration.

    step: tau.  objective: J by iteration; after_bias: J after the step in a; bound: the most that
    the inequality allows J to be; slack: bound - J; rate: of the residual, in the last iteration
    above rounding.
    """
    if not (step > 0 and horizon > 0 and iterations >= 1):
        raise ValueError(
            f"step and horizon must be > 0, iterations >= 1, got {step}, {horizon}, {iterations}"
        )
    network, mesh = WidthDepth(gauss_legendre(UNIT, 1), identity), TimeMesh(horizon, layers)
    if problem == "bias alone":
        space, start = network.controls(mesh, fixed={"kernel": 0.0}), 0.0
    else:
        space, start = network.controls(mesh, in_time="nodes"), 1.0
    posed = LearningProblem(network, np.full((1, 1), start), np.full((1, 1), start + 1.0), space)
    run = proximal_alternating(
        discretize(posed, RK4()),
        step=step,
        inner=NewtonCG(gtol=1e-12),
        gtol=1e-11,
        max_iterations=iterations,
        raise_on_failure=False,
    )
    objective, slack = run.history["objective"], run.history["decrease_slack"]
    count = np.flatnonzero(objective > 1e-24)[-1]
    rate = np.sqrt(objective[count] / objective[count - 1]) if count else np.nan
    return xr.Dataset(
        {
            "objective": described("objective", objective, "1", "J by iteration", ("iteration",)),
            "after_bias": described(
                "after_bias",
                run.history["objective.bias"],
                "1",
                "J after the step in a",
                ("iteration",),
            ),
            "bound": described(
                "bound", objective + slack, "1", "the most the inequality allows", ("iteration",)
            ),
            "slack": described("slack", slack, "1", "bound less J", ("iteration",)),
            "rate": described("rate", rate, "1", "factor of the residual"),
            "bias": described(
                "bias", np.asarray(run.control["bias"])[:, 0], "1", "a at the end", ("time",)
            ),
        },
    )
