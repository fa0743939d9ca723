"""Section F of the ledger: Pontryagin's principle, extremals and where it decides nothing."""

import numpy as np

from continuum import (
    Ball,
    Box,
    Control,
    LearningProblem,
    Pairs,
    SquaredError,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    midpoint,
    split,
    tanh,
)
from continuum.sets import AdmissibleSet
from solvers import RK4, Extremal, Hamiltonian, discretize, shoot

from ...bench.registry import claim
from ..paper import boxed
from .common import PAPER, UNIT, extrapolated

EXTREMAL = (
    "states, costates and switching times solve the two-point problem with integrators at "
    "rtol 3e-14, with which they err by as much"
)


def extremal(problem: LearningProblem, initial: Control | None = None) -> Extremal:
    """By shooting, as exactly as doubles allow."""
    return shoot(problem, initial=initial, rtol=3e-14, atol=6e-14)


@claim(
    "LM-51",
    statement="Largest and least preactivation over K_A for a box, the disc and finite sets, f = "
    "y - 0.3 (4.10, E27).",
    paper=PAPER,
    references={
        "box: largest": 2.2575,
        "box: least": -1.7575,
        "disc: largest": 1.0412012293500235,
        "disc: least": -1.0412012293500235,
        "two pairs: largest": 1.4,
        "two pairs: least": -0.2,
        "b = -1 or 1: largest": 0.29,
        "b = -1 or 1: least": -0.29,
        "b = sgn sin(64 pi z): preactivation": 1 / 128,
    },
    tolerance=1e-15,
    reason="f is linear on every panel of the rules, so every integral is exact",
)
def preactivations() -> dict[str, float]:
    """a - int b f at the support points of (1, -f) and (-1, f).  The waves tend weakly to b = 0,
    which is not -1 or 1, and 1/128 to 0.
    """
    grid = split(UNIT, [0.3], lambda panel: gauss_legendre(panel, 3))
    space = WidthDepth(grid, identity).controls(TimeMesh(1.0, 1))
    f = grid.evaluate(lambda y: y - 0.3)

    rows = np.broadcast_to(f, (len(f), len(f)))

    def preactivation(among: AdmissibleSet, sign: float) -> float:
        wish, tie = space.sample(bias=sign, kernel=-sign * rows), space.zeros()
        point = tie.replaced(**among.support(wish, tie, space))
        return float(point["bias"][0, 0] - point["kernel"][0, 0] @ (grid.weights * f))

    sets = {
        "box": Box(bias=(-1, 2), kernel=(-0.5, 3)),
        "disc": Ball(1.0),
        "two pairs": Pairs([(0, 1), (1, -2)]),
        "b = -1 or 1": Pairs([(0, -1), (0, 1)]),
    }
    cells = midpoint(UNIT, 64)
    signs = np.sign(np.sin(64 * np.pi * cells.coordinates))
    waves = -float(signs @ (cells.weights * (cells.coordinates - 0.3)))
    return {
        **{
            f"{name}: {side}": preactivation(among, sign)
            for name, among in sets.items()
            for side, sign in (("largest", 1.0), ("least", -1.0))
        },
        "b = sgn sin(64 pi z): preactivation": waves,
    }


