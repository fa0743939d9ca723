"""The second-order model of a problem against its Hessian-vector products and gradient."""

from dataclasses import dataclass, replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from test_chain_loops import chains

from continuum import (
    L1,
    AbsoluteError,
    Affine,
    CostSum,
    CrossEntropy,
    Integral,
    Interval,
    LearningProblem,
    Logistic,
    Projection,
    RunningCost,
    SobolevPenalty,
    Softmax,
    SquaredError,
    State,
    Tikhonov,
    TimeMesh,
    Tracking,
    gauss_legendre,
    gelu,
    midpoint,
    sigmoid,
    softplus,
    tanh,
)
from continuum.kernels import Convolution, FractionalLaplacian, LowRank
from continuum.networks import (
    Bottleneck,
    Chain,
    Inputs,
    Linear,
    NeuralODE,
    NeuralODE2,
    Pointwise,
    SymmetricLayer,
    WidthDepth,
)
from continuum.penalties import Penalty
from solvers import (
    RK4,
    SDIRK3,
    DormandPrince,
    Euler,
    Heun,
    ImplicitMidpoint,
    KennedyCarpenter5,
    discretize,
)
from solvers.adjoint.coefficients import Columns
from solvers.adjoint.linear_quadratic import (
    Linearizer,
    linearize,
    reduced_gradient,
    reduced_hessian,
)
from solvers.flow.program import Loop

GRID = gauss_legendre(Interval(0.0, 1.0), 3)
NETWORKS = {
    "neural ode": NeuralODE(2, softplus),
    "neural ode 2": NeuralODE2(2, tanh),
    "bottleneck": Bottleneck(2, gelu, hidden=3),
    "width depth": WidthDepth(GRID, sigmoid),
    "symmetric layer": SymmetricLayer(GRID, tanh),
}
OTHERS = {
    "low rank": WidthDepth(GRID, tanh, LowRank(2)),
    "convolution": WidthDepth(midpoint(Interval(0, 1), 3), tanh, Convolution()),
    "fractional": WidthDepth(
        midpoint(Interval(0, 1), 3), tanh, FractionalLaplacian(0.3, "neumann")
    ),
    "depends on time": Chain(2, (Inputs(time=True), Linear("w", 2), Pointwise(tanh))),
}
COSTS = {
    "logistic": {"terminal": Logistic(0.7)},
    "cross-entropy": {"terminal": CrossEntropy(), "readout": Affine(3)},
    "fixed readout": {
        "terminal": CrossEntropy(),
        "readout": Affine(3, fixed={"readout.W": 0.3, "readout.mu": 0.1}),
        "running": Logistic(0.4),
    },
    "norm of a residual": {"terminal": AbsoluteError(0.7, groups="sample")},
    "softmax": {"readout": Softmax(3), "running": SquaredError(0.4)},
    "sums": {
        "terminal": CostSum([Tracking(SquaredError()), Tracking(Logistic())]),
        "running": CostSum([Tracking(SquaredError()), Tracking(SquaredError(), State())]),
    },
    "integral": {"readout": Integral(link=sigmoid), "running": SquaredError(0.4)},
    "projection": {"readout": Projection(np.array([[1.0, -0.5, 2.0]])), "running": Logistic(0.4)},
    "moving target": {
        "terminal": None,
        "running": Tracking(Logistic(), target=lambda t: np.full((3, 4), 0.2 + 0.5 * t)),
    },
}
MESH = TimeMesh(0.9, 3, 1.3)
STEPPERS = (Euler(), Heun(), RK4())


def check(objective, control, rtol=1e-12):
    """Value, gradient and dense Hessian of the model are those of J."""
    found = linearize(objective, control)
    value, gradient = objective.value_and_gradient(control)
    assert found.value == pytest.approx(value, rel=1e-14)
    ours = reduced_gradient(found.model, found.borders)
    columns = Columns.of(objective.space)
    expected = columns.weights * columns.vector(gradient)
    assert np.max(np.abs(found.gradient - expected)) <= 1e-13 * np.max(np.abs(expected))
    assert np.max(np.abs(ours - expected)) <= 1e-13 * np.max(np.abs(expected))
    hessian = reduced_hessian(found.model, found.borders)
    products = (objective.hvp(control, columns.write(*columns.split(x))) for x in np.eye(len(ours)))
    expected = np.stack([columns.weights * columns.vector(x) for x in products], axis=1)
    assert np.max(np.abs(hessian - expected)) <= rtol * np.max(np.abs(expected))
    return found


def problem_for(network, rng, **changes):
    """Running and terminal cost, penalty, uneven samples, graded layers."""
    units = len(network.weights)
    initial, target = rng.standard_normal((2, units, 4))
    space = changes.pop("controls", network.controls(MESH))
    changes = {
        "running": SquaredError(1.0),
        "penalty": Tikhonov(0.3),
        "sample_weights": np.array([1.0, 2.0, 0.5, 3.0]),
    } | changes
    return LearningProblem(network, initial, changes.pop("target", target), space, **changes)


