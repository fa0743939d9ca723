"""Which steps converge: sharpness, its bounds, and runs on both sides (NS-01, NS-04, NS-05, NS-10,
NS-11, NS-12, NS-17).
"""

import numpy as np
from scipy.optimize import brentq

from continuum import Affine, LearningProblem, NeuralODE2, SquaredError, TimeMesh, identity
from solvers import FixedStep, Solution, Status, minimize
from solvers.linear_networks import (
    as_control,
    balanced_factors,
    critical_step,
    deep_linear,
    disproportionate_factors,
    linear_start,
    matrices,
    monotone_rate,
    monotone_step,
    product_sharpness,
    random_factors,
    root_factors,
    sharpness,
    sharpness_bound,
    step_bound,
)

from ...bench.registry import claim
from .common import PAPER


def descend(problem: LearningProblem, step: float, iterations: int) -> Solution:
    """The run of so many steps from the identity, which need not converge."""
    method = FixedStep(step, gtol=1e-300, max_iterations=iterations)
    return minimize(problem, method, initial=linear_start(problem), raise_on_failure=False)


def sheared(size: float) -> np.ndarray:
    """R of NS-12."""
    return np.array([[1.0, size], [0.0, 0.5]])


@claim(
    "NS-01",
    statement="Proposition 1: w = (kappa, ..., kappa, kappa^-4) 2^(1/5), L = 5, is unstable for "
    "steps above 2 / (sigma |g|^2), which falls with the disproportion kappa.",
    paper=PAPER,
    references={
        "kappa = 1": 0.131950791077,
        "kappa = 1.2": 0.093217255272,
        "kappa = 1.5": 0.024072739143,
        "kappa = 2": 0.002567136013,
        "kappa = 3": 1.00550109e-4,
    },
    tolerance={
        "kappa = 1": 5e-13,
        "kappa = 1.2": 5e-13,
        "kappa = 1.5": 5e-13,
        "kappa = 2": 5e-13,
        "kappa = 3": 5e-13,
    },
    reason="half a unit of the last digit printed; the top eigenvalue of the Hessian by "
    "Hessian-vector products",
)
def critical_steps() -> dict[str, float]:
    """2 / sharpness of the deep linear problem at these factors."""
    problem, found = deep_linear(2.0, 5), {}
    for kappa in (1.0, 1.2, 1.5, 2.0, 3.0):
        control = as_control(problem, disproportionate_factors(np.array([[2.0]]), 5, kappa))
        found[f"kappa = {kappa:g}"] = critical_step(problem, control)
    return found


@claim(
    "NS-04",
    statement="Proposition 2: from w_i = 1 in steps of delta_c / 2, w_i goes to lambda^(1/L) by a "
    "factor of at most rho in each step.",
    paper=PAPER,
    references={
        "lambda = 3, L = 4: delta_c": 0.0481125224,
        "lambda = 3, L = 4: rho": 0.8477808347,
        "lambda = 3, L = 4: w[1]": 1.0481125224,
        "lambda = 3, L = 4: w[10]": 1.3115386618,
        "lambda = 0.2, L = 4: delta_c": 0.4140746188,
        "lambda = 0.2, L = 4: rho": 0.9259280804,
        "lambda = 0.2, L = 4: w[10]": 0.7130897463,
        "lambda = 1.5, L = 20: rho": 0.7175097843,
        "lambda = 1.5, L = 20: w[10]": 1.0204134663,
        "most of |w[k] - w*| / (rho^k |1 - w*|)": 1.0,
    },
    tolerance={
        "lambda = 3, L = 4: delta_c": 5e-11,
        "lambda = 3, L = 4: rho": 5e-11,
        "lambda = 3, L = 4: w[1]": 5e-11,
        "lambda = 3, L = 4: w[10]": 5e-11,
        "lambda = 0.2, L = 4: delta_c": 5e-11,
        "lambda = 0.2, L = 4: rho": 5e-11,
        "lambda = 0.2, L = 4: w[10]": 5e-11,
        "lambda = 1.5, L = 20: rho": 5e-11,
        "lambda = 1.5, L = 20: w[10]": 5e-11,
        "most of |w[k] - w*| / (rho^k |1 - w*|)": 1e-12,
    },
    reason="half a unit of the last digit printed; the bound on the decay is an equality at k = 0, "
    "and for lambda > 1 at k = 1",
)
def monotone_descent() -> dict[str, float]:
    """Runs of 10 steps; the formulas of the proposition."""
    found: dict[str, float] = {}
    most = 0.0
    for lam, layers in ((3.0, 4), (0.2, 4), (1.5, 20)):
        problem, name = deep_linear(lam, layers), f"lambda = {lam:g}, L = {layers}"
        step, root = 0.5 * monotone_step(lam, layers), lam ** (1 / layers)
        rho = monotone_rate(lam, layers, step)
        if layers == 4:
            found[f"{name}: delta_c"] = 2.0 * step
        found[f"{name}: rho"] = rho
        for k in range(11):
            w = float(matrices(descend(problem, step, k).control)[0, 0, 0]) if k else 1.0
            most = max(most, abs(w - root) / (rho**k * abs(1.0 - root)))
            if k == 10 or (k, lam) == (1, 3.0):
                found[f"{name}: w[{k}]"] = w
    return {**found, "most of |w[k] - w*| / (rho^k |1 - w*|)": most}


