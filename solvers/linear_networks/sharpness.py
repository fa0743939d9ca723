"""The largest eigenvalue of the Hessian, and the steps of gradient descent that follow from it.

Gradient descent x <- x - s g(x) near a stationary point multiplies the distance along an
eigenvector of the Hessian by 1 - s mu, so a stationary point is unstable if s max mu > 2.  Along
eigenvectors with mu = 0, such as those that lead from one minimum to the next in a deep linear
network, nothing grows and nothing falls.
"""

from collections.abc import Callable
from math import inf, ldexp

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from continuum.arrays import Array
from continuum.checks import check_array, check_positive, check_rng
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem

from ..descent.objective import Composite, Objective, hessian
from ..descent.run import composite
from ..run.solution import SolveError
from .problems import covariance_root

DENSE = 32
"""Hessians of at most so many unknowns are formed."""
DENSE_UNITS = 16
"""Gram matrices of products of at most so many units are formed: n^2 x n^2."""

RESTARTS = 200
"""Lanczos' method is given up after so many restarts."""


class NotResolved(RuntimeError):
    """Lanczos' method ended without an eigenvalue.

    value : the largest (x, H x) / (x, x) among the vectors that it made, a lower bound of the
        largest eigenvalue
    products : how many there were
    """

    def __init__(self, value: float, products: int) -> None:
        super().__init__(
            f"Lanczos' method found no largest eigenvalue to the tolerance in {products} products; "
            f"it is at least {value:.6g}. Give a larger rtol."
        )
        self.value, self.products = value, products


class _Symmetric:
    """x -> H x of a symmetric matrix, with what was seen of it.

    most : the largest (x, H x) / (x, x);  scale : the largest |H x| / |x|
    """

    def __init__(self, product: Callable[[Array], Array], size: int) -> None:
        self.product, self.size = product, size
        self.most, self.scale, self.products = -inf, 0.0, 0

    def __call__(self, x: Array) -> Array:
        x = np.ravel(x)
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                y = np.ravel(self.product(x))
                size = float(np.linalg.norm(y))
        except SolveError as error:
            raise _no_hessian(error) from None
        if not np.isfinite(size):
            raise ValueError(
                "the Hessian at this control has entries that are infinite or NaN, or too large to "
                "be squared"
            )
        length = float(np.linalg.norm(x))
        if length > 0:
            self.most = max(self.most, float(x / length @ (y / length)))
            self.scale = max(self.scale, size / length)
        self.products += 1
        return y

    def largest(
        self, start: Array, rtol: float, vectors: int = 20, dense: int = DENSE
    ) -> tuple[float, Array]:
        """The largest eigenvalue and its eigenvector; 0 where it is below rounding of the largest
        size of an eigenvalue.  Raises NotResolved.
        """
        if self.size <= dense:
            matrix = np.stack([self(e) for e in np.eye(self.size)])
            values, columns = np.linalg.eigh(0.5 * (matrix + matrix.T))
            value, vector = float(values[-1]), columns[:, -1]
        else:
            value, vector = self._lanczos(start / np.linalg.norm(start), rtol, vectors)
        rounding = 8.0 * np.finfo(float).eps * self.scale
        return (value if abs(value) > rounding else 0.0), vector

    def _lanczos(self, start: Array, rtol: float, vectors: int) -> tuple[float, Array]:
        scale = float(np.linalg.norm(self(start)))
        if scale == 0.0:  # almost surely the matrix is zero
            return 0.0, start
        operator = LinearOperator(
            (self.size, self.size),
            matvec=lambda x: self(x) / scale,  # type: ignore[call-arg]
            dtype=np.float64,  # type: ignore[call-arg]
        )
        try:
            values, columns = eigsh(
                operator,
                1,
                which="LA",
                v0=start,
                ncv=min(self.size, vectors),
                maxiter=RESTARTS,
                tol=rtol,  # type: ignore[arg-type]
            )
        except ArpackNoConvergence:
            raise NotResolved(self.most, self.products) from None
        return float(values[0]) * scale, columns[:, 0]


def _hessian(objective: Objective, control: Control) -> _Symmetric:
    """The Hessian at a control in flat coordinates, whose Euclidean product is the space's."""
    space = objective.space
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            product = hessian(objective, control)
    except SolveError as error:
        raise _no_hessian(error) from None
    return _Symmetric(lambda x: space.flatten(product(space.unflatten(x))), space.size)


def _no_hessian(error: SolveError) -> ValueError:
    return ValueError(f"there is no Hessian at this control: {error}")


@checked
def sharpness(
    problem: LearningProblem | Objective | Composite,
    control: Control,
    *,
    rtol: float = 1e-10,
    rng: np.random.Generator | None = None,
) -> float:
    """max over x of (x, H x) / (x, x): the largest eigenvalue of the Hessian at a control.

    H is formed for at most 32 unknowns; else Lanczos' method takes Hessian-vector products.  It is
    the largest one in sign: a Hessian without positive eigenvalues has a sharpness <= 0, whatever
    the size of the others, and one below rounding of the largest size is returned as 0.  Of a deep
    linear network it is >= 0 everywhere, and 0 only if H = 0, because the diagonal blocks of H are
    positive semi-definite.  A penalty without a gradient and an admissible set are not part of H.

    problem : a LearningProblem, discretized by Euler's method, or any objective
    rtol : the residual |H x - mu x| / |mu| that Lanczos' method ends with
    rng : for its first vector, that of seed 0 if None
    raises NotResolved if it does not end; ValueError for a control of another space, or where the
        Hessian is not finite, or has entries that are too large to be squared
    """
    objective = composite(problem).objective
    control = objective.space.check("control", control)
    rtol, rng = check_positive("rtol", rtol), check_rng("rng", rng)
    start = rng.standard_normal(objective.space.size)
    return _hessian(objective, control).largest(start, rtol)[0]


