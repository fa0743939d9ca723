"""Compiled products against NumPy's; gradients of matrices as factors against gradients formed."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from continuum import (
    Control,
    Interval,
    LearningProblem,
    Tikhonov,
    TimeMesh,
    gauss_legendre,
    gelu,
    tanh,
)
from continuum.kernels import Dense
from continuum.networks import Adjoint, Chain, Linear, Offset, Pointwise
from solvers import RK4, Euler, discretize
from solvers.flow.product_loops import accumulate, accumulate_outer, multiply
from solvers.flow.program import Loop


def relative(found, expected):
    """The largest difference of two controls, in units of the largest entry."""
    size = max(float(np.abs(x).max()) for x in expected.values())
    return max(float(np.abs(found[n] - expected[n]).max()) for n in expected) / size


@numba.njit
def products(matrix, transposed, x, samples, room, out):
    multiply(matrix, transposed, x, samples, room, out)


@numba.njit
def cotangents(left, right, samples, factor, add, out):
    accumulate(left, right, samples, factor, add, out)


@pytest.mark.parametrize("add", [True, False])
def test_products_are_those_of_numpy(add, rng):
    """All shapes in which products are taken: small and large, turned, with one sample, and the
    large ones of few samples with a transpose; cotangents added to what is there, or written.
    """

    for rows, columns in ((3, 5), (70, 130), (40, 300)):
        matrix = rng.standard_normal((rows, columns))
        for samples in (1, 7, 40):
            x, r = (rng.standard_normal((n, samples)) for n in (columns, rows))
            room, up, down = np.empty(r.size + x.size), np.full(r.size, np.nan), np.empty(x.size)
            products(matrix, False, x.ravel(), samples, room, up)
            products(matrix, True, r.ravel(), samples, room, down)
            np.testing.assert_allclose(up.reshape(r.shape), matrix @ x, rtol=0, atol=1e-12)
            np.testing.assert_allclose(down.reshape(x.shape), matrix.T @ r, rtol=0, atol=1e-12)
            found = np.ones((rows, columns)) if add else np.full((rows, columns), np.nan)
            cotangents(r.ravel(), x.ravel(), samples, 0.3, add, found)
            np.testing.assert_allclose(found, add + 0.3 * (r @ x.T), rtol=0, atol=1e-12)
        for count in (1, 4, 6):
            left, right = (rng.standard_normal((count, n)) for n in (rows, columns))
            factors = rng.standard_normal(count)
            found = np.ones((rows, columns)) if add else np.full((rows, columns), np.nan)
            accumulate_outer(left.ravel(), right.ravel(), factors, add, found)
            np.testing.assert_allclose(found, add + (left.T * factors) @ right, rtol=0, atol=1e-12)


@pytest.mark.parametrize("in_time", ["layers", "static"])
def test_products_and_norm_where_all_entries_weigh_the_same(in_time, rng):
    network = Chain(4, (Linear("w", 3), Pointwise(tanh), Linear("v", 4)))
    space = network.controls(TimeMesh(1.0, 3, 1.3), in_time=in_time)
    objective = discretize(LearningProblem(network, *rng.standard_normal((2, 4, 2)), space))
    control, direction = space.random(rng, 0.3), space.random(rng)
    gradient, factors = objective.gradient(control), objective.value_and_factors(control)[1]
    assert set(factors.pairs) == {"w", "v"}
    assert factors.inner(direction) == pytest.approx(space.inner(gradient, direction), rel=1e-12)
    assert factors.norm() == pytest.approx(space.norm(gradient), rel=1e-13)


@pytest.mark.parametrize("in_time", ["layers", "static", "nodes"])
@pytest.mark.parametrize("samples", [1, 4, 40])
@pytest.mark.parametrize("stepper", [Euler(), RK4()])
def test_factors_are_the_gradient(stepper, samples, in_time, rng):
    """Formed, in products, norm and step; two products with one matrix, a kernel with weights, two
    steps in a layer, with and without a penalty.
    """
    grid = gauss_legendre(Interval(0.0, 1.0), 30 if samples == 40 else 3)
    wide = 50 if samples == 40 else 5
    maps = (Linear("w", wide), Offset("a"), Pointwise(tanh), Adjoint("w"), Pointwise(gelu))
    network = Chain(grid, (*maps, Linear("v", Dense())))
    space = network.controls(TimeMesh(1.0, 3, 1.3), in_time=in_time)
    initial, target = rng.standard_normal((2, len(grid), samples))
    control, direction = space.random(rng, 0.3), space.random(rng)
    for penalty in (None, Tikhonov(0.1)):
        problem = LearningProblem(network, initial, target, space, penalty=penalty)
        objective = discretize(problem, stepper, 2)
        value, gradient = objective.value_and_gradient(control)
        same, factors = objective.value_and_factors(control)
        assert same == pytest.approx(value, rel=1e-13)
        assert set(factors.pairs) == (set() if in_time == "nodes" else {"w", "v"})
        assert relative(factors.gradient(), gradient) < 1e-13
        inner, norm = space.inner(gradient, direction), space.norm(gradient)
        assert factors.inner(direction) == pytest.approx(inner, rel=1e-12, abs=1e-12)
        assert factors.norm() == pytest.approx(norm, rel=1e-13)
        moved = Control(space, {n: x - 0.3 * gradient[n] for n, x in control.items()})
        for out in (None, space.zeros()):
            found = factors.step(control, 0.3, out=out)
            assert out is None or found is out
            assert relative(found, moved) < 1e-13
        here = Control(space, {n: x.copy() for n, x in control.items()})
        assert factors.step(here, 0.3, out=here) is here
        assert relative(here, moved) < 1e-13
        for name, pairs in factors.pairs.items():
            if name in factors.arrays:
                continue
            summed = np.zeros((3 if in_time == "layers" else 1, *gradient[name].shape[-2:]))
            for pair in pairs:
                np.add.at(summed, pair.layers, pair.left @ pair.right.swapaxes(1, 2))
            expected = gradient[name].reshape(summed.shape)
            np.testing.assert_allclose(summed, expected, rtol=0, atol=1e-13)


def test_factors_where_no_loop_is_compiled(rng, monkeypatch):
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    network = Chain(3, (Linear("w", 3), Pointwise(tanh)))
    initial = rng.standard_normal((3, 2))
    problem = LearningProblem(network, initial, initial, network.controls(TimeMesh(1.0, 2)))
    objective = discretize(problem)
    control = problem.space.random(rng)
    value, factors = objective.value_and_factors(control)
    expected, gradient = objective.value_and_gradient(control)
    assert value == pytest.approx(expected, rel=1e-14)
    assert not factors.pairs
    assert relative(factors.gradient(), gradient) < 1e-14
    assert factors.norm() == pytest.approx(problem.space.norm(gradient), rel=1e-13)
    other = network.controls(TimeMesh(1.0, 1)).random(rng)
    for call in (factors.inner, lambda x: factors.step(x, 1.0)):
        with pytest.raises(ValueError, match="control"):
            call(other)
    with pytest.raises(ValueError, match="out"):
        factors.step(control, 1.0, out=other)
    with pytest.raises(ValueError, match="size"):
        factors.step(control, np.nan)
    fixed = Control(problem.space, {"w": np.zeros_like(control["w"])})
    fixed["w"].flags.writeable = False
    with pytest.raises(ValueError, match="written"):
        factors.step(control, 1.0, out=fixed)


CACHED = """
import numpy as np
from solvers.flow.product_loops import dense

x, out = np.arange(6.0), np.ones(9)
dense(3, 3, 2, 2.0, x, False, x, True, 1.0, out)
expected = 1.0 + 2.0 * x.reshape(3, 2) @ x.reshape(3, 2).T
print(np.array_equal(out.reshape(3, 3), expected), sum(dense.stats.cache_hits.values()))
"""


@pytest.mark.slow
def test_products_by_blas_are_kept_on_disk(tmp_path):
    """A second process calls BLAS from the machine code of the first."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    root = Path(__file__).parent.parent
    for hits in (0, 1):
        run = subprocess.run(
            [sys.executable, "-c", CACHED],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert run.stdout == f"True {hits}\n", run.stderr
