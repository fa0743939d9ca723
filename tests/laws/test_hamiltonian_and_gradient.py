"""Law 1: the derivative of layer k's Hamiltonian in the control is layer k of the gradient.

For the ResNet f_{k+1} = f_k + tau_k F(f_k, c_k, t_k), exactly, since both are the derivative of one
sum; so 1e-12 is rounding.
"""

import numpy as np
import pytest
from law_cases import ALL, Gain, Paced, one_third, problem

from continuum import (
    Affine,
    LearningProblem,
    NeuralODE,
    NeuralODE2,
    SquaredError,
    Tikhonov,
    TimeMesh,
    tanh,
)
from solvers import discretize, layer_hamiltonian


def agree(stated, control, rtol=1e-12):
    """Compares every block that depends on time, layer by layer."""
    objective = discretize(stated)
    gradient = objective.gradient(control)
    names = [b.name for b in stated.space.trained if b.time != "static"]
    found = layer_hamiltonian(objective, control).gradient({n: control[n] for n in names})
    for name in names:
        size = np.max(np.abs(gradient[name]))
        assert size > 1e-3
        np.testing.assert_allclose(found[name], gradient[name], rtol=0, atol=rtol * size)


@pytest.mark.parametrize("case", ALL)
def test_on_every_layer(case, rng):
    stated = problem(case, activation=tanh, samples=3)
    agree(stated, stated.space.random(rng, 0.7))


@pytest.mark.parametrize("case", ALL)
def test_without_a_penalty(case, rng):
    stated = problem(case, activation=tanh, samples=3, penalty=None)
    agree(stated, stated.space.random(rng, 0.7))


@pytest.mark.parametrize("network", [NeuralODE, NeuralODE2])
@pytest.mark.parametrize("timed", [False, True])
def test_in_the_plane_with_several_samples(network, timed, rng):
    inner = network(2, tanh)
    stated = LearningProblem(
        Paced(inner, one_third) if timed else inner,
        rng.standard_normal((2, 5)),
        rng.standard_normal((2, 5)),
        TimeMesh(1.3, 7),
        running=SquaredError(0.3),
        penalty=Tikhonov(0.05, ["weight"]),
        sample_weights=np.arange(1.0, 6.0),
    )
    agree(stated, stated.space.random(rng))


@pytest.mark.parametrize("timed", [False, True])
def test_a_trained_readout_stays_as_it_is(timed, rng):
    inner = NeuralODE2(2, tanh)
    stated = LearningProblem(
        Paced(inner, one_third) if timed else inner,
        rng.standard_normal((2, 4)),
        rng.standard_normal((3, 4)),
        TimeMesh(1.0, 5),
        readout=Affine(3),
        running=SquaredError(0.3),
    )
    agree(stated, stated.space.random(rng))


def test_the_rate_one_minus_three_t():
    """The gradient of x' = (1 - 3t) gain on layer k is (1 - 3 t_k) (x(T) - target)."""
    stated = LearningProblem(
        Gain(one_third), np.zeros((1, 1)), np.full((1, 1), 2.0), TimeMesh(1.0, 6)
    )
    control = stated.space.sample(gain=np.ones(1))
    gap = sum((1 - 3 * k / 6) / 6 for k in range(6)) - 2.0
    expected = (1 - 3 * np.arange(6) / 6)[:, None] * gap
    np.testing.assert_allclose(discretize(stated).gradient(control)["gain"], expected, atol=1e-14)
    agree(stated, control)
