"""Quadratic splines in space-time in Bernstein form, and how far one fails to be a subsolution.

At a time the spline W has the values V(x_j) as coefficients, and its knots lie in the middle
between nodes; in time its knots are the t_k (`time_pieces`).  On a cell, [x_j - h/2, x_j + h/2] in
every unit, and between two times it is a polynomial of degree 2 in every variable, whose Bernstein
coefficients are means of neighbouring values: along an axis, of (c_-, c_0, c_+), they are
(c_- + c_0) / 2, c_0, (c_0 + c_+) / 2.  Those of its derivative, raised to degree 2, are the
differences (c_0 - c_-) / h, their mean, (c_+ - c_0) / h.

Of W_t + l, l the running cost, and DW, with coefficients d_a and q_a, a = 1, ..., 3^(N+1), and
Bernstein polynomials beta_a >= 0 of sum 1, and where H(., q) lies above its interpolant from the
2^N corners x_b of a box, with weights gamma_b,

    W_t + l + H(x, DW) >= sum_a beta_a (d_a + H(x, q_a)) >= sum_ab beta_a gamma_b e_ab,
    e_ab = d_a + H(x_b, q_a),

the first because H is concave in q.  beta_a gamma_b is, up to a factor, a Bernstein polynomial of
degree 3 in every unit, so the least of its coefficients, means of the e_ab, bounds the left side
from below.  Boxes are halved (de Casteljau) as long as that pays.

The compiled loops are `first_bounds` and `least`, their reference is `reference_least`.
"""

from typing import NamedTuple

import numpy as np

from continuum.arrays import Array
from continuum.compiled import compiled, inlined


class Tables(NamedTuple):
    """What N and the grid determine.  Tensors of coefficients have the axes time, x_1, ..., x_N.

    stencil : (3^N,) from a cell's node to its neighbours, in the flattened grid
    points : (3^N,) from a cell's lowest corner to its corners and middles, in the flattened
        lattice of spacing h / 2;  corners : (2^N,) the same for the corners of half a cell
    steps : (N,) from one point of the lattice to the next along each unit
    inverse : (N,) 1 / h
    target, weight : (2^N, 3^(N+1)) to which coefficient of degree 3 e_ab belongs, how much of it
    vertices : (2^(N+1),) which of these are values at vertices
    """

    stencil: Array
    points: Array
    corners: Array
    steps: Array
    inverse: Array
    target: Array
    weight: Array
    vertices: Array


class Law(NamedTuple):
    """H - L on the lattice: `data` (rows, points) are

        interval : lo and hi, of each unit, or in one row each where units are alike
        entries : r of the P features, then what units add that is not trained, still (N)

    weights : (N,) w;  measure, low, high, strength : (P,), see separable.Features
    fastest : (N,) bounds of |F_i|, which decide only which axis is halved
    """

    entries: bool
    data: Array
    weights: Array
    measure: Array
    low: Array
    high: Array
    strength: Array
    fastest: Array


class Piece(NamedTuple):
    """W between two times: the values of four times, (4, nodes), and the matrices (3, 4) that make
    Bernstein coefficients of W and of W_t of them.

    ramp : what is taken from W, where it is compared with a limit, at the first of the two times;
        nothing at the second, in between linearly
    """

    levels: Array
    value: Array
    slope: Array
    ramp: float


class Search(NamedTuple):
    """limit : boxes where W - ramp > limit do not count;  depth : see `least`."""

    limit: float
    depth: int


class Cells(NamedTuple):
    """C cells: their nodes in the flattened grid, their lowest corners in the flattened lattice,
    (C,) each, and (3^N, C) Bernstein coefficients that lie below the running cost, or (0, C).
    """

    nodes: Array
    places: Array
    costs: Array


