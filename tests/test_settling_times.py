"""Settling times known before a run: exact ones, bounds, and the reasons why there is none."""

from dataclasses import replace

import numpy as np
import pytest
from regressions import INPUTS, network, one_weight

from continuum import (
    Affine,
    LearnedField,
    LearningProblem,
    NeuralODE2,
    Projection,
    TimeMesh,
    identity,
    tanh,
)
from solvers import Status
from solvers.finite_time import (
    PowerLaw,
    PseudoinverseLaw,
    SignLaw,
    neuron,
    output_jacobian,
    settling_bound,
    train_in_time,
)
from studies.finite_time.settling import settling


@pytest.mark.parametrize("seed", range(6))
def test_the_kernel_bound_of_linear_neurons_holds(seed):
    rng = np.random.default_rng(seed)
    samples = int(rng.integers(1, 4))
    problem = neuron(
        rng.standard_normal((samples + 1, samples)), rng.standard_normal(samples), link=identity
    )
    start = problem.space.random(rng)
    law = PowerLaw(0.5, 0.25, rng.uniform(0.5, 2.0, problem.space.size))
    bound = settling_bound(problem, start, law, "tangent-kernel")
    run = train_in_time(problem, law, bound.time or 0.0, (bound.time or 0.0) / 1000, initial=start)
    assert bound.kind == "bound"
    assert run.status is Status.SETTLED
    np.testing.assert_allclose(run.history["lambda_min"], bound.lambda_min)
    # the inequality for E' behind it, at every step of the run
    e, t = run.history["objective"], run.history["pseudo_time"]
    left = 1.0 - law.alpha - law.beta
    allowed = e[0] ** left * (1.0 - t / (bound.time or np.nan))
    assert np.all(e**left <= allowed + 1e-12)
    closed = settling_bound(problem, start, law)
    if samples == 1:
        assert closed.kind == "exact"
        assert (closed.time or 0.0) <= (bound.time or 0.0) * (1.0 + 1e-12)


def test_one_weight_attains_the_kernel_bound():
    for error, gain in ((0.7, 1.0), (-0.1, 0.3)):
        problem, start = one_weight(error)
        law = PowerLaw(0.5, 0.25, gain)
        bounds = [
            settling_bound(problem, start, law, kind) for kind in ("corrected", "tangent-kernel")
        ]
        np.testing.assert_allclose(bounds[0].time, bounds[1].time, rtol=1e-13)
        assert bounds[0].printed < 0.3 * bounds[0].time  # (18) is too short


def test_sigmoids_have_a_bound_while_outputs_stay_inside():
    problem = neuron(INPUTS, [0.45, 0.5, 0.55])
    start = problem.space.sample(weight1=np.array([[0.0, 0.1, -0.1, 0.1]]))
    law = PowerLaw(0.5, 0.25)
    bound = settling_bound(problem, start, law)
    assert bound.kind == "bound"
    run = train_in_time(problem, law, bound.time or 0.0, (bound.time or 0.0) / 500, initial=start)
    assert run.status is Status.SETTLED
    assert np.all(run.history["lambda_min"] >= bound.lambda_min)
    far = problem.space.sample(weight1=np.array([[0.0, 9.0, -9.0, 9.0]]))
    none = settling_bound(problem, far, law)
    assert none.time is None
    assert "lambda_along" in none.reason
    given = settling_bound(problem, far, law, lambda_along=0.01)
    assert given.kind == "conditional"
    left = 1.0 - 0.75
    expected = given.objective**left / (0.01**0.75 * 1.5**0.5 * left)
    np.testing.assert_allclose(given.time, expected, rtol=1e-14)


