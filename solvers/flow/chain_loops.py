"""Compiled leaf loops: explicit Runge-Kutta steps of f' = F(f, c, t) for any chain of dense maps.

A chain is a table of links, one row each (`Program.links`, columns named below),

    u = sign (P (w x) + S + t r) + offset,   x <- sigma(u),

P the matrix of a block, its transpose, or nothing (then w = sign = 1); S (R, M), which the data of
the samples contribute, and the column r (R,) of the time, both where a link has them.
`lowering.py` makes the table; the reference is `advance.GenericAdvance`, and tests hold the two
together.

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
    like_in,
    summing,
    unfolded,
)

from .product_loops import multiply

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
    SHARE,  # which array is S, or -1
    RATE,  # which array is r, or -1
) = range(18)
WIDTH = 16  # how many blocks the tuples hold, so that one compilation serves all networks
LINE = 8  # numbers in a line of the cache
_BLOCK = 1024  # entries worked on at a time, so that all arrays of a block stay in the first cache


class Program(NamedTuple):
    """A chain: links (L, 18) of integers, numbers (L, 2) sign and activation parameter, weights."""

    links: Array
    numbers: Array
    weights: Array


class Blocks(NamedTuple):
    """kinds (WIDTH,), STATIC, LAYERS or NODES; values, WIDTH arrays (T, R, C), T = 0 if absent;
    ends (K + 1,), the times at the ends of layers.
    """

    kinds: Array
    values: tuple[Array, ...]
    ends: Array


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
def _is_finite(x):
    total = zero = like_in(x, 0.0)
    for m in range(x.size):
        total += zero * x[m]
    return total == zero


@inlined
def block_at(x, kind, layer, theta, blend):
    """The block at this time, (R, C): a view where there is one, else a mean in `blend`."""
    if kind == STATIC:
        return x[0]
    if kind == LAYERS or theta == 0.0:
        return x[layer]
    if theta == 1.0:
        return x[layer + 1]
    low, high = x[layer], x[layer + 1]
    rows, columns = low.shape
    mean = blend[: rows * columns].reshape(rows, columns)
    before, after = like_in(x, 1.0 - theta), like_in(x, theta)
    for y in range(rows):
        for z in range(columns):
            mean[y, z] = before * low[y, z] + after * high[y, z]
    return mean


@inlined
def weighed(x, factor, weights, start, samples, out):
    """factor w x: x itself where all factors are one, else in `out`."""
    if start < 0 and factor == 1.0:
        return x
    rows = x.size // samples
    if samples == 1:
        for y in range(rows):
            out[y] = like_in(x, factor * (weights[start + y] if start >= 0 else 1.0)) * x[y]
        return out[:rows]
    for y in range(rows):
        scale = like_in(x, factor * (weights[start + y] if start >= 0 else 1.0))
        for m in range(y * samples, (y + 1) * samples):
            out[m] = scale * x[m]
    return out[: x.size]


@inlined
def combine(scale, f, h, coefficients, first, last, slopes, at, out):
    """out <- scale f + h sum_{first <= j < last} coefficients_j slopes[j, at:], in one pass."""
    scale = like_in(f, scale)
    for start in range(0, f.size, _BLOCK):
        stop = min(start + _BLOCK, f.size)
        base, target = f[start:stop], out[start:stop]
        begun = False
        for j in range(first, last):
            factor = like_in(f, h * coefficients[j])
            if factor == 0.0:
                continue
            source = slopes[j, at + start : at + stop]
            if begun:
                for m in range(target.size):
                    target[m] += factor * source[m]
            else:
                for m in range(target.size):
                    target[m] = scale * base[m] + factor * source[m]
            begun = True
        if not begun:
            for m in range(target.size):
                target[m] = scale * base[m]


@inlined
def has_inputs(link):
    """Whether a link has S or r."""
    return link[SHARE] >= 0 or link[RATE] >= 0


@inlined
def time_at(ends, layer, theta):
    """The time at a share of a layer."""
    return ends[layer] + theta * (ends[layer + 1] - ends[layer])


@unfolded
def add_inputs(link, values, kinds, layer, theta, time, samples, blend, u):
    """u <- u + S + t r, of those that are there."""
    k = link[SHARE]
    if k >= 0 and values[k].shape[0] > 0:
        share = block_at(values[k], kinds[k], layer, theta, blend).reshape(-1)
        for m in range(u.size):
            u[m] += share[m]
    k = link[RATE]
    if k >= 0 and values[k].shape[0] > 0:
        rate = block_at(values[k], kinds[k], layer, theta, blend)
        for y in range(rate.shape[0]):
            change = like_in(u, time * rate[y, 0])
            if samples == 1:
                u[y] += change
                continue
            row = u[y * samples : (y + 1) * samples]
            for m in range(samples):
                row[m] += change


@unfolded
def velocity(program, blocks, layer, theta, samples, store, slope, room):
    """The slope of a stage whose state is at the start of `store`, its part of the tape, which is
    filled; the slope is in `slope` if the tape has no place for it.
    """
    links, numbers, weights = program.links, program.numbers, program.weights
    values, kinds, ends = blocks
    blend = room.blend
    for n in range(links.shape[0]):
        link = links[n]
        code, size = link[CODE], link[ROWS] * samples
        into = slope[:size]
        if link[OUTPUT] >= 0:
            into = store[link[OUTPUT] * samples : link[OUTPUT] * samples + size]
        argument = store[:0]
        if link[ARGUMENT] >= 0:
            argument = store[link[ARGUMENT] * samples : link[ARGUMENT] * samples + size]
        x = store[link[INPUT] * samples : (link[INPUT] + link[COLUMNS]) * samples]
        if link[PRODUCT] != NOTHING:
            matrix = block_at(values[link[MATRIX]], kinds[link[MATRIX]], layer, theta, blend)
            y = weighed(x, 1.0, weights, link[WEIGHT], samples, room.weighed)
            multiply(matrix, link[PRODUCT] == ADJOINT, y, samples, room.turned, into)
            if has_inputs(link):
                time = time_at(ends, layer, theta)
                add_inputs(link, values, kinds, layer, theta, time, samples, blend, into)
            x = into
        offset = blend[:0]
        if link[OFFSET] >= 0:
            k = link[OFFSET]
            offset = block_at(values[k], kinds[k], layer, theta, blend).reshape(-1)
        finish(x, numbers[n, 0], offset, samples, code, numbers[n, 1], argument, into)


@compiled
def finish(x, sign, offset, samples, code, parameter, argument, into):
    """argument <- u = sign x + offset, if there is room for it, and into <- sigma(u), in one pass
    over blocks of rows.
    """
    sign = like_in(x, sign)
    together = _BLOCK // samples * samples if samples < _BLOCK else samples
    for start in range(0, x.size, together):
        stop = min(start + together, x.size)
        part, source = into[start:stop], x[start:stop]
        if offset.size == 0:
            for m in range(part.size):
                part[m] = sign * source[m]
        elif samples == 1:
            added = offset[start:stop]
            for m in range(part.size):
                part[m] = sign * source[m] + added[m]
        else:
            first = start // samples
            for y in range(part.size // samples):
                value = offset[first + y]
                target = part[y * samples : (y + 1) * samples]
                row = source[y * samples : (y + 1) * samples]
                for m in range(samples):
                    target[m] = sign * row[m] + value
        if argument.size > 0:
            kept = argument[start:stop]
            for m in range(part.size):
                kept[m] = part[m]
        activate_row(code, parameter, part)


@compiled
def advance(f, samples, work, program, blocks, method, moments, tape, states):
    """Steps f in place; returns the index of the first step whose result is not finite, or -1.

    tape : (S, s, rows M) is filled; (1, s, rows M) holds one step at a time
    states : (S + 1, N M), or (0, .): f before and after every step is written there
    """
    program, method, moments = borrowed(program), borrowed(method), borrowed(moments)
    held, links = (
        (borrowed(blocks.values), borrowed(blocks.kinds), borrowed(blocks.ends)),
        program.links,
    )
    tape = borrowed(tape)
    a, b, c = method.a, method.b, method.c
    count, stages, entries = moments.size.size, b.size, f.size
    f = borrowed(f)
    at, each = links[-1, OUTPUT] * samples, 1 if tape.shape[0] == count else 0
    room, rest = carve(borrowed(work), links, samples, 0)
    own = rest[: stages * entries].reshape(stages, entries)
    if states.shape[0] > 0:
        states[0] = f
    if count > 0:
        tape[0, 0, :entries] = f
    for n in range(count):
        layer, h = moments.layer[n], moments.size[n]
        part = tape[each * n]
        state, slopes = part[0, :entries], own if at < 0 else part
        for i in range(stages):
            if i > 0:
                combine(1.0, state, h, a[i], 0, i, slopes, max(at, 0), part[i, :entries])
            theta = moments.theta[n] + c[i] * moments.dtheta[n]
            velocity(program, held, layer, theta, samples, part[i], own[i], room)
        following = f if n == count - 1 else tape[each * (n + 1), 0, :entries]
        combine(1.0, state, h, b, 0, stages, slopes, max(at, 0), following)
        if states.shape[0] > 0:
            states[n + 1] = following
        if not _is_finite(following):
            f[:] = following
            return n
    return -1


class Pair(NamedTuple):
    """errors (E, s) of e_i = h sum_j errors_ij k_j, measure (N,) of sum 1, (rtol, atol)."""

    errors: Array
    measure: Array
    tolerances: Array


@compiled
def slope_at(f, samples, work, program, blocks, layer, theta, slope):
    """slope <- F(f, c) in a layer, at a time given as a share of it."""
    program, work = borrowed(program), borrowed(work)
    held = (borrowed(blocks.values), borrowed(blocks.kinds), borrowed(blocks.ends))
    f = borrowed(f)
    slope = borrowed(slope)
    room, store = carve(work, program.links, samples, 0)
    store[: f.size] = f
    velocity(program, held, layer, theta, samples, store, slope, room)
    at = program.links[-1, OUTPUT] * samples
    if at >= 0:
        slope[:] = store[at : at + slope.size]


@compiled
def attempt(f, samples, work, program, blocks, method, pair, moment, slopes, state):
    """One step of an embedded pair: fills slopes (s, N M), of which the first is given, and state.

    moment : layer, h, start and length as shares of the layer
    Returns the scaled error of the worst sample: |e_1|, or |e_1|^2 / sqrt(|e_1|^2 + |e_2|^2 / 100)
    where there are two estimates, with |e|^2 = sum_i measure_i (e_i / (atol + rtol max(|f_i|,
    |state_i|)))^2.
    """
    program, method, work = borrowed(program), borrowed(method), borrowed(work)
    held = (borrowed(blocks.values), borrowed(blocks.kinds), borrowed(blocks.ends))
    f = borrowed(f)
    pair, slopes, state = borrowed(pair), borrowed(slopes), borrowed(state)
    layer, h, theta, dtheta = moment
    stages, entries = method.b.size, f.size
    room, store = carve(work, program.links, samples, 0)
    at = program.links[-1, OUTPUT] * samples
    for i in range(1, stages):
        combine(1.0, f, h, method.a[i], 0, i, slopes, 0, store[:entries])
        share = theta + method.c[i] * dtheta
        velocity(program, held, layer, share, samples, store, slopes[i], room)
        if at >= 0:
            slopes[i] = store[at : at + entries]
    combine(1.0, f, h, method.b, 0, stages, slopes, 0, state)
    rtol, atol = pair.tolerances[0], pair.tolerances[1]
    first, second = room.here, room.there
    combine(0.0, f, h, pair.errors[0], 0, stages, slopes, 0, first[:entries])
    if pair.errors.shape[0] > 1:
        combine(0.0, f, h, pair.errors[1], 0, stages, slopes, 0, second[:entries])
    worst = 0.0
    for m in range(samples):
        one = two = 0.0
        for y in range(pair.measure.size):
            e = y * samples + m
            scale = atol + rtol * max(abs(f[e]), abs(state[e]))
            one += pair.measure[y] * (first[e] / scale) ** 2
            two += pair.measure[y] * (second[e] / scale) ** 2
        if pair.errors.shape[0] > 1 and one > 0.0:
            one *= one / (one + 0.01 * two)
        worst = one if not one <= worst else worst
    return np.sqrt(worst)


class Room(NamedTuple):
    """Room for one step of a sweep: flat arrays that are written before they are read.

    here, there, weighed, turned : (largest R) M
    blend : a block between two nodes
    inside : of one sample, the cotangents and inputs of all products, of all stages
    """

    here: Array
    there: Array
    weighed: Array
    turned: Array
    blend: Array
    inside: Array


@unfolded
def carve(work, links, samples, columns):
    """Room for a sweep that collects `columns` stages at a time, in `work`; and what is left.

    All begin with a line of the cache: a sum over rows that is kept in one costs half as much then.
    """
    largest = inside = matrix = 0
    for n in range(links.shape[0]):
        rows, across = links[n, ROWS], links[n, COLUMNS]
        largest, matrix = max(largest, rows, across), max(matrix, rows)
        if links[n, PRODUCT] != NOTHING:
            matrix, inside = max(matrix, rows * across), links[n, INSIDE] + rows + across
        if links[n, SHARE] >= 0:
            matrix = max(matrix, rows * samples)
    size, wide = largest * samples, inside * columns if samples == 1 else 0
    first = -(work.ctypes.data // work.itemsize) % LINE
    second = first + (size + LINE - 1) // LINE * LINE
    third = second + second - first
    fourth = third + second - first
    fifth = fourth + second - first
    sixth = fifth + (matrix + LINE - 1) // LINE * LINE
    rest = sixth + (wide + LINE - 1) // LINE * LINE
    room = Room(
        work[first : first + size],
        work[second : second + size],
        work[third : third + size],
        work[fourth : fourth + size],
        work[fifth : fifth + matrix],
        work[sixth : sixth + wide],
    )
    return room, work[rest:]
