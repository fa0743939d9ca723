"""What alpha and beta do: chattering of explicit steps, and where settling times are finite."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from continuum.checks import check_count, check_positive
from solvers.finite_time import (
    Law,
    PowerLaw,
    Scheme,
    SignLaw,
    settling_bound,
    train_in_time,
)

from ..bench.parameters import Exponent, Fraction, Horizon, Positive, Several
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure
from ..shared import described
from .claims.common import one_weight
from .paper import PAPER

SCHEMES: tuple[Scheme, ...] = ("explicit", "semi-implicit", "implicit", "exact")
STEPS = (0.2, 0.1, 0.05, 0.02, 0.01)
PAIRS = ((0.5, 0.0), (0.5, 0.25), (0.8, 0.1))
"""Of alpha and beta, whose bands are measured, besides law (3)."""
PRINTED = (0.68, 0.7, 0.8)
"""The alpha of the paper's experiments; it names no beta but alpha / (alpha + 1)."""
SMALLEST = 1e-300
"""So small an error ends no run that chatters."""


def errors(law: Law, start: float, horizon: float, step: float, scheme: Scheme) -> np.ndarray:
    """|e| after each step, the start included."""
    problem, begin = one_weight(start)
    run = train_in_time(
        problem, law, horizon, step, scheme, begin, atol=SMALLEST, raise_on_failure=False
    )
    return np.asarray(run.history["error"])


def band(law: PowerLaw, step: float) -> float:
    """|e| of the attracting cycle of two explicit steps, (C h / 2)^(1 / (1 - nu))."""
    rate = (law.alpha + 1.0) ** -law.beta
    return (0.5 * rate * step) ** (1.0 / (1.0 - law.exponent))


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    case = cases[0]
    parameters = case_parameters(case)
    figure, axes = new_figure(1, 3, width=13.6, height=4.4)
    left, middle, right = axes[0]
    look = zip(SCHEMES, (VERMILION, BLUE, GREEN, BLACK), ("-", "--", "-.", ":"), strict=True)
    for k, (scheme, color, line) in enumerate(look):
        left.semilogy(case["time"], case["error"][k], line, color=color, label=scheme)
    left.semilogy(
        case["time"], case["sign"], "-", color=SKY, linewidth=1.0, label="law (3), explicit"
    )
    left.set_ylim(1e-13, 3.0)
    left.set_xlabel("pseudo-time")
    left.set_ylabel("$|e|$")
    left.set_title(
        f"$\\alpha = {parameters['alpha']:g}$, $\\beta = {parameters['beta']:g}$, "
        f"step {parameters['step']:g}"
    )
    left.grid(True)
    left.legend(loc="center right", fontsize=8.5)
    looks = zip((SKY, ORANGE, VERMILION, PURPLE), "osD^", case["pair"].values, strict=True)
    for k, (color, marker, name) in enumerate(looks):
        middle.loglog(STEPS, case["band"][k], marker, color=color, label=str(name))
        middle.loglog(STEPS, case["formula"][k], color=color, linewidth=1.0)
    middle.set_xlabel("step $h$ of pseudo-time")
    middle.set_ylabel("largest $|e|$ of the last two steps")
    middle.set_title("explicit steps: bands")
    middle.grid(True)
    middle.legend(loc="lower right", fontsize=8.5)
    _map(figure, right, case)
    worst = float(np.nanmax(np.abs(case["band"] / case["formula"] - 1.0)[1:]))
    ends = ", ".join(
        f"{scheme} {float(value):.1e}"
        for scheme, value in zip(SCHEMES, case["error"][:, -1], strict=True)
    )
    caption = (
        f"One weight, o = w, from |e| = {parameters['start']:g}, k = 1. Left: |e| at the last of "
        f"these times is {ends}: explicit steps end in a cycle, the others chatter not. Middle: "
        "the cycle against the step, with the lines (C h / 2)^(1 / (1 - nu)), for law (3) the "
        f"larger of r and h - r, r = |e_0| mod h; measured bands of law (13) differ from them by "
        f"{worst:.1e} of themselves at most. Right: the exact settling time, finite below alpha + "
        f"beta = 1 only; of {int(np.isfinite(case['settling']).sum())} times, exact steps found "
        f"the error 0 in the step that contains it in {int(case['confirmed'])}. On beta = alpha / "
        "(alpha + 1), the paper's choice for law (3), times are finite for alpha < 0.618 only; the "
        "alpha of its experiments (crosses) are beyond, and it reports no other beta."
    )
    return [Picture("alpha", caption, figure)]