@claim(
    "NS-05",
    statement="Theorem 2 for R = diag(1, 0.1), L = 3, at its longest step 1/3: the small "
    "eigenvalue decides, with the rate 1 - 0.1^(4/3).",
    paper=PAPER,
    references={"late ratio": 0.9535841, "|w[100] - 0.1^(1/3)|": 7.128337e-4},
    tolerance={"late ratio": 5e-8, "|w[100] - 0.1^(1/3)|": 5e-11},
    reason="half a unit of the last digit printed; the ratio is that of iterations 400 and 401",
)
def slow_eigenvalue() -> dict[str, float]:
    """The second diagonal entry of W_1 in runs of 100, 400 and 401 steps."""
    problem, root = deep_linear(np.diag([1.0, 0.1]), 3), 0.1 ** (1 / 3)
    away = {
        k: abs(float(matrices(descend(problem, 1 / 3, k).control)[0, 1, 1]) - root)
        for k in (100, 400, 401)
    }
    return {"late ratio": away[401] / away[400], "|w[100] - 0.1^(1/3)|": away[100]}


@claim(
    "NS-10",
    statement="A double network of scalars that flows from the identity to w^L - z^L = lambda < 0 "
    "ends sharper than the single one of |lambda|: L = 20, |lambda| = 1.5.",
    paper=PAPER,
    references={
        "double: sharpness": 93.38399261,
        "double: critical step": 0.02141695,
        "single: sharpness": 43.211903,
        "single: critical step": 0.0462835,
    },
    tolerance={
        "double: sharpness": 5e-9,
        "double: critical step": 5e-9,
        "single: sharpness": 5e-7,
        "single: critical step": 5e-8,
    },
    reason="half a unit of the last digit printed",
)
def double_sharpness() -> dict[str, float]:
    """At the limit of the flow, w^(2-L) + z^(2-L) = 2, and at the root of |lambda|."""
    layers, lam = 20, -1.5

    def left(w: float) -> float:
        return w**layers - (2.0 - w ** (2 - layers)) ** (layers / (2 - layers)) - lam

    w = float(brentq(left, 0.967, 1.0, xtol=1e-15, rtol=1e-15))  # type: ignore[arg-type]
    z = (2.0 - w ** (2 - layers)) ** (1 / (2 - layers))
    pair = deep_linear(lam, layers, double=True)
    limit = as_control(pair, [w] * layers, [z] * layers)
    single = deep_linear(-lam, layers)
    root = linear_start(single, "balanced")
    return {
        "double: sharpness": sharpness(pair, limit),
        "double: critical step": critical_step(pair, limit),
        "single: sharpness": sharpness(single, root),
        "single: critical step": critical_step(single, root),
    }


@claim(
    "NS-11",
    statement="Theorem 1, corrected: for any R and any factorisation the sharpness is at least "
    "L |R|_2^(2(L-1)/L); balanced factors of the singular value decomposition have it.",
    paper=PAPER,
    references={
        "draws below the bound": 0.0,
        "balanced factors, least ratio": 1.0,
        "balanced factors, largest ratio": 1.0,
    },
    tolerance={
        "draws below the bound": 0.0,
        "balanced factors, least ratio": 1e-12,
        "balanced factors, largest ratio": 1e-12,
    },
    reason="a proved bound, so none of 300 draws is below it by more than rounding, 1e-12; the "
    "least ratio among draws depends on the draws",
)
def any_factorisation() -> dict[str, float]:
    """300 random matrices, 1 to 6 units and 2 to 6 layers, factors near to balanced and far."""
    rng = np.random.default_rng(0)
    below, even = 0, []
    for _ in range(300):
        n, layers = int(rng.integers(1, 7)), int(rng.integers(2, 7))
        target = rng.standard_normal((n, n))
        least = sharpness_bound(target, layers)
        factors = random_factors(target, layers, rng, 10.0 ** rng.uniform(-3.0, 0.0))
        below += product_sharpness(factors) < least * (1.0 - 1e-12)
        even.append(product_sharpness(balanced_factors(target, layers)) / least)
    return {
        "draws below the bound": float(below),
        "balanced factors, least ratio": min(even),
        "balanced factors, largest ratio": max(even),
    }


