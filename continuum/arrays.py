"""Which array library the numbers live in.

Networks, kernels, spaces, steppers and adjoints are written once, against the Python array API
standard, and run on whatever arrays they are given: NumPy, CuPy, array-api-strict.  Grids and meshes
hold NumPy arrays; `like` carries such an array over to where the data are.
"""

from types import ModuleType
from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray
"""A float64 array of any library that follows the array API standard (NumPy's, for type checkers)."""


def namespace(array: Array) -> ModuleType:
    """The array library that `array` belongs to: the module numpy for NumPy arrays."""
    return np if type(array) is np.ndarray else array.__array_namespace__()


def is_numpy(*arrays: Array) -> bool:
    """True if all arrays are plain NumPy arrays of float64, the ones compiled loops accept."""
    return all(type(a) is np.ndarray and a.dtype == np.float64 for a in arrays)


def like(host: Array, example: Array) -> Array:
    """The NumPy array `host` in the library, and on the device, of `example`; itself for NumPy."""
    if type(example) is np.ndarray:
        return host
    return namespace(example).asarray(host, device=example.device)


def to_host(array: Array) -> Array:
    """A NumPy array with the same numbers."""
    to_host = getattr(array, "get", None)  # CuPy's name for it
    return np.asarray(array) if to_host is None else to_host()
