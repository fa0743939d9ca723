"""Phase portraits of planar networks: the velocity as a stream, trajectories, and equilibria by their kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from continuum import (
    Circle,
    Control,
    FunctionControl,
    Interval,
    LowRank,
    Network,
    NeuralODE2,
    TimeMesh,
    WidthDepth,
    midpoint,
    periodic,
    tanh,
)
from continuum.checks import check_array, check_count
from solvers import DormandPrince, exact_reduction, integrate

from .figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure, styled
from .portrait_layers import Box, draw_level_sets, draw_nullclines, draw_separatrices, lattice, linearized

_MARKERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "sink": ("o", BLUE),
        "spiral sink": ("h", SKY),
        "source": ("s", VERMILION),
        "spiral source": ("D", ORANGE),
        "saddle": ("X", PURPLE),
        "centre": ("P", GREEN),
        "degenerate": ("*", BLACK),
    }
)


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """A point of the plane where the velocity vanishes.

    point : (2,); eigenvalues : (2,) complex, of the Jacobian there
    kind : sink, source (real eigenvalues), spiral sink, spiral source, saddle, centre (imaginary eigenvalues: the
        linearization's centre, which does not decide the nonlinear one), degenerate (an eigenvalue 0)
    """

    point: np.ndarray
    eigenvalues: np.ndarray
    kind: str


def equilibria(
    network: Network, control: Control | FunctionControl, box: Box, *, time: float = 0.0, starts: int = 15
) -> list[Equilibrium]:
    """The isolated equilibria in a box of the field frozen at `time`, sorted by their coordinates.

    Newton's method with steps no longer than a quarter of the box, from starts x starts points: it can miss
    one whose basin is smaller than their distance.  Where equilibria fill a curve it gives points of it, "degenerate".
    raises ValueError for a network that is not planar or an empty box
    """
    _check_planar(network, control)
    left, right, low, high = _check_box(box)
    check_count("starts", starts, 2)
    values = control.at(time)
    size = np.array([[right - left], [high - low]])
    corner = np.array([[left], [low]])
    x = lattice(box, starts)
    fastest = float(np.max(np.abs(network.velocity(x, values, time))))
    for _ in range(60):
        speed, jacobian = linearized(network, values, time, x)
        usable = np.abs(np.linalg.det(jacobian)) > 1e-14 * np.max(np.abs(jacobian), axis=(1, 2)) ** 2
        step = np.zeros_like(x)
        step[:, usable] = -np.linalg.solve(jacobian[usable], speed.T[usable][..., None])[..., 0].T
        longest = np.max(np.abs(step) / (0.25 * size), axis=0)
        x = x + step / np.maximum(longest, 1.0)
        x = np.clip(x, corner - size, corner + 2.0 * size)
    speed, jacobian = linearized(network, values, time, x)
    inside = np.all((x >= corner - 1e-9 * size) & (x <= corner + (1.0 + 1e-9) * size), axis=0)
    solved = np.max(np.abs(speed), axis=0) <= 1e-10 * max(fastest, 1e-300)
    found: list[Equilibrium] = []
    for m in np.flatnonzero(inside & solved):
        if all(np.max(np.abs(x[:, m] - e.point) / size[:, 0]) > 1e-6 for e in found):
            eigenvalues = np.linalg.eigvals(jacobian[m]).astype(complex)
            found.append(Equilibrium(x[:, m].copy(), eigenvalues, classify(eigenvalues)))
    return sorted(found, key=lambda e: tuple(np.round(e.point, 9)))


def classify(eigenvalues: np.ndarray) -> str:
    """The kind of a planar equilibrium from the eigenvalues of its Jacobian; parts below 1e-8 of the largest are 0."""
    small = 1e-8 * float(np.max(np.abs(eigenvalues)))
    real, spiral = np.real(eigenvalues), bool(np.max(np.abs(np.imag(eigenvalues))) > small)
    if np.min(np.abs(eigenvalues)) <= small:
        return "degenerate"
    if spiral and np.max(np.abs(real)) <= small:
        return "centre"
    if np.prod(np.sign(real)) < 0:
        return "saddle"
    return ("spiral " if spiral else "") + ("sink" if real[0] < 0 else "source")


def phase_portrait(
    network: Network,
    control: Control | FunctionControl,
    box: Box,
    *,
    time: float = 0.0,
    starts: np.ndarray | None = None,
    horizon: float | None = None,
    nullclines: bool = False,
    separatrices: bool = False,
    level_sets: Callable[[np.ndarray], np.ndarray] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """The phase portrait of a network with two units: stream plot, trajectories from `starts`, equilibria by kind.

    Stream, equilibria and all layers belong to the field frozen at `time`; trajectories run from t = 0 under the
    control itself.

    box : (xmin, xmax, ymin, ymax)
    starts : (2, M), one column per trajectory; None for eight on an ellipse in the box
    horizon : how far trajectories are drawn, at most and by default control.mesh.horizon
    nullclines : also the curves where one unit is at rest
    separatrices : also the stable and unstable manifolds of the saddles, as far as the box shows them
    level_sets : a function of the state, (2, M) -> (M,), a Lyapunov function for one: its level sets through `starts`
    ax : where to draw; None for a new figure
    returns the figure drawn on
    raises ValueError for a network that is not planar, an empty box, starts of another shape, a time or horizon
        outside the control's, level_sets without a finite number per state; SolveError if a trajectory cannot be
        computed
    """
    _check_planar(network, control)
    left, right, low, high = _check_box(box)
    longest = control.mesh.horizon
    if not 0.0 <= time <= longest:
        raise ValueError(f"time must be in [0, {longest:g}], the control's horizon, got {time}")
    if horizon is None:
        horizon = longest
    if not 0.0 < horizon <= longest:
        raise ValueError(f"horizon must be in (0, {longest:g}], the control's own, got {horizon}")
    if starts is None:
        angles = 2.0 * np.pi * np.arange(8) / 8.0 + 0.3
        starts = np.stack(
            [
                (left + right + 0.85 * (right - left) * np.cos(angles)) / 2,
                (low + high + 0.85 * (high - low) * np.sin(angles)) / 2,
            ]
        )
    starts = check_array("starts", starts, (2, "M"))
    target: Axes = new_figure(width=6.4, height=5.8)[1][0, 0] if ax is None else ax
    with styled():
        if level_sets is not None:
            draw_level_sets(target, level_sets, starts, box)
        if nullclines:
            draw_nullclines(target, lambda x: network.velocity(x, control.at(time), time), box)
        return _draw(network, control, box, time, starts, horizon, separatrices, target)


def _draw(
    network: Network,
    control: Control | FunctionControl,
    box: Box,
    time: float,
    starts: np.ndarray,
    horizon: float,
    separatrices: bool,
    ax: Axes,
) -> Figure:
    left, right, low, high = box
    figure = ax.get_figure(root=True)
    if not isinstance(figure, Figure):
        raise ValueError("ax must belong to a figure")

    x, y = np.linspace(left, right, 41), np.linspace(low, high, 41)
    states = np.stack([np.tile(x, len(y)), np.repeat(y, len(x))])
    u, v = network.velocity(states, control.at(time), time).reshape(2, len(y), len(x))
    ax.streamplot(x, y, u, v, color="#B0B0B0", linewidth=0.7, density=1.2, arrowsize=0.8)

    times = np.linspace(0.0, horizon, 401)
    flow = integrate(network, control, starts, DormandPrince(rtol=1e-8, atol=1e-10), save=times)
    paths = flow.trajectory.states
    for m in range(starts.shape[1]):
        ax.plot(paths[:, 0, m], paths[:, 1, m], color=BLACK, linewidth=1.3, label="trajectories" if m == 0 else None)
    ax.plot(starts[0], starts[1], ".", color=BLACK, markersize=6, label="their starts")

    found = equilibria(network, control, box, time=time)
    if separatrices:
        saddles = [equilibrium.point for equilibrium in found if equilibrium.kind == "saddle"]
        draw_separatrices(ax, network, control.at(time), time, saddles, box)
    named: set[str] = set()
    for equilibrium in found:
        marker, color = _MARKERS[equilibrium.kind]
        ax.plot(
            *equilibrium.point, marker, color=color, markersize=11, markeredgecolor="white", linestyle="none",
            label=None if equilibrium.kind in named else equilibrium.kind, zorder=5, clip_on=False,
        )  # fmt: skip
        named.add(equilibrium.kind)
    ax.set_xlim(left, right)
    ax.set_ylim(low, high)
    ax.set_xlabel("state of unit 1")
    ax.set_ylabel("state of unit 2")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)
    return figure


def portraits() -> Mapping[str, Callable[[], Figure]]:
    """The example portraits that `continuum portrait NAME` draws, by name."""
    return MappingProxyType({"saddle": saddle, "centre": centre, "spiral_sink": spiral_sink, "wide_ring": wide_ring})


def saddle() -> Figure:
    """Two units of Liu and Markowich's network that inhibit each other more than themselves: a saddle at 0.

    f' = tanh(-B f), B = ((1/2, 1), (1, 1/2)), with eigenvalues 3/2 and -1/2.  tanh vanishes at 0 only, so
    equilibria solve the linear equation B f = a: a regular B has exactly one.
    """
    network, control = _two_nodes(np.array([[0.5, 1.0], [1.0, 0.5]]), horizon=6.0)
    box = (-2.0, 2.0, -2.0, 2.0)
    figure = phase_portrait(network, control, box, nullclines=True, separatrices=True)
    figure.axes[0].set_title("f' = tanh(−B f), B symmetric and indefinite")
    return figure


def centre() -> Figure:
    """Two units of Liu and Markowich's network with an antisymmetric kernel: closed orbits.

    f' = tanh(-B f), B = ((0, 1), (-1, 0)): the sum of log cosh f_i is conserved.
    """
    network, control = _two_nodes(np.array([[0.0, 1.0], [-1.0, 0.0]]), horizon=14.0)
    radii = np.linspace(0.3, 1.9, 6)
    figure = phase_portrait(
        network, control, (-2.5, 2.5, -2.5, 2.5), starts=np.stack([radii, np.zeros(6)]),
        level_sets=lambda f: np.log(np.cosh(f)).sum(axis=0),
    )  # fmt: skip
    figure.axes[0].set_title("f' = tanh(−B f), B antisymmetric")
    return figure


def spiral_sink() -> Figure:
    """The planar network x' = w tanh(x) + b with a spiral sink where tanh(x) = -w^-1 b = (0.4, -0.2)."""
    network = NeuralODE2(2, tanh)
    weight = np.array([[-0.5, -1.5], [1.5, -0.5]])
    bias = -weight @ np.array([0.4, -0.2])
    control = network.control(TimeMesh(12.0, 1), weight=weight, bias=bias)
    figure = phase_portrait(network, control, (-2.0, 2.0, -2.0, 2.0))
    figure.axes[0].set_title("x' = w tanh(x) + b")
    return figure


def wide_ring() -> Figure:
    """Sixty-four units on a circle, drawn in the plane to which a kernel of rank two reduces them exactly.

    f' = tanh(a - int b f), b = cos(y - z) + 0.8 sin(y - z), a = 0.6 sin y; coordinates (cos, f), (sin, f).
    """
    network = WidthDepth(periodic(Circle(), 64), tanh, LowRank(2))
    left = (lambda y: np.cos(y) + 0.8 * np.sin(y), lambda y: np.sin(y) - 0.8 * np.cos(y))
    control = network.control(TimeMesh(6.0, 1), bias=lambda y: 0.6 * np.sin(y), kernel=(left, (np.cos, np.sin)))
    reduction = exact_reduction(network, control)
    figure = phase_portrait(reduction.network, reduction.control, (-2.0, 2.0, -2.0, 2.0))
    figure.axes[0].set_title("64 units on a ring, kernel of rank two")
    figure.axes[0].set_xlabel("coordinate $(\\cos y, f)$")
    figure.axes[0].set_ylabel("coordinate $(\\sin y, f)$")
    return figure


def _two_nodes(matrix: np.ndarray, horizon: float) -> tuple[WidthDepth, FunctionControl]:
    """The two-node network whose operator B is `matrix`: the kernel is B over the weights, 1/2 each."""
    network = WidthDepth(midpoint(Interval(0, 1), 2), tanh)
    return network, network.control(TimeMesh(horizon, 1), bias=np.zeros(2), kernel=matrix / network.weights)


def _check_planar(network: Network, control: Control | FunctionControl) -> None:
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {network!r}")
    if not isinstance(control, Control | FunctionControl):
        raise TypeError(f"control must come from network.control or a ControlSpace, got {control!r}")
    if len(network.weights) != 2:
        raise ValueError(f"a phase portrait needs a network with 2 units, got {len(network.weights)}")


def _check_box(box: Box) -> Box:
    if len(box) != 4 or not np.all(np.isfinite(box)) or not (box[0] < box[1] and box[2] < box[3]):
        raise ValueError(f"box must be (xmin, xmax, ymin, ymax) with xmin < xmax and ymin < ymax, got {box!r}")
    return box
