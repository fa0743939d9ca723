"""Problems that depend on one positive number: the strength of the penalty, or the horizon.

The unknown of a family is one vector y for all values p of the number, so that branches of
stationary points are curves in (y, p).  Derivatives are exact for the discretized problem: F =
dJ/dy, its derivative H in y, by Hessian-vector products with all unit vectors, and its derivative
in p.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import reduce
from math import prod
from operator import add

import numpy as np

from continuum.arrays import Array, to_host
from continuum.controls import Control, ControlSpace
from continuum.penalties import Penalty, Tikhonov
from continuum.problem import LearningProblem

from ..adjoint.discretize import ReducedObjective, discretize
from ..adjoint.horizon import check_horizon, horizon_derivative

MOST_UNKNOWNS = 2000
"""Hessians are dense, with one Hessian-vector product for each of their columns."""


class Family(ABC):
    """min over y of J(y; p), p > 0.

    problem : for one value of p; of the others it takes all but what p says
    raises TypeError for sets and penalties without a gradient, ValueError for too many unknowns
    """

    def __init__(self, problem: LearningProblem) -> None:
        self.problem = problem
        if problem.admissible is not None:
            raise TypeError(
                f"continuation needs stationary points of a smooth problem: {problem.admissible!r} "
                "bounds them"
            )
        rough = (
            [] if problem.penalty is None else [t for t in problem.penalty.terms if not t.smooth]
        )
        if rough:
            raise TypeError(f"continuation needs a penalty with a gradient, got {rough[0]!r}")
        if problem.space.size > MOST_UNKNOWNS:
            raise ValueError(
                f"continuation forms dense Hessians, of {MOST_UNKNOWNS} unknowns at most; the "
                f"problem has {problem.space.size}"
            )

    @abstractmethod
    def at(self, value: float) -> LearningProblem:
        """The problem for this p."""

    @abstractmethod
    def sensitivity(self, y: Array, value: float) -> Array:
        """dF/dp at fixed y."""

    def space(self, value: float) -> ControlSpace:
        """The space of the controls for this p."""
        return self.at(value).space

    def scales(self, value: float) -> Array | float:
        """D with: flat coordinates of the space for this p = D y."""
        return 1.0

    def objective(self, value: float) -> ReducedObjective:
        """The problem for this p, discretized by Euler: the ResNet."""
        return discretize(self.at(value))

    def control(self, y: Array, value: float) -> Control:
        """The control that y stands for."""
        return self.space(value).unflatten(self.scales(value) * y)

    def unknown(self, control: Control, value: float) -> Array:
        """The y of a control."""
        return to_host(self.space(value).flatten(control)) / self.scales(value)

    def evaluate(self, y: Array, value: float) -> tuple[float, Array]:
        """(J, F).  Raises SolveError where the state is not finite."""
        objective = self.objective(value)
        found, gradient = objective.value_and_gradient(self.control(y, value))
        return float(found), self.scales(value) * to_host(objective.space.flatten(gradient))

    def hessian(self, y: Array, value: float) -> Array:
        """dF/dy, symmetric.  Raises SolveError where the state is not finite."""
        objective, d = self.objective(value), self.scales(value)
        space, control = objective.space, self.control(y, value)
        columns = [
            to_host(space.flatten(objective.hvp(control, space.unflatten(e))))
            for e in np.eye(space.size)
        ]
        h = np.array(columns) * d * np.reshape(d, (-1, 1))
        return 0.5 * (h + h.T)


class ByPenalty(Family):
    """p is the strength of the one Tikhonov term: J = Phi + p R, y flat coordinates, dF/dp = R'.

    raises ValueError unless the penalty has exactly one Tikhonov term
    """

    def __init__(self, problem: LearningProblem) -> None:
        super().__init__(problem)
        terms = [] if problem.penalty is None else list(problem.penalty.terms)
        found = [n for n, term in enumerate(terms) if isinstance(term, Tikhonov)]
        if len(found) != 1:
            raise ValueError(
                'continuation in "penalty" needs a penalty with one Tikhonov term, got '
                f"{problem.penalty!r}"
            )
        self.terms, self.place = terms, found[0]

    def at(self, value: float) -> LearningProblem:
        return replace(self.problem, penalty=reduce(add, self._terms(value)))

    def space(self, value: float) -> ControlSpace:
        return self.problem.space

    def sensitivity(self, y: Array, value: float) -> Array:
        space, control = self.problem.space, self.control(y, value)
        unit = self._terms(1.0)[self.place].gradient(control)
        zeros = space.zeros()
        return to_host(space.flatten(zeros.replaced(**unit)))

    def _terms(self, value: float) -> list[Penalty]:
        terms = list(self.terms)
        terms[self.place] = replace(terms[self.place], strength=value)  # type: ignore[type-var]
        return terms


class ByHorizon(Family):
    """p is the horizon T, of which the layers keep their shares; y holds the coefficients of the
    control, in flat coordinates of the horizon 1.

    raises TypeError as `check_horizon`
    """

    def __init__(self, problem: LearningProblem) -> None:
        super().__init__(problem)
        check_horizon(problem)
        unit = self.at(1.0).space
        pieces = [
            np.full(prod(unit.shape(b)), 0.0 if b.time == "static" else 0.5) for b in unit.trained
        ]
        self._powers = np.concatenate(pieces)

    def at(self, value: float) -> LearningProblem:
        space = self.problem.space
        mesh = replace(space.mesh, horizon=value)
        return replace(self.problem, controls=replace(space, mesh=mesh))

    def scales(self, value: float) -> Array:
        return value**self._powers

    def sensitivity(self, y: Array, value: float) -> Array:
        found = horizon_derivative(self.at(value), self.control(y, value))
        return self.scales(value) * to_host(found.space.flatten(found))


FAMILIES: dict[str, type[Family]] = {"penalty": ByPenalty, "horizon": ByHorizon}
