"""Admissible sets: nearest points by the variational inequality, support points by projections of
far points.
"""

import array_api_strict
import numpy as np
import pytest

from continuum import (
    Amplitude,
    Ball,
    Box,
    Circle,
    Control,
    ConvexHull,
    Convolution,
    FiniteSet,
    Interval,
    L1Ball,
    LearningProblem,
    NormBall,
    Pairs,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    periodic,
    tanh,
)
from continuum.admissible import AdmissibleSet
from continuum.arrays import to_host

GRID = gauss_legendre(Interval(0, 2), 4)
NETWORK = WidthDepth(GRID, tanh)
MESH = TimeMesh(2.0, 3)
SPACE = NETWORK.controls(MESH)
CONVEX = {
    "box": Box(bias=(-0.5, 0.25), kernel=(0.1, 2.0)),
    "disc": Ball(0.8),
    "L1": L1Ball(bias=0.9, kernel=0.7),
    "norm": NormBall(bias=0.4, kernel=1.1),
    "amplitude": Amplitude(0.9),
    "polygon": ConvexHull([(-0.4, -0.2), (0.1, -0.7), (0.5, 0.1), (0.3, 0.4), (-0.4, 0.3)]),
    "segment": ConvexHull([(-0.5, 0.7), (0.25, -0.5)]),
    "product": L1Ball(kernel=0.7) & Box(bias=(-1, 0)),
}
FINITE = FiniteSet(bias=(-1, 0.5), kernel=(1, -1, 0))
EVERY = pytest.mark.parametrize("admissible", CONVEX.values(), ids=CONVEX.keys())


def support_point(admissible, gradient, tie):
    """A point of the set that maximises (gradient, x), as a control."""
    return tie.replaced(**admissible.support(gradient, tie, gradient.space))


@EVERY
def test_nearest_point_of_a_convex_set(admissible, rng):
    """Px lies in A and (x - Px, z - Px) <= 0 for all z in A: that characterises it."""
    admissible.check(SPACE)
    inside = [
        admissible.project(SPACE.random(rng, s))
        for s in (0.01, 0.3, 1.0, 3.0, 30.0)
        for _ in range(60)
    ]
    for scale in (0.1, 0.5, 1.0, 2.0, 10.0):
        x = SPACE.random(rng, scale)
        p = admissible.project(x)
        assert admissible.contains(p, 1e-12)
        along = [
            Control(SPACE, {**x, "bias": (1 + s) * x["bias"]}) for s in (-0.1, -0.01, 0.01, 0.1)
        ]
        near = [admissible.project(y) for y in along]
        near += [
            admissible.project(p + SPACE.random(rng, s))
            for s in (1e-3, 0.03, 0.3)
            for _ in range(20)
        ]
        assert max(SPACE.inner(x - p, z - p) for z in inside + near) <= 1e-11 * (
            1 + SPACE.norm(x - p)
        )
        again = admissible.project(p)
        assert SPACE.norm(again - p) <= 1e-12
        if not admissible.contains(x):
            assert SPACE.norm(x - p) > 1e-3


@EVERY
def test_points_inside_stay(admissible, rng):
    x = admissible.project(SPACE.random(rng, 0.01))
    y = admissible.project(SPACE.random(rng, 5.0))
    middle = 0.5 * (x + y)
    for name, value in admissible.project(middle).items():
        np.testing.assert_allclose(value, middle[name], rtol=0, atol=1e-14)


@EVERY
def test_support_point_is_where_far_points_are_projected(admissible, rng):
    """(g, s) >= (g, z) for all z in A, and s = lim P(t g): P(t g) has (g, P(t g)) >= (g, s) - O(1 /
    t).
    """
    for _ in range(10):
        g, tie = SPACE.random(rng), admissible.project(SPACE.random(rng))
        s = support_point(admissible, g, tie)
        assert admissible.contains(s, 1e-12)
        best = SPACE.inner(g, s)
        others = [
            admissible.project(SPACE.random(rng, scale))
            for scale in (0.3, 1.0, 10.0)
            for _ in range(20)
        ]
        assert max(SPACE.inner(g, z) for z in others) < best
        assert SPACE.inner(g, admissible.project(1e6 * g)) == pytest.approx(best, rel=1e-5)
        assert (
            SPACE.inner(g, admissible.project(1e6 * g)) <= best + 1e-8
        )  # entries of 1e6 leave rounding of 1e-10


