"""The two-point problem of Pontryagin's principle, by multiple shooting.

The unknowns are the costate at 0 and, at the ends of further segments, state and costate; Newton's
method makes the pieces meet and p(T) the derivative of the terminal cost.  The equations, and how
switching times are located, are in two_point.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count, check_positive
from continuum.controls import Control
from continuum.doors import checked
from continuum.endpoints import no_endpoint
from continuum.problem import LearningProblem

from ..adjoint.discretize import discretize
from ..descent.first_order import GradientDescent
from ..descent.lbfgs import LBFGS
from ..descent.minimize import minimize
from ..descent.run import Minimizer, composite, smooth_run
from ..run.iteration import Run
from ..run.monitors import Monitor
from ..run.solution import SolveError, Trajectory
from ..run.status import Status
from ..steps.tableaux import RK4
from .dense import DenseExtremal, controls_along, hamiltonian_along
from .extremals import Extremal
from .hamiltonian import Hamiltonian
from .switching import resting_entries
from .two_point import Chatter, Exhausted, Overflow, Piece, TwoPoint, Values

_DESCENTS = 100
"""Iterations of the descent that starts the search, at most."""

_STUCK = 1e-2
"""int (H - min H) dt, relative to 1 + |J|, above which the descent is taken to be stuck."""

_GAP = 1e-6
"""H - min H, relative to 1 + |H|, above which the control found is no minimiser."""

_SEARCHED = (Status.NEWTON_SHOOTING_FAILED, Status.SINGULAR_ARC, Status.MAX_EVALUATIONS)
"""Failures for which the control that started the search may be the reason."""


@checked
def shoot(
    problem: LearningProblem,
    *,
    initial: Control | None = None,
    segments: int = 1,
    rtol: float = 1e-11,
    atol: float = 1e-9,
    max_iterations: int = 50,
    max_evaluations: int = 200_000,
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
        "gap", the largest H - min H met; history "residual", "evaluations", "seconds"; after a
        failure the control with the lowest J among what it had and the one it started from.
        `at(times)` gives state, costate, control, switching functions and H between the steps
    raises TypeError where the minimiser of the Hamiltonian is not explicit (with convex sets it is
        where the velocity is affine in the control, and for one sample of a network whose units
        read rows, through a monotone activation where some block has no Tikhonov term; penalised
        rows cost a search in every evaluation; L1 needs a Tikhonov term besides, or counts all
        blocks by groups="joint" in an Amplitude); ValueError for trained blocks without time;
        SolveError if it ends otherwise, unless told not; Interrupted, with the best so far, if
        interrupted from the keyboard
    Source: Liu and Markowich section 4.2; multiple shooting as in Stoer and Bulirsch, 7.3.5.
    """
    no_endpoint(problem.endpoint, "shoot")
    segments = check_count("segments", segments)
    max_iterations = check_count("max_iterations", max_iterations)
    max_evaluations = check_count("max_evaluations", max_evaluations)
    rtol, atol = check_positive("rtol", rtol), check_positive("atol", atol)
    if initial is not None:
        initial = problem.space.check("initial", initial)
    search = _Search(problem, segments, rtol, atol, max_evaluations)
    return search.run(initial, max_iterations, monitors).raise_if_failed(raise_on_failure)


