"""Spaces of controls: time axes, inner products, flat coordinates, sampling, functions."""

import numpy as np
import pytest

from continuum import (
    Control,
    Interval,
    LowRank,
    NeuralODE2,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    tanh,
    trapezoid,
)

MESH = TimeMesh(2.0, 3, grading=1.5)
NETWORK = WidthDepth(trapezoid(Interval(0, 1), 4), tanh)


def time_average(axis, x, y, mesh=MESH):
    """int v_x v_y dt by Gauss quadrature on each layer, exact for piecewise linear v."""
    s, w = np.polynomial.legendre.leggauss(3)
    total = 0.0
    for k in range(mesh.layers):
        for node, weight in zip((s + 1) / 2, w / 2, strict=True):
            total = total + mesh.steps[k] * weight * axis.at(x, k, node) * axis.at(y, k, node)
    return total


@pytest.mark.parametrize("in_time", ["layers", "nodes"])
def test_the_product_is_the_integral(in_time, rng):
    space = NETWORK.controls(MESH, in_time=in_time)
    x, y = space.random(rng), space.random(rng)
    w = NETWORK.weights
    expected = 0.0
    for name, weights in (("bias", w), ("kernel", w[:, None] * w)):
        expected += np.sum(weights * time_average(space.axes[name], x[name], y[name]))
    np.testing.assert_allclose(space.inner(x, y), expected, rtol=1e-13)
    np.testing.assert_allclose(space.norm(x) ** 2, space.inner(x, x), rtol=1e-14)


def test_static_blocks_have_no_time_in_their_product(rng):
    space = NETWORK.controls(MESH, in_time="static")
    x = space.random(rng)
    w = NETWORK.weights
    expected = np.sum(w * x["bias"] ** 2) + np.sum(w[:, None] * w * x["kernel"] ** 2)
    np.testing.assert_allclose(space.inner(x, x), expected, rtol=1e-14)


def test_h1_adds_the_derivative(rng):
    space, plain = (NETWORK.controls(MESH, in_time="nodes", norm=norm) for norm in ("H1", "L2"))
    x, y = space.random(rng), space.random(rng)
    extra = sum(
        np.sum(
            b.weights
            * np.diff(x[b.name], axis=0)
            * np.diff(y[b.name], axis=0)
            / column(MESH.steps, b)
        )
        for b in space.blocks
    )
    same = [Control(plain, dict(c)) for c in (x, y)]
    np.testing.assert_allclose(space.inner(x, y), plain.inner(*same) + extra, rtol=1e-12)


def column(values, block):
    return values.reshape(-1, *(1,) * len(block.shape))


@pytest.mark.parametrize("kernel", [None, LowRank(2)])
@pytest.mark.parametrize(
    ("in_time", "norm"), [("layers", "L2"), ("nodes", "L2"), ("nodes", "H1"), ("static", "L2")]
)
def test_flat_coordinates_and_riesz(kernel, in_time, norm, rng):
    network = WidthDepth(NETWORK.grid, tanh, kernel) if kernel else NETWORK
    space = network.controls(MESH, in_time=in_time, norm=norm)
    x, y = space.random(rng), space.random(rng)
    flat = space.flatten(x)
    assert flat.shape == (space.size,)
    np.testing.assert_allclose(flat @ space.flatten(y), space.inner(x, y), rtol=1e-12)
    back = space.unflatten(flat)
    for name in x:
        np.testing.assert_allclose(back[name], x[name], rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("in_time", "norm"), [("layers", "L2"), ("nodes", "L2"), ("nodes", "H1"), ("static", "L2")]
)
def test_what_is_collected_becomes_the_gradient(in_time, norm, rng):
    """The gradient of x -> sum of 2 (c, x(t)) over some times t, each in its block's weights."""
    space = NETWORK.controls(MESH, in_time=in_time, norm=norm)
    x = space.random(rng)
    total, expected = space.cotangents(x["bias"]), 0.0
    for layer, share in ((0, 0.3), (1, 1.0), (2, 0.0), (2, 0.7)):
        t = MESH.nodes[layer] + share * MESH.steps[layer]
        c = {b.name: rng.standard_normal(b.shape) for b in space.blocks}
        space.scatter(total, layer, t, c, 2.0)
        values = x.at_layer(layer, t)
        expected += 2.0 * sum(np.sum(b.weights * c[b.name] * values[b.name]) for b in space.blocks)
    np.testing.assert_allclose(space.inner(space.riesz(total), x), expected, rtol=1e-11)


