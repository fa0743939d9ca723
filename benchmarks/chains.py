"""Gradients of small chains, and a forward run to a given error by an adaptive pair, float64.

    NeuralODE f' = tanh(w f + b) and NeuralODE2 f' = w tanh(f) + b, 2 units x 20 samples, K = 100;
    Bottleneck f' = w2 tanh(w1 f + b1) + b2, 3 x 100, 50 hidden units, K = 16;
    NeuralODE 64 x 1000, K = 10: J = 1 / (2 M) |f(1) - target|^2 and its gradient, Euler and RK4.

`discretize(problem).value_and_gradient(control)` against the same on the generic path, which loads
no compiled loop, and against a jitted `jax.value_and_grad` of a scan over the layers.  Ours is the
gradient in the product of the continuum, dJ/dc_k = tau (ours)_k; the error is the largest entry of
the difference to the generic one, relative to its largest.

WidthDepth 64 x 1 and 256 x 64 with a kernel constant in time, on (0, 1): `integrate` with DOP853
against diffrax's Tsit5 and Dopri8, every method at the tolerance of a list at which its error,
against DOP853 at 1e-13, is first at most 1e-9.
"""

import _harness  # isort: split

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from continuum import (
    Bottleneck,
    Interval,
    LearningProblem,
    NeuralODE,
    NeuralODE2,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    tanh,
)
from solvers import DOP853, RK4, Euler, discretize, integrate
from solvers.flow.program import Loop

TOLERANCE, TARGET = 1e-12, 1e-9
TOLERANCES = tuple(10.0 ** (-0.25 * n) for n in range(24, 49))


class Gradient:
    """The same problem for everybody."""

    def __init__(self, network, samples: int, layers: int, stepper) -> None:
        rng, units = np.random.default_rng(3), len(network.weights)
        self.network, self.stepper, self.tau = network, stepper, 1.0 / layers
        self.initial, self.target = rng.standard_normal((2, units, samples))
        problem = LearningProblem(network, self.initial, self.target, TimeMesh(1.0, layers))
        self.objective = discretize(problem, stepper)
        self.control = self.objective.space.random(rng, 0.3)
        self.name = type(network).__name__
        self.case = f"{self.name} {units} x {samples}, K = {layers}, {type(stepper).__name__}"
        self.reference = generic(self)()

    def error(self, found: object) -> float:
        """The largest relative error of J and of the gradient's blocks."""
        (value, gradient), (exact, expected) = found, self.reference
        worst = abs(float(value) - exact) / abs(exact)
        for name, x in expected.items():
            ours = np.asarray(gradient[name])
            ours = ours if hasattr(gradient, "space") else ours / self.tau
            worst = max(worst, float(np.max(np.abs(ours - x)) / np.max(np.abs(x))))
        return worst


def ours(data: Gradient) -> Callable[[], object]:
    return lambda: data.objective.value_and_gradient(data.control)


def generic(data: Gradient) -> Callable[[], object]:
    def run() -> object:
        compiled, Loop.of = Loop.of, staticmethod(lambda *arguments: None)
        try:
            return data.objective.value_and_gradient(data.control)
        finally:
            Loop.of = staticmethod(compiled)

    return run


def jax_grad(data: Gradient) -> Callable[[], object]:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    rows, weights, tau = data.stepper.a.tolist(), data.stepper.b.tolist(), data.tau
    initial, target = jnp.asarray(data.initial), jnp.asarray(data.target)
    control = {name: jnp.asarray(x) for name, x in data.control.items()}

    def velocity(f, c):
        if data.name == "NeuralODE":
            return jnp.tanh(c["weight"] @ f + c["bias"][:, None])
        if data.name == "NeuralODE2":
            return c["weight"] @ jnp.tanh(f) + c["bias"][:, None]
        hidden = jnp.tanh(c["weight1"] @ f + c["bias1"][:, None])
        return c["weight2"] @ hidden + c["bias2"][:, None]

    @jax.jit
    @jax.value_and_grad
    def solve(control):
        def layer(f, c):
            slopes = []
            for row in rows:
                x = f
                for factor, k in zip(row, slopes, strict=False):
                    x = x + (tau * factor) * k if factor else x
                slopes.append(velocity(x, c))
            for factor, k in zip(weights, slopes, strict=True):
                f = f + (tau * factor) * k
            return f, None

        difference = jax.lax.scan(layer, initial, control)[0] - target
        return 0.5 / initial.shape[1] * jnp.sum(difference * difference)

    return lambda: jax.block_until_ready(solve(control))


