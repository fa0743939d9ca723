"""Successive approximation that goes in circles, and what helps."""

from collections.abc import Sequence
from itertools import cycle
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from continuum import Box, LearningProblem, TimeMesh, WidthDepth, gauss_legendre, identity
from solvers import LBFGS, Solution, minimize, successive_approximation

from ..bench.parameters import Count, NonNegative
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, OKABE_ITO, new_figure
from ..shared import UNIT, described
from .paper import PAPER, boxed

Problem: TypeAlias = Literal["one unit", "two blocks"]
Remedy: TypeAlias = Literal["none", "share", "search", "augmented", "adaptive"]

LEAST = 1e-8


def posed(problem: Problem, layers: int) -> LearningProblem:
    """LM-64's unit f' = a, target 1/2, or the two blocks of LM-54."""
    if problem == "two blocks":
        return boxed([0.5, 0.5], [4.0, 0.0], layers=layers)
    network = WidthDepth(gauss_legendre(UNIT, 1), identity)
    space = network.controls(TimeMesh(1.0, layers), fixed={"kernel": 0.0})
    return LearningProblem(
        network, np.zeros((1, 1)), np.full((1, 1), 0.5), space, admissible=Box(bias=(-1, 1))
    )


def remedied(
    problem: LearningProblem, remedy: Remedy, strength: float, iterations: int
) -> Solution:
    """Successive approximation from zero with one remedy; its failures are what the study is
    about.
    """
    relaxation: float | Literal["search"] | None = None
    augmentation: float | Literal["adaptive"] | None = None
    if remedy == "share":
        relaxation = strength
    elif remedy == "search":
        relaxation = "search"
    elif remedy == "augmented":
        augmentation = strength
    elif remedy == "adaptive":
        augmentation = "adaptive"
    return successive_approximation(
        problem,
        relaxation=relaxation,
        augmentation=augmentation,
        max_iterations=iterations,
        raise_on_failure=False,
    )


def label(remedy: str, strength: float) -> str:
    """The remedy in words."""
    return {
        "none": "no remedy",
        "share": f"{strength:g} of the way",
        "search": "line search",
        "augmented": f"augmented, $\\rho$ = {strength:g}",
        "adaptive": "augmented, $\\rho$ adapted",
    }[remedy]


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    names = list(dict.fromkeys(str(case_parameters(case)["problem"]) for case in cases))
    figure, axes = new_figure(1, len(names), width=7.6 * len(names), height=4.6)
    texts = []
    for ax, name in zip(axes[0], names, strict=True):
        notes = []
        styles = zip(cycle(OKABE_ITO[:7]), cycle("osD^vP*X"), strict=False)
        mine = [case for case in cases if case_parameters(case)["problem"] == name]
        for k, (case, (color, marker)) in enumerate(zip(mine, styles, strict=False)):
            values = case_parameters(case)
            text = label(str(values["remedy"]), float(values["strength"]))
            best = float(case["best"])
            found = case["objective"].values[np.isfinite(case["objective"].values)] - best
            shown = np.maximum(found, LEAST)
            ax.semilogy(
                shown,
                marker=marker,
                markersize=10 - k,  # those drawn later are smaller: none hides another
                markerfacecolor="none",
                linewidth=1.2,
                color=color,
                label=text,
            )
            rest = np.arange(len(found) - 1, case.sizes["iteration"])
            if case.attrs["ended"] == "two cycle":
                ax.semilogy(
                    rest,
                    shown[-1 - (rest - rest[0]) % 2],
                    ":",
                    color=color,
                    linewidth=1.2,
                )
            plain = text.replace("$\\rho$", "rho")
            notes.append(f"{plain}: {case.attrs['ended']}, J from {cycle_text(case)}")
        if any(case.attrs["ended"] == "two cycle" for case in mine):
            ax.semilogy([], [], ":", color=BLACK, linewidth=1.2, label="two-cycle, continued")
        ax.axhline(LEAST, color="#777777", linestyle="--", linewidth=1.0)
        note = {"xytext": (-4, -9), "textcoords": "offset points", "ha": "right", "va": "top"}
        told = "what is smaller is drawn here"
        ax.annotate(told, (1.0, LEAST), xycoords=("axes fraction", "data"), fontsize=9, **note)
        ax.set_ylim(bottom=LEAST / 6.0)
        ax.set_xlabel("iteration")
        ax.set_ylabel("$J - \\min J$")
        ax.set_title(name)
        ax.grid(True)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        texts.append(f"{name}: {'; '.join(notes)}")
    caption = (
        "Successive approximation from zero. "
        + ". ".join(texts)
        + ". rho is the weight of rho/2 times the squared changes of f' and p', by which the "
        + f"Hamiltonian is augmented. Dotted: two-cycles, continued. Values below {LEAST:g} are "
        + "drawn there."
    )
    return [Picture("objective", caption, figure)]


