"""The sweep against dense linear algebra, on random systems that belong to no network."""

from dataclasses import replace

import numpy as np
import pytest

from solvers.adjoint.linear_quadratic import (
    Borders,
    LinearQuadratic,
    reduced_gradient,
    reduced_hessian,
)
from solvers.descent.riccati import in_python, linear_path, negative_curvature, sweep
from solvers.descent.roots import groups

SHAPES = [
    (6, 3, 2, 2, 0),
    (5, 2, 3, 9, 0),
    (4, 1, 6, 6, 2),
    (5, 4, 1, 1, 3),
    (3, 1, 2, 20, 1),
    (1, 2, 2, 3, 0),
    (3, 2, 4, 5, 2),
]
"""Layers, samples, units, controls, static coefficients."""
EVERY = pytest.mark.parametrize("shape", SHAPES, ids=str)
WAYS = pytest.mark.parametrize("solve", [sweep, in_python], ids=["chosen", "NumPy"])


def random_system(rng, shape, curvature=1.0, diagonal=False):
    """Curvatures of both signs around those of the given size in the control."""
    count, samples, units, m, p = shape

    def symmetric(*lead, size):
        x = rng.standard_normal((*lead, size, size))
        return x + np.swapaxes(x, -1, -2)

    def normal(scale, *size):
        return scale * rng.standard_normal(size)

    r = 0.3 * symmetric(count, size=m) + curvature * np.eye(m)
    if diagonal:
        r = r * np.eye(m)
    lq = LinearQuadratic(
        np.eye(units) + normal(0.3, count, samples, units, units),
        normal(0.4, count, samples, units, m),
        0.3 * symmetric(count + 1, samples, size=units),
        normal(0.2, count, samples, units, m),
        r,
        normal(1.0, count + 1, samples, units),
        normal(1.0, count, m),
    )
    borders = None
    if p:
        borders = Borders(
            normal(0.3, count, samples, units, p),
            normal(0.2, count + 1, samples, units, p),
            normal(0.2, count, m, p),
            0.5 * symmetric(size=p) + 2.0 * curvature * np.eye(p),
            normal(1.0, p),
        )
    return lq, borders, rng.uniform(0.5, 2.0, count * m + p)


@EVERY
@WAYS
@pytest.mark.parametrize("diagonal", [False, True], ids=["full", "diagonal"])
def test_the_stationary_point_of_the_model(rng, shape, diagonal, solve):
    lq, borders, metric = random_system(rng, shape, 8.0, diagonal)
    for shift in (0.0, 3.0):
        found = solve(lq, metric, shift, borders)
        dv, dz = linear_path(lq, found, borders)
        hessian = reduced_hessian(lq, borders) + shift * np.diag(metric)
        gradient = reduced_gradient(lq, borders)
        exact = np.linalg.solve(hessian, -gradient)
        step = np.append(dv.ravel(), found.ds)
        np.testing.assert_allclose(step, exact, rtol=0, atol=1e-12 * np.max(np.abs(exact)))
        assert found.predicted == pytest.approx(-0.5 * gradient @ exact, rel=1e-12)
        residual = hessian @ step + gradient
        assert np.max(np.abs(residual)) <= 1e-12 * np.max(np.abs(gradient))
        assert not np.any(dz[0])


