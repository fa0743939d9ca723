"""Compiled leaf loop for the second-order model of a chain: what `linear_quadratic.py` explains.

One pass over the layers, from the last to the first, along D = N + c unit directions at once: the N
of the state, which all samples share because none sees another, and the c coefficients.  Layer by
layer it takes the tangent through the steps of the layer, which gives A and B, and back through
them the adjoint and its derivative, which give Q, S, R, the gradient and the costates.

Arrays as in `chain_loops.py`; derivatives along the directions are (R, D, M), flat, so that
products take them as D M samples.  Costates are derivatives in the entries of the state, weights of
units inside, so adjoints are transposes.  The reference is `unit_directions.py`.
"""

from typing import NamedTuple

import numpy as np

from continuum.arrays import Array
from continuum.compiled import IDENTITY, borrowed, compiled, unfolded

from ..flow.chain_loops import (
    CHANGE,
    CHANGE_INPUT,
    CHANGED,
    CODE,
    COLUMNS,
    FORWARD,
    INPUT,
    KNOWN,
    MATRIX,
    NOTHING,
    OFFSET,
    PRODUCT,
    ROWS,
    WEIGHT,
    block_at,
    combine,
    weighed,
)
from ..flow.product_loops import multiply
from ..flow.program import Loop
from .chain_adjoint import scale_by_slope
from .chain_second_order import add_bend
from .direction_loops import (
    add_bends,
    add_blocks,
    any_nonzero,
    collect_entries,
    first_product,
    scale,
    scale_and_bend,
    sort_directions,
    spread_entries,
    total,
)


class Desk(NamedTuple):
    """Room for one layer: flat arrays that are written before they are read, but for `ones`.

    changes : (steps of a layer, stages, varied D M), the tangents; see `chain_second_order`
    slopes, back, dback : (stages, N D M), (stages, N M), (stages, N D M)
    here, there, slope, bend, ones : (largest R) M
    dhere, dthere, weighed : (largest R) D M
    blend : a block between two nodes
    p, df, dp : N M, N D M, N D M
    total : (stages,), all ones
    """

    changes: Array
    slopes: Array
    back: Array
    dback: Array
    here: Array
    there: Array
    slope: Array
    bend: Array
    ones: Array
    dhere: Array
    dthere: Array
    weighed: Array
    blend: Array
    p: Array
    df: Array
    dp: Array
    total: Array

    @staticmethod
    def of(loop: Loop, samples: int, coefficients: int, per_layer: int) -> "Desk":
        """Room for a network and a method."""
        lowered, stages = loop.lowered, loop.method.b.size
        wide = (lowered.units + coefficients) * samples
        short, entries, broad = (
            lowered.largest * samples,
            lowered.units * samples,
            lowered.units * wide,
        )
        return Desk(
            np.empty((per_layer, stages, lowered.varied * wide)),
            np.empty((stages, broad)),
            np.empty((stages, entries)),
            np.empty((stages, broad)),
            np.empty(short),
            np.empty(short),
            np.empty(short),
            np.empty(short),
            np.ones(short),
            np.empty(lowered.largest * wide),
            np.empty(lowered.largest * wide),
            np.empty(lowered.largest * wide),
            np.empty(lowered.matrix),
            np.empty(entries),
            np.empty(broad),
            np.empty(broad),
            np.ones(stages),
        )


class Model(NamedTuple):
    """What is filled; see `linear_quadratic.py`.  Derivatives of costs in coefficients are not part
    of it, nor are penalties but for the diagonal that they add to R.

    A (K, M, N, N), B (K, M, N, c), Q (., M, N, N), S (., M, N, c), R (K, c, c), G (K, c),
    costates (K + 1, M, N)
    """

    A: Array
    B: Array
    Q: Array
    S: Array
    R: Array
    G: Array
    costates: Array


