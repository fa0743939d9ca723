"""Gradients of a terminal squared error as users of other libraries would write them.

    f' = tanh(a_k + A_k f) on layer k,  J = 1/2 sum_im share_i (f_K - target)_im^2,

by a method each of whose stages needs the last slope only (Euler, RK4).  All return J and its
derivatives in a_k and A_k.  States are rows, (M, N), so that the stages of a layer lie one after
the other and one product adds up their cotangents.  By hand, in every layer,

    s_i = tanh(x_i A^T + a),  x_i = f + tau sub_i s_(i-1),  f <- f + tau sum_i b_i s_i
    r_i = (1 - s_i^2) (b_i P + sub_(i+1) Z_(i+1)),  Z_i = tau r_i A,  P <- P + sum_i Z_i

with P = tau p, p the costate; the derivatives are sum_i r_i^T 1 and sum_i r_i^T x_i.  Factored, the
latter is left as the r_i and x_i.  NumPy and PyTorch write into arrays that are allocated once; a
jitted function of JAX is given the last gradient's arrays to write into (donated).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from scipy.linalg import blas

Run = Callable[[], tuple[object, ...]]


@dataclass(frozen=True, eq=False)
class Layers:
    """The problem as arrays: bias (K, N), matrices (K, N, N), initial and target (N, M), share
    (N,).

    tau : length of a layer
    sub, b : the entries below the diagonal of the tableau, the first being 0, and its weights
    """

    bias: np.ndarray
    matrices: np.ndarray
    initial: np.ndarray
    target: np.ndarray
    share: np.ndarray
    tau: float
    sub: Sequence[float] = (0.0,)
    b: Sequence[float] = (1.0,)

    @cached_property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Initial states and targets, (M, N)."""
        return np.ascontiguousarray(self.initial.T), np.ascontiguousarray(self.target.T)


def fastest(runs: Iterable[tuple[str, Run]]) -> tuple[Run, str]:
    """The fastest of several ways, by the best of a few calls, and its name."""
    best: tuple[float, Run, str] | None = None
    for name, run in runs:
        run()
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
        if best is None or min(seconds) < best[0]:
            best = min(seconds), run, name
    assert best is not None
    return best[1:]


def numpy_by_hand(data: Layers, factored: bool = False) -> Run:
    """Products by BLAS, added to what is there (beta = 1), all else by ufuncs in place.  Reads the
    arrays of `data` where they are.
    """
    (initial, target), tau, last = data.rows, data.tau, len(data.b) - 1
    (count, units), samples = data.bias.shape, len(initial)
    inputs = np.empty((count + 1, last + 1, samples, units))
    slopes = np.empty((count, last + 1, samples, units))
    p, z, bar, total = (np.empty((samples, units)) for _ in range(4))
    ones = np.ones((last + 1) * samples)
    bias_bar = np.empty_like(data.bias)
    matrix_bar = None if factored else np.empty_like(data.matrices)
    matrices = [A.T for A in data.matrices]  # in the order of Fortran, as are transposed rows
    one = samples == 1

    def product(x: np.ndarray, A: np.ndarray, back: bool, out: np.ndarray, beta: float) -> None:
        """out <- x A^T + beta out, or tau x A + beta out."""
        alpha = tau if back else 1.0
        if one:
            blas.dgemv(alpha, A, x[0], beta, out[0], trans=not back, overwrite_y=1)
        else:
            blas.dgemm(alpha, A, x.T, beta, out.T, trans_a=not back, overwrite_c=1)

    def run() -> tuple[object, ...]:
        inputs[0, 0] = initial
        for k in range(count):
            f, after = inputs[k, 0], inputs[k + 1, 0]
            for i in range(last + 1):
                x, s = inputs[k, i], slopes[k, i]
                if i:
                    np.multiply(slopes[k, i - 1], tau * data.sub[i], out=x)
                    np.add(x, f, out=x)
                s[...] = data.bias[k]
                product(x, matrices[k], False, s, 1.0)
                np.tanh(s, out=s)
                np.multiply(s, tau * data.b[i], out=z if i else after)
                np.add(after, z if i else f, out=after)
        difference = inputs[-1, 0] - target
        np.multiply(difference, data.share, out=p)
        value = 0.5 * float(np.vdot(p, difference))
        np.multiply(p, tau, out=p)
        for k in range(count - 1, -1, -1):
            for i in range(last, -1, -1):
                r = slopes[k, i]
                np.multiply(r, r, out=r)
                np.subtract(1.0, r, out=r)
                if last == 0:
                    np.multiply(r, p, out=r)
                    product(r, matrices[k], True, p, 1.0)
                    continue
                np.multiply(p, data.b[i], out=bar)
                if i < last:
                    np.multiply(z, data.sub[i + 1], out=z)
                    np.add(bar, z, out=bar)
                np.multiply(r, bar, out=r)
                product(r, matrices[k], True, z, 0.0)
                np.add(p if i == last else total, z, out=total)
            if last:
                p[...] = total
            r, x = slopes[k].reshape(-1, units), inputs[k].reshape(-1, units)
            np.matmul(ones, r, out=bias_bar[k])
            if matrix_bar is not None and len(r) > 1:
                blas.dgemm(1.0, x.T, r.T, 0.0, matrix_bar[k].T, trans_b=1, overwrite_c=1)
            elif matrix_bar is not None:
                np.multiply(r.T, x, out=matrix_bar[k])
        return value, bias_bar, (slopes, inputs[:-1]) if factored else matrix_bar

    return run


