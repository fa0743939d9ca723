"""Compiled leaf loops: the decorator they share, and the activations they can evaluate.

A compiled loop lives beside its array-API reference, in the file of its idea, and a test holds the
two together.  Here are the decorator `compiled` (cached on disk, IEEE division, no reassociation)
and the row kernels of the activations of `activations.py`, each of which has a code and a
parameter (the slope of leaky_relu, the alpha of elu, 0 for the others):

    activate_row  s <- sigma(s),      slope_row  r <- sigma'(u) r,
    bend_row      dr <- dr + sigma''(u) du r.

The last two read sigma(u) for the codes in FROM_VALUE, which a loop has stored anyway, and u for
the others.  From values, sigma' of tanh and sigmoid has an error of 3e-16 of its maximum, so 1e-12
relative while |u| < 4.5 (tanh) or 9 (sigmoid); all other kernels are good to 1e-12 relative.  A
code that is not in the list raises ValueError.
"""

import hashlib
import inspect
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numba
from numba import types
from numba.core import cgutils
from numba.core.dispatcher import Dispatcher
from numba.extending import intrinsic

from . import elementary
from .code_cache import keep_on_disk
from .elementary import sigmoid, tanh

TANH, IDENTITY, RELU, SIGMOID, LEAKY_RELU, ELU, ARCTAN, SOFTPLUS, GELU = range(9)
FROM_VALUE = frozenset({TANH, IDENTITY, RELU, SIGMOID, LEAKY_RELU})

P = ParamSpec("P")
R = TypeVar("R")


@cache
def _hash(files: tuple[str, ...]) -> str:
    return hashlib.sha256(b"".join(Path(f).read_bytes() for f in files)).hexdigest()[:8]


