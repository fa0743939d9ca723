"""Forward runs that correct the control on the way, and what they cost.

On layer k, with the states z_k that the run has reached and those of an earlier run,

    u_k = clip(u_old_k + law_k (z_k - z_old_k, a, a ds)),   s = clip(s_old + a ds),

for a share a of the step that a sweep found.

Compiled where the loops of `flow/program.py` apply; else layer by layer on the generic path, which
is the reference.
"""

from dataclasses import dataclass, replace

import numpy as np

from continuum.arrays import Array
from continuum.controls import Control

from ..adjoint.coefficients import Columns
from ..adjoint.discretize import ReducedObjective
from ..adjoint.tape import Kept, Sweeps, Tape
from ..flow.chain_loops import WIDTH
from ..run.solution import SolveError
from .rollout_loops import corrected


@dataclass(frozen=True, eq=False)
class Point:
    """A control with its run: coefficients u (K, m) and s (p,), as a control, and J."""

    u: Array
    s: Array
    control: Control
    sweeps: Sweeps
    tape: Tape
    value: float


class Rollout:
    """Runs of one objective.  bounds : (2, m + p), of the coefficients, infinite where free."""

    def __init__(self, objective: ReducedObjective, columns: Columns, bounds: Array) -> None:
        self.objective, self.columns, self.bounds = objective, columns, bounds
        self._inside = np.ascontiguousarray(bounds[:, : columns.m])
        self._places: Array | None = None

    def start(self, control: Control) -> Point:
        """The run of a control.  Raises SolveError if the state does not stay finite."""
        u, s = self.columns.read(control)
        sweeps = self.objective.sweeps(control)
        tape = sweeps.record(self.objective.problem.initial, 0, len(sweeps.steps))
        return self._point(u, s, control, sweeps, tape)

    def __call__(
        self, old: Point, before: Array, law: Array, ds: Array, share: float
    ) -> Point | None:
        """The run from `old`, corrected; None where the state or J does not stay finite.

        before : (K + 1, M, N), the states of `old`
        law, ds : (K, m, n + 1 + p), (p,), as in `riccati.Sweep`
        """
        m = self.columns.m
        s = np.clip(old.s + share * ds, self.bounds[0, m:], self.bounds[1, m:])
        u = old.u.copy()
        control = self.columns.write(u, s)
        sweeps = self.objective.sweeps(control)
        if sweeps.compiled is not None and sweeps.compiled.lowered.split:
            sweeps = replace(sweeps, compiled=None)  # its blocks are overwritten on the way
        run = self._generic if sweeps.compiled is None else self._compiled
        flat, step = before.reshape(len(before), -1), share * np.append(1.0, ds)
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                tape = run(sweeps, control, flat, law, step, u)
                if tape is None:
                    return None
                found = self._point(u, s, control, sweeps, tape)
            except SolveError:
                return None
        return found if np.isfinite(found.value) else None

    def _point(self, u: Array, s: Array, control: Control, sweeps: Sweeps, tape: Tape) -> Point:
        penalty = self.objective.problem.penalty
        value = sweeps.value(tape) + (0.0 if penalty is None else penalty.value(control))
        return Point(u, s, control, sweeps, tape, value)

    def _compiled(
        self, sweeps: Sweeps, _: Control, before: Array, law: Array, step: Array, u: Array
    ) -> Tape | None:
        loop, initial = sweeps.loop, self.objective.problem.initial
        samples, stages = initial.shape[1], loop.method.b.size
        if self._places is None:
            self._places = self._where([part.name for part in loop.lowered.parts])
        final, record = np.array(initial, order="C"), loop.tape(len(sweeps.steps), samples)
        failed = corrected(
            final.reshape(-1),
            samples,
            loop.lowered.room(samples, stages, 0),
            loop.lowered.program,
            loop.blocks,
            loop.method,
            sweeps.steps.moments,
            record,
            self._places,
            before,
            law,
            step,
            self._inside,
            u,
        )
        return None if failed >= 0 else Tape(0, sweeps.steps, Kept(record, final), record)

    def _generic(
        self, sweeps: Sweeps, control: Control, before: Array, law: Array, step: Array, u: Array
    ) -> Tape:
        f, layers = self.objective.problem.initial, len(u)
        firsts = np.searchsorted(sweeps.steps.layer, np.arange(layers + 1))
        states = [f]
        for k in range(layers):
            given = np.append(f.T.reshape(-1) - before[k], step)
            np.clip(u[k] + law[k] @ given, *self._inside, out=u[k])
            self._put(control, u, k)
            part = sweeps.states(f, int(firsts[k]), int(firsts[k + 1]))
            states += [part.states[i] for i in range(1, len(part.states))]
            f = states[-1]
        return Tape(0, sweeps.steps, states)

    def _put(self, control: Control, u: Array, k: int) -> None:
        """Writes u_k into the blocks of a control, in place."""
        for block in self.columns.space.trained:
            if block.time == "layers":
                control[block.name][k] = u[k, self.columns.part(block)].reshape(block.shape)

    def _where(self, names: list[str]) -> Array:
        """The first column of each block of the compiled loops that varies by layers, else -1."""
        varied = {b.name for b in self.columns.space.trained if b.time == "layers"}
        places = np.full(WIDTH, -1)
        for k, name in enumerate(names):
            if name in varied:
                places[k] = self.columns.places[name]
        return places
