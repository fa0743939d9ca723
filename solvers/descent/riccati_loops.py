"""Compiled leaf loops: the sweep of `riccati.py` in control space, for many small layers.

The reference is `riccati.in_python`; a test holds the two together.  Rows of length n are
innermost; products of many multiplications go to BLAS.
"""

from typing import NamedTuple

import numpy as np

from continuum.arrays import Array
from continuum.compiled import borrowed, compiled, inlined

from ..adjoint.direction_loops import pairing

MOST_LOOPED = 100_000  # multiplications above which a product of dense matrices is left to BLAS
KEEP, LIFT, END = range(3)
BANDED = 3  # largest block of A whose diagonals are used


class Work(NamedTuple):
    """Room for one sweep, written before it is read; B' and B' V are overwritten once used.

    value : (n, n), V
    moved, turned : (n, n), A' V, and room for products
    flipped, through : (m, n), B' and B' V
    g, y : (m, n + 1 + p), the right-hand sides and their solutions, and L^-1 of them
    low, h : (m, m), L and H
    roots : (m,)
    bands : (2 N - 1, n), the diagonals of A
    rows, fresh : (1 + p, n)
    """

    value: Array
    moved: Array
    turned: Array
    flipped: Array
    through: Array
    g: Array
    y: Array
    low: Array
    h: Array
    roots: Array
    bands: Array
    rows: Array
    fresh: Array

    @staticmethod
    def of(units: int, n: int, m: int, p: int) -> "Work":
        """For n = N M states of N units, m controls and p static coefficients."""
        wide = n + 1 + p
        return Work(
            np.empty((n, n)),
            np.empty((n, n)),
            np.empty((n, n)),
            np.empty((m, n)),
            np.empty((m, n)),
            np.empty((m, wide)),
            np.empty((m, wide)),
            np.empty((m, m)),
            np.empty((m, m)),
            np.empty(m),
            np.empty((2 * units - 1, n)),
            np.empty((1 + p, n)),
            np.empty((1 + p, n)),
        )


@inlined
def _add(factor, source, target):
    for j in range(target.size):
        target[j] += factor * source[j]


@inlined
def _add_rows(sign, factors, count, rows, start, target):
    """target <- target + sign sum_{j < count} factors_j rows_j[start:], up to eight at a time."""
    at = 0
    while count - at >= 8:
        a, b, c, d = factors[at], factors[at + 1], factors[at + 2], factors[at + 3]
        e, f, g, h = factors[at + 4], factors[at + 5], factors[at + 6], factors[at + 7]
        r, s, t, u = (
            rows[at, start:],
            rows[at + 1, start:],
            rows[at + 2, start:],
            rows[at + 3, start:],
        )
        v, w = rows[at + 4, start:], rows[at + 5, start:]
        x, y = rows[at + 6, start:], rows[at + 7, start:]
        for i in range(target.size):
            one = (a * r[i] + b * s[i]) + (c * t[i] + d * u[i])
            two = (e * v[i] + f * w[i]) + (g * x[i] + h * y[i])
            target[i] += sign * (one + two)
        at += 8
    if count - at >= 4:
        a, b, c, d = factors[at], factors[at + 1], factors[at + 2], factors[at + 3]
        r, s, t, u = (
            rows[at, start:],
            rows[at + 1, start:],
            rows[at + 2, start:],
            rows[at + 3, start:],
        )
        for i in range(target.size):
            target[i] += sign * ((a * r[i] + b * s[i]) + (c * t[i] + d * u[i]))
        at += 4
    if count - at >= 2:
        a, b = factors[at], factors[at + 1]
        r, s = rows[at, start:], rows[at + 1, start:]
        for i in range(target.size):
            target[i] += sign * (a * r[i] + b * s[i])
        at += 2
    if count > at:
        _add(sign * factors[at], rows[at, start:], target)


@compiled
def _dense(left, right, out):
    np.dot(left, right, out)


