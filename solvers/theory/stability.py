"""Steady states and linear stability of f_t = sigma(a - Bf), a and b constant in time.

A grid of N nodes represents B by S = W^1/2 b W^1/2 in coordinates W^1/2 f that are orthonormal in
L^2(Y); nodes of weight zero act on nothing and are left out.  Source: Liu and Markowich, sections
3.2 and 3.3, as corrected.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from continuum.activations import Activation
from continuum.arrays import Array, to_host
from continuum.checks import check_array, check_call, check_count, check_type, shown
from continuum.controls import Control, ControlPath, FunctionControl
from continuum.doors import checked
from continuum.networks import Chain, WidthDepth
from continuum.networks.network import Values
from continuum.quadrature import Grid
from continuum.records import plain, short

Verdict = Literal["converges", "grows", "undecided"]
ROUNDING = 1e-10
"""Singular values below this share of the largest count as zero."""


def constant_values(control: ControlPath) -> Values | None:
    """The value of every block if none depends on time, else None."""
    if isinstance(control, FunctionControl):
        constant = control.constant
    elif isinstance(control, Control):
        timed = (control[b.name] for b in control.space.blocks if b.time != "static")
        constant = all(bool((to_host(x) == to_host(x)[0]).all()) for x in timed)
    else:
        raise TypeError(
            f"control must be made by network.control or network.controls, got {control!r}"
        )
    return control.at_layer(0, 0.0) if constant else None


def values_at(network: WidthDepth, control: ControlPath, t: float) -> Values:
    """The value of every block at t.

    raises TypeError for another network, ValueError for another's control
    """
    if not isinstance(network, WidthDepth):
        raise TypeError(f"network must be a WidthDepth, got {network!r}")
    network.check_control("control", control)
    return control.at_layer(control.mesh.layer_of(t), t)


def steady_values(network: WidthDepth, control: ControlPath) -> Values:
    """The value of every block of a control that is constant in time, else a ValueError."""
    values = values_at(network, control, 0.0)
    if constant_values(control) is None:
        raise ValueError(
            "control must be constant in time: steady states and autonomous theorems ask for it"
        )
    return values


@checked
def operator_matrix(network: WidthDepth, control: ControlPath, t: float = 0.0) -> Array:
    """S_ij = w_i^1/2 b(y_i, z_j) w_j^1/2: B in an orthonormal basis of L^2(Y).

    returns (P, P) over the P nodes of positive weight; its norm, singular values and spectrum are
    those of B at time t
    raises TypeError for another network, ValueError for a control that is not its
    """
    return matrix_of(network, values_at(network, control, t))


def matrix_of(network: WidthDepth, values: Values) -> Array:
    """`operator_matrix` for given values of the blocks."""
    kernel = to_host(network.kernel.matrix(values["kernel"]))
    active = np.flatnonzero(network.weights > 0)
    roots = np.sqrt(network.weights[active])
    return roots[:, None] * kernel[np.ix_(active, active)] * roots


def numerical_rank(mu: Array) -> tuple[int, bool, float]:
    """(rank, whether a gap in the singular values shows it, rounding error of the range).

    mu : (P,), descending; those below 1e-15 P mu_0, to which they are known, count as zero if there
        is a gap of 1e4 between them and the others, else those below 1e-10 mu_0 do
    The singular vectors that span the range are known to |E| / mu_r, where mu_r is the least
    singular value above the gap and E the rounding error of B, whose norm is taken to be ten times
    the largest one below it, or 10 eps mu_0.
    """
    if mu[0] == 0.0:
        return 0, True, 0.0
    rank = int(np.count_nonzero(mu > 1e-15 * len(mu) * mu[0]))
    if rank < len(mu) and mu[rank] <= 1e-4 * mu[rank - 1]:
        floor = max(float(mu[rank]), float(np.finfo(float).eps * mu[0]))
        return rank, True, 10.0 * floor / float(mu[rank - 1])
    rank = int(np.count_nonzero(mu > ROUNDING * mu[0]))
    return rank, False, 10.0 * float(np.finfo(float).eps * mu[0] / mu[rank - 1])


def coordinates(network: WidthDepth, functions: Array) -> Array:
    """W^1/2 f at the nodes of positive weight: (N, K) -> (P, K).

    Euclidean products of the result are those of L^2(Y).
    """
    active = network.weights > 0
    return np.sqrt(network.weights[active])[:, None] * to_host(functions)[active]


def functions_of(network: WidthDepth, vectors: Array) -> Array:
    """The inverse of `coordinates`: (P, K) -> (N, K), 0 at nodes of weight zero."""
    active = network.weights > 0
    values = np.zeros((len(active), vectors.shape[1]))
    values[active] = vectors / np.sqrt(network.weights[active])[:, None]
    return values


def is_symmetric(s: Array) -> bool:
    """B = B* to rounding."""
    return bool(np.abs(s - s.T).max() <= 1e-12 * max(np.abs(s).max(), np.finfo(float).tiny))


def least_eigenvalue(s: Array) -> float:
    """The least eigenvalue of (S + S^T) / 2; 0 if it is negative by rounding of S only."""
    least = float(np.linalg.eigvalsh(0.5 * (s + s.T))[0])
    return 0.0 if -len(s) * 1e-15 * float(np.linalg.norm(s)) <= least < 0.0 else least


def zeros_of(activation: Activation) -> Literal["only at 0", "at 0 and elsewhere", "not at 0"]:
    """Where sigma vanishes among 0 and 2000 points of [-10, 10]."""
    if float(activation.value(np.zeros(1))[0]) != 0.0:
        return "not at 0"
    s = np.linspace(-10.0, 10.0, 2000)
    return "at 0 and elsewhere" if bool((activation.value(s) == 0.0).any()) else "only at 0"


@dataclass(frozen=True, eq=False)
class SteadyState:
    """Whether Bf = a has a solution, from three grids.

    verdict : "converges" speaks for a in R(B), "grows" against it; extrapolated from three grids,
        never proved
    root_verdict : the same for a in R(B^1/2) or, if B is not symmetric, R(|B*|^1/2)
    points : (3,) N, 2N, 4N
    sums, root_sums : (3,) sum (a, phi_l)^2 / mu_l^2 and sum (a, phi_l)^2 / mu_l over B = sum mu_l
        (psi_l, .) phi_l
    outside : the share of |a| outside the span of the phi_l, on the finest grid; 0 if it is no more
        than rounding of B moves that span, or 1e-8
    solution : (4N nodes, 1) the solution of least norm there (of least squares if a is not in the
        range)
    residual : |B solution - a| in L^2(Y)
    null_space : (4N nodes, K) an orthonormal basis of N(B) there; steady states are non-unique if K
        > 0
    zeros : where sigma vanishes; only "only at 0" makes Bf = a the equation of all steady states
    sentence : all this in words
    """

    verdict: Verdict
    root_verdict: Verdict
    points: tuple[int, int, int]
    sums: Array
    root_sums: Array
    outside: float
    solution: Array
    residual: float
    null_space: Array
    zeros: str
    sentence: str

    __repr__ = short


@checked
def steady_state(
    case: Callable[[Grid], tuple[WidthDepth, ControlPath]], rule: Callable[[int], Grid], points: int
) -> SteadyState:
    """Bf = a: is sum_l (a, phi_l)^2 / mu_l^2 finite?  Computed at N, 2N and 4N nodes.

    On one grid a matrix of full rank solves everything; a is in the range of the compact operator B
    if and only if it is orthogonal to N(B*) and Picard's sum is finite, which shows in how the sum
    moves with N.

    case : grid -> (network, control), the same functions on any grid, constant in time
    rule : points -> Grid
    points : N >= 2
    raises ValueError for a control that depends on time
    Source: Liu and Markowich section 3.2 with errata E09 (zeros of sigma) and E14 (a in R(B^1/2)).
    """
    points = check_count("points", points, 2)
    sizes = (points, 2 * points, 4 * points)
    sums, root_sums, outside, clear, error = np.zeros(3), np.zeros(3), 0.0, True, 1e-8
    for k, n in enumerate(sizes):
        grid = check_type("what `rule` returns", check_call("rule", rule, n), Grid)
        given = check_call("case", case, grid)
        if not isinstance(given, tuple) or len(given) != 2:
            raise TypeError(f"case must return (network, control) on a grid, got {shown(given)}")
        network, control = given
        bias = steady_values(network, control)["bias"]
        a = coordinates(network, to_host(bias)[:, None])
        left, mu, right = np.linalg.svd(operator_matrix(network, control))
        rank, gap, rounding = numerical_rank(mu)
        clear, error = clear and gap, max(error, rounding)
        parts = (left.T @ a)[:, 0]
        sums[k] = np.sum((parts[:rank] / mu[:rank]) ** 2)
        root_sums[k] = np.sum(parts[:rank] ** 2 / mu[:rank])
        size = float(np.linalg.norm(a))
        outside = float(np.linalg.norm(parts[rank:])) / size if size > 0 else 0.0
        if n == sizes[2]:
            x = right[:rank].T @ (parts[:rank] / mu[:rank])[:, None]
            solution, null = functions_of(network, x), functions_of(network, right[rank:].T)
            residual = float(np.linalg.norm(operator_matrix(network, control) @ x - a))
            zeros = zeros_of(network.activation)
    outside = outside if outside > error else 0.0
    verdict, root_verdict = _verdict(sums, outside, clear), _verdict(root_sums, outside, clear)
    sentence = _sentence(verdict, sums, sizes, outside, null.shape[1], zeros)
    return SteadyState(
        verdict,
        root_verdict,
        sizes,
        sums,
        root_sums,
        outside,
        solution,
        residual,
        null,
        zeros,
        sentence,
    )


def _verdict(sums: Array, outside: float, clear: bool) -> Verdict:
    """From three sums.

    A part of a outside the range decides only where the singular values show a gap.
    """
    if outside > 0.0:
        return "grows" if clear else "undecided"
    first, second = abs(sums[1] - sums[0]), sums[2] - sums[1]
    if abs(second) <= 1e-8 * sums[2] and first <= 1e-8 * sums[2]:
        return "converges"
    if abs(second) <= 0.75 * first:
        return "converges"
    return "grows" if second >= 0.95 * first else "undecided"


def _sentence(
    verdict: Verdict,
    sums: Array,
    sizes: tuple[int, int, int],
    outside: float,
    null: int,
    zeros: str,
) -> str:
    listed = ", ".join(f"{s:.6g}" for s in sums)
    text = f"Picard's sum is {listed} at {', '.join(map(str, sizes))} points per dimension"
    if outside > 0.0:
        text += (
            f", and a share {outside:.3g} of |a| lies outside the span of the singular functions"
        )
    text += {
        "converges": ": Bf = a is solvable as far as three grids can tell",
        "grows": ": Bf = a has no solution in L^2(Y) as far as three grids can tell",
        "undecided": ": these grids do not decide whether Bf = a is solvable",
    }[verdict]
    if null:
        text += f"; N(B) has {null} dimensions on the finest grid, so solutions are not unique"
    return (
        text
        + {
            "only at 0": ". sigma vanishes only at 0, so these are all steady states.",
            "at 0 and elsewhere": ". sigma vanishes elsewhere too, so other f with sigma(a - Bf) "
            "= 0 may be steady.",
            "not at 0": ". sigma(0) is not 0, so solutions of Bf = a are not steady.",
        }[zeros]
    )


FROZEN = (
    "a spectrum frozen along a moving state or a control that depends on time does not decide "
    "stability: "
    "solutions can grow while every frozen eigenvalue decays, and decay while one grows (LM-41)"
)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The eigenvalues of w_t = -sigma'(u) Bw, or of w_t = D_f F w.

    eigenvalues : (P,) complex, the largest real part first
    frozen : taken at a state that is not known to be steady, or of a control that depends on time
    sentence : what follows, and what does not
    """

    eigenvalues: Array
    frozen: bool
    sentence: str

    __repr__ = short


