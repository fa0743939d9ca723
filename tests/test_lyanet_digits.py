"""Digits learned by the ways of training of the ledger: small cases, against closed forms."""

import numpy as np
import pytest
from pictures import check_pictures

from continuum import CrossEntropy, LearnedField, TimeMesh, tanh
from solvers.lyapunov import attack
from studies.datasets import DataError, Samples
from studies.datasets import mnist_sample as load_mnist
from studies.lyanet.digits import (
    ATTACKS,
    CLASSES,
    KAPPA,
    NAMES,
    POWERS,
    Settings,
    attacked,
    chosen,
    contender,
    digits_data,
    grid,
    posed,
    settings_file,
)
from studies.lyanet.digits_table import PRINTED, digits_table, least, written
from studies.lyanet.mnist_sample import mnist_sample
from studies.lyanet.width_depth import width_depth

TINY = Settings(step=1e-2, epochs=1, strength=0.1)


def small(train=64, test=40):
    """Some digits."""
    whole = digits_data(0)
    return Samples(
        whole.train[:, :train],
        whole.train_labels[:train],
        whole.test[:, :test],
        whole.test_labels[:test],
    )


def test_the_data_are_split_class_by_class():
    data, again, other = digits_data(1), digits_data(1), digits_data(2)
    assert data.train.shape == (64, 1437)
    assert data.test.shape == (64, 360)
    assert (data.train.min(), data.train.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(data.test, again.test)
    assert not np.array_equal(data.test, other.test)
    counts = np.bincount(data.test_labels)
    assert counts.min() >= 34
    assert counts.max() <= 38
    assert not {tuple(x) for x in data.train.T} & {tuple(x) for x in data.test.T}
    with pytest.raises(ValueError, match="test must be at most 1787"):
        digits_data(0, test=1790)
    with pytest.raises(ValueError, match="seed"):
        digits_data(-1)


@pytest.mark.parametrize("name", NAMES)
def test_every_contender_is_trained_and_a_function_of_its_seed(name):
    data = small()
    found = contender(name, data, 3, TINY)
    times, loss, right = found.along(data.test, data.test_labels)
    np.testing.assert_allclose(loss[0], np.log(CLASSES), rtol=1e-14)
    assert times[-1] == 1.0
    assert loss.shape == right.shape == (len(times), 40)
    first = CrossEntropy().value(np.zeros((CLASSES, 1)), np.eye(CLASSES)[:, :1], np.ones(CLASSES))
    *_, trained = (x for x in (found.along(data.train, data.train_labels)[1]))
    assert trained.mean() < float(first[0])  # one epoch of one step already lowers the loss
    if name not in POWERS:
        again = contender(name, data, 3, TINY)
        for block, values in found.control.items():
            np.testing.assert_array_equal(values, again.control[block])
        other = contender(name, data, 4, TINY)
        assert not np.array_equal(found.control["weight1"], other.control["weight1"])


def test_one_euler_layer_is_the_linear_classifier():
    data = small(train=200)
    found = contender("linear l2", data, 0, TINY)
    weight, offset = found.control["weight1"][:, CLASSES:], found.control["bias1"]
    scores = weight @ data.test + offset[:, None]
    _, loss, right = found.along(data.test, data.test_labels)
    picked = scores[data.test_labels, np.arange(40)]
    np.testing.assert_allclose(loss[-1], np.log(np.exp(scores).sum(axis=0)) - picked, rtol=1e-12)
    np.testing.assert_array_equal(right[-1], np.argmax(scores, axis=0) == data.test_labels)
    assert found.weights == 650


def test_numbers_trained():
    counts = {name: contender(name, small(), 0, TINY).weights for name in ("NODE", "ResNet", "MLP")}
    assert counts["NODE"] == 64 * 75 + 64 + 64 * 64 + 64 + 10 * 64 + 10
    assert counts["MLP"] == counts["NODE"] - 64 * 11
    assert abs(counts["ResNet"] / counts["NODE"] - 1.0) < 0.03


def test_the_audit_counts_those_that_keep_the_rate():
    data = small()
    found = contender("tube", data, 0, Settings(step=1e-2, epochs=60))
    times, loss, _ = found.along(data.test, data.test_labels)
    kept = np.all(loss <= np.log(CLASSES) * np.exp(-KAPPA * times)[:, None] + 1e-12, axis=0)
    audited = found.audited(data.test, data.test_labels)
    assert 0 < kept.sum() < len(kept)
    assert audited.meeting.count == kept.sum()
    np.testing.assert_allclose(audited.values, loss, rtol=1e-13)
    assert audited.mean_bound > audited.values[-1].mean()


def test_attacks_without_restart_begin_at_the_data():
    """For a linear network the worst of l_inf moves every pixel against the margin's gradient."""
    rng = np.random.default_rng(0)
    field = LearnedField(2, 5, (), tanh, timed=False)
    x, labels = rng.uniform(0.3, 0.7, (5, 20)), rng.integers(0, 2, 20)
    problem = posed(field, x, labels, TimeMesh(1.0, 1))
    weight = rng.standard_normal((2, 5))
    control = problem.space.sample(weight1=np.concatenate([np.zeros((2, 2)), weight], axis=1))
    found = attack(problem, control, 0.1, step=0.03, steps=4, restarts=0, loss="terminal")
    slope = (weight[1 - labels] - weight[labels]).T
    np.testing.assert_allclose(found.inputs, x + 0.1 * np.sign(slope), rtol=1e-12)
    short = attack(problem, control, 0.1, step=0.01, steps=4, restarts=0, loss="terminal")
    np.testing.assert_allclose(short.inputs, x + 0.04 * np.sign(slope), rtol=1e-12)
    assert short.gradients == 4


def test_ten_short_steps_reach_a_sixth_of_the_radius():
    norm, radius, step = ATTACKS["l_2 127/255, step 2/255"]
    assert norm == "two"
    assert 10 * step / radius == pytest.approx(0.157, abs=1e-3)
    data = small()
    shares = attacked(contender("linear l2", data, 0, TINY), data.test, data.test_labels)
    assert shares.shape == (len(ATTACKS),)
    assert shares[1] >= shares[0]
    assert shares[3] >= shares[2]


def test_chosen_settings_are_of_the_grid():
    """And of the least validation error that was found there."""
    found = settings_file()["validation"]
    for name in NAMES:
        errors = dict(zip(grid(name), found[name], strict=True))
        assert errors[chosen(name)] == min(errors.values())
    with pytest.raises(ValueError, match="unknown name 'Transformer'"):
        chosen("Transformer")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="epochs"):
        Settings(epochs=0)


