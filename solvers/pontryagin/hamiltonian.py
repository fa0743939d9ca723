"""Pontryagin's Hamiltonian at many points of a run at once, its gradient, and its minimisers over
the admissible set.

At a point (f, p) of a run, p_m the derivative of the cost of sample m in its state (so that H is
minimised; the Hamiltonian of Liu and Markowich, with r = -p, is the negative and is maximised):

    H(c) = sum_m s_m (p_m, F(f_m, c)) + lambda |c|^2    (the last term with a Tikhonov penalty).

Its minimiser has a closed form in two cases, and only there is it called exact:

    affine   F is affine in c, any number of samples: H(c) = (g, c) + lambda |c|^2 + const, so c is
    a support point of
             -g, or, with lambda > 0, the point of the set nearest to -g / (2 lambda).
    single   one sample, f_t = sigma(a - Bf), sigma nondecreasing, no penalty, a set that bounds
    every row (a_i, b_i.)
             on its own: the row is a support point of (-sign p_i, sign(p_i) f), so that the
             velocity is sigma(min (a - int b f)) where p_i > 0 and sigma(max (a - int b f)) where
             p_i < 0.

Where p_i = 0, or an entry does not matter because f_j = 0, the control stays what it was (sign 0 =
0). Several samples and a sigma that is not affine have neither: r = (1, -1), c = (-1, 1), tanh, has
the maximiser a = 0 of sum_m r_m sigma(a - c_m) inside [-1, 1].  There projected gradients descend
from the control at hand: inexact.

Source: Liu and Markowich section 4.2, with E26-E28 of its errata.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np

from continuum.arrays import Array, is_numpy
from continuum.controls import Control
from continuum.kernels import Dense
from continuum.networks import WidthDepth
from continuum.penalties import Tikhonov
from continuum.problem import LearningProblem
from continuum.sets import AdmissibleSet, L1Ball

from ..adjoint.discretize import ReducedObjective
from ..flow.integrate import integrate
from ..steps.tableaux import Euler

Values = Mapping[str, Array]
"""One value of every trained block for each of L points: (L, *block.shape)."""

Form = Literal["affine", "single", "local"]

_WORTH_THREADS = 1_000_000
"""Entries times units below which starting threads costs more than it saves."""

_HALVINGS = 60
"""How many attempts of a local search, beyond its iterations, may only halve steps."""


def obstacle(problem: LearningProblem) -> str:
    """Why Pontryagin's principle cannot be asked of this problem, in words; empty if it can."""
    static = [b.name for b in problem.space.trained if b.time == "static"]
    if static:
        return (
            f"{', '.join(static)} cannot be chosen at every time on its own: it is constant in "
            f"time "
            "(hold it with fixed={...}, or train it by minimize)"
        )
    for term in problem.penalty.terms if problem.penalty is not None else ():
        if not isinstance(term, Tikhonov):
            return (
                f"the penalty {type(term).__name__} has no density of which H is "
                f"differentiable; Tikhonov has"
            )
    if problem.admissible is not None and not problem.admissible.pointwise:
        return f"the set {problem.admissible!r} does not bound the control at each time on its own"
    if not is_numpy(problem.initial):
        return "states are not NumPy's"
    return ""


def unbounded(problem: LearningProblem) -> str:
    """The trained blocks that neither a set nor a penalty bounds, so that H has no minimum; empty
    if there are none.
    """
    held = () if problem.admissible is None else problem.admissible.names
    strengths = tikhonov_strengths(problem)
    return ", ".join(
        b.name for b in problem.space.trained if b.name not in held and strengths[b.name] == 0.0
    )


def tikhonov_strengths(problem: LearningProblem) -> dict[str, float]:
    """lambda of every trained block, 0 where none counts for it."""
    found = {b.name: 0.0 for b in problem.space.trained}
    for term in problem.penalty.terms if problem.penalty is not None else ():
        if isinstance(term, Tikhonov):
            for block in term.penalised(problem.space):
                found[block.name] += term.strength
    return found


