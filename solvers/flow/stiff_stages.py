"""The equations of the stages of a step of chosen length, solved by a simplified Newton iteration
whose matrices outlive the step.

Source: Hairer and Wanner, Solving ordinary differential equations II, IV.8.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from continuum.arrays import Array, is_numpy, like, namespace
from continuum.controls import ControlPath
from continuum.networks.network import Values

from ..steps.shifted import Linearization, Solve
from ..steps.stiff import EmbeddedImplicit, RadauIIA5
from .adaptive import VectorField

ENTRIES = 2**26
"""More entries than this of the matrices of all samples are not formed."""
MOST = 7
"""Iterations before a step counts as not solved."""
EPS = float(np.finfo(np.float64).eps)


class Differentiable(VectorField, Protocol):
    """A vector field with its derivative, as networks are."""

    def jvp(self, f: Array, c: Values, t: float, df: Array, dc: Values) -> Array:
        """D_f F df + D_c F dc: (N, M)."""
        ...


@dataclass
class Effort:
    """What a run of an implicit method costs: evaluations of the velocity, matrices D_f F (each for
    all samples; none without matrices), factorisations (one for all samples and one number z).
    """

    velocities: int = 0
    jacobians: int = 0
    factorisations: int = 0


class Field:
    """Velocity and derivative on a piece of the control."""

    def __init__(
        self, network: Differentiable, piece: ControlPath, layer: int, effort: Effort
    ) -> None:
        self.network, self.piece, self.layer, self.effort = network, piece, layer, effort

    def __call__(self, t: float, f: Array) -> Array:
        self.effort.velocities += 1
        return self.network.velocity(f, self.piece.at_layer(self.layer, t), t)

    def linearized(self, t: float, f: Array, stepper: EmbeddedImplicit) -> Linearization:
        """D_f F at (t, f)."""
        newton = stepper.newton
        values = self.piece.at_layer(self.layer, t)
        free = newton.matrix_free(f) or (is_numpy(f) and f.size * f.shape[0] > ENTRIES)
        self.effort.jacobians += not free
        return Linearization.of(
            t,
            f,
            lambda x, dx: self.network.jvp(x, values, t, dx, {}),
            free,
            newton.preconditioner,
        )


class Norm:
    """The root mean square in units of the tolerances, of the worst sample."""

    def __init__(self, network: Differentiable, stepper: EmbeddedImplicit, f: Array) -> None:
        w = network.weights_like(f)
        self.shares = (w / namespace(w).sum(w))[None, :]
        self.rtol, self.atol = stepper.tolerances

    def scale(self, f: Array, other: Array | None = None) -> Array:
        """1 / (atol + rtol max(|f|, |other|))."""
        xp = namespace(f)
        size = xp.abs(f) if other is None else xp.maximum(xp.abs(f), xp.abs(other))
        return 1.0 / (self.atol + self.rtol * size)

    def __call__(self, x: Array, scale: Array) -> float:
        """x : (N, M), or (s, N, M), over whose first axis the mean square is taken too."""
        y = x * scale
        squares = self.shares @ (y * y)
        if x.ndim == 3:
            squares = namespace(x).mean(squares, axis=0)
        return math.sqrt(float(squares[0, 0] if x.shape[-1] == 1 else namespace(x).max(squares)))


Latest = tuple[float, Array]
"""The length of the step before and its `Solved.parts`."""


@dataclass
class Solved:
    """An attempted step.

    parts : (s, N, M), what its interpolant takes: the F_i - f, or the h k_i
    iterations, rate : corrections made, and the ratio of the last two; of the worst stage
    """

    state: Array
    parts: Array
    iterations: int
    rate: float


class Stages(ABC):
    """The equations of the stages of one method, solved by simplified Newton iterations.

    tolerance : of an iteration's error, in units of the tolerances of the steps
    eta : rate / (1 - rate) of the last iteration, by which the first correction is judged
    step : the length of the steps that the factorisations are for; 0 for none
    lost : the last correction was not finite
    """

    def __init__(self, stepper: EmbeddedImplicit, norm: Norm, f: Array) -> None:
        self.stepper, self.norm = stepper, norm
        self.times = stepper.c.tolist()
        self.error_weights = like(stepper.error[None, :], f)
        self.tolerance = max(10 * EPS / norm.rtol, 0.02)
        self.eta = 1.0
        self.step = 0.0
        self.lost = False

    @abstractmethod
    def factorise(self, linear: Linearization, h: float, effort: Effort) -> None:
        """The matrices of a step of length h."""

    @abstractmethod
    def solve(
        self, field: Field, t: float, h: float, f: Array, first: Array, latest: Latest | None
    ) -> Solved | None:
        """The step from f, where the slope is `first`; None if the iteration does not converge."""

    @abstractmethod
    def error(self, h: float, first: Array, found: Solved) -> Array:
        """The estimate of the step's error."""

    def again(self, field: Field, t: float, f: Array, e: Array) -> Array | None:
        """A second estimate, where the first one e may be too large by stiffness."""
        return None

    def last_slope(self, field: Field, t: float, f: Array, h: float, found: Solved) -> Array:
        """The slope at the end of an accepted step."""
        with np.errstate(all="ignore"):
            return field(t, f)

    def converged(self, size: float, before: float, left: int) -> tuple[bool, bool, float]:
        """(done, hopeless, rate) after a correction of this size, the one before it, with so many
        left.
        """
        self.lost = not math.isfinite(size)
        if self.lost:
            return False, True, math.inf
        rate = 0.0
        if before > 0.0:
            rate = size / before
            if rate >= 1.0 or rate**left / (1.0 - rate) * size > self.tolerance:
                return False, True, rate
            self.eta = rate / (1.0 - rate)
        return size == 0.0 or self.eta * size < self.tolerance, False, rate


