"""Terminal costs: how small they get with the horizon, and which control they leave (TP-03 to
TP-08, TP-11, TP-12).

On [0, 1], with the weight lambda / T: see TP-07.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from continuum import (
    AbsoluteError,
    LearningProblem,
    Logistic,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    rescale,
)
from solvers import RK4, NewtonCG, discretize, minimize, shoot
from solvers.pontryagin.extremals import Extremal

from ...bench.registry import claim
from .. import paper
from ..paper import scalar
from .common import PAPER

HORIZONS = (16.0, 36.0, 81.0)
SPEED = 1.4436354752
"""asinh 2: the speed of the control of least norm of TP-06."""


def on_unit(weight: float, target: float = 2.0, affine: bool = True) -> LearningProblem:
    """min |x(1) - target|^2 + weight int |u|^2 from 0: x' = w x + b, or x' = b."""
    mesh = TimeMesh(1.0, 8)
    return scalar(target, mesh, strength=weight, affine=affine, running=False)


def two_points(weight: float = 1.0, layers: int = 8) -> LearningProblem:
    """TP-08: x' = w tanh x + b on the line, -1/2 to -3/2 and 1/2 to 1."""
    return paper.two_points(weight, TimeMesh(1.0, layers))


def solved(problem: LearningProblem) -> Extremal:
    """By shooting; the residual of the costate at the end is that of phi, which is small."""
    return shoot(problem, atol=1e-12)


def misfit(problem: LearningProblem, found: Extremal) -> float:
    """phi(x(T)), the mean of |x - target|^2."""
    return float(np.mean((found.state.final - problem.target) ** 2))


def slope(values: Sequence[float]) -> float:
    """Of log phi against log T, by least squares, at T = 16, 36, 81."""
    return float(np.polyfit(np.log(HORIZONS), np.log(values), 1)[0])


def least(problem: LearningProblem, layers: int = 16) -> tuple[float, np.ndarray]:
    """V, the least int |u|^2 that reaches the targets in time 1, and its derivative in them: by
    RK4 on K and 2 K layers, extrapolated; errors of controls constant on layers are even in 1 / K.
    """
    found = []
    for count in (layers, 2 * layers):
        posed = replace(
            problem,
            controls=problem.network.controls(TimeMesh(1.0, count)),
            terminal=None,
            penalty=Tikhonov(1.0),
            endpoint=TerminalEquality(),
        )
        best = minimize(discretize(posed, RK4()), NewtonCG(gtol=1e-7))
        if best.multiplier is None:
            raise TypeError("a problem with an endpoint has a multiplier")
        found.append((best.objective, -posed.sample_weights * best.multiplier))
    (v1, d1), (v2, d2) = found
    return (4.0 * v2 - v1) / 3.0, (4.0 * d2 - d1) / 3.0


@claim(
    "TP-03",
    statement="x' = u with terminal cost |x(T) - 1|^2, lambda = 1: phi = 1 / (T + 1)^2.",
    paper=PAPER,
    references={"T = 16": 3.46020761e-3, "T = 36": 7.30460190e-4, "T = 81": 1.48720999e-4},
    relative_tolerance=4e-9,
    reason="the ledger prints nine digits, half a unit there is 3.4e-9; shooting agrees with the "
    "closed form to 1e-11",
)
def straight() -> dict[str, float]:
    """On [0, 1] with the weight 1 / T."""
    found = {}
    for horizon in HORIZONS:
        problem = on_unit(1.0 / horizon, 1.0, affine=False)
        found[f"T = {horizon:g}"] = misfit(problem, solved(problem))
    return found


@claim(
    "TP-04",
    statement="x' = w x + b from 0 to 2, terminal cost, lambda = 1: phi falls like (V'/2)^2 / T^2, "
    "V(z) = (asinh z)^2 (Table A).",
    paper=PAPER,
    references={
        "phi(1)": 4.3490501e-1,
        "phi(4)": 2.6749892e-2,
        "phi(16)": 1.6398532928e-3,
        "phi(36)": 3.2265133407e-4,
        "phi(81)": 6.3620533110e-5,
        "phi(256)": 6.3630091e-6,
        "phi(1024)": 3.9755257e-7,
        "J(16)": 0.1286211569,
        "J(36)": 0.0575690694,
        "J(81)": 0.0256658495,
        "slope": -2.00352,
        "prefactor": 0.416816677,
    },
    relative_tolerance={
        **{f"phi({t})": 1e-7 for t in (1, 4, 256, 1024)},
        **{f"phi({t})": 2e-9 for t in (16, 36, 81)},
        **{f"J({t})": 2e-9 for t in (16, 36, 81)},
        "slope": 3e-6,
        "prefactor": 1e-6,
    },
    reason="shooting to 1e-11, printed to eight to eleven digits; the prefactor is (dV/dy)^2 / 4 "
    "from the multiplier of the endpoint on 16 and 32 layers, extrapolated",
)
def table_a() -> dict[str, float]:
    """By shooting; the limit from the problem with an endpoint."""
    found, misfits = {}, {}
    for horizon in (1.0, 4.0, 16.0, 36.0, 81.0, 256.0, 1024.0):
        problem = on_unit(1.0 / horizon)
        extremal = solved(problem)
        misfits[horizon] = misfit(problem, extremal)
        found[f"phi({horizon:g})"] = misfits[horizon]
        if horizon in HORIZONS:
            found[f"J({horizon:g})"] = extremal.objective
    found["slope"] = slope([misfits[horizon] for horizon in HORIZONS])
    found["prefactor"] = float(np.sum(least(on_unit(1.0))[1] ** 2)) / 4.0
    return found