def tables(shape: tuple[int, ...], lattice: tuple[int, ...], spacings: Array) -> Tables:
    """For a grid with `shape` nodes and a lattice with so many points on each axis."""
    units = len(shape)

    def strides(sizes: tuple[int, ...]) -> Array:
        return np.array([int(np.prod(sizes[i + 1 :])) for i in range(units)], dtype=np.int64)

    three = np.indices((3,) * units).reshape(units, -1)
    two = np.indices((2,) * units).reshape(units, -1)
    a, b = np.indices((3,) * (units + 1)).reshape(units + 1, -1), two
    c = a[1:, None, :] + b[:, :, None]
    places = np.broadcast_to(a[0], c.shape[1:]).copy()
    for axis in range(units):
        places = 4 * places + c[axis]
    share = np.array([[1.0, 2.0 / 3.0, 1.0 / 3.0], [1.0 / 3.0, 2.0 / 3.0, 1.0]])
    weight = np.prod(share[b[:, :, None], a[1:, None, :]], axis=0)
    ends = np.array([0, 3])[two]
    face = np.zeros(ends.shape[1], dtype=np.int64)
    for axis in range(units):
        face = 4 * face + ends[axis]
    return Tables(
        strides(shape) @ (three - 1),
        strides(lattice) @ three,
        strides(lattice) @ two,
        strides(lattice),
        1.0 / spacings,
        places.astype(np.int64),
        weight,
        np.concatenate([face, face + 2 * 4**units]),
    )


def time_pieces(times: Array) -> tuple[Array, Array]:
    """The matrices (S, 3, 4) that make coefficients of W and of W_t between t_k and t_(k+1) of the
    values at t_(k-1), ..., t_(k+2): those of W are its value at t_k, (V_k + V_(k+1)) / 2 and its
    value at t_(k+1), where W and W_t do not jump.  Linear functions of time are what they were.

    W is V at both ends; there the values before the first and after the last time do not count.
    """
    count, tau = len(times) - 1, np.diff(times)
    both = tau[1:] + tau[:-1]
    before, after = 0.5 * tau[1:] / both, 0.5 * tau[:-1] / both
    joint = np.stack([before, before + after, after], axis=1)
    value = np.zeros((count, 3, 4))
    value[1:, 0, :3], value[:-1, 2, 1:] = joint, joint
    value[0, 0, 1], value[-1, 2, 2] = 1.0, 1.0
    value[:, 1, 1:3] = 0.5
    slope = np.zeros((count, 3, 4))
    change = np.stack([-1.0 / both, 0.0 * both, 1.0 / both], axis=1)
    slope[1:, 0, :3], slope[:-1, 2, 1:] = change, change
    slope[0, 0, 1:3] = slope[-1, 2, 1:3] = 0.0
    slope[0, 0, 1], slope[0, 0, 2] = -1.0 / tau[0], 1.0 / tau[0]
    slope[-1, 2, 1], slope[-1, 2, 2] = -1.0 / tau[-1], 1.0 / tau[-1]
    slope[:, 1] = 0.5 * (slope[:, 0] + slope[:, 2])
    return value, slope


# -- compiled loops


@inlined
def _average(row, stride):
    for block in range(0, row.size, 3 * stride):
        for i in range(block, block + stride):
            middle = row[i + stride]
            row[i] = 0.5 * (row[i] + middle)
            row[i + 2 * stride] = 0.5 * (middle + row[i + 2 * stride])


@inlined
def _differentiate(row, stride, inverse):
    for block in range(0, row.size, 3 * stride):
        for i in range(block, block + stride):
            middle = row[i + stride]
            row[i] = (middle - row[i]) * inverse
            row[i + 2 * stride] = (row[i + 2 * stride] - middle) * inverse
            row[i + stride] = 0.5 * (row[i] + row[i + 2 * stride])


@inlined
def _halve(left, right, stride):
    """left, the coefficients of a box, becomes those of its lower half; right of its upper."""
    for block in range(0, left.size, 3 * stride):
        for i in range(block, block + stride):
            j, k = i + stride, i + 2 * stride
            below, above = 0.5 * (left[i] + left[j]), 0.5 * (left[j] + left[k])
            middle = 0.5 * (below + above)
            right[i], right[j], right[k] = middle, above, left[k]
            left[j], left[k] = below, middle


@inlined
def _halve_corners(left, right, stride):
    for block in range(0, left.size, 2 * stride):
        for i in range(block, block + stride):
            middle = 0.5 * (left[i] + left[i + stride])
            right[i], right[i + stride] = middle, left[i + stride]
            left[i + stride] = middle