class _Search:
    """Newton's method for the gaps between the segments and the condition at T."""

    def __init__(
        self, problem: LearningProblem, segments: int, rtol: float, atol: float, most: int
    ) -> None:
        self.problem, self.atol = problem, atol
        self.system = TwoPoint(problem, rtol, most)
        self.cuts = np.linspace(0.0, problem.mesh.horizon, segments + 1)

    def run(self, initial: Control | None, most: int, monitors: Sequence[Monitor]) -> Extremal:
        """The search from a control, or from what descents find."""
        control = descended(self.problem, self.atol) if initial is None else initial
        path = smooth_run(discretize(self.problem, RK4()), control)
        start = Extremal(
            control,
            Status.COSTATE_VANISHES,
            objective=path.value,
            state=Trajectory(path.times, path.states),
            costate=Trajectory(path.times, self.problem.sample_weights * path.remaining),
        )
        size = float(np.max(np.abs(path.remaining)))
        if size <= 100.0 * self.atol * (1.0 + float(np.max(np.abs(path.states)))):
            return replace(start, detail=f"|p| is at most {size:.2g}, J = {path.value:.3g}")
        unknowns = self._guess(path.times, path.states, start.costate.states)
        record = Run(
            unknowns, lambda _: control, most, monitors, flat=lambda z: z, merit="residual"
        )
        with record.interruptible(lambda: self._ended(record, start, Status.INTERRUPTED)):
            status = self._newton(record, unknowns)
            return self._ended(record, start, status)

    def _newton(self, record: Run[Array], unknowns: Array) -> Status:
        """How Newton's method ends."""
        try:
            gap = self._residual(unknowns)
            while True:
                size = float(np.max(np.abs(gap)))
                solved = size <= self.atol * (1.0 + float(np.max(np.abs(unknowns))))
                record.evaluations = self.system.evaluations
                numbers = {"residual": size, "evaluations": float(record.evaluations)}
                stopped = record.record(unknowns, numbers, solved)
                if solved or stopped:
                    return Status.CONVERGED_SHOOTING if solved else Status.STOPPED
                found = self._better(unknowns, gap, size)
                if found is None or record.iterations == record.max_iterations:
                    return Status.NEWTON_SHOOTING_FAILED
                unknowns, gap = found
        except Overflow:
            return Status.NON_FINITE
        except Chatter:
            return Status.SINGULAR_ARC
        except Exhausted:
            return Status.MAX_EVALUATIONS

    def _ended(self, record: Run[Array], start: Extremal, status: Status) -> Extremal:
        """What is returned: the extremal, or of a failure the better of the best unknowns and the
        control from which they were sought.
        """
        sizes = record.columns.get("residual", [float("inf")])
        detail = f"after {record.iterations} iterations, residual {min(sizes):.3g}"
        if status is Status.STOPPED and record.watch.reason:
            detail += f", {record.watch.reason}"
        self.system.most = self.system.evaluations + 100_000  # for one run more
        try:
            found = self._extremal(record.best, status, detail)
        except (Overflow, Chatter, Exhausted):
            found = replace(start, status=status, detail=detail)
        if not found.status.ok and not found.objective < start.objective:
            detail = f"{found.detail}; the control from which it started is returned"
            found = replace(start, status=found.status, detail=detail)
        if found.status in _SEARCHED:
            found = replace(found, detail=f"{found.detail}; {self._advice(start.control)}")
        statistics = {
            **record.statistics(),
            "integrations": float(self.system.integrations),
            "evaluations": float(self.system.evaluations),
        }
        return replace(
            found, history=record.history(), statistics={**found.statistics, **statistics}
        )

    def _advice(self, control: Control) -> str:
        """What the control that started the search says of its failure."""
        objective = discretize(self.problem, RK4())
        path = smooth_run(objective, control)
        try:
            slopes = smooth_run(discretize(self.problem), control).gradient
        except SolveError:
            slopes = None
        count, intervals = resting_entries(objective, control, path, slopes)
        if not count:
            return "start from a better control, such as that of minimize, or use more segments"
        told = " and ".join(f"({a:.6g}, {b:.6g})" for a, b in intervals[:3])
        more = " and elsewhere" if len(intervals) > 3 else ""
        return (
            f"{count} of {self.problem.space.size} entries of the start rest between their bounds "
            f"on {told}{more}: perhaps a singular arc, which shooting does not follow; a Tikhonov "
            "term makes the minimiser unique"
        )

    def _better(self, unknowns: Array, gap: Array, size: float) -> tuple[Array, Array] | None:
        """Newton's step, halved until the residual falls; None if it does not."""
        jacobian = _differences(self._residual, unknowns, gap)
        step, factor = np.linalg.lstsq(jacobian, -gap, rcond=1e-13)[0], 1.0
        while factor > 1e-4:
            trial = unknowns + factor * step
            with contextlib.suppress(Overflow, Chatter):
                found = self._residual(trial)
                if float(np.max(np.abs(found))) < (1.0 - 0.1 * factor) * size:
                    return trial, found
            factor /= 2
        return None

    def _guess(self, times: Array, states: Array, costates: Array) -> Array:
        """The unknowns of a run: its costate at 0, state and costate at the other cuts."""
        parts = [costates[0]]
        for n in np.rint(np.interp(self.cuts[1:-1], times, np.arange(len(times)))).astype(int):
            parts += [states[n], costates[n]]
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

    def _extremal(self, unknowns: Array, status: Status, detail: str) -> Extremal:
        """The run of some unknowns.  Raises Overflow, Chatter, Exhausted."""
        problem, system = self.problem, self.system
        pieces = [piece for run in self._runs(unknowns) for piece in run]
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
            statistics={"gap": gap},
            state=Trajectory(times, paths[:, 0]),
            costate=Trajectory(times, paths[:, 1]),
            switches=system.switches(pieces),
            hamiltonian=energies,
            dense=DenseExtremal(system, tuple(pieces)),
        )


def descended(problem: LearningProblem, gtol: float) -> Control:
    """The control that a few iterations of a descent find from zero, by RK4, one step per layer.

    Where the minimiser of H along the run of that control promises more, as where the gradient
    vanishes but H does not rest, a second descent starts on the way to it.
    """
    objective = discretize(problem, RK4())
    method: Minimizer = LBFGS(gtol=gtol, max_iterations=_DESCENTS)
    try:
        method.check(composite(objective))
    except TypeError:
        method = GradientDescent(gtol=gtol, max_iterations=_DESCENTS)
    found = minimize(objective, method, raise_on_failure=False)
    if not np.isfinite(found.objective):
        return found.control
    path = smooth_run(objective, found.control)
    blocks = {n: x for n, x in found.control.items()}
    hamiltonian = Hamiltonian(problem, path.times[:-1], path.states[:-1], path.remaining[:-1])
    best = hamiltonian.minimiser(blocks)
    if not float(problem.mesh.steps @ best.gap) > _STUCK * (1.0 + abs(path.value)):
        return found.control
    way, share = found.control.replaced(**best.values) - found.control, 1.0
    while share > 1e-6:
        trial = found.control + share * way
        if objective.value(trial) < path.value * (1.0 - 1e-6):
            again = minimize(objective, method, initial=trial, raise_on_failure=False)
            return min(found, again, key=lambda solution: solution.objective).control
        share *= 0.5
    return found.control


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
    count = len(pieces)
    middles = np.array([0.5 * (p.t0 + p.t1) for p in pieces])
    inside = np.stack([np.asarray(p.z(float(t))) for p, t in zip(pieces, middles, strict=True)])
    moments, points = np.append(times, middles), np.concatenate([ends, inside])
    signs = [p.signs for p in [*pieces, pieces[-1], *pieces]]
    values = controls_along(system, moments, points, signs)
    hamiltonian = hamiltonian_along(system, moments, points)
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
