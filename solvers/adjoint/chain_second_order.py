"""Compiled leaf loops for Hessian-vector products: the derivatives of `chain_loops.advance` and of
its adjoint.

The references are the sweeps of `step_derivatives.py`; a test holds them together.  Arrays as in
`chain_loops.py`.  The tape of tangents, (S, s, rows M), keeps of every stage the derivative of its
state, and what the columns CHANGE and CHANGED of the links name: those of u and of the outputs.
The tape of cotangents, (S, s, turned M), keeps of every stage the cotangents of the outputs of its
links, from the last link to the first: they do not depend on the direction, so that the first
product with a Hessian computes them and the others read them.
"""

from continuum.compiled import IDENTITY, bend_row, borrowed, compiled, unfolded

from ..flow.chain_loops import (
    ADJOINT,
    BACK_WEIGHT,
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
    add_inputs,
    block_at,
    carve,
    combine,
    finish,
    has_inputs,
    time_at,
    weighed,
)
from ..flow.product_loops import multiply
from .chain_adjoint import (
    add_seed,
    collect_columns,
    collect_inputs,
    collect_offset,
    scale_by_slope,
    take_pair,
)


@compiled
def add_bend(code, parameter, at, du, r, dr):
    """dr <- dr + sigma''(u) du r; see `bend_row`."""
    bend_row(code, parameter, at, du, r, dr)


@unfolded
def stage_tangent(program, blocks, changes, layer, at, samples, store, dstore, slope, more, room):
    """slope <- D_f F df + D_c F dc for the stage that filled `store`, df at the start of `dstore`,
    which is filled.
    """
    links, numbers = program.links, program.numbers
    values, kinds, ends = blocks
    for n in range(links.shape[0]):
        link = links[n]
        size, across = link[ROWS] * samples, link[COLUMNS] * samples
        du = dstore[link[CHANGE] * samples : link[CHANGE] * samples + size]
        dx = dstore[link[CHANGE_INPUT] * samples : link[CHANGE_INPUT] * samples + across]
        k = link[MATRIX]
        if link[PRODUCT] != NOTHING:
            transposed, start = link[PRODUCT] == ADJOINT, link[WEIGHT]
            y = weighed(dx, 1.0, program.weights, start, samples, room.weighed)
            matrix = block_at(values[k], kinds[k], layer, at, room.blend)
            multiply(matrix, transposed, y, samples, room.turned, du)
            if changes[k].shape[0] > 0:
                x = store[link[INPUT] * samples : link[INPUT] * samples + across]
                y = weighed(x, 1.0, program.weights, start, samples, room.weighed)
                matrix = block_at(changes[k], kinds[k], layer, at, room.blend)
                multiply(matrix, transposed, y, samples, room.turned, more[:size])
                for m in range(size):
                    du[m] += more[m]
            if has_inputs(link):
                time = time_at(ends, layer, at)
                add_inputs(link, changes, kinds, layer, at, time, samples, room.blend, du)
            dx = du
        offset, k = room.blend[:0], link[OFFSET]
        if k >= 0 and changes[k].shape[0] > 0:
            offset = block_at(changes[k], kinds[k], layer, at, room.blend).reshape(-1)
        finish(dx, numbers[n, 0], offset, samples, IDENTITY, 0.0, du[:0], du)
        out = slope
        if link[CHANGED] >= 0:
            out = dstore[link[CHANGED] * samples : link[CHANGED] * samples + size]
        if link[CHANGED] != link[CHANGE]:
            known = link[KNOWN] * samples
            for m in range(size):
                out[m] = du[m]
            scale_by_slope(link[CODE], numbers[n, 1], store[known : known + size], out)


