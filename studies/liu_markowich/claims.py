"""The ledger of claims on Liu and Markowich, as computations through the public functions of the package."""

import numpy as np
import scipy.integrate

from continuum import (
    Control,
    Grid,
    Interval,
    LearningProblem,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
    identity,
    midpoint,
    tanh,
    trapezoid,
)
from solvers import RK4, DormandPrince, Euler, Heun, ImplicitMidpoint, discretize, integrate

from ..registry import claim

PAPER = "liu_markowich"
UNIT = Interval(0, 1)
TIGHT = DormandPrince(rtol=1e-13, atol=1e-14)
SEVEN_DIGITS = "the ledger prints seven digits; errors near 1e-9 and below carry rounding of order 1e-15 beside them"


def _rounded(references: dict[str, float], rounding: float = 1e-15) -> dict[str, float]:
    """Relative tolerances for errors printed to seven digits: half a unit there, and rounding in the states."""
    return {key: 5e-7 + rounding / abs(value) for key, value in references.items()}


DEPTH = {
    "Euler 10": -1.332143e-2,
    "Euler 20": -6.562326e-3,
    "Euler 40": -3.257214e-3,
    "Euler 80": -1.622698e-3,
    "Heun 10": 4.607935e-4,
    "Heun 20": 1.114206e-4,
    "Heun 40": 2.739671e-5,
    "Heun 80": 6.792725e-6,
    "ImplicitMidpoint 10": -2.157332e-4,
    "ImplicitMidpoint 20": -5.390434e-5,
    "ImplicitMidpoint 40": -1.347427e-5,
    "ImplicitMidpoint 80": -3.368455e-6,
    "RK4 10": 1.765000e-7,
    "RK4 20": 1.075353e-8,
    "RK4 40": 6.635353e-10,
    "RK4 80": 4.120509e-11,
}


@claim(
    "LM-01",
    statement="Depth limit (Theorem 2.1): f' = -tanh f, f(0) = 1: error at T = 1 of n steps of each method.",
    paper=PAPER,
    references=DEPTH,
    relative_tolerance=_rounded(DEPTH),
    reason=SEVEN_DIGITS,
)
def depth_limit() -> dict[str, float]:
    """f_n(1) - asinh(e^-1 sinh 1)."""
    case, grid = exact.scalar_decay, gauss_legendre(UNIT, 1)
    return {
        f"{type(stepper).__name__} {n}": float(
            (integrate(*case.setup(grid, n), stepper).trajectory.final - case.final(grid))[0, 0]
        )
        for stepper in (Euler(), Heun(), ImplicitMidpoint(), RK4())
        for n in (10, 20, 40, 80)
    }


MOVING = {
    "Euler 10": 3.842351e-2,
    "Euler 20": 1.886794e-2,
    "Euler 40": 9.352545e-3,
    "ImplicitMidpoint 10": 1.949064e-3,
    "ImplicitMidpoint 20": 4.864262e-4,
    "ImplicitMidpoint 40": 1.215541e-4,
    "RK4 10": -5.672179e-6,
    "RK4 20": -3.413552e-7,
    "RK4 40": -2.092308e-8,
    "RK4, left values per layer 10": 2.840964e-2,
    "RK4, left values per layer 20": 1.439579e-2,
    "RK4, left values per layer 40": 7.238123e-3,
    "RK4, middle values per layer 10": 1.675766e-3,
    "RK4, middle values per layer 20": 4.193459e-4,
    "RK4, middle values per layer 40": 1.048604e-4,
}


@claim(
    "LM-02",
    statement="Coefficients that move with time: error at T = 2 of n steps, and what freezing a on layers costs.",
    paper=PAPER,
    references=MOVING,
    relative_tolerance=_rounded(MOVING),
    reason=SEVEN_DIGITS,
)
def moving_coefficients() -> dict[str, float]:
    """f_n(y, 2) - y - sin(2) / 2, the same for all y."""
    case, grid = exact.moving_bias, gauss_legendre(UNIT, 3)
    computed = {}
    for n in (10, 20, 40):
        network, control, initial = case.setup(grid, n)
        middle = network.controls(control.mesh).sample(bias=case.bias, kernel=case.kernel)
        starts = np.stack([grid.evaluate(case.bias, float(t)) for t in control.mesh.nodes[:-1]])
        left = Control(middle.space, {"bias": starts, "kernel": middle["kernel"]})
        for name, path, stepper in (
            ("Euler", control, Euler()),
            ("ImplicitMidpoint", control, ImplicitMidpoint()),
            ("RK4", control, RK4()),
            ("RK4, left values per layer", left, RK4()),
            ("RK4, middle values per layer", middle, RK4()),
        ):
            error = integrate(network, path, initial, stepper).trajectory.final - case.final(grid)
            computed[f"{name} {n}"] = float(error[0, 0])
    return computed


