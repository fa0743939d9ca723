"""Studies of fits by convex networks: plateaus, Figure 4, gradients of biases."""

import numpy as np
import pytest
from pictures import check_pictures

from studies.bench.parameters import ParameterGrid
from studies.nar_sastry.bias_gradients import bias_ratio
from studies.nar_sastry.piecewise_affine import levels, two_layers
from studies.nar_sastry.plateaus import figure_4, plateaus, projected_rmse


def test_plateaus_are_stationary_in_their_kinks():
    x, y = figure_4()
    assert np.all(np.isin(np.round(np.diff(y) / np.diff(x), 9), [1.0, -2.0, -1.0]))
    for value, kinks in plateaus(x, y, 1):
        for shift in (1e-4, -1e-4):
            assert projected_rmse(x, y, kinks + shift) > value
    assert projected_rmse(x, y, np.array([0.3, 0.5, 0.7])) < 1e-15
    line = np.sum(x * y) / np.sum(x * x) * x
    through = projected_rmse(x, y, np.zeros(0), origin=True)
    assert through == pytest.approx(np.sqrt(np.mean((line - y) ** 2)), rel=1e-12)


def test_levels_count_each_plateau_where_it_first_appears():
    x, y = figure_4(41)
    for origin in (False, True):
        found = levels(x, y, origin)
        assert [kinks for kinks, _ in found] == sorted(kinks for kinks, _ in found)
        values = sorted(value for _, value in found)
        assert np.all(np.diff(values) > 1e-6)


def test_two_layers_fit_a_parabola_by_three_slopes():
    """Least squares over free kinks: x + x^2 less its best three pieces has equal pieces."""
    network, x, y, states = two_layers(101)
    np.testing.assert_allclose(network.slopes, [4 / 3, 2.0, 8 / 3], rtol=0, atol=0.02)
    np.testing.assert_allclose(network.breakpoints, [1 / 3, 2 / 3], rtol=0, atol=0.01)
    h = network.readout[0] * states[-1] + network.offset
    np.testing.assert_allclose(h, network.value(x), rtol=0, atol=1e-14)
    best = plateaus(x, y, 2, starts=3)[0][0]
    assert np.sqrt(np.mean((h - y) ** 2)) == pytest.approx(best, rel=1e-4)


def test_bias_ratios_are_of_the_order_of_the_weights():
    ratios = [bias_ratio(10, 3, w) for w in (1e-5, 1e-6)]
    assert ratios[0] / ratios[1] == pytest.approx(10.0, rel=1e-2)
    assert bias_ratio(10, 3, 0.0) == 0.0


def test_pictures(tmp_path):
    grids: list[ParameterGrid] = [{"offset": [False, True], "seeds": [2], "iterations": [400]}]
    words = {
        "piecewise_affine": "d held at 0, 2 seeds, 400 steps of 0.02.*the value 0 at 0",
        "piecewise_affine_offset": "d trained, 2 seeds",
    }
    cases = check_pictures("piecewise_affine", grids, words, tmp_path / "a", "nar_sastry")
    for case in cases:
        squares = (case["fit"] - case["data"]) ** 2
        np.testing.assert_allclose(case["rmse"], np.sqrt(squares.mean("x")), rtol=1e-10)
    words = {"bias_gradients": r"medians of 2 seeds.*At w = 0 the largest of all is 0:"}
    check_pictures("bias_gradients", [{"seeds": [2]}], words, tmp_path / "b", "nar_sastry")
