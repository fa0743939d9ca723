"""Compiled leaf loop: steps of a chain whose control is corrected on the way.

The reference is the generic path of `rollout.py`.  Arrays as in `chain_loops.py`.
"""

import numpy as np

from continuum.compiled import borrowed, compiled

from ..adjoint.direction_loops import pairing
from ..flow.chain_loops import Moments, advance


@compiled
def corrected(
    f, samples, work, program, blocks, method, moments, tape, places, before, law, step, bounds, u
):
    """Steps f in place, u_k <- clip(u_k + law_k (z_k - before_k, step)) at the start of layer k.

    places : (WIDTH,), the column at which a block on layers starts, or -1: these blocks are
        overwritten
    before : (K + 1, n), states, samples first
    law, step : (K, m, n + 1 + p), (1 + p,)
    bounds : (2, m)
    u : (K, m), overwritten
    Returns the first step whose result is not finite, or -1.
    """
    values, places = borrowed(blocks.values), borrowed(places)
    law, before, u = borrowed(law), borrowed(before), borrowed(u)
    n, m = before.shape[1], u.shape[1]
    units = n // samples
    given, none = np.empty(law.shape[2]), np.empty((0, n))
    given[n:] = step
    layer = -1
    for number in range(moments.size.size):
        if moments.layer[number] != layer:
            layer = moments.layer[number]
            for i in range(units):
                for s in range(samples):
                    given[s * units + i] = f[i * samples + s] - before[layer, s * units + i]
            for c in range(m):
                total = u[layer, c] + pairing(law[layer, c], given)
                u[layer, c] = min(max(total, bounds[0, c]), bounds[1, c])
            for k in range(places.size):
                if places[k] >= 0:
                    into = values[k][layer]
                    for y in range(into.shape[0]):
                        for z in range(into.shape[1]):
                            into[y, z] = u[layer, places[k] + y * into.shape[1] + z]
        here = slice(number, number + 1)
        one = Moments(
            moments.layer[here], moments.size[here], moments.theta[here], moments.dtheta[here]
        )
        failed = advance(f, samples, work, program, blocks, method, one, tape[here], none)
        if failed >= 0:
            return number
    return -1
