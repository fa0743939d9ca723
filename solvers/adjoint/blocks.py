"""Sums over blocks of samples, in an order that does not depend on who computes what when."""

from collections.abc import Mapping
from threading import Lock

from continuum.arrays import Array

from ..run.workspace import Spares, Workspace


class InOrder:
    """Cotangents of groups of blocks, added one group after the other to those of the first, which
    are `total` itself.

    spares : where the memory of a group goes when it was added
    """

    def __init__(self, total: Mapping[str, Array], spares: Spares) -> None:
        self._total, self._spares = total, spares
        self._lock, self._next = Lock(), 0
        self._waiting: dict[int, tuple[Mapping[str, Array], Workspace]] = {}

    def bars(self, group: int, work: Workspace) -> dict[str, Array]:
        """Where a group collects; nothing is filled."""
        if group == 0:
            return dict(self._total)
        return {name: work.array(f"bar of {name}", *x.shape) for name, x in self._total.items()}

    def put(self, group: int, bars: Mapping[str, Array], work: Workspace) -> None:
        """A group is done: adds it, and those that waited for it."""
        with self._lock:
            self._waiting[group] = bars, work
            while self._next in self._waiting:
                bars, work = self._waiting.pop(self._next)
                if self._next > 0:
                    for name, x in self._total.items():
                        x += bars[name]
                self._spares.give(work)
                self._next += 1
