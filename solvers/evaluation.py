"""One function that judges any control on the problem that is continuous in time."""

from dataclasses import dataclass, replace

import numpy as np

from continuum.arrays import Array, like, namespace
from continuum.checks import check_positive
from continuum.controls import Control
from continuum.doors import checked
from continuum.endpoints import no_endpoint
from continuum.functional import Functional, Tracking
from continuum.networks import Chain, Network
from continuum.networks.network import Values
from continuum.problem import LearningProblem
from continuum.quadrature import Grid
from continuum.readouts import State
from continuum.records import plain
from continuum.transfers import change_width, prolongation

from .adjoint.discretize import discretize
from .flow.adaptive import accepted_steps
from .flow.step_length import largest
from .run.solution import Solution, SolveError
from .run.status import Status
from .steps.embedded import DOP853

LOOSEST_START, TIGHTEST, MOST_STEPS = 1e-10, 1e-15, 100_000
"""The first error per step is rtol, or LOOSEST_START if that is larger; none is below TIGHTEST."""


@dataclass(frozen=True)
class Evaluation:
    """What a control is worth.

    objective : J of the differential equation, with this control as a function of time
    depth_error : estimated error of `objective` from finite steps
    width_error : |J - J on a finer grid|, with data and control interpolated there; NaN if no finer
        grid was given
    resnet : J of the ResNet with these layers (explicit Euler): the difference is the price of
        finite depth
    penalty : the part of J that is the penalty
    feasible : the control lies in the admissible set (True without one)
    """

    objective: float
    depth_error: float
    width_error: float
    resnet: float
    penalty: float
    feasible: bool

    to_dict = plain


@checked
def evaluate(
    problem: LearningProblem, control: Control, rtol: float = 1e-8, refined: Grid | None = None
) -> Evaluation:
    """J(control) for the continuous problem, whose endpoint is no part of it: by DOP853, whose
    error per step is lowered by factors of 10, and the longest step to 3/4, until three values in a
    row agree to rtol, or to the change of the terminal cost when the state changes by its rounding
    errors (1e-14).

    A running cost is integrated with the state, by the same method: its errors, and the kinks of
    activations and costs, shorten the steps as those of the state do.  Two values that agree may do
    so by chance, above all where a step contains a kink; so `depth_error` is the larger of the last
    difference and a tenth of the one before.

    rtol : > 0, relative to |J|
    refined : a finer grid of the same domain, for the width error: nodal values do not say what
        data and control are between nodes, so they are interpolated multilinearly; an estimate of
        order 2
    raises SolveError if the state does not stay finite, a run takes more than 100 000 steps, or the
        values do not agree; ValueError for rtol <= 0, TypeError for a finer grid where the network
        has none or the readout is not the state
    """
    rtol = check_positive("rtol", rtol)
    control = problem.space.check("control", control)
    value, error = _continuous(problem, control, rtol)
    width = float("nan")
    if refined is not None:
        width = abs(_continuous(*_on(refined, problem, control), rtol)[0] - value)
    return Evaluation(
        value,
        error,
        width,
        discretize(problem).value(control),
        problem.penalty.value(control) if problem.penalty is not None else 0.0,
        problem.admissible is None or problem.admissible.contains(control, 1e-12),
    )


def _continuous(problem: LearningProblem, control: Control, rtol: float) -> tuple[float, float]:
    """(J, its estimated error)."""
    penalty = problem.penalty.value(control) if problem.penalty is not None else 0.0
    values: list[float] = []
    tolerance, longest = max(rtol, LOOSEST_START), problem.mesh.horizon
    while tolerance >= TIGHTEST:
        # steps that end with their layer do not shrink with the tolerance
        value, rounding, longest = _cost(problem, control, tolerance, 0.75 * longest)
        values.append(value + penalty)
        differences = np.abs(np.diff(values[-3:]))
        allowed = rtol * abs(values[-1]) + rounding
        if len(differences) == 2 and bool(np.all(differences <= allowed)):
            return values[-1], float(max(differences[1], 0.1 * differences[0]))
        tolerance *= 0.1
    detail = f"the last values are {', '.join(f'{x:.17g}' for x in values[-3:])}"
    raise SolveError(Solution(control, Status.NOT_SETTLED, detail, objective=values[-1]))


