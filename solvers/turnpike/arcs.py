"""A run of a control near the turnpike: how it enters, how long it stays, how it leaves.

With d(t) = |x(t) - x*|, |x|^2 = sum_m s_m |f_m|^2 in the measure of the units (for networks without
drift the distance, to first order, to the set of static optima), the entry arc ends when d first
falls to a radius, and the exit arc begins when d rises above it for the last time.

State and costate minus (x*, p*) are split into the stable and unstable directions of the linearised
system, which are those of the scheme where it is known; amplitudes of stable modes then fall
exponentially from t = 0, those of unstable ones grow towards T, so that one mode's rate can be
fitted without the others'.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_positive, check_type
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from ..adjoint.discretize import discretize
from ..adjoint.objective import Path
from .fits import Fit, fit_decay
from .spectra import HamiltonianSpectrum, Linearisation, Modes, linearise, split, split_scheme
from .stage import Stage
from .static import StaticOptimum, static_optimum


@dataclass(frozen=True, eq=False)
class Turnpike:
    """What a control does near the static optimum.

    static : the static optimum (x*, u*, p*)
    times : (S + 1,);  distance : (S + 1,), d(t)
    control_distance : (S,), |u - u*| on each layer, in the blocks' weights
    radius : of the ball that entry, exit and outside refer to
    entry, exit : (0, t) until d first falls to the radius, (t, T) from where it exceeds it for the
        last time; of length 0 where there is no such arc.  Where d never falls to the radius entry
        is (0, T) and exit (T, T)
    outside : the time with d > radius, d linear between nodes
    value : J of the control
    spectrum : the splitting of the differential equation; where its `neutral` is not 0 there is no
        spectral gap, and the distance is not expected to fall to 0
    scheme : that of the ResNet, None where its layers have different lengths or the control is not
        constant on them
    entry_amplitudes, exit_amplitudes : (S + 1, n), of the modes in the order of the rates
    atol : the accuracy of the amplitudes that fits assume
    fitted : the fits of entry and exit, mode by mode; without rates if there is no spectral gap
    exponential : one exponential through d, on the first half of the horizon if there is drift: a
        mixture of modes, no rate of the system, and it depends on its window
    """

    static: StaticOptimum
    times: Array
    distance: Array
    control_distance: Array
    radius: float
    entry: tuple[float, float]
    exit: tuple[float, float]
    outside: float
    value: float
    spectrum: HamiltonianSpectrum
    scheme: HamiltonianSpectrum | None
    entry_amplitudes: Array
    exit_amplitudes: Array
    atol: float
    fitted: tuple[Fit, ...]
    exponential: Fit

    __repr__ = short

    @cached_property
    def predicted(self) -> Array:
        """(n,): the rates of the linearised differential equation, decreasing."""
        return self.spectrum.rates

    def __str__(self) -> str:
        lines = [
            f"static optimum: {self.static.value:.10g} ({self.static.kind})",
            *self._warning,
            f"entry ({self.entry[0]:.4g}, {self.entry[1]:.4g}), exit ({self.exit[0]:.4g}, "
            f"{self.exit[1]:.4g}), outside {self.outside:.4g} (radius {self.radius:.3g})",
            *(str(fit) for fit in self.fitted if not fit.note),
            f"one exponential through the {self.exponential}",
        ]
        return "\n".join(lines)

    @property
    def _warning(self) -> list[str]:
        """A line where there is no spectral gap."""
        neutral, modes = self.spectrum.neutral, len(self.predicted)
        if not neutral:
            return []
        return [f"no spectral gap: {neutral} of {neutral + modes} modes have no rate"]


@checked
def turnpike(
    problem: LearningProblem,
    control: Control,
    radius: float | None = None,
    atol: float | None = None,
) -> Turnpike:
    """The turnpike of a problem with a running cost, and what the ResNet of `control` does near it.

    Trained blocks that are constant in time are held at their values in `control`.  The static
    optimum is sought from the run: from its middle, or, where the network has no drift, from the
    state of least running cost, so that it is the one of the set that the run comes near.

    radius : a tenth of the largest distance unless given
    atol : the accuracy of states and costates; unless given |gradient of J| over the least
        eigenvalue of the Hamiltonian's second derivative in the control, an estimate
    raises what `static_optimum` and `spectrum` raise: ValueError for a problem without turnpike,
        NoStaticOptimum; NoSpectralGap unless it is that the control of a network without drift does
        not steer all directions, which `spectrum.neutral` then counts
    """
    control = check_type("problem", problem, LearningProblem).space.check("control", control)
    held = [b.name for b in problem.space.trained if b.time == "static"]
    if held:
        problem, control = problem.holding(control, held)
    stage = Stage(problem)
    path = discretize(problem).run(control)
    static = static_optimum(problem, _nearest(stage, path, control))
    full = linearise(problem, static)
    found, scheme = split(full, partial=True), _scheme(problem, full)
    x = stage.pack_state(path.states - static.state)
    distance = np.linalg.norm(full.outwards(x), axis=1)
    if radius is None:
        radius = 0.1 * float(np.max(distance))
    check_positive("radius", radius)
    if atol is None:
        slope = problem.space.norm(path.gradient) / float(np.linalg.eigvalsh(full.R)[0])
        atol = max(slope, 1e-14 * float(np.max(distance)))
    check_positive("atol", atol)
    lengths = np.append(problem.mesh.steps, problem.mesh.steps[-1])
    p = stage.pack_costate(path.remaining - static.costate)
    p = p + 0.5 * lengths[:, None] * full.lx  # the fixed point of the ResNet's is p* - h/2 l_x
    used = found if scheme is None else scheme
    maps = found.linearisation.state_map, found.linearisation.costate_map
    on_modes = x @ maps[0].T, p @ maps[1].T
    entry, exit_ = used.entry.amplitudes(*on_modes), used.exit.amplitudes(*on_modes)
    fitted = (
        *_fits("entry", path.times, entry, found.entry, scheme and scheme.entry, atol),
        *_fits("exit", path.times, exit_, found.exit, scheme and scheme.exit, atol),
    )
    if found.neutral:  # rates of a state that the run need not come near
        none, note = float("nan"), "no spectral gap"
        fitted = tuple(replace(f, rate=none, interval=(none, none), note=note) for f in fitted)
    return Turnpike(
        static,
        path.times,
        distance,
        _control_distance(stage, control, static),
        radius,
        *_arcs(path.times, distance, radius),
        path.value,
        found,
        scheme,
        entry,
        exit_,
        atol,
        fitted,
        _exponential(path.times, distance, found, static, atol),
    )


def _exponential(
    times: Array, distance: Array, found: HamiltonianSpectrum, static: StaticOptimum, atol: float
) -> Fit:
    """One exponential through the distance."""
    stop = float(times[-1]) - 3.0 / found.gap
    if static.kind == "regular":  # the distance rises again on the other half
        stop *= 0.5
    return _fit("distance", times, distance, found.gap, atol, stop=stop)


def _nearest(stage: Stage, path: Path, control: Control) -> tuple[Array, dict[str, Array]]:
    """Where the search for the static optimum starts: the middle of the run, or its state of least
    running cost if the network has no drift.
    """
    problem = stage.problem
    layer = problem.mesh.layers // 2
    if stage.drift(np.random.default_rng(0)) == 0.0:
        functional, rest = problem.functional, stage.unpack_control(np.zeros(stage.controls))
        costs = [functional.running_cost(f, rest, 0.0) for f in path.states]
        return path.states[int(np.argmin(costs))], rest
    at = control.at_layer(layer, float(problem.mesh.nodes[layer]))
    return path.states[layer], {b.name: at[b.name] for b in stage.blocks}


def _scheme(problem: LearningProblem, line: Linearisation) -> HamiltonianSpectrum | None:
    """The splitting of the ResNet, where all its layers are alike."""
    space, steps = problem.space, problem.mesh.steps
    if np.ptp(steps) > 1e-12 * steps[0] or any(b.time != "layers" for b in space.trained):
        return None
    return split_scheme(line, float(steps[0]), partial=True)


def _control_distance(stage: Stage, control: Control, static: StaticOptimum) -> Array:
    """(K,): |u - u*| in the middle of each layer."""
    rest, mesh = stage.pack_control(static.values), stage.problem.mesh
    middles = 0.5 * (mesh.nodes[1:] + mesh.nodes[:-1])
    found = [
        stage.pack_control(control.at_layer(k, float(t))) - rest for k, t in enumerate(middles)
    ]
    return np.linalg.norm(np.stack(found), axis=1)


def _arcs(
    times: Array, distance: Array, radius: float
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Entry, exit, and the time outside the ball, with the distance linear between times."""
    above = distance - radius
    lengths, ends = np.diff(times), (above[:-1], above[1:])
    high, low = np.maximum(*ends), np.minimum(*ends)
    share = np.where(low > 0.0, 1.0, 0.0)
    crossing = (high > 0.0) & (low <= 0.0)
    share[crossing] = high[crossing] / (high - low)[crossing]
    outside = float(np.sum(lengths * share))
    end = float(times[-1])
    inside = np.flatnonzero(above <= 0.0)
    if len(inside) == 0:
        return (0.0, end), (end, end), outside
    first, last = int(inside[0]), int(inside[-1])
    enters = _crossing(times, above, first - 1) if first > 0 else 0.0
    leaves = _crossing(times, above, last) if last < len(times) - 1 else end
    return (0.0, enters), (leaves, end), outside


