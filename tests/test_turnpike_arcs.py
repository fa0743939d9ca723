"""The studies of the turnpike with arcs: two arcs, stabilization, the portrait in the plane."""

import numpy as np
import pytest
from pictures import check_pictures

from studies.turnpike.costate_portrait import costate_portrait, least, posed
from studies.turnpike.stabilization import stabilization
from studies.turnpike.two_arcs import two_arcs


def test_two_arcs():
    """The numbers of the case at T = 6, on 60 layers: those of the differential equation do not
    depend on the layers."""
    case = two_arcs(horizon=6.0, step=0.1)
    assert float(case["static_value"]) == pytest.approx(0.1550970423, abs=5e-11)
    assert float(case["exact_value"]) == pytest.approx(1.5051980689, abs=6e-11)
    assert case["rate"].values == pytest.approx([1.4463391, 1.3185140, 1.2927306], abs=6e-8)
    assert float(case["value"]) == pytest.approx(1.505, abs=0.03)
    for side in ("entry_fit", "exit_fit"):
        fit = case[side].values[0]
        assert fit[0] == pytest.approx(float(case["scheme_rate"][0]), abs=1e-11)
        assert fit[1] <= fit[0] <= fit[2]
    assert 0.0 < float(case["outside"]) < float(case["outside_bound"])
    # an exit: the last state is far from the static one
    assert float(case["norm"][-1]) < 0.8 < 1.0 < float(case["static_norm"])


def test_stabilization_of_two_points():
    """TP-23: mu = 2.33818294, and J = 0.696138912 up to the error of Euler's method."""
    coarse, fine = (stabilization(data="two points", per_unit=n) for n in (16, 32))
    assert float(fine["predicted"]) == pytest.approx(2.33818294, abs=6e-9)
    errors = [float(case["objective"]) - 0.696138912 for case in (coarse, fine)]
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.1)
    assert 2.0 * errors[1] - errors[0] == pytest.approx(0.0, abs=1e-3)
    low, high = fine["fit"].values[1:3]
    assert low < 2.338 < high
    assert high - low < 0.1
    # the energy identity is one of the differential equation
    assert float(coarse["identity_error"]) / float(fine["identity_error"]) > 1.6


def test_stabilization_without_spectral_gap():
    """TP-25: three points, two directions."""
    case = stabilization(data="three points", horizon=8.0, per_unit=8)
    assert int(case["neutral"]) == 1
    assert np.isnan(float(case["predicted"]))
    assert float(case["error"][-1]) > 1e-3


def test_the_portrait_is_that_of_a_saddle():
    case = costate_portrait(horizon=4.0, step=0.05, points=11)
    assert case["saddle"].values == pytest.approx([0.5, -0.5], abs=1e-12)
    assert float(case["rate"]) == pytest.approx(np.sqrt(2.0), abs=1e-12)
    assert float(case["manifold_error"]) < 1e-7
    assert float(case["static_value"]) == pytest.approx(0.25, abs=1e-14)
    assert float(case["run_costate"][-1]) == 0.0
    # both manifolds reach far, on both sides
    for name in ("stable", "unstable"):
        x = case[name].values[:, 0]
        assert min(x) < 0.3
        assert max(x) > 0.7
        assert np.all(np.diff(x) > 0.0)


def test_the_least_control_of_the_portrait(rng):
    """a + p sech^2(a - x) = 0, by bisection."""
    problem = posed(1.0, 4, 0.0)
    x, p = rng.uniform(-1, 1, 6), rng.uniform(-1, 0.5, 6)
    a, value = least(problem, x, p)
    low, high = np.full(6, -3.0), np.full(6, 3.0)
    for _ in range(60):
        middle = 0.5 * (low + high)
        above = middle + p / np.cosh(middle - x) ** 2 > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    assert a == pytest.approx(low, abs=1e-12)
    assert value == pytest.approx(
        0.5 * (x - 1) ** 2 + 0.5 * low**2 + p * np.tanh(low - x), abs=1e-12
    )


TINY = {
    "two_arcs": (
        [{"horizon": [3.0, 12.0], "step": [0.1], "points": [4]}],
        {"two_arcs": r"which none attains.* bounds it by [0-9.]+ for every horizon\."},
    ),
    "stabilization": (
        [
            {"data": ["two points"], "horizon": [8.0], "per_unit": [8]},
            {"data": ["three points"], "horizon": [8.0], "per_unit": [8]},
        ],
        {"stabilization": r"predicted rate 2\.338.*no spectral gap: a plateau"},
    ),
    "costate_portrait": (
        [{"horizon": [1.0, 2.0], "step": [0.1], "points": [11]}],
        {"costate_portrait": r"\(0\.500000, -0\.500000\) is a saddle with rates \+-1\.414214"},
    ),
}


@pytest.mark.parametrize("name", TINY)
def test_pictures_of_tiny_cases(name, tmp_path):
    check_pictures(name, *TINY[name], tmp_path, paper="turnpike")
