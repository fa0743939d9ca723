"""The studies on value functions."""

from pathlib import Path

import numpy as np
import pytest
from pictures import check_pictures

from solvers.hjb import StateGrid, closed_loop, solve_hjb
from studies.datasets import iris
from studies.liu_markowich.dimension import ALONE, METHODS, dimension, units
from studies.liu_markowich.feedback import feedback, gradient_feedback
from studies.liu_markowich.gap import gap
from studies.liu_markowich.hjb_classifier import hjb_classifier
from studies.liu_markowich.reachable import enclosed_area, level_area, reachable
from studies.liu_markowich.tube import tube
from studies.liu_markowich.value_function import value_function
from studies.liu_markowich.values import posed

ONE_SWITCH, MIRRORED, SINGULAR = 0.4235585550392474, 0.1311701244888148, 1.642801471258288
"""LM-54, LM-55 (b) and (a)."""


def test_values_of_one_switch_and_their_characteristics() -> None:
    case = value_function(example="one switch", nodes=121, times=21, fan=120)
    error = float(case["start_value"]) - ONE_SWITCH
    assert abs(error) < 1.5e-3
    assert abs(error) < 3.0 * float(case["error"])
    excess = float(case["optimum"]) - case["characteristic_value"].values
    known = np.isfinite(excess)
    # V is the least of all: no characteristic carries less, and late they all carry V
    assert np.min(excess[known]) > -6e-3
    late = excess[int(0.97 * len(excess)) :]
    assert np.max(late[np.isfinite(late)]) < 5e-3
    # some have crossed the ridge at t = 0, most have not
    first = excess[0][np.isfinite(excess[0])]
    assert 0.03 < np.mean(first > 0.03) < 0.4
    assert np.median(np.abs(first)) < 3e-3


def test_the_ridge_is_the_axis() -> None:
    """LM-55: V falls both ways from f_2 = 0 at the start, and no longer near T."""
    case = value_function(example="mirror images", nodes=121, times=21, fan=40)
    at_start = case["ridge_slope"].values[:, np.abs(case["along"].values) < 0.2].mean(axis=1)
    assert at_start[0] < -0.2
    assert np.all(at_start[:15] < -0.1)
    values = case["value"].values
    assert np.max(np.abs(values - values[:, :, ::-1])) < 1e-6
    assert abs(at_start[-1] - 0.25 * float(np.diff(case["f_2"].values)[0])) < 1e-9


def test_gradient_feedback_stays_on_the_ridge() -> None:
    case = feedback(example="mirror images", coarsest=40, doublings=1, fewest=25)
    loop = case["loop"].values
    assert np.all(loop > MIRRORED - 1e-9)
    assert np.all(loop < MIRRORED + 0.012)
    assert np.all(loop[:, -1] < MIRRORED + 3e-3)
    # the control held on layers is of second order along the singular arc
    excess = case["naive"].values - SINGULAR
    assert excess[:-1] / excess[1:] == pytest.approx(4.0, rel=0.1)
    assert 0.0 < excess[-1] < 2e-4
    assert np.all(case["naive_path"].values[:, 1] == 0.0)
    assert float(case["nudged"]) == pytest.approx(MIRRORED, abs=3e-3)
    assert case["switches"].values.tolist() == [0, 1]
    assert float(case["distance"]) < 0.15


def test_gradient_feedback_off_the_ridge_is_as_good() -> None:
    problem = posed("one switch")
    value = solve_hjb(problem, StateGrid.reachable(problem, 61), times=41)
    control, states = gradient_feedback(problem, value)
    assert np.max(np.abs(states - closed_loop(problem, value).trajectory.states[:, :, 0])) < 0.06
    assert set(np.unique(control["bias"])) <= {-1.0, 1.0}


def test_areas_of_a_disc_and_of_a_folded_front() -> None:
    x = np.linspace(-2.0, 2.0, 401)
    v = x[:, None] ** 2 + x**2
    assert level_area(v, np.array([0.01, 0.01]), 1.0) == pytest.approx(np.pi, rel=1e-3)
    angle = np.arange(4000) * 2.0 * np.pi / 4000
    # a limacon winds twice around its inner loop, which counts once
    r = 1.0 + 2.0 * np.cos(angle)
    whole = 2.0 * np.pi + 1.5 * np.sqrt(3.0)
    assert enclosed_area(r * np.cos(angle), r * np.sin(angle), 2000) == pytest.approx(
        whole, rel=2e-3
    )


def test_reachable_sets_are_level_sets() -> None:
    cases = [reachable(nodes=n, samples=400, rays=1000) for n in (81, 161)]
    misses = [
        np.abs(case["level_area"].values / case["front_area"].values - 1.0)[1:] for case in cases
    ]
    assert np.all(misses[1] < 0.02)
    assert np.all(misses[1] < 0.7 * misses[0])
    # in a disc that grows from one of radius r about 1/2: at first the velocity is 3/2
    for case in cases:
        assert float(case["front_area"][0]) == pytest.approx(np.pi / 16, rel=1e-3)
        assert np.all(case["outside"].values < 1.5 * float(case["spacing"]))
    shares = cases[1]["inside"].values[1:]
    assert np.all(shares > 0.85)
    # a narrower set would not hold the runs: 95 % of the lengths
    f = cases[1]["cloud"].values[-1]
    assert np.max(f[0]) > 0.95 * np.max(cases[1]["front"].values[-1][0])


