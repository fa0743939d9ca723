"""Samples in blocks: sums over them are those of all samples together, whoever computes them."""

import threading
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from continuum import (
    Affine,
    Chain,
    CrossEntropy,
    FixedLinear,
    Inputs,
    Interval,
    LearningProblem,
    Linear,
    NeuralODE2,
    Offset,
    Pointwise,
    Projection,
    SquaredError,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    gelu,
    tanh,
    trapezoid,
)
from solvers import RK4, Euler, Heun, discretize, integrate
from solvers.flow import samples

GRID = trapezoid(Interval(0, 1), 5)
MESH = TimeMesh(1.3, 3, 1.5)
SAMPLES = 11


def data_and_time(rng):
    data = Inputs(True, rng.standard_normal((2, SAMPLES)))
    fixed = FixedLinear(rng.standard_normal((5, 2)))
    maps = (data, Linear("w", 4, -1), Offset("a"), Pointwise(gelu), Linear("v", 2), fixed)
    return Chain(5, maps)


def one_for_all(rng):
    data = Inputs(False, rng.standard_normal((2, 1)))
    return Chain(5, (data, Linear("w", 5), Pointwise(tanh)))


def problem_for(rng, network=None, in_time="layers", **changes):
    network = WidthDepth(GRID, tanh) if network is None else network
    weights = rng.integers(0, 3, SAMPLES).astype(float)
    weights[:4] = 0.0  # a block may be without weight
    given = {
        "readout": Projection(rng.standard_normal((2, 5))),
        "penalty": Tikhonov(0.3),
        "sample_weights": weights,
        **changes,
    }
    target = rng.standard_normal((2, SAMPLES))
    initial = rng.standard_normal((5, SAMPLES))
    return LearningProblem(
        network, initial, target, network.controls(MESH, in_time=in_time), **given
    )


def moving(rng):
    slope = rng.standard_normal((2, SAMPLES))
    return Tracking(SquaredError(0.4), target=lambda t: np.sin(t) + t * slope)


PROBLEMS = {
    "layers": lambda rng: problem_for(rng),
    "nodes": lambda rng: problem_for(rng, in_time="nodes"),
    "static": lambda rng: problem_for(rng, in_time="static", penalty=None),
    "fixed readout, running cost": lambda rng: problem_for(rng, running=SquaredError(0.7)),
    "trained readout": lambda rng: problem_for(rng, readout=Affine(2), running=SquaredError(0.7)),
    "moving target": lambda rng: problem_for(rng, running=moving(rng)),
    "running cost alone": lambda rng: problem_for(rng, terminal=None, running=moving(rng)),
    "data of each sample, time": lambda rng: problem_for(rng, data_and_time(rng), "nodes"),
    "data of all samples": lambda rng: problem_for(rng, one_for_all(rng), sample_weights=None),
    "labels": lambda rng: replace(
        problem_for(rng, NeuralODE2(5, tanh), readout=Affine(2)),
        terminal=CrossEntropy(),
        target=rng.integers(0, 2, SAMPLES),
    ),
}


def make_small(monkeypatch):
    """Blocks of at most three samples, so that a few make several groups."""
    for name, value in {"_LEAST": 3, "_MOST": 3, "_WORK": 0, "_GROUPS": 3}.items():
        monkeypatch.setattr(samples, name, value)


@pytest.fixture
def small(monkeypatch):
    make_small(monkeypatch)


def answers(objective, control):
    value, gradient, p = objective.value_and_gradients(control)
    return [objective.value(control), value, *gradient.values(), p]


@pytest.mark.parametrize(
    ("stepper", "per_layer"), [(Euler(), 1), (Heun(), 2), (RK4(), 2)], ids=["Euler", "Heun", "RK4"]
)
@pytest.mark.parametrize("name", PROBLEMS)
def test_blocks_add_up_to_all_samples(name, stepper, per_layer, rng, monkeypatch):
    problem = PROBLEMS[name](rng)
    whole = discretize(problem, stepper, per_layer)
    control = whole.space.random(rng, scale=0.5)
    expected = answers(whole, control)
    assert len(whole._blocks) == 1
    make_small(monkeypatch)
    for options in ({}, {"memory": 10_000}, {"threads": 2}):
        blocked = discretize(problem, stepper, per_layer, **options)
        assert sorted(block.samples for block in blocked._blocks) == [2, 3, 3, 3]
        found = answers(blocked, control)
        for x, y in zip(found, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-13, atol=1e-13 * np.max(np.abs(y)))


def test_the_same_bits_by_any_number_of_threads(small, rng):
    problem = PROBLEMS["trained readout"](rng)
    control = problem.space.random(rng)
    one = answers(discretize(problem, Heun(), 2), control)
    out = problem.space.zeros()
    for threads in (1, 2, 3, 16):
        objective = discretize(problem, Heun(), 2, threads=threads)
        for _ in range(3):
            for x, y in zip(answers(objective, control), one, strict=True):
                np.testing.assert_array_equal(x, y)
            value, gradient = objective.value_and_gradient(control, out=out)
            assert [value, *(x.tolist() for x in gradient.values())] == [
                one[1],
                *(x.tolist() for x in one[2:-1]),
            ]
    assert threading.active_count() == 1


def test_sizes_of_blocks_and_groups():
    for count, units, stages in product((1, 300, 513, 10_000), (1, 64, 256, 4096), (1, 20, 400)):
        found = samples.blocks(count, units, stages)
        sizes = [part.stop - part.start for part in found]
        assert [found[0].start, found[-1].stop, sum(sizes)] == [0, count, count]
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= 256 or max(sizes) * units * stages <= 131_072 + units * stages
        assert len(found) >= 2 or count < 512 or count * units * stages <= 131_072
    for count, entries in product((1, 2, 7, 100), (0, 100, 10**7, 10**9)):
        found = samples.groups(count, entries)
        assert [found[0].start, found[-1].stop] == [0, count]
        assert all(a.stop == b.start < b.stop for a, b in pairwise(found))
        assert min(2, count) <= len(found) <= min(count, 8)
        assert len(found) <= 2 or (len(found) - 1) * 8 * entries <= 2**28


def test_a_failure_is_that_of_all_samples_together(small, rng):
    """The first step at which any sample fails, with the states of all of them before it."""
    network = WidthDepth(GRID, Linear.__mro__ and tanh)
    del network


def test_bad_input(rng):
    problem = problem_for(rng)
    control = problem.space.random(rng)
    for run in (
        lambda threads: discretize(problem, threads=threads),
        lambda threads: integrate(
            problem.network, control, problem.initial, Euler(), threads=threads
        ),
    ):
        with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
            run(0)
        for wrong in (1.5, "2", None, True):
            with pytest.raises(TypeError, match="threads must be an integer"):
                run(wrong)
