"""The Monte Carlo Lyapunov loss: the violation of decay, averaged over samples and drawn points."""

import copy
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_positive, check_rng, check_type, store
from continuum.controls import Control
from continuum.doors import checked
from continuum.networks import FieldAt
from continuum.problem import LearningProblem
from continuum.records import short

from ..adjoint.discretize import discretize
from ..steps.implicit import ImplicitRungeKutta
from ..steps.tableaux import RK4, RungeKutta
from .objective import DrawnObjective, check_problem, check_steps
from .pairs import Pairs, takes, violations
from .pointwise import Points, Violations, active, hinged
from .samplers import Sampler


@checked
@dataclass(frozen=True, eq=False)
class MonteCarloLyapunov(DrawnObjective):
    """loss(c) = (1 / L) sum_l sum_m s_m max(0, r_m(z_l, t_l)),  r = (grad V, F) + kappa V,

    over L points of a sampler, V the terminal cost of the problem.  If r <= 0 at every state and
    time, V falls at the rate kappa along every path; a mean over points does not say that.

    problem : with a loss of a readout as terminal cost, without running cost and endpoint; its
        penalty is added
    kappa : the rate, > 0
    sampler : Cube, Sphere, Tube, Given
    stepper, steps_per_layer : of the runs that Tube follows
    rng : a copy of it draws the points of `value`, the same in every call; seed 0 if None.
        `batch(indices, rng)` draws its own
    raises ValueError, TypeError for arguments that do not fit each other
    Source: Jimenez Rodriguez et al., LyaNet, algorithm 1.
    """

    problem: LearningProblem
    kappa: float
    sampler: Sampler
    _: KW_ONLY
    stepper: RungeKutta | ImplicitRungeKutta = field(default_factory=RK4)
    steps_per_layer: int = 1
    rng: np.random.Generator | None = None

    __repr__ = short

    def __post_init__(self) -> None:
        check_problem(self.problem)
        check_steps(self.stepper, self.steps_per_layer)
        store(self, check_positive, "kappa")
        check_type("sampler", self.sampler, Sampler)
        self._draw_from(copy.deepcopy(check_rng("rng", self.rng)))
        self.sampler.check(self.problem, self.kappa)

    @property
    def semi_gradient(self) -> bool:
        """True if the sampler follows the runs of the control."""
        return self.sampler.semi_gradient

    def active_share(self, control: Control) -> float:
        """The share of the pairs of a sample and a point of `value` with r > 0."""
        control = self.space.check("control", control).like(self.problem.initial)
        return active(self._violations(control))

    def _loss(self, control: Control, total: Mapping[str, Array] | None) -> float:
        return hinged(self.problem, self._violations(control, total))[0]

    def _violations(self, control: Control, total: Mapping[str, Array] | None = None) -> Array:
        """r (L, M); the derivative of the loss is collected in `total` if given."""
        problem, network, points = self.problem, self.problem.network, self.points(control)
        if isinstance(network, FieldAt) and takes(problem, control, points):
            pairs = Pairs.of(problem, control, points, self.kappa)
            r, bars = violations(network, control, pairs, total is not None)
            if total is not None:
                problem.space.scatter(total, 0, 0.0, bars, 1.0)
            return r.T
        found = Violations(problem, control, points, self.kappa)
        if total is not None:
            value, q = hinged(problem, found.r)
            if value > 0:
                found.adjoint(q, total, states=False)
        return found.r

    def _drawn(self, control: Control, rng: np.random.Generator) -> Points:
        return self.sampler.draw(self.problem, rng, lambda: self._run(control))

    def _run(self, control: Control) -> tuple[Array, Array]:
        """The times and states of the run."""
        sweeps = discretize(self.problem, self.stepper, self.steps_per_layer).sweeps(control)
        tape = sweeps.states(self.problem.initial, 0, len(sweeps.steps))
        times = np.append(sweeps.steps.start, self.problem.mesh.horizon)
        return times, tape.stacked(np.arange(len(times)))
