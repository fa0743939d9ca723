"""The two-point problem of Pontryagin's principle, by multiple shooting.

The unknowns are the costate at 0 and, at the ends of further segments, state and costate; Newton's
method makes the pieces meet and p(T) the derivative of the terminal cost.  The equations, and how
switching times are located, are in two_point.
"""

import contextlib
import time
from collections.abc import Callable, Sequence

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count, check_positive
from continuum.controls import Control
from continuum.problem import LearningProblem

from ..adjoint.discretize import discretize
from ..descent.first_order import GradientDescent
from ..descent.minimize import minimize
from ..descent.run import composite
from ..descent.second_order import LBFGS
from ..run.monitors import Monitor, Snapshot, Watch
from ..run.solution import Trajectory
from ..run.status import Status
from ..steps.tableaux import RK4
from .extremals import Extremal
from .hamiltonian import Hamiltonian
from .two_point import Chatter, Exhausted, Overflow, Piece, TwoPoint, Values

_DESCENTS = 100
"""Iterations of the descent that starts the search, at most."""

_GAP = 1e-6
"""H - min H, relative to 1 + |H|, above which the control found is no minimiser."""


def shoot(
    problem: LearningProblem,
    *,
    initial: Control | None = None,
    segments: int = 1,
    rtol: float = 1e-11,
    atol: float = 1e-9,
    max_iterations: int = 50,
    max_evaluations: int = 300_000,
    monitors: Sequence[Monitor] = (),
    raise_on_failure: bool = True,
) -> Extremal:
    """An extremal of the continuous problem, found by Newton's method for the state-costate
    equations.

    Few units are meant: the Jacobian is formed by differences, (2 N M segments)^2 numbers.  Newton
    finds an extremal near the initial control's; whether it is a minimum, and the lowest one, it
    does not say (LM-55).  Where the costate of the initial control vanishes, every control is
    extremal: that control is returned, with a status that says so.

    initial : a control whose states and costates start the search; None for what at most 100
        iterations of a descent from zero find
    segments : how many pieces (0, T) is cut into
    rtol : of the integration, by DOP853
    atol : of the residual, relative to 1 + the largest unknown
    max_evaluations : of the right-hand side of the equations, in all
    monitors : see a Snapshot with values "residual" and "evaluations" at every iteration
    returns Extremal with statistics "iterations", "integrations", "evaluations", "seconds" and
        "gap", the largest H - min H met; history "residual"
    raises TypeError where the minimiser of the Hamiltonian is not explicit (it is without penalty
        for a Box, Ball or L1Ball, and for Tikhonov terms with convex sets, where the velocity is
        affine in the control; without penalty also for one sample of a network whose units read
        rows through a monotone activation); ValueError for trained blocks without time;
        SolveError if it ends otherwise, unless told not.  KeyboardInterrupt, with the best so far
        as its attribute `solution`, if interrupted
    Source: Liu and Markowich section 4.2; multiple shooting as in Stoer and Bulirsch, 7.3.5.
    """
    segments = check_count("segments", segments)
    max_iterations = check_count("max_iterations", max_iterations)
    max_evaluations = check_count("max_evaluations", max_evaluations)
    rtol, atol = check_positive("rtol", rtol), check_positive("atol", atol)
    if initial is not None:
        initial = problem.space.check("initial", initial)
    watch = Watch(monitors, max_iterations)
    search = _Search(problem, segments, rtol, atol, max_evaluations, watch)
    return search.run(initial, max_iterations).raise_if_failed(raise_on_failure)


