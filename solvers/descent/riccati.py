"""The quadratic model of a discrete control problem, minimised by one sweep backwards.

Over dv_k in R^m and dz_{k+1} = A_k dz_k + B_k dv_k, dz_0 = 0,

    sum_k q_k.dz_k + r_k.dv_k + 1/2 (dz_k' Q_k dz_k + 2 dz_k' S_k dv_k + dv_k' (R_k + s G_k) dv_k),

s a shift and G_k = diag(metric_k) the product of the control space on layer k.  With the cost to go
V_k, p_k (its second and first derivatives in dz_k), from V_K = Q_K and p_K = q_K,

    H = R + s G + B' V B,   F = S' + B' V A,   h = r + B' p        (V, p those of k + 1)
    dv_k = -H^-1 (h + F dz_k),   V_k = Q + A' V A - F' H^-1 F,   p_k = q + A' p - F' H^-1 h.

The elimination of dv_{K-1}, ..., dv_0 is a congruence of the reduced Hessian with the block
diagonal of all H_k (and T), so their numbers of negative eigenvalues add up to its own (Sylvester),
at any shift at which none is singular.

Coefficients s in R^p that all layers share (`Borders`: b_k ds in the dynamics, and their part of
the costs) are met by p further right-hand sides: with Pi_k the mixed second derivative of the cost
to go in dz_k and ds, and T, t those in ds alone,

    h = r + B' p + (R_s + B' (Pi + V b)) ds,   Pi_k = S_s + A' (Pi + V b) - F' H^-1 h_s,
    T_k = T + b' V b + b' Pi + Pi' b - h_s' H^-1 h_s,   t_k = t + b' p - h_s' H^-1 h_0,

and at the start ds = -(T + s G)^-1 t: a Schur complement of size p.

With m controls and n = N M states of a layer: where m <= n, H is factorised as it stands.  Where
m > n and R + s G = L L' is positive definite, X = L^-1 B' = P U with P of n orthonormal columns
and U (n, n) gives

    H = L (1 + X V X') L',   H^-1 = L'^-1 (1 - P P' + P (1 + U V U')^-1 P') L^-1,

so that only the (n, n) matrix 1 + U V U' depends on V, and its negative eigenvalues are as many as
those of H.  R + s G is factorised block by block (`roots.py`).
Sources: Bryson and Ho, Applied Optimal Control, section 6.3; Dunn and Bertsekas, J. Optim. Theory
Appl. 63 (1989); Wright, SIAM J. Sci. Comput. 14 (1993).
"""

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
import scipy

from continuum.arrays import Array

from ..adjoint.linear_quadratic import Borders, LinearQuadratic
from .riccati_loops import Work, backward
from .roots import Root, groups

FLOOR = 1e-13
"""Eigenvalues of H nearer to 0 than this share of the largest are moved there, to keep finite."""


Pivots = Literal["keep", "lift", "end"]
MODES = ("keep", "lift", "end")


