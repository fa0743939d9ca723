"""Vector fields, one file each."""

from .bottleneck import Bottleneck
from .network import Network
from .neural_ode import NeuralODE
from .neural_ode2 import NeuralODE2
from .symmetric_layer import SymmetricLayer
from .width_depth import WidthDepth

__all__ = [
    "Bottleneck",
    "Network",
    "NeuralODE",
    "NeuralODE2",
    "SymmetricLayer",
    "WidthDepth",
]
