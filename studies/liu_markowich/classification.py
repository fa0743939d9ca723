"""Training a classifier of images: what the studies on digits share."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
import xarray as xr

from continuum import (
    L1,
    Affine,
    Box,
    Control,
    CrossEntropy,
    FiniteSet,
    Interval,
    LearningProblem,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    midpoint,
    tanh,
)
from solvers import (
    LBFGS,
    Adam,
    Euler,
    EverySteps,
    GradientDescent,
    Monitor,
    Nesterov,
    NewtonCG,
    Snapshot,
    Solution,
    discretize,
    integrate,
    minimize,
    pontryagin_certificate,
    proximal_alternating,
    successive_approximation,
)
from solvers.descent.run import Minimizer

from ..datasets import Samples
from ..shared import described

CLASSES = 10
SQUARE = Interval(0, 1) * Interval(0, 1)
READOUT = ("readout.W", "readout.mu")
INNER = ("bias", "kernel")
MethodName: TypeAlias = Literal[
    "gradient descent",
    "Nesterov",
    "Adam",
    "L-BFGS",
    "Newton-CG",
    "proximal alternating",
    "successive approximation",
    "linear classifier",
    "sparse linear classifier",
]
LINEAR: tuple[MethodName, ...] = ("linear classifier", "sparse linear classifier")
METHODS: tuple[MethodName, ...] = get_args(MethodName)
WeightsName: TypeAlias = Literal["free", "box", "binary", "ternary"]
LEVELS: Mapping[str, tuple[float, ...]] = {"binary": (-1.0, 1.0), "ternary": (-1.0, 0.0, 1.0)}
ITERATIONS: Mapping[MethodName, int] = {
    "gradient descent": 250,
    "Nesterov": 150,
    "Adam": 30,
    "L-BFGS": 150,
    "Newton-CG": 25,
    "proximal alternating": 20,
    "successive approximation": 60,
    "linear classifier": 300,
    "sparse linear classifier": 300,
}
"""Iterations at effort 1, epochs for Adam: a few seconds of one core each, on 1437 images of 8 x 8
in 8 layers.
"""
SCALE = 4.0
"""Standard deviation of the kernel's entries at the start; everything else starts from zero."""


def classifier(
    side: int,
    layers: int,
    horizon: float,
    strength: float,
    states: np.ndarray,
    labels: np.ndarray,
    bounds: Mapping[str, float] | None = None,
) -> LearningProblem:
    """The LearningProblem of the images: f_t = tanh(a - int b f) on the square, softmax of int W f
    + mu at T.

    strength : of Tikhonov's penalty; 0 for none, where every trained block has a bound
    bounds : r for -r <= x <= r of a block ("bias", "kernel", "readout.W", "readout.mu")
    raises ValueError for layers < 1, a horizon that is not positive, strength < 0, and strength 0
        with a block that nothing bounds
    """
    if layers < 1 or not horizon > 0 or not strength >= 0:
        raise ValueError(
            f"layers must be >= 1, horizon > 0 and strength >= 0, got {layers}, horizon {horizon}, "
            f"strength {strength}"
        )
    bounds = bounds or {}
    free = [name for name in (*INNER, *READOUT) if name not in bounds]
    if strength == 0.0 and free:
        raise ValueError(
            f"strength 0 leaves {', '.join(free)} without bounds, and the cost may then have no "
            "minimum: give bounds for every block, or strength > 0"
        )
    network = WidthDepth(midpoint(SQUARE, side), tanh)
    return LearningProblem(
        network,
        states,
        labels,
        TimeMesh(horizon, layers),
        readout=Affine(CLASSES),
        terminal=CrossEntropy(),
        penalty=Tikhonov(strength) if strength > 0.0 else None,
        admissible=Box(**{name: (-r, r) for name, r in bounds.items()}) if bounds else None,
    )


def starting_control(problem: LearningProblem, seed: int) -> Control:
    """Random kernels, all else zero."""
    rng = np.random.default_rng(seed)
    kernel = SCALE * rng.standard_normal(problem.space.zeros()["kernel"].shape)
    return problem.space.sample(kernel=kernel)


def accuracy(
    problem: LearningProblem, control: Control, states: np.ndarray, labels: np.ndarray
) -> float:
    """The share of states (N, M) that the ResNet of this control gives their label."""
    final = integrate(problem.network, control, states, Euler()).trajectory.final
    values = {**problem.space.fixed, **control.at(problem.mesh.horizon)}
    return float(
        np.mean(np.argmax(problem.readout.output(problem.network, final, values), axis=0) == labels)
    )