@dataclass(frozen=True, eq=False)
class Sweep:
    """What one sweep leaves.  n = N M states of a layer, samples first.

    law : (K, m, n + 1 + p), dv_k = law_k (dz_k, 1, ds)
    ds : (p,), the static part of the solution
    predicted : by how much the model, with the shift, is lower at its stationary point than at 0
    negatives : (K,), how many eigenvalues of H_k are negative
    least : (K,), the least eigenvalue of H_k in the metric where H_k is not positive definite
        (that of 1 + U V U' where that was factorised; -infinity where it was not computed),
        infinite elsewhere
    worst : (K, m), where H_k is not positive definite a direction of u_k along which H_k has the
        curvature least_k, 1 long in the metric (where 1 + U V U' was factorised, in R + s G)
    ended : the layer whose H_k is not positive definite and at which the sweep was told to end, K
        if that was T; -1 if it was made to the end
    static, static_worst : (p,), the eigenvalues of T in the metric, increasing, and the direction
        of the least
    """

    law: Array
    ds: Array
    predicted: float
    negatives: Array
    least: Array
    worst: Array
    ended: int
    static: Array = field(default_factory=lambda: np.empty(0))
    static_worst: Array = field(default_factory=lambda: np.empty(0))

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
    pivots: Pivots = "keep",
) -> Sweep:
    """The stationary point of the model.

    metric : K m + p positive numbers, the weights of the coefficients in the product of their space
    pivots : what is done where an H_k, or T, is not positive definite: "keep" takes it as it is,
        "lift" replaces its negative eigenvalues, in the metric, by their absolute values, so that
        the step is a direction of descent, "end" ends the sweep there
    raises FloatingPointError if a number is infinite or NaN
    """
    count, samples, units, m = lq.B.shape
    n, p = samples * units, 0 if borders is None else len(borders.r)
    if m > n:
        return in_python(lq, metric, shift, borders, pivots=pivots)
    b, s, q = lq.B.reshape(count, n, m), lq.S.reshape(count, n, m), lq.q.reshape(count + 1, n)
    around = (np.empty((count, n, 0)), np.empty((count + 1, n, 0)), np.empty((count, m, 0)))
    if borders is not None:
        around = (
            borders.B.reshape(count, n, p),
            borders.S.reshape(count + 1, n, p),
            borders.R,
        )
    law, worst = np.empty((count, m, n + 1 + p)), np.empty((count, m))
    least, negatives = np.empty(count), np.zeros(count, dtype=np.int64)
    slopes, bend = np.empty((1 + p, n)), np.empty((p, 1 + p))
    try:
        predicted, ended = backward(
            (lq.A, b, lq.Q, s, lq.R, q, lq.r),
            around,
            metric.reshape(-1)[: count * m].reshape(count, m),
            shift,
            MODES.index(pivots),
            FLOOR,
            (law, least, negatives, worst, slopes, bend),
            Work.of(units, n, m, p),
        )
    except np.linalg.LinAlgError as error:
        raise FloatingPointError(str(error)) from error
    found = Sweep(law, np.zeros(p), predicted, negatives, least, worst, ended)
    return _with_static(found, bend, borders, metric, shift, pivots)


def _with_static(
    found: Sweep,
    bend: Array,
    borders: Borders | None,
    metric: Array,
    shift: float,
    pivots: Pivots,
) -> Sweep:
    """The static coefficients, from (T, t) at the start as bend (p, 1 + p) = (t, T)."""
    if not np.isfinite(found.predicted):
        raise FloatingPointError("the sweep met numbers that are infinite or NaN")
    if borders is None or found.ended >= 0:
        return found
    p = len(borders.r)
    scale = 1.0 / np.sqrt(metric.reshape(-1)[-p:])
    whole, slope = 0.5 * (bend[:, 1:] + bend[:, 1:].T) + borders.P, bend[:, 0] + borders.r
    values, vectors = np.linalg.eigh(scale[:, None] * whole * scale + shift * np.eye(p))
    y = vectors.T @ (scale * slope)
    solved = y / _lifted(values, pivots)
    ended = len(found.law) if pivots == "end" and values[0] <= 0.0 else -1
    return replace(
        found,
        ds=-scale * (vectors @ solved),
        predicted=found.predicted + 0.5 * float(y @ solved),
        static=values,
        static_worst=scale * vectors[:, 0],
        ended=ended,
    )


def in_python(
    lq: LinearQuadratic,
    metric: Array,
    shift: float = 0.0,
    borders: Borders | None = None,
    *,
    pivots: Pivots = "keep",
) -> Sweep:
    """The same by NumPy, layer by layer: the reference, and the way where m > n."""
    count, samples, units, m = lq.B.shape
    n, p = samples * units, 0 if borders is None else len(borders.r)
    weights = metric.reshape(-1)[: count * m].reshape(count, m)
    law, bend, worst = np.empty((count, m, n + 1 + p)), np.zeros((p, 1 + p)), np.zeros((count, m))
    least, negatives = np.full(count, np.inf), np.zeros(count, dtype=np.int64)
    value = np.asarray(scipy.linalg.block_diag(*lq.Q[count]))
    slopes = lq.q[count].reshape(n, 1)
    if borders is not None:
        slopes = np.column_stack([slopes, borders.S[count].reshape(n, p)])
    predicted, ended = 0.0, -1
    blocks = groups(lq.R) if m > n else []
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
        root = Root.of(r, blocks) if m > n else None
        stage = root and _wide(b, root, linear, value, curved, pivots)
        found, solved, product, direction = stage or _narrow(
            b, r, linear, value, curved, pivots, weights[k]
        )
        if found[0] <= 0.0:
            least[k], negatives[k], worst[k] = found[0], np.sum(found < 0.0), direction
            if pivots == "end":
                ended = k
                break
        law[k] = -solved
        predicted += 0.5 * product[n, n]
        bend -= product[n + 1 :, n:]
        slopes = own + _pulled(lq.A[k], slopes) - product[:n, n:]
        value = _pulled(lq.A[k], pulled.T) - product[:n, :n]
        value += scipy.linalg.block_diag(*lq.Q[k])
        value = 0.5 * (value + value.T)
    result = Sweep(law, np.zeros(p), float(predicted), negatives, least, worst, ended)
    return _with_static(result, bend, borders, metric, shift, pivots)


