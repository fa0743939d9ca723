"""Compiled leaf loops: explicit Runge-Kutta steps of f' = F(f, c(t)) for any chain of dense maps,
and their adjoint.

A chain is a table of links, one row each (`Program.links`, columns named below),

    u = sign P (w x) + offset,   x <- sigma(u),

P the matrix of a block, its transpose, or nothing (then w = sign = 1).  `program.py` makes the
table; the references are `advance.GenericAdvance` and the sweeps of `step_derivatives.py`, and
tests hold each pair together.  Small products are loops, samples innermost, or inputs where there
is one sample; large ones go to BLAS.

All states are flat: x of shape (R, M) is an array of R M numbers, samples last.  The tape keeps
what the adjoint reads, (steps, stages, rows M): the state of each stage, then what the columns
OUTPUT and ARGUMENT of the links name.
"""

from typing import NamedTuple

import numpy as np

from continuum.arrays import Array
from continuum.compiled import (
    activate_row,
    borrowed,
    compiled,
    inlined,
    slope_row,
    summing,
    unfolded,
)

STATIC, LAYERS, NODES = range(3)
NOTHING, FORWARD, ADJOINT = range(3)
(
    PRODUCT,  # NOTHING, FORWARD or ADJOINT
    MATRIX,  # which block P is
    OFFSET,  # which block is added, or -1
    CODE,  # of the activation
    ROWS,  # of the output
    COLUMNS,  # rows of the input
    INPUT,  # row of the tape at which the input starts
    OUTPUT,  # that of the output, or -1: a slope that nothing but the step reads
    ARGUMENT,  # that of u, or -1: the activation's derivatives are known from its value
    KNOWN,  # that of what `slope_row` reads: one of the two
    WEIGHT,  # where the measure of the input starts in `weights`, or -1: all ones
    BACK_WEIGHT,  # the same for the output
    INSIDE,  # place of the link's inputs and cotangents among those of all products of a step
    CHANGE_INPUT,  # row of the tangent tape at which the derivative of the input starts
    CHANGE,  # row of the tangent tape at which the derivative of u starts
    CHANGED,  # that of the derivative of the output, or -1
) = range(16)
WIDTH = 16  # how many blocks the tuples hold, so that one compilation serves all networks
_BLOCK = 1024  # entries worked on at a time, so that all arrays of a block stay in the first cache
_BLAS = 20_000  # multiplications above which a product is left to BLAS
_LARGEST = np.finfo(np.float64).max


class Program(NamedTuple):
    """A chain: links (L, 16) of integers, numbers (L, 2) sign and activation parameter, weights."""

    links: Array
    numbers: Array
    weights: Array


class Blocks(NamedTuple):
    """kinds (WIDTH,), each STATIC, LAYERS or NODES; values, WIDTH arrays (T, R, C), T = 0 if absent."""

    kinds: Array
    values: tuple[Array, ...]


class Method(NamedTuple):
    """A tableau: a (s, s), its transpose (s, s), b (s,), c (s,)."""

    a: Array
    back: Array
    b: Array
    c: Array


class Moments(NamedTuple):
    """Of every step: its layer, its length h, its start and length as shares of the layer."""

    layer: Array
    size: Array
    theta: Array
    dtheta: Array


@summing
def _total(x):
    total = 0.0
    for m in range(x.size):
        total += x[m]
    return total


@summing
def _by_rows(matrix, x, out):
    """out <- matrix x, for one sample."""
    for y in range(matrix.shape[0]):
        row, total = matrix[y], 0.0
        for z in range(row.size):
            total += row[z] * x[z]
        out[y] = total


@summing
def _pairs(left, right, columns, add, out):
    """out_yz <- sum_m left_ym right_zm, added to what is there if `add`."""
    for y in range(out.shape[0]):
        for z in range(out.shape[1]):
            total = 0.0
            for m in range(columns):
                total += left[y * columns + m] * right[z * columns + m]
            out[y, z] = total + out[y, z] if add else total


@inlined
def block_at(x, kind, layer, theta, blend):
    """The block at this time, (R, C): a view where there is one, else the mean of two in `blend`."""
    if kind == STATIC:
        return x[0]
    if kind == LAYERS or theta == 0.0:
        return x[layer]
    if theta == 1.0:
        return x[layer + 1]
    low, high = x[layer], x[layer + 1]
    rows, columns = low.shape
    mean = blend[: rows * columns].reshape(rows, columns)
    for y in range(rows):
        for z in range(columns):
            mean[y, z] = (1.0 - theta) * low[y, z] + theta * high[y, z]
    return mean