@inlined
def _fill(piece, tables, cells, c, block):
    """block (N + 2, 3^(N+1)): the coefficients of W_t + l, DW and W - ramp on cell c."""
    units, count = tables.inverse.size, tables.stencil.size
    node = cells.nodes[c]
    value, slope = block[units + 1], block[0]
    for s in range(count):
        at = node + tables.stencil[s]
        for r in range(3):
            mean, change = 0.0, 0.0
            for level in range(4):
                mean += piece.value[r, level] * piece.levels[level, at]
                change += piece.slope[r, level] * piece.levels[level, at]
            value[r * count + s], slope[r * count + s] = mean, change
    for i in range(units):
        block[i + 1, :] = value
    stride = count
    for axis in range(units):
        stride //= 3
        _average(value, stride)
        _average(slope, stride)
        for i in range(units):
            if i == axis:
                _differentiate(block[i + 1], stride, tables.inverse[i])
            else:
                _average(block[i + 1], stride)
    for a in range(count):
        value[a] -= piece.ramp
        value[count + a] -= 0.5 * piece.ramp
    if cells.costs.shape[0] > 0:
        for a in range(slope.size):
            slope[a] += cells.costs[a % count, c]


@inlined
def _add(law, point, block, total):
    """total[a] += sum_i h_i(q_ia) at a point of the lattice with these data (rows,)."""
    units = law.weights.size
    if not law.entries:
        rows = point.size // 2
        for i in range(units):
            low = point[i if rows > 1 else 0]
            high = point[rows + i if rows > 1 else 1]
            q = block[i + 1]
            for a in range(total.size):
                x = q[a]
                total[a] += x * (high if x < 0.0 else low)
        return
    features = law.measure.size
    for i in range(units):
        q, w, still = block[i + 1], law.weights[i], point[features + i]
        for a in range(total.size):
            p, sum_ = q[a] / w, 0.0
            for k in range(features):
                slope, strength = p * point[k], law.strength[k]
                if strength > 0.0:
                    x = min(max(-slope / (2.0 * strength), law.low[k]), law.high[k])
                else:
                    x = law.low[k] if slope > 0.0 else law.high[k]
                sum_ += law.measure[k] * (slope * x + strength * x * x)
            total[a] += q[a] * still + w * sum_


@compiled
def first_bounds(piece: Piece, tables: Tables, law: Law, cells: Cells, limit: float) -> Array:
    """(C,): a first lower bound of W_t + l + H on every cell, infinite where W - ramp > limit.

    The least of d_a + H(., q_a) over coefficients and, for intervals, over a box that contains the
    velocities of the whole cell; for entries, over the points of the lattice.
    """
    units, points = tables.inverse.size, tables.points.size
    found = np.full(cells.nodes.size, np.inf)
    block, total = np.empty((units + 2, 3 * points)), np.empty(3 * points)
    rows = law.data.shape[0]
    point = np.empty(rows)
    for c in range(found.size):
        _fill(piece, tables, cells, c, block)
        if np.min(block[units + 1]) > limit:
            continue
        if law.entries:
            for s in range(points):
                total[:] = block[0]
                for r in range(rows):
                    point[r] = law.data[r, cells.places[c] + tables.points[s]]
                _add(law, point, block, total)
                found[c] = min(found[c], np.min(total))
            continue
        total[:] = block[0]
        for r in range(rows):
            extreme = law.data[r, cells.places[c]]
            for s in range(1, points):
                x = law.data[r, cells.places[c] + tables.points[s]]
                extreme = min(extreme, x) if r < rows // 2 else max(extreme, x)
            point[r] = extreme
        _add(law, point, block, total)
        found[c] = np.min(total)
    return found


@inlined
def _pair(tables, law, block, corner, total, paired):
    """(bound, sample): the least coefficient of degree 3, and the least of those at vertices."""
    paired[:] = 0.0
    point = np.empty(corner.shape[0])
    for b in range(corner.shape[1]):
        total[:] = block[0]
        for r in range(point.size):
            point[r] = corner[r, b]
        _add(law, point, block, total)
        for a in range(total.size):
            paired[tables.target[b, a]] += tables.weight[b, a] * total[a]
    sample = np.inf
    for vertex in tables.vertices:
        sample = min(sample, paired[vertex])
    return np.min(paired), sample


