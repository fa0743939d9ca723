"""Every method: its order, its stability, its continuous extension, its failures."""

import array_api_strict
import numpy as np
import pytest
import scipy.integrate

from continuum import (
    Interval,
    LearningProblem,
    NeuralODE2,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
    identity,
    relu,
    tanh,
)
from continuum.arrays import to_host
from solvers import (
    DOP853,
    RK4,
    SDIRK3,
    BackwardEuler,
    DormandPrince,
    Euler,
    ExplicitMidpoint,
    ImplicitMidpoint,
    KennedyCarpenter5,
    RadauIIA5,
    SolveError,
    Status,
    discretize,
    integrate,
    refine,
)
from solvers.flow.advance import GenericAdvance, Steps
from solvers.steps import dop853_table
from solvers.steps.implicit import ImplicitRungeKutta, StageForm
from solvers.steps.newton import Field, Newton

GRID = gauss_legendre(Interval(0, 1), 2)
LOOSE = DOP853(rtol=1e-6, atol=1e-6)
IMPLICIT = [ImplicitMidpoint(), BackwardEuler(), SDIRK3(), RadauIIA5(), KennedyCarpenter5()]
STIFF = [BackwardEuler(), SDIRK3(), RadauIIA5(), KennedyCarpenter5()]


def name(stepper):
    return type(stepper).__name__


def single(kernel, horizon, layers, activation=identity, **coefficients):
    """The scalar equation f' = sigma(a - b f) and f(0) = 1."""
    network = WidthDepth(gauss_legendre(Interval(0, 1), 1), activation)
    return (
        network,
        network.control(TimeMesh(horizon, layers), kernel=kernel, **coefficients),
        np.ones((1, 1)),
    )


@pytest.mark.parametrize(
    ("stepper", "sizes", "bound"),
    [
        (ExplicitMidpoint(), [32, 64, 128], 2e-5),
        (ImplicitMidpoint(), [32, 64, 128], 1.3e-4),
        (BackwardEuler(), [64, 128, 256], 1.5e-3),
        (SDIRK3(), [16, 32, 64], 3e-7),
        (RadauIIA5(), [4, 8, 16], 3e-9),
        (KennedyCarpenter5(), [8, 16, 32], 3e-9),
        (DOP853(rtol=1.0, atol=1.0), [4, 6, 12], 3e-13),
    ],
    ids=lambda x: name(x) if hasattr(x, "order") else "",
)
@pytest.mark.parametrize("case", ["autonomous", "moving"])
def test_orders_with_fixed_steps(stepper, sizes, bound, case):
    def final(layers):
        if case == "moving":
            network, control, initial = exact.moving_bias.setup(GRID, layers)
        else:
            network, control, initial = single(1.0, 3.0, layers, tanh)
        advance = GenericAdvance(network, control, stepper, Steps.equal(control.mesh, 1))
        return advance(initial, 0, layers, False)[0]

    expected = (
        exact.moving_bias.final(GRID)
        if case == "moving"
        else np.arcsinh(np.exp(-3.0) * np.sinh(1.0))
    )
    result = refine(final, sizes, exact=expected)
    assert result.orders[-1] == pytest.approx(stepper.order, abs=0.1)
    assert result.errors[-1] < bound


def test_the_table_of_dop853():
    theirs = scipy.integrate.DOP853
    np.testing.assert_array_equal(LOOSE.a[:12, :12], theirs.A)
    np.testing.assert_array_equal(LOOSE.a[12, :12], theirs.B)
    np.testing.assert_array_equal(LOOSE.c[:12], theirs.C)
    np.testing.assert_array_equal(
        [dop853_table.ERROR_5, dop853_table.ERROR_3], [theirs.E5, theirs.E3]
    )
    np.testing.assert_array_equal(dop853_table.EXTRA_A, theirs.A_EXTRA)
    np.testing.assert_array_equal(dop853_table.EXTRA_C, theirs.C_EXTRA)
    np.testing.assert_array_equal(dop853_table.D, theirs.D)


