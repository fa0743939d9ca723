"""What Pontryagin's principle asks of a problem, and the closed forms of the minimiser of H.

At a point (f, p) of a run, p_m the derivative of the cost of sample m in its state (so that H is
minimised; the Hamiltonian of Liu and Markowich, with r = -p, is the negative and is maximised):

    H(c) = sum_m s_m (p_m, F(f_m, c, t)) + sum_m s_m L_m(f_m, c, t) + penalty density(c).

Its minimiser over the admissible set is known exactly in two cases, where L does not depend on c
and the penalty density is sum_b lambda_b |c_b|^2, lambda_b >= 0:

    affine   F is affine in c, any number of samples: H(c) = (g, c) + penalty + const, so a block is
             a support point of -g, or, with lambda > 0, the point nearest to -g / (2 lambda).
             With a term f of degree one besides (L1), y = prox_f(-g) takes the place of -g, where
             their joint proximal map is known: then min over |c| = r of (g, c) + f(c) is -r |y|, at
             c = r y / |y|, so that c = 0 where y = 0, and for f = s |c| where |g| <= s.
    rows     one sample, F_i = psi(u_i), u_i = a_i + (b_i., r(f)), and a set that bounds every row
             (a_i, b_i.) on its own: H is a sum over rows of p_i psi(u_i) + penalty, each minimised
             on its own.  Without penalties psi must not decrease: the row is a support point of
             -p_i (1, r), so that u_i is least where p_i > 0 and largest where p_i < 0.  With
             lambda > 0 it is the point nearest to mu_i (1, r) / (2 lambda), mu_i the minimiser of a
             problem in one unknown (see row_problems).

Where p_i = 0, or an entry does not matter because r_j = 0, a block without penalty stays what it
was (sign 0 = 0).  Several samples and a psi that is not affine have neither: r = (1, -1), c = (-1,
1), tanh, has the maximiser a = 0 of sum_m r_m psi(a - c_m) inside [-1, 1].

Source: Liu and Markowich section 4.2, with E26-E28 of its errata.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from continuum.activations import identity
from continuum.arrays import Array, is_numpy
from continuum.blocks import joint_norm
from continuum.networks import Chain, Rows
from continuum.penalties import PenaltySum, counted, squared, terms_of
from continuum.problem import LearningProblem
from continuum.sets import AdmissibleSet
from continuum.sparsity import L1, obstructing

from .row_problems import multipliers

Values = Mapping[str, Array]
"""One value of every trained block for each of L points: (L, *block.shape)."""

Form = Literal["affine", "rows", "local"]

JOINT = "joint"
"""The name of the switching function of a control that is off or on as a whole."""

_CHUNK = 4_000_000
"""Entries of rows of the control that are formed at once while their slopes are sought."""


def obstacle(problem: LearningProblem) -> str:
    """Why Pontryagin's principle cannot be asked of this problem, in words; empty if it can."""
    static = [b.name for b in problem.space.trained if b.time == "static"]
    if static:
        return (
            f"{', '.join(static)} cannot be chosen at every time on its own: it is constant in "
            "time (hold it with fixed={...} or problem.holding, or train it by minimize)"
        )
    for term in terms_of(problem.penalty):
        if not term.pointwise:
            return (
                f"the penalty {type(term).__name__} is no integral over time of a density, which "
                "H would contain; Tikhonov is one"
            )
    if problem.admissible is not None and not problem.admissible.pointwise:
        return f"the set {problem.admissible!r} does not bound the control at each time on its own"
    if not is_numpy(problem.initial):
        return "states are not NumPy's"
    return ""


def unbounded(problem: LearningProblem) -> str:
    """Which blocks nothing is sure to bound, neither a set nor lambda |c|^2 nor, perhaps, the
    running cost, so that H may have no minimum, in words; empty if there are none.
    """
    space = problem.space
    held = {n for part in sets(problem) if part.bounded for n in part.named(space)}
    held.update(problem.functional.running_reads)
    strengths = quadratic(problem)
    free = [b.name for b in problem.space.trained if b.name not in held and not strengths[b.name]]
    if not free:
        return ""
    return (
        f"H may have no minimum: {', '.join(free)} is neither bounded by a set nor penalised by a "
        "square"
    )


def quadratic(problem: LearningProblem) -> dict[str, float]:
    """The lambda_b of every trained block, from the terms of the penalty that are sum_b lambda_b
    |c_b|^2.
    """
    return squared(terms_of(problem.penalty), problem.space)


def degree_one(problem: LearningProblem) -> PenaltySum | None:
    """The terms of the penalty that are of degree one in the control; None if there are none."""
    terms = tuple(term for term in terms_of(problem.penalty) if term.degree_one)
    return PenaltySum(terms) if terms else None


def joint_threshold(problem: LearningProblem) -> float:
    """s where the penalty is s |c|, |c| over all trained blocks: the minimiser of H is then off
    where |g| < s.  0.0 where it is another one.
    """
    terms, space = terms_of(problem.penalty), problem.space
    joint = [t for t in terms if isinstance(t, L1) and t.whole(space)]
    return sum(t.strength for t in joint) if len(joint) == len(terms) else 0.0