def torch_by_hand(data: Layers, device: str = "cpu") -> Run:
    """The same with PyTorch's fused functions: addmm, tanh and its derivative.  Reads the arrays of
    `data` where they are.
    """
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    matrices, bias, initial, target, share = (
        torch.from_numpy(x).to(device) for x in (data.matrices, data.bias, *data.rows, data.share)
    )
    tau, last, sub, b = data.tau, len(data.b) - 1, data.sub, data.b
    (count, units), samples = data.bias.shape, len(initial)
    inputs, slopes = (
        initial.new_empty((layers, last + 1, samples, units)) for layers in (count + 1, count)
    )
    bias_bar, matrix_bar = torch.empty_like(bias), torch.empty_like(matrices)
    p, z, bar, total = (torch.empty_like(initial) for _ in range(4))
    times_derivative = torch.ops.aten.tanh_backward.grad_input

    @torch.inference_mode()
    def run() -> tuple[object, ...]:
        inputs[0, 0] = initial
        for k in range(count):
            f, after = inputs[k, 0], inputs[k + 1, 0]
            for i in range(last + 1):
                x, s = inputs[k, i], slopes[k, i]
                if i:
                    torch.add(f, slopes[k, i - 1], alpha=tau * sub[i], out=x)
                torch.tanh(torch.addmm(bias[k], x, matrices[k].T, out=s), out=s)
                torch.add(after if i else f, s, alpha=tau * b[i], out=after)
        difference = inputs[count, 0] - target
        torch.mul(difference, share, out=p)
        value = 0.5 * float(torch.vdot(p.view(-1), difference.view(-1)))
        p.mul_(tau)
        for k in range(count - 1, -1, -1):
            for i in range(last, -1, -1):
                r = slopes[k, i]
                if last == 0:
                    times_derivative(p, r, grad_input=r)
                    p.addmm_(r, matrices[k], alpha=tau)
                    continue
                torch.mul(p, b[i], out=bar)
                if i < last:
                    bar.add_(z, alpha=sub[i + 1])
                times_derivative(bar, r, grad_input=r)
                torch.mm(r, matrices[k], out=z).mul_(tau)
                torch.add(p if i == last else total, z, out=total)
            if last:
                p.copy_(total)
            r, x = slopes[k].view(-1, units), inputs[k].view(-1, units)
            torch.sum(r, 0, out=bias_bar[k])
            torch.mm(r.T, x, out=matrix_bar[k])
        return value, bias_bar, matrix_bar

    return run


