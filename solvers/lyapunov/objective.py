"""What all Lyapunov losses share as objectives of `minimize`."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from continuum.arrays import Array, like
from continuum.checks import check_count
from continuum.controls import Control, ControlSpace
from continuum.penalties import Penalty
from continuum.problem import LearningProblem

from ..run.solution import SolveError
from ..steps.implicit import ImplicitRungeKutta
from ..steps.tableaux import RungeKutta
from .pointwise import Points, lyapunov_function
from .samplers import Sampler

Cotangents = Mapping[str, Array]


class LyapunovObjective(ABC):
    """loss(c) + penalty(c) over the controls of a problem, the loss in the place of its terminal
    cost.

    Gradients are exact where no hinge is at its edge (0 is taken there), unless `semi_gradient`
    says that a part of the loss is held.  There is no second derivative.
    """

    problem: LearningProblem

    @property
    def space(self) -> ControlSpace:
        """The space of the controls."""
        return self.problem.space

    @property
    def samples(self) -> int:
        """How many samples the loss is a mean over."""
        return self.problem.initial.shape[1]

    @property
    def penalty(self) -> Penalty | None:
        """The part that is a function of the control alone."""
        return self.problem.penalty

    @property
    def semi_gradient(self) -> bool:
        """True if `value_and_gradient` holds a part of the loss, so that it is no derivative."""
        return False

    def batch(self, indices: Sequence[int] | Array, rng: np.random.Generator | None = None) -> Self:
        """The objective on some of the samples, at new points of its own if it draws any and there
        is a generator to draw from.
        """
        part = copy.copy(self)  # what was checked of the whole holds for it
        object.__setattr__(part, "problem", self.problem.batch(indices))
        return part

    @abstractmethod
    def active_share(self, control: Control) -> float:
        """The share of the pairs of a sample and a point at which the hinge is active."""

    @abstractmethod
    def _loss(self, control: Control, total: Cotangents | None) -> float:
        """The loss; its derivative in the control is collected in `total` if given."""

    def value(self, control: Control) -> float:
        """The loss and the penalty; infinite where they are not finite."""
        control = self.space.check("control", control)
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                value = self._loss(control.like(self.problem.initial), None)
                if self.penalty is not None:
                    value += self.penalty.value(control)
        except SolveError:
            return float("inf")
        return value if np.isfinite(value) else float("inf")

    def value_and_gradient(self, control: Control) -> tuple[float, Control]:
        """`value`, and the gradient in the product of the space, or what stands for it if
        `semi_gradient`.

        raises SolveError if a run does not stay finite
        """
        control = self.space.check("control", control)
        total = self.space.cotangents(self.problem.initial)
        value = self._loss(control.like(self.problem.initial), total)
        gradient = self.space.riesz({name: like(x, control[name]) for name, x in total.items()})
        if self.penalty is not None:
            value += self.penalty.add_to(control, gradient)
        return value, gradient

    def gradient(self, control: Control) -> Control:
        """What `value_and_gradient` returns besides the value."""
        return self.value_and_gradient(control)[1]

    def hvp(self, control: Control, direction: Control) -> Control:
        """Raises TypeError: the hinge has no second derivative, and none is computed."""
        raise TypeError(
            f"{type(self).__name__} has no second derivative: use Adam(), or LBFGS() unless it "
            "gives semi-gradients"
        )


class DrawnObjective(LyapunovObjective):
    """A loss over points that a sampler draws from a generator: those of `value` are the same in
    every call, those of a batch are drawn from the generator of the minimizer.
    """

    sampler: Sampler
    _seed: int

    def batch(self, indices: Sequence[int] | Array, rng: np.random.Generator | None = None) -> Self:
        part = super().batch(indices)
        object.__setattr__(part, "sampler", self.sampler.batch(indices))
        if rng is not None:
            part._draw_from(rng)
        return part

    def points(self, control: Control) -> Points:
        """The points of `value`."""
        control = self.space.check("control", control).like(self.problem.initial)
        return self._drawn(control, np.random.default_rng(self._seed))

    @abstractmethod
    def _drawn(self, control: Control, rng: np.random.Generator) -> Points:
        """New points from this generator."""

    def _draw_from(self, rng: np.random.Generator) -> None:
        """Takes from `rng` the seed of all points to come."""
        object.__setattr__(self, "_seed", int(rng.integers(2**63)))


def check_problem(problem: LearningProblem) -> None:
    """Meets problems whose terminal cost is no Lyapunov function, or that ask for something along
    the way or at the end besides.

    raises TypeError, ValueError
    """
    if not isinstance(problem, LearningProblem):
        raise TypeError(f"problem must be a LearningProblem, got {problem!r}")
    lyapunov_function(problem)
    for name in ("running", "endpoint"):
        if getattr(problem, name) is not None:
            raise ValueError(f"{name} must be None: a Lyapunov loss takes the place of the costs")


def check_steps(stepper: object, steps_per_layer: int) -> None:
    """Meets methods that choose their steps.  raises TypeError, ValueError"""
    if not isinstance(stepper, RungeKutta | ImplicitRungeKutta) or stepper.adaptive:
        raise TypeError(f"stepper must be a Runge-Kutta method of fixed steps, got {stepper!r}")
    check_count("steps_per_layer", steps_per_layer)
