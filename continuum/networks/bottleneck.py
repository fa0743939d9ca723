"""The network with a hidden layer in its velocity: x' = W2 sigma(W1 x + b1) + b2."""

from ..activations import Activation
from ..checks import check_count
from ..doors import checked
from .chain import Chain
from .maps import Linear, Offset, Pointwise


@checked
class Bottleneck(Chain):
    """d/dt x = W2 s + b2, s = sigma(u), u = W1 x + b1, for x in R^d and u in R^h.

    Blocks, all Euclidean: "weight1" (h, d), "bias1" (h,), "weight2" (d, h), "bias2" (d,).
    With q = W2^T p, r = sigma'(u) q: (D_x F)* p = W1^T r; the blocks' cotangents are r x^T, r, p
    s^T, p.

    units : d >= 1; hidden : h >= 1
    """

    def __init__(self, units: int, activation: Activation, hidden: int = 1) -> None:
        units = check_count("units", units)
        self.hidden = check_count("hidden", hidden)
        first = (Linear("weight1", hidden), Offset("bias1"), Pointwise(activation))
        super().__init__(units, (*first, Linear("weight2", units), Offset("bias2")))
