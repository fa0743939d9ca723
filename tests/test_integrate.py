"""The time loop against closed forms, its two implementations against each other, and its
failures.
"""

import itertools

import array_api_strict
import numpy as np
import pytest
import scipy.integrate

from continuum import (
    Interval,
    LowRank,
    NeuralODE2,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
    identity,
    relu,
    sigmoid,
    tanh,
)
from continuum.arrays import to_host
from solvers import (
    RK4,
    DormandPrince,
    Euler,
    Heun,
    ImplicitMidpoint,
    SolveError,
    Status,
    integrate,
    refine,
)
from solvers.flow.advance import CompiledAdvance, GenericAdvance, Steps
from solvers.flow.program import Loop

TIGHT = DormandPrince(rtol=1e-11, atol=1e-13)


def final(case, grid, layers, stepper, **options):
    return integrate(*case.setup(grid, layers), stepper, **options).trajectory.final


@pytest.mark.parametrize(
    "stepper", [Euler(), Heun(), RK4(), ImplicitMidpoint()], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize(
    "case", [exact.scalar_decay, exact.moving_bias], ids=["autonomous", "moving"]
)
def test_orders_in_depth(case, stepper):
    grid = gauss_legendre(Interval(0, 1), 2)
    sizes = [32, 64, 128] if stepper.order < 4 else [16, 32, 64]
    result = refine(lambda n: final(case, grid, n, stepper), sizes, exact=case.final(grid))
    np.testing.assert_allclose(result.orders, stepper.order, atol=0.1)
    assert result.errors[-1] < {1: 1e-2, 2: 2e-4, 4: 1e-8}[stepper.order]


def test_steps_per_layer_refine_the_same_way():
    grid = gauss_legendre(Interval(0, 1), 2)
    a = final(exact.moving_bias, grid, 20, RK4(), steps_per_layer=3)
    b = final(exact.moving_bias, grid, 60, RK4())
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)


def test_graded_layers_are_still_exact_in_the_limit():
    network, _, initial = exact.scalar_decay.setup(gauss_legendre(Interval(0, 1), 2), 1)
    for grading in (1.0, 2.0):
        control = network.control(TimeMesh(1.0, 80, grading), kernel=1.0)
        error = integrate(network, control, initial, RK4()).trajectory.final - 0.419885257562054924
        assert 1e-12 < np.abs(error).max() < 1e-9


def test_adaptive_run_reaches_its_tolerance_with_few_steps():
    for case in (exact.scalar_decay, exact.moving_bias, exact.rank_one):
        grid = gauss_legendre(Interval(0, 1), 12)
        errors = []
        for rtol in (1e-5, 1e-8, 1e-11):
            run = integrate(*case.setup(grid, 7), DormandPrince(rtol=rtol, atol=rtol))
            errors.append(np.abs(run.trajectory.final - case.final(grid)).max())
            assert errors[-1] < 20 * rtol
            assert run.statistics["steps"] < 10 * rtol**-0.2
        assert errors[0] > 100 * errors[2]


def test_adaptive_run_agrees_with_scipy(rng):
    network = WidthDepth(gauss_legendre(Interval(0, 1), 6), tanh)
    control = network.control(
        TimeMesh(3.0, 1),
        bias=lambda y, t: np.sin(3 * y + t),
        kernel=lambda y, z: 4 * np.cos(y - 2 * z),
    )
    initial = rng.standard_normal((6, 2))

    def velocity(t, x):
        return network.velocity(x.reshape(6, 2), control.at(t), t).ravel()

    with np.errstate(all="ignore"):
        reference = scipy.integrate.solve_ivp(
            velocity, (0, 3), initial.ravel(), "DOP853", rtol=1e-12, atol=1e-13
        )
    got = integrate(network, control, initial, TIGHT).trajectory.final
    np.testing.assert_allclose(got.ravel(), reference.y[:, -1], rtol=0, atol=1e-10)


