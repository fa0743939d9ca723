"""Step lengths along a line, by the search of More and Thuente.

With h(t) = J(x + t d) - J(x), h'(0) < 0, a step t is right where (strong Wolfe conditions)

    h(t) <= c1 t h'(0)   and   |h'(t)| <= c2 |h'(0)|,   c1 = 1e-3, c2 = 0.9.

Where |h(t)| <= 1e-9 |J(x)|, differences of values have few digits left, and the rule of the
trapezoid, h(t) = t (h'(0) + h'(t)) / 2, stands for them: the first condition is then h'(t) <= (2 c1
- 1) h'(0), the approximate Wolfe condition.
Source: More and Thuente, ACM Trans. Math. Softw. 20 (1994), without their auxiliary function, with
the constants of L-BFGS-B; Hager and Zhang, SIAM J. Optim. 16 (2005).
"""

import math
from typing import NamedTuple

FALL = 1e-3
"""c1"""
FLATTER = 0.9
"""c2"""
NARROW = 0.1
"""An interval so much shorter than its farther end is not cut any more: its better end is taken."""
ROUNDING = 1e-9
"""Changes of J below this share of J are not read off its values, but off gradients."""
TRIALS = 30
"""Steps tried along one line."""


class _Trial(NamedTuple):
    """h(t) and h'(t)."""

    step: float
    change: float
    slope: float


class LineSearch:
    """Asks for J and h' at `step`, again and again, until `done` or `failed`.

    value, slope : J(x) and h'(0) < 0
    step : the first to try
    longest : no step is longer
    lowest : the lowest J of the run, J(x) if None; changes are not read off gradients where J is
        higher than that by more than cancellation explains, as many such steps could make it
    """

    def __init__(
        self,
        value: float,
        slope: float,
        step: float,
        longest: float = math.inf,
        lowest: float | None = None,
    ) -> None:
        self.value, self.slope, self.longest = value, slope, longest
        lowest = value if lowest is None else lowest
        self._highest = lowest + ROUNDING * abs(lowest)
        self.step = min(step, longest)
        self.done, self.failed = False, False
        self._best, self._far = _Trial(0.0, 0.0, slope), None
        """The ends of the interval that holds a right step, or the better one as long as there is
        none.
        """
        self._widths, self._trials, self._last = (math.inf, math.inf), 0, False

    def tell(self, value: float, slope: float) -> None:
        """J, which may be infinite, and h' at `step`."""
        change = value - self.value
        if abs(change) <= ROUNDING * abs(self.value) and value <= self._highest:
            change = 0.5 * self.step * (self.slope + slope)
        low_enough = change <= FALL * self.step * self.slope
        flat = abs(slope) <= -FLATTER * self.slope or (self.step == self.longest and slope < 0.0)
        self._trials += 1
        self.done = low_enough and (flat or self._last)
        self.failed = not self.done and (self._last or self._trials == TRIALS)
        if self.done or self.failed:
            return
        trial = _Trial(self.step, change, slope)
        self.step = self._moved(trial, low_enough)
        best, far = self._best, self._far
        if far is not None and abs(far.step - best.step) <= NARROW * max(far.step, best.step):
            self.step, self._last = best.step, True
            self.done = low_enough and trial is best

    def _moved(self, trial: _Trial, low_enough: bool) -> float:
        """Puts a trial into the interval, whose better end satisfies the first condition; the step
        to try next.
        """
        best, far = self._best, self._far
        step = _next(best, far, trial)
        if trial.change > best.change or not low_enough:
            self._far = trial
        else:
            if trial.slope * best.slope < 0.0:
                self._far = best
            self._best = trial
        if self._far is None:
            ahead = trial.step - best.step
            step = min(max(step, trial.step + 1.1 * ahead), trial.step + 4.0 * ahead)
            return min(step, self.longest)
        width = abs(self._far.step - self._best.step)
        if width >= 0.66 * self._widths[0] or not abs(step - self._best.step) < width:
            step = 0.5 * (self._best.step + self._far.step)
        self._widths = (self._widths[1], width)
        return step


def _next(best: _Trial, far: _Trial | None, trial: _Trial) -> float:
    """The step that interpolation proposes, infinite to go on as far as allowed."""
    if trial.change == math.inf:
        return 0.5 * (best.step + trial.step)
    cubic = _cubic(best, trial)
    if trial.change > best.change:
        length = trial.step - best.step
        chord = (best.change - trial.change) / length + best.slope
        quadratic = best.step + 0.5 * best.slope / chord * length
        if abs(cubic - best.step) < abs(quadratic - best.step):
            return cubic
        return 0.5 * (cubic + quadratic)
    if trial.slope * best.slope < 0.0:
        secant = _secant(best, trial)
        return max(cubic, secant, key=lambda step: abs(step - trial.step))
    if abs(trial.slope) < abs(best.slope):
        secant = _secant(best, trial)
        ahead = (cubic - trial.step) * (trial.step - best.step) > 0.0
        if far is None:
            return max(cubic, secant) if ahead else math.inf
        nearer = min(cubic, secant, key=lambda step: abs(step - trial.step)) if ahead else secant
        limit = trial.step + 0.66 * (far.step - trial.step)
        return min(nearer, limit) if trial.step > best.step else max(nearer, limit)
    if far is None:
        return math.inf
    return _cubic(far, trial) if far.change < math.inf else 0.5 * (far.step + trial.step)


def _secant(a: _Trial, b: _Trial) -> float:
    """Where the line through the slopes at a and b is zero."""
    return b.step + b.slope / (b.slope - a.slope) * (a.step - b.step)


def _cubic(a: _Trial, b: _Trial) -> float:
    """Where the cubic with values and slopes of a and b is least; infinite if it has no minimum."""
    theta = 3.0 * (a.change - b.change) / (b.step - a.step) + a.slope + b.slope
    scale = max(abs(theta), abs(a.slope), abs(b.slope))
    square = (theta / scale) ** 2 - (a.slope / scale) * (b.slope / scale)
    if square <= 0.0:
        return math.inf
    root = math.copysign(scale * math.sqrt(square), b.step - a.step)
    below = root + root + b.slope - a.slope
    if below == 0.0:
        return math.inf
    return a.step + (root - a.slope + theta) / below * (b.step - a.step)
