"""Gradients of losses of a learned field f(eta, x, t), float64: 64 inputs x, 10 states eta, two
layers of 64 tanh, the time an argument.

end-point: mean cross-entropy of eta(1), eta(0) = 0, batch of 64, RK4 with 10 steps.

`discretize(problem, RK4()).value_and_gradient(control)` against PyTorch's autograd, an adjoint
written by hand in NumPy, and jax.value_and_grad of a scan; each returns the value and its own kind
of gradient.  All compute the product of the first matrix with the inputs once per gradient.  In
PyTorch the three parts of that matrix are leaves of their own, which spares it slices, and rows of
the first layer are made for all 21 times at once; NumPy writes into arrays that it allocates once.

Each gradient is compared in a random direction with extrapolated central differences of the loss,
computed by a separate plain loop, and entry by entry with ours.  The error is the larger of the
two, relative; the differences themselves are good to about 1e-9.
"""

import _harness  # isort: split

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from continuum import CrossEntropy, LearnedField, LearningProblem, TimeMesh, tanh
from solvers import RK4, discretize

UNITS, INPUTS, HIDDEN, BATCH, STEPS = 10, 64, (64, 64), 64, 10
TOLERANCE = 1e-8
SHARES = (1.0, 2.0, 2.0, 1.0)
"""6 b_i of RK4; its a_i+1,i are 1/2, 1/2, 1."""
NAMES = ("We", "Wx", "wt", "b1", "W2", "b2", "Wo", "bo")
Parameters = dict[str, np.ndarray]
Run = Callable[[], tuple[object, ...]]


def blocks_of(p: Parameters) -> dict[str, np.ndarray]:
    """Our blocks: weight1 = [We | Wx | wt], ..."""
    first = np.concatenate([p["We"], p["Wx"], p["wt"]], axis=1)
    found = {"weight1": first, "weight2": p["W2"], "weight3": p["Wo"]}
    return found | {f"bias{n}": p[b][:, 0] for n, b in ((1, "b1"), (2, "b2"), (3, "bo"))}


