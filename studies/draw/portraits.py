"""Phase portraits of planar networks: the velocity as a stream, trajectories, and equilibria by
their kind.
"""

from collections.abc import Callable, Mapping
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
    relu,
    tanh,
)
from continuum.checks import check_array
from continuum.exact import TwoModeRing
from solvers import DormandPrince, exact_reduction, integrate
from solvers.planar.fields import Box, check_box, check_planar, check_times, equilibria

from .disc import poincare_disc
from .figures import BLACK, new_figure, styled
from .portrait_layers import draw_level_sets, draw_nullclines, draw_points, draw_separatrices


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
    """The phase portrait of a network with two units: stream plot, trajectories from `starts`,
    equilibria by kind.

    Stream, equilibria and all layers belong to the field frozen at `time`; trajectories run from t
    = 0 under the control itself.

    box : (xmin, xmax, ymin, ymax)
    starts : (2, M), one column per trajectory; None for eight on an ellipse in the box
    horizon : how far trajectories are drawn, at most and by default control.mesh.horizon
    nullclines : also the curves where one unit is at rest
    separatrices : also the stable and unstable manifolds of the saddles, as far as the box shows
        them
    level_sets : a function of the state, (2, M) -> (M,), a Lyapunov function for one: its level
        sets through `starts`
    ax : where to draw; None for a new figure
    returns the figure drawn on
    raises ValueError for a network that is not planar, an empty box, starts of another shape, a
        time or horizon outside the control's, level_sets without a finite number per state;
        SolveError if a trajectory cannot be computed
    """
    check_planar("a phase portrait", network, control)
    left, right, low, high = check_box(box)
    horizon = check_times(control, time, horizon)
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
        ax.plot(
            paths[:, 0, m],
            paths[:, 1, m],
            color=BLACK,
            linewidth=1.3,
            label="trajectories" if m == 0 else None,
        )
    ax.plot(starts[0], starts[1], ".", color=BLACK, markersize=6, label="their starts")

    found = equilibria(network, control, box, time=time)
    if separatrices:
        saddles = [equilibrium.point for equilibrium in found if equilibrium.kind == "saddle"]
        draw_separatrices(ax, network, control.at(time), time, saddles, box)
    draw_points(ax, [(e.point, e.kind) for e in found])
    ax.set_xlim(left, right)
    ax.set_ylim(low, high)
    ax.set_xlabel("state of unit 1")
    ax.set_ylabel("state of unit 2")
    if 0.5 <= (right - left) / (high - low) <= 2.0:
        ax.set_aspect("equal")  # angles are seen as they are
    entries = len(ax.get_legend_handles_labels()[1])
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=4 if entries <= 4 else 3,
        columnspacing=1.4,
    )
    return figure


def portraits() -> Mapping[str, Callable[[], Figure]]:
    """The example portraits that `continuum portrait NAME` draws, by name."""
    return MappingProxyType(
        {
            "saddle": saddle,
            "saddle_disc": saddle_disc,
            "centre": centre,
            "spiral_sink": spiral_sink,
            "wide_ring": wide_ring,
            "selection_disc": selection_disc,
            "relu_disc": relu_disc,
        }
    )


def saddle() -> Figure:
    """Two units of Liu and Markowich's network that inhibit each other more than themselves: a
    saddle at 0.

    f' = tanh(-B f), B = ((1/2, 1), (1, 1/2)), with eigenvalues 3/2 and -1/2.  tanh vanishes at 0
    only, so equilibria solve the linear equation B f = a: a regular B has exactly one.
    """
    network, control = _two_nodes(np.array([[0.5, 1.0], [1.0, 0.5]]), horizon=6.0)
    box = (-2.0, 2.0, -2.0, 2.0)
    figure = phase_portrait(network, control, box, nullclines=True, separatrices=True)
    figure.axes[0].set_title("f' = tanh(−B f), B symmetric and indefinite")
    return figure


def saddle_disc() -> Figure:
    """The network of `saddle` on the whole plane: where its separatrices come from and go to.

    Far out f' is (+-1, +-1), so orbits come from infinity along +-(1, 1) only and go there along
    +-(1, -1) only.
    """
    network, control = _two_nodes(np.array([[0.5, 1.0], [1.0, 0.5]]), horizon=12.0)
    figure = poincare_disc(network, control, separatrices=True)
    figure.axes[0].set_title("f' = tanh(−B f), B symmetric and indefinite")
    return figure


def centre() -> Figure:
    """Two units of Liu and Markowich's network with an antisymmetric kernel: closed orbits.

    f' = tanh(-B f), B = ((0, 1), (-1, 0)): the sum of log cosh f_i is conserved.
    """
    network, control = _two_nodes(np.array([[0.0, 1.0], [-1.0, 0.0]]), horizon=14.0)
    radii = np.linspace(0.3, 1.9, 6)
    figure = phase_portrait(
        network,
        control,
        (-2.5, 2.5, -2.5, 2.5),
        starts=np.stack([radii, np.zeros(6)]),
        level_sets=lambda f: np.log(np.cosh(f)).sum(axis=0),
    )
    figure.axes[0].set_title("f' = tanh(−B f), B antisymmetric")
    return figure


