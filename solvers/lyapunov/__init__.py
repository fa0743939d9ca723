"""Lyapunov methods: losses that pull dynamics where they should go, audits, bounds, attacks."""

from .monte_carlo import MonteCarloLyapunov
from .pointwise import Points, violation
from .samplers import Cube, Given, Sampler, Sphere, Tube

__all__ = [
    "Cube",
    "Given",
    "MonteCarloLyapunov",
    "Points",
    "Sampler",
    "Sphere",
    "Tube",
    "violation",
]
