"""Symmetries are read off the maps of a chain, and the problem does not notice them."""

import numpy as np
import pytest

from continuum import (
    AbsoluteError,
    Affine,
    Bottleneck,
    Box,
    Chain,
    CrossEntropy,
    Inputs,
    Interval,
    LearningProblem,
    Linear,
    Logistic,
    LowRank,
    NeuralODE,
    NeuralODE2,
    Offset,
    Pointwise,
    Projection,
    SignedReadout,
    SquaredError,
    State,
    SymmetricLayer,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    gauss_legendre,
    midpoint,
    relu,
    tanh,
)
from continuum.networks import Adjoint
from solvers import LBFGS, RK4, discretize, multistart, symmetries

MESH = TimeMesh(1.5, 3)
XOR = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
FIRST = Projection(np.array([[1.0, 0.0]]))
GRID = midpoint(Interval(0, 1), 3)


def of(network, initial=None, target=None, **more):
    units = len(network.weights)
    rng = np.random.default_rng(5)
    given = {
        "initial": rng.standard_normal((units, 4)) if initial is None else initial,
        "target": rng.standard_normal((units, 4)) if target is None else target,
        "controls": MESH,
        "running": SquaredError(0.7),
        "penalty": Tikhonov(0.1),
        **more,
    }
    return LearningProblem(network, **given)


def xor(network, readout=FIRST, target=XOR[:1] * XOR[1:], **more):
    return of(network, XOR, target, readout=readout, **more)


DEEP = Chain(
    2,
    (
        Linear("u", 3),
        Offset("a"),
        Pointwise(tanh),
        Linear("v", 2),
        Pointwise(relu),
        Linear("w", 2),
        Offset("b"),
    ),
)
TIMED = Chain(2, (Inputs(time=True), Linear("u", 3), Pointwise(tanh), Linear("w", 2)))
TIED = Chain(
    2,
    (
        Linear("u", 3),
        Pointwise(tanh),
        Linear("v", 3),
        Pointwise(tanh),
        Linear("v", 3),
        Adjoint("u", -1),
    ),
)
EQUAL = np.array([[0.3, -0.2, 0.5, 1.0]] * 3)

# how many generators: signs and exchanges of hidden units, then those of the state: of three equal
# units two exchanges, of which the third is a product, and two cycles
CASES = {
    # 3 signs and 2 exchanges in the first hidden layer, 1 exchange in the second
    "two hidden layers": (of(DEEP), 3 + 2 + 1),
    "time as an input": (of(TIMED), 3 + 2),
    # one block from the middle layers to themselves: they are one layer, of odd activations
    "tied": (of(TIED), 3 + 2),
    "bottleneck, relu": (of(Bottleneck(2, relu, 4)), 3),
    "no hidden layer": (of(NeuralODE(2, tanh)), 0),
    # x1 -> -x1 carries the samples of XOR into each other, and labels with outputs
    "XOR": (xor(NeuralODE2(2, tanh)), 1),
    "XOR, norm of the residual": (
        xor(NeuralODE2(2, tanh), terminal=AbsoluteError(groups="sample")),
        1,
    ),
    # the signs of a readout stand still: units under different ones are not exchanged
    "equal units, equal signs": (
        of(NeuralODE2(3, relu), EQUAL, EQUAL[:1], readout=SignedReadout(np.array([[1, 1, 1]]))),
        4,
    ),
    "equal units, two signs": (
        of(NeuralODE2(3, relu), EQUAL, EQUAL[:1], readout=SignedReadout(np.array([[1, 1, -1]]))),
        1,
    ),
    "XOR as an endpoint": (
        xor(NeuralODE2(2, tanh), terminal=None, running=None, endpoint=TerminalEquality()),
        1,
    ),
    "XOR and another endpoint": (
        xor(
            NeuralODE2(2, tanh), endpoint=TerminalEquality(XOR + np.array([[0.5], [0.0]]), State())
        ),
        0,
    ),
    "XOR, uneven": (xor(NeuralODE2(2, tanh), sample_weights=[1.0, 2.0, 3.0, 4.0]), 0),
    "XOR, relu": (xor(NeuralODE2(2, relu)), 0),
    # outputs are read by a trained matrix: all 7 signed permutations leave the labels but for
    # those that change the product x1 x2, which is half of the group of 8
    "XOR, trained readout": (xor(NeuralODE2(2, tanh), readout=Affine(1)), 3),
    "XOR, fixed readout": (
        xor(NeuralODE2(2, tanh), readout=Affine(1, fixed={"readout.W": [[1.0, 1.0]]})),
        1,
    ),
    "classes": (
        xor(
            NeuralODE2(2, tanh),
            readout=Affine(2),
            target=np.array([1, 0, 0, 1]),
            terminal=CrossEntropy(),
            running=None,
        ),
        3,
    ),
    # the third coordinate is 0 in all data: its sign
    "a zero coordinate": (
        of(NeuralODE2(3, tanh), np.vstack([EQUAL[:1], 2 * EQUAL[:1], 0 * EQUAL[:1]]), 0 * EQUAL),
        1,
    ),
    # the logistic loss is not even
    "a zero coordinate, logistic": (
        of(
            NeuralODE2(3, tanh),
            np.vstack([EQUAL[:1], 2 * EQUAL[:1], 0 * EQUAL[:1]]),
            0 * EQUAL,
            terminal=Logistic(),
        ),
        0,
    ),
    "equal units on a grid": (of(WidthDepth(GRID, relu), EQUAL, EQUAL), 4),
    "weights that differ": (
        of(WidthDepth(gauss_legendre(Interval(0, 1), 3), relu), EQUAL, EQUAL),
        1,
    ),
    "symmetric layer": (of(SymmetricLayer(GRID, relu), EQUAL, EQUAL), 2 + 4),
    "a bias fixed at one value": (
        of(
            Bottleneck(2, tanh, 3),
            controls=Bottleneck(2, tanh, 3).controls(MESH, fixed={"bias1": 0.5}),
        ),
        2,
    ),
    "data of each sample": (
        of(Chain(2, (Inputs(data=XOR), Linear("u", 3), Pointwise(relu), Linear("w", 2)))),
        2,
    ),
}


