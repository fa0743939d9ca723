"""Figures and phase portraits: what is drawn is right."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from continuum import (
    Interval,
    Network,
    NeuralODE2,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    midpoint,
    tanh,
)
from solvers import DormandPrince, integrate
from solvers.planar import fields as planar
from solvers.planar.fields import classify, deflated_step, equilibria
from studies.draw.disc import poincare_disc
from studies.draw.figures import OKABE_ITO, convergence_plot, new_figure, order_triangle, save_png
from studies.draw.portraits import phase_portrait
from studies.gallery.two_nodes import centre, saddle

MESH = TimeMesh(1.0, 1)


class Leaky(Network):
    """x' = -x + 2 tanh(x), entry by entry: roots 0 and +-1.9150080481545... in each."""

    ROOT = 1.915008048154537

    @property
    def weights(self) -> np.ndarray:
        return np.ones(2)

    def blocks(self, in_time="layers"):
        return NeuralODE2(2, tanh).blocks(in_time)

    def velocity(self, f, c, t):
        return -f + 2.0 * np.tanh(f)

    def jvp(self, f, c, t, df, dc):
        return (-1.0 + 2.0 / np.cosh(f) ** 2) * df

    def vjp(self, f, c, t, p):
        return (-1.0 + 2.0 / np.cosh(f) ** 2) * p, {}

    def vjp_derivative(self, f, c, t, p, df, dc, dp):
        raise NotImplementedError

    def formula(self) -> str:
        return "x' = -x + 2 tanh(x)"


def two_nodes(matrix: list[list[float]]):
    network = WidthDepth(midpoint(Interval(0, 1), 2), tanh)
    return network, network.control(MESH, bias=np.zeros(2), kernel=2.0 * np.array(matrix))


def spiral():
    network = NeuralODE2(2, tanh)
    weight = np.array([[-0.5, -1.5], [1.5, -0.5]])
    return (
        network,
        network.control(MESH, weight=weight, bias=-weight @ np.array([0.4, -0.2])),
        weight,
    )


def test_saddle():
    (found,) = equilibria(*two_nodes([[0.5, 1.0], [1.0, 0.5]]), (-2, 2, -2, 2))
    assert found.kind == "saddle"
    np.testing.assert_allclose(found.point, 0.0, atol=1e-12)
    np.testing.assert_allclose(sorted(found.eigenvalues.real), [-1.5, 0.5], atol=1e-12)


def test_equilibrium_follows_the_bias():
    network = WidthDepth(midpoint(Interval(0, 1), 2), tanh)
    matrix = np.array([[2.0, 0.5], [-0.5, 1.0]])
    control = network.control(MESH, bias=matrix @ np.array([0.3, -0.7]), kernel=2.0 * matrix)
    (found,) = equilibria(network, control, (-1, 1, -1, 1))
    np.testing.assert_allclose(found.point, [0.3, -0.7], atol=1e-10)
    assert found.kind == "sink"
    np.testing.assert_allclose(
        sorted(found.eigenvalues.real), sorted(-np.linalg.eigvals(matrix)), atol=1e-8
    )
    assert equilibria(network, control, (-1, 1, -0.5, 1)) == []


def test_spiral_sink():
    network, control, weight = spiral()
    (found,) = equilibria(network, control, (-2, 2, -2, 2))
    np.testing.assert_allclose(found.point, np.arctanh([0.4, -0.2]), atol=1e-10)
    expected = np.linalg.eigvals(weight * (1.0 - np.array([0.4, -0.2]) ** 2))
    np.testing.assert_allclose(
        np.sort_complex(found.eigenvalues), np.sort_complex(expected), atol=1e-9
    )
    assert found.kind == "spiral sink"


def test_nine_equilibria_of_three_kinds():
    control = NeuralODE2(2, tanh).control(MESH)
    found = equilibria(Leaky(), control, (-2.5, 2.5, -3, 3))
    r = Leaky.ROOT
    np.testing.assert_allclose(
        [e.point for e in found], [(x, y) for x in (-r, 0, r) for y in (-r, 0, r)], atol=1e-9
    )
    kinds = ["sink", "saddle", "sink", "saddle", "source", "saddle", "sink", "saddle", "sink"]
    assert [e.kind for e in found] == kinds


def test_a_line_of_equilibria_is_degenerate():
    found = equilibria(*two_nodes([[1.0, 1.0], [1.0, 1.0]]), (-1, 1, -1, 1))
    assert len(found) > 3
    assert {e.kind for e in found} == {"degenerate"}
    assert max(abs(e.point.sum()) for e in found) < 1e-9


