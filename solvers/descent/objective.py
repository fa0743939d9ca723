"""What optimizers ask of an objective, and what a penalty without a gradient and an admissible set
add to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from continuum.admissible import AdmissibleSet
from continuum.arrays import Array
from continuum.controls import Control, ControlSpace
from continuum.penalties import Penalty, PenaltySum, counted
from continuum.problem import LearningProblem
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


@runtime_checkable
class SampledObjective(Protocol):
    """What `Adam` asks besides: an objective that is a mean over samples."""

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
