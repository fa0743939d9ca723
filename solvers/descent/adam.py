"""Adam: steps from batches of the samples, scaled entry by entry."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from continuum.arrays import Array, is_numpy, namespace
from continuum.checks import check_count, check_positive, check_rng, store
from continuum.controls import Control
from continuum.doors import checked
from continuum.update_loops import adam_step

from ..run.solution import Solution
from ..run.status import Status
from .objective import Composite, Objective, batches, check_batch, semi_gradient
from .run import Descent, Minimizer, refuse
from .vectors import entry_rules


@checked
@dataclass(frozen=True)
class Adam(Minimizer):
    """x <- P(x - step m^ / (v^^(1/2) + epsilon)),  m = decay_1 m + (1 - decay_1) g,  v = decay_2 v
    + (1 - decay_2) g^2.

    m^ = m / (1 - decay_1^k), v^ = v / (1 - decay_2^k) after k steps; g is the gradient on a batch
    of the samples, in the product of the space, and all is entry by entry in the values of the
    control: so neither `step` nor `epsilon` depends on the mesh.  P is the
    projection in the norm of the space.

    step : a number, or a function of the epoch 0, 1, ...; noise from batches stays as long as it
        does not fall
    batch : how many samples a step sees, shuffled anew in each epoch; None for all of them.  A run
        on batches that has made its epochs ends with Status.ITERATED, which claims no convergence
        and is no failure
    rng : Generator of the shuffling, that of seed 0 if None; a run draws from a copy of it, which
        it hands to objectives that draw states for each batch, so that the same Adam gives the
        same run
    max_iterations : how many epochs, passes over the samples; the history has one row per `report`
        of them
    gtol : compared with |P(x - g) - x| of the whole objective at each report: nothing else counts
        as convergence.  A run along semi-gradients ends with Status.ITERATED instead, unless the
        objective is 0: that a semi-gradient is small does not make a control stationary
    decays : (decay_1, decay_2), each in [0, 1)
    With sample weights that differ, each batch is averaged by its own weights.  Sets must be
    convex.
    raises ValueError for numbers out of range; when used, TypeError for a penalty without a
        gradient, a set that is not convex, a batch of an objective without samples
    Source: Kingma and Ba, ICLR 2015.
    """

    semi_gradients: ClassVar[bool] = True
    step: float | Callable[[int], float] = 1e-2
    batch: int | None = None
    rng: np.random.Generator | None = None
    report: int = 1
    decays: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.step):
            store(self, check_positive, "step")
        if self.batch is not None:
            store(self, check_count, "batch")
        store(self, check_count, "report")
        store(self, check_positive, "epsilon")
        check_rng("rng", self.rng)
        if len(self.decays) != 2 or not all(0.0 <= d < 1.0 for d in self.decays):
            raise ValueError(f"decays must be two numbers in [0, 1), got {self.decays!r}")

    def check(self, problem: Composite) -> None:
        """Raises TypeError, ValueError for sets, penalties and batches it cannot treat."""
        if problem.penalty is not None:
            raise refuse(
                self, problem.penalty, "GradientDescent() or Nesterov(), which take proximal steps"
            )
        if problem.admissible is not None and not problem.admissible.convex:
            raise refuse(self, problem.admissible, "GradientDescent(), which needs no convex set")
        check_batch(problem.objective, self.batch)

    def descend(self, run: Descent, start: Control) -> Solution[Control]:
        """The run from an admissible start."""
        objective, rng = run.problem.objective, copy.deepcopy(check_rng("rng", self.rng))
        steps = _Steps(self, run)
        for epoch in range(self.max_iterations + 1):
            last = epoch == self.max_iterations
            if epoch % self.report == 0 or last:
                value = steps.evaluate(objective)
                status = run.accept(steps.x, value, steps.gradient)
                if status is Status.MAX_ITERATIONS or (last and status is None):
                    status = Status.MAX_ITERATIONS if self.batch is None else Status.ITERATED
                if status is Status.CONVERGED and value > 0 and semi_gradient(objective):
                    status = Status.ITERATED
                if status is not None:
                    return run.solution(status, f"{epoch} epochs")
            step = check_positive("step", self.step(epoch) if callable(self.step) else self.step)
            for part in batches(objective, self.batch, rng):
                steps.evaluate(part)
                steps.move(step)
        raise RuntimeError("unreachable: the last epoch returns")


class _Steps:
    """The iterate x, the gradient, and the means m and v."""

    def __init__(self, method: Adam, run: Descent) -> None:
        self.method, self.run, self.count = method, run, 0
        self.x, self.gradient = run.last, run.room()
        zeros = namespace(run.last).zeros_like
        self.first, self.second = zeros(run.last), zeros(run.last)
        self._known: tuple[Objective, int, float] | None = None
        rules = entry_rules(run.problem)
        self.bounds = [(slice(None), (-np.inf, np.inf))]
        """Intervals of parts of the vector."""
        if rules is not None:
            self.bounds = [(m.where, rules[name][2:]) for name, m in run.space.measures.items()]
        self.set = None if rules is not None else run.problem.admissible
        """What is left to project on."""

    def evaluate(self, objective: Objective) -> float:
        """J, and its gradient into `gradient`, unless it is there."""
        if self._known is not None:
            last, count, value = self._known
            if last is objective and count == self.count:
                return value
        value, _ = self.run.evaluate(self.run.space.views(self.x), objective, self.gradient)
        self._known = objective, self.count, value
        return value

    def move(self, step: float) -> None:
        """One step."""
        method, run, old = self.method, self.run, self.x
        if old is run.last or old is run.best:
            self.x = run.spare()
            self.x[...] = old
        self.count += 1
        (a, b), g = method.decays, self.gradient
        shares = 1.0 - a**self.count, 1.0 - b**self.count
        for where, (low, high) in self.bounds:
            part = self.x[where], g[where], self.first[where], self.second[where]
            update = adam_step if is_numpy(*part) else _update
            update(*part, (a, b), shares, step, method.epsilon, (low, high))
        if self.set is not None:
            run.space.join(self.set.project(run.space.views(self.x)), self.x)


def _update(
    x: Array,
    g: Array,
    first: Array,
    second: Array,
    decays: tuple[float, float],
    shares: tuple[float, float],
    step: float,
    epsilon: float,
    bounds: tuple[float, float],
) -> None:
    """`adam_step` for other libraries."""
    (a, b), (p, q) = decays, shares
    first[...] = a * first + (1.0 - a) * g
    second[...] = b * second + (1.0 - b) * g * g
    moved = x - step * (first / p / (namespace(x).sqrt(second / q) + epsilon))
    x[...] = namespace(x).clip(moved, *bounds)
