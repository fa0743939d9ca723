"""Pontryagin's principle as a certificate: what a control is found to satisfy of the continuous
problem.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import scipy

from continuum.arrays import Array
from continuum.checks import check_count, check_positive, check_rng
from continuum.controls import Control
from continuum.doors import checked
from continuum.endpoints import no_endpoint
from continuum.problem import LearningProblem
from continuum.records import plain, short

from ..adjoint.discretize import Path, ReducedObjective, discretize
from ..descent.run import composite, smooth_run
from ..run.solution import SolveError
from ..steps.tableaux import RK4, RungeKutta
from .extremals import SingularArc, Switch
from .minimisers import obstacle, unbounded
from .switching import points_of_layer, switches_and_arcs, told_arcs, told_switches

_ELSEWHERE = 0.1
"""Share of the projected gradient of the certificate's run below which that on Euler's layers says
that the control was trained on those.
"""

_LINES = 8
"""Times and intervals that are printed."""


@dataclass(frozen=True, eq=False)
class Curvature:
    """The lowest eigenvalues of the Hessian of the discrete objective, in the product of the space.

    eigenvalues : increasing; morse_index : how many of them lie below -tolerance
    tolerance : 1e-6 of the largest size of an eigenvalue of the Hessian, and at least ten times the
        asymmetry of its products; what is smaller counts as zero
    complete : True if at least one of them is not negative, so that the index is that of the whole
        Hessian
    variables : of how many unknowns; where : which, in words
    """

    eigenvalues: Array
    tolerance: float
    morse_index: int
    complete: bool
    variables: int
    where: str

    __repr__ = short
    to_dict = plain


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
    switches : in order, where the switching function of an entry crosses zero, by linear
        interpolation between the ends of steps; the same functions as of `Extremal`: of blocks that
        no penalty counts, in sets at whose corners the minimiser of H then is, and of the whole
        control where the penalty is s |c|.  Empty where the minimiser moves continuously or is not
        known in closed form
    singular_arcs : where such a function rests at zero for a layer or more, or the entry strictly
        between its bounds on three layers or more, with the function near zero: crossing it on
        each, or below 0.1 of what it changes on a layer at most and 0.01 of its largest value, or
        so on Euler's layers
    projected_gradient : |P(c - g) - c|, g the gradient of the objective of this run
    layer_gradient : the same of Euler's method with one step per layer, the ResNet
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
    switches: tuple[Switch, ...] = ()
    singular_arcs: tuple[SingularArc, ...] = ()
    projected_gradient: float = float("nan")
    layer_gradient: float = float("nan")
    curvature: Curvature | None = None
    curvature_reason: str = ""
    held: tuple[str, ...] = ()

    __repr__ = short
    to_dict = plain

    def switching_times(self, block: str = "bias") -> Array:
        """The times at which an entry of `block` switches, in order."""
        return np.array([s.time for s in self.switches if s.block == block])

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
        if self.layer_gradient < _ELSEWHERE * self.projected_gradient:
            lines.append(
                f"  {self.layer_gradient:.3g} on Euler's layers, but this is of the differential "
                "equation, where that is good to the layer length: train discretize(problem, RK4())"
            )
        together = 0.01 * float(np.min(self.times[:, -1] - self.times[:, 0]))
        for title, told in (
            ("switching times  ", told_switches(self.switches, together) or ["none"]),
            ("singular arcs    ", told_arcs(self.singular_arcs)),
        ):
            if told:
                more = f"; and {len(told) - _LINES} more" if len(told) > _LINES else ""
                lines.append(title + "; ".join(told[:_LINES]) + more)
        if self.curvature is None:
            lines.append(f"second order     not judged: {self.curvature_reason}")
        else:
            least = "" if self.curvature.complete else "at least "
            values = ", ".join(f"{x:.4g}" for x in self.curvature.eigenvalues)
            lines.append(
                f"second order     lowest eigenvalues {values}; Morse index "
                f"{least}{self.curvature.morse_index}, "
                f"counted below -{self.curvature.tolerance:.2g}, in {self.curvature.where}"
            )
        return "\n".join(lines)


@checked
def pontryagin_certificate(
    problem: LearningProblem,
    control: Control,
    *,
    stepper: RungeKutta | None = None,
    steps_per_layer: int = 4,
    eigenvalues: int = 3,
    rtol: float = 1e-8,
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
    rtol : costates below this share of 1 + sqrt(2 J) count as zero; so do switching functions,
        relative to the largest value in their block
    inner_iterations : of the local search where the minimiser of H has no closed form
    rng : a numpy random Generator, for the start of Lanczos' method; seed 0 if not given
    returns Certificate; where `applies` is False it says why, and nothing is certified
    raises SolveError if the state does not stay finite; ValueError for a control that is not
        admissible, TypeError for an adaptive method
    Source: Liu and Markowich section 4.2, with E26-E29 of its errata.
    """
    no_endpoint(problem.endpoint, "pontryagin_certificate")
    steps_per_layer = check_count("steps_per_layer", steps_per_layer)
    eigenvalues = check_count("eigenvalues", eigenvalues, least=0)
    rtol = check_positive("rtol", rtol)
    rng = np.random.default_rng(0) if rng is None else check_rng("rng", rng)
    control = problem.space.check("control", control)
    if problem.admissible is not None and not problem.admissible.contains(control, 1e-9):
        violation = problem.admissible.violation(control)
        raise ValueError(
            f"control is not admissible: it exceeds {problem.admissible!r} by {violation:.3g}"
        )
    method = RK4() if stepper is None else stepper
    if method.adaptive:
        raise TypeError(f"stepper must take equal steps, got {method!r}")
    held = tuple(b.name for b in problem.space.trained if b.time == "static")
    if held and len(held) < len(problem.space.trained):
        rest = pontryagin_certificate(
            *problem.holding(control, held),
            stepper=stepper,
            steps_per_layer=steps_per_layer,
            eigenvalues=eigenvalues,
            rtol=rtol,
            inner_iterations=inner_iterations,
            rng=rng,
        )
        whole = discretize(problem, method, steps_per_layer, "steps")
        gradient = smooth_run(whole, control).gradient
        layered = _on_layers(problem, control)
        return replace(
            rest,
            held=held,
            projected_gradient=_step(whole, control, gradient),
            layer_gradient=float("nan")
            if layered is None
            else _step(whole, control, layered.gradient),
        )
    reason = obstacle(problem)
    if reason:
        return Certificate(False, reason)
    objective = discretize(problem, method, steps_per_layer, "steps")
    path = smooth_run(objective, control)
    fine = smooth_run(discretize(problem, method, 2 * steps_per_layer, "steps"), control)
    weights = problem.network.weights
    residuals = (
        _distance(fine.states[::2] - path.states, weights),
        _distance(fine.remaining[::2] - path.remaining, weights),
    )
    silent = _silence(problem, control, path, rtol)
    if silent:
        return Certificate(False, silent, path.value, *residuals)
    grid, energies, gaps, exact = _hamiltonians(objective, control, path, inner_iterations)
    total = float(np.sum(0.5 * np.diff(grid, axis=1) * (gaps[:, 1:] + gaps[:, :-1])))
    layered = _on_layers(problem, control)
    switches: tuple[Switch, ...] = ()
    arcs: tuple[SingularArc, ...] = ()
    if exact:
        slopes = None if layered is None else layered.gradient
        switches, arcs = switches_and_arcs(objective, control, path, rtol, slopes)
    curvature, why = _curvature(objective, control, eigenvalues, rng)
    return Certificate(
        True,
        "",
        path.value,
        *residuals,
        grid,
        energies,
        gaps,
        exact,
        total,
        float(np.max(energies) - np.min(energies)),
        switches,
        arcs,
        _step(objective, control, path.gradient),
        float("nan") if layered is None else _step(objective, control, layered.gradient),
        curvature,
        why,
    )


