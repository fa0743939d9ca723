"""Training a double deep linear network, float64: W_20 ... W_1 - Z_20 ... Z_1 against R of NS-15,
seed 0 (20 x 20, symmetric), 1000 steps of 0.01 of gradient descent from the identity.

`ProductObjective(problem).fixed_steps` and, with history and tests of convergence,
`minimize(ProductObjective(problem), FixedStep(0.01))`, against

- NumPy: both networks stacked, so that a `matmul` does the same layer of both, the gradients of all
  layers in one; products of matrices as they lie in memory alone, into arrays allocated once; and
  the same with `np.dot` for each matrix, which costs less per call;
- PyTorch's autograd: one leaf (2, 20, 20) per layer, `bmm`, `_foreach_sub_` for the update.  One
  leaf per matrix with plain products or `multi_dot` takes 1.4 times as long, and `torch.compile` of
  the loss gains nothing;
- jax.value_and_grad: a jitted scan over steps, with a scan over the layers inside.

Each records the loss of every step.  The error is the largest difference of the first 50 losses
from those of a plain loop over Python lists, in which every gradient is made of its own prefix and
suffix.
"""

import _harness  # isort: split

from collections.abc import Callable
from functools import partial, reduce
from pathlib import Path

import numpy as np

from solvers import FixedStep, minimize
from solvers.linear_networks import ProductObjective, deep_linear

UNITS, LAYERS, STEP, COUNT, COMPARED = 20, 20, 0.01, 1000, 50
TOLERANCE = 1e-12
Run = Callable[[], np.ndarray]


def target() -> np.ndarray:
    """R of NS-15, seed 0."""
    rng = np.random.default_rng(0)
    m, values = rng.normal(size=(UNITS, UNITS)), rng.uniform(-1.5, 1.5, UNITS)
    q = np.linalg.qr(m)[0]
    return (q * values) @ q.T


def plain(r: np.ndarray) -> np.ndarray:
    """The first losses, from the definition."""
    eye = np.eye(UNITS)
    networks, losses = [[eye] * LAYERS, [eye] * LAYERS], []

    def product(factors: list[np.ndarray]) -> np.ndarray:
        return reduce(lambda p, w: w @ p, factors, eye)

    for _ in range(COMPARED):
        error = product(networks[0]) - product(networks[1]) - r
        losses.append(0.5 * np.sum(error * error))
        networks = [
            [
                w - STEP * sign * product(ws[i + 1 :]).T @ error @ product(ws[:i]).T
                for i, w in enumerate(ws)
            ]
            for sign, ws in zip((1.0, -1.0), networks, strict=True)
        ]
    return np.array(losses)


def ours(r: np.ndarray) -> Run:
    objective = ProductObjective(deep_linear(r, LAYERS, double=True))
    start = np.zeros(objective.space.size)
    return lambda: objective.fixed_steps(start, start, STEP, 0.0, 0, COUNT)[2]


def ours_minimize(r: np.ndarray) -> Run:
    objective = ProductObjective(deep_linear(r, LAYERS, double=True))
    method = FixedStep(STEP, max_iterations=COUNT, gtol=1e-300)
    return lambda: minimize(objective, method, raise_on_failure=False).history["objective"]


