"""Laws and plain descents of a mean over samples, one epoch for each unit of pseudo-time, and what
is seen along a run.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from continuum import Control, LearnedField, LearningProblem, TimeMesh, tanh
from continuum.arrays import Array
from continuum.checks import check_name
from solvers import EverySteps, Monitor, Snapshot
from solvers.finite_time import Law, PowerLaw, SignLaw, train_in_time
from solvers.finite_time.laws import Moment
from solvers.finite_time.plants import Plant
from solvers.finite_time.powers import power_loss, spow

Method: TypeAlias = Literal["law (3)", "law (13)", "L1", "L2", "E"]
FLOOR = 1e-12
"""The least slope of the sigmoid that law (3) divides by."""
_EXPLICIT = "plain descent takes explicit steps: use scheme='explicit'"


@dataclass(frozen=True)
class PlainDescent(Law):
    """w' = -k D L, L = sum_s |e_s|^(power + 1) / (power + 1): with explicit steps, gradient descent
    of constant step.

    power : 0 for L1, 1 for half of L2, alpha for the loss E of the laws;  gain : k
    """

    power: float
    gain: float

    def check(self, plant: Plant, model: Plant) -> None:
        """Every plant has gradients."""

    def objective(self, e: Array) -> float:
        return power_loss(e, self.power)

    def velocity(self, at: Moment) -> Array:
        return -self.gain * at.model.pulled(at.w, spow(at.e, self.power))

    def semi_implicit(self, at: Moment, step: float) -> Array:
        raise ValueError(_EXPLICIT)

    def implicit(self, at: Moment, step: float) -> tuple[Array, int]:
        raise ValueError(_EXPLICIT)

    def reads_jacobian(self, plant: Plant, scheme: str) -> bool:
        return False


def law_of(method: Method, samples: int, gain: float, alpha: float = 0.8, beta: float = 0.1) -> Law:
    """A law, or a plain descent, whose update is a mean over samples with the factor `gain`.

    law (3):   u = -gain mean sign(x) sign(e) / h'(z)
    law (13):  u = -gain spow(G, alpha) E^beta, G and E of the mean of |e|^(alpha + 1) / (alpha + 1)
    L1, L2, E: u = -gain D mean |e|, mean |e|^2, mean |e|^(alpha + 1) / (alpha + 1)
    """
    check_name("method", method, ("law (3)", "law (13)", "L1", "L2", "E"))
    if method == "law (3)":
        return SignLaw(gain / samples, floor=FLOOR, alpha=alpha)
    if method == "law (13)":
        return PowerLaw(alpha, beta, gain * samples ** -(alpha + beta))
    power, factor = {"L1": (0.0, 1.0), "L2": (1.0, 2.0), "E": (alpha, 1.0)}[method]
    return PlainDescent(power, factor * gain / samples)


@dataclass(eq=False)
class Watch:
    """Looks at the errors along a run: means over samples and outputs, and stops it when the mean
    of |e| on the training samples is at most `enough`.

    epochs, mean, rms, loss : at the moments it was called, of |e|, |e|^2 (its root) and
        |e|^(alpha + 1) / (alpha + 1), of the training samples;  test_... : of the others
    """

    train: Plant
    test: Plant | None = None
    alpha: float = 0.8
    enough: float = 0.0
    epochs: list[float] = field(default_factory=list)
    seen: dict[str, list[float]] = field(default_factory=dict)

    def __call__(self, snapshot: Snapshot) -> bool:
        self.epochs.append(snapshot.time)
        for name, plant in (("", self.train), ("test_", self.test)):
            if plant is not None:
                size = np.abs(plant.errors(snapshot.state))
                power = self.alpha + 1.0
                for key, value in (
                    ("mean", np.mean(size)),
                    ("rms", np.sqrt(np.mean(size**2))),
                    ("loss", np.mean(size**power) / power),
                ):
                    self.seen.setdefault(name + key, []).append(float(value))
        return self.seen["mean"][-1] <= self.enough


@dataclass(frozen=True, eq=False)
class Course:
    """What was seen along a run of explicit steps of length 1.

    epochs, seconds : (R,) at the moments looked at;  seen : by name, see Watch
    rises : in how many steps the method's own loss rose
    """

    control: Control
    epochs: np.ndarray
    seconds: np.ndarray
    seen: dict[str, np.ndarray]
    rises: int
    detail: str


def course(
    plant: Plant,
    law: Law,
    epochs: int,
    *,
    start: Control | None = None,
    test: Plant | None = None,
    every: int = 1,
    enough: float = 0.0,
    alpha: float = 0.8,
) -> Course:
    """Explicit steps of length 1 from `start`, 0 if None: one epoch is one unit of pseudo-time.

    plant, test : `plant_of` a problem, and of the same network on other samples
    every : how often the errors are looked at;  enough : of the mean of |e|, which ends the run
    """
    watch = Watch(plant, test, alpha, enough)
    run = train_in_time(
        plant.objective,
        law,
        float(epochs),
        1.0,
        "explicit",
        start,
        monitors=[Monitor(watch, EverySteps(every))],
        raise_on_failure=False,
    )
    moments = np.rint(watch.epochs).astype(int)
    loss = np.asarray(run.history["objective"])
    return Course(
        run.control,
        moments,
        np.asarray(run.history["seconds"])[moments],
        {name: np.array(values) for name, values in watch.seen.items()},
        int(np.sum(np.diff(loss) > 0.0)),
        f"{run.status.name.lower()}: {run.detail}" if run.detail else run.status.name.lower(),
    )


def first_below(course: Course, name: str, level: float) -> float:
    """The first epoch looked at with seen[name] <= level, NaN if there is none."""
    found = np.flatnonzero(course.seen[name] <= level)
    return float(course.epochs[found[0]]) if len(found) else float("nan")


def perceptron(inputs: np.ndarray, targets: np.ndarray, hidden: int) -> LearningProblem:
    """o = W2 tanh(W1 x + b1) + b2: a LearnedField with one hidden layer, one Euler layer from 0.

    inputs : (samples, n);  targets : (samples, outputs) or (samples,)
    """
    goal = np.atleast_2d(targets.T)
    network = LearnedField(len(goal), inputs.shape[1], (hidden,), tanh, timed=False).at(inputs.T)
    return LearningProblem(network, np.zeros_like(goal), goal, TimeMesh(1.0, 1))


def starting(problem: LearningProblem, seed: int) -> Control:
    """Weights (rows, columns) normal with variance 1 / columns, biases 0.

    The column before the state, which is 0, is drawn with the others and never matters.
    """
    rng = np.random.default_rng(seed)
    values = {
        block.name: rng.standard_normal(block.shape) / np.sqrt(block.shape[1])
        for block in problem.space.trained
        if len(block.shape) == 2
    }
    return problem.space.sample(**values)
