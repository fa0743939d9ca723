"""Successive approximation on batches of samples, for weights that take a few values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count, store
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem

from ..adjoint.discretize import ReducedObjective
from ..run.iteration import Run
from ..run.monitors import Monitor
from ..run.solution import Solution
from ..run.status import Status
from .minimisers import closed_form, quadratic
from .msa_affine import without_penalty


@checked
@dataclass(frozen=True)
class Minibatch:
    """Batches of samples for `successive_approximation`, meant for weights from a FiniteSet.

    With g the gradient of the Hamiltonians of a batch (penalty apart) and m its moving mean,

        m <- memory m + (1 - memory) g   (divided by 1 - memory^n while it fills),
        c <- argmin_{x in A} (m, x) + inertia |x - c|^2 + lambda |x|^2,    entry by entry,

    and an entry changes only where that is strictly less than at c: a weight in {-1, 1} flips where
    |m| > 2 inertia. Exact if the velocity is affine in the control, else H is linearised at the
    control at hand, and is called inexact.

    size : samples of a batch; memory in [0, 1); inertia >= 0
    Source: Li and Hao, An optimal control approach to deep learning and applications to
    discrete-weight neural networks (2018), section 4; the moving mean and the inertia are theirs,
    the form here is ours.
    """

    size: int
    memory: float = 0.9
    inertia: float = 0.0

    def __post_init__(self) -> None:
        store(self, check_count, "size")
        if not 0.0 <= self.memory < 1.0:
            raise ValueError(f"memory must be in [0, 1), got {self.memory}")
        if not 0.0 <= self.inertia < float("inf"):
            raise ValueError(f"inertia must be finite and >= 0, got {self.inertia}")


def minibatch_run(
    objective: ReducedObjective,
    start: Control,
    batch: Minibatch,
    iterations: int,
    rng: np.random.Generator,
    monitors: Sequence[Monitor],
) -> Solution:
    """`iterations` batches from `start`; see Minibatch."""
    problem = objective.problem
    bare = replace(objective, problem=without_penalty(problem))
    strengths, samples = quadratic(problem), problem.initial.shape[1]
    mean = {n: np.zeros_like(x) for n, x in start.items()}
    run = Run(start, lambda control: control, iterations, monitors)
    exact = closed_form(problem) != "local" and problem.network.affine_in_control
    state = _State(start)

    def solution(status: Status) -> Solution:
        detail = f"{run.records} batches of {batch.size}"
        return Solution(
            state.control,
            status,
            detail if exact else f"{detail}, inexact: H is linearised",
            objective=objective.value(state.control),
            history=run.history(),
            statistics={
                **run.statistics(),
                "iterations": float(run.records),
                "exact": float(exact),
            },
        )

    with run.interruptible(lambda: solution(Status.INTERRUPTED)):
        for n in range(iterations):
            if len(state.order) < batch.size:
                state.order = rng.permutation(samples)
            chosen, state.order = state.order[: batch.size], state.order[batch.size :]
            value, gradient = bare.batch(chosen).value_and_gradient(state.control)
            if problem.penalty is not None:
                value += problem.penalty.value(state.control)
            if run.record(state.control, {"objective": value}, last=n == iterations - 1):
                return solution(Status.STOPPED)
            for name, g in gradient.items():
                mean[name] = batch.memory * mean[name] + (1.0 - batch.memory) * g
            filled = 1.0 - batch.memory ** (n + 1)
            state.control = _inert_step(
                problem,
                state.control,
                {k: m / filled for k, m in mean.items()},
                batch.inertia,
                strengths,
            )
    return solution(Status.ITERATED)


@dataclass
class _State:
    """The control at hand, and the samples that were not drawn yet."""

    control: Control
    order: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def _inert_step(
    problem: LearningProblem,
    control: Control,
    mean: Mapping[str, Array],
    inertia: float,
    strengths: Mapping[str, float],
) -> Control:
    """argmin (m, x) + inertia |x - c|^2 + lambda |x|^2 over the set; entries of Box and FiniteSet
    move if it pays.
    """
    weight = {n: inertia + s for n, s in strengths.items()}
    wanted = {
        n: (inertia * control[n] - 0.5 * m) / weight[n] for n, m in mean.items() if weight[n] > 0.0
    }
    found = {**control, **wanted}
    for part in problem.admissible.parts if problem.admissible is not None else ():
        names = part.named(problem.space)
        if all(n in wanted for n in names):
            moved = part.nearest(wanted, problem.space)
        else:
            moved = part.support({n: -mean[n] for n in names}, control, problem.space)
        for name, x in moved.items():
            if part.by_entries:
                c, lam = control[name], strengths[name]
                change = mean[name] * (x - c) + inertia * (x - c) ** 2 + lam * (x * x - c * c)
                x = np.where(change < 0.0, x, c)
            found[name] = x
    return Control(control.space, found, trusted=True)
