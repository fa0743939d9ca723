"""Folds of XOR over the horizon, computed a second time from formulas written out for it.

    x_{k+1} = x_k + h (W_k tanh(x_k) + b_k),  k < K = 16,  h = T / K,
    J(u, T) = sum_k' h mean_m (x_1(k) - y)^2 + 0.1 h sum_k |u_k|^2,

the primed sum with halved ends.  A fold is a solution (u, v, T) of g = 0, H v = 0, |v| = 1, with g
and H the first and second derivatives in u.  Newton's method on these 193 equations: H v is the
imaginary part of g(u + i e v) / e, exact to rounding; what stands in the Jacobian beyond H is a
difference quotient, which changes the speed of the iteration and not its limit.  Nothing of the
package is used but for the folds to compare with and a start near each, rounded to three decimals.
"""

import numpy as np
import pytest

from continuum import TimeMesh
from solvers import discretize
from studies.turnpike.bifurcation import over_horizon
from studies.turnpike.paper import xor

LAYERS, LAMBDA = 16, 0.1
CORNERS = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
LABELS = CORNERS[0] * CORNERS[1]
IMAGINARY = 1e-30
FOLDS = {
    2.4613561317288367737: 2.6642516979859520650,
    2.4109093388552407784: 3.5186460233359895635,
    1.7123607928790226491: 2.3331657568872655250,
}
"""T and J, printed by `fold` with numbers of 80 bits."""


def flat(control) -> np.ndarray:
    """(96,): the entries of weight and bias, layer by layer."""
    return np.concatenate([control["weight"].reshape(LAYERS, 4), control["bias"]], axis=1).ravel()


def cost_and_gradient(u: np.ndarray, horizon) -> tuple[np.ndarray, np.ndarray]:
    """J (B,) and its derivatives (B, 96) at u (B, 96): rows of (W by rows, b), layer by layer."""
    h = horizon / LAYERS
    layers = u.reshape(len(u), LAYERS, 6)
    weight, bias = layers[..., :4].reshape(len(u), LAYERS, 2, 2), layers[..., 4:, None]
    states = [np.broadcast_to(CORNERS, (len(u), 2, 4)).astype(u.dtype)]
    for k in range(LAYERS):
        states.append(states[-1] + h * (weight[:, k] @ np.tanh(states[-1]) + bias[:, k]))
    shares = np.ones(LAYERS + 1)
    shares[[0, -1]] = 0.5
    misfits = [share * (x[:, 0] - LABELS) for share, x in zip(shares, states, strict=True)]
    value = LAMBDA * h * np.sum(u * u, axis=1)
    for x, misfit in zip(states, misfits, strict=True):
        value = value + h * np.sum(misfit * (x[:, 0] - LABELS), axis=1) / 4
    gradient = 2 * LAMBDA * h * layers
    costate = np.zeros_like(states[0])
    for k in reversed(range(LAYERS)):
        costate[:, 0] += h * misfits[k + 1] / 2  # the derivative of J in x_{k+1}
        s = np.tanh(states[k])
        outer = h * costate @ np.swapaxes(s, 1, 2)
        gradient[:, k, :4] += outer.reshape(-1, 4)
        gradient[:, k, 4:] += h * np.sum(costate, axis=2)
        costate = costate + h * (1 - s * s) * (np.swapaxes(weight[:, k], 1, 2) @ costate)
    return value, gradient.reshape(len(u), -1)


def products(u: np.ndarray, directions: np.ndarray, horizon) -> np.ndarray:
    """H v of every row v of `directions` (B, 96)."""
    moved = u + 1j * u.dtype.type(IMAGINARY) * directions
    return np.imag(cost_and_gradient(moved, horizon)[1]) / u.dtype.type(IMAGINARY)


def fold(u: np.ndarray, horizon: float, steps: int = 12) -> tuple[float, float, float, np.ndarray]:
    """(T, J, the largest residual, eigenvalues of H) by Newton's method from a control near it."""
    n, kind = u.size, u.dtype.type
    unit, quotient = np.eye(n, dtype=u.dtype), kind(1e-5)
    t = kind(horizon)
    spectrum, vectors = np.linalg.eigh(products(u, unit, t).astype(float))
    v = vectors[:, np.argmin(np.abs(spectrum))].astype(u.dtype)

    def residual(u, v, t):
        gradient = np.real(cost_and_gradient(u[None], t)[1][0])
        return np.concatenate([gradient, products(u, v[None], t)[0], [(v @ v - 1) / 2]])

    for _ in range(steps):
        jacobian = np.zeros((2 * n + 1, 2 * n + 1))
        hessian = products(u, unit, t)
        third = products(u + quotient * v, unit, t) - products(u - quotient * v, unit, t)
        jacobian[:n, :n] = jacobian[n:-1, n:-1] = hessian
        jacobian[n:-1, :n] = third / (2 * quotient)
        jacobian[-1, n:-1] = v
        in_time = residual(u, v, t + quotient) - residual(u, v, t - quotient)
        jacobian[:, -1] = in_time / (2 * quotient)
        step = np.linalg.solve(jacobian, -residual(u, v, t).astype(float))
        u, v, t = u + step[:n], v + step[n:-1], t + step[-1]
    value = np.real(cost_and_gradient(u[None], t)[0][0])
    largest = float(np.max(np.abs(residual(u, v, t))))
    return t, value, largest, np.linalg.eigvalsh(products(u, unit, t).astype(float))


@pytest.fixture(scope="module")
def events():
    """The folds (0, 1) that the study bifurcation prints for 12 starts and T up to 8."""
    branches, _ = over_horizon(12, 0, 8.0)
    return [event for branch in branches for event in branch.events if event.kind == "fold"]


def test_the_formulas_are_those_of_the_problem(rng):
    problem = xor(LAMBDA, TimeMesh(2.4, LAYERS), along=True)
    control = problem.space.random(rng, 0.7)
    value, gradient = discretize(problem).value_and_gradient(control)
    own, slope = cost_and_gradient(flat(control)[None], 2.4)
    assert own[0] == pytest.approx(value, rel=1e-14)
    assert slope[0] == pytest.approx(flat(gradient) * 2.4 / LAYERS, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("place", FOLDS)
def test_newtons_method_on_the_equations_of_a_fold_ends_where_continuation_does(events, place):
    event = min(events, key=lambda found: abs(found.parameter - place))
    rough = np.round(flat(event.control), 3)
    horizon, value, largest, spectrum = fold(rough, round(event.parameter, 3))
    assert largest < 1e-13
    assert horizon == pytest.approx(place, rel=1e-13)
    assert value == pytest.approx(FOLDS[place], rel=1e-13)
    assert event.parameter == pytest.approx(horizon, rel=1e-12)
    assert event.objective == pytest.approx(value, rel=1e-12)
    # one null eigenvalue, and all others positive: a minimiser and a saddle meet
    assert abs(spectrum[0]) < 1e-12 < 1e-4 < spectrum[1]
    assert (event.negative, event.null) == ((0, 1), 1)
