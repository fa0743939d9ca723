"""Penalties on the control: integrals over (0, T), not sums over layers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import ClassVar, Literal

import numpy as np

from .arrays import Array, like, namespace
from .blocks import Block
from .checks import check_name
from .controls import Control, ControlSpace, check_control


class Penalty(ABC):
    """A functional R of the control, with its derivatives and proximal map in the product of the
    control's space.

    `smooth` says whether it has a gradient; those that have none are met by their proximal map
    alone. Penalties add up: Tikhonov(1e-3) + L1(1e-2, ["kernel"]).
    """

    smooth: ClassVar[bool] = True

    @abstractmethod
    def value(self, control: Control) -> float:
        """R(control)."""

    @abstractmethod
    def gradient(self, control: Control) -> dict[str, Array]:
        """The gradient of R, by block; blocks that do not count are left out.  Raises TypeError if
        not `smooth`.
        """

    @abstractmethod
    def hvp(self, control: Control, direction: Control) -> dict[str, Array]:
        """The derivative of the gradient in a direction.  Raises TypeError if not `smooth`."""

    @abstractmethod
    def prox(self, control: Control, step: float) -> Control:
        """argmin_z |z - control|^2 / 2 + step R(z), step > 0, in the norm of the space."""

    @abstractmethod
    def formula(self, space: ControlSpace) -> str:
        """How `print(problem)` writes it.  Raises ValueError for names that are no trained blocks
        of the space.
        """

    @property
    def terms(self) -> tuple["Penalty", ...]:
        """The penalties it is a sum of."""
        return (self,)

    def __add__(self, other: "Penalty") -> "Penalty":
        if not isinstance(other, Penalty):
            return NotImplemented
        return PenaltySum((*self.terms, *other.terms))


@dataclass(frozen=True)
class BlockPenalty(Penalty):
    """A strength, and the blocks that count.

    strength : lambda >= 0
    blocks : which blocks count; all trained ones if not said
    raises ValueError for strength < 0 or a name that is not a trained block
    """

    strength: float
    blocks: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.strength, Real):
            raise TypeError(f"strength must be a number, got {self.strength!r}")
        if not self.strength >= 0 or self.strength == float("inf"):
            raise ValueError(f"strength must be finite and >= 0, got {self.strength}")
        if isinstance(self.blocks, str):
            raise TypeError(
                f"blocks must be a sequence of names, such as [{self.blocks!r}], got "
                f"{self.blocks!r}"
            )

    def penalised(self, space: ControlSpace) -> list[Block]:
        """The blocks that count."""
        names = [b.name for b in space.trained]
        for name in self.blocks or ():
            check_name("block", name, names)
        return [b for b in space.trained if self.blocks is None or b.name in self.blocks]

    def _formula(self, space: ControlSpace, kinds: dict[str, str]) -> str:
        return (
            f"{self.strength:g} ("
            + " + ".join(kinds[b.time].format(b.name) for b in self.penalised(space))
            + ")"
        )


@dataclass(frozen=True)
class Tikhonov(BlockPenalty):
    """R = strength int_0^T sum_i w_i x_i(t)^2 dt, summed over blocks; its gradient is 2 strength x.

    Blocks that are constant in time ("static") count without the integral over time.
    strength, blocks : see BlockPenalty
    Source: Liu and Markowich (4.6), with the factor 2 that (4.7) lacks.
    """

    def value(self, control: Control) -> float:
        total = 0.0
        for block in self.penalised(check_control("control", control).space):
            x = control[block.name]
            mass = control.space.axes[block.name].mass(x)
            total += float(namespace(x).sum(like(block.weights, x) * x * mass))
        return self.strength * total

    def gradient(self, control: Control) -> dict[str, Array]:
        space = check_control("control", control).space
        represented = {
            b.name: space.axes[b.name].from_l2(control[b.name]) for b in self.penalised(space)
        }
        return {name: 2.0 * self.strength * x for name, x in represented.items()}

    def hvp(self, control: Control, direction: Control) -> dict[str, Array]:
        return self.gradient(check_control("control", control).space.check("direction", direction))

    def prox(self, control: Control, step: float) -> Control:
        space, factor = check_control("control", control).space, 2.0 * step * self.strength
        return control.replaced(
            **{
                b.name: space.axes[b.name].prox(control[b.name], factor, 0.0)
                for b in self.penalised(space)
            }
        )

    def formula(self, space: ControlSpace) -> str:
        return self._formula(
            space,
            {
                "layers": "int_0^T |{}|^2 dt (piecewise constant)",
                "nodes": "int_0^T |{}|^2 dt (piecewise linear, exactly)",
                "static": "|{}|^2",
            },
        )


@dataclass(frozen=True)
class SobolevPenalty(BlockPenalty):
    """R = strength int_0^T sum_i w_i (x_i(t)^2 + x_i'(t)^2) dt: the H1 norm in time, of blocks with
    in_time="nodes".

    strength, blocks : see BlockPenalty; None takes every block that is piecewise linear in time
    raises ValueError if a block named is not piecewise linear, or none is
    """

    def penalised(self, space: ControlSpace) -> list[Block]:
        """The blocks that count."""
        chosen = super().penalised(space)
        if self.blocks is None:
            chosen = [b for b in chosen if b.time == "nodes"]
        wrong = [b.name for b in chosen if b.time != "nodes"]
        if wrong or not chosen:
            named = f", which {', '.join(wrong)} is not" if wrong else "; none is"
            raise ValueError(
                f"SobolevPenalty needs blocks that are piecewise linear, in_time='nodes'{named}"
            )
        return chosen

    def value(self, control: Control) -> float:
        total = 0.0
        for block in self.penalised(check_control("control", control).space):
            x, axis = control[block.name], control.space.axes[block.name]
            total += float(
                namespace(x).sum(like(block.weights, x) * x * (axis.mass(x) + axis.stiffness(x)))
            )
        return self.strength * total

    def gradient(self, control: Control) -> dict[str, Array]:
        found = {}
        for block in self.penalised(check_control("control", control).space):
            x, axis = control[block.name], control.space.axes[block.name]
            found[block.name] = axis.riesz(2.0 * self.strength * (axis.mass(x) + axis.stiffness(x)))
        return found

    def hvp(self, control: Control, direction: Control) -> dict[str, Array]:
        return self.gradient(check_control("control", control).space.check("direction", direction))

    def prox(self, control: Control, step: float) -> Control:
        space, factor = check_control("control", control).space, 2.0 * step * self.strength
        return control.replaced(
            **{
                b.name: space.axes[b.name].prox(control[b.name], factor, factor)
                for b in self.penalised(space)
            }
        )

    def formula(self, space: ControlSpace) -> str:
        return self._formula(space, {"nodes": "int_0^T |{0}|^2 + |{0}'|^2 dt"})


@dataclass(frozen=True)
class L1(BlockPenalty):
    """R = strength int_0^T sum_i w_i |x_i(t)| dt: sparse controls; by rows, sparse in whole rows of
    a matrix.

    groups="rows": strength int_0^T sum_i (m_i sum_j W_ij x_ij(t)^2)^(1/2) dt with W the block's
    weights and m_i = sum_j W_ij the measure of row i; a block with one axis counts entry by entry.
    Blocks that are constant in time count without the integral; piecewise linear ones cannot.

    strength, blocks : see BlockPenalty; groups : "entries" or "rows"
    raises ValueError for a block that is piecewise linear in time
    """

    groups: Literal["entries", "rows"] = "entries"
    smooth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name("groups", self.groups, ("entries", "rows"))

    def penalised(self, space: ControlSpace) -> list[Block]:
        """The blocks that count."""
        chosen = super().penalised(space)
        for block in chosen:
            if block.time == "nodes":
                raise ValueError(
                    f"L1 needs {block.name!r} with in_time='layers' or 'static', where entries "
                    f"are apart"
                )
        return chosen

    def value(self, control: Control) -> float:
        total = 0.0
        for block in self.penalised(check_control("control", control).space):
            x = control[block.name]
            size, measure = self._sizes(x, block)
            total += float(namespace(x).sum(control.space.axes[block.name].mass(size * measure)))
        return self.strength * total

    def gradient(self, control: Control) -> dict[str, Array]:
        raise TypeError(
            "L1 has no gradient: use a method with proximal steps, GradientDescent() or Nesterov()"
        )

    def hvp(self, control: Control, direction: Control) -> dict[str, Array]:
        raise TypeError("L1 has no second derivative")

    def prox(self, control: Control, step: float) -> Control:
        found = {}
        for block in self.penalised(check_control("control", control).space):
            x = control[block.name]
            xp, (size, _) = namespace(x), self._sizes(x, block)
            share = xp.maximum(
                1.0 - step * self.strength / xp.maximum(size, 1e-300), xp.zeros_like(size)
            )
            found[block.name] = x * (share[..., None] if len(size.shape) < len(x.shape) else share)
        return control.replaced(**found)

    def _sizes(self, x: Array, block: Block) -> tuple[Array, Array]:
        """The root mean square of every group, in the time axis and one axis less for rows, and its
        measure.
        """
        xp = namespace(x)
        w = like(np.broadcast_to(block.weights, block.shape), x)
        if self.groups == "entries" or len(block.shape) == 1:
            return xp.abs(x), w
        measure = xp.sum(w, axis=-1)
        return xp.sqrt(xp.sum(w * x * x, axis=-1) / measure), measure

    def formula(self, space: ControlSpace) -> str:
        terms = []
        for block in self.penalised(space):
            whole = self.groups == "entries" or len(block.shape) == 1
            name = f"|{block.name}|_1" if whole else f"sum of |rows of {block.name}|"
            terms.append(name if block.time == "static" else f"int_0^T {name} dt")
        return f"{self.strength:g} (" + " + ".join(terms) + ")"


@dataclass(frozen=True)
class PenaltySum(Penalty):
    """The sum of penalties; at most one that counts for a block may lack a gradient."""

    parts: tuple[Penalty, ...]

    @property
    def smooth(self) -> bool:  # type: ignore[override]
        """True if every term has a gradient."""
        return all(p.smooth for p in self.parts)

    @property
    def terms(self) -> tuple[Penalty, ...]:
        """The penalties it is a sum of."""
        return self.parts

    def value(self, control: Control) -> float:
        return sum(p.value(control) for p in self.parts)

    def gradient(self, control: Control) -> dict[str, Array]:
        return _total([p.gradient(control) for p in self.parts])

    def hvp(self, control: Control, direction: Control) -> dict[str, Array]:
        return _total([p.hvp(control, direction) for p in self.parts])

    def prox(self, control: Control, step: float) -> Control:
        """Only of terms that count for different blocks.  Raises ValueError if two share one."""
        seen: set[str] = set()
        for part in self.parts:
            names = (
                {b.name for b in part.penalised(control.space)}
                if isinstance(part, BlockPenalty)
                else set()
            )
            if names & seen:
                raise ValueError(
                    f"two penalties count for {', '.join(sorted(names & seen))}: no proximal map "
                    f"is known"
                )
            seen |= names
            control = part.prox(control, step)
        return control

    def formula(self, space: ControlSpace) -> str:
        return " + ".join(p.formula(space) for p in self.parts)


def restricted(
    penalty: Penalty | None, names: Sequence[str], space: ControlSpace
) -> Penalty | None:
    """What a penalty adds for these blocks alone, None if nothing.  Raises TypeError for one that
    couples blocks.
    """
    kept: list[Penalty] = []
    for term in penalty.terms if penalty is not None else ():
        if not isinstance(term, BlockPenalty):
            raise TypeError(
                f"{term!r} does not say which blocks it counts, so it cannot be split into groups"
            )
        chosen = tuple(b.name for b in term.penalised(space) if b.name in names)
        if chosen:
            kept.append(replace(term, blocks=chosen))
    return None if not kept else kept[0] if len(kept) == 1 else PenaltySum(tuple(kept))


def _total(gradients: list[dict[str, Array]]) -> dict[str, Array]:
    total: dict[str, Array] = {}
    for gradient in gradients:
        for name, x in gradient.items():
            total[name] = total[name] + x if name in total else x
    return total
