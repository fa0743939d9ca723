"""Compiled leaf loops on arrays (R, D, M), flat: derivatives of R numbers of M samples along D unit
directions, first those of the state, then those of the coefficients.

Parts of `chain_linear_quadratic.py`, whose tests hold them to its reference.
"""

from continuum.compiled import inlined, like_in, summing


@summing
def pairing(left, right):
    """sum_m left_m right_m."""
    found = 0.0
    for m in range(left.size):
        found += left[m] * right[m]
    return found


@summing
def total(x):
    """sum_m x_m."""
    found = like_in(x, 0.0)
    for m in range(x.size):
        found += x[m]
    return found


@inlined
def any_nonzero(x):
    """Whether an entry is not 0."""
    for m in range(x.size):
        if x[m] != 0.0:
            return True
    return False


@inlined
def scale(slope, du, directions, samples, out):
    """out <- slope du, the slope (R, M) the same in all directions."""
    if samples == 1:
        for y in range(slope.size):
            factor = slope[y]
            for d in range(y * directions, (y + 1) * directions):
                out[d] = factor * du[d]
        return
    for y in range(slope.size // samples):
        row = slope[y * samples : (y + 1) * samples]
        for d in range(y * directions, (y + 1) * directions):
            source, into = du[d * samples : (d + 1) * samples], out[d * samples : (d + 1) * samples]
            for m in range(samples):
                into[m] = row[m] * source[m]


@inlined
def scale_and_bend(slope, bend, du, directions, samples, dr):
    """dr <- slope dr + bend du."""
    if samples == 1:
        for y in range(slope.size):
            factor, second = slope[y], bend[y]
            for d in range(y * directions, (y + 1) * directions):
                dr[d] = factor * dr[d] + second * du[d]
        return
    for y in range(slope.size // samples):
        row, other = slope[y * samples : (y + 1) * samples], bend[y * samples : (y + 1) * samples]
        for d in range(y * directions, (y + 1) * directions):
            source, into = du[d * samples : (d + 1) * samples], dr[d * samples : (d + 1) * samples]
            for m in range(samples):
                into[m] = row[m] * into[m] + other[m] * source[m]


@inlined
def first_product(matrix, forward, weights, start, sign, dx, directions, samples, out):
    """out <- sign P (w dx), or with its transpose, for the first product of the first stage: dx is
    diagonal in the directions of the state and 0 in the others.
    """
    rows, columns = matrix.shape if forward else matrix.shape[::-1]
    out[:] = 0.0
    for z in range(columns):
        factor = sign * (weights[start + z] if start >= 0 else 1.0)
        at = z * (directions + 1) * samples
        for y in range(rows):
            entry = factor * (matrix[y, z] if forward else matrix[z, y])
            into = (y * directions + z) * samples
            for m in range(samples):
                out[into + m] = entry * dx[at + m]


@inlined
def spread_entries(shape, forward, first, weights, start, sign, x, directions, samples, out):
    """Adds sign dP (w x), or with its transpose, for the directions that are the entries of P; they
    begin with `first`.  start : where w begins in weights, or -1 for 1.
    """
    rows, columns = shape
    for y in range(rows):
        for z in range(columns):
            d = first + y * columns + z
            row, source = (y, z) if forward else (z, y)
            factor = sign * (weights[start + source] if start >= 0 else 1.0)
            into, at = (row * directions + d) * samples, source * samples
            for m in range(samples):
                out[into + m] += factor * x[at + m]


@inlined
def collect_entries(
    shape, forward, h, first, units, weights, start, r, dr, x, dx, zero, samples, G, R
):
    """Adds to G and R what the entries of P contribute: h sign w (r x) and its derivative; see
    `spread_entries`.  h : with the sign; zero : whether dr, dx are 0 along the coefficients
    """
    dead, still = zero
    rows, columns = shape
    count = G.size
    directions = units + count
    for y in range(rows):
        for z in range(columns):
            a = first + y * columns + z
            row, source = (y, z) if forward else (z, y)
            factor = h * (weights[start + source] if start >= 0 else 1.0)
            one, other = r[row * samples : (row + 1) * samples], x[source * samples :]
            other = other[:samples]
            G[a] += factor * pairing(one, other)
            if dead and still:
                continue
            at, behind = row * directions + units, source * directions + units
            if samples == 1:
                for b in range(0 if dead else count):
                    R[a, b] += factor * other[0] * dr[at + b]
                if not still:
                    for b in range(count):
                        R[a, b] += factor * one[0] * dx[behind + b]
                continue
            for b in range(count):
                value = 0.0
                if not dead:
                    value = pairing(dr[(at + b) * samples : (at + b + 1) * samples], other)
                if not still:
                    value += pairing(one, dx[(behind + b) * samples : (behind + b + 1) * samples])
                R[a, b] += factor * value


@inlined
def sort_directions(x, units, samples, directions, square, other):
    """square (M, N, N), other (M, N, c) <- the directions of the state and of the coefficients."""
    if samples == 1:
        for i in range(units):
            row = x[i * directions : (i + 1) * directions]
            for d in range(units):
                square[0, i, d] = row[d]
            for d in range(units, directions):
                other[0, i, d - units] = row[d]
        return
    for i in range(units):
        for d in range(directions):
            start = (i * directions + d) * samples
            if d < units:
                for m in range(samples):
                    square[m, i, d] = x[start + m]
            else:
                for m in range(samples):
                    other[m, i, d - units] = x[start + m]


@inlined
def add_blocks(x, out):
    """out <- out + x."""
    for m in range(x.shape[0]):
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                out[m, i, j] += x[m, i, j]


@inlined
def add_bends(bends, df, units, samples, directions, dp):
    """dp <- dp + H df, H (M, N, N)."""
    for i in range(units):
        for j in range(units):
            for d in range(directions):
                into, source = (i * directions + d) * samples, (j * directions + d) * samples
                for m in range(samples):
                    dp[into + m] += bends[m, i, j] * df[source + m]
