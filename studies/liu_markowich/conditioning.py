"""How perturbations travel along a network, and how much relative accuracy is lost on the way."""

from collections.abc import Sequence
from math import pi, sqrt
from typing import Literal

import numpy as np
import xarray as xr

from continuum import FunctionControl, TimeMesh, WidthDepth, exact, gauss_legendre, identity, tanh
from solvers import RK4, integrate, linearize, propagator

from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, new_figure
from ..shared import UNIT, described
from .paper import PAPER

TITLES = {
    "decay": "$f' = -\\tanh f$",
    "moving": "tanh, $a(y, t)$ moves",
    "shear": "$f_t = -Bf$, $B$ of rank 2",
}


def setup(
    problem: str, shear: float, horizon: float, layers: int
) -> tuple[WidthDepth, FunctionControl, np.ndarray]:
    """Network, control and initial state; `shear` couples the two modes of the kernel of rank 2."""
    mesh = TimeMesh(horizon, layers)
    if problem == "decay":
        case, grid = exact.scalar_decay, gauss_legendre(UNIT, 1)
        network = WidthDepth(grid, case.activation)
        return network, network.control(mesh, kernel=1.0), np.ones((1, 1))
    grid = gauss_legendre(UNIT, 24)
    if problem == "moving":
        network = WidthDepth(grid, tanh)
        control = network.control(
            mesh,
            bias=lambda y, t: np.sin(y + t) + 0.5 * np.cos(2 * pi * y),
            kernel=lambda y, z: np.cos(3 * (y - 2 * z)) + 0.5,
        )
        return network, control, grid.sample(lambda y: y**2)

    def mode(k: int, y: np.ndarray) -> np.ndarray:
        return sqrt(2) * np.cos(k * pi * y)

    def kernel(y: np.ndarray, z: np.ndarray) -> np.ndarray:
        first = mode(1, y) * (mode(1, z) + shear * mode(2, z))
        return first + 2 * mode(2, y) * mode(2, z)

    network = WidthDepth(grid, identity)
    return network, network.control(mesh, kernel=kernel), grid.sample(lambda y: mode(1, y))


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, len(cases), width=3.4 * len(cases) + 0.4, height=3.7)
    notes = []
    for ax, case in zip(axes[0], cases, strict=True):
        given = case_parameters(case)
        title = TITLES[str(given["problem"])]
        if given["problem"] == "shear":
            title += f", shear {given['shear']:g}"
        ax.semilogy(case["time"], case["norm"], label="$|M(t, 0)|$")
        ax.semilogy(case["time"], case["condition"], "-.", label="condition")
        ax.axhline(1.0, color=BLACK, linewidth=0.8, linestyle=":")
        ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
        ax.set_ylabel("factor [1]")
        ax.set_title(title)
        ax.grid(True)
        ax.legend(loc="best", frameon=False)
        if float(case["condition"].max()) < 10:
            ax.set_yscale("linear")
            ax.set_ylim(bottom=0.0)
        norms = case["norm"].values
        peak = int(np.flatnonzero(norms >= (1 - 1e-9) * norms.max())[0])
        text = (
            f"norm at most {float(case['norm'][peak]):.4g}, at t = {float(case['time'][peak]):.3g}"
        )
        text += f", and {float(case['norm'][-1]):.6g} at T"
        text += f"; condition {float(case['condition'][-1]):.4g}"
        text += f"; |M| - |M*| = {float(case['adjoint_gap']):.1e}"
        notes.append(f"{title.replace('$', '').replace(chr(92), '')}: {text}")
    caption = (
        "The propagator M(t, 0) of small perturbations: its norm and its condition in L^2(Y). "
    )
    return [Picture("propagators", caption + ". ".join(notes) + ".", figure)]


@study(
    "liu_markowich/conditioning",
    paper=PAPER,
    figure="Section 3.5",
    plot=_plot,
    cases=[
        {"problem": "decay", "horizon": 1.0},
        {"problem": "moving", "horizon": 2.0},
        {"problem": "shear", "shear": [0.0, 20.0], "horizon": 3.0},
    ],
)
def conditioning(
    problem: Literal["decay", "moving", "shear"] = "shear",
    shear: float = 20.0,
    horizon: float = 3.0,
    layers: int = 60,
) -> xr.Dataset:
    """Norm and condition of the propagator along the network.

    By how much can a small perturbation grow on its way through the network, w_t = -sigma'(u) B w,
    and how much relative accuracy is lost? decay: f' = -tanh f (LM-01, LM-39). moving: the data of
    LM-38. shear: f_t = -Bf, B of rank 2 with eigenvalues 1 and 2; coupled by a shear s,
    perturbations first grow as s (e^-t - e^-2t) although both eigenvalues are stable.

    norm, condition: of M(t, 0) in L^2(Y), by RK4 in 4 steps a layer; adjoint_gap: |M(T, 0)| - |M(T,
    0)*|, each integrated by itself.
    """
    network, control, initial = setup(problem, shear, horizon, layers)
    run = integrate(network, control, initial, RK4(), save="layers", steps_per_layer=4).trajectory
    matrices = linearize(network, control, run, np.eye(len(network.weights)), substeps=4).states
    roots = np.sqrt(network.weights)
    values = np.linalg.svd(roots[:, None] * matrices / roots, compute_uv=False)
    last = propagator(network, control, run, 0.0, horizon, substeps=4)
    return xr.Dataset(
        {
            "norm": described("norm", values[:, 0], "1", "norm of M(t, 0) in L^2(Y)", ("time",)),
            "condition": described(
                "condition", values[:, 0] / values[:, -1], "1", "condition of M(t, 0)", ("time",)
            ),
            "adjoint_gap": described(
                "adjoint_gap", last.norm - last.adjoint_norm, "1", "|M(T, 0)| - |M(T, 0)*|"
            ),
        },
        coords={
            "time": ("time", run.times, {"units": "time", "long_name": "time along the network"})
        },
    )
