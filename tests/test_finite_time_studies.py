"""Studies of finite-time training: epochs and errors on small cases, by formulas and by hand."""

import hashlib
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from pictures import check_pictures

from continuum import AbsoluteError, PowerError, SquaredError
from continuum.problem import LearningProblem
from solvers import discretize
from solvers.finite_time import neuron, train_in_time
from solvers.finite_time.laws import Moment
from solvers.finite_time.plants import plant_of
from studies import datasets
from studies.bench.parameters import ParameterGrid
from studies.bench.registry import find_study
from studies.bench.store import read_case
from studies.bench.sweep import run_sweep
from studies.datasets import DataError, DataFile, z_scored
from studies.finite_time.alpha import alpha
from studies.finite_time.boston import boston
from studies.finite_time.california import california
from studies.finite_time.courses import (
    PlainDescent,
    course,
    first_below,
    law_of,
    perceptron,
    starting,
)
from studies.finite_time.drawing import log_spaced, sampled
from studies.finite_time.iris import accuracy, flowers, iris
from studies.finite_time.noisy_mnist import noisy_mnist
from studies.finite_time.perturbation import perturbation, settled
from studies.finite_time.printed import ROWS
from studies.finite_time.regression import five_laws, outputs, push, why_no_bound

DATA = pytest.mark.skipif("CONTINUUM_DATA" not in os.environ, reason="CONTINUUM_DATA is not set")


@pytest.fixture
def small(rng: np.random.Generator) -> LearningProblem:
    """Two inputs, three hidden units, two outputs, five samples."""
    return perceptron(rng.normal(size=(5, 2)), rng.normal(size=(5, 2)), 3)


def test_a_perceptron_by_hand(small, rng):
    control = starting(small, 3)
    assert np.all(control["bias1"] == 0.0)
    control = small.space.random(rng)
    hidden = np.tanh(control["weight1"][:, 2:] @ small.network.inputs + control["bias1"][:, None])
    o = control["weight2"] @ hidden + control["bias2"][:, None]
    np.testing.assert_allclose(outputs(small, control), o, rtol=1e-13)
    wide = perceptron(np.zeros((1, 400)), np.zeros(1), 50)
    assert np.std(starting(wide, 0)["weight1"]) * np.sqrt(401) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("method", "loss"),
    [
        ("L1", AbsoluteError()),
        ("L2", SquaredError(1.0)),
        ("E", PowerError(0.68)),
    ],
)
def test_plain_descent_is_gradient_descent_of_the_mean(small, rng, method, loss):
    """u = -gain D of the mean over samples of the loss, by an objective of the package."""
    control, gain = small.space.random(rng), 0.3
    posed = LearningProblem(small.network, small.initial, small.target, small.space, terminal=loss)
    gradient = discretize(posed).value_and_gradient(control)[1]
    plant = plant_of(small)
    w = plant.space.flatten(control)
    e = plant.errors(w)
    law = law_of(method, 5, gain, 0.68)
    velocity = law.velocity(Moment(w, e, plant, plant, w, e))
    np.testing.assert_allclose(velocity, -gain * plant.space.flatten(gradient), rtol=1e-12)
    assert push(small, control, law, law) == 1.0


def test_laws_of_means(small, rng):
    """Law (13) of mean E with a mean gradient; law (3) with a mean over samples."""
    control, gain, a, b = small.space.random(rng), 0.3, 0.7, 0.2
    plant = plant_of(small)
    w = plant.space.flatten(control)
    e = plant.errors(w)
    law, descent = law_of("law (13)", 5, gain, a, b), law_of("E", 5, 1.0, a)
    at = Moment(w, e, plant, plant, w, e)
    mean = np.sum(np.abs(e) ** (a + 1.0)) / (a + 1.0) / 5
    gradient = -descent.velocity(at)
    wanted = -gain * np.sign(gradient) * np.abs(gradient) ** a * mean**b
    np.testing.assert_allclose(law.velocity(at), wanted, rtol=1e-12)
    ratio = np.linalg.norm(wanted) / np.linalg.norm(gradient)
    assert push(small, control, law, descent) == pytest.approx(ratio, rel=1e-12)
    x, y = rng.normal(size=(2, 4)), rng.uniform(0.1, 0.9, 4)
    one = plant_of(neuron(x, y))
    w = rng.normal(size=4)
    z = w[1:3] @ x + w[3]
    o = 1.0 / (1.0 + np.exp(-z))
    e = one.errors(w)
    np.testing.assert_allclose(e, o - y, rtol=1e-12)
    force = np.sign(o - y) / (o * (1.0 - o))
    wanted = -0.3 * np.append(np.mean(np.sign(x) * force, axis=1), np.mean(force))
    found = law_of("law (3)", 4, 0.3).velocity(Moment(w, e, one, one, w, e))
    np.testing.assert_allclose(found[1:], wanted, rtol=1e-12)