def test_sampling_takes_the_middle_or_the_ends_of_layers():
    bias = lambda y, t: y + t  # noqa: E731
    y = NETWORK.grid.coordinates
    middles = MESH.nodes[:-1] + MESH.steps / 2
    layers = NETWORK.controls(MESH).sample(bias=bias)
    np.testing.assert_allclose(layers["bias"], y + middles[:, None], rtol=1e-15)
    nodes = NETWORK.controls(MESH, in_time="nodes").sample(bias=bias)
    np.testing.assert_allclose(nodes["bias"], y + MESH.nodes[:, None], rtol=1e-15)
    assert np.all(layers["kernel"] == 0)
    np.testing.assert_allclose(nodes.at(0.7)["bias"], y + 0.7, rtol=1e-14)
    static = NETWORK.controls(MESH, in_time="static").sample(kernel=lambda y, z: y - z)
    np.testing.assert_array_equal(static["kernel"], y[:, None] - y)
    assert static.breakpoints == ()
    assert layers.breakpoints == tuple(MESH.nodes[1:-1])


def test_values_at_ends_of_layers_are_continued_from_inside():
    control = NETWORK.controls(MESH).sample(bias=np.array([1.0, 2.0, 3.0])[:, None] * np.ones(4))
    end = MESH.nodes[1]
    assert control.at_layer(0, end)["bias"][0] == 1.0
    assert control.at(end)["bias"][0] == 2.0
    assert control.at(MESH.horizon)["bias"][0] == 3.0


def test_functions_without_time_are_evaluated_once():
    calls = []

    def kernel(y, z):
        calls.append(1)
        return y * z

    control = NETWORK.control(MESH, bias=lambda y, t: t + 0 * y, kernel=kernel)
    for t in (0.0, 0.5, 1.0):
        assert control.at(t)["bias"][0] == t
        assert control.at(t)["kernel"][1, 2] == NETWORK.grid.nodes[1, 0] * NETWORK.grid.nodes[2, 0]
    assert len(calls) == 1
    assert not control.constant
    assert NETWORK.control(MESH, bias=np.sin, kernel=2.0).constant


def test_low_rank_kernels_from_functions():
    network = WidthDepth(gauss_legendre(Interval(0, 1), 5), identity, LowRank(2))
    control = network.control(MESH, kernel=((np.exp, lambda y, t: y * t), (np.cos, lambda z: z**2)))
    y = network.grid.coordinates
    b = network.kernel.matrix(control.at(0.5)["kernel"])
    np.testing.assert_allclose(
        b, np.exp(y)[:, None] * np.cos(y) + 0.5 * y[:, None] * y**2, rtol=1e-14
    )
    with pytest.raises(ValueError, match="two tuples of 2 functions"):
        network.control(MESH, kernel=((np.exp,), (np.cos,)))


def test_fixed_blocks_are_there_but_not_unknowns(rng):
    kernel = rng.standard_normal((4, 4))
    space = NETWORK.controls(MESH, fixed={"kernel": kernel})
    assert space.size == 3 * 4
    control = space.random(rng)
    assert list(control) == ["bias"]
    np.testing.assert_array_equal(control["kernel"], kernel)
    np.testing.assert_array_equal(control.at_layer(1, 0.8)["kernel"], kernel)
    assert list(control.variation(1, 0.8)) == ["bias"]


def test_controls_are_vectors(rng):
    space = NETWORK.controls(MESH)
    x, y = space.random(rng), space.random(rng)
    z = x + 2.0 * y - x * 0.5
    np.testing.assert_allclose(z["bias"], 0.5 * x["bias"] + 2 * y["bias"], rtol=1e-14)


