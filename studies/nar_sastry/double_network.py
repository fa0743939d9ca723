"""Single and double products of matrices against random diagonalizable R: speed and step size."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from solvers.linear_networks import ProductObjective, deep_linear, sharpness, step_bound

from ..bench.parameters import Count, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER

Kind: TypeAlias = Literal["symmetric", "non-normal"]
UNITS, LAYERS = 20, 20
RATIOS = (0.25, 0.5, 0.83, 0.95, 1.05, 1.25, 1.5, 1.7, 1.9, 2.2, 2.6, 3.0, 3.5, 4.0)
"""Steps in the bound 2 / (L |R|_2^(2 (L - 1) / L))."""
LATE = 100
"""A run has settled if the last loss is the lowest and has not risen in so many last steps."""
COLORS = {"single": BLUE, "double": VERMILION}
MARKERS = {"single": "o", "double": "s"}
FLOOR, CEILING = 1e-12, 1e2
"""Ends of the axes of losses; diverged runs are drawn at the upper one."""


def target(kind: Kind, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(R, its eigenvalues): M diag(lambda) M^-1 with normal M (20, 20) and lambda uniform in [-1.5,
    1.5], as in the paper; "symmetric" has the factor Q of M = Q R' in the place of M.
    """
    rng = np.random.default_rng(seed)
    m, values = rng.normal(size=(UNITS, UNITS)), rng.uniform(-1.5, 1.5, UNITS)
    if kind == "symmetric":
        q = np.linalg.qr(m)[0]
        return (q * values) @ q.T, values
    return (m * values) @ np.linalg.inv(m), values


def single_limit(values: np.ndarray) -> float:
    """Of the loss of a single network, R symmetric: negative eigenvalues are met by 0, a saddle."""
    return 0.5 * float(np.sum(np.minimum(values, 0.0) ** 2))


def losses(r: np.ndarray, double: bool, step: float, steps: int) -> np.ndarray:
    """(steps + 1,): J of every iterate of descent from the identity; NaN behind the last finite
    one.
    """
    objective = ProductObjective(deep_linear(r, LAYERS, double=double))
    start = np.zeros(objective.space.size)
    return objective.fixed_steps(start, start, step, 0.0, 0, steps + 1)[2]


def settled(loss: np.ndarray) -> bool:
    """True if the last loss is the lowest, and none of the last steps has raised it; by less than a
    share of 1e-9, or of 1e-18 of the first loss, is rounding.
    """
    if not np.all(np.isfinite(loss)):
        return False
    late, rounding = loss[-LATE - 1 :], 1e-18 * loss[0]
    lowest = loss[-1] <= (1.0 + 1e-9) * np.min(loss) + rounding
    return bool(lowest and np.all(np.diff(late) <= 1e-9 * late[:-1] + rounding))


