"""Ten digits, learned by neural ODEs trained in different ways and by networks that are none: what
the studies on digits share.
"""

import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import xarray as xr
from sklearn.model_selection import train_test_split

from continuum import Control, CrossEntropy, LearnedField, LearningProblem, TimeMesh, tanh
from continuum.checks import check_count, check_name, check_positive
from continuum.time_axes import TimeKind
from solvers import RK4, Adam, Euler, discretize, integrate, minimize
from solvers.descent.objective import Objective
from solvers.descent.schedules import cosine
from solvers.lyapunov import Audit, MonteCarloLyapunov, PathLyapunov, Sphere, Tube, attack, audit
from solvers.lyapunov.attack import Norm
from solvers.steps.tableaux import RungeKutta

from ..datasets import Samples, load_digits
from ..shared import described, linear_classifier

CLASSES = 10
TEST_POINTS = 360
KAPPA = float(np.log(15.0 * np.sqrt(CLASSES)))
"""3.8593, the rate of the authors' code."""

ContenderName: TypeAlias = Literal[
    "NODE-1L",
    "NODE",
    "MC s=3.02",
    "MC s=5",
    "MC s=15",
    "path continuous",
    "path discrete",
    "tube",
    "ResNet",
    "MLP",
    "linear l1",
    "linear l2",
]
NAMES: tuple[ContenderName, ...] = get_args(ContenderName)
POWERS: Mapping[str, int] = {"linear l1": 1, "linear l2": 2}
"""The linear classifiers, and the power of their penalty."""


ATTACKS: Mapping[str, tuple[Norm, float, float]] = {
    "l_inf 8/255": ("inf", 8 / 255, 2 / 255),
    "l_inf 0.1": ("inf", 0.1, 0.025),
    "l_2 127/255, step 2/255": ("two", 127 / 255, 2 / 255),
    "l_2 127/255, step 0.125": ("two", 127 / 255, 0.125),
}
"""Norm, radius and step; ten steps of 2/255 in l_2 reach 20/255 of the radius 127/255."""
STEPS = 10


Form: TypeAlias = Literal["continuous", "discrete"]
Loss: TypeAlias = Callable[[LearningProblem, np.random.Generator], Objective]
"""What is minimised, given a problem and what draws states."""


def at_the_end(problem: LearningProblem, rng: np.random.Generator) -> Objective:
    """The mean cross-entropy at t = 1."""
    return discretize(problem, RK4())


def of_layers(problem: LearningProblem, rng: np.random.Generator) -> Objective:
    """The same for the network of Euler layers."""
    return discretize(problem, Euler())


def on_sphere(half_width: float) -> Loss:
    """The pointwise Lyapunov loss on 32 shared states of the code's sphere, which circumscribes the
    cube of this half width.
    """
    sphere = Sphere(float(np.sqrt(CLASSES)) * half_width, states=32)
    return lambda problem, rng: MonteCarloLyapunov(problem, KAPPA, sphere, rng=rng)


def on_path(form: Form) -> Loss:
    """The Lyapunov loss at the nodes of the path, with its whole gradient."""
    return lambda problem, rng: PathLyapunov(problem, KAPPA, form=form)


def in_tube(problem: LearningProblem, rng: np.random.Generator) -> Objective:
    """The pointwise Lyapunov loss on the path, held, with normal noise."""
    return MonteCarloLyapunov(problem, KAPPA, Tube(noise=1.0, copies=3), rng=rng)


@dataclass(frozen=True)
class Recipe:
    """What a contender is, apart from what a grid search chooses.

    hidden : widths of the field;  timed : whether t is an argument of it
    layers, in_time, stepper : one step per layer; weights are constant in time or one set a layer
    loss : what is minimised
    """

    hidden: tuple[int, ...] = (64, 64)
    timed: bool = True
    layers: int = 10
    in_time: TimeKind = "static"
    stepper: RungeKutta = field(default_factory=RK4)
    loss: Loss = at_the_end


AFFINE = Recipe(hidden=(), timed=False, layers=1, stepper=Euler(), loss=of_layers)
RECIPES: Mapping[ContenderName, Recipe] = {
    "NODE-1L": Recipe(hidden=(64,)),
    "NODE": Recipe(),
    "MC s=3.02": Recipe(loss=on_sphere(3.0230039405)),
    "MC s=5": Recipe(loss=on_sphere(5.0)),
    "MC s=15": Recipe(loss=on_sphere(15.0)),
    "path continuous": Recipe(loss=on_path("continuous")),
    "path discrete": Recipe(loss=on_path("discrete")),
    "tube": Recipe(loss=in_tube),
    "ResNet": Recipe(hidden=(11,), timed=False, in_time="layers", stepper=Euler(), loss=of_layers),
    "MLP": Recipe(timed=False, layers=1, stepper=Euler(), loss=of_layers),
    "linear l1": AFFINE,
    "linear l2": AFFINE,
}
"""The ResNet has weights of its own on each layer, of a width that makes their number that of NODE;
s = 3.02 is the box of the paper's rule for kappa (LY-03), 15 that of its program; one Euler layer
from eta = 0 is a feed-forward network.
"""


