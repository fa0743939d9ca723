"""Strict dissipativity at a static optimum, and what it says of the time spent far from it.

With the static multiplier p* the rotated cost is

    r(x, u) = l(x, u) - l(x*, u*) + <p*, F(x, u)>,
    int_0^T r dt = int_0^T (l - l*) dt + <p*, x(T) - x(0)>.

Where r >= alpha d^2, d the distance |x - x*| (for networks without drift to the set of static
optima), S(x) = -<p*, x> is a storage function: S(x(t)) grows by at most int (l - l* - alpha d^2).
Then alpha eps^2 times the time spent at a distance of eps or more is at most int_0^T r dt, its
`excess`.

For linear dynamics with a quadratic cost r is half a quadratic form, so alpha = half the least
eigenvalue of Q - S R^-1 S* holds everywhere.  The excess w of a minimiser has a bound that no
horizon enters.  Let V >= 0 >= -Y be the stabilising and the antistabilising solution of the Riccati
equation, x0 the initial state minus x*, y the last state minus x*, a = |x0|_V, b = |p*|_(V^-1), c =
|p*|_(Y^-1), d = |x0|_Y.  Compared with the feedback of V, whose excess is at most a^2/2 and whose
last state is at most a in the norm of V,

    w <= a^2/2 + a b + <p*, y>,   <p*, y> <= c |y|_Y,   |y|_Y^2 <= 2 w + d^2,

the last since x* Y x / 2 grows by at most int r dt along any path.  Hence |y|_Y <= s = c + (c^2 +
d^2 + a^2 + 2 a b)^(1/2) and w <= (s^2 - d^2) / 2.
Where Q - S R^-1 S* is not positive definite, a linear-quadratic problem may still be strictly
dissipative with S(x) = -<p*, x> - x* X x / 2 (x from the static state): with X the stabilising
solution of the Riccati equation for Q - 2 alpha, r + d/dt (x* X x / 2) >= alpha d^2.  It exists for
all alpha below the first at which that equation's Hamiltonian matrix has an imaginary eigenvalue;
half of that alpha is taken.
Source: Gruene and Guglielmi (2018) and Trelat and Zhang (2018) for dissipativity and measure
turnpike; Willems (1971) for the quadratic storage; the bound is derived here.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_positive
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import plain, short

from ..adjoint.discretize import discretize
from ..adjoint.linear_quadratic import has_constant_curvature
from .quadratic import free, linear_quadratic
from .spectra import (
    Linearisation,
    NoSpectralGap,
    hamiltonian_matrix,
    invariant_subspace,
    linearise,
    riccati_solution,
    split,
)
from .stage import Stage
from .static import StaticOptimum

_SAMPLES = 32
"""States per sphere at which the rotated cost is tried."""
_RADII = 2.0 ** np.arange(-8, 3)
"""Their radii, as shares of |x*| plus the distance of the initial state."""


@dataclass(frozen=True, eq=False)
class Dissipativity:
    """Whether l - l* + <p*, F> >= modulus d^2, and what follows.

    how : "exact", for all states and controls; "sampled", up to `radius`, at sampled states with
        the control that a search found to be worst; "no", where the second derivative already
        forbids it
    storage : (N, M): S(x) = the mean over samples of <storage, f>; it is -p*
    quadratic : (N M, N M), X, which -x* X x / 2 in the coordinates of `Stage` adds to S; None where
        S is linear
    modulus : alpha; of the sampled kind half the local one; 0 if "no"
    eigenvalue : the least of the second derivative of the rotated cost in the state, the control
        eliminated, on the directions that leave the set of static optima
    radius : infinite if "exact", 0 if "no"
    excess : a bound on int r dt, nan where there is none;  whose : of which runs
    reason : why there is no modulus or no bound, empty if there are both
    """

    how: Literal["exact", "sampled", "no"]
    storage: Array
    modulus: float
    eigenvalue: float
    radius: float
    excess: float
    whose: Literal["minimisers of any horizon", "this run", "none"]
    reason: str = ""
    quadratic: Array | None = None

    __repr__ = short
    to_dict = plain

    def time_outside(self, radius: float) -> float:
        """A bound on the time that the runs in `whose` spend at a distance of `radius` or more.

        raises ValueError with the reason where there is none
        """
        check_positive("radius", radius)
        if not np.isfinite(self.excess):
            raise ValueError(self.reason)
        return self.excess / (self.modulus * radius**2)


@checked
def dissipativity(
    problem: LearningProblem, static: StaticOptimum, control: Control | None = None
) -> Dissipativity:
    """Strict dissipativity with the storage function of the static multiplier.

    control : its run is then what the bound is for, by the trapezoid rule on its layers; without
        it, the minimisers of any horizon, where the problem is linear-quadratic without terminal
        cost, endpoint and admissible set
    raises what `Stage` and `linearise` raise
    """
    stage, line = Stage(problem), linearise(problem, static)
    storage, none = -static.costate, float("nan")
    if static.kind == "driftless":  # Q = G* G and G G* have the same eigenvalues but for zeros
        reduced = line.state_map @ line.state_map.T
    else:
        reduced = line.eliminated()[2]
    least = float(np.linalg.eigvalsh(reduced)[0])
    if least <= 1e-12 * float(np.max(np.abs(reduced))):
        reason = (
            "not strictly dissipative with a linear storage function: along some direction of the "
            f"state the second derivative of the rotated cost is {least:.3g}"
        )
        alpha, X = 0.0, None
        if static.kind == "regular" and _quadratic(problem, static):
            alpha, X = _quadratic_storage(line)
        if X is None:
            return Dissipativity("no", storage, 0.0, least, 0.0, none, "none", reason)
        excess, reason = none, f"{reason}; it is with a quadratic one: give a control for the bound"
        if control is not None:
            excess, reason = _Rotated(stage, static, line, X).of_run(control)[0], ""
        whose = "none" if reason else "this run"
        radius = float("inf")
        return Dissipativity("exact", storage, alpha, least, radius, excess, whose, reason, X)
    rotated = _Rotated(stage, static, line)
    if _quadratic(problem, static):
        how, modulus, radius = "exact", 0.5 * least, float("inf")
    else:
        how, modulus = "sampled", 0.25 * least
        radius = rotated.sampled_radius(modulus)
    if control is not None:
        excess, furthest = rotated.of_run(control)
        reason = ""
        if furthest > radius:
            excess, reason = (
                none,
                (
                    f"the run goes {furthest:.3g} away from the static optimum, beyond the radius "
                    f"{radius:.3g} up to which samples show the modulus"
                ),
            )
        whose = "none" if reason else "this run"
        return Dissipativity(how, storage, modulus, least, radius, excess, whose, reason)
    excess, reason = _of_minimisers(stage, static, line, how)
    whose = "none" if reason else "minimisers of any horizon"
    return Dissipativity(how, storage, modulus, least, radius, excess, whose, reason)


def _quadratic(problem: LearningProblem, static: StaticOptimum) -> bool:
    """True if the rotated cost is quadratic; with p* = 0 it does not contain the velocity."""
    if static.kind == "regular":
        return not linear_quadratic(problem)
    return has_constant_curvature(problem.functional.running)


def _quadratic_storage(line: Linearisation) -> tuple[float, Array | None]:
    """(alpha, X) of a quadratic storage function; (0, None) where there is none."""
    drift, control, cost = line.eliminated()
    one = np.eye(len(cost))

    def matrix(alpha: float) -> Array:
        return hamiltonian_matrix(drift, control, cost - 2.0 * alpha * one)

    def splits(alpha: float) -> bool:
        values = np.linalg.eigvals(matrix(alpha))
        return float(np.min(np.abs(values.real))) > 1e-6 * float(np.max(np.abs(values)))

    if not splits(0.0):
        return 0.0, None
    low, high = 0.0, float(np.linalg.norm(cost, 2))
    for _ in range(40):  # r at x* and at all frequencies is positive on an interval of alphas
        middle = 0.5 * (low + high)
        low, high = (middle, high) if splits(middle) else (low, middle)
    alpha = 0.5 * low
    try:
        X = riccati_solution(invariant_subspace(matrix(alpha), "lhp")[0])
    except NoSpectralGap:
        X = None
    return (0.0, None) if X is None else (alpha, X)


def _of_minimisers(
    stage: Stage, static: StaticOptimum, line: Linearisation, how: str
) -> tuple[float, str]:
    """The bound of the head of this file, or nan and why there is none."""
    none = float("nan")
    if how != "exact" or static.kind != "regular":
        return none, (
            "a bound for all minimisers is known for linear dynamics with a quadratic cost alone: "
            "give a control for the bound on its run"
        )
    if not free(stage.problem):
        return none, (
            "the bound for all minimisers is for problems without terminal cost, endpoint and "
            "admissible set: give a control for the bound on its run"
        )
    try:
        found = split(line)
    except NoSpectralGap as error:
        return none, str(error)
    V, Y = found.entry.riccati, found.exit.riccati
    if V is None or Y is None:
        return none, "states do not span the stable and the unstable directions"
    p = stage.pack_costate(static.costate)
    start = stage.pack_state(stage.problem.initial - static.state)
    a = float(np.sqrt(start @ V @ start))
    d = float(np.sqrt(-start @ Y @ start))
    b = float(np.sqrt(p @ np.linalg.solve(V, p)))
    c = float(np.sqrt(-p @ np.linalg.solve(Y, p)))
    s = c + float(np.sqrt(c**2 + d**2 + a**2 + 2.0 * a * b))
    return 0.5 * (s**2 - d**2), ""


@dataclass(frozen=True, eq=False)
class _Rotated:
    """The rotated cost r at points (x, u), with d/dt (x* X x / 2) where X is given, and the
    distance d.
    """

    stage: Stage
    static: StaticOptimum
    line: Linearisation
    X: Array | None = None

    @cached_property
    def _points(self) -> tuple[Array, Array, Array]:
        """(x*, u*, p*)."""
        stage, static = self.stage, self.static
        return (
            stage.pack_state(static.state),
            stage.pack_control(static.values),
            stage.pack_costate(static.costate),
        )

    def value(self, x: Array, u: Array) -> float:
        """r(x, u)."""
        rest, _, p = self._points
        rise = self.stage.density(x, u) - self.static.value
        if self.X is not None:
            p = p + self.X @ (x - rest)
        return rise + float(p @ self.stage.velocity(x, u))

    def distance(self, x: Array) -> Array:
        """d of points (..., n)."""
        return np.linalg.norm(self.line.outwards(x - self._points[0]), axis=-1)

    def sampled_radius(self, modulus: float) -> float:
        """The largest radius of the list up to which r >= modulus d^2 at all samples."""
        rest, _, _ = self._points
        rng, reached = np.random.default_rng(0), 0.0
        start = self.stage.pack_state(self.stage.problem.initial)
        scale = float(self.distance(start) + np.linalg.norm(rest)) or 1.0
        for radius in scale * _RADII:
            for _ in range(_SAMPLES):
                step = self.line.outwards(rng.standard_normal(len(rest)))
                x = rest + radius * step / np.linalg.norm(step)
                if self.value(x, self._worst_control(x)) < modulus * radius**2:
                    return reached
            reached = float(radius)
        return reached

    def of_run(self, control: Control) -> tuple[float, float]:
        """(int r dt by the trapezoid rule on the layers, the largest d) of the run of a control."""
        stage, mesh = self.stage, self.stage.problem.mesh
        states = stage.pack_state(discretize(stage.problem).run(control).states)
        total = 0.0
        for k, h in enumerate(mesh.steps):
            for end in (k, k + 1):
                u = stage.pack_control(control.at_layer(k, float(mesh.nodes[end])))
                total += 0.5 * float(h) * self.value(states[end], u)
        return total, float(np.max(self.distance(states)))

    def _worst_control(self, x: Array) -> Array:
        """A control near u* at which r(x, .) is least: steps of Newton's method with the second
        derivative at (x*, u*), halved until r falls.
        """
        rest, u, p = self._points
        u = u - np.linalg.solve(self.line.R, self.line.S.T @ (x - rest))
        here = self.value(x, u)
        for _ in range(20):
            slope = self.stage.slopes(x, u, p)[1]
            step, taken = -np.linalg.solve(self.line.R, slope), 1.0
            while self.value(x, u + taken * step) > here and taken > 1e-6:
                taken *= 0.5
            after = self.value(x, u + taken * step)
            if not after < here - 1e-10 * (1.0 + abs(here)):
                break
            u, here = u + taken * step, after
        return u