@compiled
def _multiply_large(matrix, transposed, x, samples, out):
    rows, columns = matrix.shape
    if transposed and samples == 1:
        np.dot(matrix.T, x, out)
    elif samples == 1:
        np.dot(matrix, x, out)
    elif transposed:
        np.dot(matrix.T, x.reshape(rows, samples), out.reshape(columns, samples))
    else:
        np.dot(matrix, x.reshape(columns, samples), out.reshape(rows, samples))


@inlined
def multiply(matrix, transposed, x, samples, out):
    """out <- matrix x, or its transpose times x."""
    rows, columns = matrix.shape
    if rows * columns * samples > _BLAS:
        _multiply_large(matrix, transposed, x, samples, out)
    elif samples == 1 and not transposed:
        _by_rows(matrix, x, out)
    elif samples == 1:
        out[:] = 0.0
        for y in range(rows):
            factor, row = x[y], matrix[y]
            for z in range(columns):
                out[z] += factor * row[z]
    elif not transposed:
        for y in range(rows):
            target = out[y * samples : (y + 1) * samples]
            for z in range(columns):
                factor, source = matrix[y, z], x[z * samples : (z + 1) * samples]
                if z == 0:
                    for m in range(samples):
                        target[m] = factor * source[m]
                else:
                    for m in range(samples):
                        target[m] += factor * source[m]
    else:
        for z in range(columns):
            target = out[z * samples : (z + 1) * samples]
            for y in range(rows):
                factor, source = matrix[y, z], x[y * samples : (y + 1) * samples]
                if y == 0:
                    for m in range(samples):
                        target[m] = factor * source[m]
                else:
                    for m in range(samples):
                        target[m] += factor * source[m]


@compiled
def scale_by_slope(code, parameter, at, r):
    """r <- sigma'(u) r; see `slope_row`."""
    slope_row(code, parameter, at, r)


@inlined
def weighed(x, factor, weights, start, samples, out):
    """factor w x: x itself where all factors are one, else in `out`."""
    if start < 0 and factor == 1.0:
        return x
    rows = x.size // samples
    if samples == 1:
        for y in range(rows):
            out[y] = factor * (weights[start + y] if start >= 0 else 1.0) * x[y]
        return out[:rows]
    for y in range(rows):
        scale = factor * (weights[start + y] if start >= 0 else 1.0)
        for m in range(y * samples, (y + 1) * samples):
            out[m] = scale * x[m]
    return out[: x.size]


@inlined
def combine(scale, f, h, coefficients, first, last, slopes, at, out):
    """out <- scale f + h sum_{first <= j < last} coefficients_j slopes[j, at:], in one pass."""
    for start in range(0, f.size, _BLOCK):
        stop = min(start + _BLOCK, f.size)
        base, target = f[start:stop], out[start:stop]
        for m in range(target.size):
            target[m] = scale * base[m]
        for j in range(first, last):
            factor = h * coefficients[j]
            if factor != 0.0:
                source = slopes[j, at + start : at + stop]
                for m in range(target.size):
                    target[m] += factor * source[m]


@unfolded
def velocity(program, values, kinds, layer, theta, samples, store, slope, arranged, blend):
    """The slope of a stage whose state is at the start of `store`, its part of the tape, which is
    filled; the slope is in `slope` if the tape has no place for it.
    """
    links, numbers, weights = program.links, program.numbers, program.weights
    for n in range(links.shape[0]):
        link = links[n]
        code, size = link[CODE], link[ROWS] * samples
        into = slope[:size]
        if link[OUTPUT] >= 0:
            into = store[link[OUTPUT] * samples : link[OUTPUT] * samples + size]
        argument = into
        if link[ARGUMENT] >= 0:
            argument = store[link[ARGUMENT] * samples : link[ARGUMENT] * samples + size]
        x = store[link[INPUT] * samples : (link[INPUT] + link[COLUMNS]) * samples]
        if link[PRODUCT] != NOTHING:
            matrix = block_at(values[link[MATRIX]], kinds[link[MATRIX]], layer, theta, blend)
            y = weighed(x, 1.0, weights, link[WEIGHT], samples, arranged)
            multiply(matrix, link[PRODUCT] == ADJOINT, y, samples, argument)
            x = argument
        offset = blend[:0]
        if link[OFFSET] >= 0:
            offset = block_at(
                values[link[OFFSET]], kinds[link[OFFSET]], layer, theta, blend
            ).reshape(-1)
        finish(x, numbers[n, 0], offset, samples, code, numbers[n, 1], argument, into)


