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
        P = PARAMS
        shift = None
        delta = 1.0
        good = 0.0
        log = bool(os.environ.get("LOG"))
        while True:
            lin = self.linearizer(point.control, (point.sweeps, point.tape))
            g = lin.gradient.reshape(self.metric.shape)
            measure = float(np.sqrt(np.sum(g * g / self.metric)))
            if shift is None: shift = P["start"] * measure
            if P["lm"]: shift = good * measure
            x = run.space.flatten(point.control)
            status = run.accept(x, point.value, None, measure)
            if status is not None:
                break
            fails = 0
            while True:
                self.sweeps += 1
                mod = lin.model
                if P["state"]:
                    K, M, N = mod.A.shape[:3]
                    Q = mod.Q.copy()
                    Q[1:] += shift * P["state"] * 0.1 / M * np.eye(N)
                    mod = mod._replace(Q=Q)
                if P["gn"] and (P["gn"] == 2 or fails > 0):
                    K, M, N = mod.A.shape[:3]
                    Q = mod.Q.copy()
                    Q[:] = (0.2 / M) * np.eye(N)
                    Q[0] /= 2; Q[-1] /= 2
                    mod = mod._replace(Q=Q, S=0 * mod.S)
                found = sweep(mod, self.metric, shift * P["con"], lift=P["lift"])
                alpha, new = 1.0, None
                for _ in range(P["half"]):
                    if not P["lift"] and found.inertia: break
                    self.trials += 1
                    new = self.rollout(point, lin.states, alpha * found.opens, found.gains, np.zeros(0))
                    if new is not None and new.value <= point.value - C1 * 2 * alpha * found.predicted + 4e-16 * abs(point.value):
                        break
                    alpha *= P["beta"]
                    new = None
                if new is not None:
                    break
                fails += 1
                s0 = P["s0"] * (measure if P["rel"] else 1)
                if P["tassa"]:
                    delta = max(P["up"], delta * P["up"])
                    shift = max(shift * delta, s0)
                else:
                    shift = max(P["up"] * shift, s0)
                    if P["mem"] and fails == 1 and good > shift: shift = good
            ratio = (point.value - new.value) / max(2 * found.predicted*alpha*(1-alpha/2), 1e-300)
            if log: print(run.iterations, f"J {point.value:.9f} g {measure:.2e} neg {found.inertia} in {(found.negatives>0).sum()} least {found.least.min():.2e} a {alpha:.3g} shift {shift:.2g} ratio {ratio:.2f} pred {found.predicted:.2e} fails {fails}")
            s0 = P["s0"] * (measure if P["rel"] else 1)
            if not P["lm"]: good = shift
            if P["tassa"]:
                delta = min(1/P["down"], delta/P["down"])
                shift = shift * delta if shift * delta > s0 / 4 else 0.0
            elif ratio > P["rmin"] and (fails == 0 or not P["keep"]):
                shift = shift / P["down"] if shift > s0 / 4 else 0.0
            if P["lm"]: good = shift / measure
            point = new
        final = sweep(lin.model, self.metric)
        return run.solution(status, morse_index=float(final.inertia), trials=float(self.trials), sweeps=float(self.sweeps))
PARAMS = dict(start=0.5, lm=False, half=2, beta=.5, s0=1e-2, rel=False, tassa=False, up=4, down=4, mem=False, keep=False, rmin=.5, lift=True, state=0, con=1, gn=0)
