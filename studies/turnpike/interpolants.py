"""Controls of least norm that interpolate, on (0, 1): their price, speed and geodesic equation; and
the constants of the proofs along a run.

f = w sigma(x_i) + b is linear in u = (w, b), f = B(x) u, and B B* acts on velocities v (d, N) by
v K(x), K_ij = sigma(x_i) . sigma(x_j) + 1.  Where K is invertible (at most d + 1 samples) a control
of least norm makes x a geodesic of the metric |v|^2 = tr(v K^-1 v*): with p = v K^-1 (d, N)

    u = B* p = (p sigma(x)*, sum_i p_i),   p_i' = -sigma'(x_i) o sum_j (p_i . p_j) sigma(x_j),

and |u|, the length of v in that metric, is constant.
"""

from dataclasses import dataclass, replace

import numpy as np

from continuum import (
    Activation,
    LearningProblem,
    SquaredError,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
)
from solvers import DOP853, RK4, RiccatiNewton, Solution, discretize, integrate, minimize


@dataclass(frozen=True, eq=False)
class Interpolant:
    """A control of least norm, as far as Newton's method saw (a strict local minimum at best).

    problem : min int_0^1 |u|^2 with the endpoint;  found : its solution, constant on layers (RK4)
    value : int_0^1 |u|^2
    slope : (d, N), the derivative of the value in the targets
    """

    problem: LearningProblem
    found: Solution
    value: float
    slope: np.ndarray


def on_layers(problem: LearningProblem, layers: int) -> LearningProblem:
    """The problem on (0, 1) with so many layers."""
    return replace(problem, controls=problem.network.controls(TimeMesh(1.0, layers)))


def interpolant(problem: LearningProblem, layers: int) -> Interpolant:
    """The least int_0^1 |u|^2 that leads the samples to their targets, from u = 0.

    raises SolveError where the targets are not reached
    """
    posed = replace(
        on_layers(problem, layers),
        terminal=None,
        running=None,
        penalty=Tikhonov(1.0),
        endpoint=TerminalEquality(),
    )
    method = RiccatiNewton(gtol=1e-8, relative=True, max_iterations=300)
    found = minimize(discretize(posed, RK4()), method)
    if found.multiplier is None:
        raise TypeError("a problem with an endpoint has a multiplier")
    slope = -posed.sample_weights * found.multiplier
    return Interpolant(posed, found, found.objective, slope)


def speed(found: Interpolant) -> np.ndarray:
    """(K,): |u| on each layer."""
    w, b = found.found.control["weight"], found.found.control["bias"]
    return np.sqrt(np.sum(w**2, axis=(1, 2)) + np.sum(b**2, axis=1))


def gram(sigma: Activation, x: np.ndarray) -> np.ndarray:
    """K of states (..., d, N): (..., N, N)."""
    s = sigma.value(x)
    return np.swapaxes(s, -1, -2) @ s + 1.0


def geodesic_residual(found: Interpolant, sigma: Activation) -> tuple[float, float]:
    """(largest |u - B* p| over the largest |u|, largest |p' + ...| over the largest of the two
    sides), p in the middles of layers from the velocity there, p' by differences.
    """
    problem, control = found.problem, found.found.control
    mesh = problem.mesh
    middles, h = 0.5 * (mesh.nodes[1:] + mesh.nodes[:-1]), 1.0 / mesh.layers
    at = np.sort(np.concatenate([middles, mesh.nodes]))
    method = DOP853(rtol=1e-12, atol=1e-12)
    run = integrate(problem.network, control, problem.initial, method, save=at).trajectory.states
    nodes, x = run[::2], run[1::2]
    w, b = control["weight"], control["bias"]
    velocity = w @ sigma.value(x) + b[:, :, None]
    p = velocity @ np.linalg.inv(gram(sigma, x))
    across_w = w - p @ np.swapaxes(sigma.value(x), 1, 2)
    across_b = b - np.sum(p, axis=2)
    across = np.sqrt(np.sum(across_w**2, axis=(1, 2)) + np.sum(across_b**2, axis=1))
    mean, inner = 0.5 * (p[1:] + p[:-1]), nodes[1:-1]
    pairs = np.swapaxes(mean, 1, 2) @ mean
    force = -sigma.derivative(inner) * (sigma.value(inner) @ pairs)
    change = np.diff(p, axis=0) / h
    scale = max(np.max(np.abs(force)), np.max(np.abs(change)))
    return float(np.max(across) / np.max(speed(found))), float(
        np.max(np.abs(change - force)) / scale
    )


@dataclass(frozen=True)
class ProofConstants:
    """The constants of the proof of exponential decay, along a run: the largest at sampled states,
    so no bounds.

    price : A, int phi + lambda |u|^2 of the control that leads from x to the targets in time 1 and
        then rests, over phi(x)
    steer : L, |B u| <= L |u| for the root mean square of velocities
    growth : 1 + L A / lambda^(1/2), by which phi may exceed its value at an earlier time (Gronwall)
    """

    price: float
    steer: float
    growth: float

    def time(self, growth: bool) -> float:
        """tau = e A (growth), after which the proof has phi fall by a factor e: phi is A / tau of
        its first value at some time before, and then grows by the factor at most.
        """
        return float(np.e * self.price * (self.growth if growth else 1.0))


def proof_constants(
    problem: LearningProblem, states: np.ndarray, strength: float, sigma: Activation, layers: int
) -> ProofConstants:
    """At states (S, d, N), each led to the targets by a control of least norm on so many layers."""
    prices = []
    for x in states:
        one = interpolant(replace(problem, initial=x), layers)
        along = replace(
            one.problem, endpoint=None, running=SquaredError(1.0), penalty=Tikhonov(strength)
        )
        cost = discretize(along, RK4()).value(one.found.control)
        prices.append(cost / np.mean(np.sum((x - problem.target) ** 2, axis=0)))
    price = max(prices)
    largest = np.max(np.linalg.eigvalsh(gram(sigma, states)))
    steer = float(np.sqrt(largest / states.shape[2]))
    return ProofConstants(price, steer, 1.0 + steer * price / np.sqrt(strength))
