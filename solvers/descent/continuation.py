"""Branches of stationary points, followed through folds and branch points; see `curves.py` for the
equations.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise, product
from math import exp, log
from typing import Literal

import numpy as np
import scipy

from continuum.arrays import Array
from continuum.checks import check_name, check_positive, check_type
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem

from ..run.iteration import Interrupted
from ..run.solution import Solution, SolveError
from ..run.status import Status
from .branches import Arclength, Branch, Event
from .curves import Curve, Point
from .families import FAMILIES
from .minimize import minimize
from .second_order import NewtonCG

_STRAIGHT = 0.95
"""Least cosine between the tangents at the ends of a step."""

_BESIDE = 0.02
"""Arclength from a branch point at which the other branch is looked at to classify it."""


@checked
def continue_minimizers(
    problem: LearningProblem,
    parameter: Literal["penalty", "horizon"],
    method: Arclength | None = None,
    *,
    start: float,
    stop: float,
    initial: Control | Event | None = None,
    side: Literal[1, -1] = 1,
    raise_on_failure: bool = True,
) -> Branch:
    """A branch of stationary points of the discretized problem (Euler, the ResNet) over a parameter
    in the interval of `start` and `stop`, by pseudo-arclength; it ends where it leaves that.

    What is followed is stationary: a minimiser where Morse index and null count are 0.  Along it
    folds and branch points are located to rounding, where the parameter's share of the tangent or
    one eigenvalue of the Hessian changes sign; two changes between neighbouring points that undo
    each other are not seen: choose a smaller `max_step`.

    parameter : "penalty", the strength of the problem's Tikhonov term, or "horizon", the layers
        keeping their shares of it; the problem's own value of it does not matter
    method : Arclength() unless said otherwise
    start, stop : both positive
    initial : a control near a stationary one for `start`, of the space of the problem there; an
        Event of another branch, from which the branch that crosses there is followed; None
        descends from zero by NewtonCG
    side : of an event, which half of the other branch: 1 along its direction, -1 against it.  Where
        the problem has a symmetry that turns the direction round, they are images of each other
    raises SolveError, with the last control, if it cannot be followed to an end, unless
        raise_on_failure=False, which returns what was found; Interrupted on Ctrl-C, with the branch
        so far in `partial`; TypeError, ValueError for problems and arguments that do not fit
    """
    if method is None:
        method = Arclength()
    check_type("problem", problem, LearningProblem)
    check_type("method", method, Arclength)
    family = FAMILIES[check_name("parameter", parameter, tuple(FAMILIES))](problem)
    ends = check_positive("start", start), check_positive("stop", stop)
    if ends[0] == ends[1]:
        raise ValueError(f"start and stop must differ, got {start!r} twice")
    if side not in (1, -1):
        raise ValueError(f"side must be 1 or -1, got {side!r}")
    follow = _Follow(Curve(family, method.gtol), method, ends)
    crossing = isinstance(initial, Event)
    first = follow.crossing(initial, side) if crossing else _first(follow.curve, ends, initial)
    try:
        status = follow.run(first, quiet=crossing)
    except KeyboardInterrupt as error:
        partial = follow.branch(parameter, Status.INTERRUPTED)
        raise Interrupted(_last(partial), partial) from error
    branch = follow.branch(parameter, status)
    _last(branch).raise_if_failed(raise_on_failure)
    return branch


def _last(branch: Branch) -> Solution[Control]:
    """The last point of a branch, with the branch's status."""
    objective = float(branch.objectives[-1])
    return Solution(branch.controls[-1], branch.status, branch.detail, objective)


def _first(curve: Curve, ends: tuple[float, float], initial: Control | None) -> Point:
    """The stationary point near a control, its tangent towards the other end; raises SolveError if
    there is none.
    """
    family, p = curve.family, ends[0]
    if initial is None:
        initial = minimize(family.at(p), NewtonCG()).control
    y = family.unknown(initial, p)
    before = np.append(np.zeros(len(y)), np.sign(ends[1] - p))
    point = curve.at(np.append(y, log(p)), log(p), before)
    if point is None:
        raise SolveError(Solution(initial, Status.BRANCH_LOST, f"at the start, {p:g}"))
    return point


