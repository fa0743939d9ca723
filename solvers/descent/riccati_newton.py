"""Newton's method for problems in time: one sweep over the layers solves each Newton system."""

from dataclasses import dataclass

import numpy as np

from continuum.checks import check_positive, store
from continuum.controls import Control
from continuum.doors import checked

from ..adjoint.discretize import ReducedObjective
from ..adjoint.linear_quadratic import Linearization, Linearizer, check_model
from ..run.iteration import NotFinite
from ..run.solution import Solution, SolveError
from ..run.status import Status
from .objective import Composite
from .riccati import Pivots, Sweep, negative_curvature, sweep
from .riccati_models import Bounds, masked
from .rollout import Point, Rollout
from .run import Descent, Minimizer, OutOfDomain, refuse

FLAT = 1e-9
"""Curvatures nearer to 0 than this share of the largest diagonal entry count as 0."""

_ARMIJO = 1e-4
_TRIALS = 2  # shares 1 and 1/2 of a step, before the shift grows
_FACTOR = 3.0  # by which the shift grows and falls
_SMALLEST = 0.01  # share of |g| / radius below which a shift counts as none
_ROUNDING = 8.0 * np.finfo(float).eps  # of J, relative, times the root of the number of steps


@checked
@dataclass(frozen=True)
class RiccatiNewton(Minimizer):
    """Newton's method with the exact Hessian H of the discrete problem, (H + s G) dx = -g.

    G is the product of the space and s >= 0 a shift.  One sweep over the layers (`riccati.py`)
    solves the system at the cost of K eliminations of m controls or n states, whichever are fewer,
    and ends at the first pivot that is not positive; then s grows threefold.  The step is made by a
    run of the network itself, u_k = u_old_k + a d_k + F_k (z_k - z_old_k) with the sweep's feedback
    F_k, whole or by half, and s grows where J does not fall.  Where J falls as predicted, s falls
    threefold, or with |g| if that falls faster, and in the end to 0, so that near a minimum with a
    positive definite Hessian the error is squared each time.

    Where |g| <= gtol the negative pivots are counted: their number is the Morse index of the
    reduced Hessian.  If it is not 0, the run goes on along a direction of negative curvature that
    the pivots give, or ends with Status.SADDLE if J falls along none; if it is 0 and no eigenvalue
    is close to 0, with Status.MINIMUM.

    In a Box, coefficients at a bound that the gradient pushes against it stay there in the sweep
    (an active set), and the run is clipped to the box: a projected Newton method.  The Morse index
    is then that of the others.

    radius : the length of the first step, about, in the space's norm, if the whole Newton step from
        the start does not lower J
    Statistics: "morse_index", "nullity" (how many eigenvalues count as 0), both NaN unless the run
    ends at a stationary point; "factorisations", the sweeps, those that ended at a pivot included.
    Takes problems whose controls are constant on layers or in time, with Runge-Kutta methods of
    fixed steps; see `check_model` for the rest.
    Sources: Dunn and Bertsekas, J. Optim. Theory Appl. 63 (1989); Jacobson and Mayne, Differential
    Dynamic Programming; Bertsekas, SIAM J. Control Optim. 20 (1982), for the Box.
    """

    radius: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, check_positive, "radius")

    def check(self, problem: Composite) -> None:
        """Raises TypeError for a set that is no Box, a penalty without a gradient, or an objective
        that is no discretized problem; ValueError for problems without a model on layers.
        """
        if problem.intervals is None:
            raise refuse(self, problem.admissible, "a Box, or GradientDescent(), which projects")
        if problem.penalty is not None:
            raise refuse(
                self, problem.penalty, "GradientDescent() or Nesterov(), which take proximal steps"
            )
        if not isinstance(problem.objective, ReducedObjective):
            raise refuse(self, problem.objective, "a LearningProblem, or discretize(problem, ...)")
        check_model(problem.objective)

    def descend(self, run: Descent, start: Control) -> Solution[Control]:
        """The run from an admissible start."""
        return _Newton(run, self.radius).descend(start)


