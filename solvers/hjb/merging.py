"""Equal units merged: an exact reduction of a problem with many units to one with few.

For F_i = psi(a_i + sum_j c_ij R_j), R_j = +-w_j phi(f_j), with odd psi and phi that never fall, phi
concave where it is positive, and bounds |a_i| <= A, |c_ij| <= B, a unit has any velocity with

    |f_i'| <= psi(A + B sum_j w_j |phi(f_j)|) = v(f),

the same for all.  Changing the signs of some units, with those of their rows and columns, is a
symmetry; let it make all targets y_i >= 0, and suppose that all starts are then >= 0 as well.  In a
group of units with equal start and target put the mean m_G of |f_j| in the weights w in place of
the f_j.  Then |m_G'| <= v(f); by Jensen phi(m_G) is at least the mean of phi(|f_j|), so that v does
not fall: m is a solution of the problem with one unit for each group, of weight sum_G w_j.  And by
Jensen again, and | |f| - y | <= |f - y| for y >= 0, a sum over units of w_i loss(f_i - y_i), with a
loss that is even, convex and so rises with |f_i - y_i|, is not larger for m.  Conversely the
control of the groups, copied to their units, has the same cost.  So both problems have one value.

Symmetry of the data alone is not enough: without the bounds on signs a group may do better apart.
Source: the remark to LM-55 of the ledger; the proof is written out here.
"""

from collections.abc import Callable

import numpy as np

from continuum.activations import Activation
from continuum.arrays import Array
from continuum.controls import Control
from continuum.doors import checked
from continuum.functional import Tracking
from continuum.losses import AbsoluteError, SquaredError
from continuum.networks import Chain
from continuum.problem import LearningProblem
from continuum.quadrature import Grid
from continuum.readouts import State

from .separable import separable

Lift = Callable[[Control], Control]
"""The control of the small problem copied to the units of the large one, with the same cost."""


@checked
def merge_units(problem: LearningProblem) -> tuple[LearningProblem, Lift]:
    """A problem with one unit for each group of equal ones, and the lift of its controls.

    The least cost of both is the same; see the head of this file for the proof.

    returns (small, lift); lift(control of small) has the cost of that control
    raises ValueError that says which hypothesis fails, also where no two units are equal
    """
    reason = _reason(problem)
    if reason:
        raise ValueError(f"units cannot be merged: {reason}")
    network = problem.network
    grid: Grid = network.grid  # type: ignore[assignment]  # see _reason
    start, targets = problem.initial[:, 0], _targets(problem)
    signs = _signs(start, targets)
    rows = np.column_stack([signs * x for x in (start, *targets)])
    _, first, group = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    if len(first) == len(start):
        raise ValueError("problem: units cannot be merged, no two have the same start and target")
    order = np.argsort(first)  # as they come in the large problem
    first, group = first[order], np.argsort(order)[group.ravel()]
    weights = np.bincount(group, grid.weights)
    centres = [np.bincount(group, grid.weights * x) / weights for x in grid.nodes.T]
    smaller = network.on(Grid(grid.domain, np.stack(centres, axis=1), weights))  # type: ignore[attr-defined]

    def taken(cost: object) -> object:
        if not isinstance(cost, Tracking) or cost.target is None:
            return cost
        target = np.asarray(cost.target)
        return Tracking(cost.loss, cost.readout, (signs[:, None] * target)[first])

    target = problem.target
    small = LearningProblem(
        smaller,
        (signs * start)[first, None],
        None if target is None else (signs[:, None] * np.asarray(target))[first],
        smaller.controls(problem.mesh),
        terminal=taken(problem.terminal),  # type: ignore[arg-type]
        running=taken(problem.running),  # type: ignore[arg-type]
        admissible=problem.admissible,
    )

    def lift(control: Control) -> Control:
        given = small.space.check("control", control)
        copied = {}
        for block in problem.space.trained:
            x = given[block.name][:, group]
            if len(block.shape) == 2:
                copied[block.name] = x[:, :, group] * np.outer(signs, signs)
            else:
                copied[block.name] = x * signs
        return problem.space.sample(**copied)

    return small, lift


def _targets(problem: LearningProblem) -> list[Array]:
    """The targets (N,) of terminal and running cost."""
    functional, found = problem.functional, []
    for cost in (functional.terminal, functional.running):
        if isinstance(cost, Tracking):
            found.append(np.asarray(cost.target)[:, 0])
    return found


def _signs(start: Array, targets: list[Array]) -> Array:
    """(N,): the signs that make targets, or where these vanish starts, not negative."""
    signs = np.zeros(len(start))
    for x in (*targets, start):
        signs = np.where(signs == 0.0, np.sign(x), signs)
    return np.where(signs == 0.0, 1.0, signs)


def _reason(problem: LearningProblem) -> str:
    """The hypothesis that fails, in words; empty if none does."""
    h, network = separable(problem), problem.network
    if h.kind != "interval":
        return "the control is penalised, and the penalty of merged units is not that of all"
    if not isinstance(network, Chain) or network.grid is None:
        return "the units have no weights that could be added: the network is on no grid"
    if np.any(network.weights == 0.0):
        return "some units have weight 0"
    held = sorted(problem.space.fixed)
    if held:
        return f"{', '.join(held)} is fixed, so that units differ"
    if problem.admissible is None or not problem.admissible.convex:
        return f"the set {problem.admissible!r} is not convex"
    for name, bounds in h.bounds.items():
        if bounds is None:
            return f"the set {problem.admissible!r} couples entries, a box does not"
        if bounds[0] != -bounds[1]:
            return f"the bounds of {name} are not those of a box symmetric about 0"
    if h.rows.psi is not None and not h.rows.psi.odd:
        return f"{h.rows.psi} is not odd"
    if h.rows.phi is not None and not _concave(h.rows.phi):
        return f"{h.rows.phi} is not odd and concave where it is positive"
    functional = problem.functional
    for name, cost in (("terminal", functional.terminal), ("running", functional.running)):
        known = cost is None or (
            isinstance(cost, Tracking)
            and isinstance(cost.readout, State)
            and not callable(cost.target)
            and (
                type(cost.loss) is SquaredError
                or (type(cost.loss) is AbsoluteError and cost.loss.groups == "entries")
            )
        )
        if not known:
            return f"the {name} cost is no SquaredError or AbsoluteError of the state"
    start, targets = problem.initial[:, 0], _targets(problem)
    signs = _signs(start, targets)
    for name, x in (("start", start), *((("target"), y) for y in targets)):
        wrong = np.flatnonzero(signs * x < 0.0)
        if len(wrong):
            return (
                f"unit {wrong[0]} has {name} {x[wrong[0]]:g}: starts and targets of one unit "
                "must not have opposite signs"
            )
    return ""


def _concave(phi: Activation) -> bool:
    """True if phi is odd, never falls, and is concave on the positive numbers."""
    turns = phi.slope_extrema
    ends = phi.derivative(np.array([0.0, 1.0]))
    known = turns is not None and all(turn == 0.0 for turn in turns)
    return phi.odd and phi.monotone and known and bool(ends[1] <= ends[0])
