"""Fits by convex residual networks and their differences, and how good they are."""

from .fit import ConvexFit, fit_convex
from .optimality import Stationarity, kkt_residual
from .problems import convex_problem, convex_start, part_names

__all__ = [
    "ConvexFit",
    "Stationarity",
    "convex_problem",
    "convex_start",
    "fit_convex",
    "kkt_residual",
    "part_names",
]
