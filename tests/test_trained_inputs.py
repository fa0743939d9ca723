"""Filters before the differential equation: the map by hand, its derivatives, and the objective
that trains it with the control.
"""

import pickle
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from continuum import (
    L1,
    Affine,
    Block,
    Bottleneck,
    Box,
    DirectSum,
    FilterBank,
    InputMap,
    Interval,
    LearningProblem,
    NeuralODE2,
    SignedReadout,
    SquaredError,
    Staged,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    relu,
    tanh,
)
from continuum.io import load_control, save_control
from solvers import (
    LBFGS,
    RK4,
    Adam,
    Composite,
    FixedStep,
    GradientDescent,
    RiccatiNewton,
    Status,
    discretize,
    integrate,
    layer_hamiltonian,
    minimize,
    trained_inputs,
)

FILTERS = "initial.filters"
MESH = TimeMesh(1.2, 3, grading=1.3)


@dataclass(frozen=True, eq=False)
class Bent(InputMap):
    """f = z + z^2 / 2, z = A x: a smooth map with a second derivative; the block has weights."""

    x: np.ndarray
    units: int
    weights: ClassVar[np.ndarray] = np.array([0.5, 2.0])

    @property
    def samples(self):
        return self.x.shape[1]

    def blocks(self):
        shape = self.units, len(self.x)
        return (Block("initial.A", shape, "static", np.ones((self.units, 1)) * self.weights),)

    def state(self, c):
        z = c["initial.A"] @ self.x
        return z + 0.5 * z**2

    def jvp(self, c, dc):
        return (1.0 + c["initial.A"] @ self.x) * (dc["initial.A"] @ self.x)

    def vjp(self, c, q):
        z = c["initial.A"] @ self.x
        return {"initial.A": ((1.0 + z) * q) @ self.x.T / self.weights}

    def vjp_derivative(self, c, q, dc, dq):
        z, dz = c["initial.A"] @ self.x, dc["initial.A"] @ self.x
        return {"initial.A": (dz * q + (1.0 + z) * dq) @ self.x.T / self.weights}

    def batch(self, indices):
        return replace(self, x=self.x[:, indices])


def images(rng, count=5, height=6, width=8):
    return rng.uniform(-1.0, 1.0, (count, height, width))


def by_hand(bank, filters):
    """The features, by loops over samples, filters and windows."""
    size, pool = bank.size, bank.pool
    columns = []
    for image in bank.images:
        found = []
        for kernel in filters:
            height, width = (side - size + 1 for side in image.shape)
            z = np.array(
                [
                    [np.sum(kernel * image[i : i + size, j : j + size]) for j in range(width)]
                    for i in range(height)
                ]
            )
            for i in range(0, height, pool):
                for j in range(0, width, pool):
                    found.append(max(np.max(z[i : i + pool, j : j + pool]), 0.0))
        columns.append(found * bank.copies)
    return np.array(columns).T


@pytest.mark.parametrize("copies", [1, 3])
def test_a_filter_bank_by_hand(copies, rng):
    bank = FilterBank(images(rng), filters=4, size=3, pool=2, copies=copies)
    (block,) = bank.blocks()
    assert (block.name, block.shape, block.time) == (FILTERS, (4, 3, 3), "static")
    filters = rng.standard_normal(block.shape)
    found, expected = bank.state({FILTERS: filters}), by_hand(bank, filters)
    assert found.shape == (copies * 4 * 2 * 3, 5)
    assert 0.05 < np.mean(expected == 0.0) < 0.95
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)
    some = bank.batch([3, 0])
    np.testing.assert_array_equal(some.state({FILTERS: filters}), found[:, [3, 0]])
    assert some.samples == 2
    assert FilterBank(np.zeros((2, 8, 8))).state({FILTERS: np.zeros((16, 3, 3))}).shape == (144, 2)


