"""How adaptive steps are chosen, jumps in time, and what a failed run keeps."""

import numpy as np
import pytest
import scipy.integrate

from continuum import (
    Dense,
    Interval,
    LearningProblem,
    LowRank,
    NeuralODE2,
    OnTheFly,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    leaky_relu,
    tanh,
)
from solvers import (
    DOP853,
    RK4,
    BackwardEuler,
    DormandPrince,
    Euler,
    ExplicitMidpoint,
    Heun,
    ImplicitMidpoint,
    RadauIIA5,
    SolveError,
    Status,
    continuous_adjoint,
    discretize,
    integrate,
)
from solvers.flow.adaptive import accepted_steps

TIGHT = DormandPrince(rtol=1e-11, atol=1e-13)
POINT = gauss_legendre(Interval(0, 1), 1)


def drift(mesh, bias, breakpoints=()):
    """f' = bias(t), f(0) = 0."""
    network = WidthDepth(POINT, identity)
    control = network.control(mesh, bias=bias, breakpoints=breakpoints)
    return network, control, np.zeros((1, 1))


# -- the choice of steps


class Counted(WidthDepth):
    """Counts its evaluations."""

    count = 0

    def velocity(self, f, c, t):
        Counted.count += 1
        return super().velocity(f, c, t)


def random_flow(units, samples):
    rng = np.random.default_rng(1)
    network = Counted(gauss_legendre(Interval(0, 1), units), tanh)
    bias, kernel = rng.standard_normal(units), np.sqrt(units) * rng.standard_normal((units, units))
    control = network.control(TimeMesh(1.0, 1), bias=bias, kernel=kernel)
    return network, control, rng.standard_normal((units, samples))


@pytest.mark.parametrize(("units", "samples"), [(64, 1), (256, 64)])
def test_as_few_right_hand_sides_as_scipy_at_a_smaller_error(units, samples):
    network, control, initial = random_flow(units, samples)
    matrix = -control.at(0.0)["kernel"] * network.weights
    bias = control.at(0.0)["bias"][:, None]

    def velocity(t, f):
        return np.tanh(matrix @ f.reshape(initial.shape) + bias).ravel()

    with np.errstate(all="ignore"):
        exact, theirs = (
            scipy.integrate.solve_ivp(velocity, (0, 1), initial.ravel(), "DOP853", rtol=r, atol=r)
            for r in (1e-13, 1e-9)
        )
    Counted.count = 0
    ours = integrate(network, control, initial, DOP853(rtol=1e-9, atol=1e-9)).trajectory.final
    assert Counted.count <= theirs.nfev
    error = np.abs(ours.ravel() - exact.y[:, -1]).max()
    assert error < min(1e-9, np.abs(theirs.y[:, -1] - exact.y[:, -1]).max())


@pytest.mark.parametrize("method", [DormandPrince, DOP853])
def test_the_error_constant_is_that_of_the_estimate(method):
    stepper = method(rtol=1.0, atol=1.0)
    h, one = 1e-2, np.ones((1, 1))
    slopes = stepper.stages(lambda t, f: f, 0.0, h, one)
    found = stepper.scaled_error(h, slopes, one, np.ones(1)) / h ** (stepper.error_order + 1)
    assert found == pytest.approx(stepper.error_constant, rel=0.1)


@pytest.mark.parametrize("method", [DormandPrince, DOP853])
@pytest.mark.parametrize("start", ["random", "zero", "at rest"])
def test_steps_scale_with_time(method, start, rng):
    """(T, F) -> (1, T F) gives the same steps in t / T: no length is hidden in the choice."""
    network = NeuralODE2(3, tanh)
    weight, bias = rng.standard_normal((3, 3)), rng.standard_normal(3)
    initial = rng.standard_normal((3, 2)) if start == "random" else np.zeros((3, 2))
    times = []
    for horizon in (1.0, 1024.0):

        def push(t, horizon=horizon):
            return (bias if start != "at rest" else bias * (t / horizon)) / horizon

        control = network.control(TimeMesh(horizon, 1), weight=weight / horizon, bias=push)
        stepper = method(rtol=1e-8, atol=1e-10)
        run = integrate(network, control, initial, stepper, save="steps")
        times.append(run.trajectory.times / horizon)
    np.testing.assert_allclose(times[0], times[1], rtol=1e-6)