Stage: TypeAlias = tuple[Array, Array, Array, Array]
"""(eigenvalues, increasing; H^-1 (F, h); (F, h)' H^-1 (F, h); the direction of the least) of one
layer.
"""


def _narrow(
    b: Array, r: Array, linear: Array, value: Array, curved: Array, pivots: Pivots, metric: Array
) -> Stage:
    """H (m, m) factorised as it stands, by its eigenvalues in the metric; to "end" where it is not
    positive definite, by Cholesky, which does not give them.
    """
    scale = 1.0 / np.sqrt(metric)
    h, right = r + b.T @ value @ b, linear + b.T @ curved
    if pivots == "end":
        try:
            factor = scipy.linalg.cho_factor(h, lower=True)
        except np.linalg.LinAlgError:
            return np.array([-np.inf]), right, right, np.zeros_like(scale)
        solved = scipy.linalg.cho_solve(factor, right)
        return np.array([np.inf]), solved, right.T @ solved, np.zeros_like(scale)
    found, vectors = np.linalg.eigh(scale[:, None] * h * scale)
    vectors = scale[:, None] * vectors
    y = vectors.T @ right
    solved = y / _lifted(found, pivots)[:, None]
    return found, vectors @ solved, y.T @ solved, vectors[:, 0]


def _wide(
    b: Array, root: Root, linear: Array, value: Array, curved: Array, pivots: Pivots
) -> Stage:
    """By 1 + U V U' (n, n), for R + s G = L L'."""
    p, u = np.linalg.qr(root.solve(b.T))
    right = root.solve(linear)
    inside = p.T @ right
    found, vectors = np.linalg.eigh(np.eye(len(u)) + u @ value @ u.T)
    y = vectors.T @ (inside + u @ curved)
    solved = y / _lifted(found, pivots)[:, None]
    whole = root.solve(right + p @ (vectors @ solved - inside), transposed=True)
    product = right.T @ right - inside.T @ inside + y.T @ solved
    return found, whole, product, root.solve(p @ vectors[:, :1], transposed=True)[:, 0]


def _lifted(found: Array, pivots: Pivots) -> Array:
    """Eigenvalues as they are divided by: none too close to 0."""
    sizes = np.maximum(np.abs(found), max(FLOOR * float(np.max(np.abs(found))), 1e-300))
    return sizes if pivots == "lift" else np.copysign(sizes, found)


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


def negative_curvature(
    lq: LinearQuadratic, found: Sweep, metric: Array, borders: Borders | None = None
) -> tuple[Array, Array, float] | None:
    """(law, ds, curvature): with this law the path is a direction of length 1 in the metric, along
    which the quadratic part of the model, shift included, has this negative curvature; None if no
    pivot is negative.

    A change of dv_k along an eigenvector of H_k, followed by the law on all later layers, has the
    curvature of H_k; of all these directions it is the one of least curvature.

    found : of `sweep` with pivots="keep"
    """
    layers, n = len(found.law), lq.B.shape[1] * lq.B.shape[2]
    weights, best = metric.reshape(-1), None
    tried = [(int(k), float(found.least[k])) for k in np.flatnonzero(found.negatives)]
    if len(found.static) and found.static[0] < 0.0:
        tried.append((layers, float(found.static[0])))
    for k, curvature in tried:
        law, ds = found.law.copy(), np.zeros_like(found.ds)
        law[:, :, n] = 0.0
        if k < layers:
            law[k, :, n] = found.worst[k]
        else:
            ds = found.static_worst
        dv = linear_path(lq, replace(found, law=law, ds=ds), borders)[0]
        step = np.append(dv.reshape(-1), ds)
        square = float(np.sum(weights * step * step))
        if best is None or curvature / square < best[2]:
            law[:, :, n] /= square**0.5
            best = law, ds / square**0.5, curvature / square
    return best
