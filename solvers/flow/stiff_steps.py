"""Step control for implicit methods: the accepted and rejected attempts of an EmbeddedImplicit.

The equations of the stages are solved by a simplified Newton iteration, whose matrices are kept as
long as it converges fast and the steps stay as long as they are.
Source: Hairer and Wanner, Solving ordinary differential equations II, IV.8.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from continuum.arrays import Array, like, namespace
from continuum.controls import ControlPath
from continuum.networks.network import Values

from ..run.status import Status
from ..steps.embedded import AdaptiveRungeKutta
from ..steps.shifted import Linearization, Solve
from ..steps.stiff import EmbeddedImplicit, RadauIIA5
from ..steps.tableaux import StepFailed
from .adaptive import Attempt, VectorField, accepted_steps, first_step
from .adaptive_loops import Rules, is_too_short, planned

MOST = 7
"""Iterations before a step counts as not solved."""
SAFETY, SHORTEST, LONGEST = 0.9, 0.2, 10.0
FAST = 1e-3
"""The matrix is kept if corrections shrink at least this fast, or few were needed."""
EPS = float(np.finfo(np.float64).eps)
KEPT = 1.2
"""A step that could be longer by less than this keeps its length, and so the factorisations."""


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


def chosen_steps(
    network: Differentiable,
    control: ControlPath,
    stepper: AdaptiveRungeKutta | EmbeddedImplicit,
    f: Array,
    breakpoints: Sequence[float],
    effort: Effort | None = None,
    begin: tuple[float, float] = (0.0, 0.0),
) -> Iterator[Attempt]:
    """All attempts of a method that chooses its steps, to the horizon; no accepted step crosses a
    breakpoint.

    effort : adds up what an implicit method costs
    begin : as in `accepted_steps`
    """
    if isinstance(stepper, AdaptiveRungeKutta):
        yield from accepted_steps(network, control, stepper, f, breakpoints, begin)
        return
    if not hasattr(network, "jvp"):
        raise TypeError(f"an implicit method needs the derivative of {network!r}, its jvp")
    run = _Run(network, control, stepper, Effort() if effort is None else effort, f)
    yield from run.attempts(f, breakpoints, *begin)


class _Field:
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
        free = newton.matrix_free(f)
        self.effort.jacobians += not free
        return Linearization.of(
            t,
            f,
            lambda x, dx: self.network.jvp(x, values, t, dx, {}),
            free,
            newton.preconditioner,
        )


class _Norm:
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


@dataclass
class _Solved:
    """An attempted step.

    parts : (s, N, M), what its interpolant takes: the F_i - f, or the h k_i
    iterations, rate : corrections made, and the ratio of the last two; of the worst stage
    """

    state: Array
    parts: Array
    iterations: int
    rate: float


class _Stages(ABC):
    """The equations of the stages of one method, solved by simplified Newton iterations.

    tolerance : of an iteration's error, in units of the tolerances of the steps
    eta : rate / (1 - rate) of the last iteration, by which the first correction is judged
    step : the length of the steps that the factorisations are for; 0 for none
    """

    def __init__(self, stepper: EmbeddedImplicit, norm: _Norm, f: Array) -> None:
        self.stepper, self.norm = stepper, norm
        self.times = stepper.c.tolist()
        self.error_weights = like(stepper.error[None, :], f)
        self.tolerance = max(10 * EPS / norm.rtol, min(0.03, norm.rtol**0.5))
        self.eta = 1.0
        self.step = 0.0
        self._ratio, self._guess = 0.0, self.error_weights

    @abstractmethod
    def factorise(self, linear: Linearization, h: float, effort: Effort) -> None:
        """The matrices of a step of length h."""

    @abstractmethod
    def solve(
        self, field: _Field, t: float, h: float, f: Array, first: Array, guess: Array | None
    ) -> _Solved | None:
        """The step from f, where the slope is `first`; None if the iteration does not converge.

        guess : (s, N, M), F_i - f from an extrapolation
        """

    @abstractmethod
    def error(self, h: float, first: Array, found: _Solved) -> Array:
        """The estimate of the step's error."""

    def again(self, field: _Field, t: float, f: Array, e: Array) -> Array | None:
        """A second estimate, where the first one e may be too large by stiffness."""
        return None

    def last_slope(self, field: _Field, t: float, f: Array, h: float, found: _Solved) -> Array:
        """The slope at the end of an accepted step."""
        with np.errstate(all="ignore"):
            return field(t, f)

    def continued(self, ratio: float, parts: Array) -> Array:
        """(s, N, M): F_i - f by the polynomial of the step before, ratio times shorter than this
        one.
        """
        stepper = self.stepper
        if ratio != self._ratio:
            powers = np.arange(1, stepper.extension.shape[1] + 1)
            theta = 1.0 + np.append(ratio * stepper.c, 0.0)
            weights = (stepper.extension @ theta[None, :] ** powers[:, None]).T
            self._ratio, self._guess = ratio, like(weights[:-1] - weights[-1:], parts)
        return combined(self._guess, parts)

    def converged(self, size: float, before: float, left: int) -> tuple[bool, bool, float]:
        """(done, hopeless, rate) after a correction of this size, the one before it, with so many
        left.
        """
        if not math.isfinite(size):
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


