"""The time axis: a horizon cut into layers."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .arrays import Array
from .checks import check_count, check_positive


@dataclass(frozen=True)
class TimeMesh:
    """0 = t_0 < ... < t_K = T, t_k = T (k / K)^grading.

    horizon : T > 0, the time the flow runs
    layers : K >= 1, the depth of the ResNet
    grading : 1 is uniform; larger values put more layers near t = 0, for coefficients that are
        singular there
    raises ValueError for a horizon or grading <= 0 or no layers
    """

    horizon: float
    layers: int
    grading: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizon", check_positive("horizon", self.horizon))
        object.__setattr__(self, "layers", check_count("layers", self.layers))
        object.__setattr__(self, "grading", check_positive("grading", self.grading))

    @cached_property
    def nodes(self) -> Array:
        """(K+1,): the ends of the layers, t_0 = 0 and t_K = T exactly."""
        nodes = self.horizon * np.linspace(0.0, 1.0, self.layers + 1) ** self.grading
        nodes[-1] = self.horizon
        return nodes

    @cached_property
    def steps(self) -> Array:
        """(K,): the lengths tau_k = t_{k+1} - t_k."""
        if self.grading == 1.0:
            return np.full(self.layers, self.horizon / self.layers)
        return np.diff(self.nodes)

    def layers_of(self, t: Array) -> Array:
        """`layer_of` each of the times (L,): NumPy's integers (L,)."""
        wrong = t[~((t >= 0.0) & (t <= self.horizon))]
        if len(wrong):
            raise ValueError(f"t must be in [0, {self.horizon}], got {wrong[0]}")
        return np.minimum(np.searchsorted(self.nodes, t, side="right") - 1, self.layers - 1)

    def layer_of(self, t: float) -> int:
        """The k with t_k <= t < t_{k+1}, the last layer for t = T.

        raises ValueError outside [0, T]
        """
        if not 0.0 <= t <= self.horizon:
            raise ValueError(f"t must be in [0, {self.horizon}], got {t}")
        return min(int(np.searchsorted(self.nodes, t, side="right")) - 1, self.layers - 1)
