"""Vector fields: chains of maps, and the open protocol of whatever is none."""

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .bottleneck import Bottleneck
    from .chain import Chain, Rows
    from .direct_sum import DirectSum
    from .fixed_maps import FixedLinear, Inputs, NormBound
    from .learned_field import FieldAt, LearnedField
    from .maps import Adjoint, Linear, Map, Offset, Pointwise, Product
    from .network import Network, Time, Values
    from .neural_ode import NeuralODE
    from .neural_ode2 import NeuralODE2
    from .staged import Staged, padding
    from .switched import Switched
    from .symmetric_layer import SymmetricLayer
    from .width_depth import WidthDepth
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "Adjoint",
    "Bottleneck",
    "Chain",
    "DirectSum",
    "FieldAt",
    "FixedLinear",
    "Inputs",
    "LearnedField",
    "Linear",
    "Map",
    "Network",
    "NeuralODE",
    "NeuralODE2",
    "NormBound",
    "Offset",
    "Pointwise",
    "Product",
    "Rows",
    "Staged",
    "Switched",
    "SymmetricLayer",
    "Time",
    "Values",
    "WidthDepth",
    "padding",
]