@pytest.mark.parametrize("kind", ["filters", "smooth"])
def test_the_derivatives_of_a_map(kind, rng):
    """jvp by differences, the adjoint by its identity, its derivative by differences."""
    given = FilterBank(images(rng), 3, copies=2)
    given = given if kind == "filters" else Bent(rng.standard_normal((2, 5)), 4)
    c, dc = ({b.name: rng.standard_normal(b.shape) for b in given.blocks()} for _ in range(2))
    q, dq = rng.standard_normal((2, *given.state(c).shape))
    h = 1e-5

    def moved(s):
        return {n: c[n] + s * dc[n] for n in c}

    change, bars = given.jvp(c, dc), given.vjp(c, q)
    slope = (given.state(moved(h)) - given.state(moved(-h))) / (2 * h)
    np.testing.assert_allclose(change, slope, rtol=0, atol=1e-9)
    pairs = sum(np.sum(b.weights * bars[b.name] * dc[b.name]) for b in given.blocks())
    assert np.sum(change * q) == pytest.approx(pairs, rel=1e-12)
    assert not np.any(given.jvp(c, {n: 0.0 * x for n, x in dc.items()}))
    found = given.vjp_derivative(c, q, dc, dq)
    high, low = given.vjp(moved(h), q + h * dq), given.vjp(moved(-h), q - h * dq)
    for name, x in found.items():
        np.testing.assert_allclose(x, (high[name] - low[name]) / (2 * h), rtol=0, atol=1e-8)


def digits(rng, count=6, **more):
    """Differences of two convex networks on filtered images, as in Figure 5."""
    bank = FilterBank(rng.uniform(0.0, 1.0, (count, 4, 4)), filters=2, copies=2)
    part = Bottleneck(2, relu, hidden=3)
    pair = DirectSum(r=part, s=part)
    given = {
        "readout": SignedReadout(np.array([[1, 1, -1, -1]])),
        "admissible": Box({"r.weight1": (0, np.inf), "s.weight1": (0, 0.4)}),
        "penalty": Tikhonov(0.1),
        "sample_weights": np.arange(1.0, count + 1.0),
        **more,
    }
    space = pair.controls(TimeMesh(2.0, 2))
    return LearningProblem(
        pair, np.zeros((4, count)), rng.normal(size=(1, count)), space, **given
    ), bank


def smooth(rng, weights=(1.0, 3.0, 2.0), **more):
    """On a grid with uneven weights, with a running cost of a trained readout."""
    network = WidthDepth(gauss_legendre(Interval(0, 2), 3), tanh)
    problem = LearningProblem(
        network,
        np.zeros((3, 3)),
        rng.standard_normal((2, 3)),
        network.controls(MESH),
        readout=Affine(2, link=tanh),
        running=SquaredError(0.7),
        penalty=Tikhonov(0.1),
        sample_weights=np.array(weights),
        **more,
    )
    return problem, Bent(rng.standard_normal((2, 3)), 3)


def test_it_is_the_problem_on_the_features(rng):
    """Value, gradient in the control and outputs are those of the same problem whose initial states
    were computed by hand.
    """
    problem, bank = digits(rng)
    objective = trained_inputs(problem, bank)
    control = objective.space.random(rng, 0.8)
    twin = replace(problem, initial=by_hand(bank, control[FILTERS]))
    own = twin.space.sample(**{b.name: control[b.name] for b in twin.space.trained})
    value, gradient = objective.value_and_gradient(control)
    expected, slope = discretize(twin).value_and_gradient(own)
    assert value == pytest.approx(expected, rel=1e-13)
    assert objective.value(control) == pytest.approx(expected, rel=1e-13)
    for name, x in slope.items():
        np.testing.assert_allclose(gradient[name], x, rtol=1e-10, atol=1e-13)
    final = integrate(twin.network, own, twin.initial, RK4(), steps_per_layer=2).trajectory.final
    outputs = twin.readout.output(twin.network, final, own.at(2.0))
    finer = trained_inputs(problem, bank, RK4(), 2)
    np.testing.assert_allclose(finer.outputs(control), outputs, rtol=1e-12)
    test = FilterBank(rng.uniform(0.0, 1.0, (3, 4, 4)), filters=2, copies=2)
    held, c = trained_inputs(problem, bank).at(control)
    assert held.value(c) == pytest.approx(value, rel=1e-13)
    assert finer.outputs(control, test).shape == (1, 3)
    np.testing.assert_allclose(
        finer.outputs(control, bank.batch([4, 1])), outputs[:, [4, 1]], rtol=1e-12
    )


