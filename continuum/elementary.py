"""exp, tanh and the logistic sigmoid as compiled functions that run in vectors.

Numba calls the C library for exp and tanh, once for each number, and a loop with such a call in it
never runs in vectors.  The functions here are sums, products and one division, all of one basic
block, so that LLVM makes vectors of whatever loop they are in.  Errors met: exp 1 unit in the last
place, tanh 3, 4 where multiply-adds are not fused.  They keep NaN and raise no floating-point flag
that matters; exp has the whole range, subnormal numbers and infinity included.

`with_own_functions` compiles a function of the user's with these in place of those of math and
NumPy, wherever it names them.
"""

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir as llvm
from numba import types
from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.dispatcher import Dispatcher
from numba.core.ir_utils import build_definitions, find_outer_value, guard
from numba.core.untyped_passes import ReconstructSSA
from numba.extending import intrinsic, overload

_options: Any = {
    "error_model": "numpy",
    "forceinline": True,
    # contraction (FMA) and sign-of-zero freedom only: reassociation would delete the rounding trick
    # below
    "fastmath": {"contract", "nsz", "arcp"},
}
_inlined = numba.njit(**_options)

_LOG2E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_BIAS = 1023  # of the exponent of a double, whose bits stand above 52 others
_ROUND = 1.5 * 2.0**52 + 2 * _BIAS  # adding it rounds a double y to an integer n: the last bits of
# the sum are those of n + 2 * _BIAS


@intrinsic
def _as_bits(context, double):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], llvm.IntType(64))

    return types.uint64(types.float64), generate


@intrinsic
def _as_double(context, bits):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], llvm.DoubleType())

    return types.float64(types.uint64), generate


@_inlined
def _power_of_two(biased):
    """2^(biased - _BIAS), of an integer whose last 12 bits are 1, ..., 2 _BIAS."""
    return _as_double(np.uint64(biased) << np.uint64(52))  # type: ignore[call-arg]


@_inlined
def _exp_parts(y):
    """(m, c, r) with exp(y) = 2^n (c + r) / (c - r), |n| <= 1076, m the bits of n + 2 _BIAS.

    |r| <= ln2 / 2, and exp(r) = (c + r) / (c - r) for c = r coth(r / 2), a series in r^2.
    """
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
    return _as_bits(rounded), c, r  # type: ignore[call-arg]


@_inlined
def _exp(s):
    """exp(s) = 2^n (1 + 2 r / (c - r)), 2^n in two factors, which may be too small for one."""
    y = -746.0 if s < -746.0 else s
    y = 710.0 if y > 710.0 else y
    m, c, r = _exp_parts(y)  # type: ignore[misc]
    half = m >> np.uint64(1)
    v = 1.0 + (r + r) / (c - r)
    return (v * _power_of_two(half)) * _power_of_two(m - half)


@_inlined
def _tanh(s):
    """(1 - e) / (1 + e), e = exp(-2|s|), with the sign of s."""
    y = -2.0 * abs(s)
    m, c, r = _exp_parts(-708.0 if y < -708.0 else y)  # type: ignore[misc]
    power = _power_of_two(m - np.uint64(_BIAS))
    less, more = 1.0 - power, 1.0 + power
    return math.copysign((less * c - more * r) / (more * c - less * r), s)


@_inlined
def _sigmoid(s):
    """1 / (1 + e) for s > 0, e / (1 + e) for s <= 0, with e = exp(-|s|)."""
    y = -abs(s)
    m, c, r = _exp_parts(-708.0 if y < -708.0 else y)  # type: ignore[misc]
    small, large = _power_of_two(m - np.uint64(_BIAS)) * (c + r), c - r
    small = 0.0 if s < -708.0 else small
    return (large if s > 0.0 else small) / (large + small)


def exp(s: float) -> float:
    """e^s, in compiled loops; numbers only are computed as said above."""
    return np.exp(s)


def tanh(s: float) -> float:
    """tanh s, in compiled loops."""
    return np.tanh(s)


def sigmoid(s: float) -> float:
    """1 / (1 + e^-s), in compiled loops."""
    return 1.0 / (1.0 + np.exp(-s))


_REAL = (types.Float, types.Integer, types.Boolean)


@overload(exp, jit_options=_options)
def _exp_of_any(s):
    return (lambda s: _exp(float(s))) if isinstance(s, _REAL) else lambda s: np.exp(s)


@overload(tanh, jit_options=_options)
def _tanh_of_any(s):
    return (lambda s: _tanh(float(s))) if isinstance(s, _REAL) else lambda s: np.tanh(s)


@overload(sigmoid, jit_options=_options)
def _sigmoid_of_any(s):
    return lambda s: _sigmoid(s)


_OWN = ((math.exp, exp), (np.exp, exp), (math.tanh, tanh), (np.tanh, tanh))


@register_pass(mutates_CFG=False, analysis_only=False)
class _OwnFunctions(FunctionPass):
    """Where a global name, or an attribute of one, is a function of _OWN, ours stands for it.

    A compiled function that is called takes them too.
    """

    _name = "continuum_own_functions"

    def __init__(self):  # Numba's base class leaves it abstract
        super().__init__()

    def run_pass(self, state):
        code = state.func_ir
        for block in code.blocks.values():
            for assign in block.find_insts(ir.Assign):
                found = guard(find_outer_value, code, assign.target)
                own = next((ours for theirs, ours in _OWN if theirs is found), None)
                if isinstance(found, Dispatcher) and found.targetoptions.get("nopython"):
                    own = with_own_functions(found)
                if own is not None:
                    assign.value = ir.Global(own.__name__, own, assign.loc)
        code._definitions = build_definitions(code.blocks)
        return True


class _Compiler(CompilerBase):
    """Numba's own passes, and the one above."""

    def define_pipelines(self):
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_OwnFunctions, ReconstructSSA)
        passes.finalize()
        return [passes]


def with_own_functions(function: Callable[..., object]) -> Dispatcher:
    """The function compiled at its first call, with exp and tanh of this file for those that it
    names as np.exp, math.exp, np.tanh, math.tanh, or as it imported them.

    Of a function that is compiled already, the options are kept.
    """
    options = {"error_model": "numpy", "forceinline": True}
    if isinstance(function, Dispatcher):
        options = {k: v for k, v in function.targetoptions.items() if k != "nopython"}
        function = function.py_func
    return numba.njit(pipeline_class=_Compiler, **options)(function)
