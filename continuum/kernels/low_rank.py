"""The kernel as a short sum of products."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array, namespace, to_host
from ..checks import check_count, store
from ..doors import checked
from ..quadrature import Grid
from .format import KernelFormat, KernelFunction, weighted


@checked
@dataclass(frozen=True)
class LowRank(KernelFormat):
    """b(y, z) = sum_{l < rank} phi_l(y) psi_l(z), stored as (2, N, rank): phi first, then psi.

    Memory and products are O(N rank).  b is not unique (phi_l may be scaled against psi_l), and B
    is bilinear in the stored numbers, so this format has second derivatives of its own.
    From functions: kernel=((phi_1, ...), (psi_1, ...)).  Raises ValueError if rank < 1.
    """

    positions: ClassVar[int] = 1
    linear: ClassVar[bool] = False
    rank: int

    def __post_init__(self) -> None:
        store(self, check_count, "rank")

    def shape(self, grid: Grid) -> tuple[int, ...]:
        return (2, len(grid), self.rank)

    def weights(self, grid: Grid) -> Array:
        return grid.weights[:, None]

    def evaluate(
        self, grid: Grid, function: Sequence[Sequence[KernelFunction]], *time: float
    ) -> Array:
        if len(function) != 2 or any(len(side) != self.rank for side in function):
            raise ValueError(
                f"kernel must be two tuples of {self.rank} functions, ((phi_1, ...), (psi_1, ...))"
            )
        sides = [[grid.evaluate(g, *time, name="kernel") for g in side] for side in function]
        return np.ascontiguousarray(np.moveaxis(np.asarray(sides), 1, 2))

    def apply(self, b: Array, f: Array, w: Array | None) -> Array:
        return b[0, ...] @ (b[1, ...].T @ weighted(w, f))

    def adjoint(self, b: Array, r: Array, w: Array | None) -> Array:
        return b[1, ...] @ (b[0, ...].T @ weighted(w, r))

    def outer(self, b: Array, r: Array, f: Array, w: Array | None) -> Array:
        left = r @ (b[1, ...].T @ weighted(w, f)).T
        right = f @ (b[0, ...].T @ weighted(w, r)).T
        return namespace(b).stack([left, right])

    def apply_derivative(self, b: Array, db: Array, f: Array, w: Array | None) -> Array:
        wf = weighted(w, f)
        return db[0, ...] @ (b[1, ...].T @ wf) + b[0, ...] @ (db[1, ...].T @ wf)

    def adjoint_derivative(self, b: Array, db: Array, r: Array, w: Array | None) -> Array:
        wr = weighted(w, r)
        return db[1, ...] @ (b[0, ...].T @ wr) + b[1, ...] @ (db[0, ...].T @ wr)

    def outer_derivative(self, b: Array, db: Array, r: Array, f: Array, w: Array | None) -> Array:
        return self.outer(db, r, f, w)

    def matrix(self, b: Array) -> Array:
        return b[0, ...] @ b[1, ...].T

    def norm(self, b: Array, grid: Grid) -> float:
        """In O(N rank^2): W^1/2 phi = Q R and W^1/2 psi = P S give |B| = |R S^T|."""
        root = np.sqrt(grid.weights)[:, None]
        left, right = (np.linalg.qr(root * side)[1] for side in to_host(b))
        return float(np.linalg.norm(left @ right.T, 2))

    def factors(self, b: Array) -> tuple[Array, Array]:
        return b[0, ...], b[1, ...]

    def transfer(self, b: Array, carried: Array) -> Array:
        return carried @ b
