"""Lyapunov methods: losses that pull dynamics where they should go, audits, certificates,
attacks.
"""

from .attack import Attack, attack, breaking_radius
from .audit import Audit, Share, audit, share
from .certificates import ScalarCertificate, least_kappa, moved_start
from .certify import Certificates, certify, estimated_radii
from .monte_carlo import MonteCarloLyapunov
from .path import PathLyapunov
from .pointwise import Points, violation
from .samplers import Cube, Given, Sampler, Sphere, Tube

__all__ = [
    "Attack",
    "Audit",
    "Certificates",
    "Cube",
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
    "estimated_radii",
    "least_kappa",
    "moved_start",
    "share",
    "violation",
]
