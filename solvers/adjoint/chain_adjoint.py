"""Compiled leaf loops: the adjoint of `chain_loops.advance`.

The references are the sweeps of `step_derivatives.py`; tests hold them together.  Arrays as in
`chain_loops.py`.
"""

import numpy as np

from continuum.compiled import borrowed, compiled, inlined, slope_row, summing, unfolded

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
    MOST_LOOPED,
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
    multiply,
    time_at,
    weighed,
)
from .direction_loops import total


@summing
def _pairs(left, right, columns, add, out):
    """out_yz <- sum_m left_ym right_zm, added to what is there if `add`."""
    for y in range(out.shape[0]):
        for z in range(out.shape[1]):
            total = 0.0
            for m in range(columns):
                total += left[y * columns + m] * right[z * columns + m]
            out[y, z] = total + out[y, z] if add else total


@compiled
def scale_by_slope(code, parameter, at, r):
    """r <- sigma'(u) r; see `slope_row`."""
    slope_row(code, parameter, at, r)


@inlined
def arrange(source, factor, samples, columns, i, out):
    """Puts factor source as the i-th of `columns` where `accumulate` reads it: (R, columns M), or
    for one sample (columns, R).
    """
    rows = source.size // samples
    if samples == 1:
        for y in range(rows):
            out[i * rows + y] = factor * source[y]
        return
    for y in range(rows):
        into = out[(y * columns + i) * samples : (y * columns + i + 1) * samples]
        row = source[y * samples : (y + 1) * samples]
        for m in range(samples):
            into[m] = factor * row[m]


@compiled
def _accumulate_large(left, right, width, add, added, out):
    target = added[: out.size].reshape(out.shape) if add else out
    np.dot(left.reshape(-1, width), right.reshape(-1, width).T, target)
    if add:
        out += target


@inlined
def accumulate(left, right, samples, columns, add, added, out):
    """out <- left right^T, added to what is there if `add`; left and right by `arrange`."""
    rows, width = out.shape[0], samples * columns
    if samples == 1:
        for y in range(rows):
            row = out[y]
            for i in range(columns):
                factor, source = left[i * rows + y], right[i * row.size : (i + 1) * row.size]
                if i == 0 and not add:
                    for z in range(row.size):
                        row[z] = factor * source[z]
                else:
                    for z in range(row.size):
                        row[z] += factor * source[z]
    elif out.size * width <= MOST_LOOPED:
        _pairs(left, right, width, add, out)
    else:
        _accumulate_large(left, right, width, add, added, out)


@inlined
def collect(bar, collected, kind, moment, shares, left, right, samples, scaled, added):
    """Adds left right^T to the cotangents of a matrix, as time axes do; for NODES each of the
    columns is divided between the ends of the layer by `shares` (columns,).
    """
    layer, columns, rows = moment, shares.size, bar.shape[1]
    if kind != NODES:
        target = 0 if kind == STATIC else layer
        accumulate(left, right, samples, columns, collected[target], added, bar[target])
        collected[target] = True
        return
    for end in range(2):
        for i in range(columns):
            share = shares[i] if end else 1.0 - shares[i]
            if samples == 1:
                for y in range(i * rows, (i + 1) * rows):
                    scaled[y] = share * left[y]
            else:
                for y in range(rows):
                    start = (y * columns + i) * samples
                    for m in range(start, start + samples):
                        scaled[m] = share * left[m]
        part, target = scaled[: left.size], layer + end
        accumulate(part, right, samples, columns, collected[target], added, bar[target])
        collected[target] = True


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
    first = h if kind == STATIC else dtheta if kind == LAYERS else h * (1.0 - at)
    into = bar[0 if kind == STATIC else layer].reshape(-1)
    for m in range(r.size):
        into[m] += first * r[m]
    if kind == NODES:
        into, second = bar[layer + 1].reshape(-1), h * at
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
def stage_back(program, blocks, moment, place, store, bars, room, q):
    """q <- (D_f F)* lambda for the stage that filled `store`, lambda in room.here; its cotangents
    of offsets are collected, those of matrices left in room.inside.

    moment : layer, time as a share of it, h, h as a share of the layer
    place : samples, columns, which column this stage is
    """
    layer, at, h, dtheta = moment
    samples, columns, i = place
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
        collect_inputs(link, bars, kinds, moment, sign, time_at(ends, layer, at), samples, r)
        if bars[k].shape[0] > 0:
            start = link[INSIDE] * columns * samples
            middle = start + r.size * columns
            share = sign * (dtheta if kinds[k] == LAYERS else h)
            arrange(r, share, samples, columns, i, room.inside[start:middle])
            if columns > 1:
                x = store[link[INPUT] * samples : link[INPUT] * samples + size]
                into = room.inside[middle : middle + size * columns]
                arrange(x, 1.0, samples, columns, i, into)
        y = weighed(r, sign, weights, link[BACK_WEIGHT], samples, room.weighed)
        r = q if n == lowest else there[:size]
        matrix = block_at(values[k], kinds[k], layer, at, room.blend)
        multiply(matrix, link[PRODUCT] == FORWARD, y, samples, r)
        here, there = there, here
    if lowest == links.shape[0]:
        q[:] = r


