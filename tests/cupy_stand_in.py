"""A module that behaves like CuPy 14 where CuPy departs from NumPy and from the array API standard.

Its arrays do not name their library, refuse NumPy arrays and implicit conversion, and live on a
device that cannot be hashed; its functions take no `device`.  It has the names that CuPy 14.2 was
seen to have, as far as they are used.
"""

from types import ModuleType

import numpy as np

NAMES = (
    "abs",
    "argmax",
    "all",
    "astype",
    "atan",
    "broadcast_to",
    "clip",
    "concat",
    "conj",
    "exp",
    "expm1",
    "float64",
    "hypot",
    "isfinite",
    "log",
    "log1p",
    "matrix_transpose",
    "max",
    "maximum",
    "minimum",
    "ones_like",
    "permute_dims",
    "repeat",
    "reshape",
    "roll",
    "sign",
    "sqrt",
    "stack",
    "sum",
    "take",
    "tanh",
    "tensordot",
    "tile",
    "where",
    "zeros_like",
)
FFT, LINALG = ["rfftn", "irfftn"], ["solve"]


class Device:
    """Where arrays are; only one can be current."""

    __hash__ = None

    def __eq__(self, other):
        return isinstance(other, Device)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


class ndarray:
    """NumPy's array, shut in."""

    __module__ = "cupy"

    def __init__(self, values):
        self._values = values

    shape = property(lambda self: self._values.shape)
    dtype = property(lambda self: self._values.dtype)
    T = property(lambda self: wrap(self._values.T))
    device = property(lambda self: Device())

    def get(self):
        return self._values.copy()

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return wrap(getattr(ufunc, method)(*(unwrap(x) for x in inputs), **kwargs))

    def __setitem__(self, key, value):
        self._values[key] = unwrap(value)


def wrap(x):
    return ndarray(np.asarray(x)) if isinstance(x, np.ndarray | np.generic) else x


def unwrap(x):
    if isinstance(x, ndarray):
        return x._values
    if isinstance(x, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return type(x)(unwrap(y) for y in x) if isinstance(x, list | tuple) else x


def _operator(name):
    def call(self, *others):
        return wrap(getattr(self._values, name)(*(unwrap(x) for x in others)))

    return call


PAIRS = ("add", "sub", "mul", "truediv", "pow", "matmul")
ALONE = ("neg", "abs", "getitem", "lt", "le", "gt", "ge", "eq")
for _name in (*PAIRS, *(f"r{name}" for name in PAIRS), *ALONE):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
ndarray.__bool__ = lambda self: bool(self._values)
ndarray.__float__ = lambda self: float(self._values)


def _imul(self, other):
    self._values *= unwrap(other)
    return self


def _iadd(self, other):
    self._values += unwrap(other)
    return self


ndarray.__imul__, ndarray.__iadd__ = _imul, _iadd


def _function(of, name):
    found = getattr(of, name)
    if isinstance(found, type):
        return found

    def call(*args, **kwargs):
        if "device" in kwargs:
            raise TypeError(f"{name}() got an unexpected keyword argument 'device'")
        return wrap(
            found(*(unwrap(x) for x in args), **{key: unwrap(x) for key, x in kwargs.items()})
        )

    return call


def make(count=1, error=None):
    """The module `cupy` with `count` devices, or one whose asking for them raises `error`."""

    def devices():
        if error is not None:
            raise error
        return count

    def asarray(x, *, copy=None):
        return (
            ndarray(np.array(x))
            if isinstance(x, np.ndarray)
            else x
            if not copy
            else ndarray(x.get())
        )

    cupy = ModuleType("cupy")
    cupy.ndarray, cupy.asarray, cupy.__version__ = ndarray, asarray, "14 (stand-in)"
    cupy.cuda, cupy.fft, cupy.linalg = (
        ModuleType(f"cupy.{name}") for name in ("cuda", "fft", "linalg")
    )
    cupy.cuda.runtime = ModuleType("cupy.cuda.runtime")
    cupy.cuda.runtime.getDeviceCount = devices
    for module, of, names in (
        (cupy, np, NAMES),
        (cupy.fft, np.fft, FFT),
        (cupy.linalg, np.linalg, LINALG),
    ):
        for name in names:
            setattr(module, name, _function(of, name))
    return cupy
