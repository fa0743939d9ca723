"""The Hamilton-Jacobi-Bellman equation: value functions, feedback, and bounds for every control."""

from .characteristics import Characteristics, characteristics, values_along
from .closed_loop import ClosedLoop, closed_loop
from .descents import DescendedValues, descend_values
from .enclosed_run import ProvedCost, proved_cost
from .gap import OptimalityGap, optimality_gap
from .grids import StateGrid
from .lower_bound import LowerBound, PerSampleBound, lower_bound
from .merging import merge_units
from .quadratic import QuadraticValue, riccati
from .reduction import galerkin
from .value import ValueFunction, solve_hjb

__all__ = [
    "Characteristics",
    "ClosedLoop",
    "DescendedValues",
    "LowerBound",
    "OptimalityGap",
    "PerSampleBound",
    "ProvedCost",
    "QuadraticValue",
    "StateGrid",
    "ValueFunction",
    "characteristics",
    "closed_loop",
    "descend_values",
    "galerkin",
    "lower_bound",
    "merge_units",
    "optimality_gap",
    "proved_cost",
    "riccati",
    "solve_hjb",
    "values_along",
]
