"""What the claims on this paper share."""

from collections.abc import Sequence
from itertools import pairwise

from continuum import Interval
from solvers import DormandPrince, richardson

PAPER = "liu_markowich"
UNIT = Interval(0, 1)
TIGHT = DormandPrince(rtol=1e-13, atol=1e-14)
SEVEN_DIGITS = (
    "the ledger prints seven digits; errors near 1e-9 and below carry rounding of "
    "order 1e-15 beside them"
)


def rounded(references: dict[str, float], rounding: float = 1e-15) -> dict[str, float]:
    """Relative tolerances for errors printed to seven digits: half a unit there, and rounding in
    the states.
    """
    return {key: 5e-7 + rounding / abs(value) for key, value in references.items()}


def extrapolated(values: Sequence[float], orders: Sequence[float], ratio: float = 2.0) -> float:
    """The limit of values from sizes n, ratio n, ratio^2 n, ... whose error is a sum of C n^-order
    over `orders`, one fewer than values.
    """
    row = list(values)
    for order in orders:
        row = [float(richardson(low, high, order, ratio)[0]) for low, high in pairwise(row)]
    return float(row[-1])
