"""The time at which a control is switched off, as an unknown of its own."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy

from continuum.arrays import Array
from continuum.checks import check_count, check_positive
from continuum.controls import Control, ControlSpace
from continuum.doors import checked
from continuum.functional import rests
from continuum.meshes import TimeMesh
from continuum.penalties import terms_of
from continuum.problem import LearningProblem
from continuum.records import short
from continuum.rescaling import degree_in_control
from continuum.sets import Amplitude
from continuum.sparsity import L1

from ..adjoint.coefficients import Columns
from ..adjoint.discretize import discretize
from ..adjoint.linear_quadratic import Linearizer, check_model
from ..adjoint.objective import Path
from ..run.solution import Solution, SolveError
from ..run.status import Status
from ..steps.tableaux import RK4, RungeKutta
from .layer_terms import norms, reflections, roots
from .proximal_newton import freed, turned
from .riccati import linear_path, sweep
from .run import smooth_run

_NEWTON = 50
"""Steps of Newton's method for the directions, at most."""

_WIDTH = 3e-3
"""The first step in T*, as a share of it; the next ones are doubled."""

_LEAST = 1e-3
"""T* is sought between this share of T and T less it: T* = 0 is stationary on its own."""


@dataclass(frozen=True, eq=False)
class FreeSwitch:
    """What `free_switch` returns.

    time : T*, extrapolated
    error : how much the last extrapolation changed it
    objective : J, extrapolated the same way
    times : T* with `layers`, twice and four times as many layers on (0, T*)
    problem, control : the finest one: its mesh ends a layer at T*, and another at T
    """

    time: float
    error: float
    objective: float
    times: tuple[float, float, float]
    problem: LearningProblem
    control: Control

    __repr__ = short


@checked
def free_switch(
    problem: LearningProblem,
    control: Control,
    *,
    layers: int = 16,
    stepper: RungeKutta | None = None,
    gtol: float = 1e-10,
) -> FreeSwitch:
    """T* and directions with J stationary among the controls with |u| = M on (0, T*), u = 0 after.

    (0, T*) is cut into equal layers, which are scaled with T*; the velocity is homogeneous in the
    control and does not depend on time, so that states depend on T* u alone and rest after T*:

        dJ/dT* = (1/T*) [ sum_k tau_k (g_k, u_k) + int_0^T* L dt ] - L(T) + a M,

    exactly, for the discrete J; g is the gradient of J without the term a int |u| dt, L the running
    cost.  Newton's method, one sweep over the layers each, makes the directions stationary for each
    T*; the root of dJ/dT* is found by Brent's method.  Controls that are constant on layers are
    good to the square of their lengths, so three meshes are extrapolated to the limit.

    problem : with the penalty L1(a, groups="joint") and the set Amplitude(M)
    control : on and then off, as `ProximalNewton` finds it
    layers : on (0, T*), of the coarsest mesh
    stepper : RK4 unless said otherwise
    gtol : of the tangential gradient, in the norm of the space
    raises ValueError or TypeError for problems and controls that are not such; SolveError where the
        directions or T* are not found
    Source: Geshkovski, Large-time asymptotics in deep learning, for the shape of the optimum.
    """
    layers, gtol = check_count("layers", layers), check_positive("gtol", gtol)
    control = problem.space.check("control", control)
    strength, bound = _terms(problem)
    method = RK4() if stepper is None else stepper
    time, u = _guess(problem, control, bound, layers)
    found: list[_Arc] = []
    for _ in range(3):
        search = _Search(problem, strength, bound, method, gtol)
        found.append(search.run(time, u))
        time, u = found[-1].time, np.repeat(found[-1].x, 2, axis=0)
    coarse, middle, fine = (np.array([arc.time, arc.value]) for arc in found)
    first, second = (4.0 * middle - coarse) / 3.0, (4.0 * fine - middle) / 3.0
    best = (16.0 * second - first) / 15.0
    arc = found[-1]
    return FreeSwitch(
        float(best[0]),
        float(abs(best[0] - second[0])),
        float(best[1]),
        tuple(a.time for a in found),  # type: ignore[arg-type]  # three
        arc.problem,
        arc.control,
    )