@pytest.mark.parametrize(("problem", "count"), CASES.values(), ids=CASES.keys())
def test_the_problem_does_not_notice(problem, count, rng):
    """J, J by another method, the norm and the size of the gradient are the same at the image."""
    found = symmetries(problem)
    assert len(found) == count
    x = problem.space.random(rng, 0.5)
    for symmetry in found:
        image = symmetry(x)
        assert problem.space.norm(image - x) > 0.1
        for method in (None, RK4()):
            objective = discretize(problem, method)
            assert objective.value(image) == pytest.approx(objective.value(x), rel=1e-12)
        here = objective.gradient(x)
        np.testing.assert_allclose(
            problem.space.flatten(objective.gradient(image)),
            problem.space.flatten(symmetry(here)),
            rtol=0,
            atol=1e-12 * problem.space.norm(here),
        )


def test_images_are_one_cluster(rng):
    """The end of a run from the image of a start is the image of its end."""
    problem = xor(NeuralODE2(2, tanh), penalty=Tikhonov(1e-3))
    (symmetry,) = symmetries(problem)
    start = problem.space.random(rng, 2.0)
    counts = [
        len(multistart(problem, LBFGS(), [start, symmetry(start)], symmetries=known).clusters)
        for known in ([], [symmetry])
    ]
    assert counts == [2, 1]


def test_states_of_many_units():
    """Six units, of which the first three have equal data, and the last is 0 with target 0."""
    rows = np.array([[1.0, 2.0]] * 3 + [[0.5, 0.1], [0.2, 0.3], [0.0, 0.0]])
    problem = of(NeuralODE(6, tanh), rows, rows)
    found = symmetries(problem)
    assert len(found) == 3
    assert len(symmetries(problem, signs=False)) == 2
    assert len(symmetries(problem, exchanges=False)) == 1
    assert len(symmetries(problem, units={0: [1, 2, 3]})) == 1


def test_hidden_layers_are_numbered():
    problem = of(DEEP)
    assert len(symmetries(problem, units={1: [0, 2]})) == 3
    assert len(symmetries(problem, units={2: [0, 1]})) == 1
    assert not symmetries(problem, units={2: [0]})


def moving(t):
    return XOR * t


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: symmetries(3), "problem must be a LearningProblem, got 3"),
        (lambda: symmetries(of(WidthDepth(GRID, tanh, LowRank(1)))), "block 'kernel' is LowRank"),
        (lambda: symmetries(of(DEEP), units={3: [0]}), r"layers 0, ..., 2 \(0 is the state\)"),
        (lambda: symmetries(of(DEEP), units={1: [3]}), "units of layer 1 must be 0, ..., 2, got 3"),
        (
            lambda: symmetries(
                of(NeuralODE(2, tanh), running=Tracking(SquaredError(), target=moving))
            ),
            "with a target that stands still",
        ),
        (
            lambda: symmetries(of(NeuralODE(2, tanh), admissible=Box(bias=(0, 1))), units={0: [2]}),
            "units of layer 0 must be 0, ..., 1, got 2",
        ),
    ],
)
def test_bad_input(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()
