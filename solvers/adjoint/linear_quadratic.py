"""The stages of the quadratic model of a discrete problem."""

from typing import NamedTuple

from continuum.arrays import Array


class LinearQuadratic(NamedTuple):
    """See branch lq."""

    A: Array
    B: Array
    Q: Array
    S: Array
    R: Array
    q: Array
    r: Array
