"""Minimizers that ask for gradients alone: proximal gradient, its accelerated form, conditional
gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import scipy

from continuum.arrays import Array
from continuum.checks import check_name, check_positive, store
from continuum.controls import Control
from continuum.doors import checked

from ..run.solution import Solution
from ..run.status import Status
from .objective import Composite
from .run import Descent, Minimizer, OutOfDomain, refuse

ROUNDING = 1e-9
"""Relative changes of the objective below this are not read off its values, which cancel, but off
gradients.
"""


def _curved(
    run: Descent, x: Array, gradient: Array, new: Array, square: float, room: Array
) -> float:
    """(g_new - g, d) / |d|^2, the mean curvature of the objective from x to new = x + d; 0 if they
    are one point.

    square : |d|^2
    room : where to write g_new
    """
    if not square > 0.0:
        return 0.0
    run.evaluate(run.space.views(new), out=room)
    return run.vectors.between(room, gradient, new, x) / square


@checked
@dataclass(frozen=True)
class GradientDescent(Minimizer):
    """x <- prox_s(x - s g), with s halved until J falls by 1e-4 |d|^2 / s (Armijo), d = x_new - x,
    then tried doubled.

    Where J changes by less than 1e-9 of itself, (g_new - g, d) <= |d|^2 / (2 s) is asked instead:
    it gives J(x_new) - J(x) <= -|d|^2 / (4 s) up to terms of third order, and does not suffer from
    cancellation.

    prox_s is the proximal map of a penalty that has no gradient, and the projection on the
    admissible set. Converged when |prox_1(x - g) - x| <= gtol in the space's norm.  On a FiniteSet,
    which is not convex, that is a point no step of length at most 1 leaves, not a minimum.
    """

    initial_step: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, check_positive, "initial_step")

    def descend(self, run: Descent, start: Control) -> Solution[Control]:
        """The run from an admissible start."""
        x, gradient = run.last, run.room()
        value = run.evaluate(start, out=gradient)[0] + run.problem.extra(start)
        step = self.initial_step
        while True:
            status = run.accept(x, value, gradient)
            if status is not None:
                return run.solution(status)
            trial, least = run.spare(x), 1e-16 * (1.0 + run.norm(x))
            while True:
                square, _ = run.vectors.step(x, gradient, step, trial)
                if square**0.5 <= least:
                    return run.solution(Status.LINE_SEARCH_FAILED)
                control = run.space.views(trial)
                found = run.value(control)
                if found <= value - 1e-4 * square / step:
                    break
                if abs(found - value) <= ROUNDING * abs(value):
                    room = run.spare(x, trial)
                    if _curved(run, x, gradient, trial, square, room) <= 0.5 / step:
                        break
                step /= 2
            x = trial
            value = run.evaluate(control, out=gradient)[0] + run.problem.extra(control)
            step *= 2


@checked
@dataclass(frozen=True)
class Nesterov(Minimizer):
    """x_new = prox_s(y - s g(y)),  y = x_new + beta_k (x_new - x),  beta_k = (theta_k - 1) /
    theta_{k+1}.

    theta_{k+1} = (1 + (1 + 4 theta_k^2)^(1/2)) / 2: accelerated proximal gradient (FISTA).  s is
    halved until J(x_new) <= J(y) + (g(y), d) + |d|^2 / (2 s), d = x_new - y (where values cancel,
    see GradientDescent, (g_new - g(y), d) <= |d|^2 / s), and tried doubled when the momentum
    restarts.

    restart : theta = 1 again when (y - x_new, x_new - x) > 0 ("gradient"), when J rises, and the
        step is then taken back ("function"), or never ("none")
    Converged when |prox_1(x - g) - x| <= gtol, for which each iteration takes the gradient at x
    besides that at y. Sets must be convex.  For convex J the error falls like 1/k^2, with restart
    linearly if J is strongly convex. Source: Beck and Teboulle, SIAM J. Imaging Sci. 2 (2009);
    O'Donoghue and Candes, Found. Comput. Math. 15 (2015).
    """

    initial_step: float = 1.0
    restart: Literal["gradient", "function", "none"] = "gradient"

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, check_positive, "initial_step")
        check_name("restart", self.restart, ("gradient", "function", "none"))

    def check(self, problem: Composite) -> None:
        """Raises TypeError for a set that is not convex."""
        if problem.admissible is not None and not problem.admissible.convex:
            raise refuse(self, problem.admissible, "GradientDescent(), which needs no convex set")

    def descend(self, run: Descent, start: Control) -> Solution[Control]:
        """The run from an admissible start."""
        x, gradient = run.last, run.room()
        smooth, _ = run.evaluate(start, out=gradient)
        value = smooth + run.problem.extra(start)
        y, smooth_y, gradient_y, theta = x, smooth, run.room(), 1.0
        gradient_y[...] = gradient
        step = 0.0
        while True:
            status = run.accept(x, value, gradient)
            if status is not None:
                return run.solution(status)
            step = step or self._first_step(run, x, smooth, gradient)
            while True:
                new, step = self._step(run, y, smooth_y, gradient_y, step, x)
                if new is None:
                    return run.solution(Status.LINE_SEARCH_FAILED)
                control = run.space.views(new)
                smooth, _ = run.evaluate(control, out=gradient)
                rose = smooth + run.problem.extra(control) > value
                if self.restart != "function" or not rose or theta == 1.0:
                    break
                y, theta, step = x, 1.0, 2.0 * step
                smooth_y, _ = run.evaluate(run.space.views(x), out=gradient_y)
            value = smooth + run.problem.extra(control)
            following, away = 0.5 * (1.0 + (1.0 + 4.0 * theta**2) ** 0.5), theta > 1.0
            if self.restart == "gradient" and run.vectors.between(y, new, new, x) > 0.0:
                away, following, step = False, 1.0, 2.0 * step
            if away:
                ahead = run.spare(x, y, new)
                run.vectors.combine(new, (theta - 1.0) / following, new, x, ahead)
                try:
                    smooth_y, _ = run.evaluate(run.space.views(ahead), out=gradient_y)
                    y = ahead
                except OutOfDomain:  # the momentum left where the state is finite
                    away, following = False, 1.0
            if not away:
                y, smooth_y = new, smooth
                gradient_y[...] = gradient
            x, theta = new, following

    def _step(
        self,
        run: Descent,
        y: Array,
        smooth: float,
        gradient: Array,
        step: float,
        *kept: Array,
        least: float = 1e-30,
    ) -> tuple[Array | None, float]:
        """The proximal step from y and its length; None if no step is short enough."""
        new = run.spare(y, *kept)
        while step > least:
            square, slope = run.vectors.step(y, gradient, step, new)
            change = run.smooth(run.space.views(new)) - smooth
            if abs(change) > ROUNDING * abs(smooth):
                close = change <= slope + square / (2.0 * step)
            else:
                room = run.spare(y, new, *kept)
                close = _curved(run, y, gradient, new, square, room) <= 1.0 / step
            if close:
                return new, step
            step /= 2.0
        return None, step

    def _first_step(self, run: Descent, x: Array, smooth: float, gradient: Array) -> float:
        """The initial step, doubled as long as the bound holds there too."""
        step = self.initial_step
        while step < 1e6 * self.initial_step:
            if self._step(run, x, smooth, gradient, 2.0 * step, least=1.5 * step)[0] is None:
                break
            step *= 2.0
        return step


@checked
@dataclass(frozen=True)
class FrankWolfe(Minimizer):
    """x <- x + gamma (s - x),  s in A with (g, s) least: the gradient-sign vertex.

    Converged when the duality gap (g, x - s), which bounds J(x) - min J where J is convex, is at
    most gtol; the history holds it as "gap".  The gap falls like 1/k, no faster in general, and
    steps need no projection.

    line_search : "armijo", gamma halved until J falls by 0.3 gamma gap, or "exact", a root of
        dJ/dgamma (which costs gradients)
    Needs a convex, bounded set for every trained block, and no penalty without a gradient.
    Source: Jaggi, ICML 2013.
    """

    line_search: Literal["armijo", "exact"] = "armijo"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name("line_search", self.line_search, ("armijo", "exact"))

    @property
    def measure(self) -> str:
        """The duality gap."""
        return "gap"

    def check(self, problem: Composite) -> None:
        """Raises TypeError unless every trained block lies in a bounded convex set."""
        if problem.penalty is not None:
            raise refuse(self, problem.penalty, "GradientDescent() or Nesterov()")
        free = [b.name for b in problem.space.trained]
        if problem.admissible is not None:
            named = problem.admissible.named(problem.space)
            free = [name for name in free if name not in named]
        if free:
            raise TypeError(
                f"FrankWolfe needs a bounded set for every trained block, {', '.join(free)} has "
                f"none; "
                "use GradientDescent()"
            )
        if problem.admissible is not None and not (
            problem.admissible.convex and problem.admissible.bounded
        ):
            raise refuse(self, problem.admissible, "a bounded convex set, or GradientDescent()")

    def descend(self, run: Descent, start: Control) -> Solution[Control]:
        """The run from an admissible start."""
        space, admissible = run.space, run.problem.admissible
        if admissible is None:
            raise TypeError("FrankWolfe needs an admissible set")
        x, gamma = run.last, 0.5
        gradient, vertex, d = run.room(), run.room(), run.room()
        value, _ = run.evaluate(start, out=gradient)
        while True:
            here = space.views(x)
            wanted = here.replaced(**admissible.support(space.views(-gradient), here, space))
            space.join(wanted, vertex)
            space.join(wanted, d)
            d -= x
            gap = -run.dot(gradient, d)
            status = run.accept(x, value, gradient, gap)
            if status is not None:
                return run.solution(status)
            new = run.spare(x)

            def ahead(gamma: float, x: Array = x, new: Array = new) -> Control:
                run.vectors.combine(x, gamma, vertex, x, new)
                return space.views(new)

            found = None
            if self.line_search == "exact":
                found = self._exact(run, ahead, d, value, gradient)
            if found is None:
                found = self._armijo(run, ahead, value, gap, min(1.0, 2.0 * gamma))
            if found is None:
                return run.solution(Status.LINE_SEARCH_FAILED)
            gamma = found
            if gamma == 1.0:
                new[...] = vertex
            else:
                ahead(gamma)
            x = new
            value, _ = run.evaluate(space.views(x), out=gradient)

    def _armijo(
        self,
        run: Descent,
        ahead: Callable[[float], Control],
        value: float,
        gap: float,
        gamma: float,
    ) -> float | None:
        while gamma > 1e-16:
            if run.value(ahead(gamma)) <= value - 0.3 * gamma * gap:
                return gamma
            gamma /= 2.0
        return None

    def _exact(
        self,
        run: Descent,
        ahead: Callable[[float], Control],
        d: Array,
        value: float,
        room: Array,
    ) -> float | None:
        """Where (g(x + gamma d), d) = 0, or 1; None if J is not lower there, or not finite on the
        way.

        ahead : gamma -> x + gamma d
        room : where gradients are written
        """

        def slope(gamma: float) -> float:
            return run.dot(run.evaluate(ahead(gamma), out=room)[1], d)

        try:
            if slope(0.0) >= 0.0:
                return None
            gamma = (
                1.0
                if slope(1.0) <= 0.0
                else float(
                    scipy.optimize.root_scalar(slope, bracket=(0.0, 1.0), method="brentq").root
                )
            )
        except OutOfDomain:
            return None
        return gamma if run.value(ahead(gamma)) < value else None