@pytest.mark.parametrize(
    "stepper",
    [ExplicitMidpoint(), RK4(), DormandPrince(rtol=1.0, atol=1.0), LOOSE, *IMPLICIT],
    ids=name,
)
def test_quadrature_conditions(stepper):
    np.testing.assert_allclose(stepper.a.sum(axis=1), stepper.c, rtol=0, atol=1e-13)
    for k in range(stepper.order):
        assert stepper.b @ stepper.c**k == pytest.approx(1 / (k + 1), abs=1e-13)


# -- adaptive steps
# --------------------------------------------------------------------------------------------


def pendulum_like(rng):
    network = NeuralODE2(6, tanh)
    control = network.control(
        TimeMesh(4.0, 1),
        bias=lambda t: np.full(6, np.sin(t)),
        weight=2 * rng.standard_normal((6, 6)),
    )
    return network, control, rng.standard_normal((6, 1))


@pytest.mark.parametrize("rtol", [1e-4, 1e-7, 1e-10])
def test_dop853_takes_the_steps_of_scipy(rtol, rng):
    network, control, initial = pendulum_like(rng)

    def velocity(t, x):
        return network.velocity(x[:, None], control.at(t), t)[:, 0]

    run = integrate(network, control, initial, DOP853(rtol=rtol, atol=rtol))
    theirs = scipy.integrate.solve_ivp(
        velocity, (0, 4), initial[:, 0], "DOP853", rtol=rtol, atol=rtol
    )
    best = scipy.integrate.solve_ivp(
        velocity, (0, 4), initial[:, 0], "DOP853", rtol=2.3e-14, atol=1e-14
    ).y[:, -1]
    scale = np.abs(best).max()
    assert run.statistics["steps"] == pytest.approx(len(theirs.t) - 1, abs=2, rel=0.2)
    assert np.abs(run.trajectory.final[:, 0] - best).max() < 10 * rtol * (1 + scale)
    # not better by being more careful
    assert (
        np.abs(theirs.y[:, -1] - best).max() < 100 * np.abs(run.trajectory.final[:, 0] - best).max()
    )


def test_dop853_needs_fewer_velocities_at_high_accuracy(rng):
    problem = pendulum_like(rng)
    taken = [
        integrate(*problem, method(rtol=1e-11, atol=1e-11)).statistics
        for method in (DOP853, DormandPrince)
    ]
    high, low = (
        (s["steps"] + s["rejected"]) * stages for s, stages in zip(taken, (12, 6), strict=True)
    )
    assert high < 0.7 * low


@pytest.mark.parametrize(
    ("method", "order", "bound"), [(DormandPrince, 4, 1e-8), (DOP853, 7, 1e-13)]
)
def test_order_of_the_continuous_extension(method, order, bound, rng):
    """Inside one step of length h from the exact state, the error is O(h^(order + 1))."""
    stepper, reference = method(rtol=1.0, atol=1.0), DOP853(rtol=1.0, atol=1.0)
    network, control, f = pendulum_like(rng)

    def velocity(t, g):
        return network.velocity(g, control.at(t), t)

    def exact_state(t):
        g = f
        for n in range(64):
            g = reference.step(velocity, None, n * t / 64, t / 64, g)
        return g

    def error(h):
        slopes = stepper.stages(velocity, 0.0, h, f)
        inside = stepper.interpolant(velocity, 0.0, h, f, slopes)
        np.testing.assert_array_equal(inside(0.0), f)
        np.testing.assert_allclose(
            inside(1.0), stepper.step(velocity, None, 0.0, h, f), rtol=0, atol=1e-14
        )
        return max(
            np.abs(inside(theta) - exact_state(theta * h)).max() for theta in (0.1, 0.35, 0.6, 0.9)
        )

    errors = [error(h) for h in (0.05, 0.025)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order + 1, abs=0.15)
    assert errors[1] < bound


