"""Gradients of a terminal squared error with respect to all a_k, b_k, float64.

    f' = tanh(a_k - b_k W f) on layer k, Euler or RK4,
    J = 1/M sum_m 1/2 sum_i w_i (f_K - target)_im^2

`discretize(problem).value_and_gradient(control)`, into the same arrays again (`out=`) and into new
ones, against the same problem by hand in NumPy and BLAS, by hand and by autograd in PyTorch, by
hand and by value_and_grad in JAX (`_peers.py`); what each returns and how its error is found is in
`_learning.py`.  The bar of a case stands in its first row, against the fastest of all peers of the
run.

    euler, rk4, wide, many : 256 x 64, 1024 x 64, 64 x 1437, 64 x 10 000
    one : one sample; factored, the gradient of a kernel is left as P_k F_k^T, ours and the peers'
    hessian : products of the Hessian with a direction, against JAX (the derivative of the gradient
        along it), and against the gradient; the first at a control, and the next ones there
    memory : the gradient in a tenth of the memory against the forward run
    float32 : the gradient in single precision against double
    neighbour : the gradient while, between calls, somebody else allocates, touches and frees
        200 MB, against the gradient alone: the bar 1/1.2 is a ratio of times
    threads : two threads on two cores against one thread
"""

import _harness  # isort: split

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import _peers
import numpy as np
from _learning import Learning

from solvers import RK4, Euler, discretize, integrate

TOLERANCE, SINGLE = 1e-8, 1e-4
PEERS: dict[str, Callable] = {
    "NumPy by hand": _peers.numpy_by_hand,
    "PyTorch by hand": _peers.torch_by_hand,
    "PyTorch autograd": _peers.torch_autograd,
    "JAX by hand": _peers.jax_by_hand,
    "JAX value_and_grad": _peers.jax_grad,
}
FACTORED: dict[str, Callable] = {
    "NumPy by hand, factored": partial(_peers.numpy_by_hand, factored=True),
    "JAX by hand, factored": partial(_peers.jax_by_hand, factored=True),
}
NEIGHBOUR = 200 * 2**20 // 8
"""Floats that a neighbour touches."""


def ours(data: Learning) -> Callable[[], object]:
    return lambda: data.objective.value_and_gradient(data.control)


def ours_again(data: Learning) -> Callable[[], object]:
    """Into the same arrays."""
    found = data.objective.space.zeros()
    return lambda: data.objective.value_and_gradient(data.control, out=found)


def ours_factored(data: Learning) -> Callable[[], object]:
    return lambda: data.objective.value_and_factors(data.control)


def cases_of(data: Learning, makers: dict[str, Callable]) -> list[_harness.Case]:
    """Contenders that take our data."""
    return [
        _harness.Case(name, data.case, partial(make, data), data.error, TOLERANCE)
        for name, make in makers.items()
    ]


def peers_of(data: Learning, makers: dict[str, Callable]) -> list[_harness.Case]:
    """Contenders that take arrays."""
    return [
        _harness.Case(name, data.case, partial(make, data.layers), data.error, TOLERANCE)
        for name, make in makers.items()
    ]


OURS = {"continuum, out=": ours_again, "continuum": ours}


def dense(data: Learning, bar: float | None, rounds: int = _harness.ROUNDS) -> list[_harness.Row]:
    """Gradients as arrays: ours, into the same and into new ones, against all peers."""
    (again, fresh), peers = cases_of(data, OURS), peers_of(data, PEERS)
    _harness.measure([again, fresh, *peers], rounds)
    return [*_harness.compare_peers([again, *peers], bar), _harness.own(fresh)]


def one_sample(units: int) -> list[_harness.Row]:
    """One sample, dense and factored; a factored peer may win, and so may a dense one."""
    data = Learning(Euler(), units, 1, 100)
    again, fresh, factored = cases_of(data, OURS | {"continuum, factored": ours_factored})
    peers, others = peers_of(data, PEERS), peers_of(data, FACTORED)
    _harness.measure([again, fresh, factored, *peers, *others])
    return [
        *_harness.compare_peers([factored, *others, *peers], 2.0),
        *_harness.compare_peers([again, *peers], None)[: 1 + len(peers)],
        _harness.own(fresh),
    ]


def hvp(data: Learning) -> Callable[[], object]:
    return lambda: (data.objective.hvp(data.control, data.along),)


def hvp_again(data: Learning) -> Callable[[], object]:
    """At a control that stays: its states and costates are kept."""
    here = data.objective.linearised(data.control)
    return lambda: (here.hvp(data.along),)


def jax_hvp(data: Learning, by_hand: bool, again: bool = False) -> tuple[Callable, str]:
    """The derivative of the gradient along the direction, written into the last one's arrays."""
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    control = tuple(jnp.asarray(x) for x in (data.layers.bias, data.layers.matrices))
    direction = tuple(jnp.asarray(x) for x in data.direction)

    def gradient(unroll: int) -> Callable:
        if by_hand:
            both = _peers.jax_adjoint(data.layers, unroll)
            return lambda control: both(control)[1]
        return jax.grad(_peers.jax_value(data.layers, unroll))

    def run(unroll: int) -> Callable[[], object]:
        f = gradient(unroll)
        if again:
            known = jax.jit(lambda c: jax.linearize(f, c)[1])(control)
            product = jax.jit(lambda d, known, old: known(d), donate_argnums=2, keep_unused=True)
        else:
            known = control
            product = jax.jit(
                lambda d, c, old: jax.jvp(f, (c,), (d,))[1], donate_argnums=2, keep_unused=True
            )
        held = [jax.tree.map(jnp.zeros_like, control)]

        def made() -> tuple[object, ...]:
            held[0] = jax.block_until_ready(product(direction, known, held[0]))
            return tuple(held[0])

        return made

    return _peers.fastest((f"unroll {n}", run(n)) for n in (1, 4))


