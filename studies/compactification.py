"""Planar networks at infinity: Poincare's disc, and the directions in which orbits come from or go to infinity."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

from continuum import Control, FunctionControl, Network
from continuum.checks import check_array, check_positive
from solvers import DormandPrince, integrate

from .figures import BLACK, BLUE, VERMILION, new_figure, styled
from .planar import Box, check_planar, check_times, deflated_newton
from .portrait_layers import draw_points, manifolds

_SCAN = 4096
_BESIDE = 1e-10  # one-sided limits are read this far from a jump
_FAR = 1e14
_WINDOW, _WIDE = 30.0, 1000.0  # in units of the scale: where equilibria are looked for, how far separatrices go


@dataclass(frozen=True, eq=False)
class PointAtInfinity:
    """A direction e in which the angle of a far orbit is at rest.

    angle : of e, in [0, 2 pi);  radial : V_inf . e there, > 0 where orbits go out
    kind : "sink at infinity" (attracts along the circle, orbits go out), "source at infinity" (repels, orbits come
        in), "saddle at infinity" (the other two), "degenerate at infinity" (the circle's speed touches 0 without
        change of sign, or is 0 on an arc, or radial is 0)
    arc : where the circle is at rest, its first and last angle; both `angle` for an isolated point, whose length is 0
    """

    angle: float
    radial: float
    kind: str
    arc: tuple[float, float]


def points_at_infinity(
    network: Network, control: Control | FunctionControl, *, time: float = 0.0, radius: float = _FAR
) -> list[PointAtInfinity]:
    """Zeros of g(theta) = V_inf . e_perp, V_inf(theta) = lim V(R e) / R^d, of the field frozen at `time`, by angle.

    Far out theta' = R^(d-1) g and R' = R^d V_inf . e.  The growth d is 0 for bounded activations, 1 for relu and the
    identity.  Where V_inf jumps and g changes sign, radial is that of Filippov's combination of its two limits for
    which g = 0; so does the network itself where one preactivation changes sign, several only if in proportion.
    Found on 4096 directions, so two points nearer than 0.0015 may be missed; located to 1e-12, ends of arcs to 1e-6.
    Where g is at most 1e-12 of the largest speed on neighbouring directions it counts as 0 on an arc.

    radius : where the limit is read.  The default is infinity to rounding.  A wide network on N nodes seen from there
        is N separate jumps, which pin orbits in spurious directions O(1/N) beside the continuum's points; seen from
        1 << radius << N it looks like the continuum, whose points this gives to O(1 / radius^2)
    raises ValueError for a network that is not planar, a time outside the control's, radius < 100, a field that is
        0 or has no degree d there
    """
    check_planar("the behaviour at infinity", network, control)
    check_times(control, time, None)
    if check_positive("radius", radius) < 100.0:
        raise ValueError(f"radius must be at least 100, got {radius:g}")
    limit, unit = _at_infinity(network, control.at(time), time, radius)
    return [replace(p, radial=unit * p.radial) for p in _points(limit)]


def poincare_disc(
    network: Network,
    control: Control | FunctionControl,
    *,
    scale: float = 1.0,
    time: float = 0.0,
    starts: np.ndarray | None = None,
    horizon: float | None = None,
    radius: float = _FAR,
    separatrices: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """The whole plane as the unit disc, xi = z / sqrt(1 + |z|^2), z = x / scale; its circle is infinity.

    The stream is that of V - (xi . V) xi, the pushed-forward field over sqrt(1 - |xi|^2) / scale, tangent to the
    circle.  Stream, points and separatrices belong to the field frozen at `time`; trajectories run from t = 0 under
    the control itself.  Finite equilibria are looked for in |x_i| <= 30 scale, from starts that are even on the disc.

    scale : |x| that is drawn at 1/sqrt(2) of the radius
    starts : (2, M), one column per trajectory, in the plane; None for eight on the circle |x| = 0.6 scale
    horizon : how far trajectories are drawn, at most and by default control.mesh.horizon
    radius : as in `points_at_infinity`, which see for wide networks
    separatrices : also the stable and unstable manifolds of the saddles, finite and at infinity
    ax : where to draw; None for a new figure
    returns the figure drawn on
    raises ValueError for a network that is not planar, scale <= 0, starts of another shape, a time or horizon
        outside the control's, and what points_at_infinity refuses; SolveError if a trajectory cannot be computed
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
    target: Axes = new_figure(width=6.4, height=6.6)[1][0, 0] if ax is None else ax
    figure = target.get_figure(root=True)
    if not isinstance(figure, Figure):
        raise ValueError("ax must belong to a figure")

    with styled():
        _draw_stream(target, lambda x: network.velocity(x, values, time), scale)
        times = np.linspace(0.0, horizon, 801)
        flow = integrate(network, control, starts, DormandPrince(rtol=1e-8, atol=1e-10), save=times)
        for m, path in enumerate(np.moveaxis(flow.trajectory.states, 2, 0)):
            label = "trajectories" if m == 0 else None
            target.plot(*to_disc(path.T, scale), color=BLACK, linewidth=1.3, label=label, gid="trajectory")
        target.plot(*to_disc(starts, scale), ".", color=BLACK, markersize=6, label="their starts")

        box: Box = (-_WINDOW * scale, _WINDOW * scale, -_WINDOW * scale, _WINDOW * scale)
        found = deflated_newton(network, values, time, _even_starts(scale), box)
        if separatrices:
            wide: Box = (-_WIDE * scale, _WIDE * scale, -_WIDE * scale, _WIDE * scale)
            saddle = [e.point for e in found if e.kind == "saddle"]
            finite = [manifolds(network, values, time, point, wide, beside=1e-6) for point in saddle]
            paths = [branch for branches in finite for branch in branches]
            rest = [e.point for e in found]
            ends = [p for p in far if p.kind == "saddle at infinity"]
            paths += [_from_infinity(network, values, time, p, rest, scale) for p in ends]
            _draw_separatrices(target, paths, scale)
        limit, _ = _at_infinity(network, values, time, radius)
        _draw_circle(target, limit, far)
        points = [(to_disc(e.point[:, None], scale)[:, 0], e.kind) for e in found]
        isolated = [p for p in far if p.arc[0] == p.arc[1]]
        draw_points(target, points + [(np.array([np.cos(p.angle), np.sin(p.angle)]), p.kind) for p in isolated])
        _finish(target, scale)
    return figure


