"""The quadratic model of a discrete control problem, minimised by one sweep backwards.

Over dv_k in R^m and dz_{k+1} = A_k dz_k + B_k dv_k, dz_0 = 0,

    sum_k q_k.dz_k + r_k.dv_k + 1/2 (dz_k' Q_k dz_k + 2 dz_k' S_k dv_k + dv_k' (R_k + s G_k) dv_k),

s a shift and G_k = diag(metric_k) the product of the control space on layer k.  With the cost to go
V_k, p_k (its second and first derivatives in dz_k), from V_K = Q_K and p_K = q_K,

    H = R + s G + B' V B,   F = S' + B' V A,   h = r + B' p        (V, p those of k + 1)
    dv_k = -H^-1 (h + F dz_k),   V_k = Q + A' V A - F' H^-1 F,   p_k = q + A' p - F' H^-1 h.

The elimination of dv_{K-1}, ..., dv_0 is a congruence of the reduced Hessian with the block diagonal
of all H_k (and T), so their numbers of negative eigenvalues add up to its own (Sylvester), at any
shift at which none is singular.

Coefficients s in R^p that all layers share (`Borders`: b_k ds in the dynamics, and their part of the
costs) are met by p further right-hand sides: with Pi_k the mixed second derivative of the cost to
go in dz_k and ds, and T, t those in ds alone,

    h = r + B' p + (R_s + B' (Pi + V b)) ds,   Pi_k = S_s + A' (Pi + V b) - F' H^-1 h_s,
    T_k = T + b' V b + b' Pi + Pi' b - h_s' H^-1 h_s,   t_k = t + b' p - h_s' H^-1 h_0,

and at the start ds = -(T + s G)^-1 t: a Schur complement of size p.

With m controls and n = N M states of a layer: where m <= n, H is factorised as it stands.  Where
m > n and R + s G = L L' is positive definite, X = L^-1 B' = P U with P of n orthonormal columns
and U (n, n) gives

    H = L (1 + X V X') L',   H^-1 = L'^-1 (1 - P P' + P (1 + U V U')^-1 P') L^-1,

so that only the (n, n) matrix 1 + U V U' depends on V, and its negative eigenvalues are those of
H.  Sources: Bryson and Ho, Applied Optimal Control, section 6.3; Dunn and Bertsekas, J. Optim.
Theory Appl. 63 (1989); Wright, SIAM J. Sci. Comput. 14 (1993).
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import scipy.linalg

from continuum.arrays import Array

from ..adjoint.linear_quadratic import Borders, LinearQuadratic
from .riccati_loops import backward

FLOOR = 1e-13
"""Eigenvalues of H nearer to 0 than this share of the largest are moved there, to keep finite."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """What one sweep leaves.  n = N M states of a layer, samples first.

    law : (K, m, n + 1 + p), dv_k = law_k (dz_k, 1, ds)
    ds : (p,), the static part of the solution
    predicted : by how much the model, with the shift, is lower at its stationary point than at 0
    negatives : (K,), how many eigenvalues of H_k are negative
    least : (K,), the least eigenvalue of H_k in the metric where H_k is not positive definite
        (that of 1 + U V U' where that was factorised), infinite elsewhere
    static : (p,), the eigenvalues of T in the metric, increasing
    ended : the layer whose H_k is not positive definite and at which the sweep was told to end,
        p > 0 and K if it was T; -1 if it was made to the end
    """

    law: Array
    ds: Array
    predicted: float
    negatives: Array
    least: Array
    static: Array
    ended: int

    @property
    def inertia(self) -> int:
        """The number of negative eigenvalues of the reduced Hessian plus shift."""
        return int(np.sum(self.negatives)) + int(np.sum(self.static < 0.0))


def sweep(
    lq: LinearQuadratic,
    metric: Array,
    shift: float = 0.0,
    borders: Borders | None = None,
    *,
    definite: bool = False,
) -> Sweep:
    """The stationary point of the model.

    metric : (K m + p,), positive: the weights of the coefficients in the product of their space
    definite : end at the first layer whose H is not positive definite
    raises FloatingPointError if a number is infinite or NaN
    """
    count, samples, units, m = lq.B.shape
    n, p = samples * units, 0 if borders is None else len(borders.r)
    if m > n:
        return in_python(lq, metric, shift, borders, definite=definite)
    b, s, q = lq.B.reshape(count, n, m), lq.S.reshape(count, n, m), lq.q.reshape(count + 1, n)
    around = (np.empty((count, n, 0)), np.empty((count + 1, n, 0)), np.empty((count, m, 0)))
    if borders is not None:
        around = (
            borders.B.reshape(count, n, p),
            borders.S.reshape(count + 1, n, p),
            borders.R,
        )
    law, least, negatives = (
        np.empty((count, m, n + 1 + p)),
        np.empty(count),
        np.zeros(count, dtype=np.int64),
    )
    slopes, bend = np.empty((1 + p, n)), np.empty((p, 1 + p))
    square, wide = (np.empty((3, n, n)), np.empty((2, m, n)))
    work = (
        *square,
        *wide,
        np.empty((m, n + 1 + p)),
        np.empty((m, n + 1 + p)),
        np.zeros((m, m)),
        np.empty((m, m)),
        np.empty(m),
        np.empty((2 * units - 1, n)),
        np.empty((1 + p, n)),
        np.empty((1 + p, n)),
    )
    try:
        predicted, ended = backward(
            (lq.A, b, lq.Q, s, lq.R, q, lq.r),
            around,
            metric[: count * m].reshape(count, m),
            shift,
            definite,
            FLOOR,
            (law, least, negatives, slopes, bend),
            work,
        )
    except np.linalg.LinAlgError as error:
        raise FloatingPointError(str(error)) from error
    found = Sweep(law, np.zeros(p), predicted, negatives, least, np.empty(0), ended)
    return _with_static(found, bend, borders, metric, shift, definite)


def _with_static(
    found: Sweep,
    bend: Array,
    borders: Borders | None,
    metric: Array,
    shift: float,
    definite: bool,
) -> Sweep:
    """The static coefficients, from (T, t) at the start as bend (p, 1 + p) = (t, T)."""
    if not np.isfinite(found.predicted):
        raise FloatingPointError("the sweep met numbers that are infinite or NaN")
    if borders is None or found.ended >= 0:
        return found
    p = len(borders.r)
    scale = 1.0 / np.sqrt(metric[-p:])
    whole, slope = 0.5 * (bend[:, 1:] + bend[:, 1:].T) + borders.P, bend[:, 0] + borders.r
    values, vectors = np.linalg.eigh(scale[:, None] * whole * scale + shift * np.eye(p))
    y = vectors.T @ (scale * slope)
    solved = y / _pivots(values)
    ended = len(found.law) if definite and values[0] <= 0.0 else -1
    return replace(
        found,
        ds=-scale * (vectors @ solved),
        predicted=found.predicted + 0.5 * float(y @ solved),
        static=values,
        ended=ended,
    )


def in_python(
    lq: LinearQuadratic,
    metric: Array,
    shift: float = 0.0,
    borders: Borders | None = None,
    *,
    definite: bool = False,
) -> Sweep:
    """The same by NumPy, layer by layer: the reference, and the way where m > n."""
    count, samples, units, m = lq.B.shape
    n, p = samples * units, 0 if borders is None else len(borders.r)
    weights = metric[: count * m].reshape(count, m)
    law, bend = np.empty((count, m, n + 1 + p)), np.zeros((p, 1 + p))
    least, negatives = np.full(count, np.inf), np.zeros(count, dtype=np.int64)
    value, slopes = scipy.linalg.block_diag(*lq.Q[count]), lq.q[count].reshape(n, 1)
    if borders is not None:
        slopes = np.column_stack([slopes, borders.S[count].reshape(n, p)])
    predicted, ended = 0.0, -1
    for k in range(count - 1, -1, -1):
        b, s = lq.B[k].reshape(n, m), lq.S[k].reshape(n, m)
        r = lq.R[k] + shift * np.diag(weights[k])
        linear, own = np.column_stack([s.T, lq.r[k]]), lq.q[k].reshape(n, 1)
        if borders is not None:
            drift = borders.B[k].reshape(n, p)
            bend += drift.T @ slopes
            moved = slopes[:, 1:] + value @ drift
            bend[:, 1:] += moved.T @ drift
            slopes = np.column_stack([slopes[:, 0], moved])
            linear = np.column_stack([linear, borders.R[k]])
            own = np.column_stack([own, borders.S[k].reshape(n, p)])
        pulled = _pulled(lq.A[k], value)  # A' V
        curved = np.column_stack([pulled.T, slopes])
        stage = _wide(b, r, linear, value, curved) if m > n else None
        found, solved, product = stage or _narrow(b, r, linear, value, curved, weights[k])
        if found[0] <= 0.0:
            least[k], negatives[k] = found[0], np.sum(found < 0.0)
            if definite:
                ended = k
                break
        law[k] = -solved
        predicted += 0.5 * product[n, n]
        bend -= product[n + 1 :, n:]
        slopes = own + _pulled(lq.A[k], slopes) - product[:n, n:]
        value = _pulled(lq.A[k], pulled.T) - product[:n, :n]
        value += scipy.linalg.block_diag(*lq.Q[k])
        value = 0.5 * (value + value.T)
    result = Sweep(law, np.zeros(p), float(predicted), negatives, least, np.empty(0), ended)
    return _with_static(result, bend, borders, metric, shift, definite)


Stage: TypeAlias = tuple[Array, Array, Array]
"""(eigenvalues, increasing; H^-1 (F, h); (F, h)' H^-1 (F, h)) of one layer."""


def _narrow(
    b: Array, r: Array, linear: Array, value: Array, curved: Array, metric: Array
) -> Stage:
    """H (m, m) factorised as it stands, by its eigenvalues in the metric."""
    scale = 1.0 / np.sqrt(metric)
    h = scale[:, None] * (r + b.T @ value @ b) * scale
    found, vectors = np.linalg.eigh(h)
    vectors = scale[:, None] * vectors
    y = vectors.T @ (linear + b.T @ curved)
    solved = y / _pivots(found)[:, None]
    return found, vectors @ solved, y.T @ solved


def _wide(
    b: Array, r: Array, linear: Array, value: Array, curved: Array
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
    solved = y / _pivots(found)[:, None]
    whole = root.solve_transposed(right + p @ (vectors @ solved - inside))
    return found, whole, right.T @ right - inside.T @ inside + y.T @ solved


def _pivots(found: Array) -> Array:
    """Eigenvalues as they are divided by: none too close to 0."""
    sizes = np.maximum(np.abs(found), max(FLOOR * float(np.max(np.abs(found))), 1e-300))
    return np.copysign(sizes, found)


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


def linear_path(
    lq: LinearQuadratic, found: Sweep, borders: Borders | None = None
) -> tuple[Array, Array]:
    """(dv (K, m), dz (K + 1, n)): the solution along the linearised dynamics."""
    count, samples, units, m = lq.B.shape
    n = samples * units
    dz, dv = np.zeros((count + 1, n)), np.empty((count, m))
    for k in range(count):
        dv[k] = found.law[k] @ np.concatenate([dz[k], [1.0], found.ds])
        pushed = (lq.A[k] @ dz[k].reshape(samples, units, 1)).reshape(n)
        dz[k + 1] = pushed + lq.B[k].reshape(n, m) @ dv[k]
        if borders is not None:
            dz[k + 1] += borders.B[k].reshape(n, -1) @ found.ds
    return dv, dz
