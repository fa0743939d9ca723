"""Lyapunov methods: losses that pull dynamics where they should go, audits, certificates,
attacks.
"""

from .cross_entropy import (
    GradientNorms,
    MinimalNormField,
    box_half_width,
    escape_time,
    euler_loss_bound,
    exact_loss,
    exact_position,
    gradient_norms,
    least_speed,
    margin_asymptote,
    printed_half_width,
    step_factor,
    wrong_corner_loss,
)

__all__ = [
    "GradientNorms",
    "MinimalNormField",
    "box_half_width",
    "escape_time",
    "euler_loss_bound",
    "exact_loss",
    "exact_position",
    "gradient_norms",
    "least_speed",
    "margin_asymptote",
    "printed_half_width",
    "step_factor",
    "wrong_corner_loss",
]
