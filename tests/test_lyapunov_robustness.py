"""Attacks, audits and certificates of networks that hold their inputs."""

from dataclasses import replace

import array_api_strict
import numpy as np
import pytest
from scipy.stats import binom

from continuum.activations import tanh
from continuum.losses import CrossEntropy
from continuum.meshes import TimeMesh
from continuum.networks import Chain, LearnedField, Linear, Offset, Pointwise
from continuum.problem import LearningProblem
from solvers import RK4, Euler, discretize, integrate
from solvers.lyapunov import (
    Cube,
    Tube,
    attack,
    audit,
    breaking_radius,
    certify,
    escapes,
    estimated_radii,
    share,
    violation,
)
from solvers.lyapunov.attack import _Target

A = np.array([1.0, -2.0, 0.5])
"""f = (a.x / 2) (1, -1): o_0 - o_1 = a.x t."""


@pytest.fixture
def linear(rng):
    """The linear field at inputs of both classes, all of them right, and its control."""
    field = LearnedField(units=2, inputs=3, hidden=(), activation=tanh, timed=False)
    x = rng.standard_normal((3, 7))
    labels = np.where(A @ x > 0, 0, 1)
    problem = LearningProblem(
        field.at(x), np.zeros((2, 7)), labels, TimeMesh(1.0, 4), terminal=CrossEntropy()
    )
    weight = np.concatenate([np.zeros((2, 2)), 0.5 * np.outer([1.0, -1.0], A)], axis=1)
    return problem, problem.space.sample(weight1=weight), x


@pytest.fixture
def network(rng):
    """A random field of three classes and its control."""
    field = LearnedField(units=3, inputs=4, hidden=(6,), activation=tanh, centred=True)
    x, labels = rng.uniform(0.2, 0.8, (4, 9)), np.arange(9) % 3
    problem = LearningProblem(
        field.at(x), np.zeros((3, 9)), labels, TimeMesh(1.0, 4), terminal=CrossEntropy()
    )
    return problem, 3.0 * field.initialise(problem.space, rng), x


# -- attacks


@pytest.mark.parametrize(("norm", "dual"), [("inf", np.abs(A).sum()), ("two", (A @ A) ** 0.5)])
def test_the_linear_field_breaks_at_its_breaking_point(linear, norm, dual):
    problem, control, x = linear
    breaking = np.abs(A @ x) / dual
    for radius in np.concatenate([breaking * (1 + 1e-9), breaking * (1 - 1e-9)]):
        found = attack(problem, control, radius, norm=norm, steps=30, step=3.0 * radius)
        assert np.array_equal(found.broken, breaking <= radius)
    assert not found.wrong.any()


@pytest.mark.parametrize("norm", ["inf", "two"])
def test_no_perturbation_is_larger_than_the_radius(network, norm):
    problem, control, x = network
    for radius in (0.1, 1.0 / 3.0, 8 / 255):
        found = attack(problem, control, radius, norm=norm, restarts=3, bounds=(0.2, 0.8))
        order = np.inf if norm == "inf" else 2
        sizes = np.linalg.norm(found.inputs - x, order, axis=0)
        assert np.max(sizes) <= radius
        assert np.allclose(sizes, found.norms, rtol=1e-14, atol=0)
        assert np.min(found.inputs) >= 0.2
        assert np.max(found.inputs) <= 0.8
    assert np.max(sizes) > 0.9 * radius


def test_margins_are_those_of_the_problem_at_the_inputs_that_are_returned(network):
    problem, control, _ = network
    found = attack(problem, control, 0.3, restarts=2, stepper=Euler())
    network = problem.network.field.at(found.inputs)
    last = integrate(network, control, problem.initial, Euler()).trajectory.final
    own = last[np.arange(9) % 3, np.arange(9)]
    rest = np.sort(np.where(np.arange(3)[:, None] == np.arange(9) % 3, -np.inf, last), axis=0)[-1]
    assert np.allclose(found.margins, own - rest, rtol=0, atol=1e-13)
    assert np.array_equal(found.broken, found.margins <= 0)
    assert np.all(found.broken >= found.wrong)
    clean = integrate(problem.network, control, problem.initial, Euler()).trajectory.final
    assert np.array_equal(found.wrong, np.argmax(clean, axis=0) != np.arange(9) % 3)
    assert f"{found.broken.sum()} of 9 samples broken" in str(found)


