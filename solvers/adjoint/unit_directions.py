"""The second-order model of any network and Runge-Kutta method with fixed steps, by unit directions
one by one: the reference of `chain_linear_quadratic.py`.  What it computes: `linear_quadratic.py`.
"""

from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array
from continuum.controls import Control

from .chain_linear_quadratic import Model
from .coefficients import Columns
from .step_derivatives import Step
from .tape import Seeds, Sweeps, Tape


def model_of(
    sweeps: Sweeps, tape: Tape, per_layer: int, seeds: Seeds, columns: Columns, model: Model
) -> None:
    """Fills the model, layer by layer from the last; so many steps in each."""
    steps = tape.steps
    w = sweeps.problem.network.weights[:, None]
    units, layers, number = list(columns.units()), len(model.A), len(steps)
    p = seeds.added(number, np.zeros_like(sweeps.problem.initial))
    model.costates[-1] = (w * p).T
    for k in range(layers - 1, -1, -1):
        first, stop = k * per_layer, (k + 1) * per_layer
        made, lams = [], []
        model.G[k] = 0.0
        for n in range(stop - 1, first - 1, -1):
            p = seeds.added(n + 1, p) if n + 1 < stop else p
            at = int(steps.layer[n]), float(steps.start[n]), float(steps.size[n])
            made.insert(0, sweeps.derivatives.step(*at, tape.states[n]))
            p, lam, bars = sweeps.derivatives.adjoint(made[0], p)
            lams.insert(0, lam)
            for bar in bars:
                columns.collect(bar, made[0].h, model.G[k])
        p = seeds.added(first, p)
        model.costates[k] = (w * p).T
        layer = _Layer(sweeps, tape, columns, made, lams, first)
        for j in range(len(w)):
            df, dp, _ = layer.column(columns.none, unit_direction(p, j))
            model.A[k, :, :, j], model.Q[k, :, :, j] = df.T, (w * dp).T
        for a, unit in enumerate(units):
            df, dp, bar = layer.column(unit, np.zeros_like(p))
            model.B[k, :, :, a], model.S[k, :, :, a], model.R[k, :, a] = df.T, (w * dp).T, bar


def unit_direction(f: Array, j: int) -> Array:
    """The direction in which unit j of every sample moves: samples do not see each other."""
    found = np.zeros_like(f)
    found[j] = 1.0
    return found


@dataclass(frozen=True, eq=False)
class _Layer:
    """The steps of one layer, from the state with number `first`, and their lambda_i."""

    sweeps: Sweeps
    tape: Tape
    columns: Columns
    steps: list[Step]
    lams: list[list[Array]]
    first: int

    def column(self, direction: Control, df: Array) -> tuple[Array, Array, Array]:
        """(dz after the layer, the derivative of the costate before it less the cost there, that of
        the derivative in the coefficients (c,)) in a direction, the costate after it held.
        """
        derivatives, changes, moved = self.sweeps.derivatives, [], [df]
        for step in self.steps:
            df, dstages = derivatives.tangent(step, direction, moved[-1])
            changes.append(dstages)
            moved.append(df)
        dp, bar = np.zeros_like(df), np.zeros(len(self.columns))
        for i in range(len(self.steps) - 1, -1, -1):
            if i + 1 < len(self.steps):
                dp = dp + self.cost(i + 1, direction, moved[i + 1], bar)
            step = self.steps[i]
            dp, bars = derivatives.adjoint_tangent(step, direction, changes[i], self.lams[i], dp)
            for one in bars:
                self.columns.collect(one, step.h, bar)
        return df, dp, bar

    def cost(self, i: int, direction: Control, df: Array, bar: Array) -> Array:
        """The derivative of what the costs add to the costate before the i-th step; that of what
        they add to the derivative in static blocks is added to bar.
        """
        cost, number, space = self.sweeps.cost, self.first + i, self.columns.space
        if not len(cost.rule.among(number, number)):
            return np.zeros_like(df)
        total = {b.name: np.zeros(b.shape) for b in space.trained if b.time == "static"}
        dp = cost.seed_derivatives(
            np.array([number]), self.tape.stacked, lambda _: df[None], direction, total
        )[0]
        self.columns.collect(total, 1.0, bar)
        return dp
