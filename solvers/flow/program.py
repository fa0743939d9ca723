"""The compiled loops of chains with a network, a control and a method put in.

They apply to networks that `lowering.py` can take, with an explicit tableau, NumPy's arrays, and a
control that is trained or constant in time.  Everything else stays on the generic path, which is
the reference.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from math import factorial

import numpy as np

from continuum.arrays import Array, is_numpy, to_host
from continuum.controls import Control, ControlPath, FunctionControl
from continuum.networks import Chain

from ..run.workspace import Workspace
from ..steps import dop853_table
from ..steps.embedded import DOP853, AdaptiveRungeKutta, DormandPrince
from ..steps.tableaux import RungeKutta, Stepper
from . import chain_loops as loops
from .adaptive_loops import Reached, Rules, Span, march
from .chain_loops import Blocks, Method, Moments, Pair
from .lowering import Lowered, lower

_KINDS = {"static": loops.STATIC, "layers": loops.LAYERS, "nodes": loops.NODES}


@dataclass(eq=False)
class Loop:
    """The compiled loops with a network, a control and a method put in."""

    lowered: Lowered
    blocks: Blocks
    method: Method
    dtype: str = "float64"
    """Of the numbers in which states are computed."""

    @staticmethod
    def of(
        network: object,
        control: ControlPath,
        stepper: Stepper,
        state: Array,
        dtype: str = "float64",
    ) -> "Loop | None":
        """None where only the generic path applies."""
        if not (isinstance(network, Chain) and isinstance(stepper, RungeKutta) and is_numpy(state)):
            return None
        lowered = lower(network)
        blocks = None if lowered is None else _blocks(lowered, control, state.shape[1], dtype)
        if lowered is None or blocks is None:
            return None
        return Loop(lowered, blocks, _method(type(stepper)), dtype)

    def advance(
        self,
        f: Array,
        moments: Moments,
        states: Array,
        tape: Array | None = None,
        work: Workspace | None = None,
    ) -> int:
        """Steps the flat f in place; the states (S + 1, N M) or (0, N M), and the tape if there is
        one, are filled.  Returns the index of the first step whose result is not finite, or -1.
        """
        samples, stages = f.size // self.lowered.units, self.method.b.size
        work = work or Workspace(self.dtype)
        if tape is None:
            tape = self.tape(1, samples, work)
        room = self.lowered.room(samples, stages, 0, work)
        return loops.advance(
            f, samples, room, self.lowered.program, self.blocks, self.method, moments, tape, states
        )

    def slope(self, f: Array, layer: int, theta: float) -> Array:
        """F(f, c) in a layer, at a time given as a share of it: (N, M)."""
        slope = np.empty(f.size)
        room = self.lowered.step_room(f.shape[1])
        loops.slope_at(
            np.array(f, order="C").reshape(-1),
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
            np.array(f, order="C").reshape(-1),
            samples,
            self.lowered.step_room(samples),
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
            self.lowered.step_room(samples),
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

    def tape(self, steps: int, samples: int, work: Workspace | None = None) -> Array:
        """Room for what the adjoint of so many steps reads."""
        shape = steps, self.method.b.size, self.lowered.rows * samples
        return (work or Workspace(self.dtype)).array("tape", *shape)

    def collected(self, before: Collection[str]) -> Array:
        """(WIDTH, longest T): where something was collected already, which is so in these
        blocks.
        """
        collected = np.zeros((loops.WIDTH, max(map(len, self.blocks.values))), dtype=np.bool_)
        if before:
            parts = self.lowered.parts
            collected[: len(parts)] = [[p.columns is None and p.name in before] for p in parts]
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


def _is_of(x: Array, dtype: str) -> bool:
    return type(x) is np.ndarray and x.dtype == dtype


def _blocks(lowered: Lowered, control: ControlPath, samples: int, dtype: str) -> Blocks | None:
    """The arrays of a control, None if it depends on time by functions or is not NumPy's."""
    names = [part.name for part in lowered.parts]
    trained = [name for name in names if name]
    if isinstance(control, FunctionControl) and control.constant:
        values, kinds = control.at_layer(0, 0.0), np.zeros(loops.WIDTH, dtype=np.int64)
    elif isinstance(control, Control):
        values = {name: control[name] for name in trained}
        kinds = lowered.kinds.get(control.space)
        if kinds is None:
            times = {b.name: _KINDS[b.time] for b in control.space.blocks}
            kinds = np.zeros(loops.WIDTH, dtype=np.int64)
            kinds[: len(names)] = [times.get(name, loops.STATIC) for name in names]
            lowered.kinds[control.space] = kinds
    else:
        return None
    if not all(is_numpy(x) or _is_of(x, dtype) for x in map(values.__getitem__, trained)):
        return None
    return Blocks(kinds, lowered.values(values, samples, dtype), np.array(control.mesh.nodes))
