"""Pontryagin's principle as a certificate: what a control is found to satisfy of the continuous
problem.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse.linalg
from scipy.sparse.linalg import LinearOperator

from continuum.arrays import Array
from continuum.checks import check_count, check_positive
from continuum.controls import Control
from continuum.problem import LearningProblem
from continuum.sets import Box

from ..adjoint.discretize import ReducedObjective, discretize
from ..steps.tableaux import RK4, RungeKutta
from .hamiltonian import Hamiltonian, closed_form, obstacle, unbounded


class SingularArc(NamedTuple):
    """The switching function of a unit rests at zero from `start` to `end`: H does not determine
    the control there.
    """

    unit: int
    start: float
    end: float


@dataclass(frozen=True, eq=False)
class Curvature:
    """The lowest eigenvalues of the Hessian of the discrete objective, in the product of the space.

    eigenvalues : increasing; morse_index : how many of them are negative (below -1e-9 of the
        largest size met)
    complete : True if at least one of them is not negative, so that the index is that of the whole
        Hessian
    variables : of how many unknowns; where : which, in words
    """

    eigenvalues: Array
    morse_index: int
    complete: bool
    variables: int
    where: str


@dataclass(frozen=True, eq=False)
class Certificate:
    """What Pontryagin's principle says of a control.  H is minimised here: the paper's H, which is
    maximised, is -H.

    applies : False where the principle is silent or cannot be asked; `reason` says why
    objective : J of the run the certificate is made of
    state_residual, costate_residual : the largest distance, in L2 and over samples, to the run with
        twice the steps
    times, hamiltonian : (K, n + 1), H at the n + 1 ends of the steps of every layer, with the
        layer's control
    gap : (K, n + 1), H - min H there, >= 0; `gap_exact` False: a local search found it, a lower
        bound of the true gap
    total_gap : int_0^T gap dt, 0 on extremals; drift : max H - min H over time, 0 on extremals of
        such problems
    switching_times : of every unit, where its switching function sum_m s_m p_im crosses zero; empty
        where controls need not switch (several samples and a velocity that is not affine)
    singular_arcs : where that function rests at zero for a layer or more
    projected_gradient : |P(c - g) - c|, g the gradient of the objective of this run
    held : trained blocks that are constant in time, such as those of a readout: the principle is
        asked of the others, with these as they are; `projected_gradient` counts them
    curvature : None where no second-order statement is made, and `curvature_reason` says why
    """

    applies: bool
    reason: str
    objective: float = float("nan")
    state_residual: float = float("nan")
    costate_residual: float = float("nan")
    times: Array = field(default_factory=lambda: np.empty((0, 0)))
    hamiltonian: Array = field(default_factory=lambda: np.empty((0, 0)))
    gap: Array = field(default_factory=lambda: np.empty((0, 0)))
    gap_exact: bool = False
    total_gap: float = float("nan")
    drift: float = float("nan")
    switching_times: tuple[tuple[float, ...], ...] = ()
    singular_arcs: tuple[SingularArc, ...] = ()
    projected_gradient: float = float("nan")
    curvature: Curvature | None = None
    curvature_reason: str = ""
    held: tuple[str, ...] = ()

    def __str__(self) -> str:
        errors = f"(states to {self.state_residual:.2g}, costates to {self.costate_residual:.2g})"
        head = f"J = {self.objective:.10g}   {errors}"
        if not self.applies:
            return f"no certificate: {self.reason}" + (
                "" if np.isnan(self.objective) else "\n" + head
            )
        if self.held:
            head += f"\nwith {', '.join(self.held)}, which do not depend on time, as they are"
        kind = "exact" if self.gap_exact else "a lower bound of the true gap: found by local search"
        low, high = float(np.min(self.hamiltonian)), float(np.max(self.hamiltonian))
        lines = [
            head,
            f"int (H - min H) dt = {self.total_gap:.3g}, at most {np.max(self.gap):.3g} at a "
            f"time ({kind})",
            f"H from {low:.10g} to {high:.10g}, drift {self.drift:.3g}   (minimised; the paper's "
            f"H is -H)",
            f"projected gradient {self.projected_gradient:.3g}",
        ]
        switches = [
            f"unit {i}: " + ", ".join(f"{t:.8g}" for t in ts)
            for i, ts in enumerate(self.switching_times)
            if ts
        ]
        lines.append("switching times  " + ("; ".join(switches[:8]) or "none"))
        if len(switches) > 8:
            lines[-1] += f"; and {len(switches) - 8} units more"
        arcs = [f"unit {a.unit} on ({a.start:.6g}, {a.end:.6g})" for a in self.singular_arcs]
        if arcs:
            lines.append(
                "singular arcs    " + "; ".join(arcs[:8]) + (" ..." if len(arcs) > 8 else "")
            )
        if self.curvature is None:
            lines.append(f"second order     not judged: {self.curvature_reason}")
        else:
            least = "" if self.curvature.complete else "at least "
            values = ", ".join(f"{x:.4g}" for x in self.curvature.eigenvalues)
            lines.append(
                f"second order     lowest eigenvalues {values}; Morse index "
                f"{least}{self.curvature.morse_index}, "
                f"in {self.curvature.where}"
            )
        return "\n".join(lines)


def pontryagin_certificate(
    problem: LearningProblem,
    control: Control,
    *,
    stepper: RungeKutta | None = None,
    steps_per_layer: int = 4,
    eigenvalues: int = 3,
    tolerance: float = 1e-8,
    inner_iterations: int = 50,
    rng: np.random.Generator | None = None,
) -> Certificate:
    """Judges a control by Pontryagin's principle: necessary for a minimum, not sufficient (LM-55
    (a) is a saddle).

    The continuous equation is solved by `stepper` (RK4), `steps_per_layer` steps in each layer; the
    residuals compare with twice as many.  A control that is constant on layers satisfies the
    principle of the continuous problem only up to the length of the layers in which it ought to
    switch.
    eigenvalues : how many of the lowest of the Hessian; 0 for none.  They are those of the whole
        space where the control lies inside the set, of the entries strictly between their bounds
        where the set is a Box
    tolerance : costates below this share of 1 + sqrt(2 J) count as zero; so do switching functions,
        relative to their largest value
    inner_iterations : of the local search where the minimiser of H has no closed form
    rng : for the start of Lanczos' method; seed 0 if not given
    returns Certificate; where `applies` is False it says why, and nothing is certified
    raises SolveError if the state does not stay finite; ValueError for a control that is not
    admissible Source: Liu and Markowich section 4.2, with E26-E29 of its errata.
    """
    check_count("steps_per_layer", steps_per_layer)
    check_count("eigenvalues", eigenvalues, least=0)
    check_positive("tolerance", tolerance)
    if problem.admissible is not None and not problem.admissible.contains(control, 1e-9):
        violation = problem.admissible.violation(control)
        raise ValueError(
            f"control is not admissible: it exceeds {problem.admissible!r} by {violation:.3g}"
        )
    held = tuple(b.name for b in problem.space.trained if b.time == "static")
    if held and len(held) < len(problem.space.trained):
        rest = pontryagin_certificate(
            *problem.holding(control, held),
            stepper=stepper,
            steps_per_layer=steps_per_layer,
            eigenvalues=eigenvalues,
            tolerance=tolerance,
            inner_iterations=inner_iterations,
            rng=rng,
        )
        whole = ReducedObjective(
            problem, RK4() if stepper is None else stepper, steps_per_layer, "steps"
        )
        return replace(rest, held=held, projected_gradient=_projected_gradient(whole, control))
    reason = obstacle(problem)
    if reason:
        return Certificate(False, reason)
    objective = ReducedObjective(
        problem, RK4() if stepper is None else stepper, steps_per_layer, "steps"
    )
    value, gradient = objective.value_and_gradient(control)
    times, states, costates = _run(objective, control)
    fine = discretize(problem, objective.stepper, 2 * steps_per_layer, "steps")
    _, finer, finer_costates = _run(fine, control)
    weights = problem.network.weights
    residuals = [
        _distance(finer[::2] - states, weights),
        _distance(finer_costates[::2] - costates, weights),
    ]
    silent = ""
    if float(np.max(np.abs(costates))) <= tolerance * (1.0 + np.sqrt(2.0 * abs(value))):
        silent = (
            "the target is reached, so the costate vanishes (r = 0) and every control is "
            "extremal (LM-56)"
        )
    elif unbounded(problem):
        silent = f"H has no minimum: {unbounded(problem)} is neither bounded by a set nor penalised"
    if silent:
        return Certificate(False, silent, value, residuals[0], residuals[1])
    grid, energies, gaps, exact = _hamiltonians(
        objective, control, times, states, costates, inner_iterations
    )
    size = steps_per_layer
    step = np.diff(grid, axis=1)
    total = float(np.sum(0.5 * step * (gaps[:, 1:] + gaps[:, :-1])))
    switches: tuple[tuple[float, ...], ...] = ()
    arcs: tuple[SingularArc, ...] = ()
    if exact:
        mean = costates @ problem.sample_weights
        level = tolerance * float(np.max(np.abs(costates)))
        switches = tuple(_crossings(times, mean[:, i], level) for i in range(mean.shape[1]))
        arcs = tuple(
            arc for i in range(mean.shape[1]) for arc in _rests(i, times, mean[:, i], level, size)
        )
    curvature, why = _curvature(
        objective, control, eigenvalues, np.random.default_rng(0) if rng is None else rng
    )
    return Certificate(
        True,
        "",
        value,
        residuals[0],
        residuals[1],
        grid,
        energies,
        gaps,
        exact,
        total,
        float(np.max(energies) - np.min(energies)),
        switches,
        arcs,
        _moved(problem, control, gradient),
        curvature,
        why,
    )


def _projected_gradient(objective: ReducedObjective, control: Control) -> float:
    return _moved(objective.problem, control, objective.gradient(control))


def _moved(problem: LearningProblem, control: Control, gradient: Control) -> float:
    """|P(c - g) - c|."""
    moved = control - gradient
    nearest = moved if problem.admissible is None else problem.admissible.project(moved)
    return problem.space.norm(nearest - control)


def _run(objective: ReducedObjective, control: Control) -> tuple[Array, Array, Array]:
    """Times (S + 1,), states and costates (S + 1, N, M), the latter of the time that remains."""
    path = objective.run(control)
    return path.times, path.states, path.remaining


def _hamiltonians(
    objective: ReducedObjective,
    control: Control,
    times: Array,
    states: Array,
    costates: Array,
    inner: int,
) -> tuple[Array, Array, Array, bool]:
    """Times, H and gap, (K, n + 1) each, at the ends of the steps of every layer; whether the gap
    is exact.
    """
    problem, size = objective.problem, objective.steps_per_layer
    grid, energies, gaps = [], [], []
    for layer in range(problem.mesh.layers):
        ends = slice(layer * size, (layer + 1) * size + 1)
        values = [control.variation(layer, float(t)) for t in times[ends]]
        stacked = {n: np.stack([v[n] for v in values]) for n in values[0]}
        hamiltonian = Hamiltonian(problem, states[ends], costates[ends])
        functional = problem.functional
        running = np.array(
            [
                functional.running_cost(f, control.at_layer(layer, float(t)), float(t))
                for f, t in zip(states[ends], times[ends], strict=True)
            ]
        )
        grid.append(times[ends])
        energies.append(hamiltonian.value(stacked) + running)
        gaps.append(hamiltonian.gap(stacked, inner).gap)
    return np.stack(grid), np.stack(energies), np.stack(gaps), closed_form(problem) != "local"


def _distance(difference: Array, weights: Array) -> float:
    return float(np.sqrt(np.max(np.sum(weights[:, None] * difference**2, axis=1))))


def _crossings(times: Array, x: Array, level: float) -> tuple[float, ...]:
    """Where x changes sign, by linear interpolation; the middle of a rest between two signs."""
    seen = np.flatnonzero(np.abs(x) > level)
    found = []
    for i, j in pairwise(seen):
        if x[i] * x[j] < 0.0:
            share = x[i] / (x[i] - x[j])
            found.append(
                times[i] + (times[j] - times[i]) * share
                if j == i + 1
                else 0.5 * (times[i + 1] + times[j - 1])
            )
    return tuple(float(t) for t in found)


def _rests(unit: int, times: Array, x: Array, level: float, least: int) -> list[SingularArc]:
    """The intervals of at least `least` steps on which |x| is at most the level."""
    rest = np.concatenate([[False], np.abs(x) <= level, [False]])
    starts, ends = np.flatnonzero(~rest[:-1] & rest[1:]), np.flatnonzero(rest[:-1] & ~rest[1:]) - 1
    return [
        SingularArc(unit, float(times[i]), float(times[j]))
        for i, j in zip(starts, ends, strict=True)
        if j - i >= least
    ]


def _curvature(
    objective: ReducedObjective, control: Control, count: int, rng: np.random.Generator
) -> tuple[Curvature | None, str]:
    """The lowest eigenvalues on the free unknowns, or why there are none."""
    problem, space = objective.problem, objective.space
    if count == 0:
        return None, "no eigenvalues were asked for"
    free, where = np.ones(space.size, dtype=bool), "all unknowns"
    admissible = problem.admissible
    if admissible is not None and all(isinstance(part, Box) for part in admissible.parts):
        bounds = {
            n: b
            for part in admissible.parts
            if isinstance(part, Box)
            for n, b in part.bounds.items()
        }
        inside = {n: np.ones(x.shape) for n, x in control.items()}
        for name, (low, high) in bounds.items():
            margin = 1e-9 * (high - low)
            inside[name] = (
                (control[name] > low + margin) & (control[name] < high - margin)
            ).astype(np.float64)
        free = space.flatten(Control(space, inside, trusted=True)) > 0.0
        where = f"the {np.count_nonzero(free)} of {space.size} unknowns between their bounds"
    elif admissible is not None and not (
        admissible.convex and admissible.violation(control) < -1e-9
    ):
        return None, f"the control is not inside {admissible!r}"
    size = int(np.count_nonzero(free))
    if size == 0:
        return None, "every unknown is at a bound"

    def product(x: Array) -> Array:
        full = np.zeros(space.size)
        full[free] = np.ravel(x)
        return space.flatten(objective.hvp(control, space.unflatten(full)))[free]

    if size <= max(32, 2 * count + 2):
        matrix = np.stack([product(e) for e in np.eye(size)])
        found = np.linalg.eigvalsh(0.5 * (matrix + matrix.T))[:count]
    else:
        shape = (size, size)
        operator = LinearOperator(shape, matvec=product, dtype=np.float64)  # type: ignore[call-arg]
        try:
            found = scipy.sparse.linalg.eigsh(
                operator,
                count,
                which="SA",
                v0=rng.standard_normal(size),
                ncv=min(size, max(4 * count, 40)),
                tol=1e-8,  # type: ignore[arg-type]
                return_eigenvectors=False,
            )
        except scipy.sparse.linalg.ArpackNoConvergence:
            return None, "Lanczos' method did not converge"
        found = np.sort(found)
    negative = int(np.count_nonzero(found < -1e-9 * max(1.0, float(np.max(np.abs(found))))))
    return Curvature(found, negative, negative < len(found) or len(found) == size, size, where), ""
