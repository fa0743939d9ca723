"""The maps that chains are made of: linear in a block, its adjoint, an offset, an activation.
Further inputs, fixed matrices and bounds of the norm are in `fixed_maps.py`.

Every map takes x of shape (n, M), or stacked (L, n, M), to y of (m, M); c maps block names to their
values at one time. A space is a grid, with the product sum_i w_i x_i y_i, or a number n of units,
R^n with the Euclidean one; adjoints are taken in these products, and in the block's own weights.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import partial
from math import isinf
from typing import ClassVar, Self, TypeAlias

import numpy as np

from ..activations import Activation
from ..arrays import Array, like, namespace
from ..blocks import Block
from ..checks import check_count, store
from ..doors import checked
from ..kernels import Dense, Kernel, KernelFormat
from ..quadrature import Grid
from ..time_axes import TimeKind
from .network import Time, Values

Space: TypeAlias = Grid | int


def measure(space: Space) -> Array:
    """(n,): the weights of the units of a space."""
    return space.weights if isinstance(space, Grid) else np.ones(space)


def _short(space: Space) -> Array:
    """The same, broadcasting: (n,) on a grid, (1,) in R^n."""
    return space.weights if isinstance(space, Grid) else np.ones(1)


class Map(ABC):
    """y = value(x, c, t), with at most one block b = c[block].

    jvp : D_x y dx + D_b y db, db = dc[block] if it is there
    back : (D_x y)* p;  cotangent : (D_b y)* p, summed over samples, None without a block
    back_derivative, cotangent_derivative : their derivatives in the direction (dx, dc, dp); as they
        stand for maps y = x + b and the like, whose D_x y and D_b y are constant
    """

    block: str | None
    reads_argument: ClassVar[bool] = True
    """Whether any derivative depends on x."""

    @abstractmethod
    def bind(self, space: Space, before: "tuple[Map, ...]") -> tuple[Self, Space]:
        """This map on a space, behind others, and the space that it leads to.  Chains call it.

        raises TypeError or ValueError where it does not fit
        """

    @abstractmethod
    def value(self, x: Array, c: Values, t: Time) -> Array: ...

    @abstractmethod
    def jvp(self, x: Array, c: Values, dx: Array, dc: Values) -> Array: ...

    @abstractmethod
    def back(self, x: Array, c: Values, p: Array) -> Array: ...

    def cotangent(self, x: Array, c: Values, p: Array) -> Array | None:
        return None

    def back_derivative(
        self, x: Array, c: Values, p: Array, dx: Array, dc: Values, dp: Array
    ) -> Array:
        return self.back(x, c, dp)

    def cotangent_derivative(
        self, x: Array, c: Values, p: Array, dx: Array, dc: Values, dp: Array
    ) -> Array | None:
        return self.cotangent(x, c, dp)

    def own_block(self, in_time: TimeKind) -> Block | None:
        """The block, or None."""
        return None

    @abstractmethod
    def formula(self, x: str) -> str:
        """How y is written, where the argument is written x."""


class Product(Map):
    """What a linear map and its adjoint share: y = Bx for a B that depends on the block b."""

    block: str  # type: ignore[assignment]

    @abstractmethod
    def forth(self, b: Array, x: Array, db: Array | None = None) -> Array:
        """Bx, or its derivative in b in the direction db."""

    @abstractmethod
    def adjoint(self, b: Array, p: Array, db: Array | None = None) -> Array:
        """B*p, or its derivative in b in the direction db."""

    @abstractmethod
    def outer(self, b: Array, p: Array, x: Array, db: Array | None = None) -> Array | None:
        """(D_b Bx)* p, or its derivative in the direction db (None if it is zero); None for a
        kernel that is never stored.
        """

    def value(self, x: Array, c: Values, t: Time) -> Array:
        return self.forth(c[self.block], x)

    def jvp(self, x: Array, c: Values, dx: Array, dc: Values) -> Array:
        b, db = c[self.block], dc.get(self.block)
        dy = self.forth(b, dx)
        return dy if db is None else dy + self.forth(b, x, db)

    def back(self, x: Array, c: Values, p: Array) -> Array:
        return self.adjoint(c[self.block], p)

    def back_derivative(
        self, x: Array, c: Values, p: Array, dx: Array, dc: Values, dp: Array
    ) -> Array:
        b, db = c[self.block], dc.get(self.block)
        result = self.adjoint(b, dp)
        return result if db is None else result + self.adjoint(b, p, db)

    def cotangent(self, x: Array, c: Values, p: Array) -> Array | None:
        return self.outer(c[self.block], p, x)

    def cotangent_derivative(
        self, x: Array, c: Values, p: Array, dx: Array, dc: Values, dp: Array
    ) -> Array | None:
        b, db = c[self.block], dc.get(self.block)
        first, second = self.outer(b, dp, x), self.outer(b, p, dx)
        if first is None or second is None:
            return None
        third = None if db is None else self.outer(b, p, x, db)
        return first + second if third is None else first + second + third


@checked
@dataclass(frozen=True, eq=False)
class Linear(Product):
    """y = sign B x, B given by a block: the kernel of an operator on the grid, or a matrix.

    block : its name
    into : a kernel, (Bx)_i = sum_j w_j b_ij x_j on the grid that x lives on; or the number m of
        units that a matrix b (m, n) leads to, (Bx)_i = sum_j w_j b_ij x_j with w_j = 1 in R^n
    sign : 1 or -1
    source, target : the spaces of x and y, set by the chain
    """

    block: str
    into: Kernel | int
    sign: int = 1
    source: Space = field(default=0, repr=False)
    target: Space = field(default=0, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.into, Kernel):
            store(self, check_count, "into")
        _check_map(self.block, self.sign)

    def bind(self, space: Space, before: tuple[Map, ...]) -> tuple[Self, Space]:
        if not isinstance(self.into, Kernel):
            return replace(self, source=space, target=self.into), self.into
        if not isinstance(space, Grid):
            raise TypeError(f"the kernel {self.into!r} of block {self.block!r} needs a grid")
        return replace(self, into=self.into.bind(space), source=space, target=space), space

    @property
    def operator(self) -> Kernel:
        """The format of b: that of the kernel, Dense() for a matrix."""
        return self.into if isinstance(self.into, Kernel) else Dense()

    @property
    def weights(self) -> Array | None:
        """(n,): the w_j of the space of x, None where they are 1."""
        return self.source.weights if isinstance(self.source, Grid) else None

    def own_block(self, in_time: TimeKind) -> Block:
        name, grid, kernel = self.block, self.source, self.into
        if not isinstance(kernel, Kernel) or not isinstance(grid, Grid):
            last, product = measure(grid), _short(self.target)[:, None] * _short(grid)
            return Block(name, (len(measure(self.target)), len(last)), in_time, product, last=last)
        if not isinstance(kernel, KernelFormat):
            prepare = partial(kernel.prepare, grid)
            return Block(name, (), in_time, np.ones(()), kernel.positions, prepare=prepare)
        shape = kernel.shape(grid)
        last = grid.weights if shape == (len(grid), len(grid)) else None
        evaluate, weights = partial(kernel.evaluate, grid), kernel.weights(grid)
        return Block(name, shape, in_time, weights, kernel.positions, evaluate, last=last)

    def forth(self, b: Array, x: Array, db: Array | None = None) -> Array:
        w = self._signed(self.source, x)
        if db is None:
            return self.operator.apply(b, x, w)
        return self._stored.apply_derivative(b, db, x, w)

    def adjoint(self, b: Array, p: Array, db: Array | None = None) -> Array:
        w = self._signed(self.target, p)
        if db is None:
            return self.operator.adjoint(b, p, w)
        return self._stored.adjoint_derivative(b, db, p, w)

    def outer(self, b: Array, p: Array, x: Array, db: Array | None = None) -> Array | None:
        kernel = self.operator
        if not isinstance(kernel, KernelFormat):
            return None
        p = p if self.sign > 0 else -p
        w = self.source.weights_like(x) if isinstance(self.source, Grid) else None
        if db is None:
            return kernel.outer(b, p, x, w)
        return kernel.outer_derivative(b, db, p, x, w)

    def formula(self, x: str) -> str:
        return f"{'-' if self.sign < 0 else ''}{self.block} {factor(x)}"

    @property
    def _stored(self) -> KernelFormat:
        if not isinstance(self.operator, KernelFormat):
            raise TypeError(
                f"block {self.block!r} is a function without numbers to train or to vary: use "
                "Dense(), Convolution() or LowRank(rank)"
            )
        return self.operator

    def _signed(self, space: Space, x: Array) -> Array | None:
        """sign w, by which B and B* multiply their arguments; None if all are 1."""
        if isinstance(space, Grid):
            return space.weights_like(x) if self.sign > 0 else -space.weights_like(x)
        return None if self.sign > 0 else like(-np.ones(space), x)


@checked
@dataclass(frozen=True, eq=False)
class Adjoint(Product):
    """y = sign B*x, the adjoint of a linear map that stands before it, whose block it shares.

    block : that of the linear map
    sign : 1 or -1, whatever that of the linear map is
    of : the linear map, with this sign, set by the chain
    """

    block: str
    sign: int = 1
    of: Linear = field(default=None, repr=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        _check_map(self.block, self.sign)

    def bind(self, space: Space, before: tuple[Map, ...]) -> tuple[Self, Space]:
        for other in before:
            if isinstance(other, Linear) and other.block == self.block:
                if not same_space(space, other.target):
                    raise ValueError(
                        f"Adjoint({self.block!r}) takes {describe(other.target)}, but before it "
                        f"stands {describe(space)}"
                    )
                return replace(self, of=replace(other, sign=self.sign)), other.source
        raise ValueError(f"Adjoint({self.block!r}) needs a Linear of that block before it")

    def forth(self, b: Array, x: Array, db: Array | None = None) -> Array:
        return self.of.adjoint(b, x, db)

    def adjoint(self, b: Array, p: Array, db: Array | None = None) -> Array:
        return self.of.forth(b, p, db)

    def outer(self, b: Array, p: Array, x: Array, db: Array | None = None) -> Array | None:
        return self.of.outer(b, x, p, db)

    def formula(self, x: str) -> str:
        return f"{'-' if self.sign < 0 else ''}{self.block}* {factor(x)}"


@checked
@dataclass(frozen=True, eq=False)
class Offset(Map):
    """y = x + a, a given by a block (n,)."""

    reads_argument: ClassVar[bool] = False
    block: str  # type: ignore[assignment]
    space: Space = field(default=0, repr=False)

    def __post_init__(self) -> None:
        _check_map(self.block, 1)

    def bind(self, space: Space, before: tuple[Map, ...]) -> tuple[Self, Space]:
        return replace(self, space=space), space

    def own_block(self, in_time: TimeKind) -> Block:
        grid, name = self.space, self.block
        if not isinstance(grid, Grid):
            return Block(name, (grid,), in_time, np.ones(1))
        evaluate = partial(grid.evaluate, name=name)
        return Block(name, (len(grid),), in_time, grid.weights, 1, evaluate)

    def value(self, x: Array, c: Values, t: Time) -> Array:
        return x + c[self.block][..., None]

    def jvp(self, x: Array, c: Values, dx: Array, dc: Values) -> Array:
        return dx + dc[self.block][..., None] if self.block in dc else dx

    def back(self, x: Array, c: Values, p: Array) -> Array:
        return p

    def cotangent(self, x: Array, c: Values, p: Array) -> Array:
        return namespace(p).sum(p, axis=-1)

    def formula(self, x: str) -> str:
        return f"{self.block} - {x[1:]}" if x.startswith("-") else f"{x} + {self.block}"


@checked
@dataclass(frozen=True, eq=False)
class Pointwise(Map):
    """y = sigma(x), entry by entry.

    On a grid of a domain of infinite measure sigma(x) is in L^2(Y) for x in L^2(Y) only if
    sigma(0) = 0; any other activation is refused there with a ValueError.
    """

    block: ClassVar[None] = None  # type: ignore[assignment]
    activation: Activation

    def bind(self, space: Space, before: tuple[Map, ...]) -> tuple[Self, Space]:
        if isinstance(space, Grid) and isinf(space.domain.measure):
            at_zero = float(self.activation.value(np.zeros(1))[0])
            if at_zero != 0.0:
                raise ValueError(
                    f"activation {self.activation} has sigma(0) = {at_zero:.6g}, and {space.domain}"
                    " has infinite measure: sigma(u) is not in L^2(Y) for any u in L^2(Y), so that "
                    "the equation has no solution there; take an activation with sigma(0) = 0, or "
                    "a domain of finite measure"
                )
        return self, space

    def value(self, x: Array, c: Values, t: Time) -> Array:
        return self.activation.value(x)

    def jvp(self, x: Array, c: Values, dx: Array, dc: Values) -> Array:
        return self.activation.derivative(x) * dx

    def back(self, x: Array, c: Values, p: Array) -> Array:
        return self.activation.derivative(x) * p

    def back_derivative(
        self, x: Array, c: Values, p: Array, dx: Array, dc: Values, dp: Array
    ) -> Array:
        return self.activation.derivative(x) * dp + self.activation.second(x) * dx * p

    def formula(self, x: str) -> str:
        return f"{self.activation}({x})"


def _check_map(block: str, sign: int) -> None:
    if not isinstance(block, str) or not block:
        raise TypeError(f"block must be a name, got {block!r}")
    if sign not in (1, -1):
        raise ValueError(f"sign must be 1 or -1, got {sign!r}")


def same_space(a: Space, b: Space) -> bool:
    """The same grid, or as many Euclidean units."""
    return a is b if isinstance(a, Grid) or isinstance(b, Grid) else a == b


def describe(space: Space) -> str:
    """A space in words."""
    return f"R^{space}" if isinstance(space, int) else f"functions on {len(space)} nodes"


def factor(x: str) -> str:
    """x in parentheses if it is a sum or has a sign."""
    depth = 0
    for letter in x:
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and letter in "+-":
            return f"({x})"
    return x
