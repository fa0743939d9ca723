"""Lyapunov methods: losses that pull states where they should go, audits, certificates, attacks."""

from .monte_carlo import MonteCarloLyapunov
from .path import PathLyapunov
from .pointwise import Points, violation
from .samplers import Cube, Given, Sampler, Sphere, Tube

__all__ = [
    "Cube",
    "Given",
    "MonteCarloLyapunov",
    "PathLyapunov",
    "Points",
    "Sampler",
    "Sphere",
    "Tube",
    "violation",
]