def test_the_last_two_steps_share_what_is_left():
    network, control, initial = random_flow(64, 1)
    stepper = DormandPrince(rtol=1e-9, atol=1e-9)
    sizes = [
        a.end - a.start
        for a in accepted_steps(network, control, stepper, initial, ())
        if a.accepted
    ]
    assert sizes[-1] == pytest.approx(sizes[-2], rel=1e-12)
    assert sum(sizes) == pytest.approx(1.0, rel=1e-14)


# -- functions of time with pulses and jumps


@pytest.mark.parametrize("method", [DormandPrince, DOP853])
def test_no_step_is_longer_than_max_step(method):
    """A pulse of width 0.01 lies between the stages of the first steps, unless they are short."""

    def pulse(y, t):
        return np.exp(-(((t - 0.7) / 0.01) ** 2)) + 0 * y

    case, area = drift(TimeMesh(1.0, 1), pulse), 0.01 * np.sqrt(np.pi)
    run = integrate(*case, method(rtol=1e-8, atol=1e-8, max_step=0.02), save="steps")
    np.testing.assert_allclose(run.trajectory.final, area, rtol=0, atol=1e-7)
    assert np.diff(run.trajectory.times).max() <= 0.02 * (1 + 1e-9)
    assert np.abs(integrate(*case, method(rtol=1e-8, atol=1e-8)).trajectory.final - area) > 0.01
    even = integrate(*drift(TimeMesh(1.0, 1), 1.0), method(rtol=1e-3, atol=1e-3, max_step=0.1))
    assert even.statistics["steps"] == 10
    with pytest.raises(ValueError, match="max_step must be finite and positive"):
        method(rtol=1e-8, atol=1e-8, max_step=-1.0)


def jump(closed):
    """1 until t = 0.3, then exp(t); closed says which of the two its value at 0.3 is."""

    def bias(y, t):
        return (1.0 if (t <= 0.3 if closed else t < 0.3) else np.exp(t)) + 0 * y

    return bias


@pytest.mark.parametrize("closed", [True, False], ids=["left value", "right value"])
@pytest.mark.parametrize(
    "stepper",
    [Euler(), RK4(), ImplicitMidpoint(), TIGHT, DOP853(rtol=1e-11, atol=1e-13)],
    ids=lambda s: type(s).__name__,
)
def test_no_step_crosses_a_breakpoint(stepper, closed):
    exact = 0.3 + np.e - np.exp(0.3)
    errors = []
    for layers in (8, 16, 32):
        case = drift(TimeMesh(1.0, layers), jump(closed), breakpoints=[0.3])
        run = integrate(*case, stepper, save="steps")
        assert 0.3 in run.trajectory.times
        errors.append(abs(run.trajectory.final[0, 0] - exact))
    if stepper in (Euler(), RK4(), ImplicitMidpoint()):
        orders = np.log2(np.array(errors[:-1]) / errors[1:])
        np.testing.assert_allclose(orders, stepper.order, atol=0.35)
        assert errors[-1] < {1: 0.05, 2: 3e-4, 4: 3e-9}[stepper.order]
    else:
        assert max(errors) < 1e-10


