"""Studies of variable width, on small cases."""

import numpy as np
import pytest
from pictures import check_pictures

from continuum import Control, TimeMesh
from solvers import RK4, discretize
from studies import catalogue
from studies.bench.registry import find_study
from studies.turnpike.switched import switched
from studies.turnpike.variable_width import posed, variable_width, work


def test_the_studies_are_there():
    catalogue.load()
    assert not catalogue.FAILED
    for name in ("turnpike/variable_width", "turnpike/switched", "turnpike/images"):
        assert find_study(name).plot is not None


@pytest.mark.parametrize("data", ["xor", "cells"])
def test_the_narrow_network_is_contained_in_the_wide_one(rng, data):
    """Block-zero weights, or kernels constant on the old cells, give the same J: so optimal values
    do not increase with the width.
    """
    mesh, wide = TimeMesh(4.0, 8), 3 if data == "xor" else 4
    narrow = posed(data, [2], [], mesh, 0.02)
    staged = posed(data, [2, wide], [1.0], mesh, 0.02)
    control = narrow.space.random(rng)
    r = staged.network.transfers[0]
    image = {}
    for name, x in control.items():
        block = name.removeprefix("stage0.")
        image[f"stage0.{block}"] = x[:2]
        image[f"stage1.{block}"] = x[2:] @ r.T if block == "bias" else r @ x[2:] @ r.T
    embedded = Control(staged.space, image)
    assert discretize(staged, RK4()).value(embedded) == pytest.approx(
        discretize(narrow, RK4()).value(control), rel=1e-13
    )
    assert work(narrow) == 4 * 8 * 4
    assert work(staged) == 4 * (2 * 4 + 6 * wide**2)


def test_a_width_of_full_rank_removes_the_error(tmp_path):
    """Two cells cannot separate four corners along a flow; four can, from the change on."""
    grids = [
        {"data": ["cells"], "layers": [8], "starts": [1], "then": [2, 4], "first": [2]},
    ]
    words = r"best found: 2 to 4 at t = 0\.5: .* with less work: 2 to 4 at t = 0\.5, width 2\."
    captions = {"variable_width_cells": words}
    cases = check_pictures("variable_width", grids, captions, tmp_path, "turnpike")
    narrow, staged = sorted(cases, key=lambda case: float(case["work"]))
    assert float(narrow["least"].max()) == 0.0
    assert float(staged["least"][-1]) > 0.1
    assert staged.sizes["time"] == 10  # both sides of the change
    assert float(staged["error"][-1]) < 1e-2 * float(narrow["error"][-1])
    assert float(staged["objective"]) < float(narrow["objective"])


@pytest.mark.slow
def test_a_time_of_change_is_trained(tmp_path):
    grids = [{"first": [4], "then": [2], "layers": [4], "starts": [1], "points": [1]}]
    captions = {"switched": "Best found"}
    (found,) = check_pictures("switched", grids, captions, tmp_path, "turnpike")
    assert 0.0 < float(found["change"]) < 4.0
    assert float(found["objective"]) < float(found["held"])
    assert np.all(found["profile"] > float(found["objective"]))


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="even for cells"):
        variable_width(data="cells", first=2, then=3)
    with pytest.raises(ValueError, match="change in"):
        variable_width(change=5.0)
    with pytest.raises(ValueError, match="layers must be even"):
        switched(layers=5)
