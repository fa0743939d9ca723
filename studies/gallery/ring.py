"""Units on a circle, drawn in the plane to which a kernel of rank two reduces them exactly."""

import numpy as np
from matplotlib.figure import Figure

from continuum import (
    Circle,
    FunctionControl,
    LowRank,
    Network,
    TimeMesh,
    WidthDepth,
    periodic,
    tanh,
)
from continuum.exact import TwoModeRing
from solvers import exact_reduction

from ..bench.registry import portrait
from ..draw.disc import poincare_disc
from ..draw.portraits import phase_portrait


@portrait
def wide_ring() -> Figure:
    """Sixty-four units on a circle, drawn in the plane to which a kernel of rank two reduces them
    exactly.

    f' = tanh(a - int b f), b = cos(y - z) + 0.8 sin(y - z), a = 0.6 sin y; coordinates (cos, f),
    (sin, f).
    """
    network = WidthDepth(periodic(Circle(), 64), tanh, LowRank(2))
    left = (lambda y: np.cos(y) + 0.8 * np.sin(y), lambda y: np.sin(y) - 0.8 * np.cos(y))
    control = network.control(
        TimeMesh(6.0, 1), bias=lambda y: 0.6 * np.sin(y), kernel=(left, (np.cos, np.sin))
    )
    reduction = exact_reduction(network, control)
    figure = phase_portrait(reduction.network, reduction.control, (-2.0, 2.0, -2.0, 2.0))
    figure.axes[0].set_title("64 units on a ring, kernel of rank two")
    figure.axes[0].set_xlabel("coordinate $(\\cos y, f)$")
    figure.axes[0].set_ylabel("coordinate $(\\sin y, f)$")
    return figure


@portrait
def selection_disc() -> Figure:
    """Two modes on a ring compete, seen in the whole plane of even functions: one wins, and which
    the start decides.

    f_t = tanh( int (beta1 cos(y - z) + beta2 cos 2(y - z)) f(z) dz ), beta1 = 0.5, beta2 = 0.4;
    coordinates (cos, f) and (cos 2., f).  For 1/2 < beta2/beta1 < 1 the four axes are sinks at
    infinity; the basins' boundaries come from 0, a source, and end in four saddles at infinity.
    """
    network, control = selection()
    figure = poincare_disc(network, control, scale=2.0, radius=300.0, separatrices=True)
    figure.axes[0].set_title("two modes on a ring: one is selected")
    figure.axes[0].set_xlabel(figure.axes[0].get_xlabel() + ",  $x_1 = (\\cos y, f)$")
    figure.axes[0].set_ylabel(figure.axes[0].get_ylabel() + ",  $x_2 = (\\cos 2y, f)$")
    return figure


def selection(
    beta1: float = 0.5, beta2: float = 0.4, nodes: int = 2048, horizon: float = 12.0
) -> tuple[Network, FunctionControl]:
    """The plane in which the even functions of a ring with kernel -beta1 cos(y - z) - beta2 cos 2(y
    - z) move.

    On even functions the kernel is -(beta1 cos y cos z + beta2 cos 2y cos 2z), of rank two;
    `exact_reduction` does the rest.  The nodes must be many more than the radius looked at: farther
    out the sum over the nodes is a step function of the direction and pins orbits at its steps,
    which an integral does not.
    """
    ring = WidthDepth(periodic(Circle(), nodes), tanh, LowRank(2))
    control = ring.control(TimeMesh(horizon, 1), kernel=TwoModeRing(beta1, beta2).factors())
    reduction = exact_reduction(ring, control)
    return reduction.network, reduction.control
