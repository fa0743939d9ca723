"""The compiled loops of chains against the generic path: random chains, tableaux, time axes, step
counts; value, gradient, costates, Hessian-vector products.
"""

import os
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from continuum import (
    Interval,
    LearningProblem,
    SquaredError,
    TimeMesh,
    arctan,
    elu,
    gauss_legendre,
    gelu,
    identity,
    leaky_relu,
    relu,
    sigmoid,
    softplus,
    tanh,
)
from continuum.activations import user_activation
from continuum.kernels import Dense
from continuum.networks import Adjoint, Chain, Linear, Offset, Pointwise
from solvers import RK4, Euler, ExplicitMidpoint, Heun, discretize, integrate
from solvers.adjoint import chain_second_order
from solvers.flow import chain_loops
from solvers.flow.program import Loop, lower

GRID = gauss_legendre(Interval(0.0, 1.0), 3)
ACTIVATIONS = (
    tanh,
    identity,
    relu,
    sigmoid,
    leaky_relu(0.2),
    elu(0.7),
    arctan,
    softplus,
    gelu,
)
STEPPERS = (Euler(), Heun(), ExplicitMidpoint(), RK4())


@st.composite
def chains(draw, space=None):
    """Chains of two to six maps on R^3 or a grid of three nodes, adjoints and offsets among them."""
    space = draw(st.sampled_from((3, GRID)))
    maps, at, free, linears = [], "home", 0, []
    for n in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(("linear", "adjoint", "offset", "pointwise", "pointwise")))
        if kind == "adjoint" and linears:
            name, source, target = draw(st.sampled_from(linears))
            if target == at:
                maps.append(Adjoint(name, draw(st.sampled_from((1, -1)))))
                at = source
                continue
        if kind == "pointwise":
            maps.append(Pointwise(draw(st.sampled_from(ACTIVATIONS))))
        elif kind == "offset":
            maps.append(Offset(f"offset{n}"))
        else:
            wide = draw(st.sampled_from((1, 2, 5)))
            kernel = space is GRID and at == "home" and draw(st.booleans())
            into, target = (Dense(), "home") if kernel else (wide, wide)
            maps.append(Linear(f"linear{n}", into, draw(st.sampled_from((1, -1)))))
            linears.append((f"linear{n}", at, target))
            at = target
            free += 1
    if at == "home" and not maps:
        maps.append(Offset("offset"))
    if at != "home":
        name = next(n for n, _, target in reversed(linears) if target == at)
        source = next(s for n, s, _ in linears if n == name)
        maps.append(Adjoint(name))
        while source != "home":
            name, source = next((n, s) for n, s, target in linears if target == source)
            maps.append(Adjoint(name))
    return Chain(space, tuple(maps))


