"""A problem on another horizon is the same problem, or is refused (TP-01, TP-02)."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    L1,
    AbsoluteError,
    Affine,
    Amplitude,
    Ball,
    Bottleneck,
    Box,
    Chain,
    CostSum,
    FiniteSet,
    Inputs,
    Interval,
    L1Ball,
    LearnedField,
    LearningProblem,
    Linear,
    LowRank,
    NeuralODE,
    NeuralODE2,
    NormBall,
    NormBound,
    Offset,
    Pointwise,
    RunningCost,
    SobolevPenalty,
    SquaredError,
    SymmetricLayer,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    gauss_legendre,
    identity,
    leaky_relu,
    relu,
    rescale,
    tanh,
)
from continuum.activations import user_activation
from solvers import RK4, Euler, discretize, integrate

GRID = gauss_legendre(Interval(0, 1), 3)
POINTS = np.array([[1.0, -0.3], [-0.5, 0.8]])


def weight(s):
    return np.array([[np.cos(2 * s), -1.0], [0.5 + s, np.sin(3 * s)]])


def bias(s):
    return np.array([0.3 - s, 0.2 * s])


TP01 = {
    "relu": (NeuralODE(2, relu), [[1.82898185, -0.3], [1.35876456, 1.27819408]]),
    "leaky relu": (
        NeuralODE(2, leaky_relu(0.1)),
        [[1.779257, -0.43262673], [1.35062811, 1.20424211]],
    ),
    "tanh, affine": (NeuralODE2(2, tanh), [[1.39531634, -1.37563122], [0.36374329, 0.67139774]]),
}


def left_nodes(network, layers=64):
    """The control of TP-01: each layer holds the values at its left end."""
    space = network.controls(TimeMesh(1.0, layers))
    s = space.mesh.nodes[:-1]
    return space.sample(
        weight=np.array([weight(x) for x in s]), bias=np.array([bias(x) for x in s])
    )


@pytest.mark.parametrize(("network", "expected"), TP01.values(), ids=TP01.keys())
def test_TP01(network, expected):
    control = left_nodes(network)
    problem = LearningProblem(network, POINTS, POINTS, control.space)
    end = integrate(network, control, POINTS, Euler()).trajectory.final
    np.testing.assert_allclose(end, expected, rtol=0, atol=5e-9)  # as printed
    longer, moved = rescale(problem, control, 16.0)
    assert longer.mesh == TimeMesh(16.0, 64)
    there = integrate(network, moved, POINTS, Euler()).trajectory.final
    np.testing.assert_allclose(there, end, rtol=1e-13)


def test_TP01_a_tanh_outside_is_refused_and_would_be_wrong():
    network = NeuralODE(2, tanh)
    control = left_nodes(network)
    problem = LearningProblem(network, POINTS, POINTS, control.space)
    with pytest.raises(TypeError, match="tanh is applied to what has degree 1"):
        rescale(problem, control, 16.0)
    space = network.controls(TimeMesh(16.0, 64))
    wrong = space.sample(**{n: x / 16 for n, x in control.items()})
    apart = [integrate(network, c, POINTS, Euler()).trajectory.final for c in (control, wrong)]
    assert np.max(np.abs(apart[0] - apart[1])) == pytest.approx(0.9701, abs=5e-5)


def test_TP02():
    """int |u|^2 = 3.1486843129 and int |u_t|^2 = 8.7088396240 on [0, 1]; divided by T and T^3."""
    network, layers = NeuralODE2(2, tanh), 2000
    space = network.controls(TimeMesh(1.0, layers), in_time="nodes")
    s = space.mesh.nodes
    control = space.sample(
        weight=np.array([weight(x) for x in s]), bias=np.array([bias(x) for x in s])
    )
    problem = LearningProblem(network, POINTS, POINTS, space)
    moved = rescale(problem, control, 16.0)[1]
    for c, size, slope in (
        (control, 3.1486843129, 8.7088396240),
        (moved, 0.1967927696, 2.1261815e-3),
    ):
        assert Tikhonov(1.0).value(c) == pytest.approx(size, rel=1e-6)  # piecewise linear: 1/K^2
        whole = SobolevPenalty(1.0).value(c)
        assert whole - Tikhonov(1.0).value(c) == pytest.approx(slope, rel=2e-6)


def problem_of(network, *, mesh=None, in_time="layers", **changes):
    units = len(network.weights)
    given = {
        "initial": np.linspace(-1.0, 1.2, 2 * units).reshape(units, 2),
        "target": np.linspace(0.7, -1.0, 2 * units).reshape(units, 2),
        "controls": network.controls(TimeMesh(3.0, 5) if mesh is None else mesh, in_time=in_time),
        "running": SquaredError(0.3),
        **changes,
    }
    return LearningProblem(network, **given)


def moving(t):
    return np.array([[np.sin(t)], [t * t]])


DEEP = Chain(2, (Linear("v", 3), Pointwise(relu), Linear("w", 2), Offset("b")))
SAME = {
    "penalties": problem_of(NeuralODE(2, relu), penalty=Tikhonov(0.1) + L1(0.2, ["weight"])),
    "rows": problem_of(NeuralODE2(2, tanh), penalty=L1(0.2, ["weight"], groups="rows")),
    "joint": problem_of(NeuralODE2(2, tanh), penalty=L1(0.2, groups="joint")),
    "slopes": problem_of(
        NeuralODE2(2, tanh), in_time="nodes", penalty=SobolevPenalty(0.1, slope=0.3)
    ),
    "static": problem_of(NeuralODE2(2, tanh), in_time="static", penalty=Tikhonov(0.4) + L1(0.1)),
    "graded": problem_of(NeuralODE2(2, tanh), mesh=TimeMesh(3.0, 5, 1.7), penalty=Tikhonov(0.4)),
    "given nodes": problem_of(
        NeuralODE2(2, tanh), mesh=TimeMesh.through([0, 0.1, 0.3, 3.0]), penalty=Tikhonov(0.4)
    ),
    "readout": problem_of(
        NeuralODE2(2, tanh),
        readout=Affine(2),
        terminal=AbsoluteError(groups="sample"),
        penalty=Tikhonov(0.1),
    ),
    "moving target": problem_of(
        NeuralODE2(2, tanh), running=Tracking(SquaredError(0.7), target=moving)
    ),
    "sum of costs": problem_of(
        NeuralODE2(2, tanh),
        running=CostSum([Tracking(SquaredError(0.7), target=moving), Tracking(AbsoluteError(0.1))]),
        terminal=Tracking(SquaredError(0.7), target=moving),
    ),
    "endpoint": problem_of(NeuralODE2(2, tanh), endpoint=TerminalEquality()),
    "width": problem_of(WidthDepth(GRID, leaky_relu(0.2)), penalty=Tikhonov(0.1)),
    "an inner layer is fixed": problem_of(
        DEEP, controls=DEEP.controls(TimeMesh(3.0, 5), fixed={"v": np.ones((3, 2))})
    ),
    "a bias is fixed at zero": problem_of(
        NeuralODE(2, relu),
        controls=NeuralODE(2, relu).controls(TimeMesh(3.0, 5), fixed={"bias": 0.0}),
    ),
}


@pytest.mark.parametrize("horizon", [1.0, 7.3])
@pytest.mark.parametrize("method", [Euler(), RK4()])
@pytest.mark.parametrize("problem", SAME.values(), ids=SAME.keys())
def test_it_is_the_same_problem(problem, method, horizon, rng):
    """J and the states are the same, and so is the way back."""
    control = problem.space.random(rng)
    other, moved = rescale(problem, control, horizon)
    here, there = discretize(problem, method), discretize(other, method)
    assert there.value(moved) == pytest.approx(here.value(control), rel=1e-13)
    paths = [
        integrate(q.network, c, q.initial, method, save="layers").trajectory.states
        for q, c in ((problem, control), (other, moved))
    ]
    np.testing.assert_allclose(*paths, rtol=0, atol=1e-12 * np.max(np.abs(paths[0])))
    back, again = rescale(other, moved, 3.0)
    assert discretize(back, method).value(again) == pytest.approx(here.value(control), rel=1e-13)
    for name, x in again.items():
        np.testing.assert_allclose(x, control[name], rtol=1e-14)


SETS = {
    "box": Box(bias=(-0.2, 0.3)) & FiniteSet(weight=(-1.0, 0.5, 1.0)),
    "ball": Ball(0.8, kernel="weight"),
    "rows": L1Ball(weight=0.7) & NormBall(bias=0.4),
    "amplitude": Amplitude(0.6),
}


@pytest.mark.parametrize(
    ("name", "in_time"),
    [(n, "layers") for n in SETS] + [(n, "static") for n in SETS if n != "amplitude"],
)
def test_the_set_is_the_same(name, in_time, rng):
    """The nearest point of the multiplied control is the multiple of the nearest point; Amplitude
    bounds only what depends on time.
    """
    admissible = SETS[name]
    problem = problem_of(NeuralODE2(2, tanh), in_time=in_time, admissible=admissible)
    control = problem.space.random(rng)
    other, moved = rescale(problem, control, 1.0)
    near = rescale(problem, admissible.project(control), 1.0)[1]
    for name, x in other.admissible.project(moved).items():
        np.testing.assert_allclose(x, near[name], rtol=1e-12, atol=1e-14)


def timed():
    return Chain(2, (Inputs(time=True), Linear("w", 2), Offset("b")))


class Own(NeuralODE2):
    def velocity(self, f, c, t):
        return super().velocity(f, c, t) + t


CUBE = user_activation(
    "odd square",
    value=lambda s: s * np.abs(s),
    derivative=lambda s: 2 * np.abs(s),
    second=lambda s: 2 * np.sign(s),
    antiderivative=lambda s: np.abs(s) ** 3 / 3,
    lipschitz=10.0,
    smooth=False,
    odd=True,
)
REFUSED = {
    "tanh outside": (NeuralODE(2, tanh), None, "tanh is applied to what has degree 1"),
    "own activation": (NeuralODE(2, CUBE), None, "odd square is applied to what has degree 1"),
    "bottleneck": (
        Bottleneck(2, relu, 3),
        None,
        "'bias2', of degree 1, is added to what has degree 2",
    ),
    "degree 2": (SymmetricLayer(GRID, relu), None, "homogeneous of degree 2 in its trained blocks"),
    "low rank": (
        WidthDepth(GRID, identity, LowRank(1)),
        None,
        "'bias', of degree 1, is added to what has degree 2",
    ),
    "fixed bias": (
        NeuralODE2(2, tanh),
        {"bias": 0.5},
        "'bias', of degree 0 because it is fixed, is added to what has degree 1",
    ),
    "fixed weight": (
        NeuralODE(2, relu),
        {"weight": 0.5},
        "'bias', of degree 1, is added to what has degree 0",
    ),
    "all fixed but one": (
        Chain(2, (Linear("w", 2), Offset("b"), Offset("a"))),
        {"w": 1.0, "b": 0.0},
        "'a', of degree 1, is added to what has degree 0",
    ),
    "time": (timed(), None, "the velocity depends on time"),
    "norm bound": (
        Chain(2, (Linear("w", 2), NormBound(1.0))),
        None,
        r"not known whether NormBound\(radius=1.0\) is homogeneous",
    ),
    "no chain": (Own(2, tanh), None, "homogeneity is read off the maps of a Chain"),
}


def test_a_fixed_matrix_keeps_the_degree(rng):
    field = LearnedField(2, 3, (), identity, timed=False, scale=2.0, centred=True)
    network = field.at(rng.standard_normal((3, 2)))
    space = network.controls(TimeMesh(3.0, 5), in_time="layers")
    problem, control = problem_of(network, controls=space, running=None), space.random(rng)
    other, moved = rescale(problem, control, 1.2)
    value = discretize(problem, RK4()).value(control)
    assert discretize(other, RK4()).value(moved) == pytest.approx(value, rel=1e-13)


@pytest.mark.parametrize(("network", "fixed", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_velocities_that_are_not_homogeneous(network, fixed, words, rng):
    space = network.controls(TimeMesh(3.0, 5), fixed=fixed)
    problem = problem_of(network, controls=space, running=None)
    with pytest.raises(TypeError, match=words):
        rescale(problem, space.random(rng), 1.0)


class Twice(Tikhonov):
    pass


class Still(RunningCost):
    def density(self, network, f, c, t):
        return f[0]

    def vjp(self, network, f, c, t, q):
        return 0 * f, {}

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        return 0 * f, {}

    def formula(self):
        return "f_1"


def test_what_it_does_not_know(rng):
    for own in ({"running": Still()}, {"terminal": Still()}):
        problem = problem_of(NeuralODE2(2, tanh), **own)
        with pytest.raises(TypeError, match="in another unit of time"):
            rescale(problem, problem.space.zeros(), 1.0)
    problem = problem_of(NeuralODE2(2, tanh), penalty=Twice(0.1))
    control = problem.space.random(rng)
    with pytest.raises(TypeError, match="it is not known how Twice"):
        rescale(problem, control, 1.0)
    with pytest.raises(ValueError, match="horizon must be finite and positive"):
        rescale(replace(problem, penalty=None), control, 0.0)
    with pytest.raises(ValueError, match="odd is claimed"):
        user_activation(
            "shifted",
            value=lambda s: s + 1.0,
            derivative=np.ones_like,
            second=np.zeros_like,
            antiderivative=lambda s: 0.5 * s * s + s,
            lipschitz=1.0,
            odd=True,
        )
    with pytest.raises(ValueError, match="homogeneous is claimed"):
        user_activation(
            "shifted",
            value=lambda s: s + 1.0,
            derivative=np.ones_like,
            second=np.zeros_like,
            antiderivative=lambda s: 0.5 * s * s + s,
            lipschitz=1.0,
            homogeneous=True,
        )
