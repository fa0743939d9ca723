"""Sets of pairs (a, b): nearest rows and support rows against enumeration, quadratic and linear
programs; and every solver that asks sets for more than a projection.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from continuum import (
    Ball,
    Box,
    Circle,
    ConvexHull,
    Convolution,
    Interval,
    LearningProblem,
    Pairs,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    periodic,
    rescale,
    split,
    tanh,
)
from solvers import (
    LBFGS,
    Adam,
    FrankWolfe,
    GradientDescent,
    Nesterov,
    RiccatiNewton,
    Status,
    discretize,
    layer_hamiltonian,
    pontryagin_certificate,
    proximal_alternating,
    shoot,
    successive_approximation,
)
from solvers import minimize as descend
from solvers.hjb import (
    StateGrid,
    characteristics,
    closed_loop,
    descend_values,
    lower_bound,
    merge_units,
    solve_hjb,
)
from solvers.hjb.enclosures import Velocities
from solvers.hjb.separable import separable
from solvers.pontryagin.msa_rows import RowSweeps
from studies.liu_markowich.paper import boxed

UNIT = Interval(0, 1)
GRID = gauss_legendre(Interval(0, 2), 4)
SPACE = WidthDepth(GRID, tanh).controls(TimeMesh(2.0, 3))
W = GRID.weights
POLYGON = ConvexHull([(-0.4, -0.2), (0.1, -0.7), (0.5, 0.1), (0.3, 0.4), (-0.4, 0.3), (0.0, 0.0)])
PAIRS = Pairs([(0, 1), (1, -2), (0, -0.5), (-1, 0.25), (-1, 0.5), (-1, 2)])
CORNERS = [(-1, -0.5), (2, -0.5), (-1, 3), (2, 3)]
BOX = Box(bias=(-1, 2), kernel=(-0.5, 3))


def disc(corners):
    """The regular polygon in the unit circle, no edge of it vertical."""
    angle = 2 * np.pi * (np.arange(corners) + 0.3) / corners
    return ConvexHull(np.stack([np.cos(angle), np.sin(angle)], axis=1))


def test_the_corners_that_are_kept():
    """Counterclockwise; inner points and points on edges are dropped."""
    hull = ConvexHull([(0, 0), (1, 0), (0.5, 0), (1, 1), (0, 1), (0.3, 0.4), (0.5, 1), (1, 1)])
    np.testing.assert_array_equal(hull.pairs, [(0, 0), (1, 0), (1, 1), (0, 1)])
    assert str(hull) == "ConvexHull([(0, 0), (1, 0), (1, 1), (0, 1)], 'bias', 'kernel')"
    segment = ConvexHull([(0, 1), (2, 0), (1, 0.5)], kernel="b")
    np.testing.assert_array_equal(segment.pairs, [(0, 1), (2, 0)])
    np.testing.assert_array_equal(ConvexHull([(1, 3), (1, -1)]).low, [-1])
    assert str(disc(12)).endswith("... 12 in all], 'bias', 'kernel')")
    assert str(Pairs([(1, -2), (0, 1), (0, 1)])) == "Pairs([(0, 1), (1, -2)], 'bias', 'kernel')"


def test_the_nearest_row_of_a_few_pairs_is_that_of_an_enumeration(rng):
    """All rows of four entries, each from the section of their a, in the weights of the space."""
    x = SPACE.random(rng, 1.5)
    found = PAIRS.project(x)
    rows = [
        (a, np.array(row)) for a, section in PAIRS.sections for row in product(section, repeat=4)
    ]
    for k in range(3):
        for i in range(4):
            a, b = x["bias"][k, i], x["kernel"][k, i]
            gaps = [(a - s) ** 2 + W @ (b - row) ** 2 for s, row in rows]
            best, row = rows[int(np.argmin(gaps))]
            assert found["bias"][k, i] == best
            np.testing.assert_array_equal(found["kernel"][k, i], row)
    assert PAIRS.contains(found)
    assert SPACE.norm(PAIRS.project(found) - found) == 0.0
    assert PAIRS.violation(SPACE.sample(bias=0.0, kernel=0.9)) == pytest.approx(0.1, abs=1e-15)
    assert PAIRS.violation(SPACE.sample(bias=0.5, kernel=0.9)) == pytest.approx(0.26**0.5)


def test_the_support_row_of_a_few_pairs_is_that_of_an_enumeration(rng):
    g, tie = SPACE.random(rng), PAIRS.project(SPACE.random(rng))
    found = tie.replaced(**PAIRS.support(g, tie, SPACE))
    assert PAIRS.contains(found)
    rows = [
        (a, np.array(row)) for a, section in PAIRS.sections for row in product(section, repeat=4)
    ]
    for k in range(3):
        for i in range(4):
            values = [g["bias"][k, i] * a + W @ (g["kernel"][k, i] * row) for a, row in rows]
            mine = g["bias"][k, i] * found["bias"][k, i]
            mine += W @ (g["kernel"][k, i] * found["kernel"][k, i])
            assert mine == pytest.approx(max(values), rel=1e-14)
    still = tie.replaced(**PAIRS.support(SPACE.zeros(), tie, SPACE))
    for name in tie:
        np.testing.assert_array_equal(still[name], tie[name])
    # a tie that is not admissible: the nearest of the points that are as good
    zero = SPACE.zeros().replaced(**PAIRS.support(SPACE.zeros(), SPACE.zeros(), SPACE))
    assert PAIRS.contains(zero)


def halfplanes(hull):
    """n (a, b) <= c for the edges of a polygon."""
    d = np.roll(hull.pairs, -1, axis=0) - hull.pairs
    n = np.stack([d[:, 1], -d[:, 0]], axis=1)
    return n, np.sum(n * hull.pairs, axis=1)


def row_constraints(hull):
    """A x <= c for a row x = (a, b_1, ..., b_4)."""
    n, c = halfplanes(hull)
    blocks = []
    for j in range(4):
        block = np.zeros((len(n), 5))
        block[:, 0], block[:, 1 + j] = n[:, 0], n[:, 1]
        blocks.append(block)
    return np.concatenate(blocks), np.tile(c, 4)


def test_the_support_row_of_a_polygon_is_that_of_a_linear_program(rng):
    matrix, right = row_constraints(POLYGON)
    tie = POLYGON.project(SPACE.random(rng))
    for g in (SPACE.random(rng) for _ in range(5)):
        found = tie.replaced(**POLYGON.support(g, tie, SPACE))
        for k, i in np.ndindex(3, 4):
            slope = np.concatenate([[g["bias"][k, i]], W * g["kernel"][k, i]])
            best = linprog(-slope, matrix, right, bounds=(None, None)).fun
            row = np.concatenate([[found["bias"][k, i]], found["kernel"][k, i]])
            assert slope @ row == pytest.approx(-best, rel=1e-12)
            assert np.all(matrix @ row <= right + 1e-15)


def test_the_nearest_row_of_a_polygon_is_that_of_a_quadratic_program(rng):
    matrix, right = row_constraints(POLYGON)
    weights = np.concatenate([[1.0], W])
    x = SPACE.random(rng, 1.5)
    p = POLYGON.project(x)
    for i in range(4):
        row = np.concatenate([[x["bias"][0, i]], x["kernel"][0, i]])
        mine = np.concatenate([[p["bias"][0, i]], p["kernel"][0, i]])
        found = minimize(
            lambda z, row=row: 0.5 * weights @ (z - row) ** 2,
            np.zeros(5),
            jac=lambda z, row=row: weights * (z - row),
            constraints={
                "type": "ineq",
                "fun": lambda z: right - matrix @ z,
                "jac": lambda z: -matrix,
            },
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 300},
        )
        np.testing.assert_allclose(mine, found.x, rtol=0, atol=2e-7)
        assert weights @ (mine - row) ** 2 <= weights @ (found.x - row) ** 2 + 1e-13


def test_the_hull_of_a_boxs_corners_is_the_box(rng):
    hull, tie = ConvexHull(CORNERS), SPACE.random(rng, 0.3)
    for scale in (0.3, 1.0, 5.0):
        x = SPACE.random(rng, scale)
        for name in x:
            np.testing.assert_array_equal(hull.project(x)[name], BOX.project(x)[name])
            np.testing.assert_array_equal(
                hull.support(x, BOX.project(tie), SPACE)[name],
                BOX.support(x, BOX.project(tie), SPACE)[name],
            )
        assert hull.violation(x) == pytest.approx(BOX.violation(x), abs=1e-14)


def test_corners_on_one_line_to_rounding_end_where_they_end(rng):
    """Of corners on a line, rounding keeps more than two; the set still ends at the outer ones."""
    space = WidthDepth(gauss_legendre(UNIT, 1), tanh).controls(TimeMesh(1.0, 1))
    slivers = 0
    for _ in range(30):
        start, along = rng.uniform(-1, 1, (2, 2))
        hull = ConvexHull([start + s * along for s in (0, 0.1, 0.3, 0.7, 1)])
        slivers += len(hull.pairs) > 2
        for s, inside in ((0.0, True), (0.4, True), (1.0, True), (-0.1, False), (1.1, False)):
            a, b = start + s * along
            assert hull.contains(space.sample(bias=a, kernel=b), 1e-12) == inside
        far = space.sample(bias=start[0] + 5 * along[0], kernel=start[1] + 5 * along[1])
        assert hull.contains(hull.project(far), 1e-12)
    assert slivers > 5


def test_polygons_in_the_circle_tend_to_the_disc(rng):
    """Support values and nearest points with an error of order 1 / corners^2."""
    g, far, tie = SPACE.random(rng), SPACE.random(rng, 3.0), SPACE.zeros()
    values, gaps = [], []
    for corners in (16, 64, 256):
        hull = disc(corners)
        best = SPACE.inner(g, tie.replaced(**Ball().support(g, tie, SPACE)))
        values.append(best - SPACE.inner(g, tie.replaced(**hull.support(g, tie, SPACE))))
        gaps.append(SPACE.norm(hull.project(far) - far) - SPACE.norm(Ball().project(far) - far))
    for errors in (values, gaps):
        assert all(e > 0 for e in errors)  # polygons inside the disc
        rate = np.log(errors[0] / errors[2]) / np.log(16.0)
        assert rate == pytest.approx(2.0, abs=0.15)


def test_LM51_with_pairs():
    grid = split(UNIT, [0.3], lambda panel: gauss_legendre(panel, 3))
    space = WidthDepth(grid, identity).controls(TimeMesh(1.0, 1))
    f = grid.evaluate(lambda y: y - 0.3)
    for pairs, high, low in (
        (Pairs([(0, 1), (1, -2)]), 1.4, -0.2),
        (Pairs([(0, -1), (0, 1)]), 0.29, -0.29),
        (ConvexHull([(0, 1), (1, -2)]), 1.4, -0.2),
        (ConvexHull([(-1, -0.5), (2, -0.5), (-1, 3), (2, 3)]), 2.2575, -1.7575),
    ):
        for sign, want in ((1.0, high), (-1.0, low)):
            g = space.sample(bias=sign, kernel=-sign * np.broadcast_to(f, (len(f), len(f))))
            c = space.zeros().replaced(**pairs.support(g, space.zeros(), space))
            u = c["bias"][0] - c["kernel"][0] @ (grid.weights * f)
            np.testing.assert_allclose(u, want, rtol=0, atol=1e-14)


# -- solvers


SYMMETRIC = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
"""The corners of the box [-1, 1]^2."""


def test_shooting_in_the_hull_of_the_box_is_that_in_the_box():
    """LM-54: one switch, J in closed form."""
    box = shoot(boxed([0.5, 0.5], [4.0, 0.0]), atol=1e-11)
    hull = shoot(boxed([0.5, 0.5], [4.0, 0.0], admissible=ConvexHull(SYMMETRIC)), atol=1e-11)
    assert hull.status is Status.CONVERGED_SHOOTING
    assert hull.objective == pytest.approx(0.4235585550392474, abs=1e-11)
    assert hull.objective == pytest.approx(box.objective, abs=1e-12)
    np.testing.assert_allclose(
        hull.switching_times("kernel"), box.switching_times("kernel"), rtol=0, atol=1e-10
    )
    np.testing.assert_allclose(hull.switching_times(), [0.5364562503929055], rtol=0, atol=1e-9)
    assert np.ptp(hull.hamiltonian) < 1e-9
    assert hull.statistics["gap"] < 1e-10


def test_shooting_through_the_corners_of_a_polygon():
    """S, id: the disc has f = sinh(t + asinh 1/2) (LM-52); the polygon's velocity is the largest
    of a - b f over its corners, each an exponential, so f(1) and the times at which the corner
    changes are elementary: a_k - b_k f = a_m - b_m f.
    """
    hull = disc(24)
    grid = gauss_legendre(UNIT, 1)
    found = shoot(boxed([0.5], [3.0], grid=grid, layers=8, admissible=hull), atol=1e-11)
    f, t, times = 0.5, 0.0, []
    while True:
        a, b = max(hull.pairs, key=lambda c: (c[0] - c[1] * f, -c[1]))
        # f' = a - b f; the next corner overtakes where its velocity is as large
        meets = [(c[0] - a) / (c[1] - b) for c in hull.pairs if c[1] < b]
        end = min((m for m in meets if m > f + 1e-12), default=np.inf)
        needed = -np.log((a - b * end) / (a - b * f)) / b if np.isfinite(end) else np.inf
        if t + needed >= 1.0:
            f = (a - (a - b * f) * np.exp(-b * (1.0 - t))) / b
            break
        f, t = end, t + needed
        times.append(t)
    assert len(times) > 2
    # an edge may pass the a of corners on the other side: one switch for each
    once = np.unique(np.round(found.switching_times(), 9))
    np.testing.assert_allclose(once, times, rtol=0, atol=2e-9)
    assert found.state.final[0, 0] == pytest.approx(f, abs=5e-11)
    assert found.objective == pytest.approx(0.5 * (f - 3.0) ** 2, abs=5e-11)
    assert np.ptp(found.hamiltonian) < 1e-9


def test_the_disc_as_the_limit_of_shooting_in_polygons():
    """f(1) of LM-52, 2.085455195520839, at the rate corners^-2."""
    grid, errors = gauss_legendre(UNIT, 1), []
    for corners in (8, 16, 32):
        found = shoot(boxed([0.5], [3.0], grid=grid, layers=8, admissible=disc(corners)))
        errors.append(2.085455195520839 - found.state.final[0, 0])
    assert errors[0] > errors[1] > errors[2] > 0
    assert np.log2(errors[0] / errors[2]) == pytest.approx(4.0, abs=0.6)


def rough(admissible, activation=tanh):
    grid = gauss_legendre(UNIT, 6)
    start, target = grid.sample(lambda y: y - 0.4), grid.sample(lambda y: np.cos(7 * y))
    mesh = TimeMesh(2.0, 7, grading=1.2)
    return LearningProblem(WidthDepth(grid, activation), start, target, mesh, admissible=admissible)


@pytest.mark.parametrize("activation", [tanh, identity], ids=str)
def test_successive_approximation_in_the_hull_of_the_box_is_that_in_the_box(activation):
    """Iterate by iterate, and what the certificate says of the last."""
    runs = [
        successive_approximation(rough(a, activation), max_iterations=12, raise_on_failure=False)
        for a in (BOX, ConvexHull(CORNERS))
    ]
    box, hull = runs
    np.testing.assert_allclose(box.history["objective"], hull.history["objective"], rtol=1e-12)
    np.testing.assert_allclose(box.history["gap"], hull.history["gap"], rtol=1e-9, atol=1e-13)
    for a, run in zip((BOX, ConvexHull(CORNERS)), runs, strict=True):
        certificate = pontryagin_certificate(rough(a, activation), run.control, eigenvalues=0)
        assert certificate.applies
        assert certificate.gap_exact
    assert box.statistics["exact"] == hull.statistics["exact"] == 1.0


SETS = {"pairs": PAIRS, "polygon": POLYGON, "segment": ConvexHull([(0, 1), (1, -2)])}
EVERY = pytest.mark.parametrize("admissible", SETS.values(), ids=SETS.keys())


@EVERY
def test_rows_without_a_kernel_agree_with_the_kernels(admissible):
    problem = rough(admissible)
    sweeps, objective = RowSweeps.of(problem), discretize(problem)
    control = admissible.project(problem.space.zeros())
    rows = sweeps.rows(control)
    for _ in range(3):
        value, gap, following = sweeps.look(rows)
        assert value == pytest.approx(objective.value(control), rel=1e-13)
        best = layer_hamiltonian(objective, control).minimiser(dict(control.items()))
        assert best.exact
        assert gap == pytest.approx(float(problem.mesh.steps @ best.gap), rel=1e-12)
        control, rows = following.control(problem.space), following
        assert admissible.contains(control, 1e-15)
        for name in control:
            np.testing.assert_allclose(control[name], best.values[name], rtol=0, atol=1e-14)


@EVERY
def test_the_hamiltonian_with_a_square_is_least_at_the_nearest_row(admissible, rng):
    """id, Tikhonov: no admissible control is better, also where the set is not convex."""
    problem = replace(rough(admissible, identity), penalty=Tikhonov(0.3))
    control = admissible.project(problem.space.random(rng))
    hamiltonian = layer_hamiltonian(discretize(problem), control)
    best = hamiltonian.minimiser(dict(control.items()))
    assert best.exact
    for _ in range(50):
        other = admissible.project(problem.space.random(rng, 1.5))
        assert np.all(hamiltonian.value(dict(other.items())) >= best.value - 1e-13)


def test_penalised_rows_in_the_hull_of_the_box_are_those_in_the_box(rng):
    """tanh, Tikhonov, one sample: a search in one unknown per row."""
    found = []
    for admissible in (BOX, ConvexHull(CORNERS)):
        problem = replace(rough(admissible), penalty=Tikhonov(0.02))
        control = admissible.project(problem.space.sample(bias=0.7, kernel=0.4))
        found.append(layer_hamiltonian(discretize(problem), control).minimiser(dict(control)))
    box, hull = found
    assert box.exact
    assert hull.exact
    np.testing.assert_allclose(box.gap, hull.gap, rtol=1e-9, atol=1e-13)
    for name in box.values:
        np.testing.assert_allclose(hull.values[name], box.values[name], rtol=0, atol=1e-10)


def test_the_hamiltonian_by_units_of_pairs_is_an_enumeration(rng):
    """Reach and value over all rows of two units, each from the sections of one a."""
    problem = boxed([0.5, -0.2], [4.0, 0.0], activation=tanh, admissible=PAIRS)
    h, w = separable(problem), problem.network.weights
    f, q = rng.standard_normal((2, 20)), rng.standard_normal((2, 20))
    u = np.stack(
        [
            a - w @ (np.array(row)[:, None] * f)
            for a, section in PAIRS.sections
            for row in product(section, repeat=2)
        ]
    )
    low, high = h.reach(f, 0.0)
    np.testing.assert_allclose(low[0], u.min(axis=0), rtol=0, atol=1e-14)
    np.testing.assert_allclose(high[1], u.max(axis=0), rtol=0, atol=1e-14)
    v = np.tanh(u)
    best = np.min(q[0] * v, axis=0) + np.min(q[1] * v, axis=0)
    np.testing.assert_allclose(h.value(f, q, 0.0), best, rtol=0, atol=1e-14)


@pytest.fixture(scope="module")
def values():
    """Of LM-54 in the box, in the hull of its corners, and in the corners alone."""
    sets = (None, ConvexHull(SYMMETRIC), Pairs(SYMMETRIC))
    problems = [boxed([0.5, 0.5], [4.0, 0.0], layers=20, admissible=a) for a in sets]
    box = StateGrid(((-3.0, 5.0), (-3.0, 5.0)), (33, 33))
    return [(p, solve_hjb(p, box)) for p in problems]


def test_value_functions_in_the_hull_of_the_box_are_those_in_the_box(values):
    """The same grid, the same numbers; corners alone have the same extreme velocities."""
    (_, box), *others = values
    points = np.array([[0.5, 1.0, 2.0, -0.3], [0.5, -0.4, 0.1, 0.2]])
    want = box(points, 0.0)
    for problem, value in others:
        np.testing.assert_allclose(value(points, 0.0), want, rtol=0, atol=1e-12)
        loop = closed_loop(problem, value)
        assert problem.admissible.contains(loop.control, 1e-12)
        reference = closed_loop(values[0][0], box)
        assert loop.objective == pytest.approx(reference.objective, abs=1e-9)


def test_proved_bounds_in_the_hull_of_the_box_are_those_in_the_box(values):
    """The same up to the rounding that is added; of corners alone it is said to be the hull's."""
    bounds = [lower_bound(problem, value) for problem, value in values]
    for bound in bounds[1:]:
        assert bound.value == pytest.approx(bounds[0].value, abs=1e-8)
    assert [bound.hull for bound in bounds] == [False, False, True]
    assert "in the hull of the admissible set" in str(bounds[2])
    assert 0.0 < bounds[0].value < 0.4235585550392474


