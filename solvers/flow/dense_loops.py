"""Compiled leaf loops: explicit Runge-Kutta steps of f' = sigma(a - Bf) with a dense kernel, and
their adjoint.

The references are `integrate.GenericAdvance` and the sweeps of `step_derivatives.py`; tests hold
each pair together.  Matrix products go to BLAS; what is fused is everything between them.

Arrays: f (N, M); bias (Ka, N) and kernel (Kb, N, N) with Ka, Kb the length of their time axis, one
of STATIC (1), LAYERS (K), NODES (K + 1); per step: its layer, its length h, its start theta and its
share dtheta of the layer.
"""

import numpy as np

from continuum.compiled import activate_row, compiled, slope_row

STATIC, LAYERS, NODES = range(3)
_BLOCK = (
    1024  # entries worked on at a time, so that a block of every array stays in the first cache
)
_LARGEST = np.finfo(np.float64).max


@compiled
def spread_bias(bias, kind, layer, theta, out):
    """out[i, m] <- a_i at this time, for all samples m."""
    for i in range(out.shape[0]):
        if kind == STATIC:
            value = bias[0, i]
        elif kind == LAYERS or theta == 0.0:
            value = bias[layer, i]
        else:
            value = (1.0 - theta) * bias[layer, i] + theta * bias[layer + 1, i]
        out[i, :] = value


@compiled
def kernel_at(kernel, kind, layer, theta, blend):
    """The kernel matrix at this time: a view where there is one, else the mean of two in
    `blend`.
    """
    if kind == STATIC:
        return kernel[0]
    if kind == LAYERS or theta == 0.0:
        return kernel[layer]
    if theta == 1.0:
        return kernel[layer + 1]
    low, high = kernel[layer], kernel[layer + 1]
    for i in range(blend.shape[0]):
        for j in range(blend.shape[1]):
            blend[i, j] = (1.0 - theta) * low[i, j] + theta * high[i, j]
    return blend


@compiled
def advance(
    f,
    bias,
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
    states,
    slopes,
):
    """Steps f in place; returns the index of the first step whose result is not finite, or -1.

    states : (S + 1, N, M), or (0, ., .): f before and after every step is written there
    slopes : (S, s, N, M), or (0, ., ., .): the slopes k_i of every step are written there
    """
    units, samples = f.shape
    count, stages = h.size, b.size
    entries = units * samples
    spread_w, spread_a = np.empty((units, samples)), np.empty((units, samples))
    for i in range(units):
        spread_w[i, :] = w[i]
    argument = np.empty((units, samples))
    own = np.empty((1 if slopes.shape[0] > 0 else stages, units, samples))
    blend = np.empty((units, units) if kernel_kind == NODES else (1, 1))
    f_flat, weight_flat, bias_flat = (
        f.reshape(entries),
        spread_w.reshape(entries),
        spread_a.reshape(entries),
    )
    argument_flat = argument.reshape(entries)
    for e in range(entries):
        argument_flat[e] = weight_flat[e] * f_flat[e]
    if states.shape[0] > 0:
        states[0] = f
    spread_at = -1.0
    for n in range(count):
        slope = slopes[n] if slopes.shape[0] > 0 else own
        k = slope.reshape(stages, entries)
        finite = True
        for i in range(stages):
            at = theta[n] + c[i] * dtheta[n]
            np.dot(kernel_at(kernel, kernel_kind, layers[n], at, blend), argument, slope[i])
            moment = 0.0 if bias_kind == STATIC else layers[n] + (at if bias_kind == NODES else 0.0)
            if moment != spread_at:
                spread_bias(bias, bias_kind, layers[n], at, spread_a)
                spread_at = moment
            last = i == stages - 1
            for start in range(0, entries, _BLOCK):
                stop = min(start + _BLOCK, entries)
                row, offset, weight = (
                    k[i, start:stop],
                    bias_flat[start:stop],
                    weight_flat[start:stop],
                )
                state, target = f_flat[start:stop], argument_flat[start:stop]
                for e in range(row.size):
                    row[e] = offset[e] - row[e]
                activate_row(code, row)
                base = state
                for j in range(i):
                    factor = h[n] * (b[j] if last else a[i + 1, j])
                    if factor != 0.0:
                        source = k[j, start:stop]
                        for e in range(row.size):
                            target[e] = base[e] + factor * source[e]
                        base = target
                factor = h[n] * (b[i] if last else a[i + 1, i])
                if last:
                    bad = 0
                    for e in range(row.size):
                        value = base[e] + factor * row[e]
                        bad |= not (abs(value) <= _LARGEST)
                        state[e] = value
                        target[e] = weight[e] * value
                    finite = finite and bad == 0
                else:
                    for e in range(row.size):
                        target[e] = weight[e] * (base[e] + factor * row[e])
        if states.shape[0] > 0:
            states[n + 1] = f
        if not finite:
            return n
    return -1


@compiled
def stage_row(f, slopes, h, a, i, y, out):
    """out <- row y of f + h sum_{j < i} a_ij k_j."""
    base = f[y]
    for m in range(out.size):
        out[m] = base[m]
    for j in range(i):
        factor = h * a[i, j]
        if factor != 0.0:
            slope = slopes[j, y]
            for m in range(out.size):
                out[m] += factor * slope[m]


