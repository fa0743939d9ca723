"""Section B of the ledger: flows in closed form."""

from collections.abc import Callable

import numpy as np

from continuum import (
    Activation,
    TimeMesh,
    WidthDepth,
    elu,
    exact,
    gauss_legendre,
    identity,
    leaky_relu,
    midpoint,
    periodic,
    relu,
    sigmoid,
    tanh,
)
from solvers import RK4, DormandPrince, Euler, ImplicitMidpoint, integrate, richardson

from ...bench.registry import claim
from .common import PAPER, TIGHT, UNIT


@claim(
    "LM-10",
    statement="A kernel of rank one: the closed form of f_t = 1 - e^y int e^-z f, at T = 2 on 8 "
    "Gauss nodes.",
    paper=PAPER,
    references={
        "f(1/2, 2)": 0.940064439113745182,
        "|f(2)|": 0.8931788275099649,
        "largest error": 0.0,
    },
    tolerance=1e-12,
    reason="8 Gauss nodes are at rounding for these data; what is left is the stepper's "
    "tolerance of 1e-13 per step",
)
def rank_one() -> dict[str, float]:
    """The state at y = 1/2, its norm, and the largest error at the nodes."""
    case, grid = exact.rank_one, gauss_legendre(UNIT, 8).observed_at(np.array([[0.5]]))
    final = integrate(*case.setup(grid, 1), TIGHT).trajectory.final
    return {
        "f(1/2, 2)": float(final[-1, 0]),
        "|f(2)|": float(np.sqrt(grid.integrate(final**2)[0])),
        "largest error": float(np.abs(final - case.final(grid)).max()),
    }


@claim(
    "LM-11",
    statement="Linear growth with a bounded activation: f = f_I + t tanh(phi), T = 10, on 64 "
    "Gauss or midpoint nodes.",
    paper=PAPER,
    references={
        "f(1/4, 10)": 9.883855615856605,
        "|f(10)|": 7.113453050106872,
        "slope |tanh phi|": 0.7007225863069833,
        "largest error, Gauss": 0.0,
        "largest error, midpoint": 0.0,
    },
    tolerance=1e-12,
    reason="the flow is linear in t, so every step is exact; what is left is rounding over 100 "
    "steps",
)
def linear_growth() -> dict[str, float]:
    """State, norm and growth rate at T = 10."""
    case = exact.linear_growth
    gauss = gauss_legendre(UNIT, 64).observed_at(np.array([[0.25]]))
    final = integrate(*case.setup(gauss, 100), RK4()).trajectory.final
    growth = (final - gauss.sample(case.initial)) / case.horizon
    flat = midpoint(UNIT, 64)
    on_midpoints = integrate(*case.setup(flat, 100), RK4()).trajectory.final
    return {
        "f(1/4, 10)": float(final[-1, 0]),
        "|f(10)|": float(np.sqrt(gauss.integrate(final**2)[0])),
        "slope |tanh phi|": float(np.sqrt(gauss.integrate(growth**2)[0])),
        "largest error, Gauss": float(np.abs(final - case.final(gauss)).max()),
        "largest error, midpoint": float(np.abs(on_midpoints - case.final(flat)).max()),
    }


ASYMMETRIC = {
    "Gauss 8": 2.60e-9,
    "Gauss 16": 0.0,
    "midpoint 16": 1.0303e-2,
    "midpoint 64": 6.446e-4,
    "midpoint 256": 4.03e-5,
}


@claim(
    "LM-12",
    statement="Linear growth of an asymmetric equation: largest error at T = 10 of f = f_I + t "
    "tanh(phi), by rule.",
    paper=PAPER,
    references=ASYMMETRIC,
    tolerance={
        "Gauss 8": 6e-12,
        "Gauss 16": 1e-13,
        "midpoint 16": 6e-7,
        "midpoint 64": 6e-8,
        "midpoint 256": 6e-8,
    },
    reason="half a unit in the last printed digit; orthogonality holds up to quadrature, and "
    "steps are exact",
)
def asymmetric_growth() -> dict[str, float]:
    """max over nodes of |f(10) - f_I - 10 tanh(sqrt(3) y)|."""
    grids = {"Gauss 8": gauss_legendre(UNIT, 8), "Gauss 16": gauss_legendre(UNIT, 16)}
    grids |= {f"midpoint {n}": midpoint(UNIT, n) for n in (16, 64, 256)}
    computed = {}
    for name, grid in grids.items():
        case = exact.asymmetric_growth
        final = integrate(
            *case.setup(grid, 1), DormandPrince(rtol=1e-11, atol=1e-12)
        ).trajectory.final
        computed[name] = float(np.abs(final - case.final(grid)).max())
    return computed


