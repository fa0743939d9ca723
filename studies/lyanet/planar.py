"""Two classes in the plane: the contenders, how they are trained, and what is measured of them."""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from continuum import Control, CrossEntropy, LearnedField, LearningProblem, TimeMesh, tanh
from continuum.checks import check_count, check_positive
from solvers import RK4, Adam, Euler, Objective, discretize, integrate, minimize
from solvers.descent.schedules import cosine
from solvers.lyapunov import (
    Cube,
    MonteCarloLyapunov,
    PathLyapunov,
    Sampler,
    Sphere,
    Tube,
    attack,
    audit,
    escapes,
)
from solvers.steps.tableaux import Stepper

from ..datasets import moons, rings

Name: TypeAlias = Literal["rings", "moons"]
Contender: TypeAlias = Literal[
    "NODE",
    "MC s=3",
    "MC s=1.49",
    "MC sphere",
    "path continuous",
    "path discrete",
    "tube",
    "ResNet",
    "MLP",
]
HALF_WIDTH, SMALL = 3.0, 1.4875015933
"""Half widths of the cubes: the ledger's, and the paper's rule s(kappa) for kappa = 3 (LY-03)."""
SHARED, COPIES, SPREAD = 32, 3, 1.0
"""States of a cube that a batch shares; copies of each state of the path and their noise."""
SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        "MC s=3": Cube(HALF_WIDTH, states=SHARED),
        "MC s=1.49": Cube(SMALL, states=SHARED),
        "MC sphere": Sphere(HALF_WIDTH * float(np.sqrt(2.0)), states=SHARED),
        "tube": Tube(noise=SPREAD, copies=COPIES),
    }
)
"""The states at which these contenders are trained; the sphere goes through the cube's corners."""
EULER: tuple[Contender, ...] = ("ResNet", "MLP")
LAYERS, STEP, BATCH = 10, 5e-3, 64
TEST, ATTACKED = 2000, 500
RADII = (0.1, 0.3)
EXTRA = 0.25
ODDS = float(np.log(9.0))
"""log p / (1 - p) at p = 0.9."""


