"""Section E of the ledger: gradients by adjoints."""

import numpy as np
import scipy.integrate

from continuum import LearningProblem, TimeMesh, WidthDepth, exact, gauss_legendre, identity, tanh
from solvers import RK4, discretize, integrate

from ...registry import claim
from .common import PAPER, UNIT


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
