"""The derivatives of one Runge-Kutta step, explicit or implicit, in its state and in the control.

With F_i = f + h sum_j a_ij k_j, k_i = F(F_i, t + c_i h), f+ = f + h sum_i b_i k_i and D_i = D_f F
at stage i,

    dF_i = df + h sum_j a_ij dk_j,         dk_i = D_i dF_i + D_c F dc,  df+ = df + h sum_i b_i dk_i,
    lambda_i = b_i p+ + h sum_j a_ji q_j,  q_i = D_i* lambda_i,         p = p+ + h sum_i q_i,

and the derivative in the control collects h (D_c F)* lambda_i at every stage.  These are exact for
the discrete problem; stages that depend on each other are found by linear equations.  The second
derivative of a step differentiates both lines once more.
Source: Hager, Runge-Kutta methods in optimal control and the transformed adjoint system (2000).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array
from continuum.controls import Control
from continuum.networks import Network

from ..flow.advance import tangent, velocity
from ..steps.auto import InTurn
from ..steps.implicit import ImplicitRungeKutta
from ..steps.tableaux import RungeKutta, combine
from .stage_equations import StageEquations

Cotangents = Mapping[str, Array]
Tableau = RungeKutta | ImplicitRungeKutta


@dataclass(frozen=True, eq=False)
class Step:
    """One step of length h from t in a layer, with its stages; made by `StepDerivatives.step`."""

    stepper: Tableau
    layer: int
    h: float
    times: list[float]
    stages: list[Array]
    values: list[Mapping[str, Array]]
    equations: Mapping[tuple[int, ...], StageEquations]

    @property
    def groups(self) -> Sequence[tuple[int, ...]]:
        """The stages that are solved for together, one group after the other."""
        if isinstance(self.stepper, ImplicitRungeKutta):
            return self.stepper.form.groups
        return tuple((i,) for i in range(len(self.stepper.c)))


@dataclass(frozen=True, eq=False)
class StepDerivatives:
    """For every step of a run of a tableau, or several in turn, with this network and control."""

    network: Network
    control: Control
    stepper: Tableau | InTurn

    def step(self, layer: int, t: float, h: float, f: Array) -> Step:
        """The step from the state f.  Raises StepFailed if an implicit equation was not solved."""
        network, control, stepper = self.network, self.control, self.stepper
        if isinstance(stepper, InTurn):
            stepper = stepper.at(t)
        times = [t + float(c) * h for c in stepper.c]
        values = [control.at_layer(layer, at) for at in times]

        def speed(at: float, x: Array) -> Array:
            return velocity(network, control, layer, at, x)

        if isinstance(stepper, RungeKutta):
            slopes: list[Array] = []
            stages: list[Array] = []
            for i, at in enumerate(times):
                stages.append(combine(f, h, stepper.a[i], slopes))
                if i + 1 < len(times):
                    slopes.append(network.velocity(stages[i], values[i], at))
            return Step(stepper, layer, h, times, stages, values, {})
        stages = stepper.stages(
            speed, lambda at, x, dx: tangent(network, control, layer, at, x, dx), t, h, f
        )
        equations = {
            group: self._equations(stepper, group, h, times, stages, values)
            for group in stepper.form.groups
            if any(stepper.a[i, i] for i in group)  # an explicit stage has no equation
        }
        return Step(stepper, layer, h, times, stages, values, equations)

    def _equations(
        self,
        stepper: ImplicitRungeKutta,
        group: tuple[int, ...],
        h: float,
        times: list[float],
        stages: list[Array],
        values: list[Mapping[str, Array]],
    ) -> StageEquations:
        network, chosen = self.network, np.array(group)
        return StageEquations(
            [stages[i] for i in group],
            [lambda x, dx, i=i: network.jvp(x, values[i], times[i], dx, {}) for i in group],
            [lambda x, p, i=i: network.vjp(x, values[i], times[i], p)[0] for i in group],
            h * stepper.a[np.ix_(chosen, chosen)],
            network.weights_like(stages[0]),
            stepper.newton.matrix_free(stages[0]),
            stepper.newton.preconditioner,
            [times[i] for i in group],
        )

    def tangent(self, step: Step, direction: Control, df: Array) -> tuple[Array, list[Array]]:
        """(df+, the dF_i) of the direction (df, direction)."""
        network, a = self.network, step.stepper.a
        dstages: dict[int, Array] = {}
        dslopes: dict[int, Array] = {}
        for group in step.groups:
            known = {i: _combined(df, step.h, a[i], dslopes) for i in group}
            varied = {i: direction.variation(step.layer, step.times[i]) for i in group}
            if group in step.equations:
                own = {
                    j: network.jvp(
                        step.stages[j], step.values[j], step.times[j], 0.0 * df, varied[j]
                    )
                    for j in group
                }
                right = [_combined(known[i], step.h, a[i], own) for i in group]
                dstages |= dict(zip(group, step.equations[group].solve(right), strict=True))
            else:
                dstages |= known
            for i in group:
                dslopes[i] = network.jvp(
                    step.stages[i], step.values[i], step.times[i], dstages[i], varied[i]
                )
        return _combined(df, step.h, step.stepper.b, dslopes), [
            dstages[i] for i in range(len(step.stages))
        ]

    def adjoint(self, step: Step, p: Array) -> tuple[Array, list[Array], list[Cotangents]]:
        """(p, the lambda_i, the (D_c F)* lambda_i by stage) of the costate after the step."""
        network, a, count = self.network, step.stepper.a, len(step.stages)
        back: dict[int, Array] = {}
        lam: dict[int, Array] = {}
        bars: dict[int, Cotangents] = {}
        for group in reversed(step.groups):
            known = {
                i: _combined(float(step.stepper.b[i]) * p, step.h, a[:, i], back) for i in group
            }
            lam |= self._solve_adjoint(step, group, known)
            for i in reversed(group):
                back[i], bars[i] = network.vjp(
                    step.stages[i], step.values[i], step.times[i], lam[i]
                )
        p = _combined(p, step.h, np.ones(count), back)
        return p, [lam[i] for i in range(count)], [bars[i] for i in range(count)]

    def adjoint_tangent(
        self, step: Step, direction: Control, dstages: list[Array], lam: list[Array], dp: Array
    ) -> tuple[Array, list[Cotangents]]:
        """The derivatives of what `adjoint` returns, p and the cotangents, when p after the step
        changes by dp.
        """
        network, a, count = self.network, step.stepper.a, len(step.stages)
        dback: dict[int, Array] = {}
        bars: dict[int, Cotangents] = {}

        def change(i: int, dlam: Array) -> tuple[Array, Cotangents]:
            varied = direction.variation(step.layer, step.times[i])
            return network.vjp_derivative(
                step.stages[i], step.values[i], step.times[i], lam[i], dstages[i], varied, dlam
            )

        for group in reversed(step.groups):
            known = {
                i: _combined(float(step.stepper.b[i]) * dp, step.h, a[:, i], dback) for i in group
            }
            if group in step.equations:
                own = {j: change(j, 0.0 * dp)[0] for j in group}
                known = {i: _combined(known[i], step.h, a[:, i], own) for i in group}
            dlam = self._solve_adjoint(step, group, known)
            for i in reversed(group):
                dback[i], bars[i] = change(i, dlam[i])
        return _combined(dp, step.h, np.ones(count), dback), [bars[i] for i in range(count)]

    def _solve_adjoint(
        self, step: Step, group: tuple[int, ...], known: dict[int, Array]
    ) -> dict[int, Array]:
        if group not in step.equations:
            return known
        return dict(
            zip(group, step.equations[group].solve_adjoint([known[i] for i in group]), strict=True)
        )


def _combined(f: Array, h: float, coefficients: Array, slopes: Mapping[int, Array]) -> Array:
    """f + h sum_j coefficients_j slopes_j over the slopes there are."""
    for j, slope in slopes.items():
        if coefficients[j]:
            f = f + (h * float(coefficients[j])) * slope
    return f