@checked
def critical_step(
    problem: LearningProblem | Objective | Composite,
    control: Control,
    *,
    rtol: float = 1e-10,
    rng: np.random.Generator | None = None,
) -> float:
    """2 / sharpness: with longer steps, gradient descent leaves a stationary control from almost
    every start near it; with shorter ones, the linearisation grows in no direction of positive
    curvature.

    It is infinite where sharpness <= 0: no direction of positive curvature, no bound from any.
    See `sharpness`; at a control that is not stationary it bounds nothing.
    """
    top = sharpness(problem, control, rtol=rtol, rng=rng)
    return 2.0 / top if top > 0 else inf


@checked
def product_sharpness(
    factors: Array, covariance: Array | None = None, *, rtol: float = 1e-10
) -> float:
    """The sharpness of |(W_L ... W_1 - R) Sigma^(1/2)|_F^2 / 2 where W_L ... W_1 = R.

    There H = J^T J, whose largest eigenvalue is that of the Gram matrix

        J J^T X = sum_i (A_i A_i^T) X (B_i S)^T (B_i S),   S = Sigma^(1/2),

    A_i = W_L ... W_{i+1}, B_i = W_{i-1} ... W_1, on matrices X (n, n).  Elsewhere it is the
    largest eigenvalue of J^T J, the Gauss-Newton part of the Hessian.  Products are kept with their
    exponents, so none overflows in between.

    factors : (L, n, n), W_1 first; for a double network (2, L, n, n), W and Z, whose sums are added
    covariance : Sigma (n, n), symmetric, positive semi-definite; I if None
    returns infinity for a number that is too large
    raises ValueError for arrays that do not fit, NotResolved (more than 16 units, Lanczos' method)
    """
    factors = np.asarray(factors)
    shape = ("L", "n", "n") if factors.ndim == 3 else ("nets", "L", "n", "n")
    factors = check_array("factors", factors, shape)
    factors = factors.reshape(-1, *factors.shape[-3:])
    units, rtol = factors.shape[-1], check_positive("rtol", rtol)
    root = covariance_root(covariance, units)
    left, right, exponents = [], [], []
    for stack in factors:
        before, after = _products(stack, root), _products(stack[::-1].swapaxes(1, 2), np.eye(units))
        for (b, e), (a, f) in zip(before, reversed(after), strict=True):
            left.append(a.T @ a)
            right.append(b.T @ b)
            exponents.append(2 * (e + f))
    P, Q, powers = np.array(left), np.array(right), np.array(exponents)
    present = P.any(axis=(1, 2)) & Q.any(axis=(1, 2))
    if not present.any():
        return 0.0
    top = int(powers[present].max())
    P = P[present] * np.ldexp(1.0, np.maximum(powers[present] - top, -1100))[:, None, None]
    Q = Q[present]
    if units <= DENSE_UNITS:
        gram = np.einsum("iab,icd->acbd", P, Q).reshape(units**2, units**2)
        value = float(np.linalg.eigvalsh(gram)[-1])
    else:
        matrix = _Symmetric(lambda x: np.sum(P @ x.reshape(units, units) @ Q, axis=0), units**2)
        start = np.random.default_rng(0).standard_normal(units**2)
        value = matrix.largest(start, rtol, dense=0)[0]
    try:
        return ldexp(value, top)
    except OverflowError:
        return inf


def _products(stack: Array, first: Array) -> list[tuple[Array, int]]:
    """first, W_1 first, W_2 W_1 first, ...: L matrices with largest entry in [1/2, 1), and the
    power of two that each is to be multiplied by.
    """
    matrix, exponent = _normalised(first)
    found = [(matrix, exponent)]
    for w in stack[:-1]:
        factor, own = _normalised(w)
        matrix, extra = _normalised(factor @ matrix)
        exponent += own + extra
        found.append((matrix, exponent))
    return found


def _normalised(matrix: Array) -> tuple[Array, int]:
    exponent = int(np.frexp(np.max(np.abs(matrix)))[1])
    return np.ldexp(matrix, -exponent), exponent


@checked
def inverse_sharpness(
    problem: LearningProblem | Objective | Composite, fraction: float = 1.0
) -> Callable[[int, Control], float]:
    """A step that follows the state: fraction / sharpness, a callable step of `FixedStep`.

    The sharpness is found to three digits, each time from the eigenvector of the time before;
    iteration 0 begins anew.

    fraction : in (0, 2); where it is 2 the step is critical
    raises ValueError for another fraction; the step raises it where the sharpness is <= 0
    """
    objective, fraction = composite(problem).objective, check_positive("fraction", fraction)
    if fraction >= 2.0:
        raise ValueError(f"fraction must be below 2, where the step is critical, got {fraction}")
    size = objective.space.size
    last = np.zeros(size)

    def step(iteration: int, control: Control) -> float:
        """fraction / sharpness at this control."""
        nonlocal last
        control = objective.space.check("control", control)
        start = np.random.default_rng(iteration).standard_normal(size) / np.sqrt(size)
        if iteration > 0:
            start = last + 0.01 * start
        top, last = _hessian(objective, control).largest(start, 1e-3, vectors=8)
        if top <= 0:
            raise ValueError(
                f"iteration {iteration}: the sharpness is {top:.3g}, from which no step follows"
            )
        return fraction / top

    return step
