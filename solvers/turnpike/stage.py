"""The problem at one time: its running density and its velocity as functions of (state, control
value), with first and second derivatives, in coordinates whose products are Euclidean.

    l(x, u) = sum_m s_m L_m(f, c) + r(c),   F(x, u) = velocity(f, c)

States are x = (s_m w_i)^(1/2) f_im, flat, so that |x|^2 = sum_m s_m sum_i w_i f_im^2; values of the
control are u = W^(1/2) c in each block's weights W, block after block.  A multiplier p of F(x, u) =
0 is (s_m w_i)^(1/2) times the costate p_im of each sample's own cost.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np

from continuum.arrays import Array
from continuum.blocks import Block
from continuum.checks import check_type
from continuum.endpoints import contradiction
from continuum.functional import Tracking
from continuum.problem import LearningProblem


class First(NamedTuple):
    """Values and first derivatives at a point: density, velocity (n,), lx (n,), lu (m,), A = F_x
    (n, n), B = F_u (n, m).
    """

    density: float
    velocity: Array
    lx: Array
    lu: Array
    A: Array
    B: Array


class Second(NamedTuple):
    """Second derivatives: lxx (n, n), lxu (n, m), luu (m, m) of the density, of which ruu (m, m) is
    the penalty's; pxx, pxu, puu those of <p, F>.
    """

    lxx: Array
    lxu: Array
    luu: Array
    ruu: Array
    pxx: Array
    pxu: Array
    puu: Array


@dataclass(frozen=True, eq=False)
class Stage:
    """The density and the velocity of a problem whose equation and running cost do not depend on
    time.

    raises ValueError if there is no running cost, if velocity or running cost depend on time, for a
        block that nothing penalises, for samples or units of weight zero, and for equal initial
        values with different targets; TypeError for trained
        blocks that are constant in time, and penalties that are no lambda_b |c_b|^2
    """

    problem: LearningProblem

    def __post_init__(self) -> None:
        problem = check_type("problem", self.problem, LearningProblem)
        space = problem.space
        if problem.functional.running is None:
            raise ValueError(
                "running is None: the cost is terminal alone, so the problem has no static problem "
                "and no turnpike; give it a running cost"
            )
        held = [b.name for b in space.trained if b.time == "static"]
        if held:
            raise TypeError(
                f"blocks {', '.join(held)} are trained and constant in time, so they are no "
                f"control at one time: hold them with problem.holding(control, {held})"
            )
        quadratic = problem.functional.quadratic
        if quadratic is None:
            raise TypeError(
                "penalty must be lambda_b |c_b|^2 at each time (Tikhonov), got "
                f"{type(problem.penalty).__name__}"
            )
        for name, strength in quadratic.items():
            if strength <= 0 and name not in problem.functional.running_reads:
                raise ValueError(
                    f"penalty has strength {strength:g} on block {name!r}, which the running cost "
                    "does not read either: lambda > 0 is needed for a static optimum"
                )
        for what, weights in (
            ("sample_weights", problem.sample_weights),
            ("weights of the units", problem.network.weights),
            *((f"weights of block {b.name!r}", b.weights) for b in space.trained),
        ):
            if not np.all(np.asarray(weights) > 0):
                raise ValueError(f"{what} must be positive, the least is {np.min(weights):g}")
        self._check_autonomous()
        running = problem.functional.running
        if isinstance(running, Tracking) and not callable(running.target):
            target = problem.target if running.target is None else running.target
            pair = contradiction(problem.network, problem.initial, np.asarray(target))
            if pair is not None:
                raise ValueError(
                    f"target: samples {pair[0]} and {pair[1]} have equal initial values but "
                    "different targets; their states are equal at all times, so the run cannot "
                    "come near a static optimum that has them apart"
                )

    @property
    def states(self) -> int:
        """n = N M."""
        return self.problem.initial.size

    @property
    def controls(self) -> int:
        """m: the number of entries of a value of the control."""
        return sum(prod(b.shape) for b in self.blocks)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The trained blocks."""
        return self.problem.space.trained

    @cached_property
    def _root(self) -> Array:
        """(N, M): (s_m w_i)^(1/2)."""
        weights = np.asarray(self.problem.network.weights)[:, None]
        return np.sqrt(weights * self.problem.sample_weights)

    @cached_property
    def _roots(self) -> dict[str, Array]:
        return {b.name: np.sqrt(np.broadcast_to(b.weights, b.shape)) for b in self.blocks}

    @cached_property
    def _held(self) -> dict[str, Array]:
        """The values of the blocks that are not trained."""
        return dict(self.problem.space.held(0, 0.0))

    def pack_state(self, state: Array) -> Array:
        """x of states (..., N, M): (..., n)."""
        x = self._root * state
        return x.reshape(*x.shape[:-2], self.states)

    def unpack_state(self, x: Array) -> Array:
        """The state (N, M) of x (n,)."""
        return x.reshape(self._root.shape) / self._root

    pack_costate = pack_state
    """p of each sample's own costates (..., N, M): (..., n)."""

    unpack_costate = unpack_state

    def pack_control(self, values: Mapping[str, Array]) -> Array:
        """u of values (..., *block.shape): (..., m)."""
        pieces = []
        for block in self.blocks:
            u = self._roots[block.name] * values[block.name]
            pieces.append(u.reshape(*u.shape[: u.ndim - len(block.shape)], prod(block.shape)))
        return np.concatenate(pieces, axis=-1)

    def unpack_control(self, u: Array) -> dict[str, Array]:
        """The values of u (m,)."""
        values, start = {}, 0
        for block in self.blocks:
            size = prod(block.shape)
            piece = u[start : start + size].reshape(block.shape)
            values[block.name] = piece / self._roots[block.name]
            start += size
        return values

    def density(self, x: Array, u: Array) -> float:
        """l(x, u)."""
        functional, c = self.problem.functional, self.unpack_control(u)
        running = functional.running_cost(self.unpack_state(x), c, 0.0)
        return running + float(functional.penalty_density(c))

    def velocity(self, x: Array, u: Array) -> Array:
        """F(x, u): (n,)."""
        return self.pack_state(self._velocity(self.unpack_state(x), self.unpack_control(u), 0.0))

    def first(self, x: Array, u: Array) -> First:
        """Values and first derivatives at (x, u)."""
        problem, functional = self.problem, self.problem.functional
        f, c = self.unpack_state(x), self.unpack_control(u)
        given = {**self._held, **c}
        back, bars = functional.running_vjp(f, c, 0.0)
        penalty = functional.penalty_density_gradient(c)
        lu = self._cotangent(bars) + self._cotangent(penalty)
        none = np.zeros_like(f)
        A, B = np.empty((self.states, self.states)), np.empty((self.states, self.controls))
        for j, df in self._state_directions():
            A[:, j] = self.pack_state(problem.network.jvp(f, given, 0.0, df, {}))
        for j, dc in self._control_directions():
            B[:, j] = self.pack_state(problem.network.jvp(f, given, 0.0, none, dc))
        F = self.pack_state(problem.network.velocity(f, given, 0.0))
        return First(self.density(x, u), F, self._derivative(back), lu, A, B)

    def slopes(self, x: Array, u: Array, p: Array) -> tuple[Array, Array]:
        """The derivatives of l + <p, F> in x and u, without forming those of F."""
        functional = self.problem.functional
        f, c = self.unpack_state(x), self.unpack_control(u)
        shared = self.problem.sample_weights * self.unpack_costate(p)
        back, bars = self.problem.network.vjp(f, {**self._held, **c}, 0.0, shared)
        cost, direct = functional.running_vjp(f, c, 0.0)
        du = self._cotangent(bars) + self._cotangent(direct)
        return self._derivative(back + cost), du + self._cotangent(
            functional.penalty_density_gradient(c)
        )

    def second(self, x: Array, u: Array, p: Array) -> Second:
        """Second derivatives at (x, u) of the density and of <p, F>."""
        n, m = self.states, self.controls
        lxx, lxu, luu = np.zeros((n, n)), np.zeros((n, m)), np.zeros((m, m))
        pxx, pxu, puu = np.zeros((n, n)), np.zeros((n, m)), np.zeros((m, m))
        f, c = self.unpack_state(x), self.unpack_control(u)
        shared = self.problem.sample_weights * self.unpack_costate(p)
        none = np.zeros_like(f)
        for j, df in self._state_directions():
            lxx[:, j] = self._cost_change(f, c, df, {})[0]
            pxx[:, j] = self._velocity_change(f, c, shared, df, {})[0]
        for j, dc in self._control_directions():
            lxu[:, j], luu[:, j] = self._cost_change(f, c, none, dc)
            pxu[:, j], puu[:, j] = self._velocity_change(f, c, shared, none, dc)
        strengths = self.problem.functional.quadratic or {}
        ruu = np.diag(
            np.concatenate([np.full(prod(b.shape), 2.0 * strengths[b.name]) for b in self.blocks])
        )
        halves = [0.5 * (a + a.T) for a in (lxx, luu + ruu, pxx, puu)]
        return Second(halves[0], lxu, halves[1], ruu, halves[2], pxu, halves[3])

    def drift(self, rng: np.random.Generator, points: int = 5) -> float:
        """The largest |F(x, 0)| at x = initial and at random states of its size: 0 for a network
        that stands still without control.
        """
        initial, rest = self.problem.initial, self.unpack_control(np.zeros(self.controls))
        size = 1.0 + float(np.max(np.abs(initial)))
        states = [initial, *(size * rng.standard_normal((points, *initial.shape)))]
        return max(float(np.max(np.abs(self._velocity(f, rest, 0.0)))) for f in states)

    def _velocity(self, f: Array, c: Mapping[str, Array], t: float) -> Array:
        space = self.problem.space
        held = self._held if t == 0.0 else space.held(space.mesh.layer_of(t), t)
        return self.problem.network.velocity(f, {**held, **c}, t)

    def _check_autonomous(self) -> None:
        """Velocity and running cost at the initial state and a random control, at five times."""
        problem, rng = self.problem, np.random.default_rng(0)
        c = {b.name: rng.standard_normal(b.shape) for b in self.blocks}
        f, functional = problem.initial, problem.functional
        first, cost = self._velocity(f, c, 0.0), functional.running_costs(f, c, 0.0)
        for t in problem.mesh.horizon * np.array([0.237, 0.5, 0.781, 1.0]):
            change = float(np.max(np.abs(self._velocity(f, c, float(t)) - first)))
            if change > 0.0:
                raise ValueError(
                    f"network depends on time: at t = {t:.4g} its velocity at the initial state "
                    f"differs by {change:.4g} from that at t = 0, so there is no static problem"
                )
            other = functional.running_costs(f, c, float(t))
            change = float(np.max(np.abs(other - cost)))
            if change > 0.0:
                raise ValueError(
                    f"running depends on time: at t = {t:.4g} the cost of the initial state "
                    f"differs by {change:.4g} from that at t = 0, so there is no static problem"
                )

    def _derivative(self, back: Array) -> Array:
        """The derivative in x of what is represented in the weights of the units by `back`."""
        weights = np.asarray(self.problem.network.weights)[:, None]
        return (weights * back / self._root).reshape(self.states)

    def _cotangent(self, bars: Mapping[str, Array]) -> Array:
        """The derivative in u of what is represented in the blocks' weights by `bars`."""
        none = {b.name: np.zeros(b.shape) for b in self.blocks}
        return self.pack_control({**none, **{n: x for n, x in bars.items() if n in none}})

    def _cost_change(
        self, f: Array, c: Mapping[str, Array], df: Array, dc: Mapping[str, Array]
    ) -> tuple[Array, Array]:
        """The change of (L_x, L_u) of the running cost."""
        back, bars = self.problem.functional.running_vjp_derivative(f, c, 0.0, df, dc)
        return self._derivative(back), self._cotangent(bars)

    def _velocity_change(
        self, f: Array, c: Mapping[str, Array], shared: Array, df: Array, dc: Mapping[str, Array]
    ) -> tuple[Array, Array]:
        """The change of the derivatives of <p, F> in x and u, p held; `shared` is p times the
        weights of the samples.
        """
        none = np.zeros_like(f)
        back, bars = self.problem.network.vjp_derivative(
            f, {**self._held, **c}, 0.0, shared, df, dc, none
        )
        return self._derivative(back), self._cotangent(bars)

    def _state_directions(self) -> Iterator[tuple[int, Array]]:
        """(j, the state whose x is the j-th unit vector)."""
        for j, unit in enumerate(np.eye(self.states)):
            yield j, self.unpack_state(unit)

    def _control_directions(self) -> Iterator[tuple[int, dict[str, Array]]]:
        """(j, the value whose u is the j-th unit vector)."""
        for j, unit in enumerate(np.eye(self.controls)):
            yield j, self.unpack_control(unit)