class Product(Leaky):
    """x_i' = x_i (x_i^2 - 1) (x_i^2 - 4): 25 roots, the integers from -2 to 2 in each."""

    def velocity(self, f, c, t):
        return f * (f**2 - 1.0) * (f**2 - 4.0)

    def jvp(self, f, c, t, df, dc):
        return (5.0 * f**4 - 15.0 * f**2 + 4.0) * df


class Ring(Leaky):
    """x' = (1 - |x|^2) x: the unit circle and 0."""

    def velocity(self, f, c, t):
        return (1.0 - np.sum(f**2, axis=0)) * f

    def jvp(self, f, c, t, df, dc):
        return (1.0 - np.sum(f**2, axis=0)) * df - 2.0 * np.sum(f * df, axis=0) * f


@pytest.mark.parametrize(
    ("network", "box", "alone", "all_"), [(Leaky(), 3.0, 4, 9), (Product(), 2.7, 4, 25)]
)
def test_deflation_finds_what_newton_from_the_lattice_misses(
    network: Network, box: float, alone: int, all_: int, monkeypatch: pytest.MonkeyPatch
):
    control = NeuralODE2(2, tanh).control(MESH)
    find = lambda: equilibria(network, control, (-box, box, -box, 0.9 * box), starts=2)  # noqa: E731
    found = find()
    assert len(found) == all_
    r = Leaky.ROOT
    roots = np.array([-r, 0.0, r]) if all_ == 9 else np.arange(-2.0, 3.0)
    np.testing.assert_allclose(
        [e.point for e in found], [(x, y) for x in roots for y in roots], atol=1e-9
    )
    monkeypatch.setattr("solvers.planar.fields._ROUNDS", 1)
    assert len(find()) == alone


def test_the_deflated_step_is_newtons_for_the_deflated_field():
    """One step from each start, against differences of m V with m = prod (1 / |x - r|^2 + 1)."""
    network, size = Leaky(), np.array([4.0, 5.0])
    roots = [np.array([0.0, 0.0]), np.array([Leaky.ROOT, 0.0])]
    starts = np.array([[1.0, -1.7, 0.3], [0.9, -1.8, 0.4]])

    def deflated(x: np.ndarray) -> np.ndarray:
        q = [np.sum(((x - r) / size) ** 2) for r in roots]
        return np.prod([1.0 / s + 1.0 for s in q]) * network.velocity(x[:, None], {}, 0.0)[:, 0]

    for start, step in zip(
        starts.T, deflated_step(network, {}, 0.0, starts, roots, size), strict=True
    ):
        h = 1e-6
        jacobian = np.stack(
            [(deflated(start + h * e) - deflated(start - h * e)) / (2 * h) for e in np.eye(2)],
            axis=1,
        )
        np.testing.assert_allclose(
            step * size, -np.linalg.solve(jacobian, deflated(start)), rtol=1e-6
        )


def test_a_curve_of_equilibria_ends_the_search(monkeypatch: pytest.MonkeyPatch):
    rounds, newton = [], planar._round
    monkeypatch.setattr(planar, "_round", lambda *arguments: rounds.append(1) or newton(*arguments))
    found = equilibria(Ring(), NeuralODE2(2, tanh).control(MESH), (-2.0, 2.0, -2.0, 1.7))
    (centre,) = [e for e in found if e.kind != "degenerate"]
    np.testing.assert_allclose(centre.point, 0.0, atol=1e-10)
    curve = np.array([e.point for e in found if e.kind == "degenerate"])
    np.testing.assert_allclose(np.hypot(*curve.T), 1.0, atol=1e-8)
    assert 4 <= len(curve) <= 40
    assert len(rounds) == 2


@pytest.mark.parametrize(
    ("eigenvalues", "kind"),
    [
        ([-1, -2], "sink"),
        ([1, 2], "source"),
        ([-1, 2], "saddle"),
        ([2j, -2j], "centre"),
        ([0, -1], "degenerate"),
        ([0, 0], "degenerate"),
        ([-1 + 1j, -1 - 1j], "spiral sink"),
        ([0.1 + 1j, 0.1 - 1j], "spiral source"),
        ([1e-10 + 1j, 1e-10 - 1j], "centre"),
        ([-1, 1e-12], "degenerate"),
    ],
)
def test_kinds(eigenvalues: list[complex], kind: str):
    assert classify(np.array(eigenvalues, dtype=complex)) == kind


