"""Section H of the ledger, further: successive approximation with the augmented Hamiltonian."""

import itertools
from collections.abc import Callable

import numpy as np

from continuum import Control, LearningProblem
from solvers import discretize, successive_approximation

from ...bench.registry import claim
from ..paper import boxed
from .algorithms import one_unit
from .common import PAPER

NEAR = 1e-9
"""The weight of |c - c_0|^2 that chooses among minimisers."""

SEARCHED = {
    "50 steps, rho = 1: J_24": 0.4314,
    "50 steps, rho = 3: J_24": 0.4994,
    "50 steps, rho = 0.3: J_2": 0.656,
    "50 steps, rho = 0.3: J_4": 2.52,
}


def objectives(problem: LearningProblem, rho: float, count: int, steps: int = 50) -> np.ndarray:
    """J after 0, 1, ... `count` iterations, whose inner search takes that many steps."""
    run = successive_approximation(
        problem,
        augmentation=rho,
        max_iterations=count,
        inner_iterations=steps,
        raise_on_failure=False,
    )
    return run.history["objective"]


def exact_objectives(problem: LearningProblem, rho: float, count: int) -> np.ndarray:
    """The same on two linear units, each augmented Hamiltonian minimised exactly on its box.

    With c = (a_1, a_2, b_11, b_12, b_21, b_22), f' = Vc and (D_f F)* p = Qc, it is

        (p, Vc) + rho / 2 |V (c - c_0)|^2 + rho / 2 |Q (c - c_0)|^2 + NEAR / 2 |c - c_0|^2,

    convex of rank 4 at most in 6 unknowns but for the last term, which chooses the minimiser next
    to c_0.
    """
    objective, weights = discretize(problem), problem.network.weights
    control, values = problem.space.zeros(), []
    size = np.repeat([0.5, 0.25], [2, 4])  # the weights of a and b in the norm
    for _ in range(count):
        run = objective.run(control)
        values.append(run.value)
        f, p = run.states[:-1, :, 0], run.costates[1:, :, 0]
        forward, back = np.zeros((2, len(f), 2, 6))
        for i, j in itertools.product(range(2), range(2)):
            forward[:, i, i] = 1.0
            forward[:, i, 2 + 2 * i + j] = -weights[j] * f[:, j]
            back[:, j, 2 + 2 * i + j] = -weights[i] * p[:, i]
        hessian = rho * sum(
            np.einsum("kia,i,kib->kab", x, weights, x) for x in (forward, back)
        ) + NEAR * np.diag(size)
        here = np.hstack([control["bias"], control["kernel"].reshape(-1, 4)])
        slope = np.einsum("kia,i,ki->ka", forward, weights, p)
        best = on_the_box(hessian, slope - np.einsum("kab,kb->ka", hessian, here))
        control = Control(
            problem.space, {"bias": best[:, :2], "kernel": best[:, 2:].reshape(-1, 2, 2)}
        )
    return np.array([*values, objective.value(control)])


