"""Galerkin reduction of linear-quadratic problems to leading modes, with a bound of its error.

For the problems of `quadratic`, f' = A f + a with the bias a trained, let the columns of Z span the
start, the targets and the leading left and right singular vectors of A, orthonormal in the units'
weights (for a self-adjoint kernel both are its eigenvectors).  The small problem has m' = Z*A Z m +
b, the costs of Z m and the penalty of Z b.

Exact: where A and A* both map span Z into itself, for instance if A has no more singular values
than modes.  The optimal m and its costate q, lifted to Z m and Z q, satisfy the equations of
Pontryagin's principle of the large problem, because A Z m = Z Z*A Z m and A*Z q = Z Z*A*Z q, and
the problem is convex in (f, a).  One of both inclusions alone is not enough.

Elsewhere, with m, b the optimum of the small problem, of cost J_s, the least cost J* of the large
one is between two numbers:

    upper  the cost of the lifted control a = Z b in the large problem;
    lower  by weak duality: for any p with p' = -A*p - 2 theta (Z m - y), p(T) = 2 theta_T (Z m(T)
           - y_T), subtract <p, f' - A f - a> from the cost, integrate by parts and minimise over
           f(t), f(T) and a(t), each on its own; the minima are at f = Z m and a = -p / (2 lambda):
           <p(0), f_I> + int_0^T -2 theta <Z m - y, y> - theta |Z m - y|^2 - |p|^2 / (4 lambda)
           + theta_T |Z m(T) - y_T|^2 - 2 theta_T <Z m(T) - y_T, Z m(T)>.

Both are second order in A - Z Z*A Z Z*, as that difference maps span Z into its complement.  So
|J_s - J*| <= max(upper - J_s, J_s - lower), proved but for the integrations by DOP853 at rtol
1e-12, for which 1e-11 (1 + |J_s|) is added.

Another activation, a trained kernel or a set breaks the proof: those are refused.
"""

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

from continuum.arrays import Array
from continuum.checks import check_count
from continuum.controls import Control
from continuum.doors import checked
from continuum.functional import RunningCost, Tracking
from continuum.losses import SquaredError
from continuum.networks import Chain, Linear, Offset
from continuum.penalties import Tikhonov
from continuum.problem import LearningProblem

from .quadratic import QuadraticData, QuadraticValue, quadratic_data, riccati

Lift = Callable[[Control], Control]
"""The control of the small problem as one of the large problem."""

_INTEGRATION = 1e-11
"""What the integrations may err by, as a share of 1 + |J|: an estimate."""

_DEPENDENT = 1e-10
"""The share of a direction outside the others below which it is left out."""


@checked
def galerkin(problem: LearningProblem, modes: int) -> tuple[LearningProblem, Lift, float]:
    """A linear-quadratic problem in few unknowns, the lift of its controls, and its error.

    modes : how many singular values of the kernel are kept, the largest
    returns (small, lift, error): small in R^n with weights 1, n <= 2 modes + 3, on the same layers;
        |least cost of small - least cost of problem| <= error, both in continuous time; see the
        head of this file
    raises ValueError that says why the problem is not one of `riccati`
    """
    modes, data = check_count("modes", modes), quadratic_data(problem)
    basis = _basis(problem, data, modes)
    small = _small(problem, data, basis)
    (block,) = problem.space.trained

    def lift(control: Control) -> Control:
        given = small.space.check("control", control)
        return problem.space.sample(**{block.name: given["bias"] @ basis.T / data.scale})

    value = riccati(small)
    lower, upper = _between(problem, data, basis, value)
    own = value.at_start
    error = max(upper - own, own - lower, 0.0) + _INTEGRATION * (1.0 + abs(own))
    return small, lift, error


def _basis(problem: LearningProblem, data: QuadraticData, modes: int) -> Array:
    """(N, n): start and targets, then the singular vectors, made orthonormal in this order."""
    left, sizes, right = np.linalg.svd(data.matrix)
    kept = min(modes, int(np.sum(sizes > _DEPENDENT * max(sizes[0], 1e-300))))
    start = data.scale * problem.initial[:, 0]
    pairs = np.stack([left[:, :kept].T, right[:kept]], axis=1).reshape(2 * kept, len(left))
    found: list[Array] = []
    for x in (start, data.terminal_target, data.running_target, *pairs):
        size, rest = np.linalg.norm(x), x
        for _ in range(2):
            for z in found:
                rest = rest - (z @ rest) * z
        if np.linalg.norm(rest) > _DEPENDENT * size:
            found.append(rest / np.linalg.norm(rest))
    return np.stack(found, axis=1)


def _small(problem: LearningProblem, data: QuadraticData, basis: Array) -> LearningProblem:
    n = basis.shape[1]
    network = Chain(n, (Linear("kernel", n), Offset("bias")), order=("bias", "kernel"))
    reduced = basis.T @ data.matrix @ basis

    def taken(cost: RunningCost | None, weight: float, target: Array) -> RunningCost | None:
        if cost is None:
            return None
        return Tracking(SquaredError(weight), target=(basis.T @ target)[:, None])

    functional = problem.functional
    return LearningProblem(
        network,
        (basis.T @ (data.scale * problem.initial[:, 0]))[:, None],
        None,
        network.controls(problem.mesh, fixed={"kernel": reduced}),
        terminal=taken(functional.terminal, data.terminal, data.terminal_target),
        running=taken(functional.running, data.running, data.running_target),
        penalty=Tikhonov(data.strength),
    )


def _between(
    problem: LearningProblem, data: QuadraticData, basis: Array, value: QuadraticValue
) -> tuple[float, float]:
    """lower <= J* <= upper, by the two formulas at the head of this file."""
    A, strength, n = data.matrix, data.strength, basis.shape[1]
    theta, y, end = data.running, data.running_target, data.terminal_target
    horizon, start = problem.mesh.horizon, data.scale * problem.initial[:, 0]
    accuracy = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-13}
    reduced = value.data.matrix

    def forwards(t: float, z: Array) -> Array:
        """Of m, the state f of the lifted control, and the cost along it."""
        m, f = z[:n], z[n:-1]
        P, g, _ = value.coefficients(t)
        b = -(P @ m + g) / (2.0 * strength)
        cost = theta * float((f - y) @ (f - y)) + strength * float(b @ b)
        return np.concatenate([reduced @ m + b, A @ f + basis @ b, [cost]])

    first = np.concatenate([basis.T @ start, start, [0.0]])
    run = solve_ivp(forwards, (0.0, horizon), first, dense_output=True, **accuracy)
    m, f, upper = run.y[:n, -1], run.y[n:-1, -1], float(run.y[-1, -1])
    upper += data.terminal * float((f - end) @ (f - end))

    def backwards(t: float, z: Array) -> Array:
        """Of p and the integral of the dual cost from t to T."""
        off = basis @ run.sol(t)[:n] - y
        p = z[:-1]
        dual = -theta * float(off @ (off + 2.0 * y)) - float(p @ p) / (4.0 * strength)
        return np.concatenate([-A.T @ p - 2.0 * theta * off, [-dual]])

    off = basis @ m - end
    last = np.concatenate([2.0 * data.terminal * off, [0.0]])
    back = solve_ivp(backwards, (horizon, 0.0), last, **accuracy)
    lower = float(back.y[:-1, -1] @ start) + float(back.y[-1, -1])
    lower += data.terminal * float(off @ off) - 2.0 * data.terminal * float(off @ (basis @ m))
    return lower, upper
