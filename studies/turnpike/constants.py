"""What the proofs' constants are worth: bounds under measured curves, the limit of scaled costs,
and the control of least norm itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox
from scipy.integrate import solve_ivp

from continuum import (
    Activation,
    Control,
    LearningProblem,
    NeuralODE2,
    SquaredError,
    Tikhonov,
    TimeMesh,
    identity,
    tanh,
)
from solvers import RK4, GradientDescent, RiccatiNewton, discretize, minimize
from solvers.turnpike import depth_for, spectrum, static_optimum

from ..bench.parameters import Count, NonNegative, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION, new_figure
from ..shared import described
from .interpolants import (
    Interpolant,
    geodesic_residual,
    interpolant,
    on_layers,
    proof_constants,
    speed,
)
from .paper import PAPER

Data: TypeAlias = Literal["affine", "two points", "plane"]
POINTS: dict[str, tuple[list[list[float]], list[list[float]], Activation]] = {
    "affine": ([[0.0]], [[2.0]], identity),
    "two points": ([[-0.5, 0.5]], [[-1.5, 1.0]], tanh),
    "plane": ([[0.8, -0.6], [0.0, 0.3]], [[0.0, 0.2], [0.9, -0.8]], tanh),
}
SIZES = np.array([1.0, 0.3, 0.1, 0.01, 0.001])
TOLERANCES = np.array([1e-1, 1e-2, 1e-3, 1e-4])
LEVELS = np.array([1.0, 0.5, 0.1, 1e-2, 1e-4])
LONG, PER_UNIT, FIRST = 24.0, 16, 3.0
SECOND = "$\\frac{N}{4} |\\nabla V|^2 (\\lambda / T)^2$"
NEWTON = RiccatiNewton(gtol=1e-10, max_iterations=300)


def posed(data: Data, mesh: TimeMesh, strength: float, along: bool = False) -> LearningProblem:
    """The mean of |x - y|^2 at T, or its integral, plus strength int |u|^2, x' = w sigma(x) + b.

    "affine": sigma the identity, 0 -> 2 on the line (TP-04); "two points": tanh, (-1/2, 1/2) ->
    (-3/2, 1) on the line (TP-08); "plane": tanh, two points of the plane, turned by about a right
    angle.
    """
    start, target, sigma = POINTS[data]
    return LearningProblem(
        NeuralODE2(len(start), sigma),
        np.array(start),
        np.array(target),
        mesh,
        terminal=None if along else SquaredError(1.0),
        running=SquaredError(1.0) if along else None,
        penalty=Tikhonov(strength),
    )


# -- numbers


def _scaled_costs(
    problem: LearningProblem, one: Interpolant, ratios: np.ndarray
) -> dict[str, np.ndarray]:
    """For T / lambda = ratios, on (0, 1): phi and int |u|^2 of minimisers, (T / lambda) J of them
    and of u*, their distance from u*, how far the samples go, and Gronwall's bound of that.
    """
    first = float(np.max(np.linalg.norm(problem.initial, axis=0)))
    found: dict[str, list[float]] = {}
    for ratio in ratios:
        near = replace(on_layers(problem, one.problem.mesh.layers), penalty=Tikhonov(1.0 / ratio))
        objective = discretize(near, RK4())
        best = minimize(objective, NEWTON, initial=one.found.control)
        last = objective.run(best.control).states[-1]
        energy = near.space.norm(best.control) ** 2
        moved = np.max(np.linalg.norm(last - problem.initial, axis=0))
        row = {
            "error": near.functional.terminal_cost(last),
            "energy": energy,
            "scaled": ratio * best.objective,
            "recovery": ratio * objective.value(one.found.control),
            "control_distance": near.space.norm(best.control - one.found.control),
            "moved": float(moved),
            "gronwall": (1.0 + first) * float(np.expm1(energy**0.5)),
        }
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in found.items()}


def _descent(problem: LearningProblem, one: Interpolant, seed: int) -> dict[str, np.ndarray]:
    """Descent on phi alone from starts of norm SIZES in one random direction, by the gradient flow
    and with steps by line search: int |u|^2 over that of u*, and the distance from u*.
    """
    free = replace(on_layers(problem, one.problem.mesh.layers), penalty=None)
    objective, space = discretize(free, RK4()), free.space
    direction = space.flatten(space.random(np.random.default_rng(seed)))
    direction = direction / np.linalg.norm(direction)
    method = GradientDescent(gtol=1e-7, initial_step=0.05, max_iterations=5000)

    def downwards(s: float, z: np.ndarray) -> np.ndarray:
        return -space.flatten(objective.gradient(space.unflatten(z)))

    def left_over(s: float, z: np.ndarray) -> float:
        return objective.value(space.unflatten(z)) - 1e-14

    left_over.terminal = True  # type: ignore[attr-defined]  # read by solve_ivp

    def flow(x: np.ndarray) -> Control:
        run = solve_ivp(downwards, (0.0, 400.0), x, rtol=1e-7, atol=1e-9, events=left_over)
        return space.unflatten(run.y[:, -1])

    ratio, distance, left = np.empty((2, len(SIZES))), np.empty((2, len(SIZES))), 0.0
    for j, size in enumerate(SIZES):
        start = size * direction
        stepped = minimize(objective, method, initial=space.unflatten(start)).control
        for i, control in enumerate((flow(start), stepped)):
            left = max(left, objective.value(control))
            ratio[i, j] = space.norm(control) ** 2 / one.value
            distance[i, j] = space.norm(control - one.found.control)
    return {"ratio": ratio, "distance": distance, "left": np.array(left)}


def _along(data: Data, strength: float) -> dict[str, np.ndarray]:
    """The minimiser with the cost along the way on (0, LONG): phi(t), the rate that the
    linearisation at its end predicts, and the constants of the proof at states of its run.
    """
    problem = posed(data, TimeMesh(LONG, round(LONG * PER_UNIT)), strength, along=True)
    objective = discretize(problem, RK4())
    best = minimize(objective, NEWTON)
    path = objective.run(best.control)
    error = np.mean(np.sum((path.states - problem.target) ** 2, axis=1), axis=1)
    static = static_optimum(problem, near=(path.states[-1], {}))
    chosen = [int(np.argmin(np.abs(np.log(error / error[0] / level)))) for level in LEVELS]
    sigma = POINTS[data][2]
    proof = proof_constants(
        posed(data, TimeMesh(1.0, 16), strength), path.states[chosen], strength, sigma, 16
    )
    return {
        "time": path.times,
        "running_error": error,
        "rate": np.array(2.0 * spectrum(problem, static).gap),
        "proof": np.array([proof.price, proof.steer, proof.growth]),
        "tau": np.array([proof.time(growth=True), proof.time(growth=False)]),
    }


def _depths(data: Data, strength: float, layers: int) -> tuple[np.ndarray, np.ndarray]:
    """(T by both laws, phi of the ResNet's minimiser there), each (2, len(TOLERANCES))."""
    problems = (
        posed(data, TimeMesh(1.0, layers), strength),
        posed(data, TimeMesh(FIRST, round(FIRST * layers)), strength, along=True),
    )
    horizons, reached = np.empty((2, len(TOLERANCES))), np.empty((2, len(TOLERANCES)))
    for i, problem in enumerate(problems):
        for j, eps in enumerate(TOLERANCES):
            depth = depth_for(problem, float(eps))
            best = minimize(depth.problem, NEWTON, initial=depth.control)
            last = discretize(depth.problem).run(best.control).states[-1]
            horizons[i, j] = depth.horizon
            reached[i, j] = np.mean(np.sum((last - problem.target) ** 2, axis=0))
    return horizons, reached


# -- pictures


def staircase(times: np.ndarray, first: float, tau: float, growth: float) -> np.ndarray:
    """The proof's bound of phi: growth phi(0) up to tau, then phi(0) / e^n from n tau on, as long
    as a time 1 is left to compare with a control that reaches the targets.
    """
    steps = np.floor(np.minimum(times, max(times[-1] - 1.0, 0.0)) / tau)
    return first * np.where(steps == 0, growth, np.exp(-steps))


def _bounds(cases: Sequence[xr.Dataset]) -> Picture:
    figure, axes = new_figure(2, len(cases), width=3.9 * len(cases) + 0.4, height=7.4)
    notes = []
    for (above, below), case in zip(axes.T, cases, strict=True):
        name = str(case_parameters(case)["data"])
        t, phi = case["horizon"].values, case["error"].values
        above.loglog(t, case["bound"], "--", color=BLACK, label="$\\lambda V / T$")
        above.loglog(t, phi, "o-", color=BLUE, label="$\\varphi(x(T))$")
        above.loglog(t, case["second"], ":", color=VERMILION, label=SECOND)
        above.set_title(f"{name}: cost at the end")
        above.set_xlabel("horizon $T$ [time]")
        time, along = case["time"].values, case["running_error"].values
        rate, (price, steer, growth) = float(case["rate"]), case["proof"].values
        tau, sharper = case["tau"].values
        seen = along > 1e-13
        below.semilogy(
            time, staircase(time, along[0], tau, growth), "--", color=BLACK, label="proof"
        )
        below.semilogy(
            time,
            staircase(time, along[0], sharper, 1.0),
            "-.",
            color=ORANGE,
            label="proof, $\\varphi$ not growing",
        )
        below.semilogy(time[seen], along[seen], color=BLUE, label="$\\varphi(x(t))$")
        below.set_ylim(1e-13, 1e8 * along[0])  # room for the legend
        below.set_title(f"{name}: cost along the way")
        below.set_xlabel("time $t$ [layers $\\times \\tau$]")
        for ax in (above, below):
            ax.set_ylabel("training error")
            ax.grid(True)
            ax.legend(loc="lower left" if ax is above else "upper right")
        notes.append(
            f"{name}: lambda V / T exceeds phi {float(case['bound'][-1]) / phi[-1]:.3g} times at T "
            f"= {t[-1]:g}; A = {price:.3g}, L = {steer:.3g}, rate of the linearisation "
            f"{rate:.3f}, of the proof {1.0 / tau:.3f}, {1.0 / sharper:.3f} if phi may not grow"
        )
    caption = (
        "Above: the training error of minimisers against the horizon, the bound lambda V / T of "
        "the proof, and the law (N/4) |grad V|^2 (lambda / T)^2 from the multiplier of the "
        "endpoint. Below: the error along the way, and the bound of the proof by its constants at "
        "sampled states of this run: A the price of the comparison over phi, L the norm of the "
        "velocity's derivative in the control; Gronwall's factor 1 + L A / lambda^(1/2) is 1 by "
        f"the first integral. {'; '.join(notes)}."
    )
    return Picture("bounds", caption, figure)


def _gamma(cases: Sequence[xr.Dataset]) -> Picture:
    """The table of the limit, and how its columns approach it."""
    figure, axes = new_figure(2, len(cases), width=5.2 * len(cases), height=5.8)
    notes = []
    for (above, below), case in zip(axes.T, cases, strict=True):
        name, t = str(case_parameters(case)["data"]), case["horizon"].values
        scaled, limit = case["scaled"].values, float(case["limit"])
        above.loglog(t, limit - scaled, "o-", color=BLUE, label="$V - (T/\\lambda) J_T$")
        above.loglog(
            t, case["control_distance"], "^-", color=VERMILION, label="$|T u^T(T\\cdot) - u^*|$"
        )
        above.set_xlabel("horizon $T$ [time]")
        above.set_ylabel("distance from the limit")
        above.set_title(f"{name}: V = {limit:.6f}")
        above.grid(True)
        above.legend()
        _table(below, case)
        gap = np.max(np.abs(case["recovery"].values - limit))
        notes.append(
            f"{name}: u* costs V to {gap:.1g}, the minimiser {limit - scaled[-1]:.3g} less"
        )
    caption = (
        "Scaled costs F_T(u) = (T / lambda) phi + int |u|^2 on (0, 1) of minimisers (which rise to "
        "V: the inequality for the lower limit), of the recovery sequence u* for all T, and the "
        "limit V, the least int |u|^2 that interpolates, as reached from u = 0; then int |u|^2, "
        "the largest distance that a sample goes, and Gronwall's bound of it in part 2 of the "
        f"proof. At the largest T: {'; '.join(notes)}."
    )
    return Picture("gamma", caption, figure)


def _table(ax: Axes, case: xr.Dataset) -> None:
    """The rows of one case."""
    heads = ["$T$", "$F_T(u^T)$", "$F_T(u^*)$", "$V$", "$\\int |u|^2$", "way", "Gronwall"]
    columns = [case[n].values for n in ("scaled", "recovery", "energy", "moved", "gronwall")]
    limit = float(case["limit"])
    rows = [
        [f"{t:g}", f"{a:.5f}", f"{b:.5f}", f"{limit:.5f}", f"{c:.5f}", f"{d:.3f}", f"{e:.3g}"]
        for t, a, b, c, d, e in zip(case["horizon"].values, *columns, strict=True)
    ]
    ax.set(xlabel="quantity", ylabel="horizon")  # for readers of the file; not drawn
    ax.axis("off")
    widths = [0.1, 0.17, 0.17, 0.15, 0.15, 0.11, 0.15]
    whole = Bbox.unit()
    table = ax.table(rows, colLabels=heads, colWidths=widths, cellLoc="right", bbox=whole)
    table.auto_set_font_size(False)
    table.set_fontsize(10)


def _control(cases: Sequence[xr.Dataset]) -> Picture:
    """Descent without penalty against u*, and the speed of u*."""
    figure, axes = new_figure(2, len(cases), width=3.9 * len(cases) + 0.4, height=7.0)
    notes = []
    for (above, below), case in zip(axes.T, cases, strict=True):
        name, sizes = str(case_parameters(case)["data"]), case["start"].values
        ratio, apart = case["descent_ratio"].values, case["descent_distance"].values
        above.loglog(sizes, ratio[0] - 1.0, "o-", color=BLUE, label="$\\int|u|^2/V - 1$, flow")
        above.loglog(sizes, ratio[1] - 1.0, "s--", color=PURPLE, label="the same, line search")
        above.loglog(sizes, apart[0], "^-", color=VERMILION, label="$|u - u^*|$, flow")
        above.set_xlabel("norm of the start")
        above.set_ylabel("excess over $V$, distance")
        above.set_title(name)
        low, high = above.get_ylim()
        above.set_ylim(low, high * (high / low) ** 0.55)  # room for the legend
        above.legend(loc="upper left")
        (coarse, fine), residual = case["spread"].values, case["residual"].values
        for key, color in (("speed", BLUE), ("fine_speed", GREEN)):
            v = case[key].values
            s = (np.arange(len(v)) + 0.5) / len(v)
            below.plot(s, v / np.mean(v) - 1.0, color=color, label=f"{len(v)} layers")
        below.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
        below.set_xlabel("time $s$ on $(0, 1)$")
        below.set_ylabel("$|u^*(s)| / \\mathrm{mean} - 1$")
        below.legend()
        for ax in (above, below):
            ax.grid(True)
        orders = np.log2([coarse / fine, residual[0] / residual[1]])
        missed = "so not at u*" if apart[0, -1] > 5.0 * sizes[-1] else "at u* to that size"
        notes.append(
            f"{name}: flow from {sizes[-1]:g} ends at {ratio[0, -1]:.5f} V, {apart[0, -1]:.3g} "
            f"from u*, {missed}; speed within {fine:.2g} and geodesic equation within "
            f"{residual[1]:.2g} on {case.sizes['fine_layer']} layers, orders {orders[0]:.2f} and "
            f"{orders[1]:.2f}"
        )
    caption = (
        "Above: descent on phi alone from small starts, by the gradient flow in L2 and by steps "
        "with a line search, against the control u* of least norm: int |u|^2 of what it "
        "interpolates with, and the distance from u*. Below: the speed of u*, which is constant "
        "in the limit of many layers; the residual of its geodesic equation is relative. Descent "
        f"leaves phi below {max(float(c['descent_left']) for c in cases):.1g}. "
        f"{'; '.join(notes)}."
    )
    return Picture("least_norm", caption, figure)


def _depth(cases: Sequence[xr.Dataset]) -> Picture:
    figure, axes = new_figure(1, len(cases), width=3.9 * len(cases) + 0.4, height=4.0)
    notes = []
    for ax, case in zip(axes[0], cases, strict=True):
        name, eps = str(case_parameters(case)["data"]), case["eps"].values
        t, phi = case["depth"].values, case["reached"].values
        laws = ("$\\lambda V / \\varepsilon$", "$\\log(C / \\varepsilon) / 2\\kappa$")
        for i, (law, color, mark) in enumerate(zip(laws, (BLUE, VERMILION), "os", strict=True)):
            hollow = {"markerfacecolor": "none", "markersize": 10}
            ax.loglog(t[i], eps, mark + "--", color=color, label=law, **hollow)
            ax.loglog(t[i], phi[i], mark + "-", color=color, label="minimiser there")
        ax.set_xlabel("horizon $T$ [time]")
        ax.set_ylabel("training error")
        ax.set_title(name)
        ax.grid(True)
        ax.legend(fontsize=9)
        worst = np.max(phi / eps, axis=1)
        notes.append(
            f"{name}: T = {t[0, -1]:.4g} and {t[1, -1]:.4g} for {eps[-1]:g}, phi / eps at most "
            f"{worst[0]:.3g} and {worst[1]:.3f}"
        )
    caption = (
        "Horizons that depth_for gives for a training error eps (hollow), and the error of the "
        "ResNet's minimiser there (full): with the cost at the end by the bound lambda V / eps, "
        f"with the cost along the way by the local law from a minimiser at T = {FIRST:g}, rounded "
        "up to whole layers (above eps where that minimiser is too far from the state it comes "
        f"near for the linearisation). {'; '.join(notes)}."
    )
    return Picture("depth", caption, figure)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    return [_bounds(cases), _gamma(cases), _control(cases), _depth(cases)]


@study(
    "turnpike/constants",
    paper=PAPER,
    figure="the proofs",
    plot=_plot,
    cases=[{"data": ["affine", "two points", "plane"]}],
)
def constants(
    data: Data = "affine",
    strength: NonNegative = 1.0,
    layers: Count = 32,
    count: Count = 6,
    seed: Seed = 0,
) -> xr.Dataset:
    """How good are the proofs' constants, and what is the control of least norm?

    On (0, 1) with the weight lambda / T, T = lambda, 4 lambda, ..., by RK4 on `layers` layers: phi
    of minimisers under lambda V / T and (N/4) |grad V|^2 (lambda / T)^2; the scaled cost F_T =
    (T / lambda) phi + int |u|^2 of minimisers and of the recovery sequence, whose limit is V.  The
    proof of exponential decay, with A and L (see `ProofConstants`) at sampled states of the run.
    Descent on phi alone from small starts.  The speed of u*, and the residual of the geodesic
    equation, on `layers` layers and on twice as many.  `depth_for`, and the error of the ResNet's
    minimisers on the horizons that it gives.
    """
    if strength <= 0.0 or not 4 <= layers <= 256 or not 2 <= count <= 8:
        raise ValueError(
            f"strength must be > 0, layers from 4 to 256, count from 2 to 8, got {strength}, "
            f"{layers}, {count}"
        )
    problem = posed(data, TimeMesh(1.0, layers), strength)
    one, fine = interpolant(problem, layers), interpolant(problem, 2 * layers)
    ratios = 4.0 ** np.arange(count)
    scaled, sigma = _scaled_costs(problem, one, ratios), POINTS[data][2]
    samples = problem.initial.shape[1]
    second = 0.25 * samples * np.sum(one.slope**2) / ratios**2
    speeds = [speed(each) for each in (one, fine)]
    residuals = np.array([geodesic_residual(each, sigma) for each in (one, fine)])
    descent, along = _descent(problem, one, seed), _along(data, strength)
    depth, reached = _depths(data, strength, layers)
    words = {
        "error": "training error at T",
        "energy": "int |u|^2 on (0, 1)",
        "scaled": "scaled cost of the minimiser",
        "recovery": "scaled cost of u*",
        "control_distance": "|T u(T .) - u*|",
        "moved": "largest |x(T) - x(0)|",
        "gronwall": "Gronwall's bound of it",
    }
    found = {n: described(n, scaled[n], "1", w, ("horizon",)) for n, w in words.items()}
    further = {
        "bound": (one.value / ratios, "1", "lambda V / T", ("horizon",)),
        "second": (second, "1", "(N/4) |grad V|^2 (lambda / T)^2", ("horizon",)),
        "limit": (one.value, "1", "V on these layers", ()),
        "value": ((4.0 * fine.value - one.value) / 3.0, "1", "V, extrapolated", ()),
        "descent_ratio": (descent["ratio"], "1", "int |u|^2 / V", ("method", "start")),
        "descent_distance": (descent["distance"], "1", "|u - u*|", ("method", "start")),
        "descent_left": (descent["left"], "1", "largest phi that descent left", ()),
        "speed": (speeds[0], "1/time", "|u*|", ("layer",)),
        "fine_speed": (speeds[1], "1/time", "|u*|", ("fine_layer",)),
        "spread": ([np.ptp(v) / np.mean(v) for v in speeds], "1", "spread of |u*|", ("mesh",)),
        "across": (residuals[:, 0], "1", "|u - B* p| / |u|", ("mesh",)),
        "residual": (residuals[:, 1], "1", "residual of the geodesic equation", ("mesh",)),
        "running_error": (along["running_error"], "1", "training error along the way", ("time",)),
        "rate": (along["rate"], "1/time", "rate of the linearisation", ()),
        "proof": (along["proof"], "1", "A, L, growth", ("constant",)),
        "tau": (along["tau"], "time", "time in which the proof has phi fall by e", ("variant",)),
        "depth": (depth, "time", "horizon by depth_for", ("law", "eps")),
        "reached": (reached, "1", "training error there", ("law", "eps")),
    }
    found |= {n: described(n, *given) for n, given in further.items()}
    return xr.Dataset(
        found,
        coords={
            "horizon": ("horizon", strength * ratios, {"units": "time"}),
            "start": ("start", SIZES),
            "method": ("method", ["gradient flow", "line search"]),
            "time": ("time", along["time"], {"units": "time"}),
            "constant": ("constant", ["A", "L", "growth"]),
            "variant": ("variant", ["proof", "phi not growing"]),
            "law": ("law", ["terminal", "running"]),
            "eps": ("eps", TOLERANCES),
        },
        attrs={"status": one.found.status.name.lower()},
    )
