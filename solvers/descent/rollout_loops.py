"""Compiled leaf loop: steps of a chain whose control is corrected on the way.

The reference is the generic path of `rollout.py`.  Arrays as in `chain_loops.py`.
"""

import numpy as np

from continuum.compiled import borrowed, compiled

from ..flow.chain_loops import Moments, advance


@compiled
def corrected(
    f, samples, work, program, blocks, method, moments, tape, places, before, feedback, bounds, u
):
    """Steps f in place, u_k <- clip(u_k + d_k + G_k (z_k - before_k)) at the start of layer k.

    places : (WIDTH,), the column at which a block on layers starts, or -1: these blocks are
        overwritten
    before : (K + 1, n), states, samples first
    feedback : d (K, m) and G (K, m, n)
    bounds : (2, m)
    u : (K, m), overwritten
    Returns the first step whose result is not finite, or -1.
    """
    values, places = borrowed(blocks.values), borrowed(places)
    opens, gains = borrowed(feedback)
    before, u = borrowed(before), borrowed(u)
    n, m = before.shape[1], u.shape[1]
    units = n // samples
    dz, none = np.empty(n), np.empty((0, n))
    layer = -1
    for step in range(moments.size.size):
        if moments.layer[step] != layer:
            layer = moments.layer[step]
            for i in range(units):
                for s in range(samples):
                    dz[s * units + i] = f[i * samples + s] - before[layer, s * units + i]
            for c in range(m):
                total, row = u[layer, c] + opens[layer, c], gains[layer, c]
                for j in range(n):
                    total += row[j] * dz[j]
                u[layer, c] = min(max(total, bounds[0, c]), bounds[1, c])
            for k in range(places.size):
                if places[k] >= 0:
                    into = values[k][layer]
                    for y in range(into.shape[0]):
                        for z in range(into.shape[1]):
                            into[y, z] = u[layer, places[k] + y * into.shape[1] + z]
        here = slice(step, step + 1)
        one = Moments(
            moments.layer[here], moments.size[here], moments.theta[here], moments.dtheta[here]
        )
        failed = advance(f, samples, work, program, blocks, method, one, tape[here], none)
        if failed >= 0:
            return step
    return -1
