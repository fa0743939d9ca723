"""The study margin: the separator, and the laws by which minimisers and descent approach it."""

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize

from continuum import Tikhonov
from solvers import discretize
from studies.bench.registry import find_study
from studies.bench.store import read_case
from studies.bench.sweep import run_sweep
from studies.turnpike.margin import (
    compared,
    descend,
    features,
    law,
    margin,
    path,
    posed,
    scale_of,
    separator,
)

PAIR = np.array([[1.0, 0.05], [0.1, 0.6]])
"""z of two samples whose multipliers differ; both are support vectors, and span the plane."""


@pytest.mark.parametrize(("data", "seed"), [("clouds", 8), ("moons", 2)])
def test_separator_agrees_with_sequential_quadratic_programming(data, seed):
    h, labels = features(data, seed)
    z = labels * h
    best = separator(z)
    assert best.residual < 1e-9
    assert np.all(best.multipliers >= 0.0)
    np.testing.assert_allclose(z @ best.multipliers, best.weight, rtol=1e-13)
    other = scipy_minimize(
        lambda w: 0.5 * w @ w,
        np.zeros(len(z)),
        jac=lambda w: w,
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda w: w @ z - 1.0, "jac": lambda w: z.T},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert other.status in (0, 8)  # 8: no descent that rounding would not hide
    np.testing.assert_allclose(other.x, best.weight, rtol=0, atol=1e-6 / best.margin)


def test_labels_that_no_plane_separates_are_refused():
    with pytest.raises(ValueError, match="no plane through 0 separates"):
        separator(np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]))


def test_one_sample_is_the_logistic_problem_of_the_ledger():
    """TP-12: phi = log(1 + exp(-W)), 1 / (1 + exp W) = 2 W / T."""
    horizons = np.array([16.0, 256.0, 1e6])
    w, statuses = path(np.ones((1, 1)), np.ones(1), "readout", 1.0 / horizons, 1)
    phi = np.log1p(np.exp(-w[:, 0]))
    np.testing.assert_allclose(phi, [0.20480474, 0.028169584, 2.14955397e-5], rtol=3e-8)
    assert set(statuses) == {"MINIMUM"}


def test_minimisers_of_layers_lie_on_the_path_of_the_readout():
    """The cost of W depends on |W| alone, so the gradient of the loss is parallel to W."""
    h, labels = features("clouds", 8)
    z = labels * h
    for layers in (1, 8):
        weights, _ = path(h, labels, "layers", 10.0 ** -np.arange(0.0, 13.0, 3.0), layers)
        for w in weights:
            pull = z @ (1.0 / (1.0 + np.exp(w @ z)))
            cosine = pull @ w / np.linalg.norm(pull) / np.linalg.norm(w)
            assert cosine == pytest.approx(1.0, abs=1e-13)


def test_minimisers_obey_the_law():
    """|W| angle, |W| times the lack of margin, and |W| itself; each has a next term c / R."""
    h, labels = features("clouds", 8)
    z = labels * h
    best = separator(z)
    found = law(z, best)
    strengths = 10.0 ** -np.arange(0.0, 101.0, 10.0)
    weights, _ = path(h, labels, "readout", strengths, 1)
    norms, angle, lack = compared(weights[-2:], z, best)
    scales = np.array([scale_of(s, len(labels), best.margin, "readout") for s in strengths[-2:]])

    def limit(values):
        return (scales[1] * values[1] - scales[0] * values[0]) / (scales[1] - scales[0])

    assert limit(norms * angle) == pytest.approx(found.angle, rel=1e-4)
    assert limit(norms * lack) == pytest.approx(found.spread, rel=1e-4)
    assert limit(best.margin * norms - scales) == pytest.approx(-found.shift, rel=1e-3)


def test_layers_cost_the_square_of_asinh():
    """One sample, h = 1: gamma = alpha = 1, so |W| = R but for exp(-R) and the error of Euler."""
    strengths = np.array([1.0, 1e-3, 1e-6, 1e-9])
    coarse, fine = (
        path(np.ones((1, 1)), np.ones(1), "layers", strengths, layers)[0][-1, 0]
        for layers in (64, 128)
    )
    exact = scale_of(1e-9, 1, 1.0, "layers")
    assert 2.0 * fine - coarse == pytest.approx(exact, rel=1e-4)
    assert 0.4 < (fine - exact) / (coarse - exact) < 0.6


def test_descent_takes_steps_along_the_gradient():
    h, labels = features("clouds", 8)
    weights, step = descend(labels * h, np.array([1, 7]))
    problem = posed(h, labels, "readout", 1.0, 1)
    objective, penalty = discretize(problem), Tikhonov(1.0, ["readout.W"])
    control = problem.space.zeros()
    for k in range(1, 8):
        gradient = objective.value_and_gradient(control)[1]
        slope = gradient["readout.W"] - penalty.gradient(control)["readout.W"]
        control = control.replaced(**{"readout.W": control["readout.W"] - step * slope})
        if k in (1, 7):
            np.testing.assert_allclose(control["readout.W"][0], weights[k // 7], rtol=1e-12)


def test_descent_obeys_the_law():
    best = separator(PAIR)
    assert np.all(best.multipliers > 0.0)
    found = law(PAIR, best)
    moments = np.array([10_000, 100_000])
    weights, step = descend(PAIR, moments)
    norms, angle, lack = compared(weights, PAIR, best)
    scales = np.log(step * moments / 2.0)
    along = best.margin * norms * np.cos(angle)  # R - shift; what is left falls like a power of k
    lacks = norms * lack - best.margin * norms * (1.0 - np.cos(angle))
    assert scales[1] - along[1] == pytest.approx(found.shift, rel=2e-6)
    assert (norms * np.sin(angle))[1] == pytest.approx(found.angle, rel=5e-4)
    assert lacks[1] == pytest.approx(found.spread, rel=5e-4)
    assert abs(lacks[1] - found.spread) < 0.3 * abs(lacks[0] - found.spread)


def test_the_study_and_its_picture(tmp_path):
    study = find_study("turnpike/margin")
    grids = [{"decades": [6], "layers": [2], "iterations": [1000]}]
    done = run_sweep(study, grids, tmp_path, progress="none")
    (case,) = [read_case(one) for one in done.paths]
    assert case.attrs["status"] == "readout: MINIMUM; layers: MINIMUM"
    for way in ("readout", "layers", "descent"):
        assert np.all(np.diff(case[f"{way}_norm"]) > 0.0)
        assert np.all(np.diff(case[f"{way}_lack"]) < 0.0)
    (picture,) = study.plot([case])
    assert picture.name == "margin"
    assert "pre-asymptotic" in picture.caption
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in picture.figure.axes)


@pytest.mark.parametrize("wrong", [{"decades": 1}, {"layers": 0}, {"iterations": 3}])
def test_parameters_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        margin(**wrong)
