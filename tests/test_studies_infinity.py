"""Behaviour at infinity: points on the circle of Poincare's disc, and the disc as drawn."""

import numpy as np
import pytest
from scipy.optimize import brentq

from continuum import (
    Bottleneck,
    Interval,
    Network,
    NeuralODE2,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    midpoint,
    relu,
    tanh,
)
from solvers import DormandPrince, integrate
from solvers.planar import (
    equilibria,
    from_disc,
    manifold_from_infinity,
    points_at_infinity,
    to_disc,
)
from studies.draw.disc import poincare_disc
from studies.draw.figures import new_figure
from studies.gallery.neural_ode import relu_disc
from studies.gallery.ring import selection
from studies.gallery.two_nodes import saddle_disc

MESH = TimeMesh(1.0, 1)


def two_nodes(matrix: list[list[float]]):
    network = WidthDepth(midpoint(Interval(0, 1), 2), tanh)
    return network, network.control(MESH, bias=np.array([0.4, -3.0]), kernel=2.0 * np.array(matrix))


def euclidean(weight: list[list[float]], activation=identity, bias=(0.3, -0.2)):
    network = NeuralODE2(2, activation)
    return network, network.control(MESH, weight=np.array(weight, dtype=float), bias=np.array(bias))


def check(found, expected: list[tuple[float, float, str]], atol: float = 1e-11):
    """expected : angle, radial, kind"""
    assert [p.kind.removesuffix(" at infinity") for p in found] == [kind for *_, kind in expected]
    np.testing.assert_allclose(
        [p.angle for p in found], [angle for angle, *_ in expected], atol=atol
    )
    np.testing.assert_allclose(
        [p.radial for p in found], [radial for _, radial, _ in expected], atol=max(atol, 1e-9)
    )
    assert all(p.arc == (p.angle, p.angle) for p in found)


def twice(half: list[tuple[float, float, str]]):
    """The same on the other side, for fields that are odd at infinity."""
    return half + [(angle + np.pi, radial, kind) for angle, radial, kind in half]


def test_an_indefinite_symmetric_operator():
    """V_inf = -sign(B e) is -(1, 1) about (1, 1) and (1, -1) about (1, -1); g keeps its sign at the
    jumps.
    """
    expected = twice([(np.pi / 4, -np.sqrt(2), "source"), (3 * np.pi / 4, np.sqrt(2), "sink")])
    check(points_at_infinity(*two_nodes([[0.5, 1.0], [1.0, 0.5]])), expected)


@pytest.mark.parametrize("sign", [1, -1])
def test_jumps_where_filippovs_combination_decides(sign: int):
    """On the ray (1/5, 1) unit 1 changes sign, unit 2 has speed 1: w_1 s = c, so radial = c w_1 + s
    = 1/s.
    """
    found = points_at_infinity(*two_nodes([[sign, -0.2 * sign], [0.0, -1.0]]))
    jump = (np.arctan2(1.0, 0.2), np.sqrt(1.04))
    if sign == 1:
        check(found, twice([(0.0, -1.0, "source"), (*jump, "sink")]))
    else:
        r = np.sqrt(2)
        half = [
            (0.0, 1.0, "saddle"),
            (np.pi / 4, r, "sink"),
            (*jump, "saddle"),
            (3 * np.pi / 4, r, "sink"),
        ]
        check(found, twice(half))


@pytest.mark.parametrize(
    ("matrix", "half"),
    [
        ([[2, 0], [0, -1]], [(0, 2, "sink"), (np.pi / 2, -1, "source")]),
        ([[-1, 0], [0, -2]], [(0, -1, "saddle"), (np.pi / 2, -2, "source")]),
        ([[1, 1], [0, 2]], [(0, 1, "saddle"), (np.pi / 4, 2, "sink")]),
        ([[1, 0], [0, 0]], [(0, 1, "sink"), (np.pi / 2, 0, "degenerate")]),
        ([[0, 1], [-1, 0]], []),
    ],
)
def test_linear_fields_end_in_eigendirections(matrix, half):
    check(points_at_infinity(*euclidean(matrix)), twice(half))