class _Coupled(_Stages):
    """Radau IIA: with Z = T W the Newton equations fall into a real and a complex one,

    (I - z J) dw = z (T^-1 F(f + Z))_1 - w_1,  z = h shift, and the same with h complex_shift.
    """

    def __init__(self, stepper: EmbeddedImplicit, norm: _Norm, f: Array) -> None:
        super().__init__(stepper, norm, f)
        self.from_stages = like(RadauIIA5.from_stages, f)
        self.to_stages = like(RadauIIA5.to_stages, f)

    def factorise(self, linear: Linearization, h: float, effort: Effort) -> None:
        self.z, self.pair_z = h * RadauIIA5.shift, h * RadauIIA5.complex_shift
        self.one: Solve = linear.shifted(self.z)
        self.two: Solve = linear.shifted(self.pair_z)
        if linear.matrices is not None:
            effort.factorisations += 2
        self.step = h

    def solve(
        self, field: _Field, t: float, h: float, f: Array, first: Array, guess: Array | None
    ) -> _Solved | None:
        xp, scale = namespace(f), self.norm.scale(f)
        z = guess
        if z is None:
            z = xp.zeros((3, *f.shape), dtype=f.dtype, device=f.device)
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
                return _Solved(f + z[2, ...], z, count, rate)
            if hopeless:
                return None
            before = size
        return None

    def error(self, h: float, first: Array, found: _Solved) -> Array:
        self.kept = combined(self.error_weights, found.parts)[0, ...] / h
        return self.one(self.z * (first + self.kept))

    def again(self, field: _Field, t: float, f: Array, e: Array) -> Array | None:
        return self.one(self.z * (field(t, f + e) + self.kept))


class _OneByOne(_Stages):
    """Diagonally implicit stages after an explicit one, each an equation with the same matrix:

    F_i - f = h sum_{j < i} a_ij k_j + z F(t + c_i h, F_i),  z = h shift.
    """

    def __init__(self, stepper: EmbeddedImplicit, norm: _Norm, f: Array) -> None:
        super().__init__(stepper, norm, f)
        self.shift = stepper.shift
        self.rows = [like(stepper.a[i : i + 1, :i], f) for i in range(len(stepper.c))]

    def factorise(self, linear: Linearization, h: float, effort: Effort) -> None:
        self.z = h * self.shift
        self.one: Solve = linear.shifted(self.z)
        if linear.matrices is not None:
            effort.factorisations += 1
        self.step = h

    def solve(
        self, field: _Field, t: float, h: float, f: Array, first: Array, guess: Array | None
    ) -> _Solved | None:
        scale, stages = self.norm.scale(f), len(self.times)
        worst, most, change = 0.0, 0, f
        xp = namespace(f)
        parts = xp.empty((stages, *f.shape), dtype=f.dtype, device=f.device)
        parts[0, ...] = h * first
        for i in range(1, stages):
            at = t + self.times[i] * h
            known = combined(self.rows[i], parts[:i, ...])[0, ...]
            change = known + self.shift * parts[i - 1, ...] if guess is None else guess[i, ...]
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
        return _Solved(f + change, parts, most, worst)

    def error(self, h: float, first: Array, found: _Solved) -> Array:
        return self.one(combined(self.error_weights, found.parts)[0, ...])

    def last_slope(self, field: _Field, t: float, f: Array, h: float, found: _Solved) -> Array:
        """That of the last stage, from its equation: F(t, f) would multiply the error of the
        iteration by its stiffness.
        """
        return found.parts[-1, ...] / h