@claim(
    "LM-10",
    statement="A kernel of rank one: the closed form of f_t = 1 - e^y int e^-z f, at T = 2 on 8 Gauss nodes.",
    paper=PAPER,
    references={"f(1/2, 2)": 0.940064439113745182, "|f(2)|": 0.8931788275099649, "largest error": 0.0},
    tolerance=1e-12,
    reason="8 Gauss nodes are at rounding for these data; what is left is the stepper's tolerance of 1e-13 per step",
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
    statement="Linear growth with a bounded activation: f = f_I + t tanh(phi), T = 10, on 64 Gauss or midpoint nodes.",
    paper=PAPER,
    references={
        "f(1/4, 10)": 9.883855615856605,
        "|f(10)|": 7.113453050106872,
        "slope |tanh phi|": 0.7007225863069833,
        "largest error, Gauss": 0.0,
        "largest error, midpoint": 0.0,
    },
    tolerance=1e-12,
    reason="the flow is linear in t, so every step is exact; what is left is rounding over 100 steps",
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


WIDTH = {
    "midpoint 8": 6.633854e-4,
    "midpoint 16": 1.712864e-4,
    "midpoint 32": 4.350710e-5,
    "trapezoid 8": 1.413168e-3,
    "trapezoid 16": 3.534991e-4,
    "trapezoid 32": 8.838771e-5,
    "Simpson 8": 4.405931e-6,
    "Simpson 16": 2.760111e-7,
    "Simpson 32": 1.726072e-8,
    "Gauss 2": 5.794532e-4,
    "Gauss 3": 2.295956e-6,
    "Gauss 4": 3.813010e-9,
    "Gauss 5": 3.52e-12,
}


def _simpson(cells: int) -> Grid:
    weights = np.full(cells + 1, 2.0)
    weights[1::2] = 4.0
    weights[[0, -1]] = 1.0
    return Grid(UNIT, np.linspace(0, 1, cells + 1)[:, None], weights / (3 * cells))


@claim(
    "LM-19",
    statement="Width limit (Theorem 2.2): largest nodal error at T = 1 of LM-10 by rule and cells (Gauss: nodes).",
    paper=PAPER,
    references=WIDTH,
    relative_tolerance=_rounded(WIDTH, rounding=1e-14),
    reason="the ledger prints seven digits; rounding over 1000 steps leaves about 1e-14 in the states beside them",
)
def width_limit() -> dict[str, float]:
    """max_i |f_i(1) - f(y_i, 1)| with 1000 steps of RK4, whose own error is 1e-14."""
    case = exact.rank_one
    grids = {f"midpoint {n}": midpoint(UNIT, n) for n in (8, 16, 32)}
    grids |= {f"trapezoid {n}": trapezoid(UNIT, n + 1) for n in (8, 16, 32)}
    grids |= {f"Simpson {n}": _simpson(n) for n in (8, 16, 32)}
    grids |= {f"Gauss {n}": gauss_legendre(UNIT, n) for n in (2, 3, 4, 5)}
    computed = {}
    for name, grid in grids.items():
        network = WidthDepth(grid, identity)
        control = network.control(TimeMesh(1.0, 1000), bias=case.bias, kernel=case.kernel)
        final = integrate(network, control, grid.sample(case.initial), RK4()).trajectory.final
        computed[name] = float(np.abs(final[:, 0] - case.solution(grid.coordinates, 1.0)).max())
    return computed


@claim(
    "LM-43",
    statement="Gradient of J = 1/2 |f(T)|^2 along LM-10, T = 1, from the adjoint (section 4.1 with E33: sigma').",
    paper=PAPER,
    references={
        "J": 0.335526647909711,
        "D_a J(1/2, 0)": 0.2884139203444286,
        "D_a J(1/2, 1/2)": 0.4971168798997621,
        "D_b J(1/2, 1/4, 1/2)": -0.2634880151068972,
        "along a: sin(3y + 2t)": 0.041615428326106,
        "along b: cos(y + 2z - t)": -0.1119511003757842,
    },
    tolerance=1e-10,
    reason="RK4, its adjoint and Simpson's rule in time with 200 steps are each accurate to 1e-11",
)
def adjoint_gradient() -> dict[str, float]:
    """State and costate at the ends of layers, and the network's adjoint there."""
    case, layers = exact.rank_one, 200
    grid = gauss_legendre(UNIT, 10).observed_at(np.array([[0.5], [0.25]]))
    half, quarter = len(grid) - 2, len(grid) - 1
    network = WidthDepth(grid, identity)
    initial = grid.sample(case.initial)
    problem = LearningProblem(network, initial, np.zeros_like(initial), TimeMesh(1.0, layers))
    control = problem.space.sample(bias=case.bias, kernel=case.kernel)
    objective = discretize(problem, RK4())
    costates = objective.costates(control)
    states = integrate(network, control, initial, RK4(), save="layers").trajectory.states
    gradients = [
        network.vjp(f, control.at(float(t)), float(t), p)[1]
        for t, f, p in zip(costates.times, states, costates.states, strict=True)
    ]
    w = grid.weights
    along_a = [
        w @ (g["bias"] * grid.evaluate(lambda y, t=t: np.sin(3 * y + 2 * t)))
        for t, g in zip(costates.times, gradients, strict=True)
    ]
    along_b = [
        w @ (g["kernel"] * grid.evaluate_kernel(lambda y, z, t=t: np.cos(y + 2 * z - t))) @ w
        for t, g in zip(costates.times, gradients, strict=True)
    ]
    return {
        "J": objective.value(control),
        "D_a J(1/2, 0)": float(gradients[0]["bias"][half]),
        "D_a J(1/2, 1/2)": float(gradients[layers // 2]["bias"][half]),
        "D_b J(1/2, 1/4, 1/2)": float(gradients[layers // 2]["kernel"][half, quarter]),
        "along a: sin(3y + 2t)": float(scipy.integrate.simpson(along_a, x=costates.times)),
        "along b: cos(y + 2z - t)": float(scipy.integrate.simpson(along_b, x=costates.times)),
    }


DISCRETE = {
    "L = 10, first layer": 0.0923254702413287,
    "L = 20, first layer": 0.0921056851101788,
    "L = 40, first layer": 0.0919949731264559,
    "L = 10, layer L/2": 0.197470518870477,
    "L = 20, layer L/2": 0.193802969538604,
    "L = 40, layer L/2": 0.192052781833694,
}


@claim(
    "LM-45",
    statement="Discretise then optimise: gradient in a of the ResNet's own J, by adjoint and differences.",
    paper=PAPER,
    references={**DISCRETE, "largest difference from finite differences": 0.0},
    tolerance={**dict.fromkeys(DISCRETE, 1e-14), "largest difference from finite differences": 1e-9},
    reason="the adjoint is exact up to rounding; central differences with h = 1e-5 are off by h^2 J''' and 1e-16 / h",
)
def discrete_gradient() -> dict[str, float]:
    """f' = -tanh f with J = f(1)^2 / 2 by L Euler steps."""
    network = WidthDepth(gauss_legendre(UNIT, 1), tanh)
    computed, worst = {}, 0.0
    for layers in (10, 20, 40):
        problem = LearningProblem(network, np.ones((1, 1)), np.zeros((1, 1)), TimeMesh(1.0, layers))
        objective = discretize(problem)
        control = problem.space.sample(kernel=1.0)
        gradient = objective.gradient(control)["bias"][:, 0]
        computed[f"L = {layers}, first layer"] = float(gradient[0])
        computed[f"L = {layers}, layer L/2"] = float(gradient[layers // 2])
        h = 1e-5
        for k in range(layers):
            nudge = problem.space.sample(bias=h * (np.arange(layers) == k)[:, None])
            difference = (objective.value(control + nudge) - objective.value(control - nudge)) / (2 * h)
            worst = max(worst, abs(difference * layers - float(gradient[k])))
    return {**computed, "largest difference from finite differences": worst}
