"""Rates: of two samples, of Euler's method, and of controls with a price on their derivative
(TP-23, TP-24, TP-28).
"""

import numpy as np

from continuum import (
    LearningProblem,
    NeuralODE2,
    SobolevPenalty,
    SquaredError,
    TimeMesh,
    identity,
)
from solvers import LBFGS, Heun, NewtonCG, discretize, minimize, shoot
from solvers.turnpike import scheme_spectrum, spectrum, static_optimum

from ...bench.registry import claim
from ..paper import scalar, two_points
from .common import PAPER


@claim(
    "TP-23",
    statement="Two samples on the line with running cost: the rates of phi are 2 (eigenvalues of "
    "(sigma(x_i) sigma(x_j) + 1) / (N lambda))^(1/2) at the targets.",
    paper=PAPER,
    references={
        "slow rate": 2.33818294,
        "fast rate": 2.85134646,
        "J": 0.696138912,
        "w(0)": 1.0640945,
        "b(0)": -0.3430785,
        "phi(1)": 0.1002499,
        "phi(2)": 0.01094294,
        "phi(4)": 1.0392e-4,
    },
    relative_tolerance={
        "slow rate": 3e-9,
        "fast rate": 3e-9,
        "J": 2e-7,
        "w(0)": 2e-7,
        "b(0)": 2e-7,
        "phi(1)": 1e-6,
        "phi(2)": 5e-6,
        "phi(4)": 5e-4,
    },
    reason="the ledger's phi are approximate; the ledger's J is 2.5e-8 above what shooting "
    "and collocation agree on",
    slow=True,
)
def two_samples() -> dict[str, float]:
    """T = 8; the rates from the Hamiltonian system linearised at the static optimum."""
    problem = two_points(0.5, TimeMesh(8.0, 8), along=True)
    rates = 2.0 * spectrum(problem, static_optimum(problem)).rates
    best = minimize(problem, LBFGS(gtol=1e-3))
    found = shoot(problem, initial=best.control, segments=8, max_evaluations=10**6)
    x, p, times = found.state.states[:, 0], found.costate.states[:, 0], found.state.times
    phi = np.mean((x - problem.target) ** 2, axis=1)
    # u minimises sum_i p_i (w tanh(x_i) + b) + (w^2 + b^2) / 2
    values = {
        "slow rate": min(rates),
        "fast rate": max(rates),
        "J": found.objective,
        "w(0)": -p[0] @ np.tanh(x[0]),
        "b(0)": -np.sum(p[0]),
    }
    for t in (1, 2, 4):  # ends of segments
        values[f"phi({t})"] = phi[np.argmin(np.abs(times - t))]
    return {name: float(value) for name, value in values.items()}


@claim(
    "TP-24",
    statement="Euler's scheme has a rate of its own, r + 1/r = 2 + h^2 / lambda: "
    "2 log(1/r) / h instead of 2.",
    paper=PAPER,
    references={
        "h = 1": 1.92484730,
        "h = 1/2": 1.97973169,
        "h = 1/4": 1.99482795,
        "h = 1/2, of a minimum": 1.97973169,
    },
    tolerance={
        "h = 1": 6e-9,
        "h = 1/2": 6e-9,
        "h = 1/4": 6e-9,
        "h = 1/2, of a minimum": 1e-6,
    },
    reason="the ledger prints eight decimals; of the minimum on [0, 12], the way back adds "
    "exp(-20), and the gradient is 1e-8",
)
def rate_of_euler() -> dict[str, float]:
    """Of one layer's linearised Hamiltonian map; and from the errors of two neighbouring layers at
    t = 2, on the minimum of the discrete problem.
    """
    found = {}
    for name, h in (("h = 1", 1.0), ("h = 1/2", 0.5), ("h = 1/4", 0.25)):
        problem = scalar(1.0, TimeMesh(4.0, 4), affine=False)
        rates = scheme_spectrum(problem, static_optimum(problem), h).rates
        found[name] = float(2.0 * rates[0])
    problem = scalar(1.0, TimeMesh(12.0, 24), affine=False)
    best = minimize(problem, NewtonCG(gtol=1e-8))
    error = 1.0 - 0.5 * np.cumsum(best.control["bias"][:, 0])
    found["h = 1/2, of a minimum"] = float(4.0 * np.log(error[3] / error[4]))
    return found


