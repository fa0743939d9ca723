"""Many starts: minimisers counted once up to symmetry, and symmetries that are what they say."""

from dataclasses import dataclass

import numpy as np
import pytest

from continuum import (
    Box,
    Interval,
    LearningProblem,
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
    GradientDescent,
    discretize,
    minimize,
    multistart,
    symmetries,
)

HALVES = midpoint(Interval(0, 1), 2)
MESH = TimeMesh(2.0, 3)
SPACE = WidthDepth(HALVES, tanh).controls(TimeMesh(1.0, 1), fixed={"kernel": 0.0})


@dataclass(frozen=True, eq=False)
class Wells:
    """J = sum_i (x_i^2 - 1)^2 / 4 + tilt x_1 / 10: four minima, in flat coordinates."""

    tilt: float = 0.0
    space: object = SPACE

    def value(self, control):
        x = self.space.flatten(control)
        return float(np.sum((x * x - 1) ** 2) / 4 + 0.1 * self.tilt * x[0])

    def value_and_gradient(self, control):
        x = self.space.flatten(control)
        slope = (x * x - 1) * x
        slope[0] += 0.1 * self.tilt
        return self.value(control), self.space.unflatten(slope)


def flip(unit):
    def image(x):
        flat = x.space.flatten(x).copy()
        flat[unit] *= -1
        return x.space.unflatten(flat)

    return image


def swap(x):
    return x.space.unflatten(x.space.flatten(x)[::-1].copy())


METHOD = LBFGS(gtol=1e-8)


def test_four_wells_are_found_and_counted():
    found = multistart(Wells(), METHOD, 40, rng=np.random.default_rng(3), scale=2.0)
    assert len(found.clusters) == 4
    assert sum(c.count for c in found.clusters) == 40
    assert sorted(i for c in found.clusters for i in c.starts) == list(range(40))
    assert not found.failed
    ends = {tuple(np.sign(SPACE.flatten(c.best.control))) for c in found.clusters}
    assert ends == {(1, 1), (1, -1), (-1, 1), (-1, -1)}
    assert found.best.objective < 1e-14