def sets(problem: LearningProblem) -> tuple[AdmissibleSet, ...]:
    """The sets whose product is the admissible one."""
    return () if problem.admissible is None else problem.admissible.parts


def switching_sets(problem: LearningProblem) -> tuple[AdmissibleSet, ...]:
    """The sets, as far as they bound blocks in whose entries H is affine: those that no term of the
    penalty counts.
    """
    space, strengths, rough = problem.space, quadratic(problem), degree_one(problem)
    taken = {n for n, strength in strengths.items() if strength > 0.0}
    for term in () if rough is None else rough.terms:
        taken.update(counted(term, space))
    found = []
    for part in sets(problem):
        names = part.named(space)
        free = [n for n in names if n not in taken]
        kept = part.only(free, space) if part.by_entries or len(free) == len(names) else None
        if kept is not None:
            found.append(kept)
    return tuple(found)


def switching(problem: LearningProblem, slopes: Values) -> dict[str, Array]:
    """The switching functions, by block: where they are not zero, their signs say where the
    minimiser of H is.

    Those of the set (see AdmissibleSet.switching) at minus the slopes, of blocks in which H is
    affine: a control moves continuously where a penalty is strictly convex, or the set round.
    Under the key JOINT |g| - s, g the slopes of all blocks, where the penalty is s |c|.
    slopes : (..., *block.shape), the derivative of H in the control without penalties; for rows
        that of sum_i w_i p_i u_i
    """
    threshold = joint_threshold(problem)
    if threshold > 0.0:
        return {JOINT: joint_norm(problem.space.trained, slopes) - threshold}
    found: dict[str, Array] = {}
    for part in switching_sets(problem):
        down = {n: -slopes[n] for n in part.named(problem.space)}
        found.update(part.switching(down, problem.space) or {})
    return found


def closed_form(problem: LearningProblem) -> Form:
    """Which closed form the minimiser of H has, "rows" where both hold and nothing is penalised
    (they agree); "local" for none.
    """
    space, strengths = problem.space, quadratic(problem)
    trained = {b.name for b in space.trained}
    coupled = [part for part in sets(problem) if not part.by_entries]
    if (
        unbounded(problem)
        or trained & set(problem.functional.running_reads)
        or any(t.quadratic(space) is None and not t.degree_one for t in terms_of(problem.penalty))
        or any(len({strengths[n] for n in part.named(space)}) > 1 for part in coupled)
    ):
        return "local"
    if degree_one(problem) is not None:
        affine = problem.network.affine_in_control and _joint_prox_known(problem)
        return "affine" if affine else "local"
    rows = rows_of(problem)
    if rows is not None and not any(strengths.values()) and (rows.psi or identity).monotone:
        return "rows"
    if problem.network.affine_in_control:
        return "affine"
    if rows is None or not _scalar(problem, rows, strengths):
        return "local"
    return "rows"


def _joint_prox_known(problem: LearningProblem) -> bool:
    """True if the proximal map of all terms and sets together is known."""
    terms, space = terms_of(problem.penalty), problem.space
    try:
        PenaltySum(terms).composed(space)
    except ValueError:
        return False
    return all(obstructing(terms, part, space) is None for part in sets(problem))


def rows_of(problem: LearningProblem) -> Rows | None:
    """The rows of a network with one sample, where the set bounds each on its own; else None."""
    network = problem.network
    rows = network.rows if isinstance(network, Chain) else None
    if rows is None or problem.initial.shape[1] != 1:
        return None
    whole = problem.admissible is None or problem.admissible.by_rows(problem.space)
    return rows if whole else None


def _scalar(problem: LearningProblem, rows: Rows, strengths: Mapping[str, float]) -> bool:
    """True if the minimum over every row is that of a problem in one unknown."""
    psi = rows.psi or identity
    penalised = [strengths[b.name] > 0.0 for b in problem.space.trained]
    convex = all(
        part.convex
        for part in sets(problem)
        if any(strengths[n] > 0.0 for n in part.named(problem.space))
    )
    return psi.slope_extrema is not None and convex and (psi.monotone or all(penalised))


