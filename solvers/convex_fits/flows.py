"""Maps as compositions of maps near the identity: Theorem 3 for flows and for convex gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.linalg import expm

from continuum.arrays import Array
from continuum.checks import check_array, check_call, check_count, check_number, check_positive
from continuum.doors import checked
from continuum.records import short

Map = Callable[[Array], Array]
BISECTIONS = 64
"""Halvings of an interval, after which its ends are 5e-20 of its length apart."""


@dataclass(frozen=True, eq=False)
class MapPath:
    """Invertible maps g_t, 0 <= t <= 1, from g_0 = identity to g_1 = h.

    forward : (t, x) -> g_t(x);  backward : (t, y) -> g_t^{-1}(y)
    """

    forward: Callable[[float, Array], Array]
    backward: Callable[[float, Array], Array]

    __repr__ = short


@checked
def linear_flow(generator: Array | float) -> MapPath:
    """g_t = exp(t A), on points (n, N): the flow of x' = A x; h(x) = e x is that of A = 1.

    |h_i - Id| of its L factors is |exp(A / L) - I|_2, for e x exactly e^(1/L) - 1.

    generator : A (n, n), or a number for n = 1
    """
    a = check_array("generator", np.atleast_2d(np.asarray(generator, dtype=float)), ("n", "n"))
    if len(a) != len(a.T):
        raise ValueError(f"generator must be square, got {a.shape}")
    return MapPath(lambda t, x: expm(t * a) @ x, lambda t, y: expm(-t * a) @ y)


@checked
def increasing_path(forward: Callable[[float, Array], Array], low: float, high: float) -> MapPath:
    """A path of maps that increase on [low, high], entry by entry; inverses by bisection, to
    rounding of the larger of |low| and |high|.

    raises ValueError unless low < high, and by `backward` for points outside the image of g_t
    """
    low, high = check_number("low", low), check_number("high", high)
    if not low < high:
        raise ValueError(f"low must be below high, got {low:g} and {high:g}")

    def backward(t: float, y: Array) -> Array:
        bottom, top = forward(t, np.array([low, high]))
        slack = 1e-12 * (top - bottom)
        if not np.all((y >= bottom - slack) & (y <= top + slack)):
            raise ValueError(f"y must lie in [{bottom:g}, {top:g}], the image of g_t")
        left, right = np.full(y.shape, low), np.full(y.shape, high)
        for _ in range(BISECTIONS):
            middle = 0.5 * (left + right)
            above = forward(t, middle) > y
            left, right = np.where(above, left, middle), np.where(above, middle, right)
        return 0.5 * (left + right)

    return MapPath(forward, backward)


@checked
def straight_path(h: Map, low: float, high: float) -> MapPath:
    """g_t(x) = (1 - t) x + t h(x) on [low, high], for h that increases there, entry by entry.

    It needs no flow of which h is the map of time 1.
    raises ValueError unless low < high and h(low) < h(high), see `increasing_path`
    """
    ends = np.array([low, high])
    found = check_array("h", check_call("h", h, ends), (2,))
    if not found[0] < found[1]:
        raise ValueError(f"h must increase on low < high, got {found} at {ends}")
    return increasing_path(lambda t, x: (1.0 - t) * x + t * h(x), low, high)


@checked
def flow_factors(path: MapPath, layers: int) -> tuple[Map, ...]:
    """h_1, ..., h_L with h_L o ... o h_1 = g_1 and h_i = g_{i/L} o g_{(i-1)/L}^{-1}.

    For the flow of x' = F(x) all factors are its map of time 1/L, and |h_i - Id| <= e^(|F|/L) - 1
    in Lipschitz seminorms. For straight paths see `straight_seminorms`.
    """
    layers = check_count("layers", layers)
    return tuple(partial(_factor, path, i / layers, (i + 1) / layers) for i in range(layers))


@checked
def straight_seminorms(least: float, most: float, layers: int) -> Array:
    """(L,): max over p = m, M of |p - 1| / (L (1 + s_i (p - 1))), s_i = (i - 1) / L.

    They bound |h_i - Id| in Lipschitz seminorms for g_t = (1 - t) Id + t h, where h is the gradient
    of f with m I <= D^2 f <= M I, m > 0, on a convex domain of any dimension; for n = 1 they are
    exact if h' attains m and M. So |h_i - Id| <= max(M - 1, 1/m - 1) / L, 1/L instead of log L / L,
    and D^2 f need not be Lipschitz.

    For x_1 - x_2 = d, h(x_1) - h(x_2) = H d with H, the mean of D^2 f on the segment, symmetric and
    m I <= H <= M I. Then h_i - Id changes by (H - I) d / L, where its argument changes by
    (I + s (H - I)) d: the two matrices commute, and (p - 1) / (1 + s (p - 1)) increases in p.

    least, most : m > 0, M >= m
    raises ValueError otherwise: with m = 0 the last factor is 1 from the identity for every L
    """
    least, most = check_positive("least", least), check_positive("most", most)
    if most < least:
        raise ValueError(f"most must be at least {least:g}, got {most:g}")
    layers = check_count("layers", layers)
    s = np.arange(layers) / layers
    low, high = ((p - 1.0) / (1.0 + s * (p - 1.0)) for p in (least, most))
    return np.maximum(np.abs(low), np.abs(high)) / layers


@checked
def factor_floor(least: float, most: float, layers: int) -> float:
    """max(M^(1/L) - 1, 1 - m^(1/L)): no L factors of h can all be nearer to the identity.

    Dh at a point is a product of L Jacobians. If it has a singular value M, the norm of one of them
    is at least M^(1/L); if it has m, one of them has a singular value of at most m^(1/L), and is
    1 - m^(1/L) or more from I. With m = 0 that is 1, for every L: x^4 / 4 at 0.

    least, most : m >= 0, M, singular values that Dh has at some points
    """
    least, most = check_number("least", least), check_positive("most", most)
    if not 0 <= least <= most:
        raise ValueError(f"least must be in [0, {most:g}], got {least:g}")
    power = 1.0 / check_count("layers", layers)
    return max(most**power - 1.0, 1.0 - least**power)


def _factor(path: MapPath, start: float, end: float, y: Array) -> Array:
    """g_end(g_start^{-1}(y))."""
    return path.forward(end, path.backward(start, y))
