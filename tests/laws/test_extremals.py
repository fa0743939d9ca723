"""Laws 2 and 3: shooting, descent, the certificate and `evaluate` speak of one extremal.

With lambda > 0 and a velocity that is affine in the control, the minimiser of H is smooth in time.
Let tau be the length of the layers.  Shooting returns the mean of its control over every layer,
which is O(tau) away from it, and H - min H = lambda |c - c*|^2 is quadratic: its integral is
C tau^2.  A control that is constant on layers and O(tau) away costs C tau^2 more than the extremal
(the derivative vanishes there).  Euler's ResNet differs from the flow by C tau + D tau^2, where C
may happen to be small, so the rate is that of 2 J_{2K} - J_K - J*.
"""

from functools import cache

import numpy as np
import pytest
from law_cases import ALL, Gain, Paced, one_third, problem, swing

from continuum import (
    Affine,
    Box,
    LearningProblem,
    NeuralODE2,
    SquaredError,
    Tikhonov,
    TimeMesh,
    tanh,
)
from solvers import (
    LBFGS,
    RK4,
    compare,
    discretize,
    evaluate,
    minimize,
    pontryagin_certificate,
    shoot,
)

COARSE, FINE, FINEST = 16, 32, 64
RTOL = 1e-10
"""Of shooting's integration; its residual, and so J, is good to about ten times as much."""


def stated(case, layers):
    return problem(case, mesh=TimeMesh(1.0, layers))


def descended(problem, stepper=None):
    return minimize(discretize(problem, stepper), LBFGS(gtol=1e-7, max_iterations=500))


@cache
def extremal(case, layers):
    """Shooting, from the control that descent finds on the same layers."""
    coarse = stated(case, layers)
    start = descended(coarse, RK4()).control
    return shoot(coarse, initial=start, rtol=RTOL, atol=1e-9)


@pytest.mark.parametrize("case", ALL)
def test_the_gap_vanishes_on_the_extremal(case):
    gaps = []
    for layers in (COARSE, FINE):
        found = pontryagin_certificate(
            stated(case, layers), extremal(case, layers).control, eigenvalues=0
        )
        assert found.applies
        assert found.gap_exact
        gaps.append(found.total_gap)
    assert gaps[0] / gaps[1] == pytest.approx(4.0, abs=0.2)
    assert 0 < gaps[1] < 5e-4 * extremal(case, FINE).objective


@pytest.mark.parametrize("case", ALL)
def test_one_objective_by_every_route(case):
    """J of shooting; of `evaluate` on its control and on that of descent; of descent by Euler."""
    optimum = extremal(case, FINE).objective
    assert extremal(case, COARSE).objective == pytest.approx(optimum, rel=1e-8)
    resnets = [descended(stated(case, layers)) for layers in (COARSE, FINE, FINEST)]
    euler = [resnet.objective - optimum for resnet in resnets]
    corrected = [2.0 * euler[1] - euler[0], 2.0 * euler[2] - euler[1]]
    assert corrected[0] / corrected[1] == pytest.approx(4.0, abs=0.4)
    assert abs(euler[2]) < 0.03 * optimum
    assert abs(corrected[1]) < 2e-3 * optimum
    for controls in (
        [resnet.control for resnet in resnets[:2]],
        [extremal(case, layers).control for layers in (COARSE, FINE)],
    ):
        above = [
            evaluate(stated(case, layers), control, 1e-6).objective - optimum
            for layers, control in zip((COARSE, FINE), controls, strict=True)
        ]
        assert above[0] / above[1] == pytest.approx(4.0, abs=0.4)
        assert 0 < above[1] < 2e-3 * optimum


