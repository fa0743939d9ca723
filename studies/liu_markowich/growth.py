"""How fast states grow with depth, beside the bounds that the theorems give."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from continuum import (
    Circle,
    FunctionControl,
    Grid,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
    identity,
    periodic,
)
from solvers import DormandPrince, growth_class, integrate

from ..bench.parameters import Count, Horizon
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, new_figure
from ..shared import UNIT, described
from .paper import PAPER

TITLES = {
    "bounded": "$\\sigma(s) = s$, $B \\geq 0$",
    "decay": "$f' = -\\tanh f$",
    "linear": "$f = f_I + t\\,\\tanh\\varphi$",
    "exponential": "$f' = f$",
}


def setup(
    problem: str, horizon: float
) -> tuple[WidthDepth, FunctionControl, np.ndarray, np.ndarray | None]:
    """Network, control, initial state, and a solution of Bf = a where the theorem asks for one."""
    mesh = TimeMesh(horizon, 1)
    if problem == "exponential":
        network = WidthDepth(gauss_legendre(UNIT, 1), identity)
        return network, network.control(mesh, kernel=-1.0), np.ones((1, 1)), None
    case = {
        "bounded": exact.poisson_circle(),
        "decay": exact.scalar_decay,
        "linear": exact.linear_growth,
    }[problem]
    grid = periodic(Circle(), 64) if problem == "bounded" else gauss_legendre(UNIT, 64)
    network = WidthDepth(grid, case.activation)
    control = network.control(mesh, bias=case.bias, kernel=case.kernel)
    return (
        network,
        control,
        grid.sample(case.initial),
        np.zeros((64, 1)) if problem == "bounded" else None,
    )


def norm(grid: Grid, f: np.ndarray) -> float:
    """|f| in L^2(Y) of one sample (N, 1)."""
    return float(np.sqrt(grid.integrate(f**2)[0]))


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, len(cases), width=3.3 * len(cases) + 0.4, height=3.6)
    notes = []
    for ax, case in zip(axes[0], cases, strict=True):
        problem = str(case_parameters(case)["problem"])
        ax.plot(case["time"], case["norm"], label="$|f(t)|$")
        ax.plot(case["time"], case["bound"], "--", color=BLACK, label="bound")
        if problem == "exponential":
            ax.set_yscale("log")
        else:
            ax.set_ylim(0, 1.08 * float(case["bound"].max()))
        ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
        ax.set_ylabel("norm in $L^2(Y)$")
        ax.set_title(TITLES[problem])
        ax.grid(True)
        ax.legend(loc="best", frameon=False)
        reached = f"|f(T)| = {float(case['norm'][-1]):.4g} under {float(case['bound'][-1]):.4g}"
        speed = (
            f"rate {float(case['rate']):.4f}"
            if problem == "exponential"
            else f"speed {float(case['speed']):.4f}"
        )
        notes.append(
            f"{problem}: {reached} ({case['bound'].attrs['theorem']}), {speed} in the second half"
        )
    caption = "The norm of the state along the network, and the bound of the theorem that applies. "
    return [Picture("growth", caption + "; ".join(notes) + ".", figure)]


@study(
    "liu_markowich/growth",
    paper=PAPER,
    figure="Sections 3.1, 3.2 and 3.4",
    plot=_plot,
    cases=[
        {"problem": "bounded", "horizon": 10.0},
        {"problem": "decay", "horizon": 4.0},
        {"problem": "linear", "horizon": 10.0},
        {"problem": "exponential", "horizon": 4.0},
    ],
)
def growth(
    problem: Literal["bounded", "decay", "linear", "exponential"] = "linear",
    horizon: Horizon = 10.0,
    times: Count = 101,
) -> xr.Dataset:
    """Growth of states with depth: bounded, linear, exponential.

    How far does |f(t)| get, and how sharp are the bounds of the theorems? bounded: the Poisson
    kernel on the circle, linear, B >= 0 (LM-13). decay: f' = -tanh f (LM-01), for which the theorem
    allows linear growth. linear: f = f_I + t tanh(phi), a state that grows although sigma is
    bounded (LM-11). exponential: f' = f, where Gronwall is attained.

    norm: |f(t)| in L^2(Y); bound: of `growth_class`; speed: |f(T) - f(T/2)| / (T/2); rate: of log
    |f| from T/2 to T.
    """
    if times < 3 or times % 2 == 0:
        raise ValueError(f"times must be odd and >= 3, so that T/2 is among them, got {times}")
    network, control, initial, steady = setup(problem, horizon)
    found = growth_class(network, control, initial, steady=steady)
    at = np.linspace(0.0, horizon, times)
    states = integrate(
        network, control, initial, DormandPrince(rtol=1e-12, atol=1e-13), save=at
    ).trajectory.states
    norms = [norm(network.grid, f) for f in states]
    half, last = states[times // 2], states[-1]
    bound = described(
        "bound",
        [found.bound(float(t)) for t in at],
        "1",
        "largest norm the theorem allows",
        ("time",),
    )
    bound.attrs |= {"kind": found.kind, "theorem": found.theorem}
    return xr.Dataset(
        {
            "norm": described("norm", norms, "1", "norm of the state in L^2(Y)", ("time",)),
            "bound": bound,
            "speed": described(
                "speed", 2 * norm(network.grid, last - half) / horizon, "1/time", "mean speed"
            ),
            "rate": described(
                "rate",
                2 * np.log(norms[-1] / norms[times // 2]) / horizon,
                "1/time",
                "rate of log |f|",
            ),
        },
        coords={"time": ("time", at, {"units": "time", "long_name": "time along the network"})},
    )
