"""Controls: what steers a network.  Blocks of numbers in a space with an inner product, or plain
functions.

The inner product of a `ControlSpace` is that of the continuum, sum over blocks of
int_0^T sum_i w_i x_i(t) y_i(t) dt, and this is the one place that knows it: `riesz` turns
derivatives into gradients, `flatten` gives coordinates whose Euclidean product it is.
"""

from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Protocol

import numpy as np

from .arrays import Array, is_array, is_numpy, like, namespace, to_host
from .blocks import Block, Coefficient
from .checks import check_array, check_name, check_number, check_type
from .doors import REMEDIES, checked
from .long_vectors import Measure, products
from .meshes import TimeMesh
from .records import short
from .time_axes import Index, Norm, Real, TimeAxis, time_axis
from .update_loops import dot


class ControlPath(Protocol):
    """What the time loop asks of a control, trained or given by functions."""

    @property
    def mesh(self) -> TimeMesh:
        """The layers."""
        ...

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What it has values for."""
        ...

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """Interior times at which the control is not smooth: no step crosses them."""
        ...

    def at_layer(self, layer: int, t: float) -> Mapping[str, Array]:
        """The value of every block at t, continued from inside `layer` to its closed ends."""
        ...

    def between(self, start: float, end: float) -> "ControlPath":
        """The same control on a piece between two breakpoints, continued to its ends from inside;
        itself where breakpoints are ends of layers.
        """
        ...

    def around(self, t: float) -> "ControlPath":
        """The same control on the piece between the two breakpoints next to t."""
        ...

    def like(self, example: Array) -> "ControlPath":
        """The same control with its values in the library, and on the device, of `example`."""
        ...


@dataclass(frozen=True, eq=False)
class FunctionControl:
    """A control for simulation: functions stay functions and are evaluated at stage times.

    So a method keeps its order, whatever the layers.  It has no coefficients and cannot be trained:
    `ControlSpace.sample` makes one that can.  Made by `network.control`.

    breakpoints : interior times at which some function jumps or has a kink, increasing; between
        them the functions are taken to be smooth
    piece : the two times between which functions are evaluated, never at them; None for all times
    """

    mesh: TimeMesh
    blocks: tuple[Block, ...]
    values: Mapping[str, tuple[bool, Callable[[float], Array]]]
    breakpoints: tuple[float, ...] = ()
    piece: tuple[float, float] | None = None
    _constants: dict[str, Array] = field(default_factory=dict, repr=False)
    __repr__ = short

    @property
    def constant(self) -> bool:
        """True if no block depends on time."""
        return all(constant for constant, _ in self.values.values())

    def __getstate__(self) -> dict[str, object]:
        """Without the values of functions without t, which are evaluated again."""
        return {**self.__dict__, "_constants": {}}

    def at_layer(self, layer: int, t: float) -> Mapping[str, Array]:
        """The value of every block at time t; functions without t are evaluated once."""
        return {name: self._value(name, t) for name in self.values}

    def at(self, t: float) -> Mapping[str, Array]:
        """The value of every block at time t."""
        return self.at_layer(0, t)

    def between(self, start: float, end: float) -> "FunctionControl":
        """The same functions on a piece between two breakpoints, by their limits at its ends:
        values 8 roundings of the horizon inside the piece, so that it does not matter which of its
        two values a function takes at a jump.
        """
        return replace(self, piece=(start, end)) if self.breakpoints else self

    def around(self, t: float) -> "FunctionControl":
        """The same functions on the piece between the two breakpoints next to t."""
        ends = (0.0, *self.breakpoints, self.mesh.horizon)
        n = min(max(bisect(ends, t), 1), len(ends) - 1)
        return self.between(ends[n - 1], ends[n])

    def like(self, example: Array) -> "FunctionControl":
        """The same functions, their values carried to where `example` is: constant ones once,
        others at every stage.

        A block that is never stored as numbers is left to its kernel, which follows the state.
        """

        def carried(name: str) -> Callable[[float], Array]:
            def value(t: float) -> Array:
                found = self.values[name][1](t)
                return like(found, example) if is_array(found) else found

            return value

        return replace(
            self, values={n: (self.values[n][0], carried(n)) for n in self.values}, _constants={}
        )

    def _value(self, name: str, t: float) -> Array:
        constant, value = self.values[name]
        if not constant:
            if self.piece is not None:
                inside = 8.0 * float(np.spacing(self.mesh.horizon))
                t = min(max(t, self.piece[0] + inside), self.piece[1] - inside)
            try:
                return value(t)
            except ValueError as error:
                raise ValueError(f"{error}, at t = {t:.6g}") from error
        if name not in self._constants:
            self._constants[name] = value(t)
        return self._constants[name]


@checked
@dataclass(frozen=True, eq=False)
class ControlSpace:
    """The direct sum of named blocks on a mesh, with its inner product.

    blocks : all of them, fixed ones too
    fixed : the coefficients of those that are not trained, time first if the block depends on time
        (`held` gives their values); flat vectors leave them out
    time_norm : "L2" or "H1" in time
    Made by `network.controls(mesh, in_time=, norm=, fixed=)`.
    """

    mesh: TimeMesh
    blocks: tuple[Block, ...]
    fixed: Mapping[str, Array] = field(default_factory=dict)
    time_norm: Norm = "L2"
    __repr__ = short

    def check(self, name: str, control: object) -> "Control":
        """`control` as a point of this space: what every function that takes a control asks first.

        Two spaces are the same if their trained blocks have the same names, shapes, weights and
        dependence on time, on the same mesh and with the same norm, and no block is fixed in both
        at different values.  Blocks that are fixed in this space alone are read from it.
        raises TypeError for what is no Control of numbers, ValueError for one of another space
        """
        given = check_control(name, control)
        if given.space is self:
            return given
        difference = self._difference(given.space)
        if difference:
            raise ValueError(f"{name} lives in another space: {difference}")
        return Control(self, {b.name: given[b.name] for b in self.trained}, trusted=True)

    def _difference(self, other: "ControlSpace") -> str:
        """What `other` has that this space has not, in words; empty if they are the same."""
        difference = self.mesh.difference(other.mesh)
        if difference:
            return difference
        names, theirs = [b.name for b in self.trained], {b.name: b for b in other.trained}
        if sorted(names) != sorted(theirs):
            return f"its blocks are {', '.join(theirs)}, expected {', '.join(names)}"
        for block in self.trained:
            given = theirs[block.name]
            if given.shape != block.shape:
                return f"its {block.name} has shape {given.shape}, expected {block.shape}"
            if given.time != block.time:
                return f"its {block.name} has in_time={given.time!r}, expected {block.time!r}"
            if given.span != block.span:
                return f"its {block.name} lives on the layers {given.span}, expected {block.span}"
            if not _same(given.weights, block.weights):
                return f"its {block.name} is measured by other weights"
        if other.time_norm != self.time_norm:
            return f"its norm in time is {other.time_norm}, expected {self.time_norm}"
        for name, value in self.fixed.items():
            if name in other.fixed and not _same(other.fixed[name], value):
                return f"its {name} is fixed at other values"
        return ""

    def joined(self, blocks: Sequence[Block], fixed: Mapping[str, Coefficient]) -> "ControlSpace":
        """This space with further blocks, unless it has them; those named in `fixed` are not
        trained.  Raises ValueError for a name with another shape, or fixed values that do not fit.
        """
        own = {b.name: b for b in self.blocks}
        for block in blocks:
            if block.name in own and own[block.name].shape != block.shape:
                shape = own[block.name].shape
                raise ValueError(f"controls have {block.name} of shape {shape}, not {block.shape}")
        further = [b for b in blocks if b.name not in own]
        values = {b.name: b.function(fixed[b.name])[1](0.0) for b in further if b.name in fixed}
        if not further:
            return self
        return ControlSpace(
            self.mesh, (*self.blocks, *further), {**self.fixed, **values}, self.time_norm
        )

    @cached_property
    def axes(self) -> Mapping[str, TimeAxis]:
        """The time axis of each block."""
        return {
            b.name: time_axis(
                b.time, self.mesh if b.span is None else self.mesh.part(*b.span), self.time_norm
            )
            for b in self.blocks
        }

    @cached_property
    def trained(self) -> tuple[Block, ...]:
        """The blocks that are unknowns."""
        return tuple(b for b in self.blocks if b.name not in self.fixed)

    @property
    def size(self) -> int:
        """The number of unknowns: the length of a flat vector."""
        return sum(prod(shape) for shape in self._shapes.values())

    def shape(self, block: Block) -> tuple[int, ...]:
        """The shape of a block's coefficients, time first."""
        return (*self.axes[block.name].length, *block.shape)

    def sample(self, **values: Coefficient) -> "Control":
        """The control with these blocks; blocks not named are zero.

        A function of position, or of position and time, is taken in the middle of each layer
        ("layers") or at its ends ("nodes"); an array in the block's shape holds at all times, one
        with a time axis as is.
        raises ValueError for a name that is not a block, a fixed one, or values that do not fit
        """
        coefficients = {}
        for name in values:
            check_name("block", name, [b.name for b in self.trained])
        for block in self.trained:
            given = values.get(block.name, 0.0)
            shape = self.shape(block)
            if len(getattr(given, "shape", ())) == len(shape) > len(block.shape):
                coefficients[block.name] = check_array(block.name, given, shape)  # type: ignore[arg-type]
                continue
            constant, value = block.function(given)
            times = self.axes[block.name].sample_times
            if block.span is not None:
                times = times + self.mesh.nodes[block.span[0]]
            if constant:
                held = value(0.0)
                xp = namespace(held)
                wide = xp.broadcast_to(held, shape)  # of which NumPy's copies keep no order
                copied = np.array(wide, order="C") if xp is np else xp.asarray(wide, copy=True)
                coefficients[block.name] = copied
            elif block.time == "static":
                raise ValueError(
                    f"block {block.name!r} is constant in time, but the function given takes t"
                )
            else:
                found = [value(float(t)) for t in times]
                coefficients[block.name] = namespace(found[0]).stack(found)
        return Control(self, coefficients)

    def zeros(self) -> "Control":
        """The zero control (a trap for some problems: LM-55)."""
        return self.sample()

    @checked
    def random(self, rng: np.random.Generator, scale: float = 1.0) -> "Control":
        """Independent normal coefficients of standard deviation `scale`."""
        x = check_number("scale", scale)
        return Control(self, {b.name: x * rng.standard_normal(self.shape(b)) for b in self.trained})

    def flatten(self, control: "Control") -> Array:
        """Coordinates (size,) in which the Euclidean product is that of the space."""
        control, pieces = self.check("control", control), []
        for block in self.trained:
            x = control[block.name]
            y = self.axes[block.name].flatten(x * like(self._roots[block.name], x))
            pieces.append(namespace(y).reshape(y, (-1,)))
        return namespace(pieces[0]).concat(pieces) if pieces else np.zeros(0)

    @checked
    def unflatten(self, vector: Array) -> "Control":
        """The control with these flat coordinates.  Raises ValueError for a wrong length or a
        weight of zero.
        """
        self.check_weights()
        blocks = {}
        for name, piece in self.views(vector).items():
            blocks[name] = self.axes[name].unflatten(piece) / like(self._roots[name], piece)
        return Control(self, blocks, trusted=True)

    def check_weights(self) -> None:
        """Raises ValueError for a trained block with a weight of zero, which no gradient moves."""
        for block in self.trained:
            if not np.all(self._roots[block.name] > 0):
                raise ValueError(
                    f"block {block.name!r} has weights that are zero: its nodes cannot be trained"
                )

    def join(self, control: "Control", out: Array | None = None) -> Array:
        """The coefficients (size,) as they are, block after block: what `views` cuts up.

        out : (size,), where to write them
        """
        control = self.check("control", control)
        pieces = [control[b.name] for b in self.trained]
        if out is None:
            flat = [namespace(x).reshape(x, (-1,)) for x in pieces]
            return namespace(flat[0]).concat(flat) if flat else np.zeros(0)
        for (start, stop), x in zip(self._places, pieces, strict=True):
            out[start:stop] = namespace(x).reshape(x, (-1,))
        return out

    def views(self, vector: Array) -> "Control":
        """The control whose blocks are parts of this vector of coefficients (size,): not copied, so
        that what is written there changes it.  Raises ValueError for a wrong length.
        """
        if vector.shape != (self.size,):
            raise ValueError(f"vector has shape {tuple(vector.shape)}, expected ({self.size},)")
        blocks = {
            b.name: namespace(vector).reshape(vector[start:stop], self._shapes[b.name])
            for b, (start, stop) in zip(self.trained, self._places, strict=True)
        }
        return Control(self, blocks, trusted=True)

    def dot(self, x: Array, y: Array) -> float:
        """(x, y) in the product of the space, of two vectors of coefficients (size,).  Raises
        ValueError for a wrong length.
        """
        measures = self.measures.values()
        if not is_numpy(x, y) or not x.shape == y.shape == (self.size,):
            return self.inner(self.views(x), self.views(y))
        if any(len(m.beside) for m in measures):
            return float(self.dots(x[None], y)[0, 0])
        return sum((dot(x[m.where], y[m.where], m.diagonal, m.entries) for m in measures), 0.0)

    def dots(self, rows: Array, *vectors: Array) -> Array:
        """(m, c): the products of the space of the rows of an array (m, size) with c vectors
        (size,) of coefficients, all NumPy's.  Raises ValueError for wrong shapes.
        """
        size = self.size
        if rows.shape[1:] != (size,):
            raise ValueError(f"rows have shape {rows.shape}, expected (any, {size})")
        for y in vectors:
            if y.shape != (size,):
                raise ValueError(f"vector has shape {y.shape}, expected ({size},)")
        return products(rows, vectors, list(self.measures.values()))

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        """Where each trained block begins and ends in a vector of coefficients."""
        ends = np.cumsum([0, *(prod(self._shapes[b.name]) for b in self.trained)]).tolist()
        return list(pairwise(ends))

    @cached_property
    def measures(self) -> Mapping[str, Measure]:
        """The product of each trained block, as loops on vectors of coefficients want it."""
        return {
            b.name: Measure.of(start, self.axes[b.name].gram, b.weights, b.shape)
            for b, (start, _) in zip(self.trained, self._places, strict=True)
        }

    @cached_property
    def _roots(self) -> Mapping[str, Array]:
        return {b.name: np.sqrt(b.weights) for b in self.trained}

    def inner(self, x: "Control", y: "Control") -> float:
        """(x, y) in the product of the space."""
        a, b = self.flatten(self.check("x", x)), self.flatten(self.check("y", y))
        return float(namespace(a).sum(a * b))

    def norm(self, x: "Control") -> float:
        """The norm of x in the space."""
        flat = self.flatten(self.check("x", x))
        return float(namespace(flat).sum(flat * flat)) ** 0.5

    def cotangents(self, example: Array) -> dict[str, Array]:
        """Zeros, in the library of `example`, into which `scatter` collects."""
        return {name: like(np.zeros(shape), example) for name, shape in self._shapes.items()}

    @cached_property
    def _shapes(self) -> Mapping[str, tuple[int, ...]]:
        """`shape` of every trained block."""
        return {b.name: self.shape(b) for b in self.trained}

    def held(self, layer: Index, t: Real) -> dict[str, Array]:
        """The values of the fixed blocks at t, continued from inside `layer` to its ends.

        layer, t : one of each, or L: values of blocks that depend on time are then
            (L, *block.shape)
        """
        theta = self.local_time(layer, t)
        return {name: self.axes[name].at(x, layer, theta) for name, x in self.fixed.items()}

    def scatter(
        self,
        total: Mapping[str, Array],
        layer: Index,
        t: Real,
        cotangents: Mapping[str, Array],
        factor: Real,
    ) -> None:
        """Collects, in place, the derivative of factor (cotangents, c(t)) in the coefficients of c,
        t in `layer`; the sum over L points where layer, t, factor are (L,) and the cotangents
        (L, *block.shape).
        """
        theta = self.local_time(layer, t) if cotangents else t
        for name, c in cotangents.items():
            if name in total:
                self.axes[name].scatter(total[name], layer, theta, c, factor)

    def riesz(self, total: Mapping[str, Array]) -> "Control":
        """The gradient, in the product of the space, of what `total` holds, in the same arrays.

        Networks and readouts give cotangents that represent them in the block's weights already;
        what is left is the Gram matrix in time.
        """
        return Control(self, {n: self.axes[n].riesz(c) for n, c in total.items()}, trusted=True)

    def local_time(self, layer: Index, t: Real) -> Real:
        """theta with t = t_layer + theta tau_layer; (L,) for L layers and times."""
        theta = (t - self.mesh.nodes[layer]) / self.mesh.steps[layer]
        return theta if isinstance(layer, np.ndarray) else float(theta)


