"""The rates at which minimisers of long horizons approach the static optimum and leave it.

Near the static optimum state and costate follow, to first order, d/dt (x, p) = H (x, p) with

    H = [ A - B R^-1 S*         -B R^-1 B*       ]
        [ -(Q - S R^-1 S*)   -(A - B R^-1 S*)*   ],

A = F_x, B = F_u and Q, S, R the second derivatives of l + <p, F>.  Its eigenvalues come in pairs
(-mu, mu); where none is imaginary, a minimiser approaches the static optimum along the n stable
directions and leaves it along the n unstable ones, at rates |Re mu_j| for each mode.

The scheme has rates of its own.  One layer of length h of the ResNet (Euler's method, the running
cost by the trapezoid rule, the control constant on the layer) is x' = x + h F(x, u) at the cost
h/2 (L(x, u) + L(x', u)) + h r(u).  Its linearisation is a symplectic pencil with eigenvalues
(z, 1/z) and the rates -log|z| / h.

A network without drift has a set of static optima.  Modes are then those of G x, where Q = G* G,
and the rates are the roots of the eigenvalues of G B R^-1 B* G*: with squared loss w |P x - y|^2
and the penalty lambda |c|^2 they are sqrt(w eig_j(K) / (N lambda)), K = (P B)(P B)*, N samples.
The running density falls twice as fast.
Source: the ledger's statement on SL* and erratum E8; Porretta and Zuazua (2013) for the splitting.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy.linalg

from continuum.arrays import Array
from continuum.checks import check_array, check_name, check_positive, check_type
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from .stage import Stage
from .static import StaticOptimum

_IMAGINARY = 1e-6
"""A rate below this share of the largest eigenvalue's modulus counts as zero."""
_RANK = 1e-10
"""Eigenvalues of Q below this share of the largest count as zero, for networks without drift."""


class NoSpectralGap(ValueError):
    """The linearised system has eigenvalues without real part; the message has the number."""


@dataclass(frozen=True, eq=False)
class Linearisation:
    """The second-order problem at the static optimum, in the coordinates of `Stage`.

    A (n, n), B (n, m), Q (n, n), S (n, m), R (m, m) as in the head of this file, Q, S, R being the
        sums of the density's second derivatives lxx, lxu, luu (of which ruu is the penalty's) and
        of those of <p, F>;  lx (N M,) : the density's first derivative in the state
    state_map, costate_map : (n, N M), what n coordinates of state and costate are of x and p: the
        identity, or for networks without drift G and the adjoint of its pseudo-inverse
    driftless : whether the network has no drift
    """

    A: Array
    B: Array
    Q: Array
    S: Array
    R: Array
    lxx: Array
    lxu: Array
    luu: Array
    ruu: Array
    lx: Array
    state_map: Array
    costate_map: Array
    driftless: bool

    __repr__ = short

    def eliminated(self) -> tuple[Array, Array, Array]:
        """A - B R^-1 S*, B R^-1 B* and Q - S R^-1 S*: (n, n) each."""
        return _eliminated(self.A, self.B, self.Q, self.S, self.R)

    def outwards(self, x: Array) -> Array:
        """The part of x (..., N M) that leaves the set of static optima: all of it for networks
        with drift.
        """
        return x @ self.state_map.T @ self.costate_map

    def steered(self) -> "Linearisation":
        """For networks without drift, the problem on the directions that the control steers: the
        range of B R^-1 B*.
        """
        size, root = np.linalg.eigh(self.eliminated()[1])
        V = root[:, size > _RANK * size[-1]].T
        unit = np.eye(len(V))
        return replace(
            self,
            A=np.zeros_like(unit),
            B=V @ self.B,
            Q=unit,
            S=V @ self.S,
            lxx=unit,
            lxu=V @ self.lxu,
            state_map=V @ self.state_map,
            costate_map=V @ self.costate_map,
        )

    def layer(self, h: float) -> tuple[Array, Array, Array, Array, Array]:
        """A, B, Q, S, R of one layer of length h: of x' and of its cost plus <p, x'>."""
        lxx, lxu, luu = self.lxx, self.lxu, self.luu - self.ruu
        A, B = np.eye(len(self.A)) + h * self.A, h * self.B
        Q = 0.5 * h * (lxx + A.T @ lxx @ A) + h * (self.Q - lxx)
        S = 0.5 * h * (lxu + A.T @ (lxx @ B + lxu)) + h * (self.S - lxu)
        mixed = B.T @ lxu
        R = 0.5 * h * (2.0 * luu + B.T @ lxx @ B + mixed + mixed.T)
        return A, B, Q, S, R + h * (self.R - luu)


