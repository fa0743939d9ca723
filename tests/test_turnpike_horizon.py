"""The study horizon: errors under their bound, and pictures that say what they show."""

import numpy as np
import pytest
from pictures import check_pictures

from studies.bench.parameters import ParameterGrid
from studies.bench.store import case_parameters
from studies.turnpike.horizon import horizon
from studies.turnpike.planar_data import padded, points


def test_rings_for_two_horizons(tmp_path):
    """phi <= lambda V / T, classes are right, and the energy is at most V (SL1, 1)."""
    grids: list[ParameterGrid] = [{"horizon": [4.0, 9.0], "starts": [1]}]
    captions = {"trajectories": "Statuses: MINIMUM", "decay": r"30 samples in R\^3"}
    for case in check_pictures("horizon", grids, captions, tmp_path, "turnpike"):
        assert case.attrs["status"] == "MINIMUM"
        # of an augmented Lagrangian with a large weight: its last line search may meet rounding
        assert case.attrs["interpolant"] in ("MINIMUM", "CONVERGED", "LINE_SEARCH_FAILED")
        bound = float(case["bound"])
        assert 0.0 < float(case["error"]) < bound
        horizon_of, strength = (case_parameters(case)[n] for n in ("horizon", "strength"))
        assert float(case["energy"]) < bound * horizon_of / strength
        assert np.all(np.sign(case["states"].values[-1, 0]) == case["label"].values)


def test_no_bound_where_no_theorem_applies():
    case = horizon(horizon=4.0, network="WidthDepth", starts=1)
    assert case.attrs["interpolant"] == "no theorem applies"
    assert np.isnan(float(case["bound"]))


@pytest.mark.parametrize("wrong", [{"horizon": 0.5}, {"units": 1}, {"strength": 0.0}])
def test_parameters_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        horizon(**wrong)


def test_points():
    for name, count in (("rings", 30), ("moons", 20), ("spirals", 24), ("corners", 4)):
        x, labels = points(name)
        assert x.shape == (2, count)
        assert set(labels) == {-1.0, 1.0}
    assert np.all(padded(points("corners")[0], 4)[2:] == 0.0)
