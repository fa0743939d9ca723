"""Section H of the ledger: proximal alternating minimization and successive approximation."""

import numpy as np

from continuum import (
    Box,
    LearningProblem,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
)
from solvers import (
    RK4,
    NewtonCG,
    Solution,
    discretize,
    proximal_alternating,
    successive_approximation,
)

from ...bench.registry import claim
from ..paper import boxed
from .common import PAPER, UNIT
from .extrapolation import extrapolated
from .pontryagin import extremal

POINT = WidthDepth(gauss_legendre(UNIT, 1), identity)
"""Constant data: one node is exact."""


POINTWISE = {"b1(0)": -0.19720349657545, "b1(1)": -0.28538255450393}
INTEGRALS = {
    "|b1|^2": 0.059734599780065,
    "J(a1, b1)": 0.011958235969877,
    "prox value": 0.04182553586,
}


@claim(
    "LM-62",
    statement="One iteration of Algorithm 1 on f' = a - bf, f(0) = 1, target 2, T = tau = 1, and "
    "its inequality (E34); the step in b also by shooting.",
    paper=PAPER,
    references={
        "J(a0, b0)": 0.5,
        "a1": 0.5,
        "J(a1, b0)": 0.125,
        **POINTWISE,
        **INTEGRALS,
        "bound on J(a1, b1)": 0.34513,
        **{f"shooting: {name}": value for name, value in {**POINTWISE, **INTEGRALS}.items()},
    },
    tolerance={
        **dict.fromkeys(("J(a0, b0)", "a1", "J(a1, b0)"), 1e-14),
        **dict.fromkeys(POINTWISE, 3e-8),
        **dict.fromkeys(INTEGRALS, 5e-12),
        "bound on J(a1, b1)": 5e-6,
        **{f"shooting: {name}": 5e-14 for name in (*POINTWISE, *INTEGRALS)},
        "shooting: prox value": 5e-12,
    },
    reason="b is piecewise linear in time: its error is of order 2, of integrals of order 4, "
    "extrapolated; line searches compare values, which tells b at a point to 1e-8 (the root of "
    "rounding); shooting has rtol 3e-14; prox value and bound are printed to 11 and 5 digits",
)
def one_alternation() -> dict[str, float]:
    """From zero; RK4, controls piecewise linear in time."""

    def measured(layers: int) -> dict[str, float]:
        space = POINT.controls(TimeMesh(1.0, layers), in_time="nodes")
        problem = LearningProblem(POINT, np.ones((1, 1)), np.full((1, 1), 2.0), space)
        run = proximal_alternating(
            discretize(problem, RK4()),
            inner=NewtonCG(gtol=1e-11),
            max_iterations=1,
            raise_on_failure=False,
        )
        kernel = run.control["kernel"][:, 0, 0]
        moved = space.norm(space.sample(kernel=run.control["kernel"])) ** 2
        start, end = run.history["objective"]
        return {
            "J(a0, b0)": float(start),
            "a1": float(np.mean(run.control["bias"])),
            "J(a1, b0)": float(run.history["objective.bias"][1]),
            "b1(0)": float(kernel[0]),
            "b1(1)": float(kernel[-1]),
            "|b1|^2": moved,
            "J(a1, b1)": float(end),
            "prox value": float(end) + 0.5 * moved,
            "bound on J(a1, b1)": float(start) - 0.5 * space.norm(run.control) ** 2,
        }

    coarse, fine = measured(16), measured(32)
    found = {
        name: extrapolated([coarse[name], fine[name]], orders=[2 if name in POINTWISE else 4])
        for name in coarse
    }
    return found | {f"shooting: {name}": value for name, value in step_in_b().items()}


def step_in_b() -> dict[str, float]:
    """min J(1/2, b) + |b|^2 / 2 is a Tikhonov problem; b = fp at its extremal."""
    space = POINT.controls(TimeMesh(1.0, 8), fixed={"bias": 0.5})
    start, target = np.ones((1, 1)), np.full((1, 1), 2.0)
    found = extremal(LearningProblem(POINT, start, target, space, penalty=Tikhonov(0.5)))
    kernel = found.state.states[:, 0, 0] * found.costate.states[:, 0, 0]
    end = 0.5 * float(found.state.final[0, 0] - 2.0) ** 2
    return {
        "b1(0)": float(kernel[0]),
        "b1(1)": float(kernel[-1]),
        "|b1|^2": 2 * (found.objective - end),
        "J(a1, b1)": end,
        "prox value": found.objective,
    }