def relative(found, expected):
    """The largest difference of two controls, in units of the largest entry."""
    size = max(1e-3, *(float(np.abs(x).max()) for x in expected.values()))
    return max(float(np.abs(found[n] - expected[n]).max()) for n in expected) / size


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    network=chains(),
    stepper=st.sampled_from(STEPPERS),
    in_time=st.sampled_from(("layers", "nodes", "static")),
    per_layer=st.integers(1, 3),
    samples=st.sampled_from((1, 2, 9)),
    running=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_compiled_is_generic(network, stepper, in_time, per_layer, samples, running, seed):
    rng, units = np.random.default_rng(seed), len(network.weights)
    space = network.controls(TimeMesh(0.7, 3, 1.4), in_time=in_time)
    initial, target = rng.standard_normal((2, units, samples))
    problem = LearningProblem(
        network, initial, target, space, running=SquaredError() if running else None
    )
    objective = discretize(problem, stepper, per_layer)
    control, direction = space.random(rng, 0.5), space.random(rng, 0.5)
    assert Loop.of(network, control, stepper, initial) is not None

    def all_four():
        value, gradient = objective.value_and_gradient(control)
        final = integrate(network, control, initial, stepper, steps_per_layer=per_layer)
        return (
            value,
            gradient,
            objective.hvp(control, direction),
            objective.costates(control).states,
            final.trajectory.final,
        )

    compiled = all_four()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
        generic = all_four()
    assert compiled[0] == pytest.approx(generic[0], rel=1e-12)
    assert relative(compiled[1], generic[1]) < 1e-12
    assert relative(compiled[2], generic[2]) < 1e-12
    for ours, theirs in zip(compiled[3:], generic[3:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("samples", [1, 40])
def test_large_products_are_the_small_ones(samples, rng, monkeypatch):
    """Products by BLAS, of which there are none in the tests above."""
    maps = (Linear("w", 600, -1), Offset("a"), Pointwise(gelu), Adjoint("w"), Offset("b"))
    network = Chain(gauss_legendre(Interval(0.0, 1.0), 40), maps)
    space = network.controls(TimeMesh(0.5, 2), in_time="nodes")
    initial = rng.standard_normal((40, samples))
    objective = discretize(LearningProblem(network, initial, initial, space), Heun())
    control, direction = space.random(rng, 0.05), space.random(rng, 0.05)
    found = objective.gradient(control), objective.hvp(control, direction)
    monkeypatch.setattr(Loop, "of", staticmethod(lambda *arguments: None))
    expected = objective.gradient(control), objective.hvp(control, direction)
    for ours, theirs in zip(found, expected, strict=True):
        assert relative(ours, theirs) < 1e-12


def test_what_is_no_chain_of_dense_maps_stays_generic(rng):
    line = Chain(3, (Linear("w", 3), Pointwise(tanh)))
    odd = user_activation(
        "odd", np.sin, np.cos, lambda s: -np.sin(s), lambda s: 1.0 - np.cos(s), lipschitz=1.0
    )
    assert lower(line) is not None
    assert lower(line) is lower(line)
    assert lower(Chain(3, (Linear("w", 3), Pointwise(odd)))) is None
    many = tuple(m for n in range(9) for m in (Linear(f"w{n}", 3), Offset(f"b{n}")))
    assert lower(Chain(3, many)) is None
    path = line.control(TimeMesh(1.0, 2), w=lambda t: t * np.eye(3))
    assert Loop.of(line, path, Euler(), rng.standard_normal((3, 2))) is None


def test_one_compilation_serves_all():
    loops = (
        chain_loops.advance,
        chain_loops.adjoint,
        chain_second_order.tangent,
        chain_second_order.second_order,
    )
    for loop in loops:
        assert len(loop.signatures) <= 1


BOUNDS = """
import numpy as np
from continuum import LearningProblem, SquaredError, TimeMesh, gelu, tanh
from continuum.networks import Adjoint, Chain, Linear, Offset, Pointwise
from solvers import Heun, discretize

rng = np.random.default_rng(1)
maps = (Offset("o"), Pointwise(tanh), Linear("w", 4), Offset("b"), Pointwise(gelu), Adjoint("w"))
network = Chain(3, maps)
for in_time in ("layers", "nodes", "static"):
    for samples in (1, 2):
        space = network.controls(TimeMesh(1.0, 2), in_time=in_time)
        f = rng.standard_normal((3, samples))
        problem = LearningProblem(network, f, f, space, running=SquaredError())
        objective = discretize(problem, Heun(), 2)
        control = space.random(rng)
        objective.value_and_gradient(control)
        objective.hvp(control, control)
        other = network.controls(TimeMesh(1.0, 1), in_time=in_time).random(rng)
        if in_time != "static":
            try:
                objective.value_and_gradient(other)
            except ValueError:
                continue
            raise SystemExit("a control of another mesh was taken")
print("done")
"""


@pytest.mark.slow
def test_loops_stay_inside_their_arrays(tmp_path):
    """Once with Numba's check of every index."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    root = Path(__file__).parent.parent
    run = subprocess.run(
        [sys.executable, "-c", BOUNDS], cwd=root, env=environment, capture_output=True, text=True
    )
    assert run.stdout == "done\n", run.stderr
