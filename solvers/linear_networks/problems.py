"""Deep linear networks as learning problems: no network of their own, NeuralODE2 with identity."""

from collections.abc import Sequence
from numbers import Real

import numpy as np

from continuum.activations import identity
from continuum.arrays import Array, to_host
from continuum.checks import check_array, check_count, check_type
from continuum.controls import Control, check_control
from continuum.doors import checked
from continuum.losses import Loss, SquaredError
from continuum.meshes import TimeMesh
from continuum.networks import DirectSum, NeuralODE2
from continuum.problem import LearningProblem
from continuum.readouts import Projection, State

PAIR = ("w", "z")
"""The parts of a double network, whose output is w - z."""


@checked
def deep_linear(
    target: Array | float,
    layers: int,
    *,
    covariance: Array | float | None = None,
    double: bool = False,
) -> LearningProblem:
    """minimise  |(W_L ... W_1 - R) Sigma^(1/2)|_F^2 / 2,   W_i = I + w_i,

    over w_1, ..., w_L: L layers of x' = w x in steps of length 1, so that gradients are those of
    the entries of W_i, and steps are the paper's.  With `double`, W_L ... W_1 - Z_L ... Z_1 takes
    the place of the product.

    target : R (n, n), or a number for n = 1
    layers : L >= 1
    covariance : Sigma = (1/N) sum_i x_i x_i^T (n, n), symmetric, positive semi-definite, or a
        number for n = 1; I if None
    returns a problem with the block "weight" (L, n, n), or "w.weight" and "z.weight"; the bias is
        fixed at 0
    raises ValueError for a target that is not square, layers < 1, a covariance that is none
    Source: Nar and Sastry (2018), (4) and section 3.2.
    """
    r = square("target", target, "n")
    root = covariance_root(covariance, len(r))
    return _problem(root, r @ root, layers, double, SquaredError(len(r) / 2))


@checked
def deep_linear_data(
    inputs: Array, targets: Array, layers: int, *, double: bool = False
) -> LearningProblem:
    """minimise  (1/2N) sum_i |W_L ... W_1 x_i - y_i|^2,   W_i = I + w_i:

    the problem (4) on its points themselves, so that steps can see batches of them.  In each batch
    the mean is over the points of the batch, so its gradient has Sigma_J = (1/|J|) sum_(i in J) x_i
    x_i^T in the place of Sigma.  If y_i = R x_i, it is deep_linear(R, L, covariance=Sigma).

    inputs : X (n, N), one point per column;  targets : Y (n, N)
    layers, double : as in `deep_linear`
    raises ValueError for shapes that do not fit each other, layers < 1
    Source: Nar and Sastry (2018), (4).
    """
    x = to_host(check_array("inputs", inputs, ("n", "N")))
    y = to_host(check_array("targets", targets, x.shape))
    return _problem(x, y, layers, double, SquaredError(0.5))


def square(name: str, value: Array | float, units: int | str) -> Array:
    """`value` as a matrix (n, n), also if it is a number, for n = 1; what it raises names it."""
    given = np.array([[value]]) if isinstance(value, Real) else value
    return to_host(check_array(name, given, (units, units)))  # type: ignore[arg-type]


def _problem(x: Array, y: Array, layers: int, double: bool, loss: Loss) -> LearningProblem:
    units, layers = len(x), check_count("layers", layers)
    check_type("double", double, bool)
    single, mesh = NeuralODE2(units, identity), TimeMesh(float(layers), layers)
    network = DirectSum(**dict.fromkeys(PAIR, single)) if double else single
    prefixes = [f"{name}." for name in PAIR] if double else [""]
    eye = np.eye(units)
    return LearningProblem(
        network,
        np.tile(x, (len(prefixes), 1)),
        y,
        network.controls(mesh, fixed={f"{prefix}bias": 0.0 for prefix in prefixes}),
        readout=Projection(np.hstack([eye, -eye])) if double else State(),
        terminal=loss,
    )


@checked
def linear_parts(problem: LearningProblem) -> tuple[str | None, ...]:
    """The parts of a problem made here: (None,), or ("w", "z") for a double network.  What else its
    J may count, and its set, are not looked at.

    raises TypeError for a problem of another kind: networks, inputs, readout or terminal cost that
        are not these, layers that are not of length 1, biases that are trained
    """
    network = check_type("problem", problem, LearningProblem).network
    parts = dict(network.parts) if isinstance(network, DirectSum) else {None: network}
    mesh, double = problem.mesh, len(parts) == 2
    kinds = all(isinstance(p, NeuralODE2) and p.activation == identity for p in parts.values())
    blocks = ["weight"] if not double else [f"{name}.weight" for name in PAIR]
    if not (
        kinds
        and tuple(parts) == (PAIR if double else (None,))
        and (_is_difference(problem) if double else isinstance(problem.readout, State))
        and isinstance(problem.terminal, SquaredError)
        and [b.name for b in problem.space.trained] == blocks
        and all(b.time == "layers" for b in problem.space.trained)
        and not any(np.any(value) for value in problem.space.fixed.values())
        and np.allclose(np.diff(mesh.nodes), 1.0, rtol=0.0, atol=1e-12 * mesh.layers)
    ):
        raise TypeError(
            "problem must be one of deep_linear(...) or deep_linear_data(...): its network, "
            "inputs, readout, cost or mesh are others"
        )
    return tuple(parts)


