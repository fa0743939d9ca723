"""Projected gradient: the input within a radius at which the margin of a sample is least."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from continuum.arrays import Array, is_numpy
from continuum.blocks import Block
from continuum.checks import check_array, check_count, check_name, check_positive, check_type
from continuum.controls import Control
from continuum.doors import checked
from continuum.losses import Loss
from continuum.networks import Network
from continuum.networks.learned_field import FieldAt
from continuum.networks.network import Values
from continuum.networks.staged import Staged
from continuum.problem import LearningProblem
from continuum.readouts import Readout
from continuum.records import plain, short

from ..adjoint.discretize import discretize
from ..steps.tableaux import RK4, Stepper
from .outcomes import labels_of, margins_of, outputs_of

Norm = Literal["inf", "two"]
Pushed = Literal["margin", "terminal"]


@dataclass(frozen=True, eq=False)
class Attack:
    """The worst inputs that were found; `print` says how many samples they break.

    inputs : (n, M), in the units of the data
    broken : (M,), whether the margin there is <= 0; samples that are wrong anyway among them
    wrong : (M,), whether the margin of the unperturbed input is <= 0
    margins : (M,), o_y - max_(j != y) o_j at `inputs`
    norms : (M,), of inputs minus data, at most `radius`
    radius, norm : of the perturbations; radius (M,), one for each sample
    gradients : how many gradients each sample has had
    """

    inputs: Array
    broken: Array
    wrong: Array
    margins: Array
    norms: Array
    radius: Array
    norm: Norm
    gradients: int

    __repr__ = short
    to_dict = plain

    def __str__(self) -> str:
        low, high = np.min(self.radius), np.max(self.radius)
        radius = f"{low:.4g}" if low == high else f"between {low:.4g} and {high:.4g}"
        count, broken, wrong = len(self.broken), int(self.broken.sum()), int(self.wrong.sum())
        return (
            f"attack within {self.norm} norm {radius}, {self.gradients} gradients per "
            f"sample: {broken} of {count} samples broken ({broken / count:.1%}), {wrong} of them "
            f"wrong without it; the largest perturbation used is {np.max(self.norms):.4g}.\n"
            "A sample that is not broken here may be broken by another attack."
        )


@checked
def attack(
    problem: LearningProblem,
    control: Control,
    radius: float | Array,
    *,
    norm: Norm = "inf",
    steps: int = 10,
    step: float | None = None,
    restarts: int = 1,
    loss: Pushed = "margin",
    bounds: tuple[float, float] | None = None,
    rng: int | np.random.Generator = 0,
    stepper: Stepper | None = None,
    steps_per_layer: int = 1,
) -> Attack:
    """x' -> projection(x' + step d), d the sign (norm "inf") or the direction ("two") of the
    gradient in x' of the loss of the last state, from a start drawn uniformly in the ball about x.

    The gradient is exact for the discrete run: the costate at 0 of (eta, x)' = (f(eta, x, t), 0).
    Initial states are held.  A network that holds no inputs has its initial states perturbed
    instead, x = problem.initial.  Of all inputs met, x itself and the starts among them, the one of
    least margin is kept.

    problem : one of classes; its network a FieldAt (`LearnedField.at`) where inputs are perturbed
    radius : > 0, in the units of the data, as `step` is; or (M,), one for each sample
    step : > 0; 2.5 radius / steps if None
    restarts : how many runs, each from a start drawn anew; 0 for one run from x itself
    loss : "margin", max_(j != y) o_j - o_y, or "terminal", the problem's own
    bounds : (low, high), which inputs must not leave, in the units of the data; None for none
    rng : a seed or a Generator, for the starts
    stepper, steps_per_layer : how the equation is solved; RK4() unless said otherwise
    raises ValueError for a problem without classes, a radius <= 0, data outside `bounds`; TypeError
        for a Staged network, which has no costate at 0
    Source: Madry et al., 2018; in raw units, with the start applied and a projection in each step.
    """
    check_type("problem", problem, LearningProblem)
    control = problem.space.check("control", control)
    samples = problem.initial.shape[1]
    radii = np.broadcast_to(radius, samples) if np.ndim(radius) == 0 else np.asarray(radius)
    radii = check_array("radius", radii, (samples,))
    if np.min(radii) <= 0.0:
        raise ValueError(f"radius must be > 0, got {np.min(radii):g}")
    check_name("norm", norm, ("inf", "two"))
    check_name("loss", loss, ("margin", "terminal"))
    steps, restarts = check_count("steps", steps), check_count("restarts", restarts, least=0)
    length = 2.5 * radii / steps if step is None else check_positive("step", step)
    rng = _generator(rng)
    target = _Target.of(problem, control, loss, RK4() if stepper is None else stepper)
    target = replace(target, steps_per_layer=check_count("steps_per_layer", steps_per_layer))
    x = target.data
    ball = _Ball.about(x, radii, norm, bounds)
    best, least = x, target.margins(x)
    wrong = least <= 0.0
    for _ in range(max(restarts, 1)):
        at = ball.projected(ball.start(rng)) if restarts else x
        for n in range(steps + 1):
            if n == steps:
                found = target.margins(at)
            else:
                found, slope = target.margins_and_gradient(at)
            best = np.where(found < least, at, best)
            least = np.minimum(found, least)
            if n < steps:
                at = ball.projected(at + length * ball.direction(slope))
    norms = ball.norms(best)
    return Attack(best, least <= 0.0, wrong, least, norms, radii, norm, steps * max(restarts, 1))


@checked
def breaking_radius(
    problem: LearningProblem,
    control: Control,
    largest: float,
    *,
    norm: Norm = "inf",
    rounds: int = 10,
    bounds: tuple[float, float] | None = None,
    steps: int = 20,
    rng: int | np.random.Generator = 0,
    steps_per_layer: int = 1,
) -> Array:
    """(M,): the norm of the smallest perturbation found that breaks each sample; 0 for samples that
    are wrong anyway, infinite where no attack succeeded.

    Attacks within largest, largest / 2, largest / 4, largest / 8, then `rounds` halvings of the
    interval between the last failure and the last success; every success is drawn back towards x
    to where the segment between them crosses the boundary of the class.  The distance to the
    nearest input of another class is no larger; no attack says how much smaller it is.
    bounds, norm, rng, steps, steps_per_layer : as in `attack`, which raises what this raises
    """
    check_type("problem", problem, LearningProblem)
    control = problem.space.check("control", control)
    largest, rounds = check_positive("largest", largest), check_count("rounds", rounds)
    rng = _generator(rng)
    samples = problem.initial.shape[1]
    target = _Target.of(problem, control, "margin", RK4())
    target, x = replace(target, steps_per_layer=steps_per_layer), target.data
    low, high = np.zeros(samples), np.full(samples, np.inf)
    for n in range(4 + rounds):
        ends = np.minimum(high, largest)
        trial = np.full(samples, largest * 0.5**n) if n < 4 else 0.5 * (low + ends)
        found = attack(
            problem,
            control,
            np.where(trial > 0.0, trial, largest),
            norm=norm,
            steps=steps,
            bounds=bounds,
            rng=rng,
            steps_per_layer=steps_per_layer,
        )
        reached = found.norms * _crossing(target, x, found.inputs)
        high = np.where(found.broken, np.minimum(high, reached), high)
        high = np.where(found.wrong, 0.0, high)
        low = np.where(~found.broken & (trial < high), np.maximum(low, trial), low)
        low = np.minimum(low, high)
    return high


def _generator(rng: int | np.random.Generator) -> np.random.Generator:
    """The Generator, or that of a seed."""
    if isinstance(rng, np.random.Generator):
        return rng
    return np.random.default_rng(check_count("rng", rng, least=0))


def _crossing(target: "_Target", x: Array, end: Array) -> Array:
    """(M,): the share of the way from x to `end` at which the margin is <= 0, found by bisection; 1
    where it is positive at the end.
    """
    low, high = np.zeros(x.shape[1]), np.ones(x.shape[1])
    for _ in range(12):
        middle = 0.5 * (low + high)
        wrong = target.margins(x + middle * (end - x)) <= 0.0
        low, high = np.where(wrong, low, middle), np.where(wrong, middle, high)
    return high


# -- the ball


@dataclass(frozen=True, eq=False)
class _Ball:
    """The inputs within `radius` (M,) of x (n, M) and between low and high."""

    x: Array
    radius: Array
    norm: Norm
    low: float
    high: float

    @classmethod
    def about(
        cls, x: Array, radius: Array, norm: Norm, bounds: tuple[float, float] | None
    ) -> "_Ball":
        low, high = -np.inf, np.inf
        if bounds is not None:
            ends = np.asarray(bounds, dtype=float)
            if ends.shape != (2,) or not ends[0] < ends[1]:
                raise ValueError(f"bounds must be (low, high) with low < high, got {bounds!r}")
            low, high = float(ends[0]), float(ends[1])
        if np.min(x) < low or np.max(x) > high:
            raise ValueError(
                f"bounds ({low:g}, {high:g}) must hold the data, which reach from {np.min(x):g} to "
                f"{np.max(x):g}: they are in the units of the data"
            )
        return cls(x, radius, norm, low, high)

    def norms(self, at: Array) -> Array:
        """(M,): how far from x."""
        if self.norm == "inf":
            return np.max(np.abs(at - self.x), axis=0)
        return np.sqrt(np.sum((at - self.x) ** 2, axis=0))

    def start(self, rng: np.random.Generator) -> Array:
        """A point of each ball, uniformly."""
        inputs, samples = self.x.shape
        if self.norm == "inf":
            return self.x + self.radius * rng.uniform(-1.0, 1.0, self.x.shape)
        length = self.radius * rng.uniform(size=samples) ** (1.0 / inputs)
        return self.x + length * self.direction(rng.standard_normal(self.x.shape))

    def direction(self, slope: Array) -> Array:
        """The direction of unit norm in which a function with this gradient rises fastest."""
        if self.norm == "inf":
            return np.sign(slope)
        largest = np.max(np.abs(slope), axis=0)
        slope = slope / np.where(largest > 0.0, largest, 1.0)
        size = np.sqrt(np.sum(slope**2, axis=0))
        return slope / np.where(size > 0.0, size, 1.0)

    def projected(self, at: Array) -> Array:
        """The nearest point of the ball, then of the bounds, which takes nothing out of the ball.

        The ball is smaller than it is said to be by the rounding of x + (at - x), so that no norm
        is above the radius.
        """
        rounding = 4e-16 * (np.max(np.abs(self.x), axis=0) + self.radius)
        if self.norm == "two":
            rounding = rounding * np.sqrt(len(self.x)) + 1e-14 * self.radius
        most = np.maximum(self.radius - rounding, 0.0)
        move = at - self.x
        if self.norm == "inf":
            move = np.clip(move, -most, most)
        else:
            size = np.sqrt(np.sum(move**2, axis=0))
            move = move * np.minimum(1.0, most / np.where(size > 0.0, size, 1.0))
        return np.clip(self.x + move, self.low, self.high)


# -- what is attacked


@dataclass(frozen=True, eq=False)
class _Target:
    """The margin, and the gradient of what is pushed up, as functions of what is perturbed.

    pushed : the problem whose costates are that gradient; its states end with the inputs
    data : (n, M), what is perturbed;  above : (k, M), the states above it, or none
    """

    problem: LearningProblem
    pushed: LearningProblem
    control: Control
    data: Array
    above: Array
    stepper: Stepper
    labels: Array
    steps_per_layer: int = 1

    @classmethod
    def of(
        cls, problem: LearningProblem, control: Control, loss: Pushed, stepper: Stepper
    ) -> "_Target":
        if not is_numpy(problem.initial):
            raise TypeError("problem must hold NumPy arrays: attacks are computed on the host")
        network, labels = problem.network, labels_of(problem)
        check_type("stepper", stepper, Stepper)
        if isinstance(network, Staged):
            raise TypeError("a Staged network has no costate at 0 in one space: attack one stage")
        terminal = _Margin() if loss == "margin" else problem.terminal
        if not isinstance(terminal, Loss):
            raise TypeError(f"loss 'terminal' needs a terminal Loss, the problem has {terminal!r}")
        only = replace(
            problem,
            terminal=terminal,
            running=None,
            penalty=None,
            admissible=None,
            endpoint=None,
            sample_weights=None,
        )
        data, above = problem.initial, problem.initial[:0]
        if isinstance(network, FieldAt):
            above = problem.initial
            samples = above.shape[1]
            data = np.array(np.broadcast_to(network.inputs, (len(network.inputs), samples)))
            joined = network.field.with_inputs()
            readout = _OfStates(problem.readout, network)
            start = np.concatenate([above, data])
            only = replace(only, network=joined, initial=start, readout=readout)
        held, rest = only.holding(control, [b.name for b in only.space.trained])
        return cls(problem, held, rest, data, above, stepper, labels)

    def at(self, x: Array) -> LearningProblem:
        """The problem at the inputs x (n, M)."""
        return replace(self.pushed, initial=np.concatenate([self.above, x]))

    def margins(self, x: Array) -> Array:
        """(M,) at the inputs x (n, M)."""
        sweeps, tape = discretize(self.at(x), self.stepper, self.steps_per_layer).recorded(
            self.control
        )
        return self._margins(tape.states[len(sweeps.steps)])

    def margins_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """(M,) and (n, M), the derivative of the loss of each sample in its own input."""
        pushed = self.at(x)
        path = discretize(pushed, self.stepper, self.steps_per_layer).run(self.control)
        slope = pushed.network.weights[:, None] * path.costates[0]
        return self._margins(path.states[-1]), slope[len(self.above) :]

    def _margins(self, last: Array) -> Array:
        return margins_of(outputs_of(self.pushed, self.control, last), self.labels)


@dataclass(frozen=True, eq=False)
class _OfStates(Readout):
    """The readout of a network, on the first rows of (eta, x)."""

    readout: Readout
    network: Network

    @property
    def fixed(self) -> Mapping[str, Array]:  # type: ignore[override]
        return self.readout.fixed  # type: ignore[return-value]

    def blocks(self, network: Network) -> tuple[Block, ...]:
        return self.readout.blocks(self.network)

    def measure(self, network: Network) -> Array:
        return self.readout.measure(self.network)

    def output(self, network: Network, f: Array, c: Values) -> Array:
        return self.readout.output(self.network, f[..., : len(self.network.weights), :], c)

    def jvp(self, network: Network, f: Array, c: Values, df: Array, dc: Values) -> Array:
        units = len(self.network.weights)
        return self.readout.jvp(self.network, f[..., :units, :], c, df[..., :units, :], dc)

    def vjp(
        self, network: Network, f: Array, c: Values, q: Array
    ) -> tuple[Array, dict[str, Array]]:
        units = len(self.network.weights)
        p, bars = self.readout.vjp(self.network, f[..., :units, :], c, q)
        return np.concatenate([p, np.zeros_like(f[..., units:, :])], axis=-2), bars

    def vjp_derivative(
        self, network: Network, f: Array, c: Values, q: Array, df: Array, dc: Values, dq: Array
    ) -> tuple[Array, dict[str, Array]]:
        units = len(self.network.weights)
        moved, bars = self.readout.vjp_derivative(
            self.network, f[..., :units, :], c, q, df[..., :units, :], dc, dq
        )
        return np.concatenate([moved, np.zeros_like(f[..., units:, :])], axis=-2), bars

    def formula(self) -> str:
        return f"{self.readout.formula()} of eta"


class _Margin(Loss):
    """ell(o, y) = max_(j != y) o_j - o_y."""

    def value(self, o: Array, y: Array, v: Array) -> Array:
        return -margins_of(o, np.argmax(y, axis=0))

    def gradient(self, o: Array, y: Array, v: Array) -> Array:
        rows, labels = np.arange(o.shape[0])[:, None], np.argmax(y, axis=0)
        rival = np.argmax(np.where(rows == labels, -np.inf, o), axis=0)
        return ((rows == rival) * 1.0 - (rows == labels)) / v[:, None]

    def hvp(self, o: Array, y: Array, v: Array, do: Array) -> Array:
        return np.zeros_like(do)

    def formula(self, output: str, target: str = "target") -> str:
        return f"max_(j != y) o_j - o_y, o = {output}"
