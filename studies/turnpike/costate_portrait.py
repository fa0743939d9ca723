"""The turnpike as a saddle of the Hamiltonian system, in the plane of one state and its costate."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from continuum import (
    LearningProblem,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    tanh,
)
from solvers import Hamiltonian, RiccatiNewton, discretize, minimize
from solvers.turnpike import spectrum, static_optimum

from ..bench.parameters import Count, Horizon, Positive
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure
from ..shared import UNIT, described
from .paper import PAPER

STATES = (-0.7, 1.6)
COSTATES = (-1.3, 0.5)
"""The part of the plane that is drawn."""
LENGTH, STEPS = 1.5, 60
"""Of each branch of a manifold."""


def posed(horizon: float, layers: int, initial: float) -> LearningProblem:
    """minimise int_0^T (f - 1)^2 / 2 + a^2 / 2 dt over a, f' = tanh(a - f), f(0) = initial:
    WidthDepth with one node and the kernel 1.
    """
    network = WidthDepth(gauss_legendre(UNIT, 1), tanh)
    space = network.controls(TimeMesh(horizon, layers), fixed={"kernel": np.ones((1, 1))})
    return LearningProblem(
        network,
        np.full((1, 1), initial),
        np.ones((1, 1)),
        space,
        terminal=None,
        running=SquaredError(0.5),
        penalty=Tikhonov(0.5),
    )


def least(problem: LearningProblem, x: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the control that minimises H, its minimum) at points (x, p), each (L,)."""
    f, q = x[:, None, None], p[:, None, None]
    found = Hamiltonian(problem, 0.0, f, q).minimiser({"bias": np.zeros((len(x), 1))})
    return found.values["bias"][:, 0], found.value


def rate(problem: LearningProblem, z: np.ndarray) -> np.ndarray:
    """(x', p') of the Hamiltonian system at points z = (x, p), (L, 2)."""
    f, q = z[:, :1, None], z[:, 1:, None]
    a, _ = least(problem, z[:, 0], z[:, 1])
    c = {"bias": a[:, None], "kernel": problem.space.fixed["kernel"]}
    times = np.zeros(len(z))
    back, _ = problem.network.vjp(f, c, 0.0, q)
    cost, _ = problem.functional.running_vjp(f, {}, times)
    speed = problem.network.velocity(f, c, 0.0)
    return np.stack([speed[:, 0, 0], -(back + cost)[:, 0, 0]], axis=1)


def manifolds(problem: LearningProblem, saddle: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """(2, S, 2): the stable and the unstable manifold of `saddle`, both branches of each, by Runge
    and Kutta's method in the length along them.

    slopes : (2,), dp / dx of both at the saddle
    """
    signs = np.array([[-1.0], [-1.0], [1.0], [1.0]])  # time reversed on the stable one

    def direction(z: np.ndarray) -> np.ndarray:
        found = signs * rate(problem, z)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    tangents = np.stack([np.ones(2), slopes], axis=1) / np.hypot(1.0, slopes)[:, None]
    z = saddle + 1e-3 * np.array([[-1.0], [1.0], [-1.0], [1.0]]) * np.repeat(tangents, 2, axis=0)
    points, h = [z], LENGTH / STEPS
    for _ in range(STEPS):
        k1 = direction(z)
        k2 = direction(z + 0.5 * h * k1)
        k3 = direction(z + 0.5 * h * k2)
        z = z + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + direction(z + h * k3))
        points.append(z)
    sides = np.stack(points, axis=1)
    return np.stack([np.vstack([sides[n, ::-1], saddle[None], sides[n + 1]]) for n in (0, 2)])


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    ranked = sorted(cases, key=lambda case: float(case_parameters(case)["horizon"]))
    one = ranked[-1]
    figure, axes = new_figure(1, 2, width=11.0, height=5.0)
    left, right = axes[0]
    x, p = one["state"].values, one["costate"].values
    level = one["level"].values
    sizes = np.array([0.01, 0.04, 0.1, 0.2, 0.35])
    left.contour(x, p, level.T, levels=[*-sizes[::-1], *sizes], colors="#BBBBBB", linewidths=0.7)
    for name, color, text in (
        ("stable", GREEN, "stable manifold"),
        ("unstable", VERMILION, "unstable manifold"),
    ):
        left.plot(*one[name].values.T, color=color, linewidth=2.2, label=text)
    for case, color in zip(ranked, (SKY, ORANGE, PURPLE, BLUE), strict=False):
        horizon = float(case_parameters(case)["horizon"])
        label = f"$T = {horizon:g}$"
        left.plot(case["run_state"], case["run_costate"], color=color, label=label)
        ends = case["run_state"][[0, -1]], case["run_costate"][[0, -1]]
        left.plot(*ends, "o", color=color, markersize=4)
        right.plot(case["time"], case["run_state"], color=color, label=label)
    saddle = one["saddle"].values
    left.plot(*saddle, "o", color=BLACK, markersize=8, label="turnpike")
    left.axhline(0.0, color=BLACK, linestyle=":", linewidth=1.0)
    left.axvline(float(one["run_state"][0]), color=BLACK, linestyle="--", linewidth=1.0)
    left.set_xlim(*STATES)
    left.set_ylim(*COSTATES)
    left.set_xlabel("state $x$")
    left.set_ylabel("costate $p$")
    left.set_title("from $x(0)$ (dashed) to $p = 0$ (dotted)")
    right.axhline(saddle[0], color=BLACK, linestyle="--", linewidth=1.0, label="turnpike")
    right.set_xlabel("time $t$ [layers $\\times \\tau$]")
    right.set_ylabel("state $x(t)$")
    right.set_title("the longer, the nearer to the saddle")
    for ax in axes[0]:
        ax.grid(True)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    drift = max(float(case["manifold_error"]) for case in ranked)
    caption = (
        "Hamiltonian system of min int (x - 1)^2 / 2 + a^2 / 2, x' = tanh(a - x), the control "
        "eliminated; grey: levels of its Hamiltonian, dashed below the saddle's. The turnpike "
        f"(x, p) = ({saddle[0]:.6f}, {saddle[1]:.6f}) is a saddle with rates "
        f"+-{float(one['rate']):.6f}. Minimisers, of ResNets with layers of "
        f"{float(case_parameters(one)['step']):g}, follow its stable manifold towards it and its "
        "unstable manifold away from it. On both manifolds the Hamiltonian is that of the saddle, "
        f"{float(one['static_value']):.6f}, to {drift:.1e}."
    )
    return [Picture("costate_portrait", caption, figure)]


