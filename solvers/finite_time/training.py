"""Training by a law: pseudo-time steps of w' = u(w), with errors, epochs and seconds recorded."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_name, check_positive, check_type
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem

from ..adjoint.discretize import ReducedObjective
from ..run.iteration import NotFinite, Run
from ..run.monitors import Monitor
from ..run.solution import Solution, SolveError
from ..run.status import Status
from ..steps.tableaux import StepFailed
from .laws import Closed, Law, Moment
from .plants import AffinePlant, Plant, least_eigenvalue, model_of, plant_of

Scheme: TypeAlias = Literal["exact", "implicit", "semi-implicit", "explicit"]
"""How one step of a law is made; `train_in_time` says what each is."""

Disturbance: TypeAlias = Control | Callable[[float], Control]

_LOOK_BACK = 6
"""How many errors of consecutive steps say whether a run chatters."""


@checked
def train_in_time(
    regression: LearningProblem | ReducedObjective,
    law: Law,
    horizon: float,
    step: float,
    scheme: Scheme = "semi-implicit",
    initial: Control | None = None,
    *,
    model: LearningProblem | ReducedObjective | None = None,
    disturbance: Disturbance | None = None,
    kernel: bool = False,
    atol: float = 1e-12,
    monitors: Sequence[Monitor] = (),
    raise_on_failure: bool = True,
) -> Solution[Control]:
    """Weights that follow w' = u(w) of a law for the pseudo-time `horizon`, or until every error
    |e| <= atol.

    regression : the outputs readout(f(T)) and their target; its terminal cost is not read, since
        the law has a loss of its own.  One neuron: neuron(inputs, target)
    step : of pseudo-time; the last one is shorter if it does not divide the horizon
    scheme : "explicit" is Euler's method, which ends in a band around 0 for exponents < 1;
        "semi-implicit" takes the error of the end of a step with coefficients of its beginning;
        "implicit" is backward Euler; "exact" solves the equation of the errors, where they have one
        of their own: SignLaw for one sample, PowerLaw for one sample with an output affine in the
        weights, PseudoinverseLaw for independent samples with such outputs, or sigmoids of them
    initial : zero unless given, which can be a trap for a network
    model : the problem, with the same controls, from which the law takes its derivatives (signs of
        the inputs for SignLaw), where it differs from what is trained, as for perturbed inputs
    disturbance : d, or d(t), a control: w' = u(w) + d to the horizon; not for scheme="exact"
    kernel : whether lambda_min(J J^T) is computed at every step where the scheme does not need J
    returns Solution with .control, .objective (the law's loss), .history with one entry per step,
        the start included: "pseudo_time", "epochs" (evaluations of the law), "seconds",
        "objective", "error" (max |e|), and "lambda_min" where J is known; the status says
        whether the errors settled, the detail where and what was seen of J and of chattering
    raises ValueError for a scheme that does not fit, targets 0 and 1 without smoothing for
        SignLaw; TypeError for what is no law or regression; SolveError if the weights do not stay
        finite, an implicit step has no solution or the law stands still with an error, unless
        raise_on_failure=False; Interrupted on Ctrl-C
    """
    check_type("law", law, Law)
    check_name("scheme", scheme, ("exact", "implicit", "semi-implicit", "explicit"))
    horizon, step = check_positive("horizon", horizon), check_positive("step", step)
    check_positive("atol", atol)
    plant = plant_of(regression)
    believed = model_of(plant, model)
    law.check(plant, believed)
    closed = law.closed(plant, believed) if scheme == "exact" else None
    if scheme == "exact" and (closed is None or disturbance is not None):
        raise ValueError(
            "scheme='exact' needs errors with an equation of their own and no disturbance: one "
            "sample for SignLaw, one with an output affine in the weights for PowerLaw, "
            "independent samples with such outputs, or sigmoids of them, for PseudoinverseLaw; "
            "take 'semi-implicit' or 'explicit'"
        )
    start = plant.space.zeros() if initial is None else plant.space.check("initial", initial)
    count = max(1, math.ceil(horizon / step - 1e-9))
    run = Run(plant.space.flatten(start), plant.space.unflatten, count, monitors, flat=_same)
    steps = _Steps(run, plant, believed, law, scheme, closed, disturbance, kernel)
    with run.interruptible(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        try:
            solution = steps.through(horizon, step, count, atol)
        except NotFinite as error:
            known = Status.NON_FINITE_OBJECTIVE if run.records else Status.NON_FINITE_START
            solution = run.solution(known, str(error))
        except (StepFailed, np.linalg.LinAlgError) as error:
            solution = run.solution(Status.NEWTON_FAILED, str(error))
        except SolveError as error:
            solution = run.solution(Status.NON_FINITE, error.solution.detail)
    return solution.raise_if_failed(raise_on_failure)


class _Steps:
    """The steps of one run."""

    def __init__(
        self,
        run: Run[Array],
        plant: Plant,
        model: Plant,
        law: Law,
        scheme: Scheme,
        closed: Closed | None,
        disturbance: Disturbance | None,
        kernel: bool,
    ) -> None:
        self.run, self.plant, self.model, self.law = run, plant, model, law
        self.scheme, self.closed, self.disturbance = scheme, closed, disturbance
        self.constant = None
        if isinstance(plant, AffinePlant) and plant.linear:
            self.constant = least_eigenvalue(plant.matrix)
        self.watched = kernel or law.reads_jacobian(plant, scheme)
        self.lost = math.nan
        self.recent: deque[Array] = deque(maxlen=_LOOK_BACK)

    def through(self, horizon: float, step: float, count: int, atol: float) -> Solution[Control]:
        """The whole run."""
        run, plant = self.run, self.plant
        w = run.last
        e = plant.errors(w)
        for n in range(count + 1):
            time = min(n * step, horizon) if n < count else horizon
            self.recent.append(e)
            largest = float(np.max(np.abs(e)))
            settled = largest <= atol and self.disturbance is None
            stop = run.record(w, self._numbers(time, w, e), last=settled or n == count)
            if settled:
                words = f"max |e| = {largest:.3g} at pseudo-time {time:.6g}"
                return run.solution(Status.SETTLED, self._said(words))
            if stop:
                return run.solution(Status.STOPPED, f"max |e| = {largest:.3g}")
            if n == count:
                words = f"max |e| = {largest:.3g} at the horizon{self._chatter()}"
                return run.solution(Status.FINISHED, self._said(words))
            following = min((n + 1) * step, horizon) if n + 1 < count else horizon
            change = self._change(w, e, time, following - time)
            if not np.any(change) and self.disturbance is None:
                words = f"from pseudo-time {time:.6g} on, with max |e| = {largest:.3g}"
                return run.solution(Status.STANDS_STILL, self._said(words))
            w = w + change
            if not np.all(np.isfinite(w)):
                raise NotFinite(f"a weight is not finite after pseudo-time {time:.6g}")
            e = plant.errors(w)
        raise RuntimeError("unreachable: the last step returns")

    def _change(self, w: Array, e: Array, time: float, step: float) -> Array:
        drift = np.zeros_like(w)
        if self.disturbance is not None:
            given = self.disturbance(time) if callable(self.disturbance) else self.disturbance
            space = self.plant.space
            drift = step * space.flatten(space.check("disturbance", given))
        pushed = e if self.disturbance is None else self.plant.errors(w + drift)
        at = Moment(w, e, self.plant, self.model, w + drift, pushed)
        passes = 1
        if self.closed is not None:
            change = self.closed.change(at, self.closed.exact(e, step))
        elif self.scheme == "implicit":
            change, passes = self.law.implicit(at, step)
        elif self.scheme == "semi-implicit":
            change = self.law.semi_implicit(at, step)
        else:
            change = step * self.law.velocity(at)
        self.run.evaluations += passes
        return drift + change

    def _numbers(self, time: float, w: Array, e: Array) -> dict[str, float]:
        numbers = {
            "pseudo_time": time,
            "epochs": float(self.run.evaluations),
            "objective": self.law.objective(e),
            "error": float(np.max(np.abs(e))),
        }
        if self.watched:
            found = self.constant
            if found is None:
                found = least_eigenvalue(self.plant.jacobian(w))
            numbers["lambda_min"] = found
            if found == 0.0 and math.isnan(self.lost):
                self.lost = time
        return numbers

    def _said(self, words: str) -> str:
        if math.isnan(self.lost):
            return words
        return (
            f"{words}; the rows of J are dependent at pseudo-time {self.lost:.6g}: no settling "
            "time is proved"
        )

    def _chatter(self) -> str:
        """Words for errors whose largest entry changes its sign in each of the last steps."""
        kept = np.array(self.recent)
        if len(kept) < _LOOK_BACK:
            return ""
        largest = int(np.argmax(np.abs(kept[-1])))
        signs = np.sign(kept[:, largest])
        if not np.all(signs[1:] * signs[:-1] < 0.0):
            return ""
        low, high = np.min(np.abs(kept[:, largest])), np.max(np.abs(kept[:, largest]))
        return (
            f", chattering: this error changed its sign in each of the last {_LOOK_BACK - 1} "
            f"steps, {low:.3g} <= |e| <= {high:.3g}"
        )


def _same(w: Array) -> Array:
    return w