def closed_form(problem: LearningProblem) -> Form:
    """Which closed form the minimiser of H has, "single" where both hold (they agree); "local" for
    none.
    """
    strengths, network = tikhonov_strengths(problem), problem.network
    parts = () if problem.admissible is None else problem.admissible.parts
    if unbounded(problem):
        return "local"
    single = (
        isinstance(network, WidthDepth)
        and isinstance(network.kernel, Dense)
        and network.activation.monotone
    )
    single = single and problem.initial.shape[1] == 1 and not any(strengths.values())
    if single and all(_by_rows(part, problem) for part in parts):
        return "single"
    alike = all(len({strengths[n] for n in part.names}) == 1 for part in parts)
    return "affine" if network.affine_in_control and alike else "local"


def _by_rows(part: AdmissibleSet, problem: LearningProblem) -> bool:
    """True if the set bounds every row (a_i, b_i.) on its own: all but an L1Ball of the bias, which
    couples units.
    """
    axes = {b.name: len(b.shape) for b in problem.space.trained}
    return not isinstance(part, L1Ball) or all(axes[n] == 2 for n in part.names)


def affine_minimiser(
    problem: LearningProblem, gradient: Values, values: Values
) -> dict[str, Array]:
    """argmin_c (g, c) + lambda |c|^2 over the set, for g = D_c sum_m s_m (p_m, F(f_m, c)) that does
    not depend on c.

    Exact for convex sets, and for a FiniteSet because its entries are apart; where entries of g
    vanish and lambda = 0, the control stays what it was in `values`.  All arrays (L, *block.shape).
    """
    strengths = tikhonov_strengths(problem)
    free = {n: -g / (2.0 * strengths[n]) for n, g in gradient.items() if strengths[n] > 0.0}
    found = dict(free)
    for part in problem.admissible.parts if problem.admissible is not None else ():
        if part.names[0] in free:
            found.update(part.nearest(free, problem.space))
        else:
            down = {n: -gradient[n] for n in part.names}
            found.update(part.support(down, values, problem.space))
    return found


def extreme_rows(problem: LearningProblem, states: Array, values: Values) -> dict[str, Array]:
    """The rows of the control that make a_i - (Bf)_i least and largest: bias (L, 2), kernel (L, 2,
    N).

    states : (L, N).  values : rows (L, 2), (L, 2, N) whose entries stand where f_j = 0, and where
        no set bounds.
    """
    sign = np.array([1.0, -1.0])
    gradient = {
        "bias": np.broadcast_to(-sign, (len(states), 2)),
        "kernel": sign[:, None] * states[:, None, :],
    }
    found = dict(values)
    if problem.admissible is not None:
        for part in problem.admissible.parts:
            found.update(part.support(gradient, values, problem.space))
    return found


def layer_hamiltonian(objective: ReducedObjective, control: Control) -> "Hamiltonian":
    """The Hamiltonians of the layers of a ResNet: H_k(c) = sum_m s_m (p_{m,k+1}, F(f_{m,k}, c)) +
    penalty.

    The derivative of H_k at the control is the gradient of the objective on layer k, exactly.
    raises ValueError unless the objective is made with Euler, one step per layer; SolveError if
        states do not stay finite
    """
    if type(objective.stepper) is not Euler or objective.steps_per_layer != 1:
        raise ValueError(
            "objective must be discretized by Euler with one step per layer: the layers of a ResNet"
        )
    problem = objective.problem
    states = integrate(
        problem.network, control, problem.initial, Euler(), save="steps"
    ).trajectory.states
    return Hamiltonian(problem, states[:-1], objective.costates(control).states[1:])


@dataclass(frozen=True, eq=False)
class Minimum:
    """A control that lowers H at every point.

    values : (L, *block.shape)
    gap : (L,), H(control given) - H(values) >= 0
    exact : True if `values` minimises H; otherwise `gap` is a lower bound of the true one
    residual : (L,), where inexact: |P(c - g) - c|^2 with g the derivative of H at the control
        given, which vanishes where no small step lowers H
    """

    values: dict[str, Array]
    gap: Array
    exact: bool
    residual: Array | None = None


