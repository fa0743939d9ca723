"""Training towards forward invariance: on the faces of the cone of the right class the field should
point inwards.

For scores z in R^k the cone of class y is {z_y >= z_i for all i}, its faces are {z_y = z_j >= z_i
for all i}, j != y.  Where f_y - f_j > 0 on every face, no path that starts in the cone leaves it,
whatever the rate at which it goes.  A loss over drawn points asks for this, and does not prove it.
"""

import copy
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

import numpy as np

from continuum.arrays import Array, like, namespace, to_host
from continuum.checks import check_positive, check_rng, check_type, store
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.readouts import State
from continuum.records import short

from .objective import DrawnObjective, check_problem
from .pointwise import Points, Velocities, active, hinged, lyapunov_function
from .samplers import SetSampler


@checked
@dataclass(frozen=True, eq=False)
class BarrierLoss(DrawnObjective):
    """loss(c) = (1 / L) sum_l sum_m s_m max(0, margin - (f_y - f_j)),  f = F(z_lm, c(t_l), t_l),

    y the class of sample m, over L points of a sampler: the state of point l, moved to the nearest
    state of the face {z_y = z_j >= z_i} of each sample's cone; j = y + d_l modulo k, with d_l = 1,
    ..., k - 1 in turn, so that every face is met alike.

    problem : with the state as its outputs and labels as its target, which starts inside the cones
    margin : > 0; perturbations that change f by less than margin / 2 in every entry then leave the
        drawn points' velocities inwards
    sampler : Cube, Sphere
    centred : if True the means over the entries of the states are taken off: for a field that
        keeps them 0
    rng : as in MonteCarloLyapunov
    raises ValueError, TypeError for arguments that do not fit each other
    Source: theory ledger, A1.6, barrier form of the certificate.
    """

    problem: LearningProblem
    margin: float
    sampler: SetSampler
    _: KW_ONLY
    centred: bool = False
    rng: np.random.Generator | None = None

    __repr__ = short

    def __post_init__(self) -> None:
        check_problem(self.problem)
        store(self, check_positive, "margin")
        check_type("sampler", self.sampler, SetSampler)
        self._draw_from(copy.deepcopy(check_rng("rng", self.rng)))
        cost, weights = lyapunov_function(self.problem), self.problem.network.weights
        if not isinstance(cost.readout, State) or np.any(weights != 1.0) or len(weights) < 2:
            raise TypeError(
                "problem must have the readout State(), on a state in R^k, k >= 2: the faces are "
                "those of states"
            )
        labels = _labels(self.problem)
        if not np.all((labels == 0.0) | (labels == 1.0)):
            raise ValueError("target must hold labels, each sample in one class")
        start = to_host(self.problem.initial)
        outside = np.sum(labels * start, axis=0) < np.max(start, axis=0)
        if outside.any():
            raise ValueError(
                f"problem.initial of sample {int(np.flatnonzero(outside)[0])} lies outside the "
                "cone of its class: no barrier can keep its path inside"
            )
        self.sampler.check_starts(self.problem)

    def active_share(self, control: Control) -> float:
        """The share of the pairs of a sample and a point of `value` with f_y - f_j < margin."""
        control = self.space.check("control", control).like(self.problem.initial)
        return active(self._lack(control)[0])

    def _loss(self, control: Control, total: Mapping[str, Array] | None) -> float:
        lack, field, signs = self._lack(control)
        value, q = hinged(self.problem, lack)
        if total is not None and value > 0:
            field.adjoint(-q[:, None, :] * signs, total)
        return value

    def _lack(self, control: Control) -> tuple[Array, Velocities, Array]:
        """margin - (f_y - f_j) (L, M), the velocities, and e_y - e_j (L, k, M)."""
        points = self.points(control)
        field = Velocities(self.problem, control, points)
        right, other = _classes(_labels(self.problem), len(points))
        signs = like(right - other, points.states)
        return self.margin - namespace(signs).sum(signs * field.values, axis=1), field, signs

    def _drawn(self, control: Control, rng: np.random.Generator) -> Points:
        initial = self.problem.initial
        drawn = self.sampler.draw(self.problem, rng, lambda: (np.zeros(1), initial[None, ...]))
        right, other = _classes(_labels(self.problem), len(drawn))
        states = onto_faces(to_host(drawn.of_samples(self.samples)), right + other > 0)
        if self.centred:
            states = states - np.mean(states, axis=1, keepdims=True)
        return Points(like(states, initial), drawn.times, drawn.layers)


def onto_faces(states: Array, equal: Array) -> Array:
    """(L, k, M): the states nearest to those given in which the entries marked in `equal`, two of
    each, are the same and no other is larger.

    With a = max_n of the mean of the two and of the n largest others, these two become a, and the
    others are cut at a.
    """
    pair = np.sum(np.where(equal, states, 0.0), axis=1, keepdims=True)
    others = -np.sort(np.where(equal, np.inf, -states), axis=1)[:, :-2, :]
    sums = pair + np.concatenate([np.zeros_like(pair), np.cumsum(others, axis=1)], axis=1)
    counts = np.arange(2, states.shape[1] + 1)[:, None]
    top = np.max(sums / counts, axis=1, keepdims=True)
    return np.where(equal, top, np.minimum(states, top))


def _labels(problem: LearningProblem) -> Array:
    """(k, M), NumPy's: the unit vectors of the classes."""
    return to_host(lyapunov_function(problem).target)  # type: ignore[arg-type]  # an array


def _classes(labels: Array, count: int) -> tuple[Array, Array]:
    """(L, k, M) each: e_y and e_j of the faces of the points."""
    classes = len(labels)
    shifts = 1 + np.arange(count) % (classes - 1)
    other = np.stack([np.roll(labels, d, axis=0) for d in shifts])
    return np.broadcast_to(labels, other.shape), other
