"""Deep linear networks: products of matrices, and the steps with which they train."""

from .batches import Grouped, whitened_batches
from .bounds import (
    largest_step,
    monotone_rate,
    monotone_step,
    root_step,
    sharpness_bound,
    spectral_radius_step,
    step_bound,
    vanishing_step,
)
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
from .products import ProductObjective
from .report import StepReport, step_report
from .sharpness import (
    NotResolved,
    critical_step,
    inverse_sharpness,
    product_sharpness,
    sharpness,
)
from .starts import linear_start

__all__ = [
    "Grouped",
    "NotResolved",
    "ProductObjective",
    "StepReport",
    "as_control",
    "balanced_factors",
    "conserved",
    "critical_step",
    "deep_linear",
    "deep_linear_data",
    "disproportionate_factors",
    "gradient_bound",
    "inverse_sharpness",
    "largest_step",
    "linear_parts",
    "linear_start",
    "matrices",
    "monotone_rate",
    "monotone_step",
    "product_sharpness",
    "random_factors",
    "root_factors",
    "root_step",
    "sharpness",
    "sharpness_bound",
    "spectral_radius_step",
    "step_bound",
    "step_report",
    "target_and_covariance",
    "vanishing_step",
    "whitened_batches",
]
