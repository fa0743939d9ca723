"""The gradient of a terminal squared error with respect to all a_k, b_k of 100 steps, 256 x 64,
float64.

    f' = tanh(a_k - b_k W f) on layer k, Euler or RK4,
    J = 1/M sum_m 1/2 sum_i w_i (f_K - target)_im^2

`discretize(problem).value_and_gradient(control)` against PyTorch's autograd, an adjoint written by
hand in NumPy, and jax.value_and_grad of a scan; each returns the value and its own kind of
gradient.  The others differentiate in A_k = -b_k W, formed outside the timing, which spares them
the products with W; PyTorch has one leaf per layer, which is faster than slices of one tensor;
NumPy writes into arrays that it allocates once.

Ours is the gradient in the product of the continuum: dJ/da_ki = tau w_i (ours)_ki and
dJ/dA_kij = -tau w_i (ours)_kij.  Each gradient, converted to ours, is compared in a random
direction with extrapolated central differences of J, computed by a separate plain loop, and entry
by entry with ours.  The error is the larger of the two, relative; the differences themselves are
good to about 1e-9.

Further rows, for Euler and RK4: a Hessian-vector product against the gradient (the bar is a ratio
of 1/3), its error that of its product with the direction against extrapolated second differences;
and the gradient in a tenth of the memory against the forward run (the bar is 1/5.5), its error that
to the gradient with all of it.
"""

import _harness  # isort: split

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from continuum import Interval, LearningProblem, TimeMesh, WidthDepth, gauss_legendre, tanh
from solvers import RK4, Euler, discretize, integrate

UNITS, SAMPLES, LAYERS = 256, 64, 100
TOLERANCE = 1e-8
Gradient = tuple[float, np.ndarray, np.ndarray]
Run = Callable[[], tuple[object, ...]]


class Data:
    """The same problem for everybody."""

    def __init__(self, stepper) -> None:
        self.stepper, self.a, self.b = stepper, stepper.a.tolist(), stepper.b.tolist()
        rng = np.random.default_rng(2)
        self.network = WidthDepth(gauss_legendre(Interval(0.0, 1.0), UNITS), tanh)
        self.tau, self.w = 1.0 / LAYERS, self.network.weights
        self.initial, self.target = rng.standard_normal((2, UNITS, SAMPLES))
        problem = LearningProblem(self.network, self.initial, self.target, TimeMesh(1.0, LAYERS))
        self.problem, self.objective = problem, discretize(problem, stepper)
        bias = rng.standard_normal((LAYERS, UNITS))
        kernel = np.sqrt(UNITS) * rng.standard_normal((LAYERS, UNITS, UNITS))
        self.control = self.objective.space.sample(bias=bias, kernel=kernel)
        self.bias, self.matrices = bias[:, :, None], -kernel * self.w
        self.share = self.w[:, None] / SAMPLES
        self.direction = (
            rng.standard_normal(self.bias.shape),
            0.1 * rng.standard_normal(self.matrices.shape),
        )
        self.slope = self._slope()
        _, *self.gradient = as_ours(self, ours(self)())

    def value(self, shift: float) -> float:
        """J, by plain NumPy, at the control moved by `shift` in the direction."""
        f = self.initial
        da, dA = self.direction
        for a, A, x, y in zip(self.bias, self.matrices, da, dA, strict=True):
            A, a = A + shift * y, a + shift * x
            f = step(self, f, lambda g, A=A, a=a: np.tanh(A @ g + a))
        return float(0.5 * np.sum(self.share * (f - self.target) ** 2))

    def _slope(self) -> float:
        """The directional derivative, by extrapolated central differences."""
        coarse, fine = ((self.value(h) - self.value(-h)) / (2 * h) for h in (2e-3, 1e-3))
        return (4 * fine - coarse) / 3

    @property
    def along(self) -> object:
        """The direction, in our blocks."""
        da, dA = self.direction
        return self.objective.space.sample(bias=da[:, :, 0], kernel=-dA / self.w)

    def bend_error(self, found: object) -> float:
        """Of (d, Hd), relative."""
        here = 2 * self.value(0.0)
        coarse, fine = ((self.value(h) - here + self.value(-h)) / h**2 for h in (8e-3, 4e-3))
        expected = (4 * fine - coarse) / 3
        return abs(self.objective.space.inner(found, self.along) - expected) / abs(expected)

    def error(self, found: object) -> float:
        """The larger relative error of the two."""
        _, bias, kernel = as_ours(self, found)
        da, dA = self.direction
        slope = self.tau * (
            np.sum(self.w * bias * da[:, :, 0]) - np.sum(self.w[:, None] * kernel * dA)
        )
        pairs = zip((bias, kernel), self.gradient, strict=True)
        entries = max(float(np.max(np.abs(x - y)) / np.max(np.abs(y))) for x, y in pairs)
        return max(abs(slope - self.slope) / abs(self.slope), entries)


