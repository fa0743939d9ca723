"""Staged networks whose switching times are unknowns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from ..arrays import Array, like, namespace, to_host
from ..blocks import Block
from ..checks import check_number, check_positive
from ..doors import checked
from ..meshes import TimeMesh
from ..quadrature import Grid
from ..records import short
from ..time_axes import TimeKind
from .network import Network, Time, Values
from .staged import Staged

TIMES = "switch.times"
"""The block (S - 1,) of the switching times."""


class TimesOutOfOrder(ValueError):
    """The switching times do not increase inside (0, T)."""


@dataclass(frozen=True, eq=False)
class Paced(Network):
    """g' = s F(g, c, t) with s = (T_(k+1) - T_k) / length, T_1, ..., T_(S-1) the block
    "switch.times", T_0 = 0 and T_S = T: the flow of F on (T_k, T_(k+1)), on a clock of its own
    that runs over an interval of that length.

    network : F, which does not read the time;  stage : k;  stages : S;  horizon : T;  length : > 0
    """

    network: Network
    stage: int
    stages: int
    horizon: float
    length: float

    @property
    def weights(self) -> Array:
        return self.network.weights

    @property
    def grid(self) -> Grid | None:
        return self.network.grid

    def check_state(self, name: str, state: Array) -> Array:
        return self.network.check_state(name, state)

    def batch(self, indices: Sequence[int] | Array) -> Self:
        return replace(self, network=self.network.batch(indices))

    def blocks(self, in_time: TimeKind = "layers") -> tuple[Block, ...]:
        times = Block(TIMES, (self.stages - 1,), "static", np.ones(1))
        return (*self.network.blocks(in_time), times)

    def pace(self, c: Values) -> Array:
        """s (...), of times (..., S - 1).  Raises TimesOutOfOrder where any of them does not follow
        the one before it.
        """
        given = to_host(c[TIMES])
        ends = np.zeros((*given.shape[:-1], 1))
        times = np.concatenate([ends, given, ends + self.horizon], axis=-1)
        if not np.all(np.diff(times) > 0.0):
            raise TimesOutOfOrder(
                f"{TIMES} must increase inside (0, {self.horizon:g}), got {given.tolist()}"
            )
        return (times[..., self.stage + 1] - times[..., self.stage]) / self.length

    def pace_change(self, dc: Values) -> Array:
        """The derivative of s in the direction dc."""
        return to_host(dc[TIMES]) @ self.pace_gradient if TIMES in dc else np.zeros(())

    @property
    def pace_gradient(self) -> Array:
        """(S - 1,): the derivative of s in the switching times."""
        found = np.zeros(self.stages + 1)
        found[self.stage + 1], found[self.stage] = 1.0 / self.length, -1.0 / self.length
        return found[1:-1]

    def velocity(self, f: Array, c: Values, t: Time) -> Array:
        return float(self.pace(c)) * self.network.velocity(f, c, t)

    def jvp(self, f: Array, c: Values, t: Time, df: Array, dc: Values) -> Array:
        found = float(self.pace(c)) * self.network.jvp(f, c, t, df, dc)
        ds = float(self.pace_change(dc))
        return found + ds * self.network.velocity(f, c, t) if ds else found

    def vjp(self, f: Array, c: Values, t: Time, p: Array) -> tuple[Array, dict[str, Array]]:
        s, (q, bars) = float(self.pace(c)), self.network.vjp(f, c, t, p)
        found = {name: s * bar for name, bar in bars.items()}
        found[TIMES] = like(self.pace_gradient, f) * self._inner(self.network.velocity(f, c, t), p)
        return s * q, found

    def vjp_derivative(
        self, f: Array, c: Values, t: Time, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        s, ds, inner = float(self.pace(c)), float(self.pace_change(dc)), self.network
        q, bars = inner.vjp(f, c, t, p)
        dq, dbars = inner.vjp_derivative(f, c, t, p, df, dc, dp)
        found = {name: ds * bar + s * dbars[name] for name, bar in bars.items()}
        change = self._inner(inner.jvp(f, c, t, df, dc), p)
        change = change + self._inner(inner.velocity(f, c, t), dp)
        found[TIMES] = like(self.pace_gradient, f) * change
        return ds * q + s * dq, found

    def formula(self) -> str:
        return self.network.formula()

    def _inner(self, f: Array, g: Array) -> Array:
        return namespace(f).sum(self.weights_like(f)[:, None] * f * g)


@checked
@dataclass(frozen=True, eq=False)
class Switched(Staged):
    """x' = F_rho(t)(x, u), rho(t) = s on (T_s, T_(s+1)): a Staged network whose switching times
    T_1 < ... < T_(S-1) are unknowns, the static block "switch.times" (S - 1,).

    Layers stay with their stage: a mesh has nodes at `changes`, and the layers of stage s on it
    are run with (T_(s+1) - T_s) / (t_(s+1) - t_s) times their length, which is where J depends on
    the times.  Meshes, trajectories and the product of the control space keep the clock of
    `changes`; `clock` gives the time that a control means by it.  Costs are integrals over that
    time: of the running cost, and of the density of the penalty, which must be quadratic.

    stages, changes, transfers : see Staged; transfers may be left out where widths do not change
    horizon : T, that of every mesh it is used on
    raises as Staged; ValueError for `changes` not inside (0, T), TimesOutOfOrder for times of a
        control that do not increase inside (0, T), where a solver meets them
    """

    shared: ClassVar[tuple[str, ...]] = (TIMES,)
    transfers: tuple[Array, ...] = ()
    horizon: float = field(kw_only=True)

    __repr__ = short

    def __post_init__(self) -> None:
        horizon, count = check_positive("horizon", self.horizon), len(self.stages)
        if count < 2:
            raise ValueError("stages must be at least two: there is no switching time")
        if not self.transfers:
            object.__setattr__(
                self, "transfers", tuple(np.eye(len(s.weights)) for s in self.stages[1:])
            )
        super().__post_init__()
        ends = (0.0, *self.changes, horizon)
        if not ends[-2] < horizon:
            raise ValueError(f"changes must lie in (0, {horizon:g}), got {self.changes}")
        lengths = np.diff(ends).tolist()
        paced = (
            stage if isinstance(stage, Paced) else Paced(stage, s, count, horizon, length)
            for s, (stage, length) in enumerate(zip(self.stages, lengths, strict=True))
        )
        object.__setattr__(self, "stages", tuple(paced))

    def cuts(self, mesh: TimeMesh) -> tuple[int, ...]:
        if mesh.horizon != self.horizon:
            raise ValueError(
                f"the mesh must have the horizon {self.horizon:g} of the network, got "
                f"{mesh.horizon:g}"
            )
        return super().cuts(mesh)

    def clock(self, values: Mapping[str, Array], t: Sequence[float] | Array) -> Array:
        """The times that a control means by times t of its mesh: linear between the changes.

        values : a control, or its values, with the block "switch.times"
        raises TimesOutOfOrder
        """
        self.stages[0].pace(values)  # type: ignore[attr-defined]  # all are Paced, and check all
        meant = [0.0, *(check_number(TIMES, float(s)) for s in values[TIMES]), self.horizon]
        return np.interp(np.asarray(t), [0.0, *self.changes, self.horizon], meant)
