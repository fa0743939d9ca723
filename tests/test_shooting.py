"""Shooting: closed forms of extremals, switching times, singular arcs, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    L1,
    Affine,
    Ball,
    Box,
    FiniteSet,
    Integral,
    Interval,
    LearningProblem,
    NeuralODE,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    midpoint,
    relu,
    tanh,
)
from solvers import (
    LBFGS,
    RK4,
    Monitor,
    Record,
    SolveError,
    Status,
    Stop,
    discretize,
    evaluate,
    minimize,
    pontryagin_certificate,
    shoot,
)
from solvers.run.iteration import Interrupted
from studies.liu_markowich.paper import boxed

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


def test_a_sample_without_weight_changes_nothing():
    grid = gauss_legendre(Interval(0, 1), 2)
    initial, target = np.array([[1.0, -0.5], [0.3, 0.2]]), np.array([[0.8, 1.0], [0.5, -1.0]])

    def found(samples, weights):
        problem = LearningProblem(
            WidthDepth(grid, identity),
            initial[:, samples],
            target[:, samples],
            TimeMesh(1.0, 4),
            penalty=Tikhonov(0.1),
            sample_weights=weights,
        )
        return shoot(problem)

    alone, both = found([0], None), found([0, 1], np.array([1.0, 0.0]))
    assert both.objective == pytest.approx(alone.objective, rel=1e-9)
    np.testing.assert_allclose(both.hamiltonian, alone.hamiltonian, rtol=1e-8)
    np.testing.assert_allclose(both.costate.states[..., 1], 0.0, atol=1e-9)
    assert both.statistics["gap"] < 1e-9


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
        (
            {"admissible": Box(bias=(-1, 1))},
            TypeError,
            "with an explicit minimiser",
        ),
        (
            {"admissible": FiniteSet(bias=(-1, 1), kernel=(-1, 1))},
            TypeError,
            "with an explicit minimiser",
        ),
        ({"penalty": L1(0.1)}, TypeError, "explicit"),
        (
            {
                "network": WidthDepth(
                    midpoint(Interval(0, 1), 2), replace(tanh, slope_extrema=None)
                ),
                "penalty": Tikhonov(0.1),
            },
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


def test_a_penalty_on_rows():
    """tanh, one sample: H is constant along the extremal, and controls that are constant on layers
    cost O(tau^2) more, by descent and in the certificate.
    """
    excess, gaps = [], []
    for layers in (16, 32):
        problem = LearningProblem(
            NeuralODE(2, tanh),
            np.array([[0.5], [-0.3]]),
            np.array([[1.2], [0.4]]),
            TimeMesh(1.0, layers),
            penalty=Tikhonov(0.05),
            admissible=Box(bias=(-1, 1), weight=(-1, 1)),
        )
        best = minimize(discretize(problem, RK4()), LBFGS(gtol=1e-8))
        found = shoot(problem, initial=best.control, rtol=1e-9)
        assert np.ptp(found.hamiltonian) < 1e-9
        excess.append(best.objective - found.objective)
        judged = pontryagin_certificate(problem, found.control, eigenvalues=0)
        assert judged.gap_exact
        gaps.append(judged.total_gap)
    assert excess[0] / excess[1] == pytest.approx(4.0, abs=0.1)
    assert gaps[0] / gaps[1] == pytest.approx(4.0, abs=0.1)
    assert 0 < gaps[1] < 2e-6


def test_a_failure_says_so():
    problem = boxed([0.5, 0.5], [4.0, 0.0], layers=4)
    start = problem.space.zeros()
    with pytest.raises(
        SolveError, match="Newton's iteration for the two-point problem did not converge"
    ):
        shoot(problem, initial=start, max_iterations=1)
    found = shoot(problem, initial=start, max_iterations=1, raise_on_failure=False)
    assert found.status is Status.NEWTON_SHOOTING_FAILED
    assert "after 1 iterations" in found.detail
    assert found.objective < 3.125
    spent = shoot(problem, initial=start, max_evaluations=300, raise_on_failure=False)
    assert spent.status is Status.MAX_EVALUATIONS
    assert "cap on evaluations" in spent.status.value
    assert spent.objective <= 3.125


@pytest.mark.parametrize("start", [None, 0.0])
def test_the_minimisers_switch_where_the_derivative_vanishes(start):
    """relu, block 2 up and then at rest, at the best time for it: at the control 0, where the
    derivative D_c (p, F) vanishes since relu'(0) = 0, J = 3.125.
    """
    problem = boxed([0.5, 0.5], [4.0, 0.0], activation=relu)
    initial = None if start is None else problem.space.zeros()
    found = shoot(problem, initial=initial)
    assert found.status is Status.CONVERGED_SHOOTING
    assert found.objective < 0.7
    assert found.statistics["gap"] < 1e-9
    judged = pontryagin_certificate(problem, found.control, eigenvalues=0)
    assert judged.gap_exact
    assert judged.total_gap < 2e-5  # of averages over 60 layers, O(tau^2)
    (time,) = found.switching_times()
    assert found.objective == pytest.approx(up_then_rest(time), abs=1e-9)
    times = np.linspace(time - 0.01, time + 0.01, 201)
    assert up_then_rest(time) <= min(up_then_rest(t) for t in times) + 1e-9


def up_then_rest(time):
    """J for relu with block 1 up, and block 2 up until `time`, then at rest: m' = 1 + m from 1/2,
    then m' = (1 + m) / 2.
    """
    middle = 1.5 * np.exp(time) - 1
    end = (1 + middle) * np.exp(0.5 * (1 - time)) - 1
    return 0.25 * ((2 * end - middle - 4) ** 2 + middle**2)


@pytest.mark.parametrize("horizon", [16.0, 25.0])
def test_a_target_in_reach_is_found_by_the_descent_that_starts_it(horizon):
    """Every control that reaches it is extremal: the answer says so, without any shooting."""
    found = shoot(boxed([0.5, 0.5], [4.0, 0.0], horizon=horizon))
    assert found.status is Status.COSTATE_VANISHES
    assert found.objective < 1e-15
    assert "decides nothing" in found.status.value
    np.testing.assert_allclose(found.state.final[:, 0], [4.0, 0.0], atol=1e-6)


def test_far_from_an_extremal_it_ends():
    """T = 25 from the control 0: states grow by e^25, and there is no extremal to be found."""
    problem = boxed([0.5, 0.5], [4.0, 0.0], horizon=25.0)
    found = shoot(
        problem,
        initial=problem.space.zeros(),
        max_evaluations=20_000,
        monitors=[Monitor(Record("size", lambda moment: moment.values["residual"]))],
        raise_on_failure=False,
    )
    assert not found.status.ok
    assert found.statistics["evaluations"] < 150_000
    assert found.objective <= 3.125
    assert len(found.history["size"]) == len(found.history["residual"]) >= 1


def test_a_monitor_stops_it_and_ctrl_c_keeps_the_best():
    problem = boxed([0.5, 0.5], [4.0, 0.0], layers=8)
    start = problem.space.zeros()
    stop = Monitor(Stop(lambda moment: moment.step == 1, "enough"))
    found = shoot(problem, initial=start, monitors=[stop])
    assert found.status is Status.STOPPED
    assert "enough" in found.detail

    def interrupt(moment):
        if moment.step == 2:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(Interrupted) as caught:
        shoot(problem, initial=start, monitors=[Monitor(Record("x", interrupt))])
    kept = caught.value.solution
    assert kept.status is Status.INTERRUPTED
    assert kept.objective < 1.0
    assert problem.admissible.contains(kept.control, 1e-12)


@pytest.mark.parametrize("kind", [Affine, Integral])
def test_a_fixed_readout(kind):
    """O = f through W = I / w and mu = 0 is the state: the extremal is LM-54's."""
    fixed = {"readout.W": 2.0 * np.eye(2), "readout.mu": np.zeros(2)}
    readout = Affine(2, fixed=fixed) if kind is Affine else Integral(fixed=fixed)
    found = shoot(replace(boxed([0.5, 0.5], [4.0, 0.0]), readout=readout))
    weight = 2.0 if kind is Affine else 1.0  # |.|^2 in R^2, or with the weights 1/2 of the grid
    assert found.objective == pytest.approx(weight * 0.4235585550392474, abs=1e-9)
    assert found.switching_times()[0] == pytest.approx(0.5364562503929055, abs=1e-8)
