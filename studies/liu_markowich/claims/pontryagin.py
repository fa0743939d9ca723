"""Section F of the ledger: Pontryagin's principle, extremals and where it decides nothing."""

import numpy as np

from continuum import (
    Ball,
    Box,
    LearningProblem,
    Pairs,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    split,
    tanh,
)
from continuum.sets import AdmissibleSet
from solvers import RK4, discretize, shoot

from ...bench.registry import claim
from ..paper import boxed
from .common import PAPER, UNIT

EXTREMAL = (
    "states, costates and switching times solve the two-point problem with integrators at "
    "rtol 1e-11"
)


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
    },
    tolerance=1e-13,
    reason="f is linear on both panels of the rule, so every integral is exact",
)
def preactivations() -> dict[str, float]:
    """a - int b f at the support points of (1, -f) and (-1, f)."""
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
    return {
        f"{name}: {side}": preactivation(among, sign)
        for name, among in sets.items()
        for side, sign in (("largest", 1.0), ("least", -1.0))
    }


@claim(
    "LM-52",
    statement="The disc: controls vary smoothly, H is constant, p = D_v F (corrected section 4.2).",
    paper=PAPER,
    references={
        "f(1)": 2.085455195520839,
        "J": 0.4181960996999136,
        "H": 2.115174948416109,
        "r(0)": 1.891869987585212,
        "drift of H": 0.0,
    },
    tolerance=1e-8,
    reason=EXTREMAL,
)
def disc() -> dict[str, float]:
    """Linear, f(0) = 1/2, target 3: f = sinh(t + asinh 1/2)."""
    found = shoot(boxed([0.5], [3.0], grid=gauss_legendre(UNIT, 1), layers=8, admissible=Ball(1.0)))
    return {
        "f(1)": float(found.state.final[0, 0]),
        "J": found.objective,
        "H": -float(found.hamiltonian[0]),
        "r(0)": -float(found.costate.states[0, 0, 0]),
        "drift of H": float(np.ptp(found.hamiltonian)),
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
    tolerance=1e-8,
    reason=EXTREMAL,
)
def box() -> dict[str, float]:
    """f(0) = 1/2, target 4."""
    rows = {}
    for name, activation in (("linear", identity), ("tanh", tanh)):
        found = shoot(
            boxed([0.5], [4.0], grid=gauss_legendre(UNIT, 1), activation=activation, layers=8)
        )
        rows[f"{name}: f(1)"] = float(found.state.final[0, 0])
        rows[f"{name}: J"] = found.objective
        rows[f"{name}: H"] = -float(found.hamiltonian[0])
    return rows


@claim(
    "LM-54",
    statement="The full switching problem: block 1 up, block 2 up, then down from t_s on.",
    paper=PAPER,
    references={
        "t_s": 0.5364562503929055,
        "f_1(T)": 2.753850371773439,
        "f_2(T)": 0.3759592055367086,
        "J": 0.4235585550392474,
        "H": 2.080277357719554,
        "r_1(0)": 2.197905988694671,
        "r_2(0)": 0.575797154931401,
        "switching times": 1.0,
    },
    tolerance={
        "t_s": 1e-9,
        "f_1(T)": 1e-9,
        "f_2(T)": 1e-9,
        "J": 1e-9,
        "H": 1e-8,
        "r_1(0)": 1e-8,
        "r_2(0)": 1e-8,
        "switching times": 0.0,
    },
    reason=EXTREMAL,
)
def switching() -> dict[str, float]:
    """From the zero control."""
    found = shoot(boxed([0.5, 0.5], [4.0, 0.0]), atol=1e-11)
    times = found.switching_times()
    final, costate = found.state.final[:, 0], found.costate.states[0, :, 0]
    # the costate represents the derivative in L2(Y): blocks are functions, so it needs no weight
    return {
        "t_s": float(times[0]),
        "f_1(T)": float(final[0]),
        "f_2(T)": float(final[1]),
        "J": found.objective,
        "H": -float(found.hamiltonian[0]),
        "r_1(0)": -float(costate[0]),
        "r_2(0)": -float(costate[1]),
        "switching times": float(len(times)),
    }


@claim(
    "LM-55",
    statement="Several extremals of one problem: one along a singular arc, and two mirror images "
    "that are better.",
    paper=PAPER,
    references={
        "singular arc: J": 1.642801471258288,
        "singular arc: f_1(T)": 2 * (np.e - 1),
        "switching: J": 0.1311701244888148,
        "switching: t_s": 1.343774624663928,
        "switching: f_1(T)": 5.349117123596675,
        "switching: f_2(T)": 0.31785528021443,
        "switching: H": 1.856822178326791,
        "mirror image: J": 0.1311701244888148,
        "mirror image: f_2(T)": -0.31785528021443,
    },
    tolerance=1e-8,
    reason=EXTREMAL,
)
def several_extremals() -> dict[str, float]:
    """f(0) = 0, target (6, 0), T = 2: from the zero control, and from controls that push block 2
    either way.
    """
    problem = boxed([0.0, 0.0], [6.0, 0.0], horizon=2.0)
    rows = {}
    for name, push in (("singular arc", 0.0), ("switching", 1.0), ("mirror image", -1.0)):
        early = np.arange(60) < 40
        bias = np.stack([np.full(60, 0.9), np.where(early, push, -push)], axis=1)
        kernel = np.zeros((60, 2, 2))
        kernel[:, 0, 0], kernel[:, 0, 1] = -0.9, -push
        kernel[:, 1, 0], kernel[:, 1, 1] = (
            np.where(early, -push, push),
            np.where(early, -abs(push), abs(push)),
        )
        found = shoot(problem, initial=problem.space.sample(bias=bias, kernel=kernel))
        rows[f"{name}: J"] = found.objective
        if push >= 0.0:
            rows[f"{name}: f_1(T)"] = float(found.state.final[0, 0])
        if push != 0.0:
            rows[f"{name}: f_2(T)"] = float(found.state.final[1, 0])
        if push > 0.0:
            rows["switching: t_s"] = float(found.switching_times()[0])
            rows["switching: H"] = -float(found.hamiltonian[0])
    return rows


@claim(
    "LM-56",
    statement="A target that is reached: the costate vanishes, so every control that hits it is "
    "extremal.",
    paper=PAPER,
    references={
        f"{name}: {what}": 0.0
        for name in ("a = 1/2", "a = 1 for t < 1/2")
        for what in ("J", "largest |p|")
    },
    tolerance=1e-15,
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
        rows[f"{name}: largest |p|"] = float(np.max(np.abs(objective.costates(control).states)))
    return rows
