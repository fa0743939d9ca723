"""Functionals that decrease along runs of f_t = sigma(a - Bf), and perturbations of runs."""

from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array, to_host
from continuum.checks import check_array, check_count, check_type
from continuum.controls import ControlPath
from continuum.doors import checked
from continuum.networks import Chain, WidthDepth
from continuum.records import short

from ..run.solution import Trajectory
from ..steps.tableaux import RK4, RungeKutta, combine
from .stability import (
    coordinates,
    is_symmetric,
    numerical_rank,
    operator_matrix,
    steady_values,
    values_at,
)


@dataclass(frozen=True, eq=False)
class Lyapunov:
    """Functionals along a run; each array is (S, M), times by samples.

    times : (S,)
    potential : int Sigma(u); its derivative is -dissipation if a and b are constant in time
    dissipation : (B sigma(u), sigma(u)), >= 0 if B_s >= 0
    energy : 1/2 (Bf, f) - (a, f); its derivative is -power if moreover B is symmetric
    power : int sigma(u) u, >= 0 if s sigma(s) >= 0
    """

    times: Array
    potential: Array
    dissipation: Array
    energy: Array
    power: Array

    __repr__ = short


@checked
def lyapunov_functional(
    network: WidthDepth, control: ControlPath, trajectory: Trajectory
) -> Lyapunov:
    """d/dt int Sigma(u) = -(B sigma(u), sigma(u)),   d/dt [1/2 (Bf, f) - (a, f)] = -int sigma(u) u.

    trajectory : of this network, (S, N, M)
    raises ValueError for a control that depends on time or states that do not fit
    Source: Liu and Markowich section 3.2 and Theorem 3.2 with errata E13, E15.
    """
    values = steady_values(network, control)
    grid, kernel, sigma = network.grid, network.kernel, network.activation
    rows: list[tuple[Array, ...]] = []
    for f in _states(network, trajectory):
        u = network.preactivation(f, values)
        slope, bf = sigma.value(u), values["bias"][:, None] - u
        rows.append(
            (
                grid.integrate(sigma.antiderivative(u)),
                grid.integrate(
                    slope * kernel.apply(values["kernel"], slope, network.weights_like(f))
                ),
                grid.integrate(f * (0.5 * bf - values["bias"][:, None])),
                grid.integrate(slope * u),
            )
        )
    return Lyapunov(
        trajectory.times,
        *(np.stack([to_host(x) for x in column]) for column in zip(*rows, strict=True)),
    )


@checked
def root_energy(
    network: WidthDepth, control: ControlPath, trajectory: Trajectory, shifted: bool = False
) -> tuple[Array, float]:
    """(|B^1/2 f|^2, |g|), or with `shifted` (1/2 |B^1/2 f - g|^2, |g|).

    Here B^1/2 g = a and g has least norm.

    The second does not increase if s sigma(s) >= 0, so |B^1/2 f| <= |g| + |B^1/2 f_I - g|; |g|
    stays bounded under refinement only if a is in R(B^1/2), which `steady_state(...).root_verdict`
    is about.

    returns (S, M) and |g|
    raises ValueError for a control that depends on time, or B not symmetric or not >= 0, or a
    outside R(B^1/2) Source: Liu and Markowich Theorem 3.2 (iii) with erratum E14.
    """
    bias = to_host(steady_values(network, control)["bias"])[:, None]
    s = operator_matrix(network, control)
    if not is_symmetric(s):
        raise ValueError("kernel must be symmetric for B^1/2 to exist, b(y, z) = b(z, y)")
    omega, q = np.linalg.eigh(s)
    if omega[0] < -len(s) * 1e-15 * omega[-1]:
        raise ValueError(
            f"kernel must be >= 0 as an operator, its least eigenvalue is {omega[0]:.3g}"
        )
    omega, q = np.maximum(omega[::-1], 0.0), q[:, ::-1]
    rank, _, error = numerical_rank(omega)
    root, q = np.sqrt(omega[:rank])[:, None], q[:, :rank]
    a = coordinates(network, bias)
    g = (q.T @ a) / root
    outside = float(np.linalg.norm(a - q @ (q.T @ a)))
    if shifted and outside > max(1e-8, error) * float(np.linalg.norm(a)):
        raise ValueError(
            f"bias must be in R(B^1/2), but a part of norm {outside:.3g} is orthogonal to R(B)"
        )
    x = [root * (q.T @ coordinates(network, f)) for f in _states(network, trajectory)]
    rows = [0.5 * np.sum((y - g) ** 2, axis=0) if shifted else np.sum(y**2, axis=0) for y in x]
    return np.stack(rows), float(np.linalg.norm(g))