@inlined
def _bands(blocks, bands):
    """The diagonals of A, block diagonal: bands[N - 1 + d, j] = A[j + d, j], |d| < N."""
    size = blocks.shape[1]
    if size > BANDED:
        return
    bands[:] = 0.0
    for s in range(blocks.shape[0]):
        for c in range(size):
            for d in range(size):
                bands[size - 1 + d - c, s * size + c] = blocks[s, d, c]


@inlined
def _times(row, blocks, bands, start, out):
    """out[start:] <- (row A)[start:], by the diagonals of A where its blocks are small."""
    n, size = row.size, blocks.shape[1]
    if size > BANDED:
        for s in range(blocks.shape[0]):
            part = out[s * size : (s + 1) * size]
            part[:] = 0.0
            for d in range(size):
                _add(row[s * size + d], blocks[s, d], part)
        return
    middle, x, target = bands[size - 1, start:], row[start:], out[start:]
    if size == 1:
        for j in range(target.size):
            target[j] = x[j] * middle[j]
        return
    # with zeros of the diagonals where a block ends, one pass for three diagonals but for its ends
    first = 1 if start == 0 else 0
    before, inside = row[start + first - 1 :], row[start + first :]
    after, target = row[start + first + 1 :], out[start + first : n - 1]
    low, middle = bands[size, start + first :], bands[size - 1, start + first :]
    high = bands[size - 2, start + first :]
    for j in range(target.size):
        target[j] = inside[j] * middle[j] + (after[j] * low[j] + before[j] * high[j])
    for j in (0, n - 1):
        if j >= start:
            total = row[j] * bands[size - 1, j]
            if j > 0:
                total += row[j - 1] * bands[size - 2, j]
            if j + 1 < n:
                total += row[j + 1] * bands[size, j]
            out[j] = total
    for d in range(2, size):
        low, high = bands[size - 1 + d, start : n - d], bands[size - 1 - d, max(start, d) :]
        x, target = row[start + d :], out[start : n - d]
        for j in range(target.size):
            target[j] += x[j] * low[j]
        x, target = row[max(start - d, 0) : n - d], out[max(start, d) :]
        for j in range(target.size):
            target[j] += x[j] * high[j]


@compiled
def _pull_large(blocks, source, out):
    size = blocks.shape[1]
    for s in range(blocks.shape[0]):
        part = slice(s * size, (s + 1) * size)
        np.dot(blocks[s].T, source[part], out[part])


@inlined
def _pull(blocks, source, out):
    """out <- A^T X for A block diagonal, X (n, n)."""
    size = blocks.shape[1]
    if source.size * size > MOST_LOOPED:
        _pull_large(blocks, source, out)
        return
    if size == 2:
        for s in range(blocks.shape[0]):
            a, b, c, d = blocks[s, 0, 0], blocks[s, 1, 0], blocks[s, 0, 1], blocks[s, 1, 1]
            x, y, one, two = source[2 * s], source[2 * s + 1], out[2 * s], out[2 * s + 1]
            for j in range(one.size):
                one[j] = a * x[j] + b * y[j]
                two[j] = c * x[j] + d * y[j]
        return
    for s in range(blocks.shape[0]):
        for c in range(size):
            row, x = out[s * size + c], source[s * size]
            factor = blocks[s, 0, c]
            for j in range(row.size):
                row[j] = factor * x[j]
            for d in range(1, size):
                _add(blocks[s, d, c], source[s * size + d], row)


@inlined
def _cholesky(h, low):
    """low <- L with h = L L^T, its diagonal inverted; False where a pivot is not above rounding."""
    m = h.shape[0]
    for i in range(m):
        row = low[i]
        for j in range(i):
            other, total = low[j], h[i, j]
            for e in range(j):
                total -= row[e] * other[e]
            row[j] = total * other[j]
        total = h[i, i]
        for e in range(i):
            total -= row[e] * row[e]
        if not total > 1e-14 * abs(h[i, i]):
            return False
        row[i] = 1.0 / np.sqrt(total)
    return True


