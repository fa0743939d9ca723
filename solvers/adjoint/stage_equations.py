"""Linear equations between the stages of an implicit step, and the adjoint ones.

    x_i - sum_j gains_ij D_j x_j = r_i,        y_i - sum_j gains_ji D_j* y_j = r_i,

D_j the derivative of the velocity at stage j: by matrices, sample by sample, or by GMRES without
them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from continuum.arrays import Array, is_numpy, like, namespace

from ..steps.newton import Preconditioner, gmres, jacobian, mean_gain, stacked
from ..steps.tableaux import StepFailed

_ENTRIES = 2**23
Linear = Callable[[Array, Array], Array]
"""(stage, x) -> D x at the stage, or D* x."""


@dataclass(frozen=True, eq=False)
class StageEquations:
    """Of one group of stages that are solved for together.

    stages : their states, (N, M) each
    tangents, adjoints : D_j and D_j*, linear in the last argument; the latter in the weights w of
        the units
    krylov : GMRES rather than matrices; for NumPy arrays only
    preconditioner, times : of GMRES, and the times of the stages it is made for; see `Newton`
    """

    stages: Sequence[Array]
    tangents: Sequence[Linear]
    adjoints: Sequence[Linear]
    gains: Array
    w: Array
    krylov: bool
    preconditioner: Preconditioner | None = None
    times: Sequence[float] = ()
    _jacobians: dict[int, list[Array]] = field(default_factory=dict, repr=False)

    def solve(self, right: Sequence[Array]) -> list[Array]:
        """The x_i.  Raises StepFailed if a matrix is singular or GMRES fails."""
        return self._solve(right, adjoint=False)

    def solve_adjoint(self, right: Sequence[Array]) -> list[Array]:
        """The y_i.  Raises StepFailed if a matrix is singular or GMRES fails."""
        return self._solve(right, adjoint=True)

    def _solve(self, right: Sequence[Array], adjoint: bool) -> list[Array]:
        xp = namespace(right[0])
        count, (units, samples) = len(right), right[0].shape
        if self.krylov and is_numpy(right[0]):
            return list(self._by_gmres(np.stack(list(right)), adjoint))
        chunk = max(1, _ENTRIES // (count * units) ** 2)
        parts = [slice(m, min(m + chunk, samples)) for m in range(0, samples, chunk)]
        solved = [
            self._by_matrices([r[:, part] for r in right], part, adjoint, len(parts) == 1)
            for part in parts
        ]
        return [xp.concat([x[i] for x in solved], axis=1) for i in range(count)]

    def _by_matrices(
        self, right: list[Array], part: slice, adjoint: bool, keep: bool
    ) -> list[Array]:
        xp = namespace(right[0])
        count, units = len(right), right[0].shape[0]
        blocks = self._jacobians.get(0)
        if blocks is None:
            pairs = zip(self.stages, self.tangents, strict=True)
            blocks = [jacobian(tangent, stage[:, part]) for stage, tangent in pairs]
            if keep:
                self._jacobians[0] = blocks
        gains = self.gains.T if adjoint else self.gains
        if adjoint:
            ratio = self.w[None, None, :] / self.w[None, :, None]
            blocks = [ratio * xp.permute_dims(block, (0, 2, 1)) for block in blocks]
        eye = like(np.eye(units), right[0])
        rows = [
            xp.concat(
                [float(i == j) * eye - float(gains[i, j]) * blocks[j] for j in range(count)], axis=2
            )
            for i in range(count)
        ]
        columns = xp.permute_dims(xp.concat(right, axis=0), (1, 0))
        try:
            solved = xp.linalg.solve(xp.concat(rows, axis=1), columns[..., None])
        except np.linalg.LinAlgError as error:
            raise StepFailed("singular matrix in the derivative of an implicit step") from error
        flat = xp.permute_dims(solved[..., 0], (1, 0))
        return [flat[i * units : (i + 1) * units, :] for i in range(count)]

    def _by_gmres(self, right: Array, adjoint: bool) -> Array:
        count, units, samples = right.shape
        gains, maps = (self.gains.T, self.adjoints) if adjoint else (self.gains, self.tangents)
        result = np.zeros_like(right)
        for m in range(samples):

            def matrix(v: Array, m: int = m) -> Array:
                x = np.reshape(v, (count, units, 1))
                moved = [
                    d(stage[:, m : m + 1], x[j])
                    for j, (d, stage) in enumerate(zip(maps, self.stages, strict=True))
                ]
                return np.ravel(x - np.tensordot(gains, np.stack(moved), axes=1))

            nearly = None
            if self.preconditioner is not None:
                size, states = mean_gain(gains), [stage[:, m : m + 1] for stage in self.stages]
                pairs = zip(self.times, states, strict=True)
                nearly = [self.preconditioner(t, state, size) for t, state in pairs]
            x, goal = np.zeros(count * units), np.ravel(right[:, :, m])
            for _ in range(3):  # each solve leaves 1e-8 of what it was given
                rest = goal - matrix(x)
                if not np.any(rest):
                    break
                v = gmres(matrix, rest, 1e-8, stacked(nearly, units))
                if v is None:
                    raise StepFailed("GMRES did not solve the derivative of an implicit step")
                x = x + v
            result[:, :, m] = np.reshape(x, (count, units))
        return result
