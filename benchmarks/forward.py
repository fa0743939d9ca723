"""Solving forward: classical Runge-Kutta, tanh, a dense kernel constant in time, float64.

    f' = tanh(a - b W f),  W = diag(w),  N units x M samples on (0, 1)

256 x 64 and 1024 x 64: `integrate` against NumPy's products of the same shape, as many as there are
stages, measured in the same rounds: the share of the time in which the processor would do nothing
but multiply. 256 x 64 and 64 x 1: `integrate` against loops by users of other libraries.  All make
the same number of steps with the same data; the others fold W into the kernel once, outside the
timing, and NumPy and PyTorch write into arrays that they allocate once.  torchdiffeq's "rk4" is the
3/8 rule, at the same price; diffrax has no classical Runge-Kutta method and is given its tableau.
The error is the largest entry of the difference to SciPy's DOP853 at rtol = 1e-12.
"""

import _harness  # isort: split

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

from continuum import Interval, TimeMesh, WidthDepth, gauss_legendre, tanh
from solvers import RK4, integrate

Run = Callable[[], np.ndarray]


class Data:
    """The same problem for everybody: a = bias (N, 1), matrix = -b W, initial (N, M), or vectors if
    M = 1.
    """

    def __init__(self, units: int, samples: int, steps: int) -> None:
        rng = np.random.default_rng(1)
        self.network = WidthDepth(gauss_legendre(Interval(0.0, 1.0), units), tanh)
        bias, kernel = (
            rng.standard_normal(units),
            np.sqrt(units) * rng.standard_normal((units, units)),
        )
        self.control = self.network.control(TimeMesh(1.0, steps), bias=bias, kernel=kernel)
        self.initial = rng.standard_normal((units, samples))
        self.matrix = -kernel * self.network.weights
        self.bias = bias[:, None]
        self.steps, self.case = steps, f"{units} x {samples}, {steps} steps"
        self._reference: np.ndarray | None = None

    @property
    def slim(self) -> tuple[np.ndarray, np.ndarray]:
        """Bias and initial state as peers like them: vectors for one sample."""
        one = self.initial.shape[1] == 1
        return (self.bias[:, 0], self.initial[:, 0]) if one else (self.bias, self.initial)

    def error(self, found: object) -> float:
        """The largest difference to the reference."""
        shape = self.initial.shape
        if self._reference is None:
            self._reference = solve_ivp(
                lambda t, f: np.tanh(self.matrix @ f.reshape(shape) + self.bias).ravel(),
                (0.0, 1.0),
                self.initial.ravel(),
                "DOP853",
                rtol=1e-12,
                atol=1e-12,
                t_eval=(1.0,),
            ).y.reshape(shape)
        return float(np.max(np.abs(np.asarray(found).reshape(shape) - self._reference)))


def ours(data: Data) -> Run:
    return lambda: integrate(data.network, data.control, data.initial, RK4()).trajectory.states[-1]


def products(data: Data) -> Run:
    """As many products as there are stages, and nothing else."""
    out = np.empty_like(data.initial)

    def run() -> np.ndarray:
        for _ in range(4 * data.steps):
            np.matmul(data.matrix, data.initial, out=out)
        return out

    return run


def numpy_loop(data: Data) -> Run:
    matrix, (bias, initial), h = data.matrix, data.slim, 1.0 / data.steps
    f, stage, slope, total = (np.empty_like(initial) for _ in range(4))

    def evaluate(g: np.ndarray) -> None:
        np.dot(matrix, g, out=slope)
        np.add(slope, bias, out=slope)
        np.tanh(slope, out=slope)

    def run() -> np.ndarray:
        f[...] = initial
        for _ in range(data.steps):
            evaluate(f)
            np.multiply(slope, h / 6, out=total)
            for shift, share in ((h / 2, h / 3), (h / 2, h / 3), (h, h / 6)):
                np.multiply(slope, shift, out=stage)
                np.add(stage, f, out=stage)
                evaluate(stage)
                np.multiply(slope, share, out=stage)
                np.add(total, stage, out=total)
            np.add(f, total, out=f)
        return f

    return run


def torch_loop(data: Data) -> Run:
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    matrix, bias, initial = (torch.from_numpy(x.copy()) for x in (data.matrix, *data.slim))
    f, stage, total, slope = (torch.empty_like(initial) for _ in range(4))
    multiply = torch.addmv if initial.ndim == 1 else torch.addmm
    h = 1.0 / data.steps

    @torch.inference_mode()
    def run() -> np.ndarray:
        f.copy_(initial)
        for _ in range(data.steps):
            torch.tanh(multiply(bias, matrix, f, out=slope), out=slope)
            torch.add(f, slope, alpha=h / 6, out=total)
            for shift, share in ((h / 2, h / 3), (h / 2, h / 3), (h, h / 6)):
                torch.add(f, slope, alpha=shift, out=stage)
                torch.tanh(multiply(bias, matrix, stage, out=slope), out=slope)
                total.add_(slope, alpha=share)
            f.copy_(total)
        return f.numpy()

    return run


