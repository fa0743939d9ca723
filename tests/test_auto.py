"""`Auto`: when it changes its method, that it says so, and derivatives over both methods."""

from dataclasses import replace

import numpy as np
import pytest
from test_classical_problems import Arenstorf, Lorenz, Still

from continuum import (
    Chain,
    Interval,
    LearningProblem,
    Linear,
    SquaredError,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    tanh,
)
from solvers import (
    DOP853,
    Auto,
    DormandPrince,
    EverySteps,
    KennedyCarpenter5,
    Monitor,
    RadauIIA5,
    Record,
    Status,
    discretize,
    integrate,
    observed_orders,
)
from solvers.adjoint.tape import adaptive_steps
from solvers.flow.adaptive import Attempt
from solvers.flow.switching import _Implicit
from solvers.steps.auto import InTurn
from studies.stiff_problems import Reactions, hires, oregonator, robertson, van_der_pol


def run(problem, stepper, **options):
    return integrate(problem.network, problem.control, problem.initial, stepper, **options)


@pytest.mark.parametrize("explicit", [DormandPrince, DOP853])
@pytest.mark.parametrize("implicit", [RadauIIA5, KennedyCarpenter5])
@pytest.mark.parametrize("problem", [van_der_pol(1e-3), robertson()], ids=lambda p: p.name)
def test_it_changes_where_the_equation_is_stiff(problem, explicit, implicit):
    changes_and_is_accurate(problem, explicit, implicit)


@pytest.mark.parametrize(
    "problem", [van_der_pol(1e-6), robertson(1e11), oregonator(), hires()], ids=lambda p: p.name
)
def test_so_it_does_on_harder_ones(problem):
    changes_and_is_accurate(problem, DormandPrince, RadauIIA5)


def changes_and_is_accurate(problem, explicit, implicit):
    rtol = 1e-6
    atol = rtol * problem.ratio
    stepper = Auto(rtol=rtol, atol=atol, explicit=explicit, implicit=implicit)
    solution = run(problem, stepper)
    assert solution.status is Status.FINISHED
    assert solution.statistics["switches"] >= 1
    assert f"switched to {implicit.__name__} at t = " in solution.detail
    assert "the stability bound, not the error, limited 15 steps" in solution.detail
    assert np.isfinite(problem.final).all()
    error = np.abs(solution.trajectory.final[:, 0] - problem.final)
    assert np.all(error < 10 * (atol + rtol * np.abs(problem.final)))


@pytest.mark.parametrize("explicit", [DormandPrince, DOP853])
@pytest.mark.parametrize("rtol", [1e-4, 1e-8])
@pytest.mark.parametrize("kind", [Lorenz, Arenstorf])
def test_it_keeps_to_the_explicit_pair_where_it_is_not(kind, rtol, explicit):
    problem = kind()
    control = problem.control(TimeMesh(problem.horizon, 1))
    initial = np.array(problem.start)[:, None]
    ours, theirs = (
        integrate(problem, control, initial, stepper, save="steps")
        for stepper in (
            Auto(rtol=rtol, atol=rtol, explicit=explicit),
            explicit(rtol=rtol, atol=rtol),
        )
    )
    np.testing.assert_array_equal(ours.trajectory.times, theirs.trajectory.times)
    np.testing.assert_array_equal(ours.trajectory.states, theirs.trajectory.states)
    assert ours.statistics["rejected"] == theirs.statistics["rejected"]
    assert ours.statistics["switches"] == 0
    assert ours.detail == ""


class Relaxing(Still):
    """x' = -rate(t) (x - cos t) - sin t, whose solution from x(0) = 1 is cos t; the samples have
    rates of their own.
    """

    start, horizon = (1.0,), 40.0

    def __init__(self, early, late, change=20.0):
        self.early, self.late, self.change = (
            np.array(x, dtype=float) for x in (early, late, change)
        )

    def rate(self, t):
        return self.late + (self.early - self.late) / (1.0 + np.exp(4.0 * (t - self.change)))

    def velocity(self, f, c, t):
        return -self.rate(t) * (f - np.cos(t)) - np.sin(t)

    def jvp(self, f, c, t, df, dc):
        return -self.rate(t) * df


def relaxed(early, late, samples=1, **options):
    network = Relaxing(early, late)
    control = network.control(TimeMesh(network.horizon, 1))
    initial = np.ones((1, samples))
    return integrate(network, control, initial, Auto(rtol=1e-6, atol=1e-6), **options)


def test_it_goes_back_where_the_equation_is_no_longer_stiff():
    record = Record("t", lambda snapshot: snapshot.time)
    solution = relaxed(1e4, 0.1, save="steps", monitors=[Monitor(record, EverySteps(1))])
    assert solution.statistics["switches"] == 2
    first, second = solution.detail.split("; ")
    assert first.startswith("switched to RadauIIA5 at t = 0.0")
    assert second.startswith("switched to DormandPrince at t = ")
    assert "the explicit method is stable with its steps: h rho = " in second
    assert 20.0 < float(second.split("t = ")[1].split(",")[0]) < 35.0
    times = solution.trajectory.times
    np.testing.assert_allclose(solution.trajectory.states[:, 0, 0], np.cos(times), atol=1e-5)
    np.testing.assert_array_equal(solution.history["t"], times[1:])
    # alone, the explicit method would need 1e4 20 / 3.3 steps for the first half
    assert solution.statistics["steps"] < 0.01 * 1e4 * 20 / 3.3


