"""Runs of `Auto`, see `steps.auto`: attempts of an explicit and of an implicit method in turn."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array, namespace
from continuum.controls import ControlPath

from ..steps.auto import Auto, Chooser
from ..steps.embedded import AdaptiveRungeKutta, mean_square, worst
from ..steps.tableaux import combine
from .adaptive import Attempt
from .stiff_stages import Differentiable, Effort
from .stiff_steps import chosen_steps

ENOUGH, OTHERS = 15, 6
"""A method is changed after ENOUGH steps that ask for it, with fewer than OTHERS others in a row
between them.
"""
CLOSE, SLOW = 0.85, 1.5
"""With h rho above CLOSE times the bound, it limits the step of an explicit method; such steps
hover between 0.9 and 1.15 times it.  With h rho below SLOW, the explicit method would be stable
with the steps of the implicit one, with room to spare, so that a run does not go back and forth.
"""


def all_attempts(
    network: Differentiable,
    control: ControlPath,
    stepper: Chooser | Auto,
    f: Array,
    breakpoints: Sequence[float],
    effort: Effort | None = None,
    changes: list[str] | None = None,
) -> Iterator[Attempt]:
    """As `chosen_steps`, for `Auto` too.

    changes : what it says of its changes of method is appended
    """
    if not isinstance(stepper, Auto):
        yield from chosen_steps(network, control, stepper, f, breakpoints, effort)
        return
    effort = Effort() if effort is None else effort
    changes = [] if changes is None else changes
    t, size, method, horizon = 0.0, 0.0, 0, control.mesh.horizon
    direction: Array | None = None
    while t < horizon:
        now, other = stepper.methods[method], stepper.methods[1 - method]
        later, begin = [end for end in breakpoints if end > t], (t, size)
        kind = _Explicit if isinstance(now, AdaptiveRungeKutta) else _Implicit
        judge = kind(network, now, f, direction)
        for attempt in chosen_steps(network, control, now, f, later, effort, begin):
            if isinstance(now, AdaptiveRungeKutta):
                effort.velocities += len(now.b) - 1
            yield attempt
            if attempt.status is not None:
                return
            if not attempt.accepted:
                continue
            judge.look(attempt, f)
            t, f, size = attempt.end, attempt.state, attempt.end - attempt.start
            if judge.count.found == ENOUGH and t < horizon:
                name = type(other).__name__
                changes.append(f"switched to {name} at t = {t:.6g}, because {judge.why}")
                break
        method, direction = 1 - method, judge.direction


@dataclass
class _Count:
    """How many steps asked for a change, from the last OTHERS in a row that did not."""

    found: int = 0
    others: int = 0

    def add(self, asks: bool) -> None:
        self.others = 0 if asks else self.others + 1
        self.found = self.found + asks if self.others < OTHERS else 0


class _Judge(ABC):
    """Watches the accepted steps of one method.

    rate : the latest h rho
    direction : (N, M), nearly where D_f F is largest
    """

    def __init__(
        self, network: Differentiable, stepper: Chooser, f: Array, direction: Array | None
    ) -> None:
        self.network, self.stepper, self.count = network, stepper, _Count()
        self.w, self.rate = network.weights_like(f), 0.0
        self.direction = namespace(f).ones_like(f) if direction is None else direction

    @abstractmethod
    def look(self, attempt: Attempt, f: Array) -> None:
        """An accepted step from f."""

    @property
    @abstractmethod
    def why(self) -> str:
        """The reason of a change."""

    def squares(self, x: Array, f: Array) -> Array:
        """(M,): the squared norm of errors, of each sample."""
        rtol, atol = self.stepper.tolerances
        return mean_square(x / (atol + rtol * namespace(f).abs(f)), self.w)

    def growth(self, after: Array, before: Array, f: Array) -> float:
        """|after| / |before|, of the worst sample; 0 where before vanishes."""
        xp = namespace(f)
        with np.errstate(all="ignore"):
            above, below = self.squares(after, f), self.squares(before, f)
            return worst(xp.where(below > 0, above / below, xp.zeros_like(below)))


class _Explicit(_Judge):
    """Whether the stability bound limits the steps of an explicit pair."""

    stepper: AdaptiveRungeKutta

    def look(self, attempt: Attempt, f: Array) -> None:
        h, slopes = attempt.end - attempt.start, attempt.slopes
        with np.errstate(all="ignore"):
            moved = attempt.state - combine(f, h, self.stepper.a[-2], slopes)
            self.rate = h * self.growth(slopes[-1] - slopes[-2], moved, attempt.state)
        self.direction = moved
        self.count.add(self.rate > CLOSE * self.stepper.stable)

    @property
    def why(self) -> str:
        return (
            f"the stability bound, not the error, limited {ENOUGH} steps: h rho = {self.rate:.3g}, "
            f"of {self.stepper.stable:.3g} where it is stable"
        )


class _Implicit(_Judge):
    """Whether an explicit pair would be stable with the steps of an implicit method."""

    def look(self, attempt: Attempt, f: Array) -> None:
        values = attempt.control.at_layer(attempt.layer, attempt.end)
        state, xp = attempt.state, namespace(f)
        with np.errstate(all="ignore"):
            old = self.direction / xp.sqrt(self.squares(self.direction, state))
            new = self.network.jvp(state, values, attempt.end, old, {})
            self.rate = (attempt.end - attempt.start) * self.growth(new, old, state)
            found = self.squares(new, state)
            grows = xp.where(xp.isfinite(found), found, xp.zeros_like(found)) > 0
        self.direction = xp.where(grows, new, self.direction)
        self.count.add(self.rate < SLOW)

    @property
    def why(self) -> str:
        return f"the explicit method is stable with its steps: h rho = {self.rate:.3g} < {SLOW:g}"
