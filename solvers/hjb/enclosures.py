"""Bounds that hold: of velocities and costs on boxes of states, and of the states that are reached.

The preactivations of all controls lie between low(R) and high(R), R the inputs of the units: low is
a minimum of functions linear in R, so concave, high is convex.  Where R = phi(f) rises with f, the
least of low over a box of states is therefore its value at one of the 2^N corners, and where R is f
times weights, low lies above its multilinear interpolant from the corners, high below.  What else
is used:

    phi      |phi(x) - chord| <= min(h^2 sup |phi''| / 8, |phi(x + h) - phi(x)|)
    psi      rises, and with g the interpolant of low and its changes d_j g along the edges of a
             box, |psi(g) - interpolant of psi(g)| <= min(sup |psi''| sum_j (d_j g)^2 / 8,
             the change of psi(g) over the box)
    costs    a quadratic of the outputs has exact Bernstein coefficients; a convex one lies above
             its tangents

Every result is moved outwards by its rounding errors: activations are good to 1e-12 relative (see
activations.py), sums of P products to P units in the last place.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from continuum.activations import Activation, arctan, identity, sigmoid, softplus, tanh
from continuum.arrays import Array
from continuum.functional import RunningCost, Tracking
from continuum.losses import AbsoluteError, CrossEntropy, Logistic, SquaredError
from continuum.problem import LearningProblem
from continuum.readouts import Affine, Integral, Projection, Softmax, State

from .bernstein import Law
from .separable import SeparableHamiltonian, entry_bounds

ROUNDING = 2e-12
"""Relative to the largest terms of a sum: the errors of activations are below 1e-12."""
_CURVATURE = {
    identity.name: 0.0,
    tanh.name: 0.7698003589195011,
    sigmoid.name: 0.0962250448649377,
    arctan.name: 0.6495190528383291,
    softplus.name: 0.2500000000000001,
}
"""sup |sigma''|, rounded up: 4 / 27^(1/2), 1 / (6 3^(1/2)), 27^(1/2) / 8, 1 / 4."""
_INFLATION, _TRIES, _SUBSTEPS = 0.1, 40, 8
_CONVEX = (SquaredError, AbsoluteError, Logistic, CrossEntropy)


def enclosable(h: SeparableHamiltonian) -> str:
    """Why no bound is proved for this Hamiltonian, in words; empty if there is one."""
    rows = h.rows
    phi, problem = rows.phi or identity, h.problem
    bounds = [entry_bounds(problem, b.name) for b in problem.space.trained]
    if not h.autonomous:
        return "fixed blocks, targets or running costs that move in time are not enclosed"
    if h.kind == "scalar":
        return "a penalised control before an activation other than identity is not enclosed"
    if not all(b is None or np.isfinite(b).all() for b in bounds):
        return "controls without bounds reach any state: add a Box to the problem"
    if not phi.monotone:
        return f"{phi} falls somewhere, so that the inputs' range is not that of their ends"
    if phi is not identity and (h.kind == "entries" or any(b is None for b in bounds)):
        return f"inputs {phi}(f) in a problem with a penalty or a set that couples entries"
    for cost in (problem.functional.terminal, problem.functional.running):
        reason = unknown_cost(cost)
        if reason:
            return reason
    return ""


# -- velocities


@dataclass(frozen=True, eq=False)
class Velocities:
    """Bounds of the velocities of a Hamiltonian for which `enclosable` is empty."""

    hamiltonian: SeparableHamiltonian

    def between(self, low: Array, high: Array) -> tuple[Array, Array]:
        """(N,) each: bounds of all velocities at the states from low to high (N,)."""
        units = len(low)
        corner = np.indices((2,) * units).reshape(units, -1)
        at = np.where(corner == 1, high[:, None], low[:, None])
        slow, fast = self._preactivations(at)
        slow, fast = np.min(slow, axis=1, keepdims=True), np.max(fast, axis=1, keepdims=True)
        slow, fast = self._activated(slow, -1.0)[:, 0], self._activated(fast, 1.0)[:, 0]
        return np.broadcast_to(slow, (units,)), np.broadcast_to(fast, (units,))

    def law(self, axes: tuple[Array, ...]) -> Law:
        """H - L on the lattice with these axes, for boxes between neighbouring points."""
        h, units = self.hamiltonian, len(axes)
        shape = tuple(len(x) for x in axes)
        f = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")])
        weights, none = h.weights, np.zeros(0)
        low, high = self.between(np.array([x[0] for x in axes]), np.array([x[-1] for x in axes]))
        fastest = np.maximum(np.abs(low), np.abs(high))
        if h.kind == "entries":
            features = h.features(f)
            still = np.broadcast_to(h.still(f, 0.0), (units, f.shape[1]))
            data = np.ascontiguousarray(np.concatenate([features.r, still]))
            measure, strength = features.measure, features.strength
            return Law(True, data, weights, measure, features.low, features.high, strength, fastest)
        found = []
        for sign, g in zip((-1.0, 1.0), self._preactivations(f), strict=True):
            g = g.reshape(len(g), *shape)
            g = g + sign * self._input_error(axes)
            v = self._activated(g, sign)
            error = _interpolation_error(v, g, h.rows.psi or identity)
            if np.any(error):
                v = v + sign * _spread(error)
            found.append(v.reshape(len(v), -1))
        rows = max(len(v) for v in found)
        data = np.concatenate([np.broadcast_to(v, (rows, v.shape[1])) for v in found])
        data = np.ascontiguousarray(data)
        return Law(False, data, weights, none, none, none, none, fastest)

    def _preactivations(self, f: Array) -> tuple[Array, Array]:
        """The least and the largest at states (N, L): (N, L) or (1, L) each, rounded outwards.

        The errors of a row are those of its terms |c_ij R_j|, which are no more than `sizes`; the
        state itself is only known to its own rounding error.
        """
        h = self.hamiltonian
        low, high = h.reach(f, 0.0)
        size = ROUNDING * (self._gain * np.max(np.abs(f)) + self._rest)
        return low - size, high + size

    @property
    def _gain(self) -> float:
        """max_i sum_j |c_ij m_j| times the Lipschitz constant of phi, for the largest c."""
        h = self.hamiltonian
        rows, problem, units = h.rows, h.problem, len(h.weights)
        measure = np.ones(units) if rows.weights is None else rows.weights
        steep = (rows.phi or identity).lipschitz
        held = problem.space.held(0, 0.0)
        if rows.block in held:
            return steep * float(np.max(np.abs(held[rows.block]) @ measure))
        bounds = entry_bounds(problem, rows.block)
        if bounds is None:
            ends = np.concatenate(h.reach(np.ones((units, 1)), 0.0), axis=1)
            return steep * (float(np.max(np.abs(ends))) + self._rest)
        return steep * max(abs(b) for b in bounds) * float(np.sum(measure))

    @property
    def _rest(self) -> float:
        """The largest of the preactivations at f = 0, and what phi(0) adds."""
        h = self.hamiltonian
        ends = np.concatenate(h.reach(np.zeros((len(h.weights), 1)), 0.0), axis=1)
        return float(np.max(np.abs(ends)))

    def _input_error(self, axes: tuple[Array, ...]) -> float:
        """What the distance of phi from its chords between points of the lattice adds."""
        phi = self.hamiltonian.rows.phi or identity
        if phi is identity:
            return 0.0
        worst = 0.0
        for x in axes:
            change = np.abs(np.diff(phi.value(x)))
            bent = np.diff(x) ** 2 * _CURVATURE.get(phi.name, np.inf) / 8.0
            worst = max(worst, float(np.max(np.minimum(change, bent))))
        return worst * self._gain / phi.lipschitz * (1.0 + 1e-9) + ROUNDING

    def _activated(self, g: Array, sign: float) -> Array:
        """psi(g), rounded in this direction."""
        psi = self.hamiltonian.rows.psi
        if psi is None or psi is identity:
            return g
        v = psi.value(g + sign * ROUNDING * np.abs(g))
        return v + sign * ROUNDING * np.abs(v)


def _interpolation_error(v: Array, g: Array, psi: Activation) -> Array:
    """On every box of the lattice, for v = psi(g) (U, *shape): see the head of this file."""
    if psi is identity:
        return np.zeros(1)
    axes = tuple(range(1, g.ndim))
    curvature = _CURVATURE.get(psi.name, np.inf)
    bent = np.zeros(())
    for axis in axes:
        change = np.diff(g, axis=axis) ** 2
        for other in axes:
            if other != axis:
                change = _pairs(change, other)
        bent = bent + change
    high, low = v, -v
    for axis in axes:
        high, low = _pairs(high, axis), _pairs(low, axis)
    bent = np.where(bent > 0.0, bent, 0.0) * (min(curvature, 1e300) / 8.0)
    return np.minimum(bent, high + low) * (1.0 + 1e-9)


def _pairs(x: Array, axis: int) -> Array:
    """The larger of each two neighbours."""
    x = np.moveaxis(x, axis, 0)
    return np.moveaxis(np.maximum(x[1:], x[:-1]), 0, axis)


def _spread(x: Array) -> Array:
    """At every point of the lattice the largest number of the boxes that it belongs to."""
    for axis in range(1, x.ndim):
        ends = [(0, 0)] * x.ndim
        ends[axis] = (1, 1)
        x = _pairs(np.pad(x, ends, mode="edge"), axis)
    return x


def reachable(velocities: Velocities, start: Array, knots: Array) -> tuple[Array, Array]:
    """(low, high), (len(knots) - 1, N) each: boxes that hold every state that an admissible control
    reaches between two knots.

    In short steps s: if the box B contains X + [0, s] F(B), X the box at the beginning, no solution
    leaves B during the step, and it ends in X + s F(B).
    raises ValueError where no box is found
    """
    low = high = np.array(start, dtype=float)
    lows, highs = [], []
    for first, last in pairwise(knots):
        step = (last - first) / _SUBSTEPS * (1.0 + 1e-14)
        bottom, top = low, high
        for _ in range(_SUBSTEPS):
            slow, fast = picard(velocities, low, high, step)
            bottom = np.minimum(bottom, low + step * np.minimum(slow, 0.0))
            top = np.maximum(top, high + step * np.maximum(fast, 0.0))
            low, high = _outwards(low + step * slow, high + step * fast)
        bottom, top = _outwards(bottom, top)
        lows.append(bottom)
        highs.append(top)
    return np.array(lows), np.array(highs)


def picard(velocities: Velocities, low: Array, high: Array, step: float) -> tuple[Array, Array]:
    """Bounds (N,) of all velocities within `step` of the states from low to high."""
    slow, fast = velocities.between(low, high)
    for _ in range(_TRIES):
        margin = 1e-14 * (1.0 + np.abs(low) + np.abs(high))
        room = _INFLATION * step * (fast - slow + np.abs(slow) + np.abs(fast)) + 2.0 * margin
        bottom = low + step * np.minimum(slow, 0.0) - room
        top = high + step * np.maximum(fast, 0.0) + room
        slow, fast = velocities.between(bottom, top)
        below, above = low + step * np.minimum(slow, 0.0), high + step * np.maximum(fast, 0.0)
        if np.all(below >= bottom + margin) and np.all(above <= top - margin):
            return slow, fast
    raise ValueError("the reachable set is not enclosed: the horizon is too long")


def _outwards(low: Array, high: Array) -> tuple[Array, Array]:
    """Moved by more than the rounding errors of one step."""
    size = 1e-15 * (1.0 + np.abs(low) + np.abs(high))
    return low - size, high + size


# -- costs


def unknown_cost(cost: RunningCost | None) -> str:
    """Why a cost is not enclosed, in words; empty if it is: a known convex loss, which is never
    negative, of a readout linear in the state, with a target that does not move.
    """
    if cost is None:
        return ""
    if not isinstance(cost, Tracking) or callable(cost.target):
        return f"the cost {cost!r} is not enclosed: a loss of a readout, with a fixed target, is"
    readout = cost.readout
    linear = isinstance(readout, State | Projection) or (
        isinstance(readout, Affine | Integral)
        and not isinstance(readout, Softmax)
        and readout.link is identity
    )
    if not linear:
        return f"the readout {readout!r} is not linear in the state"
    if not isinstance(cost.loss, _CONVEX):
        return f"the loss {cost.loss!r} is not known to be convex"
    return ""


def affine_outputs(problem: LearningProblem, cost: Tracking) -> tuple[Array, Array, Array]:
    """(A, b, v) with the outputs A f + b, (P, N) and (P,), and their measure v (P,)."""
    network, readout = problem.network, cost.readout
    if readout is None:
        raise ValueError("this Tracking has no readout")
    units, held = len(network.weights), problem.space.held(0, 0.0)
    b = readout.output(network, np.zeros((units, 1)), held)
    a = readout.output(network, np.eye(units), held) - b
    return a, b[:, 0], readout.measure(network)


def cost_coefficients(
    problem: LearningProblem, cost: RunningCost | None, centres: Array, spacings: Array
) -> Array:
    """(3^N, C): Bernstein coefficients of degree 2 of functions that lie below a cost, one for each
    cell with these centres (N, C) and spacings (N,), for a cost that `enclosable` lets pass.
    """
    units, count = centres.shape
    corner = np.indices((3,) * units).reshape(units, -1) - 1
    if cost is None:
        return np.zeros((corner.shape[1], count))
    if not isinstance(cost, Tracking) or cost.target is None or callable(cost.target):
        raise TypeError("the cost changed")
    a, b, v = affine_outputs(problem, cost)
    shift, y = 0.5 * spacings[:, None] * corner, cost.target[:, :1]
    if isinstance(cost.loss, SquaredError):
        e = a @ centres + b[:, None] - y
        moved = e[:, None, :] + (a @ shift)[:, :, None]
        found = cost.loss.weight * np.einsum("p,pac->ac", v, moved * moved)
        bend = cost.loss.weight * (v @ (a * a)) * (0.5 * spacings) ** 2
        found -= (bend @ (corner == 0))[:, None]
        size = cost.loss.weight * float(
            v @ np.max((np.abs(a) @ np.abs(centres) + np.abs(b[:, None]) + np.abs(y)) ** 2, axis=1)
        )
        return found - ROUNDING * (size + float(np.sum(bend)))
    o = a @ centres + b[:, None]
    value, slope = cost.loss.value_and_gradient(o, y, v)
    tangent = a.T @ (v[:, None] * slope)
    found = value + np.einsum("ia,ic->ac", shift, tangent)
    return found - ROUNDING * (1.0 + np.max(np.abs(value)) + np.max(np.abs(o)) * np.max(v))
