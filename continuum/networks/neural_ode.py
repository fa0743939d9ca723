"""The network x' = sigma(w x + b)."""

from ..activations import Activation
from ..checks import check_count
from ..doors import checked
from .chain import Chain
from .maps import Linear, Offset, Pointwise


@checked
class NeuralODE(Chain):
    """d/dt x = sigma(u), u = w x + b, for x in R^d; blocks "weight" w (d, d) and "bias" b (d,),
    both Euclidean.

    With r = sigma'(u) p: (D_x F)* p = w^T r,  (D_w F)* p = r x^T,  (D_b F)* p = r, summed over
    samples. Source: Geshkovski, Large-time asymptotics in deep learning, the first of its two
    networks.

    units : d >= 1
    """

    def __init__(self, units: int, activation: Activation) -> None:
        units = check_count("units", units)
        maps = (Linear("weight", units), Offset("bias"), Pointwise(activation))
        super().__init__(units, maps, order=("bias", "weight"))