@dataclass(frozen=True, eq=False)
class Trained:
    """A control of the whole problem, readout included, and how it was found.

    seconds, objective : at every iteration, work before it included; controls : the iterates
    status : a sentence; begun : seconds of the work before
    """

    control: Control
    status: str
    seconds: np.ndarray
    objective: np.ndarray
    controls: Sequence[Control] = field(default_factory=tuple)

    def then(self, other: "Trained") -> "Trained":
        """This run and the one that went on from it."""
        return Trained(
            other.control,
            f"{self.status} Then: {other.status}",
            np.concatenate([self.seconds, self.seconds[-1] + other.seconds]),
            np.concatenate([self.objective, other.objective]),
            [*self.controls, *other.controls],
        )


class _Iterates:
    """Keeps the flat control of every iteration."""

    def __init__(self) -> None:
        self.found: list[np.ndarray] = []

    def __call__(self, snapshot: Snapshot) -> bool:
        """Keep it."""
        self.found.append(np.array(snapshot.state))
        return False


def recorded(
    run: Callable[[Sequence[Monitor]], Solution], whole: Callable[[Control], Control]
) -> Trained:
    """Runs a solver with a monitor that keeps its iterates; `whole` completes them to controls of
    the whole problem.
    """
    kept = _Iterates()
    solution = run([Monitor(kept, EverySteps(1))])
    space = solution.control.space
    count = len(solution.history["objective"])
    controls = [whole(space.unflatten(x)) for x in kept.found[:count]]
    status = solution.status.value + (f" ({solution.detail})" if solution.detail else "")
    return Trained(
        whole(solution.control),
        status,
        solution.history["seconds"],
        solution.history["objective"],
        controls,
    )


def train(
    problem: LearningProblem,
    method: MethodName,
    start: Control,
    *,
    effort: float = 1.0,
    seed: int = 0,
) -> Trained:
    """One method for ITERATIONS * effort iterations from a start.

    successive approximation, which cannot choose blocks that are constant in time, holds the
    readout of the linear classifier; "linear classifier" trains the readout alone, on the inputs,
    "sparse linear classifier" with |W|_1 for |W|^2 + |mu|^2 in the penalty.
    raises ValueError unless effort > 0
    """
    if not effort > 0:
        raise ValueError(f"effort must be > 0, got {effort}")
    most = max(1, round(effort * ITERATIONS[method]))
    _compile(problem, start, method)
    if method in LINEAR:
        return _linear(problem, most, sparse=method != "linear classifier")
    if method == "successive approximation":
        began = time.perf_counter()
        linear = _linear(problem, max(1, round(effort * ITERATIONS["linear classifier"]))).control
        before = time.perf_counter() - began
        held = with_readout_held(problem, linear)
        inner = Control(held.space, {name: start[name] for name in INNER})
        found = recorded(
            lambda monitors: successive_approximation(
                held,
                initial=inner,
                relaxation="search",
                max_iterations=most,
                inner_iterations=5,
                monitors=monitors,
                raise_on_failure=False,
            ),
            lambda c: Control(problem.space, {**dict(linear.items()), **dict(c.items())}),
        )
        extra = np.array([_readout_penalty(problem, linear)])
        return replace(found, seconds=found.seconds + before, objective=found.objective + extra)
    if method == "proximal alternating":
        groups = (INNER, READOUT)
        return recorded(
            lambda monitors: proximal_alternating(
                problem,
                step=100.0,
                groups=groups,
                inner=LBFGS(max_iterations=10),
                initial=start,
                max_iterations=most,
                monitors=monitors,
                raise_on_failure=False,
            ),
            lambda c: c,
        )
    batch = min(64, problem.initial.shape[1])
    chosen = {
        "gradient descent": GradientDescent(max_iterations=most),
        "Nesterov": Nesterov(max_iterations=most),
        "Adam": Adam(
            max_iterations=most,
            batch=batch,
            step=lambda epoch: 0.3 * (1.0 - epoch / most),
            rng=np.random.default_rng(seed),
        ),
        "L-BFGS": LBFGS(max_iterations=most),
        "Newton-CG": NewtonCG(max_iterations=most),
    }[method]
    return recorded(
        lambda monitors: minimize(
            problem, chosen, initial=start, monitors=monitors, raise_on_failure=False
        ),
        lambda c: c,
    )


def _compile(problem: LearningProblem, start: Control, method: MethodName) -> None:
    """Asks once for what the method will ask for, so that compiling loops is not on its clock."""
    objective = discretize(problem)
    objective.value_and_gradient(start)
    if method == "Newton-CG":
        objective.hvp(start, start)


def _linear(problem: LearningProblem, most: int, sparse: bool = False) -> Trained:
    """The readout alone, on the inputs: with a = 0 and b = 0 the state stays where it is."""
    space = problem.network.controls(problem.mesh, fixed=dict.fromkeys(INNER, 0.0))
    readout = replace(problem, controls=space, target=problem.target, admissible=None)
    method: Minimizer = LBFGS(max_iterations=most)
    if sparse:
        strength = getattr(problem.penalty, "strength", 0.0)
        readout = replace(readout, penalty=L1(strength, [READOUT[0]]))
        method = Nesterov(max_iterations=most)
    return recorded(
        lambda monitors: minimize(readout, method, monitors=monitors, raise_on_failure=False),
        lambda c: problem.space.sample(**{name: c[name] for name in READOUT}),
    )


