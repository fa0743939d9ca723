"""Optimizers find known minima, say how they ended, and never claim more."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    Box,
    Interval,
    LearningProblem,
    NeuralODE2,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    tanh,
)
from solvers import (
    LBFGS,
    RK4,
    Adam,
    EverySteps,
    FrankWolfe,
    GradientDescent,
    Heun,
    Monitor,
    Nesterov,
    NewtonCG,
    Record,
    SolveError,
    Status,
    Stop,
    discretize,
    evaluate,
    integrate,
    minimize,
)

METHODS = {
    "gradient descent": GradientDescent(gtol=1e-7, max_iterations=5000),
    "L-BFGS": LBFGS(gtol=1e-7),
}
EVERY = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
GRID = gauss_legendre(Interval(0, 1), 5)


def straight_line(admissible=None, layers=4, in_time="layers"):
    """LM-50 (i), x' = a, d = f~ - f_I = 1, T = 1, lambda = 0.1: a* = d / (T + 2 lambda), J* =
    lambda d a*.
    """
    network = WidthDepth(GRID, identity)
    space = network.controls(TimeMesh(1.0, layers), in_time=in_time, fixed={"kernel": 0.0})
    return LearningProblem(
        network,
        np.zeros((5, 1)),
        np.ones((5, 1)),
        space,
        penalty=Tikhonov(0.1),
        admissible=admissible,
    )


@EVERY
@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
def test_the_minimum_of_a_linear_problem(method, in_time):
    # Heun integrates piecewise linear biases exactly; Euler would never look at the last node
    best = minimize(discretize(straight_line(in_time=in_time), Heun()), method)
    assert best.status is Status.CONVERGED
    np.testing.assert_allclose(best.control["bias"], 1 / 1.2, rtol=0, atol=1e-6)
    assert best.objective == pytest.approx(0.1 / 1.2, rel=1e-12)
    history = best.history["objective"]
    assert np.all(np.diff(history) <= 1e-15)
    assert best.history["gradient_norm"][-1] <= 1e-7 < best.history["gradient_norm"][0]
    assert len(history) == best.statistics["iterations"] + 1


@EVERY
def test_a_box_that_binds(method):
    best = minimize(straight_line(Box(bias=(-0.5, 0.5))), method)
    assert best.status is Status.CONVERGED
    np.testing.assert_allclose(best.control["bias"], 0.5, rtol=0, atol=1e-14)
    assert best.objective == pytest.approx(0.5 * 0.25 + 0.1 * 0.25, rel=1e-13)
    assert evaluate(straight_line(Box(bias=(-0.5, 0.5))), best.control).feasible


def test_flat_coordinates_make_the_mesh_irrelevant():
    """In the space's own product the same problem on graded and on many layers takes the same few
    iterations.
    """
    counts = [
        minimize(straight_line(layers=k), LBFGS(gtol=1e-9)).statistics["iterations"]
        for k in (2, 16, 128)
    ]
    assert max(counts) - min(counts) <= 1
    assert max(counts) <= 5


@EVERY
def test_a_nonlinear_problem_reaches_a_stationary_point(method):
    network = WidthDepth(GRID, tanh)
    problem = LearningProblem(
        network,
        GRID.sample(lambda y: y),
        GRID.sample(lambda y: 1 - y),
        TimeMesh(1.0, 8),
        penalty=Tikhonov(0.05),
    )
    best = minimize(problem, type(method)(gtol=1e-7, max_iterations=5000))
    assert best.status is Status.CONVERGED
    objective = discretize(problem)
    assert problem.space.norm(objective.gradient(best.control)) <= 1e-7
    assert best.objective == pytest.approx(objective.value(best.control), rel=1e-14)
    others = [GradientDescent(gtol=1e-7, max_iterations=5000), LBFGS(gtol=1e-7)]
    a, b = (minimize(problem, m).objective for m in others)
    assert a == pytest.approx(b, rel=1e-9)


def test_any_objective_is_accepted():
    best = minimize(discretize(straight_line(), RK4(), 2), LBFGS(gtol=1e-9))
    np.testing.assert_allclose(best.control["bias"], 1 / 1.2, rtol=0, atol=1e-8)


@pytest.mark.parametrize("factor", [1.0, 1e6])
@pytest.mark.parametrize(
    "kind", [GradientDescent, Nesterov, LBFGS, NewtonCG, FrankWolfe, Adam], ids=lambda k: k.__name__
)
def test_the_tolerance_can_be_relative(kind, factor):
    """The run ends where the measure is gtol times the first, and not before, in any units of J."""
    box = Box(bias=(-9.0, 9.0)) if kind is FrankWolfe else None
    problem = replace(
        straight_line(box), terminal=SquaredError(0.5 * factor), penalty=Tikhonov(0.1 * factor)
    )
    solution = minimize(problem, kind(gtol=0.05, relative=True, max_iterations=5000))
    seen = solution.history["gap" if kind is FrankWolfe else "gradient_norm"]
    assert seen[-1] <= 0.05 * seen[0]
    assert np.all(seen[:-1] > 0.05 * seen[0])
    assert f" of {seen[0]:.3g}" in solution.detail


@EVERY
def test_starting_point(method):
    problem = straight_line()
    start = problem.space.sample(bias=1 / 1.2)
    best = minimize(problem, method, initial=start)
    assert best.statistics["iterations"] == 0
    boxed = straight_line(Box(bias=(-0.5, 0.5)))
    assert (
        minimize(boxed, method, initial=boxed.space.sample(bias=7.0)).history["objective"][0]
        == 0.15
    )


@EVERY
def test_the_cap_on_iterations_is_not_convergence(method):
    capped = type(method)(gtol=1e-12, max_iterations=2)
    with pytest.raises(SolveError, match="Raise max_iterations") as caught:
        minimize(hard(), capped)
    run = minimize(hard(), capped, raise_on_failure=False)
    assert run.status is caught.value.solution.status is Status.MAX_ITERATIONS
    assert run.statistics["iterations"] == 2
    assert run.objective < run.history["objective"][0]


def hard():
    network = WidthDepth(GRID, tanh)
    return LearningProblem(
        network,
        GRID.sample(lambda y: y),
        GRID.sample(np.cos),
        TimeMesh(1.0, 4),
        penalty=Tikhonov(0.01),
    )


@EVERY
def test_below_rounding_is_said_to_be(method):
    run = minimize(hard(), type(method)(gtol=1e-300, max_iterations=3000), raise_on_failure=False)
    assert run.status in (Status.LINE_SEARCH_FAILED, Status.MAX_ITERATIONS)
    assert not run.status.ok


@EVERY
def test_a_start_that_is_not_finite_is_refused(method):
    network = WidthDepth(GRID, identity)
    problem = LearningProblem(network, np.ones((5, 1)), np.ones((5, 1)), TimeMesh(1.0, 200))
    with pytest.raises(SolveError, match="Start from a smaller control"):
        minimize(problem, method, initial=problem.space.sample(kernel=-1e6))


@EVERY
def test_steps_into_overflow_are_taken_back(method):
    """x' = -b x with |b| free: the first trial step overflows, the line search shortens it."""
    network = NeuralODE2(1, identity)
    problem = LearningProblem(
        network,
        np.full((1, 1), 50.0),
        np.full((1, 1), 1e3),
        TimeMesh(1.0, 100),
        penalty=Tikhonov(1e-3),
    )
    best = minimize(problem, type(method)(gtol=1e-4, max_iterations=100), raise_on_failure=False)
    assert np.isfinite(best.objective)
    assert best.objective < 1e-2 * best.history["objective"][0]