def test_many_changes_are_told_in_short():
    class Pulsing(Relaxing):
        def rate(self, t):
            return 1e4 * np.exp(-50.0 * np.cos(np.pi * t / 20.0) ** 2)

    network = Pulsing(0, 0)
    control, initial = network.control(TimeMesh(100.0, 1)), np.ones((1, 1))
    solution = integrate(network, control, initial, Auto(rtol=1e-6, atol=1e-6))
    count = int(solution.statistics["switches"])
    assert count > 4
    told = solution.detail.split("; ")
    assert len(told) == 4
    assert told[2] == f"{count - 3} more"
    assert abs(solution.trajectory.final[0, 0] - np.cos(100.0)) < 1e-5


def test_the_worst_sample_decides():
    calm = relaxed([0.1, 0.1], [0.1, 0.1], 2)
    assert calm.statistics["switches"] == 0
    mixed = relaxed([0.1, 1e4], [0.1, 1e4], 2)
    assert mixed.statistics["switches"] == 1
    np.testing.assert_allclose(mixed.trajectory.final, np.cos(40.0), atol=1e-5)


def test_between_its_steps_and_at_breakpoints():
    """The states at given times come from the method whose step it is; no step crosses a jump."""
    network = WidthDepth(gauss_legendre(Interval(0, 1), 1), tanh)
    control = network.control(
        TimeMesh(3.0, 2),
        breakpoints=(1.0, 2.0),
        kernel=lambda y, z, t: 2000.0 if 1.0 < t < 2.0 else 0.5,
        bias=0.2,
    )
    times = np.linspace(0.0, 3.0, 61)
    stepper = Auto(rtol=1e-7, atol=1e-9)
    found = integrate(network, control, np.ones((1, 1)), stepper, save=times)
    reference = integrate(
        network, control, np.ones((1, 1)), DOP853(rtol=1e-11, atol=1e-12), save=times
    )
    assert found.statistics["switches"] >= 1
    error = np.abs(found.trajectory.states - reference.trajectory.states)
    assert error.max() < 1e-5
    assert error[times >= 1.0].max() < 1e-5
    steps = integrate(network, control, np.ones((1, 1)), stepper, save="steps").trajectory.times
    assert {1.0, 2.0} <= set(steps.tolist())


def test_failures_are_those_of_its_methods():
    problem = van_der_pol(1e-3)
    stepper = Auto(rtol=1e-6, atol=1e-6)
    capped = run(problem, stepper, max_steps=100, raise_on_failure=False)
    assert capped.status is Status.MAX_STEPS
    assert capped.statistics["steps"] == 100
    assert capped.detail.startswith("100 steps, at t = ")
    assert "switched to RadauIIA5" in capped.detail
    blown = Reactions([[1]], [(0, 0)])
    control = blown.control(TimeMesh(2.0, 1), rates=np.ones(1))
    failed = integrate(blown, control, np.ones((1, 1)), stepper, raise_on_failure=False)
    assert failed.status in (Status.STEP_UNDERFLOW, Status.NON_FINITE)
    assert failed.trajectory.times[-1] == pytest.approx(1.0, abs=1e-6)


# -- derivatives


def stiff_learning(rng, in_time, running):
    """Rates of which one is large, so that a run starts explicit and goes on implicit."""
    network = WidthDepth(gauss_legendre(Interval(0, 1), 3), tanh)
    space = network.controls(TimeMesh(1.0, 2), in_time=in_time)
    initial, target = rng.standard_normal((2, 3, 2))
    problem = LearningProblem(network, initial, target, space, running=running)
    vectors = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    kernel = vectors * np.array([1.0, 30.0, 2000.0]) @ vectors.T / network.weights
    return problem, space.sample(kernel=kernel, bias=rng.standard_normal(3))


