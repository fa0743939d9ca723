"""Forward and backward sweeps over some of the steps of a run: generic, or compiled where the loops
apply.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np

from continuum.arrays import Array, like, namespace
from continuum.controls import Control
from continuum.problem import LearningProblem

from ..flow.adaptive import stretches
from ..flow.advance import Advance, CompiledAdvance, GenericAdvance, Steps, only_compiled
from ..flow.program import Loop, pair_of
from ..flow.switching import all_attempts
from ..run.solution import Solution, SolveError, States, Trajectory
from ..run.status import Status
from ..run.workspace import Workspace
from ..steps.auto import Auto, Chooser, InTurn
from ..steps.embedded import AdaptiveRungeKutta
from ..steps.tableaux import StepFailed, Stepper
from . import chain_adjoint
from .discrete_cost import DiscreteCost, Rule
from .step_derivatives import StepDerivatives, Tableau


class Kept(Sequence[Array]):
    """The states of a compiled run, (N, M) each: that before a step is on the step's tape."""

    def __init__(self, tape: Array, final: Array) -> None:
        self.tape, self.final = tape, final

    def __len__(self) -> int:
        return len(self.tape) + 1

    def stacked(self, numbers: Array) -> Array:
        """(n, N, M): the states with these numbers, increasing."""
        if len(numbers) == 1:
            return np.asarray(self[int(numbers[0])][None], dtype=np.float64)
        found = np.empty((len(numbers), *self.final.shape))
        inside = int(numbers.searchsorted(len(self.tape)))
        found[:inside] = self.tape[numbers[:inside], 0, : self.final.size].reshape(
            -1, *self.final.shape
        )
        found[inside:] = self.final
        return found

    def __getitem__(self, n: int) -> Array:  # type: ignore[override]  # no slices
        if n == len(self.tape):
            return self.final
        return self.tape[n, 0, : self.final.size].reshape(self.final.shape)


@dataclass(eq=False)
class Tape:
    """What a forward sweep leaves for the backward ones.

    first : the number of its first step
    steps : its steps
    states : the states before and after each step
    record : what the compiled loop kept of every stage, if it ran; see `chain_loops`
    """

    first: int
    steps: Steps
    states: States
    record: Array | None = None

    def stacked(self, numbers: Array) -> Array:
        """(n, N, M): the states with these numbers in the run, increasing."""
        return stacked(self.states, numbers - self.first if self.first else numbers)


@dataclass(eq=False)
class Seeds:
    """What the costs add to costates.

    numbers : (n,), the states of a tape to whose costates they are added, increasing
    values : (n, N, M)
    """

    numbers: Array
    values: Array

    def added(self, n: int, p: Array) -> Array:
        """p with what belongs to the n-th state."""
        k = self._places.get(n)
        return p if k is None else p + self.values[k, ...]

    @cached_property
    def _places(self) -> dict[int, int]:
        return {n: k for k, n in enumerate(self.numbers.tolist())}

    @property
    def flat(self) -> tuple[Array, Array]:
        """(numbers, values (n, N M)), as the compiled loops take them."""
        return self.numbers, self.values.reshape(len(self.values), prod(self.values.shape[1:]))