@claim(
    "LM-52",
    statement="The disc: controls vary smoothly, H is constant, p = D_v F (corrected section 4.2); "
    "along a control that is not extremal H is not constant (E29).",
    paper=PAPER,
    references={
        "f(1)": 2.085455195520839,
        "J": 0.4181960996999136,
        "H": 2.115174948416109,
        "r(0)": 1.891869987585212,
        "-D_v F, by differences": 1.891869987585212,
        "drift of H": 0.0,
        "a: largest difference from 1 / cosh(t + arsinh 1/2)": 0.0,
        "b: largest difference from -tanh(t + arsinh 1/2)": 0.0,
        "a = t, b = 0: H(1)": 1.5,
        "a = t, b = 0: largest difference of H from 1.5 t": 0.0,
    },
    tolerance={
        **dict.fromkeys(("f(1)", "J", "H", "r(0)", "drift of H"), 1e-13),
        "-D_v F, by differences": 5e-9,
        "a: largest difference from 1 / cosh(t + arsinh 1/2)": 1e-14,
        "b: largest difference from -tanh(t + arsinh 1/2)": 1e-14,
        "a = t, b = 0: H(1)": 1e-14,
        "a = t, b = 0: largest difference of H from 1.5 t": 1e-14,
    },
    reason=f"{EXTREMAL}; differences of F, by shooting at rtol 1e-11, are extrapolated to order 6",
)
def disc() -> dict[str, float]:
    """Linear, f(0) = 1/2, target 3: f = sinh(t + asinh 1/2). Then f' = t from 0, target 2."""

    def problem(start: float) -> LearningProblem:
        grid = gauss_legendre(UNIT, 1)
        return boxed([start], [3.0], grid=grid, layers=8, admissible=Ball(1.0))

    found = extremal(problem(0.5))
    path = found.state.times, found.state.states, found.costate.states
    zero = {"bias": np.zeros((len(path[0]), 1)), "kernel": np.zeros((len(path[0]), 1, 1))}
    best = Hamiltonian(problem(0.5), *path).minimiser(zero).values
    argument = found.state.times + np.arcsinh(0.5)
    steps = (0.08, 0.04, 0.02)
    quotients = [
        (shoot(problem(0.5 - h)).objective - shoot(problem(0.5 + h)).objective) / (2 * h)
        for h in steps
    ]
    return {
        "f(1)": float(found.state.final[0, 0]),
        "J": found.objective,
        "H": -float(found.hamiltonian[0]),
        "r(0)": -float(found.costate.states[0, 0, 0]),
        "-D_v F, by differences": float(extrapolated([1 / h for h in steps], quotients)),
        "drift of H": float(np.ptp(found.hamiltonian)),
        "a: largest difference from 1 / cosh(t + arsinh 1/2)": float(
            np.max(np.abs(best["bias"][:, 0] - 1 / np.cosh(argument)))
        ),
        "b: largest difference from -tanh(t + arsinh 1/2)": float(
            np.max(np.abs(best["kernel"][:, 0, 0] + np.tanh(argument)))
        ),
        **energies_of_a_ramp(),
    }


def energies_of_a_ramp() -> dict[str, float]:
    """H of f' = a with a = t, which reaches 1/2 and not 2: r = 3/2, so H = 3/2 t."""
    network = WidthDepth(gauss_legendre(UNIT, 1), identity)
    space = network.controls(TimeMesh(1.0, 8), in_time="nodes", fixed={"kernel": 0.0})
    problem = LearningProblem(network, np.zeros((1, 1)), np.full((1, 1), 2.0), space)
    ramp = space.sample(bias=lambda y, t: t + 0.0 * y)
    run = discretize(problem, RK4()).run(ramp)
    values = {"bias": np.stack([ramp.at(t)["bias"] for t in run.times.tolist()])}
    energy = -Hamiltonian(problem, run.times, run.states, run.costates).value(values)
    return {
        "a = t, b = 0: H(1)": float(energy[-1]),
        "a = t, b = 0: largest difference of H from 1.5 t": float(
            np.max(np.abs(energy - 1.5 * run.times))
        ),
    }


@claim(
    "LM-53",
    statement="The box [-1, 1]^2 with a target out of reach: bang-bang controls, linear and tanh.",
    paper=PAPER,
    references={
        "linear: f(1)": 3.077422742688568,
        "linear: J": 0.4255743978541422,
        "linear: H": 3.761737490848876,
        "tanh: f(1)": 1.456311167475796,
        "tanh: J": 3.235176438354173,
        "tanh: H": 2.506553489041917,
    },
    tolerance=1e-13,
    reason=f"{EXTREMAL}",
)
def box() -> dict[str, float]:
    """f(0) = 1/2, target 4."""
    rows = {}
    for name, activation in (("linear", identity), ("tanh", tanh)):
        found = extremal(
            boxed([0.5], [4.0], grid=gauss_legendre(UNIT, 1), activation=activation, layers=8)
        )
        rows[f"{name}: f(1)"] = float(found.state.final[0, 0])
        rows[f"{name}: J"] = found.objective
        rows[f"{name}: H"] = -float(found.hamiltonian[0])
    return rows


