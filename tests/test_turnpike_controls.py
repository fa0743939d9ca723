"""Studies of what controls cost: under a price and a bound, to move points, to spread them."""

import numpy as np
import pytest
from pictures import check_pictures

from studies.bench.parameters import ParameterGrid
from studies.turnpike.bang_off import bang_off
from studies.turnpike.controllability import controllability
from studies.turnpike.lower_bound import lower_bound


def test_bang_off(tmp_path):
    """TP-29: T* = 0.4208438024 for M = 2, T = 2; and no T* where it is best to rest."""
    case = bang_off(data="line", bound=2.0, horizon=2.0, per_unit=10)
    assert float(case["switching_time"]) == pytest.approx(0.4208438024, abs=1e-10)
    assert float(case["rest"]) == pytest.approx(0.02506281, abs=1e-5)  # of the finest mesh
    short = bang_off(data="line", bound=2.0, horizon=0.25, per_unit=8)  # T <= lambda / 2 D
    assert np.isnan(float(short["switching_time"]))
    assert not np.any(short["size"])
    grids: list[ParameterGrid] = [
        {"data": ["line"], "bound": [2.0, 4.0], "horizon": [2.0], "per_unit": [10]}
    ]
    words = r"line: M = 2: T\* = 0\.420844, phi\(T\*\) = 0\.0251.*M = 4: T\* = "
    check_pictures("bang_off", grids, {"bang_off": words}, tmp_path, "turnpike")
    with pytest.raises(ValueError, match="bound, horizon and scale must be > 0"):
        bang_off(bound=-1.0)


def test_controllability(tmp_path):
    """TP-35's first two rows, to the error of 8 layers; the control does what it is for."""
    case = controllability(largest=0.4, halvings=1, layers=8)
    np.testing.assert_allclose(case["ratio"], [1.29423, 1.26013], rtol=0, atol=5e-5)
    assert float(case["first_order"]) == pytest.approx(1.22903517, abs=6e-9)
    assert float(np.max(case["missed"])) < 1e-5
    grids: list[ParameterGrid] = [{"halvings": [1], "layers": [4]}]
    words = r"ends within .* of the targets for every r"
    check_pictures("controllability", grids, {"controllability": words}, tmp_path, "turnpike")
    with pytest.raises(ValueError, match="largest must be in"):
        controllability(largest=1.0)


def test_lower_bound(tmp_path):
    """Attained where sigma is the identity; log(sinh b / sinh a) for tanh."""
    flat = lower_bound(activation="identity", largest=3.0, count=2, layers=16)
    np.testing.assert_allclose(flat["needed"], flat["bound"], rtol=0, atol=1e-6)
    bent = lower_bound(activation="tanh", largest=3.0, count=2, layers=16)
    wanted = np.log(np.sinh(0.5 * bent["spread"]) / np.sinh(0.5))
    np.testing.assert_allclose(bent["needed"], wanted, rtol=0, atol=1e-6)
    grids: list[ParameterGrid] = [
        {"activation": ["identity", "arctan"], "count": [2], "layers": [4]}
    ]
    words = r"Needed over bound: identity \(\w+\): 1\.0000"
    check_pictures("lower_bound", grids, {"lower_bound": words}, tmp_path, "turnpike")
    with pytest.raises(ValueError, match="largest must be in"):
        lower_bound(largest=1.0)
