"""Value functions on grids: closed forms, orders, and the loops against their references."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    Activation,
    Box,
    LearningProblem,
    SquaredError,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    arctan,
    elu,
    gauss_legendre,
    identity,
    leaky_relu,
    midpoint,
    relu,
    sigmoid,
    softplus,
    tanh,
)
from solvers import LBFGS, RK4, SolveError, Status, discretize, minimize
from solvers.hjb import StateGrid, solve_hjb
from solvers.hjb.lines import PERIODIC, Workers, axes_of
from solvers.hjb.semi_lagrangian import (
    flow_strips,
    least_strips,
    reference_flow,
    reference_least,
    strips,
)
from solvers.hjb.separable import separable
from solvers.hjb.splitting import Splitting
from solvers.hjb.sweeps import Rates
from studies.liu_markowich.paper import boxed
from studies.shared import UNIT

SWITCHING, TWO_EXTREMALS = 0.4235585550392474, 0.1311701244888148
COSTATE = np.array([2.197905988694671, 0.575797154931401])
"""LM-54, LM-55; r(0) of LM-54, from LM-61."""
SQUARE = [(-3.5, 3.5)] * 2
GRIDS = [
    ((70,), "open"),
    ((9,), "periodic"),
    ((9, 81), ("periodic", "closed")),
    ((81, 12), ("closed", "open")),
    ((9, 11, 70), ("open", "periodic", "closed")),
    ((9, 8, 8, 10), ("periodic", "open", "open", "periodic")),
    ((8, 8, 9, 8, 8), "open"),
]


def switching() -> LearningProblem:
    return boxed([0.5, 0.5], [4.0, 0.0])


def grid_of(shape: tuple[int, ...], walls: object) -> StateGrid:
    box = [(-2.0 - 0.1 * i, 2.2 + 0.3 * i) for i in range(len(shape))]
    return StateGrid(box, shape, walls)  # type: ignore[arg-type]


def bias_alone(
    initial: list[float], target: list[float], *, horizon: float, layers: int = 40, **rest: object
) -> LearningProblem:
    """f' = psi(a - kernel f) with a kernel that is held: by default zero."""
    kernel, in_time = rest.pop("kernel", 0.0), rest.pop("in_time", "layers")
    grid = rest.pop("grid", None) or midpoint(UNIT, len(initial))
    network = WidthDepth(grid, rest.pop("psi", identity))  # type: ignore[arg-type]
    whole = LearningProblem(
        network,
        np.array(initial)[:, None],
        np.array(target)[:, None],
        TimeMesh(horizon, layers),
        **rest,  # type: ignore[arg-type]
    )
    if in_time == "nodes":
        whole = replace(whole, controls=network.controls(whole.mesh, in_time="nodes"))
    field = kernel if callable(kernel) else (lambda y, z, t: kernel + 0.0 * (y + z + t))
    return whole.holding(whole.space.sample(kernel=field), ["kernel"])[0]


# -- grids


def test_grids_around_what_is_reached() -> None:
    """LM-54: |f| grows as 1.5 e^t - 1 at most; the box holds that and 2.5 spacings more."""
    problem = switching()
    grid = StateGrid.reachable(problem, 61)
    low, high = np.array(grid.box).T
    assert grid.shape == (61, 61)
    assert np.all(low <= 0.5 - 1.5 * (np.e - 1.0) - 2.4 * grid.spacings)
    assert np.all(high >= 1.5 * np.e - 1.0 + 2.4 * grid.spacings)
    assert np.all(high < 1.05 * (1.5 * np.e - 1.0) + 2.6 * grid.spacings)
    assert abs(solve_hjb(problem, grid, times=3).at_start - SWITCHING) < 2e-3
    with pytest.raises(ValueError, match="no box of reachable states"):
        StateGrid.reachable(kinds(2)["free"], 61)


