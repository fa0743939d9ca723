"""Section E of the ledger: gradients by adjoints."""

import numpy as np
import scipy.integrate

from continuum import (
    Control,
    Integral,
    LearningProblem,
    Logistic,
    SquaredError,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
    identity,
    sigmoid,
    tanh,
)
from solvers import RK4, discretize, integrate

from ...bench.registry import claim
from .common import PAPER, UNIT


def along(
    problem: LearningProblem, control: Control
) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
    """The ends of the layers, and the gradient of J in every block there as a function of position
    (RK4).
    """
    costates = discretize(problem, RK4()).costates(control)
    states = integrate(
        problem.network, control, problem.initial, RK4(), save="layers"
    ).trajectory.states
    times = [float(t) for t in costates.times]
    network = problem.network
    gradients = [
        network.vjp(f, control.at(t), t, p)[1]
        for t, f, p in zip(times, states, costates.states, strict=True)
    ]
    return costates.times, gradients


@claim(
    "LM-43",
    statement="Gradient of J = 1/2 |f(T)|^2 along LM-10, T = 1, from the adjoint (section 4.1 "
    "with E33: sigma').",
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
    times, gradients = along(problem, control)
    w = grid.weights
    along_a = [
        w @ (g["bias"] * grid.evaluate(lambda y, t=t: np.sin(3 * y + 2 * t)))
        for t, g in zip(times, gradients, strict=True)
    ]
    along_b = [
        w @ (g["kernel"] * grid.evaluate_kernel(lambda y, z, t=t: np.cos(y + 2 * z - t))) @ w
        for t, g in zip(times, gradients, strict=True)
    ]
    return {
        "J": discretize(problem, RK4()).value(control),
        "D_a J(1/2, 0)": float(gradients[0]["bias"][half]),
        "D_a J(1/2, 1/2)": float(gradients[layers // 2]["bias"][half]),
        "D_b J(1/2, 1/4, 1/2)": float(gradients[layers // 2]["kernel"][half, quarter]),
        "along a: sin(3y + 2t)": float(scipy.integrate.simpson(along_a, x=times)),
        "along b: cos(y + 2z - t)": float(scipy.integrate.simpson(along_b, x=times)),
    }


@claim(
    "LM-44",
    statement="Costate and gradients of J = f(T)^2 / 2 along LM-01 in closed form (E33 prints "
    "sigma for sigma').",
    paper=PAPER,
    references={
        "D_a J(0)": 0.0918836834958935,
        "D_a J(1/2)": 0.1903541845752849,
        "D_a J(1)": 0.3537629718798044,
        "D_b J(1/2)": -0.1262272071705538,
        "along a: cos t": 0.1588255497892984,
        "along b: e^t": -0.2212726305870331,
    },
    tolerance=1e-10,
    reason="RK4, its adjoint and Simpson's rule in time with 200 steps are each accurate to 1e-11",
)
def scalar_gradient() -> dict[str, float]:
    """f' = -tanh f: one node carries it."""
    network, layers = WidthDepth(gauss_legendre(UNIT, 1), tanh), 200
    problem = LearningProblem(network, np.ones((1, 1)), np.zeros((1, 1)), TimeMesh(1.0, layers))
    times, gradients = along(problem, problem.space.sample(kernel=1.0))
    a = np.array([g["bias"][0] for g in gradients])
    b = np.array([g["kernel"][0, 0] for g in gradients])
    return {
        "D_a J(0)": float(a[0]),
        "D_a J(1/2)": float(a[layers // 2]),
        "D_a J(1)": float(a[-1]),
        "D_b J(1/2)": float(b[layers // 2]),
        "along a: cos t": float(scipy.integrate.simpson(a * np.cos(times), x=times)),
        "along b: e^t": float(scipy.integrate.simpson(b * np.exp(times), x=times)),
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
    statement="Discretise then optimise: gradient in a of the ResNet's own J, by adjoint and "
    "differences.",
    paper=PAPER,
    references={**DISCRETE, "largest difference from finite differences": 0.0},
    tolerance={
        **dict.fromkeys(DISCRETE, 1e-14),
        "largest difference from finite differences": 1e-9,
    },
    reason="the adjoint is exact up to rounding; central differences with h = 1e-5 are off by "
    "h^2 J''' and 1e-16 / h",
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
            difference = (objective.value(control + nudge) - objective.value(control - nudge)) / (
                2 * h
            )
            worst = max(worst, abs(difference * layers - float(gradient[k])))
    return {**computed, "largest difference from finite differences": worst}


@claim(
    "LM-46",
    statement="Gradients without a kernel: D_a J = sech^2 y (2 tanh y - 1/2), D_b J = -s tanh z "
    "D_a J.",
    paper=PAPER,
    references={"D_a J(0.3)": 0.07561339728813975, "D_b J(0.3, 0.8, 1)": -0.05021007612419605},
    tolerance=1e-13,
    reason="the state is linear and the costate constant in time: RK4 is exact, rounding is left",
)
def gradient_without_kernel() -> dict[str, float]:
    """f = t tanh y, target 1/2, T = 2."""
    grid = gauss_legendre(UNIT, 8).observed_at(np.array([[0.3], [0.8]]))
    here, there = len(grid) - 2, len(grid) - 1
    network = WidthDepth(grid, tanh)
    initial = np.zeros((len(grid), 1))
    problem = LearningProblem(network, initial, initial + 0.5, TimeMesh(2.0, 4))
    _, gradients = along(problem, problem.space.sample(bias=lambda y: y))
    return {
        "D_a J(0.3)": float(gradients[1]["bias"][here]),
        "D_b J(0.3, 0.8, 1)": float(gradients[2]["kernel"][here, there]),
    }


@claim(
    "LM-47",
    statement="Classification: the orientation of W(y, z) in the output and in the costate "
    "(Remark 4.3 with E25).",
    paper=PAPER,
    references={
        "J": 0.0520186121373831,
        "p(1/4, T)": 0.02653909818155687,
        "D_a J(1/4)": 0.0249471463645938,
        "along a: 1": 0.0251685543635665,
        "D_W J(1/2, 1/4)": 0.0207771175440278,
        "D_mu J(1/2)": 0.08483272503660849,
        "cross-entropy: J": 0.6659116090796103,
        "cross-entropy: p(1/4, T)": 0.1088230106467174,
    },
    tolerance=1e-13,
    reason="Gauss-Legendre with 20 points is exact to rounding for these analytic data, and "
    "Euler for a linear state",
)
def classification() -> dict[str, float]:
    """f = t tanh y, T = 1, W = y e^z, mu = y - 1/2, C = y^2, logistic link."""
    grid = gauss_legendre(UNIT, 20).observed_at(np.array([[0.25], [0.5]]))
    quarter, half = len(grid) - 2, len(grid) - 1
    network = WidthDepth(grid, tanh)
    target = grid.sample(lambda y: y * y)
    readout = {"readout.W": lambda y, z: y * np.exp(z), "readout.mu": lambda y: y - 0.5}
    found = {}
    for name, link, loss in (
        ("", sigmoid, SquaredError()),
        ("cross-entropy: ", identity, Logistic()),
    ):
        problem = LearningProblem(
            network,
            np.zeros_like(target),
            target,
            TimeMesh(1.0, 2),
            readout=Integral(link=link),
            terminal=loss,
        )
        control = problem.space.sample(bias=lambda y: y, **readout)
        objective = discretize(problem)
        gradient = objective.gradient(control)
        found[f"{name}J"] = objective.value(control)
        found[f"{name}p(1/4, T)"] = float(objective.costates(control).final[quarter, 0])
        if not name:
            found["D_a J(1/4)"] = float(gradient["bias"][0, quarter])
            found["along a: 1"] = float(grid.weights @ gradient["bias"].mean(axis=0))
            found["D_W J(1/2, 1/4)"] = float(gradient["readout.W"][half, quarter])
            found["D_mu J(1/2)"] = float(gradient["readout.mu"][half])
    return found