@claim(
    "LM-13",
    statement="The Poisson kernel on the circle, rho = 1/2: f = sum I_|n|(1) exp(-rho^|n| t + i "
    "n y), t = 5.",
    paper=PAPER,
    references={
        "f(0)": 0.207343685357224869,
        "f(pi/2)": -0.0652903948672724391,
        "f(pi)": -0.0266192155983136507,
    },
    tolerance=1e-12,
    reason="128 periodic nodes resolve the series to rounding; the rest is the stepper's "
    "tolerance of 1e-13 per step",
)
def poisson_kernel() -> dict[str, float]:
    """The state at three of the nodes."""
    case = exact.poisson_circle(rho=0.5)
    final = integrate(*case.setup(periodic(case.domain, 128), 1), TIGHT).trajectory.final[:, 0]
    return {"f(0)": float(final[0]), "f(pi/2)": float(final[32]), "f(pi)": float(final[64])}


@claim(
    "LM-14",
    statement="An antisymmetric kernel turns: f = cos(y + t); implicit midpoint keeps the norm, "
    "Euler multiplies it.",
    paper=PAPER,
    references={
        "largest error, adaptive": 0.0,
        "norm, implicit midpoint": 1.7724538509055159,
        "norm, Euler, relative to the start": 1.644631822,
    },
    tolerance={
        "largest error, adaptive": 1e-11,
        "norm, implicit midpoint": 1e-12,
        "norm, Euler, relative to the start": 5e-10,
    },
    reason="a quadratic invariant is kept to rounding; nine printed digits of (1 + tau^2)^50 "
    "with tau = 0.1",
)
def turning_kernel() -> dict[str, float]:
    """sqrt(pi) is the norm of cos y."""
    case = exact.turning_circle
    grid = periodic(case.domain, 16)
    network, control, initial = case.setup(grid, 100)
    adaptive, kept, grown = (
        integrate(network, control, initial, stepper).trajectory.final
        for stepper in (TIGHT, ImplicitMidpoint(), Euler())
    )
    return {
        "largest error, adaptive": float(np.abs(adaptive - case.final(grid)).max()),
        "norm, implicit midpoint": float(np.sqrt(grid.integrate(kept**2)[0])),
        "norm, Euler, relative to the start": float(np.sqrt(grid.integrate(grown**2)[0] / np.pi)),
    }


@claim(
    "LM-15",
    statement="Scalar nonlinear flows in closed form: tanh with b = -1, sigmoid, ELU and leaky "
    "ReLU with b = 1.",
    paper=PAPER,
    references={
        "tanh, b = -1, f_I = 0.1: f(3)": 1.44894600175735968,
        "sigmoid, f_I = 0: f(5)": 1.5033358269938387,
        "elu(1), f_I = 1: f(2)": 0.209080454231912685,
        "leaky_relu(0.1), f_I = 1: f(2)": 0.8187307530779818,
    },
    tolerance=1e-11,
    reason="the stepper's tolerance of 1e-13 per step; no unit crosses a kink",
)
def scalar_flows() -> dict[str, float]:
    """asinh(e^3 sinh 0.1), 6 - W(e^6), ln(1 + (e - 1) e^-2), e^-0.2."""

    def final(activation: Activation, kernel: float, start: float, horizon: float) -> float:
        network = WidthDepth(gauss_legendre(UNIT, 1), activation)
        control = network.control(TimeMesh(horizon, 1), kernel=kernel)
        return float(
            integrate(network, control, np.full((1, 1), start), TIGHT).trajectory.final[0, 0]
        )

    return {
        "tanh, b = -1, f_I = 0.1: f(3)": final(tanh, -1.0, 0.1, 3.0),
        "sigmoid, f_I = 0: f(5)": final(sigmoid, 1.0, 0.0, 5.0),
        "elu(1), f_I = 1: f(2)": final(elu(1.0), 1.0, 1.0, 2.0),
        "leaky_relu(0.1), f_I = 1: f(2)": final(leaky_relu(0.1), 1.0, 1.0, 2.0),
    }


