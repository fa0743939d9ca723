"""Whole trainings: ten iterations of L-BFGS, ten steps of Adam, and digits, float64.

    lbfgs, adam : f' = tanh(a - b W f), W = 1/N, 256 units x 64 samples x 100 layers of Euler,
        J = 1/M sum_m 1/2 |f_K - target|^2 + 1e-4 |(a, b)|^2, 6.6 million unknowns
    digits : f' = tanh(w f + b) on (64 pixels, 10 zeros), 20 layers of Euler on (0, 2.5); the last
        ten units, P f, are to become the unit vector of the label: the mean of |P f_K - y|^2
        + 1e-5 |(w, b)|^2, 1437 digits at once, Adam with step 0.03 until 97% of 360 others are
        recognised, looked at every five steps

`minimize(...)` against torch.optim and optax, from the same start.  Peers hold A_k = -b_k / N, so
that no product with W is left, and what they minimise in has a norm proportional to ours: a_k is
sqrt(N) times what L-BFGS sees; Adam, which sees a_k and A_k, has the steps and epsilons that
belong to them, and takes the same iterates.  Gradients of the peers are those of `_peers.py`: by
hand, or by autograd with one leaf per layer; the penalty's gradient is added in place, or left to
the weight decay of the optimiser.  NumPy's Adam goes on layer by layer, in cache.

All L-BFGS keep ten steps and search steps by the strong Wolfe conditions; how often they evaluate
the gradient is their own affair and stands in the note, with the last objective.  The error of
L-BFGS is that of the objective that it reports at the start, against a plain loop; of Adam and of
digits that of the last objective, against NumPy's, both relative.
"""

import _harness  # isort: split

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import _peers
import numpy as np
from _peers import Layers

from continuum import (
    Interval,
    LearningProblem,
    NeuralODE,
    Projection,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    midpoint,
    tanh,
)
from solvers import LBFGS, Adam, EverySteps, Monitor, discretize, minimize

ITERATIONS, MEMORY, ROUNDS = 10, 10, 7
EPSILON, DECAYS = 1e-8, (0.9, 0.999)
LOOK, MOST, WANTED = 5, 1000, 0.97
Training = Callable[[], tuple[float | None, np.ndarray, np.ndarray]]
"""Returns the objective at the start, or None, and the last a_k and A_k."""


class Task:
    """What is trained, and a start.

    scale : sqrt(N) for the width-depth model, else 1
    shrink : N for the width-depth model, else 1: the entries of b_k are so many times those of A_k
    norm : our squared norm is `norm` times that of a_k / scale and A_k
    penalty : times a_k / scale and A_k, the penalty's gradient in them;  decays : in a_k and A_k
    steps, epsilon : of Adam, in a_k and A_k
    """

    def __init__(
        self, problem: LearningProblem, start, layers: Layers, strength: float, step: float = 1e-2
    ) -> None:
        self.problem, self.start, self.layers, self.strength = problem, start, layers, strength
        self.objective, units = discretize(problem), layers.bias.shape[1]
        wide = isinstance(problem.network, WidthDepth)
        self.scale, self.shrink = (np.sqrt(units), units) if wide else (1.0, 1)
        self.norm = layers.tau
        self.steps = step, step / self.shrink
        self.epsilon = EPSILON * layers.tau / self.shrink
        self.penalty = 2 * strength * self.norm
        self.decays = self.penalty / self.scale**2, self.penalty

    def fresh(self) -> Layers:
        """Arrays that a peer may write into."""
        data = self.layers
        return replace(data, bias=data.bias.copy(), matrices=data.matrices.copy())

    def reset(self, mine: Layers) -> None:
        """Back to the start."""
        np.copyto(mine.bias, self.layers.bias)
        np.copyto(mine.matrices, self.layers.matrices)

    def value(self, bias: np.ndarray, matrices: np.ndarray) -> float:
        """J by a plain loop."""
        data, f = self.layers, self.layers.initial
        for a, A in zip(bias, matrices, strict=True):
            f = f + data.tau * np.tanh(A @ f + a[:, None])
        squares = np.sum(bias**2) / self.scale**2 + np.sum(matrices**2)
        error = 0.5 * np.sum(data.share[:, None] * (f - data.target) ** 2)
        return float(error + self.strength * self.norm * squares)

    def as_peers(self, control) -> tuple[np.ndarray, np.ndarray]:
        """a_k and A_k of our control."""
        kernel = control["kernel"] if self.shrink > 1 else -control["weight"]
        return control["bias"], -kernel / self.shrink

    def start_error(self, found: object) -> float:
        """Of the objective that a run reports at the start."""
        exact = self.value(self.layers.bias, self.layers.matrices)
        return abs(found[0] - exact) / abs(exact)  # type: ignore[index]

    def same_error(self, reference: float, found: object) -> float:
        """Between last objectives, where iterates are the same."""
        return abs(self.value(*found[1:]) - reference) / abs(reference)  # type: ignore[index]


