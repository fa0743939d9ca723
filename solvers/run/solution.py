"""What every solver returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Self, TypeAlias, TypeVar

from continuum.arrays import Array
from continuum.controls import Control
from continuum.doors import checked
from continuum.records import short

from .status import Status

States: TypeAlias = Sequence[Array] | Array
"""States (N, M) one after the other: a list of them, or one array (S, N, M)."""


@checked
@dataclass(frozen=True, eq=False)
class Trajectory:
    """States at some times.

    times : (S,), increasing, a NumPy array
    states : (S, N, M), in the library and on the device where they were computed; `to_host` brings
        them back
    """

    times: Array
    states: Array

    __repr__ = short

    @property
    def final(self) -> Array:
        """The last state: (N, M).

        raises ValueError if there is none, as in a run of `integrate_stages` for a stage in which
            none of the times to save lies
        """
        if not len(self.times):
            raise ValueError(
                "this trajectory has no states: none of the times that were to be saved lies in "
                "its stage"
            )
        return self.states[-1, ...]


History = Mapping[str, Array]
"""What was recorded along a run, by name: one number per iteration or event, in order."""


T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, eq=False)
class Solution(Generic[T_co]):
    """An answer with its status: Solution[Trajectory] or Solution[Control], after the failure of
    `solve_hjb` Solution[ValueFunction].

    value : the Trajectory of `integrate`, the Control of an optimizer, or the ValueFunction
    status : how the run ended
    detail : where or why, a short phrase, may be empty
    objective : the final cost, for optimizers
    history : what was recorded on the way
    statistics : counts (steps, rejected, evaluations, iterations) and seconds
    multiplier : (P, M), of the endpoint of a problem, see TerminalEquality; None without one
    """

    value: T_co
    status: Status
    detail: str = ""
    objective: float = float("nan")
    history: History = field(default_factory=dict)
    statistics: Mapping[str, float] = field(default_factory=dict)
    multiplier: Array | None = None

    __repr__ = short

    @property
    def trajectory(self) -> Trajectory:
        """The value of `integrate`.  Raises TypeError for the solution of an optimizer."""
        if not isinstance(self.value, Trajectory):
            raise TypeError("this solution is a control, not a trajectory: integrate its .control")
        return self.value

    @property
    def control(self) -> Control:
        """The value of an optimizer.  Raises TypeError for the solution of `integrate`."""
        if not isinstance(self.value, Control):
            raise TypeError("this solution is a trajectory, not a control")
        return self.value

    def raise_if_failed(self, wanted: bool = True) -> Self:
        """Itself, or SolveError if its status is a failure and raising is wanted."""
        if wanted and not self.status.ok:
            raise SolveError(self)
        return self


class SolveError(RuntimeError):
    """A solver failed.  `solution` is what it had so far, `solution.status` the reason.

    The states of a trajectory so far are those before the failure, all of them finite.
    """

    def __init__(self, solution: Solution) -> None:
        detail = f" ({solution.detail})" if solution.detail else ""
        super().__init__(solution.status.value + detail)
        self.solution = solution

    def __reduce__(self) -> tuple[type["SolveError"], tuple[Solution]]:
        return type(self), (self.solution,)
