"""The Hamiltonian, its gradient, and its minimisers: closed forms where they are proved, and
nowhere else.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest

from continuum import (
    L1,
    Ball,
    Bottleneck,
    Box,
    Chain,
    Dense,
    FiniteSet,
    Interval,
    L1Ball,
    LearningProblem,
    Linear,
    LowRank,
    NeuralODE,
    NeuralODE2,
    Offset,
    Pointwise,
    RunningCost,
    SquaredError,
    SymmetricLayer,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    gauss_legendre,
    gelu,
    identity,
    relu,
    sigmoid,
    softplus,
    tanh,
)
from solvers import Hamiltonian, Heun, discretize, layer_hamiltonian
from solvers.pontryagin.hamiltonian import AugmentedHamiltonian
from solvers.pontryagin.minimisers import closed_form

GRID = gauss_legendre(Interval(0, 1), 4)
SAMPLES = 3
NETWORKS = {
    "WidthDepth": WidthDepth(GRID, tanh),
    "LowRank": WidthDepth(GRID, tanh, LowRank(2)),
    "SymmetricLayer": SymmetricLayer(GRID, tanh),
    "NeuralODE": NeuralODE(4, tanh),
    "NeuralODE2": NeuralODE2(4, tanh),
    "Bottleneck": Bottleneck(4, tanh, hidden=3),
}
EVERY = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
BOX = Box(bias=(-1, 0.5), kernel=(-2, 1))


def learning(network, rng, penalty=None, admissible=None, samples=SAMPLES, layers=3):
    units = len(network.weights)
    start, target = rng.standard_normal((2, units, samples))
    weights = rng.uniform(1, 2, samples)
    mesh = TimeMesh(1.0, layers, grading=1.3)
    return LearningProblem(
        network, start, target, mesh, penalty=penalty, admissible=admissible, sample_weights=weights
    )


def inner(problem, x, y):
    return sum(
        np.sum((b.weights * x[b.name] * y[b.name]).reshape(len(x[b.name]), -1), axis=1)
        for b in problem.space.trained
    )


@EVERY
@pytest.mark.parametrize("penalty", [None, Tikhonov(0.3)], ids=["bare", "Tikhonov"])
def test_its_derivative_is_the_gradient_of_the_objective_layer_by_layer(network, penalty, rng):
    problem = learning(network, rng, penalty)
    control = problem.space.random(rng, 0.5)
    objective = discretize(problem)
    found, gradient = (
        layer_hamiltonian(objective, control).gradient(dict(control.items())),
        objective.gradient(control),
    )
    for name in gradient:
        np.testing.assert_allclose(found[name], gradient[name], rtol=0, atol=1e-14)


@EVERY
def test_its_derivative_is_that_of_its_value(network, rng):
    problem = learning(network, rng, Tikhonov(0.3))
    control, other, way = ({**problem.space.random(rng, 0.5)} for _ in range(3))
    plain = layer_hamiltonian(discretize(problem), problem.space.random(rng, 0.5))
    augmented = AugmentedHamiltonian(problem, plain.times, plain.states, plain.costates, 0.7, other)
    for hamiltonian in (plain, augmented):
        slope = inner(problem, hamiltonian.gradient(control), way)
        ends = [
            hamiltonian.value({n: x + e * way[n] for n, x in control.items()})
            for e in (-1e-5, 1e-5)
        ]
        np.testing.assert_allclose(slope, (ends[1] - ends[0]) / 2e-5, rtol=0, atol=2e-9)
    np.testing.assert_allclose(augmented.value(other), plain.value(other), rtol=0, atol=1e-15)


def test_the_augmentation_by_its_formula(rng):
    problem = learning(WidthDepth(GRID, tanh), rng)
    at, values = ({**problem.space.random(rng)} for _ in range(2))
    plain = layer_hamiltonian(discretize(problem), problem.space.random(rng, 0.5))
    expected = plain.value(values)
    w = GRID.weights[:, None]
    for k in range(3):
        f, p = plain.states[k], plain.costates[k]
        u, u0 = (c["bias"][k][:, None] - c["kernel"][k] @ (w * f) for c in (values, at))
        back, back0 = (
            -c["kernel"][k].T @ (w * p / np.cosh(v) ** 2) for c, v in ((values, u), (at, u0))
        )
        square = (np.tanh(u) - np.tanh(u0)) ** 2 + (back - back0) ** 2
        expected[k] += 0.5 * 2.5 * np.sum(problem.sample_weights * np.sum(w * square, axis=0))
    augmented = AugmentedHamiltonian(problem, plain.times, plain.states, plain.costates, 2.5, at)
    found = augmented.value(values)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def points(problem, rng, count=5):
    units, samples = problem.initial.shape
    return Hamiltonian(problem, 0.0, *rng.standard_normal((2, count, units, samples)))


SETS = {
    "Box": BOX,
    "Ball": Ball(1.3),
    "L1Ball": Box(bias=(-1, 2)) & L1Ball(kernel=0.7),
    "FiniteSet": FiniteSet(bias=(-1, 0.5), kernel=(-1, 0, 2)),
}


@pytest.mark.parametrize("activation", [tanh, identity], ids=str)
@pytest.mark.parametrize("admissible", SETS.values(), ids=SETS.keys())
def test_one_sample_nothing_in_the_set_is_lower(admissible, activation, rng):
    """Against random points of the set, projected, and its vertices; `gap` agrees without forming
    the kernel.
    """
    problem = learning(WidthDepth(GRID, activation), rng, admissible=admissible, samples=1)
    hamiltonian = points(problem, rng)

    def draw(scale):
        block = {
            "bias": scale * rng.standard_normal((5, 4)),
            "kernel": scale * rng.standard_normal((5, 4, 4)),
        }
        return {**block, **admissible.nearest(block, problem.space)}

    here = draw(1.0)
    best = hamiltonian.minimiser(here)
    assert best.exact
    assert np.all(best.gap > 0)
    for _ in range(300):
        assert np.all(hamiltonian.value(draw(10.0)) >= hamiltonian.value(best.values) - 1e-13)
    np.testing.assert_allclose(best.value, hamiltonian.value(best.values), rtol=1e-14)
    for k in range(5):
        one = problem.space.sample(**{n: x[k] for n, x in best.values.items()})
        assert admissible.contains(one, 1e-13)


def test_one_sample_against_all_vertices(rng):
    grid = gauss_legendre(Interval(0, 1), 2)
    box = Box(bias=(-1, 0.5), kernel=(-2, 1))
    problem = learning(WidthDepth(grid, tanh), rng, admissible=box, samples=1)
    hamiltonian = points(problem, rng, 1)
    lowest = min(
        float(
            hamiltonian.value(
                {"bias": np.array([v[:2]]), "kernel": np.array(v[2:]).reshape(1, 2, 2)}
            )[0]
        )
        for v in itertools.product(*[(-1, 0.5)] * 2, *[(-2, 1)] * 4)
    )
    start = {"bias": np.zeros((1, 2)), "kernel": np.zeros((1, 2, 2))}
    found = hamiltonian.minimiser(start)
    assert hamiltonian.value(found.values)[0] == pytest.approx(lowest, rel=1e-15)


def test_ties_keep_the_control(rng):
    problem = learning(WidthDepth(GRID, tanh), rng, admissible=BOX, samples=1)
    states, costates = rng.standard_normal((2, 1, 4, 1))
    states[0, 2], costates[0, 1] = 0.0, 0.0
    here = {"bias": np.full((1, 4), 0.25), "kernel": np.full((1, 4, 4), 0.125)}
    found = Hamiltonian(problem, 0.0, states, costates).minimiser(here).values
    assert found["bias"][0, 1] == 0.25
    assert np.all(found["kernel"][0, 1] == 0.125)
    assert np.all(found["kernel"][0, :, 2] == 0.125)
    others = np.delete(np.delete(found["kernel"][0], 1, axis=0), 2, axis=1)
    assert np.all((others == -2) | (others == 1))


@pytest.mark.parametrize(
    ("admissible", "strength"),
    [
        (Box(bias=(-1, 1), weight=(-1, 0.5)), 0.0),
        (Box(bias=(-1, 1), weight=(-1, 0.5)), 0.8),
        (None, 0.8),
        (FiniteSet(weight=(-1, 0, 1), bias=(0, 1)), 0.8),
        (Ball(1.0, "bias", "weight"), 0.8),
        (L1Ball(bias=0.7, weight=1.0), 0.0),
    ],
    ids=[
        "Box",
        "Box and Tikhonov",
        "Tikhonov",
        "FiniteSet and Tikhonov",
        "Ball and Tikhonov",
        "L1Ball",
    ],
)
def test_affine_velocities_have_closed_forms_for_any_number_of_samples(admissible, strength, rng):
    problem = learning(
        NeuralODE2(3, tanh), rng, Tikhonov(strength) if strength else None, admissible, samples=5
    )
    assert closed_form(problem) == "affine"
    hamiltonian = points(problem, rng)
    zero = {"bias": np.zeros((5, 3)), "weight": np.zeros((5, 3, 3))}
    best = hamiltonian.minimiser(zero)
    assert best.exact
    low = hamiltonian.value(best.values)
    for scale in (0.01, 0.3, 3.0):
        for _ in range(100):
            trial = {n: x + scale * rng.standard_normal(x.shape) for n, x in best.values.items()}
            if admissible is not None:
                trial.update(admissible.nearest(trial, problem.space))
            assert np.all(hamiltonian.value(trial) >= low - 1e-13)
    if strength and admissible is None:
        slope = hamiltonian.gradient(best.values)
        assert max(float(np.max(np.abs(x))) for x in slope.values()) < 1e-14


def test_two_samples_have_an_interior_maximiser_and_no_closed_form():
    """r = (1, -1), c = (-1, 1), tanh: sum_m r_m sigma(a - c_m) is largest at a = 0, inside [-1,
    1].
    """
    network = WidthDepth(gauss_legendre(Interval(0, 1), 1), tanh)
    space = network.controls(TimeMesh(1.0, 1), fixed={"kernel": 1.0})
    c = np.array([[[-1.0, 1.0]]])
    problem = LearningProblem(network, c[0], np.zeros((1, 2)), space, admissible=Box(bias=(-1, 1)))
    hamiltonian = Hamiltonian(problem, 0.0, c, -np.array([[[1.0, -1.0]]]))
    found = hamiltonian.minimiser({"bias": np.array([[0.7]])})
    assert not found.exact
    assert found.values["bias"][0, 0] == pytest.approx(0.0, abs=1e-6)
    vertices = [float(hamiltonian.value({"bias": np.array([[a]])})[0]) for a in (-1.0, 1.0)]
    assert float(hamiltonian.value(found.values)[0]) == pytest.approx(-np.tanh(1.0), rel=1e-12)
    assert min(vertices) > -np.tanh(1.0) + 0.2


@pytest.mark.parametrize(
    ("network", "penalty", "admissible", "samples"),
    [
        (WidthDepth(GRID, tanh), None, BOX, 2),
        (WidthDepth(GRID, tanh), Tikhonov(0.1), FiniteSet(bias=(0, 1), kernel=(-1, 1)), 1),
        (WidthDepth(GRID, replace(tanh, slope_extrema=None)), Tikhonov(0.1), BOX, 1),
        (WidthDepth(GRID, tanh), Tikhonov(0.1) + L1(0.1), None, 1),
        (WidthDepth(GRID, gelu), None, BOX, 1),
        (WidthDepth(GRID, tanh), None, Box(kernel=(-1, 1)) & L1Ball(bias=1.0), 1),
        (NeuralODE2(4, tanh), Tikhonov(0.1, ["bias"]), Ball(1.0, "bias", "weight"), 1),
        (WidthDepth(GRID, tanh, LowRank(1)), None, Box(bias=(-1, 1), kernel=(-1, 1)), 1),
    ],
    ids=[
        "two samples",
        "finite set and penalty",
        "unknown turns",
        "L1",
        "not monotone",
        "units coupled",
        "two strengths",
        "low rank",
    ],
)
def test_no_closed_form_is_claimed_where_none_is_proved(network, penalty, admissible, samples, rng):
    problem = learning(network, rng, penalty, admissible, samples)
    assert closed_form(problem) == "local"
    hamiltonian = points(problem, rng)
    start = {b.name: np.zeros((5, *b.shape)) for b in problem.space.trained}
    found = hamiltonian.minimiser(start, 20)
    assert not found.exact
    assert np.all(found.gap >= 0)
    assert np.any(found.gap > 0)
    np.testing.assert_allclose(
        found.gap, hamiltonian.value(start) - hamiltonian.value(found.values), atol=1e-13
    )


def test_bad_input(rng):
    free = learning(NeuralODE2(4, tanh), rng, admissible=Box(bias=(-1, 1)))
    with pytest.raises(
        ValueError, match="no minimum: weight is neither bounded by a set nor penalised"
    ):
        points(free, rng).minimiser({"bias": np.zeros((5, 4)), "weight": np.zeros((5, 4, 4))})
    with pytest.raises(ValueError, match="objective must be discretized by Euler"):
        layer_hamiltonian(discretize(free, Heun()), free.space.zeros())


# -- one sample of a network whose units read rows

ROWS = {
    "WidthDepth": WidthDepth(GRID, tanh),
    "NeuralODE": NeuralODE(4, sigmoid),
    "relu": NeuralODE(4, relu),
    "gelu": NeuralODE(4, gelu),
    "a chain": Chain(
        GRID, (Pointwise(sigmoid), Linear("w", Dense()), Offset("a"), Pointwise(tanh))
    ),
    "no bias": Chain(4, (Linear("w", 4), Pointwise(softplus))),
}
PENALISED = {
    "free": lambda names: None,
    "Box": lambda names: Box(**dict.fromkeys(names, (-0.4, 0.7))),
    "half-open": lambda names: Box(**{names[-1]: (-np.inf, 0.3)}),
    "Ball": lambda names: Ball(0.6, *names) if len(names) == 2 else None,
    "L1Ball": lambda names: L1Ball(**{names[-1]: 0.5}),
}


def named(network):
    """The blocks of a network, bias first."""
    return sorted((b.name for b in network.blocks()), key=lambda n: n not in ("bias", "a"))


@pytest.mark.parametrize("network", ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("bounds", PENALISED.values(), ids=PENALISED.keys())
def test_one_sample_with_a_penalty_nothing_is_lower(network, bounds, rng):
    """Against local searches from many starts, which end above or at the minimum, and random
    points.
    """
    problem = learning(network, rng, Tikhonov(0.15), bounds(named(network)), samples=1)
    assert closed_form(problem) == "rows"
    units, samples = problem.initial.shape
    hamiltonian = Hamiltonian(problem, 0.0, *(2.0 * rng.standard_normal((2, 5, units, samples))))

    def draw(scale):
        values = {b.name: scale * rng.standard_normal((5, *b.shape)) for b in problem.space.trained}
        if problem.admissible is not None:
            values.update(problem.admissible.nearest(values, problem.space))
        return values

    best = hamiltonian.minimiser(draw(1.0))
    assert best.exact
    np.testing.assert_allclose(best.value, hamiltonian.value(best.values), rtol=1e-14)
    if problem.admissible is not None:
        assert problem.admissible.excess(best.values, problem.space) < 1e-12
    for scale in (0.1, 1.0, 10.0):
        for _ in range(30):
            assert np.all(hamiltonian.value(draw(scale)) >= best.value - 1e-13)
        local = hamiltonian.descend(draw(scale), 200)
        assert np.all(local.value >= best.value - 1e-12)
    near = hamiltonian.descend(best.values, 50)
    np.testing.assert_allclose(near.value, best.value, rtol=0, atol=1e-12)


def test_a_row_with_a_penalty_is_stationary(rng):
    """2 lambda a_i = -p_i sigma'(u_i), and the same of every entry of the kernel, to rounding."""
    problem = learning(WidthDepth(GRID, tanh), rng, Tikhonov(0.2), samples=1)
    hamiltonian = points(problem, rng)
    zero = {b.name: np.zeros((5, *b.shape)) for b in problem.space.trained}
    slope = hamiltonian.gradient(hamiltonian.minimiser(zero).values)
    assert max(float(np.max(np.abs(x))) for x in slope.values()) < 1e-12


