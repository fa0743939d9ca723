"""What the compiled loops of chains take: a network as a table of links, a control as arrays, a
method as a tableau.

A chain whose maps are all dense (matrices, Dense kernels, offsets, activations of the package) runs
compiled, with an explicit tableau, NumPy's arrays, and a control that is trained or constant in
time.  Everything else stays on the generic path, which is the reference.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from math import factorial
from weakref import WeakKeyDictionary

import numpy as np

from continuum.activations import Activation
from continuum.arrays import Array, is_numpy, to_host
from continuum.compiled import FROM_VALUE, IDENTITY
from continuum.controls import Control, ControlPath, ControlSpace, FunctionControl
from continuum.kernels import Dense
from continuum.networks import Adjoint, Chain, Linear, Offset, Pointwise
from continuum.quadrature import Grid

from ..steps import dop853_table
from ..steps.embedded import DOP853, AdaptiveRungeKutta, DormandPrince
from ..steps.tableaux import RungeKutta, Stepper
from . import chain_loops as loops
from .adaptive_loops import Reached, Rules, Span, march
from .chain_loops import Blocks, Method, Moments, Pair, Program

_KINDS = {"static": loops.STATIC, "layers": loops.LAYERS, "nodes": loops.NODES}
_ABSENT = np.empty((0, 1, 1))
_NONE = (_ABSENT,) * loops.WIDTH


@dataclass(eq=False)
class _Link:
    """u = sign P (w x) + offset, x <- sigma(u), as it is put together; see `chain_loops`."""

    rows: int
    columns: int
    product: int = loops.NOTHING
    matrix: int = 0
    sign: float = 1.0
    measures: tuple[Array | None, Array | None] = (None, None)
    offset: int = -1
    activation: Activation | None = None


@dataclass(frozen=True, eq=False)
class Lowered:
    """A network as a program.

    shapes : name of every block, in the order of the program -> its shape (R, C), C = 1 for offsets
    units : N
    rows, varied : rows of the tape of a stage, and of that of its tangents
    largest, inside, matrix : of the rows of any link, of the inputs and outputs of all products, of
        the entries of any matrix
    """

    program: Program
    shapes: Mapping[str, tuple[int, int]]
    units: int
    rows: int
    varied: int
    largest: int
    inside: int
    matrix: int
    kinds: WeakKeyDictionary[ControlSpace, Array] = field(default_factory=WeakKeyDictionary)
    """How the blocks depend on time, for the spaces met so far."""

    def arrays(self, blocks: Mapping[str, Array]) -> tuple[Array, ...]:
        """(T, R, C) of every block, time first; (0, 1, 1) for those that are not among `blocks`."""
        found = [
            _plain(blocks[name]).reshape(-1, rows, columns) if name in blocks else _ABSENT
            for name, (rows, columns) in self.shapes.items()
        ]
        return (*found, *_NONE[len(found) :])

    def room(self, samples: int, stages: int, columns: int) -> Array:
        """What the loops carve up for a sweep that collects `columns` stages at a time."""
        size = self.largest * samples
        return np.empty(
            (6 + columns) * size
            + (columns * self.inside + 2 * (stages + 1) * self.units) * samples
            + 2 * self.matrix
            + 3 * stages
        )


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
    shapes: dict[str, tuple[int, int]] = {}
    links: list[_Link] = []
    rows = len(network.weights)

    def place(name: str, shape: tuple[int, int]) -> int:
        shapes.setdefault(name, shape)
        return list(shapes).index(name)

    for one in network.maps:
        if isinstance(one, Linear | Adjoint):
            linear = one if isinstance(one, Linear) else one.of
            if not isinstance(linear.operator, Dense):
                return None
            forward = one is linear
            across, down = (_size(space) for space in (linear.source, linear.target))
            before, behind = (
                None if isinstance(space, int) else space.weights
                for space in (linear.source, linear.target)
            )
            links.append(
                _Link(
                    down if forward else across,
                    rows,
                    loops.FORWARD if forward else loops.ADJOINT,
                    place(one.block, (down, across)),
                    float(one.sign),
                    (before, behind) if forward else (behind, before),
                )
            )
            rows = links[-1].rows
        elif isinstance(one, Offset):
            if not links or links[-1].offset >= 0 or links[-1].activation is not None:
                links.append(_Link(rows, rows))
            links[-1].offset = place(one.block, (rows, 1))
        elif isinstance(one, Pointwise) and one.activation.code is not None:
            if not links or links[-1].activation is not None:
                links.append(_Link(rows, rows))
            links[-1].activation = one.activation
        else:
            return None
    return _laid_out(len(network.weights), links, shapes) if len(shapes) <= loops.WIDTH else None


def _size(space: Grid | int) -> int:
    return space if isinstance(space, int) else len(space)


def _laid_out(units: int, links: list[_Link], shapes: Mapping[str, tuple[int, int]]) -> Lowered:
    """The table, with a place on the tapes for all that derivatives read."""
    table, numbers, measures = [], [], []
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
        table.append(row)
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
        dict(shapes),
        units,
        rows,
        varied,
        max(max(x.rows, x.columns) for x in links),
        inside,
        max([1, *(x.rows * x.columns for x in links if x.product != loops.NOTHING)]),
    )


@dataclass(eq=False)
class Loop:
    """The compiled loops with a network, a control and a method put in."""

    lowered: Lowered
    blocks: Blocks
    method: Method

    @staticmethod
    def of(network: object, control: ControlPath, stepper: Stepper, state: Array) -> "Loop | None":
        """None where only the generic path applies."""
        if not (isinstance(network, Chain) and isinstance(stepper, RungeKutta) and is_numpy(state)):
            return None
        lowered = lower(network)
        blocks = None if lowered is None else _blocks(lowered, control)
        if lowered is None or blocks is None:
            return None
        return Loop(lowered, blocks, _method(type(stepper)))

    def advance(self, f: Array, moments: Moments, states: Array, tape: Array | None = None) -> int:
        """Steps the flat f in place; the states (S + 1, N M) or (0, N M), and the tape if there is
        one, are filled.  Returns the index of the first step whose result is not finite, or -1.
        """
        samples, stages = f.size // self.lowered.units, self.method.b.size
        if tape is None:
            tape = self.tape(1, samples)
        room = self.lowered.room(samples, stages, 0)
        return loops.advance(
            f, samples, room, self.lowered.program, self.blocks, self.method, moments, tape, states
        )

    def slope(self, f: Array, layer: int, theta: float) -> Array:
        """F(f, c) in a layer, at a time given as a share of it: (N, M)."""
        slope = np.empty(f.size)
        room = self._step_room(f.shape[1])
        loops.slope_at(
            _plain(f).reshape(-1),
            f.shape[1],
            room,
            self.lowered.program,
            self.blocks,
            layer,
            theta,
            slope,
        )
        return slope.reshape(f.shape)

    def attempt(
        self, pair: Pair, f: Array, first: Array, moment: tuple[int, float, float, float]
    ) -> tuple[Array, list[Array], float]:
        """(state, slopes, scaled error) of a step of an embedded pair from f, whose slope
        `first` is known; see `chain_loops.attempt`.
        """
        samples, stages = f.shape[1], self.method.b.size
        slopes, state = np.empty((stages, *f.shape)), np.empty(f.shape)
        slopes[0] = first
        error = loops.attempt(
            _plain(f).reshape(-1),
            samples,
            self._step_room(samples),
            self.lowered.program,
            self.blocks,
            self.method,
            pair,
            moment,
            slopes.reshape(stages, -1),
            state.reshape(-1),
        )
        return state, [*slopes], float(error)  # type: ignore[return-value]  # of arrays

    def march(
        self,
        pair: Pair,
        rules: Rules,
        f: Array,
        span: Span,
        reached: Reached,
        limits: tuple[int, int],
        ends: Array,
        states: Array,
    ) -> tuple[Array, Reached, int, int, int]:
        """(state, where it stands, accepted, rejected, how it ended) after attempts from f; limits:
        the most accepted steps and attempts; ends and states are filled.  See
        `adaptive_loops.march`.
        """
        samples, entries = f.shape[1], f.size
        state = np.array(f, order="C")
        t, h, error, accepted, rejected, code = march(
            state.reshape(-1),
            samples,
            self._step_room(samples),
            self.lowered.program,
            self.blocks,
            self.method,
            pair,
            rules,
            span,
            reached,
            *limits,
            np.empty((self.method.b.size + 1, entries)),
            ends,
            states.reshape(len(states), entries),
        )
        return state, Reached(t, h, error), accepted, rejected, code

    def _step_room(self, samples: int) -> Array:
        """The room for a forward step, and one stage's part of a tape behind it."""
        lowered = self.lowered
        size = 3 * lowered.largest * samples + 2 * lowered.matrix + lowered.rows * samples
        return np.empty(size)

    def tape(self, steps: int, samples: int) -> Array:
        """Room for what the adjoint of so many steps reads."""
        return np.empty((steps, self.method.b.size, self.lowered.rows * samples))

    def collected(self, before: Collection[str]) -> Array:
        """(WIDTH, longest T): where something was collected already, which is so in these
        blocks.
        """
        collected = np.zeros((loops.WIDTH, max(map(len, self.blocks.values))), dtype=np.bool_)
        if before:
            collected[: len(self.lowered.shapes)] = [[n in before] for n in self.lowered.shapes]
        return collected


