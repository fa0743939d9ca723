"""Products and sums of many NumPy vectors of one length, each number read once.

A vector is cut into pieces short enough to stay in cache, and each piece is dealt with before the
next: no array as long as a vector is made, and the products themselves are BLAS's.  Such vectors
are the coefficients of controls, block after block; the product of two of them is

    (x, y) = sum over blocks of  sum_kl G_kl sum_i w_i x_ki y_li,

G the Gram matrix in time, which is diagonal or tridiagonal, and w the weights of the entries: what
is stored are the two diagonals of G and w, not one weight for each number.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .arrays import Array

PIECE = 16384
"""Numbers in a piece.  Measured (Zen 4, one thread, 6.6 million numbers): products of 20 rows with
two vectors take 73, 64 and 159 ms with pieces of 4096, 16384 and 65536.
"""


class Measure(NamedTuple):
    """The product of one block.

    start : where it begins in a vector
    diagonal, beside : (T,) and (T - 1,), the diagonals of G; no `beside` if G is diagonal
    entries : (E,) the weights w, or (1,) where all are the same
    size : E
    """

    start: int
    diagonal: Array
    beside: Array
    entries: Array
    size: int

    @staticmethod
    def of(
        start: int, gram: tuple[Array, Array], weights: Array, shape: tuple[int, ...]
    ) -> "Measure":
        """That of a block whose entries have this shape at each time; the weights are copied only
        where they must be spread out.
        """
        if weights.size != 1 and weights.shape != shape:
            weights = np.broadcast_to(weights, shape)
        return Measure(start, *gram, np.ravel(weights), math.prod(shape))

    @property
    def where(self) -> slice:
        """Where it lies in a vector."""
        return slice(self.start, self.start + len(self.diagonal) * self.size)


def pieces(start: int, stop: int) -> Iterator[slice]:
    """Slices of at most PIECE numbers, in order."""
    for begin in range(start, stop, PIECE):
        yield slice(begin, min(begin + PIECE, stop))


def products(rows: Array, vectors: Sequence[Array], measures: Sequence[Measure]) -> Array:
    """(m, c): the products (x_i, y_j) of the rows (m, size) with c vectors (size,)."""
    total = np.zeros((len(rows), len(vectors)))
    for measure in measures:
        for where, weighted in _weighted(vectors, measure):
            total += rows[:, where] @ weighted.T
    return total


def combine(coefficients: Array, rows: Array, factor: float, vector: Array, out: Array) -> Array:
    """out = sum_i coefficients_i rows_i + factor vector; `out` may be `vector` or one of the
    rows.
    """
    for where in pieces(0, len(out)):
        found = factor * vector[where]
        if len(rows):
            found += coefficients @ rows[:, where]
        out[where] = found
    return out


def _weighted(vectors: Sequence[Array], measure: Measure) -> Iterator[tuple[slice, Array]]:
    """Pieces of one block, and there G w y for every y: (c, numbers)."""
    start, diagonal, beside, entries, size = measure
    times = len(diagonal)
    blocks = [y[start : start + times * size].reshape(times, size) for y in vectors]
    together = max(1, PIECE // max(size, 1))
    for first in range(0, times, together):
        last = min(first + together, times)
        low, high = max(first, 1), min(last, times - 1)
        for part in pieces(0, size):
            found = np.empty((len(blocks), last - first, part.stop - part.start))
            for block, out in zip(blocks, found, strict=True):
                y = block[:, part]
                np.multiply(diagonal[first:last, None], y[first:last], out=out)
                if len(beside):
                    out[low - first :] += beside[low - 1 : last - 1, None] * y[low - 1 : last - 1]
                    out[: high - first] += beside[first:high, None] * y[first + 1 : high + 1]
            found *= entries[part] if len(entries) == size else entries
            where = slice(start + first * size + part.start, start + (last - 1) * size + part.stop)
            yield where, found.reshape(len(blocks), -1)
