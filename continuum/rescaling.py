"""The same problem on another horizon, where the velocity is homogeneous in the control.

If F(f, a c) = a F(f, c) for a > 0 and F does not depend on time, then with a = T / T'

    f'(s) = f(a s),   c'(s) = a c(a s),   0 <= s <= T',

solves the same equation on [0, T'], and so do the layers of any one-step method.  For T' = 1 this
is u^1(s) = T u^T(sT).  Source: Geshkovski, Large-time asymptotics in deep learning, with the time
in u that the slides lack.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .admissible import AdmissibleSet, SetProduct
from .arrays import Array, to_host
from .checks import check_positive
from .controls import Control, ControlSpace
from .doors import checked
from .endpoints import CostSum
from .functional import RunningCost, Tracking
from .kernels import KernelFormat
from .losses import Loss, WeightedLoss
from .networks import Chain, FixedLinear, Inputs
from .networks.maps import Offset, Pointwise, Product
from .pair_sets import ConvexHull, Pairs
from .penalties import BlockPenalty, Penalty, SobolevPenalty, Tikhonov, sum_of, terms_of
from .problem import LearningProblem
from .sets import Amplitude, Ball, BallsByName, Box, FiniteSet, NormBall
from .sparsity import L1


@checked
def rescale(
    problem: LearningProblem, control: Control, horizon: float
) -> tuple[LearningProblem, Control]:
    """The problem and the control on [0, horizon] that are the given ones in another unit of time.

    States at corresponding times, J and the admissible set are the same, for every control and to
    rounding: with a = T / horizon the trained blocks of the network are multiplied by a, the mesh
    is shortened, and the terms of J get these factors.

        running cost, int L dt                  a      (the weight of its loss)
        Tikhonov, int |c|^2 dt                  1/a    (1/a^2 for blocks that are constant in time)
        SobolevPenalty, int |c|^2 + s |c_t|^2   1/a    and s / a^2
        L1, int |c| dt                          1      (1/a for blocks that are constant in time)
        bounds of c at each time                a
        NormBall, radius of (int |c|^2 dt)^(1/2)  a^(1/2)

    Terminal costs and the blocks of readouts stay as they are.

    raises TypeError where the velocity is not homogeneous of degree 1 in the trained blocks, saying
        which map it is, and for costs, penalties and sets that are none of the above; ValueError
        for a horizon <= 0 or a control of another space
    """
    horizon = check_positive("horizon", horizon)
    control = problem.space.check("control", control)
    degree = degree_in_control(problem)
    if degree != 1:
        raise TypeError(
            f"the velocity {problem.network.formula()} is homogeneous of degree {degree} in its "
            "trained blocks, not 1: no control on another horizon gives the same states"
        )
    space, mesh = problem.space, problem.mesh
    factor = mesh.horizon / horizon
    shorter = mesh.stretched(horizon)
    there = ControlSpace(shorter, space.blocks, space.fixed, space.time_norm)
    own = problem.network.block_shapes
    powers = {b.name: float(b.name in own) for b in space.trained}
    scaled = {n: factor**p for n, p in powers.items()}
    moved = Control(there, {n: scaled[n] * x for n, x in control.items()}, trusted=True)
    changes = replace(
        problem,
        controls=there,
        terminal=_terminal(problem.terminal, factor),
        running=_running(problem.running, factor),
        penalty=_penalty(problem.penalty, space, powers, factor),
        admissible=_admissible(problem.admissible, space, powers, factor),
    )
    return changes, moved


def degree_in_control(problem: LearningProblem) -> int:
    """The k with F(f, a c) = a^k F(f, c) for all a > 0, c the trained blocks of the network; found
    from the maps of its chain.

    A linear map adds the degree of its block, 1 where it is trained; an offset must have the degree
    of what it is added to; an activation keeps degree 0, and any other one if it is positively
    homogeneous (identity, relu, leaky_relu).  Blocks that are fixed at zero have any degree.
    raises TypeError for a velocity that is not homogeneous, or depends on time, or is no Chain
    """
    network, space = problem.network, problem.space
    if not isinstance(network, Chain) or not network.derived:
        raise TypeError(
            f"problem.network: homogeneity is read off the maps of a Chain, {network!r} says "
            "nothing of it"
        )
    trained = {b.name for b in space.trained}
    zero = {n for n, x in space.fixed.items() if not np.any(to_host(x))}
    degree: int | None = 0  # None: x = 0, which has any degree
    for one in network.maps:
        if isinstance(one, Inputs):
            if one.time:
                raise TypeError("problem.network: the velocity depends on time, Inputs(time=True)")
        elif isinstance(one, Product):
            degree = None if one.block in zero or degree is None else degree
            if degree is not None and one.block in trained:
                degree += _order(one)
        elif isinstance(one, Offset):
            own = None if one.block in zero else int(one.block in trained)
            if degree is not None and own is not None and degree != own:
                raise TypeError(
                    f"problem.network: the velocity is not homogeneous in the trained blocks: "
                    f"{one.block!r}, of degree {own}{_kept(one.block, trained)}, is added to what "
                    f"has degree {degree}"
                )
            degree = own if degree is None else degree
        elif isinstance(one, Pointwise):
            degree = _through(one, degree)
        elif not isinstance(one, FixedLinear):  # which keeps the degree
            raise TypeError(f"it is not known whether {one!r} is homogeneous")
    return 1 if degree is None else degree


def _kept(block: str, trained: set[str]) -> str:
    return "" if block in trained else " because it is fixed"


def _order(one: Product) -> int:
    """The degree in b of the operator: 1, but for formats that are not linear in their numbers."""
    operator = one.of.operator if hasattr(one, "of") else one.operator  # type: ignore[attr-defined]
    return 1 if not isinstance(operator, KernelFormat) or operator.linear else 2


def _through(one: Pointwise, degree: int | None) -> int | None:
    activation = one.activation
    if degree is None:
        return None if activation.vanishes_at_zero else 0
    if degree and not activation.homogeneous:
        raise TypeError(
            f"problem.network: the velocity is not homogeneous in the trained blocks: "
            f"{activation} is applied to what has degree {degree}, and {activation}(a s) is not "
            f"a {activation}(s)"
        )
    return degree


def _running(running: RunningCost | Loss | None, factor: float) -> RunningCost | Loss | None:
    """int_0^T L dt = factor int_0^T' L ds."""
    if isinstance(running, WeightedLoss):
        return replace(running, weight=factor * running.weight)
    return running if running is None else _slower(running, factor, factor)


