"""Neural networks seen as continua: the mathematics as data, and its exact derivatives."""

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
from .domains import Circle, Interval, Line, Product
from .feed_forward import FeedForward
from .functional import Functional, RunningCost, Tracking
from .kernels import (
    Convolution,
    Dense,
    LowRank,
    OnTheFly,
    eigenvalues,
    hilbert_schmidt_norm,
    jump_kernel,
    operator_norm,
    singular_values,
)
from .losses import AbsoluteError, CrossEntropy, Logistic, SquaredError
from .meshes import TimeMesh
from .networks import Bottleneck, Network, NeuralODE, NeuralODE2, SymmetricLayer, WidthDepth
from .penalties import L1, SobolevPenalty, Tikhonov
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
from .readouts import Affine, Integral, Projection, State
from .resnet import ResNet
from .sets import Ball, Box, FiniteSet, L1Ball, NormBall
from .transfers import change_depth, change_width

__all__ = [
    "L1",
    "AbsoluteError",
    "Activation",
    "Affine",
    "Ball",
    "Block",
    "Bottleneck",
    "Box",
    "Circle",
    "Control",
    "ControlSpace",
    "Convolution",
    "CrossEntropy",
    "Dense",
    "FeedForward",
    "FiniteSet",
    "FunctionControl",
    "Functional",
    "Grid",
    "Integral",
    "Interval",
    "L1Ball",
    "LearningProblem",
    "Line",
    "Logistic",
    "LowRank",
    "Network",
    "NeuralODE",
    "NeuralODE2",
    "NormBall",
    "OnTheFly",
    "Product",
    "Projection",
    "ResNet",
    "RunningCost",
    "SobolevPenalty",
    "SquaredError",
    "State",
    "SymmetricLayer",
    "Tikhonov",
    "TimeMesh",
    "Tracking",
    "WidthDepth",
    "arctan",
    "change_depth",
    "change_width",
    "clenshaw_curtis",
    "eigenvalues",
    "elu",
    "gauss_hermite",
    "gauss_legendre",
    "gelu",
    "hilbert_schmidt_norm",
    "identity",
    "jump_kernel",
    "leaky_relu",
    "midpoint",
    "operator_norm",
    "partition",
    "periodic",
    "point_cloud",
    "relu",
    "sigmoid",
    "simpson",
    "singular_values",
    "softplus",
    "split",
    "tanh",
    "trapezoid",
    "user_activation",
]
