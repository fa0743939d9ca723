"""L-BFGS in the product of the space, in a box by projection.

The inverse Hessian at the last iterate is approximated from the last m pairs s = x_new - x and y =
g_new - g (Byrd, Lu, Nocedal and Schnabel, Math. Programming 63 (1994), theorem 2.2):

    H q = gamma q + S a - gamma Y p,    p = R^{-1} S^T q,    gamma = (s, y) / (y, y) of the last,
    a = R^{-T} ((D + gamma Y^T Y) p - gamma Y^T q),

with R_ij = (s_i, y_j) for i <= j, 0 below, and D its diagonal.  Only products of vectors know the
weights of the space.  Those of the pairs are kept, so that an iteration reads every vector of the
memory twice: for its products with q and the new y, and for H q.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count, store
from continuum.controls import Control
from continuum.doors import checked
from continuum.long_vectors import along, combine, pieces

from ..run.solution import Solution
from ..run.status import Status
from .line_search import LineSearch
from .objective import Composite
from .run import Descent, Minimizer, OutOfDomain, refuse

MARGIN = 1e-3
"""Entries nearer to a bound than this, in entries or in widths of their interval, or than the
projected gradient is long, are held there if they descend towards it.
"""
HALVINGS, DESCENT = 60, 1e-4
"""A projected step is halved, so often at most, until its slope is this share of that of -H q."""
EPSILON = float(np.finfo(float).eps)
STALE = 30
"""After so many steps without a J or a projected gradient that is lower than all before, both are
at their rounding errors.
"""


class Pairs:
    """The memory: pairs, their products, and the direction that they give.

    size : of the vectors, NumPy's
    memory : the number of pairs
    products : (rows (m, size), *vectors (size,)) -> (m, vectors), their products
    """

    def __init__(self, size: int, memory: int, products: Callable[..., Array]) -> None:
        self._products, self._memory = products, memory
        self._rows = np.empty((2 * (memory + 1), size))
        """Two for each slot, the direction d of a step and y; one slot is free.  Pages of memory
        are taken by those that are written to.
        """
        self._steps = np.ones(memory + 1)
        """t of each slot, s = t d."""
        self._sy, self._yy = np.zeros((2, memory + 1, memory + 1))
        self._with_q = np.zeros((2, memory + 1))
        """(d, q) and (y, q) of each slot."""
        self.clear()

    def clear(self) -> None:
        """Forgets all pairs."""
        self._order: list[int] = []
        self._slot = 0

    def __len__(self) -> int:
        return len(self._order)

    @property
    def direction(self) -> Array:
        """Where the direction of the next step is, and is written to."""
        return self._rows[2 * self._slot]

    @property
    def change(self) -> Array:
        """Where the change of the gradient is written to, before `add`."""
        return self._rows[2 * self._slot + 1]

    @property
    def scale(self) -> float:
        """gamma; 1 without pairs."""
        if not self._order:
            return 1.0
        last = self._order[-1]
        return self._sy[last, last] / self._yy[last, last]

    def add(self, step: float, least: float, q: Array) -> None:
        """Keeps the pair (step `direction`, `change`) in place of the oldest, if (s, y) > least.

        q : the vector that `find` will be asked for
        """
        new, used = self._slot, 2 * (max([self._slot, *self._order]) + 1)
        found = self._products(self._rows[:used], q, self.change)
        self._with_q[:, : used // 2] = found[:, 0].reshape(-1, 2).T
        self._steps[new] = step
        with_y = found[:, 1].reshape(-1, 2).T
        if not step * with_y[0, new] > least:
            return
        self._sy[: used // 2, new] = self._steps[: used // 2] * with_y[0]
        self._yy[: used // 2, new] = self._yy[new, : used // 2] = with_y[1]
        self._order = [*self._order[-self._memory + 1 :], new] if self._memory > 1 else [new]
        self._slot = min(set(range(self._memory + 1)) - set(self._order))

    def find(self, q: Array) -> None:
        """direction = -H q, for the q that `add` was given."""
        order, count = self._order, len(self._order)
        if not count:
            np.negative(q, out=self.direction)
            return
        both = np.ix_(order, order)
        gamma, steps = self.scale, self._steps[order]
        r, yy = np.triu(self._sy[both]), self._yy[both]
        with_s, with_y = steps * self._with_q[0, order], self._with_q[1, order]
        p = np.linalg.solve(r, with_s)
        right = np.diag(r) * p + gamma * (yy @ p) - gamma * with_y
        # turned round, R^T is upper triangular: substitution, without a pivot
        a = np.linalg.solve(r.T[::-1, ::-1], right[::-1])[::-1]
        used = max(order) + 1
        coefficients = np.zeros((used, 2))
        coefficients[order] = np.stack((-steps * a, gamma * p), axis=1)
        combine(coefficients.ravel(), self._rows[: 2 * used], -gamma, q, self.direction)


class Bounds:
    """Intervals for the entries of a vector.

    pieces : (start, stop, low, high): low <= x_i <= high for start <= i < stop; entries in no piece
        are free
    """

    def __init__(self, intervals: Sequence[tuple[int, int, float, float]]) -> None:
        self._intervals = intervals

    def project(self, x: Array) -> None:
        """x <- P x."""
        for start, stop, low, high in self._intervals:
            np.clip(x[start:stop], low, high, out=x[start:stop])

    def step(self, x: Array, g: Array, out: Array) -> None:
        """out <- P(x - g) - x."""
        self.cut(x, -1.0, g, out)

    def cut(self, x: Array, t: float, d: Array, out: Array) -> None:
        """out <- P(x + t d) - x; `out` may be d."""
        np.multiply(d, t, out=out)
        for where, low, high in self._pieces():
            out[where] = np.clip(x[where] + out[where], low, high) - x[where]

    def held(self, x: Array, g: Array, out: Array, margin: float) -> None:
        """out <- g, but 0 at entries that are held: nearer than `margin` to a bound to which -g
        leads.
        """
        np.copyto(out, g)
        for where, mask in self._held(x, g, margin):
            out[where][mask] = 0.0

    def let_slide(self, x: Array, g: Array, d: Array, factor: float, margin: float) -> None:
        """d <- P(x - factor g) - x at entries that are held."""
        for (where, mask), (_, low, high) in zip(
            self._held(x, g, margin), self._pieces(), strict=True
        ):
            here = x[where][mask]
            d[where][mask] = np.clip(here - factor * g[where][mask], low, high) - here

    def forget_fixed(self, x: Array, d: Array, y: Array) -> None:
        """y <- 0 at entries that stay at a bound: d = 0 there, so that they have no part in the
        curvature of those that move.
        """
        for where, low, high in self._pieces():
            mask = (d[where] == 0.0) & ((x[where] <= low) | (x[where] >= high))
            y[where][mask] = 0.0

    def reach(self, x: Array, d: Array) -> float:
        """The longest t, at least 1, for which x + t d is inside; x + d is."""
        longest = math.inf
        for where, low, high in self._pieces():
            ahead = d[where]
            room = np.where(ahead > 0.0, high, low) - x[where]
            moving = (ahead != 0.0) & np.isfinite(room)
            if np.any(moving):
                with np.errstate(over="ignore"):
                    longest = min(longest, float(np.min(room[moving] / ahead[moving])))
        return max(longest, 1.0)

    def _pieces(self) -> Iterator[tuple[slice, float, float]]:
        for start, stop, low, high in self._intervals:
            for where in pieces(start, stop):
                yield where, low, high

    def _held(self, x: Array, g: Array, margin: float) -> Iterator[tuple[slice, Array]]:
        for where, low, high in self._pieces():
            near = min(margin, MARGIN * min(1.0, high - low))
            falling, rising = x[where] <= low + near, x[where] >= high - near
            yield where, (falling & (g[where] > 0.0)) | (rising & (g[where] < 0.0))


@checked
@dataclass(frozen=True)
class LBFGS(Minimizer):
    """x <- x - t H g with the inverse Hessian H of the last steps, in the product of the space; in
    a Box by projection.

    t satisfies the strong Wolfe conditions, or the approximate ones where values cancel, so that
    gtol may be as small as gradients are accurate; the longest step in a Box, and the end of an
    interval that has become too short, may satisfy the first of them alone.  The first step is
    min(1, 1 / |g|) g.  Where no t is found, or H g is no descent, the memory is forgotten.

    In a Box, entries at a bound to which -g leads are held, and so are those very near it, which go
    down their own gradient.  H acts on the others and knows curvature among the entries that moved
    alone; the step goes from x towards P(x - H g) (Bertsekas' two-metric projection, along the
    segment).

    Ends where the projected gradient |P(x - g) - x| <= gtol in the space's norm: a saddle, or a
    start whose gradient vanishes, is such a point too.
    memory : number of past steps kept
    Vectors are NumPy's; the objective is evaluated where it is.
    Source: Liu and Nocedal, Math. Programming 45 (1989); Bertsekas, SIAM J. Control Optim. 20
    (1982).
    """

    memory: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, check_count, "memory")

    def check(self, problem: Composite) -> None:
        """Raises TypeError for a set that is no Box, or a penalty without a gradient."""
        if problem.intervals is None:
            raise refuse(self, problem.admissible, "a Box, or GradientDescent(), which projects")
        if problem.penalty is not None:
            raise refuse(
                self, problem.penalty, "GradientDescent() or Nesterov(), which take proximal steps"
            )

    def descend(self, run: Descent, start: Control) -> Solution[Control]:
        """The run from an admissible start."""
        run.to_host()
        return run.solution(_Search(run, min(self.memory, self.max_iterations)).status())


class _Search:
    """One run: x, J and its gradient, the memory and, in a Box, its bounds."""

    def __init__(self, run: Descent, memory: int) -> None:
        self.run, self.bounds = run, _bounds(run.problem)
        self.pairs = Pairs(run.space.size, memory, run.space.dots)
        self.x, self.gradient, self._other = run.last, run.room(), run.room()
        self.value, _ = run.evaluate(run.space.views(self.x), out=self.gradient)
        self.lowest = math.inf
        self._room = self.gradient if self.bounds is None else run.room()
        self._taken: tuple[float, float] | None = None
        """Of a step whose pair is not kept yet: t, and what (s, y) must exceed."""

    def status(self) -> Status:
        """Makes steps until one is the last, and says how it ended."""
        least, stale = math.inf, 0
        while True:
            measure = self._measure()
            status = self.run.accept(self.x, self.value, self.gradient, measure)
            if status is not None:
                return status
            stale = 0 if self.value < self.lowest or measure < least else stale + 1
            self.lowest, least = min(self.lowest, self.value), min(least, measure)
            if stale == STALE:
                return Status.LINE_SEARCH_FAILED
            while not self._step(measure):
                if not len(self.pairs):
                    return Status.LINE_SEARCH_FAILED
                self.pairs.clear()

    def _measure(self) -> float:
        """|P(x - g) - x|"""
        if self.bounds is None:
            return self.run.norm(self.gradient)
        self.bounds.step(self.x, self.gradient, self._room)
        return self.run.norm(self._room)

    def _step(self, measure: float) -> bool:
        """Goes to a point that satisfies the conditions of the line search; False if none does."""
        run = self.run
        slope, first, longest = self._direction(measure)
        d = self.pairs.direction
        if not slope < 0.0:
            return False
        line = LineSearch(self.value, slope, first, longest, self.lowest)
        trial = run.spare(self.x)
        value = math.inf
        while not (line.done or line.failed):
            along(self.x, line.step, d, trial)
            if self.bounds is not None:
                self.bounds.project(trial)
            try:
                value, _ = run.evaluate(run.space.views(trial), out=self._other)
                line.tell(value, run.dot(self._other, d))
            except OutOfDomain:
                line.tell(math.inf, math.nan)
        if line.failed:
            return False
        np.subtract(self._other, self.gradient, out=self.pairs.change)
        if self.bounds is not None:
            self.bounds.forget_fixed(self.x, d, self.pairs.change)
        self._taken = line.step, EPSILON * abs(slope) * line.step
        self.x, self.value = trial, value
        self.gradient, self._other = self._other, self.gradient
        return True

    def _direction(self, measure: float) -> tuple[float, float, float]:
        """Writes the direction d where the memory wants it; (g, d), and the first and the longest
        step to try.
        """
        run, x, g, bounds = self.run, self.x, self.gradient, self.bounds
        q = g if bounds is None else self._room
        if bounds is not None:
            bounds.held(x, g, q, measure)
        if self._taken is not None:
            self.pairs.add(*self._taken, q)
            self._taken = None
        self.pairs.find(q)
        d = self.pairs.direction
        if bounds is not None:
            bounds.let_slide(x, g, d, self.pairs.scale, measure)
        slope = run.dot(g, d)
        first = 1.0 if len(self.pairs) else 1.0 / max(run.norm(d), 1.0)
        if bounds is None or not slope < 0.0:
            return slope, first, math.inf
        for _ in range(HALVINGS):
            bounds.cut(x, first, d, q)
            found = run.dot(g, q)
            if found <= DESCENT * first * slope:
                break
            first /= 2.0
        np.copyto(d, q)
        return found, 1.0, bounds.reach(x, d)


def _bounds(problem: Composite) -> Bounds | None:
    """The intervals of the blocks, at their places in vectors; None without a set."""
    limits = problem.intervals
    if limits is None or problem.admissible is None:
        return None
    found, start = [], 0
    for block in problem.space.trained:
        stop, (low, high) = start + math.prod(problem.space.shape(block)), limits[block.name]
        if low > -math.inf or high < math.inf:
            found.append((start, stop, low, high))
        start = stop
    return Bounds(found)
