"""Meshes through given nodes do what graded ones do, and nothing takes layers to be equal."""

import pickle

import numpy as np
import pytest

from continuum import (
    LearningProblem,
    NeuralODE2,
    SquaredError,
    Tikhonov,
    TimeMesh,
    tanh,
)
from continuum.io import load_control, save_control
from continuum.transfers import change_depth
from solvers import RK4, Euler, discretize

GRADED = TimeMesh(2.0, 6, grading=1.7)
SAME = TimeMesh.through(GRADED.nodes)
NODES = np.concatenate([[0.0], np.geomspace(0.05, 2.0, 6)])


def problem(mesh, rng, in_time="layers"):
    network = NeuralODE2(2, tanh)
    return LearningProblem(
        network,
        rng.standard_normal((2, 3)),
        rng.standard_normal((2, 3)),
        network.controls(mesh, in_time=in_time),
        running=SquaredError(0.3),
        penalty=Tikhonov(0.1),
    )


def test_its_nodes_are_those_given():
    mesh = TimeMesh.through(NODES)
    np.testing.assert_array_equal(mesh.nodes, NODES)
    np.testing.assert_array_equal(mesh.steps, np.diff(NODES))
    assert (mesh.horizon, mesh.layers) == (2.0, 6)
    assert [mesh.layer_of(t) for t in (0.0, 0.049, 0.05, 1.99, 2.0)] == [0, 0, 1, 5, 5]
    assert mesh == pickle.loads(pickle.dumps(mesh)) == TimeMesh.through(list(NODES))
    assert hash(mesh) == hash(TimeMesh.through(NODES))
    assert mesh != TimeMesh(2.0, 6)


@pytest.mark.parametrize("in_time", ["layers", "nodes"])
@pytest.mark.parametrize("method", [Euler(), RK4()])
def test_it_is_the_graded_mesh_through_the_same_nodes(in_time, method, rng):
    seed = rng.bit_generator.state
    known = discretize(problem(GRADED, rng, in_time), method)
    rng.bit_generator.state = seed
    given = discretize(problem(SAME, rng, in_time), method)
    c, d = known.space.random(rng), known.space.random(rng)
    here = [given.space.sample(**x) for x in (c, d)]
    for one, other in (
        (known.value_and_gradient(c)[0], given.value_and_gradient(here[0])[0]),
        (known.space.flatten(known.gradient(c)), given.space.flatten(given.gradient(here[0]))),
        (known.space.flatten(known.hvp(c, d)), given.space.flatten(given.hvp(*here))),
        (known.run(c).states, given.run(here[0]).states),
    ):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-14)


def test_gradients_are_right_where_layers_differ(rng):
    """Taylor: |J(c + s d) - J(c) - s (g, d)| falls like s^2."""
    objective = discretize(problem(TimeMesh.through(NODES), rng))
    c, d = objective.space.random(rng), objective.space.random(rng)
    value, gradient = objective.value_and_gradient(c)
    slope = objective.space.inner(gradient, d)
    steps = 2.0 ** -np.arange(6, 12)
    errors = [abs(objective.value(c + s * d) - value - s * slope) for s in steps.tolist()]
    np.testing.assert_allclose(np.diff(np.log2(errors)), -2.0, atol=0.03)


def test_depth_changes_between_given_nodes(rng):
    network = NeuralODE2(2, tanh)
    control = network.controls(TimeMesh.through([0.0, 0.5, 2.0])).random(rng)
    finer = change_depth(control, TimeMesh.through([0.0, 0.2, 0.5, 1.0, 2.0]))
    np.testing.assert_allclose(finer["bias"], control["bias"][[0, 0, 1, 1]], rtol=0, atol=1e-15)


def test_a_control_of_other_nodes_is_refused(rng, tmp_path):
    network = NeuralODE2(2, tanh)
    space, other = network.controls(TimeMesh.through(NODES)), network.controls(TimeMesh(2.0, 6))
    with pytest.raises(ValueError, match="control lives in another space: its mesh has other node"):
        space.check("control", other.zeros())
    path = save_control(tmp_path / "control.h5", space.random(rng))
    load_control(path, network.controls(TimeMesh.through(NODES)))
    with pytest.raises(ValueError, match="its layers end at other times than those of the space"):
        load_control(path, other)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([0.0], "nodes must start at 0 and be at least two"),
        ([0.1, 1.0], "nodes must start at 0"),
        ([0.0, 1.0, 1.0], r"nodes must increase, but nodes\[1\] = 1 and nodes\[2\] = 1"),
        ([0.0, np.inf], "NaN or infinite"),
        ([[0.0, 1.0]], r"nodes has shape \(1, 2\), expected \(K\+1,\)"),
    ],
)
def test_bad_nodes(nodes, words):
    with pytest.raises(ValueError, match=words):
        TimeMesh.through(nodes)
