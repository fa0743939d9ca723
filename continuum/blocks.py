"""The named unknowns that controls are made of, and what a user may give for one."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from .arrays import Array, like, namespace
from .checks import as_array, check_array, check_real
from .doors import checked
from .pickling import check_importable
from .records import short
from .time_axes import TimeKind

Function: TypeAlias = Callable[..., Array | float]
Coefficient: TypeAlias = Function | Sequence[Sequence[Function]] | Array | float
"""What a user gives for a block: a function of position (and of time, as last argument), its
values, a number.
"""


@checked
@dataclass(frozen=True, eq=False)
class Block:
    """One named unknown, of `shape` at each time.

    name : by which networks, sets and penalties address it
    time : "layers", "nodes" or "static" (see time_axes)
    weights : measure of its entries, broadcasting to `shape`: w_i for a bias, w_i w_j for a kernel,
        1 if Euclidean
    last : (P,), the measure of its last axis alone, w_j of a kernel w_i w_j; None if it has none of
        its own
    span : (k, l), it lives on the layers k, ..., l - 1 alone, those of one stage of a Staged
        network; None for all layers
    positions : how many positions a function for it takes before t (bias 1, kernel 2, plain
        parameters 0)
    evaluate : (function of the positions and t, t) -> array of `shape`
    prepare : for a block that is never stored as numbers, and so cannot be trained: (function, does
        it take t) -> the value at t, which is no array
    """

    name: str
    shape: tuple[int, ...]
    time: TimeKind
    weights: Array
    positions: int = 0
    evaluate: Callable[..., Array] | None = None
    prepare: Callable[..., Callable[[float], Array]] | None = None
    last: Array | None = None
    span: tuple[int, int] | None = None

    __repr__ = short

    def lives(self, layer: int) -> bool:
        """True if it has values on this layer."""
        return self.span is None or self.span[0] <= layer < self.span[1]

    def function(self, given: Coefficient) -> "tuple[bool, Callable[[float], Array]]":
        """(is it constant in time, its value at t) for what a user gave; raises ValueError,
        TypeError.
        """
        if self.prepare is not None:
            if not callable(given):
                raise ValueError(
                    f"{self.name} is never stored: it must be a function, got "
                    f"{type(given).__name__}"
                )
            constant, _ = self._with_time(given)
            return constant, _Prepared(self.name, self.prepare, given, not constant)
        if callable(given) or (isinstance(given, tuple | list) and _leaf_callable(given)):
            constant, timed = self._with_time(given)
            return constant, _Evaluated(self.name, self.shape, self.evaluate, timed)
        array = as_array(self.name, given)
        if array.shape == ():
            array = np.full(self.shape, check_real(self.name, array.item()))
        return True, _Held(check_array(self.name, array, self.shape))

    def _with_time(self, given: Coefficient) -> tuple[bool, Coefficient]:
        """The same function(s), each taking t as last argument, and whether none of them looks at
        it.
        """
        if not callable(given):
            pairs = [[self._with_time(g) for g in side] for side in given]  # type: ignore[union-attr]
            return (
                all(constant for side in pairs for constant, _ in side),
                tuple(tuple(g for _, g in side) for side in pairs),  # type: ignore[return-value]
            )
        try:
            signature = inspect.signature(given)
        except ValueError:  # a NumPy ufunc: a function of position
            return True, _Timeless(given)
        for arguments, constant in ((self.positions, True), (self.positions + 1, False)):
            try:
                signature.bind(*range(arguments))
            except TypeError:
                continue
            return constant, _Timeless(given) if constant else given
        wanted = ", ".join("yz"[: self.positions])
        raise ValueError(
            f"{self.name} must be a function of ({wanted}) or ({wanted}, t)".replace("(, t)", "(t)")
        )


def joint_norm(blocks: Sequence[Block], values: Mapping[str, Array]) -> Array:
    """(...): (sum_b sum_i w_i x_i^2)^(1/2) over all entries of these blocks, each with its own
    weights w: the norm that the space's product has at one time.

    blocks : at least one; values : (..., *block.shape) of each
    """
    if len({b.span for b in blocks if b.time != "static"}) > 1:
        raise ValueError(
            "blocks of different stages live on different layers: they have no joint norm"
        )
    total = None
    for block in blocks:
        x = values[block.name]
        squares = like(block.weights, x) * x * x
        found = namespace(x).sum(squares, axis=tuple(range(-len(block.shape), 0)))
        total = found if total is None else total + found
    return namespace(total).sqrt(total)  # type: ignore[arg-type]  # there is a block


def scaled(blocks: Sequence[Block], values: Mapping[str, Array], share: Array) -> dict[str, Array]:
    """The values of these blocks, all entries of one point times the share (...) of that point."""
    return {
        b.name: values[b.name] * namespace(share).reshape(share, share.shape + (1,) * len(b.shape))
        for b in blocks
    }


@dataclass(frozen=True)
class _Held:
    """An array, at all times."""

    array: Array

    def __call__(self, t: float) -> Array:
        return self.array


@dataclass(frozen=True)
class _Timeless:
    """A function without time, as one that takes t as last argument."""

    function: Function

    def __call__(self, *arguments: Array | float) -> Array | float:
        return self.function(*arguments[:-1])


@dataclass(frozen=True)
class _OfFunctions(ABC):
    """What pickle and copies ask of values that the user's functions give; those do not change."""

    name: str

    @abstractmethod
    def functions(self) -> "list[Function]":
        """The user's functions."""

    def __getstate__(self) -> dict[str, object]:
        for function in self.functions():
            check_importable(f"the function for block {self.name!r}", function)
        return dict(self.__dict__)

    def __deepcopy__(self, memo: object) -> "_OfFunctions":
        return self


@dataclass(frozen=True)
class _Evaluated(_OfFunctions):
    """The array of a block at t, from functions that take t."""

    shape: tuple[int, ...]
    evaluate: Callable[..., Array] | None
    timed: Coefficient

    def functions(self) -> list[Function]:
        leaves = [self.timed] if callable(self.timed) else [g for side in self.timed for g in side]  # type: ignore[union-attr]
        return [g.function if isinstance(g, _Timeless) else g for g in leaves]

    def __call__(self, t: float) -> Array:
        found = self.timed(t) if self.evaluate is None else self.evaluate(self.timed, t)  # type: ignore[operator]
        return check_array(self.name, found, self.shape)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Prepared(_OfFunctions):
    """The value of a block that is never stored; prepared again where it is unpickled."""

    prepare: Callable[..., Callable[[float], Array]]
    given: Function
    timed: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "_value", self.prepare(self.given, self.timed))

    def functions(self) -> list[Function]:
        return [self.given]

    def __reduce__(self) -> object:
        self.__getstate__()
        return _Prepared, (self.name, self.prepare, self.given, self.timed)

    def __call__(self, t: float) -> Array:
        return self._value(t)  # type: ignore[attr-defined]


def _leaf_callable(given: Sequence[object]) -> bool:
    return any(callable(g) for side in given if isinstance(side, tuple | list) for g in side)
