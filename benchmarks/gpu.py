"""On a GPU: forward runs and gradients of a terminal squared error, Euler, float64.

    f' = tanh(a_k - b_k W f) on layer k: 256 x 64, K = 100; 1024 x 512 and 64 x 10 000, K = 20, the
    problem of `_learning.py`

Ours with its arrays in CuPy (`device="gpu"`) against JAX (jitted scan, value_and_grad of it, and
the adjoint by hand) and PyTorch (a loop without gradients, autograd, and the adjoint by hand), all
on the same GPU, with controls and states there before the clock starts; every call ends with the
GPU idle.  The error is the relative one to our gradient, or last state, in NumPy.  Without a GPU,
or without a contender's build for it, a row is "not run" and its note says why.  What is timed
includes everything that the processor does to keep the GPU busy, on one core.
"""

import _harness  # isort: split

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import _peers
import numpy as np
from _learning import Learning

from continuum.arrays import find_gpu
from solvers import Euler, discretize, integrate

os.environ["JAX_PLATFORMS"] = ""  # whatever there is
SIZES = {"256x64": (256, 64, 100), "1024x512": (1024, 512, 20), "64x10000": (64, 10_000, 20)}
TOLERANCE = 1e-8


def cupy():
    """The library, if it has a GPU."""
    carry, why = find_gpu()
    if carry is None:
        raise _harness.NotRun(why)
    import cupy  # noqa: PLC0415

    return cupy


def torch_on_gpu():
    """The library, if it has a GPU."""
    import torch  # noqa: PLC0415

    if not torch.cuda.is_available():
        raise _harness.NotRun(f"PyTorch {torch.__version__} sees no GPU")
    return torch


def jax_on_gpu():
    """The library, if it has a GPU."""
    import jax  # noqa: PLC0415

    if jax.default_backend() != "gpu":
        raise _harness.NotRun(f"JAX {jax.__version__} sees no GPU")
    return jax


def ours_forward(data: Learning) -> Callable[[], object]:
    library = cupy()
    start = library.asarray(data.layers.initial)
    control = data.control.like(start)

    def run() -> object:
        final = integrate(data.network, control, start, Euler()).trajectory.final
        library.cuda.Device().synchronize()
        return final

    return run


def ours_gradient(data: Learning) -> Callable[[], object]:
    library = cupy()
    objective = discretize(data.problem, Euler(), device="gpu")
    control = data.control.like(library.asarray(data.layers.initial))

    def run() -> object:
        found = objective.value_and_gradient(control)
        library.cuda.Device().synchronize()
        return found

    return run


def torch_forward(data: Learning) -> Callable[[], object]:
    torch = torch_on_gpu()
    layers = data.layers
    bias, matrices, initial = (
        torch.from_numpy(x).cuda() for x in (layers.bias, layers.matrices, layers.rows[0])
    )

    @torch.inference_mode()
    def run() -> object:
        f = initial
        for a, A in zip(bias, matrices, strict=True):
            f = torch.add(f, torch.tanh(torch.addmm(a, f, A.T)), alpha=data.tau)
        torch.cuda.synchronize()
        return f.T

    return run


def torch_gradient(data: Learning, by_hand: bool) -> Callable[[], object]:
    torch = torch_on_gpu()
    run = (_peers.torch_by_hand if by_hand else _peers.torch_autograd)(data.layers, "cuda")

    def finished() -> object:
        found = run()
        torch.cuda.synchronize()
        return found

    return finished


def jax_forward(data: Learning) -> Callable[[], object]:
    jax = jax_on_gpu()
    layers = data.layers
    initial, *control = (
        jax.numpy.asarray(x) for x in (layers.rows[0], layers.bias, layers.matrices)
    )

    @jax.jit
    def solve(f, control):
        def layer(f, block):
            a, A = block
            return f + data.tau * jax.numpy.tanh(f @ A.T + a), None

        return jax.lax.scan(layer, f, control)[0]

    return lambda: jax.block_until_ready(solve(initial, tuple(control))).T


def jax_gradient(data: Learning, by_hand: bool) -> object:
    jax_on_gpu()
    return (_peers.jax_by_hand if by_hand else _peers.jax_grad)(data.layers)


def on_host(x: object) -> np.ndarray:
    """An array of any of them."""
    if hasattr(x, "get"):
        return x.get()
    return np.asarray(x.cpu() if hasattr(x, "cpu") else x)


def forward_error(data: Learning, found: object) -> float:
    expected = integrate(data.network, data.control, data.layers.initial, Euler()).trajectory.final
    return float(np.max(np.abs(on_host(found) - expected)) / np.max(np.abs(expected)))


def gradient_error(data: Learning, found: object) -> float:
    value, *rest = found  # type: ignore[misc]
    if len(rest) == 1:
        rest = [{name: on_host(x) for name, x in rest[0].items()}]
    else:
        rest = [
            np.stack([on_host(y) for y in x]) if isinstance(x, Sequence) else on_host(x)
            for x in rest
        ]
    return data.error((float(value), *rest))


FORWARD = {"continuum forward": ours_forward, "PyTorch": torch_forward, "JAX scan": jax_forward}
GRADIENT = {
    "continuum gradient": ours_gradient,
    "PyTorch autograd": partial(torch_gradient, by_hand=False),
    "PyTorch by hand": partial(torch_gradient, by_hand=True),
    "JAX value_and_grad": partial(jax_gradient, by_hand=False),
    "JAX by hand": partial(jax_gradient, by_hand=True),
}


def rows_of(name: str) -> list[_harness.Row]:
    """Forward runs, then gradients."""
    data = Learning(Euler(), *SIZES[name])
    rows = []
    for makers, error in (
        (FORWARD, partial(forward_error, data)),
        (GRADIENT, partial(gradient_error, data)),
    ):
        cases = [
            _harness.Case(name, data.case, partial(make, data), error, TOLERANCE)
            for name, make in makers.items()
        ]
        _harness.measure(cases)
        rows += [*_harness.compare_peers(cases, None), _harness.own(cases[0])]
    return rows


def main(json_path: Path, cases: Sequence[str]) -> None:
    """Runs the chosen cases; the file gets the rows."""
    _, about = find_gpu()
    rows = [row for name in cases for row in rows_of(name)]
    _harness.write(rows, json_path, f"On a GPU ({about}), forward and gradient, float64")


if __name__ == "__main__":
    _harness.run("gpu", main, tuple(SIZES))
