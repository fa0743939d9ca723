"""The gradient of the Monte Carlo Lyapunov loss: 64 inputs, 10 states, tanh (64, 64), a batch of 64
samples with 32 states that all of them share, float64.

    J = mean over samples m and states s of max(0, (p, f(e_s, x_m, t_s)) + kappa V),
    V = cross-entropy of e_s with y_m, p = its gradient, f centred

in two situations: at a random start, where nearly every pair is active, and after ten epochs on
digits, where few are.  Ours takes the layers of active pairs alone backwards.  PyTorch's autograd
in three ways: the first layer's shares of states and samples computed once each, as ours does
("shared"); the same, with a first pass without gradients that finds the active pairs, which alone
are run again with them ("active pairs"); and one row per pair.  NumPy by hand works in parts that
stay in the cache and on active pairs alone, as ours does; jax compiles the shared form.  All get
V and p by the log-sum-exp of the shared states.

The error is the largest difference of a derivative from PyTorch's (one row per pair), relative to
the largest entry of its block, or from ours where PyTorch is not installed.

Further rows: one step of `Adam`, with its batch drawn, against the gradient (bar 1 / 1.2).
"""

import _harness  # isort: split

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from continuum import CrossEntropy, LearnedField, LearningProblem, TimeMesh, tanh
from solvers import Adam, cosine, minimize
from solvers.lyapunov import MonteCarloLyapunov, Sphere
from studies.datasets import load_digits

UNITS, HIDDEN, BATCH, STATES, KAPPA = 10, 64, 64, 32, 3.859
RADIUS = 3.02 * 10**0.5
TOLERANCE = 1e-12
NAMES = ("weight1", "bias1", "weight2", "bias2", "weight3", "bias3")
Run = Callable[[], tuple[float, list[np.ndarray]]]


class Data:
    """The same pairs for everybody."""

    def __init__(self, epochs: int) -> None:
        digits, rng = load_digits(), np.random.default_rng(0)
        x, labels = digits.inputs.reshape(-1, 64).T.copy(), digits.labels
        field = LearnedField(UNITS, 64, (HIDDEN, HIDDEN), tanh, centred=True)
        start = np.zeros((UNITS, len(labels)))
        mesh = TimeMesh(1.0, 10)
        self.problem = LearningProblem(field.at(x), start, labels, mesh, terminal=CrossEntropy())
        self.loss = MonteCarloLyapunov(self.problem, KAPPA, Sphere(RADIUS, states=STATES))
        control = field.initialise(self.problem.space, rng)
        if epochs:
            method = Adam(
                step=cosine(5e-3, 40), batch=BATCH, max_iterations=epochs, report=epochs, rng=rng
            )
            control = minimize(self.loss, method, initial=control, raise_on_failure=False).control
        self.control = control
        self.part = self.loss.batch(np.arange(BATCH), np.random.default_rng(1))
        points = self.part.points(control)
        self.states, self.times = np.ascontiguousarray(points.states[:, :, 0].T), points.times
        self.x, self.y = np.ascontiguousarray(x[:, :BATCH]), labels[:BATCH]
        self.weights = [np.asarray(control[name]) for name in NAMES]
        self.reference = self._reference()

    def _reference(self) -> list[np.ndarray]:
        try:
            return torch_rows(self)()[1]
        except ImportError:
            return ours(self)()[1]

    def error(self, found: object) -> float:
        """The largest relative difference of a block."""
        _, blocks = found
        pairs = zip(blocks, self.reference, strict=True)
        return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in pairs)


def ours(data: Data) -> Run:
    def run() -> tuple[float, list[np.ndarray]]:
        value, gradient = data.part.value_and_gradient(data.control)
        return value, [gradient[name] for name in NAMES]

    return run


