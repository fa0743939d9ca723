"""Residual networks as Nar and Sastry see them: stable steps, convex parts."""
