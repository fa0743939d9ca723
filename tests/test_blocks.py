"""Samples in blocks: sums over them are those of all samples together, whoever computes them."""

import os
import signal
import threading
import time
from dataclasses import replace
from itertools import pairwise, product

import numba
import numpy as np
import pytest
import scipy.linalg.cython_blas  # noqa: F401  # a BLAS of its own
from threadpoolctl import threadpool_info, threadpool_limits

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
    identity,
    tanh,
    trapezoid,
)
from solvers import RK4, DormandPrince, Euler, Heun, SolveError, discretize, integrate
from solvers.adjoint.objective import ReducedObjective
from solvers.flow import samples
from solvers.run.threads import go_through, one_thread

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
    before = set(threading.enumerate())
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
    assert set(threading.enumerate()) <= before


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


def explosive(rng):
    """f' = 1e6 f, from samples of several sizes: that of number 7 overflows first."""
    network = WidthDepth(GRID, identity)
    initial = np.exp(rng.standard_normal((5, SAMPLES)))
    initial[:, 7] *= 1e80
    target = np.zeros((5, SAMPLES))
    problem = LearningProblem(network, initial, target, TimeMesh(1.0, 200))
    return problem, problem.space.sample(kernel=-1e6)


def test_a_failure_is_told_where_memory_has_room_for_one_block_only(small, rng):
    problem, control = explosive(rng)
    whole = discretize(problem)
    least = 2 * 8 * len(problem.network.weights) * 3
    for threads in (1, 2):
        objective = discretize(problem, memory=2 * least, threads=threads)
        assert objective.value(control) == np.inf
        with pytest.raises(SolveError, match="infinite or NaN") as found:
            objective.value_and_gradient(control)
        assert found.value.solution.value.states.shape[1:] == problem.initial.shape
    with pytest.raises(SolveError):
        whole.value_and_gradient(control)


def test_nothing_is_left_of_blocks_when_all_samples_are_run_again(small, rng, monkeypatch):
    """A block may fail where all samples together just do not, by errors of rounding."""
    objective = discretize(PROBLEMS["running cost alone"](rng), Heun())
    control = objective.space.random(rng, scale=0.5)
    expected = answers(objective, control)
    failed = []

    def fails(self, *arguments, original=ReducedObjective._swept):
        costs = original(self, *arguments)
        if self is objective._blocks[-1] and not failed:
            failed.append(self)
            with pytest.raises(SolveError) as error:
                discretize(*explosive(rng)[:1]).value_and_gradient(explosive(rng)[1])
            raise error.value
        return costs

    monkeypatch.setattr(ReducedObjective, "_swept", fails)
    out = objective.space.random(rng)
    value, gradient, p = objective.value_and_gradients(control, out=out)
    assert failed
    for x, y in zip([value, *gradient.values(), p], expected[1:], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)


def test_a_failure_is_that_of_all_samples_together(rng, monkeypatch):
    """The first step at which any sample fails, with the states of all of them before it."""
    before = set(threading.enumerate())
    problem, control = explosive(rng)
    network, initial = problem.network, problem.initial

    def failures(threads):
        objective = discretize(problem, threads=threads)
        assert objective.value(control) == np.inf
        with pytest.raises(SolveError) as gradient:
            objective.value_and_gradient(control)
        with pytest.raises(SolveError) as run:
            integrate(network, control, initial, Euler(), save="steps", threads=threads)
        return [gradient.value, run.value]

    whole = failures(1)
    make_small(monkeypatch)
    for threads in (1, 2):
        for found, expected in zip(failures(threads), whole, strict=True):
            assert str(found) == str(expected)
            states = expected.solution.value.states
            assert len(states) > 2
            np.testing.assert_allclose(found.solution.value.states, states, rtol=1e-12)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("save", ["final", "layers", "steps", [0.1, 0.7, 1.3]])
