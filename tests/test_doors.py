"""Every function that takes a control asks first whether it belongs to its space."""

import copy

import numpy as np
import pytest

from continuum import (
    Ball,
    Box,
    Control,
    FiniteSet,
    Interval,
    L1Ball,
    LearningProblem,
    NeuralODE2,
    NormBall,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    tanh,
    trapezoid,
)
from continuum.controls import ControlSpace
from solvers import LBFGS, discretize, evaluate, minimize

MESH = TimeMesh(2.0, 6)
NETWORK = WidthDepth(gauss_legendre(Interval(0, 1), 5), tanh)
SPACE = NETWORK.controls(MESH)
OTHERS = {
    "layers": (NETWORK.controls(TimeMesh(2.0, 3)), "its mesh has layers 3, expected 6"),
    "horizon": (NETWORK.controls(TimeMesh(1.0, 6)), "its mesh has horizon 1, expected 2"),
    "grading": (NETWORK.controls(TimeMesh(2.0, 6, 2.0)), "its mesh has grading 2, expected 1"),
    "units": (
        WidthDepth(gauss_legendre(Interval(0, 1), 4), tanh).controls(MESH),
        r"its bias has shape \(4,\), expected \(5,\)",
    ),
    "weights": (
        WidthDepth(trapezoid(Interval(0, 1), 5), tanh).controls(MESH),
        "its bias is measured by other weights",
    ),
    "time": (
        NETWORK.controls(MESH, in_time="nodes"),
        "its bias has in_time='nodes', expected 'layers'",
    ),
    "blocks": (
        NeuralODE2(5, tanh).controls(MESH),
        "its blocks are bias, weight, expected bias, kernel",
    ),
    "fixed": (
        NETWORK.controls(MESH, fixed={"kernel": 1.0}),
        "its blocks are bias, expected bias, kernel",
    ),
}
EACH = pytest.mark.parametrize(("other", "words"), OTHERS.values(), ids=OTHERS.keys())


@pytest.fixture
def problem(rng):
    initial, target = rng.standard_normal((5, 2)), rng.standard_normal((5, 2))
    return LearningProblem(NETWORK, initial, target, SPACE, penalty=Tikhonov(1e-3))


@EACH
def test_no_door_takes_a_control_of_another_space(other, words, problem, rng):
    own, foreign, objective = SPACE.random(rng), other.random(rng), discretize(problem)
    doors = (
        lambda: SPACE.check("control", foreign),
        lambda: own + foreign,
        lambda: own - foreign,
        lambda: SPACE.inner(own, foreign),
        lambda: SPACE.inner(foreign, own),
        lambda: SPACE.norm(foreign),
        lambda: SPACE.flatten(foreign),
        lambda: minimize(problem, LBFGS(max_iterations=2), initial=foreign),
        lambda: objective.value(foreign),
        lambda: objective.gradient(foreign),
        lambda: objective.hvp(foreign, own),
        lambda: objective.hvp(own, foreign),
        lambda: objective.costates(foreign),
        lambda: evaluate(problem, foreign),
        lambda: Tikhonov(1.0).hvp(own, foreign),
    )
    for door in doors:
        with pytest.raises(ValueError, match="lives in another space: " + words):
            door()


@pytest.mark.parametrize("what", ["spam", 1.0, None, {"bias": 0.0}, NETWORK.control(MESH)])
def test_no_door_takes_what_is_no_control(what, problem, rng):
    own, objective = SPACE.random(rng), discretize(problem)
    doors = (
        lambda: SPACE.check("control", what),
        lambda: own + what,
        lambda: own - what,
        lambda: SPACE.inner(own, what),
        lambda: SPACE.flatten(what),
        lambda: objective.value(what),
        lambda: objective.gradient(what),
        lambda: evaluate(problem, what),
        lambda: Tikhonov(1.0).value(what),
        lambda: Tikhonov(1.0).prox(what, 1.0),
        lambda: Box(bias=(-1, 1)).project(what),
        lambda: Box(bias=(-1, 1)).violation(what),
        lambda: Ball().contains(what),
    )
    for door in doors:
        with pytest.raises(TypeError, match="must be a Control, got"):
            door()


