"""The run of a control held on layers, enclosed in boxes, and so a proved bound of the least cost.

On a layer f' = F(f) = psi(u), u = a + C R, R = s m phi(f), with constant a, C and with phi and psi
that never fall.  A step of length tau from the box X,

    f(tau) in X + tau F(X) + tau^2 / 2 [DF F](B),     DF F = psi'(u) C (s m phi'(f) F),

B a box that holds the run during the step: if X + [0, tau] F(B) lies in B, none leaves it (Picard).
psi' and phi' may jump, as F' = DF F almost everywhere; their values over a box are those at its
ends and at the points between which they are monotone.  A running cost L is a further row, with
L' = DL F.  Widths are about tau^2; every operation is rounded outwards.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from continuum.activations import Activation, identity
from continuum.arrays import Array
from continuum.checks import check_count
from continuum.controls import Control
from continuum.doors import checked
from continuum.endpoints import no_endpoint
from continuum.functional import RunningCost, Tracking
from continuum.losses import CrossEntropy, SquaredError
from continuum.networks import Chain, Rows
from continuum.problem import LearningProblem
from continuum.records import plain, short

from .enclosures import ROUNDING, affine_outputs, unknown_cost

_TRIES = 40


@dataclass(frozen=True, eq=False)
class ProvedCost:
    """lower <= J(control) <= value on the problem that is continuous in time, rounding included, so
    that J* <= value: see `proved_cost`.
    """

    value: float
    lower: float
    control: Control = field(repr=False)

    __repr__ = short
    to_dict = plain

    def __str__(self) -> str:
        return (
            f"J* <= {self.value:.10g}, proved: a control costs between {self.lower:.10g} and that"
        )


@checked
def proved_cost(problem: LearningProblem, control: Control, steps: int = 4000) -> ProvedCost:
    """Bounds of J(control), of all samples, by an interval enclosure of its run.

    steps : how many steps are made at least; the width is about 1 / steps^2
    raises ValueError or TypeError, by name, for a control outside the admissible set, or linear in
        time on layers; for units that read no rows of their own, activations that fall somewhere
        or of which slopes are not bounded on intervals; for costs that are no known loss of a
        readout linear in the state; for runs that are not enclosed
    """
    steps = check_count("steps", steps)
    control = problem.space.check("control", control)
    no_endpoint(problem.endpoint, "proved_cost")
    reason = _reason(problem)
    if reason:
        raise ValueError(f"no cost is proved here: {reason}")
    if problem.admissible is not None and not problem.admissible.contains(control, 0.0):
        raise ValueError("control lies outside the admissible set: project it first")
    run, mesh = _Run(problem), problem.mesh
    f = Interval(problem.initial, problem.initial)
    cost = Interval.of(np.zeros(f.low.shape[1]))
    for layer in range(mesh.layers):
        count = int(np.ceil(steps * mesh.steps[layer] / mesh.horizon))
        middle = 0.5 * (mesh.nodes[layer] + mesh.nodes[layer + 1])
        values = {**problem.space.held(layer, middle), **control.at_layer(layer, middle)}
        tau = _exactly(mesh.nodes[layer + 1]) - _exactly(mesh.nodes[layer])
        tau = tau * (1.0 / count)
        for _ in range(count):
            f, cost = run.step(f, cost, values, tau)
    if problem.functional.terminal is not None:
        cost = cost + run.cost(problem.functional.terminal, f)
    weights = _exactly(problem.sample_weights[None, :])
    total = weights.times(Interval(cost.low[:, None], cost.high[:, None])).row(0)
    penalty = 0.0 if problem.penalty is None else problem.penalty.value(control)
    total = total + _exactly(np.array([penalty])).wider(ROUNDING * abs(penalty))
    return ProvedCost(float(total.high[0]), float(total.low[0]), control)


def _reason(problem: LearningProblem) -> str:
    network, space = problem.network, problem.space
    if not isinstance(network, Chain) or network.rows is None:
        return f"{network!r} is no network whose units read rows of their own"
    moving = [b.name for b in space.blocks if b.time == "nodes"]
    if moving:
        return f"the control {', '.join(moving)} is linear on layers, only constant ones are known"
    for sigma in (network.rows.phi or identity, network.rows.psi or identity):
        if not sigma.monotone or sigma.slope_extrema is None:
            return f"the slopes of {sigma} are not bounded on intervals"
    running = problem.functional.running
    if running is not None and not (
        isinstance(running, Tracking) and isinstance(running.loss, SquaredError)
    ):
        return f"the running cost {running!r} is no SquaredError"
    for cost in (problem.functional.terminal, running):
        if unknown_cost(cost):
            return unknown_cost(cost)
    return ""


@dataclass(frozen=True, eq=False)
class Interval:
    """Numbers between low and high; results are moved outwards by more than their rounding."""

    low: Array
    high: Array

    __repr__ = short

    @classmethod
    def of(cls, x: Array) -> "Interval":
        """x alone."""
        return cls(x, x)

    def wider(self, size: Array | float) -> "Interval":
        """With `size` more at both ends."""
        return Interval(self.low - size, self.high + size)

    def __add__(self, other: "Interval") -> "Interval":
        return _outwards(self.low + other.low, self.high + other.high)

    def __sub__(self, other: "Interval") -> "Interval":
        return _outwards(self.low - other.high, self.high - other.low)

    def __mul__(self, other: "Interval | float") -> "Interval":
        other = other if isinstance(other, Interval) else _exactly(other)
        products = np.stack(
            np.broadcast_arrays(
                self.low * other.low,
                self.low * other.high,
                self.high * other.low,
                self.high * other.high,
            )
        )
        return _outwards(np.min(products, axis=0), np.max(products, axis=0))

    def times(self, other: "Interval") -> "Interval":
        """The product of matrices, self (P, N) and other (N, M)."""
        products = Interval(self.low[:, :, None], self.high[:, :, None]) * Interval(
            other.low[None], other.high[None]
        )
        size = 4.0 * len(other.low) * 2.0**-53
        room = size * np.sum(np.maximum(np.abs(products.low), np.abs(products.high)), axis=1)
        return Interval(np.sum(products.low, axis=1), np.sum(products.high, axis=1)).wider(room)

    def row(self, number: int) -> "Interval":
        """One of its rows."""
        return Interval(self.low[number], self.high[number])

    def image(self, rising: Callable[[Array], Array]) -> "Interval":
        """Of an activation that never falls, good to 1e-12 relative."""
        low, high = rising(self.low), rising(self.high)
        return Interval(low - ROUNDING * np.abs(low), high + ROUNDING * np.abs(high))

    def slopes(self, sigma: Activation) -> "Interval":
        """Of sigma: its values at both ends and at the extrema between them."""
        if sigma is identity:
            one = np.ones_like(self.low)
            return Interval(one, one)
        x = self.wider(1e-14 * (1.0 + np.abs(self.low) + np.abs(self.high)))
        seen = [sigma.derivative(x.low), sigma.derivative(x.high)]
        for s in sigma.slope_extrema or ():
            inside = (x.low <= s) & (s <= x.high)
            peak = sigma.derivative(np.full_like(x.low, s))
            seen += [np.where(inside, peak, seen[0])]
        low, high = np.min(seen, axis=0), np.max(seen, axis=0)
        return Interval(low - ROUNDING * np.abs(low), high + ROUNDING * np.abs(high))


def _exactly(x: Array | float) -> Interval:
    return Interval(np.asarray(x, dtype=float), np.asarray(x, dtype=float))


def _outwards(low: Array, high: Array) -> Interval:
    return Interval(np.nextafter(low, -np.inf), np.nextafter(high, np.inf))


class _Run:
    """Steps of the boxes of all samples, (N, M), and of their running costs (M,)."""

    def __init__(self, problem: LearningProblem) -> None:
        self.problem, network = problem, problem.network
        if not isinstance(network, Chain) or network.rows is None:
            raise TypeError("the problem changed")
        self.rows: Rows = network.rows
        self.running = problem.functional.running
        units = len(network.weights)
        measure = np.ones(units) if self.rows.weights is None else self.rows.weights
        self.measure = _exactly(self.rows.sign * measure[:, None])

    def step(
        self, f: Interval, cost: Interval, values: dict[str, Array], tau: Interval
    ) -> tuple[Interval, Interval]:
        """The boxes after a step, X + tau F(X) + tau^2 / 2 [DF F](B)."""
        speed = self.velocity(f, values)[0]
        box = self._picard(f, speed, values, tau)
        within, u = self.velocity(box, values)
        phi, psi = self.rows.phi or identity, self.rows.psi or identity
        turned = self.measure * (box.slopes(phi) * within)
        bend = u.slopes(psi) * _exactly(values[self.rows.block]).times(turned)
        half = tau * tau * 0.5
        if self.running is not None:
            cost = cost + tau * self.cost(self.running, f) + half * self._rate(box, within)
        return f + tau * speed + half * bend, cost

    def velocity(self, f: Interval, values: dict[str, Array]) -> tuple[Interval, Interval]:
        """F and u over the box f."""
        inputs = f if self.rows.phi is None else f.image(self.rows.phi.value)
        u = _exactly(values[self.rows.block]).times(self.measure * inputs)
        if self.rows.offset is not None:
            u = u + _exactly(values[self.rows.offset][:, None])
        psi = self.rows.psi
        return (u if psi is None or psi is identity else u.image(psi.value)), u

    def _picard(
        self, f: Interval, speed: Interval, values: dict[str, Array], tau: Interval
    ) -> Interval:
        """A box that holds the runs from f during a step."""
        whole = Interval(np.zeros_like(tau.low), tau.high)
        for _ in range(_TRIES):
            moved = whole * speed
            room = 0.1 * (moved.high - moved.low) + 1e-13 * (1.0 + np.abs(f.low) + np.abs(f.high))
            box = (f + moved).wider(room)
            speed = self.velocity(box, values)[0]
            inside = f + whole * speed
            if np.all((inside.low >= box.low) & (inside.high <= box.high)):
                return inside
        raise ValueError("the run is not enclosed: take more steps")

    def _residual(self, cost: Tracking, f: Interval) -> tuple[Interval, Interval, Array]:
        """o - y and A over the box f, and the outputs' measure."""
        a, b, v = affine_outputs(self.problem, cost)
        matrix = _exactly(a)
        if cost.target is None or callable(cost.target):
            raise TypeError("the cost changed")
        rest = b[:, None] - cost.target
        size = 4.0 * 2.0**-53 * (np.abs(b[:, None]) + np.abs(cost.target))
        return matrix.times(f) + _exactly(rest).wider(size), matrix, v

    def _rate(self, f: Interval, speed: Interval) -> Interval:
        """(M,): DL F over the box f."""
        if not isinstance(self.running, Tracking) or not isinstance(
            self.running.loss, SquaredError
        ):
            raise TypeError("the problem changed")
        e, matrix, v = self._residual(self.running, f)
        row = _exactly(2.0 * self.running.loss.weight * v[None, :])
        return row.times(e * matrix.times(speed)).row(0)

    def cost(self, cost: RunningCost, f: Interval) -> Interval:
        """(M,): a cost over the box f: squares as they are; other losses by their value in the
        middle and their derivatives in the outputs, which are no larger than the weight times v, or
        v^(1/2) for |o - y|, or 1 for the cross-entropy.
        """
        if not isinstance(cost, Tracking) or cost.target is None or callable(cost.target):
            raise TypeError("the cost changed")
        e, _, v = self._residual(cost, f)
        if isinstance(cost.loss, SquaredError):
            square = e * e
            square = Interval(np.maximum(square.low, 0.0), square.high)
            return _exactly(cost.loss.weight * v[None, :]).times(square).row(0)
        measure = np.maximum(v, np.sqrt(v))
        if isinstance(cost.loss, CrossEntropy):
            measure = np.ones_like(v)
        middle = 0.5 * (e.low + e.high)
        reach = measure @ (e.high - e.low) * getattr(cost.loss, "weight", 1.0)
        value = cost.loss.value(middle + cost.target, cost.target, v)
        size = ROUNDING * (1.0 + np.abs(value) + np.max(np.abs(middle)))
        return _exactly(value).wider(reach + size)
