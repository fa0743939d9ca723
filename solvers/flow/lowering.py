"""A network as what the compiled loops of chains take: a table of links, and the arrays they read.

A chain runs compiled if its maps are dense (matrices, Dense kernels, fixed matrices, offsets,
activations of the package), with `Inputs` before a matrix.  Then the product with the rows (x,
data, t) is taken apart, W = [W_x, W_d, w_t]: W_x x is a product of every stage, W_d data is one of
the whole run, and t w_t is added row by row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from weakref import WeakKeyDictionary

import numpy as np

from continuum.activations import Activation
from continuum.arrays import Array, is_numpy
from continuum.compiled import FROM_VALUE, IDENTITY
from continuum.controls import ControlSpace
from continuum.kernels import Dense
from continuum.networks import Adjoint, Chain, FixedLinear, Inputs, Linear, Map, Offset, Pointwise
from continuum.quadrature import Grid

from ..run.workspace import Workspace
from . import chain_loops as loops
from .chain_loops import Program


@cache
def _absent(dtype: str | np.dtype) -> Array:
    """What stands for an array that is not there."""
    return np.empty((0, 1, 1), dtype)


@dataclass(eq=False)
class _Link:
    """u = sign (P (w x) + S + t r) + offset, x <- sigma(u), as it is put together; see
    `chain_loops`.
    """

    rows: int
    columns: int
    product: int = loops.NOTHING
    matrix: int = 0
    sign: float = 1.0
    measures: tuple[Array | None, Array | None] = (None, None)
    offset: int = -1
    share: int = -1
    rate: int = -1
    activation: Activation | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """One of the arrays that a program reads, (T, R, C) with time first: a block; some columns W
    of one; W data, which all stages share; or a matrix that is not trained.

    name : of the block, "" without one
    shape : (R, C) of the block or matrix, C = 1 for offsets
    columns : W, None for the whole block
    data : (P, M), or (P, 1) for all samples
    matrix : (R, C)
    """

    name: str
    shape: tuple[int, int]
    columns: slice | None = None
    data: Array | None = None
    matrix: Array | None = None

    def of(self, block: Array, samples: int) -> Array:
        """This part of a block: the block itself if it is the whole of it and can be."""
        if self.columns is None:
            return _plain(block).reshape(-1, *self.shape)
        found = block.reshape(-1, *self.shape)[..., self.columns]
        if self.data is not None:
            found = found @ self.data
            found = np.broadcast_to(found, (*found.shape[:2], samples))
        return np.array(found, order="C")

    def add_to(self, block: Array, bar: Array) -> None:
        """Adds to the cotangent of a block what `bar`, that of this part, contributes."""
        if self.data is not None:
            alone = self.data.shape[1] == 1
            bar = (bar.sum(axis=-1, keepdims=True) if alone else bar) @ self.data.T
        block.reshape(-1, *self.shape)[..., self.columns] += bar


@dataclass(frozen=True, eq=False)
class Lowered:
    """A network as a program.

    parts : the arrays it reads
    units : N
    rows, varied : rows of the tape of a stage, and of that of its tangents
    largest, inside, matrix : of the rows of any link, of the inputs and outputs of all products, of
        the entries of any matrix or offset
    shared : the most rows of a link to which data contribute, 0 if there is none
    """

    program: Program
    parts: tuple[Part, ...]
    units: int
    rows: int
    varied: int
    largest: int
    inside: int
    matrix: int
    shared: int
    kinds: WeakKeyDictionary[ControlSpace, Array] = field(default_factory=WeakKeyDictionary)
    """How the parts depend on time, for the spaces met so far."""

    @cached_property
    def split(self) -> bool:
        """Whether some block is not read as it is, but taken apart."""
        return any(part.columns is not None for part in self.parts)

    @cached_property
    def matrices(self) -> frozenset[str]:
        """The blocks that are matrices of products, as they are."""
        links = self.program.links
        numbers = set(links[links[:, loops.PRODUCT] != loops.NOTHING, loops.MATRIX].tolist())
        parts = enumerate(self.parts)
        return frozenset(x.name for k, x in parts if k in numbers and x.columns is None and x.name)

    def values(
        self, blocks: Mapping[str, Array], samples: int, dtype: str = "float64"
    ) -> tuple[Array, ...]:
        """All parts, for so many samples, as numbers of this type."""
        found = [
            part.of(blocks[part.name], samples) if part.matrix is None else part.matrix[None]
            for part in self.parts
        ]
        if dtype != "float64":
            found = [x.astype(dtype, copy=False) for x in found]
        return (*found, *(_absent(dtype),) * (loops.WIDTH - len(found)))

    def changes(self, blocks: Mapping[str, Array], samples: int) -> tuple[Array, ...]:
        """The parts of some blocks; (0, 1, 1) for all other parts."""
        absent = _absent(next((x.dtype for x in blocks.values()), "float64"))
        found = [
            part.of(blocks[part.name], samples) if part.name in blocks else absent
            for part in self.parts
        ]
        return (*found, *(absent,) * (loops.WIDTH - len(found)))

    def bars(
        self, total: Mapping[str, Array], samples: int, work: Workspace | None = None
    ) -> tuple[Array, ...]:
        """Where the loops collect the cotangents `total`: the arrays themselves for whole blocks,
        zeros, which `add_up` brings back, for parts.
        """
        if not self.split:
            return self.changes(total, samples)
        work, found = work or Workspace(), []
        absent = _absent(work.dtype)
        for n, part in enumerate(self.parts):
            if part.name not in total:
                found.append(absent)
            elif part.columns is None:
                found.append(part.of(total[part.name], samples))
            else:
                rows, across = part.shape
                wide = len(range(across)[part.columns]) if part.data is None else samples
                times = total[part.name].size // (rows * across)
                found.append(work.zeros(f"part {n}", times, rows, wide))
        return (*found, *(absent,) * (loops.WIDTH - len(found)))

    def add_up(self, total: Mapping[str, Array], bars: tuple[Array, ...]) -> None:
        """Adds to `total` what was collected for the parts of blocks."""
        for part, bar in zip(self.parts if self.split else (), bars, strict=False):
            if part.columns is not None and part.name in total:
                part.add_to(total[part.name], bar)

    def room(self, samples: int, stages: int, columns: int, work: Workspace | None = None) -> Array:
        """What the loops carve up for a sweep that collects `columns` stages at a time."""
        return (work or Workspace()).array(
            "room",
            self._shared_room(samples)
            + (columns * self.inside if samples == 1 else 0)
            + (3 * self.largest + 2 * (stages + 1) * self.units) * samples
            + 3 * columns,
        )

    def step_room(self, samples: int) -> Array:
        """The room for a forward step, and one stage's part of a tape behind it."""
        return np.empty(self._shared_room(samples) + self.rows * samples)

    def _shared_room(self, samples: int) -> int:
        """What `carve` takes, with the ends of lines of the cache that stay empty."""
        blend = max(self.matrix, self.shared * samples)
        return 4 * self.largest * samples + blend + 7 * loops.LINE


