"""Which array library the numbers live in, and on which device.

Networks, kernels, spaces, steppers and adjoints are written once, against the Python array API
standard, and run on whatever arrays they are given: NumPy, CuPy, array-api-strict.  Grids, meshes
and functions give NumPy arrays; `like` carries them over to where the state is.

CuPy 14 has the standard's functions under their names, but its arrays do not name their library,
its functions take no `device`, and its special functions have a module of their own: all three are
met here.
"""

import importlib
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Literal, TypeAlias

import numpy as np
import scipy

from .callers import callers_level

Array: TypeAlias = np.ndarray
"""A float64 array of any library that follows the array API standard (NumPy's, for type checkers).
"""

Device = Literal["cpu", "gpu"]

_DOUBLE = np.dtype(np.float64)


def is_array(x: object) -> bool:
    """True for the array of a library, False for lists, numbers and whatever else is no array."""
    return hasattr(x, "__array_namespace__") or _is_cupy(x)


def namespace(array: Array) -> ModuleType:
    """The array library that `array` belongs to: the module numpy for NumPy arrays and numbers."""
    if type(array) is np.ndarray or isinstance(array, float | int | np.generic):
        return np
    return sys.modules["cupy"] if _is_cupy(array) else array.__array_namespace__()


def is_numpy(*arrays: Array) -> bool:
    """True if all arrays are plain NumPy arrays of float64, the ones compiled loops accept."""
    return all(type(a) is np.ndarray and a.dtype == _DOUBLE for a in arrays)


def like(array: Array, example: Array) -> Array:
    """`array` in the library, and on the device, of `example`; itself, not a copy, if it is there
    already.
    """
    if type(example) is np.ndarray:
        return array if type(array) is np.ndarray else to_host(array)
    xp = namespace(example)
    if type(array) is type(example) and array.device == example.device:
        return array
    if _is_cupy(example):
        with example.device:  # type: ignore[attr-defined]
            return xp.asarray(to_host(array))
    return xp.asarray(to_host(array), device=example.device)


def to_host(array: Array) -> Array:
    """A NumPy array with the same numbers."""
    if _is_cupy(array):
        return array.get()  # type: ignore[attr-defined]
    if isinstance(array, np.ndarray | np.generic) or not is_array(array):
        return np.asarray(array)
    return np.from_dlpack(array, device="cpu")


def columns(array: Array, chosen: Array) -> Array:
    """array[:, chosen], chosen NumPy's integers, row after row in memory."""
    if type(array) is np.ndarray:
        return np.ascontiguousarray(array[:, chosen])
    return namespace(array).take(array, like(chosen, array), axis=1)


def special(name: str, array: Array) -> Array:
    """The function of scipy.special of this name: CuPy's for CuPy arrays, for others by way of the
    host.

    The array API standard has no error function, and none of its others gives one to full accuracy.
    """
    if _is_cupy(array):
        functions = importlib.import_module("cupyx.scipy.special")
        if hasattr(functions, name):
            return getattr(functions, name)(array)
    values = getattr(scipy.special, name)(to_host(array))
    return values if namespace(array) is np else like(np.asarray(values), array)


def find_gpu() -> tuple[Callable[[Array], Array] | None, str]:
    """(what carries a NumPy array to the GPU, what was found) if CuPy computes on one, else (None,
    why not).
    """
    try:
        import cupy  # type: ignore[import-not-found]  # noqa: PLC0415 - an optional dependency
    except ImportError:
        return None, "CuPy is not installed"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        if count:
            float(cupy.asarray(np.ones(1))[0] + 1.0)  # so that missing CUDA libraries are met here
    except (
        Exception
    ) as error:  # CuPy has many kinds, and all of them mean that there is no GPU to use
        return None, f"CuPy cannot use a GPU: {' '.join(str(error).split())[:200]}"
    if not count:
        return None, "CuPy finds no GPU"
    return cupy.asarray, f"{count} CUDA device(s), CuPy {cupy.__version__}"


def on_device(array: Array, device: Device | None) -> Array:
    """`array` where it is (None), as a NumPy array ("cpu"), or as a CuPy array ("gpu").

    Where there is no GPU, "gpu" gives a NumPy array and one RuntimeWarning that says why.
    """
    if device is None or (device == "gpu" and _is_cupy(array)):
        return array
    if device == "cpu":
        return to_host(array)
    carry, found = find_gpu()
    if carry is None:
        text = f"device='gpu': {found}; the CPU is used"
        warnings.warn(text, RuntimeWarning, stacklevel=callers_level())
        return to_host(array)
    return carry(to_host(array))


def _is_cupy(x: object) -> bool:
    return type(x).__module__.partition(".")[0] == "cupy"