def _extrapolated(value: Callable[[int], float], sizes: tuple[int, int, int]) -> float:
    """Richardson's limit of values with errors in h^2 and h^4, sizes doubling."""
    a, b, c = (value(n) for n in sizes)
    first = [float(richardson(x, y, order=2)[0]) for x, y in ((a, b), (b, c))]
    return float(richardson(first[0], first[1], order=4)[0])


@claim(
    "LM-16",
    statement="Volterra: b = 1_(z<y): f = J_0(2 sqrt(ty)); b = -1_(z<y): I_0, for ReLU too; T = 4.",
    paper=PAPER,
    references={
        "J_0(4)": -0.397149809863847372,
        "I_0(4)": 11.3019219521363305,
        "I_0(4), relu": 11.3019219521363305,
        "I_0(4), leaky_relu": 11.3019219521363305,
        "int I_0": 4.87973257685222495,
    },
    tolerance=1e-10,
    reason="midpoint rule with the average on the diagonal, h^2 and h^4 removed from 100, 200 "
    "and 400 nodes",
)
def volterra() -> dict[str, float]:
    """The state at y = 1, a node of weight zero, and its integral."""

    def final(n: int, activation: Activation, sign: float) -> tuple[float, float]:
        grid = midpoint(UNIT, n).observed_at(np.array([[1.0]]))
        network = WidthDepth(grid, activation)
        control = network.control(TimeMesh(4.0, 1), kernel=lambda y, z: sign * exact.below(y, z))
        state = integrate(
            network, control, np.ones((n + 1, 1)), DormandPrince(rtol=1e-12, atol=1e-13)
        ).trajectory.final
        return float(state[-1, 0]), float(grid.integrate(state)[0])

    sizes = (100, 200, 400)
    return {
        "J_0(4)": _extrapolated(lambda n: final(n, identity, 1.0)[0], sizes),
        "I_0(4)": _extrapolated(lambda n: final(n, identity, -1.0)[0], sizes),
        "I_0(4), relu": _extrapolated(lambda n: final(n, relu, -1.0)[0], sizes),
        "I_0(4), leaky_relu": _extrapolated(lambda n: final(n, leaky_relu(0.1), -1.0)[0], sizes),
        "int I_0": _extrapolated(lambda n: final(n, identity, -1.0)[1], sizes),
    }


@claim(
    "LM-17",
    statement="A Volterra kernel on the square: f = sum t^k (y_1 y_2)^k / k!^3 at t = 4.",
    paper=PAPER,
    references={"f((1/2, 1/2), 4)": 2.12970254898330642, "int f(4)": 2.24149816835674966},
    tolerance=2e-8,
    reason="midpoint rule, 1/2 on the diagonal of each factor, h^2 and h^4 removed from 6, 12 "
    "and 24 nodes per axis",
)
def volterra_square() -> dict[str, float]:
    """The state at the centre, a node of weight zero, and its integral."""

    def final(n: int) -> tuple[float, float]:
        grid = midpoint(UNIT * UNIT, n).observed_at(np.array([[0.5, 0.5]]))
        stepper = DormandPrince(rtol=1e-11, atol=1e-12)
        state = integrate(*exact.volterra_square.setup(grid, 1), stepper).trajectory.final
        return float(state[-1, 0]), float(grid.integrate(state)[0])

    sizes = (6, 12, 24)
    return {
        "f((1/2, 1/2), 4)": _extrapolated(lambda n: final(n)[0], sizes),
        "int f(4)": _extrapolated(lambda n: final(n)[1], sizes),
    }


@claim(
    "LM-18",
    statement="A smooth kernel on the square: f = 1 - e^(y_1 + y_2) (1 - 1/e)^2 (1 - e^-t).",
    paper=PAPER,
    references={"f((1/2, 1/2), 1)": 0.3134151312632406},
    tolerance=1e-12,
    reason="7 Gauss nodes per axis are at rounding; the rest is the stepper's tolerance of 1e-13 "
    "per step",
)
def smooth_square() -> dict[str, float]:
    """The state at the centre, the middle node of an odd rule."""
    final = integrate(
        *exact.smooth_square.setup(gauss_legendre(UNIT * UNIT, 7), 1), TIGHT
    ).trajectory.final
    return {"f((1/2, 1/2), 1)": float(final[24, 0])}
