"""Digits by pairs of convex residual networks behind trained filters: the problem, its start, runs
with accuracies after each epoch.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from continuum import Control
from continuum.checks import check_count, check_name
from continuum.input_maps import FilterBank
from solvers import Adam, FixedStep, Solution, minimize
from solvers.adjoint.trained_inputs import TrainedInputs, trained_inputs
from solvers.convex_fits import convex_problem, convex_start
from solvers.descent.objective import Composite
from solvers.run.monitors import Monitor, Record, Snapshot

from ..datasets import Dataset, held_out

CLASSES = 10
TEST_SHARE = 0.25

Variant: TypeAlias = Literal[
    "convex", "frozen biases", "convex by Adam", "unconstrained", "unconstrained by Adam"
]
"""What is trained, and how: the weights of "convex" ones stay in their set."""
VARIANTS: tuple[str, ...] = get_args(Variant)


@dataclass(frozen=True)
class Shape:
    """filters of size x size pixels, maxima over pool x pool of them, then pairs of networks of
    `layers` layers with `hidden` units each.
    """

    filters: int = 16
    size: int = 3
    pool: int = 2
    layers: int = 3
    hidden: int = 16

    def bank(self, images: np.ndarray) -> FilterBank:
        """Images (M, side, side) to features, for the networks of all pairs; with as few rows and
        columns of zeros at the ends of the images as make the windows of the maxima fit.
        """
        more = -(images.shape[1] - self.size + 1) % self.pool
        padded = np.pad(images, ((0, 0), (0, more), (0, more)))
        return FilterBank(padded, self.filters, self.size, self.pool, copies=2 * CLASSES)


@dataclass(frozen=True, eq=False)
class Split:
    """Images (M, side, side) and labels (M,), for the training and for the test."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def stratified(images: Dataset, seed: int, samples: int | None = None) -> Split:
    """A quarter of the images for the test, drawn class by class, by scikit-learn's
    random_state=seed.

    samples : only the first so many, all if None or if there are fewer
    """
    if samples is not None:
        check_count("samples", samples, 2 * CLASSES)
    labels = images.labels[:samples]
    train, test = held_out(len(labels), seed, TEST_SHARE, labels)
    return Split(images.inputs[train], labels[train], images.inputs[test], labels[test])


def pairs(images: np.ndarray, labels: np.ndarray, shape: Shape) -> TrainedInputs:
    """minimise  1/(2M) sum_m |f(x_m) - e_m|^2,   f_p = r_p - s_p + d_p,   p = 0, ..., 9,

    r_p, s_p convex residual networks (see `convex_problem`) of the features x: filters, ReLU, then
    maxima; e_m is the unit vector of the label, and the class of x the largest f_p.

    images : (M, side, side);  labels : (M,), from 0 to 9
    """
    bank = shape.bank(images)
    width = (bank.images.shape[1] - shape.size + 1) // shape.pool
    features = np.zeros((shape.filters * width**2, len(labels)))
    problem = convex_problem(
        features, np.eye(CLASSES)[:, labels], shape.layers, hidden=shape.hidden
    )
    return trained_inputs(problem, bank)


def started(objective: TrainedInputs, rng: np.random.Generator) -> Control:
    """b ~ U(0, 1), V ~ U(0, 2 / n), W ~ U(0, .1 / m), c ~ .001 + U(0, .2 / sqrt(n)), d = 0, and
    filters ~ N(0, 1 / size^2), drawn in this order.
    """
    values = dict(convex_start(objective.problem, rng))
    (block,) = objective.input_map.blocks()
    filters = rng.normal(0.0, 1.0 / block.shape[-1], block.shape)
    return objective.space.sample(**values, **{block.name: filters})


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """The share of samples whose largest output (10, M) is that of their label (M,)."""
    return float(np.mean(np.argmax(outputs, axis=0) == labels))


def trained(
    split: Split,
    variant: str,
    shape: Shape | None = None,
    *,
    step: float = 0.01,
    momentum: float = 0.9,
    adam_step: float = 2e-3,
    batch: int = 32,
    epochs: int = 12,
    report: int = 1,
    seed: int = 0,
) -> Solution[Control]:
    """A run from the start of default_rng(seed), which then shuffles; accuracies in its history, as
    "train" and "test", at the start and after each `report` epochs.

    variant : "convex", by FixedStep(step, momentum); "frozen biases", the same with all b held;
        "unconstrained", the same without the set: V, W, b and c of both signs; "... by Adam", by
        Adam(adam_step) in place of FixedStep.  All start at the same control
    FixedStep makes x_{k+1} = P(y_k - s g(y_k)), y_k = x_k + beta (x_k - x_{k-1}), P the projection
    on the set.  Without a set, v_k = x_k - x_{k-1} obeys v_{k+1} = beta v_k - s g(x_k + beta v_k),
    x_{k+1} = x_k + v_{k+1}: Nesterov's momentum as the usual libraries have it, some of which store
    y_k in place of x_k.  With a set they part: here v_k is the difference of projected iterates, so
    a weight that stays at its bound has no velocity; where v_k is kept apart it is not cut, and
    where y_k is stored, y_k is what is projected.
    raises ValueError for another variant
    """
    check_name("variant", variant, VARIANTS)
    shape, rng = Shape() if shape is None else shape, np.random.default_rng(seed)
    objective = pairs(split.train, split.train_labels, shape)
    start = started(objective, rng)
    if variant == "frozen biases":
        problem = objective.problem
        names = [b.name for b in problem.space.trained]
        own = Control(problem.space, {name: start[name] for name in names})
        held = [name for name in names if name.endswith("bias1")]
        objective = trained_inputs(problem.holding(own, held)[0], objective.input_map)
        start = Control(objective.space, {b.name: start[b.name] for b in objective.space.trained})
    admissible = objective.problem.admissible if "unconstrained" not in variant else None
    shared = {"batch": batch, "rng": rng, "max_iterations": epochs, "report": report}
    method = (
        Adam(step=adam_step, **shared)
        if variant.endswith("Adam")
        else FixedStep(step, momentum=momentum, **shared)
    )
    space, unseen = objective.space, shape.bank(split.test)

    def on_train(moment: Snapshot) -> float:
        outputs = objective.outputs(space.unflatten(moment.state))
        return accuracy(outputs, split.train_labels)

    def on_test(moment: Snapshot) -> float:
        outputs = objective.outputs(space.unflatten(moment.state), unseen)
        return accuracy(outputs, split.test_labels)

    return minimize(
        Composite(objective, None, admissible),  # type: ignore[arg-type]  # its space is cached
        method,
        initial=start,
        monitors=[Monitor(Record("train", on_train)), Monitor(Record("test", on_test))],
        raise_on_failure=False,
    )
