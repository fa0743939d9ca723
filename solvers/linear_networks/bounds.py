"""What is known of the step before a deep linear network is trained, W_L ... W_1 against R.

Printed formulas are those of Nar and Sastry (2018), with the absolute values that Proposition 1
lacks; `step_bound` is what holds for every R and every factorisation.
"""

from math import expm1, inf, log

import numpy as np
from scipy.optimize import minimize

from continuum.arrays import Array
from continuum.checks import check_count, check_number, check_positive, check_type
from continuum.doors import checked

from .problems import covariance_root, square


@checked
def sharpness_bound(
    target: Array | float,
    layers: int,
    covariance: Array | float | None = None,
    *,
    double: bool = False,
) -> float:
    """A lower bound of the sharpness at every W_L ... W_1 = R:

        max over |v| = 1 of  L |S v|^(2/L) |R S v|^(2(L-1)/L),   S = Sigma^(1/2),

    which for Sigma = I is L |R|_2^(2(L-1)/L), the sharpness of balanced factors.  For another Sigma
    the maximum is sought by ascents from singular vectors of S and R S; any v gives a bound.

    Proof.  With A_i = W_L ... W_{i+1}, B_i = W_{i-1} ... W_1, u = R S v / |R S v|, c_i = |A_i^T u|,
    d_i = |B_i S v|: the sharpness is at least |J^T (u v^T)|^2 = sum_i c_i^2 d_i^2, and that by the
    means at least L (prod_i c_i d_i)^(2/L), in which c_L d_1 = |S v| and c_i d_{i+1} >= (u, A_i
    B_{i+1} S v) = |R S v|.

    double : for W_L ... W_1 - Z_L ... Z_1 = R the same with R / 2, twice: of the two products, (u,
        W S v) - (u, Z S v) = |R S v|, and the power 2(L-1)/L is convex (for L = 1 it is 0)
    target : R (n, n), or a number;  covariance : Sigma (n, n), or a number; I if None
    returns infinity for a number that is too large
    raises ValueError, TypeError for arguments that do not fit
    """
    r, layers = square("target", target, "n"), check_count("layers", layers)
    root = covariance_root(covariance, len(r))
    nets = 2 if check_type("double", double, bool) else 1
    tried = np.vstack([np.linalg.svd(r @ root)[2][:1], np.linalg.svd(root)[2][:1]])
    if covariance is not None and layers > 1 and np.any(r @ root):
        tried = np.vstack([tried, _ascents(root, r @ root, 1.0 / layers, tried)])
    input = np.linalg.norm(root @ tried.T, axis=0)
    size = float(np.max(np.abs(r))) or 1.0  # squares do not overflow
    output = size * np.linalg.norm((r / size) @ root @ tried.T, axis=0)
    # 0 ** 0 = 1: one layer has the sharpness |S|^2 for every R
    with np.errstate(over="ignore"):
        found = input ** (2.0 / layers) * (output / nets) ** (2.0 - 2.0 / layers)
        return float(nets * layers * np.max(found))


def _ascents(root: Array, product: Array, share: float, tried: Array) -> Array:
    """(3, n): unit vectors v to which ascents of |S v|^share |R S v|^(1 - share) lead, from the
    sum and the difference of two given ones and from the better of them.
    """
    forms = [m.T @ m / np.linalg.norm(m, 2) ** 2 for m in (root, product)]
    shares = (share, 1.0 - share)

    def fall(v: Array) -> tuple[float, Array]:
        """Minus the logarithm, which does not depend on |v|, and its derivative."""
        images = [form @ v for form in forms]
        sizes = [max(float(v @ image), 1e-300) for image in images]
        value, slope = log(float(v @ v)), 2.0 * v / (v @ v)
        for part, image, size in zip(shares, images, sizes, strict=True):
            value, slope = value - part * log(size), slope - 2.0 * part * image / size
        return value, slope

    starts = [tried[0] + tried[1], tried[0] - tried[1], min(tried, key=lambda v: fall(v)[0])]
    ends = [
        minimize(fall, v, jac=True, method="BFGS", options={"gtol": 1e-9}).x
        for v in starts
        if np.linalg.norm(v) > 1e-8
    ]
    return np.array([v / np.linalg.norm(v) for v in ends])


@checked
def step_bound(
    target: Array | float,
    layers: int,
    covariance: Array | float | None = None,
    *,
    double: bool = False,
) -> float:
    """2 / sharpness_bound: 2 / (L |R|_2^(2(L-1)/L)) for Sigma = I.

    With longer steps every W_L ... W_1 = R is an unstable equilibrium of gradient descent, and the
    starts from which it converges to one are a null set: each equilibrium has a neighbourhood in
    which such orbits lie on a manifold of smaller dimension, countably many of these neighbourhoods
    cover them all, and preimages of null sets under a polynomial map whose Jacobian does not vanish
    identically are null sets.  Of one start, such as the identity, this says nothing.
    It is infinite for R = 0 and L >= 2, and 0 where the sharpness is too large for a number.
    Source: the bound is NS-11 of the ledger, for any Sigma; for equilibria that are not isolated,
    Panageas and Piliouras, Gradient descent only converges to minimizers (2017).
    """
    return _over(2.0, sharpness_bound(target, layers, covariance, double=double))


