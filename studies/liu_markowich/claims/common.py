"""What the claims on this paper share."""

from continuum import Interval
from solvers import DormandPrince

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