@compiled
def tangent(samples, work, program, blocks, method, moments, tape, changes, dtape, dstates):
    """The derivative of `advance` in the direction `changes`: dstates (S + 1, N M) and dtape are
    filled, dstates[0] is given.

    changes : WIDTH arrays shaped as blocks.values, (0, ., .) for a block that is not varied
    """
    program, method, moments = borrowed(program), borrowed(method), borrowed(moments)
    held = (borrowed(blocks.values), borrowed(blocks.kinds), borrowed(blocks.ends))
    changes = borrowed(changes)
    tape, dtape, dstates = borrowed(tape), borrowed(dtape), borrowed(dstates)
    stages, entries = method.b.size, dstates.shape[1]
    room, rest = carve(borrowed(work), program.links, samples, 0)
    slopes = rest[: stages * entries].reshape(stages, entries)
    for n in range(moments.size.size):
        layer, h = moments.layer[n], moments.size[n]
        for i in range(stages):
            dstore = dtape[n, i]
            combine(1.0, dstates[n], h, method.a[i], 0, i, slopes, 0, dstore[:entries])
            at = moments.theta[n] + method.c[i] * moments.dtheta[n]
            stage_tangent(
                program,
                held,
                changes,
                layer,
                at,
                samples,
                tape[n, i],
                dstore,
                slopes[i],
                room.here,
                room,
            )
        combine(1.0, dstates[n], h, method.b, 0, stages, slopes, 0, dstates[n + 1])


@unfolded
def stage_back_derivative(
    program, blocks, changes, moment, place, stores, known, bars, collected, room, more, q, dq
):
    """q, dq <- (D_f F)* lambda and its derivative, lambda in room.here, dlambda in more[0]; their
    cotangents are collected, or left in room.inside, see `take_pair`.

    stores : what the stage left on the three tapes
    known : whether that of cotangents is filled: lambda is read there then, and q is not computed
    other arguments as in `chain_loops.stage_back`
    """
    (values, kinds, ends), (layer, at, h, dtheta), (samples, columns, i) = blocks, moment, place
    store, dstore, turned = stores
    links, numbers = program.links, program.numbers
    here, there, dhere, dthere, extra = room.here, room.there, more[0], more[1], more[2]
    r, dr = here[: q.size], dhere[: q.size]
    lowest = done = 0
    while lowest < links.shape[0] and links[lowest, PRODUCT] == NOTHING:
        lowest += 1
    for n in range(links.shape[0] - 1, -1, -1):
        link, parameter = links[n], numbers[n, 1]
        before = turned[done : done + r.size]
        done += r.size
        if known:
            r[:] = before
        else:
            before[:] = r
        start = link[KNOWN] * samples
        value = store[start : start + r.size]
        du = dstore[link[CHANGE] * samples : link[CHANGE] * samples + r.size]
        scale_by_slope(link[CODE], parameter, value, dr)
        add_bend(link[CODE], parameter, value, du, r, dr)
        scale_by_slope(link[CODE], parameter, value, r)
        k = link[OFFSET]
        if k >= 0 and bars[k].shape[0] > 0:
            collect_offset(bars[k], kinds[k], layer, at, h, dtheta, dr, samples)
        if link[PRODUCT] == NOTHING:
            continue
        sign, k, size = numbers[n, 0], link[MATRIX], link[COLUMNS] * samples
        if has_inputs(link):
            collect_inputs(link, bars, kinds, moment, sign, time_at(ends, layer, at), samples, dr)
        if bars[k].shape[0] > 0:
            first, second = link[INPUT] * samples, link[CHANGE_INPUT] * samples
            x, dx = store[first : first + size], dstore[second : second + size]
            one, other = (samples, columns, i), (samples, columns, i + 1)
            take_pair(link, sign, bars, collected, kinds, moment, one, room.inside, dr, x)
            take_pair(link, sign, bars, collected, kinds, moment, other, room.inside, r, dx)
        transposed, start = link[PRODUCT] == FORWARD, link[BACK_WEIGHT]
        y = weighed(dr, sign, program.weights, start, samples, room.weighed)
        dr = dq if n == lowest else dthere[:size]
        matrix = block_at(values[k], kinds[k], layer, at, room.blend)
        multiply(matrix, transposed, y, samples, room.turned, dr)
        y = weighed(r, sign, program.weights, start, samples, room.weighed)
        r = q if n == lowest else there[:size]
        if not known:
            multiply(matrix, transposed, y, samples, room.turned, r)
        if changes[k].shape[0] > 0:
            matrix = block_at(changes[k], kinds[k], layer, at, room.blend)
            multiply(matrix, transposed, y, samples, room.turned, extra[:size])
            for m in range(size):
                dr[m] += extra[m]
        here, there, dhere, dthere = there, here, dthere, dhere
    if lowest == links.shape[0]:
        q[:] = r
        dq[:] = dr


