"""Values at single states, for any number of units: descents from many starts."""

from dataclasses import dataclass, field, replace

import numpy as np

from continuum.activations import identity
from continuum.arrays import Array
from continuum.checks import check_array, check_count, check_positive
from continuum.compiled import FROM_VALUE
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from ..descent.multistart import multistart
from ..descent.riccati_newton import RiccatiNewton
from ..pontryagin.shooting import shoot
from ..run.solution import SolveError
from . import speed_loops
from .separable import SeparableHamiltonian, separable, squared_error
from .speeds import Speeds

_SMALLEST, _SHARE = 0.1, 0.1
"""Of a step that is shortened, and of the fall that the gap promises."""


@dataclass(frozen=True, eq=False)
class DescendedValues:
    """Costs of admissible controls from given states, upper bounds of the value function V(f, 0)
    up to the error of the layers.

    problem : of one sample; its own start is not used
    states : (N, L)
    costs : (L,), the lowest found
    attempts : (L, starts), what each start reached
    polished : (L,), the costs of the extremals that shooting found from there, nan where it found
        none; empty if that was not asked for
    """

    problem: LearningProblem
    states: Array
    costs: Array
    attempts: Array
    polished: Array = field(default_factory=lambda: np.empty(0))
    _thetas: Array | None = field(default=None, repr=False)
    _controls: tuple[Control, ...] = field(default=(), repr=False)

    __repr__ = short

    def control(self, number: int) -> Control:
        """The control of the problem, constant on layers, of the lowest cost from state `number`.

        Where velocities were chosen, its rows are those that give them at the start of each layer.
        """
        if self._thetas is None:
            return self._controls[number]
        speeds = Speeds(separable(self.problem))
        theta = self._thetas[number][..., None]
        states, _ = speeds.run(self.states[:, number : number + 1], theta)
        return self.problem.space.sample(**speeds.rows(states[:-1, :, 0], theta[..., 0]))


@checked
def descend_values(
    problem: LearningProblem,
    states: Array,
    *,
    starts: int = 16,
    rng: np.random.Generator | int = 0,
    polish: bool = False,
    max_iterations: int = 100,
    rtol: float = 1e-6,
) -> DescendedValues:
    """Costs of admissible controls from each of many states: upper bounds of V(f, 0).

    Without penalty, and where a Box or FiniteSet bounds the entries, the velocities between the
    extreme ones are the unknowns, constant on layers of Heun's method, and Frank-Wolfe's method
    descends from controls that switch once, at random times.  Otherwise RiccatiNewton descends from
    random controls of the ResNet.  The lowest cost is kept: no proof that there is no lower one.

    states : (N, L)
    starts : how many descents from each state
    rng : a numpy random Generator, or its seed
    polish : shoot from the best control of each state (see `shoot`)
    rtol : of Frank-Wolfe's gap, relative to 1 + the cost
    returns DescendedValues
    raises ValueError where the Hamilton-Jacobi-Bellman equation has no closed Hamiltonian
    """
    h = separable(problem)
    states = check_array("states", states, (len(h.weights), "L"))
    starts = check_count("starts", starts)
    most, rtol = check_count("max_iterations", max_iterations), check_positive("rtol", rtol)
    if not isinstance(rng, np.random.Generator):
        rng = np.random.default_rng(check_count("rng", rng, 0))
    if h.kind == "interval" and None not in h.bounds.values():
        found = _by_speeds(h, states, starts, rng, most, rtol)
    else:
        found = _by_controls(problem, states, starts, rng, most)
    if not polish:
        return found
    ends = np.array([_shot(found, n) for n in range(states.shape[1])])
    return replace(found, polished=ends, costs=np.fmin(found.costs, ends))


def _by_speeds(
    h: SeparableHamiltonian,
    states: Array,
    starts: int,
    rng: np.random.Generator,
    most: int,
    rtol: float,
) -> DescendedValues:
    speeds, (units, count) = Speeds(h), states.shape
    nodes = h.problem.mesh.nodes
    switch = rng.uniform(0.0, nodes[-1], (count, starts, 1, units))
    first = rng.integers(0, 2, (count, starts, 1, units))
    theta = np.where(nodes[:-1, None] < switch, first, 1 - first).astype(float)
    theta = theta.reshape(count * starts, len(nodes) - 1, units)
    program = lowered(h)
    at = np.repeat(states.T, starts, axis=0)
    if program is None:
        columns = np.ascontiguousarray(np.moveaxis(theta, 0, 2))
        costs, _ = descend(speeds, columns, at.T, most, rtol)
        theta = np.moveaxis(columns, 2, 0)
    else:
        costs, gaps = np.empty(len(theta)), np.empty(len(theta))
        speed_loops.descend(program, theta, np.ascontiguousarray(at), most, rtol, costs, gaps)
    attempts = costs.reshape(count, starts)
    best = np.argmin(attempts, axis=1) + starts * np.arange(count)
    return DescendedValues(h.problem, states, costs[best], attempts, _thetas=theta[best])


