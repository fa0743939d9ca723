"""Samples in blocks: how many of them go through all steps together.

Sums over blocks are made in an order that the problem alone decides, never the number of threads:
several consecutive blocks make a group, whose sum is one of its own, and groups are added in order.
"""

from itertools import pairwise

import numpy as np

_LEAST, _MOST = 128, 512
"""Samples of a block: below, the products' own speed falls; above, nothing is gained."""
_ENTRIES = 65_536
"""Entries of a state of one block: as many as stay in a processor's second cache with all that a
step needs besides."""
_GROUPS, _BYTES = 8, 2**28
"""At most so many groups, and bytes for their sums; but two groups where there are two blocks."""


def blocks(samples: int, units: int) -> list[slice]:
    """Consecutive blocks, of which none has more than one sample more than another."""
    size = min(max(_ENTRIES // units, _LEAST), _MOST)
    count = -(-samples // size)
    return _parts(samples, count)


def groups(count: int, entries: int) -> list[slice]:
    """Groups of so many blocks, where each sum has so many entries."""
    most = min(_GROUPS, max(2, _BYTES // (8 * max(1, entries))))
    return _parts(count, min(count, most))


def _parts(whole: int, count: int) -> list[slice]:
    ends = np.linspace(0, whole, count + 1).round().astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(ends)]
