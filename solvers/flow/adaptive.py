"""Step-size control: the accepted and rejected attempts of an embedded pair."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array, namespace
from continuum.controls import ControlPath
from continuum.networks import Network

from ..run.status import Status
from ..steps.embedded import AdaptiveRungeKutta, mean_square, worst
from ..steps.tableaux import Velocity, combine


@dataclass(frozen=True, eq=False)
class Attempt:
    """One attempted step from `start` to `end` in `layer`; `status` is set if there can be no
    further one.
    """

    layer: int
    start: float
    end: float
    state: Array
    slopes: list[Array]
    accepted: bool
    status: Status | None = None


def accepted_steps(
    network: Network,
    control: ControlPath,
    stepper: AdaptiveRungeKutta,
    f: Array,
    breakpoints: Sequence[float],
) -> Iterator[Attempt]:
    """All attempts from 0 to the horizon; no accepted step crosses a breakpoint.

    The step is multiplied by 0.9 e^(-1/(q + 1)), within (0.2, 5), e the scaled error and q its
    order; not enlarged after a rejection.
    """
    mesh = control.mesh
    ends = [*breakpoints, mesh.horizon]
    t, h = 0.0, 0.0
    w = network.weights_like(f)
    exponent = -1.0 / (stepper.error_order + 1)
    for end in ends:
        layer = mesh.layer_of(0.5 * (t + end))
        rejected = False

        def slope(at: float, state: Array, layer: int = layer) -> Array:
            return network.velocity(state, control.at_layer(layer, at), at)

        first = slope(t, f)
        h = h or _first_step(slope, stepper, t, end, f, first, w)
        while t < end:
            if h <= 16 * np.spacing(max(t, h)):
                finite = bool(namespace(f).all(namespace(f).isfinite(first)))
                status = Status.STEP_UNDERFLOW if finite else Status.NON_FINITE
                yield Attempt(layer, t, t, f, [], False, status)
                return
            size, reached = (end - t, end) if t + 1.001 * h >= end else (h, t + h)
            slopes = [first]
            for i in range(1, len(stepper.c)):
                slopes.append(
                    slope(t + float(stepper.c[i]) * size, combine(f, size, stepper.a[i], slopes))
                )
            state = combine(f, size, stepper.b, slopes)
            error = scaled_error(stepper, size, slopes, f, state, w)
            accepted = error <= 1.0
            yield Attempt(layer, t, reached, state, slopes, accepted)
            factor = (
                0.2
                if not np.isfinite(error)
                else min(5.0, max(0.2, 0.9 * max(error, 1e-10) ** exponent))
            )
            if accepted:
                # a step cut short by a breakpoint says little of how long the next may be
                h = (
                    max(h, size * factor)
                    if size < h
                    else size * (min(1.0, factor) if rejected else factor)
                )
                t, f, rejected = reached, state, False
                first = slopes[-1] if stepper.first_same_as_last else slope(t, f)
            else:
                h, rejected = size * factor, True


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
    t: float,
    end: float,
    f: Array,
    first: Array,
    w: Array,
) -> float:
    """A first step from the sizes of f, f' and f'' (Hairer, Norsett and Wanner, Solving ODEs I,
    II.4).
    """
    rtol, atol = stepper.tolerances
    scale = atol + rtol * namespace(f).abs(f)

    def size(x: Array) -> float:
        return worst(mean_square(x / scale, w))

    d0, d1 = size(f), size(first)
    if not np.isfinite(d1):
        return 0.0
    h0 = 1e-6 * (end - t) if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1
    h0 = min(h0, end - t)
    d2 = size(slope(t + h0, f + h0 * first) - first) / h0
    largest = max(d1, d2)
    h1 = (
        max(1e-6 * (end - t), 1e-3 * h0)
        if largest <= 1e-15
        else (0.01 / largest) ** (1 / (stepper.error_order + 1))
    )
    return min(100 * h0, h1, end - t)
