"""Closed forms of the exact flow on cross-entropy, and the field that realises it.

Exact numbers come from mpmath with 60 digits at the numbers that the function was given.  The only
condition number above 1 is that of exp(-x) for large x: there a relative error of x roundings.
"""

import itertools

import mpmath
import numpy as np
import pytest

from continuum import CrossEntropy, LearningProblem, TimeMesh, check_derivatives, leaky_relu
from continuum.networks import Chain, Linear, Pointwise
from solvers import DOP853, RK4, Euler, discretize, integrate
from solvers.lyapunov import (
    MinimalNormField,
    box_half_width,
    escape_time,
    euler_loss_bound,
    exact_loss,
    exact_position,
    gradient_norms,
    least_speed,
    margin_asymptote,
    printed_half_width,
    wrong_corner_loss,
)

mp = mpmath.mp
ROUNDING = np.finfo(float).eps
SIZES = (1e-300, 1e-40, 1e-9, 1e-3, 0.1, 0.4, 0.7, 1.0, 1.7, 3.0, 10.0, 36.8, 37.5, 400.0, 1e5)
CLASSES = (2, 3, 10, 1000, 10**7)
LOSS = CrossEntropy()


@pytest.fixture(autouse=True)
def _sixty_digits():
    with mp.workdps(60):
        yield


def position_of(loss, classes):
    """s with loss = log(1 + (m - 1) exp(-2 s))."""
    return (mp.log(classes - 1) - mp.log(mp.expm1(loss))) / 2


def ray_loss(s, classes):
    return mp.log1p((classes - 1) * mp.exp(-2 * mp.mpf(s)))


def check(found, exact, roundings=8):
    assert abs(mp.mpf(float(found)) - exact) <= roundings * ROUNDING * abs(exact), (found, exact)


@pytest.mark.parametrize("classes", CLASSES)
def test_the_exact_flow_to_rounding(classes):
    for time in SIZES:
        loss = mp.log(classes) * mp.exp(-mp.mpf(time))
        if time < 700:
            check(exact_loss(time, 1.0, classes), loss, 4 + time)
        with mp.workdps(400):  # of which expm1(log m exp(-1e-300)) - (m - 1) loses 300
            exact = position_of(mp.log(classes) * mp.exp(-mp.mpf(time)), classes)
        check(exact_position(time, 1.0, classes), exact)
        asymptote = time + mp.log(mp.mpf(classes - 1) / mp.log(classes))
        check(margin_asymptote(time, 1.0, classes), asymptote)
        assert 2 * exact <= asymptote
    times = np.array(SIZES)
    together = exact_position(times, 1.0, classes)
    assert list(together) == [exact_position(t, 1.0, classes) for t in SIZES]
    assert np.all(np.diff(together) > 0)
    assert exact_position(0.0, 3.0, classes) == 0.0


@pytest.mark.parametrize("classes", CLASSES)
def test_the_loss_in_the_wrong_corner_and_escape_times(classes):
    for s in SIZES:
        with mp.workdps(400):
            corner = mp.log(mp.exp(2 * mp.mpf(s)) + classes - 1)
            escape = mp.log(mp.log(classes) / ray_loss(s, classes))
        check(wrong_corner_loss(s, classes), corner)
        check(escape_time(s, 1.0, classes), escape)
    assert escape_time(0.0, 2.0, classes) == 0.0
    for kappa in (0.5, 3.0, 40.0):  # inverse functions
        for t in (1e-9, 0.3, 1.0, 7.0):
            s = exact_position(t, kappa, classes)
            assert escape_time(s, kappa, classes) == pytest.approx(t, rel=1e-14)


@pytest.mark.parametrize(
    ("classes", "kappa"), list(itertools.product(CLASSES, (0.9, 3.0, 20.0, 90.0)))
)
def test_boxes_to_rounding(classes, kappa):
    check(printed_half_width(kappa, classes), position_of(mp.exp(-kappa), classes))
    for safety in (1.0, 2.0, 50.0):
        loss = mp.log(classes) * mp.exp(-mp.mpf(kappa)) / safety
        s = box_half_width(kappa, classes, safety)
        check(s, position_of(loss, classes))
        assert escape_time(s, kappa, classes) == pytest.approx(
            1.0 + np.log(safety) / kappa, rel=1e-13
        )
    assert (escape_time(printed_half_width(kappa, classes), kappa, classes) < 1.0) == (classes == 2)


def test_speeds_and_norms_to_rounding():
    for loss in (1e-300, 1e-17, 1e-9, 0.01, 1.0, 30.0, 400.0):
        v = mp.mpf(loss)
        wrong = -mp.expm1(-v)
        check(least_speed(loss, 1.0), v / (2 * wrong), 4)
        norms = gradient_norms(loss)
        for found, factor in ((norms.inf, 1), (norms.one, 2), (norms.two, mp.sqrt(2))):
            check(found, factor * wrong, 4)
    assert least_speed(0.0, 3.0) == 1.5


