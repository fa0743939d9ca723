"""Penalties on the control: integrals over (0, T), not sums over layers."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import ClassVar, Literal

import numpy as np

from .arrays import Array, like, namespace
from .blocks import Block
from .checks import check_name
from .controls import Control, ControlSpace, check_control

Values = Mapping[str, Array]


class Penalty(ABC):
    """A functional R of the control, with its derivatives and proximal map in the product of the
    control's space.

    `smooth` says whether it has a gradient; those that have none are met by their proximal map
    alone. Penalties add up: Tikhonov(1e-3) + L1(1e-2, ["kernel"]).

    `pointwise` says whether R is the integral over time of a density r(c(t)), plus terms of blocks
    that are constant in time; the density is what a Hamiltonian contains.
    """

    smooth: ClassVar[bool] = True
    pointwise: ClassVar[bool] = False

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

    def density(self, space: ControlSpace, values: Values) -> Array:
        """r(c): the sum over blocks in `values` that depend on time.

        values : one value of a block, or L of them, (..., *block.shape); blocks that do not count,
            or are not trained, are passed over
        returns an array of the leading shape (...)
        raises TypeError if not `pointwise`
        """
        raise TypeError(f"{type(self).__name__} has no density: it is no integral over time of one")

    def density_gradient(self, space: ControlSpace, values: Values) -> dict[str, Array]:
        """The derivative of r, by block, in the block's weights; blocks that do not count are left
        out.  Raises TypeError if not `pointwise` and `smooth`.
        """
        raise TypeError(f"{type(self).__name__} has no density with a derivative")

    def density_prox(self, space: ControlSpace, values: Values, step: float) -> dict[str, Array]:
        """argmin_z |z - x|^2 / 2 + step r(z), step > 0, in the blocks' weights, at each point on
        its own: all blocks of `values`, those that do not count as they are.  Raises TypeError if
        not `pointwise`.
        """
        raise TypeError(f"{type(self).__name__} has no density: it is no integral over time of one")

    def quadratic(self, space: ControlSpace) -> dict[str, float] | None:
        """The lambda_b, by trained block, if the density is r(c) = sum_b lambda_b |c_b|^2; else
        None.
        """
        return None

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
        _check_factor("strength", self.strength)
        if isinstance(self.blocks, str) or not isinstance(self.blocks, Collection | None):
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

    def varying(self, space: ControlSpace, values: Values) -> list[Block]:
        """The blocks among `values` that count and depend on time."""
        return [b for b in self.penalised(space) if b.name in values and b.time != "static"]

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

    pointwise: ClassVar[bool] = True

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

    def density(self, space: ControlSpace, values: Values) -> Array:
        squares = [
            _entries(like(b.weights, values[b.name]) * values[b.name] ** 2, b)
            for b in self.varying(space, values)
        ]
        return self.strength * _sum(squares, space, values)

    def density_gradient(self, space: ControlSpace, values: Values) -> dict[str, Array]:
        return {b.name: 2.0 * self.strength * values[b.name] for b in self.varying(space, values)}

    def density_prox(self, space: ControlSpace, values: Values, step: float) -> dict[str, Array]:
        factor = 1.0 / (1.0 + 2.0 * step * self.strength)
        counted = [b.name for b in self.varying(space, values)]
        return {n: factor * x if n in counted else x for n, x in values.items()}

    def quadratic(self, space: ControlSpace) -> dict[str, float]:
        counted = [b.name for b in self.penalised(space)]
        return {b.name: self.strength * (b.name in counted) for b in space.trained}

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
    """R = strength int_0^T sum_i w_i (x_i(t)^2 + slope x_i'(t)^2) dt, of blocks with
    in_time="nodes"; slope = 1 is the square of the H1 norm in time.

    strength, blocks : see BlockPenalty; None takes every block that is piecewise linear in time
    slope : >= 0, in units of time squared
    raises ValueError if a block named is not piecewise linear, or none is, and for slope < 0
    """

    slope: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_factor("slope", self.slope)

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
            applied = axis.mass(x) + self.slope * axis.stiffness(x)
            total += float(namespace(x).sum(like(block.weights, x) * x * applied))
        return self.strength * total

    def gradient(self, control: Control) -> dict[str, Array]:
        found = {}
        for block in self.penalised(check_control("control", control).space):
            x, axis = control[block.name], control.space.axes[block.name]
            applied = axis.mass(x) + self.slope * axis.stiffness(x)
            found[block.name] = axis.riesz(2.0 * self.strength * applied)
        return found

    def hvp(self, control: Control, direction: Control) -> dict[str, Array]:
        return self.gradient(check_control("control", control).space.check("direction", direction))

    def prox(self, control: Control, step: float) -> Control:
        space, factor = check_control("control", control).space, 2.0 * step * self.strength
        return control.replaced(
            **{
                b.name: space.axes[b.name].prox(control[b.name], factor, factor * self.slope)
                for b in self.penalised(space)
            }
        )

    def formula(self, space: ControlSpace) -> str:
        slope = "" if self.slope == 1.0 else f"{self.slope:g} "
        return self._formula(space, {"nodes": f"int_0^T |{{0}}|^2 + {slope}|{{0}}'|^2 dt"})


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
    pointwise: ClassVar[bool] = True

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
        blocks = self.penalised(check_control("control", control).space)
        return control.replaced(**{b.name: self._shrunk(control[b.name], b, step) for b in blocks})

    def density(self, space: ControlSpace, values: Values) -> Array:
        sizes = []
        for block in self.varying(space, values):
            size, measure = self._sizes(values[block.name], block)
            axes = 1 if self._whole_rows(block) else len(block.shape)
            sizes.append(_leading_sum(size * measure, axes))
        return self.strength * _sum(sizes, space, values)

    def density_prox(self, space: ControlSpace, values: Values, step: float) -> dict[str, Array]:
        counted = self.varying(space, values)
        return {**values, **{b.name: self._shrunk(values[b.name], b, step) for b in counted}}

    def _shrunk(self, x: Array, block: Block, step: float) -> Array:
        """Every group x (1 - step strength / size)_+."""
        xp, (size, _) = namespace(x), self._sizes(x, block)
        share = xp.maximum(
            1.0 - step * self.strength / xp.maximum(size, xp.full_like(size, 1e-300)),
            xp.zeros_like(size),
        )
        return x * (share[..., None] if self._whole_rows(block) else share)

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
        terms = []
        for block in self.penalised(space):
            rows = self._whole_rows(block)
            name = f"sum of |rows of {block.name}|" if rows else f"|{block.name}|_1"
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
    def pointwise(self) -> bool:  # type: ignore[override]
        """True if every term is the integral of a density."""
        return all(p.pointwise for p in self.parts)

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
        self._check_apart(control.space)
        for part in self.parts:
            control = part.prox(control, step)
        return control

    def density(self, space: ControlSpace, values: Values) -> Array:
        first, *others = self.parts
        return sum((p.density(space, values) for p in others), first.density(space, values))

    def density_gradient(self, space: ControlSpace, values: Values) -> dict[str, Array]:
        return _total([p.density_gradient(space, values) for p in self.parts])

    def density_prox(self, space: ControlSpace, values: Values, step: float) -> dict[str, Array]:
        """Only of terms that count for different blocks.  Raises ValueError if two share one."""
        self._check_apart(space)
        found = dict(values)
        for part in self.parts:
            found = part.density_prox(space, found, step)
        return found

    def quadratic(self, space: ControlSpace) -> dict[str, float] | None:
        found = {b.name: 0.0 for b in space.trained}
        for part in self.parts:
            own = part.quadratic(space)
            if own is None:
                return None
            found = {name: x + own[name] for name, x in found.items()}
        return found

    def _check_apart(self, space: ControlSpace) -> None:
        """Raises ValueError if two terms count for one block."""
        seen: set[str] = set()
        for part in self.parts:
            if not isinstance(part, BlockPenalty):
                continue
            names = {b.name for b in part.penalised(space)}
            if names & seen:
                raise ValueError(
                    f"two penalties count for {', '.join(sorted(names & seen))}: no proximal map "
                    f"is known"
                )
            seen |= names

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


def _check_factor(name: str, value: float) -> None:
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not value >= 0 or value == float("inf"):
        raise ValueError(f"{name} must be finite and >= 0, got {value}")


def _leading_sum(x: Array, axes: int) -> Array:
    """The sum over the last axes."""
    return namespace(x).sum(x, axis=tuple(range(-axes, 0)))


def _entries(x: Array, block: Block) -> Array:
    """The sum over the entries of a block."""
    return _leading_sum(x, len(block.shape))


def _sum(terms: list[Array], space: ControlSpace, values: Values) -> Array:
    """The sum of arrays of the leading shape of the values, zeros of that shape if there are
    none.
    """
    if terms:
        return sum(terms[1:], terms[0])
    shapes = {b.name: b.shape for b in space.blocks}
    for name, x in values.items():
        if name in shapes:
            return namespace(x).zeros_like(_leading_sum(x, len(shapes[name])))
    return np.zeros(())


def _total(gradients: list[dict[str, Array]]) -> dict[str, Array]:
    total: dict[str, Array] = {}
    for gradient in gradients:
        for name, x in gradient.items():
            total[name] = total[name] + x if name in total else x
    return total