def _terms(problem: LearningProblem) -> tuple[float, float]:
    """(a, M) of a problem that fits."""
    static = [b.name for b in problem.space.trained if b.time == "static"]
    if static:
        raise ValueError(f"problem must not train blocks constant in time: {', '.join(static)}")
    terms, space = terms_of(problem.penalty), problem.space
    joint = [t for t in terms if isinstance(t, L1) and t.whole(space)]
    if not terms or len(joint) < len(terms) or not isinstance(problem.admissible, Amplitude):
        raise ValueError(
            "problem must have the penalty L1(a, groups='joint') alone, and the set Amplitude(M), "
            f"got {problem.penalty!r} and {problem.admissible!r}"
        )
    degree = degree_in_control(problem)
    if degree != 1:
        raise TypeError(f"the velocity is homogeneous of degree {degree} in the control, not 1")
    running = problem.functional.running
    if running is not None and not rests(running):
        raise TypeError(f"running must be a loss with a target that rests, got {running!r}")
    return sum(t.strength for t in joint), problem.admissible.bound


class _Arc(NamedTuple):
    """T*, the directions M x (K, m), J, and the problem and the control on that mesh."""

    time: float
    x: Array
    value: float
    problem: LearningProblem
    control: Control


def _guess(
    problem: LearningProblem, control: Control, bound: float, layers: int
) -> tuple[float, Array]:
    """int |u| dt / M, and the directions in the middle of the layers."""
    check_model(discretize(problem))
    columns = Columns.of(problem.space)
    x, mesh = columns.read(control)[0] * roots(columns), problem.mesh
    size = norms(x)
    time = float(mesh.steps @ size) / bound
    on = np.flatnonzero(size > 0.5 * bound)
    if not len(on) or len(on) == len(size) or on[-1] != len(on) - 1:
        raise ValueError("control must be on, |u| = M, and then off, u = 0")
    middles = time * (np.arange(layers) + 0.5) / layers
    taken = np.minimum(mesh.layers_of(middles), on[-1])
    return time, bound * x[taken] / size[taken][:, None]


class _Search:
    """The search on one mesh of (0, T*)."""

    def __init__(
        self,
        problem: LearningProblem,
        strength: float,
        bound: float,
        stepper: RungeKutta,
        gtol: float,
    ) -> None:
        self.problem, self.strength, self.bound = problem, strength, bound
        self.stepper, self.gtol = stepper, gtol
        self.start = np.empty((0, 0))
        self.known: dict[float, tuple[_Arc, float]] = {}

    def run(self, time: float, x: Array) -> _Arc:
        """From a guess."""
        self.start, self.known = x, {}
        low, high = self._bracket(time)
        root = scipy.optimize.brentq(lambda t: self.arc(t)[1], low, high, xtol=1e-14)
        return self.arc(float(root))[0]  # type: ignore[arg-type]

    def _bracket(self, time: float) -> tuple[float, float]:
        """Two times round the root of dJ/dT*.

        Below it the directions are determined well; above, time is left over for detours, and
        Newton's method may fail: so it is approached from below.
        """
        least, most = (share * self.problem.mesh.horizon for share in (_LEAST, 1.0 - _LEAST))
        low, high, width = min(time, most), np.inf, _WIDTH * time
        while not (found := self._slope(low)) < 0.0:
            high, low, width = low if np.isfinite(found) else high, low - width, 2.0 * width
            if low < least:
                raise ValueError(
                    f"no switching time is found above {least:g}: J does not fall there, perhaps "
                    f"the control is best off at all times"
                )
        width = _WIDTH * low
        while not np.isfinite(high):
            trial = low + width
            if trial > most:
                raise ValueError(
                    f"no switching time is found below {most:g}: J falls to there, perhaps the "
                    f"control is best on at all times"
                )
            found = self._slope(trial)
            if np.isnan(found):
                width *= 0.25
                if width < 1e-12 * low:
                    self.arc(trial)  # which says why
            elif found < 0.0:
                low, width = trial, 2.0 * width
            else:
                high = trial
        return low, high

    def _slope(self, time: float) -> float:
        """dJ/dT*; NaN where the directions are not found."""
        try:
            return self.arc(time)[1]
        except SolveError:
            return np.nan

    def arc(self, time: float) -> tuple[_Arc, float]:
        """Stationary directions for this T*, sought from those of the nearest one known, and
        dJ/dT*.
        """
        if time in self.known:
            return self.known[time]
        nearest = min(self.known, key=lambda t: abs(t - time), default=None)
        start = self.start if nearest is None else self.known[nearest][0].x
        problem, count, horizon = self.problem, len(start), self.problem.mesh.horizon
        mesh = TimeMesh.through(np.append(time * np.arange(count + 1) / count, horizon))
        space = problem.space
        there = replace(
            problem, controls=ControlSpace(mesh, space.blocks, space.fixed, space.time_norm)
        )
        directions = _Directions(there, self.stepper, self.bound)
        x, path, gradient = directions.solve(start, self.gtol)
        costs = problem.functional.mean(
            problem.functional.running_costs(path.states, {}, path.times)
        )
        on = float(mesh.steps[:count] @ (0.5 * (costs[:count] + costs[1 : count + 1])))
        work = float(mesh.steps[:count] @ np.sum(gradient * x, axis=1))
        slope = (work + on) / time - float(costs[-1]) + self.strength * self.bound
        self.known[time] = _Arc(time, x, path.value, there, directions.control(x)), slope
        return self.known[time]


