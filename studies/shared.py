"""What studies share: steppers by name, observed orders above rounding, described variables, and
curves with their marks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from continuum import (
    L1,
    Affine,
    CrossEntropy,
    Interval,
    LearningProblem,
    NeuralODE2,
    Tikhonov,
    TimeMesh,
    identity,
)
from solvers import (
    LBFGS,
    RK4,
    Euler,
    Heun,
    ImplicitMidpoint,
    Nesterov,
    RadauIIA5,
    Status,
    minimize,
    observed_orders,
)
from solvers.steps.tableaux import Stepper

from .draw.figures import order_triangle

UNIT = Interval(0, 1)
STEPPERS: dict[str, Stepper] = {
    "Euler": Euler(),
    "Heun": Heun(),
    "RK4": RK4(),
    "implicit midpoint": ImplicitMidpoint(),
    "Radau IIA": RadauIIA5(),
}
ROUNDING = 1e-11
"""Errors below this carry rounding, and say nothing about orders."""


def last_order(sizes: Sequence[float] | np.ndarray, errors: Sequence[float] | np.ndarray) -> float:
    """The order observed between the last two sizes whose errors are above rounding, NaN if there
    are none.
    """
    pairs = [
        float(observed_orders([m, n], [d, e])[0])
        for (m, d), (n, e) in pairwise(zip(sizes, errors, strict=True))
        if min(d, e) > ROUNDING
    ]
    return pairs[-1] if pairs else float("nan")


def described(
    name: str, values: object, units: str, long_name: str, dims: Sequence[str] = ()
) -> xr.DataArray:
    """A variable with its units and what it is."""
    return xr.DataArray(
        values, dims=tuple(dims), name=name, attrs={"units": units, "long_name": long_name}
    )


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """The class of x is the largest entry of weight x + offset: what no network has.

    weight : (classes, N);  offset : (classes,)
    objective : what `linear_classifier` minimised;  status : how that ended
    """

    weight: np.ndarray
    offset: np.ndarray
    objective: float
    status: Status

    def classes(self, points: np.ndarray) -> np.ndarray:
        """The class of each point (N, M): (M,)."""
        return np.argmax(self.weight @ points + self.offset[:, None], axis=0)

    def accuracy(self, points: np.ndarray, labels: np.ndarray) -> float:
        """The share of points (N, M) with their label (M,)."""
        return float(np.mean(self.classes(points) == labels))


def linear_classifier(
    points: np.ndarray, labels: np.ndarray, strength: float, power: int = 2
) -> LinearClassifier:
    """The baseline of every study of classification: the minimum of the mean cross-entropy of
    weight x + offset, plus strength sum |weight|^power; it is convex.

    points : (N, M);  labels : (M,), 0, 1, ...;  power : 1 or 2
    raises ValueError for another power
    """
    if power not in (1, 2):
        raise ValueError(f"power must be 1 or 2, got {power}")
    # the state of a network whose blocks are fixed at zero stays where it is
    network = NeuralODE2(len(points), identity)
    problem = LearningProblem(
        network,
        points,
        labels,
        network.controls(TimeMesh(1.0, 1), fixed={"weight": 0.0, "bias": 0.0}),
        readout=Affine(int(np.max(labels)) + 1),
        terminal=CrossEntropy(),
        penalty=(L1 if power == 1 else Tikhonov)(strength, ["readout.W"]),
    )
    method = Nesterov(max_iterations=5000) if power == 1 else LBFGS(max_iterations=2000)
    found = minimize(problem, method, raise_on_failure=False)
    weight, offset = found.control["readout.W"], found.control["readout.mu"]
    return LinearClassifier(weight, offset, found.objective, found.status)


def doubled(coarsest: int, doublings: int) -> list[int]:
    """coarsest, 2 coarsest, ...: raises ValueError unless coarsest >= 2 and 1 <= doublings <=
    10.
    """
    if coarsest < 2 or not 1 <= doublings <= 10:
        raise ValueError(
            f"coarsest must be >= 2 and doublings from 1 to 10, got {coarsest} and {doublings}"
        )
    return [coarsest * 2**k for k in range(doublings + 1)]


def mark_curves(ax: Axes) -> bool:
    """A marker of its own for every labelled curve; False if there is none."""
    lines = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    for line, marker in zip(lines, cycle("osD^vP*X")):
        line.set_marker(marker)
        line.set_alpha(0.85)
    return bool(lines)


def legend_outside(ax: Axes) -> None:
    """Marked curves, and their legend beside the axes, where it hides none."""
    if mark_curves(ax):
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def order_triangles(ax: Axes, curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """A triangle for every whole order seen, under the lowest of the curves (sizes, errors) that
    have it.
    """
    lowest: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for x, y in curves:
        order = round(last_order(x, y))
        if order not in lowest or y[-1] < lowest[order][1][-1]:
            lowest[order] = (x, y)
    for order, (x, y) in lowest.items():
        order_triangle(ax, (float(x[-2]), float(x[-1])), float(y[-2]) / 1.8, order)