CASES = {
    "filters": lambda rng: trained_inputs(*digits(rng)),
    "smooth": lambda rng: trained_inputs(*smooth(rng)),
    "smooth, RK4": lambda rng: trained_inputs(*smooth(rng), RK4(), 2),
    "a sample that does not count": lambda rng: trained_inputs(*smooth(rng, (1.0, 0.0, 2.0))),
}


@pytest.mark.parametrize("case", CASES)
def test_gradient_and_hessian(case, rng):
    """(gradient, d) and H d are the derivatives of value and gradient; H is symmetric."""
    objective = CASES[case](rng)
    space = objective.space
    control, d, e = (space.random(rng, 0.6) for _ in range(3))
    value, gradient = objective.value_and_gradient(control)
    product = objective.hvp(control, d)
    for name, x in gradient.items():
        assert np.max(np.abs(x)) > 1e-4, name
    h = 1e-4
    (high, up), (low, down) = (objective.value_and_gradient(control + s * d) for s in (h, -h))
    assert (high - low) / (2 * h) == pytest.approx(space.inner(gradient, d), rel=1e-6)
    difference = (1.0 / (2 * h)) * (up - down)
    assert space.norm(difference - product) < 1e-6 * space.norm(product)
    assert space.inner(product, e) == pytest.approx(
        space.inner(objective.hvp(control, e), d), rel=1e-10
    )
    assert objective.value(control) == pytest.approx(value, rel=1e-14)
    assert set(gradient) == {b.name for b in space.trained}


def test_taylor_remainders(rng):
    """J(x + s d) - J - s (g, d) - s^2 (d, Hd) / 2 is of order 3; without the last term of 2."""
    objective = trained_inputs(*smooth(rng))
    space = objective.space
    x, d = space.random(rng, 0.5), space.random(rng)
    value, gradient = objective.value_and_gradient(x)
    first, second = space.inner(gradient, d), space.inner(objective.hvp(x, d), d)
    steps = 2.0 ** -np.arange(4, 9)
    rest = np.array([objective.value(x + float(s) * d) - value - s * first for s in steps])
    assert np.polyfit(np.log(steps), np.log(np.abs(rest)), 1)[0] == pytest.approx(2.0, abs=0.1)
    rest -= 0.5 * steps**2 * second
    assert np.polyfit(np.log(steps), np.log(np.abs(rest)), 1)[0] == pytest.approx(3.0, abs=0.1)


def test_batches(rng):
    """Batches are averaged by their own weights, so J without penalty is the mean of batches."""
    problem, bank = digits(rng, penalty=None)
    objective = trained_inputs(problem, bank)
    control = objective.space.random(rng)
    value, gradient = objective.value_and_gradient(control)
    total, mean = 0.0, objective.space.zeros()
    for chosen in ([4, 0, 1], [2], [5, 3]):
        part = objective.batch(chosen, rng)
        assert (part.samples, objective.samples) == (len(chosen), 6)
        weight = float(problem.sample_weights[chosen].sum())
        found, slope = part.value_and_gradient(control)
        total, mean = total + weight * found, mean + weight * slope
    assert total == pytest.approx(value, rel=1e-13)
    assert objective.space.norm(mean - gradient) < 1e-13 * objective.space.norm(gradient)


STEPS = FixedStep(0.01, momentum=0.9, batch=4, max_iterations=5)


def test_training_meets_the_sets_of_both(rng):
    """The set of the problem is met by itself, one on the filters in a Composite."""
    problem, bank = digits(rng)
    objective = trained_inputs(problem, bank)
    start = objective.space.random(rng, 0.5)
    method = LBFGS(max_iterations=30)
    bare = minimize(objective, method, initial=start, raise_on_failure=False)
    assert problem.admissible.contains(bare.control)
    assert np.max(np.abs(bare.control[FILTERS])) > 0.2
    both = problem.admissible & Box({FILTERS: (-0.2, 0.2)})
    whole = Composite(objective, admissible=both)
    found = minimize(whole, method, initial=start, raise_on_failure=False)
    assert both.contains(found.control)
    assert bare.objective < found.objective < objective.value(both.project(start))
    for descent in (Adam(0.01, batch=4, max_iterations=5), STEPS):
        run = minimize(objective, descent, initial=start)
        assert run.status is Status.ITERATED
        assert run.objective < objective.value(problem.admissible.project(start))
        assert problem.admissible.contains(run.control)


