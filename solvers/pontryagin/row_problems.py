"""The global minimum of p psi(s) + rho(s) in one real unknown, for many numbers p at once.

rho(s) is the least penalty of a row of the control that gives the preactivation s, so that it is
convex, and mu is its slope: with c(mu) the row that minimises penalty(c) - mu u(c) over the set,
s(mu) = u(c(mu)) never falls, and the minimiser is c(mu) for a zero mu of

    r(mu) = mu + p psi'(s(mu)),    |mu| <= |p| sup |psi'|,

with mu <= 0 for p > 0 and mu >= 0 for p < 0 where psi is monotone.

Proof.  Let c* be a minimiser and s* = u(c*).  For every c in the set penalty(c) - penalty(c*) >=
-p (psi(u(c)) - psi(s*)) >= -|p| sup|psi'| |u(c) - s*|, and >= 0 if psi is monotone and p (u(c) -
s*) <= 0; so the convex rho has a slope mu at s* within the bounds above, that is c* = c(mu), and
where psi is differentiable mu = -p psi'(s*) is one.  Where it is not, r jumps through zero.

All zeros are found by bisection: between points at which psi' changes from rising to falling it is
monotone, so that psi' on [s(mu_1), s(mu_2)] lies between its values at the ends and at those
points.  Intervals where r has one sign by these bounds are dropped, and no zero is ever missed.
"""

from collections.abc import Callable

import numpy as np

from continuum.activations import Activation
from continuum.arrays import Array

Response = Callable[[Array, Array], tuple[Array, Array]]
"""(mu, number of the problem), both (Q,) -> s(mu) and the penalty of c(mu), both (Q,)."""

_LEVELS, _FINAL = 46, 8
"""Bisections of all intervals that are left, then of the best one of each problem."""

_MOST = 64
"""Intervals left per problem, on average, at which bisection ends early: a degenerate zero."""


def multipliers(psi: Activation, p: Array, respond: Response) -> tuple[Array, Array]:
    """(mu, doubt), both (Q,): the minimiser's slope, and how much lower the minimum may be at most.

    p : (Q,); mu = 0 where p = 0
    raises ValueError for an activation that does not say where its derivative turns
    """
    if psi.slope_extrema is None:
        raise ValueError(f"it is not known where the derivative of {psi} turns")
    bound = np.abs(p) * psi.lipschitz
    problem = np.flatnonzero(bound > 0.0)
    low = np.where((p > 0.0) | (not psi.monotone), -bound, 0.0)[problem]
    high = np.where((p < 0.0) | (not psi.monotone), bound, 0.0)[problem]
    left, right = respond(low, problem)[0], respond(high, problem)[0]
    for _ in range(_LEVELS):
        if len(problem) > _MOST * len(p):
            break
        middle = 0.5 * (low + high)
        between = respond(middle, problem)[0]
        problem = np.concatenate([problem, problem])
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
        left, right = np.concatenate([left, between]), np.concatenate([between, right])
        least, most = _range(psi, p[problem], low, high, left, right)
        slack = 1e-14 * bound[problem]
        kept = np.flatnonzero((least <= slack) & (most >= -slack))
        problem, low, high = problem[kept], low[kept], high[kept]
        left, right = left[kept], right[kept]
    least, most = _range(psi, p[problem], low, high, left, right)
    doubt = np.zeros(len(p))
    np.maximum.at(doubt, problem, (most - least) * np.abs(right - left))
    return _best(psi, p, respond, (problem, low, high)), doubt


def _range(
    psi: Activation, p: Array, low: Array, high: Array, left: Array, right: Array
) -> tuple[Array, Array]:
    """Bounds of r on intervals of mu, whose ends have the preactivations left and right."""
    margin = 1e-13 * (1.0 + np.maximum(np.abs(left), np.abs(right)))
    first, last = left - margin, right + margin
    slopes = [psi.derivative(first), psi.derivative(last)]
    for turn in psi.slope_extrema or ():
        for side in (turn, np.nextafter(turn, np.inf)):  # both slopes where psi has a kink
            inside = (first <= side) & (side <= last)
            slopes.append(np.where(inside, psi.derivative(np.full_like(left, side)), slopes[0]))
    ends = p * np.stack(slopes)
    return low + np.min(ends, axis=0), high + np.max(ends, axis=0)


def _best(
    psi: Activation, p: Array, respond: Response, intervals: tuple[Array, Array, Array]
) -> Array:
    """The interval of each problem whose values are lowest, and by bisection the zero of r in
    it.
    """
    problem, low, high = intervals
    mu = np.zeros(len(p))
    if len(problem) == 0:
        return mu
    value = np.full(len(problem), np.inf)
    for at in (low, 0.5 * (low + high), high):
        s, penalty = respond(at, problem)
        value = np.minimum(value, p[problem] * psi.value(s) + penalty)
    order = np.lexsort((value, problem))
    chosen = order[np.unique(problem[order], return_index=True)[1]]
    problem, width = problem[chosen], high[chosen] - low[chosen]
    low, high = low[chosen] - width, high[chosen] + width  # the zero may lie at an end
    for _ in range(_FINAL):
        middle = 0.5 * (low + high)
        rising = middle + p[problem] * psi.derivative(respond(middle, problem)[0]) < 0.0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    mu[problem] = 0.5 * (low + high)
    return mu
