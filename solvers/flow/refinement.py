"""How fast does it converge, and how far is it still off: one harness for depth, width and
iterations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array, namespace
from continuum.checks import (
    check_array,
    check_call,
    check_count,
    check_positive,
    check_real,
    check_type,
    shown,
)
from continuum.controls import ControlPath
from continuum.doors import checked
from continuum.networks import Network
from continuum.quadrature import Grid
from continuum.records import short

from ..steps.tableaux import Stepper
from .integrate import integrate

Result = Array | float


@dataclass(frozen=True, eq=False)
class Refinement:
    """Results at increasing sizes and what they say.

    sizes : (S,), numbers of layers or nodes per dimension
    errors : (S,) against the exact result; without one, (S,) differences from the finest,
        extrapolated result
    orders : (S - 1,), log(e_i / e_{i+1}) / log(n_{i+1} / n_i)
    values : the results
    """

    sizes: Array
    errors: Array
    orders: Array
    values: Sequence[Result]

    __repr__ = short

    @property
    def order(self) -> float:
        """The slope of the line fitted to log error against log size."""
        return -float(np.polyfit(np.log(self.sizes), np.log(self.errors), 1)[0])


@checked
def observed_orders(sizes: Sequence[float] | Array, errors: Sequence[float] | Array) -> Array:
    """log(e_i / e_{i+1}) / log(n_{i+1} / n_i): (S - 1,) orders from S errors.

    raises ValueError unless sizes increase and errors are positive and as many
    """
    n = check_array("sizes", np.asarray(sizes, dtype=np.float64), ("S",))
    e = check_array("errors", np.asarray(errors, dtype=np.float64), n.shape)
    if np.any(np.diff(n) <= 0) or np.any(n <= 0):
        raise ValueError(f"sizes must be positive and increase, got {n}")
    if np.any(e <= 0):
        raise ValueError(f"errors must be positive for orders to exist, got {e}")
    return np.log(e[:-1] / e[1:]) / np.log(n[1:] / n[:-1])


@checked
def richardson(
    coarse: Result, fine: Result, order: float, ratio: float = 2.0
) -> tuple[Result, Result]:
    """(the extrapolated result, the estimated error of `fine`), for an error C n^-order and n_fine
    = ratio n_coarse.

    The estimate is extrapolated - fine, with its sign.  raises ValueError unless order > 0 and
    ratio > 1, for results of different shapes, and where the extrapolated one is not finite
    """
    if not order > 0 or not ratio > 1:
        raise ValueError(f"order must be > 0 and ratio > 1, got {order} and {ratio}")
    coarse, fine = (
        float(x) if isinstance(x, float | int) else check_array(name, x, x.shape)
        for name, x in (("coarse", coarse), ("fine", fine))
    )
    shapes = np.shape(coarse), np.shape(fine)
    if () not in shapes and shapes[0] != shapes[1]:
        raise ValueError(f"coarse and fine must have one shape, got {shapes[0]} and {shapes[1]}")
    with np.errstate(over="ignore", invalid="ignore"):
        correction = (fine - coarse) / (ratio**order - 1.0)
        extrapolated = fine + correction
    check_array("what coarse and fine extrapolate to", extrapolated, np.shape(extrapolated))
    return extrapolated, correction


def largest_difference(x: Result, y: Result) -> float:
    """max |x - y|."""
    difference = np.asarray(x - y) if isinstance(x, float) else x - y
    return float(namespace(difference).max(abs(difference)))  # type: ignore[arg-type]


@checked
def refine(
    compute: Callable[[int], Result],
    sizes: Sequence[int],
    *,
    exact: Result | None = None,
    order: float | None = None,
    distance: Callable[[Result, Result], float] = largest_difference,
) -> Refinement:
    """compute(n) at every size n, with errors and observed orders.

    exact : the limit; if it is not known, give the expected `order` and the last two results are
        extrapolated to it (their sizes need not double); the last error is then the extrapolation's
        own correction
    distance : of two results; the largest difference of entries unless said otherwise
    raises ValueError for fewer than two sizes, sizes that do not increase, or neither exact nor
    order
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes must be at least two, got {list(sizes)}")
    if exact is None and order is None:
        raise ValueError("give the exact result, or the expected order to extrapolate with")
    values = [compute(check_count("size", n)) for n in sizes]
    wanted = [] if exact is None else [exact]
    for name, given in (("compute must return", values), ("exact must be", wanted)):
        for one in given:
            if not (np.size(one) and np.asarray(one).dtype.kind in "fiu"):
                raise TypeError(f"{name} a number or an array that is not empty, got {shown(one)}")
    if exact is None and order is not None:
        exact = richardson(values[-2], values[-1], order, sizes[-1] / sizes[-2])[0]
    given = [check_call("distance", distance, v, exact) for v in values]  # type: ignore[arg-type]
    errors = np.array([check_real("distance", e) for e in given])
    if not np.all(np.isfinite(errors)):
        raise ValueError(f"compute and exact give differences that are not finite: {errors}")
    if not np.all(errors > 0.0):
        raise ValueError(f"compute and exact must differ for orders to exist, got {errors}")
    return Refinement(
        np.array(sizes, dtype=np.float64), errors, observed_orders(sizes, errors), values
    )


@checked
def depth_error(
    network: Network,
    control: ControlPath,
    initial: Array,
    stepper: Stepper,
    steps_per_layer: int = 1,
) -> tuple[Array, float]:
    """(final state, estimate of its largest error from finite steps), by halving the steps once.

    The estimate is |f_2n - f_n| 2^p / (2^p - 1), p the stepper's order: the error of the coarser
    run, whose state this is.  For adaptive methods compare two tolerances instead.
    raises SolveError if a run fails, TypeError for an adaptive method
    """
    if stepper.adaptive:
        raise TypeError(f"stepper must take equal steps, got {stepper!r}")
    coarse, fine = (
        integrate(network, control, initial, stepper, steps_per_layer=s).trajectory.final
        for s in (steps_per_layer, 2 * steps_per_layer)
    )
    power = 2.0**stepper.order
    return coarse, largest_difference(coarse, fine) * power / (power - 1.0)


@checked
def width_error(
    case: Callable[[Grid], tuple[Network, ControlPath, Array]],
    rule: Callable[[int], Grid],
    points: int,
    stepper: Stepper,
    order: float | None = None,
) -> tuple[Array, float]:
    """(final state on rule(points), estimate of its largest error from finite width), by doubling
    the points once.

    case : grid -> (network, control, initial), the same functions on any grid
    rule : points -> Grid; the finer run also carries the nodes of the coarser, with weight zero, so
        that no interpolation is needed
    order : of the rule, for the factor 2^p / (2^p - 1); no factor if not said, as for rules that
        converge spectrally
    raises SolveError if a run fails
    """
    coarse_grid, fine_grid = (
        check_type("what `rule` returns", check_call("rule", rule, n), Grid)
        for n in (check_count("points", points), 2 * points)
    )
    if order is not None:
        check_positive("order", order)

    def final(grid: Grid) -> Array:
        given = check_call("case", case, grid)
        if not isinstance(given, tuple) or len(given) != 3:
            raise TypeError(
                f"case must return (network, control, initial) on a grid, got {shown(given)}"
            )
        return integrate(*given, stepper).trajectory.final

    coarse, fine = final(coarse_grid), final(fine_grid.observed_at(coarse_grid.nodes))
    factor = 1.0 if order is None else 2.0**order / (2.0**order - 1.0)
    return coarse, factor * largest_difference(coarse, fine[len(fine_grid) :, :])