def _crossing(times: Array, above: Array, k: int) -> float:
    """Where `above`, linear on (t_k, t_(k+1)), is zero."""
    share = above[k] / (above[k] - above[k + 1])
    return float(times[k] + share * (times[k + 1] - times[k]))


def _fits(
    side: str, times: Array, amplitudes: Array, modes: Modes, scheme: Modes | None, atol: float
) -> list[Fit]:
    """The fits of all modes of one side."""
    if side == "exit":
        times, amplitudes = times[-1] - times[::-1], amplitudes[::-1]
    end, found = float(times[-1]), []
    for j, rate in enumerate(modes.rates):
        own = float("nan") if scheme is None else float(scheme.rates[j])
        fit = _fit(f"{side}, mode {j + 1}", times, amplitudes[:, j], float(rate), atol, own)
        if side == "exit":
            low, high = fit.window
            fit = replace(fit, window=(end - high, end - low))
        found.append(fit)
    return found


def _fit(
    what: str,
    times: Array,
    amplitude: Array,
    rate: float,
    atol: float,
    scheme: float = float("nan"),
    stop: float | None = None,
) -> Fit:
    """The fit of one amplitude; `stop` is 3/rate before the end unless given."""
    stop = float(times[-1]) - 3.0 / rate if stop is None else stop
    found, interval, window, note = fit_decay(times, amplitude, rate, atol, stop)
    return Fit(what, found, interval, window, rate, scheme, note)
