"""Networks, controls, problems and solutions travel between processes, and can be copied."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from continuum import (
    L1,
    Activation,
    Affine,
    Ball,
    Bottleneck,
    Box,
    Circle,
    Convolution,
    Dense,
    FiniteSet,
    FractionalLaplacian,
    Integral,
    Interval,
    L1Ball,
    LearningProblem,
    LowRank,
    NeuralODE,
    NeuralODE2,
    OnTheFly,
    Projection,
    ResNet,
    SobolevPenalty,
    SquaredError,
    State,
    SymmetricLayer,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    arctan,
    elu,
    gauss_legendre,
    gelu,
    identity,
    leaky_relu,
    periodic,
    relu,
    sigmoid,
    softplus,
    tanh,
    user_activation,
)
from solvers import (
    LBFGS,
    RK4,
    SolveError,
    compare,
    discretize,
    evaluate,
    integrate,
    minimize,
    pontryagin_certificate,
    shoot,
)

MESH = TimeMesh(1.0, 4)
GRID = gauss_legendre(Interval(0, 1), 3)
RING = periodic(Circle(), 4)
BUILT_IN = (tanh, identity, relu, sigmoid, arctan, softplus, gelu)


def cube(s):
    return s**3


def square(s):
    return 3 * s**2


def six(s):
    return 6 * s


def quartic(s):
    return s**4 / 4


def law(y, z):
    return np.exp(y * z)


def drift(y, t):
    return np.sin(y + t)


def both(x):
    """What pickle and deepcopy make of x."""
    return pickle.loads(pickle.dumps(x)), copy.deepcopy(x)


@pytest.mark.parametrize("activation", BUILT_IN, ids=repr)
def test_an_activation_of_the_package_is_the_same_object(activation):
    assert all(found is activation for found in both(activation))


@pytest.mark.parametrize("activation", [leaky_relu(1 / 3), elu(1 / 7)], ids=repr)
def test_an_activation_with_a_parameter_keeps_its_digits(activation):
    s = np.linspace(-3.0, 3.0, 13)
    for found in both(activation):
        assert isinstance(found, Activation)
        for name in ("value", "derivative", "second", "antiderivative"):
            np.testing.assert_array_equal(getattr(found, name)(s), getattr(activation, name)(s))
        assert (found.name, found.lipschitz) == (activation.name, activation.lipschitz)


def test_an_activation_of_functions_that_have_a_name():
    activation = user_activation("cube", cube, square, six, quartic, lipschitz=75.0)
    found = pickle.loads(pickle.dumps(activation))
    assert found == activation
    assert found.value is cube


def test_an_activation_of_lambdas_is_refused_by_name():
    activation = user_activation("cube", lambda s: s**3, square, six, quartic, lipschitz=75.0)
    with pytest.raises(TypeError, match=r"value of the activation 'cube'.*lambda"):
        pickle.dumps(WidthDepth(GRID, activation))
    assert copy.deepcopy(activation).value(2.0) == 8.0


NETWORKS = [
    WidthDepth(GRID, tanh),
    WidthDepth(GRID, gelu, LowRank(2)),
    WidthDepth(RING, leaky_relu(0.1), Convolution()),
    WidthDepth(RING, tanh, FractionalLaplacian(0.5)),
    SymmetricLayer(GRID, relu, Dense()),
    NeuralODE(3, tanh),
    NeuralODE2(3, softplus),
    Bottleneck(3, sigmoid, hidden=5),
]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.formula())
def test_a_network_and_its_controls(network, rng):
    control = network.controls(MESH).random(rng)
    f = rng.standard_normal((len(network.weights), 2))
    expected = integrate(network, control, f, RK4()).trajectory.final
    for other, there in both((network, control)):
        assert type(other) is type(network)
        found = integrate(other, there, f, RK4()).trajectory.final
        np.testing.assert_array_equal(found, expected)
        assert there.space.size == control.space.size
        for block, x in control.items():
            np.testing.assert_array_equal(there[block], x)


def test_a_space_that_was_pickled_samples_functions():
    space = WidthDepth(GRID, tanh).controls(MESH)
    there = pickle.loads(pickle.dumps(space)).sample(bias=drift, kernel=law)
    for name, x in space.sample(bias=drift, kernel=law).items():
        np.testing.assert_array_equal(there[name], x)


def test_a_resnet(rng):
    network = WidthDepth(GRID, tanh)
    resnet = ResNet.from_control(network, network.controls(MESH).random(rng))
    f = rng.standard_normal((3, 2))
    for found in both(resnet):
        np.testing.assert_array_equal(found(f), resnet(f))


@pytest.mark.parametrize("kernel", [Dense(), OnTheFly(compiled=False), OnTheFly()], ids=repr)
def test_a_control_of_functions(kernel):
    network = WidthDepth(GRID, tanh, kernel)
    control = network.control(MESH, bias=drift, kernel=law)
    f = GRID.sample(np.cos)
    expected = integrate(network, control, f, RK4()).trajectory.final
    for other, there in both((network, control)):
        np.testing.assert_array_equal(integrate(other, there, f, RK4()).trajectory.final, expected)


def test_ufuncs_and_pairs_of_functions():
    network = WidthDepth(GRID, tanh, LowRank(1))
    control = network.control(MESH, bias=np.cos, kernel=((np.sin,), (np.exp,)))
    for there in both(control):
        for name, x in control.at(0.5).items():
            np.testing.assert_array_equal(there.at(0.5)[name], x)


@pytest.mark.parametrize(
    ("kernel", "functions", "name"),
    [
        (Dense(), {"bias": lambda y: y}, "bias"),
        (Dense(), {"kernel": lambda y, z, t: t + y * z}, "kernel"),
        (LowRank(1), {"kernel": ((np.sin,), (lambda z: z,))}, "kernel"),
        (OnTheFly(compiled=False), {"kernel": lambda y, z: y * z}, "kernel"),
    ],
)
def test_a_lambda_in_a_control_is_refused_by_name(kernel, functions, name):
    network = WidthDepth(GRID, tanh, kernel)
    control = network.control(MESH, **{"kernel": law, **functions} if name == "bias" else functions)
    with pytest.raises(TypeError, match=rf"block '{name}'.*lambda"):
        pickle.dumps(control)
    found = copy.deepcopy(control)
    np.testing.assert_array_equal(found.at(0.2)["bias"], control.at(0.2)["bias"])


READOUTS = [State(), Projection(np.ones((2, 3))), Affine(2), Integral(link=tanh)]
OTHERS = [
    {"penalty": Tikhonov(0.1) + L1(0.2, ["bias"]), "admissible": None},
    {"admissible": Box(bias=(-1, 1)) & L1Ball(kernel=2.0)},
    {"admissible": Ball(1.0)},
    {"admissible": FiniteSet(kernel=(-1, 0, 1))},
    {"controls": WidthDepth(GRID, tanh).controls(MESH, "nodes"), "penalty": SobolevPenalty(0.1)},
    {"controls": WidthDepth(GRID, tanh).controls(MESH, fixed={"kernel": 1.0})},
]


def stated(**changes):
    readout = changes.get("readout", State())
    outputs = 2 if isinstance(readout, Projection | Affine) else 3
    arguments = {"controls": MESH, "readout": readout, **changes}
    return LearningProblem(
        WidthDepth(GRID, tanh), np.ones((3, 2)), np.full((outputs, 2), 0.5), **arguments
    )


@pytest.mark.parametrize("changes", [*({"readout": r} for r in READOUTS), *OTHERS], ids=str)
def test_a_problem(changes, rng):
    problem = stated(**changes)
    control = 0.1 * problem.space.random(rng)
    expected = discretize(problem).value(control)
    for other, there in both((problem, control)):
        assert discretize(other).value(there) == expected
        assert str(other) == str(problem)


def test_solutions_with_what_they_carry(rng):
    problem = stated(penalty=Tikhonov(0.1))
    best = minimize(problem, LBFGS())
    flow = integrate(problem.network, best.control, problem.initial, RK4(), save="layers")
    for found in both((best, flow)):
        assert found[0].objective == best.objective
        assert found[0].status is best.status
        np.testing.assert_array_equal(found[0].control["bias"], best.control["bias"])
        np.testing.assert_array_equal(found[1].trajectory.states, flow.trajectory.states)
    certificate = pontryagin_certificate(problem, best.control, eigenvalues=1)
    table = compare(problem, {"descent": LBFGS()})
    for text in (certificate, table, evaluate(problem, best.control)):
        assert all(str(found) == str(text) for found in both(text))


def orbit(t):
    return np.full((3, 2), np.sin(t))


def test_targets_that_move(rng):
    problem = stated(running=Tracking(SquaredError(), target=orbit))
    control = problem.space.random(rng)
    for other in both(problem):
        assert discretize(other).value(control) == discretize(problem).value(control)
    nameless = stated(running=Tracking(SquaredError(), target=lambda t: orbit(t)))
    with pytest.raises(TypeError, match=r"target of Tracking.*lambda"):
        pickle.dumps(nameless)
    same = discretize(copy.deepcopy(nameless)).value(control)
    assert same == discretize(problem).value(control)


def linear():
    network = WidthDepth(GRID, identity)
    return LearningProblem(
        network, np.ones((3, 1)), np.full((3, 1), 2.0), MESH, penalty=Tikhonov(0.1)
    )


def test_an_extremal():
    extremal = shoot(linear())
    for found in both(extremal):
        assert found.objective == extremal.objective
        np.testing.assert_array_equal(found.costate.states, extremal.costate.states)


def test_a_failure_keeps_its_solution():
    with pytest.raises(SolveError) as caught:
        minimize(stated(), LBFGS(gtol=1e-14, max_iterations=1))
    for found in both(caught.value):
        assert str(found) == str(caught.value)
        assert found.solution.status is caught.value.solution.status
        np.testing.assert_array_equal(
            found.solution.control["kernel"], caught.value.solution.control["kernel"]
        )


def descend(problem):
    """What a process is asked: to solve, or to fail."""
    if problem is None:
        return minimize(stated(), LBFGS(gtol=1e-14, max_iterations=1))
    return minimize(problem, LBFGS())


def test_any_pool_returns_a_solution():
    """In new processes, which import everything again."""
    problem = linear()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        good, bad = pool.submit(descend, problem), pool.submit(descend, None)
        solution = good.result(timeout=120)
        assert solution.objective == pytest.approx(descend(problem).objective, rel=1e-12)
        assert problem.space.norm(descend(problem).control - solution.control) < 1e-9
        with pytest.raises(SolveError, match="iterations"):
            bad.result(timeout=120)
