"""The corners of a square, labelled by the product of their coordinates: derivatives, many starts,
small weights (TP-09, TP-10, TP-40).

Reflections and exchanges give minima of equal J at distant controls, so claims are on J, on the
misfit phi(x(T)) and on the norm of the control, never on its entries.  TP-07: the horizon T with
the weight lambda is the horizon 1 with lambda / T, for any number of layers.
"""

from dataclasses import replace

import numpy as np

from continuum import Control, LearningProblem, SquaredError, TimeMesh, change_depth
from solvers import LBFGS, RK4, Euler, NewtonCG, discretize, minimize, multistart
from solvers.steps.tableaux import Stepper

from ...bench.registry import claim
from ..paper import xor
from .common import PAPER, starts

WEIGHT = 0.1
HORIZON = 16.0
STEADY = LBFGS(gtol=1e-6, max_iterations=3000)


def misfit(problem: LearningProblem, control: Control, stepper: Stepper | None = None) -> float:
    """phi(x(T)), the mean of |x_1 - y|^2: of the ResNet unless a stepper is given."""
    phi = replace(problem, penalty=None)
    return discretize(phi, stepper or Euler()).value(control)


def _best(layers: int, count: int) -> Control:
    """The lowest minimum met from starts of standard deviation 2, seed 0, on [0, 1]; then by
    Newton's method: phi is of first order in the error of the control, J is not.
    """
    problem = xor(WEIGHT / HORIZON, TimeMesh(1.0, layers))
    best = multistart(problem, STEADY, starts(problem, count, 2.0, 0)).best.control
    return minimize(problem, NewtonCG(gtol=1e-8), initial=best).control


@claim(
    "TP-09",
    statement="XOR in the plane, lambda = 0.1, T = 16: the best J known with 64 layers, in the "
    "limit of many, and other minima with 128.",
    paper=PAPER,
    references={
        "64 layers: J": 0.123032134,
        "64 layers: phi": 3.965727e-3,
        "continuum: J": 0.1224433,
        "continuum: phi": 3.9714e-3,
        "128 layers: J": 0.1227391,
        "128 layers: second": 0.1371849,
        "128 layers: third": 0.1657242,
    },
    relative_tolerance={
        "64 layers: J": 5e-9,
        "64 layers: phi": 2e-6,
        "continuum: J": 1e-6,
        "continuum: phi": 2e-5,
        "128 layers: J": 5e-7,
        "128 layers: second": 5e-7,
        "128 layers: third": 5e-7,
    },
    reason="the digits that the ledger prints; in the continuum, RK4 with 64 and 128 layers "
    "extrapolated; minimised to |g| <= 1e-8 and 1e-6",
    slow=True,
)
def corners_at_the_end() -> dict[str, float]:
    """Best known, not proven global: the lowest J is met from 8 of 8 starts with 64 layers (seed 0,
    standard deviation 2, constant in time), and from 14 of 24 with 128 (seed 1, 3), where the
    second is met from 5 and the third from 5.  The ledger's fourth, 0.2222749, was not met.
    """
    best = _best(64, 8)
    coarse = xor(WEIGHT / HORIZON, TimeMesh(1.0, 64))
    found = {
        "64 layers: J": discretize(coarse).value(best),
        "64 layers: phi": misfit(coarse, best),
    }
    values = []
    for layers in (64, 128):
        problem = xor(WEIGHT / HORIZON, TimeMesh(1.0, layers))
        start = change_depth(best, problem.mesh)
        end = minimize(discretize(problem, RK4()), STEADY, initial=start)
        values.append([end.objective, misfit(problem, end.control, RK4())])
    limit = (4.0 * np.array(values[1]) - np.array(values[0])) / 3.0
    found["continuum: J"], found["continuum: phi"] = limit.tolist()
    deep = xor(WEIGHT / HORIZON, TimeMesh(1.0, 128))
    ends = [
        minimize(deep, STEADY, initial=start, raise_on_failure=False).objective
        for start in starts(deep, 24, 3.0, 1)
    ]
    distinct = np.unique(np.round(ends, 7))
    for name, value in zip(("J", "second", "third"), distinct, strict=False):
        found[f"128 layers: {name}"] = float(value)
    return found