def _is_compiled(x: object) -> bool:
    return isinstance(x, Dispatcher)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compiles a leaf loop at its first call and keeps the machine code on disk, if it can.

    Numba renews what it keeps when the file of the loop changes, but not when another one does
    whose functions are inlined there: so the hash of this file, and of those of all compiled
    functions that the loop's file imports, is part of the name under which it is kept.
    """
    files = {inspect.getfile(g.py_func) for g in function.__globals__.values() if _is_compiled(g)}
    files = sorted(files - {inspect.getfile(function)} | {__file__, elementary.__file__})
    function.__qualname__ = f"{function.__qualname__}_{_hash(tuple(files))}"
    dispatcher = numba.njit(error_model="numpy", nogil=True)(function)
    keep_on_disk(dispatcher, function)
    return dispatcher


inlined = numba.njit(error_model="numpy", forceinline=True)
"""For helpers of loops whose calls cost more than they do: inlined as machine code."""
unfolded = numba.njit(error_model="numpy", inline="always")
"""For those that take whole tuples of arrays: their lines are put into those of the caller."""
summing = numba.njit(error_model="numpy", forceinline=True, fastmath={"contract", "nsz", "reassoc"})
"""For sums whose order is free, so that they run in vectors."""


@inlined
def like_in(x, value):
    """The value as a number of the type of x, an array: products with entries of x stay in it."""
    return x.dtype.type(value)


@intrinsic
def _borrowed(context, value):
    """The same array, or tuple of arrays, without a count of references, which costs more than
    small products do.  Only of arguments, which their caller keeps alive.
    """

    def bare(context, builder, kind, array):
        view = context.make_array(kind)(context, builder, value=array)
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    def generate(context, builder, signature, arguments):
        kind, given = signature.args[0], arguments[0]
        if isinstance(kind, types.Array):
            return bare(context, builder, kind, given)
        for index, part in enumerate(kind):
            array = bare(context, builder, part, builder.extract_value(given, index))
            given = builder.insert_value(given, array, index)
        return given

    return value(value), generate


borrowed: Any = _borrowed


_ROOT_HALF, _PHI0 = math.sqrt(0.5), 1.0 / math.sqrt(2.0 * math.pi)


@inlined
def _normal(s):
    """(Phi(s), phi(s)): the distribution function of the normal law and its density."""
    return 0.5 * math.erfc(-_ROOT_HALF * s), _PHI0 * math.exp(-0.5 * s * s)


@numba.njit(error_model="numpy", forceinline=True)
def activate_row(code, parameter, s):
    """s <- sigma(s), in place, for a contiguous row s and the activation with this code."""
    parameter, zero = like_in(s, parameter), like_in(s, 0.0)
    if code == TANH:
        for m in range(s.size):
            s[m] = tanh(s[m])
    elif code == RELU:
        for m in range(s.size):
            s[m] = zero if s[m] <= zero else s[m]
    elif code == SIGMOID:
        for m in range(s.size):
            s[m] = sigmoid(s[m])
    elif code == LEAKY_RELU:
        for m in range(s.size):
            s[m] = parameter * s[m] if s[m] <= zero else s[m]
    elif code == ELU:
        for m in range(s.size):
            s[m] = parameter * math.expm1(s[m]) if s[m] <= zero else s[m]
    elif code == ARCTAN:
        for m in range(s.size):
            s[m] = math.atan(s[m])
    elif code == SOFTPLUS:
        for m in range(s.size):
            s[m] = (zero if s[m] <= zero else s[m]) + math.log1p(math.exp(-abs(s[m])))
    elif code == GELU:
        for m in range(s.size):
            s[m] = s[m] * _normal(s[m])[0] if not s[m] < -40.0 else 0.0
    elif code != IDENTITY:
        raise ValueError("no activation has this code")


@numba.njit(error_model="numpy", forceinline=True)
def slope_row(code, parameter, at, r):
    """r <- sigma'(u) r, in place; `at` is k = sigma(u) for codes in FROM_VALUE, u for others.

    From k: 1 - k^2 (tanh), 1, [k > 0], k (1 - k) (sigmoid).
    """
    parameter, zero, one = like_in(r, parameter), like_in(r, 0.0), like_in(r, 1.0)
    if code == TANH:
        for m in range(r.size):
            r[m] *= (one - at[m]) * (one + at[m])
    elif code == RELU or code == LEAKY_RELU:
        for m in range(r.size):
            r[m] *= one if at[m] > zero else parameter
    elif code == SIGMOID:
        for m in range(r.size):
            r[m] *= at[m] * (one - at[m])
    elif code == ELU:
        for m in range(r.size):
            r[m] *= parameter * math.exp(at[m]) if at[m] <= zero else one
    elif code == ARCTAN:
        for m in range(r.size):
            r[m] *= one / (one + at[m] * at[m])
    elif code == SOFTPLUS:
        for m in range(r.size):
            r[m] *= sigmoid(at[m])
    elif code == GELU:
        for m in range(r.size):
            below, density = _normal(min(max(at[m], -40.0), 40.0))
            r[m] *= below + min(max(at[m], -40.0), 40.0) * density
    elif code != IDENTITY:
        raise ValueError("no activation has this code")


@numba.njit(error_model="numpy", forceinline=True)
def bend_row(code, parameter, at, du, r, dr):
    """dr <- dr + sigma''(u) du r, in place; `at` as in slope_row.

    From k: -2 k (1 - k^2) (tanh), 0, 0, k (1 - k) (1 - 2 k) (sigmoid).
    """
    if code == TANH:
        for m in range(r.size):
            dr[m] -= 2.0 * at[m] * (1.0 - at[m]) * (1.0 + at[m]) * du[m] * r[m]
    elif code == SIGMOID:
        for m in range(r.size):
            dr[m] += at[m] * (1.0 - at[m]) * (1.0 - 2.0 * at[m]) * du[m] * r[m]
    elif code == ELU:
        for m in range(r.size):
            dr[m] += (parameter * math.exp(at[m]) if at[m] <= 0.0 else 0.0) * du[m] * r[m]
    elif code == ARCTAN:
        for m in range(r.size):
            slope = 1.0 / (1.0 + at[m] * at[m])
            dr[m] -= 2.0 * at[m] * slope * slope * du[m] * r[m]
    elif code == SOFTPLUS:
        for m in range(r.size):
            dr[m] += sigmoid(at[m]) * sigmoid(-at[m]) * du[m] * r[m]
    elif code == GELU:
        for m in range(r.size):
            near = min(max(at[m], -40.0), 40.0)
            dr[m] += (2.0 - near * near) * _normal(near)[1] * du[m] * r[m]
    elif code != IDENTITY and code != RELU and code != LEAKY_RELU:
        raise ValueError("no activation has this code")