@unfolded
def _tangent(program, blocks, places, untouched, first, moment, sizes, store, dstore, slope, desk):
    """slope <- D_f F df + D_c F dc along all directions, for the stage that filled `store`; df at
    the start of `dstore`, which is filled.

    untouched : (L,), whether no link before this one has coefficients
    first : whether it is the first stage of a layer, whose state does not depend on them either
    moment : layer, time as a share of it
    sizes : units, samples, directions
    """
    diagonal = first  # until the first product, if `untouched`
    links, numbers, weights = program.links, program.numbers, program.weights
    values, kinds = blocks
    layer, at = moment
    units, samples, directions = sizes
    wide = samples * directions
    for n in range(links.shape[0]):
        link = links[n]
        size, short = link[ROWS] * wide, link[ROWS] * samples
        du = dstore[link[CHANGE] * wide : link[CHANGE] * wide + size]
        dx = dstore[link[CHANGE_INPUT] * wide : (link[CHANGE_INPUT] + link[COLUMNS]) * wide]
        if link[PRODUCT] != NOTHING:
            k, sign, start = link[MATRIX], numbers[n, 0], link[WEIGHT]
            forward = link[PRODUCT] == FORWARD
            matrix = block_at(values[k], kinds[k], layer, at, desk.blend)
            if diagonal and untouched[n]:
                first_product(matrix, forward, weights, start, sign, dx, directions, samples, du)
            else:
                y = weighed(dx, sign, weights, start, wide, desk.weighed)
                multiply(matrix, not forward, y, wide, y[:0], du)
            diagonal = False
            if places[k] >= 0:
                x = store[link[INPUT] * samples : (link[INPUT] + link[COLUMNS]) * samples]
                spread_entries(
                    matrix.shape,
                    forward,
                    units + places[k],
                    weights,
                    start,
                    sign,
                    x,
                    directions,
                    samples,
                    du,
                )
        else:
            for m in range(size):
                du[m] = dx[m]
        k = link[OFFSET]
        if k >= 0 and places[k] >= 0:
            for y in range(link[ROWS]):
                into = (y * directions + units + places[k] + y) * samples
                for m in range(into, into + samples):
                    du[m] += 1.0
        if link[CHANGED] == link[CHANGE]:
            continue
        out = slope
        if link[CHANGED] >= 0:
            out = dstore[link[CHANGED] * wide : link[CHANGED] * wide + size]
        if link[CODE] == IDENTITY:
            for m in range(size):
                out[m] = du[m]
        else:
            known = store[link[KNOWN] * samples : link[KNOWN] * samples + short]
            s = desk.slope[:short]
            s[:] = 1.0
            scale_by_slope(link[CODE], numbers[n, 1], known, s)
            scale(s, du, directions, samples, out)


