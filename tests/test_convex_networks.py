"""Convex residual networks as functions: values, pieces, Lipschitz constants."""

import numpy as np
import pytest

from continuum import Bottleneck, ConvexDifference, ConvexNetwork, DirectSum, TimeMesh, relu, tanh
from solvers import Euler, integrate
from solvers.convex_fits import convex_problem, convex_start


def network(rng, layers=4, hidden=3, units=1, domain=(0.0, 1.0), most=0.5):
    return ConvexNetwork(
        rng.uniform(0, 1, (layers, hidden, units)),
        -rng.uniform(0, most, (layers, hidden)),
        rng.uniform(0, 0.5, (layers, units, hidden)),
        rng.uniform(0.1, 1, units),
        0.3,
        domain=domain,
    )


def assert_is_piecewise(f, low, high):
    """Between breakpoints f is affine with the slopes listed, and it bends at each of them."""
    ends = np.clip(f.segments, low, high)
    assert np.all(ends[1:, 0] == ends[:-1, 1])
    for (a, b), slope in zip(ends, f.slopes, strict=True):
        x = np.linspace(a, b, 7)
        np.testing.assert_allclose(f.value(x), f.value(x[:1]) + slope * (x - a), atol=1e-12)
    assert np.all(np.abs(np.diff(f.slopes)) > 1e-9)


@pytest.mark.parametrize("domain", [(0.0, 1.0), (0.2, 0.4), (0.0, np.inf), (-np.inf, np.inf)])
def test_pieces_of_scalar_networks(rng, domain):
    r, s = (network(rng, domain=domain) for _ in range(2))
    low, high = np.clip(domain, -2.0, 7.0)
    f = ConvexDifference(r, s)
    for g in (r, s, f):
        assert_is_piecewise(g, low, high)
        x = np.sort(rng.uniform(low, high, 400))
        steps = np.abs(np.diff(g.value(x)) / np.diff(x))
        assert steps.max() <= g.lipschitz * (1 + 1e-9)
        assert g.lipschitz == pytest.approx(np.abs(g.slopes).max(), rel=1e-14)
    assert np.all(np.diff(r.slopes) > 0)
    if domain[1] == np.inf:
        norms = np.prod(r.spectral_norms) * np.linalg.norm(r.readout)
        assert r.lipschitz == pytest.approx(norms, rel=1e-13)


def test_ten_scalar_layers_have_up_to_eleven_pieces_and_a_pair_twenty_one(rng):
    def scalar():
        b, w = rng.uniform(0, 0.5, (10, 1)), rng.uniform(0.01, 0.1, (10, 1, 1))
        return ConvexNetwork(np.ones((10, 1, 1)), -b, w, [1.0], domain=(0.0, 1.0))

    r, s = scalar(), scalar()
    assert (len(r.slopes), len(s.slopes), len(ConvexDifference(r, s).slopes)) == (11, 11, 21)
    # equal kinks, equal slopes, and layers that do nothing are no pieces
    still = ConvexDifference(r, r)
    assert still.slopes.tolist() == [0.0]
    assert still.lipschitz == 0.0
    idle = ConvexNetwork(r.weight1, r.bias1, r.weight2 * (np.arange(10) < 4)[:, None, None], [1.0])
    assert len(idle.slopes) == 5
    # a kink at the end of the domain is none inside it
    end = ConvexNetwork(np.ones((1, 1, 1)), np.zeros((1, 1)), np.ones((1, 1, 1)), [1.0])
    assert [end.slopes.tolist(), *map(list, end.gradient_range)] == [[2.0], [2.0], [2.0]]
    late = ConvexNetwork(end.weight1, [[-1.0]], end.weight2, [1.0], domain=(0.0, 1.0))
    assert [late.slopes.tolist(), late.lipschitz, *map(list, late.gradient_range)] == [
        [1.0],
        1.0,
        [1.0],
        [1.0],
    ]
    double = ConvexNetwork(np.ones((1, 2, 1)), np.full((1, 2), -0.3), np.ones((1, 1, 2)), [1.0])
    np.testing.assert_allclose(double.segments, [[0, 0.3], [0.3, np.inf]], atol=1e-15)
    assert double.slopes.tolist() == [1.0, 3.0]
    # kinks that differ by rounding
    near = ConvexNetwork(
        np.ones((1, 2, 1)), [[-0.3, -(0.1 + 0.2)]], np.ones((1, 1, 2)), [1.0], domain=(0.0, 1.0)
    )
    assert near.slopes.tolist() == [1.0, 3.0]
    one, other = (ConvexNetwork(end.weight1, [[-b]], end.weight2, [1.0]) for b in (0.3, 0.1 + 0.2))
    assert ConvexDifference(one, other).slopes.tolist() == [0.0]


