"""sigma, sigma', sigma'' and Sigma belong together, against mpmath and their own differences."""

import array_api_strict
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
    user_activation,
)
from continuum.arrays import to_host
from continuum.compiled import FROM_VALUE, activate_row, bend_row, compiled, slope_row

POINTS = np.concatenate([np.linspace(-6, 6, 41) + 0.01, [1e-9, -1e-9, 25.0, -25.0, 400.0, -400.0]])
LEAKY, ELU = leaky_relu(0.1), elu(0.7)
REFERENCE = {
    tanh: (mpmath.tanh, lambda s: 1 / mpmath.cosh(s) ** 2, lambda s: mpmath.log(mpmath.cosh(s))),
    sigmoid: (
        lambda s: 1 / (1 + mpmath.exp(-s)),
        lambda s: 1 / (2 + mpmath.exp(s) + mpmath.exp(-s)),
        lambda s: mpmath.log((1 + mpmath.exp(s)) / 2),
    ),
    identity: (lambda s: s, lambda s: mpmath.mpf(1), lambda s: s * s / 2),
    relu: (lambda s: max(s, 0), lambda s: mpmath.mpf(s > 0), lambda s: max(s, 0) ** 2 / 2),
    arctan: (
        mpmath.atan,
        lambda s: 1 / (1 + s * s),
        lambda s: s * mpmath.atan(s) - mpmath.log(1 + s * s) / 2,
    ),
    softplus: (
        lambda s: mpmath.log(1 + mpmath.exp(s)),
        lambda s: 1 / (1 + mpmath.exp(-s)),
        lambda s: mpmath.re(-mpmath.polylog(2, -mpmath.exp(s))) - mpmath.pi**2 / 12,
    ),
    gelu: (
        lambda s: s * mpmath.ncdf(s),
        lambda s: mpmath.ncdf(s) + s * mpmath.npdf(s),
        lambda s: ((s * s - 1) * mpmath.ncdf(s) + s * mpmath.npdf(s)) / 2 + mpmath.mpf(1) / 4,
    ),
    LEAKY: (
        lambda s: s if s > 0 else s * mpmath.mpf(0.1),
        lambda s: mpmath.mpf(1 if s > 0 else 0.1),
        lambda s: s * s / 2 * (1 if s > 0 else mpmath.mpf(0.1)),
    ),
    ELU: (
        lambda s: s if s > 0 else mpmath.mpf(0.7) * mpmath.expm1(s),
        lambda s: mpmath.mpf(1) if s > 0 else mpmath.mpf(0.7) * mpmath.exp(s),
        lambda s: s * s / 2 if s > 0 else mpmath.mpf(0.7) * (mpmath.expm1(s) - s),
    ),
}
ALL = pytest.mark.parametrize("activation", list(REFERENCE), ids=str)


@compiled
def _value(code, parameter, x):
    activate_row(code, parameter, x)


@compiled
def _slope(code, parameter, at, r):
    slope_row(code, parameter, at, r)


@compiled
def _bend(code, parameter, at, du, r, dr):
    bend_row(code, parameter, at, du, r, dr)


@ALL
def test_against_mpmath(activation):
    # 400 digits: log(cosh(1e-9)) and tails such as exp(-400) lose all of fewer
    with mpmath.workdps(400):
        for function, reference in zip(
            (activation.value, activation.derivative, activation.antiderivative),
            REFERENCE[activation],
            strict=True,
        ):
            expected = np.array([float(reference(mpmath.mpf(s))) for s in POINTS])
            # the dilogarithms in softplus's Sigma cancel near 0 to rounding of pi^2 / 12
            tiny = 2e-15 if activation is softplus else 3e-16
            np.testing.assert_allclose(function(POINTS), expected, rtol=8e-15, atol=tiny)


@ALL
def test_second_derivative_by_differences(activation):
    h = 1e-5
    smooth = POINTS[np.abs(POINTS) > 1e-3]
    difference = (activation.derivative(smooth + h) - activation.derivative(smooth - h)) / (2 * h)
    np.testing.assert_allclose(activation.second(smooth), difference, rtol=0, atol=1e-9)


@ALL
def test_far_out_nothing_overflows(activation):
    s = np.array([-1e6, 1e6])
    for function in (
        activation.value,
        activation.derivative,
        activation.second,
        activation.antiderivative,
    ):
        assert np.all(np.isfinite(function(s)))
    np.testing.assert_allclose(activation.antiderivative(np.zeros(1)), 0.0, atol=2e-15)


@ALL
def test_compiled_rows(activation):
    """sigma to 1e-12 relative; sigma', sigma'' too where they are computed from the argument, else
    to rounding of their maximum.
    """
    code, parameter = activation.code, activation.parameter
    for row in (POINTS, np.array([0.3])):
        k = row.copy()
        _value(code, parameter, k)
        np.testing.assert_allclose(k, activation.value(row), rtol=1e-12, atol=1e-300)
        at, tiny = (k, 1e-15) if code in FROM_VALUE else (row, 1e-300)
        r = np.full_like(row, 2.0)
        _slope(code, parameter, at, r)
        np.testing.assert_allclose(r, 2.0 * activation.derivative(row), rtol=1e-12, atol=tiny)
        dr = np.ones_like(row)
        _bend(code, parameter, at, np.full_like(row, 3.0), r, dr)
        expected = 1.0 + 3.0 * activation.second(row) * r
        np.testing.assert_allclose(dr, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("activation", "units"), [(tanh, 5.0), (sigmoid, 3.0)], ids=str)