@pytest.mark.parametrize("stepper", STEPPERS, ids=repr)
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_hessian_of_every_network(network, stepper, rng):
    problem = problem_for(network, rng)
    objective = discretize(problem, stepper, steps_per_layer=2)
    assert Loop.of(network, problem.space.zeros(), stepper, problem.initial) is not None
    check(objective, problem.space.random(rng, 0.7))


@pytest.mark.parametrize("case", COSTS)
@pytest.mark.parametrize("running_on", ["layers", "steps"])
def test_hessian_of_every_cost(case, running_on, rng):
    """Static readouts are borders; nodes of the trapezoid rule inside layers are part of stages."""
    network = NETWORKS["width depth"]
    changes = dict(COSTS[case])
    target = np.array([0.0, 2.0, 1.0, 1.0])
    if not isinstance(changes.get("terminal"), CrossEntropy):
        outputs = len(changes.get("readout", State()).measure(network))
        target = rng.uniform(0.2, 0.8, (outputs, 4))
    problem = problem_for(network, rng, **({"running": None, "target": target} | changes))
    objective = discretize(problem, Heun(), 2, running_on)
    check(objective, problem.space.random(rng, 0.7))


@pytest.mark.parametrize("in_time", ["layers", "static"])
@pytest.mark.parametrize("network", OTHERS.values(), ids=OTHERS.keys())
def test_networks_whose_model_is_not_compiled(network, in_time, rng):
    space = network.controls(MESH, in_time=in_time)
    problem = problem_for(network, rng, controls=space)
    loop = Loop.of(network, space.zeros(), Heun(), problem.initial)
    assert loop is None or loop.lowered.split
    check(discretize(problem, Heun()), space.random(rng, 0.7))


@pytest.mark.parametrize(
    "method", [ImplicitMidpoint(), SDIRK3(), KennedyCarpenter5()], ids=lambda m: type(m).__name__
)
def test_implicit_methods(method, rng):
    problem = problem_for(NETWORKS["neural ode"], rng)
    check(discretize(problem, method, 2), problem.space.random(rng, 0.7), rtol=1e-11)


def mixed(network, static, mesh=MESH, fixed=None):
    """The space in which these blocks are constant in time."""
    space = network.controls(mesh, fixed=fixed)
    blocks = tuple(replace(b, time="static") if b.name in static else b for b in space.blocks)
    return replace(space, blocks=blocks)


@pytest.mark.parametrize("static", [("bias",), ("kernel",), ("bias", "kernel")])
@pytest.mark.parametrize("name", ["width depth", "symmetric layer"])
def test_static_blocks_are_borders(name, static, rng):
    network = NETWORKS[name]
    space = mixed(network, static)
    problem = problem_for(network, rng, controls=space)
    found = check(discretize(problem, Heun(), 2, "steps"), space.random(rng, 0.7))
    assert found.borders.r.shape == (
        sum(b.shape[0] ** len(b.shape) for b in space.trained if b.name in static),
    )


def test_fixed_blocks_are_no_columns(rng):
    network = NETWORKS["width depth"]
    space = network.controls(MESH, fixed={"kernel": 0.4})
    problem = problem_for(network, rng, controls=space)
    found = check(discretize(problem), space.random(rng, 0.7))
    assert found.model.B.shape == (3, 4, 3, 3)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    network=chains(),
    stepper=st.sampled_from(STEPPERS),
    static=st.booleans(),
    per_layer=st.integers(1, 3),
    samples=st.sampled_from((1, 2, 9)),
    running_on=st.sampled_from(("layers", "steps")),
    seed=st.integers(0, 1000),
)
def test_compiled_is_generic(network, stepper, static, per_layer, samples, running_on, seed):
    rng, units = np.random.default_rng(seed), len(network.weights)
    names = [b.name for b in network.blocks()]
    space = mixed(network, names[:1] if static else (), TimeMesh(0.7, 2, 1.4))
    initial, target = rng.standard_normal((2, units, samples))
    problem = LearningProblem(network, initial, target, space, running=SquaredError())
    objective = discretize(problem, stepper, per_layer, running_on)
    control = space.random(rng, 0.5)
    assert Loop.of(network, control, stepper, initial) is not None
    fast = linearize(objective, control)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "of", lambda *_: None)
        slow = linearize(objective, control)
    pairs = [(fast.gradient, slow.gradient), (fast.costates, slow.costates)]
    pairs += [*zip(fast.model, slow.model, strict=True)]
    pairs += [] if fast.borders is None else [*zip(fast.borders, slow.borders, strict=True)]
    for one, other in pairs:
        np.testing.assert_allclose(
            one, other, rtol=0, atol=1e-12 * max(1.0, np.max(np.abs(other), initial=0.0))
        )


