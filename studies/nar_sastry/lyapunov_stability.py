"""Equilibria that are stable and not asymptotically stable: Figure 1, from a real run."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from continuum.checks import check_count, check_positive
from solvers import FixedStep, Monitor, Record, Snapshot, Status, minimize
from solvers.linear_networks import as_control, critical_step, deep_linear, disproportionate_factors

from ..bench.parameters import Count, NonNegative, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, VERMILION, new_figure
from ..shared import described
from .paper import PAPER

COLORS = (BLUE, VERMILION, GREEN)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, 3, width=13.5, height=4.6)
    plane, below, above = axes[0]
    kappas = sorted({float(case_parameters(case)["kappa"]) for case in cases})
    colors = dict(zip(kappas, COLORS, strict=False))
    shown = kappas[len(kappas) // 2]
    shares = sorted({float(case_parameters(case)["share"]) for case in cases})
    for case in cases:
        parameters = case_parameters(case)
        kappa, share = float(parameters["kappa"]), float(parameters["share"])
        ax = below if share < 1.0 else above
        _curves(ax, case, colors.get(kappa, BLACK), f"$\\kappa$ = {kappa:g}")
        if kappa == shown:
            path = np.stack([case["along"], case["across"]]) / float(parameters["offset"])
            path = path[:, : 1 + np.argmax([*(np.abs(path).max(axis=0) > 2.5), True])]
            color, marker = (BLUE, "o") if share < 1.0 else (VERMILION, "s")
            look = {"color": color, "markersize": 4, "linewidth": 0.5}
            plane.plot(*path, marker=marker, label=f"step {share:g} of the critical one", **look)
    _plane(plane)
    plane.set_title(f"$\\kappa$ = {shown:g}, the first iterates")
    for ax, chosen, place in (
        (below, shares[0], "upper right"),
        (above, shares[-1], "lower left"),
    ):
        ax.plot([], [], color=BLACK, label="$|w - w^*|$")
        ax.plot([], [], color=BLACK, linestyle=":", label="$|e|$")
        ax.set_yscale("log")
        ax.set_ylim(1e-16, 10.0)
        ax.set_xlabel("iteration k")
        ax.set_title(f"step {chosen:g} of the critical one")
        ax.legend(fontsize=8, loc=place)
    below.set_ylabel("$|w[k] - w^*|$, and $|e[k]|$ = |product - $\\lambda$|")
    return [Picture("lyapunov_stability", _caption(cases), figure)]


def _curves(ax: Axes, case: xr.Dataset, color: str, label: str) -> None:
    even = case.isel(iteration=slice(None, None, 2))
    k = even["iteration"]
    ax.plot(k, even["distance"], color=color, label=label)
    ax.plot(k, np.maximum(np.abs(even["error"]), 1e-18), ":", color=color, linewidth=1.2)


def _plane(ax: Axes) -> None:
    """w* and the circle through the start about it, on axes of equal scale."""
    angles = np.linspace(0.0, 2.0 * np.pi, 200)
    ax.plot(np.cos(angles), np.sin(angles), color=BLACK, linewidth=0.8, linestyle="--")
    ax.plot([0.0], [0.0], "*", color=BLACK, markersize=11)
    ax.annotate("$w^*$", (0.0, 0.0), (0.08, -0.25), fontsize=11)
    ax.axhline(0.0, color="#AAAAAA", linewidth=0.8, zorder=0)
    ax.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal")
    ax.set_xticks([-2, -1, 0, 1, 2])
    ax.set_yticks([-2, -1, 0, 1, 2])
    ax.legend(fontsize=8, loc="lower right")
    ax.set_xlabel("along the equilibria [distance of the start]")
    ax.set_ylabel("across them [distance of the start]")


def _caption(cases: Sequence[xr.Dataset]) -> str:
    parameters = case_parameters(cases[0])
    words = []
    for case in cases:
        own = case_parameters(case)
        distance, error = case["distance"].values, np.abs(case["error"].values)
        start = float(own["offset"])
        told = (
            f"the iterates have period two, errors {error[-2]:.3g} and {error[-1]:.3g}"
            if bool(case["period_two"])
            else f"at the end |e| = {error[-1]:.1e} and |w - w*| = {distance[-1]:.3g}, where the "
            f"critical step is {float(case['critical_at_end'] / case['critical']):.3f} times that "
            "at w*"
            if distance[-1] > 10.0 * start
            else f"|w - w*| is at most {np.max(distance) / start:.2f} times that of the start and "
            f"{distance[-1] / start:.2f} times it at the end, where |e| = {error[-1]:.1e}"
        )
        words.append(f"kappa = {own['kappa']:g}, {own['share']:g} of the critical step: {told}")
    return (
        f"Gradient descent of a product of {parameters['layers']} numbers against "
        f"{parameters['eigenvalue']:g}, from a point at distance {parameters['offset']:g} of w* = "
        "(kappa, ..., kappa, kappa^(1-L)) lambda^(1/L). The equilibria are a surface, so below the "
        "critical step descent ends on it beside w*, which is stable in Lyapunov's sense and not "
        "asymptotically. Left: the plane of the start's offset and the normal of that surface at "
        "w*, in which each step changes the side; dashed, the circle of the start. Others: |w - "
        "w*| solid, nearly the same for all kappa, |e| dotted, at even k. " + "; ".join(words) + "."
    )


@study(
    "nar_sastry/lyapunov_stability",
    paper=PAPER,
    figure="Figure 1",
    plot=_plot,
    cases=[
        {"share": [0.95], "angle": [45.0], "kappa": [1.0, 1.2, 1.5]},
        {"share": [1.05], "angle": [135.0], "kappa": [1.0, 1.2, 1.5]},
    ],
)
def lyapunov_stability(
    kappa: Positive = 1.0,
    share: NonNegative = 0.95,
    eigenvalue: float = 2.0,
    layers: Count = 5,
    offset: float = 1e-7,
    angle: float = 45.0,
    iterations: Count = 1000,
    seed: Seed = 0,
) -> xr.Dataset:
    """What does a run near an equilibrium of a product of numbers do, on both sides of its critical
    step?

    w* = (kappa, ..., kappa, kappa^(1-L)) lambda^(1/L); the start is w* + offset (cos(angle) t +
    sin(angle) n), n the normal of the equilibria at w*, t a tangent drawn at random, the angle in
    degrees; the step is `share` times 2 / sharpness at w*.

    distance: |w[k] - w*|; error: w_1[k] ... w_L[k] - lambda; along, across: coordinates of w[k] -
    w* along t and n; critical, critical_at_end: 2 / sharpness at w* and at the last iterate;
    period_two: 1 if the run ended so.
    """
    check_count("layers", layers, 2)
    kappa, share = check_positive("kappa", kappa), check_positive("share", share)
    check_positive("offset", offset)
    problem = deep_linear(eigenvalue, layers)
    control = as_control(problem, disproportionate_factors(np.array([[eigenvalue]]), layers, kappa))
    there = problem.space.flatten(control)
    w = 1.0 + there
    normal = (1.0 / w) / np.linalg.norm(1.0 / w)
    tangent = np.random.default_rng(seed).standard_normal(layers)
    tangent -= normal * (normal @ tangent)
    tangent /= np.linalg.norm(tangent)
    turn = np.deg2rad(angle)
    away = offset * (np.cos(turn) * tangent + np.sin(turn) * normal)
    looks = {
        "distance": lambda x: np.linalg.norm(x - there),
        "error": lambda x: np.prod(1.0 + x) - eigenvalue,
        "along": lambda x: tangent @ (x - there),
        "across": lambda x: normal @ (x - there),
    }
    critical = critical_step(problem, control)
    run = minimize(
        problem,
        FixedStep(share * critical, gtol=1e-300, max_iterations=iterations),
        initial=problem.space.unflatten(there + away),
        monitors=[Monitor(Record(name, _of_state(look))) for name, look in looks.items()],
        raise_on_failure=False,
    )
    words = {
        "distance": "|w - w*|",
        "error": "product - lambda",
        "along": "w - w* along the equilibria",
        "across": "w - w* across the equilibria",
    }
    return xr.Dataset(
        {
            **{
                name: described(name, run.history[name], "1", long, ("iteration",))
                for name, long in words.items()
            },
            "critical": described("critical", critical, "1", "2 / sharpness at w*"),
            "critical_at_end": described(
                "critical_at_end",
                critical_step(problem, run.control),
                "1",
                "2 / sharpness at the last iterate",
            ),
            "period_two": described(
                "period_two", float(run.status is Status.PERIOD_TWO), "1", "1 if it ended so"
            ),
        },
        coords={"iteration": np.arange(len(run.history["objective"]))},
    )


def _of_state(look: Callable[[np.ndarray], float]) -> Callable[[Snapshot], float]:
    return lambda snapshot: float(look(snapshot.state))