@EVERY
def test_ties_stay_as_they_were(admissible, rng):
    tie = admissible.project(SPACE.random(rng))
    still = support_point(admissible, SPACE.zeros(), tie)
    for name in tie:
        np.testing.assert_array_equal(still[name], tie[name])


def test_the_disc_where_parts_of_the_gradient_vanish(rng):
    disc, tie = Ball(), SPACE.sample(bias=0.2, kernel=0.9)
    g = SPACE.random(rng)
    kernel = np.array(g["kernel"])
    kernel[..., 2] = 0.0
    s = support_point(disc, Control(SPACE, {"bias": g["bias"], "kernel": kernel}), tie)
    assert disc.contains(s, 1e-14)
    room = np.sqrt(1 - s["bias"] ** 2)
    np.testing.assert_allclose(s["kernel"][..., 2], np.minimum(0.9, room), rtol=0, atol=1e-14)
    s = support_point(disc, Control(SPACE, {"bias": 0 * g["bias"], "kernel": g["kernel"]}), tie)
    np.testing.assert_allclose(np.abs(s["kernel"]), 1.0, rtol=0, atol=1e-15)
    s = support_point(disc, Control(SPACE, {"bias": g["bias"], "kernel": 0 * g["kernel"]}), tie)
    np.testing.assert_array_equal(s["bias"], np.sign(g["bias"]))
    np.testing.assert_allclose(s["kernel"], 0.0, rtol=0, atol=1e-15)


def test_nearest_point_of_the_disc_against_brute_force():
    """One unit, one column: the nearest point of the plane's disc; weights of two columns move the
    bias.
    """
    grid = gauss_legendre(Interval(0, 1), 1)
    space = WidthDepth(grid, tanh).controls(TimeMesh(1.0, 1))
    p = Ball().project(space.sample(bias=3.0, kernel=-4.0))
    np.testing.assert_allclose(
        [p["bias"].item(), p["kernel"].item()], [0.6, -0.8], rtol=0, atol=1e-14
    )
    p = Ball().project(space.sample(bias=0.0, kernel=-4.0))
    np.testing.assert_allclose(
        [p["bias"].item(), p["kernel"].item()], [0.0, -1.0], rtol=0, atol=1e-14
    )
    p = Ball().project(space.sample(bias=-4.0, kernel=0.0))
    np.testing.assert_allclose(
        [p["bias"].item(), p["kernel"].item()], [-1.0, 0.0], rtol=0, atol=1e-7
    )
    w, a, b = SPACE.blocks[1].last, 0.9, np.array([0.7, -1.2, 0.1, 0.5])
    s = np.linspace(0, 1, 2_000_001)[:-1]
    gap = (s - a) ** 2 + sum(
        w[j] * np.maximum(abs(b[j]) - np.sqrt(1 - s * s), 0) ** 2 for j in range(4)
    )
    p = Ball().project(SPACE.sample(bias=a, kernel=np.tile(b, (4, 1))))
    np.testing.assert_allclose(p["bias"], s[np.argmin(gap)], rtol=0, atol=1e-6)


def test_LM51_extremal_preactivations():
    """T^+- = max, min over A of a - int b f, with f = y - 0.3 on (0, 1), whose kink is aligned with
    a panel.
    """
    grid = gauss_legendre(Interval(0, 1), 2, panels=10)
    network = WidthDepth(grid, tanh)
    space = network.controls(TimeMesh(1.0, 1))
    f = grid.sample(lambda y: y - 0.3)
    g = space.sample(bias=1.0, kernel=np.ones((20, 1)) * -f[:, 0])
    for admissible, high, low in (
        (Ball(), 1.0412012293500235, -1.0412012293500235),
        (Box(bias=(-1, 2), kernel=(-0.5, 3)), 2.2575, -1.7575),
        (Box(bias=(0, 0)) & FiniteSet(kernel=(-1, 1)), 0.29, -0.29),
    ):
        for sign, want in ((1.0, high), (-1.0, low)):
            c = support_point(admissible, sign * g, space.zeros())
            u = c["bias"][0] - c["kernel"][0] @ (grid.weights * f[:, 0])
            np.testing.assert_allclose(u, want, rtol=0, atol=1e-13)