@dataclass(eq=False)
class Sweeps:
    """The steps of one run, with what their sweeps need."""

    problem: LearningProblem
    control: Control
    stepper: Tableau | InTurn
    steps: Steps
    cost: DiscreteCost
    compiled: Loop | None

    @property
    def derivatives(self) -> StepDerivatives:
        """The derivatives of one step."""
        return StepDerivatives(self.problem.network, self.control, self.stepper)

    @property
    def loop(self) -> Loop:
        """The compiled loops, for tapes that they made."""
        if self.compiled is None:
            raise TypeError("these steps were not made by the compiled loop")
        return self.compiled

    @property
    def seeded(self) -> tuple[str, ...]:
        """The blocks on which the costs depend themselves: `seeds` adds to their cotangents."""
        functional = self.problem.functional
        return (*functional.running_reads, *functional.terminal_reads)

    @property
    def written(self) -> frozenset[str]:
        """The blocks whose cotangents a backward sweep writes, every entry of them, before it adds
        to them; in those of others there must be zeros.
        """
        if self.compiled is None:
            return frozenset()
        return self.compiled.lowered.matrices.difference(self.seeded)

    def advance(self, f: Array, start: int, stop: int, work: Workspace | None = None) -> Array:
        """The state after the steps start, ..., stop - 1.  Raises SolveError.

        work : memory that it may use on the way; here and elsewhere fresh arrays are taken if there
            is none
        """
        return self._run(f, start, stop, keep=False, work=work)[0]

    def states(self, f: Array, start: int, stop: int) -> Tape:
        """The states before and after these steps, without what a backward sweep needs besides.
        Raises SolveError.
        """
        return Tape(start, self.steps[start:stop], self._run(f, start, stop, keep=True)[1])

    def record(self, f: Array, start: int, stop: int, work: Workspace | None = None) -> Tape:
        """As `states`, with all that the backward sweep needs.  Raises SolveError.

        work : where the tape is, which is gone when the next one is made there
        """
        steps = self.steps[start:stop]
        if self.compiled is None:
            return self.states(f, start, stop)
        work = work or Workspace(self.compiled.dtype)
        final = work.array("state", *f.shape)
        none = np.empty((0, f.size), final.dtype)
        with np.errstate(over="ignore"):
            final[...] = f
        record = self.compiled.tape(len(steps), f.shape[1], work)
        failed = self.compiled.advance(final.reshape(-1), steps.moments, none, record, work)
        states = Kept(record if failed < 0 else record[: failed + 1], final)
        if failed >= 0:
            made = states.stacked(np.arange(failed + 1))
            raise self._failure(list(made), start, Status.NON_FINITE)
        return Tape(start, steps, states, record)

    def _run(
        self, f: Array, start: int, stop: int, keep: bool, work: Workspace | None = None
    ) -> tuple[Array, States]:
        advance: Advance = GenericAdvance(
            self.problem.network, self.control, self.stepper, self.steps
        )
        if self.compiled is not None:
            advance = CompiledAdvance(self.compiled, self.steps, work)
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

    def seeds(
        self, tape: Tape, total: Mapping[str, Array], work: Workspace | None = None
    ) -> tuple[float, Seeds]:
        """`value`, and what the costs add to the costate after each step of the tape, and at the
        start of the run.
        """
        numbers = self._where(tape)
        value, found = self.cost.seeds(numbers, tape.stacked, total, work)
        return value, Seeds(numbers - tape.first, found)

    def value(self, tape: Tape) -> float:
        """The costs of the same states."""
        numbers = self._where(tape)
        return self.cost.value(numbers, tape.stacked)

    def run_costs(
        self, f: Array, most: int | None = None, work: Workspace | None = None
    ) -> tuple[float, Array]:
        """The costs of the whole run, and its last state; no more states are kept than those of
        `most` steps, and none where only the last one costs something.  Raises SolveError.
        """
        count, total, states = len(self.steps), 0.0, self.cost.rule.states
        if len(states) == 0 or states[0] == count:
            f = self.advance(f, 0, count, work)
            final = namespace(f).stack([f])
            return self.cost.value(states, lambda _: final), f
        most = count if most is None else most
        for start in range(0, count, most):
            part = self.states(f, start, min(start + most, count))
            total += self.value(part)
            f = part.states[-1]
        return total, f

    def _where(self, tape: Tape) -> Array:
        """The numbers of the states that cost something: after each step, and at the start."""
        first = tape.first + (tape.first > 0)
        return self.cost.rule.among(first, tape.first + len(tape.steps))


def prepare(
    problem: LearningProblem,
    control: Control,
    stepper: Tableau | InTurn,
    steps: Steps,
    rule: Rule,
    rounded: Control | None = None,
) -> Sweeps:
    """The sweeps over these steps.

    rounded : the control in float32, if the compiled loops are to compute so
    """
    read, dtype = (control, "float64") if rounded is None else (rounded, "float32")
    loop = Loop.of(problem.network, read, stepper, problem.initial, dtype)
    if loop is None and rounded is not None:
        raise TypeError(only_compiled(dtype))
    cost = DiscreteCost(problem, control, rule)
    return Sweeps(problem, control, stepper, steps, cost, loop)


def adaptive_steps(
    problem: LearningProblem, control: Control, stepper: Stepper, keep: bool
) -> tuple[Steps, States, Tableau | InTurn]:
    """The accepted steps, their states if kept, and the method that makes them, which is InTurn
    for Auto; they end at the ends of layers where control or cost needs it.

    raises SolveError if the run fails, TypeError for a method that chooses no steps
    """
    if not isinstance(stepper, Chooser | Auto):
        raise TypeError(f"{stepper!r} does not choose its steps")
    stops = control.breakpoints
    if problem.running is not None:
        stops = tuple(float(t) for t in problem.mesh.nodes[1:-1])
    taken, states = [], [problem.initial]
    methods: dict[float, Chooser] = {}
    with np.errstate(over="ignore", invalid="ignore"):
        for method, made, reached, status in _accepted(problem, control, stepper, stops, keep):
            if made and method not in [*methods.values()][-1:]:
                methods[made[0][1]] = method
            taken += made
            if reached and not keep:
                states.clear()
            states += reached
            if status is not None:
                stacked = namespace(states[0]).stack(states)
                end = sum(taken[-1][1:]) if taken else 0.0
                times = np.append([s[1] for s in taken], end)[-len(states) :]
                detail = f"at t = {end:.6g}"
                raise SolveError(Solution(Trajectory(times, stacked), status, detail))
    used = stepper if not isinstance(stepper, Auto) else InTurn.of(methods)
    return Steps.accepted(problem.mesh, taken), states, used


_Made = tuple[Chooser, list[tuple[int, float, float]], list[Array], Status | None]
_TOGETHER = 256  # accepted steps that a compiled call makes


