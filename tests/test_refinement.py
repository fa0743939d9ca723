"""Refinement measured on known sequences; ResNets as controls and back; files keep what they are
given.
"""

import numpy as np
import pytest

from continuum import (
    Interval,
    LowRank,
    ResNet,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
    midpoint,
    tanh,
)
from continuum.io import load_control, load_states, save_control, save_states
from solvers import (
    RK4,
    DormandPrince,
    Euler,
    Heun,
    depth_error,
    integrate,
    observed_orders,
    refine,
    richardson,
    width_error,
)


def test_orders_of_a_known_sequence():
    np.testing.assert_allclose(
        observed_orders([10, 20, 60], [3.0, 3.0 / 8, 3.0 / 216]), 3.0, rtol=1e-14
    )


def test_results_that_extrapolation_and_estimates_refuse():
    network = WidthDepth(midpoint(Interval(0, 1), 4), tanh)
    run = network, network.control(TimeMesh(1.0, 2), kernel=1.0), np.ones((4, 1))
    case = lambda grid: (network, run[1])  # noqa: E731
    for door, error, words in (
        (lambda: richardson(1.0, 1.7e308, 1.0), ValueError, "what coarse and fine extrapolate to"),
        (lambda: richardson(np.ones(2), np.ones(3), 1.0), ValueError, "must have one shape, got"),
        (lambda: richardson(1.0, np.inf, 1.0), ValueError, "coarse and fine"),
        (lambda: depth_error(*run, DormandPrince(rtol=1e-3, atol=1e-3)), TypeError, "equal steps"),
        (
            lambda: width_error(case, lambda n: midpoint(Interval(0, 1), n), 2, RK4()),  # type: ignore[arg-type]
            TypeError,
            "case must return",
        ),
        (
            lambda: width_error(lambda g: g.spam, lambda n: midpoint(Interval(0, 1), n), 2, RK4()),  # type: ignore[attr-defined]
            TypeError,
            "case failed on Grid.*no attribute 'spam'",
        ),
        (
            lambda: refine(lambda n: 1.0 / n, [2, 4], exact=0.0, distance=lambda x, y: "far"),  # type: ignore[arg-type]
            TypeError,
            "distance must be a real number, got 'far'",
        ),
    ):
        with pytest.raises(error, match=words):
            door()
    np.testing.assert_array_equal(richardson(np.array([1, 2]), np.array([2, 4]), 1.0)[0], [3, 6])


def test_richardson_removes_the_leading_error():
    value = lambda n: 7.0 + 2.0 * n**-2.0  # noqa: E731
    limit, error = richardson(value(10), value(30), order=2, ratio=3)
    assert limit == pytest.approx(7.0, abs=1e-14)
    assert error == pytest.approx(7.0 - value(30), abs=1e-14)


def test_refine_without_the_limit():
    result = refine(lambda n: 7.0 + 2.0 / n + 1e-9 / n**2, [8, 16, 32, 64], order=1)
    np.testing.assert_allclose(result.errors, 2.0 / result.sizes, rtol=1e-6)
    np.testing.assert_allclose(result.orders, 1.0, atol=1e-6)
    assert result.order == pytest.approx(1.0, abs=1e-6)


def test_width_of_midpoint_rule():
    """LM-19 by the harness: order 2 in width, with the time error out of the way."""
    case = exact.rank_one

    def error(n):
        grid = midpoint(Interval(0, 1), n)
        return np.abs(
            integrate(*case.setup(grid, 100), RK4()).trajectory.final - case.final(grid)
        ).max()

    sizes = [8, 16, 32]
    result = refine(error, sizes, exact=0.0)
    np.testing.assert_allclose(result.orders, 2.0, atol=0.1)


@pytest.mark.parametrize("stepper", [Euler(), Heun(), RK4()], ids=lambda s: type(s).__name__)
def test_depth_error_estimates_the_true_error(stepper):
    case = exact.moving_bias
    grid = gauss_legendre(Interval(0, 1), 2)
    state, estimate = depth_error(*case.setup(grid, 40), stepper)
    true = np.abs(state - case.final(grid)).max()
    assert estimate == pytest.approx(true, rel=0.1)