@claim(
    "TP-05",
    statement="The control of TP-04 has constant speed, |u^1| = 1.4253774441 at T = 16; on Euler's "
    "64 layers it has not: the spread is O(h).",
    paper=PAPER,
    references={
        "at 0": 1.4253774441,
        "at 1": 1.4253774441,
        "Euler, least": 1.42847,
        "Euler, largest": 1.44239,
        "spread on 64 layers over that on 128": 2.0,
    },
    relative_tolerance={
        "at 0": 1e-9,
        "at 1": 1e-9,
        "Euler, least": 5e-6,
        "Euler, largest": 5e-6,
        "spread on 64 layers over that on 128": 0.02,
    },
    reason="printed to eleven and six digits; a first order is 2 to O(h)",
)
def constant_speed() -> dict[str, float]:
    """u = -p (x, 1) / (2 weight) minimises the Hamiltonian at the costate p."""
    extremal = solved(on_unit(1.0 / 16.0))
    x, p = (path.states[:, 0, 0] for path in (extremal.state, extremal.costate))
    speed = 8.0 * np.abs(p) * np.hypot(x, 1.0)
    ranges = []
    for layers in (64, 128):
        problem = scalar(2.0, TimeMesh(1.0, layers), strength=1.0 / 16.0, running=False)
        best = minimize(problem, NewtonCG(gtol=1e-8)).control
        size = np.hypot(best["weight"][:, 0, 0], best["bias"][:, 0])
        ranges.append((float(np.min(size)), float(np.max(size))))
    (low, high), (finer_low, finer_high) = ranges
    return {
        "at 0": float(speed[0]),
        "at 1": float(speed[-1]),
        "Euler, least": low,
        "Euler, largest": high,
        "spread on 64 layers over that on 128": (high - low) / (finer_high - finer_low),
    }


@claim(
    "TP-06",
    statement="T u^T(T.) tends to u* = A (tanh As, sech As), A = asinh 2, at the rate 1 / T; the "
    "scaling (1/T) u^T(./T) of the slides tends to 0 (E2).",
    paper=PAPER,
    references={
        "A": SPEED,
        "largest |u* - A (tanh, sech)|": 0.0,
        "T |T u^T(T.) - u*|": 0.3255,
        "slides, T = 81": 2.19e-4,
    },
    tolerance={
        "A": 2e-7,
        "largest |u* - A (tanh, sech)|": 2e-4,
        "T |T u^T(T.) - u*|": 5e-4,
        "slides, T = 81": 5e-7,
    },
    reason="A is V^(1/2) extrapolated from 16 and 32 layers; on 32 layers controls differ by "
    "O(h^2) = 1e-4; the distance at T = 1024 differs from its limit by O(1/T)",
)
def limit_control() -> dict[str, float]:
    """The control of least norm from the endpoint, those of T = 1024 and 81 by shooting."""
    posed = replace(scalar(2.0, TimeMesh(1.0, 32)), running=None, endpoint=TerminalEquality())
    best = minimize(discretize(posed, RK4()), NewtonCG(gtol=1e-7)).control
    s = (np.arange(32) + 0.5) / 32
    exact = SPEED * np.array([np.tanh(SPEED * s), 1.0 / np.cosh(SPEED * s)])
    apart = np.array([best["weight"][:, 0, 0], best["bias"][:, 0]]) - exact
    horizon, extremal = 1024.0, solved(on_unit(1.0 / 1024.0))
    t, x, p = (
        extremal.state.times,
        extremal.state.states[:, 0, 0],
        extremal.costate.states[:, 0, 0],
    )
    u = -0.5 * horizon * p * np.array([x, np.ones_like(x)])
    limit = SPEED * np.array([np.tanh(SPEED * t), 1.0 / np.cosh(SPEED * t)])
    squares = np.sum((u - limit) ** 2, axis=0)
    # int_0^1 |u^T(s/T)|^2 ds / T^2, u^T(t) = u^1(t/T) / T, whose speed is constant
    at_81 = solved(on_unit(1.0 / 81.0))
    speed = 0.5 * 81.0 * abs(float(at_81.costate.states[0, 0, 0]))
    return {
        "A": least(on_unit(1.0))[0] ** 0.5,
        "largest |u* - A (tanh, sech)|": float(np.max(np.hypot(*apart))),
        "T |T u^T(T.) - u*|": horizon * float(np.trapezoid(squares, t)) ** 0.5,
        "slides, T = 81": speed / 81.0**2,
    }


