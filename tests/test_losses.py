"""Losses: values by hand, derivatives by Taylor, targets that do not fit refused."""

import array_api_strict
import mpmath
import numpy as np
import pytest

from continuum import AbsoluteError, CrossEntropy, Logistic, PowerError, SquaredError
from continuum.arrays import to_host
from continuum.losses import Loss

V = np.array([0.2, 0.5, 0.3])


def by_sample(weight):
    return AbsoluteError(weight, groups="sample")


def truncated(weight):
    return CrossEntropy(weight, truncation=1.2)


TARGETS = {
    SquaredError: lambda rng: rng.standard_normal((3, 4)),
    AbsoluteError: lambda rng: rng.standard_normal((3, 4)),
    by_sample: lambda rng: rng.standard_normal((3, 4)),
    Logistic: lambda rng: rng.uniform(size=(3, 4)),
    CrossEntropy: lambda rng: (lambda p: p / p.sum(axis=0))(rng.uniform(size=(3, 4))),
    truncated: lambda rng: (lambda p: p / p.sum(axis=0))(rng.uniform(size=(3, 4))),
    PowerError: lambda rng: rng.standard_normal((3, 4)),
}
EVERY = pytest.mark.parametrize("kind", TARGETS, ids=lambda k: k.__name__)


@EVERY
def test_taylor(kind, rng):
    """loss(o + h d) has derivative (g, d)_v and second derivative (H d, d)_v, by central
    differences of order 4.
    """
    loss, y = kind(1.7), TARGETS[kind](rng)
    o, d = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    h, v = 5e-4, V[:, None]

    def along(s):
        return loss.value(o + s * d, y, V)

    def slope(s):
        return np.sum(v * loss.gradient(o + s * d, y, V) * d, axis=0)

    first = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    np.testing.assert_allclose(slope(0.0), first, rtol=0, atol=1e-10)
    second = (8 * (slope(h) - slope(-h)) - (slope(2 * h) - slope(-2 * h))) / (12 * h)
    np.testing.assert_allclose(
        np.sum(v * loss.hvp(o, y, V, d) * d, axis=0), second, rtol=0, atol=1e-10
    )


def test_values_by_hand(rng):
    o, y = rng.standard_normal((3, 4)), rng.uniform(size=(3, 4))
    v = V[:, None]
    np.testing.assert_allclose(
        SquaredError(2.0).value(o, y, V), 2 * np.sum(v * (o - y) ** 2, axis=0), rtol=1e-14
    )
    np.testing.assert_allclose(
        AbsoluteError(2.0).value(o, y, V), 2 * np.sum(v * abs(o - y), axis=0), rtol=1e-14
    )
    length = np.sqrt(np.sum(v * (o - y) ** 2, axis=0))
    np.testing.assert_allclose(by_sample(2.0).value(o, y, V), 2 * length, rtol=1e-14)
    np.testing.assert_allclose(by_sample(2.0).gradient(o, y, V), 2 * (o - y) / length, rtol=1e-14)
    s = 1 / (1 + np.exp(-o))
    entropy = -np.sum(v * (y * np.log(s) + (1 - y) * np.log(1 - s)), axis=0)
    np.testing.assert_allclose(Logistic(2.0).value(o, y, V), 2 * entropy, rtol=1e-13)
    p = np.exp(o) / np.exp(o).sum(axis=0)
    columns = y / y.sum(axis=0)
    want = -2 * np.sum(columns * np.log(p), axis=0)
    np.testing.assert_allclose(CrossEntropy(2.0).value(o, columns, np.ones(3)), want, rtol=1e-13)


def test_a_residual_of_any_size():
    """Where a sample's residual is 0 the derivatives given are 0; no square over- or underflows."""
    y = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    o = np.array([[0.0, 3e200, 3e-200], [0.0, 4e200, 4e-200]])
    v, d = np.ones(2), np.ones((2, 3))
    loss = AbsoluteError(groups="sample")
    np.testing.assert_allclose(loss.value(o, y, v), [0.0, 5e200, 5e-200], rtol=1e-15)
    np.testing.assert_allclose(loss.gradient(o, y, v)[:, 0], 0.0, atol=0)
    np.testing.assert_allclose(loss.gradient(o, y, v)[:, 1:], [[0.6] * 2, [0.8] * 2], rtol=1e-15)
    np.testing.assert_array_equal(loss.hvp(o, y, v, d)[:, 0], 0.0)
    np.testing.assert_allclose(loss.hvp(o, y, v, d)[:, 2] * 5e-200, [0.16, -0.12], rtol=1e-13)