@unfolded
def collect_matrices(links, kinds, layer, shares, samples, store, bars, collected, room):
    """Collects what the stages of a step left in room.inside; `store` is the tape's first stage."""
    columns = shares.size
    for n in range(links.shape[0] - 1, -1, -1):
        link, k = links[n], links[n, MATRIX]
        if link[PRODUCT] == NOTHING or bars[k].shape[0] == 0:
            continue
        wide = columns * samples
        middle = (link[INSIDE] + link[ROWS]) * wide
        left = room.inside[link[INSIDE] * wide : middle]
        right = room.inside[middle : middle + link[COLUMNS] * wide]
        if columns == 1:
            right = store[link[INPUT] * samples : (link[INPUT] + link[COLUMNS]) * samples]
        if link[PRODUCT] == ADJOINT:
            left, right = right, left
        collect(
            bars[k],
            collected[k],
            kinds[k],
            layer,
            shares,
            left,
            right,
            samples,
            room.scaled,
            room.added,
        )


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
    costates : (S + 1, N M), or (0, .): p is written there
    """
    program, method, moments = borrowed(program), borrowed(method), borrowed(moments)
    kinds, links = borrowed(blocks.kinds), program.links
    held = (borrowed(blocks.values), kinds, borrowed(blocks.ends))
    tape = borrowed(tape)
    count, stages, entries = moments.size.size, method.b.size, p.size
    bars = borrowed(bars)
    p = borrowed(p)
    collected = borrowed(collected)
    room, rest = carve(borrowed(work), links, samples, stages)
    back = rest[: stages * entries].reshape(stages, entries)
    ones = rest[stages * entries : stages * (entries + 1)]
    shares = rest[stages * (entries + 1) : stages * (entries + 2)]
    ones[:] = 1.0
    left = add_seed(seeded, seeds, seeded.size, count, p)
    if costates.shape[0] > 0:
        costates[count] = p
    for n in range(count - 1, -1, -1):
        layer, h, dtheta = moments.layer[n], moments.size[n], moments.dtheta[n]
        for i in range(stages - 1, -1, -1):
            combine(method.b[i], p, h, method.back[i], i + 1, stages, back, 0, room.here[:entries])
            shares[i] = moments.theta[n] + method.c[i] * dtheta
            stage_back(
                program,
                held,
                (layer, shares[i], h, dtheta),
                (samples, stages, i),
                tape[n, i],
                bars,
                room,
                back[i],
            )
        collect_matrices(links, kinds, layer, shares, samples, tape[n, 0], bars, collected, room)
        combine(1.0, p, h, ones, 0, stages, back, 0, p)
        left = add_seed(seeded, seeds, left, n, p)
        if costates.shape[0] > 0:
            costates[n] = p
