"""Quasi-random points, a rule for many dimensions.

A module of its own, because scipy.stats is slow to import.
"""

import numpy as np
from scipy.stats import qmc

from .checks import check_count
from .domains import Domain, Interval, factors
from .quadrature import Grid


def sobol(domain: Domain, exponent: int, seed: int) -> Grid:
    """2^exponent scrambled Sobol points with equal weights on a product of intervals.

    int_Y g ~ |Y| mean of g, with an error near N^-1 (N^-3/2 for smooth g), whatever the dimension.
    seed : of the scrambling; the same seed gives the same points
    raises ValueError if exponent < 0 or > 24, or a factor is not an Interval
    """
    parts = factors(domain)
    for part in parts:
        if not isinstance(part, Interval):
            raise ValueError(f"sobol is a rule for products of bounded intervals, got {part}")
    if check_count("exponent", exponent, 0) > 24:
        raise ValueError(f"exponent must be at most 24, got {exponent}")
    points = qmc.Sobol(len(parts), scramble=True, rng=np.random.default_rng(seed)).random_base2(
        exponent
    )
    low = np.array([part.left for part in parts if isinstance(part, Interval)])
    size = np.array([part.measure for part in parts])
    return Grid(domain, low + size * points, np.full(2**exponent, domain.measure / 2**exponent))