def cycle_text(case: xr.Dataset) -> str:
    """First and last objectives, or the two of a cycle."""
    values = case["objective"].values
    values = values[np.isfinite(values)]
    if case.attrs["ended"] == "two cycle":
        return f"{values[0]:.4f} to {values[-1]:.4f} and {values[-2]:.4f} in turn"
    return f"{values[0]:.4f} to {values[-1]:.4g}"


@study(
    "liu_markowich/msa_cycle",
    paper=PAPER,
    figure="Section 5.2, Algorithm 2",
    plot=_plot,
    cases=[
        {"problem": ["one unit", "two blocks"], "remedy": ["none", "search", "adaptive"]},
        {"problem": "one unit", "remedy": "augmented", "strength": [0.4, 1.0, 2.0]},
        {"problem": "two blocks", "remedy": "augmented", "strength": [0.3, 1.0, 3.0]},
        {"problem": ["one unit", "two blocks"], "remedy": "share", "strength": 0.3},
    ],
)
def msa_cycle(
    problem: Problem = "two blocks",
    remedy: Remedy = "none",
    strength: NonNegative = 1.0,
    layers: Count = 100,
    iterations: Count = 24,
) -> xr.Dataset:
    """Successive approximation need not converge: two-cycles (LM-64), and which remedies break them
    (LM-65).

    c_k <- argmin over A of H_k(c), H_k the Hamiltonian of layer k along the last state and costate:
    for "one unit", f' = a in [-1, 1] from 0 to 1/2, a goes from 1 to -1 and back; for "two blocks"
    (LM-54) J alternates between 1.25 and 2.0288.  Remedies: only a share of the way; a line search
    for that share; or the Hamiltonian augmented by rho/2 times the squared changes of f' and p',
    which descends for rho large enough, here above T/2 for one unit.

    remedy, strength: "share" takes strength as the share, "augmented" as rho; others do not look at
    it. objective: J by iteration, NaN after the end; gap: int H - min H; best: the lowest J known,
    by L-BFGS.
    """
    if iterations < 2:
        raise ValueError(f"iterations must be >= 2, got {iterations}")
    if strength <= 0 or (remedy == "share" and strength > 1):
        raise ValueError(f"strength must be > 0, and at most 1 for a share, got {strength}")
    given = posed(problem, layers)
    run = remedied(given, remedy, strength, iterations)
    best = min(
        minimize(given, LBFGS(gtol=1e-8), raise_on_failure=False).objective,
        float(min(run.history["objective"])),
    )
    columns = {name: np.full(iterations + 1, np.nan) for name in ("objective", "gap")}
    for name, column in columns.items():
        column[: len(run.history[name])] = run.history[name]
    return xr.Dataset(
        {
            "objective": described(
                "objective", columns["objective"], "1", "J by iteration", ("iteration",)
            ),
            "gap": described("gap", columns["gap"], "1", "int H - min H", ("iteration",)),
            "best": described("best", best, "1", "lowest J known"),
        },
        attrs={"ended": run.status.name.lower().replace("_", " ")},
    )
