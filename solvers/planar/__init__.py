"""Planar networks: equilibria and their manifolds, and the behaviour at infinity."""

from .fields import Equilibrium, equilibria
from .infinity import PointAtInfinity, from_disc, points_at_infinity, to_disc
from .separatrices import manifold_from_infinity, manifolds

__all__ = [
    "Equilibrium",
    "PointAtInfinity",
    "equilibria",
    "from_disc",
    "manifold_from_infinity",
    "manifolds",
    "points_at_infinity",
    "to_disc",
]
