"""What shooting returns: an extremal, its costates and when its control switches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_array
from continuum.controls import Control
from continuum.records import short

from ..run.solution import Solution, Trajectory


@dataclass(frozen=True)
class Switch:
    """A switching function of `block`, at the entry `index`, crosses zero at `time`.

    block : "joint", with the index (), where the control is on or off as a whole: |g| - s, see
        two_point
    index : Python's, from 0; of the bias of a ConvexHull also the number of the edge
    """

    time: float
    block: str
    index: tuple[int, ...]


class SingularArc(NamedTuple):
    """From `start` to `end` the switching function of `block` at `index` rests at zero, or the
    entry rests strictly between its bounds: H does not determine it there.
    """

    block: str
    index: tuple[int, ...]
    start: float
    end: float


def entry_name(block: str, index: Sequence[int]) -> str:
    """weight[0, 1], as in Python; the block alone where it is one number."""
    return f"{block}[{', '.join(str(int(i)) for i in index)}]" if len(index) else block


@dataclass(frozen=True, eq=False)
class ExtremalPoints:
    """An extremal at L times, which need not be ends of its steps.

    times : (L,)
    states, costates : (L, N, M); costates are shares of the mean over samples
    control : by block (L, *block.shape), the minimiser of H, from the right where it switches
    switching : by block (L, *block.shape), of the blocks that switch: for a box they are at their
        upper bound where the function is positive; "joint" (L,): |g| - s.  Without the blocks that
        move continuously, as those of a Tikhonov term
    hamiltonian : (L,) the minimised Hamiltonian
    """

    times: Array
    states: Array
    costates: Array
    control: Mapping[str, Array]
    switching: Mapping[str, Array]
    hamiltonian: Array

    __repr__ = short


@dataclass(frozen=True, eq=False)
class Extremal(Solution[Control]):
    """A solution of the two-point problem.

    value : the control, averaged over the layers of the problem's mesh
    objective : of the extremal itself, whose control switches between the ends of layers
    state, costate : Trajectories at the ends of the steps; costates are shares of the mean over
        samples
    switches : when which entry of the control changes from bound to bound
    hamiltonian : (S,) the minimised Hamiltonian at the same times, constant along extremals of
        autonomous problems; the paper's, which is maximised, is its negative.  Empty, like the
        switches, where the answer is the control that started the search
    dense : the points at given times, which `at` asks; None in the same case
    """

    state: Trajectory = field(default_factory=lambda: Trajectory(np.empty(0), np.empty((0, 0, 0))))
    costate: Trajectory = field(
        default_factory=lambda: Trajectory(np.empty(0), np.empty((0, 0, 0)))
    )
    switches: tuple[Switch, ...] = ()
    hamiltonian: Array = field(default_factory=lambda: np.empty(0))
    dense: Callable[[Array], ExtremalPoints] | None = field(default=None, repr=False)

    __repr__ = short

    def at(self, times: Sequence[float] | Array) -> ExtremalPoints:
        """State, costate, control, switching functions and H at these times (L,), by the continuous
        extension of the steps, of order 7.

        raises ValueError for times outside [0, T], and where the answer is the control that started
            the search, which is known at the ends of its steps alone
        """
        if self.dense is None:
            raise ValueError(
                "times: this answer is the control that started the search, not a solution of the "
                "two-point problem; integrate(..., save=times) gives its states at any times"
            )
        return self.dense(check_array("times", times, ("L",)))  # type: ignore[arg-type]

    def switching_times(self, block: str = "bias") -> Array:
        """The times at which an entry of `block` switches, in order."""
        return np.array([s.time for s in self.switches if s.block == block])
