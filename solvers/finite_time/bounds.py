"""Settling times: what is known, before a run, of the pseudo-time in which errors become 0.

With E and the exponents of PowerLaw, alpha + beta < 1, and lambda <= lambda_min(J J^T) along the
run,

    E' <= -k lambda^((alpha + 1) / 2) (alpha + 1)^alpha E^(alpha + beta),  so
    T <= E_0^(1 - alpha - beta) / [k lambda^((alpha + 1) / 2) (alpha + 1)^alpha (1 - alpha - beta)],

because ||G||_(alpha + 1) >= ||G||_2 >= lambda^(1/2) ||spow(e, alpha)||_2 and ||e||_(2 alpha) >=
||e||_(alpha + 1).  One error that closes has its T exactly.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from continuum.activations import identity, sigmoid
from continuum.arrays import Array
from continuum.checks import check_name, check_positive, check_type
from continuum.controls import Control
from continuum.doors import checked
from continuum.networks import FieldAt
from continuum.problem import LearningProblem
from continuum.readouts import OFFSET, WEIGHT, Affine, Projection, State
from continuum.records import plain

from ..adjoint.discretize import ReducedObjective
from ..steps.tableaux import Euler
from .laws import Closed, Law, PowerLaw, PseudoinverseLaw, SignLaw, gains
from .plants import AffinePlant, Plant, least_eigenvalue, model_of, plant_of
from .powers import reaching_time

Kind: TypeAlias = Literal["corrected", "tangent-kernel", "printed"]


@dataclass(frozen=True)
class SettlingBound:
    """The pseudo-time until which every error has become 0, if one is known.

    time : None if none is known;  reason : why it holds, or why there is none
    kind : "exact": the time itself;  "bound": no run of w' = u(w) takes longer;  "conditional": the
        same if lambda_min(J J^T) stays above the number given;  "printed": the paper's formula,
        which bounds nothing where `reason` says so;  "none"
    lambda_min : of J J^T along the run, as far as known;  objective : E at the start
    printed : the paper's (17) or (18) for comparison, None where it has no meaning
    """

    time: float | None
    reason: str
    kind: Literal["exact", "bound", "conditional", "printed", "none"]
    lambda_min: float | None
    objective: float
    printed: float | None

    to_dict = plain

    def __str__(self) -> str:
        said = f"no settling time: {self.reason}"
        if self.time is not None:
            word = "=" if self.kind == "exact" else "<="
            said = f"settles at pseudo-time T {word} {self.time:.6g} ({self.kind}): {self.reason}"
        if self.lambda_min is not None:
            said += f"; lambda_min(J J^T) >= {self.lambda_min:.6g}"
        if self.printed is not None:
            said += f"; as the paper prints it {self.printed:.6g}"
        return said


@checked
def settling_bound(
    regression: LearningProblem | ReducedObjective,
    start: Control,
    law: Law,
    kind: Kind = "corrected",
    *,
    model: LearningProblem | ReducedObjective | None = None,
    lambda_along: float | None = None,
    gamma: float | None = None,
) -> SettlingBound:
    """A settling time of w' = u(w), known before the run, or the reason why there is none.

    kind : "corrected" is exact where the error closes, and else the bound by the tangent kernel;
        "tangent-kernel" is that bound also where more is known; "printed" is (17) for SignLaw and
        (18) for PowerLaw, which are not bounds in general
    model : as in train_in_time; only errors that close have a time then
    lambda_along : a lower bound of lambda_min(J J^T) along the run, where none is known: for a
        network whose J depends on its weights.  The time is then conditional on it
    gamma : the lower bound of the inputs in the printed formulas; that of the data, the least of
        max |x| over the samples, unless given
    lambda is known before the run where the output is affine in the weights; where a sigmoid
    follows and E_0 keeps outputs away from 0 and 1; and for one sample whose output has trained
    biases.
    raises ValueError for alpha + beta >= 1, for more errors than weights that move an output, for
        targets 0 and 1 without smoothing for SignLaw, and a start of another space; TypeError for
        what is no law or regression
    """
    check_type("law", law, Law)
    check_name("kind", kind, ("corrected", "tangent-kernel", "printed"))
    plant = plant_of(regression)
    believed = model_of(plant, model)
    e = plant.errors(plant.space.flatten(plant.space.check("start", start)))
    law.check(plant, believed)
    gain = _least_gain(plant, law)
    gamma = None if gamma is None else check_positive("gamma", gamma)
    facts = law.objective(e), _printed(plant, law, law.objective(e), gain, gamma)
    if kind == "printed":
        words = "as printed, in pseudo-time; not a bound in general"
        if facts[1] is None:
            words = "the paper's formula needs one layer, or gamma, for law (3) or (13)"
            return _none(words, facts)
        return SettlingBound(facts[1], words, "printed", None, *facts)
    if not np.any(e):
        return SettlingBound(0.0, "every error is 0 at the start", "exact", None, *facts)
    if kind == "corrected":
        found = _closed(law.closed(plant, believed), e, facts)
        if found is not None:
            return found
    if believed is not plant:
        words = "the law takes its derivatives from another problem, and its errors do not close"
        return _none(words, facts)
    if not isinstance(law, PowerLaw):
        words = "the bound by the tangent kernel is one for PowerLaw"
        return _none(words if kind == "tangent-kernel" else _no_time(law), facts)
    return _by_kernel(plant, law, e, gain, lambda_along, facts)


Facts: TypeAlias = tuple[float, float | None]


def _none(reason: str, facts: Facts, known: float | None = None) -> SettlingBound:
    return SettlingBound(None, reason, "none", known, *facts)


def _least_gain(plant: Plant, law: Law) -> float:
    """The least gain of the weights that move an output.

    raises ValueError where no settling time can be proved: exponents too large, too many errors
    """
    if isinstance(law, PowerLaw) and law.alpha + law.beta >= 1.0:
        raise ValueError(
            f"alpha + beta must be < 1 for a settling time, got {law.alpha:g} + {law.beta:g}: "
            "errors then fall for ever, like a power of time"
        )
    moving = np.ones(plant.space.size, dtype=bool)
    if isinstance(plant, AffinePlant):
        moving = np.any(plant.matrix != 0.0, axis=0)
    errors, weights = len(plant.target), np.count_nonzero(moving)
    if errors > weights:
        raise ValueError(
            f"{errors} errors (outputs times samples) but {weights} weights that move an output: "
            "J J^T is singular and no settling time is proved; train on fewer samples or with more "
            "weights"
        )
    return float(np.min(gains(law.gain, plant.space)[moving]))


def _closed(closed: Closed | None, e: Array, facts: Facts) -> SettlingBound | None:
    """The exact time of errors with an equation of their own."""
    if closed is None:
        return None
    if closed.layer:
        words = "inside the boundary layer errors die out exponentially: they never are 0"
        return _none(words, facts)
    if closed.rate <= 0.0:
        words = f"e' = {-closed.rate:.6g} spow(e, {closed.power:g}): errors do not fall"
        return _none(words, facts)
    time = float(np.max(reaching_time(np.abs(e), closed.rate, closed.power)))
    words = f"e' = -{closed.rate:.6g} spow(e, {closed.power:g}) for each error"
    return SettlingBound(time, words, "exact", None, *facts)


def _no_time(law: Law) -> str:
    if isinstance(law, SignLaw):
        return (
            "law (3) has a settling time for one sample and no floor: on several its sum can be 0 "
            "with errors left, and its loss can rise"
        )
    return (
        "J depends on the weights or its rows are dependent: each |e| falls as "
        "|e|^(1 - nu) - k (1 - nu) t while the rows are independent, which is not known before the "
        "run"
    )


def _by_kernel(
    plant: Plant, law: PowerLaw, e: Array, gain: float, lambda_along: float | None, facts: Facts
) -> SettlingBound:
    """The bound with what is known of lambda."""
    known, words, kind = _lambda(plant, law, e), "lambda_min(J J^T) is known along the run", "bound"
    if known is None and lambda_along is not None:
        known, kind = check_positive("lambda_along", lambda_along), "conditional"
        words = "if lambda_min(J J^T) >= lambda_along along the run; its history says whether"
    if known is None:
        words = (
            "lambda_min(J J^T) depends on the weights and is not known along the run: give "
            "lambda_along for a time conditional on it"
        )
        return _none(words, facts)
    if known == 0.0:
        words = "the rows of J are dependent: the law may come to rest with errors left"
        return _none(words, facts, 0.0)
    a, left = law.alpha + 1.0, 1.0 - law.alpha - law.beta
    time = facts[0] ** left / (gain * known ** (0.5 * a) * a**law.alpha * left)
    return SettlingBound(float(time), words, kind, known, *facts)


def _lambda(plant: Plant, law: PowerLaw, e: Array) -> float | None:
    """A lower bound of lambda_min(J J^T) wherever law (13) can go; None if none is known."""
    if isinstance(plant, AffinePlant):
        known = least_eigenvalue(plant.matrix)
        if plant.linear or known == 0.0:
            return known
        # E falls, so that no error outgrows ((alpha + 1) E_0)^(1 / (alpha + 1))
        most = ((law.alpha + 1.0) * law.objective(e)) ** (1.0 / (law.alpha + 1.0))
        low, high = np.min(plant.target) - most, np.max(plant.target) + most
        if plant.link is not sigmoid or low <= 0.0 or high >= 1.0:
            return None
        return known * min(low * (1.0 - low), high * (1.0 - high)) ** 2
    if plant.samples > 1:
        return None
    return _bias_bound(plant.objective) or None


def _bias_bound(objective: ReducedObjective) -> float:
    """lambda_min of the part of J J^T that trained biases of the outputs have for one sample; 0
    where there are none.
    """
    problem, readout = objective.problem, objective.problem.readout
    network, space = problem.network, problem.space
    trained = {b.name for b in space.trained}
    moved = np.eye(len(network.weights))
    if isinstance(readout, Projection):
        moved = readout.matrix
    elif type(readout) is Affine and readout.link is identity:
        if OFFSET in trained:
            return 1.0
        if WEIGHT in trained:
            return 0.0
        moved = space.fixed[WEIGHT]
    elif not isinstance(readout, State):
        return 0.0
    one_step = isinstance(objective.stepper, Euler) and problem.mesh.layers == 1
    if not isinstance(network, FieldAt) or not one_step or objective.steps_per_layer > 1:
        return 0.0
    field, last = network.field, f"bias{len(network.field.hidden) + 1}"
    if last not in trained or space.axes[last].length:
        return 0.0  # a block with coefficients in time has other flat coordinates
    if field.norm_bound is not None:
        return 0.0  # outputs that are bounded are hardly moved by a large bias
    derivative = problem.mesh.horizon * field.scale * moved
    if field.centred:
        derivative = derivative - np.mean(derivative, axis=1, keepdims=True)
    return least_eigenvalue(derivative)


def _printed(
    plant: Plant, law: Law, objective: float, gain: float, gamma: float | None
) -> float | None:
    """(17): E^(1 - b) / (k gamma (1 - b)), b = alpha / (alpha + 1); (18): E^(1 - beta) /
    (k gamma^(alpha + 1) (1 - beta)).
    """
    if gamma is None and isinstance(plant, AffinePlant):
        gamma = float(np.min(np.max(np.abs(plant.matrix), axis=1)))
    if gamma is None or isinstance(law, PseudoinverseLaw):
        return None
    if isinstance(law, SignLaw):
        left = 1.0 / (law.alpha + 1.0)
        return float(objective**left / (gain * gamma * left))
    if isinstance(law, PowerLaw):
        left = 1.0 - law.beta
        return float(objective**left / (gain * gamma ** (law.alpha + 1.0) * left))
    return None
