"""Lower bounds from values on grids: they lie below every cost, and what they rest on holds."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from continuum import (
    Affine,
    Ball,
    Box,
    CrossEntropy,
    FiniteSet,
    LearningProblem,
    Logistic,
    NeuralODE2,
    Projection,
    Softmax,
    SquaredError,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    gauss_legendre,
    gelu,
    midpoint,
    relu,
    sigmoid,
    softplus,
    tanh,
)
from continuum.arrays import Array
from solvers import evaluate
from solvers.hjb import (
    LowerBound,
    PerSampleBound,
    StateGrid,
    lower_bound,
    optimality_gap,
    proved_cost,
    solve_hjb,
)
from solvers.hjb.bernstein import (
    Cells,
    Piece,
    Search,
    first_bounds,
    least,
    reference_coefficients,
    reference_least,
    tables,
    time_pieces,
)
from solvers.hjb.enclosures import Velocities, cost_coefficients, reachable
from solvers.hjb.lower_bound import Slabs
from solvers.hjb.separable import separable
from studies.liu_markowich.paper import boxed
from studies.shared import UNIT

SWITCH, SEVERAL = 0.4235585550392474, 0.1311701244888148
"""J* of LM-54 and LM-55."""


@dataclass(frozen=True)
class Given:
    """Values on a grid that no solver made."""

    grid: StateGrid
    times: Array
    values: Array


def switching(**options) -> LearningProblem:
    return boxed([0.5, 0.5], [4.0, 0.0], **options)


def tried(problem: LearningProblem, nodes: int, times: int) -> Given:
    """Smooth values around the terminal cost, far from the value function."""
    velocities = Velocities(separable(problem))
    knots = np.linspace(0.0, problem.mesh.horizon, 20)
    lows, highs = reachable(velocities, problem.initial[:, 0], knots)
    low, high = lows.min(axis=0), highs.max(axis=0)
    room = 4.0 * (high - low) / (nodes - 8) + 0.1
    grid = StateGrid(list(zip(low - room, high + room, strict=True)), nodes)
    end = separable(problem).terminal(grid.states()).reshape(grid.shape)
    t = np.linspace(0.0, problem.mesh.horizon, times)
    wave = np.cos(grid.states().sum(axis=0)).reshape(grid.shape)
    late = (problem.mesh.horizon - t).reshape(-1, *(1,) * grid.dimensions)
    beat = 0.2 * np.sin(9.0 * late)  # so that defects of neighbouring slabs differ
    return Given(grid, t, end - 0.6 * late * end / (1.0 + end) + 0.1 * late * wave + beat)


def classifier() -> LearningProblem:
    """Two units, two classes, a readout that is not trained, one sample."""
    base = LearningProblem(
        WidthDepth(midpoint(UNIT, 2), tanh),
        np.array([[0.4], [-0.3]]),
        np.array([1.0]),
        TimeMesh(1.0, 6),
        readout=Affine(2),
        terminal=CrossEntropy(),
        admissible=Box(bias=(-1, 1), kernel=(-1, 1)),
    )
    weight = np.array([[1.0, -2.0], [0.5, 1.5]])
    trained = base.space.zeros().replaced(
        **{"readout.W": weight, "readout.mu": np.array([0.1, -0.2])}
    )
    return base.holding(trained, ["readout.W", "readout.mu"])[0]


def inner(activation) -> LearningProblem:
    """Inputs phi(f), in a box that is not symmetric."""
    return LearningProblem(
        NeuralODE2(2, activation),
        np.array([[0.4], [-0.3]]),
        np.array([[2.0], [1.0]]),
        TimeMesh(0.8, 6),
        admissible=Box(bias=(-0.5, 1), weight=(-1, 0.5)),
    )


def fixed_kernel() -> LearningProblem:
    base = switching(activation=tanh, admissible=Box(bias=(-1, 1)))
    values = base.space.zeros().replaced(kernel=np.tile([[1.0, -0.5], [0.3, 2.0]], (60, 1, 1)))
    return base.holding(values, ["kernel"])[0]


PROBLEMS: dict[str, LearningProblem] = {
    "box": switching(),
    "finite": switching(admissible=FiniteSet(bias=(-1, 0, 1), kernel=(-1, 0.5))),
    "ball": switching(admissible=Ball()),
    "ball before tanh": switching(admissible=Ball(), activation=tanh),
    "tanh": switching(activation=tanh),
    "relu": switching(activation=relu),
    "softplus": switching(activation=softplus),
    "running": replace(switching(), running=SquaredError(0.3)),
    "entries": replace(switching(), penalty=Tikhonov(0.05)),
    "projection": replace(
        switching(), readout=Projection(np.array([[1.0, -2.0]])), target=np.array([[1.5]])
    ),
    "logistic": replace(switching(), terminal=Logistic(), target=np.array([[1.0], [0.0]])),
    "classifier": classifier(),
    "one unit": boxed([0.5], [4.0], grid=midpoint(UNIT, 1)),
    "three units": boxed([0.5, 0.2, -0.1], [2.0, 0.0, 1.0], grid=gauss_legendre(UNIT, 3)),
    "tanh inside": inner(tanh),
    "relu inside": inner(relu),
}


def moving_target() -> Tracking:
    return Tracking(SquaredError(), target=lambda t: np.array([[t], [0.0]]))


def spline(given: Given, f: Array, t: Array) -> tuple[Array, Array, Array]:
    """W, W_t and DW at points f (N, L), t (L,), from the kernel of the quadratic B-spline in f; in
    time from the differences of the values, between which W_t is linear.
    """
    times, v = given.times, given.values
    tau = np.diff(times).reshape(-1, *(1,) * (v.ndim - 1))
    steps = tau[1:] + tau[:-1]
    middle = (v[2:] - v[:-2]) / steps
    rates = np.concatenate([(v[1:2] - v[:1]) / tau[0], middle, (v[-1:] - v[-2:-1]) / tau[-1]])
    rises = np.cumsum(0.5 * tau * (rates[1:] + rates[:-1]), axis=0)
    heights = np.concatenate([v[:1], v[:1] + rises])
    k = np.minimum(np.searchsorted(times, t, side="right") - 1, len(times) - 2)
    late = t - times[k]
    share = late / np.diff(times)[k]
    h = given.grid.spacings[:, None]
    place = (f - np.array(given.grid.box)[:, :1]) / h
    near = np.floor(place + 0.5).astype(int)
    total = np.zeros((len(f) + 2, len(t)))
    for shift in np.ndindex(*(3,) * len(f)):
        index = near + np.array(shift)[:, None] - 1
        s = place - index
        inside = np.abs(s) <= 0.5
        weight = np.where(inside, 0.75 - s * s, 0.5 * (1.5 - np.abs(s)) ** 2)
        slope = np.where(inside, -2.0 * s, -np.sign(s) * (1.5 - np.abs(s))) / h
        at = tuple(index)
        rate = (1.0 - share) * rates[k, *at] + share * rates[k + 1, *at]
        c = heights[k, *at] + 0.5 * late * (rates[k, *at] + rate)
        total[0] += c * np.prod(weight, axis=0)
        total[1] += rate * np.prod(weight, axis=0)
        for axis in range(len(f)):
            others = np.prod(np.delete(weight, axis, axis=0), axis=0)
            total[axis + 2] += c * slope[axis] * others
    return total[0], total[1], total[2:]


def points(bound: LowerBound, rng: np.random.Generator, count: int) -> tuple[Array, Array, Array]:
    """Slabs (L,), times and states that are reached, as far as the bound knows."""
    slab = rng.integers(len(bound.defects), size=count)
    t = bound.times[slab] + rng.random(count) * np.diff(bound.times)[slab]
    low, high = bound.reached[0][slab].T, bound.reached[1][slab].T
    return slab, t, low + rng.random(low.shape) * (high - low)


def in_kept_cells(given: Given, bound: LowerBound, slab: Array, f: Array) -> Array:
    origin, h = np.array(given.grid.box)[:, :1], given.grid.spacings[:, None]
    nodes = np.ravel_multi_index(
        tuple(np.floor((f - origin) / h + 0.5).astype(int)), given.grid.shape
    )
    return np.array([n in bound.cells[k] for n, k in zip(nodes, slab, strict=True)])


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("pruned", [False, True])
def test_what_it_rests_on(name: str, pruned: bool, rng: np.random.Generator) -> None:
    """At random states W_t + H >= -delta in the cells kept, W - (defect to come) >= above elsewhere
    and W(T) - cost <= eps, by an evaluation of W and H that shares nothing with the bound's.
    """
    problem = PROBLEMS[name]
    given, h = tried(problem, 15 if name == "three units" else 31, 13), separable(problem)
    free = lower_bound(problem, given, np.inf, smooth=0)
    above = free.value + 0.15 * abs(free.start - free.value) if pruned else np.inf
    bound = lower_bound(problem, given, above, smooth=0)
    slab, t, f = points(bound, rng, 4000)
    kept = in_kept_cells(given, bound, slab, f)
    w, rate, q = spline(given, f, t)
    defect = rate + h.value(f, q, 0.0)
    lengths = np.diff(bound.times)
    later = np.append(np.cumsum((lengths * bound.defects)[::-1])[::-1], 0.0)[slab + 1]
    to_come = bound.terminal + later + (bound.times[slab + 1] - t) * bound.defects[slab]
    if pruned:
        assert np.mean(kept) < 0.97
        counts = kept & (w - to_come <= above)
        assert np.all(w[~kept] - to_come[~kept] >= above)
    else:
        assert np.all(kept)
        counts = kept
        # where W hardly bends the defect is attained nearly
        for k in (0, len(lengths) // 2):
            assert np.max(-defect[slab == k]) > bound.defects[k] - 0.35 * np.ptp(defect)
    assert np.all(defect[counts] >= -bound.defects[slab[counts]])
    final = slab == len(lengths) - 1
    end = f[:, final]
    excess = spline(given, end, np.full(end.shape[1], bound.times[-1]))[0] - h.terminal(end)
    assert np.all(excess[counts[final]] <= bound.terminal + 1e-9)


@pytest.mark.parametrize("name", PROBLEMS)
def test_no_control_undercuts_it(name: str, rng: np.random.Generator) -> None:
    """Random bang-bang controls, and those proved, cost more, whatever the values are."""
    problem = PROBLEMS[name]
    given = tried(problem, 15 if name == "three units" else 31, 13)
    rough = replace(given, values=given.values + 0.05 * rng.standard_normal(given.values.shape))
    bounds = [lower_bound(problem, v).value for v in (given, rough)]
    bounds += [lower_bound(problem, v, bounds[0] + 0.2).value for v in (given, rough)]
    least_cost = np.inf
    for _ in range(8):
        sample = problem.space.random(rng)
        control = problem.space.zeros()
        if problem.admissible is not None:
            sign = {n: 5.0 * np.sign(x) for n, x in sample.items()}
            control = problem.admissible.project(control.replaced(**sign))
        least_cost = min(least_cost, evaluate(problem, control, 1e-5).objective)
    assert max(bounds) < least_cost


@pytest.mark.parametrize("name", ["box", "ball", "ball before tanh", "tanh", "relu", "softplus"])
def test_velocities_lie_between_the_interpolants(name: str, rng: np.random.Generator) -> None:
    """Where they are concave and convex these are their own, elsewhere those would not do."""
    between_interpolants(PROBLEMS[name], rng, wide=name not in ("box", "ball", "relu"))
    between_interpolants(inner(relu), rng, wide=False)
    between_interpolants(inner(tanh), rng, wide=True)


def between_interpolants(problem: LearningProblem, rng: np.random.Generator, wide: bool) -> None:
    axes = (np.linspace(-2.9, 3.1, 7), np.linspace(-3.2, 2.8, 6))
    h = separable(problem)
    law = Velocities(h).law(axes)
    f = np.stack([rng.uniform(x[0], x[-1], 4000) for x in axes])
    k = [np.searchsorted(x, y) - 1 for x, y in zip(axes, f, strict=True)]
    s = [(y - x[i]) / (x[1] - x[0]) for x, y, i in zip(axes, f, k, strict=True)]

    def interpolated(rows: Array) -> Array:
        corners = rows.reshape(-1, 7, 6)
        pairs = [
            (1 - a - (1 - 2 * a) * s[0])
            * (1 - b - (1 - 2 * b) * s[1])
            * corners[:, k[0] + a, k[1] + b]
            for a in (0, 1)
            for b in (0, 1)
        ]
        return np.sum(pairs, axis=0)

    low, high = h.velocity_bounds(f, 0.0)
    rows = len(law.data) // 2
    assert np.all(interpolated(law.data[:rows]) <= low)
    assert np.all(interpolated(law.data[rows:]) >= high)
    nodes = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")])
    plain = h.velocity_bounds(nodes, 0.0)
    crossed = np.any(interpolated(plain[0]) > low + 1e-9)
    crossed = crossed or np.any(interpolated(plain[1]) < high - 1e-9)
    assert crossed == wide


@pytest.mark.parametrize("name", ["box", "projection", "running", "logistic", "classifier"])
def test_costs_lie_above_their_polynomials(name: str, rng: np.random.Generator) -> None:
    """Quadratic costs are them; others differ by h^2 at most."""
    problem, spacings = PROBLEMS[name], np.array([0.3, 0.2])
    functional = problem.functional
    cost = functional.running or functional.terminal
    centres = rng.uniform(-2.0, 2.0, (2, 200))
    coefficients = cost_coefficients(problem, cost, centres, spacings).reshape(3, 3, -1)
    s = rng.random((2, 200))
    basis = np.stack([(1 - s) ** 2, 2 * s * (1 - s), s**2])
    below = np.einsum("ac,bc,abc->c", basis[:, 0], basis[:, 1], coefficients)
    f = centres + (s - 0.5) * spacings[:, None]
    h = separable(problem)
    exact = h.running(f, 0.0) if functional.running is not None else h.terminal(f)
    assert np.all(below <= exact)
    assert np.max(exact - below) < (1e-9 if name in ("box", "projection", "running") else 0.05)


def test_reachable_boxes_hold_the_fastest_runs() -> None:
    """f = 3 e^t / 2 - 1 is the largest of LM-54, and boxes are wider by what the steps cost."""
    times = np.linspace(0.0, 1.0, 11)
    low, high = reachable(Velocities(separable(switching())), np.array([0.5, 0.5]), times)
    fastest = 1.5 * np.exp(times[1:]) - 1.0
    for unit in range(2):
        assert np.all(high[:, unit] >= fastest)
        assert np.all(high[:, unit] <= 1.03 * fastest)
    assert np.all(low <= 0.5)


def pieces_of(problem: LearningProblem, given: Given) -> tuple:
    """What the compiled loops read: a piece, its tables, the law and all inner cells."""
    grid, h = given.grid, separable(problem)
    axes = tuple(
        x[0] + 0.5 * step * np.arange(1, 2 * len(x) - 2)
        for x, step in zip(grid.axes, grid.spacings, strict=True)
    )
    lattice = tuple(len(x) for x in axes)
    index = np.indices(tuple(n - 2 for n in grid.shape)).reshape(grid.dimensions, -1)
    nodes = np.ravel_multi_index(tuple(index + 1), grid.shape)
    centres = np.array(grid.box)[:, :1] + (index + 1) * grid.spacings[:, None]
    running = problem.functional.running
    costs = np.zeros((0, len(nodes)))
    if running is not None:
        costs = cost_coefficients(problem, running, centres, grid.spacings)
    cells = Cells(nodes, np.ravel_multi_index(tuple(2 * index), lattice), costs)
    value, slope = time_pieces(given.times)
    piece = Piece(given.values[2:6].reshape(4, -1).copy(), value[3], slope[3], 0.05)
    law = Velocities(h).law(axes)
    return piece, tables(grid.shape, lattice, grid.spacings), law, cells


@pytest.mark.parametrize(
    "name", ["box", "tanh", "running", "entries", "one unit", "three units", "fixed kernel"]
)
def test_compiled_is_the_reference(name: str, rng: np.random.Generator) -> None:
    """To 1e-12 where no box is halved beyond the half cells; halved uniformly the reference is no
    less than what the loop finds with fewer halvings, and no more than with many.
    """
    problem = {**PROBLEMS, "fixed kernel": fixed_kernel()}[name]
    given = tried(problem, 9, 7)
    given = replace(given, values=given.values + 0.5 * rng.standard_normal(given.values.shape))
    piece, table, law, cells = pieces_of(problem, given)
    blocks = reference_coefficients(piece, table, cells)
    limit = float(np.median(np.min(blocks[:, -1], axis=1))) + 1e-6
    for top in (np.inf, limit):
        first = first_bounds(piece, table, law, cells, top)
        assert np.array_equal(np.isinf(first), np.min(blocks[:, -1], axis=1) > top)
        order = np.argsort(first)[: np.sum(np.isfinite(first))]
        found = least(piece, table, law, cells, order, first, Search(top, 0))
        wanted = reference_least(piece, table, law, cells, Search(top, 0))
        assert abs(found - wanted) < 1e-12 * abs(wanted)
        assert np.min(first) <= wanted + 1e-12 * abs(wanted)
    gained = 0
    for c in rng.choice(len(cells.nodes), 3 if name == "three units" else 7, replace=False):
        costs = np.ascontiguousarray(cells.costs[:, c : c + 1])
        one = Cells(cells.nodes[c : c + 1], cells.places[c : c + 1], costs)
        first = first_bounds(piece, table, law, one, np.inf)
        order, depth = np.zeros(1, dtype=np.int64), len(table.inverse) + 1
        halved = reference_least(piece, table, law, one, Search(np.inf, depth))
        low, high = (
            least(piece, table, law, one, order, first, Search(np.inf, d)) for d in (0, 16)
        )
        assert low - 1e-12 * abs(halved) <= halved <= high + 1e-12 * abs(halved)
        gained += high > low + 1e-9 * abs(low)
    assert gained > 0


@pytest.fixture(scope="module")
def solved() -> dict[int, tuple]:
    """LM-54 on grids, times as fine as the grid is."""
    problem, box = switching(), [(-3.4, 4.0), (-3.4, 3.6)]
    return {n: (problem, solve_hjb(problem, StateGrid(box, n), times=n)) for n in (41, 81, 161)}


def test_switching_problem_from_below(solved: dict[int, tuple]) -> None:
    """LM-54: below J* on every grid, with and without pruning, and of first order."""
    missed = []
    for n, least_value in ((41, 0.414), (81, 0.420), (161, 0.422)):
        bound = lower_bound(*solved[n], SWITCH + 1e-4)
        assert least_value < bound.value < SWITCH
        assert lower_bound(*solved[n], np.inf).value < bound.value
        assert not bound.cut
        missed.append(SWITCH - bound.value)
    assert missed[1] < 0.6 * missed[0]
    assert missed[2] < 0.75 * missed[1]
    assert "states worse than 0.42" in str(lower_bound(*solved[41], SWITCH + 1e-4))
    assert "proved for every control that is admissible" in str(lower_bound(*solved[41], np.inf))


def test_several_extremals_from_below() -> None:
    """LM-55: above half of J* on 161 nodes, though the value has a ridge where the run starts."""
    problem = boxed([0.0, 0.0], [6.0, 0.0], horizon=2.0)
    value = solve_hjb(problem, StateGrid([(-7.2, 7.2)] * 2, 161), times=81)
    assert 0.075 < lower_bound(problem, value, SEVERAL + 1e-4).value < SEVERAL


def test_functions_of_time_alone(solved: dict[int, tuple]) -> None:
    """W + s t proves what W does, since defects keep their sign: with a defect halved, a slab or
    eps_T left out, or pruning without the defect to come, it would not.  A wave in time lowers it.
    """
    problem, value = solved[41]
    for above in (np.inf, SWITCH + 1e-4):
        bound = lower_bound(problem, value, above)
        for slope in (-0.7, 0.4):
            tilted = value.values + slope * value.times[:, None, None]
            other = lower_bound(problem, Given(value.grid, value.times, tilted), above)
            assert abs(other.value - bound.value) < 1e-9
            assert np.allclose(other.defects, bound.defects - slope, rtol=0, atol=1e-9)
        wave = 0.1 * np.sin(np.pi * value.times / value.times[-1])
        moved = Given(value.grid, value.times, value.values + wave[:, None, None])
        assert lower_bound(problem, moved, above).value < bound.value - 1e-3


def test_defects_and_cells_belong_together(solved: dict[int, tuple]) -> None:
    """The defect of a slab, found from a guess far too low, holds where it lets states count."""
    problem, value = solved[41]
    slabs = Slabs(separable(problem), value)
    for k in (10, 25, 38):
        limit = float(np.quantile(value.values[k], 0.2))
        length = value.times[k + 1] - value.times[k]
        defect, kept = slabs.settle(k, limit, -20.0, 0.0, 8)
        worst, same = slabs.worst(k, limit, length * defect, 8)
        assert -worst <= defect
        assert len(same) <= len(kept)
        assert -slabs.worst(k, limit, -20.0 * length, 8)[0] < defect


def test_it_is_no_more_than_a_number_given(solved: dict[int, tuple]) -> None:
    problem, value = solved[41]
    free = lower_bound(problem, value, np.inf).value
    low = 0.5 * (free + lower_bound(problem, value, SWITCH).value)
    cut = lower_bound(problem, value, low)
    assert cut.cut
    assert cut.value == low
    assert "the number given" in str(cut)
    with pytest.raises(ValueError, match="but no control costs less than"):
        lower_bound(problem, value, free - 0.01)


def test_rough_values_prove_little_but_nothing_wrong(
    solved: dict[int, tuple], rng: np.random.Generator
) -> None:
    problem, value = solved[81]
    for size in (1e-3, 0.1, 10.0):
        noise = size * rng.standard_normal(value.values.shape)
        for above in (None, np.inf, 0.43):
            moved = Given(value.grid, value.times, value.values + noise)
            assert lower_bound(problem, moved, above).value < SWITCH


def test_values_too_large_where_the_best_runs_end(solved: dict[int, tuple]) -> None:
    """States from which W says that no less is possible, though it is, are not left out at T."""
    problem, value = solved[81]
    distance = np.sum((value.grid.states() - np.array([[2.75], [0.38]])) ** 2, axis=0)
    for height in (0.1, 1.0, 30.0):
        bump = height * np.exp(-4.0 * distance).reshape(value.grid.shape)
        for rise in (bump, bump * value.times[:, None, None] ** 8):
            moved = Given(value.grid, value.times, value.values + rise)
            for above in (SWITCH + 1e-4, 0.5):
                assert lower_bound(problem, moved, above).value < SWITCH


def test_uneven_times(solved: dict[int, tuple]) -> None:
    """Splines through few times, unevenly spaced, are C^1, linear where values are, and prove."""
    problem, value = solved[81]
    chosen = np.array([0, 2, 6, 14, 24, 36, 48, 60, 70, 76, 80])
    times = value.times[chosen]
    weights, slopes = time_pieces(times)
    lengths, last = np.diff(times), len(times) - 1
    levels = np.clip(np.arange(last)[:, None] + [-1, 0, 1, 2], 0, last)
    for power in (0, 1, 2):
        values = np.einsum("kij,kj->ki", weights, times[levels] ** power)
        rates = np.einsum("kij,kj->ki", slopes, times[levels] ** power)
        assert np.allclose(values[1:, 0], values[:-1, 2], rtol=1e-14)
        assert np.allclose(rates[1:, 0], rates[:-1, 2], rtol=1e-13)
        assert np.allclose(2 * (values[:, 1] - values[:, 0]) / lengths, rates[:, 0], atol=1e-13)
        assert np.allclose(2 * (values[:, 2] - values[:, 1]) / lengths, rates[:, 2], atol=1e-13)
        assert np.allclose(0.5 * (rates[:, 0] + rates[:, 2]), rates[:, 1], atol=1e-13)
        if power < 2:
            assert np.allclose(values[:, 0], times[:-1] ** power, rtol=1e-14, atol=1e-15)
            assert np.allclose(rates, float(power), atol=1e-13)
    given = Given(value.grid, times, value.values[chosen])
    assert 0.3 < lower_bound(problem, given, SWITCH + 1e-4).value < SWITCH


def test_samples_may_choose_their_own_controls(rng: np.random.Generator) -> None:
    problem = replace(
        switching(),
        initial=np.array([[0.5, -0.2], [0.5, 0.4]]),
        target=np.array([[4.0, 1.0], [0.0, 2.0]]),
        sample_weights=np.array([1.0, 3.0]),
        penalty=Tikhonov(0.02),
    )
    grid = StateGrid([(-4.0, 4.0)] * 2, 33)
    values = [solve_hjb(problem.batch([m]), grid, times=21) for m in range(2)]
    bound = lower_bound(problem, values)
    assert isinstance(bound, PerSampleBound)
    parts = [lower_bound(problem.batch([m]), v).value for m, v in enumerate(values)]
    assert abs(bound.value - (0.25 * parts[0] + 0.75 * parts[1])) < 1e-14
    assert "each sample may choose its own control" in str(bound)
    control = problem.admissible.project(problem.space.random(rng))  # type: ignore[union-attr]
    gap = optimality_gap(problem, control, bound)
    assert gap.verified
    assert gap.difference > 0.0
    assert "each sample may choose its own control" in str(gap)
    with pytest.raises(ValueError, match="value must be one for each of 2 samples"):
        lower_bound(problem, values[:1])
    with pytest.raises(ValueError, match="2 samples"):
        lower_bound(problem, values[0])


RUNS = {
    "box": PROBLEMS["box"],
    "tanh": PROBLEMS["tanh"],
    "relu": PROBLEMS["relu"],
    "running": PROBLEMS["running"],
    "entries": PROBLEMS["entries"],
    "logistic": PROBLEMS["logistic"],
    "classifier": PROBLEMS["classifier"],
    "inside": PROBLEMS["tanh inside"],
    "samples": replace(
        switching(activation=sigmoid),
        initial=np.array([[0.5, -0.2], [0.5, 0.4]]),
        target=np.array([[4.0, 1.0], [0.0, 2.0]]),
        running=SquaredError(0.2),
        sample_weights=np.array([1.0, 3.0]),
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_costs_of_controls_are_enclosed(name: str, rng: np.random.Generator) -> None:
    """evaluate's J lies between the bounds, which are closer by 4 where steps are by 2."""
    problem = RUNS[name]
    control = problem.space.random(rng)
    if problem.admissible is not None:
        control = problem.admissible.project(control)
    cost = evaluate(problem, control, 1e-10)
    widths = []
    for steps in (400, 800):
        found = proved_cost(problem, control, steps)
        assert found.lower < cost.objective + 1e-9
        assert found.value > cost.objective - 1e-9
        widths.append(found.value - found.lower)
    assert widths[1] < 3e-6
    assert 3.0 < widths[0] / widths[1] < 5.0 or widths[1] < 1e-9