def test_a_linearizer_answers_again(rng):
    """Its arrays are written again; what it keeps does not depend on the control."""
    problem = problem_for(NETWORKS["neural ode"], rng)
    objective = discretize(problem, Heun())
    linearizer = Linearizer(objective)
    first, second = problem.space.random(rng), problem.space.random(rng)
    linearizer(first)
    found, expected = linearizer(second, objective.recorded(second)), linearize(objective, second)
    for one, other in zip(found.model, expected.model, strict=True):
        np.testing.assert_array_equal(one, other)


def test_coefficients_and_flat_coordinates(rng):
    space = problem_for(NETWORKS["width depth"], rng, readout=Integral()).space
    columns, control = Columns.of(space), space.random(rng)
    u, s = columns.read(control)
    back = columns.write(u, s)
    assert all(np.array_equal(back[name], control[name]) for name in control)
    x = columns.vector(control)
    assert np.sum(columns.weights * x * x) == pytest.approx(space.norm(control) ** 2, rel=1e-14)


@dataclass(frozen=True)
class Bounded(Tikhonov):
    """strength int sum_i w_i log cosh x_i dt: a density that is not quadratic."""

    def value(self, control):
        density = {n: np.log(np.cosh(x)) for n, x in control.items()}
        return self.strength * sum(
            float(np.sum(b.weights * control.space.axes[b.name].mass(density[b.name])))
            for b in self.penalised(control.space)
        )

    def gradient(self, control):
        return {
            b.name: self.strength * np.tanh(control[b.name]) for b in self.penalised(control.space)
        }

    add_to = Penalty.add_to

    def hvp(self, control, direction):
        return {
            b.name: self.strength * direction[b.name] / np.cosh(control[b.name]) ** 2
            for b in self.penalised(control.space)
        }


def test_a_density_that_is_not_quadratic(rng):
    network = NETWORKS["width depth"]
    penalty = Bounded(0.6) + Tikhonov(0.2, ["bias"])
    problem = problem_for(network, rng, controls=mixed(network, ("bias",)), penalty=penalty)
    check(discretize(problem), problem.space.random(rng))


def test_penalties_with_a_density(rng):
    """L1 is left to proximal methods."""
    problem = problem_for(NETWORKS["neural ode"], rng, penalty=Tikhonov(0.3) + L1(0.7, ["bias"]))
    control = problem.space.random(rng)
    smooth = replace(problem, penalty=Tikhonov(0.3))
    found, expected = (
        linearize(discretize(problem), control),
        linearize(discretize(smooth), control),
    )
    assert found.value == expected.value
    np.testing.assert_array_equal(found.model.R, expected.model.R)


class Reads(RunningCost):
    """|f|^2 / 2, which does not say that it reads no block."""

    def density(self, network, f, c, t):
        return 0.5 * np.sum(f * f, axis=0)

    def vjp(self, network, f, c, t, q):
        return q * f, {}

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        return q * df, {}

    def formula(self):
        return "|f|^2 / 2"


class Coupled(Reads):
    """(sum over samples of f)^2 / 2, the same for each sample."""

    def density(self, network, f, c, t):
        return 0.5 * np.sum(f) ** 2 * np.ones(f.shape[1])

    def vjp(self, network, f, c, t, q):
        return np.sum(q) * np.sum(f) * np.ones_like(f), {}

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        return np.sum(q) * np.sum(df) * np.ones_like(f), {}

    def reads(self, network):
        return ()


class Mixing(NeuralODE2):
    """Every sample drifts towards the mean."""

    def velocity(self, f, c, t):
        return super().velocity(f, c, t) + f.mean(axis=1, keepdims=True)

    def jvp(self, f, c, t, df, dc):
        return super().jvp(f, c, t, df, dc) + df.mean(axis=1, keepdims=True)

    def vjp(self, f, c, t, p):
        back, bars = super().vjp(f, c, t, p)
        return back + p.mean(axis=1, keepdims=True), bars


def test_what_has_no_such_model(rng):
    network = NETWORKS["neural ode 2"]
    with pytest.raises(ValueError, match=r"controls must not be piecewise linear.* weight"):
        Linearizer(discretize(problem_for(network, rng, controls=network.controls(MESH, "nodes"))))
    nodes = network.controls(MESH, "nodes")
    with pytest.raises(ValueError, match="SobolevPenalty couples layers"):
        Linearizer(
            discretize(problem_for(network, rng, controls=nodes, penalty=SobolevPenalty(0.1)))
        )
    with pytest.raises(ValueError, match="stepper must have fixed steps"):
        Linearizer(discretize(problem_for(network, rng), DormandPrince(rtol=1e-8, atol=1e-10)))
    with pytest.raises(ValueError, match="running must not depend on blocks that vary by layer"):
        Linearizer(discretize(problem_for(network, rng, running=Reads())))
    problem = problem_for(Mixing(2, tanh), rng)
    with pytest.raises(ValueError, match="network must treat samples one by one"):
        linearize(discretize(problem), problem.space.random(rng))
    problem = problem_for(network, rng, running=Coupled())
    with pytest.raises(ValueError, match="cost must treat samples one by one"):
        linearize(discretize(problem), problem.space.random(rng))
