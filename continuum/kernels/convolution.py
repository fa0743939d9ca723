"""The kernel of a difference: the values of k at the differences of nodes, products by FFT."""

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from types import ModuleType
from typing import ClassVar

import numpy as np
import scipy

from ..arrays import Array, like, namespace, to_host
from ..domains import Circle, Interval, Product, factors
from ..doors import checked
from ..quadrature import Grid
from .format import KernelFormat, KernelFunction, weighted

_KEPT = 2  # transforms of values of the block kept: the kernel and one direction


@checked
@dataclass(frozen=True)
class Convolution(KernelFormat):
    """b(y, z) = k(y - z), stored as the values of k at the differences of nodes, (D,).

    On a circle of n nodes these are the n differences j h, j = 0, ..., n - 1, which a function k(s)
    is given in [-length / 2, length / 2); on an interval the 2n - 1 differences -(n - 1) h, ..., (n
    - 1) h.  In n dimensions they are the products of those of each axis, the first varying slowest,
    and k is given s[0], ..., s[n-1]. Products are FFTs, padded with zeros on intervals: O(N log N).
    The transform of k is kept for the last values.

    The measure of an entry is that of all pairs of nodes with its difference, sum_{y_i - y_j = s}
    w_i w_j.  So the products of two blocks and of their matrices are equal, and `outer` is the
    dense one averaged over those pairs.

    The grid must be equispaced in each dimension, with any weights (periodic, midpoint, trapezoid,
    Simpson's rule and products of them); raises ValueError otherwise.  Only a format that was bound
    to a grid can be applied.
    """

    positions: ClassVar[int] = 1
    lattice: "Lattice | None" = field(default=None, repr=False, compare=False)

    def bind(self, grid: Grid) -> "Convolution":
        return Convolution(Lattice(grid))

    @property
    def _lattice(self) -> "Lattice":
        if self.lattice is None:
            raise ValueError(
                "Convolution() knows no grid yet: use Convolution().bind(grid), as WidthDepth does"
            )
        return self.lattice

    def _lattice_of(self, grid: Grid) -> "Lattice":
        return (
            self.lattice
            if self.lattice is not None and self.lattice.grid is grid
            else Lattice(grid)
        )

    def shape(self, grid: Grid) -> tuple[int, ...]:
        return (len(self._lattice_of(grid).differences),)

    def weights(self, grid: Grid) -> Array:
        return self._lattice_of(grid).differences.weights

    def evaluate(self, grid: Grid, function: KernelFunction, *time: float) -> Array:
        values = np.array(
            self._lattice_of(grid).differences.evaluate(function, *time, name="kernel")
        )
        values.flags.writeable = False  # so that its transform is known by identity
        return values

    def apply(self, b: Array, f: Array, w: Array | None) -> Array:
        on = self._lattice
        spectrum = on.forth(weighted(w, f))
        spectrum *= on.transform(b)
        return on.back(spectrum)

    def adjoint(self, b: Array, r: Array, w: Array | None) -> Array:
        on = self._lattice
        spectrum = on.forth(weighted(w, r))
        spectrum *= namespace(b).conj(on.transform(b))
        return on.back(spectrum)

    def outer(self, b: Array, r: Array, f: Array, w: Array | None) -> Array:
        on, xp = self._lattice, namespace(r)
        spectrum = on.forth(weighted(w, r)) * xp.conj(on.forth(weighted(w, f)))
        pairs = on.correlation(xp.sum(spectrum, axis=-1, keepdims=True))
        measure = on.differences.weights_like(pairs)
        seen = measure > 0
        return xp.where(
            seen, pairs / xp.where(seen, measure, xp.ones_like(measure)), xp.zeros_like(pairs)
        )

    def matrix(self, b: Array) -> Array:
        xp, count = namespace(b), len(self._lattice.grid)
        pairs = like(self._lattice.pairs.ravel(), b)
        return xp.reshape(xp.take(b, pairs, axis=0), (count, count))

    def norm(self, b: Array, grid: Grid) -> float:
        """On circles with equal weights h the singular values are h |k^|, k^ the FFT of k."""
        bound = self.bind(grid)
        if all(bound._lattice.circles) and np.ptp(grid.weights) <= 1e-14 * np.max(grid.weights):
            spectrum = np.fft.fftn(np.reshape(to_host(b), bound._lattice.sizes))
            return float(np.max(np.abs(spectrum)) * grid.weights[0])
        return super().norm(b, grid)


