"""The learning problem, discretized: an objective with derivatives that are exact for the discrete problem.

For an explicit tableau, with F_i = f + h sum_{j<i} a_ij k_j, k_i = F(F_i, c_i), f+ = f + h sum_i b_i k_i,

    lambda_i = b_i p+ + h sum_{j>i} a_ji q_j,    q_i = (D_f F)* lambda_i,    p = p+ + h sum_i q_i,

and the derivative in the control collects h (D_c F)* lambda_i at every stage.  Hessian-vector products
differentiate the forward steps and these, once more by hand.  Adaptive runs are differentiated on their
accepted steps, held fixed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from continuum.arrays import Array, like, namespace
from continuum.checks import check_count, check_name
from continuum.controls import Control, ControlSpace
from continuum.losses import Loss
from continuum.problem import LearningProblem

from . import dense_loops
from .adaptive import accepted_steps
from .embedded import AdaptiveRungeKutta
from .integrate import DenseData, Steps, make_advance
from .solution import Solution, SolveError, States, Trajectory
from .status import Status
from .steppers import Euler, RungeKutta, combine


@dataclass(frozen=True, eq=False)
class Tape:
    """What the forward sweep leaves for the backward ones.

    states : S + 1 arrays (N, M), the ends of the steps
    slopes, compiled : (S, s, N, M) and the loop's data if the compiled loop ran, else None
    ends : which of the states the running cost is summed over: those at the ends of layers, or all
    """

    steps: Steps
    states: States
    ends: Array
    failed: bool
    slopes: Array | None = None
    compiled: DenseData | None = None


RunningOn = Literal["layers", "steps"]


def discretize(
    problem: LearningProblem,
    stepper: RungeKutta | None = None,
    steps_per_layer: int = 1,
    running_on: RunningOn = "layers",
) -> "ReducedObjective":
    """The problem with its equation solved by `stepper` (Euler, the ResNet, unless said otherwise).

    running_on : whether the trapezoid rule of a running cost has its nodes at the ends of "layers" or of "steps"
    raises TypeError for a method that is not an explicit tableau, ValueError for steps_per_layer < 1
    """
    return ReducedObjective(problem, Euler() if stepper is None else stepper, steps_per_layer, running_on)


@dataclass(frozen=True, eq=False)
class ReducedObjective:
    """J(c) of a LearningProblem as a function of the control alone, with gradient and Hessian-vector product."""

    problem: LearningProblem
    stepper: RungeKutta
    steps_per_layer: int = 1
    running_on: RunningOn = "layers"

    def __post_init__(self) -> None:
        check_name("running_on", self.running_on, ("layers", "steps"))
        if not isinstance(self.stepper, RungeKutta):
            raise TypeError(
                f"stepper must be an explicit Runge-Kutta method, whose adjoint is exact; got {self.stepper!r}"
            )
        check_count("steps_per_layer", self.steps_per_layer)

    @property
    def space(self) -> ControlSpace:
        """The space of the controls."""
        return self.problem.space

    def batch(self, indices: Sequence[int] | Array) -> "ReducedObjective":
        """The objective on some of the samples."""
        return replace(self, problem=self.problem.batch(indices))

    # -- values ----------------------------------------------------------------------------------------

    def value(self, control: Control) -> float:
        """J(control); infinite if the state does not stay finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            tape = self._forward(control, keep=self.problem.running is not None)
            value = float("inf") if tape.failed else self._cost(tape, control)
        return value if np.isfinite(value) else float("inf")

    def gradient(self, control: Control) -> Control:
        """The gradient of J in the product of the space."""
        return self.value_and_gradient(control)[1]

    def value_and_gradient(self, control: Control) -> tuple[float, Control]:
        """J and its gradient from one forward and one backward sweep.

        raises SolveError if the state does not stay finite
        """
        tape = self._finite_tape(control)
        total = self.space.cotangents(tape.states[0])
        self._backward(control, tape, self._seeds(control, tape, total), total, keep=False)
        gradient = self.space.riesz(total)
        if self.problem.penalty is not None:
            gradient = gradient.plus(self.problem.penalty.gradient(control))
        return self._cost(tape, control), gradient

    def costates(self, control: Control) -> Trajectory:
        """The costates p of every sample at the ends of the steps: states (S + 1, N, M).

        p is the derivative of the sample's own cost in its state, represented in the weights of the units;
        J's derivative is its mean over samples.
        """
        tape = self._finite_tape(control)
        total = self.space.cotangents(tape.states[0])
        p = self._backward(control, tape, self._seeds(control, tape, total), total, keep=True)
        times = np.append(tape.steps.start, self.problem.mesh.horizon)
        return Trajectory(times, namespace(p[0]).stack(list(p)) / like(self.problem.shares, p[0]))

    def hvp(self, control: Control, direction: Control) -> Control:
        """The Hessian of J at `control` applied to `direction`, in the product of the space.

        raises SolveError if the state does not stay finite
        """
        tape = self._finite_tape(control)
        network, tableau = self.problem.network, self.stepper
        tangents = self._tangent(control, direction, tape)
        total, unused = (self.space.cotangents(tape.states[0]) for _ in range(2))
        seeds = self._seeds(control, tape, unused)
        dseeds = self._seed_derivatives(control, direction, tape, tangents, total)
        count = len(tape.steps)
        p, dp = seeds[count], dseeds[count]
        for n in range(count - 1, -1, -1):
            layer, t, h = self._step(tape, n)
            stages, slopes = self._stages(control, layer, t, h, tape.states[n])
            dstages = self._stage_tangents(control, direction, layer, t, h, stages, tangents[n])[0]
            back: dict[int, Array] = {}
            dback: dict[int, Array] = {}
            for i in range(len(slopes) - 1, -1, -1):
                at = t + float(tableau.c[i]) * h
                c, dc = control.on_layer(layer, at), direction.variation(layer, at)
                lam, dlam = self._stage_costate(p, h, i, back), self._stage_costate(dp, h, i, dback)
                back[i], _ = network.vjp(stages[i], c, at, lam)
                dback[i], bars = network.vjp_derivative(stages[i], c, at, lam, dstages[i], dc, dlam)
                self.space.scatter(total, layer, at, bars, h)
            for i in back:
                p, dp = p + h * back[i], dp + h * dback[i]
            if n in seeds:
                p, dp = p + seeds[n], dp + dseeds[n]
        product = self.space.riesz(total)
        if self.problem.penalty is not None:
            product = product.plus(self.problem.penalty.hvp(control, direction))
        return product

    # -- sweeps ----------------------------------------------------------------------------------------

    def _finite_tape(self, control: Control) -> Tape:
        with np.errstate(over="ignore", invalid="ignore"):
            tape = self._forward(control, keep=True)
        if tape.failed:
            states = namespace(tape.states[0]).stack(list(tape.states))
            times = np.append(tape.steps.start, self.problem.mesh.horizon)[: len(tape.states)]
            raise SolveError(Solution(Trajectory(times, states), Status.NON_FINITE, f"at t = {times[-1]:.6g}"))
        return tape

    def _forward(self, control: Control, keep: bool) -> Tape:
        """The states at the ends of the steps; only the last one unless they are to be kept."""
        problem, mesh = self.problem, self.problem.mesh
        f = problem.initial
        if isinstance(self.stepper, AdaptiveRungeKutta):
            return self._adaptive_tape(control, f, self.stepper)
        steps = Steps.equal(mesh, self.steps_per_layer)
        ends = np.arange(0, len(steps) + 1, self.steps_per_layer if self.running_on == "layers" else 1)
        data = DenseData.of(problem.network, control, self.stepper, f) if keep else None
        if data is not None:
            states = np.empty((len(steps) + 1, *f.shape))
            slopes = np.empty((len(steps), len(self.stepper.b), *f.shape))
            failed = data.advance(np.array(f, order="C"), steps, states, slopes)
            kept = states if failed < 0 else states[: failed + 2]
            return Tape(steps, kept, ends, failed >= 0, slopes, data)
        advance = make_advance(problem.network, control, self.stepper, steps, f)
        final, failed, states = advance(f, 0, len(steps), keep)
        return Tape(steps, states if keep else [final], ends, failed >= 0)

    def _adaptive_tape(self, control: Control, f: Array, stepper: AdaptiveRungeKutta) -> Tape:
        """The accepted steps, which end at the ends of layers wherever the control or a running cost needs it."""
        mesh = self.problem.mesh
        stops = control.breakpoints
        if self.problem.running is not None:
            stops = tuple(float(t) for t in mesh.nodes[1:-1])
        taken, states, failed = [], [f], False
        for attempt in accepted_steps(self.problem.network, control, stepper, f, stops):
            failed = attempt.status is not None
            if attempt.accepted:
                taken.append((attempt.layer, attempt.start, attempt.end - attempt.start))
                states.append(attempt.state)
        steps = Steps.accepted(mesh, taken)
        times = np.append(steps.start, mesh.horizon)
        ends = np.searchsorted(times, mesh.nodes if self.running_on == "layers" else times)
        return Tape(steps, states, ends, failed)

    def _step(self, tape: Tape, n: int) -> tuple[int, float, float]:
        return int(tape.steps.layer[n]), float(tape.steps.start[n]), float(tape.steps.size[n])

    def _stages(self, control: Control, layer: int, t: float, h: float, f: Array) -> tuple[list[Array], list[Array]]:
        """The states F_i and slopes k_i of a step from f."""
        stages, slopes = [], []
        for i, c in enumerate(self.stepper.c):
            at = t + float(c) * h
            stages.append(combine(f, h, self.stepper.a[i], slopes))
            slopes.append(self.problem.network.velocity(stages[i], control.on_layer(layer, at), at))
        return stages, slopes

    def _stage_tangents(
        self, control: Control, direction: Control, layer: int, t: float, h: float, stages: list[Array], df: Array
    ) -> tuple[list[Array], list[Array]]:
        """The derivatives of `_stages` in a direction."""
        dstages, dslopes = [], []
        for i, c in enumerate(self.stepper.c):
            at = t + float(c) * h
            dstages.append(combine(df, h, self.stepper.a[i], dslopes))
            values, variation = control.on_layer(layer, at), direction.variation(layer, at)
            dslopes.append(self.problem.network.jvp(stages[i], values, at, dstages[i], variation))
        return dstages, dslopes

    def _tangent(self, control: Control, direction: Control, tape: Tape) -> list[Array]:
        """The derivative of the states at the ends of the steps."""
        df = namespace(tape.states[0]).zeros_like(tape.states[0])
        tangents = [df]
        for n in range(len(tape.steps)):
            layer, t, h = self._step(tape, n)
            stages, _ = self._stages(control, layer, t, h, tape.states[n])
            dslopes = self._stage_tangents(control, direction, layer, t, h, stages, df)[1]
            df = combine(df, h, self.stepper.b, dslopes)
            tangents.append(df)
        return tangents

    def _stage_costate(self, p: Array, h: float, i: int, back: Mapping[int, Array]) -> Array:
        lam = float(self.stepper.b[i]) * p
        for j, q in back.items():
            if self.stepper.a[j, i]:
                lam = lam + (h * float(self.stepper.a[j, i])) * q
        return lam

    def _backward(
        self, control: Control, tape: Tape, seeds: Mapping[int, Array], total: dict[str, Array], keep: bool
    ) -> States:
        """Collects the cotangents of the trained blocks in `total`; the costates at all step ends if kept."""
        if tape.compiled is not None and tape.slopes is not None:
            return _compiled_backward(tape, tape.compiled, tape.slopes, seeds, total, keep)
        network, count = self.problem.network, len(tape.steps)
        p = seeds[count]
        costates = [p]
        for n in range(count - 1, -1, -1):
            layer, t, h = self._step(tape, n)
            stages, _ = self._stages(control, layer, t, h, tape.states[n])
            back: dict[int, Array] = {}
            for i in range(len(stages) - 1, -1, -1):
                at = t + float(self.stepper.c[i]) * h
                lam = self._stage_costate(p, h, i, back)
                back[i], bars = network.vjp(stages[i], control.on_layer(layer, at), at, lam)
                self.space.scatter(total, layer, at, bars, h)
            for q in back.values():
                p = p + h * q
            if n in seeds:
                p = p + seeds[n]
            if keep:
                costates.append(p)
        return costates[::-1]

    # -- costs -----------------------------------------------------------------------------------------

    def _terms(self, tape: Tape) -> list[tuple[int, Loss, float]]:
        """(which state, which loss, its factor): the terminal cost, and the running cost by the trapezoid rule."""
        terms: list[tuple[int, Loss, float]] = [(len(tape.states) - 1, self.problem.terminal, 1.0)]
        if self.problem.running is not None:
            tau = np.diff(np.append(tape.steps.start, self.problem.mesh.horizon)[tape.ends])
            factors = 0.5 * (np.append(tau, 0.0) + np.append(0.0, tau))
            terms += [(int(n), self.problem.running, float(x)) for n, x in zip(tape.ends, factors, strict=True)]
        return terms

    def _cost(self, tape: Tape, control: Control) -> float:
        problem = self.problem
        total = 0.0
        for n, loss, factor in self._terms(tape):
            output = problem.readout.output(problem.network, tape.states[n], self._parameters(control))
            measure = like(problem.readout.measure(problem.network), output)
            per_sample = loss.value(output, problem.target, measure)
            total += factor * float(namespace(output).sum(like(problem.shares, output) * per_sample))
        return total + (problem.penalty.value(control) if problem.penalty is not None else 0.0)

    def _parameters(self, control: Control) -> Mapping[str, Array]:
        """The blocks of the readout, which are constant in time."""
        return {b.name: control[b.name] for b in self.problem.readout.blocks(self.problem.network)}

    def _seeds(self, control: Control, tape: Tape, total: dict[str, Array]) -> dict[int, Array]:
        """What the costs add to the costate after each step; the cotangents of the readout go to `total`."""
        problem, network = self.problem, self.problem.network
        c = self._parameters(control)
        seeds: dict[int, Array] = {}
        for n, loss, factor in self._terms(tape):
            output = problem.readout.output(network, tape.states[n], c)
            measure = like(problem.readout.measure(network), output)
            q = factor * like(problem.shares, output) * loss.gradient(output, problem.target, measure)
            p, bars = problem.readout.vjp(network, tape.states[n], c, q)
            self._collect(total, bars)
            seeds[n] = seeds[n] + p if n in seeds else p
        return seeds

    def _seed_derivatives(
        self, control: Control, direction: Control, tape: Tape, tangents: Sequence[Array], total: dict[str, Array]
    ) -> dict[int, Array]:
        """The derivative of `_seeds` in a direction; that of the readout's cotangents goes to `total`."""
        problem, network = self.problem, self.problem.network
        c = self._parameters(control)
        dc = {name: direction[name] for name in c if name in direction}
        seeds: dict[int, Array] = {}
        for n, loss, factor in self._terms(tape):
            f, df = tape.states[n], tangents[n]
            output, change = problem.readout.output(network, f, c), problem.readout.jvp(network, f, c, df, dc)
            measure, share = like(problem.readout.measure(network), output), factor * like(problem.shares, output)
            q = share * loss.gradient(output, problem.target, measure)
            dq = share * loss.hvp(output, problem.target, measure, change)
            p, bars = problem.readout.vjp_derivative(network, f, c, q, df, dc, dq)
            self._collect(total, bars)
            seeds[n] = seeds[n] + p if n in seeds else p
        return seeds

    def _collect(self, total: dict[str, Array], bars: Mapping[str, Array]) -> None:
        """Adds cotangents of blocks that are constant in time."""
        for name in bars:
            if name in total:
                total[name] += bars[name]


def _compiled_backward(
    tape: Tape, data: DenseData, slopes: Array, seeds: Mapping[int, Array], total: dict[str, Array], keep: bool
) -> States:
    """The backward sweep by the compiled loop; costates at all step ends if kept."""
    steps, shape = tape.steps, tape.states[0].shape
    seed_of = np.full(len(steps) + 1, -1)
    for index, n in enumerate(seeds):
        seed_of[n] = index
    bars = []
    for name, empty in (("bias", (0, shape[0])), ("kernel", (0, shape[0], shape[0]))):
        bar = total.get(name, np.empty(empty))
        bars.append(bar[None] if bar.ndim == len(empty) - 1 else bar)
    costates = np.empty((len(steps) + 1 if keep else 0, *shape))
    dense_loops.adjoint(
        tape.states, slopes, seed_of, np.stack(list(seeds.values())),
        data.bias_kind, data.kernel, data.kernel_kind, data.w, data.code, data.a, data.b, data.c,
        steps.layer, steps.size, steps.theta, steps.dtheta, bars[0], bars[1], costates,
    )  # fmt: skip
    return costates
