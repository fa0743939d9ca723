"""Proximal alternating minimization: Liu and Markowich's Algorithm 1 on its two solved cases, and
its inequality.
"""

import numpy as np
import pytest

from continuum import (
    L1,
    Ball,
    Box,
    Interval,
    LearningProblem,
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
    Composite,
    GradientDescent,
    Monitor,
    NewtonCG,
    SolveError,
    Status,
    Stop,
    discretize,
    minimize,
    proximal_alternating,
)
from solvers.descent.run import Minimizer

POINT = WidthDepth(gauss_legendre(Interval(0, 1), 1), identity)  # constant data: one node is exact
GRID = gauss_legendre(Interval(0, 1), 3)


def nonlinear(**more):
    network = WidthDepth(GRID, tanh)
    return LearningProblem(
        network, GRID.sample(lambda y: y), GRID.sample(lambda y: 2 - y), TimeMesh(1.0, 4), **more
    )


def LM62(layers):
    """S-case, sigma(s) = s, f_I = 1, target 2, T = tau = 1, from zero; controls piecewise linear,
    RK4.
    """
    space = POINT.controls(TimeMesh(1.0, layers), in_time="nodes")
    problem = LearningProblem(POINT, np.ones((1, 1)), np.full((1, 1), 2.0), space)
    run = proximal_alternating(
        discretize(problem, RK4()),
        inner=NewtonCG(gtol=1e-11),
        max_iterations=1,
        raise_on_failure=False,
    )
    kernel = run.control["kernel"][:, 0, 0]
    length = space.inner(space.sample(kernel=run.control["kernel"]), run.control)
    numbers = (kernel[0], kernel[-1], length, run.objective)
    return run, np.array(numbers)


def test_LM62_one_iteration():
    """The subproblems in piecewise linear controls are Galerkin's: numbers are off by O(h^2), h = 1
    / layers.

    So the error falls by 4 from 16 to 32 layers, and Richardson's (4 x_32 - x_16) / 3 is good to
    1e-6.
    """
    reference = np.array(
        [-0.19720349657545, -0.28538255450393, 0.059734599780065, 0.011958235969877]
    )
    (_, coarse), (run, fine) = LM62(16), LM62(32)
    assert np.all(np.abs(fine - reference) < 2e-4)
    np.testing.assert_allclose((4 * fine - coarse) / 3, reference, rtol=0, atol=1e-6)
    np.testing.assert_allclose(run.control["bias"], 0.5, rtol=0, atol=1e-9)
    assert run.history["objective"][0] == pytest.approx(0.5, abs=1e-14)
    assert run.history["objective.bias"][1] == pytest.approx(0.125, abs=1e-9)
    assert run.history["objective.kernel"][1] == pytest.approx(run.objective, rel=1e-12)
    moved = 0.5 * (0.25 + fine[2])
    assert run.history["decrease_slack"][1] == pytest.approx(0.5 - run.objective - moved, abs=1e-8)
    prox = run.objective + 0.5 * fine[2]
    assert prox == pytest.approx(0.04182553586, abs=1e-5)
    assert run.status is Status.MAX_ITERATIONS


@pytest.mark.parametrize("step", [1.0, 0.25, 4.0])
def test_LM63_the_residual_contracts_by_one_over_one_plus_tau_T(step):
    """x' = a from 0 to 1: J_k = (1 + step T)^(-2 k) / 2, at any depth; 4^-k / 2 for T = step =
    1.
    """
    space = POINT.controls(TimeMesh(1.0, 3), fixed={"kernel": 0.0})
    problem = LearningProblem(POINT, np.zeros((1, 1)), np.ones((1, 1)), space)
    run = proximal_alternating(
        problem, step=step, inner=NewtonCG(gtol=1e-12), max_iterations=8, raise_on_failure=False
    )
    k = np.arange(len(run.history["objective"]))
    assert len(k) == 9
    np.testing.assert_allclose(
        run.history["objective"], 0.5 * (1 + step) ** (-2.0 * k), rtol=1e-9, atol=1e-22
    )
    np.testing.assert_allclose(
        run.history["decrease_slack"][1:],
        0.5 * step * (1 + step) ** (1 - 2.0 * k[1:]),
        rtol=1e-9,
        atol=1e-20,
    )