class Lattice:
    """A grid whose nodes are a product of equispaced ones, and the transforms that belong to it.

    counts, sizes, lengths : per dimension the numbers n of nodes and of differences, and the length
        of the FFT
    shifts : the index of the difference 0: n - 1 on an interval, 0 on a
        circle
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        axes = [np.unique(grid.nodes[:, d]) for d in range(grid.dimension)]
        self.counts = tuple(len(a) for a in axes)
        if prod(self.counts) != len(grid) or not np.array_equal(
            grid.nodes, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(len(grid), -1)
        ):
            raise ValueError(
                f"a Convolution needs a product of increasing equispaced nodes, {_GIVEN} are not "
                f"one"
            )
        parts, circles = factors(grid.domain), []
        self.steps: list[float] = []
        for d, (part, nodes) in enumerate(zip(parts, axes, strict=True)):
            count, circle = len(nodes), isinstance(part, Circle)
            step = (
                part.length / count
                if isinstance(part, Circle)
                else (nodes[-1] - nodes[0]) / max(count - 1, 1)
            )
            if not np.allclose(
                nodes, nodes[0] + step * np.arange(count), rtol=0, atol=1e-9 * abs(step)
            ):
                raise ValueError(
                    f"a Convolution needs equispaced nodes, {_GIVEN} are not so in dimension {d} "
                    f"({part})"
                )
            self.steps.append(float(step))
            circles.append(circle)
        self.circles = tuple(circles)
        self.sizes = tuple(n if c else 2 * n - 1 for n, c in zip(self.counts, circles, strict=True))
        self.shifts = tuple(0 if c else n - 1 for n, c in zip(self.counts, circles, strict=True))
        self.lengths: tuple[int, ...] = tuple(
            n if c else scipy.fft.next_fast_len(2 * n - 1, real=True)
            for n, c in zip(self.counts, circles, strict=True)
        )
        self._kept: tuple[tuple[Array, Array], ...] = ()

    @cached_property
    def differences(self) -> Grid:
        """The differences as nodes, their measures as weights."""
        axes = []
        for size, step, shift, circle in zip(
            self.sizes, self.steps, self.shifts, self.circles, strict=True
        ):
            place = np.arange(size) - shift
            axes.append(step * np.where(circle & (2 * place >= size), place - size, place))
        nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
        spectrum = self.forth(self.grid.weights[:, None])
        measure = self.correlation(spectrum * spectrum.conj())
        measure[measure < 1e-12 * measure.max()] = (
            0.0  # rounding of the FFT; true ones are far larger
        )
        parts = [
            part if isinstance(part, Circle) else Interval(-part.measure, part.measure)
            for part in factors(self.grid.domain)
        ]
        return Grid(Product(tuple(parts)) if parts[1:] else parts[0], nodes, measure)

    @cached_property
    def pairs(self) -> Array:
        """(N, N): which difference y_i - y_j is."""
        found = np.zeros((len(self.grid), len(self.grid)), dtype=np.int64)
        places = np.indices(self.counts).reshape(len(self.counts), -1)
        for place, size, shift in zip(places, self.sizes, self.shifts, strict=True):
            found = found * size + (place[:, None] - place[None, :] + shift) % size
        return found

    @cached_property
    def places(self) -> Array:
        """Which difference each of the numbers that are transformed is; D for none.

        The difference 0 stands first and -h last, so that products need no shift.
        """
        found = np.arange(len(self.differences)).reshape(self.sizes)
        more = [(0, extra) for extra in np.subtract(self.lengths, self.sizes)]
        found = np.pad(found, more, constant_values=found.size)
        return np.roll(found, [-shift for shift in self.shifts], range(found.ndim))

    def transform(self, b: Array) -> Array:
        """The FFT of k with an axis for samples, kept for the last values of the block.

        Values are compared, not identities, since arrays may be changed and the same layer may come
        as another view; an array that owns its memory and is read-only, as `evaluate` gives it, is
        known by identity.
        """
        kept = self._kept
        for known, spectrum in kept:
            alike = type(known) is type(b) and (known.device, known.shape) == (b.device, b.shape)
            if known is b or (alike and bool(namespace(b).all(known == b))):
                return spectrum
        xp = namespace(b)
        if any(self.shifts):
            padded = xp.concat([b, xp.zeros_like(b[:1])])
            spread = xp.take(padded, like(self.places.ravel(), b), axis=0)
        else:
            spread = b
        spectrum = self._fft(xp, xp.reshape(spread, (*self.lengths, 1)))
        frozen = type(b) is np.ndarray and b.base is None and not b.flags.writeable
        self._kept = ((b if frozen else xp.asarray(b, copy=True), spectrum), *kept)[
            :_KEPT
        ]  # threads see old or new
        return spectrum

    def forth(self, x: Array) -> Array:
        """The FFT of (N, M) in each dimension, padded on intervals."""
        xp = namespace(x)
        return self._fft(xp, xp.reshape(x, (*self.counts, x.shape[1])))

    def back(self, spectrum: Array) -> Array:
        """(N, M) from the FFT, which is used up, of values that begin at the first node."""
        return self._flat(self._inverse(spectrum), self.counts)

    def correlation(self, spectrum: Array) -> Array:
        """(D,) at the differences, from the FFT, which is used up, of a correlation, (..., 1)."""
        values = self._inverse(spectrum)
        if any(self.shifts):
            values = namespace(values).roll(values, self.shifts, axis=tuple(range(len(self.sizes))))
        return self._flat(values, self.sizes)[:, 0]

    def _fft(self, xp: ModuleType, x: Array) -> Array:
        axes = tuple(range(len(self.lengths)))
        if xp is not np:
            return xp.fft.rfftn(x, s=self.lengths, axes=axes)
        many = len(axes) > 1
        return np.asarray(
            scipy.fft.rfftn(x, self.lengths, axes)
            if many
            else scipy.fft.rfft(x, self.lengths[0], 0)
        )

    def _inverse(self, spectrum: Array) -> Array:
        xp, axes = namespace(spectrum), tuple(range(len(self.lengths)))
        if xp is not np:
            return xp.fft.irfftn(spectrum, s=self.lengths, axes=axes)
        if len(axes) > 1:
            return np.asarray(scipy.fft.irfftn(spectrum, self.lengths, axes, overwrite_x=True))
        return np.asarray(scipy.fft.irfft(spectrum, self.lengths[0], 0, overwrite_x=True))

    def _flat(self, values: Array, sizes: tuple[int, ...]) -> Array:
        cut = values[(*(slice(size) for size in sizes), slice(None))]
        return namespace(values).reshape(cut, (prod(sizes), values.shape[-1]))


_GIVEN = "such as those of periodic, midpoint and trapezoid; the nodes given"