@claim(
    "TP-07",
    statement="Only lambda / T counts: (T, lambda) = (16, 1), (4, 1/4), (1, 1/16) are one problem.",
    paper=PAPER,
    references={
        f"{what}, T = {horizon}": value
        for horizon in (16, 4, 1)
        for what, value in (("phi", 1.6398532928e-3), ("J", 0.1286211569))
    }
    | {"J of the rescaled control less J": 0.0},
    tolerance={
        **{f"phi, T = {horizon}": 2e-12 for horizon in (16, 4, 1)},
        **{f"J, T = {horizon}": 1e-10 for horizon in (16, 4, 1)},
        "J of the rescaled control less J": 1e-15,
    },
    reason="printed to eleven and ten digits; rescaling is exact to rounding",
)
def one_problem() -> dict[str, float]:
    """Each by shooting, and the ResNet of the first on the horizon of the last."""
    found = {}
    for horizon, strength in ((16.0, 1.0), (4.0, 0.25), (1.0, 0.0625)):
        problem = scalar(2.0, TimeMesh(horizon, 8), strength=strength, running=False)
        extremal = solved(problem)
        found[f"phi, T = {horizon:g}"] = misfit(problem, extremal)
        found[f"J, T = {horizon:g}"] = extremal.objective
        if horizon == 16.0:
            other, control = rescale(problem, extremal.control, 1.0)
            found["J of the rescaled control less J"] = discretize(other).value(
                control
            ) - discretize(problem).value(extremal.control)
    return found


@claim(
    "TP-08",
    statement="Two points on the line, x' = w tanh x + b, lambda = 1/2: (T/lambda)^2 phi tends to "
    "(N/4) |grad V|^2, grad V the multiplier of the endpoint (Table B).",
    paper=PAPER,
    references={
        "V": 1.3168174030,
        "dV/dy_1": -1.55381802,
        "dV/dy_2": 1.10986964,
        "(N/4) |grad V|^2": 1.82308053,
        "phi(16)": 1.67640055e-3,
        "phi(36)": 3.42360035e-4,
        "phi(81)": 6.86412517e-5,
        "phi(1024)": 4.3424497e-7,
        "J(16)": 0.039422810,
        "slope": -1.97027,
    },
    relative_tolerance={
        "V": 5e-9,
        "dV/dy_1": 1e-7,
        "dV/dy_2": 1e-7,
        "(N/4) |grad V|^2": 1e-7,
        "phi(16)": 3e-9,
        "phi(36)": 3e-9,
        "phi(81)": 3e-9,
        "phi(1024)": 1e-7,
        "J(16)": 2e-8,
        "slope": 3e-6,
    },
    reason="32 and 64 layers, extrapolated, leave O(h^4) = 2e-9 in V and the accuracy of the "
    "augmented Lagrangian, 1e-7, in its gradient; shooting to 1e-11",
)
def table_b() -> dict[str, float]:
    """V and its gradient from the endpoint, phi by shooting."""
    value, gradient = least(two_points(), 32)
    found = {
        "V": value,
        "dV/dy_1": float(gradient[0, 0]),
        "dV/dy_2": float(gradient[0, 1]),
        "(N/4) |grad V|^2": 0.5 * float(np.sum(gradient**2)),
    }
    misfits = {}
    for horizon in (*HORIZONS, 1024.0):
        problem = two_points(0.5 / horizon)
        extremal = solved(problem)
        misfits[horizon] = misfit(problem, extremal)
        found[f"phi({horizon:g})"] = misfits[horizon]
        if horizon == 16.0:
            found["J(16)"] = extremal.objective
    found["slope"] = slope([misfits[horizon] for horizon in HORIZONS])
    return found


