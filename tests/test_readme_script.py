"""The scripts users are promised (README), run as they stand there."""

import numpy as np

from continuum import Box, Interval, LearningProblem, ResNet, Tikhonov, TimeMesh, WidthDepth, gauss_legendre, tanh
from solvers import LBFGS, RK4, Euler, evaluate, integrate, minimize


def test_forward_script():
    grid = gauss_legendre(Interval(0, 1), 64)
    network = WidthDepth(grid, tanh)
    mesh = TimeMesh(horizon=5.0, layers=100)
    control = network.control(
        mesh, bias=lambda y, t: np.sin(2 * np.pi * y), kernel=lambda y, z, t: np.exp(-((y - z) ** 2))
    )
    initial = grid.sample(lambda y: np.cos(np.pi * y))
    flow = integrate(network, control, initial, RK4())
    assert grid.nodes.shape == (64, 1)
    assert grid.weights.shape == (64,)
    assert flow.trajectory.final.shape == initial.shape == (64, 1)
    assert flow.value is flow.trajectory

    layers = ResNet.from_control(network, control)(initial)
    steps = integrate(network, control, initial, Euler()).trajectory.final
    np.testing.assert_allclose(layers, steps, rtol=0, atol=1e-13)


def test_training_script():
    grid = gauss_legendre(Interval(0, 1), 8)
    network = WidthDepth(grid, tanh)
    mesh = TimeMesh(horizon=1.0, layers=10)
    initial = grid.sample(lambda y: y, lambda y: y**2)
    target = grid.sample(lambda y: 1 - y, lambda y: 0.5 * np.sin(y))
    problem = LearningProblem(
        network, initial, target, mesh, penalty=Tikhonov(1e-3), admissible=Box(bias=(-1, 1), kernel=(-1, 1))
    )
    best = minimize(problem, LBFGS(gtol=1e-6))
    assert best.status.ok
    assert best.history["gradient_norm"][-1] <= 1e-6
    assert np.all(np.abs(best.control["kernel"]) <= 1 + 1e-12)
    judged = evaluate(problem, best.control)
    assert judged.feasible
    assert judged.depth_error <= 1e-8 * judged.objective
    # the ResNet's objective is what was minimised, exactly
    assert abs(judged.resnet - best.objective) <= 1e-14
    # the continuum's differs by the price of ten layers, a few per cent here
    assert 0.0 < abs(judged.objective - judged.resnet) < 0.05 * judged.objective
