"""Penalties on the derivative of the control (TP-17, TP-18)."""

import numpy as np

from continuum import (
    Control,
    LearningProblem,
    NeuralODE,
    NeuralODE2,
    SobolevPenalty,
    SquaredError,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    identity,
)
from solvers import RK4, NewtonCG, discretize, integrate, minimize

from ...bench.registry import claim
from .common import PAPER

LAYERS = 64
NODES = np.linspace(0.0, 1.0, 201)


def smooth(weight: float, slope: float, endpoint: TerminalEquality | None) -> LearningProblem:
    """x' = w x + b from 0 to 2 on [0, 1], weight int |u|^2 + slope |u_t|^2, piecewise linear."""
    network = NeuralODE(1, identity)
    return LearningProblem(
        network,
        np.zeros((1, 1)),
        np.full((1, 1), 2.0),
        network.controls(TimeMesh(1.0, LAYERS), in_time="nodes"),
        terminal=SquaredError(1.0) if endpoint is None else None,
        penalty=SobolevPenalty(weight, slope=slope),
        endpoint=endpoint,
    )


def solved(problem: LearningProblem) -> tuple[Control, float]:
    """The control, by RK4, and phi(x(1))."""
    best = minimize(discretize(problem, RK4()), NewtonCG(gtol=1e-7, relative=True)).control
    end = integrate(problem.network, best, problem.initial, RK4()).trajectory.final
    return best, float((end[0, 0] - 2.0) ** 2)


def root_mean_square(one: Control, other: Control) -> float:
    """Of |one - other| at 201 equally spaced times: the ledger's distance.

    It is not the norm of L^2: the ends count fully, which adds half a per cent here.
    """
    apart = one - other
    values = [apart.at(float(t)) for t in NODES]
    squares = [float(v["weight"][0, 0] ** 2 + v["bias"][0] ** 2) for v in values]
    return float(np.mean(squares)) ** 0.5


@claim(
    "TP-17",
    statement="With the norm of H^1(0, T) as the slides have it the limit is the control of least "
    "L^2 norm; that of least H^1 norm needs T^2 |u_t|^2 (E4, Table C).",
    paper=PAPER,
    references={
        "least int |u|^2 + |u_t|^2": 2.304352,
        "distance of the limits": 0.4373,
        "distance of the limits in L^2": 0.4351612,
        "T = 4: phi": 3.035e-2,
        "T = 4: to L^2": 0.2040,
        "T = 4: to H^1": 0.2763,
        "T = 16: phi": 1.663e-3,
        "T = 16: to L^2": 0.0361,
        "T = 16: to H^1": 0.4150,
        "T = 81: phi": 6.366e-5,
        "T = 81: to L^2": 0.0050,
        "T = 81: to H^1": 0.4356,
        "T^2, T = 16: phi": 2.258e-3,
        "T^2, T = 16: to L^2": 0.4318,
        "T^2, T = 16: to H^1": 0.0258,
        "T^2, T = 81: phi": 8.782e-5,
        "T^2, T = 81: to L^2": 0.4361,
        "T^2, T = 81: to H^1": 0.0051,
    },
    tolerance={
        "least int |u|^2 + |u_t|^2": 1e-5,
        "distance of the limits": 1e-4,
        "distance of the limits in L^2": 5e-5,
        "T = 4: phi": 5e-6,
        "T = 16: phi": 5e-7,
        "T = 81: phi": 5e-9,
        "T^2, T = 16: phi": 5e-7,
        "T^2, T = 81: phi": 5e-9,
        **{
            f"{case}: to {limit}": 1e-4
            for case in ("T = 4", "T = 16", "T = 81", "T^2, T = 16", "T^2, T = 81")
            for limit in ("L^2", "H^1")
        },
    },
    reason="four digits are printed; piecewise linear controls on 64 layers err by 5e-5. The "
    "ledger's distances are root mean squares over 201 nodes: in L^2 the limits are 0.4351612 "
    "apart (solve_bvp for one, closed form for the other)",
    slow=True,
)
def table_c() -> dict[str, float]:
    """On [0, 1] with the weights 1 / T and, for |u_t|^2, 1 / T^3 or 1 / T."""
    plain, _ = solved(smooth(1.0, 0.0, TerminalEquality()))
    curved, _ = solved(smooth(1.0, 1.0, TerminalEquality()))
    found = {
        "least int |u|^2 + |u_t|^2": SobolevPenalty(1.0).value(curved),
        "distance of the limits": root_mean_square(plain, curved),
        "distance of the limits in L^2": Tikhonov(1.0).value(plain - curved) ** 0.5,
    }
    cases = [(f"T = {t}", t, 1.0 / t**2) for t in (4, 16, 81)]
    for name, horizon, slope in [*cases, ("T^2, T = 16", 16, 1.0), ("T^2, T = 81", 81, 1.0)]:
        control, phi = solved(smooth(1.0 / horizon, slope, None))
        found[f"{name}: phi"] = phi
        found[f"{name}: to L^2"] = root_mean_square(control, plain)
        found[f"{name}: to H^1"] = root_mean_square(control, curved)
    return found


@claim(
    "TP-18",
    statement="The gradient in H^1 whose gradient in L^2 is -2 (1 - t): the solution of g - g_tt = "
    "-2 (1 - t) with g_t = 0 at both ends.",
    paper=PAPER,
    references={
        "g(0)": -1.0757656855,
        "g(1/2)": -1.0,
        "g(1)": -0.9242343145,
        "largest error, 100 layers": 5.74e-7,
        "its order": 2.0,
    },
    tolerance={
        "g(0)": 1e-10,
        "g(1/2)": 1e-10,
        "g(1)": 1e-10,
        "largest error, 100 layers": 5e-10,
        "its order": 1e-3,
    },
    reason="ten digits are printed; values on 200 and 400 layers, extrapolated",
)
def riesz() -> dict[str, float]:
    """The time axis of a piecewise linear control in the norm H1."""
    network, errors, values = NeuralODE2(1, identity), [], []
    for layers in (100, 200, 400):
        mesh = TimeMesh(1.0, layers)
        space = network.controls(mesh, in_time="nodes", norm="H1", fixed={"weight": 0.0})
        t = mesh.nodes
        g = space.axes["bias"].from_l2(-2.0 * (1.0 - t)[:, None])[:, 0]
        exact = -2.0 * (1.0 - t) + 2.0 * np.tanh(0.5) * np.cosh(t) - 2.0 * np.sinh(t)
        errors.append(float(np.max(np.abs(g - exact))))
        values.append(g[[0, layers // 2, layers]])
    start, middle, end = (4.0 * values[2] - values[1]) / 3.0
    return {
        "g(0)": float(start),
        "g(1/2)": float(middle),
        "g(1)": float(end),
        "largest error, 100 layers": errors[0],
        "its order": float(np.log2(errors[0] / errors[1])),
    }
