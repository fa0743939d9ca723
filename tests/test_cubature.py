"""Discs and triangles: rules of the degree that they state, and networks on them."""

from itertools import pairwise
from math import factorial

import numpy as np
import pytest
from scipy.special import eval_jacobi, gamma, iv

from continuum import (
    Circle,
    Disc,
    Interval,
    LowRank,
    TimeMesh,
    Triangle,
    WidthDepth,
    cubature,
    gauss_legendre,
    identity,
)
from continuum.domains import factors
from continuum.sobol import sobol
from continuum.transfers import prolongation
from solvers import DOP853, integrate

DISC = Disc((0.3, -0.2), 0.8)
TRIANGLE = Triangle((0.1, 0.2), (-1.0, 0.7), (0.4, 1.5))  # clockwise
DEGREES = [0, 1, 2, 3, 4, 5, 8, 11, 30]


def scaled(disc, y):
    return (y[0] - disc.centre[0]) / disc.radius, (y[1] - disc.centre[1]) / disc.radius


def barycentric(triangle, y):
    corners = np.array([triangle.first, triangle.second, triangle.third])
    return np.linalg.solve(np.vstack([corners.T, np.ones(3)]), np.vstack([y, np.ones(y.shape[1])]))


@pytest.mark.parametrize("degree", DEGREES)
def test_the_rule_on_a_disc_has_its_degree_and_no_more(degree):
    grid = cubature(DISC, degree)
    for i in range(degree + 1):
        for j in range(degree + 1 - i):
            x, y = scaled(DISC, grid.coordinates)
            even = i % 2 == 0 and j % 2 == 0
            angles = 2 * gamma((i + 1) / 2) * gamma((j + 1) / 2) / gamma((i + j) / 2 + 1)
            exact = DISC.radius**2 * angles / (i + j + 2) if even else 0.0
            assert grid.integrate(x**i * y**j) == pytest.approx(exact, rel=1e-13, abs=1e-15)
    x, y = scaled(DISC, grid.coordinates)
    beyond = grid.integrate(((x + 1j * y) ** (degree + 1)).real)  # exactly 0
    assert beyond > 0.2 * DISC.measure / (degree + 1)
    assert np.all(grid.weights > 0)
    assert np.all(x**2 + y**2 < 1)
    assert grid.weights.sum() == pytest.approx(DISC.measure, rel=1e-14)


@pytest.mark.parametrize("degree", DEGREES)
def test_the_rule_on_a_triangle_has_its_degree_and_no_more(degree):
    grid = cubature(TRIANGLE, degree)
    at = barycentric(TRIANGLE, grid.coordinates)
    for i in range(degree + 1):
        for j in range(degree + 1 - i):
            k = degree - i - j  # these span all polynomials of the degree
            product = factorial(i) * factorial(j) * factorial(k)
            exact = 2 * TRIANGLE.measure * product / factorial(degree + 2)
            found = grid.integrate(at[0] ** i * at[1] ** j * at[2] ** k)
            assert found == pytest.approx(exact, rel=1e-12)
    count = degree // 2 + 1
    assert len(grid) == count**2
    square = eval_jacobi(count, 1, 0, 2 * at[1] - 1) ** 2  # degree 2 count, zero at all nodes
    assert abs(grid.integrate(square)) < 1e-20 * count**8
    # its integral is |Y| / (count + 1), as a rule of higher degree finds
    fine = cubature(TRIANGLE, degree + 4)
    values = eval_jacobi(count, 1, 0, 2 * barycentric(TRIANGLE, fine.coordinates)[1] - 1) ** 2
    assert fine.integrate(values) == pytest.approx(TRIANGLE.measure / (count + 1), rel=1e-12)
    assert np.all(grid.weights > 0)
    assert np.all((at > 0) & (at < 1))


def test_measures_do_not_depend_on_the_order_of_corners():
    assert DISC.measure == pytest.approx(np.pi * 0.64)
    assert Triangle().measure == 0.5
    turned = Triangle(TRIANGLE.second, TRIANGLE.third, TRIANGLE.first)
    flipped = Triangle(TRIANGLE.second, TRIANGLE.first, TRIANGLE.third)
    assert turned.measure == pytest.approx(TRIANGLE.measure)
    assert flipped.measure == pytest.approx(TRIANGLE.measure)
    assert TRIANGLE.measure == pytest.approx(0.79)  # |(-1.1, 0.5) x (0.3, 1.3)| / 2


