"""Compiled leaf loops: the adjoint of `chain_loops.advance`.

The references are the sweeps of `step_derivatives.py`; tests hold them together.  Arrays as in
`chain_loops.py`.
"""

import numpy as np

from continuum.compiled import borrowed, compiled, inlined, like_in, slope_row, unfolded

from ..flow.chain_loops import (
    ADJOINT,
    BACK_WEIGHT,
    CODE,
    COLUMNS,
    FORWARD,
    INPUT,
    INSIDE,
    KNOWN,
    LAYERS,
    MATRIX,
    NODES,
    NOTHING,
    OFFSET,
    PRODUCT,
    RATE,
    ROWS,
    SHARE,
    STATIC,
    block_at,
    carve,
    combine,
    has_inputs,
    time_at,
    weighed,
)
from ..flow.product_loops import accumulate, accumulate_outer, multiply
from .direction_loops import total


@compiled
def scale_by_slope(code, parameter, at, r):
    """r <- sigma'(u) r; see `slope_row`."""
    slope_row(code, parameter, at, r)


@inlined
def arrange(source, factor, samples, columns, i, out):
    """Puts factor source as the i-th of `columns` into `out`: (R, columns M), or for one sample
    (columns, R).
    """
    rows, factor = source.size // samples, like_in(source, factor)
    if samples == 1:
        for y in range(rows):
            out[i * rows + y] = factor * source[y]
        return
    for y in range(rows):
        into = out[(y * columns + i) * samples : (y * columns + i + 1) * samples]
        row = source[y * samples : (y + 1) * samples]
        for m in range(samples):
            into[m] = factor * row[m]


@inlined
def collect(bar, collected, kind, layer, at, share, left, right, samples):
    """Adds share left right^T to the cotangents of a matrix, as time axes do: for NODES it is
    divided between the ends of the layer.
    """
    for end in range(2 if kind == NODES else 1):
        target = 0 if kind == STATIC else layer + end
        factor = share
        if kind == NODES:
            factor *= at if end else 1.0 - at
        if factor != 0.0 or not collected[target]:
            accumulate(left, right, samples, factor, collected[target], bar[target])
            collected[target] = True


@unfolded
def take_pair(link, sign, bars, collected, kinds, moment, place, inside, r, x):
    """Collects what r, the cotangent of a product of x, contributes to that of its matrix.  Of one
    sample, and of matrices that have no bar, both are put into `inside` as column i: matrices of
    one sample are written once for all stages.
    """
    layer, at, h, dtheta = moment
    samples, columns, i = place
    k = link[MATRIX]
    share = sign * (dtheta if kinds[k] == LAYERS else h)
    if samples == 1 or bars[k].shape[0] == 0:
        wide = columns * samples
        start, middle = link[INSIDE] * wide, (link[INSIDE] + link[ROWS]) * wide
        arrange(r, share, samples, columns, i, inside[start:middle])
        into = inside[middle : middle + link[COLUMNS] * wide]
        arrange(x, 1.0, samples, columns, i, into)
    else:
        left, right = (x, r) if link[PRODUCT] == ADJOINT else (r, x)
        collect(bars[k], collected[k], kinds[k], layer, at, share, left, right, samples)


@inlined
def collect_offset(bar, kind, layer, at, h, dtheta, r, samples):
    """Adds the sum over samples of r to the cotangents of an offset, as time axes do."""
    for y in range(bar.shape[1]):
        whole = r[y] if samples == 1 else total(r[y * samples : (y + 1) * samples])
        if kind == STATIC:
            bar[0, y, 0] += h * whole
        elif kind == LAYERS:
            bar[layer, y, 0] += dtheta * whole
        else:
            bar[layer, y, 0] += h * (1.0 - at) * whole
            bar[layer + 1, y, 0] += h * at * whole


@inlined
def collect_share(bar, kind, layer, at, h, dtheta, r):
    """Adds r to the cotangents of an array S, as time axes do."""
    first = like_in(r, h if kind == STATIC else dtheta if kind == LAYERS else h * (1.0 - at))
    into = bar[0 if kind == STATIC else layer].reshape(-1)
    for m in range(r.size):
        into[m] += first * r[m]
    if kind == NODES:
        into, second = bar[layer + 1].reshape(-1), like_in(r, h * at)
        for m in range(r.size):
            into[m] += second * r[m]


