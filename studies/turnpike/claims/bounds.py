"""What controls must cost: a bound from below, and a bound from above near the target (TP-34,
TP-35).
"""

import numpy as np

from continuum import (
    Activation,
    tanh,
    user_activation,
)
from solvers import RK4, NewtonCG, discretize, minimize

from ...bench.registry import claim
from ..controllability import DIRECTION, TARGET
from ..paper import moving
from .common import PAPER


def least_norm(
    initial: np.ndarray, target: np.ndarray, activation: Activation, layers: int
) -> tuple[float, float]:
    """The least (int |w|^2)^(1/2) with which x' = w sigma(x) leads the columns of `initial` to
    those of `target` in time 1, w constant on layers and RK4 on each; and max |w| - min |w|.

    raises SolveError where the endpoint is not reached
    """
    problem = moving(initial, target, activation, layers)
    found = minimize(discretize(problem, RK4()), NewtonCG(gtol=1e-8))
    speed = np.sqrt(np.sum(found.control["weight"] ** 2, axis=(1, 2)))
    return found.objective**0.5, float(np.max(speed) - np.min(speed))


@claim(
    "TP-34",
    statement="int |w| dt >= (1 / L) log(|x_1^1 - x_2^1| / |x_1^0 - x_2^0|) with 1 / L, not L "
    "(E12): attained for sigma(x) = 2x.",
    paper=PAPER,
    references={
        "sigma = 2x: needed": 0.5493061443,
        "sigma = 2x: bound": 0.5493061443,
        "tanh: needed": 1.4076059644,
        "tanh: bound": 1.0986122887,
    },
    tolerance=1e-7,
    reason="RK4 on 32 equal layers: 5e-8 at most; gtol 1e-8",
)
def spreading_two_points() -> dict[str, float]:
    """From (-1/2, 1/2) to (-3/2, 3/2) by one weight, in time 1.

    What is needed is the least L2 norm of w.  It is the least int |w| too: that does not change
    when the control is run at constant speed, and then both are equal.
    """
    initial, target = np.array([[-0.5, 0.5]]), np.array([[-1.5, 1.5]])
    spread = float(np.log(np.ptp(target) / np.ptp(initial)))
    doubled = user_activation(
        "doubled",
        lambda s: 2.0 * s,
        lambda s: 2.0 + 0.0 * s,
        lambda s: 0.0 * s,
        lambda s: s * s,
        lipschitz=2.0,
    )
    return {
        "sigma = 2x: needed": least_norm(initial, target, doubled, 32)[0],
        "sigma = 2x: bound": spread / 2.0,
        "tanh: needed": least_norm(initial, target, tanh, 32)[0],
        "tanh: bound": spread,
    }


@claim(
    "TP-35",
    statement="Two points in the plane, moved by r: the least |w| in L2 is proportional to r for "
    "small r, as the first order says, and |w(t)| is constant.",
    paper=PAPER,
    references={
        "r = 0.4": 1.29423,
        "r = 0.2": 1.26013,
        "r = 0.1": 1.24415,
        "r = 0.05": 1.23648,
        "r = 0.025": 1.23273,
        "r -> 0": 1.22903517,
        "max |w| - min |w|, over r": 0.0,
    },
    tolerance={
        **{f"r = {r}": 6e-6 for r in (0.4, 0.2, 0.1, 0.05, 0.025)},
        "r -> 0": 6e-9,
        "max |w| - min |w|, over r": 2e-5,
    },
    reason="the ledger prints five decimals; controls constant on 8 and 16 layers, extrapolated; "
    "with 16 layers the speed varies by 3e-6",
    slow=True,
)
def moving_two_points() -> dict[str, float]:
    """|w| / r; the limit is |D Sigma^+| with D the direction and Sigma = tanh(X^1)."""
    found, spread = {}, 0.0
    for r in (0.4, 0.2, 0.1, 0.05, 0.025):
        initial = TARGET - r * DIRECTION
        coarse, (fine, varies) = (least_norm(initial, TARGET, tanh, n) for n in (8, 16))
        found[f"r = {r}"] = (4.0 * fine - coarse[0]) / 3.0 / r
        spread = max(spread, varies / r)
    found["r -> 0"] = float(np.linalg.norm(DIRECTION @ np.linalg.pinv(np.tanh(TARGET))))
    found["max |w| - min |w|, over r"] = spread
    return found