def test_coarser_grids_and_cells() -> None:
    grid = StateGrid([(-1, 2), (0, 1)], (33, 40), walls=("open", "periodic"))
    assert grid.coarser(4).shape == (9, 10)
    assert grid.coarser(100).shape == (8, 8)
    assert grid.coarser(2).box == grid.box
    assert grid.coarser(2).walls == grid.walls
    first, last = grid.cells(np.array([0.0, 0.4]), np.array([0.05, 0.6]))
    assert np.array_equal(first, [11, 16])
    assert np.array_equal(last, [11, 24])
    with pytest.raises(ValueError, match="grid must reach beyond"):
        grid.cells(np.array([-1.0, 0.4]), np.array([0.05, 0.6]))


def test_open_walls_of_unbounded_velocities() -> None:
    """A linear-quadratic problem whose states would gain by leaving: the values stay finite."""
    problem = replace(switching(), admissible=None, penalty=Tikhonov(0.1))
    value = solve_hjb(problem, StateGrid([(-3, 4)] * 2, 41), times=3)
    descent = discretize(problem, RK4(), steps_per_layer=2)
    direct = minimize(descent, LBFGS(gtol=1e-7)).objective
    assert abs(value.at_start - direct) < 1e-3
    assert abs(value.at_start - direct) <= value.error


# -- closed forms


@pytest.mark.parametrize(("scheme", "error"), [("weno", 1.2e-3), ("strang", 2e-4)])
def test_straight_lines(scheme: str, error: float) -> None:
    """LM-57: without a kernel, half the squared distance of the target from what each unit
    reaches, and its derivative.
    """
    grid = gauss_legendre(UNIT, 3)
    problem = bias_alone(
        list(grid.nodes[:, 0]),
        [2.0, 0.3, -1.0],
        horizon=0.75,
        grid=grid,
        psi=tanh,
        admissible=Box(bias=(-1, 2)),
    )
    box = StateGrid([(-0.6, 1.9), (-0.7, 1.6), (-0.6, 1.9)], 41)
    value = solve_hjb(problem, box, times=2, scheme=scheme)  # type: ignore[arg-type]
    assert abs(value.at_start - 0.4288428900958361) < error
    slope = value.gradient(problem.initial, 0.0)[:, 0]
    assert np.max(np.abs(slope - [-1.16427765, 0.0, 1.31610272])) < 10 * error


@pytest.mark.parametrize("scheme", ["weno", "strang"])
@pytest.mark.parametrize(
    ("target", "cost", "error"),
    [(4.0, 0.4255743978541422, 1e-6), (-1.5, 0.2365427523306247, 6e-4), (1.0, 0.0, 2e-5)],
)
def test_a_scalar_box(scheme: str, target: float, cost: float, error: float) -> None:
    """LM-58; on the way to -1.5 the velocity has a kink, at 0."""
    problem = boxed([0.5], [target], grid=midpoint(UNIT, 1))
    value = solve_hjb(problem, StateGrid([(-3, 5)], 401), scheme=scheme)  # type: ignore[arg-type]
    assert abs(value.at_start - cost) < error
    assert value.status.ok


@pytest.mark.parametrize(
    ("kernel", "cost", "slope"),
    [
        (1.0, 0.0326440770518443, -0.07775702512595613),
        (-1.0, 0.2410326028278039, 0.7557970779778824),
    ],
)
def test_a_linear_quadratic_problem(kernel: float, cost: float, slope: float) -> None:
    """LM-59, at two nodes, whose discrete mean and variance stand for those of (0, 1): V of the
    formula at v, by quadratics that the scheme resolves.
    """
    v = np.array([0.25, 0.75])
    problem = bias_alone(
        [0.25, 0.75], [0.0, 0.0], horizon=1.0, kernel=kernel, penalty=Tikhonov(0.5)
    )
    e = np.exp(-2.0 * kernel)
    p = 2.0 * kernel * e / (2.0 * kernel + 1.0 - e)
    mean = np.mean(v)
    exact = 0.5 * p * mean**2 + 0.5 * np.mean((v - mean) ** 2) / 2.0
    # the continuum's value has the variance 1/12 of y where two nodes have 1/16
    assert abs(exact + 0.25 * (1 / 12 - 1 / 16) - cost) < 1e-12
    value = solve_hjb(problem, StateGrid([(-2.0, 2.0)] * 2, 81))
    assert abs(value.at_start - exact) < 1e-7
    gradient = value.gradient(v[:, None], 0.0)[:, 0]
    assert np.max(np.abs(gradient - (p * mean + (v - mean) / 2.0))) < 1e-6
    assert abs(p * mean + (0.25 - mean) / 2.0 - slope) < 1e-12


