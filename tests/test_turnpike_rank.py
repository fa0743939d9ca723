"""The study rank: exponential decay within the rank, a plateau beyond it."""

import numpy as np
import pytest
from pictures import check_pictures

from studies.bench.parameters import ParameterGrid
from studies.turnpike.rank import rank, singular_values


def predicted(values: np.ndarray, strength: float) -> float:
    """2 (eig(K) / (N lambda))^(1/2), the least eigenvalue of K = the square of a singular value."""
    return 2.0 * float(values[-1]) / (len(values) * strength) ** 0.5


def rate_of_the_scheme(rate: float, step: float) -> float:
    """Of phi: r + 1 / r = 2 + (step mu)^2 for x, mu = rate / 2 (TP-24)."""
    return 2.0 * float(np.arccosh(1.0 + 0.5 * (0.5 * rate * step) ** 2)) / step


def check_exponential(case, strength):
    rate = float(case["predicted"])
    assert int(case["neutral"]) == 0
    assert rate == pytest.approx(predicted(case["singular"].values[1], strength), rel=1e-8)
    assert float(case["scheme"]) == pytest.approx(rate_of_the_scheme(rate, 1 / 32), rel=1e-8)
    fitted, low, high, _, _ = case["fit"].values
    assert low <= fitted <= high
    assert high == pytest.approx(float(case["scheme"]), abs=1e-3)
    assert high - low < 0.05
    # what phi is at t = 2 does not depend on the horizon, 8, 16 or 32
    early = case["error"].values[2:, 64]
    assert np.all(case["time"].values[2:, 64] == 2.0)
    assert np.ptp(early) < 1e-7 * early[0]
    # and at T / 2 = 2, 4 it falls at that rate
    fall = np.log(case["middle"].values[1] / case["middle"].values[2]) / 2.0
    assert fall == pytest.approx(rate, rel=5e-3)


def test_two_points():
    """The targets are -3/2 and 1: K is known before."""
    case = rank(data="two points", longest=32.0, starts=1)
    check_exponential(case, 0.1)
    at_targets = singular_values(np.array([[-1.5, 1.0]]))
    assert float(case["predicted"]) == pytest.approx(predicted(at_targets, 0.1), rel=1e-9)


def test_xor_in_three_dimensions():
    """TP-26: J, and the rate a posteriori; the data have rank 3 before the network moves them."""
    case = rank(data="xor in three dimensions", longest=32.0, starts=1)
    assert case.attrs["status"] == "minimum"
    assert case["objective"].sel(horizon=8.0) == pytest.approx(0.94966945, abs=5e-9)
    assert float(case["predicted"]) == pytest.approx(4.764, abs=5e-4)
    check_exponential(case, 0.02)
    first, last = case["singular"].values
    assert first[-1] < 1e-14
    assert last[-1] > 0.5


def test_three_points():
    """TP-25, all five horizons: T^2 phi(T / 2) to the 2 % of the ledger, J to its four digits."""
    case = rank(data="three points", starts=1).sel(horizon=[16.0, 32.0, 64.0, 128.0, 256.0])
    scaled = case["horizon"].values ** 2 * case["middle"].values
    assert scaled == pytest.approx([5.50, 6.61, 7.62, 8.13, 8.49], rel=0.005)
    known = [0.6207, 0.8089, 0.9197, 0.9811, 1.0135]
    assert case["objective"].values == pytest.approx(known, abs=5e-5)
    assert int(case["neutral"]) == 1
    assert np.isnan(float(case["predicted"]))
    assert np.all(case["singular"].values[:, -1] < 1e-14)


def test_xor_in_the_plane():
    """TP-27: J at T = 8, and 0.0235, which is T^2 phi(T / 2) at T = 32; it falls further."""
    case = rank(data="xor in the plane", longest=128.0)
    assert case["objective"].sel(horizon=8.0) == pytest.approx(1.308632, abs=5e-7)
    scaled = case["horizon"].values ** 2 * case["middle"].values
    assert scaled[4] == pytest.approx(0.0235, abs=5e-5)
    assert scaled[-1] < scaled[-2] < scaled[4]
    assert int(case["neutral"]) == 1


@pytest.mark.parametrize("wrong", [{"longest": 4.0}, {"per_unit": 2}, {"starts": 0}])
def test_parameters_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        rank(**wrong)


def test_pictures(tmp_path):
    grids: list[ParameterGrid] = [
        {
            "data": ["two points", "three points"],
            "longest": [16.0],
            "per_unit": [8],
            "starts": [1],
        }
    ]
    captions = {
        "rank": r"rank 2 at t = 0 and 2 at the end, of 2 samples, rate predicted 5\.228.*"
        r"rank 2 at t = 0 and 2 at the end, of 3 samples, 1 mode without rate.*not yet -2"
    }
    check_pictures("rank", grids, captions, tmp_path, paper="turnpike")
