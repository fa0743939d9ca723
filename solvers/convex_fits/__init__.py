"""Fits by convex residual networks and their differences, and how good they are."""
