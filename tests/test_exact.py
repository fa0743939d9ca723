"""Closed forms solve their own equations: f_t = sigma(a - Bf) by differences in t and a fine rule
in y.
"""

import mpmath
import numpy as np
import pytest

from continuum import (
    Circle,
    Interval,
    TimeMesh,
    WidthDepth,
    arctan,
    exact,
    gauss_legendre,
    midpoint,
    periodic,
    split,
)
from solvers import DOP853, integrate

UNIT = Interval(0, 1)
CASES = {
    "scalar_decay": (exact.scalar_decay, gauss_legendre(UNIT, 4), 1e-9),
    "moving_bias": (exact.moving_bias, gauss_legendre(UNIT, 4), 1e-9),
    "rank_one": (exact.rank_one, gauss_legendre(UNIT, 10), 1e-9),
    "linear_growth": (exact.linear_growth, gauss_legendre(UNIT, 40), 1e-8),
    "asymmetric_growth": (exact.asymmetric_growth, gauss_legendre(UNIT, 24), 1e-8),
    "poisson_circle": (exact.poisson_circle(0.3), periodic(Circle(), 64), 1e-9),
    "turning_circle": (exact.turning_circle, periodic(Circle(), 8), 1e-9),
    "smooth_square": (exact.smooth_square, gauss_legendre(UNIT * UNIT, 9), 1e-9),
    "volterra": (exact.volterra, midpoint(UNIT, 800), 2e-6),
    "volterra_growth": (exact.volterra_growth, midpoint(UNIT, 800), 1e-5),
    "volterra_square": (exact.volterra_square, midpoint(UNIT * UNIT, 40), 2e-3),
}


@pytest.mark.parametrize(("case", "grid", "tolerance"), CASES.values(), ids=CASES.keys())
def test_solution_solves(case, grid, tolerance):
    network, control, initial = case.setup(grid, 1)
    np.testing.assert_allclose(
        case.solution(grid.coordinates, 0.0), initial[:, 0], rtol=0, atol=1e-12
    )
    t, h = 0.6 * case.horizon, 1e-4

    def at(time):
        return np.asarray(case.solution(grid.coordinates, time))

    slope = (8 * (at(t + h) - at(t - h)) - (at(t + 2 * h) - at(t - 2 * h))) / (12 * h)
    velocity = network.velocity(at(t)[:, None], control.at(t), t)[:, 0]
    assert np.abs(slope).max() > 1e-2
    np.testing.assert_allclose(velocity, slope, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(case.final(grid)[:, 0], at(case.horizon))


@pytest.mark.parametrize(
    ("solution", "sigma", "start"),
    [
        (exact.scalar_tanh_growth, lambda f: np.tanh(f), 0.1),
        (exact.scalar_sigmoid, lambda f: 1 / (1 + np.exp(f)), 0.0),
        (exact.scalar_elu, lambda f: np.expm1(-f), 1.0),
        (exact.scalar_arctan, lambda f: -np.arctan(f), 1.0),
    ],
)
def test_scalar_solutions_solve(solution, sigma, start):
    y, t, h = np.array([0.2, 0.8]), 1.3, 1e-4
    np.testing.assert_allclose(solution(y, 0.0), start, rtol=0, atol=1e-15)
    slope = (
        8 * (solution(y, t + h) - solution(y, t - h))
        - (solution(y, t + 2 * h) - solution(y, t - 2 * h))
    ) / (12 * h)
    np.testing.assert_allclose(sigma(solution(y, t)), slope, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("start", "b", "t"), [(1.0, 1.0, 2.0), (-3.0, 0.5, 4.0), (20.0, 1.0, 15.0), (0.1, -1.5, 6.0)]
)
def test_scalar_arctan_is_what_is_integrated(start, b, t):
    network = WidthDepth(midpoint(UNIT, 2), arctan)
    control = network.control(TimeMesh(t, 1), kernel=b)
    stepper = DOP853(rtol=1e-14, atol=1e-15)
    run = integrate(network, control, np.full((2, 1), start), stepper).trajectory
    found = exact.scalar_arctan(np.zeros(2), t, start, b)
    np.testing.assert_allclose(found, run.final[:, 0], rtol=1e-13)


@pytest.mark.parametrize(
    ("start", "b", "t"),
    [(1.0, 1.0, 2.0), (1.0, 1.0, 30.0), (-0.3, -2.0, 5.0), (1e-6, -1.0, 20.0), (1.0, -2.0, 100.0)],
)
def test_scalar_arctan_to_the_last_digits(start, b, t):
    """b t = int_u(t)^u(0) du / arctan u, u = |b f|, by mpmath with 25 digits."""
    found = float(exact.scalar_arctan(np.zeros(1), t, start, b)[0])
    with mpmath.workdps(25):
        v, end = (mpmath.log(abs(b * mpmath.mpf(x))) for x in (found, start))
        passed = mpmath.quad(
            lambda w: mpmath.exp(w) / mpmath.atan(mpmath.exp(w)), mpmath.linspace(v, end, 12)
        )
        # a relative error of f makes this difference, times u / arctan u
        slope = mpmath.exp(v) / mpmath.atan(mpmath.exp(v))
        assert abs(float((passed - mpmath.mpf(b) * t) / slope)) < 1e-14
    assert found * start > 0.0


def test_scalar_arctan_at_its_ends():
    y = np.zeros(3)
    np.testing.assert_array_equal(exact.scalar_arctan(y, 3.0, start=0.0), 0.0)
    np.testing.assert_array_equal(exact.scalar_arctan(y, 3.0, start=2.0, b=0.0), 2.0)
    np.testing.assert_allclose(exact.scalar_arctan(y, 0.0, -2.5), -2.5, rtol=1e-15)
    # back along the flow, and as e^-t where arctan is linear
    there = float(exact.scalar_arctan(y, 3.0, 2.0)[0])
    np.testing.assert_allclose(exact.scalar_arctan(y, -3.0, there), 2.0, rtol=1e-14)
    np.testing.assert_allclose(exact.scalar_arctan(y, 5.0, 1e-9), 1e-9 * np.exp(-5.0), rtol=1e-14)
    with pytest.raises(ValueError, match="b must be finite"):
        exact.scalar_arctan(y, 1.0, b=np.inf)


def test_the_costate_solves_the_adjoint_equation():
    """p' = B*p with p(T) = f(T), for the linear flow of LM-10."""
    grid = split(UNIT, [0.5], lambda panel: gauss_legendre(panel, 8))
    network, control, _ = exact.rank_one.setup(grid, 1)
    at = lambda t: exact.rank_one_costate(grid.coordinates, t)  # noqa: E731
    np.testing.assert_allclose(at(1.0), exact.rank_one.solution(grid.coordinates, 1.0), rtol=1e-14)
    h = 1e-4
    slope = (8 * (at(0.4 + h) - at(0.4 - h)) - (at(0.4 + 2 * h) - at(0.4 - 2 * h))) / (12 * h)
    back, _ = network.vjp(np.zeros((16, 1)), control.at(0.4), 0.4, at(0.4)[:, None])
    np.testing.assert_allclose(slope, -back[:, 0], rtol=0, atol=1e-10)


def test_bad_input():
    with pytest.raises(ValueError, match="rho must be between 0 and 1"):
        exact.poisson_circle(1.5)
