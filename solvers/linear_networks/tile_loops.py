"""Products of square matrices small enough that a call of BLAS costs as much as the product.

multiply: C = A B;  multiply_transposed: C = (A B)^T, for contiguous (m, m), m a multiple of ROWS, C
none of the other two.  Up to SMALL rows, C is made of tiles of ROWS rows and 4, 8, 12 or 20
columns, each of which stays in registers while k runs through

    C_ij <- C_ij + A_ik B_kj,

so every entry is the sum over k in order, by fused multiply-adds where the processor has them;
larger products go to BLAS.  Measured (Zen 4, one thread): 0.30 us for 20 x 20, where BLAS needs
0.47 us and 0.275 us is the processor's limit; 0.02 and 0.06 us for 4 x 4; the same from 32 rows on.

Tiles are written in LLVM's intermediate language: of the loops in Python that say the same, its
vectoriser leaves the sums in memory.
"""

from itertools import chain
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from continuum.compiled import compiled, inlined

ROWS = 4
"""Also the numbers in a vector."""
SMALL = 48
MANY_REGISTERS = bool(binding.get_host_cpu_features().get("avx512vl"))
"""32 registers for vectors hold tiles of 20 columns, 16 those of 12."""
_VECTOR = ir.VectorType(ir.DoubleType(), ROWS)
_FUSED = ("contract",)


def _tile(vectors: int, transposed: bool) -> Any:
    """The function (a, b, c, i, j) that fills rows i, ..., i + 3 and 4 `vectors` columns from j of
    the product, in c, or in the transpose of c.
    """

    def generate(context, builder, signature, arguments):
        kinds, (i, j) = signature.args[:3], arguments[3:]
        a, b, c = (
            make_array(kind)(context, builder, value=x)
            for kind, x in zip(kinds, arguments[:3], strict=True)
        )
        size = builder.extract_value(a.shape, 0)

        def moved(index, by):
            return builder.add(index, ir.Constant(index.type, by))

        def at(array, row, column):
            return builder.gep(array.data, [builder.add(builder.mul(row, size), column)])

        def vector_at(array, row, column):
            return builder.bitcast(at(array, row, column), _VECTOR.as_pointer())

        sums = [
            [cgutils.alloca_once(builder, _VECTOR) for _ in range(vectors)] for _ in range(ROWS)
        ]
        for one in chain.from_iterable(sums):
            builder.store(ir.Constant(_VECTOR, [0.0] * ROWS), one)
        zero, four = (ir.Constant(size.type, number) for number in (0, ROWS))
        with cgutils.for_range_slice(builder, zero, size, four) as (first, _):
            for k in (moved(first, by) for by in range(ROWS)):
                rights = [
                    builder.load(vector_at(b, k, moved(j, ROWS * v)), align=8)
                    for v in range(vectors)
                ]
                for r in range(ROWS):
                    left = _repeated(builder, builder.load(at(a, moved(i, r), k)))
                    for right, one in zip(rights, sums[r], strict=True):
                        product = builder.fmul(left, right, flags=_FUSED)
                        builder.store(builder.fadd(product, builder.load(one), flags=_FUSED), one)
        for v in range(vectors):
            block = [builder.load(sums[r][v]) for r in range(ROWS)]
            row, column = i, moved(j, ROWS * v)
            if transposed:
                block, row, column = _transposed(builder, block), column, row
            for r, found in enumerate(block):
                builder.store(found, vector_at(c, moved(row, r), column), align=8)
        return context.get_dummy_value()

    @intrinsic
    def fill(context, a, b, c, i, j):
        return types.void(a, b, c, i, j), generate

    return fill


def _repeated(builder, number):
    """(x, x, x, x)"""
    none = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(none, number, ir.Constant(ir.IntType(32), 0))
    return _shuffled(builder, first, none, [0] * ROWS)


def _shuffled(builder, x, y, places):
    """The entries of (x, y) at these four of eight places."""
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), ROWS), places))


def _transposed(builder, block):
    """The columns of four rows."""
    pairs = [
        _shuffled(builder, block[r], block[r + 1], [s, s + 4, s + 2, s + 6])
        for s in (0, 1)
        for r in (0, 2)
    ]  # (x00 x10 x02 x12), (x20 x30 x22 x32), (x01 x11 x03 x13), (x21 x31 x23 x33)
    low, high = [0, 1, 4, 5], [2, 3, 6, 7]
    return [
        _shuffled(builder, pairs[2 * s], pairs[2 * s + 1], half)
        for half in (low, high)
        for s in (0, 1)
    ]


_tile20, _tile12, _tile8, _tile4 = (_tile(v, False) for v in (5, 3, 2, 1))
_turned20, _turned12, _turned8, _turned4 = (_tile(v, True) for v in (5, 3, 2, 1))


@inlined
def multiply(a, b, c):
    """c <- a b."""
    if a.shape[0] > SMALL:
        np.dot(a, b, c)
    else:
        _small(a, b, c, False)


@inlined
def multiply_transposed(a, b, c):
    """c <- (a b)^T."""
    if a.shape[0] > SMALL:
        np.dot(b.T, a.T, c)
    else:
        _small(a, b, c, True)


@compiled
def _small(a, b, c, turned):
    size, j = a.shape[0], 0
    while MANY_REGISTERS and j + 20 <= size:
        for i in range(0, size, ROWS):
            if turned:
                _turned20(a, b, c, i, j)
            else:
                _tile20(a, b, c, i, j)
        j += 20
    while j + 12 <= size:
        for i in range(0, size, ROWS):
            if turned:
                _turned12(a, b, c, i, j)
            else:
                _tile12(a, b, c, i, j)
        j += 12
    for i in range(0, size, ROWS):
        if j + 8 <= size and turned:
            _turned8(a, b, c, i, j)
        elif j + 8 <= size:
            _tile8(a, b, c, i, j)
        elif j < size and turned:
            _turned4(a, b, c, i, j)
        elif j < size:
            _tile4(a, b, c, i, j)
