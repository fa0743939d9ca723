"""The study of the proofs' constants, and what it stands on: controls of least norm, geodesics."""

import numpy as np
import pytest
from pictures import check_pictures
from scipy.integrate import solve_ivp

from continuum import TimeMesh, identity, tanh
from studies.bench.parameters import ParameterGrid
from studies.turnpike.constants import constants, posed, staircase
from studies.turnpike.interpolants import (
    geodesic_residual,
    gram,
    interpolant,
    proof_constants,
    speed,
)


@pytest.fixture(scope="module")
def case():
    return constants(data="two points", layers=16, count=6)


def test_the_ledger(case):
    """TP-08: V, (N/4) |grad V|^2 and phi at T / lambda = 1024."""
    assert float(case["value"]) == pytest.approx(1.3168174030, rel=1e-7)
    last = float(case["horizon"][-1]) ** 2
    assert last * float(case["second"][-1]) == pytest.approx(1.82308053, rel=1e-5)
    assert last * float(case["error"][-1]) == pytest.approx(1.82308053, rel=3e-3)


def test_the_inequalities_of_the_proof(case):
    """phi <= lambda V / T, F_T(u^T) <= F_T(u*) = V and rising, |u^T| <= |u*|, Gronwall."""
    limit, scaled = float(case["limit"]), case["scaled"].values
    assert np.all(case["error"] <= case["bound"])
    assert np.all(np.diff(scaled) > 0.0)
    assert np.all(np.diff(case["energy"]) > 0.0)
    assert np.all(case["energy"] <= scaled)
    assert np.all(scaled <= limit)
    np.testing.assert_allclose(case["recovery"], limit, rtol=1e-11)
    assert np.all(case["moved"] <= case["gronwall"])
    # V - F_T = (N/4) |grad V|^2 lambda / T + ..., and |u^1 - u*| is of the same order
    t = case["horizon"].values
    assert t[-1] * (limit - scaled[-1]) == pytest.approx(
        t[-1] ** 2 * float(case["second"][-1]), rel=3e-3
    )
    orders = np.log(case["control_distance"][-2] / case["control_distance"][-1]) / np.log(4.0)
    assert float(orders) == pytest.approx(1.0, abs=0.01)


def test_the_proof_of_decay_is_a_bound(case):
    tau, growth = case["tau"].values, float(case["proof"][2])
    time, phi = case["time"].values, case["running_error"].values
    assert np.all(phi <= staircase(time, phi[0], tau[0], growth))
    assert np.all(phi <= staircase(time, phi[0], tau[1], 1.0))
    assert float(case["rate"]) > 10.0 / tau[1]
    later = np.searchsorted(time, [4.0, 8.0])
    fitted = np.log(phi[later[0]] / phi[later[1]]) / np.diff(time[later])[0]
    assert fitted == pytest.approx(float(case["rate"]), rel=3e-3)


def test_descent_without_penalty_interpolates(case):
    assert float(case["descent_left"]) < 1e-12
    assert np.all(case["descent_ratio"] > 1.0 - 1e-6)


def test_depths(case):
    eps, reached = case["eps"].values, case["reached"].values
    assert np.all(reached[0] <= eps)
    assert np.all(reached[1] <= 1.1 * eps)
    assert np.all(case["depth"][1] < case["depth"][0])


def test_the_least_control_of_the_affine_line():
    """u* = A (tanh As, sech As), A = asinh 2, and asinh x(s) = A s: V = A^2."""
    one = interpolant(posed("affine", TimeMesh(1.0, 32), 1.0), 32)
    fine = interpolant(posed("affine", TimeMesh(1.0, 64), 1.0), 64)
    assert (4.0 * fine.value - one.value) / 3.0 == pytest.approx(np.arcsinh(2.0) ** 2, abs=1e-7)
    s = (np.arange(64) + 0.5) / 64
    wanted = np.arcsinh(2.0) * np.tanh(np.arcsinh(2.0) * s)
    np.testing.assert_allclose(fine.found.control["weight"][:, 0, 0], wanted, rtol=0, atol=1e-4)
    np.testing.assert_allclose(speed(fine), np.arcsinh(2.0), rtol=1e-4)


@pytest.mark.parametrize("data", ["affine", "two points", "plane"])
def test_least_controls_are_geodesics(data):
    """Residual and spread of the speed fall with the square of the layers; and the geodesic from
    the same start with the same p arrives at the targets.
    """
    sigma = identity if data == "affine" else tanh
    runs = [interpolant(posed(data, TimeMesh(1.0, k), 1.0), k) for k in (16, 32)]
    spread = [np.ptp(speed(one)) / np.mean(speed(one)) for one in runs]
    across, residual = np.array([geodesic_residual(one, sigma) for one in runs]).T
    assert residual[0] / residual[1] == pytest.approx(4.0, rel=0.05)
    assert spread[0] / spread[1] == pytest.approx(4.0, rel=0.1)
    assert across[1] < 3e-4
    problem, target = runs[0].problem, np.array(runs[0].problem.target)
    shape = problem.initial.shape
    half = problem.initial.size

    def geodesic(s, z):
        x, p = z[:half].reshape(shape), z[half:].reshape(shape)
        force = -sigma.derivative(x) * (sigma.value(x) @ (p.T @ p))
        return np.concatenate([(p @ gram(sigma, x)).ravel(), force.ravel()])

    ends = []
    for one in runs:  # the multiplier is p at the end: backwards from the targets
        start = np.concatenate([target.ravel(), 0.5 * one.slope.ravel()])
        run = solve_ivp(geodesic, (1.0, 0.0), start, rtol=1e-11, atol=1e-11)
        ends.append(float(np.max(np.abs(run.y[:half, -1] - problem.initial.ravel()))))
    assert ends[1] < 3e-3
    assert ends[0] / ends[1] == pytest.approx(4.0, rel=0.15)


def test_constants_of_the_affine_line():
    """A = (int (2 - sinh(s asinh 2))^2 ds + lambda (asinh 2)^2) / 4 at x = 0, L = (1 + 0)^(1/2)."""
    problem = posed("affine", TimeMesh(1.0, 64), 0.5)
    found = proof_constants(problem, np.array([[[0.0]]]), 0.5, identity, 64)
    speed = np.arcsinh(2.0)
    along = 4.0 - 4.0 * (np.cosh(speed) - 1.0) / speed + 0.25 * np.sinh(2.0 * speed) / speed - 0.5
    assert found.price == pytest.approx(0.25 * (along + 0.5 * speed**2), abs=1e-4)
    assert found.steer == pytest.approx(1.0)
    assert found.growth == pytest.approx(1.0 + found.price / np.sqrt(0.5))


def test_pictures(tmp_path):
    words = {
        "bounds": r"affine: lambda V / T exceeds phi .* times at T = 16; A = 0\.928",
        "gamma": r"affine: u\* costs V to \S+, the minimiser \S+ less",
        "least_norm": r"affine: flow from 0\.001 ends at 1\.1\d* V, .*so not at u\*.*orders 1\.9",
        "depth": r"phi / eps at most 0\.01\d* and 0\.9\d\d",
    }
    grids: list[ParameterGrid] = [{"data": ["affine"], "layers": [16], "count": [3]}]
    check_pictures("constants", grids, words, tmp_path, "turnpike")
    with pytest.raises(ValueError, match="strength must be > 0"):
        constants(strength=0.0)
