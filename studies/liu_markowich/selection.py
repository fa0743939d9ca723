"""The selection of one of two modes on a ring: who wins from which start, and what stays of it at
infinity.
"""

from collections.abc import Sequence
from functools import partial
from itertools import cycle
from typing import Annotated

import numpy as np
import xarray as xr
from annotated_types import Ge, Le
from matplotlib.axes import Axes
from scipy.integrate import OdeSolution, solve_ivp
from scipy.optimize import brentq

from continuum import Circle, Convolution, LowRank, TimeMesh, WidthDepth, periodic, tanh
from continuum.exact import TwoModeRing
from solvers import DormandPrince, exact_reduction, integrate, velocity_jump

from ..bench.parameters import Count, Horizon, Positive, Several
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, SKY, VERMILION, new_figure
from ..shared import described
from .paper import PAPER

PRECISE = DormandPrince(rtol=1e-9, atol=1e-11)
FINE = 4096
"""Nodes of the reduced flow in which separatrices are located."""
UNRESOLVED = 0.25
"""The grid no longer resolves a front across which two neighbours lie further apart than this share
of the range.
"""
WINNERS = ("first mode wins", "a mixture wins", "second mode wins")
COLORS = (BLUE, GREEN, VERMILION)
MARKERS = "o^s"  # at their starts