def test_plain_descent_takes_explicit_steps(small):
    for scheme in ("implicit", "semi-implicit", "exact"):
        with pytest.raises(ValueError, match="scheme="):
            train_in_time(small, PlainDescent(1.0, 0.1), 1.0, 0.5, scheme)
    with pytest.raises(ValueError, match="unknown method 'L3'"):
        law_of("L3", 5, 0.1)


def test_what_is_seen_along_a_course(small):
    start, plant = starting(small, 0), plant_of(small)
    run = course(plant, law_of("L2", 5, 0.1), 20, start=start, test=plant, every=4)
    assert run.epochs.tolist() == [0, 4, 8, 12, 16, 20]
    e = outputs(small, run.control) - small.target
    assert run.seen["rms"][-1] == pytest.approx(np.sqrt(np.mean(e**2)), rel=1e-12)
    assert run.seen["test_mean"][-1] == pytest.approx(np.mean(np.abs(e)), rel=1e-12)
    assert run.seen["loss"][-1] == pytest.approx(np.mean(np.abs(e) ** 1.8) / 1.8, rel=1e-12)
    assert run.rises == 0
    assert course(plant, law_of("L2", 5, 5.0), 20, start=start).rises > 0
    level = run.seen["mean"][3]
    assert first_below(run, "mean", level) == 12.0
    assert np.isnan(first_below(run, "mean", 0.0))
    stopped = course(plant, law_of("L2", 5, 0.1), 20, start=start, every=4, enough=level)
    assert stopped.epochs[-1] == 12
    assert stopped.detail.startswith("stopped")
    np.testing.assert_array_equal(
        sampled(stopped, "mean", np.array([0, 7, 8, 99])), stopped.seen["mean"][[0, 1, 2, 3]]
    )
    assert log_spaced(40, 4, 3).tolist() == [0, 4, 12, 40]


def test_irises(tmp_path):
    inputs, labels, unseen, _ = flowers("setosa, z-scored", 0, share=0.0)
    assert (inputs.shape, unseen.shape) == ((4, 100), (4, 0))
    np.testing.assert_allclose(inputs.std(axis=1), 1.0)
    known, _, test, truth = flowers("versicolor, z-scored", 0)
    assert (known.shape, test.shape) == ((4, 80), (4, 20))
    assert set(truth.tolist()) == {0.0, 1.0}
    case = iris(share=0.0, gain=0.01, travel=6.0)
    assert case["threshold"].values[:2].tolist() == [15.0, 527.0]  # FT-24
    assert np.isnan(case["threshold"].values[2:]).all()
    run = course(plant_of(neuron(inputs, labels)), law_of("law (3)", 100, 0.01), 20)
    assert accuracy(run, inputs, labels) == 1.0
    assert np.isnan(accuracy(run, inputs[:, :0], labels[:0]))
    raw = iris(data="setosa, raw", travel=0.5, seed=0)  # 40 and 40: the law's sum is 0
    assert raw["size"].values[0] == 0.0
    assert raw["train"].values[0] == 0.5
    words = {
        "iris": r"setosa, z-scored: law \(3\): 15 epochs.*raw: law \(3\): never.*J J\^T is sing",
        "iris_gain": r"for k = 0.01, 0.02: law \(3\) 15, ",
    }
    grids: list[ParameterGrid] = [
        {"data": ["setosa, z-scored", "setosa, raw"], "travel": 0.3, "seed": 0},
        {"gain": [0.01, 0.02], "share": 0.0, "travel": 0.3},
    ]
    check_pictures("iris", grids, words, tmp_path, "finite_time")
    with pytest.raises(ValueError, match="travel / gain must be from 1"):
        iris(travel=1e-4)


