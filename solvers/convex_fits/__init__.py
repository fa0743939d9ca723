"""Fits by convex residual networks and their differences, and how good they are."""

from .problems import convex_problem, convex_start, part_names

__all__ = ["convex_problem", "convex_start", "part_names"]
