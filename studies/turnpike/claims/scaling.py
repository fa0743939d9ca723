"""What the horizon does, and does not, change: scaling, degrees, prices of other powers (TP-01,
TP-02, TP-13 to TP-16).
"""

from dataclasses import replace

import numpy as np

from continuum import (
    L1,
    Activation,
    Box,
    Chain,
    Control,
    LearningProblem,
    Linear,
    Network,
    NeuralODE,
    NeuralODE2,
    Offset,
    SobolevPenalty,
    SquaredError,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    leaky_relu,
    relu,
    rescale,
    tanh,
)
from solvers import (
    LBFGS,
    RK4,
    Euler,
    GradientDescent,
    NewtonCG,
    discretize,
    integrate,
    minimize,
    multistart,
)

from ...bench.registry import claim
from ..paper import scalar
from .common import PAPER

POINTS = np.array([[1.0, -0.3], [-0.5, 0.8]])


def weight(s: float) -> np.ndarray:
    """w of TP-01."""
    return np.array([[np.cos(2 * s), -1.0], [0.5 + s, np.sin(3 * s)]])


def bias(s: float) -> np.ndarray:
    """b of TP-01."""
    return np.array([0.3 - s, 0.2 * s])


def sampled(network: Network, layers: int, in_time: str, shift: float = 0.0) -> Control:
    """The control of TP-01 on [0, 1]: at nodes, or on layers at t_k + shift h."""
    space = network.controls(
        TimeMesh(1.0, layers), in_time="nodes" if in_time == "nodes" else "layers"
    )
    s = space.mesh.nodes if in_time == "nodes" else space.mesh.nodes[:-1] + shift / layers
    times = s.tolist()
    return space.sample(
        weight=np.array([weight(t) for t in times]), bias=np.array([bias(t) for t in times])
    )


def ends(network: Network, control: Control) -> np.ndarray:
    """The last states, by Euler."""
    return integrate(network, control, POINTS, Euler()).trajectory.final


@claim(
    "TP-01",
    statement="u^1(s) = T u^T(sT) and x^1(s) = x^T(sT) solve the same equation where the velocity "
    "is homogeneous in u: not for tanh(w x + b) (E1).",
    paper=PAPER,
    references={
        "relu: x_1": 1.82898185,
        "relu: y_1": 1.35876456,
        "relu: x_2": -0.3,
        "relu: y_2": 1.27819408,
        "leaky relu: x_1": 1.779257,
        "leaky relu: y_1": 1.35062811,
        "leaky relu: x_2": -0.43262673,
        "leaky relu: y_2": 1.20424211,
        "w tanh(x) + b: x_1": 1.39531634,
        "w tanh(x) + b: y_1": 0.36374329,
        "w tanh(x) + b: x_2": -1.37563122,
        "w tanh(x) + b: y_2": 0.67139774,
        "largest change, T = 16": 0.0,
        "tanh(w x + b): largest change": 0.9701,
    },
    tolerance={
        **{
            f"{name}: {entry}": 5e-9
            for name in ("relu", "leaky relu", "w tanh(x) + b")
            for entry in ("x_1", "y_1", "x_2", "y_2")
        },
        "largest change, T = 16": 1e-13,
        "tanh(w x + b): largest change": 5e-5,
    },
    reason="half a unit of the last digit printed; the identity holds to rounding for Euler too",
)
def scaling_identity() -> dict[str, float]:
    """64 layers, controls of the left ends; T = 16 by `rescale`, and by hand where that refuses."""
    found, change = {}, 0.0
    networks = {
        "relu": NeuralODE(2, relu),
        "leaky relu": NeuralODE(2, leaky_relu(0.1)),
        "w tanh(x) + b": NeuralODE2(2, tanh),
    }
    for name, network in networks.items():
        control = sampled(network, 64, "layers")
        final = ends(network, control)
        problem = LearningProblem(network, POINTS, POINTS, control.space)
        change = max(change, float(np.max(np.abs(ends(network, _at(problem, control)) - final))))
        for entry, value in zip(("x_1", "x_2", "y_1", "y_2"), final.ravel(), strict=True):
            found[f"{name}: {entry}"] = float(value)
    outside = NeuralODE(2, tanh)
    control = sampled(outside, 64, "layers")
    slower = outside.controls(TimeMesh(16.0, 64)).sample(**{n: x / 16 for n, x in control.items()})
    apart = np.abs(ends(outside, slower) - ends(outside, control))
    found["largest change, T = 16"] = change
    found["tanh(w x + b): largest change"] = float(np.max(apart))
    return found