def wide() -> Task:
    """256 x 64 x 100."""
    rng, units, samples, layers, strength = np.random.default_rng(2), 256, 64, 100, 1e-4
    network = WidthDepth(midpoint(Interval(0.0, 1.0), units), tanh)
    initial, target = rng.standard_normal((2, units, samples))
    problem = LearningProblem(
        network, initial, target, TimeMesh(1.0, layers), penalty=Tikhonov(strength)
    )
    bias = rng.standard_normal((layers, units))
    kernel = np.sqrt(units) * rng.standard_normal((layers, units, units))
    start = problem.space.sample(bias=bias, kernel=kernel)
    share = np.full(units, 1.0 / (units * samples))
    data = Layers(bias, -kernel / units, initial, target, share, 1.0 / layers)
    return Task(problem, start, data, strength)


class Digits(Task):
    """1437 digits to learn, 360 to be tested on."""

    def __init__(self) -> None:
        from studies.datasets import load_digits  # noqa: PLC0415 - loads scikit-learn

        digits, rng, layers, strength = load_digits(), np.random.default_rng(0), 20, 1e-5
        order = rng.permutation(len(digits.labels))
        labels = digits.labels[order]
        inputs = 2.0 * digits.inputs[order].reshape(len(order), -1).T - 1.0
        states = np.concatenate([inputs, np.zeros((10, len(order)))])
        units, known = len(states), len(order) - 360
        readout = np.eye(units)[-10:]
        target = np.zeros((units, known))
        target[-10:] = np.eye(10)[:, labels[:known]]
        initial = np.ascontiguousarray(states[:, :known])
        problem = LearningProblem(
            NeuralODE(units, tanh),
            initial,
            np.ascontiguousarray(target[-10:]),
            TimeMesh(2.5, layers),
            readout=Projection(readout),
            terminal=SquaredError(1.0),
            penalty=Tikhonov(strength),
        )
        bias = 1e-2 * rng.standard_normal((layers, units))
        matrices = 1e-2 * rng.standard_normal((layers, units, units))
        share = np.concatenate([np.zeros(units - 10), np.full(10, 2.0 / known)])
        data = Layers(bias, matrices, initial, target, share, 2.5 / layers)
        start = problem.space.sample(bias=bias, weight=matrices)
        super().__init__(problem, start, data, strength, step=3e-2)
        self.tested = np.ascontiguousarray(states[:, known:].T)
        self.answers = labels[known:]

    def good(self, bias: np.ndarray, matrices: np.ndarray) -> bool:
        """Whether enough of the test is recognised."""
        x, tau = self.tested, self.layers.tau
        for a, A in zip(bias, matrices, strict=True):
            s = x @ A.T
            s += a
            np.tanh(s, out=s)
            s *= tau
            x = s + x
        return np.mean(np.argmax(x[:, -10:], axis=1) == self.answers) >= WANTED


