"""Compiled leaf loops: mean-square fits by differences of two convex residual networks.

    f = c_0 . h^0_L - c_1 . h^1_L + d,    h_0 = x,   h_l = h_(l-1) + W_l [V_l h_(l-1) + b_l]_+,

J = sum_k s_k (f(x_k) - y_k)^2 / 2.  The arrays of K such pairs are

    V_l (m, n),  b_l (m,),  W_l (n, m).

All numbers of one pair are a row (D,): V (L, m, n), b (L, m), W (L, n, m) of the first network,
those of the second, c_0, c_1 (n,), d.  `Pairs` makes such rows, and has the reference in NumPy.
Samples are innermost, in G groups of B: `data` (G, n + T + 1, B) are x, y and s; pair i has the
targets y_(i mod T).  Padding has s = 0.  `room` (2 (L + 1) n + 2 n + 3, B) are the states h, the
derivatives p in two of them, and three rows more.  Only h is kept on the way forward; where [.]_+
is 0, its derivative is.
"""

from continuum.compiled import borrowed, compiled, inlined, summing


@summing
def _add(weight, row, begun, bias, out):
    """out <- (out if begun, else bias) + weight row."""
    if begun:
        for k in range(out.size):
            out[k] += weight * row[k]
    else:
        for k in range(out.size):
            out[k] = bias + weight * row[k]


@summing
def _layer(v, h, begun, bias, w, first, u, out):
    """a = [(u if begun, else bias) + v h]_+,  out <- (h if first, else out) + w a;  u <- a if
    begun.
    """
    if begun and first:
        for k in range(out.size):
            a = max(u[k] + v * h[k], 0.0)
            u[k] = a
            out[k] = h[k] + w * a
    elif begun:
        for k in range(out.size):
            a = max(u[k] + v * h[k], 0.0)
            u[k] = a
            out[k] += w * a
    elif first:
        for k in range(out.size):
            out[k] = h[k] + w * max(bias + v * h[k], 0.0)
    else:
        for k in range(out.size):
            out[k] += w * max(bias + v * h[k], 0.0)


@summing
def _spread(w, a, first, h, out):
    """out <- (h if first, else out) + w a."""
    if first:
        for k in range(out.size):
            out[k] = h[k] + w * a[k]
    else:
        for k in range(out.size):
            out[k] += w * a[k]


@summing
def _layer_back(v, h, begun, bias, w, p, first, u, q, out):
    """With a as in `_layer` and r = [a > 0] ((q if begun, else 0) + w p):
    out <- (p if first, else out) + v r;  u <- a and q <- r if begun.

    returns the sums of r, r h and p a
    """
    sum_r, sum_rh, sum_pa = 0.0, 0.0, 0.0
    if begun:
        for k in range(out.size):
            a = max(u[k] + v * h[k], 0.0)
            r = q[k] + w * p[k] if a > 0.0 else 0.0
            u[k] = a
            q[k] = r
            out[k] = (p[k] if first else out[k]) + v * r
            sum_r += r
            sum_rh += r * h[k]
            sum_pa += p[k] * a
        return sum_r, sum_rh, sum_pa
    both = v * w
    for k in range(out.size):
        kept = p[k] if bias + v * h[k] > 0.0 else 0.0
        out[k] = (p[k] if first else out[k]) + both * kept
        sum_r += kept
        sum_rh += kept * h[k]
    return w * sum_r, w * sum_rh, bias * sum_r + v * sum_rh


@summing
def _spread_back(v, h, p, first, a, r, out):
    """out <- (p if first, else out) + v r; returns the sums of r h and p a."""
    sum_rh, sum_pa = 0.0, 0.0
    for k in range(out.size):
        out[k] = (p[k] if first else out[k]) + v * r[k]
        sum_rh += r[k] * h[k]
        sum_pa += p[k] * a[k]
    return sum_rh, sum_pa


