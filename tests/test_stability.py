"""Steady states, spectra and the Gram-matrix test against closed forms."""

from math import e, pi, sqrt

import numpy as np
import pytest

from continuum import (
    Interval,
    LowRank,
    TimeMesh,
    WidthDepth,
    elu,
    gauss_legendre,
    gelu,
    midpoint,
    relu,
    sigmoid,
    tanh,
)
from solvers import (
    explain,
    gram_test,
    linearized_spectrum,
    operator_matrix,
    steady_state,
)

UNIT = Interval(0, 1)
MESH = TimeMesh(1.0, 100)


def family(sigma, bias, kernel):
    def case(grid):
        network = WidthDepth(grid, sigma)
        return network, network.control(MESH, bias=bias, kernel=kernel)

    return case


def cells(n):
    return midpoint(UNIT, n)


def gauss(n):
    return gauss_legendre(UNIT, n)


def phi(y):
    return sqrt(2) * np.cos(pi * y)


# steady states


def test_a_in_the_range():
    """b = min(y, z), a = B 1 = y - y^2/2."""
    found = steady_state(family(tanh, lambda y: y - y * y / 2, np.minimum), cells, 25)
    assert (found.verdict, found.root_verdict) == ("converges", "converges")
    assert found.points == (25, 50, 100)
    assert found.null_space.shape == (100, 0)
    np.testing.assert_allclose(found.sums[-1], 1.0, atol=0.01)
    np.testing.assert_allclose(found.solution[5:-5], 1.0, atol=1e-8)
    assert found.residual < 1e-13
    assert found.zeros == "only at 0"
    assert "solvable" in found.sentence


def test_a_in_the_range_of_the_root_only():
    """a = y = b(y, 1): the sums are 1/h and 1 - h/2 on midpoints, exactly."""
    found = steady_state(family(tanh, lambda y: y, np.minimum), cells, 10)
    assert (found.verdict, found.root_verdict) == ("grows", "converges")
    np.testing.assert_allclose(found.sums, [10, 20, 40], rtol=1e-10)
    np.testing.assert_allclose(found.root_sums, 1 - np.array([0.1, 0.05, 0.025]) / 2, rtol=1e-10)


def test_least_norm_and_null_space_of_rank_one():
    """b = e^(y - z), a = 2 e^y: f = 2 e^-z / |e^-z|^2; N(B) is orthogonal to e^-z."""
    found = steady_state(
        family(relu, lambda y: 2 * np.exp(y), lambda y, z: np.exp(y - z)), gauss, 4
    )
    grid = gauss(16)
    np.testing.assert_allclose(
        found.solution[:, 0], 4 / (1 - e**-2) * np.exp(-grid.coordinates), rtol=1e-13
    )
    np.testing.assert_allclose(found.sums[-1], 8 / (1 - e**-2), rtol=1e-13)
    assert found.verdict == "converges"
    null, w = found.null_space, grid.weights
    assert null.shape == (16, 15)
    np.testing.assert_allclose(null.T @ (w[:, None] * null), np.eye(15), atol=1e-13)
    np.testing.assert_allclose((w * np.exp(-grid.coordinates)) @ null, 0.0, atol=1e-13)
    assert found.zeros == "at 0 and elsewhere"
    assert "other f" in found.sentence


def test_orthogonal_to_the_range():
    found = steady_state(family(sigmoid, phi, 1.0), gauss, 6)
    assert found.verdict == found.root_verdict == "grows"
    assert found.outside == pytest.approx(1.0, abs=1e-12)
    assert found.residual == pytest.approx(1.0, abs=1e-12)
    assert found.zeros == "not at 0"
    assert "not steady" in found.sentence


def test_a_small_singular_value_above_rounding():
    """b = 1 + 2e-9 cos cos: rounding moves the range by 1e-7, and a = cos is in it."""
    cosine = lambda y: np.cos(pi * y)  # noqa: E731
    kernel = lambda y, z: 1.0 + 2e-9 * cosine(y) * cosine(z)  # noqa: E731
    found = steady_state(family(tanh, cosine, kernel), cells, 16)
    assert found.verdict == found.root_verdict == "converges"
    assert found.outside == 0.0
    assert found.null_space.shape == (64, 62)
    other = steady_state(family(tanh, lambda y: np.cos(2 * pi * y), kernel), cells, 16)
    assert other.verdict == "grows"