def test_spaces_made_twice_are_the_same(problem, rng):
    network = WidthDepth(gauss_legendre(Interval(0, 1), 5), tanh)
    x = network.controls(TimeMesh(2.0, 6)).random(rng)
    same = SPACE.check("control", x)
    assert same.space is SPACE
    assert all(same[name] is x[name] for name in x)
    y = SPACE.random(rng)
    assert (y + x).space is SPACE
    assert SPACE.inner(x, y) == SPACE.inner(same, y)
    assert discretize(problem).value(x) == discretize(problem).value(same)
    assert SPACE.check("control", y) is y
    other = copy.copy(SPACE)
    swapped = ControlSpace(other.mesh, other.blocks[::-1])
    np.testing.assert_array_equal(SPACE.flatten(swapped.check("y", y)), SPACE.flatten(y))


def test_fixed_blocks_are_read_from_the_space_that_asks(rng):
    held = NETWORK.controls(MESH, fixed={"kernel": 2.0})
    again = NETWORK.controls(MESH, fixed={"kernel": 2.0})
    x = again.random(rng)
    assert held.check("control", x)["kernel"] is held.fixed["kernel"]
    elsewhere = NETWORK.controls(MESH, fixed={"kernel": 1.0})
    with pytest.raises(ValueError, match="its kernel is fixed at other values"):
        held.check("control", elsewhere.random(rng))
    bias = ControlSpace(held.mesh, held.trained)
    taken = held.check("control", bias.random(rng))
    np.testing.assert_array_equal(taken.at(0.3)["kernel"], np.full((5, 5), 2.0))


@pytest.mark.parametrize(
    ("factor", "error", "words"),
    [
        (1j, TypeError, "the factor of a control must be a real number"),
        ("spam", TypeError, "the factor of a control must be a real number"),
        (np.ones(2), TypeError, "the factor of a control must be a real number"),
        (np.nan, ValueError, "the factor of a control must be finite"),
        (-np.inf, ValueError, "the factor of a control must be finite"),
    ],
)
def test_factors_are_finite_real_numbers(factor, error, words):
    x = SPACE.zeros()
    with pytest.raises(error, match=words):
        x * factor
    with pytest.raises(error, match=words):
        factor * x


def test_replaced_blocks(rng):
    x = SPACE.random(rng)
    y = x.replaced(bias=np.ones((6, 5)))
    assert np.all(y["bias"] == 1.0)
    assert y["kernel"] is x["kernel"]
    assert isinstance(y, Control)
    assert y.space is SPACE
    for blocks, words in (
        ({"bais": np.ones((6, 5))}, "Did you mean 'bias'"),
        ({"bias": np.ones((5, 6))}, "its transpose would fit"),
        ({"bias": np.full((6, 5), np.nan)}, "bias has entries that are NaN or infinite"),
        ({"kernel": np.full((6, 5, 5), np.inf)}, "kernel has entries that are NaN or infinite"),
    ):
        with pytest.raises(ValueError, match=words):
            x.replaced(**blocks)
    held = NETWORK.controls(MESH, fixed={"kernel": 2.0}).zeros()
    with pytest.raises(ValueError, match="unknown block 'kernel'"):
        held.replaced(kernel=np.ones((5, 5)))


def test_a_set_is_asked_only_of_controls_it_fits():
    for admissible in (Ball(), L1Ball(kernel=1.0), NormBall(kernel=1.0), FiniteSet(kernel=(0, 1))):
        for ask in (admissible.project, admissible.violation, admissible.contains):
            with pytest.raises(ValueError, match="unknown block"):
                ask(NeuralODE2(5, tanh).controls(MESH).zeros())