class _Run:
    """One run: the control of its steps.

    With e the scaled error of a step of length h and q its order, the next one has the length
    h s min(1, (h / h_old) (e_old / e)^(1/(q + 1))) e^(-1/(q + 1)), Gustafsson's predictive
    control, s = SAFETY (2 MOST + 1) / (2 MOST + n) after n iterations; within SHORTEST and LONGEST
    times h, at most max_step, and not longer than h after a rejection.
    """

    def __init__(
        self,
        network: Differentiable,
        control: ControlPath,
        stepper: EmbeddedImplicit,
        effort: Effort,
        f: Array,
    ) -> None:
        self.network, self.control, self.stepper, self.effort = network, control, stepper, effort
        self.norm = _Norm(network, stepper, f)
        kind = _Coupled if isinstance(stepper, RadauIIA5) else _OneByOne
        self.stages = kind(stepper, self.norm, f)

    def attempts(
        self, f: Array, breakpoints: Sequence[float], t: float, h: float
    ) -> Iterator[Attempt]:
        """As `chosen_steps`."""
        mesh = self.control.mesh
        for end in (*breakpoints, mesh.horizon):
            layer = mesh.layer_of(0.5 * (t + end))
            piece = self.control.between(t, end)
            field = _Field(self.network, piece, layer, self.effort)
            for attempt, following in self._piece(field, t, end, h, f):
                h = following
                yield attempt
                if attempt.status is not None:
                    return
                if attempt.accepted:
                    t, f = attempt.end, attempt.state

    def _piece(
        self, field: _Field, t: float, end: float, h: float, f: Array
    ) -> Iterator[tuple[Attempt, float]]:
        """The attempts where velocity is smooth, with the length allowed after each."""
        layer, piece, stepper = field.layer, field.piece, self.stepper
        with np.errstate(all="ignore"):
            first = field(t, f)
            h = h or self._first_step(field, end - t, t, f, first)
        linear: Linearization | None = None
        fresh, self.stages.step = False, 0.0
        latest: tuple[float, Array] | None = None
        before: tuple[float, float] | None = None
        reason, rejected = Status.STEP_UNDERFLOW, latest is None
        while t < end:
            if is_too_short(h, t):
                finite = bool(namespace(f).all(namespace(f).isfinite(first)))
                status = reason if finite else Status.NON_FINITE
                yield Attempt(layer, t, t, f, [], False, piece, stepper, status), h
                return
            size = planned(h, end - t, stepper.max_step)
            reached = end if size == end - t else t + size
            with np.errstate(all="ignore"):
                if linear is None:
                    linear, fresh = field.linearized(t, f, stepper), True
                    self.stages.step = 0.0
                found = self._solved(field, linear, t, size, f, first, latest)
                if found is None and not fresh:
                    linear, fresh = field.linearized(t, f, stepper), True
                    self.stages.step = 0.0
                    found = self._solved(field, linear, t, size, f, first, latest)
                if found is None:
                    h, rejected, reason = 0.5 * size, True, Status.NEWTON_FAILED
                    yield Attempt(layer, t, reached, f, [], False, piece, stepper), h
                    continue
                error = self._error(field, t, size, f, first, found, rejected)
            accepted = error <= 1.0
            factor = self._factor(size, error, before, found.iterations)
            if not accepted:
                h, rejected = size * factor, True
                reason = Status.STEP_UNDERFLOW if math.isfinite(error) else Status.NON_FINITE
                yield Attempt(layer, t, reached, found.state, [], False, piece, stepper), h
                continue
            stale = found.iterations > 2 and found.rate > FAST
            longer = size * (min(1.0, factor) if rejected else factor)
            if size < h:  # a step cut short by a breakpoint says little of how long the next may be
                longer = max(h, longer)
            elif not stale and size <= longer < KEPT * size:
                longer = size
            h = min(longer, stepper.max_step)
            latest, before = (size, found.parts), (size, max(error, 1e-2))
            parts = [found.parts[i, ...] for i in range(len(stepper.c))]
            yield Attempt(layer, t, reached, found.state, parts, True, piece, stepper), h
            t, f, rejected, fresh = reached, found.state, False, False
            if stale or linear.matrices is None:
                linear = None
            if t < end:
                first = self.stages.last_slope(field, t, f, size, found)

    def _solved(
        self,
        field: _Field,
        linear: Linearization,
        t: float,
        h: float,
        f: Array,
        first: Array,
        latest: tuple[float, Array] | None,
    ) -> _Solved | None:
        """The step, from the polynomial of the one before continued; None if it has no solution."""
        guess = None
        if latest is not None:
            guess = self.stages.continued(h / latest[0], latest[1])
        try:
            if self.stages.step != h:
                self.stages.factorise(linear, h, self.effort)
            return self.stages.solve(field, t, h, f, first, guess)
        except StepFailed:
            return None

    def _error(
        self,
        field: _Field,
        t: float,
        h: float,
        f: Array,
        first: Array,
        found: _Solved,
        rejected: bool,
    ) -> float:
        """The scaled error; inf where GMRES fails."""
        scale = self.norm.scale(f, found.state)
        try:
            e = self.stages.error(h, first, found)
            size = self.norm(e, scale)
            if rejected and not size <= 1.0:
                other = self.stages.again(field, t, f, e)
                size = size if other is None else self.norm(other, scale)
        except StepFailed:
            return math.inf
        return size

    def _factor(
        self, h: float, error: float, before: tuple[float, float] | None, iterations: int
    ) -> float:
        """What the length of a step is multiplied by."""
        if not math.isfinite(error):
            return SHORTEST
        power = 1.0 / (self.stepper.error_order + 1)
        error = max(error, 1e-10)
        factor = SAFETY * (2 * MOST + 1) / (2 * MOST + iterations) * error**-power
        if before is not None and error <= 1.0:
            factor *= min(1.0, h / before[0] * (before[1] / error) ** power)
        return min(LONGEST, max(SHORTEST, factor))

    def _first_step(self, field: _Field, span: float, t: float, f: Array, first: Array) -> float:
        stepper = self.stepper
        order = stepper.error_order
        rules = Rules(order, math.factorial(order) * stepper.error_constant, stepper.max_step)
        scale = self.norm.scale(f)
        return first_step(field, rules, span, t, f, first, lambda x: self.norm(x, scale))
