"""Lyapunov methods: losses that pull states where they should go, audits, certificates, attacks."""

from .barrier import BarrierLoss
from .escapes import Escapes, escapes
from .monte_carlo import MonteCarloLyapunov
from .path import PathLyapunov
from .pointwise import Points, violation
from .samplers import Cube, Given, Sampler, Sphere, Tube

__all__ = [
    "BarrierLoss",
    "Cube",
    "Escapes",
    "Given",
    "MonteCarloLyapunov",
    "PathLyapunov",
    "Points",
    "Sampler",
    "Sphere",
    "Tube",
    "escapes",
    "violation",
]
