"""Gradients of matrices as factors, never formed.

A matrix W of a block enters the stages of a run by products u = W x, so that its gradient is a sum
of outer products: of the inputs and of the cotangents r of the outputs of all its products,

    dJ/dW_k = sum over steps n in layer k of  L_n R_n^T,
    L_n = [h_ni r_ni]  (rows, s M),    R_n = [x_ni]  (columns, s M),

s stages and M samples side by side, over all steps if W is constant in time.  A product with W*
has the two exchanged.  Per step and stage a gradient takes three products of N^2 M multiplications,
its factors two, and writes and reads nothing of the size of W: they pay while s M is below N.

Blocks are factored that stand for the whole of a dense matrix, are constant in layers or in time,
and are not read by a cost, on networks whose loops are compiled.  The others are arrays: gradients
of blocks linear between nodes need the inverse of a Gram matrix in time, which mixes the layers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from continuum.arrays import Array, like
from continuum.checks import check_number
from continuum.controls import Control, ControlSpace
from continuum.long_vectors import products
from continuum.penalties import Penalty
from continuum.records import short

from ..flow.chain_loops import ADJOINT, COLUMNS, INSIDE, MATRIX, NOTHING, PRODUCT, ROWS
from ..run.workspace import Workspace
from .chain_adjoint import add_pairs
from .tape import Backward, Sweeps, Tape


@dataclass(frozen=True, eq=False)
class Pair:
    """What one product contributes to the gradient of its matrix: of all steps, left right^T.

    layers : (S,), in which layer each step lies, increasing; 0 for a matrix constant in time
    """

    layers: Array
    _record: Array = field(repr=False)
    _left: tuple[int, int]
    _right: tuple[int, int]
    _wide: int
    _alone: bool

    __repr__ = short

    @property
    def left(self) -> Array:
        """(S, rows, s M): the cotangents of the outputs, with the lengths of the steps."""
        return self._part(self._left)

    @property
    def right(self) -> Array:
        """(S, columns, s M): the inputs."""
        return self._part(self._right)

    def _part(self, ends: tuple[int, int]) -> Array:
        found = self._record[:, slice(*ends)]
        if self._alone:  # stage after stage
            return found.reshape(len(found), self._wide, -1).swapaxes(1, 2)
        return found.reshape(len(found), -1, self._wide)

    def add(self, factor: float, steps: slice, out: Array, written: Array) -> None:
        """out_k <- factor times the sum over those of these steps that lie in layer k, added to
        what is there where written_k, which is set.

        out : (T, rows, columns), T layers from that of the first step on;  written : (T,)
        """
        layers = self.layers[steps]
        if len(layers):
            own = self._left, self._right, self._wide, self._alone
            add_pairs(self._record[steps], layers - layers[0], *own, float(factor), written, out)


@dataclass(frozen=True, eq=False)
class Factors:
    """A gradient g in the product of a space, of which some blocks are left as factors; made by
    `ReducedObjective.value_and_factors`.

    arrays : the gradients of the blocks that are not factored, and of a penalty in those that are
    pairs : by factored block, the pairs whose sum, with an array if there is one, is its gradient
    """

    space: ControlSpace
    arrays: Mapping[str, Array]
    pairs: Mapping[str, tuple[Pair, ...]]

    __repr__ = short

    def gradient(self) -> Control:
        """g, formed."""
        found = {}
        for block in self.space.trained:
            name, shape = block.name, self.space.shape(block)
            if name not in self.pairs:
                found[name] = self.arrays[name]
                continue
            out, given = np.zeros((self._layers(name), *block.shape)), self.arrays.get(name)
            if given is not None:
                out[...] = given.reshape(out.shape)
            self._add(name, 1.0, out, given is not None)
            found[name] = out.reshape(shape)
        return Control(self.space, found)

    def inner(self, control: Control) -> float:
        """(g, control) in the product of the space; of g, one layer at a time is formed.  Raises
        TypeError, ValueError for what is no control of the space.
        """
        control, total = self.space.check("control", control), 0.0
        for name in self.space.measures:
            x = control[name]
            if name not in self.pairs:
                total += self._product(name, self.arrays[name], x)
                continue
            x = x.reshape(self._layers(name), -1)
            total += sum(w * float(g @ (of * x[k])) for k, w, of, g in self._formed(name))
        return total

    def norm(self) -> float:
        """The norm of g in the space; one layer at a time is formed."""
        total = 0.0
        for name in self.space.measures:
            if name not in self.pairs:
                total += self._product(name, self.arrays[name], self.arrays[name])
            else:
                total += sum(w * float(g @ (of * g)) for _, w, of, g in self._formed(name))
        return total**0.5

    def step(self, control: Control, size: float, *, out: Control | None = None) -> Control:
        """control - size g, by one product for each pair of a layer, added where the control is.

        out : the control that is changed and returned, which may be `control` itself; None returns
            one of its own
        raises TypeError, ValueError for what is no control of the space, a size that is not finite,
            and arrays of `out` that cannot be written
        """
        control, size = self.space.check("control", control), check_number("size", size)
        if out is None:
            out = Control(self.space, {n: x + 0.0 for n, x in control.items()}, trusted=True)
        elif out is not control:
            self.space.check("out", out)
            for name, x in control.items():
                np.copyto(_writable(name, out), x)
        for name, x in self.arrays.items():
            _writable(name, out)[...] -= size * x
        for name in self.pairs:
            x = _writable(name, out)
            block = np.ascontiguousarray(x).reshape(self._layers(name), *self._shape(name))
            self._add(name, -size, block, True)
            if not np.shares_memory(block, x):
                x[...] = block.reshape(x.shape)
        return out

    def _add(self, name: str, factor: float, out: Array, written: bool) -> None:
        found = np.full(len(out), written)
        for pair in self.pairs[name]:
            first = int(pair.layers[0])
            pair.add(factor, slice(None), out[first:], found[first:])

    def _formed(self, name: str) -> Iterator[tuple[int, float, Array, Array]]:
        """(k, its length, weights or the one that all entries have, g_k) of all layers, the last
        two flat and g_k overwritten.
        """
        measure, buffer = self.space.measures[name], np.empty((1, *self._shape(name)))
        given = self.arrays.get(name)
        for k, length in enumerate(measure.diagonal.tolist()):
            buffer[...] = 0.0 if given is None else given.reshape(-1, *self._shape(name))[k]
            written = np.full(1, given is not None)
            for pair in self.pairs[name]:
                steps = slice(*np.searchsorted(pair.layers, (k, k + 1)).tolist())
                pair.add(1.0, steps, buffer, written)
            yield k, length, measure.entries, buffer.reshape(-1)

    def _product(self, name: str, x: Array, y: Array) -> float:
        measure = self.space.measures[name]._replace(start=0)
        return float(products(x.reshape(1, -1), [y.reshape(-1)], [measure])[0, 0])

    def _layers(self, name: str) -> int:
        return len(self.space.measures[name].diagonal)

    def _shape(self, name: str) -> tuple[int, ...]:
        return next(b.shape for b in self.space.trained if b.name == name)


def _writable(name: str, out: Control) -> Array:
    x = out[name]
    if isinstance(x, np.ndarray) and not x.flags.writeable:
        raise ValueError(f"out must have arrays that can be written: its {name} cannot")
    return x


def factored(
    sweeps: Sweeps, tape: Tape, control: Control, penalty: Penalty | None, work: Workspace
) -> tuple[float, Factors]:
    """The costs of a run, without the penalty, and the factors of J's gradient.

    control : where the gradient is to be; work : memory for the sweep
    """
    space, initial = sweeps.problem.space, sweeps.problem.initial
    names = _matrices(sweeps, tape)
    total = {
        b.name: like(np.zeros(space.shape(b)), initial)
        for b in space.trained
        if b.name not in names
    }
    backward, pairs = Backward(sweeps, total, work=work), {}
    if names:
        loop, samples = sweeps.loop, initial.shape[1]
        stages, one = loop.method.b.size, samples == 1
        wide = stages * samples
        backward.kept = np.empty((len(tape.steps), loop.lowered.inside * wide))
        layers = {n: tape.steps.layer * (space.axes[n].length != ()) for n in names}
        for link, name in _links(sweeps):
            if name in names:
                start, middle = link[INSIDE] * wide, (link[INSIDE] + link[ROWS]) * wide
                ends = (start, middle), (middle, middle + link[COLUMNS] * wide)
                left, right = ends[::-1] if link[PRODUCT] == ADJOINT else ends
                pair = Pair(layers[name], backward.kept, left, right, wide, one)
                pairs[name] = (*pairs.get(name, ()), pair)
    costs = backward(tape)
    arrays = {n: space.axes[n].riesz(like(x, control[n])) for n, x in total.items()}
    for name, x in (penalty.gradient(control) if penalty is not None else {}).items():
        arrays[name] = arrays[name] + x if name in arrays else x
    return costs, Factors(space, arrays, pairs)


def _links(sweeps: Sweeps) -> list[tuple[list[int], str]]:
    """The products of a chain, and the names of their matrices ("" for what is not trained)."""
    lowered = sweeps.loop.lowered
    links = [link for link in lowered.program.links.tolist() if link[PRODUCT] != NOTHING]
    return [(link, lowered.parts[link[MATRIX]].name) for link in links]


def _matrices(sweeps: Sweeps, tape: Tape) -> set[str]:
    """The trained blocks that are left as factors."""
    if tape.record is None:
        return set()
    space, lowered = sweeps.problem.space, sweeps.loop.lowered
    found = {name for _, name in _links(sweeps)} - set(sweeps.seeded)
    found &= {b.name for b in space.trained if b.time != "nodes"}
    return found - {part.name for part in lowered.parts if part.columns is not None}
