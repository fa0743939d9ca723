"""Neural networks seen as continua: the mathematics as data, and its exact derivatives."""

from typing import TYPE_CHECKING

from .lazy import lazy_names

if TYPE_CHECKING:
    from .activations import (
        Activation,
        arctan,
        elu,
        gelu,
        identity,
        leaky_relu,
        relu,
        sigmoid,
        softplus,
        tanh,
        user_activation,
    )
    from .blocks import Block
    from .controls import Control, ControlSpace, FunctionControl
    from .convex_networks import ConvexDifference, ConvexNetwork
    from .cubature_rules import cubature
    from .derivatives import DerivativeReport, check_derivatives
    from .domains import Circle, Disc, Interval, Line, Product, Triangle
    from .endpoints import CostSum, TerminalEquality
    from .feed_forward import FeedForward
    from .functional import Functional, RunningCost, Tracking
    from .input_maps import FilterBank, InputMap
    from .kernels import (
        Convolution,
        Dense,
        FractionalLaplacian,
        LowRank,
        OnTheFly,
        eigenvalues,
        hilbert_schmidt_norm,
        jump_kernel,
        operator_norm,
        singular_values,
    )
    from .losses import AbsoluteError, CrossEntropy, Logistic, PowerError, SquaredError
    from .meshes import TimeMesh
    from .networks import (
        Adjoint,
        Bottleneck,
        Chain,
        DirectSum,
        FixedLinear,
        Inputs,
        LearnedField,
        Linear,
        Network,
        NeuralODE,
        NeuralODE2,
        NormBound,
        Offset,
        Pointwise,
        Staged,
        Switched,
        SymmetricLayer,
        WidthDepth,
        padding,
    )
    from .onnx_files import save_onnx
    from .pair_sets import ConvexHull, Pairs
    from .penalties import SobolevPenalty, Tikhonov
    from .problem import LearningProblem
    from .quadrature import (
        Grid,
        clenshaw_curtis,
        gauss_hermite,
        gauss_legendre,
        midpoint,
        partition,
        periodic,
        point_cloud,
        simpson,
        split,
        trapezoid,
    )
    from .readouts import Affine, Integral, Projection, Readout, SignedReadout, Softmax, State
    from .rescaling import rescale
    from .resnet import ResNet
    from .sets import Amplitude, Ball, Box, FiniteSet, L1Ball, NormBall
    from .sparsity import L1
    from .staging import Stagewise
    from .sublayers import Sublayer
    from .trained import Imported, from_residual_mlp, from_torch, to_torch_state
    from .transfers import change_depth, change_width
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "L1",
    "AbsoluteError",
    "Activation",
    "Adjoint",
    "Affine",
    "Amplitude",
    "Ball",
    "Block",
    "Bottleneck",
    "Box",
    "Chain",
    "Circle",
    "Control",
    "ControlSpace",
    "ConvexDifference",
    "ConvexHull",
    "ConvexNetwork",
    "Convolution",
    "CostSum",
    "CrossEntropy",
    "Dense",
    "DerivativeReport",
    "DirectSum",
    "Disc",
    "FeedForward",
    "FilterBank",
    "FiniteSet",
    "FixedLinear",
    "FractionalLaplacian",
    "FunctionControl",
    "Functional",
    "Grid",
    "Imported",
    "InputMap",
    "Inputs",
    "Integral",
    "Interval",
    "L1Ball",
    "LearnedField",
    "LearningProblem",
    "Line",
    "Linear",
    "Logistic",
    "LowRank",
    "Network",
    "NeuralODE",
    "NeuralODE2",
    "NormBall",
    "NormBound",
    "Offset",
    "OnTheFly",
    "Pairs",
    "Pointwise",
    "PowerError",
    "Product",
    "Projection",
    "Readout",
    "ResNet",
    "RunningCost",
    "SignedReadout",
    "SobolevPenalty",
    "Softmax",
    "SquaredError",
    "Staged",
    "Stagewise",
    "State",
    "Sublayer",
    "Switched",
    "SymmetricLayer",
    "TerminalEquality",
    "Tikhonov",
    "TimeMesh",
    "Tracking",
    "Triangle",
    "WidthDepth",
    "arctan",
    "change_depth",
    "change_width",
    "check_derivatives",
    "clenshaw_curtis",
    "cubature",
    "eigenvalues",
    "elu",
    "from_residual_mlp",
    "from_torch",
    "gauss_hermite",
    "gauss_legendre",
    "gelu",
    "hilbert_schmidt_norm",
    "identity",
    "jump_kernel",
    "leaky_relu",
    "midpoint",
    "operator_norm",
    "padding",
    "partition",
    "periodic",
    "point_cloud",
    "relu",
    "rescale",
    "save_onnx",
    "sigmoid",
    "simpson",
    "singular_values",
    "softplus",
    "split",
    "tanh",
    "to_torch_state",
    "trapezoid",
    "user_activation",
]