def _plain(x: Array) -> Array:
    """x, or a copy, as the one kind of array that loops are compiled for."""
    return x if x.flags.c_contiguous and x.flags.writeable else np.array(x, order="C")


_lowered: WeakKeyDictionary[Chain, Lowered | None] = WeakKeyDictionary()


def lower(network: Chain) -> Lowered | None:
    """The program of a network, made once; None for what is no chain of dense maps."""
    try:
        return _lowered[network]
    except KeyError:
        return _lowered.setdefault(network, _lower(network))


def _lower(network: Chain) -> Lowered | None:
    if not network.derived:
        return None
    made = _Links(network.units)
    if not all(made.take(one) for one in network.maps) or made.inputs is not None:
        return None
    return _laid_out(network.units, made) if len(made.parts) <= loops.WIDTH else None


class _Links:
    """The links of a chain, as its maps are taken one after the other.

    rows : of what the last link leads to
    inputs : those that the next product is to read
    """

    def __init__(self, units: int) -> None:
        self.rows = units
        self.links: list[_Link] = []
        self.parts: list[Part] = []
        self.inputs: Inputs | None = None

    def take(self, one: Map) -> bool:
        """Puts a map into the links; False if it is none that loops know."""
        if self.inputs is not None and not isinstance(one, Linear):
            return False
        if isinstance(one, Inputs):
            self.inputs = one
            return one.data is None or is_numpy(one.data)
        if isinstance(one, Linear | Adjoint):
            return self._product(one)
        if isinstance(one, FixedLinear):
            return self._fixed(one)
        last = self.links[-1] if self.links else None
        if isinstance(one, Offset):
            if last is None or last.offset >= 0 or last.activation is not None:
                self.links.append(_Link(self.rows, self.rows))
            self.links[-1].offset = self._place(Part(one.block, (self.rows, 1)))
            return True
        if isinstance(one, Pointwise) and one.activation.code is not None:
            if last is None or last.activation is not None:
                self.links.append(_Link(self.rows, self.rows))
            self.links[-1].activation = one.activation
            return True
        return False

    def _product(self, one: Linear | Adjoint) -> bool:
        linear = one if isinstance(one, Linear) else one.of
        if not isinstance(linear.operator, Dense):
            return False
        forward = one is linear
        across, down = (_size(space) for space in (linear.source, linear.target))
        before, behind = (
            None if isinstance(space, int) else space.weights
            for space in (linear.source, linear.target)
        )
        link = _Link(
            down if forward else across,
            self.rows,
            loops.FORWARD if forward else loops.ADJOINT,
            sign=float(one.sign),
            measures=(before, behind) if forward else (behind, before),
        )
        shape = down, across
        if self.inputs is None:
            link.matrix = self._place(Part(one.block, shape))
        else:
            link.matrix = self._place(Part(one.block, shape, slice(self.rows)))
            data, time = self.inputs.data, self.inputs.time
            if data is not None:
                columns = slice(self.rows, self.rows + len(data))
                link.share = self._place(Part(one.block, shape, columns, data))
            if time:
                link.rate = self._place(Part(one.block, shape, slice(across - 1, across)))
            self.inputs = None
        self.links.append(link)
        self.rows = link.rows
        return True

    def _fixed(self, one: FixedLinear) -> bool:
        if not is_numpy(one.matrix):
            return False
        down, across = one.matrix.shape
        matrix = self._place(Part("", (down, across), matrix=_plain(one.matrix)))
        self.links.append(_Link(down, across, loops.FORWARD, matrix))
        self.rows = down
        return True

    def _place(self, part: Part) -> int:
        """The number of a part; a whole block that several links read is one."""
        for n, other in enumerate(self.parts):
            whole = part.columns is None and other.columns is None
            if part.name and part.name == other.name and whole:
                return n
        self.parts.append(part)
        return len(self.parts) - 1