def hessian(data: Learning) -> list[_harness.Row]:
    """Hessian times direction, the first at a control and the next one there."""
    first = {
        "continuum hvp": hvp,
        "JAX jvp of grad": partial(jax_hvp, by_hand=False),
        "JAX jvp of the adjoint by hand": partial(jax_hvp, by_hand=True),
    }
    more = {
        "continuum hvp, states kept": hvp_again,
        "JAX linearize of grad": partial(jax_hvp, by_hand=False, again=True),
        "JAX linearize of the adjoint by hand": partial(jax_hvp, by_hand=True, again=True),
    }
    firsts, mores = (
        [
            _harness.Case(name, data.case, partial(make, data), data.product_error, 1e-5)
            for name, make in makers.items()
        ]
        for makers in (first, more)
    )
    (gradient,) = cases_of(data, {"continuum, out=": ours_again})
    _harness.measure([*firsts, *mores, gradient])
    return [
        *_harness.compare_peers(firsts, None),
        *_harness.compare_peers([mores[0], *mores[1:], *firsts[1:]], None)[: len(mores)],
        *(_harness.own(x) for x in mores[1:]),
        _harness.compare(firsts[0], gradient, 1 / 3),
        _harness.own(gradient),
    ]


def memory(data: Learning) -> list[_harness.Row]:
    """The gradient in a tenth of the memory against the forward run."""
    units, samples = data.layers.initial.shape
    everything = (1 + len(data.layers.bias) * (1 + len(data.layers.b))) * 8 * units * samples

    def tenth(data: Learning) -> Callable[[], object]:
        limited = discretize(data.problem, data.stepper, memory=everything // 10)
        return lambda: limited.value_and_gradient(data.control)

    def forward() -> Callable[[], object]:
        start = data.layers.initial
        return lambda: integrate(data.network, data.control, start, data.stepper)

    (limited,) = cases_of(data, {"continuum in a tenth of the memory": tenth})
    run = _harness.Case("continuum forward", data.case, forward)
    _harness.measure([limited, run])
    return [_harness.compare(limited, run, 1 / 5.5), _harness.own(run)]


def single(data: Learning) -> list[_harness.Row]:
    """float32 against float64; the error is that to the gradient in float64."""

    def make() -> Callable[[], object]:
        objective = discretize(data.problem, data.stepper, dtype="float32")
        return lambda: objective.value_and_gradient(data.control)

    case = _harness.Case("continuum, float32", data.case, make, data.error, SINGLE)
    (double,) = cases_of(data, {"continuum": ours})
    _harness.measure([case, double])
    return [_harness.compare(case, double), _harness.own(double)]


def touch() -> float:
    """A neighbour that needs 200 MB for a moment."""
    return float(np.ones(NEIGHBOUR)[-1])


def neighbour(data: Learning) -> list[_harness.Row]:
    """Alone first, then beside the neighbour."""
    rows = []
    for name, make in OURS.items():
        alone, beside = cases_of(data, {f"{name}, alone": make, f"{name}, beside": make})
        beside.before = touch
        for case in (alone, beside):
            _harness.measure([case])
        rows += [_harness.compare(beside, alone, 1 / 1.2), _harness.own(alone)]
    return rows


def threads(data: Learning) -> list[_harness.Row]:
    """Two threads over one, both cores free."""

    def make(count: int) -> Callable[[], object]:
        objective = discretize(data.problem, data.stepper, threads=count)
        found = objective.space.zeros()
        return lambda: objective.value_and_gradient(data.control, out=found)

    with _harness.all_cores() as cores:
        one, two = (
            _harness.Case(
                f"continuum, {n} threads",
                f"{data.case}, {cores} cores",
                partial(make, n),
                data.error,
                TOLERANCE,
            )
            for n in (1, 2)
        )
        _harness.measure([two, one])
    return [_harness.compare(two, one, 1.7), _harness.own(one)]


CASES: dict[str, Callable[[], list[_harness.Row]]] = {
    "euler": lambda: dense(Learning(Euler(), 256, 64, 100), 1.15),
    "rk4": lambda: dense(Learning(RK4(), 256, 64, 100), 1.2),
    "wide": lambda: dense(Learning(Euler(), 1024, 64, 20), 1.2),
    "one": lambda: one_sample(64) + one_sample(256),
    "many": lambda: (
        dense(Learning(Euler(), 64, 1437, 20), None)
        + dense(Learning(Euler(), 64, 10_000, 20), 1.25)
    ),
    "hessian": lambda: (
        hessian(Learning(Euler(), 256, 64, 100)) + hessian(Learning(RK4(), 256, 64, 100))
    ),
    "memory": lambda: (
        memory(Learning(Euler(), 256, 64, 100)) + memory(Learning(RK4(), 256, 64, 100))
    ),
    "float32": lambda: (
        single(Learning(Euler(), 256, 64, 100)) + single(Learning(Euler(), 64, 10_000, 20))
    ),
    "neighbour": lambda: neighbour(Learning(Euler(), 1024, 64, 20)),
    "threads": lambda: (
        threads(Learning(Euler(), 256, 512, 20)) + threads(Learning(Euler(), 64, 10_000, 20))
    ),
}


def main(json_path: Path, cases: Sequence[str]) -> None:
    """Runs the chosen cases; the file gets the rows."""
    rows = [row for name in cases for row in CASES[name]()]
    _harness.write(
        rows, json_path, "Gradient of a terminal squared error, tanh, dense kernel, float64"
    )


if __name__ == "__main__":
    _harness.run("gradient", main, tuple(CASES))