def test_a_double_eigendirection_is_touched():
    check(
        points_at_infinity(*euclidean([[1, 1], [0, 1]])), twice([(0, 1, "degenerate")]), atol=1e-6
    )


def test_multiples_of_the_identity_leave_the_circle_at_rest():
    (found,) = points_at_infinity(*euclidean([[3, 0], [0, 3]]))
    assert (found.kind, found.arc) == ("degenerate at infinity", (0.0, 2.0 * np.pi))
    assert found.radial == pytest.approx(3.0)


def test_relu_has_an_arc_at_rest():
    sink, arc = points_at_infinity(*euclidean([[0, 1], [1, 0]], relu))
    check([sink], [(np.pi / 4, 1.0, "sink")])
    assert arc.kind == "degenerate at infinity"
    np.testing.assert_allclose(arc.arc, [np.pi, 1.5 * np.pi], atol=2e-6)
    assert arc.radial == pytest.approx(0.0, abs=1e-12)


def saddles_of_the_ring(ratio: float = 0.8) -> float:
    """The angle of the saddle at infinity in the first quadrant, from n = p / q."""

    def cosines(n: float) -> np.ndarray:
        return (-1.0 + np.array([1.0, -1.0]) * np.sqrt(1.0 + 8.0 / n**2)) * n / 4.0

    def gap(n: float) -> float:
        c = cosines(n)
        s = np.sqrt(1.0 - c**2)
        return (s[0] - s[1]) / (s[0] * c[0] - s[1] * c[1]) - ratio * n

    return float(np.arctan2(1.0, ratio * brentq(gap, 0.1, 0.99)))


def test_equilibria_from_two_starts_a_side_and_not_from_one():
    """x' = A x + (0.3, -0.2): Newton's method is exact from anywhere, also from corners."""
    matrix = np.array([[1.0, 1.0], [0.0, 2.0]])
    network, control = euclidean(matrix.tolist())
    (found,) = equilibria(network, control, (-1.0, 1.0, -1.0, 1.0), starts=2)
    np.testing.assert_allclose(found.point, -np.linalg.solve(matrix, [0.3, -0.2]), rtol=1e-12)
    with pytest.raises(ValueError, match="starts must be"):
        equilibria(network, control, (-1.0, 1.0, -1.0, 1.0), starts=1)


def test_two_modes_on_a_ring():
    network, control = selection(0.5, 0.4, nodes=4096)
    found = points_at_infinity(network, control, radius=1000.0)
    assert [p.kind for p in found] == ["sink at infinity", "saddle at infinity"] * 4
    s = saddles_of_the_ring()
    expected = [0, s, np.pi / 2, np.pi - s, np.pi, np.pi + s, 1.5 * np.pi, 2 * np.pi - s]
    np.testing.assert_allclose([p.angle for p in found], expected, atol=3e-5)
    assert [e.kind for e in equilibria(network, control, (-3, 3, -3, 3), starts=5)] == ["source"]
    pinned = points_at_infinity(network, control, radius=1e14)  # of single units, beside the sinks
    assert len(pinned) > 8
    assert (
        max(min(abs(p.angle - angle) for angle in [*expected, 2 * np.pi]) for p in pinned)
        < 20.0 / 4096
    )


@pytest.mark.parametrize("nodes", [256, 512, 2048])
@pytest.mark.parametrize("ratio", [0.6, 0.8, 0.95])
def test_the_default_radius_sees_the_continuum(nodes, ratio):
    """Eight points, right to O(1 / N^2); from 1e14 there were 32 on 512 nodes."""
    network, control = selection(0.5, 0.5 * ratio, nodes=nodes)
    found = points_at_infinity(network, control)
    assert [p.kind for p in found] == ["sink at infinity", "saddle at infinity"] * 4
    s = saddles_of_the_ring(ratio)
    expected = [0, s, np.pi / 2, np.pi - s, np.pi, np.pi + s, 1.5 * np.pi, 2 * np.pi - s]
    np.testing.assert_allclose([p.angle for p in found], expected, atol=250.0 / nodes**2)


