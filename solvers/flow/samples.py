"""Samples in blocks: how many of them go through all steps together.

Sums over blocks are made in an order that the problem alone decides, never the number of threads:
several consecutive blocks make a group, which has a sum of its own, and groups are added in order.
"""

from itertools import pairwise

import numpy as np

_LEAST, _MOST = 128, 256
"""Samples of a block: as few as products take at full speed.  These are the more, the larger the
matrices, which each block reads again; and 256 lose 4% there."""
_WORK = 131_072
"""Entries of the states of all stages of a block: what is done besides takes 100 microseconds."""
_GROUPS, _BYTES = 8, 2**28
"""At most so many groups, and bytes of their sums besides the first; but two where there are two
blocks."""


def blocks(samples: int, units: int, stages: int) -> list[slice]:
    """Consecutive blocks, of which none has more than one sample more than another.

    stages : how many stages the whole run has
    """
    size = max(_LEAST, min(2 * units, _MOST), _WORK // (units * stages))
    return _parts(samples, -(-samples // size))


def groups(count: int, entries: int) -> list[slice]:
    """Groups of so many blocks, where each sum has so many entries."""
    most = min(_GROUPS, max(2, 1 + _BYTES // (8 * max(1, entries))))
    return _parts(count, min(count, most))


def _parts(whole: int, count: int) -> list[slice]:
    ends = np.linspace(0, whole, count + 1).round().astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(ends)]
