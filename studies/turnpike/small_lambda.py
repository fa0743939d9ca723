"""Terminal costs on many horizons, at many strengths of the penalty: one curve in lambda / T."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal, TypeAlias

import numpy as np
import xarray as xr
from annotated_types import Ge, Le
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from continuum import Control, LearningProblem, TerminalEquality, Tikhonov, TimeMesh
from solvers import RiccatiNewton, discretize, minimize

from ..bench.parameters import Count, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure
from ..shared import described
from .claims.terminal_costs import two_points
from .paper import PAPER, lowest, xor

Data: TypeAlias = Literal["two points", "xor"]

COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE)
MARKS = "osD^v"
SIZES = (10.0, 8.0, 6.0, 4.0, 3.0)
"""Of marks, so that those which coincide are all seen."""

RATIO = 3.0
"""Between neighbouring strengths: not a power of 2, by which scaling would be free of rounding."""


def posed(data: Data, strength: float, mesh: TimeMesh) -> LearningProblem:
    """minimise the mean of |P x(T) - y|^2 plus strength int_0^T |u|^2 over x' = w tanh x + b.

    "two points": TP-08, on the line; "xor": TP-09, in the plane, P x = x_1.
    """
    if data == "xor":
        return xor(strength, mesh)
    problem = two_points(strength)
    return replace(problem, controls=problem.network.controls(mesh))


def _interpolant(problem: LearningProblem, start: Control) -> tuple[float, float, str]:
    """(V, (N / 4) |grad V|^2, status): V is T int |u|^2 of a control of least norm whose outputs
    are the targets, near `start`; its gradient in the targets is the endpoint's multiplier.
    """
    exact = replace(
        problem, terminal=None, endpoint=TerminalEquality(), penalty=Tikhonov(problem.mesh.horizon)
    )
    method = RiccatiNewton(gtol=1e-10, relative=True, max_iterations=300)
    found = minimize(exact, method, initial=start, raise_on_failure=False)
    if found.multiplier is None:
        raise TypeError("a problem with an endpoint has a multiplier")
    gradient = exact.sample_weights * found.multiplier
    samples = gradient.shape[1]
    return found.objective, 0.25 * samples * float(np.sum(gradient**2)), found.status.name


def _number(case: xr.Dataset, name: str) -> float:
    return float(case_parameters(case)[name])  # type: ignore[arg-type]


def apart(case: xr.Dataset, others: Sequence[xr.Dataset], name: str) -> tuple[np.ndarray, ...]:
    """(ratios, |a / b - 1|): the variable `name` of a case over that of the first of the others
    with the same lambda / T, where there is one.
    """
    ratios, differences = [], []
    for ratio, value in zip(case["ratio"].values, case[name].values, strict=True):
        for other in others:
            same = np.isclose(other["ratio"].values, ratio, rtol=1e-9, atol=0.0)
            if np.any(same):
                ratios.append(ratio)
                differences.append(abs(value / float(other[name].values[same][0]) - 1.0))
                break
    return np.array(ratios), np.array(differences)


def _largest(cases: Sequence[xr.Dataset], name: str) -> float:
    """The largest relative difference between runs of one lambda / T, NaN if no two share it."""
    found = [apart(case, cases[:i], name)[1] for i, case in enumerate(cases)]
    return float(np.max(np.concatenate(found), initial=-np.inf)) if any(map(len, found)) else np.nan


def _curves(ax: Axes, cases: Sequence[xr.Dataset], against: str, name: str) -> None:
    for i, case in enumerate(cases):
        ax.plot(
            case[against],
            case[name],
            MARKS[i % 5],
            color=COLORS[i % 5],
            markersize=SIZES[i % 5],
            linestyle="-" if against == "strength" else "none",
            linewidth=0.8,
            label=f"T = {_number(case, 'horizon'):g}",
        )


def _differences(ax: Axes, cases: Sequence[xr.Dataset], finer: Sequence[xr.Dataset]) -> None:
    """Relative differences of phi: to other horizons, and to other numbers of layers."""
    for i, case in enumerate(cases[1:], 1):
        ratios, found = apart(case, cases[:i], "error")
        ax.plot(
            ratios,
            np.maximum(found, 1e-17),
            MARKS[i % 5],
            color=COLORS[i % 5],
            markersize=5,
            label=f"T = {_number(case, 'horizon'):g}, same layers",
        )
    for case, color, line in zip(finer, (BLACK, SKY, PURPLE), ("--", ":", "-."), strict=False):
        ratios, found = apart(case, cases, "error")
        label = f"{_number(case, 'layers'):g} layers"
        ax.plot(ratios, np.maximum(found, 1e-17), line, color=color, marker=".", label=label)


def _figure(
    cases: Sequence[xr.Dataset], finer: Sequence[xr.Dataset], limit: tuple[float, float]
) -> Figure:
    """phi over lambda and over lambda / T, the scaled norm, and what is left between the runs."""
    figure, ((first, second), (third, fourth)) = new_figure(2, 2, width=10.4, height=8.2)
    value, factor = limit
    _curves(first, cases, "strength", "error")
    _curves(second, cases, "ratio", "error")
    _curves(third, cases, "ratio", "energy")
    everywhere = np.concatenate([c["ratio"].values for c in cases])
    e = np.geomspace(np.min(everywhere), np.max(everywhere), 200)
    lowest = min(float(np.min(c["error"])) for c in cases)
    second.plot(e, value * e, ":", color=BLACK, label="$V\\lambda/T$, a bound")
    second.plot(
        e, factor * e**2, "--", color=BLACK, label="$\\frac{N}{4}|\\nabla V|^2(\\lambda/T)^2$"
    )
    second.set_ylim(0.3 * lowest, 10.0)
    third.axhline(value, color=BLACK, linestyle=":", label="$V$")
    line = value - 2.0 * factor * e
    third.plot(
        e[line > 0.0],
        line[line > 0.0],
        "--",
        color=BLACK,
        label="$V - \\frac{N}{2}|\\nabla V|^2\\lambda/T$",
    )
    third.set_ylim(0.0, 1.15 * value)
    _differences(fourth, cases, finer)
    for ax in (first, second, fourth):
        ax.set_yscale("log")
    for ax in (first, second, third, fourth):
        ax.set_xscale("log")
        ax.set_xlabel("$\\lambda$" if ax is first else "$\\lambda / T$")
        ax.grid(True)
    first.set_ylabel("training error $\\varphi(x(T))$")
    second.set_ylabel("training error $\\varphi(x(T))$")
    third.set_ylabel("scaled norm $T\\int_0^T|u|^2 dt$")
    fourth.set_ylabel("relative difference of $\\varphi$")
    fourth.set_ylim(3e-18, 10.0)
    for ax in (first, second, third):
        ax.legend()
    fourth.legend(loc="center", bbox_to_anchor=(0.5, 0.52), ncols=2)
    return figure


def _picture(data: str, cases: Sequence[xr.Dataset]) -> Picture:
    """One data set: runs of the number of layers that most cases have, and the others."""
    layers = [_number(case, "layers") for case in cases]
    usual = max(sorted(set(layers)), key=layers.count)
    same = [c for c, n in zip(cases, layers, strict=True) if n == usual]
    same.sort(key=lambda case: _number(case, "horizon"))
    finer = [c for c, n in zip(cases, layers, strict=True) if n != usual]
    last = min(same, key=lambda c: float(np.min(c["ratio"])))
    value, factor = float(last["least_norm"]), float(last["prefactor"])
    ratios = {f"{r:.9e}" for c in same for r in c["ratio"].values}
    statuses = sorted({str(c.attrs["status"]) for c in cases})
    caption = (
        f"{data}, {usual:g} layers on every horizon: {len(ratios)} values of lambda / T, from "
        f"{sum(len(c['ratio']) for c in same)} pairs (lambda, T), the lowest of some Newton runs "
        f"for each ({', '.join(statuses)}). Pairs with the same lambda / T differ by "
        f"{_largest(same, 'error'):.1e} of phi and {_largest(same, 'energy'):.1e} of T int |u|^2 "
        "at most (0 is drawn at 1e-17): one curve. Where T int |u|^2 jumps "
        "another minimum becomes the lowest. As lambda / T falls to "
        f"{float(np.min(last['ratio'])):.2g} the slope of log phi tends to 2: it is "
        f"{float(last['slope'][0]):.4f} to {float(last['slope'][-1]):.6f} on T = "
        f"{_number(last, 'horizon'):g}; phi (T / lambda)^2 extrapolates to "
        f"{float(last['limit']):.8g}, where the theorem has (N / 4) |grad V|^2 = {factor:.8g}; V = "
        f"{value:.8g} (both of the ResNet; interpolant: {last.attrs['interpolant'].lower()})."
    )
    others = [(_number(c, "layers"), apart(c, same, "error")[1]) for c in finer]
    found = [f"{d[-1]:.2g} with {n:g}" for n, d in others if len(d)]
    if found:
        caption += (
            f" Another number of layers is another curve: phi differs by {', '.join(found)} layers."
        )
    return Picture(data.replace(" ", "_"), caption, _figure(same, finer, (value, factor)))


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    groups: dict[str, list[xr.Dataset]] = {}
    for case in cases:
        groups.setdefault(str(case_parameters(case)["data"]), []).append(case)
    return [_picture(data, group) for data, group in groups.items()]


@study(
    "turnpike/small_lambda",
    paper=PAPER,
    figure="lambda -> 0 and T -> infinity",
    plot=_plot,
    cases=[
        {"data": ["two points", "xor"], "horizon": [1.0, 3.0, 9.0, 27.0, 81.0]},
        {"data": ["two points", "xor"], "horizon": [27.0], "layers": [96, 192]},
    ],
)
def small_lambda(
    data: Data = "two points",
    horizon: Annotated[float, Ge(0.1), Le(1000)] = 1.0,
    layers: Annotated[int, Ge(2), Le(1000)] = 48,
    strengths: Annotated[int, Ge(3), Le(12)] = 7,
    starts: Count = 12,
    seed: Seed = 0,
) -> xr.Dataset:
    """Is a long horizon the same as a weak penalty?

    minimise phi(x(T)) + lambda int_0^T |u|^2 for lambda = 1, 1/3, 1/9, ...: the lowest of Newton
    runs from the minimiser before, or zero, and from random controls of size 1.5 / T.  The
    equation x' = w tanh x + b is homogeneous in the control, so u^1(s) = T u^T(sT) makes it the
    problem of T = 1 and lambda / T, with Euler's method too if the number of layers is the same.
    With V the least int_0^1 |u|^2 that fits the data, phi <= V lambda / T, and as lambda / T -> 0

        phi = (N / 4) |grad V|^2 (lambda / T)^2 (1 + o(1)),   T int |u|^2 -> V

    for N samples (theory, SL1).  V here is that of the ResNet, and of the interpolant near the last
    minimiser, perhaps not the least.

    strength: lambda; ratio: lambda / T; error: phi; energy: T int |u|^2; objective: J; slope: of
    log phi between neighbouring ratios; limit: phi (T / lambda)^2 at ratio 0, extrapolated from the
    last two; least_norm: V; prefactor: (N / 4) |grad V|^2.
    """
    if not 0.1 <= horizon <= 1000.0 or not 2 <= layers <= 1000 or not 3 <= strengths <= 12:
        raise ValueError(
            "horizon must be from 0.1 to 1000, layers from 2 to 1000, strengths from 3 to 12, got "
            f"{horizon}, {layers}, {strengths}"
        )
    if starts < 1:
        raise ValueError(f"starts must be >= 1, got {starts}")
    rng, mesh = np.random.default_rng(seed), TimeMesh(horizon, layers)
    lambdas = RATIO ** -np.arange(strengths, dtype=float)
    problem = posed(data, 1.0, mesh)
    last, rows, statuses = problem.space.zeros(), [], set()
    for strength in lambdas:
        problem = posed(data, float(strength), mesh)
        given = [last, *(problem.space.random(rng, 1.5 / horizon) for _ in range(starts))]
        found = lowest(problem, given)
        last = found.control
        statuses.add(found.status.name.lower())
        path = discretize(problem).run(last)
        functional = problem.functional
        error = functional.terminal_cost(path.states[-1], functional.terminal_values(last))
        rows.append((error, horizon * problem.space.norm(last) ** 2, path.value))
    error, energy, objective = np.array(rows).T
    value, factor, interpolant = _interpolant(problem, last)
    ratio = lambdas / horizon
    scaled = error / ratio**2
    limit = (RATIO * scaled[-1] - scaled[-2]) / (RATIO - 1.0)
    slope = np.diff(np.log(error)) / np.diff(np.log(ratio))
    one = ("strength",)
    return xr.Dataset(
        {
            "ratio": described("ratio", ratio, "1", "lambda / T", one),
            "error": described("error", error, "1", "training error at T", one),
            "energy": described("energy", energy, "1", "T int |u|^2", one),
            "objective": described("objective", objective, "1", "J of the ResNet", one),
            "slope": described("slope", slope, "1", "slope of log phi", ("between",)),
            "limit": described("limit", limit, "1", "phi (T / lambda)^2 at ratio 0"),
            "least_norm": described("least_norm", value, "1", "V"),
            "prefactor": described("prefactor", factor, "1", "(N / 4) |grad V|^2"),
        },
        coords={"strength": ("strength", lambdas, {"units": "1", "long_name": "lambda"})},
        attrs={"status": ", ".join(sorted(statuses)), "interpolant": interpolant},
    )