def test_the_gap_of_a_control(solved: dict[int, tuple]) -> None:
    problem, value = solved[81]
    up = {"bias": np.ones((60, 2)), "kernel": -np.ones((60, 2, 2))}
    up["bias"][32:, 1] = -1.0
    up["kernel"][32:, 1] = 1.0
    control = problem.space.zeros().replaced(**up)
    proved = proved_cost(problem, control)
    bound = lower_bound(problem, value, proved)
    gap = optimality_gap(problem, control, bound)
    assert gap.verified
    assert not gap.proved
    assert abs(gap.difference - (gap.objective - bound.value)) < 1e-15
    assert 0.0 < gap.difference < 0.01
    assert "estimated error" in str(gap)
    assert "a proved lower bound" in str(gap)
    both = optimality_gap(problem, proved, bound)
    assert both.proved
    assert "proved" in str(both)
    assert abs(both.objective - gap.objective) < 1e-7
    assert not optimality_gap(problem, control, 0.4).verified
    assert "not proved" in str(optimality_gap(problem, control, 0.4))
    with pytest.raises(ValueError, match="less than the bound"):
        optimality_gap(problem, control, 0.45)
    with pytest.raises(ValueError, match="less than the bound"):
        optimality_gap(problem, proved, 0.45)
    far = control.replaced(bias=2.0 * up["bias"])
    with pytest.raises(ValueError, match="outside the admissible set"):
        optimality_gap(problem, far, bound)
    with pytest.raises(ValueError, match="outside the admissible set"):
        proved_cost(problem, far)


