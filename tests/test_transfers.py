"""Changing grids and meshes keeps what it says it keeps; plain chains are what they are."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from continuum import (
    Circle,
    Convolution,
    Dense,
    Interval,
    LowRank,
    NeuralODE,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    midpoint,
    periodic,
    relu,
    tanh,
    trapezoid,
)
from continuum.feed_forward import FeedForward
from continuum.networks import Chain, Linear, Offset, Pointwise
from continuum.sublayers import Sublayer
from continuum.transfers import change_depth, change_width, prolongation, restriction
from solvers import RK4, integrate, observed_orders

UNIT = Interval(0, 1)


def test_linear_functions_are_interpolated_exactly():
    coarse, fine = trapezoid(UNIT * UNIT, (4, 3)), gauss_legendre(UNIT * UNIT, 5)
    g = lambda y: 2 + y[0] - 3 * y[1] + y[0] * y[1]  # noqa: E731
    np.testing.assert_allclose(
        prolongation(coarse, fine) @ coarse.evaluate(g), fine.evaluate(g), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize(
    "grids",
    [
        # flat at the ends of the interval, beyond whose outermost nodes it is continued by
        # constants
        lambda n: (midpoint(UNIT, n), midpoint(UNIT, 97), lambda y: np.cos(2 * np.pi * y)),
        lambda n: (periodic(Circle(), n), periodic(Circle(), 97), lambda y: np.sin(y + 1)),
        lambda n: (
            periodic(Circle(), n) * trapezoid(UNIT, n),
            periodic(Circle(), 13) * trapezoid(UNIT, 17),
            lambda y: np.sin(y[0] + 1) * np.exp(y[1]),
        ),
    ],
    ids=["interval", "circle", "cylinder"],
)
def test_interpolation_has_order_two(grids):
    sizes, errors = [8, 16, 32], []
    for n in sizes:
        coarse, fine, g = grids(n)
        matrix = prolongation(coarse, fine)
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-13)
        errors.append(np.abs(matrix @ coarse.evaluate(g) - fine.evaluate(g)).max())
    np.testing.assert_allclose(observed_orders(sizes, errors), 2.0, atol=0.25)
    assert errors[-1] < 1.5e-2


def test_restriction_is_the_adjoint_and_keeps_integrals(rng):
    coarse, fine = trapezoid(UNIT, 5), gauss_legendre(UNIT, 9)
    g, h = rng.standard_normal(9), rng.standard_normal(5)
    down, up = restriction(fine, coarse), prolongation(coarse, fine)
    assert coarse.integrate((down @ g) * h) == pytest.approx(
        fine.integrate(g * (up @ h)), rel=1e-13
    )
    assert coarse.integrate(down @ g) == pytest.approx(fine.integrate(g), rel=1e-13)


@pytest.mark.parametrize("kernel", [None, LowRank(2)], ids=["dense", "low rank"])
@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
def test_a_control_on_another_grid(kernel, in_time, rng):
    networks = [
        WidthDepth(trapezoid(UNIT, n), tanh, *([kernel] if kernel else [])) for n in (5, 9, 5)
    ]
    coarse, fine, back = networks
    control = coarse.controls(TimeMesh(1.0, 3), in_time=in_time).random(rng)
    refined = change_width(control, coarse, fine)
    for t in (0.1, 0.9):
        before, after = control.at(t), refined.at(t)
        np.testing.assert_allclose(after["bias"][::2], before["bias"], rtol=0, atol=1e-14)
        dense = [n.kernel.matrix(c["kernel"]) for n, c in ((coarse, before), (fine, after))]
        np.testing.assert_allclose(dense[1][::2, ::2], dense[0], rtol=0, atol=1e-14)
    constant = fine.controls(TimeMesh(1.0, 3), in_time=in_time).sample(bias=2.0)
    np.testing.assert_allclose(change_width(constant, fine, back)["bias"], 2.0, rtol=1e-14)


def test_any_chain_of_kernels_changes_width(rng):
    """Two kernels and two offsets; on a finer grid the old nodes keep their values."""
    maps = (
        Linear("inner", Dense()),
        Offset("shift"),
        Pointwise(tanh),
        Linear("outer", LowRank(2)),
        Offset("drift"),
    )
    coarse = Chain(trapezoid(UNIT, 5), maps)
    fine = coarse.on(trapezoid(UNIT, 9))
    control = coarse.controls(TimeMesh(1.0, 3)).random(rng)
    refined = change_width(control, coarse, fine)
    np.testing.assert_allclose(refined["inner"][:, ::2, ::2], control["inner"], atol=1e-14)
    np.testing.assert_allclose(refined["outer"][:, :, ::2], control["outer"], atol=1e-14)
    for name in ("shift", "drift"):
        np.testing.assert_allclose(refined[name][:, ::2], control[name], atol=1e-14)
    other = Chain(trapezoid(UNIT, 9), (Linear("inner", Dense()), Offset("shift")))
    with pytest.raises(ValueError, match="same network on different grids"):
        change_width(control, coarse, other)
    ring = WidthDepth(periodic(Circle(), 4), tanh, Convolution())
    with pytest.raises(ValueError, match="kernel must be Dense or LowRank, or a Fractional"):
        change_width(ring.controls(TimeMesh(1.0, 1)).zeros(), ring, ring.on(periodic(Circle(), 8)))


@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
def test_refining_in_depth_changes_nothing(in_time, rng):
    network = WidthDepth(gauss_legendre(UNIT, 4), tanh)
    control = network.controls(TimeMesh(1.2, 3), in_time=in_time).random(rng)
    refined = change_depth(control, TimeMesh(1.2, 6))
    initial = rng.standard_normal((4, 2))
    before = integrate(network, control, initial, RK4(), steps_per_layer=2).trajectory.final
    after = integrate(network, refined, initial, RK4()).trajectory.final
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-14)
    coarse = change_depth(refined, TimeMesh(1.2, 3))
    for name in control:
        np.testing.assert_allclose(coarse[name], control[name], rtol=0, atol=1e-13)


def test_coarsening_layers_averages(rng):
    network = WidthDepth(gauss_legendre(UNIT, 4), tanh)
    control = network.controls(TimeMesh(1.0, 4)).random(rng)
    coarse = change_depth(control, TimeMesh(1.0, 2))
    np.testing.assert_allclose(coarse["bias"][0], control["bias"][:2].mean(axis=0), rtol=1e-13)


@pytest.mark.parametrize("in_time", ["layers", "nodes"])
def test_any_mesh_to_any_other(in_time, rng):
    """Against the integrals, and the values at nodes, of the control itself."""
    network = WidthDepth(gauss_legendre(UNIT, 2), tanh)
    control = network.controls(TimeMesh(1.0, 7, grading=1.5), in_time=in_time).random(rng)
    mesh = TimeMesh(1.0, 4, grading=0.8)
    changed = change_depth(control, mesh)
    for k, (start, end) in enumerate(pairwise(mesh.nodes.tolist())):
        if in_time == "nodes":
            expected = control.at(start)["bias"]
        else:
            cuts = np.clip(control.space.mesh.nodes, start, end)
            expected = np.diff(cuts) @ control["bias"] / (end - start)
        np.testing.assert_allclose(changed["bias"][k], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("in_time", ["layers", "nodes"])
def test_depth_changes_in_linear_memory(in_time):
    """4000 layers to 8001; a matrix between them would have 256 MB."""
    network = NeuralODE(1, tanh)
    space = network.controls(TimeMesh(1.0, 4_000), in_time=in_time)
    control = space.sample(bias=lambda t: np.array([t]), weight=np.ones((1, 1)))
    tracemalloc.start()
    changed = change_depth(control, TimeMesh(1.0, 8_001))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6
    times = changed.space.mesh.nodes
    expected = times if in_time == "nodes" else 0.5 * (times[1:] + times[:-1])
    error = 1e-14 if in_time == "nodes" else 0.5 / 4_000
    np.testing.assert_allclose(changed["bias"][:, 0], expected, rtol=0, atol=error)


def test_feed_forward(rng):
    chain = FeedForward.random([3, 7, 2], relu, rng)
    x = rng.standard_normal((3, 5))
    (first,), (second,) = chain.layers
    hidden = np.maximum(first.matrix @ x, 0)
    np.testing.assert_allclose(chain(x), np.maximum(second.matrix @ hidden, 0), rtol=1e-13)
    assert [layer.shape for layer in chain.outputs(x)] == [(3, 5), (7, 5), (2, 5)]


NETWORK = WidthDepth(trapezoid(UNIT, 3), tanh)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: prolongation(trapezoid(UNIT, 3), trapezoid(Interval(0, 2), 3)),
            "different domains",
        ),
        (
            lambda: prolongation(
                trapezoid(UNIT, 3).observed_at(np.array([[0.1]])), trapezoid(UNIT, 3)
            ),
            "product of one-dimensional grids",
        ),
        (
            lambda: restriction(
                trapezoid(UNIT, 9), trapezoid(UNIT, 3).observed_at(np.array([[0.3]]))
            ),
            "weight zero",
        ),
        (
            lambda: change_depth(NETWORK.controls(TimeMesh(1.0, 3)).zeros(), TimeMesh(2.0, 3)),
            "horizon 1",
        ),
        (
            lambda: change_width(
                NETWORK.controls(TimeMesh(1.0, 3)).zeros(),
                NETWORK,
                WidthDepth(trapezoid(UNIT, 5), relu),
            ),
            "same network on different grids",
        ),
        (lambda: Sublayer(relu, np.ones((2, 3)), np.ones(3)), "bias has shape"),
        (
            lambda: FeedForward([(Sublayer(relu, np.ones((2, 3))),)] * 2, 3),
            r"layers\[1\]\[0\] does not fit what is before it: it takes 3 numbers, but is given 2",
        ),
        (lambda: FeedForward([], 3), "layers must not be empty"),
        (lambda: FeedForward.random([3], relu, np.random.default_rng(0)), "at least two"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
