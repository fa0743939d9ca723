"""Deep linear networks: products of matrices, and the steps with which they train."""

from .factorisations import (
    balanced_factors,
    disproportionate_factors,
    random_factors,
    root_factors,
)
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
    "as_control",
    "balanced_factors",
    "deep_linear",
    "deep_linear_data",
    "disproportionate_factors",
    "linear_parts",
    "linear_start",
    "matrices",
    "random_factors",
    "root_factors",
    "target_and_covariance",
]
