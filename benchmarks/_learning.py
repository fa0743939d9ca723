"""A terminal squared error of a dense network with tanh, the same for everybody.

    f' = tanh(a_k - b_k W f) on layer k, Euler or RK4,
    J = 1/M sum_m 1/2 sum_i w_i (f_K - target)_im^2

Peers differentiate in A_k = -b_k W, formed outside the timing, which spares them the products with
W.  Ours is the gradient in the product of the continuum: dJ/da_ki = tau w_i (ours)_ki and
dJ/dA_kij = -tau w_i (ours)_kij.  Each gradient, converted to ours, is compared in a random
direction with extrapolated central differences of J, computed by a separate plain loop, and entry
by entry with ours.  The error is the larger of the two, relative; the differences themselves are
good to about 1e-9.
"""

from functools import cached_property

import numpy as np
from _peers import Layers

from continuum import Control, Interval, LearningProblem, TimeMesh, WidthDepth, gauss_legendre, tanh
from solvers import discretize
from solvers.adjoint.factors import Factors
from solvers.steps.tableaux import RungeKutta

Gradient = tuple[float, np.ndarray, np.ndarray]


class Learning:
    """The problem, a control, and how far a gradient or Hessian product is off."""

    def __init__(self, stepper: RungeKutta, units: int, samples: int, layers: int) -> None:
        rng = np.random.default_rng(2)
        self.stepper, self.tau = stepper, 1.0 / layers
        self.network = WidthDepth(gauss_legendre(Interval(0.0, 1.0), units), tanh)
        self.w = self.network.weights
        initial, target = rng.standard_normal((2, units, samples))
        self.problem = LearningProblem(self.network, initial, target, TimeMesh(1.0, layers))
        self.objective = discretize(self.problem, stepper)
        bias = rng.standard_normal((layers, units))
        kernel = np.sqrt(units) * rng.standard_normal((layers, units, units))
        self.control = self.objective.space.sample(bias=bias, kernel=kernel)
        sub = (0.0, *np.diag(stepper.a, -1).tolist())
        share = self.w / samples
        self.layers = Layers(
            bias, -kernel * self.w, initial, target, share, self.tau, sub, stepper.b.tolist()
        )
        self.direction = rng.standard_normal(bias.shape), 0.1 * rng.standard_normal(kernel.shape)
        self.case = f"{type(stepper).__name__} {units} x {samples}, K = {layers}"

    def value(self, shift: float) -> float:
        """J, by plain NumPy, at the control moved by `shift` in the direction."""
        data = self.layers
        f = data.initial
        for a, A, x, y in zip(data.bias, data.matrices, *self.direction, strict=True):
            A, a = A + shift * y, (a + shift * x)[:, None]
            start, s = f, 0.0
            for sub, b in zip(data.sub, data.b, strict=True):
                s = np.tanh(A @ (start + (data.tau * sub) * s) + a)
                f = f + (data.tau * b) * s
        return float(0.5 * np.sum(data.share[:, None] * (f - data.target) ** 2))

    @cached_property
    def slope(self) -> float:
        """The derivative of J in the direction, by extrapolated central differences."""
        coarse, fine = ((self.value(h) - self.value(-h)) / (2 * h) for h in (2e-3, 1e-3))
        return (4 * fine - coarse) / 3

    @cached_property
    def bend(self) -> float:
        """The second one."""
        here = 2 * self.value(0.0)
        coarse, fine = ((self.value(h) - here + self.value(-h)) / h**2 for h in (8e-3, 4e-3))
        return (4 * fine - coarse) / 3

    @cached_property
    def gradient(self) -> tuple[np.ndarray, np.ndarray]:
        """Ours, bias and kernel."""
        return self.as_ours(self.objective.value_and_gradient(self.control))[1:]

    @cached_property
    def along(self) -> Control:
        """The direction, in our blocks."""
        da, dA = self.direction
        return self.objective.space.sample(bias=da, kernel=-dA / self.w)

    @cached_property
    def product(self) -> tuple[np.ndarray, np.ndarray]:
        """Our Hessian applied to the direction, bias and kernel."""
        found = self.objective.hvp(self.control, self.along)
        return found["bias"], found["kernel"]

    def as_ours(self, found: object) -> Gradient:
        """(J, bias, kernel) in the product of the continuum, from a control, from derivatives in
        a_k and A_k, or from factors of the latter.
        """
        value, *rest = found  # type: ignore[misc]
        if len(rest) == 1 and isinstance(rest[0], Factors):
            rest = [rest[0].gradient()]
        if len(rest) == 1:
            return float(value), rest[0]["bias"], rest[0]["kernel"]
        layers, units = self.layers.bias.shape
        bias, matrices = rest
        if isinstance(matrices, tuple) and len(matrices) == 2:
            r, x = (np.asarray(y).reshape(layers, -1, units) for y in matrices)
            matrices = np.matmul(r.transpose(0, 2, 1), x)
        bias = np.stack([np.asarray(x) for x in bias]).reshape(layers, units)
        matrices = np.stack([np.asarray(x) for x in matrices])
        return float(value), bias / (self.tau * self.w), -matrices / (self.tau * self.w[:, None])

    def error(self, found: object) -> float:
        """Of a gradient: the larger relative error of the two."""
        value, *gradient = self.as_ours(found)
        off = abs(value - self.value(0.0)) / abs(self.value(0.0))
        return max(off, self._error(gradient, self.gradient, self.slope))

    def product_error(self, found: object) -> float:
        """Of a Hessian product: the same, against second differences."""
        return self._error(list(self.as_ours((0.0, *found))[1:]), self.product, self.bend)  # type: ignore[misc]

    def _error(self, found: list[np.ndarray], ours: tuple[np.ndarray, ...], along: float) -> float:
        (bias, kernel), (da, dA) = found, self.direction
        slope = self.tau * (np.sum(self.w * bias * da) - np.sum(self.w[:, None] * kernel * dA))
        pairs = zip(found, ours, strict=True)
        entries = max(float(np.max(np.abs(x - y)) / np.max(np.abs(y))) for x, y in pairs)
        return max(abs(slope - along) / abs(along), entries)