@claim(
    "LM-63",
    statement="With b = 0 the residual of Algorithm 1 contracts by 1 / (1 + tau T) in each "
    "iteration, for any tau > 0.",
    paper=PAPER,
    references={f"J_{k}, tau = 1": 0.5 * 4.0**-k for k in (1, 2, 5)}
    | {"rate, tau = 1/4": 0.8, "rate, tau = 4": 0.2},
    tolerance={
        **{f"J_{k}, tau = 1": 1e-15 for k in (1, 2, 5)},
        "rate, tau = 1/4": 5e-14,
        "rate, tau = 4": 5e-14,
    },
    reason="the subproblems are quadratic and solved to a gradient of 1e-12: rounding is left, "
    "divided by residuals of 1e-3 in the rates",
)
def bias_alone() -> dict[str, float]:
    """f' = a from 0 towards 1, T = 1."""
    space = POINT.controls(TimeMesh(1.0, 3), fixed={"kernel": 0.0})
    problem = LearningProblem(POINT, np.zeros((1, 1)), np.ones((1, 1)), space)

    def objectives(step: float) -> np.ndarray:
        run = proximal_alternating(
            problem, step=step, inner=NewtonCG(gtol=1e-12), max_iterations=5, raise_on_failure=False
        )
        return run.history["objective"]

    found = {f"J_{k}, tau = 1": float(objectives(1.0)[k]) for k in (1, 2, 5)}
    for name, step in (("tau = 1/4", 0.25), ("tau = 4", 4.0)):
        values = objectives(step)
        found[f"rate, {name}"] = float(np.sqrt(values[5] / values[4]))
    return found


def one_unit() -> LearningProblem:
    """f' = a, a in [-1, 1], f(0) = 0, target 1/2, T = 1."""
    space = POINT.controls(TimeMesh(1.0, 4), fixed={"kernel": 0.0})
    return LearningProblem(
        POINT, np.zeros((1, 1)), np.full((1, 1), 0.5), space, admissible=Box(bias=(-1, 1))
    )


def plain(problem: LearningProblem) -> Solution:
    """Successive approximation from zero, without remedies."""
    return successive_approximation(problem, raise_on_failure=False)


@claim(
    "LM-64",
    statement="Successive approximation returns after two iterations (E35); one step is enough "
    "if the target is high.",
    paper=PAPER,
    references={
        "one unit: J_0": 0.125,
        "one unit: J_1": 0.125,
        "one unit: J_2": 1.125,
        "one unit: J_3": 0.125,
        "two blocks: J_0": 3.125,
        "two blocks: J_1": 1.25,
        "two blocks: J_2": 2.028779530607419,
        "two blocks: J_3": 1.25,
        "two-cycles": 2.0,
        "target out of reach: iterations": 1.0,
    },
    tolerance={f"one unit: J_{k}": 1e-15 for k in range(4)}
    | {f"two blocks: J_{k}": 1e-13 for k in (0, 1, 3)}
    | {"two blocks: J_2": 1e-12, "two-cycles": 0.0, "target out of reach: iterations": 0.0},
    reason="states are polynomials of degree one, but for J_2: Euler's method, extrapolated from "
    "16, 64, ... 4096 layers, which 1/3 cuts alike",
)
def two_cycles() -> dict[str, float]:
    """LM-64's unit, LM-54's two blocks, and LM-53's target 4."""
    unit = plain(one_unit())
    blocks = [plain(boxed([0.5, 0.5], [4.0, 0.0], layers=4**n)) for n in range(2, 7)]
    found = {f"one unit: J_{k}": float(unit.history["objective"][k]) for k in range(4)}
    found |= {f"two blocks: J_{k}": float(blocks[0].history["objective"][k]) for k in range(4)}
    found["two blocks: J_2"] = extrapolated(
        [float(run.history["objective"][2]) for run in blocks], orders=(1, 2, 3, 4), ratio=4.0
    )
    found["two-cycles"] = float(sum(run.status.name == "TWO_CYCLE" for run in (unit, blocks[-1])))
    far = plain(boxed([0.5], [4.0], grid=gauss_legendre(UNIT, 1)))
    found["target out of reach: iterations"] = far.statistics["iterations"]
    return found
