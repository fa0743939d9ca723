"""How fast networks approach the differential equation as they get deeper."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from continuum import Control, FunctionControl, WidthDepth, exact, gauss_legendre
from solvers import integrate

from ..bench.parameters import Count, Doublings
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import convergence_plot, new_figure
from ..shared import (
    ROUNDING,
    STEPPERS,
    UNIT,
    described,
    doubled,
    last_order,
    legend_outside,
    order_triangles,
)
from .paper import PAPER

PROBLEMS = {"moving bias": exact.moving_bias, "scalar decay": exact.scalar_decay}


def frozen(
    network: WidthDepth, control: FunctionControl, case: exact.ExactCase, where: str
) -> Control:
    """Coefficients constant on every layer, with their values at its "left" end or in its
    "middle".
    """
    middle = network.controls(control.mesh).sample(bias=case.bias, kernel=case.kernel)
    if where == "middle" or case is exact.scalar_decay:
        return middle
    starts = np.stack([network.grid.evaluate(case.bias, float(t)) for t in control.mesh.nodes[:-1]])
    return Control(middle.space, {"bias": starts, "kernel": middle["kernel"]})


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for problem, name in (("moving bias", "moving_bias"), ("scalar decay", "scalar_decay")):
        chosen = [case for case in cases if case_parameters(case)["problem"] == problem]
        if not chosen:
            continue
        figure, axes = new_figure(1, 1, width=7.2, height=4.6)
        ax, notes, curves = axes[0, 0], [], []
        for case in chosen:
            given = case_parameters(case)
            layers, errors = case["layers"].values, case["error"].values
            kept = errors > ROUNDING
            order, label = float(case["order"]), str(given["method"])
            if given["coefficients"] != "moving":
                label += f", a from the {given['coefficients']}\nof each layer"
            notes.append(
                f"{label.replace(chr(10), ' ')}: "
                f"{'at rounding' if np.isnan(order) else format(order, '.2f')}"
            )
            if kept.sum() < 2:
                continue
            x, y = layers[kept], errors[kept]
            convergence_plot(
                ax,
                x.tolist(),
                y.tolist(),
                xlabel="depth [layers]",
                ylabel="largest error of $f$ at $T$",
                label=label,
            )
            curves.append((x, y))
        order_triangles(ax, curves)
        every = chosen[0]["layers"].values
        ax.set_xticks(every, [str(n) for n in every])
        ax.set_title(f"$T$ = {PROBLEMS[problem].horizon:g}, {problem}")
        legend_outside(ax)
        caption = (
            f"Errors against depth, {PROBLEMS[problem].name}. Orders observed at the "
            f"deepest networks: "
        )
        caption += "; ".join(notes) + f". Errors below {ROUNDING:g} are rounding and are left out."
        pictures.append(Picture(name, caption, figure))
    return pictures


@study(
    "liu_markowich/depth_convergence",
    paper=PAPER,
    figure="Theorem 2.1",
    plot=_plot,
    cases=[
        {"problem": ["moving bias", "scalar decay"], "method": list(STEPPERS)},
        {"problem": "moving bias", "method": "RK4", "coefficients": ["left", "middle"]},
    ],
)
def depth_convergence(
    problem: Literal["moving bias", "scalar decay"] = "moving bias",
    method: Literal["Euler", "Heun", "RK4", "implicit midpoint", "Radau IIA"] = "Euler",
    coefficients: Literal["moving", "left", "middle"] = "moving",
    coarsest: Count = 8,
    doublings: Doublings = 5,
) -> xr.Dataset:
    """Errors of networks against their depth, for steppers of orders 1 to 5.

    How fast does a network of n layers approach the flow, if every layer is one step of a method?
    The flows have closed forms: f = y + sin(t) / 2, whose bias moves with time (LM-02), and f =
    asinh(e^-t sinh 1) (LM-01).

    coefficients: the bias as it moves in each layer, or frozen there at its value at the left end
    or in the middle, which limits every method to order 1 or 2.
    error: the largest over nodes at the horizon, for coarsest, 2 coarsest, ... layers; order:
    between the last two errors above rounding.
    """
    layers = doubled(coarsest, doublings)
    case, grid = PROBLEMS[problem], gauss_legendre(UNIT, 3)
    errors = []
    for n in layers:
        network, control, initial = case.setup(grid, n)
        path = control if coefficients == "moving" else frozen(network, control, case, coefficients)
        final = integrate(network, path, initial, STEPPERS[method]).trajectory.final
        errors.append(float(np.abs(final - case.final(grid)).max()))
    return xr.Dataset(
        {
            "error": described("error", errors, "1", "largest error at the horizon", ("layers",)),
            "order": described("order", last_order(layers, errors), "1", "observed order"),
        },
        coords={"layers": ("layers", layers, {"units": "1", "long_name": "number of layers"})},
    )
