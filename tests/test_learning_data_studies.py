"""The studies that learn from data: tiny cases, against scikit-learn, closed forms and chance."""

import re

import numpy as np
import pytest
from pictures import check_pictures
from sklearn.linear_model import LogisticRegression

from continuum import Control
from solvers import RK4, discretize
from studies.datasets import DataError, averaged, load_digits, split
from studies.datasets import mnist_sample as load_mnist
from studies.liu_markowich.bang_bang_classifier import bang_bang_classifier, inside, rounded
from studies.liu_markowich.classification import (
    LINEAR,
    METHODS,
    certificates,
    classifier,
    starting_control,
    train,
    with_readout_held,
)
from studies.liu_markowich.mnist_sample import mnist_sample
from studies.liu_markowich.refine_after_training import blocks, refine_after_training, refined
from studies.liu_markowich.sine_toy import sine_problem, sine_toy
from studies.liu_markowich.train_digits import train_digits

TINY = {"samples": 400, "layers": 3, "horizon": 3.0}


def data_is_there():
    try:
        load_mnist()
    except DataError:
        return False
    return True


def test_splits_are_stratified_and_seeded():
    digits = load_digits()
    data = split(digits.inputs, digits.labels, 500, 3)
    again = split(digits.inputs, digits.labels, 500, 3)
    other = split(digits.inputs, digits.labels, 500, 4)
    assert data.train.shape == (64, 400)
    assert data.test.shape == (64, 100)
    np.testing.assert_array_equal(data.test, again.test)
    assert not np.array_equal(data.test, other.test)
    counts = np.bincount(digits.labels[:500], minlength=10)
    assert np.all(np.abs(np.bincount(data.test_labels, minlength=10) - counts / 5) < 1)
    assert data.train.min() == -1.0
    assert data.train.max() == 1.0
    columns = {tuple(x) for x in data.train.T} & {tuple(x) for x in data.test.T}
    assert not columns


