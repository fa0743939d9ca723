"""Linear dynamics with a quadratic cost, solved exactly for any horizon: the reference.

With (x*, u*, p*) the static optimum, the minimiser of int_0^T l dt has state and costate

    (x, p)(t) = (x*, p*) + E exp(M t) a + U exp(N (t - T)) b,

E, U bases of the stable and the unstable subspace of the Hamiltonian matrix, on which it acts as M
and N; a and b follow from x(0) = initial and p(T) = 0, a system that stays well conditioned however
long the horizon.  With (dx, dp) the distance to (x*, p*),

    J(T) = T l(x*, u*) + <p*, x(0) - x(T)> + <dp(0), dx(0)> / 2 - <dp(T), dx(T)> / 2.

Derivation: l - l* + <p*, F> is half the quadratic form of the second derivatives, and d/dt <dp, dx>
is minus that form along the solution.
"""

from dataclasses import dataclass, field

import numpy as np
import scipy.linalg

from continuum.activations import identity
from continuum.arrays import Array
from continuum.checks import check_positive
from continuum.doors import checked
from continuum.networks import Chain
from continuum.networks.maps import Pointwise
from continuum.problem import LearningProblem
from continuum.records import short

from ..adjoint.linear_quadratic import has_constant_curvature
from .spectra import HamiltonianSpectrum, spectrum
from .stage import Stage
from .static import StaticOptimum, static_optimum

_POINTS = 6
"""Random points at which second derivatives are compared."""


@dataclass(frozen=True, eq=False)
class QuadraticSolution:
    """The minimiser of a linear-quadratic problem on (0, T), of the differential equation.

    horizon : T
    value : J(T)
    static, spectrum : the static optimum, and the splitting there
    """

    horizon: float
    value: float
    static: StaticOptimum
    spectrum: HamiltonianSpectrum
    stage: Stage = field(repr=False)
    _entry: Array = field(repr=False)
    _exit: Array = field(repr=False)

    __repr__ = short

    def states(self, times: Array) -> Array:
        """x at times (S,): states (S, N, M)."""
        x = self._at(times)[0]
        return np.stack([self.static.state + self.stage.unpack_state(dx) for dx in x])

    def costates(self, times: Array) -> Array:
        """Costates of each sample's own cost at times (S,): (S, N, M)."""
        p = self._at(times)[1]
        return np.stack([self.static.costate + self.stage.unpack_costate(dp) for dp in p])

    def values(self, times: Array) -> dict[str, Array]:
        """The control at times (S,), by block: (S, *block.shape)."""
        x, p = self._at(times)
        found = self.spectrum.linearisation
        change = -np.linalg.solve(found.R, found.S.T @ x.T + found.B.T @ p.T).T
        each = [self.stage.unpack_control(du) for du in change]
        return {n: np.stack([self.static.values[n] + c[n] for c in each]) for n in each[0]}

    def _at(self, times: Array) -> tuple[Array, Array]:
        """(dx, dp) at times: (S, n) each."""
        return _combined(self.spectrum, self.horizon, self._entry, self._exit, times)


@checked
def linear_quadratic(problem: LearningProblem) -> str:
    """Why the problem is not linear-quadratic; empty if it is.

    Structure: the network a chain whose activations are the identity, the running cost a squared
    error of the state or of a projection, the penalty lambda |c|^2.  Then the second derivatives of
    the velocity at random points, which vanish for chains that are linear in (state, control)
    together.
    """
    network, running = problem.network, problem.functional.running
    if not isinstance(network, Chain) or any(
        isinstance(one, Pointwise) and one.activation is not identity for one in network.maps
    ):
        return "the network has an activation other than the identity, or is no chain"
    if running is None or not has_constant_curvature(running):
        return "the running cost is not the squared error of the state or of a Projection"
    if problem.functional.quadratic is None:
        return "the penalty is not lambda |c|^2"
    stage, rng = Stage(problem), np.random.default_rng(0)
    for _ in range(_POINTS):
        points = (rng.standard_normal(n) for n in (stage.states, stage.controls, stage.states))
        second = stage.second(*points)
        size = max(float(np.max(np.abs(x))) for x in (second.pxx, second.pxu, second.puu))
        if size > 1e-12:
            return f"the velocity has second derivatives, of size {size:.3g} at a random point"
    return ""


def free(problem: LearningProblem) -> bool:
    """True if nothing is asked of the last state and of the control's values."""
    return problem.terminal is None and problem.endpoint is None and problem.admissible is None


@checked
def solve_quadratic(problem: LearningProblem, horizon: float | None = None) -> QuadraticSolution:
    """The exact minimiser of a linear-quadratic problem without terminal cost.

    horizon : T, the problem's unless given; layers play no part
    raises ValueError for a problem that is not linear-quadratic, or has a terminal cost, an
        endpoint or an admissible set; NoSpectralGap
    """
    reason = linear_quadratic(problem)
    if reason:
        raise ValueError(f"problem is not linear-quadratic: {reason}")
    if not free(problem):
        raise ValueError(
            "problem must have neither a terminal cost, nor an endpoint, nor an admissible set here"
        )
    T = check_positive("horizon", problem.mesh.horizon if horizon is None else horizon)
    stage, static = Stage(problem), static_optimum(problem)
    if static.kind != "regular":
        raise ValueError("problem: its network has no drift, so its static optimum is no point")
    found = spectrum(problem, static)
    n = stage.states
    start = stage.pack_state(problem.initial - static.state)
    multiplier = stage.pack_costate(static.costate)
    E, U = found.entry.basis, found.exit.basis
    fall = scipy.linalg.expm(found.entry.matrix * T)
    rise = scipy.linalg.expm(-found.exit.matrix * T)
    ends = np.block([[E[:n], U[:n] @ rise], [E[n:] @ fall, U[n:]]])  # (a, b) -> (dx(0), dp(T))
    amounts = np.linalg.solve(ends, np.concatenate([start, -multiplier]))
    x, p = _combined(found, T, amounts[:n], amounts[n:], np.array([0.0, T]))
    value = T * static.value + float(multiplier @ (x[0] - x[1]))
    value += 0.5 * float(p[0] @ x[0]) - 0.5 * float(p[1] @ x[1])
    return QuadraticSolution(T, value, static, found, stage, amounts[:n], amounts[n:])


def _combined(
    found: HamiltonianSpectrum, T: float, entry: Array, exit_: Array, times: Array
) -> tuple[Array, Array]:
    """(dx, dp) at `times` of amounts of the stable directions at 0 and of the unstable ones at
    T.
    """
    order = np.argsort(times)
    since, n = np.asarray(times, dtype=float)[order], len(entry)
    both = np.empty((len(since), 2 * n))
    entering = _along(found.entry.matrix, entry, np.diff(since, prepend=0.0))
    leaving = _along(-found.exit.matrix, exit_, np.diff(T - since[::-1], prepend=0.0))[::-1]
    both[order] = entering @ found.entry.basis.T + leaving @ found.exit.basis.T
    return both[:, :n], both[:, n:]


def _along(matrix: Array, start: Array, steps: Array) -> Array:
    """exp(matrix t) @ start at the sums t of the first 1, 2, ... steps; equal steps share one
    exponential.
    """
    known: dict[float, Array] = {}
    found, here = np.empty((len(steps), len(start))), start
    for k, h in enumerate(steps):
        if float(h) not in known:
            known[float(h)] = scipy.linalg.expm(matrix * h)
        here = known[float(h)] @ here
        found[k] = here
    return found
