"""J at one control for many directions: value, gradient and Hessian-vector products, from one
forward sweep and one sweep of costates.

A product differentiates both sweeps.  With dense kernels, of N^2 M multiplications each, it costs

    1 for the states,                    B f,
    2 for their derivatives,             B df,  dB f,
    1 for the costates,                  B* r,
    2 for their derivatives,             B* dr, dB* r,
    2 for the cotangents of the kernel,  dr f*, r df*,

at every stage of every step.  States and costates do not depend on the direction: the first product
at a control costs 8, the others 6.
"""

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import Protocol

import numpy as np

from continuum.arrays import Array, namespace
from continuum.controls import Control, ControlSpace
from continuum.doors import checked
from continuum.networks import Staged
from continuum.problem import LearningProblem

from ..flow.chain_loops import ROWS
from ..run.solution import States
from ..run.workspace import Workspace
from . import chain_second_order
from .tape import Seeds, Sweeps, Tape, at_step, stacked


class SecondOrder:
    """The two sweeps of a second derivative over a whole run, for one direction after the other.

    Costates, which do not depend on the direction, are kept by the first `collect`; arrays of the
    derivatives are used again by the next direction.

    keep : whether `collect` keeps the derivatives of all costates
    work : memory for what it keeps; fresh for None
    dstates : (S + 1, N, M), those of all states in the last direction
    dcostates : (S + 1, N, M), those of all costates, from the last one to the first
    """

    def __init__(
        self, sweeps: Sweeps, tape: Tape, keep: bool = False, work: Workspace | None = None
    ) -> None:
        self.sweeps, self.tape, self.keep, self.work = sweeps, tape, keep, work or Workspace()
        self.dcostates: list[Array] = []
        self.dstates: States = []
        self._start: Array | None = None
        """The costate before the first step, once it is known."""
        self._lambdas: list[list[Array]] = []
        """Those of all stages, from the last step to the first, where no loop is compiled."""

    def along(self, direction: Control, change: Array | None = None) -> None:
        """The first sweep, of tangents.

        change : (N, M), the derivative of the first state, zero unless given
        """
        start = self.tape.states[0]
        first = namespace(start).zeros_like(start) if change is None else change
        self.direction = direction
        if self.tape.record is not None:
            self._compiled_tangent(self.tape.record, first)
            return
        derivatives, moved = self.sweeps.derivatives, [first]
        for n in range(len(self.tape.steps)):
            step = derivatives.step(*at_step(self.tape, n), self.tape.states[n])
            moved.append(derivatives.tangent(step, direction, moved[n])[0])
        self.dstates = moved

    def collect(
        self, total: dict[str, Array], after: tuple[Array, Array] | None = None
    ) -> tuple[Array, Array]:
        """The second sweep: collects the derivatives of the cotangents in `total`; returns the
        costate before the first step and its derivative.

        after : both after the last step, without what the costs of the run add; zero unless given.
            The first of them is the same for all directions
        """
        sweeps, tape, dstates, seeds = self.sweeps, self.tape, self.dstates, self._seeds
        numbers, dvalues = sweeps.cost.rule.states, seeds.values
        if len(numbers):
            dvalues = sweeps.cost.seed_derivatives(
                numbers, tape.stacked, lambda some: stacked(dstates, some), self.direction, total
            )
        dseeds = Seeds(seeds.numbers, dvalues)
        if after is None:
            zeros = namespace(tape.states[0]).zeros_like(tape.states[0])
            after = zeros, zeros
        if tape.record is not None:
            p, dp = self._compiled_collect(tape.record, dseeds, total, after)
        else:
            p, dp = self._generic_collect(dseeds, total, after)
        if self._start is None:
            self._start = p
        return self._start, dp

    def _generic_collect(
        self, dseeds: Seeds, total: dict[str, Array], after: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        sweeps, tape, known = self.sweeps, self.tape, self._start is not None
        (p, dp), derivatives, count = after, sweeps.derivatives, len(tape.steps)
        self.dcostates = []
        for n in range(count, -1, -1):
            if n < count:
                step = derivatives.step(*at_step(tape, n), tape.states[n])
                dstages = derivatives.tangent(step, self.direction, self.dstates[n])[1]
                if not known:
                    p, lam, _ = derivatives.adjoint(step, p)
                    self._lambdas.append(lam)
                lam = self._lambdas[count - 1 - n]
                dp, bars = derivatives.adjoint_tangent(step, self.direction, dstages, lam, dp)
                for at, bar in zip(step.times, bars, strict=True):
                    sweeps.problem.space.scatter(total, step.layer, at, bar, step.h)
            dp = dseeds.added(n, dp)
            p = p if known else self._seeds.added(n, p)
            if self.keep:
                self.dcostates.append(dp)
        return p, dp

    def _compiled_tangent(self, tape: Array, first: Array) -> None:
        loop, samples = self.sweeps.loop, first.shape[1]
        self.changes = loop.lowered.changes(self.direction, samples)
        self.dstates, record = self._room
        self.dstates[0] = first
        chain_second_order.tangent(
            samples,
            loop.lowered.room(samples, loop.method.b.size, 0),
            loop.lowered.program,
            loop.blocks,
            loop.method,
            self.tape.steps.moments,
            tape,
            self.changes,
            record,
            self.dstates.reshape(len(self.dstates), -1),
        )

    def _compiled_collect(
        self, tape: Array, dseeds: Seeds, total: dict[str, Array], after: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        loop, shape = self.sweeps.loop, after[0].shape
        samples, stages, ends = shape[1], loop.method.b.size, np.stack(after)
        dcostates = np.empty((len(self.tape.steps) + 1 if self.keep else 0, *shape))
        bars = loop.lowered.bars(total, samples)
        chain_second_order.second_order(
            samples,
            loop.lowered.room(samples, stages, 2 * stages),
            loop.lowered.program,
            loop.blocks,
            loop.method,
            self.tape.steps.moments,
            tape,
            self._room[1],
            self._turned,
            self._start is not None,
            *self._seeds.flat,
            dseeds.flat[1],
            self.changes,
            bars,
            loop.collected(self.sweeps.seeded),
            ends.reshape(2, -1),
            dcostates.reshape(len(dcostates), prod(shape)),
        )
        loop.lowered.add_up(total, bars)
        self.dcostates = list(dcostates[::-1])
        return ends[0], ends[1]

    @cached_property
    def _seeds(self) -> Seeds:
        """What the costs add to the costates."""
        return self.sweeps.seeds(self.tape, {})[1]

    @cached_property
    def _room(self) -> tuple[Array, Array]:
        """(dstates, the tape of tangents), for the compiled loops."""
        loop, first = self.sweeps.loop, self.tape.states[0]
        count, samples = len(self.tape.steps), first.shape[1]
        shape = count, loop.method.b.size, loop.lowered.varied * samples
        dstates = self.work.array("derivatives of states", count + 1, *first.shape)
        return dstates, self.work.array("tangents", *shape)

    @cached_property
    def _turned(self) -> Array:
        """The tape of cotangents."""
        loop, samples = self.sweeps.loop, self.tape.states[0].shape[1]
        rows = int(np.sum(loop.lowered.program.links[:, ROWS]))
        shape = len(self.tape.steps), loop.method.b.size, rows * samples
        return self.work.array("cotangents", *shape)


class Stages(Protocol):
    """What `Linearised` asks of an objective, whose run is one after the other of its stages: one
    stage for most networks.
    """

    @property
    def problem(self) -> LearningProblem: ...

    @property
    def space(self) -> ControlSpace: ...

    def _forward(
        self, control: Control, works: Sequence[Workspace] = ()
    ) -> list[tuple[Sweeps, Tape]]: ...

    def _backward(
        self, control: Control, runs: list[tuple[Sweeps, Tape]]
    ) -> tuple[float, Control, Array]: ...

    def _along(self, control: Control, stage: int) -> Control: ...

    def _own(self, total: dict[str, Array], stage: int) -> dict[str, Array]: ...

    def _penalty(self, control: Control) -> float: ...

    def _product(
        self, control: Control, direction: Control, total: dict[str, Array]
    ) -> Control: ...


@checked
class Linearised:
    """J at one control, for many directions; made by `ReducedObjective.linearised`.

    Keeps, whatever the `memory` of the objective: the states of all stages of all steps from the
    start on; from the first product on their costates, and the room of their derivatives, which the
    next product uses again. Each of the three has about the size of the run's stages.

    control : where
    works : memory for what is kept, one for each stage of the network; none for fresh memory
    """

    def __init__(
        self, objective: Stages, control: Control, works: Sequence[Workspace] = ()
    ) -> None:
        self.objective, self.control = objective, objective.space.check("control", control)
        self._runs = objective._forward(self.control.like(objective.problem.initial), works)
        self._works = works or [Workspace() for _ in self._runs]

    @property
    def value(self) -> float:
        """J."""
        costs = sum(sweeps.value(tape) for sweeps, tape in self._runs)
        return costs + self.objective._penalty(self.control)

    @cached_property
    def gradient(self) -> Control:
        """The gradient of J in the product of the space."""
        return self.objective._backward(self.control, self._runs)[1]

    def hvp(self, direction: Control) -> Control:
        """The Hessian of J applied to a direction, in the product of the space."""
        objective, initial = self.objective, self.objective.problem.initial
        network: Staged = objective.problem.network  # type: ignore[assignment]  # if s > 0
        direction = objective.space.check("direction", direction)
        there, change, last = direction.like(initial), None, len(self._sweeps) - 1
        for s, second in enumerate(self._sweeps):
            second.along(objective._along(there, s), change)
            if s < last:
                change = network.transfer(s + 1, second.dstates[len(second.dstates) - 1])
        total, after = objective.space.cotangents(initial), None
        for s in range(last, -1, -1):
            p, dp = self._sweeps[s].collect(objective._own(total, s), after)
            if s:
                after = network.transfer_adjoint(s, p), network.transfer_adjoint(s, dp)
        return objective._product(self.control, direction, total)

    @cached_property
    def _sweeps(self) -> list[SecondOrder]:
        pairs = zip(self._runs, self._works, strict=True)
        return [SecondOrder(*run, work=work) for run, work in pairs]
