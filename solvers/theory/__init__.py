"""Theorems on a network: stability, growth, functionals along runs, and which theorems apply."""