def test_the_gradient_in_the_inputs_is_exact(network, rng):
    """Two losses; the second difference of the loss along a line is of second order."""
    problem, control, x = network
    d = rng.standard_normal(x.shape)
    for loss in ("terminal", "margin"):
        target = _Target.of(problem, control, loss, RK4())
        _, slope = target.margins_and_gradient(x)

        def value(h, loss=loss, target=target):
            if loss == "margin":
                return -np.mean(target.margins(x + h * d))
            moved = LearningProblem(
                problem.network.field.at(x + h * d),
                problem.initial,
                problem.target,
                problem.mesh,
                terminal=CrossEntropy(),
            )
            return discretize(moved, RK4()).value(control)

        errors = [abs(value(h) - value(0.0) - h * np.sum(slope * d) / 9) for h in (1e-2, 5e-3)]
        assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("norm", ["inf", "two"])
def test_starts_are_drawn_in_the_ball_and_are_a_function_of_the_seed(network, norm):
    problem, control, x = network
    options = {"norm": norm, "steps": 1, "step": 1e-12, "loss": "terminal"}
    runs = [
        attack(problem, control, 0.05, rng=seed, **options).inputs
        for seed in (0, 0, 1, np.random.default_rng(1))
    ]
    assert np.array_equal(runs[0], runs[1])
    assert np.array_equal(runs[2], runs[3])
    moved = np.abs(runs[0] - x).max(axis=0)
    assert np.any(moved > 1e-3)  # not merely the one step of 1e-12
    assert not np.array_equal(runs[0], runs[2])


def test_a_network_without_inputs_has_its_initial_states_perturbed(rng):
    chain = Chain(2, (Linear("w1", 4), Offset("b1"), Pointwise(tanh), Linear("w2", 2)))
    initial, labels = rng.standard_normal((2, 6)), np.arange(6) % 2
    problem = LearningProblem(chain, initial, labels, TimeMesh(1.0, 3), terminal=CrossEntropy())
    control = problem.space.random(rng)
    found = attack(problem, control, 0.4, norm="two", restarts=2)
    assert found.inputs.shape == (2, 6)
    last = integrate(chain, control, found.inputs, RK4()).trajectory.final
    margins = np.where(labels == 0, last[0] - last[1], last[1] - last[0])
    assert np.allclose(margins, found.margins, rtol=0, atol=1e-13)
    assert np.all(found.margins < attack(problem, control, 0.1, norm="two").margins)


def test_attacks_refuse_what_does_not_fit(network):
    problem, control, _ = network
    with pytest.raises(ValueError, match="radius must be > 0"):
        attack(problem, control, 0.0)
    with pytest.raises(ValueError, match=r"bounds .* must hold the data"):
        attack(problem, control, 0.1, bounds=(0.4, 1.0))
    with pytest.raises(ValueError, match="low < high"):
        attack(problem, control, 0.1, bounds=(1.0, 0.0))
    with pytest.raises(ValueError, match="norm"):
        attack(problem, control, 0.1, norm="one")
    with pytest.raises(ValueError, match="loss"):
        attack(problem, control, 0.1, loss="square")
    with pytest.raises(TypeError, match="rng"):
        attack(problem, control, 0.1, rng="seed")
    for bounds in ((0.0,), (0.0, np.nan), (0.0, 0.5, 1.0)):
        with pytest.raises(ValueError, match=r"bounds must (be \(low, high\)|have 2 entries)"):
            attack(problem, control, 0.1, bounds=bounds)
    for rng, error in (("seed", TypeError), (-1, ValueError), (None, TypeError)):
        with pytest.raises(error, match="rng must be"):
            breaking_radius(problem, control, 0.1, rng=rng)
    flat = LearningProblem(problem.network, problem.initial, np.zeros((3, 9)), problem.mesh)
    with pytest.raises(ValueError, match="two largest entries"):
        attack(flat, control, 0.1)


@pytest.mark.parametrize(
    "door",
    [
        lambda control: attack("problem", control, 0.1),
        lambda control: breaking_radius("problem", control, 0.1),
        lambda control: audit("problem", control, 1.0),
        lambda control: certify("problem", control),
        lambda control: estimated_radii("problem", control),
        lambda control: escapes("problem", control, Cube(1.0)),
        lambda control: violation("problem", control, np.zeros((3, 9)), 0.0, 1.0),
    ],
)
def test_what_is_no_problem_is_named(door, network):
    with pytest.raises(TypeError, match="problem must be a LearningProblem"):
        door(network[1])


def test_arrays_of_other_libraries_are_refused(network):
    problem, control, _ = network
    strict = replace(problem, initial=array_api_strict.asarray(problem.initial))
    for door in (
        lambda: attack(strict, control, 0.1),
        lambda: breaking_radius(strict, control, 0.1),
        lambda: audit(strict, control, 1.0),
    ):
        with pytest.raises(TypeError, match="problem must hold NumPy arrays"):
            door()


