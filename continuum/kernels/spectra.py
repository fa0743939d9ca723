"""Spectra and norms of the integral operator B on L^2(Y): those of the matrix W^1/2 b W^1/2.

They are numbers of the operator, not of the matrix b or of b W, and converge as the grid is
refined; those of a FractionalLaplacian are the N least of the operator, and |B| the largest of
them. `kernel` is the format of b; (network.kernel, control.at(t)["kernel"], network.grid) are
three such arguments.
"""

from collections.abc import Callable

import numpy as np
import scipy

from ..arrays import Array, to_host
from ..checks import check_array, check_count, shown
from ..doors import checked
from ..quadrature import Grid
from .convolution import Convolution
from .format import Kernel, KernelFormat
from .low_rank import LowRank
from .on_the_fly import KernelLaw
from .products import (
    is_small,
    largest_singular_values,
    start,
    weighted_matrix,
    weighted_operator,
)

_ROWS = 64  # rows of a kernel that is not stored, held at a time


@checked
def operator_norm(kernel: Kernel, b: Array | KernelLaw, grid: Grid) -> float:
    """|B| = sup |Bf| / |f| in L^2(Y), the largest singular value."""
    return kernel.norm(_values(kernel, b, grid), grid)


@checked
def hilbert_schmidt_norm(kernel: Kernel, b: Array | KernelLaw, grid: Grid) -> float:
    """(int int b(y, z)^2 dy dz)^1/2 >= |B|, by quadrature.

    Nothing of size N^2 is made of formats that store less.
    raises ValueError for an operator that is not bounded, and so has none (FractionalLaplacian)
    """
    if not kernel.bounded:
        raise ValueError(f"{kernel!r} is no Hilbert-Schmidt operator: it is not bounded on L^2(Y)")
    w = grid.weights
    if isinstance(b, KernelLaw):
        chunks = (
            slice(start, min(start + _ROWS, len(grid))) for start in range(0, len(grid), _ROWS)
        )
        return (
            sum(float(w[rows] @ (b.rows(rows.start, rows.stop) ** 2 @ w)) for rows in chunks) ** 0.5
        )
    values = to_host(_values(kernel, b, grid))
    if isinstance(kernel, LowRank):
        left, right = (side.T @ (w[:, None] * side) for side in values)
        return max(float(np.sum(left * right)), 0.0) ** 0.5
    if isinstance(kernel, Convolution):  # its measure is that of the pairs of nodes
        return float(np.sum(kernel.weights(grid) * values**2)) ** 0.5
    matrix = to_host(kernel.bind(grid).matrix(values))
    return float(w @ (matrix**2 @ w)) ** 0.5


@checked
def singular_values(
    kernel: Kernel, b: Array | KernelLaw, grid: Grid, count: int | None = None
) -> Array:
    """The `count` largest singular values of B, or all N, in descending order.

    All of them, or any of a small grid, come from LAPACK and a matrix (N, N); a few of a large one
    from ARPACK and products with B and B* alone.
    raises ValueError unless 1 <= count <= N
    """
    count, b, bound = _check(grid, count), _values(kernel, b, grid), kernel.bind(grid)
    if is_small(grid, count):
        return np.asarray(scipy.linalg.svdvals(weighted_matrix(bound, b, grid)))[:count]
    return largest_singular_values(bound, b, grid, count)


@checked
def eigenvalues(
    kernel: Kernel, b: Array | KernelLaw, grid: Grid, count: int | None = None
) -> Array:
    """The `count` eigenvalues of B of largest modulus, or all N, complex, largest first.

    Computed as `singular_values` are.  raises ValueError unless 1 <= count <= N
    """
    count, b, bound = _check(grid, count), _values(kernel, b, grid), kernel.bind(grid)
    if is_small(grid, count):
        found = scipy.linalg.eigvals(weighted_matrix(bound, b, grid))
    else:
        operator = weighted_operator(bound, b, grid)
        found = scipy.sparse.linalg.eigs(operator, count, v0=start(grid), return_eigenvectors=False)
    found = np.asarray(found, dtype=np.complex128)
    return found[np.argsort(-np.abs(found), kind="stable")][:count]


@checked
def jump_kernel(
    grid: Grid,
    below: Callable[[Array, Array], Array] | float,
    above: Callable[[Array, Array], Array] | float,
    *,
    diagonal: str | float | Array | None = None,
) -> Array:
    """below(y, z) for z < y and above(y, z) for z > y, on a one-dimensional grid: (N, N).

    The diagonal decides the order of convergence in width (LM-20), and only the caller knows it.

    below, above : functions of (y, z), finite at all pairs of nodes, or numbers
    diagonal : "average" of the two (order 2 with the midpoint rule, where one of the two gives
        order 1), "below", "above", a number, or N of them, as for the corners that the trapezoid
        rule needs
    raises ValueError if it is not stated, or the grid is not one-dimensional
    """
    if diagonal is None:
        raise ValueError(
            'diagonal must be stated for a jump kernel: "average", "below", "above", '
            "a number or (N,)"
        )
    if grid.dimension != 1:
        raise ValueError(f"a jump kernel lives on one dimension, got a grid of {grid.dimension}")
    low, high = (_side(grid, name, side) for name, side in (("below", below), ("above", above)))
    sides = {"average": (low + high) / 2, "below": low, "above": high}
    if isinstance(diagonal, str):
        if diagonal not in sides:
            raise ValueError(
                f"diagonal must be one of {', '.join(sides)}, a number or {len(grid)}, got "
                f"{diagonal!r}"
            )
        middle = sides[diagonal]
    else:
        values = np.asarray(diagonal, dtype=np.float64)
        if values.shape not in ((), (len(grid),)) or not np.all(np.isfinite(values)):
            raise ValueError(
                f"diagonal must be finite, a number or of shape ({len(grid)},), got shape "
                f"{values.shape}"
            )
        middle = np.broadcast_to(values, (len(grid),))[:, None]
    y, z = grid.nodes[:, 0][:, None], grid.nodes[:, 0]
    return np.where(z < y, low, np.where(z > y, high, middle))


def _values(kernel: Kernel, b: Array | KernelLaw, grid: Grid) -> Array:
    """`b` if it is what a control holds of such a block; raises TypeError, ValueError."""
    if isinstance(b, KernelLaw):
        return b  # type: ignore[return-value]  # kernels that are not stored take it as their b
    if not isinstance(kernel, KernelFormat):
        raise TypeError(f"b must be the value of a {type(kernel).__name__} block, got {shown(b)}")
    return check_array("b", b, kernel.bind(grid).shape(grid))  # type: ignore[attr-defined]


def _side(grid: Grid, name: str, given: Callable[[Array, Array], Array] | float) -> Array:
    """One side of a jump at all pairs."""
    return (
        grid.evaluate_kernel(given, name=name)
        if callable(given)
        else np.full((len(grid), len(grid)), float(given))
    )


def _check(grid: Grid, count: int | None) -> int:
    if count is not None and check_count("count", count) > len(grid):
        raise ValueError(f"count must be at most {len(grid)}, the number of nodes, got {count}")
    return len(grid) if count is None else count
