"""How far a state is from decaying as it should: the place where this number and its derivative are
computed.

With V(z) = loss(readout(z), y), the terminal cost of a problem as a function of a state z, and
p = grad V in the weights w of the units,

    r(z, t) = (p, F(z, c(t), t))_w + kappa V(z)

is dV/dt + kappa V along the velocity; where r <= 0 all along a path, V <= V(0) exp(-kappa t).  The
derivative of sum_n q_n r_n, P_n = q_n p_n, is

    in the control of the field   (D_c F)* P,
    in the readout's blocks       (d/dz grad_c (q V)) F + kappa grad_c (q V),
    in the state                  (D_z F)* P + q (Hess V) F + kappa P:

`vjp` of the network, and `vjp` and `vjp_derivative` of the cost, so any network, readout and loss.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array, like, namespace
from continuum.checks import check_array, check_positive
from continuum.controls import Control
from continuum.doors import checked
from continuum.functional import Tracking, rests
from continuum.meshes import TimeMesh
from continuum.networks import Staged
from continuum.networks.network import Time
from continuum.problem import LearningProblem
from continuum.records import short

Cotangents = Mapping[str, Array]

_ENTRIES = 2**18
"""Entries of states and cotangents of the points that a network which stacks is asked for at once.
"""


@dataclass(frozen=True, eq=False)
class Points:
    """L points, each a time with a state of every sample.

    states : (L, N, M), or (L, N, 1) where all samples share the state
    times, layers : (L,), NumPy's; the control is that of the layer, continued to its ends
    """

    states: Array
    times: Array
    layers: Array

    __repr__ = short

    @staticmethod
    def at(states: Array, times: Array, mesh: TimeMesh) -> "Points":
        """With the layers in which the times lie, from the right at their ends."""
        return Points(states, times, mesh.layers_of(times))

    def __len__(self) -> int:
        return len(self.times)

    def of_samples(self, samples: int) -> Array:
        """(L, N, M): the states, repeated where they are shared."""
        count, units, _ = self.states.shape
        return namespace(self.states).broadcast_to(self.states, (count, units, samples))


def lyapunov_function(problem: LearningProblem) -> Tracking:
    """The terminal cost of a problem, which these methods take for V: the loss of a readout, with
    its target put in.

    raises TypeError for a problem whose terminal cost is none, and for a Staged network
    """
    if isinstance(problem.network, Staged):
        raise TypeError("Lyapunov losses need states of one width: the network must not be Staged")
    cost = problem.functional.terminal
    if not rests(cost):
        raise TypeError(
            f"terminal must be the loss of a readout, such as CrossEntropy(), with a target that "
            f"does not move: it is the Lyapunov function; got {problem.terminal!r}"
        )
    return cost


@checked
def violation(
    problem: LearningProblem, control: Control, states: Array, times: float | Array, kappa: float
) -> Array:
    """r = (grad V, F) + kappa V, not cut at 0: > 0 where V falls slower than at the rate kappa.

    states : (N, M), of each sample at one time t, or (L, N, M), (L, N, 1) at times (L,)
    kappa : > 0
    returns (M,), or (L, M)
    raises ValueError, TypeError for arguments that do not fit each other
    """
    kappa = check_positive("kappa", kappa)
    control = problem.space.check("control", control)
    many = np.ndim(times) == 1
    shape = ("L", len(problem.network.weights), "M")
    states = check_array("states", states, shape if many else shape[1:])
    moments = check_array("times", np.atleast_1d(times), ("L",))
    horizon = problem.mesh.horizon
    if not np.all((moments >= 0.0) & (moments <= horizon)):
        raise ValueError(f"times must be in [0, {horizon:g}], got {times}")
    points = Points.at(states if many else states[None, ...], moments, problem.mesh)
    if len(points.states) != len(points) or states.shape[-1] not in (1, problem.initial.shape[1]):
        raise ValueError(
            f"states has shape {tuple(states.shape)}: it needs a state for each of "
            f"{len(points)} times, and of each of {problem.initial.shape[1]} samples or one"
        )
    r = Violations(problem, control.like(states), points, kappa).r
    return r if many else r[0, ...]


class Potentials:
    """V of every sample at points, and its derivatives.

    values : (L, M);  slopes : (L, N, M), grad V in the weights of the units
    The control must be where the states are.
    """

    def __init__(self, problem: LearningProblem, control: Control, points: Points) -> None:
        samples, self.problem = problem.initial.shape[1], problem
        self.shape = len(points), samples
        self.states = points.of_samples(samples)
        self.loss = lyapunov_function(problem).batch(np.tile(np.arange(samples), len(points)))
        self.blocks = problem.functional.terminal_values(control)
        self._columns = _columns(self.states)
        ones = like(np.ones(self._columns.shape[1]), self.states)
        mesh = problem.mesh
        self._end = mesh.layers - 1, mesh.horizon
        values, slopes, _ = self.loss.density_and_vjp(
            problem.network, self._columns, self.blocks, mesh.horizon, ones
        )
        xp = namespace(values)
        self.values = xp.reshape(values, self.shape)
        self.slopes = self._points(slopes)

    def adjoint(self, q: Array, total: Cotangents) -> Array:
        """(L, N, M): the derivative of sum q V, q (L, M), in the states; that in the readout's
        blocks is collected in `total`.
        """
        if any(name in total for name in self.blocks):
            _, bars = self.loss.vjp(
                self.problem.network, self._columns, self.blocks, self._end[1], self._flat(q)
            )
            self.problem.space.scatter(total, *self._end, bars, 1.0)
        return q[:, None, :] * self.slopes

    def slope_adjoint(self, q: Array, along: Array, total: Cotangents) -> Array:
        """(L, N, M): the derivative of sum q (grad V, F), F = `along` held, in the states; that in
        the readout's blocks is collected in `total`.
        """
        found, bars = self.loss.vjp_derivative(
            self.problem.network,
            self._columns,
            self.blocks,
            self._end[1],
            self._flat(q),
            _columns(along),
            {},
        )
        self.problem.space.scatter(total, *self._end, bars, 1.0)
        return self._points(found)

    @property
    def read(self) -> frozenset[str]:
        """The names of the blocks on which V depends."""
        return frozenset(self.blocks)

    def _flat(self, q: Array) -> Array:
        return namespace(q).reshape(q, (-1,))

    def _points(self, x: Array) -> Array:
        """(N, L M) as (L, N, M)."""
        xp = namespace(x)
        return xp.permute_dims(xp.reshape(x, (x.shape[0], *self.shape)), (1, 0, 2))


class Violations:
    """r of every sample at points, and its derivative.

    r : (L, M)
    """

    def __init__(
        self, problem: LearningProblem, control: Control, points: Points, kappa: float
    ) -> None:
        self.kappa = kappa
        self.potentials = Potentials(problem, control, points)
        self.field = Velocities(problem, control, points)
        w = problem.network.weights_like(points.states)[:, None]
        slopes = namespace(w).sum(w * self.potentials.slopes * self.field.values, axis=1)
        self.r = slopes + kappa * self.potentials.values

    def adjoint(self, q: Array, total: Cotangents, states: bool) -> Array | None:
        """The derivative of sum q r, q (L, M): that in the control is collected in `total`; that in
        the states, (L, N, M), is returned if it is wanted.
        """
        potentials = self.potentials
        found = self.field.adjoint(q[:, None, :] * potentials.slopes, total)
        if not states and not any(name in total for name in potentials.read):
            return None
        further = potentials.slope_adjoint(q, self.field.values, total)
        further = further + potentials.adjoint(self.kappa * q, total)
        return found + further if states else None


class Velocities:
    """F of every sample at points, and its derivative: the part to do in another way for a network
    of which more is known.

    values : (L, N, M)
    States that all samples share are asked for once where the network holds nothing of each sample.
    """

    def __init__(self, problem: LearningProblem, control: Control, points: Points) -> None:
        self.problem, self.control, self.points = problem, control, points
        samples, network = problem.initial.shape[1], problem.network
        alike = points.states.shape[2] == 1 and network.batch(np.zeros(1, np.int64)) is network
        self.states = points.states if alike else points.of_samples(samples)
        found = [
            problem.network.velocity(self.states[part, ...], *self._at(part))
            for part in self._parts()
        ]
        values = self._joined(found)
        self.values = namespace(values).broadcast_to(values, (*values.shape[:2], samples))

    def adjoint(self, p: Array, total: Cotangents) -> Array:
        """(D_f F)* p, p (L, N, M), of the states (L, N, M), or (L, N, 1) where they are shared;
        (D_c F)* p is collected in `total`.
        """
        found = []
        if self.states.shape[2] < p.shape[2]:
            p = namespace(p).sum(p, axis=2, keepdims=True)
        for part in self._parts():
            back, bars = self.problem.network.vjp(
                self.states[part, ...], *self._at(part), p[part, ...]
            )
            found.append(back)
            at = self.points.layers[part], self.points.times[part]
            if isinstance(part, slice):
                self.problem.space.scatter(total, *at, bars, np.ones(len(at[0])))
            else:
                self.problem.space.scatter(total, int(at[0]), float(at[1]), bars, 1.0)
        return self._joined(found)

    def _parts(self) -> Iterator[int | slice]:
        """The points that the network is asked for at once: one by one unless it stacks them."""
        count, units, samples = self.states.shape
        if not self.problem.network.stacks:
            yield from range(count)
            return
        most = max(1, _ENTRIES // (units * samples + self.problem.space.size))
        for start in range(0, count, most):
            yield slice(start, min(start + most, count))

    def _at(self, part: int | slice) -> tuple[dict[str, Array], Time]:
        """The values of the control there, and the times."""
        layers, times = self.points.layers[part], self.points.times[part]
        if isinstance(part, int):
            return dict(self.control.at_layer(int(layers), float(times))), float(times)
        space = self.problem.space
        theta = space.local_time(layers, times)
        return {
            b.name: space.axes[b.name].at(self.control[b.name], layers, theta) for b in space.blocks
        }, times[:, None]

    def _joined(self, found: list[Array]) -> Array:
        xp = namespace(found[0])
        if len(found[0].shape) == 3:
            return found[0] if len(found) == 1 else xp.concat(found, axis=0)
        return xp.stack(found)


def hinged(problem: LearningProblem, r: Array) -> tuple[float, Array]:
    """(1 / L) sum_l sum_m s_m max(0, r_lm), and its derivative in r (L, M); 0 where r = 0."""
    xp, weights = namespace(r), like(problem.sample_weights, r) / r.shape[0]
    costs = xp.where(r <= 0, 0.0, r)  # NaN stays
    return float(xp.sum(costs * weights)), xp.where(r > 0, weights, 0.0)


def active(r: Array) -> float:
    """The share of the entries that are > 0."""
    xp = namespace(r)
    return float(xp.mean(xp.where(r > 0, 1.0, 0.0)))


def _columns(states: Array) -> Array:
    """(L, N, M) as (N, L M)."""
    xp = namespace(states)
    return xp.reshape(xp.permute_dims(states, (1, 0, 2)), (states.shape[1], -1))
