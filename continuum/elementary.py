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
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir as llvm
from numba import types
from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder, StateDict
from numba.core.compiler_machinery import FunctionPass, PassManager, register_pass
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


class _Format(NamedTuple):
    """Numbers of a floating-point format of IEEE 754, all of them of that format.

    digits : of the mantissa, without the first
    high, low : ln 2, high so short that n high is exact
    least, most : exp is 0 below and infinite above
    regular : 2^n is no subnormal number for n >= regular / ln 2
    """

    kind: types.Float
    bits: Any
    pattern: llvm.Type
    number: Callable[[float], Any]
    integer: Callable[[int], Any]
    digits: int
    bias: int
    high: float
    low: float
    least: float
    most: float
    regular: float


_DOUBLE = _Format(
    *(types.float64, types.uint64, llvm.DoubleType(), np.float64, np.uint64, 52, 1023),
    *(6.93147180369123816490e-01, 1.90821492927058770002e-10, -746.0, 710.0, -708.0),
)
_SINGLE = _Format(
    *(types.float32, types.uint32, llvm.FloatType(), np.float32, np.uint32, 23, 127),
    *(0.693359375, -2.12194440054690583e-4, -104.0, 89.0, -87.3),
)


def _functions(form: _Format) -> tuple[Callable[..., float], ...]:
    """exp, tanh and sigmoid of numbers of this format."""
    number, integer, kind, bits = form.number, form.integer, form.kind, form.bits
    log2e, high, low = number(1.4426950408889634), number(form.high), number(form.low)
    digits, bias, single = integer(form.digits), integer(form.bias), integer(1)
    # adding this rounds y to an integer n: the last bits of the sum are those of n + 2 bias
    rounding = number(1.5 * 2.0**form.digits + 2 * form.bias)
    least, most, regular = number(form.least), number(form.most), number(form.regular)
    zero, one, two = number(0.0), number(1.0), number(2.0)
    series = [-691 / 653837184000, 1 / 23950080, -1 / 604800, 1 / 15120, -1 / 360, 1 / 6]
    c7, c6, c5, c4, c3, c2 = (number(x) for x in series)

    @intrinsic
    def as_bits(context, x):
        def generate(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], llvm.IntType(bits.bitwidth))

        return bits(kind), generate

    @intrinsic
    def as_number(context, x):
        def generate(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], form.pattern)

        return kind(bits), generate

    @_inlined
    def power_of_two(biased):
        """2^(biased - bias), of an integer whose last bits are 1, ..., 2 bias."""
        return as_number(integer(biased) << digits)  # type: ignore[call-arg]

    @_inlined
    def parts(y):
        """(m, c, r) with exp(y) = 2^n (c + r) / (c - r), m the bits of n + 2 bias.

        |r| <= ln2 / 2, and exp(r) = (c + r) / (c - r) for c = r coth(r / 2), a series in r^2.
        """
        rounded = y * log2e + rounding
        n = rounded - rounding
        r = (y - n * high) - n * low
        x = r * r
        c = ((((c7 * x + c6) * x + c5) * x + c4) * x + c3) * x + c2
        return as_bits(rounded), c * x + two, r  # type: ignore[call-arg]

    @_inlined
    def exp(s):
        """2^n (1 + 2 r / (c - r)), 2^n in two factors, which may be too small for one."""
        y = least if s < least else s
        y = most if y > most else y
        m, c, r = parts(y)  # type: ignore[misc]
        half = m >> single
        v = one + (r + r) / (c - r)
        return (v * power_of_two(half)) * power_of_two(m - half)

    @_inlined
    def tanh(s):
        """(1 - e) / (1 + e), e = exp(-2|s|), with the sign of s."""
        y = -two * abs(s)
        m, c, r = parts(regular if y < regular else y)  # type: ignore[misc]
        power = power_of_two(m - bias)
        less, more = one - power, one + power
        return math.copysign((less * c - more * r) / (more * c - less * r), s)

    @_inlined
    def sigmoid(s):
        """1 / (1 + e) for s > 0, e / (1 + e) for s <= 0, with e = exp(-|s|)."""
        y = -abs(s)
        m, c, r = parts(regular if y < regular else y)  # type: ignore[misc]
        small, large = power_of_two(m - bias) * (c + r), c - r
        small = zero if s < regular else small
        return (large if s > zero else small) / (large + small)

    return exp, tanh, sigmoid


_exp, _tanh, _sigmoid = _functions(_DOUBLE)
_exp_single, _tanh_single, _sigmoid_single = _functions(_SINGLE)


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
    if s == types.float32:
        return lambda s: _exp_single(s)
    return (lambda s: _exp(1.0 * s)) if isinstance(s, _REAL) else lambda s: np.exp(s)


@overload(tanh, jit_options=_options)
def _tanh_of_any(s):
    if s == types.float32:
        return lambda s: _tanh_single(s)
    return (lambda s: _tanh(1.0 * s)) if isinstance(s, _REAL) else lambda s: np.tanh(s)


@overload(sigmoid, jit_options=_options)
def _sigmoid_of_any(s):
    return (lambda s: _sigmoid_single(s)) if s == types.float32 else lambda s: _sigmoid(s)


_OWN = ((math.exp, exp), (np.exp, exp), (math.tanh, tanh), (np.tanh, tanh))


@register_pass(mutates_CFG=False, analysis_only=False)
class _OwnFunctions(FunctionPass):
    """Where a global name, or an attribute of one, is a function of _OWN, ours stands for it.

    A compiled function that is called takes them too.
    """

    _name = "continuum_own_functions"

    def __init__(self):  # Numba's base class leaves it abstract
        super().__init__()

    def run_pass(self, state: StateDict) -> bool:
        code = state.func_ir
        for block in code.blocks.values():
            for assign in block.find_insts(ir.Assign):
                found = guard(find_outer_value, code, assign.target)
                own = next((ours for theirs, ours in _OWN if theirs is found), None)
                if not isinstance(found, Dispatcher) or found.py_func is state.func_id.func:
                    pass  # a function that calls itself does so as it is
                elif found.targetoptions.get("nopython"):
                    own = with_own_functions(found)
                if own is not None:
                    assign.value = ir.Global(own.__name__, own, assign.loc)
        code._definitions = build_definitions(code.blocks)
        return True


class _Compiler(CompilerBase):
    """Numba's own passes, and the one above."""

    def define_pipelines(self) -> list[PassManager]:
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
