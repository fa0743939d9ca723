"""The paper, the problems of its examples, and the lowest of several Newton runs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from continuum import (
    Activation,
    Chain,
    Control,
    Dense,
    Grid,
    LearningProblem,
    Linear,
    NeuralODE2,
    Offset,
    Pointwise,
    Projection,
    SquaredError,
    Staged,
    State,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    identity,
    tanh,
)
from solvers import Path, RiccatiNewton, Solution, minimize

from .planar_data import padded, points

PAPER = "Geshkovski, Large-time asymptotics in deep learning"


def scalar(
    target: float,
    mesh: TimeMesh,
    *,
    strength: float = 1.0,
    affine: bool = True,
    running: bool = True,
    initial: Sequence[float] = (0.0,),
) -> LearningProblem:
    """min of |x - target|^2, along the way or at T, plus strength int |u|^2, one sample, from 0.

    affine : x' = w x + b, else x' = b
    """
    network = NeuralODE2(1, identity)
    return LearningProblem(
        network,
        np.array([initial], dtype=float),
        np.full((1, len(initial)), target),
        network.controls(mesh, fixed={} if affine else {"weight": 0.0}),
        terminal=None if running else SquaredError(1.0),
        running=SquaredError(1.0) if running else None,
        penalty=Tikhonov(strength),
    )


def planar(
    x: np.ndarray, y: np.ndarray, penalty: float, mesh: TimeMesh, *, along: bool = False
) -> LearningProblem:
    """w tanh(x) + b is to bring the first coordinates P x of the points x (d, M) to y (k, M): the
    mean of |P x(T) - y|^2, or its integral over (0, T), plus penalty int |u|^2.

    along : whether the cost is the integral
    """
    return LearningProblem(
        NeuralODE2(len(x), tanh),
        x,
        y,
        mesh,
        readout=State() if len(x) == len(y) else Projection(np.eye(len(y), len(x))),
        terminal=None if along else SquaredError(1.0),
        running=SquaredError(1.0) if along else None,
        penalty=Tikhonov(penalty),
    )


def two_points(penalty: float, mesh: TimeMesh, *, along: bool = False) -> LearningProblem:
    """The same on the line, -1/2 to -3/2 and 1/2 to 1."""
    return planar(np.array([[-0.5, 0.5]]), np.array([[-1.5, 1.0]]), penalty, mesh, along=along)


def xor(penalty: float, mesh: TimeMesh, *, along: bool = False, units: int = 2) -> LearningProblem:
    """The corners (+-1, +-1) of a square, labelled by the product of their coordinates, which the
    first coordinate is to become; see `planar`.

    A change of sign of the first coordinate, together with that of the labels, leaves J as it is.
    units : d >= 2; the coordinates of the corners beyond the second are 0
    """
    corners, labels = points("corners")
    return planar(padded(corners, units), labels[None], penalty, mesh, along=along)


def lowest(problem: LearningProblem, given: Sequence[Control]) -> Solution[Control]:
    """The lowest of what Newton's method finds from given controls, after three steps more, or
    fewer where rounding ends them: what a gradient of 1e-8 leaves can hide a small error.  Its
    status is the one before these.

    The norm of the gradient in L2(0, T) is T^(1/2) times that of the same problem on (0, 1), and
    gtol is chosen so too.
    """
    root = problem.mesh.horizon**0.5
    method = RiccatiNewton(gtol=1e-8 * root, max_iterations=500)
    found = [minimize(problem, method, initial=u, raise_on_failure=False) for u in given]
    best = min(found, key=lambda one: one.objective)
    sharper = replace(method, gtol=1e-15 * root, max_iterations=3)
    sharp = minimize(problem, sharper, initial=best.control, raise_on_failure=False)
    return replace(sharp, status=best.status)


def integral_field(grid: Grid, activation: Activation) -> Chain:
    """z_t(x, t) = sigma(int_Y w(x, xi, t) z(xi, t) d xi + b(x, t)) on a grid of Y; blocks "kernel"
    w and "bias" b.
    """
    return Chain(grid, (Linear("kernel", Dense()), Offset("bias"), Pointwise(activation)))


def widening(
    grids: Sequence[Grid],
    changes: Sequence[float],
    activation: Activation,
    transfer: Callable[[Grid, Grid], np.ndarray],
) -> Staged:
    """The same on one grid after the other, from each of the times `changes` on the next."""
    return Staged(
        tuple(integral_field(grid, activation) for grid in grids),
        tuple(changes),
        tuple(transfer(before, after) for before, after in pairwise(grids)),
    )


def separable_kernel(x: np.ndarray, xi: np.ndarray) -> np.ndarray:
    """w(x, xi) = (1 + x) exp(-xi), of TP-36."""
    return (1.0 + x) * np.exp(-xi)


def separable_solution(x: np.ndarray | float, t: float) -> np.ndarray | float:
    """z(x, t) of the integral field on (0, 1) with that kernel, b = 0, ReLU and z(x, 0) = 1 + x^2.

    int exp(-xi) z d xi = c is positive, c' = a c with a = int (1 + x) exp(-x) dx = 2 - 3 / e and
    c(0) = 3 - 6 / e: so z = 1 + x^2 + (1 + x) c(0) (exp(a t) - 1) / a.
    """
    a, c = 2.0 - 3.0 / np.e, 3.0 - 6.0 / np.e
    return 1.0 + x**2 + (1.0 + x) * c * np.expm1(a * t) / a


def moving(
    initial: np.ndarray, target: np.ndarray, activation: Activation, layers: int
) -> LearningProblem:
    """The least int_0^1 |w|^2 dt with which x' = w sigma(x) leads the columns of `initial` (d, M)
    to those of `target` in time 1.
    """
    network = NeuralODE2(len(initial), activation)
    return LearningProblem(
        network,
        initial,
        target,
        network.controls(TimeMesh(1.0, layers), fixed={"bias": 0.0}),
        terminal=None,
        penalty=Tikhonov(1.0),
        endpoint=TerminalEquality(),
    )


def errors(problem: LearningProblem, path: Path) -> np.ndarray:
    """(K + 1,): the running cost along a run, the mean over the samples, without the penalty."""
    functional = problem.functional
    return functional.mean(functional.running_costs(path.states, {}, path.times))
