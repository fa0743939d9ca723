from dataclasses import dataclass

from continuum.kernels import Dense
from continuum.networks import NeuralODE, NeuralODE2, WidthDepth


@dataclass(frozen=True, eq=False)
class Rows:
    phi: object
    block: str
    sign: int
    weights: object
    offset: str
    psi: object

    def inputs(self, f):
        r = f if self.phi is None else self.phi.value(f)
        if self.weights is not None:
            return self.sign * self.weights[:, None] * r
        return r if self.sign > 0 else -r


def rows(network):
    if isinstance(network, WidthDepth) and isinstance(network.kernel, Dense):
        return Rows(None, "kernel", -1, network.weights, "bias", network.activation)
    if isinstance(network, NeuralODE):
        return Rows(None, "weight", 1, None, "bias", network.activation)
    if isinstance(network, NeuralODE2):
        return Rows(network.activation, "weight", 1, None, "bias", None)
    return None