@compiled
def costate_row(p, back, h, a, b, i, y, out):
    """out <- row y of b_i p + h sum_{j > i} a_ji q_j."""
    costate = p[y]
    for m in range(out.size):
        out[m] = b[i] * costate[m]
    for j in range(i + 1, b.size):
        factor = h * a[j, i]
        if factor != 0.0:
            source = back[j, y]
            for m in range(out.size):
                out[m] += factor * source[m]


@compiled
def collect_bias(bar, kind, layer, at, h, dtheta, values, ones, sums):
    """Adds the sum of `values` over samples to the cotangents of the bias, as time axes do."""
    np.dot(values, ones, sums)
    for y in range(sums.size):
        if kind == STATIC:
            bar[0, y] += h * sums[y]
        elif kind == LAYERS:
            bar[layer, y] += dtheta * sums[y]
        else:
            bar[layer, y] += h * (1.0 - at) * sums[y]
            bar[layer + 1, y] += h * at * sums[y]


@compiled
def collect_kernel(bar, fresh, kind, layer, theta, dtheta, c, left, right, scaled, product):
    """Adds left right^T, whose columns are those of the stages one after the other, to those of the
    kernel.
    """
    columns = left.shape[1] // c.size
    for end in range(2 if kind == NODES else 1):
        target, source = 0 if kind == STATIC else layer + end, left
        if kind == NODES:
            for i in range(c.size):
                at = theta + c[i] * dtheta
                share = at if end else 1.0 - at
                for y in range(left.shape[0]):
                    for m in range(i * columns, (i + 1) * columns):
                        scaled[y, m] = share * left[y, m]
            source = scaled
        if fresh[target]:
            np.dot(source, right.T, bar[target])
            fresh[target] = False
        else:
            np.dot(source, right.T, product)
            bar[target] += product


@compiled
def adjoint(
    states,
    slopes,
    seed_of,
    seeds,
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
    bias_bar,
    kernel_bar,
    fresh,
    p,
    costates,
):
    """The adjoint of `advance`: p_n = p_{n+1} + h sum_i q_i, q_i = -B*(sigma'(u_i) lambda_i), in
    place of p.

    lambda_i = b_i p_{n+1} + h sum_{j > i} a_ji q_j.  Collects the cotangents as time axes do
    (divided by the layer's length for LAYERS), in shapes (Ka, N) and (Kb, N, N), or (0, ...) where
    a block is not trained.

    seed_of : (S + 1,), which seed is added to p after step n, or -1
    seeds : (., N, M)
    fresh : (Kb,), where nothing was collected yet in kernel_bar, which is then written rather than
        added to
    costates : (S + 1, N, M), or (0, ., .): p is written there
    """
    units, samples = states.shape[1], states.shape[2]
    count, stages = h.size, b.size
    lam = np.empty((units, samples))
    back, weighted = np.empty((stages, units, samples)), np.empty((units, samples))
    p_flat, ones, sums = p.reshape(-1), np.ones(samples), np.empty(units)
    left, right = np.empty((units, stages * samples)), np.empty((units, stages * samples))
    scaled = np.empty((units, stages * samples) if kernel_kind == NODES else (1, 1))
    blend = np.empty((units, units) if kernel_kind == NODES else (1, 1))
    product = np.empty((units, units) if kernel_bar.shape[0] > 0 else (1, 1))
    if seed_of[count] >= 0:
        p += seeds[seed_of[count]]
    if costates.shape[0] > 0:
        costates[count] = p
    for n in range(count - 1, -1, -1):
        f, layer = states[n], layers[n]
        kernel_share = dtheta[n] if kernel_kind == LAYERS else h[n]
        for i in range(stages - 1, -1, -1):
            at, own = theta[n] + c[i] * dtheta[n], slice(i * samples, (i + 1) * samples)
            for y in range(units):
                row = lam[y]
                costate_row(p, back, h[n], a, b, i, y, row)
                slope_row(code, slopes[n, i, y], row)
                into, wrow, weight = left[y, own], weighted[y], -w[y]
                for m in range(samples):
                    into[m] = -kernel_share * row[m]
                    wrow[m] = weight * row[m]
                if kernel_bar.shape[0] > 0 and stages > 1:
                    stage_row(f, slopes[n], h[n], a, i, y, right[y, own])
            if bias_bar.shape[0] > 0:
                collect_bias(bias_bar, bias_kind, layer, at, h[n], dtheta[n], lam, ones, sums)
            np.dot(kernel_at(kernel, kernel_kind, layer, at, blend).T, weighted, back[i])
        if kernel_bar.shape[0] > 0:
            inputs = right if stages > 1 else f
            collect_kernel(
                kernel_bar,
                fresh,
                kernel_kind,
                layer,
                theta[n],
                dtheta[n],
                c,
                left,
                inputs,
                scaled,
                product,
            )
        for i in range(stages):
            share, source = h[n], back[i].reshape(-1)
            for e in range(p_flat.size):
                p_flat[e] += share * source[e]
        if seed_of[n] >= 0:
            p += seeds[seed_of[n]]
        if costates.shape[0] > 0:
            costates[n] = p
