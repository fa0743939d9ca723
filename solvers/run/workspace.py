"""Memory that sweeps use again: fresh pages cost more than what is computed in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

import numpy as np

from continuum.arrays import Array


class Workspace:
    """Arrays by name, which hold whatever was written there last: what is taken under a name
    shares its memory with what was taken under it before.

    dtype : of all of them
    """

    def __init__(self, dtype: str = "float64") -> None:
        self.dtype, self._flat = dtype, dict[str, Array]()
        self._last = dict[str, Array]()
        """The array last taken under each name, which is likely to be asked for again."""

    def array(self, name: str, *shape: int) -> Array:
        """An array of this shape, not filled."""
        last = self._last.get(name)
        if last is not None and last.shape == shape:
            return last
        size, flat = prod(shape), self._flat.get(name)
        if flat is None or flat.size < size:
            flat = self._flat[name] = np.empty(size, self.dtype)
        last = self._last[name] = flat[:size].reshape(shape)
        return last

    def zeros(self, name: str, *shape: int) -> Array:
        """The same, filled with zeros."""
        found = self.array(name, *shape)
        found[...] = 0.0
        return found


class Spares:
    """Workspaces that are not in use.  Each is lent to one thread at a time, so there are as many
    as were ever needed at once.  Copies and pickles start with none.
    """

    def __init__(self, dtype: str = "float64") -> None:
        self.dtype, self._free = dtype, list[Workspace]()

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return Spares, (self.dtype,)

    def take(self) -> Workspace:
        """One that nobody else uses until it is given back."""
        try:
            return self._free.pop()
        except IndexError:
            return Workspace(self.dtype)

    def give(self, work: Workspace) -> None:
        """Takes one back."""
        self._free.append(work)

    @contextmanager
    def one(self) -> Iterator[Workspace]:
        """One for the length of a `with` block."""
        work = self.take()
        try:
            yield work
        finally:
            self.give(work)
