"""What holds along the training of a deep linear network, whatever its target and covariance."""

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_number
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem

from .problems import linear_parts, matrices, target_and_covariance, weighted_points


@checked
def conserved(problem: LearningProblem, control: Control) -> Array:
    """W_(i+1)^T W_(i+1) - W_i W_i^T,   i = 1, ..., L - 1:  constant along the gradient flow.

    Of any differentiable loss of the product P, with derivative G in P, the derivative in W_i is
    A_i^T G B_i^T, A_i = W_L ... W_(i+1), B_i = W_(i-1) ... W_1, so that W_(i+1)^T times the one in
    W_(i+1) is the one in W_i times W_i^T.  A step of length s along the negative gradients D_i adds
    s^2 (D_(i+1)^T D_(i+1) - D_i D_i^T), exactly.
    returns (L - 1, n, n); (2, L - 1, n, n) of a double network, of w first
    raises TypeError for a problem that is not one of `deep_linear`, or has a penalty or other costs
        besides; ValueError for a control of another space
    """
    parts = linear_parts(problem)
    weighted_points(problem)  # no other costs
    control = problem.space.check("control", control)
    found = []
    for part in parts:
        w = matrices(control, part)
        turned = w.transpose(0, 2, 1)
        found.append(turned[1:] @ w[1:] - w[:-1] @ turned[:-1])
    return found[0] if len(found) == 1 else np.stack(found)


@checked
def gradient_bound(problem: LearningProblem, radius: float) -> float:
    """c = 2 k L (1 - radius)^(2 (L - 1)) s_min(Sigma), such that

        |grad J|^2 >= c (J - min J)   where |W_i - I|_2 <= radius for all factors,

    k = 1, or 2 for a double network, all of whose 2 L factors are in the ball.  Since s_min(W_i) >=
    1 - radius there, each derivative A_i^T G B_i^T, G = (P - R) Sigma, is at least (1 - radius)^(L
    - 1) |G|_F, and |G|_F^2 >= s_min(Sigma) 2 (J - min J).  For c > 0 stationary points in the ball
    are global minima, and the flow converges with e^(-c t) for as long as it stays there; that it
    does is not said.  It is attained where all W_i = (1 - radius) I and Sigma is a multiple of I.

    radius : in [0, 1); for 1 or more the ball has W_i = 0 in it, for L >= 2 a stationary point
    raises ValueError for another radius, TypeError for a problem that is not one of `deep_linear`
        or has a penalty or other costs besides
    Source: Hardt and Ma, Identity matters in deep learning, 2016, Theorem 2.2, whose loss has no
        factor 1/2.
    """
    parts, radius = linear_parts(problem), check_number("radius", radius)
    if not 0.0 <= radius < 1.0:
        raise ValueError(f"radius must be in [0, 1), got {radius:g}")
    layers, sigma = problem.mesh.layers, target_and_covariance(problem)[1]
    least = max(0.0, float(np.linalg.eigvalsh(sigma)[0]))
    return 2.0 * len(parts) * layers * (1.0 - radius) ** (2 * (layers - 1)) * least