def _cost(
    problem: LearningProblem, control: Control, tolerance: float, max_step: float
) -> tuple[float, float, float]:
    """(J less the penalty, its rounding error, the longest step), by DOP853 with this error per
    step, relative to the state and to its initial size.  Raises SolveError.
    """
    functional, f = problem.functional, problem.initial
    units, count, longest = f.shape[0], 0, 0.0
    flow = _WithCost(functional, problem.network)
    if functional.running is not None:
        f = namespace(f).concat([f, namespace(f).zeros_like(f[:1, :])], axis=0)
    speed = flow.velocity(f, control.at_layer(0, 0.0), 0.0)
    size = largest(problem.initial) + problem.mesh.horizon * largest(speed)
    stepper = DOP853(rtol=tolerance, atol=tolerance * (size or 1.0), max_step=max_step)
    with np.errstate(over="ignore", invalid="ignore"):
        for attempt in accepted_steps(flow, control, stepper, f, control.breakpoints):
            count += 1
            if attempt.status is not None or count > MOST_STEPS:
                lost = attempt.status is Status.NON_FINITE
                status = Status.NON_FINITE if lost else Status.NOT_SETTLED
                detail = f"with errors of {tolerance:.1g} per step, {count} steps to t = "
                raise SolveError(Solution(control, status, f"{detail}{attempt.start:.6g}"))
            if attempt.accepted:
                f, longest = attempt.state, max(longest, attempt.end - attempt.start)
    values = functional.terminal_values(control)
    total = functional.terminal_cost(f[:units, :], values)
    rounding = abs(functional.terminal_cost((1.0 + 1e-14) * f[:units, :], values) - total)
    if functional.running is not None:
        costs = f[units, :]
        total += float(namespace(f).sum(like(functional.sample_weights, costs) * costs))
    return total, rounding, longest


@dataclass(frozen=True, eq=False)
class _WithCost:
    """The velocity of a network and, if there is a running cost, as a last row the running cost of
    each sample, with the weight of all units together.
    """

    functional: Functional
    network: Network

    def weights_like(self, example: Array) -> Array:
        """(N,) or (N + 1,)."""
        w = self.network.weights_like(example)
        if self.functional.running is None:
            return w
        xp = namespace(w)
        return xp.concat([w, xp.reshape(xp.sum(w), (1,))])

    def velocity(self, f: Array, c: Values, t: float) -> Array:
        """(F, L) at (f, c, t): (N, M) or (N + 1, M)."""
        if self.functional.running is None:
            return self.network.velocity(f, c, t)
        state = f[:-1, :]
        costs = self.functional.running_costs(state, c, t)
        return namespace(f).concat([self.network.velocity(state, c, t), costs[None, :]], axis=0)


def _on(grid: Grid, problem: LearningProblem, control: Control) -> tuple[LearningProblem, Control]:
    """The problem and the control on another grid."""
    no_endpoint(problem.endpoint, "evaluate on a finer grid")
    network = problem.network
    if (
        not isinstance(network, Chain)
        or network.grid is None
        or not isinstance(problem.readout, State)
    ):
        raise TypeError("refined needs a network on a grid and the readout State()")
    running = problem.functional.running
    if running is not None and not (
        isinstance(running, Tracking) and running.shared and isinstance(running.readout, State)
    ):
        raise TypeError(
            f"refined needs a running loss of the state and the problem's target: "
            f"{running!r} says nothing of other grids"
        )
    finer = network.on(grid)
    transfer = prolongation(network.grid, grid)
    moved = change_width(control, network, finer)
    there = replace(
        problem,
        network=finer,
        initial=transfer @ problem.initial,
        target=None if problem.target is None else transfer @ problem.target,
        controls=moved.space,
        admissible=None,
    )
    return there, moved