def test_blocks_without_penalty_go_to_their_bounds(rng):
    """A penalty on the kernel alone: the bias is a vertex, against the sign of p."""
    penalty = Tikhonov(0.2, ["kernel"])
    problem = learning(WidthDepth(GRID, tanh), rng, penalty, Box(bias=(-1, 0.5)), samples=1)
    assert closed_form(problem) == "rows"
    hamiltonian = points(problem, rng)
    start = {"bias": np.zeros((5, 4)), "kernel": np.zeros((5, 4, 4))}
    best = hamiltonian.minimiser(start)
    assert best.exact
    down = hamiltonian.costates[..., 0] > 0
    np.testing.assert_array_equal(best.values["bias"], np.where(down, -1.0, 0.5))
    for _ in range(20):
        begin = {n: 2.0 * rng.standard_normal(x.shape) for n, x in start.items()}
        begin["bias"] = np.clip(begin["bias"], -1, 0.5)
        assert np.all(hamiltonian.descend(begin, 100).value >= best.value - 1e-12)


def test_a_fixed_bias_shifts_the_rows(rng):
    network = WidthDepth(GRID, tanh)
    space = network.controls(TimeMesh(1.0, 2), fixed={"bias": np.array([-2.0, -1.0, 1.0, 2.0])})
    problem = LearningProblem(
        network, np.ones((4, 1)), np.zeros((4, 1)), space, penalty=Tikhonov(0.1)
    )
    hamiltonian = points(problem, rng)
    best = hamiltonian.minimiser({"kernel": np.zeros((5, 4, 4))})
    assert best.exact
    for scale in (1.0, 5.0):
        start = {"kernel": scale * rng.standard_normal((5, 4, 4))}
        assert np.all(hamiltonian.descend(start, 200).value >= best.value - 1e-12)


