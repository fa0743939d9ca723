"""What shooting returns: an extremal, its costates and when its control switches."""

from dataclasses import dataclass, field

import numpy as np

from continuum.arrays import Array
from continuum.controls import Control
from continuum.records import short

from ..run.solution import Solution, Trajectory


@dataclass(frozen=True)
class Switch:
    """A switching function of `block`, at the entry `index`, crosses zero at `time`.

    block : "joint", with the index (), where the control is on or off as a whole: |g| - s, see
        two_point
    """

    time: float
    block: str
    index: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Extremal(Solution[Control]):
    """A solution of the two-point problem.

    value : the control, averaged over the layers of the problem's mesh
    objective : of the extremal itself, whose control switches between the ends of layers
    state, costate : Trajectories at the ends of the steps; costates are shares of the mean over
        samples
    switches : when which entry of the control changes sign
    hamiltonian : (S,) the minimised Hamiltonian at the same times, constant along extremals of
        autonomous problems; the paper's, which is maximised, is its negative.  Empty, like the
        switches, where the answer is the control that started the search
    """

    state: Trajectory = field(default_factory=lambda: Trajectory(np.empty(0), np.empty((0, 0, 0))))
    costate: Trajectory = field(
        default_factory=lambda: Trajectory(np.empty(0), np.empty((0, 0, 0)))
    )
    switches: tuple[Switch, ...] = ()
    hamiltonian: Array = field(default_factory=lambda: np.empty(0))

    __repr__ = short

    def switching_times(self, block: str = "bias") -> Array:
        """The times at which an entry of `block` switches, in order."""
        return np.array([s.time for s in self.switches if s.block == block])