def test_powers_by_hand(rng):
    """Below alpha = 1 the gradient is continuous and its derivative is not bounded: 0 is given."""
    y, v = np.zeros((2, 3)), np.array([2.0, 3.0])
    o = np.array([[0.0, 4.0, -4.0], [0.0, 0.25, 1e-300]])
    loss = PowerError(0.5)
    want = [0.0, (2 * 8 + 3 * 0.125) / 1.5, 2 * 8 / 1.5]
    np.testing.assert_allclose(loss.value(o, y, v), want, rtol=1e-15)
    slopes = [[0.0, 2.0, -2.0], [0.0, 0.5, 1e-150]]
    np.testing.assert_allclose(loss.gradient(o, y, v), slopes, rtol=1e-13)
    bends = [[0.0, 0.25, 0.25], [0.0, 1.0, 0.5e150]]
    np.testing.assert_allclose(loss.hvp(o, y, v, np.ones((2, 3))), bends, rtol=1e-13)
    o, do = rng.standard_normal((2, 3, 4))
    square, same = SquaredError(), PowerError(1.0)
    y = TARGETS[SquaredError](rng)
    y[0] = o[0]
    np.testing.assert_allclose(same.value(o, y, V), square.value(o, y, V), rtol=1e-14)
    np.testing.assert_allclose(same.gradient(o, y, V), square.gradient(o, y, V), rtol=1e-14)
    np.testing.assert_array_equal(same.hvp(o, y, V, do), square.hvp(o, y, V, do))


def test_truncation_cuts_at_its_edge():
    """gamma below the entropy is taken off; at the edge and below it all derivatives are 0."""
    v, d = np.ones(2), np.ones((2, 3))
    d[1] = -1.0
    o = np.array([[0.0, 0.0, 3.0], [0.0, 1.0, 0.0]])
    y = np.eye(2)[:, [0, 0, 0]]
    entropy = CrossEntropy().value(o, y, v)
    edge = CrossEntropy(truncation=float(entropy[0]))
    np.testing.assert_array_equal(edge.value(o, y, v), np.maximum(0.0, entropy - entropy[0]))
    cut = np.array([0.0, 1.0, 0.0])
    np.testing.assert_array_equal(edge.gradient(o, y, v), cut * CrossEntropy().gradient(o, y, v))
    np.testing.assert_array_equal(edge.hvp(o, y, v, d), cut * CrossEntropy().hvp(o, y, v, d))
    half = CrossEntropy(0.5, truncation=0.1)
    np.testing.assert_allclose(half.value(o, y, v), 0.5 * np.maximum(0, entropy - 0.1), rtol=1e-15)


def test_large_scores_do_not_overflow():
    o, v = np.array([[800.0, -800.0]]), np.ones(1)
    y = np.array([[0.0, 1.0]])
    np.testing.assert_allclose(Logistic().value(o, y, v), 800.0, rtol=1e-15)
    np.testing.assert_allclose(Logistic().gradient(o, y, v), [[1.0, -1.0]], rtol=1e-15)
    o = np.array([[800.0, -800.0], [0.0, 0.0]])
    y = np.array([[0.0, 1.0], [1.0, 0.0]])
    np.testing.assert_allclose(CrossEntropy().value(o, y, np.ones(2)), 800.0, rtol=1e-15)
    np.testing.assert_allclose(
        CrossEntropy().gradient(o, y, np.ones(2)), [[1, -1], [-1, 1]], rtol=1e-15
    )


def test_labels_are_columns_of_the_identity():
    found = CrossEntropy().check_target(np.array([2, 0, 1, 2]), 3, 4)
    np.testing.assert_array_equal(found, np.eye(3)[:, [2, 0, 1, 2]])
    np.testing.assert_array_equal(CrossEntropy().check_target([2, 0, 1, 2], 3, 4), found)
    np.testing.assert_array_equal(CrossEntropy().check_target(found, 3, 4), found)


def test_absolute_error_at_the_kink():
    assert AbsoluteError().gradient(np.ones((1, 1)), np.ones((1, 1)), np.ones(1)) == 0.0


