"""The Hamilton-Jacobi-Bellman equation: value functions, feedback, and bounds for every control."""

from .enclosed_run import ProvedCost, proved_cost
from .gap import OptimalityGap, optimality_gap
from .grids import StateGrid
from .lower_bound import LowerBound, PerSampleBound, lower_bound
from .value import ValueFunction, solve_hjb

__all__ = [
    "LowerBound",
    "OptimalityGap",
    "PerSampleBound",
    "ProvedCost",
    "StateGrid",
    "ValueFunction",
    "lower_bound",
    "optimality_gap",
    "proved_cost",
    "solve_hjb",
]
