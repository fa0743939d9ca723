"""Studies that learn labels, of digits and of a chess board, on small cases."""

import numpy as np
import pytest
from pictures import check_pictures

from solvers import ExplicitMidpoint, discretize
from studies import catalogue, run_sweep
from studies.bench.parameters import ParameterGrid
from studies.bench.registry import find_study
from studies.bench.store import read_case
from studies.turnpike.leia import chess_board, leia, posed, scores, starting
from studies.turnpike.turnpike_digits import enough, turnpike_digits


def test_digits_along_the_depth(tmp_path):
    assert enough(np.array([0.1, 0.95, 0.5, 0.9, 0.92, 0.9])) == 3
    assert enough(np.array([0.9, 0.9])) == 0
    small = {"samples": [100], "layers": [4], "side": [2], "iterations": [30]}
    grids: list[ParameterGrid] = [{"cost": ["along the way", "at the end"], **small}]
    words = r"cost along the way \(\w+\): at T training .*cost at the end.*Linear classifier"
    check_pictures("turnpike_digits", grids, {"turnpike_digits": words}, tmp_path, "turnpike")
    case = turnpike_digits(samples=100, layers=4, side=2, iterations=30)
    assert case["error"][0] == pytest.approx(
        1.0, rel=1e-14
    )  # the outputs are 0, the targets unit vectors
    assert case["error"][-1] < 0.8
    with pytest.raises(ValueError, match="layers must be from 1"):
        turnpike_digits(layers=0)


def test_leia(tmp_path, rng):
    points, colours = chess_board(500, rng)
    assert np.all(np.abs(points) <= 1.5)
    middle, corner = (np.all(np.abs(points - c) < 0.5, axis=0) for c in (0.0, 1.0))
    assert np.all(colours[middle] == 1.0)
    assert np.all(colours[corner] == 1.0)
    assert np.all(colours[(np.abs(points[0]) < 0.5) & (points[1] > 0.5)] == -1.0)
    # their functional by hand: 1.75 sum_k l_k + l_(k+1) + 0.01 h / 2 |all parameters|^2
    problem = posed(points[:, :20], colours[:20], 4, 2.0, 3)
    control, h = starting(problem, rng), 0.5
    losses = np.mean((scores(problem, control) - colours[:20]) ** 2, axis=1)
    squares = sum(np.sum(control[b.name] ** 2) for b in problem.space.trained)
    theirs = 1.75 * np.sum(losses[1:] + losses[:-1]) + 0.005 * h * squares
    ours = discretize(problem, ExplicitMidpoint()).value(control)
    assert 2.0 / h * ours == pytest.approx(theirs, rel=1e-12)
    small = {"iterations": [3], "samples": [40], "hidden": [4], "layers": [3], "resolution": [5]}
    grids: list[ParameterGrid] = [{"method": ["Adam", "L-BFGS"], **small}]
    words = r"32 training points, where they have 2398.*Adam .*L-BFGS"
    check_pictures("leia", grids, {"leia": words}, tmp_path, "turnpike")
    with pytest.raises(ValueError, match="samples must be >= 20"):
        leia(samples=3)


def test_convolutions_on_digits(tmp_path):
    """A few iterations on a few digits; the kernel of the image has 15 x 15 differences."""
    catalogue.load()
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