def _accepted(
    problem: LearningProblem,
    control: Control,
    stepper: Chooser | Auto,
    stops: Sequence[float],
    keep: bool,
) -> Iterator[_Made]:
    """A method, accepted steps of it (layer, start, size), the states after them, or at least the
    last one, and why there are no more.
    """
    f, loop, pair = problem.initial, None, None
    if isinstance(stepper, AdaptiveRungeKutta):
        loop = Loop.of(problem.network, control, stepper, f)
        pair = None if loop is None else pair_of(stepper, problem.network.weights)
    if not isinstance(stepper, AdaptiveRungeKutta) or loop is None or pair is None:
        for attempt in all_attempts(problem.network, control, stepper, f, stops):
            if attempt.accepted:
                step = attempt.layer, attempt.start, attempt.end - attempt.start
                yield attempt.method, [step], [attempt.state], None
            elif attempt.status is not None:
                yield attempt.method, [], [], attempt.status
        return
    limits, kept = (_TOGETHER, 4 * _TOGETHER), (_TOGETHER, _TOGETHER * keep)
    for part in stretches(loop, control, stepper, pair, f, stops, lambda: limits, kept):
        starts = np.append(part.start, part.ends)[:-1]
        steps = zip(starts.tolist(), (part.ends - starts).tolist(), strict=True)
        states = [*part.states] if keep else [part.state]
        yield stepper, [(part.layer, *step) for step in steps], states, part.status


@dataclass(eq=False)
class Backward:
    """The costates, from the last step to the first, tape by tape; cotangents are collected in
    `total`.

    keep : whether `costates` are kept
    p : the last costate, which the costs of the run follow; zero unless given
    collected : where the loops have collected something before, as they leave it
    work : memory that the sweep may use; the last p is there then
    kept : what `chain_adjoint.adjoint` writes there; nothing unless given
    """

    sweeps: Sweeps
    total: dict[str, Array]
    keep: bool = False
    p: Array | None = None
    costates: list[Array] = field(default_factory=list)
    collected: Array | None = None
    work: Workspace = field(default_factory=Workspace)
    kept: Array | None = None

    def __call__(self, tape: Tape) -> float:
        """Moves p from the end of the tape to its start; the costates at its ends are kept, if
        wanted.  Returns the costs of the states after its steps, and of the first one of the run.
        """
        cost, seeds = self.sweeps.seeds(tape, self.total, self.work)
        self.follow(tape, seeds, self.sweeps.seeded)
        return cost

    def follow(self, tape: Tape, seeds: Seeds, before: Collection[str]) -> None:
        """The same for costs of which the derivatives in the states are known.

        before : the blocks in which `total` may not be zero
        """
        initial, p = self.sweeps.problem.initial, self.p
        if tape.record is None:
            zeros = like(np.zeros(initial.shape), initial) if p is None else p
            self.p = self._generic(tape, seeds, zeros)
            return
        p = self.work.zeros("costate", *initial.shape) if p is None else p
        if self.collected is None:
            self.collected = self.sweeps.loop.collected(before)
        self.p = self._compiled(tape, seeds, p, self.collected)

    def _generic(self, tape: Tape, seeds: Seeds, p: Array) -> Array:
        derivatives, space = self.sweeps.derivatives, self.sweeps.problem.space
        count = len(tape.steps)
        for n in range(count, -1, -1):
            if n < count:
                step = derivatives.step(*at_step(tape, n), tape.states[n])
                p, _, bars = derivatives.adjoint(step, p)
                for at, bar in zip(step.times, bars, strict=True):
                    space.scatter(self.total, step.layer, at, bar, step.h)
            p = seeds.added(n, p)
            if self.keep:
                self.costates.append(p)
        return p

    def _compiled(self, tape: Tape, seeds: Seeds, p: Array, collected: Array) -> Array:
        loop, shape = self.sweeps.loop, p.shape
        stages, moments = loop.method.b.size, tape.steps.moments
        costates = np.empty((len(tape.steps) + 1 if self.keep else 0, p.size), p.dtype)
        bars = loop.lowered.bars(self.total, shape[1], self.work)
        chain_adjoint.adjoint(
            shape[1],
            loop.lowered.room(shape[1], stages, stages, self.work),
            loop.lowered.program,
            loop.blocks,
            loop.method,
            moments,
            tape.record,
            *seeds.flat,
            bars,
            collected,
            np.empty((0, 0), p.dtype) if self.kept is None else self.kept,
            p.reshape(-1),
            costates,
        )
        loop.lowered.add_up(self.total, bars)
        if self.keep:
            self.costates += list(costates[::-1].reshape(-1, *shape))
        return p


def at_step(tape: Tape, n: int) -> tuple[int, float, float]:
    """The layer, start and length of the n-th step of a tape."""
    return int(tape.steps.layer[n]), float(tape.steps.start[n]), float(tape.steps.size[n])


def stacked(states: States, numbers: Array) -> Array:
    """(n, N, M): the states with these numbers."""
    if isinstance(states, Kept):
        return states.stacked(numbers)
    if isinstance(states, np.ndarray):
        return states[numbers]
    chosen = [states[n] for n in numbers.tolist()]
    if not chosen:  # no state has a cost
        return namespace(states[0]).stack([states[0]])[:0, ...]
    return namespace(states[0]).stack(chosen)
