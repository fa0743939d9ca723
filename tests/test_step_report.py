"""What theorems say of a step before a deep linear network is trained."""

import numpy as np
import pytest

from solvers.linear_networks import (
    largest_step,
    monotone_rate,
    monotone_step,
    root_step,
    spectral_radius_step,
    step_bound,
    step_report,
    vanishing_step,
)

R = np.array([[1.2, 0.3], [0.3, 0.6]])
TRIANGULAR = np.array([[1.0, 3.0], [0.0, 0.5]])


def after(target, layers, step, iterations, sigma=None, first=None):
    """The factors after so many steps of gradient descent, by hand; None if they are not finite."""
    n = len(target)
    sigma = np.eye(n) if sigma is None else sigma
    stack = [np.eye(n) for _ in range(layers)] if first is None else [np.array(w) for w in first]
    for _ in range(iterations):
        before, behind = [np.eye(n)], [np.eye(n)]
        for w in stack:
            before.append(w @ before[-1])
        for w in stack[::-1]:
            behind.append(behind[-1] @ w)
        error = (before[-1] - target) @ sigma
        if not np.abs(error).max() < 1e12:
            return None
        stack = [
            w - step * behind[layers - 1 - i].T @ error @ before[i].T for i, w in enumerate(stack)
        ]
    return np.array(stack)


def test_formulas_of_one_weight_per_layer():
    assert largest_step(2.0, 5) == pytest.approx(0.131950791077, rel=1e-11)
    assert largest_step(-2.0, 5, 4.0) == pytest.approx(0.131950791077 / 4, rel=1e-11)
    assert monotone_step(3.0, 4) == pytest.approx(0.0481125224, abs=5e-11)
    assert monotone_step(0.2, 4) == pytest.approx(0.4140746188, abs=5e-11)
    assert monotone_rate(3.0, 4, 0.5 * monotone_step(3.0, 4)) == pytest.approx(
        0.8477808347, abs=5e-11
    )
    for lam in (1e-8, 0.3, 1 - 1e-9, 1.0, 1 + 1e-9, 7.0):  # a step of delta_c / 2, by hand
        step, root = 0.5 * monotone_step(lam, 6, 2.0), lam ** (1 / 6)
        w, rate = 1.0, monotone_rate(lam, 6, step, 2.0)
        for k in range(1, 30):
            w -= step * 2.0 * w**5 * (w**6 - lam)
            assert abs(w - root) <= rate**k * abs(1 - root) + 1e-15
    w = 1 - monotone_step(0.3, 6) * (1 - 0.3)
    assert w == pytest.approx(0.3 ** (1 / 6), rel=1e-14)  # delta_c lands on the root
    assert monotone_step(1 - 1e-12, 6) == pytest.approx(1 / 6, rel=1e-11)
    assert vanishing_step(-1.0, 2.0) == 0.25
    assert 1.0 - vanishing_step(-1.0) * 2.0 == 0.0


def test_spectral_norm_and_spectral_radius():
    assert step_bound(TRIANGULAR, 3) == pytest.approx(0.14151, abs=5e-6)
    assert spectral_radius_step(TRIANGULAR, 3) == pytest.approx(2 / 3, rel=1e-14)
    assert root_step(TRIANGULAR, 3) == pytest.approx(1 / 3, rel=1e-14)
    assert root_step(2 * np.eye(2), 4) == pytest.approx(1 / (4 * 2**1.5), rel=1e-14)
    assert spectral_radius_step(R, 7) == pytest.approx(step_bound(R, 7), rel=1e-13)


def test_a_symmetric_target():
    report = step_report(R, layers=20, step=0.01)
    assert report.applying == ("Theorem 2", "Theorem 2, corrected")
    assert report.bound == pytest.approx(2 / (20 * np.linalg.norm(R, 2) ** 1.9), rel=1e-12)
    values, columns = np.linalg.eigh(R)
    rate = max(monotone_rate(lam, 20, 0.01) for lam in values)
    assert f"rho = {rate:.6g}" in report["Theorem 2, corrected"].consequence
    root = (columns * values ** (1 / 20)) @ columns.T
    first = np.linalg.norm(np.eye(2) - root, 2)
    for k in (1, 10, 100):
        stack = after(R, 20, 0.01, k)
        assert np.linalg.norm(stack[7] - root, 2) <= rate**k * first * (1 + 1e-9)
    assert "symmetric" in str(report)
    assert "no" in {h.verdict for h in report["Theorem 1, corrected"].hypotheses}
    long = step_report(R, layers=20, step=0.06)
    assert long.applying == ("Theorem 1", "Theorem 1, corrected")
    assert "almost every start" in long.verdict
    between = step_report(R, layers=20, step=0.04)
    assert between.applying == ()
    assert between.verdict.startswith("no theorem applies")


