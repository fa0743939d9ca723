"""Deep linear networks: products of matrices, and the steps with which they train."""

from .batches import Grouped, whitened_batches
from .factorisations import (
    balanced_factors,
    disproportionate_factors,
    random_factors,
    root_factors,
)
from .invariants import conserved, gradient_bound
from .problems import (
    as_control,
    deep_linear,
    deep_linear_data,
    linear_parts,
    matrices,
    target_and_covariance,
)
from .starts import linear_start

__all__ = [
    "Grouped",
    "as_control",
    "balanced_factors",
    "conserved",
    "deep_linear",
    "deep_linear_data",
    "disproportionate_factors",
    "gradient_bound",
    "linear_parts",
    "linear_start",
    "matrices",
    "random_factors",
    "root_factors",
    "target_and_covariance",
    "whitened_batches",
]