def torch_autograd(data: Layers, device: str = "cpu") -> Run:
    """One leaf per layer, which is faster than slices of one tensor."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    bias, matrices = (
        [torch.tensor(x, device=device, requires_grad=True) for x in y]
        for y in (data.bias, data.matrices)
    )
    initial, target, share = (torch.from_numpy(x).to(device) for x in (*data.rows, data.share))

    def run() -> tuple[object, ...]:
        value = torch_value(data, torch, bias, matrices, initial, target, share)
        found = torch.autograd.grad(value, [*bias, *matrices])
        return value.item(), found[: len(bias)], found[len(bias) :]

    return run


def torch_value(data: Layers, torch, bias, matrices, initial, target, share):
    """J as a tensor, states as rows."""
    f = initial
    for a, A in zip(bias, matrices, strict=True):
        start, s = f, None
        for sub, b in zip(data.sub, data.b, strict=True):
            x = torch.add(start, s, alpha=data.tau * sub) if s is not None else start
            s = torch.tanh(torch.addmm(a, x, A.T))
            f = torch.add(f, s, alpha=data.tau * b)
    difference = f - target
    return 0.5 * torch.sum(share * difference * difference)


def jax_value(data: Layers, unroll: int = 1) -> Callable:
    """J of (bias, matrices) by a scan, states as rows."""
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    initial, target, share = (jnp.asarray(x) for x in (*data.rows, data.share))

    def layer(f, block):
        (a, A), start, s = block, f, None
        for sub, b in zip(data.sub, data.b, strict=True):
            x = start if s is None else start + (data.tau * sub) * s
            s = jnp.tanh(x @ A.T + a)
            f = f + (data.tau * b) * s
        return f, None

    def value(control):
        difference = jax.lax.scan(layer, initial, control, unroll=unroll)[0] - target
        return 0.5 * jnp.sum(share * difference * difference)

    return value


def jax_adjoint(data: Layers, unroll: int = 1, outside: bool = False, factored: bool = False):
    """(J, derivatives) of (bias, matrices) by one scan forward and one backward.

    outside : the products r^T x of all layers are formed at once, after the scan
    """
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    initial, target, share = (jnp.asarray(x) for x in (*data.rows, data.share))
    tau, sub, b = data.tau, data.sub, data.b

    def forward(f, block):
        (a, A), inputs, slopes = block, [f], []
        for i in range(len(b)):
            if i:
                inputs.append(inputs[0] + (tau * sub[i]) * slopes[-1])
            slopes.append(jnp.tanh(inputs[i] @ A.T + a))
            f = f + (tau * b[i]) * slopes[i]
        return f, (jnp.concatenate(inputs), jnp.concatenate(slopes))

    def backward(p, kept):
        x, s, A = kept
        total, z, found = p, None, []
        for i, slope in reversed(list(enumerate(jnp.split(s, len(b))))):
            bar = b[i] * p if z is None else b[i] * p + sub[i + 1] * z
            found.insert(0, (1.0 - slope * slope) * bar)
            z = tau * (found[0] @ A)
            total = total + z
        r = jnp.concatenate(found)
        return total, r if outside or factored else (jnp.sum(r, axis=0), r.T @ x)

    def value_and_gradient(control):
        last, (inputs, slopes) = jax.lax.scan(forward, initial, control, unroll=unroll)
        difference = last - target
        p = share * difference
        found = jax.lax.scan(
            backward, tau * p, (inputs, slopes, control[1]), reverse=True, unroll=unroll
        )[1]
        if factored:
            found = jnp.sum(found, axis=1), (found, inputs)
        elif outside:
            found = jnp.sum(found, axis=1), jnp.einsum("kmi,kmj->kij", found, inputs)
        return 0.5 * jnp.vdot(p, difference), found

    return value_and_gradient


def jax_run(data: Layers, value_and_gradient: Callable, donate: bool = True) -> Run:
    """A jitted function of (bias, matrices), given the last gradient's arrays to write into."""
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    control = jnp.asarray(data.bias), jnp.asarray(data.matrices)
    if not donate:
        compiled = jax.jit(value_and_gradient)

        def plain() -> tuple[object, ...]:
            value, found = jax.block_until_ready(compiled(control))
            return value, *found

        return plain

    solve = jax.jit(lambda c, old: value_and_gradient(c), donate_argnums=1, keep_unused=True)
    held = [jax.tree.map(jnp.zeros_like, control)]

    def run() -> tuple[object, ...]:
        value, held[0] = jax.block_until_ready(solve(control, held[0]))
        return value, *held[0]

    return run


def jax_grad(data: Layers) -> tuple[Run, str]:
    """jax.value_and_grad of the scan."""
    import jax  # noqa: PLC0415

    make = {f"unroll {n}": partial(jax_value, data, n) for n in (1, 4)}
    return fastest((name, jax_run(data, jax.value_and_grad(f()))) for name, f in make.items())


def jax_by_hand(data: Layers, factored: bool = False) -> tuple[Run, str]:
    """The adjoint by hand, the fastest of its variants."""
    if factored:
        ways = {f"unroll {n}": jax_adjoint(data, n, factored=True) for n in (1, 4, 10)}
        return fastest((name, jax_run(data, f, donate=False)) for name, f in ways.items())
    one = data.initial.shape[1] == 1
    choices = [(1, False), (1, True), (4, False), (4, True), (10, one)]
    return fastest(
        (
            f"unroll {n}" + (", one product for all layers" if outside else ""),
            jax_run(data, jax_adjoint(data, n, outside)),
        )
        for n, outside in choices
    )
