"""The maps of chains that have no block: further inputs, a fixed matrix, a bound of the norm."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from ..arrays import Array, columns, like, namespace
from ..checks import check_array, check_positive, store
from ..doors import checked
from ..quadrature import Grid
from ..records import short
from .maps import Map, Space, describe, factor
from .network import Time, Values


@checked
@dataclass(frozen=True, eq=False)
class Inputs(Map):
    """y = (x, data, t): P numbers per sample and the time as further rows, behind the N of x in
    R^N.

    It can only be the first map of a chain.

    time : whether t is a row
    data : (P, M), constant in time, one column per sample, or one for all; None for none
    """

    block: ClassVar[None] = None  # type: ignore[assignment]
    reads_argument: ClassVar[bool] = False
    time: bool = False
    data: Array | None = None
    units: int = field(default=0, repr=False)

    __repr__ = short

    def __post_init__(self) -> None:
        if self.data is not None:
            object.__setattr__(self, "data", check_array("data", self.data, ("P", "M")))

    def bind(self, space: Space, before: tuple[Map, ...]) -> tuple[Self, Space]:
        if before:
            raise ValueError("Inputs must be the first map of a chain")
        if not isinstance(space, int):
            raise TypeError("Inputs needs a state in R^n, not on a grid")
        rows = 0 if self.data is None else self.data.shape[0]
        return replace(self, units=space), space + int(self.time) + rows

    def batch(self, indices: Sequence[int] | Array) -> "Inputs":
        """These inputs with the columns `indices` of the data."""
        if self.data is None or self.data.shape[1] == 1:
            return self
        return replace(self, data=columns(self.data, np.asarray(indices)))

    def rows(self, t: Time) -> Array | None:
        """What stands below x at t: (P, M), or (P, 1) where all samples share it; None for
        nothing.  Times (L, M) or (L, 1), for stacked states, give (L, P, M) or (L, P, 1).
        """
        if not self.time:
            return self.data
        row = np.full((1, 1), t) if isinstance(t, float | int) else t[..., None, :]
        if self.data is None:
            return row
        xp, row = namespace(self.data), like(row, self.data)
        samples = max(self.data.shape[1], row.shape[-1])
        if not {self.data.shape[1], row.shape[-1]} <= {1, samples}:
            raise ValueError(
                f"t has {row.shape[-1]} times, but this network holds data of "
                f"{self.data.shape[1]} samples"
            )
        shape = row.shape[:-2]
        data = xp.broadcast_to(self.data, (*shape, self.data.shape[0], samples))
        return xp.concat([data, xp.broadcast_to(row, (*shape, 1, samples))], axis=-2)

    def value(self, x: Array, c: Values, t: Time) -> Array:
        rows = self.rows(t)
        if rows is None:
            return x
        samples = rows.shape[-1]
        if samples not in (1, x.shape[-1]):
            what = "the time is that of" if self.data is None else "this network holds data of"
            raise ValueError(
                f"the state has {x.shape[-1]} columns, but {what} {samples} samples: a "
                "stepper that is implicit takes other columns, and data that all samples share"
            )
        xp, shape = namespace(x), (*x.shape[:-2], rows.shape[-2], x.shape[-1])
        return xp.concat([x, xp.broadcast_to(like(rows, x), shape)], axis=-2)

    def jvp(self, x: Array, c: Values, dx: Array, dc: Values) -> Array:
        xp, count = namespace(dx), int(self.time) + (0 if self.data is None else len(self.data))
        zeros = xp.zeros_like(dx[..., :1, :])
        return xp.concat([dx] + [zeros] * count, axis=-2)

    def back(self, x: Array, c: Values, p: Array) -> Array:
        return p[..., : self.units, :]

    def formula(self, x: str) -> str:
        rows = [x] + ["data"] * (self.data is not None) + ["t"] * self.time
        return f"({', '.join(rows)})"


@checked
@dataclass(frozen=True, eq=False)
class FixedLinear(Map):
    """y = A x with a matrix A (m, n) that is not trained, from R^n to R^m.

    matrix : A;  name : how formulas write it
    """

    block: ClassVar[None] = None  # type: ignore[assignment]
    reads_argument: ClassVar[bool] = False
    matrix: Array
    name: str = "A"

    __repr__ = short

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", check_array("matrix", self.matrix, ("m", "n")))

    def bind(self, space: Space, before: tuple[Map, ...]) -> tuple[Self, Space]:
        rows, columns = self.matrix.shape
        if space != columns:
            raise ValueError(
                f"{self.name} takes R^{columns}, but before it stands {describe(space)}"
            )
        return self, rows

    def value(self, x: Array, c: Values, t: Time) -> Array:
        return like(self.matrix, x) @ x

    def jvp(self, x: Array, c: Values, dx: Array, dc: Values) -> Array:
        return like(self.matrix, dx) @ dx

    def back(self, x: Array, c: Values, p: Array) -> Array:
        return like(self.matrix, p).T @ p

    def formula(self, x: str) -> str:
        return f"{self.name} {factor(x)}"


@checked
@dataclass(frozen=True, eq=False)
class NormBound(Map):
    """y = s(x) x, s = (1 + |x|^2 / r^2)^(-1/2): |y| < r, and y = x + O(|x|^3) near 0.

    |x|^2 = sum_i w_i x_i^2 in the space of x, one column at a time.  D y is its own adjoint there.

    radius : r > 0
    """

    block: ClassVar[None] = None  # type: ignore[assignment]
    radius: float
    space: Space = field(default=0, repr=False)

    def __post_init__(self) -> None:
        store(self, check_positive, "radius")

    def bind(self, space: Space, before: tuple[Map, ...]) -> tuple[Self, Space]:
        return replace(self, space=space), space

    def value(self, x: Array, c: Values, t: Time) -> Array:
        return self._share(x) * x

    def jvp(self, x: Array, c: Values, dx: Array, dc: Values) -> Array:
        return self.back(x, c, dx)

    def back(self, x: Array, c: Values, p: Array) -> Array:
        s = self._share(x)
        return s * p - s**3 * self._product(x, p) * x

    def back_derivative(
        self, x: Array, c: Values, p: Array, dx: Array, dc: Values, dp: Array
    ) -> Array:
        s, across, along = self._share(x), self._product(x, p), self._product(x, dx)
        bend = self._product(dx, p) - 3.0 * s * s * across * along
        return self.back(x, c, dp) - s**3 * (along * p + bend * x + across * dx)

    def formula(self, x: str) -> str:
        return f"bound_{self.radius:g}({x})"

    def _share(self, x: Array) -> Array:
        """s, (1, M)."""
        return (1.0 + self._product(x, x)) ** -0.5

    def _product(self, x: Array, y: Array) -> Array:
        """sum_i w_i x_i y_i / r^2, (1, M)."""
        xp = namespace(x)
        w = self.space.weights_like(x)[:, None] if isinstance(self.space, Grid) else 1.0
        return xp.sum(w * x * y, axis=-2, keepdims=True) / self.radius**2
