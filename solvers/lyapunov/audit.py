"""How far a control meets V' <= -kappa V along its paths, in shares with exact intervals."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import betaincinv

from continuum.arrays import Array, is_numpy
from continuum.checks import check_count, check_positive, check_rng, check_type
from continuum.controls import Control
from continuum.doors import checked
from continuum.losses import CrossEntropy
from continuum.problem import LearningProblem
from continuum.records import plain, short

from ..flow.integrate import integrate
from ..steps.tableaux import RK4, Stepper
from .pointwise import Points, Violations, lyapunov_function, violation
from .samplers import Sampler, SetSampler

LEVEL = 0.95
"""Of the intervals."""


class Share(NamedTuple):
    """count of total, with the exact interval of the probability behind it."""

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.count / self.total

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


@checked
def share(count: int, total: int, level: float = LEVEL) -> Share:
    """A share with the interval of Clopper and Pearson: all probabilities p under which neither
    `count` or more nor `count` or fewer of `total` independent draws are rarer than
    (1 - level) / 2.

    raises ValueError unless 0 <= count <= total, 0 < level < 1
    """
    total, count = check_count("total", total), check_count("count", count, least=0)
    if count > total:
        raise ValueError(f"count must be at most total = {total}, got {count}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    tail = 0.5 * (1.0 - level)
    low = betaincinv(count, total - count + 1, tail) if count else 0.0
    high = betaincinv(count + 1, total - count, 1.0 - tail) if count < total else 1.0
    return Share(count, total, float(low), float(high))


@dataclass(frozen=True, eq=False)
class Audit:
    """What `audit` found; `print` says it in sentences.

    kappa, horizon : of the condition;  where : what its violations were taken on
    times : (S + 1,), the ends of the steps;  values : V there, (S + 1, M)
    violations : r = (grad V, F) + kappa V, (S + 1, M), on the paths
    elsewhere : (L, M), r at the states that a sampler drew; None for where="path"
    violating : share of the samples with r > 0 at one of the points looked at or more
    meeting : share of the samples with V(t) <= e^(-kappa t) V(0) at all ends of steps, to 1e-12
    bounds : (M,), e^(-kappa T) V(0) + int e^(-kappa (T - s)) max(0, r) ds by the trapezoid rule,
        which is >= V(T) but for the errors of the rule and of the steps
    threshold : V < threshold means the right class, which cross-entropy knows; None else
    escaping : share of the samples whose path leaves the set that is sampled; None for paths
    """

    kappa: float
    horizon: float
    where: str
    times: Array
    values: Array
    violations: Array
    elsewhere: Array | None
    violating: Share
    meeting: Share
    bounds: Array
    threshold: float | None
    escaping: Share | None

    __repr__ = short
    to_dict = plain

    @property
    def violation_share(self) -> float:
        """Of the points looked at, states and times: those with r > 0."""
        r = self.violations if self.elsewhere is None else self.elsewhere
        return float(np.mean(r > 0.0))

    @property
    def mean_bound(self) -> float:
        """The mean of `bounds`, beside mean V(T)."""
        return float(np.mean(self.bounds))

    @property
    def error_bound(self) -> float | None:
        """A bound of the share of wrong samples, mean_bound / threshold (Markov); None without a
        threshold.  Above 1 it says nothing.
        """
        return None if self.threshold is None else self.mean_bound / self.threshold

    def __str__(self) -> str:
        lines = [
            f"audit of V' <= -{self.kappa:g} V on {self.where}, {self.meeting.total} samples",
            f"  r > 0             at {self.violation_share:.1%} of the points; "
            f"samples with one: {self.violating}",
            f"  decay             V(t) <= e^(-kappa t) V(0) at all {len(self.times)} times: "
            f"{self.meeting} of the samples",
            f"  Groenwall         mean V(T) {np.mean(self.values[-1]):.4g}, bound "
            f"{self.mean_bound:.4g} (trapezoid rule, {len(self.times)} nodes)",
        ]
        if self.error_bound is not None:
            vacuous = ", which says nothing" if self.error_bound >= 1.0 else ""
            lines.append(f"  wrong classes     at most {self.error_bound:.1%} by it{vacuous}")
        if self.escaping is not None:
            lines.append(f"  escapes           {self.escaping} of the paths leave the sampled set")
        lines.append(
            f"Intervals are exact at {LEVEL:.0%} for samples drawn independently, and speak of the "
            "distribution drawn from, not of every sample."
        )
        return "\n".join(lines)


@checked
def audit(
    problem: LearningProblem,
    control: Control,
    kappa: float,
    *,
    where: Literal["path"] | Sampler = "path",
    stepper: Stepper | None = None,
    steps_per_layer: int = 1,
    rng: np.random.Generator | None = None,
) -> Audit:
    """Where r = (grad V, F) + kappa V is > 0, which samples decay as asked, and Groenwall's bound.

    V is the terminal loss of the readout.  r <= 0 along a path gives V(t) <= e^(-kappa t) V(0);
    r <= v(t) gives V(T) <= e^(-kappa T) V(0) + int_0^T e^(-kappa (T - s)) v(s) ds.

    kappa : > 0
    where : "path", or a sampler, whose states and times are looked at for r > 0 instead of those of
        the paths; decay and Groenwall's bound are those of the paths in any case
    stepper, steps_per_layer : of the paths, whose ends of steps are looked at; RK4() unless said
        otherwise
    rng : of the sampler; the Generator of seed 0 if None
    raises ValueError for kappa <= 0 and for starts outside the sampler's set, TypeError for a
        problem whose terminal cost is not the loss of a readout
    Source: LyaNet, section 3, corrected: without a dynamic projection, and with Groenwall's lemma.
    """
    check_type("problem", problem, LearningProblem)
    control = problem.space.check("control", control)
    kappa = check_positive("kappa", kappa)
    if not is_numpy(problem.initial):
        raise TypeError("problem must hold NumPy arrays: audits are computed on the host")
    if where != "path" and not isinstance(where, Sampler):
        raise TypeError(f"where must be 'path' or a sampler such as Cube(3.0), got {where!r}")
    loss = lyapunov_function(problem).loss
    run = integrate(
        problem.network,
        control,
        problem.initial,
        RK4() if stepper is None else stepper,
        save="steps",
        steps_per_layer=steps_per_layer,
    )
    times, states = run.trajectory.times, run.trajectory.states
    blocks = problem.functional.terminal_values(control)
    values = np.stack([problem.functional.terminal_costs(f, blocks) for f in states])
    violations = violation(problem, control, states, times, kappa)
    elsewhere = escaping = None
    if isinstance(where, Sampler):
        where.check(problem, kappa)
        points = where.draw(problem, check_rng("rng", rng), lambda: (times, states))
        elsewhere = violation(problem, control, points.states, points.times, kappa)
        if isinstance(where, SetSampler):
            inside = np.all(where.contains(states), axis=0)
            escaping = share(int(np.sum(~inside)), len(inside))
    samples, horizon = values.shape[1], float(times[-1])
    decayed = np.exp(-kappa * times)[:, None] * values[0]
    meeting = share(int(np.all(values <= decayed * (1.0 + 1e-12), axis=0).sum()), samples)
    kept = np.exp(-kappa * (horizon - times))[:, None]
    # at the end of a step the control is that of its own layer, not of the next one
    own = problem.mesh.layers_of(0.5 * (times[1:] + times[:-1]))
    ends = Violations(problem, control, Points(states[1:], times[1:], own), kappa).r
    two = kept[:-1] * np.maximum(violations[:-1], 0.0) + kept[1:] * np.maximum(ends, 0.0)
    bounds = decayed[-1] + 0.5 * np.diff(times) @ two
    looked = violations if elsewhere is None else elsewhere
    violating = share(int(np.any(looked > 0.0, axis=0).sum()), samples)
    return Audit(
        kappa,
        horizon,
        "the paths" if where == "path" else f"{where!r}",
        times,
        values,
        violations,
        elsewhere,
        violating,
        meeting,
        bounds,
        threshold_of(loss),
        escaping,
    )


def threshold_of(loss: object) -> float | None:
    """The number below which this loss means the right class: weight (log 2 - gamma) for
    cross-entropy truncated at gamma, None for other losses and for gamma >= log 2.
    """
    if not isinstance(loss, CrossEntropy):
        return None
    below = loss.weight * (float(np.log(2.0)) - (loss.truncation or 0.0))
    return below if below > 0.0 else None