class Forward:
    """f' = tanh(a - b W f) on (0, 1), constant in time, and its solution."""

    def __init__(self, units: int, samples: int) -> None:
        rng = np.random.default_rng(1)
        self.network = WidthDepth(gauss_legendre(Interval(0.0, 1.0), units), tanh)
        bias, kernel = rng.standard_normal(units), rng.standard_normal((units, units))
        kernel *= np.sqrt(units)
        self.control = self.network.control(TimeMesh(1.0, 1), bias=bias, kernel=kernel)
        self.initial = rng.standard_normal((units, samples))
        self.bias, self.matrix = bias[:, None], -kernel * self.network.weights
        self.case = f"{units} x {samples}, error {TARGET:g}"
        self.exact = self.run(1e-13)()

    def run(self, rtol: float) -> Callable[[], np.ndarray]:
        """Ours, with one pair of tolerances."""
        stepper = DOP853(rtol=rtol, atol=rtol)
        return lambda: integrate(self.network, self.control, self.initial, stepper).trajectory.final

    def error(self, found: object) -> float:
        """The largest difference."""
        return float(np.max(np.abs(np.asarray(found).reshape(self.exact.shape) - self.exact)))

    def first(self, make: Callable[[float], Callable[[], object]]) -> object:
        """The run at the first tolerance that meets the error, and a note of it."""
        for rtol in TOLERANCES:
            run = make(rtol)
            if self.error(run()) <= TARGET:
                break
        return run, f"rtol {rtol:.1e}"


def ours_forward(data: Forward) -> object:
    return data.first(data.run)


def diffrax_forward(name: str, data: Forward) -> object:
    """One sample is a vector; nothing is kept for a derivative, and nothing thrown."""
    import diffrax  # noqa: PLC0415
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    one = data.initial.shape[1] == 1
    bias, initial = (jnp.asarray(x[:, 0] if one else x) for x in (data.bias, data.initial))
    control = jnp.asarray(data.matrix), bias

    @jax.jit
    def solve(f, control, rtol):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, g, c: jnp.tanh(c[0] @ g + c[1])),
            getattr(diffrax, name)(),
            0.0,
            1.0,
            None,
            f,
            control,
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol),
            adjoint=diffrax.ForwardMode(),
            throw=False,
        ).ys[-1]

    return data.first(lambda rtol: lambda: jax.block_until_ready(solve(initial, control, rtol)))


def gradients(data: Gradient, bars: tuple[float | None, float]) -> list[_harness.Row]:
    """Ours against the generic path and JAX."""
    makers = {"continuum": ours, "generic path": generic, "jax value_and_grad of scan": jax_grad}
    cases = [
        _harness.Case(name, data.case, partial(make, data), data.error, TOLERANCE)
        for name, make in makers.items()
    ]
    _harness.measure(cases)
    wanted = {"generic path": bars[0], "jax value_and_grad of scan": bars[1]}
    return _harness.compare_all(cases, {k: bar for k, bar in wanted.items() if bar is not None})


def forwards(data: Forward) -> list[_harness.Row]:
    """Ours against diffrax, all at the same error."""
    makers = {"continuum DOP853": partial(ours_forward, data)}
    for name in ("Tsit5", "Dopri8"):
        makers[f"diffrax {name}"] = partial(diffrax_forward, name, data)
    cases = [_harness.Case(k, data.case, make, data.error, TARGET) for k, make in makers.items()]
    _harness.measure(cases)
    return _harness.compare_peers(cases, 1.0)


def main(json_path: Path) -> None:
    """Runs all; the file gets the rows."""
    rows: list[_harness.Row] = []
    for stepper, bar in ((Euler(), 40.0), (RK4(), 20.0)):
        for network in (NeuralODE2(2, tanh), NeuralODE(2, tanh)):
            rows += gradients(Gradient(network, 20, 100, stepper), (bar, 1.8))
        rows += gradients(Gradient(Bottleneck(3, tanh, 50), 100, 16, stepper), (None, 1.0))
        rows += gradients(Gradient(NeuralODE(64, tanh), 1000, 10, stepper), (None, 1.0))
    for units, samples in ((64, 1), (256, 64)):
        rows += forwards(Forward(units, samples))
    _harness.write(rows, json_path, "Gradients of small chains; forward to an error of 1e-9")


if __name__ == "__main__":
    _harness.run("chains", main)