@study(
    "turnpike/costate_portrait",
    paper=PAPER,
    figure="running cost, with drift",
    plot=_plot,
    cases=[{"horizon": [1.0, 2.0, 4.0, 8.0]}],
)
def costate_portrait(
    horizon: Horizon = 8.0, step: Positive = 0.01, initial: float = -0.4, points: Count = 61
) -> xr.Dataset:
    """The turnpike is a saddle in the plane of state and costate.

    minimise int_0^T (x - 1)^2 / 2 + a^2 / 2 dt, x' = tanh(a - x), x(0) = initial.  Minimisers go
    from the line x = x(0) to the line p = 0, past the saddle: near its stable manifold first, near
    its unstable one then, and the longer the horizon the nearer.

    saddle: (x*, p*); rate: of the linearised system there; stable, unstable: the manifolds, by
    integration from the saddle on; level: the Hamiltonian minus its value at the saddle;
    manifold_error: its largest modulus on the manifolds; run_state, run_costate: of the minimiser
    of the ResNet, by Newton's method.
    """
    if not 0.5 <= horizon <= 50.0 or not 1e-3 <= step <= 0.1 or not 11 <= points <= 401:
        raise ValueError(
            "horizon must be from 0.5 to 50, step from 0.001 to 0.1, points from 11 to 401, got "
            f"{horizon}, {step}, {points}"
        )
    problem = posed(horizon, round(horizon / step), initial)
    static = static_optimum(problem)
    found = spectrum(problem, static)
    saddle = np.array([static.state[0, 0], static.costate[0, 0]])
    slopes = np.array([side.basis[1, 0] / side.basis[0, 0] for side in (found.entry, found.exit)])
    stable, unstable = manifolds(problem, saddle, slopes)
    x, p = np.linspace(*STATES, points), np.linspace(*COSTATES, points)
    grid = np.stack(np.meshgrid(x, p, indexing="ij"), axis=-1).reshape(-1, 2)
    level = least(problem, *grid.T)[1].reshape(points, points) - static.value
    along = np.vstack([stable, unstable])
    error = np.max(np.abs(least(problem, *along.T)[1] - static.value))
    best = minimize(problem, RiccatiNewton(gtol=1e-10))
    path = discretize(problem).run(best.control)
    return xr.Dataset(
        {
            "saddle": described("saddle", saddle, "1", "(x*, p*)", ("part",)),
            "rate": described("rate", found.gap, "1/time", "rate at the saddle"),
            "static_value": described("static_value", static.value, "1", "static value"),
            "stable": described("stable", stable, "1", "stable manifold", ("near", "part")),
            "unstable": described("unstable", unstable, "1", "unstable manifold", ("far", "part")),
            "level": described("level", level, "1", "H - H*", ("state", "costate")),
            "manifold_error": described("manifold_error", error, "1", "largest |H - H*| there"),
            "run_state": described("run_state", path.states[:, 0, 0], "1", "x(t)", ("time",)),
            "run_costate": described(
                "run_costate", path.remaining[:, 0, 0], "1", "p(t)", ("time",)
            ),
            "objective": described("objective", best.objective, "1", "J of the ResNet"),
        },
        coords={
            "time": ("time", path.times, {"units": "time", "long_name": "t"}),
            "state": ("state", x, {"units": "1", "long_name": "x"}),
            "costate": ("costate", p, {"units": "1", "long_name": "p"}),
            "part": ("part", ["x", "p"]),
        },
    )