def combined(weights: Array, parts: Array) -> Array:
    """(r, N, M): sum_j weights_ij parts_j, from (r, s) and (s, N, M)."""
    xp, (count, units, samples) = namespace(parts), parts.shape
    flat = weights @ xp.reshape(parts, (count, units * samples))
    return xp.reshape(flat, (weights.shape[0], units, samples))


class Coupled(Stages):
    """Radau IIA: with Z = T W the Newton equations fall into a real and a complex one,

    (I - z J) dw = z (T^-1 F(f + Z))_1 - w_1,  z = h shift, and the same with h complex_shift.
    """

    def __init__(self, stepper: EmbeddedImplicit, norm: Norm, f: Array) -> None:
        super().__init__(stepper, norm, f)
        # whose errors are far below the estimate, of lower order
        self.tolerance = max(10 * EPS / norm.rtol, min(0.03, norm.rtol**0.5))
        self.from_stages = like(RadauIIA5.from_stages, f)
        self.to_stages = like(RadauIIA5.to_stages, f)
        self._ratio, self._weights = 0.0, self.to_stages

    def _continued(self, ratio: float, parts: Array) -> Array:
        """(s, N, M): F_i - f by the polynomial of the step before, this one being `ratio` times as
        long.
        """
        stepper = self.stepper
        if ratio != self._ratio:
            powers = np.arange(1, stepper.extension.shape[1] + 1)
            theta = 1.0 + np.append(ratio * stepper.c, 0.0)
            weights = (stepper.extension @ theta[None, :] ** powers[:, None]).T
            self._ratio, self._weights = ratio, like(weights[:-1] - weights[-1:], parts)
        return combined(self._weights, parts)

    def factorise(self, linear: Linearization, h: float, effort: Effort) -> None:
        self.z, self.pair_z = h * RadauIIA5.shift, h * RadauIIA5.complex_shift
        self.one: Solve = linear.shifted(self.z)
        self.two: Solve = linear.shifted(self.pair_z)
        if linear.matrices is not None:
            effort.factorisations += 2
        self.step = h

    def solve(
        self, field: Field, t: float, h: float, f: Array, first: Array, latest: Latest | None
    ) -> Solved | None:
        xp, scale = namespace(f), self.norm.scale(f)
        if latest is None:
            z = like(np.zeros((3, *f.shape)), f)
        else:
            z = self._continued(h / latest[0], latest[1])
        w, before = combined(self.from_stages, z), 0.0
        slopes, moved = xp.empty_like(w), xp.empty_like(w)
        self.eta = max(self.eta, EPS) ** 0.8
        for count in range(1, MOST + 1):
            for i, c in enumerate(self.times):
                slopes[i, ...] = field(t + c * h, f + z[i, ...])
            right = combined(self.from_stages, slopes)
            moved[0, ...] = self.one(self.z * right[0, ...] - w[0, ...])
            pair = self.pair_z * (right[1, ...] + 1j * right[2, ...])
            pair = self.two(pair - (w[1, ...] + 1j * w[2, ...]))
            moved[1, ...], moved[2, ...] = xp.real(pair), xp.imag(pair)
            w = w + moved
            z = combined(self.to_stages, w)
            size = self.norm(moved, scale)
            done, hopeless, rate = self.converged(size, before, MOST - count)
            if done:
                return Solved(f + z[2, ...], z, count, rate)
            if hopeless:
                return None
            before = size
        return None

    def error(self, h: float, first: Array, found: Solved) -> Array:
        self.kept = combined(self.error_weights, found.parts)[0, ...] / h
        return self.one(self.z * (first + self.kept))

    def again(self, field: Field, t: float, f: Array, e: Array) -> Array | None:
        return self.one(self.z * (field(t, f + e) + self.kept))