def _by_controls(
    problem: LearningProblem, states: Array, starts: int, rng: np.random.Generator, most: int
) -> DescendedValues:
    attempts, controls = np.full((states.shape[1], starts), np.inf), []
    for n, state in enumerate(states.T):
        here = replace(problem, initial=state[:, None])
        ends = multistart(here, RiccatiNewton(max_iterations=most), starts, rng)
        found = [c.best for c in ends.clusters] + list(ends.failed.values())
        for cluster in ends.clusters:
            attempts[n, list(cluster.starts)] = cluster.best.objective
        for start, solution in ends.failed.items():
            attempts[n, start] = solution.objective
        best = min(found, key=lambda solution: solution.objective)
        controls.append(problem.space.check("control", best.control))
    return DescendedValues(
        problem, states, np.min(attempts, axis=1), attempts, _controls=tuple(controls)
    )


def descend(speeds: Speeds, theta: Array, f: Array, most: int, rtol: float) -> tuple[Array, Array]:
    """Frank-Wolfe's method for all columns of theta (K, N, L), in place, from the states f (N, L):
    costs and gaps (L,).  The reference of `speed_loops.descend`, for every cost of the state.
    """
    states, cost = speeds.run(f, theta)
    gap, active = np.zeros(len(cost)), np.ones(len(cost), dtype=bool)
    for _ in range(most):
        gradient = speeds.gradient(states, theta)
        vertex = np.where(gradient > 0.0, 0.0, np.where(gradient < 0.0, 1.0, theta))
        fall = np.sum(gradient * (theta - vertex), axis=(0, 1))
        gap = np.where(active, fall, gap)
        active = active & (gap > rtol * (1.0 + np.abs(cost)))
        if not np.any(active):
            break
        step, searching = np.where(active, 1.0, 0.0), active.copy()
        found, direction = cost, vertex - theta
        for _ in range(40):
            found = speeds.run(f, theta + step * direction)[1]
            searching = searching & (found > cost - _SHARE * step * gap)
            if not np.any(searching):
                break
            bend = np.where(searching, found - cost + step * gap, 1.0)
            ratio = np.clip(0.5 * step * gap / bend, _SMALLEST, 0.7)
            step = np.where(searching, step * ratio, step)
        active = active & (found < cost)
        theta += np.where(active, step, 0.0) * direction
        states, cost = speeds.run(f, theta)
    return cost, gap


def lowered(h: SeparableHamiltonian) -> speed_loops.Program | None:
    """The arrays of the compiled descents; None for what they do not know: a problem that depends
    on time, other costs than SquaredError of the state, activations without a code, or a phi that
    changes signs.
    """
    functional, rows, w = h.problem.functional, h.rows, h.weights
    phi, psi = rows.phi or identity, rows.psi or identity
    terminal, running = (
        squared_error(cost, len(w)) for cost in (functional.terminal, functional.running)
    )
    signed = phi is identity or (phi.odd and phi.monotone)
    if terminal is None or running is None or phi.code is None or psi.code is None:
        return None
    if not h.autonomous or not signed:
        return None
    held, units = h.held(0.0), len(w)
    offsets = np.zeros((2, units))
    if rows.offset in held:
        offsets += held[str(rows.offset)]
    offset = h.bounds.get(str(rows.offset))
    if offset is not None:
        offsets += np.array(offset)[:, None]
    matrix = held.get(rows.block, np.empty((0, 0)))
    codes = [phi.code, psi.code, phi.code in FROM_VALUE, psi.code in FROM_VALUE]
    measure = np.ones(units) if rows.weights is None else rows.weights
    return speed_loops.Program(
        h.problem.mesh.steps,
        offsets,
        np.array(h.bounds.get(rows.block) or (0.0, 0.0)),
        np.ascontiguousarray(matrix, dtype=float),
        rows.sign * measure,
        np.array(codes, dtype=np.int64),
        np.array([phi.parameter, psi.parameter]),
        np.stack([terminal[0] * w, terminal[1]]),
        np.stack([running[0] * w, running[1]])[:, : len(w) if h.has_running_cost else 0],
    )


def _shot(found: DescendedValues, number: int) -> float:
    """The cost of the extremal that shooting finds; nan where it finds none."""
    here = replace(found.problem, initial=found.states[:, number : number + 1])
    control = here.space.check("control", found.control(number))
    try:
        return shoot(here, initial=control).objective
    except (SolveError, TypeError):
        return float("nan")
