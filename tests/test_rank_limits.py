"""The limits of claim TP-25, by SciPy's solve_bvp on the equations of state and costate.

x' = w tanh(x) + b,  p' = -w p tanh'(x) - 2 (x - y) / 3,  w = -p . tanh(x) / (2 lambda),
b = -sum p / (2 lambda),  x(0) given,  p(T) = 0,  J' = mean (x - y)^2 + lambda (w^2 + b^2).
"""

import numpy as np
import pytest
from scipy.integrate import solve_bvp

from solvers import RiccatiNewton, discretize, minimize
from studies.turnpike.claims.rank import LIMITS, graded, line, prolonged

INITIAL, TARGET = np.array([-0.5, 0.0, 0.5]), np.array([-1.0, 0.4, 0.9])
LAMBDA = 0.1


def control(x, p):
    """w and b (L,) from states and costates (3, L)."""
    return -np.sum(p * np.tanh(x), axis=0) / (2 * LAMBDA), -np.sum(p, axis=0) / (2 * LAMBDA)


def slopes(_, z):
    x, p = z[:3], z[3:6]
    w, b = control(x, p)
    density = np.mean((x - TARGET[:, None]) ** 2, axis=0) + LAMBDA * (w * w + b * b)
    s = np.tanh(x)
    rise = -w * p * (1 - s * s) - 2 * (x - TARGET[:, None]) / 3
    return np.concatenate([w * s + b, rise, density[None]])


def ends(first, last):
    return np.concatenate([first[:3] - INITIAL, last[3:6], first[6:]])


@pytest.fixture(scope="module")
def minimisers():
    """Problem and control at each horizon, each from the last."""
    found, last = {}, None
    for horizon in LIMITS:
        problem = line(list(INITIAL), list(TARGET), graded(float(horizon)))
        start = problem.space.zeros() if last is None else prolonged(last, problem)
        last = minimize(problem, RiccatiNewton(gtol=1e-8), initial=start).control
        found[horizon] = problem, last
    return found


@pytest.mark.parametrize("horizon", LIMITS)
def test_the_differential_equation_has_these_limits(minimisers, horizon):
    """Started from the ResNet's minimiser: states, and its costates by Euler backwards."""
    problem, best = minimisers[horizon]
    x, h = discretize(problem).run(best).states[:, 0], problem.mesh.steps
    w, b = best["weight"][:, 0, 0], best["bias"][:, 0]
    p, cost = np.zeros_like(x), np.zeros(len(x))
    for k in reversed(range(len(h))):
        slope = w[k] * p[k + 1] * (1 - np.tanh(x[k]) ** 2) + 2 * (x[k] - TARGET) / 3
        p[k] = p[k + 1] + h[k] * slope
    density = np.mean((x[:-1] - TARGET) ** 2, axis=1) + LAMBDA * (w * w + b * b)
    cost[1:] = np.cumsum(h * density)
    guess = np.concatenate([x.T, p.T, cost[None]])
    exact = solve_bvp(slopes, ends, problem.mesh.nodes, guess, tol=1e-8, max_nodes=20_000)
    assert exact.status == 0
    middle = exact.sol(0.5 * horizon)[:3]
    level = horizon**2 * float(np.mean((middle - TARGET) ** 2))
    assert (level, exact.y[6, -1]) == pytest.approx(LIMITS[horizon], rel=2e-7)
