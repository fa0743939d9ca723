"""Step-size control: the accepted and rejected attempts of an embedded pair."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import factorial
from typing import Protocol

import numpy as np

from continuum.arrays import Array, namespace
from continuum.controls import ControlPath
from continuum.networks.network import Values

from ..run.status import Status
from ..steps.embedded import AdaptiveRungeKutta, mean_square, worst
from ..steps.tableaux import Velocity, combine
from .program import Loop, pair_of


@dataclass(frozen=True, eq=False)
class Attempt:
    """One attempted step from `start` to `end` in `layer`; `status` is set if there can be no
    further one.

    control : as it is between the breakpoints around the step
    """

    layer: int
    start: float
    end: float
    state: Array
    slopes: list[Array]
    accepted: bool
    control: ControlPath
    status: Status | None = None


SAFETY, SHORTEST, LONGEST = 0.9, 0.2, 10.0
"""A step is multiplied by SAFETY e^(-1/(q + 1)), at least SHORTEST and at most LONGEST times."""
FIRST_ERROR = 0.05
"""The scaled error that the first step aims at."""


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
) -> Iterator[Attempt]:
    """All attempts from 0 to the horizon; no accepted step crosses a breakpoint.

    With e the scaled error of a step of length h and q its order, the next one has the length
    h SAFETY e^(-1/(q + 1)), within SHORTEST and LONGEST times h, at most max_step, and not longer
    than h after a rejection.  What is left before a breakpoint is one step if that is at most 1.05
    times as long, two equal ones if it is less than two steps.
    """
    mesh = control.mesh
    ends = [*breakpoints, mesh.horizon]
    t, h = 0.0, 0.0
    w = network.weights_like(f)
    loop, pair = Loop.of(network, control, stepper, f), pair_of(stepper, w)
    for end in ends:
        layer, piece = mesh.layer_of(0.5 * (t + end)), control.between(t, end)
        rejected, error = False, 0.0
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
        h = h or min(stepper.max_step, _first_step(slope, stepper, end - t, t, f, first, w))
        while t < end:
            if h <= 16 * np.spacing(max(t, h)):
                finite = bool(namespace(f).all(namespace(f).isfinite(first)))
                finite = finite and bool(np.isfinite(error))
                status = Status.STEP_UNDERFLOW if finite else Status.NON_FINITE
                yield Attempt(layer, t, t, f, [], False, piece, status)
                return
            size = _planned(h, end - t, stepper.max_step)
            reached = end if size == end - t else t + size
            if loop is not None and pair is not None:
                moment = layer, size, (t - start) / tau, size / tau
                state, slopes, error = loop.attempt(pair, f, first, moment)
            else:
                state, slopes, error = _attempt(slope, stepper, t, size, f, first, w)
            accepted = error <= 1.0
            yield Attempt(layer, t, reached, state, slopes, accepted, piece)
            factor = _factor(error, stepper.error_order)
            if accepted:
                # a step cut short by a breakpoint says little of how long the next may be
                h = (
                    max(h, size * factor)
                    if size < h
                    else size * min(factor, 1.0 if rejected else factor)
                )
                h = min(h, stepper.max_step)
                t, f, rejected = reached, state, False
                first = slopes[-1] if stepper.first_same_as_last else slope(t, f)
            else:
                h, rejected = size * factor, True


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


def _planned(h: float, left: float, max_step: float) -> float:
    """The length of the next step, h being what the tolerances allow and `left` what is left."""
    if left <= min(1.05 * h, (1.0 + 1e-10) * max_step):
        return left
    return 0.5 * left if left < 2.0 * h else h


def _factor(error: float, order: int) -> float:
    """What the length of a step with this scaled error is multiplied by; the least if it is not
    finite.
    """
    if not np.isfinite(error):
        return SHORTEST
    return min(LONGEST, max(SHORTEST, SAFETY * max(error, 1e-10) ** (-1.0 / (order + 1))))


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


def _first_step(
    slope: Velocity,
    stepper: AdaptiveRungeKutta,
    span: float,
    t: float,
    f: Array,
    first: Array,
    w: Array,
) -> float:
    """A first step h whose scaled error should be FIRST_ERROR; 0 if the velocity is not finite.

    With rate = |f''| / |f'| and derivatives that grow as those of an analytic function do,
    f^(n + 1) = n! rate^n f', the error is error_constant h^(q + 1) q! rate^q |f'|: so the step
    scales with time as the solution does.  At most |f| / |f'|, since f'' was measured over a
    hundredth of that.  Where f' vanishes, h^(q + 1) |f''| = FIRST_ERROR in units of the span, and
    at most 1e-4 of it.  Compare Hairer, Norsett and Wanner, Solving ODEs I, II.4, where
    h^(q + 1) max(|f'|, |f''|) = 0.01 gives a first step that is 5 to 20 times too short.
    """
    rtol, atol = stepper.tolerances
    scale = atol + rtol * namespace(f).abs(f)
    order = stepper.error_order

    def size(x: Array) -> float:
        return worst(mean_square(x / scale, w))

    # times and rates in units of the span from here on
    d0, d1 = size(f), span * size(first)
    if not np.isfinite(d1):
        return 0.0
    moves = d1 > 1e-5
    probe = min(1.0, 0.01 * d0 / d1) if moves and d0 > 1e-5 else 1e-6
    d2 = size(slope(t + probe * span, f + probe * span * first) - first) * span / probe
    if not np.isfinite(d2):
        return probe * span
    longest = 1.0 if moves and d0 <= 1e-5 else min(1.0, 100.0 * probe)
    error = max(d1, d2)
    if moves:
        error = stepper.error_constant * factorial(order) * d1 * (d2 / d1) ** order
    return span * min(longest, (FIRST_ERROR / max(error, 1e-300)) ** (1.0 / (order + 1)))
