"""Networks side by side, that do not see each other."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

import numpy as np

from ..arrays import Array, namespace
from ..blocks import Block
from ..checks import check_type
from ..time_axes import TimeKind
from .network import Network, Time, Values


class DirectSum(Network):
    """d/dt (f_1, ..., f_n) = (F_1(f_1, c_1, t), ..., F_n(f_n, c_n, t)): the state is the states of
    the parts, one below the other, and so are its weights.

    Block b of the part called `w` is "w.b": DirectSum(w=net, z=net) has "w.weight", "z.weight". A
    part sees its own state and its own blocks alone; what joins them is a readout, such as
    Projection([[1, -1]]) for the difference of two scalar networks.

    parts : networks by name, at least one; names are identifiers, not "readout"
    raises TypeError for what is no network, ValueError for no parts or such names
    Source: Nar and Sastry (2018), sections 3.1 and 3.2: pairs of residual networks.
    """

    def __init__(self, **parts: Network) -> None:
        if not parts:
            raise ValueError("parts must not be empty: DirectSum(w=network, z=network)")
        for name, part in parts.items():
            check_type(f"part {name}", part, Network)
            if not name.isidentifier() or name == "readout":
                raise ValueError(f"names of parts must be identifiers, not 'readout', got {name!r}")
        self.parts: Mapping[str, Network] = dict(parts)
        sizes = np.cumsum([0, *(len(part.weights) for part in parts.values())]).tolist()
        self.rows: Mapping[str, slice] = {
            name: slice(start, end)
            for name, start, end in zip(parts, sizes, sizes[1:], strict=False)
        }
        self._names: dict[str, dict[str, str]] = {
            name: {block: f"{name}.{block}" for block in part.block_shapes}
            for name, part in parts.items()
        }

    def __repr__(self) -> str:
        return f"DirectSum({', '.join(f'{name}={part!r}' for name, part in self.parts.items())})"

    @property
    def weights(self) -> Array:
        return np.concatenate([part.weights for part in self.parts.values()])

    @property
    def affine_in_control(self) -> bool:
        return all(part.affine_in_control for part in self.parts.values())

    @property
    def broadcasts(self) -> bool:
        return all(part.broadcasts for part in self.parts.values())

    @property
    def stacks(self) -> bool:
        return all(part.stacks for part in self.parts.values())

    def batch(self, indices: Sequence[int] | Array) -> Self:
        return type(self)(**{name: part.batch(indices) for name, part in self.parts.items()})

    def blocks(self, in_time: TimeKind = "layers") -> tuple[Block, ...]:
        return tuple(
            replace(block, name=self._names[name][block.name])
            for name, part in self.parts.items()
            for block in part.blocks(in_time)
        )

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
