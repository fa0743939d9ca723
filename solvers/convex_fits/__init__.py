"""Fits by convex residual networks and their differences, and how good they are."""

from .decomposition import (
    Decomposition,
    HessianBounds,
    convex_hypotheses,
    decomposition,
    sampled_bounds,
)
from .fit import ConvexFit, fit_convex
from .flows import (
    MapPath,
    factor_floor,
    flow_factors,
    increasing_path,
    linear_flow,
    straight_path,
    straight_seminorms,
)
from .margin import MarginBound, spectral_margin_bound
from .optimality import Stationarity, kkt_residual
from .problems import convex_problem, convex_start
from .supermodular import nearest_representable, supermodular_floor

__all__ = [
    "ConvexFit",
    "Decomposition",
    "HessianBounds",
    "MapPath",
    "MarginBound",
    "Stationarity",
    "convex_hypotheses",
    "convex_problem",
    "convex_start",
    "decomposition",
    "factor_floor",
    "fit_convex",
    "flow_factors",
    "increasing_path",
    "kkt_residual",
    "linear_flow",
    "nearest_representable",
    "sampled_bounds",
    "spectral_margin_bound",
    "straight_path",
    "straight_seminorms",
    "supermodular_floor",
]