def test_averages_over_blocks():
    images = np.arange(16.0).reshape(1, 4, 4)
    np.testing.assert_array_equal(averaged(images, 2)[0], [[2.5, 4.5], [10.5, 12.5]])
    with pytest.raises(ValueError, match="side must divide the 4 pixels"):
        averaged(images, 3)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_linear_classifier_is_logistic_regression(seed):
    strength = 1e-4
    case = train_digits(method="linear classifier", strength=strength, seed=seed)
    assert case.attrs["status"].startswith("Stationary")
    digits = load_digits()
    data = split(digits.inputs, digits.labels, 1797, seed)
    # int |W|^2 = 64 |beta|^2 for beta = W / 64, the coefficients of the pixels
    inverse = 1 / (2 * 64 * strength * data.train.shape[1])
    peer = LogisticRegression(C=inverse, max_iter=2000).fit(data.train.T, data.train_labels)
    assert float(case["final_test_accuracy"]) == pytest.approx(
        peer.score(data.test.T, data.test_labels), abs=0.01
    )
    assert float(case["final_train_accuracy"]) == pytest.approx(
        peer.score(data.train.T, data.train_labels), abs=0.01
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(method):
    case = train_digits(method=method, effort=0.2, **TINY)
    assert float(case["final_test_accuracy"]) > 0.6  # chance is 0.1
    assert float(case["objective"].min()) < 0.7 * np.log(10)
    assert case.sizes["iteration"] == len(case["test_accuracy"])
    assert np.all(np.diff(case["seconds"]) > 0)
    assert float(case["test_accuracy"][0]) < float(case["final_test_accuracy"])
    if method not in LINEAR:
        assert float(case["gap"]) > 0
        assert "int (H - min H) dt" in case.attrs["certificate"]
        assert "readout held fixed, all 320 training images" in case.attrs["certificate"]
    again = train_digits(method=method, effort=0.2, **TINY)
    np.testing.assert_array_equal(case["objective"], again["objective"])


def test_a_test_accuracy_of_97_percent():
    case = train_digits(method="Adam")
    assert float(case["final_test_accuracy"]) >= 0.97
    assert float(case["test_accuracy"][-1]) == float(case["final_test_accuracy"])


def test_training_longer_closes_the_gap_of_the_resnet():
    gaps = [float(train_digits(effort=effort, **TINY)["gap_resnet"]) for effort in (0.05, 0.5)]
    assert gaps[0] > 5 * gaps[1] > 0


@pytest.mark.parametrize(("weights", "levels"), [("ternary", [-1, 0, 1]), ("binary", [-1, 1])])
def test_weights_take_few_values(weights, levels):
    case = train_digits(weights=weights, effort=0.2, horizon=8.0, samples=600, layers=4)
    kernel = case["kernel"].values
    np.testing.assert_array_equal(np.unique(kernel), levels)
    assert kernel.shape == (4, 64, 64)
    assert float(case["nonzero"]) == np.mean(kernel != 0)
    assert (float(case["nonzero"]) < 1) == (weights == "ternary")
    assert float(case["final_test_accuracy"]) > 0.8
    assert "Then: " in case.attrs["status"]


def test_boxes_hold():
    data = load_digits()
    samples = split(data.inputs, data.labels, 200, 0)
    case = train_digits(weights="box", effort=0.1, **TINY)
    assert 0 < float(case["at_bound"]) < 1
    problem = classifier(8, 2, 2.0, 1e-3, samples.train, samples.train_labels)
    trained = train(problem, "successive approximation", starting_control(problem, 0), effort=0.05)
    held = with_readout_held(problem, trained.control)
    inner = Control(held.space, {name: trained.control[name] for name in ("bias", "kernel")})
    readout = problem.space.sample(
        **{name: trained.control[name] for name in ("readout.W", "readout.mu")}
    )
    assert problem.penalty is not None
    whole = discretize(held).value(inner) + problem.penalty.value(readout)
    assert discretize(problem).value(trained.control) == pytest.approx(whole, rel=1e-12)
    assert min(trained.objective) == pytest.approx(whole, rel=1e-12)
    numbers, _ = certificates(problem, trained.control)
    flow = discretize(problem, RK4(), 4, "steps").value(trained.control)
    assert numbers["flow_objective"] == pytest.approx(flow, rel=1e-9)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"method": "Newton-CG", "weights": "box"},
            "weights must be 'free' for method 'Newton-CG'",
        ),
        (
            {"method": "successive approximation", "weights": "ternary"},
            "weights must be 'free' or 'box'",
        ),
        ({"samples": 10}, "samples must be from 50 to 1797, got 10"),
        ({"seed": -1}, "seed must be >= 0"),
        ({"effort": 0.0}, "effort must be > 0"),
        ({"strength": 0.0}, "strength 0 leaves bias, kernel, readout.W, readout.mu without bounds"),
        ({"strength": -1.0}, "strength >= 0"),
        ({"layers": 0}, "layers must be >= 1"),
    ],
)
def test_parameters_of_train_digits(wrong, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        train_digits(**wrong)


BOXED = {"samples": 200, "layers": 2, "horizon": 2.0, "effort": 0.3}


def test_a_classifier_in_a_box_without_penalty():
    case = bang_bang_classifier(**BOXED)
    shares = dict(zip(case["block"].values, case["at_bound"].values, strict=True))
    assert float(case["at_bound_at_start"]) < 0.01 < 0.2 < shares["kernel"] < 1.0
    assert np.mean(case["at_bound_in_layer"].values[1]) == pytest.approx(shares["kernel"])
    outer = case["kernel_histogram"].values[[0, -1]].sum()
    assert outer >= shares["kernel"]
    assert case["kernel_histogram"].values.sum() == pytest.approx(1.0, abs=1e-14)
    assert "int (H - min H) dt is at least" in case.attrs["verdict"]
    assert "with readout.W, readout.mu, which do not depend on time" in case.attrs["certificate"]
    assert float(case["gap_resnet"]) > 0
    assert float(case["final_test_accuracy"]) > 0.6
    penalised = bang_bang_classifier(strength=0.1, **BOXED)
    assert float(penalised["at_bound"].sel(block="kernel")) < 0.5 * shares["kernel"]
    # the box holds, and J has no penalty
    data = load_digits()
    samples = split(data.inputs, data.labels, 200, 0)
    bounds = {"bias": 1.0, "kernel": 1.0, "readout.W": 10.0, "readout.mu": 10.0}
    problem = classifier(8, 2, 2.0, 0.0, samples.train, samples.train_labels, bounds)
    assert problem.penalty is None
    trained = train(problem, "L-BFGS", inside(problem, 1.0, 0), effort=0.3)
    assert problem.admissible is not None
    assert problem.admissible.contains(trained.control)
    assert discretize(problem).value(trained.control) == pytest.approx(
        float(case["final_objective"]), rel=1e-12
    )
    nearest = rounded(trained.control, 1.0)
    assert set(np.unique(nearest["kernel"])) == {-1.0, 1.0}
    assert discretize(problem).value(nearest) == pytest.approx(
        float(case["rounded_objective"]), rel=1e-12
    )


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        (None, "strength 0 leaves bias, kernel, readout.W, readout.mu without bounds"),
        ({"bias": 1.0, "kernel": 1.0}, "strength 0 leaves readout.W, readout.mu without bounds"),
    ],
)
def test_strength_zero_needs_bounds(bounds, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        classifier(8, 2, 2.0, 0.0, np.zeros((64, 3)), np.array([0, 1, 2]), bounds)
    with pytest.raises(ValueError, match="bound and readout_bound must be > 0"):
        bang_bang_classifier(bound=0.0)
    with pytest.raises(ValueError, match="strength >= 0"):
        bang_bang_classifier(strength=-1.0)


def test_blocks_of_pixels():
    matrix = blocks(2, 4)
    np.testing.assert_array_equal(
        (matrix @ np.arange(4)).reshape(4, 4), np.kron([[0, 1], [2, 3]], np.ones((2, 2)))
    )


def test_refining_keeps_the_function():
    constant = refine_after_training(strategy="piecewise constant", effort=0.1, samples=200)
    before, after = float(constant["before"]), float(constant["after"])
    assert after == pytest.approx(before, rel=1e-11)  # means over blocks obey the coarse equation
    same_depth = refine_after_training(coarse_layers=8, effort=0.1, samples=200)
    assert float(same_depth["resnet_after"]) == pytest.approx(
        float(same_depth["resnet_before"]), rel=1e-11
    )
    assert int(constant["refined_at"]) > 0
    at = int(constant["refined_at"])
    assert float(constant["objective"][at]) == pytest.approx(
        float(constant["resnet_after"]), rel=1e-12
    )
    assert float(constant["final_objective"]) < float(constant["resnet_after"])
    # the baseline sees the same split, whatever the strategy
    digits = load_digits()
    data = split(digits.inputs, digits.labels, 200, 0)
    peer = LogisticRegression(C=1 / (2 * 3e-4 * 160), tol=1e-8, max_iter=10_000)
    peer.fit(data.train.T, data.train_labels)
    wanted = [
        peer.score(data.train.T, data.train_labels),
        peer.score(data.test.T, data.test_labels),
    ]
    np.testing.assert_allclose(constant["linear"].values, wanted, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(constant["linear"], same_depth["linear"])


def test_bilinear_refinement_changes_smooth_functions_by_the_error_of_the_width():
    y = [np.array([[0.3 * np.sin(p[0]) + 0.2 * p[1]] for p in _nodes(side)]) for side in (4, 8, 16)]
    changes = []
    for k, (coarse_side, fine_side) in enumerate(((4, 8), (8, 16))):
        coarse = classifier(coarse_side, 2, 1.0, 1e-3, y[k], np.array([1]))
        fine = classifier(fine_side, 4, 1.0, 1e-3, y[k + 1], np.array([1]))
        nodes = _nodes(coarse_side)
        kernel = np.cos(nodes[:, :1] - nodes[:, 1:].T)
        scores = np.stack([np.sin((c + 1) * nodes[:, 0]) for c in range(10)])
        control = coarse.space.sample(kernel=kernel, bias=nodes[:, 0] ** 2, **{"readout.W": scores})
        moved = refined(control, coarse, fine, "bilinear")
        flow = [
            discretize(p, RK4(), n).value(c) for p, n, c in ((coarse, 4, control), (fine, 2, moved))
        ]
        changes.append(abs(flow[1] - flow[0]))
    assert changes[0] < 0.02
    assert changes[1] < changes[0] / 2


def _nodes(side):
    at = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1).reshape(-1, 2)


def test_coarse_layers_must_divide():
    with pytest.raises(ValueError, match="coarse_layers must divide layers, got 3 and 8"):
        refine_after_training(coarse_layers=3)


def test_the_zero_start_of_the_sine_keeps_units_alike():
    value, gradient = discretize(problem := sine_problem(5, 1e-6)).value_and_gradient(
        problem.space.zeros()
    )
    x = np.linspace(-np.pi, np.pi, 100)
    assert value == pytest.approx(0.5 * np.mean((x - np.sin(x)) ** 2), rel=1e-12)
    assert np.abs(gradient["weight"]).max() > 0.1  # not stationary
    assert np.ptp(gradient["weight"]) < 1e-12
    zero = sine_toy(method="L-BFGS", start="zero")
    single = sine_toy(method="L-BFGS", start="zero", units=1)
    assert float(zero["spread"]) < 1e-6
    assert float(zero["final_loss"]) == pytest.approx(float(single["final_loss"]), rel=1e-3)
    started = sine_toy(method="L-BFGS", start="random")
    assert float(started["final_loss"]) < 1e-3 * float(zero["final_loss"])


@pytest.mark.parametrize("method", ["E-MSA", "gradient descent", "Adam", "Newton-CG"])
def test_every_method_learns_the_sine(method):
    case = sine_toy(method=method, start="random", effort=0.5)
    assert float(case["final_loss"]) < 0.02 * float(case["objective"][0])
    assert float(case["final_loss"]) == pytest.approx(
        np.mean((case["output"] - np.sin(case["point"])) ** 2)
    )
    assert ("inexact" in case.attrs["certificate"]) or ("lower bound" in case.attrs["certificate"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"units": 0}, "units must be from 1 to 50"),
        ({"strength": 0.0}, "> 0"),
        ({"seed": -1}, "seed must be >= 0"),
    ],
)
def test_parameters_of_sine_toy(wrong, said):
    with pytest.raises(ValueError, match=said):
        sine_toy(**wrong)


