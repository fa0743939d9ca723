"""What the claims on values rest on: errors declared from three grids cover the errors made.

The claims LM-57 to LM-61 themselves run in test_liu_markowich.
"""

import pytest

from solvers.hjb import StateGrid, solve_hjb
from studies.liu_markowich.paper import boxed

SWITCHING, TWO_MIRRORED = 0.4235585550392474, 0.1311701244888148
"""The least costs of LM-54 and LM-55."""


@pytest.mark.parametrize("scheme", ["weno", "strang"])
@pytest.mark.parametrize("nodes", [41, 81, 161])
def test_the_error_declared_covers_the_error(scheme, nodes):
    switching = solve_hjb(
        boxed([0.5, 0.5], [4.0, 0.0]), StateGrid([(-3, 4), (-3, 3)], nodes), 21, scheme
    )
    ridge = solve_hjb(
        boxed([0.0, 0.0], [6.0, 0.0], horizon=2.0), StateGrid([(-7, 8), (-7, 7)], nodes), 21, scheme
    )
    for value, exact in ((switching, SWITCHING), (ridge, TWO_MIRRORED)):
        missed = abs(value.at_start - exact)
        assert missed <= value.error <= 12.0 * missed
