"""Successive approximation (MSA): run forward, run the costates back, minimise the Hamiltonian on
every layer, repeat.

With H_k(c) = sum_m s_m (p_{m,k+1}, F(f_{m,k}, c)) + penalty on layer k of the ResNet (explicit
Euler), one iteration is

    c_k <- argmin_{c in A} H_k(c)  for every layer k,

and a control with gap = sum_k tau_k (H_k(c_k) - min H_k) = 0 satisfies the discrete maximum
principle.  Nothing makes the objective fall: the iteration may return after two steps, and then
says so.  Remedies: a step only part of the way (relaxation), the augmented Hamiltonian
(augmentation), and for batches of samples a mean of gradients with inertia.

Source: Liu and Markowich, algorithm 2 as corrected (E35); Li, Chen, Tai and E (2018) for the
augmentation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count, check_name, check_positive, check_rng
from continuum.controls import Control
from continuum.doors import checked
from continuum.endpoints import no_endpoint
from continuum.problem import LearningProblem

from ..adjoint.discretize import ReducedObjective, discretize
from ..descent.run import smooth_run
from ..run.iteration import NotFinite, Run
from ..run.monitors import Monitor
from ..run.solution import Solution, SolveError
from ..run.status import Status
from .hamiltonian import AugmentedHamiltonian, Hamiltonian, Minimum, of_layers
from .minimisers import closed_form, degree_one, obstacle, unbounded
from .msa_affine import AffineSweeps
from .msa_batches import Minibatch, minibatch_run
from .msa_rows import Rows, RowSweeps

Iterate = Control | Rows


@checked
def successive_approximation(
    problem: LearningProblem,
    *,
    initial: Control | None = None,
    relaxation: float | Literal["search"] | None = None,
    augmentation: float | Literal["adaptive"] | None = None,
    batch: Minibatch | None = None,
    max_iterations: int = 100,
    gtol: float = 1e-10,
    inner_iterations: int = 50,
    rng: np.random.Generator | None = None,
    threads: int = 1,
    monitors: Sequence[Monitor] = (),
    raise_on_failure: bool = True,
) -> Solution:
    """The control to which minimising the Hamiltonian layer by layer leads, for the ResNet of the
    problem (Euler).

    initial : where to start, projected on the admissible set; zero unless said otherwise, which can
        be a trap (LM-55)
    relaxation : None goes to the minimiser, a number in (0, 1] that share of the way, "search"
        halves the share until the objective falls by 1e-4 share^2 gap; needs a convex set
    augmentation : rho > 0 minimises the augmented Hamiltonian instead, by projected gradients;
        "adaptive" doubles rho until the objective falls, and halves it after each success
    batch : Minibatch(size) takes batches of samples, drawn without repetition by `rng`, which it
        then needs; all `max_iterations` are made
    gtol : converged when the gap is at most this; inner_iterations : projected gradients per
        layer and iteration
    threads : that share blocks of samples, and layers where the velocity is affine in the control;
        results do not depend on it, if BLAS has one thread where this is 1
    monitors : see a Snapshot with values "objective" and "gap" at every iteration
    returns Solution; history "objective", "gap" (a lower bound of the true one where inexact),
        "seconds", with "rho" or "share" where they are chosen; statistics "iterations", "exact" (1
        if the gap is, else 0), "seconds". The control is the last one on convergence and after
        batches, else the best one seen
    raises SolveError if it does not converge, unless raise_on_failure=False; Interrupted, with the
        best so far, if interrupted from the keyboard; ValueError, TypeError for bad input, and
        where the principle does not apply: blocks constant in time, penalties that are no integral
        of a density, sets in L2
    """
    no_endpoint(problem.endpoint, "successive_approximation")
    max_iterations = check_count("max_iterations", max_iterations)
    inner_iterations = check_count("inner_iterations", inner_iterations)
    gtol = check_positive("gtol", gtol)
    _check(problem, relaxation, augmentation, batch, rng)
    start = _start(problem, initial)
    objective = discretize(problem, threads=threads)
    if not np.isfinite(objective.value(start)):
        solution = Solution(start, Status.NON_FINITE_START, objective=float("inf"))
    elif batch is not None and rng is not None:
        solution = minibatch_run(objective, start, batch, max_iterations, rng, monitors)
    else:
        method = _Method(
            objective, relaxation, augmentation, max_iterations, gtol, inner_iterations
        )
        solution = method.run(start, monitors)
    return solution.raise_if_failed(raise_on_failure)


def _check(
    problem: LearningProblem,
    relaxation: object,
    augmentation: object,
    batch: Minibatch | None,
    rng: object,
) -> None:
    reason = obstacle(problem)
    if not reason and any(b.time != "layers" for b in problem.space.trained):
        reason = "a ResNet's layers need blocks with in_time='layers'"
    if not reason and augmentation is None:
        reason = unbounded(problem)
    if reason:
        raise ValueError(f"problem is not one for successive approximation: {reason}")
    if sum(x is not None for x in (relaxation, augmentation, batch)) > 1:
        raise ValueError("relaxation, augmentation and batch are three remedies: give one of them")
    if isinstance(relaxation, str):
        check_name("relaxation", relaxation, ("search",))
    elif relaxation is not None and not 0.0 < relaxation <= 1.0:  # type: ignore[operator]
        raise ValueError(f"relaxation must be in (0, 1] or 'search', got {relaxation!r}")
    if relaxation is not None and problem.admissible is not None and not problem.admissible.convex:
        raise ValueError(f"relaxation needs a convex set, and {problem.admissible!r} is not")
    if isinstance(augmentation, str):
        check_name("augmentation", augmentation, ("adaptive",))
    elif augmentation is not None:
        check_positive("augmentation", augmentation)  # type: ignore[arg-type]
    if batch is not None:
        if degree_one(problem) is not None:
            raise ValueError(
                f"batch takes steps on a penalty that is a square, not on {problem.penalty!r}"
            )
        if rng is None:
            raise ValueError("batch needs rng, a numpy random Generator, which draws the samples")
        check_rng("rng", rng)  # type: ignore[arg-type]
        if batch.size > problem.initial.shape[1]:
            raise ValueError(
                f"batch size is {batch.size}, but there are {problem.initial.shape[1]} samples"
            )


def _start(problem: LearningProblem, initial: Control | None) -> Control:
    space = problem.space
    start = space.zeros() if initial is None else space.check("initial", initial)
    return start if problem.admissible is None else problem.admissible.project(start)


@dataclass(frozen=True, eq=False)
class _Look:
    """What one forward and one backward sweep say of an iterate."""

    value: float
    gap: float
    exact: bool
    proposal: Iterate
    numbers: Mapping[str, float]
    residual: float = 0.0


class _Method:
    """MSA with all samples."""

    def __init__(
        self,
        objective: ReducedObjective,
        relaxation: float | str | None,
        augmentation: float | str | None,
        max_iterations: int,
        gtol: float,
        inner: int,
    ) -> None:
        self.objective, self.problem, self.space = objective, objective.problem, objective.space
        self.relaxation, self.augmentation, self.inner = relaxation, augmentation, inner
        self.max_iterations, self.gtol, self.exact = max_iterations, gtol, True
        self.form, self.tau = closed_form(self.problem), self.problem.mesh.steps
        plain = relaxation is None and augmentation is None
        self.sweeps = RowSweeps.of(self.problem) if plain and self.form == "rows" else None
        self.rho = 1.0 if isinstance(augmentation, str) else augmentation
        affine = self.form != "local" and self.problem.network.affine_in_control
        self.affine = None
        if affine and augmentation is None:
            self.affine = AffineSweeps(self.problem, objective)

    def run(self, start: Control, monitors: Sequence[Monitor]) -> Solution:
        here: Iterate = start if self.sweeps is None else self.sweeps.rows(start) or start
        record = Run(here, self.control, self.max_iterations, monitors)
        with record.interruptible():
            status, detail = self.iterate(record, here)
        return record.solution(status, detail, exact=float(self.exact))

    def iterate(self, record: Run[Iterate], here: Iterate) -> tuple[Status, str]:
        """Iterations from here, recorded, and how they end."""
        seen: list[tuple[float, Iterate]] = []
        while True:
            try:
                look = self.look(here, [record.last, record.best, *(x for _, x in seen)])
                self.exact = self.exact and look.exact
                last = max(look.gap, look.residual) <= self.gtol
                stop = record.record(here, {"objective": look.value, "gap": look.gap}, last)
            except SolveError as error:
                return error.solution.status, error.solution.detail
            except NotFinite as error:
                return Status.NON_FINITE_OBJECTIVE, str(error)
            detail = f"after {record.iterations} iterations, gap {look.gap:.3g}"
            status = self.status(look, here, seen, record.iterations, stop)
            if status is not None:
                return status, detail
            seen = [*seen[-1:], (look.value, here)]
            following = self.move(here, look)
            if following is None:
                return Status.LINE_SEARCH_FAILED, detail
            here, said = following
            if self.sweeps is not None and isinstance(here, Control):
                here = self.sweeps.rows(here) or here  # a general start leads to two rows a layer
            record.note(**look.numbers, **said)

    def status(
        self, look: _Look, here: Iterate, seen: list[tuple[float, Iterate]], count: int, stop: bool
    ) -> Status | None:
        """How the run ends here, if it does."""
        if max(look.gap, look.residual) <= self.gtol:
            return Status.EXTREMAL if look.exact else Status.EXTREMAL_INEXACT
        if stop:
            return Status.STOPPED
        if seen and self.same(seen[-1], (look.value, here)):
            return Status.LINE_SEARCH_FAILED
        if len(seen) == 2 and self.same(seen[0], (look.value, here)):
            return Status.TWO_CYCLE
        return Status.MAX_ITERATIONS if count == self.max_iterations else None

    def same(self, one: tuple[float, Iterate], other: tuple[float, Iterate]) -> bool:
        """True if objective and control agree to rounding."""
        if abs(one[0] - other[0]) > 1e-12 * (1.0 + abs(one[0])):
            return False
        a, b = self.control(one[1]), self.control(other[1])
        return all(np.max(np.abs(a[n] - b[n]), initial=0.0) <= 1e-12 for n in b)

    def control(self, iterate: Iterate) -> Control:
        """The iterate with its kernels formed."""
        return iterate if isinstance(iterate, Control) else iterate.control(self.space)

    def look(self, here: Iterate, kept: Sequence[Iterate]) -> _Look:
        """Objective, gap and minimiser of the Hamiltonians at an iterate.

        kept : iterates that the proposal must not be written over
        """
        if isinstance(here, Rows) and self.sweeps is not None:
            value, gap, proposal = self.sweeps.look(here)
            if proposal is not None:
                return _Look(value, gap, True, proposal, {})
            here = self.control(here)
        control = self.control(here)
        if self.affine is not None:
            value, gap, proposal = self.affine.look(control, kept)
            return _Look(value, gap, True, proposal, {})
        path = smooth_run(self.objective, control)
        hamiltonian = of_layers(self.problem, control, path.times, path.states, path.costates)
        blocks, value = dict(control.items()), path.value
        gap, exact, values, residual = np.inf, False, blocks, 0.0
        if self.augmentation is None or self.form != "local":
            best = hamiltonian.minimiser(blocks, self.inner)
            gap, exact, values = float(self.tau @ best.gap), best.exact, best.values
            residual = 0.0 if best.residual is None else float(self.tau @ best.residual)
        if self.augmentation is not None and gap > self.gtol:
            if isinstance(self.augmentation, str):
                return self.adapt(hamiltonian, control, value, gap, exact)
            best = self.augmented(hamiltonian, float(self.rho or 0.0), blocks)
            values = best.values
            if not exact and best.residual is not None:
                gap, residual = float(self.tau @ best.gap), float(self.tau @ best.residual)
        return _Look(value, gap, exact, Control(self.space, values, trusted=True), {}, residual)

    def augmented(
        self, hamiltonian: Hamiltonian, rho: float, blocks: Mapping[str, Array]
    ) -> Minimum:
        """What a local search makes of the augmented Hamiltonian."""
        h = hamiltonian
        return AugmentedHamiltonian(
            self.problem, h.times, h.states, h.costates, rho, blocks, after=h.after
        ).descend(blocks, self.inner)

    def move(self, here: Iterate, look: _Look) -> tuple[Iterate, Mapping[str, float]] | None:
        """The next iterate; None if no step lowers the objective."""
        if self.relaxation is None:
            if isinstance(self.augmentation, str) and look.numbers.get("rho") == np.inf:
                return None
            return look.proposal, {}
        control, direction = self.control(here), self.control(look.proposal) - self.control(here)
        if not isinstance(self.relaxation, str):
            return control + self.relaxation * direction, {}
        share = 1.0
        while share > 1e-12:
            trial = control + share * direction
            if self.objective.value(trial) <= look.value - 1e-4 * share**2 * look.gap:
                return trial, {"share": share}
            share *= 0.5
        return None

    def adapt(
        self, hamiltonian: Hamiltonian, control: Control, value: float, gap: float, exact: bool
    ) -> _Look:
        """The minimiser of the augmented Hamiltonian with rho doubled until the objective falls."""
        rho, residual = float(self.rho or 1.0), 0.0
        while rho < 1e12:
            best = self.augmented(hamiltonian, rho, control)
            proposal = Control(self.space, best.values, trusted=True)
            decrease = float(self.tau @ best.gap)
            if not exact and best.residual is not None:
                gap, residual = decrease, float(self.tau @ best.residual)
            settled = not exact and max(gap, residual) <= self.gtol
            if settled or (
                decrease > 0.0 and self.objective.value(proposal) <= value - 1e-4 * decrease
            ):
                self.rho = 0.5 * rho
                return _Look(value, gap, exact, proposal, {"rho": rho}, residual)
            rho *= 2.0
        return _Look(value, gap, exact, control, {"rho": np.inf}, residual)
