"""A linear-quadratic problem whose minimisers enter the turnpike and leave it."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import xarray as xr

from continuum import (
    LearningProblem,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
)
from solvers import RiccatiNewton, minimize
from solvers.turnpike import Turnpike, dissipativity, solve_quadratic, turnpike

from ..bench.parameters import Count, Horizon, Positive
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, OKABE_ITO, new_figure
from ..shared import UNIT, described
from .paper import PAPER

SHOWN = 3
"""Modes that are stored and drawn, the fastest."""


def posed(horizon: float, layers: int, points: int = 16) -> LearningProblem:
    """minimise int_0^T |f - (1 + y/2)|^2 / 2 + 0.3 |a|^2 dt over biases a, f' = a - Bf, f(0) = 0 on
    (0, 1), B with the kernel exp(-4 (y - z)^2).
    """
    grid = gauss_legendre(UNIT, points)
    network = WidthDepth(grid, identity)
    space = network.controls(
        TimeMesh(horizon, layers), fixed={"kernel": lambda y, z: np.exp(-4.0 * (y - z) ** 2)}
    )
    return LearningProblem(
        network,
        np.zeros((points, 1)),
        (1.0 + 0.5 * grid.coordinates)[:, None],
        space,
        terminal=None,
        running=SquaredError(0.5),
        penalty=Tikhonov(0.3),
    )


def sides(found: Turnpike) -> dict[str, xr.DataArray]:
    """entry_amplitude, exit_amplitude (time, mode); entry_fit, exit_fit (mode, 5): rate, ends of
    its interval, ends of its window.
    """
    parts = {}
    for side, kind, amplitudes in (
        ("entry", "stable", found.entry_amplitudes),
        ("exit", "unstable", found.exit_amplitudes),
    ):
        mine = [fit for fit in found.fitted if fit.what.startswith(side)][:SHOWN]
        fits = np.array([[fit.rate, *fit.interval, *fit.window] for fit in mine])
        name = f"{side}_amplitude"
        parts[name] = described(name, amplitudes[:, :SHOWN], "1", f"{kind} modes", ("time", "mode"))
        name = f"{side}_fit"
        parts[name] = described(name, fits, "1/time", f"{kind} modes, fits", ("mode", "fit"))
    return parts


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    ranked = sorted(cases, key=lambda case: float(case_parameters(case)["horizon"]))
    figure, axes = new_figure(2, 2, width=10.4, height=7.4)
    left, right = axes[0]
    for case, color, marker in zip(ranked, cycle(OKABE_ITO), cycle("osD^vP"), strict=False):
        horizon = float(case_parameters(case)["horizon"])
        look = {"color": color, "marker": marker, "markevery": [-1]}
        left.plot(case["time"], case["norm"], **look, label=f"$T = {horizon:g}$")
        right.semilogy(case["time"], case["distance"], **look)
    static = float(ranked[-1]["static_norm"])
    left.axhline(static, color=BLACK, linestyle="--", linewidth=1.0, label="static optimum")
    left.set_ylabel("$|f(t)|$")
    left.legend(loc="lower right")
    left.set_title("states enter, stay and leave")
    right.set_ylabel("$|f(t) - f^*|$")
    right.set_title("distance from the turnpike")
    for ax in axes[0]:
        ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
        ax.grid(True)
    chosen = next((c for c in ranked if float(case_parameters(c)["horizon"]) == 12.0), ranked[-1])
    horizon = float(case_parameters(chosen)["horizon"])
    for ax, side in zip(axes[1], ("entry", "exit"), strict=True):
        since = chosen["time"].values
        since = since if side == "entry" else horizon - since
        for j in range(chosen.sizes["mode"]):
            fit, rate = chosen[f"{side}_fit"].values[j], float(chosen["scheme_rate"][j])
            own = float(chosen["rate"][j])
            amplitude = chosen[f"{side}_amplitude"].values[:, j]
            ax.semilogy(
                since,
                amplitude,
                color=OKABE_ITO[j],
                linestyle=("-", "--", "-.", ":")[j % 4],
                label=f"{j + 1}: fitted {fit[0]:.5f}, scheme {rate:.5f}, equation {own:.5f}",
            )
            ends = fit[3:] if side == "entry" else horizon - fit[3:]
            inside = (since >= min(ends) - 1e-9) & (since <= max(ends) + 1e-9)
            if np.any(inside):
                ax.semilogy(
                    since[inside], amplitude[inside], color=OKABE_ITO[j], linewidth=4.5, alpha=0.35
                )
        ax.set_xlabel(
            "time $t$ [layers $\\times \\tau$]" if side == "entry" else "time left $T - t$"
        )
        ax.set_ylabel(f"amplitude, $T = {horizon:g}$")
        ax.set_title(f"{'stable' if side == 'entry' else 'unstable'} modes ({side})")
        ax.set_ylim(bottom=3e-4 * float(np.min(chosen[f"{side}_amplitude"])))
        ax.legend(loc="lower left", fontsize=8.5)
        ax.grid(True)
    values = "; ".join(
        f"T = {float(case_parameters(c)['horizon']):g}: {float(c['exact_value']):.10f} "
        f"(scheme {float(c['value']):.7f})"
        for c in ranked
    )
    rates = ", ".join(f"{x:.7f}" for x in chosen["rate"].values)
    low, high = chosen["exponential"].values[1:3]
    caption = (
        f"f' = a - Bf tracks 1 + y/2. Static value {float(chosen['static_value']):.10f}; J of the "
        f"differential equation {values}. Rates per mode {rates}, ...: they accumulate at "
        f"{float(chosen['limit_rate']):.7f} = (1/0.6)^(1/2), which none attains. Thick: windows of "
        f"the fits, of amplitudes known to {float(chosen['atol']):.0e}, an estimate. One "
        f"exponential through the distance has rates from {low:.3f} to {high:.3f} as its window "
        "moves: it is no rate of the system. Time with "
        f"|f - f*| > {float(chosen['radius']):.3g} at T = {horizon:g}: "
        f"{float(chosen['outside']):.3f}; strict dissipativity bounds it by "
        f"{float(chosen['outside_bound']):.3g} for every horizon."
    )
    return [Picture("two_arcs", caption, figure)]


@study(
    "turnpike/two_arcs",
    paper=PAPER,
    figure="running cost, with drift",
    plot=_plot,
    cases=[{"horizon": [3.0, 6.0, 12.0, 24.0]}],
)
def two_arcs(
    horizon: Horizon = 12.0, step: Positive = 0.03, points: Count = 16, radius: Positive = 0.1
) -> xr.Dataset:
    """Two arcs: minimisers of a long horizon enter the turnpike, stay, and leave it.

    minimise int_0^T |f - (1 + y/2)|^2 / 2 + 0.3 |a|^2 dt, f' = a - Bf, f(0) = 0, B with the kernel
    exp(-4 (y - z)^2) on Gauss-Legendre nodes; the ResNet with layers of length `step`, the control
    by Newton's method.

    exact_value: J of the differential equation, in closed form; value: of the ResNet. rate, with
    limit_rate, of the differential equation, scheme_rate of the ResNet, entry_fit and exit_fit
    fitted (rate, interval, window) per mode; exponential: the same through the distance. outside:
    time with distance > radius, outside_bound: what dissipativity says for every horizon.
    """
    if not 0.0 < step <= 0.25 or not SHOWN <= points <= 64 or not 1.0 <= horizon <= 100.0:
        raise ValueError(
            f"step must be in (0, 0.25], points from 3 to 64, horizon from 1 to 100, got {step}, "
            f"{points}, {horizon}"
        )
    problem = posed(horizon, round(horizon / step), points)
    best = minimize(problem, RiccatiNewton(gtol=1e-10))
    found = turnpike(problem, best.control, radius=radius)
    exact, strict = solve_quadratic(problem), dissipativity(problem, found.static)
    weights = problem.network.weights[:, None]
    states = exact.states(found.times)

    def size(f: np.ndarray) -> np.ndarray:
        return np.sqrt(np.sum(weights * f**2, axis=(-2, -1)))

    scheme = found.predicted if found.scheme is None else found.scheme.rates
    one = found.exponential
    return xr.Dataset(
        {
            "norm": described("norm", size(states), "1", "|f|, differential equation", ("time",)),
            "distance": described(
                "distance", found.distance, "1", "|f - f*| of the ResNet", ("time",)
            ),
            "static_norm": described("static_norm", size(found.static.state), "1", "|f*|"),
            "static_value": described("static_value", found.static.value, "1", "static value"),
            "exact_value": described("exact_value", exact.value, "1", "J, differential equation"),
            "value": described("value", found.value, "1", "J of the ResNet"),
            "rate": described("rate", found.predicted[:SHOWN], "1/time", "rates", ("mode",)),
            "limit_rate": described("limit_rate", (1.0 / 0.6) ** 0.5, "1/time", "their limit"),
            "scheme_rate": described(
                "scheme_rate", scheme[:SHOWN], "1/time", "rates of the ResNet", ("mode",)
            ),
            **sides(found),
            "exponential": described(
                "exponential",
                [one.rate, *one.interval, *one.window],
                "1/time",
                "one exponential through the distance",
                ("fit",),
            ),
            "atol": described("atol", found.atol, "1", "accuracy of amplitudes, estimated"),
            "radius": described("radius", radius, "1", "radius of the ball"),
            "outside": described("outside", found.outside, "time", "time outside the ball"),
            "outside_bound": described(
                "outside_bound", strict.time_outside(radius), "time", "bound, any horizon"
            ),
        },
        coords={
            "time": ("time", found.times, {"units": "time", "long_name": "t"}),
            "mode": ("mode", np.arange(1, SHOWN + 1), {"units": "1", "long_name": "mode"}),
            "fit": ("fit", ["rate", "low", "high", "start", "stop"]),
        },
    )