def test_states_between_the_steps_of_dop853():
    network, control, initial = exact.moving_bias.setup(GRID, 1)
    times = np.linspace(0, 2, 41)
    for rtol in (1e-6, 1e-10):
        run = integrate(network, control, initial, DOP853(rtol=rtol, atol=rtol), save=times)
        error = np.abs(run.trajectory.states - (initial + 0.5 * np.sin(times)[:, None, None])).max()
        assert error < 50 * rtol
        assert run.statistics["steps"] < 12


@pytest.mark.parametrize("method", [DormandPrince, DOP853])
def test_the_objective_of_an_adaptive_method_takes_its_steps(method, rng):
    network = WidthDepth(gauss_legendre(Interval(0, 1), 4), tanh)
    initial, target = rng.standard_normal((2, 4, 3))
    problem = LearningProblem(network, initial, target, TimeMesh(3.0, 2))
    control = problem.space.random(rng, 3.0)
    stepper = method(rtol=1e-8, atol=1e-8)
    run = integrate(network, control, initial, stepper, save="steps").trajectory
    objective = discretize(problem, stepper)
    np.testing.assert_array_equal(objective.costates(control).times, run.times)
    value, gradient = objective.value_and_gradient(control)
    fine, expected = discretize(problem, RK4(), 400).value_and_gradient(control)
    assert value == pytest.approx(fine, abs=1e-6)
    for block in gradient:
        np.testing.assert_allclose(gradient[block], expected[block], rtol=0, atol=1e-6)


@pytest.mark.parametrize("given", [{}, {"rtol": 1e-8}, {"atol": 1e-8}])
def test_tolerances_have_no_defaults(given):
    with pytest.raises(TypeError, match=r"DOP853\(rtol=1e-8, atol=1e-10\)"):
        DOP853(**given)


# -- kinks (LM-08), singular coefficients (LM-06)
# --------------------------------------------------------------------


def test_a_kink_in_time_leaves_order_two():
    def error(layers):
        network, control, _ = single(0.0, 1.0, layers, relu, bias=lambda y, t: t - 0.3 + 0 * y)
        return integrate(network, control, np.zeros((1, 1)), RK4()).trajectory.final[0, 0] - 0.245

    errors = [error(n) for n in (8, 16, 32)]
    np.testing.assert_allclose(
        errors, [-2.083333e-4, 5.208333e-5, -1.302083e-5], rtol=0, atol=1e-10
    )
    np.testing.assert_allclose(np.log2(np.abs(errors[:-1]) / np.abs(errors[1:])), 2.0, atol=1e-3)
    assert abs(error(10)) < 1e-15


def test_a_coefficient_singular_at_the_start():
    for layers, expected in ((100, -0.080855), (1000, -0.025870)):
        network, control, initial = single(
            lambda y, z, t: -0.5 / np.sqrt(max(t, 1e-99)) + 0 * y * z, 1.0, layers
        )
        got = integrate(network, control, initial, ImplicitMidpoint()).trajectory.final[0, 0] - np.e
        assert got == pytest.approx(expected, abs=1e-6)


# -- stiffness
# ------------------------------------------------------------------------------------------


def amplification(stepper, z):
    """R(z) of one step of f' = z f, by way of the real 2 x 2 system."""
    network = NeuralODE2(2, identity)
    control = network.control(
        TimeMesh(1.0, 1), weight=np.array([[z.real, -z.imag], [z.imag, z.real]])
    )
    f = integrate(network, control, np.array([[1.0], [0.0]]), stepper).trajectory.final
    return complex(f[0, 0], f[1, 0])