@pytest.mark.parametrize(
    "more",
    [
        {"penalty": Tikhonov(0.05)},
        {"penalty": Tikhonov(0.05), "admissible": Box(bias=(-0.2, 0.3), kernel=(-0.1, 0.4))},
        {"penalty": Tikhonov(0.05) + L1(0.03), "admissible": Box(bias=(-0.2, 0.5))},
    ],
    ids=["smooth", "box", "L1 and box"],
)
def test_it_ends_where_gradient_descent_does(more):
    problem = nonlinear(**more)
    run = proximal_alternating(problem, step=5.0)
    assert run.status is Status.CONVERGED
    other = minimize(problem, GradientDescent(gtol=1e-6, max_iterations=5000))
    assert run.objective == pytest.approx(other.objective, rel=1e-8)
    assert np.all(run.history["decrease_slack"][1:] >= -1e-15)
    assert np.all(np.diff(run.history["objective"]) <= 1e-15)
    assert run.history["gradient_norm"][-1] <= 1e-6 < run.history["gradient_norm"][-2]
    assert np.all(run.history["inner_measure"] <= 1e-8)
    assert (
        len(run.history["inner_iterations"])
        == len(run.history["objective"])
        == len(run.history["objective.bias"])
    )
    if "admissible" in more:
        assert more["admissible"].contains(run.control, 1e-15)


def test_groups_and_sets_that_couple_them():
    problem = nonlinear(penalty=Tikhonov(0.05), admissible=Ball(0.3))
    with pytest.raises(TypeError, match="couples bias, kernel"):
        proximal_alternating(problem)
    run = proximal_alternating(problem, groups=[("bias", "kernel")], step=5.0)
    other = minimize(problem, GradientDescent(max_iterations=5000))
    assert run.objective == pytest.approx(other.objective, rel=1e-8)
    assert "objective.bias+kernel" in run.history
    smooth = nonlinear(penalty=Tikhonov(0.05))
    swapped = proximal_alternating(smooth, groups=[("kernel",), ("bias",)], step=5.0)
    assert swapped.objective == pytest.approx(
        proximal_alternating(smooth, step=5.0).objective, rel=1e-8
    )
    assert list(swapped.history)[-2:] == ["objective.kernel", "objective.bias"]


class Climbing(Minimizer):
    """x + 30 g."""

    def descend(self, run, start):
        for x in (start, start + 30.0 * run.space.views(run.evaluate(start)[1])):
            run.accept(run.space.join(x), *run.evaluate(x))
        return run.solution(Status.STOPPED)


def test_subproblems_that_fail_without_moving_are_named():
    """Adam with a step far too long finds nothing lower than its start, which it returns."""
    run = proximal_alternating(
        nonlinear(penalty=Tikhonov(0.05)),
        inner=Adam(step=30.0, max_iterations=1),
        raise_on_failure=False,
    )
    assert run.status is Status.LINE_SEARCH_FAILED
    assert "objective.bias: MAX_ITERATIONS, objective.kernel: MAX_ITERATIONS" in run.detail


def test_a_subproblem_that_rises_is_reported():
    """A minimizer that goes up and calls that an answer: the inequality fails, and the status says
    so.
    """
    careless = Climbing()
    with pytest.raises(SolveError, match="A subproblem ended above its start"):
        proximal_alternating(nonlinear(penalty=Tikhonov(0.05)), inner=careless)
    run = proximal_alternating(
        nonlinear(penalty=Tikhonov(0.05)), inner=careless, raise_on_failure=False
    )
    assert run.status is Status.SUBPROBLEM_FAILED
    assert run.history["decrease_slack"][-1] < 0
    assert not run.status.ok


def test_monitors_and_starts():
    problem = nonlinear(penalty=Tikhonov(0.05))
    run = proximal_alternating(
        problem, monitors=[Monitor(Stop(lambda s: s.step == 2, "seen enough"))]
    )
    assert run.status is Status.STOPPED
    assert run.statistics["iterations"] == 2
    assert "seen enough" in run.detail
    best = proximal_alternating(problem, step=5.0)
    assert proximal_alternating(problem, initial=best.control).statistics["iterations"] == 0
    far = LearningProblem(POINT, np.ones((1, 1)), np.ones((1, 1)), TimeMesh(1.0, 200))
    with pytest.raises(SolveError, match="Start from a smaller control"):
        proximal_alternating(far, initial=far.space.sample(kernel=-1e6))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"step": 0.0}, "step must be finite and positive"),
        ({"groups": [("bias",)]}, "groups must name each trained block once, bias, kernel"),
        ({"groups": [("bias",), ("kernel", "bias")]}, "groups must name each trained block once"),
        ({"groups": [("bias", "kernel"), ()]}, "groups must name each trained block once"),
        ({"groups": [("bais",), ("kernel",)]}, "Did you mean 'bias'"),
        ({"groups": ("bias", "kernel")}, r"groups\[0\] must be a sequence of names"),
        ({"inner": "lbfgs"}, "inner must be a Minimizer"),
        ({"initial": np.zeros(3)}, "initial must be a Control"),
        ({"gtol": 0.0}, "gtol must be finite and positive"),
        ({"max_iterations": 0}, "max_iterations must be at least 1"),
    ],
)
def test_bad_input(more, words):
    with pytest.raises((ValueError, TypeError), match=words):
        proximal_alternating(nonlinear(), **more)
    with pytest.raises(TypeError, match="LBFGS cannot treat L1"):
        proximal_alternating(Composite(discretize(nonlinear()), L1(0.1)), inner=LBFGS())