@summing
def _dot(a, b):
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@summing
def _layer_of_one(own, bias, w, many, first, h, u, out):
    """`_layer` for V = I, where u = own + bias; own is h unless many."""
    if many:
        for k in range(out.size):
            a = max(own[k] + bias, 0.0)
            u[k] = a
            out[k] = (h[k] if first else out[k]) + w * a
    else:
        for k in range(out.size):
            out[k] = own[k] + w * max(own[k] + bias, 0.0)


@summing
def _layer_of_one_back(own, bias, w, many, p, p_own, u, q, out):
    """`_layer_back` for V = I: out <- p_own + r; p_own is p unless many.

    returns the sums of r and p a
    """
    sum_r, sum_pa = 0.0, 0.0
    if many:
        for k in range(out.size):
            a = max(own[k] + bias, 0.0)
            r = q[k] + w * p[k] if a > 0.0 else 0.0
            u[k] = a
            out[k] = p_own[k] + r
            sum_r += r
            sum_pa += p[k] * a
        return sum_r, sum_pa
    for k in range(out.size):
        kept = p[k] if own[k] + bias > 0.0 else 0.0
        out[k] = p[k] + w * kept
        sum_r += kept
        sum_pa += kept * (own[k] + bias)
    return w * sum_r, sum_pa


@inlined
def _forward(z, at, sizes, room, h, u):
    """h_l from h_0, in the rows of `room` from h on; z has V, b, W from `at` on.  The last unit of
    h comes last in V h and first in W a, so that one unit alone is one loop over the samples.
    """
    layers, n, hidden, identity = sizes
    last = n - 1
    V, b, W = at, at + layers * hidden * n, at + layers * hidden * (n + 1)
    for _ in range(layers):
        then = h + n
        for j in range(hidden):
            bias, first = z[b + j], j == 0
            v, w, end, out = (
                z[V + last],
                z[W + last * hidden + j],
                room[h + last],
                room[then + last],
            )
            if identity:
                _layer_of_one(room[h + j], bias, w, n > 1, first, end, u, out)
            else:
                for i in range(last):
                    _add(z[V + i], room[h + i], i > 0, bias, u)
                _layer(v, end, n > 1, bias, w, first, u, out)
            for i in range(last):
                _spread(z[W + i * hidden + j], u, first, room[h + i], room[then + i])
            V += n
        b, W, h = b + hidden, W + n * hidden, then


@inlined
def _backward(z, g, at, sizes, room, h, p, u, q):
    """Adds the derivatives to g; `room` has h_0, ..., h_L from h on, and p_L, of those of L and L -
    1, in the rows from p + (L % 2) n on.
    """
    layers, n, hidden, identity = sizes
    last, end = n - 1, at + layers * hidden * (2 * n + 1)
    for layer in range(layers - 1, -1, -1):
        x, after, before = h + layer * n, p + (layer + 1) % 2 * n, p + layer % 2 * n
        b, W = at + layers * hidden * n + layer * hidden, end - (layers - layer) * n * hidden
        for j in range(hidden):
            V, bias, first = at + (layer * hidden + j) * n, z[b + j], j == 0
            w = z[W + last * hidden + j]
            h_last, p_last = room[x + last], room[after + last]
            for i in range(last):
                _add(z[W + i * hidden + j], room[after + i], i > 0, 0.0, q)
            if identity:
                h_i, p_i, out = room[x + j], room[after + j], room[before + j]
                less = _layer_of_one_back(h_i, bias, w, n > 1, p_last, p_i, u, q, out)
                g[b + j] += less[0]
                g[W + last * hidden + j] += less[1]
                for i in range(last):
                    g[W + i * hidden + j] += _dot(room[after + i], u)
            else:
                for i in range(last):
                    _add(z[V + i], room[x + i], i > 0, bias, u)
                v, out = z[V + last], room[before + last]
                sums = _layer_back(v, h_last, n > 1, bias, w, p_last, first, u, q, out)
                g[b + j] += sums[0]
                g[V + last] += sums[1]
                g[W + last * hidden + j] += sums[2]
                for i in range(last):
                    h_i, p_i = room[x + i], room[after + i]
                    more = _spread_back(z[V + i], h_i, p_i, first, u, q, room[before + i])
                    g[V + i] += more[0]
                    g[W + i * hidden + j] += more[1]


