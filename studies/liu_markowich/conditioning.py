"""How perturbations and gradients travel along a network, with skips and without, and how much
relative accuracy is lost on the way.
"""

from collections.abc import Sequence
from math import pi, sqrt
from typing import Literal

import numpy as np
import xarray as xr

from continuum import (
    FeedForward,
    FunctionControl,
    ResNet,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
    identity,
    tanh,
)
from solvers import RK4, integrate, linearize, propagator

from ..bench.parameters import Count, Horizon
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, SKY, VERMILION, new_figure
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


def gradients(
    network: WidthDepth, control: FunctionControl, initial: np.ndarray, *, skips: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(norms (K,) of the gradient in the bias of every layer, layer by layer the bounds (K, 2)).

    J = int e^y f(y, T) dy / |e^y| of the ResNet of the control, or of its chain without skips.  The
    gradient is the function sigma'(u_k) p_(k+1), with norms in L^2(Y): the derivative of J by the
    length of the layer, where it has one.  The
    bounds are what any J has whose derivative at T is of norm 1: the smallest and the largest
    sigma'(u_k) times the smallest and the largest singular value of p_K -> p_(k+1).
    """
    made = (ResNet if skips else FeedForward).from_control(network, control)
    states, mesh = made.outputs(initial), control.mesh
    root, eye = np.sqrt(network.weights), np.eye(len(network.weights))
    p = network.grid.sample(np.exp)
    p, products = p / np.linalg.norm(root[:, None] * p), eye
    norms, bounds = np.empty(mesh.layers), np.empty((mesh.layers, 2))
    for k in range(mesh.layers - 1, -1, -1):
        f, t, tau = states[k], float(mesh.nodes[k]), float(mesh.steps[k])
        c = control.at_layer(k, t)
        values = np.linalg.svd(root[:, None] * products / root, compute_uv=False)
        slopes = network.activation.derivative(network.preactivation(f, c, t))
        bounds[k] = slopes.min() * values[-1], slopes.max() * values[0]
        back, bars = network.vjp(f, c, t, p)
        norms[k] = np.linalg.norm(root * bars["bias"])
        p = p + tau * back if skips else back
        columns = network.vjp(np.repeat(f, len(eye), axis=1), c, t, products)[0]
        products = products + tau * columns if skips else columns
    return norms, bounds


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    return [_propagators(cases), _gradients(cases)]


def _title(case: xr.Dataset) -> str:
    given = case_parameters(case)
    title = TITLES[str(given["problem"])]
    return f"{title}, shear {given['shear']:g}" if given["problem"] == "shear" else title


def _plain(title: str) -> str:
    return title.replace("$", "").replace(chr(92), "")


def _gradients(cases: Sequence[xr.Dataset]) -> Picture:
    figure, axes = new_figure(2, len(cases), width=3.4 * len(cases) + 0.4, height=6.6)
    notes = []
    for (top, below), case in zip(axes.T, cases, strict=True):
        time, depths = case["start"].values, case["depth"].values
        top.fill_between(time, case["lower"], case["upper"], color=SKY, alpha=0.4, label="bounds")
        top.semilogy(time, case["gradient"], color=BLUE, label="ResNet")
        top.semilogy(time, case["plain"], "--", color=VERMILION, label="without skips")
        top.set_xlabel("start of the layer [time]")
        top.set_title(_title(case))
        below.loglog(depths, case["first"], "o-", color=BLUE, label="ResNet")
        below.loglog(depths, case["first_plain"], "s--", color=VERMILION, label="without skips")
        below.set_xlabel("depth [layers]")
        below.set_xticks(depths, [str(n) for n in depths])
        below.minorticks_off()
        for ax, what in (
            (top, "gradient of a layer, $|\\sigma'p|$"),
            (below, "gradient of layer 1"),
        ):
            ax.set_yscale("log")
            ax.set_ylabel(f"{what} [1]")
            ax.grid(True)
            ax.legend(loc="best", frameon=False)
        first, plain = case["first"].values, case["first_plain"].values
        factor = (plain[-1] / plain[-2]) ** (1.0 / (depths[-1] - depths[-2]))
        notes.append(
            f"{_plain(_title(case))}: {first[-2]:.4g} and {first[-1]:.4g} at {depths[-2]} and "
            f"{depths[-1]} layers, without skips {plain[-2]:.3g} and {plain[-1]:.3g}, a factor "
            f"{factor:.4f} for each further layer"
        )
    caption = (
        "Norm of the gradient of J = int e^y f(T) dy / |e^y| in the bias of every layer (above), "
        "and of the first layer against depth (below), for ResNets and for the same layers "
        "without skips, x <- F(x). Shaded: what the propagator from the layer to T and sigma' "
        "allow for any J whose derivative at T has norm 1. First layer: "
    )
    return Picture("gradients", caption + "; ".join(notes) + ".", figure)


def _propagators(cases: Sequence[xr.Dataset]) -> Picture:
    figure, axes = new_figure(1, len(cases), width=3.4 * len(cases) + 0.4, height=3.7)
    notes = []
    for ax, case in zip(axes[0], cases, strict=True):
        title = _title(case)
        ax.semilogy(case["time"], case["norm"], label="$|M(t, 0)|$")
        ax.semilogy(case["time"], case["condition"], "-.", label="condition")
        ax.axhline(1.0, color=BLACK, linewidth=0.8, linestyle=":")
        ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
        ax.set_ylabel("factor [1]")
        ax.set_title(title)
        ax.grid(True)
        ax.legend(loc="upper left", frameon=False)
        if float(case["condition"].max()) < 10:
            ax.set_yscale("linear")
            ax.set_ylim(0.0, 1.35 * float(case["condition"].max()))  # room for the legend
        norms = case["norm"].values
        peak = int(np.flatnonzero(norms >= (1 - 1e-9) * norms.max())[0])
        text = (
            f"norm at most {float(case['norm'][peak]):.4g}, at t = {float(case['time'][peak]):.3g}"
        )
        text += f", and {float(case['norm'][-1]):.6g} at T"
        text += f"; condition {float(case['condition'][-1]):.4g}"
        text += f"; |M| - |M*| = {float(case['adjoint_gap']):.1e}"
        notes.append(f"{_plain(title)}: {text}")
    caption = (
        "The propagator M(t, 0) of small perturbations: its norm and its condition in L^2(Y). "
    )
    return Picture("propagators", caption + ". ".join(notes) + ".", figure)


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
    horizon: Horizon = 3.0,
    layers: Count = 60,
) -> xr.Dataset:
    """Norm and condition of the propagator along the network, and the gradients of its layers.

    By how much can a small perturbation grow on its way through the network, w_t = -sigma'(u) B w,
    and how much relative accuracy is lost? decay: f' = -tanh f (LM-01, LM-39). moving: the data of
    LM-38. shear: f_t = -Bf, B of rank 2 with eigenvalues 1 and 2; coupled by a shear s,
    perturbations first grow as s (e^-t - e^-2t) although both eigenvalues are stable.

    norm, condition: of M(t, 0) in L^2(Y), by RK4 in 4 steps a layer; adjoint_gap: |M(T, 0)| - |M(T,
    0)*|, each integrated by itself.

    gradient, plain: of J = int e^y f(T) dy / |e^y| in the bias of every layer, of the ResNet and of
    the chain x <- sigma(a - Bx) of the same layers; lower, upper: what the ResNet's propagators
    allow; first, first_plain: those of the first layer at a quarter of the depth to four times.
    """
    network, control, initial = setup(problem, shear, horizon, layers)
    run = integrate(network, control, initial, RK4(), save="layers", steps_per_layer=4).trajectory
    matrices = linearize(network, control, run, np.eye(len(network.weights)), substeps=4).states
    roots = np.sqrt(network.weights)
    values = np.linalg.svd(roots[:, None] * matrices / roots, compute_uv=False)
    last = propagator(network, control, run, 0.0, horizon, substeps=4)
    norms, bounds = gradients(network, control, initial, skips=True)
    depths = [max(2, round(layers * share)) for share in (0.25, 0.5, 1, 2, 4)]
    first = [
        [gradients(*setup(problem, shear, horizon, n), skips=skips)[0][0] for n in depths]
        for skips in (True, False)
    ]
    return xr.Dataset(
        {
            "norm": described("norm", values[:, 0], "1", "norm of M(t, 0) in L^2(Y)", ("time",)),
            "condition": described(
                "condition", values[:, 0] / values[:, -1], "1", "condition of M(t, 0)", ("time",)
            ),
            "adjoint_gap": described(
                "adjoint_gap", last.norm - last.adjoint_norm, "1", "|M(T, 0)| - |M(T, 0)*|"
            ),
            "gradient": described("gradient", norms, "1", "gradient, ResNet", ("start",)),
            "lower": described("lower", bounds[:, 0], "1", "smallest possible", ("start",)),
            "upper": described("upper", bounds[:, 1], "1", "largest possible", ("start",)),
            "plain": described(
                "plain",
                gradients(network, control, initial, skips=False)[0],
                "1",
                "gradient, without skips",
                ("start",),
            ),
            "first": described("first", first[0], "1", "first layer, ResNet", ("depth",)),
            "first_plain": described(
                "first_plain", first[1], "1", "first layer, without skips", ("depth",)
            ),
        },
        coords={
            "start": (
                "start",
                control.mesh.nodes[:-1],
                {"units": "time", "long_name": "start of the layer"},
            ),
            "depth": ("depth", depths, {"units": "1", "long_name": "number of layers"}),
            "time": ("time", run.times, {"units": "time", "long_name": "time along the network"}),
        },
    )
