"""How the gradient of the discretized problem changes with the horizon, the coefficients held.

Euler's layers z_{k+1} = z_k + tau_k F(z_k, u_k, s), tau_k = T s_k, have d z_{k+1} / dT = (z_{k+1} -
z_k) / T at fixed z_k, u_k, s.  So, with the arrays of `linear_quadratic.py`, the derivatives in T
of states and costates follow from

    z'_{k+1} = A_k z'_k + (z_{k+1} - z_k) / T,                                     z'_0 = 0,
    l'_k = A_k^T (l'_{k+1} + lambda_{k+1} / T) - lambda_{k+1} / T + Q_k z'_k + c_k / T,

c_k the part of q_k that the running cost makes, which is proportional to T, and l'_K = Q_K z'_K +
c_K / T.  The derivative of the gradient in u_k is

    S_k^T z'_k + B_k^T (l'_{k+1} + lambda_{k+1} / T) + r_k / T,

and that in s the sum of the same with the borders, with r_k replaced by what the running cost makes
of r.
"""

from dataclasses import replace

import numpy as np

from continuum.arrays import Array
from continuum.controls import Control
from continuum.functional import rests
from continuum.networks import Chain
from continuum.penalties import Tikhonov, terms_of
from continuum.problem import LearningProblem

from ..flow.advance import Steps
from .coefficients import Columns
from .discrete_cost import DiscreteCost, Rule
from .linear_quadratic import Linearization


def check_horizon(problem: LearningProblem) -> None:
    """Raises TypeError for what does not scale with the horizon in a known way: networks and costs
    that may depend on time, and other penalties than Tikhonov.
    """
    network, running = problem.network, problem.functional.running
    still = not network.timed if isinstance(network, Chain) else network.broadcasts
    if not still:
        raise TypeError(f"the derivative in the horizon needs a network without time: {network!r}")
    if running is not None and not rests(running):
        raise TypeError(
            f"the derivative in the horizon needs a running cost without time, a loss of a fixed "
            f"target: {running!r}"
        )
    for term in terms_of(problem.penalty):
        if not isinstance(term, Tikhonov):
            raise TypeError(f"the derivative in the horizon is known for Tikhonov, not {term!r}")


def horizon_derivative(problem: LearningProblem, control: Control, found: Linearization) -> Array:
    """(K m + p,): d/dT of the derivative of J in the coefficients u_0, ..., u_{K-1}, s; J
    discretized by Euler, one step per layer.

    found : the linearization of that at the control
    raises TypeError as `check_horizon`
    """
    check_horizon(problem)
    model, borders, x, costates = found.model, found.borders, found.states, found.costates
    horizon, layers = problem.mesh.horizon, len(model.A)
    running, static = _running(problem, control, x)
    dx = np.zeros_like(x)
    for k in range(layers):
        dx[k + 1] = np.einsum("mij,mj->mi", model.A[k], dx[k]) + (x[k + 1] - x[k]) / horizon
    explicit = np.einsum("kmij,kmj->kmi", model.Q, dx) + running / horizon
    later = np.empty_like(costates[1:])
    change = explicit[layers]
    for k in range(layers - 1, -1, -1):
        share = costates[k + 1] / horizon
        later[k] = change + share
        change = np.einsum("mij,mi->mj", model.A[k], later[k]) - share + explicit[k]
    du = np.einsum("kmia,kmi->ka", model.S, dx[:-1]) + model.r / horizon
    du += np.einsum("kmia,kmi->ka", model.B, later)
    if borders is None:
        return du.reshape(-1)
    ds = np.einsum("kmia,kmi->a", borders.S, dx) + static / horizon
    ds += np.einsum("kmia,kmi->a", borders.B, later)
    return np.append(du.reshape(-1), ds)


def _running(problem: LearningProblem, control: Control, x: Array) -> tuple[Array, Array]:
    """The derivatives of the running cost alone, with states held: in the states, (K + 1, M, N),
    and in static coefficients, (p,).
    """
    columns, found = Columns.of(problem.space), np.zeros_like(x)
    total = problem.space.cotangents(problem.initial)
    if problem.running is not None:
        running = replace(problem, terminal=None)
        rule = Rule.of(running, Steps.equal(problem.mesh, 1), "layers")  # all states cost something
        states = x.transpose(0, 2, 1)
        _, seeds = DiscreteCost(running, control, rule).seeds(
            rule.states, lambda numbers: states[numbers], total
        )
        found = (problem.network.weights[:, None] * seeds).transpose(0, 2, 1)
    return found, columns.split(columns.weights * columns.vector(total))[1]
