"""Studies of variable width, on small cases."""

import numpy as np
import pytest

from continuum import Control, TimeMesh
from solvers import RK4, discretize
from studies import catalogue, run_sweep
from studies.bench.registry import find_study
from studies.bench.store import read_case
from studies.turnpike.switched import switched
from studies.turnpike.variable_width import posed, variable_width, work


def test_the_studies_are_there():
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


def ran(name, grids, folder):
    """The cases of a sweep, by `first`, and its only picture."""
    study = find_study(f"turnpike/{name}")
    done = run_sweep(study, grids, folder, progress="none")
    assert done.count("done") == len(study.expand(grids))
    cases = [read_case(path) for path in done.paths]
    (picture,) = study.plot(cases)
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in picture.figure.axes)
    return cases, picture


def test_a_width_of_full_rank_removes_the_error(tmp_path):
    """Two cells cannot separate four corners along a flow; four can, from the change on."""
    grids = [
        {"data": ["cells"], "layers": [8], "starts": [1], "then": [2, 4], "first": [2]},
    ]
    cases, picture = ran("variable_width", grids, tmp_path)
    narrow, staged = sorted(cases, key=lambda case: float(case["work"]))
    assert float(narrow["least"].max()) == 0.0
    assert float(staged["least"][-1]) > 0.1
    assert staged.sizes["time"] == 10  # both sides of the change
    assert float(staged["error"][-1]) < 1e-2 * float(narrow["error"][-1])
    assert float(staged["objective"]) < float(narrow["objective"])
    assert "best found" in picture.caption


@pytest.mark.slow
def test_a_time_of_change_is_trained(tmp_path):
    grids = [{"first": [4], "then": [2], "layers": [4], "starts": [1], "points": [1]}]
    (found,), picture = ran("switched", grids, tmp_path)
    assert 0.0 < float(found["change"]) < 4.0
    assert float(found["objective"]) < float(found["held"])
    assert np.all(found["profile"] > float(found["objective"]))
    assert "Best found" in picture.caption


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="even for cells"):
        variable_width(data="cells", first=2, then=3)
    with pytest.raises(ValueError, match="change in"):
        variable_width(change=5.0)
    with pytest.raises(ValueError, match="layers must be even"):
        switched(layers=5)


def test_convolutions_on_digits(tmp_path):
    """A few iterations on a few digits; the kernel of the image has 15 x 15 differences."""
    study = find_study("turnpike/images")
    grids = [{"method": ["linear", "image"], "samples": [50], "max_iterations": [15]}]
    done = run_sweep(study, grids, tmp_path, progress="none")
    cases = [read_case(path) for path in done.paths]
    linear, image = sorted(cases, key=lambda case: float(case["unknowns"]))
    assert float(linear["train"]) == 1.0
    assert float(linear["test"]) > 0.8
    assert int(image["unknowns"]) == 4 * (15 * 15 + 64) + 650
    assert float(image["train"]) > float(image["accuracy"][0])
    assert image["kernels"].shape == (4, 15, 15)
    assert [picture.name for picture in study.plot(cases)] == ["images", "image_kernels"]