@dataclass(frozen=True, eq=False)
class Modes:
    """Rates and directions of one side: entry (stable) or exit (unstable).

    rates : (n,), decreasing: the amplitudes fall as exp(-rate t) on entry, and on exit grow as
        exp(rate t)
    eigenvalues : (n,), complex, of the linearised system: -mu on entry, mu on exit; those of one
        layer for the scheme
    directions : (n, n), columns of norm 1: the state's part of each eigenvector
    riccati : (n, n), V with p = V x in the invariant subspace; None where states do not span it
    functionals : (n, 2 n), one row per mode: its amplitude is the row applied to (x, p)
    basis, matrix : (2 n, n) orthonormal columns that span the invariant subspace, and (n, n), how
        the system acts on it: (x, p) = basis @ a, a' = matrix @ a (one layer for the scheme)
    """

    rates: Array
    eigenvalues: Array
    directions: Array
    riccati: Array | None
    functionals: Array
    basis: Array
    matrix: Array

    __repr__ = short

    def amplitudes(self, x: Array, p: Array) -> Array:
        """(..., n): the modulus of the amplitude of each mode, of coordinates (..., n)."""
        return np.abs(np.concatenate([x, p], axis=-1) @ self.functionals.T)


@dataclass(frozen=True, eq=False)
class HamiltonianSpectrum:
    """The splitting of the linearised system at a static optimum.

    entry, exit : the stable and the unstable modes
    matrix : (2 n, 2 n), H; None for a scheme
    step : the length of a layer of the scheme; None for the differential equation
    neutral : how many directions of the state, besides those along the set of static optima, have
        no rate because the control does not steer them; they are left out of the modes
    linearisation : what it was computed from, without the neutral directions
    """

    entry: Modes
    exit: Modes
    matrix: Array | None
    step: float | None
    neutral: int
    linearisation: Linearisation

    __repr__ = short

    @property
    def rates(self) -> Array:
        """(n,): the rates on entry, decreasing; those on exit are the same."""
        return self.entry.rates

    @property
    def gap(self) -> float:
        """The least rate of the modes; there is no spectral gap if there are neutral directions."""
        return float(self.rates[-1])


@checked
def linearise(problem: LearningProblem, static: StaticOptimum) -> Linearisation:
    """The second-order problem at a static optimum.

    raises ValueError where the density is not strictly convex in the control, and for a static
        optimum of another problem
    """
    stage = Stage(check_type("problem", problem, LearningProblem))
    check_type("static", static, StaticOptimum)
    check_array("static.state", static.state, problem.initial.shape)
    for block in stage.blocks:
        check_name("block", block.name, list(static.values))
        check_array(f"static.values[{block.name!r}]", static.values[block.name], block.shape)
    x, u = stage.pack_state(static.state), stage.pack_control(static.values)
    p = stage.pack_costate(static.costate)
    first, second = stage.first(x, u), stage.second(x, u, p)
    A, B, Q = first.A, first.B, second.lxx + second.pxx
    S, R = second.lxu + second.pxu, second.luu + second.puu
    least = float(np.linalg.eigvalsh(R)[0])
    if least <= 0.0:
        raise ValueError(
            f"penalty: the second derivative of the Hamiltonian in the control has the eigenvalue "
            f"{least:.4g} at the static optimum; it must be positive"
        )
    parts = second.lxx, second.lxu, second.luu, second.ruu, first.lx
    one = np.eye(len(x))
    if static.kind == "regular":
        return Linearisation(A, B, Q, S, R, *parts, one, one, driftless=False)
    size, root = np.linalg.eigh(Q)
    kept = size > _RANK * size[-1]
    G = np.sqrt(size[kept])[:, None] * root[:, kept].T
    rank = len(G)
    zero, flat, unit = np.zeros((rank, rank)), np.zeros((rank, len(u))), np.eye(rank)
    dual = G / size[kept][:, None]
    parts = unit, flat, second.luu, second.ruu, first.lx
    return Linearisation(zero, G @ B, unit, flat, R, *parts, G, dual, driftless=True)


