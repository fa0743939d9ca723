"""The static problem of a learning problem with a running cost:

    minimise  l(x, u)  subject to  F(x, u) = 0,

l the running density with the penalty's, F the velocity of all samples at once.  Its solution
(x*, u*) is the point near which minimisers of long horizons stay; its multiplier p*, with

    l_x + F_x* p = 0,   l_u + F_u* p = 0,

is their costate there.

Source: Trelat and Zuazua, The turnpike property in finite-dimensional nonlinear optimal control
(2015); for networks without drift, Geshkovski and Zuazua, with which u* = 0 and p* = 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg

from continuum.arrays import Array
from continuum.checks import check_array, check_count, check_name, check_positive
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from .stage import First, Second, Stage

_RANK = 1e-10
"""Singular values and eigenvalues below this share of the largest count as zero."""


class NoStaticOptimum(ValueError):
    """The static problem has no solution, or none was found; the message says which, with the
    number.
    """


@dataclass(frozen=True, eq=False)
class StaticOptimum:
    """A point (x*, u*) that satisfies the first-order conditions of the static problem.

    state : (N, M);  values : of every trained block;  costate : (N, M), each sample's own, the
        multiplier p* of F(x, u) = 0
    value : l(x*, u*)
    residual : the largest entry of F, of l_x + F_x* p and of l_u + F_u* p
    kind : "regular"; or "driftless" where F(x, 0) = 0 for all x (found at sampled states): every
        minimiser x of the density with u = 0 is then a static optimum, with p* = 0, and this one is
        the point of that set to which Newton's steps of least norm lead from `near`
    inertia : numbers of positive, negative and zero eigenvalues of the second derivative of
        l + <p, F> on the null space of F' (of l in x, if driftless).  No negative one: no saddle.
        Zero ones, if driftless, are the directions along which other static optima lie
    iterations : Newton steps
    """

    state: Array
    values: Mapping[str, Array]
    costate: Array
    value: float
    residual: float
    kind: Literal["regular", "driftless"]
    inertia: tuple[int, int, int]
    iterations: int

    __repr__ = short


@checked
def static_optimum(
    problem: LearningProblem,
    near: tuple[Array, Mapping[str, Array]] | None = None,
    *,
    gtol: float = 1e-11,
    max_iterations: int = 100,
) -> StaticOptimum:
    """The static optimum that Newton's steps on the first-order conditions lead to.

    Sequential quadratic programming in the null space of F': negative curvature there is
    replaced by its absolute value, and steps are halved until l + nu |F| falls, so that the end
    is a local minimum in general; `inertia` of the answer says.

    near : (state, values of trained blocks) from which it starts, zero for blocks that are not
        there; (initial, zeros) unless given
    gtol : a residual at most this times 1 + the largest entry of the derivative of l ends it
    raises what `Stage` raises (terminal cost alone, explicit time, lambda <= 0, ...);
        NoStaticOptimum if F = 0 cannot be reached, if the density falls without end, or if the
        conditions are not met after max_iterations; ValueError if the answer is outside the
        admissible set
    """
    stage = Stage(problem)
    check_positive("gtol", gtol)
    check_count("max_iterations", max_iterations)
    state, values = _start(stage, near)
    x, u = stage.pack_state(state), stage.pack_control(values)
    reads = problem.functional.running_reads
    if stage.drift(np.random.default_rng(0)) == 0.0 and not any(
        b.name in reads for b in stage.blocks
    ):
        found = _driftless(stage, x, gtol, max_iterations)
    else:
        found = _Search(stage, gtol, max_iterations).run(x, u)
    _check_admissible(problem, found)
    return found


def _start(
    stage: Stage, near: tuple[Array, Mapping[str, Array]] | None
) -> tuple[Array, Mapping[str, Array]]:
    problem = stage.problem
    if near is None:
        return problem.initial, {b.name: np.zeros(b.shape) for b in stage.blocks}
    state = check_array("near", near[0], problem.initial.shape)
    values = {b.name: np.zeros(b.shape) for b in stage.blocks}
    for name in near[1]:
        check_name("block", name, list(values))
        values[name] = check_array(name, near[1][name], values[name].shape)
    return state, values


def _driftless(stage: Stage, x: Array, gtol: float, max_iterations: int) -> StaticOptimum:
    """The minimiser of l(., 0) that Newton's steps of least norm lead to from x."""
    u, none = np.zeros(stage.controls), np.zeros(stage.states)
    value, start = stage.density(x, u), x
    scale = 1.0
    for iteration in range(max_iterations + 1):
        slope, _ = stage.slopes(x, u, none)
        size, root = np.linalg.eigh(stage.second(x, u, none).lxx)
        largest = float(np.max(np.abs(size)))
        kept = np.abs(size) > _RANK * largest
        step = -root[:, kept] @ ((root[:, kept].T @ slope) / np.abs(size[kept]))
        scale = max(scale, 1.0 + float(np.max(np.abs(slope))))
        small = float(np.linalg.norm(step)) <= 1e-6 * (1.0 + float(np.linalg.norm(x)))
        if np.max(np.abs(slope)) <= gtol * scale and small and largest > 0.0:
            inertia = (int(np.sum(size[kept] > 0)), int(np.sum(size[kept] < 0)), int(np.sum(~kept)))
            return StaticOptimum(
                stage.unpack_state(x),
                stage.unpack_control(u),
                stage.unpack_costate(none),
                stage.density(x, u),
                float(np.max(np.abs(slope))),
                "driftless",
                inertia,
                iteration,
            )
        taken, fall = 1.0, float(slope @ step)
        while taken > 1e-12 and stage.density(x + taken * step, u) > value + 1e-4 * taken * fall:
            taken *= 0.5
            if abs(taken * fall) < 1e-15 * (1.0 + abs(value)):
                break
        x = x + taken * step
        value = stage.density(x, u)
    raise NoStaticOptimum(
        f"the running cost has no minimum that Newton's steps reach: after {max_iterations} of "
        f"them its derivative is {np.max(np.abs(slope)):.3g}, its value {value:.6g}, and the state "
        f"is {np.linalg.norm(x - start):.3g} away from the start"
    )


