"""Pontryagin's Hamiltonian at any points of time, state and costate at once, its gradient in the
control, and its least value over the admissible set.

    H(c) = sum_m s_m [ (p_m, F(f_m, c, t)) + L_m(f_m, c, t) ] + penalty density(c)

with p_m the derivative of the cost of sample m in its state, so that H is minimised; L is the
running cost.  Where `closed_form` knows the minimiser it is exact; elsewhere projected gradients
descend from the control at hand, and what they find is called inexact.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numba
import numpy as np

from continuum.arrays import Array
from continuum.checks import check_array, check_type
from continuum.controls import Control
from continuum.doors import checked
from continuum.penalties import PenaltySum, terms_of
from continuum.problem import LearningProblem
from continuum.records import short

from ..adjoint.discretize import ReducedObjective
from ..descent.run import smooth_run
from ..steps.tableaux import Euler
from .minimisers import (
    Values,
    affine_minimiser,
    closed_form,
    row_gradient,
    row_minimiser,
    rows_of,
    switching,
    unbounded,
)

_WORTH_THREADS = 1_000_000
"""Entries times units below which starting threads costs more than it saves."""

_HALVINGS = 60
"""How many attempts of a local search, beyond its iterations, may only halve steps."""

_DOUBT = 1e-9
"""A minimum that bounds leave open by more than this share of 1 + |H| is called inexact."""


@checked
def layer_hamiltonian(objective: ReducedObjective, control: Control) -> "Hamiltonian":
    """The Hamiltonians of the layers of a ResNet.

        H_k(c) = sum_m s_m [ (p_{m,k+1}, F(f_{m,k}, c, t_k)) + (L_m(f_{m,k}, c, t_k)
                 + L_m(f_{m,k+1}, c, t_{k+1})) / 2 ] + penalty density(c)

    The derivative of H_k at the control is the gradient of the objective on layer k, exactly.
    Trained blocks that are constant in time stay what they are in `control`.
    raises TypeError for an objective of another kind; ValueError unless it is made with Euler, one
        step per layer; SolveError if states do not stay finite
    """
    check_type("objective", objective, ReducedObjective)
    if type(objective.stepper) is not Euler or objective.steps_per_layer != 1:
        raise ValueError(
            "objective must be discretized by Euler with one step per layer: the layers of a ResNet"
        )
    path = smooth_run(objective, control)
    return of_layers(objective.problem, control, path.times, path.states, path.costates)


def of_layers(
    problem: LearningProblem, control: Control, times: Array, states: Array, costates: Array
) -> "Hamiltonian":
    """The same from a run by Euler: times (K + 1,), states and costates (K + 1, N, M)."""
    static = [b.name for b in problem.space.trained if b.time == "static"]
    if static:
        problem = problem.holding(control, static)[0]
    after = (times[1:], states[1:]) if problem.functional.running is not None else None
    return Hamiltonian(problem, times[:-1], states[:-1], costates[1:], after=after)


@dataclass(frozen=True, eq=False)
class Minimum:
    """A control that lowers H at every point.

    values : (L, *block.shape)
    value : (L,), H(values): min H where exact
    gap : (L,), H(control given) - H(values) >= 0
    exact : True if `values` minimises H; otherwise `gap` is a lower bound of the true one
    residual : (L,), where inexact: |P(c - g) - c|^2 with g the derivative of H at the control
        given, which vanishes where no small step lowers H
    """

    values: dict[str, Array]
    value: Array
    gap: Array
    exact: bool
    residual: Array | None = None

    __repr__ = short


@checked
@dataclass(frozen=True, eq=False)
class Hamiltonian:
    """H at L points, each with its own value of the control.

    problem : whose trained blocks all depend on time
    times : (L,), or one time for all points
    states, costates : (L, N, M); the costates are those of each sample's own cost, as
        `ReducedObjective.run` gives them
    after : (times, states) of L other points: L is then the mean of the running cost here and
        there, the trapezoid rule on a layer
    raises ValueError for shapes that do not fit the problem
    """

    problem: LearningProblem
    times: Array | float
    states: Array
    costates: Array
    after: tuple[Array, Array] | None = field(default=None, kw_only=True)

    __repr__ = short

    def __post_init__(self) -> None:
        shape = self.problem.initial.shape
        states = check_array("states", self.states, ("L", *shape))
        count = len(states)
        given = np.broadcast_to(self.times, count) if np.ndim(self.times) == 0 else self.times
        times = check_array("times", np.asarray(given), (count,))
        costates = check_array("costates", self.costates, (count, *shape))
        for name, value in (("times", times), ("states", states), ("costates", costates)):
            object.__setattr__(self, name, value)

    def value(self, values: Values) -> Array:
        """(L,): H."""
        weights = self.problem.network.weights[:, None]
        power = np.sum(weights * self._shared * self.velocity(values), axis=(-2, -1))
        return power + self.running(values) + self.penalty(values)

    def gradient(self, values: Values) -> dict[str, Array]:
        """The derivative of H in each trained block, in the block's own weights, without penalties
        that have none: (L, *block.shape).
        """
        found = self._pulled_back(values, self._shared)[1]
        bars = [self._running_gradient(values), self._smooth_gradient(values)]
        return {n: sum((b[n] for b in bars if n in b), x) for n, x in found.items()}

    def switching(self, values: Values) -> dict[str, Array]:
        """The switching functions (L, ...), by block, see minimisers.switching; none where the
        minimiser has no closed form.
        """
        form, rows = closed_form(self.problem), rows_of(self.problem)
        if form == "local":
            return {}
        if form == "rows" and rows is not None:
            slopes = row_gradient(self.problem, rows, self.states, self._shared)
        else:
            slopes = self._pulled_back(values, self._shared)[1]
        return switching(self.problem, slopes)

    def minimiser(self, values: Values, iterations: int = 50) -> Minimum:
        """A minimiser of H over the admissible set.

        Where there is a closed form, exact; otherwise at most `iterations` projected gradients from
        `values`.
        raises ValueError if H may have no minimum, because some block is neither bounded nor
        penalised by a square
        """
        form, doubt = closed_form(self.problem), np.zeros(1)
        if form == "local":
            missing = unbounded(self.problem)
            if missing:
                raise ValueError(missing)
            return self.descend(values, iterations)
        rows = rows_of(self.problem)
        if form == "rows" and rows is not None:
            points = self.states, self.costates
            best, doubt = row_minimiser(self.problem, rows, points, values, self._held)
        else:
            slope = self._pulled_back(values, self._shared)[1]
            best = affine_minimiser(self.problem, slope, values)
        least = self.value(best)
        exact = bool(np.all(doubt <= _DOUBT * (1.0 + np.abs(least))))
        return Minimum(best, least, np.maximum(self.value(values) - least, 0.0), exact)

    def descend(self, values: Values, iterations: int) -> Minimum:
        """Projected gradients from `values`, at every point with its own step, halved until H
        falls, then doubled.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return self._descend(values, iterations)

    def _descend(self, values: Values, iterations: int) -> Minimum:
        x, start = dict(values), self.value(values)
        value, step, steps = start, np.ones(len(start)), 0
        gradient, residual = self.gradient(x), np.zeros(len(start))
        for attempt in range(iterations + _HALVINGS):
            trial = self._projected(
                {n: v - _spread(step, v) * gradient[n] for n, v in x.items()}, step
            )
            change = self._squares({n: trial[n] - v for n, v in x.items()})
            residual = change if attempt == 0 else residual
            found = self.value(trial)
            still = change == 0.0
            good = ~still & (found <= value - 1e-4 * change / step)
            step = np.where(good | still, np.minimum(2.0 * step, 1e12), 0.5 * step)
            if np.any(good):
                x = {n: np.where(_spread(good, v), trial[n], v) for n, v in x.items()}
                value = np.where(good, found, value)
                gradient = self.gradient(x)
                steps += 1
            if steps == iterations:
                break
        return Minimum(x, value, start - value, False, residual)

    def _projected(self, x: dict[str, Array], step: Array) -> dict[str, Array]:
        """The proximal map of the penalties without a gradient, step (L,), then the nearest point
        of the set.
        """
        rough = tuple(t for t in terms_of(self.problem.penalty) if not t.smooth)
        if rough:
            both = PenaltySum(rough)
            points = [
                both.density_prox(self._space, {n: v[k] for n, v in x.items()}, float(step[k]))
                for k in range(len(step))
            ]
            x = {n: np.stack([point[n] for point in points]) for n in x}
        if self.problem.admissible is not None:
            x = {**x, **self.problem.admissible.nearest(x, self._space)}
        return x

    def velocity(self, values: Values) -> Array:
        """(L, N, M): F(f, c, t)."""
        network = self.problem.network
        if network.broadcasts:
            return network.velocity(self.states, {**self._held, **values}, 0.0)
        return np.stack(self._each(values, lambda n, c, t: network.velocity(self.states[n], c, t)))

    def running(self, values: Values) -> Array:
        """(L,): the running cost, averaged over samples."""
        functional, total = self.problem.functional, np.zeros(len(self.states))
        for factor, times, states in self._running_points:
            c = {**self._held_at(times), **values}
            total += factor * functional.mean(functional.running_costs(states, c, times))
        return total

    def penalty(self, values: Values) -> Array:
        """(L,): the density of the penalty."""
        total = np.zeros(len(self.states))
        for term in terms_of(self.problem.penalty):
            total = total + term.density(self._space, values)
        return total

    def _running_gradient(self, values: Values) -> dict[str, Array]:
        """The derivative of `running` in the trained blocks it reads."""
        functional = self.problem.functional
        found = {n: np.zeros_like(x) for n, x in values.items() if n in functional.running_reads}
        for factor, times, states in self._running_points if found else ():
            c = {**self._held_at(times), **values}
            bars = functional.running_vjp(states, c, times)[1]
            for name in found:
                if name in bars:
                    found[name] += factor * bars[name]
        return found

    def _smooth_gradient(self, values: Values) -> dict[str, Array]:
        """The derivative of the penalties that have one."""
        found: dict[str, Array] = {}
        for term in terms_of(self.problem.penalty):
            if term.smooth:
                for name, x in term.density_gradient(self._space, values).items():
                    found[name] = found[name] + x if name in found else x
        return found

    @property
    def _running_points(self) -> list[tuple[float, Array, Array]]:
        """(factor, times, states) at which the running cost is taken."""
        if self.problem.functional.running is None:
            return []
        here = (np.asarray(self.times), self.states)
        return [(1.0, *here)] if self.after is None else [(0.5, *here), (0.5, *self.after)]

    @cached_property
    def _held(self) -> dict[str, Array]:
        """The fixed blocks at the points."""
        return self._held_at(np.asarray(self.times))

    def _held_at(self, times: Array) -> dict[str, Array]:
        """The fixed blocks at these times, continued from inside the layers of the points."""
        layers = self._space.mesh.layers_of(np.asarray(self.times))
        return self._space.held(layers, times)

    @property
    def _space(self):  # noqa: ANN202
        return self.problem.space

    @property
    def _shared(self) -> Array:
        """(L, N, M): the costates times the weights s_m of their samples."""
        return self.problem.sample_weights * self.costates

    def _squares(self, x: Values) -> Array:
        """(L,): the sum over blocks of |x|^2 in the weights of the block."""
        total = np.zeros(len(self.states))
        for block in self._space.trained:
            square = block.weights * x[block.name] ** 2
            total += np.sum(square, axis=tuple(range(1, square.ndim)))
        return total

    def _pulled_back(self, values: Values, p: Array) -> tuple[Array, dict[str, Array]]:
        """(D_f F)* p and (D_c F)* p."""
        network = self.problem.network
        if network.broadcasts:
            back, bars = network.vjp(self.states, {**self._held, **values}, 0.0, p)
            return back, {n: bars[n] for n in values}
        return self._stacked(
            self._each(values, lambda n, c, t: network.vjp(self.states[n], c, t, p[n])), values
        )

    def _pulled_back_derivative(self, values: Values, p: Array, df: Array) -> dict[str, Array]:
        """The derivative of (D_c F)* p in the state, in the direction df."""
        network, none = self.problem.network, np.zeros_like(p)
        if network.broadcasts:
            c = {**self._held, **values}
            bars = network.vjp_derivative(self.states, c, 0.0, p, df, {}, none)[1]
            return {n: bars[n] for n in values}

        def one(n: int, c: Values, t: float) -> tuple[Array, dict[str, Array]]:
            return network.vjp_derivative(self.states[n], c, t, p[n], df[n], {}, none[n])

        return self._stacked(self._each(values, one), values)[1]

    def _stacked(
        self, pairs: list[tuple[Array, dict[str, Array]]], values: Values
    ) -> tuple[Array, dict[str, Array]]:
        return np.stack([q for q, _ in pairs]), {
            n: np.stack([bars[n] for _, bars in pairs]) for n in values
        }

    def _each(self, values: Values, ask: Callable[[int, Values, float], object]) -> list:
        """What a network that does not broadcast answers, point by point, in parallel."""
        settings, count, times = np.geterr(), len(self.states), np.asarray(self.times)
        axes, held = self._space.axes, self._held

        def one(n: int) -> object:
            c = {name: x[n] if axes[name].length else x for name, x in held.items()}
            c.update({name: x[n] for name, x in values.items()})
            with np.errstate(**settings):
                return ask(n, c, float(times[n]))

        if self.states.size * self.states.shape[1] < _WORTH_THREADS:
            return [one(n) for n in range(count)]
        with ThreadPoolExecutor(numba.get_num_threads()) as pool:
            return list(pool.map(one, range(count)))


