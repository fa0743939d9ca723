"""Samples beyond the rank of (sigma(x), 1): a plateau where below it there is exponential decay
(TP-25 to TP-27).
"""

import numpy as np

from continuum import (
    Control,
    LearningProblem,
    NeuralODE2,
    SquaredError,
    Tikhonov,
    TimeMesh,
    tanh,
)
from continuum.arrays import Array
from solvers import LBFGS, NewtonCG, discretize, minimize

from ...bench.registry import claim
from ..paper import xor
from .common import PAPER, starts


def distances(problem: LearningProblem, control: Control) -> Array:
    """phi at the nodes: the mean over the samples of the squared distance of the outputs."""
    states, target = discretize(problem).run(control).states, np.asarray(problem.target)
    outputs = states[:, : len(target)]
    return np.mean(np.sum((outputs - target) ** 2, axis=1), axis=1)


def graded(
    horizon: float, per_unit: int = 32, until: float = 8.0, growth: float = 1.05
) -> TimeMesh:
    """Equal layers on [0, until], and from there each longer than the last by the same factor."""
    first = np.arange(int(until) * per_unit + 1) / per_unit
    count = int(np.ceil(np.log1p((horizon - until) * per_unit * (growth - 1.0)) / np.log(growth)))
    ends = np.cumsum(growth ** np.arange(1, count + 1))
    return TimeMesh.through(np.append(first, until + (horizon - until) * ends / ends[-1]))


def line(initial: list[float], target: list[float], mesh: TimeMesh) -> LearningProblem:
    """x' = w tanh(x) + b on the line, lambda = 0.1."""
    return LearningProblem(
        NeuralODE2(1, tanh),
        np.array([initial]),
        np.array([target]),
        mesh,
        terminal=None,
        running=SquaredError(1.0),
        penalty=Tikhonov(0.1),
    )


def prolonged(control: Control, problem: LearningProblem) -> Control:
    """The control on a longer horizon: its value in the middle of each layer, then 0."""
    mesh, end = problem.mesh, control.mesh.horizon
    middles = mesh.nodes[:-1] + 0.5 * mesh.steps
    taken = control.mesh.layers_of(np.minimum(middles, (1.0 - 1e-12) * end))
    inside = (middles < end)[:, None]
    return problem.space.sample(
        bias=control["bias"][taken] * inside,
        weight=control["weight"][taken] * inside[..., None],
    )


@claim(
    "TP-25",
    statement="Three samples on the line, rank 2 (E11): phi(T / 2) falls like T^-2 and J keeps "
    "growing; with two samples the decay is exponential.",
    paper=PAPER,
    references={
        "T = 16: T^2 phi(T / 2)": 5.50,
        "T = 32: T^2 phi(T / 2)": 6.61,
        "T = 64: T^2 phi(T / 2)": 7.62,
        "T = 16: J": 0.6207,
        "T = 32: J": 0.8089,
        "T = 64: J": 0.9197,
        "two samples: rate / predicted": 1.0,
    },
    relative_tolerance={
        **{f"T = {t}: T^2 phi(T / 2)": 0.02 for t in (16, 32, 64)},
        **{f"T = {t}: J": 1e-4 for t in (16, 32, 64)},
        "two samples: rate / predicted": 0.03,
    },
    reason="the ledger says 2 % for the growth of its layers, which it does not give, and prints "
    "four digits of J; Euler's layers of 1/32 shift a rate by less than 3 %",
    slow=True,
)
def beyond_the_rank() -> dict[str, float]:
    """Layers of 1/32 on [0, 8], growing by 5 % from there; T = 16 from zero, longer ones from the
    last; best known (4 of 4 other starts end there too).  The rate predicted for two samples is
    2 (least eigenvalue of (sigma(x_i) sigma(x_j) + 1) / (N lambda))^(1/2) at the targets.
    """
    found, last = {}, None
    for horizon in (16, 32, 64):
        problem = line([-0.5, 0.0, 0.5], [-1.0, 0.4, 0.9], graded(float(horizon)))
        start = problem.space.zeros() if last is None else prolonged(last, problem)
        method = LBFGS(gtol=1e-6, max_iterations=3000)
        end = minimize(problem, method, initial=start, raise_on_failure=False)
        last = end.control
        phi = np.interp(0.5 * horizon, problem.mesh.nodes, distances(problem, last))
        found[f"T = {horizon}: T^2 phi(T / 2)"] = float(horizon**2 * phi)
        found[f"T = {horizon}: J"] = end.objective
    problem = line([-0.5, 0.5], [-1.5, 1.0], TimeMesh(8.0, 256))
    end = minimize(problem, LBFGS(gtol=1e-8, max_iterations=3000), raise_on_failure=False)
    phi = distances(problem, end.control)
    features = np.stack([np.tanh(np.asarray(problem.target)[0]), np.ones(2)])
    predicted = 2.0 * float(np.linalg.eigvalsh(features.T @ features / (2 * 0.1))[0]) ** 0.5
    at = (32, 64)
    found["two samples: rate / predicted"] = (
        float(np.log(phi[at[0]] / phi[at[1]])) / (at[1] - at[0]) * 32 / predicted
    )
    return found


