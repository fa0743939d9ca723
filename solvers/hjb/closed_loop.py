"""The feedback of a value function, held on the layers of the problem.

At the start of each layer V is compared one cell up, one cell down and at the state itself, along
the axis of each unit: with s+ = (V(f + h e_i) - V(f)) / h and s- = (V(f) - V(f - h e_i)) / h,

    slope    s+ and s- of one sign: q_i is their mean
    ridge    s- > 0 > s+, V falls both ways: q_i is the steeper of the two; of equal ones the one
             whose sign q_i had on the layer before, upwards at first
    valley   s- < 0 < s+, V rises both ways: q_i = 0

and the control minimises the Hamiltonian at q.  On a ridge the derivative of an interpolant of V
vanishes and is no feedback: the state would stay there, where no optimal one does (LM-55).  In a
valley a unit whose velocities form an interval stays, or moves as little as it can.
Source: Liu and Markowich section 4.3, Step 2, with E32 of the errata: the loop is closed here.
"""

from dataclasses import dataclass, field

import numpy as np

from continuum.activations import identity
from continuum.arrays import Array
from continuum.checks import check_positive, check_type
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from ..adjoint.discretize import discretize
from ..pontryagin.hamiltonian import Hamiltonian
from ..run.solution import Solution, Trajectory
from ..run.status import Status
from ..steps.tableaux import RK4
from .separable import separable
from .speeds import Speeds
from .value import ValueFunction

_SUBSTEPS = 4
"""Steps of RK4 in a layer."""

_CHATTER = 4
"""Switches of a unit, in successive layers, that are called chatter."""


@dataclass(frozen=True, eq=False)
class ClosedLoop(Solution[Control]):
    """A control made by feedback.

    value : the control, constant on layers
    objective : of the continuous run of that control, by RK4
    state : the Trajectory at the ends of the layers
    partials : (K, N), the q at the start of each layer
    ridges : (K, N), where V fell both ways
    switches : (N,), how often q_i changed its sign, rests at 0 between two signs left out
    """

    state: Trajectory = field(default_factory=lambda: Trajectory(np.empty(0), np.empty((0, 0, 0))))
    partials: Array = field(default_factory=lambda: np.empty((0, 0)))
    ridges: Array = field(default_factory=lambda: np.empty((0, 0), dtype=bool))
    switches: Array = field(default_factory=lambda: np.empty(0, dtype=int))

    __repr__ = short

    @property
    def trajectory(self) -> Trajectory:
        """The states at the ends of the layers."""
        return self.state


@checked
def closed_loop(
    problem: LearningProblem,
    value: ValueFunction,
    *,
    rtol: float = 1e-6,
    raise_on_failure: bool = True,
) -> ClosedLoop:
    """The run from the problem's start under the feedback of a value function.

    The control is chosen at the start of each layer and held on it, so that it is one of the
    problem's: `evaluate`, `compare` and certificates take it.  Where the optimal control is
    singular it may chatter, which the detail of the status tells.

    value : of this problem, or of one that differs from it in the start and the mesh alone
    rtol : slopes of V that differ by less than this share count as equal
    returns ClosedLoop
    raises ValueError for a value function of another problem; SolveError if the state leaves the
        grid, unless told not
    """
    check_type("value", value, ValueFunction)
    rtol = check_positive("rtol", rtol)
    _check_same(problem, value)
    h = separable(problem)
    mesh, grid, network = problem.mesh, value.grid, problem.network
    layers, units = mesh.layers, len(h.weights)
    states, q = np.empty((layers + 1, units, 1)), np.zeros((layers, units))
    ridges, given = np.zeros((layers, units), dtype=bool), -np.ones(units)
    values = {b.name: np.zeros((layers, *b.shape)) for b in problem.space.trained}
    states[0], speeds = problem.initial, None
    if h.kind == "interval" and None not in h.bounds.values():
        speeds = Speeds(h)
    status, detail, stepper = Status.FINISHED, "", RK4()
    for k, (t, tau) in enumerate(zip(mesh.nodes[:-1], mesh.steps, strict=True)):
        f = states[k, :, 0]
        if not grid.contains(f, f):
            status, detail = Status.LEFT_GRID, f"t = {t:.6g}"
            states[k + 1 :] = states[k]
            break
        q[k], ridges[k] = _partials(value, f, float(t), given, rtol)
        given = np.where(q[k] == 0.0, given, np.sign(q[k]))
        chosen = _control(problem, speeds, f, q[k], k)
        for name, x in chosen.items():
            values[name][k] = x

        def velocity(s: float, x: Array, layer: int = k, c: dict[str, Array] = chosen) -> Array:
            return network.velocity(x, {**problem.space.held(layer, s), **c}, s)

        x = states[k]
        for n in range(_SUBSTEPS):
            x = stepper.step(velocity, velocity, t + n * tau / _SUBSTEPS, tau / _SUBSTEPS, x)  # type: ignore[arg-type]
        states[k + 1] = x
    control = problem.space.sample(**values)
    if problem.admissible is not None and status is not Status.FINISHED:
        control = problem.admissible.project(control)
    signs = np.sign(q)
    for k in range(1, layers):  # a unit that rests between two signs has switched
        signs[k] = np.where(signs[k] == 0.0, signs[k - 1], signs[k])
    turned = signs[1:] * signs[:-1] < 0.0
    chattering = [i for i in range(units) if _longest(turned[:, i]) >= _CHATTER]
    if status is Status.FINISHED and chattering:
        named = ", ".join(map(str, chattering))
        detail = f"chatter: unit {named} switches in at least {_CHATTER} successive layers"
    return ClosedLoop(
        control,
        status,
        detail,
        objective=discretize(problem, RK4(), _SUBSTEPS, "steps").value(control),
        state=Trajectory(mesh.nodes, states),
        partials=q,
        ridges=ridges,
        switches=np.sum(turned, axis=0),
    ).raise_if_failed(raise_on_failure)


