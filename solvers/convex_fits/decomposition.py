"""Functions as differences of two that convex residual networks can represent."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_array, check_number, check_positive, check_type
from continuum.doors import checked
from continuum.records import short

from ..theory.hypotheses import Hypothesis


@checked
@dataclass(frozen=True)
class HessianBounds:
    """D^2 f >= curvature I and d_i d_j f >= mixed for i != j, on a box.

    curvature, mixed : the largest such numbers, for `convex_hypotheses`, whose "no" rests on them;
        for `decomposition` smaller ones will do. mixed is inf for n = 1
    sampled : True if these are the least values at some points, which bound nothing in between
    """

    curvature: float
    mixed: float
    sampled: bool = False

    def __post_init__(self) -> None:
        check_number("curvature", self.curvature)
        if not self.mixed > -np.inf:
            raise ValueError(f"mixed must be a number or inf, got {self.mixed!r}")


@checked
def sampled_bounds(hessians: Array) -> HessianBounds:
    """The least eigenvalue and the least mixed derivative among Hessians (N, n, n) at N points."""
    given = check_array("hessians", hessians, ("N", "n", "n"))
    scale = np.abs(given).max()
    if not np.allclose(given, np.swapaxes(given, 1, 2), rtol=0.0, atol=1e-10 * scale):
        raise ValueError("hessians must be symmetric")
    units = given.shape[1]
    mixed = given[:, ~np.eye(units, dtype=bool)]
    return HessianBounds(
        float(np.linalg.eigvalsh(given).min()), float(np.min(mixed, initial=np.inf)), sampled=True
    )


@checked
def convex_hypotheses(gradient: Array, bounds: HessianBounds) -> tuple[Hypothesis, ...]:
    """What the paper's way to one convex residual network for f asks of f, in three hypotheses.

    The networks (7) are convex, supermodular and increase in every x_j, so f has to. "C^2 and
    strictly convex", as the paper says, is not enough: (x - y)^2 + 3 (x + y) is not supermodular,
    and x^4 / 4 has no m > 0, so that the inverse of its gradient is not Lipschitz, as Theorem 3
    needs it to be. m > 0 is a hypothesis of that theorem alone: a linear f is a network.

    gradient : of f at 0 (n,);  bounds : those that were sampled decide against a hypothesis, never
        for it
    """
    d = check_array("gradient", gradient, ("n",))
    _check_bounds(bounds, len(d))

    def verdict(name: str, holds: bool, number: float, phrase: str) -> Hypothesis:
        if bounds.sampled:
            phrase = f"{phrase}, sampled"
        answer = "no" if not holds else "undecided" if bounds.sampled else "yes"
        return Hypothesis(name, answer, number, phrase)

    least = float(d.min())
    return (
        verdict("D^2 f >= m I, m > 0", bounds.curvature > 0, bounds.curvature, "m"),
        verdict("f supermodular", bounds.mixed >= 0, bounds.mixed, "min d_i d_j f"),
        Hypothesis("d_j f(0) > 0", "yes" if least > 0 else "no", least, "min_j d_j f(0)"),
    )


@dataclass(frozen=True, eq=False)
class Decomposition:
    """f = r - s,   s(x) = alpha/2 |x|^2 + alpha'/2 (1^T x)^2 + beta^T x,   r = f + s.

    f : (n, N) -> (N,);  alpha, mixed (alpha') : numbers;  beta : (n,)
    bounds : of the Hessian of f, from which they were chosen or checked
    Made by `decomposition`.
    """

    f: Callable[[Array], Array]
    alpha: float
    mixed: float
    beta: Array
    bounds: HessianBounds

    __repr__ = short

    def s(self, x: Array) -> Array:
        """(N,) at points x (n, N)."""
        x = check_array("x", x, (len(self.beta), "N"))
        squares = self.alpha * np.sum(x * x, axis=0) + self.mixed * np.sum(x, axis=0) ** 2
        return 0.5 * squares + self.beta @ x

    def r(self, x: Array) -> Array:
        """(N,) at points x (n, N)."""
        return self.f(x) + self.s(x)


@checked
def decomposition(
    f: Callable[[Array], Array],
    gradient: Array,
    bounds: HessianBounds,
    *,
    margin: float = 1e-3,
    alpha: float | None = None,
    mixed: float | None = None,
    beta: Array | None = None,
) -> Decomposition:
    """f = r - s on [0, M_1] x ... x [0, M_n], both strictly convex, increasing and supermodular.

    D^2 r = D^2 f + alpha I + alpha' 1 1^T, so this holds if alpha > 0 and alpha > -curvature,
    alpha' >= 0 and alpha' >= -mixed, beta_j > 0 and beta_j > -d_j f(0): gradients are positive at 0
    and do not decrease. The paper has alpha' = 0, with which r is no better than f where f is not
    supermodular, and asks beta > 0 alone.

    f : (n, N) -> (N,);  gradient : of f at 0 (n,);  bounds : of its Hessian on the box
    margin : > 0; D^2 r, D^2 s >= margin I and d_j r(0), d_j s(0) >= margin for the numbers that are
        chosen here
    alpha, mixed (alpha'), beta : None for numbers with this margin in both parts
    raises ValueError for numbers with which a hypothesis is not shown, by its name, and for n > 1
        with bounds.mixed = inf
    With bounds that were sampled, so are these statements.
    Source: Nar and Sastry (2018), section 3.1, corrected.
    """
    d = check_array("gradient", gradient, ("n",))
    _check_bounds(bounds, len(d))
    margin = check_positive("margin", margin)
    if alpha is None:
        alpha = margin + max(0.0, -bounds.curvature)
    if mixed is None:
        mixed = max(0.0, -bounds.mixed)
    if beta is None:
        beta = margin + np.maximum(0.0, -d)
    alpha, mixed = check_number("alpha", alpha), check_number("mixed", mixed)
    beta = check_array("beta", beta, d.shape)
    if not alpha > max(0.0, -bounds.curvature):
        raise ValueError(
            f"convexity is not shown: alpha must be above {max(0.0, -bounds.curvature):g}, from "
            f"D^2 f >= {bounds.curvature:g} I, got {alpha:g}"
        )
    if not mixed >= max(0.0, -bounds.mixed):
        raise ValueError(
            f"supermodularity is not shown: mixed must be at least {max(0.0, -bounds.mixed):g}, "
            f"from d_i d_j f >= {bounds.mixed:g}, got {mixed:g}"
        )
    low = np.maximum(0.0, -d)
    if np.any(beta <= low):
        j = int(np.argmax(low - beta))
        raise ValueError(
            f"r or s does not increase at 0: beta[{j}] must be above {low[j]:g}, d_{j} f(0) is "
            f"{d[j]:g}, got {beta[j]:g}"
        )
    return Decomposition(f, alpha, mixed, beta, bounds)


def _check_bounds(bounds: HessianBounds, units: int) -> None:
    """Whether bounds of mixed derivatives are there if f has any."""
    if check_type("bounds", bounds, HessianBounds).mixed == np.inf and units > 1:
        raise ValueError(f"bounds.mixed must be a number for n = {units}, inf is for n = 1")
