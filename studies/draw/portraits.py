"""Phase portraits of planar networks: the velocity as a stream, trajectories, and equilibria by
their kind.
"""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from continuum import (
    Control,
    FunctionControl,
    Network,
)
from continuum.checks import check_array
from continuum.doors import checked
from solvers.planar.fields import (
    Box,
    check_box,
    check_planar,
    check_times,
    equilibria,
    frozen_paths,
    is_moving,
    lattice,
)

from .figures import BLACK, axes_for, draw_legend, styled
from .portrait_layers import (
    draw_level_sets,
    draw_nullclines,
    draw_points,
    draw_separatrices,
    say_frozen,
)


@checked
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
    legend: bool = True,
) -> Figure:
    """The phase portrait of a network with two units: stream plot, trajectories from `starts`,
    equilibria by kind.

    All of it belongs to the field frozen at `time`, which the picture says where the field moves:
    `integrate` gives the runs under the control itself.

    box : (xmin, xmax, ymin, ymax)
    starts : (2, M), one column per trajectory; None for eight on an ellipse in the box
    horizon : for how long trajectories are drawn, at most and by default control.mesh.horizon
    nullclines : also the curves where one unit is at rest
    separatrices : also the stable and unstable manifolds of the saddles, as far as the box shows
        them
    level_sets : a function of the state, (2, M) -> (M,), a Lyapunov function for one: its level
        sets through `starts`
    ax : where to draw, the legend inside it; None for a new figure, with the legend below
    legend : False leaves it out
    returns the figure drawn on
    raises ValueError for a network that is not planar, an empty box, starts of another shape, a
        time or horizon outside the control's, level_sets without a finite number per state, a
        trajectory that does not stay finite; TypeError for an ax that is none
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
    figure, target = axes_for(ax, width=6.4, height=5.8)
    with styled():
        if level_sets is not None:
            draw_level_sets(target, level_sets, starts, box)
        if nullclines:
            draw_nullclines(target, lambda x: network.velocity(x, control.at(time), time), box)
        _draw(network, control, box, time, starts, horizon, separatrices, target)
        draw_legend(target, legend, ax is not None, corner=True)
    return figure


def _draw(
    network: Network,
    control: Control | FunctionControl,
    box: Box,
    time: float,
    starts: np.ndarray,
    horizon: float,
    separatrices: bool,
    ax: Axes,
) -> None:
    left, right, low, high = box
    x, y = np.linspace(left, right, 41), np.linspace(low, high, 41)
    states = np.stack([np.tile(x, len(y)), np.repeat(y, len(x))])
    u, v = network.velocity(states, control.at(time), time).reshape(2, len(y), len(x))
    ax.streamplot(x, y, u, v, color="#B0B0B0", linewidth=0.7, density=1.2, arrowsize=0.8)

    times = np.linspace(0.0, horizon, 401)
    paths = frozen_paths(network, control.at(time), time, starts, times)
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
    ax.set_xlabel("state of unit 0")
    ax.set_ylabel("state of unit 1")
    if 0.5 <= (right - left) / (high - low) <= 2.0:
        ax.set_aspect("equal")  # angles are seen as they are
    if is_moving(network, control, lattice(box, 3), time):
        say_frozen(ax, time)