@checked
def spectrum(
    problem: LearningProblem, static: StaticOptimum, partial: bool = False
) -> HamiltonianSpectrum:
    """The splitting of the differential equation's system.

    partial : leave out the directions that the control of a network without drift does not steer,
        and count them, instead of raising
    raises NoSpectralGap if eigenvalues of it have no real part
    """
    return split(linearise(problem, static), partial)


def split(line: Linearisation, partial: bool = False) -> HamiltonianSpectrum:
    """The same from the linearisation."""
    found, neutral = _prepared(line, partial)
    matrix = hamiltonian_matrix(*found.eliminated())
    eigenvalues = np.linalg.eigvals(matrix)
    _check_gap(np.abs(eigenvalues.real), float(np.max(np.abs(eigenvalues))))
    stable, fall = invariant_subspace(matrix, "lhp")
    unstable, rise = invariant_subspace(matrix, "rhp")
    entry, exit_ = _modes(stable, fall, unstable, None), _modes(unstable, rise, stable, None)
    return HamiltonianSpectrum(entry, exit_, matrix, None, neutral, found)


@checked
def scheme_spectrum(
    problem: LearningProblem, static: StaticOptimum, step: float, partial: bool = False
) -> HamiltonianSpectrum:
    """The splitting of the ResNet with layers of length `step`, from its symplectic pencil.

    partial : as in `spectrum`
    raises NoSpectralGap if eigenvalues of it are on the unit circle; ValueError for a step with
        which a layer cannot be inverted
    """
    return split_scheme(linearise(problem, static), check_positive("step", step), partial)


def split_scheme(line: Linearisation, h: float, partial: bool = False) -> HamiltonianSpectrum:
    """The same from the linearisation, for layers of length h."""
    found, neutral = _prepared(line, partial)
    drift, control, cost = _eliminated(*found.layer(h))
    one, none = np.eye(len(drift)), np.zeros_like(drift)
    condition = float(np.linalg.cond(drift))
    if condition > 1e12:
        raise ValueError(
            f"step = {h:g}: one layer has condition number {condition:.3g}, so it cannot be "
            "inverted; take shorter layers"
        )
    ahead = np.block([[one, control], [none, drift.T]])
    here = np.block([[drift, none], [-cost, one]])
    matrix = np.linalg.solve(ahead, here)
    radii = np.abs(np.linalg.eigvals(matrix))
    _check_gap(np.abs(np.log(radii)) / h, float(np.max(np.abs(np.log(radii)))) / h)
    stable, fall = invariant_subspace(matrix, "iuc")
    unstable, rise = invariant_subspace(matrix, "ouc")
    entry, exit_ = _modes(stable, fall, unstable, h), _modes(unstable, rise, stable, h)
    return HamiltonianSpectrum(entry, exit_, None, h, neutral, found)


def _eliminated(A: Array, B: Array, Q: Array, S: Array, R: Array) -> tuple[Array, Array, Array]:
    inverse = np.linalg.inv(R)
    return A - B @ inverse @ S.T, B @ inverse @ B.T, Q - S @ inverse @ S.T


def hamiltonian_matrix(drift: Array, control: Array, cost: Array) -> Array:
    """(2 n, 2 n): H from A - B R^-1 S*, B R^-1 B* and Q - S R^-1 S*."""
    return np.block([[drift, -control], [-cost, -drift.T]])