@unfolded
def collect_inputs(link, bars, kinds, moment, sign, time, samples, r):
    """Adds to the cotangents of S and r, of those that are there, what r = du contributes."""
    layer, at, h, dtheta = moment
    k = link[SHARE]
    if k >= 0 and bars[k].shape[0] > 0:
        collect_share(bars[k], kinds[k], layer, at, sign * h, sign * dtheta, r)
    k, factor = link[RATE], sign * time
    if k >= 0 and bars[k].shape[0] > 0:
        collect_offset(bars[k], kinds[k], layer, at, factor * h, factor * dtheta, r, samples)


@inlined
def add_seed(seeded, seeds, left, n, p):
    """Adds to p the seed of state n, if it has one, which is the last of those `left`; returns how
    many are left then.
    """
    if left == 0 or seeded[left - 1] != n:
        return left
    seed = seeds[left - 1]
    for e in range(p.size):
        p[e] += seed[e]
    return left - 1


@unfolded
def stage_back(program, blocks, moment, place, store, bars, collected, inside, keep, room, q):
    """q <- (D_f F)* lambda for the stage that filled `store`, lambda in room.here; its cotangents
    are collected, or left in `inside`, see `take_pair`.

    moment : layer, time as a share of it, h, h as a share of the layer
    place : samples, columns, which column this stage is
    keep : whether pairs are left for all matrices
    """
    layer, at, h, dtheta = moment
    samples = place[0]
    values, kinds, ends = blocks
    links, numbers, weights = program.links, program.numbers, program.weights
    here, there = room.here, room.there
    lowest = 0
    while lowest < links.shape[0] and links[lowest, PRODUCT] == NOTHING:
        lowest += 1
    r = here[: q.size]
    for n in range(links.shape[0] - 1, -1, -1):
        link = links[n]
        known = link[KNOWN] * samples
        scale_by_slope(link[CODE], numbers[n, 1], store[known : known + r.size], r)
        if link[OFFSET] >= 0 and bars[link[OFFSET]].shape[0] > 0:
            kind = kinds[link[OFFSET]]
            collect_offset(bars[link[OFFSET]], kind, layer, at, h, dtheta, r, samples)
        if link[PRODUCT] == NOTHING:
            continue
        sign, k, size = numbers[n, 0], link[MATRIX], link[COLUMNS] * samples
        if has_inputs(link):
            collect_inputs(link, bars, kinds, moment, sign, time_at(ends, layer, at), samples, r)
        if bars[k].shape[0] > 0 or keep:
            x = store[link[INPUT] * samples : link[INPUT] * samples + size]
            take_pair(link, sign, bars, collected, kinds, moment, place, inside, r, x)
        y = weighed(r, sign, weights, link[BACK_WEIGHT], samples, room.weighed)
        r = q if n == lowest else there[:size]
        matrix = block_at(values[k], kinds[k], layer, at, room.blend)
        multiply(matrix, link[PRODUCT] == FORWARD, y, samples, room.turned, r)
        here, there = there, here
    if lowest == links.shape[0]:
        q[:] = r


@unfolded
def collect_columns(links, kinds, layer, shares, bars, collected, inside):
    """Collects what the stages of a step left in `inside`, of one sample, for matrices with a bar.

    shares : (3, columns), ones; the times of the stages as shares of the layer; room for as many
    """
    ones, ends, factors = shares[0], shares[1], shares[2]
    columns = ones.size
    for n in range(links.shape[0] - 1, -1, -1):
        link, k = links[n], links[n, MATRIX]
        if link[PRODUCT] == NOTHING or bars[k].shape[0] == 0:
            continue
        start, middle = link[INSIDE] * columns, (link[INSIDE] + link[ROWS]) * columns
        left, right = inside[start:middle], inside[middle : middle + link[COLUMNS] * columns]
        if link[PRODUCT] == ADJOINT:
            left, right = right, left
        for end in range(2 if kinds[k] == NODES else 1):
            target = 0 if kinds[k] == STATIC else layer + end
            for i in range(columns):
                factors[i] = ones[i]
                if kinds[k] == NODES:
                    factors[i] = ends[i] if end else 1.0 - ends[i]
            accumulate_outer(left, right, factors, collected[k, target], bars[k][target])
            collected[k, target] = True


