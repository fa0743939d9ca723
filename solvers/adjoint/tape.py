"""Forward and backward sweeps over some of the steps of a run: generic, or compiled where the loops
apply.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from continuum.arrays import Array, namespace
from continuum.controls import Control
from continuum.problem import LearningProblem

from ..flow import dense_loops
from ..flow.adaptive import accepted_steps
from ..flow.advance import Advance, CompiledAdvance, DenseData, GenericAdvance, Steps
from ..run.solution import Solution, SolveError, States, Trajectory
from ..run.status import Status
from ..steps.embedded import AdaptiveRungeKutta
from ..steps.tableaux import StepFailed
from . import dense_second_order
from .discrete_cost import DiscreteCost
from .step_derivatives import StepDerivatives, Tableau


@dataclass(frozen=True, eq=False)
class Tape:
    """What a forward sweep leaves for the backward ones.

    first : the number of its first step
    steps : its steps
    states : the states before and after each step
    slopes : (S, s, N, M) if the compiled loop ran, else None
    """

    first: int
    steps: Steps
    states: States
    slopes: Array | None = None


@dataclass(frozen=True, eq=False)
class Sweeps:
    """The steps of one run, with what their sweeps need."""

    problem: LearningProblem
    control: Control
    stepper: Tableau
    steps: Steps
    cost: DiscreteCost
    data: DenseData | None

    @property
    def derivatives(self) -> StepDerivatives:
        """The derivatives of one step."""
        return StepDerivatives(self.problem.network, self.control, self.stepper)

    @property
    def loop(self) -> DenseData:
        """The data of the compiled loops, for tapes that have slopes."""
        if self.data is None:
            raise TypeError("these steps were not made by the compiled loop")
        return self.data

    def advance(self, f: Array, start: int, stop: int) -> Array:
        """The state after the steps start, ..., stop - 1.  Raises SolveError."""
        return self._run(f, start, stop, keep=False)[0]

    def record(self, f: Array, start: int, stop: int) -> Tape:
        """The same, with all that the backward sweep needs.  Raises SolveError."""
        if self.data is None:
            return Tape(start, self.steps[start:stop], self._run(f, start, stop, keep=True)[1])
        steps = self.steps[start:stop]
        states = np.empty((len(steps) + 1, *f.shape))
        slopes = np.empty((len(steps), len(self.stepper.b), *f.shape))
        with np.errstate(over="ignore", invalid="ignore"):
            failed = self.data.advance(np.array(f, order="C"), steps, states, slopes)
        if failed >= 0:
            raise self._failure(states[: failed + 1], start, Status.NON_FINITE)
        return Tape(start, steps, states, slopes)

    def _run(self, f: Array, start: int, stop: int, keep: bool) -> tuple[Array, States]:
        advance: Advance = GenericAdvance(
            self.problem.network, self.control, self.stepper, self.steps
        )
        if self.data is not None:
            advance = CompiledAdvance(self.data, self.steps)
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                final, failed, states = advance(f, start, stop - start, keep)
        except StepFailed as error:
            raise self._failure([f], start, Status.NEWTON_FAILED, str(error)) from error
        if failed >= 0:
            raise self._failure(states[:-1] if keep else [f], start, Status.NON_FINITE)
        return final, states

    def _failure(self, states: States, first: int, status: Status, detail: str = "") -> SolveError:
        times = np.append(self.steps.start, self.problem.mesh.horizon)[first : first + len(states)]
        stacked = namespace(states[0]).stack(list(states))
        return SolveError(
            Solution(Trajectory(times, stacked), status, detail or f"at t = {times[-1]:.6g}")
        )

    def seeds(self, tape: Tape, total: Mapping[str, Array]) -> dict[int, Array]:
        """What the costs add to the costate after each step of the tape, and at the start of the
        run.
        """
        found = {}
        for i in range(0 if tape.first == 0 else 1, len(tape.states)):
            seed = self.cost.seed(tape.first + i, tape.states[i], total)
            if seed is not None:
                found[i] = seed
        return found

    def value(self, tape: Tape) -> float:
        """The costs of the same states."""
        first = 0 if tape.first == 0 else 1
        return sum(
            self.cost.value(tape.first + i, tape.states[i]) for i in range(first, len(tape.states))
        )


def prepare(
    problem: LearningProblem, control: Control, stepper: Tableau, steps: Steps, running_on: str
) -> Sweeps:
    """The sweeps over these steps."""
    data = DenseData.of(problem.network, control, stepper, problem.initial)
    cost = DiscreteCost.of(problem, control, steps, running_on)
    return Sweeps(problem, control, stepper, steps, cost, data)


def adaptive_steps(
    problem: LearningProblem, control: Control, stepper: AdaptiveRungeKutta, keep: bool
) -> tuple[Steps, States]:
    """The accepted steps and, if kept, their states; they end at the ends of layers where control
    or cost needs it.

    raises SolveError if the run fails
    """
    stops = control.breakpoints
    if problem.running is not None:
        stops = tuple(float(t) for t in problem.mesh.nodes[1:-1])
    taken, states = [], [problem.initial]
    with np.errstate(over="ignore", invalid="ignore"):
        for attempt in accepted_steps(problem.network, control, stepper, problem.initial, stops):
            if attempt.accepted:
                taken.append((attempt.layer, attempt.start, attempt.end - attempt.start))
                if not keep:
                    states.clear()
                states.append(attempt.state)
            if attempt.status is not None:
                stacked = namespace(states[0]).stack(states)
                times = np.append([s[1] for s in taken], attempt.start)[-len(states) :]
                detail = f"at t = {attempt.start:.6g}"
                raise SolveError(Solution(Trajectory(times, stacked), attempt.status, detail))
    return Steps.accepted(problem.mesh, taken), states


@dataclass(eq=False)
class Backward:
    """The costates, from the last step to the first, tape by tape; cotangents are collected in
    `total`.
    """

    sweeps: Sweeps
    total: dict[str, Array]
    keep: bool = False
    p: Array | None = None
    costates: list[Array] = field(default_factory=list)
    fresh: Array | None = None

    def __call__(self, tape: Tape) -> None:
        """Moves p from the end of the tape to its start; the costates at its ends are kept, if
        wanted.
        """
        seeds = self.sweeps.seeds(tape, self.total)
        p = namespace(tape.states[0]).zeros_like(tape.states[0]) if self.p is None else self.p
        self.p = (self._generic if tape.slopes is None else self._compiled)(tape, seeds, p)

    def _generic(self, tape: Tape, seeds: Mapping[int, Array], p: Array) -> Array:
        derivatives, space = self.sweeps.derivatives, self.sweeps.problem.space
        count = len(tape.steps)
        for n in range(count, -1, -1):
            if n < count:
                step = derivatives.step(*_step(tape, n), tape.states[n])
                p, _, bars = derivatives.adjoint(step, p)
                for at, bar in zip(step.times, bars, strict=True):
                    space.scatter(self.total, step.layer, at, bar, step.h)
            if n in seeds:
                p = p + seeds[n]
            if self.keep:
                self.costates.append(p)
        return p

    def _compiled(self, tape: Tape, seeds: Mapping[int, Array], p: Array) -> Array:
        data, steps, shape = self.sweeps.loop, tape.steps, tape.states[0].shape
        bars = _bars(self.total, shape[0])
        if self.fresh is None:
            self.fresh = _fresh(self.sweeps, len(bars[1]))
        costates = np.empty((len(steps) + 1 if self.keep else 0, *shape))
        dense_loops.adjoint(
            tape.states,
            tape.slopes,
            _places(seeds, len(steps)),
            _stacked(seeds, shape),
            data.bias_kind,
            data.kernel,
            data.kernel_kind,
            data.w,
            data.code,
            data.a,
            data.b,
            data.c,
            steps.layer,
            steps.size,
            steps.theta,
            steps.dtheta,
            *bars,
            self.fresh,
            p,
            costates,
        )
        self.costates += list(costates[::-1])
        return p


def second_order(sweeps: Sweeps, tape: Tape, direction: Control, total: dict[str, Array]) -> None:
    """Collects in `total` the derivative, in a direction, of the cotangents of a whole run."""
    xp = namespace(tape.states[0])
    zero = xp.zeros_like(tape.states[0])
    dslopes = np.empty_like(tape.slopes) if tape.slopes is not None else None
    if dslopes is not None:
        dstates: States = _compiled_tangent(sweeps, tape, direction, dslopes)
    else:
        moved, derivatives = [zero], sweeps.derivatives
        for n in range(len(tape.steps)):
            step = derivatives.step(*_step(tape, n), tape.states[n])
            moved.append(derivatives.tangent(step, direction, moved[n])[0])
        dstates = moved
    seeds, dseeds = {}, {}
    for n, f in enumerate(tape.states):
        seed = sweeps.cost.seed(n, f, {})
        dseed = sweeps.cost.seed_derivative(n, f, dstates[n], direction, total)
        if seed is not None and dseed is not None:
            seeds[n], dseeds[n] = seed, dseed
    if dslopes is not None:
        _compiled_second_order(sweeps, tape, direction, dstates, dslopes, seeds, dseeds, total)
        return
    derivatives, count = sweeps.derivatives, len(tape.steps)
    p, dp = zero, zero
    for n in range(count, -1, -1):
        if n < count:
            step = derivatives.step(*_step(tape, n), tape.states[n])
            dstages = derivatives.tangent(step, direction, dstates[n])[1]
            p, lam, _ = derivatives.adjoint(step, p)
            dp, bars = derivatives.adjoint_tangent(step, direction, dstages, lam, dp)
            for at, bar in zip(step.times, bars, strict=True):
                sweeps.problem.space.scatter(total, step.layer, at, bar, step.h)
        if n in seeds:
            p, dp = p + seeds[n], dp + dseeds[n]


def _compiled_tangent(sweeps: Sweeps, tape: Tape, direction: Control, dslopes: Array) -> Array:
    data, steps = sweeps.loop, tape.steps
    dstates = np.zeros((len(tape.states), *tape.states[0].shape))
    dense_second_order.tangent(
        tape.states,
        tape.slopes,
        data.bias_kind,
        data.kernel,
        data.kernel_kind,
        data.w,
        data.code,
        data.a,
        data.b,
        data.c,
        steps.layer,
        steps.size,
        steps.theta,
        steps.dtheta,
        *_bars(dict(direction.items()), len(data.w)),
        dstates,
        dslopes,
    )
    return dstates


def _compiled_second_order(
    sweeps: Sweeps,
    tape: Tape,
    direction: Control,
    dstates: States,
    dslopes: Array,
    seeds: Mapping[int, Array],
    dseeds: Mapping[int, Array],
    total: dict[str, Array],
) -> None:
    data, steps, shape = sweeps.loop, tape.steps, tape.states[0].shape
    bars = _bars(total, shape[0])
    dense_second_order.second_order(
        tape.states,
        tape.slopes,
        dstates,
        dslopes,
        _places(seeds, len(steps)),
        _stacked(seeds, shape),
        _stacked(dseeds, shape),
        data.bias_kind,
        data.kernel,
        data.kernel_kind,
        data.w,
        data.code,
        data.a,
        data.b,
        data.c,
        steps.layer,
        steps.size,
        steps.theta,
        steps.dtheta,
        _bars(dict(direction.items()), shape[0])[1],
        *bars,
        _fresh(sweeps, len(bars[1])),
    )


def _step(tape: Tape, n: int) -> tuple[int, float, float]:
    return int(tape.steps.layer[n]), float(tape.steps.start[n]), float(tape.steps.size[n])


def _fresh(sweeps: Sweeps, count: int) -> Array:
    """(count,): whether nothing was collected yet for each kernel; the running cost collects
    first, where it depends on them.
    """
    return np.full(count, "kernel" not in sweeps.problem.functional.running_reads, dtype=np.bool_)


def _bars(blocks: Mapping[str, Array], units: int) -> tuple[Array, Array]:
    """bias (Ka, N) and kernel (Kb, N, N), of which there are none (0, ...) if a block is not among
    them.
    """
    found = []
    for name, empty in (("bias", (0, units)), ("kernel", (0, units, units))):
        x = blocks[name] if name in blocks else np.empty(empty)
        found.append(np.ascontiguousarray(x[None] if x.ndim == len(empty) - 1 else x))
    return found[0], found[1]


def _places(seeds: Mapping[int, Array], count: int) -> Array:
    """(S + 1,): which of the seeds belongs to a state, or -1."""
    places = np.full(count + 1, -1)
    for index, n in enumerate(seeds):
        places[n] = index
    return places


def _stacked(seeds: Mapping[int, Array], shape: tuple[int, ...]) -> Array:
    return np.stack(list(seeds.values())) if seeds else np.empty((0, *shape))
