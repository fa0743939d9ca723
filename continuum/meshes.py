"""The time axis: a horizon cut into layers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .arrays import Array, to_host
from .checks import check_array, check_count, check_positive
from .doors import checked


@checked
@dataclass(frozen=True)
class TimeMesh:
    """0 = t_0 < ... < t_K = T, t_k = T (k / K)^grading; `TimeMesh.through` for other nodes.

    horizon : T > 0, the time the flow runs
    layers : K >= 1, the depth of the ResNet
    grading : 1 is uniform; larger values put more layers near t = 0, for coefficients that are
        singular there
    given : the nodes where `through` was told them, else empty
    raises ValueError for a horizon or grading <= 0 or no layers
    """

    horizon: float
    layers: int
    grading: float = 1.0
    given: tuple[float, ...] = field(default=(), kw_only=True, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizon", check_positive("horizon", self.horizon))
        object.__setattr__(self, "layers", check_count("layers", self.layers))
        object.__setattr__(self, "grading", check_positive("grading", self.grading))
        if self.given and (len(self.given), self.given[-1]) != (self.layers + 1, self.horizon):
            raise ValueError(
                f"the nodes given end at {self.given[-1]:g} after {len(self.given) - 1} layers: "
                f"for others make another mesh with TimeMesh.through"
            )

    @classmethod
    @checked
    def through(cls, nodes: Sequence[float] | Array) -> "TimeMesh":
        """The mesh with these nodes (K+1,): 0 = t_0 < t_1 < ... < t_K = T.

        A turnpike wants short layers where the control changes, near 0, and long ones elsewhere.
        raises ValueError for nodes that do not start at 0 or do not increase
        """
        t = to_host(check_array("nodes", np.asarray(nodes), ("K+1",)))
        if len(t) < 2 or t[0] != 0.0:
            raise ValueError(f"nodes must start at 0 and be at least two, got {t[:2]}")
        wrong = np.flatnonzero(~(np.diff(t) > 0.0))
        if len(wrong):
            k = int(wrong[0])
            raise ValueError(
                f"nodes must increase, but nodes[{k}] = {t[k]:g} and nodes[{k + 1}] = {t[k + 1]:g}"
            )
        return cls(float(t[-1]), len(t) - 1, given=tuple(t.tolist()))

    @checked
    def stretched(self, horizon: float) -> "TimeMesh":
        """The mesh of another horizon, of which the layers keep their shares."""
        if not self.given:
            return TimeMesh(horizon, self.layers, self.grading)
        inner = self.nodes[:-1] * (horizon / self.horizon)
        return TimeMesh.through(np.append(inner, horizon))

    @cached_property
    def nodes(self) -> Array:
        """(K+1,): the ends of the layers, t_0 = 0 and t_K = T exactly."""
        if self.given:
            return np.array(self.given)
        nodes = self.horizon * np.linspace(0.0, 1.0, self.layers + 1) ** self.grading
        nodes[-1] = self.horizon
        return nodes

    @cached_property
    def steps(self) -> Array:
        """(K,): the lengths tau_k = t_{k+1} - t_k."""
        if self.grading == 1.0 and not self.given:
            return np.full(self.layers, self.horizon / self.layers)
        return np.diff(self.nodes)

    def layers_of(self, t: Array) -> Array:
        """`layer_of` each of the times (L,): NumPy's integers (L,)."""
        wrong = t[~((t >= 0.0) & (t <= self.horizon))]
        if len(wrong):
            raise ValueError(f"t must be in [0, {self.horizon}], got {wrong[0]}")
        return np.minimum(np.searchsorted(self.nodes, t, side="right") - 1, self.layers - 1)

    @checked
    def layer_of(self, t: float) -> int:
        """The k with t_k <= t < t_{k+1}, the last layer for t = T.

        raises ValueError outside [0, T]
        """
        if not 0.0 <= t <= self.horizon:
            raise ValueError(f"t must be in [0, {self.horizon}], got {t}")
        return min(int(np.searchsorted(self.nodes, t, side="right")) - 1, self.layers - 1)

    @checked
    def part(self, first: int, last: int) -> "TimeMesh":
        """The layers first, ..., last - 1 as a mesh of their own, which starts at 0.

        raises ValueError unless 0 <= first < last <= K
        """
        if not 0 <= first < last <= self.layers:
            raise ValueError(
                f"first must be below last, both in 0, ..., {self.layers}, got {first}, {last}"
            )
        if (first, last) == (0, self.layers):
            return self
        nodes = self.nodes[first : last + 1] - self.nodes[first]
        if self.grading == 1.0 and not self.given:
            return TimeMesh(float(nodes[-1]), last - first)
        return TimeMesh.through(nodes)

    def difference(self, other: "TimeMesh") -> str:
        """What `other` has that this mesh has not, in words; empty if they are the same."""
        for what in ("horizon", "layers", "grading"):
            found, wanted = getattr(other, what), getattr(self, what)
            if found != wanted:
                return f"its mesh has {what} {found:g}, expected {wanted:g}"
        return "" if other == self else "its mesh has other nodes"
