"""The state-costate equations of a problem, with the minimiser of the Hamiltonian put in, and their
integration with switching times located.

With p the derivative of the cost in the state (section "conventions" of the ledger: r = -p in the
paper), summed over samples with their weights,

    f' = F(f, c*, t),    p' = -(D_f F)* p - (running cost)_f,

where c*(f, p, t) minimises H over the admissible set.  Where blocks of it are at a vertex of a box
or a corner of a polygon, the signs of the switching functions, on which alone they depend, are held
during a step, and the step is cut where one of them crosses zero.  They are those of the set
(`switching`) at -g, for a box -g itself: g is the derivative of H in the control where the velocity
is affine in it, p_i and p_i r_j where unit i reads a row: not p_i psi'(u_i), which also vanishes
where psi is flat.  With a term s |c| and |c| <= M over all blocks the control is -M g / |g| where
|g| > s and 0 where |g| < s: the one switching function is |g| - s, named "joint".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy

from continuum.arrays import Array
from continuum.problem import LearningProblem

from .extremals import Switch
from .minimisers import (
    JOINT,
    affine_minimiser,
    closed_form,
    degree_one,
    joint_threshold,
    obstacle,
    quadratic,
    row_gradient,
    row_minimiser,
    rows_of,
    sets,
    switching,
)

Values = Mapping[str, Array]

_RESTING = 1e-9
"""Switching functions below this share of their largest value are at rest: a singular arc."""

_MOST_SWITCHES = 100
"""More in one segment are taken for a control that chatters."""


class Overflow(ArithmeticError):
    """The state or the costate did not stay finite."""


class Chatter(ArithmeticError):
    """The control switches without end: the path runs along a singular arc."""


class Exhausted(ArithmeticError):
    """The cap on right-hand sides was reached."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A step: z(t) = (f, p) on [t0, t1], as one vector, and the signs that were held."""

    t0: float
    t1: float
    z: Callable[[float], Array]
    signs: Values