def with_readout_held(problem: LearningProblem, control: Control) -> LearningProblem:
    """The problem for bias and kernel alone, with the readout of this control."""
    readout = Affine(CLASSES, fixed={name: control[name] for name in READOUT})
    return replace(problem, controls=problem.network.controls(problem.mesh), readout=readout)


def _readout_penalty(problem: LearningProblem, control: Control) -> float:
    """What the readout adds to the penalty: problems that hold it do not count it."""
    readout_only = problem.space.sample(**{name: control[name] for name in READOUT})
    return 0.0 if problem.penalty is None else problem.penalty.value(readout_only)


def train_discrete(problem: LearningProblem, trained: Trained, effort: float) -> Trained:
    """From the kernels of a run on the box to the nearest of the problem's set, and everything else
    around them.

    Proximal alternating steps of bias with readout, and of the kernel, which projected gradients
    move from value to value where that lowers the objective.
    """
    found = recorded(
        lambda monitors: proximal_alternating(
            problem,
            step=100.0,
            groups=(("bias", *READOUT), ("kernel",)),
            inner=GradientDescent(max_iterations=30),
            initial=trained.control,
            max_iterations=max(1, round(4 * effort)),
            monitors=monitors,
            raise_on_failure=False,
        ),
        lambda c: c,
    )
    return trained.then(found)


def discrete_kernel(problem: LearningProblem, levels: Sequence[float]) -> LearningProblem:
    """The same with kernels whose entries are all among some values; bias and readout stay free,
    penalised.
    """
    return replace(problem, admissible=FiniteSet(kernel=tuple(levels)))


def boxed_kernel(problem: LearningProblem) -> LearningProblem:
    """The same with -1 <= b <= 1; bias and readout stay free, penalised."""
    return replace(problem, admissible=Box(kernel=(-1, 1)))


def certificates(
    problem: LearningProblem, trained: Control
) -> tuple[dict[str, float], dict[str, str]]:
    """What Pontryagin's principle says with the readout held fixed, on all training images.

    The readout is constant in time, so no time may choose it on its own: it is judged by its
    gradient alone.
    returns the total gap and the projected gradient, for the differential equation and for the
    ResNet, and the texts
    """
    held = with_readout_held(problem, trained)
    inner = Control(held.space, {name: trained[name] for name in INNER})
    flow = pontryagin_certificate(held, inner, eigenvalues=0, inner_iterations=20)
    resnet = pontryagin_certificate(
        held, inner, eigenvalues=0, inner_iterations=20, stepper=Euler(), steps_per_layer=1
    )
    numbers = {
        "gap": flow.total_gap,
        "gap_resnet": resnet.total_gap,
        "projected_gradient": flow.projected_gradient,
        "projected_gradient_resnet": resnet.projected_gradient,
        "flow_objective": flow.objective + _readout_penalty(problem, trained),
    }
    texts = {
        "certificate": f"readout held fixed, all {problem.initial.shape[1]} training "
        f"images\n{flow}",
        "certificate_resnet": f"the ResNet itself (Euler, a step per layer), readout held "
        f"fixed\n{resnet}",
    }
    return numbers, texts


def history(problem: LearningProblem, trained: Trained, samples: Samples) -> xr.Dataset:
    """Objective and accuracies along a run, and at its end."""
    along = [accuracy(problem, c, samples.test, samples.test_labels) for c in trained.controls]
    kernel = trained.control["kernel"]
    return xr.Dataset(
        {
            "seconds": described(
                "seconds", trained.seconds, "s", "wall clock, one core", ("iteration",)
            ),
            "objective": described(
                "objective", trained.objective, "1", "J of the ResNet", ("iteration",)
            ),
            "test_accuracy": described(
                "test_accuracy", along, "1", "share of test images right", ("iteration",)
            ),
            "final_objective": described(
                "final_objective", trained.objective[-1], "1", "J at the end"
            ),
            "final_train_accuracy": described(
                "final_train_accuracy",
                accuracy(problem, trained.control, samples.train, samples.train_labels),
                "1",
                "share of training images right",
            ),
            "final_test_accuracy": described(
                "final_test_accuracy",
                accuracy(problem, trained.control, samples.test, samples.test_labels),
                "1",
                "share of test images right",
            ),
            "nonzero": described(
                "nonzero", np.mean(np.abs(kernel) > 1e-6), "1", "share of |kernel| > 1e-6"
            ),
        },
        coords={
            "iteration": (
                "iteration",
                np.arange(len(trained.seconds)),
                {"units": "1", "long_name": "iteration"},
            )
        },
    )
