"""Lyapunov methods: losses that pull dynamics where they should go, audits, certificates,
attacks.
"""

from .attack import Attack, attack, breaking_radius
from .audit import Audit, Share, audit, share
from .barrier import BarrierLoss
from .certificates import ScalarCertificate, least_kappa, moved_start
from .certify import Certificates, certify, estimated_radii
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
from .escapes import Escapes, escapes
from .monte_carlo import MonteCarloLyapunov
from .path import PathLyapunov
from .pointwise import Points, violation
from .samplers import Cube, Given, Sampler, Sphere, Tube

__all__ = [
    "Attack",
    "Audit",
    "BarrierLoss",
    "Certificates",
    "Cube",
    "Escapes",
    "Given",
    "GradientNorms",
    "MinimalNormField",
    "MonteCarloLyapunov",
    "PathLyapunov",
    "Points",
    "Sampler",
    "ScalarCertificate",
    "Share",
    "Sphere",
    "Tube",
    "attack",
    "audit",
    "box_half_width",
    "breaking_radius",
    "certify",
    "escape_time",
    "escapes",
    "estimated_radii",
    "euler_loss_bound",
    "exact_loss",
    "exact_position",
    "gradient_norms",
    "least_kappa",
    "least_speed",
    "margin_asymptote",
    "moved_start",
    "printed_half_width",
    "share",
    "violation",
    "wrong_corner_loss",
]
