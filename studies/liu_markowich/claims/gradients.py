"""Section E of the ledger: gradients by adjoints."""

from collections.abc import Sequence
from dataclasses import dataclass

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
from solvers import RK4, ReducedObjective, discretize, integrate, observed_orders

from ...bench.registry import claim
from .common import PAPER, UNIT
from .extrapolation import extrapolated


@dataclass(frozen=True, eq=False)
class Along:
    """State, costate and the gradient of J in every block as functions of position, at the ends of
    K layers.

    times : (K + 1,)
    states, costates : (K + 1, N, M)
    gradients : for each time, block -> array
    """

    times: np.ndarray
    states: np.ndarray
    costates: np.ndarray
    gradients: list[dict[str, np.ndarray]]

    def integral(self, density: Sequence[np.ndarray] | np.ndarray) -> float:
        """int density dt by Simpson's rule."""
        return float(scipy.integrate.simpson(density, x=self.times))


def along(problem: LearningProblem, control: Control) -> Along:
    """By RK4 and its adjoint."""
    costates = discretize(problem, RK4()).costates(control)
    states = integrate(
        problem.network, control, problem.initial, RK4(), save="layers"
    ).trajectory.states
    gradients = [
        problem.network.vjp(f, control.at(t), t, p)[1]
        for t, f, p in zip(costates.times.tolist(), states, costates.states, strict=True)
    ]
    return Along(costates.times, states, costates.states, gradients)


