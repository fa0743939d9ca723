"""Limits of sequences whose orders are known."""

from collections.abc import Sequence
from itertools import pairwise

from solvers import richardson


def extrapolated(values: Sequence[float], orders: Sequence[float], ratio: float = 2.0) -> float:
    """The limit of values from sizes n, ratio n, ratio^2 n, ... whose error is a sum of C n^-order
    over `orders`, one fewer than values.
    """
    row = list(values)
    for order in orders:
        row = [float(richardson(low, high, order, ratio)[0]) for low, high in pairwise(row)]
    return float(row[-1])