def test_products_with_a_disc():
    tube = cubature(DISC, 4) * gauss_legendre(Interval(0, 2), 3)
    assert tube.dimension == tube.domain.dimension == 3
    x, y = scaled(DISC, tube.coordinates[:2])
    found = tube.integrate(x**2 * y**2 * tube.coordinates[2] ** 5)
    angles = np.pi / 4  # int cos^2 sin^2
    assert found == pytest.approx(DISC.radius**2 * angles / 6 * 2**6 / 6, rel=1e-13)
    assert (Interval(0, 1) * Circle() * DISC).dimension == 4


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Disc(radius=0.0), "radius must be finite and positive"),
        (lambda: Disc(radius=-1.0), "radius must be finite and positive"),
        (lambda: Disc((0.0, np.inf)), "centre must be finite"),
        (lambda: Disc((0.0, 0.0, 0.0)), "centre must have 2 entries"),
        (lambda: Triangle((0, 0), (1, 1), (3, 3)), "not on one line"),
        (lambda: Triangle((0, 0), (0, 0), (1, 0)), "not on one line"),
        (lambda: Triangle((1, 1), (1, 1), (1, 1)), "not on one line"),
        (lambda: Triangle(second=(1, np.nan)), "second must be finite"),
        (lambda: cubature(DISC, -1), "degree must be at least 0"),
        (lambda: gauss_legendre(DISC, 3), "no product of intervals"),
        (lambda: sobol(TRIANGLE, 3, 0), "no product of intervals"),
        (lambda: factors(DISC * Circle()), r"cubature\(domain, degree\)"),
        (lambda: prolongation(*(cubature(DISC, 0),) * 2), "no product of intervals"),
    ],
)
def test_bad_input_names_its_argument(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_factors_are_domains():
    with pytest.raises(TypeError, match=r"parts\[1\] must be an Interval, a Circle"):
        DISC * 3


def test_other_domains_have_rules_of_their_own():
    with pytest.raises(TypeError, match="domain must be a Disc or a Triangle"):
        cubature(Interval(0, 1), 3)


def on_disc(*k):
    """int exp(k . y) over DISC: e^(k . c) 2 pi R I_1(R |k|) / |k|."""
    size = np.hypot(*k)
    return (
        np.exp(np.dot(k, DISC.centre)) * 2 * np.pi * DISC.radius * iv(1, DISC.radius * size) / size
    )


def on_triangle(*k):
    """The same over TRIANGLE: 2 |Y| times the divided difference of exp at the three k . corner."""
    a, b, c = (np.dot(k, p) for p in (TRIANGLE.first, TRIANGLE.second, TRIANGLE.third))
    left, right = (np.exp(b) - np.exp(a)) / (b - a), (np.exp(c) - np.exp(b)) / (c - b)
    return 2 * TRIANGLE.measure * (right - left) / (c - a)


@pytest.mark.parametrize(
    ("domain", "integral"), [(DISC, on_disc), (TRIANGLE, on_triangle)], ids=["disc", "triangle"]
)
def test_a_network_converges_exponentially_in_the_degree(domain, integral):
    """b = e^y0 e^(2 z1), sigma = id: f = f_I - e^y0 (e^(2 y1), f_I) (1 - e^(-k t)) / k with
    k = (e^y0, e^(2 y1)); f_I = e^(-y0 + 3 y1).
    """
    rate = integral(1, 2)
    share = integral(-1, 5) * -np.expm1(-rate) / rate
    errors = []
    for degree in (2, 5, 8, 11, 20):
        grid = cubature(domain, degree)
        network = WidthDepth(grid, identity, LowRank(1))
        kernel = ((lambda y: np.exp(y[0]),), (lambda z: np.exp(2 * z[1]),))
        control = network.control(TimeMesh(1.0, 1), kernel=kernel)
        initial = grid.sample(lambda y: np.exp(-y[0] + 3 * y[1]))
        f = integrate(network, control, initial, DOP853(rtol=1e-13, atol=1e-14)).trajectory.final
        exact = initial - grid.sample(lambda y: np.exp(y[0])) * share
        errors.append(np.abs(f - exact).max() / np.abs(exact).max())
    assert errors[0] > 1e-3
    assert all(later < earlier / 15 for earlier, later in pairwise(errors[:4]))
    assert errors[-1] < 2e-12
