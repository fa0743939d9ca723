"""Products of scalars: Lyapunov stability, period two, starts of the wrong sign, limits of the
double flow (NS-02, NS-03, NS-06 to NS-09).
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq

from continuum import Control, LearningProblem, TimeMesh
from solvers import DOP853, FixedStep, Solution, Status, gradient_flow, integrate, minimize
from solvers.linear_networks import (
    ProductObjective,
    as_control,
    critical_step,
    deep_linear,
    disproportionate_factors,
    linear_start,
    matrices,
)

from ...bench.registry import claim
from .common import PAPER


def descend(
    problem: LearningProblem, step: float, iterations: int, start: Control | None = None
) -> Solution[Control]:
    """The run of so many steps, from the identity unless said otherwise, converged or not."""
    method = FixedStep(step, gtol=1e-300, max_iterations=iterations)
    start = linear_start(problem) if start is None else start
    return minimize(ProductObjective(problem), method, initial=start, raise_on_failure=False)


def weights(control: Control, part: str | None = None) -> np.ndarray:
    """(L,): the factors w_i of a control of scalars."""
    return matrices(control, part)[:, 0, 0]


def started(problem: LearningProblem, factors: Sequence[float] | np.ndarray) -> Control:
    """The control with these factors w_i."""
    return as_control(problem, np.reshape(factors, (-1, 1, 1)))


@claim(
    "NS-02",
    statement="Near w* = (kappa, ..., kappa, kappa^-4) 2^(1/5), L = 5: below the critical step the "
    "error vanishes and the offset from w* along the equilibria stays, so w* is stable and not "
    "asymptotically; above it the iterates leave, for kappa = 1 to period two, for kappa = 1.2 to "
    "another equilibrium, which allows this step.",
    paper=PAPER,
    references={
        "0.95, kappa = 1: |e|": 0.0,
        "0.95, kappa = 1: |w - w*| over the offset along the equilibria": 1.0,
        "0.95, kappa = 1.2: |e|": 0.0,
        "0.95, kappa = 1.2: |w - w*| over the offset along the equilibria": 1.0,
        "1.05, kappa = 1: period two": 1.0,
        "1.05, kappa = 1.2: |e|": 0.0,
        "1.05, kappa = 1.2: |w - w*|": 0.069,
        "1.05, kappa = 1.2: step over the critical step there is below 1": 1.0,
    },
    tolerance={
        "0.95, kappa = 1: |e|": 1e-13,
        "0.95, kappa = 1: |w - w*| over the offset along the equilibria": 1e-5,
        "0.95, kappa = 1.2: |e|": 1e-13,
        "0.95, kappa = 1.2: |w - w*| over the offset along the equilibria": 1e-5,
        "1.05, kappa = 1: period two": 0.0,
        "1.05, kappa = 1.2: |e|": 1e-13,
        "1.05, kappa = 1.2: |w - w*|": 5e-4,
        "1.05, kappa = 1.2: step over the critical step there is below 1": 0.0,
    },
    reason="rounding of |e|; the offset is 1e-7, so its square is 1e-7 of it, and the equilibria "
    "are curved; half a unit of the last digit printed",
)
def lyapunov_stability() -> dict[str, float]:
    """4000 steps from an offset of length 1e-7 in a direction drawn at random."""
    problem, found = deep_linear(2.0, 5), {}
    away = np.random.default_rng(0).standard_normal(5)
    away *= 1e-7 / np.linalg.norm(away)
    for kappa in (1.0, 1.2):
        w = disproportionate_factors(np.array([[2.0]]), 5, kappa)[:, 0, 0]
        normal = (1.0 / w) / np.linalg.norm(1.0 / w)  # of the surface prod w_i = 2
        critical = critical_step(problem, started(problem, w))
        start = started(problem, w + away)
        for share in (0.95, 1.05):
            name = f"{share:g}, kappa = {kappa:g}"
            run = descend(problem, share * critical, 4000, start)
            end = weights(run.control)
            if (share, kappa) == (1.05, 1.0):
                found[f"{name}: period two"] = float(run.status is Status.PERIOD_TWO)
                continue
            found[f"{name}: |e|"] = abs(float(np.prod(end)) - 2.0)
            distance = float(np.linalg.norm(end - w))
            if share < 1.0:
                along = float(np.linalg.norm(away - normal * (normal @ away)))
                found[f"{name}: |w - w*| over the offset along the equilibria"] = distance / along
            else:
                found[f"{name}: |w - w*|"] = distance
                there = critical_step(problem, run.control)
                name = f"{name}: step over the critical step there is below 1"
                found[name] = float(share * critical < there)
    return found


@claim(
    "NS-03",
    statement="L = 2, lambda = 1, step 1.02, above delta_max = 1, from (1.01, 1): the iterates "
    "stay bounded and have period two.",
    paper=PAPER,
    references={"period two": 1.0, "lower product": 0.8512015012, "upper product": 1.1291906557},
    tolerance={"period two": 0.0, "lower product": 5e-11, "upper product": 5e-11},
    reason="half a unit of the last digit printed",
)
def two_products() -> dict[str, float]:
    """The last iterate, and the one after it."""
    problem = deep_linear(1.0, 2)
    run = descend(problem, 1.02, 1000, started(problem, [1.01, 1.0]))
    after = descend(problem, 1.02, 1, run.control)
    lower, upper = sorted(float(np.prod(weights(r.control))) for r in (run, after))
    return {
        "period two": float(run.status is Status.PERIOD_TWO),
        "lower product": lower,
        "upper product": upper,
    }


@claim(
    "NS-06",
    statement="Proposition 3, lambda = -1, delta_c = 1/2: its condition is sufficient, not "
    "necessary. At 1.02 delta_c w goes to 0 for L = 2 and 4, to -1 for L = 3; at delta_c it is 0 "
    "after one step; at 1.5 delta_c, above delta_max = 2/3, L = 3 has period two.",
    paper=PAPER,
    references={
        "1.02, L = 2: w[20] / (w[1] 0.49^19)": 1.0,
        "1.02, L = 3: w[400]": -1.0,
        "1.02, L = 4: (w[k]^-2 - w[1]^-2) / (2 delta (k - 1)), k = 1000": 1.0,
        "1, L = 2: w[1]": 0.0,
        "1, L = 3: w[1]": 0.0,
        "1, L = 4: w[1]": 0.0,
        "1.5, L = 3: period two": 1.0,
        "1.5, L = 3: loss at even k": 0.0218,
    },
    tolerance={
        "1.02, L = 2: w[20] / (w[1] 0.49^19)": 1e-3,
        "1.02, L = 3: w[400]": 1e-15,
        "1.02, L = 4: (w[k]^-2 - w[1]^-2) / (2 delta (k - 1)), k = 1000": 2e-3,
        "1, L = 2: w[1]": 0.0,
        "1, L = 3: w[1]": 0.0,
        "1, L = 4: w[1]": 0.0,
        "1.5, L = 3: period two": 0.0,
        "1.5, L = 3: loss at even k": 5e-5,
    },
    reason="rounding; the linear law of L = 2 leaves out w[1]^2 = 4e-4, that of L = 4, w' = -delta "
    "w^3, terms of relative size (3/2) delta w[1]^2 = 3e-4; half a unit of the last digit printed",
)
def negative_eigenvalue() -> dict[str, float]:
    """All factors are equal, and stay so up to rounding, which for L = 2, where the origin is a
    strict saddle, would take over after some 40 steps.
    """
    found: dict[str, float] = {}
    for layers, steps in ((2, 20), (3, 400), (4, 1000)):
        problem = deep_linear(-1.0, layers)
        w = weights(descend(problem, 0.51, steps).control)[0]
        first = weights(descend(problem, 0.51, 1).control)[0]
        if layers == 2:
            found["1.02, L = 2: w[20] / (w[1] 0.49^19)"] = float(w / (first * 0.49**19))
        elif layers == 3:
            found["1.02, L = 3: w[400]"] = float(w)
        else:
            law = (w**-2 - first**-2) / (2.0 * 0.51 * (steps - 1))
            found["1.02, L = 4: (w[k]^-2 - w[1]^-2) / (2 delta (k - 1)), k = 1000"] = float(law)
        found[f"1, L = {layers}: w[1]"] = float(weights(descend(problem, 0.5, 1).control)[0])
    run = descend(deep_linear(-1.0, 3), 0.75, 2000)
    found["1.5, L = 3: period two"] = float(run.status is Status.PERIOD_TWO)
    found["1.5, L = 3: loss at even k"] = float(run.history["objective"][::2][-1])
    return found


@claim(
    "NS-07",
    statement="L = 4, lambda = -1, delta = 0.25: from w = 1 the decay to 0 is algebraic, "
    "w[k] (2 delta |lambda| k)^(1/2) -> 1.",
    paper=PAPER,
    references={"k = 1000": 0.99445, "k = 10000": 0.99935, "k = 100000": 0.99993},
    tolerance=5e-6,
    reason="half a unit of the last digit printed",
)
def algebraic_decay() -> dict[str, float]:
    """One run of 1e5 steps, in three parts."""
    problem, found, done = deep_linear(-1.0, 4), {}, 0
    control = linear_start(problem)
    for k in (1000, 10000, 100000):
        control = descend(problem, 0.25, k - done, control).control
        found[f"k = {k}"] = float(weights(control)[0]) * (2.0 * 0.25 * k) ** 0.5
        done = k
    return found


@claim(
    "NS-08",
    statement="Proposition 3 holds on the symmetric subspace only: for L = 2, lambda = -1, the "
    "origin is a strict saddle, and from (1, 1 + 1e-8) descent goes past it to (-1, 1).",
    paper=PAPER,
    references={
        "loss at k = 20": 0.5,
        "loss at k = 60": 0.49998,
        "loss at k = 100": 2.66e-10,
        "w_1": -1.0,
        "w_2": 1.0,
    },
    tolerance={
        "loss at k = 20": 5e-5,
        "loss at k = 60": 5e-6,
        "loss at k = 100": 5e-13,
        "w_1": 1e-9,
        "w_2": 1e-9,
    },
    reason="half a unit of the last digit printed; w_1 and w_2 after 200 steps, up to what is left "
    "of the imbalance 2e-8 of the start",
)
def asymmetry_escapes() -> dict[str, float]:
    """delta = 0.25."""
    problem = deep_linear(-1.0, 2)
    run = descend(problem, 0.25, 200, started(problem, [1.0, 1.0 + 1e-8]))
    loss = run.history["objective"]
    w = weights(run.control)
    return {
        **{f"loss at k = {k}": float(loss[k]) for k in (20, 60, 100)},
        "w_1": float(w[0]),
        "w_2": float(w[1]),
    }


LIMITS = {
    (-1.0, 2): (0.7861513778, 1.2720196495),
    (-1.5, 2): (0.7071067812, 1.4142135624),
    (-1.5, 4): (0.8745541216, 1.2016441495),
    (-0.5, 20): (0.9892949548, 1.0134509630),
    (-1.5, 20): (0.9778842260, 1.0387576702),
}
"""(w, z) where the flow of a double network from w = z = 1 ends, by (lambda, L)."""


@claim(
    "NS-09",
    statement="The gradient flow of a double network of scalars from the identity conserves wz "
    "(L = 2) or w^(2-L) + z^(2-L) = 2, which gives its limit; descent ends beside it, by O(delta).",
    paper=PAPER,
    references={
        **{
            f"lambda = {lam:g}, L = {layers}: {name}": value
            for (lam, layers), pair in LIMITS.items()
            for name, value in zip("wz", pair, strict=True)
        },
        "integrations of more than 700 steps": 0.0,
        "largest distance from the conserved curve": 0.0,
        "distance of descent, step 0.01 over 0.005": 2.0,
    },
    tolerance={
        **{
            f"lambda = {lam:g}, L = {layers}: {name}": 1e-10
            for lam, layers in LIMITS
            for name in "wz"
        },
        "integrations of more than 700 steps": 0.0,
        "largest distance from the conserved curve": 1e-11,
        "distance of descent, step 0.01 over 0.005": 0.05,
    },
    reason="half a unit of the last digit printed, and the error of the integration, below that; "
    "at most 700 steps; the ratio has a term of second order in the step, of 0.02",
)
def double_limits() -> dict[str, float]:
    """The flow of all 2 L weights up to t = 40 / L, when exp(-40) is left; the curve's own point,
    by bisection; and descent for lambda = -1, L = 2.
    """
    found: dict[str, float] = {}
    long, off = 0, 0.0
    for lam, layers in LIMITS:
        problem = deep_linear(lam, layers, double=True)
        flow = gradient_flow(ProductObjective(problem))
        run = integrate(
            flow,
            flow.control(TimeMesh(40.0 / layers, 1)),
            flow.state(linear_start(problem)),
            DOP853(rtol=1e-12, atol=1e-13),
        )
        end = flow.control_of(run.trajectory.final)
        for name, wanted in zip("wz", curve_point(lam, layers), strict=True):
            w = weights(end, name)
            off = max(off, float(np.max(np.abs(w - wanted))))
            found[f"lambda = {lam:g}, L = {layers}: {name}"] = float(w[0])
        long += run.statistics["steps"] > 700
    pair, (w, _) = deep_linear(-1.0, 2, double=True), curve_point(-1.0, 2)
    apart = [abs(weights(descend(pair, s, int(8 / s)).control, "w")[0] - w) for s in (0.01, 0.005)]
    return {
        **found,
        "integrations of more than 700 steps": float(long),
        "largest distance from the conserved curve": off,
        "distance of descent, step 0.01 over 0.005": float(apart[0] / apart[1]),
    }


def curve_point(target: float, layers: int) -> tuple[float, float]:
    """(w, z) with w^L - z^L = target < 0 on the conserved curve through (1, 1)."""

    def other(w: float) -> float:
        return 1.0 / w if layers == 2 else (2.0 - w ** (2 - layers)) ** (1.0 / (2 - layers))

    least = 1e-3 if layers == 2 else (2.0 - 1e-9) ** (1.0 / (2 - layers))
    w = float(
        brentq(lambda w: w**layers - other(w) ** layers - target, least, 1.0, xtol=1e-15)  # type: ignore[arg-type]
    )
    return w, other(w)