@pytest.mark.parametrize("stepper", IMPLICIT, ids=name)
def test_stability(stepper):
    for size in 10.0 ** np.arange(-2, 7):
        for angle in (0.5 * np.pi, 0.6 * np.pi, 0.75 * np.pi, np.pi):
            assert abs(amplification(stepper, size * np.exp(1j * angle))) < 1 + 1e-9
    # L-stable: R(z) -> 0 as z -> -infinity, like 1 / z; the midpoint rule's -> -1
    far, farther = (amplification(stepper, -z + 0j) for z in (1e4, 1e6))
    if isinstance(stepper, ImplicitMidpoint):
        assert farther == pytest.approx(-1.0, abs=1e-5)
    else:
        assert abs(farther) < 2e-5
        assert abs(far / farther) == pytest.approx(100, rel=0.01)


def test_amplification_is_the_rational_function_of_the_tableau():
    z = -1.7 + 0.9j
    for stepper in IMPLICIT:
        one = np.ones(len(stepper.b))
        expected = 1 + z * stepper.b @ np.linalg.solve(np.eye(len(one)) - z * stepper.a, one)
        assert amplification(stepper, z) == pytest.approx(expected, abs=1e-14)


def lm09(t):
    """f' = -tanh(1000 f), f(0) = 1: asinh(exp(-1000 t) sinh 1000) / 1000, by logarithms."""
    s = 1000.0 * (1.0 - t) - np.log(2.0)  # log of exp(-1000 t) sinh 1000
    return (
        (s + np.log1p(np.sqrt(1.0 + np.exp(-2 * s)))) / 1000
        if s > 0
        else np.arcsinh(np.exp(s)) / 1000
    )


@pytest.mark.parametrize("stepper", STIFF, ids=name)
def test_a_stiff_front(stepper):
    """LM-09: f falls like 1 - t, and within 1/1000 of t = 1 it stops."""
    assert lm09(1.0) == pytest.approx(4.812118250596027e-4, rel=1e-13)
    long = single(1000.0, 0.5, 1, tanh)
    half = integrate(*long, stepper).trajectory.final
    assert half[0, 0] == pytest.approx(0.5, abs=1e-14)  # one step of 500 times the explicit limit
    near = integrate(*single(1000.0, 0.45, 1, tanh)[:2], half, stepper).trajectory.final
    network, control, _ = single(1000.0, 0.051, 408, tanh)  # layers of 1/8000 where it turns
    run = integrate(network, control, near, stepper, save=[0.049, 0.05, 0.051])
    error = np.abs(
        run.trajectory.states[:, 0, 0]
        / [1.114001496806367e-3, 4.812118250596027e-4, 1.829179710e-4]
        - 1
    )
    assert error.max() < {1: 0.12, 3: 1e-3, 5: 1e-7}[stepper.order]
    rest = integrate(
        *single(1000.0, 1.0, 2, tanh)[:2], run.trajectory.final, stepper
    ).trajectory.final
    assert abs(rest[0, 0]) < 1e-5
    # layers too long for the front: still monotone, damped and finite, where Euler chatters for
    # ever
    coarse = integrate(*single(1000.0, 2.0, 23, tanh), stepper, save="steps").trajectory.states[
        :, 0, 0
    ]
    assert np.all(np.diff(coarse[:11]) < 0)
    assert np.abs(coarse[-5:]).max() < 1e-8


def test_euler_chatters_on_the_stiff_front():
    run = integrate(*single(1000.0, 2.0, 100, tanh), Euler())
    assert run.trajectory.final[0, 0] == pytest.approx(-4.06249e-3, abs=1e-8)


