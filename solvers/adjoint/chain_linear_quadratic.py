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
from continuum.compiled import IDENTITY, borrowed, compiled, inlined, summing, unfolded

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
    multiply,
    weighed,
)
from ..flow.program import Loop
from .chain_adjoint import scale_by_slope
from .chain_second_order import add_bend


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
    """What is filled; see `linear_quadratic.py`.  Derivatives of costs at the ends of layers, of
    penalties, and of the coefficients of costs are not part of it.

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


@summing
def _dot(left, right):
    total = 0.0
    for m in range(left.size):
        total += left[m] * right[m]
    return total


@summing
def _sum(x):
    total = 0.0
    for m in range(x.size):
        total += x[m]
    return total


@inlined
def _any(x):
    for m in range(x.size):
        if x[m] != 0.0:
            return True
    return False


@inlined
def _scale(slope, du, directions, samples, out):
    """out <- slope du, the slope (R, M) the same in all directions."""
    if samples == 1:
        for y in range(slope.size):
            factor = slope[y]
            for d in range(y * directions, (y + 1) * directions):
                out[d] = factor * du[d]
        return
    for y in range(slope.size // samples):
        row = slope[y * samples : (y + 1) * samples]
        for d in range(y * directions, (y + 1) * directions):
            source, into = du[d * samples : (d + 1) * samples], out[d * samples : (d + 1) * samples]
            for m in range(samples):
                into[m] = row[m] * source[m]


@inlined
def _scale_and_bend(slope, bend, du, directions, samples, dr):
    """dr <- slope dr + bend du."""
    if samples == 1:
        for y in range(slope.size):
            factor, second = slope[y], bend[y]
            for d in range(y * directions, (y + 1) * directions):
                dr[d] = factor * dr[d] + second * du[d]
        return
    for y in range(slope.size // samples):
        row, other = slope[y * samples : (y + 1) * samples], bend[y * samples : (y + 1) * samples]
        for d in range(y * directions, (y + 1) * directions):
            source, into = du[d * samples : (d + 1) * samples], dr[d * samples : (d + 1) * samples]
            for m in range(samples):
                into[m] = row[m] * into[m] + other[m] * source[m]


@inlined
def _first_product(matrix, forward, weights, start, sign, dx, directions, samples, out):
    """out <- sign P (w dx), or with its transpose, for the first product of the first stage: dx is
    diagonal in the directions of the state and 0 in the others.
    """
    rows, columns = matrix.shape if forward else matrix.shape[::-1]
    out[:] = 0.0
    for z in range(columns):
        factor = sign * (weights[start + z] if start >= 0 else 1.0)
        at = z * (directions + 1) * samples
        for y in range(rows):
            entry = factor * (matrix[y, z] if forward else matrix[z, y])
            into = (y * directions + z) * samples
            for m in range(samples):
                out[into + m] = entry * dx[at + m]


@inlined
def _spread(shape, forward, first, weights, start, sign, x, directions, samples, out):
    """Adds sign dP (w x), or with its transpose, for the directions that are the entries of P; they
    begin with `first`.  start : where w begins in weights, or -1 for 1.
    """
    rows, columns = shape
    for y in range(rows):
        for z in range(columns):
            d = first + y * columns + z
            row, source = (y, z) if forward else (z, y)
            factor = sign * (weights[start + source] if start >= 0 else 1.0)
            into, at = (row * directions + d) * samples, source * samples
            for m in range(samples):
                out[into + m] += factor * x[at + m]


@inlined
def _collect(shape, forward, h, first, units, weights, start, r, dr, x, dx, zero, samples, G, R):
    """Adds to G and R what the entries of P contribute: h sign w (r x) and its derivative; see
    `_spread`.  h : with the sign; zero : whether dr, dx are 0 along the coefficients
    """
    dead, still = zero
    rows, columns = shape
    count = G.size
    directions = units + count
    for y in range(rows):
        for z in range(columns):
            a = first + y * columns + z
            row, source = (y, z) if forward else (z, y)
            factor = h * (weights[start + source] if start >= 0 else 1.0)
            one, other = r[row * samples : (row + 1) * samples], x[source * samples :]
            other = other[:samples]
            G[a] += factor * _dot(one, other)
            if dead and still:
                continue
            at, behind = row * directions + units, source * directions + units
            if samples == 1:
                for b in range(0 if dead else count):
                    R[a, b] += factor * other[0] * dr[at + b]
                if not still:
                    for b in range(count):
                        R[a, b] += factor * one[0] * dx[behind + b]
                continue
            for b in range(count):
                value = 0.0
                if not dead:
                    value = _dot(dr[(at + b) * samples : (at + b + 1) * samples], other)
                if not still:
                    value += _dot(one, dx[(behind + b) * samples : (behind + b + 1) * samples])
                R[a, b] += factor * value


@unfolded
def _tangent(program, blocks, places, still, moment, sizes, store, dstore, slope, desk):
    """slope <- D_f F df + D_c F dc along all directions, for the stage that filled `store`; df at
    the start of `dstore`, which is filled.

    still : (L,), where the input of a link does not depend on the coefficients; all False but for
        the first stage of a layer
    moment : layer, time as a share of it
    sizes : units, samples, directions
    """
    diagonal = True  # until the first product, if `still`
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
            if diagonal and still[n]:
                _first_product(matrix, forward, weights, start, sign, dx, directions, samples, du)
            else:
                y = weighed(dx, sign, weights, start, wide, desk.weighed)
                multiply(matrix, not forward, y, wide, du)
            diagonal = False
            if places[k] >= 0:
                x = store[link[INPUT] * samples : (link[INPUT] + link[COLUMNS]) * samples]
                first = units + places[k]
                _spread(
                    matrix.shape, forward, first, weights, start, sign, x, directions, samples, du
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
            _scale(s, du, directions, samples, out)


@unfolded
def _back(program, blocks, places, still, dead, moment, sizes, stores, desk, q, dq, G, R):
    """q, dq <- (D_f F)^T lambda and its derivative along all directions, lambda in desk.here and
    its derivative in desk.dhere; what the coefficients contribute is added to G and R.

    still : as in `_tangent`
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
                _scale_and_bend(s, g, du, directions, samples, dr)
            elif _any(g):
                _scale(g, du, directions, samples, dr)
                dead = False
            for m in range(r.size):
                r[m] *= s[m]
        k = link[OFFSET]
        if k >= 0 and places[k] >= 0:
            for y in range(link[ROWS]):
                a = places[k] + y
                G[a] += h * _sum(r[y * samples : (y + 1) * samples])
                for b in range(0 if dead else G.size):
                    start = (y * directions + units + b) * samples
                    R[a, b] += h * _sum(dr[start : start + samples])
        if link[PRODUCT] == NOTHING:
            continue
        k, start, forward = link[MATRIX], link[WEIGHT], link[PRODUCT] == FORWARD
        matrix = block_at(values[k], kinds[k], layer, at, desk.blend)
        if places[k] >= 0:
            x = store[link[INPUT] * samples : (link[INPUT] + link[COLUMNS]) * samples]
            dx = dstore[link[CHANGE_INPUT] * wide : (link[CHANGE_INPUT] + link[COLUMNS]) * wide]
            _collect(
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
                (dead, still[n]),
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
            multiply(matrix, forward, dr, wide, dbelow)
        if places[k] >= 0:
            first = units + places[k]
            _spread(
                matrix.shape, not forward, first, weights, -1, 1.0, r, directions, samples, dbelow
            )
            dead = False
        weighed(dbelow, sign, weights, start, wide, dbelow)
        multiply(matrix, forward, r, samples, below)
        weighed(below, sign, weights, start, samples, below)
        r, dr = below, dbelow
        here, there, dhere, dthere = there, here, dthere, dhere
    if lowest == links.shape[0]:
        q[:] = r
        if dead:
            dq[:] = 0.0
        else:
            dq[:] = dr


@inlined
def _sort(x, units, samples, directions, square, other):
    """square (M, N, N), other (M, N, c) <- the directions of the state and of the coefficients."""
    for i in range(units):
        for d in range(directions):
            start = (i * directions + d) * samples
            if d < units:
                for m in range(samples):
                    square[m, i, d] = x[start + m]
            else:
                for m in range(samples):
                    other[m, i, d - units] = x[start + m]


@inlined
def _add_bends(bends, df, units, samples, directions, dp):
    """dp <- dp + H df, H (M, N, N)."""
    for i in range(units):
        for j in range(units):
            for d in range(directions):
                into, source = (i * directions + d) * samples, (j * directions + d) * samples
                for m in range(samples):
                    dp[into + m] += bends[m, i, j] * df[source + m]


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
    seed_of,
    seeds,
    bend_of,
    bends,
    model,
):
    """Fills the model from the tape of `advance`.

    per_layer : how many steps each layer has
    places : (WIDTH,), the first coefficient of each block, or -1
    untouched : (L,), whether no link before this one has coefficients
    seed_of, bend_of : (S + 1,), which of seeds and bends belongs to each state, or -1
    seeds : (., N M), derivatives of the costs in the states
    bends : (., M, N, N), their second derivatives, of states inside a layer
    """
    desk, program, method = borrowed(desk), borrowed(program), borrowed(method)
    moments, values, kinds = borrowed(moments), borrowed(blocks.values), borrowed(blocks.kinds)
    tape, seeds, bends, model = borrowed(tape), borrowed(seeds), borrowed(bends), borrowed(model)
    places = borrowed(places)
    links, stages, c = program.links, method.b.size, model.G.shape[1]
    units = model.A.shape[2]
    directions = units + c
    sizes, entries = (units, samples, directions), units * samples
    p, df, dp = desk.p, desk.df, desk.dp
    still = np.zeros(links.shape[0], dtype=np.bool_)
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
                for i in range(stages):
                    dstore = desk.changes[n - first, i]
                    h = moments.size[n]
                    combine(1.0, df, h, method.a[i], 0, i, desk.slopes, 0, dstore[: df.size])
                    at = moments.theta[n] + method.c[i] * moments.dtheta[n]
                    for one in range(still.size):
                        still[one] = untouched[one] and n == first and i == 0
                    _tangent(
                        program,
                        (values, kinds),
                        places,
                        still,
                        (moments.layer[n], at),
                        sizes,
                        tape[n, i],
                        dstore,
                        desk.slopes[i],
                        desk,
                    )
                combine(1.0, df, moments.size[n], method.b, 0, stages, desk.slopes, 0, df)
            _sort(df, units, samples, directions, model.A[k], model.B[k])
            dp[:] = 0.0
            G, R = model.G[k], model.R[k]
            G[:] = 0.0
            R[:] = 0.0
            for n in range(stop - 1, first - 1, -1):
                if n + 1 < stop and seed_of[n + 1] >= 0:
                    p += seeds[seed_of[n + 1]]
                if n + 1 < stop and bend_of[n + 1] >= 0:
                    later = desk.changes[n + 1 - first, 0]
                    _add_bends(bends[bend_of[n + 1]], later, units, samples, directions, dp)
                h = moments.size[n]
                for i in range(stages - 1, -1, -1):
                    b, column = method.b[i], method.back[i]
                    combine(b, p, h, column, i + 1, stages, desk.back, 0, desk.here[:entries])
                    dead = n + 1 == stop and i + 1 == stages
                    if not dead:
                        end = dp.size
                        combine(b, dp, h, column, i + 1, stages, desk.dback, 0, desk.dhere[:end])
                    at = moments.theta[n] + method.c[i] * moments.dtheta[n]
                    for one in range(still.size):
                        still[one] = untouched[one] and n == first and i == 0
                    _back(
                        program,
                        (values, kinds),
                        places,
                        still,
                        dead,
                        (moments.layer[n], at, h),
                        sizes,
                        (tape[n, i], desk.changes[n - first, i]),
                        desk,
                        desk.back[i],
                        desk.dback[i],
                        G,
                        R,
                    )
                combine(1.0, p, h, desk.total, 0, stages, desk.back, 0, p)
                combine(1.0, dp, h, desk.total, 0, stages, desk.dback, 0, dp)
            _sort(dp, units, samples, directions, model.Q[k], model.S[k])
        if seed_of[first] >= 0:
            p += seeds[seed_of[first]]
        for m in range(samples):
            for i in range(units):
                model.costates[k, m, i] = p[i * samples + m]