def test_the_default_radius_of_networks_that_grow_is_infinity(rng):
    """relu with 300 hidden units and offsets: V_inf is continuous, and offsets are far below it."""
    network = Bottleneck(2, relu, hidden=300)
    control = network.control(
        MESH,
        weight1=rng.standard_normal((300, 2)),
        bias1=rng.standard_normal(300),
        weight2=rng.standard_normal((2, 300)),
        bias2=np.zeros(2),
    )
    default, far = (points_at_infinity(network, control, **r) for r in ({}, {"radius": 1e14}))
    assert [p.angle for p in default] == [p.angle for p in far]


def test_the_index_of_the_sphere_is_two():
    """Finite points count twice, nodes 1 and saddles -1."""
    for matrix in (
        [[0.5, 1.0], [1.0, 0.5]],
        [[1.0, -0.2], [0.0, -1.0]],
        [[-1.0, 0.2], [0.0, -1.0]],
        [[2.0, 1], [0, 3]],
    ):
        network, control = two_nodes(matrix)
        finite = equilibria(network, control, (-9, 9, -9, 9))
        far = points_at_infinity(network, control)
        index = sum(-2 if e.kind == "saddle" else 2 for e in finite)
        assert index + sum(-1 if p.kind.startswith("saddle") else 1 for p in far) == 2


class Field(NeuralODE2):
    """x' = speed(|x|) (0, 1)."""

    def __init__(self, speed) -> None:
        super().__init__(2, tanh)
        object.__setattr__(self, "speed", speed)

    def velocity(self, f, c, t):
        return np.stack([np.zeros(f.shape[1]), self.speed(np.hypot(*f))])


def test_any_power_has_points_at_infinity():
    network = Field(lambda r: r**1.5)
    check(
        points_at_infinity(network, network.control(MESH)),
        [(np.pi / 2, 1, "sink"), (1.5 * np.pi, -1, "source")],
    )


class Turning(Field):
    """x' = (1, sin log |x|)."""

    def velocity(self, f, c, t):
        return np.stack([np.ones(f.shape[1]), np.sin(np.log(np.hypot(*f)))])


def test_refusals():
    wide = WidthDepth(gauss_legendre(Interval(0, 1), 3), tanh)
    with pytest.raises(
        ValueError, match="the behaviour at infinity needs a network with 2 units, got 3"
    ):
        points_at_infinity(wide, wide.control(MESH))
    with pytest.raises(ValueError, match="a Poincare disc needs a network with 2 units, got 3"):
        poincare_disc(wide, wide.control(MESH))
    with pytest.raises(TypeError, match="network must be a Network"):
        poincare_disc("saddle", wide.control(MESH))  # type: ignore[arg-type]
    still = euclidean([[0, 0], [0, 0]], bias=(0.0, 0.0))
    with pytest.raises(ValueError, match="no behaviour at infinity"):
        points_at_infinity(*still)
    for speed in (np.log1p, lambda r: 2.0 + np.sin(r), lambda r: np.exp(np.log1p(r) ** 1.2)):
        network: Network = Field(speed)
        with pytest.raises(ValueError, match=r"does not grow like a power of \|x\| at infinity"):
            points_at_infinity(network, network.control(MESH))
    turning = Turning(np.log1p)
    with pytest.raises(ValueError, match="in 100% of the directions the velocity still turns"):
        points_at_infinity(turning, turning.control(MESH))
    network, control = euclidean([[1, 0], [0, 2]])
    with pytest.raises(ValueError, match="radius must be at least 100, got 5"):
        points_at_infinity(network, control, radius=5.0)
    with pytest.raises(ValueError, match=r"starts has shape \(5, 2\).*transpose would fit"):
        poincare_disc(network, control, starts=np.zeros((5, 2)))
    with pytest.raises(ValueError, match="scale must be finite and positive"):
        poincare_disc(network, control, scale=0.0)
    with pytest.raises(ValueError, match=r"time must be in \[0, 1\]"):
        points_at_infinity(network, control, time=2.0)
    with pytest.raises(ValueError, match=r"horizon must be in \(0, 1\]"):
        poincare_disc(network, control, horizon=3.0)


