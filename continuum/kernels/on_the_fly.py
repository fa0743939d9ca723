"""The kernel as a function that is evaluated whenever it is needed and never stored."""

import inspect
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numba
import numpy as np
from numba.core.dispatcher import Dispatcher
from numba.np.unsafe.ndarray import to_fixed_tuple

from ..arrays import Array, is_array, is_numpy, like, namespace
from ..checks import check_count, store
from ..quadrature import Grid
from .format import Kernel, KernelFunction, weighted

_ROWS, _COLUMNS = (
    32,
    256,
)  # a tile: its columns of wf stay in the second cache, a row of its values in the first
_ENTRIES = 2**18  # values of b held at a time by the reference
_SHARE = 256  # rows of one task
_SERIAL = 2**16  # pairs below which threads do not pay


@dataclass(frozen=True)
class OnTheFly(Kernel):
    """b(y, z) or b(y, z, t) given by a function and never stored.

    O(N^2) evaluations and O(N M) memory per application.

    Not trainable.  b is evaluated once per pair of nodes and application, for all samples.

    compiled : the function, of plain numbers y and z in one dimension and tuples (y[0], ...,
        y[n-1]) in n, is compiled by Numba, once for each `network.control` unless it is compiled
        already; False evaluates it on arrays, as `Dense` does, in chunks of rows; so it is for
        states of other libraries than NumPy, with arrays of that library (CuPy's answer np.exp and
        the like), where it must not ask `if y < z`
    threads : how many share the rows; by default as many as Numba would use
    The value of the block at one time is a `KernelLaw`.
    raises ValueError for a function that cannot be compiled, with the reason; TypeError on attempts
    to train it
    """

    compiled: bool = True
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.threads is not None:
            store(self, check_count, "threads")

    def prepare(
        self, grid: Grid, function: KernelFunction, timed: bool
    ) -> "Callable[[float], KernelLaw]":
        nodes = np.ascontiguousarray(grid.nodes)
        reference = _vectorised(getattr(function, "py_func", function), nodes, timed)
        product, values = _compiled(function, nodes, timed) if self.compiled else reference
        threads = self.threads or numba.get_num_threads()
        return lambda t: KernelLaw(nodes, product, values, reference[0], t, threads)

    def evaluate(self, grid: Grid, function: KernelFunction, *time: float) -> "KernelLaw":
        return self.prepare(grid, function, bool(time))(*(time or (0.0,)))

    def apply(self, b: "KernelLaw", f: Array, w: Array | None) -> Array:
        return b.product(weighted(w, f), adjoint=False)

    def adjoint(self, b: "KernelLaw", r: Array, w: Array | None) -> Array:
        return b.product(weighted(w, r), adjoint=True)

    def matrix(self, b: "KernelLaw") -> Array:
        return b.rows(0, len(b))


class Product(Protocol):
    """out_i = sum_j b(y_i, y_j) x_j, start <= i < stop; with b(y_j, y_i) if adjoint."""

    def __call__(
        self, nodes: Array, t: float, adjoint: bool, x: Array, start: int, stop: int, out: Array
    ) -> None: ...


class RowValues(Protocol):
    """out_ij = b(y_(start + i), y_j)."""

    def __call__(self, nodes: Array, t: float, start: int, out: Array) -> None: ...


@dataclass(frozen=True, eq=False)
class KernelLaw:
    """An on-the-fly kernel at one time, on the nodes of a grid."""

    nodes: Array
    _product: Product
    _values: RowValues
    _reference: Product
    t: float
    threads: int

    def __len__(self) -> int:
        return self.nodes.shape[0]

    def rows(self, start: int, stop: int) -> Array:
        """b(y_i, z_j) for start <= i < stop and all j."""
        out = np.empty((stop - start, len(self)))
        self._values(self.nodes, self.t, start, out)
        return out

    def product(self, x: Array, adjoint: bool) -> Array:
        """sum_j b(y_i, y_j) x_j, or sum_j b(y_j, y_i) x_j if adjoint: (N, M), where x is."""
        xp = namespace(x)
        if x.dtype != xp.float64:
            raise TypeError(f"an OnTheFly kernel acts on arrays of float64, got {x.dtype}")
        if not is_numpy(x):
            out = xp.zeros_like(x)
            self._reference(like(self.nodes, x), self.t, adjoint, x, 0, len(self), out)
            return out
        x = np.ascontiguousarray(x)
        out = np.zeros(x.shape)

        def share(start: int) -> None:
            self._product(
                self.nodes, self.t, adjoint, x, start, min(start + _SHARE, len(self)), out
            )

        starts = range(0, len(self), _SHARE)
        if self.threads == 1 or len(self) ** 2 <= _SERIAL:
            for start in starts:
                share(start)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                for _ in pool.map(share, starts):
                    pass
        return out