def test_alpha(tmp_path):
    case = alpha(resolution=4, horizon=6.0)
    wanted = [2.5893604216e-4, 0.0, 0.0, 0.0]  # FT-16
    np.testing.assert_allclose(case["error"].values[:, -1], wanted, rtol=1e-9)
    np.testing.assert_allclose(case["band"], case["formula"], rtol=1e-8)
    rest = 0.7137 % 0.01
    assert case["band"].values[0, -1] == pytest.approx(max(rest, 0.01 - rest), rel=1e-9)  # FT-15
    below = np.add.outer(case["alpha"].values, case["beta"].values) < 1.0
    np.testing.assert_array_equal(np.isfinite(case["settling"]), below)
    assert int(case["confirmed"]) == below.sum()
    a, b = case["alpha"].values[1], case["beta"].values[0]
    nu = a * a + b * (a + 1.0)
    time = 0.7137 ** (1.0 - nu) / ((a + 1.0) ** -b * (1.0 - nu))
    assert case["settling"].values[1, 0] == pytest.approx(time, rel=1e-12)
    with pytest.raises(ValueError, match="horizon / step must be from 1 to 10000"):
        alpha(horizon=1.0, step=1e-5)
    study = find_study("finite_time/alpha")
    done = run_sweep(study, [{"resolution": 4, "horizon": 6.0}], tmp_path, progress="none")
    assert study.plot is not None
    (picture,) = study.plot([read_case(path) for path in done.paths])
    assert "explicit 2.6e-04, semi-implicit 0.0e+00" in picture.caption
    assert "of 6 times, exact steps found the error 0" in picture.caption


def test_perturbed_inputs(tmp_path):
    case = perturbation(draws=3, steps=60)
    assert case["bound"].values[2] == pytest.approx(0.8648127241, abs=5e-11)  # FT-21
    assert float(case["difference"]) < 1e-12
    assert np.all(case["drawn"].values <= case["drawn_bound"].values * (1.0 + 1e-12))
    power = case["power"].values
    x = 0.01
    late = case["late"].values
    growth = (power[0, 1] - power[0, 0]) / late[1]
    assert growth == pytest.approx(10.0 * (0.5 * x**0.8 - x), rel=1e-9)  # FT-20, steps exact
    assert power[2, -1] == power[3, -1] == 0.0
    times = np.linspace(0.0, 1.0, 11)
    assert settled(np.maximum(0.0, 0.63 - 0.9 * times), times) == pytest.approx(0.7, rel=1e-12)
    assert np.isnan(settled(0.1 + times, times))
    words = {"perturbation": r"every run ends there.*grows for x = 0.01, 0.02, where"}
    grids: list[ParameterGrid] = [{"draws": 2, "steps": 40}]
    check_pictures("perturbation", grids, words, tmp_path, "finite_time")
    with pytest.raises(ValueError, match="gain > power"):
        perturbation(gain=0.1)


@DATA
def test_boston(tmp_path):
    case = boston(epochs=40, hidden=3)
    assert (int(case["samples"]), int(case["unseen"])) == (404, 102)
    assert case["train"].shape == (5, len(case["epoch"]))
    # five methods from one start
    assert len(np.unique(case["train"].values[:, 0])) == 1
    assert "404 errors" in case.attrs["bound"]
    grids: list[ParameterGrid] = [{"epochs": 20, "hidden": 2, "seed": [0, 1]}]
    words = {"boston": r"racist premise.*404 houses .*splits and starts 0, 1;.*0.1 after never"}
    check_pictures("boston", grids, words, tmp_path, "finite_time")


