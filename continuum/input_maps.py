"""Initial states as a function of blocks that are trained with the control: f(0) = state(c).

Filters, or any first layer that changes the width, come before the differential equation; their
gradient is their adjoint applied to the costate at t = 0.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from .arrays import Array
from .blocks import Block
from .checks import check_array, check_count, store
from .doors import checked
from .networks.network import Values

FILTERS = "initial.filters"


class InputMap(ABC):
    """A map from static blocks, called "initial. ...", to initial states (N, M), with derivatives.

    Products: (f, g) = sum_im f_im g_im on states, without weights of units or samples, and the
    block's own weights on blocks; so (jvp(c, dc), q) = sum over blocks of (dc, vjp(c, q)).
    """

    @property
    @abstractmethod
    def samples(self) -> int:
        """M."""

    @abstractmethod
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that it reads, all of them static."""

    @abstractmethod
    def state(self, c: Values) -> Array:
        """The initial states: (N, M)."""

    @abstractmethod
    def jvp(self, c: Values, dc: Values) -> Array:
        """The derivative of `state` in the direction dc: (N, M)."""

    @abstractmethod
    def vjp(self, c: Values, q: Array) -> dict[str, Array]:
        """The adjoint of q (N, M), by block."""

    @abstractmethod
    def vjp_derivative(self, c: Values, q: Array, dc: Values, dq: Array) -> dict[str, Array]:
        """The derivative of `vjp` at (c, q) in the direction (dc, dq)."""

    @abstractmethod
    def batch(self, indices: Sequence[int] | Array) -> Self:
        """The map for some of the samples."""


@checked
@dataclass(frozen=True, eq=False)
class FilterBank(InputMap):
    """f_(k, a) = max over b in window a of max((K_k * image)_b, 0): responses of K filters, ReLU,
    maximum over windows that do not overlap.

    (K_k * image)_b = sum_ij K_k,ij image_(b + (i, j)), at places b where the filter lies inside the
    image. One block "initial.filters" (filters, size, size). The units are those of one filter
    after the other, row by row, the whole `copies` times over, as a DirectSum of so many networks
    on the same features wants it: 8 x 8 images, 3 x 3 filters and pool=2 give 9 units per filter.
    The map is piecewise linear: its second derivative is 0 where it has one. Where responses of a
    window are equal the first counts, and the derivative of ReLU at 0 is 0.

    images : (M, H, W)
    filters, size, pool, copies : how many filters, the sides of a filter and a window, copies; >= 1
    raises ValueError, TypeError for other numbers, a filter larger than the images, or windows that
        do not fill the responses
    """

    images: Array
    filters: int = 16
    size: int = 3
    pool: int = 2
    copies: int = 1
    _patches: Array = field(init=False, repr=False)
    """(entries of a filter, places in a window, windows, M)."""

    def __post_init__(self) -> None:
        store(self, check_count, "filters", "size", "pool", "copies")
        images = check_array("images", self.images, ("M", "H", "W"))
        object.__setattr__(self, "images", images)
        height, width = (side - self.size + 1 for side in images.shape[1:])
        if min(height, width) < 1:
            raise ValueError(
                f"size must be at most the sides of the images, {images.shape[1:]}, got {self.size}"
            )
        if height % self.pool or width % self.pool:
            raise ValueError(
                f"pool must divide the sides of the responses, {height} x {width}, got {self.pool}"
            )
        rows, columns = height // self.pool, width // self.pool
        seen = np.lib.stride_tricks.sliding_window_view(images, (self.size,) * 2, axis=(1, 2))
        seen = seen.reshape(-1, rows, self.pool, columns, self.pool, self.size**2)
        patches = seen.transpose(5, 2, 4, 1, 3, 0)
        shape = self.size**2, self.pool**2, rows * columns, len(images)
        object.__setattr__(self, "_patches", np.ascontiguousarray(patches).reshape(shape))

    def __repr__(self) -> str:
        return (
            f"FilterBank({self.samples} images, filters={self.filters}, size={self.size}, "
            f"pool={self.pool}, copies={self.copies})"
        )

    @property
    def samples(self) -> int:
        return len(self.images)

    def blocks(self) -> tuple[Block, ...]:
        shape = self.filters, self.size, self.size
        return (Block(FILTERS, shape, "static", np.ones(shape)),)

    def batch(self, indices: Sequence[int] | Array) -> Self:
        some = copy(self)
        object.__setattr__(some, "images", self.images[indices])
        object.__setattr__(some, "_patches", self._patches[..., indices])
        return some

    def state(self, c: Values) -> Array:
        best = np.max(self._responses(c[FILTERS]), axis=1)
        return self._copied(np.maximum(best, 0.0))

    def jvp(self, c: Values, dc: Values) -> Array:
        best, first = self._best(c)
        change = self._responses(dc[FILTERS]) if FILTERS in dc else np.zeros(first.shape)
        along = np.take_along_axis(change, first, axis=1)[:, 0]
        return self._copied(np.where(best > 0.0, along, 0.0))

    def vjp(self, c: Values, q: Array) -> dict[str, Array]:
        best, first = self._best(c)
        own = np.sum(q.reshape(self.copies, *best.shape), axis=0)
        back = np.zeros((self.filters, *self._patches.shape[1:]))
        np.put_along_axis(back, first, np.where(best > 0.0, own, 0.0)[:, None], axis=1)
        found = back.reshape(self.filters, -1) @ self._flat.T
        return {FILTERS: found.reshape(self.filters, self.size, self.size)}

    def vjp_derivative(self, c: Values, q: Array, dc: Values, dq: Array) -> dict[str, Array]:
        return self.vjp(c, dq)

    @property
    def _flat(self) -> Array:
        """(entries of a filter, places, windows and samples)."""
        return self._patches.reshape(self.size**2, -1)

    def _responses(self, filters: Array) -> Array:
        """(filters, places in a window, windows, M)."""
        found = filters.reshape(self.filters, -1) @ self._flat
        return found.reshape(self.filters, *self._patches.shape[1:])

    def _best(self, c: Values) -> tuple[Array, Array]:
        """The largest response of each window (filters, windows, M), and its place, with an axis of
        length 1 for the places.
        """
        z = self._responses(c[FILTERS])
        first = np.argmax(z, axis=1)[:, None]
        return np.take_along_axis(z, first, axis=1)[:, 0], first

    def _copied(self, features: Array) -> Array:
        """(N, M) of (filters, windows, M)."""
        return np.tile(features.reshape(-1, features.shape[-1]), (self.copies, 1))