class _Newton:
    """One run."""

    def __init__(self, run: Descent, radius: float) -> None:
        objective: ReducedObjective = run.problem.objective  # type: ignore[assignment]  # see check
        self.radius, self.run = radius, run
        self.linearizer = Linearizer(objective)
        self.columns = self.linearizer.columns
        self.weights = self.columns.weights
        self.bounds = Bounds.of(run.problem, self.columns)
        self.rollout = Rollout(objective, self.columns, self.bounds.rows)
        steps = run.space.mesh.layers * objective.steps_per_layer
        self.rounding = _ROUNDING * steps**0.5
        self.sweeps = 0
        self.shift = np.nan
        self.unit: float | None = None
        """|g| / radius before the last step, if J fell as predicted."""

    def descend(self, start: Control) -> Solution[Control]:
        """Iterates until an iterate is the last."""
        run = self.run
        try:
            point = self.rollout.start(start)
        except SolveError as error:
            raise OutOfDomain(str(error)) from error
        while True:
            model, measure = self._model(point)
            status = run.accept(run.space.join(point.control), point.value, model.gradient, measure)
            if status is Status.CONVERGED:
                after = self._judged(model, point)
                if isinstance(after, Solution):
                    return after
            elif status is not None:
                return self._solution(status)
            else:
                after = self._step(model, point, measure)
            if after is None:
                return self._solution(Status.LINE_SEARCH_FAILED)
            point = after

    def _model(self, point: Point) -> tuple[Linearization, float]:
        """The quadratic model, with coefficients held at bounds, and |P(x - g) - x|."""
        self.run.evaluations += 1
        if not np.isfinite(point.value):
            raise OutOfDomain(f"the objective is {point.value}")
        model = self.linearizer(point.control, (point.sweeps, point.tape))
        if not np.all(np.isfinite(model.gradient)):
            raise NotFinite("the gradient has entries that are infinite or NaN")
        slope = model.gradient / self.weights
        if not self.bounds.any:
            return model, float(np.linalg.norm(np.sqrt(self.weights) * slope))
        x = np.append(point.u.reshape(-1), point.s)
        moved = np.sqrt(self.weights) * (self.bounds.clip(x - slope) - x)
        measure = float(np.linalg.norm(moved))
        held, way = self.bounds.held(x, slope, measure)
        return masked(model, self.columns, self.weights, held, way), measure

    def _step(self, model: Linearization, point: Point, measure: float) -> Point | None:
        """The next iterate; None if no shift lowers J by more than rounding."""
        unit = measure / self.radius
        first = np.isnan(self.shift)
        if first:
            self.shift = 0.0
        elif self.unit is not None:  # the last step was as predicted: s falls as |g| does
            self.shift *= min(1.0, _FACTOR * unit / self.unit)
        while True:
            found = self._sweep(model, self.shift, "end")
            share = 1.0
            for _ in range(_TRIALS if found.ended < 0 else 0):
                new = self._trial(model, point, found, share)
                fall = (2.0 - share) * share * found.predicted
                if new is not None and point.value - new.value >= (
                    _ARMIJO * fall - self.rounding * abs(point.value)
                ):
                    self.unit = None
                    if point.value - new.value >= 0.5 * fall:
                        self.unit = unit
                        small = self.shift <= _SMALLEST / _FACTOR * unit
                        self.shift = 0.0 if small else self.shift / _FACTOR
                    return new
                share *= 0.5
            if found.ended < 0 and found.predicted <= self.rounding * abs(point.value):
                return None
            self.shift = max(_FACTOR * self.shift, unit if first else _SMALLEST * unit)
            first = False

    def _trial(
        self, model: Linearization, point: Point, found: Sweep, share: float
    ) -> Point | None:
        """The run with a share of a step; None if it is not finite."""
        self.run.evaluations += 1
        new = self.rollout(point, model.states, found.law, found.ds, share)
        self.run.trouble = "the state or the objective is not finite" if new is None else ""
        return new

    def _sweep(self, model: Linearization, shift: float, pivots: Pivots) -> Sweep:
        self.sweeps += 1
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                return sweep(model.model, self.weights, shift, model.borders, pivots=pivots)
        except FloatingPointError as error:
            raise NotFinite(str(error)) from error

    def _judged(self, model: Linearization, point: Point) -> Solution[Control] | Point:
        """How the run ends at a stationary point, or where it goes on."""
        band = FLAT * self._largest(model)
        if self._sweep(model, -band, "end").ended < 0:
            return self._solution(Status.MINIMUM, 0, 0)
        below = self._sweep(model, band, "keep")
        index = below.inertia
        nullity = self._sweep(model, -band, "keep").inertia - index
        if index == 0:
            return self._solution(Status.CONVERGED, index, nullity)
        if self.run.iterations == self.run.max_iterations:
            return self._solution(Status.MAX_ITERATIONS, index, nullity)
        beyond = self._escape(model, point, below)
        return beyond or self._solution(Status.SADDLE, index, nullity)

    def _largest(self, model: Linearization) -> float:
        """The largest diagonal entry of R_k + B_k' Q_{k+1} B_k, in the metric."""
        lq = model.model
        layers, m = lq.r.shape
        diagonal = np.einsum("kaa->ka", lq.R) + np.einsum(
            "kmia,kmij,kmja->ka", lq.B, lq.Q[1:], lq.B, optimize=True
        )
        whole = np.abs(diagonal).reshape(-1) / self.weights[: layers * m]
        if model.borders is not None:
            own = np.abs(np.diagonal(model.borders.P)) / self.weights[layers * m :]
            whole = np.append(whole, own)
        return float(np.max(whole))

    def _escape(self, model: Linearization, point: Point, found: Sweep) -> Point | None:
        """A point with J lower by |curvature| t^2 / 8, at t = radius, radius / 2, ... along a
        direction of negative curvature; None if that is below rounding.
        """
        direction = negative_curvature(model.model, found, self.weights, model.borders)
        if direction is None:
            return None
        law, ds, curvature = direction
        t = self.radius
        while (fall := -curvature * t * t / 8.0) > self.rounding * abs(point.value):
            for sign in (1.0, -1.0):
                self.run.evaluations += 1
                new = self.rollout(point, model.states, law, ds, sign * t)
                if new is not None and new.value <= point.value - fall:
                    self.shift = -2.0 * curvature
                    return new
            t /= 2.0
        return None

    def _solution(
        self, status: Status, index: float = np.nan, nullity: float = np.nan
    ) -> Solution[Control]:
        words = "" if np.isnan(index) else f"Morse index {index:g}"
        if nullity > 0:
            words += f", nullity {nullity:g}"
        return self.run.solution(
            status,
            words,
            morse_index=float(index),
            nullity=float(nullity),
            factorisations=float(self.sweeps),
        )
