"""What a law of training steers: the errors of a network as a function of its weights.

With flat coordinates w of the control, the S = P M errors are e = o(w) - y, outputs first, then
samples, and J = D o(w).  Where the output is a link of something affine in the weights, o = h(z),
z = A w + b, this is known once and for all (`AffinePlant`); otherwise the network is run.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from continuum.activations import Activation, identity
from continuum.arrays import Array, is_numpy
from continuum.controls import Control, ControlSpace
from continuum.doors import checked
from continuum.losses import Loss
from continuum.networks import Staged
from continuum.problem import LearningProblem
from continuum.readouts import Affine, Projection, Softmax, State, TrainableReadout

from ..adjoint.discretize import ReducedObjective, discretize
from ..steps.tableaux import Euler


class Plant(ABC):
    """Errors e (S,) and their derivatives at flat coordinates w (W,)."""

    objective: ReducedObjective

    @abstractmethod
    def outputs(self, w: Array) -> Array:
        """o (S,)."""

    @abstractmethod
    def jacobian(self, w: Array) -> Array:
        """J (S, W)."""

    @abstractmethod
    def pulled(self, w: Array, q: Array) -> Array:
        """J^T q (W,), for q (S,)."""

    def errors(self, w: Array) -> Array:
        """e = o - y: (S,)."""
        return self.outputs(w) - self.target

    @cached_property
    def target(self) -> Array:
        """y (S,)."""
        return np.asarray(self.objective.problem.target).reshape(-1)

    @property
    def space(self) -> ControlSpace:
        """Of the controls."""
        return self.objective.space

    @property
    def samples(self) -> int:
        """M."""
        return self.objective.problem.initial.shape[1]


@dataclass(frozen=True, eq=False)
class NetworkPlant(Plant):
    """The errors of any network: its discrete run for outputs, adjoint sweeps for J, the last of
    which is kept.
    """

    objective: ReducedObjective
    _last: dict[str, Array] = field(default_factory=dict, repr=False)

    def outputs(self, w: Array) -> Array:
        return final_outputs(self.objective, self.space.unflatten(w)).reshape(-1)

    def jacobian(self, w: Array) -> Array:
        known = self._last.get("w")
        if known is None or not np.array_equal(known, w):
            control = self.space.unflatten(w)
            slopes = np.stack([self._row(one, control) for one in self._entries])
            self._last.update(w=w.copy(), jacobian=slopes)
        return self._last["jacobian"]

    def pulled(self, w: Array, q: Array) -> Array:
        problem = self.objective.problem
        shape = (-1, self.samples)
        seen = replace(problem, terminal=_Linear(), target=q.reshape(shape) * self.samples)
        return self._row(replace(self.objective, problem=seen), self.space.unflatten(w))

    def _row(self, objective: ReducedObjective, control: Control) -> Array:
        return self.space.flatten(objective.value_and_gradient(control)[1])

    @cached_property
    def _entries(self) -> list[ReducedObjective]:
        """For each output of each sample, that output alone as the cost."""
        problem = replace(
            self.objective.problem,
            running=None,
            penalty=None,
            admissible=None,
            endpoint=None,
            sample_weights=None,
        )
        alone = [problem.batch([m]) for m in range(self.samples)]
        rows = np.eye(len(self.target) // self.samples)
        return [
            replace(self.objective, problem=replace(one, terminal=_Linear(), target=row[:, None]))
            for row in rows
            for one in alone
        ]


@dataclass(frozen=True, eq=False)
class AffinePlant(Plant):
    """o = h(z), z = A w + b: a neuron, or a readout on features that are not trained.

    matrix : A (S, W);  offset : b (S,);  link : h
    """

    objective: ReducedObjective
    matrix: Array
    offset: Array
    link: Activation

    def scores(self, w: Array) -> Array:
        """z (S,)."""
        return self.matrix @ w + self.offset

    def slopes(self, w: Array) -> Array:
        """h'(z) (S,), computed from z."""
        return self.link.derivative(self.scores(w))

    def outputs(self, w: Array) -> Array:
        return self.link.value(self.scores(w))

    def jacobian(self, w: Array) -> Array:
        return self.slopes(w)[:, None] * self.matrix

    def pulled(self, w: Array, q: Array) -> Array:
        return self.matrix.T @ (self.slopes(w) * q)

    @property
    def linear(self) -> bool:
        """True if the output itself is affine in the weights."""
        return self.link is identity


