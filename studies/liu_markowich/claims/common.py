"""What the claims on this paper share."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import numpy as np

from continuum import Interval, TimeMesh, WidthDepth
from continuum.arrays import Array
from continuum.blocks import Coefficient
from solvers import DOP853, DormandPrince, Trajectory, integrate

PAPER = "liu_markowich"
UNIT = Interval(0, 1)
TIGHT = DormandPrince(rtol=1e-13, atol=1e-14)
FINEST = DOP853(rtol=3e-15, atol=3e-16)
"""Steps whose own error is below their rounding."""
HALF_A_UNIT = "half a unit in the last digit that the ledger prints"


def printed(
    digits: Mapping[str, str], rounding: float = 0.0
) -> tuple[dict[str, float], dict[str, float]]:
    """(references, tolerances) of numbers as they are printed: half a unit in the last digit, and
    `rounding`, what double precision adds.
    """
    numbers = {key: Decimal(text) for key, text in digits.items()}
    units = {key: float(Decimal(10) ** int(x.as_tuple().exponent)) for key, x in numbers.items()}
    return (
        {key: float(x) for key, x in numbers.items()},
        {key: 0.5 * unit + rounding for key, unit in units.items()},
    )


def even_limit(sizes: Sequence[int], values: Sequence[Array | float]) -> Array:
    """The limit of values v(n) = v + c_1 n^-2 + c_2 n^-4 + ... at these n (Neville's scheme).

    Each further size removes one more power of n^-2.
    """
    squares = [float(n) ** -2 for n in sizes]
    rows = [np.asarray(value, dtype=np.float64) for value in values]
    for k in range(1, len(rows)):
        rows = [
            (squares[i] * rows[i + 1] - squares[i + k] * rows[i]) / (squares[i] - squares[i + k])
            for i in range(len(rows) - 1)
        ]
    return rows[0]


def by_decades(
    network: WidthDepth, state: Array, last: int, bias: Coefficient, kernel: Coefficient
) -> Iterator[Trajectory]:
    """Runs of an autonomous flow that end at t = 1, 10, ..., 10^last, each from the end of the one
    before it.
    """
    for end in (10.0**k for k in range(last + 1)):
        mesh = TimeMesh(end if end == 1.0 else 0.9 * end, 1)
        run = integrate(
            network, network.control(mesh, bias=bias, kernel=kernel), state, FINEST
        ).trajectory
        yield run
        state = run.final