@inlined
def _widest(law, block):
    """Which axis to halve: that along which W_t, and what multiplies DW, is bent most; where a
    derivative changes its sign, or h_i is curved anyway, along which it changes most.
    """
    units, size = law.weights.size, block.shape[1]
    best, found, stride = -1.0, 0, size
    for axis in range(units + 1):
        stride //= 3
        spread = 0.0
        for row in range(units + 1):
            x = block[row]
            turns = row > 0 and (law.entries or (np.min(x) < 0.0 and np.max(x) > 0.0))
            part = 0.0
            for start in range(0, size, 3 * stride):
                for i in range(start, start + stride):
                    part += abs(x[i] - 2.0 * x[i + stride] + x[i + 2 * stride])
                    if turns:
                        part += abs(x[i + 2 * stride] - x[i])
            spread += part * (1.0 if row == 0 else law.fastest[row - 1])
        if spread > best:
            best, found = spread, axis
    return found


@compiled
def least(
    piece: Piece,
    tables: Tables,
    law: Law,
    cells: Cells,
    order: Array,
    first: Array,
    search: Search,
) -> float:
    """A lower bound of W_t + l + H on the cells in `order`, where W - ramp <= limit; infinite
    where it is larger on all of them.

    A cell is cut into its 2^N halves, and those that hold the least are halved further, `depth`
    times at most.  Boxes whose bound is no less than the one found are left, and those whose bound
    is attained at a vertex are not halved.

    first : (C,) what `first_bounds` returns, increasing in `order`
    """
    limit, depth = search.limit, search.depth
    units, points = tables.inverse.size, tables.points.size
    height, size, rows = units + depth + 2, 3 * points, law.data.shape[0]
    blocks = np.empty((height, units + 2, size))
    corners = np.empty((height, rows, tables.corners.size))
    level, base = np.empty(height, dtype=np.int64), np.empty(height, dtype=np.int64)
    total, paired = np.empty(size), np.empty(3 * 4**units)
    worst = np.inf
    for c in order:
        if first[c] >= worst:
            break
        _fill(piece, tables, cells, c, blocks[0])
        level[0], base[0], top = 0, cells.places[c], 0
        while top >= 0:
            block, corner = blocks[top], corners[top]
            if np.min(block[units + 1]) > limit:
                top -= 1
                continue
            if level[top] < units:
                axis = level[top] + 1
            else:
                if level[top] == units:
                    for r in range(rows):
                        for b in range(tables.corners.size):
                            corner[r, b] = law.data[r, base[top] + tables.corners[b]]
                bound, sample = _pair(tables, law, block, corner, total, paired)
                if bound >= worst:
                    top -= 1
                    continue
                if level[top] == units + depth or sample <= bound:
                    worst = bound
                    top -= 1
                    continue
                axis = _widest(law, block)
            stride = 3 ** (units - axis)
            for row in range(units + 2):
                _halve(block[row], blocks[top + 1, row], stride)
            base[top + 1] = base[top]
            if level[top] < units:
                base[top + 1] += tables.steps[axis - 1]
            elif axis == 0:
                corners[top + 1] = corner
            else:
                for r in range(rows):
                    _halve_corners(corner[r], corners[top + 1, r], 2 ** (units - axis))
            level[top] += 1
            level[top + 1] = level[top]
            top += 1
    return worst


# -- the reference