@dataclass(frozen=True, eq=False)
class Hamiltonian:
    """H at L points, each with its own value of the control.

    states, costates : (L, N, M); costates of each sample's own cost, as `ReducedObjective.costates`
        gives them
    """

    problem: LearningProblem
    states: Array
    costates: Array

    def value(self, values: Values) -> Array:
        """(L,): H."""
        weights = self.problem.network.weights[:, None]
        return np.sum(weights * self._shared * self.velocity(values), axis=(-2, -1)) + self.density(
            values
        )

    def gradient(self, values: Values) -> dict[str, Array]:
        """The derivative of H in each trained block, in the block's own weights: (L,
        *block.shape).
        """
        found = self._pulled_back(values, self._shared)[1]
        strengths = tikhonov_strengths(self.problem)
        return {
            n: found[n] + 2.0 * strengths[n] * x if strengths[n] else found[n]
            for n, x in values.items()
        }

    def minimiser(self, values: Values, iterations: int = 50) -> Minimum:
        """A minimiser of H over the admissible set.

        Where there is a closed form, exact; otherwise at most `iterations` projected gradients from
        `values`.
        raises ValueError if H has no minimum there, because some block is neither bounded nor
        penalised
        """
        form = closed_form(self.problem)
        if form == "local":
            free = unbounded(self.problem)
            if free:
                raise ValueError(
                    f"H has no minimum: {free} is neither bounded by a set nor penalised"
                )
            return self.descend(values, iterations)
        if form == "affine":
            best = affine_minimiser(
                self.problem, self._pulled_back(values, self._shared)[1], values
            )
        else:
            sign, f = np.sign(self.costates[..., 0]), self.states[..., 0]
            down = {"bias": -sign, "kernel": sign[..., None] * f[:, None, :]}
            admissible = self.problem.admissible
            best = (
                dict(values)
                if admissible is None
                else {**values, **admissible.support(down, values, self._space)}
            )
        return Minimum(best, np.maximum(self.value(values) - self.value(best), 0.0), True)

    def gap(self, values: Values, iterations: int = 50) -> Minimum:
        """As `minimiser`, but for one sample the minimising kernel is not formed, and no `values`
        are returned.
        """
        if closed_form(self.problem) != "single":
            return self.minimiser(values, iterations)
        f, p = self.states[..., 0], self.costates[..., 0]
        w, fixed = self.problem.network.weights, self._space.fixed
        count, units = f.shape
        rows = extreme_rows(
            self.problem, f, {"bias": np.zeros((count, 2)), "kernel": np.zeros((count, 2, units))}
        )
        bias = fixed["bias"][:, None] if "bias" in fixed else rows["bias"][:, None, :]
        moved = np.sum(rows["kernel"] * (w * f)[:, None, :], axis=-1)[:, None, :]
        if "kernel" in fixed:
            moved = ((w * f) @ fixed["kernel"].T)[:, :, None]
        ends = np.broadcast_to(bias - moved, (count, units, 2))
        chosen = np.where(p > 0, ends[..., 0], ends[..., 1])
        least = np.sum(w * p * self.problem.network.activation.value(chosen), axis=-1)  # type: ignore[attr-defined]
        return Minimum({}, np.maximum(self.value(values) - least, 0.0), True)

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
            trial = {n: v - _spread(step, v) * gradient[n] for n, v in x.items()}
            if self.problem.admissible is not None:
                trial.update(self.problem.admissible.nearest(trial, self._space))
            moved = self.inner({n: trial[n] - v for n, v in x.items()})
            residual = moved if attempt == 0 else residual
            found = self.value(trial)
            still = moved == 0.0
            good = ~still & (found <= value - 1e-4 * moved / step)
            step = np.where(good | still, np.minimum(2.0 * step, 1e12), 0.5 * step)
            if np.any(good):
                x = {n: np.where(_spread(good, v), trial[n], v) for n, v in x.items()}
                value = np.where(good, found, value)
                gradient = self.gradient(x)
                steps += 1
            if steps == iterations:
                break
        return Minimum(x, start - value, False, residual)

    def velocity(self, values: Values) -> Array:
        """(L, N, M): F(f, c)."""
        network = self.problem.network
        if network.broadcasts:
            return network.velocity(self.states, {**self._space.fixed, **values}, 0.0)
        return np.stack(self._each(values, lambda n, c: network.velocity(self.states[n], c, 0.0)))

    def density(self, values: Values) -> Array:
        """(L,): the integrand of the penalty."""
        strengths = tikhonov_strengths(self.problem)
        return self.inner({n: x for n, x in values.items() if strengths[n]}, strengths)

    def inner(self, x: Values, factors: Mapping[str, float] | None = None) -> Array:
        """(L,): sum over blocks of factor |x|^2 in the weights of the block."""
        total = np.zeros(len(self.states))
        for block in self._space.trained:
            if block.name in x:
                square = block.weights * x[block.name] ** 2
                share = np.sum(square, axis=tuple(range(1, square.ndim)))
                total += share if factors is None else factors[block.name] * share
        return total

    @property
    def _space(self):  # noqa: ANN202
        return self.problem.space

    @property
    def _shared(self) -> Array:
        """(L, N, M): the costates with the shares s_m of their samples."""
        return self.problem.sample_weights * self.costates

    def _pulled_back(self, values: Values, p: Array) -> tuple[Array, dict[str, Array]]:
        """(D_f F)* p and (D_c F)* p."""
        network = self.problem.network
        if network.broadcasts:
            back, bars = network.vjp(self.states, {**self._space.fixed, **values}, 0.0, p)
            return back, {n: bars[n] for n in values}
        return self._stacked(
            self._each(values, lambda n, c: network.vjp(self.states[n], c, 0.0, p[n])), values
        )

    def _pulled_back_derivative(self, values: Values, p: Array, df: Array) -> dict[str, Array]:
        """The derivative of (D_c F)* p in the state, in the direction df."""
        network, none = self.problem.network, np.zeros_like(p)
        if network.broadcasts:
            c = {**self._space.fixed, **values}
            bars = network.vjp_derivative(self.states, c, 0.0, p, df, {}, none)[1]
            return {n: bars[n] for n in values}

        def one(n: int, c: Values) -> tuple[Array, dict[str, Array]]:
            return network.vjp_derivative(self.states[n], c, 0.0, p[n], df[n], {}, none[n])

        return self._stacked(self._each(values, one), values)[1]

    def _stacked(
        self, pairs: list[tuple[Array, dict[str, Array]]], values: Values
    ) -> tuple[Array, dict[str, Array]]:
        return np.stack([q for q, _ in pairs]), {
            n: np.stack([bars[n] for _, bars in pairs]) for n in values
        }

    def _each(self, values: Values, ask: Callable[[int, Values], object]) -> list:
        """What a network that does not broadcast answers, point by point, in parallel."""
        settings, count = np.geterr(), len(self.states)

        def one(n: int) -> object:
            with np.errstate(**settings):
                return ask(n, {**self._space.fixed, **{name: x[n] for name, x in values.items()}})

        if self.states.size * self.states.shape[1] < _WORTH_THREADS:
            return [one(n) for n in range(count)]
        with ThreadPoolExecutor(numba.get_num_threads()) as pool:
            return list(pool.map(one, range(count)))


