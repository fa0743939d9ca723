"""Compiled products with dense matrices, and their cotangents: small ones are loops, large ones go
to BLAS, those with one vector are loops at any size.

A matrix (R, C) has rows without gaps.  Arrays of samples are flat, (R, M), samples last.  One
sample is one row after the other: reading a matrix from memory in one stream is faster than in
several, and than what BLAS does (1.3 to 5 times at 128 rows and more).
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from numba.np.linalg import ensure_blas, get_blas_kind

from continuum.compiled import compiled, inlined, like_in, summing

MOST_LOOPED = 20_000  # multiplications above which a product is left to BLAS
WIDE = 256  # columns from which on a transposed matrix goes to BLAS as it is
_TILE = 8


@intrinsic
def _blas(context, m, n, k, alpha, left, turned_left, right, turned_right, beta, out):
    """The product `dense`, by the function of BLAS that `np.dot` calls; but that one has no beta.

    BLAS takes rows for columns, so that it computes out* = alpha right* left* + beta out*.
    """
    ensure_blas()
    number, size = out.dtype, types.intp

    def generate(context, builder, signature, arguments):
        m, n, k, alpha, _, turned_left, _, turned_right, beta, _ = arguments
        byte, wide = ir.IntType(8), context.get_value_type(size)
        pointer = byte.as_pointer()
        inputs = [pointer, pointer, wide, pointer, wide, pointer, pointer, wide]
        shape = ir.FunctionType(ir.IntType(32), [*[byte] * 3, wide, wide, wide, *inputs])
        function = cgutils.get_or_insert_function(builder.module, shape, "numba_xxgemm")

        def data(place):
            array = make_array(signature.args[place])(context, builder, arguments[place])
            return builder.bitcast(array.data, pointer)

        def letter(turned):
            return builder.select(turned, ir.Constant(byte, ord("t")), ir.Constant(byte, ord("n")))

        def slot(value):
            return builder.bitcast(cgutils.alloca_once_value(builder, value), pointer)

        builder.call(
            function,
            [
                ir.Constant(byte, ord(get_blas_kind(number))),
                letter(turned_right),
                letter(turned_left),
                n,
                m,
                k,
                slot(alpha),
                data(6),
                builder.select(turned_right, k, n),
                data(4),
                builder.select(turned_left, m, k),
                slot(beta),
                data(9),
                n,
            ],
        )
        return context.get_dummy_value()

    given = (size, size, size, number, left, types.boolean, right, types.boolean, number, out)
    return types.void(*given), generate


@compiled
def dense(m, n, k, alpha, left, turned_left, right, turned_right, beta, out):
    """out <- alpha left right + beta out, of shapes (m, k), (k, n) and (m, n), flat; a factor that
    is turned is there as its transpose.  Without beta what is in `out` is not read.
    """
    _blas(m, n, k, alpha, left, turned_left, right, turned_right, beta, out)  # type: ignore[call-arg]


@compiled
def _dense_back(rows, columns, matrix, x, samples, room, out):
    """out <- matrix^T x, by way of out^T = x^T matrix, which is put into `room`: OpenBLAS takes 1.2
    (256 x 64) to 1.6 times as long (1024 x 64) for the product with the transpose itself.
    """
    turned, one, zero = room[: columns * samples], like_in(out, 1.0), like_in(out, 0.0)
    dense(samples, columns, rows, one, x, True, matrix, False, zero, turned)
    for first in range(0, columns, _TILE):
        for start in range(0, samples, _TILE):
            for z in range(first, min(first + _TILE, columns)):
                for m in range(start, min(start + _TILE, samples)):
                    out[z * samples + m] = turned[m * columns + z]


@summing
def _by_rows(matrix, x, out):
    """out <- matrix x, for one sample."""
    for y in range(matrix.shape[0]):
        row, total = matrix[y], like_in(matrix, 0.0)
        for z in range(row.size):
            total += row[z] * x[z]
        out[y] = total


@inlined
def multiply(matrix, transposed, x, samples, room, out):
    """out <- matrix x, or its transpose times x; room : as large as `out`, or less."""
    rows, columns = matrix.shape
    if samples == 1 and not transposed:
        _by_rows(matrix, x, out)
    elif samples == 1:
        out[:] = 0.0
        for y in range(rows):
            factor, row = x[y], matrix[y]
            for z in range(columns):
                out[z] += factor * row[z]
    elif rows * columns * samples > MOST_LOOPED:
        flat, one, zero = matrix.reshape(-1), like_in(out, 1.0), like_in(out, 0.0)
        if not transposed:
            dense(rows, samples, columns, one, flat, False, x, False, zero, out)
        elif columns >= WIDE and 2 * samples <= columns and room.size >= out.size:
            _dense_back(rows, columns, flat, x, samples, room, out)
        else:
            dense(columns, samples, rows, one, flat, True, x, False, zero, out)
    elif not transposed:
        for y in range(rows):
            target = out[y * samples : (y + 1) * samples]
            for z in range(columns):
                factor, source = matrix[y, z], x[z * samples : (z + 1) * samples]
                if z == 0:
                    for m in range(samples):
                        target[m] = factor * source[m]
                else:
                    for m in range(samples):
                        target[m] += factor * source[m]
    else:
        for z in range(columns):
            target = out[z * samples : (z + 1) * samples]
            for y in range(rows):
                factor, source = matrix[y, z], x[y * samples : (y + 1) * samples]
                if y == 0:
                    for m in range(samples):
                        target[m] = factor * source[m]
                else:
                    for m in range(samples):
                        target[m] += factor * source[m]


@summing
def _pairs(left, right, samples, factor, add, out):
    """As `accumulate`, by loops."""
    for y in range(out.shape[0]):
        for z in range(out.shape[1]):
            total = like_in(left, 0.0)
            for m in range(samples):
                total += left[y * samples + m] * right[z * samples + m]
            total *= like_in(left, factor)
            out[y, z] = total + out[y, z] if add else total


@inlined
def accumulate(left, right, samples, factor, add, out):
    """out <- factor left right^T, left (R, M) and right (C, M), added to what is there if `add`."""
    rows, columns = out.shape
    if out.size * samples <= MOST_LOOPED:
        _pairs(left, right, samples, factor, add, out)
    else:
        beta, flat = like_in(out, 1.0 if add else 0.0), out.reshape(-1)
        alpha = like_in(out, factor)
        dense(rows, columns, samples, alpha, left, False, right, True, beta, flat)


@summing
def accumulate_outer(left, right, factors, add, out):
    """out <- sum_i factors_i left_i right_i^T, left (n, R) and right (n, C), added to what is there
    if `add`; four at a time, so that the matrix is written as seldom as can be.
    """
    (rows, columns), count = out.shape, factors.size
    for i in range(0, count // 4 * 4, 4):
        first = right[i * columns : (i + 1) * columns]
        second = right[(i + 1) * columns : (i + 2) * columns]
        third = right[(i + 2) * columns : (i + 3) * columns]
        fourth = right[(i + 3) * columns : (i + 4) * columns]
        for y in range(rows):
            row = out[y]
            a, b = factors[i] * left[i * rows + y], factors[i + 1] * left[(i + 1) * rows + y]
            c = factors[i + 2] * left[(i + 2) * rows + y]
            d = factors[i + 3] * left[(i + 3) * rows + y]
            if add or i > 0:
                for z in range(row.size):
                    row[z] += (a * first[z] + b * second[z]) + (c * third[z] + d * fourth[z])
            else:
                for z in range(row.size):
                    row[z] = (a * first[z] + b * second[z]) + (c * third[z] + d * fourth[z])
    for i in range(count // 4 * 4, count):
        source = right[i * columns : (i + 1) * columns]
        for y in range(rows):
            factor, row = factors[i] * left[i * rows + y], out[y]
            if add or i > 0:
                for z in range(row.size):
                    row[z] += factor * source[z]
            else:
                for z in range(row.size):
                    row[z] = factor * source[z]