@claim(
    "TP-26",
    statement="XOR in three dimensions, rank 4 of 4 samples, running cost, lambda = 0.02: phi "
    "decays exponentially at the rate of the Hamiltonian linearised at the state it reaches.",
    paper=PAPER,
    references={
        "32 layers a unit: J": 0.94966945,
        "256 layers a unit: J": 0.92015349,
        "rate on [2, 3]": 4.786,
        "a posteriori": 4.764,
    },
    relative_tolerance={
        "32 layers a unit: J": 1e-8,
        "256 layers a unit: J": 2e-6,
        "rate on [2, 3]": 2e-4,
        "a posteriori": 2e-4,
    },
    reason="the digits the ledger prints; its rates are those of 32 layers a unit (with 256 they "
    "are 4.999 and 4.906)",
    slow=True,
)
def within_the_rank() -> dict[str, float]:
    """T = 8.  Best known: 3 of 3 starts of seed 0 (constant in time, standard deviation 1) with 32
    layers a unit; those with 256 start from there.
    """
    coarse = xor(0.02, TimeMesh(8.0, 256), along=True, units=3)
    method = LBFGS(gtol=1e-5, max_iterations=3000)
    ends = [minimize(coarse, method, initial=x) for x in starts(coarse, 3, 1.0, 0)]
    best = min(ends, key=lambda end: end.objective)
    fine = xor(0.02, TimeMesh(8.0, 2048), along=True, units=3)
    start = fine.space.sample(
        **{name: np.repeat(best.control[name], 8, axis=0) for name in ("bias", "weight")}
    )
    deep = minimize(fine, LBFGS(gtol=1e-4, max_iterations=3000), initial=start)
    # what a gradient of 1e-5 leaves of the control hides the decay from t = 4 on
    sharp = minimize(coarse, NewtonCG(gtol=1e-8), initial=best.control, raise_on_failure=False)
    phi = distances(coarse, sharp.control)
    end = discretize(coarse).run(sharp.control).states[-1]
    features = np.concatenate([np.tanh(end), np.ones((1, 4))])
    eigenvalues = np.linalg.eigvalsh(features.T @ features / (4 * 0.02))
    return {
        "32 layers a unit: J": best.objective,
        "256 layers a unit: J": deep.objective,
        "rate on [2, 3]": float(np.log(phi[64] / phi[96])),
        "a posteriori": 2.0 * float(eigenvalues[0]) ** 0.5,
    }


@claim(
    "TP-27",
    statement="XOR in the plane, rank 3 of 4 samples: stationary points of other J, and phi keeps "
    "a plateau; a third dimension is enough, more change nothing.",
    paper=PAPER,
    references={
        "J": 1.308632,
        "second": 1.320709,
        "third": 1.405372,
        "d = 4: J": 0.94966945,
        "d = 5: J": 0.94966945,
    },
    tolerance={
        "J": 1e-6,
        "second": 1e-6,
        "third": 1e-6,
        "d = 4: J": 1e-6,
        "d = 5: J": 1e-6,
    },
    reason="the digits the ledger prints",
    slow=True,
)
def one_dimension_too_few() -> dict[str, float]:
    """lambda = 0.02, T = 8, 32 layers a unit.  Best known: J is met from 1 of 8 starts of seed 0
    (constant in time, standard deviation 1), the second from 6, the third from 1.
    """
    method = LBFGS(gtol=1e-5, max_iterations=3000)
    mesh = TimeMesh(8.0, 256)
    plane = xor(0.02, mesh, along=True)
    ends = [minimize(plane, method, initial=x).objective for x in starts(plane, 8, 1.0, 0)]
    distinct = np.unique(np.round(ends, 7)).tolist()
    found: dict[str, float] = {}
    found |= zip(("J", "second", "third"), distinct, strict=False)
    for units in (4, 5):
        wide = xor(0.02, mesh, along=True, units=units)
        found[f"d = {units}: J"] = minimize(
            wide, method, initial=starts(wide, 1, 1.0, 0)[0]
        ).objective
    return found
