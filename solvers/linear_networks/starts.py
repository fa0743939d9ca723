"""Where the descent of a deep linear network begins."""

from typing import Literal, get_args

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count, check_name, check_rng
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem

from .factorisations import balanced_factors, orthogonal
from .problems import as_control, linear_parts, target_and_covariance

Kind = Literal["identity", "signs", "unitary", "balanced"]


@checked
def linear_start(
    problem: LearningProblem,
    kind: Kind = "identity",
    *,
    negative: int | None = None,
    rng: np.random.Generator | None = None,
) -> Control:
    """The control of a problem of `deep_linear` with these factors:

    "identity"   W_i = I
    "signs"      the first `negative` factors -I, one unless said otherwise, the others I; an odd
                 number of them is the start of Proposition 2 for a negative scalar
    "unitary"    independent orthogonal matrices, uniformly distributed in O(n); if `negative` is
                 given, each of determinant 1 but the first `negative`, of determinant -1
    "balanced"   the balanced factors of R itself (of the least-squares solution, where the targets
                 are no linear function of the inputs): J has its least value there and, for Sigma =
                 I, the least sharpness

    From all of these W_(i+1)^T W_(i+1) = W_i W_i^T throughout the gradient flow.  For L >= 2 the
    product of a single network then keeps the sign of its determinant, and reaches no invertible R
    of the other sign.  From orthogonal factors Q_i, descent and flow are those from the identity
    for the target (Q_L ... Q_1)^T R, turned: W_i = P_i V_i P_(i-1)^T, P_i = Q_i ... Q_1.  So an odd
    number of -I does for R what the identity does for -R.

    Both parts of a double network have the same factors, so that its output starts at 0; for
    "balanced" they are those of R / 2 and of -R / 2, whose sharpness 2 L |R/2|_2^(2 (L - 1) / L) is
    the least that a double network with output R has (Sigma = I).
    negative : 0, ..., L
    rng : of "unitary"; the Generator of seed 0 if None
    raises ValueError for another kind, negative out of its range or with a kind that has no signs;
        TypeError for a problem that is not one of `deep_linear`
    Source: Nar and Sastry (2018), Proposition 2 and what follows it.
    """
    check_name("kind", kind, get_args(Kind))
    parts, layers = linear_parts(problem), problem.mesh.layers
    units = len(problem.initial) // len(parts)
    if negative is not None:
        negative = check_count("negative", negative, least=0)
        if kind not in ("signs", "unitary"):
            raise ValueError(f"negative is for the kinds 'signs' and 'unitary', not {kind!r}")
        if negative > layers:
            raise ValueError(f"negative must be at most the {layers} layers, got {negative}")
    if kind == "balanced":
        target = target_and_covariance(problem)[0] / len(parts)
        ends = [target, -target][: len(parts)]
        return as_control(problem, *[balanced_factors(r, layers) for r in ends])
    if kind == "unitary":
        stack = _unitary(units, layers, negative, check_rng("rng", rng))
    else:
        stack = np.tile(np.eye(units), (layers, 1, 1))
        if kind == "signs":
            stack[: 1 if negative is None else negative] *= -1.0
    return as_control(problem, *[stack] * len(parts))


def _unitary(units: int, layers: int, negative: int | None, rng: np.random.Generator) -> Array:
    stack = np.stack([orthogonal(units, rng) for _ in range(layers)])
    if negative is not None:
        wanted = np.where(np.arange(layers) < negative, -1.0, 1.0)
        stack[:, :, 0] *= (wanted * np.sign(np.linalg.det(stack)))[:, None]
    return stack