def affine_minimiser(
    problem: LearningProblem, gradient: Values, values: Values, signs: Values | None = None
) -> dict[str, Array]:
    """argmin_c (g, c) + f(c) + sum_b lambda_b |c_b|^2 over the set, for a g that does not depend on
    c, and f the terms of degree one.

    Exact for convex sets, and for a FiniteSet, without f, because its entries are apart; where
    entries of g vanish and lambda = 0, the control stays what it was in `values`, and where f
    outweighs g it is the point nearest to 0.  All arrays (L, *block.shape).
    signs : of the switching functions, for blocks that are held where these say
    """
    space, strengths, rough = problem.space, quadratic(problem), degree_one(problem)
    down, tie = {n: -g for n, g in gradient.items()}, dict(values)
    if rough is not None:
        down = rough.density_prox(space, down, 1.0)
        for term in rough.terms:
            tie.update({n: np.zeros_like(down[n]) for n in counted(term, space)})
    found = {n: y / (2.0 * strengths[n]) for n, y in down.items() if strengths[n] > 0.0}
    for part in sets(problem):
        names = part.named(space)
        penalised = part.only([n for n in names if strengths[n] > 0.0], space)
        if penalised is not None:
            found.update(penalised.nearest(found, space))
        held = part.only([n for n in names if n in signs], space) if signs else None
        if held is not None and signs is not None:
            found.update(held.at_signs(signs, tie, space))
        rest = [n for n in names if strengths[n] == 0.0 and n not in (signs or ())]
        plain = part.only(rest, space)
        if plain is not None:
            near = tie if rough is None else {**tie, **plain.nearest(tie, space)}
            found.update(plain.support(down, near, space))
    return found


def row_gradient(problem: LearningProblem, rows: Rows, states: Array, costates: Array) -> Values:
    """The derivative of sum_i w_i p_i u_i in the trained blocks, in their weights: p_i and p_i r_j
    over the measure of j.

    states, costates : (L, N, 1); returns (L, *block.shape)
    """
    p, r = costates[..., 0], row_inputs(rows, states)
    found = {rows.block: p[..., None] * r[..., None, :]}
    if rows.offset is not None:
        found[rows.offset] = p
    return {b.name: found[b.name] for b in problem.space.trained}


def row_inputs(rows: Rows, states: Array) -> Array:
    """(L, N): what multiplies the entries of a row in u_i, without the measure of their label."""
    r = rows.inputs(states)[..., 0]
    return r if rows.weights is None else r / rows.weights


def row_minimiser(
    problem: LearningProblem,
    rows: Rows,
    points: tuple[Array, Array],
    values: Values,
    held: Values,
    signs: Values | None = None,
) -> tuple[dict[str, Array], Array]:
    """(argmin of H, (L,) how much lower the minimum may be at most, by the bounds of row_problems).

    points : states and costates, (L, N, 1) each
    values : the control where H does not depend on it
    held : the values of blocks that are not trained, (L, *block.shape) or (*block.shape)
    signs : see affine_minimiser
    """
    (states, costates), space = points, problem.space
    strengths = quadratic(problem)
    gradient = row_gradient(problem, rows, states, costates)
    best = affine_minimiser(problem, gradient, values, signs)
    if not any(strengths.values()):
        return best, np.zeros(len(states))
    penalised = [n for n in gradient if strengths[n] > 0.0]
    restricted = [part.only(penalised, space) for part in sets(problem)]
    parts = [part for part in restricted if part is not None]
    r, p = row_inputs(rows, states), costates[..., 0]
    units = p.shape[1]
    measure = np.ones(r.shape[1]) if rows.weights is None else rows.weights
    resting = {n: x for n, x in {**held, **best}.items() if n not in penalised}
    still = _preactivation(rows, resting, r, measure)

    def row_points(mu: Array, at: Array) -> dict[str, Array]:
        """The rows c(mu) of the blocks that are penalised: (Q,) and (Q, N)."""
        free = {}
        for name in penalised:
            scaled = mu / (2.0 * strengths[name])
            free[name] = scaled[:, None] * r[at] if name == rows.block else scaled
        for part in parts:
            free.update(part.nearest(free, space))
        return free

    def respond(mu: Array, number: Array) -> tuple[Array, Array]:
        s, penalty = np.empty(len(mu)), np.empty(len(mu))
        size = max(1, _CHUNK // r.shape[1])
        for start in range(0, len(mu), size):
            some = slice(start, start + size)
            at = number[some] // units
            found, total, moved = row_points(mu[some], at), 0.0, 0.0
            for name, x in found.items():
                if name == rows.block:
                    moved = moved + np.sum(measure * x * r[at], axis=-1)
                    total = total + strengths[name] * np.sum(measure * x * x, axis=-1)
                else:
                    moved, total = moved + x, total + strengths[name] * x * x
            s[some], penalty[some] = still.ravel()[number[some]] + moved, total
        return s, penalty

    mu, doubt = multipliers(rows.psi or identity, p.ravel(), respond)
    found = row_points(mu, np.arange(mu.size) // units)
    best.update({n: x.reshape(p.shape + x.shape[1:]) for n, x in found.items()})
    return best, doubt.reshape(p.shape) @ problem.network.weights


def _preactivation(rows: Rows, values: Values, r: Array, measure: Array) -> Array:
    """(L, N): u of some of the blocks, each (N, ...) or (L, N, ...)."""
    total = np.zeros(r.shape)
    if rows.block in values:
        total = total + (values[rows.block] @ (measure * r)[..., None])[..., 0]
    if rows.offset is not None and rows.offset in values:
        total = total + values[rows.offset]
    return total
