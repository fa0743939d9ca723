"""Studies of the turnpike, small; and what their claims stand on."""

import numpy as np
import pytest
from pictures import check_pictures

from continuum import (
    LearningProblem,
    NeuralODE2,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    user_activation,
)
from solvers import ExplicitMidpoint, NewtonCG, discretize, minimize
from studies.bench.parameters import ParameterGrid
from studies.turnpike.bang_off import bang_off
from studies.turnpike.controllability import controllability
from studies.turnpike.leia import chess_board, leia, posed, scores, starting
from studies.turnpike.lower_bound import lower_bound
from studies.turnpike.turnpike_digits import enough, turnpike_digits

DOUBLED = user_activation(
    "doubled",
    lambda s: 2.0 * s,
    lambda s: 2.0 + 0.0 * s,
    lambda s: 0.0 * s,
    lambda s: s * s,
    lipschitz=2.0,
)


def test_an_endpoint_without_costs_in_the_generic_loop():
    """x' = 2 w x in Euler's layers: prod (1 + 2 h w_k) = 3, so w_k = (3^(1/K) - 1) / (2 h).  No
    state has a cost here, so the second-order sweep asks for none.
    """
    network, layers = NeuralODE2(1, DOUBLED), 4
    problem = LearningProblem(
        network,
        np.array([[-0.5, 0.5]]),
        np.array([[-1.5, 1.5]]),
        network.controls(TimeMesh(1.0, layers), fixed={"bias": 0.0}),
        terminal=None,
        penalty=Tikhonov(1.0),
        endpoint=TerminalEquality(),
    )
    found = minimize(problem, NewtonCG(gtol=1e-8))
    wanted = 0.5 * layers * (3.0 ** (1.0 / layers) - 1.0)
    np.testing.assert_allclose(found.control["weight"][:, 0, 0], wanted, rtol=0, atol=1e-7)
    assert found.objective == pytest.approx(wanted**2, abs=1e-7)


def test_bang_off(tmp_path):
    """TP-29: T* = 0.4208438024 for M = 2, T = 2; and no T* where it is best to rest."""
    case = bang_off(data="line", bound=2.0, horizon=2.0, per_unit=10)
    assert float(case["switching_time"]) == pytest.approx(0.4208438024, abs=1e-8)
    assert float(case["rest"]) == pytest.approx(0.02506281, abs=1e-5)  # of the finest mesh
    short = bang_off(data="line", bound=2.0, horizon=0.25, per_unit=8)  # T <= lambda / 2 D
    assert np.isnan(float(short["switching_time"]))
    assert not np.any(short["size"])
    grids: list[ParameterGrid] = [
        {"data": ["line"], "bound": [2.0, 4.0], "horizon": [2.0], "per_unit": [10]}
    ]
    words = r"line: M = 2: T\* = 0\.420844, phi\(T\*\) = 0\.0251.*M = 4: T\* = "
    check_pictures("bang_off", grids, {"bang_off": words}, tmp_path, "turnpike")
    with pytest.raises(ValueError, match="bound, horizon and scale must be > 0"):
        bang_off(bound=-1.0)


def test_digits_along_the_depth(tmp_path):
    assert enough(np.array([0.1, 0.95, 0.5, 0.9, 0.92, 0.9])) == 3
    assert enough(np.array([0.9, 0.9])) == 0
    small = {"samples": [100], "layers": [4], "side": [2], "iterations": [30]}
    grids: list[ParameterGrid] = [{"cost": ["along the way", "at the end"], **small}]
    words = r"cost along the way \(\w+\): at T training .*cost at the end.*Linear classifier"
    check_pictures("turnpike_digits", grids, {"turnpike_digits": words}, tmp_path, "turnpike")
    case = turnpike_digits(samples=100, layers=4, side=2, iterations=30)
    assert case["error"][0] == pytest.approx(1.0)  # the outputs are 0, the targets unit vectors
    assert case["error"][-1] < 0.8
    with pytest.raises(ValueError, match="layers must be from 1"):
        turnpike_digits(layers=0)


def test_controllability(tmp_path):
    """TP-35's first two rows, to the error of 8 layers; the control does what it is for."""
    case = controllability(largest=0.4, halvings=1, layers=8)
    np.testing.assert_allclose(case["ratio"], [1.29423, 1.26013], rtol=0, atol=5e-5)
    assert float(case["first_order"]) == pytest.approx(1.22903517, abs=6e-9)
    assert float(np.max(case["missed"])) < 1e-5
    grids: list[ParameterGrid] = [{"halvings": [1], "layers": [4]}]
    words = r"ends within .* of the targets for every r"
    check_pictures("controllability", grids, {"controllability": words}, tmp_path, "turnpike")
    with pytest.raises(ValueError, match="largest must be in"):
        controllability(largest=1.0)


def test_lower_bound(tmp_path):
    """Attained where sigma is the identity; log(sinh b / sinh a) for tanh."""
    flat = lower_bound(activation="identity", largest=3.0, count=2, layers=16)
    np.testing.assert_allclose(flat["needed"], flat["bound"], rtol=0, atol=1e-6)
    bent = lower_bound(activation="tanh", largest=3.0, count=2, layers=16)
    wanted = np.log(np.sinh(0.5 * bent["spread"]) / np.sinh(0.5))
    np.testing.assert_allclose(bent["needed"], wanted, rtol=0, atol=1e-6)
    grids: list[ParameterGrid] = [
        {"activation": ["identity", "arctan"], "count": [2], "layers": [4]}
    ]
    words = r"Needed over bound: identity \(\w+\): 1\.0000"
    check_pictures("lower_bound", grids, {"lower_bound": words}, tmp_path, "turnpike")
    with pytest.raises(ValueError, match="largest must be in"):
        lower_bound(largest=1.0)


def test_leia(tmp_path, rng):
    points, colours = chess_board(500, rng)
    assert np.all(np.abs(points) <= 1.5)
    middle, corner = (np.all(np.abs(points - c) < 0.5, axis=0) for c in (0.0, 1.0))
    assert np.all(colours[middle] == 1.0)
    assert np.all(colours[corner] == 1.0)
    assert np.all(colours[(np.abs(points[0]) < 0.5) & (points[1] > 0.5)] == -1.0)
    # their functional by hand: 1.75 sum_k l_k + l_(k+1) + 0.01 h / 2 |all parameters|^2
    problem = posed(points[:, :20], colours[:20], 4, 2.0, 3)
    control, h = starting(problem, rng), 0.5
    losses = np.mean((scores(problem, control) - colours[:20]) ** 2, axis=1)
    squares = sum(np.sum(control[b.name] ** 2) for b in problem.space.trained)
    theirs = 1.75 * np.sum(losses[1:] + losses[:-1]) + 0.005 * h * squares
    ours = discretize(problem, ExplicitMidpoint()).value(control)
    assert 2.0 / h * ours == pytest.approx(theirs, rel=1e-12)
    small = {"iterations": [3], "samples": [40], "hidden": [4], "layers": [3], "resolution": [5]}
    grids: list[ParameterGrid] = [{"method": ["Adam", "L-BFGS"], **small}]
    words = r"32 training points, where they have 2398.*Adam .*L-BFGS"
    check_pictures("leia", grids, {"leia": words}, tmp_path, "turnpike")
    with pytest.raises(ValueError, match="samples must be >= 20"):
        leia(samples=3)
