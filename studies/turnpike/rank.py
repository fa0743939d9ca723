"""Samples within and beyond the rank of (sigma(x), 1): exponential decay along the depth, or a
plateau.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from continuum import Control, LearningProblem, TimeMesh
from solvers import discretize
from solvers.turnpike import turnpike

from ..bench.parameters import Count, Horizon, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, VERMILION, new_figure
from ..shared import described
from .claims.common import starts as constant_starts
from .claims.rank import graded, line, prolonged
from .paper import PAPER, errors, lowest, xor

Data: TypeAlias = Literal[
    "two points", "three points", "xor in the plane", "xor in three dimensions"
]

SHORT = 8.0
"""Up to this horizon layers are equal and random starts are tried; longer ones have layers that
grow from here on, and start from the control before.
"""

LINES = (("-", 4.0), ("--", 2.2), (":", 1.2))
"""Styles and widths, so that curves which coincide are all seen."""

LEAST = 1e-14
"""The smallest error that is drawn."""


def posed(data: Data, horizon: float, per_unit: int) -> LearningProblem:
    """minimise int_0^T phi + lambda |u|^2 dt over x' = w tanh x + b, phi the mean of |P x - y|^2.

    "two points", "three points": on the line, lambda = 0.1 (TP-25); "xor ...": lambda = 0.02 (TP-26
    and TP-27).
    """
    if horizon > SHORT:
        mesh = graded(horizon, per_unit, SHORT)
    else:
        mesh = TimeMesh(horizon, round(horizon * per_unit))
    if data == "two points":
        return line([-0.5, 0.5], [-1.5, 1.0], mesh)
    if data == "three points":
        return line([-0.5, 0.0, 0.5], [-1.0, 0.4, 0.9], mesh)
    return xor(0.02, mesh, along=True, units=2 if data == "xor in the plane" else 3)


def singular_values(x: np.ndarray) -> np.ndarray:
    """(M,): of (tanh x_i, 1), one row for each of the M samples in x (d, M), with zeros where M >
    d + 1.
    """
    rows = np.concatenate([np.tanh(x), np.ones((1, x.shape[1]))]).T
    found = np.linalg.svd(rows, compute_uv=False)
    return np.concatenate([found, np.zeros(len(rows) - len(found))])


def _rank(values: np.ndarray) -> int:
    return int(np.sum(values > 1e-10 * values[0]))


def _rates(problem: LearningProblem, control: Control) -> tuple[float, float, int, np.ndarray]:
    """(rate of phi predicted, that of the ResNet, modes without rate, fit of the slowest mode):
    rates are NaN if a mode has none.
    """
    found = turnpike(problem, control)
    if found.spectrum.neutral or found.scheme is None:
        return np.nan, np.nan, found.spectrum.neutral, np.full(5, np.nan)
    slowest = [one for one in found.fitted if one.what.startswith("entry")][-1]
    fit = np.array([2.0 * slowest.rate, *(2.0 * x for x in slowest.interval), *slowest.window])
    return 2.0 * found.spectrum.gap, 2.0 * found.scheme.gap, 0, fit


def _below(ax: Axes, case: xr.Dataset, color: str) -> None:
    """phi over t, for the horizons 8, 16, 32."""
    for horizon, (style, width) in zip((SHORT, 2.0 * SHORT, 4.0 * SHORT), LINES, strict=True):
        if horizon in case["horizon"]:
            one = case.sel(horizon=horizon)
            label = f"{case_parameters(case)['data']}, T = {horizon:g}"
            ax.semilogy(
                one["time"],
                one["error"],
                style,
                color=color,
                linewidth=width,
                alpha=0.6,
                label=label,
            )


def _exponential(left: Axes, right: Axes, case: xr.Dataset) -> None:
    """The rate predicted, through phi in the middle of the fit's window; what it gives at T / 2."""
    rate, (times, error) = float(case["predicted"]), _paths(case.sel(horizon=[SHORT]))[0]
    at = 0.5 * float(np.sum(case["fit"].values[3:]))
    phi = np.interp(at, times, np.log(error))
    t = np.linspace(0.0, SHORT, 50)
    line = np.exp(phi - rate * (t - at))
    left.semilogy(
        t, line, "-.", color=BLACK, linewidth=1.0, label=f"$e^{{-{rate:.3f}\\, t}}$, predicted"
    )
    right.loglog(
        2.0 * t[t >= 1.0], line[t >= 1.0], "-.", color=BLACK, label=f"$e^{{-{rate:.3f}\\, T/2}}$"
    )