@compiled
def finish(x, sign, offset, samples, code, parameter, argument, into):
    """argument <- sign x + offset, into <- sigma(argument), in one pass over blocks of rows."""
    rows = x.size // samples
    together = max(1, _BLOCK // samples)
    for start in range(0, rows, together):
        stop = min(start + together, rows)
        if offset.size == 0:
            for m in range(start * samples, stop * samples):
                argument[m] = sign * x[m]
        elif samples == 1:
            for y in range(start, stop):
                argument[y] = sign * x[y] + offset[y]
        else:
            for y in range(start, stop):
                value = offset[y]
                for m in range(y * samples, (y + 1) * samples):
                    argument[m] = sign * x[m] + value
        for m in range(start * samples, stop * samples):
            into[m] = argument[m]
        activate_row(code, parameter, into[start * samples : stop * samples])


@compiled
def advance(f, samples, work, program, blocks, method, moments, tape, states):
    """Steps f in place; returns the index of the first step whose result is not finite, or -1.

    tape : (S, s, rows M) is filled; (1, s, rows M) holds one step at a time
    states : (S + 1, N M), or (0, .): f before and after every step is written there
    """
    program, method, moments = borrowed(program), borrowed(method), borrowed(moments)
    values, kinds, links = borrowed(blocks.values), borrowed(blocks.kinds), program.links
    tape = borrowed(tape)
    a, b, c = method.a, method.b, method.c
    count, stages, entries = moments.size.size, b.size, f.size
    f = borrowed(f)
    at = links[-1, OUTPUT] * samples
    room, rest = carve(borrowed(work), links, samples, 0)
    own = rest[: stages * entries].reshape(stages, entries)
    if states.shape[0] > 0:
        states[0] = f
    for n in range(count):
        layer, h = moments.layer[n], moments.size[n]
        part = tape[n if tape.shape[0] == count else 0]
        slopes = own if at < 0 else part
        for i in range(stages):
            combine(1.0, f, h, a[i], 0, i, slopes, max(at, 0), part[i, :entries])
            theta = moments.theta[n] + c[i] * moments.dtheta[n]
            velocity(
                program,
                values,
                kinds,
                layer,
                theta,
                samples,
                part[i],
                own[i],
                room.weighed,
                room.blend,
            )
        combine(1.0, f, h, b, 0, stages, slopes, max(at, 0), f)
        if states.shape[0] > 0:
            states[n + 1] = f
        bad = 0
        for m in range(entries):
            bad |= not (abs(f[m]) <= _LARGEST)
        if bad:
            return n
    return -1


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
def _accumulate_large(left, right, width, fresh, added, out):
    target = out if fresh else added[: out.size].reshape(out.shape)
    np.dot(left.reshape(-1, width), right.reshape(-1, width).T, target)
    if not fresh:
        out += target


@inlined
def accumulate(left, right, samples, columns, fresh, added, out):
    """out <- left right^T, added to what is there unless `fresh`; left and right by `arrange`."""
    rows, width = out.shape[0], samples * columns
    if samples == 1:
        for y in range(rows):
            row = out[y]
            for i in range(columns):
                factor, source = left[i * rows + y], right[i * row.size : (i + 1) * row.size]
                if fresh and i == 0:
                    for z in range(row.size):
                        row[z] = factor * source[z]
                else:
                    for z in range(row.size):
                        row[z] += factor * source[z]
    elif out.size * width <= _BLAS:
        _pairs(left, right, width, not fresh, out)
    else:
        _accumulate_large(left, right, width, fresh, added, out)


@inlined
def collect(bar, fresh, kind, moment, shares, left, right, samples, scaled, added):
    """Adds left right^T to the cotangents of a matrix, as time axes do; for NODES each of the
    columns is divided between the ends of the layer by `shares` (columns,).
    """
    layer, columns, rows = moment, shares.size, bar.shape[1]
    if kind != NODES:
        target = 0 if kind == STATIC else layer
        accumulate(left, right, samples, columns, fresh[target], added, bar[target])
        fresh[target] = False
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
        accumulate(scaled, right, samples, columns, fresh[layer + end], added, bar[layer + end])
        fresh[layer + end] = False


@inlined
def collect_offset(bar, kind, layer, at, h, dtheta, r, samples):
    """Adds the sum over samples of r to the cotangents of an offset, as time axes do."""
    for y in range(bar.shape[1]):
        total = r[y] if samples == 1 else _total(r[y * samples : (y + 1) * samples])
        if kind == STATIC:
            bar[0, y, 0] += h * total
        elif kind == LAYERS:
            bar[layer, y, 0] += dtheta * total
        else:
            bar[layer, y, 0] += h * (1.0 - at) * total
            bar[layer + 1, y, 0] += h * at * total


class Room(NamedTuple):
    """Room for one step of a sweep: flat arrays that are written before they are read.

    here, there, weighed : (largest R) M
    blend : a block between two nodes
    inside : the cotangents and inputs of all products, of all stages
    scaled, added : for `collect`
    """

    here: Array
    there: Array
    weighed: Array
    blend: Array
    inside: Array
    scaled: Array
    added: Array


@unfolded
def carve(work, links, samples, columns):
    """The room for a sweep that collects `columns` stages at a time, in `work`, and what is left."""
    largest = inside = matrix = 0
    for n in range(links.shape[0]):
        rows, across = links[n, ROWS], links[n, COLUMNS]
        largest = max(largest, rows, across)
        if links[n, PRODUCT] != NOTHING:
            matrix, inside = max(matrix, rows * across), links[n, INSIDE] + rows + across
    size, wide = largest * samples, columns * samples
    first, second = 3 * size + 2 * matrix, 3 * size + 2 * matrix + largest * wide
    room = Room(
        work[:size],
        work[size : 2 * size],
        work[2 * size : 3 * size],
        work[3 * size : 3 * size + matrix],
        work[second : second + inside * wide],
        work[first:second],
        work[3 * size + matrix : first],
    )
    return room, work[second + inside * wide :]


@unfolded
def stage_back(program, values, kinds, moment, place, store, bars, room, q):
    """q <- (D_f F)* lambda for the stage that filled `store`, lambda in room.here; its cotangents
    of offsets are collected, those of matrices left in room.inside.

    moment : layer, time as a share of it, h, h as a share of the layer
    place : samples, columns, which column this stage is
    """
    layer, at, h, dtheta = moment
    samples, columns, i = place
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
def collect_matrices(links, kinds, layer, shares, samples, store, bars, fresh, room):
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
            fresh[k],
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
    samples, work, program, blocks, method, moments, tape, seed_of, seeds, bars, fresh, p, costates
):
    """The adjoint of `advance`: p_n = p_{n+1} + h sum_i q_i, q_i = (D_f F)* lambda_i, in place of p.

    lambda_i = b_i p_{n+1} + h sum_{j > i} a_ji q_j.  Collects the cotangents as time axes do
    (divided by the layer's length for LAYERS).

    seed_of : (S + 1,), which seed is added to p after step n, or -1
    seeds : (., N M)
    bars : WIDTH arrays shaped as blocks.values, (0, ., .) for a block that is not trained
    fresh : (WIDTH, longest T), where nothing was collected yet in the bar of a matrix, which is
        then written rather than added to
    costates : (S + 1, N M), or (0, .): p is written there
    """
    program, method, moments = borrowed(program), borrowed(method), borrowed(moments)
    values, kinds, links = borrowed(blocks.values), borrowed(blocks.kinds), program.links
    tape = borrowed(tape)
    count, stages, entries = moments.size.size, method.b.size, p.size
    bars = borrowed(bars)
    p = borrowed(p)
    fresh = borrowed(fresh)
    room, rest = carve(borrowed(work), links, samples, stages)
    back = rest[: stages * entries].reshape(stages, entries)
    ones = rest[stages * entries : stages * (entries + 1)]
    shares = rest[stages * (entries + 1) : stages * (entries + 2)]
    ones[:] = 1.0
    if seed_of[count] >= 0:
        p += seeds[seed_of[count]]
    if costates.shape[0] > 0:
        costates[count] = p
    for n in range(count - 1, -1, -1):
        layer, h, dtheta = moments.layer[n], moments.size[n], moments.dtheta[n]
        for i in range(stages - 1, -1, -1):
            combine(method.b[i], p, h, method.back[i], i + 1, stages, back, 0, room.here[:entries])
            shares[i] = moments.theta[n] + method.c[i] * dtheta
            stage_back(
                program,
                values,
                kinds,
                (layer, shares[i], h, dtheta),
                (samples, stages, i),
                tape[n, i],
                bars,
                room,
                back[i],
            )
        collect_matrices(links, kinds, layer, shares, samples, tape[n, 0], bars, fresh, room)
        combine(1.0, p, h, ones, 0, stages, back, 0, p)
        if seed_of[n] >= 0:
            p += seeds[seed_of[n]]
        if costates.shape[0] > 0:
            costates[n] = p