@inlined
def _halves(low, g, y, factors):
    """y <- L^-1 g, g <- L'^-1 y, the diagonal of L given inverted; factors (m,) is room."""
    m = g.shape[0]
    for c in range(m):
        row, source, factor = y[c], g[c], low[c, c]
        row[:] = source
        _add_rows(-1.0, low[c], c, y, 0, row)
        for j in range(row.size):
            row[j] *= factor
    for c in range(m - 1, -1, -1):
        row, source, factor = g[c], y[c], low[c, c]
        row[:] = source
        for e in range(c + 1, m):
            factors[e] = low[e, c]
        _add_rows(-1.0, factors[c + 1 :], m - c - 1, g[c + 1 :], 0, row)
        for j in range(row.size):
            row[j] *= factor


@compiled
def _by_eigenvalues(h, scale, floor, lift, g, y, roots, worst):
    """With scale h scale = W diag(1 / roots) W^T: y <- W^T scale g, g <- h^-1 g, worst <- scale w,
    w the first column of W; returns the eigenvalues.

    Those nearer to 0 than the share `floor` of the largest are moved there, negative ones lifted.
    """
    m = h.shape[0]
    found, vectors = np.linalg.eigh(scale.reshape(m, 1) * h * scale)
    smallest = max(floor * max(abs(found[0]), abs(found[m - 1])), 1e-300)
    for c in range(m):
        pivot = max(abs(found[c]), smallest)
        roots[c] = 1.0 / (pivot if lift or found[c] > 0.0 else -pivot)
        worst[c] = scale[c] * vectors[c, 0]
        y[c] = 0.0
        for e in range(m):
            _add(scale[e] * vectors[e, c], g[e], y[c])
    g[:] = 0.0
    for c in range(m):
        for e in range(m):
            _add(scale[e] * vectors[e, c] * roots[c], y[c], g[e])
    return found


@inlined
def _subtract(y, roots, left, right, room, value):
    """value[i, i:] <- value[i, i:] - (Y^T diag(roots) Y)[i, i:] for the first n columns of Y."""
    m, n = left.shape
    if m * n * n > MOST_LOOPED:
        for c in range(m):
            for j in range(n):
                right[c, j] = y[c, j]
                left[c, j] = -roots[c] * y[c, j]
        _dense(left.T, right, room)
        for i in range(n):
            _add(1.0, room[i], value[i])
        return
    for i in range(n):
        for c in range(m):
            room[0, c] = roots[c] * y[c, i]
        _add_rows(-1.0, room[0], m, y, i, value[i, i:])


@inlined
def _drift(drift, value, slopes, fresh, rows, bend):
    """The static coefficients' part b ds of the dynamics: bend <- bend + b' (p, Pi) + (Pi' b +
    b' V b) behind its first column, Pi <- Pi + V b.
    """
    n, p = drift.shape
    for e in range(p):
        for j in range(n):
            fresh[e, j] = drift[j, e]
        rows[e] = 0.0
        _add_rows(1.0, fresh[e], n, value, 0, rows[e])
    for e in range(p):
        bend[e, 0] += pairing(fresh[e], slopes[0])
        for f in range(p):
            bend[e, 1 + f] += pairing(fresh[e], slopes[1 + f]) + pairing(fresh[f], slopes[1 + e])
            bend[e, 1 + f] += pairing(fresh[e], rows[f])
    for e in range(p):
        for j in range(n):
            slopes[1 + e, j] += rows[e, j]


@inlined
def _push(moved, blocks, bands, turned, value):
    """value[i, i:] <- (moved A)[i, i:]."""
    n = value.shape[0]
    if blocks.shape[1] <= BANDED:
        for i in range(n):
            _times(moved[i], blocks, bands, i, value[i])
        return
    for i in range(n):
        row = moved[i]
        for j in range(n):
            turned[j, i] = row[j]
    _pull(blocks, turned, value)


@inlined
def _symmetric(curvature, value):
    """Adds Q, block diagonal, and copies what is above the diagonal below."""
    size, n = curvature.shape[1], value.shape[0]
    for block in range(curvature.shape[0]):
        for i in range(size):
            for j in range(size):
                value[block * size + i, block * size + j] += curvature[block, i, j]
    for i in range(n):
        row = value[i]
        for j in range(i + 1, n):
            value[j, i] = row[j]


