"""Compiled passes over long vectors: what an optimizer does between two gradients.

A block of a control is a vector x of K n entries, row after row, in the product

    (x, y) = sum_k t_k sum_i w_i x_ki y_ki,

t (K,) the lengths of the layers, (1,) of 1 for a block that is constant in time; w (n,) the weights
of the entries, (1,) where all are the same.  Every pass reads each vector once and writes in place.
Updates are those of their formulas rounding for rounding; of sums alone the order is free.
"""

import math

import numpy as np

from .compiled import compiled, inlined, summing

_LARGEST = float(np.finfo(np.float64).max)


@inlined
def _weight(w, i):
    return w[i] if w.size > 1 else w[0]


@summing
def _plus(total, w, a, b):
    return total + w * a * b


@compiled
def between(a, b, c, d, t, w):
    """(a - b, c - d)."""
    n, total = a.size // t.size, 0.0
    for k in range(t.size):
        row = 0.0
        for i in range(n):
            j = k * n + i
            row = _plus(row, _weight(w, i), a[j] - b[j], c[j] - d[j])
        total += t[k] * row
    return total


@compiled
def dot(x, y, t, w):
    """(x, y)."""
    n, total = x.size // t.size, 0.0
    for k in range(t.size):
        row = 0.0
        for i in range(n):
            row = _plus(row, _weight(w, i), x[k * n + i], y[k * n + i])
        total += t[k] * row
    return total


@compiled
def magnitudes(x, t, w):
    """sum_k t_k sum_i w_i |x_ki|."""
    n, total = x.size // t.size, 0.0
    for k in range(t.size):
        row = 0.0
        for i in range(n):
            row = _plus(row, _weight(w, i), abs(x[k * n + i]), 1.0)
        total += t[k] * row
    return total


@compiled
def squares_into(x, factor, g, t, w):
    """g <- g + factor x; returns |x|^2."""
    n, total = x.size // t.size, 0.0
    for k in range(t.size):
        row = 0.0
        for i in range(n):
            j = k * n + i
            row = _plus(row, _weight(w, i), x[j], x[j])
            g[j] = g[j] + factor * x[j]
        total += t[k] * row
    return total


@compiled
def finite(x):
    """True if no entry is infinite or NaN."""
    wrong = 0
    for i in range(x.size):
        wrong += not abs(x[i]) <= _LARGEST
    return wrong == 0


@compiled
def combine(a, factor, b, c, out):
    """out <- a + factor (b - c)."""
    for i in range(a.size):
        out[i] = a[i] + factor * (b[i] - c[i])


@compiled
def step_by_entries(x, g, step, rule, out, t, w):
    """out <- prox(x - step g), entry by entry; returns |d|^2 and (g, d), d = out - x.

    rule : (shrink, factor, low, high): prox(v) is the nearest number in [low, high] to
        (v - shrink sign v) / factor, or to 0 where |v| <= shrink
    """
    shrink, factor, low, high = rule
    n, square, slope = x.size // t.size, 0.0, 0.0
    for k in range(t.size):
        row, along = 0.0, 0.0
        for i in range(n):
            j = k * n + i
            v = x[j] - step * g[j]
            z = math.copysign(max(abs(v) - shrink, 0.0) / factor, v)
            z = min(max(z, low), high)
            row = _plus(row, _weight(w, i), z - x[j], z - x[j])
            along = _plus(along, _weight(w, i), g[j], z - x[j])
            out[j] = z
        square += t[k] * row
        slope += t[k] * along
    return square, slope


@compiled
def adam_step(x, g, first, second, decays, shares, step, epsilon, bounds):
    """first <- a first + (1 - a) g,  second <- b second + (1 - b) g^2,  and x <- the nearest number
    in [low, high] to

        x - step (first / p) / ((second / q)^(1/2) + epsilon).

    decays : (a, b); shares : (p, q); bounds : (low, high)
    """
    (a, b), (p, q), (low, high) = decays, shares, bounds
    for i in range(x.size):
        m = a * first[i] + (1.0 - a) * g[i]
        v = b * second[i] + (1.0 - b) * g[i] * g[i]
        first[i], second[i] = m, v
        moved = x[i] - step * (m / p / (math.sqrt(v / q) + epsilon))
        x[i] = min(max(moved, low), high)
