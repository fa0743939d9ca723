"""Planar networks x' = w sigma(x) + b: a spiral sink, and linear growth to infinity."""

import numpy as np
from matplotlib.figure import Figure

from continuum import NeuralODE2, TimeMesh, relu, tanh

from ..bench.registry import portrait
from ..draw.disc import poincare_disc
from ..draw.portraits import phase_portrait


@portrait
def spiral_sink() -> Figure:
    """The planar network x' = w tanh(x) + b with a spiral sink where tanh(x) = -w^-1 b = (0.4,
    -0.2).
    """
    network = NeuralODE2(2, tanh)
    weight = np.array([[-0.5, -1.5], [1.5, -0.5]])
    bias = -weight @ np.array([0.4, -0.2])
    control = network.control(TimeMesh(12.0, 1), weight=weight, bias=bias)
    figure = phase_portrait(network, control, (-2.0, 2.0, -2.0, 2.0))
    figure.axes[0].set_title("x' = w tanh(x) + b")
    return figure


@portrait
def relu_disc() -> Figure:
    """x' = w relu(x) + b grows linearly: one way out to infinity, and a quarter of the circle at
    rest.

    w = ((0, 1), (1, 0)), b = (-1, -1): where both states are negative the field is constant, which
    is nothing compared with |x|.
    """
    network = NeuralODE2(2, relu)
    control = network.control(
        TimeMesh(6.0, 1), weight=np.array([[0.0, 1.0], [1.0, 0.0]]), bias=-np.ones(2)
    )
    figure = poincare_disc(network, control, scale=2.0, separatrices=True)
    figure.axes[0].set_title("x' = w relu(x) + b")
    return figure
