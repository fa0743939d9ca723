"""How deep for an error eps: both laws against the minimisers on the horizons that they give."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    L1,
    AbsoluteError,
    Affine,
    Box,
    Interval,
    LearningProblem,
    Logistic,
    NeuralODE,
    NeuralODE2,
    SquaredError,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    relu,
    tanh,
)
from solvers import RiccatiNewton, discretize, minimize
from solvers.turnpike import NoSpectralGap, depth_for
from studies.turnpike.claims.terminal_costs import two_points
from studies.turnpike.paper import scalar, xor

NEWTON = RiccatiNewton(gtol=1e-10, max_iterations=300)


def error(problem, control):
    """phi at T."""
    last, functional = discretize(problem).run(control).states[-1], problem.functional
    if problem.running is None:
        return functional.terminal_cost(last)
    return functional.running_cost(last, {}, 0.0)


def along(strength, horizon, layers):
    """TP-23: two points on the line, the cost along the way."""
    return LearningProblem(
        NeuralODE2(1, tanh),
        np.array([[-0.5, 0.5]]),
        np.array([[-1.5, 1.0]]),
        TimeMesh(horizon, layers),
        terminal=None,
        running=SquaredError(1.0),
        penalty=Tikhonov(strength),
    )


# -- the cost at the end


def test_the_law_of_the_straight_line():
    """x' = u, lambda = 0.7: V = 1, so T = 0.7 / eps, and phi = (lambda / (T + lambda))^2."""
    problem = scalar(1.0, TimeMesh(3.0, 6), strength=0.7, affine=False, running=False)
    found = depth_for(problem, 1e-2)
    assert found.law == "terminal"
    assert found.guaranteed
    assert found.horizon == pytest.approx(70.0, rel=1e-6)
    assert found.layers == 6
    assert "phi(x(T)) <= 0.01 from T = 70 on, 6 layers: lambda V / (eps - " in str(found)
    best = minimize(found.problem, NEWTON)
    wanted = (0.7 / (found.horizon + 0.7)) ** 2
    assert error(found.problem, best.control) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("eps", [1e-1, 1e-3])
@pytest.mark.parametrize("name", ["affine", "two points", "xor"])
def test_minimisers_on_the_horizon_of_the_first_law_have_the_error(name, eps, rng):
    """The control returned costs eps, so what a method reaches from it costs less."""
    start = None
    if name == "affine":
        problem = scalar(2.0, TimeMesh(1.0, 16), running=False)
    elif name == "two points":
        problem = two_points(0.5, 16)
    else:
        problem = xor(0.1, TimeMesh(4.0, 16))
        start = problem.space.random(np.random.default_rng(0), 0.4)
    found = depth_for(problem, eps, initial=start)
    assert discretize(found.problem).value(found.control) == pytest.approx(eps, rel=1e-12)
    best = minimize(found.problem, NEWTON, initial=found.control)
    assert error(found.problem, best.control) <= eps
    assert found.problem.penalty == problem.penalty
    assert found.problem.mesh.horizon == found.horizon


def test_the_price_is_the_least_of_the_affine_line():
    """V = (asinh 2)^2 in the limit of many layers; every block has a strength of its own."""
    values = [
        depth_for(scalar(2.0, TimeMesh(1.0, k), running=False), 0.5).constant for k in (100, 200)
    ]
    assert 2.0 * values[1] - values[0] == pytest.approx(np.arcsinh(2.0) ** 2, abs=1e-4)
    bias = replace(
        scalar(2.0, TimeMesh(1.0, 4), running=False),
        penalty=Tikhonov(1e4, ["weight"]) + Tikhonov(0.5, ["bias"]),
    )
    assert depth_for(bias, 0.1).constant == pytest.approx(2.0, rel=1e-2)  # 0.5 * 2^2


def test_the_loss_may_be_absolute():
    problem = scalar(1.0, TimeMesh(1.0, 4), affine=False, running=False)
    found = depth_for(replace(problem, terminal=AbsoluteError()), 0.1)
    assert found.horizon == pytest.approx(10.0, rel=1e-5)


def test_what_the_first_law_does_not_take():
    problem = scalar(2.0, TimeMesh(1.0, 4), running=False)
    for changes, kind, words in (
        ({"penalty": L1(1.0)}, TypeError, "does not fall like 1/T"),
        ({"penalty": Tikhonov(0.5, ["weight"])}, ValueError, "strength 0 on block 'bias'"),
        ({"penalty": None}, ValueError, "lambda <= 0"),
        ({"admissible": Box(bias=(-1.0, 1.0))}, TypeError, "admissible must be None"),
        ({"terminal": Logistic(), "target": np.ones((1, 1))}, TypeError, "0 at a target"),
        ({"running": SquaredError(1.0)}, ValueError, "leave out the other"),
        ({"terminal": None, "endpoint": TerminalEquality()}, ValueError, "has an endpoint"),
        ({"readout": Affine(1)}, TypeError, "do.s not fall with T: hold them"),
    ):
        with pytest.raises(kind, match=words):
            depth_for(replace(problem, **changes), 0.1)
    with pytest.raises(TypeError, match="not homogeneous"):
        depth_for(replace(problem, network=NeuralODE(1, tanh)), 0.1)
    with pytest.raises(ValueError, match="eps must be finite and positive"):
        depth_for(problem, 0.0)