def test_runs_in_blocks(save, rng, monkeypatch):
    for network in (WidthDepth(GRID, tanh), data_and_time(rng), one_for_all(rng)):
        control = network.controls(MESH, in_time="nodes").random(rng)
        initial = rng.standard_normal((5, SAMPLES))

        def run(threads, network=network, control=control, initial=initial):
            found = integrate(
                network,
                control,
                initial,
                RK4(),
                save=save,
                steps_per_layer=2,
                threads=threads,
            )
            return found.trajectory

        whole = run(1)
        with monkeypatch.context() as patch:
            make_small(patch)
            one = run(1)
            np.testing.assert_array_equal(one.times, whole.times)
            np.testing.assert_allclose(one.states, whole.states, rtol=0, atol=1e-13)
            for threads in (2, 3):
                np.testing.assert_array_equal(run(threads).states, one.states)


def test_threads_are_not_used_where_there_are_no_blocks(small, rng):
    """Adaptive steps hang together by the worst sample."""
    problem = problem_for(rng)
    control = problem.space.random(rng)
    stepper = DormandPrince(rtol=1e-6, atol=1e-6)
    assert len(discretize(problem, stepper, threads=2)._blocks) == 1
    one, two = (
        integrate(problem.network, control, problem.initial, stepper, threads=threads)
        for threads in (1, 2)
    )
    np.testing.assert_array_equal(one.trajectory.states, two.trajectory.states)


def blas_threads():
    return [x["num_threads"] for x in threadpool_info() if x["user_api"] == "blas"]


def test_blas_has_one_thread_inside_and_what_it_had_before_outside():
    seen = []

    def task():
        seen.append(max(blas_threads()))
        go_through([inner(), inner()], 2)
        seen.append(max(blas_threads()))
        yield

    def inner():
        seen.append(max(blas_threads()))
        yield

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        go_through([task(), task(), task()], 2)
        assert blas_threads() == before
    assert seen == [1] * 12


def test_one_thread_until_the_last_leaves_and_as_before_after_that(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    held, release = threading.Event(), threading.Event()

    def hold():
        with one_thread():
            held.set()
            assert release.wait(60)

    def state():
        environ = os.environ.get("OMP_NUM_THREADS"), os.environ.get("MKL_NUM_THREADS")
        return max(blas_threads()), numba.get_num_threads(), *environ

    with threadpool_limits(2, user_api="blas"):
        before = state()
        assert before[0] == 2
        assert before[2:] == ("7", None)
        other = threading.Thread(target=hold)
        with one_thread():
            other.start()
            assert held.wait(60)
            assert state() == (1, 1, "1", "1")
        assert state() == (1, before[1], "1", "1")  # the other holds them still
        release.set()
        other.join(60)
        assert state() == before


class Wrong(Exception):
    pass


def test_an_error_or_ctrl_c_ends_all_threads():
    def endless(counted):
        for _ in range(3000):
            time.sleep(1e-3)
            counted.append(1)
            yield

    def failing():
        yield
        raise Wrong("here")

    def interrupting():
        yield
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        yield

    before = set(threading.enumerate())
    for last, error in ((failing, Wrong), (interrupting, KeyboardInterrupt)):
        counted, waiting = [], []
        with pytest.raises(error):
            go_through([endless(counted), last(), endless(waiting), endless(waiting)], 2)
        assert set(threading.enumerate()) <= before
        assert len(counted) < 1000
        assert len(waiting) < 1000


def test_errors_of_floating_point_numbers_are_met_in_all_threads(small, rng):
    """Warnings and errors are those of the caller."""

    class Careless(SquaredError):
        def value_and_gradient(self, o, y, v):
            np.log(np.zeros(1))
            return super().value_and_gradient(o, y, v)

    problem = problem_for(rng, terminal=Careless())
    control = problem.space.random(rng)
    for threads in (1, 2):
        with pytest.raises(FloatingPointError):
            discretize(problem, threads=threads).value_and_gradient(control)
        with np.errstate(divide="ignore"):
            discretize(problem, threads=threads).value_and_gradient(control)


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
