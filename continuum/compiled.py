"""Compiled leaf loops: the decorator they share, and the activations they can evaluate.

A compiled loop lives beside its array-API reference, in the file of its idea, and a test holds the
two together.  Here are the decorator `compiled` (cached on disk, IEEE division, no reassociation)
and the row kernels `activate_row` and `slope_row` for the activations of `activations.py` that have
a code.
"""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .code_cache import keep_on_disk

TANH, IDENTITY, RELU, SIGMOID = range(4)

P = ParamSpec("P")
R = TypeVar("R")

_OWN_SOURCE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compiles a leaf loop at its first call and keeps the machine code on disk, if it can.

    Numba renews what it keeps when the file of the loop changes, but not when this one does, whose
    row kernels are inlined there: so the hash of this file is part of the name under which it is
    kept.
    """
    function.__qualname__ = f"{function.__qualname__}_{_OWN_SOURCE}"
    dispatcher = numba.njit(error_model="numpy", nogil=True)(function)
    keep_on_disk(dispatcher, function)
    return dispatcher


_inlined = numba.njit(
    error_model="numpy",
    forceinline=True,
    # contraction (FMA) and sign-of-zero freedom only: reassociation would delete the rounding trick
    # below
    fastmath={"contract", "nsz", "arcp"},
)

_LOG2E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_ROUND = 6755399441055744.0  # 1.5 * 2**52: adding it rounds a double to the nearest integer


@intrinsic
def _as_double(context, integer):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@_inlined
def _tanh(s):
    """tanh s = (1 - e) / (1 + e), e = exp(-2|s|), with the sign of s; 3 units in the last place;
    keeps NaN.

    e = 2^n exp(r), |r| <= ln2 / 2, and exp(r) = (c + r) / (c - r) for c = r coth(r / 2), a series
    in r^2.
    """
    y = -2.0 * abs(s)
    y = -80.0 if y < -80.0 else y
    rounded = y * _LOG2E + _ROUND
    n = rounded - _ROUND
    r = (y - n * _LN2_HIGH) - n * _LN2_LOW
    x = r * r
    c = -691.0 / 653837184000.0
    c = c * x + 1.0 / 23950080.0
    c = c * x - 1.0 / 604800.0
    c = c * x + 1.0 / 15120.0
    c = c * x - 1.0 / 360.0
    c = c * x + 1.0 / 6.0
    c = c * x + 2.0
    power = _as_double((np.int64(n) + 1023) << 52)  # type: ignore[call-arg]  # 2**n
    less, more = 1.0 - power, 1.0 + power
    return math.copysign((less * c - more * r) / (more * c - less * r), s)


@numba.njit(error_model="numpy", forceinline=True)
def activate_row(code, s):
    """s <- sigma(s), in place, for a contiguous row s and the activation with this code."""
    if code == TANH:
        for m in range(s.size):
            s[m] = _tanh(s[m])
    elif code == RELU:
        for m in range(s.size):
            s[m] = 0.5 * (s[m] + abs(s[m]))
    elif code == SIGMOID:
        for m in range(s.size):
            s[m] = 0.5 * (1.0 + _tanh(0.5 * s[m]))


@numba.njit(error_model="numpy", forceinline=True)
def slope_row(code, k, r):
    """r <- sigma'(u) r, in place, from the values k = sigma(u): 1 - k^2, 1, [k > 0], k (1 - k)."""
    if code == TANH:
        for m in range(r.size):
            r[m] *= (1.0 - k[m]) * (1.0 + k[m])
    elif code == RELU:
        for m in range(r.size):
            r[m] = r[m] if k[m] > 0.0 else 0.0
    elif code == SIGMOID:
        for m in range(r.size):
            r[m] *= k[m] * (1.0 - k[m])