@claim(
    "LM-56",
    statement="A target that is reached: the costate vanishes, so every control that hits it is "
    "extremal.",
    paper=PAPER,
    references={
        f"{name}: {what}": 0.0
        for name in ("a = 1/2", "a = 1 for t < 1/2")
        for what in ("J", "largest |p|", "largest |H|")
    },
    tolerance=2e-16,
    reason="the states are polynomials of degree one on every layer: rounding alone is left",
)
def silent_principle() -> dict[str, float]:
    """Linear, b = 0, f(0) = 0, target 1/2, T = 1."""
    network = WidthDepth(gauss_legendre(UNIT, 1), identity)
    problem = LearningProblem(network, np.zeros((1, 1)), np.full((1, 1), 0.5), TimeMesh(1.0, 8))
    objective = discretize(problem, RK4())
    rows = {}
    for name, bias in (
        ("a = 1/2", np.full((8, 1), 0.5)),
        ("a = 1 for t < 1/2", 1.0 * (np.arange(8) < 4)[:, None]),
    ):
        control = problem.space.sample(bias=bias)
        rows[f"{name}: J"] = objective.value(control)
        run = objective.run(control)
        values = {n: control[n][[*range(8), 7]] for n in ("bias", "kernel")}
        energy = Hamiltonian(problem, run.times, run.states, run.costates).value(values)
        rows[f"{name}: largest |p|"] = float(np.max(np.abs(run.costates)))
        rows[f"{name}: largest |H|"] = float(np.max(np.abs(energy)))
    return rows


@claim(
    "LM-S10",
    statement="Chattering (item 10 of the ledger's list of subtleties): b in {-1, 1}, f' = -bf, "
    "l = (f - 1)^2 / 2 from 1: n periods cost 1 / (24 n^2) in the limit, so inf J = 0 is not "
    "attained; in the convex hull b = 0 costs nothing.",
    paper=PAPER,
    references={
        "8 periods: J": 6.824695815543943e-4,
        "24 n^2 J as n grows": 1.0,
        "b = 0: J": 0.0,
    },
    tolerance={"8 periods: J": 1e-15, "24 n^2 J as n grows": 1e-7, "b = 0: J": 0.0},
    reason="the trapezoid rule of the running cost and RK4 are extrapolated to rounding from 8 to "
    "32 steps per layer, and n = 8 to 64 with terms in 1/n, 1/n^2 and 1/n^3",
)
def chattering() -> dict[str, float]:
    """On one node; every period is a layer up and a layer down."""
    network = WidthDepth(gauss_legendre(UNIT, 1), identity)

    def cost(periods: int, size: float = 1.0) -> float:
        space = network.controls(TimeMesh(1.0, 2 * periods), fixed={"bias": 0.0})
        start = np.ones((1, 1))
        problem = LearningProblem(
            network, start, start, space, terminal=None, running=SquaredError()
        )
        signs = np.resize([-size, size], 2 * periods)
        control = space.sample(kernel=signs[:, None, None])
        steps = (8, 16, 32)
        values = [discretize(problem, RK4(), m, running_on="steps").value(control) for m in steps]
        return float(extrapolated(steps, values))

    sizes = (8, 16, 32, 64)
    scaled = [24 * n**2 * cost(n) for n in sizes]
    return {
        "8 periods: J": cost(8),
        "24 n^2 J as n grows": float(extrapolated(sizes, scaled, power=1)),
        "b = 0: J": cost(8, 0.0),
    }