def _is_difference(problem: LearningProblem) -> bool:
    """True if the readout is w - z, and both parts have the same inputs."""
    x, readout = to_host(problem.initial), problem.readout
    units = len(x) // 2
    signs = np.hstack([np.eye(units), -np.eye(units)])
    return (
        isinstance(readout, Projection)
        and np.array_equal(to_host(readout.matrix), signs)
        and np.array_equal(x[:units], x[units:])
    )


def weighted_points(problem: LearningProblem) -> tuple[Array, Array]:
    """(A, B), both (n, N), such that  J = |P A - B|_F^2 / 2,  P the product (of a double network,
    the difference of both).

    raises TypeError for a problem that is not made here, or has a penalty, a running cost or an
        endpoint besides
    """
    parts, loss, y = linear_parts(problem), problem.terminal, problem.target
    if not isinstance(loss, SquaredError) or y is None:
        raise RuntimeError("unreachable: linear_parts has seen the cost")
    for name in ("penalty", "running", "endpoint"):
        if getattr(problem, name) is not None:
            raise TypeError(f"problem must have no {name}, got {getattr(problem, name)!r}")
    x = to_host(problem.initial)[: len(problem.initial) // len(parts)]
    roots = np.sqrt(2.0 * loss.weight * to_host(problem.sample_weights))
    return x * roots, to_host(y) * roots


@checked
def target_and_covariance(problem: LearningProblem) -> tuple[Array, Array]:
    """(R, Sigma), both (n, n), such that  J = |(P - R) Sigma^(1/2)|_F^2 / 2 + const,

    P the product (of a double network, the difference of both).  The constant is the least value of
    J; it is 0 unless the targets are no linear function of the inputs.  Where Sigma is singular, R
    is 0 on its kernel.
    raises as `weighted_points`
    """
    a, b = weighted_points(problem)
    return np.linalg.lstsq(a.T, b.T, rcond=None)[0].T, a @ a.T


@checked
def matrices(control: Control, part: str | None = None) -> Array:
    """(L, n, n): the factors W_i = I + w_i of a control of `deep_linear`, the first layer first.

    part : "w" or "z" of a double network
    raises ValueError for a part that the control has not, or none where there are two
    """
    space = check_control("control", control).space
    name, names = "weight" if part is None else f"{part}.weight", [b.name for b in space.trained]
    if name not in names:
        raise ValueError(f"part is {part!r}, so the block {name!r}, of {', '.join(names)}")
    block = to_host(control[name])
    return np.eye(block.shape[-1]) + block


@checked
def as_control(problem: LearningProblem, *factors: Array | Sequence[float]) -> Control:
    """The control whose factors are these (L, n, n), one such stack for each network of the
    problem; (L,) numbers where n = 1.

    raises ValueError for another number of stacks, or shapes that do not fit; TypeError for a
        problem that is not made here
    """
    parts = linear_parts(problem)
    units = len(problem.initial) // len(parts)
    if len(factors) != len(parts):
        raise ValueError(f"factors must be {len(parts)} stacks of matrices, got {len(factors)}")
    blocks, eye = {}, np.eye(units)
    for part, stack in zip(parts, factors, strict=True):
        label = "factors" if part is None else f"factors of {part}"
        shape = (problem.mesh.layers, units, units)
        flat = units == 1 and np.ndim(stack) == 1
        given = check_array(label, np.asarray(stack), shape[:1] if flat else shape).reshape(shape)
        blocks["weight" if part is None else f"{part}.weight"] = given - eye
    return problem.space.sample(**blocks)


def covariance_root(covariance: Array | float | None, units: int) -> Array:
    """Sigma^(1/2) (n, n), symmetric; I for None.  Raises ValueError for a matrix that is not
    symmetric and positive semi-definite.
    """
    if covariance is None:
        return np.eye(units)
    sigma = square("covariance", covariance, units)
    least = 1e-12 * float(np.abs(sigma).max())
    if np.any(np.abs(sigma - sigma.T) > least):
        raise ValueError("covariance must be symmetric")
    values, vectors = np.linalg.eigh((sigma + sigma.T) / 2.0)
    if values[0] < -least:
        raise ValueError(
            f"covariance must be positive semi-definite, its least eigenvalue is {values[0]:g}"
        )
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