@dataclass(frozen=True, eq=False)
class _Search:
    """Sequential quadratic programming on the static problem."""

    stage: Stage
    gtol: float
    max_iterations: int

    def run(self, x: Array, u: Array) -> StaticOptimum:
        """The search from (x, u)."""
        stage, n = self.stage, self.stage.states
        z, nu = np.concatenate([x, u]), 1.0
        kept: StaticOptimum | None = None
        far = 1e8 * (1.0 + float(np.linalg.norm(z)))
        for iteration in range(self.max_iterations + 1):
            first = stage.first(z[:n], z[n:])
            split = _Split.of(first)
            p = split.multiplier
            second = stage.second(z[:n], z[n:], p)
            size, root = split.reduced(second)
            infeasible = float(np.max(np.abs(first.velocity)))
            stationary = float(np.max(np.abs(split.slope + split.jacobian.T @ p)))
            scale = 1.0 + float(np.max(np.abs(split.slope)))
            residual = max(infeasible, stationary)
            if kept is not None and residual >= kept.residual:
                return kept
            if residual <= self.gtol * scale:  # one more step, as long as it helps
                kept = self._answer(z, p, residual, size, iteration)
            unreachable = float(np.linalg.norm(split.jacobian.T @ first.velocity))
            if infeasible > 1e-6 and unreachable <= 1e-9 * infeasible:
                raise NoStaticOptimum(
                    f"F(x, u) = 0 has no solution that the search can reach: |F| = "
                    f"{infeasible:.3g}, and no direction lowers it to first order"
                )
            normal = -split.solve(first.velocity)
            floor = 1e-8 * float(np.max(np.abs(size), initial=1.0))
            positive = np.maximum(np.abs(size), floor)
            slope = split.null.T @ (split.slope + _apply(second, normal))
            step = normal - split.null @ (root @ ((root.T @ slope) / positive))
            nu = max(nu, 2.0 * float(np.linalg.norm(p)))
            z = self._move(z, step, split, nu)
            if not np.linalg.norm(z) < far:
                raise NoStaticOptimum(
                    f"the density falls without end: at |(x, u)| = {np.linalg.norm(z):.3g} it is "
                    f"{stage.density(z[:n], z[n:]):.6g}"
                )
        if kept is not None:
            return kept
        raise NoStaticOptimum(
            f"the first-order conditions are not met after {self.max_iterations} Newton steps: |F| "
            f"= {infeasible:.3g}, the derivative of the Lagrangian {stationary:.3g}"
        )

    def _move(self, z: Array, step: Array, split: "_Split", nu: float) -> Array:
        """z + step, or with its correction of second order, or with a part of it, where the merit
        l + nu |F| falls enough.
        """
        stage, n = self.stage, self.stage.states

        def merit(at: Array) -> float:
            with np.errstate(over="ignore", invalid="ignore"):
                F = stage.velocity(at[:n], at[n:])
                found = stage.density(at[:n], at[n:]) + nu * float(np.linalg.norm(F))
            return found if np.isfinite(found) else np.inf

        here = merit(z)
        fall = float(split.slope @ step) - nu * float(np.linalg.norm(split.velocity))
        rounding = 1e-13 * (1.0 + abs(here))
        if merit(z + step) <= here + 1e-4 * fall + rounding:
            return z + step
        with np.errstate(over="ignore", invalid="ignore"):
            F = stage.velocity((z + step)[:n], (z + step)[n:])
        if np.all(np.isfinite(F)):
            corrected = z + step - split.solve(F)
            if merit(corrected) <= here + 1e-4 * fall + rounding:
                return corrected
        taken = 0.5
        while taken > 1e-10 and merit(z + taken * step) > here + 1e-4 * taken * fall + rounding:
            taken *= 0.5
        return z + taken * step

    def _answer(
        self, z: Array, p: Array, residual: float, size: Array, iterations: int
    ) -> StaticOptimum:
        stage, n = self.stage, self.stage.states
        zero = np.abs(size) <= _RANK * np.max(np.abs(size), initial=0.0)
        signs = np.where(zero, 0.0, np.sign(size))
        inertia = (int(np.sum(signs > 0)), int(np.sum(signs < 0)), int(np.sum(signs == 0)))
        return StaticOptimum(
            stage.unpack_state(z[:n]),
            stage.unpack_control(z[n:]),
            stage.unpack_costate(p),
            stage.density(z[:n], z[n:]),
            residual,
            "regular",
            inertia,
            iterations,
        )