def winner(ring: TwoModeRing, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which attracting ray the directions (x, y) belong to: 0 the first mode, 1 a mixture, 2 the
    second mode.
    """
    slope = ring.second * np.abs(y) / np.maximum(ring.first * np.abs(x), 1e-300)
    rays = ring.rays()
    inner = [m for m, _ in rays[1:-1]]
    repelling = [m for m, attracts in rays[1:-1] if not attracts]
    below = 1 if len(inner) == 2 else 0  # the winner on the near side of the repelling ray
    if repelling:
        return np.where(slope < repelling[0], below, 2)
    return np.full(slope.shape, 0 if rays[0][1] else 2)


def boundary(ring: TwoModeRing, amplitude: float, horizon: float = 120.0, rounds: int = 5) -> float:
    """The angle of the start amplitude (cos(angle) cos y + sin(angle) cos 2y) no mode wins; NaN if
    one always does.

    By what becomes of 33 starts of the reduced flow at the horizon, again between the two where it
    changes.
    """
    if not 0.5 < ring.ratio < 2.0:
        return float("nan")
    network = WidthDepth(periodic(Circle(), FINE), tanh, LowRank(2))
    reduced = exact_reduction(network, network.control(TimeMesh(horizon, 1), kernel=ring.factors()))
    low, high = 0.0, np.pi / 2
    for _ in range(rounds):
        angles = np.linspace(low, high, 33)
        starts = np.pi * amplitude * np.stack([np.cos(angles), np.sin(angles)])
        x, y = integrate(reduced.network, reduced.control, starts, PRECISE).trajectory.final
        last = int(np.flatnonzero(winner(ring, x, y) < 2)[-1])
        low, high = angles[last], angles[last + 1]
    return 0.5 * (low + high)


def separatrix(ring: TwoModeRing, far: float = 400.0) -> OdeSolution | None:
    """The path from the repelling ray at infinity, where x = far, backwards in time to 0; None if
    there is no ray.

    The equation of the even modes, its integrals by FINE nodes on the ring: no network is asked.
    """
    repelling = [m for m, attracts in ring.rays()[1:-1] if not attracts]
    if not repelling:
        return None
    s = 2.0 * np.pi * np.arange(FINE) / FINE
    modes = np.stack([np.cos(s), np.cos(2.0 * s)])
    gains = np.array([ring.first, ring.second])

    def backwards(_: float, z: np.ndarray) -> np.ndarray:
        return -(modes @ np.tanh((gains * z) @ modes)) * (2.0 * np.pi / FINE)

    def at_rest(_: float, z: np.ndarray) -> float:
        return float(np.hypot(*z)) - 1e-3

    at_rest.terminal = True  # type: ignore[attr-defined]
    start = far * np.array([1.0, repelling[0] / ring.ratio])
    run = solve_ivp(
        backwards,
        (0.0, 10.0 * far),
        start,
        "DOP853",
        events=at_rest,
        dense_output=True,
        rtol=1e-10,
        atol=1e-12,
    )
    return run.sol


def crossing(path: OdeSolution | None, radius: float) -> float:
    """The angle at which a path towards 0 meets the circle of this radius, NaN if it does not."""
    if path is None or not np.hypot(*path(path.t_max)) < radius < np.hypot(*path(path.t_min)):
        return float("nan")
    x, y = path(
        brentq(lambda t: float(np.hypot(*path(t))) - radius, path.t_min, path.t_max, xtol=1e-12)
    )
    return float(np.arctan2(y, x))


def _plane(ax: Axes, case: xr.Dataset) -> str:
    values = case_parameters(case)
    ring = TwoModeRing(float(values["first"]), float(values["first"]) * float(values["ratio"]))
    reach = 4.0 * np.pi * float(values["amplitude"])
    x, y = case["x"].values, case["y"].values
    named: set[int] = set()
    for m, who in enumerate(case["winner"].values.astype(int)):
        label = None if who in named else WINNERS[who]
        named.add(who)
        start = {"marker": MARKERS[who], "markevery": [0], "markersize": 4.5}
        ax.plot(x[:, m], y[:, m], color=COLORS[who], linewidth=1.1, label=label, **start)
    path = separatrix(ring)
    if path is not None:
        ax.plot(
            *path(np.linspace(path.t_min, path.t_max, 4001)),
            color=ORANGE,
            linewidth=2.6,
            linestyle="--",
            label="separatrix from infinity",
        )
    ax.set_xlim(0.0, reach)
    ax.set_ylim(0.0, reach)
    ax.set_aspect("equal")
    ax.set_xlabel("first mode $(f, \\cos y)$")
    ax.set_ylabel("second mode $(f, \\cos 2y)$")
    ax.set_title(f"gain of mode 2 over mode 1: $\\rho$ = {ring.ratio:g}")
    share = float(np.mean(case["winner"].values == 2))
    count = f"{np.sum(case['winner'].values == 2)} of {case['winner'].size}"
    return f"{ring.ratio:g}: the second mode wins from {count} starts ({share:.0%})"


def _diagram(ax: Axes, cases: Sequence[xr.Dataset]) -> None:
    ratios = np.linspace(0.2, 3.0, 561)
    curves: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for ratio in ratios:
        rays = TwoModeRing(1.0, float(ratio)).rays()
        for i, (slope, attracts) in enumerate(rays):
            kind = "first" if i == 0 else "second" if i == len(rays) - 1 else "mixed"
            curves.setdefault((kind, attracts), []).append(
                (float(ratio), np.degrees(np.arctan(slope)))
            )
    named: set[bool] = set()
    for (_, attracts), points in curves.items():
        label = None if attracts in named else "attracts" if attracts else "repels"
        named.add(attracts)
        ax.plot(
            *np.array(points).T,
            color=BLACK,
            linestyle="-" if attracts else "--",
            label=label,
            linewidth=2.2 if attracts else 1.4,
        )
    seen: set[int] = set()
    for case in cases:
        ratio = float(case_parameters(case)["ratio"])
        speed = case["growth_angle"].values
        who = case["winner"].values.astype(int)
        for m in range(len(speed)):
            ax.plot(ratio, speed[m], MARKERS[who[m]], color=COLORS[who[m]], markersize=4, alpha=0.7)
        seen |= set(who.tolist())
    for k in sorted(seen):
        ax.plot([], [], MARKERS[k], color=COLORS[k], markersize=4, label=f"at $T$, {WINNERS[k]}")
    ax.set_xlabel("ratio $\\rho$ of the gains, second over first")
    ax.set_ylabel("direction of $u$ [degrees]")
    ax.set_title("invariant rays at infinity")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=9, ncols=2)
    ax.grid(True)


def _while_resolved(
    ax: Axes, case: xr.Dataset, name: str, marker: str, color: str, label: str
) -> None:
    """A variable along the time, with markers as long as the grid resolves the fronts, a faint line
    after that.
    """
    t, values, lost = case["time"].values[1:], case[name].values[1:], float(case["lost_at"])
    last = len(t) if np.isnan(lost) else int(np.searchsorted(t, lost))
    kept = slice(None, max(last, 1))
    style = {"color": color, "marker": marker, "markersize": 4.5, "markevery": 12}
    ax.loglog(t[kept], values[kept], label=label, **style)
    if last < len(t):
        after = slice(max(last - 1, 0), None)
        ax.loglog(t[after], values[after], color=color, linewidth=1.0, alpha=0.5)
        ax.plot(t[last], values[last], "x", color=color, markersize=7, markeredgewidth=1.8)


def _name_unresolved(ax: Axes) -> None:
    """A line of the legend for the crosses."""
    ax.plot([], [], "x-", color="#777777", linewidth=1.0, label="fronts unresolved from here on")


def _gaps(ax: Axes, cases: Sequence[xr.Dataset]) -> None:
    for case, marker, color in zip(
        cases, cycle("osD^v"), cycle((BLUE, GREEN, SKY, VERMILION, BLACK)), strict=False
    ):
        label = f"$\\rho$ = {float(case_parameters(case)['ratio']):g}"
        _while_resolved(ax, case, "infinity_gap", marker, color, label)
    _name_unresolved(ax)
    end, lost = float(cases[0]["time"][-1]), float(cases[0]["lost_at"])
    last = end if np.isnan(lost) else lost
    level = 0.4 * float(np.interp(last, cases[0]["time"], cases[0]["infinity_gap"]))
    t = np.array([last / 3, last])
    ax.loglog(t, level * (last / t) ** 2, color=BLACK, linestyle=":", label="slope −2")
    ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
    ax.set_ylabel("velocity of the modes, gap to infinity's")
    ax.set_xlim(left=end / 300)
    ax.set_title("the flow tends to the one at infinity")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=9, ncols=3)
    ax.grid(True)


def _fronts(axes: Sequence[Axes], cases: Sequence[xr.Dataset]) -> list[str]:
    jumps, profile = axes
    notes = []
    for case, marker, color in zip(
        cases, cycle("osD^v"), cycle((ORANGE, GREEN, BLUE, BLACK)), strict=False
    ):
        nodes = int(case_parameters(case)["nodes"])
        label = f"{nodes} nodes"
        _while_resolved(jumps, case, "jump", marker, color, label)
        lost = float(case["lost_at"])
        notes.append(
            f"{nodes} nodes: "
            + ("resolved throughout" if np.isnan(lost) else f"unresolved from t = {lost:.3g} on")
        )
    _name_unresolved(jumps)
    jumps.axhline(UNRESOLVED, color=BLACK, linestyle=":", linewidth=1.0)
    jumps.set_xlim(left=float(cases[0]["time"][-1]) / 300)
    jumps.set_xlabel("time $t$ [layers $\\times \\tau$]")
    jumps.set_ylabel("share of $f_t$'s range crossed between nodes")
    jumps.set_title("fronts against the grid")
    jumps.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=9, ncols=2)
    jumps.grid(True)
    _profiles(profile, cases)
    return notes


def _profiles(ax: Axes, cases: Sequence[xr.Dataset]) -> None:
    """The final states of two starts on half of the ring: on the finest grid as lines, on the
    others as the values at the nodes.
    """
    finest, grey = len(cases) - 1, "#777777"
    for n, (case, marker) in enumerate(zip(cases, cycle("osD^v"), strict=False)):
        draw = partial(
            ax.plot,
            linestyle="-" if n == finest else "none",
            marker="" if n == finest else marker,
            markersize=5,
            markerfacecolor="none",
            linewidth=1.6,
        )
        y, final = case["position"].values, case["profile"].values / float(case["time"][-1])
        shown = y <= np.pi
        for m, color in enumerate((BLUE, VERMILION)):
            draw(y[shown], final[shown, m], color=color)
        draw([], [], color=grey, label=f"{int(case_parameters(case)['nodes'])} nodes")
    for color, name in ((BLUE, WINNERS[0]), (VERMILION, WINNERS[2])):
        ax.plot([], [], color=color, linewidth=4.0, label=name)
    ax.set_xlabel("position $y$ [rad]")
    ax.set_ylabel("$f(y, T) / T$")
    ax.set_title("final states on half of the ring")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=9, ncols=3)
    ax.grid(True)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    finest = max(int(case_parameters(case)["nodes"]) for case in cases)
    main = [case for case in cases if int(case_parameters(case)["nodes"]) == finest]
    columns = min(2, len(main))
    rows = -(-len(main) // columns)
    figure, axes = new_figure(rows, columns, width=5.2 * columns, height=5.0 * rows)
    for ax in axes.flat[len(main) :]:
        ax.set_visible(False)
    notes = [_plane(ax, case) for ax, case in zip(axes.flat, main, strict=False)]
    handles = {
        label: h
        for ax in axes.flat
        for h, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    caption = (
        "Which mode wins from which start, in the plane of the two even modes, and the separatrix "
        "that runs in from infinity, for some rho, the gain of the second mode over that of the "
        "first. Markers are at the starts. "
    )
    pictures = [Picture("fates", caption + "rho = " + "; rho = ".join(notes) + ".", figure)]
    figure, axes = new_figure(1, 2, width=10.4, height=4.4)
    _diagram(axes[0, 0], main)
    _gaps(axes[0, 1], main)
    located = [
        f"rho = {float(case_parameters(case)['ratio']):g}: {float(case['boundary']):.6f} found "
        f"by bisection, "
        f"{float(case['boundary_from_infinity']):.6f} from infinity"
        for case in main
        if np.isfinite(float(case["boundary"]))
    ]
    caption = (
        "Left: the invariant rays at infinity in closed form, and the direction in which u grows "
        "at T from each start. "
        "Right: the largest gap between the velocity of the modes and that at infinity; crosses "
        "mark where the grid stops to resolve the fronts. rho is the gain of the second mode over "
        "that of the first. Starts that no mode wins, as angles: "
    )
    pictures.append(Picture("infinity", caption + ("; ".join(located) or "none") + ".", figure))
    pick = float(case_parameters(main[len(main) // 2])["ratio"]) if len(main) < 2 else None
    by_ratio: dict[float, list[xr.Dataset]] = {}
    for case in cases:
        by_ratio.setdefault(float(case_parameters(case)["ratio"]), []).append(case)
    chosen = by_ratio[pick] if pick is not None else max(by_ratio.values(), key=len)
    figure, axes = new_figure(1, 2, width=10.4, height=4.4)
    lost = _fronts(
        list(axes[0]), sorted(chosen, key=lambda case: int(case_parameters(case)["nodes"]))
    )
    largest = max(float(case["dense_gap"]) for case in cases)
    shifted = max(float(case["shift_gap"]) for case in cases)
    caption = (
        "Fronts sharpen like 1/t until the grid no longer resolves them: " + "; ".join(lost) + ". "
        f"Dense and FFT products give states within {largest:.1e} of each other, and starts "
        f"shifted by a node the "
        f"shifted states within {shifted:.1e}."
    )
    pictures.append(Picture("fronts", caption, figure))
    return pictures


@study(
    "liu_markowich/selection",
    paper=PAPER,
    figure="Title; Section 3",
    plot=_plot,
    cases=[{"ratio": [0.4, 0.8, 1.5, 2.5]}, {"ratio": [0.8], "nodes": [64, 128]}],
)
def selection(
    ratio: Annotated[float, Ge(0.05), Le(20)] = 0.8,
    nodes: Count = 512,
    first: Positive = 0.5,
    amplitude: Positive = 0.5,
    starts: Several = 16,
    horizon: Horizon = 60.0,
    times: Several = 121,
) -> xr.Dataset:
    """Two modes on a ring compete: which one wins, from which start, and what is left at infinity.

    f_t = tanh(-Bf) with b(y, z) = -first (cos(y - z) + ratio cos 2(y - z)) on a ring. Even states
    have the coordinates x = (f, cos y), y = (f, cos 2y), and from amplitude (cos(angle) cos y +
    sin(angle) cos 2y) they grow without bound. At infinity tanh is a sign; there the direction of u
    = first x cos s + first ratio y cos 2s alone moves, between the rays of
    continuum.exact.TwoModeRing: for ratio < 1/2 the first mode wins always, for ratio > 2 the
    second, in between each has its starts, and for 1 < ratio the first mode's place is taken by a
    mixture.

    x, y: along the runs; winner: 0 first, 1 mixture, 2 second; growth_angle: of the velocity (first
    x', second y') at the horizon, in degrees; boundary: the angle of the start that no mode wins,
    by bisection, and boundary_from_infinity: where the separatrix, run back from the repelling ray,
    meets the same starts; infinity_gap: largest difference of (x', y') from its closed form at
    infinity; jump: largest share of the velocity's range between neighbouring nodes, lost_at: when
    it first exceeds 1/4; dense_gap, shift_gap: largest differences from dense products, and from
    shifted states for starts shifted by a node.
    """
    if not 32 <= nodes <= 4096:
        raise ValueError(f"nodes must be from 32 to 4096, got {nodes}")
    if not (0.05 <= ratio <= 20 and first > 0 and amplitude > 0 and horizon > 0):
        raise ValueError(
            f"ratio must be in [0.05, 20], first, amplitude, horizon > 0, got {ratio}, {first}, "
            f"{amplitude}, {horizon}"
        )
    if not (starts >= 2 and times >= 2):
        raise ValueError(f"starts and times must be >= 2, got {starts} and {times}")
    ring = TwoModeRing(first, first * ratio)
    grid = periodic(Circle(), nodes)
    mesh = TimeMesh(horizon, 1)
    network = WidthDepth(grid, tanh, Convolution())
    control = network.control(mesh, kernel=ring.kernel)
    angles = (np.arange(starts) + 0.5) * (np.pi / 2) / starts
    modes = grid.sample(np.cos, lambda y: np.cos(2.0 * y))
    initial = amplitude * modes @ np.stack([np.cos(angles), np.sin(angles)])
    at = horizon * np.linspace(0.0, 1.0, times) ** 2
    f = integrate(network, control, initial, PRECISE, save=at).trajectory.states

    weighted = (grid.weights[:, None] * modes).T
    x, y = np.moveaxis(weighted @ f, 1, 0)
    speeds = np.stack([weighted @ network.velocity(state, control.at(0.0), 0.0) for state in f])
    ahead = np.stack(ring.velocity_at_infinity(x, y), axis=1)
    jump = np.array([np.max(velocity_jump(network, control, state)) for state in f])
    lost = np.flatnonzero(jump > UNRESOLVED)
    who = winner(ring, x[-1], y[-1])
    shown = [int(np.argmax(who < 2)), int(np.argmax(who == 2) if np.any(who == 2) else starts - 1)]

    dense = WidthDepth(grid, tanh)
    full = dense.control(mesh, kernel=lambda y, z: ring.kernel(y - z))
    some = initial[:, :: max(1, starts // 4)]
    products = (
        integrate(dense, full, some, PRECISE).trajectory.final
        - integrate(network, control, some, PRECISE).trajectory.final
    )
    rolled = integrate(network, control, np.roll(initial, 1, axis=0), PRECISE).trajectory.final
    return xr.Dataset(
        {
            "x": described("x", x, "rad", "first mode", ("time", "start")),
            "y": described("y", y, "rad", "second mode", ("time", "start")),
            "winner": described(
                "winner", who, "1", "0 first mode, 1 mixture, 2 second mode", ("start",)
            ),
            "growth_angle": described(
                "growth_angle",
                np.degrees(np.arctan2(ratio * speeds[-1, 1], speeds[-1, 0])),
                "degree",
                "direction in which u grows",
                ("start",),
            ),
            "boundary": described(
                "boundary", boundary(ring, amplitude), "rad", "start that no mode wins"
            ).assign_attrs(nan_means="no such start"),
            "boundary_from_infinity": described(
                "boundary_from_infinity",
                crossing(separatrix(ring), np.pi * amplitude),
                "rad",
                "the same from infinity",
            ).assign_attrs(nan_means="no such start"),
            "infinity_gap": described(
                "infinity_gap",
                np.abs(speeds - ahead).max(axis=(1, 2)),
                "rad/time",
                "gap to infinity",
                ("time",),
            ),
            "jump": described(
                "jump", jump, "1", "share of the velocity's range between neighbours", ("time",)
            ),
            "lost_at": described(
                "lost_at", at[lost[0]] if len(lost) else np.nan, "time", "fronts no longer resolved"
            ).assign_attrs(nan_means="never"),
            "profile": described(
                "profile", f[-1][:, shown], "1", "final states of two starts", ("position", "shown")
            ),
            "dense_gap": described(
                "dense_gap", np.abs(products).max(), "1", "dense against FFT products"
            ),
            "shift_gap": described(
                "shift_gap", np.abs(rolled - np.roll(f[-1], 1, axis=0)).max(), "1", "shifted start"
            ),
        },
        coords={
            "time": ("time", at, {"units": "time", "long_name": "time along the network"}),
            "start": (
                "start",
                np.degrees(angles),
                {"units": "degree", "long_name": "angle of the start"},
            ),
            "position": (
                "position",
                grid.coordinates,
                {"units": "rad", "long_name": "position on the ring"},
            ),
        },
    )
