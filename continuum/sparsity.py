"""Penalties of degree one: sparse controls, by entries, by rows, or switched off as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from .admissible import AdmissibleSet
from .arrays import Array, like, namespace
from .blocks import Block, joint_norm, scaled
from .checks import check_name
from .controls import Control, ControlSpace, check_control
from .doors import checked
from .penalties import (
    BlockPenalty,
    Penalty,
    Values,
    counted,
    density_sum,
    in_one_pass,
    leading_sum,
    squared,
)
from .update_loops import magnitudes

_TINY = 1e-300


@checked
@dataclass(frozen=True)
class L1(BlockPenalty):
    """R = strength int_0^T sum_i w_i |x_i(t)| dt: sparse controls; by rows, sparse in whole rows of
    a matrix; joint, off on whole intervals of time.

    groups="rows": strength int_0^T sum_i (m_i sum_j W_ij x_ij(t)^2)^(1/2) dt with W the block's
    weights and m_i = sum_j W_ij the measure of row i; a block with one axis counts entry by entry.
    groups="joint": strength int_0^T |x(t)| dt, |x(t)| the norm over all entries of all blocks that
    count, each in its own weights (`joint_norm`): Euclidean for matrices.  None as `blocks` takes
    every trained block that depends on time.
    Otherwise blocks that are constant in time count without the integral; piecewise linear ones
    cannot.

    strength, blocks : see BlockPenalty; groups : "entries", "rows" or "joint"
    raises ValueError for a block that is piecewise linear in time, and by groups="joint" for one
        that is constant in time
    """

    groups: Literal["entries", "rows", "joint"] = "entries"
    smooth: ClassVar[bool] = False
    pointwise: ClassVar[bool] = True
    degree_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name("groups", self.groups, ("entries", "rows", "joint"))

    @property
    def joint(self) -> bool:
        """True if all blocks that count form one group at each time."""
        return self.groups == "joint"

    def whole(self, space: ControlSpace) -> bool:
        """True if all trained blocks form one group at each time."""
        return self.joint and len(self.penalised(space)) == len(space.trained)

    def penalised(self, space: ControlSpace) -> list[Block]:
        """The blocks that count."""
        chosen = super().penalised(space)
        if self.joint and self.blocks is None:
            chosen = [b for b in chosen if b.time != "static"]
        if self.joint and not chosen:
            raise ValueError("L1(groups='joint') needs a trained block that depends on time")
        for block in chosen:
            if block.time == "nodes":
                raise ValueError(
                    f"L1 needs {block.name!r} with in_time='layers' or 'static', where entries "
                    f"are apart"
                )
            if self.joint and block.time == "static":
                raise ValueError(
                    f"L1(groups='joint') needs {block.name!r} with in_time='layers': it counts the "
                    f"norm at each time"
                )
        return chosen

    def value(self, control: Control) -> float:
        space = check_control("control", control).space
        blocks = self.penalised(space)
        if self.joint:
            size = joint_norm(blocks, control)
            return self.strength * float(namespace(size).sum(space.axes[blocks[0].name].mass(size)))
        total = 0.0
        for block in blocks:
            x, found = control[block.name], in_one_pass(control, block.name)
            if found is not None and not self._whole_rows(block):
                total += magnitudes(x.reshape(-1), found.diagonal, found.entries)
                continue
            size, measure = self._sizes(x, block)
            total += float(namespace(x).sum(space.axes[block.name].mass(size * measure)))
        return self.strength * total

    def gradient(self, control: Control) -> dict[str, Array]:
        raise TypeError(
            "L1 has no gradient: use a method with proximal steps, GradientDescent() or Nesterov()"
        )

    def hvp(self, control: Control, direction: Control) -> dict[str, Array]:
        raise TypeError("L1 has no second derivative")

    @checked
    def prox(self, control: Control, step: float) -> Control:
        blocks = self.penalised(check_control("control", control).space)
        return control.replaced(**self._shrunk(control, blocks, step))

    def density(self, space: ControlSpace, values: Values) -> Array:
        counted = self.varying(space, values)
        if self.joint:
            sizes = [joint_norm(counted, values)] if counted else []
            return self.strength * density_sum(sizes, space, values)
        sizes = []
        for block in counted:
            size, measure = self._sizes(values[block.name], block)
            axes = 1 if self._whole_rows(block) else len(block.shape)
            sizes.append(leading_sum(size * measure, axes))
        return self.strength * density_sum(sizes, space, values)

    def density_prox(self, space: ControlSpace, values: Values, step: float) -> dict[str, Array]:
        return {**values, **self._shrunk(values, self.varying(space, values), step)}

    def by_entries(self, space: ControlSpace) -> dict[str, tuple[float, float]] | None:
        """See Penalty."""
        counted = self.penalised(space)
        if self.joint or any(self._whole_rows(b) for b in counted):
            return None
        names = [b.name for b in counted]
        return {b.name: (self.strength * (b.name in names), 0.0) for b in space.trained}

    def nests_in(self, other: Penalty, space: ControlSpace) -> bool:
        """See Penalty."""
        if not isinstance(other, L1):
            return False
        if not self.joint or not other.joint:
            return self._order <= other._order
        names = {b.name for b in other.penalised(space)}
        return all(b.name in names for b in self.penalised(space))

    @property
    def _order(self) -> int:
        return ("entries", "rows", "joint").index(self.groups)

    def _shrunk(self, values: Values, blocks: list[Block], step: float) -> dict[str, Array]:
        """Every group x (1 - step strength / size)_+."""
        if not self.joint:
            return {b.name: self._shrunk_block(values[b.name], b, step) for b in blocks}
        if not blocks:
            return {}
        return scaled(blocks, values, self._share(joint_norm(blocks, values), step))

    def _shrunk_block(self, x: Array, block: Block, step: float) -> Array:
        share = self._share(self._sizes(x, block)[0], step)
        return x * (share[..., None] if self._whole_rows(block) else share)

    def _share(self, size: Array, step: float) -> Array:
        xp = namespace(size)
        return xp.maximum(
            1.0 - step * self.strength / xp.maximum(size, xp.full_like(size, _TINY)),
            xp.zeros_like(size),
        )

    def _whole_rows(self, block: Block) -> bool:
        return self.groups == "rows" and len(block.shape) > 1

    def _sizes(self, x: Array, block: Block) -> tuple[Array, Array]:
        """The root mean square of every group, in the time axis and one axis less for rows, and its
        measure.
        """
        xp = namespace(x)
        w = like(np.broadcast_to(block.weights, block.shape), x)
        if not self._whole_rows(block):
            return xp.abs(x), w
        measure = xp.sum(w, axis=-1)
        return xp.sqrt(xp.sum(w * x * x, axis=-1) / measure), measure

    def formula(self, space: ControlSpace) -> str:
        blocks = self.penalised(space)
        if self.joint:
            return f"{self.strength:g} int_0^T |({', '.join(b.name for b in blocks)})(t)| dt"
        terms = []
        for block in blocks:
            rows = self._whole_rows(block)
            name = f"sum of |rows of {block.name}|" if rows else f"|{block.name}|_1"
            terms.append(name if block.time == "static" else f"int_0^T {name} dt")
        return f"{self.strength:g} (" + " + ".join(terms) + ")"


def obstructing(
    terms: Sequence[Penalty], part: AdmissibleSet, space: ControlSpace
) -> Penalty | None:
    """A term for which projecting on the set after the terms' proximal map is not known to be the
    joint one; None if there is none.

    It is exact where entries are apart, each with a convex penalty and an interval; where norms of
    groups of entries meet a ball of |u(t)|, since as they are of degree one they have the same
    subgradients along the ray on which it shortens; and where a square that is even over all blocks
    of the set meets any set.
    """
    names = set(part.named(space))
    apart = all(part.interval(n, space) is not None for n in names)
    squares = squared(terms, space)
    uneven = len({squares[n] for n in names}) > 1
    for term in terms:
        if not counted(term, space) & names:
            continue
        if term.quadratic(space) is not None:
            known = apart or not uneven
        else:
            entries = isinstance(term, L1) and term.groups == "entries"
            known = term.degree_one and (part.radial or (entries and apart))
        if not known:
            return term
    return None
