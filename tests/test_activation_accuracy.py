"""Every activation to relative 1e-12 from 1e-300 to 1e300, and its limits, without FP errors.

Exact numbers come from mpmath with 400 digits, of which log cosh 1e-150 loses 300.
"""

from functools import cache

import mpmath
import numpy as np
import pytest

from continuum import (
    arctan,
    elu,
    gelu,
    identity,
    leaky_relu,
    relu,
    sigmoid,
    softplus,
    tanh,
)

TINY, HUGE = np.finfo(float).tiny, np.finfo(float).max
SIZES = np.concatenate([10.0 ** np.arange(-300, 301, 12.5), 2.0 ** np.arange(-4, 6)])
MORE = [0.7, 0.999, 1.001, 3.3, 17.0, 31.6, 37.5, 38.4, 39.9, 40.1, 300.0, 354.0, 700.0, 744.0]
POINTS = np.concatenate([SIZES, -SIZES, MORE, np.negative(MORE)])
WHICH = ("value", "derivative", "second", "antiderivative")
mp = mpmath.mp


def sech(s):
    return 1 / mp.cosh(s)


def logistic(s):
    return 1 / (1 + mp.exp(-s))


def bump(s):
    return 1 / (2 + mp.exp(s) + mp.exp(-s))


def log1pexp(s):
    return mp.log(1 + mp.exp(s)) if s < 1000 else s  # exp(-1000) is far below rounding


def softplus_integral(s):
    if abs(s) < 1:
        with mp.workdps(40):  # by quadrature: nothing cancels
            return mp.quad(log1pexp, [0, s])
    with mp.workdps(40):
        tail = mp.polylog(2, -mp.exp(-abs(s))) if abs(s) < 200 else 0
        return (s * s / 2 if s > 0 else 0) + mp.sign(s) * (mp.pi**2 / 12 + tail)


def normal(s):
    return mp.npdf(s) if abs(s) < 1000 else mp.mpf(0)


def distribution(s):
    return mp.ncdf(s) if abs(s) < 1000 else mp.mpf(s > 0)


def area(s):
    return ((s * s - 1) * distribution(s) + s * normal(s)) / 2 + mp.mpf(1) / 4


ELU = mpmath.mpf(0.7)
EXACT = {
    tanh: (
        mp.tanh,
        lambda s: sech(s) ** 2,
        lambda s: -2 * mp.tanh(s) * sech(s) ** 2,
        lambda s: mp.log(mp.cosh(s)) if abs(s) < 1000 else abs(s) - mp.log(2),
    ),
    identity: (lambda s: s, lambda s: 1, lambda s: 0, lambda s: s * s / 2),
    relu: (lambda s: max(s, 0), lambda s: s > 0, lambda s: 0, lambda s: max(s, 0) ** 2 / 2),
    sigmoid: (
        logistic,
        bump,
        lambda s: -mp.tanh(s / 2) * bump(s),
        lambda s: log1pexp(s) - mp.log(2),
    ),
    arctan: (
        mp.atan,
        lambda s: 1 / (1 + s * s),
        lambda s: -2 * s / (1 + s * s) ** 2,
        lambda s: s * mp.atan(s) - mp.log(1 + s * s) / 2,
    ),
    softplus: (log1pexp, logistic, bump, softplus_integral),
    gelu: (
        lambda s: s * distribution(s),
        lambda s: distribution(s) + s * normal(s),
        lambda s: (2 - s * s) * normal(s),
        area,
    ),
    leaky_relu(0.1): (
        lambda s: max(s, s * mp.mpf(0.1)),
        lambda s: 1 if s > 0 else mp.mpf(0.1),
        lambda s: 0,
        lambda s: s * max(s, s * mp.mpf(0.1)) / 2,
    ),
    elu(0.7): (
        lambda s: s if s > 0 else ELU * mp.expm1(s),
        lambda s: 1 if s > 0 else ELU * mp.exp(s),
        lambda s: 0 if s > 0 else ELU * mp.exp(s),
        lambda s: s * s / 2 if s > 0 else ELU * (mp.expm1(s) - s),
    ),
}
INF = np.inf
ELUS = 0.7
LIMITS = {  # at -inf and at +inf
    "tanh": ((-1, 1), (0, 0), (0, 0), (INF, INF)),
    "identity": ((-INF, INF), (1, 1), (0, 0), (INF, INF)),
    "relu": ((0, INF), (0, 1), (0, 0), (0, INF)),
    "sigmoid": ((0, 1), (0, 0), (0, 0), (-np.log(2), INF)),
    "arctan": ((-np.pi / 2, np.pi / 2), (0, 0), (0, 0), (INF, INF)),
    "softplus": ((0, INF), (0, 1), (0, 0), (-(np.pi**2) / 12, INF)),
    "gelu": ((0, INF), (0, 1), (0, 0), (0.25, INF)),
    "leaky_relu(0.1)": ((-INF, INF), (0.1, 1), (0, 0), (INF, INF)),
    "elu(0.7)": ((-ELUS, INF), (0, 1), (0, 0), (INF, INF)),
}
EVERY = pytest.mark.parametrize("activation", list(EXACT), ids=str)


