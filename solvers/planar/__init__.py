"""Planar networks: equilibria and their manifolds, and the behaviour at infinity."""
