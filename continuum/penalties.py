"""Penalties on the control: integrals over (0, T), not sums over layers."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from numbers import Real
from operator import add
from typing import ClassVar

import numpy as np

from .arrays import Array, is_numpy, like, namespace
from .blocks import Block
from .checks import check_name
from .controls import Control, ControlSpace, check_control
from .doors import checked
from .long_vectors import Measure
from .update_loops import dot, squares_into

Values = Mapping[str, Array]


class Penalty(ABC):
    """A functional R of the control, with its derivatives and proximal map in the product of the
    control's space.

    `smooth` says whether it has a gradient; those that have none are met by their proximal map
    alone. Penalties add up: Tikhonov(1e-3) + L1(1e-2, ["kernel"]).

    `pointwise` says whether R is the integral over time of a density r(c(t)), plus terms of blocks
    that are constant in time; the density is what a Hamiltonian contains.
    `degree_one` says whether R(a c) = a R(c) for a >= 0, a sum of norms of groups of entries.
    """

    smooth: ClassVar[bool] = True
    pointwise: ClassVar[bool] = False
    degree_one: ClassVar[bool] = False

    @property
    def joint(self) -> bool:
        """True if all blocks that count form one group of entries at each time."""
        return False

    @abstractmethod
    def value(self, control: Control) -> float:
        """R(control)."""

    @abstractmethod
    def gradient(self, control: Control) -> dict[str, Array]:
        """The gradient of R, by block; blocks that do not count are left out.  Raises TypeError if
        not `smooth`.
        """

    def add_to(self, control: Control, gradient: Control) -> float:
        """R(control); its gradient is added to the arrays of `gradient`, in place.  Raises
        TypeError if not `smooth`.
        """
        for name, x in self.gradient(control).items():
            gradient[name][...] += x
        return self.value(control)

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

    def by_entries(self, space: ControlSpace) -> dict[str, tuple[float, float]] | None:
        """(lambda, mu) by trained block, if R is the sum over blocks of the integrals of
        lambda |c_b|_1 + mu |c_b|^2, so that its proximal map goes entry by entry; else None.
        """
        squares = self.quadratic(space)
        if squares is None or space.time_norm != "L2":
            return None
        return {name: (0.0, mu) for name, mu in squares.items()}

    def nests_in(self, other: "Penalty", space: ControlSpace) -> bool:
        """True if this penalty and the other are of degree one, and every group of this one lies
        in a group of the other: the proximal map of their sum is then the other's after this one's.
        """
        return False

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


@checked
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
            x, measure = control[block.name], in_one_pass(control, block.name)
            if measure is not None:
                row = x.reshape(-1)
                total += dot(row, row, measure.diagonal, measure.entries)
                continue
            mass = control.space.axes[block.name].mass(x)
            total += float(namespace(x).sum(like(block.weights, x) * x * mass))
        return self.strength * total

    def add_to(self, control: Control, gradient: Control) -> float:
        """R(control); its gradient is added to the arrays of `gradient`, in place: one pass where
        both are NumPy's.
        """
        names = [b.name for b in self.penalised(check_control("control", control).space)]
        measures = [in_one_pass(control, name, gradient) for name in names]
        if any(measure is None for measure in measures):
            return super().add_to(control, gradient)
        total, factor = 0.0, 2.0 * self.strength
        for name, measure in zip(names, measures, strict=True):
            x, g = control[name].reshape(-1), gradient[name].reshape(-1)
            total += squares_into(x, factor, g, measure.diagonal, measure.entries)  # type: ignore[union-attr]
        return self.strength * total

    def gradient(self, control: Control) -> dict[str, Array]:
        space = check_control("control", control).space
        represented = {
            b.name: space.axes[b.name].from_l2(control[b.name]) for b in self.penalised(space)
        }
        return {name: 2.0 * self.strength * x for name, x in represented.items()}

    def hvp(self, control: Control, direction: Control) -> dict[str, Array]:
        return self.gradient(check_control("control", control).space.check("direction", direction))

    @checked
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
        return self.strength * density_sum(squares, space, values)

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


@checked
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

    @checked
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
class PenaltySum(Penalty):
    """The sum of penalties.

    Its proximal map is known where terms count for different blocks; and for terms of degree one
    whose groups are nested, together with Tikhonov terms that are even over each group: with
    mu = 1 + 2 step lambda, the map of step (f + lambda |.|^2) is that of step f, divided by mu.
    Source: Yu, On decomposing the proximal map, NIPS 2013, for the nested groups.
    """

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

    def add_to(self, control: Control, gradient: Control) -> float:
        return sum(p.add_to(control, gradient) for p in self.parts)

    def hvp(self, control: Control, direction: Control) -> dict[str, Array]:
        return _total([p.hvp(control, direction) for p in self.parts])

    def prox(self, control: Control, step: float) -> Control:
        """Raises ValueError where it is not known."""
        for part in self.composed(control.space):
            control = part.prox(control, step)
        return control

    def density(self, space: ControlSpace, values: Values) -> Array:
        first, *others = self.parts
        return sum((p.density(space, values) for p in others), first.density(space, values))

    def density_gradient(self, space: ControlSpace, values: Values) -> dict[str, Array]:
        return _total([p.density_gradient(space, values) for p in self.parts])

    def density_prox(self, space: ControlSpace, values: Values, step: float) -> dict[str, Array]:
        """Raises ValueError where it is not known."""
        found = dict(values)
        for part in self.composed(space):
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

    def by_entries(self, space: ControlSpace) -> dict[str, tuple[float, float]] | None:
        parts = [p.by_entries(space) for p in self.parts]
        if any(part is None for part in parts):
            return None
        pairs = {b.name: [part[b.name] for part in parts if part] for b in space.trained}
        return {name: (sum(p[0] for p in x), sum(p[1] for p in x)) for name, x in pairs.items()}

    def composed(self, space: ControlSpace) -> list[Penalty]:
        """Terms of the same sum whose proximal maps, one after the other, are that of the sum.

        raises ValueError where no such terms are known
        """
        unordered = [p for p in self.parts if p.degree_one]
        rough = sorted(unordered, key=lambda p: sum(q.nests_in(p, space) for q in unordered))
        squares = squared([p for p in self.parts if not p.degree_one], space)
        others = [p for p in self.parts if not p.degree_one and p.quadratic(space) is None]
        for i, term in enumerate(rough):
            for after in rough[i + 1 :]:
                shared = counted(term, space) & counted(after, space)
                if shared and not term.nests_in(after, space):
                    raise _unknown(term, after, shared)
            if not even(term, squares, space):
                uneven = [p for p in self.parts if p.quadratic(space) is not None]
                raise _unknown(term, uneven[0], counted(term, space))
        for term in others:
            for after in self.parts:
                shared = counted(term, space) & counted(after, space)
                if after is not term and shared:
                    raise _unknown(term, after, shared)
        return [*rough, *others, *(Tikhonov(x, (n,)) for n, x in squares.items() if x)]

    def formula(self, space: ControlSpace) -> str:
        return " + ".join(p.formula(space) for p in self.parts)


def terms_of(penalty: Penalty | None) -> tuple[Penalty, ...]:
    """The penalties that it is a sum of; none for None."""
    return () if penalty is None else penalty.terms


def sum_of(terms: Sequence[Penalty]) -> Penalty | None:
    """The sum of penalties; None if there are none."""
    return reduce(add, terms) if terms else None


def squared(terms: Sequence[Penalty], space: ControlSpace) -> dict[str, float]:
    """The lambda_b of every trained block, from the terms that are sum_b lambda_b |c_b|^2."""
    found = {b.name: 0.0 for b in space.trained}
    for term in terms:
        for name, strength in (term.quadratic(space) or {}).items():
            found[name] += strength
    return found


def counted(term: Penalty, space: ControlSpace) -> set[str]:
    """The names of the blocks a penalty counts; of all if it does not say."""
    blocks = term.penalised(space) if isinstance(term, BlockPenalty) else space.trained
    return {b.name for b in blocks}


def even(term: Penalty, squares: Mapping[str, float], space: ControlSpace) -> bool:
    """True if lambda_b is the same for all blocks that a group of the term joins."""
    return not term.joint or len({squares[name] for name in counted(term, space)}) == 1


def in_one_pass(control: Control, name: str, gradient: Control | None = None) -> Measure | None:
    """The product of a block, if compiled loops can go through the control, and through a gradient
    that they write to, entry by entry; else None.
    """
    arrays = [control[name]] if gradient is None else [control[name], gradient[name]]
    if not is_numpy(*arrays) or not all(x.flags.c_contiguous for x in arrays):
        return None
    measure = control.space.measures[name]
    return None if len(measure.beside) else measure


def _unknown(one: Penalty, other: Penalty, shared: Collection[str]) -> ValueError:
    return ValueError(
        f"no proximal map is known for {one!r} and {other!r} together, which share "
        f"{', '.join(sorted(shared))}"
    )


def restricted(
    penalty: Penalty | None, names: Sequence[str], space: ControlSpace
) -> Penalty | None:
    """What a penalty adds for these blocks alone, None if nothing.  Raises TypeError for one that
    couples blocks.
    """
    kept: list[Penalty] = []
    for term in terms_of(penalty):
        if not isinstance(term, BlockPenalty):
            raise TypeError(
                f"{term!r} does not say which blocks it counts, so it cannot be split into groups"
            )
        whole = [b.name for b in term.penalised(space)]
        chosen = tuple(name for name in whole if name in names)
        if chosen and len(chosen) < len(whole) and term.joint:
            raise TypeError(f"{term!r} couples {', '.join(whole)}: it cannot count some alone")
        if chosen:
            kept.append(replace(term, blocks=chosen))
    return sum_of(kept)


def _check_factor(name: str, value: float) -> None:
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not value >= 0 or value == float("inf"):
        raise ValueError(f"{name} must be finite and >= 0, got {value}")


def leading_sum(x: Array, axes: int) -> Array:
    """The sum over the last axes."""
    return namespace(x).sum(x, axis=tuple(range(-axes, 0)))


def _entries(x: Array, block: Block) -> Array:
    """The sum over the entries of a block."""
    return leading_sum(x, len(block.shape))


def density_sum(terms: list[Array], space: ControlSpace, values: Values) -> Array:
    """The sum of arrays of the leading shape of the values, zeros of that shape if there are
    none.
    """
    if terms:
        return sum(terms[1:], terms[0])
    shapes = {b.name: b.shape for b in space.blocks}
    for name, x in values.items():
        if name in shapes:
            return namespace(x).zeros_like(leading_sum(x, len(shapes[name])))
    return np.zeros(())


def _total(gradients: list[dict[str, Array]]) -> dict[str, Array]:
    total: dict[str, Array] = {}
    for gradient in gradients:
        for name, x in gradient.items():
            total[name] = total[name] + x if name in total else x
    return total