def test_formulas():
    assert SquaredError(0.5).formula("f(T)") == "0.5 |f(T) - target|^2"
    assert AbsoluteError(2).formula("f(T)") == "2 |f(T) - target|_1"
    assert by_sample(2).formula("f(T)") == "2 |f(T) - target|"
    assert Logistic().formula("O") == "1 sum_i v_i (log(1 + exp o_i) - target_i o_i), o = O"
    assert PowerError(0.5).formula("f(T)") == "|f(T) - target|_1.5^1.5 / 1.5"
    entropy = "log sum_c exp o_c - sum_c target_c o_c"
    assert truncated(2).formula("O") == f"2 max(0, {entropy} - 1.2), o = O"
    assert CrossEntropy().formula("O") == "1 (log sum_c exp o_c - sum_c target_c o_c), o = O"


@EVERY
def test_another_array_library(kind, rng):
    strict = array_api_strict.asarray
    loss, y, o, d = (
        kind(1.7),
        TARGETS[kind](rng),
        rng.standard_normal((3, 4)),
        rng.standard_normal((3, 4)),
    )
    checked = loss.check_target(strict(y), 3, 4)
    for got, want in (
        (loss.value(strict(o), checked, strict(V)), loss.value(o, y, V)),
        (loss.gradient(strict(o), checked, strict(V)), loss.gradient(o, y, V)),
        (loss.hvp(strict(o), checked, strict(V), strict(d)), loss.hvp(o, y, V, d)),
    ):
        np.testing.assert_allclose(to_host(got), want, rtol=0, atol=1e-14)