def paths(figure) -> list[np.ndarray]:
    """The trajectories drawn: (2, points) each."""
    return [
        np.array(line.get_data()) for line in figure.axes[0].lines if len(line.get_xdata()) > 100
    ]


def test_trajectories_keep_what_the_flow_conserves():
    figure = centre()
    found = paths(figure)
    assert len(found) == 6
    for path in found:
        energy = np.log(np.cosh(path)).sum(axis=0)
        np.testing.assert_allclose(energy, energy[0], rtol=1e-6)
        assert np.ptp(np.arctan2(path[1], path[0])) > 6.0  # it goes round


def test_portrait_shows_starts_equilibria_and_legend():
    network, control, _ = spiral()
    control = network.control(
        TimeMesh(20.0, 1), **{name: control.at(0.0)[name] for name in ("weight", "bias")}
    )
    starts = np.array([[1.0, -1.0], [1.5, 0.0]])
    figure = phase_portrait(network, control, (-2, 2, -2, 2), starts=starts, horizon=15.0)
    first, second = paths(figure)
    np.testing.assert_array_equal([first[:, 0], second[:, 0]], starts.T)
    for path in (first, second):
        np.testing.assert_allclose(path[:, -1], np.arctanh([0.4, -0.2]), atol=0.01)
    axes = figure.axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "trajectories",
        "their starts",
        "spiral sink",
    ]
    assert (axes.get_xlim(), axes.get_ylim()) == ((-2.0, 2.0), (-2.0, 2.0))


def test_the_stream_is_the_velocity(monkeypatch: pytest.MonkeyPatch):
    drawn = []
    monkeypatch.setattr(
        matplotlib.axes.Axes, "streamplot", lambda self, *arguments, **_: drawn.append(arguments)
    )
    network, control, weight = spiral()
    bias = control.at(0.0)["bias"]
    phase_portrait(network, control, (-2, 1, -3, 2))
    x, y, u, v = drawn[0]
    assert (x[0], x[-1], y[0], y[-1]) == (-2, 1, -3, 2)
    np.testing.assert_allclose(
        [u[7, 30], v[7, 30]], weight @ np.tanh([x[30], y[7]]) + bias, atol=1e-13
    )


def test_portrait_on_given_axes():
    _, axes = new_figure(1, 2, width=9)
    figure = phase_portrait(*two_nodes([[1.0, 0.0], [0.0, 1.0]]), (-1, 1, -1, 1), ax=axes[0, 1])
    assert figure is axes[0, 0].figure
    assert len(axes[0, 1].lines) > 8
    assert len(axes[0, 0].lines) == 0


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_a_moving_field_is_frozen_and_legends_stay_inside():
    """x' = (t, 0): frozen at t = 1/4, its trajectories are the lines x = start + s (1/4, 0)."""
    network = NeuralODE2(2, tanh)
    control = network.control(
        TimeMesh(2.0, 4), weight=np.zeros((2, 2)), bias=lambda t: np.array([t, 0.0])
    )
    starts = np.array([[-0.5, 0.0], [0.5, -0.5]])
    figure, axes = new_figure(1, 2, width=9)
    moving, still = axes[0]
    phase_portrait(network, control, (-1, 1, -1, 1), time=0.25, starts=starts, ax=moving)
    assert texts(moving) == ["field frozen at t = 0.25"]
    for start, path in zip(starts.T, paths(figure), strict=True):
        np.testing.assert_allclose(path[:, -1], start + np.array([0.5, 0.0]), atol=1e-12)
    phase_portrait(*two_nodes([[1.0, 0.0], [0.0, 1.0]]), (-1, 1, -1, 1), ax=still, legend=False)
    assert texts(still) == []
    assert still.get_legend() is None
    figure.draw_without_rendering()
    inner, legend = moving.get_window_extent(), moving.get_legend().get_window_extent()
    assert inner.x0 <= legend.x0 < legend.x1 <= inner.x1
    assert inner.y0 <= legend.y0 < legend.y1 <= inner.y1
    with pytest.raises(TypeError, match="ax must be an Axes or None, got 'here'"):
        phase_portrait(network, control, (-1, 1, -1, 1), ax="here")  # type: ignore[arg-type]