def test_penalties_of_the_problem_do_not_count_the_filters(rng):
    """Neither smooth ones nor those that are met by proximal maps."""
    problem, bank = digits(rng, penalty=L1(0.2))
    objective = trained_inputs(problem, bank)
    start = objective.space.random(rng)
    run = minimize(
        objective, GradientDescent(max_iterations=1), initial=start, raise_on_failure=False
    )
    begun = problem.admissible.project(start)
    own = problem.space.sample(**{b.name: begun[b.name] for b in problem.space.trained})
    smooth = trained_inputs(replace(problem, penalty=None), bank).value(begun)
    assert run.history["objective"][0] == pytest.approx(smooth + L1(0.2).value(own), rel=1e-13)


def test_it_travels(tmp_path, rng):
    objective = trained_inputs(*digits(rng))
    control = objective.space.random(rng)
    loaded = load_control(save_control(tmp_path / "control.h5", control), objective.space)
    np.testing.assert_array_equal(loaded[FILTERS], control[FILTERS])
    other, there = pickle.loads(pickle.dumps((objective, control)))
    assert other.value(there) == objective.value(control)
    assert "filters=2, size=3, pool=2, copies=2" in repr(objective.input_map)


NOW = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FilterBank(np.ones((2, 8))), r"images has shape \(2, 8\), expected \(M, H, W\)"),
        (lambda: FilterBank(np.ones((2, 2, 8))), "size must be at most the sides of the images"),
        (lambda: FilterBank(np.ones((2, 8, 8)), pool=4), "pool must divide .* 6 x 6, got 4"),
        (lambda: FilterBank(np.ones((2, 8, 8)), filters=0), "filters must be at least 1"),
        (lambda: FilterBank(np.ones((2, 8, 8)), copies=1.5), "copies must be an integer"),
        (lambda: trained_inputs(3, digits(NOW)[1]), "problem must be a LearningProblem"),
        (lambda: trained_inputs(digits(NOW)[0], 3), "input_map must be an InputMap"),
        (
            lambda: trained_inputs(digits(NOW)[0], digits(NOW, 5)[1]),
            "input_map has 5 samples, the problem 6",
        ),
        (
            lambda: trained_inputs(digits(NOW)[0], FilterBank(np.ones((6, 4, 4)), 2)),
            r"the state of input_map has shape \(2, 6\), expected \(4, M\)",
        ),
        (
            lambda: trained_inputs(
                LearningProblem(
                    NeuralODE2(2, tanh),
                    np.ones((2, 1)),
                    np.ones((2, 1)),
                    MESH,
                    terminal=None,
                    endpoint=TerminalEquality(),
                ),
                digits(NOW)[1],
            ),
            "trained_inputs does not know the endpoint",
        ),
        (
            lambda: trained_inputs(
                LearningProblem(
                    Staged((NeuralODE2(2, tanh),), (), ()), np.ones((2, 1)), np.ones((2, 1)), MESH
                ),
                FilterBank(np.ones((1, 4, 4)), 2),
            ),
            "must not be Staged",
        ),
        (
            lambda: trained_inputs(*digits(NOW)).value(digits(NOW)[0].space.zeros()),
            "control lives in another space",
        ),
        (
            lambda: trained_inputs(*digits(NOW)).outputs(
                trained_inputs(*digits(NOW)).space.zeros(), FilterBank(np.ones((1, 4, 4)), 3)
            ),
            "input_map must have the blocks",
        ),
        (
            lambda: minimize(trained_inputs(*digits(NOW, admissible=None)), RiccatiNewton()),
            "RiccatiNewton",
        ),
        (
            lambda: layer_hamiltonian(
                trained_inputs(*digits(NOW)), trained_inputs(*digits(NOW)).space.zeros()
            ),
            "objective must be a ReducedObjective",
        ),
        (
            lambda: discretize(digits(NOW)[0]).value(trained_inputs(*digits(NOW)).space.zeros()),
            "control lives in another space",
        ),
        (
            lambda: digits(NOW, admissible=Box({FILTERS: (0, 1)})),
            "unknown block 'initial.filters'",
        ),
    ],
)
def test_bad_input(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
