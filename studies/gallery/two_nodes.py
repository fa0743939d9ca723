"""Two units of Liu and Markowich: a saddle, in a box and on the whole plane, and a centre."""

import numpy as np
from matplotlib.figure import Figure

from continuum import FunctionControl, Interval, TimeMesh, WidthDepth, midpoint, tanh

from ..bench.registry import portrait
from ..draw.disc import poincare_disc
from ..draw.portraits import phase_portrait


@portrait
def saddle() -> Figure:
    """Two units of Liu and Markowich's network that inhibit each other more than themselves: a
    saddle at 0.

    f' = tanh(-B f), B = ((1/2, 1), (1, 1/2)), with eigenvalues 3/2 and -1/2.  tanh vanishes at 0
    only, so equilibria solve the linear equation B f = a: a regular B has exactly one.
    """
    network, control = _two_nodes(np.array([[0.5, 1.0], [1.0, 0.5]]), horizon=6.0)
    box = (-2.0, 2.0, -2.0, 2.0)
    figure = phase_portrait(network, control, box, nullclines=True, separatrices=True)
    figure.axes[0].set_title("f' = tanh(−B f), B symmetric and indefinite")
    return figure


@portrait
def saddle_disc() -> Figure:
    """The network of `saddle` on the whole plane: where its separatrices come from and go to.

    Far out f' is (+-1, +-1), so orbits come from infinity along +-(1, 1) only and go there along
    +-(1, -1) only.
    """
    network, control = _two_nodes(np.array([[0.5, 1.0], [1.0, 0.5]]), horizon=12.0)
    figure = poincare_disc(network, control, separatrices=True)
    figure.axes[0].set_title("f' = tanh(−B f), B symmetric and indefinite")
    return figure


@portrait
def centre() -> Figure:
    """Two units of Liu and Markowich's network with an antisymmetric kernel: closed orbits.

    f' = tanh(-B f), B = ((0, 1), (-1, 0)): the sum of log cosh f_i is conserved.
    """
    network, control = _two_nodes(np.array([[0.0, 1.0], [-1.0, 0.0]]), horizon=14.0)
    radii = np.linspace(0.3, 1.9, 6)
    figure = phase_portrait(
        network,
        control,
        (-2.5, 2.5, -2.5, 2.5),
        starts=np.stack([radii, np.zeros(6)]),
        level_sets=lambda f: np.log(np.cosh(f)).sum(axis=0),
    )
    figure.axes[0].set_title("f' = tanh(−B f), B antisymmetric")
    return figure


def _two_nodes(matrix: np.ndarray, horizon: float) -> tuple[WidthDepth, FunctionControl]:
    """The two-node network whose operator B is `matrix`: the kernel is B over the weights, 1/2
    each.
    """
    network = WidthDepth(midpoint(Interval(0, 1), 2), tanh)
    return network, network.control(
        TimeMesh(horizon, 1), bias=np.zeros(2), kernel=matrix / network.weights
    )