@pytest.mark.parametrize("time", [0.0, 1.5])
@pytest.mark.parametrize("draw", ["portrait", "disc"])
def test_drawn_lines_are_runs_under_the_control_at_that_time(draw: str, time: float):
    """A kernel that turns and a bias that moves, held still: `integrate` draws the same lines."""
    network, mesh = WidthDepth(midpoint(Interval(0, 1), 2), tanh), TimeMesh(2.0, 1)

    def bias(y: np.ndarray, t: float) -> np.ndarray:
        return 0.3 * (1.0 + t) * np.cos(3.0 * y)

    def kernel(y: np.ndarray, z: np.ndarray, t: float) -> np.ndarray:
        return 2.0 * np.cos(t + 3.0 * (y - z))

    control = network.control(mesh, bias=bias, kernel=kernel)
    held = network.control(
        mesh, bias=lambda y: bias(y, time), kernel=lambda y, z: kernel(y, z, time)
    )
    starts = np.array([[0.4, -0.5, 0.1], [0.2, 0.3, -0.6]])
    if draw == "portrait":
        figure = phase_portrait(network, control, (-2, 2, -2, 2), time=time, starts=starts)
        lines, count = paths(figure), 401
    else:
        figure = poincare_disc(network, control, time=time, starts=starts)
        lines, count = drawn(figure, "trajectory"), 801
    ax = figure.axes[0]
    assert texts(ax) == [f"field frozen at t = {time:g}"]
    figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().y1 < ax.xaxis.label.get_window_extent().y0
    method, times = DormandPrince(rtol=1e-10, atol=1e-12), np.linspace(0.0, 2.0, count)
    expected, unlike = (
        integrate(network, c, starts, method, save=times).trajectory.states for c in (held, control)
    )
    if draw == "disc":
        expected, unlike = (x / np.sqrt(1.0 + (x**2).sum(1))[:, None] for x in (expected, unlike))
    np.testing.assert_allclose(
        np.array(lines), np.moveaxis(expected, 0, 2).swapaxes(0, 1), atol=1e-7
    )
    assert np.abs(np.array(lines) - np.moveaxis(unlike, 0, 2).swapaxes(0, 1)).max() > 0.02


def test_the_legend_of_a_portrait_leaves_the_middle_free():
    """Eight trajectories and the nullclines of a spiral source: it is in a corner, beside the
    equilibrium and beside the words on the frozen field.
    """
    network = NeuralODE2(2, tanh)
    figure, axes = new_figure(1, 2, width=11, height=5)
    weight, bias = np.array([[1.5, -1.0], [1.0, 1.5]]), np.array([0.2, -0.1])
    still = network.control(TimeMesh(1.0, 10), weight=weight, bias=bias)
    moving = network.control(TimeMesh(1.0, 10), weight=weight, bias=lambda t: (1 + t) * bias)
    for control, ax in zip((still, moving), axes[0], strict=True):
        phase_portrait(network, control, (-3, 3, -3, 3), nullclines=True, ax=ax)
        figure.draw_without_rendering()
        frame, legend = ax.get_window_extent(), ax.get_legend().get_window_extent()
        middle = 0.5 * (frame.x0 + frame.x1), 0.5 * (frame.y0 + frame.y1)
        assert not legend.contains(*middle)
        assert not any(legend.overlaps(text.get_window_extent()) for text in ax.texts)
        marks = [line for line in ax.lines if line.get_gid() == "spiral source"]
        assert marks
        at = ax.transData.transform(marks[0].get_xydata())[0]
        assert not legend.contains(*at)


def test_a_trajectory_that_does_not_stay_finite():
    control = NeuralODE2(2, tanh).control(MESH)
    with pytest.raises(ValueError, match="field frozen at t = 0 does not stay finite"):
        phase_portrait(Product(), control, (-3, 3, -3, 3), starts=np.array([[2.9], [0.0]]))


def test_portrait_refuses():
    network, control = two_nodes([[1.0, 0.0], [0.0, 1.0]])
    wide = WidthDepth(gauss_legendre(Interval(0, 1), 3), tanh)
    box = (-1, 1, -1, 1)
    with pytest.raises(ValueError, match="needs a network with 2 units, got 3"):
        phase_portrait(wide, wide.control(MESH), box)
    with pytest.raises(TypeError, match="network must be a Network"):
        phase_portrait("saddle", control, box)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="box must be"):
        phase_portrait(network, control, (1, -1, -1, 1))
    with pytest.raises(ValueError, match=r"starts has shape \(5, 2\).*transpose would fit"):
        phase_portrait(network, control, box, starts=np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"horizon must be in \(0, 1\]"):
        phase_portrait(network, control, box, horizon=2.0)
    with pytest.raises(ValueError, match=r"time must be in \[0, 1\]"):
        phase_portrait(network, control, box, time=-1.0)


