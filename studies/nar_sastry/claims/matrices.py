"""Products of matrices from the identity: where descent goes, and what it keeps (NS-13, NS-14)."""

import numpy as np

from continuum import Control, LearningProblem, TimeMesh
from solvers import DOP853, FixedStep, discretize, gradient_flow, integrate, minimize
from solvers.linear_networks import (
    Grouped,
    ProductObjective,
    as_control,
    conserved,
    deep_linear,
    deep_linear_data,
    gradient_bound,
    linear_start,
    matrices,
    root_factors,
)

from ...bench.registry import claim
from .common import PAPER

SHEAR = np.array([[1.0, 3.0], [0.0, 0.5]])
"""R of NS-12 and NS-13, K = 3: diagonalizable with positive eigenvalues, and not normal."""
SYMMETRIC = np.array([[1.0, 0.3], [0.3, 0.5]])


def descend(problem: LearningProblem, step: float, iterations: int) -> Control:
    """The control after so many steps from the identity, converged or not."""
    method = FixedStep(step, gtol=1e-300, max_iterations=iterations)
    start = linear_start(problem)
    objective = ProductObjective(problem)
    return minimize(objective, method, initial=start, raise_on_failure=False).control


def commutator(w: np.ndarray, r: np.ndarray) -> float:
    """The largest entry of w r - r w."""
    return float(np.abs(w @ r - r @ w).max())


@claim(
    "NS-13",
    statement="Theorem 2 is false for a non-normal R: in steps a tenth of the corrected bound, "
    "descent from the identity converges to factors that differ, so not to R^(1/L).",
    paper=PAPER,
    references={
        "loss": 0.0,
        "W_1, entry 11": 0.6896165,
        "W_1, entry 12": 0.7745490,
        "W_1, entry 21": 0.0218786,
        "W_1, entry 22": 1.1771210,
        "largest entry of |W_1 - W_3|": 0.603479,
        "[W_1, R] after 1 update": 0.0,
        "[W_1, R] after 2 updates": 0.11697,
    },
    tolerance={
        "loss": 1e-28,
        "W_1, entry 11": 6e-8,
        "W_1, entry 12": 6e-8,
        "W_1, entry 21": 6e-8,
        "W_1, entry 22": 6e-8,
        "largest entry of |W_1 - W_3|": 6e-7,
        "[W_1, R] after 1 update": 0.0,
        "[W_1, R] after 2 updates": 6e-6,
    },
    reason="half a unit of the last digit printed; the loss is below 1e-28, and one update from "
    "the identity adds a multiple of R - I to each factor, exactly",
)
def not_the_root() -> dict[str, float]:
    """12000 steps; the commutators at steps of 0.05, which one and two updates survive."""
    problem = deep_linear(SHEAR, 3)
    step = 0.2 / (3.0 * float(np.linalg.norm(SHEAR, 2)) ** (4.0 / 3.0))
    end = descend(problem, step, 12000)
    w = matrices(end)
    places = {f"W_1, entry {i + 1}{j + 1}": float(w[0, i, j]) for i in (0, 1) for j in (0, 1)}
    once, twice = (matrices(descend(problem, 0.05, n))[0] for n in (1, 2))
    return {
        "loss": discretize(problem).value(end),
        **places,
        "largest entry of |W_1 - W_3|": float(np.abs(w[0] - w[2]).max()),
        "[W_1, R] after 1 update": commutator(once, SHEAR),
        "[W_1, R] after 2 updates": commutator(twice, SHEAR),
    }


@claim(
    "NS-13-FLOW",
    statement="Gradient flow from the identity keeps W_(i+1)^T W_(i+1) - W_i W_i^T = 0, which "
    "R^(1/L) does not have unless R is normal: Theorem 2 fails for the flow, too.",
    paper=PAPER,
    references={
        "largest entry along the flow": 0.0,
        "largest entry at R^(1/3)": 36.0 * (1.0 - 2.0 ** (-1.0 / 3.0)) ** 2,
        "the same, of a normal R": 0.0,
        "J at t = 30 / J at 0": 0.0,
    },
    tolerance={
        "largest entry along the flow": 1e-9,
        "largest entry at R^(1/3)": 1e-13,
        "the same, of a normal R": 1e-13,
        "J at t = 30 / J at 0": 1e-6,
    },
    reason="what is kept comes out to the accuracy of DOP853 at rtol 1e-11, the root to rounding: "
    "its upper right entry is b = 3 (1 - 2^(-1/3)) / (1 - 1/2), and W^T W - W W^T has b^2; J falls "
    "like e^(-0.5 t), so at t = 30 the flow is near the end that it has",
)
def what_the_flow_keeps() -> dict[str, float]:
    """By DOP853 on the weights as a state, three layers."""
    problem = deep_linear(SHEAR, 3)
    objective, start = ProductObjective(problem), linear_start(problem)
    flow = gradient_flow(objective)
    method = DOP853(rtol=1e-11, atol=1e-12)
    times = np.linspace(0.0, 30.0, 31)
    run = integrate(flow, flow.control(TimeMesh(30.0, 1)), flow.state(start), method, save=times)
    controls = [flow.control_of(state) for state in run.trajectory.states]
    at_root = [
        float(np.abs(conserved(problem, as_control(problem, root_factors(r, 3)))).max())
        for r in (SHEAR, SYMMETRIC)
    ]
    return {
        "largest entry along the flow": max(
            float(np.abs(conserved(problem, c)).max()) for c in controls
        ),
        "largest entry at R^(1/3)": at_root[0],
        "the same, of a normal R": at_root[1],
        "J at t = 30 / J at 0": objective.value(controls[-1]) / objective.value(start),
    }


