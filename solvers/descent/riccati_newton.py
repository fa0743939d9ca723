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
        self.metric = self.columns.weights
        self.trials = 0
        self.sweeps = 0
        self.partial = 0

    def descend(self, start):
        run = self.run
        point = self.rollout.start(start)
        P = PARAMS
        shift = None
        log = bool(os.environ.get("LOG"))
        while True:
            lin = self.linearizer(point.control, (point.sweeps, point.tape))
            g = lin.gradient
            measure = float(np.sqrt(np.sum(g * g / self.metric)))
            if shift is None: shift = P["start"] * measure
            x = run.space.flatten(point.control)
            status = run.accept(x, point.value, None, measure)
            if status is not None:
                break
            fails = 0
            while True:
                self.sweeps += 1
                found = sweep(lin.model, self.metric, shift, lin.borders, definite=True)
                alpha, new = 1.0, None
                for _ in range(P["half"]):
                    if found.ended >= 0:
                        self.partial += 1 - found.ended / len(found.law)
                        break
                    self.trials += 1
                    new = self.rollout(point, lin.states, found.law, found.ds, alpha)
                    if new is not None and new.value <= point.value - C1 * 2 * alpha * found.predicted + 4e-16 * abs(point.value):
                        break
                    alpha *= P["beta"]
                    new = None
                if new is not None:
                    break
                fails += 1
                s0 = P["s0"] * measure
                old = shift
                shift = max(P["up"] * shift, s0)
                if found.ended >= 0:
                    shift = max(shift, min(P["cap"] * shift, P["least"] * -found.least[found.ended]))
                if log: print("   fail", found.ended, found.least[found.ended], old, shift)
            ratio = (point.value - new.value) / max(2 * found.predicted*alpha*(1-alpha/2), 1e-300)
            if log: print(run.iterations, f"J {point.value:.9f} g {measure:.2e} a {alpha:.3g} shift {shift:.2g} ratio {ratio:.2f} pred {found.predicted:.2e} fails {fails}")
            s0 = P["s0"] * measure
            if ratio > P["rmin"] and (fails == 0 or not P["keep"]):
                shift = shift / P["down"] if shift > s0 / 4 else 0.0
            point = new
        final = sweep(lin.model, self.metric)
        return run.solution(status, morse_index=float(final.inertia), trials=float(self.trials), sweeps=float(self.sweeps), partial=self.partial)
PARAMS = dict(start=0.5, half=2, beta=.5, s0=1e-2, up=4, down=4, keep=False, rmin=.5, least=0., cap=10)