def numpy_by_hand(data: Data) -> Run:
    w1, b1, w2, b2, w3, b3 = data.weights
    e, t, x, y, k = data.states, data.times, data.x, data.y, UNITS
    samples, states = len(y), len(t)
    w3, b3 = w3 - w3.mean(axis=0), b3 - b3.mean()
    step = 8
    h1, h2, w = (np.empty((HIDDEN, step * states)) for _ in range(3))

    def run() -> tuple[float, list[np.ndarray]]:
        of_states = w1[:, :k] @ e + w1[:, -1:] * t + b1[:, None]
        of_samples = w1[:, k:-1] @ x
        top = e.max(axis=0)
        z = np.exp(e - top)
        total = z.sum(axis=0)
        p, lse = z / total, np.log(total) + top
        d_states, d_samples = np.zeros((HIDDEN, states)), np.zeros((HIDDEN, samples))
        d2, d3 = np.zeros((HIDDEN, HIDDEN)), np.zeros((k, HIDDEN))
        c2, c3, value = np.zeros(HIDDEN), np.zeros(k), 0.0
        for begin in range(0, samples, step):
            part = slice(begin, begin + step)
            label = y[part]
            pairs = h1.reshape(HIDDEN, step, states)
            np.add(of_states[:, None, :], of_samples[:, part, None], out=pairs)
            np.tanh(h1, out=h1)
            np.matmul(w2, h1, out=h2)
            np.add(h2, b2[:, None], out=h2)
            np.tanh(h2, out=h2)
            g = np.repeat(p[:, None, :], step, axis=1)
            g[label, np.arange(step)] -= 1.0
            g = g.reshape(k, -1)
            np.matmul(w3.T, g, out=w)
            r = np.einsum("ij,ij->j", w, h2) + b3 @ g + KAPPA * (lse - e[label]).reshape(-1)
            on = np.flatnonzero(r > 0)
            value += r[on].sum()
            a1, a2, c = h1[:, on], h2[:, on], g[:, on]
            d3 += c @ a2.T
            c3 += c.sum(axis=1)
            d = w[:, on] * (1.0 - a2 * a2)
            d2 += d @ a1.T
            c2 += d.sum(axis=1)
            whole = np.zeros((HIDDEN, step * states))
            whole[:, on] = (w2.T @ d) * (1.0 - a1 * a1)
            whole = whole.reshape(HIDDEN, step, states)
            d_states += whole.sum(axis=1)
            d_samples[:, part] = whole.sum(axis=2)
        share = 1.0 / (samples * states)
        d1 = np.concatenate([d_states @ e.T, d_samples @ x.T, (d_states @ t)[:, None]], axis=1)
        d3, c3 = d3 - d3.mean(axis=0), c3 - c3.mean()
        found = (d1, d_states.sum(axis=1), d2, c2, d3, c3)
        return share * value, [share * one for one in found]

    return run


def _torch(data: Data):
    """(torch, the weights as leaves, states, times, inputs and labels with the samples first)."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    leaves = [torch.from_numpy(w.copy()).requires_grad_() for w in data.weights]
    given = (np.ascontiguousarray(a.T) for a in (data.states, data.times, data.x, data.y))
    return torch, leaves, *(torch.from_numpy(a) for a in given)


def _torch_pairs(torch, e, y):
    """kappa V (S, M) and p (S, M, k)."""
    lse = torch.logsumexp(e, -1)
    hot = torch.nn.functional.one_hot(y, UNITS)
    return KAPPA * (lse[:, None] - e[:, y]), torch.softmax(e, -1)[:, None, :] - hot[None]


def torch_rows(data: Data) -> Run:
    torch, leaves, e, t, x, y = _torch(data)
    w1, b1, w2, b2, w3, b3 = leaves

    def run() -> tuple[float, list[np.ndarray]]:
        potential, p = _torch_pairs(torch, e, y)
        states, samples = potential.shape
        parts = (e[:, None].expand(-1, samples, -1), x[None].expand(states, -1, -1))
        z = torch.cat([*parts, t[:, None, None].expand(-1, samples, 1)], -1)
        h = torch.tanh(torch.addmm(b1, z.reshape(states * samples, -1), w1.T))
        f = torch.addmm(b3, torch.tanh(torch.addmm(b2, h, w2.T)), w3.T).reshape(p.shape)
        r = (p * (f - f.mean(-1, keepdim=True))).sum(-1) + potential
        value = torch.relu(r).mean()
        return value.item(), [g.numpy() for g in torch.autograd.grad(value, leaves)]

    return run


def _torch_shared(torch, leaves, e, t, x, p, potential):
    """r (S, M), the first layer's shares of states and of samples computed once each."""
    w1, b1, w2, b2, w3, b3 = leaves
    of_states = torch.addmm(b1, e, w1[:, :UNITS].T) + t[:, None] * w1[:, -1]
    of_samples = x @ w1[:, UNITS:-1].T
    h = torch.tanh(of_states[:, None] + of_samples[None]).reshape(-1, HIDDEN)
    f = torch.addmm(b3, torch.tanh(torch.addmm(b2, h, w2.T)), w3.T).reshape(p.shape)
    return (p * (f - f.mean(-1, keepdim=True))).sum(-1) + potential


def torch_shared(data: Data) -> Run:
    torch, leaves, e, t, x, y = _torch(data)

    def run() -> tuple[float, list[np.ndarray]]:
        potential, p = _torch_pairs(torch, e, y)
        value = torch.relu(_torch_shared(torch, leaves, e, t, x, p, potential)).mean()
        return value.item(), [g.numpy() for g in torch.autograd.grad(value, leaves)]

    return run