@claim(
    "NS-12",
    statement="Theorem 2 is false for R = [[1, K], [0, 1/2]], L = 3: positive eigenvalues, but "
    "not normal.  At its longest step 1/3: other factors than R^(1/3) (K = 1), period two "
    "(1.5), divergence (3, 5), which the spectral norm tells and the spectral radius does not.",
    paper=PAPER,
    references={
        "K = 1: loss at 5000": 0.0,
        "K = 1: max |W_i - R^(1/3)|": 0.0292,
        "K = 1.5: loss at even k": 0.079,
        "K = 1.5: period two": 1.0,
        "K = 3: first k with |error| > 1e12": 29.0,
        "K = 5: first k with |error| > 1e12": 4.0,
        "K = 3: corrected bound": 0.14151,
    },
    tolerance={
        "K = 1: loss at 5000": 1e-20,
        "K = 1: max |W_i - R^(1/3)|": 5e-5,
        "K = 1.5: loss at even k": 5e-4,
        "K = 1.5: period two": 0.0,
        "K = 3: first k with |error| > 1e12": 0.0,
        "K = 5: first k with |error| > 1e12": 0.0,
        "K = 3: corrected bound": 5e-6,
    },
    reason="half a unit of the last digit printed; |error|_F = (2 J)^(1/2), and a loss of 1e-20 is "
    "rounding",
)
def sheared_targets() -> dict[str, float]:
    """Four runs from the identity; diverging ones end where the numbers are no longer finite."""
    found: dict[str, float] = {}
    for size, iterations in ((1.0, 5000), (1.5, 5000), (3.0, 60), (5.0, 60)):
        target = sheared(size)
        run = descend(deep_linear(target, 3), 1 / 3, iterations)
        loss = run.history["objective"]
        if size == 1.0:
            found["K = 1: loss at 5000"] = float(loss[-1])
            away = matrices(run.control) - root_factors(target, 3)
            found["K = 1: max |W_i - R^(1/3)|"] = float(np.max(np.abs(away)))
        elif size == 1.5:
            found["K = 1.5: loss at even k"] = float(loss[::2][-1])
            found["K = 1.5: period two"] = float(run.status is Status.PERIOD_TWO)
        else:
            name = f"K = {size:g}: first k with |error| > 1e12"
            found[name] = float(np.flatnonzero(np.sqrt(2.0 * loss) > 1e12)[0])
    found["K = 3: corrected bound"] = step_bound(sheared(3.0), 3)
    return found


@claim(
    "NS-17",
    statement="Ordinary least squares, X = [[1, 2], [2, 4]], y = (1, 3): with X X^T singular, I - "
    "delta X X^T has the eigenvalue 1, and gradient descent converges all the same.",
    paper=PAPER,
    references={
        "w_1": 1.48,
        "w_2": -0.04,
        "residual |X^T w - y|^2 / 2": 0.1,
        "smaller eigenvalue of I - delta X X^T": 0.0,
        "larger eigenvalue of I - delta X X^T": 1.0,
    },
    tolerance=1e-12,
    reason="one step of 1 / lambda_max reaches the solution, up to rounding",
)
def least_squares() -> dict[str, float]:
    """Nine steps of 1 / lambda_max from (1, -1): an affine readout of the points themselves."""
    x, y = np.array([[1.0, 2.0], [2.0, 4.0]]), np.array([[1.0, 3.0]])
    network = NeuralODE2(2, identity)
    problem = LearningProblem(
        network,
        x,
        y,
        network.controls(TimeMesh(1.0, 1), fixed={"weight": 0.0, "bias": 0.0}),
        readout=Affine(1, fixed={"readout.mu": np.zeros(1)}),
        terminal=SquaredError(len(y[0]) / 2),
    )
    start = problem.space.sample(**{"readout.W": np.array([[1.0, -1.0]])})
    step = 1.0 / sharpness(problem, start)
    method = FixedStep(step, gtol=1e-12, max_iterations=9)
    run = minimize(problem, method, initial=start)
    rates = 1.0 - step * np.linalg.eigvalsh(x @ x.T)
    (w,) = run.control["readout.W"]
    return {
        "w_1": float(w[0]),
        "w_2": float(w[1]),
        "residual |X^T w - y|^2 / 2": run.objective,
        "smaller eigenvalue of I - delta X X^T": float(rates[1]),
        "larger eigenvalue of I - delta X X^T": float(rates[0]),
    }
