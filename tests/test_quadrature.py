"""Rules integrate what they promise, on every domain."""

import numpy as np
import pytest

from continuum import (
    Circle,
    Grid,
    Interval,
    Line,
    Product,
    clenshaw_curtis,
    gauss_hermite,
    gauss_legendre,
    midpoint,
    partition,
    periodic,
    point_cloud,
    simpson,
    split,
    trapezoid,
)
from continuum.sobol import sobol
from solvers import observed_orders


@pytest.mark.parametrize("points", [1, 2, 5])
def test_gauss_legendre_is_exact_up_to_its_degree_and_no_further(points):
    grid = gauss_legendre(Interval(-1, 2), points)
    for degree in range(2 * points):
        exact = (2.0 ** (degree + 1) - (-1.0) ** (degree + 1)) / (degree + 1)
        np.testing.assert_allclose(
            grid.integrate(grid.evaluate(lambda y, d=degree: y**d)), exact, rtol=1e-13
        )
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


def test_simpson_has_order_four():
    cells, errors = [8, 16, 32], []
    for n in cells:
        grid = simpson(Interval(0, 2), n + 1)
        errors.append(abs(grid.integrate(grid.evaluate(np.exp)) - (np.exp(2) - 1)))
    np.testing.assert_allclose(observed_orders(cells, errors), 4.0, atol=0.03)
    np.testing.assert_allclose(errors[-1], (2 / 32) ** 4 * (np.exp(2) - 1) / 180, rtol=5e-3)
    cubic = simpson(Interval(-1, 3), 3)
    np.testing.assert_allclose(cubic.integrate(cubic.evaluate(lambda y: y**3)), 20.0, rtol=1e-14)


@pytest.mark.parametrize("points", [2, 3, 4, 9, 10])
def test_clenshaw_curtis_is_exact_up_to_its_degree(points):
    grid = clenshaw_curtis(Interval(-1, 2), points)
    for degree in range(points):
        exact = (2.0 ** (degree + 1) - (-1.0) ** (degree + 1)) / (degree + 1)
        np.testing.assert_allclose(
            grid.integrate(grid.evaluate(lambda y, d=degree: y**d)), exact, rtol=1e-13
        )
    coarse, fine = (
        clenshaw_curtis(Interval(0, 1), 5).nodes,
        clenshaw_curtis(Interval(0, 1), 9).nodes,
    )
    np.testing.assert_allclose(fine[::2], coarse, rtol=0, atol=1e-16)


def test_hermite_on_the_line():
    grid = gauss_hermite(12, scale=0.5)
    assert grid.domain == Line()
    gaussian = grid.evaluate(lambda y: np.exp(-((y / 0.5) ** 2)) * (1 + y**4))
    np.testing.assert_allclose(
        grid.integrate(gaussian), np.sqrt(np.pi) * 0.5 * (1 + 0.75 * 0.5**4), rtol=1e-13
    )
    other = gauss_hermite(60)
    wider = other.evaluate(lambda y: np.exp(-0.5 * y**2))
    np.testing.assert_allclose(other.integrate(wider), np.sqrt(2 * np.pi), rtol=1e-13)
    assert np.all(np.isfinite(gauss_hermite(300).weights))
    assert (gauss_hermite(3) * periodic(Circle(), 4)).domain.measure == np.inf


def test_split_panels():
    grid = split(Interval(0, 1), [0.3], lambda panel: gauss_legendre(panel, 2))
    assert len(grid) == 4
    jump = grid.evaluate(lambda y: np.where(y < 0.3, y, 5.0))
    np.testing.assert_allclose(grid.integrate(jump), 0.045 + 3.5, rtol=1e-14)


def test_partition_and_cloud():
    grid = partition([0.0, 0.1, 0.4, 1.0])
    np.testing.assert_allclose(grid.weights, [0.1, 0.3, 0.6])
    np.testing.assert_allclose(grid.nodes[:, 0], [0.05, 0.25, 0.7])
    cloud = point_cloud(Interval(0, 1), np.array([[0.2], [0.9]]), np.array([2.0, 3.0]))
    assert cloud.integrate(np.array([10.0, 100.0])) == 320.0


def test_sobol_points_integrate_in_many_dimensions():
    cube = Interval(0, 1) * Interval(0, 2) * Interval(-1, 1)
    errors = []
    for exponent in (6, 10, 14):
        grid = sobol(cube, exponent, seed=3)
        values = grid.evaluate(lambda y: np.exp(-y[0]) * np.cos(y[1]) * y[2] ** 2)
        errors.append(abs(grid.integrate(values) - (1 - np.exp(-1)) * np.sin(2) * 2 / 3))
    assert errors[-1] < 2e-6
    assert errors[0] > 100 * errors[-1]
    np.testing.assert_array_equal(sobol(cube, 4, seed=1).nodes, sobol(cube, 4, seed=1).nodes)
    np.testing.assert_allclose(grid.weights.sum(), 4.0)


def test_periodic_rule_is_spectral():
    grid = periodic(Circle(), 16)
    exact = 2 * np.pi * 1.266065877752008335598244625  # 2 pi I_0(1)
    np.testing.assert_allclose(
        grid.integrate(grid.evaluate(lambda y: np.exp(np.cos(y)))), exact, rtol=1e-14
    )
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
        (lambda: gauss_legendre(Line(), 3), "use gauss_hermite"),
        (lambda: simpson(Interval(0, 1), 4), "points must be odd"),
        (lambda: simpson(Interval(0, 1), 1), "at least 3"),
        (lambda: clenshaw_curtis(Interval(0, 1), 1), "at least 2"),
        (lambda: gauss_hermite(400), "at most 300"),
        (lambda: gauss_hermite(4, scale=0.0), "scale"),
        (
            lambda: split(Interval(0, 1), [0.5, 0.2], lambda p: midpoint(p, 2)),
            "increasing points inside",
        ),
        (
            lambda: split(Interval(0, 1), [1.5], lambda p: midpoint(p, 2)),
            "increasing points inside",
        ),
        (lambda: partition([0.0]), "at least two"),
        (lambda: partition([0.0, 1.0, 1.0]), "increase"),
        (
            lambda: point_cloud(Interval(0, 1), np.zeros((2, 1)), np.array([1.0, -1.0])),
            "weights must be >= 0",
        ),
        (
            lambda: point_cloud(Interval(0, 1), np.zeros((2, 1)), np.array([1.0, 1j])),
            "real numbers",
        ),
        (lambda: sobol(Circle(), 3, 0), "bounded intervals"),
        (lambda: sobol(Interval(0, 1), 30, 0), "at most 24"),
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