def ours(task: Task, minimizer, monitors: Sequence[Monitor] = ()) -> Training:
    """`minimize`; the note of L-BFGS wants the number of evaluations."""

    def run():
        solution = minimize(
            task.objective,
            minimizer,
            initial=task.start,
            monitors=monitors,
            raise_on_failure=False,
        )
        run.evaluations = solution.statistics["evaluations"]
        return solution.history["objective"][0], *task.as_peers(solution.control)

    return run


# L-BFGS


def torch_lbfgs(task: Task, by_hand: bool) -> Training:
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    mine = task.fresh()
    gradient = _peers.torch_by_hand(mine)
    bias = torch.from_numpy(mine.bias)
    small = torch.nn.Parameter(torch.empty_like(bias))  # what L-BFGS sees in place of a_k
    if by_hand:
        matrices = [torch.nn.Parameter(torch.from_numpy(mine.matrices))]
    else:
        matrices = [torch.nn.Parameter(torch.from_numpy(x)) for x in mine.matrices]
        rest = [torch.from_numpy(x) for x in (*mine.rows, mine.share)]
    parameters = [small, *matrices]

    def run():
        task.reset(mine)
        with torch.no_grad():
            torch.div(bias, task.scale, out=small)
        method = torch.optim.LBFGS(
            parameters,
            max_iter=ITERATIONS,
            max_eval=20 * ITERATIONS,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            history_size=MEMORY,
            line_search_fn="strong_wolfe",
        )
        run.evaluations, values = 0, []

        def closure() -> float:
            run.evaluations += 1
            with torch.no_grad():
                torch.mul(small, task.scale, out=bias)
            if by_hand:
                value, found, *slopes = gradient()
            else:
                leaf = bias.requires_grad_()
                J = _peers.torch_value(mine, torch, leaf, matrices, *rest)
                value, (found, *slopes) = J.item(), torch.autograd.grad(J, [leaf, *matrices])
                bias.requires_grad_(False)
            with torch.no_grad():
                small.grad = found * task.scale
                for x, slope in zip(matrices, slopes, strict=True):
                    x.grad = slope
                torch._foreach_add_([x.grad for x in parameters], parameters, alpha=task.penalty)
                squares = sum(float(torch.vdot(x.view(-1), x.view(-1))) for x in parameters)
            values.append(value + 0.5 * task.penalty * squares)
            return values[-1]

        method.step(closure)
        return values[0], task.scale * small.detach().numpy(), mine.matrices.copy()

    return run


def optax_lbfgs(task: Task) -> Training:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415
    import optax  # noqa: PLC0415

    both = _peers.jax_adjoint(task.layers)

    def forward(control):
        small, matrices = control
        value, (bias_bar, matrix_bar) = both((task.scale * small, matrices))
        value += 0.5 * task.penalty * (jnp.vdot(small, small) + jnp.vdot(matrices, matrices))
        slope = task.scale * bias_bar + task.penalty * small, matrix_bar + task.penalty * matrices
        return value, slope

    @jax.custom_vjp
    def value_of(control):
        return forward(control)[0]

    value_of.defvjp(forward, lambda slope, g: (jax.tree.map(lambda x: g * x, slope),))
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")
    method = optax.lbfgs(memory_size=MEMORY, linesearch=search)
    evaluate = optax.value_and_grad_from_state(value_of)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(control, state):
        value, slope = evaluate(control, state=state)
        moves, state = method.update(
            slope, state, control, value=value, grad=slope, value_fn=value_of
        )
        return optax.apply_updates(control, moves), state, value

    def run():
        control = tuple(jnp.array(x) for x in (task.layers.bias / task.scale, task.layers.matrices))
        state = jax.tree.map(jnp.array, method.init(control))  # donated, so nothing twice
        run.evaluations, values = 1, []
        for _ in range(ITERATIONS):
            control, state, value = step(control, state)
            values.append(float(value))
            run.evaluations += int(state[-1].info.num_linesearch_steps)
        small, matrices = jax.block_until_ready(control)
        return values[0], task.scale * np.asarray(small), np.asarray(matrices)

    return run


