"""House values in Boston by one convex residual network and by a difference of two."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.optimize import nnls
from threadpoolctl import threadpool_limits

from continuum.checks import check_count
from continuum.convex_networks import ConvexDifference, ConvexNetwork
from solvers import LBFGS, minimize
from solvers.convex_fits import convex_problem, convex_start

from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import boston_housing, held_out, min_max_scaled
from ..draw.figures import BLUE, GREEN, ORANGE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER

ROOMS = "rm"
INPUTS = ("rooms", "all columns")
MODELS = ("linear", "convex", "convex, turned", "difference")
COLORS = (ORANGE, BLUE, GREEN, VERMILION)
SETS = ("training", "test")
GRID = np.linspace(0.0, 1.0, 201)

Function = ConvexNetwork | ConvexDifference


def fitted(
    x: np.ndarray,
    y: np.ndarray,
    layers: int,
    hidden: int,
    *,
    difference: bool,
    starts: int,
    iterations: int,
    seed: int,
) -> tuple[Function, float]:
    """The lowest of several descents of the mean of (f(x) - y)^2 / 2 by LBFGS in the set, and the
    norm of its projected gradient.

    x : (n, N) in [0, 1]; y : (N,)
    f = r + d, or r - s + d with `difference`; f is looked at on [0, 1]^n
    """
    problem = convex_problem(x, y, layers, hidden=hidden, difference=difference)
    rng, method = np.random.default_rng(seed), LBFGS(max_iterations=iterations)
    found = [
        minimize(problem, method, initial=convex_start(problem, rng), raise_on_failure=False)
        for _ in range(check_count("starts", starts))
    ]
    best = min(found, key=lambda one: one.objective)
    kind = ConvexDifference if difference else ConvexNetwork
    function = kind.from_control(problem.network, best.control, domain=(0.0, 1.0))
    return function, float(best.history["gradient_norm"][-1])


def convex_floor(x: np.ndarray, y: np.ndarray) -> float:
    """The least root mean square of f(x) - y over all convex, nondecreasing f on the line.

    Every such f is, at the data, a + sum_k w_k (x - t_k)_+ with w >= 0 and knots t_k at the
    smallest of them and those between; a is free.
    x, y : (N,)
    """
    knots = np.unique(x)[:-1]
    bends = np.maximum(x[:, None] - knots, 0.0)
    free = np.stack([np.ones_like(x), -np.ones_like(x)], axis=1)
    return float(nnls(np.hstack([free, bends]), y)[1]) / np.sqrt(len(x))


def turned(x: np.ndarray, by: np.ndarray) -> np.ndarray:
    """(n, N): 1 - x in the rows where `by` (n,) is negative, x in the others."""
    return np.where(by[:, None] < 0.0, 1.0 - x, x)


@study(
    "nar_sastry/boston_convex",
    paper=PAPER,
    figure="section 3.1, on data",
    cases=[{"seed": [0, 1, 2]}],
)
def boston_convex(
    layers: int = 5,
    hidden: int = 4,
    iterations: int = 300,
    starts: int = 2,
    seed: int = 0,
) -> xr.Dataset:
    """What does the difference of two convex residual networks gain over one, on house values?

    404 tracts of Boston for the training, 102 for the test, inputs and values scaled to [0, 1] by
    the training.  f = r + d is convex and nondecreasing in every input; "convex, turned" is the
    same after x_j becomes 1 - x_j wherever the covariance of x_j and y is negative; the difference
    is r - s + d.  Each is the lowest of `starts` descents by LBFGS in the set of its weights.  The
    linear function is that of least squares.

    rmse: root mean squares, in 1000 $; lipschitz: on [0, 1]^n, 1000 $ per range of an input, exact
    for one column and for convex functions, else an upper bound; floor: of the training on rooms,
    over all convex, nondecreasing functions; curve: the fits on rooms.
    raises DataError, which says what to do, if the data cannot be had
    """
    houses = boston_housing()
    train, test = held_out(len(houses.labels), seed)
    inputs = min_max_scaled(houses.inputs, houses.inputs[train]).T
    values = min_max_scaled(houses.labels, houses.labels[train])
    unit = float(np.ptp(houses.labels[train]))
    shift = float(np.min(houses.labels[train]))
    rooms = houses.columns.index(ROOMS)
    shape = (len(INPUTS), len(MODELS))
    rmse, lipschitz, slack = np.zeros((*shape, 2)), np.zeros(shape), np.zeros(shape)
    curve, pieces = np.zeros((len(MODELS), len(GRID))), np.zeros(len(MODELS), dtype=int)
    with threadpool_limits(limits=1):
        for i, rows in enumerate(([rooms], range(len(inputs)))):
            x, y = inputs[list(rows)], values[train]
            by = np.array([np.cov(row, y)[0, 1] for row in x[:, train]])
            design = np.vstack([x, np.ones(x.shape[1])]).T
            solution = np.linalg.lstsq(design[train], y, rcond=None)[0]
            predicted = {"linear": design @ solution}
            lipschitz[i, 0] = np.linalg.norm(solution[:-1])
            curve[0] = GRID * solution[0] + solution[-1] if i == 0 else curve[0]
            for k, model in enumerate(MODELS[1:], start=1):
                points = turned(x, by) if model == "convex, turned" else x
                function, slack[i, k] = fitted(
                    points[:, train],
                    y,
                    layers,
                    hidden,
                    difference=model == "difference",
                    starts=starts,
                    iterations=iterations,
                    seed=seed,
                )
                predicted[model], lipschitz[i, k] = function.value(points), function.lipschitz
                if i == 0:
                    curve[k], pieces[k] = function.value(GRID), len(function.slopes)
            for k, model in enumerate(MODELS):
                error = predicted[model] - values
                rmse[i, k] = [np.sqrt(np.mean(error[part] ** 2)) for part in (train, test)]
    floor = convex_floor(inputs[rooms, train], values[train])
    pairs = ("inputs", "model")
    return xr.Dataset(
        {
            "rmse": described("rmse", unit * rmse, "1000 $", "RMSE", (*pairs, "set")),
            "lipschitz": described("lipschitz", unit * lipschitz, "1000 $", "Lipschitz", pairs),
            "floor": described("floor", unit * floor, "1000 $", "least RMSE of a convex f"),
            "slack": described("slack", slack, "1", "norm of the projected gradient", pairs),
            "curve": described("curve", shift + unit * curve, "1000 $", "f", ("model", "x")),
            "pieces": described("pieces", pieces, "1", "affine pieces", ("model",)),
            "rooms": described("rooms", inputs[rooms, train], "1", "rooms, scaled", ("house",)),
            "value": described("value", houses.labels[train], "1000 $", "value", ("house",)),
        },
        coords={"inputs": list(INPUTS), "model": list(MODELS), "set": list(SETS), "x": GRID},
        attrs={
            "status": "computed",
            "low": float(np.min(houses.inputs[train, rooms])),
            "range": float(np.ptp(houses.inputs[train, rooms])),
        },
    )
