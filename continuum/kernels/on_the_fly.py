"""The kernel as a function that is evaluated whenever it is needed and never stored."""

import inspect
import itertools
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numba
import numpy as np
from numba.core.dispatcher import Dispatcher

from ..arrays import Array, is_array, is_numpy, like, namespace
from ..checks import check_count, store
from ..compiled import inlined
from ..doors import checked
from ..elementary import with_own_functions
from ..quadrature import Grid
from ..records import short
from .format import Kernel, KernelFunction, weighted

_ROWS, _COLUMNS = 128, 512  # a tile of values, which stays in the second cache
_STRIP = 1024  # points and numbers of one sample that stay in the first
_ENTRIES = 2**18  # values of b held at a time by the reference
_SHARE = 256  # rows of one task
_SERIAL = 2**16  # pairs below which threads do not pay


@checked
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
        points = np.ascontiguousarray(grid.nodes.T)
        reference = _vectorised(getattr(function, "py_func", function), timed)
        product, values = _compiled(function, len(points), timed) if self.compiled else reference
        threads = self.threads or numba.get_num_threads()
        return lambda t: KernelLaw(points, product, values, reference[0], t, threads)

    def evaluate(self, grid: Grid, function: KernelFunction, *time: float) -> "KernelLaw":
        return self.prepare(grid, function, bool(time))(*(time or (0.0,)))

    def apply(self, b: "KernelLaw", f: Array, w: Array | None) -> Array:
        return b.product(weighted(w, f), adjoint=False)

    def adjoint(self, b: "KernelLaw", r: Array, w: Array | None) -> Array:
        return b.product(weighted(w, r), adjoint=True)

    def matrix(self, b: "KernelLaw") -> Array:
        return b.rows(0, len(b))


class Product(Protocol):
    """out_i = sum_j b(y_i, y_j) x_j, start <= i < stop; with b(y_j, y_i) if adjoint.  The points y
    are (n, N), and out is 0 before.
    """

    def __call__(
        self, points: Array, t: float, adjoint: bool, x: Array, start: int, stop: int, out: Array
    ) -> None: ...


class Values(Protocol):
    """out_ij = b(y_(top + i), y_(left + j))."""

    def __call__(self, points: Array, t: float, top: int, left: int, out: Array) -> None: ...


@dataclass(frozen=True, eq=False)
class KernelLaw:
    """An on-the-fly kernel at one time, on the nodes of a grid, the columns of `points`."""

    points: Array
    _product: Product
    _values: Values
    _reference: Product
    t: float
    threads: int

    __repr__ = short

    def __len__(self) -> int:
        return self.points.shape[1]

    def rows(self, start: int, stop: int) -> Array:
        """b(y_i, z_j) for start <= i < stop and all j."""
        out = np.empty((stop - start, len(self)))
        self._values(self.points, self.t, start, 0, out)
        return out

    def product(self, x: Array, adjoint: bool) -> Array:
        """sum_j b(y_i, y_j) x_j, or sum_j b(y_j, y_i) x_j if adjoint: (N, M), where x is."""
        xp = namespace(x)
        if x.dtype != xp.float64:
            raise TypeError(f"an OnTheFly kernel acts on arrays of float64, got {x.dtype}")
        if not is_numpy(x):
            out = xp.zeros_like(x)
            self._reference(like(self.points, x), self.t, adjoint, x, 0, len(self), out)
            return out
        x = np.ascontiguousarray(x)
        out = np.zeros(x.shape)

        def share(start: int) -> None:
            stop = min(start + _SHARE, len(self))
            self._product(self.points, self.t, adjoint, x, start, stop, out)

        starts = range(0, len(self), _SHARE)
        if self.threads == 1 or len(self) ** 2 <= _SERIAL:
            for start in starts:
                share(start)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                for _ in pool.map(share, starts):
                    pass
        return out


