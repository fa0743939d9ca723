"""Methods that use curvature: SciPy's L-BFGS-B and trust-region Newton-CG, in the space's own
coordinates.
"""

from dataclasses import dataclass

import numpy as np
import scipy.optimize

from continuum.arrays import Array, to_host
from continuum.checks import check_count, check_positive
from continuum.controls import Control
from continuum.sets import Box

from ..run.solution import Solution, SolveError
from ..run.status import Status
from .objective import Composite
from .run import Minimizer, Run, only_boxes, refuse


@dataclass(frozen=True)
class LBFGS(Minimizer):
    """SciPy's L-BFGS-B in the space's own coordinates; a Box becomes its bounds.

    Converged when the projected gradient |P(x - g) - x| <= gtol in the space's norm.
    memory : number of past steps kept
    """

    memory: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("memory", self.memory)

    def check(self, problem: Composite) -> None:
        """Raises TypeError for a set that is no Box, or a penalty without a gradient."""
        if not only_boxes(problem):
            raise refuse(self, problem.admissible, "a Box, or GradientDescent(), which projects")
        if problem.penalty is not None:
            raise refuse(
                self, problem.penalty, "GradientDescent() or Nesterov(), which take proximal steps"
            )

    def descend(self, run: Run, start: Control) -> Solution:
        """The run from an admissible start."""
        most = self.max_iterations
        options = {
            "maxcor": self.memory,
            "gtol": 0.0,
            "ftol": 0.0,
            "maxiter": most + 1,
            "maxfun": 50 * most,
        }
        return _scipy(run, start, "L-BFGS-B", options, bounds=_bounds(run.problem))


@dataclass(frozen=True)
class NewtonCG(Minimizer):
    """min over |d| <= Delta of (g, d) + (d, Hd) / 2 by conjugate gradients; Delta follows how well
    that predicts J.

    SciPy's trust-region Newton-CG ("trust-ncg") with the Hessian-vector product of the objective,
    in the space's own coordinates.  Converged when |g| <= gtol; near a minimum with positive
    curvature it squares the error each time.

    radius : Delta at the start, in the space's norm
    Takes no admissible set and no penalty without a gradient.
    Source: Steihaug, SIAM J. Numer. Anal. 20 (1983); Nocedal and Wright, Numerical Optimization,
    algorithm 7.2.
    """

    radius: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("radius", self.radius)

    def check(self, problem: Composite) -> None:
        """Raises TypeError for a set, or a penalty without a gradient."""
        if problem.admissible is not None:
            raise refuse(
                self, problem.admissible, "LBFGS() for a Box, GradientDescent() for other sets"
            )
        if problem.penalty is not None:
            raise refuse(
                self, problem.penalty, "GradientDescent() or Nesterov(), which take proximal steps"
            )

    def descend(self, run: Run, start: Control) -> Solution:
        """The run from any start."""
        options = {
            "initial_trust_radius": self.radius,
            "max_trust_radius": 1000.0 * max(self.radius, 1.0),
            "gtol": 0.0,
            "maxiter": self.max_iterations + 1,
        }
        return _scipy(run, start, "trust-ncg", options)


class _Ended(Exception):
    """Leaves SciPy's loop once an iterate is the last."""


class _Bridge:
    """What SciPy calls, and what it visited."""

    def __init__(self, run: Run) -> None:
        self.run, self.status = run, Status.LINE_SEARCH_FAILED
        self.tried: tuple[Array, float, Array] | None = None
        self.kept: tuple[Array, float, Array] | None = None

    def evaluate(self, x: Array) -> tuple[float, Array]:
        """J and its gradient; infinity where the state is not finite, which shortens the step."""
        try:
            value, gradient = self.run.evaluate(self.run.space.unflatten(x))
        except SolveError:
            return float("inf"), np.zeros_like(x)
        self.tried = (x.copy(), value, to_host(gradient))
        return value, self.tried[2]

    def hessp(self, x: Array, direction: Array) -> Array:
        """The Hessian at x applied to a direction."""
        space = self.run.space
        self.run.evaluations += 1
        return to_host(
            space.flatten(
                self.run.problem.objective.hvp(space.unflatten(x), space.unflatten(direction))
            )
        )

    def visit(self, x: Array) -> None:
        """Records an iterate; raises _Ended at the last."""
        for known in (self.tried, self.kept):
            if known is not None and np.array_equal(known[0], x):
                self.kept = known
                break
        else:
            self.evaluate(x)
            self.kept = self.tried
        if self.kept is not None:
            status = self.run.accept(*self.kept)
            if status is not None:
                self.status = status
                raise _Ended


def _scipy(
    run: Run,
    start: Control,
    name: str,
    options: dict[str, float],
    bounds: scipy.optimize.Bounds | None = None,
) -> Solution:
    bridge = _Bridge(run)
    x = to_host(run.space.flatten(start))

    def callback(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        bridge.visit(intermediate_result.x)

    curvature = {"hessp": bridge.hessp} if name == "trust-ncg" else {"bounds": bounds}
    try:
        bridge.visit(x)
        scipy.optimize.minimize(
            bridge.evaluate,
            x,
            jac=True,
            method=name,
            callback=callback,
            options=options,
            **curvature,
        )
    except _Ended:
        pass
    return run.solution(x if bridge.kept is None else bridge.kept[0], bridge.status)


def _bounds(problem: Composite) -> scipy.optimize.Bounds | None:
    """The boxes, in flat coordinates."""
    if problem.admissible is None:
        return None
    space = problem.space
    limits = {
        n: pair
        for part in problem.admissible.parts
        if isinstance(part, Box)
        for n, pair in part.bounds.items()
    }
    sides = []
    for side, free in enumerate((-np.inf, np.inf)):
        values = {
            b.name: np.full(space.shape(b), limits.get(b.name, (free, free))[side])
            for b in space.trained
        }
        sides.append(space.flatten(Control(space, values, trusted=True)))
    return scipy.optimize.Bounds(*sides)
