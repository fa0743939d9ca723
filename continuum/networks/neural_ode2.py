"""The network whose velocity is affine in the control: x' = w sigma(x) + b."""

from ..activations import Activation
from ..checks import check_count
from ..doors import checked
from .chain import Chain
from .maps import Linear, Offset, Pointwise


@checked
class NeuralODE2(Chain):
    """d/dt x = w sigma(x) + b for x in R^d; blocks "weight" w (d, d) and "bias" b (d,), both
    Euclidean.

    (D_x F)* p = sigma'(x) w^T p,  (D_w F)* p = p sigma(x)^T,  (D_b F)* p = p, summed over samples.
    Source: Geshkovski, Large-time asymptotics in deep learning, the second of its two networks.

    units : d >= 1
    """

    def __init__(self, units: int, activation: Activation) -> None:
        units = check_count("units", units)
        maps = (Pointwise(activation), Linear("weight", units), Offset("bias"))
        super().__init__(units, maps, order=("bias", "weight"))
