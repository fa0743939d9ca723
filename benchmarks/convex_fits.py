"""Value and gradient of 20 pairs of convex networks at once, float64: the data of Figure 4 of Nar
and Sastry, 201 points, 10 + 10 scalar layers with V = 1, in w, b, c, d.

`Pairs.gradients` against the adjoint written by hand in NumPy, PyTorch's autograd and jitted
jax.value_and_grad, all vectorised over seeds and samples: arrays (40, 201), one row per network.
NumPy writes into arrays that it allocates once, takes masks as numbers and row sums as products
with ones, which is what is fastest there.  The weights are drawn as after some training.

Each gradient is compared entry by entry with that of `discretize(convex_problem(...))`, seed by
seed; the error is the largest difference relative to the largest entry.
"""

import _harness  # isort: split

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from solvers import discretize
from solvers.convex_fits import convex_start
from solvers.convex_fits.pairs import Pairs

SEEDS, LAYERS, POINTS = 20, 10, 201
TOLERANCE = 1e-12
Run = Callable[[], dict[str, np.ndarray]]
"""Values (S,) and derivatives in w, b (S, 2, L), where b is the paper's, c (S, 2) and d (S,)."""


class Problem:
    """The same problem for everybody."""

    def __init__(self) -> None:
        self.x = np.linspace(0.0, 1.0, POINTS)
        self.y = np.interp(self.x, [0.0, 0.3, 0.5, 0.7, 1.0], [0.0, 0.3, -0.1, 0.1, -0.2])
        self.pairs = Pairs(self.x[None], self.y[None], LAYERS, identity_inputs=True)
        rng, problem = np.random.default_rng(5), self.pairs.problem
        draws = {"weights": (0.01, 0.3), "readout": (0.5, 1.5)}
        starts = [convex_start(problem, rng, (0.0, 1.0), **draws) for _ in range(SEEDS)]
        starts = [s.replaced(**{"readout.mu": rng.uniform(-0.1, 0.1, 1)}) for s in starts]
        self.flat = np.concatenate([self.pairs.rows(start) for start in starts])
        _, b, w, c, d = self.pairs.views(self.flat)
        self.w, self.b = w[..., 0, 0].copy(), -b[..., 0]
        self.c, self.d = c[..., 0].copy(), d[:, 0].copy()
        objective = discretize(problem)
        found = [objective.value_and_gradient(start) for start in starts]
        gradients = np.concatenate([self.pairs.rows(gradient) for _, gradient in found])
        self.known = self.named(np.array([value for value, _ in found]), gradients)

    def named(self, values: np.ndarray, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Rows of `Pairs` as everybody's arrays."""
        _, b, w, c, d = self.pairs.views(flat)
        parts = {"w": w[..., 0, 0], "b": -b[..., 0], "c": c[..., 0], "d": d[:, 0]}
        return {"value": values, **parts}

    def error(self, found: object) -> float:
        """The largest difference of a value or a kind of entries, relative to the largest one."""
        own = found if isinstance(found, dict) else self.named(*found)
        pairs = ((np.asarray(own[n]), known) for n, known in self.known.items())
        return max(float(np.max(np.abs(x - y)) / np.max(np.abs(y))) for x, y in pairs)


def ours(data: Problem) -> Callable[[], object]:
    return lambda: data.pairs.gradients(data.flat)


class ByHand:
    """The adjoint in NumPy; all arrays are allocated once."""

    def __init__(self, data: Problem) -> None:
        rows = 2 * SEEDS
        self.data, shape = data, (rows, POINTS)
        self.a, self.zeros = np.empty((LAYERS, *shape)), np.zeros(shape)
        self.h, self.p, self.r = np.empty(shape), np.empty(shape), np.empty(shape)
        self.ones, self.signs = np.ones(POINTS), np.array([1.0, -1.0])
        self.dw, self.db = np.empty((rows, LAYERS)), np.empty((rows, LAYERS))

    def run(self) -> dict[str, np.ndarray]:
        """Values and derivatives."""
        data, h, p, r = self.data, self.h, self.p, self.r
        w = np.ascontiguousarray(data.w.reshape(-1, LAYERS).T)[..., None]
        b = np.ascontiguousarray(data.b.reshape(-1, LAYERS).T)[..., None]
        h[:] = data.x
        for layer, a in enumerate(self.a):
            np.subtract(h, b[layer], out=a)
            np.maximum(a, self.zeros, out=a)
            np.multiply(a, w[layer], out=r)
            np.add(h, r, out=h)
        both, signed = h.reshape(SEEDS, 2, POINTS), data.c * self.signs
        e = np.einsum("sp,spk->sk", signed, both) + (data.d[:, None] - data.y)
        value = np.vecdot(e, e) / (2 * POINTS)
        e /= POINTS
        dc, dd = np.vecdot(e[:, None], both) * self.signs, e @ self.ones
        np.multiply(e[:, None], signed[..., None], out=p.reshape(both.shape))
        for layer in range(LAYERS - 1, -1, -1):
            a = self.a[layer]
            np.vecdot(p, a, out=self.dw[:, layer])
            np.greater(a, self.zeros, out=r)
            np.multiply(p, r, out=r)
            np.multiply(r, w[layer], out=r)
            np.matmul(r, self.ones, out=self.db[:, layer])
            np.add(p, r, out=p)
        dw, db = (x.reshape(SEEDS, 2, LAYERS) for x in (self.dw, self.db))
        return {"value": value, "w": dw, "b": -db, "c": dc, "d": dd}


def numpy_adjoint(data: Problem) -> Run:
    return ByHand(data).run


def torch_autograd(data: Problem) -> Run:
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    leaves = {
        n: torch.from_numpy(getattr(data, n).copy()).requires_grad_() for n in ("w", "b", "c", "d")
    }
    w, b, c, d = leaves.values()
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)

    def run() -> dict[str, np.ndarray]:
        h = x.expand(SEEDS, 2, POINTS)
        for w_l, b_l in zip(w.unsqueeze(-1).unbind(2), b.unsqueeze(-1).unbind(2), strict=True):
            h = torch.addcmul(h, w_l, torch.relu(h - b_l))
        r, s = (c.unsqueeze(-1) * h).unbind(1)
        e = r - s + (d.unsqueeze(-1) - y)
        value = (e * e).mean(dim=1) / 2
        found = torch.autograd.grad(value.sum(), list(leaves.values()))
        named = {n: g.numpy() for n, g in zip(leaves, found, strict=True)}
        return {"value": value.detach().numpy(), **named}

    return run