def test_the_least_error_breaks_ties_by_the_loss():
    assert least(np.array([0.3, 0.1, 0.1]), np.array([0.0, 0.5, 0.4])) == 2
    assert written(np.array([1.0, 2.0, 3.0])) == "2.0 ± 1.0"
    assert written(np.array([np.nan])) == "–"


def test_table_one_as_printed():
    gains = [PRINTED[d]["LyaNet"][1] - PRINTED[d]["Neural ODE"][1] for d in PRINTED]
    np.testing.assert_allclose(gains, [-31.57, -16.73, -1.69], atol=1e-9)


def test_the_table_and_its_search(tmp_path):
    grids = [
        {"name": ["NODE", "MC s=5"], "epochs": 1, "seed": [0, 1], "train": 64, "test": 20},
        {"name": "linear l2", "strength": 1e-2, "train": 64, "test": 20},
        {"name": "MLP", "search": True, "train": 100},
    ]
    words = {
        "digits_table": r"20 test points.*less that of NODE.*MC s=5 [+-].*nor an order",
        "digits_errors": r"no order of robustness",
        "digits_search": r"20 images held out.*5\.00 %",
    }
    cases = check_pictures("digits_table", grids, words, tmp_path, "lyanet")
    assert cases[0].sizes["time"] == 11
    assert np.all(cases[0]["attacked"] >= float(cases[0]["test_error"]) - 1e-12)
    assert np.isnan(float(cases[4]["kept"]))
    assert cases[5].sizes["tried"] == len(grid("MLP"))
    with pytest.raises(ValueError, match="train must be from 20 to 1437"):
        digits_table(train=10)


def test_width_depth(tmp_path):
    grids = [
        {"loss": ["end point", "path, discrete", "tube"], "side": 4, "samples": 200, "epochs": 3}
    ]
    words = {"width_depth": r"kappa = 1.*Grönwall's bound.*keep the rate"}
    cases = check_pictures("width_depth", grids, words, tmp_path, "lyanet")
    for case in cases:
        assert float(case["value"][-1]) < float(case["value"][0])
        assert float(case["excess"]) < 0.01
    with pytest.raises(ValueError, match="layers must be from 1 to 100"):
        width_depth(layers=0)


def test_mnist_sample(tmp_path):
    try:
        load_mnist()
    except DataError:
        pytest.skip("mnist_sample.npz is not there")
    grids = [{"name": ["MLP", "linear l2"], "epochs": 1, "strength": 1e-3}]
    words = {"mnist": r"240 test images.*MLP, 7 x 7.*Least under attack.*No order"}
    cases = check_pictures("mnist_sample", grids, words, tmp_path, "lyanet")
    assert float(cases[1]["test_error"]) < 0.3
    with pytest.raises(ValueError, match="seed"):
        mnist_sample(seed=-1)
