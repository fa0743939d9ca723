"""Minimizers of an objective: first and second order, proximal, from many starts."""