def on_the_box(hessian: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The minimisers of c^T H c / 2 + g c over [-1, 1]^6, for many H > 0 and g at once: the best of
    the stationary points of all 3^6 faces that lie in the box.
    """
    best, value = np.zeros_like(slope), np.full(len(slope), np.inf)
    for face in itertools.product((-1.0, 0.0, 1.0), repeat=slope.shape[1]):
        c = np.tile(face, (len(slope), 1))
        free = np.flatnonzero(np.array(face) == 0.0)
        pull = slope + np.einsum("kab,kb->ka", hessian, c)
        block = hessian[:, free][:, :, free]
        c[:, free] = -np.linalg.solve(block, pull[:, free, None])[:, :, 0]
        inside = np.all(np.abs(c) <= 1.0 + 1e-10, axis=1)
        found = np.einsum("ka,kab,kb->k", c, 0.5 * hessian, c) + np.einsum("ka,ka->k", slope, c)
        better = inside & (found < value)
        best[better], value[better] = c[better], found[better]
    return np.clip(best, -1.0, 1.0)


def two_blocks() -> LearningProblem:
    """LM-54 with 400 layers."""
    return boxed([0.5, 0.5], [4.0, 0.0], layers=400)


@claim(
    "LM-65",
    statement="The augmented Hamiltonian descends for rho above a threshold, T/2 for one unit, "
    "and fails below it; on two blocks by 50 projected gradients on each layer.",
    paper=PAPER,
    references={
        "one unit, rho = 2: J_1": 0.03125,
        "one unit, rho = 2: J_3": 0.001953125,
        "one unit, rho = 1: J_1": 0.0,
        "one unit, rho = 1/2: J_2": 0.125,
        "one unit, rho = 0.4: J_2": 0.28125,
        **SEARCHED,
        "50 steps, rho = 1: rises": 0.0,
        "50 steps, rho = 3: rises": 0.0,
        "50 steps, rho = 0.3: rises": 2.0,
    },
    tolerance={
        **{f"one unit, rho = {rho}": 1e-15 for rho in ("2: J_1", "2: J_3", "1: J_1", "1/2: J_2")},
        "one unit, rho = 0.4: J_2": 2e-8,
        **dict.fromkeys(SEARCHED, 5e-5),
        "50 steps, rho = 0.3: J_2": 5e-4,
        "50 steps, rho = 0.3: J_4": 5e-3,
        **{f"50 steps, rho = {rho}: rises": 0.0 for rho in ("1", "3", "0.3")},
    },
    reason="the unit's map is a <- clip(a + (1/2 - a) / rho), found by comparing values, so to the "
    "root of rounding where a step is not a power of 2; on two blocks half a unit of the last "
    "digit that the ledger prints for 50 steps, which are not enough: see LM-65-EXACT",
)
def augmented() -> dict[str, float]:
    """The unit of LM-64; LM-54 from zero with 400 layers.

    From a = 0, rho = 0.4 first goes to the bound a = 1, and from there to 1 - 0.5 / 0.4 = -0.25.
    """
    unit = one_unit()
    twice = objectives(unit, 2.0, 3)
    return {
        "one unit, rho = 2: J_1": float(twice[1]),
        "one unit, rho = 2: J_3": float(twice[3]),
        "one unit, rho = 1: J_1": float(objectives(unit, 1.0, 1)[1]),
        "one unit, rho = 1/2: J_2": float(objectives(unit, 0.5, 2)[2]),
        "one unit, rho = 0.4: J_2": float(objectives(unit, 0.4, 2)[2]),
        **on_two_blocks("50 steps", objectives),
    }


def on_two_blocks(how: str, method: Callable[[LearningProblem, float, int], np.ndarray]) -> dict:
    """J_24 for rho = 1 and 3, J_2 and J_4 for rho = 0.3, and how often J rises, on 400 layers."""
    problem, found = two_blocks(), {}
    for rho, shown in ((1.0, [24]), (3.0, [24]), (0.3, [2, 4])):
        values = method(problem, rho, shown[-1])
        found |= {f"{how}, rho = {rho:g}: J_{k}": float(values[k]) for k in shown}
        found[f"{how}, rho = {rho:g}: rises"] = float(np.sum(np.diff(values) > 0.0))
    return found


@claim(
    "LM-65-EXACT",
    statement="LM-65 on two blocks with the augmented Hamiltonian minimised exactly, beside 400 "
    "projected gradients on each layer: J_4 for rho = 0.3 is 2.044, not 2.50.",
    paper=PAPER,
    references={
        "exact, rho = 1: J_24": 0.433160,
        "exact, rho = 3: J_24": 0.516430,
        "exact, rho = 0.3: J_2": 0.634290,
        "exact, rho = 0.3: J_4": 2.043946,
        "exact, rho = 1: rises": 0.0,
        "exact, rho = 3: rises": 0.0,
        "exact, rho = 0.3: rises": 2.0,
        "400 steps, rho = 1: J_24": 0.4332,
        "400 steps, rho = 3: J_24": 0.5098,
        "400 steps, rho = 0.3: J_4": 2.46,
    },
    tolerance={
        **{f"exact, rho = {key}": 2e-6 for key in ("1: J_24", "3: J_24", "0.3: J_2", "0.3: J_4")},
        **{f"exact, rho = {rho}: rises": 0.0 for rho in ("1", "3", "0.3")},
        "400 steps, rho = 1: J_24": 5e-5,
        "400 steps, rho = 3: J_24": 5e-5,
        "400 steps, rho = 0.3: J_4": 5e-3,
    },
    reason="each layer's problem is a convex quadratic one on a box of six dimensions, solved on "
    "every face, and of its minimisers the one next to c_0 is taken (that next to 0 moves J_24 by "
    "1e-5); values after 400 steps to half a unit of the ledger's last digit: they, and its 0.494, "
    "0.656 and 2.50 of another search, are not those of minima",
    slow=True,
)
def exactly() -> dict[str, float]:
    """LM-54 from zero with 400 layers."""
    blocks = two_blocks()
    return {
        **on_two_blocks("exact", exact_objectives),
        "400 steps, rho = 1: J_24": float(objectives(blocks, 1.0, 24, 400)[24]),
        "400 steps, rho = 3: J_24": float(objectives(blocks, 3.0, 24, 400)[24]),
        "400 steps, rho = 0.3: J_4": float(objectives(blocks, 0.3, 4, 400)[4]),
    }