def _at(problem: LearningProblem, control: Control) -> Control:
    return rescale(problem, control, 16.0)[1]


@claim(
    "TP-02",
    statement="Under the scaling int |u|^2 is divided by T, int |u_t|^2 by T^3, int |u| stays.",
    paper=PAPER,
    references={
        "int |u|^2": 3.1486843129,
        "int |u_t|^2": 8.7088396240,
        "int |u|": 1.7702793234,
        "T = 16: int |u|^2": 0.1967927696,
        "T = 16: int |u_t|^2": 2.1261815e-3,
        "T = 16: int |u|": 1.7702793,
    },
    relative_tolerance={
        "int |u|^2": 2e-7,
        "int |u_t|^2": 2e-7,
        "int |u|": 2e-7,
        "T = 16: int |u|^2": 2e-7,
        "T = 16: int |u_t|^2": 2e-7,
        "T = 16: int |u|": 2e-7,
    },
    reason="functions interpolated on 4000 layers, an error of h^2 max u_tt^2 / 12 = 1e-7",
)
def norms() -> dict[str, float]:
    """Piecewise linear for the squares, constant at middles for |u|, the norm over w and b."""
    network, found = NeuralODE2(2, tanh), {}
    linear, constant = sampled(network, 4000, "nodes"), sampled(network, 4000, "layers", 0.5)
    for name, horizon in (("", 1.0), ("T = 16: ", 16.0)):
        both = []
        for control in (linear, constant):
            problem = LearningProblem(network, POINTS, POINTS, control.space)
            both.append(rescale(problem, control, horizon)[1])
        squares = Tikhonov(1.0).value(both[0])
        found[f"{name}int |u|^2"] = squares
        found[f"{name}int |u_t|^2"] = SobolevPenalty(1.0).value(both[0]) - squares
        found[f"{name}int |u|"] = L1(1.0, groups="joint").value(both[1])
    return found


@claim(
    "TP-13",
    statement="With a terminal cost and lambda int |u|, |u| <= 2, J does not depend on T: "
    "x' = u, lambda = 1/2 (E10).",
    paper=PAPER,
    references={f"J, T = {t}": 0.4375 for t in (2, 8, 32)},
    tolerance=1e-12,
    reason="the minimum is that of (1 - x)^2 + x / 2, found to a gradient of 1e-9",
)
def absolute_price() -> dict[str, float]:
    """Proximal gradient."""
    found = {}
    for horizon in (2.0, 8.0, 32.0):
        smooth = scalar(1.0, TimeMesh(horizon, 8), affine=False, running=False)
        problem = replace(smooth, penalty=L1(0.5), admissible=Box(bias=(-2.0, 2.0)))
        found[f"J, T = {horizon:g}"] = minimize(problem, GradientDescent(gtol=1e-9)).objective
    return found


@claim(
    "TP-14",
    statement="x' = a c is homogeneous of degree 2, and with lambda int a^2 + c^2 nothing depends "
    "on T: phi does not fall.",
    paper=PAPER,
    references={
        f"{what}, T = {t}": value
        for t in (1, 16, 81)
        for what, value in (("J", 0.4375), ("phi", 0.0625))
    },
    tolerance={
        **{f"J, T = {t}": 1e-12 for t in (1, 16, 81)},
        **{f"phi, T = {t}": 1e-8 for t in (1, 16, 81)},
    },
    reason="found to a gradient of 1e-7: its square is the error of J, a tenth of it that of phi",
)
def degree_two() -> dict[str, float]:
    """c (0 x + a), from a = c = 1/2 on 4 layers, where Euler is exact; lambda = 1/4."""
    network = Chain(1, (Linear("z", 1), Offset("a"), Linear("c", 1)))
    found = {}
    for horizon in (1.0, 16.0, 81.0):
        problem = LearningProblem(
            network,
            np.zeros((1, 1)),
            np.ones((1, 1)),
            network.controls(TimeMesh(horizon, 4), fixed={"z": 0.0}),
            terminal=SquaredError(1.0),
            penalty=Tikhonov(0.25),
        )
        best = minimize(problem, NewtonCG(gtol=1e-7), initial=problem.space.sample(a=0.5, c=0.5))
        end = integrate(network, best.control, problem.initial, Euler()).trajectory.final
        found[f"J, T = {horizon:g}"] = best.objective
        found[f"phi, T = {horizon:g}"] = float((end[0, 0] - 1.0) ** 2)
    return found