@checked
def linearized_spectrum(
    network: Chain, control: ControlPath, state: Array | None = None, t: float = 0.0
) -> Spectrum:
    """w_t = -sigma'(0) B w at a steady state Bf = a, or w_t = -sigma'(u) B w at u = a - Bf frozen.

    For any other chain, such as Bottleneck: w_t = D_f F(state, t) w, which decides the stability of
    the state near it (Lyapunov's indirect method) where the control is constant in time and
    |F| <= 1e-10 |D_f F| |state|, so that the state is steady up to rounding; frozen elsewhere.

    state : (N, 1), where to freeze; None for a steady state of a WidthDepth, where u = 0
    t : the time at which the blocks are taken
    raises ValueError for a state that does not fit, or without one if sigma has no derivative or no
        zero at 0, or the network is no WidthDepth; TypeError for what is no Chain
    Source: Liu and Markowich sections 3.2 and 3.5 with errata E10, E11 and E19.
    """
    if not isinstance(network, WidthDepth):
        return _of_chain(check_type("network", network, Chain), control, state, t)
    s = operator_matrix(network, control, t)
    if state is None:
        slope = np.full(len(s), _slope_at_zero(network.activation))
    else:
        f = check_array("state", state, (len(network.weights), 1))
        u = network.preactivation(f, values_at(network, control, t))
        slope = to_host(network.activation.derivative(u))[network.weights > 0, 0]
    if is_symmetric(s) and bool(
        (slope >= 0).all()
    ):  # similar to a symmetric matrix, so real (LM-25)
        roots = np.sqrt(slope)
        eigenvalues = -np.linalg.eigvalsh(roots[:, None] * s * roots).astype(np.complex128)
    else:
        eigenvalues = np.linalg.eigvals(-slope[:, None] * s).astype(np.complex128)
    eigenvalues = eigenvalues[np.lexsort((eigenvalues.imag, -eigenvalues.real))]
    frozen = state is not None or constant_values(control) is None
    sentence = _spectral_sentence(
        eigenvalues, frozen, is_symmetric(s), bounded=network.kernel.bounded
    )
    return Spectrum(eigenvalues, frozen, sentence)