@dataclass(frozen=True, eq=False)
class _Split:
    """The range and the null space of J = (F_x F_u), from its singular values.

    slope : (n + m,), the derivative of l;  null : (n + m, n + m - rank), orthonormal
    """

    velocity: Array
    slope: Array
    jacobian: Array
    left: Array
    singular: Array
    right: Array
    null: Array

    @staticmethod
    def of(first: First) -> "_Split":
        jacobian = np.hstack([first.A, first.B])
        left, singular, right = scipy.linalg.svd(jacobian, full_matrices=True)
        rank = int(np.sum(singular > _RANK * max(float(singular[0]), 1e-300)))
        return _Split(
            first.velocity,
            np.concatenate([first.lx, first.lu]),
            jacobian,
            left[:, :rank],
            singular[:rank],
            right[:rank].T,
            right[rank:].T,
        )

    @property
    def multiplier(self) -> Array:
        """p of least norm among those of least |slope + J* p|."""
        return -self.left @ ((self.right.T @ self.slope) / self.singular)

    def solve(self, b: Array) -> Array:
        """The d of least norm among those of least |J d - b|."""
        return self.right @ ((self.left.T @ b) / self.singular)

    def reduced(self, second: Second) -> tuple[Array, Array]:
        """Eigenvalues and vectors of the Lagrangian's second derivative on the null space."""
        reduced = self.null.T @ _apply(second, self.null)
        return np.linalg.eigh(0.5 * (reduced + reduced.T))


def _apply(second: Second, z: Array) -> Array:
    """The second derivative of l + <p, F> applied to z (n + m, ...)."""
    n = len(second.lxx)
    x, u, mixed = z[:n], z[n:], second.lxu + second.pxu
    above = (second.lxx + second.pxx) @ x + mixed @ u
    below = mixed.T @ x + (second.luu + second.puu) @ u
    return np.concatenate([above, below])


def _check_admissible(problem: LearningProblem, found: StaticOptimum) -> None:
    """Raises ValueError if the static optimum, found without the admissible set, is outside it."""
    admissible = problem.admissible
    if admissible is None:
        return
    named = admissible.named(problem.space)
    excess = admissible.excess({n: found.values[n] for n in named}, problem.space)
    if excess > 1e-12:
        raise ValueError(
            f"admissible: the static optimum is outside the set, by {excess:.4g}; a static problem "
            "with active bounds is not solved here"
        )
