"""Chains without skips as Euler steps, trained beside ResNets on digits."""

import numpy as np
import pytest
from pictures import check_pictures

from continuum import FeedForward, NeuralODE, ResNet, TimeMesh, check_derivatives, tanh
from solvers import Euler, integrate
from studies.datasets import averaged, load_digits, split
from studies.liu_markowich.degradation import Plain, degradation, singular_values


def test_euler_steps_of_length_one_are_the_chain(rng):
    network, mesh = Plain(3, tanh), TimeMesh(4.0, 4)
    control, x = network.controls(mesh).random(rng), rng.standard_normal((3, 5))
    chain = FeedForward.from_control(NeuralODE(3, tanh), control)
    states = integrate(network, control, x, Euler(), save="layers").trajectory.states
    np.testing.assert_allclose(np.stack(chain.outputs(x)), states, rtol=0, atol=1e-15)
    assert network.formula() == "f_t = tanh(weight f + bias) - f"


def test_its_derivatives_are_exact(rng):
    assert check_derivatives(Plain(3, tanh), rng=rng).ok


@pytest.mark.parametrize("made", [FeedForward, ResNet])
def test_singular_values_are_those_of_differences(made, rng):
    network = NeuralODE(3, tanh)
    layers = made.from_control(network, network.controls(TimeMesh(1.5, 4, 1.3)).random(rng))
    x, h = rng.standard_normal((3, 1)), 1e-5
    slopes = (layers(x + h * np.eye(3)) - layers(x - h * np.eye(3))) / (2 * h)
    wanted = np.linalg.svd(slopes, compute_uv=False)
    np.testing.assert_allclose(singular_values(layers, x), wanted, rtol=0, atol=1e-9)


def test_a_deep_chain_without_skips_is_not_learned():
    few = {"epochs": 10, "samples": 500, "step": 0.01}
    plain = {n: degradation(network="plain", depth=n, **few) for n in (2, 20)}
    deep = degradation(network="ResNet", depth=20, **few)
    assert float(plain[2]["train_error"]) < 0.25
    assert float(plain[20]["train_error"]) > 0.6
    assert float(deep["train_error"]) < 0.25
    # the derivatives in its layers do not vanish at the start, the rank nearly does
    assert plain[20]["gradient"].min() > 0.3 * deep["gradient"].min()
    assert plain[20]["singular"][7] < 1e-3 * plain[20]["singular"][0]
    assert deep["singular"][15] > 0.4 * deep["singular"][0]


def test_derivatives_in_the_layers_are_those_of_the_cost():
    """|dJ/dW_k|, by differences of the cost of the chain in the direction of one entry."""
    found = degradation(network="plain", depth=3, samples=100, side=2, epochs=1)["gradient"].values
    images = split(averaged(load_digits().inputs, 2), load_digits().labels, 100, 0)
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((3, 4, 4)) / 2
    readout = rng.standard_normal((10, 4)) / 2

    def cost(w):
        x = images.train
        for one in w:
            x = np.tanh(one @ x)
        o = readout @ x
        o = o - np.log(np.exp(o).sum(axis=0))
        return -o[images.train_labels, np.arange(o.shape[1])].mean()

    h, slopes = 1e-5, np.zeros((3, 4, 4))
    for place in np.ndindex(3, 4, 4):
        change = np.zeros((3, 4, 4))
        change[place] = h
        slopes[place] = (cost(weights + change) - cost(weights - change)) / (2 * h)
    np.testing.assert_allclose(found, np.linalg.norm(slopes, axis=(1, 2)), rtol=1e-7)


def test_bad_parameters():
    with pytest.raises(ValueError, match="epochs must be >= 1 and gain > 0, got 0 and 1"):
        degradation(epochs=0)


def test_pictures(tmp_path):
    check_pictures(
        "degradation",
        [
            {
                "network": ["ResNet", "plain"],
                "depth": [2, 3],
                "epochs": 2,
                "samples": 100,
                "method": ["Adam", "L-BFGS"],
            }
        ],
        {
            "depth": r"2 epochs of Adam with steps.*ResNet \d+\.\d%, .*without skips \d+\.\d%, ",
            "depth_2": r"2 iterations of L-BFGS. Means over 1 seed",
        },
        tmp_path,
    )
