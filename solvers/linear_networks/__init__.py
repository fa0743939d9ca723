"""Deep linear networks: products of matrices, and the steps with which they train."""

from .problems import as_control, deep_linear, matrices

__all__ = ["as_control", "deep_linear", "matrices"]
