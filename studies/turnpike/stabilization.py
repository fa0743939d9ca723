"""The training error along the depth where its integral is the cost: exponential decay or not."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
import xarray as xr
from annotated_types import Ge, Le

from continuum import (
    LearningProblem,
    TimeMesh,
)
from continuum.blocks import joint_norm
from solvers import RiccatiNewton, discretize, minimize
from solvers.turnpike import turnpike

from ..bench.parameters import Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, ORANGE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER, errors, planar, scalar, two_points, xor

Data: TypeAlias = Literal["affine", "two points", "three points", "xor in three dimensions"]

STRENGTH = {
    "affine": 1.0,
    "two points": 0.5,
    "three points": 0.1,
    "xor in three dimensions": 0.02,
}


def posed(data: Data, horizon: float, layers: int) -> LearningProblem:
    """minimise int_0^T |P x - y|^2 + lambda |c|^2 dt over x' = w sigma(x) + b, the mean over
    samples; sigma is the identity for "affine" and tanh for the others.

    "affine": 0 -> 2, lambda = 1 (TP-21); "two points": (-0.5, 0.5) -> (-1.5, 1), lambda = 0.5
    (TP-23); "three points": (-0.5, 0, 0.5) -> (-1, 0.4, 0.9), lambda = 0.1, layers that grow with
    time (TP-25); "xor in three dimensions": (+-1, +-1, 0), P x = x1 -> x1 x2, lambda = 0.02
    (TP-26).
    """
    mesh = TimeMesh(horizon, layers, 2.0 if data == "three points" else 1.0)
    if data == "affine":
        return scalar(2.0, mesh, strength=STRENGTH[data])
    if data == "xor in three dimensions":
        return xor(STRENGTH[data], mesh, along=True, units=3)
    if data == "two points":
        return two_points(STRENGTH[data], mesh, along=True)
    x, y = np.array([[-0.5, 0.0, 0.5]]), np.array([[-1.0, 0.4, 0.9]])
    return planar(x, y, STRENGTH[data], mesh, along=True)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(2, len(cases), width=3.7 * len(cases) + 0.4, height=6.6)
    notes = []
    for (above, below), case in zip(axes.T, cases, strict=True):
        data, t = str(case_parameters(case)["data"]), case["time"].values
        phi, rate = case["error"].values, float(case["predicted"])
        low, high, start, stop = case["fit"].values[1:]
        above.semilogy(t, phi, color=BLUE, label="training error $\\varphi$")
        text = f"{data} ({case.attrs['status']}): J = {float(case['objective']):.8g}"
        if np.isfinite(rate):
            inside = (t >= start - 1e-9) & (t <= stop + 1e-9)
            above.semilogy(t[inside], phi[inside], color=BLUE, linewidth=5.0, alpha=0.3)
            anchor = int(np.argmin(np.abs(t - stop)))
            line = phi[anchor] * np.exp(-rate * (t - t[anchor]))
            shown = line <= 3.0 * phi[0]
            label = f"$e^{{-{rate:.3f}\\, t}}$, predicted"
            above.semilogy(t[shown], line[shown], "--", color=VERMILION, linewidth=1.2, label=label)
            text += f", predicted rate {rate:.5f}, fitted {float(case['fit'][0]):.3f} in "
            text += f"[{low:.3f}, {high:.3f}] on ({start:.2f}, {stop:.2f})"
        else:
            middle = float(np.interp(0.5 * t[-1], t, phi))
            text += f", no spectral gap: a plateau, T^2 phi(T/2) = {t[-1] ** 2 * middle:.3g}"
        above.set_ylim(bottom=0.3 * float(np.min(phi)), top=20.0 * phi[0])
        above.set_title(data)
        above.set_ylabel("$\\varphi(x(t))$")
        above.legend(loc="upper right")
        middles = 0.5 * (t[1:] + t[:-1])
        below.semilogy(middles, case["speed"], color=ORANGE, label="$\\lambda |u|^2$")
        drop = case["drop"].values
        below.semilogy(
            middles[drop > 0], drop[drop > 0], ":", color=BLACK, label="$\\varphi - \\varphi(T)$"
        )
        below.set_ylim(bottom=max(1e-20, 0.3 * float(np.min(case["speed"]))))
        below.set_ylabel("energy identity")
        below.legend(loc="upper right")
        for ax in (above, below):
            ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
            ax.grid(True)
        notes.append(f"{text}; energy identity to {float(case['identity_error']):.2g} of phi(0)")
    caption = (
        "Training error of minimisers of int phi + lambda |u|^2, with the rate that the linearised "
        "system at the state reached predicts (thick: the window of the fit; its interval is the "
        "span of slopes in the window's thirds), and the first integral lambda |u|^2 = phi - "
        "phi(T). " + ". ".join(notes) + "."
    )
    return [Picture("stabilization", caption, figure)]


@study(
    "turnpike/stabilization",
    paper=PAPER,
    figure="running cost",
    plot=_plot,
    cases=[
        {"data": ["affine"], "horizon": [4.0], "per_unit": [100]},
        {"data": ["two points"], "horizon": [8.0], "per_unit": [64]},
        {"data": ["xor in three dimensions"], "horizon": [8.0], "per_unit": [32]},
        {"data": ["three points"], "horizon": [32.0], "per_unit": [16]},
    ],
)
def stabilization(
    data: Data = "two points",
    horizon: Annotated[float, Ge(1), Le(256)] = 8.0,
    per_unit: Annotated[int, Ge(4), Le(1024)] = 64,
    scale: Positive = 0.5,
    seed: Seed = 0,
) -> xr.Dataset:
    """Does the training error decay exponentially along the depth?

    minimise int_0^T phi(x) + lambda |u|^2 dt, phi the mean of |P x - y|^2, by Newton's method from
    a random start of size `scale`, which need not lead to the least minimum.  Where the control can
    steer all samples at the state reached, phi falls at twice the least rate of the linearised
    system; where samples outnumber what it can steer there is no spectral gap, and a plateau is
    left.

    error: phi; predicted: of phi, twice the least rate, NaN without spectral gap; fit: rate of
    phi, interval, window; modes: rates of the modes that have one; neutral: how many have none;
    speed, drop: lambda |u|^2 and phi - phi(T) on each layer, which are equal for the differential
    equation; identity_error: the largest difference, as a share of phi(0).
    """
    if not 1.0 <= horizon <= 256.0 or not 4 <= per_unit <= 1024 or scale <= 0.0:
        raise ValueError(
            f"horizon must be from 1 to 256, per_unit from 4 to 1024, scale > 0, got {horizon}, "
            f"{per_unit}, {scale}"
        )
    problem = posed(data, horizon, round(horizon * per_unit))
    start = problem.space.random(np.random.default_rng(seed), scale)
    method = RiccatiNewton(gtol=1e-10, max_iterations=500)
    best = minimize(problem, method, initial=start, raise_on_failure=False)
    path = discretize(problem).run(best.control)
    error = errors(problem, path)
    found = turnpike(problem, best.control)
    one, predicted = found.exponential, 2.0 * found.spectrum.gap
    fit = np.array([2.0 * one.rate, *(2.0 * x for x in one.interval), *one.window])
    if found.spectrum.neutral:
        predicted, fit = float("nan"), np.full(5, np.nan)
    modes = np.array([[f.predicted, f.scheme, f.rate] for f in found.fitted if "entry" in f.what])
    speed = STRENGTH[data] * joint_norm(problem.space.trained, best.control) ** 2
    drop = 0.5 * (error[1:] + error[:-1]) - error[-1]
    return xr.Dataset(
        {
            "objective": described("objective", best.objective, "1", "J of the ResNet"),
            "error": described("error", error, "1", "training error", ("time",)),
            "predicted": described("predicted", predicted, "1/time", "rate of the error"),
            "fit": described("fit", fit, "1/time", "rate of the error, fitted", ("fitted",)),
            "modes": described("modes", modes, "1/time", "rates of modes", ("mode", "kind")),
            "neutral": described("neutral", found.spectrum.neutral, "1", "modes without rate"),
            "speed": described("speed", speed, "1", "lambda |u|^2", ("layer",)),
            "drop": described("drop", drop, "1", "phi - phi(T)", ("layer",)),
            "identity_error": described(
                "identity_error",
                np.max(np.abs(speed - drop)) / error[0],
                "1",
                "error of the energy identity",
            ),
        },
        coords={
            "time": ("time", path.times, {"units": "time", "long_name": "t"}),
            "fitted": ("fitted", ["rate", "low", "high", "start", "stop"]),
            "kind": ("kind", ["predicted", "scheme", "fitted"]),
        },
        attrs={"status": best.status.name.lower()},
    )