def test_the_switching_problem() -> None:
    """LM-54 and LM-61: the value within the error declared, and its gradient is -r(0)."""
    problem = switching()
    for scheme, error, steep in (("weno", 3e-4, 2e-3), ("strang", 3e-4, 4e-3)):
        value = solve_hjb(problem, StateGrid(SQUARE, 161), times=9, scheme=scheme)  # type: ignore[arg-type]
        assert abs(value.at_start - SWITCHING) < error
        assert abs(value.at_start - SWITCHING) <= value.error < 10 * error
        gradient = value.gradient(problem.initial, 0.0)[:, 0]
        assert np.max(np.abs(gradient + COSTATE)) < steep
        partials = value.partials(problem.initial, 0.0)[:, 0]
        assert np.allclose(partials, 0.5 * gradient, rtol=1e-14)


def test_two_extremals() -> None:
    """LM-55: the value on the ridge, within the error declared."""
    problem = boxed([0.0, 0.0], [6.0, 0.0], horizon=2.0)
    for scheme, error in (("weno", 1e-3), ("strang", 2e-3)):
        grid = StateGrid([(-2.0, 7.0), (-3.0, 3.0)], 161)
        value = solve_hjb(problem, grid, times=3, scheme=scheme)  # type: ignore[arg-type]
        assert abs(value.at_start - TWO_EXTREMALS) < error
        assert abs(value.at_start - TWO_EXTREMALS) <= value.error


def test_schemes_agree_at_all_times() -> None:
    """Also at times inside a step of flows, which shorter steps lead to, and between the times."""
    problem, grid = switching(), StateGrid(SQUARE, 81)
    weno = solve_hjb(problem, grid)
    strang = solve_hjb(problem, grid, scheme="strang", steps=20)
    assert strang.steps == 20
    odd = solve_hjb(problem, grid, times=60, scheme="strang", steps=13)
    assert odd.steps == 12  # 59 slabs in fives and a rest of four
    points = np.random.default_rng(3).uniform(-0.5, 1.5, (2, 50))
    for t in (0.0, 0.0125, 0.025, 0.31, 0.4993, 0.95, 0.99, 1.0):
        for other in (strang, odd):
            assert np.max(np.abs(weno(points, t) - other(points, t))) < 7e-3
    rough = solve_hjb(problem, grid, times=11)
    assert np.max(np.abs(rough(points, 0.55) - weno(points, 0.55))) < 3e-3


def test_orders() -> None:
    """On three grids: first order upwind, second with kinks, fifth in space where V is smooth."""
    errors = {}
    for scheme in ("weno", "strang", "upwind"):
        errors[scheme] = [
            solve_hjb(switching(), StateGrid(SQUARE, n), times=2, scheme=scheme).at_start  # type: ignore[arg-type]
            - SWITCHING
            for n in (41, 81, 161)
        ]
    orders = {s: 0.5 * np.log2(e[0] / e[2]) for s, e in errors.items()}
    assert abs(orders["upwind"] - 1.0) < 0.1
    assert 1.9 < orders["weno"] < 2.4
    assert 1.6 < orders["strang"] < 2.4
    smooth = bias_alone(
        [0.3, -0.4],
        [1.0, 0.5],
        horizon=1.0,
        kernel=-0.5,
        psi=identity,
        penalty=Tikhonov(0.5),
        running=Tracking(SquaredError(0.5)),
    )
    values = [
        solve_hjb(smooth, StateGrid([(-2.0, 2.0)] * 2, n), times=2).at_start for n in (11, 21, 41)
    ]
    assert abs(values[2] - values[1]) < 1e-6 + abs(values[1] - values[0]) / 8.0


