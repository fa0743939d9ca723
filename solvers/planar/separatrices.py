"""The separatrices of saddles of a planar field, finite and at infinity."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.integrate import solve_ivp

from continuum import Network
from continuum.checks import check_array, check_positive
from continuum.doors import checked

from .fields import Box, check_box, check_values, linearized
from .infinity import PointAtInfinity


@checked
def manifolds(
    network: Network,
    values: Mapping[str, np.ndarray],
    time: float,
    saddle: np.ndarray,
    box: Box,
    beside: float = 1e-4,
) -> list[tuple[bool, np.ndarray]]:
    """The separatrices of a saddle (2,) of the field frozen at `time`, four of them.

    returns for each whether it is stable, and its path (2, points)

    Each starts beside the saddle, on an eigenvector, at a distance of `beside` in units of the box,
    and follows the field, against it on the stable manifold, until it leaves the box, enlarged by a
    tenth, or 40 times the time constant of its eigenvalue is over.
    """
    check_values(network, values)
    left, right, low, high = check_box(box)
    saddle, beside = check_array("saddle", saddle, (2,)), check_positive("beside", beside)
    size = np.array([right - left, high - low])
    corner = np.array([left, low])
    _, jacobian = linearized(network, values, time, saddle[:, None])
    eigenvalues, vectors = np.linalg.eig(jacobian[0])
    found = []
    for eigenvalue, vector in zip(np.real(eigenvalues), np.real(vectors).T, strict=True):
        sign = np.sign(eigenvalue)

        def field(t: float, x: np.ndarray, sign: float = sign) -> np.ndarray:
            return sign * network.velocity(x[:, None], values, time)[:, 0]

        def room(t: float, x: np.ndarray) -> float:
            return float(np.min(0.6 - np.abs((x - corner) / size - 0.5)))

        room.terminal = True  # type: ignore[attr-defined]
        step = beside * vector / np.max(np.abs(vector) / size)
        for start in (saddle + step, saddle - step):
            end = 40.0 / abs(eigenvalue)
            run = solve_ivp(
                field,
                (0.0, end),
                start,
                "DOP853",
                dense_output=True,
                events=room,
                rtol=1e-9,
                atol=1e-11 * size,
            )
            nodes = np.arange(len(run.t))  # a long step is no straight line: 32 pieces each
            times = np.interp(np.linspace(0.0, nodes[-1], 32 * int(nodes[-1]) + 1), nodes, run.t)
            found.append((bool(eigenvalue < 0), run.sol(times)))
    return found


@checked
def manifold_from_infinity(
    network: Network,
    values: Mapping[str, np.ndarray],
    time: float,
    point: PointAtInfinity,
    rest: Sequence[np.ndarray],
    scale: float,
) -> tuple[bool, np.ndarray]:
    """The separatrix of a saddle at infinity that is not on the circle.

    returns whether it is stable, and its path (2, points)

    It is the one that attracts when followed away from infinity, so the ray at 100 scale is soon
    upon it.
    """
    check_values(network, values)
    scale = check_positive("scale", scale)
    stable = point.radial > 0
    sign = -1.0 if stable else 1.0
    start = 100.0 * scale * np.array([np.cos(point.angle), np.sin(point.angle)])

    def field(t: float, x: np.ndarray) -> np.ndarray:  # by arc length: fast and slow networks alike
        v = sign * network.velocity(x[:, None], values, time)[:, 0]
        return scale * v / max(float(np.hypot(*v)), 1e-12)

    def arrived(t: float, x: np.ndarray) -> float:
        return min((float(np.hypot(*(x - e))) for e in rest), default=scale) - 1e-3 * scale

    arrived.terminal = True  # type: ignore[attr-defined]
    run = solve_ivp(
        field,
        (0.0, 400.0),
        start,
        "DOP853",
        events=arrived,
        rtol=1e-8,
        atol=1e-9 * scale,
        max_step=0.5,
    )
    return stable, run.y
