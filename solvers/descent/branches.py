"""What continuation returns: branches of stationary points, and what happens along them."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count, check_positive, store
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from ..run.status import Status


@checked
@dataclass(frozen=True)
class Arclength:
    """How a branch is followed.

    max_step : longest step in arclength, (|dy|^2 + (d log p)^2)^(1/2)
    max_points : the cap on points
    gtol : a control is stationary where the gradient's norm is at most gtol
    rtol : an eigenvalue of the Hessian counts as null if it is at most rtol times the largest, in
        absolute value
    raises ValueError for numbers that are not positive
    """

    max_step: float = 0.1
    max_points: int = 1000
    gtol: float = 1e-9
    rtol: float = 1e-8

    def __post_init__(self) -> None:
        store(self, check_positive, "max_step", "gtol", "rtol")
        store(self, check_count, "max_points")


@dataclass(frozen=True, eq=False)
class Event:
    """A point of a branch at which something happens.

    kind : "fold", where the branch turns back in the parameter; "subcritical pitchfork", where
        another branch crosses and both its halves lie on the side of fewer negative eigenvalues of
        this one; "supercritical pitchfork", on the other side; "transcritical", one half on each;
        "branch point", where an eigenvalue passes zero but the other branch was not found, or
        several pass at once;
        "equal values", where another branch has the same J
    parameter, objective, control : there
    error : estimated error of `parameter`, from the residuals of the equations that define it
    direction : the null vector of the Hessian, of norm 1; for equal values the control of the other
        branch less this one
    negative : numbers of negative eigenvalues before and after; for equal values on this branch and
        on the other
    null : number of null eigenvalues
    after : number of the point of the branch before it
    tangent : (n + 1,), of this branch in the unknowns and log p
    """

    kind: str
    parameter: float
    objective: float
    control: Control
    error: float
    direction: Control
    negative: tuple[int, int]
    null: int
    after: int
    tangent: Array = field(repr=False)

    __repr__ = short


@dataclass(frozen=True, eq=False)
class Branch:
    """Stationary points of the discretized problem, in the order in which they were found.

    parameter : its name
    values, objectives, least : (P,), of the parameter, of J, and the least eigenvalues of the
        Hessian in the product of the space
    controls : P of them
    negative, null : (P,), how many eigenvalues are negative, the Morse index, and null, to `rtol`
        of the method.  Where both are 0 the control is a strict local minimiser, where the first is
        not 0 it is none
    events : folds and branch points, in order
    status, detail : how it ended
    problem, method : what was followed, and how
    """

    parameter: str
    values: Array
    objectives: Array
    least: Array
    controls: tuple[Control, ...]
    negative: Array
    null: Array
    events: tuple[Event, ...]
    status: Status
    detail: str
    problem: LearningProblem = field(repr=False)
    method: Arclength = field(repr=False)

    __repr__ = short

    def __len__(self) -> int:
        return len(self.values)

    def pieces(self) -> list[tuple[int, Array, Array]]:
        """The branch cut at its events: (Morse index, values, objectives) of each piece, the events
        at its ends included.
        """
        cuts: list[Event | None] = [None, *self.events, None]
        found = []
        for start, stop in pairwise(cuts):
            first = 0 if start is None else start.after + 1
            last = len(self) - 1 if stop is None else stop.after
            own = slice(first, last + 1)
            ends = [[] if e is None else [e.parameter] for e in (start, stop)]
            values = np.concatenate([ends[0], self.values[own], ends[1]])
            ends = [[] if e is None else [e.objective] for e in (start, stop)]
            objectives = np.concatenate([ends[0], self.objectives[own], ends[1]])
            found.append((int(self.negative[last]), values, objectives))
        return found
