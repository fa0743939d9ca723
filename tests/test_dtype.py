"""Values, gradients and runs in float32: near those of float64, which everything else stays."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    Chain,
    Inputs,
    Interval,
    LearningProblem,
    Linear,
    LowRank,
    Offset,
    Pointwise,
    SquaredError,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    tanh,
    trapezoid,
)
from solvers import (
    RK4,
    DormandPrince,
    Euler,
    ImplicitMidpoint,
    SolveError,
    discretize,
    integrate,
)

GRID, MESH = trapezoid(Interval(0, 1), 5), TimeMesh(1.3, 4, 1.5)
COST = Tracking(SquaredError())
EPS = float(np.finfo(np.float32).eps)


def problem_for(rng, network=None, samples=3, in_time="layers", **changes):
    network = WidthDepth(GRID, tanh) if network is None else network
    initial, targets = rng.standard_normal((2, 5, samples))
    space = network.controls(MESH, in_time=in_time)
    return LearningProblem(network, initial, targets, space, **changes)


def timed(rng):
    """Its matrix is taken apart: states, data of the samples, time."""
    data = Inputs(True, rng.standard_normal((2, 3)))
    return Chain(5, (data, Linear("w", 4), Offset("a"), Pointwise(tanh), Linear("v", 5)))


PROBLEMS = {
    "layers": lambda rng: (problem_for(rng, penalty=Tikhonov(1e-3)), RK4()),
    "nodes": lambda rng: (problem_for(rng, in_time="nodes", running=COST), Euler()),
    "one sample": lambda rng: (problem_for(rng, samples=1), RK4()),
    "blocks of samples": lambda rng: (problem_for(rng, samples=1100), Euler()),
    "data and time": lambda rng: (problem_for(rng, timed(rng)), RK4()),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_gradient_in_float32_is_near_that_in_float64(name, rng):
    problem, stepper = PROBLEMS[name](rng)
    double = discretize(problem, stepper)
    single = discretize(problem, stepper, dtype="float32", threads=2)
    space = double.space
    control, out = space.random(rng), space.random(rng, scale=1e9)
    value, gradient = double.value_and_gradient(control)
    found, written = single.value_and_gradient(control, out=out)
    assert written is out
    assert single.value(control) == pytest.approx(found, rel=4 * EPS)
    assert abs(found - value) < 100 * EPS * abs(value)
    for key, x in gradient.items():
        error = np.linalg.norm(out[key] - x) / np.linalg.norm(x)
        assert 1e-3 * EPS < error < 100 * EPS  # not in float64 after all
        assert out[key].dtype == np.float64
    again = discretize(problem, stepper, dtype="float32").gradient(control)
    assert all(np.array_equal(again[key], out[key]) for key in out)
    some = discretize(problem, stepper, dtype="float32", memory=10**6).gradient(control)
    assert all(
        np.allclose(some[k], out[k], rtol=0, atol=100 * EPS * abs(x).max()) for k, x in out.items()
    )


def test_all_else_is_computed_in_float64(rng):
    problem = problem_for(rng)
    double, single = discretize(problem), discretize(problem, dtype="float32")
    control = double.space.random(rng)
    for exact, found in (
        (double.hvp(control, control), single.hvp(control, control)),
        (double.run(control).gradient, single.run(control).gradient),
        (
            double.value_and_factors(control)[1].gradient(),
            single.value_and_factors(control)[1].gradient(),
        ),
    ):
        assert all(np.array_equal(exact[key], found[key]) for key in exact)
    assert single.value_and_gradients(control)[2].dtype == np.float64
    same = pickle.loads(pickle.dumps(single))
    assert same.value(control) == single.value(control) != double.value(control)


@pytest.mark.parametrize("samples", [1, 3, 1100])
def test_a_run_in_float32(samples, rng):
    problem = problem_for(rng, samples=samples)
    control, network = problem.space.random(rng), problem.network
    runs = [
        integrate(network, control, problem.initial, RK4(), save="layers", dtype=dtype)
        for dtype in ("float64", "float32")
    ]
    exact, found = (run.trajectory.states for run in runs)
    assert found.dtype == np.float64
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert 1e-3 * EPS < error < 100 * EPS


def test_a_dtype_that_cannot_be(rng):
    problem = problem_for(rng)
    control = problem.space.random(rng)
    for bad, error in (("float16", ValueError), ("double", ValueError), (np.float32, TypeError)):
        with pytest.raises(error, match="dtype"):
            discretize(problem, dtype=bad)
        with pytest.raises(error, match="dtype"):
            integrate(problem.network, control, problem.initial, Euler(), dtype=bad)
    generic = problem_for(rng, WidthDepth(GRID, tanh, LowRank(2)))
    for given, stepper in (
        (problem, ImplicitMidpoint()),
        (problem, DormandPrince(rtol=1e-4, atol=1e-4)),
        (generic, Euler()),
    ):
        control = given.space.random(rng)
        with pytest.raises(
            TypeError, match="dtype 'float32' is for explicit methods of fixed steps"
        ):
            discretize(given, stepper, dtype="float32")
        with pytest.raises(
            TypeError, match="dtype 'float32' is for explicit methods of fixed steps"
        ):
            integrate(given.network, control, given.initial, stepper, dtype="float32")


def test_numbers_that_float32_does_not_hold_are_a_failure_of_the_run(rng):
    problem = problem_for(rng)
    objective = discretize(problem, RK4(), dtype="float32")
    control = objective.space.random(rng)
    large = 1e39 * control
    far = replace(problem, initial=1e39 * problem.initial)
    for one, at in ((objective, large), (replace(objective, problem=far), control)):
        assert one.value(at) == np.inf
        with pytest.raises(SolveError, match="infinite or NaN") as error:
            one.value_and_gradient(at)
        assert error.value.solution.value.states.dtype == np.float64
        with pytest.raises(SolveError, match="infinite or NaN"):
            integrate(problem.network, at, one.problem.initial, RK4(), dtype="float32")
