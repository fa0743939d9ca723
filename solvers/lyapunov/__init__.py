"""Lyapunov methods: losses that pull dynamics where they should go, audits, certificates,
attacks.
"""

from .attack import Attack, attack, breaking_radius
from .audit import Audit, Share, audit, share
from .barrier import BarrierLoss
from .certificates import ScalarCertificate, least_kappa, moved_start
from .certify import Certificates, certify, estimated_radii
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
    "breaking_radius",
    "certify",
    "escapes",
    "estimated_radii",
    "least_kappa",
    "moved_start",
    "share",
    "violation",
]
