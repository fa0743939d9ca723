"""A problem whose optimal control switches: by shooting, and by descent on a ResNet's layers."""

from collections.abc import Sequence
from math import factorial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from solvers import (
    LBFGS,
    RK4,
    Extremal,
    discretize,
    integrate,
    minimize,
    pontryagin_certificate,
    shoot,
)

from ..bench.parameters import Count, Horizon
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER, boxed

ENTRIES = ("$a_1$", "$a_2$", "$b_{11}$", "$b_{12}$", "$b_{21}$", "$b_{22}$")


def vertex(f: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The six entries of (a, b) that minimise p sigma(a - Bf) over the box: a = -sign p, b_ij =
    sign(p_i f_j).
    """
    return np.concatenate([-np.sign(p), np.sign(np.outer(p, f)).ravel()])


def along(extremal: Extremal) -> tuple[np.ndarray, np.ndarray]:
    """Start, end of every step between switches, and the control held in it, (S, 6)."""
    f, p = extremal.state.states[:, :, 0], extremal.costate.states[:, :, 0]
    middle = [vertex(0.5 * (f[n] + f[n + 1]), 0.5 * (p[n] + p[n + 1])) for n in range(len(f) - 1)]
    return extremal.state.times, np.array(middle)


def between(
    x: np.ndarray, speed: np.ndarray, matrix: np.ndarray, times: np.ndarray, pieces: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    """x' = speed_n - matrix_n x from the ends x_n (S + 1, 2) of steps, at `pieces` times in each:
    Taylor's series.
    """
    states, at = [], []
    for n in range(len(times) - 1):
        for t in np.linspace(0.0, times[n + 1] - times[n], pieces, endpoint=False):
            moved, rate = x[n].copy(), speed[n] - matrix[n] @ x[n]
            for k in range(1, 13):
                moved, rate = moved + rate * t**k / factorial(k), -matrix[n] @ rate
            states.append(moved)
            at.append(times[n] + t)
    return np.array([*at, times[-1]]), np.array([*states, x[-1]])


def _controls(ax: Axes, case: xr.Dataset) -> None:
    times, control, layers = case["time"].values, case["control"].values, case["layer"].values
    width = float(case["layer"].values[1] - case["layer"].values[0])
    for i in range(len(ENTRIES)):
        level = len(ENTRIES) - i
        ax.axhline(level, color="#DDDDDD", linewidth=0.6, zorder=0)
        ax.step(
            times,
            level + 0.36 * np.append(control[:, i], control[-1, i]),
            where="post",
            color=BLUE,
            label="shooting" if i == 0 else None,
        )
        ax.plot(
            layers + 0.5 * width,
            level + 0.36 * case["direct_control"].values[:, i],
            ".",
            color=VERMILION,
            markersize=2.5,
            label=f"{len(layers)} layers" if i == 0 else None,
        )
    ax.set_yticks(np.arange(len(ENTRIES), 0, -1), ENTRIES)
    ax.set_ylabel("control, each from −1 to 1")
    ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
    ax.set_title("controls")
    ax.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False, ncols=2, markerscale=3
    )


def _portrait(ax: Axes, case: xr.Dataset) -> None:
    x, y = case["path"].values.T
    ax.plot(x, y, color=BLUE, label="shooting")
    ax.plot(*case["direct_path"].values.T, ".", color=VERMILION, markersize=4, label="layers")
    for t in case["switching_time"].values:
        ax.plot(
            *(np.interp(t, case["fine_time"], z) for z in (x, y)), "D", color=BLACK, markersize=6
        )
    ax.plot([], [], "D", color=BLACK, markersize=6, label="switch")
    ax.plot(x[0], y[0], "o", color=GREEN, label="start")
    values = case_parameters(case)
    ax.plot(
        float(values["target_1"]),
        float(values["target_2"]),
        "*",
        color=ORANGE,
        markersize=13,
        label="target",
    )
    ax.set_xlabel("block 1, $f_1$")
    ax.set_ylabel("block 2, $f_2$")
    ax.set_title("states of the two blocks")
    ax.grid(True)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False, ncols=3)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for n, case in enumerate(cases):
        figure, axes = new_figure(2, 2, width=10.6, height=9.0)
        switches = case["switching_time"].values
        _controls(axes[0, 0], case)
        ax = axes[0, 1]
        for i, color in enumerate((BLUE, GREEN)):
            ax.plot(
                case["fine_time"],
                -case["costate_path"].values[:, i],
                color=color,
                label=f"$r_{i + 1}$",
            )
        ax.axhline(0.0, color=BLACK, linewidth=0.8)
        for t in switches:
            ax.axvline(t, color=BLACK, linestyle=":", linewidth=1.0)
        ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
        ax.set_ylabel("switching functions $r_i = -p_i$")
        ax.set_title("$a_i$ and row $i$ of $b$ switch where $r_i = 0$")
        ax.grid(True)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False, ncols=2)
        ax = axes[1, 0]
        ax.plot(
            case["layer_time"],
            -case["direct_hamiltonian"],
            color=VERMILION,
            linewidth=1.2,
            label="layers",
        )
        ax.plot(
            case["time"], -case["hamiltonian"], "o-", markersize=3.5, color=BLUE, label="shooting"
        )
        for t in switches:
            ax.axvline(t, color=BLACK, linestyle=":", linewidth=1.0)
        ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
        ax.set_ylabel("Hamiltonian $H$, maximised")
        ax.set_title("constant along the extremal")
        ax.grid(True)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False, ncols=2)
        _portrait(axes[1, 1], case)
        shot, direct = float(case["objective"]), float(case["direct_objective"])
        when = ", ".join(f"{t:.9f}" for t in switches) or "never"
        caption = (
            f"Switching times {when}. J = {shot:.10f} by shooting, {direct:.7f} on "
            f"{case.sizes['layer']} layers, "
            f"{direct - shot:.1e} more: a layer in which the control ought to switch cannot. H = "
            f"{-float(case['hamiltonian'][0]):.9f}, to {float(case['drift']):.1e} constant by "
            f"shooting and to "
            f"{float(case['direct_drift']):.1e} on layers."
        )
        pictures.append(
            Picture("extremal" if len(cases) == 1 else f"extremal_{n}", caption, figure)
        )
    return pictures


@study("liu_markowich/bang_bang", paper=PAPER, figure="Section 4.2, (4.8)-(4.12)", plot=_plot)
def bang_bang(
    initial_1: float = 0.5,
    initial_2: float = 0.5,
    target_1: float = 4.0,
    target_2: float = 0.0,
    horizon: Horizon = 1.0,
    layers: Count = 60,
) -> xr.Dataset:
    """The full switching problem: an optimal control that jumps between the corners of a box
    (LM-54).

    minimise |f(T) - target|^2 / 2 over -1 <= a, b <= 1, f_t = a - Bf on two halves of (0, 1).
    Along extremals a_i = sign r_i and b_ij = -sign(r_i f_j), r = -p the costate that the paper's
    Hamiltonian is maximised with, so row i switches where r_i crosses zero.  Block 1 goes up all
    the time; block 2 goes up first, because |f_2| makes block 1 faster, and down from t_s on.

    control, costate, hamiltonian: by shooting, in and at the ends of its steps (hamiltonian is
    minimised: the paper's is its negative); path, costate_path: f and p also between them;
    direct_...: by L-BFGS and RK4 on equal layers; drift: max H - min H.
    """
    if layers < 2:
        raise ValueError(f"layers must be >= 2, got {layers}")
    problem = boxed([initial_1, initial_2], [target_1, target_2], horizon=horizon, layers=layers)
    found = shoot(problem, atol=1e-11)
    times, control = along(found)
    kernels = 0.5 * control[:, 2:].reshape(-1, 2, 2)
    fine, states = between(found.state.states[:, :, 0], control[:, :2], kernels, times)
    _, costates = between(
        found.costate.states[:, :, 0], 0.0 * control[:, :2], -kernels.transpose(0, 2, 1), times
    )
    direct = minimize(discretize(problem, RK4()), LBFGS(gtol=1e-7, max_iterations=2000))
    certificate = pontryagin_certificate(problem, direct.control, eigenvalues=0)
    run = integrate(
        problem.network, direct.control, problem.initial, RK4(), save="layers"
    ).trajectory
    flat = np.concatenate(
        [direct.control["bias"], direct.control["kernel"].reshape(layers, 4)], axis=1
    )
    along_time = certificate.times.ravel()
    return xr.Dataset(
        {
            "objective": described("objective", found.objective, "1", "J of the extremal"),
            "direct_objective": described(
                "direct_objective", direct.objective, "1", "J of the best control on layers"
            ),
            "switching_time": described(
                "switching_time", found.switching_times(), "time", "switches", ("switch",)
            ),
            "control": described(
                "control", control, "1", "a_1, a_2, b_11, b_12, b_21, b_22", ("step", "entry")
            ),
            "direct_control": described(
                "direct_control", flat, "1", "the same on layers", ("layer", "entry")
            ),
            "costate": described(
                "costate", found.costate.states[:, :, 0], "1", "derivative of J", ("time", "block")
            ),
            "final": described("final", found.state.final[:, 0], "1", "f(T)", ("block",)),
            "path": described("path", states, "1", "f along the extremal", ("fine_time", "block")),
            "costate_path": described(
                "costate_path", costates, "1", "p along the extremal", ("fine_time", "block")
            ),
            "direct_path": described(
                "direct_path", run.states[:, :, 0], "1", "f on layers", ("end", "block")
            ),
            "hamiltonian": described(
                "hamiltonian", found.hamiltonian, "1/time", "minimised Hamiltonian", ("time",)
            ),
            "direct_hamiltonian": described(
                "direct_hamiltonian",
                certificate.hamiltonian.ravel(),
                "1/time",
                "on layers",
                ("layer_time",),
            ),
            "drift": described("drift", np.ptp(found.hamiltonian), "1/time", "max H - min H"),
            "direct_drift": described(
                "direct_drift", certificate.drift, "1/time", "the same on layers"
            ),
        },
        coords={
            "time": (
                "time",
                times,
                {"units": "time", "long_name": "ends of the steps of shooting"},
            ),
            "fine_time": (
                "fine_time",
                fine,
                {"units": "time", "long_name": "time along the network"},
            ),
            "layer": (
                "layer",
                problem.mesh.nodes[:-1],
                {"units": "time", "long_name": "start of the layer"},
            ),
            "layer_time": (
                "layer_time",
                along_time,
                {"units": "time", "long_name": "ends of steps, layer by layer"},
            ),
        },
    )