@dataclass(frozen=True, eq=False)
class AugmentedHamiltonian(Hamiltonian):
    """H(c) + rho / 2 sum_m s_m ( |F(f_m, c) - F(f_m, c_0)|^2 + |(D_f F)* p_m (c) - (D_f F)* p_m
    (c_0)|^2 ).

    Minimising it lowers the objective too once rho is large enough: it keeps the rates of state and
    costate near those of the control c_0 = `at` at hand, with which H was computed.
    Source: Li, Chen, Tai and E, Maximum principle based algorithms for deep learning (2018): the
    extended method of successive approximations (formula 1.6 of the ledger).
    """

    rho: float
    at: Values

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rates", (self.velocity(self.at), self._back(self.at)))

    def value(self, values: Values) -> Array:
        moved, turned = self._departures(values)
        weights = self.problem.network.weights[:, None] * self.problem.sample_weights
        return super().value(values) + 0.5 * self.rho * np.sum(
            weights * (moved**2 + turned**2), axis=(-2, -1)
        )

    def gradient(self, values: Values) -> dict[str, Array]:
        moved, turned = self._departures(values)
        shares = self.problem.sample_weights
        first = super().gradient(values)
        second = self._pulled_back(values, shares * moved)[1]
        third = self._pulled_back_derivative(values, shares * self.costates, turned)
        return {n: g + self.rho * (second[n] + third[n]) for n, g in first.items()}

    def _back(self, values: Values) -> Array:
        return self._pulled_back(values, self.costates)[0]

    def _departures(self, values: Values) -> tuple[Array, Array]:
        forward, back = self._rates  # type: ignore[attr-defined]
        return self.velocity(values) - forward, self._back(values) - back


def _spread(x: Array, example: Array) -> Array:
    """(L,) as (L, 1, ..., 1)."""
    return x.reshape((-1,) + (1,) * (example.ndim - 1))