def _silence(problem: LearningProblem, control: Control, path: Path, rtol: float) -> str:
    """Why the principle decides nothing on this run, in words; empty if it decides something."""
    loss = path.value - (0.0 if problem.penalty is None else problem.penalty.value(control))
    largest = float(np.max(np.abs(path.remaining)))
    free = problem.penalty is None and not problem.functional.running_reads
    if free and largest <= rtol * (1.0 + np.sqrt(2.0 * abs(loss))):
        met, then = f"but the loss does not: it is {loss:.4g}, and stationary in the state", ""
        if loss <= rtol**2:
            met = f"and the loss does too, to {loss:.2g}: the target is reached"
            then = (
                "; minimal_norm(problem, control) chooses one of least norm among the controls "
                "that reach the target"
            )
        return (
            f"the costate vanishes at every time (|p| <= {largest:.2g}), {met}.  So H is constant "
            "in the control, every control is extremal along this run, and the principle decides "
            f"nothing (LM-56){then}"
        )
    return unbounded(problem)


def _on_layers(problem: LearningProblem, control: Control) -> Path | None:
    """The run of Euler's method, one step per layer; None where it does not stay finite."""
    try:
        return smooth_run(discretize(problem), control)
    except SolveError:
        return None


def _step(objective: ReducedObjective, control: Control, gradient: Control) -> float:
    """|prox_1(c - g) - c|, the projection where every penalty has a gradient."""
    moved = composite(objective).prox(control - gradient, 1.0)
    return objective.space.norm(moved - control)