def _map(figure: Figure, ax: Axes, case: xr.Dataset) -> None:
    alphas, betas = case["alpha"].values, case["beta"].values
    times = case["settling"].values
    shown = ax.pcolormesh(
        alphas, betas, times.T, norm=LogNorm(np.nanmin(times), np.nanmax(times)), shading="nearest"
    )
    figure.colorbar(shown, ax=ax, label="settling time [pseudo-time]")
    ax.plot([0, 1], [1, 0], color=BLACK, label="$\\alpha + \\beta = 1$")
    line = np.linspace(0.0, 1.0, 50)
    ax.plot(
        line, line / (1 + line), "--", color=VERMILION, label="$\\beta = \\alpha / (\\alpha + 1)$"
    )
    printed = np.array(PRINTED)
    crosses = {"color": VERMILION, "markersize": 8, "markeredgewidth": 2}
    ax.plot(printed, printed / (1 + printed), "x", **crosses, label="$\\alpha$ of the experiments")
    ax.text(0.7, 0.64, "no settling time", ha="center")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xlabel("$\\alpha$")
    ax.set_ylabel("$\\beta$")
    ax.legend(loc="upper right", fontsize=8.5)


@study("finite_time/alpha", paper=PAPER, figure="Figure 5, Appendix A.1", plot=_plot)
def alpha(
    alpha: Exponent = 0.5,
    beta: Fraction = 0.25,
    step: Positive = 0.1,
    horizon: Horizon = 8.0,
    start: Positive = 0.7137,
    resolution: Several = 20,
) -> xr.Dataset:
    """When does law (13) chatter, and for which exponents is there a settling time?

    One weight, o = w, y = 0, so that e = w and e' = -C spow(e, nu), nu = alpha^2 + beta (alpha +
    1), C = (alpha + 1)^(-beta): by all four schemes with `step`; bands of explicit steps of several
    lengths; settling times on a map of resolution x resolution exponents.

    error: |e| (scheme, time); sign: of law (3), explicit; band, formula: (pair, step); settling:
    (alpha, beta), NaN where there is none; confirmed: how many of these the exact scheme met.
    """
    check_positive("start", start)
    check_count("resolution", resolution, 2)
    law = PowerLaw(alpha, beta)
    count = round(check_positive("horizon", horizon) / check_positive("step", step))
    if not 1 <= count <= 10_000:
        raise ValueError(f"horizon / step must be from 1 to 10000, got {horizon / step:g}")
    horizon = count * step
    courses = [_padded(errors(law, start, horizon, step, scheme), count) for scheme in SCHEMES]
    bands, formulas = [], []
    for chosen in (SignLaw(), *(PowerLaw(*pair) for pair in PAIRS)):
        bands.append([np.max(errors(chosen, start, 800 * h, h, "explicit")[-2:]) for h in STEPS])
        if isinstance(chosen, PowerLaw):
            formulas.append([band(chosen, h) for h in STEPS])
        else:
            rests = np.array([start % h for h in STEPS])
            formulas.append(np.maximum(rests, np.array(STEPS) - rests))
    cells = (np.arange(resolution) + 0.5) / resolution
    times, confirmed = np.full((resolution, resolution), np.nan), 0
    problem, begin = one_weight(start)
    for i, j in zip(*np.nonzero(np.add.outer(cells, cells) < 1.0 - 1e-9), strict=True):
        chosen = PowerLaw(float(cells[i]), float(cells[j]))
        bound = settling_bound(problem, begin, chosen)
        if bound.time is not None:
            times[i, j] = bound.time
            run = errors(chosen, start, 1.05 * bound.time, bound.time / 40.5, "exact")
            confirmed += len(run) == 42 and run[-1] == 0.0 and run[-2] > 0.0
    names = ["law (3)", *(f"$\\alpha = {a:g}$, $\\beta = {b:g}$" for a, b in PAIRS)]
    return xr.Dataset(
        {
            "error": described("error", np.array(courses), "1", "|e|", ("scheme", "time")),
            "sign": described(
                "sign",
                _padded(errors(SignLaw(), start, horizon, step, "explicit"), count),
                "1",
                "|e| of law (3)",
                ("time",),
            ),
            "band": described("band", np.array(bands), "1", "|e| at the end", ("pair", "step")),
            "formula": described("formula", np.array(formulas), "1", "of |e|", ("pair", "step")),
            "settling": described("settling", times, "pseudo-time", "T", ("alpha", "beta")),
            "confirmed": described("confirmed", confirmed, "1", "times met by exact steps"),
        },
        coords={
            "scheme": ("scheme", list(SCHEMES)),
            "time": ("time", step * np.arange(count + 1), {"units": "pseudo-time"}),
            "pair": ("pair", names),
            "step": ("step", list(STEPS), {"units": "pseudo-time"}),
            "alpha": ("alpha", cells),
            "beta": ("beta", cells),
        },
    )


def _padded(values: np.ndarray, count: int) -> np.ndarray:
    """A run that settled stays where it is."""
    return np.pad(values, (0, count + 1 - len(values)), mode="edge")