@pytest.mark.parametrize(
    "admissible",
    [Box(bias=(-1, 1), weight=(-1, 0.5)), FiniteSet(bias=(-1, 1), weight=(-1, 0, 2))],
    ids=str,
)
def test_rows_of_a_matrix_have_vertices(admissible, rng):
    """NeuralODE, one sample: every vertex of a row against all others."""
    problem = learning(NeuralODE(2, tanh), rng, admissible=admissible, samples=1)
    assert closed_form(problem) == "rows"
    hamiltonian = points(problem, rng)
    best = hamiltonian.minimiser({"bias": np.zeros((5, 2)), "weight": np.zeros((5, 2, 2))})
    assert best.exact
    sides = (-1.0, 1.0), (-1.0, 0.0, 2.0) if isinstance(admissible, FiniteSet) else (-1.0, 0.5)
    lowest = np.full(5, np.inf)
    for v in itertools.product(*[sides[0]] * 2, *[sides[1]] * 4):
        bias, weight = np.array(v[:2]), np.reshape(v[2:], (2, 2))
        trial = {"bias": np.tile(bias, (5, 1)), "weight": np.tile(weight, (5, 1, 1))}
        lowest = np.minimum(lowest, hamiltonian.value(trial))
    np.testing.assert_allclose(best.value, lowest, rtol=1e-13)