# -- loops and references


def kinds(units: int) -> dict[str, LearningProblem]:
    grid = midpoint(UNIT, units)
    zero, one = [0.0] * units, [1.0] * units
    box = Box(bias=(-1, 1.3), kernel=(-0.2, 0.3))
    interval = boxed(zero, one, grid=grid, activation=tanh)
    interval = replace(interval, admissible=box, running=Tracking(SquaredError(0.7)))
    entries = boxed(zero, one, grid=grid)
    entries = replace(entries, admissible=box, penalty=Tikhonov(0.3))
    return {
        "interval": interval,
        "entries": entries,
        "free": replace(entries, admissible=None),
        "scalar": bias_alone(
            zero, one, horizon=1.0, psi=tanh, kernel=-0.7, penalty=Tikhonov(0.05), grid=grid
        ),
    }


@pytest.mark.parametrize(("shape", "walls"), GRIDS)
def test_compiled_rates_are_their_reference(
    shape: tuple[int, ...], walls: object, rng: np.random.Generator
) -> None:
    grid = grid_of(shape, walls)
    v = rng.standard_normal(grid.size)
    open_ = np.array([wall != "closed" for wall in grid.walls])
    for kind, problem in kinds(len(shape)).items():
        if len(shape) == 5 and kind != "interval":
            continue  # minutes by NumPy, and what differs from 4 is the same for all kinds
        h = separable(problem)
        for weno in (True, False):
            with Workers(1) as workers:
                loop, reference = (Rates(h, grid, weno, w) for w in (workers, None))
                found, expected = np.empty((2, grid.size))
                speeds = loop(v, 0.3, found, True), reference(v, 0.3, expected, True)
            assert np.max(np.abs(found - expected)) <= 1e-12 * np.max(np.abs(expected))
            if h.kind == "interval":  # at closed walls the loop counts both bounds
                speeds = speeds[0][open_], speeds[1][open_]
            assert np.allclose(*speeds, rtol=1e-12)


@pytest.mark.parametrize("psi", [sigmoid, arctan, softplus, relu, leaky_relu(0.2), elu(0.7)])
@pytest.mark.parametrize("size", [0.03, 1.0, 30.0])
def test_minima_before_an_activation(
    psi: Activation, size: float, rng: np.random.Generator
) -> None:
    """The same for other activations, slopes small and large."""
    grid = grid_of((13, 12), "open")
    problem = bias_alone(
        [0.0, 0.0], [1.0, 1.0], horizon=1.0, psi=psi, kernel=-0.7, penalty=Tikhonov(0.05)
    )
    v = size * rng.standard_normal(grid.size)
    found, expected = np.empty((2, grid.size))
    with Workers(1) as workers:
        Rates(separable(problem), grid, True, workers)(v, 0.3, found, True)
    Rates(separable(problem), grid, True, None)(v, 0.3, expected, True)
    assert np.max(np.abs(found - expected)) <= 1e-12 * np.max(np.abs(expected))