def _size(space: Grid | int) -> int:
    return space if isinstance(space, int) else len(space)


def _laid_out(units: int, made: _Links) -> Lowered:
    """The table, with a place on the tapes for all that derivatives read."""
    links, table, numbers, measures = made.links, [], [], []
    rows = varied = units  # the state of the stage comes first
    at = change_at = inside = 0
    for link in links:
        code, parameter, last = IDENTITY, 0.0, link is links[-1]
        if link.activation is not None and link.activation.code is not None:
            code, parameter = link.activation.code, link.activation.parameter
        argument = output = changed = -1
        if code not in FROM_VALUE:
            argument, rows = rows, rows + link.rows
        if not last or (code in FROM_VALUE and code != IDENTITY):
            output, rows = rows, rows + link.rows
        change, varied = varied, varied + link.rows
        if not last:
            changed = change
            if code != IDENTITY:
                changed, varied = varied, varied + link.rows
        weights = []
        for w in link.measures:
            weights.append(-1 if w is None else sum(len(x) for x in measures))
            measures += [] if w is None else [w]
        row = [link.product, link.matrix, link.offset, code, link.rows, link.columns]
        known = max(output, 0) if argument < 0 else argument
        row += [at, output, argument, known, *weights, inside, change_at, change, changed]
        table.append([*row, link.share, link.rate])
        numbers.append([link.sign, parameter])
        at, change_at = output, changed
        inside += link.rows + link.columns if link.product != loops.NOTHING else 0
    program = Program(
        np.array(table, dtype=np.int64),
        np.array(numbers),
        np.concatenate([np.zeros(1), *measures])[1:].copy(),
    )
    return Lowered(
        program,
        tuple(made.parts),
        units,
        rows,
        varied,
        max(max(x.rows, x.columns) for x in links),
        inside,
        max(x.rows * (x.columns if x.product != loops.NOTHING else 1) for x in links),
        max([0, *(x.rows for x in links if x.share >= 0)]),
    )