@unfolded
def _back(
    program, blocks, places, untouched, first, dead, moment, sizes, stores, desk, q, dq, G, R
):
    """q, dq <- (D_f F)^T lambda and its derivative along all directions, lambda in desk.here and
    its derivative in desk.dhere; what the coefficients contribute is added to G and R.

    untouched, first : as in `_tangent`
    dead : whether the derivative of lambda is 0, and not even written
    moment : layer, time as a share of it, h
    """
    links, numbers, weights = program.links, program.numbers, program.weights
    values, kinds = blocks
    layer, at, h = moment
    units, samples, directions = sizes
    wide = samples * directions
    store, dstore = stores
    here, there, dhere, dthere = desk.here, desk.there, desk.dhere, desk.dthere
    r, dr = here[: q.size], dhere[: dq.size]
    lowest = 0
    while lowest < links.shape[0] and links[lowest, PRODUCT] == NOTHING:
        lowest += 1
    for n in range(links.shape[0] - 1, -1, -1):
        link, sign = links[n], numbers[n, 0]
        if link[CODE] != IDENTITY:
            known = store[link[KNOWN] * samples : link[KNOWN] * samples + r.size]
            du = dstore[link[CHANGE] * wide : link[CHANGE] * wide + dr.size]
            s, g = desk.slope[: r.size], desk.bend[: r.size]
            s[:] = 1.0
            g[:] = 0.0
            scale_by_slope(link[CODE], numbers[n, 1], known, s)
            add_bend(link[CODE], numbers[n, 1], known, desk.ones[: r.size], r, g)
            if not dead:
                scale_and_bend(s, g, du, directions, samples, dr)
            elif any_nonzero(g):
                scale(g, du, directions, samples, dr)
                dead = False
            for m in range(r.size):
                r[m] *= s[m]
        k = link[OFFSET]
        if k >= 0 and places[k] >= 0:
            for y in range(link[ROWS]):
                a = places[k] + y
                G[a] += h * total(r[y * samples : (y + 1) * samples])
                for b in range(0 if dead else G.size):
                    start = (y * directions + units + b) * samples
                    R[a, b] += h * total(dr[start : start + samples])
        if link[PRODUCT] == NOTHING:
            continue
        k, start, forward = link[MATRIX], link[WEIGHT], link[PRODUCT] == FORWARD
        matrix = block_at(values[k], kinds[k], layer, at, desk.blend)
        if places[k] >= 0:
            x = store[link[INPUT] * samples : (link[INPUT] + link[COLUMNS]) * samples]
            dx = dstore[link[CHANGE_INPUT] * wide : (link[CHANGE_INPUT] + link[COLUMNS]) * wide]
            collect_entries(
                matrix.shape,
                forward,
                h * sign,
                places[k],
                units,
                weights,
                start,
                r,
                dr,
                x,
                dx,
                (dead, first and untouched[n]),
                samples,
                G,
                R,
            )
        below, dbelow = there[: link[COLUMNS] * samples], dthere[: link[COLUMNS] * wide]
        if n == lowest:
            below, dbelow = q, dq
        if dead:
            dbelow[:] = 0.0
        else:
            multiply(matrix, forward, dr, wide, dr[:0], dbelow)
        if places[k] >= 0:
            spread_entries(
                matrix.shape,
                not forward,
                units + places[k],
                weights,
                -1,
                1.0,
                r,
                directions,
                samples,
                dbelow,
            )
            dead = False
        weighed(dbelow, sign, weights, start, wide, dbelow)
        multiply(matrix, forward, r, samples, r[:0], below)
        weighed(below, sign, weights, start, samples, below)
        r, dr = below, dbelow
        here, there, dhere, dthere = there, here, dthere, dhere
    if lowest == links.shape[0]:
        q[:] = r
        if dead:
            dq[:] = 0.0
        else:
            dq[:] = dr


@unfolded
def _step_tangent(program, blocks, method, moments, places, untouched, n, sizes, tape, desk):
    """Moves desk.df over a step.  n : its number in the run, and in its layer"""
    number, inside = n
    df, h = desk.df, moments.size[number]
    for i in range(method.b.size):
        dstore = desk.changes[inside, i]
        combine(1.0, df, h, method.a[i], 0, i, desk.slopes, 0, dstore[: df.size])
        at = moments.theta[number] + method.c[i] * moments.dtheta[number]
        _tangent(
            program,
            blocks,
            places,
            untouched,
            inside == 0 and i == 0,
            (moments.layer[number], at),
            sizes,
            tape[number, i],
            dstore,
            desk.slopes[i],
            desk,
        )
    combine(1.0, df, h, method.b, 0, method.b.size, desk.slopes, 0, df)