@cache
def exact(activation, which: str) -> np.ndarray:
    with mp.workdps(400):
        values = [EXACT[activation][WHICH.index(which)](mp.mpf(s)) for s in POINTS]
        return np.array([np.inf if abs(v) > HUGE else float(v) for v in values])


@EVERY
@pytest.mark.parametrize("which", WHICH)
def test_relative_accuracy(activation, which):
    expected = exact(activation, which)
    finite = np.isfinite(expected)
    got, expected = getattr(activation, which)(POINTS[finite]), expected[finite]
    normal_numbers = np.abs(expected) >= TINY
    np.testing.assert_allclose(got[normal_numbers], expected[normal_numbers], rtol=1e-12, atol=0)
    assert np.all(np.abs(got[~normal_numbers]) <= TINY)


@pytest.mark.parametrize(
    ("which", "slope", "zero"),
    [
        ("derivative", "second", mpmath.findroot(lambda s: mp.ncdf(s) + s * mp.npdf(s), -0.75)),
        ("second", None, mpmath.sqrt(2)),
        ("second", None, -mpmath.sqrt(2)),
    ],
)
def test_zeros_of_gelus_derivatives(which, slope, zero):
    """Beside a zero z the error is at most that of rounding s, |f'(z)| |z| eps, a few times."""
    points = float(zero) * (1.0 + np.concatenate([10.0 ** -np.arange(1, 16), [0.0]]))
    with mp.workdps(40):
        index = WHICH.index(which)
        expected = np.array([float(EXACT[gelu][index](mp.mpf(s))) for s in points])
        rate = abs(float(mp.diff(EXACT[gelu][index], zero) * zero))
    error = np.abs(getattr(gelu, which)(points) - expected)
    assert np.all(error <= 1e-12 * np.abs(expected) + 4.0 * np.finfo(float).eps * rate)


@EVERY
def test_limits_at_infinity_and_at_zero(activation):
    for which, ends in zip(WHICH, LIMITS[activation.name], strict=True):
        function = getattr(activation, which)
        np.testing.assert_allclose(function(np.array([-INF, INF])), ends, rtol=1e-15, atol=0)
        if np.all(np.isfinite(ends)):
            far = function(np.array([-1e307, 1e307]))
            np.testing.assert_allclose(far, ends, rtol=1e-15, atol=0)
    np.testing.assert_array_equal(activation.antiderivative(np.zeros(3)), 0.0)


@EVERY
def test_not_a_number_is_kept(activation):
    constant = {"identity": ("derivative", "second"), "relu": ("second",)}
    constant["leaky_relu(0.1)"] = ("second",)
    for which in WHICH:
        got = getattr(activation, which)(np.array([np.nan, 1.0]))
        assert np.isnan(got[0]) != (which in constant.get(activation.name, ()))
        assert np.isfinite(got[1])


@EVERY
def test_numbers_and_arrays_without_axes(activation):
    for which in WHICH:
        function = getattr(activation, which)
        expected = function(np.array([0.3]))[0] if which != "second" else None
        for number in (0.3, np.float64(0.3), np.array(0.3)):
            got = function(number)
            assert np.shape(got) == ()
            assert expected is None or float(got) == pytest.approx(float(expected), rel=1e-15)
