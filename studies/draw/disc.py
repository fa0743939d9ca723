"""The portrait of a planar network on Poincare's disc, infinity included."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from continuum import Control, FunctionControl, Network
from continuum.checks import check_array, check_positive
from continuum.doors import checked
from solvers.planar.fields import (
    Box,
    check_planar,
    check_times,
    deflated_newton,
    frozen_paths,
    is_moving,
)
from solvers.planar.infinity import (
    PointAtInfinity,
    even_directions,
    field_at_infinity,
    from_disc,
    points_at_infinity,
    tangential_speed,
    to_disc,
)
from solvers.planar.separatrices import manifold_from_infinity, manifolds

from .figures import BLACK, BLUE, VERMILION, axes_for, draw_legend, styled
from .portrait_layers import draw_points, say_frozen

# in units of the scale: where equilibria are looked for, how far separatrices go
_WINDOW, _WIDE = 30.0, 1000.0


@checked
def poincare_disc(
    network: Network,
    control: Control | FunctionControl,
    *,
    scale: float = 1.0,
    time: float = 0.0,
    starts: np.ndarray | None = None,
    horizon: float | None = None,
    radius: float | None = None,
    separatrices: bool = False,
    ax: Axes | None = None,
    legend: bool = True,
) -> Figure:
    """The whole plane as the unit disc, xi = z / sqrt(1 + |z|^2), z = x / scale; its circle is
    infinity.

    The stream is that of V - (xi . V) xi, the pushed-forward field over sqrt(1 - |xi|^2) / scale,
    tangent to the circle.  All of it belongs to the field frozen at `time`, which the picture says
    where the field moves.  Finite equilibria are looked for in |x_i| <= 30 scale, from starts that
    are even on the disc.

    scale : |x| that is drawn at 1/sqrt(2) of the radius
    starts : (2, M), one column per trajectory, in the plane; None for eight on the circle |x| = 0.6
        scale
    horizon : for how long trajectories are drawn, at most and by default control.mesh.horizon
    radius : as in `points_at_infinity`, which see for wide networks
    separatrices : also the stable and unstable manifolds of the saddles, finite and at infinity
    ax : where to draw, the legend inside it; None for a new figure, with the legend below
    legend : False leaves it out
    returns the figure drawn on
    raises ValueError for a network that is not planar, scale <= 0, starts of another shape, a time
        or horizon outside the control's, what points_at_infinity refuses, and a trajectory that
        does not stay finite; TypeError for an ax that is none
    """
    check_planar("a Poincare disc", network, control)
    check_positive("scale", scale)
    horizon = check_times(control, time, horizon)
    if starts is None:
        angles = 2.0 * np.pi * np.arange(8) / 8.0 + 0.3
        starts = 0.6 * scale * np.stack([np.cos(angles), np.sin(angles)])
    starts = check_array("starts", starts, (2, "M"))
    far = points_at_infinity(network, control, time=time, radius=radius)
    values = control.at(time)
    figure, target = axes_for(ax, width=6.4, height=6.6)

    with styled():
        _draw_stream(target, lambda x: network.velocity(x, values, time), scale)
        times = np.linspace(0.0, horizon, 801)
        paths = frozen_paths(network, values, time, starts, times)
        for m, path in enumerate(np.moveaxis(paths, 2, 0)):
            label = "trajectories" if m == 0 else None
            target.plot(
                *to_disc(path.T, scale), color=BLACK, linewidth=1.3, label=label, gid="trajectory"
            )
        target.plot(*to_disc(starts, scale), ".", color=BLACK, markersize=6, label="their starts")

        box: Box = (-_WINDOW * scale, _WINDOW * scale, -_WINDOW * scale, _WINDOW * scale)
        found = deflated_newton(network, values, time, _even_starts(scale), box)
        if separatrices:
            wide: Box = (-_WIDE * scale, _WIDE * scale, -_WIDE * scale, _WIDE * scale)
            saddle = [e.point for e in found if e.kind == "saddle"]
            finite = [
                manifolds(network, values, time, point, wide, beside=1e-6) for point in saddle
            ]
            paths = [branch for branches in finite for branch in branches]
            rest = [e.point for e in found]
            ends = [p for p in far if p.kind == "saddle at infinity"]
            paths += [manifold_from_infinity(network, values, time, p, rest, scale) for p in ends]
            _draw_separatrices(target, paths, scale)
        limit, _ = field_at_infinity(network, values, time, radius)
        _draw_circle(target, limit, far)
        points = [(to_disc(e.point[:, None], scale)[:, 0], e.kind) for e in found]
        isolated = [p for p in far if p.arc[0] == p.arc[1]]
        draw_points(
            target,
            points + [(np.array([np.cos(p.angle), np.sin(p.angle)]), p.kind) for p in isolated],
        )
        _finish(target, scale)
        if is_moving(network, control, starts, time):
            say_frozen(target, time)
        draw_legend(target, legend, ax is not None, corner=True)
    return figure


def _even_starts(scale: float) -> np.ndarray:
    """States (2, M) from the centre outward, even on the disc."""
    r, angle = np.meshgrid(np.linspace(0.1, 0.98, 9), even_directions(24))
    return np.column_stack(
        [
            np.zeros((2, 1)),
            from_disc(np.stack([r * np.cos(angle), r * np.sin(angle)]).reshape(2, -1), scale),
        ]
    )


def _draw_stream(ax: Axes, velocity: Callable[[np.ndarray], np.ndarray], scale: float) -> None:
    """Stream lines of V - (xi . V) xi over |V| inside the circle."""
    x = np.linspace(-1.0, 1.0, 121)
    xi = np.stack([np.tile(x, len(x)), np.repeat(x, len(x))])
    inside = np.sum(xi**2, axis=0) < 0.985**2
    field = np.full(xi.shape, np.nan)
    v = velocity(from_disc(xi[:, inside], scale))
    v = v - np.sum(xi[:, inside] * v, axis=0) * xi[:, inside]
    field[:, inside] = v / np.maximum(np.sqrt(np.sum(v**2, axis=0)), 1e-300)
    u, w = np.ma.masked_invalid(field).reshape(2, len(x), len(x))
    ax.streamplot(x, x, u, w, color="#B0B0B0", linewidth=0.7, density=1.3, arrowsize=0.8)


def _draw_separatrices(ax: Axes, paths: Sequence[tuple[bool, np.ndarray]], scale: float) -> None:
    named: set[bool] = set()
    for stable, path in paths:
        name = "stable separatrix" if stable else "unstable separatrix"
        ax.plot(
            *to_disc(path, scale),
            color=BLUE if stable else VERMILION,
            linewidth=2.4,
            zorder=3,
            gid=name,
            label=None if stable in named else name,
        )
        named.add(stable)


def _draw_circle(
    ax: Axes, limit: Callable[[np.ndarray], np.ndarray], points: Sequence[PointAtInfinity]
) -> None:
    """The circle, its arcs at rest, and an arrow between any two points in the direction of g."""
    round_ = np.linspace(0.0, 2.0 * np.pi, 721)
    ax.plot(
        np.cos(round_),
        np.sin(round_),
        color=BLACK,
        linewidth=1.2,
        gid="infinity",
        zorder=4,
        clip_on=False,
    )
    arcs = [p.arc for p in points if p.arc[1] > p.arc[0]]
    for k, (first, last) in enumerate(arcs):
        along = np.linspace(first, last, 181)
        ax.plot(
            np.cos(along),
            np.sin(along),
            color=BLACK,
            linewidth=5.0,
            gid="at rest",
            zorder=4,
            clip_on=False,
            solid_capstyle="butt",
            label="infinity at rest" if k == 0 else None,
        )
    if points:
        ends = [p.arc[1] for p in points]
        begins = [p.arc[0] for p in points[1:]] + [points[0].arc[0] + 2.0 * np.pi]
        middles = [0.5 * (a + b) for a, b in zip(ends, begins, strict=True) if b - a > 0.1]
    else:
        middles = list(np.arange(8) * np.pi / 4.0)
    for angle in middles:
        direction = np.sign(tangential_speed(limit, np.array([angle]))[0])
        ax.plot(
            np.cos(angle),
            np.sin(angle),
            marker=(3, 0, np.degrees(angle) + (0.0 if direction > 0 else 180.0)),
            markersize=9,
            color=BLACK,
            linestyle="none",
            zorder=5,
            clip_on=False,
            gid="arrow at infinity",
        )


def _finish(ax: Axes, scale: float) -> None:
    ax.set_aspect("equal")
    ax.set_xlim(-1.03, 1.03)
    ax.set_ylim(-1.03, 1.03)
    for spine in ax.spines.values():
        spine.set_visible(False)
    for axis, label in ((ax.xaxis, 1), (ax.yaxis, 2)):
        axis.set_ticks([-1.0, -0.5, 0.0, 0.5, 1.0])
        axis.set_label_text(rf"$\xi_{label} = x_{label}\,/\,\sqrt{{{scale**2:g} + |x|^2}}$")
