"""The package's own exp and tanh in compiled loops, and functions of the user's that get them."""

import math
from math import exp as exp_of_math

import numba
import numpy as np
import pytest
from numpy import exp as exp_of_numpy

from continuum import Interval, OnTheFly, midpoint
from continuum.elementary import with_own_functions

SPREAD = np.concatenate([np.linspace(-745.13, 709.78, 30_001), np.linspace(-2, 2, 10_001)])
LIMITS = np.concatenate(
    [
        [0.0, -0.0, 5e-324, -5e-324, 709.782712893384, 709.7827128933841, 710.5, 1e300, np.inf],
        [-708.3, -708.4, -708.5, -740.0, -745.1332191019411, -745.1332191019412, -1e300, -np.inf],
        [np.nan],
    ]
)


def over(function):
    """The function on arrays, in a compiled loop that runs in vectors."""

    @numba.njit(error_model="numpy")
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    def run(x):
        out = np.empty_like(x)
        loop(x, out)
        return out

    run.code = lambda: next(iter(loop.inspect_llvm().values()))
    return run


def test_exp_is_good_to_one_unit_in_the_last_place_on_its_whole_range():
    exp = over(with_own_functions(lambda s: np.exp(s)))
    with np.errstate(under="ignore", over="ignore"):
        for x in (SPREAD, LIMITS, np.ascontiguousarray(LIMITS[::-1])):
            exact, found = np.exp(x), exp(x)
            regular = np.isfinite(exact)
            assert np.all(np.isnan(found) == np.isnan(x))
            assert np.all(found[np.isposinf(exact)] == np.inf)
            assert np.all(found[exact == 0.0] == 0.0)
            errors = np.abs(found[regular] - exact[regular])
            assert np.all(errors <= 1.001 * np.spacing(exact[regular]))
    assert "x double>" in exp.code()  # the loop runs in vectors


def test_tanh_is_good_to_four_units_in_the_last_place():
    tanh = over(with_own_functions(lambda s: math.tanh(s)))
    x = np.concatenate([SPREAD, LIMITS, -SPREAD / 40])
    exact, found = np.tanh(x), tanh(x)
    assert np.array_equal(np.isnan(found), np.isnan(exact))
    here = ~np.isnan(exact)
    assert np.all(np.abs(found - exact)[here] <= 4.001 * np.spacing(np.abs(exact[here])))
    assert np.array_equal(np.signbit(found[here]), np.signbit(x[here]))


@numba.njit
def bump(s):
    return np.exp(-s * s)


@numba.njit
def power(s, n):
    return s if n == 0 else power(s, n - 1) * np.exp(s)


@numba.njit(error_model="numpy")
def ready(s):
    return np.exp(s) / (1.0 + np.exp(s))


@pytest.mark.parametrize(
    ("function", "reference"),
    [
        (lambda s: math.exp(s) + exp_of_math(-s), lambda s: 2 * np.cosh(s)),
        (lambda s: exp_of_numpy(s) * np.tanh(s), lambda s: np.exp(s) * np.tanh(s)),
        (lambda s: bump(s) + 1.0, lambda s: np.exp(-s * s) + 1.0),
        (lambda s: max([np.exp(s * k) for k in (-1, 1)]), lambda s: np.exp(np.abs(s))),
        (ready, lambda s: np.exp(s) / (1.0 + np.exp(s))),
        (lambda s: np.exp(s > 0.0) + s, lambda s: np.where(s > 0.0, np.e, 1.0) + s),
    ],
    ids=["math", "numpy", "one that is called", "in a comprehension", "compiled", "a truth value"],
)
def test_functions_of_the_user_get_them_wherever_they_name_them(function, reference):
    x = np.linspace(-3.0, 3.0, 97)
    run = over(with_own_functions(function))
    np.testing.assert_allclose(run(x), reference(x), rtol=2e-15)
    assert "llvm.exp" not in run.code()
    assert "llvm.tanh" not in run.code()


def test_a_compiled_function_may_call_itself():
    x = np.linspace(-1.0, 1.0, 7)
    run = over(with_own_functions(lambda s: power(s, 2)))
    np.testing.assert_allclose(run(x), x * np.exp(2 * x), rtol=1e-14)


def test_a_gaussian_kernel_has_the_values_of_numpy(rng):
    grid, form = midpoint(Interval(0, 40), 300), OnTheFly(threads=1)
    y, w = grid.coordinates, grid.weights

    def gaussian(y, z):
        return np.exp(-((y - z) ** 2))

    b = form.evaluate(grid, gaussian)
    with np.errstate(under="ignore"):
        dense = gaussian(y[:, None], y[None, :])
    assert np.min(dense) == 0.0
    matrix = form.matrix(b)
    assert np.all(np.abs(matrix - dense) <= 1e-14 * dense + 5e-324)
    positive = rng.uniform(0.5, 1.0, (300, 3))  # nothing cancels
    for f in (positive, positive[:, :1]):
        for product in (form.apply, form.adjoint):
            np.testing.assert_allclose(product(b, f, w), dense @ (w[:, None] * f), rtol=1e-14)


def test_what_they_do_not_replace_stays_as_it_was():
    x = np.linspace(-3.0, 3.0, 97)
    run = over(with_own_functions(lambda s: np.exp(1j * s).real + exp(s)))
    np.testing.assert_allclose(run(x), np.cos(x) + 2 * x, rtol=1e-14)


@numba.njit
def exp(s):
    """No exponential, in spite of its name."""
    return 2 * s


def test_single_precision_is_computed_in_single_precision():
    x = np.concatenate([np.linspace(-87, 88, 20_001), np.linspace(-2, 2, 10_001)]).astype("float32")
    for function, exact, most in ((np.exp, np.exp, 2.0), (np.tanh, np.tanh, 4.0)):
        run = over(with_own_functions(lambda s: function(s)))  # noqa: B023
        found, reference = run(x), exact(x.astype(np.float64))
        spacing = np.spacing(np.abs(reference).astype("float32")).astype(np.float64)
        assert np.all(np.abs(found - reference) <= most * spacing)
        assert "x double>" not in run.code()