@dataclass(frozen=True)
class Settings:
    """What a grid search chooses.

    step, epochs : of Adam, whose step falls to 0 like a cosine; not used by linear classifiers
    strength : of the penalty of a linear classifier; not used by the others
    raises ValueError for numbers out of range
    """

    step: float = 5e-3
    epochs: int = 40
    strength: float = 1e-4

    def __post_init__(self) -> None:
        check_positive("step", self.step)
        check_count("epochs", self.epochs)
        check_positive("strength", self.strength)


SETTINGS = Path(__file__).with_name("digits_table.toml")


@cache
def settings_file() -> Mapping[str, Mapping[str, Mapping[str, object]]]:
    """The committed settings: the grids that were searched and the values chosen."""
    return tomllib.loads(SETTINGS.read_text(encoding="utf-8"))


def chosen(name: ContenderName) -> Settings:
    """The settings that the grid search chose for a contender."""
    check_name("name", name, NAMES)
    return Settings(**settings_file()["chosen"][name])  # type: ignore[arg-type]


def grid(name: ContenderName) -> list[Settings]:
    """The settings that the grid search tries for a contender."""
    given = settings_file()["grid"]
    if check_name("name", name, NAMES) in POWERS:
        return [Settings(strength=s) for s in given["strength"]]  # type: ignore[union-attr]
    epochs = given["epochs"][name]  # type: ignore[index]
    return [Settings(step, n) for step in given["step"] for n in epochs]  # type: ignore[union-attr]


