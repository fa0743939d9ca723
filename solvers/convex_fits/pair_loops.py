"""Compiled leaf loops: mean-square fits by differences of two convex residual networks.

    f = c_0 . h^0_L - c_1 . h^1_L + d,    h_0 = x,   h_l = h_(l-1) + W_l [V_l h_(l-1) + b_l]_+,

J = sum_k s_k (f(x_k) - y_k)^2 / 2.  The arrays of K such pairs are

    V (K, 2, L, m, n),  b (K, 2, L, m),  W (K, 2, L, n, m),

views of one flat array (K, D), whose rows end with c_0, c_1, d: `Pairs`, which has the reference in
NumPy.
Samples are innermost, in G groups of B: x (G, n, B), y (T, G, B), s (G, B); pair i has the targets
y_(i mod T).  Padding has s = 0.  Only the states h are kept on the way forward; where [.]_+ is 0,
its derivative is.
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
def _fill(out, number):
    for k in range(out.size):
        out[k] = number


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


@inlined
def _forward(V, b, W, h, u):
    """h_l from h_0, both in `h` (L + 1, n, B).  The last unit of h comes last in V h and first in
    W a, so that one unit alone is one loop over the samples.
    """
    layers, n, hidden = W.shape
    last = n - 1
    for layer in range(layers):
        now, then = h[layer], h[layer + 1]
        for j in range(hidden):
            v, bias, first = V[layer, j], b[layer, j], j == 0
            for i in range(last):
                _add(v[i], now[i], i > 0, bias, u)
            _layer(v[last], now[last], n > 1, bias, W[layer, last, j], first, u, then[last])
            for i in range(last):
                _spread(W[layer, i, j], u, first, now[i], then[i])


@inlined
def _backward(V, b, W, h, p, u, q, dV, db, dW):
    """Adds the derivatives to dV, db, dW; p (2, n, B) has that in h_L at L % 2."""
    layers, n, hidden = W.shape
    last = n - 1
    for layer in range(layers - 1, -1, -1):
        x, after, before = h[layer], p[(layer + 1) % 2], p[layer % 2]
        for j in range(hidden):
            v, bias, first = V[layer, j], b[layer, j], j == 0
            for i in range(last):
                _add(v[i], x[i], i > 0, bias, u)
                _add(W[layer, i, j], after[i], i > 0, 0.0, q)
            w, own = W[layer, last, j], after[last]
            sums = _layer_back(v[last], x[last], n > 1, bias, w, own, first, u, q, before[last])
            db[layer, j] += sums[0]
            dV[layer, j, last] += sums[1]
            dW[layer, last, j] += sums[2]
            for i in range(last):
                more = _spread_back(v[i], x[i], after[i], first, u, q, before[i])
                dV[layer, j, i] += more[0]
                dW[layer, i, j] += more[1]


@summing
def _dot(a, b):
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k]
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
def _pair(i, z, g, at, slopes, x, y, s, room):
    """The value of pair i; its gradient goes to g, which is 0 before.  z, g : (D,), c and d last"""
    V, b, W = at
    dV, db, dW = slopes
    h, p, rows = room
    u, q, e = rows[0], rows[1], rows[2]
    layers, n = W.shape[2:4]
    c, value = z.size - 2 * n - 1, 0.0
    for group in range(x.shape[0]):
        _fill(e, z[z.size - 1])
        for part in range(2):
            sign = 1.0 - 2.0 * part
            for j in range(n):
                _add(1.0, x[group, j], False, 0.0, h[part, 0, j])
            _forward(V[i, part], b[i, part], W[i, part], h[part], u)
            for j in range(n):
                _add(sign * z[c + part * n + j], h[part, layers, j], True, 0.0, e)
        found = _residual(e, y[i % y.shape[0], group], s[group])
        value += found[0]
        g[z.size - 1] += found[1]
        for part in range(2):
            sign = 1.0 - 2.0 * part
            for j in range(n):
                at_j = c + part * n + j
                g[at_j] += sign * _dot(e, h[part, layers, j])
                _add(sign * z[at_j], e, False, 0.0, p[layers % 2, j])
            own = dV[i, part], db[i, part], dW[i, part]
            _backward(V[i, part], b[i, part], W[i, part], h[part], p, u, q, *own)
    return value


@compiled
def pair_steps(first, count, rows, at, slopes, rule, values, x, y, s, room):
    """Iterations first, ..., first + count - 1 of

        z = f + beta_k (f - before),   f <- min(max(z - step g(z), low), high)

    of all pairs, beta_k = k / (k + 3), and 0 for k < 0; then the values and g at z = f.

    rows : f, before, z, g, each (K, D), the first two are read alone if count = 0
    at, slopes : the views (V, b, W) of z and of g
    rule : step, low, high (3, D), the step 0 for what is held
    values : (K,)
    room : h (2, L + 1, n, B), p (2, n, B), three rows (3, B)
    """
    at, slopes, room = borrowed(at), borrowed(slopes), borrowed(room)
    x, y, s = borrowed(x), borrowed(y), borrowed(s)
    flat, before, point, gradient = borrowed(rows)
    rule = borrowed(rule)
    step, low, high = rule[0], rule[1], rule[2]
    for i in range(values.size):
        now, old, z, g = flat[i], before[i], point[i], gradient[i]
        for k in range(first, first + count + 1):
            last = k == first + count
            share = 0.0 if last else max(k, 0) / (max(k, 0) + 3.0)
            for j in range(now.size):
                z[j] = now[j] + share * (now[j] - old[j])
                g[j] = 0.0
            values[i] = _pair(i, z, g, at, slopes, x, y, s, room)
            if not last:
                for j in range(now.size):
                    old[j] = now[j]
                    now[j] = min(max(z[j] - step[j] * g[j], low[j]), high[j])