@dataclass(frozen=True, eq=False)
class AugmentedHamiltonian(Hamiltonian):
    """H(c) + rho / 2 sum_m s_m ( |F(f_m, c) - F(f_m, c_0)|^2 + |D_f H_m (c) - D_f H_m (c_0)|^2 ),

    D_f H_m = (D_f F)* p_m + (D_f L_m)*.  Minimising it lowers the objective too once rho is large
    enough: it keeps the rates of state and costate near those of the control c_0 = `at` at hand,
    with which H was computed.
    Source: Li, Chen, Tai and E, Maximum principle based algorithms for deep learning (2018): the
    extended method of successive approximations (formula 1.6 of the ledger).
    """

    rho: float
    at: Values

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_rates", (self.velocity(self.at), self._back(self.at)))

    def value(self, values: Values) -> Array:
        forward, back = self._departures(values)
        weights = self.problem.network.weights[:, None] * self.problem.sample_weights
        return super().value(values) + 0.5 * self.rho * np.sum(
            weights * (forward**2 + back**2), axis=(-2, -1)
        )

    def gradient(self, values: Values) -> dict[str, Array]:
        forward, back = self._departures(values)
        shares = self.problem.sample_weights
        found = super().gradient(values)
        second = self._pulled_back(values, shares * forward)[1]
        third = self._pulled_back_derivative(values, shares * self.costates, back)
        fourth = self._running_derivative(values, back)
        return {
            n: g + self.rho * (second[n] + third[n] + fourth.get(n, 0.0)) for n, g in found.items()
        }

    def _back(self, values: Values) -> Array:
        """(L, N, M): D_f H of every sample; the running cost only where it reads the control, since
        differences are wanted.
        """
        found = self._pulled_back(values, self.costates)[0]
        functional, ones = self.problem.functional, np.ones(self.states.shape[2])
        for factor, times, states in self._coupled_points(values):
            c = {**self._held_at(times), **values}
            found = found + factor * functional.running_vjp(states, c, times, ones)[0]
        return found

    def _running_derivative(self, values: Values, df: Array) -> dict[str, Array]:
        """The derivative of the running cost's derivative in the control, in the direction df of
        the state.
        """
        functional = self.problem.functional
        found = {n: np.zeros_like(x) for n, x in values.items() if n in functional.running_reads}
        for factor, times, states in self._coupled_points(values):
            c = {**self._held_at(times), **values}
            bars = functional.running_vjp_derivative(states, c, times, df, {})[1]
            for name in found:
                if name in bars:
                    found[name] += factor * bars[name]
        return found

    def _coupled_points(self, values: Values) -> list[tuple[float, Array, Array]]:
        """The running cost at the state that moves, where it reads a trained block."""
        reads = set(values) & set(self.problem.functional.running_reads)
        return self._running_points[:1] if reads else []

    def _departures(self, values: Values) -> tuple[Array, Array]:
        forward, back = self._rates  # type: ignore[attr-defined]
        return self.velocity(values) - forward, self._back(values) - back


def _spread(x: Array, example: Array) -> Array:
    """(L,) as (L, 1, ..., 1)."""
    return x.reshape((-1,) + (1,) * (example.ndim - 1))
