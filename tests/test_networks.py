"""Every network and kernel format: derivatives by Taylor slopes, adjoints by their identity, on two
array libraries.
"""

import re

import array_api_strict
import numpy as np
import pytest

from continuum import (
    Bottleneck,
    Circle,
    Dense,
    FractionalLaplacian,
    Interval,
    LowRank,
    NeuralODE,
    NeuralODE2,
    SymmetricLayer,
    TimeMesh,
    WidthDepth,
    gauss_hermite,
    gelu,
    identity,
    midpoint,
    periodic,
    relu,
    sigmoid,
    softplus,
    tanh,
    trapezoid,
)
from continuum.arrays import to_host
from solvers import RK4, integrate, observed_orders

GRID = trapezoid(Interval(0, 2), 5)
NETWORKS = {
    "dense tanh": WidthDepth(GRID, tanh),
    "dense sigmoid": WidthDepth(GRID, sigmoid),
    "low rank": WidthDepth(GRID, tanh, LowRank(2)),
    "fractional": WidthDepth(
        midpoint(Interval(0, 8), 5), tanh, FractionalLaplacian(0.6, "dirichlet")
    ),
    "fractional layer": SymmetricLayer(
        periodic(Circle(20.0), 5), sigmoid, FractionalLaplacian(1.0)
    ),
    "symmetric layer": SymmetricLayer(GRID, tanh),
    "symmetric layer, low rank": SymmetricLayer(GRID, sigmoid, LowRank(2)),
    "neural ode": NeuralODE(5, tanh),
    "neural ode 2": NeuralODE2(5, tanh),
    "bottleneck": Bottleneck(5, tanh, hidden=3),
}
EVERY = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())


def draw(network, rng):
    """A state or costate, and values for all blocks."""
    return rng.standard_normal((5, 3)), {
        b.name: rng.standard_normal(b.shape) for b in network.blocks()
    }


def along(x, dx, s):
    return {n: x[n] + s * dx[n] for n in x}


def pair(network, states, blocks):
    """The products in which adjoints are taken."""
    f, g = states
    total = np.sum(network.weights[:, None] * f * g)
    for b in network.blocks():
        total += np.sum(b.weights * blocks[0][b.name] * blocks[1][b.name])
    return total


@EVERY
def test_jvp_is_the_derivative(network, rng):
    (f, c), (df, dc) = draw(network, rng), draw(network, rng)
    sizes = 2.0 ** np.arange(6, 11)
    slope = network.jvp(f, c, 0.0, df, dc)
    base = network.velocity(f, c, 0.0)
    errors = [
        np.abs(network.velocity(f + df / n, along(c, dc, 1 / n), 0.0) - base - slope / n).max()
        for n in sizes
    ]
    np.testing.assert_allclose(observed_orders(sizes, errors), 2.0, atol=0.1)


@EVERY
def test_vjp_is_the_adjoint(network, rng):
    (f, c), (df, dc), (p, _) = draw(network, rng), draw(network, rng), draw(network, rng)
    forward = np.sum(network.weights[:, None] * network.jvp(f, c, 0.0, df, dc) * p)
    f_bar, c_bar = network.vjp(f, c, 0.0, p)
    np.testing.assert_allclose(pair(network, (f_bar, df), (c_bar, dc)), forward, rtol=1e-12)


@EVERY
def test_vjp_derivative_is_the_derivative_of_vjp(network, rng):
    (f, c), (df, dc), (p, _), (dp, _) = (draw(network, rng) for _ in range(4))
    probe, probes = draw(network, rng)
    sizes = 2.0 ** np.arange(6, 11)

    def along_path(s):
        return pair(
            network,
            (network.vjp(f + s * df, along(c, dc, s), 0.0, p + s * dp)[0], probe),
            (network.vjp(f + s * df, along(c, dc, s), 0.0, p + s * dp)[1], probes),
        )

    f_bar, c_bar = network.vjp_derivative(f, c, 0.0, p, df, dc, dp)
    slope = pair(network, (f_bar, probe), (c_bar, probes))
    errors = [abs(along_path(1 / n) - along_path(0.0) - slope / n) for n in sizes]
    np.testing.assert_allclose(observed_orders(sizes, errors), 2.0, atol=0.1)


@EVERY
def test_blocks_left_out_of_a_direction_are_not_varied(network, rng):
    (f, c), (df, dc), (p, _) = (draw(network, rng) for _ in range(3))
    for name in c:
        zero = {n: dc[n] if n != name else np.zeros_like(c[n]) for n in c}
        left = {n: dc[n] for n in c if n != name}
        np.testing.assert_allclose(
            network.jvp(f, c, 0.0, df, left), network.jvp(f, c, 0.0, df, zero), rtol=0, atol=1e-14
        )
        for a, b in zip(
            network.vjp_derivative(f, c, 0.0, p, df, left, p),
            network.vjp_derivative(f, c, 0.0, p, df, zero, p),
            strict=True,
        ):
            for x, y in zip(
                *((a.values(), b.values()) if isinstance(a, dict) else ([a], [b])), strict=True
            ):
                np.testing.assert_allclose(x, y, rtol=0, atol=1e-13)