@pytest.mark.parametrize("stepper", [RK4(), TIGHT], ids=["fixed", "adaptive"])
def test_states_between_steps_see_their_own_side_of_a_breakpoint(stepper):
    times = np.array([0.25, 0.29999, 0.3, 0.30001, 0.35, 1.0])
    exact = np.where(times <= 0.3, times, 0.3 + np.exp(times) - np.exp(0.3))
    case = drift(TimeMesh(1.0, 40), jump(False), breakpoints=[0.3, 0.35])
    run = integrate(*case, stepper, save=times)
    np.testing.assert_allclose(run.trajectory.states[:, 0, 0], exact, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(run.trajectory.times, times)


def test_breakpoints_at_the_ends_of_layers_split_nothing():
    case = drift(TimeMesh(1.0, 10), jump(False), breakpoints=[0.3, 0.5])
    run = integrate(*case, RK4(), steps_per_layer=2)
    assert run.statistics["steps"] == 20
    between = drift(TimeMesh(1.0, 10), jump(False), breakpoints=[0.31])
    assert integrate(*between, RK4(), steps_per_layer=2).statistics["steps"] == 21


@pytest.mark.parametrize("given", [[0.0], [1.0], [0.5, 0.2], [0.3, 0.3], [np.nan], [-1.0]])
def test_breakpoints_increase_inside_the_horizon(given):
    with pytest.raises(ValueError, match="breakpoints must be"):
        drift(TimeMesh(1.0, 2), jump(False), breakpoints=given)
    with pytest.raises(TypeError, match=r"breakpoints\[0\] must be"):
        drift(TimeMesh(1.0, 2), jump(False), breakpoints=["a"])


# -- what a failed run keeps


def singular(method, layer):
    """f' = b f, b = 0 but in one layer, where the equation of the step has no solution."""
    network = WidthDepth(POINT, identity)
    space = network.controls(TimeMesh(1.0, 4))
    kernel = np.zeros((4, 1, 1))
    kernel[layer] = -4.0 / method.a[0, 0]  # 1 + h a kernel = 0
    return network, space.sample(kernel=kernel, bias=1.0), np.ones((1, 1))


@pytest.mark.parametrize("stepper", [ImplicitMidpoint(), BackwardEuler()], ids=lambda s: s.order)
@pytest.mark.parametrize(
    ("save", "times"),
    [
        ("steps", [0.0, 0.25, 0.5]),
        ("layers", [0.0, 0.25, 0.5]),
        ("final", [0.5]),
        ([0.1, 0.5, 0.6, 1.0], [0.1, 0.5]),
    ],
)
def test_an_implicit_method_keeps_the_steps_before_it_fails(stepper, save, times):
    with pytest.raises(SolveError, match=r"at t = 0\.5") as caught:
        integrate(*singular(stepper, 2), stepper, save=save)
    run = caught.value.solution
    assert run.status is Status.NEWTON_FAILED
    np.testing.assert_allclose(run.trajectory.times, times)
    np.testing.assert_allclose(run.trajectory.states[:, 0, 0], 1.0 + np.array(times), rtol=1e-14)
    assert run.statistics["steps"] == 2


@pytest.mark.parametrize("function_of_time", [False, True], ids=["compiled", "generic"])
@pytest.mark.parametrize(
    ("save", "count"),
    [("steps", 154), ("layers", 154), ("final", 1), (np.linspace(0.05, 40, 400), 152)],
    ids=["steps", "layers", "final", "times"],
)
def test_the_solution_before_an_overflow_is_finite(function_of_time, save, count):
    network = WidthDepth(POINT, identity)
    kernel = (lambda y, z, t: -1000.0 + 0 * y * z) if function_of_time else -1000.0
    control = network.control(TimeMesh(40.0, 400), kernel=kernel)
    with pytest.raises(SolveError, match="in step 154 of 400") as caught:
        integrate(network, control, np.ones((1, 1)), Euler(), save=save)
    run = caught.value.solution.trajectory
    assert len(run.times) == len(run.states) == count
    assert np.all(np.isfinite(run.states))
    assert run.times[-1] <= 15.3 + 1e-12
    if isinstance(save, str):
        assert run.final[0, 0] == pytest.approx(101.0**153, rel=1e-12)


@pytest.mark.parametrize("save", ["steps", "layers", "final", [0.1, 0.2, 0.9]], ids=str)
@pytest.mark.parametrize("method", [DormandPrince, DOP853])
def test_an_adaptive_run_keeps_what_was_before(method, save):
    # f = 1 / (1/2 - t) - 2
    case = drift(TimeMesh(1.0, 2), lambda y, t: 1.0 / (0.5 - t + 1e-300) ** 2 + 0 * y)
    with np.errstate(all="ignore"):
        run = integrate(
            *case, method(rtol=1e-8, atol=1e-8), save=save, max_steps=150, raise_on_failure=False
        )
    assert not run.status.ok
    assert np.all(np.isfinite(run.trajectory.states))
    times, states = run.trajectory.times, run.trajectory.states[:, 0, 0]
    assert times[-1] == (0.0 if save == "layers" else 0.2 if save == [0.1, 0.2, 0.9] else times[-1])
    assert times[-1] < 0.5
    early = times < 0.499
    np.testing.assert_allclose(states[early], 1.0 / (0.5 - times[early]) - 2.0, rtol=0, atol=1e-4)


@pytest.mark.parametrize("stepper", [Euler(), RK4(), RadauIIA5(), TIGHT], ids=lambda s: s.order)
def test_a_function_of_time_that_is_nan_names_its_block_and_time(stepper):
    network = WidthDepth(POINT, tanh)
    with np.errstate(all="ignore"):
        for block, function in (
            ("bias", lambda y, t: np.sqrt(0.4 - t) + 0 * y),
            ("kernel", lambda y, z, t: np.sqrt(0.4 - t) + 0 * y * z),
        ):
            control = network.control(TimeMesh(1.0, 10), **{block: function})
            with pytest.raises(ValueError, match=rf"{block} at the nodes has entries .* at t = 0"):
                integrate(network, control, np.ones((1, 1)), stepper)


def test_a_kernel_on_the_fly_that_is_nan_names_the_time():
    network = WidthDepth(gauss_legendre(Interval(0, 1), 3), tanh, OnTheFly())
    control = network.control(TimeMesh(1.0, 10), kernel=lambda y, z, t: np.sqrt(0.45 - t) * (y - z))
    with np.errstate(all="ignore"), pytest.raises(SolveError, match="velocity is not finite at t"):
        integrate(network, control, np.ones((3, 1)), Euler())


@pytest.mark.parametrize("kernel", ["compiled", "generic"])
def test_gradients_that_fail_carry_finite_states(kernel):
    grid = gauss_legendre(Interval(0, 1), 3)
    network = WidthDepth(grid, identity, Dense() if kernel == "compiled" else LowRank(1))
    problem = LearningProblem(network, np.ones((3, 1)), np.ones((3, 1)), TimeMesh(1.0, 200))
    control = problem.space.random(np.random.default_rng(1), 1e6)
    for gradient in (
        discretize(problem).gradient,
        lambda c: continuous_adjoint(problem, c, RK4()),
    ):
        with pytest.raises(SolveError) as caught:
            gradient(control)
        run = caught.value.solution
        assert run.status is Status.NON_FINITE
        assert np.all(np.isfinite(run.trajectory.states))


# -- steps that are too long


def linear(rate, layers, horizon=1.0):
    """f' = rate f, f(0) = 1."""
    network = NeuralODE2(1, identity)
    control = network.control(TimeMesh(horizon, layers), weight=rate)
    return network, control, np.ones((1, 1))


@pytest.mark.parametrize(
    "stepper", [Euler(), Heun(), ExplicitMidpoint(), RK4()], ids=lambda s: type(s).__name__
)
def test_a_method_past_its_stability_has_not_finished(stepper):
    with pytest.raises(
        SolveError, match=r"steps are too long.*one step of 0\.1 multiplies"
    ) as caught:
        integrate(*linear(-1000.0, 10), stepper, save="steps")
    run = caught.value.solution
    assert run.status is Status.STEPS_TOO_LONG
    assert len(run.trajectory.times) == 11
    # the step length that the detail gives is stable
    count = int(run.detail.split(" steps of ")[0].split(", ")[-1])
    fine = integrate(*linear(-1000.0, 10 * count), stepper)
    assert fine.status is Status.FINISHED
    assert abs(fine.trajectory.final[0, 0]) < 1.0


def test_growth_that_is_not_resolved_has_not_finished_either():
    run = integrate(*linear(1000.0, 10), Euler(), raise_on_failure=False)
    assert run.trajectory.final[0, 0] == pytest.approx(101.0**10)  # e^1000 is true
    assert run.status is Status.STEPS_TOO_LONG


@pytest.mark.parametrize(
    ("case", "stepper"),
    [
        (linear(40.0, 100), RK4()),
        (linear(40.0, 100), Euler()),
        (linear(-1000.0, 10), BackwardEuler()),
        (linear(40.0, 1), TIGHT),
    ],
    ids=["RK4", "Euler", "implicit", "adaptive"],
)
def test_growth_of_the_equation_is_an_answer(case, stepper):
    run = integrate(*case, stepper)
    assert run.status is Status.FINISHED
    assert run.detail == ""


def test_growth_without_a_growing_equation_in_a_nonlinear_network(rng):
    """B is the identity and sigma increases: f' = sigma(-f) only decays."""
    network = WidthDepth(gauss_legendre(Interval(0, 1), 4), leaky_relu(0.5))
    kernel = np.diag(300.0 / network.weights)
    control = network.control(TimeMesh(1.0, 20), kernel=kernel)
    run = integrate(network, control, rng.standard_normal((4, 3)), RK4(), raise_on_failure=False)
    assert np.abs(run.trajectory.final).max() > 1e6
    assert run.status is Status.STEPS_TOO_LONG


def test_an_overflow_says_whether_steps_were_too_long():
    run = integrate(*linear(-1000.0, 1000, horizon=100.0), Euler(), raise_on_failure=False)
    assert run.status is Status.NON_FINITE
    assert "the steps are too long: at t = 13.3" in run.detail


def test_a_state_at_rest_that_is_pushed_far_has_finished():
    run = integrate(*drift(TimeMesh(1.0, 10), lambda y, t: 1e9 * t + 0 * y), Euler())
    assert run.status is Status.FINISHED