def test_kinks_beyond_all_numbers_are_left_out():
    """b / V = 1e310 for the first unit of the first layer."""
    v, b = np.array([[[1e-310], [2.0]], [[1.0], [0.5]]]), -np.array([[1.0, 1.0], [2.0, 3.0]])
    f = ConvexNetwork(v, b, np.ones((2, 1, 2)), [1.0])
    # h_1 = x + [2 x - 1]_+, which is 2 at 1 and 6 at 7/3
    np.testing.assert_allclose(f.breakpoints, [0.5, 1.0, 7 / 3], rtol=1e-15)
    np.testing.assert_allclose(f.slopes, [1.0, 3.0, 6.0, 7.5], rtol=1e-15)


def test_lipschitz_constants_in_several_dimensions(rng):
    for domain in ((0.0, 1.0), (0.0, np.inf), (-1.0, 0.2)):
        r, s = (network(rng, units=3, hidden=2, domain=domain) for _ in range(2))
        f = ConvexDifference(r, s)
        low, high = np.clip(domain, -5.0, 20.0)
        x = rng.uniform(low, high, (3, 300))
        for g in (r, s, f):
            slopes = np.linalg.norm(g.gradient(x), axis=0)
            assert slopes.max() <= g.lipschitz * (1 + 1e-12)
            steps = 1e-5 * np.eye(3)[:, :, None]
            found = np.array([(g.value(x + e) - g.value(x - e)) / 2e-5 for e in steps])
            errors = np.abs(found - g.gradient(x)).max(axis=0)
            assert np.sum(errors > 1e-8 * g.lipschitz) <= 3  # points next to a kink
        corner = np.full((3, 1), high - 1e-9)
        assert np.linalg.norm(r.gradient(corner)) == pytest.approx(r.lipschitz, rel=1e-12)
        least = r.gradient(np.full((3, 1), low + 1e-9))[:, 0]
        np.testing.assert_allclose(least, r.gradient_range[0], rtol=1e-12)
        assert r.lipschitz <= np.prod(r.spectral_norms) * np.linalg.norm(r.readout)
        assert f.lipschitz <= np.hypot(r.lipschitz, s.lipschitz)


def test_value_is_that_of_the_network_under_unit_steps(rng):
    x, y = rng.uniform(size=(3, 6)), rng.uniform(size=(2, 6))
    problem = convex_problem(x, y, 4, hidden=2)
    control = convex_start(problem, rng, (0.0, 0.3), weights=(0.0, 1.0))
    end = integrate(problem.network, control, problem.initial, Euler()).trajectory.final
    output = problem.readout.output(problem.network, end, control.at_layer(3, 4.0))
    for p in (0, 1):
        f = ConvexDifference.from_control(problem.network, control, (f"r{p}", f"s{p}"), output=p)
        np.testing.assert_allclose(f.value(x), output[p], rtol=1e-13)
        r = ConvexNetwork.from_control(problem.network, control, f"r{p}", output=p, domain=(0, 1))
        np.testing.assert_allclose(f.r.value(x), r.value(x), rtol=1e-15)
        assert r.domain == (0, 1)
    with pytest.raises(ValueError, match=r"output must be given, readout\.W has 2 rows"):
        ConvexNetwork.from_control(problem.network, control, "r1")
    assert f.spectral_norms.shape == (2, 4)