def downwards(
    activation: Activation, layers: int, endpoint: TerminalEquality | None
) -> LearningProblem:
    """x' = sigma(w x + b) from 1 towards 0 in time 1, lambda = 1."""
    return LearningProblem(
        NeuralODE(1, activation),
        np.ones((1, 1)),
        np.zeros((1, 1)),
        TimeMesh(1.0, layers),
        terminal=SquaredError(1.0) if endpoint is None else None,
        penalty=Tikhonov(1.0),
        endpoint=endpoint,
    )


@claim(
    "TP-15",
    statement="relu(w x + b) cannot go down, so u = 0 is optimal and phi = 1 (E6); with the slope "
    "1/10 below 0 the least cost is 100 (asinh 1)^2.",
    paper=PAPER,
    references={"relu: J": 1.0, "relu: int |u|^2": 0.0, "leaky relu: V": 77.6819400},
    tolerance={"relu: J": 1e-12, "relu: int |u|^2": 1e-12, "leaky relu: V": 2e-5},
    reason="a gradient of 1e-8; V on 16 and 32 layers, extrapolated, leaves O(h^4) = 1e-7 of it",
)
def downward() -> dict[str, float]:
    """The lowest of 8 random starts; V from the endpoint."""
    best = multistart(downwards(relu, 8, None), LBFGS(gtol=1e-8), 8, scale=2.0).best
    values = []
    for layers in (16, 32):
        problem = downwards(leaky_relu(0.1), layers, TerminalEquality())
        start = problem.space.sample(weight=-5.0, bias=-5.0)
        run = minimize(discretize(problem, RK4()), NewtonCG(gtol=1e-6), initial=start)
        values.append(run.objective)
    return {
        "relu: J": best.objective,
        "relu: int |u|^2": Tikhonov(1.0).value(best.control),
        "leaky relu: V": (4.0 * values[1] - values[0]) / 3.0,
    }


@claim(
    "TP-16",
    statement="Chattering pays (E14): leaky relu(w x + b), two frozen points -1/2, 1/2, mean "
    "velocity (-1, 0): one layer costs 125, two of lengths 1 : 10 cost 90.80675.",
    paper=PAPER,
    references={"one layer": 125.0, "two layers": 90.80675},
    relative_tolerance={"one layer": 1e-6, "two layers": 2e-6},
    reason="two layers meet frozen points as the horizon h tends to 0: from h = 0.02, 0.01 and "
    "0.005, extrapolated, with O(h^3) left, and a few times the accuracy of the runs, 1e-6",
)
def chattering() -> dict[str, float]:
    """int |u|^2 / h, the price of the endpoint x + h (-1, 0) at T = h; Euler."""
    network, points = NeuralODE(1, leaky_relu(0.1)), np.array([[-0.5, 0.5]])

    def price(horizon: float, nodes: list[float], start: dict[str, list[float]]) -> float:
        space = network.controls(TimeMesh.through([horizon * s for s in nodes]))
        problem = LearningProblem(
            network,
            points,
            points + horizon * np.array([[-1.0, 0.0]]),
            space,
            terminal=None,
            penalty=Tikhonov(1.0 / horizon),
            endpoint=TerminalEquality(),
        )
        initial = space.sample(
            weight=np.array(start["weight"])[:, None, None], bias=np.array(start["bias"])[:, None]
        )
        return minimize(problem, NewtonCG(gtol=1e-7, relative=True), initial=initial).objective

    two = {"weight": [9.0, 5.0], "bias": [1.0, -8.0]}
    a, b, c = (price(h, [0.0, 1.0 / 11.0, 1.0], two) for h in (0.02, 0.01, 0.005))
    first, second = 2.0 * b - a, 2.0 * c - b
    return {
        "one layer": price(1.0, [0.0, 1.0], {"weight": [9.0], "bias": [-4.0]}),
        "two layers": (4.0 * second - first) / 3.0,
    }