def _check_same(problem: LearningProblem, value: ValueFunction) -> None:
    """Raises ValueError unless the value function belongs to the problem's dynamics and horizon."""
    own = value.problem
    same = own is problem or (
        own.network is problem.network
        and own.admissible is problem.admissible
        and own.penalty is problem.penalty
        and own.mesh.horizon == problem.mesh.horizon
        and own.terminal is problem.terminal
        and own.running is problem.running
        and np.array_equal(own.target, problem.target)  # type: ignore[arg-type]  # or both None
    )
    if not same:
        raise ValueError(
            "value is that of another problem: only its start and its layers may differ"
        )


def _partials(
    value: ValueFunction, f: Array, t: float, given: Array, rtol: float
) -> tuple[Array, Array]:
    """q (N,) and where there is a ridge (N,); see the head of this file.

    given : (N,), the signs of q on the layer before
    """
    spacings = value.grid.spacings
    bounds = np.array(value.grid.box)
    closed = np.array([wall != "periodic" for wall in value.grid.walls])
    ends = []
    for sign in (1.0, -1.0):
        moved = f[:, None] + sign * np.diag(spacings)
        inside = np.clip(moved, bounds[:, :1], bounds[:, 1:])
        ends.append(np.where(closed[:, None], inside, moved))
    here = value(f[:, None], t)[0]
    up, down = value(ends[0], t), value(ends[1], t)
    ahead, behind = np.diag(ends[0]) - f, f - np.diag(ends[1])
    nothing = np.zeros_like(f)
    plus = np.divide(up - here, ahead, out=nothing.copy(), where=ahead > 0.0)
    minus = np.divide(here - down, behind, out=nothing.copy(), where=behind > 0.0)
    plus, minus = np.where(ahead > 0.0, plus, minus), np.where(behind > 0.0, minus, plus)
    ridge, valley = (minus > 0.0) & (plus < 0.0), (minus < 0.0) & (plus > 0.0)
    equal = np.abs(plus + minus) <= rtol * (np.abs(plus) + np.abs(minus))
    upwards = np.where(equal, given < 0.0, -plus > minus)
    q = np.where(ridge, np.where(upwards, plus, minus), 0.5 * (plus + minus))
    return np.where(valley, 0.0, q), ridge


def _control(
    problem: LearningProblem,
    speeds: Speeds | None,
    f: Array,
    q: Array,
    layer: int,
) -> dict[str, Array]:
    """The values of the trained blocks that minimise the Hamiltonian at (f, q)."""
    t = float(problem.mesh.nodes[layer])
    if speeds is not None:
        psi = speeds.hamiltonian.rows.psi or identity
        low, high = psi.value(speeds.preactivations(f[:, None], t, layer))[..., 0]
        rest = np.clip(0.0, low, high)
        wide = np.where(high > low, high - low, 1.0)
        theta = np.where(q < 0.0, 1.0, np.where(q > 0.0, 0.0, (rest - low) / wide))
        return {n: x[0] for n, x in speeds.rows(f[None], theta[None], layer).items()}
    costate = (q / problem.network.weights)[None, :, None]
    zero = {b.name: np.zeros((1, *b.shape)) for b in problem.space.trained}
    least = Hamiltonian(problem, t, f[None, :, None], costate).minimiser(zero)
    return {name: x[0] for name, x in least.values.items()}


def _longest(turned: Array) -> int:
    """The most True values in a row."""
    longest = run = 0
    for x in turned:
        run = run + 1 if x else 0
        longest = max(longest, run)
    return longest
