"""Plotting functions: figures and phase portraits."""