@checked
def equal_values(branch: Branch, other: Branch) -> tuple[Event, ...]:
    """Where two branches have the same J at the same parameter, with different controls, by
    increasing parameter.

    Between neighbouring points of the two, J is interpolated to find a change of sign; there both
    controls are solved for, and the parameter is found by Brent's method, to rounding.  What lies
    between a fold and the point beside it is not looked at.
    raises ValueError for branches of different parameters or spaces, SolveError where a stationary
        point between two known ones is not found
    """
    check_type("branch", branch, Branch)
    check_type("other", other, Branch)
    if branch.parameter != other.parameter:
        raise ValueError(
            f"branch is over {branch.parameter!r}, other over {other.parameter!r}: their values "
            "cannot be compared"
        )
    found: list[Event] = []
    for one, two in product(_pieces(branch), _pieces(other)):
        low, high = max(one.low, two.low), min(one.high, two.high)
        nodes = np.unique(np.concatenate([one.thetas, two.thetas]))
        nodes = nodes[(nodes >= low) & (nodes <= high)]
        gap = one.interpolated(nodes) - two.interpolated(nodes)
        for k in np.flatnonzero(gap[:-1] * gap[1:] <= 0.0):
            event = _equal(one, two, nodes, int(k))
            if event is not None:
                found.append(event)
    return tuple(sorted(found, key=lambda event: event.parameter))


@dataclass(frozen=True, eq=False)
class _Piece:
    """A part of a branch along which the parameter increases."""

    curve: Curve
    rtol: float
    numbers: Array
    thetas: Array
    values: Array
    unknowns: Array

    @property
    def low(self) -> float:
        return float(self.thetas[0])

    @property
    def high(self) -> float:
        return float(self.thetas[-1])

    def interpolated(self, thetas: Array) -> Array:
        """J, linear between points."""
        return np.interp(thetas, self.thetas, self.values)

    def before(self, theta: float) -> int:
        """The number in the branch of the point before it."""
        k = self._after(theta)
        return int(np.min(self.numbers[k - 1 : k + 1]))

    def _after(self, theta: float) -> int:
        return int(np.clip(np.searchsorted(self.thetas, theta), 1, len(self.thetas) - 1))

    def at(self, theta: float) -> Point:
        """The stationary point there.  Raises SolveError."""
        k = self._after(theta)
        a, b = self.thetas[k - 1], self.thetas[k]
        share = (theta - a) / (b - a)
        y = (1.0 - share) * self.unknowns[k - 1] + share * self.unknowns[k]
        before = np.append(np.zeros(len(y)), 1.0)
        point = self.curve.at(np.append(y, theta), theta, before)
        if point is None:
            control = self.curve.family.control(y, exp(theta))
            raise SolveError(Solution(control, Status.BRANCH_LOST, f"at {exp(theta):g}"))
        return point


def _pieces(branch: Branch) -> Iterator[_Piece]:
    """The branch cut where the parameter turns, each piece in the order of the parameter."""
    family = FAMILIES[branch.parameter](branch.problem)
    curve, thetas = Curve(family, branch.method.gtol), np.log(branch.values)
    y = np.array(
        [family.unknown(c, p) for c, p in zip(branch.controls, branch.values, strict=True)]
    )
    turns = 1 + np.flatnonzero(np.diff(np.sign(np.diff(thetas))) != 0)
    for start, stop in pairwise([0, *turns, len(thetas) - 1]):
        rows = np.arange(start, stop + 1)
        rows = rows[np.argsort(thetas[rows])]
        yield _Piece(
            curve, branch.method.rtol, rows, thetas[rows], branch.objectives[rows], y[rows]
        )