COLUMNS = np.full((3, 4), 1 / 3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AbsoluteError(0.0), "weight must be finite and positive"),
        (lambda: AbsoluteError(groups="rows"), "unknown groups 'rows'. Accepted: 'entries', 'samp"),
        (lambda: Logistic("much"), "weight must be a real number"),
        (lambda: PowerError(0.0), "alpha must be finite and positive"),
        (lambda: CrossEntropy(truncation=0.0), "truncation must be finite and positive"),
        (lambda: CrossEntropy(truncation=-0.5), "truncation must be finite and positive"),
        (
            lambda: SquaredError().check_target(COLUMNS.T, 3, 4),
            r"target has shape \(4, 3\), expected \(3, 4\); its tr",
        ),
        (
            lambda: SquaredError().check_target(np.ones(3), 3, 1),
            r"for a single sample write target\[:, None\]",
        ),
        (
            lambda: Logistic().check_target(COLUMNS - 0.5, 3, 4),
            r"target must lie in \[0, 1\] for Logistic\(\)",
        ),
        (lambda: Logistic().check_target(COLUMNS + 1.0, 3, 4), r"target must lie in \[0, 1\]"),
        (
            lambda: CrossEntropy().check_target(np.array([0, 1, 3, 2]), 3, 4),
            "labels 0, ..., 2, one of them is 3",
        ),
        (lambda: CrossEntropy().check_target(np.array([0, -1, 1, 2]), 3, 4), "one of them is -1"),
        (lambda: CrossEntropy().check_target(np.array([0, 0.5, 1, 2]), 3, 4), "one of them is 0.5"),
        (lambda: CrossEntropy().check_target(np.array([0, 1]), 3, 4), r"target has shape \(2,\)"),
        (lambda: CrossEntropy().check_target(2 * COLUMNS, 3, 4), "whose columns sum to 1"),
        (
            lambda: CrossEntropy().check_target(COLUMNS - [[0.5], [-0.5], [0]], 3, 4),
            "whose columns sum to 1",
        ),
        (
            lambda: CrossEntropy().check_target(np.array(["a", "b"]), 3, 2),
            "target must be real numbers",
        ),
        (lambda: Loss(), "abstract"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def digits(o, y, do, kind):
    """Value, gradient and hvp of Logistic (v = 1) or CrossEntropy for (P,) arrays, by mpmath."""
    with mpmath.workdps(400):
        o, y, do = ([mpmath.mpf(float(x)) for x in given] for given in (o, y, do))
        if kind is Logistic:
            p = [1 / (1 + mpmath.exp(-x)) for x in o]
            terms = ((q, t) for q, t in zip(p, y, strict=True))
            value = -mpmath.fsum(t * mpmath.log(q) + (1 - t) * mpmath.log(1 - q) for q, t in terms)
            hvp = [q * (1 - q) * d for q, d in zip(p, do, strict=True)]
        else:
            total = mpmath.fsum(map(mpmath.exp, o))
            p = [mpmath.exp(x) / total for x in o]
            value = -mpmath.fsum(t * mpmath.log(q) for q, t in zip(p, y, strict=True))
            mean = mpmath.fsum(q * d for q, d in zip(p, do, strict=True))
            hvp = [q * (d - mean) for q, d in zip(p, do, strict=True)]
        gradient = [q - t for q, t in zip(p, y, strict=True)]
        return float(value), np.array(gradient, dtype=float), np.array(hvp, dtype=float)


SCORES = [
    (np.array([40.0] + [0.0] * 9), np.eye(10)[0]),  # log(1 + 9 e^-40) = 3.8e-17
    (np.array([40.0] + [0.0] * 9), np.eye(10)[3]),
    (np.array([-700.0, 0.0, -31.6]), np.array([0.0, 1.0, 0.0])),
    (np.array([1e-9, 0.0]), np.array([0.0, 1.0])),
    (np.array([90.0, 90.0, 1.0]), np.array([0.25, 0.75, 0.0])),
    (np.array([300.0, -200.0, 299.0]), np.array([0.5, 0.25, 0.25])),
]


@pytest.mark.parametrize(("o", "y"), SCORES)
@pytest.mark.parametrize("kind", [Logistic, CrossEntropy])
def test_relative_accuracy_however_certain(kind, o, y):
    do = np.linspace(-1.0, 2.0, len(o)) ** 3 + 0.1
    loss, v, columns = kind(), np.ones(len(o)), (o[:, None], y[:, None])
    value, gradient, hvp = digits(o, y, do, kind)
    np.testing.assert_allclose(loss.value(*columns, v)[0], value, rtol=1e-12, atol=0)
    np.testing.assert_allclose(loss.gradient(*columns, v)[:, 0], gradient, rtol=1e-12, atol=0)
    np.testing.assert_allclose(
        loss.hvp(*columns, v, do[:, None])[:, 0], hvp, rtol=1e-12, atol=1e-307
    )


def test_infinite_and_huge_scores():
    for far in (np.inf, 1e307):
        o, right, wrong = np.array([[far], [0.0]]), np.array([[1.0], [0.0]]), np.array([[0.0], [1]])
        v, cross, logistic = np.ones(2), CrossEntropy(), Logistic()
        assert cross.value(o, right, v) == 0.0
        assert cross.value(o, wrong, v) == far
        np.testing.assert_array_equal(cross.gradient(o, right, v), 0.0)
        np.testing.assert_array_equal(cross.gradient(o, wrong, v), [[1.0], [-1.0]])
        np.testing.assert_array_equal(cross.hvp(o, wrong, v, np.ones((2, 1))), 0.0)
        for sign, y in ((1.0, right), (-1.0, wrong)):
            np.testing.assert_allclose(logistic.value(sign * o, y, v), np.log(2.0), rtol=1e-15)
            np.testing.assert_allclose(
                logistic.gradient(sign * o, y, v), [[0.0], [0.5 - y[1, 0]]], rtol=1e-15
            )
        assert logistic.value(-o, right, v) == far
        assert cross.value(-o, right, v) == far
    assert np.isnan(cross.value(np.array([[np.nan], [0.0]]), right, v))
    assert np.isnan(logistic.value(np.array([[np.nan], [0.0]]), right, v))


@EVERY
def test_many_points_at_once(kind, rng):
    """Outputs (L, P, M), with one target or one of each point, give what each gives alone."""
    loss = kind(1.7)
    assert loss.broadcasts
    assert not Loss.broadcasts
    o, do = rng.standard_normal((2, 5, 3, 4))
    o[2] *= 40.0  # where one probability is nearly 1
    for y in (TARGETS[kind](rng), np.stack([TARGETS[kind](rng) for _ in range(5)])):
        each = np.broadcast_to(y, o.shape)
        for together, alone in (
            (loss.value(o, y, V), lambda n, y=each: loss.value(o[n], y[n], V)),
            (loss.gradient(o, y, V), lambda n, y=each: loss.gradient(o[n], y[n], V)),
            (loss.hvp(o, y, V, do), lambda n, y=each: loss.hvp(o[n], y[n], V, do[n])),
        ):
            expected = np.stack([alone(n) for n in range(5)])
            np.testing.assert_allclose(together, expected, rtol=1e-14, atol=1e-300)
