"""Section B of the ledger: flows in closed form."""

import numpy as np

from continuum import (
    Activation,
    TimeMesh,
    WidthDepth,
    arctan,
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
from continuum.arrays import Array
from solvers import Euler, ImplicitMidpoint, integrate

from ...bench.registry import claim
from .common import FINEST, HALF_A_UNIT, PAPER, TIGHT, UNIT, extrapolated, printed

RANK_ONE, RANK_ONE_WITHIN = printed(
    {"f(1/2, 2)": "0.940064439113745182", "|f(2)|": "0.8931788275099649"}, rounding=2e-15
)


@claim(
    "LM-10",
    statement="A kernel of rank one: the closed form of f_t = 1 - e^y int e^-z f, at T = 2 on 8 "
    "Gauss nodes.",
    paper=PAPER,
    references={**RANK_ONE, "largest error": 0.0},
    tolerance={**RANK_ONE_WITHIN, "largest error": 1e-14},
    reason="the ledger's 1e-14 for the error; 8 Gauss nodes err by 4e-22, and steps of order 8 by "
    "less than their rounding, 2e-15 of states near 1",
)
def rank_one() -> dict[str, float]:
    """The state at y = 1/2, its norm, and the largest error at the nodes."""
    case, grid = exact.rank_one, gauss_legendre(UNIT, 8).observed_at(np.array([[0.5]]))
    final = integrate(*case.setup(grid, 1), FINEST).trajectory.final
    return {
        "f(1/2, 2)": float(final[-1, 0]),
        "|f(2)|": float(np.sqrt(grid.integrate(final**2)[0])),
        "largest error": float(np.abs(final - case.final(grid)).max()),
    }


GROWTH, GROWTH_WITHIN = printed(
    {
        "f(1/4, 10)": "9.883855615856605",
        "|f(10)|": "7.113453050106872",
        "slope |tanh phi|": "0.7007225863069833",
    },
    rounding=1.4e-14,
)


@claim(
    "LM-11",
    statement="Linear growth with a bounded activation: f = f_I + t tanh(phi), T = 10, on 64 "
    "Gauss or midpoint nodes.",
    paper=PAPER,
    references={**GROWTH, "largest error, Gauss": 0.0, "largest error, midpoint": 0.0},
    tolerance={
        **GROWTH_WITHIN,
        "slope |tanh phi|": 5e-15,
        "largest error, Gauss": 1.4e-14,
        "largest error, midpoint": 1.4e-14,
    },
    reason="the ledger's 1.4e-14. The flow is linear in t, so steps of any length are exact; what "
    "is left is rounding, at most 8.9e-16 in each sum of size up to 10, so it grows with their "
    "number: 8e-14 in 100 steps of RK4, under 1e-14 in the few that adaptive steps are",
)
def linear_growth() -> dict[str, float]:
    """State, norm and growth rate at T = 10."""
    case = exact.linear_growth
    gauss = gauss_legendre(UNIT, 64).observed_at(np.array([[0.25]]))
    final = integrate(*case.setup(gauss, 1), TIGHT).trajectory.final
    growth = (final - gauss.sample(case.initial)) / case.horizon
    flat = midpoint(UNIT, 64)
    on_midpoints = integrate(*case.setup(flat, 1), TIGHT).trajectory.final
    return {
        "f(1/4, 10)": float(final[-1, 0]),
        "|f(10)|": float(np.sqrt(gauss.integrate(final**2)[0])),
        "slope |tanh phi|": float(np.sqrt(gauss.integrate(growth**2)[0])),
        "largest error, Gauss": float(np.abs(final - case.final(gauss)).max()),
        "largest error, midpoint": float(np.abs(on_midpoints - case.final(flat)).max()),
    }


ASYMMETRIC, ASYMMETRIC_WITHIN = printed(
    {
        "Gauss 8": "2.60e-9",
        "midpoint 16": "1.0303e-2",
        "midpoint 64": "6.446e-4",
        "midpoint 256": "4.03e-5",
    }
)
DATA, DATA_WITHIN = printed(
    {"kappa": "1.6004573992287588", "k": "-2.502862017891683"}, rounding=1e-14
)


@claim(
    "LM-12",
    statement="Linear growth of an asymmetric equation: largest error at T = 10 of f = f_I + t "
    "tanh(phi), by rule.",
    paper=PAPER,
    references={**ASYMMETRIC, "Gauss 16": 0.0, **DATA},
    tolerance={**ASYMMETRIC_WITHIN, "Gauss 16": 5.5e-15, **DATA_WITHIN},
    reason=f"{HALF_A_UNIT}, the ledger's 5e-15 for 16 Gauss nodes; orthogonality holds up to "
    "quadrature, and steps are exact",
)
def asymmetric_growth() -> dict[str, float]:
    """max over nodes of |f(10) - f_I - 10 tanh(sqrt(3) y)|, and the numbers that define the case:
    int (1 - kappa y) tanh(sqrt(3) y) = 0, and f_I = k with k int (1 - kappa y) = -1/2.
    """
    grids = {"Gauss 8": gauss_legendre(UNIT, 8), "Gauss 16": gauss_legendre(UNIT, 16)}
    grids |= {f"midpoint {n}": midpoint(UNIT, n) for n in (16, 64, 256)}
    computed = {}
    for name, grid in grids.items():
        case = exact.asymmetric_growth
        final = integrate(*case.setup(grid, 1), TIGHT).trajectory.final
        computed[name] = float(np.abs(final - case.final(grid)).max())
    grid = gauss_legendre(UNIT, 32)
    y, growth = grid.coordinates, np.tanh(np.sqrt(3.0) * grid.coordinates)
    kappa = float(grid.integrate(growth) / grid.integrate(y * growth))
    return {**computed, "kappa": kappa, "k": -0.5 / (1.0 - 0.5 * kappa)}


CIRCLE, CIRCLE_WITHIN = printed(
    {
        "f(0)": "0.207343685357224869",
        "f(pi/2)": "-0.0652903948672724391",
        "f(pi)": "-0.0266192155983136507",
    },
    rounding=2e-15,
)


@claim(
    "LM-13",
    statement="The Poisson kernel on the circle, rho = 1/2: f = sum I_|n|(1) exp(-rho^|n| t + i "
    "n y), t = 5.",
    paper=PAPER,
    references={**CIRCLE, "largest error at the nodes": 0.0},
    tolerance={**CIRCLE_WITHIN, "largest error at the nodes": 1e-14},
    reason="the ledger's 1e-14 at all 128 nodes; rounding of 2e-15 at the three printed ones",
)
def poisson_kernel() -> dict[str, float]:
    """The state at three of the nodes, and its error at all."""
    case = exact.poisson_circle(rho=0.5)
    grid = periodic(case.domain, 128)
    final = integrate(*case.setup(grid, 1), FINEST).trajectory.final[:, 0]
    return {
        "f(0)": float(final[0]),
        "f(pi/2)": float(final[32]),
        "f(pi)": float(final[64]),
        "largest error at the nodes": float(np.abs(final - case.final(grid)[:, 0]).max()),
    }


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
        "largest error, adaptive": 1e-14,
        "norm, implicit midpoint": 1e-14,
        "norm, Euler, relative to the start": 5e-10,
    },
    reason="a quadratic invariant and cos(y + t) are kept to rounding; half a unit in the last "
    "digit that is printed of (1 + tau^2)^50 with tau = 0.1",
)
def turning_kernel() -> dict[str, float]:
    """sqrt(pi) is the norm of cos y."""
    case = exact.turning_circle
    grid = periodic(case.domain, 16)
    network, control, initial = case.setup(grid, 100)
    adaptive, kept, grown = (
        integrate(network, control, initial, stepper).trajectory.final
        for stepper in (FINEST, ImplicitMidpoint(), Euler())
    )
    return {
        "largest error, adaptive": float(np.abs(adaptive - case.final(grid)).max()),
        "norm, implicit midpoint": float(np.sqrt(grid.integrate(kept**2)[0])),
        "norm, Euler, relative to the start": float(np.sqrt(grid.integrate(grown**2)[0] / np.pi)),
    }


