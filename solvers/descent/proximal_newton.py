"""Newton's method for controls that are off, bounded or both: on u = prox_step(u - step grad J)."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_positive, store
from continuum.controls import Control
from continuum.penalties import Penalty
from continuum.sets import Amplitude
from continuum.sparsity import L1

from ..adjoint.discretize import ReducedObjective
from ..adjoint.linear_quadratic import LinearQuadratic, Linearizer
from ..run.solution import Solution
from ..run.status import Status
from .first_order import ROUNDING
from .objective import Composite
from .riccati import linear_path, sweep
from .run import Descent, Minimizer, OutOfDomain, refuse

_SHARE = 0.95
"""Of the quadratic bound that a proximal step must keep: J(z) <= J + (g, z-x) + 0.95 |z-x|^2 / 2 s."""

_SHORTEST = 1e-30
"""Of proximal steps."""

_FLAT = 1e-6
"""Least derivative of the proximal map that Newton's system divides by."""

_HALVINGS = 12
"""Of Newton's step, before the proximal step alone is taken."""


@dataclass(frozen=True)
class ProximalNewton(Minimizer):
    """Semismooth Newton on the residual F(u) = u - prox_s(u - s g(u)), g the gradient of J without
    its joint L1 term, prox_s the joint proximal map of that term and of the Amplitude.

    With y = u - s g, strength a and bound M, the derivative of prox_s on a layer is 0 where
    |y| <= s a (off), 1 along y and 1 - s a / |y| across it where |y| <= s a + M, and 0 along y and
    M / |y| across it beyond, on the sphere |u| = M.  Where a derivative is 0 Newton's step is -F;
    where it is d > 0, dividing the system by s d leaves Hess J du + (1 - d) du / (s d) = -F / (s d):
    the linear-quadratic problem of the layers with another R, which one sweep solves.  Negative
    eigenvalues of its pivots are lifted.

    The step is shortened, towards the proximal step itself, until the forward-backward envelope
    min_z J + (g, z - u) + |z - u|^2 / (2 s) + a int |z| falls by a share of |F|^2 / s, and s is such
    that the proximal step alone does: so it converges where that does, and fast near a solution
    where few layers are between off and on.  Converged when |prox_1(u - g) - u| <= gtol.

    Takes Euler's and other explicit or implicit steps, controls that are constant on layers, the
    penalties with a gradient that `Linearizer` takes, L1(groups="joint") of all trained blocks and
    Amplitude, each or both.
    initial_step : the first s
    The solution's statistics have "switching_time" where the control is on, with at most one layer
    in between, and then off: int |u| dt / M, and "on_until" and "off_from", the ends of these
    layers; M is the bound, or the largest |u| without one.
    Source: Stella, Themelis and Patrinos, Comput. Optim. Appl. 67 (2017), for the envelope.
    """

    initial_step: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, check_positive, "initial_step")

    def check(self, problem: Composite) -> None:
        """Raises TypeError or ValueError for what it cannot treat."""
        if not isinstance(problem.objective, ReducedObjective):
            raise refuse(self, problem.objective, "GradientDescent() or Nesterov()")
        instead = "GradientDescent() or Nesterov()"
        static = [b.name for b in problem.space.trained if b.time == "static"]
        if static:
            raise refuse(self, f"blocks that are constant in time, {', '.join(static)}", instead)
        for term in _rough(problem):
            whole = isinstance(term, L1) and term.joint
            if not whole or len(term.penalised(problem.space)) < len(problem.space.trained):
                raise refuse(self, term, f"{instead}, or L1(groups='joint') of all blocks")
        if problem.admissible is not None and not isinstance(problem.admissible, Amplitude):
            raise refuse(self, problem.admissible, f"{instead}, or an Amplitude")
        Linearizer(problem.objective)

    def descend(self, run: Descent, start: Control) -> Solution[Control]:
        """The run from an admissible start."""
        return _Newton(run, self.initial_step).descend(start)


def _rough(problem: Composite) -> tuple[Penalty, ...]:
    return () if problem.penalty is None else problem.penalty.terms


class _Point(NamedTuple):
    """x (K, m), whose Euclidean norm on a layer is |u(t)|; J there and its gradient (K, m) in the
    product of the space, which is sum_k tau_k (x_k, y_k).
    """

    x: Array
    value: float
    gradient: Array


class _Forward(NamedTuple):
    """y = x - s g, z = prox_s(y), and the envelope."""

    y: Array
    z: Array
    envelope: float