@EVERY
@WAYS
@pytest.mark.parametrize("diagonal", [False, True], ids=["full", "diagonal"])
def test_negative_pivots_number_the_negative_eigenvalues(rng, shape, diagonal, solve):
    """At shifts of both signs, between which the number runs through all its values."""
    met = set()
    for _ in range(3):
        lq, borders, metric = random_system(rng, shape, 1.0, diagonal)
        root = 1.0 / np.sqrt(metric)
        values = np.linalg.eigvalsh(root[:, None] * reduced_hessian(lq, borders) * root)
        gaps = -0.5 * (values[1:] + values[:-1])
        for shift in (0.0, *gaps[:: max(1, len(gaps) // 8)], -values[0] + 1.0, -values[-1] - 1.0):
            negative = int(np.sum(values + shift < 0.0))
            found = solve(lq, metric, float(shift), borders)
            assert found.inertia == negative
            assert found.ended == -1
            ended = solve(lq, metric, float(shift), borders, pivots="end").ended
            assert (ended == -1) == (negative == 0)
            met.add(negative)
    assert len(met) > 3 or len(values) < 4


@EVERY
@pytest.mark.parametrize("pivots", ["keep", "lift"])
def test_compiled_and_numpy_agree(rng, shape, pivots):
    for curvature in (-2.0, 0.0, 1.0, 8.0):
        lq, borders, metric = random_system(rng, shape, curvature)
        found, reference = (f(lq, metric, 0.1, borders, pivots=pivots) for f in (sweep, in_python))
        if pivots == "lift":
            dv = linear_path(lq, found, borders)[0].ravel()
            slope = reduced_gradient(lq, borders) @ np.append(dv, found.ds)
            assert slope == pytest.approx(-2.0 * found.predicted, rel=1e-12)
            assert slope < 0.0
        for name in ("law", "ds", "predicted", "negatives", "static"):
            a, b = getattr(found, name), getattr(reference, name)
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11, err_msg=name)
        bad = reference.negatives > 0
        np.testing.assert_allclose(found.least[bad], reference.least[bad], rtol=1e-10)
        assert np.all(found.least[~bad] > 0.0)


@EVERY
@WAYS
def test_negative_pivots_give_a_direction(rng, shape, solve):
    for curvature in (-1.0, 0.0, 1.0):
        lq, borders, metric = random_system(rng, shape, curvature)
        found = solve(lq, metric, 0.2, borders)
        direction = negative_curvature(lq, found, metric, borders)
        if found.inertia == 0:
            assert direction is None
            continue
        law, ds, least = direction
        dv = linear_path(lq, replace(found, law=law, ds=ds), borders)[0]
        step = np.append(dv.ravel(), ds)
        hessian = reduced_hessian(lq, borders) + 0.2 * np.diag(metric)
        assert step @ (metric * step) == pytest.approx(1.0, rel=1e-12)
        assert step @ hessian @ step == pytest.approx(least, rel=1e-12)
        assert least < 0.0


def test_blocks_are_found_and_used(rng):
    """Of sizes 1, 2 and 70, in mixed order; the sweep is that of the whole matrix."""
    order, m = rng.permutation(76), 76
    blocks = [order[:70], order[70:72], order[72:74], order[74:75], order[75:]]
    lq, _, metric = random_system(rng, (3, 1, 3, m, 0), 8.0)
    for k in range(3):
        whole, lq.R[k] = lq.R[k].copy() / 4 + 6.0 * np.eye(m), 0.0
        for block in blocks:
            lq.R[k][np.ix_(block, block)] = whole[np.ix_(block, block)]
    found = groups(lq.R)
    assert [g.shape for g in found] == [(2, 1), (2, 2), (1, 70)]
    assert {frozenset(i) for g in found for i in g.tolist()} == {frozenset(b) for b in blocks}
    step = linear_path(lq, sweep(lq, metric, 0.1))[0].ravel()
    hessian = reduced_hessian(lq) + 0.1 * np.diag(metric)
    exact = np.linalg.solve(hessian, -reduced_gradient(lq))
    np.testing.assert_allclose(step, exact, rtol=0, atol=1e-12 * np.max(np.abs(exact)))


@pytest.mark.parametrize("shape", [(3, 30, 4, 40, 2), (3, 1, 120, 40, 0)], ids=str)
def test_large_systems_take_blas(rng, shape):
    lq, borders, metric = random_system(rng, shape, 400.0)
    found, reference = sweep(lq, metric, 0.0, borders), in_python(lq, metric, 0.0, borders)
    scale = np.max(np.abs(reference.law))
    np.testing.assert_allclose(found.law, reference.law, rtol=0, atol=1e-11 * scale)
    assert found.predicted == pytest.approx(reference.predicted, rel=1e-11)


@pytest.mark.parametrize("shape", [(3, 2, 2, 3, 0), (3, 1, 2, 5, 1)], ids=str)
def test_what_is_not_finite_is_said(rng, shape):
    lq, borders, metric = random_system(rng, shape)
    lq.r[1, 0] = np.nan
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="infinite or NaN"):
        sweep(lq, metric, 0.0, borders)
