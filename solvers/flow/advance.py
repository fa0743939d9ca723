"""Steps of a known sequence: generic (any network, any method, any array library), or compiled.

Both stop at the first state that is not finite.  The generic advance is the reference of the
compiled one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from continuum.arrays import Array, namespace
from continuum.controls import ControlPath
from continuum.meshes import TimeMesh
from continuum.networks import Network

from ..run.solution import States
from ..run.threads import go_through
from ..run.workspace import Spares, Workspace
from ..steps.tableaux import Stepper
from .chain_loops import Moments
from .program import Loop
from .samples import blocks


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps of a run: step n lies in layer[n], starts at start[n], has length size[n].

    theta, dtheta : the same start and length as shares of the layer
    """

    layer: Array
    start: Array
    size: Array
    theta: Array
    dtheta: Array

    def __len__(self) -> int:
        return self.size.shape[0]

    @cached_property
    def moments(self) -> Moments:
        """What the compiled loops take of them."""
        return Moments(self.layer, self.size, self.theta, self.dtheta)

    def __getitem__(self, chosen: slice) -> "Steps":
        if chosen.indices(len(self)) == (0, len(self), 1):
            return self
        return Steps(
            *(x[chosen] for x in (self.layer, self.start, self.size, self.theta, self.dtheta))
        )

    @staticmethod
    def equal(mesh: TimeMesh, per_layer: int) -> "Steps":
        """`per_layer` equal steps in each layer."""
        share = np.tile(np.arange(per_layer) / per_layer, mesh.layers)
        layer = np.repeat(np.arange(mesh.layers), per_layer)
        tau = mesh.steps[layer]
        return Steps(
            layer,
            mesh.nodes[layer] + share * tau,
            tau / per_layer,
            share,
            np.full(len(share), 1 / per_layer),
        )

    @staticmethod
    def accepted(mesh: TimeMesh, steps: Sequence[tuple[int, float, float]]) -> "Steps":
        """From (layer, start, size) of an adaptive run."""
        layer = np.array([s[0] for s in steps], dtype=np.int64)
        start, size = np.array([s[1] for s in steps]), np.array([s[2] for s in steps])
        tau = mesh.steps[layer]
        return Steps(layer, start, size, (start - mesh.nodes[layer]) / tau, size / tau)


class Advance(Protocol):
    """Makes steps of a known sequence."""

    def __call__(self, f: Array, first: int, count: int, keep: bool) -> tuple[Array, int, States]:
        """(state, first step whose result is not finite or -1, states before and after each step if
        kept).
        """
        ...


class GenericAdvance:
    """Steps of any method on any network, in the array library of the state: the reference."""

    def __init__(
        self, network: Network, control: ControlPath, stepper: Stepper, steps: Steps
    ) -> None:
        self.network, self.control, self.stepper, self.steps = network, control, stepper, steps

    def __call__(self, f: Array, first: int, count: int, keep: bool) -> tuple[Array, int, States]:
        states = [f] if keep else []
        for n in range(first, first + count):
            layer = int(self.steps.layer[n])
            f = self.stepper.step(
                lambda t, g: velocity(self.network, self.control, layer, t, g),  # noqa: B023
                lambda t, g, dg: tangent(self.network, self.control, layer, t, g, dg),  # noqa: B023
                float(self.steps.start[n]),
                float(self.steps.size[n]),
                f,
            )
            if keep:
                states.append(f)
            if not is_finite(f):
                return f, n, states
        return f, -1, states


def velocity(network: Network, control: ControlPath, layer: int, t: float, f: Array) -> Array:
    """F(f, c(t), t) inside a layer."""
    return network.velocity(f, control.at_layer(layer, t), t)


def tangent(
    network: Network, control: ControlPath, layer: int, t: float, f: Array, df: Array
) -> Array:
    """D_f F(f, c(t), t) df inside a layer."""
    return network.jvp(f, control.at_layer(layer, t), t, df, {})


