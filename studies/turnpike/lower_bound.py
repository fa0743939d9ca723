"""What any control must cost that spreads two points: the bound, and what is needed."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
import xarray as xr
from annotated_types import Ge, Gt, Le

from continuum import (
    Activation,
    arctan,
    identity,
    tanh,
)
from solvers import RK4, NewtonCG, discretize, minimize

from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, OKABE_ITO, new_figure
from ..shared import described
from .paper import PAPER, moving

Name: TypeAlias = Literal["identity", "arctan", "tanh"]
ACTIVATIONS: dict[str, Activation] = {
    "identity": identity,
    "arctan": arctan,
    "tanh": tanh,
}
POINTS = np.array([[-0.5, 0.5]])


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(width=5.6)
    ax, notes = axes[0, 0], []
    for case, color, mark in zip(cases, OKABE_ITO, "osD", strict=False):
        name = str(case_parameters(case)["activation"])
        spread, needed, bound = (case[key].values for key in ("spread", "needed", "bound"))
        ax.plot(spread, needed, mark + "-", color=color, label=f"{name}: needed")
        notes.append(f"{name} ({case.attrs['status']}): {np.min(needed / bound):.6f} or more")
    # all three have L = 1
    ax.plot(spread, bound, "--", color=BLACK, label="$\\log$(spread) / $L_\\sigma$")
    ax.set_xscale("log", base=2)
    ax.set_xticks(spread, [f"{s:.3g}" for s in spread])
    ax.set_xlabel("$|x_1^1 - x_2^1| \\, / \\, |x_1^0 - x_2^0|$")
    ax.set_ylabel("$\\int |w| \\, dt$")
    ax.grid(True)
    ax.legend()
    caption = (
        "The least int |w| that was found to spread two points symmetric to 0 on the line, by x' = "
        "w sigma(x), against the bound (1 / L) log of the spread, L = 1 the Lipschitz constant of "
        "sigma. Needed over bound: " + "; ".join(notes) + "."
    )
    return [Picture("lower_bound", caption, figure)]


@study(
    "turnpike/lower_bound",
    paper=PAPER,
    figure="lower bound",
    plot=_plot,
    cases=[{"activation": ["identity", "arctan", "tanh"]}],
)
def lower_bound(
    activation: Name = "tanh",
    largest: Annotated[float, Gt(1), Le(16)] = 4.0,
    count: Annotated[int, Ge(1), Le(20)] = 5,
    layers: Annotated[int, Ge(2), Le(256)] = 32,
) -> xr.Dataset:
    """How much must a control cost at least that spreads two points?

    int |w| dt >= (1 / L) log(|x_1(1) - x_2(1)| / |x_1(0) - x_2(0)|) for x' = w sigma(x), L the
    Lipschitz constant of sigma (E12; TP-34).  From -1/2 and 1/2 outwards, `count` spreads up to
    `largest`, the least int |w|^2 under the endpoint (RK4, `layers` layers): its root is the least
    int |w| too, since that does not change when a control is run at constant speed.  One weight
    moves both points, outwards at the same speed since sigma is odd.

    spread, needed, bound: per target; missed: distance from the endpoint.
    """
    if not 1.0 < largest <= 16.0 or not 1 <= count <= 20 or not 2 <= layers <= 256:
        raise ValueError(
            f"largest must be in (1, 16], count from 1 to 20, layers from 2 to 256, got {largest}, "
            f"{count}, {layers}"
        )
    chosen = ACTIVATIONS[activation]
    spread, needed, missed, ended = np.geomspace(1.0, largest, count + 1)[1:], [], [], []
    for factor in spread:
        problem = moving(POINTS, factor * POINTS, chosen, layers)
        found = minimize(discretize(problem, RK4()), NewtonCG(gtol=1e-7), raise_on_failure=False)
        needed.append(found.objective**0.5)
        missed.append(found.statistics["violation"])
        ended.append(found.status.name.lower())
    bound = np.log(spread) / chosen.lipschitz
    return xr.Dataset(
        {
            "needed": described("needed", needed, "1", "int |w| dt", ("spread",)),
            "bound": described("bound", bound, "1", "log(spread) / L", ("spread",)),
            "missed": described("missed", missed, "1", "distance from the endpoint", ("spread",)),
        },
        coords={"spread": ("spread", spread)},
        attrs={"status": ", ".join(sorted(set(ended)))},
    )
