"""The Hamiltonian of one sample as a sum over units, for sweeps on grids of states.

With the partial derivatives q_i = dV/df_i = w_i p_i of a value function, p its derivative in the
units' weights w (the costate),

    min_c [ sum_i q_i F_i(f, c, t) + L(f, t) + r(c) ] = L(f, t) + sum_i h_i(q_i; f, t),

where every unit reads a row of its own, F_i = psi(u_i), u_i = still_i(f, t) + a_i + sum_j c_ij R_j,
R_j = m_j r_j the inputs phi(f_j) with the measure m_j of their label, and still_i what blocks that
are not trained add.  Of a_i and c_ij those that are trained are chosen.  Three kinds:

    interval   a bounded set without penalty and a psi that never falls: the unit's velocity is any
               number between lo_i(f, t) and hi_i(f, t), and h_i = min(q_i lo_i, q_i hi_i)
    entries    psi the identity, Tikhonov terms lambda_k, entries in [lo_k, hi_k], perhaps infinite:
               h_i = q_i still_i + w_i sum_k m_k min_c [p_i r_k c + lambda_k c^2], k = 0 the bias
               with m_0 = r_0 = 1
    scalar     any psi that never falls, Tikhonov on all trained blocks, no set: with
               kappa = sum_k m_k r_k^2 / lambda_k,  h_i = w_i min_s [p_i psi(s) + (s -
               still_i)^2 / kappa]

Every h_i is concave, its derivative in q_i is the velocity F_i of the minimiser.
Source: Liu and Markowich section 4.3, with E30 to E32; formulas 1 (4) and 1 (5) of the ledger.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from continuum.activations import identity
from continuum.arrays import Array
from continuum.endpoints import no_endpoint
from continuum.functional import RunningCost, Tracking
from continuum.losses import SquaredError
from continuum.networks import Chain, Rows
from continuum.problem import LearningProblem
from continuum.readouts import State
from continuum.records import short
from continuum.sets import FiniteSet

from ..pontryagin.minimisers import (
    affine_minimiser,
    closed_form,
    degree_one,
    obstacle,
    quadratic,
    row_gradient,
    rows_of,
    sets,
    unbounded,
)
from ..pontryagin.row_problems import multipliers

Kind = Literal["interval", "entries", "scalar"]

_CHUNK = 4_000_000
"""Entries of the control that are formed at once where a set couples them."""


@dataclass(frozen=True, eq=False)
class Features:
    """What a unit's row multiplies at L states, the bias first: r (P, L), and of each of the P
    entries its measure m, its bounds and its Tikhonov term lambda, (P,) each.
    """

    r: Array
    measure: Array
    low: Array
    high: Array
    strength: Array

    __repr__ = short


@dataclass(frozen=True, eq=False)
class SeparableHamiltonian:
    """See the head of this file.  Made by `separable`.

    problem : of one sample
    kind : which of the three
    rows : what the units read
    weights : (N,), w
    autonomous : nothing depends on time but the control
    """

    problem: LearningProblem
    kind: Kind
    rows: Rows
    weights: Array
    autonomous: bool

    __repr__ = short

    # -- costs

    def terminal(self, f: Array) -> Array:
        """(L,): the terminal cost at states (N, L)."""
        return self.problem.functional.terminal_costs(f)

    def running(self, f: Array, t: float) -> Array:
        """(L,): the running cost L."""
        return self.problem.functional.running_costs(f, {}, t)

    @property
    def has_running_cost(self) -> bool:
        """False where L = 0."""
        return self.problem.functional.running is not None

    @property
    def bounded(self) -> bool:
        """True if velocities have a bound at every state."""
        if self.kind == "scalar":
            return (self.rows.psi or identity).bounded
        bounds = [entry_bounds(self.problem, b) for b in self._trained]
        return all(pair is None or bool(np.isfinite(pair).all()) for pair in bounds)

    # -- what compiled loops read

    def velocity_bounds(self, f: Array, t: float) -> tuple[Array, Array]:
        """lo, hi, (N, L) each, at states (N, L): of the kind "interval"."""
        self._check("interval")
        low, high = self.reach(f, t)
        psi, shape = self.rows.psi or identity, f.shape
        return np.broadcast_to(psi.value(low), shape), np.broadcast_to(psi.value(high), shape)

    def reach(self, f: Array, t: float, layer: int | None = None) -> tuple[Array, Array]:
        """The least and the largest preactivation, (N, L) each, or (1, L) where units are alike."""
        rows, still = self.rows, self.still(f, t, layer)
        bounds = self.bounds
        if None in bounds.values():
            return self._reach_by_support(f, still)
        low = high = still if np.any(still) else np.zeros((1, 1))
        offset = bounds.get(str(rows.offset))
        if offset is not None:
            low, high = low + offset[0], high + offset[1]
        entries = bounds.get(rows.block)
        if entries is not None:
            inputs = self._inputs(f)
            up = np.sum(np.maximum(inputs, 0.0), axis=0)
            down = np.sum(np.minimum(inputs, 0.0), axis=0)
            low = low + (entries[0] * up + entries[1] * down)
            high = high + (entries[1] * up + entries[0] * down)
        return low, high

    def features(self, f: Array) -> Features:
        """Of the trained blocks, for the kinds "entries" and "scalar"."""
        self._check("entries", "scalar")
        rows, inputs, strengths = self.rows, self._inputs(f), quadratic(self.problem)
        measure = np.ones(len(inputs)) if rows.weights is None else rows.weights
        parts: list[tuple[Array, Array, str]] = []
        if rows.offset in self._trained:
            parts.append((np.ones((1, f.shape[1])), np.ones(1), str(rows.offset)))
        if rows.block in self._trained:
            parts.append((inputs / measure[:, None], measure, rows.block))
        bounds = [self.bounds[name] or (-np.inf, np.inf) for *_, name in parts]
        counts = [len(m) for _, m, _ in parts]
        return Features(
            np.concatenate([r for r, *_ in parts]),
            np.concatenate([m for _, m, _ in parts]),
            np.repeat([b[0] for b in bounds], counts),
            np.repeat([b[1] for b in bounds], counts),
            np.repeat([strengths[name] for *_, name in parts], counts),
        )

    def still(self, f: Array, t: float, layer: int | None = None) -> Array:
        """(N, L), or (N, 1) where it is the same at all states: what fixed blocks add to u."""
        rows, held = self.rows, self.held(t, layer)
        total = np.zeros((len(self.weights), 1))
        if rows.offset in held:
            total = total + held[str(rows.offset)][:, None]
        if rows.block in held:
            total = total + held[rows.block] @ self._inputs(f)
        return total

    # -- the reference

    def value(self, f: Array, q: Array, t: float) -> Array:
        """(L,): L + sum_i h_i(q_i) at states f (N, L) and partial derivatives q (N, L)."""
        return self.running(f, t) + np.sum(self.parts(f, q, t)[0], axis=0)

    def velocity(self, f: Array, q: Array, t: float) -> Array:
        """(N, L): F of a minimiser; of the kind "interval" the lower end where q = 0."""
        return self.parts(f, q, t)[1]

    def parts(self, f: Array, q: Array, t: float) -> tuple[Array, Array]:
        """h_i(q_i) and its derivative, the velocity: (N, L) each."""
        if self.kind == "interval":
            low, high = self.velocity_bounds(f, t)
            v = np.where(q < 0.0, high, low)
            return q * v, v
        w = self.weights[:, None]
        p, still, features = q / w, np.broadcast_to(self.still(f, t), f.shape), self.features(f)
        if self.kind == "entries":
            slope = p[:, None, :] * features.r
            m, strength = features.measure[:, None], features.strength[:, None]
            low, high = features.low[:, None], features.high[:, None]
            free = np.where(slope > 0.0, low, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                inside = np.clip(-slope / (2.0 * strength), low, high)
            c = np.where(strength > 0.0, inside, free)
            v = still + np.sum(m * features.r * c, axis=1)
            return q * v + w * np.sum(m * strength * c * c, axis=1), v
        kappa = np.sum((features.measure / features.strength)[:, None] * features.r**2, axis=0)
        psi, shape = self.rows.psi or identity, f.shape
        at, first = np.broadcast_to(kappa, shape).ravel(), still.ravel()

        def respond(mu: Array, number: Array) -> tuple[Array, Array]:
            bend = at[number]
            return first[number] + 0.5 * bend * mu, 0.25 * bend * mu * mu

        mu = multipliers(psi, p.ravel(), respond)[0]
        s, penalty = respond(mu, np.arange(mu.size))
        v = psi.value(s).reshape(shape)
        return q * v + w * penalty.reshape(shape), v

    # -- parts

    def _check(self, *kinds: Kind) -> None:
        if self.kind not in kinds:
            raise TypeError(f"this Hamiltonian is of the kind {self.kind!r}, not {kinds!r}")

    def _inputs(self, f: Array) -> Array:
        """(N, L): R."""
        return self.rows.inputs(f)

    @property
    def _trained(self) -> set[str]:
        return {b.name for b in self.problem.space.trained}

    @cached_property
    def bounds(self) -> dict[str, tuple[float, float] | None]:
        """The bounds of every entry of each trained block; None where a set couples entries."""
        return {b.name: entry_bounds(self.problem, b.name) for b in self.problem.space.trained}

    def held(self, t: float, layer: int | None = None) -> dict[str, Array]:
        """The values of the blocks that are not trained, continued from inside a layer to its ends;
        from the right if no layer is given.
        """
        mesh = self.problem.mesh
        return self.problem.space.held(mesh.layer_of(t) if layer is None else layer, t)

    def _reach_by_support(self, f: Array, still: Array) -> tuple[Array, Array]:
        """The same for sets that couple the entries of a row, by their extreme rows."""
        units, count = f.shape
        size, ends = max(1, _CHUNK // units**2), []
        for sign in (1.0, -1.0):
            parts = []
            for start in range(0, count, size):
                x = f[:, start : start + size].T[:, :, None]
                slope = row_gradient(self.problem, self.rows, x, np.full_like(x, sign))
                row = affine_minimiser(self.problem, slope, {n: 0.0 * g for n, g in slope.items()})
                u = np.zeros(x.shape[:2])
                if self.rows.offset in row:
                    u = u + row[str(self.rows.offset)]
                if self.rows.block in row:
                    inputs = self._inputs(x[..., 0].T).T
                    u = u + np.einsum("lij,lj->li", row[self.rows.block], inputs)
                parts.append(u.T)
            ends.append(still + np.concatenate(parts, axis=1))
        return ends[0], ends[1]


def entry_bounds(problem: LearningProblem, name: str) -> tuple[float, float] | None:
    """(low, high) of every entry of a trained block of the problem; those of the hull of a
    FiniteSet; None where a set couples entries.
    """
    if problem.admissible is None:
        return -np.inf, np.inf
    for part in problem.admissible.parts:
        if isinstance(part, FiniteSet) and name in part.named(problem.space):
            return float(part.values[name][0]), float(part.values[name][-1])
    return problem.admissible.interval(name, problem.space)


def squared_error(cost: RunningCost | None, units: int) -> tuple[float, Array] | None:
    """(theta, y (N,)) of a cost theta |f - y|^2 of the state, y the same at all times; zeros for no
    cost, None for another one.
    """
    if cost is None:
        return 0.0, np.zeros(units)
    if not isinstance(cost, Tracking) or not isinstance(cost.readout, State):
        return None
    if type(cost.loss) is not SquaredError or callable(cost.target):
        return None
    return cost.loss.weight, np.asarray(cost.target)[:, 0]


def separable(problem: LearningProblem) -> SeparableHamiltonian:
    """The Hamiltonian of a problem of one sample, as a sum over its units.

    raises TypeError for an endpoint; ValueError that says why there is none: several samples,
        trained blocks that are constant in time (hold them with `holding`), a penalty that is no
        Tikhonov term, a set that couples rows, blocks neither bounded nor penalised, a running
        cost that reads the control, units that read no rows
    """
    no_endpoint(problem.endpoint, "the Hamilton-Jacobi-Bellman equation")
    reason = _reason(problem)
    if reason:
        raise ValueError(
            f"problem: the Hamilton-Jacobi-Bellman equation is not solved here: {reason}"
        )
    rows = rows_of(problem)
    if rows is None:
        raise TypeError("the problem changed")
    penalised = any(quadratic(problem).values())
    affine = (rows.psi or identity) is identity
    kind: Kind = "interval" if not penalised else "entries" if affine else "scalar"
    return SeparableHamiltonian(problem, kind, rows, problem.network.weights, _autonomous(problem))


def _reason(problem: LearningProblem) -> str:
    """Why there is no separable Hamiltonian, in words; empty if there is one."""
    samples = problem.initial.shape[1]
    if samples != 1:
        return (
            f"the problem has {samples} samples, which share one control, and the equation is one "
            "sample's: take problem.batch([m]), or lower_bound, which sums over samples"
        )
    obstructed = obstacle(problem)
    if obstructed:
        return obstructed
    space, network = problem.space, problem.network
    read = {b.name for b in space.trained} & set(problem.functional.running_reads)
    if read:
        return f"the running cost reads {', '.join(sorted(read))}, a part of the control"
    if degree_one(problem) is not None:
        return "the penalty L1 is not squared: Tikhonov alone is known here"
    if not isinstance(network, Chain) or network.rows is None:
        return (
            f"{network!r} is no network whose units read rows of their own, psi(a_i + sum_j c_ij "
            "phi(f_j))"
        )
    coupled = [p for p in sets(problem) if not p.by_rows(space)]
    if coupled:
        return f"the set {coupled[0]!r} couples the rows of different units"
    missing = unbounded(problem)
    if missing:
        return missing
    psi, strengths = network.rows.psi or identity, quadratic(problem)
    if not psi.monotone:
        return f"{psi} falls somewhere, so that extreme rows do not bound the velocity"
    if closed_form(problem) == "local":
        return "no closed form of the least Hamiltonian is known"
    if any(strengths.values()) and any(
        entry_bounds(problem, b.name) is None for b in space.trained
    ):
        return "a penalised control in a set that couples entries: a Box is known here"
    if any(strengths.values()) and psi is not identity:
        free = [n for n, s in strengths.items() if not s]
        if free or problem.admissible is not None:
            return f"a penalised control before {psi} is known without a set, all blocks penalised"
    return ""


def _autonomous(problem: LearningProblem) -> bool:
    """True if fixed blocks and the running cost are the same at all times, as far as values of
    blocks and types of costs tell.
    """
    space, running = problem.space, problem.functional.running
    timed = any(space.axes[n].length and np.any(x != x[:1]) for n, x in space.fixed.items())
    still = running is None or (isinstance(running, Tracking) and not callable(running.target))
    return still and not timed