class ByHand:
    """Steps in NumPy; all arrays are allocated once.

    W (L, 2, n, n) from the identity, prefixes B_(i+1) = W_i B_i, costates Q_(i-1) = Q_i W_i of Q_L
    = +-E^T, slopes (B_i Q_i)^T.
    """

    def __init__(self, r: np.ndarray, apart: bool) -> None:
        self.r, shape = r, (LAYERS, 2, UNITS, UNITS)
        self.w, self.q, self.slopes = np.empty(shape), np.empty(shape), np.empty(shape)
        self.b, self.error = np.empty((LAYERS + 1, *shape[1:])), np.empty(shape[2:])
        self.b[0] = np.eye(UNITS)
        w, b, q = self.w, self.b, self.q
        self.forward = [(w[i], b[i], b[i + 1]) for i in range(LAYERS)]
        self.back = [(q[i], w[i], q[i - 1]) for i in range(LAYERS - 1, 0, -1)]
        self.multiply = np.dot if apart else np.matmul
        if apart:
            self.forward, self.back = (
                [tuple(x[p] for x in triple) for triple in triples for p in (0, 1)]
                for triples in (self.forward, self.back)
            )

    def run(self) -> np.ndarray:
        """The losses."""
        multiply, w, b, q = self.multiply, self.w, self.b, self.q
        error, slopes = self.error, self.slopes
        w[:] = np.eye(UNITS)
        last, flat, first, second = b[-1], error.ravel(), q[-1, 0], q[-1, 1]
        prefixes, turned, losses = b[:-1], slopes.swapaxes(-1, -2), np.empty(COUNT)
        for k in range(COUNT):
            for left, right, out in self.forward:
                multiply(left, right, out)
            np.subtract(last[0], last[1], out=error)
            np.subtract(error, self.r, out=error)
            losses[k] = 0.5 * flat.dot(flat)
            first[:] = error.T
            np.negative(first, out=second)
            for left, right, out in self.back:
                multiply(left, right, out)
            np.matmul(prefixes, q, out=slopes)
            np.multiply(slopes, STEP, out=slopes)
            np.subtract(w, turned, out=w)
        return losses


def by_hand(r: np.ndarray, apart: bool) -> Run:
    return ByHand(r, apart).run


def torch_autograd(r: np.ndarray) -> Run:
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    goal = torch.from_numpy(r)

    def run() -> np.ndarray:
        eyes = torch.eye(UNITS, dtype=torch.float64).repeat(2, 1, 1)
        leaves, losses = [eyes.clone().requires_grad_() for _ in range(LAYERS)], []
        for _ in range(COUNT):
            p = leaves[0]
            for w in leaves[1:]:
                p = torch.bmm(w, p)
            error = (p[0] - p[1] - goal).ravel()
            loss = 0.5 * torch.dot(error, error)
            slopes = torch.autograd.grad(loss, leaves)
            losses.append(loss.detach())
            with torch.no_grad():
                torch._foreach_sub_(leaves, slopes, alpha=STEP)
        return torch.stack(losses).numpy()

    return run


def jax_grad(r: np.ndarray) -> Run:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    goal = jnp.asarray(r)

    @jax.value_and_grad
    def loss(w: jax.Array) -> jax.Array:
        p = jax.lax.scan(lambda p, factor: (factor @ p, None), w[0], w[1:])[0]
        error = p[0] - p[1] - goal
        return 0.5 * jnp.sum(error * error)

    def step(w: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        value, slope = loss(w)
        return w - STEP * slope, value

    start = jnp.tile(jnp.eye(UNITS), (LAYERS, 2, 1, 1))
    run = jax.jit(lambda w: jax.lax.scan(step, w, None, length=COUNT)[1])
    return lambda: np.asarray(run(start))


def main(json_path: Path) -> None:
    """Runs all; the file gets the rows."""
    r = target()
    reference = plain(r)

    def error(found: object) -> float:
        return float(np.max(np.abs(np.asarray(found)[:COMPARED] - reference)))

    case = f"double, {UNITS} x {UNITS}, {LAYERS} layers, {COUNT} steps of {STEP}"
    makers = {
        "continuum fixed_steps": ours,
        "PyTorch autograd": torch_autograd,
        "NumPy, batched matmul": partial(by_hand, apart=False),
        "NumPy, dot for each matrix": partial(by_hand, apart=True),
        "jax value_and_grad in scan": jax_grad,
        "continuum minimize(..., FixedStep)": ours_minimize,
    }
    cases = [
        _harness.Case(name, case, partial(make, r), error, TOLERANCE)
        for name, make in makers.items()
    ]
    _harness.measure(cases)
    bars = {"NumPy, batched matmul": 2.5, "PyTorch autograd": 8.0}
    rows = _harness.compare_all(cases, bars)
    _harness.write(rows, json_path, "Training products of matrices, float64")


if __name__ == "__main__":
    _harness.run("linear_networks", main)
