"""Where statements of the paper fail: Lemma 1, Theorem 1, the Monte Carlo loss as an upper bound
(LY-04, LY-05, LY-09).
"""

import numpy as np

from continuum import (
    Activation,
    Chain,
    CrossEntropy,
    LearningProblem,
    Logistic,
    Pointwise,
    SquaredError,
    TimeMesh,
)
from continuum.arrays import Array
from solvers import RK4, integrate
from solvers.lyapunov import violation

from ...bench.registry import claim
from .common import PAPER

ONE = np.ones(1)


@claim(
    "LY-04",
    statement="Lemma 1 fails: cross-entropy does not change along eta + c 1, so it has no lower "
    "multiple of |eta - eta*|; and |softmax|_2 >= 1/sqrt(m) never vanishes.",
    paper=PAPER,
    references={
        "V(1, 2, 3), y = 1": 1.407605964444,
        "V(101, 102, 103), y = 1": 1.407605964444,
        "|softmax| of equal scores, m = 10": 0.316227766,
        "of 2000 random scores, how many have less": 0.0,
    },
    tolerance={
        "V(1, 2, 3), y = 1": 5e-13,
        "V(101, 102, 103), y = 1": 5e-13,
        "|softmax| of equal scores, m = 10": 5e-10,
        "of 2000 random scores, how many have less": 0.0,
    },
    reason="half a unit of the last printed digit",
)
def cross_entropy_is_no_distance() -> dict[str, float]:
    """y = 1 is the middle score of three, counted from 0; softmax is the gradient plus e_y."""
    loss, rng = CrossEntropy(), np.random.default_rng(0)
    scores = np.array([[1.0, 101.0], [2.0, 102.0], [3.0, 103.0]])
    values = loss.value(scores, loss.check_target(np.ones(2), 3, 2), np.ones(3))
    many = rng.standard_normal((10, 2000)) * 10.0 ** rng.uniform(-3.0, 2.0, 2000)
    many[:, 0] = 0.0
    target = loss.check_target(np.zeros(2000), 10, 2000)
    sizes = np.linalg.norm(loss.gradient(many, target, np.ones(10)) + target, axis=0)
    return {
        "V(1, 2, 3), y = 1": float(values[0]),
        "V(101, 102, 103), y = 1": float(values[1]),
        "|softmax| of equal scores, m = 10": float(sizes[0]),
        "of 2000 random scores, how many have less": float(
            np.sum(sizes < np.sqrt(0.1) * (1.0 - 1e-14))
        ),
    }


@claim(
    "LY-05",
    statement="Theorem 1 fails: with f = theta in [-1, 1], V = eta^2 / 2 and kappa = 1, each eta "
    "has a theta that meets the condition (9), but no theta meets (10) at all eta in [-1, 1].",
    paper=PAPER,
    references={
        "largest over eta of the least over theta": 0.0,
        "least over theta of the largest over eta": 0.5,
        "that theta": 0.0,
    },
    tolerance=1e-15,
    reason="rounding: both extremes over theta and eta are at points of the grids",
)
def for_every_and_there_is() -> dict[str, float]:
    """The violation (2001 thetas, 2001 etas) is affine in theta and convex in eta."""
    loss, grid = SquaredError(0.5), np.linspace(-1.0, 1.0, 2001)
    states, target = grid[None, :], np.zeros((1, len(grid)))
    slopes, values = loss.gradient(states, target, ONE)[0], loss.value(states, target, ONE)
    violation = grid[:, None] * slopes + values
    worst = violation.max(axis=1)
    return {
        "largest over eta of the least over theta": float(violation.min(axis=0).max()),
        "least over theta of the largest over eta": float(worst.min()),
        "that theta": float(grid[worst.argmin()]),
    }


def stopped(s: Array) -> Array:
    """0 for |s| < 0.1, else 6."""
    return np.where(np.abs(s) < 0.1, 0.0, 6.0)


def stopped_integral(s: Array) -> Array:
    """int_0^s of it."""
    return 6.0 * np.sign(s) * np.maximum(np.abs(s) - 0.1, 0.0)


STOPPED = Activation(
    "stopped",
    stopped,
    np.zeros_like,
    np.zeros_like,
    stopped_integral,
    lipschitz=np.inf,
    smooth=False,
    bounded=True,
    vanishes_at_zero=True,
    monotone=False,
)


@claim(
    "LY-09",
    statement="The Monte Carlo loss is no upper bound of the path loss, against (45): V = log(1 + "
    "exp(-eta)) on [-5, 5], kappa = 1, f = 0 for |eta| < 0.1 and 6 elsewhere, start 0.",
    paper=PAPER,
    references={"path loss": 0.6931471806, "Monte Carlo loss": 0.0138712749},
    tolerance=5e-11,
    reason="half a unit of the last printed digit",
)
def monte_carlo_is_no_bound() -> dict[str, float]:
    """The expected Monte Carlo loss by Gauss's rule on [-5, -0.1], [-0.1, 0.1] and [0.1, 5]; the
    path loss by Simpson's on a run, on which nothing moves.
    """
    problem = LearningProblem(
        Chain(1, (Pointwise(STOPPED),)),
        np.zeros((1, 1)),
        np.ones((1, 1)),
        TimeMesh(1.0, 2),
        terminal=Logistic(),
    )
    still = problem.space.sample()

    def loss(states: Array) -> Array:
        r = violation(problem, still, states[:, None, None], np.zeros(len(states)), 1.0)
        return np.maximum(r[:, 0], 0.0)

    nodes, weights = np.polynomial.legendre.leggauss(32)
    expected = 0.0
    for low, high in ((-5.0, -0.1), (-0.1, 0.1), (0.1, 5.0)):
        states = (low + high) / 2 + (high - low) / 2 * nodes
        expected += (high - low) / 2 * float(weights @ loss(states)) / 10.0
    run = integrate(problem.network, still, problem.initial, RK4(), save="layers")
    path = loss(run.trajectory.states[:, 0, 0])
    return {
        "path loss": float(path @ np.array([1.0, 4.0, 1.0]) / 6.0),
        "Monte Carlo loss": expected,
    }