@pytest.mark.parametrize("in_time", ["layers", "nodes"])
@pytest.mark.parametrize("running", [None, SquaredError()])
def test_derivatives_are_exact_on_the_steps_of_both_methods(in_time, running, rng, monkeypatch):
    problem, c = stiff_learning(rng, in_time, running)
    d = problem.space.random(rng)
    objective = discretize(problem, Auto(rtol=1e-5, atol=1e-5))
    made = adaptive_steps(problem, c, objective.stepper, keep=False)
    assert isinstance(made[2], InTurn)
    assert [type(x).__name__ for x in made[2].methods] == ["DormandPrince", "RadauIIA5"]
    value, gradient = objective.value_and_gradient(c)
    bend = objective.hvp(c, d)
    monkeypatch.setattr("solvers.adjoint.objective.adaptive_steps", lambda *a, **o: made)
    assert objective.value(c) == pytest.approx(value, rel=1e-13)
    bounded = replace(objective, memory=2000)
    again = bounded.gradient(c)
    for name in gradient:
        np.testing.assert_allclose(again[name], gradient[name], rtol=1e-9, atol=1e-12)
    sizes = 2.0 ** np.arange(7, 10)
    slope, curve = problem.space.inner(gradient, d), problem.space.inner(bend, d)
    first = np.array([objective.value(c + (1 / n) * d) - value - slope / n for n in sizes])
    assert observed_orders(sizes, np.abs(first))[-1] == pytest.approx(2.0, abs=0.1)
    second = first - 0.5 * curve / sizes**2
    assert observed_orders(sizes, np.abs(second))[-1] == pytest.approx(3.0, abs=0.2)


def test_the_value_is_that_of_the_run(rng):
    """The explicit steps are the same to rounding, the implicit ones are solved more accurately."""
    problem, c = stiff_learning(rng, "layers", None)
    stepper = Auto(rtol=1e-7, atol=1e-9)
    path = discretize(problem, stepper).run(c)
    solution = integrate(problem.network, c, problem.initial, stepper, save="steps")
    np.testing.assert_allclose(path.times, solution.trajectory.times, atol=1e-12)
    np.testing.assert_allclose(path.states, solution.trajectory.states, atol=1e-6)
    method = adaptive_steps(problem, c, stepper, keep=False)[2]
    assert isinstance(method, InTurn)
    first = path.times < method.starts[1]
    assert np.sum(first) > 15
    ours, theirs = path.states[first], solution.trajectory.states[first]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_methods_in_turn():
    explicit, implicit = Auto(rtol=1e-6, atol=1e-6).methods
    method = InTurn.of({0.0: explicit, 0.5: implicit, 0.75: explicit})
    for t, expected in ((0.0, explicit), (0.4, explicit), (0.5, implicit), (0.8, explicit)):
        assert method.at(t) is expected


def test_the_rate_of_an_implicit_step_is_that_of_the_stiffest_direction(rng):
    """f' = A f with eigenvalues -1, -30, -1000, from a direction that is nearly the slowest one."""
    vectors = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    matrix = -vectors * np.array([1.0, 30.0, 1000.0]) @ vectors.T
    network = Chain(3, (Linear("w", 3),))
    control = network.control(TimeMesh(1.0, 1), w=matrix)
    stepper = RadauIIA5(rtol=1e-6, atol=1.0)
    direction = vectors[:, :1] + 1e-4 * rng.standard_normal((3, 1))
    judge, f, h = _Implicit(network, stepper, np.zeros((3, 1)), direction), np.zeros((3, 1)), 1e-3
    for _ in range(8):
        judge.look(Attempt(0, 0.0, h, f, [], True, control, stepper), f)
    assert judge.rate == pytest.approx(1.0, rel=1e-6)
    assert judge.count.found == 8  # steps of length 1e-3 would do for an explicit method


# -- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rtol": 1e-6}, "atol has no default; for example Auto"),
        ({"atol": 1e-6}, "rtol has no default"),
        (
            {"rtol": 1e-6, "atol": 1e-6, "explicit": RadauIIA5},
            "explicit must be a class of kind",
        ),
        (
            {"rtol": 1e-6, "atol": 1e-6, "implicit": DOP853},
            "implicit must be a class of kind",
        ),
        ({"rtol": 1e-6, "atol": 1e-6, "newton": 3}, "newton must be a Newton"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(TypeError, match=message):
        Auto(**options)


def test_negative_tolerances():
    with pytest.raises(ValueError, match="rtol must"):
        Auto(rtol=-1.0, atol=1e-6)
    with pytest.raises(ValueError, match="max_step must"):
        Auto(rtol=1e-6, atol=1e-6, max_step=0.0)


def test_it_makes_no_step_by_itself():
    with pytest.raises(TypeError, match="makes no step by itself"):
        Auto(rtol=1e-6, atol=1e-6).step(
            lambda t, f: f, lambda t, f, d: d, 0.0, 0.1, np.ones((1, 1))
        )


def test_where_the_explicit_pairs_are_stable():
    """|R(-z)| = 1, R(x) = 1 + x b (I - x A)^-1 1, at the end of the interval and nowhere inside."""
    for pair in (DormandPrince, DOP853):
        eye, ones = np.eye(len(pair.b)), np.ones(len(pair.b))

        def growth(z, pair=pair, eye=eye, ones=ones):
            return 1.0 - z * pair.b @ np.linalg.solve(eye + z * pair.a, ones)

        assert abs(growth(pair.stable)) == pytest.approx(1.0, abs=1e-6)
        inside = np.linspace(0.01, 0.999, 300) * pair.stable
        assert max(abs(growth(z)) for z in inside) < 1.0
        assert abs(growth(1.001 * pair.stable)) > 1.0
