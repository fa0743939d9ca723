"""sigma, sigma', sigma'' and Sigma belong together, against mpmath and their own differences."""

import mpmath
import numpy as np
import pytest

from continuum import identity, relu, sigmoid, tanh
from continuum.compiled import activate_row, compiled, slope_row

POINTS = np.concatenate([np.linspace(-6, 6, 41) + 0.01, [1e-9, -1e-9, 25.0, -25.0, 400.0, -400.0]])
REFERENCE = {
    "tanh": (mpmath.tanh, lambda s: 1 / mpmath.cosh(s) ** 2, lambda s: mpmath.log(mpmath.cosh(s))),
    "sigmoid": (
        lambda s: 1 / (1 + mpmath.exp(-s)),
        lambda s: 1 / (2 + mpmath.exp(s) + mpmath.exp(-s)),
        lambda s: mpmath.log((1 + mpmath.exp(s)) / 2),
    ),
    "identity": (lambda s: s, lambda s: mpmath.mpf(1), lambda s: s * s / 2),
    "relu": (lambda s: max(s, 0), lambda s: mpmath.mpf(s > 0), lambda s: max(s, 0) ** 2 / 2),
}
ALL = pytest.mark.parametrize("activation", [tanh, identity, relu, sigmoid], ids=str)


@compiled
def _value(code, x):
    activate_row(code, x)


@compiled
def _slope(code, k, r):
    slope_row(code, k, r)


@ALL
def test_against_mpmath(activation):
    # 60 digits: log(cosh(1e-9)) and tails of the derivatives lose all of fewer
    with mpmath.workdps(60):
        for function, reference in zip(
            (activation.value, activation.derivative, activation.antiderivative),
            REFERENCE[activation.name],
            strict=True,
        ):
            expected = np.array([float(reference(mpmath.mpf(s))) for s in POINTS])
            np.testing.assert_allclose(function(POINTS), expected, rtol=4e-15, atol=1e-16)


@ALL
def test_second_derivative_by_differences(activation):
    h = 1e-5
    smooth = POINTS[np.abs(POINTS) > 1e-3]
    difference = (activation.derivative(smooth + h) - activation.derivative(smooth - h)) / (2 * h)
    np.testing.assert_allclose(activation.second(smooth), difference, rtol=0, atol=1e-9)


@ALL
def test_compiled_rows(activation):
    for row in (POINTS, np.array([0.3])):
        k = row.copy()
        _value(activation.code, k)
        # tanh to 2 units in the last place, even where it is small; sigmoid = (1 + tanh) / 2 to rounding of 1
        tiny = 2e-16 if activation is sigmoid else 1e-300
        np.testing.assert_allclose(k, activation.value(row), rtol=5e-16, atol=tiny)
        r = np.full_like(row, 2.0)
        _slope(activation.code, activation.value(row), r)
        np.testing.assert_allclose(r, 2.0 * activation.derivative(row), rtol=0, atol=1e-15)


@ALL
def test_not_a_number_is_kept(activation):
    row = np.array([np.nan, np.inf, -np.inf])
    _value(activation.code, row)
    assert np.isnan(row[0])
    limits = {"tanh": (1, -1), "sigmoid": (1, 0), "identity": (np.inf, -np.inf), "relu": (np.inf, np.nan)}
    assert row[1] == limits[activation.name][0]
    assert activation is relu or row[2] == limits[activation.name][1]


@ALL
def test_flags(activation):
    s = np.linspace(-30, 30, 6001)
    assert activation.derivative(s).max() <= activation.lipschitz * (1 + 1e-12)
    assert activation.derivative(s).max() >= activation.lipschitz * (1 - 1e-4)
    assert (activation.value(np.zeros(1))[0] == 0) == activation.vanishes_at_zero
    assert (np.abs(activation.value(s)).max() <= 1) == activation.bounded
