"""The kernel as a full matrix of its values at pairs of nodes."""

from dataclasses import dataclass
from typing import ClassVar

from ..arrays import Array, namespace
from ..doors import checked
from ..quadrature import Grid
from .format import KernelFormat, weighted


@checked
@dataclass(frozen=True)
class Dense(KernelFormat):
    """b_ij = b(y_i, z_j), of shape (N, N); products are BLAS calls."""

    is_matrix: ClassVar[bool] = True

    def shape(self, grid: Grid) -> tuple[int, ...]:
        return (len(grid), len(grid))

    def weights(self, grid: Grid) -> Array:
        return grid.weights[:, None] * grid.weights

    def evaluate(self, grid: Grid, function, *time: float) -> Array:  # noqa: ANN001
        return grid.evaluate_kernel(function, *time)

    def apply(self, b: Array, f: Array, w: Array | None) -> Array:
        return b @ weighted(w, f)

    def adjoint(self, b: Array, r: Array, w: Array | None) -> Array:
        return namespace(b).matrix_transpose(b) @ weighted(w, r)

    def outer(self, b: Array, r: Array, f: Array, w: Array | None) -> Array:
        return r @ namespace(f).matrix_transpose(f)

    def matrix(self, b: Array) -> Array:
        return b

    def transfer(self, b: Array, carried: Array) -> Array:
        return carried @ b @ carried.T