class TwoPoint:
    """The equations of a problem, and the work spent on them.

    raises ValueError where the principle cannot be asked, TypeError where the minimiser of the
        Hamiltonian is not explicit
    """

    def __init__(self, problem: LearningProblem, rtol: float, most: int) -> None:
        self.problem, self.rtol, self.most = problem, rtol, most
        self.integrations = self.evaluations = 0
        self.network, self.space, self.mesh = problem.network, problem.space, problem.mesh
        self.units, self.samples = problem.initial.shape
        wrong = obstacle(problem)
        if wrong:
            raise ValueError(f"shoot needs a problem with Pontryagin's principle, but {wrong}")
        strengths, form = quadratic(problem), closed_form(problem)
        penalised = any(strengths.values())
        convex = problem.admissible is None or problem.admissible.convex
        self.zero = {b.name: np.zeros(b.shape) for b in problem.space.trained}
        rough = degree_one(problem)
        self.threshold = joint_threshold(problem)
        self.joint = self.threshold > 0.0
        off = rough is not None and not penalised
        if form == "local" or not convex or (off and not self.joint):
            wrong = "" if convex else f"; {problem.admissible!r} is not convex"
            raise TypeError(
                "shoot needs a problem with an explicit minimiser of the Hamiltonian: a velocity "
                "that is affine in the control, or one sample and units that each read a row "
                "through a known activation, as in WidthDepth and NeuralODE; a convex set or a "
                "Tikhonov term for every trained block; L1, if at all, with a Tikhonov term, or "
                "as groups='joint' with an Amplitude; and a running cost that does not read the "
                f"control{wrong}"
            )
        self.rows = rows_of(problem) if form == "rows" else None
        self.scalar = form == "rows" and penalised
        self.still = {n: np.zeros(x.shape) for n, x in switching(problem, self.zero).items()}
        self.held = bool(self.still)
        self.moving = not self.joint and any(n not in self.still for n in self.zero)

    def split(self, z: Array) -> tuple[Array, Array]:
        """(f, p), each (N, M)."""
        return tuple(z.reshape(2, self.units, self.samples))  # type: ignore[return-value]

    def fixed_at(self, t: float) -> dict[str, Array]:
        """The values of the blocks that are not trained, from the right at the ends of layers; past
        the horizon, where `_signs` looks a moment later, those of the horizon.
        """
        if not self.space.fixed:
            return {}
        t = min(t, self.mesh.horizon)
        return self.space.held(self.mesh.layer_of(t), t)

    def switching(self, t: float, z: Array) -> dict[str, Array]:
        """The switching functions, whose signs decide where blocks are held."""
        return switching(self.problem, self.slopes(t, z))

    def slopes(self, t: float, z: Array) -> dict[str, Array]:
        """For each trained block, what H is least at a support point of the negative of."""
        f, p = self.split(z)
        if self.rows is not None:
            found = row_gradient(self.problem, self.rows, f[None], p[None])
            return {n: g[0] for n, g in found.items()}
        bars = self.network.vjp(f, {**self.fixed_at(t), **self.zero}, t, p)[1]
        return {n: bars[n] for n in self.zero}

    def control(self, t: float, z: Array, signs: Values) -> dict[str, Array]:
        """The minimiser of the Hamiltonian, or the vertex with the signs held; the point nearest to
        0 for a sign 0.
        """
        resting = dict(self.zero)
        if self.problem.admissible is not None:
            resting.update(self.problem.admissible.nearest(resting, self.space))
        if self.scalar and self.rows is not None:
            f, p = self.split(z)
            at = {n: x[None] for n, x in resting.items()}
            held, points = self.fixed_at(t), (f[None], p[None])
            apart = {n: x[None] for n, x in signs.items()}
            found = row_minimiser(self.problem, self.rows, points, at, held, apart)[0]
            return {**held, **{n: x[0] for n, x in found.items()}}
        if self.joint:
            down = {n: -g for n, g in self.slopes(t, z).items()}
            found = resting
            if signs[JOINT] > 0:
                for part in sets(self.problem):
                    found.update(part.support(down, resting, self.space))
            return {**self.fixed_at(t), **found}
        slopes = self.slopes(t, z) if self.moving else self.zero
        return {**self.fixed_at(t), **affine_minimiser(self.problem, slopes, resting, signs)}

    def slope(self, t: float, z: Array, signs: Values) -> Array:
        """(f', p') as one vector."""
        self.evaluations += 1
        if self.evaluations > self.most:
            raise Exhausted
        f, p = self.split(z)
        values = self.control(t, z, signs)
        back = self.network.vjp(f, values, t, p)[0]
        if self.problem.functional.running is not None:
            back = back + self.problem.functional.running_vjp(f, values, t)[0]
        return np.stack([self.network.velocity(f, values, t), -back]).ravel()

    def end_gap(self, z: Array) -> Array:
        """p(T) minus the derivative of the terminal cost."""
        f, p = self.split(z)
        return (p - self.problem.functional.terminal_vjp(f)[0]).ravel()

    def run(self, t0: float, t1: float, z: Array) -> list[Piece]:
        """The steps from t0 to t1.  Raises Overflow, Chatter, Exhausted."""
        self.integrations += 1
        pieces: list[Piece] = []
        switched = 0
        signs = self._signs(t0, z, {})
        while t0 < t1:
            solver = scipy.integrate.DOP853(
                lambda t, x, held=signs: self.slope(t, x, held),
                t0,
                z,
                t1,
                rtol=self.rtol,
                atol=0.1 * self.rtol,
            )
            changed: dict[str, Array] = {}
            while solver.status == "running" and not changed:
                solver.step()
                if solver.status == "failed" or not np.all(np.isfinite(solver.y)):
                    raise Overflow
                inside, begin, end = solver.dense_output(), float(solver.t_old), float(solver.t)  # type: ignore[arg-type]
                if self.held:
                    end, changed = self._first_change(inside, begin, end, signs)
                pieces.append(Piece(begin, end, inside, signs))
            t0, z = pieces[-1].t1, np.asarray(pieces[-1].z(pieces[-1].t1))
            if changed:
                switched += 1
                if switched > _MOST_SWITCHES:
                    raise Chatter
                signs = {n: np.where(changed[n], -s, s) for n, s in signs.items()}
                signs = self._signs(t0, z, signs)
        return pieces

    def _signs(self, t: float, z: Array, held: Values) -> dict[str, Array]:
        """The signs of the switching functions; where they vanish, those held, or of a moment
        later.
        """
        if not self.held:
            return {}
        signs = {n: np.array(held.get(n, zero)) for n, zero in self.still.items()}
        later = t, z
        for _ in range(2):  # what vanishes at t may be seen a moment later, and what follows from
            # the first such sign at a second look
            found = self.switching(*later)
            level = _RESTING * self._size(found)
            for name, g in found.items():
                signs[name] = np.where(
                    (signs[name] == 0) & (np.abs(g) > level), np.sign(g), signs[name]
                )
            moment = 1e-6 * self.mesh.horizon
            later = t + moment, z + moment * self.slope(t, z, signs)
        return signs

    def _size(self, functions: Values) -> float:
        """What their zeros are told apart from: the largest value, at least the threshold."""
        sizes = (float(np.max(np.abs(x), initial=0.0)) for x in functions.values())
        return max(self.threshold, *sizes)

    def _first_change(
        self, inside: Callable[[float], Array], begin: float, end: float, signs: Values
    ) -> tuple[float, dict[str, Array]]:
        """The end of the step, cut at the first crossing, and which signs change there."""

        def against(t: float) -> dict[str, Array]:
            """The switching functions times the signs held: < 0 where they have crossed."""
            found = self.switching(t, np.asarray(inside(t)))
            return {n: g * signs[n] for n, g in found.items()}

        first, names = end, {n: np.zeros(s.shape, dtype=bool) for n, s in signs.items()}
        times = begin + (end - begin) * np.linspace(0.0, 1.0, 9)[1:]
        before = against(begin)
        for left, right in zip(np.append(begin, times[:-1]), times, strict=True):
            after = against(float(right))
            level = 1e-13 * self._size(after)
            crossing = [
                (n, tuple(i))
                for n, g in after.items()
                for i in np.argwhere((g < -level) & (before[n] > level))
            ]
            before = after
            if not crossing:
                continue
            roots = {
                (n, i): _root(
                    lambda t, n=n, i=i: float(against(t)[n][i]), float(left), float(right)
                )
                for n, i in crossing
            }
            first = min(roots.values())
            for (n, i), t in roots.items():
                names[n][i] = t <= first + 1e-12 * self.mesh.horizon
            return first, names
        return end, {}

    def switches(self, pieces: list[Piece]) -> tuple[Switch, ...]:
        """When which sign changes between two pieces."""
        found = []
        for before, after in pairwise(pieces):
            for name, signs in before.signs.items():
                for index in np.argwhere(signs * after.signs[name] < 0):
                    found.append(Switch(before.t1, name, tuple(int(i) for i in index)))
        return tuple(found)


def _root(function: Callable[[float], float], left: float, right: float) -> float:
    """A zero between two points of opposite sign."""
    return float(scipy.optimize.brentq(function, left, right, xtol=1e-15))  # type: ignore[arg-type]