def test_one_sample_with_output_biases_has_lambda_1(rng):
    law = PowerLaw(0.5, 0.25)
    problem, start = network(1, rng)
    bound = settling_bound(problem, start, law)
    assert bound.kind == "bound"
    assert bound.lambda_min == 1.0
    run = train_in_time(problem, law, bound.time or 0.0, 1e-2, initial=start)
    assert run.status is Status.SETTLED
    assert np.all(run.history["lambda_min"] >= 1.0)
    # the last biases move the output by horizon times scale times readout
    field = LearnedField(2, 2, (4,), tanh, timed=False, scale=3.0)
    scaled = LearningProblem(
        field.at(np.ones((2, 1))),
        np.zeros((2, 1)),
        np.zeros((1, 1)),
        TimeMesh(0.5, 1),
        readout=Projection(np.array([[1.0, 1.0]])),
    )
    begin = scaled.space.random(rng)
    found = settling_bound(scaled, begin, law)
    np.testing.assert_allclose(found.lambda_min, 2.0 * 1.5**2, rtol=1e-14)
    slopes = output_jacobian(scaled, begin)
    assert (slopes @ slopes.T)[0, 0] >= 4.5
    # and of a run of several layers, nothing is known but where the readout has an offset
    deep = replace(scaled, controls=TimeMesh(0.5, 2))
    assert settling_bound(deep, deep.space.random(rng), law).kind == "none"
    # nor of a field whose length is bounded: it may not reach its target at all
    bounded = LearnedField(1, 2, (3,), tanh, timed=False, norm_bound=0.5).at(np.ones((2, 1)))
    short = LearningProblem(bounded, np.zeros((1, 1)), 3.0 * np.ones((1, 1)), TimeMesh(1.0, 1))
    assert settling_bound(short, short.space.random(rng), law).kind == "none"
    offset = LearningProblem(
        NeuralODE2(2, tanh), np.ones((2, 1)), np.ones((1, 1)), TimeMesh(1.0, 3), readout=Affine(1)
    )
    assert settling_bound(offset, offset.space.zeros(), law).lambda_min == 1.0


def test_reasons_why_there_is_no_time(rng):
    two = neuron(INPUTS[:, :2], [0.2, 0.7])
    cases = [
        (two, SignLaw(), "its loss can rise"),
        (neuron(INPUTS[:, :1], [0.2]), SignLaw(layer=0.1), "exponentially"),
        (network(3, rng)[0], PowerLaw(0.5, 0.25), "not known along the run"),
        (network(3, rng)[0], PseudoinverseLaw(0.5), "J depends on the weights"),
        (neuron(np.ones((2, 2)), [0.0, 1.0], link=identity), PowerLaw(0.5, 0.25), "dependent"),
    ]
    for problem, law, words in cases:
        bound = settling_bound(problem, problem.space.random(rng), law)
        assert bound.time is None
        assert bound.kind == "none"
        assert words in bound.reason
    bound = settling_bound(two, two.space.zeros(), PseudoinverseLaw(0.5), "tangent-kernel")
    assert "PowerLaw" in bound.reason
    settled = one_weight(0.0)
    assert settling_bound(*settled, PowerLaw(0.5, 0.25)).time == 0.0


def test_the_pseudoinverse_settles_all_errors_at_their_own_times():
    problem = neuron(INPUTS, [0.3, 0.5, 0.8])
    law, start = PseudoinverseLaw(0.5, 0.7), neuron(INPUTS, [0.3, 0.5, 0.8]).space.zeros()
    bound = settling_bound(problem, start, law)
    np.testing.assert_allclose(bound.time, np.sqrt(0.3) / (0.7 * 0.5), rtol=1e-14)
    ends = []
    for scheme in ("exact", "semi-implicit"):
        run = train_in_time(problem, law, 1.2 * (bound.time or 0.0), 1e-3, scheme, start)
        assert run.status is Status.SETTLED
        ends.append(problem.space.flatten(run.control))
    np.testing.assert_allclose(ends[0], ends[1], rtol=0, atol=1e-2)


def test_no_bound_without_its_hypotheses(rng):
    problem, start = one_weight()
    with pytest.raises(ValueError, match=r"alpha \+ beta must be < 1"):
        settling_bound(problem, start, PowerLaw(0.8, 0.2))
    many = neuron(rng.standard_normal((2, 5)), np.full(5, 0.5))
    for law in (PowerLaw(0.5, 0.25), PseudoinverseLaw(0.5), SignLaw()):
        for kind in ("corrected", "tangent-kernel", "printed"):
            with pytest.raises(ValueError, match=r"5 errors .* but 3 weights"):
                settling_bound(many, many.space.zeros(), law, kind)
    with pytest.raises(ValueError, match="unknown kind"):
        settling_bound(problem, start, PowerLaw(0.5, 0.25), "best")
    with pytest.raises(ValueError, match="start lives in another space"):
        settling_bound(problem, many.space.zeros(), PowerLaw(0.5, 0.25))
    with pytest.raises(TypeError, match="law must be a Law"):
        settling_bound(problem, start, "(13)")


def test_measured_times_stay_below_the_known_ones():
    for kind in ("law (3), one sample", "law (13), linear", "law (13), network"):
        case = settling(kind=kind, problems=4, steps=200)
        assert np.all(case["measured"] <= case["bound"])
        assert np.all(case["left"] < 1e-9)
