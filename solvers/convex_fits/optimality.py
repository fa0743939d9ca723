"""First-order conditions of a fit in a box: what (12) of the paper says, with the constraints."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array, to_host
from continuum.checks import check_type
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import plain, short
from continuum.sets import Box

from ..adjoint.discretize import discretize


@dataclass(frozen=True, eq=False)
class Stationarity:
    """How far a control is from the conditions of Karush, Kuhn and Tucker in a box.

    With g the gradient: g = 0 where a bound is not met, g >= 0 at a lower one, g <= 0 at an upper
    one. All of it is residual = 0.

    residual : |x - P(x - g)|, P the nearest point of the box, in the norm of the controls' space
    active : by block, which entries lie on a bound
    free : by block, the largest |g| of the other entries; 0 where there are none
    wrong_sign : by block, by how much the worst multiplier has the wrong sign: the largest slope at
        which leaving a bound, inwards, lowers the cost; 0 where all signs are right
    outside : by how much the worst bound is exceeded; <= 0 in the box
    """

    residual: float
    active: Mapping[str, Array]
    free: Mapping[str, float]
    wrong_sign: Mapping[str, float]
    outside: float

    __repr__ = short
    to_dict = plain

    def __str__(self) -> str:
        lines = [f"residual {self.residual:.3e}"]
        for name, mask in self.active.items():
            lines.append(
                f"{name}: {int(mask.sum())} of {mask.size} entries on a bound, largest |g| of the "
                f"others {self.free[name]:.3e}, wrong sign by {self.wrong_sign[name]:.3e}"
            )
        return "\n".join(lines)


@checked
def kkt_residual(problem: LearningProblem, control: Control) -> Stationarity:
    """The first-order conditions of a problem with a Box, or no set, at a control.

    For the network (10) they are (12) of the paper with equality only where the entry of W or c is
    off its bound, and with the conditions on b. Residual 0 is stationarity, not a minimum; where a
    sample sits on a kink of a unit, the gradient is that of the unit not acting.

    raises ValueError for a control of another space, TypeError for another set or a penalty
    Source: Nar and Sastry (2018), (12); it leaves the constraints out.
    """
    space = check_type("problem", problem, LearningProblem).space
    control = space.check("control", control)
    if problem.penalty is not None:
        raise TypeError(f"problem must have no penalty, got {problem.penalty!r}")
    given = Box() if problem.admissible is None else problem.admissible
    box = check_type("problem.admissible", given, Box)
    _, gradient = discretize(problem).value_and_gradient(control)
    moved: dict[str, Array] = {}
    active: dict[str, Array] = {}
    free: dict[str, float] = {}
    wrong: dict[str, float] = {}
    for block in space.trained:
        name = block.name
        x, g = to_host(control[name]), to_host(gradient[name])
        low, high = box.bounds.get(name, (-np.inf, np.inf))
        moved[name] = np.clip(g, x - high, x - low)  # x - P(x - g), without cancellation
        active[name] = (x <= low) | (x >= high)
        free[name] = float(np.max(np.abs(g), where=~active[name], initial=0.0))
        inward = np.where(x <= low, -g, 0.0) + np.where(x >= high, g, 0.0)
        wrong[name] = float(np.max(inward, initial=0.0))
    residual = space.norm(Control(space, moved))
    return Stationarity(residual, active, free, wrong, box.violation(control))