def test_no_interpolant_is_named():
    """relu(w x + b) cannot go down (E6)."""
    problem = LearningProblem(
        NeuralODE(1, relu),
        np.ones((1, 1)),
        np.zeros((1, 1)),
        TimeMesh(1.0, 4),
        terminal=SquaredError(1.0),
        penalty=Tikhonov(1.0),
    )
    start = problem.space.sample(weight=0.1, bias=0.1)
    with pytest.raises(ValueError, match=r"no control was found that interpolates.*phi = 1"):
        depth_for(problem, 0.5, initial=start)
    assert depth_for(problem, 1.5).horizon == 1.0  # phi = 1 without any control: any T will do


# -- the cost along the way


def test_the_second_law_is_exact_for_the_straight_line():
    """phi = 1 / cosh^2(mu T) for layers of length h, 2 cosh(mu h) = 2 + h^2."""
    h = 0.05
    found = depth_for(scalar(1.0, TimeMesh(1.0, 20), affine=False), 1e-4)
    mu = np.arccosh(1.0 + 0.5 * h**2) / h
    assert found.law == "running"
    assert not found.guaranteed
    assert found.rate == pytest.approx(2.0 * mu, rel=1e-10)
    assert found.constant == pytest.approx(4.0, rel=1e-10)
    assert "log(C / eps) / rate, C = 4, rate = 1.999" in str(found)
    wanted = np.log(4.0 / 1e-4) / (2.0 * mu)
    assert wanted <= found.horizon < wanted + h
    assert found.layers == round(found.horizon / h)
    best = minimize(found.problem, NEWTON, initial=found.control)
    exact = 1.0 / np.cosh(mu * found.horizon) ** 2
    assert error(found.problem, best.control) == pytest.approx(exact, rel=1e-8)
    assert exact <= 1e-4


@pytest.mark.parametrize("eps", [1e-3, 1e-7])
@pytest.mark.parametrize("name", ["affine", "two points"])
def test_minimisers_on_the_horizon_of_the_second_law_have_the_error(name, eps):
    """Not far below eps either: two layers less would not do."""
    affine = scalar(2.0, TimeMesh(2.0, 100))
    found = depth_for(affine if name == "affine" else along(0.5, 2.0, 60), eps)
    best = minimize(found.problem, NEWTON, initial=found.control)
    h = found.problem.mesh.horizon / found.layers
    assert eps * np.exp(-3.0 * found.rate * h) <= error(found.problem, best.control) <= eps


def test_a_run_that_has_the_error_keeps_its_horizon():
    problem = replace(
        along(0.5, 3.0, 30),
        controls=TimeMesh.through(np.concatenate([[0.0, 0.02, 0.05], np.arange(1, 31) / 10])),
    )
    found = depth_for(problem, 0.5)
    assert (found.horizon, found.layers) == (3.0, problem.mesh.layers)
    longer = depth_for(problem, 1e-5)  # layers of unlike lengths: further ones are like the last
    assert longer.layers > 32
    np.testing.assert_allclose(longer.problem.mesh.steps[30:], 0.1, rtol=0, atol=1e-12)
    best = minimize(longer.problem, NEWTON, initial=longer.control)
    assert error(longer.problem, best.control) <= 1e-5


def test_no_spectral_gap_and_drift_are_named():
    with pytest.raises(NoSpectralGap, match="1 of 4 modes have no rate"):
        depth_for(xor(0.1, TimeMesh(4.0, 32), along=True), 1e-3)
    grid = gauss_legendre(Interval(0, 1), 4)
    network = WidthDepth(grid, identity)
    space = network.controls(TimeMesh(2.0, 8), fixed={"kernel": np.eye(4)})
    arcs = LearningProblem(
        network,
        np.zeros((4, 1)),
        np.ones((4, 1)),
        space,
        terminal=None,
        running=SquaredError(0.5),
        penalty=Tikhonov(0.3),
    )
    with pytest.raises(ValueError, match="network has a drift"):
        depth_for(arcs, 1e-3)
    with pytest.raises(ValueError, match="lambda > 0 is needed"):
        depth_for(replace(along(0.5, 2.0, 8), penalty=None), 1e-3)
