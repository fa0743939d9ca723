"""Minimisers of XOR over the strength of the penalty and over the horizon: where they turn, where
others branch off, which of them descents find.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from continuum import TimeMesh
from solvers import (
    LBFGS,
    Arclength,
    Branch,
    Event,
    NewtonCG,
    continue_minimizers,
    equal_values,
    minimize,
)

from ..bench.parameters import Count, Horizon, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure
from ..shared import described
from .paper import PAPER, xor

SADDLE_AT, PAIR_AT = 0.02, 0.1
"""Strengths of the penalty where descents start: from zero at the first, from random controls at
the second, where two minimisers have nearly equal J.
"""

LAMBDA = 0.1
"""The strength of the penalty where the horizon varies."""

COLORS = (BLUE, VERMILION, GREEN, SKY)
MARKS = {"fold": ("o", BLACK), "pitchfork": ("s", PURPLE), "equal values": ("D", ORANGE)}


def over_penalty() -> tuple[list[Branch], list[str]]:
    """The branch from strong penalties, and the one that crosses it first, lambda in (0.01, 1)."""
    problem, method = xor(1.0, TimeMesh(1.0, 8)), Arclength(max_step=0.05)
    main = continue_minimizers(problem, "penalty", method, start=1.0, stop=0.01)
    other = continue_minimizers(
        problem, "penalty", method, start=1.0, stop=0.01, initial=main.events[0]
    )
    return [main, other], ["keeps the symmetry", "breaks it"]


def over_horizon(starts: int, seed: int, longest: float) -> tuple[list[Branch], list[str]]:
    """The symmetric branch from T = 1/2, and up to three others: those on which descents from
    random controls end at the longest horizon.
    """
    problem = xor(LAMBDA, TimeMesh(longest, 16), along=True)
    method = Arclength(max_step=0.15)
    branches = [continue_minimizers(problem, "horizon", method, start=0.5, stop=longest)]
    rng = np.random.default_rng(seed)
    ends = [
        minimize(problem, LBFGS(), initial=problem.space.random(rng), raise_on_failure=False)
        for _ in range(starts)
    ]
    known = [branches[0].objectives[-1]]
    for end in sorted((e for e in ends if e.status.ok), key=lambda e: e.objective):
        if np.min(np.abs(np.array(known) - end.objective)) > 1e-6 and len(branches) < 4:
            known.append(end.objective)
            branches.append(
                continue_minimizers(
                    problem,
                    "horizon",
                    method,
                    start=longest,
                    stop=0.5,
                    initial=end.control,
                    raise_on_failure=False,
                )
            )
    names = ["keeps the symmetry"] + [f"found by descent, {n}" for n in range(1, len(branches))]
    return branches, names


def descents(starts: int, seed: int) -> dict[str, xr.DataArray]:
    """Where descents end: from zero at SADDLE_AT, from random controls at PAIR_AT."""
    saddle, pair = (xor(lam, TimeMesh(1.0, 8)) for lam in (SADDLE_AT, PAIR_AT))
    methods = (LBFGS(), NewtonCG(products=0), NewtonCG())
    from_zero = [minimize(saddle, method).objective for method in methods]
    rng = np.random.default_rng(seed)
    random = [
        minimize(pair, LBFGS(), initial=pair.space.random(rng, 1.5), raise_on_failure=False)
        for _ in range(starts)
    ]
    return {
        "from_zero": described(
            "from_zero", from_zero, "1", f"J at lambda = {SADDLE_AT}, from zero", ("method",)
        ),
        "from_random": described(
            "from_random",
            [end.objective if end.status.ok else np.nan for end in random],
            "1",
            f"J at lambda = {PAIR_AT}, from random controls",
            ("start",),
        ),
    }


def events_of(branches: Sequence[Branch]) -> list[Event]:
    """Folds and branch points, and equal values of two minimisers."""
    found = [event for branch in branches for event in branch.events]
    for one, other in combinations(branches, 2):
        found += [event for event in equal_values(one, other) if event.negative == (0, 0)]
    return found


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """(row, point), filled with NaN."""
    out = np.full((len(rows), max(len(row) for row in rows)), np.nan)
    for place, row in zip(out, rows, strict=True):
        place[: len(row)] = row
    return out


def _curves(ax: Axes, case: xr.Dataset) -> None:
    """J along the branches, dashed where the Morse index is not 0, and events."""
    for n, name in enumerate(case.attrs["branches"].split(";")):
        ax.plot([], [], color=COLORS[n], label=name)
    ax.plot([], [], "--", color=BLACK, label="Morse index > 0")
    for row in range(case.sizes["piece"]):
        ax.plot(
            case["value"].values[row],
            case["objective"].values[row],
            "--" if case["morse"].values[row] > 0 else "-",
            color=COLORS[int(case["branch"].values[row])],
        )
    kinds = _kinds(case)
    for kind, (marker, color) in MARKS.items():
        chosen = np.array([kind in found for found in kinds], dtype=bool)
        x, y = case["event_value"].values[chosen], case["event_objective"].values[chosen]
        if len(x):
            ax.plot(x, y, marker, color=color, label=kind, zorder=3, markeredgecolor="white")


def _kinds(case: xr.Dataset) -> list[str]:
    return [kind for kind in case.attrs["kinds"].split(";") if kind]


def _numbers(ax: Axes, case: xr.Dataset, box: tuple[float, float, float, float]) -> None:
    """The axes cut to a box (left, right, bottom, top), the events in it with their values."""
    left, right, bottom, top = box
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    labelled: list[np.ndarray] = []
    events = zip(
        _kinds(case), case["event_value"].values, case["event_objective"].values, strict=True
    )
    for kind, x, y in events:
        inside = left < x < right and bottom < y < top
        place = np.array([(x - left) / (right - left), (y - bottom) / (top - bottom)])
        if not inside or any(np.all(np.abs(place - q) < (0.12, 0.05)) for q in labelled):
            continue
        labelled.append(place)
        beside, side = ((-7, 3), "right") if kind == "fold" else ((7, -13), "left")
        ax.annotate(
            f"{x:.5g}", (x, y), xytext=beside, textcoords="offset points", ha=side, fontsize=9
        )


def _penalty(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for n, case in enumerate(cases):
        figure, axes = new_figure(1, 2, width=11.0, height=4.6)
        for ax in axes[0]:
            _curves(ax, case)
            ax.set_xscale("log")
            ax.set_xlabel(r"strength of the penalty, $\lambda$")
            ax.set_ylabel("objective $J$")
            ax.grid(True)
        whole, part = axes[0]
        ends = case["from_zero"].values
        whole.plot(
            np.full(len(ends), SADDLE_AT), ends, "x", color=BLACK, label="descents", zorder=4
        )
        whole.set_title("from strong penalties to weak ones")
        reached = case["from_random"].values
        part.plot(np.full(len(reached), PAIR_AT), reached, "x", color=BLACK, zorder=4)
        _numbers(part, case, (0.035, 0.15, 1.1, 1.37))
        part.xaxis.set_major_locator(FixedLocator([0.04, 0.06, 0.08, 0.1, 0.12, 0.14]))
        part.xaxis.set_major_formatter(ScalarFormatter())
        part.xaxis.set_minor_locator(NullLocator())
        part.set_title("the pitchfork and the fold")
        handles, labels = whole.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        hits = np.sum(reached < _least(case, PAIR_AT) + 1e-3)
        caption = (
            f"XOR, T = 1, 8 Euler layers. {_said(case)} At lambda = {SADDLE_AT} L-BFGS and Newton "
            f"from zero end at J = {ends[0]:.7f} and {ends[1]:.7f}, of Morse index 1; Newton that "
            f"looks for negative curvature goes on to {ends[2]:.7f}. At lambda = {PAIR_AT} "
            f"{int(hits)} of {len(reached)} descents from random controls reach the lower of the "
            "two minimisers."
        )
        pictures.append(Picture("penalty" if len(cases) == 1 else f"penalty_{n}", caption, figure))
    return pictures


def _horizon(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for n, case in enumerate(cases):
        figure, axes = new_figure(1, 2, width=11.0, height=4.8)
        for ax in axes[0]:
            _curves(ax, case)
            ax.set_xlabel("horizon $T$")
            ax.set_ylabel("objective $J$")
            ax.grid(True)
        whole, part = axes[0]
        whole.set_title("from short horizons to long ones")
        learned = case["branch"].values > 0
        if learned.any():
            lowest = np.nanmin(case["objective"].values[learned])
            folds = case["event_value"].values
            first = np.min(folds) if len(folds) else 1.0
            _numbers(part, case, (0.8 * first, 2.0 * first, 0.85 * lowest, 1.55 * lowest))
        part.set_title("where others begin")
        handles, labels = whole.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        caption = (
            f"XOR with the running cost |x_1 - y|^2, lambda = {LAMBDA}, 16 Euler layers at every "
            f"horizon. {_said(case)} {_shortest(case)}"
        )
        pictures.append(Picture("horizon" if len(cases) == 1 else f"horizon_{n}", caption, figure))
    return pictures


def _least(case: xr.Dataset, value: float) -> float:
    """The least J of minimisers at a value of the parameter, linear between points of branches."""
    found = []
    for morse, x, y in zip(*(case[n].values for n in ("morse", "value", "objective")), strict=True):
        known = np.argsort(x)[: np.count_nonzero(np.isfinite(x))]
        if morse == 0 and x[known[0]] <= value <= x[known[-1]]:
            found.append(float(np.interp(value, x[known], y[known])))
    return min(found)


def _said(case: xr.Dataset) -> str:
    """The events in words."""
    said = [
        f"{kind} at {value:.7f}, J = {objective:.7f}"
        for kind, value, objective in zip(
            _kinds(case), case["event_value"].values, case["event_objective"].values, strict=True
        )
    ]
    return "; ".join(said) + "." if said else "No events."


def _shortest(case: xr.Dataset) -> str:
    """How far the branches that descents end on reach down, in words."""
    own, values = case["branch"].values, case["value"].values
    least = [np.nanmin(values[own == n]) for n in range(1, int(own.max()) + 1)]
    if not least:
        return "Descents from random controls at the longest horizon end on the same branch."
    reach = ", ".join(f"{x:.4f}" for x in least)
    return (
        "The branches on which descents from random controls end at the longest horizon reach "
        f"down to T = {reach}."
    )


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    by = {
        name: [case for case in cases if case_parameters(case)["parameter"] == name]
        for name in ("penalty", "horizon")
    }
    return _penalty(by["penalty"]) + _horizon(by["horizon"])


@study(
    "turnpike/bifurcation",
    paper=PAPER,
    figure="none: the minimisers themselves",
    plot=_plot,
    cases=[{"parameter": ["penalty", "horizon"]}],
)
def bifurcation(
    parameter: Literal["penalty", "horizon"] = "penalty",
    starts: Count = 12,
    seed: Seed = 0,
    longest: Horizon = 8.0,
) -> xr.Dataset:
    """Where minimisers of XOR turn, lose stability and change places, as the penalty weakens and as
    the horizon grows.

    penalty: min |x_1(T) - y|^2 + lambda |u|^2, T = 1, 8 Euler layers; horizon: min of the integral
    of |x_1 - y|^2 + 0.1 |u|^2, 16 Euler layers, T from 1/2 to `longest`.  The labels are
    y = x_1 x_2 of the corners (+-1, +-1).

    value, objective: along the pieces of branches between events; branch, morse: the branch of a
    piece and its Morse index; event_value, event_objective, event_error: where something happens,
    and the estimated error of the value; event_before, event_after, event_null: numbers of negative
    and null eigenvalues; from_zero, from_random: where descents end, for "penalty".
    """
    if not 1 <= starts <= 200 or not 1.0 <= longest <= 30.0:
        raise ValueError(
            f"starts must be from 1 to 200, longest from 1 to 30, got {starts} and {longest}"
        )
    if parameter == "penalty":
        branches, names = over_penalty()
        extra = descents(starts, seed)
    else:
        branches, names = over_horizon(starts, seed, longest)
        extra = {}
    pieces = [(n, *piece) for n, branch in enumerate(branches) for piece in branch.pieces()]
    events = events_of(branches)

    def column(name: str, values: Sequence[float], what: str) -> xr.DataArray:
        return described(name, np.array(values, dtype=float), "1", what, ("event",))

    what = {"penalty": "strength of the penalty", "horizon": "horizon"}[parameter]
    table = {
        "value": described("value", _padded([p[2] for p in pieces]), "1", what, ("piece", "point")),
        "objective": described(
            "objective", _padded([p[3] for p in pieces]), "1", "J", ("piece", "point")
        ),
        "branch": described("branch", [p[0] for p in pieces], "1", "its branch", ("piece",)),
        "morse": described("morse", [p[1] for p in pieces], "1", "its Morse index", ("piece",)),
        "event_value": column("event_value", [e.parameter for e in events], what),
        "event_objective": column("event_objective", [e.objective for e in events], "J"),
        "event_error": column("event_error", [e.error for e in events], "estimated error"),
        "event_before": column("event_before", [e.negative[0] for e in events], "negative before"),
        "event_after": column("event_after", [e.negative[1] for e in events], "negative after"),
        "event_null": column("event_null", [e.null for e in events], "null eigenvalues"),
    }
    kinds = ";".join(event.kind for event in events)
    return xr.Dataset({**table, **extra}, attrs={"branches": ";".join(names), "kinds": kinds})