@checked
def singular_energy(
    network: WidthDepth, control: ControlPath, trajectory: Trajectory
) -> tuple[Array, Array]:
    """V = 1/2 sum_l (u_l / mu_l)^2, u_l = (u, phi_l), for B of finite rank.

    B = sum_l mu_l (psi_l, .) phi_l is the singular value decomposition.

    V decreases near u = 0 if D T is positive definite, where int Sigma(u) need not (`gram_test`).

    returns V (S, M) and the u_l (S, R, M), whose sign is that of the singular functions
    raises ValueError for a control that depends on time or states that do not fit
    Source: Liu and Markowich Theorem 3.4 with erratum E17.
    """
    values = steady_values(network, control)
    left, mu, _ = np.linalg.svd(operator_matrix(network, control))
    rank, *_ = numerical_rank(mu)
    parts = np.stack(
        [
            left[:, :rank].T @ coordinates(network, network.preactivation(f, values))
            for f in _states(network, trajectory)
        ]
    )
    return 0.5 * np.sum((parts / mu[:rank][:, None]) ** 2, axis=1), parts


@checked
def linearize(
    network: Chain,
    control: ControlPath,
    trajectory: Trajectory,
    perturbation: Array,
    *,
    sample: int = 0,
    stepper: RungeKutta | None = None,
    substeps: int = 1,
) -> Trajectory:
    """w_t = D_f F(f, t) w along a run, from w = perturbation at its first time; for a WidthDepth,
    -sigma'(u) B w.

    trajectory : (S, N, M); w and f advance together from each of its times to the next, in
        `substeps` steps, f starting anew at every saved state: save="steps" or "layers" of an
        accurate run is what to give
    perturbation : (N, K)
    sample : along which column of the run
    stepper : an explicit Runge-Kutta method, RK4() by default
    returns Trajectory with states (S, N, K)
    raises ValueError for states that do not fit or a saved interval that a breakpoint of the
        control cuts; TypeError for a network that is no Chain
    Source: Liu and Markowich (3.6).
    """
    check_type("network", network, Chain)
    w = check_array("perturbation", perturbation, (len(network.weights), "K"))
    march = _March(network, control, trajectory, sample, stepper or RK4(), substeps)
    states = [w]
    for n in range(len(trajectory.times) - 1):
        states.append(march.interval(states[-1], n))
    return Trajectory(trajectory.times, np.stack(states))


@dataclass(frozen=True, eq=False)
class Propagator:
    """M(t, s): w(s) -> w(t), the Jacobian of the run from f(s) to f(t), and M(t, s)*: p(t) -> p(s),
    each from an integration of its own.

    matrix, adjoint : (N, N), acting on nodal values
    norm, adjoint_norm : in L^2(Y) or R^N, equal up to the error of the integrations
    condition : the largest over the least singular value: by how much a run can spoil relative
        accuracy
    sentence : these in words
    """

    matrix: Array
    adjoint: Array
    norm: float
    adjoint_norm: float
    condition: float
    sentence: str

    __repr__ = short


