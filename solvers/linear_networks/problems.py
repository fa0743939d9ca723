"""Deep linear networks as learning problems: no network of their own, NeuralODE2 with identity."""

import numpy as np
from scipy.linalg import sqrtm

from continuum.activations import identity
from continuum.arrays import Array
from continuum.checks import check_array, check_count, check_type
from continuum.controls import Control
from continuum.losses import SquaredError
from continuum.meshes import TimeMesh
from continuum.networks import DirectSum, NeuralODE2
from continuum.problem import LearningProblem
from continuum.readouts import Projection, State

PAIR = ("w", "z")
"""The parts of a double network, whose output is w - z."""


def deep_linear(
    target: Array | float, layers: int, *, covariance: Array | None = None, double: bool = False
) -> LearningProblem:
    """minimise  |(W_L ... W_1 - R) Sigma^(1/2)|_F^2 / 2,   W_i = I + w_i,

    over w_1, ..., w_L: L layers of x' = w x in steps of length 1, so that gradients are those of
    the entries of W_i, and steps are the paper's.  With `double`, W_L ... W_1 - Z_L ... Z_1 takes
    the place of the product.

    target : R (n, n), or a number for n = 1
    layers : L >= 1
    covariance : Sigma = (1/N) sum_i x_i x_i^T (n, n), symmetric, positive semi-definite; I if None
    returns a problem with the block "weight" (L, n, n), or "w.weight" and "z.weight"; the bias is
        fixed at 0
    raises ValueError for a target that is not square, layers < 1, a covariance that is none
    Source: Nar and Sastry (2018), (4) and section 3.2.
    """
    r = check_array("target", np.atleast_2d(np.asarray(target, dtype=np.float64)), ("n", "n"))
    units, layers = len(r), check_count("layers", layers)
    check_type("double", double, bool)
    root = np.eye(units)
    if covariance is not None:
        sigma = check_array("covariance", covariance, (units, units))
        if not np.allclose(sigma, sigma.T, rtol=0.0, atol=1e-12 * np.abs(sigma).max()):
            raise ValueError("covariance must be symmetric")
        if np.linalg.eigvalsh(sigma)[0] < -1e-12 * np.abs(sigma).max():
            raise ValueError("covariance must be positive semi-definite")
        root = np.real(sqrtm(sigma))
    single, mesh = NeuralODE2(units, identity), TimeMesh(float(layers), layers)
    network = DirectSum(**dict.fromkeys(PAIR, single)) if double else single
    prefixes = [f"{name}." for name in PAIR] if double else [""]
    eye = np.eye(units)
    return LearningProblem(
        network,
        np.tile(root, (len(prefixes), 1)),
        r @ root,
        network.controls(mesh, fixed={f"{prefix}bias": 0.0 for prefix in prefixes}),
        readout=Projection(np.hstack([eye, -eye])) if double else State(),
        terminal=SquaredError(units / 2),
    )


def matrices(control: Control, part: str | None = None) -> Array:
    """(L, n, n): the factors W_i = I + w_i of a control of `deep_linear`, the first layer first.

    part : "w" or "z" of a double network
    """
    block = control["weight" if part is None else f"{part}.weight"]
    return np.eye(block.shape[-1]) + block


def as_control(problem: LearningProblem, *factors: Array) -> Control:
    """The control whose factors are these (L, n, n), one such stack for each network of the
    problem.
    """
    names = [b.name for b in problem.space.trained]
    if len(factors) != len(names):
        raise ValueError(f"factors must be {len(names)} stacks of matrices, got {len(factors)}")
    eye = np.eye(problem.space.trained[0].shape[-1])
    return problem.space.sample(
        **{name: np.asarray(w) - eye for name, w in zip(names, factors, strict=True)}
    )
