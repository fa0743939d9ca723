"""What a format of the kernel b answers."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from ..arrays import Array
from ..quadrature import Grid

KernelFunction = Callable[..., Array]


class KernelFormat(ABC):
    """How the kernel of (Bf)(y) = int_Y b(y, z) f(z) dz is stored and applied.

    Structure only: the numbers b are a block of the control.  The weights w multiply f, never b, so
    every operation below is one between functions, and adjoints are those of L^2(Y):

        (Bf)_i = sum_j w_j b_ij f_j,   (B*r)_j = sum_i w_i b_ij r_i,
        (r, (D_b B)[c] f) = (c, outer(r, f)).

    b has the format's own shape; f, r are (N, M); w is (N,).  Summed over samples where no sample
    is left. `positions` is how many positions a function for b takes: 2 for b(y, z), 1 for factors
    of it. `stored` says whether b is an array of numbers, and so can be trained; `linear` whether B
    is linear in them.
    """

    positions: ClassVar[int] = 2
    stored: ClassVar[bool] = True
    linear: ClassVar[bool] = True

    def bind(self, grid: Grid) -> "KernelFormat":
        """This format for one grid, whose `apply` may need to know more of it than w.  Networks
        call it.
        """
        return self

    def prepare(
        self, grid: Grid, function: KernelFunction, timed: bool
    ) -> Callable[[float], Array]:
        """The value of b at t from a function that takes t (timed) or not; asked of formats that
        are not `stored`.
        """
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
    def apply(self, b: Array, f: Array, w: Array) -> Array:
        """Bf: (N, M)."""

    @abstractmethod
    def adjoint(self, b: Array, r: Array, w: Array) -> Array:
        """B*r: (N, M)."""

    @abstractmethod
    def outer(self, b: Array, r: Array, f: Array, w: Array) -> Array:
        """The cotangent of b in its own shape: the Riesz representer of c -> (r, (D_b B)[c] f)."""

    def apply_derivative(self, b: Array, db: Array, f: Array, w: Array) -> Array:
        """(D_b B)[db] f: (N, M); as it stands for formats that are linear in b."""
        return self.apply(db, f, w)

    def adjoint_derivative(self, b: Array, db: Array, r: Array, w: Array) -> Array:
        """(D_b B*)[db] r: (N, M); as it stands for formats that are linear in b."""
        return self.adjoint(db, r, w)

    def outer_derivative(self, b: Array, db: Array, r: Array, f: Array, w: Array) -> Array | None:
        """D_b outer(b, r, f)[db], or None where the format is linear in b and this is zero."""
        return None

    @abstractmethod
    def matrix(self, b: Array) -> Array:
        """The values b(y_i, z_j): (N, N)."""
