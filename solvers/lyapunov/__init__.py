"""Lyapunov methods: losses that pull dynamics where they should go, audits, certificates,
attacks.
"""

from .attack import Attack, attack
from .audit import Audit, Share, audit, share
from .monte_carlo import MonteCarloLyapunov
from .pointwise import Points, violation
from .samplers import Cube, Given, Sampler, Sphere, Tube

__all__ = [
    "Attack",
    "Audit",
    "Cube",
    "Given",
    "MonteCarloLyapunov",
    "Points",
    "Sampler",
    "Share",
    "Sphere",
    "Tube",
    "attack",
    "audit",
    "share",
    "violation",
]
