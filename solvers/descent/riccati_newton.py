"""Newton's method for problems in time, by one sweep over the layers per iteration."""

from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count, check_positive, store
from continuum.controls import Control

from ..adjoint.discretize import ReducedObjective
from ..adjoint.linear_quadratic import Linearization, Linearizer, reduced_gradient
from ..run.solution import Solution, SolveError
from ..run.status import Status
from .objective import Composite
from .riccati import Sweep, sweep
from .rollout import Point, Rollout
from .run import Descent, Minimizer, OutOfDomain, refuse

import os
C1 = 1e-4
UP, DOWN, S0, KEEP, START = 4, 4, 1e-2, False, 0.0


@dataclass(frozen=True)
class RiccatiNewton(Minimizer):

    def check(self, problem: Composite) -> None:
        if not isinstance(problem.objective, ReducedObjective):
            raise refuse(self, problem.objective, "LBFGS()")
        Linearizer(problem.objective)

    def descend(self, run: Descent, start: Control) -> Solution[Control]:
        return _Newton(self, run).descend(start)


class _Newton:
    def __init__(self, minimizer, run):
        self.minimizer, self.run = minimizer, run
        objective = run.problem.objective
        self.linearizer = Linearizer(objective)
        self.columns = self.linearizer.columns
        space = objective.space
        self.bounds = np.stack([np.full(len(self.columns), -np.inf), np.full(len(self.columns), np.inf)])
        self.rollout = Rollout(objective, self.columns, self.bounds)
        self.metric = self.columns.split(self.columns.weights)[0]
        self.mode = os.environ.get("MODE", "lift")
        self.trials = 0
        self.sweeps = 0

    def descend(self, start):
        run = self.run
        point = self.rollout.start(start)
        shift = START
        log = bool(os.environ.get("LOG"))
        while True:
            lin = self.linearizer(point.control, (point.sweeps, point.tape))
            g = lin.gradient.reshape(self.metric.shape)
            measure = float(np.sqrt(np.sum(g * g / self.metric)))
            x = run.space.flatten(point.control)
            status = run.accept(x, point.value, None, measure)
            if status is not None:
                break
            fails = 0
            while True:
                self.sweeps += 1
                found = sweep(lin.model, self.metric, shift, lift=True)
                alpha, new = 1.0, None
                for _ in range(int(os.environ.get("HALF", 30))):
                    self.trials += 1
                    new = self.rollout(point, lin.states, alpha * found.opens, found.gains, np.zeros(0))
                    if new is not None and new.value <= point.value - C1 * 2 * alpha * found.predicted + 4e-16 * abs(point.value):
                        break
                    alpha /= 2
                    new = None
                if new is not None:
                    break
                fails += 1
                shift = max(UP * shift, S0)
                if shift > 1e10:
                    return run.solution(Status.LINE_SEARCH_FAILED)
            ratio = (point.value - new.value) / max(2 * found.predicted*alpha*(1-alpha/2), 1e-300)
            if log: print(run.iterations, f"J {point.value:.9f} g {measure:.2e} neg {found.inertia} in {(found.negatives>0).sum()} least {found.least.min():.2e} a {alpha:.3g} shift {shift:.2g} ratio {ratio:.2f} pred {found.predicted:.2e}")
            if alpha < 0.25 or ratio < 0.1:
                shift = max(4 * shift, 1e-2)
            elif ratio > 0.5 and (fails == 0 or not KEEP):
                shift = shift / DOWN if shift > S0/4 else 0.0
            point = new
        final = sweep(lin.model, self.metric)
        return run.solution(status, morse_index=float(final.inertia), trials=float(self.trials), sweeps=float(self.sweeps))
