"""The objective of deep linear networks by products of matrices: the fast path of `discretize`."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from continuum.arrays import Array, to_host
from continuum.controls import Control, ControlSpace
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from ..run.solution import Solution, SolveError
from ..run.status import Status
from .problems import weighted_points
from .product_loops import forward, steps, value_and_slopes
from .tile_loops import ROWS


@checked
@dataclass(frozen=True, eq=False)
class ProductObjective:
    """J = |W_L ... W_1 A - Y|_F^2 / 2 + const of a problem of `deep_linear` or `deep_linear_data`,
    Z_L ... Z_1 subtracted from the product if it is double.

    The same number as that of `discretize(problem)`, to rounding, with gradient and Hessian
    product, by sweeps over the layers with three products of n x n matrices for each.  N > n points
    are reduced to n columns A, Y once, which leaves a constant.  `FixedStep` makes its steps in one
    compiled loop.

    raises TypeError for a problem of another kind, or with a penalty, running cost or endpoint
    Source: Nar and Sastry (2018), (4) and (5).
    """

    problem: LearningProblem
    _inputs: Array = field(init=False, repr=False)
    _target: Array = field(init=False, repr=False)  # transposed
    _constant: float = field(init=False, repr=False)

    __repr__ = short

    def __post_init__(self) -> None:
        a, b = weighted_points(self.problem)
        units, both, rest = len(a), np.concatenate([a, b]), 0.0
        if both.shape[1] > units:
            lower = np.linalg.qr(both.T).R.T
            rest = 0.5 * float(np.sum(lower[units:, units:] ** 2))
            both = lower[:, :units]
        for name, value in (("inputs", both[:units]), ("target", both[units:].T)):
            object.__setattr__(self, f"_{name}", self._padded(value))
        object.__setattr__(self, "_constant", rest)

    @property
    def space(self) -> ControlSpace:
        """The space of the controls."""
        return self.problem.space

    def value(self, control: Control) -> float:
        """J(control); infinite where a product overflows."""
        factors = self._factors(self.space.join(control))
        value = forward(factors, self._prefixes(), self._target, self._costates()) + self._constant
        return value if np.isfinite(value) else float("inf")

    def value_and_gradient(self, control: Control) -> tuple[float, Control]:
        """J and its gradient.  Raises SolveError where a product overflows."""
        factors = self._factors(self.space.join(control))
        slopes = np.empty_like(factors)
        value = value_and_slopes(factors, self._prefixes(), self._target, self._costates(), slopes)
        if not np.isfinite(value):
            raise SolveError(Solution(control, Status.NON_FINITE, "in the products"))
        return value + self._constant, self.space.views(self._flat(slopes))

    def hvp(self, control: Control, direction: Control) -> Control:
        """The Hessian of J applied to a direction, from the derivatives of the sweeps.  Raises
        SolveError where a product overflows.
        """
        w, dw = (self._matrices(self.space.join(x)) for x in (control, direction))
        w += np.eye(self._units)
        layers = w.shape[1]
        out, signs = np.empty_like(w), np.array([1.0, -1.0])[: len(w), None, None]
        inputs = self._inputs[: self._units, : self._units]
        b, db = np.empty_like(w), np.zeros_like(w)
        with np.errstate(over="ignore", invalid="ignore"):
            last, dlast = np.broadcast_to(inputs, b[:, 0].shape), db[:, 0]
            for i in range(layers):
                b[:, i], db[:, i] = last, dlast
                last, dlast = w[:, i] @ b[:, i], dw[:, i] @ b[:, i] + w[:, i] @ db[:, i]
            target = self._target[: self._units, : self._units].T
            p, dp = signs * (np.sum(signs * last, 0) - target), signs * np.sum(signs * dlast, 0)
            for i in range(layers - 1, -1, -1):
                out[:, i] = dp @ b[:, i].mT + p @ db[:, i].mT
                p, dp = w[:, i].mT @ p, dw[:, i].mT @ p + w[:, i].mT @ dp
        if not np.all(np.isfinite(out)):
            raise SolveError(Solution(control, Status.NON_FINITE, "in the products"))
        return self.space.views(out.ravel())

    def fixed_steps(
        self, x: Array, before: Array, step: float, momentum: float | None, first: int, count: int
    ) -> tuple[Array, Array, Array, Array]:
        """Many steps of `FixedStep` in one call: see `SteppedObjective`."""
        beta = max(first - 1, 0) / (first + 2.0) if momentum is None else momentum
        factors, earlier = self._factors(x + beta * (x - before)), self._factors(before)
        last = factors if momentum == 0.0 else self._factors(x)
        found = np.full((2, count), np.nan)
        room = self._prefixes(), self._target, self._costates(), np.empty(self._target.shape)
        rule = float(step), -1.0 if momentum is None else float(momentum), float(first)
        steps(factors, last, earlier, room, rule, found)
        eye = self._padded(np.eye(self._units))
        x, before = self._flat(last - eye), self._flat(earlier - eye)
        return x, before, found[0] + self._constant, found[1]

    @cached_property
    def _units(self) -> int:
        return len(self.problem.target)  # type: ignore[arg-type]

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        """(P, L, n, n): vectors of coefficients as matrices."""
        return len(self.space.trained), self.problem.mesh.layers, self._units, self._units

    def _matrices(self, flat: Array) -> Array:
        return np.array(to_host(flat), dtype=np.float64).reshape(self._shape)

    def _padded(self, matrices: Array) -> Array:
        """With rows and columns of zeros, as `tile_loops` wants them."""
        size = -(-self._units // ROWS) * ROWS
        found = np.zeros((*matrices.shape[:-2], size, size))
        found[..., : matrices.shape[-2], : matrices.shape[-1]] = matrices
        return found

    def _factors(self, flat: Array) -> Array:
        """(P, L, m, m): W = I + w, padded, of coefficients w."""
        return self._padded(self._matrices(flat) + np.eye(self._units))

    def _flat(self, padded: Array) -> Array:
        return padded[..., : self._units, : self._units].ravel()

    def _prefixes(self) -> Array:
        """Room for the prefixes, the first of which are the inputs."""
        parts, layers = self._shape[:2]
        found = np.empty((parts, layers + 1, *self._inputs.shape))
        found[:, 0] = self._inputs
        return found

    def _costates(self) -> Array:
        return np.empty((3, *self._target.shape))
