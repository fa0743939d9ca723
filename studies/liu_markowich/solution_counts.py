"""How many extremals there are, and where they appear, as the horizon grows: branches of the ResNet
by continuation, stationary points from random starts, and the differential equation beside them.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated

import numpy as np
import scipy.optimize
import xarray as xr
from annotated_types import Ge, Le
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from continuum import (
    Control,
    LearningProblem,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    identity,
    midpoint,
)
from solvers import Arclength, Branch, Event, continue_minimizers, discretize, equal_values
from solvers.adjoint.coefficients import Columns
from solvers.adjoint.linear_quadratic import linearize
from solvers.descent.families import ByHorizon
from solvers.descent.riccati import sweep

from ..bench.parameters import Count, Positive, Seed
from ..bench.registry import Picture, study
from ..draw.figures import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    new_figure,
    order_triangle,
)
from ..shared import UNIT, described
from .geodesics import EVENTS, LONGEST, Extremals
from .paper import PAPER

START, STRENGTH = -2.0, 1.0
MARKS = (("o", BLACK), ("D", ORANGE), ("s", PURPLE), ("P", GREEN))


def facing(start: float, target: float, strength: float, layers: int) -> LearningProblem:
    """The problem at the head of `geodesics.py`, T = 1."""
    return LearningProblem(
        WidthDepth(midpoint(UNIT, 2), identity),
        np.array([[start], [0.0]]),
        np.array([[target], [0.0]]),
        TimeMesh(1.0, layers),
        penalty=Tikhonov(strength),
    )


def second(family: ByHorizon, control: Control, horizon: float) -> float:
    """f_2(T) of the ResNet."""
    return float(discretize(family.at(horizon)).run(control).states[-1, 1, 0])


def followed(
    problem: LearningProblem, first: float, last: float
) -> tuple[list[Branch], list[Event]]:
    """The branch with block 2 at rest, from `first` on, and one of the two mirror images that
    branch off it, if they do before `last`; and their events.
    """
    method = Arclength(max_step=0.3)
    rest = continue_minimizers(problem, "horizon", method, start=first, stop=last)
    crossings = [event for event in rest.events if event.kind.endswith("pitchfork")]
    if not crossings:
        return [rest], list(rest.events)
    moving = continue_minimizers(
        problem, "horizon", method, start=first, stop=last, initial=crossings[0]
    )
    return [rest, moving], [*rest.events, *moving.events, *equal_values(rest, moving)]


def pieces(family: ByHorizon, branch: Branch) -> Iterator[tuple[int, np.ndarray]]:
    """(Morse index, (3, P) of T, J and f_2(T)) between events, which are the ends of two pieces."""
    rows = np.array(
        [
            (p, value, second(family, c, p))
            for p, value, c in zip(branch.values, branch.objectives, branch.controls, strict=True)
        ]
    )
    ends = [
        (
            e.after + 1,
            np.array([[e.parameter, e.objective, second(family, e.control, e.parameter)]]),
        )
        for e in branch.events
    ]
    none = np.empty((0, 3))
    for (start, left), (stop, right) in pairwise([(0, none), *ends, (len(branch), none)]):
        own = rows[start:stop]
        if len(own):
            yield int(branch.negative[stop - 1]), np.concatenate([left, own, right]).T


def stationary(family: ByHorizon, horizon: float, y: np.ndarray) -> tuple[float, float, int] | None:
    """(J, f_2(T), Morse index) where the Levenberg-Marquardt method takes the gradient to zero,
    from y; None if it does not.  The index counts the negative pivots of Riccati's sweep.
    """

    def system(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _, slope, hessian, _ = family.evaluate(y, horizon)
        return slope, hessian

    options = {"xtol": 1e-12, "ftol": 1e-14, "maxiter": 300}
    found = scipy.optimize.root(system, y, jac=True, method="lm", options=options)
    if np.linalg.norm(found.fun) > 1e-8:
        return None
    problem, control = family.at(horizon), family.control(found.x, horizon)
    model = linearize(discretize(problem), control)
    weights = Columns.of(problem.space).weights
    index = sweep(model.model, weights, borders=model.borders).inertia
    return model.value, second(family, control, horizon), index


def on_branches(
    family: ByHorizon, branches: Sequence[Branch], horizon: float
) -> list[tuple[float, float, int]]:
    """`stationary` on the branches at a horizon, mirror images included."""
    found = []
    for number, branch in enumerate(branches):
        for k, (a, b) in enumerate(pairwise(branch.values)):
            if not min(a, b) <= horizon < max(a, b):
                continue
            share = (horizon - a) / (b - a)
            left, right = (family.unknown(branch.controls[n], branch.values[n]) for n in (k, k + 1))
            one = stationary(family, horizon, (1.0 - share) * left + share * right)
            if one is None:
                raise ArithmeticError(f"a branch has no point at T = {horizon:g}")
            value, turned, index = one
            found += [one] if number == 0 else [one, (value, -turned, index)]
    return found


def counted(
    family: ByHorizon, branches: Sequence[Branch], horizon: float, starts: int, seed: int
) -> tuple[int, int, int, int]:
    """(stationary points on branches, how many of them random starts found, others that these
    found, starts that ended nowhere) at a horizon.
    """
    known, rng = on_branches(family, branches, horizon), np.random.default_rng(seed)
    met: list[bool] = [False] * len(known)
    others: list[tuple[float, float, int]] = []
    lost = 0
    for _ in range(starts):
        y = rng.standard_normal(len(family.roots)) * (horizon / family.problem.mesh.layers) ** 0.5
        end = stationary(family, horizon, 2.0 * y)
        if end is None:
            lost += 1
            continue
        same = [np.allclose(end[:2], one[:2], rtol=0.0, atol=1e-6) for one in known]
        if any(same):
            met[same.index(True)] = True
        elif not any(np.allclose(end[:2], one[:2], rtol=0.0, atol=1e-6) for one in others):
            others.append(end)
    return len(known), sum(met), len(others), lost


# pictures


def _diagram(ax: Axes, case: xr.Dataset, name: str) -> None:
    """A quantity along the branches, mirror images too, dashed where the Morse index is not 0."""
    mirror = (1.0, -1.0) if name == "second" else (1.0,)
    for row in range(case.sizes["piece"]):
        x, y = case["horizon"].values[row], case[name].values[row]
        style = "--" if case["morse"].values[row] else "-"
        color = (BLUE, VERMILION)[int(case["branch"].values[row])]
        for sign in mirror:
            ax.plot(x, sign * y, style, color=color)
    for kind, x, y in zip(
        case["event_kind"].values,
        case["event_horizon"].values,
        case[f"event_{name}"].values,
        strict=True,
    ):
        if kind == EVENTS.index("equal values") and name == "second":
            continue  # the two controls have different f_2(T)
        marker, color = MARKS[kind]
        for sign in mirror:
            ax.plot(x, sign * y, marker, color=color, markeredgecolor="white", zorder=3)
    ax.set_xlabel("horizon $T$")
    ax.grid(True)


def _numbers(ax: Axes, case: xr.Dataset) -> None:
    """How many extremals: of the differential equation, on branches, and found from starts."""
    for name, color, width in (("expected_", SKY, 4.0), ("", BLACK, 1.5)):
        number, cut = case[f"{name}count"].values, case[f"{name}cut"].values
        ax.stairs(number, cut, baseline=None, color=color, linewidth=width)
    at, met, others = (case[name].values for name in ("at", "met", "others"))
    ax.plot(at, met, "x", color=VERMILION, markersize=8, markeredgewidth=2)
    ax.plot(at[others > 0], others[others > 0], "+", color=GREEN, markersize=9, markeredgewidth=2)
    ax.set_ylim(0.0, float(np.max(case["count"].values)) + 1.0)
    ax.set_xlabel("horizon $T$")
    ax.set_ylabel("number of extremals")
    ax.set_title("how many")
    ax.grid(True)


def _errors(ax: Axes, cases: Sequence[xr.Dataset]) -> None:
    """Horizons of events less those of the differential equation, against layers."""
    layers = np.array([case.attrs["layers"] for case in cases])
    gaps = np.array([_gaps(case) for case in cases])[np.argsort(layers)]
    layers = np.sort(layers)
    for kind, (marker, color) in enumerate(MARKS[:3]):
        ax.loglog(layers, gaps[:, kind], marker + "-", color=color)
    if len(layers) > 1 and np.isfinite(gaps[-2, 2]):
        order_triangle(ax, (float(layers[-2]), float(layers[-1])), 0.7 * float(gaps[-2, 2]), 1)
    ax.set_xticks(layers, [str(n) for n in layers])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("layers")
    ax.set_ylabel("$T$ of the ResNet's event less the equation's")
    ax.set_title("where they appear")
    ax.grid(True)


def _gaps(case: xr.Dataset) -> np.ndarray:
    """(4,): how far the first event of each kind is from that of the differential equation."""
    kinds, found = case["event_kind"].values, case["event_horizon"].values
    first = [found[kinds == kind][:1] for kind in range(len(MARKS))]
    known = np.array([x[0] if len(x) else np.nan for x in first])
    return np.abs(known - case["expected"].values)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    """One picture; the cases differ in layers."""
    case = max(cases, key=lambda one: one.sizes["at_number"])
    figure, axes = new_figure(2, 2, width=10.6, height=8.4)
    whole, near, number, errors = axes.ravel()
    _diagram(whole, case, "second")
    curve = case["curve"].values
    for sign in (1.0, -1.0):
        whole.plot(curve[0], sign * curve[1], ":", color=SKY, linewidth=2)
    whole.set_ylabel("block 2 at the end, $f_2(T)$")
    whole.set_title("which extremals there are")
    _diagram(near, case, "gain")
    if len(times := case["event_horizon"].values):
        near.set_xlim(0.98 * np.min(times), 1.02 * np.max(times))
        highest = np.nanmax(case["gain"].values)
        near.set_ylim(-1.5 * highest, 1.3 * highest)
    near.set_ylabel("$J$ less $J$ with block 2 at rest")
    near.set_title("which of them is lowest")
    _numbers(number, case)
    for ax in (whole, number):
        ax.set_xscale("log")
        ax.set_xlim(*case["cut"].values[[0, -1]])
        ax.xaxis.set_major_locator(FixedLocator([0.2, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0]))
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_locator(NullLocator())
    _errors(errors, cases)
    handles = [
        Line2D([], [], color=BLUE, label="block 2 at rest"),
        Line2D([], [], color=VERMILION, label="block 2 moves"),
        Line2D([], [], color=BLACK, linestyle="--", label="Morse index > 0"),
        Line2D([], [], color=BLACK, label="on branches"),
        Line2D([], [], color=SKY, linewidth=3, label="differential equation"),
        Line2D([], [], marker="x", color=VERMILION, linestyle="", label="of these, from starts"),
        *(
            Line2D([], [], marker=m, color=c, linestyle="", label=kind)
            for kind, (m, c) in zip(EVENTS, MARKS[:3], strict=True)
        ),
    ]
    if np.any(case["others"].values):
        handles.append(
            Line2D([], [], marker="+", color=GREEN, linestyle="", label="others, from starts")
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    return [Picture("counts", _caption(case), figure)]


def _caption(case: xr.Dataset) -> str:
    """What the numbers say."""
    said = "; ".join(
        f"{kind} at T = {at:.7f} (of the equation {case['expected'].values[number]:.7f})"
        for kind, number, at in zip(
            case.attrs["kinds"].split(";"),
            case["event_kind"].values,
            case["event_horizon"].values,
            strict=True,
        )
    )
    counts, expected = (
        ", ".join(str(n) for n in case[name].values) for name in ("count", "expected_count")
    )
    words = (
        f"f(0) = ({START:g}, 0), target ({case.attrs['target']:g}, 0), lambda = {STRENGTH:g}, "
        f"{case.attrs['layers']} Euler layers: {said}. Extremals on the branches followed, mirror "
        f"images included, as T grows: {counts}; of the differential equation, at most {LONGEST:g} "
        f"long: {expected}. "
    )
    if case.sizes["at_number"]:
        names = ("known", "met", "others", "lost")
        known, met, others, lost = (int(case[name].values.sum()) for name in names)
        words += (
            f"{case.attrs['starts']} random starts at each of {case.sizes['at_number']} horizons "
            f"found {met} of the {known} points on branches and {others} that are on none; {lost} "
            f"starts ended at no stationary point. "
        )
    return words + "Numbers are of what was found: there may be more."


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """(row, point), filled with NaN."""
    out = np.full((len(rows), max(len(row) for row in rows)), np.nan)
    for place, row in zip(out, rows, strict=True):
        place[: len(row)] = row
    return out


def _column(name: str, values: object, what: str, *dims: str) -> dict[str, xr.DataArray]:
    return {name: described(name, np.array(values), "1", what, dims)}


def _followed_table(
    family: ByHorizon, branches: Sequence[Branch], events: Sequence[Event]
) -> dict[str, xr.DataArray]:
    """What `_diagram` draws."""
    rest = branches[0]
    resting = [family.unknown(c, p) for c, p in zip(rest.controls, rest.values, strict=True)]

    def gains(points: np.ndarray) -> np.ndarray:
        """J less that at rest of T, J and f_2(T), (3, P)."""
        found = []
        for T, value, _ in points.T:
            y = np.array([np.interp(T, rest.values, x) for x in np.transpose(resting)])
            end = stationary(family, float(T), y)
            found.append(np.nan if end is None else value - end[0])
        return np.array(found)

    rows = [(n, *piece) for n, branch in enumerate(branches) for piece in pieces(family, branch)]
    along = [[*points, gains(points)] for _, _, points in rows]
    there = [(e.parameter, e.objective, second(family, e.control, e.parameter)) for e in events]
    happened = np.array(there).reshape(-1, 3).T
    at_events = [*happened, gains(happened)]
    kinds = ["pitchfork" if e.kind.endswith("pitchfork") else e.kind for e in events]
    numbers = [EVENTS.index(kind) if kind in EVENTS else len(EVENTS) for kind in kinds]
    table = (
        _column("branch", [number for number, *_ in rows], "0 at rest, 1 moving", "piece")
        | _column("morse", [morse for _, morse, _ in rows], "Morse index", "piece")
        | _column("event_kind", numbers, "place in fold, equal values, pitchfork", "event")
    )
    names = {"horizon": "T", "objective": "J", "second": "f_2(T)", "gain": "J less J at rest"}
    for n, (name, what) in enumerate(names.items()):
        table |= _column(name, _padded([one[n] for one in along]), what, "piece", "point")
        table |= _column(f"event_{name}", at_events[n], f"{what} of events", "event")
    return table


def _expected_table(equation: Extremals, first: float, last: float) -> dict[str, xr.DataArray]:
    """The same of the differential equation: events, the curve of extremals that move, and how
    many there are, two for each place where it passes a horizon.
    """
    events, curve = equation.events(), equation.curve(80)
    if np.isfinite(events["pitchfork"]):
        curve = np.column_stack([[events["pitchfork"], 0.0, np.nan], curve])
    changes = [T for T in (events["fold"], events["pitchfork"]) if first < T < last]
    cuts = np.array([first, *sorted(changes), last])
    middles = np.sqrt(cuts[1:] * cuts[:-1])
    count = [1 + 2 * int(np.sum(np.diff(curve[0] > T))) for T in middles]
    return (
        _column("expected", [*events.values(), np.nan], "T of the equation's events", "kind")
        | _column("curve", curve, "T, f_2(T), J of extremals that move", "quantity", "angle")
        | _column("expected_cut", cuts, "T between which its extremals are counted", "expected_end")
        | _column("expected_count", count, "its extremals", "expected_interval")
    )


@study(
    "liu_markowich/solution_counts",
    paper=PAPER,
    figure="Section 4.2",
    plot=_plot,
    cases=[{"layers": 20}, {"layers": [10, 40], "starts": 0}],
)
def solution_counts(
    layers: Count = 20,
    target: float = 6.0,
    first: Positive = 0.45,
    last: Positive = 2.5,
    starts: Annotated[int, Ge(0), Le(10000)] = 8,
    seed: Seed = 0,
) -> xr.Dataset:
    """How many extremals there are at each horizon, and by which bifurcations they appear.

    minimise |f(T) - (target, 0)|^2 / 2 + int (|a|^2 + |b|^2) dt, f_t = a - Bf on two halves of (0,
    1), f(0) = (-2, 0), T from `first` to `last`; `layers` Euler layers at every T.

    horizon, objective, second, gain: T, J, f_2(T) and J less that with block 2 at rest, along the
    pieces of branches between events; branch, morse: 0 at rest, 1 moving, one of two mirror images,
    and the Morse index; event_...: the same of events, event_kind a place in fold, equal values,
    pitchfork; expected: T of these for the differential equation; curve: T, f_2(T), J of its
    extremals that move; count, expected_count: how many extremals there are between the horizons
    cut, expected_cut; known, met, others, lost: at the horizons `at` stationary points on branches,
    how many of them and how many others the Levenberg-Marquardt method found from `starts` random
    controls, and how many starts it lost.
    """
    if not target > 0.0 or not 0.0 < first < last <= 10.0 or not 0 <= starts <= 200 or layers < 2:
        raise ValueError(
            "target > 0, 0 < first < last <= 10, starts from 0 to 200 and layers >= 2 are needed, "
            f"got {target}, {first}, {last}, {starts} and {layers}"
        )
    family = ByHorizon(facing(START, target, STRENGTH, layers))
    branches, events = followed(family.problem, first, last)
    changes = [e.parameter for e in events if e.kind != "equal values"]
    cuts = np.array([first, *sorted(changes), last])
    middles = np.sqrt(cuts[1:] * cuts[:-1])
    count = [len(on_branches(family, branches, float(T))) for T in middles]
    at = np.array([np.geomspace(a, b, 5)[1:-1] for a, b in pairwise(cuts)]).ravel()
    at = at if starts else at[:0]
    tried = [counted(family, branches, float(T), starts, seed + n) for n, T in enumerate(at)]
    table = (
        _followed_table(family, branches, events)
        | _expected_table(Extremals(START, target, STRENGTH), first, last)
        | _column("cut", cuts, "T between which extremals are counted", "cut_end")
        | _column("count", count, "extremals on branches", "interval")
        | _column("at", at, "T at which starts are made", "at_number")
    )
    columns = np.array(tried, dtype=int).reshape(-1, 4).T
    for name, values in zip(("known", "met", "others", "lost"), columns, strict=True):
        table |= _column(name, values, f"stationary points: {name}", "at_number")
    kinds = ";".join(event.kind for event in events)
    attrs = {"layers": layers, "starts": starts, "kinds": kinds, "target": target}
    return xr.Dataset(table, attrs=attrs)
