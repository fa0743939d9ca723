"""Newton's method for controls that are off, bounded or both: on u = prox_s(u - s grad J)."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_positive, store
from continuum.controls import Control
from continuum.doors import checked
from continuum.penalties import terms_of

from ..adjoint.coefficients import Columns
from ..adjoint.discretize import ReducedObjective
from ..adjoint.linear_quadratic import Linearizer, LinearQuadratic, check_model
from ..run.solution import Solution
from ..run.status import Status
from .first_order import ROUNDING
from .layer_terms import Derivative, Joint, LayerTerms, layer_terms, norms, roots
from .objective import Composite
from .riccati import linear_path, sweep
from .run import Descent, Minimizer, OutOfDomain, refuse

_SHARE = 0.95
"""Of the bound that a proximal step must keep: J(z) <= J + (g, z - x) + 0.95 |z - x|^2 / (2 s)."""

_SHORTEST = 1e-30
"""Of proximal steps."""

_FLAT = 1e-6
"""Least derivative of the proximal map that Newton's system divides by."""

_ATTEMPTS = 5
"""Shifts tried, before the proximal step alone is taken."""

_FAR = 1e50
"""Entries of a step that are not tried: where the cost is linear, Newton's step is infinite."""

_SHIFTS = (1e-3, 1e3)
"""The first shift and the largest one, times the length of the proximal step."""


@checked
@dataclass(frozen=True)
class ProximalNewton(Minimizer):
    """Semismooth Newton on the residual F(u) = u - prox_s(u - s g(u)), g the gradient of J without
    its L1 term, prox_s the joint proximal map of that term and of the set.

    The derivative of prox_s at y = u - s g is, on every layer, symmetric with eigenvalues d in
    [0, 1] (see `layer_terms`).  Where d = 0, Newton's step is -F.  Where d > 0, the system divided
    by s d is

        (Hess J + shift) du + (1 - d) / (s d) du = -F / (s d),

    the linear-quadratic problem of the layers with another R, which one sweep solves; negative
    eigenvalues of its pivots are lifted.

    A proximal step follows Newton's.  The shift is raised until J is then no higher than after the
    proximal step alone, which is taken where no shift does: so the method converges where proximal
    gradients do, and fast near solutions where Hess J is positive on what is free.  The length s is
    halved until the step keeps its quadratic bound, and tried doubled.  Converged when
    |prox_1(u - g) - u| <= gtol.

    Takes L1(groups="joint") of all trained blocks and Amplitude, each or both, or L1 by entries and
    a Box, beside the penalties that have a gradient; blocks that are constant on layers; explicit
    and implicit steps.
    initial_step : the first s
    With joint terms the statistics have "switching_time", int |u| dt / M, where |u| = M on the
    first layers and u = 0 on the last, with "on_until" and "off_from", the ends of these layers; M
    is the largest |u| where there is no Amplitude.  `free_switch` makes that time an unknown.
    """

    initial_step: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, check_positive, "initial_step")

    def check(self, problem: Composite) -> None:
        """Raises TypeError or ValueError for what it cannot treat."""
        instead = "GradientDescent() or Nesterov()"
        if not isinstance(problem.objective, ReducedObjective):
            raise refuse(self, problem.objective, f"{instead}: it needs a LearningProblem")
        static = [b.name for b in problem.space.trained if b.time == "static"]
        if static:
            raise refuse(self, f"blocks constant in time ({', '.join(static)})", instead)
        check_model(problem.objective)
        if layer_terms(problem, Columns.of(problem.space)) is None:
            what = " with ".join(map(repr, (*terms_of(problem.penalty), problem.admissible)))
            raise TypeError(
                f"ProximalNewton cannot treat {what}, but L1(groups='joint') of all blocks with an "
                f"Amplitude, and L1 by entries with a Box; use {instead}"
            )

    def descend(self, run: Descent, start: Control) -> Solution[Control]:
        """The run from an admissible start."""
        return _Newton(run, self.initial_step).descend(start)


class _Point(NamedTuple):
    """x (K, m), whose Euclidean norm on a layer is |u(t)|; J there, without the L1 term, and its
    gradient (K, m) in the product of the space, which is sum_k tau_k (x_k, y_k).
    """

    x: Array
    value: float
    gradient: Array


