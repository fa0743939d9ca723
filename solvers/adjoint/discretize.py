"""Problems are discretized: as one run, or stage by stage."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from continuum.arrays import Array, Device, namespace
from continuum.controls import Control
from continuum.doors import checked
from continuum.networks import Staged, Switched
from continuum.networks.switched import TimesOutOfOrder
from continuum.penalties import Penalty
from continuum.problem import LearningProblem
from continuum.records import short
from continuum.staging import stage_problems

from ..run.solution import Solution, SolveError, Trajectory
from ..run.status import Status
from ..run.workspace import Workspace
from ..steps.tableaux import Euler, Stepper
from .factors import Factors
from .objective import Path, ReducedObjective, RunningOn
from .tape import Backward, Sweeps, Tape


@checked
def discretize(
    problem: LearningProblem,
    stepper: Stepper | None = None,
    steps_per_layer: int = 1,
    running_on: RunningOn = "layers",
    memory: int | None = None,
    device: Device | None = None,
    *,
    threads: int = 1,
    dtype: str = "float64",
) -> "ReducedObjective":
    """The problem with its equation solved by `stepper` (Euler, the ResNet, unless said otherwise).

    running_on : whether the trapezoid rule of a running cost has its nodes at the ends of "layers"
        or of "steps"
    memory : bytes for the states and slopes that the gradient keeps, besides a few arrays of a
        state's size and the gradient itself; others are computed again (binomial checkpointing).
        None keeps all, of one block of samples at a time where there are blocks
    device : None computes states where the problem's `initial` is, "cpu" with NumPy, "gpu" with
        CuPy (or NumPy if there is no GPU: one RuntimeWarning says why)
    threads : how many share the samples, in blocks, in values and gradients of networks and
        methods that have compiled loops with fixed steps; elsewhere one computes.  Each keeps a
        block's states, and losses and costs of your own are called from all of them.  Results are
        the same to the bit for any number above 1, and for 1 if BLAS has one thread too
    dtype : of the states, costates and cotangents of values and gradients: "float32" takes about
        0.6 of the time where there are many samples (with one, none is saved: the control is
        carried over at each call), with errors of some 1e-7 to 1e-5.  Costs, penalties and the
        control are float64, and so is the gradient; so are paths, Hessian-vector products and
        factors, whatever dtype is
    returns a StagedObjective if the network is Staged
    raises TypeError for a method that is not a Runge-Kutta method, and for "float32" where no
        compiled loops of fixed steps apply; ValueError for steps_per_layer < 1 or threads < 1, an
        unknown device or dtype and, with fixed steps, for memory too small for one step
    """
    kind = StagedObjective if isinstance(problem.network, Staged) else ReducedObjective
    return kind(
        problem.on_device(device),
        Euler() if stepper is None else stepper,
        steps_per_layer,
        running_on,
        memory,
        threads,
        dtype,
    )


@checked
@dataclass(frozen=True, eq=False)
class StagedObjective(ReducedObjective):
    """J(c) of a problem whose network is Staged: each stage a run of its own, from the state that
    the transfer gives; its costate before the first step goes through the adjoint of the transfer.

    `run`, `costates`, `tangent`, `sweeps` and `recorded`, which give states of one width, raise
    TypeError.
    """

    __repr__ = short

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

    def _costs_back(
        self, control: Control, total: dict[str, Array], ends: dict[int, Array] | None, fresh: bool
    ) -> float:
        for x in () if fresh else total.values():
            x[...] = 0.0
        with ExitStack() as stack:
            works = [stack.enter_context(part._spares.one()) for part in self.parts]
            costs, p = self._back(self._forward(control, works), total, works)
            if ends is not None:
                ends[0] = namespace(p).asarray(p, copy=True)
        return costs

    def _back(
        self,
        runs: list[tuple[Sweeps, Tape]],
        total: dict[str, Array],
        works: Sequence[Workspace] = (),
    ) -> tuple[float, Array]:
        p, costs = None, 0.0
        for s, (sweeps, tape) in reversed(list(enumerate(runs))):
            work = works[s] if works else Workspace()
            backward = Backward(sweeps, self._own(total, s), p=p, work=work)
            costs += backward(tape)
            p = backward.p
            if s:
                p = self.network.transfer_adjoint(s, p)  # type: ignore[arg-type]
        return costs, p  # type: ignore[return-value]  # there is a stage

    def hvp(self, control: Control, direction: Control) -> Control:
        return self.linearised(control).hvp(direction)

    def value_and_factors(self, control: Control) -> tuple[float, Factors]:
        raise TypeError("a Staged network has a tape for each of its stages: use `parts`")

    def run(self, control: Control) -> Path:
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
