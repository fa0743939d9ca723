"""Compiled leaf loops for kernels with two distinct rows per layer: Euler steps of f' = sigma(a -
Bf), and the adjoint.

Unit i of layer k has the bias alpha[k, s] and the kernel's row beta[k, s, :], s = kind[k, i] in (0,
1), so a layer costs O(N) instead of O(N^2).  The references are the same sweeps with the kernel
formed; a test holds them together.
"""

import numpy as np

from continuum.arrays import Array
from continuum.compiled import activate_row, compiled, slope_row


@compiled
def advance(
    alpha: Array,
    beta: Array,
    kind: Array,
    w: Array,
    tau: Array,
    code: int,
    states: Array,
    rates: Array,
) -> int:
    """Fills states (K + 1, N) from states[0], and rates (K, N), sigma(a - Bf); the first layer not
    finite, or -1.
    """
    units = w.size
    for k in range(tau.size):
        f, row, after = states[k], rates[k], states[k + 1]
        low = high = 0.0
        for j in range(units):
            low += w[j] * beta[k, 0, j] * f[j]
            high += w[j] * beta[k, 1, j] * f[j]
        for i in range(units):
            row[i] = alpha[k, 0] - low if kind[k, i] == 0 else alpha[k, 1] - high
        activate_row(code, 0.0, row)
        finite = True
        for i in range(units):
            after[i] = f[i] + tau[k] * row[i]
            finite = finite and np.isfinite(after[i])
        if not finite:
            return k
    return -1


@compiled
def adjoint(
    beta: Array, kind: Array, w: Array, tau: Array, code: int, rates: Array, costates: Array
) -> None:
    """Fills costates (K + 1, N) from costates[K]: p <- p - tau B*(sigma'(u) p)."""
    units = w.size
    r = np.empty(units)
    for k in range(tau.size - 1, -1, -1):
        r[:] = costates[k + 1]
        slope_row(code, 0.0, rates[k], r)
        low = high = 0.0
        for i in range(units):
            if kind[k, i] == 0:
                low += w[i] * r[i]
            else:
                high += w[i] * r[i]
        for j in range(units):
            costates[k, j] = costates[k + 1, j] - tau[k] * (
                beta[k, 0, j] * low + beta[k, 1, j] * high
            )


@compiled
def box_step(
    g: Array, x: Array, row: Array, column: Array, low: float, high: float, out: Array
) -> float:
    """out <- the vertex of [low, high] against the sign of g, x where g = 0; returns sum row_i
    column_j g (x - out).

    g, x, out : (R, C); row (R,), column (C,).  out may be g itself.
    """
    total = 0.0
    product = np.empty(column.size)
    for i in range(row.size):
        gi, xi, oi = g[i], x[i], out[i]
        for j in range(column.size):  # without a sum in it, so that it runs in vectors
            slope, at = gi[j], xi[j]
            best = low if slope > 0.0 else at
            best = high if slope < 0.0 else best
            product[j] = slope * (at - best)
            oi[j] = best
        total += row[i] * np.dot(column, product)
    return total