def test_mnist_says_what_to_do_without_its_file(monkeypatch):
    monkeypatch.delenv("CONTINUUM_DATA", raising=False)
    with pytest.raises(DataError, match="CONTINUUM_DATA"):
        mnist_sample()
    with pytest.raises(ValueError, match="side must be 4, 7, 14 or 28"):
        mnist_sample(side=5)


@pytest.mark.skipif(not data_is_there(), reason="the sample of MNIST is not in CONTINUUM_DATA")
def test_mnist_is_learned():
    case = mnist_sample(method="Adam", side=7, layers=3, horizon=3.0, effort=0.2)
    assert float(case["final_test_accuracy"]) > 0.6


PICTURES = {
    "train_digits": (
        [
            {"method": ["L-BFGS", "linear classifier"], "effort": 0.1, "samples": 100, "layers": 2},
            {"weights": ["box", "ternary"], "effort": 0.1, "samples": 100, "layers": 2},
        ],
        {
            "methods": r"seed 0\)\. L-BFGS: J = \d\.\d+, test \d+\.\d%",
            "weights": r"ternary: test .*not zero \d+\.\d%",
        },
    ),
    "bang_bang_classifier": (
        [{"strength": [0.0, 0.1], "effort": 0.1, "samples": 100, "layers": 2}],
        {"shares": r"strength 0: at a bound a \d+\.\d%, b .*int \(H - min H\) dt is at least"},
    ),
    "refine_after_training": (
        [{"strategy": ["fine at once", "bilinear"], "effort": 0.05, "samples": 100}],
        {
            "refinement": r"seed 0\)\. fine at once: J .*refined, bilinear: .*before and \d\.\d+ "
            r"after refining; linear classifier on the 8 x 8 pixels \(seed 0\): test \d"
        },
    ),
    "sine_toy": (
        [{"method": ["E-MSA", "Adam"], "start": ["zero", "random"], "effort": 0.05}],
        {"loss": r"zero start: E-MSA .*random start \(seed 0\): E-MSA"},
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_tiny_cases(name, tmp_path):
    check_pictures(name, *PICTURES[name], tmp_path)