def test_the_nearest_value_of_a_finite_set(rng):
    x = SPACE.random(rng, 2.0)
    p = FINITE.project(x)
    for name, values in (("bias", [-1.0, 0.5]), ("kernel", [-1.0, 0.0, 1.0])):
        values = np.array(values)
        want = values[np.argmin(np.abs(x[name][..., None] - values), axis=-1)]
        np.testing.assert_array_equal(p[name], want)
    assert FINITE.contains(p)
    assert not FINITE.contains(p + SPACE.sample(bias=0.1))
    assert not FINITE.convex
    middle = FINITE.project(SPACE.sample(bias=-0.25, kernel=0.5))
    assert np.all(middle["bias"] == -1.0)
    assert np.all(middle["kernel"] == 0.0)
    g = SPACE.random(rng)
    s = support_point(FINITE, g, p)
    np.testing.assert_array_equal(s["kernel"], np.sign(g["kernel"]))
    np.testing.assert_array_equal(s["bias"], np.where(g["bias"] > 0, 0.5, -1.0))


def test_violation_is_by_how_much():
    x = SPACE.sample(bias=0.5, kernel=0.75)
    assert Box(bias=(-1, 0.4)).violation(x) == pytest.approx(0.1, abs=1e-15)
    assert Ball(0.8).violation(x) == pytest.approx((0.25 + 0.5625) ** 0.5 - 0.8, abs=1e-14)
    assert L1Ball(kernel=1.0).violation(x) == pytest.approx(2 * 0.75 - 1.0, abs=1e-14)
    assert NormBall(bias=0.5).violation(x) == pytest.approx(
        (2.0 * 2.0 * 0.25) ** 0.5 - 0.5, abs=1e-14
    )
    assert FiniteSet(bias=(0, 1)).violation(x) == 0.5
    both = Box(bias=(-1, 0.4)) & L1Ball(kernel=1.0)
    assert both.violation(x) == pytest.approx(0.5, abs=1e-14)
    assert not both.contains(x, 0.499)
    assert both.contains(x, 0.501)


def test_products_and_their_parts():
    product = Box(bias=(-1, 2)) & FiniteSet(kernel=(-1, 0, 1))
    assert str(product) == "Box(bias=(-1, 2)) & FiniteSet(kernel=(-1, 0, 1))"
    assert product.named(SPACE) == ("bias", "kernel")
    assert product.bounded
    assert product.pointwise
    assert not product.convex
    assert not (NormBall(kernel=1.0) & Box(bias=(0, 1))).pointwise
    assert not Box(bias=(0, np.inf)).bounded
    assert not (Box(bias=(0, np.inf)) & L1Ball(kernel=1.0)).bounded
    assert str(product.only(["bias"], SPACE)) == "Box(bias=(-1, 2))"
    assert str(Box(bias=(0, 1), kernel=(0, 2)).only(["kernel"], SPACE)) == "Box(kernel=(0, 2))"
    assert str(L1Ball(bias=1, kernel=2).only(["bias"], SPACE)) == "L1Ball(bias=1)"
    assert str(NormBall(bias=1, kernel=2).only(["bias"], SPACE)) == "NormBall(bias=1)"
    assert str(FINITE.only(["bias"], SPACE)) == "FiniteSet(bias=(-1, 0.5))"
    assert product.only(["readout.W"], SPACE) is None
    disc = Ball(2.0)
    assert disc.only(["kernel", "bias"], SPACE) is disc
    assert str(disc) == "Ball(2, 'bias', 'kernel')"
    with pytest.raises(TypeError, match="couples bias, kernel: it cannot be met by kernel alone"):
        disc.only(["kernel"], SPACE)