@claim(
    "TP-10",
    statement="TP-09 with 128 layers: dJ / d(lambda / T) is the scaled control's int |u|^2, and "
    "phi falls like T^-2 in the end.",
    paper=PAPER,
    references={
        "int |u|^2": 19.0034906,
        "dJ / d(lambda / T)": 19.0034906,
        "slope 1, 4": -1.745,
        "slope 4, 16": -1.893,
        "slope 16, 64": -1.975,
        "slope 64, 256": -1.994,
        "slope 256, 1024": -1.998,
        "slope 1024, 4096": -1.9996,
        "T^2 phi / lambda^2, T = 4096": 106.35,
    },
    relative_tolerance={
        "int |u|^2": 3e-7,
        "dJ / d(lambda / T)": 3e-7,
        **{f"slope {t}, {4 * t}": 3e-4 for t in (1, 4, 16, 64, 256)},
        "slope 1024, 4096": 5e-5,
        "T^2 phi / lambda^2, T = 4096": 1e-4,
    },
    reason="the ledger prints three or four decimals of the slopes; the norm is minimised to "
    "|g| <= 1e-6, and differenced in lambda / T by 1 %, to fourth order",
)
def small_weights() -> dict[str, float]:
    """From the minimum at T = 16, followed up and down in T; best known."""
    start, mesh = _best(128, 2), TimeMesh(1.0, 128)

    def solved(weight: float, initial: Control) -> tuple[LearningProblem, Control, float]:
        problem = xor(weight, mesh)
        end = minimize(problem, NewtonCG(gtol=1e-7), initial=initial, raise_on_failure=False)
        return problem, end.control, end.objective

    weight = WEIGHT / HORIZON
    problem, control, _ = solved(weight, start)
    found = {"int |u|^2": problem.space.norm(control) ** 2}
    step = 0.01 * weight
    value = {n: solved(weight + n * step, control)[2] for n in (-2, -1, 1, 2)}
    found["dJ / d(lambda / T)"] = (8 * (value[1] - value[-1]) - value[2] + value[-2]) / (12 * step)
    phi = {}
    for horizons in ((16, 4, 1), (64, 256, 1024, 4096)):
        last = control
        for horizon in horizons:
            problem, last, _ = solved(WEIGHT / horizon, last)
            phi[horizon] = misfit(problem, last)
    for t in (1, 4, 16, 64, 256, 1024):
        found[f"slope {t}, {4 * t}"] = float(np.log(phi[4 * t] / phi[t]) / np.log(4.0))
    found["T^2 phi / lambda^2, T = 4096"] = 4096.0**2 * phi[4096] / WEIGHT**2
    return found


@claim(
    "TP-40",
    statement="The derivative of J in the weights of 8 layers, with a cost at the end and along "
    "the way: automatic differentiation agrees.",
    paper=PAPER,
    references={
        "J": 11.199524603814,
        "dJ/dW[3, 0, 1]": -0.635881328181,
        "dJ/db[0, 1]": 0.874239896929,
        "|dJ|": 6.363916452351,
    },
    tolerance=1e-12,
    reason="the ledger prints twelve decimals",
)
def derivatives() -> dict[str, float]:
    """h = 1/2, 0.3 phi(x(T)) + 0.7 int phi dt (trapezoid) + 0.1 int |u|^2 dt; the weights of
    default_rng(1), w first.  The partial derivatives are h times the gradient in L2.
    """
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(8, 2, 2)), rng.normal(size=(8, 2))
    corners = xor(0.1, TimeMesh(4.0, 8))
    problem = replace(corners, terminal=SquaredError(0.3), running=SquaredError(0.7))
    control = problem.space.sample(weight=weight, bias=bias)
    value, gradient = discretize(problem).value_and_gradient(control)
    h = 0.5
    return {
        "J": value,
        "dJ/dW[3, 0, 1]": h * float(gradient["weight"][3, 0, 1]),
        "dJ/db[0, 1]": h * float(gradient["bias"][0, 1]),
        "|dJ|": h**0.5 * problem.space.norm(gradient),
    }