@EVERY
def test_another_array_library(network, rng):
    (f, c), (df, dc), (p, _), (dp, _) = (draw(network, rng) for _ in range(4))

    def strict(x):
        return (
            {n: strict(v) for n, v in x.items()}
            if isinstance(x, dict)
            else array_api_strict.asarray(x)
        )

    def compare(result, expected):
        pairs = (
            zip(result, expected, strict=True)
            if isinstance(expected, tuple)
            else [(result, expected)]
        )
        for got, want in pairs:
            for a, b in (
                zip(got.values(), want.values(), strict=True)
                if isinstance(want, dict)
                else [(got, want)]
            ):
                assert isinstance(a, type(array_api_strict.asarray(1.0)))
                np.testing.assert_allclose(to_host(a), b, rtol=0, atol=1e-13)

    calls = {
        "velocity": (f, c, 0.0),
        "jvp": (f, c, 0.0, df, dc),
        "vjp": (f, c, 0.0, p),
        "vjp_derivative": (f, c, 0.0, p, df, dc, dp),
    }
    for name, arguments in calls.items():
        answer = getattr(network, name)(
            *(x if isinstance(x, float) else strict(x) for x in arguments)
        )
        compare(answer, getattr(network, name)(*arguments))


def test_weights_multiply_f_and_the_paper_has_a_minus(rng):
    f, b, a = rng.standard_normal((5, 2)), rng.standard_normal((5, 5)), rng.standard_normal(5)
    w = GRID.weights
    velocity = WidthDepth(GRID, relu).velocity(f, {"bias": a, "kernel": b}, 0.0)
    for i in range(5):
        for m in range(2):
            u = a[i] - sum(w[j] * b[i, j] * f[j, m] for j in range(5))
            assert velocity[i, m] == pytest.approx(max(u, 0.0), abs=1e-14)


@pytest.mark.parametrize("rank", [1, 3])
def test_low_rank_agrees_with_its_matrix(rank, rng):
    low, dense = LowRank(rank), Dense()
    b, f = rng.standard_normal((2, 5, rank)), rng.standard_normal((5, 4))
    np.testing.assert_allclose(
        low.apply(b, f, GRID.weights), dense.apply(low.matrix(b), f, GRID.weights), atol=1e-14
    )
    np.testing.assert_allclose(
        low.adjoint(b, f, GRID.weights), dense.adjoint(low.matrix(b), f, GRID.weights), atol=1e-14
    )


def test_velocities_are_what_their_formulas_say(rng):
    f = rng.standard_normal((5, 2))
    c = {b.name: rng.standard_normal(b.shape) for b in NeuralODE(5, tanh).blocks()}
    np.testing.assert_allclose(
        NeuralODE(5, tanh).velocity(f, c, 0.0),
        np.tanh(c["weight"] @ f + c["bias"][:, None]),
        rtol=1e-14,
    )
    net = Bottleneck(5, tanh, hidden=3)
    c = {b.name: rng.standard_normal(b.shape) for b in net.blocks()}
    inner = np.tanh(c["weight1"] @ f + c["bias1"][:, None])
    np.testing.assert_allclose(
        net.velocity(f, c, 0.0), c["weight2"] @ inner + c["bias2"][:, None], rtol=1e-14
    )
    symmetric, w = SymmetricLayer(GRID, tanh), GRID.weights
    c = {b.name: rng.standard_normal(b.shape) for b in symmetric.blocks()}
    s = np.tanh(c["bias"][:, None] - c["kernel"] @ (w[:, None] * f))
    by_hand = np.array(
        [
            [sum(w[i] * c["kernel"][i, j] * s[i, m] for i in range(5)) for m in range(2)]
            for j in range(5)
        ]
    )
    np.testing.assert_allclose(symmetric.velocity(f, c, 0.0), by_hand, rtol=0, atol=1e-14)


def test_the_symmetric_layer_contracts(rng):
    network = SymmetricLayer(GRID, tanh)
    c = {b.name: rng.standard_normal(b.shape) for b in network.blocks()}
    f, g = rng.standard_normal((5, 50)), rng.standard_normal((5, 50))
    rate = GRID.integrate((network.velocity(f, c, 0.0) - network.velocity(g, c, 0.0)) * (f - g))
    assert np.all(rate < 0)


@pytest.mark.parametrize(
    "make", [lambda: Bottleneck(3, tanh, hidden=0), lambda: NeuralODE(0, tanh)]
)
def test_no_units(make):
    with pytest.raises(ValueError, match="must be at least 1"):
        make()


@pytest.mark.parametrize("sigma", [sigmoid, softplus], ids=str)
@pytest.mark.parametrize(
    "grid", [gauss_hermite(6), gauss_hermite(3) * periodic(Circle(), 4)], ids=["line", "cylinder"]
)
@pytest.mark.parametrize("kind", [WidthDepth, SymmetricLayer])
def test_an_activation_that_leaves_l2_on_the_line_is_refused(kind, grid, sigma):
    words = rf"{sigma}.*sigma\(0\) = 0\.[56].*{re.escape(str(grid.domain))} has infinite measure"
    with pytest.raises(ValueError, match=words):
        kind(grid, sigma)
    network = kind(periodic(Circle(), 4), sigma)
    with pytest.raises(ValueError, match="infinite measure"):
        network.on(grid)


def test_activations_that_vanish_at_zero_live_on_the_line():
    """f_t = tanh(a - Bf) with b = e^(-y^2 - z^2); and any activation in R^d."""
    grid = gauss_hermite(12)
    kernel = lambda y, z: np.exp(-(y**2) - z**2)  # noqa: E731
    for sigma in (tanh, relu, gelu, identity):
        network = WidthDepth(grid, sigma)
        control = network.control(TimeMesh(1.0, 4), kernel=kernel)
        final = integrate(network, control, grid.sample(lambda y: np.exp(-(y**2))), RK4())
        assert np.all(np.isfinite(final.trajectory.final))
    assert NeuralODE(3, sigmoid).units == 3
