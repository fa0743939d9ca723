"""Whether runs stay where a sampler looks."""

from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array, to_host
from continuum.checks import check_type
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from ..flow.integrate import integrate
from ..steps.tableaux import RK4, Stepper
from .samplers import SetSampler


@dataclass(frozen=True, eq=False)
class Escapes:
    """Which runs leave a set.

    share : of the samples, each counted once
    times : (M,), NumPy's, the first node of each run that lies outside; infinite where none does
    """

    share: float
    times: Array

    __repr__ = short


@checked
def escapes(
    problem: LearningProblem,
    control: Control,
    sampler: SetSampler,
    stepper: Stepper | None = None,
    steps_per_layer: int = 1,
) -> Escapes:
    """The runs that leave the set of a Cube or a Sphere, as seen at the ends of the steps.

    Where a run is outside, a loss over the set has asked nothing of the field.
    stepper : RK4() unless given
    raises SolveError if a run does not stay finite; TypeError, ValueError for arguments that do not
        fit each other
    """
    check_type("problem", problem, LearningProblem)
    control = problem.space.check("control", control)
    check_type("sampler", sampler, SetSampler)
    run = integrate(
        problem.network,
        control,
        problem.initial,
        RK4() if stepper is None else stepper,
        save="steps",
        steps_per_layer=steps_per_layer,
    ).trajectory
    outside = ~to_host(sampler.contains(run.states))
    left = outside.any(axis=0)
    first = np.where(left, run.times[np.argmax(outside, axis=0)], np.inf)
    return Escapes(float(np.mean(left)), first)
