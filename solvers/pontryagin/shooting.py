"""The two-point problem of Pontryagin's principle, by multiple shooting, with switching times
located.

With p the derivative of the cost in the state (section "conventions" of the ledger: r = -p in the
paper),

    f' = F(f, c*),                        f(0) = initial,
    p' = -(D_f F)* p - (running cost)_f,  p(T) = (terminal cost)_f,

where c*(f, p) minimises the Hamiltonian (p, F(f, c)) + penalty over the admissible set at every
time.  Where c* is a vertex of a box, the signs of the switching functions D_c (p, F) are held
during a step, and the step is cut where one of them crosses zero.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.integrate
import scipy.optimize

from continuum.arrays import Array
from continuum.checks import check_count, check_positive
from continuum.controls import Control
from continuum.problem import LearningProblem
from continuum.sets import Box

from ..adjoint.discretize import discretize
from ..run.solution import SolveError, Trajectory
from ..run.status import Status
from ..steps.tableaux import RK4
from .extremals import Extremal, Switch
from .hamiltonian import affine_minimiser, closed_form, obstacle, tikhonov_strengths

Values = Mapping[str, Array]
_RESTING = 1e-9
"""Switching functions below this share of their largest value are at rest: a singular arc."""

_MOST_SWITCHES = 100
"""More in one segment are taken for a control that chatters."""


def shoot(
    problem: LearningProblem,
    *,
    initial: Control | None = None,
    segments: int = 1,
    rtol: float = 1e-11,
    tolerance: float = 1e-9,
    max_iterations: int = 50,
    raise_on_failure: bool = True,
) -> Extremal:
    """An extremal of the continuous problem, found by Newton's method for the state-costate
    equations.

    The unknowns are the costate at 0 and, at the ends of further segments, state and costate; few
    units are meant: the Jacobian is formed by differences, (2 N M segments)^2 numbers.  Newton
    finds an extremal near the initial control's; whether it is a minimum, and the lowest one, it
    does not say (LM-55).

    initial : a control whose states and costates start the search; zero if not given
    segments : how many pieces (0, T) is cut into
    rtol : of the integration, by DOP853; tolerance : of the residual, relative to 1 + |unknowns|
    returns Extremal with statistics "iterations", "integrations"
    raises TypeError where the minimiser of the Hamiltonian is not explicit (it is for a Box or a
        Ball without penalty and for Tikhonov terms with convex sets, each with one sample of a
        monotone WidthDepth or a velocity that is affine in the control); ValueError for trained
        blocks without time; SolveError if Newton fails, unless told not
    Source: Liu and Markowich section 4.2; multiple shooting as in Stoer and Bulirsch, 7.3.5.
    """
    check_count("segments", segments)
    check_count("max_iterations", max_iterations)
    check_positive("rtol", rtol)
    check_positive("tolerance", tolerance)
    system = _System(problem, rtol)
    start = problem.space.zeros() if initial is None else initial
    cuts = np.linspace(0.0, problem.mesh.horizon, segments + 1)
    unknowns = system.guess(start, cuts)
    iterations = 0

    def residual(z: Array) -> Array:
        return system.residual(z, cuts)

    size, status = np.inf, Status.NEWTON_SHOOTING_FAILED
    try:
        gap = residual(unknowns)
        size = float(np.max(np.abs(gap)))
        while iterations < max_iterations and size > tolerance * (
            1.0 + float(np.max(np.abs(unknowns)))
        ):
            iterations += 1
            step = np.linalg.lstsq(_differences(residual, unknowns, gap), -gap, rcond=1e-13)[0]
            factor = 1.0
            while True:
                trial = unknowns + factor * step
                trial_gap = residual(trial)
                trial_size = float(np.max(np.abs(trial_gap)))
                if trial_size < (1.0 - 0.1 * factor) * size or factor < 1e-4:
                    break
                factor /= 2
            if not trial_size < size:
                break
            unknowns, gap, size = trial, trial_gap, trial_size
        if size <= tolerance * (1.0 + float(np.max(np.abs(unknowns)))):
            status = Status.CONVERGED_SHOOTING
    except _Overflow:
        status = Status.NON_FINITE
    except _Chatter:
        status = Status.SINGULAR_ARC
    detail = f"after {iterations} iterations, residual {size:.3g}"
    counts = {"iterations": float(iterations), "integrations": float(system.integrations)}
    found = system.extremal(unknowns, cuts, status, detail, counts)
    if raise_on_failure and not status.ok:
        raise SolveError(found)
    return found


class _Overflow(ArithmeticError):
    """The state or the costate did not stay finite."""


class _Chatter(ArithmeticError):
    """The control switches without end: the path runs along a singular arc."""


@dataclass(frozen=True, eq=False)
class _Piece:
    """A step: z(t) on [t0, t1] and the signs that were held."""

    t0: float
    t1: float
    z: Callable[[float], Array]
    signs: Values


def _root(function: Callable[[float], float], left: float, right: float) -> float:
    """A zero between two points of opposite sign."""
    return float(scipy.optimize.brentq(function, left, right, xtol=1e-15))  # type: ignore[arg-type]


def _differences(function: Callable[[Array], Array], x: Array, value: Array) -> Array:
    """The Jacobian by central differences; 0 for an unknown on a singular arc, beside which the
    control chatters.
    """
    jacobian = np.zeros((len(value), len(x)))
    for i in range(len(x)):
        h = 1e-6 * (1.0 + abs(float(x[i])))
        moved = np.zeros_like(x)
        moved[i] = h
        with contextlib.suppress(_Chatter):
            jacobian[:, i] = (function(x + moved) - function(x - moved)) / (2.0 * h)
    return jacobian


class _System:
    """The state-costate equations of a problem, with the minimiser of the Hamiltonian put in."""

    def __init__(self, problem: LearningProblem, rtol: float) -> None:
        self.problem, self.rtol, self.integrations = problem, rtol, 0
        self.functional = problem.functional
        self.network, self.space, self.mesh = problem.network, problem.space, problem.mesh
        self.units, self.samples = problem.initial.shape
        wrong = obstacle(problem)
        if wrong:
            raise ValueError(f"shoot needs Pontryagin's principle, but {wrong}")
        if closed_form(problem) == "local" or (
            problem.admissible is not None and not problem.admissible.convex
        ):
            raise TypeError(
                "shoot needs an explicit minimiser of the Hamiltonian: a velocity that is affine "
                "in the control, or "
                "one sample of a WidthDepth with a monotone activation and no penalty; and a "
                "convex set or a Tikhonov "
                "term for every trained block"
            )
        self.strengths = tikhonov_strengths(problem)
        parts = () if problem.admissible is None else problem.admissible.parts
        self.held = not any(self.strengths.values()) and all(
            isinstance(part, Box) for part in parts
        )

    # -- the equations
    # ---------------------------------------------------------------------------------

    def split(self, z: Array) -> tuple[Array, Array]:
        """(f, p), each (N, M)."""
        return tuple(z.reshape(2, self.units, self.samples))  # type: ignore[return-value]

    def switching(self, t: float, z: Array, values: Values) -> dict[str, Array]:
        """D_c (p, F) for the trained blocks: the switching functions."""
        f, p = self.split(z)
        bars = self.network.vjp(f, values, t, p)[1]
        return {b.name: bars[b.name] for b in self.space.trained}

    def control(self, t: float, z: Array, signs: Values) -> dict[str, Array]:
        """The minimiser of the Hamiltonian, or the vertex with the signs held; the point nearest to
        0 for a sign 0.
        """
        fixed = dict(self.space.fixed)
        resting = {b.name: np.zeros(b.shape) for b in self.space.trained}
        if self.held and self.problem.admissible is not None:
            resting = self.problem.admissible.nearest(resting, self.space)
            return {**fixed, **affine_minimiser(self.problem, signs, resting)}
        bars = self.switching(t, z, {**fixed, **resting})
        return {**fixed, **affine_minimiser(self.problem, bars, resting)}

    def slope(self, t: float, z: Array, signs: Values) -> Array:
        """(f', p') as one vector."""
        f, p = self.split(z)
        values = self.control(t, z, signs)
        back = self.network.vjp(f, values, t, p)[0]
        back = back + self.functional.running_vjp(f, values, t)[0]
        return np.stack([self.network.velocity(f, values, t), -back]).ravel()

    # -- integration
    # -----------------------------------------------------------------------------------

    def run(self, t0: float, t1: float, z: Array) -> list[_Piece]:
        """The steps from t0 to t1."""
        self.integrations += 1
        pieces: list[_Piece] = []
        switched = 0
        signs = self._signs(t0, z, {})
        while t0 < t1:
            solver = scipy.integrate.DOP853(
                lambda t, x, held=signs: self.slope(t, x, held),
                t0,
                z,
                t1,
                rtol=self.rtol,
                atol=0.1 * self.rtol,
            )
            changed: dict[str, Array] = {}
            while solver.status == "running" and not changed:
                solver.step()
                if solver.status == "failed" or not np.all(np.isfinite(solver.y)):
                    raise _Overflow
                inside, begin, end = solver.dense_output(), float(solver.t_old), float(solver.t)  # type: ignore[arg-type]
                if self.held:
                    end, changed = self._first_change(inside, begin, end, signs)
                pieces.append(_Piece(begin, end, inside, signs))
            t0, z = pieces[-1].t1, np.asarray(pieces[-1].z(pieces[-1].t1))
            if changed:
                switched += 1
                if switched > _MOST_SWITCHES:
                    raise _Chatter
                signs = {n: np.where(changed[n], -s, s) for n, s in signs.items()}
                signs = self._signs(t0, z, signs)
        return pieces

    def _signs(self, t: float, z: Array, held: Values) -> dict[str, Array]:
        """The signs of the switching functions; where they vanish, those held, or of a moment
        later.
        """
        zero = {b.name: np.zeros(b.shape) for b in self.space.trained}
        if not self.held:
            return zero
        signs = {n: np.array(held.get(n, zero[n])) for n in zero}
        later = z
        for _ in range(
            2
        ):  # what vanishes at t may be seen a moment later: twice, for what follows from the first
            found = self._switching_at(t, later, signs)
            for name, g in found.items():
                level = _RESTING * max(float(np.max(np.abs(x))) for x in found.values())
                signs[name] = np.where(
                    (signs[name] == 0) & (np.abs(g) > level), np.sign(g), signs[name]
                )
            later = z + 1e-6 * self.mesh.horizon * self.slope(t, z, signs)
        return signs

    def _switching_at(self, t: float, z: Array, signs: Values) -> dict[str, Array]:
        return self.switching(t, z, self.control(t, z, signs))

    def _first_change(
        self, inside: Callable[[float], Array], begin: float, end: float, signs: Values
    ) -> tuple[float, dict[str, Array]]:
        """The end of the step, cut at the first crossing, and which signs change there."""

        def against(t: float) -> dict[str, Array]:
            """The switching functions times the signs held: < 0 where they have crossed."""
            found = self._switching_at(t, np.asarray(inside(t)), signs)
            return {n: g * signs[n] for n, g in found.items()}

        first, names = end, {n: np.zeros(s.shape, dtype=bool) for n, s in signs.items()}
        times = begin + (end - begin) * np.linspace(0.0, 1.0, 9)[1:]
        for left, right in zip(np.append(begin, times[:-1]), times, strict=True):
            after, before = against(float(right)), against(float(left))
            level = 1e-13 * max(float(np.max(np.abs(g))) for g in after.values())
            crossing = [
                (n, tuple(i))
                for n, g in after.items()
                for i in np.argwhere((g < -level) & (before[n] > level))
            ]
            if not crossing:
                continue
            roots = {
                (n, i): _root(
                    lambda t, n=n, i=i: float(against(t)[n][i]), float(left), float(right)
                )
                for n, i in crossing
            }
            first = min(roots.values())
            for (n, i), t in roots.items():
                names[n][i] = t <= first + 1e-12 * self.mesh.horizon
            return first, names
        return end, {}

    # -- unknowns
    # --------------------------------------------------------------------------------------

    def guess(self, control: Control, cuts: Array) -> Array:
        """The unknowns of a control: its own states and costates (RK4)."""
        path = discretize(self.problem, RK4()).run(control)
        weights = self.problem.sample_weights
        parts = [weights * path.remaining[0]]
        for n in np.rint(np.interp(cuts[1:-1], path.times, np.arange(len(path.times)))).astype(int):
            parts += [path.states[n], weights * path.remaining[n]]
        return np.concatenate([np.ravel(x) for x in parts])

    def starts(self, unknowns: Array) -> list[Array]:
        """z at the start of every segment."""
        size = self.units * self.samples
        first = np.concatenate([self.problem.initial.ravel(), unknowns[:size]])
        return [first, *unknowns[size:].reshape(-1, 2 * size)]

    def residual(self, unknowns: Array, cuts: Array) -> Array:
        """The gaps between segments, and p(T) minus the terminal cost's derivative."""
        starts = self.starts(unknowns)
        gaps = []
        for n, z in enumerate(starts):
            last = self.run(float(cuts[n]), float(cuts[n + 1]), z)[-1]
            end = np.asarray(last.z(last.t1))
            if n + 1 < len(starts):
                gaps.append(end - starts[n + 1])
            else:
                f, p = self.split(end)
                gaps.append((p - self.functional.terminal_vjp(f)[0]).ravel())
        return np.concatenate(gaps)

    def extremal(
        self, unknowns: Array, cuts: Array, status: Status, detail: str, counts: Mapping[str, float]
    ) -> Extremal:
        """What is returned of the unknowns."""
        try:
            runs = [
                self.run(float(a), float(b), z)
                for a, b, z in zip(cuts[:-1], cuts[1:], self.starts(unknowns), strict=True)
            ]
        except (_Overflow, _Chatter):
            return Extremal(self.space.zeros(), status, detail, float("inf"), statistics=counts)
        pieces = [piece for run in runs for piece in run]
        times = np.array([p.t0 for p in pieces] + [pieces[-1].t1])
        ends = np.stack(
            [np.asarray(p.z(p.t0)) for p in pieces] + [np.asarray(pieces[-1].z(pieces[-1].t1))]
        )
        paths = ends.reshape(len(times), 2, self.units, self.samples)
        objective = self.functional.terminal_cost(paths[-1, 0])
        total = {b.name: np.zeros(self.space.shape(b)) for b in self.space.trained}
        points, weights = np.polynomial.legendre.leggauss(6)
        for piece in pieces:
            inner = self.mesh.nodes[(self.mesh.nodes > piece.t0) & (self.mesh.nodes < piece.t1)]
            for left, right in zip(
                np.append(piece.t0, inner), np.append(inner, piece.t1), strict=True
            ):
                layer = self.mesh.layer_of(0.5 * (left + right))
                for x, w in zip(points, weights, strict=True):
                    t = 0.5 * (left + right) + 0.5 * (right - left) * x
                    share = 0.5 * (right - left) * w
                    z = np.asarray(piece.z(t))
                    values = self.control(t, z, piece.signs)
                    objective += share * self._density(t, z, values)
                    for name in total:
                        total[name][layer] += share / self.mesh.steps[layer] * values[name]
        energies = [self._hamiltonian(p.t0, ends[n], p.signs) for n, p in enumerate(pieces)]
        energies.append(self._hamiltonian(float(times[-1]), ends[-1], pieces[-1].signs))
        return Extremal(
            Control(self.space, total, trusted=True),
            status,
            detail,
            objective,
            statistics=counts,
            state=Trajectory(times, paths[:, 0]),
            costate=Trajectory(times, paths[:, 1]),
            switches=self._switches(pieces),
            hamiltonian=np.array(energies),
        )

    def _density(self, t: float, z: Array, values: Values) -> float:
        """The integrand of the cost: running cost and penalty."""
        density = self.functional.running_cost(self.split(z)[0], values, t)
        for block in self.space.trained:
            density += self.strengths[block.name] * float(
                np.sum(block.weights * values[block.name] ** 2)
            )
        return density

    def _hamiltonian(self, t: float, z: Array, signs: Values) -> float:
        f, p = self.split(z)
        values = self.control(t, z, signs)
        power = np.sum(self.network.weights[:, None] * p * self.network.velocity(f, values, t))
        return float(power) + self._density(t, z, values)

    def _switches(self, pieces: list[_Piece]) -> tuple[Switch, ...]:
        found = []
        for before, after in pairwise(pieces):
            for name, signs in before.signs.items():
                for index in np.argwhere(signs * after.signs[name] < 0):
                    found.append(Switch(before.t1, name, tuple(int(i) for i in index)))
        return tuple(found)
