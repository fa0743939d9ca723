"""The time loop: a network, a control and an initial state become a trajectory.

One Python loop over chunks between the moments monitors ask for; a chunk is advanced by a generic
step (any network, any method, any array library) or by a compiled one (explicit tableau x built-in
activation x dense kernel), which stop at the first state that is not finite.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from continuum.arrays import Array, Device, namespace, on_device, to_host
from continuum.checks import check_array, check_count, check_name
from continuum.controls import ControlPath
from continuum.meshes import TimeMesh
from continuum.networks import Network

from ..run.monitors import Monitor, Snapshot, Watch
from ..run.solution import Solution, States, Trajectory
from ..run.status import Status
from ..steps.embedded import AdaptiveRungeKutta
from ..steps.tableaux import StepFailed, Stepper
from .adaptive import accepted_steps
from .advance import Steps, make_advance, velocity

Save = Literal["final", "layers", "steps"]


@dataclass(frozen=True, eq=False)
class Piece:
    """Part of a run: the states that were kept, how to fill in between, and whether it ended
    badly.
    """

    count: int
    times: Array
    states: States
    final: Array
    status: Status | None = None
    detail: str = ""
    inside: Callable[[float], Array] | None = None


def integrate(
    network: Network,
    control: ControlPath,
    initial: Array,
    stepper: Stepper,
    *,
    save: Save | Array | Sequence[float] = "final",
    monitors: Sequence[Monitor] = (),
    steps_per_layer: int = 1,
    max_steps: int = 1_000_000,
    raise_on_failure: bool = True,
    device: Device | None = None,
) -> Solution:
    """f' = F(f, c(t), t) on (0, T), f(0) = initial, T and the layers those of the control.

    initial : (N, M)
    stepper : one step per layer, or `steps_per_layer`; DormandPrince(rtol=, atol=) and
        DOP853(rtol=, atol=) choose their own steps, which end at the control's breakpoints
    save : "final", "layers" (at the ends of layers), "steps", or increasing times in [0, T]; states
        inside a step come from the method's continuous extension (of order 4 or 7) or, with fixed
        steps, from cubic Hermite interpolation
    device : None computes where `initial` is, "cpu" with NumPy, "gpu" with CuPy (or NumPy if there
        is no GPU, after a RuntimeWarning that says why); the control is carried there, the states
        stay there, `to_host` brings them back
    returns Solution with .trajectory and statistics "steps", "rejected", "seconds"
    raises SolveError if the run fails, unless raise_on_failure=False; ValueError, TypeError for bad
    input
    """
    if not isinstance(stepper, Stepper):
        raise TypeError(f"stepper must be a method such as RK4() or Euler(), got {stepper!r}")
    check_count("steps_per_layer", steps_per_layer)
    check_count("max_steps", max_steps)
    if device is not None:
        check_name("device", device, ("cpu", "gpu"))
    network.check_blocks("control", control.blocks)
    initial = on_device(network.check_state("initial", initial), device)
    control = control.like(initial)
    began = time.perf_counter()
    mesh = control.mesh
    adaptive = isinstance(stepper, AdaptiveRungeKutta)
    wanted = _save_times(save, mesh)
    saver = _Saver(
        network, control, save if isinstance(save, str) and wanted is None else "times", wanted
    )
    total = max_steps if adaptive else mesh.layers * steps_per_layer
    watch = Watch(monitors, total)
    if adaptive:
        pieces = _adaptive_pieces(network, control, stepper, initial, max_steps)
    else:
        pieces = _fixed_pieces(
            network, control, stepper, initial, steps_per_layer, watch, saver.needs_states
        )
    status, detail, step, rejected = Status.FINISHED, "", 0, 0
    saver.start(initial)
    for piece in pieces:
        step += piece.count
        rejected += int(piece.count == 0 and piece.status is None)
        saver.add(piece)
        if piece.status is not None:
            status, detail = piece.status, piece.detail
            break
        if piece.count:
            moment = Snapshot(step, total, float(piece.times[-1]), piece.final)
            if watch.look(moment, last=bool(piece.times[-1] >= mesh.horizon)):
                if piece.times[-1] < mesh.horizon:
                    because = f", {watch.reason}" if watch.reason else ""
                    status, detail = Status.STOPPED, f"at t = {piece.times[-1]:.6g}{because}"
                break
    seconds = time.perf_counter() - began
    statistics = {"steps": float(step), "rejected": float(rejected), "seconds": seconds}
    solution = Solution(
        saver.trajectory(), status, detail, history=watch.history(), statistics=statistics
    )
    return solution.raise_if_failed(raise_on_failure)


def _save_times(save: Save | Array | Sequence[float], mesh: TimeMesh) -> Array | None:
    """The times wanted, or None for the final state or every step."""
    if isinstance(save, str):
        check_name("save", save, ("final", "layers", "steps"))
        return mesh.nodes if save == "layers" else None
    times = to_host(check_array("save", np.asarray(save, dtype=np.float64), ("S",)))
    if np.any(np.diff(times) <= 0) or times[0] < 0 or times[-1] > mesh.horizon:
        raise ValueError(f"save must be increasing times in [0, {mesh.horizon:g}], got {times}")
    return times


def _fixed_pieces(
    network: Network,
    control: ControlPath,
    stepper: Stepper,
    f: Array,
    per_layer: int,
    watch: Watch,
    keep: bool,
) -> Iterator[Piece]:
    """Chunks of equal steps.  A chunk is short enough for Ctrl-C to be answered within about a
    second.
    """
    steps = Steps.equal(control.mesh, per_layer)
    ends = np.append(steps.start[1:], control.mesh.horizon)
    advance = make_advance(network, control, stepper, steps, f)
    work = 8 * f.shape[0] ** 2 * f.shape[1]
    longest = max(1, int(2e10 // work))
    first = 0
    while first < len(steps):
        count = watch.until(first, min(longest, len(steps) - first))
        try:
            f, failed, states = advance(f, first, count, keep)
        except StepFailed as error:
            yield Piece(0, ends[:0], [], f, Status.NEWTON_FAILED, str(error))
            return
        bad = failed >= 0
        done = failed - first + 1 if bad else count
        yield Piece(
            done,
            np.concatenate([steps.start[first : first + 1], ends[first : first + done]]),
            states,
            f,
            Status.NON_FINITE if bad else None,
            f"in step {failed + 1} of {len(steps)}, at t = {ends[failed]:.6g}" if bad else "",
        )
        first += count


def _adaptive_pieces(
    network: Network, control: ControlPath, stepper: AdaptiveRungeKutta, f: Array, max_steps: int
) -> Iterator[Piece]:
    """Accepted steps one by one; a rejected one is a piece without steps."""
    count = 0
    for attempt in accepted_steps(network, control, stepper, f, control.breakpoints):
        if attempt.status is not None:
            yield Piece(0, np.empty(0), [], f, attempt.status, f"at t = {attempt.start:.6g}")
            return
        if not attempt.accepted:
            yield Piece(0, np.empty(0), [], f)
            continue
        if count == max_steps:
            yield Piece(
                0,
                np.empty(0),
                [],
                f,
                Status.MAX_STEPS,
                f"{max_steps} steps, at t = {attempt.start:.6g}",
            )
            return
        count += 1
        before, f = f, attempt.state
        times = np.array([attempt.start, attempt.end])
        inside = stepper.interpolant(
            lambda t, g, layer=attempt.layer: velocity(network, control, layer, t, g),
            attempt.start,
            attempt.end - attempt.start,
            before,
            attempt.slopes,
        )
        yield Piece(1, times, [before, f], f, inside=inside)


class _Saver:
    """Collects the states that were asked for."""

    def __init__(
        self, network: Network, control: ControlPath, save: str, wanted: Array | None
    ) -> None:
        self.network, self.control, self.save, self.wanted = network, control, save, wanted
        self.times: list[float] = []
        self.states: list[Array] = []
        self.latest: tuple[float, Array] | None = None

    @property
    def needs_states(self) -> bool:
        """True unless only the final state is wanted."""
        return self.save != "final"

    def start(self, initial: Array) -> None:
        """The state at t = 0."""
        self.latest = (0.0, initial)
        if self.save == "steps" or (self.wanted is not None and self.wanted[0] == 0.0):
            self._keep(0.0, initial)

    def add(self, piece: Piece) -> None:
        """What is wanted of a piece."""
        if not piece.count:
            return
        self.latest = (float(piece.times[-1]), piece.final)
        if self.save == "steps":
            for t, state in zip(piece.times[1:], piece.states[1:], strict=True):
                self._keep(float(t), state)
        elif self.wanted is not None:
            for n in range(piece.count):
                t0, t1 = float(piece.times[n]), float(piece.times[n + 1])
                inside = self.wanted[(self.wanted > t0) & (self.wanted <= t1)]
                for t in inside:
                    self._keep(float(t), self._between(piece, n, t0, t1, float(t)))

    def _between(self, piece: Piece, n: int, t0: float, t1: float, t: float) -> Array:
        f0, f1, h = piece.states[n], piece.states[n + 1], t1 - t0
        if t == t1:
            return f1
        s = (t - t0) / h
        if piece.inside is not None:
            return piece.inside(s)
        layer = self.control.mesh.layer_of(t0)
        v0, v1 = (
            velocity(self.network, self.control, layer, x, f) for x, f in ((t0, f0), (t1, f1))
        )
        bump = s * (s - 1.0)
        share = s * s * (3.0 - 2.0 * s)
        return (1.0 - share) * f0 + share * f1 + h * bump * ((s - 1.0) * v0 + s * v1)

    def _keep(self, t: float, state: Array) -> None:
        self.times.append(t)
        self.states.append(state)

    def trajectory(self) -> Trajectory:
        """What was collected; the last state reached if only that was asked for or nothing else was
        reached.
        """
        if not self.states and self.latest is not None:
            self._keep(*self.latest)
        return Trajectory(np.asarray(self.times), namespace(self.states[0]).stack(self.states))