class _System(NamedTuple):
    """The layers' problem for Newton's step.

    at : the derivative of the proximal map
    model : in its coordinates, for the entries that are not pinned
    gap : (K, m); pinned entries move by -gap
    """

    at: Derivative
    model: LinearQuadratic
    gap: Array


class _Newton:
    """The iteration in coordinates x = w^(1/2) u, w the weights of the blocks."""

    def __init__(self, run: Descent, step: float) -> None:
        self.run, self.step, self.shift = run, step, 0.0
        problem = run.problem
        self.linearizer = Linearizer(problem.objective)  # type: ignore[arg-type]  # see check
        self.columns, space = self.linearizer.columns, problem.space
        self.tau = space.mesh.steps
        self.root = roots(self.columns)
        self.terms: LayerTerms = layer_terms(problem, self.columns)  # type: ignore[assignment]

    def descend(self, start: Control) -> Solution[Control]:
        """The run from an admissible start."""
        run, point = self.run, self.at(self.columns.read(start)[0] * self.root)
        while True:
            status = run.accept(
                self.joined(point.x), self.total(point), self.joined(point.gradient)
            )
            if status is not None:
                return run.solution(status, "", **self.switching(point.x))
            ahead = self.forward(point)
            if ahead is None or not self.distance(ahead.x, point.x) > 0.0:
                return run.solution(Status.LINE_SEARCH_FAILED, "", **self.switching(point.x))
            point = self.better(point, ahead)

    def forward(self, point: _Point) -> _Point | None:
        """The proximal step, halved until the quadratic bound holds; None if none is short
        enough.
        """
        self.step *= 2.0
        while self.step > _SHORTEST:
            z = self.moved(point)
            d = z - point.x
            square = self.product(d, d)
            try:
                ahead = self.at(z)
                change, bound = ahead.value - point.value, 0.5 * _SHARE * square / self.step
                if abs(change) > ROUNDING * abs(point.value):
                    close = change <= self.product(point.gradient, d) + bound
                else:
                    close = self.product(ahead.gradient - point.gradient, d) <= bound
                if close:
                    return ahead
            except OutOfDomain:
                pass
            self.step *= 0.5
        return None

    def better(self, point: _Point, ahead: _Point) -> _Point:
        """Newton's step and a proximal one, if J is no higher there than at `ahead`, which is the
        proximal one alone; `ahead` if no shift leads there.
        """
        system, least = self.system(point), self.total(ahead)
        first, most = (share / self.step for share in _SHIFTS)
        for _ in range(_ATTEMPTS):
            self.shift = min(self.shift, most)
            found = self.attempt(point, system)
            if found is not None:
                if abs(self.total(found) - least) > ROUNDING * abs(least):
                    good = self.total(found) < least
                else:  # where values cancel
                    good = self.residual(found) <= self.residual(ahead)
                if good:
                    self.shift = 0.1 * self.shift if self.shift > 0.01 * first else 0.0
                    return found
            self.shift = max(8.0 * self.shift, first)
        return ahead

    def attempt(self, point: _Point, system: _System) -> _Point | None:
        """Newton's step and a proximal one; None where that leads out of the domain, or too far."""
        dx = self.direction(system)
        if not np.max(np.abs(dx)) < _FAR:
            return None
        try:
            return self.at(self.moved(self.at(self.terms.prox(point.x + dx, 0.0))))
        except OutOfDomain:
            return None

    def system(self, point: _Point) -> _System:
        """Newton's system for F."""
        model, s = self.linearizer(self.control(point.x)).model, self.step
        y = point.x - s * point.gradient
        at, gap = self.terms.derivative(y, s), point.x - self.terms.prox(y, s)
        if at.turn is not None:
            gap = np.einsum("kij,kj->ki", at.turn, gap)
        slope = np.maximum(at.slope, _FLAT)
        tau, held = self.tau[:, None], np.where(at.pinned, -gap, 0.0)
        weight, linear = tau * (1.0 - slope) / (s * slope), tau * gap / (s * slope)
        model = freed(turned(model, at.turn, self.root), ~at.pinned, held, tau, weight, linear)
        return _System(at, model, gap)

    def direction(self, system: _System) -> Array:
        """(K, m): Newton's step with the shift."""
        metric = np.repeat(self.tau[:, None], self.columns.m, axis=1)
        found = linear_path(system.model, sweep(system.model, metric, self.shift, pivots="lift"))[0]
        dx = np.where(system.at.pinned, -system.gap, found)
        return dx if system.at.turn is None else np.einsum("kij,kj->ki", system.at.turn, dx)

    def at(self, x: Array) -> _Point:
        """Raises OutOfDomain where the state is not finite."""
        value, found = self.run.evaluate(self.control(x))
        gradient = self.columns.read(self.run.space.views(found))[0]
        return _Point(x, value, gradient * self.root)

    def control(self, x: Array) -> Control:
        return self.columns.write(x / self.root)

    def joined(self, x: Array) -> Array:
        return self.run.space.join(self.control(x))

    def product(self, x: Array, y: Array) -> float:
        return float(self.tau @ np.sum(x * y, axis=1))

    def distance(self, x: Array, y: Array) -> float:
        return self.product(x - y, x - y) ** 0.5

    def total(self, point: _Point) -> float:
        """J with the L1 term."""
        return point.value + float(self.tau @ self.terms.density(point.x))

    def moved(self, point: _Point) -> Array:
        """prox_s(x - s g)."""
        return self.terms.prox(point.x - self.step * point.gradient, self.step)

    def residual(self, point: _Point) -> float:
        """|F|."""
        return self.distance(self.moved(point), point.x)

    def switching(self, x: Array) -> dict[str, float]:
        """The statistics of a control that is on and then off; empty for others."""
        if not isinstance(self.terms, Joint):
            return {}
        size, ends = norms(x), self.run.space.mesh.nodes
        top = self.terms.bound if np.isfinite(self.terms.bound) else float(np.max(size))
        on, off = size >= (1.0 - 1e-9) * top, size <= 1e-9 * top
        first = int(np.argmin(np.append(on, False)))
        last = len(size) - int(np.argmin(np.append(off[::-1], False)))
        if not top > 0.0 or first == 0 or last == len(size):
            return {}
        return {
            "switching_time": float(self.tau @ size) / top,
            "on_until": float(ends[first]),
            "off_from": float(ends[last]),
        }