def critical_ratio(r: np.ndarray, steps: int) -> float:
    """2 / sharpness, in the bound, where the double network is after so many steps of half the
    bound.
    """
    objective = ProductObjective(deep_linear(r, LAYERS, double=True))
    start, bound = np.zeros(objective.space.size), step_bound(r, LAYERS)
    last = objective.fixed_steps(start, start, 0.5 * bound, 0.0, 0, steps)[0]
    return 2.0 / (sharpness(objective, objective.space.unflatten(last)) * bound)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    kinds = list(dict.fromkeys(str(case_parameters(case)["kind"]) for case in cases))
    rows = len(kinds)
    figure, axes = new_figure(rows, 2, width=10.0, height=3.5 * rows + 0.9)
    for kind, (left, right) in zip(kinds, axes, strict=True):
        mine = [case for case in cases if case_parameters(case)["kind"] == kind]
        for case in mine:
            _draw_losses(left, case)
            _draw_outcomes(right, case)
        ratios = [float(case["critical"]) for case in mine]
        right.axvline(1.0, color=BLACK, linewidth=1.0)
        right.axvspan(min(ratios), max(ratios), color=VERMILION, alpha=0.25, linewidth=1.5)
        left.set_xlabel("step k")
        right.set_xlabel("step length / bound of single products")
        left.set_ylabel("loss J")
        right.set_ylabel(f"J after {_steps(cases)} steps / J at the start")
        left.set_title(f"R {kind}, {len(mine)} seeds, steps of {_given(mine)}")
        right.set_title(f"R {kind}")
    lines = [
        Line2D([], [], color=color, marker=MARKERS[name], markersize=5, label=name)
        for name, color in COLORS.items()
    ]
    look = {"color": BLACK, "linestyle": "none", "markersize": 5}
    handles = [
        *lines,
        Line2D([], [], color=BLUE, linestyle="--", label="predicted limit of single"),
        Line2D([], [], color=VERMILION, alpha=0.3, linewidth=7, label="2 / sharpness, double"),
        Line2D([], [], marker="o", label="settled", **look),
        Line2D([], [], marker="o", markerfacecolor="white", label="not settled", **look),
        Line2D([], [], marker="^", markerfacecolor="white", label="diverged", **look),
        Line2D([], [], color=BLACK, linewidth=1.0, label="bound of single products"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return [Picture("double_network", " ".join(_caption(cases, kinds).split()), figure)]


def _draw_losses(ax: Axes, case: xr.Dataset) -> None:
    """The loss against k on the left, the limit of the single network where there is one."""
    for name, color in COLORS.items():
        loss = case["loss"].sel(network=name).values
        ax.loglog(np.arange(1, len(loss)), loss[1:], color=color, linewidth=1.0)
        ax.set_ylim(1e-6, max(ax.get_ylim()[1], 3.0 * loss[0]))
    limit = float(case["limit"])
    if np.isfinite(limit):
        ax.axhline(limit, color=BLUE, linestyle="--", linewidth=0.8)
    ax.grid(True)


def _draw_outcomes(ax: Axes, case: xr.Dataset) -> None:
    """Where the loss is after the last step, against the step."""
    ratios = case["ratio"].values
    for name, color in COLORS.items():
        one = case.sel(network=name)
        last, calm = one["last"].values, one["settled"].values.astype(bool)
        gone = ~np.isfinite(last)
        y = np.clip(np.where(gone, CEILING, last), FLOOR, CEILING)
        moved = ratios * (1.012 if name == "double" else 0.988)
        for which, marker, face in (
            (calm, MARKERS[name], color),
            (~calm & ~gone, MARKERS[name], "white"),
            (gone, "^", "white"),
        ):
            ax.plot(
                moved[which],
                y[which],
                linestyle="none",
                marker=marker,
                markerfacecolor=face,
                markeredgecolor=color,
                markersize=4,
                alpha=0.9,
            )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks([0.25, 0.5, 1, 2, 4], labels=["1/4", "1/2", "1", "2", "4"])
    ax.minorticks_off()
    ax.set_ylim(0.3 * FLOOR, 5 * CEILING)
    ax.grid(True)


def _steps(cases: Sequence[xr.Dataset]) -> int:
    """How many steps the runs have."""
    return int(case_parameters(cases[0])["steps"])  # type: ignore[arg-type]


def _given(cases: Sequence[xr.Dataset]) -> str:
    """The steps of the curves on the left."""
    found = sorted({float(case_parameters(case)["step"]) for case in cases})
    return f"{found[0]:g}" if len(found) == 1 else f"{found[0]:g} to {found[-1]:g}"


def _caption(cases: Sequence[xr.Dataset], kinds: Sequence[str]) -> str:
    words = [
        _found(kind, [c for c in cases if case_parameters(c)["kind"] == kind]) for kind in kinds
    ]
    return (
        "Left: loss against k, from the identity, L = 20, every seed a curve.  Right: where the "
        f"loss is after {_steps(cases)} steps, for steps in units of 2 / (L |R|_2^(2 - 2/L)), "
        "above which every single product that equals R is unstable; settled: the last loss is the "
        f"lowest, and none of the last {LATE} steps has raised it; points at {FLOOR:g} may be "
        "lower.  Nar and Sastry say of non-normal R that the double network is consistently "
        "faster, and that for some the single one becomes unstable while the double one remains "
        "stable.  " + "  ".join(words)
    )


def _found(kind: str, cases: Sequence[xr.Dataset]) -> str:
    """What the cases of one kind say of the two statements."""
    single, double = ([case.sel(network=name) for case in cases] for name in COLORS)
    steps = _steps(cases)
    final = np.array([[case["loss"].values[steps] for case in row] for row in (single, double)])
    calm, other = (
        np.array([case["settled"].values for case in row]) == 1 for row in (single, double)
    )
    critical = [float(case["critical"]) for case in cases]
    ratios, faster = cases[0]["ratio"].values, int(np.sum(final[1] < final[0]))
    said = (
        f"Found, R {kind}, {len(cases)} seeds: the double network has the lower loss after "
        f"{steps} steps for {faster}; single unsettled and double settled: "
        f"{_those(~calm & other, ratios)}; the other way round: {_those(calm & ~other, ratios)}; "
        f"2 / sharpness where the double network goes is {min(critical):.2f} to "
        f"{max(critical):.2f} times the bound"
    )
    limits = np.array([float(case["limit"]) for case in cases])
    if np.all(np.isfinite(limits)):
        above = 100.0 * (final[0] / limits - 1.0)
        left = np.array([float(case["left"]) for case in cases])
        gone = left[np.isfinite(left)]
        said += (
            f" (what settles with longer steps is at flatter pairs); after {steps} steps the "
            f"single network is {above.min():.1f} to {above.max():.1f}% above half the sum of "
            "squares of the negative eigenvalues, its limit without rounding.  That is a saddle"
        )
        if len(gone):
            said += (
                f", which rounding makes {len(gone)} of {len(left)} runs leave: they are below it "
                f"from k = {gone.min():.0f} to {gone.max():.0f} on"
            )
    return said + "."


def _those(which: np.ndarray, ratios: np.ndarray) -> str:
    """At which steps, and for how many seeds; which : (seed, ratio)."""
    if not which.any():
        return "at none of the steps"
    at = ratios[which.any(axis=0)]
    span = f"{at[0]:g}" if len(at) == 1 else f"{at[0]:g} to {at[-1]:g}"
    return f"at {span} times the bound, {int(which.any(axis=1).sum())} of {len(which)} seeds"


@study(
    "nar_sastry/double_network",
    paper=PAPER,
    figure="Fig. 3",
    plot=_plot,
    cases=[
        {"kind": ["symmetric"], "seed": [0, 1, 2, 3, 4], "step": 0.01},
        {"kind": ["non-normal"], "seed": [0, 1, 3, 4], "step": 1e-4},
        {"kind": ["non-normal"], "seed": [2], "step": 1e-3},
        {"kind": ["non-normal"], "seed": [5], "step": 3e-5},
    ],
)
def double_network(
    kind: Kind = "non-normal", seed: Seed = 0, step: Positive = 1e-4, steps: Count = 1000
) -> xr.Dataset:
    """Is a double network faster, and stable where a single one is not (NS-15, NS-16)?

    |W_20 ... W_1 - R|_F^2 / 2 and |W_20 ... W_1 - Z_20 ... Z_1 - R|_F^2 / 2, all 20 x 20, gradient
    descent from the identity; R = M diag(lambda) M^-1, M normal, lambda uniform in [-1.5, 1.5], or
    symmetric with the same eigenvalues.  The paper does not state its step.

    loss: J of each iterate with the given step, ten times as many; last: J after `steps` steps over
    J at the start, by their length in units of the bound, NaN where it diverges; settled: 1 if that
    is the lowest J and none of the last 100 steps has raised it; limit: half the sum of squares of
    the negative eigenvalues, where R is symmetric; bound: 2 / (20 |R|_2^1.9); printed: that with
    the spectral radius; critical: 2 / sharpness where the double network is after 3 times as many
    steps of half the bound, in units of the bound; left: the first k at which the single network is
    below the limit, NaN if there is none.
    """
    if not step > 0.0 or steps <= LATE:
        raise ValueError(f"step must be > 0 and steps > {LATE}, got {step} and {steps}")
    r, values = target(kind, seed)
    bound, ratios = step_bound(r, LAYERS), np.array(RATIOS)
    loss = np.array([losses(r, double, step, 10 * steps) for double in (False, True)])
    runs = [[losses(r, double, x * bound, steps) for x in ratios] for double in (False, True)]
    critical = critical_ratio(r, 3 * steps)
    last = [[run[-1] / run[0] for run in row] for row in runs]
    calm = [[int(settled(run)) for run in row] for row in runs]
    printed = 2.0 / (LAYERS * float(np.abs(values).max()) ** (2.0 - 2.0 / LAYERS))
    limit = single_limit(values) if kind == "symmetric" else np.nan
    below, across = np.flatnonzero(loss[0] < limit), ("network", "ratio")
    numbers = {
        "limit": (limit, "limit of the loss of the single network"),
        "bound": (bound, "2 / least sharpness of a single product"),
        "printed": (printed, "the bound with the spectral radius"),
        "critical": (critical, "2 / sharpness of the double network, in the bound"),
        "left": (float(below[0]) if len(below) else np.nan, "first k below the limit"),
    }
    return xr.Dataset(
        {
            "loss": described("loss", loss, "1", "loss", ("network", "k")),
            "last": described("last", np.array(last), "1", "last loss / first loss", across),
            "settled": described(
                "settled", np.array(calm), "1", "1 where the run has settled", across
            ),
            **{
                name: described(name, np.array(value), "1", words, ())
                for name, (value, words) in numbers.items()
            },
        },
        coords={"network": list(COLORS), "k": np.arange(10 * steps + 1), "ratio": ratios},
    )