@claim(
    "NS-14",
    statement="Theorem 2 holds for a symmetric positive definite R: at its step each W_i converges "
    "to R^(1/L).",
    paper=PAPER,
    references={"step": 0.279734, "largest entry of |W_i - R^(1/3)|": 0.0},
    tolerance={"step": 6e-7, "largest entry of |W_i - R^(1/3)|": 1e-14},
    reason="half a unit of the last digit printed; 1e-14 is the ledger's, some 40 rounding errors",
)
def the_root() -> dict[str, float]:
    """300 steps of min(1, 1 / lambda^(2 (L - 1) / L)) / L, lambda the spectral radius."""
    radius = float(np.abs(np.linalg.eigvals(SYMMETRIC)).max())
    step = min(1.0, radius ** (-4.0 / 3.0)) / 3.0
    w = matrices(descend(deep_linear(SYMMETRIC, 3), step, 300))
    miss = np.abs(w - root_factors(SYMMETRIC, 3)).max()
    return {"step": step, "largest entry of |W_i - R^(1/3)|": float(miss)}


@claim(
    "NS-HM",
    statement="Where |W_i - I|_2 <= r: |grad J|^2 >= 2 L (1 - r)^(2 (L - 1)) s_min(Sigma) J "
    "(Hardt and Ma, with a covariance); attained at (1 - r) I.",
    paper=PAPER,
    references={"attained / bound": 1.0, "points below the bound": 0.0},
    tolerance={"attained / bound": 1e-12, "points below the bound": 0.0},
    reason="rounding; the bound is proved, so no point of the ball may be below it",
)
def gradients_about_the_identity() -> dict[str, float]:
    """Four layers, r = 0.3; 200 points with all |W_i - I|_2 = r, Sigma of condition about 10."""
    rng = np.random.default_rng(0)
    radius, layers = 0.3, 4
    target, a = rng.standard_normal((3, 3)), rng.standard_normal((3, 3))
    problem = deep_linear(target, layers, covariance=a @ a.T + 0.5 * np.eye(3))
    bound, objective, below = gradient_bound(problem, radius), discretize(problem), 0
    for _ in range(200):
        w = rng.standard_normal((layers, 3, 3))
        w *= radius / np.linalg.norm(w, 2, axis=(1, 2), keepdims=True)
        value, slope = objective.value_and_gradient(as_control(problem, np.eye(3) + w))
        below += problem.space.norm(slope) ** 2 < bound * value
    white = deep_linear(target, layers)
    at = as_control(white, (1.0 - radius) * np.tile(np.eye(3), (layers, 1, 1)))
    value, slope = discretize(white).value_and_gradient(at)
    attained = white.space.norm(slope) ** 2 / (gradient_bound(white, radius) * value)
    return {"attained / bound": attained, "points below the bound": float(below)}


@claim(
    "NS-BATCH",
    statement="Steps on batches decouple in the eigenvectors of a symmetric R if each batch is an "
    "orthonormal set, and on single orthonormal points only if these are eigenvectors.",
    paper=PAPER,
    references={"orthonormal sets": 0.0, "eigenvectors": 0.0, "single points": 1.0},
    tolerance={"orthonormal sets": 1e-14, "eigenvectors": 1e-14, "single points": 0.0},
    reason="rounding; for single points 1 says that an entry off the diagonal exceeds 1e-3",
)
def batches() -> dict[str, float]:
    """The largest entry of W_i off the diagonal, in the eigenvectors of R, after 5 epochs of
    steps 0.2 from the identity.
    """
    rng = np.random.default_rng(0)
    sets = np.hstack(list(np.linalg.qr(rng.standard_normal((4, 3, 3)))[0]))
    vectors = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    r = (vectors * [1.5, 1.0, 0.3]) @ vectors.T

    def coupling(x: np.ndarray, size: int) -> float:
        problem = deep_linear_data(x, r @ x, 3)
        method = FixedStep(0.2, batch=1, rng=rng, max_iterations=5)
        start = linear_start(problem)
        end = minimize(Grouped(discretize(problem), size), method, initial=start).control
        w = vectors.T @ matrices(end) @ vectors
        return float(np.abs(w - w * np.eye(3)).max())

    return {
        "orthonormal sets": coupling(sets, 3),
        "eigenvectors": coupling(vectors, 1),
        "single points": float(coupling(sets, 1) > 1e-3),
    }