@pytest.mark.parametrize(("shape", "walls"), GRIDS)
def test_compiled_flows_are_their_reference(
    shape: tuple[int, ...], walls: object, rng: np.random.Generator
) -> None:
    grid = grid_of(shape, walls)
    for axis in axes_of(grid):
        v, velocity = rng.standard_normal((2, grid.size))
        dt, count = 1.7 / axis.inverse, strips(axis)
        reached = []
        for u in (velocity, velocity + 0.8):
            y = np.empty(grid.size)
            flow_strips(axis, u, dt, 1e-6, 0, count, y)
            assert np.max(np.abs(y - reference_flow(axis, u, dt, 1e-6))) < 1e-10
            reached.append(y)
        low, high = np.minimum(*reached), np.maximum(*reached)
        expected = reference_least(axis, v, low, high, 1e-6)
        found = v.copy()
        least_strips(axis, found, low, high, 1e-6, 0, count)
        assert np.max(np.abs(found - expected)) < 1e-12


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, grid = switching(), StateGrid(SQUARE, 41)
    alone = [solve_hjb(problem, grid, times=3, scheme=s).values for s in ("weno", "strang")]
    monkeypatch.setattr("solvers.hjb.lines._SHARED", 1)
    monkeypatch.setattr("numba.get_num_threads", lambda: 3)
    shared = [solve_hjb(problem, grid, times=3, scheme=s).values for s in ("weno", "strang")]
    for one, several in zip(alone, shared, strict=True):
        assert np.array_equal(one, several)


def test_the_least_value_on_an_interval_is_that_of_the_interpolant(
    rng: np.random.Generator,
) -> None:
    """Brute force: no point of a fine sample of the interval has a smaller value."""
    for wall in ("open", "periodic"):
        grid = StateGrid([(0.0, 1.0)], 12, wall)  # type: ignore[arg-type]
        (axis,) = axes_of(grid)
        v = np.cumsum(rng.standard_normal(12))
        y = np.arange(12.0)
        low, high = y - 2.0 * rng.random(12), y + 3.0 * rng.random(12)
        found = v.copy()
        least_strips(axis, found, low, high, 1e-6, 0, 1)
        sample = low[None] + np.linspace(0.0, 1.0, 501)[:, None] * (high - low)
        values = np.stack([reference_least(axis, v, s, s, 1e-6) for s in sample])
        assert np.all(found <= np.min(values, axis=0) + 1e-14)
        assert np.max(np.min(values, axis=0) - found) < 1e-2
        assert (axis.wall == PERIODIC) == (wall == "periodic")


# -- walls


@pytest.mark.parametrize("scheme", ["weno", "strang", "upwind"])
def test_closed_walls_are_not_passed(scheme: str) -> None:
    """f' = a, |a| <= 1, from 1/2 to 2 in a time 1: 1.5 is reached, 1 where a wall stands there."""
    problem = bias_alone([0.5], [2.0], horizon=1.0, admissible=Box(bias=(-1, 1)))
    error = {"weno": 1e-4, "strang": 1e-3, "upwind": 0.02}[scheme]  # h = .01, a convex kink
    for box, walls, cost in (((-1, 1), "closed", 0.5), ((-1, 3), "open", 0.125)):
        grid = StateGrid([box], 201, walls)  # type: ignore[arg-type]
        value = solve_hjb(problem, grid, times=3, scheme=scheme)  # type: ignore[arg-type]
        assert abs(value.at_start - cost) < error
    driven = bias_alone([0.5], [2.0], horizon=1.0, admissible=Box(bias=(0.1, 1)))
    with pytest.raises(ValueError, match="keeps unit 0 inside its closed wall"):
        solve_hjb(driven, StateGrid([(-1, 1)], 21, "closed"), scheme=scheme)  # type: ignore[arg-type]