def test_norms_and_the_bound_of_a_step_hold_for_cross_entropy(rng):
    """At scores of all sizes; the second derivative attains 1/2, so no smaller constant will do."""
    m, samples = 5, 400
    scores = rng.standard_normal((m, samples)) * 10.0 ** rng.uniform(-2, 1, samples)
    labels, v = rng.integers(0, m, samples), np.ones(m)
    y = LOSS.check_target(labels, m, samples)
    loss, g = LOSS.value_and_gradient(scores, y, v)
    norms = gradient_norms(loss)
    np.testing.assert_allclose(np.abs(g).max(axis=0), norms.inf, rtol=1e-14)
    np.testing.assert_allclose(np.abs(g).sum(axis=0), norms.one, rtol=1e-14)
    assert np.all(np.linalg.norm(g, axis=0) <= norms.two * (1 + 1e-14))
    for step in (0.01, 0.3, 2.0):
        f = rng.standard_normal((m, samples)) * 10.0 ** rng.uniform(-1, 1, samples)
        bound = euler_loss_bound(loss, (g * f).sum(axis=0), np.linalg.norm(f, axis=0), step)
        assert np.all(LOSS.value(scores + step * f, y, v) <= bound * (1 + 1e-14))
    tie, h = np.array([[0.0], [0.0], [-90.0]]), 1e-3
    f = np.array([[1.0], [-1.0], [0.0]])
    after = LOSS.value(tie + h * f, np.eye(3)[:, :1], np.ones(3))[0]
    bound = euler_loss_bound(np.log(2.0), -1.0, np.sqrt(2.0), h)
    assert after == pytest.approx(bound, abs=h**4)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_field_has_the_least_norm_and_its_derivatives_are_exact(classes, rng):
    labels = rng.integers(0, classes, 3)
    field = MinimalNormField(labels, classes, 2.5)
    states = 2.0 * rng.standard_normal((classes, 3))
    report = check_derivatives(field, state=states)
    assert report.ok, str(report)
    y, v = LOSS.check_target(labels, classes, 3), np.ones(classes)
    loss, g = LOSS.value_and_gradient(states, y, v)
    f = field.velocity(states, {}, 0.0)
    np.testing.assert_allclose(f, -2.5 * loss * g / (g * g).sum(axis=0), rtol=1e-13)
    np.testing.assert_allclose((g * f).sum(axis=0), -2.5 * loss, rtol=1e-13)
    ratio = np.abs(f).max(axis=0) / least_speed(loss, 2.5)
    assert np.all(ratio > 1 - 1e-14)
    if classes == 2:
        np.testing.assert_allclose(ratio, 1.0, rtol=1e-14)


def test_the_field_is_finite_however_small_and_large_the_loss_is():
    far = np.array([[800.0, -800.0, 1e5], [0.0, 1.0, 0.0], [0.0, 2.0, -1e5]])
    field = MinimalNormField(np.zeros(3), 3, 2.0)
    f = field.velocity(far, {}, 0.0)
    np.testing.assert_allclose(f[:, 0], 2.0 * np.array([1.0, -0.5, -0.5]) / 1.5, rtol=1e-15)
    np.testing.assert_allclose(f[:, 2], [1.0, -1.0, 0.0], rtol=1e-15)
    r = np.array([1.0, np.e]) / (1 + np.e)
    speed = 2.0 * (802.0 + np.log1p(np.exp(-1.0))) / (1 + r @ r)
    np.testing.assert_allclose(f[:, 1], speed * np.array([1.0, *-r]), rtol=1e-14)
    assert np.all(np.isfinite(field.vjp(far, {}, 0.0, np.ones((3, 3)))[0]))


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_flow_of_the_field_is_the_closed_form(classes):
    """From 0, with all wrong classes equal: V(t) and the margin 2 s(t) at all times."""
    kappa, times = 3.0, np.linspace(0.1, 1.0, 4)
    field = MinimalNormField(np.array([1]), classes, kappa)
    run = integrate(
        field,
        field.control(TimeMesh(1.0, 1)),
        np.zeros((classes, 1)),
        DOP853(rtol=1e-13, atol=1e-14),
        save=times,
    )
    states = run.trajectory.states[..., 0]
    target = np.eye(classes)[:, 1:2]
    loss = [LOSS.value(s[:, None], target, np.ones(classes))[0] for s in states]
    np.testing.assert_allclose(loss, exact_loss(times, kappa, classes), rtol=1e-10)
    margin = states[:, 1] - states[:, 0]
    np.testing.assert_allclose(margin, 2 * exact_position(times, kappa, classes), rtol=1e-10)