@compiled
def backward(stages, borders, metric, shift, mode, floor, solution, work):
    """The sweep from the last layer to the first; see `riccati.sweep`.

    stages : A, B, Q, S, R, q, r as in `riccati`, states flat: B, S (K, n, m); q (K + 1, n)
    borders : B (K, n, p), S (K + 1, n, p), R (K, m, p)
    mode : KEEP negative pivots, LIFT them, or END at the first layer that has one
    solution : law (K, m, n + 1 + p) of dz, 1 and ds, least (K,), negatives (K,), worst (K, m),
        slopes (1 + p, n), bend (p, 1 + p): filled as far as the sweep gets, worst where H_k is not
        positive definite, the last two for the cost to go at the start
    work : of the same sizes
    Returns (half the sum of h^T H^-1 h, the layer at which it ended or -1).
    """
    a, b, q, s, r, pulls, pushes = borrowed(stages)
    drifts, mixed, crossed = borrowed(borders)
    law, least, negatives, worst, slopes, bend = borrowed(solution)
    value, moved, turned, flipped, through, g, y, low, h, roots, bands, rows, fresh = borrowed(work)
    metric = borrowed(metric)
    count, n, m = b.shape
    size, p = a.shape[2], drifts.shape[2]
    value[:] = 0.0
    for block in range(a.shape[1]):
        for i in range(size):
            for j in range(size):
                value[block * size + i, block * size + j] = q[count, block, i, j]
    slopes[0] = pulls[count]
    for e in range(p):
        for j in range(n):
            slopes[1 + e, j] = mixed[count, j, e]
    bend[:] = 0.0
    decrease = 0.0
    for k in range(count - 1, -1, -1):
        for j in range(n):
            for c in range(m):
                flipped[c, j] = b[k, j, c]
        _bands(a[k], bands)
        if m * n * n > MOST_LOOPED:
            _dense(flipped, value, through)
        else:
            through[:] = 0.0
            for c in range(m):
                _add_rows(1.0, flipped[c], n, value, 0, through[c])
        _drift(drifts[k], value, slopes, fresh, rows, bend)
        for c in range(m):
            for e in range(c + 1):
                h[c, e] = h[e, c] = r[k, c, e] + pairing(through[c], flipped[e])
            h[c, c] += shift * metric[k, c]
            row = g[c]
            _times(through[c], a[k], bands, 0, row[:n])
            for j in range(n):
                row[j] += s[k, j, c]
            row[n] = pushes[k, c] + pairing(flipped[c], slopes[0])
            for e in range(p):
                row[n + 1 + e] = crossed[k, c, e] + pairing(flipped[c], slopes[1 + e])
        least[k], negatives[k] = np.inf, 0
        if _cholesky(h, low):
            _halves(low, g, y, roots)
            roots[:] = 1.0
        else:
            scale = 1.0 / np.sqrt(metric[k])
            found = _by_eigenvalues(h, scale, floor, mode == LIFT, g, y, roots, worst[k])
            least[k] = found[0]
            for c in range(m):
                negatives[k] += found[c] < 0.0
            if mode == END:
                return decrease, k
        for c in range(m):
            source, target = g[c], law[k, c]
            for j in range(source.size):
                target[j] = -source[j]
            decrease += 0.5 * roots[c] * y[c, n] * y[c, n]
            for e in range(p):
                for f in range(1 + p):
                    bend[e, f] -= roots[c] * y[c, n + 1 + e] * y[c, n + f]
        for e in range(1 + p):
            row = rows[0]
            row[:] = slopes[e]
            _times(row, a[k], bands, 0, slopes[e])
            for c in range(m):
                _add(-roots[c] * y[c, n + e], y[c, :n], slopes[e])
        for j in range(n):
            slopes[0, j] += pulls[k, j]
            for e in range(p):
                slopes[1 + e, j] += mixed[k, j, e]
        if k == 0:
            break
        _pull(a[k], value, moved)
        _push(moved, a[k], bands, turned, value)
        _subtract(y, roots, flipped, through, turned, value)
        _symmetric(q[k], value)
    return decrease, -1