# Adam


def torch_adam(task: Task, by_hand: bool, good: Callable[..., bool] | None = None) -> Training:
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    mine = task.fresh()
    gradient = _peers.torch_by_hand(mine)
    if by_hand:
        leaves = [[torch.nn.Parameter(torch.from_numpy(x))] for x in (mine.bias, mine.matrices)]
    else:
        leaves = [
            [torch.nn.Parameter(torch.from_numpy(x)) for x in y] for y in (mine.bias, mine.matrices)
        ]
        rest = [torch.from_numpy(x) for x in (*mine.rows, mine.share)]

    def run():
        task.reset(mine)
        groups = [
            {"params": x, "lr": step, "weight_decay": decay}
            for x, step, decay in zip(leaves, task.steps, task.decays, strict=True)
        ]
        method = torch.optim.Adam(groups, betas=DECAYS, eps=task.epsilon, fused=True)
        for k in range(MOST if good else ITERATIONS):
            if good and k % LOOK == 0 and good(mine.bias, mine.matrices):
                break
            if by_hand:
                _, *found = gradient()
            else:
                J = _peers.torch_value(mine, torch, *leaves, *rest)
                found = torch.autograd.grad(J, [*leaves[0], *leaves[1]])
            for x, slope in zip([*leaves[0], *leaves[1]], found, strict=True):
                x.grad = slope
            method.step()
        run.evaluations = k + (good is None)
        return None, mine.bias.copy(), mine.matrices.copy()

    return run


def optax_adam(task: Task, good: Callable[..., bool] | None = None) -> Training:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415
    import optax  # noqa: PLC0415

    both = _peers.jax_adjoint(task.layers)
    methods = {
        name: optax.chain(
            optax.add_decayed_weights(decay), optax.adam(step, *DECAYS, eps=task.epsilon)
        )
        for name, step, decay in zip("aA", task.steps, task.decays, strict=True)
    }
    method = optax.partition(methods, ("a", "A"))

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(control, state):
        moves, state = method.update(both(control)[1], state, control)
        return optax.apply_updates(control, moves), state

    def run():
        control = tuple(jnp.array(x) for x in (task.layers.bias, task.layers.matrices))
        state = method.init(control)
        for k in range(MOST if good else ITERATIONS):
            if good and k % LOOK == 0 and good(*(np.asarray(x) for x in control)):
                break
            control, state = step(control, state)
        run.evaluations = k + (good is None)
        return None, *(np.array(x) for x in jax.block_until_ready(control))

    return run


def numpy_adam(task: Task, good: Callable[..., bool] | None = None) -> Training:
    """In place, layer by layer, with arrays of a layer's size besides the moments."""
    mine = task.fresh()
    gradient = _peers.numpy_by_hand(mine)
    (first, second), held = DECAYS, (mine.bias, mine.matrices)
    room = np.empty_like(mine.matrices[0])

    def move(x, g, m, v, step, decay, share, spare) -> None:
        """One layer."""
        np.multiply(x, decay, out=spare)
        np.add(g, spare, out=g)
        np.multiply(g, 1 - first, out=spare)
        np.multiply(m, first, out=m)
        np.add(m, spare, out=m)
        np.multiply(g, g, out=g)
        np.multiply(g, 1 - second, out=g)
        np.multiply(v, second, out=v)
        np.add(v, g, out=v)
        np.multiply(v, share, out=g)
        np.sqrt(g, out=g)
        np.add(g, task.epsilon, out=g)
        np.divide(m, g, out=g)
        np.multiply(g, step, out=g)
        np.subtract(x, g, out=x)

    def run():
        task.reset(mine)
        moments = [(np.zeros_like(x), np.zeros_like(x)) for x in held]
        for k in range(MOST if good else ITERATIONS):
            if good and k % LOOK == 0 and good(*held):
                break
            _, *found = gradient()
            shares = 1 - first ** (k + 1), 1 / (1 - second ** (k + 1))
            for x, g, (m, v), step, decay in zip(
                held, found, moments, task.steps, task.decays, strict=True
            ):
                for j in range(len(x)):
                    spare = room if x.ndim == 3 else room[0]
                    move(x[j], g[j], m[j], v[j], step / shares[0], decay, shares[1], spare)
        run.evaluations = k + (good is None)
        return None, mine.bias.copy(), mine.matrices.copy()

    return run