def test_closed_walls_of_penalised_controls() -> None:
    """f' = a with int a^2: from 1/2 the wall at 1 is reached in time at constant speed, 1/4 + 1/2
    in all, and the target 2 beyond it stays away.
    """
    problem = bias_alone([0.5], [2.0], horizon=1.0, penalty=Tikhonov(1.0))
    value = solve_hjb(problem, StateGrid([(-1, 1)], 201, "closed"), times=3)
    free = solve_hjb(problem, StateGrid([(-1, 3)], 201), times=3)
    assert abs(free.at_start - 0.75) < 1e-6  # s^2 + (1.5 - s)^2 / 2 at s = 1/2, just at the wall
    assert abs(value.at_start - 0.75) < 1e-3
    near = np.array([[0.9]])
    assert abs(value(near, 0.0)[0] - 0.51) < 3e-3  # .1^2 + 1/2; without the wall 1.1^2 / 3
    assert abs(free(near, 0.0)[0] - 1.21 / 3.0) < 1e-6


def test_periodic_axes_have_no_beginning(rng: np.random.Generator) -> None:
    """Where velocities are the same everywhere, shifted values have shifted rates and flows."""
    problem = bias_alone([0.5, 0.2], [1.0, 1.0], horizon=1.0, admissible=Box(bias=(-1, 0.7)))
    h, grid = separable(problem), StateGrid([(-1, 1)] * 2, (9, 12), "periodic")
    v = rng.standard_normal(grid.shape)
    moved = np.roll(v, (2, -5), (0, 1))
    with Workers(1) as workers:
        rates, splitting = Rates(h, grid, True, workers), Splitting(h, grid, workers)
        found = []
        for given in (v, moved):
            rate, least = np.empty(grid.size), given.ravel().copy()
            rates(given.ravel(), 0.5, rate, False)
            splitting.advance(least, 0.8, 0.3, 1)
            found.append((rate.reshape(grid.shape), least.reshape(grid.shape)))
    for one, other in zip(*found, strict=True):
        assert np.allclose(np.roll(one, (2, -5), (0, 1)), other, rtol=1e-12, atol=1e-13)


# -- costs and fixed blocks that depend on time, against descents on many layers


def moving_kernel(y: np.ndarray, z: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.cos(3.0 * t + y) - 2.0 * z * t


@pytest.mark.parametrize(
    ("kind", "in_time"),
    [("interval", "layers"), ("entries", "layers"), ("entries", "nodes"), ("scalar", "layers")],
)
def test_what_depends_on_time(kind: str, in_time: str) -> None:
    """V(f_I, 0) is the cost that a descent finds on 40 layers, Runge-Kutta's on each; on "nodes"
    kernel and control are linear in each of 20.
    """
    rest: dict[str, object] = {
        "interval": {"admissible": Box(bias=(-1.0, 0.5)), "psi": tanh},
        "entries": {
            "admissible": Box(bias=(-0.6, 0.5)) if in_time == "layers" else None,
            "penalty": Tikhonov(0.2),
        },
        "scalar": {"penalty": Tikhonov(0.2), "psi": tanh},
    }[kind]
    problem = bias_alone(
        [0.5, -0.3],
        [1.0, 0.7],
        horizon=1.0,
        kernel=moving_kernel,
        layers=20 if in_time == "nodes" else 40,
        in_time=in_time,
        running=Tracking(SquaredError(0.8), target=lambda t: np.array([[np.sin(4 * t)], [t]])),
        **rest,
    )
    descent = discretize(problem, RK4(), steps_per_layer=8, running_on="steps")
    direct = minimize(descent, LBFGS(gtol=1e-7)).objective
    assert separable(problem).kind == kind
    assert not separable(problem).autonomous
    grid = StateGrid([(-1.5, 2.0)] * 2, 15 if kind == "scalar" else 61)
    error = {"interval": 4e-4, "entries": 1e-4 if in_time == "layers" else 4e-5, "scalar": 1e-3}[
        kind
    ]
    for scheme in ("weno", "strang") if kind == "interval" else ("weno",):
        value = solve_hjb(problem, grid, times=5, scheme=scheme)  # type: ignore[arg-type]
        assert abs(value.at_start - direct) < error


# -- bad input


def test_bad_input_is_named() -> None:
    problem, grid = switching(), StateGrid(SQUARE, 21)
    many = boxed([0.0] * 6, [1.0] * 6, grid=midpoint(UNIT, 6))
    cases = [
        (many, StateGrid([(-1, 1)] * 6, 8), {}, "descend_values"),
        (problem, StateGrid([(-1, 1)] * 3, 8), {}, "grid has 3 axes, the problem 2 units"),
        (problem, StateGrid([(0.6, 4), (-1, 1)], 21), {}, "does not contain the start"),
        (problem, StateGrid(SQUARE, 100_000), {}, r"grid needs [\d.e+]+ GiB"),
        (problem, grid, {"most_gibibytes": 1e-6}, "most_gibibytes is 1e-06"),
        (problem, grid, {"times": 1}, "times must be at least 2"),
        (problem, grid, {"scheme": "eno"}, "unknown scheme 'eno'"),
        (problem, grid, {"steps": 3}, "steps are chosen"),
        (kinds(2)["entries"], StateGrid([(-1, 2)] * 2, 21), {"scheme": "strang"}, "weno"),
        (bias_alone([0.0], [1.0], horizon=1.0), StateGrid([(-1, 2)], 21), {}, "bias"),
    ]
    for given, box, rest, words in cases:
        with pytest.raises(ValueError, match=words):
            solve_hjb(given, box, **rest)  # type: ignore[arg-type]
    value = solve_hjb(problem, grid, times=3)
    with pytest.raises(ValueError, match="f has states outside the grid"):
        value(np.array([[3.6], [0.0]]), 0.0)
    with pytest.raises(ValueError, match="t must be in"):
        value(problem.initial, 1.5)
    with pytest.raises(ValueError, match="f has shape"):
        value(np.zeros(2), 0.0)
    with pytest.raises(TypeError, match="grid must be a StateGrid"):
        solve_hjb(problem, 21)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["weno", "upwind", "strang"])