def pair_of(stepper: AdaptiveRungeKutta, weights: Array) -> Pair | None:
    """The error estimates of a pair of the package; None for another one."""
    if type(stepper) not in (DormandPrince, DOP853):
        return None
    shares = to_host(weights)
    return Pair(_errors(type(stepper)), shares / shares.sum(), np.array(stepper.tolerances))


@cache
def _errors(pair: type[AdaptiveRungeKutta]) -> Array:
    return np.stack([pair.error, dop853_table.ERROR_3] if pair is DOP853 else [pair.error])


def rules_of(stepper: AdaptiveRungeKutta) -> Rules:
    """The numbers by which a pair chooses its steps."""
    order = stepper.error_order
    return Rules(order, factorial(order) * stepper.error_constant, float(stepper.max_step))


@cache
def _method(stepper: type[RungeKutta]) -> Method:
    """The tableau of a method, in arrays of its own."""
    a = np.array(stepper.a, order="C")
    return Method(a, np.array(a.T, order="C"), np.array(stepper.b), np.array(stepper.c))


def _blocks(lowered: Lowered, control: ControlPath) -> Blocks | None:
    """The arrays of a control, None if it depends on time by functions or is not NumPy's."""
    if isinstance(control, FunctionControl) and control.constant:
        values, kinds = control.at_layer(0, 0.0), np.zeros(loops.WIDTH, dtype=np.int64)
    elif isinstance(control, Control):
        values = {name: control[name] for name in lowered.shapes}
        kinds = lowered.kinds.get(control.space)
        if kinds is None:
            times = {b.name: _KINDS[b.time] for b in control.space.blocks}
            kinds = np.zeros(loops.WIDTH, dtype=np.int64)
            kinds[: len(lowered.shapes)] = [times[name] for name in lowered.shapes]
            lowered.kinds[control.space] = kinds
    else:
        return None
    if not is_numpy(*(values[name] for name in lowered.shapes)):
        return None
    return Blocks(kinds, lowered.arrays(values))
