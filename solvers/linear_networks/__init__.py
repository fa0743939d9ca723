"""Deep linear networks: products of matrices, and the steps with which they train."""

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
from .problems import as_control, deep_linear, matrices
from .report import StepReport, step_report
from .sharpness import (
    NotResolved,
    critical_step,
    inverse_sharpness,
    product_sharpness,
    sharpness,
)

__all__ = [
    "NotResolved",
    "StepReport",
    "as_control",
    "critical_step",
    "deep_linear",
    "inverse_sharpness",
    "largest_step",
    "matrices",
    "monotone_rate",
    "monotone_step",
    "product_sharpness",
    "root_step",
    "sharpness",
    "sharpness_bound",
    "spectral_radius_step",
    "step_bound",
    "step_report",
    "vanishing_step",
]
