"""Adam: steps from batches of the samples, scaled entry by entry."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from continuum.arrays import Array, namespace
from continuum.checks import check_count, check_positive, check_rng, store
from continuum.controls import Control

from ..run.solution import Solution
from ..run.status import Status
from .objective import Composite, batches, check_batch, semi_gradient
from .run import Descent, Minimizer, refuse


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
        control, count = start, 0
        first = {name: namespace(x).zeros_like(x) for name, x in start.items()}
        second = dict(first)
        for epoch in range(self.max_iterations + 1):
            last = epoch == self.max_iterations
            if epoch % self.report == 0 or last:
                value, slope = run.evaluate(control)
                status = run.accept(run.space.join(control), value, slope)
                if status is Status.MAX_ITERATIONS or (last and status is None):
                    status = Status.MAX_ITERATIONS if self.batch is None else Status.ITERATED
                if status is Status.CONVERGED and value > 0 and semi_gradient(objective):
                    status = Status.ITERATED
                if status is not None:
                    return run.solution(status, f"{epoch} epochs")
            step = check_positive("step", self.step(epoch) if callable(self.step) else self.step)
            for part in batches(objective, self.batch, rng):
                count += 1
                gradient = run.space.views(run.evaluate(control, part)[1])
                moved = {}
                for name, g in gradient.items():
                    moved[name] = control[name] - step * self._direction(
                        name, g, first, second, count
                    )
                control = Control(run.space, moved, trusted=True)
                if run.problem.admissible is not None:
                    control = run.problem.admissible.project(control)
        raise RuntimeError("unreachable: the last epoch returns")

    def _direction(
        self, name: str, g: Array, first: dict[str, Array], second: dict[str, Array], count: int
    ) -> Array:
        (a, b) = self.decays
        first[name] = a * first[name] + (1.0 - a) * g
        second[name] = b * second[name] + (1.0 - b) * g * g
        root = namespace(g).sqrt(second[name] / (1.0 - b**count))
        return first[name] / (1.0 - a**count) / (root + self.epsilon)