def _continuing(c: Array) -> Array:
    """(s, s): the weights of the slopes k_j, j < i, in the k_i that a line through two gives."""
    weights = np.zeros((len(c), len(c)))
    weights[1, 0] = 1.0
    for i in range(2, len(c)):
        one, two = np.argsort(np.abs(c[:i] - c[i]), kind="stable")[:2]
        weights[i, two] = (c[i] - c[one]) / (c[two] - c[one])
        weights[i, one] = 1.0 - weights[i, two]
    return weights


class OneByOne(Stages):
    """Diagonally implicit stages after an explicit one, each an equation with the same matrix:

    F_i - f = h sum_{j < i} a_ij k_j + z F(t + c_i h, F_i),  z = h shift.

    The iteration starts where k_i continues the line through the slopes of the two earlier stages
    whose times are nearest: polynomials of the step before, of higher degree, start it further off
    where steps grow.
    """

    def __init__(self, stepper: EmbeddedImplicit, norm: Norm, f: Array) -> None:
        super().__init__(stepper, norm, f)
        self.shift = stepper.shift
        ahead = stepper.a + self.shift * _continuing(stepper.c)
        self.rows = [
            like(np.stack([known[:i], guess[:i]]), f)
            for i, (known, guess) in enumerate(zip(stepper.a, ahead, strict=True))
        ]

    def factorise(self, linear: Linearization, h: float, effort: Effort) -> None:
        self.z = h * self.shift
        self.one: Solve = linear.shifted(self.z)
        if linear.matrices is not None:
            effort.factorisations += 1
        self.step = h

    def solve(
        self, field: Field, t: float, h: float, f: Array, first: Array, latest: Latest | None
    ) -> Solved | None:
        scale, stages = self.norm.scale(f), len(self.times)
        worst, most, change = 0.0, 0, f
        parts = like(np.empty((stages, *f.shape)), f)
        parts[0, ...] = h * first
        for i in range(1, stages):
            at = t + self.times[i] * h
            start = combined(self.rows[i], parts[:i, ...])
            known, change = start[0, ...], start[1, ...]
            before, done = 0.0, False
            self.eta = max(self.eta, EPS) ** 0.8
            for count in range(1, MOST + 1):
                move = self.one(known + self.z * field(at, f + change) - change)
                change = change + move
                size = self.norm(move, scale)
                done, hopeless, rate = self.converged(size, before, MOST - count)
                worst, most = max(worst, rate), max(most, count)
                if done or hopeless:
                    break
                before = size
            if not done:
                return None
            parts[i, ...] = (change - known) / self.shift
        return Solved(f + change, parts, most, worst)

    def error(self, h: float, first: Array, found: Solved) -> Array:
        return self.one(combined(self.error_weights, found.parts)[0, ...])

    def last_slope(self, field: Field, t: float, f: Array, h: float, found: Solved) -> Array:
        """That of the last stage, from its equation: F(t, f) would multiply the error of the
        iteration by its stiffness.
        """
        return found.parts[-1, ...] / h