@EVERY
def test_monitors_stop_and_record(method):
    record = Record("length", lambda s: float(np.linalg.norm(s.state)))
    stop = Stop(lambda s: s.step == 1)
    run = minimize(
        hard(), method, monitors=[Monitor(record, EverySteps(1)), Monitor(stop, EverySteps(1))]
    )
    assert run.status is Status.STOPPED
    assert run.statistics["iterations"] == 1
    np.testing.assert_array_equal(run.history["length.times"], [0.0, 1.0])
    np.testing.assert_allclose(
        run.history["length"][-1], hard().space.norm(run.control), rtol=1e-12
    )


def test_evaluate_is_the_continuous_problem():
    # x' = a on two layers, running cost x^2 / 2: J = x(T)^2 / 2 + int x^2 / 2, in closed form
    problem = straight_line(layers=2)
    control = problem.space.sample(bias=np.array([[1.0], [3.0]]) * np.ones(5))
    judged = evaluate(problem, control)
    assert judged.objective == pytest.approx(0.5 * (2.0 - 1.0) ** 2 + 0.1 * 5.0, rel=1e-12)
    assert judged.penalty == pytest.approx(0.5, rel=1e-12)
    # f' = -tanh f: the ResNet's value is off by its depth, the continuous one is asinh(e^-1 sinh
    # 1)^2 / 2
    network = WidthDepth(GRID, tanh)
    decay = LearningProblem(network, np.ones((5, 1)), np.zeros((5, 1)), TimeMesh(1.0, 3))
    judged = evaluate(decay, decay.space.sample(kernel=1.0), rtol=1e-10)
    exact = 0.5 * 0.419885257562054924**2
    assert abs(judged.objective - exact) <= 2 * judged.depth_error + 1e-14
    assert judged.depth_error <= 1e-10 * exact
    assert abs(judged.resnet - exact) > 1e-2


def test_evaluate_raises_on_overflow():
    network = WidthDepth(GRID, identity)
    problem = LearningProblem(network, np.ones((5, 1)), np.ones((5, 1)), TimeMesh(1.0, 2))
    with pytest.raises(SolveError, match="infinite or NaN"):
        evaluate(problem, problem.space.sample(kernel=-1e4))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda p: minimize(p, "lbfgs"),
            r"minimizer must be a Minimizer such as LBFGS\(\)",
        ),
        (lambda p: minimize(p, LBFGS(), initial=np.zeros(3)), "initial must be a Control"),
        (
            lambda p: minimize(p, LBFGS(), initial=p.network.control(TimeMesh(1.0, 4))),
            "cannot be trained",
        ),
        (
            lambda p: minimize(p, LBFGS(), initial=straight_line(layers=5).space.zeros()),
            "another space",
        ),
        (lambda p: LBFGS(gtol=0.0), "gtol"),
        (lambda p: LBFGS(memory=0), "memory"),
        (lambda p: GradientDescent(max_iterations=0), "max_iterations"),
        (lambda p: evaluate(p, p.space.zeros(), rtol=-1.0), "rtol"),
        (
            lambda p: integrate(p.network, minimize(p, LBFGS()).trajectory, p.initial, RK4()),
            "not a trajectory",
        ),
    ],
)
def test_bad_input(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call(straight_line())
