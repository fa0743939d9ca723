"""Values along characteristics, for any number of units.

From an end state f(T) the state-costate equations of Pontryagin's principle are integrated
backwards; with p the derivative of V in the units' weights and c the minimiser of the Hamiltonian,

    f' = F(f, c),   p' = -(D_f F)* p - D_f L,   V' = -(L + r(c)),
    p(T) = D terminal,   V(f(T), T) = terminal cost.

The number V found with (t, f) is the cost of the admissible control that the characteristic
carries: an upper bound of the value function there, up to the error of the integration.  It is the
value as long as that control is optimal: from T back to where the characteristic meets another one
whose number is lower.  Beyond there it is only an upper bound, and nothing in this file tells:
the lowest of several characteristics through one point, a grid, or a lower bound does.  States
that only non-smooth parts of V lead to (ridges' singular arcs) lie on no characteristic.

Of the kind "interval" the extreme rows, that is the signs of p_i and of the inputs R_j, stay what
they are during a step of RK4, and a step ends where a sign changes: errors are of fourth order.
Sets that couple the entries of a row, such as a Ball, end steps at zeros of p_i alone: where R_j
changes its sign, errors are of second order.  So they are at the bounds of penalised entries.
Source: Liu and Markowich, Remark 4.4 with E31; Evans, Partial Differential Equations, 3.3.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from continuum.activations import identity
from continuum.arrays import Array
from continuum.checks import check_array, check_count, check_type
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from ..pontryagin.extremals import Extremal
from ..pontryagin.hamiltonian import Hamiltonian
from .separable import SeparableHamiltonian, separable

_ROUNDS = 40
"""Parts that a step may be cut into by changes of sign."""

_LARGEST = 1e6
"""Growth, relative to 1 + the largest number at T, at which a characteristic is given up."""

_ZERO = 1e-12
"""A switching function nearer to 0 than this share of the largest has not changed its sign."""


@dataclass(frozen=True, eq=False)
class Characteristics:
    """Extremals of one problem by their last states; see the head of this file.

    times : (S,), increasing, the last one T
    states, costates : (S, N, L)
    values : (S, L), the cost to go, an upper bound of V(f, t)
    switches : (L,), how many signs changed on the way
    chattering : (L,), True where a step had more changes of sign than are followed
    """

    problem: LearningProblem
    times: Array
    states: Array
    costates: Array
    values: Array
    switches: Array
    chattering: Array

    __repr__ = short

    @property
    def drift(self) -> Array:
        """(L,): how much the Hamiltonian varies along each, which is 0 without error."""
        h = separable(self.problem)
        w = h.weights[:, None]
        found = [
            h.value(f, w * p, t)
            for t, f, p in zip(self.times, self.states, self.costates, strict=True)
        ]
        return np.ptp(found, axis=0)


@checked
def characteristics(problem: LearningProblem, ends: Array, *, steps: int = 200) -> Characteristics:
    """The characteristics that end in given states, at steps + 1 equally spaced times.

    ends : f(T), (N, L)
    steps : of RK4
    raises ValueError where the Hamilton-Jacobi-Bellman equation has no closed Hamiltonian, and for
        a problem that depends on time but for its control; FloatingPointError for a characteristic
        that grows without bound, as penalised kernels allow
    """
    steps = check_count("steps", steps)
    return _integrate(problem, ends, np.linspace(0.0, problem.mesh.horizon, steps + 1), 1)


@checked
def values_along(
    problem: LearningProblem, extremal: Extremal, *, steps: int = 200
) -> Characteristics:
    """The characteristic that ends where an extremal of the problem does, at the extremal's times.

    Its values are the cost to go of the extremal; that its states are the extremal's is a check of
    both.  A singular arc, on which a switching function vanishes, need not be met again.

    extremal : as `shoot` finds it
    steps : the least number of steps of RK4 in all
    raises as `characteristics`; TypeError for no extremal
    """
    check_type("extremal", extremal, Extremal)
    times, steps = extremal.state.times, check_count("steps", steps)
    parts = max(1, -(-steps // (len(times) - 1)))
    return _integrate(problem, extremal.state.final, times, parts)


class _Field(Protocol):
    """The right-hand sides, with a pattern of signs that is kept during a step."""

    def pattern(self, f: Array, p: Array) -> Array: ...

    def margins(self, f: Array, p: Array, pattern: Array) -> Array: ...

    def rates(self, f: Array, p: Array, pattern: Array) -> tuple[Array, Array, Array]: ...


def _integrate(problem: LearningProblem, ends: Array, times: Array, parts: int) -> Characteristics:
    h = separable(problem)
    if not h.autonomous:
        raise ValueError("the problem depends on time: characteristics are not computed for it")
    f = check_array("ends", ends, (len(h.weights), "L"))
    units, count = f.shape
    by_rows = h.kind == "interval" and None not in h.bounds.values()
    field: _Field = _ExtremeRows(h) if by_rows else _Minimised(h)
    p = problem.functional.terminal_vjp(f, {}, np.ones(count))[0]
    z = np.concatenate([f, p, h.terminal(f)[None]])
    pattern = field.pattern(f, p)
    path = np.empty((len(times), *z.shape))
    path[-1], largest = z, _LARGEST * (1.0 + np.max(np.abs(z), axis=0))
    switches, chattering = np.zeros(count, dtype=int), np.zeros(count, dtype=bool)
    for k in range(len(times) - 2, -1, -1):
        dt = (times[k + 1] - times[k]) / parts
        for _ in range(parts):
            z, many = _advance(field, z, pattern, dt, switches)
            chattering |= many
        path[k] = z
        lost = np.flatnonzero(~(np.max(np.abs(z), axis=0) < largest))
        if len(lost):
            raise FloatingPointError(f"characteristic {lost[0]} has no bound near t = {times[k]:g}")
    return Characteristics(
        problem,
        times,
        path[:, :units],
        path[:, units:-1],
        path[:, -1],
        switches,
        chattering,
    )


def _advance(
    field: _Field, z: Array, pattern: Array, dt: float, switches: Array
) -> tuple[Array, Array]:
    """z (2 N + 1, L) a time dt earlier, and where signs changed too often (L,); the pattern and the
    counts of switches are brought up to date in place.
    """
    found, left = z.copy(), np.full(z.shape[1], dt)
    open_ = np.arange(z.shape[1])
    for _ in range(_ROUNDS):
        start, kept, length = found[:, open_], pattern[:, open_], left[open_]
        trial = _step(field, start, kept, length)
        margins = _margins(field, trial, kept)
        crossed = margins < -_ZERO * (1.0 + np.max(np.abs(margins), axis=0, initial=0.0))
        late = np.any(crossed, axis=0)
        found[:, open_] = trial
        if not np.any(late):
            return found, np.zeros(z.shape[1], dtype=bool)
        open_, crossed = open_[late], crossed[:, late]
        start, kept, length = start[:, late], kept[:, late], length[late]
        ends = np.where(crossed, margins[:, late], np.inf).min(axis=0)
        part = _first_zero(field, start, kept, crossed, length, ends)
        there = _step(field, start, kept, part)
        margins = _margins(field, there, kept)
        flipped = crossed & (margins <= 1e-10 * (1.0 + np.max(np.abs(margins), axis=0)))
        pattern[:, open_] = np.where(flipped, -kept, kept)
        switches[open_] += np.sum(flipped, axis=0)
        found[:, open_], left[open_] = there, length - part
    many = np.zeros(z.shape[1], dtype=bool)
    many[open_] = True
    found[:, open_] = _step(field, found[:, open_], pattern[:, open_], left[open_])
    return found, many


def _first_zero(
    field: _Field, z: Array, pattern: Array, crossed: Array, length: Array, ends: Array
) -> Array:
    """(L,): the lengths of the step at which the least margin of those `crossed` vanishes, by the
    Illinois method.

    ends : that margin after the whole `length`, < 0
    """

    def least(part: Array) -> Array:
        margins = _margins(field, _step(field, z, pattern, part), pattern)
        return np.where(crossed, margins, np.inf).min(axis=0)

    low, high, part = np.zeros_like(length), length.copy(), length
    at_low = np.maximum(np.where(crossed, _margins(field, z, pattern), np.inf).min(axis=0), 0.0)
    at_high, side = ends.copy(), np.zeros(len(length))
    for _ in range(60):
        part = high - at_high * (high - low) / np.minimum(at_high - at_low, -1e-300)
        here = least(part)
        after = here < 0.0
        at_low = np.where(after & (side > 0.0), 0.5 * at_low, at_low)
        at_high = np.where(~after & (side < 0.0), 0.5 * at_high, at_high)
        high, at_high = np.where(after, part, high), np.where(after, here, at_high)
        low, at_low = np.where(after, low, part), np.where(after, at_low, here)
        side = np.where(after, 1.0, -1.0)
        if np.all((np.abs(here) <= 1e-14) | (high - low <= 1e-15 * length)):
            break
    return part


def _margins(field: _Field, z: Array, pattern: Array) -> Array:
    units = len(z) // 2
    return field.margins(z[:units], z[units:-1], pattern)


def _step(field: _Field, z: Array, pattern: Array, dt: Array) -> Array:
    """One step of RK4 backwards, of a length dt (L,) of its own for each column."""
    units = len(z) // 2

    def rate(x: Array) -> Array:
        f, p, v = field.rates(x[:units], x[units:-1], pattern)
        return -np.concatenate([f, p, v[None]])

    k1 = rate(z)
    k2 = rate(z + 0.5 * dt * k1)
    k3 = rate(z + 0.5 * dt * k2)
    k4 = rate(z + dt * k3)
    return z + (dt / 6.0) * (k1 + 2.0 * k2 + 2.0 * k3 + k4)


@dataclass(frozen=True, eq=False)
class _ExtremeRows:
    """Without penalty, every entry bounded: c_ij = mid + s_i sigma_j half, a_i = mid + s_i half,
    s_i = -sign p_i and sigma_j = sign R_j.  The pattern is (s, sigma), (2 N, L); 0 where a function
    and its derivative vanish: the middle of the interval, which is admissible too.
    """

    h: SeparableHamiltonian

    def pattern(self, f: Array, p: Array) -> Array:
        inputs = self._inputs(f)
        signs = np.concatenate([-np.sign(p), np.sign(inputs)])
        v, slope, _ = self.rates(f, p, signs)  # towards T, so that the signs before T are minus
        earlier = np.concatenate([np.sign(slope), -np.sign(self._input_slopes(f) * v)])
        return np.where(signs == 0.0, earlier, signs)

    def margins(self, f: Array, p: Array, pattern: Array) -> Array:
        units = len(f)
        return np.concatenate([-pattern[:units] * p, pattern[units:] * self._inputs(f)])

    def rates(self, f: Array, p: Array, pattern: Array) -> tuple[Array, Array, Array]:
        h, rows = self.h, self.h.rows
        s, sigma = pattern[: len(f)], pattern[len(f) :]
        u, inputs = h.still(f, 0.0) + np.zeros_like(f), self._inputs(f)
        entries = h.bounds.get(rows.block)
        offset = h.bounds.get(str(rows.offset))
        if offset is not None:
            u += _middle(offset) + _half(offset) * s
        if entries is not None:
            u += _middle(entries) * np.sum(inputs, axis=0)
            u += _half(entries) * s * np.sum(sigma * inputs, axis=0)
        psi, w = rows.psi or identity, h.weights[:, None]
        share = w * p * psi.derivative(u)
        if entries is None:
            back = h.held(0.0)[rows.block].T @ share
        else:
            back = _middle(entries) * np.sum(share, axis=0)
            back = back + _half(entries) * sigma * np.sum(s * share, axis=0)
        slope = -self._input_slopes(f) * back / w
        running, more = _running(h, f)
        return psi.value(u), slope - more, -running

    def _inputs(self, f: Array) -> Array:
        return self.h.rows.inputs(f)

    def _input_slopes(self, f: Array) -> Array:
        """dR_j/df_j."""
        rows = self.h.rows
        slope = np.ones_like(f) if rows.phi is None else rows.phi.derivative(f)
        return rows.sign * slope * (1.0 if rows.weights is None else rows.weights[:, None])


@dataclass(frozen=True, eq=False)
class _Minimised:
    """Otherwise the minimiser of the Hamiltonian at every point: without penalty that of the signs
    of p, which are the pattern (N, L); with one it is continuous, and the pattern is empty.
    """

    h: SeparableHamiltonian

    def pattern(self, f: Array, p: Array) -> Array:
        if self.h.kind != "interval":
            return np.empty((0, f.shape[1]))
        signs = -np.sign(p)
        return np.where(signs == 0.0, np.sign(self.rates(f, p, signs)[1]), signs)

    def margins(self, f: Array, p: Array, pattern: Array) -> Array:
        return -pattern * p[: len(pattern)]

    def rates(self, f: Array, p: Array, pattern: Array) -> tuple[Array, Array, Array]:
        h, problem = self.h, self.h.problem
        states, costates = f.T[:, :, None], p.T[:, :, None]
        at = Hamiltonian(problem, 0.0, states, -pattern.T[:, :, None] if len(pattern) else costates)
        zero = {b.name: np.zeros((len(states), *b.shape)) for b in problem.space.trained}
        values = at.minimiser(zero).values
        whole = {**h.held(0.0), **values}
        v = problem.network.velocity(states, whole, 0.0)[..., 0].T
        back = problem.network.vjp(states, whole, 0.0, costates)[0][..., 0].T
        running, more = _running(h, f)
        penalty = 0.0
        if problem.penalty is not None:
            penalty = problem.penalty.density(problem.space, values)
        return v, -back - more, -(running + penalty)


def _running(h: SeparableHamiltonian, f: Array) -> tuple[Array, Array]:
    """(L,) and (N, L): the running cost and its derivative in the units' weights."""
    if not h.has_running_cost:
        return np.zeros(f.shape[1]), np.zeros_like(f)
    slope = h.problem.functional.running_vjp(f, {}, 0.0, np.ones(f.shape[1]))[0]
    return h.running(f, 0.0), slope


def _middle(bounds: tuple[float, float]) -> float:
    return 0.5 * (bounds[0] + bounds[1])


def _half(bounds: tuple[float, float]) -> float:
    return 0.5 * (bounds[1] - bounds[0])