@pytest.mark.parametrize("timed", [False, True])
def test_in_the_plane_with_several_samples(timed):
    """x' = rate(t) (w tanh(x) + b), two samples."""

    def task(layers):
        inner = NeuralODE2(2, tanh)
        return LearningProblem(
            Paced(inner, swing) if timed else inner,
            np.array([[0.5, -1.0], [0.2, 0.4]]),
            np.array([[1.0, 0.5], [-0.5, 0.8]]),
            TimeMesh(1.0, layers),
            running=SquaredError(0.4),
            penalty=Tikhonov(0.2),
            sample_weights=np.array([1.0, 2.0]),
        )

    start = descended(task(COARSE), RK4()).control
    found = shoot(task(COARSE), initial=start, rtol=RTOL)
    again = shoot(task(FINE), initial=descended(task(FINE), RK4()).control, rtol=RTOL)
    gaps = [
        pontryagin_certificate(task(n), x.control, eigenvalues=0).total_gap
        for n, x in ((COARSE, found), (FINE, again))
    ]
    assert gaps[0] / gaps[1] == pytest.approx(4.0, abs=0.2)
    assert 0 < gaps[1] < 5e-4 * found.objective
    excess = [
        evaluate(task(n), x.control, 1e-6).objective - found.objective
        for n, x in ((COARSE, found), (FINE, again))
    ]
    assert excess[0] / excess[1] == pytest.approx(4.0, abs=0.4)
    assert 0 < excess[1] < 1e-3 * found.objective


def switching_gain(layers=6):
    """x' = (1 - 3t) gain, |gain| <= 1, from 0 towards 2: gain = sign(1 - 3t), x(1) = 5/6."""
    return LearningProblem(
        Gain(one_third),
        np.zeros((1, 1)),
        np.full((1, 1), 2.0),
        TimeMesh(1.0, layers),
        admissible=Box(gain=(-1, 1)),
    )


def test_bang_bang_with_a_rate_that_changes_its_sign():
    """t = 1/3 ends the second of six layers, so that the optimum is constant on layers; H there is
    -|p| |1 - 3t|, not constant, since the problem depends on time."""
    task = switching_gain()
    best = task.space.sample(gain=lambda t: np.where(t < 1 / 3, np.ones(1), -np.ones(1)))
    found = pontryagin_certificate(task, best, eigenvalues=0)
    gap = 2.0 - 5 / 6
    assert found.objective == pytest.approx(0.5 * gap**2, abs=1e-13)
    assert found.applies
    assert found.gap_exact
    assert found.total_gap < 1e-12
    np.testing.assert_allclose(
        found.hamiltonian, -gap * np.abs(1 - 3 * found.times), rtol=0, atol=1e-12
    )


def test_the_wrong_sign_on_a_layer_is_seen():
    """On the last layer 2 |p| |1 - 3t| is lost, over a sixth of the time: with the middle of the
    layer, 1 - 3t = -1.75, and p = x(1) - 2 = -(7/6 + 1.75 / 3)."""
    task = switching_gain()
    signs = np.array([1.0, 1.0, -1.0, -1.0, -1.0, 1.0])[:, None]
    found = pontryagin_certificate(task, task.space.sample(gain=signs), eigenvalues=0)
    assert found.total_gap == pytest.approx((7 / 6 + 1.75 / 3) * 2 * 1.75 / 6, rel=1e-12)


def test_shooting_finds_the_switch_of_a_rate():
    found = shoot(switching_gain(), initial=switching_gain().space.sample(gain=0.5))
    assert found.objective == pytest.approx(0.5 * (2.0 - 5 / 6) ** 2, abs=1e-10)
    np.testing.assert_allclose(found.switching_times("gain"), [1 / 3], rtol=0, atol=1e-9)
    assert pontryagin_certificate(switching_gain(), found.control, eigenvalues=0).total_gap < 1e-8


def fixed_readout():
    """One sample and a penalty so strong that shooting converges from the control 0."""
    return problem("autonomous Affine terminal", mesh=TimeMesh(1.0, 8), strength=1.0, samples=1)


def test_compare_with_a_fixed_readout_keeps_the_whole_table():
    assert isinstance(fixed_readout().readout, Affine)
    table = compare(fixed_readout(), {"descent": LBFGS(gtol=1e-6), "shooting": shoot})
    assert {a.name for a in table.attempts} == {"descent", "shooting"}
    shot = next(a for a in table.attempts if a.name == "shooting")
    assert shot.solution.status.ok
    assert shot.objective == pytest.approx(table.best.objective, rel=1e-3)


@pytest.mark.parametrize("error", [KeyError("readout.W"), TypeError("no minimiser"), ValueError])
def test_compare_survives_a_solver_that_raises(error):
    def broken(task):
        raise error

    table = compare(fixed_readout(), {"broken": broken, "descent": LBFGS(gtol=1e-6)})
    assert [a.name for a in table.attempts] == ["descent", "broken"]
    assert table.attempts[1].objective == float("inf")
    name = error.__name__ if isinstance(error, type) else type(error).__name__
    assert name in str(table)