SCALAR, SCALAR_WITHIN = printed(
    {
        "tanh, b = -1, f_I = 0.1: f(3)": "1.44894600175735968",
        "sigmoid, f_I = 0: f(5)": "1.5033358269938387",
        "elu(1), f_I = 1: f(2)": "0.209080454231912685",
        "leaky_relu(0.1), f_I = 1: f(2)": "0.8187307530779818",
        "arctan, f_I = 1: f(2)": "0.156562811078548883",
    },
    rounding=2e-15,
)
SCALAR_WITHIN["tanh, b = -1, f_I = 0.1: f(3)"] = 1e-14


@claim(
    "LM-15",
    statement="Scalar nonlinear flows in closed form: tanh with b = -1, sigmoid, ELU and leaky "
    "ReLU with b = 1; arctan with b = 1, whose time of arrival is an integral.",
    paper=PAPER,
    references=SCALAR,
    tolerance=SCALAR_WITHIN,
    reason="rounding of numbers near 1, which the growing flow multiplies by up to e^3; no unit "
    "crosses a kink",
)
def scalar_flows() -> dict[str, float]:
    """asinh(e^3 sinh 0.1), 6 - W(e^6), ln(1 + (e - 1) e^-2), e^-0.2, and the f of
    2 = int_f^1 du / arctan u.
    """

    def final(activation: Activation, kernel: float, start: float, horizon: float) -> float:
        network = WidthDepth(gauss_legendre(UNIT, 1), activation)
        control = network.control(TimeMesh(horizon, 1), kernel=kernel)
        return float(
            integrate(network, control, np.full((1, 1), start), FINEST).trajectory.final[0, 0]
        )

    return {
        "tanh, b = -1, f_I = 0.1: f(3)": final(tanh, -1.0, 0.1, 3.0),
        "sigmoid, f_I = 0: f(5)": final(sigmoid, 1.0, 0.0, 5.0),
        "elu(1), f_I = 1: f(2)": final(elu(1.0), 1.0, 1.0, 2.0),
        "leaky_relu(0.1), f_I = 1: f(2)": final(leaky_relu(0.1), 1.0, 1.0, 2.0),
        "arctan, f_I = 1: f(2)": final(arctan, 1.0, 1.0, 2.0),
    }


