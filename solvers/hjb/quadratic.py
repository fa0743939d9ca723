"""Linear-quadratic problems of one sample by Riccati's equation, in continuous time, for any N.

    minimise  theta_T |f(T) - y_T|^2 + int_0^T theta |f - y|^2 + lambda |a|^2 dt,   f' = A f + a,

norms in the units' weights w, A a fixed kernel, the bias a trained.  In x_i = sqrt(w_i) f_i, where
weights are 1,

    V(x, t) = x'P x / 2 + g'x + r,     a = -(P x + g) / (2 lambda),
    P' = -(A'P + P A) + P^2 / (2 lambda) - 2 theta,         P(T) = 2 theta_T,
    g' = -A'g + P g / (2 lambda) + 2 theta y,               g(T) = -2 theta_T y_T,
    r' = |g|^2 / (4 lambda) - theta |y|^2,                  r(T) = theta_T |y_T|^2.

The Hamilton-Jacobi-Bellman equation V_t + theta |x - y|^2 + DV'A x - |DV|^2 / (4 lambda) = 0 by
degrees of x; P stays between 0 and the P of a = 0, so that V exists on [0, T] and is C^1, and the
feedback is optimal.
Source: Liu and Markowich section 4.3; LM-59 and LM-60 of the ledger.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.integrate import OdeSolution, solve_ivp

from continuum.activations import identity
from continuum.arrays import Array
from continuum.checks import check_array, check_positive
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from ..pontryagin.minimisers import quadratic
from .separable import separable, squared_error

_GAUSS = np.polynomial.legendre.leggauss(5)


@dataclass(frozen=True, eq=False)
class QuadraticData:
    """What the head of this file calls A (N, N), lambda, theta, y (N,), theta_T, y_T (N,), in the
    coordinates x = scale * f, scale (N,).
    """

    matrix: Array
    strength: float
    running: float
    running_target: Array
    terminal: float
    terminal_target: Array
    scale: Array

    __repr__ = short


@dataclass(frozen=True, eq=False)
class QuadraticValue:
    """The value function of a linear-quadratic problem; see the head of this file and `riccati`."""

    problem: LearningProblem
    data: QuadraticData = field(repr=False)
    _solution: OdeSolution = field(repr=False)

    __repr__ = short

    def __call__(self, f: Array, t: float) -> Array:
        """(L,): V at states (N, L)."""
        x = self._scaled(f)
        P, g, r = self.coefficients(t)
        return 0.5 * np.sum(x * (P @ x), axis=0) + g @ x + r

    def gradient(self, f: Array, t: float) -> Array:
        """(N, L): the costate, the derivative of V in the units' weights."""
        x = self._scaled(f)
        P, g, _ = self.coefficients(t)
        return (P @ x + g[:, None]) / self.data.scale[:, None]

    def partials(self, f: Array, t: float) -> Array:
        """(N, L): dV/df_i, w_i times the gradient."""
        return self.data.scale[:, None] ** 2 * self.gradient(f, t)

    def bias(self, f: Array, t: float) -> Array:
        """(N, L): the optimal feedback a = -gradient / (2 lambda)."""
        return -self.gradient(f, t) / (2.0 * self.data.strength)

    @property
    def at_start(self) -> float:
        """V(f_I, 0)."""
        return float(self(self.problem.initial, 0.0)[0])

    def states(self, times: Array) -> Array:
        """(S, N, 1): the optimal states from the problem's start, at increasing times from 0 on."""
        A, strength = self.data.matrix, self.data.strength

        def rate(t: float, x: Array) -> Array:
            P, g, _ = self.coefficients(t)
            return A @ x - (P @ x + g) / (2.0 * strength)

        start = self._scaled(self.problem.initial)[:, 0]
        horizon = self.problem.mesh.horizon
        found = solve_ivp(
            rate, (0.0, horizon), start, "DOP853", np.asarray(times), rtol=1e-12, atol=1e-13
        )
        return (found.y / self.data.scale[:, None]).T[:, :, None]

    def control(self) -> Control:
        """The optimal control from the problem's start, averaged over layers."""
        nodes, steps = self.problem.mesh.nodes, self.problem.mesh.steps
        times = nodes[:-1, None] + 0.5 * steps[:, None] * (1.0 + _GAUSS[0])
        found = self.states(times.ravel())
        bias = np.array(
            [self.bias(f, t)[:, 0] for f, t in zip(found, times.ravel(), strict=True)]
        ).reshape(*times.shape, -1)
        averages = np.einsum("q,kqi->ki", 0.5 * _GAUSS[1], bias)
        (block,) = self.problem.space.trained
        return self.problem.space.sample(**{block.name: averages})

    def coefficients(self, t: float) -> tuple[Array, Array, float]:
        """P (N, N), g (N,), r at time t, in the coordinates x of `data`."""
        horizon, n = self.problem.mesh.horizon, len(self.data.scale)
        if not 0.0 <= t <= horizon:
            raise ValueError(f"t must be in [0, {horizon:g}], got {t!r}")
        z = self._solution(t)
        P = z[: n * n].reshape(n, n)
        return 0.5 * (P + P.T), z[n * n : -1], float(z[-1])

    def _scaled(self, f: Array) -> Array:
        return self.data.scale[:, None] * check_array("f", f, (len(self.data.scale), "L"))