def test_steps_that_are_not_one_multiply_the_weights(rng):
    one = Bottleneck(1, relu, 2)
    problem = convex_problem(
        rng.uniform(size=5), rng.uniform(size=5), 3, hidden=2, difference=False
    )
    space = one.controls(TimeMesh(1.5, 3), fixed={"bias2": 0.0}).joined(
        problem.readout.blocks(one), {}
    )
    start = convex_start(problem, rng, weights=(0.0, 1.0))
    control = space.sample(**dict(start))
    end = integrate(one, control, problem.initial, Euler()).trajectory.final
    f = ConvexNetwork.from_control(one, control)
    np.testing.assert_allclose(f.value(problem.initial), start["readout.W"][0] * end[0], rtol=1e-13)


def test_bad_networks_are_refused_by_name(rng):
    v, b, w, c = np.ones((2, 3, 2)), -np.ones((2, 3)), np.ones((2, 2, 3)), np.ones(2)
    with pytest.raises(ValueError, match="weight1 must be >= 0"):
        ConvexNetwork(-v, b, w, c)
    with pytest.raises(ValueError, match="weight2 must be >= 0"):
        ConvexNetwork(v, b, -w, c)
    with pytest.raises(ValueError, match="bias1 must be <= 0"):
        ConvexNetwork(v, -b, w, c)
    with pytest.raises(ValueError, match="readout must be > 0"):
        ConvexNetwork(v, b, w, 0 * c)
    with pytest.raises(ValueError, match="weight2 has shape"):
        ConvexNetwork(v, b, np.ones((2, 3, 2)), c)
    with pytest.raises(ValueError, match="domain"):
        ConvexNetwork(v, b, w, c, domain=(1.0, 0.0))
    with pytest.raises(ValueError, match="domain must have 2 entries"):
        ConvexNetwork(v, b, w, c, domain=(0.0, 1.0, 2.0))
    with pytest.raises(TypeError, match="n = 1"):
        _ = ConvexNetwork(v, b, w, c).slopes
    f = ConvexNetwork(v, b, w, c)
    with pytest.raises(ValueError, match="x has shape"):
        f.value(np.ones((3, 1)))
    with pytest.raises(ValueError, match="one domain"):
        ConvexDifference(f, ConvexNetwork(v, b, w, c, domain=(0.0, 1.0)))


def test_bad_controls_are_refused_by_name(rng):
    problem = convex_problem(rng.uniform(size=(2, 5)), rng.uniform(size=5), 2, hidden=2)
    net, start = problem.network, convex_start(problem, rng)
    with pytest.raises(ValueError, match=r"s\.weight1 must be >= 0"):
        ConvexDifference.from_control(net, start.replaced(**{"s.weight1": -start["s.weight1"]}))
    with pytest.raises(ValueError, match=r"r\.bias1 must be <= 0"):
        ConvexNetwork.from_control(net, start.replaced(**{"r.bias1": -start["r.bias1"]}), "r")
    with pytest.raises(ValueError, match=r"readout\.W must be > 0"):
        ConvexNetwork.from_control(
            net, start.replaced(**{"readout.W": 0 * start["readout.W"]}), "r"
        )
    with pytest.raises(TypeError, match="part must name one of r, s"):
        ConvexNetwork.from_control(net, start)
    with pytest.raises(ValueError, match="parts must be two names"):
        ConvexDifference.from_control(net, start, ("r",))
    with pytest.raises(ValueError, match="unknown part 'q'"):
        ConvexNetwork.from_control(net, start, "q")
    with pytest.raises(ValueError, match="output must be below 1"):
        ConvexNetwork.from_control(net, start, "r", output=1)
    smooth = DirectSum(r=Bottleneck(2, tanh, 2))
    with pytest.raises(TypeError, match="relu"):
        ConvexNetwork.from_control(smooth, smooth.controls(TimeMesh(2.0, 2)).zeros(), "r")
    one = Bottleneck(2, relu, 2)
    with pytest.raises(TypeError, match=r"readout\.W"):
        ConvexNetwork.from_control(one, one.controls(TimeMesh(2.0, 2)).zeros())