class EndPoint:
    """The same problem for everybody."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        first, second = HIDDEN
        shapes = [(first, UNITS), (first, INPUTS), (first, 1), (first, 1)]
        shapes += [(second, first), (second, 1), (UNITS, second), (UNITS, 1)]
        self.parameters = {
            name: rng.standard_normal(shape) / np.sqrt(shape[1])
            for name, shape in zip(NAMES, shapes, strict=True)
        }
        self.direction = {n: 0.1 * rng.standard_normal(p.shape) for n, p in self.parameters.items()}
        self.x, self.labels = rng.standard_normal((INPUTS, BATCH)), rng.integers(UNITS, size=BATCH)
        field = LearnedField(UNITS, INPUTS, HIDDEN, tanh)
        start, mesh = np.zeros((UNITS, BATCH)), TimeMesh(1.0, STEPS)
        self.problem = LearningProblem(
            field.at(self.x), start, self.labels, mesh, terminal=CrossEntropy()
        )
        self.objective = discretize(self.problem, RK4())
        self.control = self.objective.space.sample(**blocks_of(self.parameters))
        coarse, fine = (
            (self.value(shift) - self.value(-shift)) / (2 * shift) for shift in (2e-3, 1e-3)
        )
        self.slope = (4 * fine - coarse) / 3
        self.gradient = dict(ours(self)()[1])

    def value(self, shift: float) -> float:
        """The loss, by plain NumPy, with the parameters moved by `shift` in the direction."""
        p = {n: x + shift * self.direction[n] for n, x in self.parameters.items()}
        eta, h = np.zeros((UNITS, BATCH)), 1.0 / STEPS

        def slope(eta: np.ndarray, t: float) -> np.ndarray:
            rows = np.concatenate([eta, self.x, np.full((1, BATCH), t)])
            first = np.tanh(np.concatenate([p["We"], p["Wx"], p["wt"]], axis=1) @ rows + p["b1"])
            return p["Wo"] @ np.tanh(p["W2"] @ first + p["b2"]) + p["bo"]

        for n in range(STEPS):
            t = n * h
            k1 = slope(eta, t)
            k2 = slope(eta + h / 2 * k1, t + h / 2)
            k3 = slope(eta + h / 2 * k2, t + h / 2)
            eta = eta + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(eta + h * k3, t + h))
        picked = eta[self.labels, np.arange(BATCH)]
        return float(np.mean(np.log(np.sum(np.exp(eta), axis=0)) - picked))

    def error(self, found: tuple[object, ...]) -> float:
        """The larger relative error of the two."""
        own = dict(found[1])
        if "We" in own:
            own = blocks_of({n: np.asarray(x) for n, x in own.items()})
        along = blocks_of(self.direction)
        slope = sum(float(np.sum(own[n] * along[n])) for n in along)
        pairs = ((own[n], self.gradient[n]) for n in along)
        entries = max(float(np.max(np.abs(x - y)) / np.max(np.abs(y))) for x, y in pairs)
        return max(abs(slope - self.slope) / abs(self.slope), entries)


def ours(data: EndPoint) -> Run:
    return lambda: data.objective.value_and_gradient(data.control)


def torch_autograd(data: EndPoint) -> Run:
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    leaves = {n: torch.from_numpy(p.copy()).requires_grad_() for n, p in data.parameters.items()}
    We, Wx, wt, b1, W2, b2, Wo, bo = leaves.values()
    x, labels = torch.from_numpy(data.x.copy()), torch.from_numpy(data.labels)
    start, h = torch.zeros((UNITS, BATCH), dtype=torch.float64), 1.0 / STEPS
    times = torch.linspace(0.0, 1.0, 2 * STEPS + 1, dtype=torch.float64)[:, None, None]

    def run() -> tuple[object, ...]:
        rows = (torch.addmm(b1, Wx, x) + times * wt).unbind()

        def slope(eta: torch.Tensor, n: int) -> torch.Tensor:
            first = torch.tanh(torch.addmm(rows[n], We, eta))
            return torch.addmm(bo, Wo, torch.tanh(torch.addmm(b2, W2, first)))

        eta = start
        for n in range(0, 2 * STEPS, 2):
            k1 = slope(eta, n)
            k2 = slope(torch.add(eta, k1, alpha=h / 2), n + 1)
            k3 = slope(torch.add(eta, k2, alpha=h / 2), n + 1)
            k4 = slope(torch.add(eta, k3, alpha=h), n + 2)
            eta = torch.add(eta, k1 + k4, alpha=h / 6).add(k2 + k3, alpha=h / 3)
        value = torch.nn.functional.cross_entropy(eta.T, labels)
        found = torch.autograd.grad(value, list(leaves.values()))
        return value.item(), dict(zip(leaves, found, strict=True))

    return run


def jax_grad(data: EndPoint) -> Run:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    x, labels, h = jnp.asarray(data.x), jnp.asarray(data.labels), 1.0 / STEPS
    parameters = {n: jnp.asarray(p) for n, p in data.parameters.items()}

    @jax.jit
    @jax.value_and_grad
    def solve(p: dict[str, jax.Array]) -> jax.Array:
        rows = p["Wx"] @ x + p["b1"]

        def slope(eta: jax.Array, t: jax.Array) -> jax.Array:
            first = jnp.tanh(p["We"] @ eta + rows + t * p["wt"])
            return p["Wo"] @ jnp.tanh(p["W2"] @ first + p["b2"]) + p["bo"]

        def step(eta: jax.Array, t: jax.Array) -> tuple[jax.Array, None]:
            k1 = slope(eta, t)
            k2 = slope(eta + h / 2 * k1, t + h / 2)
            k3 = slope(eta + h / 2 * k2, t + h / 2)
            return eta + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(eta + h * k3, t + h)), None

        eta = jax.lax.scan(step, jnp.zeros((UNITS, BATCH)), h * jnp.arange(STEPS))[0]
        picked = eta[labels, jnp.arange(BATCH)]
        return jnp.mean(jax.nn.logsumexp(eta, axis=0) - picked)

    return lambda: jax.block_until_ready(solve(parameters))


def numpy_adjoint(data: EndPoint) -> Run:
    return ByHand(data).run


class ByHand:
    """The adjoint in NumPy; all arrays are allocated once."""

    def __init__(self, data: EndPoint) -> None:
        self.p, self.x, self.h = data.parameters, data.x, 1.0 / STEPS
        self.picked = data.labels, np.arange(BATCH)
        first, second = HIDDEN
        self.first = np.empty((STEPS, 4, first, BATCH))
        self.second = np.empty((STEPS, 4, second, BATCH))
        self.states = np.empty((STEPS, 4, UNITS, BATCH))
        self.slopes = np.empty((4, UNITS, BATCH))
        self.rows, self.row_bar = np.empty((first, BATCH)), np.empty((first, BATCH))
        self.r1, self.r2 = np.empty((first, BATCH)), np.empty((second, BATCH))
        self.more, self.back = np.empty((second, BATCH)), np.empty((4, UNITS, BATCH))
        self.bars = {n: np.empty_like(p) for n, p in self.p.items()}
        self.sums = {n: np.empty_like(p) for n, p in self.p.items()}

    def run(self) -> tuple[object, ...]:
        """The loss and its gradient."""
        h, eta = self.h, np.zeros((UNITS, BATCH))
        np.matmul(self.p["Wx"], self.x, out=self.rows)
        self.rows += self.p["b1"]
        for n in range(STEPS):
            k = self.slopes
            for i, (share, after) in enumerate(((0.0, 0), (0.5, 0), (0.5, 1), (1.0, 2))):
                state = self.states[n, i]
                np.multiply(k[after], share * h, out=state) if i else state.fill(0.0)
                state += eta
                self._slope(state, (n + share) * h, self.first[n, i], self.second[n, i], k[i])
            eta = eta + (h / 6) * (k[0] + 2 * (k[1] + k[2]) + k[3])
        top = eta.max(axis=0)
        weights = np.exp(eta - top)
        total = weights.sum(axis=0)
        value = float(np.mean(np.log(total) + top - eta[self.picked]))
        weights /= total
        weights[self.picked] -= 1.0
        return value, self._backward(weights / BATCH)

    def _slope(self, eta, t, first, second, out) -> None:
        p = self.p
        np.matmul(p["We"], eta, out=first)
        first += self.rows
        first += t * p["wt"]
        np.tanh(first, out=first)
        np.matmul(p["W2"], first, out=second)
        second += p["b2"]
        np.tanh(second, out=second)
        np.matmul(p["Wo"], second, out=out)
        out += p["bo"]

    def _backward(self, costate) -> Parameters:
        h, bars = self.h, self.bars
        self.row_bar.fill(0.0)
        for bar in bars.values():
            bar.fill(0.0)
        for n in range(STEPS - 1, -1, -1):
            for i, later, share in ((3, 0, 0.0), (2, 3, 1.0), (1, 2, 0.5), (0, 1, 0.5)):
                lam = (SHARES[i] * h / 6) * costate
                if share:
                    lam += (share * h) * self.back[later]
                t = (n + (0.0, 0.5, 0.5, 1.0)[i]) * h
                self._stage_back(lam, t, n, i)
            costate = costate + self.back.sum(axis=0)
        np.matmul(self.row_bar, self.x.T, out=bars["Wx"])
        np.sum(self.row_bar, axis=1, keepdims=True, out=bars["b1"])
        return bars

    def _stage_back(self, lam, t, n, i) -> None:
        p, first, second = self.p, self.first[n, i], self.second[n, i]
        r1, r2, more = self.r1, self.r2, self.more
        self._add("Wo", lam, second)
        self.bars["bo"] += lam.sum(axis=1, keepdims=True)
        np.matmul(p["Wo"].T, lam, out=r2)
        np.multiply(second, second, out=more)
        np.subtract(1.0, more, out=more)
        r2 *= more
        self._add("W2", r2, first)
        self.bars["b2"] += r2.sum(axis=1, keepdims=True)
        np.matmul(p["W2"].T, r2, out=r1)
        np.multiply(first, first, out=more)
        np.subtract(1.0, more, out=more)
        r1 *= more
        self._add("We", r1, self.states[n, i])
        self.bars["wt"] += t * r1.sum(axis=1, keepdims=True)
        self.row_bar += r1
        np.matmul(p["We"].T, r1, out=self.back[i])

    def _add(self, name, left, right) -> None:
        np.matmul(left, right.T, out=self.sums[name])
        self.bars[name] += self.sums[name]


def end_point() -> list[_harness.Row]:
    """All comparisons of the end-point gradient."""
    data = EndPoint()
    case = f"end-point, {INPUTS} inputs, {UNITS} states, {HIDDEN}, batch {BATCH}, RK4 {STEPS} steps"
    makers = {
        "continuum value_and_gradient": ours,
        "PyTorch autograd": torch_autograd,
        "NumPy adjoint by hand": numpy_adjoint,
        "jax value_and_grad of scan": jax_grad,
    }
    cases = [
        _harness.Case(name, case, partial(make, data), data.error, TOLERANCE)
        for name, make in makers.items()
    ]
    _harness.measure(cases)
    return _harness.compare_all(cases, {"PyTorch autograd": 1.5})


CASES: dict[str, Callable[[], list[_harness.Row]]] = {"end-point": end_point}


def main(json_path: Path, cases: Sequence[str]) -> None:
    """Runs the cases; the file gets the rows."""
    rows = [row for name in cases for row in CASES[name]()]
    _harness.write(rows, json_path, "Gradients of losses of a learned field, tanh, float64")


if __name__ == "__main__":
    _harness.run("lyapunov", main, list(CASES))