def test_the_field_in_a_problem():
    labels, start = np.array([0, 2, 1, 0]), np.zeros((3, 4))
    field = MinimalNormField(labels, 3, 2.0)
    problem = LearningProblem(field, start, labels, TimeMesh(1.0, 40), terminal=LOSS)
    value = discretize(problem, RK4()).value(problem.space.sample())
    assert value == pytest.approx(exact_loss(1.0, 2.0, 3), rel=1e-8)
    part = problem.batch([1, 3])
    assert discretize(part, RK4()).value(part.space.sample()) == pytest.approx(value, rel=1e-14)
    one = MinimalNormField([1], 3, 2.0)
    assert one.batch([0, 0]) is one
    assert "V g / |g|^2" in field.formula()


def test_lemma_2_holds_and_lemma_1_does_not(rng):
    """Lemma 2: a |x| <= |f(x)| <= A |x| and b |y| <= |h(y)| <= B |y| give a b |x| <= |h(f(x))| <=
    A B |x|.  Lemma 1 says that V of truncated cross-entropy lies between positive multiples of
    |eta - eta*|: but it is 0 on the whole line eta* + c 1, so the lower multiple is 0, and
    cross-entropy itself is positive at every eta*, so there the upper one is infinite.
    """
    bend = (Linear("v", 4), Pointwise(leaky_relu(0.5)))
    maps = {
        "inner": Chain(4, (Linear("w", 4),)),
        "outer": Chain(4, bend),
        "composed": Chain(4, (Linear("w", 4), *bend)),
    }
    c = {name: rng.standard_normal((4, 4)) for name in ("v", "w")}
    sines = {name: np.linalg.svd(c[name])[1] for name in c}
    points = rng.standard_normal((4, 500)) * 10.0 ** rng.uniform(-6, 6, 500)
    constants = {"inner": (sines["w"][-1], sines["w"][0])}
    constants["outer"] = (0.5 * sines["v"][-1], sines["v"][0])
    constants["composed"] = tuple(
        x * y for x, y in zip(constants["inner"], constants["outer"], strict=True)
    )
    for name, (low, high) in constants.items():
        ratio = np.linalg.norm(maps[name].velocity(points, c, 0.0), axis=0)
        ratio = ratio / np.linalg.norm(points, axis=0)
        assert np.all((ratio >= low * (1 - 1e-12)) & (ratio <= high * (1 + 1e-12))), name

    gamma, y, v = 0.1, np.eye(3)[:, 1:2], np.ones(3)
    best = np.array([[0.0], [5.0], [0.0]])
    for shift in 10.0 ** np.arange(4):
        moved = LOSS.value(best + shift, y, v)
        assert np.maximum(moved - gamma, 0.0) == 0.0
        assert moved == pytest.approx(LOSS.value(best, y, v), rel=1e-12)
    assert LOSS.value(best, y, v) > 0.0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: exact_loss(1.0, 0.0, 3), ValueError, "kappa must be finite and positive"),
        (lambda: exact_loss(-1.0, 1.0, 3), ValueError, "t must be >= 0"),
        (lambda: exact_position(1.0, -2.0, 3), ValueError, "kappa"),
        (lambda: margin_asymptote(1.0, 1.0, 1), ValueError, "classes must be at least 2"),
        (lambda: box_half_width(3.0, 10, 0.5), ValueError, "safety must be >= 1"),
        (lambda: printed_half_width(0.3, 2), ValueError, "kappa must exceed"),
        (lambda: wrong_corner_loss(np.nan, 2), ValueError, "half_width"),
        (lambda: escape_time(-1.0, 1.0, 2), ValueError, "half_width"),
        (lambda: least_speed(-1e-3, 1.0), ValueError, "loss"),
        (lambda: gradient_norms(np.inf), ValueError, "loss"),
        (lambda: euler_loss_bound(1.0, 0.0, -1.0, 0.1), ValueError, "speed"),
        (lambda: MinimalNormField(np.array([3]), 3, 1.0), ValueError, "labels 0, ..., 2"),
        (lambda: MinimalNormField(np.array([[1]]), 3, 1.0), ValueError, "labels must have shape"),
        (lambda: MinimalNormField(np.array([1]), 3, 0.0), ValueError, "kappa"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_state_of_other_samples_is_refused():
    field = MinimalNormField(np.array([1, 0]), 3, 1.0)
    with pytest.raises(ValueError, match="has 3 samples, the field has 2 labels"):
        integrate(field, field.control(TimeMesh(1.0, 2)), np.zeros((3, 3)), Euler())