@summing
def _read_back(weight, e, h, out):
    """out <- weight e; returns the sum of e h."""
    total = 0.0
    for k in range(out.size):
        out[k] = weight * e[k]
        total += e[k] * h[k]
    return total


@summing
def _residual(e, y, s):
    """e <- s (e - y); returns the sum of s (e - y)^2 / 2 and that of the new e."""
    value, total = 0.0, 0.0
    for k in range(e.size):
        difference = e[k] - y[k]
        e[k] = s[k] * difference
        value += 0.5 * difference * e[k]
        total += e[k]
    return value, total


@inlined
def _pair(i, z, g, sizes, data, room, loaded):
    """The value of pair i at z (D,); its gradient goes to g, which is 0 before.  loaded : `room`
    has h_0 of the last group already
    """
    layers, n, hidden = sizes[:3]
    states, part_size = (layers + 1) * n, layers * hidden * (2 * n + 1)
    p, c, d, value = 2 * states, 2 * part_size, z.size - 1, 0.0
    u, q, e = room[p + 2 * n], room[p + 2 * n + 1], room[p + 2 * n + 2]
    y, s = n + i % (data.shape[1] - n - 1), data.shape[1] - 1
    for group in range(data.shape[0]):
        given = data[group]
        for part in range(2):
            sign, h = 1.0 - 2.0 * part, part * states
            if not loaded or data.shape[0] > 1:
                for j in range(n):
                    _add(1.0, given[j], False, 0.0, room[h + j])
            _forward(z, part * part_size, sizes, room, h, u)
            for j in range(n):
                weight = sign * z[c + part * n + j]
                _add(weight, room[h + layers * n + j], part + j > 0, z[d], e)
        found = _residual(e, given[y], given[s])
        value += found[0]
        g[d] += found[1]
        for part in (1, 0):
            sign, h = 1.0 - 2.0 * part, part * states
            for j in range(n):
                at = c + part * n + j
                end, out = room[h + layers * n + j], room[p + layers % 2 * n + j]
                g[at] += sign * _read_back(sign * z[at], e, end, out)
            _backward(z, g, part * part_size, sizes, room, h, p, u, q)
    return value


@compiled
def pair_steps(first, count, sizes, rows, rule, values, data, room):
    """Iterations first, ..., first + count - 1 of

        z = f + beta_k (f - before),   f <- min(max(z - step g(z), low), high)

    of all pairs, beta_k = (k - 1) / (k + 2), and 0 for k = 0; then the values and g at z = f.

    sizes : (L, n, m, whether V = I is held, which spares its products and its derivatives)
    rows : f, before, z, g, each (K, D), the first two are read alone if count = 0
    rule : step, low, high (3, D), the step 0 for what is held
    values : (K,)
    """
    flat, before, point, gradient = borrowed(rows)
    data, room, rule = borrowed(data), borrowed(room), borrowed(rule)
    step, low, high = rule[0], rule[1], rule[2]
    for i in range(values.size):
        now, old, z, g = flat[i], before[i], point[i], gradient[i]
        for k in range(first, first + count + 1):
            last = k == first + count
            share = 0.0 if last else max(k - 1, 0) / (k + 2.0)
            for j in range(now.size):
                z[j] = now[j] + share * (now[j] - old[j])
                g[j] = 0.0
            values[i] = _pair(i, z, g, sizes, data, room, i + k > first)
            if not last:
                for j in range(now.size):
                    old[j] = now[j]
                    now[j] = min(max(z[j] - step[j] * g[j], low[j]), high[j])
