"""The studies of LyaNet on two classes in the plane and of stopping early: their measures on fields
that are known, their numbers and pictures on small cases.
"""

from dataclasses import replace

import numpy as np
import pytest
from pictures import check_pictures
from threadpoolctl import threadpool_limits

from continuum import LearnedField, TimeMesh, tanh
from solvers import RK4
from studies.lyanet.attack_pitfalls import clamped
from studies.lyanet.certificate import radii
from studies.lyanet.inference_speed import first_below, inference_speed
from studies.lyanet.kappa import kappa
from studies.lyanet.planar import (
    HALF_WIDTH,
    LAYERS,
    Contender,
    Plane,
    Trained,
    attacked,
    crossing,
    empty_field,
    measures,
    plane,
    posed,
    starts,
    train,
)
from studies.lyanet.rings import rings

TINY = {"samples": 40, "epochs": 2, "width": 3, "steps": 2}


def held(data: Plane, speed: float, slope: float = 0.0) -> Trained:
    """f = (speed + slope x_1) (-1, 1), an affine field."""
    field = LearnedField(2, 2, (), tanh)
    zero, direction = np.zeros_like(data.train), np.array([-1.0, 1.0])
    problem = posed(field, data.train, data.train_labels, zero, TimeMesh(1.0, LAYERS))
    weight = np.outer(direction, [0.0, 0.0, slope, 0.0, 0.0])  # eta, x, t
    control = problem.space.sample(weight1=weight, bias1=speed * direction)
    return Trained(field, control, RK4(), 0.0, "given")


def test_the_rings_have_radii_one_and_two_and_noise_a_tenth():
    data = plane("rings", 400, 0)
    radius = np.linalg.norm(data.test, axis=0)
    for label, expected in ((1, 1.0), (0, 2.0)):
        of = radius[data.test_labels == label]
        assert np.mean(of) == pytest.approx(expected, abs=0.02)
        assert np.std(of) == pytest.approx(0.1, abs=0.01)
    assert data.train.shape == (2, 400)
    assert np.linalg.norm(data.inside, axis=0) == pytest.approx(0.75)
    assert np.linalg.norm(data.outside, axis=0) == pytest.approx(2.25)


def test_the_lines_between_the_moons_join_them():
    data = plane("moons", 40, 0)
    line = data.outside - data.inside
    one, zero = data.inside + line / 6.0, data.outside - line / 6.0
    assert np.linalg.norm(zero, axis=0) == pytest.approx(1.0)
    assert np.linalg.norm(one - np.array([[1.0], [0.5]]), axis=0) == pytest.approx(1.0)
    assert np.all(zero[1] >= -1e-12)
    assert np.all(one[1] <= 0.5 + 1e-12)


def test_crossings_of_a_margin_that_is_known():
    data = plane("rings", 40, 0)
    found = [
        crossing(lambda x: 20.0 * (1.4 - np.linalg.norm(x, axis=0)), data, level)
        for level in (np.log(0.9 / 0.1), 0.0, np.log(0.1 / 0.9))
    ]
    expected = 1.4 - 0.75 + np.array([-1.0, 0.0, 1.0]) * np.log(9.0) / 20.0
    assert np.array(found) == pytest.approx(np.repeat(expected[:, None], 90, axis=1), abs=1e-8)
    assert np.all(np.isnan(crossing(lambda x: np.ones(x.shape[1]), data, 0.0)))


def test_measures_of_a_field_that_is_known():
    """f = 0 leaves every state; f = 4 (-1, 1) takes all to class 1, out of the cube."""
    data = plane("rings", 40, 0)
    still = measures(held(data, 0.0), data, 3.0, 0)
    first, second = starts(0, 2000)
    assert still["loss"] == pytest.approx(np.log(2.0))
    assert still["basin"] == np.mean((second > first) == (data.test_labels == 1))
    assert (still["met"], still["escapes"], still["corner"]) == (0.0, 0.0, 0.0)
    assert (still["error"], still["crossed"]) == (1.0, 0.0)
    assert still["width"] == pytest.approx(1.5)  # all of each line
    assert np.isnan(still["middle"])
    up = measures(held(data, 4.0), data, 3.0, 0)
    share = np.mean(data.test_labels == 1)
    assert up["escapes"] == 1.0
    assert up["error"] == pytest.approx(1.0 - share)
    assert up["corner"] == pytest.approx(share)  # 3 - 4 < -3 + 4
    assert up["met"] == pytest.approx(share)
    slow = measures(held(data, 0.5 * HALF_WIDTH), data, 3.0, 0)
    assert slow["escapes"] == 0.0
    assert attacked(held(data, 4.0), data, 2)[0.1] == pytest.approx(
        1.0 - np.mean(data.test_labels[:500] == 1)
    )