@unfolded
def _step_back(
    program, blocks, method, moments, places, untouched, n, last, sizes, tape, desk, G, R
):
    """Moves desk.p and desk.dp back over a step.  last : whether it is the last of its layer"""
    number, inside = n
    stages, h, p, dp = method.b.size, moments.size[number], desk.p, desk.dp
    for i in range(stages - 1, -1, -1):
        b, column = method.b[i], method.back[i]
        combine(b, p, h, column, i + 1, stages, desk.back, 0, desk.here[: p.size])
        dead = last and i + 1 == stages
        if not dead:
            combine(b, dp, h, column, i + 1, stages, desk.dback, 0, desk.dhere[: dp.size])
        at = moments.theta[number] + method.c[i] * moments.dtheta[number]
        _back(
            program,
            blocks,
            places,
            untouched,
            inside == 0 and i == 0,
            dead,
            (moments.layer[number], at, h),
            sizes,
            (tape[number, i], desk.changes[inside, i]),
            desk,
            desk.back[i],
            desk.dback[i],
            G,
            R,
        )
    combine(1.0, p, h, desk.total, 0, stages, desk.back, 0, p)
    combine(1.0, dp, h, desk.total, 0, stages, desk.dback, 0, dp)


@compiled
def linearize(
    samples,
    desk,
    program,
    blocks,
    method,
    moments,
    per_layer,
    tape,
    places,
    untouched,
    cost_of,
    seeds,
    bends,
    diagonals,
    model,
):
    """Fills the model from the tape of `advance`.

    per_layer : how many steps each layer has
    places : (WIDTH,), the first coefficient of each block, or -1
    untouched : (L,), as in `_tangent`
    cost_of : (S + 1,), which of seeds and bends belongs to each state, or -1
    seeds : (., N M), derivatives of the costs in the states
    bends : (., M, N, N), their second derivatives
    diagonals : (K, c), added to R
    """
    desk, program, method = borrowed(desk), borrowed(program), borrowed(method)
    moments, values, kinds = borrowed(moments), borrowed(blocks.values), borrowed(blocks.kinds)
    tape, seeds, bends, model = borrowed(tape), borrowed(seeds), borrowed(bends), borrowed(model)
    places, diagonals = borrowed(places), borrowed(diagonals)
    units, c = model.A.shape[2], model.G.shape[1]
    directions = units + c
    sizes = units, samples, directions
    p, df, dp = desk.p, desk.df, desk.dp
    p[:] = 0.0
    layers = model.A.shape[0]
    for k in range(layers, -1, -1):
        first, stop = k * per_layer, (k + 1) * per_layer
        if k < layers:
            df[:] = 0.0
            for j in range(units):
                start = (j * directions + j) * samples
                df[start : start + samples] = 1.0
            for n in range(first, stop):
                _step_tangent(
                    program,
                    (values, kinds),
                    method,
                    moments,
                    places,
                    untouched,
                    (n, n - first),
                    sizes,
                    tape,
                    desk,
                )
            sort_directions(df, units, samples, directions, model.A[k], model.B[k])
            dp[:] = 0.0
            G, R = model.G[k], model.R[k]
            G[:] = 0.0
            R[:] = 0.0
            for a in range(c):
                R[a, a] = diagonals[k, a]
            for n in range(stop - 1, first - 1, -1):
                if n + 1 < stop and cost_of[n + 1] >= 0:
                    p += seeds[cost_of[n + 1]]
                    later = desk.changes[n + 1 - first, 0]
                    add_bends(bends[cost_of[n + 1]], later, units, samples, directions, dp)
                _step_back(
                    program,
                    (values, kinds),
                    method,
                    moments,
                    places,
                    untouched,
                    (n, n - first),
                    n + 1 == stop,
                    sizes,
                    tape,
                    desk,
                    G,
                    R,
                )
            sort_directions(dp, units, samples, directions, model.Q[k], model.S[k])
        else:
            model.Q[k] = 0.0
            model.S[k] = 0.0
        if cost_of[first] >= 0:
            add_blocks(bends[cost_of[first]], model.Q[k])
            p += seeds[cost_of[first]]
        for m in range(samples):
            for i in range(units):
                model.costates[k, m, i] = p[i * samples + m]