def test_blocks_a_set_does_not_name_are_free(rng):
    x = SPACE.random(rng)
    np.testing.assert_array_equal(NormBall(kernel=0.1).project(x)["bias"], x["bias"])


@pytest.mark.parametrize("in_time", ["layers", "static"])
def test_axes_in_time(in_time, rng):
    space = NETWORK.controls(MESH, in_time=in_time)
    for kind, admissible in {**CONVEX, "finite": FINITE}.items():
        if kind == "amplitude" and in_time == "static":
            continue
        admissible.check(space)
        x = space.random(rng, 3.0)
        assert admissible.contains(admissible.project(x), 1e-12)
        assert admissible.contains(support_point(admissible, x, admissible.project(x)), 1e-12)


def test_another_array_library(rng):
    def strict(control):
        return Control(
            control.space,
            {n: array_api_strict.asarray(x) for n, x in control.items()},
            trusted=True,
        )

    x, g = SPACE.random(rng), SPACE.random(rng)
    for admissible in (*CONVEX.values(), FINITE, Pairs([(0, 1), (1, -2), (1, 0)])):
        for got, want in (
            (admissible.project(strict(x)), admissible.project(x)),
            (support_point(admissible, strict(g), strict(x)), support_point(admissible, g, x)),
        ):
            for name in want:
                np.testing.assert_allclose(to_host(got[name]), want[name], rtol=0, atol=1e-13)
        assert admissible.violation(strict(x)) == pytest.approx(admissible.violation(x), abs=1e-13)


CIRCLE = WidthDepth(periodic(Circle(), 4), tanh, Convolution())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Box(bias=(1, 0)), "bounds of bias must be a pair"),
        (lambda: Box(bias=(np.nan, 0)), "bounds of bias must be a pair"),
        (lambda: Box(bias=(np.inf, np.inf)), "bounds of bias must be a pair"),
        (lambda: Box(bias=("a", "b")), "bounds of bias must be a pair"),
        (lambda: Ball(0.0), "radius must be finite and positive"),
        (lambda: L1Ball(kernel=-1.0), "radius of kernel must be finite and positive"),
        (lambda: NormBall(kernel=np.inf), "radius of kernel must be finite and positive"),
        (lambda: FiniteSet(kernel=()), "values of kernel must be a few finite numbers"),
        (lambda: FiniteSet(kernel=(0, np.nan)), "values of kernel must be a few finite numbers"),
        (lambda: FiniteSet(bias=((0, 1), (1, -2))), "values of bias must be a few finite numbers"),
        (
            (lambda: (Box(bias=(0, 1)) & L1Ball(bias=1.0)).check(SPACE)),
            "two sets name the same block: bias",
        ),
        (lambda: Box(bias=(0, 1)) & 3, "unsupported operand"),
        (lambda: Box(bais=(0, 1)).check(SPACE), "Did you mean 'bias'"),
        (lambda: (Box(bias=(0, 1)) & NormBall(kernal=1)).check(SPACE), "Did you mean 'kernel'"),
        (
            lambda: L1Ball(kernel=1.0).check(NETWORK.controls(MESH, in_time="nodes")),
            "L1Ball on 'kernel' needs in_time",
        ),
        (
            lambda: NormBall(bias=1.0).check(NETWORK.controls(MESH, fixed={"bias": 0.0})),
            "unknown block 'bias'",
        ),
        (lambda: Ball(1.0, "kernel", "bias").check(SPACE), r"a Ball pairs a bias \(N,\)"),
        (lambda: Ball().check(CIRCLE.controls(MESH)), r"a Ball pairs a bias \(N,\)"),
        (lambda: AdmissibleSet(), "abstract"),
        (
            lambda: LearningProblem(
                NETWORK, np.ones((4, 1)), np.ones((4, 1)), MESH, admissible=Box(readout=(0, 1))
            ),
            "unknown block 'readout'",
        ),
    ],
)
def test_bad_input(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