@checked
def propagator(
    network: Chain,
    control: ControlPath,
    trajectory: Trajectory,
    s: float,
    t: float,
    *,
    sample: int = 0,
    stepper: RungeKutta | None = None,
    substeps: int = 1,
) -> Propagator:
    """w_t = D_f F(f, t) w from s to t, and -p_t = (D_f F)* p from t back to s; for a WidthDepth,
    -sigma'(u) B w and -B*(sigma'(u) p).

    .matrix is the Jacobian of f(t) in f(s), of one sample; that of a ResNet's output in its input
    for Euler(), a run by Euler() with save="layers", s = 0 and t = horizon.

    trajectory, sample, stepper, substeps : see `linearize`
    s, t : two of the trajectory's times, s < t
    raises ValueError for other times, and what `linearize` raises
    Source: Liu and Markowich section 3.5 and (3.6) with errata E19, E33.
    """
    check_type("network", network, Chain)
    first, last = _index(trajectory, "s", s), _index(trajectory, "t", t)
    if not first < last:
        raise ValueError(f"s must be before t, got {s} and {t}")
    march = _March(network, control, trajectory, sample, stepper or RK4(), substeps)
    matrix = np.eye(len(network.weights))
    adjoint = matrix
    for n in range(first, last):
        matrix = march.interval(matrix, n)
    for n in reversed(range(first, last)):
        adjoint = march.interval(adjoint, n, adjoint=True)
    values = np.linalg.svd(_in_l2(network, matrix), compute_uv=False)
    norm, adjoint_norm = float(values[0]), float(np.linalg.norm(_in_l2(network, adjoint), 2))
    condition = float(values[0] / values[-1]) if values[-1] > 0 else float("inf")
    sentence = (
        f"From {s:g} to {t:g} a small perturbation grows by at most {norm:.6g} and "
        f"relative accuracy is lost by "
    )
    return Propagator(
        matrix, adjoint, norm, adjoint_norm, condition, f"{sentence}at most {condition:.6g}."
    )


@dataclass(frozen=True, eq=False)
class EnergyIdentity:
    """dE/dt = rate, E = 1/2 int w^2 / sigma'(u); arrays (S, K), times by perturbations.

    times : (S,)
    energy : E
    rate : -(Bw, w) - 1/2 int w^2 sigma''(u) u_t / sigma'(u)^2
    """

    times: Array
    energy: Array
    rate: Array

    __repr__ = short


@checked
def energy_identity(
    network: WidthDepth,
    control: ControlPath,
    trajectory: Trajectory,
    perturbations: Trajectory,
    *,
    control_rate: ControlPath | None = None,
    sample: int = 0,
) -> EnergyIdentity:
    """d/dt 1/2 int w^2 / sigma'(u) = -(Bw, w) - 1/2 int w^2 sigma''(u) u_t / sigma'(u)^2.

    Here u_t = a_t - B_t f - B sigma(u), where the paper prints u.

    perturbations : w at the times of the trajectory, as `linearize` gives them
    control_rate : a_t and b_t, made like the control; may be left out if the control is constant in
        time
    raises ValueError if it is left out and needed, if sigma is not C^2 or sigma'(u) not > 0, or
    times differ Source: Liu and Markowich section 3.5 with erratum E19.
    """
    sigma = check_type("network", network, WidthDepth).activation
    if not sigma.smooth:
        raise ValueError(f"the activation must be C^2 with sigma' > 0, {sigma} is not")
    if control_rate is None:
        steady_values(network, control)
    if not np.array_equal(trajectory.times, perturbations.times):
        raise ValueError("perturbations must be given at the times of the trajectory")
    runs = _states(network, trajectory)
    sample = _check_sample(sample, runs)
    energies, rates = [], []
    for t, states, w in zip(trajectory.times, runs, _states(network, perturbations), strict=True):
        values, f = values_at(network, control, float(t)), states[:, sample : sample + 1]
        u, measure = network.preactivation(f, values), network.weights_like(f)
        apply = network.kernel.apply
        rate = {} if control_rate is None else values_at(network, control_rate, float(t))
        u_t = sigma.value(u)
        for one in network.maps[:2]:  # u = a - Bf
            u_t = one.jvp(f, values, u_t, rate)
        slope = sigma.derivative(u)
        if not bool((slope > 0).all()):
            raise ValueError(
                f"sigma'(u) must be > 0, the least at t = {float(t):g} is {float(slope.min()):.3g}"
            )
        energies.append(network.grid.integrate(0.5 * w * w / slope))
        curvature = 0.5 * w * w * sigma.second(u) * u_t / slope**2
        rates.append(-network.grid.integrate(w * apply(values["kernel"], w, measure) + curvature))
    return EnergyIdentity(trajectory.times, np.stack(energies), np.stack(rates))


