"""Vector fields, one file each."""

from .network import Network as Network
from .neural_ode2 import NeuralODE2 as NeuralODE2
from .width_depth import WidthDepth as WidthDepth