def _of_chain(network: Chain, control: ControlPath, state: Array | None, t: float) -> Spectrum:
    """The eigenvalues of D_f F at a state."""
    network.check_control("control", control)
    if state is None:
        raise ValueError(
            "state must be given: where a chain that is no WidthDepth is steady is not known"
        )
    f = check_array("state", network.check_state("state", state), (len(network.weights), 1))
    values, network = control.at_layer(control.mesh.layer_of(t), t), network.batch([0])
    active = np.flatnonzero(network.weights > 0)
    jacobian = to_host(network.jvp(f, values, t, np.eye(len(f))[:, active], {}))[active]
    eigenvalues = np.linalg.eigvals(jacobian).astype(np.complex128)
    eigenvalues = eigenvalues[np.lexsort((eigenvalues.imag, -eigenvalues.real))]
    speed = float(np.abs(network.velocity(f, values, t)[active]).max())
    scale = float(np.linalg.norm(jacobian)) * float(np.abs(f).max())
    moving = not speed <= 1e-10 * scale
    if moving or network.timed or constant_values(control) is None:
        sentence = _spectral_sentence(eigenvalues, True, False, bounded=True)
        return Spectrum(eigenvalues, True, sentence)
    top, size = float(eigenvalues[0].real), float(np.abs(eigenvalues).max())
    text = f"The state is steady, and the largest real part is {top:.6g}: "
    if abs(top) <= ROUNDING * size:
        text += "the linearised equation does not decide whether it is stable."
    else:
        text += f"it is {'unstable' if top > 0 else 'locally exponentially stable'}, where the "
        text += "velocity is differentiable."
    return Spectrum(eigenvalues, False, text)


