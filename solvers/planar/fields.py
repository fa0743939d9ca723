"""Planar fields frozen in time: linearization, equilibria by deflated Newton, and their kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.integrate import solve_ivp

from continuum import Control, FunctionControl, Network
from continuum.checks import check_count
from continuum.doors import checked
from continuum.records import short

Box: TypeAlias = tuple[float, float, float, float]
"""(xmin, xmax, ymin, ymax)"""

_ITERATIONS = 60
_ROUNDS = 30
_SAME, _SAME_CURVE = 1e-6, 0.05  # parts of the box
_AROUND = 0.05 * np.array([[1.0, -0.3, -1.0, 0.3], [0.3, 1.0, -0.3, -1.0]])


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """A point of the plane where the velocity vanishes.

    point : (2,); eigenvalues : (2,) complex, of the Jacobian there
    kind : sink, source (real eigenvalues), spiral sink, spiral source, saddle, centre (imaginary
        eigenvalues: the linearization's centre, which does not decide the nonlinear one),
        degenerate (an eigenvalue 0)
    """

    point: np.ndarray
    eigenvalues: np.ndarray
    kind: str

    __repr__ = short


@checked
def equilibria(
    network: Network,
    control: Control | FunctionControl,
    box: Box,
    *,
    time: float = 0.0,
    starts: int = 15,
) -> list[Equilibrium]:
    """The isolated equilibria in a box of the field frozen at `time`, sorted by their coordinates.

    Deflated Newton (see `deflated_newton`) from starts x starts points: it can miss one.  Where
    equilibria fill a curve it gives points of it, "degenerate", a twentieth of the box apart.
    raises ValueError for a network that is not planar or an empty box
    """
    check_planar("a phase portrait", network, control)
    check_box(box)
    starts = check_count("starts", starts, 2)
    return deflated_newton(network, control.at(time), time, lattice(box, starts), box)


def is_moving(
    network: Network, control: Control | FunctionControl, states: np.ndarray, time: float
) -> bool:
    """True if the velocity at some of the states (2, L) changes along the horizon: at the middle of
    some layer, or at one of 9 times, it differs from that at `time` by more than rounding.
    """
    nodes, horizon = control.mesh.nodes, control.mesh.horizon
    moments = np.linspace(0.0, horizon, 9)
    if isinstance(control, Control):
        middles = 0.5 * (nodes[:-1] + nodes[1:])
        moments = np.append(moments, middles[:: max(1, len(middles) // 64)])
    here = network.velocity(states, control.at(time), time)
    level = 1e-12 * max(float(np.max(np.abs(here))), 1e-300)
    return any(
        float(np.max(np.abs(network.velocity(states, control.at(t), t) - here))) > level
        for t in moments.tolist()
    )


def frozen_paths(
    network: Network,
    values: Mapping[str, np.ndarray],
    time: float,
    starts: np.ndarray,
    times: np.ndarray,
) -> np.ndarray:
    """The solutions x' = F(x, values, time), in which time stands still, from starts (2, M) at
    times (S,) that increase from 0: (S, 2, M), by DOP853 with tolerances 1e-9 and 1e-11.

    raises ValueError where one does not stay finite
    """

    def field(_: float, x: np.ndarray) -> np.ndarray:
        return network.velocity(x.reshape(starts.shape), values, time).ravel()

    span = (0.0, float(times[-1]))
    with np.errstate(over="ignore", invalid="ignore"):
        run = solve_ivp(field, span, starts.ravel(), "DOP853", times, rtol=1e-9, atol=1e-11)
    if not run.success or not np.all(np.isfinite(run.y)):
        raise ValueError(
            f"a trajectory of the field frozen at t = {time:g} does not stay finite up to the "
            f"horizon {times[-1]:g}: give a shorter horizon or other starts"
        )
    paths = run.y.T.reshape(len(times), *starts.shape)
    paths[0] = starts
    return paths


def deflated_newton(
    network: Network, values: Mapping[str, np.ndarray], time: float, starts: np.ndarray, box: Box
) -> list[Equilibrium]:
    """Roots of V in the box, by Newton's method for m(x) V(x).

    m = prod_k (1 / |x - r_k|^2 + 1) over the roots r_k known so far.

    The Jacobian m J + V grad(m)^T is of rank one beside m J, so by Sherman and Morrison the step is
    Newton's own, n = -J^-1 V, times 1 / (1 - n . grad log m).  Lengths in units of the box; steps
    no longer than a quarter of it. The first round has m = 1 and begins at `starts` (2, M), the
    others there and at four points around each root: from beside a root deflation leads away from
    it, often to its neighbours.  The last round is the one, the thirtieth at the latest, that finds
    nothing new, or degenerate points only: those that fill a curve would come without end.
    """
    size = np.array([box[1] - box[0], box[3] - box[2]])
    corner = np.array([box[0], box[2]])
    fastest = max(float(np.max(np.abs(network.velocity(starts, values, time)))), 1e-300)
    found: list[Equilibrium] = []
    for _ in range(_ROUNDS):
        around = [e.point[:, None] + size[:, None] * _AROUND for e in found]
        begin = np.concatenate([starts, *around], axis=1)
        x = _round(network, values, time, begin, [e.point for e in found], corner, size)
        speed, jacobian = linearized(network, values, time, x)
        inside = np.all(np.abs((x.T - corner) / size - 0.5) <= 0.5 + 1e-9, axis=1)
        solved = np.max(np.abs(speed), axis=0) <= 1e-10 * fastest
        more = False
        for m in np.flatnonzero(inside & solved):
            eigenvalues = np.linalg.eigvals(jacobian[m]).astype(complex)
            kind = classify(eigenvalues)
            gaps = [(np.max(np.abs(x[:, m] - e.point) / size), e.kind) for e in found]
            if all(
                gap > (_SAME_CURVE if kind == other == "degenerate" else _SAME)
                for gap, other in gaps
            ):
                found.append(Equilibrium(x[:, m].copy(), eigenvalues, kind))
                more = more or kind != "degenerate"
        if not more:
            break
    return sorted(found, key=lambda e: tuple(np.round(e.point, 9)))


def _round(
    network: Network,
    values: Mapping[str, np.ndarray],
    time: float,
    starts: np.ndarray,
    roots: list[np.ndarray],
    corner: np.ndarray,
    size: np.ndarray,
) -> np.ndarray:
    """Where Newton's method for V, deflated at the roots, leads from each start, (2, M)."""
    x = starts.copy()
    for _ in range(_ITERATIONS):
        step = deflated_step(network, values, time, x, roots, size)
        step /= np.maximum(np.max(np.abs(step), axis=1) / 0.25, 1.0)[:, None]
        x = np.clip(x + (step * size).T, (corner - size)[:, None], (corner + 2.0 * size)[:, None])
        if np.max(np.abs(step)) < 1e-15:
            break
    return x


def deflated_step(
    network: Network,
    values: Mapping[str, np.ndarray],
    time: float,
    x: np.ndarray,
    roots: Sequence[np.ndarray],
    size: np.ndarray,
) -> np.ndarray:
    """n / (1 - n . grad log m), n = -J^-1 V, for the columns of x (2, M): (M, 2).

    In units of `size` (2,).

    log m = sum_k log(1 + q_k) - log q_k with q_k = |x - r_k|^2, so n . grad log m = -sum_k 2 n . (x
    - r_k) / (q_k (1 + q_k)).  Where J is singular the step is 0.
    """
    speed, jacobian = linearized(network, values, time, x)
    usable = np.abs(np.linalg.det(jacobian)) > 1e-14 * np.max(np.abs(jacobian), axis=(1, 2)) ** 2
    step = np.zeros_like(x.T)
    step[usable] = -np.linalg.solve(jacobian[usable], speed.T[usable][..., None])[..., 0] / size
    factor = np.ones(x.shape[1])
    for root in roots:
        away = (x.T - root) / size
        q = np.maximum(np.sum(away**2, axis=1), 1e-150)
        factor += 2.0 * np.sum(step * away, axis=1) / (q * (1.0 + q))
    return step / np.where(np.abs(factor) > 1e-12, factor, 1e-12)[:, None]


def classify(eigenvalues: np.ndarray) -> str:
    """The kind of a planar equilibrium from the eigenvalues of its Jacobian.

    Parts below 1e-8 of the largest count as 0.
    """
    small = 1e-8 * float(np.max(np.abs(eigenvalues)))
    real, spiral = np.real(eigenvalues), bool(np.max(np.abs(np.imag(eigenvalues))) > small)
    if np.min(np.abs(eigenvalues)) <= small:
        return "degenerate"
    if spiral and np.max(np.abs(real)) <= small:
        return "centre"
    if np.prod(np.sign(real)) < 0:
        return "saddle"
    return ("spiral " if spiral else "") + ("sink" if real[0] < 0 else "source")


def linearized(
    network: Network, values: Mapping[str, np.ndarray], time: float, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The velocity (2, M) and the Jacobians (M, 2, 2) at the columns of x."""
    columns = []
    for i in range(2):
        direction = np.zeros_like(x)
        direction[i] = 1.0
        columns.append(network.jvp(x, values, time, direction, {}).T)
    return network.velocity(x, values, time), np.stack(columns, axis=2)


def lattice(box: Box, points: int) -> np.ndarray:
    """The states (2, points^2) of an even lattice over the box; x varies fastest."""
    x, y = np.linspace(box[0], box[1], points), np.linspace(box[2], box[3], points)
    return np.stack([np.tile(x, points), np.repeat(y, points)])


def check_planar(purpose: str, network: Network, control: Control | FunctionControl) -> None:
    """Raises TypeError for no network or control, ValueError for other than 2 units."""
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {network!r}")
    if not isinstance(control, Control | FunctionControl):
        raise TypeError(
            f"control must come from network.control or a ControlSpace, got {control!r}"
        )
    network.check_control("control", control)
    if len(network.weights) != 2:
        raise ValueError(f"{purpose} needs a network with 2 units, got {len(network.weights)}")


def check_box(box: Box) -> Box:
    """The box, if it is one and not empty, else a ValueError."""
    if len(box) != 4 or not np.all(np.isfinite(box)) or not (box[0] < box[1] and box[2] < box[3]):
        raise ValueError(
            f"box must be (xmin, xmax, ymin, ymax) with xmin < xmax and ymin < ymax, got {box!r}"
        )
    return box


def check_values(network: Network, values: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError unless these are the values of the blocks of a planar network."""
    if len(network.weights) != 2:
        raise ValueError(f"network must have 2 units, got {len(network.weights)}")
    for name, shape in network.block_shapes.items():
        if name not in values or values[name].shape != shape:
            raise ValueError(f"values must have {name} of shape {shape}")


def check_times(control: Control | FunctionControl, time: float, horizon: float | None) -> float:
    """The horizon, the control's own for None.

    raises ValueError if it or `time` is outside the control's
    """
    longest = control.mesh.horizon
    if not 0.0 <= time <= longest:
        raise ValueError(f"time must be in [0, {longest:g}], the control's horizon, got {time}")
    if horizon is None:
        horizon = longest
    if not 0.0 < horizon <= longest:
        raise ValueError(f"horizon must be in (0, {longest:g}], the control's own, got {horizon}")
    return horizon