def _pair(left: Axes, right: Axes, cases: Sequence[xr.Dataset]) -> None:
    """One row: phi over t, and phi at T / 2 over T."""
    for case in cases:
        horizons, middle = case["horizon"].values, case["middle"].values
        enough = np.isfinite(float(case["predicted"]))
        color, mark = (BLUE, "o") if enough else (VERMILION, "s")
        _below(left, case, color)
        right.loglog(horizons, middle, mark, color=color, label=str(case_parameters(case)["data"]))
        if enough:
            _exponential(left, right, case)
        else:
            line = middle[-1] * (horizons[-1] / horizons) ** 2
            right.loglog(horizons, line, "--", color=BLACK, label="slope $-2$")
    left.set(xlim=(0.0, 2.0 * SHORT), xlabel="time $t$ [layers $\\times \\tau$]")
    left.set_ylabel("training error $\\varphi(x(t))$")
    right.set_xlabel("horizon $T$ [time]")
    right.set_ylabel("training error $\\varphi(x(T/2))$")
    right.xaxis.set_major_locator(FixedLocator(cases[0]["horizon"].values.tolist()))
    right.xaxis.set_major_formatter(ScalarFormatter())
    right.xaxis.set_minor_locator(NullLocator())
    left.legend(loc="lower right")
    right.legend(loc="lower left")
    for ax in (left, right):
        ax.set_ylim(LEAST, 10.0)
        ax.grid(True)


