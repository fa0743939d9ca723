"""Laws 4 and 5: a problem split at the end of a layer costs the sum, and (T, u) -> (1, T u) changes
nothing.

Both hold for the discrete problem exactly, up to rounding: the trapezoid rule of a running cost has
its nodes at the ends of layers.
"""

from dataclasses import replace

import numpy as np
import pytest
from law_cases import ALL, RUNNING, Gain, Paced, losses, network, one_third, problem, swing

from continuum import (
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
    Euler,
    discretize,
    evaluate,
    integrate,
    minimize,
    pontryagin_certificate,
    shoot,
)

LAYERS, CUT, HORIZON = 8, 3, 1.6


def later(rate, start):
    """The rate as the second part sees it, whose time starts at 0."""
    return lambda t: rate(start + t)


def halves(case, rng):
    """The problem on (0, T) and a control; the second part, from the state reached, and its own."""
    kind = case.split()[0]
    tau = HORIZON / LAYERS
    whole = problem(case, mesh=TimeMesh(HORIZON, LAYERS), activation=tanh, samples=3)
    control = whole.space.random(rng, 0.5)
    states = integrate(whole.network, control, whole.initial, Euler(), save="layers").trajectory
    second = replace(
        whole,
        network=network(kind, tanh, later(swing, CUT * tau)),
        initial=states.states[CUT],
        controls=TimeMesh(HORIZON - CUT * tau, LAYERS - CUT),
    )
    return whole, control, second, piece(second, control, CUT, LAYERS)


def first_part(case, whole, control):
    """What is left on (0, t_k): running cost and penalty; without a running cost, None."""
    if "terminal" in case:
        return None
    tau = HORIZON / LAYERS
    first = replace(whole, controls=TimeMesh(CUT * tau, CUT), **losses("running"))
    return first, piece(first, control, 0, CUT)


def piece(stated, control, start, stop):
    """The control on some of the layers, in the space of `stated`."""
    return stated.space.sample(**{n: x[start:stop] for n, x in control.items()})


@pytest.mark.parametrize("case", ALL)
def test_a_split_problem_costs_the_sum(case, rng):
    whole, control, second, tail = halves(case, rng)
    cost = discretize(second).value(tail)
    first = first_part(case, whole, control)
    if first is None:
        sizes = sum(
            float(np.sum(b.weights * control[b.name][:CUT] ** 2)) for b in whole.space.trained
        )
        cost += 0.1 * HORIZON / LAYERS * sizes
    else:
        running = discretize(first[0]).value(first[1])
        assert running > 0.01
        cost += running
    assert cost == pytest.approx(discretize(whole).value(control), rel=1e-12)


@pytest.mark.parametrize("case", ALL)
def test_the_tail_has_the_tail_of_the_gradient(case, rng):
    """What comes later does not know how the state was reached: the principle of optimality, in
    its derivatives; so does the costate at the cut."""
    whole, control, second, tail = halves(case, rng)
    gradient, rest = discretize(whole).gradient(control), discretize(second).gradient(tail)
    for name in rest:
        np.testing.assert_allclose(rest[name], gradient[name][CUT:], rtol=1e-11, atol=1e-14)
    costates = discretize(whole).costates(control).states[CUT + 1 :]
    np.testing.assert_allclose(
        discretize(second).costates(tail).states[1:], costates, rtol=1e-11, atol=1e-14
    )


@pytest.mark.parametrize("case", [c for c in ALL if "terminal" not in c])
def test_the_first_part_by_evaluate(case, rng):
    """The same of the differential equation, to the tolerance of `evaluate`."""
    kind = case.split()[0]
    tau = HORIZON / LAYERS
    whole = problem(case, mesh=TimeMesh(HORIZON, LAYERS), samples=2, penalty=None)
    control = whole.space.random(rng, 0.3)
    fine = integrate(
        whole.network, control, whole.initial, RK4(), save="layers", steps_per_layer=64
    )
    second = replace(
        whole,
        network=network(kind, rate=later(swing, CUT * tau)),
        initial=fine.trajectory.states[CUT],
        controls=TimeMesh(HORIZON - CUT * tau, LAYERS - CUT),
    )
    first, head = first_part(case, whole, control)
    tail = piece(second, control, CUT, LAYERS)
    rtol = 1e-5
    total = evaluate(first, head, rtol).objective + evaluate(second, tail, rtol).objective
    assert total == pytest.approx(evaluate(whole, control, rtol).objective, rel=2 * rtol)


# -- (T, u) -> (1, T u)


def scaled(case, layers, horizon):
    """The problem on (0, T), and on (0, 1) with time, running cost and penalty to match.

    For s = t / T, v = T u:  int_0^T ell dt = T int_0^1 ell ds, int_0^T |u|^2 dt = int_0^1 |v|^2 ds
    / T.
    """
    kind = case.split()[0]
    long = problem(case, mesh=TimeMesh(horizon, layers))
    running = long.running
    short = replace(
        long,
        network=network(kind, rate=lambda s: swing(horizon * s)),
        controls=TimeMesh(1.0, layers),
        running=None if running is None else SquaredError(horizon * RUNNING),
        penalty=Tikhonov(0.1 / horizon),
    )
    return long, short


