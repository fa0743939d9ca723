"""The sweep against dense linear algebra, on random systems that belong to no network."""

import numpy as np
import pytest

from solvers.adjoint.linear_quadratic import LinearQuadratic
from solvers.descent.riccati import in_python, linear_path, sweep

SHAPES = [(6, 3, 2, 2), (5, 2, 3, 9), (4, 1, 6, 6), (5, 4, 1, 1), (3, 1, 2, 20), (1, 2, 2, 3)]
"""Layers, samples, units, controls."""
EVERY = pytest.mark.parametrize("shape", SHAPES, ids=str)


def random_system(rng, shape, curvature=1.0, diagonal=False):
    """Curvatures of both signs around those of the given size in the control."""
    count, samples, units, m = shape

    def symmetric(*lead, size):
        x = rng.standard_normal((*lead, size, size))
        return x + np.swapaxes(x, -1, -2)

    r = 0.3 * symmetric(count, size=m) + curvature * np.eye(m)
    if diagonal:
        r = r * np.eye(m)
    lq = LinearQuadratic(
        np.eye(units) + 0.3 * rng.standard_normal((count, samples, units, units)),
        0.4 * rng.standard_normal((count, samples, units, m)),
        0.3 * symmetric(count + 1, samples, size=units),
        0.2 * rng.standard_normal((count, samples, units, m)),
        r,
        rng.standard_normal((count + 1, samples, units)),
        rng.standard_normal((count, m)),
    )
    return lq, rng.uniform(0.5, 2.0, (count, m))


def dense(lq, metric, shift):
    """(Hessian, gradient) of the model in all controls, through dz = T dv."""
    count, samples, units, m = lq.B.shape
    n = samples * units
    moved = np.zeros((count + 1, n, count * m))
    hessian, gradient = np.zeros((count * m, count * m)), np.zeros(count * m)
    for k in range(count + 1):
        big, t = np.zeros((n, n)), moved[k]
        for j in range(samples):
            part = slice(j * units, (j + 1) * units)
            big[part, part] = lq.Q[k, j]
        hessian += t.T @ big @ t
        gradient += t.T @ lq.q[k].reshape(n)
        if k == count:
            return hessian, gradient
        own = slice(k * m, (k + 1) * m)
        cross = t.T @ lq.S[k].reshape(n, m)
        hessian[:, own] += cross
        hessian[own, :] += cross.T
        hessian[own, own] += lq.R[k] + shift * np.diag(metric[k])
        gradient[own] += lq.r[k]
        for j in range(samples):
            part = slice(j * units, (j + 1) * units)
            moved[k + 1, part] = lq.A[k, j] @ t[part]
        moved[k + 1, :, own] += lq.B[k].reshape(n, m)


@EVERY
@pytest.mark.parametrize("diagonal", [False, True], ids=["full", "diagonal"])
@pytest.mark.parametrize("solve", [sweep, in_python], ids=["chosen", "NumPy"])
def test_the_stationary_point_of_the_model(rng, shape, diagonal, solve):
    lq, metric = random_system(rng, shape, 8.0, diagonal)
    for shift in (0.0, 3.0):
        found = solve(lq, metric, shift)
        dv, dz = linear_path(lq, found)
        hessian, gradient = dense(lq, metric, shift)
        exact = np.linalg.solve(hessian, -gradient)
        np.testing.assert_allclose(dv.ravel(), exact, rtol=0, atol=1e-12 * np.max(np.abs(exact)))
        assert found.predicted == pytest.approx(-0.5 * gradient @ exact, rel=1e-12)
        residual = hessian @ dv.ravel() + gradient
        assert np.max(np.abs(residual)) <= 1e-12 * np.max(np.abs(gradient))
        assert not np.any(dz[0])


@EVERY
@pytest.mark.parametrize("diagonal", [False, True], ids=["full", "diagonal"])
@pytest.mark.parametrize("solve", [sweep, in_python], ids=["chosen", "NumPy"])
def test_negative_pivots_number_the_negative_eigenvalues(rng, shape, diagonal, solve):
    """At shifts of both signs, between which the number runs through all its values."""
    met = set()
    for _ in range(3):
        lq, metric = random_system(rng, shape, 1.0, diagonal)
        root = 1.0 / np.sqrt(metric.ravel())
        values = np.linalg.eigvalsh(root[:, None] * dense(lq, metric, 0.0)[0] * root)
        gaps = -0.5 * (values[1:] + values[:-1])
        for shift in (0.0, *gaps[:: max(1, len(gaps) // 8)], -values[0] + 1.0, -values[-1] - 1.0):
            negative = int(np.sum(values + shift < 0.0))
            assert solve(lq, metric, float(shift)).inertia == negative
            lifted = solve(lq, metric, float(shift), lift=True).inertia
            assert (lifted == 0) == (negative == 0)
            met.add(negative)
    assert len(met) > 3 or len(values) < 4


@EVERY
def test_lifted_pivots_give_a_descent_direction(rng, shape):
    for curvature in (-2.0, 0.0, 1.0, 8.0):
        lq, metric = random_system(rng, shape, curvature)
        found, reference = (f(lq, metric, lift=True) for f in (sweep, in_python))
        dv = linear_path(lq, found)[0].ravel()
        gradient = dense(lq, metric, 0.0)[1]
        assert gradient @ dv == pytest.approx(-2.0 * found.predicted, rel=1e-9)
        assert found.predicted > 0.0
        np.testing.assert_allclose(found.gains, reference.gains, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found.opens, reference.opens, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found.values, reference.values, rtol=1e-8, atol=1e-9)
        np.testing.assert_array_equal(found.negatives, reference.negatives)


def test_large_systems_take_blas(rng):
    lq, metric = random_system(rng, (3, 30, 4, 40), 40.0)
    found, reference = sweep(lq, metric), in_python(lq, metric)
    np.testing.assert_allclose(found.gains, reference.gains, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.opens, reference.opens, rtol=0, atol=1e-12)
    assert found.predicted == pytest.approx(reference.predicted, rel=1e-12)


@pytest.mark.parametrize("shape", [(3, 2, 2, 3), (3, 1, 2, 5)], ids=str)
def test_what_is_not_finite_is_said(rng, shape):
    lq, metric = random_system(rng, shape)
    lq.r[1, 0] = np.nan
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="infinite or NaN"):
        sweep(lq, metric)