# -- running costs, times, points


@dataclass(frozen=True)
class Effort(RunningCost):
    """(1 + t) |f|^2 |a|^2 / 2 for the bias a: it reads state, control and time."""

    def density(self, network, f, c, t):
        w = network.weights
        return 0.5 * (1 + t) * (w @ (f * f)) * np.sum(w * c["bias"] ** 2)

    def vjp(self, network, f, c, t, q):
        w, a = network.weights, c["bias"]
        size = np.sum(w * a * a)
        bar = (1 + t) * float(np.sum(q * (w @ (f * f)))) * a
        return (1 + t) * q * f * size, {"bias": bar}

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        w, a = network.weights, c["bias"]
        da = dc.get("bias", np.zeros_like(a))
        size, change = np.sum(w * a * a), 2 * np.sum(w * a * da)
        squares, moved = np.sum(q * (w @ (f * f))), 2 * np.sum(q * (w @ (f * df)))
        bar = (1 + t) * (moved * a + squares * da)
        return (1 + t) * q * (df * size + f * change), {"bias": bar}

    def formula(self):
        return "(1 + t) |f|^2 |bias|^2 / 2"


RUNNING = {
    "loss": SquaredError(0.7),
    "moving target": Tracking(SquaredError(0.3), target=lambda t: np.full((4, SAMPLES), t)),
    "state, control, time": Effort(),
}


