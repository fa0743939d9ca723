"""Gradients and minimisation where the states are on another device: array-api-strict's second one,
which mixes with no other array, stands for a GPU; a real one where CuPy finds it.
"""

import sys
from dataclasses import dataclass, replace

import array_api_strict
import cupy_stand_in
import numpy as np
import pytest

from continuum import (
    L1,
    Affine,
    Bottleneck,
    Box,
    Chain,
    Convolution,
    CrossEntropy,
    FractionalLaplacian,
    Inputs,
    Interval,
    LearningProblem,
    Linear,
    LowRank,
    NeuralODE,
    Offset,
    Pointwise,
    SobolevPenalty,
    SquaredError,
    State,
    SymmetricLayer,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    arrays,
    gauss_legendre,
    midpoint,
    tanh,
)
from continuum.arrays import find_gpu, to_host
from solvers import (
    LBFGS,
    RK4,
    Adam,
    Auto,
    DormandPrince,
    Euler,
    FrankWolfe,
    GradientDescent,
    ImplicitMidpoint,
    Nesterov,
    NewtonCG,
    RadauIIA5,
    discretize,
    minimize,
)

ELSEWHERE = array_api_strict.Device("device1")
GRID, EVEN = gauss_legendre(Interval(0, 1), 4), midpoint(Interval(0, 1), 4)
SAMPLES = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
NETWORKS = {
    "WidthDepth": WidthDepth(GRID, tanh),
    "low rank": WidthDepth(GRID, tanh, LowRank(2)),
    "convolution": WidthDepth(EVEN, tanh, Convolution()),
    "fractional": WidthDepth(EVEN, tanh, FractionalLaplacian(0.3, "dirichlet")),
    "SymmetricLayer": SymmetricLayer(GRID, tanh),
    "NeuralODE": NeuralODE(4, tanh),
    "Bottleneck": Bottleneck(4, tanh, hidden=3),
    "inputs": Chain(
        4, (Inputs(time=True, data=SAMPLES), Linear("w", 4), Offset("a"), Pointwise(tanh))
    ),
}
STEPPERS = [
    Euler(),
    RK4(),
    ImplicitMidpoint(),
    RadauIIA5(),
    Auto(rtol=1e-4, atol=1e-6),
    DormandPrince(rtol=1e-4, atol=1e-6),
]


def elsewhere(x):
    return array_api_strict.asarray(x, device=ELSEWHERE)


def is_elsewhere(x):
    return type(x) is type(elsewhere(0.0)) and x.device == ELSEWHERE


def problem_on(network, kind, carry):
    """A problem whose initial state and target were carried to another place."""
    blocks, mesh = network.blocks(), TimeMesh(0.7, 3)
    fixed = {blocks[0].name: np.full(blocks[0].shape, 0.3)} if kind == "fixed" else None
    in_time = "nodes" if kind == "nodes" else "layers"
    controls = network.controls(mesh, in_time, "H1" if kind == "nodes" else "L2", fixed)
    penalty = SobolevPenalty(1e-2) if kind == "nodes" else Tikhonov(1e-2)
    if kind == "readout":
        return LearningProblem(
            network,
            carry(SAMPLES),
            np.array([0, 1, 1]),
            controls,
            readout=Affine(2),
            terminal=CrossEntropy(),
            running=Tracking(SquaredError(), State(), lambda t: t + 0.0 * SAMPLES),
            penalty=penalty,
        )
    return LearningProblem(network, carry(SAMPLES), carry(0.5 * SAMPLES), controls, penalty=penalty)


def close(found, wanted, atol=1e-13):
    for name in wanted:
        np.testing.assert_allclose(to_host(found[name]), wanted[name], rtol=0, atol=atol)


CASES = [(name, "readout", RK4()) for name in NETWORKS]
CASES += [("WidthDepth", kind, Euler()) for kind in ("plain", "fixed", "nodes")]
CASES += [("NeuralODE", "plain", stepper) for stepper in STEPPERS[2:]]


