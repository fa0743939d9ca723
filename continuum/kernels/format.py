"""What a format of the kernel b answers."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from ..arrays import Array
from ..quadrature import Grid
from .products import is_small, largest_singular_values, weighted_matrix

KernelFunction = Callable[..., Array]


class Kernel(ABC):
    """The operator (Bf)(y) = int_Y b(y, z) f(z) dz on a grid, however b is given.

    The weights w multiply f, never b, so every operation is one between functions, and adjoints are
    those of L^2(Y):

        (Bf)_i = sum_j w_j b_ij f_j,   (B*r)_j = sum_i w_i b_ij r_i.

    f, r are (N, M); w is (N,), None for the weights 1.  `positions` is how many positions a
    function for b takes: 2 for b(y, z), 1 for factors of it.  A kernel that is no `KernelFormat` is
    never stored as numbers (see OnTheFly): its b at one time is whatever `prepare` returns.
    """

    positions: ClassVar[int] = 2
    is_matrix: ClassVar[bool] = False
    """Whether b is the matrix b(y_i, z_j), and `apply` takes stacks (L, N, N) of them."""
    bounded: ClassVar[bool] = True
    """Whether B is bounded on L^2(Y), so that |B| converges as the grid is refined."""

    def bind(self, grid: Grid) -> "Kernel":
        """This kernel for one grid, of which `apply` may need more than w; networks call it."""
        return self

    @abstractmethod
    def prepare(
        self, grid: Grid, function: KernelFunction, timed: bool
    ) -> Callable[[float], Array]:
        """t -> the value of b at t, from a function that takes t (timed) or not."""

    @abstractmethod
    def apply(self, b: Array, f: Array, w: Array | None) -> Array:
        """Bf: (N, M)."""

    @abstractmethod
    def adjoint(self, b: Array, r: Array, w: Array | None) -> Array:
        """B*r: (N, M)."""

    @abstractmethod
    def matrix(self, b: Array) -> Array:
        """The values b(y_i, z_j): (N, N)."""

    def norm(self, b: Array, grid: Grid) -> float:
        """|B| = sup |Bf| / |f| in L^2(Y), the largest singular value of W^1/2 b W^1/2.

        By LAPACK on small grids, else by products with B and B* alone.
        """
        bound = self.bind(grid)
        if is_small(grid, 1):
            return float(np.linalg.norm(weighted_matrix(bound, b, grid), 2))
        return float(largest_singular_values(bound, b, grid, 1)[0])

    def formula(self, name: str) -> str:
        """What the operator of this block is, as `print(network)` writes it."""
        return f"({name} g)_i = sum_j w_j {name}_ij g_j"

    def factors(self, b: Array) -> tuple[Array, Array] | None:
        """phi, psi (N, R) with b(y_i, z_j) = sum_l phi_il psi_jl; None if b is not stored so."""
        return None


class KernelFormat(Kernel):
    """A kernel that is stored as numbers, and so can be trained.

    Structure only: the numbers b are a block of the control, of the format's own shape.  With

        (r, (D_b B)[c] f) = (c, outer(r, f)),

    summed over samples where no sample is left.  `linear` says whether B is linear in b.
    """

    linear: ClassVar[bool] = True

    def prepare(
        self, grid: Grid, function: KernelFunction, timed: bool
    ) -> Callable[[float], Array]:
        return lambda t: self.evaluate(grid, function, *((t,) if timed else ()))

    @abstractmethod
    def shape(self, grid: Grid) -> tuple[int, ...]:
        """The shape of b on this grid."""

    @abstractmethod
    def weights(self, grid: Grid) -> Array:
        """The measure of b's entries, broadcasting to its shape: (c, d) = sum(weights * c * d)."""

    @abstractmethod
    def evaluate(self, grid: Grid, function: KernelFunction, *time: float) -> Array:
        """b from functions of position (and time)."""

    @abstractmethod
    def outer(self, b: Array, r: Array, f: Array, w: Array | None) -> Array:
        """The cotangent of b in its own shape: the Riesz representer of c -> (r, (D_b B)[c] f)."""

    def apply_derivative(self, b: Array, db: Array, f: Array, w: Array | None) -> Array:
        """(D_b B)[db] f: (N, M); this default is for formats linear in b."""
        return self.apply(db, f, w)

    def adjoint_derivative(self, b: Array, db: Array, r: Array, w: Array | None) -> Array:
        """(D_b B*)[db] r: (N, M); this default is for formats linear in b."""
        return self.adjoint(db, r, w)

    def outer_derivative(
        self, b: Array, db: Array, r: Array, f: Array, w: Array | None
    ) -> Array | None:
        """D_b outer(b, r, f)[db], or None where the format is linear in b and this is zero."""
        return None

    def transfer(self, b: Array, carried: Array) -> Array | None:
        """T b T* on another grid, T (N', N) carrying functions there; None if no b of the format.

        b may have a leading axis for time.
        """
        return None


def weighted(w: Array | None, f: Array) -> Array:
    """w_i f_i; f itself where the weights are 1."""
    return f if w is None else w[:, None] * f
