"""The study small_lambda: one curve in lambda / T, and what it tends to."""

import numpy as np
import pytest
from pictures import check_pictures

from studies.bench.parameters import ParameterGrid
from studies.turnpike.small_lambda import apart, small_lambda


@pytest.fixture(scope="module")
def two_points():
    """On three horizons, 48 layers each."""
    return [small_lambda(horizon=t, starts=1) for t in (1.0, 9.0, 27.0)]


def test_runs_with_the_same_ratio_agree_to_rounding(two_points):
    """What is rounded in phi is the residual, about lambda / T, so its relative error grows."""
    for i, case in enumerate(two_points[1:], 1):
        for name, accuracy in (("error", 2e-11), ("energy", 1e-13), ("objective", 1e-13)):
            ratios, found = apart(case, two_points[:i], name)
            assert len(ratios) == (5 if i == 1 else 6)
            assert np.max(found) < accuracy


def test_other_layers_are_another_curve(two_points):
    other = small_lambda(horizon=9.0, layers=96, starts=1)
    found = apart(other, two_points, "error")[1]
    assert len(found) == 7
    assert np.all(found > 5e-3)


def test_the_limit_is_that_of_the_theorem(two_points):
    """phi / ratio^2 -> (N / 4) |grad V|^2 and T int |u|^2 -> V, phi <= V ratio (theory, SL1)."""
    case = two_points[-1]
    value, factor = float(case["least_norm"]), float(case["prefactor"])
    ratio, error, energy = (case[n].values for n in ("ratio", "error", "energy"))
    assert float(case["limit"]) == pytest.approx(factor, rel=3e-8)
    assert float(case["slope"][-1]) == pytest.approx(2.0, abs=2e-4)
    # the error of both expansions is of second order in the ratio
    left = value - 2.0 * factor * ratio - energy
    assert left[-2] / left[-1] == pytest.approx(9.0, rel=2e-3)
    assert np.all(error < value * ratio)
    assert np.all(np.diff(energy) > 0.0)
    assert np.all(energy < value)
    assert np.all(np.diff(case["objective"].values) < 0.0)


def test_the_limit_of_many_layers_is_that_of_the_ledger(two_points):
    """TP-08: V = 1.3168174030, (N / 4) |grad V|^2 = 1.82308053, from 48, 96 and 192 layers with
    errors of order 1 and 2 removed.
    """
    cases = [
        two_points[0],
        *(small_lambda(layers=k, starts=1, strengths=4) for k in (96, 192)),
    ]
    for name, reference, rtol in (
        ("least_norm", 1.3168174030, 3e-7),
        ("prefactor", 1.82308053, 3e-6),
    ):
        a, b, c = (float(case[name]) for case in cases)
        assert (a - 6.0 * b + 8.0 * c) / 3.0 == pytest.approx(reference, rel=rtol)


def test_xor():
    """TP-10: phi (T / lambda)^2 of 128 layers, lambda = 0.1, T = 4096."""
    case = small_lambda(data="xor", horizon=81.0, layers=128, starts=2)
    x, y = case["ratio"].values[-2:], (case["error"] / case["ratio"] ** 2).values[-2:]
    assert np.interp(0.1 / 4096, x[::-1], y[::-1]) == pytest.approx(106.35, abs=0.005)


@pytest.mark.parametrize(
    "wrong", [{"horizon": 0.0}, {"layers": 1}, {"strengths": 2}, {"starts": 0}]
)
def test_parameters_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        small_lambda(**wrong)


def test_pictures(tmp_path):
    grids: list[ParameterGrid] = [
        {"horizon": [1.0, 3.0], "layers": [8], "strengths": [4], "starts": [1]},
        {"horizon": [1.0], "layers": [16], "strengths": [4], "starts": [1]},
    ]
    captions = {
        "two_points": r"5 values of lambda / T, from 8 pairs.* differ by [0-9.]+e-1[2-6] of phi.*"
        r"one curve.*phi differs by 0\.\d+ with 16 layers\.$"
    }
    check_pictures("small_lambda", grids, captions, tmp_path, paper="turnpike")