class _Newton:
    """The iteration in coordinates x = w^(1/2) u, w the weights of the blocks."""

    def __init__(self, run: Descent, step: float) -> None:
        self.run, self.step = run, step
        problem = run.problem
        self.linearizer = Linearizer(problem.objective)  # type: ignore[arg-type]  # see check
        self.columns, space = self.linearizer.columns, problem.space
        self.tau = space.mesh.steps
        weights = np.empty(self.columns.m)
        for block in space.trained:
            weights[self.columns.part(block)] = np.broadcast_to(block.weights, block.shape).ravel()
        self.root = np.sqrt(weights)
        self.strength = sum(t.strength for t in _rough(problem) if isinstance(t, L1))
        self.bound = np.inf
        if isinstance(problem.admissible, Amplitude):
            self.bound = problem.admissible.bound

    def descend(self, start: Control) -> Solution[Control]:
        """The run from an admissible start."""
        run = self.run
        point = self.at(self.columns.read(start)[0] * self.root)
        while True:
            value = point.value + self.rough(point.x)
            status = run.accept(self.flat(point.x), value, self.flat(point.gradient))
            if status is not None:
                return run.solution(status, **self.switching(point.x))
            forward = self.forward(point)
            if forward is None or not self.distance(forward.z, point.x) > 0.0:
                return run.solution(Status.LINE_SEARCH_FAILED, **self.switching(point.x))
            newton = point.x + self.direction(point, forward)
            point = self.search(point, forward, newton)

    # -- the proximal step

    def forward(self, point: _Point) -> _Forward | None:
        """The proximal step, doubled if it may be, halved until the quadratic bound holds; None if
        none is short enough.
        """
        self.step *= 2.0
        while self.step > _SHORTEST:
            found = self.moved(point)
            d = found.z - point.x
            square = self.product(d, d)
            try:
                change = self.run.smooth(self.control(found.z)) - point.value
                if abs(change) > ROUNDING * abs(point.value):
                    model = self.product(point.gradient, d) + 0.5 * _SHARE * square / self.step
                    close = change <= model
                else:
                    there = self.at(found.z)
                    curved = self.product(there.gradient - point.gradient, d)
                    close = curved <= 0.5 * _SHARE * square / self.step
                if close:
                    return found
            except OutOfDomain:
                pass
            self.step *= 0.5
        return None

    def moved(self, point: _Point) -> _Forward:
        """The proximal step of this length."""
        y = point.x - self.step * point.gradient
        z = self.prox(y)
        d = z - point.x
        model = self.product(point.gradient, d) + self.product(d, d) / (2.0 * self.step)
        return _Forward(y, z, point.value + model + self.rough(z))

    def search(self, point: _Point, forward: _Forward, newton: Array) -> _Point:
        """Newton's point, moved towards the proximal one until the envelope falls."""
        residual = self.distance(forward.z, point.x)
        least = 0.25 * (1.0 - _SHARE) / self.step * residual**2
        share = 1.0
        for _ in range(_HALVINGS):
            trial = self.admitted((1.0 - share) * forward.z + share * newton)
            try:
                there = self.at(trial)
                ahead = self.moved(there)
            except OutOfDomain:
                share *= 0.5
                continue
            change = ahead.envelope - forward.envelope
            if abs(change) > ROUNDING * abs(forward.envelope):
                good = change <= -least
            else:
                good = self.distance(ahead.z, trial) <= 0.9 * residual
            if good:
                return there
            share *= 0.5
        return self.at(forward.z)

    # -- Newton's system

    def direction(self, point: _Point, forward: _Forward) -> Array:
        """(K, m): Newton's step for F, on the layers turned so that y lies along the first axis."""
        model = self.linearizer(self.control(point.x)).model
        size = np.sqrt(np.sum(forward.y**2, axis=1))
        off = size <= self.step * self.strength
        full = size >= self.step * self.strength + self.bound
        across = np.maximum(1.0 - self.step * self.strength / np.maximum(size, 1e-300), _FLAT)
        if np.any(full):
            across[full] = self.bound / size[full]
        slope = np.repeat(across[:, None], self.columns.m, axis=1)
        slope[:, 0] = 1.0
        pinned = np.zeros(slope.shape, dtype=bool)
        pinned[off], pinned[full, 0] = True, True
        turn = _reflections(forward.y, size)
        gap = np.einsum("kij,kj->ki", turn, point.x - forward.z)
        model = model._replace(
            B=np.einsum("kmni,kij->kmnj", model.B / self.root, turn),
            S=np.einsum("kmni,kij->kmnj", model.S / self.root, turn),
            R=np.einsum(
                "kia,kij,kjb->kab", turn, model.R / (self.root[:, None] * self.root), turn
            ),
        )
        dx = self.solved(model, pinned, slope, gap)
        return np.einsum("kij,kj->ki", turn, dx)

    def solved(self, model: LinearQuadratic, pinned: Array, slope: Array, gap: Array) -> Array:
        """The minimiser of (dx, H dx) / 2 + sum_k tau_k [(1 - d) dx^2 / 2 + gap dx] / (s d) over
        the entries that are not pinned, dx = -gap for those that are.
        """
        tau, free = self.tau[:, None], ~pinned
        held = np.where(pinned, -gap, 0.0)
        drift = np.zeros_like(model.q)
        for k in range(len(model.A)):
            pushed = np.einsum("mij,mj->mi", model.A[k], drift[k])
            drift[k + 1] = pushed + model.B[k] @ held[k]
        q = np.einsum("kmij,kmj->kmi", model.Q, drift)
        q[:-1] += np.einsum("kmia,ka->kmi", model.S, held)
        r = np.einsum("kmia,kmi->ka", model.S, drift[:-1]) + np.einsum("kab,kb->ka", model.R, held)
        r += tau * gap / (self.step * slope)
        weight = np.where(free, tau * (1.0 - slope) / (self.step * slope), tau)
        both = free[:, :, None] & free[:, None, :]
        reduced = LinearQuadratic(
            A=model.A,
            B=np.ascontiguousarray(model.B * free[:, None, None, :]),
            Q=model.Q,
            S=np.ascontiguousarray(model.S * free[:, None, None, :]),
            R=model.R * both + weight[:, :, None] * np.eye(self.columns.m),
            q=q,
            r=r * free,
        )
        metric = np.repeat(tau, self.columns.m, axis=1)
        return linear_path(reduced, sweep(reduced, metric, lift=True))[0] + held

    # -- coordinates, norms, maps

    def at(self, x: Array) -> _Point:
        """Raises OutOfDomain where the state is not finite."""
        value, gradient = self.run.evaluate(self.control(x))
        return _Point(x, value, self.columns.read(self.run.space.unflatten(gradient))[0] * self.root)

    def control(self, x: Array) -> Control:
        return self.columns.write(x / self.root)

    def flat(self, x: Array) -> Array:
        return self.run.space.flatten(self.control(x))

    def product(self, x: Array, y: Array) -> float:
        return float(self.tau @ np.sum(x * y, axis=1))

    def distance(self, x: Array, y: Array) -> float:
        return self.product(x - y, x - y) ** 0.5

    def rough(self, x: Array) -> float:
        """The L1 term."""
        return self.strength * float(self.tau @ np.sqrt(np.sum(x * x, axis=1)))

    def prox(self, y: Array) -> Array:
        size = np.sqrt(np.sum(y * y, axis=1))
        wanted = np.clip(size - self.step * self.strength, 0.0, self.bound)
        return y * (wanted / np.maximum(size, 1e-300))[:, None]

    def admitted(self, x: Array) -> Array:
        """x with |x_k| <= M."""
        if not np.isfinite(self.bound):
            return x
        size = np.sqrt(np.sum(x * x, axis=1))
        return x * (self.bound / np.maximum(size, self.bound))[:, None]

    def switching(self, x: Array) -> dict[str, float]:
        """The statistics of a control that is on and then off; empty for others."""
        size, ends = np.sqrt(np.sum(x * x, axis=1)), self.run.space.mesh.nodes
        top = self.bound if np.isfinite(self.bound) else float(np.max(size))
        on, off = size >= (1.0 - 1e-9) * top, size <= 1e-9 * top
        first, last = int(np.argmin(np.append(on, False))), len(size) - int(
            np.argmin(np.append(off[::-1], False))
        )
        if not top > 0.0 or last - first > 1:
            return {}
        return {
            "switching_time": float(self.tau @ size) / top,
            "on_until": float(ends[first]),
            "off_from": float(ends[last]),
        }


def _reflections(y: Array, size: Array) -> Array:
    """(K, m, m): the reflections that exchange y / |y|, up to its sign, and the first axis; the
    identity up to a sign where y = 0.
    """
    m = y.shape[1]
    normal = y / np.where(size > 0.0, size, 1.0)[:, None]
    normal[:, 0] += np.where(normal[:, 0] >= 0.0, 1.0, -1.0)
    square = np.sum(normal * normal, axis=1)
    return np.eye(m) - 2.0 * normal[:, :, None] * normal[:, None, :] / square[:, None, None]
