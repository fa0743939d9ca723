"""Deeper and deeper networks: where they send the data, and how fast the error falls with T."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from continuum import (
    Affine,
    Chain,
    Control,
    Interval,
    LearningProblem,
    NeuralODE2,
    Projection,
    SquaredError,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    midpoint,
    tanh,
)
from solvers import Euler, RiccatiNewton, Solution, discretize, integrate, minimize

from ..bench.parameters import Count, Horizon, NonNegative, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, ORANGE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER, lowest
from .planar_data import Data, padded, points

Net: TypeAlias = Literal["NeuralODE2", "WidthDepth"]
Output: TypeAlias = Literal["first coordinate", "trained"]
WINDOW, PIXELS, MOMENTS = 2.0, 61, 41


def posed(
    network: Net, readout: Output, data: Data, units: int, horizon: float, strength: float
) -> LearningProblem:
    """minimise the mean of |output - label|^2 at T, plus strength int_0^T |u|^2 dt, with T^(3/2)
    layers of length T^(-1/2) (E7).
    """
    x, labels = points(data)
    mesh = TimeMesh(horizon, round(horizon**1.5))
    if network == "NeuralODE2":
        net: Chain = NeuralODE2(units, tanh)
    else:
        net = WidthDepth(midpoint(Interval(0, units), units), tanh)  # cells of length 1
    return LearningProblem(
        net,
        padded(x, units),
        labels[None],
        mesh,
        readout=Affine(1) if readout == "trained" else Projection(np.eye(1, units)),
        terminal=SquaredError(1.0),
        penalty=Tikhonov(strength),
    )


def random_starts(problem: LearningProblem, starts: int, seed: int) -> list[Control]:
    """Random controls whose size is 1.5 / T."""
    rng, size = np.random.default_rng(seed), 1.5 / problem.mesh.horizon
    return [problem.space.random(rng, size) for _ in range(starts)]


def _least_norm(
    problem: LearningProblem, start: Solution, strength: float
) -> tuple[float, float, str]:
    """(int |u*|^2 over the unit horizon, distance of the scaled control from u*, status): u* is a
    control of least norm that fits the data, reached from the minimiser as the penalty gets weaker.
    """
    method = RiccatiNewton(gtol=1e-8, relative=True, max_iterations=300)
    horizon, space, control = problem.mesh.horizon, problem.space, start.control
    for factor in 10.0 ** -np.arange(1, 6):
        weaker = replace(problem, penalty=Tikhonov(strength * factor))
        control = minimize(weaker, method, initial=control, raise_on_failure=False).control
    exact = replace(
        problem, terminal=None, endpoint=TerminalEquality(), penalty=Tikhonov(1.0 / horizon)
    )
    method = RiccatiNewton(gtol=1e-5, max_iterations=300)
    found = minimize(exact, method, initial=control, raise_on_failure=False)
    value = horizon * space.norm(found.control) ** 2
    apart = horizon**0.5 * space.norm(found.control - start.control)
    return value, apart, found.status.name


def _plane() -> np.ndarray:
    """(2, PIXELS^2): a lattice of inputs."""
    axis = np.linspace(-WINDOW, WINDOW, PIXELS)
    return np.stack([x.ravel() for x in np.meshgrid(axis, axis)])


def _region(ax: Axes, case: xr.Dataset) -> None:
    """The sign of the output as a function of the input, with the data."""
    axis = np.linspace(-WINDOW, WINDOW, PIXELS)
    field = case["region"].values
    ax.contourf(axis, axis, field, levels=[-1e9, 0.0, 1e9], colors=[ORANGE, BLUE], alpha=0.25)
    ax.contour(axis, axis, field, levels=[0.0], colors=[BLACK], linewidths=1.0)
    _scatter(ax, case["states"].values[0], case["label"].values)
    ax.set(xlim=(-WINDOW, WINDOW), ylim=(-WINDOW, WINDOW), xlabel="$x_1(0)$", ylabel="$x_2(0)$")
    ax.set_aspect("equal")


def _scatter(ax: Axes, x: np.ndarray, labels: np.ndarray) -> None:
    for value, color, marker in ((-1.0, VERMILION, "o"), (1.0, BLUE, "^")):
        chosen = labels == value
        ax.plot(*x[:2, chosen], marker, color=color, markersize=4)


def _trajectories(ax: Axes, case: xr.Dataset) -> None:
    states, labels = case["states"].values, case["label"].values
    for m, label in enumerate(labels):
        ax.plot(*states[:, :2, m].T, color=BLUE if label > 0 else VERMILION, linewidth=0.7)
    _scatter(ax, states[-1], labels)
    ax.set(xlabel="$x_1(t)$", ylabel="$x_2(t)$")


def _slopes(horizons: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.diff(np.log(values)) / np.diff(np.log(horizons))


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(2, len(cases), width=3.3 * len(cases) + 0.4, height=6.6)
    groups: dict[str, list[xr.Dataset]] = {}
    for (above, below), case in zip(axes.T, cases, strict=True):
        given = case_parameters(case)
        kind = f"{given['network']}, {given['readout']}"
        groups.setdefault(kind, []).append(case)
        _trajectories(above, case)
        above.set_title(f"T = {given['horizon']:g}\n{kind}")
        _region(below, case)
    statuses = sorted({str(case.attrs["status"]) for case in cases})
    caption = (
        "Trajectories of the data in the first two coordinates (above; triangles: label 1, discs: "
        "label -1, at t = T), and the sign of the output over inputs in the plane (below). "
        f"Statuses: {', '.join(statuses)}. A trained readout is outside the theorems on the "
        "horizon, and tanh(a - Bf) is not homogeneous in its control: no scaling law is claimed "
        "there."
    )
    pictures = [Picture("trajectories", caption, figure)]
    fixed = sorted(
        groups.get("NeuralODE2, first coordinate", []),
        key=lambda c: float(case_parameters(c)["horizon"]),  # type: ignore[arg-type]
    )
    return pictures + ([_decay(fixed)] if len(fixed) > 1 else [])


def _decay(cases: Sequence[xr.Dataset]) -> Picture:
    """phi(T) under lambda V / T, and the distances to the limit."""
    t = np.array([float(case_parameters(c)["horizon"]) for c in cases])  # type: ignore[arg-type]
    error, bound, apart = (
        np.array([float(c[name]) for c in cases]) for name in ("error", "bound", "control_distance")
    )
    figure, ((left, right),) = new_figure(1, 2, width=9.6, height=4.0)
    left.loglog(t, error, "o-", color=BLUE, label="$\\varphi(x(T))$")
    left.loglog(t, bound, "s--", color=BLACK, label="$\\lambda V / T$")
    right.loglog(t, error**0.5, "o-", color=BLUE, label="$|Px(T) - y|$, root mean square")
    right.loglog(t, apart, "^-", color=VERMILION, label="$|T u(T \\cdot) - u^*|$ in $L^2(0, 1)$")
    for ax in (left, right):
        ax.set_xlabel("horizon $T$ [time]")
        ax.xaxis.set_major_locator(FixedLocator([float(x) for x in t]))
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_locator(NullLocator())
        ax.legend()
        ax.grid(True)
    left.set_ylabel("training error")
    right.set_ylabel("distance to the limit")
    local = _slopes(t, error)
    samples, units = cases[0]["states"].shape[2], cases[0].attrs["units"]
    whole = float(np.polyfit(np.log(t), np.log(error), 1)[0])
    word = "pre-asymptotic: the law of slope -2 needs the error's second term to be small"
    if abs(local[-1] + 2.0) < 0.1:
        word = "near the law's -2"
    caption = (
        f"Training error against the horizon, {samples} samples in R^{units}: slope {whole:.2f}, "
        f"between neighbours {local.min():.2f} to {local.max():.2f} ({word}), under the bound "
        "lambda V / T with V the squared norm of the interpolant reached from the minimiser as the "
        "penalty gets weaker (a local minimum, perhaps not the least). Right: distance of x(T) "
        "to {phi = 0}, and of the scaled control to that interpolant "
        f"({', '.join(sorted({str(c.attrs['interpolant']) for c in cases}))})."
    )
    return Picture("decay", caption, figure)


@study(
    "turnpike/horizon",
    paper=PAPER,
    figure="trajectories for growing T",
    plot=_plot,
    cases=[
        {"horizon": [16.0, 36.0, 81.0]},
        {"horizon": [16.0], "network": ["WidthDepth"]},
        {"horizon": [16.0], "readout": ["trained"]},
    ],
)
def horizon(
    horizon: Horizon = 16.0,
    network: Net = "NeuralODE2",
    readout: Output = "first coordinate",
    data: Data = "rings",
    units: Count = 3,
    strength: NonNegative = 0.1,
    starts: Count = 3,
    seed: Seed = 0,
) -> xr.Dataset:
    """What do very deep networks do with the data, and how does the error fall with the horizon?

    minimise phi(x(T)) + lambda int_0^T |u|^2 dt with T^(3/2) layers of length T^(-1/2): the lowest
    of a few runs of Newton's method from random starts.  NeuralODE2 is homogeneous in the control,
    so phi <= lambda V / T with V the least int_0^1 |u|^2 that fits the data in time 1, and phi is
    of order (lambda / T)^2 in the end (theory, SL1).

    error: phi at T; bound: lambda V / T with the V found from the same minimiser, NaN where the
    theorem does not apply; control_distance: of T u(T .) to that interpolant; energy: int |u|^2 on
    the unit horizon; states: of the data; region: the output at T over inputs in the plane.
    """
    if not 1.0 <= horizon <= 256.0 or not 2 <= units <= 10 or strength <= 0.0 or starts < 1:
        raise ValueError(
            "horizon must be from 1 to 256, units from 2 to 10, strength > 0, starts >= 1, got "
            f"{horizon}, {units}, {strength}, {starts}"
        )
    problem = posed(network, readout, data, units, horizon, strength)
    best = lowest(problem, random_starts(problem, starts, seed))
    path, functional = discretize(problem).run(best.control), problem.functional
    final = functional.terminal_values(best.control)
    error = functional.terminal_cost(path.states[-1], final)
    bound = apart = float("nan")
    interpolant = "no theorem applies"
    if network == "NeuralODE2" and readout == "first coordinate":
        value, apart, interpolant = _least_norm(problem, best, strength)
        bound = strength * value / horizon
    seen = integrate(problem.network, best.control, padded(_plane(), units), Euler())
    seen = seen.trajectory.final
    region = problem.readout.output(problem.network, seen, final)[0].reshape(PIXELS, PIXELS)
    moments = np.unique(np.linspace(0, problem.mesh.layers, MOMENTS).round().astype(int))
    energy = horizon * problem.space.norm(best.control) ** 2
    return xr.Dataset(
        {
            "objective": described("objective", best.objective, "1", "J of the ResNet"),
            "error": described("error", error, "1", "training error at T"),
            "bound": described("bound", bound, "1", "lambda V / T"),
            "control_distance": described("control_distance", apart, "1", "distance to u*"),
            "energy": described("energy", energy, "1", "int |u|^2 on the unit horizon"),
            "states": described(
                "states", path.states[moments], "1", "states", ("moment", "unit", "sample")
            ),
            "label": described("label", points(data)[1], "1", "label", ("sample",)),
            "region": described("region", region, "1", "output at T", ("x2", "x1")),
        },
        coords={"moment": ("moment", path.times[moments], {"units": "time"})},
        attrs={"status": best.status.name, "interpolant": interpolant, "units": units},
    )
