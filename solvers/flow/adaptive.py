"""Step-size control: the accepted and rejected attempts of an embedded pair."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from continuum.arrays import Array, namespace
from continuum.controls import ControlPath
from continuum.networks.network import Values
from continuum.records import short

from ..run.status import Status
from ..steps.embedded import AdaptiveRungeKutta, mean_square, worst
from ..steps.stiff import EmbeddedImplicit
from ..steps.tableaux import Velocity, combine
from .adaptive_loops import (
    NON_FINITE,
    UNDERFLOW,
    Reached,
    Rules,
    Span,
    first_share,
    following,
    is_too_short,
    planned,
    probed,
)
from .chain_loops import Pair
from .program import Loop, pair_of, rules_of


@dataclass(frozen=True, eq=False)
class Attempt:
    """One attempted step from `start` to `end` in `layer`; `status` is set if there can be no
    further one.

    control : as it is between the breakpoints around the step
    method : whose step it is
    """

    layer: int
    start: float
    end: float
    state: Array
    slopes: list[Array]
    accepted: bool
    control: ControlPath
    method: AdaptiveRungeKutta | EmbeddedImplicit
    status: Status | None = None

    __repr__ = short


class VectorField(Protocol):
    """What has steps: a network, or one that carries further rows."""

    def velocity(self, f: Array, c: Values, t: float) -> Array:
        """F(f, c, t): (N, M)."""
        ...

    def weights_like(self, example: Array) -> Array:
        """(N,): the weights of the units in the norm of errors."""
        ...


def accepted_steps(
    network: VectorField,
    control: ControlPath,
    stepper: AdaptiveRungeKutta,
    f: Array,
    breakpoints: Sequence[float],
    begin: tuple[float, float] = (0.0, 0.0),
) -> Iterator[Attempt]:
    """All attempts to the horizon; no accepted step crosses a breakpoint.

    begin : the time from which on, where the state is f, and the length of the first attempt; 0 to
        choose it

    With e the scaled error of a step of length h and q its order, the next one has the length
    h SAFETY e^(-1/(q + 1)), within SHORTEST and LONGEST times h, at most max_step, and not longer
    than h after a rejection; see `adaptive_loops`.  What is left before a breakpoint is one step if
    that is at most 1.05 times as long, two equal ones if it is less than two steps.
    """
    mesh = control.mesh
    ends = [*breakpoints, mesh.horizon]
    t, h = begin
    w = network.weights_like(f)
    loop = Loop.of(network, control, stepper, f)
    pair = None if loop is None else pair_of(stepper, w)
    rules = rules_of(stepper)
    for end in ends:
        layer, piece = mesh.layer_of(0.5 * (t + end)), control.between(t, end)
        error = 0.0
        start, tau = float(mesh.nodes[layer]), float(mesh.steps[layer])

        def slope(
            at: float,
            state: Array,
            layer: int = layer,
            piece: ControlPath = piece,
            start: float = start,
            tau: float = tau,
        ) -> Array:
            if loop is not None:
                return loop.slope(state, layer, (at - start) / tau)
            return network.velocity(state, piece.at_layer(layer, at), at)

        first = slope(t, f)
        if not h:
            scale = stepper.tolerances[1] + stepper.tolerances[0] * namespace(f).abs(f)
            h = first_step(
                slope, rules, end - t, t, f, first, lambda x, s=scale: worst(mean_square(x / s, w))
            )
        while t < end:
            if is_too_short(h, t):
                finite = bool(namespace(f).all(namespace(f).isfinite(first)))
                finite = finite and bool(np.isfinite(error))
                status = Status.STEP_UNDERFLOW if finite else Status.NON_FINITE
                yield Attempt(layer, t, t, f, [], False, piece, stepper, status)
                return
            size, before = planned(h, end - t, stepper.max_step), error
            reached = end if size == end - t else t + size
            if loop is not None and pair is not None:
                moment = layer, size, (t - start) / tau, size / tau
                state, slopes, error = loop.attempt(pair, f, first, moment)
            else:
                state, slopes, error = _attempt(slope, stepper, t, size, f, first, w)
            accepted = error <= 1.0
            yield Attempt(layer, t, reached, state, slopes, accepted, piece, stepper)
            h = following(h, size, error, before, rules)
            if accepted:
                t, f = reached, state
                first = slopes[-1] if stepper.first_same_as_last else slope(t, f)


def _attempt(
    slope: Velocity,
    stepper: AdaptiveRungeKutta,
    t: float,
    h: float,
    f: Array,
    first: Array,
    w: Array,
) -> tuple[Array, list[Array], float]:
    """(state, slopes, scaled error) of one step; the reference of the compiled one."""
    with np.errstate(over="ignore", invalid="ignore"):
        slopes = [first]
        for a, c in zip(stepper.a[1:], stepper.c[1:], strict=True):
            slopes.append(slope(t + float(c) * h, combine(f, h, a, slopes)))
        state = combine(f, h, stepper.b, slopes)
        return state, slopes, scaled_error(stepper, h, slopes, f, state, w)


def scaled_error(
    stepper: AdaptiveRungeKutta,
    h: float,
    slopes: list[Array],
    before: Array,
    after: Array,
    w: Array,
) -> float:
    """The error estimate of a step in units of the tolerance, of the worst sample; NaN or inf if
    not finite.
    """
    xp = namespace(before)
    rtol, atol = stepper.tolerances
    return stepper.scaled_error(
        h, slopes, atol + rtol * xp.maximum(xp.abs(before), xp.abs(after)), w
    )


def first_step(
    slope: Velocity,
    rules: Rules,
    span: float,
    t: float,
    f: Array,
    first: Array,
    size: Callable[[Array], float],
) -> float:
    """A first step, see `adaptive_loops.first_share`; 0 if the velocity is not finite.

    size : the norm of errors, in units of the tolerances at f
    """
    # times and rates in units of the span from here on
    d0, d1 = size(f), span * size(first)
    if not np.isfinite(d1):
        return 0.0
    ahead = probed(d0, d1) * span
    d2 = size(slope(t + ahead, f + ahead * first) - first) * span * span / ahead
    return min(rules.max_step, span * first_share(d0, d1, d2, rules))


@dataclass(frozen=True, eq=False)
class Stretch:
    """Attempts made in one compiled call: the numbers of accepted and rejected ones, the times and
    the state they led to; `status` is set if there can be no further one.

    layer : in which they are
    ends, states : of the accepted ones, (accepted,) and (accepted, N, M), where they are kept
    """

    accepted: int
    rejected: int
    start: float
    end: float
    state: Array
    status: Status | None
    layer: int
    ends: Array
    states: Array


_ENDS = {UNDERFLOW: Status.STEP_UNDERFLOW, NON_FINITE: Status.NON_FINITE}


def stretches(
    loop: Loop,
    control: ControlPath,
    stepper: AdaptiveRungeKutta,
    pair: Pair,
    f: Array,
    breakpoints: Sequence[float],
    limits: Callable[[], tuple[int, int]],
    kept: tuple[int, int] = (0, 0),
) -> Iterator[Stretch]:
    """The steps of `accepted_steps` from 0 to the horizon, each stretch of them in compiled code.

    limits : how many accepted steps and attempts the next stretch may have
    kept : for how many accepted steps there is room for their ends, and for their states
    """
    mesh, rules = control.mesh, rules_of(stepper)
    reached = Reached(0.0, 0.0, 0.0)
    for end in (*breakpoints, mesh.horizon):
        layer = mesh.layer_of(0.5 * (reached.t + end))
        span = Span(layer, float(mesh.nodes[layer]), float(mesh.steps[layer]), float(end))
        reached = reached._replace(error=0.0)
        while reached.t < end:
            start = reached.t
            ends, states = np.empty(kept[0]), np.empty((kept[1], *f.shape))
            f, reached, accepted, rejected, code = loop.march(
                pair, rules, f, span, reached, limits(), ends, states
            )
            made = ends[:accepted], states[:accepted]
            yield Stretch(accepted, rejected, start, reached.t, f, _ENDS.get(code), layer, *made)
            if code in _ENDS:
                return