def test_the_gain_of_a_set_counts_the_kernel_alone():
    """a = 1 goes with b = 1: a - int b = 0 bounds no sum of |b|."""
    problem = boxed([0.5, 0.5], [4.0, 0.0], admissible=Pairs([(1, 1), (0.9, 0.9)]))
    assert Velocities(separable(problem))._gain >= 1.0


def test_characteristics_in_the_hull_of_the_box(rng):
    ends = np.array([[2.753850371773439, 2.0], [0.3759592055367086, 0.4]])
    found = [
        characteristics(boxed([0.5, 0.5], [4.0, 0.0], admissible=a), ends, steps=400)
        for a in (None, ConvexHull(SYMMETRIC))
    ]
    np.testing.assert_allclose(found[0].states, found[1].states, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[1].states[0, :, 0], [0.5, 0.5], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "method", [GradientDescent, Nesterov, FrankWolfe], ids=lambda m: m.__name__
)
def test_descents_in_the_hull_of_the_box_are_those_in_the_box(method):
    """The same iterates: LM-54 on ten layers."""
    runs = [
        descend(
            boxed([0.5, 0.5], [4.0, 0.0], layers=10, admissible=a),
            method(max_iterations=15),
            raise_on_failure=False,
        )
        for a in (None, ConvexHull(SYMMETRIC))
    ]
    np.testing.assert_allclose(
        runs[0].history["objective"], runs[1].history["objective"], rtol=1e-11
    )