@pytest.mark.parametrize("method", [DormandPrince, DOP853])
def test_a_stiff_problem_with_an_explicit_method_names_the_stiff_ones(method):
    stepper = method(rtol=1e-6, atol=1e-6)
    words = r"stiff.*RadauIIA5\(rtol=1e-6, atol=1e-9\)"
    with pytest.raises(SolveError, match=words) as caught:
        integrate(*single(1e6, 1.0, 1), stepper, max_steps=300)
    assert caught.value.solution.status is Status.MAX_STEPS
    switched = single(lambda y, z, t: (1.0 if t < 0.5 else 1e18) + 0 * y * z, 1.0, 4)
    with (
        pytest.raises(SolveError, match=words) as caught,
        np.errstate(over="ignore", invalid="ignore"),
    ):
        integrate(*switched, stepper)
    assert caught.value.solution.status is Status.STEP_UNDERFLOW
    with pytest.raises(SolveError, match=words), np.errstate(over="ignore", invalid="ignore"):
        integrate(*single(1e6, 1.0, 100), RK4())
    for stiff in STIFF:
        assert abs(integrate(*switched, stiff).trajectory.final[0, 0]) < 1e-15


# -- Newton
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", [ImplicitMidpoint, BackwardEuler, SDIRK3, RadauIIA5, KennedyCarpenter5]
)
def test_krylov_is_the_dense_iteration(method, rng, monkeypatch):
    network = WidthDepth(gauss_legendre(Interval(0, 1), 7), tanh)
    control = network.controls(TimeMesh(2.0, 3)).random(rng, 4.0)
    initial = rng.standard_normal((7, 3))
    dense = integrate(network, control, initial, method()).trajectory.final
    monkeypatch.setattr(Field, "jacobian", None)
    krylov = integrate(
        network, control, initial, method(newton=Newton(krylov_above=6))
    ).trajectory.final
    np.testing.assert_allclose(krylov, dense, rtol=0, atol=1e-12)


def test_many_samples_are_solved_for_in_parts(rng, monkeypatch):
    network = WidthDepth(gauss_legendre(Interval(0, 1), 4), tanh)
    control, initial = (
        network.controls(TimeMesh(1.0, 2)).random(rng, 4.0),
        rng.standard_normal((4, 7)),
    )
    whole = integrate(network, control, initial, RadauIIA5()).trajectory.final
    monkeypatch.setattr("solvers.steps.newton._ENTRIES", 3 * 12**2)
    parts = integrate(network, control, initial, RadauIIA5()).trajectory.final
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-13)


def test_wide_networks_are_solved_without_matrices(monkeypatch):
    # rank one: f' = -100 phi (phi, f), so one step of backward Euler divides that component by 1 +
    # 100 h
    monkeypatch.setattr(Field, "jacobian", None)
    grid = gauss_legendre(Interval(0, 1), 400)
    network = WidthDepth(grid, identity)
    control = network.control(
        TimeMesh(1.0, 2), kernel=lambda y, z: 200 * np.sin(np.pi * y) * np.sin(np.pi * z)
    )
    initial = grid.sample(lambda y: np.sin(np.pi * y) + np.sin(2 * np.pi * y))
    final = integrate(network, control, initial, BackwardEuler()).trajectory.final
    expected = grid.sample(lambda y: np.sin(np.pi * y) / 51**2 + np.sin(2 * np.pi * y))
    np.testing.assert_allclose(final, expected, rtol=0, atol=1e-11)


def test_newton_on_a_saturated_activation_needs_shorter_corrections():
    # x = 1/2 - 10 tanh(1000 x): undamped corrections jump between the two flat sides for ever
    field = Field(
        lambda x: np.tanh(1000 * x),
        lambda x, dx: 1000 / np.cosh(np.clip(1000 * x, -300, 300)) ** 2 * dx,
    )
    (x,) = Newton().solve(
        [field], [np.full((1, 2), 0.5)], np.array([[-10.0]]), np.array([[0.5, -0.4]])
    )
    np.testing.assert_allclose(x + 10 * np.tanh(1000 * x), 0.5, rtol=0, atol=1e-11)


def test_a_sample_that_is_solved_does_not_hold_up_another():
    field = Field(np.exp, lambda x, dx: np.exp(x) * dx)
    known, gains = [np.array([[0.1, 0.2, 0.3, 50.0]])], np.array([[-1.0]])
    (alone,) = Newton().solve([field], [known[0][:, :3]], gains, np.zeros((1, 3)))
    guess = np.append(alone, [[8.0]], axis=1)
    (x,) = Newton().solve([field], known, gains, guess)
    np.testing.assert_allclose(x + np.exp(x), known[0], rtol=1e-13)


