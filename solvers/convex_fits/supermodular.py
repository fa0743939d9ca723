"""What one convex residual network cannot fit: how far a function is from those it can."""

from collections.abc import Sequence
from functools import reduce
from itertools import combinations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, hstack, kron, vstack

from continuum.arrays import Array
from continuum.checks import check_array
from continuum.doors import checked

UNKNOWNS = 20_000
"""The most values of a grid that `nearest_representable` takes."""


@checked
def supermodular_floor(values: Array) -> float:
    """A lower bound of sup |f - g| over supermodular g, from values of f on a grid: 0 if it sees
    none.

    g is supermodular if g(x v y) + g(x ^ y) >= g(x) + g(y), maxima and minima by coordinates. Where
    f misses this by delta on a rectangle of two coordinates, the four errors add up to delta at
    least, so one of them is at least delta / 4. The largest one over all rectangles of the grid is
    returned: each of them is a proof, a finer grid may give a larger one.

    values : (K_1, ..., K_n), n >= 2, of f on a product grid, increasing along every axis
    raises ValueError for fewer than two axes
    Source: the networks (7) of Nar and Sastry (2018) with V, W >= 0, c > 0 are supermodular,
    because what acts at x acts at larger points: d_j f does not decrease with any x_k.
    """
    given = _grid(values, 2)
    delta = 0.0
    for i, j in combinations(range(given.ndim), 2):
        f = np.moveaxis(given, (i, j), (0, 1))
        for k in range(len(f) - 1):
            rise = f[k + 1 :] - f[k]
            fall = np.maximum.accumulate(rise, axis=1) - rise
            delta = max(delta, float(fall.max()))
    return delta / 4


@checked
def nearest_representable(values: Array) -> tuple[float, Array]:
    """(least t, g): the least sup |f - g| on a uniform grid over values g that are nondecreasing,
    convex along every axis, and supermodular; and one such g.

    A network (7) has such values, so t bounds its error on the grid, and so on the box, from below;
    that it comes near t is not said: not all such values are those of a convex function. Found by
    linear programming (HiGHS), to its tolerance, about 1e-7 relative.

    values : (K_1, ..., K_n) of f, K_j >= 2, at most 2e4 of them
    raises ValueError for other sizes, RuntimeError if the linear programme is not solved
    """
    f = _grid(values, 1)
    if f.size > UNKNOWNS:
        raise ValueError(f"values must be at most {UNKNOWNS}, got {f.size}")
    shape, axes = np.shape(f), range(np.ndim(f))
    # with convexity, the first differences are all >= 0 if those at the low end are
    rows = [_along(shape, {j: _difference(shape[j])[:1]}) for j in axes]
    rows += [_along(shape, {j: _difference(shape[j], 2)}) for j in axes if shape[j] > 2]
    rows += [
        _along(shape, {i: _difference(shape[i]), j: _difference(shape[j])})
        for i, j in combinations(axes, 2)
    ]
    order, same, ones = csr_array(vstack(rows)), eye_array(f.size), np.ones((f.size, 1))
    count = order.indptr.size - 1
    nothing = csr_array((count, 1))
    left = csr_array(
        vstack([hstack([-order, nothing]), hstack([same, -ones]), hstack([-same, -ones])])
    )
    right = np.concatenate([np.zeros(count), f.ravel(), -f.ravel()])
    found = linprog(
        np.append(np.zeros(f.size), 1.0),
        A_ub=left,
        b_ub=right,
        bounds=[(None, None)] * f.size + [(0.0, None)],
        method="highs",
    )
    if found.status != 0:
        raise ValueError(f"values give a linear programme that was not solved: {found.message}")
    return float(found.fun), found.x[:-1].reshape(shape)


def _grid(values: Array, least: int) -> Array:
    """The values as an array of at least `least` axes of length >= 2."""
    given = np.asarray(values)
    if given.ndim < least or min(given.shape, default=0) < 2:
        raise ValueError(
            f"values must have at least {least} axes of length 2 or more, got {given.shape}"
        )
    return check_array("values", given, given.shape)


def _difference(size: int, order: int = 1) -> Array:
    """(size - order, size): differences of neighbours, repeated."""
    return np.diff(np.eye(size), order, axis=0)


def _along(shape: Sequence[int], maps: dict[int, Array]) -> csr_array:
    """These maps along their axes, and nothing along the others, as one matrix on flat values."""
    factors = [csr_array(maps.get(j, np.eye(size))) for j, size in enumerate(shape)]
    return csr_array(reduce(kron, factors))
