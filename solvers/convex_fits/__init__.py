"""Fits by convex residual networks and their differences, and how good they are."""

from .optimality import Stationarity, kkt_residual
from .problems import convex_problem, convex_start, part_names

__all__ = [
    "Stationarity",
    "convex_problem",
    "convex_start",
    "kkt_residual",
    "part_names",
]
