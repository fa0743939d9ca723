"""Pairs of samples and shared states, against the generic path."""

import numpy as np
import pytest

from continuum import (
    Affine,
    CrossEntropy,
    LearnedField,
    LearningProblem,
    SquaredError,
    TimeMesh,
    arctan,
    gelu,
    relu,
    tanh,
)
from solvers.lyapunov import Cube, MonteCarloLyapunov, Tube, monte_carlo
from solvers.lyapunov.shared_states import takes

UNITS, INPUTS = 3, 5


def posed(rng, samples=40, activation=tanh, hidden=(6, 7), target=None, **options):
    field = LearnedField(UNITS, INPUTS, hidden, activation, **options)
    return LearningProblem(
        field.at(rng.random((INPUTS, samples))),
        np.zeros((UNITS, samples)),
        rng.integers(0, UNITS, samples) if target is None else target,
        TimeMesh(1.5, 4),
        terminal=CrossEntropy() if target is None else SquaredError(),
        sample_weights=rng.random(samples),
    )


def compared(problem, control, monkeypatch, kappa=2.0, states=20):
    """Both ways: (share of active pairs, errors of value, share and gradient)."""
    loss = MonteCarloLyapunov(problem, kappa, Cube(3.0, states=states))
    assert takes(problem, control, loss.points(control))
    value, gradient = loss.value_and_gradient(control)
    share = loss.active_share(control)
    with monkeypatch.context() as patch:
        patch.setattr(monte_carlo, "takes", lambda *_: False)
        expected, slope = loss.value_and_gradient(control)
        assert loss.active_share(control) == share
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    for name, g in slope.items():
        np.testing.assert_allclose(
            gradient[name], g, rtol=0, atol=2e-14 * np.abs(g).max(), err_msg=name
        )
    return share


@pytest.mark.parametrize("activation", [tanh, relu, arctan, gelu], ids=str)
@pytest.mark.parametrize(
    "options",
    [{"centred": True}, {"timed": False, "scale": 1.4}, {"hidden": (4,)}, {"hidden": (4, 5, 6)}],
    ids=str,
)
def test_the_generic_path_gives_the_same(rng, activation, options, monkeypatch):
    problem = posed(rng, activation=activation, **options)
    compared(problem, problem.space.random(rng, 0.5), monkeypatch)


@pytest.mark.parametrize(("samples", "states"), [(1, 3), (7, 300), (5, 1500), (90, 32), (1030, 2)])
def test_parts_of_any_size(rng, samples, states, monkeypatch):
    problem = posed(rng, samples)
    compared(problem, problem.space.random(rng), monkeypatch, states=states)


def test_few_active_pairs(rng, monkeypatch):
    problem = posed(rng, 60, target=rng.standard_normal((UNITS, 60)))
    share = compared(problem, problem.space.random(rng, 2.0), monkeypatch, kappa=1e-3)
    assert 0.2 < share < 0.6  # so that the branch which gathers them is taken


def test_what_it_does_not_take(rng):
    def refused(problem, sampler=None):
        control = problem.space.random(rng)
        loss = MonteCarloLyapunov(problem, 1.0, sampler or Cube(3.0))
        return not takes(problem, control, loss.points(control))

    plain = posed(rng)
    assert not refused(plain)
    assert refused(plain, Tube())
    assert refused(posed(rng, hidden=()))
    assert refused(posed(rng, norm_bound=2.0))
    trained = LearningProblem(
        plain.network,
        plain.initial,
        rng.integers(0, 2, 40),
        plain.mesh,
        readout=Affine(2),
        terminal=CrossEntropy(),
    )
    assert refused(trained)
    layered = plain.network.controls(plain.mesh, "layers")
    assert refused(
        LearningProblem(
            plain.network,
            plain.initial,
            rng.integers(0, 3, 40),
            layered,
            terminal=CrossEntropy(),
        )
    )
