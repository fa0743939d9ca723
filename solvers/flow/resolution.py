"""Whether a grid still resolves what moves on it."""

import numpy as np

from continuum.arrays import Array, to_host
from continuum.checks import check_array, check_positive
from continuum.controls import ControlPath
from continuum.domains import Circle, Interval, Line
from continuum.doors import checked
from continuum.networks import Network

from ..run.monitors import Snapshot


@checked
def velocity_jump(network: Network, control: ControlPath, state: Array, t: float = 0.0) -> Array:
    """max_i |F_i+1 - F_i| / (max F - min F), F = F(f, c(t), t) on neighbouring nodes: (M,) numbers
    in [0, 1].

    Fronts of f sit where F jumps.  The share of its range that F crosses between two neighbours
    falls like h where the grid resolves it, and is of order 1 where it does not (1/2 if a node
    stands in the middle of the front); 0 where F is constant.  The first and the last node of a
    circle are neighbours too.

    state : (N, M)
    raises TypeError for a network without a grid, ValueError for a domain of more than one
    dimension
    """
    if network.grid is None:
        raise TypeError(f"network must live on a grid, such as WidthDepth, got {network!r}")
    domain = network.grid.domain
    if not isinstance(domain, Circle | Interval | Line):
        raise ValueError(
            f"network must live on a circle, an interval or the line, where nodes have a next, "
            f"got {domain}"
        )
    state = check_array("state", state, (len(network.weights), "M"))
    network.check_control("control", control)
    speed = to_host(network.velocity(state, control.at_layer(control.mesh.layer_of(t), t), t))[
        np.argsort(network.grid.coordinates)
    ]
    steps = np.diff(speed, axis=0, append=speed[:1] if isinstance(domain, Circle) else speed[-1:])
    span = np.ptp(speed, axis=0)
    return np.max(np.abs(steps), axis=0) / np.where(span > 0, span, 1.0)


@checked
class Unresolved:
    """A condition for `Stop`: some sample's `velocity_jump` exceeds `limit`; 1/4 leaves a front
    about four nodes.

        integrate(..., monitors=[Monitor(Stop(Unresolved(network, control)))])

    raises ValueError unless limit > 0
    """

    reason = (
        "the grid no longer resolves the state: its velocity jumps between neighbouring "
        "nodes; use more nodes"
    )

    def __init__(self, network: Network, control: ControlPath, limit: float = 0.25) -> None:
        self.network, self.control, self.limit = network, control, check_positive("limit", limit)

    def __call__(self, snapshot: Snapshot) -> bool:
        """True if the grid does not resolve the state."""
        return bool(
            np.max(velocity_jump(self.network, self.control, snapshot.state, snapshot.time))
            > self.limit
        )