def test_values_that_overflow(scheme):
    """V grows with T - t beyond the largest number: a failure, which keeps what is finite."""
    problem = replace(
        boxed([0.5], [0.0], grid=midpoint(UNIT, 1), horizon=8.0, layers=8),
        admissible=Box(bias=(-0.01, 0.01), kernel=(-0.01, 0.01)),
        terminal=None,
        running=SquaredError(1e307),
    )
    grid = StateGrid([(-2, 2)], 41)
    with pytest.raises(SolveError, match="value became infinite or NaN") as failure:
        solve_hjb(problem, grid, times=17, scheme=scheme)
    value = failure.value.solution.value
    assert value.status is failure.value.solution.status is Status.VALUE_NOT_FINITE
    assert 0.0 < value.times[0] < value.times[-1] == 8.0
    assert value.detail == failure.value.solution.detail == f"before t = {value.times[0]:.6g}"
    assert value.values.shape == (len(value.times), 41)
    assert np.all(np.isfinite(value.values))
    short = replace(problem, controls=problem.mesh.stretched(float(8.0 - value.times[0])))
    again = solve_hjb(short, grid, times=len(value.times), scheme=scheme)
    assert again.status is Status.FINISHED
    f = np.array([[0.5, 1.0]])
    np.testing.assert_allclose(value(f, float(value.times[0])), again(f, 0.0), rtol=1e-2)
    with pytest.raises(ValueError, match=r"t must be in \["):
        value(f, 0.0)
    kept = solve_hjb(problem, grid, times=17, scheme=scheme, raise_on_failure=False)
    np.testing.assert_array_equal(kept.values, value.values)


def test_a_terminal_cost_that_is_not_finite():
    problem = replace(boxed([0.5], [0.0], grid=midpoint(UNIT, 1)), terminal=SquaredError(1e308))
    with pytest.raises(ValueError, match="terminal cost is not finite"):
        solve_hjb(problem, StateGrid([(-4, 4)], 41), times=3)
