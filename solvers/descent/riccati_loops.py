"""Compiled leaf loops: the sweep of `riccati.py` in control space, for many small layers.

The reference is `riccati.eliminate` and what calls it; a test holds the two together.  Rows of
length n are innermost; products of many multiplications go to BLAS.
"""

import numpy as np

from continuum.compiled import borrowed, compiled, inlined, summing

MOST_LOOPED = 100_000  # multiplications above which a product of dense matrices is left to BLAS


@summing
def _dot(x, y):
    total = 0.0
    for j in range(x.size):
        total += x[j] * y[j]
    return total


@inlined
def _add(factor, source, target):
    for j in range(target.size):
        target[j] += factor * source[j]


@compiled
def _dense(left, right, out):
    np.dot(left, right, out)


@inlined
def _through(value, transposed, out):
    """out <- B^T V, for B^T (m, n)."""
    m, n = transposed.shape
    if m * n * n > MOST_LOOPED:
        _dense(transposed, value, out)
        return
    for c in range(m):
        row = out[c]
        row[:] = 0.0
        for j in range(n):
            _add(transposed[c, j], value[j], row)


@inlined
def _pull(blocks, source, out):
    """out <- A^T X for A block diagonal, X (n, n)."""
    size = blocks.shape[1]
    for s in range(blocks.shape[0]):
        for c in range(size):
            row = out[s * size + c]
            factor, x = blocks[s, 0, c], source[s * size]
            for j in range(row.size):
                row[j] = factor * x[j]
            for d in range(1, size):
                _add(blocks[s, d, c], source[s * size + d], row)


@inlined
def _pull_large(blocks, source, out):
    size = blocks.shape[1]
    for s in range(blocks.shape[0]):
        part = slice(s * size, (s + 1) * size)
        _dense(blocks[s].T, source[part], out[part])


@inlined
def _pull_rows(blocks, x, out, add):
    """out <- x A, added to what is there if `add`: a row vector x (n,)."""
    size = blocks.shape[1]
    for s in range(blocks.shape[0]):
        for c in range(size):
            total = 0.0
            for d in range(size):
                total += x[s * size + d] * blocks[s, d, c]
            out[s * size + c] = total + out[s * size + c] if add else total


@inlined
def _cholesky(h, low):
    """low <- L with h = L L^T; False where a pivot is not above rounding."""
    m = h.shape[0]
    for i in range(m):
        for j in range(i + 1):
            total = h[i, j] - _dot(low[i, :j], low[j, :j])
            if i == j:
                if not total > 1e-14 * abs(h[i, i]):
                    return False
                low[i, i] = np.sqrt(total)
            else:
                low[i, j] = total / low[j, j]
    return True


@compiled
def backward(stages, metric, shift, lift, floor, opens, gains, least, negatives, values):
    """The sweep from the last layer to the first; see `riccati.sweep`.

    stages : A, B, Q, S, R, q, r as in `riccati`, states flat: (K, n, m) for B and S, (K + 1, n)
        for q
    opens (K, m), gains (K, m, n), least (K,), negatives (K,) are filled
    values : (K + 1, n), filled with the derivatives p_k of the cost to go at dz_k = 0
    Returns the half sum of h^T H^-1 h over all layers.
    """
    a, b, q, s, r, slopes, pulls = borrowed(stages)
    metric, opens, gains = borrowed(metric), borrowed(opens), borrowed(gains)
    values, least, negatives = borrowed(values), borrowed(least), borrowed(negatives)
    count, n, m = b.shape
    value, moved, turned = np.zeros((n, n)), np.empty((n, n)), np.empty((n, n))
    size = a.shape[2]
    for block in range(a.shape[1]):
        for i in range(size):
            for j in range(size):
                value[block * size + i, block * size + j] = q[count, block, i, j]
    low, h, roots = np.zeros((m, m)), np.empty((m, m)), np.empty(m)
    flipped, through, g = np.empty((m, n)), np.empty((m, n)), np.empty((m, n + 1))
    values[count] = slopes[count]
    y = np.empty((m, n + 1))
    decrease = 0.0
    for k in range(count - 1, -1, -1):
        for j in range(n):
            for c in range(m):
                flipped[c, j] = b[k, j, c]
        _through(value, flipped, through)
        for c in range(m):
            for e in range(c + 1):
                h[c, e] = h[e, c] = r[k, c, e] + _dot(through[c], flipped[e])
            h[c, c] += shift * metric[k, c]
            row = g[c, :n]
            for j in range(n):
                row[j] = s[k, j, c]
            _pull_rows(a[k], through[c], row, True)
            g[c, n] = pulls[k, c] + _dot(flipped[c], values[k + 1])
        least[k], negatives[k] = np.inf, 0
        if _cholesky(h, low):
            for c in range(m):
                y[c] = g[c]
                for e in range(c):
                    _add(-low[c, e], y[e], y[c])
                y[c] /= low[c, c]
                roots[c] = 1.0
            for c in range(m - 1, -1, -1):
                row = g[c]
                row[:] = y[c]
                for e in range(c + 1, m):
                    _add(-low[e, c], g[e], row)
                row /= low[c, c]
        else:
            scale = 1.0 / np.sqrt(metric[k])
            for c in range(m):
                for e in range(m):
                    h[c, e] *= scale[c] * scale[e]
            found, vectors = np.linalg.eigh(h)
            least[k] = found[0]
            smallest = max(floor * max(abs(found[0]), abs(found[m - 1])), 1e-300)
            for c in range(m):
                negatives[k] += found[c] < 0.0
                pivot = max(abs(found[c]), smallest)
                roots[c] = 1.0 / (pivot if lift or found[c] > 0.0 else -pivot)
                y[c] = 0.0
                for e in range(m):
                    _add(scale[e] * vectors[e, c], g[e], y[c])
            g[:] = 0.0
            for c in range(m):
                for e in range(m):
                    _add(scale[e] * vectors[e, c] * roots[c], y[c], g[e])
        for c in range(m):
            opens[k, c] = -g[c, n]
            for j in range(n):
                gains[k, c, j] = -g[c, j]
            decrease += 0.5 * roots[c] * y[c, n] * y[c, n]
        _pull_rows(a[k], values[k + 1], values[k], False)
        values[k] += slopes[k]
        for c in range(m):
            _add(-roots[c] * y[c, n], y[c, :n], values[k])
        if k == 0:
            break
        if n * n * size > MOST_LOOPED:
            _pull_large(a[k], value, moved)
            for i in range(n):
                for j in range(n):
                    turned[j, i] = moved[i, j]
            _pull_large(a[k], turned, moved)
        else:
            _pull(a[k], value, moved)
            for i in range(n):
                for j in range(n):
                    turned[j, i] = moved[i, j]
            _pull(a[k], turned, moved)
        for block in range(a.shape[1]):
            for i in range(size):
                for j in range(size):
                    moved[block * size + i, block * size + j] += q[k, block, i, j]
        if n * n * m > MOST_LOOPED:
            for c in range(m):
                for j in range(n):
                    through[c, j] = y[c, j]
                    flipped[c, j] = roots[c] * y[c, j]
            _dense(flipped.T, through, turned)
            for i in range(n):
                _add(-1.0, turned[i], moved[i])
        else:
            for i in range(n):
                row = moved[i, i:]
                for c in range(m):
                    _add(-roots[c] * y[c, i], y[c, i:n], row)
        for i in range(n):
            for j in range(i, n):
                value[i, j] = value[j, i] = moved[i, j]
    return decrease