@dataclass(frozen=True, eq=False)
class Plane:
    """Points with labels 0 and 1, for training and for the test, and lines across the boundary.

    train, test : (2, M);  train_labels, test_labels : (M,)
    inside, outside : (2, L), the ends of the lines, a point of class 1 and one of class 0, or some
        way behind them, see `plane`
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    inside: np.ndarray
    outside: np.ndarray


def plane(name: Name, samples: int, seed: int, lines: int = 90) -> Plane:
    """The rings of radii 1 (label 1) and 2 (label 0) with noise 0.1, or the two moons with noise
    0.1.

    The lines are radii between the rings; between the moons, without noise, each point of the
    moon 1 is joined to the nearest of the moon 0.  They go on behind both by EXTRA of their length.
    """
    if name == "rings":
        sets = [rings(m, s, 0.05, 0.5) for m, s in ((samples, seed), (TEST, seed + 1000))]
        angles = 2.0 * np.pi * np.arange(lines) / lines
        inside = np.array([np.cos(angles), np.sin(angles)])
        scale, outside = 2.0, 2.0 * inside
    else:
        sets = [moons(m, s, 0.1) for m, s in ((samples, seed), (TEST, seed + 1000))]
        angles = np.pi * np.arange(lines) / (lines - 1)
        upper = np.array([np.cos(angles), np.sin(angles)])
        inside = np.array([1.0 - np.cos(angles), 0.5 - np.sin(angles)])
        apart = np.sum((inside[:, :, None] - upper[:, None, :]) ** 2, axis=0)
        scale, outside = 1.0, upper[:, np.argmin(apart, axis=1)]
    train, test = sets
    beyond = EXTRA * (outside - inside)
    return Plane(
        scale * train.inputs.T,
        train.labels,
        scale * test.inputs.T,
        test.labels,
        inside - beyond,
        outside + beyond,
    )


@dataclass(frozen=True, eq=False)
class Trained:
    """A field with weights.

    stepper : the method it was trained with, which is the method it is used with
    seconds : of the processor, for the training;  status : how it ended
    """

    field: LearnedField
    control: Control
    stepper: Stepper
    seconds: float
    status: str

    def problem(self, x: np.ndarray, labels: np.ndarray, start: np.ndarray) -> LearningProblem:
        """The loss of the last states from `start` (2, M), for the inputs x (2, M) or (2, 1)."""
        return posed(self.field, x, labels, start, self.control)

    def path(self, x: np.ndarray, start: np.ndarray) -> np.ndarray:
        """(layers + 1, 2, M): the states from `start` at the ends of the layers."""
        run = integrate(self.field.at(x), self.control, start, self.stepper, save="layers")
        return run.trajectory.states

    def margin(self, x: np.ndarray) -> np.ndarray:
        """(M,): o_1 - o_0 at the inputs x (2, M), which is log p / (1 - p) for the label 1."""
        final = self.path(x, np.zeros((2, x.shape[1])))[-1]
        return final[1] - final[0]


def posed(
    field: LearnedField,
    x: np.ndarray,
    labels: np.ndarray,
    start: np.ndarray,
    like: Control | TimeMesh,
    in_time: Literal["static", "layers"] = "static",
) -> LearningProblem:
    """minimise the mean cross-entropy of the last states.

    like : a control of the field, whose space is taken, or the mesh of a new space
    """
    network = field.at(x)
    space = like.space if isinstance(like, Control) else network.controls(like, in_time)
    return LearningProblem(network, start, labels, space, terminal=CrossEntropy())


def objective(
    contender: Contender, problem: LearningProblem, kappa: float, rng: np.random.Generator
) -> Objective:
    """What the contender minimises: "NODE", "ResNet" and "MLP" the mean loss at the end, the others
    the Lyapunov loss for the rate kappa, on a cube of states, on the path or on noisy copies of it.

    rng : of the states that `value` keeps
    """
    if contender in EULER or contender == "NODE":
        return discretize(problem, method(contender))
    if contender == "path continuous":
        return PathLyapunov(problem, kappa, stepper=RK4(), form="continuous")
    if contender == "path discrete":
        return PathLyapunov(problem, kappa, stepper=RK4(), form="discrete")
    sampler = SAMPLERS[contender]
    return MonteCarloLyapunov(problem, kappa, sampler, stepper=RK4(), rng=rng)


def method(contender: Contender) -> Stepper:
    """One step per layer of this method."""
    return Euler() if contender in EULER else RK4()


def empty_field(contender: Contender, width: int, centred: bool) -> LearnedField:
    """tanh (width, width), with t as an argument; the MLP, one Euler layer from 0, has no t.

    The ResNet has weights of its own on each layer, one hidden layer, no t, and as many weights in
    all as the others, up to rounding of its width.
    """
    if contender != "ResNet":
        return LearnedField(2, 2, (width, width), tanh, timed=contender != "MLP", centred=centred)
    size = width * (2 + 2 + 1) + width + width * width + width + 2 * width + 2
    narrow = max(1, round((size / LAYERS - 2) / (2 + 2 + 1 + 2)))
    return LearnedField(2, 2, (narrow,), tanh, timed=False, centred=centred)


def train(
    contender: Contender,
    data: Plane,
    *,
    epochs: int,
    kappa: float,
    width: int,
    centred: bool,
    seed: int,
) -> Trained:
    """Adam from Glorot's weights, step 5e-3 with a cosine schedule, batches of 64."""
    field = empty_field(contender, width, centred)
    mesh = TimeMesh(1.0, 1 if contender == "MLP" else LAYERS)
    in_time = "layers" if contender == "ResNet" else "static"
    zero = np.zeros_like(data.train)
    problem = posed(field, data.train, data.train_labels, zero, mesh, in_time)
    weights, states, order = np.random.default_rng(seed).spawn(3)
    adam = Adam(
        step=cosine(STEP, epochs),
        batch=min(BATCH, data.train.shape[1]),
        rng=order,
        report=epochs,
        max_iterations=epochs,
    )
    start = field.initialise(problem.space, weights)
    began = time.process_time()
    with warnings.catch_warnings():  # a set that is too small for the rate is part of the question
        warnings.simplefilter("ignore", RuntimeWarning)
        goal = objective(contender, problem, kappa, states)
        best = minimize(goal, adam, initial=start, raise_on_failure=False)
    seconds = time.process_time() - began
    return Trained(field, best.control, method(contender), seconds, best.status.name.lower())