def plant_of(regression: LearningProblem | ReducedObjective) -> Plant:
    """The plant of a problem, discretized by Euler, or of an objective.

    raises TypeError, ValueError for problems with more than a terminal cost, for sample weights
    that differ, and for outputs with weights other than 1, since the laws count every error once
    """
    objective = objective_of(regression)
    problem = objective.problem
    if problem.target is None:
        raise ValueError("the regression has no target")
    for name in ("running", "penalty", "admissible", "endpoint"):
        if getattr(problem, name) is not None:
            raise ValueError(f"a law of training knows no {name}: leave it out of the regression")
    weights = problem.sample_weights
    if not np.allclose(weights, weights[0], rtol=1e-12, atol=0.0):
        raise ValueError("a law of training counts every sample once: sample_weights must be equal")
    if problem.target.shape != (len(problem.readout.measure(problem.network)), len(weights)):
        raise ValueError("the target must have one number for each output of each sample")
    link = _affine_link(objective)
    if link is None:
        return NetworkPlant(objective)
    bare = objective
    if isinstance(problem.readout, TrainableReadout):
        readout = replace(problem.readout, link=identity)
        bare = replace(objective, problem=replace(problem, readout=readout))
    origin = objective.space.zeros()
    matrix = output_jacobian(bare, origin)
    return AffinePlant(objective, matrix, final_outputs(bare, origin).reshape(-1), link)


def model_of(plant: Plant, model: LearningProblem | ReducedObjective | None) -> Plant:
    """The plant of which a law takes the derivatives: that of `model`, the plant itself if None.

    raises TypeError, ValueError for a model with other controls, or another number of errors
    """
    if model is None:
        return plant
    believed = plant_of(model)
    plant.space.check("the control of the model", believed.space.zeros())
    if len(believed.target) != len(plant.target):
        raise ValueError(
            f"model has {len(believed.target)} errors (outputs times samples), the regression "
            f"{len(plant.target)}"
        )
    return believed


@checked
def output_jacobian(regression: LearningProblem | ReducedObjective, control: Control) -> Array:
    """J (P M, W): the derivatives of all outputs readout(f(T)), sample by sample inside each
    output, in the flat coordinates of the control, by one adjoint sweep each.

    Flat coordinates are those of `space.flatten`; of static blocks with weights 1 they are the
    entries.  Costs, penalty, sample weights and conditions of the problem are not read.
    raises TypeError for other arguments, ValueError for a control of another space
    """
    objective = objective_of(regression)
    control = objective.space.check("control", control)
    return NetworkPlant(objective).jacobian(objective.space.flatten(control))


def least_eigenvalue(jacobian: Array) -> float:
    """lambda_min(J J^T), 0 where it is not above rounding."""
    rows, columns = jacobian.shape
    if rows > columns:
        return 0.0
    sizes = np.linalg.svd(jacobian, compute_uv=False)
    if sizes[-1] <= max(rows, columns) * np.finfo(float).eps * sizes[0]:
        return 0.0
    return float(sizes[-1] ** 2)


def final_outputs(objective: ReducedObjective, control: Control) -> Array:
    """readout(f(T)): (P, M)."""
    problem, sweeps = objective.problem, objective.sweeps(control)
    final = sweeps.advance(problem.initial, 0, len(sweeps.steps))
    values = control.at_layer(problem.mesh.layers - 1, problem.mesh.horizon)
    return problem.readout.output(problem.network, final, values)


def objective_of(regression: LearningProblem | ReducedObjective) -> ReducedObjective:
    """The discretized problem.  Raises TypeError, ValueError for what no plant can be made of."""
    if isinstance(regression, LearningProblem):
        if isinstance(regression.network, Staged):
            raise TypeError("the network of a regression must not be Staged")
        regression = discretize(regression)
    if type(regression) is not ReducedObjective:
        raise TypeError(f"regression must be a LearningProblem, got {regression!r}")
    problem = regression.problem
    if not is_numpy(problem.initial):
        raise TypeError("a regression must hold NumPy arrays")
    if np.any(problem.readout.measure(problem.network) != 1.0):
        raise ValueError("the outputs of a regression must be numbers, with weights 1")
    return regression


def _affine_link(objective: ReducedObjective) -> Activation | None:
    """The link of an output that is affine in the weights before it, None for other outputs."""
    problem, readout = objective.problem, objective.problem.readout
    if isinstance(readout, Softmax) or not isinstance(readout, State | Projection | Affine):
        return None
    trained = {b.name for b in problem.space.trained}
    own = {b.name for b in readout.blocks(problem.network)} & trained
    one_step = isinstance(objective.stepper, Euler) and problem.mesh.layers == 1
    one_step = one_step and objective.steps_per_layer == 1
    if not (own == trained or (not own and one_step and problem.network.affine_in_control)):
        return None
    return readout.link if isinstance(readout, TrainableReadout) else identity


@dataclass(frozen=True)
class _Linear(Loss):
    """ell(o, y) = sum_i v_i y_i o_i, whose gradient is the target."""

    def value(self, o: Array, y: Array, v: Array) -> Array:
        return v @ (y * o)

    def gradient(self, o: Array, y: Array, v: Array) -> Array:
        return y

    def hvp(self, o: Array, y: Array, v: Array, do: Array) -> Array:
        return 0.0 * do

    def formula(self, output: str, target: str = "target") -> str:
        return f"({output}, {target})"