def turned(model: LinearQuadratic, turn: Array | None, root: Array) -> LinearQuadratic:
    """The model in the coordinates turn_k root u_k, turn (K, m, m) symmetric and orthogonal."""
    model = model._replace(B=model.B / root, S=model.S / root, R=model.R / (root[:, None] * root))
    if turn is None:
        return model
    return model._replace(
        B=np.einsum("kmni,kij->kmnj", model.B, turn),
        S=np.einsum("kmni,kij->kmnj", model.S, turn),
        R=turn @ model.R @ turn,
    )


def freed(
    model: LinearQuadratic, free: Array, held: Array, tau: Array, weight: Array, linear: Array
) -> LinearQuadratic:
    """(dx, H dx) / 2 + sum_k weight dx^2 / 2 + linear dx, H that of the model, as a problem for the
    entries that are free, dx = held for the others; all (K, m), and tau (K, 1) what stands on the
    diagonal of those.
    """
    drift = np.zeros_like(model.q)  # of the states, by what is held
    for k in range(len(model.A)):
        pushed = np.einsum("mij,mj->mi", model.A[k], drift[k])
        drift[k + 1] = pushed + model.B[k] @ held[k]
    q = np.einsum("kmij,kmj->kmi", model.Q, drift)
    q[:-1] += np.einsum("kmia,ka->kmi", model.S, held)
    r = np.einsum("kmia,kmi->ka", model.S, drift[:-1]) + np.einsum("kab,kb->ka", model.R, held)
    diagonal = np.where(free, weight, tau)[:, :, None] * np.eye(free.shape[1])
    return LinearQuadratic(
        A=model.A,
        B=np.ascontiguousarray(model.B * free[:, None, None, :]),
        Q=model.Q,
        S=np.ascontiguousarray(model.S * free[:, None, None, :]),
        R=model.R * (free[:, :, None] & free[:, None, :]) + diagonal,
        q=q,
        r=(r + linear) * free,
    )