def test_to_the_disc_and_back():
    x = np.array([[3.0, 0.0, -1e3], [-4.0, 0.0, 2.0]])
    np.testing.assert_allclose(
        to_disc(x[:, :1], 5.0), np.array([[0.6], [-0.8]]) / np.sqrt(2), atol=1e-15
    )
    np.testing.assert_allclose(from_disc(to_disc(x, 2.0), 2.0), x, rtol=1e-9)


def drawn(figure, gid: str) -> list[np.ndarray]:
    return [np.array(line.get_data()) for line in figure.axes[0].lines if line.get_gid() == gid]


def test_the_saddle_on_the_disc():
    figure = saddle_disc()
    r = np.sqrt(0.5)
    for name, normal in (("stable separatrix", [1, -1]), ("unstable separatrix", [1, 1])):
        branches = drawn(figure, name)
        assert len(branches) == 2
        for path in branches:
            np.testing.assert_allclose(normal @ path, 0.0, atol=1e-5)
            assert np.hypot(*path[:, -1]) > 0.999
    sinks, sources = drawn(figure, "sink at infinity"), drawn(figure, "source at infinity")
    np.testing.assert_allclose(np.ravel(sinks), [-r, r, r, -r], atol=1e-9)
    np.testing.assert_allclose(np.ravel(sources), [r, r, -r, -r], atol=1e-9)
    (centre,) = drawn(figure, "saddle")
    np.testing.assert_allclose(centre, 0.0, atol=1e-12)
    assert len(drawn(figure, "trajectory")) == 8
    for path in drawn(figure, "trajectory"):
        assert np.all(np.hypot(*path) < 1.0)
        assert (
            np.min(np.hypot(*(path[:, -1:] - np.array([[-r, r], [r, -r]])))) < 0.05
        )  # to a sink at infinity
    arrows = [line for line in figure.axes[0].lines if line.get_gid() == "arrow at infinity"]
    turns = {
        tuple(np.round(np.ravel(line.get_data()), 6) + 0.0): line.get_marker()[2] % 360
        for line in arrows
    }
    assert {point: round(turn) for point, turn in turns.items()} == {
        (0.0, 1.0): 90,
        (-1.0, 0.0): 0,
        (0.0, -1.0): 270,
        (1.0, 0.0): 180,
    }


def test_separatrices_of_saddles_at_infinity_divide_the_basins():
    """x' = A x, A = ((1, 1), (0, 2)): the saddle at infinity on the first axis sends its stable
    manifold along it.
    """
    network, control = euclidean([[1, 1], [0, 2]], bias=(0.0, 0.0))
    figure = poincare_disc(
        network, control, separatrices=True, horizon=0.5, starts=np.array([[0.1], [0.2]])
    )
    branches = drawn(figure, "stable separatrix")
    assert len(branches) == 2
    for path in branches:
        np.testing.assert_allclose(path[1], 0.0, atol=1e-8)
        assert np.hypot(*path[:, 0]) > 0.9999
        assert np.hypot(*path[:, -1]) < 2e-3
    assert drawn(figure, "unstable separatrix") == []
    (path,) = drawn(figure, "trajectory")
    end = from_disc(path[:, -1:])[:, 0]  # exp(t A) (0.1, 0.2)
    np.testing.assert_allclose(
        end, [0.2 * np.exp(1.0) - 0.1 * np.exp(0.5), 0.2 * np.exp(1.0)], rtol=1e-6
    )