def test_what_is_not_proved_is_refused_by_name(solved: dict[int, tuple]) -> None:
    problem, value = solved[41]
    grid = StateGrid([(-2.0, 2.0)] * 2, 31)
    small = Given(grid, np.array([0.0, 1.0]), np.zeros((2, 31, 31)))
    with pytest.raises(ValueError, match="grid must reach beyond the states"):
        lower_bound(problem, small)
    cases = {
        "controls without bounds": replace(problem, admissible=None, penalty=Tikhonov(0.1)),
        "activation other than identity": replace(
            switching(activation=tanh), admissible=None, penalty=Tikhonov(0.1)
        ),
        "falls somewhere": inner(gelu),
        "inputs tanh": replace(inner(tanh), penalty=Tikhonov(0.1)),
        "not linear": replace(
            classifier(),
            readout=Softmax(2, fixed=classifier().space.fixed),
            controls=TimeMesh(1.0, 6),
        ),
        "in time are not enclosed": replace(problem, running=moving_target()),
    }
    for words, other in cases.items():
        with pytest.raises(ValueError, match=words):
            lower_bound(other, value)
    times, values = value.times, value.values
    broken = values.copy()
    broken[3, 4, 5] = np.nan
    for words, given in {
        "values must be of shape": Given(value.grid, times, values[1:]),
        "values must be finite": Given(value.grid, times, broken),
        "times must increase from 0": Given(value.grid, 2.0 * times, values),
        "grid has 3 axes": Given(StateGrid([(-4, 4)] * 3, 9), times, values),
    }.items():
        with pytest.raises(ValueError, match=words):
            lower_bound(problem, given)
    with pytest.raises(ValueError, match="above must be a number"):
        lower_bound(problem, value, np.nan)
    moving = problem.network.controls(TimeMesh(1.0, 4), in_time="nodes", norm="H1")
    other = replace(problem, controls=moving, admissible=None)
    with pytest.raises(ValueError, match="linear on layers"):
        proved_cost(other, other.space.zeros())
    smooth = switching(activation=gelu)
    with pytest.raises(ValueError, match="slopes of gelu"):
        proved_cost(smooth, smooth.space.zeros())


def test_the_spline_at_the_start_prunes_unless_a_number_is_given() -> None:
    """The bound of the default is that of W(f_I, 0); where the values are so low that it cuts, that
    of no number at all.
    """
    problem = PROBLEMS["tanh"]
    given = tried(problem, 31, 13)
    bound = lower_bound(problem, given)
    assert bound.value == lower_bound(problem, given, bound.above).value
    assert bound.value > lower_bound(problem, given, np.inf).value
    lower = Given(given.grid, given.times, given.values - 0.3 * given.times[:, None, None])
    free = lower_bound(problem, lower)
    assert free.value >= lower_bound(problem, lower, np.inf).value
