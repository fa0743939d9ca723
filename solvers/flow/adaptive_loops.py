"""The length of the steps of an embedded pair, in numbers, and the compiled loop that makes them.

The functions of numbers are the only place that says how long a step is: `adaptive.accepted_steps`,
the reference for every network, calls them as they are, `march` in compiled form.
"""

import math
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from continuum.compiled import borrowed, compiled, inlined

from .chain_loops import attempt, slope_at

SAFETY, SHORTEST, LONGEST = 0.9, 0.2, 10.0
"""A step is multiplied by SAFETY e^(-1/(q + 1)), at least SHORTEST and at most LONGEST times."""
FIRST_ERROR = 0.05
"""The scaled error that the first step aims at."""
GOING, UNDERFLOW, NON_FINITE = range(3)
"""How `march` ends: at the end or at a limit, at steps too short, or at states not finite."""


class Rules(NamedTuple):
    """Of a pair: q and q! error_constant (see `steps.embedded`), and the longest step allowed."""

    order: int
    constant: float
    max_step: float


class Reached(NamedTuple):
    """Where a run stands: the time, the length the next step may have (0 before the first), and the
    scaled error of the last attempt since the last breakpoint (0 before the first).
    """

    t: float
    h: float
    error: float


@register_jitable
def is_too_short(h: float, t: float) -> bool:
    """A step of length h from t is lost in the rounding of t."""
    return h <= 16.0 * float(np.spacing(max(t, h)))


@register_jitable
def planned(h: float, left: float, max_step: float) -> float:
    """The length of the next step, h being what the tolerances allow and `left` what is left."""
    if left <= min(1.05 * h, (1.0 + 1e-10) * max_step):
        return left
    return 0.5 * left if left < 2.0 * h else h


@register_jitable
def factor(error: float, order: int) -> float:
    """What the length of a step with this scaled error is multiplied by; the least if it is not
    finite.
    """
    if not math.isfinite(error):
        return SHORTEST
    return min(LONGEST, max(SHORTEST, SAFETY * max(error, 1e-10) ** (-1.0 / (order + 1))))


@register_jitable
def following(h: float, size: float, error: float, before: float, rules: Rules) -> float:
    """The length allowed after an attempt of length `size` <= h, allowed h, with this error.

    before : the error of the attempt before; after a rejection no step is longer than that one
    """
    longer = size * factor(error, rules.order)
    if not error <= 1.0:
        return longer
    if size < h:  # a step cut short by a breakpoint says little of how long the next may be
        longer = max(h, longer)
    elif not before <= 1.0:
        longer = min(longer, size)
    return min(longer, rules.max_step)


@register_jitable
def probed(d0: float, d1: float) -> float:
    """Where f'' is measured, as a share of the span: a hundredth of |f| / |f'|; 1e-6 if one of them
    vanishes.  d0, d1 : |f| and span |f'| in units of the tolerances
    """
    return min(1.0, 0.01 * d0 / d1) if d1 > 1e-5 and d0 > 1e-5 else 1e-6


@register_jitable
def first_share(d0: float, d1: float, d2: float, rules: Rules) -> float:
    """The first step as a share of the span: its scaled error should be FIRST_ERROR.

    d2 : span^2 |f''|.  With rate = |f''| / |f'| and derivatives that grow as those of an analytic
    function do, f^(n + 1) = n! rate^n f', the error is error_constant h^(q + 1) q! rate^q |f'|: so
    the step scales with time as the solution does.  At most |f| / |f'|, since f'' was measured over
    a hundredth of that.  Where f' vanishes, h^(q + 1) |f''| = FIRST_ERROR in units of the span, and
    at most 1e-4 of it.  Compare Hairer, Norsett and Wanner, Solving ODEs I, II.4, where
    h^(q + 1) max(|f'|, |f''|) = 0.01 gives a first step that is 5 to 20 times too short.
    """
    probe, moves = probed(d0, d1), d1 > 1e-5
    if not math.isfinite(d2):
        return probe
    longest = 1.0 if moves and d0 <= 1e-5 else min(1.0, 100.0 * probe)
    error = max(d1, d2)
    if moves:
        error = rules.constant * d1 * min(d2 / d1, 1e30) ** rules.order
    return min(longest, (FIRST_ERROR / max(error, 1e-300)) ** (1.0 / (rules.order + 1)))


@inlined
def _size(x, f, pair, samples):
    """The root mean square of x in units of the tolerances at f, of the worst sample."""
    rtol, atol, worst = pair.tolerances[0], pair.tolerances[1], 0.0
    for m in range(samples):
        square = 0.0
        for y in range(pair.measure.size):
            e = y * samples + m
            square += pair.measure[y] * (x[e] / (atol + rtol * abs(f[e]))) ** 2
        worst = square if not square <= worst else worst
    return np.sqrt(worst)


class Span(NamedTuple):
    """What is smooth: up to the time `end`, in `layer`, which has this start and length."""

    layer: int
    start: float
    length: float
    end: float


@compiled
def march(
    f,
    samples,
    work,
    program,
    blocks,
    method,
    pair,
    rules,
    span,
    reached,
    most,
    attempts,
    slopes,
    ends,
    states,
):
    """Steps f in place to the end of the span, with at most so many accepted steps and attempts.

    slopes : (s + 1, N M), room for the slopes of a step and for its state
    ends, states : (most,) and (most, N M), or (0,) and (0, N M): the ends of the accepted steps and
        the states there are written to them
    Returns t, h, error (what `Reached` keeps), the numbers of accepted and rejected attempts and
    GOING, UNDERFLOW or NON_FINITE; f is finite if it was.
    """
    f, work, slopes = borrowed(f), borrowed(work), borrowed(slopes)
    program, method, pair = borrowed(program), borrowed(method), borrowed(pair)
    t, h, error = reached.t, reached.h, reached.error
    layer, start, length, end = span.layer, span.start, span.length, span.end
    first, last, state = slopes[0], slopes[-2], slopes[-1]
    slope_at(f, samples, work, program, blocks, layer, (t - start) / length, first)
    if h == 0.0:
        left = end - t
        d0, d1 = _size(f, f, pair, samples), left * _size(first, f, pair, samples)
        if math.isfinite(d1):
            ahead = probed(d0, d1) * left
            for e in range(f.size):
                state[e] = f[e] + ahead * first[e]
            share = (t + ahead - start) / length
            slope_at(state, samples, work, program, blocks, layer, share, slopes[1])
            for e in range(f.size):
                slopes[1, e] -= first[e]
            d2 = _size(slopes[1], f, pair, samples) * left * left / ahead
            h = min(rules.max_step, left * first_share(d0, d1, d2, rules))
    accepted = rejected = 0
    while t < end and accepted < most and accepted + rejected < attempts:
        if is_too_short(h, t):
            finite = math.isfinite(error)
            for e in range(f.size):
                finite = finite and math.isfinite(first[e])
            return t, h, error, accepted, rejected, UNDERFLOW if finite else NON_FINITE
        left, before = end - t, error
        size = planned(h, left, rules.max_step)
        moment = layer, size, (t - start) / length, size / length
        error = attempt(f, samples, work, program, blocks, method, pair, moment, slopes[:-1], state)
        h = following(h, size, error, before, rules)
        if error <= 1.0:
            t = end if size == left else t + size
            f[:] = state
            first[:] = last  # the last slope of a pair of the package is the first of the next
            if ends.size > 0:
                ends[accepted] = t
            if states.shape[0] > 0:
                states[accepted] = f
            accepted += 1
        else:
            rejected += 1
    return t, h, error, accepted, rejected, GOING