class _Search:
    """Newton's method for the gaps between the segments and the condition at T."""

    def __init__(
        self,
        problem: LearningProblem,
        segments: int,
        rtol: float,
        atol: float,
        most: int,
        watch: Watch,
    ) -> None:
        self.problem, self.atol, self.watch = problem, atol, watch
        self.system = TwoPoint(problem, rtol, most)
        self.cuts = np.linspace(0.0, problem.mesh.horizon, segments + 1)
        self.began, self.residuals = time.perf_counter(), []
        self.unknowns = np.empty(0)

    def run(self, initial: Control | None, most: int) -> Extremal:
        """The search from a control, or from what a descent finds."""
        control = descended(self.problem, self.atol) if initial is None else initial
        path = discretize(self.problem, RK4()).run(control)
        size = float(np.max(np.abs(path.remaining)))
        if size <= 100.0 * self.atol * (1.0 + float(np.max(np.abs(path.states)))):
            return Extremal(
                control,
                Status.COSTATE_VANISHES,
                f"|p| is at most {size:.2g}, J = {path.value:.3g}",
                path.value,
                statistics=self._counts(),
                state=Trajectory(path.times, path.states),
                costate=Trajectory(path.times, path.remaining),
            )
        self.unknowns = self._guess(path.times, path.states, path.remaining)
        try:
            status, detail = self._newton(most)
        except KeyboardInterrupt as interrupt:
            detail = f"interrupted after {len(self.residuals)} iterations"
            interrupt.solution = self._extremal(Status.STOPPED, detail)  # type: ignore[attr-defined]
            raise
        return self._extremal(status, detail)

    def _newton(self, most: int) -> tuple[Status, str]:
        """How Newton's method ends; `unknowns` are the best it had."""
        status, size = Status.NEWTON_SHOOTING_FAILED, np.inf
        try:
            gap = self._residual(self.unknowns)
            while True:
                size = float(np.max(np.abs(gap)))
                self.residuals.append(size)
                count = len(self.residuals) - 1
                solved = size <= self.atol * (1.0 + float(np.max(np.abs(self.unknowns))))
                numbers = {"residual": size, "evaluations": float(self.system.evaluations)}
                moment = Snapshot(count, most, float(count), self.unknowns, numbers)
                stopped = self.watch.look(moment, last=solved or count == most)
                if solved or stopped or count == most:
                    status = (
                        Status.CONVERGED_SHOOTING
                        if solved
                        else (Status.STOPPED if stopped else status)
                    )
                    break
                found = self._better(gap, size)
                if found is None:
                    break
                self.unknowns, gap = found
        except Overflow:
            status = Status.NON_FINITE
        except Chatter:
            status = Status.SINGULAR_ARC
        except Exhausted:
            status = Status.MAX_EVALUATIONS
        reason = f", {self.watch.reason}" if status is Status.STOPPED and self.watch.reason else ""
        count = max(len(self.residuals) - 1, 0)
        return status, f"after {count} iterations, residual {size:.3g}{reason}"

    def _better(self, gap: Array, size: float) -> tuple[Array, Array] | None:
        """Newton's step, halved until the residual falls; None if it does not."""
        jacobian = _differences(self._residual, self.unknowns, gap)
        step, factor = np.linalg.lstsq(jacobian, -gap, rcond=1e-13)[0], 1.0
        while factor > 1e-4:
            trial = self.unknowns + factor * step
            with contextlib.suppress(Overflow, Chatter):
                found = self._residual(trial)
                if float(np.max(np.abs(found))) < (1.0 - 0.1 * factor) * size:
                    return trial, found
            factor /= 2
        return None

    def _guess(self, times: Array, states: Array, costates: Array) -> Array:
        """The unknowns of a run: its costate at 0, state and costate at the other cuts."""
        weighted = self.problem.sample_weights * costates
        parts = [weighted[0]]
        for n in np.rint(np.interp(self.cuts[1:-1], times, np.arange(len(times)))).astype(int):
            parts += [states[n], weighted[n]]
        return np.concatenate([np.ravel(x) for x in parts])

    def _starts(self, unknowns: Array) -> list[Array]:
        """z at the start of every segment."""
        size = self.problem.initial.size
        first = np.concatenate([self.problem.initial.ravel(), unknowns[:size]])
        return [first, *unknowns[size:].reshape(-1, 2 * size)]

    def _runs(self, unknowns: Array) -> list[list[Piece]]:
        """The pieces of every segment."""
        return [
            self.system.run(float(a), float(b), z)
            for a, b, z in zip(self.cuts[:-1], self.cuts[1:], self._starts(unknowns), strict=True)
        ]

    def _residual(self, unknowns: Array) -> Array:
        """The gaps between segments, and p(T) minus the terminal cost's derivative."""
        ends = [np.asarray(run[-1].z(run[-1].t1)) for run in self._runs(unknowns)]
        starts = self._starts(unknowns)
        gaps = [end - start for end, start in zip(ends[:-1], starts[1:], strict=True)]
        return np.concatenate([*gaps, self.system.end_gap(ends[-1])])

    def _counts(self, gap: float = float("nan")) -> dict[str, float]:
        return {
            "iterations": float(max(len(self.residuals) - 1, 0)),
            "integrations": float(self.system.integrations),
            "evaluations": float(self.system.evaluations),
            "gap": gap,
            "seconds": time.perf_counter() - self.began,
        }

    def _extremal(self, status: Status, detail: str) -> Extremal:
        """What is returned of the unknowns."""
        problem, system = self.problem, self.system
        history = {"residual": np.array(self.residuals), **self.watch.history()}
        system.most += system.evaluations + 100_000  # one more integration, whatever was spent
        try:
            pieces = [piece for run in self._runs(self.unknowns) for piece in run]
        except (Overflow, Chatter, Exhausted):
            zero = problem.space.zeros()
            return Extremal(zero, status, detail, np.inf, history, self._counts())
        times = np.array([p.t0 for p in pieces] + [pieces[-1].t1])
        ends = np.stack(
            [np.asarray(p.z(p.t0)) for p in pieces] + [np.asarray(pieces[-1].z(pieces[-1].t1))]
        )
        paths = ends.reshape(len(times), 2, *problem.initial.shape)
        energies, gap = _hamiltonians(system, times, ends, pieces)
        if status.ok and gap > _GAP * (1.0 + float(np.max(np.abs(energies)))):
            status = Status.NEWTON_SHOOTING_FAILED
            detail += f"; the equations hold, but the control does not minimise H: gap {gap:.3g}"
        control, integral = _averages(system, pieces)
        return Extremal(
            control,
            status,
            detail,
            problem.functional.terminal_cost(paths[-1, 0]) + integral,
            history,
            self._counts(gap),
            state=Trajectory(times, paths[:, 0]),
            costate=Trajectory(times, paths[:, 1]),
            switches=system.switches(pieces),
            hamiltonian=energies,
        )