@pytest.mark.parametrize(
    ("network", "running"),
    [
        *itertools.product(["WidthDepth", "NeuralODE2"], RUNNING),
        ("Bottleneck", "moving target"),
    ],
)
def test_the_running_cost_belongs_to_the_hamiltonian_of_a_layer(network, running, rng):
    """Exactly, by the trapezoid rule with the layer's control at both its ends."""
    problem = replace(learning(NETWORKS[network], rng, Tikhonov(0.1)), running=RUNNING[running])
    control = problem.space.random(rng, 0.5)
    objective = discretize(problem)
    gradient = objective.gradient(control)
    hamiltonian = layer_hamiltonian(objective, control)
    found = hamiltonian.gradient(dict(control.items()))
    for name in gradient:
        np.testing.assert_allclose(found[name], gradient[name], rtol=0, atol=1e-13)
    way = dict(problem.space.random(rng).items())
    ends = [
        hamiltonian.value({n: x + e * way[n] for n, x in control.items()}) for e in (-1e-5, 1e-5)
    ]
    slope = inner(problem, found, way)
    np.testing.assert_allclose(slope, (ends[1] - ends[0]) / 2e-5, rtol=0, atol=3e-9)


def test_the_augmentation_of_a_running_cost_that_reads_the_control(rng):
    """Its derivative is that of its value, in the state's rate too."""
    problem = replace(learning(WidthDepth(GRID, tanh), rng), running=Effort())
    control, at, way = ({**problem.space.random(rng, 0.5)} for _ in range(3))
    plain = layer_hamiltonian(discretize(problem), problem.space.random(rng, 0.5))
    augmented = AugmentedHamiltonian(
        problem, plain.times, plain.states, plain.costates, 0.7, at, after=plain.after
    )
    ends = [augmented.value({n: x + e * way[n] for n, x in control.items()}) for e in (-1e-5, 1e-5)]
    slope = inner(problem, augmented.gradient(control), way)
    np.testing.assert_allclose(slope, (ends[1] - ends[0]) / 2e-5, rtol=0, atol=3e-9)
    assert closed_form(problem) == "local"