# -- audits


def test_shares_have_the_exact_interval():
    assert share(0, 10).low == 0.0
    assert share(0, 10).high == pytest.approx(1 - 0.025**0.1, rel=1e-13)
    assert share(10, 10).high == 1.0
    for count, total in ((1, 10), (5, 10), (37, 400)):
        found = share(count, total)
        assert binom.sf(count - 1, total, found.low) == pytest.approx(0.025, rel=1e-10)
        assert binom.cdf(count, total, found.high) == pytest.approx(0.025, rel=1e-10)
    with pytest.raises(ValueError, match="count"):
        share(3, 2)
    with pytest.raises(TypeError, match="count must be an integer"):
        share(1.5, 3)


def test_audit_of_the_linear_field(linear):
    """o_0 - o_1 = s t, s = |a.x| towards the label: V = log(1 + e^(-s t)), r = -(1 - e^(-V)) s +
    kappa V.
    """
    problem, control, x = linear
    speed, kappa = np.abs(A @ x), 1.2
    found = audit(problem, control, kappa, steps_per_layer=2)
    t = np.linspace(0.0, 1.0, 9)[:, None]
    v = np.log1p(np.exp(-speed * t))
    assert np.allclose(found.values, v, rtol=1e-13)
    r = kappa * v - speed * -np.expm1(-v)
    assert np.allclose(found.violations, r, rtol=0, atol=1e-13)
    assert found.violation_share == np.mean(r > 0)
    met = np.all(v <= np.exp(-kappa * t) * v[0], axis=0)
    assert 0 < met.sum() < 7
    assert found.meeting == share(int(met.sum()), 7)
    assert found.violating.count == np.any(r > 0, axis=0).sum()
    assert found.threshold == pytest.approx(np.log(2.0))
    assert found.error_bound == pytest.approx(found.mean_bound / np.log(2.0))
    assert "speak of the distribution" in str(found)


def test_the_groenwall_bound_is_met_with_equality_where_r_is_positive_throughout(linear):
    """V' = -kappa V + r, so V(T) = e^(-kappa T) V(0) + int e^(-kappa (T - s)) r ds; the rule is of
    second order.
    """
    problem, control, _ = linear
    errors = []
    for count in (4, 8):
        found = audit(problem, control, 20.0, steps_per_layer=count)
        assert np.all(found.violations > 0)
        errors.append(np.max(np.abs(found.bounds - found.values[-1])))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.15)


def test_the_groenwall_bound_of_controls_that_jump(linear, rng):
    """The rule takes the control of each step at both of its ends: of second order still."""
    problem, _, _ = linear
    space = problem.network.controls(problem.mesh, in_time="layers")
    moving, errors = replace(problem, controls=space), []
    control = space.random(rng)
    for count in (4, 8, 16):
        found = audit(moving, control, 8.0, steps_per_layer=count)
        assert np.all(found.violations > 0)
        errors.append(np.max(np.abs(found.bounds - found.values[-1])))
    assert np.all(np.abs(np.log2(np.divide(errors[:-1], errors[1:])) - 2.0) < 0.1)


def test_audits_refuse_what_does_not_fit(linear):
    problem, control, _ = linear
    with pytest.raises(ValueError, match="kappa must be finite and positive"):
        audit(problem, control, 0.0)
    with pytest.raises(ValueError, match=r"unknown where 'tube'.*Or a Sampler such as Cube"):
        audit(problem, control, 1.0, where="tube")
    with pytest.raises(ValueError, match="cannot hold the path"):
        audit(replace(problem, initial=problem.initial + 1.0), control, 1.0, where=Cube(0.5))


@pytest.mark.filterwarnings("ignore:.*is less than anywhere in the set:RuntimeWarning")
def test_audits_of_a_sampler_look_at_its_states_and_count_escapes(linear):
    problem, control, x = linear
    found = audit(problem, control, 0.5, where=Cube(0.9, states=50), rng=np.random.default_rng(3))
    assert found.elsewhere.shape == (50, 7)
    assert found.violation_share == np.mean(found.elsewhere > 0)
    assert found.violating.count == np.any(found.elsewhere > 0, axis=0).sum()
    escaped = 0.5 * np.abs(A @ x) > 0.9  # the last states are +-|a.x| / 2
    assert 0 < escaped.sum() < 7
    assert found.escaping == share(int(escaped.sum()), 7)
    assert "escapes" in str(found)
    again = audit(problem, control, 0.5, where=Tube(0.1, copies=2))
    assert again.elsewhere.shape == (10, 7)
    assert again.escaping is None