BESSEL_J, BESSEL_J_WITHIN = printed(
    {"J_0(4)": "-0.397149809863847372", "int J_0": "-0.0330216640117745681"}, rounding=2e-15
)
BESSEL_I, BESSEL_I_WITHIN = printed(
    {
        "I_0(4)": "11.3019219521363305",
        "I_0(4), relu": "11.3019219521363305",
        "I_0(4), leaky_relu": "11.3019219521363305",
        "int I_0": "4.87973257685222495",
    },
    rounding=3e-14,
)


@claim(
    "LM-16",
    statement="Volterra: b = 1_(z<y): f = J_0(2 sqrt(ty)); b = -1_(z<y): I_0, for ReLU too; T = 4.",
    paper=PAPER,
    references=BESSEL_J | BESSEL_I,
    tolerance=BESSEL_J_WITHIN | BESSEL_I_WITHIN,
    reason="midpoint rule with the average on the diagonal, h^2, h^4 and h^6 removed from 25, 50, "
    "100 and 200 nodes; rounding of numbers up to 11",
)
def volterra() -> dict[str, float]:
    """The state at y = 1, a node of weight zero, and its integral."""
    sizes = (25, 50, 100, 200)

    def limit(activation: Activation, sign: float) -> Array:
        values = []
        for n in sizes:
            grid = midpoint(UNIT, n).observed_at(np.array([[1.0]]))
            network = WidthDepth(grid, activation)
            control = network.control(
                TimeMesh(4.0, 1), kernel=lambda y, z: sign * exact.below(y, z)
            )
            state = integrate(network, control, np.ones((n + 1, 1)), FINEST).trajectory.final
            values.append(np.array([state[-1, 0], grid.integrate(state)[0]]))
        return extrapolated(sizes, values)

    decay, growth = limit(identity, 1.0), limit(identity, -1.0)
    return {
        "J_0(4)": float(decay[0]),
        "int J_0": float(decay[1]),
        "I_0(4)": float(growth[0]),
        "I_0(4), relu": float(limit(relu, -1.0)[0]),
        "I_0(4), leaky_relu": float(limit(leaky_relu(0.1), -1.0)[0]),
        "int I_0": float(growth[1]),
    }


SQUARE, SQUARE_WITHIN = printed(
    {"f((1/2, 1/2), 4)": "2.12970254898330642", "int f(4)": "2.24149816835674966"},
    rounding=1e-14,
)


@claim(
    "LM-17",
    statement="A Volterra kernel on the square: f = sum t^k (y_1 y_2)^k / k!^3 at t = 4.",
    paper=PAPER,
    references=SQUARE,
    tolerance=SQUARE_WITHIN,
    reason="midpoint rule, 1/2 on the diagonal of each factor, h^2 to h^10 removed from six rules "
    "of 4 to 24 nodes per axis; rounding of numbers near 2",
)
def volterra_square() -> dict[str, float]:
    """The state at the centre, a node of weight zero, and its integral."""
    sizes, values = (4, 6, 8, 12, 16, 24), []
    for n in sizes:
        grid = midpoint(UNIT * UNIT, n).observed_at(np.array([[0.5, 0.5]]))
        state = integrate(*exact.volterra_square.setup(grid, 1), FINEST).trajectory.final
        values.append(np.array([state[-1, 0], grid.integrate(state)[0]]))
    centre, total = extrapolated(sizes, values)
    return {"f((1/2, 1/2), 4)": float(centre), "int f(4)": float(total)}


@claim(
    "LM-18",
    statement="A smooth kernel on the square: f = 1 - e^(y_1 + y_2) (1 - 1/e)^2 (1 - e^-t).",
    paper=PAPER,
    references={"f((1/2, 1/2), 1)": 0.3134151312632406},
    tolerance=2e-15,
    reason="7 Gauss nodes per axis err by 2e-19; the rest is rounding",
)
def smooth_square() -> dict[str, float]:
    """The state at the centre, the middle node of an odd rule."""
    final = integrate(
        *exact.smooth_square.setup(gauss_legendre(UNIT * UNIT, 7), 1), FINEST
    ).trajectory.final
    return {"f((1/2, 1/2), 1)": float(final[24, 0])}
