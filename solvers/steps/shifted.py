"""Linear equations (I - z J) x = r with one J = D_f F and several numbers z, real or complex,
sample by sample.

By LU factorisations (NumPy, few or large samples), by inverse matrices (many small samples, and
arrays of other libraries), or by GMRES without matrices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy

from continuum.arrays import Array, is_numpy, like, namespace

from .newton import Preconditioner, gmres, jacobian
from .tableaux import StepFailed

Solve = Callable[[Array], Array]
"""r -> x: (N, M) to (N, M)."""
_FEW, _LARGE = 8, 16
_GMRES_RTOL = 1e-5  # what is left over is the next correction of the simplified iteration


@dataclass(frozen=True, eq=False)
class Linearization:
    """D_f F at (t, f).

    tangent : dx -> D_f F(t, f) dx, for states of one sample or of all
    matrices : (M, N, N), or None for GMRES
    """

    t: float
    f: Array
    tangent: Callable[[Array, Array], Array]
    matrices: Array | None
    preconditioner: Preconditioner | None = None

    @staticmethod
    def of(
        t: float,
        f: Array,
        tangent: Callable[[Array, Array], Array],
        matrix_free: bool,
        preconditioner: Preconditioner | None,
    ) -> "Linearization":
        """At (t, f); tangent : (f, dx) -> D_f F(t, f) dx."""
        matrices = None if matrix_free else jacobian(tangent, f)
        return Linearization(t, f, tangent, matrices, preconditioner)

    def shifted(self, z: complex) -> Solve:
        """r -> (I - z J)^-1 r.  Raises StepFailed if the matrix is singular; so does GMRES, when it
        does not converge.
        """
        if self.matrices is None:
            return self._by_gmres(z)
        samples, units, _ = self.matrices.shape
        if is_numpy(self.f) and (samples <= _FEW or units >= _LARGE):
            return _by_factors(self.matrices, z)
        return _by_inverses(self.matrices, z)

    def _by_gmres(self, z: complex) -> Solve:
        samples = self.f.shape[1]
        states = [self.f[:, m : m + 1] for m in range(samples)]
        nearly = None
        if self.preconditioner is not None:
            nearly = [_complex(self.preconditioner(self.t, f, abs(z))) for f in states]

        def matrix(v: Array, m: int) -> Array:
            x = v[:, None]
            moved = _complex(lambda dx: self.tangent(states[m], dx))(x)
            return (x - z * moved)[:, 0]

        def solve(right: Array) -> Array:
            result = np.empty_like(right)
            for m in range(samples):
                approximate = None
                if nearly is not None:
                    approximate = lambda v, one=nearly[m]: one(v[:, None])[:, 0]  # noqa: E731
                r = np.ascontiguousarray(right[:, m])
                x = gmres(lambda v, m=m: matrix(v, m), r, _GMRES_RTOL, approximate)
                if x is None:
                    raise StepFailed("GMRES did not solve a Newton equation")
                result[:, m] = x
            return result

        return solve


def _complex(real: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A real linear map on complex arrays too."""

    def apply(x: Array) -> Array:
        if np.iscomplexobj(x):
            return real(np.array(np.real(x))) + 1j * real(np.array(np.imag(x)))
        return real(x)

    return apply


@cache
def _lapack(kind: type) -> list[Callable[..., tuple[Array, ...]]]:
    """LU factorisation and substitution for numbers of this kind."""
    return scipy.linalg.get_lapack_funcs(("getrf", "getrs"), dtype=kind)


def _by_factors(matrices: Array, z: complex) -> Solve:
    samples, units, _ = matrices.shape
    factorise, substitute = _lapack(np.complex128 if isinstance(z, complex) else np.float64)
    shifted = -z * matrices
    diagonal = np.arange(units)
    shifted[:, diagonal, diagonal] += 1.0
    factors = []
    for m in range(samples):
        # the transpose of an array in the order of C is in that of Fortran
        lu, pivots, failed = factorise(shifted[m].T, overwrite_a=True)
        if failed:
            raise StepFailed("singular Newton matrix")
        factors.append((lu, pivots))

    if samples == 1:
        lu, pivots = factors[0]
        return lambda right: substitute(lu, pivots, right, trans=1)[0]

    def solve(right: Array) -> Array:
        result = np.empty_like(right)
        for m, (lu, pivots) in enumerate(factors):
            result[:, m] = substitute(lu, pivots, right[:, m], trans=1)[0]
        return result

    return solve


def _by_inverses(matrices: Array, z: complex) -> Solve:
    xp = namespace(matrices)
    shifted = like(np.eye(matrices.shape[1]), matrices) - z * matrices
    try:
        inverses = xp.linalg.inv(shifted)
    except np.linalg.LinAlgError as error:
        raise StepFailed("singular Newton matrix") from error

    def solve(right: Array) -> Array:
        found = inverses @ xp.permute_dims(right, (1, 0))[..., None]
        return xp.permute_dims(found[..., 0], (1, 0))

    return solve
