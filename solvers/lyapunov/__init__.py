"""Lyapunov methods: losses that pull states where they should go, audits, certificates, attacks."""

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
    wrong_corner_loss,
)
from .monte_carlo import MonteCarloLyapunov
from .path import PathLyapunov
from .pointwise import Points, violation
from .samplers import Cube, Given, Sampler, Sphere, Tube

__all__ = [
    "Cube",
    "Given",
    "GradientNorms",
    "MinimalNormField",
    "MonteCarloLyapunov",
    "PathLyapunov",
    "Points",
    "Sampler",
    "Sphere",
    "Tube",
    "box_half_width",
    "escape_time",
    "euler_loss_bound",
    "exact_loss",
    "exact_position",
    "gradient_norms",
    "least_speed",
    "margin_asymptote",
    "printed_half_width",
    "violation",
    "wrong_corner_loss",
]
