"""The time loop: a network, a control and an initial state become a trajectory.

One Python loop over chunks between the moments monitors ask for; a chunk is advanced by a generic
step (any network, any method, any array library) or by a compiled one (explicit tableau x built-in
activation x dense kernel), which stop at the first state that is not finite.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from continuum.arrays import Array, Device, namespace, on_device, to_host
from continuum.checks import check_array, check_count, check_name
from continuum.controls import ControlPath, FunctionControl
from continuum.doors import checked
from continuum.meshes import TimeMesh
from continuum.networks import Network, Staged

from ..run.monitors import Monitor, Snapshot, Watch
from ..run.solution import Solution, States, Trajectory
from ..run.status import Status
from ..steps.auto import Auto
from ..steps.embedded import AdaptiveRungeKutta
from ..steps.stiff import EmbeddedImplicit
from ..steps.tableaux import RungeKutta, StepFailed, Stepper
from .adaptive import stretches
from .advance import Advance, Steps, is_finite, make_advance, only_compiled, velocity
from .chain_loops import Pair
from .program import Loop, pair_of
from .step_length import has_grown, largest, too_long
from .stiff_stages import Effort
from .switching import all_attempts

Save = Literal["final", "layers", "steps"]


@dataclass(frozen=True, eq=False)
class Piece:
    """Part of a run: the states that were kept, how to fill in between, and whether it ended badly.

    count, rejected : steps whose states are finite, and attempts that were rejected
    times : (count + 1,), the ends of these steps; of the piece, if only `final` is wanted
    states : (count + 1) states at these times, or none if only `final`, the last one, is wanted
    control : as it is between the breakpoints around the piece
    """

    count: int
    times: Array
    states: States
    final: Array
    control: ControlPath
    status: Status | None = None
    detail: str = ""
    inside: Callable[[float], Array] | None = None
    rejected: int = 0


@checked
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
    threads: int = 1,
    dtype: str = "float64",
) -> Solution[Trajectory]:
    """f' = F(f, c(t), t) on (0, T), f(0) = initial, T and the layers those of the control.

    initial : (N, M)
    stepper : one step per layer, or `steps_per_layer`, cut in two where a breakpoint of a control
        given by functions lies inside; DormandPrince(rtol=, atol=), DOP853(rtol=, atol=) and, for
        stiff equations, RadauIIA5(rtol=, atol=) and KennedyCarpenter5(rtol=, atol=) choose their
        own steps, which end at the control's breakpoints; Auto(rtol=, atol=) takes one of the
        former until the equation is stiff, then one of the latter until it no longer is
    save : "final", "layers" (at the ends of layers), "steps", or increasing times in [0, T]; states
        inside a chosen step come from the method's continuous extension (of order 3, 4 or 7),
        inside a fixed one from cubic Hermite interpolation
    device : None computes where `initial` is, "cpu" with NumPy, "gpu" with CuPy (or NumPy if there
        is no GPU, after a RuntimeWarning that says why); the control is carried there, the states
        stay there, `to_host` brings them back
    threads : how many share the samples, in blocks, where a compiled loop makes fixed explicit
        steps; elsewhere one computes.  States are the same to the bit for any number above 1, and
        for 1 if BLAS has one thread too
    dtype : "float32" computes in these numbers, faster where there are many samples, with compiled
        loops of fixed explicit steps; states are given as float64 all the same
    returns Solution with .trajectory and statistics "steps", "rejected", "seconds"; where an
        implicit method chose the steps also "velocities", evaluations of F, "jacobians", matrices
        D_f F, and "factorisations" (two for a step of RadauIIA5, one for KennedyCarpenter5); with
        Auto also "switches", whose times and reasons are in .detail
    raises SolveError if the run fails, unless raise_on_failure=False: its solution has the states
        before the failure, all of them finite; ValueError, TypeError for bad input, TypeError also
        where "float32" is asked for and no such loop applies, ValueError also
        for a function of time that is not finite, with its block and t

    A run of an explicit method with fixed steps whose state grew by 1e6 or more has failed, with
    Status.STEPS_TOO_LONG, if shorter steps from the last state lead elsewhere.

    A Staged network goes through its stages, with save="final" and no monitors; see
    `integrate_stages` for what happens on the way.
    """
    if isinstance(network, Staged):
        if not isinstance(save, str) or save != "final" or monitors:
            raise ValueError(
                "save must be 'final', and there are no monitors, for a Staged network, whose "
                "states have several widths: integrate_stages gives the run of each stage"
            )
        runs = integrate_stages(
            network,
            control,
            initial,
            stepper,
            steps_per_layer=steps_per_layer,
            max_steps=max_steps,
            raise_on_failure=raise_on_failure,
            device=device,
            threads=threads,
            dtype=dtype,
        )
        totals = {name: sum(run.statistics[name] for run in runs) for name in runs[0].statistics}
        return replace(runs[-1], statistics=totals)
    steps_per_layer = check_count("steps_per_layer", steps_per_layer)
    max_steps, threads = check_count("max_steps", max_steps), check_count("threads", threads)
    check_name("dtype", dtype, ("float64", "float32"))
    if device is not None:
        check_name("device", device, ("cpu", "gpu"))
    network.check_control("control", control)
    initial = on_device(network.check_state("initial", initial), device)
    control = control.like(initial)
    began = time.perf_counter()
    mesh = control.mesh
    wanted = _save_times(save, mesh)
    saver = _Saver(
        network, control, save if isinstance(save, str) and wanted is None else "times", wanted
    )
    steps = None
    effort, changes = Effort(), list[str]()
    if isinstance(stepper, AdaptiveRungeKutta | EmbeddedImplicit | Auto) and stepper.adaptive:
        if dtype != "float64":
            raise TypeError(only_compiled(dtype))
        watch = Watch(monitors, max_steps)
        keep = saver.needs_states
        pieces = _adaptive_pieces(network, control, stepper, initial, watch, keep, effort, changes)
    else:
        steps = equal_steps(control, steps_per_layer)
        watch = Watch(monitors, len(steps))
        keep = saver.needs_states
        make = partial(make_advance, threads=threads, dtype=dtype)
        pieces = _fixed_pieces(network, control, stepper, initial, steps, watch, keep, make)
    status, detail, step, rejected = Status.FINISHED, "", 0, 0
    saver.start(initial)
    for piece in pieces:
        step += piece.count
        rejected += piece.rejected
        saver.add(piece)
        if piece.status is not None:
            status, detail = piece.status, piece.detail
            break
        if piece.count:
            moment = Snapshot(step, watch.total, float(piece.times[-1]), piece.final)
            if watch.look(moment, last=bool(piece.times[-1] >= mesh.horizon)):
                if piece.times[-1] < mesh.horizon:
                    because = f", {watch.reason}" if watch.reason else ""
                    status, detail = Status.STOPPED, f"at t = {piece.times[-1]:.6g}{because}"
                break
    final = saver.latest[1]
    if status is Status.FINISHED and steps and has_grown(network, control, initial, final):
        detail = _too_long(network, control, stepper, steps, len(steps) - 1, final)
        status = Status.STEPS_TOO_LONG if detail else status
    seconds = time.perf_counter() - began
    statistics = {"steps": float(step), "rejected": float(rejected), "seconds": seconds}
    if effort.velocities:
        statistics |= {name: float(count) for name, count in asdict(effort).items()}
    if isinstance(stepper, Auto):
        statistics["switches"] = float(len(changes))
        detail = "; ".join([*([detail] if detail else []), *_told(changes)])
    solution = Solution(
        saver.trajectory(), status, detail, history=watch.history(), statistics=statistics
    )
    return solution.raise_if_failed(raise_on_failure)


def _told(changes: list[str]) -> list[str]:
    """The changes of method, at most four of them in words."""
    if len(changes) <= 4:
        return changes
    return [*changes[:2], f"{len(changes) - 3} more", changes[-1]]


@checked
def integrate_stages(
    network: Staged,
    control: ControlPath,
    initial: Array,
    stepper: Stepper,
    *,
    save: Save | Array | Sequence[float] = "final",
    steps_per_layer: int = 1,
    max_steps: int = 1_000_000,
    raise_on_failure: bool = True,
    device: Device | None = None,
    threads: int = 1,
    dtype: str = "float64",
) -> tuple[Solution[Trajectory], ...]:
    """The runs of the stages of a Staged network, one after the other; arguments as in `integrate`.

    The times of a run are those of the whole; its states are of the width of its stage.  The run of
    stage s starts at R_s times the last state of the one before it.  Stages behind one that failed
    are left out.
    save : with increasing times in [0, T], the run of a stage has the states at those that lie in
        it, none if none does; a time at which stages change belongs to the later one
    raises as `integrate`
    """
    network.check_control("control", control)
    wanted = None if isinstance(save, str) else _save_times(save, control.mesh)
    if isinstance(save, str):
        check_name("save", save, ("final", "layers", "steps"))
    runs: list[Solution[Trajectory]] = []
    f, cuts = network.check_state("initial", initial), network.cuts(control.mesh)
    for s, stage in enumerate(network.stages):
        f = network.transfer(s, f) if s else f
        part, start = network.part(control, s), float(control.mesh.nodes[cuts[s]])
        own_times = np.empty(0)
        if wanted is not None:
            end = np.inf if s == len(network.stages) - 1 else control.mesh.nodes[cuts[s + 1]]
            own_times = wanted[(wanted >= start) & (wanted < end)]
            own_times = np.minimum(own_times - start, part.mesh.horizon)
        run = integrate(
            stage,
            part,
            f,
            stepper,
            save=save if wanted is None else np.union1d(own_times, part.mesh.horizon),
            steps_per_layer=steps_per_layer,
            max_steps=max_steps,
            raise_on_failure=False,
            device=device,
            threads=threads,
            dtype=dtype,
        )
        own = run.trajectory
        count = len(own.times) if wanted is None else min(len(own_times), len(own.times))
        moved = Trajectory(own.times[:count] + start, own.states[:count])
        detail = f"stage {s}, from t = {start:g}: {run.detail}" if run.detail else ""
        run = replace(run, value=moved, detail=detail).raise_if_failed(raise_on_failure)
        runs.append(run)
        if not run.status.ok:
            break
        f = own.final
    return tuple(runs)


def _save_times(save: Save | Array | Sequence[float], mesh: TimeMesh) -> Array | None:
    """The times wanted, or None for the final state or every step."""
    if isinstance(save, str):
        check_name("save", save, ("final", "layers", "steps"))
        return mesh.nodes if save == "layers" else None
    times = to_host(check_array("save", np.asarray(save, dtype=np.float64), ("S",)))
    if np.any(np.diff(times) <= 0) or times[0] < 0 or times[-1] > mesh.horizon:
        raise ValueError(f"save must be increasing times in [0, {mesh.horizon:g}], got {times}")
    return times


def equal_steps(control: ControlPath, per_layer: int) -> Steps:
    """`per_layer` equal steps in each layer, cut in two where a breakpoint lies inside.

    Breakpoints within 1e-12 T of the end of a step cut nothing; those of a trained control are ends
    of layers.
    """
    mesh = control.mesh
    steps = Steps.equal(mesh, per_layer)
    cuts = []
    for t in _kinks(control):
        n = int(np.searchsorted(steps.start, t, side="right")) - 1
        left, right = t - steps.start[n], steps.start[n] + steps.size[n] - t
        if min(left, right) > 1e-12 * mesh.horizon:
            cuts.append((n, t))
    if not cuts:
        return steps
    starts = np.sort(np.append(steps.start, [t for _, t in cuts]))
    ends = np.append(starts[1:], mesh.horizon)
    triples = [(mesh.layer_of(0.5 * (s + e)), s, e - s) for s, e in zip(starts, ends, strict=True)]
    return Steps.accepted(mesh, triples)


def _kinks(control: ControlPath) -> tuple[float, ...]:
    """The breakpoints that need not be ends of layers."""
    return control.breakpoints if isinstance(control, FunctionControl) else ()


def _fixed_pieces(
    network: Network,
    control: ControlPath,
    stepper: Stepper,
    f: Array,
    steps: Steps,
    watch: Watch,
    keep: bool,
    make: Callable[..., Advance],
) -> Iterator[Piece]:
    """Chunks of steps, short enough for Ctrl-C to be answered within about a second; one step at a
    time if one may fail, so that those before it are kept.
    """
    mesh = control.mesh
    ends = np.append(steps.start[1:], mesh.horizon)
    longest = 1
    if isinstance(stepper, RungeKutta):
        longest = _most_steps(stepper, f)
    edges = [0.0, *_kinks(control), mesh.horizon]
    last_of = np.searchsorted(0.5 * (steps.start + ends), edges[1:])
    first = 0
    for start, end, stop in zip(edges[:-1], edges[1:], last_of, strict=True):
        piece = control.between(start, end)
        advance = make(network, piece, stepper, steps, f)
        while first < stop:
            count = watch.until(first, min(longest, int(stop) - first))
            before = f
            try:
                with np.errstate(over="ignore", invalid="ignore"):
                    f, failed, states = advance(f, first, count, keep)
            except StepFailed as error:
                yield Piece(0, ends[:0], [], f, piece, Status.NEWTON_FAILED, str(error))
                return
            done = count
            status, detail = None, ""
            if failed >= 0:
                done, status = failed - first, Status.NON_FINITE
                # the last state is near overflow: the cause is looked for some steps before
                early = max(0, done - 20)
                if keep:
                    states = states[: done + 1]
                    f, cause_at = states[done], states[early]
                else:
                    f = advance(before, first, done, False)[0]
                    cause_at = advance(before, first, early, False)[0]
                detail = f"in step {failed + 1} of {len(steps)}, at t = {ends[failed]:.6g}"
                detail += _cause(network, piece, stepper, steps, failed, f, first + early, cause_at)
            times = np.append(steps.start[first], ends[first : first + done])
            yield Piece(done, times, states, f, piece, status, detail)
            first += count


def _most_steps(stepper: RungeKutta, f: Array) -> int:
    """How many steps of a dense network take about a second."""
    units, samples = f.shape
    work = len(stepper.b) * (2 * units**2 * samples + 30 * units * samples + 500)
    return max(1, int(2e9 // work))


def _cause(
    network: Network,
    control: ControlPath,
    stepper: Stepper,
    steps: Steps,
    failed: int,
    f: Array,
    early: int,
    g: Array,
) -> str:
    """Why a step from the finite state f ended at one that is not, as far as that can be told.

    early, g : a step before it and the state where it starts, for a look at the length of steps
        where the numbers are not near overflow yet
    """
    layer, t = int(steps.layer[failed]), float(steps.start[failed])
    with np.errstate(all="ignore"):
        slope = velocity(network, control, layer, t, f)
    if largest(f) < 1e100 and not is_finite(slope):
        return f"; the velocity is not finite at t = {t:.6g}, where the state is"
    why = _too_long(network, control, stepper, steps, early, g)
    return f"; the steps are too long: {why}" if why else ""


def _too_long(
    network: Network, control: ControlPath, stepper: Stepper, steps: Steps, n: int, f: Array
) -> str:
    """A phrase if the n-th step of an explicit method, taken from f, is far from the solution."""
    if not isinstance(stepper, RungeKutta):
        return ""
    layer, t, h = int(steps.layer[n]), float(steps.start[n]), float(steps.size[n])
    return too_long(network, control.between(t, t + h), stepper, layer, t, h, f)


def _adaptive_pieces(
    network: Network,
    control: ControlPath,
    stepper: AdaptiveRungeKutta | EmbeddedImplicit | Auto,
    f: Array,
    watch: Watch,
    keep: bool,
    effort: Effort,
    changes: list[str],
) -> Iterator[Piece]:
    """As many accepted steps as nobody looks at in compiled code, or attempts one by one."""
    pieces = None
    if isinstance(stepper, AdaptiveRungeKutta) and not keep:
        loop = Loop.of(network, control, stepper, f)
        pair = None if loop is None else pair_of(stepper, network.weights_like(f))
        if loop is not None and pair is not None:
            pieces = _stretches(loop, pair, control, stepper, f, watch)
    if pieces is None:
        pieces = _attempts(network, control, stepper, f, effort, changes)
    count, max_steps, horizon = 0, watch.total, control.mesh.horizon
    for piece in pieces:
        yield piece
        count += piece.count
        if count == max_steps and piece.times[-1] < horizon:
            where = f"{max_steps} steps, at t = {piece.times[-1]:.6g}"
            yield replace(piece, count=0, rejected=0, status=Status.MAX_STEPS, detail=where)
            return


def _stretches(
    loop: Loop,
    pair: Pair,
    control: ControlPath,
    stepper: AdaptiveRungeKutta,
    f: Array,
    watch: Watch,
) -> Iterator[Piece]:
    """Steps up to the next look, short enough for Ctrl-C to be answered within about a second."""
    count = 0
    attempts = _most_steps(stepper, f)

    def limits() -> tuple[int, int]:
        return watch.until(count, watch.total - count), attempts

    for part in stretches(loop, control, stepper, pair, f, control.breakpoints, limits):
        count += part.accepted
        yield Piece(
            part.accepted,
            np.array([part.start, part.end]),
            [],
            part.state,
            control,
            part.status,
            f"at t = {part.end:.6g}" if part.status is not None else "",
            rejected=part.rejected,
        )


def _attempts(
    network: Network,
    control: ControlPath,
    stepper: AdaptiveRungeKutta | EmbeddedImplicit | Auto,
    f: Array,
    effort: Effort,
    changes: list[str],
) -> Iterator[Piece]:
    """Every attempt a piece, with the states of its ends and how to fill in between."""
    breakpoints = control.breakpoints
    for attempt in all_attempts(network, control, stepper, f, breakpoints, effort, changes):
        start, end, path = attempt.start, attempt.end, attempt.control
        if attempt.status is not None or not attempt.accepted:
            where = f"at t = {start:.6g}" if attempt.status is not None else ""
            tried = int(attempt.status is None)
            times = np.array([start])
            yield Piece(0, times, [], f, path, attempt.status, where, rejected=tried)
            continue
        before, f = f, attempt.state
        inside = attempt.method.interpolant(
            lambda t, g, a=attempt: velocity(network, a.control, a.layer, t, g),
            start,
            end - start,
            before,
            attempt.slopes,
        )
        yield Piece(1, np.array([start, end]), [before, f], f, path, inside=inside)


class _Saver:
    """Collects the states that were asked for."""

    def __init__(
        self, network: Network, control: ControlPath, save: str, wanted: Array | None
    ) -> None:
        self.network, self.control, self.save, self.wanted = network, control, save, wanted
        self.times: list[float] = []
        self.states: list[Array] = []
        self.latest: tuple[float, Array] = (0.0, np.empty((0, 0)))

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
                with np.errstate(over="ignore", invalid="ignore"):
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
            velocity(self.network, piece.control, layer, x, f) for x, f in ((t0, f0), (t1, f1))
        )
        bump = s * (s - 1.0)
        blend = s * s * (3.0 - 2.0 * s)
        return (1.0 - blend) * f0 + blend * f1 + h * bump * ((s - 1.0) * v0 + s * v1)

    def _keep(self, t: float, state: Array) -> None:
        """Keeps a state; between two of 1e308 there may be one that overflows, which is not."""
        if not is_finite(state):
            return
        self.times.append(t)
        self.states.append(state)

    def trajectory(self) -> Trajectory:
        """What was collected; the last state reached if only that was asked for or nothing else was
        reached.
        """
        if not self.states:
            self._keep(*self.latest)
        return Trajectory(np.asarray(self.times), namespace(self.states[0]).stack(self.states))
