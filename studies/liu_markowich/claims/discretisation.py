"""Section A of the ledger: the limit in depth, well-posedness, stiffness."""

import numpy as np

from continuum import Control, exact, gauss_legendre
from solvers import RK4, Euler, Heun, ImplicitMidpoint, integrate

from ...registry import claim
from .common import PAPER, SEVEN_DIGITS, UNIT, rounded

DEPTH = {
    "Euler 10": -1.332143e-2,
    "Euler 20": -6.562326e-3,
    "Euler 40": -3.257214e-3,
    "Euler 80": -1.622698e-3,
    "Heun 10": 4.607935e-4,
    "Heun 20": 1.114206e-4,
    "Heun 40": 2.739671e-5,
    "Heun 80": 6.792725e-6,
    "ImplicitMidpoint 10": -2.157332e-4,
    "ImplicitMidpoint 20": -5.390434e-5,
    "ImplicitMidpoint 40": -1.347427e-5,
    "ImplicitMidpoint 80": -3.368455e-6,
    "RK4 10": 1.765000e-7,
    "RK4 20": 1.075353e-8,
    "RK4 40": 6.635353e-10,
    "RK4 80": 4.120509e-11,
}


@claim(
    "LM-01",
    statement="Depth limit (Theorem 2.1): f' = -tanh f, f(0) = 1: error at T = 1 of n steps of each method.",
    paper=PAPER,
    references=DEPTH,
    relative_tolerance=rounded(DEPTH),
    reason=SEVEN_DIGITS,
)
def depth_limit() -> dict[str, float]:
    """f_n(1) - asinh(e^-1 sinh 1)."""
    case, grid = exact.scalar_decay, gauss_legendre(UNIT, 1)
    return {
        f"{type(stepper).__name__} {n}": float(
            (integrate(*case.setup(grid, n), stepper).trajectory.final - case.final(grid))[0, 0]
        )
        for stepper in (Euler(), Heun(), ImplicitMidpoint(), RK4())
        for n in (10, 20, 40, 80)
    }


MOVING = {
    "Euler 10": 3.842351e-2,
    "Euler 20": 1.886794e-2,
    "Euler 40": 9.352545e-3,
    "ImplicitMidpoint 10": 1.949064e-3,
    "ImplicitMidpoint 20": 4.864262e-4,
    "ImplicitMidpoint 40": 1.215541e-4,
    "RK4 10": -5.672179e-6,
    "RK4 20": -3.413552e-7,
    "RK4 40": -2.092308e-8,
    "RK4, left values per layer 10": 2.840964e-2,
    "RK4, left values per layer 20": 1.439579e-2,
    "RK4, left values per layer 40": 7.238123e-3,
    "RK4, middle values per layer 10": 1.675766e-3,
    "RK4, middle values per layer 20": 4.193459e-4,
    "RK4, middle values per layer 40": 1.048604e-4,
}


@claim(
    "LM-02",
    statement="Coefficients that move with time: error at T = 2 of n steps, and what freezing a on layers costs.",
    paper=PAPER,
    references=MOVING,
    relative_tolerance=rounded(MOVING),
    reason=SEVEN_DIGITS,
)
def moving_coefficients() -> dict[str, float]:
    """f_n(y, 2) - y - sin(2) / 2, the same for all y."""
    case, grid = exact.moving_bias, gauss_legendre(UNIT, 3)
    computed = {}
    for n in (10, 20, 40):
        network, control, initial = case.setup(grid, n)
        middle = network.controls(control.mesh).sample(bias=case.bias, kernel=case.kernel)
        starts = np.stack([grid.evaluate(case.bias, float(t)) for t in control.mesh.nodes[:-1]])
        left = Control(middle.space, {"bias": starts, "kernel": middle["kernel"]})
        for name, path, stepper in (
            ("Euler", control, Euler()),
            ("ImplicitMidpoint", control, ImplicitMidpoint()),
            ("RK4", control, RK4()),
            ("RK4, left values per layer", left, RK4()),
            ("RK4, middle values per layer", middle, RK4()),
        ):
            error = integrate(network, path, initial, stepper).trajectory.final - case.final(grid)
            computed[f"{name} {n}"] = float(error[0, 0])
    return computed
