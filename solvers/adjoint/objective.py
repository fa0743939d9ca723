"""The learning problem, discretized: an objective with derivatives that are exact for the discrete
problem; `discretize.py` makes it.

Forward and backward sweeps are those of `tape.py`, their steps those of `step_derivatives.py`, for
explicit and implicit Runge-Kutta methods.  Adaptive runs are differentiated on their accepted
steps, held fixed; where these are implicit, J is that of the same steps with their stages solved to
the tolerance of `stepper.newton`, so that the gradient is exact for it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal

import numpy as np

from continuum.arrays import Array, is_numpy, like, namespace
from continuum.checks import check_array, check_count, check_name, store
from continuum.controls import Control, ControlSpace
from continuum.doors import checked
from continuum.networks import Chain
from continuum.penalties import Penalty
from continuum.problem import LearningProblem
from continuum.records import short

from ..flow.advance import Steps, only_compiled
from ..flow.lowering import lower
from ..flow.program import Loop
from ..flow.samples import blocks, groups
from ..run.solution import SolveError, Trajectory
from ..run.threads import go_through
from ..run.workspace import Spares, Workspace
from ..steps.auto import Auto
from ..steps.embedded import AdaptiveRungeKutta
from ..steps.implicit import ImplicitRungeKutta
from ..steps.tableaux import RungeKutta, Stepper
from .checkpoints import Plan
from .collected import InOrder, can_collect, check_out
from .discrete_cost import Rule
from .factors import Factors, factored
from .linearised import Linearised, SecondOrder
from .step_derivatives import Tableau
from .tape import Backward, Sweeps, Tape, adaptive_steps, prepare

RunningOn = Literal["layers", "steps"]
DTYPES = ("float64", "float32")


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
    __repr__ = short


@checked
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
    dtype: str = "float64"
    __repr__ = short

    def __post_init__(self) -> None:
        check_name("running_on", self.running_on, ("layers", "steps"))
        check_name("dtype", self.dtype, DTYPES)
        if not isinstance(self.stepper, RungeKutta | ImplicitRungeKutta | Auto):
            raise TypeError(
                "stepper must be a Runge-Kutta method, explicit or implicit: only of these the "
                f"adjoint is known; got {self.stepper!r}"
            )
        if self.dtype != "float64" and not self._looped:
            raise TypeError(only_compiled(self.dtype))
        store(self, check_count, "steps_per_layer", "threads")
        if self.memory is not None:
            store(self, check_count, "memory")
            if not self.stepper.adaptive and len(self._blocks) == 1:
                self._plan(len(self._equal[0]), None)

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
        return replace(self, problem=self.problem.batch(indices)).sharing(self._spares)

    def sharing(self, spares: Spares) -> "ReducedObjective":
        """Itself, which from now on takes its memory there, as others do that are used in turn."""
        object.__setattr__(self, "_spares", spares)
        return self

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
                costs[n] = block._cost(control, work, rounded)
            yield

        with self._rounded(control) as rounded:
            go_through([run(n, block) for n, block in enumerate(self._blocks)], self.threads)
        return sum(costs)

    def _cost(self, control: Control, work: Workspace, rounded: Control | None) -> float:
        """The same, of all samples together."""
        sweeps, tape = self._start(control, self.memory is None, derivatives=False, rounded=rounded)
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
        costs = self._costs_back(there, total, ends, fresh=out is None)
        penalty, gradient = self._gradient(control, total, out)
        return costs + penalty, gradient

    def value_and_factors(self, control: Control) -> tuple[float, Factors]:
        """J and its gradient with matrices as factors, never formed; see `factors.py`.

        All states are kept, whatever `memory`, and samples are not cut into blocks.
        raises SolveError if the state does not stay finite, or an implicit step has no solution;
            TypeError for a Staged network
        """
        control = self.space.check("control", control)
        with self._doubles.one() as work:
            sweeps, tape = self._start(control.like(self.problem.initial), keep=True)
            if tape is None:
                tape = sweeps.record(self.problem.initial, 0, len(sweeps.steps), work)
            costs, found = factored(sweeps, tape, control, self.penalty, work)
        return costs + self._penalty(control), found

    def _costs_back(
        self, control: Control, total: dict[str, Array], ends: dict[int, Array] | None, fresh: bool
    ) -> float:
        """The costs of a control that is where the states are, and their cotangents in `total`.

        fresh : whether there are zeros in it
        """
        try:
            return self._collect(self._blocks, control, total, ends, fresh)
        except SolveError:
            if len(self._blocks) == 1:
                raise
            # all samples together, so that it is the first failure of any of them that is told
            whole, memory = self, self.memory
            if memory is not None:  # at least for the record of one step, which may be all there is
                whole = replace(self, memory=memory * len(self._blocks))
            if ends is not None:
                ends.clear()
            return self._collect([whole], control, total, ends, False)

    def _collect(
        self,
        blocks: Sequence["ReducedObjective"],
        control: Control,
        total: dict[str, Array],
        ends: dict[int, Array] | None,
        fresh: bool,
    ) -> float:
        """The same, as the sum over these blocks of samples."""
        costs, sums = [0.0] * len(blocks), InOrder(total, self._spares)

        def run(group: int, part: slice) -> Iterator[None]:
            (bars, work), collected = sums.begin(group), None
            for n in range(*part.indices(len(blocks))):
                keep = blocks[n].memory is None
                sweeps, tape = blocks[n]._start(control, keep, rounded=rounded)
                if n == part.start and not (fresh and bars is total):
                    for name in bars.keys() - sweeps.written:
                        bars[name][...] = 0.0
                backward = Backward(sweeps, bars, collected=collected, work=work)
                costs[n] = blocks[n]._swept(backward, tape)
                collected, p = backward.collected, backward.p
                if ends is not None:
                    xp = namespace(p)  # type: ignore[arg-type]  # there is a costate
                    ends[n] = xp.astype(p, xp.float64, copy=True)
                yield
            sums.end(group, bars, work)

        parts = self._groups if len(blocks) > 1 else [slice(0, 1)]
        with self._rounded(control) as rounded:
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
        total = self.space.cotangents(self.problem.initial)
        costs, p = self._back(runs, total)
        penalty, gradient = self._gradient(control, total)
        return costs + penalty, gradient, p

    def _back(
        self, runs: list[tuple[Sweeps, Tape]], total: dict[str, Array]
    ) -> tuple[float, Array]:
        """The costs of what `_forward` made, whose cotangents are collected in `total`, and the
        costate at t = 0.
        """
        ((sweeps, tape),) = runs
        backward = Backward(sweeps, total)
        return backward(tape), backward.p  # type: ignore[return-value]

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

    @checked
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
        with self._doubles.one() as work:
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
        self,
        control: Control,
        keep: bool,
        derivatives: bool = True,
        rounded: Control | None = None,
    ) -> tuple[Sweeps, Tape | None]:
        """The sweeps, and the tape of the whole run where choosing the steps has made one, with
        what derivatives need, if they are wanted: those of compiled loops read more than states.

        rounded : what the loops are to read of the control in float32, and compute so
        """
        problem, stepper = self.problem, self._tableau
        if not stepper.adaptive:
            return prepare(problem, control, stepper, *self._equal, rounded), None
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
        units, samples = self.problem.initial.shape
        if not self._looped:
            return [self]
        parts = blocks(samples, units, len(self._equal[0]) * len(self._tableau.b))
        if len(parts) == 1:
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

    @property
    def _looped(self) -> bool:
        """Whether there are compiled loops of fixed steps for this problem."""
        network, stepper = self.problem.network, self.stepper
        if not isinstance(stepper, RungeKutta) or stepper.adaptive:
            return False
        if not isinstance(network, Chain) or not is_numpy(self.problem.initial):
            return False
        return lower(network) is not None

    @contextmanager
    def _rounded(self, control: Control) -> Iterator[Control | None]:
        """The control in the dtype of the loops, in memory that is used again; None for float64."""
        if self.dtype == "float64":
            yield None
            return
        with self._spares.one() as work:
            arrays = {n: work.array(f"rounded {n}", *x.shape) for n, x in control.items()}
            with np.errstate(over="ignore"):  # what is infinite here leads to a SolveError
                for name, x in control.items():
                    arrays[name][...] = x
            yield Control(self.space, arrays, trusted=True)

    @cached_property
    def _groups(self) -> list[slice]:
        """Which of the blocks are added up together."""
        return groups(len(self._blocks), self.space.size)

    @cached_property
    def _spares(self) -> Spares:
        return Spares(self.dtype)

    @property
    def _doubles(self) -> Spares:
        """Memory of float64 for what is computed so whatever `dtype` is: used again if that is."""
        return self._spares if self.dtype == "float64" else Spares()

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
        if out is None or not can_collect(out, initial):
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
        product = self.space.riesz({n: like(x, control[n]) for n, x in total.items()})
        if self.penalty is not None:
            for name, x in self.penalty.hvp(control, _beside(control, direction)).items():
                product[name][...] += x
        return product

    def _along(self, control: Control, stage: int) -> Control:
        """A control as the stage reads it."""
        return control

    def _own(self, total: dict[str, Array], stage: int) -> dict[str, Array]:
        """Where the cotangents of a stage are collected."""
        return total

    def _penalty(self, control: Control) -> float:
        return self.penalty.value(control) if self.penalty is not None else 0.0


def _beside(control: Control, direction: Control) -> Control:
    """The direction, where the control is; with no trained block there is nothing to carry."""
    return direction.like(next(iter(control.values()))) if len(control) else direction
