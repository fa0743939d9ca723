"""The Hamilton-Jacobi-Bellman equation: value functions, feedback, and bounds for every control."""

from .closed_loop import ClosedLoop, closed_loop
from .descents import DescendedValues, descend_values
from .grids import StateGrid
from .merging import merge_units
from .value import ValueFunction, solve_hjb

__all__ = [
    "ClosedLoop",
    "DescendedValues",
    "StateGrid",
    "ValueFunction",
    "closed_loop",
    "descend_values",
    "merge_units",
    "solve_hjb",
]