def test_gram_test_with_a_small_singular_value():
    """b = 1 + c cos cos, D T = diag(1, c / 2), known up to rounding of the singular vectors."""
    small = lambda c: lambda y, z: 1.0 + c * np.cos(pi * y) * np.cos(pi * z)  # noqa: E731
    found = gram_test(*family(tanh, 0.0, small(2e-9))(cells(32)))
    assert (found.applies, found.decided, len(found.singular_values)) == (True, True, 2)
    found = gram_test(*family(tanh, 0.0, small(-2e-9))(cells(32)))
    assert (found.applies, found.decided) == (False, True)
    found = gram_test(*family(tanh, 0.0, small(2e-12))(cells(32)))
    assert (found.applies, found.decided) == (False, False)
    assert "rounding does not decide" in found.sentence
    network, control = family(tanh, 0.0, small(2e-12))(cells(32))
    assert explain(network, control)["3.4"]["D T positive definite"].verdict == "undecided"


def test_a_smooth_kernel_does_not_decide():
    """Singular values that pass below rounding leave the question of a rough a open."""
    kernel = lambda y, z: np.exp(-20 * (y - z) ** 2)  # noqa: E731
    found = steady_state(family(tanh, lambda y: np.abs(y - 0.4), kernel), gauss, 24)
    assert found.verdict == "undecided"
    assert "do not decide" in found.sentence


def test_steady_states_ask_for_constant_controls():
    with pytest.raises(ValueError, match="constant in time"):
        steady_state(family(tanh, lambda y, t: y + t, 1.0), gauss, 4)
    network = WidthDepth(gauss(3), tanh)
    space = network.controls(TimeMesh(1.0, 2))
    still, moving = space.sample(kernel=1.0), space.sample(bias=np.array([[0.0] * 3, [1.0] * 3]))
    assert steady_state(lambda grid: (network, still), gauss, 3).verdict == "converges"
    with pytest.raises(ValueError, match="constant in time"):
        steady_state(lambda grid: (network, moving), gauss, 3)


# spectra


def test_spectrum_of_rank_one():
    """b = e^(y - z): eigenvalues 1, 0, ..., 0; b = -1 with sigma'(0) = 1/2; b = min(y, z) > 0."""
    network, control = family(tanh, 0.0, lambda y, z: np.exp(y - z))(gauss(8))
    found = linearized_spectrum(network, control)
    np.testing.assert_allclose(found.eigenvalues[-1], -1.0, rtol=1e-13)
    np.testing.assert_allclose(found.eigenvalues[:-1], 0.0, atol=1e-13)
    assert not found.frozen
    assert "not asymptotically" in found.sentence
    network, control = family(gelu, 0.0, -1.0)(gauss(8))
    found = linearized_spectrum(network, control)
    np.testing.assert_allclose(found.eigenvalues[0], 0.5, rtol=1e-13)
    assert "unstable" in found.sentence
    network, control = family(tanh, 0.0, np.minimum)(gauss(8))
    assert "no exponential rate" in linearized_spectrum(network, control).sentence


def test_frozen_spectrum_of_rank_one():
    """-sigma'(u) B with sigma'(u) = 1 - y^2 and b = e^(y - z): the one eigenvalue is -int (1 - y^2)
    = -2/3.
    """
    network, control = family(tanh, lambda y: np.arctanh(y), lambda y, z: np.exp(y - z))(gauss(8))
    found = linearized_spectrum(network, control, np.zeros((8, 1)))
    np.testing.assert_allclose(found.eigenvalues[-1], -2 / 3, rtol=1e-13)
    assert found.frozen
    assert "LM-41" in found.sentence


def test_a_moving_kernel_is_frozen():
    """b = 1 + t, at t = 1/2."""
    network, control = family(tanh, 0.0, lambda y, z, t: 1.0 + t + 0 * y * z)(gauss(3))
    found = linearized_spectrum(network, control, t=0.5)
    np.testing.assert_allclose(found.eigenvalues[-1], -1.5, rtol=1e-13)
    assert found.frozen


