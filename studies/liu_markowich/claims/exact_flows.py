"""Section B of the ledger: flows in closed form."""

import numpy as np

from continuum import exact, gauss_legendre, midpoint
from solvers import RK4, integrate

from ...registry import claim
from .common import PAPER, TIGHT, UNIT


@claim(
    "LM-10",
    statement="A kernel of rank one: the closed form of f_t = 1 - e^y int e^-z f, at T = 2 on 8 Gauss nodes.",
    paper=PAPER,
    references={"f(1/2, 2)": 0.940064439113745182, "|f(2)|": 0.8931788275099649, "largest error": 0.0},
    tolerance=1e-12,
    reason="8 Gauss nodes are at rounding for these data; what is left is the stepper's tolerance of 1e-13 per step",
)
def rank_one() -> dict[str, float]:
    """The state at y = 1/2, its norm, and the largest error at the nodes."""
    case, grid = exact.rank_one, gauss_legendre(UNIT, 8).observed_at(np.array([[0.5]]))
    final = integrate(*case.setup(grid, 1), TIGHT).trajectory.final
    return {
        "f(1/2, 2)": float(final[-1, 0]),
        "|f(2)|": float(np.sqrt(grid.integrate(final**2)[0])),
        "largest error": float(np.abs(final - case.final(grid)).max()),
    }


@claim(
    "LM-11",
    statement="Linear growth with a bounded activation: f = f_I + t tanh(phi), T = 10, on 64 Gauss or midpoint nodes.",
    paper=PAPER,
    references={
        "f(1/4, 10)": 9.883855615856605,
        "|f(10)|": 7.113453050106872,
        "slope |tanh phi|": 0.7007225863069833,
        "largest error, Gauss": 0.0,
        "largest error, midpoint": 0.0,
    },
    tolerance=1e-12,
    reason="the flow is linear in t, so every step is exact; what is left is rounding over 100 steps",
)
def linear_growth() -> dict[str, float]:
    """State, norm and growth rate at T = 10."""
    case = exact.linear_growth
    gauss = gauss_legendre(UNIT, 64).observed_at(np.array([[0.25]]))
    final = integrate(*case.setup(gauss, 100), RK4()).trajectory.final
    growth = (final - gauss.sample(case.initial)) / case.horizon
    flat = midpoint(UNIT, 64)
    on_midpoints = integrate(*case.setup(flat, 100), RK4()).trajectory.final
    return {
        "f(1/4, 10)": float(final[-1, 0]),
        "|f(10)|": float(np.sqrt(gauss.integrate(final**2)[0])),
        "slope |tanh phi|": float(np.sqrt(gauss.integrate(growth**2)[0])),
        "largest error, Gauss": float(np.abs(final - case.final(gauss)).max()),
        "largest error, midpoint": float(np.abs(on_midpoints - case.final(flat)).max()),
    }