def test_a_triangular_target_does_not_have_what_theorem_2_lacks():
    report = step_report(TRIANGULAR, 3, 1 / 3)
    assert report["Theorem 2"].missing == ("R normal",)
    assert report["Theorem 2, corrected"].missing == ("R symmetric",)
    assert report.applying == ("Theorem 1, corrected",)
    assert "4.711 times" in report.verdict
    assert "Theorem 2 as printed" in report.verdict
    normal = report["Theorem 2"]["R normal"]
    expected = np.abs(TRIANGULAR @ TRIANGULAR.T - TRIANGULAR.T @ TRIANGULAR).max()
    assert normal.number == pytest.approx(expected / np.linalg.norm(TRIANGULAR, 2) ** 2)
    assert after(TRIANGULAR, 3, 1 / 3, 40) is None
    short = step_report(TRIANGULAR, 3, 0.01)
    assert "is false for R that is not normal" in short.verdict
    assert "no theorem applies" in short.verdict


def test_each_hypothesis_is_named():
    def missing(name, target=R, layers=3, step=0.05, **given):
        return step_report(target, layers, step, **given)[name].missing

    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    assert missing("Theorem 2", turn) == ("eigenvalues real", "eigenvalues > 0")
    assert missing("Theorem 2", [[1.0, 1.0], [0.0, 1.0]]) == ("R diagonalizable", "R normal")
    assert missing("Theorem 2", -R) == ("eigenvalues > 0",)
    assert missing("Theorem 2", np.diag([1.0, 0.0])) == ("eigenvalues > 0",)
    assert missing("Theorem 2", covariance=2 * np.eye(2)) == ("Sigma = I",)
    assert missing("Theorem 2", start="signs") == ("W_i[0] = I",)
    assert missing("Theorem 2", step=0.5) == ("step <= min(1, r^(-2(L-1)/L)) / L",)
    assert missing("Theorem 2, corrected", covariance=np.diag([2.0, 1.0])) == (
        "shared eigenspaces of R and Sigma",
    )
    flat = np.diag([1.0, 0.0])
    assert missing("Theorem 2, corrected", flat, covariance=flat) == ("Sigma non-singular",)
    assert missing("Proposition 3, by eigenvalues") == ("an eigenvalue < 0",)
    assert missing("Proposition 3, by eigenvalues", -R, 1) == ("L >= 2",)
    assert missing("Proposition 1", R) == ("n = 1",)
    assert missing("Proposition 1", 0.0) == ("lambda != 0",)
    assert missing("Proposition 2", -1.0) == ("lambda > 0",)
    assert missing("Proposition 3", -1.0, 1) == ("L >= 2",)
    assert missing("Proposition 3", -1.0, step=0.6) == ("step <= 1 / (sigma (1 - lambda))",)
    assert missing("Theorem 1", start="unitary", step=2.0) == ("W_i[0] has the eigenspaces of R",)
    jordan = np.eye(3) + np.diag([1.0, 1.0], 1)
    hidden = np.linalg.qr(np.vander(np.arange(1.0, 4.0)))[0]
    found = step_report(hidden @ jordan @ hidden.T, 3, 0.05)["Theorem 2"]
    assert found["R diagonalizable"].verdict == "undecided"
    assert found["eigenvalues real"].verdict in ("yes", "undecided")


def test_an_odd_number_of_minus_signs_turns_the_target():
    lam, step = -1.5, 0.02
    assert step_report(lam, 5, step).applying[0] == "Proposition 3"
    turned = step_report(lam, 5, step, start="signs")
    assert turned.applying == ("Proposition 2", "Theorem 2, corrected")
    assert "converges" in turned.verdict
    first = np.ones((5, 1, 1))
    first[0] = -1
    stack = after(np.array([[lam]]), 5, step, 400, first=first)
    np.testing.assert_allclose(np.abs(stack), 1.5**0.2, rtol=0, atol=1e-12)