def step(data: Data, f, velocity: Callable):
    """One step of the tableau, in the arrays of any library."""
    slopes = []
    for row in data.a:
        x = f
        for factor, k in zip(row, slopes, strict=False):
            if factor:
                x = x + (data.tau * factor) * k
        slopes.append(velocity(x))
    for factor, k in zip(data.b, slopes, strict=True):
        f = f + (data.tau * factor) * k
    return f


def as_ours(data: Data, found: object) -> Gradient:
    """(J, bias, kernel) in the product of the continuum, from a control or from derivatives in a_k
    and A_k.
    """
    value, *rest = found
    if len(rest) == 1:
        return float(value), rest[0]["bias"], rest[0]["kernel"]
    bias = np.stack([np.asarray(x) for x in rest[0]]).reshape(LAYERS, UNITS)
    matrices = np.stack([np.asarray(x) for x in rest[1]])
    return float(value), bias / (data.tau * data.w), -matrices / (data.tau * data.w[:, None])


def ours(data: Data) -> Run:
    return lambda: data.objective.value_and_gradient(data.control)


def numpy_adjoint(data: Data) -> Run:
    tau, bias, matrices = data.tau, data.bias, data.matrices
    states, slopes = np.empty((LAYERS + 1, UNITS, SAMPLES)), np.empty((LAYERS, UNITS, SAMPLES))
    p, r = np.empty((UNITS, SAMPLES)), np.empty((UNITS, SAMPLES))
    bias_bar, matrix_bar = np.empty((LAYERS, UNITS)), np.empty_like(matrices)

    def run() -> Gradient:
        states[0] = data.initial
        for k in range(LAYERS):
            np.matmul(matrices[k], states[k], out=slopes[k])
            np.add(slopes[k], bias[k], out=slopes[k])
            np.tanh(slopes[k], out=slopes[k])
            np.multiply(slopes[k], tau, out=states[k + 1])
            np.add(states[k + 1], states[k], out=states[k + 1])
        difference = states[-1] - data.target
        np.multiply(data.share, difference, out=p)
        value = 0.5 * float(np.vdot(p, difference))
        for k in range(LAYERS - 1, -1, -1):
            np.multiply(slopes[k], slopes[k], out=r)
            np.subtract(1.0, r, out=r)
            np.multiply(r, p, out=r)
            np.multiply(r, tau, out=r)
            np.sum(r, axis=1, out=bias_bar[k])
            np.matmul(r, states[k].T, out=matrix_bar[k])
            np.matmul(matrices[k].T, r, out=slopes[k])
            np.add(p, slopes[k], out=p)
        return value, bias_bar, matrix_bar

    return run