def _paths(case: xr.Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    """(times, phi) for each horizon."""
    both = zip(case["time"].values, case["error"].values, strict=True)
    return [(t[np.isfinite(t)], phi[np.isfinite(t)]) for t, phi in both]


def _note(case: xr.Dataset) -> str:
    data, horizons = str(case_parameters(case)["data"]), case["horizon"].values
    values, middle = case["singular"].values, case["middle"].values
    text = (
        f"{data} ({case.attrs['status']}): rank {_rank(values[0])} at t = 0 and {_rank(values[1])} "
        f"at the end, of {values.shape[1]} samples"
    )
    if np.isfinite(float(case["predicted"])):
        rate, low, high, start, stop = case["fit"].values
        early = [float(np.interp(2.0, t, phi)) for t, phi in _paths(case)[2:]]
        return (
            f"{text}, rate predicted {float(case['predicted']):.5f}, of the ResNet "
            f"{float(case['scheme']):.5f}, fitted {rate:.5f} in [{low:.5f}, {high:.5f}] on "
            f"({start:.2f}, {stop:.2f}), phi(2) the same from T = {horizons[2]:g} to "
            f"{horizons[-1]:g} to {np.ptp(early) / early[0]:.1g}"
        )
    slope = np.log(middle[-1] / middle[-2]) / np.log(horizons[-1] / horizons[-2])
    scaled = ", ".join(f"{x:.4g}" for x in (horizons**2 * middle)[-3:])
    word = "" if abs(slope + 2.0) < 0.03 else ", not yet -2"
    return (
        f"{text}, {int(case['neutral'])} mode without rate, T^2 phi(T / 2) = {scaled} at T = "
        f"{', '.join(f'{h:g}' for h in horizons[-3:])}, last slope {slope:.3f}{word}"
    )


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    xors = [c for c in cases if str(case_parameters(c)["data"]).startswith("xor")]
    points = [c for c in cases if not str(case_parameters(c)["data"]).startswith("xor")]
    pairs = [pair for pair in (points, xors) if pair]
    figure, axes = new_figure(len(pairs), 2, width=11.0, height=4.6 * len(pairs))
    for (left, right), pair in zip(axes, pairs, strict=True):
        _pair(left, right, pair)
    caption = (
        "Training error of minimisers of int phi + lambda |u|^2, along the depth (left) and at T / "
        "2 as T doubles (right). Where the rows (sigma(x_i), 1) are independent it falls "
        "exponentially, and what it is at a given time does not depend on T; where samples "
        "outnumber the rank a plateau is left, of order T^-2 by the heuristic argument E11 of the "
        f"theory. {'. '.join(_note(case) for case in cases)}. "
        f"Values under {LEAST:.0e} are not shown."
    )
    return [Picture("rank", caption, figure)]


@study(
    "turnpike/rank",
    paper=PAPER,
    figure="running cost, rank condition",
    plot=_plot,
    cases=[
        {
            "data": [
                "two points",
                "three points",
                "xor in three dimensions",
                "xor in the plane",
            ]
        }
    ],
)
def rank(
    data: Data = "two points",
    longest: Horizon = 256.0,
    per_unit: Count = 32,
    starts: Count = 8,
    seed: Seed = 0,
) -> xr.Dataset:
    """Does the error decay exponentially, or stop at a plateau, where samples outnumber the rank?

    minimise int_0^T phi(x) + lambda |u|^2 dt for T = 2, 4, 8, ...: the lowest of Newton runs from
    the control before and, up to T = 8, from random ones.  Near the targets the control moves the
    samples in the directions of K = (sigma(x_i) . sigma(x_j) + 1), P x a number.  If K is regular
    phi falls like exp(-2 (eig(K) / (N lambda))^(1/2) t) with the least eigenvalue, N samples; if
    not, a part of the residuals can be moved only through Lie brackets, and a plateau of order T^-2
    is expected, not proved (theory, E11).

    error: phi, on (horizon, node), NaN after the last node; middle: phi at T / 2; objective: J;
    singular: values of the rows (sigma(x_i), 1) at 0 and at the longest horizon; predicted, scheme:
    rates of phi for the differential equation and for the ResNet, NaN without spectral gap; fit:
    rate, interval and window of the slowest mode, at the longest horizon that is at most 8;
    neutral: modes without rate.
    """
    if not SHORT <= longest <= 1024.0 or not 4 <= per_unit <= 256 or starts < 1:
        raise ValueError(
            f"longest must be from {SHORT:g} to 1024, per_unit from 4 to 256, starts >= 1, got "
            f"{longest}, {per_unit}, {starts}"
        )
    horizons = 2.0 ** np.arange(1, int(np.log2(longest)) + 1)
    paths, statuses, last = [], set(), None
    predicted = scheme = neutral = np.nan
    fit = np.full(5, np.nan)
    for horizon in horizons:
        problem = posed(data, float(horizon), per_unit)
        given = [] if last is None else [prolonged(last, problem)]
        if horizon <= SHORT:
            given += constant_starts(problem, starts, 1.0, seed)
        found = lowest(problem, given)
        last = found.control
        statuses.add(found.status.name.lower())
        path = discretize(problem).run(last)
        paths.append((problem.mesh.nodes, errors(problem, path), path))
        if horizon == SHORT:
            predicted, scheme, neutral, fit = _rates(problem, last)
    time, error = np.full((2, len(paths), max(len(t) for t, _, _ in paths)), np.nan)
    for row, (t, phi, _) in enumerate(paths):
        time[row, : len(t)], error[row, : len(t)] = t, phi
    middle = [np.interp(0.5 * h, t, phi) for h, (t, phi, _) in zip(horizons, paths, strict=True)]
    states = paths[-1][2].states
    singular = [singular_values(x) for x in (states[0], states[-1])]
    along, once = ("horizon", "node"), ("horizon",)
    return xr.Dataset(
        {
            "time": described("time", time, "time", "t", along),
            "error": described("error", error, "1", "training error", along),
            "middle": described("middle", middle, "1", "training error at T / 2", once),
            "objective": described(
                "objective", [p.value for _, _, p in paths], "1", "J of the ResNet", once
            ),
            "singular": described(
                "singular", singular, "1", "singular values of (sigma(x), 1)", ("end", "sample")
            ),
            "predicted": described("predicted", predicted, "1/time", "rate of the error"),
            "scheme": described("scheme", scheme, "1/time", "rate of the ResNet's error"),
            "fit": described("fit", fit, "1/time", "rate of the error, fitted", ("fitted",)),
            "neutral": described("neutral", neutral, "1", "modes without rate"),
        },
        coords={
            "horizon": ("horizon", horizons, {"units": "time", "long_name": "T"}),
            "end": ("end", ["first", "last"]),
            "fitted": ("fitted", ["rate", "low", "high", "start", "stop"]),
        },
        attrs={"status": ", ".join(sorted(statuses))},
    )