class Planar(Leaky):
    """x' = x, y' = -y, turned by an angle: the separatrices are straight lines."""

    def __init__(self, angle: float = 0.0) -> None:
        c, s = np.cos(angle), np.sin(angle)
        self.turn = np.array([[c, -s], [s, c]])
        self.matrix = self.turn @ np.diag([1.0, -1.0]) @ self.turn.T

    def velocity(self, f, c, t):
        return self.matrix @ f

    def jvp(self, f, c, t, df, dc):
        return self.matrix @ df


def drawn(figure, gid: str) -> list[np.ndarray]:
    """The lines and contours of that name: (2, points) each."""
    axes = figure.axes[0]
    found = [np.array(line.get_data()) for line in axes.lines if line.get_gid() == gid]
    for contours in axes.collections:
        if contours.get_gid() == gid:
            found += [
                piece.T
                for path in contours.get_paths()
                for piece in path.to_polygons(closed_only=False)
            ]
    return found


@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_the_separatrices_of_a_linear_saddle_are_its_eigenvectors(angle: float):
    network, box = Planar(angle), (-1.0, 3.0, -2.0, 1.0)
    figure = phase_portrait(network, NeuralODE2(2, tanh).control(MESH), box, separatrices=True)
    for axis, name in enumerate(["unstable separatrix", "stable separatrix"]):
        branches = [network.turn.T @ path for path in drawn(figure, name)]
        assert len(branches) == 2
        for along in branches:
            np.testing.assert_allclose(along[1 - axis], 0.0, atol=1e-6)
            assert np.all(np.diff(np.abs(along[axis])) > 0)  # from the saddle outwards
            assert abs(along[axis, 0]) < 1e-3
        ends = np.array([network.turn @ along[:, -1] for along in branches])
        assert np.all((ends[:, 0] < -1) | (ends[:, 0] > 3) | (ends[:, 1] < -2) | (ends[:, 1] > 1))
        assert branches[0][axis, -1] * branches[1][axis, -1] < 0  # one to each side


def test_separatrices_connect_saddles_to_sinks_and_sources():
    figure = phase_portrait(
        Leaky(), NeuralODE2(2, tanh).control(MESH), (-2.5, 2.5, -3, 3), separatrices=True
    )
    r = Leaky.ROOT
    unstable, stable = drawn(figure, "unstable separatrix"), drawn(figure, "stable separatrix")
    assert (len(unstable), len(stable)) == (8, 8)
    for path in unstable:
        np.testing.assert_allclose(np.abs(path[:, -1]), [r, r], atol=1e-6)  # a sink
    to_source = [path for path in stable if np.max(np.abs(path[:, -1])) < 1e-6]
    assert len(to_source) == 4  # the others come from outside the box


def test_nullclines_solve_their_equation():
    network, control, weight = spiral()
    figure = phase_portrait(network, control, (-2, 2, -2, 2), nullclines=True)
    bias = control.at(0.0)["bias"]
    for unit in range(2):
        (curve,) = drawn(figure, f"nullcline of unit {unit}")
        other = 1 - unit  # solved for the other unit's state, which has the larger weight
        solved = np.arctanh(
            -(weight[unit, unit] * np.tanh(curve[unit]) + bias[unit]) / weight[unit, other]
        )
        np.testing.assert_allclose(curve[other], solved, atol=4e-3)
        assert np.ptp(curve[unit]) == pytest.approx(4.0)  # from side to side


def test_no_nullcline_in_the_box():
    network, control, _ = spiral()
    figure = phase_portrait(network, control, (1.5, 2, 1.5, 2), nullclines=True)
    assert drawn(figure, "nullcline of unit 0") == []
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["trajectories", "their starts"]


def test_level_sets_of_the_centre_contain_its_orbits():
    figure = centre()
    curves, orbits = drawn(figure, "level sets"), paths(figure)
    assert len(curves) == len(orbits) == 6
    for curve, orbit in zip(curves, orbits, strict=True):
        energy = np.log(np.cosh(curve)).sum(axis=0)
        np.testing.assert_allclose(energy, np.log(np.cosh(orbit[0, 0])), atol=1e-3)
        gaps = np.sqrt(((orbit[:, :, None] - curve[:, None, :]) ** 2).sum(axis=0)).min(axis=1)
        assert gaps.max() < 5.0 / 240  # the lattice's step