class _March:
    """Perturbations or costates across one saved interval, together with the state."""

    def __init__(
        self,
        network: Chain,
        control: ControlPath,
        trajectory: Trajectory,
        sample: int,
        stepper: RungeKutta,
        substeps: int,
    ) -> None:
        if not isinstance(stepper, RungeKutta):
            raise TypeError(
                f"stepper must be an explicit Runge-Kutta method such as RK4(), got {stepper!r}"
            )
        network.check_control("control", control)
        sample = _check_sample(sample, _states(network, trajectory))
        times = trajectory.times
        for point in control.breakpoints:
            k = int(np.searchsorted(times, point))
            if (
                0 < k < len(times)
                and min(point - times[k - 1], times[k] - point) > 1e-12 * times[-1]
            ):
                raise ValueError(
                    f"the control breaks at t = {point:g}, inside a saved interval: save layers "
                    f"or steps"
                )
        self.network, self.control = network.batch([sample]), control
        self.trajectory, self.sample = trajectory, sample
        self.stepper, self.substeps = stepper, check_count("substeps", substeps)

    def interval(self, columns: Array, n: int, adjoint: bool = False) -> Array:
        """Columns at the end of interval n from those at its start; the adjoint goes back."""
        ends = self.trajectory.times[n : n + 2]
        start, end = (float(x) for x in (ends[::-1] if adjoint else ends))
        layer = self.control.mesh.layer_of(0.5 * (start + end))
        h = (end - start) / self.substeps
        f = self.trajectory.states[n + 1 if adjoint else n][:, self.sample : self.sample + 1]
        both = np.hstack([f, columns])

        def velocity(t: float, g: Array) -> Array:
            c, f, x = self.control.at_layer(layer, t), g[:, :1], g[:, 1:]
            if adjoint:
                dx = -self.network.vjp(f + np.zeros_like(x), c, t, x)[0]
            else:
                dx = self.network.jvp(f, c, t, x, {})
            return np.hstack([self.network.velocity(f, c, t), dx])

        for k in range(self.substeps):
            slopes = self.stepper.stages(velocity, start + k * h, h, both)
            both = combine(both, h, self.stepper.b, slopes)
        return both[:, 1:]


def _states(network: Chain, trajectory: Trajectory) -> Array:
    if not isinstance(trajectory, Trajectory):
        raise TypeError(f"trajectory must be a Trajectory, got {type(trajectory).__name__}")
    return check_array("trajectory", trajectory.states, ("S", len(network.weights), "M"))


def _check_sample(sample: int, states: Array) -> int:
    if check_count("sample", sample, 0) >= states.shape[2]:
        raise ValueError(f"sample must be in 0..{states.shape[2] - 1}, got {sample}")
    return int(sample)


def _index(trajectory: Trajectory, name: str, time: float) -> int:
    times = trajectory.times
    n = int(np.argmin(np.abs(times - time)))
    if not abs(float(times[n]) - time) <= 1e-12 * max(1.0, float(times[n])):
        raise ValueError(
            f"{name} must be a time of the trajectory, the nearest to {time:g} is "
            f"{float(times[n]):g}"
        )
    return n


def _in_l2(network: Chain, matrix: Array) -> Array:
    """W^1/2 M W^-1/2 over the nodes of positive weight."""
    active = np.flatnonzero(network.weights > 0)
    roots = np.sqrt(network.weights[active])
    return roots[:, None] * matrix[np.ix_(active, active)] / roots