def test_projected_gradients_end_at_a_point_of_a_few_pairs():
    problem = boxed([0.5, 0.5], [4.0, 0.0], layers=10, admissible=Pairs(SYMMETRIC))
    found = descend(problem, GradientDescent(initial_step=10.0), raise_on_failure=False)
    assert problem.admissible.contains(found.control)
    start = discretize(problem).value(problem.admissible.project(problem.space.zeros()))
    assert found.objective < start


def test_who_takes_no_pairs_says_so(rng):
    pairs = boxed([0.5, 0.5], [4.0, 0.0], layers=10, admissible=Pairs(SYMMETRIC))
    hull = boxed([0.5, 0.5], [4.0, 0.0], layers=10, admissible=ConvexHull(SYMMETRIC))
    for problem, run, words in (
        (pairs, shoot, r"Pairs\(.*is not convex"),
        (pairs, lambda p: successive_approximation(p, relaxation=0.5), "needs a convex set.*Pairs"),
        (pairs, lambda p: descend(p, Nesterov()), "Nesterov cannot treat Pairs"),
        (pairs, lambda p: descend(p, FrankWolfe()), "FrankWolfe cannot treat Pairs"),
        (pairs, lambda p: descend(p, Adam(rng=rng)), "Adam cannot treat Pairs"),
        (hull, lambda p: descend(p, LBFGS()), r"LBFGS cannot treat ConvexHull"),
        (hull, lambda p: descend(p, RiccatiNewton()), "RiccatiNewton cannot treat ConvexHull"),
        (hull, lambda p: descend_values(p, np.zeros((2, 1))), "cannot treat ConvexHull"),
        (hull, merge_units, r"ConvexHull\(.*couples entries"),
        (
            hull,
            lambda p: proximal_alternating(p, groups=(("bias",), ("kernel",))),
            "couples bias, kernel",
        ),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            run(problem)


def test_pairs_on_another_horizon():
    """Twice the horizon: the velocity, and so a and b, are half as large."""
    for admissible in (POLYGON, PAIRS):
        problem = boxed([0.5], [3.0], grid=gauss_legendre(UNIT, 1), admissible=admissible)
        found, _ = rescale(problem, problem.space.zeros(), 2.0)
        np.testing.assert_allclose(found.admissible.pairs, 0.5 * admissible.pairs, rtol=1e-15)


CIRCLE = WidthDepth(periodic(Circle(), 4), tanh, Convolution())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Pairs([]), "pairs must be at least one"),
        (lambda: Pairs(3), "pairs must be at least one"),
        (lambda: Pairs(np.array(3.0)), "pairs must be at least one"),
        (lambda: Pairs([np.array(1.0)]), "of two finite numbers"),
        (lambda: Pairs([(0, 1), (1, 2, 3)]), r"pairs\[1\] must have 2 entries"),
        (lambda: Pairs([0, 1]), "of two finite numbers"),
        (lambda: Pairs([(0, np.nan)]), "of two finite numbers"),
        (lambda: Pairs([(0, "b")]), r"pairs\[0\]\[1\] must be a real number"),
        (lambda: ConvexHull([]), "pairs must be at least one"),
        (lambda: ConvexHull([(0, np.inf), (1, 0)]), "of two finite numbers"),
        (lambda: ConvexHull([(0, 1), (0, 1)]), "at least two different ones"),
        (lambda: ConvexHull(np.zeros((3, 3))), "of two finite numbers"),
        (lambda: Pairs([(0, 1)], "kernel", "bias").check(SPACE), r"a Pairs pairs a bias \(N,\)"),
        (lambda: POLYGON.check(CIRCLE.controls(TimeMesh(1.0, 2))), "a ConvexHull pairs a bias"),
        (lambda: Pairs([(0, 1)], "bais").check(SPACE), "Did you mean 'bias'"),
        (lambda: (POLYGON & Box(bias=(0, 1))).check(SPACE), "two sets name the same block: bias"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