def carried(control, space, factor):
    return space.sample(**{n: factor * x for n, x in control.items()})


@pytest.mark.parametrize("stepper", [Euler(), RK4()])
@pytest.mark.parametrize("case", ALL)
def test_scaling_keeps_value_and_gradient(case, stepper, rng):
    """(g_u, du) = int_0^T g_u du dt = int_0^1 g_u dv ds: the gradients are the same function."""
    long, short = scaled(case, 5, HORIZON)
    u = long.space.random(rng, 0.5)
    v = carried(u, short.space, HORIZON)
    value, gradient = discretize(long, stepper).value_and_gradient(u)
    same, other = discretize(short, stepper).value_and_gradient(v)
    assert same == pytest.approx(value, rel=1e-13)
    for name in gradient:
        size = np.max(np.abs(gradient[name]))
        np.testing.assert_allclose(other[name], gradient[name], rtol=0, atol=1e-12 * size)


@pytest.mark.parametrize("case", ALL)
def test_scaling_keeps_the_extremal(case):
    """Control and Hamiltonian are T times as large, the costates the same."""
    long, short = scaled(case, 12, HORIZON)
    start = minimize(discretize(long, RK4()), LBFGS(gtol=1e-7, max_iterations=500)).control
    found = shoot(long, initial=start, rtol=1e-10)
    other = shoot(short, initial=carried(start, short.space, HORIZON), rtol=1e-10)
    assert other.objective == pytest.approx(found.objective, rel=1e-8)
    np.testing.assert_allclose(other.costate.states[0], found.costate.states[0], atol=1e-7)
    np.testing.assert_allclose(other.state.final, found.state.final, atol=1e-7)
    assert other.hamiltonian[0] == pytest.approx(HORIZON * found.hamiltonian[0], rel=1e-6)
    assert other.hamiltonian[-1] == pytest.approx(HORIZON * found.hamiltonian[-1], rel=1e-6)
    for name, x in found.control.items():
        np.testing.assert_allclose(other.control[name], HORIZON * x, atol=1e-6)
    gap = pontryagin_certificate(long, found.control, eigenvalues=0).total_gap
    same = pontryagin_certificate(short, other.control, eigenvalues=0).total_gap
    assert same == pytest.approx(gap, rel=1e-5)


@pytest.mark.parametrize("timed", [False, True])
def test_scaling_in_the_plane_with_several_samples(timed, rng):
    """x' = rate(t) (w tanh(x) + b), also for the curvature: Hessians are T times as small."""
    inner = NeuralODE2(2, tanh)
    long = LearningProblem(
        Paced(inner, swing) if timed else inner,
        rng.standard_normal((2, 4)),
        rng.standard_normal((2, 4)),
        TimeMesh(HORIZON, 6),
        sample_weights=np.arange(1.0, 5.0),
    )
    short = replace(
        long,
        network=Paced(inner, lambda s: swing(HORIZON * s)) if timed else inner,
        controls=TimeMesh(1.0, 6),
    )
    u, du = long.space.random(rng), long.space.random(rng)
    v, dv = carried(u, short.space, HORIZON), carried(du, short.space, HORIZON)
    found, other = discretize(long), discretize(short)
    assert other.value(v) == pytest.approx(found.value(u), rel=1e-13)
    for ask in (lambda o, x, _: o.gradient(x), lambda o, x, dx: o.hvp(x, dx)):
        mine, theirs = ask(found, u, du), ask(other, v, dv)
        for name in mine:
            np.testing.assert_allclose(theirs[name], mine[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_scaling_keeps_the_switch_of_a_bounded_gain(slope):
    """x' = (1 - 3t) u (1 + slope x), |u| <= 1, on (0, T): the switch at 1/3 goes to 1 / (3 T)."""

    def task(horizon, rate, bound):
        return LearningProblem(
            Gain(rate, slope),
            np.zeros((1, 1)),
            np.full((1, 1), 9.0),
            TimeMesh(horizon, 6),
            admissible=Box(gain=(-bound, bound)),
        )

    long = task(HORIZON, one_third, 1.0)
    short = task(1.0, lambda s: one_third(HORIZON * s), HORIZON)
    found = shoot(long, initial=long.space.sample(gain=0.3))
    other = shoot(short, initial=short.space.sample(gain=0.3 * HORIZON))
    area = 1 / 6 + 1.5 * (HORIZON - 1 / 3) ** 2
    reached = area if slope == 0 else (np.exp(slope * area) - 1) / slope
    assert found.objective == pytest.approx(0.5 * (9.0 - reached) ** 2, rel=1e-9)
    assert other.objective == pytest.approx(found.objective, rel=1e-9)
    np.testing.assert_allclose(found.switching_times("gain"), [1 / 3], atol=1e-9)
    np.testing.assert_allclose(other.switching_times("gain"), [1 / (3 * HORIZON)], atol=1e-9)
    np.testing.assert_allclose(other.control["gain"], HORIZON * found.control["gain"], atol=1e-8)