def test_separatrices_from_infinity_end_beside_an_equilibrium_off_the_origin():
    """x' = A (x - e), A = ((1, 1), (0, 2)), and x - e = alpha (1, 0) + beta (1, 1): backwards alpha
    and beta fall like exp(-t) and exp(-2 t), from 100 scale on the first axis up to a distance
    1e-3 scale from e, which at this scale is nearer than that to the origin.
    """
    e, scale = np.array([0.6, -0.5]), 1000.0
    network, control = euclidean([[1, 1], [0, 2]], bias=(-0.1, 1.0))
    saddles = [p for p in points_at_infinity(network, control) if p.kind == "saddle at infinity"]
    assert len(saddles) == 2
    for point in saddles:
        stable, path = manifold_from_infinity(network, control.at(0.0), 0.0, point, [e], scale)
        assert stable
        np.testing.assert_allclose(path[:, 0], [1e5 * np.cos(point.angle), 0.0], atol=1e-9)
        assert np.hypot(*(path[:, -1] - e)) == pytest.approx(1.0, rel=1e-6)
        beta = path[1] - e[1]
        alpha = path[0] - e[0] - beta
        np.testing.assert_allclose(beta, 0.5 * (alpha / alpha[0]) ** 2, atol=1e-6)


def test_the_separatrix_of_the_ring_divides_the_basins_of_its_modes():
    network, control = selection(nodes=512, horizon=40.0)
    figure = poincare_disc(
        network, control, scale=2.0, radius=300.0, separatrices=True, horizon=0.1
    )
    branches = drawn(figure, "stable separatrix")
    assert len(branches) == 4
    (path,) = [from_disc(b, 2.0) for b in branches if np.all(b > 0)]
    assert np.hypot(*path[:, -1]) == pytest.approx(2e-3, rel=0.1)  # it comes from the source
    near = path[:, [np.argmin(np.abs(np.hypot(*path) - 2.0))]]
    beside = near + 0.01 * np.array([[1.0, -1.0], [-1.0, 1.0]])
    first, second = integrate(
        network, control, beside, DormandPrince(rtol=1e-8, atol=1e-10)
    ).trajectory.final.T
    assert first[1] < 0.5 * first[0]
    assert second[0] < 0.5 * second[1]


def test_the_stream_is_tangent_to_the_circle_and_follows_the_field(monkeypatch: pytest.MonkeyPatch):
    kept = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.streamplot", lambda self, *arguments, **_: kept.append(arguments)
    )
    network, control = euclidean([[0, 1], [-1, 0.5]])
    _, axes = new_figure(1, 2, width=12)
    figure = poincare_disc(network, control, scale=2.0, ax=axes[0, 1])
    assert figure is axes[0, 0].figure
    x, y, u, v = kept[0]
    xi = np.array([[x[70]], [y[45]]])
    h, velocity = 1e-6, network.velocity(from_disc(xi, 2.0), control.at(0.0), 0.0)
    moved = (
        to_disc(from_disc(xi, 2.0) + h * velocity, 2.0)
        - to_disc(from_disc(xi, 2.0) - h * velocity, 2.0)
    )[:, 0]
    field = np.array([u[45, 70], v[45, 70]])
    np.testing.assert_allclose(field / np.hypot(*field), moved / np.hypot(*moved), atol=1e-8)
    radial = np.abs(u * x[None, :] + v * y[:, None])
    assert np.max(radial) <= 1.0
    assert np.max(radial[np.hypot(*np.meshgrid(x, y)) > 0.97]) < 0.06
    assert np.all(np.ma.getmaskarray(u)[np.hypot(*np.meshgrid(x, y)) >= 1.0])


def test_an_arc_at_rest_is_drawn():
    figure = relu_disc()
    (arc,) = drawn(figure, "at rest")
    np.testing.assert_allclose(np.hypot(*arc), 1.0, atol=1e-12)
    np.testing.assert_allclose(arc[:, [0, -1]], [[-1, 0], [0, -1]], atol=3e-6)
    (saddle,) = drawn(figure, "saddle")
    np.testing.assert_allclose(
        saddle, np.full((2, 1), 1.0 / np.sqrt(6.0)), atol=1e-9
    )  # w relu(x) + b = 0 at (1, 1)
    for path in drawn(figure, "stable separatrix") + drawn(figure, "unstable separatrix"):
        assert np.hypot(*(path[:, :1] - saddle)) < 0.005
