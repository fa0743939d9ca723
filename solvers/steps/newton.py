"""Newton's iteration for the stages of an implicit step, all samples at once.

    x_i = known_i + sum_j gains_ij F_j(x_j),    (delta_ij I - gains_ij D F_j)(correction) = residual

by dense matrices, sample by sample, or by GMRES without matrices where these would be large.  GMRES
is SciPy's, for NumPy arrays alone; for arrays of other libraries it is always dense matrices, in
that library, a few samples at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy

from continuum.arrays import Array, is_numpy, like, namespace
from continuum.checks import check_count, check_positive, store
from continuum.doors import checked

from .tableaux import StepFailed

_ENTRIES = 2**23
SMALL = 1e-8
"""A correction so small, relative to 1 + |x|, is not shortened."""

Preconditioner = Callable[[float, Array, float], Callable[[Array], Array]]
"""(t, f, g) -> (x -> (I - g D_f F(t, f))^-1 x, nearly), f and x of shape (N, 1): one sample; g > 0
is the length of the step times a number of the method's tableau.
"""


@dataclass(frozen=True)
class Field:
    """One of the F_j: N units to N units, sample by sample.

    value : x -> F(x), (N, M) to (N, M)
    tangent : (x, dx) -> D F(x) dx
    t : its time, for a preconditioner
    """

    value: Callable[[Array], Array]
    tangent: Callable[[Array, Array], Array]
    t: float = 0.0

    def jacobian(self, x: Array) -> Array:
        """(M, N, N): D F at every sample, column by column."""
        return jacobian(self.tangent, x)


def jacobian(tangent: Callable[[Array, Array], Array], x: Array) -> Array:
    """(M, N, N): the matrices of dx -> tangent(x, dx), all columns of all samples at once."""
    xp = namespace(x)
    units, samples = x.shape
    eye = like(np.eye(units), x)
    columns = tangent(xp.repeat(x, units, axis=1), xp.tile(eye, (1, samples)))
    return xp.permute_dims(xp.reshape(columns, (units, samples, units)), (1, 0, 2))


@checked
@dataclass(frozen=True)
class Newton:
    """How the iteration is run.

    rtol : of the last correction, relative to 1 + |x|, in the maximum norm
    max_iterations : corrections, each shortened until the residual of its sample falls
    krylov_above : more units than this are solved for by GMRES with F's tangent, without matrices,
        if the arrays are NumPy's; those of other libraries by matrices, however many units
    preconditioner : of GMRES, from the right: with P(g) x near (I - g D F)^-1 x it solves
        (I - g D F) P(g) y = r, x = P(g) y.  g is h a_ii where stages are solved one by one; for s
        stages together (h^s det A)^(1/s), for each of them; for a complex number its absolute
        value.  Adjoint equations are given the same P, so it should be nearly its own adjoint in
        the product of the units.  Only the number of iterations depends on it
    """

    rtol: float = 1e-13
    max_iterations: int = 50
    krylov_above: int = 256
    preconditioner: Preconditioner | None = None

    def __post_init__(self) -> None:
        store(self, check_positive, "rtol")
        store(self, check_count, "max_iterations")
        store(self, partial(check_count, least=0), "krylov_above")

    def matrix_free(self, state: Array) -> bool:
        """GMRES is used for equations whose unknown is this (N, M)."""
        return is_numpy(state) and state.shape[0] > self.krylov_above

    def solve(
        self, fields: Sequence[Field], known: Sequence[Array], gains: Array, guess: Array
    ) -> list[Array]:
        """The x_i of x_i = known_i + sum_j gains_ij F_j(x_j), from x_i = guess.

        raises StepFailed if a matrix is singular, GMRES fails, or the corrections do not become
            small (or finite, which is how a singular matrix shows in CuPy)
        """
        xp = namespace(guess)
        system = _System(
            fields,
            xp.stack(list(known)),
            gains,
            self.matrix_free(guess),
            self.preconditioner,
        )
        x = xp.stack([guess] * len(fields))
        size = np.inf
        with np.errstate(over="ignore", invalid="ignore"):
            residual = system.residual(x)
            for _ in range(self.max_iterations):
                if not bool(xp.all(xp.isfinite(residual))):
                    raise StepFailed("a stage is infinite or NaN")
                correction = system.correction(x, residual)
                before, size = size, float(xp.max(xp.abs(correction)))
                if not np.isfinite(size):
                    break
                scale = 1.0 + float(xp.max(xp.abs(x + correction)))
                if size <= self.rtol * scale or (
                    # rounding errors, which no longer fall
                    size <= 1e3 * self.rtol * scale and size > 0.1 * before
                ):
                    x = x + correction
                    return [x[i, ...] for i in range(len(fields))]
                if size <= SMALL * scale:
                    x = x + correction
                    residual = system.residual(x)
                else:
                    x, residual = _shortened(system, x, residual, correction)
        raise StepFailed(f"last correction {size:.3g}")


@dataclass(frozen=True, eq=False)
class _System:
    fields: Sequence[Field]
    known: Array
    gains: Array
    krylov: bool
    preconditioner: Preconditioner | None = None

    def residual(self, x: Array) -> Array:
        """known_i + sum_j gains_ij F_j(x_j) - x_i: (s, N, M)."""
        values = [field.value(x[j, ...]) for j, field in enumerate(self.fields)]
        return self.known + self._mixed(values) - x

    def _mixed(self, values: Sequence[Array]) -> Array:
        """sum_j gains_ij values_j, stacked over i."""
        count = len(self.fields)
        rows = [
            sum(float(self.gains[i, j]) * values[j] for j in range(count)) for i in range(count)
        ]
        return namespace(values[0]).stack(rows)

    def correction(self, x: Array, residual: Array) -> Array:
        """Newton's correction: (s, N, M); matrices are formed for as many samples at a time as fit
        in _ENTRIES.
        """
        if self.krylov:
            return self._by_gmres(x, residual)
        count, units, samples = x.shape
        chunk = max(1, _ENTRIES // (count * units) ** 2)
        if chunk >= samples:
            return self._by_matrices(x, residual)
        parts = [slice(m, min(m + chunk, samples)) for m in range(0, samples, chunk)]
        return namespace(x).concat(
            [self._by_matrices(x[:, :, p], residual[:, :, p]) for p in parts], axis=2
        )

    def _by_matrices(self, x: Array, residual: Array) -> Array:
        xp = namespace(x)
        count, units, samples = x.shape
        eye = like(np.eye(units), x)
        blocks = [field.jacobian(x[j, ...]) for j, field in enumerate(self.fields)]
        rows = [
            xp.concat(
                [float(i == j) * eye - float(self.gains[i, j]) * blocks[j] for j in range(count)],
                axis=2,
            )
            for i in range(count)
        ]
        right = xp.permute_dims(xp.reshape(residual, (count * units, samples)), (1, 0))
        try:
            solved = xp.linalg.solve(xp.concat(rows, axis=1), right[..., None])
        except np.linalg.LinAlgError as error:
            raise StepFailed("singular Newton matrix") from error
        return xp.reshape(xp.permute_dims(solved[..., 0], (1, 0)), (count, units, samples))

    def _by_gmres(self, x: Array, residual: Array) -> Array:
        count, units, samples = x.shape
        result = np.empty_like(x)
        for m in range(samples):
            at = x[:, :, m : m + 1]

            def matrix(v: Array, at: Array = at) -> Array:
                dx = np.reshape(v, (count, units, 1))
                return np.ravel(
                    dx - self._mixed([f.tangent(at[j], dx[j]) for j, f in enumerate(self.fields)])
                )

            nearly = None
            if self.preconditioner is not None:
                size = mean_gain(self.gains)
                nearly = [self.preconditioner(f.t, at[j], size) for j, f in enumerate(self.fields)]
            # 1e-8 is enough: what is left over is the next correction
            v = gmres(matrix, np.ravel(residual[:, :, m]), 1e-8, stacked(nearly, units))
            if v is None:
                raise StepFailed("GMRES did not solve a Newton equation")
            result[:, :, m] = np.reshape(v, (count, units))
        return result


def mean_gain(gains: Array) -> float:
    """|det|^(1/s) of an (s, s) matrix."""
    return float(abs(np.linalg.det(gains)) ** (1.0 / len(gains)))


def stacked(
    maps: Sequence[Callable[[Array], Array]] | None, units: int
) -> Callable[[Array], Array] | None:
    """v -> the maps of its parts of `units` entries, as one vector."""
    if maps is None:
        return None

    def apply(v: Array) -> Array:
        parts = np.reshape(v, (len(maps), units, 1))
        return np.ravel(np.stack([one(x) for one, x in zip(maps, parts, strict=True)]))

    return apply


def gmres(
    matrix: Callable[[Array], Array],
    right: Array,
    rtol: float,
    preconditioner: Callable[[Array], Array] | None = None,
) -> Array | None:
    """x with |matrix(x) - right| <= rtol |right|; None if that was not reached in 10 restarts."""
    size, kind = right.size, right.dtype
    shape = (size, size)
    operator = scipy.sparse.linalg.LinearOperator(shape, matvec=matrix, dtype=kind)  # type: ignore[call-arg]
    nearly = None
    if preconditioner is not None:
        nearly = scipy.sparse.linalg.LinearOperator(shape, matvec=preconditioner, dtype=kind)  # type: ignore[call-arg]
    x, failed = scipy.sparse.linalg.gmres(
        operator, right, rtol=rtol, atol=0.0, restart=min(size, 60), maxiter=10, M=nearly
    )
    return None if failed else x


def _shortened(
    system: _System, x: Array, residual: Array, correction: Array
) -> tuple[Array, Array]:
    """x + factor correction, factor = 1, 1/2, ... per sample until its residual falls, or the
    correction that the same matrix makes of it does; and the new residual.

    A stiff equation's residual may grow by orders of magnitude while the corrections converge
    quadratically; these do not depend on how its equations are scaled or mixed.
    Source: Deuflhard, Newton methods for nonlinear problems, 3.3.
    """
    xp = namespace(x)
    old, size = xp.max(xp.abs(residual), axis=(0, 1)), xp.max(xp.abs(correction), axis=(0, 1))
    small = size <= SMALL * (1.0 + xp.max(xp.abs(x), axis=(0, 1)))  # its residual is rounding
    factor = xp.ones_like(old)
    for _ in range(40):
        trial = x + factor * correction
        new_residual = system.residual(trial)
        falls = xp.max(xp.abs(new_residual), axis=(0, 1)) <= (1.0 - 1e-4 * factor) * old
        falls = xp.where(small, small, falls)
        if not bool(xp.all(falls)) and bool(xp.all(xp.isfinite(new_residual))):
            following = xp.max(xp.abs(system.correction(x, new_residual)), axis=(0, 1))
            falls = xp.where(falls, falls, following <= (1.0 - 0.25 * factor) * size)
        if bool(xp.all(falls)):
            return trial, new_residual
        factor = xp.where(falls, factor, 0.5 * factor)
    raise StepFailed(
        f"no step along Newton's correction lowers the residual {float(xp.max(old)):.3g}"
    )
