"""ResNets between their layers: linear interpolants, the recursion with one lag, and its jumps."""

import numpy as np
import pytest
import scipy.integrate
from pictures import check_pictures

from continuum import (
    Bottleneck,
    Interval,
    LowRank,
    ResNet,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    tanh,
)
from studies.liu_markowich.interpolants import JUMPS, PROBLEMS, interpolants
from studies.shared import last_order

GRID = gauss_legendre(Interval(0, 1), 3)
NETWORK = WidthDepth(GRID, tanh)
MESH = TimeMesh(1.2, 4)


def test_linear_interpolants_pass_through_the_layers(rng):
    mesh = TimeMesh(1.2, 4, 1.5)
    resnet = ResNet.from_control(NETWORK, NETWORK.controls(mesh).random(rng))
    initial = rng.standard_normal((3, 2))
    z, t = np.stack(resnet.outputs(initial)), mesh.nodes
    np.testing.assert_allclose(resnet.at(initial, t), z, rtol=0, atol=1e-15)
    np.testing.assert_allclose(
        resnet.at(initial, 0.25 * t[:-1] + 0.75 * t[1:]), 0.25 * z[:-1] + 0.75 * z[1:], atol=1e-14
    )


def coefficients(resnet, k, share):
    """W, a of a single sub-layer, linear between t_k and t_(k+1)."""
    (one,), (two,) = resnet.layers[k], resnet.layers[k + 1]
    return (1 - share) * one.matrix + share * two.matrix, (1 - share) * one.bias + share * two.bias


def test_the_recursion_holds_at_every_time(rng):
    """z(t + tau) = z(t) + tau tanh(a(t) + W(t) z(t)) for 0 <= t <= T - tau, z = z_0 on [0, tau)."""
    resnet = ResNet.from_control(NETWORK, NETWORK.controls(MESH).random(rng))
    initial, tau = rng.standard_normal((3, 2)), 0.3
    for share in (0.0, 0.2, 0.999):
        z = resnet.lagged(initial, MESH.nodes[:-1] + share * tau)
        np.testing.assert_array_equal(z[0], initial)
        for k in range(MESH.layers - 1):
            w, a = coefficients(resnet, k, share)
            step = z[k] + tau * np.tanh(w @ z[k] + a[:, None])
            np.testing.assert_allclose(z[k + 1], step, rtol=0, atol=1e-11)
    np.testing.assert_allclose(
        resnet.lagged(initial, MESH.nodes), np.stack(resnet.outputs(initial)), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("network", [NETWORK, Bottleneck(3, tanh, 2)], ids=["one", "two"])
def test_jumps_are_those_of_the_recursion(network, rng):
    resnet = ResNet.from_control(network, network.controls(MESH).random(rng))
    initial = rng.standard_normal((3, 2))
    before = resnet.lagged(initial, MESH.nodes[1:] - 1e-9)
    found = resnet.lagged(initial, MESH.nodes[1:]) - before
    np.testing.assert_allclose(resnet.jumps(initial), found, rtol=0, atol=1e-7)
    assert np.abs(found).min() > 1e-4


def test_constant_coefficients_give_a_staircase(rng):
    network = WidthDepth(GRID, tanh, LowRank(2))
    resnet = ResNet.from_control(network, network.controls(MESH, in_time="static").random(rng))
    initial = rng.standard_normal((3, 2))
    z = resnet.outputs(initial)
    steps = np.stack([z[k + 1] - z[k] for k in range(MESH.layers)])
    np.testing.assert_allclose(resnet.jumps(initial), steps, rtol=0, atol=1e-14)
    np.testing.assert_allclose(resnet.lagged(initial, [0.59]), [z[1]], rtol=0, atol=1e-14)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_limit_of_jumps_solves_the_linearised_equation(problem):
    """w' = D_f F(f, t) w, w(0) = F(f(0), 0), along the exact solution."""
    case = PROBLEMS[problem]
    network, control, initial = case.setup(GRID, 1)

    def slope(t, w):
        f = GRID.sample(lambda y: case.solution(y, t))
        return network.jvp(f, control.at(t), t, w[:, None], {})[:, 0]

    start = network.velocity(initial, control.at(0.0), 0.0)[:, 0]
    times = np.linspace(0.0, case.horizon, 7)
    found = scipy.integrate.solve_ivp(
        slope, (0.0, case.horizon), start, "DOP853", times, rtol=1e-11, atol=1e-12
    )
    limit = np.broadcast_to(JUMPS[problem](times), (3, 7))
    np.testing.assert_allclose(found.y, limit, rtol=0, atol=1e-9)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_both_interpolants_converge_with_order_one(problem):
    found = interpolants(problem=problem, coarsest=8, doublings=4)
    layers = found["layers"].values
    for name in ("linear_error", "lagged_error", "jump", "jump_gap"):
        assert last_order(layers, found[name].values) == pytest.approx(1.0, abs=0.03), name
    # the error of the recursion is its distance to the start of the layer: nearly a jump
    assert found["lagged_error"][-1] > 0.85 * found["jump"][-1]
    assert found["jump_gap"][-1] < 0.03
    if problem == "scalar decay":
        np.testing.assert_allclose(found["jump"], np.tanh(1.0) * found["step"], rtol=1e-12)


def test_bad_input(rng):
    initial = rng.standard_normal((3, 2))
    graded = TimeMesh(1.2, 4, 1.5)
    resnet = ResNet.from_control(NETWORK, NETWORK.controls(graded).random(rng))
    for call in (lambda: resnet.lagged(initial, [0.1]), lambda: resnet.jumps(initial)):
        with pytest.raises(ValueError, match="needs layers of equal length, those of the mesh go"):
            call()
    with pytest.raises(ValueError, match=r"times must be in"):
        resnet.at(initial, [0.1, 1.3])


def test_pictures(tmp_path):
    check_pictures(
        "interpolants",
        [{"problem": list(PROBLEMS), "doublings": 3}],
        {
            "scalar_decay": r"linear 1\.0\d, lag recursion (1\.0|0\.9)\d.*0\.76159 tau",
            "moving_bias": r"at 32 layers.*differ from their limit",
        },
        tmp_path,
    )
