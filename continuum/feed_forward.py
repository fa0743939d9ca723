"""A plain feed-forward chain, without skips, to compare residual networks with."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .activations import Activation
from .arrays import Array
from .checks import check_array, check_count, check_listed, check_rng
from .controls import ControlPath
from .doors import checked
from .networks import Network
from .records import short
from .sublayers import Layer, Sublayer, apply, carried, check_layer, frozen_layers


@checked
@dataclass(frozen=True, eq=False)
class FeedForward:
    """x_{k+1} = F_k(x_k): no step and no identity, hence no limit in depth.

    layers : F_k, a tuple of sub-layers sigma(W x + a), one after the other
    units : the length of the input
    raises ValueError for layers that do not fit each other, or none
    """

    layers: Sequence[Layer]
    units: int

    __repr__ = short

    def __post_init__(self) -> None:
        units, checked = check_count("units", self.units), []
        check_listed("layers", self.layers)
        if not self.layers:
            raise ValueError("layers must not be empty")
        for k, given in enumerate(self.layers):
            layer, units = check_layer(f"layers[{k}]", given, units)
            checked.append(layer)
        object.__setattr__(self, "layers", tuple(checked))

    @staticmethod
    @checked
    def from_control(network: Network, control: ControlPath) -> "FeedForward":
        """The chain x_{k+1} = F(x_k, c(t_k), t_k) with the layers of ResNet.from_control, without
        their skips and lengths.

        NeuralODE and WidthDepth give x <- sigma(W x + a) (NN1 of Geshkovski's slides, and section
        1.1 of Liu and Markowich), NeuralODE2 gives x <- W sigma(x) + a (NN2).
        raises TypeError for a network that is no Chain of the package's maps
        """
        return FeedForward(frozen_layers(network, control)[1], len(network.weights))

    @staticmethod
    @checked
    def random(
        widths: Sequence[int], activation: Activation, rng: np.random.Generator
    ) -> "FeedForward":
        """Layers sigma(W x + a) with normal weights of variance 1 / n_k, zero biases.

        raises ValueError for fewer than two widths or one < 1
        """
        check_listed("widths", widths)
        if len(widths) < 2:
            raise ValueError(f"widths must be at least two, got {list(widths)}")
        rng = check_rng("rng", rng)
        sizes = [check_count("widths", n) for n in widths]
        layers = [
            (Sublayer(activation, rng.standard_normal((n, m)) / np.sqrt(m), np.zeros(n)),)
            for m, n in itertools.pairwise(sizes)
        ]
        return FeedForward(layers, sizes[0])

    def __call__(self, initial: Array) -> Array:
        """The last layer's output (n_K, M) for inputs (n_0, M), where the inputs are."""
        return self.outputs(initial)[-1]

    @checked
    def outputs(self, initial: Array) -> list[Array]:
        """The input and the output of every layer."""
        found = [check_array("initial", initial, (self.units, "M"))]
        for layer in carried(self.layers, found[0]):
            found.append(apply(layer, found[-1]))
        return found