def test_width_and_middle_of_a_margin_that_is_linear():
    """o_1 - o_0 = 4 x_1 on a line from x_1 = 2 to -1, on which the classes are at 1.5 and -0.5."""
    data = plane("rings", 40, 0)
    data = replace(data, inside=np.array([[2.0], [0.0]]), outside=np.array([[-1.0], [0.0]]))
    found = measures(held(data, 0.0, 2.0), data, 3.0, 0)
    assert found["width"] == pytest.approx(2.0 * np.log(9.0) / 4.0, abs=1e-8)
    assert found["middle"] == pytest.approx(0.75, abs=1e-8)
    assert found["crossed"] == 1.0


def test_the_residual_network_has_as_many_weights():
    sizes = {}
    for name in ("NODE", "ResNet"):
        field = empty_field(name, 32, False)
        network = field.at(np.zeros((2, 1)))
        space = network.controls(TimeMesh(1.0, LAYERS), "layers" if name == "ResNet" else "static")
        sizes[name] = space.size
    assert sizes["NODE"] == 1314
    assert sizes["ResNet"] == pytest.approx(1314, rel=0.05)


def test_monte_carlo_makes_one_basin_and_training_of_the_end_does_not():
    data, results = plane("rings", 400, 0), {}
    with threadpool_limits(limits=1):
        runs: list[tuple[Contender, int]] = [("MC s=3", 60), ("NODE", 25)]
        for name, epochs in runs:
            trained = train(name, data, epochs=epochs, kappa=3.0, width=24, centred=False, seed=0)
            results[name] = measures(trained, data, 3.0, 0)
    wide, narrow = results["MC s=3"], results["NODE"]
    assert wide["error"] < 0.02
    assert narrow["error"] < 0.02
    assert wide["basin"] > 0.95
    assert narrow["basin"] < 0.75
    assert wide["width"] > 4.0 * narrow["width"]


@pytest.mark.parametrize("name", ["MC s=1.49", "tube", "path continuous"])
def test_training_is_a_function_of_the_seed(name):
    data = plane("rings", 70, 0)
    given = {"epochs": 2, "kappa": 3.0, "width": 3, "centred": True}
    one, same, other = (train(name, data, seed=seed, **given).control for seed in (0, 0, 1))
    assert all(np.array_equal(one[k], same[k]) for k in one)
    assert not any(np.array_equal(one[k], other[k]) for k in one)


def test_pictures_of_rings_and_moons(tmp_path):
    names = ["MC s=3", "MLP"]
    captions = {
        "rings_fields": r"kappa = 3 .* MC s=3 [\d.]+ %",
        "rings_boundary": "Mean distance between",
        "rings_numbers": "after 2 epochs.*l_inf attack of 2 steps, radius 0.1: MC",
    }
    cases = check_pictures("rings", [{"contender": names, **TINY}], captions, tmp_path, "lyanet")
    assert [case["path"].sizes["layer"] for case in cases] == [11, 2]
    moons = {name.replace("rings", "moons"): text for name, text in captions.items()}
    tiny = {"contender": ["path discrete", "tube"], **TINY, "centred": True}
    for case in check_pictures(
        "moons", [tiny], dict.fromkeys(moons, "."), tmp_path / "moons", "lyanet"
    ):
        # no centred field moves the mean
        mean = case["path"].values.mean(axis=1)
        assert mean == pytest.approx(np.broadcast_to(mean[0], mean.shape), abs=1e-13)