def is_finite(f: Array) -> bool:
    """True if no entry is NaN or infinite."""
    xp = namespace(f)
    return bool(xp.all(xp.isfinite(f)))


class CompiledAdvance:
    """The same steps by the compiled loop, which may use the memory of `work`."""

    def __init__(self, loop: Loop, steps: Steps, work: Workspace | None = None) -> None:
        self.loop, self.steps, self.work = loop, steps, work

    def __call__(self, f: Array, first: int, count: int, keep: bool) -> tuple[Array, int, States]:
        shape = f.shape
        with np.errstate(over="ignore"):
            f = np.array(f, self.loop.dtype, order="C").reshape(-1)
        states = np.empty((count + 1 if keep else 0, f.size), f.dtype)
        moments = self.steps[first : first + count].moments
        failed = self.loop.advance(f, moments, states, None, self.work)
        kept, final = states.reshape(-1, *shape), f.reshape(shape)
        kept, final = (x.astype(np.float64, copy=False) for x in (kept, final))
        return (final, -1, kept) if failed < 0 else (final, first + failed, kept[: failed + 2])


class BlockedAdvance:
    """The same block by block of the samples, shared by threads."""

    def __init__(
        self, whole: CompiledAdvance, parts: Sequence[tuple[slice, Loop]], threads: int
    ) -> None:
        self.whole, self.parts, self.threads = whole, parts, threads
        self.spares = Spares(whole.loop.dtype)

    def __call__(self, f: Array, first: int, count: int, keep: bool) -> tuple[Array, int, States]:
        moments = self.whole.steps[first : first + count].moments
        final, states = np.empty(f.shape), np.empty((count + 1 if keep else 0, *f.shape))
        failed = []

        def run(part: slice, loop: Loop) -> Iterator[None]:
            shape = f[:, part].shape
            with self.spares.one() as work:
                state, kept = work.array("f", *shape), work.array("states", len(states), *shape)
                with np.errstate(over="ignore"):
                    state[...] = f[:, part]
                flat = kept.reshape(len(states), state.size)
                if loop.advance(state.reshape(-1), moments, flat, None, work) >= 0:
                    failed.append(part)
                final[:, part], states[:, :, part] = state, kept
            yield

        go_through([run(*part) for part in self.parts], self.threads)
        if failed:  # all samples together, so that it is the first failure of any of them
            return self.whole(f, first, count, keep)
        return final, -1, states


def only_compiled(dtype: str) -> str:
    """Why a problem cannot be computed in this dtype."""
    return (
        f"dtype {dtype!r} is for explicit methods of fixed steps on NumPy arrays, with networks of "
        "dense maps and the activations of the package, and controls that are trained or constant "
        "in time"
    )


def make_advance(
    network: Network,
    control: ControlPath,
    stepper: Stepper,
    steps: Steps,
    state: Array,
    threads: int = 1,
    dtype: str = "float64",
) -> Advance:
    """The compiled loop where it applies, in blocks of samples, else the generic one.

    raises TypeError where that would have to compute in another dtype than float64
    """
    loop = Loop.of(network, control, stepper, state, dtype)
    if loop is None and dtype != "float64":
        raise TypeError(only_compiled(dtype))
    if loop is None:
        return GenericAdvance(network, control, stepper, steps)
    whole, (units, samples) = CompiledAdvance(loop, steps), state.shape
    parts = blocks(samples, units, len(steps) * loop.method.b.size)
    if len(parts) == 1:
        return whole
    loops = [loop] * len(parts)
    if loop.lowered.split:  # arrays of its own for the data of each sample
        some = [network.batch(np.arange(samples)[part]) for part in parts]
        pairs = zip(some, parts, strict=True)
        made = [Loop.of(one, control, stepper, state[:, part], dtype) for one, part in pairs]
        loops = [own for own in made if own is not None]
    return BlockedAdvance(whole, list(zip(parts, loops, strict=True)), threads)
