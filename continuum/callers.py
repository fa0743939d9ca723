"""Where a user called the package, for warnings that should point there."""

import sys

_OWN = ("continuum", "solvers", "studies")


def callers_level() -> int:
    """The `stacklevel` with which a warning of the function that asks points to the first frame
    that is not of these packages.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in _OWN:
        level, frame = level + 1, frame.f_back
    return level