def test_nodes_of_weight_zero_do_not_count():
    grid = gauss(3).observed_at(np.array([[0.5], [0.9]]))
    network, control = family(tanh, 0.0, lambda y, z: np.exp(y - z))(grid)
    s = operator_matrix(network, control)
    assert s.shape == (3, 3)
    root = np.sqrt(grid.weights[:3])
    y = grid.coordinates[:3]
    np.testing.assert_allclose(s, np.outer(root * np.exp(y), root * np.exp(-y)), rtol=1e-14)


@pytest.mark.parametrize("sigma", [relu, elu(2.0)])
def test_a_kink_has_no_linearisation(sigma):
    network, control = family(sigma, 0.0, 1.0)(gauss(2))
    with pytest.raises(ValueError, match="no derivative at 0"):
        linearized_spectrum(network, control)
    assert linearized_spectrum(network, control, -np.ones((2, 1))).frozen


def test_sigmoid_has_no_steady_state_to_linearise_at():
    network, control = family(sigmoid, 0.0, 1.0)(gauss(2))
    with pytest.raises(ValueError, match="not 0"):
        linearized_spectrum(network, control)


# the Gram-matrix test


@pytest.mark.parametrize(("angle", "applies"), [(1.0, True), (2.0, False)])
def test_gram_test_of_rank_one(angle, applies):
    """B = 3 (psi, .) phi, (phi, psi) = cos angle."""
    grid = gauss(24)
    one, two = phi(grid.coordinates), sqrt(2) * np.cos(2 * pi * grid.coordinates)
    network = WidthDepth(grid, tanh, LowRank(1))
    psi = np.cos(angle) * one + np.sin(angle) * two
    control = network.control(MESH, kernel=np.stack([3 * one[:, None], psi[:, None]]))
    found = gram_test(network, control)
    np.testing.assert_allclose(found.singular_values, [3.0], rtol=1e-13)
    for value in (found.gram * 3, found.symmetric_dt, found.symmetric_dtt, found.eigenvalues):
        np.testing.assert_allclose(value, 3 * np.cos(angle), rtol=1e-12)
    assert found.applies is applies
    assert found.decreases is applies
    assert ("Theorem 3.4 applies" in found.sentence) is applies


def test_gram_test_tells_its_two_matrices_apart():
    """LM-35: DT is positive definite and D T^T is not; T up to the signs of the singular
    functions.
    """
    grid = gauss(40)
    modes = np.stack([sqrt(2) * np.cos(k * pi * grid.coordinates) for k in range(1, 5)], axis=1)
    t = 0.85 * np.array([[0.4, -0.09], [0.9, 0.4]])
    psi = modes @ np.vstack([t, np.linalg.cholesky(np.eye(2) - t.T @ t).T])
    network = WidthDepth(grid, tanh)
    control = network.control(MESH, kernel=(modes[:, :2] * np.array([10.0, 1.0])) @ psi.T)
    found = gram_test(network, control)
    sign = np.sign(found.gram[1, 0] / t[1, 0])
    np.testing.assert_allclose(found.gram * np.array([[1, sign], [sign, 1]]), t, atol=1e-13)
    assert found.applies
    assert not found.decreases
    assert "may first grow" in found.sentence
    symmetric = gram_test(*family(tanh, 0.0, np.minimum)(cells(20)))
    assert symmetric.applies
    assert "no gap" in symmetric.sentence


def test_gram_test_of_nothing():
    network, control = family(tanh, 0.0, 0.0)(gauss(2))
    with pytest.raises(ValueError, match="kernel is zero"):
        gram_test(network, control)


def test_only_for_width_depth_and_its_controls():
    _, control = family(tanh, 0.0, 1.0)(gauss(2))
    with pytest.raises(ValueError, match="another network"):
        linearized_spectrum(WidthDepth(gauss(3), tanh), control)
    with pytest.raises(TypeError, match="WidthDepth"):
        operator_matrix("network", control)  # type: ignore[arg-type]