def test_compiled_rows_to_units_in_the_last_place(activation, units):
    """At such points the errors reach 2.9 and 2.4 units, that of tanh 4.1 where multiply-adds are
    not fused; 5.8 and 3.5 if the last coefficient of the series is half as large again.
    """
    points = np.concatenate([np.linspace(-2.0, 2.0, 12_001), np.linspace(-40.0, 40.0, 12_001)])
    got = points.copy()
    _value(activation.code, activation.parameter, got)
    with mpmath.workdps(40):
        exact = [REFERENCE[activation][0](mpmath.mpf(s)) for s in points]
        errors = np.array([float(g - e) for g, e in zip(got, exact, strict=True)])
    assert np.all(np.abs(errors) <= units * np.spacing(np.abs(np.array(exact, dtype=float))))


@ALL
def test_compiled_rows_keep_what_is_not_a_number_and_have_limits(activation):
    row = np.array([np.nan, np.inf, -np.inf])
    _value(activation.code, activation.parameter, row)
    assert np.isnan(row[0])
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(row[1:], activation.value(np.array([np.inf, -np.inf])))


def test_compiled_rows_refuse_an_unknown_code():
    row = np.ones(3)
    for call in (
        lambda: _value(99, 0.0, row),
        lambda: _slope(99, 0.0, row, row),
        lambda: _bend(99, 0.0, row, row, row, row),
    ):
        with pytest.raises(ValueError, match="no activation has this code"):
            call()


@ALL
def test_flags(activation):
    s = np.linspace(-30, 30, 60001)
    assert activation.derivative(s).max() <= activation.lipschitz * (1 + 1e-12)
    assert activation.derivative(s).max() >= activation.lipschitz * (1 - 1e-6)
    assert (activation.value(np.zeros(1))[0] == 0) == activation.vanishes_at_zero
    assert (np.abs(activation.value(s)).max() <= np.pi / 2) == activation.bounded
    around = np.array([-1e-7, 1e-7])
    jumps = [
        np.ptp(function(around)) > 1e-3 for function in (activation.derivative, activation.second)
    ]
    assert any(jumps) != activation.smooth


@ALL
def test_another_array_library(activation):
    s = np.linspace(-3, 3, 7)
    for function in (
        activation.value,
        activation.derivative,
        activation.second,
        activation.antiderivative,
    ):
        got = function(array_api_strict.asarray(s))
        assert isinstance(got, type(array_api_strict.asarray(1.0)))
        np.testing.assert_allclose(to_host(got), function(s), rtol=1e-14, atol=1e-15)


SINE = {
    "value": lambda s: np.sin(s),
    "derivative": lambda s: np.cos(s),
    "second": lambda s: -np.sin(s),
    "antiderivative": lambda s: 1 - np.cos(s),
    "lipschitz": 1.0,
}


def test_an_activation_of_ones_own():
    mine = user_activation("sine", **SINE, supremum=1.0)
    assert mine.bounded
    assert mine.supremum == 1.0
    assert user_activation("sine", **SINE, bounded=True).supremum is None
    assert mine.vanishes_at_zero
    assert mine.code is None
    np.testing.assert_array_equal(mine(POINTS), np.sin(POINTS))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"derivative": np.sin}, "derivative is not the derivative of value"),
        ({"second": np.cos}, "second is not the derivative of derivative"),
        ({"antiderivative": lambda s: np.sin(s)}, "value is not the derivative of antiderivative"),
        ({"antiderivative": lambda s: -np.cos(s)}, "must vanish at 0"),
        ({"lipschitz": 0.5}, "lipschitz is 0.5"),
        ({"supremum": 0.9}, "supremum is 0.9, but .value. reaches 0.99"),
        ({"supremum": -1.0}, "supremum must be"),
    ],
)
def test_functions_that_do_not_belong_together(change, words):
    with pytest.raises(ValueError, match=words):
        user_activation("sine", **{**SINE, **change})


@pytest.mark.parametrize("sigma", [tanh, sigmoid, arctan, relu, softplus, gelu, identity, elu(2.0)])
def test_the_supremum_is_stated_where_there_is_one(sigma):
    """And it is the least bound: it is reached, or nearly, far away."""
    assert (sigma.supremum is not None) == sigma.bounded
    if sigma.supremum is not None:
        s = np.concatenate([np.linspace(-40.0, 40.0, 4001), [-1e150, 1e150]])
        largest = np.abs(sigma.value(s)).max()
        assert largest == pytest.approx(sigma.supremum, rel=1e-15)
        assert largest <= sigma.supremum


def test_bad_parameters():
    with pytest.raises(ValueError, match="slope must be between 0 and 1"):
        leaky_relu(1.5)
    with pytest.raises(ValueError, match="alpha must be finite and positive"):
        elu(-1.0)
