"""Successive approximation for one sample without ever forming a kernel.

The minimiser of the Hamiltonian of a layer depends on a unit only through the sign of its costate
(Liu and Markowich section 4.2), so a layer has two distinct rows of bias and kernel: alpha_s,
beta_s.  Sweeps and minimisation then cost O(N) per layer, and the kernels (K, N, N) are formed
once, at the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array
from continuum.compiled import FROM_VALUE
from continuum.controls import Control, ControlSpace
from continuum.networks import WidthDepth
from continuum.problem import LearningProblem

from ..run.solution import Solution, SolveError, Trajectory
from ..run.status import Status
from . import row_loops
from .minimisers import sets


@dataclass(frozen=True, eq=False)
class Rows:
    """alpha (K, 2), beta (K, 2, N), kind (K, N): unit i of layer k has bias alpha[k, kind] and row
    beta[k, kind].
    """

    alpha: Array
    beta: Array
    kind: Array

    def control(self, space: ControlSpace) -> Control:
        """The control with its kernels formed."""
        layer = np.arange(len(self.kind))[:, None]
        blocks = {"bias": self.alpha[layer, self.kind], "kernel": self.beta[layer, self.kind]}
        return Control(space, blocks, trusted=True)


@dataclass(frozen=True, eq=False)
class RowSweeps:
    """One sample, one dense kernel, both blocks trained, neither running cost nor penalty: what
    `of` lets through.
    """

    problem: LearningProblem
    network: WidthDepth

    @staticmethod
    def of(problem: LearningProblem) -> "RowSweeps | None":
        """None where the kernels must be formed; asked only where the closed form for one sample
        holds.
        """
        network = problem.network
        both = {b.name for b in problem.space.trained} == {"bias", "kernel"}
        if not both or problem.running is not None or problem.penalty is not None:
            return None
        if not isinstance(network, WidthDepth):
            return None
        activation = network.activation
        if activation.code not in FROM_VALUE or activation.parameter != 0.0:
            return None
        return RowSweeps(problem, network)

    def rows(self, control: Control) -> Rows | None:
        """The rows of a control; None if some layer has more than two."""
        bias, kernel = control["bias"], control["kernel"]
        other = np.any(kernel != kernel[:, :1, :], axis=-1) | (bias != bias[:, :1])
        second, layer = np.argmax(other, axis=1), np.arange(len(bias))
        kind = other.astype(np.int64)
        alpha = np.stack([bias[:, 0], bias[layer, second]], axis=1)
        beta = np.stack([kernel[:, 0, :], kernel[layer, second, :]], axis=1)
        rows = Rows(alpha, beta, kind)
        if np.any(other) and not np.array_equal(rows.control(self.problem.space)["kernel"], kernel):
            return None
        return rows if np.array_equal(alpha[layer[:, None], kind], bias) else None

    def look(self, rows: Rows) -> tuple[float, float, Rows | None]:
        """(objective, gap, the minimiser; None where ties give it more than two rows).

        raises SolveError if the state does not stay finite
        """
        problem, network, w = self.problem, self.network, self.network.weights
        mesh, code = problem.mesh, network.activation.code
        layers, units = rows.kind.shape
        states, costates, rates = (
            np.empty((layers + 1, units)),
            np.empty((layers + 1, units)),
            np.empty((layers, units)),
        )
        states[0] = problem.initial[:, 0]
        with np.errstate(over="ignore", invalid="ignore"):
            failed = row_loops.advance(
                rows.alpha, rows.beta, rows.kind, w, mesh.steps, code or 0, states, rates
            )
        if failed >= 0:
            path = Trajectory(mesh.nodes[: failed + 1], states[: failed + 1, :, None])
            raise SolveError(
                Solution(path, Status.NON_FINITE, f"at t = {mesh.nodes[failed + 1]:.6g}")
            )
        final, functional = states[-1][:, None], problem.functional
        value = functional.terminal_cost(final)
        costates[-1] = functional.terminal_vjp(final)[0][:, 0]
        row_loops.adjoint(rows.beta, rows.kind, w, mesh.steps, code or 0, rates, costates)
        f, p = states[:-1], costates[1:]
        best = self._best(rows, f, p)
        ends = self._ends(best, f) if best is not None else None
        if best is None or ends is None:
            return value, 0.0, None
        least = np.take_along_axis(ends, best.kind, axis=1)
        gap = np.sum(w * p * (rates - network.activation.value(least)), axis=1)
        return value, float(mesh.steps @ np.maximum(gap, 0.0)), best

    def _ends(self, rows: Rows, f: Array) -> Array:
        """(K, 2): alpha_s - int beta_s f."""
        return rows.alpha - np.sum(rows.beta * (self.network.weights * f)[:, None, :], axis=-1)

    def _best(self, rows: Rows, f: Array, p: Array) -> Rows | None:
        """The minimiser; units with p = 0 keep their rows, and entries with f = 0 what they
        were.
        """
        kind = np.where(p > 0, 0, np.where(p < 0, 1, rows.kind))
        alpha, beta = rows.alpha, rows.beta
        layers = np.flatnonzero(np.any(f == 0, axis=1) | np.any(p == 0, axis=1))
        if len(layers):
            beta, alpha = beta.copy(), alpha.copy()
        for k in layers:
            for side in (0, 1):
                users = np.unique(rows.kind[k][(kind[k] == side) & (p[k] != 0)])
                idle = f[k] == 0
                if len(users) == 2 and np.any(rows.beta[k, 0, idle] != rows.beta[k, 1, idle]):
                    return None
                if len(users):
                    alpha[k, side], beta[k, side] = rows.alpha[k, users[0]], rows.beta[k, users[0]]
        found = _extreme_rows(self.problem, f, {"bias": alpha, "kernel": beta})
        alpha, beta = found["bias"], found["kernel"]
        for k in layers:
            for side in (0, 1):
                if not np.any((kind[k] == side) & (p[k] != 0)):
                    alpha[k, side], beta[k, side] = rows.alpha[k, side], rows.beta[k, side]
                elif np.any((kind[k] == side) & (p[k] == 0)) and not (
                    alpha[k, side] == rows.alpha[k, side]
                    and np.array_equal(beta[k, side], rows.beta[k, side])
                ):
                    return None
        return Rows(alpha, beta, kind)


def _extreme_rows(
    problem: LearningProblem, states: Array, values: Mapping[str, Array]
) -> dict[str, Array]:
    """The rows of the control that make a_i - (Bf)_i least and largest: bias (L, 2), kernel (L, 2,
    N).

    states : (L, N).  values : rows (L, 2), (L, 2, N) whose entries stand where f_j = 0, and where
        no set bounds.
    """
    sign = np.array([1.0, -1.0])
    gradient = {
        "bias": np.broadcast_to(-sign, (len(states), 2)),
        "kernel": sign[:, None] * states[:, None, :],
    }
    found = dict(values)
    for part in sets(problem):
        found.update(part.support(gradient, values, problem.space))
    return found