def _slope_at_zero(activation: Activation) -> float:
    """sigma'(0), or ValueError."""
    if zeros_of(activation) == "not at 0":
        raise ValueError(
            f"{activation}(0) is not 0, so u = 0 is no steady state: give the state to linearise at"
        )
    left, right = (float(activation.derivative(np.array([s]))[0]) for s in (-1e-9, 1e-9))
    if abs(left - right) > 1e-6:
        raise ValueError(
            f"{activation} has no derivative at 0 ({left:g} from the left, {right:g} from the "
            f"right)"
        )
    return float(activation.derivative(np.zeros(1))[0])


def _spectral_sentence(eigenvalues: Array, frozen: bool, symmetric: bool, bounded: bool) -> str:
    top, scale = float(eigenvalues[0].real), float(np.abs(eigenvalues).max())
    text = f"The largest real part is {top:.6g}: "
    if frozen:
        return text + FROZEN + "."
    if top > ROUNDING * scale:
        return text + "the linearised equation is exponentially unstable."
    if top >= -ROUNDING * scale:
        stable = (
            "stable, because B is symmetric, but not asymptotically"
            if symmetric
            else "not asymptotically stable"
        )
        return text + f"the linearised equation is {stable}; components in N(B) stay for ever."
    if not bounded:
        return text + (
            f"exponentially stable, at this rate on any grid, since B is no compact operator; the "
            f"fastest mode decays at the rate {scale:.6g}, which grows with the grid: the "
            f"equation is stiff."
        )
    return text + (
        "asymptotically stable on this grid; if Y is a continuum then 0 is in the spectrum of "
        "the compact operator B "
        "and no exponential rate survives refinement (LM-26)."
    )


