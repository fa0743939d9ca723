"""The Hamilton-Jacobi-Bellman equation: value functions, feedback, and bounds for every control."""

from .grids import StateGrid
from .value import ValueFunction, solve_hjb

__all__ = ["StateGrid", "ValueFunction", "solve_hjb"]