def to_disc(x: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """xi = z / sqrt(1 + |z|^2), z = x / scale, of states (2, M)."""
    z = x / scale
    return z / np.sqrt(1.0 + np.sum(z**2, axis=0))


def from_disc(xi: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """x = scale xi / sqrt(1 - |xi|^2) of points (2, M) inside the unit disc."""
    return scale * xi / np.sqrt(1.0 - np.sum(xi**2, axis=0))


def _at_infinity(
    network: Network, values: Mapping[str, np.ndarray], time: float, radius: float
) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """theta (M,) -> V_inf(theta) / unit, (2, M), read at R = radius, and unit, the largest component of V_inf."""

    def speeds(theta: np.ndarray, r: float) -> np.ndarray:
        parts = np.array_split(theta, max(1, len(theta) // 512))  # a wide network has many hidden states each
        return np.concatenate(
            [network.velocity(r * np.stack([np.cos(p), np.sin(p)]), values, time) for p in parts], axis=1
        )

    theta = _directions(512)
    radii = radius ** np.array([0.5, 0.75, 1.0])
    fields = [speeds(theta, float(r)) for r in radii]
    largest = np.array([np.max(np.abs(field)) for field in fields])
    if not np.all(np.isfinite(largest)) or np.min(largest) == 0.0:
        raise ValueError(f"the network has no behaviour at infinity: its speeds at |x| = {radii} are {largest}")
    slopes = np.diff(np.log(largest)) / np.diff(np.log(radii))
    allowed = 1e-3 + 0.1 / np.sqrt(radius)
    apart = np.max(np.abs(fields[1] / largest[1] - fields[2] / largest[2]), axis=0)
    if abs(slopes[1] - slopes[0]) > allowed or np.mean(apart > 10.0 * allowed) > 0.02:
        raise ValueError(
            f"the network does not grow like a power of |x| at infinity: from |x| = {radii[0]:g} over {radii[1]:g} to "
            f"{radii[2]:g} the exponent of its speed is {slopes[0]:.4g}, then {slopes[1]:.4g}, and in "
            f"{100 * np.mean(apart > 10.0 * allowed):.0f}% of the directions the velocity still turns"
        )
    degree = float(slopes[1])
    if abs(degree - round(degree)) <= allowed:
        degree = float(round(degree))
    top = float(largest[2])
    return (lambda angles: speeds(angles, radius) / top), top / radius**degree


def _directions(count: int) -> np.ndarray:
    """Even angles, none of which is a simple part of the circle: there symmetric networks have their jumps."""
    return 2.0 * np.pi * (np.arange(count) + 0.3819660112501051) / count


def _tangential(limit: Callable[[np.ndarray], np.ndarray], theta: np.ndarray) -> np.ndarray:
    """g = V_inf . e_perp at angles (M,)."""
    u, v = limit(theta)
    return v * np.cos(theta) - u * np.sin(theta)


def _points(limit: Callable[[np.ndarray], np.ndarray]) -> list[PointAtInfinity]:
    """The arcs on which g is 0, the changes of sign, and where g touches 0."""
    theta = _directions(_SCAN)
    g = _tangential(limit, theta)
    g[np.abs(g) <= 1e-12] = 0.0
    sign = np.sign(g).astype(int)
    if not np.any(sign):
        return [_point(limit, 0.0, "degenerate at infinity", (0.0, 2.0 * np.pi))]
    first = int(np.flatnonzero(sign)[0])  # go round from a direction that moves
    theta = np.concatenate([theta[first:], theta[: first + 1] + 2.0 * np.pi])
    g, sign = np.append(np.roll(g, -first), g[first]), np.append(np.roll(sign, -first), sign[first])
    moving = np.flatnonzero(sign)
    found: list[PointAtInfinity] = []
    cells: list[tuple[int, int]] = []
    for i, j in pairwise(moving.tolist()):
        if j - i > 2:
            start = _bisect(lambda t: np.abs(_tangential(limit, t)) <= 1e-12, theta[[i]], theta[[i + 1]])[0]
            end = _bisect(lambda t: np.abs(_tangential(limit, t)) > 1e-12, theta[[j - 1]], theta[[j]])[0]
            found.append(_point(limit, 0.5 * (start + end), "degenerate at infinity", (float(start), float(end))))
        elif sign[i] != sign[j]:
            cells.append((i, j))
        elif j - i == 2:
            found.append(_point(limit, theta[i + 1], "degenerate at infinity"))
    if cells:
        i, j = np.array(cells).T
        left = sign[i]
        roots = _bisect(lambda t: np.sign(_tangential(limit, t)) != left, theta[i], theta[j])
        found += [_crossing(limit, float(root), int(s)) for root, s in zip(roots, left, strict=True)]
    return sorted(found + _touching(limit, theta[:-1], g[:-1]), key=lambda p: p.angle)


def _touching(limit: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, g: np.ndarray) -> list[PointAtInfinity]:
    """Where g touches 0 between directions in which it has one sign, (M,) each and all round the circle."""

    def size(t: float) -> float:
        return float(abs(_tangential(limit, np.array([t]))[0]))

    before, after, step = np.roll(g, 1), np.roll(g, -1), 2.0 * np.pi / len(g)
    lowest = (np.abs(g) <= np.abs(before)) & (np.abs(g) < np.abs(after)) & (np.abs(g) < 1e-4)
    found = []
    for t in theta[lowest & (g * before > 0) & (g * after > 0)]:
        nearest, value = _golden(size, float(t) - step, float(t) + step)
        if value <= 1e-12:
            found.append(_point(limit, nearest, "degenerate at infinity"))
    return found


def _golden(function: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """The least value of a function with one minimum in [low, high], by golden sections, and where it is."""
    ratio = 0.5 * (np.sqrt(5.0) - 1.0)
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if function(left) <= function(right) else (left, high)
    middle = 0.5 * (low + high)
    return middle, function(middle)


def _bisect(reached: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Where `reached` turns from false to true between low and high, (M,) each, to rounding."""
    low, high = low.copy(), high.copy()
    for _ in range(48):
        middle = 0.5 * (low + high)
        beyond = reached(middle)
        high, low = np.where(beyond, middle, high), np.where(beyond, low, middle)
    return 0.5 * (low + high)


def _crossing(limit: Callable[[np.ndarray], np.ndarray], angle: float, before: int) -> PointAtInfinity:
    """The point where g changes from the sign `before`; at a jump of V_inf with Filippov's radial speed."""
    sides = angle + np.array([-_BESIDE, _BESIDE])
    velocity = limit(sides)
    if np.max(np.abs(velocity[:, 1] - velocity[:, 0])) > 1e-6:
        g = _tangential(limit, sides)
        part = g[1] / (g[1] - g[0])  # of the limit before the jump
        velocity = (part * velocity[:, 0] + (1.0 - part) * velocity[:, 1])[:, None]
    radial = float(np.mean(np.array([np.cos(angle), np.sin(angle)]) @ velocity))
    if abs(radial) <= 1e-9:
        kind = "degenerate"
    elif (before > 0) == (radial > 0):
        kind = "sink" if before > 0 else "source"
    else:
        kind = "saddle"
    return _point(limit, angle, f"{kind} at infinity", radial=radial)


def _point(
    limit: Callable[[np.ndarray], np.ndarray],
    angle: float,
    kind: str,
    arc: tuple[float, float] | None = None,
    radial: float | None = None,
) -> PointAtInfinity:
    if radial is None:
        radial = float((np.array([np.cos(angle), np.sin(angle)]) @ limit(np.array([angle])))[0])
    turned = float(np.mod(angle + 1e-11, 2.0 * np.pi) - 1e-11)  # 0, not 2 pi less rounding
    turned = max(turned, 0.0)
    shift = turned - angle
    return PointAtInfinity(
        turned, radial, kind, (turned, turned) if arc is None else (float(arc[0] + shift), float(arc[1] + shift))
    )


def _even_starts(scale: float) -> np.ndarray:
    """States (2, M) from the centre outward, even on the disc."""
    r, angle = np.meshgrid(np.linspace(0.1, 0.98, 9), _directions(24))
    return np.column_stack(
        [np.zeros((2, 1)), from_disc(np.stack([r * np.cos(angle), r * np.sin(angle)]).reshape(2, -1), scale)]
    )


def _from_infinity(
    network: Network,
    values: Mapping[str, np.ndarray],
    time: float,
    point: PointAtInfinity,
    rest: Sequence[np.ndarray],
    scale: float,
) -> tuple[bool, np.ndarray]:
    """The manifold of a saddle at infinity that lies in the plane: whether stable, and its path (2, points).

    It is the one that attracts when followed away from infinity, so the ray at 100 scale is soon upon it.
    """
    stable = point.radial > 0
    sign = -1.0 if stable else 1.0
    start = 100.0 * scale * np.array([np.cos(point.angle), np.sin(point.angle)])

    def field(t: float, x: np.ndarray) -> np.ndarray:  # by arc length: fast and slow networks alike
        v = sign * network.velocity(x[:, None], values, time)[:, 0]
        return scale * v / max(float(np.hypot(*v)), 1e-12)

    def arrived(t: float, x: np.ndarray) -> float:
        return min((float(np.hypot(*(x - e))) for e in rest), default=scale) - 1e-3 * scale

    arrived.terminal = True  # type: ignore[attr-defined]
    run = solve_ivp(field, (0.0, 400.0), start, "DOP853", events=arrived, rtol=1e-8, atol=1e-9 * scale, max_step=0.5)
    return stable, run.y


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
            *to_disc(path, scale), color=BLUE if stable else VERMILION, linewidth=2.4, zorder=3, gid=name,
            label=None if stable in named else name,
        )  # fmt: skip
        named.add(stable)


def _draw_circle(ax: Axes, limit: Callable[[np.ndarray], np.ndarray], points: Sequence[PointAtInfinity]) -> None:
    """The circle, its arcs at rest, and an arrow between any two points in the direction of g."""
    round_ = np.linspace(0.0, 2.0 * np.pi, 721)
    ax.plot(np.cos(round_), np.sin(round_), color=BLACK, linewidth=1.2, gid="infinity", zorder=4, clip_on=False)
    arcs = [p.arc for p in points if p.arc[1] > p.arc[0]]
    for k, (first, last) in enumerate(arcs):
        along = np.linspace(first, last, 181)
        ax.plot(
            np.cos(along), np.sin(along), color=BLACK, linewidth=5.0, gid="at rest", zorder=4, clip_on=False,
            solid_capstyle="butt", label="infinity at rest" if k == 0 else None,
        )  # fmt: skip
    if points:
        ends = [p.arc[1] for p in points]
        begins = [p.arc[0] for p in points[1:]] + [points[0].arc[0] + 2.0 * np.pi]
        middles = [0.5 * (a + b) for a, b in zip(ends, begins, strict=True) if b - a > 0.1]
    else:
        middles = list(np.arange(8) * np.pi / 4.0)
    for angle in middles:
        turn = np.sign(_tangential(limit, np.array([angle]))[0])
        ax.plot(
            np.cos(angle), np.sin(angle), marker=(3, 0, np.degrees(angle) + (0.0 if turn > 0 else 180.0)), markersize=9,
            color=BLACK, linestyle="none", zorder=5, clip_on=False, gid="arrow at infinity",
        )  # fmt: skip


def _finish(ax: Axes, scale: float) -> None:
    ax.set_aspect("equal")
    ax.set_xlim(-1.03, 1.03)
    ax.set_ylim(-1.03, 1.03)
    for spine in ax.spines.values():
        spine.set_visible(False)
    for axis, label in ((ax.xaxis, 1), (ax.yaxis, 2)):
        axis.set_ticks([-1.0, -0.5, 0.0, 0.5, 1.0])
        axis.set_label_text(rf"$\xi_{label} = x_{label}\,/\,\sqrt{{{scale**2:g} + |x|^2}}$")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