def _prepared(line: Linearisation, partial: bool) -> tuple[Linearisation, int]:
    """The linearisation without neutral directions, and how many these are."""
    if not line.driftless:
        return line, 0
    steered = line.steered()
    neutral = len(line.A) - len(steered.A)
    if neutral and (not partial or not len(steered.A)):
        size = np.sqrt(np.maximum(np.linalg.eigvalsh(line.eliminated()[1]), 0.0))
        raise NoSpectralGap(_no_gap(neutral, size))
    return steered, neutral


def _modes(basis: Array, matrix: Array, other: Array, step: float | None) -> Modes:
    """The modes of the subspace spanned by `basis` (2 n, n), on which the system acts as `matrix`.

    other : (2 n, n), a basis of the complementary subspace
    """
    n = len(matrix)
    coordinates = np.linalg.inv(np.hstack([basis, other]))[:n]
    riccati = riccati_solution(basis)
    if riccati is None:
        frame, acting = np.eye(n), matrix
    else:
        frame = basis[:n]
        acting = frame @ matrix @ np.linalg.inv(frame)
    skew = float(np.max(np.abs(acting - acting.T)))
    if skew <= 1e-9 * float(np.max(np.abs(acting))):
        values, vectors = np.linalg.eigh(0.5 * (acting + acting.T))
        dual = vectors.T
    else:
        values, vectors = np.linalg.eig(acting)
        dual = np.linalg.inv(vectors)
    values = np.asarray(values, dtype=complex)
    found = np.real(values) if step is None else np.log(np.abs(values)) / step
    order = np.argsort(-np.abs(found), kind="stable")
    directions = vectors if riccati is not None else basis[:n] @ vectors
    sizes = np.linalg.norm(directions, axis=0)
    sizes = np.where(sizes > 0.0, sizes, 1.0)
    functionals = sizes[:, None] * (dual @ (frame @ coordinates))
    return Modes(
        np.abs(found)[order],
        values[order],
        (directions / sizes)[:, order],
        riccati,
        functionals[order],
        basis,
        matrix,
    )


def riccati_solution(basis: Array) -> Array | None:
    """(n, n): the symmetric V with p = V x in the subspace that `basis` (2 n, n) spans; None where
    states do not span it.
    """
    n = basis.shape[1]
    if np.linalg.cond(basis[:n]) > 1e8:
        return None
    found = basis[n:] @ np.linalg.inv(basis[:n])
    return 0.5 * (found + found.T)


def invariant_subspace(
    matrix: Array, sort: Literal["lhp", "rhp", "iuc", "ouc"]
) -> tuple[Array, Array]:
    """Orthonormal columns (2 n, n) that span an invariant subspace, and how `matrix` acts on it.

    raises NoSpectralGap if its dimension is not n
    """
    small, basis, count = scipy.linalg.schur(matrix, sort=sort)  # type: ignore[misc]  # sorted
    n = len(matrix) // 2
    if count != n:
        raise NoSpectralGap(f"no spectral gap: {count} directions of {n} are on one side ({sort})")
    return basis[:, :n], small[:n, :n]


def _check_gap(rates: Array, largest: float) -> None:
    """Raises NoSpectralGap for rates (2 n,), those of both sides, that are zero to rounding."""
    ranked = np.sort(rates)[::2]
    count = int(np.sum(ranked <= _IMAGINARY * largest))
    if count:
        raise NoSpectralGap(_no_gap(count, ranked))


def _no_gap(count: int, rates: Array) -> str:
    """The sentence, `rates` those of all modes."""
    return (
        f"no spectral gap: {count} of {len(rates)} modes have no rate (the least is "
        f"{np.min(rates):.3g}, the largest {np.max(rates):.4g}), so no exponential turnpike "
        "follows from the linearisation; where samples outnumber what the control can steer, "
        "expect a plateau"
    )
