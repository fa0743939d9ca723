"""Cholesky factors of symmetric matrices that fall apart into small blocks, in any order.

The second derivative of a layer in its coefficients does: it is diagonal where the layer is linear
in them, and where a row of a matrix acts on its own, sigma(a_i + b_i. f), a block for each row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from continuum.arrays import Array

_INVERTED = 64  # largest block whose factor is inverted, so that many are applied at once


def groups(matrices: Array) -> list[Array]:
    """The finest blocks into which all these matrices (K, m, m) fall apart: for each size g an
    array (count, g) of the indices of the blocks of that size.
    """
    pattern = np.zeros(matrices.shape[1:], dtype=bool)
    for matrix in matrices:
        pattern |= matrix != 0.0
    labels = scipy.sparse.csgraph.connected_components(
        scipy.sparse.csr_array(pattern), directed=False
    )[1]
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    blocks = np.split(order, np.cumsum(sizes)[:-1])
    return [np.stack([b for b in blocks if len(b) == g]) for g in np.unique(sizes)]


@dataclass(frozen=True, eq=False)
class Root:
    """L with L L' a positive definite matrix, block by block.

    parts : (indices (count, g), factors): the blocks' L^-1 (count, g, g), or their L where they are
        large
    """

    parts: Sequence[tuple[Array, Array]]

    @staticmethod
    def of(matrix: Array, indices: Sequence[Array]) -> "Root | None":
        """None if the matrix, which has no entries outside its blocks, is not positive definite."""
        parts = []
        for block in indices:
            own = matrix[block[:, :, None], block[:, None, :]]
            try:
                low = np.linalg.cholesky(own)
            except np.linalg.LinAlgError:
                return None
            parts.append((block, np.linalg.inv(low) if block.shape[1] <= _INVERTED else low))
        return Root(parts)

    def solve(self, x: Array, transposed: bool = False) -> Array:
        """L^-1 x, or L'^-1 x, for x (m, columns)."""
        found = np.empty_like(x)
        for block, factors in self.parts:
            if block.shape[1] <= _INVERTED:
                inverse = np.swapaxes(factors, -1, -2) if transposed else factors
                found[block] = inverse @ x[block]
                continue
            for index, low in zip(block, factors, strict=True):
                found[index] = scipy.linalg.solve_triangular(
                    low, x[index], lower=True, trans=int(transposed)
                )
        return found