def _vectorised(function: KernelFunction, timed: bool) -> tuple[Product, Values]:
    """The reference: the function on arrays of the points' library, some rows at a time."""

    def block(y: Array, z: Array, t: float) -> Array:
        xp, shape = namespace(y), (y.shape[1], z.shape[1])
        u, v = (y[0, :], z[0, :]) if y.shape[0] == 1 else (y, z)
        found = function(u[..., :, None], v[..., None, :], *((t,) if timed else ()))
        b = like(found if is_array(found) else np.asarray(found), y)
        return xp.broadcast_to(b if b.dtype == y.dtype else xp.astype(b, y.dtype), shape)

    def product(
        points: Array, t: float, adjoint: bool, x: Array, start: int, stop: int, out: Array
    ) -> None:
        step = max(1, _ENTRIES // points.shape[1])
        for i in range(start, stop, step):
            rows = slice(i, min(i + step, stop))
            own = points[:, rows]
            out[rows, :] = (block(points, own, t).T if adjoint else block(own, points, t)) @ x

    def values(points: Array, t: float, top: int, left: int, out: Array) -> None:
        rows, width = out.shape
        out[...] = block(points[:, top : top + rows], points[:, left : left + width], t)

    return product, values


def _compiled(function: KernelFunction, dimension: int, timed: bool) -> tuple[Product, Values]:
    """The compiled loops.

    raises ValueError, with the reason in one line, if the function cannot be compiled
    """
    if isinstance(function, Dispatcher):  # frozen by its owner, so that its loops can be kept
        return _loops(function, dimension, timed)
    if not inspect.isfunction(function):
        raise ValueError(
            f"kernel cannot be compiled: Numba takes Python functions, got {function!r}"
        )
    return _loops.__wrapped__(function, dimension, timed)


@lru_cache(maxsize=16)
def _loops(function: Callable[..., object], dimension: int, timed: bool) -> tuple[Product, Values]:
    """`Product` and `Values` for a kernel of plain numbers, or of tuples if dimension > 1.

    One sample is summed as the values come, several are multiplied by BLAS, tile by tile.
    """
    own = with_own_functions(function)
    if timed:
        pair = inlined(lambda y, z, t: float(own(y, z, t)))
    else:
        pair = inlined(lambda y, z, t: float(own(y, z)))
    forth = _sums(pair, dimension)
    back = _sums(inlined(lambda y, z, t: pair(z, y, t)), dimension)
    part, point = _coordinates(dimension)

    @numba.njit(error_model="numpy", nogil=True)
    def values(points: Array, t: float, top: int, left: int, out: Array) -> None:
        rows, width = out.shape
        own, others = part(points, top, top + rows), part(points, left, left + width)
        for i in range(rows):
            y = point(own, i)
            for j in range(width):
                out[i, j] = pair(y, point(others, j), t)

    def product(
        points: Array, t: float, adjoint: bool, x: Array, start: int, stop: int, out: Array
    ) -> None:
        units, samples = x.shape
        if samples == 1:
            (back if adjoint else forth)(points, t, x[:, 0], start, stop, out[:, 0])
            return
        memory = np.empty(_ROWS * _COLUMNS)
        for top, left in itertools.product(range(start, stop, _ROWS), range(0, units, _COLUMNS)):
            bottom, right = min(top + _ROWS, stop), min(left + _COLUMNS, units)
            tile = memory[: (bottom - top) * (right - left)]
            if adjoint:
                tile = tile.reshape(right - left, bottom - top)
                values(points, t, left, top, tile)
                tile = tile.T
            else:
                tile = tile.reshape(bottom - top, right - left)
                values(points, t, top, left, tile)
            out[top:bottom] += tile @ x[left:right]

    try:
        values(np.zeros((dimension, 1)), 0.0, 0, 0, np.zeros((0, 0)))
    except Exception as error:
        raise ValueError(f"kernel cannot be compiled: {_reason(error)}") from None
    return product, values


def _sums(pair: Callable[..., float], dimension: int) -> Callable[..., None]:
    """(points, t, x, start, stop, out): out_i += sum_j pair(y_i, y_j, t) x_j, start <= i < stop."""
    part, point = _coordinates(dimension)

    @numba.njit(error_model="numpy", nogil=True, fastmath={"reassoc", "contract", "nsz"})
    def sums(points: Array, t: float, x: Array, start: int, stop: int, out: Array) -> None:
        for left in range(0, len(x), _STRIP):
            given = x[left : left + _STRIP]
            others, own = part(points, left, left + _STRIP), part(points, start, stop)
            for i in range(stop - start):
                y, total = point(own, i), 0.0
                for j in range(len(given)):
                    total += pair(y, point(others, j), t) * given[j]
                out[start + i] += total

    return sums


def _coordinates(dimension: int) -> tuple[Callable[..., object], Callable[..., object]]:
    """((points, start, stop) -> rows of coordinates, (rows, i) -> point i) as compiled functions.

    Rows are a tuple, and contiguous, so that loops over them run in vectors; a point is a number in
    one dimension, a tuple in more.
    """
    part = inlined(lambda points, start, stop: (points[0][start:stop],))
    point = inlined(lambda rows, i: (rows[0][i],))
    for axis in range(1, dimension):
        part, point = _with_axis(part, point, axis)
    return part, point if dimension > 1 else inlined(lambda rows, i: rows[0][i])


def _with_axis(
    part: Callable[..., tuple], point: Callable[..., tuple], axis: int
) -> tuple[Callable[..., tuple], Callable[..., tuple]]:
    """The two functions of `_coordinates` for one dimension more."""
    longer = inlined(lambda points, a, b: (*part(points, a, b), points[axis][a:b]))
    return longer, inlined(lambda rows, i: (*point(rows, i), rows[axis][i]))


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