def test_units_share_one_optimum() -> None:
    assert units(5, 10).network.weights == pytest.approx([1 / 6] * 3 + [1 / 4] * 2)
    case = dimension(most=3, nodes=21, merged_nodes=81, most_units=20, layers=60)
    error = dict(zip(METHODS, case["error"].values, strict=True))
    assert case["units"].values.tolist() == [1, 2, 3, 10, 20]
    assert np.all(np.abs(error["grid, WENO"][1:3]) < 0.02)
    assert np.all(np.isnan(error["grid, WENO"][3:]))
    assert np.ptp(error["merged units: V"][1:]) < 1e-10
    assert np.all(np.abs(error["merged units: V"][1:]) < 1e-3)
    feedback_error = error["merged units: feedback"][1:]
    assert np.all((feedback_error > 0.0) & (feedback_error < 1e-3))
    assert np.ptp(feedback_error) < 1e-9
    assert np.all((error["descents"] > -1e-4) & (error["descents"] < 3e-4))
    assert pytest.approx(0.4255743978541422, abs=1e-12) == ALONE


@pytest.mark.parametrize(
    ("example", "best", "finest"),
    [("one switch", ONE_SWITCH, 0.418), ("mirror images", MIRRORED, 0.0)],
)
def test_bounds_enclose_the_optimum(example, best: float, finest: float) -> None:
    case = gap(example=example, coarsest=40, doublings=1, layers=100, plain_most=41)
    bound, plain = case["bound"].values, case["plain_bound"].values
    assert np.all(bound < best)
    assert np.all(best < case["proved_cost"].values)
    assert plain[0] < bound[0] < bound[1]
    assert np.isnan(plain[1])
    assert bound[1] > finest
    # of first order, or better, in h
    h = case["spacing"].values
    assert (best - bound[0]) / (best - bound[1]) > 0.9 * h[0] / h[1]
    if example == "mirror images":
        assert float(case["descent"]) == pytest.approx(SINGULAR, abs=1e-5)
        assert float(case["descent_gap"]) > 1.5


def test_what_is_left_is_a_tube_around_both_optima() -> None:
    case = tube(nodes=81, times=81, layers=100)
    kept, reached = case["kept"].values, case["reached"].values
    assert not np.any(kept & ~reached)
    assert np.sum(kept) < 0.1 * np.sum(reached)
    assert np.array_equal(kept, kept[:, :, ::-1])
    assert float(case["plain_bound"]) < float(case["bound"]) < MIRRORED
    axes = [case[name].values for name in ("f_1", "f_2")]
    for k, t in enumerate(case["slab"].values):
        f = [np.interp(t, case["path_time"], x) for x in case["path"].values.T]
        near = tuple(int(np.argmin(np.abs(x - y))) for x, y in zip(axes, f, strict=True))
        around = kept[k, near[0] - 1 : near[0] + 2, near[1] - 1 : near[1] + 2]
        assert np.any(around), t


def test_samples_alone_would_cost_far_less() -> None:
    case = hjb_classifier(nodes=61, times=31, starts=2, per_class=12)
    assert np.all(case["own_bound"].values < case["cost"].values + 1e-9)
    assert np.all(case["own_bound"].values < case["own"].values + 2e-3)
    bound, mean, cost = (float(case[name]) for name in ("bound", "mean_value", "objective"))
    assert bound < mean + 1e-3
    assert mean < 0.7 * cost
    assert bound > 0.8 * mean
    assert float(case["accuracy"]) >= 0.75
    assert cost == pytest.approx(float(np.mean(case["cost"])), abs=1e-4)


def test_irises() -> None:
    data = iris()
    assert data.inputs.shape == (150, 4)
    assert np.bincount(data.labels).tolist() == [50, 50, 50]
    assert data.inputs[0].tolist() == [5.1, 3.5, 1.4, 0.2]
    # Fisher's means of petals of virginica
    np.testing.assert_allclose(data.inputs[100:, 2:].mean(axis=0), [5.552, 2.026], atol=1e-12)


TINY: dict[str, tuple[list, dict[str, str]]] = {
    "value_function": (
        [{"nodes": 61, "times": 9, "fan": 24}],
        {"value": "V at the start is 0.42.* three grids estimate"},
    ),
    "feedback": (
        [{"coarsest": 40, "doublings": 1, "fewest": 10}],
        {"feedback": r"gradient feedback has J = 1\.64"},
    ),
    "reachable": (
        [{"nodes": 61, "samples": 50, "rays": 200}],
        {"reachable": "Areas reached from a disc"},
    ),
    "dimension": (
        [{"most": 2, "nodes": 13, "merged_nodes": 41, "most_units": 10, "layers": 20}],
        {"dimension": "At N = 10, merging"},
    ),
    "gap": (
        [{"coarsest": 20, "doublings": 1, "layers": 40, "plain_most": 41}],
        {"gap": r"ends at J = 1\.6428"},
    ),
    "tube": (
        [{"example": ["one switch", "mirror images"], "nodes": 41, "times": 21, "layers": 40}],
        {"tube": "% are kept"},
    ),
    "hjb_classifier": (
        [{"nodes": 41, "times": 11, "starts": 1, "per_class": 3}],
        {"classifier": "at least, proved"},
    ),
}


@pytest.mark.parametrize("name", TINY)
def test_pictures(name: str, tmp_path: Path) -> None:
    check_pictures(name, *TINY[name], tmp_path)


def test_parameters_that_are_refused() -> None:
    for refused, name in (
        (lambda: value_function(nodes=20), "nodes"),
        (lambda: feedback(fewest=2), "fewest"),
        (lambda: reachable(radius=0.0), "radius"),
        (lambda: dimension(most=6), "most"),
        (lambda: dimension(most_units=2000), "most_units"),
        (lambda: hjb_classifier(per_class=51), "per_class"),
    ):
        with pytest.raises(ValueError, match=name):
            refused()