def test_a_time_known_before_the_run_is_said(rng):
    few = perceptron(rng.normal(size=(1, 2)), np.ones(1), 3)
    law = five_laws(1, 1.0, 0.5, (0.25, 0.3))["law (13), beta = 0.25"]
    assert why_no_bound(few, starting(few, 0), law).startswith("T <= ")


def test_california(tmp_path, monkeypatch, rng):
    """On a table made up in the form of the real one, and without it."""
    monkeypatch.setenv("CONTINUUM_DATA", str(tmp_path))

    def refuse(*_: object) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets.pooch, "retrieve", refuse)
    with pytest.raises(DataError, match=r"cal_housing.tgz .*could not be downloaded.*Put cal_hous"):
        california()
    rows = rng.uniform(1.0, 2.0, (60, 9))
    text = tmp_path / "cal_housing.data"
    text.write_text("\n".join(",".join(f"{x:.6f}" for x in row) for row in rows))
    path = tmp_path / "cal_housing.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(text, "CaliforniaHousing/cal_housing.data")
    known = DataFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(
        datasets, "DATA_FILES", {**datasets.DATA_FILES, "california_housing": known}
    )
    grids: list[ParameterGrid] = [{"epochs": 20, "hidden": 2}]
    words = {"california": r"place of the paper's Table 3: the faces.*48 houses for the training"}
    check_pictures("california", grids, words, Path(tmp_path, "out"), "finite_time")


@DATA
def test_noisy_digits(tmp_path):
    case = noisy_mnist(samples=60, side=4, hidden=4, epochs=20)
    assert case["train"].values[0, -1] < case["train"].values[0, 0]
    assert np.all((case["accuracy"] >= 0.0) & (case["accuracy"] <= 1.0))
    clean = noisy_mnist(samples=60, side=4, hidden=4, epochs=20, amplitude=0.0)
    assert float(clean["guess"]) == float(case["guess"])
    assert clean["final_train"].values[0] != case["final_train"].values[0]
    tiny = {"samples": 60, "side": 4, "hidden": 4, "epochs": 10}
    grids: list[ParameterGrid] = [{"amplitude": [0.1, 1.2], **tiny}]
    words = {"noisy_mnist": r"60 MNIST digits .* 4 x 4 .*0.1: law \(13\) .*1.2: law .*48.* errors"}
    check_pictures("noisy_mnist", grids, words, tmp_path, "finite_time")
    with pytest.raises(ValueError, match="amplitude must be finite"):
        noisy_mnist(amplitude=-1.0)


@DATA
@pytest.mark.slow
def test_tables(tmp_path):
    words = {"tables": r"pseudo-time.*k T is 37.213845 to 37.213850.*3.126e\+09.*IMDB-Wiki are not"}
    (case,) = check_pictures("tables", [{"epochs": 20}], words, tmp_path, "finite_time")
    found = case["found"].values
    assert np.isnan(found[[row.table == 3 for row in ROWS]]).all()
    np.testing.assert_array_equal(found[0, :, 0], found[4, :, 0])
    assert found[4, :, 0].tolist() == [523.0, 1430.0, 2023.0, 14.0]


def test_printed_bounds():
    """k T of Table 2 and T M^1.8 of Table 4 (FT-22, FT-23)."""
    products = [float(r.name[4:]) * r.bound for r in ROWS if r.table == 2]
    np.testing.assert_allclose(products, [37.213848, 37.213845, 37.21385], rtol=1e-12)
    powers = [float(r.name[4:]) ** 1.8 * r.bound for r in ROWS if r.table == 4]
    np.testing.assert_allclose(powers, [3.1222e9, 3.1292e9, 3.1259e9], rtol=3e-5)


def test_z_scores_are_those_of_the_training():
    known, _, unseen, _ = flowers("setosa, z-scored", 2)
    raw, _, other, _ = flowers("setosa, raw", 2)
    np.testing.assert_allclose(z_scored(other.T, raw.T).T, unseen)
    np.testing.assert_allclose(known.mean(axis=1), 0.0, atol=1e-13)