@dataclass(frozen=True, eq=False)
class Contender:
    """A trained network eta' = f(eta, x, t), eta(0) = 0, whose class is the largest entry of
    eta(1).

    stepper : one step per layer of the control's mesh
    seconds : processor time of its training
    """

    name: ContenderName
    field: LearnedField
    stepper: RungeKutta
    control: Control
    seconds: float

    @property
    def weights(self) -> int:
        """How many numbers were trained; those that act on eta(0) = 0 alone do not count."""
        first = (self.field.hidden or (self.field.units,))[0]
        idle = first * self.field.units if self.control.mesh.layers == 1 else 0
        return self.control.space.size - idle

    def problem(self, x: np.ndarray, labels: np.ndarray) -> LearningProblem:
        """The end-point problem on images x (n, M) with labels (M,), in the contender's space."""
        return posed(self.field, x, labels, self.control.space)

    def audited(self, x: np.ndarray, labels: np.ndarray, steps_per_layer: int = 1) -> Audit:
        """The audit of the paths at the rate KAPPA."""
        return audit(
            self.problem(x, labels),
            self.control,
            KAPPA,
            stepper=self.stepper,
            steps_per_layer=steps_per_layer,
        )

    def along(self, x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The ends of the layers (K + 1,); the cross-entropy, and whether the largest entry is that
        of the label, at these times: (K + 1, M) each.
        """
        problem = self.problem(x, labels)
        run = integrate(
            problem.network, self.control, problem.initial, self.stepper, save="layers"
        ).trajectory
        value = np.stack([problem.functional.terminal_costs(f) for f in run.states])
        return run.times, value, np.argmax(run.states, axis=1) == labels


def posed(
    learned: LearnedField, x: np.ndarray, labels: np.ndarray, controls: object
) -> LearningProblem:
    """min over c of the mean cross-entropy of eta(1), eta' = f(eta, x, t), eta(0) = 0."""
    start = np.zeros((learned.units, x.shape[1]))
    return LearningProblem(
        learned.at(x),
        start,
        labels,
        controls,  # type: ignore[arg-type]  # a space or a mesh: the problem checks it
        terminal=CrossEntropy(),
    )


def digits_data(seed: int, test: int = TEST_POINTS) -> Samples:
    """The 1797 digits of scikit-learn as columns of 64 pixels in [0, 1], of which `test` are drawn
    for the test, class by class.

    raises ValueError for seed < 0, or a test set that is empty or leaves no training data
    """
    digits = load_digits()
    return drawn(digits.inputs.reshape(len(digits.labels), -1), digits.labels, test, seed)


def drawn(images: np.ndarray, labels: np.ndarray, test: int, seed: int) -> Samples:
    """Images (M, n) with labels (M,) as columns, of which `test` are drawn class by class."""
    check_count("seed", seed, 0)
    check_count("test", test, CLASSES)
    if test > len(labels) - CLASSES:
        raise ValueError(f"test must be at most {len(labels) - CLASSES}, got {test}")
    kept, held = train_test_split(
        np.arange(len(labels)), test_size=test, random_state=seed, stratify=labels
    )
    return Samples(images[kept].T, labels[kept], images[held].T, labels[held])


def contender(
    name: ContenderName,
    data: Samples,
    seed: int,
    settings: Settings,
    hidden: tuple[int, ...] | None = None,
) -> Contender:
    """A network of this name, trained on the training part of the data.

    seed : of the start, the batches of 64 and the sampled states
    settings : `chosen(name)` are those of the committed file
    hidden : widths of the field in place of those of RECIPES
    raises ValueError for an unknown name, seed < 0
    """
    check_name("name", name, NAMES)
    check_count("seed", seed, 0)
    recipe = RECIPES[name]
    widths = recipe.hidden if hidden is None else hidden
    learned = LearnedField(CLASSES, len(data.train), widths, tanh, timed=recipe.timed)
    mesh = TimeMesh(1.0, recipe.layers)
    space = learned.at(data.train).controls(mesh, in_time=recipe.in_time)
    problem = posed(learned, data.train, data.train_labels, space)
    began = time.process_time()
    if name in POWERS:
        control = _linear(problem, data, settings.strength, POWERS[name])
    else:
        start, batches, states = (np.random.default_rng([seed, k]) for k in range(3))
        method = Adam(
            step=cosine(settings.step, settings.epochs),
            batch=min(64, data.train.shape[1]),
            rng=batches,
            max_iterations=settings.epochs,
            report=settings.epochs,
        )
        objective = recipe.loss(problem, states)
        control = minimize(objective, method, initial=learned.initialise(space, start)).control
    seconds = time.process_time() - began
    return Contender(name, learned, recipe.stepper, control, seconds)


def attacked(trained: Contender, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The share of samples (n, M) that is wrong after each of ATTACKS: (attacks,)."""
    problem = trained.problem(x, labels)
    return np.array(
        [
            np.mean(
                attack(
                    problem,
                    trained.control,
                    radius,
                    norm=norm,
                    steps=STEPS,
                    step=step,
                    restarts=0,
                    loss="terminal",
                    bounds=(0.0, 1.0),
                    stepper=trained.stepper,
                ).broken
            )
            for norm, radius, step in ATTACKS.values()
        ]
    )


def measured(trained: Contender, data: Samples) -> xr.Dataset:
    """What the table says of a contender: errors on the training and test part, under ATTACKS, the
    share of test points that keep the rate (NaN for networks of one layer), loss and error along t,
    seconds, and how many numbers were trained.
    """
    times, loss, right = trained.along(data.test, data.test_labels)
    *_, fitted = trained.along(data.train, data.train_labels)
    broken = attacked(trained, data.test, data.test_labels)
    kept = float("nan")
    if len(times) > 2:
        kept = trained.audited(data.test, data.test_labels).meeting.value
    return xr.Dataset(
        {
            "train_error": described("train_error", 1.0 - fitted[-1].mean(), "1", "training"),
            "test_error": described("test_error", 1.0 - right[-1].mean(), "1", "test"),
            "attacked": described("attacked", broken, "1", "error under attacks", ("attack",)),
            "kept": described("kept", kept, "1", "share that keeps the rate"),
            "loss": described("loss", loss.mean(axis=1), "1", "V", ("time",)),
            "error": described("error", 1.0 - right.mean(axis=1), "1", "error", ("time",)),
            "final_loss": described("final_loss", loss[-1], "1", "V(1)", ("point",)),
            "seconds": described("seconds", trained.seconds, "s", "processor time of training"),
            "weights": described("weights", trained.weights, "1", "numbers trained"),
        },
        coords={
            "time": ("time", times, {"units": "time", "long_name": "t"}),
            "attack": ("attack", list(ATTACKS)),
        },
    )


def _linear(problem: LearningProblem, data: Samples, strength: float, power: int) -> Control:
    """The linear classifier as one Euler layer from eta = 0."""
    found = linear_classifier(data.train, data.train_labels, strength, power)
    weight = np.concatenate([np.zeros((CLASSES, CLASSES)), found.weight], axis=1)
    return problem.space.sample(weight1=weight, bias1=found.offset)