def test_continuous_extension_has_order_four_between_steps():
    network, control, initial = exact.moving_bias.setup(gauss_legendre(Interval(0, 1), 2), 1)
    times = np.linspace(0, 2, 41)
    for rtol in (1e-6, 1e-9):
        states = integrate(
            network, control, initial, DormandPrince(rtol=rtol, atol=rtol), save=times
        ).trajectory.states
        error = np.abs(states - (initial + 0.5 * np.sin(times)[:, None, None])).max()
        assert error < 50 * rtol
    states = integrate(network, control, initial, TIGHT, save=[0.0, 0.3, 2.0]).trajectory.states
    np.testing.assert_allclose(states[1], initial + 0.5 * np.sin(0.3), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(states[0], initial)


def test_steps_end_at_breakpoints():
    network = NeuralODE2(1, identity)
    space = network.controls(TimeMesh(1.0, 4))
    control = space.sample(bias=np.array([1.0, -1.0, 2.0, 0.0])[:, None])
    run = integrate(
        network, control, np.zeros((1, 1)), DormandPrince(rtol=1e-3, atol=1e-3), save="steps"
    )
    assert set(np.linspace(0, 1, 5)) <= set(run.trajectory.times)
    # the velocity is constant on layers, so every step is exact: had one crossed a jump it would
    # not be
    np.testing.assert_allclose(run.trajectory.final, 0.5, rtol=0, atol=1e-15)
    assert run.statistics["rejected"] == 0


@pytest.mark.parametrize(
    "stepper", [Euler(), RK4(), ImplicitMidpoint()], ids=lambda s: type(s).__name__
)
def test_saving(stepper):
    network, control, initial = exact.moving_bias.setup(gauss_legendre(Interval(0, 1), 2), 50)
    layers = integrate(
        network, control, initial, stepper, save="layers", steps_per_layer=2
    ).trajectory
    np.testing.assert_array_equal(layers.times, control.mesh.nodes)
    assert layers.states.shape == (51, 2, 1)
    steps = integrate(
        network, control, initial, stepper, save="steps", steps_per_layer=2
    ).trajectory
    assert steps.states.shape == (101, 2, 1)
    np.testing.assert_array_equal(steps.states[::2], layers.states)
    last = integrate(network, control, initial, stepper, steps_per_layer=2).trajectory
    np.testing.assert_array_equal(last.final, layers.final)
    np.testing.assert_array_equal(last.times, [2.0])
    # between steps: cubic Hermite, of order 4, so no worse than the method at its steps
    times = np.array([0.001, 0.333, 1.2345, 1.999])
    between = integrate(
        network, control, initial, stepper, save=times, steps_per_layer=2
    ).trajectory
    worst = np.abs(steps.states - (initial + 0.5 * np.sin(steps.times)[:, None, None])).max()
    error = np.abs(between.states - (initial + 0.5 * np.sin(times)[:, None, None])).max()
    assert error < 1.1 * worst + 1e-8


def setups():
    grid = gauss_legendre(Interval(0, 1), 5)
    for activation, in_time, per_layer in itertools.product(
        (tanh, identity, relu, sigmoid), ("layers", "nodes", "static", "functions"), (1, 2)
    ):
        yield pytest.param(
            WidthDepth(grid, activation),
            in_time,
            per_layer,
            id=f"{activation}-{in_time}-{per_layer}",
        )


@pytest.mark.parametrize(("network", "in_time", "per_layer"), list(setups()))
@pytest.mark.parametrize("samples", [1, 300])
def test_compiled_loop_is_the_generic_one(network, in_time, per_layer, samples, rng):
    mesh = TimeMesh(1.5, 3, grading=1.3)
    if in_time == "functions":
        control = network.control(mesh, bias=np.sin, kernel=lambda y, z: np.cos(y + 2 * z))
    else:
        control = network.controls(mesh, in_time=in_time).random(rng)
    f, steps = rng.standard_normal((5, samples)), Steps.equal(mesh, per_layer)
    for stepper in (Euler(), Heun(), RK4()):
        loop = Loop.of(network, control, stepper, f)
        assert loop is not None
        fast, failed, kept = CompiledAdvance(loop, steps)(f, 0, len(steps), True)
        slow, never, states = GenericAdvance(network, control, stepper, steps)(
            f, 0, len(steps), True
        )
        assert failed == never == -1
        np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-13)
        np.testing.assert_allclose(np.stack(list(kept)), np.stack(list(states)), rtol=0, atol=1e-13)
        parts = CompiledAdvance(loop, steps)(f, 0, 2, False)[0]
        parts = CompiledAdvance(loop, steps)(parts, 2, len(steps) - 2, False)[0]
        np.testing.assert_array_equal(parts, fast)