@pytest.mark.parametrize(
    ("tilt", "symmetries", "count"),
    [
        (0.0, [flip(0)], 2),
        (0.0, [flip(0), flip(1)], 1),
        (0.0, [swap], 3),
        (0.0, [swap, flip(0)], 1),
        (1.0, [], 4),
        (1.0, [flip(1)], 2),
    ],
)
def test_symmetries_join_clusters(tilt, symmetries, count):
    found = multistart(
        Wells(tilt), METHOD, 40, rng=np.random.default_rng(3), scale=2.0, symmetries=symmetries
    )
    assert len(found.clusters) == count
    values = [c.best.objective for c in found.clusters]
    assert values == sorted(values)
    for cluster in found.clusters:
        assert 0 <= cluster.spread < 1e-12
    if tilt:  # the tilted wells: x^3 - x + 0.1 = 0 near -1 and near 1
        roots = np.sort(np.roots([1, 0, -1, 0.1]))
        low, high = ((x * x - 1) ** 2 / 4 + 0.1 * x for x in roots[[0, 2]])
        np.testing.assert_allclose(values[:: len(values) // 2], [low, high], rtol=0, atol=1e-12)


def test_runs_are_reproducible_and_starts_can_be_given():
    a, b = (multistart(Wells(), METHOD, 6, rng=np.random.default_rng(11)) for _ in range(2))
    assert [c.starts for c in a.clusters] == [c.starts for c in b.clusters]
    start = SPACE.sample(bias=0.5)
    found = multistart(Wells(), METHOD, [start, -1.0 * start, start])
    assert sorted(c.starts for c in found.clusters) == [(0, 2), (1,)]
    assert found.best.objective == minimize(Wells(), METHOD, initial=start).objective


def test_runs_that_fail_are_in_no_cluster():
    found = multistart(Wells(), GradientDescent(gtol=1e-14, max_iterations=1), 3)
    assert sorted(found.failed) == [0, 1, 2]
    assert not found.clusters
    with pytest.raises(ValueError, match="no run converged"):
        _ = found.best


def halves(activation=tanh, target=((1.2,), (0.0,)), grid=HALVES, controls=MESH, **more):
    initial = np.zeros((len(grid), 1))
    return LearningProblem(
        WidthDepth(grid, activation), initial, np.array(target), controls, **more
    )


def test_a_flip_leaves_the_flow_but_for_its_sign(rng):
    problem = halves(penalty=Tikhonov(0.1), admissible=Box(bias=(-1, 1), kernel=(-1, 1)))
    (symmetry,) = symmetries(problem, exchanges=False)
    x = problem.space.random(rng)
    image = symmetry(x)
    assert discretize(problem).value(image) == pytest.approx(
        discretize(problem).value(x), rel=1e-14
    )
    np.testing.assert_array_equal(image["bias"], x["bias"] * [1, -1])
    np.testing.assert_array_equal(image["kernel"], x["kernel"] * [[1, -1], [-1, 1]])
    for name, again in symmetry(image).items():
        np.testing.assert_array_equal(again, x[name])


def test_exchanges_leave_the_flow(rng):
    grid = midpoint(Interval(0, 1), 5)
    problem = halves(relu, [[1.0], [2.0], [1.0], [2.0], [1.0]], grid)
    exchanges = symmetries(problem)
    assert len(exchanges) == 3  # (0 2), (2 4) and (1 3)
    x = problem.space.random(rng)
    value = discretize(problem).value(x)
    for symmetry in exchanges:
        image = symmetry(x)
        assert discretize(problem).value(image) == pytest.approx(value, rel=1e-13)
        assert problem.space.norm(image - x) > 0.1
    np.testing.assert_array_equal(exchanges[0](x)["kernel"][..., 0, 1], x["kernel"][..., 2, 1])
    np.testing.assert_array_equal(exchanges[0](x)["kernel"][..., 0, 2], x["kernel"][..., 2, 0])
    assert len(symmetries(problem, units={0: [0, 1, 3]})) == 1
    uneven = gauss_legendre(Interval(0, 1), 3)  # only the outer nodes weigh the same
    assert len(symmetries(halves(relu, np.ones((3, 1)), uneven))) == 1


def test_mirror_minimisers_of_LM55_are_one():
    """LM-55: from f = 0 the unit with target 0 may move either way, J = 0.1311701 for both (here on
    12 layers).
    """
    network = WidthDepth(HALVES, identity)
    problem = LearningProblem(
        network,
        np.zeros((2, 1)),
        np.array([[6.0], [0.0]]),
        TimeMesh(2.0, 12),
        penalty=Tikhonov(1e-3),
        admissible=Box(bias=(-1, 1), kernel=(-1, 1)),
    )
    starts = [problem.space.random(np.random.default_rng(seed), 0.3) for seed in range(3)]
    (symmetry,) = symmetries(problem, exchanges=False)
    starts += [symmetry(x) for x in starts]
    raw = multistart(problem, LBFGS(gtol=1e-6, max_iterations=3000), starts)
    joined = multistart(
        problem, LBFGS(gtol=1e-6, max_iterations=3000), starts, symmetries=[symmetry]
    )
    assert not joined.failed
    assert len(joined.clusters) < len(raw.clusters)
    assert joined.clusters[0].count >= 2
    trap = minimize(problem, LBFGS())  # from zero: the second unit never moves
    assert joined.best.objective < 0.5 < 1.0 < trap.objective


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: multistart(Wells(), METHOD, 0), "starts must be at least 1"),
        (lambda: multistart(Wells(), METHOD, 2, scale=0.0), "scale must be finite and positive"),
        (
            lambda: multistart(Wells(), METHOD, 2, rtol=-1.0),
            "rtol must be finite and positive",
        ),
        (
            lambda: multistart(Wells(1.0), METHOD, 2, symmetries=[flip(0)]),
            r"symmetries\[0\] changes the objective",
        ),
    ],
)
def test_bad_input(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()
