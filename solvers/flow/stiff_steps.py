"""Step control for implicit methods: the accepted and rejected attempts of an EmbeddedImplicit.

Factorisations are kept as long as the iteration of the stages converges fast and the steps stay as
long as they are.
Source: Hairer and Wanner, Solving ordinary differential equations II, IV.8.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from continuum.arrays import Array, namespace
from continuum.controls import ControlPath

from ..run.status import Status
from ..steps.embedded import AdaptiveRungeKutta
from ..steps.shifted import Linearization
from ..steps.stiff import EmbeddedImplicit, RadauIIA5
from ..steps.tableaux import StepFailed
from .adaptive import Attempt, accepted_steps, first_step
from .adaptive_loops import Rules, is_too_short, planned
from .stiff_stages import (
    MOST,
    Coupled,
    Differentiable,
    Effort,
    Field,
    Latest,
    Norm,
    OneByOne,
    Solved,
)

SAFETY, SHORTEST, LONGEST = 0.9, 0.2, 10.0
FAST = 1e-3
"""The matrix is kept if corrections shrink at least this fast, or few were needed."""
KEPT = 1.2
"""A step that could be longer by less than this keeps its length, and so the factorisations."""


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
        self.norm = Norm(network, stepper, f)
        kind = Coupled if isinstance(stepper, RadauIIA5) else OneByOne
        self.stages = kind(stepper, self.norm, f)

    def attempts(
        self, f: Array, breakpoints: Sequence[float], t: float, h: float
    ) -> Iterator[Attempt]:
        """As `chosen_steps`."""
        mesh = self.control.mesh
        for end in (*breakpoints, mesh.horizon):
            layer = mesh.layer_of(0.5 * (t + end))
            piece = self.control.between(t, end)
            field = Field(self.network, piece, layer, self.effort)
            for attempt, following in self._piece(field, t, end, h, f):
                h = following
                yield attempt
                if attempt.status is not None:
                    return
                if attempt.accepted:
                    t, f = attempt.end, attempt.state

    def _piece(
        self, field: Field, t: float, end: float, h: float, f: Array
    ) -> Iterator[tuple[Attempt, float]]:
        """The attempts where velocity is smooth, with the length allowed after each."""
        layer, piece, stepper = field.layer, field.piece, self.stepper
        with np.errstate(all="ignore"):
            first = field(t, f)
            h = h or self._first_step(field, end - t, t, f, first)
        linear: Linearization | None = None
        fresh, self.stages.step = False, 0.0
        latest: Latest | None = None
        before: tuple[float, float] | None = None
        reason, doubtful, rejected = Status.STEP_UNDERFLOW, True, False
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
                    h, doubtful, rejected = 0.5 * size, True, True
                    reason = Status.NON_FINITE if self.stages.lost else Status.NEWTON_FAILED
                    yield Attempt(layer, t, reached, f, [], False, piece, stepper), h
                    continue
                error = self._error(field, t, size, f, first, found, doubtful)
            accepted = error <= 1.0
            factor = self._factor(size, error, before, found.iterations)
            if not accepted:
                h, doubtful, rejected = size * factor, True, True
                reason = Status.STEP_UNDERFLOW if math.isfinite(error) else Status.NON_FINITE
                yield Attempt(layer, t, reached, found.state, [], False, piece, stepper), h
                continue
            stale = found.iterations > 2 and found.rate > FAST
            h = self._following(h, size, factor, stale, rejected)
            latest, before = (size, found.parts), (size, max(error, 1e-2))
            parts = [found.parts[i, ...] for i in range(len(stepper.c))]
            yield Attempt(layer, t, reached, found.state, parts, True, piece, stepper), h
            t, f, doubtful, rejected, fresh = reached, found.state, False, False, False
            if stale or linear.matrices is None:
                linear = None
            if t < end:
                first = self.stages.last_slope(field, t, f, size, found)

    def _solved(
        self,
        field: Field,
        linear: Linearization,
        t: float,
        h: float,
        f: Array,
        first: Array,
        latest: Latest | None,
    ) -> Solved | None:
        """The step; None if it was not solved."""
        try:
            if self.stages.step != h:
                self.stages.factorise(linear, h, self.effort)
            return self.stages.solve(field, t, h, f, first, latest)
        except StepFailed:
            return None

    def _error(
        self,
        field: Field,
        t: float,
        h: float,
        f: Array,
        first: Array,
        found: Solved,
        doubtful: bool,
    ) -> float:
        """The scaled error; inf where GMRES fails.

        doubtful : it is estimated once more if it is too large
        """
        scale = self.norm.scale(f, found.state)
        try:
            e = self.stages.error(h, first, found)
            size = self.norm(e, scale)
            if doubtful and not size <= 1.0:
                other = self.stages.again(field, t, f, e)
                size = size if other is None else self.norm(other, scale)
        except StepFailed:
            return math.inf
        return size

    def _following(
        self, h: float, size: float, factor: float, stale: bool, rejected: bool
    ) -> float:
        """The length allowed after an accepted step of length size <= h, allowed h.

        stale : there will be another matrix; rejected : so was the attempt before
        """
        longer = size * (min(1.0, factor) if rejected else factor)
        if size < h:  # a step cut short by a breakpoint says little of how long the next may be
            longer = max(h, longer)
        elif not stale and size <= longer < KEPT * size:
            longer = size
        return min(longer, self.stepper.max_step)

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

    def _first_step(self, field: Field, span: float, t: float, f: Array, first: Array) -> float:
        stepper = self.stepper
        order = stepper.error_order
        rules = Rules(order, math.factorial(order) * stepper.error_constant, stepper.max_step)
        scale = self.norm.scale(f)
        return first_step(field, rules, span, t, f, first, lambda x: self.norm(x, scale))
