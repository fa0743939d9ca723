"""The Monte Carlo Lyapunov loss: the violation of decay, averaged over samples and drawn points."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from continuum.arrays import Array, namespace
from continuum.checks import check_positive, check_rng, check_type, store
from continuum.controls import Control
from continuum.problem import LearningProblem

from ..steps.implicit import ImplicitRungeKutta
from ..steps.tableaux import RK4, RungeKutta
from .objective import LyapunovObjective, check_problem
from .pointwise import Points, Violations, hinged
from .samplers import Sampler


@dataclass(frozen=True, eq=False)
class MonteCarloLyapunov(LyapunovObjective):
    """loss(c) = (1 / L) sum_l sum_m s_m max(0, r_m(z_l, t_l)),  r = (grad V, F) + kappa V,

    over L points of a sampler, V the terminal cost of the problem.  If r <= 0 at every state and
    time, V falls at the rate kappa along every path; a mean over points does not say that.

    problem : with a loss of a readout as terminal cost, without running cost and endpoint; its
        penalty is added
    kappa : the rate, > 0
    sampler : Cube, Sphere, Tube, Given
    stepper, steps_per_layer : of the runs that Tube follows
    rng : draws the points of `value`, the same in every call; seed 0 if None.  `batch(indices,
        rng)` draws its own
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

    def __post_init__(self) -> None:
        check_problem(self.problem, self.stepper, self.steps_per_layer)
        store(self, check_positive, "kappa")
        check_type("sampler", self.sampler, Sampler)
        self.sampler.check(self.problem, self.kappa)
        object.__setattr__(self, "rng", copy.deepcopy(check_rng("rng", self.rng)))

    @property
    def semi_gradient(self) -> bool:
        """True if the sampler follows the runs of the control."""
        return self.sampler.semi_gradient

    def batch(
        self, indices: Sequence[int] | Array, rng: np.random.Generator | None = None
    ) -> "MonteCarloLyapunov":
        part = super().batch(indices)
        if rng is not None:
            object.__setattr__(part, "rng", np.random.default_rng(rng.integers(2**63)))
        return part

    def points(self, control: Control) -> Points:
        """The points of `value`."""
        control = self.space.check("control", control).like(self.problem.initial)
        return self._points(control)

    def active_share(self, control: Control) -> float:
        """The share of the pairs of a sample and a point of `value` with r > 0."""
        control = self.space.check("control", control).like(self.problem.initial)
        r = Violations(self.problem, control, self._points(control), self.kappa).r
        return float(namespace(r).count_nonzero(r > 0)) / (r.shape[0] * r.shape[1])

    def _loss(self, control: Control, total: Mapping[str, Array] | None) -> float:
        found = Violations(self.problem, control, self._points(control), self.kappa)
        value, q = hinged(self.problem, found.r)
        if total is not None and value > 0:
            found.adjoint(q, total, states=False)
        return value

    def _points(self, control: Control) -> Points:
        rng = copy.deepcopy(check_rng("rng", self.rng))
        return self.sampler.draw(self.problem, rng, lambda: self._run(control))

    def _run(self, control: Control) -> tuple[Array, Array]:
        """The times and states of the run."""
        sweeps = self._sweeps(control)
        tape = sweeps.states(self.problem.initial, 0, len(sweeps.steps))
        times = np.append(sweeps.steps.start, self.problem.mesh.horizon)
        return times, tape.stacked(np.arange(len(times)))