def _terminal(terminal: RunningCost | Loss | None, factor: float) -> RunningCost | Loss | None:
    """The same, but for targets that move."""
    return _slower(terminal, factor, 1.0) if isinstance(terminal, RunningCost) else terminal


def _slower(cost: RunningCost | Loss, factor: float, times: float) -> RunningCost:
    """`times` the cost, in another unit of time."""
    if isinstance(cost, CostSum):
        return CostSum([_slower(part, factor, times) for part in cost.costs])
    if type(cost) is Tracking and isinstance(cost.loss, WeightedLoss):
        loss = replace(cost.loss, weight=times * cost.loss.weight)
        target = _Slower(cost.target, factor) if callable(cost.target) else cost.target
        return replace(cost, loss=loss, target=target)
    raise TypeError(f"it is not known what {cost!r} is in another unit of time")


@dataclass(frozen=True, eq=False)
class _Slower:
    """A moving target in another unit of time."""

    target: Callable[[float], Array]
    factor: float

    def __call__(self, t: float) -> Array:
        return self.target(self.factor * t)


def _penalty(
    penalty: Penalty | None, space: ControlSpace, powers: dict[str, float], factor: float
) -> Penalty | None:
    """Its terms with the factors of the table in `rescale`, one term for blocks of one factor."""
    found: list[Penalty] = []
    for term in terms_of(penalty):
        order = {Tikhonov: 2, SobolevPenalty: 2, L1: 1}.get(type(term))
        if order is None or not isinstance(term, BlockPenalty):
            raise TypeError(f"it is not known how {term!r} changes with the unit of time")
        apart: dict[float, list[str]] = {}
        for block in term.penalised(space):
            grown = order * powers[block.name] - (block.time != "static")
            apart.setdefault(grown, []).append(block.name)
        if len(apart) > 1 and term.joint:
            raise TypeError(f"{term!r} joins blocks that get different factors")
        for grown, names in apart.items():
            part = replace(term, strength=term.strength / factor**grown)
            part = part if len(apart) == 1 else replace(part, blocks=tuple(names))
            if isinstance(part, SobolevPenalty):
                part = replace(part, slope=part.slope / factor**2)
            found.append(part)
    return sum_of(found)


def _admissible(
    given: AdmissibleSet | None, space: ControlSpace, powers: dict[str, float], factor: float
) -> AdmissibleSet | None:
    """The same set, of the controls that were multiplied."""
    if given is None:
        return None
    timed = {b.name: b.time != "static" for b in space.trained}
    times = {n: factor**p for n, p in powers.items()}
    found: list[AdmissibleSet] = []
    for part in given.parts:
        if isinstance(part, Box):
            bounds = part.bounds.items()
            found.append(Box(**{n: (times[n] * a, times[n] * b) for n, (a, b) in bounds}))
        elif isinstance(part, FiniteSet):
            found.append(FiniteSet(**{n: tuple(times[n] * v) for n, v in part.values.items()}))
        elif isinstance(part, NormBall):
            roots = {n: times[n] * factor ** (-0.5 * timed[n]) for n in part.radii}
            found.append(NormBall(**{n: roots[n] * r for n, r in part.radii.items()}))
        elif isinstance(part, BallsByName):
            found.append(type(part)(**{n: times[n] * r for n, r in part.radii.items()}))
        elif isinstance(part, Amplitude):
            if any(timed[n] and powers[n] != 1.0 for n in timed):
                raise TypeError(f"{part!r} bounds blocks that get different factors together")
            found.append(Amplitude(factor * part.bound))
        elif isinstance(part, Pairs | ConvexHull):
            pairs = part.pairs * np.array([times[part.bias], times[part.kernel]])
            found.append(type(part)(pairs, part.bias, part.kernel))
        elif isinstance(part, Ball):
            found.append(Ball(times[part.bias] * part.radius, part.bias, part.kernel))
        else:
            raise TypeError(f"it is not known how {part!r} changes with the unit of time")
    return found[0] if len(found) == 1 else SetProduct(found)
