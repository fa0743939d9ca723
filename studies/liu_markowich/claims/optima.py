"""Section E of the ledger, further: what can be reached, kinks, and the Tikhonov term."""

import numpy as np

from continuum import (
    LearningProblem,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    relu,
    split,
    tanh,
)
from solvers import LBFGS, RK4, discretize, integrate, minimize, richardson

from ...bench.registry import claim
from .common import PAPER, TIGHT, UNIT


@claim(
    "LM-48",
    statement="With tanh, a alone reaches every target closer than T, on a straight path; else "
    "inf J is not attained.",
    paper=PAPER,
    references={"largest error at T": 0.0, "J with a -> inf": 4.0 / 9.0},
    tolerance=1e-12,
    reason="the path is linear in time, so only rounding is left; J is within 3e-13 of its "
    "infimum at the a taken",
)
def reachability() -> dict[str, float]:
    """b = 1, f(0) = 0, target y/2; and b = 0, target 3y, where tanh a <= 1 - 1e-12 on y > 1/3."""
    grid = gauss_legendre(UNIT, 8)
    network, mesh = WidthDepth(grid, tanh), TimeMesh(1.0, 8)
    control = network.control(mesh, bias=lambda y, t: np.arctanh(y / 2) + t / 4, kernel=1.0)
    final = integrate(network, control, np.zeros((8, 1)), RK4()).trajectory.final
    cut = split(UNIT, [1 / 3], lambda panel: gauss_legendre(panel, 8))
    far = WidthDepth(cut, tanh)
    problem = LearningProblem(
        far, np.zeros((len(cut), 1)), cut.sample(lambda y: 3 * y), TimeMesh(1.0, 4)
    )
    steep = problem.space.sample(bias=lambda y: np.arctanh(np.minimum(3 * y, 1 - 1e-12)))
    return {
        "largest error at T": float(np.max(np.abs(final - grid.sample(lambda y: y / 2)))),
        "J with a -> inf": discretize(problem, RK4()).value(steep),
    }


@claim(
    "LM-49",
    statement="ReLU at u = 0: J has a kink in a, so stationarity needs a < Bf (Remark 4.1 with "
    "E23).",
    paper=PAPER,
    references={"derivative to the right": -0.6321205588285577, "derivative to the left": 0.0},
    tolerance=1e-9,
    reason="difference quotients at e, e/2, e/4, extrapolated twice, with e = 1e-3 and J "
    "computed to 1e-13",
)
def kink_of_relu() -> dict[str, float]:
    """f' = relu(1 + e - f), f(0) = 1, target 2, T = 1."""
    network = WidthDepth(gauss_legendre(UNIT, 1), relu)

    def cost(shift: float) -> float:
        control = network.control(TimeMesh(1.0, 1), bias=1.0 + shift, kernel=1.0)
        return (
            0.5
            * float(
                integrate(network, control, np.ones((1, 1)), TIGHT).trajectory.final[0, 0] - 2.0
            )
            ** 2
        )

    def slope(e: float) -> float:
        one, two, four = ((cost(e / k) - cost(0.0)) / (e / k) for k in (1, 2, 4))
        return (4 * (2 * four - two) - (2 * two - one)) / 3

    return {"derivative to the right": slope(1e-3), "derivative to the left": slope(-1e-3)}


@claim(
    "LM-50",
    statement="Tikhonov: its derivative is 2 lambda a (E24); optimal values of three problems.",
    paper=PAPER,
    references={
        "linear: a": 0.8333333333333334,
        "linear: J": 0.08333333333333333,
        "tanh: a": 0.4228992028117591,
        "tanh: J": 0.02294756797875433,
        "a and b: J, 16 layers": 0.05603857,
        "a and b: J": 0.05603407370811301,
        "a and b: f(T) over y": 2.869437768306754,
    },
    tolerance={
        "linear: a": 3e-8,
        "linear: J": 1e-12,
        "tanh: a": 3e-8,
        "tanh: J": 1e-12,
        "a and b: J, 16 layers": 5e-9,
        "a and b: J": 1e-8,
        "a and b: f(T) over y": 1e-6,
    },
    reason="gradients below 1e-8 and 1e-7; constants on layers are of order 2, extrapolated from "
    "16 and 32 layers",
)
def tikhonov_optima() -> dict[str, float]:
    """(i), (ii) kernel 0, initial 0, lambda = 0.1; (iii) both free, f(0) = y, target 3y, three
    Gauss points.
    """
    found = {}
    node = gauss_legendre(UNIT, 1)
    for name, activation, target in (("linear", identity, 1.0), ("tanh", tanh, 0.5)):
        network = WidthDepth(node, activation)
        problem = LearningProblem(
            network,
            np.zeros((1, 1)),
            np.full((1, 1), target),
            network.controls(TimeMesh(1.0, 2), fixed={"kernel": 0.0}),
            penalty=Tikhonov(0.1),
        )
        best = minimize(problem, LBFGS(gtol=1e-8))
        found[f"{name}: a"] = float(best.control["bias"][0, 0])
        found[f"{name}: J"] = best.objective
    grid = gauss_legendre(UNIT, 3)
    initial = grid.sample(lambda y: y)
    values, ends = [], []
    for layers in (16, 32):
        problem = LearningProblem(
            WidthDepth(grid, identity),
            initial,
            3 * initial,
            TimeMesh(1.0, layers),
            penalty=Tikhonov(0.1),
        )
        best = minimize(discretize(problem, RK4()), LBFGS(gtol=1e-7))
        values.append(best.objective)
        final = integrate(problem.network, best.control, initial, RK4()).trajectory.final
        ends.append(float((final / initial)[0, 0]))
    found["a and b: J, 16 layers"] = values[0]
    found["a and b: J"] = richardson(*values, order=2.0)[0]
    found["a and b: f(T) over y"] = richardson(*ends, order=2.0)[0]
    return found
