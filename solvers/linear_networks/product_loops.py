"""Compiled sweeps through the products of deep linear networks, and fixed steps on them.

One network W_L ... W_1 (P = 1), or the difference of two (P = 2), on inputs B_1 (n, n):

    forward   B_(i+1) = W_i B_i,   E = B_(L+1) - B'_(L+1) - target,   J = |E|_F^2 / 2,
    back      Q_L = E^T, of the second network -E^T,   dJ/dW_i = (B_i Q_i)^T,   Q_(i-1) = Q_i W_i:

three products per layer, of matrices as they lie in memory.  All are padded with zeros to m rows
and columns, as `tile_loops` wants them:

    factors (P, L, m, m);  prefixes (P, L + 1, m, m), prefixes[p, 0] = B_1;  target (m, m),
    transposed;  costates (3, m, m): room to work in.

Overflow raises nothing here: a value or a slope that is not finite says so by itself.  The
reference is `discretize(problem)`.
"""

import math

from continuum.compiled import borrowed, compiled, summing

from .tile_loops import multiply, multiply_transposed


@summing
def _square(row):
    """The sum of squares."""
    total = 0.0
    for e in range(row.size):
        total += row[e] * row[e]
    return total


@compiled
def forward(factors, prefixes, target, costates):
    """J; fills the prefixes, the last one transposed, and costates[2] with E^T."""
    parts, layers, error = factors.shape[0], factors.shape[1], costates[2]
    for p in range(parts):
        w, b = borrowed(factors)[p], borrowed(prefixes)[p]
        for i in range(layers - 1):
            multiply(w[i], b[i], b[i + 1])
        multiply_transposed(w[layers - 1], b[layers - 1], b[layers])
    for r in range(error.shape[0]):
        row, aim, first = error[r], target[r], prefixes[0, layers, r]
        for c in range(row.size):
            row[c] = first[c] - aim[c]
        if parts == 2:
            second = prefixes[1, layers, r]
            for c in range(row.size):
                row[c] -= second[c]
    return 0.5 * _square(error.ravel())


@compiled
def _start(p, layers, costates):
    """Q_L of network p, at costates[L % 2]."""
    q, error, sign = costates[layers % 2].ravel(), costates[2].ravel(), 1.0 - 2.0 * p
    for e in range(q.size):
        q[e] = sign * error[e]


@compiled
def value_and_slopes(factors, prefixes, target, costates, slopes):
    """J; slopes (P, L, m, m) <- dJ/dW."""
    value, layers = forward(factors, prefixes, target, costates), factors.shape[1]
    for p in range(factors.shape[0]):
        _start(p, layers, costates)
        for i in range(layers - 1, -1, -1):
            q = costates[(i + 1) % 2]
            multiply_transposed(prefixes[p, i], q, slopes[p, i])
            multiply(q, factors[p, i], costates[i % 2])
    return value


@summing
def _moved(y, slope, step):
    """y <- y - step slope; |slope|^2."""
    total = 0.0
    for e in range(slope.size):
        total += slope[e] * slope[e]
        y[e] -= step * slope[e]
    return total


@compiled
def _carried_on(y, x, before, slope, step, beta):
    """before <- x,  x <- y - step slope,  y <- x + beta (x - before); |slope|^2."""
    for e in range(slope.size):
        new, old = y[e] - step * slope[e], x[e]
        before[e], x[e] = old, new
        y[e] = new + beta * (new - old)
    return _square(slope)


@compiled
def steps(factors, x, before, room, rule, out):
    """x_(k+1) = y_k - step dJ/dW(y_k),  y_k = x_k + beta_k (x_k - x_(k-1)), for k = first, ...; the
    slopes of a layer are used up as soon as the sweep has passed it.

    factors : y_first, becomes the last y.  Without momentum that is the last x, and the array x is
        not used;  before : becomes the x before the last
    room : prefixes, target, costates, and slope (m, m)
    rule : step;  momentum, beta_k, or < 0 for (k - 1) / (k + 2);  first, as a number like these
    out : (2, K) <- J(y_k), |dJ/dW(y_k)|;  left as it is behind the first that are not finite
    """
    prefixes, target, costates, slope = borrowed(room)
    step, momentum, first = rule
    layers, size = factors.shape[1], slope.size
    flat = slope.reshape(size)
    for k in range(out.shape[1]):
        out[0, k], total = forward(factors, prefixes, target, costates), 0.0
        beta = (first + k) / (first + k + 3.0) if momentum < 0.0 else momentum
        for p in range(factors.shape[0]):
            _start(p, layers, costates)
            w, b = borrowed(factors)[p], borrowed(prefixes)[p]
            rows = borrowed(factors)[p].reshape(layers, size)
            x_rows = borrowed(x)[p].reshape(layers, size)
            before_rows = borrowed(before)[p].reshape(layers, size)
            for i in range(layers - 1, -1, -1):
                q = costates[(i + 1) % 2]
                multiply_transposed(b[i], q, slope)
                if i > 0:
                    multiply(q, w[i], costates[i % 2])
                if momentum != 0.0:
                    total += _carried_on(rows[i], x_rows[i], before_rows[i], flat, step, beta)
                    continue
                if k == out.shape[1] - 1:
                    for e in range(size):
                        before_rows[i, e] = rows[i, e]
                total += _moved(rows[i], flat, step)
        out[1, k] = math.sqrt(total)
        if not math.isfinite(out[0, k] + out[1, k]):
            return