def torch_autograd(data: Data) -> Run:
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    bias, matrices = (
        [torch.from_numpy(x.copy()).requires_grad_() for x in y] for y in (data.bias, data.matrices)
    )
    initial, target, share = (
        torch.from_numpy(x.copy()) for x in (data.initial, data.target, data.share)
    )

    def run() -> tuple[object, ...]:
        f = initial
        for a, A in zip(bias, matrices, strict=True):
            slopes = []
            for row in data.a:
                x = f
                for factor, k in zip(row, slopes, strict=False):
                    x = torch.add(x, k, alpha=data.tau * factor) if factor else x
                slopes.append(torch.tanh(torch.addmm(a, A, x)))
            for factor, k in zip(data.b, slopes, strict=True):
                f = torch.add(f, k, alpha=data.tau * factor)
        difference = f - target
        value = 0.5 * torch.sum(share * difference * difference)
        found = torch.autograd.grad(value, [*bias, *matrices])
        return value.item(), found[:LAYERS], found[LAYERS:]

    return run


def jax_grad(data: Data) -> Run:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    initial, target, share = (
        jnp.asarray(data.initial),
        jnp.asarray(data.target),
        jnp.asarray(data.share),
    )
    control = jnp.asarray(data.bias), jnp.asarray(data.matrices)

    @jax.jit
    @jax.value_and_grad
    def solve(control: tuple[jax.Array, jax.Array]) -> jax.Array:
        def layer(f: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            a, A = block
            return step(data, f, lambda g: jnp.tanh(A @ g + a)), None

        difference = jax.lax.scan(layer, initial, control)[0] - target
        return 0.5 * jnp.sum(share * difference * difference)

    def run() -> tuple[object, ...]:
        value, (bias, matrices) = jax.block_until_ready(solve(control))
        return value, bias, matrices

    return run


CONTENDERS = {
    "continuum value_and_gradient": ours,
    "PyTorch autograd": torch_autograd,
    "NumPy adjoint by hand": numpy_adjoint,
    "jax value_and_grad of scan": jax_grad,
}


def second_order(data: Data) -> Run:
    direction = data.along
    return lambda: data.objective.hvp(data.control, direction)


def forward(data: Data) -> Run:
    return lambda: integrate(data.network, data.control, data.initial, data.stepper)


def tenth(data: Data) -> Run:
    everything = (1 + LAYERS * (1 + len(data.b))) * 8 * UNITS * SAMPLES
    limited = discretize(data.problem, data.stepper, memory=everything // 10)
    return lambda: limited.value_and_gradient(data.control)


def rows_of(stepper, bars: dict[str, float]) -> list[_harness.Row]:
    """All comparisons of one method."""
    data, name = Data(stepper), type(stepper).__name__
    case = f"{name} {UNITS} x {SAMPLES}, K = {LAYERS}"
    peers = {k: v for k, v in CONTENDERS.items() if v is not numpy_adjoint or name == "Euler"}
    cases = [
        _harness.Case(k, case, partial(make, data), data.error, TOLERANCE)
        for k, make in peers.items()
    ]
    further = [
        _harness.Case("continuum hvp", case, partial(second_order, data), data.bend_error, 1e-5),
        _harness.Case(
            "continuum gradient in a tenth of the memory",
            case,
            partial(tenth, data),
            data.error,
            TOLERANCE,
        ),
        _harness.Case("continuum forward", case, partial(forward, data)),
    ]
    _harness.measure([*cases, *further])
    product, limited, run = further
    return [
        *_harness.compare_all(cases, bars),
        _harness.compare(product, cases[0], 1 / 3),
        _harness.compare(limited, run, 1 / 5.5),
        _harness.own(run),
    ]


def main(json_path: Path) -> None:
    """Runs all; the file gets the rows."""
    jax = "jax value_and_grad of scan"
    rows = rows_of(Euler(), {"PyTorch autograd": 1.4, jax: 2.0}) + rows_of(
        RK4(), {"PyTorch autograd": 1.25, jax: 2.0}
    )
    _harness.write(
        rows, json_path, "Gradient of a terminal squared error, tanh, dense kernel, float64"
    )


if __name__ == "__main__":
    _harness.run("gradient", main)