def test_newton_failures_say_when_and_why():
    problem = single(-1.0, 1.0, 1)  # I - h D F = 0: no solution
    with pytest.raises(SolveError, match=r"at t = 0, step 1: singular Newton matrix"):
        integrate(*problem, BackwardEuler())
    run = integrate(*problem, BackwardEuler(newton=Newton(krylov_above=0)), raise_on_failure=False)
    assert run.status is Status.NEWTON_FAILED
    with (
        pytest.raises(SolveError, match="a stage is infinite or NaN"),
        np.errstate(over="ignore", invalid="ignore"),
    ):
        integrate(
            *single(lambda y, z, t: 1e308 + 0 * y * z, 1.0, 1)[:2], np.full((1, 1), 1e10), SDIRK3()
        )
    with pytest.raises(SolveError, match="last correction"):
        integrate(*single(1.0, 1.0, 1, tanh), BackwardEuler(newton=Newton(max_iterations=1)))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"rtol": 0.0}, ValueError, "rtol must be finite and positive, got 0.0"),
        ({"rtol": "1e-3"}, TypeError, "rtol must be a real number"),
        ({"max_iterations": 0}, ValueError, "max_iterations must be at least 1, got 0"),
        ({"krylov_above": -1}, ValueError, "krylov_above must be at least 0, got -1"),
    ],
)
def test_bad_options(options, error, words):
    with pytest.raises(error, match=words):
        Newton(**options)


def test_a_singular_tableau_is_refused_but_for_an_explicit_first_stage():
    with pytest.raises(ValueError, match="a must be an invertible matrix"):
        StageForm.of(np.array([[0.5, 0.0], [0.5, 0.0]]), np.array([0.5, 0.5]))
    form = StageForm.of(np.array([[0.0, 0.0], [0.5, 0.5]]), np.array([0.5, 0.5]))
    assert form.groups == ((0,), (1,))


def test_an_implicit_method_of_ones_own_is_three_arrays():
    class Gauss2(ImplicitRungeKutta):
        """Gauss-Legendre collocation at two points: order 4, not stiffly accurate."""

        order = 4
        a = np.array([[0.25, 0.25 - np.sqrt(3) / 6], [0.25 + np.sqrt(3) / 6, 0.25]])
        b, c = np.array([0.5, 0.5]), np.array([0.5 - np.sqrt(3) / 6, 0.5 + np.sqrt(3) / 6])

    case = exact.moving_bias
    result = refine(
        lambda n: integrate(*case.setup(GRID, n), Gauss2()).trajectory.final,
        [8, 16, 32],
        exact=case.final(GRID),
    )
    np.testing.assert_allclose(result.orders, 4, atol=0.1)


@pytest.mark.parametrize(
    "stepper", [ExplicitMidpoint(), LOOSE, BackwardEuler(), SDIRK3(), RadauIIA5()], ids=name
)
def test_another_array_library(stepper, rng):
    network = WidthDepth(gauss_legendre(Interval(0, 1), 4), tanh)
    space = network.controls(TimeMesh(1.0, 3))
    control, initial = space.random(rng), rng.standard_normal((4, 2))
    expected = integrate(network, control, initial, stepper, save=[0.1, 0.5, 1.0]).trajectory.states
    strict = type(control)(space, {n: array_api_strict.asarray(x) for n, x in control.items()})
    got = integrate(
        network, strict, array_api_strict.asarray(initial), stepper, save=[0.1, 0.5, 1.0]
    ).trajectory.states
    assert isinstance(got, type(array_api_strict.asarray(1.0)))
    np.testing.assert_allclose(to_host(got), expected, rtol=0, atol=1e-12)
