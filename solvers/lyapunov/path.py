"""The path-integral Lyapunov loss: the violation of decay at the nodes of a run."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal

import numpy as np

from continuum.arrays import Array, like, namespace
from continuum.checks import check_name, check_positive, store
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from ..adjoint.discretize import discretize
from ..adjoint.tape import Backward, Seeds, Sweeps, Tape
from ..flow.advance import Steps
from ..steps.implicit import ImplicitRungeKutta
from ..steps.tableaux import RK4, RungeKutta
from .objective import LyapunovObjective, check_problem, check_steps
from .pointwise import Points, Potentials, Violations, active, hinged

Form = Literal["continuous", "discrete", "euler"]


@checked
@dataclass(frozen=True, eq=False)
class PathLyapunov(LyapunovObjective):
    """The mean over samples and over the nodes t_0, ..., t_S of the run, or over its steps h_j =
    t_j - t_(j-1), of

        continuous   max(0, (grad V, F) + kappa V)                    at the nodes j = 0, ..., S,
        discrete     max(0, V_j - exp(-kappa h_j) V_(j-1)) / h_j      j = 1, ..., S,
        euler        max(0, V_j - (1 - kappa h_j) V_(j-1)) / h_j      j = 1, ..., S,

    V the terminal cost of the problem.  At a node between two layers the control is that of the
    later one.

    problem : with a loss of a readout as terminal cost, without running cost and endpoint; its
        penalty is added
    kappa : the rate, > 0
    stepper, steps_per_layer : of the run
    semi : if True the gradient is a semi-gradient: continuous, the states of the run are held;
        discrete and euler, V_(j-1) is
    raises ValueError, TypeError for arguments that do not fit each other, and for euler with
        kappa h_j >= 1, where no V >= 0 satisfies the condition
    Source: Jimenez Rodriguez et al., LyaNet, (13) and (16), whose V_j + (kappa - 1) V_(j-1) has h_j
        missing.
    """

    problem: LearningProblem
    kappa: float
    _: KW_ONLY
    stepper: RungeKutta | ImplicitRungeKutta = field(default_factory=RK4)
    steps_per_layer: int = 1
    form: Form = "continuous"
    semi: bool = False

    __repr__ = short

    def __post_init__(self) -> None:
        check_problem(self.problem)
        check_steps(self.stepper, self.steps_per_layer)
        store(self, check_positive, "kappa")
        check_name("form", self.form, ("continuous", "discrete", "euler"))
        step = float(np.max(self.problem.mesh.steps)) / self.steps_per_layer
        if self.form == "euler" and self.kappa * step >= 1.0:
            raise ValueError(
                f"kappa times the step must be < 1 in the euler form, it is {self.kappa * step:g}: "
                "take more steps_per_layer, or form='discrete', which has exp(-kappa h)"
            )

    @property
    def semi_gradient(self) -> bool:
        """`semi`."""
        return self.semi

    def active_share(self, control: Control) -> float:
        """The share of the pairs of a sample and a node, or a step, at which the hinge is
        active.
        """
        control = self.space.check("control", control).like(self.problem.initial)
        sweeps = self._sweeps(control)
        tape = sweeps.states(self.problem.initial, 0, len(sweeps.steps))
        points = _points(sweeps, tape)
        if self.form == "continuous":
            r = Violations(self.problem, control, points, self.kappa).r
        else:
            r = self._increments(Potentials(self.problem, control, points), sweeps.steps)
        return active(r)

    def _loss(self, control: Control, total: Mapping[str, Array] | None) -> float:
        sweeps = self._sweeps(control)
        kept = sweeps.states if total is None else sweeps.record
        tape = kept(self.problem.initial, 0, len(sweeps.steps))
        loss = self._continuous if self.form == "continuous" else self._discrete
        value, seeds = loss(control, _points(sweeps, tape), sweeps.steps, total)
        if total is not None and seeds is not None:
            # both blocks of the field and of the readout may have something in them
            Backward(sweeps, dict(total)).follow(
                tape, Seeds(np.arange(seeds.shape[0]), seeds), list(total)
            )
        return value

    def _sweeps(self, control: Control) -> Sweeps:
        """Those of the run of a control that is where the states are."""
        return discretize(self.problem, self.stepper, self.steps_per_layer).sweeps(control)

    def _continuous(
        self, control: Control, points: Points, steps: Steps, total: Mapping[str, Array] | None
    ) -> tuple[float, Array | None]:
        """The loss, and its derivative in the states of the nodes unless they are held."""
        found = Violations(self.problem, control, points, self.kappa)
        value, q = hinged(self.problem, found.r)
        if total is None or value == 0.0:
            return value, None
        seeds = found.adjoint(q, total, states=not self.semi)
        return value, None if self.semi else seeds

    def _discrete(
        self, control: Control, points: Points, steps: Steps, total: Mapping[str, Array] | None
    ) -> tuple[float, Array | None]:
        """The same for the increments of V."""
        found = Potentials(self.problem, control, points)
        value, q = hinged(self.problem, self._increments(found, steps))
        if total is None or value == 0.0:
            return value, None
        later, earlier = (like(x[:, None], q) * q for x in self._factors(steps))
        xp = namespace(q)
        none = xp.zeros_like(q[:1, :])
        share = xp.concat([none, later], axis=0)
        if not self.semi:
            share = share - xp.concat([earlier, none], axis=0)
        return value, found.adjoint(share, total)

    def _increments(self, found: Potentials, steps: Steps) -> Array:
        """(S, M): what is cut at 0."""
        v = found.values
        later, earlier = (like(x[:, None], v) for x in self._factors(steps))
        return later * v[1:, :] - earlier * v[:-1, :]

    def _factors(self, steps: Steps) -> tuple[Array, Array]:
        """(S,) each: those of V_j and of V_(j-1)."""
        h = steps.size
        kept = np.exp(-self.kappa * h) if self.form == "discrete" else 1.0 - self.kappa * h
        return 1.0 / h, kept / h


def _points(sweeps: Sweeps, tape: Tape) -> Points:
    """The nodes of a run."""
    steps, mesh = sweeps.steps, sweeps.problem.mesh
    return Points(
        tape.stacked(np.arange(len(steps) + 1)),
        np.append(steps.start, mesh.horizon),
        np.append(steps.layer, mesh.layers - 1),
    )