def descended(problem: LearningProblem, gtol: float) -> Control:
    """The control that a few iterations of a descent find from zero, by RK4, one step per layer."""
    objective = discretize(problem, RK4())
    method = LBFGS(gtol=gtol, max_iterations=_DESCENTS)
    try:
        method.check(composite(objective))
    except TypeError:
        method = GradientDescent(gtol=gtol, max_iterations=_DESCENTS)
    return minimize(objective, method, raise_on_failure=False).control


def _differences(function: Callable[[Array], Array], x: Array, value: Array) -> Array:
    """The Jacobian by central differences; 0 for an unknown on a singular arc, beside which the
    control chatters.
    """
    jacobian = np.zeros((len(value), len(x)))
    for i in range(len(x)):
        h = 1e-6 * (1.0 + abs(float(x[i])))
        shift = np.zeros_like(x)
        shift[i] = h
        with contextlib.suppress(Chatter):
            jacobian[:, i] = (function(x + shift) - function(x - shift)) / (2.0 * h)
    return jacobian


def _hamiltonians(
    system: TwoPoint, times: Array, ends: Array, pieces: list[Piece]
) -> tuple[Array, float]:
    """(S,): H at the ends of the pieces, and the largest H - min H there and in their middles."""
    problem, count = system.problem, len(pieces)
    middles = np.array([0.5 * (p.t0 + p.t1) for p in pieces])
    inside = np.stack([np.asarray(p.z(float(t))) for p, t in zip(pieces, middles, strict=True)])
    moments, points = np.append(times, middles), np.concatenate([ends, inside])
    signs = [p.signs for p in [*pieces, pieces[-1], *pieces]]
    rows = [
        system.control(float(t), z, held) for t, z, held in zip(moments, points, signs, strict=True)
    ]
    values = {b.name: np.stack([c[b.name] for c in rows]) for b in problem.space.trained}
    f, p = np.moveaxis(points.reshape(len(points), 2, *problem.initial.shape), 1, 0)
    weights = np.where(problem.sample_weights > 0.0, problem.sample_weights, 1.0)
    hamiltonian = Hamiltonian(problem, moments, f, p / weights)
    return hamiltonian.value(values)[: count + 1], float(np.max(hamiltonian.minimiser(values).gap))


def _averages(system: TwoPoint, pieces: list[Piece]) -> tuple[Control, float]:
    """The control averaged over layers, and the integral of running cost and penalty, by Gauss's
    rule with six points on every piece of a layer.
    """
    mesh, space = system.mesh, system.space
    integral = 0.0
    total = {b.name: np.zeros(space.shape(b)) for b in space.trained}
    points, weights = np.polynomial.legendre.leggauss(6)
    for piece in pieces:
        inner = mesh.nodes[(mesh.nodes > piece.t0) & (mesh.nodes < piece.t1)]
        for left, right in zip(np.append(piece.t0, inner), np.append(inner, piece.t1), strict=True):
            layer = mesh.layer_of(0.5 * (left + right))
            for x, w in zip(points, weights, strict=True):
                t = 0.5 * (left + right) + 0.5 * (right - left) * x
                share = 0.5 * (right - left) * w
                z = np.asarray(piece.z(t))
                values = system.control(t, z, piece.signs)
                integral += share * _density(system, t, z, values)
                for name in total:
                    total[name][layer] += share / mesh.steps[layer] * values[name]
    return Control(space, total, trusted=True), integral


def _density(system: TwoPoint, t: float, z: Array, values: Values) -> float:
    """The integrand of the cost: running cost and penalty."""
    problem, density = system.problem, 0.0
    if problem.functional.running is not None:
        density = problem.functional.running_cost(system.split(z)[0], values, t)
    if problem.penalty is not None:
        trained = {b.name: values[b.name] for b in system.space.trained}
        density += float(problem.penalty.density(system.space, trained))
    return density
