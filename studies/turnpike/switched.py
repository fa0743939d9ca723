"""When to change the width: the time of the change as an unknown, at equal work."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from continuum import Box, LearningProblem, TimeMesh
from continuum.controls import Control
from solvers import LBFGS, RK4, Solution, discretize, minimize

from ..bench.parameters import Count, Horizon, NonNegative, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER
from .variable_width import Data, descents, posed, work

TIMES = "switch.times"
METHOD = LBFGS(gtol=1e-6, max_iterations=1500)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, len(cases), width=5.4 * len(cases) + 0.2, height=4.4)
    notes = []
    for ax, case in zip(axes[0], cases, strict=True):
        p, found = case_parameters(case), float(case["change"])
        least = float(case["objective"])
        at, profile = np.append(case["at"], found), np.append(case["profile"], least)
        ranked = np.argsort(at)
        ax.plot(at[ranked], profile[ranked], "o-", color=BLUE, label="change held there")
        ax.plot(found, least, "*", color=VERMILION, markersize=14, label="trained")
        for name, width in (("one", int(p["first"])), ("other", int(p["then"]))):  # type: ignore[arg-type]
            color = GREEN if width == max(p["first"], p["then"]) else ORANGE  # type: ignore[type-var]
            label = f"width {width}, equal work"
            ax.axhline(float(case[name]), color=color, linestyle="--", label=label)
        ax.axvline(found, color=BLACK, linewidth=0.6, linestyle=":")
        ax.set_title(f"{p['data']}, {p['first']} to {p['then']}")
        ax.set_xlabel("time of the change")
        ax.set_ylabel("$J$")
        ax.grid(True)
        ax.legend()
        where = f"{p['data']}, {p['first']} to {p['then']}, {int(case['work'])} multiplications"
        notes.append(
            f"{where} ({case.attrs['status']}): J = {float(case['objective']):.6f} with the change "
            f"at {found:.4f}, {float(case['held']):.6f} with it held in the middle, width "
            f"{p['first']}: {float(case['one']):.6f}, width {p['then']}: "
            f"{float(case['other']):.6f}"
        )
        if float(np.min(case["profile"])) < least:
            notes[-1] += ", stationary and not least: the profile is lower elsewhere"
    caption = (
        "J of networks of two widths, half of the layers each, against the time "
        "of the change: trained with the control (star), or held (the control is trained again "
        "from the neighbour's); dashed, networks of one width with as many multiplications. Best "
        "found, no more. " + ". ".join(notes) + "."
    )
    return [Picture("switched", caption, figure)]


@study(
    "turnpike/switched",
    paper=PAPER,
    figure="switched systems",
    plot=_plot,
    cases=[
        {"data": ["cells"], "first": [2], "then": [4], "layers": [8]},
        {"data": ["cells"], "first": [4], "then": [2], "layers": [8]},
    ],
)
def switched(
    data: Data = "cells",
    first: Count = 2,
    then: Count = 4,
    layers: Count = 16,
    horizon: Horizon = 4.0,
    strength: NonNegative = 0.02,
    starts: Count = 2,
    points: Count = 4,
    seed: Seed = 0,
) -> xr.Dataset:
    """Is there a best time at which to change the width?

    Half of the layers have width `first`, half have width `then`, and the time between them is
    trained with the control, from the middle, within [0.01 T, 0.99 T]: a longer stage has longer
    layers.  The work is the same for every such time; the fixed widths get as many layers as it
    allows.  All values are the least that L-BFGS finds from random starts, or, along the profile,
    from the neighbour's control.

    objective, change: J and the time found; held: J with the change in the middle; one, other:
    of networks of one width at equal work; profile: least J with the change held at the times `at`.
    """
    if layers < 4 or layers % 2 or not 0.0 < horizon <= 64.0 or min(starts, points) < 1:
        raise ValueError(
            f"layers must be even and >= 4, horizon in (0, 64], starts and points >= 1, got "
            f"{layers}, {horizon}, {starts}, {points}"
        )
    mesh, middle = TimeMesh(horizon, layers), 0.5 * horizon
    problem = replace(
        posed(data, [first, then], [middle], mesh, strength, switched=True),
        admissible=Box(**{TIMES: (0.01 * horizon, 0.99 * horizon)}),
    )
    plain = posed(data, [first, then], [middle], mesh, strength)
    held = _least(plain, starts, seed)
    begin = problem.space.sample(**dict(held.control.items()), **{TIMES: np.array([middle])})
    best = minimize(discretize(problem, RK4()), METHOD, initial=begin, raise_on_failure=False)
    budget = work(plain)
    single = {
        width: _least(
            posed(data, [width], [], TimeMesh(horizon, round(budget / (4 * width**2))), strength),
            starts,
            seed,
        ).objective
        for width in (first, then)
    }
    found = float(best.control[TIMES][0])
    at, profile = _profile(problem, best.control, points)
    return xr.Dataset(
        {
            "objective": described("objective", best.objective, "1", "J, change trained"),
            "change": described("change", found, "time", "time of the change"),
            "held": described("held", held.objective, "1", "J, change in the middle"),
            "one": described("one", single[first], "1", "J of the first width"),
            "other": described("other", single[then], "1", "J of the second width"),
            "work": described("work", budget, "1", "multiplications of one run"),
            "profile": described("profile", profile, "1", "least J, change held", ("at",)),
        },
        coords={"at": ("at", at, {"units": "time", "long_name": "time of the change"})},
        attrs={"status": best.status.name.lower()},
    )


def _least(problem: LearningProblem, starts: int, seed: int) -> Solution[Control]:
    """The least stationary point found from random starts."""
    ends = descents(problem, METHOD, starts, seed)
    return min(ends, key=lambda end: end.objective)


def _profile(
    problem: LearningProblem, control: Control, points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Times between the one found and 0.03 T and 0.97 T, and the least J with the change held
    there, followed from it.
    """
    horizon, found = problem.mesh.horizon, float(control[TIMES][0])
    below = np.linspace(min(0.03 * horizon, found), found, points + 1)[:-1]
    above = np.linspace(found, max(0.97 * horizon, found), points + 1)[1:]
    values: dict[float, float] = {}
    for side in (below[::-1], above):
        here = control
        for t in side:
            moved = here.replaced(**{TIMES: np.array([t])})
            rest, begin = problem.holding(moved, [TIMES])
            end = minimize(discretize(rest, RK4()), METHOD, initial=begin, raise_on_failure=False)
            values[float(t)] = end.objective
            here = moved.replaced(**dict(end.control.items()))
    at = np.array(sorted(values))
    return at, np.array([values[float(t)] for t in at])