@pytest.mark.parametrize(
    ("network", "control"),
    [
        (WidthDepth(gauss_legendre(Interval(0, 1), 5), tanh, LowRank(2)), None),
        (WidthDepth(gauss_legendre(Interval(0, 1), 5), tanh), "function"),
    ],
    ids=["low rank", "functions of time"],
)
def test_generic_loop_takes_the_rest(network, control, rng):
    mesh = TimeMesh(1.0, 3)
    space = network.controls(mesh)
    path = network.control(mesh, bias=lambda y, t: t + y) if control else space.random(rng)
    assert Loop.of(network, path, RK4(), rng.standard_normal((5, 2))) is None
    assert np.all(
        np.isfinite(integrate(network, path, rng.standard_normal((5, 2)), RK4()).trajectory.final)
    )


@pytest.mark.parametrize(
    "stepper", [Euler(), RK4(), TIGHT, ImplicitMidpoint()], ids=lambda s: type(s).__name__
)
def test_another_array_library(stepper, rng):
    network = WidthDepth(gauss_legendre(Interval(0, 1), 4), tanh)
    space = network.controls(TimeMesh(1.0, 3))
    control, initial = space.random(rng), rng.standard_normal((4, 2))
    expected = integrate(network, control, initial, stepper, save="layers").trajectory.states
    strict = type(control)(space, {n: array_api_strict.asarray(x) for n, x in control.items()})
    got = integrate(
        network, strict, array_api_strict.asarray(initial), stepper, save="layers"
    ).trajectory.states
    assert isinstance(got, type(array_api_strict.asarray(1.0)))
    np.testing.assert_allclose(to_host(got), expected, rtol=0, atol=1e-12)


def test_implicit_midpoint_keeps_a_quadratic_invariant():
    # x' = J x with J antisymmetric: |x| is kept to rounding; Euler multiplies |x|^2 by 1 + tau^2
    # each step
    network = NeuralODE2(2, identity)
    control = network.control(TimeMesh(10.0, 100), weight=np.array([[0.0, 1.0], [-1.0, 0.0]]))
    initial = np.array([[1.0], [0.0]])
    kept = integrate(network, control, initial, ImplicitMidpoint()).trajectory.final
    np.testing.assert_allclose(np.linalg.norm(kept), 1.0, rtol=0, atol=1e-13)
    grown = integrate(network, control, initial, Euler()).trajectory.final
    np.testing.assert_allclose(np.linalg.norm(grown), 1.01**50, rtol=1e-13)


def test_implicit_midpoint_takes_stiff_steps():
    # f' = -1000 f with steps of 0.1: explicit methods overflow, this one decays like (1 - 50)/(1 +
    # 50)
    network = WidthDepth(gauss_legendre(Interval(0, 1), 1), identity)
    control = network.control(TimeMesh(1.0, 10), kernel=1000.0)
    f = integrate(network, control, np.ones((1, 1)), ImplicitMidpoint()).trajectory.final[0, 0]
    np.testing.assert_allclose(f, ((1 - 50) / (1 + 50)) ** 10, rtol=1e-12)


def exploding(layers=400):
    network = WidthDepth(gauss_legendre(Interval(0, 1), 2), identity)
    return network, network.control(TimeMesh(40.0, layers), kernel=-1000.0), np.ones((2, 1))


def test_overflow_names_its_step():
    # f <- 101 f, from 1: exceeds 1.8e308 in step 154
    with pytest.raises(SolveError, match=r"in step 154 of 400, at t = 15.4") as caught:
        integrate(*exploding(), Euler())
    assert caught.value.solution.status is Status.NON_FINITE
    for save, kept in (("final", 1), ("steps", 154)):
        run = integrate(*exploding(), Euler(), save=save, raise_on_failure=False)
        assert run.status is Status.NON_FINITE
        assert not run.status.ok
        assert run.trajectory.states.shape[0] == kept
        assert run.trajectory.times[-1] == pytest.approx(15.3)
        assert np.all(np.isfinite(run.trajectory.states))