def test_euclidean_blocks():
    space = NeuralODE2(3, tanh).controls(MESH)
    control = space.sample(weight=lambda t: t * np.eye(3), bias=[1.0, 2.0, 3.0])
    assert control["weight"].shape == (3, 3, 3)
    np.testing.assert_allclose(
        control["weight"][1], np.eye(3) * (MESH.nodes[1] + MESH.steps[1] / 2)
    )
    np.testing.assert_allclose(
        space.inner(control, control),
        np.sum(MESH.steps * (14 + 3 * control["weight"][:, 0, 0] ** 2)),
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TimeMesh(-1.0, 3), "horizon must be finite and positive"),
        (lambda: TimeMesh(np.inf, 3), "horizon"),
        (lambda: TimeMesh("1", 3), "horizon must be a real number"),
        (lambda: TimeMesh(1.0, 0), "layers must be at least 1"),
        (lambda: TimeMesh(1.0, 2.5), "layers must be an integer"),
        (lambda: NETWORK.control(MESH, bais=1.0), "unknown block 'bais'. Did you mean 'bias'"),
        (lambda: NETWORK.controls(MESH, in_time="layer"), "Did you mean 'layers'"),
        (lambda: NETWORK.controls(MESH, norm="H2"), "unknown norm 'H2'"),
        (lambda: NETWORK.controls(MESH, norm="H1"), "not in H1"),
        (lambda: NETWORK.controls(MESH, fixed={"kernal": 0.0}), "Did you mean 'kernel'"),
        (lambda: NETWORK.controls(MESH, fixed={"bias": lambda y, t: t}), "must not depend on t"),
        (
            lambda: NETWORK.control(MESH, kernel=np.ones((4, 5))),
            r"kernel has shape \(4, 5\), expected \(4, 4\)",
        ),
        (lambda: NETWORK.control(MESH, bias=np.ones(5)), r"bias has shape \(5,\), expected \(4,\)"),
        (lambda: NETWORK.control(MESH, bias=lambda y: np.ones(7)), "bias gave values of shape"),
        (
            lambda: NETWORK.control(MESH, bias=lambda: 1.0),
            r"bias must be a function of \(y\) or \(y, t\)",
        ),
        (lambda: NETWORK.control(MESH, kernel=lambda y: y), r"function of \(y, z\) or \(y, z, t\)"),
        (lambda: NETWORK.control(MESH, bias=np.nan), "NaN"),
        (lambda: NETWORK.control(MESH, kernel=np.ones((4, 4)) * 1j), "real numbers"),
        (
            lambda: NETWORK.controls(MESH, in_time="static").sample(bias=lambda y, t: t),
            "constant in time",
        ),
        (lambda: NETWORK.controls(MESH).sample(bais=1.0), "Did you mean 'bias'"),
        (
            lambda: NETWORK.controls(MESH).sample(bias=np.ones((4, 3))),
            r"expected \(3, 4\); its transpose would fit",
        ),
        (
            lambda: Control(NETWORK.controls(MESH), {"bias": np.zeros((3, 4))}),
            "blocks are missing: kernel",
        ),
        (
            lambda: Control(
                NETWORK.controls(MESH), {"bias": np.zeros((4, 3)), "kernel": np.zeros((3, 4, 4))}
            ),
            r"bias has shape \(4, 3\), expected \(3, 4\); its transpose would fit",
        ),
        (lambda: NETWORK.controls(MESH).unflatten(np.zeros(7)), r"vector has shape \(7,\)"),
        (lambda: NETWORK.controls(MESH).zeros()["kernl"], "Did you mean 'kernel'"),
        (lambda: NETWORK.controls(MESH).zeros().at(3.0), r"t must be in \[0, 2.0\]"),
        (lambda: LowRank(0), "rank must be at least 1"),
        (lambda: WidthDepth(NETWORK.grid, np.tanh), "activation must be an Activation"),
        (lambda: NeuralODE2(0, tanh), "units"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_nodes_of_weight_zero_cannot_be_trained():
    network = WidthDepth(NETWORK.grid.observed_at(np.array([[0.1]])), tanh)
    space = network.controls(MESH)
    with pytest.raises(ValueError, match="cannot be trained"):
        space.unflatten(space.flatten(space.zeros()))