@checked
def riccati(problem: LearningProblem, *, rtol: float = 1e-12) -> QuadraticValue:
    """The value function of a linear-quadratic problem of one sample, by Riccati's equation.

    N^2 + N + 1 unknowns; layers play no part.

    rtol : of DOP853
    raises ValueError that says why the problem is not one of those at the head of this file
    """
    data, rtol = quadratic_data(problem), check_positive("rtol", rtol)
    A, n = data.matrix, len(data.scale)
    bend, y = 0.5 / data.strength, data.running_target
    end = np.concatenate(
        [
            (2.0 * data.terminal * np.eye(n)).ravel(),
            -2.0 * data.terminal * data.terminal_target,
            [data.terminal * float(data.terminal_target @ data.terminal_target)],
        ]
    )

    def rate(_: float, z: Array) -> Array:
        P, g = z[: n * n].reshape(n, n), z[n * n : -1]
        product = P @ A
        slope = bend * (P @ P) - product - product.T
        slope[np.diag_indices(n)] -= 2.0 * data.running
        drift = bend * (P @ g) - A.T @ g + 2.0 * data.running * y
        return np.concatenate(
            [slope.ravel(), drift, [0.5 * bend * float(g @ g) - data.running * float(y @ y)]]
        )

    horizon = problem.mesh.horizon
    found = solve_ivp(
        rate, (horizon, 0.0), end, "DOP853", dense_output=True, rtol=rtol, atol=0.1 * rtol
    )
    if not found.success:
        raise ValueError(f"problem: Riccati's equation was not solved: {found.message}")
    return QuadraticValue(problem, data, found.sol)


def quadratic_data(problem: LearningProblem) -> QuadraticData:
    """The numbers of a linear-quadratic problem of one sample.

    raises ValueError that says why it is none, TypeError as `separable`
    """
    h = separable(problem)
    space, rows, w = problem.space, h.rows, h.weights
    trained = {b.name for b in space.trained}
    functional = problem.functional
    reason = ""
    if (rows.psi or identity) is not identity or (rows.phi or identity) is not identity:
        reason = "an activation is not the identity"
    elif trained != {str(rows.offset)}:
        reason = f"{', '.join(sorted(trained))} is trained, and it must be the bias alone"
    elif not all(quadratic(problem).values()):
        reason = "the bias has no Tikhonov term"
    elif problem.admissible is not None:
        reason = f"there is a set, {problem.admissible!r}"
    elif not h.autonomous:
        reason = "the kernel or the target depends on time"
    elif np.any(w == 0.0):
        reason = "some units have weight 0"
    else:
        for name, cost in (("terminal", functional.terminal), ("running", functional.running)):
            if squared_error(cost, len(w)) is None:
                reason = f"the {name} cost is no SquaredError of the state"
    if reason:
        raise ValueError(f"problem is not linear-quadratic: {reason}")
    scale = np.sqrt(w)
    (strength,) = quadratic(problem).values()
    matrix = scale[:, None] * h.still(np.eye(len(w)), 0.0) / scale
    none = 0.0, np.zeros(len(w))  # never taken: both costs are known here
    running, terminal = (
        squared_error(cost, len(w)) or none for cost in (functional.running, functional.terminal)
    )
    return QuadraticData(
        matrix, strength, running[0], scale * running[1], terminal[0], scale * terminal[1], scale
    )