def test_overflow_in_the_generic_loop():
    network, _, initial = exploding()
    control = network.control(TimeMesh(40.0, 400), kernel=lambda y, z, t: -1000.0 + 0 * y * z)
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(SolveError, match="in step 154 of 400"),
    ):
        integrate(network, control, initial, Euler())


def test_step_cap_and_underflow():
    network, control, initial = exact.rank_one.setup(gauss_legendre(Interval(0, 1), 3), 1)
    with pytest.raises(SolveError, match="5 steps") as caught:
        integrate(network, control, initial, TIGHT, max_steps=5)
    assert caught.value.solution.status is Status.MAX_STEPS
    assert 0 < caught.value.solution.trajectory.times[-1] < 2.0
    # x' = 1 / (t - 1/2)^2 has no solution past 1/2
    network = NeuralODE2(1, identity)
    control = network.control(
        TimeMesh(1.0, 1), bias=lambda t: np.array([1 / (t - 0.5) ** 2 if t != 0.5 else 1e300])
    )
    with np.errstate(all="ignore"):
        run = integrate(network, control, np.zeros((1, 1)), TIGHT, raise_on_failure=False)
    assert run.status in (Status.STEP_UNDERFLOW, Status.NON_FINITE)
    assert run.trajectory.times[-1] == pytest.approx(0.5, abs=1e-6)


def test_newton_failure_is_a_status():
    network = WidthDepth(gauss_legendre(Interval(0, 1), 1), identity)
    control = network.control(
        TimeMesh(1.0, 1), kernel=-2.0
    )  # I - (h/2) D F = 1 - 1 = 0: no solution
    with np.errstate(all="ignore"):
        run = integrate(
            network, control, np.ones((1, 1)), ImplicitMidpoint(), raise_on_failure=False
        )
    assert run.status is Status.NEWTON_FAILED


NETWORK = WidthDepth(gauss_legendre(Interval(0, 1), 4), tanh)
CONTROL = NETWORK.control(TimeMesh(1.0, 3))


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (
            (np.ones((3, 4)), RK4()),
            {},
            r"initial has shape \(3, 4\), expected \(4, M\); its transpose would fit",
        ),
        ((np.ones((3, 5)), RK4()), {}, r"initial has shape \(3, 5\), expected \(4, M\)$"),
        ((np.ones(4), RK4()), {}, r"write initial\[:, None\]"),
        ((np.full((4, 1), np.nan), RK4()), {}, "initial has entries that are NaN"),
        ((np.ones((4, 1)) * 1j, RK4()), {}, "initial must be real"),
        (([["a"]], RK4()), {}, "initial must be real numbers"),
        ((np.ones((4, 1)), "rk4"), {}, r"stepper must be a Stepper such as RK4\(\)"),
        ((np.ones((4, 1)), RK4), {}, r"stepper must be a Stepper such as RK4\(\)"),
        ((np.ones((4, 1)), RK4()), {"steps_per_layer": 0}, "steps_per_layer must be at least 1"),
        ((np.ones((4, 1)), RK4()), {"save": "layer"}, "Did you mean 'layers'"),
        ((np.ones((4, 1)), RK4()), {"save": [0.5, 0.2]}, "increasing times"),
        ((np.ones((4, 1)), RK4()), {"save": [0.5, 1.2]}, "increasing times in"),
        ((np.ones((4, 1)), RK4()), {"monitors": [print]}, r"monitors\[0\] must be a Monitor"),
    ],
)
def test_bad_input(arguments, options, words):
    with pytest.raises((ValueError, TypeError), match=words):
        integrate(NETWORK, CONTROL, *arguments, **options)


def test_a_kernel_for_another_grid_is_refused():
    other = WidthDepth(gauss_legendre(Interval(0, 1), 5), tanh)
    with pytest.raises(ValueError, match=r"kernel has shape \(4, 4\), expected \(5, 5\)"):
        other.control(TimeMesh(1.0, 3), kernel=np.ones((4, 4)))
    with pytest.raises(ValueError, match="control was made for another network"):
        integrate(other, CONTROL, np.ones((5, 1)), RK4())


@pytest.mark.parametrize("given", [{}, {"rtol": 1e-8}, {"atol": 1e-8}])
def test_tolerances_have_no_defaults(given):
    with pytest.raises(TypeError, match=r"DormandPrince\(rtol=1e-8, atol=1e-10\)"):
        DormandPrince(**given)