def test_negative_eigenvalues_are_lost():
    target = np.array([[1.2, 0.3], [0.3, -0.6]])
    report = step_report(target, 4, 0.05)
    assert report.applying == ("Proposition 3, by eigenvalues",)
    lost = np.linalg.eigvalsh(target)[0]
    assert f"= {0.5 * lost**2:.6g}" in report.verdict
    stack = after(target, 4, 0.05, 3000)
    error = np.linalg.multi_dot(stack[::-1]) - target
    assert 0.5 * np.sum(error**2) == pytest.approx(0.5 * lost**2, rel=2e-3)


def test_shared_eigenspaces_are_left_where_they_are_not_the_steepest():
    """R = diag(4, 1), Sigma = diag(1, 10), L = 2: min delta_c = 1/20, yet the sharpness at the
    limit is 10 (4 + 1) = 50, in a direction that mixes the two; 2/50 < 1/20.
    """
    target, sigma = np.diag([4.0, 1.0]), np.diag([1.0, 10.0])
    report = step_report(target, 2, 0.045, covariance=sigma)
    assert report["Theorem 2, corrected"].missing == ("step <= 2 / sharpness at the limit",)
    assert report["Theorem 2, corrected"][
        "step <= 2 / sharpness at the limit"
    ].number == pytest.approx(0.04, rel=1e-14)
    near = np.eye(2) + 1e-9 * np.array([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [-1.0, 0.0]]])
    for step, leaves in ((0.039, False), (0.045, True)):
        stack = after(target, 2, step, 400, sigma, near)
        assert (abs(stack[0][0, 0] - 2) > 0.1) == leaves  # it then settles elsewhere
    assert step_report(target, 2, 0.039, covariance=sigma).applying == ("Theorem 2, corrected",)


def test_common_eigenvectors_where_a_mixture_has_equal_eigenvalues():
    """R + 0.618 Sigma is 1.309 I here, and any basis has its eigenvectors."""
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    r, sigma = np.diag([1.0, 0.691]), np.diag([0.5, 1.0])
    straight = step_report(r, 3, 0.1, covariance=sigma)
    turned = step_report(turn @ r @ turn.T, 3, 0.1, covariance=turn @ sigma @ turn.T)
    assert straight.applying == turned.applying == ("Theorem 2, corrected",)
    assert "factor of at most 0.85 in" in straight.verdict
    assert turned.verdict == straight.verdict


@pytest.mark.parametrize("size", [1e-200, 1e160, 1e200, -1e200])
@pytest.mark.parametrize("layers", [1, 2, 200])
def test_sizes_whose_powers_no_number_holds(size, layers):
    for target in (size, np.diag([size, 2.0]), size * np.eye(2)):
        report = step_report(target, layers, 0.001)
        assert report["Theorem 2"]["R normal"].verdict == "yes"
        expected = ("Theorem 1, corrected",) if abs(size) > 1 and layers > 1 else ()
        assert [n for n in report.applying if n == "Theorem 1, corrected"] == list(expected)
        assert str(report)
    assert largest_step(1e200, 200) == 0.0
    assert largest_step(1e-200, 200) == np.inf


def test_bad_input():
    with pytest.raises(ValueError, match="target"):
        step_report(np.ones((2, 3)), 3, 0.1)
    for step in (0.0, -1.0, np.inf):
        with pytest.raises(ValueError, match="step"):
            step_report(R, 3, step)
    with pytest.raises(ValueError, match="layers"):
        step_report(R, 0, 0.1)
    with pytest.raises(ValueError, match="start"):
        step_report(R, 3, 0.1, start="zero")
    with pytest.raises(ValueError, match="covariance"):
        step_report(R, 3, 0.1, covariance=-np.eye(2))
    with pytest.raises(ValueError, match="step must be at most"):
        monotone_rate(2.0, 3, 1.0)
    for formula in (largest_step, monotone_step):
        with pytest.raises(ValueError, match="eigenvalue"):
            formula(0.0, 3)
        with pytest.raises(ValueError, match="layers"):
            formula(1.0, 0)
        with pytest.raises(ValueError, match="sigma"):
            formula(1.0, 2, 0.0)
    with pytest.raises(ValueError, match="eigenvalue"):
        vanishing_step(0.5)
    with pytest.raises(ValueError, match="target"):
        spectral_radius_step(np.zeros((2, 2)), 2)
    with pytest.raises(ValueError, match="theorem"):
        step_report(R, 3, 0.1)["Theorem 7"]
