"""Every scheme is an architecture: what accuracy costs in each."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from continuum import Activation, FunctionControl, Grid, WidthDepth, exact, gauss_legendre
from continuum.arrays import Array
from continuum.networks import Values
from solvers import DOP853, DormandPrince, architecture, integrate
from solvers.steps.tableaux import Stepper

from ..bench.parameters import Count, Doublings
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import new_figure
from ..shared import ROUNDING, STEPPERS, UNIT, described, doubled, legend_outside
from .paper import PAPER

ADAPTIVE = ("Dormand-Prince", "DOP853")
IMPLICIT = ("implicit midpoint", "Radau IIA")


class Counted(WidthDepth):
    """The same network, which counts its products W x, one for every column."""

    def __init__(self, grid: Grid, activation: Activation) -> None:
        super().__init__(grid, activation)
        self.products = [0]

    def velocity(self, f: Array, c: Values, t: float) -> Array:
        self.products[0] += f.shape[1]
        return super().velocity(f, c, t)

    def jvp(self, f: Array, c: Values, t: float, df: Array, dc: Values) -> Array:
        self.products[0] += 2 * f.shape[1]
        return super().jvp(f, c, t, df, dc)


def cost(
    stepper: Stepper, network: WidthDepth, control: FunctionControl, initial: np.ndarray
) -> tuple[int, int, int]:
    """(layers with units, products in one evaluation with those of Newton's iterations,
    parameters).
    """
    made = architecture(stepper, network, control, initial=initial)
    if stepper not in [STEPPERS[name] for name in IMPLICIT]:
        return made.depth, made.products, made.parameters
    counted = Counted(network.grid, network.activation)
    integrate(counted, control, initial, stepper)
    return made.depth, counted.products[0], made.parameters


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, 1, width=7.2, height=4.6)
    ax, notes = axes[0, 0], []
    for case in cases:
        method = str(case_parameters(case)["method"])
        kept = case["error"].values > ROUNDING
        style = "--" if method in IMPLICIT else ":" if method in ADAPTIVE else "-"
        ax.loglog(case["products"].values[kept], case["error"].values[kept], style, label=method)
        enough = np.flatnonzero(case["error"].values <= 1e-4)
        found = f"{int(case['products'][enough[0]])} products" if len(enough) else "not reached"
        notes.append(f"{method}: {found}")
    ax.set_xlabel("cost [products $Wx$ for one input]")
    ax.set_ylabel("largest error of $f$ at $T$")
    ax.set_title("networks that integrate $f_t = \\tanh(a(t) - \\int f)$ to $T$ = 2")
    ax.grid(True)
    legend_outside(ax)
    caption = (
        "Error against cost for each stepper as a network. Cheapest of the networks shown "
        "with error <= 1e-4: "
    )
    caption += (
        "; ".join(notes)
        + ". Equilibrium layers (dashed) count every product of Newton's iteration, "
        "2N of them for its matrix on the N = 3 nodes; rejected steps "
        "of adaptive methods (dotted) are no layers and count nothing."
    )
    return [Picture("cost", caption, figure)]


@study(
    "liu_markowich/architectures",
    paper=PAPER,
    figure="Section 2",
    plot=_plot,
    cases=[{"method": [*STEPPERS, *ADAPTIVE]}],
)
def architectures(
    method: Literal[
        "Euler", "Heun", "RK4", "implicit midpoint", "Radau IIA", "Dormand-Prince", "DOP853"
    ] = "Euler",
    coarsest: Count = 4,
    doublings: Doublings = 6,
) -> xr.Dataset:
    """What accuracy costs when each stepper is read as an architecture.

    A step of Euler's method is a ResNet's layer, a step of s stages is s hidden layers and a sum,
    an implicit one has equilibrium layers. How many products W x buy which accuracy? The flow is f
    = y + sin(t) / 2 (LM-02).

    Fixed steps: coarsest, 2 coarsest, ... of them. Dormand-Prince and DOP853 choose their own, with
    tolerances 1e-2, 1e-3, ..., as many as there are sizes; their networks are those of the steps
    they accepted. error: the largest at the horizon; layers, products, parameters: of the network.
    Products of equilibrium layers are those of Newton's iteration, whose matrix takes 2N for N
    nodes, here 3: they would cost more on wider networks.
    """
    sizes = doubled(coarsest, doublings)
    case, grid = exact.moving_bias, gauss_legendre(UNIT, 3)
    rows = []
    for k, n in enumerate(sizes):
        tolerance = 10.0 ** -(2 + k)
        stepper: Stepper
        if method == "Dormand-Prince":
            stepper = DormandPrince(rtol=tolerance, atol=tolerance)
        elif method == "DOP853":
            stepper = DOP853(rtol=tolerance, atol=tolerance)
        else:
            stepper = STEPPERS[method]
        network, control, initial = case.setup(grid, 1 if method in ADAPTIVE else n)
        final = integrate(network, control, initial, stepper).trajectory.final
        rows.append(
            (
                float(np.abs(final - case.final(grid)).max()),
                *cost(stepper, network, control, initial),
            )
        )
    errors, layers, products, parameters = zip(*rows, strict=True)
    return xr.Dataset(
        {
            "error": described(
                "error", list(errors), "1", "largest error at the horizon", ("network",)
            ),
            "layers": described("layers", list(layers), "1", "layers with units", ("network",)),
            "products": described(
                "products", list(products), "1", "products W x for one input", ("network",)
            ),
            "parameters": described(
                "parameters", list(parameters), "1", "weights and biases", ("network",)
            ),
        }
    )