def _hamiltonians(
    objective: ReducedObjective, control: Control, path: Path, inner: int
) -> tuple[Array, Array, Array, bool]:
    """Times, H and gap, (K, n + 1) each, at the ends of the steps of every layer; whether the gap
    is exact.
    """
    grid, energies, gaps, exact = [], [], [], True
    for layer in range(objective.problem.mesh.layers):
        found, values = points_of_layer(objective, control, path, layer)
        best = found.minimiser(values, inner)
        grid.append(np.asarray(found.times))
        energies.append(best.value + best.gap)
        gaps.append(best.gap)
        exact = exact and best.exact
    return np.stack(grid), np.stack(energies), np.stack(gaps), exact


def _distance(difference: Array, weights: Array) -> float:
    return float(np.sqrt(np.max(np.sum(weights[:, None] * difference**2, axis=1))))


def _curvature(
    objective: ReducedObjective, control: Control, count: int, rng: np.random.Generator
) -> tuple[Curvature | None, str]:
    """The lowest eigenvalues on the free unknowns, or why there are none."""
    problem, space = objective.problem, objective.space
    if count == 0:
        return None, "no eigenvalues were asked for"
    if problem.penalty is not None and not problem.penalty.smooth:
        return None, f"{problem.penalty!r} has no second derivative"
    free, where = np.ones(space.size, dtype=bool), "all unknowns"
    if problem.admissible is not None:
        masks = problem.admissible.free_entries(control, 1e-9)
        if masks is None:
            return None, f"the control is not inside {problem.admissible!r}"
        numbers = {n: mask.astype(np.float64) for n, mask in masks.items()}
        free = space.flatten(Control(space, numbers, trusted=True)) > 0.0
        where = f"the {np.count_nonzero(free)} of {space.size} unknowns between their bounds"
    size = int(np.count_nonzero(free))
    if size == 0:
        return None, "every unknown is at a bound"

    here = objective.linearised(control)

    def product(x: Array) -> Array:
        full = np.zeros(space.size)
        full[free] = np.ravel(x)
        return space.flatten(here.hvp(space.unflatten(full)))[free]

    try:
        found, largest, defect = _lowest(product, size, count, rng)
    except scipy.sparse.linalg.ArpackError as error:
        return None, f"Lanczos' method did not converge: {error}"
    tolerance = max(1e-6 * largest, 10.0 * defect)
    negative = int(np.count_nonzero(found < -tolerance))
    complete = negative < len(found) or len(found) == size
    return Curvature(found, tolerance, negative, complete, size, where), ""


def _lowest(
    product: Callable[[Array], Array], size: int, count: int, rng: np.random.Generator
) -> tuple[Array, float, float]:
    """(the lowest eigenvalues, the largest size of one, the asymmetry of the products), of a
    symmetric matrix given by its products.

    Lanczos' method is asked for the lowest eigenvalues of A - s, s the largest size, so that its
    tolerance is relative to s, and eigenvalues near 0 cost no more than others.
    """
    if size <= max(32, 2 * count + 2):
        matrix = np.stack([product(e) for e in np.eye(size)])
        found = np.linalg.eigvalsh(0.5 * (matrix + matrix.T))
        defect = 0.5 * float(np.max(np.abs(matrix - matrix.T)))
        return found[:count], float(np.max(np.abs(found))), defect
    start, other = rng.standard_normal((2, size)) / np.sqrt(size)
    image = product(start)
    defect = abs(float(other @ image - start @ product(other)))
    if not np.any(image):  # almost surely the matrix is zero
        return np.zeros(count), 0.0, defect

    def solve(shift: float, most: int, which: str, tol: float) -> Array:
        operator = scipy.sparse.linalg.LinearOperator(
            (size, size),
            matvec=lambda x: product(x) - shift * np.ravel(x),  # type: ignore[call-arg]
            dtype=np.float64,  # type: ignore[call-arg]
        )
        return scipy.sparse.linalg.eigsh(
            operator,
            most,
            which=which,
            v0=start,
            ncv=min(size, max(4 * most, 40)),
            tol=tol,  # type: ignore[arg-type]
            return_eigenvectors=False,
        )

    largest = float(np.max(np.abs(solve(0.0, 1, "LM", 1e-3))))
    return np.sort(solve(largest, count, "SA", 1e-10)) + largest, largest, defect