class _Directions:
    """Newton's method for x_k with |x_k| = M on all layers but the last, where x = 0."""

    def __init__(self, problem: LearningProblem, stepper: RungeKutta, bound: float) -> None:
        self.problem, self.bound = problem, bound
        self.objective = discretize(replace(problem, penalty=None), stepper)
        self.linearizer = Linearizer(self.objective)
        self.columns = self.linearizer.columns
        self.root, self.tau = roots(self.columns), problem.mesh.steps

    def control(self, x: Array) -> Control:
        return self.columns.write(np.concatenate([x, np.zeros((1, self.columns.m))]) / self.root)

    def solve(self, x: Array, gtol: float) -> tuple[Array, Path, Array]:
        """The x, the run there, and the gradient of J on the layers that are on."""
        value = self.objective.value(self.control(x))
        size = np.inf
        for _ in range(_NEWTON):
            gradient = self.columns.read(self.objective.gradient(self.control(x)))[0] * self.root
            along = np.sum(gradient[:-1] * x, axis=1) / self.bound**2
            tangential = gradient[:-1] - along[:, None] * x
            size = float(self.tau[:-1] @ np.sum(tangential**2, axis=1)) ** 0.5
            if size <= gtol:
                path = smooth_run(discretize(self.problem, self.objective.stepper), self.control(x))
                return x, path, gradient[:-1]
            step, share = self.step(x, along, tangential), 1.0
            while True:
                trial = x + share * step
                trial *= (self.bound / norms(trial))[:, None]
                found = self.objective.value(self.control(trial))
                if found <= value + 1e-13 * abs(value):
                    break
                share *= 0.5
                if share < 1e-10:
                    break
            if share < 1e-10:
                break
            x, value = trial, found
        raise SolveError(
            Solution(
                self.control(x),
                Status.LINE_SEARCH_FAILED,
                f"the directions for T* = {self.problem.mesh.nodes[-2]:g} are stationary to "
                f"{size:.3g} only",
                value,
            )
        )

    def step(self, x: Array, along: Array, tangential: Array) -> Array:
        """Newton's step on the spheres: their curvature adds -(g, x) / M^2 to the Hessian."""
        whole = np.concatenate([x, np.zeros((1, x.shape[1]))])
        turn, tau = reflections(whole), self.tau[:, None]
        free = np.ones(whole.shape, dtype=bool)
        free[:, 0], free[-1] = False, False
        weight = np.zeros(whole.shape)
        weight[:-1] = -tau[:-1] * along[:, None]
        linear = np.zeros(whole.shape)
        linear[:-1] = tau[:-1] * np.einsum("kij,kj->ki", turn[:-1], tangential)
        model = turned(self.linearizer(self.control(x)).model, turn, self.root)
        reduced = freed(model, free, np.zeros(whole.shape), tau, weight, linear)
        metric = np.repeat(tau, whole.shape[1], axis=1)
        found = linear_path(reduced, sweep(reduced, metric, pivots="lift"))[0]
        return np.einsum("kij,kj->ki", turn, np.where(free, found, 0.0))[:-1]
