"""What a user writes to ask why identity helps, in one go."""

import numpy as np
import pytest

from continuum import Bottleneck, DirectSum, LearningProblem, Projection, TimeMesh, relu
from solvers import DOP853, FixedStep, Status, discretize, gradient_flow, integrate, minimize
from solvers.convex_fits import fit_convex
from solvers.linear_networks import (
    ProductObjective,
    critical_step,
    deep_linear,
    linear_start,
    matrices,
    sharpness,
    step_report,
)
from studies import phase_portrait

R = np.array([[1.2, 0.3], [0.3, 0.6]])


def test_steps_and_training():
    problem = deep_linear(R, layers=20, covariance=None)
    control = linear_start(problem, "balanced")
    bound = 20 * np.linalg.norm(R, 2) ** (2 * 19 / 20)
    assert sharpness(problem, control) == pytest.approx(bound, rel=1e-9)
    assert critical_step(problem, control) == pytest.approx(2 / bound, rel=1e-9)
    report = step_report(R, layers=20, step=0.01)
    assert "symmetric" in str(report)
    start = linear_start(problem, "identity")
    for momentum in (None, "nesterov"):
        method = FixedStep(0.01, momentum=momentum, max_iterations=1000)
        run = minimize(problem, method, initial=start)
        assert run.status is Status.CONVERGED
        product = np.linalg.multi_dot(matrices(run.control)[::-1])
        np.testing.assert_allclose(product, R, rtol=0, atol=1e-6)


def test_a_flow_of_weights():
    problem = deep_linear(-1.5, layers=2)
    flow = gradient_flow(discretize(problem))
    begin = flow.state(linear_start(problem, "identity"))
    begin = begin + np.array([[0.1], [0.0]])
    mesh = TimeMesh(20.0, 20)
    run = integrate(flow, flow.control(mesh), begin, DOP853(rtol=1e-11, atol=1e-13))
    w1, w2 = 1 + run.trajectory.final[:, 0]
    assert w1 * w2 == pytest.approx(-1.5, abs=1e-8)
    assert w2**2 - w1**2 == pytest.approx(1 - 1.1**2, abs=1e-8)


@pytest.mark.slow  # equilibria fill a curve, which is searched for point by point
def test_a_portrait_of_two_weights():
    flow = gradient_flow(ProductObjective(deep_linear(-1.5, layers=2)))
    figure = phase_portrait(flow, flow.control(TimeMesh(20.0, 20)), box=(-3, 1, -3, 1))
    assert figure.axes


def test_a_pair_of_networks(rng):
    net = Bottleneck(3, relu, hidden=2)
    pair = DirectSum(w=net, z=net)
    eye = np.eye(3)
    problem = LearningProblem(
        pair,
        np.tile(rng.uniform(size=(3, 5)), (2, 1)),
        rng.uniform(size=(3, 5)),
        TimeMesh(4.0, 4),
        readout=Projection(np.hstack([eye, -eye])),
    )
    names = {b.name for b in problem.space.trained}
    assert {"w.weight1", "z.weight2"} <= names
    assert discretize(problem).value(problem.space.zeros()) > 0


def test_a_convex_fit():
    x = np.linspace(0, 1, 201)
    y = np.interp(x, [0, 0.3, 0.5, 0.7, 1], [0, 0.3, -0.1, 0.1, -0.2])
    fit = fit_convex(
        x, y, layers=10, hidden=1, pairs=1, biases=(0, 0.5), seeds=range(3), iterations=2000
    )
    first = fit.networks[0]
    assert len(first.slopes) == len(first.segments) <= 21
    assert fit.lipschitz[0] == pytest.approx(np.abs(first.slopes).max(), rel=1e-12)
    assert fit.kkt_residual.shape == fit.rmse.shape == (3,)
    assert np.all(fit.rmse < 0.1)
