"""Whether the steps of an explicit method were short enough where the state grew."""

import numpy as np

from continuum.arrays import Array, namespace
from continuum.controls import ControlPath
from continuum.networks import Network

from ..steps.tableaux import RungeKutta
from .advance import tangent, velocity

GROWTH = 1e6
"""Growth that is looked into: above it, the largest entry against the initial one."""
_MOST = 256


def has_grown(network: Network, control: ControlPath, initial: Array, final: Array) -> bool:
    """max |final| exceeds GROWTH times the larger of max |initial| and T max |F(0, c(0), 0)|."""
    size = largest(final)
    if not size > GROWTH * largest(initial):
        return False
    at_rest = velocity(network, control, 0, 0.0, namespace(initial).zeros_like(initial))
    return size > GROWTH * control.mesh.horizon * largest(at_rest)


def too_long(
    network: Network,
    control: ControlPath,
    stepper: RungeKutta,
    layer: int,
    t: float,
    h: float,
    f: Array,
) -> str:
    """A phrase if a step of length h from (t, f) is far from the solution, else empty.

    The solution is taken to be f_m, the state after m steps of length h / m, for the first
    m = 2, 4, ..., 256 with |f_m - f_m/2| <= 0.1 max(|f_m|, |f|); far is |f_1 - f_m| > 0.5
    max(|f_m|, |f|), in the maximum norm.  If there is no such m, one step is far from it too, since
    f_1 and f_2 differ.

    No bound on solutions can say this: an explicit method with weights >= 0 obeys Gronwall's bound
    |f(t)| <= e^(L |B| t) (...) itself, whatever its steps.  (For f' = -1000 f a step of 0.1 of
    Euler multiplies by -99, and e^(1000 h) is larger.)
    """
    start = scale = largest(f)
    count = 1
    with np.errstate(all="ignore"):
        first = state = _after(network, control, stepper, layer, t, h, 1, f)
        agree = False
        while count < _MOST and not agree:
            count, previous = 2 * count, state
            state = _after(network, control, stepper, layer, t, h / count, count, f)
            scale = max(largest(state), start)
            agree = largest(state - previous) <= 0.1 * scale
        if agree and not largest(first - state) > 0.5 * scale:
            return ""
        one, many = largest(first) / start, largest(state) / start
    return (
        f"at t = {t:.6g} one step of {h:.3g} multiplies the largest entry by {one:.3g}, "
        f"{count} steps of {h / count:.3g} by {many:.3g}"
        + ("" if agree else ", and these are too long too")
    )


def largest(f: Array) -> float:
    """max |f|; NaN if an entry is."""
    xp = namespace(f)
    return float(xp.max(xp.abs(f)))


def _after(
    network: Network,
    control: ControlPath,
    stepper: RungeKutta,
    layer: int,
    t: float,
    h: float,
    count: int,
    f: Array,
) -> Array:
    """The state after `count` steps of length h inside a layer."""
    for n in range(count):
        f = stepper.step(
            lambda s, g: velocity(network, control, layer, s, g),
            lambda s, g, dg: tangent(network, control, layer, s, g, dg),
            t + n * h,
            h,
            f,
        )
    return f