@claim(
    "LM-43",
    statement="Gradient of J = 1/2 |f(T)|^2 along LM-10, T = 1, from the adjoint (section 4.1 "
    "with E33: sigma').",
    paper=PAPER,
    references={
        "J": 0.335526647909711,
        "q": 1.441823807899629,
        "p: largest difference from its closed form": 0.0,
        "D_a J(1/2, 0)": 0.2884139203444286,
        "D_a J(1/2, 1/2)": 0.4971168798997621,
        "D_b J(1/2, 1/4, 1/2)": -0.2634880151068972,
        "along a: sin(3y + 2t)": 0.041615428326106,
        "along b: cos(y + 2z - t)": -0.1119511003757842,
    },
    tolerance=2e-14,
    reason="RK4, its adjoint and Simpson's rule in time with 2000 steps leave 1e-15; the rounding "
    "of as many steps of 12 units leaves 1e-14",
)
def adjoint_gradient() -> dict[str, float]:
    """State and costate at the ends of layers, and the network's adjoint there."""
    case, layers = exact.rank_one, 2000
    grid = gauss_legendre(UNIT, 10).observed_at(np.array([[0.5], [0.25]]))
    half, quarter = len(grid) - 2, len(grid) - 1
    network = WidthDepth(grid, identity)
    initial = grid.sample(case.initial)
    problem = LearningProblem(network, initial, np.zeros_like(initial), TimeMesh(1.0, layers))
    control = problem.space.sample(bias=case.bias, kernel=case.kernel)
    run, y, w = along(problem, control), grid.coordinates, grid.weights
    pairs = list(zip(run.times, run.gradients, strict=True))
    along_a = [
        w @ (g["bias"] * grid.evaluate(lambda y, t=t: np.sin(3 * y + 2 * t))) for t, g in pairs
    ]
    along_b = [
        w @ (g["kernel"] * grid.evaluate_kernel(lambda y, z, t=t: np.cos(y + 2 * z - t))) @ w
        for t, g in pairs
    ]
    closed = np.stack([exact.rank_one_costate(y, t) for t in run.times.tolist()])
    return {
        "J": discretize(problem, RK4()).value(control),
        "q": float(w @ (np.exp(y) * run.states[-1, :, 0])),
        "p: largest difference from its closed form": float(
            np.max(np.abs(run.costates[:, :, 0] - closed))
        ),
        "D_a J(1/2, 0)": float(run.gradients[0]["bias"][half]),
        "D_a J(1/2, 1/2)": float(run.gradients[layers // 2]["bias"][half]),
        "D_b J(1/2, 1/4, 1/2)": float(run.gradients[layers // 2]["kernel"][half, quarter]),
        "along a: sin(3y + 2t)": run.integral(along_a),
        "along b: cos(y + 2z - t)": run.integral(along_b),
    }


CLOSED = {
    "D_a J(0)": 0.0918836834958935,
    "D_a J(1/2)": 0.1903541845752849,
    "D_a J(1)": 0.3537629718798044,
    "D_b J(1/2)": -0.1262272071705538,
    "along a: cos t": 0.1588255497892984,
    "along b: e^t": -0.2212726305870331,
    "p: largest difference from its closed form": 0.0,
    "D_a J: largest difference from its closed form": 0.0,
    "D_b J + f D_a J: largest": 0.0,
}


@claim(
    "LM-44",
    statement="Costate and gradients of J = f(T)^2 / 2 along LM-01 in closed form; with sigma(u) "
    "for sigma'(u), as E33 prints, the same sweeps give -0.1666 at all times.",
    paper=PAPER,
    references={
        **CLOSED,
        "printed, sigma(u) p: at 0": -0.1666246468992013,
        "printed, sigma(u) p: at 1": -0.1666246468992013,
    },
    tolerance=1e-14,
    reason="RK4, its adjoint and Simpson's rule in time with 2000 steps leave 1e-15, and so does "
    "the rounding of 2000 steps",
)
def scalar_gradient() -> dict[str, float]:
    """f' = -tanh f: one node carries it."""
    grid, layers = gauss_legendre(UNIT, 1), 2000
    network = WidthDepth(grid, tanh)
    problem = LearningProblem(network, np.ones((1, 1)), np.zeros((1, 1)), TimeMesh(1.0, layers))
    control = problem.space.sample(kernel=1.0)
    run = along(problem, control)
    f, p, times = run.states[:, 0, 0], run.costates[:, 0, 0], run.times
    a = np.array([g["bias"][0] for g in run.gradients])
    b = np.array([g["kernel"][0, 0] for g in run.gradients])
    grown, end = np.exp(2 * times) + np.sinh(1.0) ** 2, np.exp(2.0) + np.sinh(1.0) ** 2
    preactivation = WidthDepth(grid, identity).velocity(run.states, control.at(0.0), 0.0)
    printed = tanh.value(preactivation[:, 0, 0]) * p
    return {
        "D_a J(0)": float(a[0]),
        "D_a J(1/2)": float(a[layers // 2]),
        "D_a J(1)": float(a[-1]),
        "D_b J(1/2)": float(b[layers // 2]),
        "along a: cos t": run.integral(a * np.cos(times)),
        "along b: e^t": run.integral(b * np.exp(times)),
        "p: largest difference from its closed form": float(
            np.max(np.abs(p - f[-1] * np.sqrt(grown / end)))
        ),
        "D_a J: largest difference from its closed form": float(
            np.max(np.abs(a - f[-1] * np.exp(2 * times) / np.sqrt(grown * end)))
        ),
        "D_b J + f D_a J: largest": float(np.max(np.abs(b + f * a))),
        "printed, sigma(u) p: at 0": float(printed[0]),
        "printed, sigma(u) p: at 1": float(printed[-1]),
    }


DISCRETE = {
    "L = 10, first layer": 0.0923254702413287,
    "L = 20, first layer": 0.0921056851101788,
    "L = 40, first layer": 0.0919949731264559,
    "L = 10, layer L/2": 0.197470518870477,
    "L = 20, layer L/2": 0.193802969538604,
    "L = 40, layer L/2": 0.192052781833694,
}


def quotient(objective: ReducedObjective, control: Control, layer: int) -> float:
    """dJ / da on one layer, over its length 1/L: central differences extrapolated from 5 steps."""
    layers = objective.problem.mesh.layers
    one = objective.space.sample(bias=1.0 * (np.arange(layers) == layer)[:, None])
    found = []
    for h in (0.32, 0.16, 0.08, 0.04, 0.02):
        high, low = objective.value(control + h * one), objective.value(control - h * one)
        found.append(layers * (high - low) / (2 * h))
    return extrapolated(found, orders=(2, 4, 6, 8))


@claim(
    "LM-45",
    statement="Discretise then optimise: gradient in a of the ResNet's own J, by adjoint, by the "
    "recursion and by differences; it tends to LM-44's with order 1.",
    paper=PAPER,
    references={
        **DISCRETE,
        "largest difference from the recursion": 0.0,
        "largest difference from finite differences": 0.0,
        "first layer: order": 1.0,
        "layer L/2: order": 1.0,
    },
    tolerance={
        **dict.fromkeys(DISCRETE, 5e-16),
        "largest difference from the recursion": 5e-16,
        "largest difference from finite differences": 1e-12,
        "first layer: order": 0.1,
        "layer L/2: order": 0.1,
    },
    reason="half a unit of the 15 decimals printed, which is what rounding leaves too; central "
    "differences are extrapolated from five steps to their rounding; orders as the ledger has "
    "them",
)
def discrete_gradient() -> dict[str, float]:
    """f' = -tanh f with J = f(1)^2 / 2 by L Euler steps; backwards
    p_l = p_{l+1} - sech^2(f_l) p_{l+1} / L.
    """
    network, depths = WidthDepth(gauss_legendre(UNIT, 1), tanh), (10, 20, 40)
    computed, recursion, differences = {}, 0.0, 0.0
    for layers in depths:
        problem = LearningProblem(network, np.ones((1, 1)), np.zeros((1, 1)), TimeMesh(1.0, layers))
        objective = discretize(problem)
        control = problem.space.sample(kernel=1.0)
        gradient = objective.gradient(control)["bias"][:, 0]
        computed[f"L = {layers}, first layer"] = float(gradient[0])
        computed[f"L = {layers}, layer L/2"] = float(gradient[layers // 2])
        f = [1.0]
        for _ in range(layers):
            f.append(f[-1] - np.tanh(f[-1]) / layers)
        p = f[-1]
        for k in reversed(range(layers)):
            slope = 1.0 - np.tanh(f[k]) ** 2
            recursion = max(recursion, abs(slope * p - float(gradient[k])))
            p -= slope * p / layers
            differences = max(
                differences, abs(quotient(objective, control, k) - float(gradient[k]))
            )
    orders = {
        f"{layer}: order": float(
            observed_orders(
                depths, [abs(computed[f"L = {n}, {layer}"] - CLOSED[end]) for n in depths]
            )[-1]
        )
        for layer, end in (("first layer", "D_a J(0)"), ("layer L/2", "D_a J(1/2)"))
    }
    return {
        **computed,
        "largest difference from the recursion": recursion,
        "largest difference from finite differences": differences,
        **orders,
    }


@claim(
    "LM-46",
    statement="Gradients without a kernel: D_a J = sech^2 y (2 tanh y - 1/2), D_b J = -s tanh z "
    "D_a J.",
    paper=PAPER,
    references={
        "D_a J(0.3)": 0.07561339728813975,
        "D_b J(0.3, 0.8, 1)": -0.05021007612419605,
        "D_a J: largest difference from its closed form": 0.0,
    },
    tolerance=5e-16,
    reason="the state is linear and the costate constant in time: RK4 is exact; the rounding of "
    "its few operations is left",
)
def gradient_without_kernel() -> dict[str, float]:
    """f = t tanh y, target 1/2, T = 2."""
    grid = gauss_legendre(UNIT, 8).observed_at(np.array([[0.3], [0.8]]))
    here, there = len(grid) - 2, len(grid) - 1
    network = WidthDepth(grid, tanh)
    initial = np.zeros((len(grid), 1))
    problem = LearningProblem(network, initial, initial + 0.5, TimeMesh(2.0, 4))
    run, y = along(problem, problem.space.sample(bias=lambda y: y)), grid.coordinates
    closed = (2 * np.tanh(y) - 0.5) / np.cosh(y) ** 2
    found = np.array([g["bias"] for g in run.gradients])
    return {
        "D_a J(0.3)": float(run.gradients[1]["bias"][here]),
        "D_b J(0.3, 0.8, 1)": float(run.gradients[2]["kernel"][here, there]),
        "D_a J: largest difference from its closed form": float(np.max(np.abs(found - closed))),
    }


CLASSIFIED = {
    "J": 0.0520186121373831,
    "p(1/4, T)": 0.02653909818155687,
    "D_a J(1/4)": 0.0249471463645938,
    "along a: 1": 0.0251685543635665,
    "D_W J(1/2, 1/4)": 0.0207771175440278,
    "D_mu J(1/2)": 0.08483272503660849,
    "cross-entropy: J": 0.6659116090796103,
    "cross-entropy: p(1/4, T)": 0.1088230106467174,
}


@claim(
    "LM-47",
    statement="Classification: the orientation of W(y, z) in the output and in the costate "
    "(Remark 4.3 with E25).",
    paper=PAPER,
    references={**CLASSIFIED, "swapped W: p(1/4, T)": 0.02252736906},
    tolerance={**dict.fromkeys(CLASSIFIED, 2e-15), "swapped W: p(1/4, T)": 5e-12},
    reason="Gauss-Legendre with 20 points is exact to rounding for these analytic data, and "
    "Euler for a linear state; the wrong value is printed to 11 decimals",
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
            swapped = grid.evaluate_kernel(lambda y, z: z * np.exp(y))
            found["swapped W: p(1/4, T)"] = float(
                swapped[:, quarter] @ (grid.weights * gradient["readout.mu"])
            )
    return found
