"""The learning problem, discretized: an objective with derivatives that are exact for the discrete
problem.

Forward and backward sweeps are those of `tape.py`, their steps those of `step_derivatives.py`, for
explicit and implicit Runge-Kutta methods.  Adaptive runs are differentiated on their accepted
steps, held fixed; where these are implicit, J is that of the same steps with their stages solved to
the tolerance of `stepper.newton`, so that the gradient is exact for it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal

import numpy as np

from continuum.arrays import Array, Device, is_numpy, like, namespace
from continuum.checks import check_array, check_count, check_name, store
from continuum.controls import Control, ControlSpace
from continuum.networks import Chain, Staged, Switched
from continuum.networks.switched import TimesOutOfOrder
from continuum.penalties import Penalty
from continuum.problem import LearningProblem
from continuum.staging import stage_problems

from ..flow.advance import Steps
from ..flow.lowering import lower
from ..flow.program import Loop
from ..flow.samples import blocks, groups
from ..run.solution import Solution, SolveError, Trajectory
from ..run.status import Status
from ..run.threads import go_through
from ..run.workspace import Spares, Workspace
from ..steps.auto import Auto
from ..steps.embedded import AdaptiveRungeKutta
from ..steps.implicit import ImplicitRungeKutta
from ..steps.tableaux import Euler, RungeKutta, Stepper
from .blocks import InOrder
from .checkpoints import Plan
from .discrete_cost import Rule
from .factors import Factors, factored
from .linearised import Linearised, SecondOrder
from .step_derivatives import Tableau
from .tape import (
    Backward,
    Sweeps,
    Tape,
    adaptive_steps,
    prepare,
)

RunningOn = Literal["layers", "steps"]


def discretize(
    problem: LearningProblem,
    stepper: Stepper | None = None,
    steps_per_layer: int = 1,
    running_on: RunningOn = "layers",
    memory: int | None = None,
    device: Device | None = None,
    *,
    threads: int = 1,
) -> "ReducedObjective":
    """The problem with its equation solved by `stepper` (Euler, the ResNet, unless said otherwise).

    running_on : whether the trapezoid rule of a running cost has its nodes at the ends of "layers"
        or of "steps"
    memory : bytes for the states and slopes that the gradient keeps, besides a few arrays of a
        state's size and the gradient itself; others are computed again (binomial checkpointing).
        None keeps all
    device : None computes states where the problem's `initial` is, "cpu" with NumPy, "gpu" with
        CuPy (or NumPy if there is no GPU: one RuntimeWarning says why)
    returns a StagedObjective if the network is Staged
    raises TypeError for a method that is not a Runge-Kutta method, ValueError for steps_per_layer <
        1, an unknown device and, with fixed steps, for memory too small for one step
    """
    kind = StagedObjective if isinstance(problem.network, Staged) else ReducedObjective
    return kind(
        problem.on_device(device),
        Euler() if stepper is None else stepper,
        steps_per_layer,
        running_on,
        memory,
        threads,
    )


@dataclass(frozen=True, eq=False)
class Path:
    """A run with its costates: what `ReducedObjective.run` returns.

    times : (S + 1,), the ends of the steps
    states : (S + 1, N, M), the f_n
    costates : (S + 1, N, M).  costates[n] is the derivative in f_n, represented in the weights of
        the units, of each sample's own discrete cost, all later states following f_n: the terminal
        cost, and the running cost with every factor that a state from f_n on has in the trapezoid
        rule, so at f_n itself the halves of both intervals that meet there.  J's derivative in f_n
        is its mean.  It is this costate, one step later, that the gradient of a layer contains
    remaining : (S + 1, N, M).  The same without the half of the interval that ends at t_n: the
        derivative of the cost of [t_n, T] alone, which approximates the costate p(t_n) of the
        differential equation, and is what a Hamiltonian at t_n wants.  The same array as costates
        if there is no running cost
    value : J
    gradient : of J, in the product of the space
    """

    times: Array
    states: Array
    costates: Array
    remaining: Array
    value: float
    gradient: Control


@dataclass(frozen=True, eq=False)
class ReducedObjective:
    """J(c) of a LearningProblem as a function of the control alone, with gradient and
    Hessian-vector product.

    States are computed where the problem's `initial` is, in its library and on its device; the
    control may be elsewhere, and gradients come back to where it is.
    """

    problem: LearningProblem
    stepper: Stepper
    steps_per_layer: int = 1
    running_on: RunningOn = "layers"
    memory: int | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        check_name("running_on", self.running_on, ("layers", "steps"))
        if not isinstance(self.stepper, RungeKutta | ImplicitRungeKutta | Auto):
            raise TypeError(
                "stepper must be a Runge-Kutta method, explicit or implicit: only of these the "
                "adjoint is known; "
                f"got {self.stepper!r}"
            )
        store(self, check_count, "steps_per_layer", "threads")
        if self.memory is not None:
            store(self, check_count, "memory")
            if not self.stepper.adaptive:
                self._plan(self.problem.mesh.layers * self.steps_per_layer, None)

    @property
    def space(self) -> ControlSpace:
        """The space of the controls."""
        return self.problem.space

    @property
    def penalty(self) -> Penalty | None:
        """The part of J that is a function of the control alone."""
        return self.problem.penalty

    @property
    def samples(self) -> int:
        """How many samples J is a mean over."""
        return self.problem.initial.shape[1]

    def batch(
        self, indices: Sequence[int] | Array, rng: np.random.Generator | None = None
    ) -> "ReducedObjective":
        """The objective on some of the samples; nothing is drawn from `rng`."""
        some = replace(self, problem=self.problem.batch(indices))
        some.__dict__["_spares"] = self._spares
        return some

    def value(self, control: Control) -> float:
        """J(control); infinite if the state does not stay finite, or an implicit step has no
        solution.  Raises TypeError, ValueError for what is no control of the problem's space.
        """
        control = self.space.check("control", control)
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                value = self._costs(control.like(self.problem.initial)) + self._penalty(control)
        except SolveError:
            return float("inf")
        return value if np.isfinite(value) else float("inf")

    def _costs(self, control: Control) -> float:
        """J without the penalty, of a control that is where the states are."""
        costs = [0.0] * len(self._blocks)

        def run(n: int, block: ReducedObjective) -> Iterator[None]:
            with self._spares.one() as work:
                costs[n] = block._cost(control, work)
            yield

        go_through([run(n, block) for n, block in enumerate(self._blocks)], self.threads)
        return sum(costs)

    def _cost(self, control: Control, work: Workspace) -> float:
        """The same, of all samples together."""
        sweeps, tape = self._start(control, keep=self.memory is None, derivatives=False)
        if tape is not None:
            return sweeps.value(tape)
        most = None
        if self.memory is not None:
            units, samples = self.problem.initial.shape
            most = max(1, self.memory // (8 * units * samples) - 1)
        return sweeps.run_costs(self.problem.initial, most, work)[0]

    def gradient(self, control: Control) -> Control:
        """The gradient of J in the product of the space."""
        return self.value_and_gradient(control)[1]

    def value_and_gradient(
        self, control: Control, *, out: Control | None = None
    ) -> tuple[float, Control]:
        """J and its gradient from one forward and one backward sweep, or more steps forward if
        `memory` is given.

        out : a control of the same space, into whose arrays the gradient is written; it is what is
            returned then.  None returns a control of its own
        raises SolveError if the state does not stay finite, or an implicit step has no solution;
            ValueError if `memory` is too small for one step, and for an `out` of another space, or
            with arrays that cannot be written or are those of the control
        """
        return self._evaluated(control, out)[:2]

    def value_and_gradients(
        self, control: Control, *, out: Control | None = None
    ) -> tuple[float, Control, Array]:
        """`value_and_gradient`, and the derivative of J in the initial state (N, M), represented in
        the weights of the units: the costate at t = 0, with the weights of the samples.
        """
        ends: dict[int, Array] = {}
        value, gradient = self._evaluated(control, out, ends)
        costates = [ends[n] for n in sorted(ends)]
        return value, gradient, namespace(costates[0]).concat(costates, axis=1)

    def _evaluated(
        self, control: Control, out: Control | None, ends: dict[int, Array] | None = None
    ) -> tuple[float, Control]:
        """J and its gradient; the costates at t = 0 go into `ends`, by the number of the block."""
        control = self.space.check("control", control)
        check_out(control, out)
        there, total = control.like(self.problem.initial), self._cotangents(out)
        try:
            costs = self._collect(self._blocks, there, total, ends, fresh=out is None)
        except SolveError:
            if len(self._blocks) == 1:
                raise
            # all samples together, so that it is the first failure of any of them that is told
            costs = self._collect([self], there, total, ends)
        penalty, gradient = self._gradient(control, total, out)
        return costs + penalty, gradient

    def value_and_factors(self, control: Control) -> tuple[float, Factors]:
        """J and its gradient with matrices as factors, never formed; see `factors.py`.

        All states are kept, whatever `memory`, and samples are not cut into blocks.
        raises SolveError if the state does not stay finite, or an implicit step has no solution;
            TypeError for a Staged network
        """
        control = self.space.check("control", control)
        with self._spares.one() as work:
            sweeps, tape = self._start(control.like(self.problem.initial), keep=True)
            if tape is None:
                tape = sweeps.record(self.problem.initial, 0, len(sweeps.steps), work)
            costs, found = factored(sweeps, tape, control, self.penalty, work)
        return costs + self._penalty(control), found

    def _collect(
        self,
        blocks: Sequence["ReducedObjective"],
        control: Control,
        total: dict[str, Array],
        ends: dict[int, Array] | None,
        fresh: bool = False,
    ) -> float:
        """The costs of all blocks of samples, and their cotangents in `total`.

        fresh : whether there are zeros in `total`
        """
        costs, sums = [0.0] * len(blocks), InOrder(total, self._spares)

        def run(group: int, part: slice) -> Iterator[None]:
            work = self._spares.take()
            bars, collected = sums.bars(group, work), None
            for n in range(*part.indices(len(blocks))):
                sweeps, tape = blocks[n]._start(control, keep=blocks[n].memory is None)
                if n == part.start and not (fresh and group == 0):
                    for name in bars.keys() - sweeps.written:
                        bars[name][...] = 0.0
                backward = Backward(sweeps, bars, collected=collected, work=work)
                costs[n] = blocks[n]._swept(backward, tape)
                collected, p = backward.collected, backward.p
                if ends is not None:
                    ends[n] = namespace(p).asarray(p, copy=True)  # type: ignore[arg-type]
                yield
            sums.put(group, bars, work)

        parts = self._groups if len(blocks) > 1 else [slice(0, 1)]
        go_through([run(*one) for one in enumerate(parts)], self.threads)
        return sum(costs)

    def _swept(self, backward: Backward, tape: Tape | None) -> float:
        """Goes forth and back; returns the costs."""
        sweeps, work = backward.sweeps, backward.work
        initial, count = self.problem.initial, len(sweeps.steps)
        if self.memory is None:
            return backward(tape if tape is not None else sweeps.record(initial, 0, count, work))
        parts: list[float] = []
        self._plan(count, sweeps.compiled).reverse(
            initial,
            count,
            lambda f, start, stop: sweeps.advance(f, start, stop, work),
            lambda f, start, stop: parts.append(backward(sweeps.record(f, start, stop, work))),
        )
        return sum(parts)

    def _forward(
        self, control: Control, works: Sequence[Workspace] = ()
    ) -> list[tuple[Sweeps, Tape]]:
        """The sweeps and the tape of every stage, of which there is one unless the network is
        Staged; the control is where the states are.

        works : one for each stage, where the tapes are; none for fresh memory
        """
        return [self.recorded(control, *works)]

    def _backward(
        self, control: Control, runs: list[tuple[Sweeps, Tape]]
    ) -> tuple[float, Control, Array]:
        """`value_and_gradients` from what `_forward` made."""
        ((sweeps, tape),) = runs
        backward = Backward(sweeps, self.space.cotangents(self.problem.initial))
        costs = backward(tape)
        penalty, gradient = self._gradient(control, backward.total)
        return costs + penalty, gradient, backward.p  # type: ignore[return-value]

    def run(self, control: Control) -> "Path":
        """States, costates, J and its gradient from one forward and one backward sweep.

        All states are kept, whatever `memory`.
        raises SolveError if the state does not stay finite, or an implicit step has no solution
        """
        control = self.space.check("control", control)
        weights = self.problem.sample_weights
        sweeps, tape = self.recorded(control.like(self.problem.initial))
        backward = Backward(sweeps, self.space.cotangents(self.problem.initial), keep=True)
        costs = backward(tape)
        penalty, gradient = self._gradient(control, backward.total)
        cost = sweeps.cost
        states = tape.stacked(np.arange(len(tape.states)))
        stack = namespace(states).stack
        if np.all(weights > 0):
            costates = stack(backward.costates[::-1]) / like(weights, states)
        else:  # a sample that does not count has a cost of its own all the same
            alone = replace(self.problem, sample_weights=None)
            costates = replace(self, problem=alone).run(control).costates
        remaining = costates
        if len(cost.rule.arriving):
            remaining = costates - cost.arriving_seeds(states)
        return Path(
            cost.rule.times,
            states,
            costates,
            remaining,
            costs + penalty,
            gradient,
        )

    def costates(self, control: Control) -> Trajectory:
        """The costates of `run`, on their own: states (S + 1, N, M)."""
        path = self.run(control)
        return Trajectory(path.times, path.costates)

    def tangent(self, control: Control, direction: Control, initial: Array | None = None) -> "Path":
        """The derivative of `run` when the control changes by a direction, and the initial state by
        `initial`: a Path in which every entry is the derivative of that of `run`.

        Its states are g, its costates and `remaining` h: exact for the discrete run, and for
        f_t = sigma(a - Bf), d = (alpha, beta), no running cost, discrete forms of

            g_t = sigma'(u) v,    v = alpha - B_beta f - Bg,                      g(0) = initial,
            h_t = B*(sigma'(u) h + sigma''(u) v p) + B_beta*(sigma'(u) p), h(T) = D^2 terminal g(T).

        `value` is the derivative of J, from g, without costates; `gradient` is, without `initial`,
        what `hvp` returns.  Steps that a method has chosen are held.

        initial : (N, M), zero unless given
        raises SolveError if the state does not stay finite, or an implicit step has no solution
        Source: Liu and Markowich section 4.1 with erratum E33.
        """
        control = self.space.check("control", control)
        direction = self.space.check("direction", direction)
        f, change = self.problem.initial, None
        if initial is not None:
            change = like(check_array("initial", initial, tuple(f.shape)), f)
        along = direction.like(f)
        sweeps, tape = self.recorded(control.like(f))
        explicit = self.space.cotangents(f)
        _, seeds = sweeps.seeds(tape, explicit)
        second = SecondOrder(sweeps, tape, keep=True)
        second.along(along, change)
        total = self.space.cotangents(f)
        second.collect(total)
        xp, weights = namespace(f), like(self.problem.network.weights[:, None], f)
        dstates = xp.stack(list(second.dstates))
        moved = xp.take(dstates, like(seeds.numbers, f), axis=0)
        value = float(xp.sum(weights * seeds.values * moved))
        gradient = self._gradient(control, explicit)[1]
        value += self.space.inner(gradient, _beside(control, direction))
        if np.all(self.problem.sample_weights > 0):
            dcostates = xp.stack(second.dcostates[::-1]) / like(self.problem.sample_weights, f)
        else:
            alone = replace(self, problem=replace(self.problem, sample_weights=None))
            dcostates = alone.tangent(control, direction, initial).costates
        remaining, cost = dcostates, sweeps.cost
        if len(cost.rule.arriving):
            states = tape.stacked(np.arange(len(tape.states)))
            remaining = dcostates - cost.arriving_seeds(states, dstates, along)
        product = self._product(control, direction, total)
        return Path(cost.rule.times, dstates, dcostates, remaining, value, product)

    def hvp(self, control: Control, direction: Control) -> Control:
        """The Hessian of J at `control` applied to `direction`, in the product of the space.

        All states are kept, whatever `memory`; for many directions at one control, `linearised`
        keeps them from one product to the next.
        raises SolveError if the state does not stay finite, or an implicit step has no solution
        """
        with self._spares.one() as work:
            return Linearised(self, control, [work]).hvp(direction)

    def linearised(self, control: Control) -> Linearised:
        """J at one control, for Hessian-vector products in many directions: the forward sweep is
        made here, the costates by the first product.

        raises SolveError if the state does not stay finite, or an implicit step has no solution
        """
        return Linearised(self, control)

    def sweeps(self, control: Control) -> Sweeps:
        """The sweeps at a control that is where the states are, with nothing run yet.

        raises TypeError for a method that chooses its steps: they are not known before the run
        """
        if self.stepper.adaptive:
            raise TypeError(f"the steps of {self.stepper!r} are known after the run only")
        return prepare(self.problem, control, self._tableau, *self._equal)

    def _start(
        self, control: Control, keep: bool, derivatives: bool = True
    ) -> tuple[Sweeps, Tape | None]:
        """The sweeps, and the tape of the whole run where choosing the steps has made one, with
        what derivatives need, if they are wanted: those of compiled loops read more than states.
        """
        problem, stepper = self.problem, self._tableau
        if not stepper.adaptive:
            return prepare(problem, control, stepper, *self._equal), None
        once = isinstance(stepper, AdaptiveRungeKutta) and not (
            derivatives and Loop.of(problem.network, control, stepper, problem.initial) is not None
        )
        # the steps of an implicit method are solved again, to the tolerance of stepper.newton
        steps, states, method = adaptive_steps(problem, control, stepper, keep and once)
        rule = Rule.of(problem, steps, self.running_on)
        sweeps = prepare(problem, control, method, steps, rule)
        return sweeps, Tape(0, steps, states) if keep and once else None

    def recorded(self, control: Control, work: Workspace | None = None) -> tuple[Sweeps, Tape]:
        """The sweeps at a control that is where the states are, and the tape of the whole run.

        work : where the tape is; fresh memory for None
        raises SolveError if the state does not stay finite, or an implicit step has no solution
        """
        sweeps, tape = self._start(control, keep=True)
        return sweeps, tape if tape is not None else sweeps.record(
            self.problem.initial, 0, len(sweeps.steps), work
        )

    @cached_property
    def _blocks(self) -> Sequence["ReducedObjective"]:
        """Those of blocks of samples, where each has loops of its own; else this one."""
        network, (units, samples) = self.problem.network, self.problem.initial.shape
        looped = isinstance(network, Chain) and isinstance(self.stepper, RungeKutta)
        looped = looped and not self.stepper.adaptive and is_numpy(self.problem.initial)
        parts = blocks(samples, units)
        if not looped or len(parts) == 1 or lower(network) is None:
            return [self]
        memory = self.memory
        if memory is not None:
            memory //= min(self.threads, len(groups(len(parts), self.space.size)))
        found = []
        for part in parts:
            some = self.problem.part(np.arange(samples)[part])
            found.append(replace(self, problem=some, memory=memory))
            found[-1].__dict__["_equal"] = self._equal
        return found

    @cached_property
    def _groups(self) -> list[slice]:
        """Which of the blocks are added up together."""
        return groups(len(self._blocks), self.space.size)

    @cached_property
    def _spares(self) -> Spares:
        return Spares()

    def __getstate__(self) -> dict[str, object]:
        """Without what is made again when it is asked for."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def _equal(self) -> tuple[Steps, Rule]:
        """Equal steps, and where the costs of such a run are taken."""
        steps = Steps.equal(self.problem.mesh, self.steps_per_layer)
        return steps, Rule.of(self.problem, steps, self.running_on)

    @property
    def _tableau(self) -> Tableau:
        return self.stepper  # type: ignore[return-value]  # so says __post_init__

    def _plan(self, steps: int, loop: Loop | None) -> Plan:
        """Where the states that `memory` has room for are kept; a compiled loop records the tapes
        of all stages.
        """
        units, samples = self.problem.initial.shape
        rows = 1 if loop is None else -(-len(self._tableau.b) * loop.lowered.rows // units)
        return Plan.within(self.memory or 0, steps, 8 * units * samples, rows - 1)

    def _cotangents(self, out: Control | None) -> dict[str, Array]:
        """Where cotangents are collected, not filled: in the arrays of `out`, if there are any that
        the sweeps can write.
        """
        initial = self.problem.initial
        if out is None or not is_numpy(initial, *out.values()):
            return self.space.cotangents(initial)
        if not all(x.flags.c_contiguous for x in out.values()):
            return self.space.cotangents(initial)
        return dict(out)

    def _gradient(
        self, control: Control, total: dict[str, Array], out: Control | None = None
    ) -> tuple[float, Control]:
        """The penalty, and the gradient of J from the cotangents that a backward sweep collected,
        in the same arrays where they can be.
        """
        found = self.space.riesz({n: like(x, control[n]) for n, x in total.items()})
        penalty = 0.0 if self.penalty is None else self.penalty.add_to(control, found)
        if out is None:
            return penalty, found
        for name, x in out.items():
            if found[name] is not x:
                x[...] = like(found[name], x)
        return penalty, out

    def _product(self, control: Control, direction: Control, total: dict[str, Array]) -> Control:
        """The Hessian-vector product from the derivatives of the cotangents."""
        total, penalty = {n: like(x, control[n]) for n, x in total.items()}, self.penalty
        if penalty is None:
            return self.space.riesz(total)
        return self.space.riesz(total, penalty.hvp(control, _beside(control, direction)))

    def _along(self, control: Control, stage: int) -> Control:
        """A control as the stage reads it."""
        return control

    def _own(self, total: dict[str, Array], stage: int) -> dict[str, Array]:
        """Where the cotangents of a stage are collected."""
        return total

    def _penalty(self, control: Control) -> float:
        return self.penalty.value(control) if self.penalty is not None else 0.0


def check_out(control: Control, out: Control | None) -> None:
    """Raises TypeError, ValueError if a gradient at this control cannot be written into `out`."""
    if out is None:
        return
    space = control.space
    space.check("out", out)
    for name, x in control.items():
        y, shape = out[name], tuple(x.shape)
        if tuple(y.shape) != shape:
            raise ValueError(f"out has a {name} of shape {tuple(y.shape)}, expected {shape}")
        if not isinstance(y, np.ndarray):
            continue
        if not y.flags.writeable:
            raise ValueError(f"out must have arrays that can be written: its {name} cannot")
        if any(np.shares_memory(y, z) for z in control.values() if isinstance(z, np.ndarray)):
            raise ValueError(f"out must have arrays of its own: its {name} is the control's")


def _beside(control: Control, direction: Control) -> Control:
    """The direction, where the control is; with no trained block there is nothing to carry."""
    return direction.like(next(iter(control.values()))) if len(control) else direction


@dataclass(frozen=True, eq=False)
class StagedObjective(ReducedObjective):
    """J(c) of a problem whose network is Staged: each stage a run of its own, from the state that
    the transfer gives; its costate before the first step goes through the adjoint of the transfer.

    `run`, `costates`, `tangent`, `sweeps` and `recorded`, which give states of one width, raise
    TypeError.
    """

    def __post_init__(self) -> None:
        if self.memory is not None:
            raise ValueError("memory must be None for a Staged network: all its states are kept")
        super().__post_init__()
        self.parts  # noqa: B018 - so that costs that do not fit a stage are met here

    @property
    def penalty(self) -> Penalty | None:
        """That of the problem, but for a Switched network, whose stages count it."""
        return None if isinstance(self.network, Switched) else self.problem.penalty

    @property
    def network(self) -> Staged:
        """The network of the problem."""
        return self.problem.network  # type: ignore[return-value]  # `discretize` made sure of it

    @cached_property
    def parts(self) -> tuple[ReducedObjective, ...]:
        """The objectives of the stages."""
        return tuple(
            ReducedObjective(part, self.stepper, self.steps_per_layer, self.running_on)
            for part in stage_problems(self.problem)
        )

    def hvp(self, control: Control, direction: Control) -> Control:
        return self.linearised(control).hvp(direction)

    def value_and_gradients(
        self, control: Control, *, out: Control | None = None
    ) -> tuple[float, Control, Array]:
        """The same, from one forward and one backward sweep through all stages."""
        control = self.space.check("control", control)
        check_out(control, out)
        with ExitStack() as stack:
            works = [stack.enter_context(part._spares.one()) for part in self.parts]
            runs = self._forward(control.like(self.problem.initial), works)
            return self._backward(control, runs, out, works)

    def _backward(
        self,
        control: Control,
        runs: list[tuple[Sweeps, Tape]],
        out: Control | None = None,
        works: Sequence[Workspace] = (),
    ) -> tuple[float, Control, Array]:
        total, p, costs = self._cotangents(out), None, 0.0
        for x in total.values():
            x[...] = 0.0
        for s, (sweeps, tape) in reversed(list(enumerate(runs))):
            backward = Backward(
                sweeps, self._own(total, s), p=p, work=works[s] if works else Workspace()
            )
            costs += backward(tape)
            p = backward.p
            if s:
                p = self.network.transfer_adjoint(s, p)  # type: ignore[arg-type]
        p = namespace(p).asarray(p, copy=True)  # type: ignore[arg-type]
        penalty, gradient = self._gradient(control, total, out)
        return costs + penalty, gradient, p

    def value_and_factors(self, control: Control) -> tuple[float, Factors]:
        raise TypeError("a Staged network has a tape for each of its stages: use `parts`")

    def run(self, control: Control) -> "Path":
        raise TypeError("a Staged network has states of several widths: use integrate_stages")

    def sweeps(self, control: Control) -> Sweeps:
        raise TypeError("a Staged network has sweeps for each of its stages: use `parts`")

    def recorded(self, control: Control, work: Workspace | None = None) -> tuple[Sweeps, Tape]:
        raise TypeError("a Staged network has a tape for each of its stages: use `parts`")

    def _costs(self, control: Control) -> float:
        if self.stepper.adaptive:
            return sum(sweeps.value(tape) for sweeps, tape in self._forward(control))
        costs = []

        def run(part: ReducedObjective, own: Control, f: Array) -> Array:
            with part._spares.one() as work:
                cost, last = part.sweeps(own).run_costs(f, None, work)
            costs.append(cost)
            return last

        self._through(control, run)
        return sum(costs)

    def _along(self, control: Control, stage: int) -> Control:
        space = self.parts[stage].space
        return Control(space, self.network.own(space, control, stage), trusted=True)

    def _own(self, total: dict[str, Array], stage: int) -> dict[str, Array]:
        return self.network.own(self.parts[stage].space, total, stage)

    def _forward(
        self, control: Control, works: Sequence[Workspace] = ()
    ) -> list[tuple[Sweeps, Tape]]:
        """The sweeps and the tape of every stage.  Raises SolveError, which says where."""
        runs = []

        def record(part: ReducedObjective, own: Control, f: Array) -> Array:
            if self.stepper.adaptive:
                begun = replace(part, problem=replace(part.problem, initial=f))
                sweeps, tape = begun.recorded(own)
            else:
                sweeps = part.sweeps(own)
                work = works[len(runs)] if works else None
                tape = sweeps.record(f, 0, len(sweeps.steps), work)
            runs.append((sweeps, tape))
            return tape.states[len(tape.states) - 1]

        self._through(control, record)
        return runs

    def _through(
        self, control: Control, run: Callable[[ReducedObjective, Control, Array], Array]
    ) -> None:
        """Goes through the stages; `run` returns the last state of one from the first.  Raises
        SolveError, which says where.
        """
        f = self.problem.initial
        for s, part in enumerate(self.parts):
            f = self.network.transfer(s, f) if s else f
            try:
                f = run(part, self._along(control, s), f)
            except TimesOutOfOrder as error:
                path = Trajectory(np.zeros(1), namespace(f).stack([f]))
                raise SolveError(Solution(path, Status.TIMES_OUT_OF_ORDER, str(error))) from error
            except SolveError as error:
                failed = error.solution
                detail = f"stage {s}, counting time from its beginning: {failed.detail}"
                raise SolveError(replace(failed, detail=detail)) from error