def spiral_sink() -> Figure:
    """The planar network x' = w tanh(x) + b with a spiral sink where tanh(x) = -w^-1 b = (0.4,
    -0.2).
    """
    network = NeuralODE2(2, tanh)
    weight = np.array([[-0.5, -1.5], [1.5, -0.5]])
    bias = -weight @ np.array([0.4, -0.2])
    control = network.control(TimeMesh(12.0, 1), weight=weight, bias=bias)
    figure = phase_portrait(network, control, (-2.0, 2.0, -2.0, 2.0))
    figure.axes[0].set_title("x' = w tanh(x) + b")
    return figure


def wide_ring() -> Figure:
    """Sixty-four units on a circle, drawn in the plane to which a kernel of rank two reduces them
    exactly.

    f' = tanh(a - int b f), b = cos(y - z) + 0.8 sin(y - z), a = 0.6 sin y; coordinates (cos, f),
    (sin, f).
    """
    network = WidthDepth(periodic(Circle(), 64), tanh, LowRank(2))
    left = (lambda y: np.cos(y) + 0.8 * np.sin(y), lambda y: np.sin(y) - 0.8 * np.cos(y))
    control = network.control(
        TimeMesh(6.0, 1), bias=lambda y: 0.6 * np.sin(y), kernel=(left, (np.cos, np.sin))
    )
    reduction = exact_reduction(network, control)
    figure = phase_portrait(reduction.network, reduction.control, (-2.0, 2.0, -2.0, 2.0))
    figure.axes[0].set_title("64 units on a ring, kernel of rank two")
    figure.axes[0].set_xlabel("coordinate $(\\cos y, f)$")
    figure.axes[0].set_ylabel("coordinate $(\\sin y, f)$")
    return figure


def selection_disc() -> Figure:
    """Two modes on a ring compete, seen in the whole plane of even functions: one wins, and which
    the start decides.

    f_t = tanh( int (beta1 cos(y - z) + beta2 cos 2(y - z)) f(z) dz ), beta1 = 0.5, beta2 = 0.4;
    coordinates (cos, f) and (cos 2., f).  For 1/2 < beta2/beta1 < 1 the four axes are sinks at
    infinity; the basins' boundaries come from 0, a source, and end in four saddles at infinity.
    """
    network, control = selection()
    figure = poincare_disc(network, control, scale=2.0, radius=300.0, separatrices=True)
    figure.axes[0].set_title("two modes on a ring: one is selected")
    figure.axes[0].set_xlabel(figure.axes[0].get_xlabel() + ",  $x_1 = (\\cos y, f)$")
    figure.axes[0].set_ylabel(figure.axes[0].get_ylabel() + ",  $x_2 = (\\cos 2y, f)$")
    return figure


def selection(
    beta1: float = 0.5, beta2: float = 0.4, nodes: int = 2048, horizon: float = 12.0
) -> tuple[Network, FunctionControl]:
    """The plane in which the even functions of a ring with kernel -beta1 cos(y - z) - beta2 cos 2(y
    - z) move.

    On even functions the kernel is -(beta1 cos y cos z + beta2 cos 2y cos 2z), of rank two;
    `exact_reduction` does the rest.  The nodes must be many more than the radius looked at: farther
    out the sum over the nodes is a step function of the direction and pins orbits at its steps,
    which an integral does not.
    """
    ring = WidthDepth(periodic(Circle(), nodes), tanh, LowRank(2))
    control = ring.control(TimeMesh(horizon, 1), kernel=TwoModeRing(beta1, beta2).factors())
    reduction = exact_reduction(ring, control)
    return reduction.network, reduction.control


def relu_disc() -> Figure:
    """x' = w relu(x) + b grows linearly: one way out to infinity, and a quarter of the circle at
    rest.

    w = ((0, 1), (1, 0)), b = (-1, -1): where both states are negative the field is constant, which
    is nothing compared with |x|.
    """
    network = NeuralODE2(2, relu)
    control = network.control(
        TimeMesh(6.0, 1), weight=np.array([[0.0, 1.0], [1.0, 0.0]]), bias=-np.ones(2)
    )
    figure = poincare_disc(network, control, scale=2.0, separatrices=True)
    figure.axes[0].set_title("x' = w relu(x) + b")
    return figure


def _two_nodes(matrix: np.ndarray, horizon: float) -> tuple[WidthDepth, FunctionControl]:
    """The two-node network whose operator B is `matrix`: the kernel is B over the weights, 1/2
    each.
    """
    network = WidthDepth(midpoint(Interval(0, 1), 2), tanh)
    return network, network.control(
        TimeMesh(horizon, 1), bias=np.zeros(2), kernel=matrix / network.weights
    )
