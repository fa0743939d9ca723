"""The violation of the decay condition at many states of every sample of a `LearnedField`.

A pair (sample m, state s) costs what its layers cost but the first, in which the share of the
sample is computed once, that of a state which all samples share once too; backwards only the pairs
with r > 0 count.
"""

from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array, is_numpy
from continuum.compiled import FROM_VALUE
from continuum.controls import Control
from continuum.networks import FieldAt, FixedLinear
from continuum.networks.network import Values
from continuum.problem import LearningProblem
from continuum.records import short

from . import pair_loops as loops
from .pointwise import Points, lyapunov_function

COLUMNS = 1024
"""Pairs that are treated together: their arrays of a layer stay in the cache."""
DENSE = 0.7
"""Above this share of active pairs all are kept: copying costs more than the products saved."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """What is asked of M samples and S states of each.

    states : (k, 1, S) where all samples share them, or (k, M, S)
    times : (S,), the time of each state
    slopes : p (k, M, S), the derivative of V in the state
    potential : kappa V (M, S)
    weights : q (M, 1)
    """

    states: Array
    times: Array
    slopes: Array
    potential: Array
    weights: Array

    __repr__ = short

    @staticmethod
    def of(problem: LearningProblem, control: Control, points: Points, kappa: float) -> "Pairs":
        """At a shared state V and p are computed once for each target that samples have in
        common.
        """
        cost, samples = lyapunov_function(problem), problem.initial.shape[1]
        states = np.ascontiguousarray(np.transpose(points.states, (1, 2, 0)))
        units, columns, count = states.shape
        first = own = np.arange(samples)
        if columns == 1:
            first, own = _distinct(np.asarray(cost.target))
        values, slopes, _ = cost.batch(np.repeat(first, count)).density_and_vjp(
            problem.network,
            np.broadcast_to(states, (units, len(first), count)).reshape(units, -1),
            problem.functional.terminal_values(control),
            problem.mesh.horizon,
            np.ones(count * len(first)),
        )
        slopes, values = slopes.reshape(units, -1, count), kappa * values.reshape(-1, count)
        if columns == 1:
            slopes, values = slopes[:, own], values[own]
        weights = problem.sample_weights[:, None] / count
        return Pairs(states, points.times, slopes, values, weights)


def takes(problem: LearningProblem, control: Control, points: Points) -> bool:
    """True for a `FieldAt` with hidden layers of compiled activations, without a bound of its norm,
    all of its blocks constant in time, and a readout without trained blocks; in NumPy's arrays.
    """
    network, trained = problem.network, {b.name for b in problem.space.trained}
    if not isinstance(network, FieldAt):
        return False
    names = network.block_shapes
    arrays = (points.states, network.inputs, *(control[name] for name in names))
    return (
        bool(network.field.hidden)
        and network.field.norm_bound is None
        and network.inputs.shape[1] == problem.initial.shape[1]
        and network.activation.code is not None
        and all(b.time == "static" for b in problem.space.blocks if b.name in names)
        and trained <= set(names)
        and is_numpy(*arrays)
    )


def violations(
    network: FieldAt, c: Values, pairs: Pairs, derivative: bool = True
) -> tuple[Array, dict[str, Array]]:
    """r = (p, F) + kappa V at all pairs, (M, S), and the derivative of sum q max(0, r) in the
    blocks, p held; no blocks if not `derivative`.
    """
    (k, samples, count), shared = pairs.slopes.shape, pairs.states.shape[1] == 1
    chain = _Layers(network, c, pairs)
    step = max(1, min(samples, COLUMNS // count))
    room = chain.room(step * count)
    r = np.empty((samples, count))
    total = _Totals(chain, count, samples)
    for begin in range(0, samples, step):
        part = slice(begin, min(begin + step, samples))
        p = np.ascontiguousarray(pairs.slopes[:, part]).reshape(k, -1)
        own = None if shared else np.ascontiguousarray(pairs.states[:, part]).reshape(k, -1)
        hidden, known, w = chain.forward(own, part, room, p.shape[1])
        np.matmul(chain.readout.T, p, out=w)
        sums = pairs.potential[part].reshape(-1) + chain.offset @ p
        loops.paired(w, hidden[-1], sums)
        r[part] = sums.reshape(-1, count)
        if derivative:
            q = np.where(sums > 0, np.repeat(pairs.weights[part, 0], count), 0.0)
            total.add(hidden, known, own, p, w, q, part)
    return r, total.blocks(pairs, network.inputs) if derivative else {}


class _Layers:
    """The arrays of a field, and its forward pass.

    of_states (h, S), of_samples (h, M) : what the number of a state and that of a sample say of the
        argument of the first layer
    """

    def __init__(self, network: FieldAt, c: Values, pairs: Pairs) -> None:
        field = network.field
        self.timed, self.layers = field.timed, len(field.hidden)
        activation = field.activation
        self.code, self.parameter = activation.code, activation.parameter
        self.from_value = activation.code in FROM_VALUE
        self.weights = [np.ascontiguousarray(c[f"weight{n + 1}"]) for n in range(self.layers)]
        self.offsets = [np.ascontiguousarray(c[f"bias{n + 1}"]) for n in range(self.layers)]
        last = network.maps[-1]
        self.mixing = last.matrix if isinstance(last, FixedLinear) else None
        readout, offset = c[f"weight{self.layers + 1}"], c[f"bias{self.layers + 1}"]
        self.readout = readout if self.mixing is None else self.mixing @ readout
        self.offset = offset if self.mixing is None else self.mixing @ offset
        w, x, (k, columns, count) = self.weights[0], network.inputs, pairs.states.shape
        self.of_state = np.ascontiguousarray(w[:, :k])
        self.of_states = np.repeat(self.offsets[0][:, None], count, axis=1)
        if columns == 1:
            self.of_states += self.of_state @ pairs.states[:, 0]
        if self.timed:
            self.of_states += w[:, -1:] * pairs.times
        self.of_samples = w[:, k : k + len(x)] @ x

    def room(self, columns: int) -> list[Array]:
        """Values, arguments where derivatives read them, and one array more, of each layer."""
        wide = [len(b) for b in self.offsets]
        known = [0 if self.from_value else h for h in wide]
        return [np.empty(h * columns) for h in (*wide, *known, wide[-1])]

    def forward(
        self, states: Array | None, part: slice, room: list[Array], columns: int
    ) -> tuple[list[Array], list[Array], Array]:
        """(h_1, ..., h_L), what their slopes are known from, and room for another h_L.

        states : (k, columns), None for shared ones
        """
        count, wide = self.layers, [len(b) for b in self.offsets]
        shaped = [
            a[: h * columns].reshape(-1, columns)
            for a, h in zip(room, (*wide, *wide, wide[-1]), strict=True)
        ]
        hidden, arguments, w = shaped[:count], shaped[count : 2 * count], shaped[-1]
        if states is not None:
            np.matmul(self.of_state, states, out=hidden[0])
        loops.spread(
            self.code,
            self.parameter,
            self.of_states,
            np.ascontiguousarray(self.of_samples[:, part]),
            states is not None,
            arguments[0],
            hidden[0],
        )
        for n in range(1, count):
            np.matmul(self.weights[n], hidden[n - 1], out=hidden[n])
            loops.activate(self.code, self.parameter, self.offsets[n], arguments[n], hidden[n])
        return hidden, hidden if self.from_value else arguments, w


class _Totals:
    """The derivatives, added up over the parts."""

    def __init__(self, chain: _Layers, states: int, samples: int) -> None:
        self.chain = chain
        wide = [len(b) for b in chain.offsets]
        self.of_state = np.zeros(chain.of_state.shape)
        self.of_states = np.zeros((wide[0], states))
        self.of_samples = np.zeros((wide[0], samples))
        self.weights = [np.zeros_like(w) for w in chain.weights]
        self.offsets = [np.zeros(h) for h in wide]
        self.readout = np.zeros(chain.readout.shape)
        self.offset = np.zeros(len(chain.offset))

    def add(
        self,
        hidden: list[Array],
        known: list[Array],
        states: Array | None,
        p: Array,
        w: Array,
        q: Array,
        part: slice,
    ) -> None:
        """The pairs with q > 0 of some of the samples."""
        chain = self.chain
        columns = np.flatnonzero(q)
        if not len(columns):
            return
        if len(columns) <= DENSE * len(q):
            same = known is hidden
            hidden = [_gathered(columns, h) for h in hidden]
            known = hidden if same else [_gathered(columns, u) for u in known]
            p, w, q = _gathered(columns, p), _gathered(columns, w), q[columns]
            states = None if states is None else _gathered(columns, states)
        else:
            columns = np.arange(len(q))
        c, d = q * p, np.multiply(w, q, out=w)
        self.readout += c @ hidden[-1].T
        self.offset += c.sum(axis=1)
        for n in reversed(range(chain.layers)):
            loops.slope(chain.code, chain.parameter, known[n], d, self.offsets[n])
            if n:
                self.weights[n] += d @ hidden[n - 1].T
                d = chain.weights[n].T @ d
        if states is not None:
            self.of_state += d @ states.T
        loops.collect(columns, d, self.of_states, self.of_samples[:, part])

    def blocks(self, pairs: Pairs, x: Array) -> dict[str, Array]:
        """By the names of the network's blocks."""
        if pairs.states.shape[1] == 1:
            self.of_state = self.of_states @ pairs.states[:, 0].T
        parts = [self.of_state, self.of_samples @ x.T]
        if self.chain.timed:
            parts.append((self.of_states @ pairs.times)[:, None])
        self.weights[0] = np.concatenate(parts, axis=1)
        mixing = self.chain.mixing
        readout = self.readout if mixing is None else mixing.T @ self.readout
        offset = self.offset if mixing is None else mixing.T @ self.offset
        names = range(1, self.chain.layers + 2)
        return {
            **{f"weight{n}": w for n, w in zip(names, (*self.weights, readout), strict=True)},
            **{f"bias{n}": b for n, b in zip(names, (*self.offsets, offset), strict=True)},
        }


def _distinct(target: Array) -> tuple[Array, Array]:
    """A sample of each target (C,), and the number of its target for every sample (M,)."""
    columns = [column.tobytes() for column in np.ascontiguousarray(target.T)]
    known = {column: number for number, column in enumerate(dict.fromkeys(columns))}
    own = np.array([known[column] for column in columns])
    first = np.array([columns.index(column) for column in known])
    return first, own


def _gathered(columns: Array, a: Array) -> Array:
    out = np.empty((len(a), len(columns)))
    loops.gather(columns, a, out)
    return out
