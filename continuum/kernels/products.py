"""B as an operator for linear algebra: W^1/2 b W^1/2, as a matrix or by products."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import scipy

from ..arrays import Array, is_array, to_host
from ..quadrature import Grid

_DENSE_UNITS = 512  # up to here LAPACK finds all faster than an iteration finds a few


class Operator(Protocol):
    """The part of a kernel that is needed here, bound to its grid."""

    def apply(self, b: Array, f: Array, w: Array) -> Array: ...

    def adjoint(self, b: Array, r: Array, w: Array) -> Array: ...

    def matrix(self, b: Array) -> Array: ...


def is_small(grid: Grid, count: int) -> bool:
    """Whether LAPACK finds `count` singular values faster than ARPACK."""
    return len(grid) <= _DENSE_UNITS or count > len(grid) // 4


def start(grid: Grid) -> Array:
    """Where ARPACK starts: always the same, and orthogonal to nothing in particular."""
    return np.random.default_rng(0).standard_normal(len(grid))


def weighted_matrix(kernel: Operator, b: Array, grid: Grid) -> Array:
    """W^1/2 b W^1/2: (N, N), NumPy."""
    root = np.sqrt(grid.weights)
    return root[:, None] * to_host(kernel.matrix(b)) * root


def weighted_operator(
    kernel: Operator, b: Array, grid: Grid
) -> "scipy.sparse.linalg.LinearOperator":
    """x -> W^1/2 b W^1/2 x by products with B, on NumPy arrays."""
    root, ones = np.sqrt(grid.weights), np.ones(len(grid))
    held = to_host(b) if is_array(b) else b

    def by(product: Callable[[Array, Array, Array], Array]) -> Callable[[Array], Array]:
        def real(x: Array) -> Array:
            return (
                root[:, None] * product(held, root[:, None] * x.reshape(len(grid), -1), ones)
            ).reshape(x.shape)

        def multiply(x: Array) -> Array:
            return real(np.real(x)) + 1j * real(np.imag(x)) if np.iscomplexobj(x) else real(x)

        return multiply

    forth, back = by(kernel.apply), by(kernel.adjoint)
    size = (len(grid), len(grid))
    return scipy.sparse.linalg.LinearOperator(size, forth, back, forth, root.dtype, back)  # type: ignore[call-arg]


def largest_singular_values(kernel: Operator, b: Array, grid: Grid, count: int) -> Array:
    """The `count` largest singular values in descending order, by ARPACK."""
    operator = weighted_operator(kernel, b, grid)
    found = np.asarray(
        scipy.sparse.linalg.svds(operator, count, v0=start(grid), return_singular_vectors=False)
    )
    return np.sort(found)[::-1]
