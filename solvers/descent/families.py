"""Problems that depend on one positive number: the strength of the penalty, or the horizon.

The unknown of a family is one vector y for all values p of the number, so that branches of
stationary points are curves in (y, p): the coefficients of the control, times the roots of their
weights in the product of one space.  Derivatives are exact for the discretized problem: F = dJ/dy
and its derivative H in y come from the second-order model of `linear_quadratic.py`.
"""

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np

from continuum.arrays import Array
from continuum.controls import Control
from continuum.penalties import Penalty, Tikhonov, sum_of, terms_of
from continuum.problem import LearningProblem

from ..adjoint.coefficients import Columns
from ..adjoint.discretize import discretize
from ..adjoint.horizon import check_horizon, horizon_derivative
from ..adjoint.linear_quadratic import (
    Linearization,
    check_model,
    linearize,
    reduced_hessian,
)

MOST_UNKNOWNS = 2000
"""Hessians are dense."""


class Family(ABC):
    """min over y of J(y; p), p > 0; J discretized by Euler, the ResNet.

    problem : for one value of p; of the others it takes all but what p says
    raises TypeError for sets and penalties without a gradient, ValueError for too many unknowns,
        and as `check_model` for problems without a model layer by layer
    """

    def __init__(self, problem: LearningProblem) -> None:
        self.problem = problem
        if problem.admissible is not None:
            raise TypeError(
                f"problem: continuation needs stationary points of a smooth one: "
                f"{problem.admissible!r} bounds them"
            )
        if problem.endpoint is not None:
            raise TypeError(
                f"problem: continuation knows no multipliers, {problem.endpoint!r} constrains it"
            )
        rough = [term for term in terms_of(problem.penalty) if not term.smooth]
        if rough:
            raise TypeError(
                f"problem: continuation needs a penalty with a gradient, got {rough[0]!r}"
            )
        if problem.space.size > MOST_UNKNOWNS:
            raise ValueError(
                f"continuation forms dense Hessians, of {MOST_UNKNOWNS} unknowns at most; the "
                f"problem has {problem.space.size}"
            )
        check_model(discretize(problem))
        self.roots = np.sqrt(Columns.of(self.at(1.0).space).weights)

    @abstractmethod
    def at(self, value: float) -> LearningProblem:
        """The problem for this p."""

    @abstractmethod
    def slope(self, problem: LearningProblem, control: Control, found: Linearization) -> Array:
        """d/dp of the derivative of J in the coefficients, in the order of `Columns`; the problem
        is that of `at`.
        """

    def columns(self, value: float) -> Columns:
        """The coefficients as they lie in y."""
        return Columns.of(self.at(value).space)

    def control(self, y: Array, value: float) -> Control:
        """The control that y stands for."""
        return self._written(y, self.columns(value))

    def unknown(self, control: Control, value: float) -> Array:
        """The y of a control.  Raises ValueError for one of another space."""
        columns = self.columns(value)
        return self.roots * columns.vector(columns.space.check("initial", control))

    def evaluate(self, y: Array, value: float) -> tuple[float, Array, Array, Array]:
        """(J, F, H, dF/dp).  Raises SolveError where the state is not finite."""
        problem = self.at(value)
        control = self._written(y, Columns.of(problem.space))
        found = linearize(discretize(problem), control)
        slope = self.slope(problem, control, found) / self.roots
        h = reduced_hessian(found.model, found.borders) / np.outer(self.roots, self.roots)
        return found.value, found.gradient / self.roots, 0.5 * (h + h.T), slope

    def _written(self, y: Array, columns: Columns) -> Control:
        return columns.write(*columns.split(y / self.roots))


class ByPenalty(Family):
    """p is the strength of the one Tikhonov term: J = Phi + p R, y flat coordinates, dF/dp = R'.

    raises ValueError unless the penalty has exactly one Tikhonov term
    """

    def __init__(self, problem: LearningProblem) -> None:
        self.terms = terms_of(problem.penalty)
        found = [n for n, term in enumerate(self.terms) if isinstance(term, Tikhonov)]
        if len(found) != 1:
            raise ValueError(
                f'problem: continuation in "penalty" needs a penalty with one Tikhonov term, got '
                f"{problem.penalty!r}"
            )
        self.place = found[0]
        super().__init__(problem)

    def at(self, value: float) -> LearningProblem:
        return replace(self.problem, penalty=sum_of(self._terms(value)))

    def slope(self, problem: LearningProblem, control: Control, found: Linearization) -> Array:
        gradient = self._terms(1.0)[self.place].gradient(control)
        return self.roots**2 * Columns.of(problem.space).vector(gradient)

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
        check_horizon(problem)
        super().__init__(problem)

    def at(self, value: float) -> LearningProblem:
        space = self.problem.space
        stretched = replace(space, mesh=space.mesh.stretched(value))
        return replace(self.problem, controls=stretched)

    def slope(self, problem: LearningProblem, control: Control, found: Linearization) -> Array:
        return horizon_derivative(problem, control, found)


FAMILIES: dict[str, type[Family]] = {"penalty": ByPenalty, "horizon": ByHorizon}