@checked
def largest_step(eigenvalue: float, layers: int, sigma: float = 1.0) -> float:
    """delta_max = 2 / (sigma L |lambda|^(2(L-1)/L)), after Proposition 1: with longer steps every
    w_L ... w_1 = lambda is unstable.  The paper has lambda without the absolute value.

    raises ValueError for lambda = 0, sigma <= 0, L < 1
    """
    size, layers = abs(_not_zero(eigenvalue)), check_count("layers", layers)
    return _over(2.0, check_positive("sigma", sigma) * layers * _power(size, layers))


@checked
def monotone_step(eigenvalue: float, layers: int, sigma: float = 1.0) -> float:
    """delta_c of Proposition 2: from w_i = 1 and with steps of at most this length, w_i goes to
    lambda^(1/L) without passing it, by a factor of at most `monotone_rate` in each step.

        1 / (sigma L lambda^(2(L-1)/L)),  lambda >= 1;
        (1 - lambda^(1/L)) / (sigma (1 - lambda)),  lambda < 1

    Longer steps may converge, too.
    raises ValueError for lambda <= 0, sigma <= 0, L < 1
    """
    lam, layers = check_positive("eigenvalue", eigenvalue), check_count("layers", layers)
    sigma = check_positive("sigma", sigma)
    if lam >= 1.0:
        return _over(1.0, sigma * layers * _power(lam, layers))
    return 1.0 / (sigma * _sum_of_powers(lam, layers))


@checked
def monotone_rate(eigenvalue: float, layers: int, step: float, sigma: float = 1.0) -> float:
    """rho(delta) of Proposition 2: |w_i[k] - lambda^(1/L)| <= rho^k |1 - lambda^(1/L)|.

        1 - delta sigma (lambda - 1) / (lambda^(1/L) - 1),  lambda > 1;
        1 - delta sigma L lambda^(2(L-1)/L),  lambda < 1;  1 - delta sigma L for lambda = 1

    raises ValueError for a step above `monotone_step`, and where that does
    """
    step, longest = check_positive("step", step), monotone_step(eigenvalue, layers, sigma)
    if step > longest:
        raise ValueError(f"step must be at most delta_c = {longest:.6g}, got {step:.6g}")
    if eigenvalue >= 1.0:
        return max(0.0, 1.0 - step * sigma * _sum_of_powers(eigenvalue, layers))
    return 1.0 - step * sigma * layers * _power(eigenvalue, layers)


@checked
def spectral_radius_step(target: Array | float, layers: int) -> float:
    """2 / (L r^(2(L-1)/L)), r the spectral radius of R: Theorem 1 as printed.

    The spectral norm is at least r, so `step_bound` is at most this; for R that is not normal it
    can be much smaller.
    raises ValueError for a spectral radius 0 and L >= 2, for L < 1
    """
    radius, layers = _radius(target), check_count("layers", layers)
    if radius == 0.0 and layers > 1:
        raise ValueError("target must have an eigenvalue that is not 0")
    return _over(2.0, layers * _power(radius, layers))


@checked
def root_step(target: Array | float, layers: int) -> float:
    """min(1, r^(-2(L-1)/L)) / L, r the spectral radius of R: the longest step of Theorem 2."""
    radius, layers = _radius(target), check_count("layers", layers)
    return 1.0 / (layers * max(1.0, _power(radius, layers)))


@checked
def vanishing_step(eigenvalue: float, sigma: float = 1.0) -> float:
    """1 / (sigma (1 - lambda)) for lambda <= 0: up to this step w_i = w goes from 1 to 0, by
    Proposition 3, which needs L >= 2.

    With longer ones it may still: for even L it does moderately beyond.
    raises ValueError for lambda > 0
    """
    lam = check_number("eigenvalue", eigenvalue)
    if lam > 0.0:
        raise ValueError(f"eigenvalue must be at most 0, got {eigenvalue!r}")
    return 1.0 / (check_positive("sigma", sigma) * (1.0 - lam))


def _power(size: float, layers: int) -> float:
    """size^(2 (L - 1) / L), size >= 0; infinite where it is too large."""
    try:
        return size ** (2.0 - 2.0 / layers)
    except OverflowError:
        return inf


def _over(part: float, whole: float) -> float:
    return part / whole if whole > 0 else inf


def _radius(target: Array | float) -> float:
    return float(np.max(np.abs(np.linalg.eigvals(square("target", target, "n")))))


def _not_zero(eigenvalue: float) -> float:
    if check_number("eigenvalue", eigenvalue) == 0.0:
        raise ValueError("eigenvalue must not be 0")
    return float(eigenvalue)


def _sum_of_powers(lam: float, layers: int) -> float:
    """(lambda - 1) / (lambda^(1/L) - 1) = sum over j < L of lambda^(j/L), lambda > 0."""
    small = log(lam) / layers
    return expm1(layers * small) / expm1(small) if small else float(layers)
