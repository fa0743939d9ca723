"""Matrices written as products of L matrices, in the ways that tell the steps of descent apart.

All stacks are (L, n, n), the first factor first: stack[-1] @ ... @ stack[0] = R.  A number is taken
for a matrix of one entry.
"""

import numpy as np
from scipy.linalg import fractional_matrix_power, schur

from continuum.arrays import Array
from continuum.checks import check_count, check_positive, check_rng
from continuum.doors import checked

from .problems import square


@checked
def balanced_factors(target: Array | float, layers: int) -> Array:
    """W_1 = S^(1/L) V^T,  W_i = S^(1/L),  W_L = U S^(1/L),   where R = U S V^T.

    All factors have the singular values of R to the power 1/L, and W_(i+1)^T W_(i+1) = W_i W_i^T.
    Among all factorisations these have the least sharpness, L |R|_2^(2 (L - 1) / L) (Sigma = I).

    target : R (n, n), any square matrix;  layers : L >= 1
    raises ValueError for a matrix that is not square, layers < 1
    """
    r, layers = square("target", target, "n"), check_count("layers", layers)
    if layers == 1:
        return r[None].copy()
    u, s, vt = np.linalg.svd(r)
    root = s ** (1.0 / layers)
    stack = np.tile(np.diag(root), (layers, 1, 1))
    stack[0] = root[:, None] * vt
    stack[-1] = u * root
    return stack


@checked
def root_factors(target: Array | float, layers: int) -> Array:
    """L times R^(1/L), the principal root: the real one with eigenvalues |arg| < pi / L.

    target : R (n, n), non-singular and without eigenvalues < 0;  layers : L >= 1
    raises ValueError for a matrix that is not square or is singular to rounding, that has an
        eigenvalue on the negative axis, where no principal root is real, or one so near to it that
        the root computed does not give R again to 1e-8
    """
    r, layers = square("target", target, "n"), check_count("layers", layers)
    s = np.linalg.svd(r, compute_uv=False)
    if s[-1] <= len(r) * np.finfo(float).eps * s[0]:
        raise ValueError(f"target is singular (singular values {s[0]:g} to {s[-1]:g}): no root")
    form = schur(r, output="real")[0]
    corners = np.concatenate([[0.0], np.diag(form, -1), [0.0]])
    single = (corners[:-1] == 0.0) & (corners[1:] == 0.0)
    least = float(np.min(np.diag(form)[single], initial=np.inf))
    if least < 0.0:
        raise ValueError(
            f"target has the eigenvalue {least:g} on the negative axis: its principal root is not "
            f"real"
        )
    if layers == 1:
        return r[None].copy()
    root = np.real(fractional_matrix_power(r, 1.0 / layers))
    miss = float(np.linalg.norm(np.linalg.matrix_power(root, layers) - r, 2))
    if not miss <= 1e-8 * s[0]:
        raise ValueError(
            f"target is too near to a matrix without a root: R^(1/{layers}) to the power {layers} "
            f"misses it by {miss:.1e}"
        )
    return np.tile(root, (layers, 1, 1))


@checked
def disproportionate_factors(target: Array | float, layers: int, kappa: float) -> Array:
    """(kappa, ..., kappa, kappa^(1 - L)) times the root R^(1/L): a product R whose last factor is
    out of proportion.  Of a number the sharpness is least for kappa = 1.

    kappa : > 0
    raises ValueError where there is no root (see `root_factors`), and for kappa^(L - 1) that
        floating-point numbers do not hold
    Source: Nar and Sastry (2018), after Proposition 1.
    """
    stack, kappa = root_factors(target, layers), check_positive("kappa", kappa)
    if abs((len(stack) - 1) * np.log(kappa)) > 600.0:
        raise ValueError(f"kappa is {kappa:g}: kappa^{len(stack) - 1} overflows or vanishes")
    stack[:-1] *= kappa
    stack[-1] *= kappa ** (1 - len(stack))
    return stack


@checked
def random_factors(
    target: Array | float, layers: int, rng: np.random.Generator, spread: float = 0.5
) -> Array:
    """W_i = A_i C_i A_(i-1)^(-1),   A_0 = A_L = I,   C_i the balanced factors of R:

    a random factorisation, any there is if R is invertible.  A_i = U e^D V^T with orthogonal U, V
    uniformly distributed and a diagonal D of normal numbers of deviation `spread`, so the inverse
    is exact, however many factors.

    rng : Generator of A_1, ..., A_(L-1)
    spread : > 0; near 0 the factors are almost balanced
    """
    stack = balanced_factors(target, layers)
    n = len(stack[0])
    rng, spread = check_rng("rng", rng), check_positive("spread", spread)
    for i in range(len(stack) - 1):
        u, v, d = orthogonal(n, rng), orthogonal(n, rng), spread * rng.standard_normal(n)
        stack[i] = (u * np.exp(d)) @ v.T @ stack[i]
        stack[i + 1] = stack[i + 1] @ (v * np.exp(-d)) @ u.T
    return stack


def orthogonal(units: int, rng: np.random.Generator) -> Array:
    """(n, n), an orthogonal matrix, uniformly distributed.

    Source: Mezzadri, How to generate random matrices from the classical compact groups, 2007.
    """
    q, r = np.linalg.qr(rng.standard_normal((units, units)))
    return q * np.where(np.diag(r) < 0.0, -1.0, 1.0)
