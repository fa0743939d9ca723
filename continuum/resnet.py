"""Residual networks from controls, and controls from residual networks."""

from dataclasses import dataclass

import numpy as np

from .activations import Activation
from .arrays import Array, like, namespace
from .checks import check_array
from .controls import Control, ControlPath
from .meshes import TimeMesh
from .networks import WidthDepth


@dataclass(frozen=True, eq=False)
class ResNet:
    """Layers z <- z + tau_k sigma(W_k z + a_k): the explicit Euler steps of a width-depth network.

    mesh : horizon and layers; tau_k are its steps
    weights : (K, N, N), W_k = -b_k diag(w), with the paper's sign and the quadrature weights
    biases : (K, N)
    activation : sigma
    Source: Liu and Markowich, (2.1) and (2.9).
    """

    mesh: TimeMesh
    weights: Array
    biases: Array
    activation: Activation

    def __post_init__(self) -> None:
        layers = self.mesh.layers
        weights = check_array("weights", self.weights, (layers, "N", "N"))
        biases = check_array("biases", self.biases, (layers, weights.shape[1]))
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "biases", biases)

    @staticmethod
    def from_control(network: WidthDepth, control: ControlPath) -> "ResNet":
        """The ResNet with one layer per layer of the control, coefficients at the left ends t_k.

        Agrees with integrate(network, control, initial, Euler()) to rounding.
        raises TypeError for a network of another kind
        """
        if not isinstance(network, WidthDepth):
            raise TypeError(f"network must be a WidthDepth, got {type(network).__name__}")
        values = [control.at_layer(k, float(t)) for k, t in enumerate(control.mesh.nodes[:-1])]
        b = [network.kernel.matrix(c["kernel"]) for c in values]
        xp = namespace(b[0])
        return ResNet(
            control.mesh,
            -xp.stack(b) * network.weights_like(b[0]),
            xp.stack([c["bias"] for c in values]),
            network.activation,
        )

    def to_control(self, network: WidthDepth) -> Control:
        """The control of `network`, dense and constant on layers, of which this is the ResNet.

        b_k = -W_k diag(1/w).  raises ValueError for another size, a low-rank format, or weights of
        zero
        """
        space = network.controls(self.mesh)
        w = network.weights_like(self.weights)
        if np.any(network.weights == 0):
            raise ValueError(
                "network has nodes of weight zero, on which W_k = -b_k diag(w) cannot be undone"
            )
        return space.sample(bias=self.biases, kernel=-self.weights / w)

    def __call__(self, initial: Array) -> Array:
        """The last layer's output for inputs (N, M): (N, M), where the inputs are."""
        return self.layers(initial)[-1]

    def layers(self, initial: Array) -> list[Array]:
        """The input and the output of every layer: K + 1 arrays (N, M)."""
        z = check_array("initial", initial, (self.biases.shape[1], "M"))
        outputs = [z]
        for k, tau in enumerate(self.mesh.steps):
            w, a = like(self.weights[k, ...], z), like(self.biases[k, ...], z)
            z = z + float(tau) * self.activation(w @ z + a[:, None])
            outputs.append(z)
        return outputs