def _equal(one: _Piece, two: _Piece, nodes: Array, k: int) -> Event | None:
    """The event between nodes k and k + 1, or their neighbours where interpolation was off; None if
    the controls are the same there, or J is not.
    """

    @cache
    def points(theta: float) -> tuple[Point, Point]:
        return one.at(theta), two.at(theta)

    def gap(theta: float) -> float:
        here, there = points(theta)
        return here.value - there.value

    a, b = float(nodes[k]), float(nodes[k + 1])
    low, high = gap(a), gap(b)
    if low * high > 0.0:
        a, b = float(nodes[max(k - 1, 0)]), float(nodes[min(k + 2, len(nodes) - 1)])
        low, high = gap(a), gap(b)
        if low * high > 0.0:
            return None
    theta = float(scipy.optimize.brentq(gap, a, b, xtol=1e-14))  # type: ignore[arg-type]
    here, there = points(theta)
    if np.linalg.norm(here.z - there.z) <= 1e-6 * (1.0 + np.linalg.norm(here.z)):
        return None
    p, family = exp(theta), one.curve.family
    rounding = abs(here.value - there.value) + 8.0 * float(np.finfo(float).eps) * abs(here.value)
    return Event(
        "equal values",
        p,
        here.value,
        family.control(here.z[:-1], p),
        p * rounding * abs((b - a) / (high - low)),
        family.control(there.z[:-1] - here.z[:-1], p),
        (here.negative(one.rtol), there.negative(two.rtol)),
        here.null(one.rtol),
        one.before(theta),
        here.tangent,
    )


