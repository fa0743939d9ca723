"""The quadratic model of a discrete control problem, minimised by one sweep backwards.

Over dv_k in R^m and dz_{k+1} = A_k dz_k + B_k dv_k, dz_0 = 0,

    sum_k q_k.dz_k + r_k.dv_k + 1/2 (dz_k' Q_k dz_k + 2 dz_k' S_k dv_k + dv_k' (R_k + s G_k) dv_k),

s a shift and G_k = diag(metric_k) the product of the control space on layer k.  With the cost to go
V_k, p_k (its second and first derivatives in dz_k), from V_K = Q_K and p_K = q_K,

    H = R + s G + B' V B,   F = S' + B' V A,   h = r + B' p        (V, p those of k + 1)
    dv_k = -H^-1 (h + F dz_k),   V_k = Q + A' V A - F' H^-1 F,   p_k = q + A' p - F' H^-1 h.

The elimination of dv_{K-1}, ..., dv_0 is a congruence of the reduced Hessian with diag(H_k), so the
numbers of negative eigenvalues of all H_k add up to its own (Sylvester), at any shift at which no
H_k is singular.

With m controls and n = N M states of a layer: where m <= n, H is factorised as it stands.  Where
m > n and R + s G = L L' is positive definite, X = L^-1 B' = P U with P of n orthonormal columns
and U (n, n) gives

    H = L (1 + X V X') L',   H^-1 = L'^-1 (1 - P P' + P (1 + U V U')^-1 P') L^-1,

so that only the (n, n) matrix 1 + U V U' depends on V, and its negative eigenvalues are those of
H.  Sources: Bryson and Ho, Applied Optimal Control, section 6.3; Dunn and Bertsekas, J. Optim.
Theory Appl. 63 (1989); Wright, SIAM J. Sci. Comput. 14 (1993).
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import scipy.linalg

from continuum.arrays import Array

from ..adjoint.linear_quadratic import LinearQuadratic
from .riccati_loops import backward

FLOOR = 1e-10
"""Eigenvalues of H below this share of the largest are raised to it."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """What one sweep leaves.  n = N M states of a layer, samples first.

    opens, gains : dv_k = opens_k + gains_k dz_k: (K, m), (K, m, n)
    values : (K + 1, n), the p_k
    predicted : by how much the minimum of the quadratic model, with the shift and with what `lift`
        added, is below its value at 0; half the sum of h' H^-1 h
    least : (K,), the least eigenvalue of H_k in the metric, as a rule only where it is not positive
        and infinite elsewhere; where m > n that of 1 + U V U'
    negatives : (K,), how many eigenvalues of H_k are negative
    """

    opens: Array
    gains: Array
    values: Array
    predicted: float
    least: Array
    negatives: Array

    @property
    def inertia(self) -> int:
        """How many eigenvalues of all H_k are negative.  Without `lift` that is the number of
        negative eigenvalues of the reduced Hessian plus shift; with it, 0 if and only if that is.
        """
        return int(np.sum(self.negatives))


def sweep(lq: LinearQuadratic, metric: Array, shift: float = 0.0, *, lift: bool = False) -> Sweep:
    """The sweep over all layers.

    metric : (K, m), positive: the product of the control space
    lift : replaces negative eigenvalues of H_k, in the metric, by their absolute values, so that
        dv is a direction of descent whatever the curvature; else the model's stationary point
    raises FloatingPointError if a number is infinite or NaN
    """
    n, m = lq.B.shape[1] * lq.B.shape[2], lq.B.shape[3]
    if m > n:
        return in_python(lq, metric, shift, lift=lift)
    count = len(lq.A)
    opens, gains = np.empty((count, m)), np.empty((count, m, n))
    least, negatives, values = (
        np.empty(count),
        np.zeros(count, dtype=np.int64),
        np.empty((count + 1, n)),
    )
    stages = (
        lq.A,
        lq.B.reshape(count, n, m),
        lq.Q,
        lq.S.reshape(count, n, m),
        lq.R,
        lq.q.reshape(count + 1, n),
        lq.r,
    )
    try:
        predicted = backward(
            stages, metric, shift, lift, FLOOR, opens, gains, least, negatives, values
        )
    except np.linalg.LinAlgError as error:
        raise FloatingPointError(str(error)) from error
    if not np.isfinite(predicted):
        raise FloatingPointError("the sweep met numbers that are infinite or NaN")
    return Sweep(opens, gains, values, float(predicted), least, negatives)


def in_python(
    lq: LinearQuadratic, metric: Array, shift: float = 0.0, *, lift: bool = False
) -> Sweep:
    """The same by NumPy, layer by layer: the reference, and the way where m > n."""
    count, samples, units, m = lq.B.shape
    n = samples * units
    opens, gains, values = np.empty((count, m)), np.empty((count, m, n)), np.empty((count + 1, n))
    least, negatives = np.full(count, np.inf), np.zeros(count, dtype=np.int64)
    value, values[count] = scipy.linalg.block_diag(*lq.Q[count]), lq.q[count].reshape(n)
    predicted = 0.0
    for k in range(count - 1, -1, -1):
        b, s = lq.B[k].reshape(n, m), lq.S[k].reshape(n, m)
        r = lq.R[k] + shift * np.diag(metric[k])
        moved = _pulled(lq.A[k], value)  # A' V
        linear = np.column_stack([s.T, lq.r[k]])
        curved = np.column_stack([moved.T, values[k + 1]])  # (V A, p)
        stage = _wide(b, r, linear, value, curved, lift) if m > n else None
        if stage is None:
            stage = _narrow(b, r, linear, value, curved, lift, metric[k])
        found, solved, product = stage
        if found[0] <= 0.0:
            least[k], negatives[k] = found[0], np.sum(found < 0.0)
        gains[k], opens[k] = -solved[:, :n], -solved[:, n]
        predicted += 0.5 * product[n, n]
        values[k] = lq.q[k].reshape(n) + _pulled(lq.A[k], values[k + 1]) - product[n, :n]
        value = _pulled(lq.A[k], moved.T) - product[:n, :n]
        value += scipy.linalg.block_diag(*lq.Q[k])
        value = 0.5 * (value + value.T)
    if not np.isfinite(predicted):
        raise FloatingPointError("the sweep met numbers that are infinite or NaN")
    return Sweep(opens, gains, values, float(predicted), least, negatives)


Stage: TypeAlias = tuple[Array, Array, Array]
"""(eigenvalues, increasing; H^-1 (F, h); (F, h)' H^-1 (F, h)) of one layer."""


def _narrow(
    b: Array, r: Array, linear: Array, value: Array, curved: Array, lift: bool, metric: Array
) -> Stage:
    """H (m, m) factorised as it stands, by its eigenvalues in the metric."""
    scale = 1.0 / np.sqrt(metric)
    h = scale[:, None] * (r + b.T @ value @ b) * scale
    found, vectors = np.linalg.eigh(h)
    vectors = scale[:, None] * vectors
    y = vectors.T @ (linear + b.T @ curved)
    solved = y / _pivots(found, lift)[:, None]
    return found, vectors @ solved, y.T @ solved


def _wide(
    b: Array, r: Array, linear: Array, value: Array, curved: Array, lift: bool
) -> Stage | None:
    """By 1 + U V U' (n, n); None if r is not positive definite."""
    root = _Root.of(r)
    if root is None:
        return None
    p, u = np.linalg.qr(root.solve(b.T))
    right = root.solve(linear)
    inside = p.T @ right
    found, vectors = np.linalg.eigh(np.eye(len(u)) + u @ value @ u.T)
    y = vectors.T @ (inside + u @ curved)
    solved = y / _pivots(found, lift)[:, None]
    whole = root.solve_transposed(right + p @ (vectors @ solved - inside))
    return found, whole, right.T @ right - inside.T @ inside + y.T @ solved


def _pivots(found: Array, lift: bool) -> Array:
    """Eigenvalues as they are divided by: none too close to 0, negative ones lifted if asked."""
    sizes = np.maximum(np.abs(found), max(FLOOR * float(np.max(np.abs(found))), 1e-300))
    return sizes if lift else np.copysign(sizes, found)


@dataclass(frozen=True, eq=False)
class _Root:
    """L with L L' a positive definite matrix: (m,) if that is diagonal, else (m, m), lower."""

    low: Array

    @staticmethod
    def of(matrix: Array) -> "_Root | None":
        diagonal = np.diagonal(matrix)
        if np.count_nonzero(matrix) == np.count_nonzero(diagonal):
            return _Root(np.sqrt(diagonal)) if np.all(diagonal > 0.0) else None
        try:
            return _Root(np.linalg.cholesky(matrix))
        except np.linalg.LinAlgError:
            return None

    def solve(self, x: Array) -> Array:
        """L^-1 x."""
        if self.low.ndim == 1:
            return x / self.low[:, None]
        return scipy.linalg.solve_triangular(self.low, x, lower=True)

    def solve_transposed(self, x: Array) -> Array:
        """L'^-1 x."""
        if self.low.ndim == 1:
            return x / self.low[:, None]
        return scipy.linalg.solve_triangular(self.low, x, lower=True, trans="T")


def _pulled(blocks: Array, x: Array) -> Array:
    """A' x for A block diagonal: blocks (M, N, N), x (M N, ...)."""
    samples, units = blocks.shape[:2]
    return (blocks.transpose(0, 2, 1) @ x.reshape(samples, units, -1)).reshape(x.shape)


def linear_path(lq: LinearQuadratic, found: Sweep) -> tuple[Array, Array]:
    """(dv (K, m), dz (K + 1, n)): the solution along the linearised dynamics."""
    count, samples, units, m = lq.B.shape
    n = samples * units
    dz, dv = np.zeros((count + 1, n)), np.empty((count, m))
    for k in range(count):
        dv[k] = found.opens[k] + found.gains[k] @ dz[k]
        pushed = (lq.A[k] @ dz[k].reshape(samples, units, 1)).reshape(n)
        dz[k + 1] = pushed + lq.B[k].reshape(n, m) @ dv[k]
    return dv, dz
