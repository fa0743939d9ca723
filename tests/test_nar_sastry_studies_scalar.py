"""What the studies of products of numbers say."""

import numpy as np
import pytest

from studies.nar_sastry.lyapunov_stability import lyapunov_stability
from studies.nar_sastry.scalar_convergence import scalar_convergence


def test_below_the_critical_step_only_the_error_vanishes():
    case = lyapunov_stability(kappa=1.2, share=0.95, iterations=250)
    error, distance = np.abs(case["error"].values), case["distance"].values
    assert error[0] > 1e-7
    assert error[-1] < 1e-13
    np.testing.assert_allclose(distance[0], 1e-7, rtol=1e-8)
    np.testing.assert_allclose(distance[-1], 1e-7 / 2**0.5, rtol=1e-5)
    assert distance.max() == distance[0]
    np.testing.assert_allclose(case["along"], 1e-7 / 2**0.5, rtol=1e-5)
    np.testing.assert_allclose(case["across"][1:10] / case["across"][:9].values, -0.9, rtol=1e-5)
    assert case["critical"] == pytest.approx(0.093217255272, abs=5e-13)
    assert not case["period_two"]


def test_above_it_the_iterates_leave():
    case = lyapunov_stability(kappa=1.0, share=1.05, angle=135.0, iterations=500)
    np.testing.assert_allclose(case["across"][1:10] / case["across"][:9].values, -1.1, rtol=1e-5)
    np.testing.assert_allclose(case["along"][:10], -1e-7 / 2**0.5, rtol=1e-4)
    assert case["distance"][-1] > 0.01
    assert case["period_two"]


@pytest.mark.parametrize(("eigenvalue", "late", "k"), [(3.0, 0.5, 30), (0.2, 0.9259280804, 140)])
def test_rates_of_proposition_2(eigenvalue, late, k):
    case = scalar_convergence(eigenvalue=eigenvalue, layers=4, iterations=150)
    assert case["above"] < 1e-12
    assert case["limit"] == pytest.approx(eigenvalue**0.25)
    assert case["late"] == pytest.approx(late, abs=1e-10)
    away = np.abs(case["weight"] - case["limit"]).values
    assert away[k + 1] / away[k] == pytest.approx(late, rel=1e-4)


def test_a_negative_eigenvalue():
    case = scalar_convergence(eigenvalue=-1.5, layers=4, iterations=300)
    assert case["weight"][-1] / case["law"][-1] == pytest.approx(1.0, abs=0.02)
    assert case["apart"] < 1e-14
    assert case["signed_loss"][60] < 1e-28
    np.testing.assert_allclose(case["signed_loss"][:30], case["mirror_loss"][:30], rtol=1e-6)
    assert np.isnan(case["rate"])


def test_bad_input():
    with pytest.raises(ValueError, match="eigenvalue"):
        scalar_convergence(eigenvalue=0.0)
    with pytest.raises(ValueError, match="layers"):
        lyapunov_stability(layers=1)