@claim(
    "TP-11",
    statement="With the loss |x - y|, not squared, phi is exactly 0 from a horizon on: where "
    "lambda V'(y) / T, the multiplier of the endpoint, is at most 1.",
    paper=PAPER,
    references={
        "x' = u, D = lambda = 1": 2.0,
        "x' = w x + b, y = lambda = 1": 1.2464504803,
        "x' = u, T = 1.6: phi": 0.2,
        "x' = w x + b, T = 1.3: fall of J along random steps": 0.0,
        "x' = w x + b, T = 1.3: phi": 0.0,
    },
    tolerance={
        "x' = u, D = lambda = 1": 1e-6,
        "x' = w x + b, y = lambda = 1": 1e-6,
        "x' = u, T = 1.6: phi": 1e-9,
        "x' = w x + b, T = 1.3: fall of J along random steps": 1e-15,
        "x' = w x + b, T = 1.3: phi": 1e-8,
    },
    reason="multipliers are accurate to 1e-7; the control of the endpoint, which is that of the "
    "loss above the threshold, is reached to 1e-8, and random steps do not lower J at all",
)
def exact_zeros() -> dict[str, float]:
    """Thresholds from the endpoint; below that of x' = u phi is 1 - T / (2 lambda).

    Above the other the control of the endpoint is judged by the problem with the loss itself: none
    of 200 random steps from it, each coefficient moved by 1e-3, is lower.
    """
    straight = replace(on_unit(1.0, 1.0, affine=False), terminal=None, endpoint=TerminalEquality())
    below = replace(on_unit(1.0 / 1.6, 1.0, affine=False), terminal=AbsoluteError(groups="sample"))
    free = minimize(below, NewtonCG(gtol=1e-9))
    left = abs(1.0 - float(np.mean(free.control["bias"])))
    rate = least(on_unit(1.0, 1.0))[1]
    posed = replace(on_unit(1.0 / 1.3, 1.0), terminal=None, endpoint=TerminalEquality())
    best = minimize(discretize(posed, RK4()), NewtonCG(gtol=1e-8))
    loss = AbsoluteError(groups="sample")
    whole = discretize(replace(posed, terminal=loss, endpoint=None), RK4())
    rng = np.random.default_rng(0)
    at, lowest = whole.value(best.control), np.inf
    for _ in range(200):
        step = whole.space.random(rng, 1e-3)
        lowest = min(lowest, whole.value(best.control + step) - at)
    multiplier = minimize(straight, NewtonCG(gtol=1e-8)).multiplier
    if multiplier is None:
        raise TypeError("a problem with an endpoint has a multiplier")
    return {
        "x' = u, D = lambda = 1": float(np.abs(multiplier[0, 0])),
        "x' = w x + b, y = lambda = 1": float(np.abs(rate[0, 0])),
        "x' = u, T = 1.6: phi": left,
        "x' = w x + b, T = 1.3: fall of J along random steps": max(0.0, -lowest),
        "x' = w x + b, T = 1.3: phi": best.statistics["violation"],
    }


@claim(
    "TP-12",
    statement="Logistic loss log(1 + exp(-x)) has no zero: phi ~ (2 lambda / T) W(T / 2 lambda) "
    "falls more slowly than 1 / T; with the wrong sign (E5) x goes the other way.",
    paper=PAPER,
    references={
        "phi(16)": 0.20480474,
        "phi(256)": 0.028169584,
        "phi(1e6)": 2.14955397e-5,
        "1e6 phi(1e6)": 21.4955,
        "wrong sign, x(16)": -1.48155,
    },
    relative_tolerance={
        "phi(16)": 3e-8,
        "phi(256)": 3e-8,
        "phi(1e6)": 3e-9,
        "1e6 phi(1e6)": 3e-6,
        "wrong sign, x(16)": 1e-6,
    },
    reason="as many digits as the ledger prints; shooting to 1e-11",
)
def logistic() -> dict[str, float]:
    """x' = u from 0, label 1, lambda = 1; the wrong sign is the label 0."""

    def end(horizon: float, label: float) -> float:
        mesh = TimeMesh(1.0, 4)
        smooth = scalar(label, mesh, strength=1.0 / horizon, affine=False, running=False)
        problem = replace(smooth, terminal=Logistic())
        return float(solved(problem).state.final[0, 0])

    found = {t: float(np.log1p(np.exp(-end(t, 1.0)))) for t in (16.0, 256.0, 1e6)}
    return {
        "phi(16)": found[16.0],
        "phi(256)": found[256.0],
        "phi(1e6)": found[1e6],
        "1e6 phi(1e6)": 1e6 * found[1e6],
        "wrong sign, x(16)": end(16.0, 0.0),
    }