@dataclass(frozen=True, eq=False)
class GramTest:
    """B = sum_l mu_l (psi_l, .) phi_l of finite rank, T_kl = (phi_k, psi_l), D = diag(mu).

    singular_values : (R,) mu_1 >= ... >= mu_R > 0
    gram : (R, R) T
    symmetric_dt : (R,) eigenvalues of (D T + T^T D) / 2, increasing; all > 0: Theorem 3.4 applies
    symmetric_dtt : (R,) eigenvalues of (D T^T + T D) / 2; all > 0: int Sigma(u) decreases near u =
        0
    eigenvalues : (R,) complex, of D T, by real part; times sigma'(0), the asymptotic rates of decay
        of u
    applies : sigma'(0) > 0, T invertible and D T positive definite: u = 0 is locally exponentially
        stable
    decided : False if rounding of B could make D T positive definite, or not
    decreases : whether int Sigma(u) is a Lyapunov function near 0
    sentence : the verdict
    """

    singular_values: Array
    gram: Array
    symmetric_dt: Array
    symmetric_dtt: Array
    eigenvalues: Array
    applies: bool
    decided: bool
    decreases: bool
    sentence: str

    __repr__ = short
    to_dict = plain


@checked
def gram_test(network: WidthDepth, control: ControlPath) -> GramTest:
    """u' = -sigma'(0) D T^T u near u = 0: Theorem 3.4 as corrected, for B of finite rank.

    D T positive definite makes V = 1/2 sum (u_l / mu_l)^2 decrease near 0; int Sigma(u) decreases
    only if D T^T + T D is positive definite, which is another matrix.  a in R(B) is assumed.

    raises ValueError for a control that depends on time, a kernel that is zero or unbounded,
        sigma(0) != 0, or sigma not differentiable at 0
    Source: Liu and Markowich Theorem 3.4 with errata E16, E17.
    """
    steady_values(network, control)
    if not network.kernel.bounded:
        raise ValueError(f"kernel must be of finite rank, {network.kernel!r} is unbounded")
    left, mu, right = np.linalg.svd(operator_matrix(network, control))
    if mu[0] == 0.0:
        raise ValueError("kernel is zero: there is nothing to test")
    slope = _slope_at_zero(network.activation)
    rank, clear, error = numerical_rank(mu)
    mu, gram = mu[:rank], (right[:rank] @ left[:, :rank]).T
    dt, dtt = mu[:, None] * gram, mu[:, None] * gram.T
    eigenvalues = np.linalg.eigvals(dt).astype(np.complex128)
    eigenvalues = eigenvalues[np.lexsort((eigenvalues.imag, eigenvalues.real))]
    first, second = (np.linalg.eigvalsh(0.5 * (m + m.T)) for m in (dt, dtt))
    # D T is positive definite if D^1/2 T D^-1/2 is, which depends less on rounding of B
    roots = np.sqrt(mu)
    scaled = (roots[:, None] * m / roots for m in (gram, gram.T))
    least = [float(np.linalg.eigvalsh(0.5 * (m + m.T))[0]) for m in scaled]
    doubt = error * float(roots[0] / roots[-1])
    positive = [x > ROUNDING + doubt for x in least]
    decided = doubt <= ROUNDING or abs(least[0]) > ROUNDING + doubt
    applies = positive[0] and slope > 0
    text = f"Rank {rank}: sym(DT) has least eigenvalue {first[0]:.6g}, sym(DT^T) {second[0]:.6g}. "
    if applies:
        rate = slope * float(eigenvalues[0].real)
        text += "Theorem 3.4 applies: u = 0 is locally exponentially stable, "
        text += f"with asymptotic rate {rate:.6g}; "
        text += "int Sigma(u) decreases near 0." if positive[1] else "int Sigma(u) may first grow."
    else:
        text += (
            "Theorem 3.4 does not apply: sigma'(0) = 0."
            if slope == 0.0
            else "Theorem 3.4 does not apply: DT is not positive definite."
            if decided
            else "Theorem 3.4 may apply: rounding does not decide whether DT is positive definite."
        )
    if not clear:
        text += (
            " The singular values show no gap on this grid: if the rank is infinite, the theorem "
            "is false (LM-26)."
        )
    return GramTest(mu, gram, first, second, eigenvalues, applies, decided, positive[1], text)