@pytest.mark.parametrize(("name", "kind", "stepper"), CASES, ids=str)
def test_gradients_come_back_to_where_the_control_is(name, kind, stepper, rng):
    network = NETWORKS[name]
    here = discretize(problem_on(network, kind, np.asarray), stepper)
    there = discretize(problem_on(network, kind, elsewhere), stepper)
    control, direction = here.space.random(rng, 0.3), here.space.random(rng)
    value, gradient = here.value_and_gradient(control)
    curvature = here.hvp(control, direction)
    for like, own in ((control, True), (control.like(elsewhere(0.0)), False)):
        found, back = there.value_and_gradient(like)
        assert found == pytest.approx(value, rel=1e-13)
        assert there.value(like) == pytest.approx(value, rel=1e-13)
        close(back, gradient)
        product = there.hvp(like, direction)
        close(product, curvature, atol=1e-12)
        for x in (*back.values(), *product.values()):
            assert type(x) is np.ndarray if own else is_elsewhere(x)
    path = there.run(control)
    assert is_elsewhere(path.states)
    assert is_elsewhere(path.costates)
    np.testing.assert_allclose(
        to_host(path.costates), here.run(control).costates, rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_with_the_ways_of_cupy(name, monkeypatch, rng):
    cupy = cupy_stand_in.make()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    here = discretize(problem_on(NETWORKS[name], "readout", np.asarray), RK4())
    there = discretize(problem_on(NETWORKS[name], "readout", cupy.asarray), RK4())
    control, direction = here.space.random(rng, 0.3), here.space.random(rng)
    close(there.gradient(control), here.gradient(control))
    carried = control.like(there.problem.initial)
    close(there.gradient(carried), here.gradient(control))
    close(there.hvp(carried, direction), here.hvp(control, direction), atol=1e-12)


@pytest.mark.parametrize(
    "method",
    [
        GradientDescent(gtol=1e-3, max_iterations=20),
        Nesterov(gtol=1e-3, max_iterations=20),
        LBFGS(gtol=1e-8, max_iterations=20),
        NewtonCG(gtol=1e-8, max_iterations=5),
        FrankWolfe(gtol=1e-3, max_iterations=20),
        Adam(gtol=0.01, batch=2, max_iterations=10),
    ],
    ids=lambda m: type(m).__name__,
)
def test_minimize_takes_the_same_path(method):
    network = NETWORKS["WidthDepth"]
    runs = []
    for carry in (np.asarray, elsewhere):
        problem = problem_on(network, "plain", carry)
        if isinstance(method, FrankWolfe):
            box = Box(**{b.name: (-0.5, 0.5) for b in problem.space.trained})
            problem = replace(problem, admissible=box)
        elif not isinstance(method, LBFGS | NewtonCG | Adam):
            problem = replace(problem, penalty=L1(1e-2))
        start = 0.1 * problem.space.random(np.random.default_rng(1))
        runs.append(minimize(problem, method, initial=start, raise_on_failure=False))
    assert type(runs[1].control["kernel"]) is np.ndarray
    np.testing.assert_allclose(
        runs[1].history["objective"], runs[0].history["objective"], rtol=1e-9
    )
    close(runs[1].control, runs[0].control, atol=1e-7)


def test_a_device_is_asked_for(monkeypatch):
    monkeypatch.setattr(arrays, "find_gpu", lambda: (elsewhere, "a stand-in"))
    problem = problem_on(NETWORKS["WidthDepth"], "fixed", np.asarray)
    objective = discretize(problem, RK4(), device="gpu")
    assert is_elsewhere(objective.problem.initial)
    assert is_elsewhere(objective.problem.target)
    assert all(is_elsewhere(x) for x in objective.space.fixed.values())
    control = problem.space.random(np.random.default_rng(0))
    close(objective.gradient(control), discretize(problem, RK4()).gradient(control))
    method = LBFGS(gtol=1e-6, max_iterations=50)
    found, wanted = minimize(problem, method, device="gpu"), minimize(problem, method)
    assert found.objective == pytest.approx(wanted.objective, rel=1e-9)
    back = discretize(objective.problem, RK4(), device="cpu")
    assert type(back.problem.initial) is np.ndarray


def test_without_a_gpu_the_cpu_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    problem = problem_on(NETWORKS["WidthDepth"], "plain", np.asarray)
    with pytest.warns(RuntimeWarning, match="CuPy is not installed; the CPU is used") as seen:
        objective = discretize(problem, device="gpu")
    assert len(seen) == 1
    assert type(objective.problem.initial) is np.ndarray


@dataclass
class Quadratic:
    """An objective of another kind."""

    space: object

    def value(self, control):
        return 0.5 * self.space.inner(control, control)

    def value_and_gradient(self, control):
        return self.value(control), control


def test_bad_devices():
    problem = problem_on(NETWORKS["WidthDepth"], "plain", np.asarray)
    for call in (
        lambda: discretize(problem, device="cuda"),
        lambda: minimize(problem, LBFGS(), device="cuda"),
    ):
        with pytest.raises(ValueError, match=r"unknown device 'cuda'.* Accepted: 'cpu', 'gpu'"):
            call()
    with pytest.raises(ValueError, match="device is for problems"):
        minimize(Quadratic(problem.space), LBFGS(), device="gpu")


CARRY, FOUND = find_gpu()


@pytest.mark.gpu
@pytest.mark.skipif(CARRY is None, reason=f"no GPU: {FOUND}")
@pytest.mark.parametrize("stepper", STEPPERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "inputs"])
def test_on_a_gpu(name, stepper, rng):
    problem = problem_on(NETWORKS[name], "readout", np.asarray)
    here, there = discretize(problem, stepper), discretize(problem, stepper, device="gpu")
    control = here.space.random(rng, 0.3)
    value, gradient = here.value_and_gradient(control)
    found, back = there.value_and_gradient(control)
    assert found == pytest.approx(value, rel=1e-12)
    close(back, gradient, atol=1e-12)
    own = there.gradient(control.like(there.problem.initial))
    assert all(type(x) is sys.modules["cupy"].ndarray for x in own.values())
    method = LBFGS(gtol=1e-6, max_iterations=10)
    runs = [
        minimize(problem, method, initial=control, device=device, raise_on_failure=False)
        for device in (None, "gpu")
    ]
    assert runs[1].objective == pytest.approx(runs[0].objective, rel=1e-6)