def test_width_error_estimates_the_true_error():
    case = exact.rank_one
    state, estimate = width_error(
        lambda grid: case.setup(grid, 100),
        lambda n: midpoint(Interval(0, 1), n),
        16,
        RK4(),
        order=2,
    )
    assert state.shape == (16, 1)
    true = np.abs(state - case.final(midpoint(Interval(0, 1), 16))).max()
    assert estimate == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: observed_orders([1, 2], [1.0, 0.0]), "errors must be positive"),
        (lambda: observed_orders([2, 1], [1.0, 0.5]), "sizes must be positive and increase"),
        (lambda: observed_orders([1, 2, 3], [1.0, 0.5]), "errors has shape"),
        (lambda: richardson(1.0, 2.0, order=0), "order must be > 0"),
        (lambda: refine(float, [4]), "at least two"),
        (lambda: refine(float, [4, 8]), "exact result, or the expected order"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


NETWORK = WidthDepth(gauss_legendre(Interval(0, 1), 4), tanh)
MESH = TimeMesh(2.0, 6, grading=1.5)


@pytest.mark.parametrize(
    "network", [NETWORK, WidthDepth(NETWORK.grid, tanh, LowRank(2))], ids=["dense", "low rank"]
)
def test_a_resnet_is_the_euler_steps_of_a_control(network, rng):
    control, initial = network.controls(MESH).random(rng), rng.standard_normal((4, 3))
    net = ResNet.from_control(network, control)
    flow = integrate(network, control, initial, Euler(), save="layers").trajectory.states
    np.testing.assert_allclose(np.stack(net.outputs(initial)), flow, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(net(initial), net.outputs(initial)[-1])


def test_a_control_is_the_resnet_and_back(rng):
    control = NETWORK.controls(MESH).random(rng)
    back = ResNet.from_control(NETWORK, control).to_control(NETWORK)
    for name in control:
        np.testing.assert_allclose(back[name], control[name], rtol=1e-14)


def test_resnets_refuse_what_they_cannot_be(rng):
    net = ResNet.from_control(NETWORK, NETWORK.controls(MESH).random(rng))
    with pytest.raises(ValueError, match=r"initial has shape \(3, 4\).*transpose would fit"):
        net(np.ones((3, 4)))
    with pytest.raises(ValueError, match="layers must be as many as those of the mesh, 6, got 5"):
        ResNet(MESH, net.layers[:-1], 4)
    with pytest.raises(ValueError, match=r"layers\[0\]\[0\] does not fit.* takes 4 .* given 3"):
        ResNet(MESH, net.layers, 3)
    with pytest.raises(TypeError, match="network must be a Network such as"):
        ResNet.from_control("network", NETWORK.controls(MESH).zeros())
    seen = WidthDepth(NETWORK.grid.observed_at(np.array([[0.5]])), tanh)
    with pytest.raises(ValueError, match="network has 5 units, the layers have 4"):
        net.to_control(seen)
    with pytest.raises(ValueError, match="weight zero"):
        ResNet.from_control(seen, seen.controls(MESH).random(rng)).to_control(seen)


@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
def test_files_keep_controls(in_time, tmp_path, rng):
    space = NETWORK.controls(MESH, in_time=in_time, fixed={"bias": 0.5})
    control = space.random(rng)
    path = save_control(tmp_path / "control.h5", control)
    back = load_control(path, space)
    np.testing.assert_array_equal(back["kernel"], control["kernel"])
    np.testing.assert_array_equal(back["bias"], control["bias"])
    assert [p.name for p in tmp_path.iterdir()] == ["control.h5"]


def test_files_keep_states(tmp_path, rng):
    times, states = np.linspace(0, 1, 3), rng.standard_normal((3, 4, 2))
    back = load_states(save_states(tmp_path / "states.h5", times, states))
    np.testing.assert_array_equal(back[0], times)
    np.testing.assert_array_equal(back[1], states)


def test_bad_files(tmp_path, rng):
    space = NETWORK.controls(MESH)
    path = save_control(tmp_path / "control.h5", space.random(rng))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged, cut short or not an HDF5 file"):
        load_control(path, space)
    path.write_text("hello")
    with pytest.raises(ValueError, match="not an HDF5 file"):
        load_control(path, space)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="not a states saved by this package"):
        load_states(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_control(tmp_path / "nothing.h5", space)
    with pytest.raises(ValueError, match=r"its layers is 6, the space has 7"):
        load_control(path, NETWORK.controls(TimeMesh(2.0, 7, 1.5)))
    with pytest.raises(ValueError, match="does not fit the space: bias has shape"):
        load_control(path, WidthDepth(gauss_legendre(Interval(0, 1), 5), tanh).controls(MESH))
    with pytest.raises(OSError, match="cannot write in"):
        save_control(tmp_path / "no folder" / "control.h5", space.zeros())
