"""Gradients written where the caller wants them, and arrays that an objective uses again."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import array_api_strict
import numpy as np
import pytest

from continuum import (
    Affine,
    Chain,
    Control,
    Inputs,
    Interval,
    LearningProblem,
    Linear,
    LowRank,
    NeuralODE2,
    Offset,
    Pointwise,
    RunningCost,
    SobolevPenalty,
    Staged,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    padding,
    tanh,
    trapezoid,
)
from solvers import DormandPrince, Euler, Heun, discretize
from solvers.run.workspace import Spares

GRID = trapezoid(Interval(0, 1), 5)
MESH = TimeMesh(1.3, 4, 1.5)


class Effort(RunningCost):
    """|f|^2 sum_ij b_ij^2: a cost that reads a matrix of the network."""

    def density(self, network, f, c, t):
        return np.sum(network.weights[:, None] * f * f, axis=-2) * np.sum(c["kernel"] ** 2)

    def vjp(self, network, f, c, t, q):
        w, square = network.weights, np.sum(c["kernel"] ** 2)
        costs = np.sum(w[:, None] * f * f, axis=-2)
        bar = 2.0 * c["kernel"] * float(costs @ q) / (w[:, None] * w)
        return 2.0 * q * f * square, {"kernel": bar}

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        raise NotImplementedError

    def formula(self):
        return "|f|^2 |b|^2"


def problem_for(rng, network=None, in_time="layers", **changes):
    network = WidthDepth(GRID, tanh) if network is None else network
    given = {"readout": Affine(2), "penalty": Tikhonov(0.3), **changes}
    return LearningProblem(
        network,
        rng.standard_normal((5, 3)),
        rng.standard_normal((2, 3)),
        network.controls(MESH, in_time=in_time),
        **given,
    )


def timed(rng):
    """A field of states, data of the samples and time, whose matrix is taken apart."""
    data = Inputs(True, rng.standard_normal((2, 3)))
    return Chain(5, (data, Linear("w", 4), Offset("a"), Pointwise(tanh), Linear("v", 5)))


def stages():
    return Staged((NeuralODE2(4, tanh), NeuralODE2(5, tanh)), (0.5,), (padding(4, 5),))


PROBLEMS = {
    "layers": lambda rng: problem_for(rng),
    "nodes": lambda rng: problem_for(rng, in_time="nodes", penalty=SobolevPenalty(0.2)),
    "static": lambda rng: problem_for(rng, in_time="static", penalty=None),
    "generic": lambda rng: problem_for(rng, WidthDepth(GRID, tanh, LowRank(2))),
    "a running cost that reads a matrix": lambda rng: problem_for(rng, running=Effort()),
    "a terminal cost that reads a matrix": lambda rng: problem_for(rng, terminal=Effort()),
    "data and time": lambda rng: problem_for(rng, timed(rng)),
}
STEPPERS = [Euler(), Heun(), DormandPrince(rtol=1e-4, atol=1e-4)]


@pytest.mark.parametrize("stepper", STEPPERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_gradient_is_the_same_wherever_it_is_written(name, stepper, rng):
    check_written(discretize(PROBLEMS[name](rng), stepper), rng)


def check_written(objective, rng):
    space = objective.space
    control, out = space.random(rng), space.random(rng, scale=1e9)
    value, gradient = objective.value_and_gradient(control)
    for _ in range(2):  # what is in `out` does not matter
        again, found = objective.value_and_gradient(control, out=out)
        assert again == value
        assert found is out
        assert set(found) == set(gradient)
        for block, x in gradient.items():
            np.testing.assert_array_equal(out[block], x)


def test_stages_checkpoints_and_another_space(rng):
    network = stages()
    readout, x = Affine(2), rng.standard_normal((4, 3))
    mesh = TimeMesh(1.0, 4)
    staged = LearningProblem(network, x, rng.standard_normal((2, 3)), mesh, readout=readout)
    check_written(discretize(staged), rng)
    problem = problem_for(rng, running=Effort())
    check_written(discretize(problem, Heun(), memory=5000), rng)
    objective = discretize(problem)
    same = replace(problem.space)  # equal, but another object
    control, out = objective.space.random(rng), same.random(rng)
    assert objective.value_and_gradient(control, out=out)[1] is out


def test_arrays_that_are_not_contiguous_or_of_another_library(rng):
    objective = discretize(problem_for(rng))
    space = objective.space
    control = space.random(rng)
    gradient = objective.gradient(control)
    turned = Control(space, {n: np.asfortranarray(x) for n, x in space.zeros().items()})
    strict = array_api_strict.asarray
    other = Control(space, {n: strict(x) for n, x in space.zeros().items()})
    for out in (turned, other):
        assert objective.value_and_gradient(control, out=out)[1] is out
        for block, x in gradient.items():
            np.testing.assert_array_equal(np.asarray(out[block]), x)


def test_a_cost_may_read_the_matrices_of_the_network(rng):
    """The loops add to what such a cost put into the cotangents."""
    for cost in ({"terminal": Effort()}, {"running": Effort()}):
        objective = discretize(problem_for(rng, **cost), Heun())
        space = objective.space
        c, d = space.random(rng), space.random(rng)
        slope = space.inner(objective.gradient(c), d)
        step = 1e-5
        difference = objective.value(c + step * d) - objective.value(c - step * d)
        assert difference / (2 * step) == pytest.approx(slope, rel=1e-7)


def test_answers_do_not_depend_on_what_was_computed_before(rng):
    """The memory of one objective is that of all its batches, of several sizes."""
    objective = discretize(PROBLEMS["data and time"](rng), Heun())
    controls = [objective.space.random(rng) for _ in range(3)]
    kept = [objective.run(controls[0]), *objective.recorded(controls[0])[1].states]
    states = [x.copy() for x in (kept[0].states, kept[0].costates, *kept[1:])]
    for some in (objective, objective.batch([0, 2]), objective.batch([1]), objective):
        fresh = replace(some)
        for control in controls:
            value, gradient, p = some.value_and_gradients(control)
            expected, other, q = fresh.value_and_gradients(control)
            assert [value, some.value(control)] == [expected, fresh.value(control)]
            np.testing.assert_array_equal(p, q)
            for block, x in gradient.items():
                np.testing.assert_array_equal(x, other[block])
    # what an objective gave away is not written again
    for x, y in zip((kept[0].states, kept[0].costates, *kept[1:]), states, strict=True):
        np.testing.assert_array_equal(x, y)


def test_two_threads_on_one_objective(rng):
    objective = discretize(problem_for(rng, in_time="nodes"), Heun())
    controls = [objective.space.random(rng) for _ in range(8)] * 4
    expected = [objective.value_and_gradient(c) for c in controls]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(objective.value_and_gradient, controls))
    for (value, gradient), (other, expected_gradient) in zip(found, expected, strict=True):
        assert value == other
        for block, x in gradient.items():
            np.testing.assert_array_equal(x, expected_gradient[block])


def test_copies_and_pickles_are_without_the_memory(rng):
    objective = discretize(problem_for(rng), Heun())
    control = objective.space.random(rng)
    value = objective.value_and_gradient(control)[0]
    assert objective.__dict__["_spares"]._free
    for twin in (pickle.loads(pickle.dumps(objective)), copy.copy(objective), replace(objective)):
        assert not {"_spares", "_blocks"} & set(twin.__dict__)
        assert twin.value_and_gradient(control)[0] == value


def test_copies_of_spares_have_their_dtype():
    for one in (copy.deepcopy(Spares("float32")), pickle.loads(pickle.dumps(Spares("float32")))):
        assert one.take().array("x", 3).dtype == np.float32


def test_pages_are_touched_once(rng):
    """A gradient of 13 MB and a tape of 41 MB, which every system gives back when it is freed."""
    resource = pytest.importorskip("resource")
    network = WidthDepth(trapezoid(Interval(0, 1), 128), tanh)
    x = rng.standard_normal((2, 128, 100))
    objective = discretize(LearningProblem(network, *x, TimeMesh(1.0, 100)), Heun())
    control, out = objective.space.random(rng), objective.space.zeros()

    def faults(calls):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(calls):
            objective.value_and_gradient(control, out=out)
            objective.value(control)
        return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / calls

    faults(2)
    assert faults(3) < 5


def test_bad_input(rng):
    objective = discretize(problem_for(rng))
    control = objective.space.random(rng)
    with pytest.raises(TypeError, match="out must be a Control"):
        objective.value_and_gradient(control, out=control["bias"])
    other = WidthDepth(GRID, tanh).controls(TimeMesh(1.3, 5)).zeros()
    with pytest.raises(ValueError, match="out lives in another space"):
        objective.value_and_gradient(control, out=other)
    wrong = Control(objective.space, {n: x[:-1] for n, x in control.items()}, trusted=True)
    with pytest.raises(ValueError, match=r"out has a bias of shape \(3, 5\), expected \(4, 5\)"):
        objective.value_and_gradient(control, out=wrong)
    fixed = objective.space.zeros()
    fixed["kernel"].flags.writeable = False
    with pytest.raises(ValueError, match="out must have arrays that can be written: its kernel"):
        objective.value_and_gradient(control, out=fixed)
    vector = np.zeros(objective.space.size + 3)
    here, there = (objective.space.views(x) for x in (vector[:-3], vector[3:]))
    for out in (control, here, there):
        at = control if out is control else here
        with pytest.raises(ValueError, match="out must have arrays of its own: its bias"):
            objective.value_and_gradient(at, out=out)
    for dtype in (np.int64, np.float32):
        whole = {n: np.zeros(x.shape, dtype) for n, x in control.items()}
        with pytest.raises(ValueError, match="out must have arrays of float64: its bias is of"):
            objective.value_and_gradient(control, out=Control(control.space, whole, trusted=True))
    blocks = {n: vector[: x.size].reshape(x.shape) for n, x in control.items()}
    with pytest.raises(ValueError, match="out must have an array for each block: its bias is"):
        objective.value_and_gradient(control, out=Control(control.space, blocks, trusted=True))