def torchdiffeq_loop(data: Data) -> Run:
    import torch  # noqa: PLC0415
    from torchdiffeq import odeint  # noqa: PLC0415

    torch.set_num_threads(1)
    matrix, bias, initial = (torch.from_numpy(x.copy()) for x in (data.matrix, *data.slim))
    multiply = torch.addmv if initial.ndim == 1 else torch.addmm
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    options = {"step_size": 1.0 / data.steps}

    @torch.inference_mode()
    def run() -> np.ndarray:
        velocity = lambda t, f: torch.tanh(multiply(bias, matrix, f))  # noqa: E731
        return odeint(velocity, initial, ends, method="rk4", options=options)[-1].numpy()

    return run


def jax_scan(data: Data) -> Run:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    matrix, bias, initial = (jnp.asarray(x) for x in (data.matrix, *data.slim))
    h = 1.0 / data.steps

    @jax.jit
    def solve(matrix: jax.Array, bias: jax.Array, f: jax.Array) -> jax.Array:
        def step(f: jax.Array, _: None) -> tuple[jax.Array, None]:
            k1 = jnp.tanh(matrix @ f + bias)
            k2 = jnp.tanh(matrix @ (f + h / 2 * k1) + bias)
            k3 = jnp.tanh(matrix @ (f + h / 2 * k2) + bias)
            k4 = jnp.tanh(matrix @ (f + h * k3) + bias)
            return f + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        return jax.lax.scan(step, f, length=data.steps)[0]

    return lambda: solve(matrix, bias, initial).block_until_ready()


def diffrax_loop(data: Data) -> Run:
    import diffrax  # noqa: PLC0415
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    classical = diffrax.ButcherTableau(
        c=np.array([0.5, 0.5, 1.0]),
        a_lower=(np.array([0.5]), np.array([0.0, 0.5]), np.array([0.0, 0.0, 1.0])),
        b_sol=np.array([1.0, 2.0, 2.0, 1.0]) / 6.0,
        b_error=np.zeros(4),
    )

    class Classical(diffrax.AbstractERK):
        tableau = classical
        interpolation_cls = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

        def order(self, terms: object) -> int:
            return 4

    matrix, bias, initial = (jnp.asarray(x) for x in (data.matrix, *data.slim))
    term = diffrax.ODETerm(lambda t, f, args: jnp.tanh(args[0] @ f + args[1]))

    @jax.jit
    def solve(matrix: jax.Array, bias: jax.Array, f: jax.Array) -> jax.Array:
        return diffrax.diffeqsolve(
            term,
            Classical(),
            0.0,
            1.0,
            1.0 / data.steps,
            f,
            (matrix, bias),
            throw=False,
            max_steps=data.steps + 1,
            saveat=diffrax.SaveAt(t1=True),
            adjoint=diffrax.ForwardMode(),
        ).ys[-1]

    return lambda: solve(matrix, bias, initial).block_until_ready()


PEERS = {
    "NumPy loop": numpy_loop,
    "PyTorch loop": torch_loop,
    "torchdiffeq rk4": torchdiffeq_loop,
    "jax scan": jax_scan,
    "diffrax, tableau of RK4": diffrax_loop,
}
OURS, PRODUCTS = "continuum integrate RK4", "NumPy products alone"
BARS = {name: 1.0 for name in PEERS if name != "jax scan"}


def main(json_path: Path) -> None:
    """Runs all; the file gets the rows."""
    rows: list[_harness.Row] = []
    for units, samples, steps, tolerance in (
        (256, 64, 100, 1e-8),
        (1024, 64, 10, 1e-4),
        (64, 1, 100, 1e-8),
    ):
        data = Data(units, samples, steps)
        case = partial(_harness.Case, case=data.case, error=data.error, tolerance=tolerance)
        cases = [case(OURS, make=partial(ours, data))]
        if samples > 1:
            cases.append(_harness.Case(PRODUCTS, data.case, partial(products, data)))
        if units != 1024:
            cases += [case(name, make=partial(peer, data)) for name, peer in PEERS.items()]
        _harness.measure(cases)
        rows += _harness.compare_all(cases, BARS if samples == 1 else {PRODUCTS: 0.85})
    _harness.write(rows, json_path, "Runge-Kutta steps forward, tanh, dense kernel, float64")


if __name__ == "__main__":
    _harness.run("forward", main)
