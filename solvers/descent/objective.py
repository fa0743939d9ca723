"""What optimizers ask of an objective, and what a penalty without a gradient and an admissible set
add to it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from continuum.admissible import AdmissibleSet
from continuum.arrays import Array
from continuum.controls import Control, ControlSpace
from continuum.doors import OPTIONAL, checked
from continuum.penalties import Penalty, PenaltySum, counted
from continuum.problem import LearningProblem
from continuum.records import short
from continuum.sparsity import obstructing


class Objective(Protocol):
    """A differentiable function of a control; gradients represent derivatives in the product of its
    space.
    """

    @property
    def space(self) -> ControlSpace:
        """The space of the unknown."""
        ...

    def value(self, control: Control) -> float:
        """J(control); infinite where the state is not finite."""
        ...

    def value_and_gradient(self, control: Control) -> tuple[float, Control]:
        """J and its gradient: dJ = (gradient, d control).  Raises SolveError where the state is not
        finite.
        """
        ...

    def hvp(self, control: Control, direction: Control) -> Control:
        """The derivative of the gradient in a direction."""
        ...


OPTIONAL[Objective] = {"hvp"}  # methods of second order alone ask for it


def hessian(objective: Objective, control: Control) -> Callable[[Control], Control]:
    """d -> the Hessian at a control applied to d, for many d: an objective that has the method
    `linearised` computes there once what does not depend on d.

    raises SolveError, now or later, where the state does not stay finite
    """
    linearised = getattr(objective, "linearised", None)
    if linearised is None:
        return lambda direction: objective.hvp(control, direction)
    return linearised(control).hvp


@runtime_checkable
class SampledObjective(Protocol):
    """What batches ask besides: an objective that is a mean over samples."""

    @property
    def samples(self) -> int:
        """How many samples."""
        ...

    def batch(
        self, indices: Sequence[int] | Array, rng: np.random.Generator | None = None
    ) -> Objective:
        """The mean over these samples.

        rng : from which an objective that draws random states draws those of the batch; None for
            the states that its `value` has.  Others ignore it
        """
        ...


@runtime_checkable
class SteppedObjective(Objective, Protocol):
    """An objective that makes many steps of `FixedStep` in one call."""

    def fixed_steps(
        self, x: Array, before: Array, step: float, momentum: float | None, first: int, count: int
    ) -> tuple[Array, Array, Array, Array]:
        """x_{k+1} = y_k - step g(y_k),  y_k = x_k + beta_k (x_k - x_{k-1}),  for k = first, ...,
        first + count - 1, in vectors of coefficients.

        x, before : x_first and the one before it, which is x_0 itself for first = 0; not written to
        momentum : beta_k, 0 for none; None for beta_k = (k - 1) / (k + 2), 0 for k = 0
        count : >= 1
        returns x_k for k = first + count, the one before it, and (count,) the values J(y_k) and the
            norms |g(y_k)|.  Numbers may become infinite or NaN, without an error or a warning: from
            there on nothing is asked of the others
        """
        ...


@runtime_checkable
class ProblemObjective(Objective, Protocol):
    """An objective made of a learning problem, a dataclass; the parts of the problem's penalty that
    have no gradient and its admissible set are met by proximal maps.
    """

    @property
    def problem(self) -> LearningProblem:
        """The problem."""
        ...


def semi_gradient(objective: Objective) -> bool:
    """True if what `value_and_gradient` returns is no derivative of `value`, because a part of it
    is held: the objective has the attribute `semi_gradient = True`.
    """
    return bool(getattr(objective, "semi_gradient", False))


def sample_count(objective: Objective) -> int:
    """How many samples it is a mean over.  Raises TypeError for an objective without samples."""
    if isinstance(objective, SampledObjective):
        return objective.samples
    raise TypeError(
        f"batches need an objective with `samples` and `batch`, got {objective!r}; use batch=None"
    )


def check_batch(objective: Objective, batch: int | None) -> None:
    """Raises TypeError for an objective without samples, ValueError for one that has fewer."""
    if batch is not None and batch > (samples := sample_count(objective)):
        raise ValueError(f"batch must be at most the number of samples, {samples}, got {batch}")


def batches(
    objective: Objective, batch: int | None, rng: np.random.Generator
) -> Iterator[Objective]:
    """The objectives of one pass over the samples, shuffled, `batch` at a time; the objective
    itself for None.
    """
    if batch is None:
        yield objective
        return
    order = rng.permutation(sample_count(objective))
    for begin in range(0, len(order), batch):
        yield objective.batch(order[begin : begin + batch], rng)  # type: ignore[attr-defined]


@checked
@dataclass(frozen=True, eq=False)
class Composite:
    """minimise  objective(x) + penalty(x)  over x in the admissible set.

    The penalty and the set are met by `prox`, their joint proximal map; penalties that have a
    gradient are better kept in the objective.  `minimize` makes one of a LearningProblem by itself.
    raises ValueError if they do not fit the objective's space; TypeError where their proximal map
        is not known: see PenaltySum for terms together; a term and a set on one block have one
        where L1 by entries meets a Box, any L1 an Amplitude, Tikhonov any set
    """

    objective: Objective
    penalty: Penalty | None = None
    admissible: AdmissibleSet | None = None

    __repr__ = short

    def __post_init__(self) -> None:
        space = self.space
        if self.admissible is not None:
            self.admissible.check(space)
        if self.penalty is None:
            return
        self.penalty.formula(space)
        terms = self.penalty.terms
        try:
            PenaltySum(terms).composed(space)
        except ValueError as error:
            raise TypeError(f"{error}: keep one of them for it") from None
        for part in self.admissible.parts if self.admissible is not None else ():
            term = obstructing(terms, part, space)
            if term is not None:
                shared = sorted(counted(term, space) & set(part.named(space)))
                raise TypeError(
                    f"no proximal map is known for {term!r} and {part!r} together on "
                    f"{', '.join(map(repr, shared))}: L1 by entries in a Box has one, and any L1 "
                    f"in an Amplitude"
                )

    @property
    def space(self) -> ControlSpace:
        """The space of the unknown."""
        return self.objective.space

    @property
    def intervals(self) -> dict[str, tuple[float, float]] | None:
        """(low, high) for every entry of each trained block, infinite where it is free; None where
        the set bounds a block in another way.
        """
        names = [b.name for b in self.space.trained]
        if self.admissible is None:
            return dict.fromkeys(names, (-np.inf, np.inf))
        found = {name: self.admissible.interval(name, self.space) for name in names}
        kept = {name: pair for name, pair in found.items() if pair is not None}
        return kept if len(kept) == len(found) else None

    def extra(self, control: Control) -> float:
        """The penalty: what is added to the objective."""
        return 0.0 if self.penalty is None else self.penalty.value(control)

    def value(self, control: Control) -> float:
        """objective + penalty; infinite where the state is not finite."""
        return self.objective.value(control) + self.extra(control)

    def prox(self, control: Control, step: float) -> Control:
        """argmin over admissible z of |z - control|^2 / 2 + step penalty(z): a nearest point if
        there is no penalty.

        In one dimension the minimum of a convex function over an interval is the free minimum,
        clipped; see `obstructing` for the rest.
        """
        if self.penalty is not None:
            control = self.penalty.prox(control, step)
        return control if self.admissible is None else self.admissible.project(control)