def test_rates(tmp_path):
    given = {"contender": ["MC s=3", "tube"], "largest": 1.0, "epochs": 2, "samples": 40}
    cases = check_pictures(
        "kappa",
        [{**given, "width": 4}],
        {"kappa": "MC s=3: loss .* tube: loss"},
        tmp_path,
        "lyanet",
    )
    for case in cases:
        assert list(case["kappa"].values) == [0.5, 1.0]
        assert np.all(case["objective"] > 0.0)
        assert np.all((case["active"] > 0.0) & (case["active"] <= 1.0))


def test_where_to_stop(tmp_path):
    times = np.array([0.0, 0.5, 1.0])
    assert first_below(times, np.array([2.0, 0.3, 0.1]), 0.3) == 0.5
    assert np.isnan(first_below(times, np.ones(3), 0.3))
    (case,) = check_pictures(
        "inference_speed",
        [{"name": ["NODE"], "epochs": 1}],
        {"inference_speed": "NODE: loss at most 0.25"},
        tmp_path,
        "lyanet",
    )
    assert case["loss"][0] == pytest.approx(np.log(10.0))
    assert case["loss"][-1] < 1.0


@pytest.mark.parametrize(
    ("study", "wrong", "named"),
    [
        (rings, {"samples": 1}, "samples"),
        (rings, {"kappa": 0.0}, "kappa"),
        (rings, {"epochs": 0}, "epochs"),
        (kappa, {"largest": 0.1}, "largest"),
        (inference_speed, {"epochs": -1}, "epochs"),
    ],
)
def test_refuses(study, wrong, named):
    with pytest.raises(ValueError, match=named):
        study(**wrong)


def test_how_far_proofs_reach(tmp_path):
    """Radii of the plane, and of a field whose breaking points are known."""
    given = {"samples": 80, "epochs": 25, "width": 8, "points": 16, "rounds": 4}
    cases = check_pictures(
        "certificate",
        [{**given, "contender": ["MC s=3", "NODE"]}],
        {"certificate": "points have a proof"},
        tmp_path,
        "lyanet",
    )
    for case in cases:
        proved, breaking = case["proved"].values, case["breaking"].values
        assert np.any(proved > 0.0)
        assert np.all((proved < breaking) | (proved == 0.0))
        assert int(case["proved_beyond"]) == 0
        linear = case["linear"].values
        assert int(case["linear_beyond"]) == np.sum((linear > 0) & (linear >= breaking))
        assert float(case["product"]) > float(case["slope"]) > 0.0


def test_radii_of_an_affine_field():
    """f = x_1 (1, -1) / 2: every radius is |x_1|."""
    field = LearnedField(2, 2, (), tanh)
    x = np.array([[0.5, 1.2, 0.2], [0.3, -1.0, 2.0]])
    weight = np.zeros((2, 5))
    weight[:, 2] = 0.5, -0.5
    problem = posed(field, x, np.zeros(3, dtype=int), np.zeros((2, 3)), TimeMesh(1.0, LAYERS))
    found = radii(problem, problem.space.sample(weight1=weight), 8)
    for name in ("linear", "grid", "breaking"):
        assert np.allclose(found[name], np.abs(x[0]), rtol=1e-2)
    assert np.all(found["proved"] <= np.abs(x[0]))
    assert np.allclose(found["proved"], np.abs(x[0]), rtol=2e-2)


def test_attacks_in_wrong_units(tmp_path):
    assert np.array_equal(clamped(np.array([0.0, 0.3, 0.5, 0.8, 1.0])), [0.5, 0.5, 0.5, 0.8, 1.0])
    cases = check_pictures(
        "attack_pitfalls",
        [{"contender": ["NODE"], "scaling": ["normalised", "pixels"], "epochs": 1, "points": 12}],
        {"attack_pitfalls": "clamping alone"},
        tmp_path,
        "lyanet",
    )
    for case in cases:
        most = dict(zip(case["condition"].values, case["most"].values, strict=True))
        assert most["none"] == 0.0
        assert most["clamped"] == 0.5
        assert 0.0 < most["units"] <= 4 / 255 * (1 + 1e-12)
        assert 4 / 255 < most["right"] <= 8 / 255 * (1 + 1e-12)
        assert most["script"] >= 0.5
        assert np.max(case["reach"]) <= 20 / 255 * (1 + 1e-12)
        assert np.all(case["long_error"] >= case["error"].sel(condition="none"))
