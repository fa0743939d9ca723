"""Proximal alternating minimization: one group of blocks after the other, each held near where it
was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from continuum.checks import check_name, check_positive
from continuum.controls import Control, ControlSpace
from continuum.doors import checked
from continuum.endpoints import no_endpoint
from continuum.penalties import restricted
from continuum.problem import LearningProblem

from ..adjoint.discretize import ReducedObjective
from ..run.iteration import NotFinite
from ..run.monitors import Monitor
from ..run.solution import Solution
from ..run.status import Status
from .first_order import GradientDescent
from .lbfgs import LBFGS
from .minimize import minimize
from .objective import Composite, Objective
from .run import Descent, Minimizer, composite


@checked
def proximal_alternating(
    problem: LearningProblem | Objective | Composite,
    *,
    step: float = 1.0,
    groups: Sequence[Sequence[str]] | None = None,
    inner: Minimizer | None = None,
    initial: Control | None = None,
    gtol: float = 1e-6,
    max_iterations: int = 200,
    monitors: Sequence[Monitor] = (),
    raise_on_failure: bool = True,
) -> Solution[Control]:
    """x_i^{k+1} = argmin over x_i of J(x_1^{k+1}, ..., x_i, ..., x_n^k) + |x_i - x_i^k|^2 / (2
    step), i = 1, ..., n.

    Each subproblem starts where the last one left x_i.  Whatever its solver, if it ends no higher
    than it began,

        J(x^{k+1}) + sum_i |x_i^{k+1} - x_i^k|^2 / (2 step) <= J(x^k),

    which is checked in every iteration, up to rounding; norms are those of the space.

    problem : discretized by Euler if it is a LearningProblem, see `minimize`
    step : called tau in the paper; small ones make the subproblems strongly convex, large ones
        iterations few
    groups : the x_i: a partition of the trained blocks, (("bias",), ("kernel",)); each alone, in
        their order, if None
    inner : how subproblems are solved, to its own gtol; LBFGS(gtol=gtol / 100), or GradientDescent
        with that gtol where there are other sets than a Box, or penalties without a gradient
    gtol : converged when |prox_1(x - g) - x| <= gtol, all blocks together
    returns Solution, of a stationary control, which need not be a minimum; its history has, beside
        what `minimize` records, "decrease_slack", the right side of the inequality less the left,
        "inner_measure" and "inner_iterations", the worst accuracy of the subproblems and their
        iterations in all, and "objective.bias" and so on, J after the step of that group; entry 0
        is the start
    raises SolveError where the inequality fails or the cap is reached, unless
        raise_on_failure=False; TypeError for sets and penalties that couple groups; ValueError for
        groups that are no partition
    Source: Liu and Markowich section 5.1, Algorithm 1, with sigma'(u) in its gradients.
    """
    whole = composite(problem)
    if isinstance(whole.objective, ReducedObjective):
        no_endpoint(whole.objective.problem.endpoint, "proximal_alternating")
    step, gtol = check_positive("step", step), check_positive("gtol", gtol)
    space = whole.space
    chosen = _partition(space, groups)
    if inner is None:
        plain = whole.penalty is None and whole.intervals is not None
        inner = LBFGS(gtol=gtol / 100) if plain else GradientDescent(gtol=gtol / 100)
    pieces = [_Piece(whole, names, step) for names in chosen]
    for piece in pieces:
        inner.check(piece.problem(space.zeros()))
    alternation = _Alternation(tuple(pieces), inner, gtol=gtol, max_iterations=max_iterations)
    return minimize(
        whole, alternation, initial=initial, monitors=monitors, raise_on_failure=raise_on_failure
    )


@dataclass(frozen=True)
class _Alternation(Minimizer):
    """One group after the other, each by the inner minimizer."""

    pieces: "tuple[_Piece, ...]" = ()
    inner: Minimizer = field(default_factory=LBFGS)

    def descend(self, run: Descent, start: Control) -> Solution[Control]:
        """The run from an admissible start."""
        x = start
        smooth, gradient = run.evaluate(x)
        value = smooth + run.problem.extra(x)
        noted = {"decrease_slack": 0.0, "inner_measure": 0.0, "inner_iterations": 0.0}
        noted |= {piece.label: value for piece in self.pieces}
        while True:
            status = run.accept(run.space.join(x), value, gradient)
            run.note(**noted)
            if status is not None:
                return run.solution(status)
            before, moved, failures = value, 0.0, ""
            noted = dict.fromkeys(noted, 0.0)
            for piece in self.pieces:
                x, distance, ended = self._improved(run, piece, x, noted)
                moved += distance
                failures += "" if ended.ok else f", {piece.label}: {ended.name}"
            smooth, gradient = run.evaluate(x)
            value = smooth + run.problem.extra(x)
            noted["decrease_slack"] = slack = before - value - moved
            failed = slack < -1e-13 * max(abs(before), np.finfo(float).tiny)
            if failed or moved == 0.0:
                ended = run.accept(run.space.join(x), value, gradient)
                run.note(**noted)
                if failed:
                    return run.solution(Status.SUBPROBLEM_FAILED, f"slack {slack:.3g}")
                if ended is Status.CONVERGED:
                    return run.solution(ended)
                detail = "no subproblem moved its group" + failures
                return run.solution(Status.LINE_SEARCH_FAILED, detail)

    def _improved(
        self, run: Descent, piece: "_Piece", x: Control, noted: dict[str, float]
    ) -> tuple[Control, float, Status]:
        """x with one group replaced by what its subproblem gave, |x_i - x_i^k|^2 / (2 step), and
        how the subproblem ended.

        raises NotFinite if the subproblem met numbers that are not
        """
        found = minimize(
            piece.problem(x), self.inner, initial=piece.part(x), raise_on_failure=False
        )
        if found.status in (Status.NON_FINITE_START, Status.NON_FINITE_OBJECTIVE):
            raise NotFinite(f"in the step of {', '.join(piece.names)}: {found.detail}")
        distance = piece.distance(found.control, x)
        run.evaluations += int(found.statistics["evaluations"])
        measure = float(found.history[self.inner.measure][-1])
        noted["inner_measure"] = max(noted["inner_measure"], measure)
        noted["inner_iterations"] += found.statistics["iterations"]
        noted[piece.label] = found.objective - distance
        return piece.joined(x, found.control), distance, found.status


class _Piece:
    """One group of blocks: its space, its share of the set and the penalty, its subproblem."""

    def __init__(self, whole: Composite, names: Sequence[str], step: float) -> None:
        self.whole, self.names, self.step = whole, tuple(names), step
        self.label = "objective." + "+".join(names)
        space = whole.space
        self.space = ControlSpace(
            space.mesh, tuple(b for b in space.trained if b.name in names), {}, space.time_norm
        )
        self.admissible = (
            None if whole.admissible is None else whole.admissible.only(self.names, space)
        )
        self.penalty = restricted(whole.penalty, self.names, space)

    def part(self, x: Control) -> Control:
        """This group of x."""
        return Control(self.space, {name: x[name] for name in self.names}, trusted=True)

    def joined(self, x: Control, part: Control) -> Control:
        """x with this group replaced."""
        return x.replaced(**part)

    def distance(self, part: Control, x: Control) -> float:
        """|part - x_i|^2 / (2 step)."""
        return self.space.norm(part - self.part(x)) ** 2 / (2.0 * self.step)

    def problem(self, x: Control) -> Composite:
        """The subproblem with the other groups held at x."""
        return Composite(_Near(self, x), self.penalty, self.admissible)


@dataclass(frozen=True, eq=False)
class _Near:
    """J(x_i, rest) + |x_i - x_i^k|^2 / (2 step), an Objective of x_i."""

    piece: _Piece
    centre: Control

    @property
    def space(self) -> ControlSpace:
        return self.piece.space

    def value(self, control: Control) -> float:
        joined = self.piece.joined(self.centre, control)
        return self.piece.whole.objective.value(joined) + self.piece.distance(control, self.centre)

    def value_and_gradient(self, control: Control) -> tuple[float, Control]:
        joined = self.piece.joined(self.centre, control)
        value, gradient = self.piece.whole.objective.value_and_gradient(joined)
        away = control - self.piece.part(self.centre)
        return value + self.piece.distance(control, self.centre), self.piece.part(
            gradient
        ) + away * (1.0 / self.piece.step)

    def hvp(self, control: Control, direction: Control) -> Control:
        joined = self.piece.joined(self.centre, control)
        whole = self.piece.joined(self.centre.space.zeros(), direction)
        product = self.piece.part(self.piece.whole.objective.hvp(joined, whole))
        return product + direction * (1.0 / self.piece.step)


def _partition(
    space: ControlSpace, groups: Sequence[Sequence[str]] | None
) -> list[tuple[str, ...]]:
    """The groups, checked."""
    names = [b.name for b in space.trained]
    if groups is None:
        return [(name,) for name in names]
    if any(isinstance(group, str) for group in groups):
        raise TypeError(
            f"groups must be sequences of block names, such as (('bias',), ('kernel',)), got "
            f"{groups!r}"
        )
    given = [name for group in groups for name in group]
    for name in given:
        check_name("block", name, names)
    if sorted(given) != sorted(names) or not all(groups):
        raise ValueError(
            f"groups must name each trained block once, {', '.join(names)}; got {groups!r}"
        )
    return [tuple(group) for group in groups]