def torch_active(data: Data) -> Run:
    torch, leaves, e, t, x, y = _torch(data)
    w1, b1, w2, b2, w3, b3 = leaves

    def run() -> tuple[float, list[np.ndarray]]:
        potential, p = _torch_pairs(torch, e, y)
        with torch.no_grad():
            r = _torch_shared(torch, leaves, e, t, x, p, potential)
            s, m = torch.nonzero(r > 0, as_tuple=True)
        z = torch.cat([e[s], x[m], t[s, None]], -1)
        h = torch.tanh(torch.addmm(b1, z, w1.T))
        f = torch.addmm(b3, torch.tanh(torch.addmm(b2, h, w2.T)), w3.T)
        r = (p[s, m] * (f - f.mean(-1, keepdim=True))).sum(-1) + potential[s, m]
        value = r.sum() / potential.numel()
        return value.item(), [g.numpy() for g in torch.autograd.grad(value, leaves)]

    return run


def jax_shared(data: Data) -> Run:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    e, t, x = (jnp.asarray(np.ascontiguousarray(a.T)) for a in (data.states, data.times, data.x))
    y, control = jnp.asarray(data.y), [jnp.asarray(w) for w in data.weights]

    @jax.jit
    @jax.value_and_grad
    def solve(control: list[jax.Array]) -> jax.Array:
        w1, b1, w2, b2, w3, b3 = control
        lse = jax.nn.logsumexp(e, axis=-1)
        p = jax.nn.softmax(e)[:, None, :] - jax.nn.one_hot(y, UNITS)[None]
        of_states = e @ w1[:, :UNITS].T + t[:, None] * w1[:, -1] + b1
        h = jnp.tanh(of_states[:, None] + (x @ w1[:, UNITS:-1].T)[None]).reshape(-1, HIDDEN)
        f = (jnp.tanh(h @ w2.T + b2) @ w3.T + b3).reshape(p.shape)
        r = (p * (f - f.mean(-1, keepdims=True))).sum(-1) + KAPPA * (lse[:, None] - e[:, y])
        return jnp.mean(jnp.maximum(r, 0.0))

    def run() -> tuple[float, list[np.ndarray]]:
        value, found = jax.block_until_ready(solve(control))
        return value, [np.asarray(one) for one in found]

    return run


CONTENDERS = {
    "continuum MonteCarloLyapunov": ours,
    "PyTorch autograd, shared": torch_shared,
    "PyTorch autograd, one row per pair": torch_rows,
    "PyTorch autograd, active pairs": torch_active,
    "NumPy by hand": numpy_by_hand,
    "jax value_and_grad": jax_shared,
}
BARS = {"PyTorch autograd, shared": 2.5, "PyTorch autograd, one row per pair": 4.0}


def epoch(data: Data) -> Callable[[], object]:
    """An epoch of `Adam` with nothing reported but its ends."""
    method = Adam(step=1e-12, batch=BATCH, max_iterations=1)
    return lambda: (
        minimize(data.loss, method, initial=data.control, raise_on_failure=False).objective
    )


def gradients(data: Data) -> Callable[[], object]:
    """As many gradients as that epoch has, and the two evaluations at its ends."""
    samples = data.loss.samples
    parts = [
        data.loss.batch(np.arange(b, min(b + BATCH, samples)), np.random.default_rng(b))
        for b in range(0, samples, BATCH)
    ]

    def run() -> None:
        for _ in range(2):
            data.loss.value_and_gradient(data.control)
        for part in parts:
            part.value_and_gradient(data.control)

    return run


def main(json_path: Path) -> None:
    """Runs all; the file gets the rows."""
    rows: list[_harness.Row] = []
    for epochs, name in ((0, "at the start"), (10, "after 10 epochs")):
        data = Data(epochs)
        share = data.part.active_share(data.control)
        case = f"{name}, {100 * share:.0f}% of pairs active"
        cases = [
            _harness.Case(k, case, partial(make, data), data.error, TOLERANCE)
            for k, make in CONTENDERS.items()
        ]
        _harness.measure(cases)
        rows += _harness.compare_all(cases, BARS)
        training = [
            _harness.Case("continuum, an epoch of Adam", case, partial(epoch, data)),
            _harness.Case("its gradients alone", case, partial(gradients, data)),
        ]
        _harness.measure(training)
        rows += [_harness.compare(*training, 1 / 1.2), _harness.own(training[1])]
    title = (
        "Gradient of the Monte Carlo Lyapunov loss, 10 states, 64 inputs, tanh (64, 64), 64 x 32"
    )
    _harness.write(rows, json_path, f"{title} pairs, float64")


if __name__ == "__main__":
    _harness.run("monte_carlo", main)