@compiled
def second_order(
    samples,
    work,
    program,
    blocks,
    method,
    moments,
    tape,
    dtape,
    turned,
    known,
    seeded,
    seeds,
    dseeds,
    changes,
    bars,
    collected,
    ends,
    dcostates,
):
    """The derivative of `adjoint` in a direction, of which dtape is the `tangent`.

    turned : the tape of cotangents, read if `known`, else filled
    ends : (2, N M), the costate and its derivative after the last step, without seeds; before the
        first step on return, but the costate is left as it was if `known`
    dcostates : (S + 1, N M), filled with the derivatives of the costates; (0, N M) to keep none

    With r = sigma'(u) lambda and dr its derivative, the cotangents collected are those of dr with
    the inputs and of r with their derivatives: 2 s columns a step.
    """
    program, method, moments = borrowed(program), borrowed(method), borrowed(moments)
    kinds, links = borrowed(blocks.kinds), program.links
    held = (borrowed(blocks.values), kinds, borrowed(blocks.ends))
    tape, dtape, changes = borrowed(tape), borrowed(dtape), borrowed(changes)
    turned = borrowed(turned)
    bars, collected = borrowed(bars), borrowed(collected)
    count, stages, entries = moments.size.size, method.b.size, seeds.shape[1]
    room, rest = carve(borrowed(work), links, samples, 2 * stages)
    size = room.here.size
    more, rest = rest[: 3 * size].reshape(3, size), rest[3 * size :]
    back, rest = rest[: stages * entries].reshape(stages, entries), rest[stages * entries :]
    dback, rest = rest[: stages * entries].reshape(stages, entries), rest[stages * entries :]
    ends, dcostates = borrowed(ends), borrowed(dcostates)
    p, dp = ends[0], ends[1]
    shares = rest[: 6 * stages].reshape(3, 2 * stages)
    ones, times = shares[0], shares[1]
    ones[:] = 1.0
    if not known:
        add_seed(seeded, seeds, seeded.size, count, p)
    left = add_seed(seeded, dseeds, seeded.size, count, dp)
    if dcostates.shape[0] > 0:
        dcostates[count] = dp
    for n in range(count - 1, -1, -1):
        layer, h, dtheta = moments.layer[n], moments.size[n], moments.dtheta[n]
        for i in range(stages - 1, -1, -1):
            first, column = method.b[i], method.back[i]
            if not known:
                combine(first, p, h, column, i + 1, stages, back, 0, room.here[:entries])
            combine(first, dp, h, column, i + 1, stages, dback, 0, more[0, :entries])
            at = moments.theta[n] + method.c[i] * dtheta
            times[2 * i] = times[2 * i + 1] = at
            stage_back_derivative(
                program,
                held,
                changes,
                (layer, at, h, dtheta),
                (samples, 2 * stages, 2 * i),
                (tape[n, i], dtape[n, i], turned[n, i]),
                known,
                bars,
                collected,
                room,
                more,
                back[i],
                dback[i],
            )
        if samples == 1:
            collect_columns(links, kinds, layer, shares, bars, collected, room.inside)
        if not known:
            combine(1.0, p, h, ones, 0, stages, back, 0, p)
            add_seed(seeded, seeds, left, n, p)
        combine(1.0, dp, h, ones, 0, stages, dback, 0, dp)
        left = add_seed(seeded, dseeds, left, n, dp)
        if dcostates.shape[0] > 0:
            dcostates[n] = dp
