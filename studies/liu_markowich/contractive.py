"""The layer that contracts, and the Euler steps that do not."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import xarray as xr
from annotated_types import Gt, Le

from continuum import SymmetricLayer, TimeMesh, gauss_legendre, tanh
from solvers import DormandPrince, Euler, integrate

from ..bench.parameters import Horizon, NonNegative
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import new_figure
from ..shared import UNIT, described, legend_outside
from .paper import PAPER

BOUND = 0.5
"""2 / (Lip |B|^2) with b = 2 and tanh: the largest step with which Euler's method cannot expand."""


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, 1, width=7.4, height=4.2)
    ax, notes = axes[0, 0], []
    for case in cases:
        share = float(case_parameters(case)["share"])
        label = "flow" if share == 0.0 else f"Euler, $\\tau$ = {share * BOUND:g}"
        shown = case["distance"].where(case["distance"] > 1e-14)
        ax.semilogy(
            case["time"], shown, label=label, markersize=3.5, linewidth=2.4 if share == 0.0 else 1.2
        )
        text = label.replace("$", "").replace("\\tau", "tau")
        rate = (
            f"rate {-float(case['rate']):.3f}"
            if share == 0.0
            else f"factor {float(case['factor']):.3f} a step"
        )
        notes.append(f"{text}: {rate}, final distance {float(case['distance'][-1]):.2g}")
    ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
    ax.set_ylabel("distance $|f - g|$ in $L^2(Y)$")
    ax.set_title(f"$f_t = 2 \\tanh(1 - 2f)$; Euler contracts up to $\\tau$ = {BOUND:g}")
    ax.grid(True)
    legend_outside(ax)
    caption = (
        f"Two solutions of f_t = B* tanh(a - Bf), b = 2, a = 1; the bound on the step is "
        f"{BOUND:g}. "
    )
    return [
        Picture(
            "distance", caption + "; ".join(notes) + ". Distances below 1e-14 are left out.", figure
        )
    ]


@study(
    "liu_markowich/contractive",
    paper=PAPER,
    figure="Section 3.5",
    plot=_plot,
    cases=[{"share": [0.0, 0.4, 0.9, 1.0, 1.2]}],
)
def contractive(
    share: NonNegative = 0.0, apart: Annotated[float, Gt(0), Le(2)] = 0.01, horizon: Horizon = 6.0
) -> xr.Dataset:
    """The symmetric layer contracts, and Euler's method with it up to a step of 2 / (Lip |B|^2).

    What becomes of the distance of two solutions of f_t = B* sigma(a - Bf)? Here b = 2, a = 1 and
    tanh (LM-42): u = 1 - 2f = asinh(e^(-4t) sinh u_0), with the starts 1/2 - apart/2 and 1/2 +
    apart/2 on either side of rest.

    share: Euler's step over the bound 1/2, 0 for the flow itself; near rest a step multiplies
    distances by |1 - 2 share|. factor: of the distance over the first step; rate: of its logarithm
    over the run's first half.
    """
    if share != 0.0 and not 0.01 <= share <= 4.0:
        raise ValueError(f"share must be 0 or between 0.01 and 4, got {share}")
    if not 0.0 < apart <= 2.0 or not horizon >= BOUND:
        raise ValueError(
            f"apart must be in (0, 2] and horizon >= {BOUND}, got {apart} and {horizon}"
        )
    layers = 60 if share == 0.0 else max(2, round(horizon / (share * BOUND)))
    end = horizon if share == 0.0 else layers * share * BOUND
    network = SymmetricLayer(gauss_legendre(UNIT, 1), tanh)
    control = network.control(TimeMesh(end, layers), bias=1.0, kernel=2.0)
    starts = np.array([[0.5 - apart / 2, 0.5 + apart / 2]])
    stepper = DormandPrince(rtol=1e-12, atol=1e-14) if share == 0.0 else Euler()
    run = integrate(network, control, starts, stepper, save="layers").trajectory
    distance = np.abs(run.states[:, 0, 1] - run.states[:, 0, 0])
    half = layers // 2
    rate = np.log(max(distance[half], 1e-300) / distance[0]) / run.times[half]
    return xr.Dataset(
        {
            "distance": described(
                "distance", distance, "1", "distance of two solutions in L^2(Y)", ("time",)
            ),
            "factor": described(
                "factor",
                distance[1] / distance[0],
                "1",
                "distance after the first step over before",
            ),
            "rate": described("rate", rate, "1/time", "rate of the distance's logarithm"),
        },
        coords={
            "time": ("time", run.times, {"units": "time", "long_name": "time along the network"})
        },
    )
