"""Digits and house values by convex residual networks: gradients and steps by hand, the studies on
small cases.
"""

import os
from itertools import product

import numpy as np
import pytest
from pictures import check_pictures

from continuum import Control
from solvers.adjoint.trained_inputs import TrainedInputs
from studies.datasets import load_digits
from studies.nar_sastry.boston_convex import boston_convex, convex_floor, turned
from studies.nar_sastry.digit_pairs import (
    CLASSES,
    Shape,
    Split,
    accuracy,
    pairs,
    started,
    stratified,
    trained,
)

DATA = pytest.mark.skipif("CONTINUUM_DATA" not in os.environ, reason="CONTINUUM_DATA is not set")
SMALL = Shape(filters=2, size=3, pool=2, layers=2, hidden=3)
PARTS = [f"{name}{p}" for p, name in product(range(CLASSES), "rs")]
SIGNS = np.tile([1.0, -1.0], CLASSES)


@pytest.fixture
def split(rng: np.random.Generator) -> Split:
    """Ten images of 6 x 6 pixels for the training, four for the test."""
    labels = rng.permutation(CLASSES)
    return Split(rng.random((10, 6, 6)), labels, rng.random((4, 6, 6)), labels[:4])


def by_hand(images, labels, shape, control):
    """J of the pairs and its gradient, by loops over filters and windows and products for each
    network.
    """
    grad = {name: np.zeros_like(block) for name, block in control.items()}
    filters, size, pool = control["initial.filters"], shape.size, shape.pool
    side = images.shape[1] - size + 1
    x, where = [], []
    for k, a, b in product(range(shape.filters), range(0, side, pool), range(0, side, pool)):
        windows = [(a + i, b + j) for i, j in product(range(pool), range(pool))]
        z = [np.sum(filters[k] * images[:, i : i + size, j : j + size], (1, 2)) for i, j in windows]
        best = np.argmax(z, axis=0)
        x.append(np.maximum(np.max(z, axis=0), 0.0))
        where.append((k, windows, best, np.max(z, axis=0) > 0.0))
    x, count = np.array(x), len(labels)
    error = control["readout.mu"][:, None] - np.eye(CLASSES)[:, labels]
    tapes, n = {}, len(x)
    for place, (part, sign) in enumerate(zip(PARTS, SIGNS, strict=True)):
        h, tape = x, []
        for layer in range(shape.layers):
            v, b, w = (control[f"{part}.{m}"][layer] for m in ("weight1", "bias1", "weight2"))
            s = np.maximum(v @ h + b[:, None], 0.0)
            tape.append((h, s))
            h = h + w @ s
        c = control["readout.W"][place // 2, place * n : (place + 1) * n]
        error[place // 2] += sign * c @ h
        tapes[part] = tape, h
    back = np.zeros_like(x)
    grad["readout.mu"] = error.mean(axis=1)
    for place, (part, sign) in enumerate(zip(PARTS, SIGNS, strict=True)):
        tape, h = tapes[part]
        rows = slice(place * n, (place + 1) * n)
        e = sign * error[place // 2] / count
        grad["readout.W"][place // 2, rows] = h @ e
        p = control["readout.W"][place // 2, rows, None] * e
        for layer in reversed(range(shape.layers)):
            h, s = tape[layer]
            r = (control[f"{part}.weight2"][layer].T @ p) * (s > 0.0)
            grad[f"{part}.weight2"][layer] = p @ s.T
            grad[f"{part}.weight1"][layer] = r @ h.T
            grad[f"{part}.bias1"][layer] = r.sum(axis=1)
            p = p + control[f"{part}.weight1"][layer].T @ r
        back += p
    for q, (k, windows, best, acts) in zip(back, where, strict=True):
        for m in np.flatnonzero(acts):
            i, j = windows[best[m]]
            grad["initial.filters"][k] += q[m] * images[m, i : i + size, j : j + size]
    return 0.5 * np.sum(error**2) / count, grad


def projected(name: str, block: np.ndarray) -> np.ndarray:
    """V, W >= 0, -b <= 0, c >= 1e-3."""
    if name.endswith("bias1"):
        return np.minimum(block, 0.0)
    low = {"initial.filters": -np.inf, "readout.mu": -np.inf, "readout.W": 1e-3}.get(name, 0.0)
    return np.maximum(block, low)


@pytest.fixture
def objective(split) -> TrainedInputs:
    return pairs(split.train, split.train_labels, SMALL)


def test_gradients_of_pairs_by_hand(split, objective, rng):
    control = started(objective, rng)
    lower = {name: 0.1 * b for name, b in control.items() if name.endswith("bias1")}
    control = control.replaced(**lower)  # so that units of every layer act
    value, gradient = objective.value_and_gradient(control)
    wanted, by_blocks = by_hand(split.train, split.train_labels, SMALL, control)
    assert value == pytest.approx(wanted, rel=1e-14)
    assert gradient.keys() == by_blocks.keys()
    for name, block in gradient.items():
        np.testing.assert_allclose(block, by_blocks[name], rtol=1e-12, atol=1e-16)
        assert np.any(block != 0.0)


@pytest.mark.parametrize("variant", ["convex", "frozen biases", "unconstrained"])
def test_runs_by_hand(split, objective, variant):
    """Two epochs of x <- P(y - s g(y)), y = x + .9 (x - x_before); without the set the velocity of
    the usual libraries, v <- .9 v - s g(x + .9 v), x <- x + v, gives the same.
    """
    step, run = 0.5, trained(split, variant, SMALL, step=0.5, batch=4, epochs=2, seed=3)
    rng = np.random.default_rng(3)
    x = dict(started(objective, rng))
    v = {name: np.zeros_like(block) for name, block in x.items()}
    for _ in range(2):
        order = rng.permutation(10)
        for part in (order[:4], order[4:8], order[8:]):
            y = {name: x[name] + 0.9 * v[name] for name in x}
            g = by_hand(split.train[part], split.train_labels[part], SMALL, y)[1]
            for name in x:
                if variant == "frozen biases" and name.endswith("bias1"):
                    continue
                if variant == "unconstrained":
                    v[name] = 0.9 * v[name] - step * g[name]
                    x[name] = x[name] + v[name]
                else:
                    moved = projected(name, y[name] - step * g[name])
                    v[name], x[name] = moved - x[name], moved
    assert run.status.name == "ITERATED"
    held = {name for name in x if name not in run.control}
    assert held == {n for n in x if n.endswith("bias1") and variant == "frozen biases"}
    for name, block in run.control.items():
        np.testing.assert_allclose(block, x[name], rtol=1e-11, atol=1e-14)
    least = min(float(np.min(run.control[f"{part}.weight2"])) for part in PARTS)
    assert least < 0.0 if variant == "unconstrained" else least == 0.0
    final = accuracy(objective.outputs(Control(objective.space, x)), split.train_labels)
    assert run.history["train"][-1] == final
    assert len(run.history["test"]) == 3


def test_shapes_of_features(rng):
    bank = Shape(size=6, pool=4).bank(rng.random((2, 28, 28)))
    assert bank.images.shape == (2, 29, 29)
    assert np.all(bank.images[:, -1] == 0.0)
    assert np.all(bank.images[:, :, -1] == 0.0)
    assert Shape().bank(rng.random((2, 8, 8))).images.shape == (2, 8, 8)
    digits = load_digits()
    split = stratified(digits, 1)
    assert (len(split.train), len(split.test)) == (1347, 450)
    shares = [np.bincount(labels) / len(labels) for labels in (split.train_labels, digits.labels)]
    np.testing.assert_allclose(shares[0], shares[1], atol=1e-3)
    with pytest.raises(ValueError, match="unknown variant 'Adam'"):
        trained(split, "Adam")


def test_pictures_of_digits(tmp_path):
    small = {
        "samples": 60,
        "epochs": 1,
        "filters": 1,
        "hidden": 1,
        "layers": 1,
        "linear_strength": 1.0,
    }
    variants = ["convex", "convex by Adam", "linear classifier"]
    words = r"60 images.*linear classifier \d.* than convex has, test and gap: convex by Adam"
    captions = {"digits_convex": words}
    cases = check_pictures(
        "digits_convex", [{"variant": variants, **small}], captions, tmp_path, "nar_sastry"
    )
    assert [case.sizes["epoch"] for case in cases] == [2, 2, 2]
    assert all(np.all((case["test"] >= 0.0) & (case["test"] <= 1.0)) for case in cases)


def test_the_least_error_of_convex_functions(rng):
    x = rng.random(30)
    assert convex_floor(x, np.maximum(x - 0.4, 0.0) + x**2) == pytest.approx(0.0, abs=1e-7)
    line = np.sqrt(x)
    residual = line - np.polyval(np.polyfit(x, line, 1), x)
    assert convex_floor(x, line) == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-9)
    assert convex_floor(x, -x) == pytest.approx(np.std(x), rel=1e-9)
    # the first two values fall: the best function has their mean at both
    x, y = np.array([0.0, 0.5, 1.0]), np.array([0.2, 0.0, 1.0])
    assert convex_floor(x, y) == pytest.approx(np.sqrt(2 * 0.1**2 / 3.0), rel=1e-9)
    np.testing.assert_array_equal(
        turned(np.array([[0.25], [0.5]]), np.array([-1.0, 2.0])), [[0.75], [0.5]]
    )


@DATA
def test_boston(tmp_path):
    small = {"layers": 2, "hidden": 1, "iterations": 40, "starts": 1}
    captions = {"boston_convex": "404 houses.*rooms: linear 6.54/6.85.*least RMSE of all convex"}
    (case,) = check_pictures(
        "boston_convex", [{**small, "seed": 0}], captions, tmp_path, "nar_sastry"
    )
    rmse = case["rmse"].sel(set="training")
    assert float(case["floor"]) == pytest.approx(5.988132, abs=1e-6)
    assert np.all(rmse.sel(inputs="rooms")[:3] >= float(case["floor"]))
    rooms = rmse.sel(inputs="rooms")
    assert float(rooms.sel(model="difference")) < float(rooms.sel(model="linear")) - 0.3
    assert np.all(case["steepest"] <= case["lipschitz"] * (1.0 + 1e-12))
    with pytest.raises(ValueError, match="starts"):
        boston_convex(starts=0)
