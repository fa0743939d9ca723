"""Compiled leaf loops for Hessian-vector products: the derivatives of `dense_loops.advance` and of
its adjoint.

The references are the sweeps of `step_derivatives.py`; a test holds them together.  Arrays as in
`dense_loops.py`.
"""

import numpy as np

from continuum.compiled import SIGMOID, TANH, compiled, slope_row

from ..flow.dense_loops import (
    LAYERS,
    NODES,
    collect_bias,
    collect_kernel,
    costate_row,
    kernel_at,
    spread_bias,
    stage_row,
)


@compiled
def tangent(
    states,
    slopes,
    bias_kind,
    kernel,
    kernel_kind,
    w,
    code,
    a,
    b,
    c,
    layers,
    h,
    theta,
    dtheta,
    dbias,
    dkernel,
    dstates,
    dslopes,
):
    """The derivative of `advance`, of the shapes of states and slopes: dk_i = sigma'(u_i) (da - dB
    F_i - B dF_i).

    dbias, dkernel : the direction, of the shapes of bias and kernel, or (0, ...) for a block that
        is not varied
    dstates[0] is given, the others are written.
    """
    units, samples = states.shape[1], states.shape[2]
    stages = b.size
    weighted, change, more = (
        np.empty((units, samples)),
        np.empty((units, samples)),
        np.empty((units, samples)),
    )
    spread = np.zeros((units, samples))
    blend = np.empty((units, units) if kernel_kind == NODES else (1, 1))
    for n in range(h.size):
        for i in range(stages):
            at = theta[n] + c[i] * dtheta[n]
            for y in range(units):
                row, weight = weighted[y], w[y]
                stage_row(dstates[n], dslopes[n], h[n], a, i, y, row)
                for m in range(samples):
                    row[m] *= weight
            np.dot(kernel_at(kernel, kernel_kind, layers[n], at, blend), weighted, change)
            if dkernel.shape[0] > 0:
                for y in range(units):
                    row, weight = weighted[y], w[y]
                    stage_row(states[n], slopes[n], h[n], a, i, y, row)
                    for m in range(samples):
                        row[m] *= weight
                np.dot(kernel_at(dkernel, kernel_kind, layers[n], at, blend), weighted, more)
            if dbias.shape[0] > 0:
                spread_bias(dbias, bias_kind, layers[n], at, spread)
            for y in range(units):
                row, offset, first, second = dslopes[n, i, y], spread[y], change[y], more[y]
                for m in range(samples):
                    row[m] = offset[m] - first[m]
                if dkernel.shape[0] > 0:
                    for m in range(samples):
                        row[m] -= second[m]
                slope_row(code, slopes[n, i, y], row)
        for y in range(units):
            target, base = dstates[n + 1, y], dstates[n, y]
            for m in range(samples):
                target[m] = base[m]
            for i in range(stages):
                factor, source = h[n] * b[i], dslopes[n, i, y]
                for m in range(samples):
                    target[m] += factor * source[m]


@compiled
def second_order(
    states,
    slopes,
    dstates,
    dslopes,
    seed_of,
    seeds,
    dseeds,
    bias_kind,
    kernel,
    kernel_kind,
    w,
    code,
    a,
    b,
    c,
    layers,
    h,
    theta,
    dtheta,
    dkernel,
    bias_bar,
    kernel_bar,
    fresh,
):
    """The derivative of `adjoint` in a direction, of which dstates and dslopes are the `tangent`.

    With r = sigma'(u) lambda and dr its derivative, dq = -B* dr - dB* r, and the cotangents
    collected are those of dr with F and of r with dF.  Costates and their derivatives stand side by
    side, in arrays (N, 2 M).
    """
    units, samples = states.shape[1], states.shape[2]
    count, stages = h.size, b.size
    both = 2 * samples
    p, back = np.zeros((units, both)), np.empty((stages, units, both))
    lam, weighted = np.empty((units, both)), np.empty((units, both))
    alone, more, change = (
        np.empty((units, samples)),
        np.empty((units, samples)),
        np.empty((units, samples)),
    )
    ones, sums, bend = np.ones(samples), np.empty(units), np.empty(samples)
    left, right = np.empty((units, stages * both)), np.empty((units, stages * both))
    scaled = np.empty((units, stages * both) if kernel_kind == NODES else (1, 1))
    blend = np.empty((units, units) if kernel_kind == NODES else (1, 1))
    product = np.empty((units, units) if kernel_bar.shape[0] > 0 else (1, 1))
    for n in range(count, -1, -1):
        if n < count:
            layer = layers[n]
            kernel_share = dtheta[n] if kernel_kind == LAYERS else h[n]
            for i in range(stages - 1, -1, -1):
                at = theta[n] + c[i] * dtheta[n]
                for y in range(units):
                    costate_row(p, back, h[n], a, b, i, y, lam[y])
                    k, dk, value, derivative = (
                        slopes[n, i, y],
                        dslopes[n, i, y],
                        lam[y, :samples],
                        lam[y, samples:],
                    )
                    for m in range(samples):
                        bend[m] = 0.0
                    if code == TANH:
                        for m in range(samples):
                            bend[m] = -2.0 * k[m] * dk[m] * value[m]
                    elif code == SIGMOID:
                        for m in range(samples):
                            bend[m] = (1.0 - 2.0 * k[m]) * dk[m] * value[m]
                    slope_row(code, k, value)
                    slope_row(code, k, derivative)
                    start, middle, stop = i * both, i * both + samples, (i + 1) * both
                    into, further, pair, weight = (
                        left[y, start:middle],
                        left[y, middle:stop],
                        weighted[y],
                        -w[y],
                    )
                    single, moved = alone[y], change[y]
                    for m in range(samples):
                        derivative[m] += bend[m]
                        moved[m] = derivative[m]
                        into[m], further[m] = (
                            -kernel_share * derivative[m],
                            -kernel_share * value[m],
                        )
                        single[m] = weight * value[m]
                        pair[m], pair[samples + m] = single[m], weight * derivative[m]
                    if kernel_bar.shape[0] > 0:
                        stage_row(states[n], slopes[n], h[n], a, i, y, right[y, start:middle])
                        stage_row(dstates[n], dslopes[n], h[n], a, i, y, right[y, middle:stop])
                if bias_bar.shape[0] > 0:
                    collect_bias(
                        bias_bar, bias_kind, layer, at, h[n], dtheta[n], change, ones, sums
                    )
                np.dot(kernel_at(kernel, kernel_kind, layer, at, blend).T, weighted, back[i])
                if dkernel.shape[0] > 0:
                    np.dot(kernel_at(dkernel, kernel_kind, layer, at, blend).T, alone, more)
                    back[i, :, samples:] += more
            if kernel_bar.shape[0] > 0:
                collect_kernel(
                    kernel_bar,
                    fresh,
                    kernel_kind,
                    layer,
                    theta[n],
                    dtheta[n],
                    c,
                    left,
                    right,
                    scaled,
                    product,
                )
            for i in range(stages):
                p += h[n] * back[i]
        if seed_of[n] >= 0:
            p[:, :samples] += seeds[seed_of[n]]
            p[:, samples:] += dseeds[seed_of[n]]
