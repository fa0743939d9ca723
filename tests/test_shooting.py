"""Shooting: closed forms of extremals, switching times, singular arcs, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    L1,
    Ball,
    Box,
    FiniteSet,
    Interval,
    LearningProblem,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    midpoint,
    tanh,
)
from solvers import LBFGS, RK4, SolveError, Status, discretize, evaluate, minimize, shoot
from studies.liu_markowich.shared import boxed

ONE = gauss_legendre(Interval(0, 1), 1)


def test_the_switching_time_is_where_the_closed_form_has_it():
    """LM-54: m_s = 1.5 e^ts - 1, f(T) = m_s +- (1 + m_s)(1 - t_s), J minimised over t_s."""
    t = np.linspace(0.5, 0.6, 100_001)
    m = 1.5 * np.exp(t) - 1
    cost = 0.25 * ((m + (1 + m) * (1 - t) - 4) ** 2 + (m - (1 + m) * (1 - t)) ** 2)
    found = shoot(boxed([0.5, 0.5], [4.0, 0.0]), atol=1e-11)
    assert found.status is Status.CONVERGED_SHOOTING
    assert found.objective == pytest.approx(cost.min(), abs=1e-10)
    assert found.switching_times()[0] == pytest.approx(t[cost.argmin()], abs=2e-6)
    assert np.ptp(found.hamiltonian) < 1e-9
    assert {(s.block, s.index) for s in found.switches} == {
        ("bias", (1,)),
        ("kernel", (1, 0)),
        ("kernel", (1, 1)),
    }


def test_segments_and_starts_do_not_matter():
    problem = boxed([0.5, 0.5], [4.0, 0.0], layers=30)
    rough = minimize(discretize(problem, RK4()), LBFGS(gtol=1e-3), raise_on_failure=False).control
    results = [
        shoot(problem),
        shoot(problem, initial=rough),
        shoot(problem, initial=rough, segments=3),
    ]
    assert np.ptp([r.objective for r in results]) < 1e-9
    assert np.ptp([r.switching_times()[0] for r in results]) < 1e-8


def test_the_control_is_averaged_over_layers():
    problem = boxed([0.5, 0.5], [4.0, 0.0], layers=40)
    found = shoot(problem)
    layer = int(found.switching_times()[0] * 40)
    bias = found.control["bias"][:, 1]
    share = found.switching_times()[0] * 40 - layer
    np.testing.assert_allclose(bias[:layer], 1.0, atol=1e-12)
    np.testing.assert_allclose(bias[layer], 2 * share - 1, atol=1e-9)
    np.testing.assert_allclose(bias[layer + 1 :], -1.0, atol=1e-12)
    judged = evaluate(problem, found.control)
    assert judged.feasible
    assert 0 < judged.objective - found.objective < 1e-3  # constants on layers cost O(tau^2)


def test_smooth_minimisers():
    disc = shoot(boxed([0.5], [3.0], grid=ONE, layers=4, admissible=Ball(1.0)))
    t = disc.state.times
    np.testing.assert_allclose(disc.state.states[:, 0, 0], np.sinh(t + np.arcsinh(0.5)), atol=1e-9)
    grid = gauss_legendre(Interval(0, 1), 3)
    initial = grid.sample(lambda y: y)
    problem = LearningProblem(
        WidthDepth(grid, identity), initial, 3 * initial, TimeMesh(1.0, 8), penalty=Tikhonov(0.1)
    )
    assert shoot(problem).objective == pytest.approx(0.05603407370811301, abs=1e-10)  # LM-50 (iii)


def test_running_costs_enter_the_costate():
    """f' = a, J = 1/2 f(1)^2 + int 1/2 f^2 + lambda a^2: a = -p / (2 lambda), p' = -f, so f'' = f /
    (2 lambda).
    """
    problem = LearningProblem(
        WidthDepth(ONE, identity),
        np.ones((1, 1)),
        np.zeros((1, 1)),
        WidthDepth(ONE, identity).controls(TimeMesh(1.0, 8), fixed={"kernel": 0.0}),
        running=SquaredError(),
        penalty=Tikhonov(0.5),
    )
    found = shoot(problem)  # with lambda = 1/2: f = e^-t, since p = f, and J = 1/2 f(0)^2
    np.testing.assert_allclose(found.state.states[:, 0, 0], np.exp(-found.state.times), atol=1e-9)
    assert found.objective == pytest.approx(0.5, abs=1e-9)


def test_two_samples_of_an_affine_velocity():
    network = WidthDepth(midpoint(Interval(0, 1), 2), identity)
    initial = np.array([[0.5, -0.2], [0.5, 0.3]])
    problem = LearningProblem(
        network,
        initial,
        2 * initial,
        TimeMesh(1.0, 64),
        penalty=Tikhonov(0.05),
        admissible=Box(bias=(-0.3, 0.3), kernel=(-1, 1)),
    )
    found = shoot(problem)
    direct = minimize(discretize(problem, RK4()), LBFGS(gtol=1e-8), initial=found.control)
    assert (
        0 <= direct.objective - found.objective < 1e-5
    )  # of piecewise constant controls, O(tau^2)


def test_singular_arc_and_mirror_images():
    """LM-55, from the two sides."""
    problem = boxed([0.0, 0.0], [6.0, 0.0], horizon=2.0, layers=20)
    rest = shoot(problem)
    assert rest.objective == pytest.approx(1.642801471258288, abs=1e-9)
    assert rest.switches == ()
    np.testing.assert_array_equal(rest.control["kernel"][:, 1], 0.0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"admissible": Box(bias=(-1, 1))}, TypeError, "needs an explicit minimiser"),
        (
            {"admissible": FiniteSet(bias=(-1, 1), kernel=(-1, 1))},
            TypeError,
            "needs an explicit minimiser",
        ),
        ({"penalty": L1(0.1)}, ValueError, "the penalty L1 has no density"),
        (
            {"network": WidthDepth(midpoint(Interval(0, 1), 2), tanh), "penalty": Tikhonov(0.1)},
            TypeError,
            "explicit",
        ),
    ],
)
def test_refusals(change, error, message):
    with pytest.raises(error, match=message):
        shoot(replace(boxed([0.5, 0.5], [4.0, 0.0], layers=4), **change))
    with pytest.raises(ValueError, match="segments must be at least 1"):
        shoot(boxed([0.5, 0.5], [4.0, 0.0], layers=4), segments=0)


def test_a_failure_says_so():
    with pytest.raises(
        SolveError, match="Newton's iteration for the two-point problem did not converge"
    ):
        shoot(boxed([0.5, 0.5], [4.0, 0.0], layers=4), max_iterations=1)
    found = shoot(boxed([0.5, 0.5], [4.0, 0.0], layers=4), max_iterations=1, raise_on_failure=False)
    assert found.status is Status.NEWTON_SHOOTING_FAILED
    assert "after 1 iterations" in found.detail