def _smooth_control(strength: float, layers: int) -> np.ndarray:
    """[J, u(0), phi(2), mu, t], of x' = u from 0 to 1 with lambda int u^2 + u'^2 on [0, 20].

    mu is twice the least real part of the roots s of the errors e = 1 - x, which are sums of four
    exponentials exp(+-s_1 t), exp(+-s_2 t) with Y_i = 2 cosh(s_i h) the roots of Y^2 + c Y + d - 2:
    e(t + 2h) + e(t - 2h) + c (e(t + h) + e(t - h)) + d e(t) = 0.  For the strength 4, where s_1 =
    s_2, Y = -c / 2 is well determined, the roots are not.  t is the first zero of e, or 0.
    """
    horizon = 20
    network = NeuralODE2(1, identity)
    space = network.controls(
        TimeMesh(float(horizon), layers), in_time="nodes", norm="H1", fixed={"weight": 0.0}
    )
    problem = LearningProblem(
        network,
        np.zeros((1, 1)),
        np.ones((1, 1)),
        space,
        terminal=None,
        running=SquaredError(1.0),
        penalty=SobolevPenalty(strength),
    )
    objective = discretize(problem, Heun())
    best = minimize(objective, NewtonCG(gtol=1e-8))
    e = 1.0 - objective.run(best.control).states[:, 0, 0]
    n = layers // horizon
    i = np.arange(2 * n, 6 * n)
    near, far = e[i + n] + e[i - n], e[i + 2 * n] + e[i - 2 * n]
    c, d = np.linalg.lstsq(np.stack([near, e[i]], axis=1), -far, rcond=None)[0]
    y = np.roots([1.0, c, d - 2.0]) if strength != 4.0 else np.array([-0.5 * c])
    roots = np.arccosh(y.astype(complex) / 2.0)
    zeros = np.flatnonzero(e[1:] * e[:-1] < 0.0)
    crossing = 0.0
    if len(zeros):
        # the parabola through three values: an error of third order
        k = zeros[0]
        t = np.arange(k - 1, k + 3) * horizon / layers
        crossing = float(np.polyval(np.polyfit(e[k - 1 : k + 3], t, 3), 0.0))
    rate = 2.0 * float(np.min(np.abs(np.real(roots))))
    return np.array([best.objective, best.control["bias"][0, 0], e[2 * n] ** 2, rate, crossing])


@claim(
    "TP-28",
    statement="A price on u and u' (k = 1): lambda s^4 - lambda s^2 + 1 = 0, so that the errors "
    "oscillate for lambda < 4 and do not above.",
    paper=PAPER,
    references={
        "1: mu": 1.7320508075688772,
        "1: first zero": 4.1887902047863905,
        "1: J": 1.1547005383792517,
        "1: u(0)": 0.5773502691896258,
        "1: phi(2)": 0.032958012,
        "0.1: mu": 2.7063915682,
        "0.1: J": 0.4863404769,
        "4: mu": 1.4142135623730951,
        "9: mu": 0.7136441795,
    },
    relative_tolerance={
        "1: mu": 1e-6,
        "1: first zero": 1e-6,
        "1: J": 1e-7,
        "1: u(0)": 1e-7,
        "1: phi(2)": 1e-6,
        "0.1: mu": 1e-6,
        "0.1: J": 1e-6,
        "4: mu": 1e-6,
        "9: mu": 1e-7,
    },
    reason="piecewise linear controls and the trapezoid, second order, extrapolated from 16 and 32 "
    "layers a unit: 1e-8 to 2e-7 is left; the slower the modes, the less of them is seen by a "
    "gradient of 1e-8",
    slow=True,
)
def smooth_controls() -> dict[str, float]:
    """D = 1, T = 20; closed forms pi 4/3, 3^(1/2), 2 / 3^(1/2), 1 / 3^(1/2), 2^(1/2)."""
    found = {}
    names = ("J", "u(0)", "phi(2)", "mu", "first zero")
    wanted = {1.0: names, 0.1: ("J", "mu"), 4.0: ("mu",), 9.0: ("mu",)}
    for strength, keys in wanted.items():
        coarse, fine = (_smooth_control(strength, n) for n in (320, 640))
        limit = dict(zip(names, ((4.0 * fine - coarse) / 3.0).tolist(), strict=True))
        found |= {f"{strength:g}: {key}": limit[key] for key in keys}
    return found