def jax_grad(data: Problem) -> Run:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    x, y = jnp.asarray(data.x), jnp.asarray(data.y)
    at = {n: jnp.asarray(getattr(data, n)) for n in ("w", "b", "c", "d")}

    def values(p: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        h = jnp.broadcast_to(x, (SEEDS, 2, POINTS))
        for layer in range(LAYERS):
            h = h + p["w"][..., layer, None] * jax.nn.relu(h - p["b"][..., layer, None])
        e = p["c"][:, 0, None] * h[:, 0] - p["c"][:, 1, None] * h[:, 1] + p["d"][:, None] - y
        value = jnp.mean(e * e, axis=1) / 2
        return jnp.sum(value), value

    solve = jax.jit(jax.value_and_grad(values, has_aux=True))

    def run() -> dict[str, np.ndarray]:
        (_, value), found = jax.block_until_ready(solve(at))
        return {"value": value, **found}

    return run


def pair() -> list[_harness.Row]:
    """All comparisons."""
    data = Problem()
    case = f"{SEEDS} seeds, {LAYERS} + {LAYERS} layers, {POINTS} points, n = m = 1"
    makers: dict[str, Callable[[Problem], Callable[[], object]]] = {
        "continuum Pairs.gradients": ours,
        "NumPy adjoint by hand": numpy_adjoint,
        "PyTorch autograd": torch_autograd,
        "jax value_and_grad": jax_grad,
    }
    cases = [
        _harness.Case(name, case, partial(make, data), data.error, TOLERANCE)
        for name, make in makers.items()
    ]
    _harness.measure(cases)
    return _harness.compare_all(cases, {"NumPy adjoint by hand": 10.0, "PyTorch autograd": 15.0})


CASES: dict[str, Callable[[], list[_harness.Row]]] = {"pair": pair}


def main(json_path: Path, cases: Sequence[str]) -> None:
    """Runs the cases; the file gets the rows."""
    rows = [row for name in cases for row in CASES[name]()]
    _harness.write(rows, json_path, "Gradients of fits by pairs of convex networks, float64")


if __name__ == "__main__":
    _harness.run("convex_fits", main, list(CASES))