class _Follow:
    """A branch with p between two ends, and what happens along it."""

    def __init__(self, curve: Curve, method: Arclength, ends: tuple[float, float]) -> None:
        self.curve, self.method = curve, method
        self.ends = {log(p): p for p in ends}
        self.low, self.high = min(self.ends), max(self.ends)
        self.points: list[Point] = []
        self.events: list[Event] = []

    def run(self, first: Point, quiet: bool = False) -> Status:
        """Follows the branch from a point along its tangent.

        quiet : the first point is itself an event, which is not looked for again
        """
        self.points, h = [first], 0.1 * self.method.max_step
        while len(self.points) < self.method.max_points:
            found = self._step(self.points[-1], h, quiet and len(self.points) == 1)
            if found is None:
                h *= 0.5
                if h < 1e-8 * self.method.max_step:
                    return Status.BRANCH_LOST
                continue
            self.points.append(found)
            if not self.low < found.theta < self.high:
                return Status.FOLLOWED
            h = min(1.5 * h, self.method.max_step)
        return Status.BRANCH_CAPPED

    def crossing(self, event: Event, side: int) -> Point:
        """A branch point with the tangent of the other branch: in the null space of [H F_theta],
        normal to the tangent of the branch on which it was found.

        raises ValueError for an event that is no branch point of this problem
        """
        if event.kind in ("fold", "equal values"):
            raise ValueError(f"initial is an event where no branch crosses: a {event.kind}")
        family, p = self.curve.family, event.parameter
        y = family.unknown(event.control, p)
        v = family.unknown(event.direction, p)
        z = np.append(y, log(p))
        value, f, matrix = self.curve.system(z)
        if not np.linalg.norm(f) <= self.method.gtol:
            raise ValueError("initial is an event of another problem: J is not stationary there")
        mu, unit = np.linalg.eigvalsh(matrix[:, :-1]), side * _across(v, event.tangent)
        return Point(z, value, float(np.linalg.norm(f)), mu, unit)

    def branch(self, name: str, status: Status) -> Branch:
        """What was found."""
        points, rtol, family = self.points, self.method.rtol, self.curve.family
        values = np.array([self.ends.get(q.theta) or exp(q.theta) for q in points])
        return Branch(
            name,
            values,
            np.array([point.value for point in points]),
            np.array([point.eigenvalues[0] for point in points]),
            tuple(family.control(q.z[:-1], p) for q, p in zip(points, values, strict=True)),
            np.array([point.negative(rtol) for point in points]),
            np.array([point.null(rtol) for point in points]),
            tuple(self.events),
            status,
            f"{len(points)} points, the last at {values[-1]:.6g}",
            family.problem,
            self.method,
        )

    def _step(self, here: Point, h: float, quiet: bool) -> Point | None:
        """The next point, not beyond the range; None if the step is too long.

        It is on the same piece of the curve as far as a step can tell: its tangent has turned
        little, and it is near where the tangent led.
        """
        row = here.tangent
        guess = here.z + h * row
        new = self.curve.solved(guess, row, float(row @ here.z) + h, row)
        if new is None or np.linalg.norm(new.z - guess) > 0.5 * h:
            return None
        if not self.low <= new.theta <= self.high:
            bound = self.low if new.theta < self.low else self.high
            share = (bound - here.theta) / (new.theta - here.theta)
            new = self.curve.at(here.z + share * (new.z - here.z), bound, row)
        if new is None or float(row @ new.tangent) < _STRAIGHT:
            return None
        if quiet:
            return new
        found = self._events(here, new, last=h < 1e-3 * self.method.max_step)
        if found is None:
            return None
        self.events += found
        return new

    def _events(self, one: Point, other: Point, last: bool) -> list[Event] | None:
        """What happens between two points; None if a shorter step may tell more apart.

        One eigenvalue passes zero at a fold, and one where another branch crosses.
        """
        rtol = self.method.rtol
        fold = one.tangent[-1] * other.tangent[-1] < 0.0
        negative = one.negative(rtol), other.negative(rtol)
        passed = abs(negative[1] - negative[0])
        if passed == 0 and not fold:
            return []
        if passed != 1 and not last:
            return None
        number = min(negative)
        if fold:
            at = self.curve.root(one, other, lambda q: q.tangent[-1])
        elif passed == 1:
            at = self.curve.crossing(one, other, number)
        else:
            at = self.curve.root(one, other, lambda q: q.eigenvalues[number])
        if at is None:
            return None
        matrix = self.curve.system(at.z)[2]
        v, plane = _null_vectors(matrix)
        error = at.residual + len(v) * float(np.finfo(float).eps) * at.scale
        if fold:
            kind, error = "fold", error / abs(float(v @ matrix[:, -1]))
        else:
            slope = other.eigenvalues[number] - one.eigenvalues[number]
            slope = float(slope / (other.theta - one.theta))
            tangent = plane.T @ (plane @ (other.z - one.z))
            at = replace(at, tangent=tangent / np.linalg.norm(tangent))
            several = passed != 1
            kind = "branch point" if several else self._kind(at, _across(v, at.tangent), slope)
            crossed = at.eigenvalues[number : max(negative)]  # all of them vanish there
            error = (float(np.max(np.abs(crossed))) + error) / abs(slope)
        family, p = self.curve.family, exp(at.theta)
        control, direction = family.control(at.z[:-1], p), family.control(v, p)
        return [
            Event(
                kind,
                p,
                at.value,
                control,
                p * error,
                direction,
                negative,
                at.null(rtol),
                len(self.points) - 1,
                at.tangent,
            )
        ]

    def _kind(self, at: Point, across: Array, fewer: float) -> str:
        """What crosses at a branch point, from a point on either half of the other branch.

        across : the tangent of the other branch, to first order
        fewer : positive if this branch has fewer negative eigenvalues at larger parameters
        """
        sides = []
        for h in (_BESIDE, -_BESIDE):
            found = self.curve.solved(at.z + h * across, across, float(across @ at.z) + h, across)
            if found is None:
                return "branch point"
            sides.append(found.theta - at.theta)
        if sides[0] * sides[1] <= 0.0:
            return "transcritical"
        return "subcritical pitchfork" if sides[0] * fewer > 0.0 else "supercritical pitchfork"


def _null_vectors(matrix: Array) -> tuple[Array, Array]:
    """At a branch point: the unit v with Hv = 0, and an orthonormal basis (2, n + 1) of the null
    space of [H F_theta].

    Its second vector is (-H^+ F_theta, 1), scaled, with the pseudo-inverse normal to v.
    """
    mu, vectors = np.linalg.eigh(matrix[:, :-1])
    null = int(np.argmin(np.abs(mu)))
    v, rest = vectors[:, null], np.delete(np.arange(len(mu)), null)
    along = vectors[:, rest] @ ((vectors[:, rest].T @ matrix[:, -1]) / mu[rest])
    other = np.append(-along, 1.0)
    return v, np.array([np.append(v, 0.0), other / np.linalg.norm(other)])


def _across(v: Array, tangent: Array) -> Array:
    """The unit vector normal to the tangent, in the plane of it and (v, 0)."""
    across = np.append(v, 0.0) - float(tangent[:-1] @ v) * tangent
    return across / np.linalg.norm(across)
