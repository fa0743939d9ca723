"""The portrait of training: its flow against free layers and closed forms, its runs, its figure."""

import numpy as np
import pytest
from pictures import check_pictures

from solvers import Status, discretize
from solvers.linear_networks import as_control, deep_linear, sharpness
from studies.nar_sastry.training_portrait import (
    STARTS,
    Training,
    kept_by_flow,
    minima,
    training_portrait,
)

POINTS = np.array([[1.0, 1.8, -0.3], [1.0, 0.4, 1.2]])


def test_shared_layers_move_as_free_ones_that_are_equal():
    """The flow of the static blocks, slowed down by L, is the gradient of each layer."""
    training, free = Training("double", -1.5), deep_linear(-1.5, 2, double=True)
    objective = discretize(free)
    for point, found in zip(POINTS.T, training.velocity(POINTS).T, strict=True):
        w, z = point
        slope = objective.gradient(as_control(free, [w, w], [z, z]))
        for name, speed in zip(("w.weight", "z.weight"), found, strict=True):
            np.testing.assert_allclose(slope[name].ravel(), [-speed, -speed], atol=1e-13)


@pytest.mark.parametrize(("kind", "target"), [("single", -1.5), ("double", 1.5)])
def test_sharpness_on_the_minima_is_that_of_the_free_network(kind, target):
    training, free = Training(kind, target), deep_linear(target, 2, double=kind == "double")
    points = minima(kind, target)[1, ::80]
    found = training.sharpness(points.T)
    for point, value in zip(points, found, strict=True):
        stacks = [point] if kind == "single" else [[point[0]] * 2, [point[1]] * 2]
        assert discretize(free).value(as_control(free, *stacks)) < 1e-24
        assert value == pytest.approx(sharpness(free, as_control(free, *stacks)), rel=1e-9)


@pytest.mark.parametrize(("target", "end"), [(-1.5, (0.5**0.5, 2**0.5)), (1.5, (2**0.5, 0.5**0.5))])
def test_the_double_flow_ends_where_w_z_is_kept(target, end):
    """NS-09: from (1, 1), w z = 1 and w^2 - z^2 = lambda."""
    path = Training("double", target).paths(STARTS[:, :1], 5.0, 2)
    np.testing.assert_allclose(path[-1, :, 0], end, rtol=0, atol=1e-9)
    np.testing.assert_allclose(kept_by_flow("double", path[:, :, 0].T), 1.0, rtol=0, atol=1e-9)


def test_descent_below_and_above_the_critical_step_of_the_limit():
    """The limit (2^(1/2), (1/2)^(1/2)) has sharpness 5: at 0.38 descent stays there, at 0.42 it
    goes to a flatter pair; beyond 2/3 it goes to none.
    """
    training = Training("double", 1.5)
    near = np.array([2**0.5 + 1e-4, 0.5**0.5])
    for step, status, stays in (
        (0.38, Status.CONVERGED, True),
        (0.42, Status.CONVERGED, False),
        (0.68, None, False),
    ):
        path, found = training.descend(near, step)
        assert found is status or (status is None and found is not Status.CONVERGED)
        assert (np.abs(path[-1] - near).max() < 1e-3) == stays
        if status is Status.CONVERGED:
            end = path[-1:].T
            assert float(training.sharpness(end)[0]) * step < 2.0
            assert np.abs(training.velocity(end)).max() < 1e-7


def test_a_target_without_a_saddle_apart_is_refused():
    with pytest.raises(ValueError, match="must be at least 0"):
        training_portrait(target=0.1)


@pytest.mark.slow
def test_the_portrait_is_drawn_with_what_it_shows(tmp_path):
    grids: list = [{"network": ["single", "double"], "target": [1.5, -1.5], "grid": 11}]
    words = {"training_portrait": r"Single, lambda = -1\.5: from \(1, 1\) to the saddle \(0\.1\)"}
    for case in check_pictures("training_portrait", grids, words, tmp_path, "nar_sastry"):
        assert float(case["drift"]) < 1e-9
        assert float(case["largest_step"]) == pytest.approx(2.0 / 3.0, rel=1e-9)
        assert sorted(case["separatrix_stable"].values) == [False, False, True, True]