def _vectorised(function: KernelFunction, nodes: Array, timed: bool) -> tuple[Product, RowValues]:
    """The reference: the function on arrays of the nodes' library, some rows at a time."""

    def block(y: Array, z: Array, t: float) -> Array:
        xp, shape = namespace(y), (y.shape[0], z.shape[0])
        u, v = (y[:, 0], z[:, 0]) if y.shape[1] == 1 else (y.T, z.T)
        found = function(u[..., :, None], v[..., None, :], *((t,) if timed else ()))
        b = like(found if is_array(found) else np.asarray(found), y)
        return xp.broadcast_to(b if b.dtype == y.dtype else xp.astype(b, y.dtype), shape)

    def product(
        nodes: Array, t: float, adjoint: bool, x: Array, start: int, stop: int, out: Array
    ) -> None:
        step = max(1, _ENTRIES // nodes.shape[0])
        for i in range(start, stop, step):
            rows = slice(i, min(i + step, stop))
            own = nodes[rows, :]
            out[rows, :] = (block(nodes, own, t).T if adjoint else block(own, nodes, t)) @ x

    def values(nodes: Array, t: float, start: int, out: Array) -> None:
        out[...] = block(nodes[start : start + len(out)], nodes, t)

    return product, values


def _compiled(function: KernelFunction, nodes: Array, timed: bool) -> tuple[Product, RowValues]:
    """The compiled loops.

    raises ValueError, with the reason in one line, if the function cannot be compiled
    """
    if isinstance(function, Dispatcher):  # frozen by its owner, so that its loops can be kept
        return _loops(function, nodes.shape[1], timed)
    if not inspect.isfunction(function):
        raise ValueError(
            f"kernel cannot be compiled: Numba takes Python functions, got {function!r}"
        )
    return _loops.__wrapped__(
        numba.njit(error_model="numpy", forceinline=True)(function), nodes.shape[1], timed
    )


@lru_cache(maxsize=16)
def _loops(function: Dispatcher, dimension: int, timed: bool) -> tuple[Product, RowValues]:
    """`Product` and `RowValues` for a kernel of plain numbers, or of tuples if dimension > 1."""
    point, pair = _accessors(function, dimension, timed)

    @numba.njit(error_model="numpy", nogil=True, fastmath={"reassoc", "contract", "nsz"})
    def product(
        nodes: Array, t: float, adjoint: bool, x: Array, start: int, stop: int, out: Array
    ) -> None:
        units, samples = x.shape
        row = np.empty(_COLUMNS)
        for top in range(start, stop, _ROWS):
            for left in range(0, units, _COLUMNS):
                others, given = nodes[left : left + _COLUMNS], x[left : left + _COLUMNS]
                width = others.shape[0]
                for i in range(top, min(top + _ROWS, stop)):
                    own = point(nodes, i)
                    if adjoint:
                        for j in range(width):
                            row[j] = pair(point(others, j), own, t)
                    else:
                        for j in range(width):
                            row[j] = pair(own, point(others, j), t)
                    if samples == 1:
                        total = 0.0
                        for j in range(width):
                            total += row[j] * given[j, 0]
                        out[i, 0] += total
                    else:
                        line = out[i]
                        for j in range(width):
                            for m in range(samples):
                                line[m] += row[j] * given[j, m]

    @numba.njit(error_model="numpy", nogil=True)
    def values(nodes: Array, t: float, start: int, out: Array) -> None:
        for i in range(out.shape[0]):
            own = point(nodes, start + i)
            for j in range(out.shape[1]):
                out[i, j] = pair(own, point(nodes, j), t)

    try:
        product(np.zeros((1, dimension)), 0.0, False, np.zeros((1, 1)), 0, 0, np.zeros((1, 1)))
    except Exception as error:
        raise ValueError(f"kernel cannot be compiled: {_reason(error)}") from None
    return product, values


def _accessors(
    function: Dispatcher, dimension: int, timed: bool
) -> tuple[Callable[..., object], Callable[..., float]]:
    """((nodes, i) -> y_i, (y, z, t) -> b(y, z, t)) as compiled functions."""
    inlined = numba.njit(error_model="numpy", forceinline=True)
    if dimension == 1:
        point = inlined(lambda nodes, i: nodes[i, 0])
    else:
        point = inlined(lambda nodes, i: to_fixed_tuple(nodes[i], dimension))  # type: ignore[call-arg]
    if timed:
        return point, inlined(lambda y, z, t: float(function(y, z, t)))
    return point, inlined(lambda y, z, t: float(function(y, z)))


def _reason(error: Exception) -> str:
    """What matters of Numba's many lines, in one."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    result = re.search(r">>> float\((.*)\)", plain)
    if result and "<class 'float'>" in plain:
        return f"for numbers y, z it gives {result[1]}, not one real number"
    lines = [line.strip() for line in plain.splitlines()]
    skipped = ("Failed in", "During", "File ", "There are", "<source", "- ", "This error")
    telling = [line for line in lines if line and not line.startswith(skipped)] or [""]
    detail = f" {telling[1]}" if telling[1:] and telling[1].startswith(">>>") else ""
    return f"{type(error).__name__}: {telling[0]}{detail}"[:300]