def reference_coefficients(piece: Piece, tables: Tables, cells: Cells) -> Array:
    """(C, N + 2, 3^(N+1)): the coefficients of W_t + l, DW and W - ramp on every cell."""
    units = len(tables.inverse)
    levels = piece.levels[:, cells.nodes[:, None] + tables.stencil]
    ramp = piece.ramp * np.array([1.0, 0.5, 0.0])
    shape = (len(cells.nodes), 3, *(3,) * units)
    value = np.einsum("rl,lcs->crs", piece.value, levels).reshape(shape)
    slope = np.einsum("rl,lcs->crs", piece.slope, levels).reshape(shape)

    def along(x: Array, matrix: Array, axis: int) -> Array:
        return np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)

    mean = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])
    change = np.array([[-1.0, 1.0, 0.0], [-0.5, 0.0, 0.5], [0.0, -1.0, 1.0]])
    found = [slope, *(value for _ in range(units)), value]
    for axis in range(units):
        for row in range(units + 2):
            matrix = tables.inverse[axis] * change if row == axis + 1 else mean
            found[row] = along(found[row], matrix, axis + 2)
    found[-1] = found[-1] - ramp.reshape(3, *(1,) * units)
    if len(cells.costs):
        found[0] = found[0] + cells.costs.T.reshape(len(cells.nodes), 1, *(3,) * units)
    return np.stack(found, axis=1).reshape(len(cells.nodes), units + 2, -1)


def reference_pair(tables: Tables, law: Law, block: Array, corner: Array) -> tuple[float, float]:
    """(bound, sample) of one box, its coefficients (N + 2, 3^(N+1)) and corners (rows, 2^N)."""
    units, paired = len(law.weights), np.zeros(3 * 4 ** len(law.weights))
    for b in range(corner.shape[1]):
        e = block[0] + _reference_law(law, corner[:, b], block[1 : units + 1])
        np.add.at(paired, tables.target[b], tables.weight[b] * e)
    return float(np.min(paired)), float(np.min(paired[tables.vertices]))


def _reference_law(law: Law, point: Array, q: Array) -> Array:
    """sum_i h_i(q_i), q (N, A), at the point of the lattice with these data."""
    if not law.entries:
        low, high = np.broadcast_to(point.reshape(2, -1, 1), (2, len(q), 1))
        return np.sum(np.minimum(q * low, q * high), axis=0)
    features, w = len(law.measure), law.weights[:, None]
    r, still = point[:features], point[features:]
    slope = (q / w)[:, None, :] * r[:, None]
    strength, low, high = law.strength[:, None], law.low[:, None], law.high[:, None]
    inside = np.clip(-slope / (2.0 * np.where(strength > 0.0, strength, 1.0)), low, high)
    x = np.where(strength > 0.0, inside, np.where(slope > 0.0, low, high))
    parts = np.sum(law.measure[:, None] * (slope * x + strength * x * x), axis=1)
    return np.sum(q * still[:, None] + w * parts, axis=0)


def reference_least(piece: Piece, tables: Tables, law: Law, cells: Cells, search: Search) -> float:
    """What `least` returns for all cells, without leaving any box before it is halved `depth`
    times along every axis in turn, space first: with depth 0 the same number.
    """
    units = len(tables.inverse)
    half = np.array([[[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.25, 0.5, 0.25]],
                     [[0.25, 0.5, 0.25], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]]])  # fmt: skip
    line = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.5, 0.5], [0.0, 1.0]]])

    def part(x: Array, matrix: Array, axis: int, sizes: tuple[int, ...]) -> Array:
        x = x.reshape(len(x), *sizes)
        return np.moveaxis(np.tensordot(matrix, x, (1, axis + 1)), 0, axis + 1).reshape(len(x), -1)

    def inspect(block: Array, corner: Array | None, base: int, level: int) -> float:
        if np.min(block[-1]) > search.limit:
            return np.inf
        if level == units:
            corner = law.data[:, base + tables.corners]
        if level == units + search.depth and corner is not None:
            return reference_pair(tables, law, block, corner)[0]
        axis = level + 1 if level < units else (level - units + 1) % (units + 1)
        found = np.inf
        for side in range(2):
            below = part(block, half[side], axis, (3,) * (units + 1))
            edge, at = corner, base
            if level < units:
                at = base + side * int(tables.steps[level])
            elif corner is not None and axis > 0:
                edge = part(corner, line[side], axis - 1, (2,) * units)
            found = min(found, inspect(below, edge, at, level + 1))
        return found

    blocks = reference_coefficients(piece, tables, cells)
    return min(inspect(b, None, int(at), 0) for b, at in zip(blocks, cells.places, strict=True))