# rows


def rows_of(cases: list[_harness.Case], runs: dict[str, Training], bar: float):
    """Notes say how many evaluations there were."""
    _harness.measure(cases, ROUNDS)
    for case in cases:
        count = getattr(runs.get(case.name), "evaluations", None)
        if count and case.seconds:
            words = f"{int(count)} evaluations, {case.seconds / count:.3g} s each"
            case.note = words + (f"; {case.note}" if case.note else "")
    return _harness.compare_peers(cases, bar)


def kept(runs: dict[str, Training], name: str, make: Callable[[], Training]) -> Training:
    """A run that its row can ask afterwards."""
    runs[name] = make()
    return runs[name]


def lbfgs() -> list[_harness.Row]:
    task, runs = wide(), {}
    method = LBFGS(max_iterations=ITERATIONS, memory=MEMORY, gtol=1e-14)
    makers = {
        "continuum L-BFGS": partial(ours, task, method),
        "PyTorch L-BFGS, gradient by hand": partial(torch_lbfgs, task, True),
        "PyTorch L-BFGS, autograd": partial(torch_lbfgs, task, False),
        "optax L-BFGS, gradient by hand": partial(optax_lbfgs, task),
    }
    cases = [
        _harness.Case(
            name,
            "ten iterations, 256 x 64, K = 100",
            partial(kept, runs, name, make),
            task.start_error,
            1e-10,
        )
        for name, make in makers.items()
    ]
    return rows_of(cases, runs, 1.5)


def with_adam(task: Task, case: str, minimizer: Adam, bar: float, good=None, monitors=()):
    """Rows of the same iterates."""
    runs: dict[str, Training] = {}
    makers = {
        "continuum Adam": partial(ours, task, minimizer, monitors),
        "NumPy Adam by hand": partial(numpy_adam, task, good),
        "PyTorch fused Adam, gradient by hand": partial(torch_adam, task, True, good),
        "PyTorch fused Adam, autograd": partial(torch_adam, task, False, good),
        "optax Adam, gradient by hand": partial(optax_adam, task, good),
    }
    reference = task.value(*numpy_adam(task, good)()[1:])
    error = partial(task.same_error, reference)
    cases = [
        _harness.Case(name, case, partial(kept, runs, name, make), error, 1e-8)
        for name, make in makers.items()
    ]
    return rows_of(cases, runs, bar)


def adam() -> list[_harness.Row]:
    task = wide()
    method = Adam(step=task.steps[0], max_iterations=ITERATIONS, report=ITERATIONS, gtol=1e-14)
    return with_adam(task, "ten steps, 256 x 64, K = 100", method, 2.0)


def digits() -> list[_harness.Row]:
    task = Digits()

    def look(snapshot) -> bool:
        control = task.objective.space.unflatten(snapshot.state)
        return task.good(*task.as_peers(control))

    method = Adam(step=task.steps[0], max_iterations=MOST, report=LOOK, gtol=1e-14)
    monitors = [Monitor(look, EverySteps(1))]
    return with_adam(task, "digits to 97%, 74 x 1437, K = 20", method, 1.2, task.good, monitors)


CASES = {"lbfgs": lbfgs, "adam": adam, "digits": digits}


def main(json_path: Path, cases: Sequence[str]) -> None:
    """Runs the chosen cases; the file gets the rows."""
    rows = [row for name in cases for row in CASES[name]()]
    _harness.write(rows, json_path, "Whole trainings, float64")


if __name__ == "__main__":
    _harness.run("trainings", main, tuple(CASES))
