"""Networks side by side, that do not see each other."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import pairwise
from typing import Self, get_args

import numpy as np

from ..arrays import Array, namespace
from ..blocks import Block, Coefficient
from ..checks import check_name, check_type
from ..controls import ControlSpace
from ..doors import checked
from ..meshes import TimeMesh
from ..time_axes import Norm, TimeKind
from .network import Network, Time, Values
from .staged import Staged


@checked
class DirectSum(Network):
    """d/dt (f_1, ..., f_n) = (F_1(f_1, c_1, t), ..., F_n(f_n, c_n, t)): the state is the states of
    the parts, one below the other, and so are its weights.

    Block b of the part called `w` is "w.b": DirectSum(w=net, z=net) has "w.weight", "z.weight". A
    part sees its own state and its own blocks alone; what joins them is a readout, such as
    Projection([[1, -1]]) for the difference of two scalar networks.

    parts : networks by name, at least one; names are identifiers, not "readout" or "initial", which
        belong to readouts and input maps
    rows : the rows of the state that are each part's
    raises TypeError for what is no network, or a Staged one, which has no velocity; ValueError for
        no parts or such names
    Source: Nar and Sastry (2018), sections 3.1 and 3.2: pairs of residual networks.
    """

    def __init__(self, **parts: Network) -> None:
        if not parts:
            raise ValueError("parts must not be empty: DirectSum(w=network, z=network)")
        for name, part in parts.items():
            check_type(f"part {name}", part, Network)
            if isinstance(part, Staged):
                raise TypeError(f"part {name} must not be a Staged network, got {part!r}")
            if not name.isidentifier() or name in ("readout", "initial"):
                raise ValueError(
                    f"names of parts must be identifiers, not 'readout' or 'initial', got {name!r}"
                )
        self.parts: Mapping[str, Network] = dict(parts)
        self._weights = np.concatenate([part.weights for part in parts.values()])
        ends = np.cumsum([0, *(len(part.weights) for part in parts.values())]).tolist()
        self.rows: Mapping[str, slice] = {
            name: slice(start, end)
            for name, (start, end) in zip(parts, pairwise(ends), strict=True)
        }
        self._names: dict[str, dict[str, str]] = {
            name: {block: f"{name}.{block}" for block in part.block_shapes}
            for name, part in parts.items()
        }
        self._shapes = super().block_shapes

    def __repr__(self) -> str:
        return f"DirectSum({', '.join(f'{name}={part!r}' for name, part in self.parts.items())})"

    @property
    def weights(self) -> Array:
        return self._weights

    @property
    def affine_in_control(self) -> bool:
        return all(part.affine_in_control for part in self.parts.values())

    @property
    def broadcasts(self) -> bool:
        return all(part.broadcasts for part in self.parts.values())

    @property
    def timed(self) -> bool:
        return any(part.timed for part in self.parts.values())

    @property
    def stacks(self) -> bool:
        return all(part.stacks for part in self.parts.values())

    def batch(self, indices: Sequence[int] | Array) -> Self:
        some = {name: part.batch(indices) for name, part in self.parts.items()}
        if all(some[name] is part for name, part in self.parts.items()):
            return self
        changed = copy(self)  # parts of the same shapes
        changed.parts = some
        return changed

    def check_state(self, name: str, state: Array) -> Array:
        state = super().check_state(name, state)
        for part, network in self.parts.items():
            network.check_state(f"the part {part!r} of {name}", state[self.rows[part], :])
        return state

    @property
    def block_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self._shapes

    def blocks(self, in_time: TimeKind | None = None) -> tuple[Block, ...]:
        """Those of the parts; in_time=None leaves to each part how its own depend on time."""
        return tuple(
            replace(block, name=self._names[name][block.name])
            for name, part in self.parts.items()
            for block in (part.blocks() if in_time is None else part.blocks(in_time))
        )

    def controls(
        self,
        mesh: TimeMesh,
        in_time: TimeKind | None = None,
        norm: Norm = "L2",
        fixed: Mapping[str, Coefficient] | None = None,
    ) -> ControlSpace:
        """As of any network; in_time=None leaves to each part how its own depend on time."""
        if in_time is not None:
            check_name("in_time", in_time, get_args(TimeKind))
        return self._space(mesh, self.blocks(in_time), norm, fixed)

    def own(self, name: str, values: Values) -> dict[str, Array]:
        """The values of the blocks of one part, by their names there, without those missing."""
        named = self._names[name].items()
        return {block: values[longer] for block, longer in named if longer in values}

    def velocity(self, f: Array, c: Values, t: Time) -> Array:
        return self._stacked(
            [
                part.velocity(f[..., self.rows[name], :], self.own(name, c), t)
                for name, part in self.parts.items()
            ]
        )

    def jvp(self, f: Array, c: Values, t: Time, df: Array, dc: Values) -> Array:
        found = []
        for name, part in self.parts.items():
            rows = (..., self.rows[name], slice(None))
            found.append(part.jvp(f[rows], self.own(name, c), t, df[rows], self.own(name, dc)))
        return self._stacked(found)

    def vjp(self, f: Array, c: Values, t: Time, p: Array) -> tuple[Array, dict[str, Array]]:
        states, bars = [], {}
        for name, part in self.parts.items():
            rows = (..., self.rows[name], slice(None))
            q, own = part.vjp(f[rows], self.own(name, c), t, p[rows])
            states.append(q)
            bars.update({self._names[name][block]: bar for block, bar in own.items()})
        return self._stacked(states), bars

    def vjp_derivative(
        self, f: Array, c: Values, t: Time, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        states, bars = [], {}
        for name, part in self.parts.items():
            rows = (..., self.rows[name], slice(None))
            q, own = part.vjp_derivative(
                f[rows], self.own(name, c), t, p[rows], df[rows], self.own(name, dc), dp[rows]
            )
            states.append(q)
            bars.update({self._names[name][block]: bar for block, bar in own.items()})
        return self._stacked(states), bars

    def formula(self) -> str:
        return "; ".join(f"{name}: {part.formula()}" for name, part in self.parts.items())

    def _stacked(self, parts: list[Array]) -> Array:
        return namespace(parts[0]).concat(parts, axis=-2)