def test_layers_of_the_saddle():
    figure = saddle()
    for name, normal in (
        ("stable separatrix", [1, -1]),
        ("unstable separatrix", [1, 1]),
    ):  # diagonals, by symmetry
        assert len(drawn(figure, name)) == 2
        for path in drawn(figure, name):
            np.testing.assert_allclose(normal @ path, 0.0, atol=1e-5)
    for name, normal in (("nullcline of unit 0", [0.5, 1.0]), ("nullcline of unit 1", [1.0, 0.5])):
        (line,) = drawn(figure, name)
        np.testing.assert_allclose(normal @ line, 0.0, atol=1e-3)


def test_level_sets_need_a_number_per_state():
    network, control, _ = spiral()
    with pytest.raises(ValueError, match=r"level_sets\(state\) has shape"):
        phase_portrait(network, control, (-2, 2, -2, 2), level_sets=lambda f: f)


@pytest.mark.parametrize(
    ("order", "against", "factor"), [(1, "size", 0.25), (2, "size", 1 / 16), (2, "step", 16.0)]
)
def test_order_triangle(order: float, against, factor: float):
    _, axes = new_figure()
    axes[0, 0].loglog([8, 512], [1, 1e-4])
    triangle = order_triangle(axes[0, 0], (16, 64), 0.02, order, against=against)
    (x0, y0), (x1, y1), (x2, y2) = triangle.get_xy()[:3]
    assert (x0, x1, y0) == (16, 64, 0.02)
    assert y1 / y0 == pytest.approx(factor)
    assert x2 in (x0, x1)  # a right angle
    assert y2 == min(y0, y1)
    assert {text.get_text() for text in axes[0, 0].texts} == {"1", f"{order:g}"}
    for x, y in (((64, 16), 1.0), ((0, 16), 1.0), ((16, 64), -1.0)):
        with pytest.raises(ValueError, match="a triangle needs"):
            order_triangle(axes[0, 0], x, y, 1)


def test_convergence_plot():
    figure, axes = new_figure()
    ax = axes[0, 0]
    convergence_plot(
        ax,
        [32, 8, 16],
        [0.01, 0.04, 0.02],
        xlabel="layers",
        ylabel="error",
        order=1,
        label="Euler",
        floor=1e-5,
    )
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [8, 16, 32])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [0.04, 0.02, 0.01])
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert ax.get_xlabel() == "layers"
    corners = ax.patches[0].get_xy()
    assert corners[1, 1] / corners[0, 1] == pytest.approx((corners[1, 0] / corners[0, 0]) ** -1)
    assert np.all(corners[:2, 1] < 0.32 / corners[:2, 0])  # under the errors 0.32 / size
    figure.draw_without_rendering()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["8", "16", "32"]
    far = [text.get_text() for text in ax.get_legend().get_texts()]
    assert far == ["Euler", "error of the reference: 1e-05"]
    assert min(line.get_ydata().min() for line in ax.lines if len(line.get_ydata())) == 0.01
    for sizes, errors in (([1], [1]), ([1, 2], [1, 0]), ([1, 2], [1, np.nan]), ([1, 2, 3], [1, 2])):
        with pytest.raises(ValueError, match="sizes and errors must be"):
            convergence_plot(ax, sizes, errors, xlabel="", ylabel="")


def test_figures_leave_no_global_state(tmp_path: Path):
    before = dict(matplotlib.rcParams)
    figure, axes = new_figure()
    assert axes[0, 0].plot([0, 1])[0].get_color() == OKABE_ITO[0]
    save_png(figure, tmp_path / "a")
    assert (tmp_path / "a").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


def test_labels_of_a_figure_without_a_layout_are_not_cut(tmp_path: Path):
    widths = []
    for pad in (0, 200):
        figure = Figure(figsize=(3.0, 2.0))
        figure.subplots().set_ylabel("distance from the limit", labelpad=pad)
        save_png(figure, tmp_path / "picture.png")
        widths.append(pyplot.imread(tmp_path / "picture.png").shape[1])
    assert widths[1] - widths[0] == pytest.approx(200 / 72 * 150, abs=2)  # points, dots per inch
