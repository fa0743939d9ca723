"""Vector fields, one file each."""

from .bottleneck import Bottleneck as Bottleneck
from .network import Network as Network
from .neural_ode import NeuralODE as NeuralODE
from .neural_ode2 import NeuralODE2 as NeuralODE2
from .symmetric_layer import SymmetricLayer as SymmetricLayer
from .width_depth import WidthDepth as WidthDepth
