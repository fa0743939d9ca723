"""The data of Figure 4, and what continuous piecewise affine functions with few kinks reach on
them.
"""

from itertools import combinations

import numpy as np
from scipy.optimize import minimize

KNOTS = np.array([0.0, 0.3, 0.5, 0.7, 1.0])
HEIGHTS = np.array([0.0, 0.3, -0.1, 0.1, -0.2])


def figure_4(points: int = 201) -> tuple[np.ndarray, np.ndarray]:
    """x and f(x) (points,), f with the slopes 1, -2, 1, -1 of the paper and f(0) = 0; the paper
    does not state the points.
    """
    x = np.linspace(0.0, 1.0, points)
    return x, np.interp(x, KNOTS, HEIGHTS)


def projected_rmse(x: np.ndarray, y: np.ndarray, kinks: np.ndarray, origin: bool = False) -> float:
    """The least (mean of (g - y)^2)^(1/2) over the g that are continuous, affine between the kinks,
    and 0 at 0 if `origin`: a linear least-squares problem.
    """
    columns = [x, *(np.maximum(x - t, 0.0) for t in kinks)]
    basis = np.column_stack(columns if origin else [np.ones_like(x), *columns])
    found = np.linalg.lstsq(basis, y, rcond=None)[0]
    return float(np.sqrt(np.mean((basis @ found - y) ** 2)))


def plateaus(
    x: np.ndarray, y: np.ndarray, kinks: int, starts: int = 9, origin: bool = False
) -> list[tuple[float, np.ndarray]]:
    """The local minima of `projected_rmse` over the positions of the kinks in (0, 1): RMSE and
    positions, the lowest first, each RMSE once to 1e-7.

    Nelder and Mead's method from all choices of kinks among `starts` points; what it does not find
    is missing.  Minima where two kinks meet or one leaves (0, 1) belong to fewer kinks, and are
    left out.
    """
    if kinks == 0:
        return [(projected_rmse(x, y, np.zeros(0), origin), np.zeros(0))]
    found: list[tuple[float, np.ndarray]] = []
    fewest = projected_rmse(x, y, np.zeros(0), origin)
    for start in combinations(np.linspace(0.0, 1.0, starts + 2)[1:-1], kinks):
        simplex = np.array(start) + np.vstack([np.zeros(kinks), 0.04 * np.eye(kinks)])
        end = minimize(
            lambda t: projected_rmse(x, y, t, origin) if np.all((t > 0) & (t < 1)) else fewest,
            simplex[0],
            method="Nelder-Mead",
            options={"initial_simplex": simplex, "xatol": 1e-9, "fatol": 1e-13, "maxiter": 1000},
        )
        t = np.sort(end.x)
        inside = x[1] < t[0] and t[-1] < x[-2] and np.all(np.diff(t) > 2 * (x[1] - x[0]))
        if inside and all(abs(end.fun - value) > 1e-7 for value, _ in found):
            found.append((float(end.fun), t))
    return sorted(found, key=lambda pair: pair[0])