class Control(Mapping[str, Array]):
    """A point of a ControlSpace: control["kernel"] holds that block's coefficients, time first.

    space : where it lives
    blocks : coefficients of every trained block
    raises ValueError for a missing, unknown or ill-shaped block, or entries that are not finite
    Sums and multiples are controls again: of one space, by finite real factors.  Arrays are not
    copied and must not be changed.
    """

    __array_ufunc__ = None  # so that a NumPy number times a control asks the control

    def __init__(
        self, space: ControlSpace, blocks: Mapping[str, Array], *, trusted: bool = False
    ) -> None:
        if trusted is not True:
            check_type("space", space, ControlSpace)
            check_type("blocks", blocks, Mapping)
            names = [b.name for b in space.trained]
            for name in blocks:
                check_name("block", name, names)
            missing = [name for name in names if name not in blocks]
            if missing:
                raise ValueError(f"blocks are missing: {', '.join(missing)}")
            blocks = {
                b.name: check_array(b.name, blocks[b.name], space.shape(b)) for b in space.trained
            }
        self.space = space
        self._blocks = dict(blocks)

    @property
    def mesh(self) -> TimeMesh:
        """The layers."""
        return self.space.mesh

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of its space, fixed ones too."""
        return self.space.blocks

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """The interior ends of the layers, unless every block is static."""
        if all(b.time == "static" for b in self.space.blocks):
            return ()
        return tuple(float(t) for t in self.mesh.nodes[1:-1])

    def between(self, start: float, end: float) -> "Control":
        """Itself: its breakpoints are ends of layers."""
        return self

    def around(self, t: float) -> "Control":
        """Itself: its breakpoints are ends of layers."""
        return self

    def __getitem__(self, name: str) -> Array:
        if name in self._blocks:
            return self._blocks[name]
        check_name("block", name, [*self._blocks, *self.space.fixed])
        return self.space.fixed[name]

    def __contains__(self, name: object) -> bool:
        return name in self._blocks  # fixed blocks can be read, but are not part of a point

    def __iter__(self) -> Iterator[str]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {tuple(x.shape)}" for name, x in self._blocks.items())
        return f"Control({shapes})"

    def at_layer(self, layer: int, t: float) -> Mapping[str, Array]:
        """The value of every block, fixed ones too, at t, continued from inside `layer` to its
        ends; blocks that do not live on this layer are left out.
        """
        theta, space = self.space.local_time(layer, t), self.space
        return {
            b.name: space.axes[b.name].at(
                self[b.name], layer - b.span[0] if b.span else layer, theta
            )
            for b in space.blocks
            if b.lives(layer)
        }

    def variation(self, layer: int, t: float) -> Mapping[str, Array]:
        """As `at_layer`, of the trained blocks alone: this control as a direction in its space."""
        theta = self.space.local_time(layer, t)
        return {name: self.space.axes[name].at(x, layer, theta) for name, x in self.items()}

    def like(self, example: Array) -> "Control":
        """The same control in the library, and on the device, of `example`; arrays already there
        are not copied.
        """
        if is_numpy(example, *self._blocks.values(), *self.space.fixed.values()):
            return self
        fixed = {n: like(x, example) for n, x in self.space.fixed.items()}
        moved = any(fixed[n] is not x for n, x in self.space.fixed.items())
        space = replace(self.space, fixed=fixed) if moved else self.space
        return Control(space, {n: like(x, example) for n, x in self.items()}, trusted=True)

    def at(self, t: float) -> Mapping[str, Array]:
        """The value of every block at t, from the right at the ends of layers.  Raises ValueError
        outside [0, T].
        """
        return self.at_layer(self.mesh.layer_of(t), t)

    def replaced(self, **blocks: Array) -> "Control":
        """This control with other coefficients, time first, for the blocks named.

        raises ValueError for an unknown or fixed block, a wrong shape, or entries that are not
        finite
        """
        for name in blocks:
            check_name("block", name, list(self._blocks))
        new = {n: check_array(n, x, self.space._shapes[n]) for n, x in blocks.items()}
        return Control(self.space, {**self._blocks, **new}, trusted=True)

    def __add__(self, other: "Control") -> "Control":
        other = self.space.check("the other term of a sum", other)
        return Control(self.space, {n: x + other[n] for n, x in self.items()}, trusted=True)

    def __sub__(self, other: "Control") -> "Control":
        other = self.space.check("the other term of a difference", other)
        return Control(self.space, {n: x - other[n] for n, x in self.items()}, trusted=True)

    def __mul__(self, factor: float) -> "Control":
        number = check_number("the factor of a control", factor)
        return Control(self.space, {n: number * x for n, x in self.items()}, trusted=True)

    __rmul__ = __mul__


def check_control(name: str, control: object) -> Control:
    """`control` if it is a Control, for those who have no space.  Raises TypeError if not."""
    if isinstance(control, Control):
        return control
    remedy = REMEDIES.get((type(control), "a Control"), "")
    raise TypeError(f"{name} must be a Control, got {type(control).__name__}{remedy}")


REMEDIES[FunctionControl, "a Control"] = (
    ": functions cannot be trained, space.sample(...) makes a control that can"
)


def _same(one: Array, other: Array) -> bool:
    """True if two arrays hold the same numbers, wherever they are."""
    return one is other or np.array_equal(to_host(one), to_host(other))