def crossing(
    margin: Callable[[np.ndarray], np.ndarray], data: Plane, level: float, cells: int = 160
) -> np.ndarray:
    """(L,): the distance from `inside`, along each line, of the first point where the margin falls
    to `level`; NaN where it does not.

    margin : (2, M) -> (M,);  cells : in which a line is searched, before 30 bisections
    """
    line = data.outside - data.inside
    count = line.shape[1]
    s = np.linspace(0.0, 1.0, cells + 1)
    points = data.inside[:, None, :] + s[:, None] * line[:, None, :]
    below = margin(points.reshape(2, -1)).reshape(cells + 1, count) <= level
    first = np.argmax(below, axis=0)
    found = np.any(below, axis=0) & (first > 0)
    high = s[np.maximum(first, 1)]
    low = high - s[1]
    for _ in range(30):
        middle = 0.5 * (low + high)
        under = margin(data.inside + middle * line) <= level
        low, high = np.where(under, low, middle), np.where(under, middle, high)
    return np.where(found, high, np.nan) * np.linalg.norm(line, axis=0)


def starts(seed: int, samples: int) -> np.ndarray:
    """(2, M): states drawn evenly from the cube."""
    return np.random.default_rng([seed, 1]).uniform(-HALF_WIDTH, HALF_WIDTH, (2, samples))


def measures(trained: Trained, data: Plane, kappa: float, seed: int) -> dict[str, float]:
    """Of the test points: "error"; "loss", the mean V(1); "met", the share with V(t) <= V(0)
    e^(-kappa t) at all ends of layers; "escapes", the share of roll-outs that leave the cube;
    "basin", the share of random states of the cube that end in the class of their point; "corner",
    the same from the corner of the wrong class.  Of the lines: "middle", where p = 1/2 is, 0 on the
    class 1 and 1 on the class 0, "width", the mean length of what lies between p = 0.9 and
    p = 0.1, and "crossed", the share of lines that have both: if it is below 1, the ends of the
    others are taken, and the width is more than that.  "train_error", "seconds" besides.
    """
    x, labels = data.test, data.test_labels
    path, sign = trained.path(x, np.zeros_like(x)), 2.0 * labels - 1.0
    problem = trained.problem(x, labels, np.zeros_like(x))
    found = audit(problem, trained.control, kappa, stepper=trained.stepper)

    def right(start: np.ndarray) -> float:
        final = trained.path(x, start)[-1]
        return float(np.mean(sign * (final[1] - final[0]) > 0.0))

    length = np.linalg.norm(data.outside - data.inside, axis=0)
    half, upper, lower = (crossing(trained.margin, data, c) for c in (0.0, ODDS, -ODDS))
    whole = np.isfinite(upper) & np.isfinite(lower)
    band = np.where(np.isfinite(lower), lower, length) - np.where(np.isfinite(upper), upper, 0.0)
    place = (1.0 + 2.0 * EXTRA) * half / length - EXTRA
    wrong = HALF_WIDTH * np.array([sign, -sign])
    inside = data.train_labels == (trained.margin(data.train) > 0.0)
    return {
        "error": float(np.mean(sign * (path[-1, 1] - path[-1, 0]) <= 0.0)),
        "train_error": 1.0 - float(np.mean(inside)),
        "loss": float(np.mean(found.values[-1])),
        "met": found.meeting.value,
        "escapes": escapes(problem, trained.control, Cube(HALF_WIDTH), trained.stepper).share,
        "basin": right(starts(seed, x.shape[1])),
        "corner": right(wrong),
        "middle": float(np.nanmean(place)) if np.any(np.isfinite(place)) else np.nan,
        "width": float(np.mean(band)),
        "crossed": float(np.mean(whole)),
        "seconds": trained.seconds,
    }


def attacked(trained: Trained, data: Plane, steps: int) -> dict[float, float]:
    """The error on the first 500 test points under l_inf attacks of each radius."""
    x, labels = data.test[:, :ATTACKED], data.test_labels[:ATTACKED]
    problem = trained.problem(x, labels, np.zeros_like(x))
    found = {}
    for radius in RADII:
        worst = attack(
            problem, trained.control, radius, norm="inf", steps=steps, stepper=trained.stepper
        )
        found[radius] = float(np.mean(worst.broken))
    return found


def check_planar(
    samples: int, epochs: int, kappa: float, width: int, steps: int, seed: int
) -> None:
    """Raises ValueError for parameters out of range."""
    check_count("samples", samples, 2)
    check_count("epochs", epochs)
    check_positive("kappa", kappa)
    check_count("width", width)
    check_count("steps", steps)
    check_count("seed", seed, 0)
