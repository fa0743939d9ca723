"""Where cotangents are collected: in the arrays that a caller gives, or in sums over groups of
blocks of samples, which are added in an order that does not depend on who computes what when.
"""

from collections.abc import Mapping
from threading import Lock

import numpy as np

from continuum.arrays import Array, is_numpy
from continuum.controls import Control

from ..run.workspace import Spares, Workspace


def check_out(control: Control, out: Control | None) -> None:
    """Raises TypeError, ValueError if a gradient at this control cannot be written into `out`."""
    if out is None:
        return
    control.space.check("out", out)
    for name, x in control.items():
        y, shape = out[name], tuple(x.shape)
        if tuple(y.shape) != shape:
            raise ValueError(f"out has a {name} of shape {tuple(y.shape)}, expected {shape}")
        if not isinstance(y, np.ndarray):
            continue
        if not y.flags.writeable:
            raise ValueError(f"out must have arrays that can be written: its {name} cannot")
        if y.dtype != np.float64:
            raise ValueError(f"out must have arrays of float64: its {name} is of {y.dtype}")
        if any(np.shares_memory(y, z) for z in control.values() if isinstance(z, np.ndarray)):
            raise ValueError(f"out must have arrays of its own: its {name} is the control's")
        others = [z for n, z in out.items() if n != name and isinstance(z, np.ndarray)]
        if any(np.shares_memory(y, z) for z in others):
            raise ValueError(f"out must have an array for each block: its {name} is another's too")


def can_collect(out: Control, initial: Array) -> bool:
    """True if sweeps from these states can write into the arrays of `out` themselves."""
    if not is_numpy(initial, *out.values()):
        return False
    return all(x.flags.c_contiguous for x in out.values())


class InOrder:
    """Cotangents of groups of blocks, added one group after the other to those of the first, which
    are `total` itself.

    spares : where the memory of a group comes from, and goes when it was added; where that is of
        another dtype than `total`, the first group has its own too
    """

    def __init__(self, total: dict[str, Array], spares: Spares) -> None:
        self._apart = spares.dtype != "float64"
        self._total, self._spares = total, spares
        self._lock, self._next = Lock(), 0
        self._waiting: dict[int, tuple[Mapping[str, Array], Workspace]] = {}

    def begin(self, group: int) -> tuple[dict[str, Array], Workspace]:
        """Where a group collects, not filled, and the memory it may use."""
        work = self._spares.take()
        if group == 0 and not self._apart:
            return self._total, work
        return {n: work.array(f"bar of {n}", *x.shape) for n, x in self._total.items()}, work

    def end(self, group: int, bars: Mapping[str, Array], work: Workspace) -> None:
        """A group is done: adds it, and those that waited for it."""
        with self._lock:
            self._waiting[group] = bars, work
            while self._next in self._waiting:
                bars, work = self._waiting.pop(self._next)
                for name, x in self._total.items():
                    if self._next > 0:
                        x += bars[name]
                    elif self._apart:
                        x[...] = bars[name]
                self._spares.give(work)
                self._next += 1
