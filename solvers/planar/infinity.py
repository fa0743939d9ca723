"""Planar networks at infinity: the directions in which orbits come from or go there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from continuum import Control, FunctionControl, Network
from continuum.checks import check_array, check_positive
from continuum.doors import checked
from continuum.networks import Chain, Linear
from continuum.networks.maps import measure

from .fields import check_planar, check_times

_SCAN = 4096
_BESIDE = 1e-10  # one-sided limits are read this far from a jump
FAR = 1e14
"""The radius that is infinity to rounding."""


@dataclass(frozen=True, eq=False)
class PointAtInfinity:
    """A direction e in which the angle of a far orbit is at rest.

    angle : of e, in [0, 2 pi);  radial : V_inf . e there, > 0 where orbits go out
    kind : "sink at infinity" (attracts along the circle, orbits go out), "source at infinity"
        (repels, orbits come in), "saddle at infinity" (the other two), "degenerate at infinity"
        (the circle's speed touches 0 without change of sign, or is 0 on an arc, or radial is 0)
    arc : where the circle is at rest, its first and last angle; both `angle` for an isolated point,
        whose length is 0
    """

    angle: float
    radial: float
    kind: str
    arc: tuple[float, float]


@checked
def points_at_infinity(
    network: Network,
    control: Control | FunctionControl,
    *,
    time: float = 0.0,
    radius: float | None = None,
) -> list[PointAtInfinity]:
    """Zeros of g(theta) = V_inf . e_perp by angle, V_inf(theta) = lim V(R e) / R^d.

    V is the field frozen at `time`.

    Far out theta' = R^(d-1) g and R' = R^d V_inf . e.  The growth d is 0 for bounded activations, 1
    for relu and the identity.  Where V_inf jumps and g changes sign, radial is that of Filippov's
    combination of its two limits for which g = 0; so does the network itself where one
    preactivation changes sign, several only if in proportion.  Found on 4096 directions, so two
    points nearer than 0.0015 may be missed; located to 1e-12, ends of arcs to 1e-6.  Where g is at
    most 1e-12 of the largest speed on neighbouring directions it counts as 0 on an arc.

    radius : where V / R^d is read.  At 1e14 a network with N hidden units has a jump in V_inf for
        each of them.  If they are the nodes of a grid for a continuum, these jumps hold orbits in
        spurious directions O(1/N) beside its points; read at 1 << radius << N the sum is close to
        the integral, and the points are right to O(1 / radius), O(1 / radius^2) if all offsets are
        0.  None: 1e14, or N / 4 where d = 0 and a chain has N >= 256 hidden units, which are taken
        for the nodes of a grid; give 1e14 to see every unit
    raises ValueError for a network that is not planar, a time outside the control's, radius < 100,
        a field that is 0 or has no degree d there
    """
    check_planar("the behaviour at infinity", network, control)
    check_times(control, time, None)
    if radius is not None and check_positive("radius", radius) < 100.0:
        raise ValueError(f"radius must be at least 100, got {radius:g}")
    limit, unit = field_at_infinity(network, control.at(time), time, radius)
    return [replace(p, radial=unit * p.radial) for p in _points(limit)]


@checked
def to_disc(x: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """xi = z / sqrt(1 + |z|^2), z = x / scale, of states (2, M)."""
    z = check_array("x", x, (2, "M")) / check_positive("scale", scale)
    return z / np.sqrt(1.0 + np.sum(z**2, axis=0))


@checked
def from_disc(xi: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """x = scale xi / sqrt(1 - |xi|^2) of points (2, M) inside the unit disc."""
    xi, scale = check_array("xi", xi, (2, "M")), check_positive("scale", scale)
    if not np.all(np.sum(xi**2, axis=0) < 1.0):
        raise ValueError("xi must lie inside the unit disc")
    return scale * xi / np.sqrt(1.0 - np.sum(xi**2, axis=0))


def field_at_infinity(
    network: Network, values: Mapping[str, np.ndarray], time: float, radius: float | None
) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """theta (M,) -> V_inf(theta) / unit, (2, M), and unit, the largest component of V_inf.

    radius : as in `points_at_infinity`; the degree is found there, for None at 1e14
    """

    def speeds(theta: np.ndarray, r: float) -> np.ndarray:
        parts = np.array_split(
            theta, max(1, len(theta) // 512)
        )  # a wide network has many hidden states each
        return np.concatenate(
            [network.velocity(r * np.stack([np.cos(p), np.sin(p)]), values, time) for p in parts],
            axis=1,
        )

    theta = even_directions(512)
    radii = (FAR if radius is None else radius) ** np.array([0.5, 0.75, 1.0])
    fields = [speeds(theta, float(r)) for r in radii]
    largest = np.array([np.max(np.abs(field)) for field in fields])
    if not np.all(np.isfinite(largest)) or np.min(largest) == 0.0:
        raise ValueError(
            f"the network has no behaviour at infinity: its speeds at |x| = {radii} are {largest}"
        )
    slopes = np.diff(np.log(largest)) / np.diff(np.log(radii))
    allowed = 1e-3 + 0.1 / np.sqrt(radii[2])
    apart = np.max(np.abs(fields[1] / largest[1] - fields[2] / largest[2]), axis=0)
    if abs(slopes[1] - slopes[0]) > allowed or np.mean(apart > 10.0 * allowed) > 0.02:
        raise ValueError(
            f"the network does not grow like a power of |x| at infinity: from |x| = {radii[0]:g} "
            f"over {radii[1]:g} to "
            f"{radii[2]:g} the exponent of its speed is {slopes[0]:.4g}, then {slopes[1]:.4g}, "
            f"and in "
            f"{100 * np.mean(apart > 10.0 * allowed):.0f}% of the directions the velocity still "
            f"turns"
        )
    degree = float(slopes[1])
    if abs(degree - round(degree)) <= allowed:
        degree = float(round(degree))
    read = radius if radius is not None else _default_radius(network) if degree == 0.0 else FAR
    top = float(np.max(np.abs(speeds(theta, read))))
    return (lambda angles: speeds(angles, read) / top), top / read**degree


def _default_radius(network: Network) -> float:
    """Where V_inf is read, from the number N of hidden units.

    At distance R a unit's activation changes over an angle 1 / R.  The sum over N nodes, 2 pi / N
    apart on a circle, is the integral to exp(-pi N / (2 R)), which is 2e-3 for R = N / 4.
    """
    if not isinstance(network, Chain):
        return FAR
    widths = [len(measure(m.target)) for m in network.maps if isinstance(m, Linear)]
    hidden = max(widths, default=0)
    return hidden / 4.0 if hidden >= 256 else FAR


def even_directions(count: int) -> np.ndarray:
    """Even angles, none a simple part of the circle, where symmetric networks have jumps."""
    return 2.0 * np.pi * (np.arange(count) + 0.3819660112501051) / count


def tangential_speed(limit: Callable[[np.ndarray], np.ndarray], theta: np.ndarray) -> np.ndarray:
    """g = V_inf . e_perp at angles (M,)."""
    u, v = limit(theta)
    return v * np.cos(theta) - u * np.sin(theta)


def _points(limit: Callable[[np.ndarray], np.ndarray]) -> list[PointAtInfinity]:
    """The arcs on which g is 0, the changes of sign, and where g touches 0."""
    theta = even_directions(_SCAN)
    g = tangential_speed(limit, theta)
    g[np.abs(g) <= 1e-12] = 0.0
    sign = np.sign(g).astype(int)
    if not np.any(sign):
        return [_point(limit, 0.0, "degenerate at infinity", (0.0, 2.0 * np.pi))]
    first = int(np.flatnonzero(sign)[0])  # begin where g is not 0
    theta = np.concatenate([theta[first:], theta[: first + 1] + 2.0 * np.pi])
    g, sign = np.append(np.roll(g, -first), g[first]), np.append(np.roll(sign, -first), sign[first])
    moving = np.flatnonzero(sign)
    found: list[PointAtInfinity] = []
    cells: list[tuple[int, int]] = []
    for i, j in pairwise(moving.tolist()):
        if j - i > 2:
            start = _bisect(
                lambda t: np.abs(tangential_speed(limit, t)) <= 1e-12, theta[[i]], theta[[i + 1]]
            )[0]
            end = _bisect(
                lambda t: np.abs(tangential_speed(limit, t)) > 1e-12, theta[[j - 1]], theta[[j]]
            )[0]
            found.append(
                _point(
                    limit, 0.5 * (start + end), "degenerate at infinity", (float(start), float(end))
                )
            )
        elif sign[i] != sign[j]:
            cells.append((i, j))
        elif j - i == 2:
            found.append(_point(limit, theta[i + 1], "degenerate at infinity"))
    if cells:
        i, j = np.array(cells).T
        left = sign[i]
        roots = _bisect(lambda t: np.sign(tangential_speed(limit, t)) != left, theta[i], theta[j])
        found += [
            _crossing(limit, float(root), int(s)) for root, s in zip(roots, left, strict=True)
        ]
    return sorted(found + _touching(limit, theta[:-1], g[:-1]), key=lambda p: p.angle)


def _touching(
    limit: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, g: np.ndarray
) -> list[PointAtInfinity]:
    """Where g touches 0 between directions (M,), all round the circle, in which it has one sign."""

    def size(t: float) -> float:
        return float(abs(tangential_speed(limit, np.array([t]))[0]))

    before, after, step = np.roll(g, 1), np.roll(g, -1), 2.0 * np.pi / len(g)
    lowest = (np.abs(g) <= np.abs(before)) & (np.abs(g) < np.abs(after)) & (np.abs(g) < 1e-4)
    found = []
    for t in theta[lowest & (g * before > 0) & (g * after > 0)]:
        nearest, value = _golden(size, float(t) - step, float(t) + step)
        if value <= 1e-12:
            found.append(_point(limit, nearest, "degenerate at infinity"))
    return found


def _golden(function: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """Where a function with one minimum in [low, high] is least, and its value there."""
    ratio = 0.5 * (np.sqrt(5.0) - 1.0)
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if function(left) <= function(right) else (left, high)
    middle = 0.5 * (low + high)
    return middle, function(middle)


def _bisect(
    reached: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Where `reached` turns from false to true between low and high, (M,) each, to rounding."""
    low, high = low.copy(), high.copy()
    for _ in range(48):
        middle = 0.5 * (low + high)
        beyond = reached(middle)
        high, low = np.where(beyond, middle, high), np.where(beyond, low, middle)
    return 0.5 * (low + high)


def _crossing(
    limit: Callable[[np.ndarray], np.ndarray], angle: float, before: int
) -> PointAtInfinity:
    """The point where g changes from the sign `before`.

    At a jump of V_inf the radial speed is Filippov's.
    """
    sides = angle + np.array([-_BESIDE, _BESIDE])
    velocity = limit(sides)
    if np.max(np.abs(velocity[:, 1] - velocity[:, 0])) > 1e-6:
        g = tangential_speed(limit, sides)
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
    reduced = float(np.mod(angle + 1e-11, 2.0 * np.pi) - 1e-11)  # 0, not 2 pi less rounding
    reduced = max(reduced, 0.0)
    shift = reduced - angle
    return PointAtInfinity(
        reduced,
        radial,
        kind,
        (reduced, reduced) if arc is None else (float(arc[0] + shift), float(arc[1] + shift)),
    )