def test_points_of_a_grid_at_one_time_and_at_many(rng):
    """What a Hamilton-Jacobi-Bellman equation asks: many states of one sample, one time."""
    target = Tracking(SquaredError(0.3), target=lambda t: np.full((4, 1), t))
    problem = learning(WidthDepth(GRID, tanh), rng, admissible=BOX, samples=1)
    problem = replace(problem, running=target)
    states, costates = rng.standard_normal((2, 7, 4, 1))
    zero = {"bias": np.zeros((7, 4)), "kernel": np.zeros((7, 4, 4))}
    whole = Hamiltonian(problem, 0.4, states, costates).minimiser(zero)
    for n in range(7):
        here = {name: x[n : n + 1] for name, x in zero.items()}
        one = Hamiltonian(problem, [0.4], states[n : n + 1], costates[n : n + 1]).minimiser(here)
        np.testing.assert_allclose(one.value[0], whole.value[n], rtol=1e-13)
    times = np.linspace(0, 1, 7)
    density = Hamiltonian(problem, times, states, 0.0 * costates).value(zero)
    expected = 0.3 * GRID.weights @ (states[..., 0].T - times) ** 2
    np.testing.assert_allclose(density, expected, rtol=1e-13)
    with pytest.raises(ValueError, match="costates has shape"):
        Hamiltonian(problem, 0.0, states, costates[:3])


def test_a_penalty_without_a_gradient_is_met_by_its_proximal_map(rng):
    """L1: entries that the local search leaves are exactly zero, and H falls."""
    problem = learning(NeuralODE2(3, tanh), rng, L1(0.5), Box(bias=(-1, 1), weight=(-1, 1)))
    hamiltonian = points(problem, rng)
    start = {"bias": np.full((5, 3), 0.5), "weight": np.full((5, 3, 3), 0.5)}
    found, exact = hamiltonian.descend(start, 300), hamiltonian.minimiser(start)
    assert exact.exact
    np.testing.assert_allclose(found.value, exact.value, rtol=0, atol=1e-9)
    assert np.all(found.gap > 0)
    assert np.any(found.values["weight"] == 0.0)
    for _ in range(100):
        trial = {n: rng.uniform(-1, 1, x.shape) for n, x in start.items()}
        assert np.all(hamiltonian.value(trial) >= found.value - 1e-9)  # affine + L1 is convex