@compiled
def adjoint(
    samples,
    work,
    program,
    blocks,
    method,
    moments,
    tape,
    seeded,
    seeds,
    bars,
    collected,
    kept,
    p,
    costates,
):
    """The adjoint of `advance`, in place of p: p_n = p_{n+1} + h sum_i q_i,

    q_i = (D_f F)* lambda_i, lambda_i = b_i p_{n+1} + h sum_{j > i} a_ji q_j.  Collects the
    cotangents as time axes do (divided by the layer's length for LAYERS).

    seeded : (n,), increasing: the numbers of the states to whose costates the seeds are added
    seeds : (n, N M)
    bars : WIDTH arrays shaped as blocks.values, (0, ., .) for a block that is not trained
    collected : (WIDTH, longest T), where something was collected already in the bar of a matrix;
        elsewhere it is written rather than added to
    kept : (S, rows and columns of all products s M), or (0, .): the cotangents and the inputs of
        all products, of all stages of a step, are written there, those of a link from INSIDE on;
        nothing else is done with them for matrices without a bar
    costates : (S + 1, N M), or (0, .): p is written there
    """
    program, method, moments = borrowed(program), borrowed(method), borrowed(moments)
    kinds, links = borrowed(blocks.kinds), program.links
    held = (borrowed(blocks.values), kinds, borrowed(blocks.ends))
    tape = borrowed(tape)
    count, stages, entries = moments.size.size, method.b.size, p.size
    bars, collected, kept, p = borrowed(bars), borrowed(collected), borrowed(kept), borrowed(p)
    room, rest = carve(borrowed(work), links, samples, stages)
    back = rest[: stages * entries].reshape(stages, entries)
    shares = rest[stages * entries : stages * (entries + 3)].reshape(3, stages)
    ones, ends, keep = shares[0], shares[1], kept.shape[0] > 0
    ones[:] = 1.0
    left = add_seed(seeded, seeds, seeded.size, count, p)
    if costates.shape[0] > 0:
        costates[count] = p
    for n in range(count - 1, -1, -1):
        layer, h, dtheta = moments.layer[n], moments.size[n], moments.dtheta[n]
        inside = kept[n] if keep else room.inside
        for i in range(stages - 1, -1, -1):
            combine(method.b[i], p, h, method.back[i], i + 1, stages, back, 0, room.here[:entries])
            ends[i] = moments.theta[n] + method.c[i] * dtheta
            stage_back(
                program,
                held,
                (layer, ends[i], h, dtheta),
                (samples, stages, i),
                tape[n, i],
                bars,
                collected,
                inside,
                keep,
                room,
                back[i],
            )
        if samples == 1:
            collect_columns(links, kinds, layer, shares, bars, collected, inside)
        combine(1.0, p, h, ones, 0, stages, back, 0, p)
        left = add_seed(seeded, seeds, left, n, p)
        if costates.shape[0] > 0:
            costates[n] = p


@compiled
def add_pairs(kept, layers, left, right, wide, alone, factor, written, out):
    """out_k <- factor sum over steps n in layer k of left_n right_n^T, added to what is there where
    written_k, which is set.

    kept : (S, .), as `adjoint` fills it;  layers : (S,)
    left, right : where the two begin and end there
    wide : their columns;  alone : whether there is one sample
    """
    factors = np.full(wide, factor)
    for n in range(layers.size):
        k, one, other = layers[n], kept[n, left[0] : left[1]], kept[n, right[0] : right[1]]
        if alone:
            accumulate_outer(one, other, factors, written[k], out[k])
        else:
            accumulate(one, other, wide, factor, written[k], out[k])
        written[k] = True
