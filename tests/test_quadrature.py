"""Rules integrate what they promise, on every domain."""

import numpy as np
import pytest

from continuum import Circle, Grid, Interval, Product, gauss_legendre, midpoint, periodic, trapezoid
from solvers import observed_orders


@pytest.mark.parametrize("points", [1, 2, 5])
def test_gauss_legendre_is_exact_up_to_its_degree_and_no_further(points):
    grid = gauss_legendre(Interval(-1, 2), points)
    for degree in range(2 * points):
        exact = (2.0 ** (degree + 1) - (-1.0) ** (degree + 1)) / (degree + 1)
        np.testing.assert_allclose(grid.integrate(grid.evaluate(lambda y, d=degree: y**d)), exact, rtol=1e-13)
    degree = 2 * points
    exact = (2.0 ** (degree + 1) + 1.0) / (degree + 1)
    assert abs(grid.integrate(grid.evaluate(lambda y: y**degree)) - exact) > 1e-3


def test_panels_put_kinks_on_their_ends():
    kink = lambda y: np.abs(y - 0.25)  # noqa: E731
    exact = (0.25**2 + 0.75**2) / 2
    aligned = gauss_legendre(Interval(0, 1), 2, panels=4)
    np.testing.assert_allclose(aligned.integrate(aligned.evaluate(kink)), exact, rtol=1e-14)
    crossed = gauss_legendre(Interval(0, 1), 2, panels=3)
    assert abs(crossed.integrate(crossed.evaluate(kink)) - exact) > 1e-4


@pytest.mark.parametrize("rule", [midpoint, trapezoid])
def test_second_order_rules(rule):
    cells = [8, 16, 32, 64]
    errors = []
    for n in cells:
        grid = rule(Interval(0, 2), n + (rule is trapezoid))
        errors.append(abs(grid.integrate(grid.evaluate(np.exp)) - (np.exp(2) - 1)))
    np.testing.assert_allclose(observed_orders(cells, errors), 2.0, atol=0.02)
    # the leading error: -h^2 (g'(b) - g'(a)) / 24 (midpoint), twice that (trapezoid)
    leading = (2 / 64) ** 2 * (np.exp(2) - 1) / (24 if rule is midpoint else 12)
    np.testing.assert_allclose(errors[-1], leading, rtol=1e-3)


def test_periodic_rule_is_spectral():
    grid = periodic(Circle(), 16)
    exact = 2 * np.pi * 1.266065877752008335598244625  # 2 pi I_0(1)
    np.testing.assert_allclose(grid.integrate(grid.evaluate(lambda y: np.exp(np.cos(y)))), exact, rtol=1e-14)
    assert grid.nodes[-1, 0] < 2 * np.pi


def test_products_order_nodes_with_the_first_factor_slowest():
    grid = gauss_legendre(Interval(0, 1), 3) * periodic(Circle(1.0), 4)
    assert grid.domain == Interval(0, 1) * Circle(1.0)
    assert grid.nodes.shape == (12, 2)
    assert np.all(grid.nodes[:4, 0] == grid.nodes[0, 0])
    np.testing.assert_allclose(grid.weights.sum(), 1.0, rtol=1e-14)
    # coordinates come first: y[0], y[1]
    values = grid.evaluate(lambda y: y[0] ** 2 * np.sin(2 * np.pi * y[1]) ** 2)
    np.testing.assert_allclose(grid.integrate(values), (1 / 3) * 0.5, rtol=1e-14)
    square = midpoint(Interval(0, 1) * Interval(0, 3), (2, 3))
    np.testing.assert_allclose(square.integrate(np.ones(6)), 3.0)
    assert isinstance(square.domain * Circle(), Product)
    assert (square.domain * Circle()).measure == pytest.approx(3 * 2 * np.pi)


def test_kernels_get_all_pairs_with_y_down_the_rows():
    grid = gauss_legendre(Interval(0, 1), 4)
    b = grid.evaluate_kernel(lambda y, z: y + 10 * z)
    np.testing.assert_array_equal(b, grid.nodes + 10 * grid.nodes.T)
    square = midpoint(Interval(0, 1) * Interval(0, 1), 2)
    b = square.evaluate_kernel(lambda y, z: y[0] + 10 * z[1])
    np.testing.assert_array_equal(b, square.nodes[:, :1] + 10 * square.nodes[:, 1])


def test_observed_nodes_have_no_weight():
    grid = gauss_legendre(Interval(0, 1), 4).observed_at(np.array([[0.5], [0.25]]))
    np.testing.assert_array_equal(grid.weights[-2:], 0.0)
    np.testing.assert_array_equal(grid.nodes[-2:, 0], [0.5, 0.25])
    np.testing.assert_allclose(grid.integrate(grid.evaluate(np.exp)), np.e - 1, rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gauss_legendre(Interval(0, 1), 0), "points must be at least 1"),
        (lambda: gauss_legendre(Interval(0, 1), 2.5), "points must be an integer"),
        (lambda: gauss_legendre(Circle(), 3), "use periodic"),
        (lambda: gauss_legendre(Interval(0, 1), 3, panels=0), "panels"),
        (lambda: trapezoid(Interval(0, 1), 1), "at least 2"),
        (lambda: periodic(Interval(0, 1), 3), "rule for circles"),
        (lambda: midpoint(Interval(0, 1) * Interval(0, 1), (2, 3, 4)), "2 ints"),
        (lambda: Interval(1, 0), "left < right"),
        (lambda: Circle(-1.0), "length"),
        (lambda: Grid(Interval(0, 1), np.zeros((3, 2)), np.ones(3)), r"nodes has shape \(3, 2\)"),
        (lambda: Grid(Interval(0, 1), np.zeros((3, 1)), np.ones(4)), "weights has shape"),
        (lambda: Grid(Interval(0, 1), np.zeros((3, 1)), -np.ones(3)), "weights must be >= 0"),
        (lambda: midpoint(Interval(0, 1), 3).sample(), "at least one"),
        (lambda: midpoint(Interval(0, 1), 3).sample(lambda y: np.ones(4)), "do not broadcast"),
        (lambda: midpoint(Interval(0, 1), 3).sample(lambda y: y * np.nan), "NaN"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
